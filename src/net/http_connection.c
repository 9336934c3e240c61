// One connection. Requests are taken one after another: the bytes behind a request that is not answered yet wait in
// `pending` (bounded; beyond it reading stops), so answers cannot change their order.
//
//   IDLE -first bytes-> HEAD -accepted-> BODY -whole-> PARKED -answer-> WRITING -all given to the kernel-> IDLE
//     \____________ a whole request at once __________/   \-stream-> STREAMING -end-/       \-last answer-> LINGERING
//   HEAD, BODY -refused, too slow-> WRITING (the last answer)          LINGERING -peer's end, or time-> CLOSED
//   any -error, out of time-> CLOSED
//
// An exchange is the connection's while it is being read, and the handler's from PARKED on: a connection that closes
// then leaves it alone, and the answer is dropped.
//
// LINGERING: our side is shut, and what the peer still sends is read and thrown away. Closing with unread bytes would
// send a reset, which can overtake the answer: a peer still sending a refused body would never learn why.
#include "net/http_connection.h"

#include "base/mem.h"
#include "base/must.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    STREAM_MAX = 1024 * 1024, // bytes of a stream that the peer has not taken
    UNSENT_MOST = 128 * 1024, // of a body of known length, in the kernel
    LINGER_MS = 2000,
    TURN_REQUESTS = 2,          // of one connection, then it is others' turn
    WRITE_PROGRESS = 64 * 1024, // bytes taken that renew the time to write
};

enum connection_state {
    CONNECTION_IDLE,      // nothing of a next request has come
    CONNECTION_HEAD,      // part of a head
    CONNECTION_BODY,      // the head is accepted, the body is not whole
    CONNECTION_PARKED,    // the handler has the request
    CONNECTION_STREAMING, // the handler answers bit by bit
    CONNECTION_WRITING,   // answered; the kernel has not taken all of it
    CONNECTION_LINGERING, // answered for the last time, our side is shut
    CONNECTION_CLOSED,    // libuv has yet to let go of it
    CONNECTION_STATES,
};

struct http_connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv; // first
    struct http_server *server;
    struct http_connection *prev, *next; // server->crowds[crowd]
    enum crowd crowd;
    size_t held; // as the server was told
    struct http_connection *resume_prev, *resume_next;

    enum connection_state state;
    int64_t began_ms;    // the first byte of the request being read
    int64_t body_ms;     // its head was accepted
    int64_t deadline_ms; // of the state; INT64_MAX = none
    size_t write_mark;   // what was to be written when the deadline was set

    struct request_parser parser;
    struct http_exchange *exchange; // being read, with the handler, or streamed
    struct buf pending;
    size_t pending_at; // what stands before was used
    size_t turn;       // requests that were whole in this run()
    bool running;      // inside run()
    bool resuming;     // in server->resuming
    bool reading;
    bool ended;       // the peer has shut its side
    bool last_answer; // no request after this one
    uv_shutdown_t shutdown;
};

struct http_exchange {
    struct request_draft draft; // first; its arena holds the exchange too
    struct http_server *server;
    struct http_connection *connection; // NULL once it has gone
    bool keep_alive, is_head, is_http10;
    bool chunked;
    struct http_stream stream; // `gone` is set once it is one
    int64_t left;              // of stream.length, to be written
};

// A part of an answer that the kernel did not take at once.
struct unsent {
    uv_write_t uv;
    struct http_connection *connection;
    char bytes[];
};

static int64_t now_of(const struct http_connection *connection)
{
    return (int64_t)uv_now(connection->uv.handle.loop);
}

// ---- state

static int64_t state_deadline(const struct http_connection *connection)
{
    const struct http_server_options *options = &connection->server->options;
    int64_t now = now_of(connection);
    switch (connection->state) {
    case CONNECTION_IDLE:
        return now + options->idle_ms;
    case CONNECTION_HEAD:
        return connection->began_ms + options->head_ms;
    case CONNECTION_BODY:
        return connection->began_ms + options->body_ms;
    case CONNECTION_WRITING:
        return now + options->write_ms;
    case CONNECTION_LINGERING:
        return now + LINGER_MS;
    default:
        return INT64_MAX;
    }
}

