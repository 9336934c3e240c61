// The sink's HTTP server: one thread, epoll, keep-alive connections, plain or TLS. A request goes to `handle`, which writes the answer
// into the peer's buffer; where it says so the answer waits for the desk's delay first. The delay is the same for every answer, so
// those that wait stand in one queue, in the order of their time.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer_request {
    const char *method, *path, *body;
    size_t method_n, path_n, body_n;
};

struct peer_answer {
    char *p; // of the peer
    size_t n, size;
    bool delayed, closing; // written by `handle`
};

struct peers_options {
    uint16_t port; // 0: any
    uint64_t delay_ns;
    const char *certificate, *key; // files; NULL: no TLS
    void (*handle)(const struct peer_request *request, struct peer_answer *answer);
    void (*malformed)(void);
};

struct peers_counts {
    uint32_t now, max; // connections
};

bool peer_request_is(const struct peer_request *request, const char *method, const char *path);
bool peer_path_starts(const struct peer_request *request, const char *with);

void answer_add(struct peer_answer *answer, const char *p, size_t n);
void answer_text(struct peer_answer *answer, const char *text);

// Prints {"port": N} when it listens; serves until the process ends.
_Noreturn void peers_serve(const struct peers_options *options);
struct peers_counts peers_counts(void);
