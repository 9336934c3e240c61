// The server: the listening socket, who gives way when it is full, the sweep that ends what is over its time, and the end.
// What happens on a connection is in http_connection.c.
//
// Deadlines are kept in the connections and looked at by one timer, four times within the shortest of them and at
// least once a second: a timer of its own for each connection would be set and cleared several times a request.
//
// Accepting is a few accept4 for each time the loop finds the socket ready: when several loops share a socket, a burst of new
// connections spreads over them, while the first to wake would otherwise take all; and where each round of a loop is long,
// because much is asked on the connections that are open, one at a time would let others wait.
#include "net/http_connection.h"

#include "base/descriptors.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "net/listen_address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_TARGET = 8 * 1024,
    MAX_ANSWER_HEAD = 64 * 1024,
    CONNECTIONS_CAP = 16384,
    FEW_FILES = 512,         // descriptors; more than that: half of them are for connections
    ACCEPTS = 16,            // each time the loop comes round
    RESUMES = 16,            // likewise: each may read 64 KiB then
    RESUME_NS = 1000 * 1000, // or until so much time has gone
    SWEEP_MIN_MS = 5,
    SWEEP_MAX_MS = 1000,
    WARN_MS = 60 * 1000, // between two lines in the log
};

void http_server_options_default(struct http_server_options *options)
{
    size_t files = descriptors_limit(), connections = files > FEW_FILES ? files / 2 : descriptors_share();
    *options = (struct http_server_options){
        .max_head = 32 * 1024,
        .max_headers = 100,
        .max_body = 4 * 1024 * 1024,
        .idle_ms = 75 * 1000,
        .head_ms = 10 * 1000,
        .body_ms = 60 * 1000,
        .body_grace_ms = 5 * 1000,
        .min_body_rate = 512,
        .write_ms = 30 * 1000,
        .max_connections = connections < CONNECTIONS_CAP ? connections : CONNECTIONS_CAP,
        .max_reading = 64 * 1024 * 1024,
    };
}

// ---- connections, and who gives way

static void on_sweep(uv_timer_t *timer);

void http_server_connection_opened(struct http_server *server)
{
    server->handles++;
    if (!uv_is_active((uv_handle_t *)&server->sweep))
        uv_timer_start(&server->sweep, on_sweep, (uint64_t)server->sweep_ms, (uint64_t)server->sweep_ms);
}

static void drop(struct http_server *server, struct http_connection *connection)
{
    int64_t now_ms = (int64_t)uv_now(loop_uv(server->loop));
    server->dropped++;
    if (now_ms >= server->warn_at_ms) {
        log_warn("connections_full", LOG_N("open", (int64_t)http_server_open_connections(server)),
                 LOG_N("reading_bytes", (int64_t)server->reading), LOG_N("dropped", (int64_t)server->dropped));
        server->warn_at_ms = now_ms + WARN_MS;
    }
    http_connection_drop(connection);
}

static struct http_connection *quietest(const struct http_server *server, enum crowd crowd)
{
    struct http_connection *connection = server->crowds[crowd];
    while (connection && !http_connection_may_go(connection))
        connection = http_connection_next(connection);
    return connection;
}

// The larger crowd gives: newcomers that say nothing do not drive regulars out, nor regulars newcomers.
static bool make_room(struct http_server *server)
{
    enum crowd larger = server->crowd_sizes[REGULARS] > server->crowd_sizes[NEWCOMERS] ? REGULARS : NEWCOMERS;
    struct http_connection *connection = quietest(server, larger);
    if (!connection)
        connection = quietest(server, larger == REGULARS ? NEWCOMERS : REGULARS);
    if (connection)
        drop(server, connection);
    return connection != NULL;
}

static struct http_connection *greediest(const struct http_server *server)
{
    struct http_connection *found = NULL, *connection;
    for (size_t i = 0; i < CROWDS; i++)
        for (connection = server->crowds[i]; connection; connection = http_connection_next(connection))
            if (http_connection_may_go(connection) &&
                http_connection_held(connection) > (found ? http_connection_held(found) : 0))
                found = connection;
    return found;
}

void http_server_weighed(struct http_server *server, size_t before, size_t now)
{
    server->reading += now - before;
    while (now > before && server->reading > server->options.max_reading) {
        struct http_connection *connection = greediest(server);
        if (!connection)
            return; // all is behind requests that the handler has
        drop(server, connection);
    }
}

// ---- accepting

static void on_acceptable(uv_poll_t *listener, int status, int events);

static void accept_start(struct http_server *server)
{
    server->accept_paused = false;
    must(uv_poll_start(&server->listener, UV_READABLE, on_acceptable) == 0);
}

void http_server_handle_closed(struct http_server *server)
{
    if (--server->handles > 0) {
        if (server->accept_paused && server->fd >= 0 && !server->freed) // a descriptor has come free
            accept_start(server);
        return;
    }
    must(server->freed);
    buf_done(&server->head);
    free(server->unix_path);
    free(server);
}

// Out of descriptors or memory: the socket stays ready, so trying again at once would only burn the processor.
static void accept_pause(struct http_server *server, int error)
{
    if (!server->accept_warned)
        log_warn("accept_failed", LOG_C("error", strerror(error)));
    server->accept_warned = true;
    server->accept_paused = true;
    uv_poll_stop(&server->listener);
    uv_timer_start(&server->sweep, on_sweep, (uint64_t)server->sweep_ms, (uint64_t)server->sweep_ms);
}

