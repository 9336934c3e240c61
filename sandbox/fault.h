// Faults on request: what a stand-in does wrong, to which requests, how often. Owned by a door; pure (no I/O here).
//
// Most hit requests. Those of notifications hit what the stand-in itself sends to a webhook, where it sends any; those of files hit
// the bytes of a file that is fetched.
#pragma once
#include "base/arena.h"
#include "base/chance.h"
#include "base/json.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_LATENCY,     // answered `ms` later; applied at the end of it, or at its beginning with `apply`
    FAULT_STATUS,      // another status and body
    FAULT_RATE_LIMIT,  // 429 in the platform's words, with `retry_after`
    FAULT_REFUSE,      // the listening socket closes for `ms`: connections are refused
    FAULT_DROP_AFTER,  // applied, then closed without an answer
    FAULT_DROP_BEFORE, // closed without an answer, not applied
    FAULT_HANG,        // never answered
    FAULT_TRUNCATE,    // half of the answer, then closed
    FAULT_GARBAGE,     // status 200 and a body that cannot be read
    FAULT_RESET,       // the connection is reset
    // of notifications
    FAULT_LOSE,  // never sent, however often it would be tried
    FAULT_TWICE, // sent twice
    FAULT_LATE,  // sent `ms` later
    FAULT_SWAP,  // sent behind the next one; after `ms` when there is none
    // of files
    FAULT_FILE_404,        // it is not there
    FAULT_FILE_SLOW,       // comes in small pieces, spread over `ms`
    FAULT_FILE_TRUNCATED,  // half of it, then closed
    FAULT_FILE_WRONG_TYPE, // a page in its place, under its type
    FAULT_FILE_ENDLESS,    // 4 GiB, without saying so before
    FAULT_FILE_CLAIMS,     // says 4 GiB, and closes after what there is
    FAULT_FILE_EXPIRES,    // its address works once; beside another fault
};

// What one request takes along.
struct fault {
    enum fault_kind kind;
    bool apply; // the request takes effect all the same
    int status;
    int64_t ms;            // before acting; refuse: how long; hang: when the connection is closed at last (0: never)
    int64_t retry_after_s; // below 0: not said
    struct str body;       // STR_NONE: the platform's own words
};

struct fault_list;

// `notifies`: the stand-in sends notifications, so that their faults can be asked for.
struct fault_list *fault_list_new(uint64_t seed, bool notifies);
void fault_list_free(struct fault_list *list);
// Adds what `spec` describes. False, with a sentence in `why`, when it does not make sense. `out_now` is set when the fault is to
// act at once instead of waiting for a request (refuse without a path).
bool fault_list_add(struct fault_list *list, yyjson_val *spec, const char **why, int64_t *out_id,
                    struct fault *out_now);
// True when a fault hits this request: counted, and copied to `out` (its body into the arena).
bool fault_list_take(struct fault_list *list, struct str method, struct str path, struct arena *arena,
                     struct fault *out);
// The same for a notification; `path` of its faults is a part of the topic.
bool fault_list_take_notice(struct fault_list *list, struct str topic, struct arena *arena, struct fault *out);
// The same for the bytes of a file, by the request that fetches it: any kind but FAULT_FILE_EXPIRES, or only that one.
bool fault_list_take_file(struct fault_list *list, struct str method, struct str path, struct arena *arena,
                          struct fault *out);
bool fault_list_take_expiry(struct fault_list *list, struct str method, struct str path, struct arena *arena);
// id 0: all of them. Returns how many went.
int fault_list_clear(struct fault_list *list, int64_t id);
void fault_list_write(const struct fault_list *list, struct json *json);
const char *fault_kind_name(enum fault_kind kind);
