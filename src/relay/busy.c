#include "relay/busy.h"

#include "base/mem.h"
#include "base/table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { MINUTES = 5, BUCKETS = MINUTES + 1 }; // the current minute, and those before it
#define MINUTE_US ((int64_t)60 * 1000000)

struct entry {
    int64_t account_id;
    bool in_progress;
    int64_t since_us;    // of the attempt in progress, as far as it is not in the buckets yet
    int64_t minute;      // of us[0]
    int64_t us[BUCKETS]; // the latest first
    struct entry *prev, *next;
    UT_hash_handle hh;
};

struct busy {
    pthread_mutex_t lock;
    struct entry *by_account;
    struct entry *list; // the one that was touched longest ago first
};

struct busy *busy_new(void)
{
    struct busy *busy = mem_new_of(struct busy);
    pthread_mutex_init(&busy->lock, NULL);
    return busy;
}

static void forget(struct busy *busy, struct entry *entry)
{
    HASH_DEL(busy->by_account, entry);
    DL_DELETE(busy->list, entry);
    free(entry);
}

void busy_free(struct busy *busy)
{
    if (!busy)
        return;
    while (busy->list)
        forget(busy, busy->list);
    pthread_mutex_destroy(&busy->lock);
    free(busy);
}

static struct entry *find(struct busy *busy, int64_t account_id)
{
    struct entry *entry = NULL;
    HASH_FIND(hh, busy->by_account, &account_id, sizeof account_id, entry);
    return entry;
}

// Time that has passed moves the buckets on.
static void move_on(struct entry *entry, int64_t now_us)
{
    int64_t by = now_us / MINUTE_US - entry->minute;
    if (by <= 0)
        return;
    entry->minute += by;
    size_t gone = by < BUCKETS ? (size_t)by : BUCKETS;
    memmove(entry->us + gone, entry->us, (BUCKETS - gone) * sizeof *entry->us);
    memset(entry->us, 0, gone * sizeof *entry->us);
}

static void add(struct entry *entry, int64_t from_us, int64_t to_us)
{
    int64_t first = (entry->minute - MINUTES) * MINUTE_US;
    from_us = from_us > first ? from_us : first;
    while (from_us < to_us) {
        int64_t minute = from_us / MINUTE_US, end = (minute + 1) * MINUTE_US;
        int64_t part = (end < to_us ? end : to_us) - from_us;
        entry->us[entry->minute - minute] += part;
        from_us += part;
    }
}

static void bring_up(struct entry *entry, int64_t now_us)
{
    move_on(entry, now_us);
    if (!entry->in_progress)
        return;
    add(entry, entry->since_us, now_us);
    entry->since_us = now_us > entry->since_us ? now_us : entry->since_us;
}

// Two at a time: whoever touches one pays for those that nobody touches any more.
static void forget_old(struct busy *busy, int64_t now_us)
{
    for (int i = 0; i < 2 && busy->list; i++) {
        const struct entry *oldest = busy->list;
        if (oldest->in_progress || now_us / MINUTE_US - oldest->minute < BUCKETS)
            return;
        forget(busy, busy->list);
    }
}

static struct entry *touch(struct busy *busy, int64_t account_id, int64_t now_us)
{
    struct entry *entry = find(busy, account_id);
    if (!entry) {
        entry = mem_new_of(struct entry);
        entry->account_id = account_id;
        entry->minute = now_us / MINUTE_US;
        HASH_ADD(hh, busy->by_account, account_id, sizeof entry->account_id, entry);
    } else {
        DL_DELETE(busy->list, entry);
    }
    DL_APPEND(busy->list, entry);
    bring_up(entry, now_us);
    return entry;
}

void busy_began(struct busy *busy, int64_t account_id, int64_t now_us)
{
    pthread_mutex_lock(&busy->lock);
    struct entry *entry = touch(busy, account_id, now_us);
    entry->in_progress = true;
    entry->since_us = now_us;
    forget_old(busy, now_us);
    pthread_mutex_unlock(&busy->lock);
}

void busy_ended(struct busy *busy, int64_t account_id, int64_t now_us)
{
    pthread_mutex_lock(&busy->lock);
    if (find(busy, account_id))
        touch(busy, account_id, now_us)->in_progress = false;
    forget_old(busy, now_us);
    pthread_mutex_unlock(&busy->lock);
}

int busy_percent(struct busy *busy, int64_t account_id, int64_t now_us)
{
    int64_t us = 0, into_minute = now_us % MINUTE_US;
    pthread_mutex_lock(&busy->lock);
    struct entry *entry = find(busy, account_id);
    if (entry) {
        bring_up(entry, now_us);
        for (int i = 0; i < MINUTES; i++)
            us += entry->us[i];
        us += entry->us[MINUTES] * (MINUTE_US - into_minute) / MINUTE_US; // of the oldest what is still within
    }
    pthread_mutex_unlock(&busy->lock);
    int64_t percent = us * 100 / (MINUTES * MINUTE_US);
    return percent < 100 ? (int)percent : 100;
}

int busy_kept(struct busy *busy)
{
    pthread_mutex_lock(&busy->lock);
    int count = (int)HASH_COUNT(busy->by_account);
    pthread_mutex_unlock(&busy->lock);
    return count;
}
