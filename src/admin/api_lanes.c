// Lanes that wait: pages of them, and one with all that is known of it. What the store has is read on this thread, what the relay
// loop knows is asked on a worker's.
#include "admin/view_lane.h"

#include <inttypes.h>

enum {
    ROUNDS = 10,         // pages read for one page of a state
    HISTORY_MAX = 100,   // attempts of a head
    IN_LINE_MAX = 20000, // messages of an account's lane that are looked at for one conversation's
};

struct listing {
    struct lane_filter filter;
    bool by_state;
    enum lane_state state;
    int64_t own[3]; // of one conversation, ascending; 0 = none
    size_t own_count;
    int64_t after;
    size_t limit;
    int rounds;
    struct shown_lane *page; // what was read last
    size_t page_count;
    struct shown_lane *lanes; // what is shown: `limit` of them
    size_t count;
    bool more;
};

// ---- what is asked for ----

static bool state_of(struct api_call *call, struct listing *out)
{
    struct str name = api_query(call, "state");
    out->by_state = name.p;
    for (int i = 0; i < LANE_STATES; i++)
        if (str_eq_c(name, lane_state_name((enum lane_state)i))) {
            out->state = (enum lane_state)i;
            return true;
        }
    if (name.p)
        api_problem(call, 400,
                    "state is idle, loading, ready, marking, sending, waiting, suspended, held, stopped or behind.");
    return !name.p;
}

// The lanes in which messages of the conversation may wait.
static int lanes_of_conversation(struct api_call *call, const struct source *source, struct str thread,
                                 struct listing *out)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct lane_line line = {0};
    int64_t id = 0, shared = lane_id(LANE_ACCOUNT, source->account_id);
    int err = reader->ops->conversation(reader, source->id, thread, &id);
    if (!err)
        err = reader->ops->lane_line(reader, shared, id, IN_LINE_MAX, &line);
    if (err)
        return err;
    int64_t all[] = {line.first_id ? shared : 0, lane_id(LANE_CONVERSATION, id), lane_id(LANE_REPLY, id)};
    size_t first = all[0] && all[0] > all[2] ? 1 : 0; // ascending
    for (size_t i = 0; i < 3; i++)
        if (all[(first + i) % 3])
            out->own[out->own_count++] = all[(first + i) % 3];
    return 0;
}

static bool conversation_of(struct api_call *call, const struct account *account, struct listing *out)
{
    struct str name = api_query(call, "source"), thread = api_query(call, "conversation");
    if (!name.p && !thread.p)
        return true;
    if (!account || !name.p || !thread.p) {
        api_problem(call, 400, "account, source and conversation go together.");
        return false;
    }
    const struct source *source = account_find_source(account, name);
    if (!source) {
        api_problem(call, 404, "The account has no source of that name.");
        return false;
    }
    int err = lanes_of_conversation(call, source, thread, out);
    if (err == ERR_NOT_FOUND)
        api_problem(call, 404, "The source has no conversation of that name: nothing was ever received from it.");
    else if (err)
        api_problem_err(call, err);
    return !err;
}

static bool account_of(struct api_call *call, struct listing *out)
{
    struct str name = api_query(call, "account");
    const struct account *account = name.p ? directory_find(admin_of(call)->directory, name) : NULL;
    out->filter.account_id = account ? account->id : 0;
    bool good = account || !name.p;
    if (!good)
        api_problem(call, 404, "There is no account of that name.");
    good = good && conversation_of(call, account, out);
    account_unref(account);
    return good;
}

// ---- the list ----

