#include "relay/intake_own.h"

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "platform/platform.h"
#include "relay/media_door.h"

#include <stdlib.h>

enum {
    BODY_LIMIT = 4 * 1024 * 1024,
    ALBUM_WAIT_US = 1000 * 1000, // its parts come within this, or as messages that follow
};

// Until when the message that the event becomes waits for what belongs to it; 0 = not at all.
static int64_t wait_of(const struct intake *intake, const struct event *event, int64_t now_us)
{
    int64_t wait_us = event->album.n ? ALBUM_WAIT_US : 0;
    if (event->discard)
        return 0;
    if (wait_us < intake->media_wait_us && attachments_count(event->attachments, FILE_WANTED))
        wait_us = intake->media_wait_us;
    return wait_us ? now_us + wait_us : 0;
}

struct intake_batch *intake_batch_new(const struct intake *intake, const struct account *account,
                                      const struct source *source, const struct event *events, size_t count)
{
    struct intake_batch *batch = mem_new_of(struct intake_batch);
    int64_t now = clock_wall_us(intake->clock);
    batch->account = account;
    batch->source = source;
    batch->tally = intake->tally;
    batch->board = intake->board;
    batch->accepts = arena_alloc(&batch->arena, count * sizeof *batch->accepts);
    batch->changes = arena_alloc(&batch->arena, count * sizeof *batch->changes);
    for (size_t i = 0; i < count; i++) {
        batch->accepts[i] = (struct store_accept){
            .account_id = account->id,
            .source_id = source->id,
            .order = account->order,
            .state = events[i].discard ? MESSAGE_DISCARDED : MESSAGE_PENDING,
            .reason = events[i].discard,
            .received_at_us = now,
            .wait_until_us = wait_of(intake, &events[i], now),
            .most_waiting = intake->most_waiting,
            .most_file_bytes = intake->most_file_bytes,
            .event = events[i],
            .out_arena = &batch->arena,
        };
        batch->changes[i] = (struct store_change){.kind = STORE_ACCEPT, .accept = &batch->accepts[i]};
    }
    batch->job = (struct job){.kind = JOB_ACCEPT, .changes = batch->changes, .change_count = count};
    return batch;
}

void intake_batch_free(struct intake_batch *batch)
{
    if (!batch)
        return;
    account_unref(batch->account);
    arena_done(&batch->arena);
    free(batch);
}

static void refuse_for(struct intake_batch *batch, bool over_files)
{
    struct str account = batch->account->name;
    if (over_files) {
        batch->refused = STR("the account has as many bytes of files as it may have (quota.files)");
        board_alarm(batch->board, "quota_files", account, batch->refused);
    } else {
        batch->refused = STR("the account has as many messages waiting as it may have (quota.waiting)");
        board_alarm(batch->board, "quota_waiting", account, batch->refused);
    }
}

// What came through says that there is room: for files, when it has some and would have been refused for them.
static void end_refusals(struct intake_batch *batch, const struct store_accept *accept)
{
    if (accept->result == ACCEPT_DUPLICATE || accept->state != MESSAGE_PENDING)
        return;
    board_alarm_end(batch->board, "quota_waiting", batch->account->name);
    if (accept->most_file_bytes && attachments_count(accept->event.attachments, FILE_WANTED))
        board_alarm_end(batch->board, "quota_files", batch->account->name);
}

static void tally_accepted(struct intake_batch *batch, const struct store_accept *accept)
{
    bool duplicate = accept->result == ACCEPT_DUPLICATE;
    tally_message(batch->tally, duplicate ? TALLY_DUPLICATE : TALLY_ACCEPTED, batch->source->platform, INBOUND);
    if (!duplicate && (accept->state == MESSAGE_DISCARDED || accept->result == ACCEPT_JOINED))
        tally_message(batch->tally, TALLY_DISCARDED, batch->source->platform, INBOUND);
    if (accept->result == ACCEPT_STORED_TWIN)
        log_warn("same_key_other_event", LOG_S("account", batch->account->name), LOG_S("source", batch->source->name),
                 LOG_N("message", accept->message_id));
}

static void look_at_batch(struct intake_batch *batch)
{
    for (size_t i = 0; i < batch->job.change_count; i++) {
        const struct store_accept *accept = &batch->accepts[i];
        if (accept->result == ACCEPT_OVER_QUOTA) {
            refuse_for(batch, accept->over_files);
        } else {
            tally_accepted(batch, accept);
            end_refusals(batch, accept);
        }
    }
}

// On the loop that asked.
static void on_committed(struct loop_task *task)
{
    struct intake_batch *batch = (struct intake_batch *)((char *)task - offsetof(struct job, task));
    if (!batch->job.err)
        look_at_batch(batch);
    batch->done(batch, batch->job.err);
}

// On the committer's thread or the flusher's.
static void post_back(struct job *job)
{
    struct intake_batch *batch = (struct intake_batch *)job;
    must(loop_post(batch->loop, &job->task)); // loops outlive the committer
}

