// The news: what happens, told as it happens to whoever listens (GET /api/v1/events). Nothing is kept for later and nothing
// is made when nobody listens: who has something to tell asks news_wanted() first, which costs one relaxed load.
//
// One ring for all listeners, made with the first: tellers write over the oldest, so neither a slow listener nor a flood
// costs the relay more than the copy. Each listener reads on from the number it has come to, and learns how many it missed.
//
// Told from any thread, by the owner of what happened, once it is durable where it is stored. Never a message's text, a
// customer's name or a secret.
#pragma once
#include "base/str.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum news_kind {
    NEWS_MESSAGE_ACCEPTED,
    NEWS_MESSAGE_DELIVERED,
    NEWS_MESSAGE_FAILED, // an attempt, and it stays pending
    NEWS_MESSAGE_SKIPPED,
    NEWS_MESSAGE_HELD,
    NEWS_MESSAGE_DISCARDED,
    NEWS_MESSAGE_RETRIED, // by hand: back at the tail of its lane
    NEWS_LANE_WAITS,
    NEWS_DESK_SUSPENDED,
    NEWS_DESK_RESUMED,
    NEWS_ALARM,
    NEWS_ALARM_END,
    NEWS_SOURCE, // its health is another one
    NEWS_ACCOUNT_ADDED,
    NEWS_ACCOUNT_CHANGED,
    NEWS_ACCOUNT_ACTIVATED,
    NEWS_ACCOUNT_DEACTIVATED,
    NEWS_ACCOUNT_REMOVED,
    NEWS_RELOADED,
    NEWS_KINDS,
};

enum { NEWS_SUBJECT = 128, NEWS_TEXT = 256 };

struct news_item {
    uint64_t number; // the news' own: goes up by one, and on over restarts
    int64_t at_us;   // wall time; the news' own
    enum news_kind kind;
    int64_t account_id, source_id, message_id, lane; // 0: none
    uint64_t desk;                                   // identity of the desk it is about; 0: none
    int attempts;
    int64_t until_us;           // the next attempt, or when the desk is tried again; MESSAGE_HELD: by hand
    bool in_doubt;              // the message
    const char *word;           // static, or NULL: a verdict, a reason, the name of an alarm, a source's health
    char subject[NEWS_SUBJECT]; // "ACCOUNT" or "ACCOUNT/SOURCE" where there is no id to find it by; cut
    char text[NEWS_TEXT];       // one sentence as the status shows it; cut
};

struct news {
    atomic_int listeners; // how many there are; others read it only
    struct news_state *state;
};

struct news *news_new(void);
void news_free(struct news *news);

// Somebody listens. `news` may be NULL.
static inline bool news_wanted(const struct news *news)
{
    return news && atomic_load_explicit(&news->listeners, memory_order_relaxed) > 0;
}
// Tells it, when somebody listens. The item is copied; `number` and `at_us` are filled in.
void news_tell(struct news *news, const struct news_item *item);
// The same for few words; subject and text may be STR_NONE.
void news_tell_of(struct news *news, enum news_kind kind, const char *word, struct str subject, struct str text);
// A text into one of the item's fields, cut between two characters.
void news_set(char *out, size_t size, struct str text);

// One listener more. `wake` is called, from any thread and under the news' lock (it may only post a task), when there is
// something new after news_read said that there was nothing. All listeners share one `wake`; it is not called any more when
// news_unlisten of the last has returned. Returns the number that it has come to: the item after it is the first for it.
uint64_t news_listen(struct news *news, void (*wake)(void *arg), void *arg);
// Where a listener that has seen `seen` can go on; false when what came since is not known any more.
bool news_knows(struct news *news, uint64_t seen);
void news_unlisten(struct news *news);
// The first item after *at. Moves *at to it, and adds what is gone by then to *missed. False: there is none yet, and
// `wake` will be called when there is.
bool news_read(struct news *news, uint64_t *at, uint64_t *missed, struct news_item *out);

const char *news_kind_name(enum news_kind kind); // "message_accepted"
bool news_kind_of(struct str name, enum news_kind *out);
