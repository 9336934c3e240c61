// What one attempt came to, as plain data, and the common rule that turns an HTTP answer into it
// (DESIGN.md, Failures). A connector adds its cases in these words.
#pragma once
#include "model/http.h"

enum verdict_kind {
    VERDICT_DELIVERED, // next message
    VERDICT_REJECTED,  // the desk refuses this message: reported and skipped, or held
    VERDICT_RETRY,     // counted: backoff in the lane
    VERDICT_WAIT,      // not counted: again at `until_us`
    VERDICT_DESK_DOWN, // not counted: the desk is suspended as a whole
};

struct verdict {
    enum verdict_kind kind;
    bool maybe_applied;  // the desk may have taken the message
    bool unanswered;     // maybe_applied, and no answer came (or 502, 504): settle before the look-up
    bool alarm;          // 401, 403, 404, 405, 410: a person must act
    bool of_chat;        // VERDICT_REJECTED of a reply or a note: its one chat or conversation refuses (blocked, gone)
    bool limited;        // VERDICT_WAIT: the platform takes no more for this chat until `until_us` (429)
    bool not_found;      // after a look-up: the message was not at the desk; clears in_doubt, unless maybe_applied
    int64_t until_us;    // VERDICT_WAIT; VERDICT_DESK_DOWN: not before then (0 = by our own pauses). Wall time
    int status;          // the HTTP status it rests on; 0 = none
    struct str error;    // for people: the desk's words, cut short; STR_NONE when delivered. Arena or static
    struct str desk_ref; // VERDICT_DELIVERED: the desk's id of the message, if it told
};

// The rule for an answer to a request. `writes`: the request could have applied the message (look-ups and
// probes cannot). `now_us`: wall time, for Retry-After. 2xx gives VERDICT_DELIVERED with no desk_ref.
// Retry-After in seconds or as an HTTP date is obeyed, cut to one hour; negative, past or junk is ignored.
// A cancelled request is VERDICT_WAIT until now. `error` is static or in the arena; it holds the desk's
// words, which may quote the message: for `last_error` and `show`, not for the log.
struct verdict verdict_of(const struct http_response *response, bool writes, int64_t now_us, struct arena *arena);
// For a 2xx that does not hold what it must: VERDICT_RETRY, maybe applied if the request could. `what` is kept.
struct verdict verdict_unreadable(const struct http_response *response, bool writes, struct str what);

// Wall time until which the peer wants to be left alone, by Retry-After as above; 0 = it does not say, or says junk.
int64_t verdict_retry_after(const struct http_response *response, int64_t now_us);

// When the peer says that it answered (Date), unix seconds; 0 = it does not say.
int64_t verdict_date_s(const struct http_response *response);

const char *verdict_kind_name(enum verdict_kind kind);