static void set_state(struct http_connection *connection, enum connection_state state)
{
#define TO(name) (1 << CONNECTION_##name)
    static const int next[CONNECTION_STATES] = {
        [CONNECTION_IDLE] = TO(HEAD) | TO(BODY) | TO(PARKED) | TO(WRITING) | TO(CLOSED),
        [CONNECTION_HEAD] = TO(BODY) | TO(PARKED) | TO(WRITING) | TO(CLOSED),
        [CONNECTION_BODY] = TO(PARKED) | TO(WRITING) | TO(CLOSED),
        [CONNECTION_PARKED] = TO(STREAMING) | TO(WRITING) | TO(CLOSED),
        [CONNECTION_STREAMING] = TO(WRITING) | TO(CLOSED),
        [CONNECTION_WRITING] = TO(IDLE) | TO(LINGERING) | TO(CLOSED),
        [CONNECTION_LINGERING] = TO(CLOSED),
        [CONNECTION_CLOSED] = 0,
    };
#undef TO
    must(next[connection->state] & 1 << state);
    connection->state = state;
    connection->write_mark = SIZE_MAX;
    connection->deadline_ms = state_deadline(connection);
}

static bool takes_requests(const struct http_connection *connection)
{
    return connection->state <= CONNECTION_BODY;
}

static bool has_pending(const struct http_connection *connection)
{
    return connection->pending.n > connection->pending_at;
}

// ---- exchanges

