// HTTP out: libcurl multi (socket action) on the owner's loop, HTTP/1.1 with keep-alive. Single-threaded:
// one client per loop.
//
// The danger it is built around (DESIGN.md, Libraries): on a reused connection that the server closes after
// taking the body, libcurl sends a POST again by itself. Here a second attempt of one call is stopped, but of GET and HEAD,
// and reported as HTTP_RESENT with written = true.
#pragma once
#include "model/http.h"
#include "net/loop.h"

struct http_client;
struct http_call;

// Takes the body of a 200 in place of the memory, piece by piece, in the loop's thread. What it took is whole only when the call
// ends with an answer.
struct http_sink {
    void *arg;
    // False: no more of it is wanted, and the call ends as HTTP_UNREADABLE.
    bool (*write)(void *arg, struct str bytes);
    int64_t max;      // bytes; beyond, by Content-Length or in fact: HTTP_UNREADABLE and `too_large`
    int64_t min_rate; // bytes a second: slower all the time for `slow_s` is HTTP_TIMEOUT. 0 = none
};

struct http_client_options {
    size_t max_connections; // kept open or in use, in all (128)
    size_t max_per_host;    // 0 = no own limit
    int64_t connect_ms;     // for the connection to stand (5 s)
    size_t max_body;        // of an answer (4 MiB): beyond = HTTP_UNREADABLE
    int64_t slow_s;         // how long the body of a 200 may come slower than its sink's min_rate (30)
    // Where the files of requests with parts are read from, in the loop's thread; NULL: there are none such. Less than was asked
    // for is read on; nothing, or an error, ends the call as HTTP_UNSENDABLE.
    int64_t (*read_file)(void *arg, struct str hash, int64_t offset, char *room,
                         size_t size); // as media_files_ops.read
    void *read_file_arg;
    bool refuse_private;    // addresses out of messages: peers that are not public (net/address.h) are refused
    const char *user_agent; // "tributary/<version>"
    const char *ca_file;    // certificates to trust instead of the system's ($SSL_CERT_FILE); NULL = the system's
};
void http_client_options_default(struct http_client_options *options);

// What the options point to must outlive the client. Sets up libcurl for the process when it is the first.
struct http_client *http_client_new(struct loop *loop, const struct http_client_options *options);
// Calls in progress end with HTTP_CANCELLED before it returns. The memory goes when the loop comes round.
void http_client_free(struct http_client *client);

// Sends; `done` is called exactly once, never before this returns, with an answer that lives until it
// returns. The request is copied. Redirects are not followed. `written` in the answer is true unless it is
// certain that the peer cannot have got the whole request. `done` may send and cancel, not free the client.
// A body of parts is put together while it is sent, from their files and 64 KiB of memory.
struct http_call *http_client_send(struct http_client *client, const struct http_request *request, int64_t timeout_ms,
                                   void (*done)(void *arg, const struct http_response *response), void *arg);
// The same of a request whose answer may be large: the body of a 200 goes to the sink (copied; NULL: into the answer, too).
struct http_call *http_client_fetch(struct http_client *client, const struct http_request *request, int64_t timeout_ms,
                                    const struct http_sink *sink,
                                    void (*done)(void *arg, const struct http_response *response), void *arg);
// Ends the call with HTTP_CANCELLED (done is called before this returns).
void http_call_cancel(struct http_call *call);
// Calls in progress.
size_t http_client_open_calls(const struct http_client *client);
