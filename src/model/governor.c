#include "model/governor.h"

#include "base/must.h"

enum { WINDOW_AT_START = 8 };

void governor_init(struct governor *governor, int max_window, int64_t rate_per_min, int64_t now_us)
{
    *governor = (struct governor){
        .max_window = max_window,
        .remaining = -1,
        .rate_per_min = rate_per_min,
        .filled_us = now_us,
        .tokens = 1,
    };
    governor_restart(governor);
}

void governor_restart(struct governor *governor)
{
    governor->window = governor->max_window < WINDOW_AT_START ? governor->max_window : WINDOW_AT_START;
    governor->credit = 0;
    governor->slow_start = true;
}

// The bucket holds a tenth of a second's worth, at least one: the ceiling is a pace, not a burst.
static int64_t bucket_blocked_until(struct governor *governor, int64_t now_us)
{
    double per_us = (double)governor->rate_per_min / 60e6;
    double most = per_us * 100e3 > 1 ? per_us * 100e3 : 1;
    if (now_us > governor->filled_us)
        governor->tokens += (double)(now_us - governor->filled_us) * per_us;
    governor->filled_us = now_us;
    if (governor->tokens > most)
        governor->tokens = most;
    if (governor->tokens >= 1)
        return 0;
    return now_us + (int64_t)((1 - governor->tokens) / per_us) + 1;
}

int64_t governor_blocked_until(struct governor *governor, int64_t now_us)
{
    if (governor->in_flight >= governor->window)
        return INT64_MAX;
    if (governor->remaining >= 0 && now_us < governor->reset_us && governor->in_flight >= governor->remaining)
        return governor->in_flight ? INT64_MAX : governor->reset_us;
    return governor->rate_per_min ? bucket_blocked_until(governor, now_us) : 0;
}

void governor_start(struct governor *governor)
{
    governor->in_flight++;
    governor->tokens -= 1;
}

void governor_end(struct governor *governor, bool well)
{
    must(governor->in_flight > 0);
    bool was_full = governor->in_flight >= governor->window;
    governor->in_flight--;
    if (!well) {
        governor->window = governor->window > 1 ? governor->window / 2 : 1;
        governor->slow_start = false;
        governor->credit = 0;
    } else if (was_full && governor->window < governor->max_window) {
        // Doubling per round at first, then one more per window of successes.
        governor->credit++;
        if (governor->slow_start || governor->credit >= governor->window) {
            governor->window++;
            governor->credit = 0;
        }
    }
}

void governor_learn(struct governor *governor, int64_t remaining, int64_t reset_us, int64_t now_us)
{
    const int64_t longest_us = 3600 * (int64_t)1000000;
    if (remaining < 0 || reset_us <= now_us || reset_us > now_us + longest_us)
        return;
    // Answers may overtake one another: within one window of the desk's the smallest word counts.
    if (reset_us == governor->reset_us && governor->remaining >= 0 && remaining > governor->remaining)
        return;
    governor->remaining = remaining;
    governor->reset_us = reset_us;
}
