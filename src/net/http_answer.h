// The head of an answer, and the problem document of a refusal. Internal to net/; pure but for the clock.
#pragma once
#include "base/buf.h"
#include "model/http.h"

#include <time.h>

struct answer {
    int status;
    struct str content_type; // may be absent
    const struct http_header *headers;
    size_t header_count;
    int64_t length; // of the body; ANSWER_CHUNKED or ANSWER_UNTIL_CLOSE when it is not known
    bool close;     // "Connection: close", else
    bool keep;      // "Connection: keep-alive", which only HTTP/1.0 needs
};
enum { ANSWER_CHUNKED = -1, ANSWER_UNTIL_CLOSE = -2 };

// The Date header's text, made anew once a second.
struct answer_date {
    time_t at;
    char text[32];
};

// 1xx, 204 and 304 have no body.
bool answer_has_body(int status);
void answer_write_head(struct buf *out, const struct answer *answer, struct answer_date *date);
// RFC 9457. `why` is a sentence for people or NULL.
void answer_write_problem(struct buf *out, int status, const char *why);