static struct http_exchange *exchange_new(struct http_connection *connection)
{
    struct arena arena = {0};
    struct http_exchange *exchange = arena_try(&arena, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->draft.arena = arena;
    exchange->server = connection->server;
    exchange->connection = connection;
    return exchange;
}

static void exchange_free(struct http_exchange *exchange)
{
    if (!exchange)
        return;
    struct request_draft draft = exchange->draft; // the exchange lies in the arena it frees
    request_draft_done(&draft);
}

// The handler has done with it; the connection, if it is still there, forgets it.
static void exchange_close(struct http_exchange *exchange)
{
    if (exchange->connection)
        exchange->connection->exchange = NULL;
    exchange->server->open_exchanges--;
    exchange_free(exchange);
}

static bool is_connected(const struct http_exchange *exchange)
{
    return exchange->connection && exchange->connection->state != CONNECTION_CLOSED;
}

// The client of a live stream has nothing more to say, and hears that the stream is over by the connection's end.
static bool is_live(const struct http_connection *connection)
{
    return connection->state == CONNECTION_STREAMING && !connection->exchange->stream.length;
}

// ---- its place among the others

static void join(struct http_connection *connection, enum crowd crowd)
{
    struct http_server *server = connection->server;
    connection->crowd = crowd;
    server->crowd_sizes[crowd]++;
    if (connection->state == CONNECTION_LINGERING)
        DL_PREPEND(server->crowds[crowd], connection);
    else
        DL_APPEND(server->crowds[crowd], connection);
}

static void leave(struct http_connection *connection)
{
    struct http_server *server = connection->server;
    server->crowd_sizes[connection->crowd]--;
    DL_DELETE(server->crowds[connection->crowd], connection);
}

bool http_connection_may_go(const struct http_connection *connection)
{
    return connection->state != CONNECTION_PARKED && connection->state != CONNECTION_STREAMING;
}

// To be told last: it may be this connection that has to go. What cannot go is not counted: others would go for it. It holds no more
// than one read.
static void weigh(struct http_connection *connection)
{
    size_t before = connection->held;
    connection->held = connection->pending.n + (takes_requests(connection) ? connection->parser.at : 0);
    if (!http_connection_may_go(connection))
        connection->held = 0;
    http_server_weighed(connection->server, before, connection->held);
}

size_t http_connection_held(const struct http_connection *connection)
{
    return connection->held;
}

// What comes is read, so that its end is noticed, and thrown away.
static bool ignores_input(const struct http_connection *connection)
{
    return connection->state == CONNECTION_LINGERING || is_live(connection);
}

// ---- closing

static void on_closed(uv_handle_t *handle)
{
    struct http_connection *connection = (struct http_connection *)handle;
    struct http_server *server = connection->server;
    struct http_exchange *exchange = connection->exchange;
    free(connection);
    if (exchange) {
        exchange->connection = NULL;
        if (exchange->stream.gone)
            exchange->stream.gone(exchange->stream.arg);
    }
    http_server_handle_closed(server);
}

void http_connection_close(struct http_connection *connection)
{
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (takes_requests(connection)) {
        exchange_free(connection->exchange);
        connection->exchange = NULL;
    }
    set_state(connection, CONNECTION_CLOSED);
    if (connection->resuming)
        DL_DELETE2(connection->server->resuming, connection, resume_prev, resume_next);
    buf_done(&connection->pending);
    leave(connection);
    weigh(connection);
    uv_close(&connection->uv.handle, on_closed);
}

// With a reset: what the kernel still holds for a peer that does not read is thrown away.
static void close_hard(struct http_connection *connection)
{
    uv_os_fd_t fd = -1;
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    if (connection->state != CONNECTION_CLOSED && uv_fileno(&connection->uv.handle, &fd) == 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    http_connection_close(connection);
}

void http_connection_drop(struct http_connection *connection)
{
    if (connection->state == CONNECTION_IDLE || connection->state == CONNECTION_LINGERING)
        http_connection_close(connection);
    else
        close_hard(connection);
}

// ---- reading

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void on_room(uv_handle_t *handle, size_t size, uv_buf_t *out_buf)
{
    struct http_connection *connection = (struct http_connection *)handle;
    (void)size;
    *out_buf = uv_buf_init(connection->server->read_buffer, sizeof connection->server->read_buffer);
}

static void read_start(struct http_connection *connection)
{
    if (connection->reading || connection->ended)
        return;
    connection->reading = true;
    uv_read_start(&connection->uv.stream, on_room, on_read);
}

static void read_stop(struct http_connection *connection)
{
    connection->reading = false;
    uv_read_stop(&connection->uv.stream);
}

// ---- writing

static void answered(struct http_connection *connection);

static void tell_taken(const struct http_connection *connection)
{
    const struct http_exchange *exchange = connection->exchange;
    if (exchange && exchange->stream.taken)
        exchange->stream.taken(exchange->stream.arg);
}

static void on_unsent(uv_write_t *uv, int status)
{
    struct unsent *unsent = (struct unsent *)uv;
    struct http_connection *connection = unsent->connection;
    free(unsent);
    if (status < 0)
        http_connection_close(connection);
    else if (connection->uv.stream.write_queue_size > 0)
        return;
    else if (connection->state == CONNECTION_WRITING)
        answered(connection);
    else if (connection->state == CONNECTION_STREAMING)
        tell_taken(connection);
}

static bool write_later(struct http_connection *connection, const uv_buf_t *bufs, size_t count, size_t skip)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += bufs[i].len;
    struct unsent *unsent = mem_try(sizeof *unsent + n - skip);
    if (!unsent)
        return false;
    char *end = unsent->bytes;
    for (size_t i = 0; i < count; i++) {
        size_t from = skip < bufs[i].len ? skip : bufs[i].len;
        memcpy(end, bufs[i].base + from, bufs[i].len - from);
        end += bufs[i].len - from;
        skip -= from;
    }
    unsent->connection = connection;
    uv_buf_t rest = uv_buf_init(unsent->bytes, (unsigned)(end - unsent->bytes));
    if (uv_write(&unsent->uv, &connection->uv.stream, &rest, 1, on_unsent) == 0)
        return true;
    free(unsent);
    return false;
}

// Gives to the kernel what it takes now and keeps a copy of the rest. Closes the connection when neither can be done.
static bool write_all(struct http_connection *connection, const uv_buf_t *bufs, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += bufs[i].len;
    int sent = uv_try_write(&connection->uv.stream, bufs, (unsigned)count);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent >= 0 && ((size_t)sent == n || write_later(connection, bufs, count, (size_t)sent)))
        return true;
    http_connection_close(connection);
    return false;
}

static uv_buf_t uv_buf_of(struct str s)
{
    return (uv_buf_t){.base = (char *)(uintptr_t)s.p, .len = s.n};
}

// ---- answering

static void on_shut(uv_shutdown_t *shutdown, int status)
{
    struct http_connection *connection = shutdown->data;
    if (status < 0 || connection->ended)
        http_connection_close(connection);
}

