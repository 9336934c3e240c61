// One connection of the HTTP server, and the exchanges on it. Internal to net/; http_server.c owns the server's
// fields, http_connection.c the connection's.
#pragma once
#include "net/http_answer.h"
#include "net/http_server.h"
#include "net/request_parser.h"

struct http_connection;

// Kept apart, so that neither those who never say anything nor those who said it long ago drive the others out.
enum crowd {
    NEWCOMERS, // nothing was answered to them yet; in front those that were answered for the last time
    REGULARS,  // something was
    CROWDS,
};

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

    struct http_connection *crowds[CROWDS]; // all that are not closed; who was quiet for longest is the first
    size_t crowd_sizes[CROWDS];
    size_t reading;                   // bytes that http_connection_held counts, of all
    size_t dropped;                   // to make room
    int64_t warn_at_ms;               // of that the log says nothing before
    struct http_connection *resuming; // with bytes of the next request in hand: answered late, or it is others' turn
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

// `fd` is taken.
void http_connection_start(struct http_server *server, int fd, bool is_unix);
// Closes what is over its time. `now_ms` is uv_now.
void http_connection_sweep(struct http_connection *connection, int64_t now_ms);
// Goes on with the bytes in hand.
void http_connection_resume(struct http_connection *connection);
// The server takes no more: closes idle connections and streams, others after their answer.
void http_connection_drain(struct http_connection *connection);
void http_connection_close(struct http_connection *connection);
// Nothing of it is with the handler: it can make room for others, and loses no answer that was begun by hand.
bool http_connection_may_go(const struct http_connection *connection);
void http_connection_drop(struct http_connection *connection);
// Bytes of a request that is not whole, and of those behind it.
size_t http_connection_held(const struct http_connection *connection);
// Within its crowd.
struct http_connection *http_connection_next(const struct http_connection *connection);

// The server's side of a connection's life.
void http_server_connection_opened(struct http_server *server);
// A connection held `before` bytes and holds `now`. May drop connections, this one too.
void http_server_weighed(struct http_server *server, size_t before, size_t now);
// Calls http_connection_resume for all in `resuming`.
void http_server_resume_soon(struct http_server *server);
void http_server_handle_closed(struct http_server *server);
