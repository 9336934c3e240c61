// Life of the admin side, and what every request passes before its handler.
//
// Start: servers are bound on the caller's thread, then the loop's thread runs. Stop: the loop drains the servers, waits until no
// exchange is open (workers answer theirs), and ends; the caller joins it.
#include "admin/admin.h"

#include "admin/api.h"
#include "admin/guard.h"
#include "admin/route.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    READER_CAP_MS = 2000, // of one query on the loop's thread
    CONNECTIONS_MIN = 4,  // on each door
    CONNECTIONS_MAX = 256,
    READING_MAX = 8 * API_BODY_MAX,
    WRONG_TOKENS_FREE = 10, // answered at once; more within a minute wait
    WRONG_TOKEN_WAIT_MS = 1000,
    DRAIN_LOOK_MS = 10,
};

// One of the two ways in.
struct door {
    struct admin *admin;
    struct http_server *server;
    bool local;
};

struct admin {
    struct admin_options options; // texts in `arena`
    struct arena arena;
    int64_t started_us;
    struct loop *loop;
    struct door doors[2]; // TCP, Unix
    struct events *events;
    pthread_t thread;
    bool locks[API_LOCKS];
    struct api_verify_progress verify_progress;
    struct api_work *turns; // the first runs, the others wait for it
    int64_t wrong_since_us; // mono: begin of the minute in which wrong tokens are counted
    int wrong_tokens;
    struct loop_timer *drain_timer; // while stopping
    struct loop_task stop_task;
};

const struct admin_options *admin_of(const struct api_call *call)
{
    return &call->admin->options;
}

int64_t admin_started_us(const struct api_call *call)
{
    return call->admin->started_us;
}

struct events *admin_events(const struct api_call *call)
{
    return call->admin->events;
}

struct api_verify_progress *admin_verify_progress(const struct api_call *call)
{
    return &call->admin->verify_progress;
}

bool api_lock(struct api_call *call, enum api_lock lock)
{
    bool free = !call->admin->locks[lock];
    call->admin->locks[lock] = true;
    return free;
}

void api_unlock(struct api_call *call, enum api_lock lock)
{
    call->admin->locks[lock] = false;
}

static void on_work(uv_work_t *uv)
{
    struct api_work *work = uv->data;
    work->run(work);
}

static void on_worked(uv_work_t *uv, int status)
{
    struct api_work *work = uv->data;
    must(status == 0);
    work->done(work);
}

void api_work_start(struct api_work *work, void (*run)(struct api_work *work), void (*done)(struct api_work *work))
{
    work->run = run;
    work->done = done;
    work->uv.data = work;
    must(uv_queue_work(loop_uv(work->call->admin->loop), &work->uv, on_work, on_worked) == 0);
}

static void on_turn_worked(uv_work_t *uv, int status)
{
    struct api_work *work = uv->data;
    struct admin *admin = work->call->admin;
    must(status == 0 && admin->turns == work);
    admin->turns = work->next;
    if (admin->turns)
        must(uv_queue_work(loop_uv(admin->loop), &admin->turns->uv, on_work, on_turn_worked) == 0);
    work->done(work); // it may go with its exchange
}

void api_work_in_turn(struct api_work *work, void (*run)(struct api_work *work), void (*done)(struct api_work *work))
{
    struct admin *admin = work->call->admin;
    struct api_work **last = &admin->turns;
    work->run = run;
    work->done = done;
    work->uv.data = work;
    while (*last)
        last = &(*last)->next;
    *last = work;
    if (admin->turns == work)
        must(uv_queue_work(loop_uv(admin->loop), &work->uv, on_work, on_turn_worked) == 0);
}

// A refusal that waits, so that guessing is slow.
struct slow_refusal {
    struct api_call *call;
    struct loop_timer *timer;
};

static void refuse_token(struct api_call *call)
{
    api_problem(call, 401, "Send the relay's token as \"Authorization: Bearer TOKEN\".");
}

static void on_waited(void *arg)
{
    struct slow_refusal *slow = arg;
    loop_timer_free(slow->timer);
    refuse_token(slow->call);
}

