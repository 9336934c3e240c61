// What the handlers of the admin side share: one request being answered, its answer, its problems, and work that blocks.
// Private to src/admin. All on the admin loop's thread, but for api_work.run.
#pragma once
#include "admin/admin.h"
#include "base/json.h"
#include "net/http_server.h"

#include <stdatomic.h>
#include <uv.h>

enum { API_LIMIT = 100, API_LIMIT_MAX = 1000, API_BODY_MAX = 1 << 20, API_ANSWER_MAX = 64 << 20 };

struct route;
struct events;

// Lives in the exchange's arena, as long as the exchange.
struct api_call {
    struct admin *admin;
    struct http_exchange *exchange;
    const struct http_request *request;
    struct arena *arena;
    bool local;                // came through the Unix socket
    const struct route *route; // NULL while none was found
    struct str params[2];      // what stands for {...} in the route's path, decoded
    int status;                // of the answer when all went well; 0 = 200
    bool audited;              // it may change something: the answer is logged with who asked
    struct str
        said; // for that log, when it is done: what of it, in a few words of ours or names of keys; STR_NONE: the request says it
};

// The admin side's own things, for handlers.
const struct admin_options *admin_of(const struct api_call *call);
int64_t admin_started_us(const struct api_call *call);

// A new buf and writer for an answer; api_json_send takes them.
struct api_json {
    struct buf buf;
    struct json json;
};
struct json *api_json_begin(struct api_json *out);
void api_json_send(struct api_call *call, int status, struct api_json *json);
void api_answer(struct api_call *call, int status, struct str content_type, struct str body);
// Begins an answer that comes bit by bit (http_exchange_stream), with 200.
bool api_stream(struct api_call *call, struct str content_type, const struct http_stream *stream);

// Answers with a problem document (RFC 9457); `detail` is one sentence for people.
void api_problem(struct api_call *call, int status, const char *detail, ...) __attribute__((format(printf, 3, 4)));
// The problem of a failed call into store or relay.
void api_problem_err(struct api_call *call, int err);
// 422, with what is wrong as lines "KEY: sentence".
void api_problem_mistakes(struct api_call *call, struct str lines);

// Values of the query. False: a problem was answered.
bool api_query_limit(struct api_call *call, size_t *out);
bool api_query_bool(struct api_call *call, const char *name, bool *out);
struct str api_query(struct api_call *call, const char *name);
// "after": what a cursor of this kind was made of; STR_NONE when absent. False: a forged or foreign one, answered.
bool api_query_after(struct api_call *call, char kind, struct str *out);
// The same where the cursor is made of an id; 0 when absent.
bool api_query_after_id(struct api_call *call, char kind, int64_t *out);
struct str api_cursor(struct arena *arena, char kind, struct str payload);
// A positive id in decimal.
bool api_id_of(struct str text, int64_t *out);

// Work that blocks: `run` on a worker thread, then `done`, which answers, on the loop's. In the exchange's arena.
struct api_work {
    uv_work_t uv;
    struct api_call *call;
    struct api_work *next; // in turn
    void (*run)(struct api_work *work);
    void (*done)(struct api_work *work);
    // For the handler's use.
    int err;
    int64_t id;
    bool flag;
    struct buf text;
    void *data;
};
struct api_work *api_work_new(struct api_call *call);
void api_work_start(struct api_work *work, void (*run)(struct api_work *work), void (*done)(struct api_work *work));
// The same, one after another in the order of their start: for what waits for the same lock, so that it never holds all workers.
void api_work_in_turn(struct api_work *work, void (*run)(struct api_work *work), void (*done)(struct api_work *work));
// One at a time: false when it is taken.
enum api_lock { API_LOCK_VERIFY, API_LOCK_RELOAD, API_LOCKS };
bool api_lock(struct api_call *call, enum api_lock lock);
void api_unlock(struct api_call *call, enum api_lock lock);

// How far the verification under way is; written by its worker.
struct api_verify_progress {
    _Atomic(const char *) part; // NULL: none is under way
    atomic_int_fast64_t done, of;
};
struct api_verify_progress *admin_verify_progress(const struct api_call *call);

// The streams of GET /api/v1/events (api_events.c).
struct events *events_new(struct loop *loop, const struct admin_options *options);
// Ends all streams; there will be no others.
void events_end(struct events *events);
void events_free(struct events *events);
// How many listen now.
size_t events_listeners(const struct events *events);
struct events *admin_events(const struct api_call *call);

// Handlers, one file per noun. Each answers exactly once.
void api_status_get(struct api_call *call);
void api_ready_get(struct api_call *call);
void api_metrics_get(struct api_call *call);
void api_accounts_list(struct api_call *call);
void api_accounts_get(struct api_call *call);
void api_accounts_patch(struct api_call *call);
void api_accounts_switch(struct api_call *call);
void api_accounts_post(struct api_call *call);
void api_accounts_delete(struct api_call *call);
void api_sources_post(struct api_call *call);
void api_sources_patch(struct api_call *call);
void api_sources_delete(struct api_call *call);
void api_desk_put(struct api_call *call);
void api_desk_patch(struct api_call *call);
void api_sources_list(struct api_call *call);
void api_sources_get(struct api_call *call);
void api_desk_get(struct api_call *call);
void api_desk_resume(struct api_call *call);
void api_sources_check(struct api_call *call);
void api_desk_check(struct api_call *call);
void api_messages_list(struct api_call *call);
void api_messages_get(struct api_call *call);
void api_messages_retry(struct api_call *call);
void api_messages_discard(struct api_call *call);
void api_messages_retry_skipped(struct api_call *call);
void api_lanes_list(struct api_call *call);
void api_lanes_get(struct api_call *call);
void api_why_get(struct api_call *call);
void api_verify_get(struct api_call *call);
void api_verify_progress_get(struct api_call *call);
void api_events_get(struct api_call *call);
void api_reload_post(struct api_call *call);
// A file of the status page; false when there is none of that path.
bool api_page_get(struct api_call *call);