static void linger(struct http_connection *connection)
{
    set_state(connection, CONNECTION_LINGERING);
    leave(connection);
    join(connection, NEWCOMERS);
    connection->shutdown.data = connection;
    if (uv_shutdown(&connection->shutdown, &connection->uv.stream, on_shut) != 0)
        http_connection_close(connection);
    else
        read_start(connection);
}

static void resume_later(struct http_connection *connection)
{
    if (connection->resuming)
        return;
    connection->resuming = true;
    DL_APPEND2(connection->server->resuming, connection, resume_prev, resume_next);
    http_server_resume_soon(connection->server);
}

// The kernel has the whole answer.
static void answered(struct http_connection *connection)
{
    if (connection->last_answer || connection->server->draining) {
        linger(connection);
        return;
    }
    request_parser_next(&connection->parser);
    set_state(connection, CONNECTION_IDLE);
    leave(connection);
    join(connection, REGULARS);
    // Not at once: the next request would be handled inside the call that answered this one.
    if (!connection->running && (has_pending(connection) || connection->ended))
        resume_later(connection);
}

static void write_answer(struct http_connection *connection, struct answer *answer, struct str body, bool is_head)
{
    struct http_server *server = connection->server;
    answer->close = connection->last_answer = connection->last_answer || server->draining;
    answer->length = (int64_t)body.n;
    buf_clear(&server->head);
    answer_write_head(&server->head, answer, &server->date);
    buf_must(&server->head);
    if (is_head || !answer_has_body(answer->status))
        body.n = 0;
    uv_buf_t bufs[] = {uv_buf_of(buf_str(&server->head)), uv_buf_of(body)};
    set_state(connection, CONNECTION_WRITING);
    if (write_all(connection, bufs, body.n ? 2 : 1) && connection->uv.stream.write_queue_size == 0)
        answered(connection);
}

static bool find_allow(struct http_connection *connection, struct http_header *out)
{
    const struct http_handler *handler = &connection->server->handler;
    if (!handler->allow || !connection->exchange)
        return false;
    *out = (struct http_header){STR("Allow"), handler->allow(handler->arg, &connection->exchange->draft.request)};
    return true;
}

// The one answer to a request that is not taken, and the last on this connection.
static void refuse(struct http_connection *connection, int status, const char *why)
{
    struct buf problem;
    buf_init(&problem, 4096);
    answer_write_problem(&problem, status, why);
    struct http_header allow;
    struct answer answer = {.status = status, .content_type = STR("application/problem+json"), .headers = &allow};
    answer.header_count = status == 405 && find_allow(connection, &allow);
    bool is_head = connection->exchange && str_eq_c(connection->exchange->draft.request.method, "HEAD");
    exchange_free(connection->exchange);
    connection->exchange = NULL;
    connection->last_answer = true;
    write_answer(connection, &answer, buf_str(&problem), is_head);
    buf_done(&problem);
}

// ---- the bytes of requests

static void on_start(struct http_connection *connection)
{
    (void)connection; // blank lines: still idle
}

static void on_head(struct http_connection *connection)
{
    if (connection->state == CONNECTION_IDLE)
        set_state(connection, CONNECTION_HEAD);
}

static void on_body(struct http_connection *connection)
{
    if (connection->state != CONNECTION_BODY) {
        set_state(connection, CONNECTION_BODY);
        connection->body_ms = now_of(connection);
    }
    if (connection->parser.expects_continue) {
        connection->parser.expects_continue = false;
        uv_buf_t go_on = uv_buf_of(STR("HTTP/1.1 100 Continue\r\n\r\n"));
        write_all(connection, &go_on, 1);
    }
}

static void on_whole(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->exchange;
    exchange->keep_alive = connection->parser.keep_alive;
    exchange->is_head = str_eq_c(exchange->draft.request.method, "HEAD");
    exchange->is_http10 = connection->parser.llhttp.http_minor == 0;
    connection->last_answer = !exchange->keep_alive;
    connection->server->open_exchanges++;
    connection->turn++;
    set_state(connection, CONNECTION_PARKED);
    leave(connection);
    join(connection, connection->crowd); // it was quiet for least
    connection->server->handler.request(connection->server->handler.arg, exchange);
}