// True when there were many wrong tokens within this minute; logged when it begins.
static bool count_wrong_token(struct admin *admin)
{
    int64_t now_us = clock_mono_us(&clock_system);
    if (!admin->wrong_since_us || now_us - admin->wrong_since_us > INT64_C(60000000)) {
        admin->wrong_since_us = now_us;
        admin->wrong_tokens = 0;
    }
    if (++admin->wrong_tokens == WRONG_TOKENS_FREE + 1)
        log_warn("admin_wrong_tokens", LOG_N("count", admin->wrong_tokens));
    return admin->wrong_tokens > WRONG_TOKENS_FREE;
}

static void wrong_token(struct api_call *call)
{
    bool tried = http_header_get(call->request->headers, call->request->header_count, "authorization").p;
    if (!tried || !count_wrong_token(call->admin)) {
        refuse_token(call);
        return;
    }
    struct slow_refusal *slow = arena_of(call->arena, struct slow_refusal);
    slow->call = call;
    slow->timer = loop_timer_new(call->admin->loop, on_waited, slow);
    loop_timer_set(slow->timer, WRONG_TOKEN_WAIT_MS);
}

// What a foreign page could have caused. True: answered.
static bool refuse_foreign(struct api_call *call)
{
    if (call->local)
        return false;
    if (!guard_host(call->request)) {
        api_problem(
            call, 421,
            "The Host header names no address of this relay; a proxy before it has to send the relay's own address.");
        return true;
    }
    if (!guard_origin(call->request)) {
        api_problem(call, 403, "The request comes from a page of another origin.");
        return true;
    }
    return false;
}

static void no_route(struct api_call *call, int status)
{
    if (status == 404)
        api_problem(call, 404, "There is nothing at this path; docs/openapi.yaml has what there is.");
    else if (status == 405)
        api_problem(call, 405, "This path has other methods; see the Allow header.");
    else
        api_problem(call, 400, "The path is not well percent-encoded UTF-8.");
}

// Content-Type is what a form of a foreign page cannot set to this.
static bool has_json_or_nothing(const struct http_request *request)
{
    struct str type = http_header_get(request->headers, request->header_count, "content-type");
    return !request->body.n || !type.p || str_ieq_c(http_media_type(type), "application/json");
}

static void take(struct api_call *call)
{
    struct str method = call->request->method;
    call->audited = !str_eq_c(method, "GET") && !str_eq_c(method, "HEAD");
    call->route->handle(call);
}

static void handle(struct api_call *call)
{
    struct str allow, unknown, unclear;
    if (refuse_foreign(call))
        return;
    int status = route_find(call, &allow);
    const struct route *route = call->route;
    bool open = route ? route->open : !str_starts(call->request->path, STR("/api/"));
    if (!open && !call->local && !guard_token(call->request, call->admin->options.token))
        wrong_token(call);
    else if (status == 404 && api_page_get(call))
        return;
    else if (status || !route)
        no_route(call, status);
    else if (!route_knows_query(route, call->request->query, &unknown))
        api_problem(call, 400, "There is no parameter \"%.*s\" here; there %s%s.", unknown.n < 64 ? (int)unknown.n : 64,
                    unknown.p, *route->query ? "are: " : "is none", route->query);
    else if (!route_reads_query(call, &unclear))
        api_problem(call, 400, "%.*s stands twice, or its value is not well percent-encoded UTF-8.", STR_ARG(unclear));
    else if (!has_json_or_nothing(call->request))
        api_problem(call, 415, "The body of a request is JSON, with Content-Type: application/json.");
    else
        take(call);
}

static int on_head(void *arg, const struct http_request *request, size_t *max_body)
{
    (void)arg;
    (void)request;
    *max_body = API_BODY_MAX;
    return 0;
}

// Of methods that no path has, as TRACE.
static struct str on_allow(void *arg, const struct http_request *request)
{
    (void)arg;
    (void)request;
    return STR("GET, HEAD, POST, PATCH, DELETE");
}

static void on_request(void *arg, struct http_exchange *exchange)
{
    const struct door *door = arg;
    struct arena *arena = http_exchange_arena(exchange);
    struct api_call *call = arena_of(arena, struct api_call);
    *call = (struct api_call){
        .admin = door->admin,
        .exchange = exchange,
        .request = http_exchange_request(exchange),
        .arena = arena,
        .local = door->local,
    };
    handle(call);
}

