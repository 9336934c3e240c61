#include "model/governor.h"

#include "base/must.h"

enum {
    WINDOW_AT_START = 8,
    SMOOTHING = 16,    // answers
    BEST_LASTS = 1024, // answers; then it is let rise, for the desk may be slower now
    QUEUE_US = 2000,   // over twice the best time that is not taken for a queue
    SAME_RESET_US = 500000,
};

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

static void time_answer(struct governor *governor, int64_t took_us)
{
    if (took_us <= 0)
        return;
    if (!governor->best_us || took_us < governor->best_us)
        governor->best_us = took_us;
    governor->smooth_us += (took_us - governor->smooth_us) / SMOOTHING;
    if (++governor->answers < BEST_LASTS)
        return;
    governor->answers = 0;
    governor->best_us += governor->best_us / 8 + 1;
}

static bool is_crowded(const struct governor *governor)
{
    return governor->smooth_us > 2 * governor->best_us + QUEUE_US;
}

// Doubling per round at first, then one more per window of successes; one less when it is crowded.
static void adjust_window(struct governor *governor, bool was_full)
{
    bool crowded = is_crowded(governor);
    if (crowded)
        governor->slow_start = false;
    else if (!was_full || governor->window >= governor->max_window)
        return;
    governor->credit++;
    if (!governor->slow_start && governor->credit < governor->window)
        return;
    governor->credit = 0;
    if (!crowded)
        governor->window++;
    else if (governor->window > WINDOW_AT_START)
        governor->window--;
}

void governor_end(struct governor *governor, bool well, int64_t took_us)
{
    must(governor->in_flight > 0);
    bool was_full = governor->in_flight >= governor->window;
    governor->in_flight--;
    if (well) {
        time_answer(governor, took_us);
        adjust_window(governor, was_full);
    } else {
        governor->window = governor->window > 1 ? governor->window / 2 : 1;
        governor->slow_start = false;
        governor->credit = 0;
    }
}

void governor_learn(struct governor *governor, int64_t remaining, int64_t reset_us, int64_t now_us)
{
    const int64_t longest_us = 3600 * (int64_t)1000000;
    if (remaining < 0 || reset_us <= now_us || reset_us > now_us + longest_us)
        return;
    // Answers may overtake one another: within one window of the desk's the smallest word counts.
    int64_t apart_us = reset_us - governor->reset_us;
    bool same_window = apart_us > -SAME_RESET_US && apart_us < SAME_RESET_US;
    if (same_window && governor->remaining >= 0 && remaining > governor->remaining)
        return;
    governor->remaining = remaining;
    governor->reset_us = reset_us;
}
