#include "sandbox/door.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/web_file.h"
#include "sandbox/own.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { KEEP_REQUESTS = 20000, FREE_OLD_MS = 50, MAX_HELD_MS = 600000 };

// ---- a call ----

struct str call_segment(const struct call *call, size_t i)
{
    return i < call->segment_count && i < CALL_SEGMENTS ? call->segments[i] : STR_NONE;
}

struct str call_request_header(const struct call *call, const char *name)
{
    return http_header_get(call->request->headers, call->request->header_count, name);
}

struct str call_query(const struct call *call, const char *name)
{
    return http_query_get(call->arena, call->request->query, name);
}

int64_t call_query_int(const struct call *call, const char *name, int64_t low, int64_t high, int64_t otherwise)
{
    int64_t n = 0;
    if (!str_to_i64(call_query(call, name), &n))
        return otherwise;
    return n < low ? low : n > high ? high : n;
}

static void split_path(struct call *call)
{
    struct str path = call->request->path;
    for (size_t at = 1; at < path.n;) {
        size_t end = str_index(path, '/', at);
        if (call->segment_count == CALL_SEGMENTS) {
            call->segment_count++;
            return;
        }
        call->segments[call->segment_count++] = http_unescape(call->arena, str_sub(path, at, end));
        at = end + 1;
    }
}

static struct call *call_new(const struct entrance *entrance, struct http_exchange *exchange)
{
    struct door *door = entrance->door;
    struct arena *arena = http_exchange_arena(exchange);
    struct call *call = arena_of(arena, struct call);
    call->door = door;
    call->entrance = entrance;
    call->exchange = exchange;
    call->arena = arena;
    call->request = http_exchange_request(exchange);
    call->began_us = clock_wall_us(&clock_system);
    call->open = door->open++;
    split_path(call);
    if (call->request->body.n > 0)
        call->doc = json_read(call->request->body);
    call->body = call->doc ? yyjson_doc_get_root(call->doc) : NULL;
    DL_APPEND(door->calls, call);
    return call;
}

// What the call holds beside its arena goes; the exchange is about to end and takes the rest.
static void call_done(struct call *call)
{
    DL_DELETE(call->door->calls, call);
    call->door->open--;
    loop_timer_free(call->timer);
    yyjson_doc_free(call->doc);
}

static void note_request(struct call *call, const char *outcome)
{
    struct door *door = call->door;
    if (!call->api)
        return;
    struct buf text;
    buf_init(&text, 1 << 20);
    struct json json = {.out = &text};
    json_key_str(&json, "method", call->request->method);
    json_key_str(&json, "target", call->request->target);
    json_key_time(&json, "began_at", call->began_us);
    json_key_int(&json, "ms", (clock_wall_us(&clock_system) - call->began_us) / 1000);
    json_key_int(&json, "open", (int64_t)call->open);
    json_key_int(&json, "status", call->status);
    json_key_str(&json, "outcome", str_of(outcome));
    json_key_str(&json, "fault", call->fault.kind ? str_of(fault_kind_name(call->fault.kind)) : STR_NONE);
    if (!text.failed)
        journal_add(door->requests, clock_wall_us(&clock_system), buf_str(&text));
    buf_done(&text);
}

void call_cut(struct call *call, struct str bytes, bool reset)
{
    struct http_exchange *exchange = call->exchange;
    bool streaming = call->streaming;
    call->status = streaming ? call->status : 0;
    note_request(call, streaming ? "streamed" : reset ? "reset" : "cut");
    call_done(call);
    if (streaming)
        http_exchange_end(exchange);
    else
        http_exchange_cut(exchange, bytes, reset);
}

static void send_answer(struct call *call)
{
    struct http_exchange *exchange = call->exchange;
    struct str type = STR("application/json; charset=utf-8");
    struct http_header headers[CALL_HEADERS];
    size_t count = 0;
    for (size_t i = 0; i < call->header_count; i++)
        if (str_ieq_c(call->headers[i].name, "content-type"))
            type = call->headers[i].value;
        else
            headers[count++] = call->headers[i];
    int status = call->status;
    struct str answer = call->answer;
    note_request(call, "answered");
    call_done(call);
    http_exchange_answer(exchange, status, type, headers, count, answer);
}

