// What lanes of inactive accounts have to wait still. Such a lane is not in memory, and the store knows its head's wait in wall
// time alone: a clock that is set meanwhile would have a doubt looked up before the desk can be through with it.
#include "base/mem.h"
#include "relay/lanes.h"

#include <stdlib.h>

struct kept_wait {
    int64_t lane;
    struct head_wait wait;
    UT_hash_handle hh;
};

static void drop(struct dispatcher *d, struct kept_wait *kept)
{
    HASH_DEL(d->kept_waits, kept);
    free(kept);
}

// The oldest first: none is longer than d->longest_wait_us, so what is over does not stay for long.
static void drop_those_over(struct dispatcher *d)
{
    while (d->kept_waits && d->kept_waits->wait.due_us <= dispatcher_mono_us(d))
        drop(d, d->kept_waits);
}

static struct kept_wait *find(struct dispatcher *d, int64_t lane_id)
{
    struct kept_wait *kept;
    HASH_FIND(hh, d->kept_waits, &lane_id, sizeof lane_id, kept);
    return kept;
}

void wait_keep(struct dispatcher *d, const struct lane *lane)
{
    drop_those_over(d);
    if (lane->wait.due_us <= dispatcher_mono_us(d))
        return;
    struct kept_wait *kept = mem_new_of(struct kept_wait);
    kept->lane = lane->id;
    kept->wait = lane->wait;
    HASH_ADD(hh, d->kept_waits, lane, sizeof kept->lane, kept);
}

void wait_take_back(struct dispatcher *d, struct lane *lane)
{
    struct kept_wait *kept = find(d, lane->id);
    if (!kept)
        return;
    lane->wait = kept->wait;
    drop(d, kept);
}

void kept_waits_free(struct dispatcher *d)
{
    while (d->kept_waits)
        drop(d, d->kept_waits);
}