// Where descriptors are few, few are for those who look on.
static size_t most_connections(size_t of_webhooks)
{
    size_t share = of_webhooks / 8 + CONNECTIONS_MIN;
    return share < CONNECTIONS_MAX ? share : CONNECTIONS_MAX;
}

static bool open_door(struct admin *admin, int index, const char *address, struct arena *arena, const char **why)
{
    struct door *door = &admin->doors[index];
    struct http_handler handler = {.arg = door, .head = on_head, .request = on_request, .allow = on_allow};
    struct http_server_options options;
    const char *reason = NULL;
    *door = (struct door){.admin = admin, .local = index == 1};
    http_server_options_default(&options);
    options.max_connections = most_connections(options.max_connections);
    options.max_body = API_BODY_MAX;
    options.max_reading = READING_MAX; // the token is looked at when a request is whole
    door->server = http_server_new(admin->loop, address, -1, &options, &handler, &reason);
    if (!door->server)
        *why = arena_printf(arena, "cannot listen on %s (admin): %s", address, reason).p;
    return door->server != NULL;
}

static struct admin *admin_new(const struct admin_options *options)
{
    struct admin *admin = mem_new_of(struct admin);
    admin->options = *options;
    admin->options.token = arena_str(&admin->arena, options->token);
    admin->options.listen = NULL; // wanted at the start only
    admin->options.socket = NULL;
    admin->started_us = clock_wall_us(options->clock);
    admin->loop = loop_new();
    admin->events = events_new(admin->loop, options);
    if (options->reader)
        options->reader->ops->set_time_cap(options->reader, READER_CAP_MS);
    return admin;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    for (size_t i = 0; i < 2; i++)
        if (admin->doors[i].server)
            http_server_free(admin->doors[i].server);
    events_free(admin->events);
    loop_free(admin->loop);
    if (admin->options.reader)
        admin->options.reader->ops->free(admin->options.reader);
    if (admin->options.verify_reader)
        admin->options.verify_reader->ops->free(admin->options.verify_reader);
    arena_done(&admin->arena);
    free(admin);
}

static void *thread_main(void *arg)
{
    struct admin *admin = arg;
    loop_run(admin->loop);
    return NULL;
}

struct admin *admin_start(const struct admin_options *options, struct arena *arena, const char **why)
{
    struct admin *admin = admin_new(options);
    bool good = !options->listen || open_door(admin, 0, options->listen, arena, why);
    good = good &&
           (!options->socket || open_door(admin, 1, arena_printf(arena, "unix:%s", options->socket).p, arena, why));
    if (good && pthread_create(&admin->thread, NULL, thread_main, admin) != 0) {
        *why = "cannot start the admin thread";
        good = false;
    }
    if (good) {
        pthread_setname_np(admin->thread, "admin");
        return admin;
    }
    admin_free(admin);
    return NULL;
}

static void look_whether_drained(void *arg)
{
    struct admin *admin = arg;
    size_t open = 0;
    for (size_t i = 0; i < 2; i++)
        if (admin->doors[i].server)
            open += http_server_open_exchanges(admin->doors[i].server);
    if (open) {
        loop_timer_set(admin->drain_timer, DRAIN_LOOK_MS);
        return;
    }
    loop_timer_free(admin->drain_timer);
    loop_stop(admin->loop);
}

static void on_stop(struct loop_task *task)
{
    struct admin *admin = (struct admin *)((char *)task - offsetof(struct admin, stop_task));
    events_end(admin->events);
    if (admin->options.relay)
        relay_end_checks(admin->options.relay);
    for (size_t i = 0; i < 2; i++)
        if (admin->doors[i].server)
            http_server_drain(admin->doors[i].server);
    admin->drain_timer = loop_timer_new(admin->loop, look_whether_drained, admin);
    look_whether_drained(admin);
}

void admin_stop(struct admin *admin)
{
    if (!admin)
        return;
    if (admin->options.verify_reader)
        admin->options.verify_reader->ops->interrupt(admin->options.verify_reader); // it may have hours to go
    admin->stop_task.run = on_stop;
    must(loop_post(admin->loop, &admin->stop_task));
    pthread_join(admin->thread, NULL);
}

int admin_port(const struct admin *admin)
{
    return admin->doors[0].server ? http_server_port(admin->doors[0].server) : 0;
}