void call_header(struct call *call, const char *name, struct str value)
{
    must(call->header_count < CALL_HEADERS);
    call->headers[call->header_count++] = (struct http_header){str_of(name), value};
}

// ---- faults on the way in and out ----

static void door_refuse(struct door *door, int64_t ms);

static void hang(struct call *call);

struct str call_raw_answer(struct call *call, int status, struct str mime, int64_t length, struct str body)
{
    struct str head = arena_printf(call->arena, "HTTP/1.1 %d %s\r\nContent-Type: %.*s\r\nContent-Length: %lld\r\n\r\n",
                                   status, http_status_text(status), STR_ARG(mime), (long long)length);
    return ARENA_JOIN(call->arena, head, body);
}

static void send_half(struct call *call)
{
    struct str text = call->answer.n > 1 ? call->answer
                                         : STR("{\"type\":\"this answer was cut by a fault of the stand-in\"}");
    call_cut(
        call,
        call_raw_answer(call, call->status, STR("application/json"), (int64_t)text.n, str_sub(text, 0, text.n / 2)),
        false);
}

static void send_garbage(struct call *call)
{
    call->status = 200;
    call->answer = call->fault.body.p ? call->fault.body : STR("<html>\x01\xFF{\"ok\":tru");
    send_answer(call);
}

static void send_status(struct call *call)
{
    struct fault fault = call->fault;
    call->header_count = 0;
    if (!fault.body.p) {
        call->fault.kind = FAULT_NONE; // the words that come now are the answer
        call->door->ops->refuse(call->door->arg, call, fault.status, fault.retry_after_s);
        return;
    }
    if (fault.retry_after_s >= 0)
        call_header(call, "Retry-After", arena_printf(call->arena, "%lld", (long long)fault.retry_after_s));
    call->status = fault.status;
    call->answer = fault.body;
    send_answer(call);
}

// The fault acts in place of the answer, whether or not the request was applied before.
static void act(struct call *call)
{
    switch (call->fault.kind) {
    case FAULT_NONE:
    case FAULT_LATENCY:
        send_answer(call);
        break;
    case FAULT_RATE_LIMIT:
        call->fault.status = 429;
        send_status(call);
        break;
    case FAULT_STATUS:
        send_status(call);
        break;
    case FAULT_REFUSE:
        door_refuse(call->door, call->fault.ms);
        call_cut(call, STR_NONE, false);
        break;
    case FAULT_DROP_AFTER:
    case FAULT_DROP_BEFORE:
        call_cut(call, STR_NONE, false);
        break;
    case FAULT_HANG:
        hang(call);
        break;
    case FAULT_TRUNCATE:
        call->status = call->status ? call->status : 200;
        send_half(call);
        break;
    case FAULT_GARBAGE:
        send_garbage(call);
        break;
    case FAULT_RESET:
        call_cut(call, STR_NONE, true);
        break;
    case FAULT_LOSE:
    case FAULT_TWICE:
    case FAULT_LATE:
    case FAULT_SWAP:
    case FAULT_FILE_404:
    case FAULT_FILE_SLOW:
    case FAULT_FILE_TRUNCATED:
    case FAULT_FILE_WRONG_TYPE:
    case FAULT_FILE_ENDLESS:
    case FAULT_FILE_CLAIMS:
    case FAULT_FILE_EXPIRES:
        must(false); // never of a request
    }
}

static void hang_ends(void *arg)
{
    call_cut(arg, STR_NONE, false);
}

static void hang(struct call *call)
{
    loop_timer_free(call->timer);
    call->timer = loop_timer_new(call->door->loop, hang_ends, call);
    loop_timer_set(call->timer, call->fault.ms ? call->fault.ms : MAX_HELD_MS);
}

