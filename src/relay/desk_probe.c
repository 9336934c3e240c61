// Probes of a suspended desk, one at a time: the connector's cheap request, or the head of a lane that waits.
//
//   timer, or an unanswered attempt -> probe request -well-> desk_found_well
//                                      -it takes none (405)-> the head of a lane
//   no probe request, or a closed guard -> the head of a lane, a different one each time: owners take turns, then lanes
//   a head that is held or waits is passed over until its time
// Attempts that came to nothing are parked while the desk is probed: when it is well it was the message, and it counts.
#include "relay/courier.h"

#include <utlist.h>

enum { PROBE_TIMEOUT_MS = 5000 };

static bool may_be_probed(const struct desk_state *desk)
{
    bool wanted = desk->source || desk->account->desk.probe != DESK_PROBE_NONE;
    return desk->receiver->probe && wanted && !desk->unprobed;
}

bool desk_is_being_probed(const struct desk_state *desk)
{
    return desk->probing || desk->probe_lane;
}

// ---- parked attempts ----

void desk_park(struct dispatcher *d, struct attempt *attempt)
{
    DL_APPEND(attempt->desk_state->parked, attempt);
    d->busy++;
}

void desk_release_parked(struct dispatcher *d, struct desk_state *desk, bool well)
{
    while (desk->parked) {
        struct attempt *attempt = desk->parked;
        DL_DELETE(desk->parked, attempt);
        d->busy--;
        if (well) // it was the message, and it counts
            attempt->verdict.kind = VERDICT_RETRY;
        attempt_judged(attempt);
    }
}

// ---- the head of a lane ----

// The next lane of the owner whose head may be sent now; `out_earliest_us`: when that of another one may.
static struct lane *next_of_owner(struct lane_owner *owner, int64_t now_us, int64_t *out_earliest_us)
{
    struct lane *lane;
    DL_FOREACH2(owner->lanes, lane, all_next)
    {
        if (lane->state != LANE_SUSPENDED)
            continue;
        if (lane->probe_after_us <= now_us)
            return lane;
        if (lane->probe_after_us < *out_earliest_us)
            *out_earliest_us = lane->probe_after_us;
    }
    return NULL;
}

static struct lane *next_lane(struct dispatcher *d, struct desk_state *desk, int64_t *out_earliest_us)
{
    struct lane_owner *owner = desk->owners, *end = NULL;
    *out_earliest_us = INT64_MAX;
    for (; owner && owner != end; owner = desk->owners) {
        end = end ? end : owner;
        DL_DELETE2(desk->owners, owner, all_prev, all_next);
        DL_APPEND2(desk->owners, owner, all_prev, all_next);
        struct lane *lane = next_of_owner(owner, dispatcher_mono_us(d), out_earliest_us);
        if (!lane)
            continue;
        DL_DELETE2(owner->lanes, lane, all_prev, all_next);
        DL_APPEND2(owner->lanes, lane, all_prev, all_next);
        return lane;
    }
    return NULL;
}

static bool has_lane_in_flight(const struct desk_state *desk)
{
    const struct lane_owner *owner;
    const struct lane *lane;
    DL_FOREACH2(desk->owners, owner, all_next)
    {
        DL_FOREACH2(owner->lanes, lane, all_next)
        {
            if (lane->attempt)
                return true;
        }
    }
    return false;
}

// False when no head can be sent now; the timer is set if one can be later.
static bool probe_with_a_lane(struct dispatcher *d, struct desk_state *desk)
{
    int64_t earliest_us;
    struct lane *lane = next_lane(d, desk, &earliest_us);
    if (lane) {
        lane->is_probe = true;
        desk->probe_lane = lane;
        desk->probe_lane_us = dispatcher_mono_us(d);
        lane_set_state(d, lane, LANE_LOADING);
        return true;
    }
    if (has_lane_in_flight(desk)) // they come back to it
        due_set(d, &desk->due, desk_next_try_us(d, desk, dispatcher_mono_us(d)));
    else if (earliest_us != INT64_MAX)
        due_set(d, &desk->due, earliest_us);
    return false;
}

void desk_probe_lost(struct dispatcher *d, struct desk_state *desk)
{
    if (!desk->probe_lane)
        return;
    desk->probe_lane->is_probe = false;
    desk->probe_lane = NULL;
    desk_release_parked(d, desk, false);
    due_set(d, &desk->due, dispatcher_mono_us(d));
}

// ---- the probe request ----

// The next probe is the head of a lane: now, or, when there is none but those that wait for this word, after a pause.
static void takes_no_probe(struct dispatcher *d, struct desk_state *desk)
{
    desk->unprobed = true;
    if (desk->suspended && !d->stopping && probe_with_a_lane(d, desk))
        return;
    desk_release_parked(d, desk, false);
    if (desk->suspended)
        desk_pause(d, desk, STR("it takes no probes"), dispatcher_mono_us(d));
}

static void take_probe_verdict(struct dispatcher *d, struct desk_state *desk, const struct http_response *response)
{
    struct verdict verdict = desk->receiver->probe_verdict(response, dispatcher_now_us(d), &desk->probe_arena);
    desk_answered(d, desk, response);
    desk_hold_until(d, desk, verdict.until_us);
    if (verdict.kind == VERDICT_REJECTED) {
        takes_no_probe(d, desk);
        return;
    }
    bool well = verdict.kind == VERDICT_DELIVERED;
    desk_release_parked(d, desk, well);
    if (verdict.alarm)
        desk_refuses(d, desk, verdict.status);
    if (well && !desk->guard.closed)
        desk_found_well(d, desk);
    else if (desk->suspended)
        desk_pause(d, desk, desk_reason(&verdict, &desk->probe_arena), dispatcher_mono_us(d));
}

static void on_probe(void *arg, const struct http_response *response)
{
    struct desk_state *desk = arg;
    struct dispatcher *d = desk->dispatcher;
    desk->probing = false;
    desk->probe_call = NULL;
    if (response->failure == HTTP_CANCELLED)
        desk_release_parked(d, desk, false);
    else
        take_probe_verdict(d, desk, response);
    arena_done(&desk->probe_arena);
    d->busy--;
    dispatcher_pump(d);
    desk_state_unref(d, desk);
    dispatcher_check_stopped(d);
}

void desk_probe_now(struct dispatcher *d, struct desk_state *desk)
{
    struct http_request request = {0};
    if (desk_is_being_probed(desk) || d->stopping)
        return;
    if (desk->guard.closed || !may_be_probed(desk) ||
        !desk->receiver->probe(desk->account, desk->source, &desk->probe_arena, &request)) {
        probe_with_a_lane(d, desk);
        return;
    }
    desk->probing = true;
    desk->refs++;
    d->busy++;
    desk->probe_call = d->ports.send(d->ports.arg, &request, PROBE_TIMEOUT_MS, on_probe, desk);
}
