#include "relay/clock_watch.h"

#include "base/mem.h"
#include "base/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { REFUSED_IN_A_ROW = 5, SUBJECT_SIZE = 160 };

// A source whose last signed request was refused.
struct refused_source {
    int64_t source_id;
    int count; // in a row
    UT_hash_handle hh;
};

struct clock_watch {
    struct board *board;
    pthread_mutex_t lock;
    struct refused_source *sources;
    atomic_uint known; // how many are in it: nearly always none, and then verified() takes no lock
};

struct clock_watch *clock_watch_new(struct board *board)
{
    struct clock_watch *watch = mem_new_of(struct clock_watch);
    watch->board = board;
    pthread_mutex_init(&watch->lock, NULL);
    return watch;
}

void clock_watch_free(struct clock_watch *watch)
{
    struct refused_source *each, *next;
    if (!watch)
        return;
    HASH_ITER(hh, watch->sources, each, next)
    {
        HASH_DEL(watch->sources, each);
        free(each);
    }
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

static struct refused_source *find(struct clock_watch *watch, int64_t source_id)
{
    struct refused_source *found = NULL;
    HASH_FIND(hh, watch->sources, &source_id, sizeof source_id, found);
    return found;
}

static struct str subject_of(const struct source *source, char text[SUBJECT_SIZE])
{
    snprintf(text, SUBJECT_SIZE, "%.*s/%.*s", STR_ARG(source->account), STR_ARG(source->name));
    return str_of(text);
}

static void begin_alarm(struct clock_watch *watch, const struct source *source, int64_t ahead_s)
{
    char subject[SUBJECT_SIZE], text[256];
    unsigned long long apart_s = (unsigned long long)ahead_s;
    snprintf(
        text, sizeof text,
        "its requests are refused though rightly signed: their timestamps are %llu s %s this machine's clock (300 s are "
        "allowed); one of the two clocks is wrong, or old requests are sent again",
        ahead_s < 0 ? 0 - apart_s : apart_s, ahead_s < 0 ? "behind" : "ahead of");
    board_alarm(watch->board, "webhook_clock", subject_of(source, subject), str_of(text));
}

void clock_watch_refused(struct clock_watch *watch, const struct source *source, int64_t ahead_s)
{
    pthread_mutex_lock(&watch->lock);
    struct refused_source *refused = find(watch, source->id);
    if (!refused) {
        refused = mem_new_of(struct refused_source);
        refused->source_id = source->id;
        HASH_ADD(hh, watch->sources, source_id, sizeof refused->source_id, refused);
        watch->known++;
    }
    if (refused->count < REFUSED_IN_A_ROW)
        refused->count++;
    if (refused->count == REFUSED_IN_A_ROW)
        begin_alarm(watch, source, ahead_s);
    pthread_mutex_unlock(&watch->lock);
}

void clock_watch_verified(struct clock_watch *watch, const struct source *source)
{
    char subject[SUBJECT_SIZE];
    if (!watch->known)
        return;
    pthread_mutex_lock(&watch->lock);
    struct refused_source *refused = find(watch, source->id);
    if (refused) {
        HASH_DEL(watch->sources, refused);
        watch->known--;
        free(refused);
        board_alarm_end(watch->board, "webhook_clock", subject_of(source, subject));
    }
    pthread_mutex_unlock(&watch->lock);
}

void clock_watch_forget(struct clock_watch *watch, const struct account *account)
{
    for (size_t i = 0; account && i < account->source_count; i++)
        clock_watch_verified(watch, &account->sources[i]);
}