void call_answer(struct call *call, int status, struct str body)
{
    call->status = status;
    call->answer = body;
    if (call->fault.kind == FAULT_LATENCY && call->fault.apply) {
        call->answer = arena_str(call->arena, body);
        for (size_t i = 0; i < call->header_count; i++)
            call->headers[i].value = arena_str(call->arena, call->headers[i].value);
        loop_timer_set(call->timer, call->fault.ms);
        return;
    }
    act(call);
}

void call_answer_buf(struct call *call, int status, struct buf *body)
{
    if (body->failed)
        call_answer(call, 500, STR("{\"error\":\"the answer is too long\"}"));
    else
        call_answer(call, status, buf_str(body));
    buf_done(body);
}

void call_control_error(struct call *call, int status, const char *why)
{
    struct buf text;
    buf_init(&text, 4096);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_str(&json, "error", str_of(why));
    json_close(&json, '}');
    call_answer_buf(call, status, &text);
}

static void latency_over(void *arg)
{
    struct call *call = arg;
    if (call->fault.kind == FAULT_LATENCY && call->fault.apply)
        send_answer(call);
    else if (call->fault.kind == FAULT_LATENCY || call->fault.apply)
        call->door->ops->api(call->door->arg, call);
    else
        act(call);
}

static void begin_with_fault(struct call *call)
{
    const struct fault *fault = &call->fault;
    bool waits = fault->ms > 0 && fault->kind != FAULT_HANG && fault->kind != FAULT_REFUSE;
    log_info("fault", LOG_C("stand_in", call->door->ops->name), LOG_C("fault", fault_kind_name(fault->kind)));
    if (waits)
        call->timer = loop_timer_new(call->door->loop, latency_over, call);
    if (fault->kind == FAULT_LATENCY && fault->apply) {
        if (!waits)
            call->fault.kind = FAULT_NONE;
        call->door->ops->api(call->door->arg, call);
    } else if (waits) {
        loop_timer_set(call->timer, fault->ms);
    } else if (fault->kind == FAULT_LATENCY || fault->apply) {
        call->door->ops->api(call->door->arg, call);
    } else {
        act(call);
    }
}

// ---- the server, and its refusals ----

static void on_request(void *arg, struct http_exchange *exchange);

// Cuts what came in by that entrance; NULL: by any.
static void cut_all(struct door *door, const struct entrance *entrance)
{
    for (struct call *call = door->calls, *next; call; call = next) {
        next = call->next;
        if (entrance && call->entrance != entrance)
            continue;
        if (call->state && door->ops->dropped)
            door->ops->dropped(door->arg, call);
        call_cut(call, STR_NONE, false);
    }
}

static bool entrance_open(struct door *door, const char *address, const char **why)
{
    struct entrance *entrance = mem_new_of(struct entrance);
    struct http_handler handler = {.arg = entrance, .request = on_request};
    struct http_server_options options;
    http_server_options_default(&options);
    options.max_body = CALL_BODY_MAX;
    entrance->door = door;
    entrance->server = http_server_new(door->loop, address, -1, &options, &handler, why);
    if (!entrance->server) {
        free(entrance);
        return false;
    }
    door->open_by = entrance;
    return true;
}

// No exchange may be open on it.
static void entrance_free(struct entrance *entrance)
{
    if (!entrance)
        return;
    http_server_free(entrance->server);
    free(entrance);
}

static void try_free_old(void *arg)
{
    struct door *door = arg;
    if (!door->old)
        return;
    if (http_server_open_exchanges(door->old->server) > 0) {
        loop_timer_set(door->free_old, FREE_OLD_MS);
        return;
    }
    entrance_free(door->old);
    door->old = NULL;
}

static void reopen(void *arg)
{
    struct door *door = arg;
    const char *why = NULL;
    if (!door->open_by && !entrance_open(door, door->address.p, &why)) {
        log_warn("cannot_reopen", LOG_C("stand_in", door->ops->name), LOG_C("error", why));
        loop_timer_set(door->reopen, 100);
    }
}