bool intake_submit(const struct intake *intake, struct intake_batch *batch, struct loop *loop,
                   void (*done)(struct intake_batch *batch, int err), void *arg)
{
    batch->loop = loop;
    batch->done = done;
    batch->arg = arg;
    batch->job.done = post_back;
    batch->job.task.run = on_committed;
    return committer_submit(intake->committer, &batch->job);
}

// ---- webhooks ----

void intake_answer_problem_with(struct http_exchange *exchange, int status, const char *title, struct str detail,
                                const struct http_header *header)
{
    struct buf body;
    buf_init(&body, 4096);
    struct json json = {.out = &body};
    json_open(&json, '{');
    json_key_str(&json, "type", STR("about:blank"));
    json_key_str(&json, "title", str_of(title));
    json_key_int(&json, "status", status);
    if (detail.n)
        json_key_str(&json, "detail", detail);
    json_close(&json, '}');
    http_exchange_answer(exchange, status, STR("application/problem+json"), header, header != NULL, buf_str(&body));
    buf_done(&body);
}

void intake_answer_problem(struct http_exchange *exchange, int status, const char *title, struct str detail)
{
    struct http_header retry = {STR("Retry-After"), STR("2")};
    intake_answer_problem_with(exchange, status, title, detail, status == 503 ? &retry : NULL);
}

enum route { ROUTE_NONE, ROUTE_HOOK, ROUTE_DESK, ROUTE_MEDIA, ROUTE_HEALTH };

// "/hooks/{account}/{source}", "/desks/{account}", "/media/{hash}": names need no decoding ([a-z0-9-]).
static enum route route_of(struct str path, struct str *out_account, struct str *out_source)
{
    if (str_eq(path, STR("/healthz")))
        return ROUTE_HEALTH;
    if (media_link_path(path, out_source))
        return ROUTE_MEDIA;
    struct str prefix = STR("/hooks/"), desks = STR("/desks/");
    if (str_starts(path, desks)) {
        *out_account = str_sub(path, desks.n, path.n);
        return account_name_is_valid(*out_account) ? ROUTE_DESK : ROUTE_NONE;
    }
    if (!str_starts(path, prefix))
        return ROUTE_NONE;
    struct str rest = str_sub(path, prefix.n, path.n);
    size_t slash = str_index(rest, '/', 0);
    *out_account = str_sub(rest, 0, slash);
    *out_source = str_sub(rest, slash + 1, rest.n);
    return account_name_is_valid(*out_account) && account_name_is_valid(*out_source) ? ROUTE_HOOK : ROUTE_NONE;
}

static bool method_fits(enum route route, struct str method)
{
    if (route == ROUTE_HEALTH || route == ROUTE_MEDIA)
        return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD"));
    return str_eq(method, STR("POST")) || (route == ROUTE_DESK && str_eq(method, STR("HEAD")));
}

int intake_head(void *arg, const struct http_request *request, size_t *max_body)
{
    const struct intake *intake = arg;
    struct str account, source;
    enum route route = route_of(request->path, &account, &source);
    *max_body = route == ROUTE_HOOK || route == ROUTE_DESK ? BODY_LIMIT : 0;
    if (route == ROUTE_NONE || (route == ROUTE_MEDIA && !intake->files))
        return 404;
    return method_fits(route, request->method) ? 0 : 405;
}

struct str intake_allow(void *arg, const struct http_request *request)
{
    (void)arg;
    struct str account, source, target = request->target;
    struct str path = request->path.p ? request->path : str_sub(target, 0, str_index(target, '?', 0));
    switch (route_of(path, &account, &source)) {
    case ROUTE_HOOK:
        return STR("POST");
    case ROUTE_DESK:
        return STR("HEAD, POST");
    case ROUTE_MEDIA:
    case ROUTE_HEALTH:
        return STR("GET, HEAD");
    default:
        return STR("GET, HEAD, POST"); // what there is at any path
    }
}

// Mostly empty: Telegram carries out a call that stands in the body.
static void answer_taken(struct http_exchange *exchange, struct str answer)
{
    http_exchange_answer(exchange, 200, answer.n ? STR("application/json") : STR_NONE, NULL, 0,
                         answer.n ? answer : STR(""));
}

struct parked {
    struct http_exchange *exchange;
    int64_t began_us; // monotonic
    const struct clock *clock;
    struct str answer; // of the receipt; the exchange's memory
};

// Its account's bounds are for long, other than a store that takes nothing now.
static void answer_refused(struct http_exchange *exchange, struct str why)
{
    struct http_header retry = {STR("Retry-After"), STR("60")};
    intake_answer_problem_with(exchange, 503, "Service Unavailable",
                               ARENA_JOIN(http_exchange_arena(exchange), why, STR("; send it again later")), &retry);
}