static void send_list(struct api_call *call, const struct listing *listing)
{
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    struct str last = arena_printf(call->arena, "%" PRId64, listing->after);
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    for (size_t i = 0; i < listing->count; i++) {
        json_open(json, '{');
        view_lane(json, call, &listing->lanes[i]);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_key_str(json, "next", listing->more ? api_cursor(call->arena, 'l', last) : STR_NONE);
    json_close(json, '}');
    api_json_send(call, 200, &answer);
}

static int read_own(struct api_call *call, struct listing *listing)
{
    int err = 0;
    for (size_t i = 0; i < listing->own_count && !err; i++) {
        size_t count;
        struct lane_filter filter = {.lane = listing->own[i]};
        if (listing->page_count >= listing->limit || filter.lane <= listing->after)
            continue;
        err = shown_lanes_read(call, &filter, 0, 1, &listing->page[listing->page_count], &count);
        listing->page_count += err ? 0 : count;
    }
    return err;
}

// One more than is shown is read, to tell whether there are more.
static int read_page(struct api_call *call, struct listing *listing)
{
    listing->page_count = 0;
    listing->more = false;
    if (listing->own_count)
        return read_own(call, listing);
    int err = shown_lanes_read(call, &listing->filter, listing->after, listing->limit + 1, listing->page,
                               &listing->page_count);
    listing->more = listing->page_count > listing->limit;
    listing->page_count -= listing->more;
    return err;
}

static void run_look(struct api_work *work)
{
    struct listing *listing = work->data;
    work->err = shown_lanes_look(admin_of(work->call)->relay, listing->page, listing->page_count, NULL);
}

static void take_page(struct listing *listing)
{
    for (size_t i = 0; i < listing->page_count; i++) {
        const struct shown_lane *lane = &listing->page[i];
        if (listing->by_state && lane->view.state != listing->state) {
            listing->after = lane->lane;
            continue;
        }
        if (listing->count == listing->limit) {
            listing->more = true;
            return;
        }
        listing->lanes[listing->count++] = *lane;
        listing->after = lane->lane;
    }
}

// Few lanes may be in a rare state: several pages are looked at, then what was found is given with a cursor.
static void on_looked(struct api_work *work)
{
    struct api_call *call = work->call;
    struct listing *listing = work->data;
    if (work->err) {
        api_problem_err(call, work->err);
        return;
    }
    take_page(listing);
    bool again = listing->by_state && listing->more && listing->count < listing->limit && ++listing->rounds < ROUNDS;
    int err = again ? read_page(call, listing) : 0;
    if (err)
        api_problem_err(call, err);
    else if (again)
        api_work_start(work, run_look, on_looked);
    else
        send_list(call, listing);
}

void api_lanes_list(struct api_call *call)
{
    struct listing *listing = arena_of(call->arena, struct listing);
    if (!api_query_limit(call, &listing->limit) || !api_query_after_id(call, 'l', &listing->after) ||
        !state_of(call, listing) || !account_of(call, listing))
        return;
    listing->page = arena_alloc(call->arena, (listing->limit + 1) * sizeof *listing->page);
    listing->lanes = arena_alloc(call->arena, listing->limit * sizeof *listing->lanes);
    int err = read_page(call, listing);
    if (err) {
        api_problem_err(call, err);
        return;
    }
    struct api_work *work = api_work_new(call);
    work->data = listing;
    api_work_start(work, run_look, on_looked);
}

// ---- one ----

static void run_look_one(struct api_work *work)
{
    work->err = shown_lanes_look(admin_of(work->call)->relay, work->data, 1, NULL);
}

static void send_one(struct api_call *call, const struct account *account, const struct shown_lane *lane)
{
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    view_lane(json, call, lane);
    int err = view_lane_history(json, call, lane, HISTORY_MAX);
    view_lane_desk(json, call, account);
    view_lane_bot(json, call, shown_lane_bot(account, lane));
    json_key_int(json, "busy_percent", view_busy_percent(call, account));
    view_lane_help(json, call, account, lane, NULL);
    json_close(json, '}');
    if (!err) {
        api_json_send(call, 200, &answer);
        return;
    }
    buf_done(&answer.buf);
    api_problem_err(call, err);
}

static void on_looked_one(struct api_work *work)
{
    const struct shown_lane *lane = work->data;
    const struct account *account = directory_find_id(admin_of(work->call)->directory, lane->account_id);
    if (work->err)
        api_problem_err(work->call, work->err);
    else if (!account)
        api_problem(work->call, 404, "The account of this lane was removed.");
    else
        send_one(work->call, account, lane);
    account_unref(account);
}

void api_lanes_get(struct api_call *call)
{
    struct lane_filter filter = {0};
    struct shown_lane *lane = arena_of(call->arena, struct shown_lane);
    size_t count = 0;
    bool good = api_id_of(call->params[0], &filter.lane);
    int err = good ? shown_lanes_read(call, &filter, 0, 1, lane, &count) : ERR_NOT_FOUND;
    if (err && err != ERR_NOT_FOUND) {
        api_problem_err(call, err);
    } else if (!count) {
        api_problem(call, 404, "Nothing waits in a lane of that id.");
    } else {
        struct api_work *work = api_work_new(call);
        work->data = lane;
        api_work_start(work, run_look_one, on_looked_one);
    }
}
