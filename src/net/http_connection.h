// One connection of the HTTP server, and the exchanges on it. Internal to net/; http_server.c owns the server's
// fields, http_connection.c the connection's.
#pragma once
#include "net/http_answer.h"
#include "net/http_server.h"
#include "net/request_parser.h"

#include <netinet/in.h>

struct http_connection;
struct address_count;

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    struct request_limits limits;
    struct http_handler handler;

    int fd; // listening; -1 once drained
    int port;
    char *unix_path; // to be removed by us; NULL when there is none
    uv_poll_t listener;
    bool accept_paused, accept_warned;
    bool draining;

    struct http_connection *connections; // all that are not closed
    size_t connection_count;
    struct address_count *addresses;
    struct http_connection *resuming; // answered late, with bytes of the next request in hand
    uv_idle_t resume;
    uv_timer_t sweep;
    int64_t sweep_ms;
    size_t open_exchanges;
    size_t handles; // of libuv, not closed yet; with the last one the server is freed
    bool freed;

    struct answer_date date;
    struct buf head; // of the answer being written
    char read_buffer[64 * 1024];
};

// `fd` is taken. `address` is the peer's without its port, all zero for a Unix socket.
void http_connection_start(struct http_server *server, int fd, bool is_unix, struct in6_addr address);
// Closes what is over its time. `now_ms` is uv_now.
void http_connection_sweep(struct http_connection *connection, int64_t now_ms);
// Goes on with the bytes in hand.
void http_connection_resume(struct http_connection *connection);
// The server takes no more: closes idle connections and streams, others after their answer.
void http_connection_drain(struct http_connection *connection);
void http_connection_close(struct http_connection *connection);
struct http_connection *http_connection_next(const struct http_connection *connection);

// The server's side of a connection's life.
void http_server_connection_opened(struct http_server *server, struct in6_addr address);
void http_server_connection_closed(struct http_server *server, struct in6_addr address);
// Calls http_connection_resume for all in `resuming`.
void http_server_resume_soon(struct http_server *server);
void http_server_handle_closed(struct http_server *server);
