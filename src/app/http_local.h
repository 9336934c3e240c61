// HTTP to the running relay over its Unix socket, for the command line: one request, or a stream of events.
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum { HTTP_LOCAL_ANSWER_MAX = 256 << 20 };

struct http_local_answer {
    int status;
    struct buf body; // the caller's to end
};

// Called about once a second while the answer is waited for.
struct http_local_waiter {
    void (*tick)(void *arg);
    void *arg;
};
// `timeout_s` 0: none. `waiter` may be NULL. False: no answer, and one sentence in *why (in the arena).
bool http_local_call(const char *socket, const char *method, const char *target, struct str body, int timeout_s,
                     const struct http_local_waiter *waiter, struct arena *arena, struct http_local_answer *out,
                     const char **why);

enum http_local_end {
    HTTP_LOCAL_FAILED,  // no answer: one sentence in *why
    HTTP_LOCAL_ENDED,   // the answer has ended; when its status is not 200, its body is in out_problem
    HTTP_LOCAL_STOPPED, // on_bytes said so
    HTTP_LOCAL_UNREAD,  // nobody reads reader_fd any more
};
struct http_local_listener {
    // Bytes of a 200, as they come; false stops.
    bool (*on_bytes)(void *arg, struct str bytes);
    void *arg;
    int reader_fd; // a pipe whose reader may leave while nothing comes
};
// GET of what does not end by itself.
enum http_local_end http_local_listen(const char *socket, const char *target,
                                      const struct http_local_listener *listener, struct arena *arena, int *out_status,
                                      struct buf *out_problem, const char **why);