static void door_refuse(struct door *door, int64_t ms)
{
    loop_timer_set(door->reopen, ms > 0 ? ms : 1000);
    if (!door->open_by)
        return;
    live_end_all(door->live);
    if (door->old) { // two refusals in quick succession: what the first one left open is cut
        cut_all(door, door->old);
        entrance_free(door->old);
    }
    http_server_drain(door->open_by->server);
    door->old = door->open_by;
    door->open_by = NULL;
    loop_timer_set(door->free_old, FREE_OLD_MS);
}

// ---- control ----

bool door_fault(struct door *door, yyjson_val *spec, const char **why, int64_t *out_id)
{
    struct fault now;
    if (!fault_list_add(door->faults, spec, why, out_id, &now))
        return false;
    if (now.kind == FAULT_REFUSE)
        door_refuse(door, now.ms);
    return true;
}

static void write_faults(struct call *call)
{
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key(&json, "faults");
    fault_list_write(call->door->faults, &json);
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

static void release_held(struct door *door)
{
    for (struct call *call = door->calls, *next; call; call = next) {
        next = call->next;
        if (call->fault.kind == FAULT_HANG && call->timer)
            call_cut(call, STR_NONE, false);
    }
}

static void control_faults(struct call *call)
{
    struct door *door = call->door;
    const char *why = NULL;
    int64_t id = 0;
    if (str_eq_c(call->request->method, "GET")) {
        write_faults(call);
    } else if (str_eq_c(call->request->method, "POST")) {
        if (door_fault(door, call->body, &why, &id))
            call_answer(call, 201, arena_printf(call->arena, "{\"id\":%lld}", (long long)id));
        else
            call_control_error(call, 400, why);
    } else if (str_eq_c(call->request->method, "DELETE")) {
        int gone = fault_list_clear(door->faults, call_query_int(call, "id", 0, INT64_MAX, 0));
        if (call_query(call, "id").p == NULL)
            release_held(door);
        call_answer(call, 200, arena_printf(call->arena, "{\"cleared\":%d}", gone));
    } else {
        call_control_error(call, 405, "GET, POST or DELETE");
    }
}

static void control_journal(struct call *call)
{
    struct door *door = call->door;
    struct str of = call_query(call, "of");
    int64_t after = call_query_int(call, "after", 0, INT64_MAX, 0);
    int64_t limit = call_query_int(call, "limit", 1, 100000, 1000);
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    struct json json = {.out = &text};
    bool known = true;
    if (str_eq_c(of, "requests"))
        journal_write(door->requests, after, limit, &json);
    else
        known = door->ops->journal(door->arg, of, after, limit, &json);
    if (known) {
        call_answer_buf(call, 200, &text);
        return;
    }
    buf_done(&text);
    call_control_error(call, 404, "no journal of that name");
}

static void control_status(struct call *call)
{
    struct door *door = call->door;
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_str(&json, "stand_in", str_of(door->ops->name));
    json_key_str(&json, "version", str_of(TRIBUTARY_VERSION));
    json_key_str(&json, "other", str_of(door->other));
    json_key_int(&json, "requests", door->request_count);
    json_key_int(&json, "open", (int64_t)door->open - 1);
    door->ops->status(door->arg, &json);
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

static void control_reset(struct call *call)
{
    struct door *door = call->door;
    DL_DELETE(door->calls, call); // this one is to be answered
    door->open--;
    fault_list_clear(door->faults, 0);
    door->ops->reset(door->arg);
    cut_all(door, NULL);
    journal_clear(door->requests);
    door->request_count = 0;
    DL_APPEND(door->calls, call);
    door->open++;
    live_changed(door->live);
    call_answer(call, 200, STR("{}"));
}

static void control(struct call *call)
{
    struct door *door = call->door;
    struct str path = call->request->path;
    struct str what = str_sub(path, strlen("/sandbox/"), path.n);
    bool post = str_eq_c(call->request->method, "POST");
    if (str_eq_c(what, "faults"))
        control_faults(call);
    else if (str_eq_c(what, "journal"))
        control_journal(call);
    else if (str_eq_c(what, "status"))
        control_status(call);
    else if (str_eq_c(what, "reset") && post)
        control_reset(call);
    else if (!door->ops->control(door->arg, call, what))
        call_control_error(call, 404, "the control API has no such request; see docs/sandbox.md");
}

// ---- pages ----

static void serve_file(struct call *call, struct str name)
{
    for (size_t i = 0; i < sandbox_web_files_count; i++) {
        const struct web_file *file = &sandbox_web_files[i];
        if (!str_eq_c(name, file->path))
            continue;
        call_header(call, "Content-Type", str_of(file->mime));
        call_header(call, "Cache-Control", STR("no-cache"));
        call_header(call, "X-Content-Type-Options", STR("nosniff"));
        call_header(call, "Referrer-Policy", STR("no-referrer"));
        call_header(
            call, "Content-Security-Policy",
            STR("default-src 'self'; img-src 'self' http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
        call_answer(call, 200, (struct str){(const char *)file->data, file->size});
        return;
    }
    call_control_error(call, 404, "no such file");
}

static void on_request(void *arg, struct http_exchange *exchange)
{
    const struct entrance *entrance = arg;
    struct door *door = entrance->door;
    const struct http_request *request = http_exchange_request(exchange);
    if (str_eq_c(request->path, "/sandbox/live")) {
        live_join(door->live, exchange);
        return;
    }
    struct call *call = call_new(entrance, exchange);
    bool get = str_eq_c(request->method, "GET") || str_eq_c(request->method, "HEAD");
    if (str_starts(request->path, STR("/sandbox/"))) {
        control(call);
    } else if (get && str_eq_c(request->path, "/")) {
        serve_file(call, str_of(door->ops->page));
    } else if (get && str_starts(request->path, STR("/web/"))) {
        serve_file(call, str_sub(request->path, strlen("/web/"), request->path.n));
    } else {
        door->request_count++;
        call->api = true;
        if (fault_list_take(door->faults, request->method, request->path, call->arena, &call->fault))
            begin_with_fault(call);
        else
            door->ops->api(door->arg, call);
    }
}

// ---- life ----

int door_port(const struct door *door)
{
    int64_t port = 0;
    size_t colon = door->address.n;
    while (colon > 0 && door->address.p[colon - 1] != ':')
        colon--;
    str_to_i64(str_sub(door->address, colon, door->address.n), &port);
    return (int)port;
}

struct str door_url(const struct door *door, struct arena *arena)
{
    return arena_printf(arena, "http://%.*s", STR_ARG(door->address));
}

// The address as given, with the port that was bound.
static void remember_address(struct door *door, const char *given)
{
    struct str address = str_of(given);
    size_t colon = address.n;
    while (colon > 0 && address.p[colon - 1] != ':')
        colon--;
    struct arena arena = {0};
    door->address = own(arena_printf(&arena, "%.*s%d", (int)colon, address.p, http_server_port(door->open_by->server)));
    arena_done(&arena);
}

struct door *door_new(struct loop *loop, const char *address, const struct door_ops *ops, void *arg, uint64_t seed,
                      const char **why)
{
    struct door *door = mem_new_of(struct door);
    door->ops = ops;
    door->arg = arg;
    door->loop = loop;
    if (!entrance_open(door, address, why)) {
        free(door);
        return NULL;
    }
    remember_address(door, address);
    door->reopen = loop_timer_new(loop, reopen, door);
    door->free_old = loop_timer_new(loop, try_free_old, door);
    door->faults = fault_list_new(seed, ops->notifies);
    door->requests = journal_new(KEEP_REQUESTS);
    door->live = live_new(loop);
    return door;
}

void door_free(struct door *door)
{
    if (!door)
        return;
    cut_all(door, NULL);
    live_free(door->live);
    loop_timer_free(door->reopen);
    loop_timer_free(door->free_old);
    entrance_free(door->old);
    entrance_free(door->open_by);
    fault_list_free(door->faults);
    journal_free(door->requests);
    disown(&door->address);
    free(door);
}
