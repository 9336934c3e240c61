// The bytes of a file as an answer, and what the faults of files make of it.
#include "base/log.h"
#include "base/must.h"
#include "sandbox/door.h"

#include <string.h>

enum { SLOW_PIECES = 50, SLOW_MS = 10000, FLOW_PIECE = 64 << 10 };
static const int64_t endless = INT64_C(4) << 30;
static const char page_instead[] =
    "<!doctype html><title>Sign in</title><script>alert(document.domain)</script><p>Sign in to go on.";

// An answer that comes bit by bit: the bytes in SLOW_PIECES with pauses; or zeros without an end, as fast as they are taken.
struct flow {
    struct call *call;
    struct str bytes; // STR_NONE: zeros
    int64_t at, size;
    int64_t pause_ms; // 0: as fast as they are taken
};

static void flow_gone(void *arg)
{
    struct flow *flow = arg;
    call_cut(flow->call, STR_NONE, false);
}

static bool flow_piece(struct flow *flow, int64_t piece)
{
    static const char zeros[FLOW_PIECE];
    int64_t left = flow->size - flow->at, n = piece < left ? piece : left;
    struct str bytes = flow->bytes.p ? str_sub(flow->bytes, (size_t)flow->at, (size_t)(flow->at + n))
                                     : (struct str){zeros, (size_t)n};
    flow->at += n;
    return http_exchange_write(flow->call->exchange, bytes);
}

static void flow_drip(void *arg)
{
    struct flow *flow = arg;
    int64_t piece = flow->size / SLOW_PIECES + 1;
    bool good = flow_piece(flow, piece);
    if (good && flow->at == flow->size)
        call_cut(flow->call, STR_NONE, false);
    else if (good)
        loop_timer_set(flow->call->timer, flow->pause_ms);
}

static void flow_pour(void *arg)
{
    struct flow *flow = arg;
    while (flow->at < flow->size && http_exchange_unsent(flow->call->exchange) < FLOW_PIECE)
        if (!flow_piece(flow, FLOW_PIECE))
            return;
    if (flow->at == flow->size)
        call_cut(flow->call, STR_NONE, false);
}

static void flow_begin(struct call *call, struct str mime, struct str bytes, int64_t size, int64_t pause_ms)
{
    struct flow *flow = arena_of(call->arena, struct flow);
    struct http_stream stream = {.gone = flow_gone, .taken = pause_ms ? NULL : flow_pour, .arg = flow};
    *flow = (struct flow){call, arena_str(call->arena, bytes), 0, size, pause_ms};
    call->status = 200;
    call->streaming = true;
    loop_timer_free(call->timer);
    call->timer = loop_timer_new(call->door->loop, pause_ms ? flow_drip : flow_pour, flow);
    if (http_exchange_stream(call->exchange, 200, mime, NULL, 0, &stream))
        loop_timer_set(call->timer, pause_ms);
    else
        call_cut(call, STR_NONE, false);
}

// The pages are of the same origin: what a browser would run is not to run as one of them.
static void head_of_file(struct call *call, struct str mime)
{
    call_header(call, "Content-Type", mime);
    call_header(call, "X-Content-Type-Options", STR("nosniff"));
    call_header(call, "Content-Security-Policy", STR("default-src 'none'; sandbox"));
}

static void act(struct call *call, struct str bytes, struct str mime)
{
    const struct fault fault = call->fault;
    struct str half = str_sub(bytes, 0, bytes.n / 2);
    if (fault.kind == FAULT_FILE_404 || fault.kind == FAULT_FILE_WRONG_TYPE)
        call->fault.kind = FAULT_NONE; // what is said now is the answer
    switch (fault.kind) {
    case FAULT_FILE_404:
        call->door->ops->refuse(call->door->arg, call, 404, -1);
        break;
    case FAULT_FILE_SLOW:
        flow_begin(call, mime, bytes, (int64_t)bytes.n, (fault.ms ? fault.ms : SLOW_MS) / SLOW_PIECES + 1);
        break;
    case FAULT_FILE_TRUNCATED:
        call_cut(call, call_raw_answer(call, 200, mime, (int64_t)bytes.n, half), false);
        break;
    case FAULT_FILE_WRONG_TYPE:
        head_of_file(call, mime);
        call_answer(call, 200, fault.body.p ? fault.body : str_of(page_instead));
        break;
    case FAULT_FILE_ENDLESS:
        flow_begin(call, mime, STR_NONE, endless, 0);
        break;
    default:
        must(fault.kind == FAULT_FILE_CLAIMS);
        call_cut(call, call_raw_answer(call, 200, mime, endless, bytes), false);
    }
}

void call_answer_file(struct call *call, struct str bytes, struct str mime)
{
    struct door *door = call->door;
    if (call->fault.kind == FAULT_NONE &&
        fault_list_take_file(door->faults, call->request->method, call->request->path, call->arena, &call->fault)) {
        log_info("fault", LOG_C("stand_in", door->ops->name), LOG_C("fault", fault_kind_name(call->fault.kind)));
        act(call, bytes, mime);
        return;
    }
    head_of_file(call, mime);
    call_answer(call, 200, bytes);
}

bool call_opens_file(struct call *call, bool *spent)
{
    if (*spent)
        return false;
    *spent = fault_list_take_expiry(call->door->faults, call->request->method, call->request->path, call->arena);
    return true;
}

void call_show_file(struct call *call, const struct file *file)
{
    bool shown = str_starts(file->mime, STR("image/")) || str_starts(file->mime, STR("audio/")) ||
                 str_starts(file->mime, STR("video/"));
    struct str type = shown && !str_eq_c(file->mime, "image/svg+xml") ? file->mime : STR("application/octet-stream");
    head_of_file(call, type);
    call_header(call, "Cache-Control", STR("private, max-age=3600"));
    call_answer(call, 200, file->bytes);
}
