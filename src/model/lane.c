#include "model/lane.h"

#include "base/must.h"

const char *lane_state_name(enum lane_state state)
{
    static const char *const names[LANE_STATES] = {
        "idle", "loading", "ready", "marking", "sending", "waiting", "suspended", "held", "stopped", "behind",
    };
    must((unsigned)state < LANE_STATES);
    return names[state];
}

#define TO(state) (1u << LANE_##state)

bool lane_may_go(enum lane_state from, enum lane_state to)
{
    static const unsigned allowed[LANE_STATES] = {
        [LANE_IDLE] = TO(LOADING) | TO(READY) | TO(WAITING) | TO(SUSPENDED) | TO(STOPPED) | TO(BEHIND),
        [LANE_LOADING] = TO(READY) | TO(WAITING) | TO(HELD) | TO(IDLE) | TO(SUSPENDED) | TO(STOPPED) | TO(BEHIND),
        [LANE_READY] = TO(MARKING) | TO(SENDING) | TO(LOADING) | TO(IDLE) | TO(SUSPENDED) | TO(STOPPED),
        [LANE_MARKING] = TO(SENDING) | TO(READY) | TO(LOADING) | TO(WAITING) | TO(SUSPENDED) | TO(STOPPED),
        [LANE_SENDING] = TO(READY) | TO(LOADING) | TO(IDLE) | TO(SENDING) | TO(WAITING) | TO(HELD) | TO(SUSPENDED) |
                         TO(STOPPED) | TO(BEHIND),
        [LANE_WAITING] = TO(READY) | TO(LOADING) | TO(IDLE) | TO(SUSPENDED) | TO(STOPPED),
        [LANE_SUSPENDED] = TO(LOADING) | TO(STOPPED) | TO(IDLE),
        [LANE_HELD] = TO(READY) | TO(LOADING) | TO(IDLE) | TO(SUSPENDED) | TO(STOPPED),
        [LANE_STOPPED] = TO(LOADING) | TO(SUSPENDED) | TO(IDLE),
        [LANE_BEHIND] = TO(LOADING) | TO(SUSPENDED) | TO(STOPPED),
    };
    must((unsigned)from < LANE_STATES && (unsigned)to < LANE_STATES);
    return (allowed[from] >> to) & 1;
}
