// Lanes that brought the process down: a forbidden change of state is a bug, and aborts. So that one lane cannot take all
// others down again and again, its name outlives the process (the port lane_trouble), and one that was named twice within
// a short time starts as held.
#include "base/log.h"
#include "base/mem.h"
#include "relay/lanes.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

static struct troubled_lane *find(struct dispatcher *d, int64_t lane_id)
{
    struct troubled_lane *troubled = NULL;
    HASH_FIND(hh, d->troubled, &lane_id, sizeof lane_id, troubled);
    return troubled;
}

void dispatcher_hold_lane(struct dispatcher *d, int64_t lane_id)
{
    if (find(d, lane_id))
        return;
    struct troubled_lane *troubled = mem_new_of(struct troubled_lane);
    troubled->id = lane_id;
    HASH_ADD(hh, d->troubled, id, sizeof troubled->id, troubled);
}

void troubled_lanes_free(struct dispatcher *d)
{
    struct troubled_lane *troubled, *next;
    HASH_ITER(hh, d->troubled, troubled, next)
    {
        HASH_DEL(d->troubled, troubled);
        free(troubled);
    }
}

void lane_note_trouble(struct dispatcher *d, const struct lane *lane)
{
    if (d->ports.lane_trouble)
        d->ports.lane_trouble(d->ports.arg, lane->id, false);
}

static void begin_alarm(struct dispatcher *d, const struct lane *lane)
{
    char text[200];
    snprintf(
        text, sizeof text,
        "lane %lld brought the process down twice, a bug of ours: it is held, and goes on when one of its messages "
        "is retried or discarded by hand",
        (long long)lane->id);
    board_alarm(d->options.board, "lane_held", lane->owner->account->name, str_of(text));
}

void lane_look_for_trouble(struct dispatcher *d, struct lane *lane)
{
    lane->in_trouble = find(d, lane->id) != NULL;
    if (lane->in_trouble)
        begin_alarm(d, lane);
}

static bool has_trouble(const struct lane_owner *owner)
{
    const struct lane *lane = owner->lanes;
    while (lane && !lane->in_trouble)
        lane = lane->all_next;
    return lane != NULL;
}

// The alarm stands for all such lanes of the account.
static void end_alarm(struct dispatcher *d, const struct lane_owner *owner)
{
    size_t at = 0;
    for (const struct lane_owner *other; (other = lane_owner_next(d, owner->account, &at));)
        if (has_trouble(other))
            return;
    board_alarm_end(d->options.board, "lane_held", owner->account->name);
}

void lane_leaves_trouble(struct dispatcher *d, const struct lane *lane)
{
    if (lane->in_trouble && !d->stopping)
        end_alarm(d, lane->owner);
}

void lane_trust(struct dispatcher *d, int64_t lane_id)
{
    struct troubled_lane *troubled = find(d, lane_id);
    if (!troubled)
        return;
    HASH_DEL(d->troubled, troubled);
    free(troubled);
    if (d->ports.lane_trouble)
        d->ports.lane_trouble(d->ports.arg, lane_id, true);
    struct lane *lane = lane_find(d, lane_id);
    if (!lane)
        return;
    lane->in_trouble = false;
    end_alarm(d, lane->owner);
    if (lane->state == LANE_HELD)
        lane_set_state(d, lane, LANE_LOADING);
    else if (lane->state == LANE_SUSPENDED)
        lane->probe_after_us = 0;
}
