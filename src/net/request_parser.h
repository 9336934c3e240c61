// From bytes to one whole request, or to a refusal: llhttp in strict mode, and beside it every rule that llhttp leaves to
// its user (RELIABILITY.md, section 6, items 1-14). Internal to net/; no I/O, so it is tested and fuzzed directly.
//
// What it accepts of a run of bytes does not depend on how they were cut; of two faults either may be named.
#pragma once
#include "base/buf.h"
#include "model/http.h"

#include <llhttp.h>

struct request_limits {
    size_t max_head; // request line and headers, bytes
    size_t max_target;
    size_t max_headers;
    size_t max_body; // what `head` starts from
};

// One request, as far as it has been read. Everything in it lives in the arena, except the body.
struct request_draft {
    struct arena arena;
    struct http_request request;
    struct http_header *headers; // request.headers, while it grows
    size_t header_room;
    char *text; // free room for names and values
    size_t text_room;
    struct buf body;
};
void request_draft_done(struct request_draft *draft);

enum request_phase {
    PHASE_START, // nothing of a request yet, blank lines at most
    PHASE_HEAD,
    PHASE_BODY, // the head was accepted; also for requests without a body
    PHASE_WHOLE,
    PHASE_REFUSED,
};

struct request_parser {
    llhttp_t llhttp;
    const struct request_limits *limits;
    // Asked when the head is in: 0 or a status to refuse with.
    int (*head)(void *arg, const struct http_request *request, size_t *max_body);
    void *arg;
    struct request_draft *draft; // the connection's; not NULL while it feeds
    enum request_phase phase;

    // Positions are byte counts from the start of this request.
    size_t at; // of the first byte of `slice`
    const char *slice;
    char before; // the byte before slice
    size_t method_end, target_end, version_at, name_end;
    char protocol;   // its first letter; 0 until it has come
    struct str span; // what is being read: target, name or value. `p` is NULL between them
    size_t max_body;

    bool keep_alive;       // once whole
    bool expects_continue; // the head asked for "100 Continue"
    int status;            // once refused
    const char *why;       // once refused: a fixed sentence
};

void request_parser_init(struct request_parser *parser, const struct request_limits *limits,
                         int (*head)(void *arg, const struct http_request *request, size_t *max_body), void *arg);
// Takes up to n bytes, not beyond the end of one request, and says where it stands. Not called again once refused.
enum request_phase request_parser_feed(struct request_parser *parser, const char *bytes, size_t n, size_t *out_used);
// Makes ready for the next request of the connection, after PHASE_WHOLE with keep_alive.
void request_parser_next(struct request_parser *parser);
