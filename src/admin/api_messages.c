// Messages: pages of them, one with its attempts, and what a person does about one.
#include "admin/view.h"

#include <inttypes.h>

enum { SEARCH_MAX = 1000, PAGE_BYTES_MAX = 8 << 20 };

// A page being written.
struct page {
    struct api_call *call;
    struct json *json;
    size_t left;
    int64_t last_id;
    bool more;
};

static void on_message(void *arg, const struct message *message)
{
    struct page *page = arg;
    if (!page->left || page->json->out->n > PAGE_BYTES_MAX) {
        page->more = true;
        page->left = 0;
        return;
    }
    page->left--;
    page->last_id = message->id;
    view_message(page->json, page->call, message);
    json_close(page->json, '}');
}

static bool filter_account(struct api_call *call, struct message_filter *out)
{
    struct str name = api_query(call, "account"), source_name = api_query(call, "source");
    if (!name.p && source_name.p) {
        api_problem(call, 400, "source needs account: names of sources are unique in an account only.");
        return false;
    }
    if (!name.p)
        return true;
    const struct account *account = directory_find(admin_of(call)->directory, name);
    const struct source *source = account && source_name.p ? account_find_source(account, source_name) : NULL;
    bool found = account && (source || !source_name.p);
    if (found) {
        out->account_id = account->id;
        out->source_id = source ? source->id : 0;
    } else {
        api_problem(call, 404,
                    account ? "The account has no source of that name." : "There is no account of that name.");
    }
    account_unref(account);
    return found;
}

static bool filter_words(struct api_call *call, struct message_filter *out)
{
    struct str state = api_query(call, "state"), direction = api_query(call, "direction");
    out->by_state = state.p;
    out->by_direction = direction.p;
    if (state.p && !message_state_of(state, &out->state)) {
        api_problem(call, 400, "state is pending, delivered, skipped or discarded.");
        return false;
    }
    if (direction.p && !direction_of(direction, &out->direction)) {
        api_problem(call, 400, "direction is inbound, reply or note.");
        return false;
    }
    return true;
}

static bool filter_texts(struct api_call *call, struct message_filter *out)
{
    out->conversation = api_query(call, "conversation");
    out->text = api_query(call, "q");
    if (out->text.n > SEARCH_MAX || out->conversation.n > SEARCH_MAX) {
        api_problem(call, 400, "q and conversation have at most %d bytes.", SEARCH_MAX);
        return false;
    }
    return true;
}

static int write_page(struct json *json, struct page *page, const struct message_filter *filter, int64_t after,
                      size_t limit)
{
    struct api_call *call = page->call;
    struct store_reader *reader = admin_of(call)->reader;
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    int err = reader->ops->messages(reader, filter, after, limit + 1, on_message, page);
    json_close(json, ']');
    struct str last = arena_printf(call->arena, "%" PRId64, page->last_id);
    json_key_str(json, "next", page->more ? api_cursor(call->arena, 'm', last) : STR_NONE);
    json_close(json, '}');
    return err;
}

void api_messages_list(struct api_call *call)
{
    struct message_filter filter = {0};
    struct api_json answer;
    size_t limit;
    int64_t after;
    if (!api_query_limit(call, &limit) || !api_query_after_id(call, 'm', &after) || !filter_account(call, &filter) ||
        !filter_words(call, &filter) || !filter_texts(call, &filter))
        return;
    struct page page = {.call = call, .json = api_json_begin(&answer), .left = limit};
    int err = write_page(page.json, &page, &filter, after, limit);
    if (!err || (err == ERR_BUSY && page.more)) { // cut at its size: what the store read on for is not wanted
        api_json_send(call, 200, &answer);
        return;
    }
    buf_done(&answer.buf);
    if (err == ERR_BUSY && (filter.text.p || filter.conversation.p))
        api_problem(call, 503,
                    "It took too long to look through all those messages; narrow it by account, source or state.");
    else
        api_problem_err(call, err);
}

// The id of the path. False: answered.
static bool id_of(struct api_call *call, int64_t *out)
{
    if (api_id_of(call->params[0], out))
        return true;
    api_problem(call, 404, "There is no message of that id.");
    return false;
}

static void on_attempt(void *arg, const struct attempt_record *record)
{
    struct json *json = arg;
    json_open(json, '{');
    json_key_time(json, "at", record->at_us);
    json_key_str(json, "verdict", record->verdict);
    json_key_str(json, "error", record->error);
    json_close(json, '}');
}

static int write_message(struct json *json, struct api_call *call, const struct message *message)
{
    struct store_reader *reader = admin_of(call)->reader;
    view_message(json, call, message);
    json_key(json, "attempt_history");
    json_open(json, '[');
    int err = reader->ops->attempts(reader, message->id, on_attempt, json);
    json_close(json, ']');
    json_close(json, '}');
    return err;
}