static void on_refused(struct http_connection *connection)
{
    refuse(connection, connection->parser.status, connection->parser.why);
}

static size_t feed(struct http_connection *connection, const char *p, size_t n)
{
    static void (*const on_phase[])(struct http_connection * connection) = {
        [PHASE_START] = on_start, [PHASE_HEAD] = on_head,       [PHASE_BODY] = on_body,
        [PHASE_WHOLE] = on_whole, [PHASE_REFUSED] = on_refused,
    };
    if (!connection->exchange) {
        connection->exchange = exchange_new(connection);
        connection->began_ms = now_of(connection);
    }
    if (!connection->exchange) {
        refuse(connection, 503, "The server is short of memory.");
        return n;
    }
    connection->parser.draft = &connection->exchange->draft;
    size_t used = 0;
    on_phase[request_parser_feed(&connection->parser, p, n, &used)](connection);
    return used;
}

static size_t run(struct http_connection *connection, const char *p, size_t n)
{
    size_t used = 0;
    connection->running = true;
    connection->turn = 0;
    while (used < n && takes_requests(connection) && connection->turn < TURN_REQUESTS)
        used += feed(connection, p + used, n - used);
    connection->running = false;
    return used;
}

static void keep_pending(struct http_connection *connection, const char *p, size_t n)
{
    struct buf *pending = &connection->pending;
    if (connection->pending_at > 0) {
        memmove(pending->p, pending->p + connection->pending_at, pending->n - connection->pending_at);
        pending->n -= connection->pending_at;
        connection->pending_at = 0;
    }
    if (buf_add(pending, p, n))
        http_connection_close(connection); // out of memory: the bound cannot be passed
    else
        read_stop(connection); // until its turn comes
}

// Nothing of a next request can come any more.
static void close_if_over(struct http_connection *connection)
{
    if (connection->ended && takes_requests(connection) && !has_pending(connection))
        http_connection_close(connection);
}

void http_connection_resume(struct http_connection *connection)
{
    connection->resuming = false;
    DL_DELETE2(connection->server->resuming, connection, resume_prev, resume_next);
    struct buf *pending = &connection->pending;
    if (has_pending(connection)) {
        size_t used = run(connection, pending->p + connection->pending_at, pending->n - connection->pending_at);
        connection->pending_at += used;
    }
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (takes_requests(connection) && has_pending(connection)) {
        resume_later(connection);
    } else if (!has_pending(connection) || ignores_input(connection)) {
        buf_done(pending); // rarely used: an idle connection should be small
        connection->pending_at = 0;
        read_start(connection);
    }
    close_if_over(connection);
    if (connection->state != CONNECTION_CLOSED)
        weigh(connection);
}

// It has had its turn, and has more to say.
static void let_others(struct http_connection *connection)
{
    read_stop(connection);
    resume_later(connection);
}

static void received(struct http_connection *connection, const char *p, size_t n)
{
    size_t used = 0;
    if (ignores_input(connection))
        return;
    if (takes_requests(connection) && !has_pending(connection))
        used = run(connection, p, n);
    bool rest_counts = connection->state <= CONNECTION_WRITING && !is_live(connection);
    if (used == n || !rest_counts || connection->last_answer)
        return;
    keep_pending(connection, p + used, n - used);
    if (takes_requests(connection))
        let_others(connection);
}

static void peer_ended(struct http_connection *connection)
{
    connection->ended = true;
    connection->reading = false;
    if (ignores_input(connection))
        http_connection_close(connection);
    else
        close_if_over(connection);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct http_connection *connection = (struct http_connection *)stream;
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (n > 0)
        received(connection, buf->base, (size_t)n);
    else if (n == UV_EOF)
        peer_ended(connection);
    else if (n < 0)
        http_connection_close(connection);
    if (connection->state == CONNECTION_CLOSED)
        return;
    if (n == (ssize_t)buf->len) // libuv would read on, for long
        let_others(connection);
    weigh(connection);
}

// ---- the server's calls

