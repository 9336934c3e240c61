// HTTP/1.1 in: llhttp (strict) over libuv, our glue holding the limits (RELIABILITY.md, section 6, items 1-14).
//
// A request parks by not being answered yet. An exchange lives until it is answered, also when its client
// has hung up: the answer is then dropped. All calls are made on the loop's thread; another thread posts a
// task to the loop (net/loop.h).
#pragma once
#include "model/http.h"
#include "net/loop.h"

struct http_server;
struct http_exchange;

struct http_server_options {
    size_t max_head;        // request line and headers, bytes (default 32 KiB -> 431, target over 8 KiB -> 414)
    size_t max_headers;     // 100 -> 431
    size_t max_body;        // what `head` may lower or raise per request (4 MiB -> 413)
    int64_t idle_ms;        // keep-alive without a request (75 s)
    int64_t head_ms;        // from the first byte to the end of the head (10 s -> 408)
    int64_t body_ms;        // of the whole request (60 s -> 408), and the peer must keep a minimum rate:
    int64_t body_grace_ms;  // this long after the head (5 s)
    int64_t min_body_rate;  // so many bytes a second on average since the head (512 -> 408)
    int64_t write_ms;       // an answer the peer does not read (30 s)
    size_t max_connections; // half of RLIMIT_NOFILE, at most 16,384; one that is not busy gives way to a new one
    size_t max_reading;     // bytes of requests that are not whole, in all: who holds most gives way (64 MiB)
};
void http_server_options_default(struct http_server_options *options);

struct http_handler {
    void *arg;
    // The head is in. 0 = go on (and *max_body may be changed), else a status to refuse with now, before the body.
    int (*head)(void *arg, const struct http_request *request, size_t *max_body);
    // The whole request is in; everything in it lives in the exchange. Answer now or later, exactly once.
    void (*request)(void *arg, struct http_exchange *exchange);
    // What stands in Allow when a head is refused with 405; `path` is absent when the head was not read so far. NULL: no Allow.
    struct str (*allow)(void *arg, const struct http_request *request);
};

// Listens on "HOST:PORT" ("[::1]:80" for IPv6, port 0 = any free) or "unix:PATH" (made with mode 0600, a
// stale socket replaced). Several servers on several loops may share one address: pass the first's
// http_server_fd as `shared_fd` (-1 = bind). NULL and one sentence in `why` (static or the errno's) on failure.
struct http_server *http_server_new(struct loop *loop, const char *address, int shared_fd,
                                    const struct http_server_options *options, const struct http_handler *handler,
                                    const char **why);
int http_server_fd(const struct http_server *server);
// The port bound; 0 for a Unix socket.
int http_server_port(const struct http_server *server);
// No new connections; idle ones and streams are closed, those with a request in progress after its answer.
void http_server_drain(struct http_server *server);
// Requests that were parsed and not answered yet.
size_t http_server_open_exchanges(const struct http_server *server);
// Connections that are open, lingering ones included: 0 after a drain means that every answer has been taken.
size_t http_server_open_connections(const struct http_server *server);
// Closes everything and frees it (the memory when the loop comes round). No exchange may be open.
void http_server_free(struct http_server *server);

const struct http_request *http_exchange_request(const struct http_exchange *exchange);
// Lives as long as the exchange.
struct arena *http_exchange_arena(struct http_exchange *exchange);
struct loop *http_exchange_loop(struct http_exchange *exchange);
// The answer; `headers` are extra ones (may be NULL), Content-Length and Connection are the server's, and
// Content-Type when content_type is set. Everything is copied. Ends the exchange.
void http_exchange_answer(struct http_exchange *exchange, int status, struct str content_type,
                          const struct http_header *headers, size_t header_count, struct str body);
// An answer whose body comes bit by bit: a live stream (chunked; the connection is closed after it), or a body of a known length
// that is not in memory as a whole (the connection is kept as after any answer). `headers` as above. end() ends the exchange,
// after `gone` too.
struct http_stream {
    // Of the body, when it is known: so many bytes are written, or with end() the connection is reset, and the client knows that it
    // has not all. 0: a live stream.
    int64_t length;
    // The client has left, does not keep up, or the server drains: called once, from the loop and never from inside these
    // calls, and not after end(). write() returns false from then on.
    void (*gone)(void *arg);
    // The client has taken all that waited here (http_exchange_unsent); from the loop, likewise. May be NULL.
    void (*taken)(void *arg);
    void *arg;
};
// False: the client had left before; `gone` will not be called, end() is still to be.
bool http_exchange_stream(struct http_exchange *exchange, int status, struct str content_type,
                          const struct http_header *headers, size_t header_count, const struct http_stream *stream);
bool http_exchange_write(struct http_exchange *exchange, struct str bytes);
// Bytes of the stream that wait in this process because the kernel does not take them. Who can wait writes no more until
// `taken`; beyond 1 MiB the connection is reset.
size_t http_exchange_unsent(const struct http_exchange *exchange);
void http_exchange_end(struct http_exchange *exchange);
// For stand-ins and tests of the other side: ends the exchange without an answer. `bytes` go out as they are (none, or a
// part of an answer, or what is no HTTP), then the connection is closed; with `reset` it is reset (RST).
void http_exchange_cut(struct http_exchange *exchange, struct str bytes, bool reset);

// "Not Found" for 404.
const char *http_status_text(int status);
