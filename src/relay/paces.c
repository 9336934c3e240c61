// How fast one lane may go: what its receiver takes in one chat (struct receiver, pace_us and pace_burst). A lane leaves memory
// between its messages, so what it took lately is kept beside the lanes until its bucket is full again: there are never more of
// these than chats that were written to within that time. A restart forgets them; the platform says so then (429).
#include "base/mem.h"
#include "relay/lanes.h"

#include <stdlib.h>

static struct pace *find(struct dispatcher *d, int64_t lane_id)
{
    struct pace *pace;
    HASH_FIND(hh, d->paces, &lane_id, sizeof lane_id, pace);
    return pace;
}

static void drop(struct dispatcher *d, struct pace *pace)
{
    HASH_DEL(d->paces, pace);
    free(pace);
}

int64_t pace_due_us(struct dispatcher *d, const struct lane *lane)
{
    const struct receiver *receiver = lane->owner->desk->receiver;
    int64_t now_us = dispatcher_mono_us(d);
    const struct pace *pace = receiver->pace_us ? find(d, lane->id) : NULL;
    int64_t due_us = pace ? pace->full_us - (receiver->pace_burst - 1) * receiver->pace_us : now_us;
    return due_us > now_us ? due_us : now_us;
}

// Those that took something last stand last. The first are dropped when they are over: none lasts longer than its burst does.
static void drop_those_over(struct dispatcher *d)
{
    while (d->paces && d->paces->full_us <= dispatcher_mono_us(d))
        drop(d, d->paces);
}

void pace_take(struct dispatcher *d, const struct lane *lane)
{
    const struct receiver *receiver = lane->owner->desk->receiver;
    if (!receiver->pace_us)
        return;
    int64_t now_us = dispatcher_mono_us(d);
    struct pace *pace = find(d, lane->id);
    int64_t full_us = (pace && pace->full_us > now_us ? pace->full_us : now_us) + receiver->pace_us;
    if (pace)
        drop(d, pace);
    drop_those_over(d);
    pace = mem_new_of(struct pace);
    pace->lane = lane->id;
    pace->full_us = full_us;
    HASH_ADD(hh, d->paces, lane, sizeof pace->lane, pace);
}

void paces_free(struct dispatcher *d)
{
    while (d->paces)
        drop(d, d->paces);
}