void http_connection_start(struct http_server *server, int fd, bool is_unix)
{
    struct http_connection *connection = mem_new_of(struct http_connection);
    uv_loop_t *uv = loop_uv(server->loop);
    connection->server = server;
    buf_init(&connection->pending, sizeof server->read_buffer);
    request_parser_init(&connection->parser, &server->limits, server->handler.head, server->handler.arg);
    int err;
    if (is_unix) {
        uv_pipe_init(uv, &connection->uv.pipe, 0);
        err = uv_pipe_open(&connection->uv.pipe, fd);
    } else {
        uv_tcp_init(uv, &connection->uv.tcp);
        err = uv_tcp_open(&connection->uv.tcp, fd);
    }
    must(err == 0);
    connection->deadline_ms = state_deadline(connection);
    join(connection, NEWCOMERS);
    http_server_connection_opened(server);
    read_start(connection);
}

struct http_connection *http_connection_next(const struct http_connection *connection)
{
    return connection->next;
}

static bool is_too_slow(const struct http_connection *connection, int64_t now_ms)
{
    const struct http_server_options *options = &connection->server->options;
    int64_t for_ms = now_ms - connection->body_ms;
    return for_ms > options->body_grace_ms &&
           (int64_t)connection->exchange->draft.body.n < options->min_body_rate * for_ms / 1000;
}

// A peer that takes some of its answer gets more time for the rest.
static void watch_writing(struct http_connection *connection, int64_t now_ms)
{
    size_t left = connection->uv.stream.write_queue_size;
    if (left == 0) {
        connection->write_mark = SIZE_MAX;
        connection->deadline_ms = INT64_MAX;
    } else if (connection->write_mark == SIZE_MAX || left + WRITE_PROGRESS <= connection->write_mark) {
        connection->write_mark = left;
        connection->deadline_ms = now_ms + connection->server->options.write_ms;
    }
}

void http_connection_sweep(struct http_connection *connection, int64_t now_ms)
{
    if (connection->state == CONNECTION_WRITING || connection->state == CONNECTION_STREAMING)
        watch_writing(connection, now_ms);
    bool slow = connection->state == CONNECTION_BODY && is_too_slow(connection, now_ms);
    if (now_ms < connection->deadline_ms && !slow)
        return;
    if (connection->state == CONNECTION_HEAD || connection->state == CONNECTION_BODY)
        refuse(connection, 408, "The request came too slowly.");
    else if (connection->state == CONNECTION_IDLE)
        http_connection_close(connection);
    else
        close_hard(connection);
}

void http_connection_drain(struct http_connection *connection)
{
    if (connection->state == CONNECTION_STREAMING || (connection->state == CONNECTION_IDLE && !has_pending(connection)))
        http_connection_close(connection);
}

// ---- the handler's calls

const struct http_request *http_exchange_request(const struct http_exchange *exchange)
{
    return &exchange->draft.request;
}

struct arena *http_exchange_arena(struct http_exchange *exchange)
{
    return &exchange->draft.arena;
}

struct loop *http_exchange_loop(struct http_exchange *exchange)
{
    return exchange->server->loop;
}

void http_exchange_answer(struct http_exchange *exchange, int status, struct str content_type,
                          const struct http_header *headers, size_t header_count, struct str body)
{
    must(!exchange->stream.gone);
    struct answer answer = {
        .status = status,
        .content_type = content_type,
        .headers = headers,
        .header_count = header_count,
        .keep = exchange->is_http10,
    };
    if (is_connected(exchange)) {
        // The connection lets go of the exchange first: what is written may be its last word.
        struct http_connection *connection = exchange->connection;
        connection->exchange = NULL;
        exchange->connection = NULL;
        write_answer(connection, &answer, body, exchange->is_head);
    }
    exchange_close(exchange);
}