// The peer is told if its socket takes the words at once; it is not worth more.
static void turn_away(int fd)
{
    static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n"
                               "Retry-After: 1\r\nConnection: close\r\n\r\n"
                               "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,"
                               "\"detail\":\"Too many connections.\"}";
    (void)!send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static void take(struct http_server *server, int fd)
{
    if (http_server_open_connections(server) < server->options.max_connections || make_room(server))
        http_connection_start(server, fd, server->port == 0);
    else
        turn_away(fd);
}

static void accept_failed(struct http_server *server, int error)
{
    bool is_full = error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
    if (is_full && (error != EMFILE || !make_room(server))) // with room it is accepted when the loop comes round
        accept_pause(server, error);
    // Else there is none, another loop was quicker, or the peer has left already.
}

static void on_acceptable(uv_poll_t *listener, int status, int events)
{
    struct http_server *server = listener->data;
    (void)status, (void)events; // accept4 says it better
    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && i == 0) // later ones may fail although nobody waits: without descriptors the kernel does not look
            accept_failed(server, errno);
        if (fd < 0)
            return;
        take(server, fd);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    struct http_connection *connection, *next;
    int64_t now_ms = (int64_t)uv_now(loop_uv(server->loop));
    for (size_t i = 0; i < CROWDS; i++)
        for (connection = server->crowds[i]; connection; connection = next) {
            next = http_connection_next(connection);
            http_connection_sweep(connection, now_ms);
        }
    if (server->accept_paused && server->fd >= 0)
        accept_start(server);
    if (!http_server_open_connections(server))
        uv_timer_stop(timer);
}

// What was pipelined goes on here, for a moment each time the loop comes round: others come between.
static void on_resume(uv_idle_t *idle)
{
    struct http_server *server = idle->data;
    uint64_t end_ns = uv_hrtime() + RESUME_NS;
    for (int i = 0; i < RESUMES && server->resuming && uv_hrtime() < end_ns; i++)
        http_connection_resume(server->resuming);
    if (!server->resuming)
        uv_idle_stop(idle);
}

void http_server_resume_soon(struct http_server *server)
{
    uv_idle_start(&server->resume, on_resume);
}

// ---- the server's life

static int64_t sweep_interval(const struct http_server_options *options)
{
    const int64_t limits[] = {options->idle_ms, options->head_ms, options->body_ms, options->body_grace_ms,
                              options->write_ms};
    int64_t interval = 4 * SWEEP_MAX_MS;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (limits[i] < interval)
            interval = limits[i];
    return interval / 4 > SWEEP_MIN_MS ? interval / 4 : SWEEP_MIN_MS;
}

static void init_handles(struct http_server *server)
{
    uv_loop_t *uv = loop_uv(server->loop);
    must(uv_poll_init(uv, &server->listener, server->fd) == 0);
    must(uv_idle_init(uv, &server->resume) == 0);
    must(uv_timer_init(uv, &server->sweep) == 0);
    server->listener.data = server->resume.data = server->sweep.data = server;
    server->handles = 3;
}

static struct listen_result listen_at(const char *address, int shared_fd)
{
    if (shared_fd < 0)
        return listen_address_open(address);
    struct listen_result shared = {.fd = fcntl(shared_fd, F_DUPFD_CLOEXEC, 0)};
    if (shared.fd < 0)
        shared.why = strerror(errno);
    else
        shared.port = listen_address_port(shared.fd);
    return shared;
}

struct http_server *http_server_new(struct loop *loop, const char *address, int shared_fd,
                                    const struct http_server_options *options, const struct http_handler *handler,
                                    const char **why)
{
    struct listen_result listening = listen_at(address, shared_fd);
    if (listening.fd < 0) {
        *why = listening.why;
        return NULL;
    }
    struct http_server *server = mem_new_of(struct http_server);
    server->loop = loop;
    server->options = *options;
    server->limits = (struct request_limits){
        .max_head = options->max_head,
        .max_target = MAX_TARGET,
        .max_headers = options->max_headers,
        .max_body = options->max_body,
    };
    server->handler = *handler;
    server->fd = listening.fd;
    server->port = listening.port;
    server->unix_path = listening.unix_path ? mem_dup(listening.unix_path, strlen(listening.unix_path)) : NULL;
    server->sweep_ms = sweep_interval(options);
    buf_init(&server->head, MAX_ANSWER_HEAD);
    init_handles(server);
    accept_start(server);
    return server;
}

int http_server_fd(const struct http_server *server)
{
    return server->fd;
}

int http_server_port(const struct http_server *server)
{
    return server->port;
}

static void on_server_handle_closed(uv_handle_t *handle)
{
    http_server_handle_closed(handle->data);
}

static void stop_listening(struct http_server *server)
{
    if (server->fd < 0)
        return;
    uv_close((uv_handle_t *)&server->listener, on_server_handle_closed);
    close(server->fd); // after libuv has let go of it, which uv_close does at once
    server->fd = -1;
    if (server->unix_path)
        unlink(server->unix_path);
}

void http_server_drain(struct http_server *server)
{
    struct http_connection *connection, *next;
    stop_listening(server);
    server->draining = true;
    for (size_t i = 0; i < CROWDS; i++)
        for (connection = server->crowds[i]; connection; connection = next) {
            next = http_connection_next(connection);
            http_connection_drain(connection);
        }
}

size_t http_server_open_exchanges(const struct http_server *server)
{
    return server->open_exchanges;
}

size_t http_server_open_connections(const struct http_server *server)
{
    return server->crowd_sizes[NEWCOMERS] + server->crowd_sizes[REGULARS];
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    must(server->open_exchanges == 0);
    stop_listening(server);
    for (size_t i = 0; i < CROWDS; i++)
        while (server->crowds[i])
            http_connection_close(server->crowds[i]);
    server->freed = true;
    uv_close((uv_handle_t *)&server->resume, on_server_handle_closed);
    uv_close((uv_handle_t *)&server->sweep, on_server_handle_closed);
}