static void send_message(struct api_call *call, int status, int64_t id)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct message *message = NULL;
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    int err = reader->ops->message(reader, id, &message);
    if (!err)
        err = write_message(json, call, message);
    message_free(message);
    if (!err) {
        api_json_send(call, status, &answer);
        return;
    }
    buf_done(&answer.buf);
    if (err == ERR_NOT_FOUND)
        api_problem(call, 404, "There is no message of that id.");
    else
        api_problem_err(call, err);
}

void api_messages_get(struct api_call *call)
{
    int64_t id;
    if (id_of(call, &id))
        send_message(call, 200, id);
}

static void run_retry(struct api_work *work)
{
    work->err = relay_retry(admin_of(work->call)->relay, work->id);
}

// One that is skipped is tried again, unless its account was removed, or its row is damaged.
static void send_not_retried(struct api_call *call, int64_t id)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct message *message = NULL;
    bool found = reader->ops->message(reader, id, &message) == 0;
    bool skipped = found && message->state == MESSAGE_SKIPPED, damaged = found && message->reason == REASON_DAMAGED;
    message_free(message);
    api_problem(call, 409, "%s",
                skipped && damaged
                    ? "The stored row of this message is damaged: it is never delivered. What can be read of "
                      "it is shown; it can be discarded."
                : skipped ? "The account of this message was removed: it stays skipped, and can be discarded."
                          : "Only a skipped or a pending message can be tried again.");
}

static void on_retried(struct api_work *work)
{
    struct api_call *call = work->call;
    if (work->err == ERR_REFUSED)
        send_not_retried(call, work->id);
    else if (work->err == ERR_NOT_FOUND)
        api_problem(call, 404, "There is no message of that id.");
    else if (work->err)
        api_problem_err(call, work->err);
    else
        send_message(call, 200, work->id);
}

static void run_discard(struct api_work *work)
{
    work->err = relay_discard(admin_of(work->call)->relay, work->id);
}

static void on_discarded(struct api_work *work)
{
    struct api_call *call = work->call;
    if (work->err == ERR_BUSY)
        send_message(call, 202, work->id); // in flight: takes effect if the attempt fails
    else if (work->err == ERR_REFUSED)
        api_problem(call, 409, "The message is delivered already.");
    else
        on_retried(work);
}

static void by_hand(struct api_call *call, void (*run)(struct api_work *), void (*done)(struct api_work *))
{
    int64_t id;
    if (!id_of(call, &id))
        return;
    struct api_work *work = api_work_new(call);
    work->id = id;
    api_work_start(work, run, done);
}

void api_messages_retry(struct api_call *call)
{
    by_hand(call, run_retry, on_retried);
}

// ---- all skipped ones of an account ----

struct bulk {
    int64_t account_id, after, count;
    bool more;
};

static void run_retry_skipped(struct api_work *work)
{
    struct bulk *bulk = work->data;
    work->err = relay_retry_skipped(admin_of(work->call)->relay, bulk->account_id, &bulk->after, &bulk->count,
                                    &bulk->more);
}

static void on_retried_skipped(struct api_work *work)
{
    struct api_call *call = work->call;
    const struct bulk *bulk = work->data;
    if (work->err) {
        api_problem_err(call, work->err);
        return;
    }
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    struct str last = arena_printf(call->arena, "%" PRId64, bulk->after);
    json_open(json, '{');
    json_key_int(json, "retried", bulk->count);
    json_key_bool(json, "more", bulk->more);
    json_key_str(json, "next", bulk->more && bulk->after ? api_cursor(call->arena, 'r', last) : STR_NONE);
    json_close(json, '}');
    api_json_send(call, 200, &answer);
}

void api_messages_retry_skipped(struct api_call *call)
{
    struct bulk *bulk = arena_of(call->arena, struct bulk);
    const struct account *account = directory_find(admin_of(call)->directory, call->params[0]);
    if (!account) {
        api_problem(call, 404, "There is no account of that name.");
    } else if (!str_eq_c(api_query(call, "state"), "skipped")) {
        api_problem(call, 400, "state=skipped says what is tried again; there is nothing else.");
    } else if (api_query_after_id(call, 'r', &bulk->after)) {
        struct api_work *work = api_work_new(call);
        bulk->account_id = account->id;
        work->data = bulk;
        api_work_start(work, run_retry_skipped, on_retried_skipped);
    }
    account_unref(account);
}

void api_messages_discard(struct api_call *call)
{
    by_hand(call, run_discard, on_discarded);
}
