// The tally: counters and histograms since the start, for /metrics. Atomic, any thread, fixed label sets.
#pragma once
#include "model/message.h"
#include "model/verdict.h"

#include <stdatomic.h>

enum { TALLY_PLATFORMS = 16, TALLY_DESKS = 16, TALLY_BUCKETS = 24 };

enum tally_event { TALLY_ACCEPTED, TALLY_DELIVERED, TALLY_SKIPPED, TALLY_DISCARDED, TALLY_DUPLICATE, TALLY_EVENTS };
enum tally_doubt { DOUBT_FOUND, DOUBT_NOT_FOUND, DOUBT_RESENT, DOUBT_UNKNOWN, DOUBT_HELD, DOUBT_OUTCOMES };

// What became of a try to fetch a file.
enum tally_file { TALLY_FILE_KEPT, TALLY_FILE_RETRIED, TALLY_FILE_FAILED, TALLY_FILES };

// What a webhook was answered for.
enum tally_webhook {
    TALLY_WEBHOOK_TAKEN,    // its messages are stored (or were before)
    TALLY_WEBHOOK_NOTHING,  // 200: nothing in it for an agent
    TALLY_WEBHOOK_FORGED,   // 401
    TALLY_WEBHOOK_UNTIMELY, // 401: rightly signed, at another time
    TALLY_WEBHOOK_REFUSED,  // 400, 415
    TALLY_WEBHOOK_DELAYED,  // 503
    TALLY_WEBHOOKS,
};

// Bucket i counts what took at most 100 us * 2^i; the last one everything.
struct tally_histogram {
    atomic_uint_fast64_t buckets[TALLY_BUCKETS];
    atomic_uint_fast64_t count, sum_us;
};

// Indices are places in `platforms` and `desk_connectors` (the registries). `sends`: attempts at replies, by platforms.
struct tally {
    atomic_uint_fast64_t messages[TALLY_EVENTS][TALLY_PLATFORMS][3 /* enum direction */];
    atomic_uint_fast64_t attempts[TALLY_DESKS][5 /* enum verdict_kind */];
    atomic_uint_fast64_t sends[TALLY_PLATFORMS][5 /* enum verdict_kind */];
    atomic_uint_fast64_t in_doubt[DOUBT_OUTCOMES];
    atomic_uint_fast64_t webhooks[TALLY_WEBHOOKS][TALLY_PLATFORMS];
    atomic_uint_fast64_t notices[TALLY_WEBHOOKS][TALLY_DESKS];
    atomic_uint_fast64_t files[TALLY_FILES], file_bytes;
    struct tally_histogram webhook, delivery, commit;
};

struct tally *tally_new(void);
void tally_free(struct tally *tally);
void tally_message(struct tally *tally, enum tally_event event, struct str platform, enum direction direction);
// By the receiver's name: no desk and platform that takes replies share one.
void tally_attempt(struct tally *tally, struct str receiver, enum verdict_kind verdict);
void tally_in_doubt(struct tally *tally, enum tally_doubt outcome);
void tally_time(struct tally_histogram *histogram, int64_t us);
void tally_webhook(struct tally *tally, enum tally_webhook answer, struct str platform);
// The same of what came to /desks/{account}.
void tally_notice(struct tally *tally, enum tally_webhook answer, struct str desk);
// `bytes`: of one that was kept.
void tally_file(struct tally *tally, enum tally_file event, int64_t bytes);
const char *tally_file_name(enum tally_file event);        // "kept"
const char *tally_webhook_name(enum tally_webhook answer); // "taken"
const char *tally_event_name(enum tally_event event);      // "accepted"
const char *tally_doubt_name(enum tally_doubt outcome);    // "found"
// The upper bound of a bucket in microseconds.
int64_t tally_bucket_us(int bucket);