// A client that vanished is noticed by what it does not confirm, after as long as one that does not read.
static void watch_for_silence(const struct http_connection *connection)
{
    uv_os_fd_t fd = -1;
    unsigned limit_ms = (unsigned)connection->server->options.write_ms;
    if (connection->uv.handle.type == UV_TCP && uv_fileno(&connection->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
}

// The kernel holds little that it has not sent: else so much of a body would wait there that a client on a slow line, which takes
// some of it all the time, would seem to take nothing (watch_writing).
static void hold_little(const struct http_connection *connection)
{
    uv_os_fd_t fd = -1;
    unsigned most = UNSENT_MOST;
    if (connection->uv.handle.type == UV_TCP && uv_fileno(&connection->uv.handle, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
}

static int64_t stream_length(const struct http_exchange *exchange)
{
    if (exchange->stream.length)
        return exchange->stream.length;
    return exchange->chunked ? ANSWER_CHUNKED : ANSWER_UNTIL_CLOSE;
}

bool http_exchange_stream(struct http_exchange *exchange, int status, struct str content_type,
                          const struct http_header *headers, size_t header_count, const struct http_stream *stream)
{
    must(!exchange->stream.gone && stream->gone && stream->length >= 0);
    exchange->stream = *stream;
    exchange->left = stream->length;
    exchange->chunked = !exchange->is_http10 && !stream->length;
    if (!is_connected(exchange))
        return exchange->connection != NULL; // if it is closing still, `gone` is to come
    struct http_connection *connection = exchange->connection;
    struct http_server *server = exchange->server;
    connection->last_answer |= !stream->length || server->draining;
    struct answer answer = {
        .status = status,
        .content_type = content_type,
        .headers = headers,
        .header_count = header_count,
        .length = stream_length(exchange),
        .close = connection->last_answer,
        .keep = exchange->is_http10,
    };
    buf_clear(&server->head);
    answer_write_head(&server->head, &answer, &server->date);
    uv_buf_t head = uv_buf_of(buf_str(&server->head));
    set_state(connection, CONNECTION_STREAMING);
    if (stream->length)
        hold_little(connection);
    else
        watch_for_silence(connection);
    if (has_pending(connection))
        resume_later(connection); // what is ignored from now on
    write_all(connection, &head, 1);
    return true;
}

bool http_exchange_write(struct http_exchange *exchange, struct str bytes)
{
    must(exchange->stream.gone);
    if (!is_connected(exchange))
        return false;
    if (exchange->is_head || bytes.n == 0)
        return true;
    char size[24];
    int n = snprintf(size, sizeof size, "%zx\r\n", bytes.n);
    uv_buf_t parts[] = {uv_buf_init(size, (unsigned)n), uv_buf_of(bytes), uv_buf_of(STR("\r\n"))};
    must(!exchange->stream.length || (int64_t)bytes.n <= exchange->left);
    exchange->left -= exchange->stream.length ? (int64_t)bytes.n : 0;
    bool written = exchange->chunked ? write_all(exchange->connection, parts, 3)
                                     : write_all(exchange->connection, parts + 1, 1);
    if (written && exchange->connection->uv.stream.write_queue_size > STREAM_MAX)
        close_hard(exchange->connection);
    return is_connected(exchange);
}

size_t http_exchange_unsent(const struct http_exchange *exchange)
{
    return is_connected(exchange) ? exchange->connection->uv.stream.write_queue_size : 0;
}

// The last bytes of an exchange that was begun by hand.
static void end_with(struct http_exchange *exchange, struct str bytes)
{
    if (is_connected(exchange)) {
        struct http_connection *connection = exchange->connection;
        uv_buf_t last = uv_buf_of(bytes);
        connection->exchange = NULL;
        exchange->connection = NULL;
        connection->last_answer |= !exchange->stream.length;
        set_state(connection, CONNECTION_WRITING);
        if ((bytes.n == 0 || write_all(connection, &last, 1)) && connection->uv.stream.write_queue_size == 0)
            answered(connection);
    }
    exchange_close(exchange);
}

// The connection lets go of the exchange, and is reset.
static void leave_hard(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    connection->exchange = NULL;
    exchange->connection = NULL;
    close_hard(connection);
}

void http_exchange_end(struct http_exchange *exchange)
{
    must(exchange->stream.gone);
    if (exchange->left && !exchange->is_head && is_connected(exchange))
        leave_hard(exchange);
    end_with(exchange, exchange->chunked && !exchange->is_head ? STR("0\r\n\r\n") : STR(""));
}

void http_exchange_cut(struct http_exchange *exchange, struct str bytes, bool reset)
{
    must(!exchange->stream.gone);
    if (reset && is_connected(exchange))
        leave_hard(exchange);
    end_with(exchange, bytes);
}
