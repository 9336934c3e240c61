#include "relay/news.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/must.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 4096 };

struct news_state {
    pthread_mutex_t lock;
    struct news_item *ring; // RING entries while somebody listens, else NULL
    uint64_t first;         // number of the oldest that is known
    uint64_t next;          // number of the next one
    bool slept;             // a listener has read all: the next item wakes
    void (*wake)(void *arg);
    void *wake_arg;
};

struct news *news_new(void)
{
    struct news *news = mem_new_of(struct news);
    news->state = mem_new_of(struct news_state);
    pthread_mutex_init(&news->state->lock, NULL);
    // Microseconds since 1970: a later process counts on from higher up, unless it happens a million times a second.
    news->state->first = news->state->next = (uint64_t)clock_wall_us(&clock_system);
    return news;
}

void news_free(struct news *news)
{
    if (!news)
        return;
    must(!atomic_load(&news->listeners));
    pthread_mutex_destroy(&news->state->lock);
    free(news->state->ring);
    free(news->state);
    free(news);
}

void news_set(char *out, size_t size, struct str text)
{
    size_t n = text.n < size ? text.n : size - 1;
    while (n < text.n && n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
        n--; // not within a character
    if (n)
        memcpy(out, text.p, n);
    out[n] = '\0';
}

void news_tell(struct news *news, const struct news_item *item)
{
    if (!news_wanted(news))
        return;
    struct news_state *state = news->state;
    pthread_mutex_lock(&state->lock);
    if (state->ring) {
        struct news_item *place = &state->ring[state->next % RING];
        *place = *item;
        place->number = state->next++;
        place->at_us = clock_wall_us(&clock_system);
        if (state->next - state->first > RING)
            state->first = state->next - RING;
        if (state->slept)
            state->wake(state->wake_arg);
        state->slept = false;
    }
    pthread_mutex_unlock(&state->lock);
}

void news_tell_of(struct news *news, enum news_kind kind, const char *word, struct str subject, struct str text)
{
    struct news_item item = {.kind = kind, .word = word};
    if (!news_wanted(news))
        return;
    news_set(item.subject, sizeof item.subject, subject);
    news_set(item.text, sizeof item.text, text);
    news_tell(news, &item);
}

uint64_t news_listen(struct news *news, void (*wake)(void *arg), void *arg)
{
    struct news_state *state = news->state;
    pthread_mutex_lock(&state->lock);
    if (atomic_fetch_add(&news->listeners, 1) == 0) {
        state->ring = mem_new(RING * sizeof *state->ring);
        state->first = ++state->next; // one number stands for all that nobody listened to
    }
    state->wake = wake;
    state->wake_arg = arg;
    state->slept = true;
    uint64_t at = state->next - 1;
    pthread_mutex_unlock(&state->lock);
    return at;
}

bool news_knows(struct news *news, uint64_t seen)
{
    struct news_state *state = news->state;
    pthread_mutex_lock(&state->lock);
    bool knows = seen + 1 >= state->first && seen < state->next;
    pthread_mutex_unlock(&state->lock);
    return knows;
}

void news_unlisten(struct news *news)
{
    struct news_state *state = news->state;
    struct news_item *ring = NULL;
    pthread_mutex_lock(&state->lock);
    if (atomic_fetch_sub(&news->listeners, 1) == 1) {
        ring = state->ring;
        state->ring = NULL;
        state->first = state->next;
    }
    pthread_mutex_unlock(&state->lock);
    free(ring);
}

bool news_read(struct news *news, uint64_t *at, uint64_t *missed, struct news_item *out)
{
    struct news_state *state = news->state;
    pthread_mutex_lock(&state->lock);
    uint64_t wanted = *at + 1;
    if (wanted < state->first) {
        *missed += state->first - wanted;
        wanted = state->first;
    }
    bool is_there = state->ring && wanted < state->next;
    if (is_there)
        *out = state->ring[wanted % RING];
    else
        state->slept = true;
    *at = is_there ? wanted : wanted - 1;
    pthread_mutex_unlock(&state->lock);
    return is_there;
}

static const char *const names[] = {
    [NEWS_MESSAGE_ACCEPTED] = "message_accepted",
    [NEWS_MESSAGE_DELIVERED] = "message_delivered",
    [NEWS_MESSAGE_FAILED] = "message_failed",
    [NEWS_MESSAGE_SKIPPED] = "message_skipped",
    [NEWS_MESSAGE_HELD] = "message_held",
    [NEWS_MESSAGE_DISCARDED] = "message_discarded",
    [NEWS_MESSAGE_RETRIED] = "message_retried",
    [NEWS_LANE_WAITS] = "lane_waits",
    [NEWS_DESK_SUSPENDED] = "desk_suspended",
    [NEWS_DESK_RESUMED] = "desk_resumed",
    [NEWS_ALARM] = "alarm",
    [NEWS_ALARM_END] = "alarm_end",
    [NEWS_SOURCE] = "source",
    [NEWS_ACCOUNT_ADDED] = "account_added",
    [NEWS_ACCOUNT_CHANGED] = "account_changed",
    [NEWS_ACCOUNT_ACTIVATED] = "account_activated",
    [NEWS_ACCOUNT_DEACTIVATED] = "account_deactivated",
    [NEWS_ACCOUNT_REMOVED] = "account_removed",
    [NEWS_RELOADED] = "reloaded",
};
_Static_assert(sizeof names / sizeof *names == NEWS_KINDS, "each kind has a name");

const char *news_kind_name(enum news_kind kind)
{
    must((size_t)kind < NEWS_KINDS);
    return names[kind];
}

bool news_kind_of(struct str name, enum news_kind *out)
{
    for (size_t i = 0; i < NEWS_KINDS; i++) {
        if (str_eq_c(name, names[i])) {
            *out = (enum news_kind)i;
            return true;
        }
    }
    return false;
}