static void on_stored(struct intake_batch *batch, int err)
{
    struct parked *parked = batch->arg;
    bool taken = !err && !batch->refused.p;
    tally_time(&batch->tally->webhook, clock_mono_us(parked->clock) - parked->began_us);
    tally_webhook(batch->tally, taken ? TALLY_WEBHOOK_TAKEN : TALLY_WEBHOOK_DELAYED, batch->source->platform);
    if (taken)
        answer_taken(parked->exchange, parked->answer);
    else if (err)
        intake_answer_problem(parked->exchange, 503, "Service Unavailable",
                              STR("the message could not be stored; send it again later"));
    else
        answer_refused(parked->exchange, batch->refused);
    intake_batch_free(batch);
}

static void store_events(struct intake *intake, struct http_exchange *exchange, const struct account *account,
                         const struct source *source, const struct receipt *receipt)
{
    struct parked *parked = arena_alloc(http_exchange_arena(exchange), sizeof *parked);
    *parked = (struct parked){exchange, clock_mono_us(intake->clock), intake->clock, receipt->answer};
    struct intake_batch *batch = intake_batch_new(intake, account_ref(account), source, receipt->events,
                                                  receipt->event_count);
    if (!intake_submit(intake, batch, http_exchange_loop(exchange), on_stored, parked)) {
        intake_batch_free(batch);
        tally_webhook(intake->tally, TALLY_WEBHOOK_DELAYED, source->platform);
        intake_answer_problem(exchange, 503, "Service Unavailable",
                              STR("too many messages wait to be stored; send it again"));
    }
}

// Receipts without messages: how they are counted and answered.
static const struct {
    enum tally_webhook tally;
    int status;
    const char *title;
} refusals[] = {
    [RECEIPT_OK] = {TALLY_WEBHOOK_NOTHING, 200, NULL},
    [RECEIPT_FORGED] = {TALLY_WEBHOOK_FORGED, 401, "Unauthorized"},
    [RECEIPT_UNTIMELY] = {TALLY_WEBHOOK_UNTIMELY, 401, "Unauthorized"},
    [RECEIPT_MALFORMED] = {TALLY_WEBHOOK_REFUSED, 400, "Bad Request"},
    [RECEIPT_BAD_TYPE] = {TALLY_WEBHOOK_REFUSED, 415, "Unsupported Media Type"},
    [RECEIPT_NO_MEMORY] = {TALLY_WEBHOOK_DELAYED, 503, "Service Unavailable"},
};

static void take_hook(struct intake *intake, struct http_exchange *exchange, const struct account *account,
                      const struct source *source)
{
    struct receipt receipt = {0};
    const struct platform *platform = platform_find(source->platform);
    if (!platform) { // a damaged definition: they are sent again when somebody has set it
        intake_answer_problem(exchange, 503, "Service Unavailable",
                              STR("the stored definition of this source is damaged"));
        return;
    }
    platform->receive(source, http_exchange_request(exchange), clock_wall_us(intake->clock),
                      http_exchange_arena(exchange), &receipt);
    if (receipt.kind == RECEIPT_UNTIMELY)
        clock_watch_refused(intake->clock_watch, source, receipt.ahead_s);
    else if (receipt.kind != RECEIPT_FORGED)
        clock_watch_verified(intake->clock_watch, source);
    if (receipt.kind == RECEIPT_OK && receipt.event_count) {
        store_events(intake, exchange, account, source, &receipt);
        return;
    }
    tally_webhook(intake->tally, refusals[receipt.kind].tally, source->platform);
    if (receipt.kind == RECEIPT_OK)
        answer_taken(exchange, receipt.answer);
    else
        intake_answer_problem(exchange, refusals[receipt.kind].status, refusals[receipt.kind].title, receipt.why);
}

static void take_from_platform(struct intake *intake, struct http_exchange *exchange, struct str account_name,
                               struct str source_name)
{
    const struct account *account = directory_find(intake->directory, account_name);
    const struct source *source = account ? account_find_source(account, source_name) : NULL;
    if (source)
        take_hook(intake, exchange, account, source);
    else
        intake_answer_problem(exchange, 404, "Not Found", STR("there is no such account and source here"));
    account_unref(account);
}

static void take_from_desk(struct intake *intake, struct http_exchange *exchange, struct str account_name)
{
    const struct account *account = directory_find(intake->directory, account_name);
    if (account)
        intake_take_notice(intake, exchange, account);
    else
        intake_answer_problem(exchange, 404, "Not Found", STR("there is no such account here"));
    account_unref(account);
}

void intake_request(void *arg, struct http_exchange *exchange)
{
    struct intake *intake = arg;
    struct str account, source;
    switch (route_of(http_exchange_request(exchange)->path, &account, &source)) {
    case ROUTE_HOOK:
        take_from_platform(intake, exchange, account, source);
        return;
    case ROUTE_DESK:
        take_from_desk(intake, exchange, account);
        return;
    case ROUTE_MEDIA:
        media_door_take(intake, exchange);
        return;
    default: // intake_head has let through nothing else
        http_exchange_answer(exchange, 200, STR("text/plain"), NULL, 0, STR("ok\n"));
    }
}
