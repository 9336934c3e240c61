#include "relay/tally.h"

#include "base/mem.h"
#include "base/must.h"
#include "desk/desk.h"
#include "platform/platform.h"

#include <stdlib.h>

struct tally *tally_new(void)
{
    return mem_new_of(struct tally);
}

void tally_free(struct tally *tally)
{
    free(tally);
}

static void add(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void tally_message(struct tally *tally, enum tally_event event, struct str platform, enum direction direction)
{
    for (int i = 0; i < TALLY_PLATFORMS && platforms[i]; i++)
        if (str_eq_c(platform, platforms[i]->name))
            add(&tally->messages[event][i][direction], 1);
}

void tally_attempt(struct tally *tally, struct str receiver, enum verdict_kind verdict)
{
    for (int i = 0; i < TALLY_DESKS && desk_connectors[i]; i++)
        if (str_eq_c(receiver, desk_connectors[i]->receiver.name))
            add(&tally->attempts[i][verdict], 1);
    for (int i = 0; i < TALLY_PLATFORMS && platforms[i]; i++)
        if (platforms[i]->receiver && str_eq_c(receiver, platforms[i]->receiver->name))
            add(&tally->sends[i][verdict], 1);
}

void tally_in_doubt(struct tally *tally, enum tally_doubt outcome)
{
    add(&tally->in_doubt[outcome], 1);
}

void tally_webhook(struct tally *tally, enum tally_webhook answer, struct str platform)
{
    for (int i = 0; i < TALLY_PLATFORMS && platforms[i]; i++)
        if (str_eq_c(platform, platforms[i]->name))
            add(&tally->webhooks[answer][i], 1);
}

void tally_notice(struct tally *tally, enum tally_webhook answer, struct str desk)
{
    for (int i = 0; i < TALLY_DESKS && desk_connectors[i]; i++)
        if (str_eq_c(desk, desk_connectors[i]->receiver.name))
            add(&tally->notices[answer][i], 1);
}

void tally_file(struct tally *tally, enum tally_file event, int64_t bytes)
{
    add(&tally->files[event], 1);
    add(&tally->file_bytes, (uint64_t)bytes);
}

int64_t tally_bucket_us(int bucket)
{
    return (int64_t)100 << bucket;
}

void tally_time(struct tally_histogram *histogram, int64_t us)
{
    if (us < 0)
        us = 0; // the wall clock was set back
    int bucket = 0;
    while (bucket < TALLY_BUCKETS - 1 && us > tally_bucket_us(bucket))
        bucket++;
    add(&histogram->buckets[bucket], 1);
    add(&histogram->count, 1);
    add(&histogram->sum_us, (uint64_t)us);
}

const char *tally_event_name(enum tally_event event)
{
    static const char *const names[] = {"accepted", "delivered", "skipped", "discarded", "duplicate"};
    must((size_t)event < sizeof names / sizeof *names);
    return names[event];
}

const char *tally_file_name(enum tally_file event)
{
    static const char *const names[] = {"kept", "retried", "failed"};
    must((size_t)event < sizeof names / sizeof *names);
    return names[event];
}

const char *tally_doubt_name(enum tally_doubt outcome)
{
    static const char *const names[] = {"found", "not_found", "resent", "unknown", "held"};
    must((size_t)outcome < sizeof names / sizeof *names);
    return names[outcome];
}

const char *tally_webhook_name(enum tally_webhook answer)
{
    static const char *const names[] = {"taken", "nothing", "forged", "untimely", "refused", "delayed"};
    must((size_t)answer < sizeof names / sizeof *names);
    return names[answer];
}
