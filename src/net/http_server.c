// The server: the listening socket, the caps on connections, the sweep that ends what is over its time, and the end.
// What happens on a connection is in http_connection.c.
//
// Deadlines are kept in the connections and looked at by one timer, four times within the shortest of them and at
// least once a second: a timer of its own for each connection would be set and cleared several times a request.
//
// Accepting is one accept4 for each time the loop finds the socket ready: when several loops share a socket, a burst of new
// connections spreads over them, while the first to wake would otherwise take all.
#include "net/http_connection.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"
#include "net/address.h"
#include "net/listen_address.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

enum {
    MAX_TARGET = 8 * 1024,
    MAX_ANSWER_HEAD = 64 * 1024,
    CONNECTIONS_CAP = 16384,
    OTHER_FILES = 128, // descriptors left for the rest of the process
    SWEEP_MIN_MS = 5,
    SWEEP_MAX_MS = 1000,
};

// How many connections an address has. Loopback and Unix sockets are not counted.
struct address_count {
    struct in6_addr address; // key
    size_t count;
    UT_hash_handle hh;
};

void http_server_options_default(struct http_server_options *options)
{
    struct rlimit files = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &files);
    size_t connections = files.rlim_cur > 2 * OTHER_FILES ? files.rlim_cur - OTHER_FILES : files.rlim_cur / 4;
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
        .max_per_address = 1024,
    };
}

// ---- connections

static bool is_counted(struct in6_addr address)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_addr = address};
    return !IN6_IS_ADDR_UNSPECIFIED(&address) && !address_is_loopback((struct sockaddr *)&in);
}

static bool has_room_for(const struct http_server *server, struct in6_addr address)
{
    struct address_count *found = NULL;
    if (server->connection_count >= server->options.max_connections)
        return false;
    HASH_FIND(hh, server->addresses, &address, sizeof address, found);
    return !found || found->count < server->options.max_per_address;
}

static void count_address(struct http_server *server, struct in6_addr address, int step)
{
    struct address_count *found = NULL;
    if (!is_counted(address))
        return;
    HASH_FIND(hh, server->addresses, &address, sizeof address, found);
    if (!found) {
        found = mem_new_of(struct address_count);
        found->address = address;
        HASH_ADD(hh, server->addresses, address, sizeof address, found);
    }
    found->count += (size_t)step;
    if (found->count == 0) {
        HASH_DEL(server->addresses, found);
        free(found);
    }
}

static void on_sweep(uv_timer_t *timer);

void http_server_connection_opened(struct http_server *server, struct in6_addr address)
{
    server->handles++;
    server->connection_count++;
    count_address(server, address, 1);
    if (!uv_is_active((uv_handle_t *)&server->sweep))
        uv_timer_start(&server->sweep, on_sweep, (uint64_t)server->sweep_ms, (uint64_t)server->sweep_ms);
}

void http_server_connection_closed(struct http_server *server, struct in6_addr address)
{
    server->connection_count--;
    count_address(server, address, -1);
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
    must(server->freed && !server->addresses);
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

static void on_acceptable(uv_poll_t *listener, int status, int events)
{
    struct http_server *server = listener->data;
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    (void)status, (void)events; // accept4 says it better
    int fd = accept4(server->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        struct in6_addr address = address_key((struct sockaddr *)&peer);
        if (has_room_for(server, address))
            http_connection_start(server, fd, peer.ss_family == AF_UNIX, address);
        else
            turn_away(fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        accept_pause(server, errno);
    }
    // Else another loop was quicker, or the peer has left already.
}

static void on_sweep(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    struct http_connection *connection = server->connections, *next;
    int64_t now_ms = (int64_t)uv_now(loop_uv(server->loop));
    for (; connection; connection = next) {
        next = http_connection_next(connection);
        http_connection_sweep(connection, now_ms);
    }
    if (server->accept_paused && server->fd >= 0)
        accept_start(server);
    if (!server->connections)
        uv_timer_stop(timer);
}

// Answers that came late go on here with what was pipelined behind them. One resumed does not come back at once.
static void on_resume(uv_idle_t *idle)
{
    struct http_server *server = idle->data;
    while (server->resuming)
        http_connection_resume(server->resuming);
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
    struct http_connection *connection = server->connections, *next;
    stop_listening(server);
    server->draining = true;
    for (; connection; connection = next) {
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
    return server->connection_count;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    must(server->open_exchanges == 0);
    stop_listening(server);
    while (server->connections)
        http_connection_close(server->connections);
    server->freed = true;
    uv_close((uv_handle_t *)&server->resume, on_server_handle_closed);
    uv_close((uv_handle_t *)&server->sweep, on_server_handle_closed);
}
