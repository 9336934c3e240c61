// A desk's governor: how many requests may be in flight to it, and how fast. The window grows with success
// and shrinks with failure; it stops growing where more in flight only makes each answer slower (answers that take
// more than twice the desk's best time wait in somebody's queue: the desk's, the network's or our own). What the
// desk's own headers say, and the operator's ceiling, bound the rate.
// Plain data: the caller brings the time (monotonic, microseconds).
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct governor {
    int window; // requests that may be in flight now
    int in_flight;
    int max_window;       // the process' slots
    int64_t best_us;      // the quickest answer lately; 0 = none yet
    int64_t smooth_us;    // answers lately, smoothed
    int answers;          // since best_us was let rise
    int credit;           // successes since the window grew last
    bool slow_start;      // doubling per round until the first failure
    int64_t remaining;    // as the desk's headers said last; -1 = it never said
    int64_t reset_us;     // until then
    int64_t rate_per_min; // the operator's ceiling; 0 = none
    double tokens;        // of the ceiling's bucket
    int64_t filled_us;
};

void governor_init(struct governor *governor, int max_window, int64_t rate_per_min, int64_t now_us);
// 0 = a request may start now; else not before this time (INT64_MAX: when one in flight has ended).
int64_t governor_blocked_until(struct governor *governor, int64_t now_us);
void governor_start(struct governor *governor);
// One has ended. `well`: the desk answered like a desk that is well; a request of it took `took_us` (0 = unknown).
void governor_end(struct governor *governor, bool well, int64_t took_us);
// What the desk's headers said.
void governor_learn(struct governor *governor, int64_t remaining, int64_t reset_us, int64_t now_us);
// After an outage: begin small.
void governor_restart(struct governor *governor);
