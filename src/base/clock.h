// Time comes in through this interface, so that tests and the simulator set it.
// Wall time (microseconds since 1970) is for what is stored and shown; monotonic time is for waiting.
#pragma once
#include <stdint.h>

struct clock {
    int64_t (*wall_us)(const struct clock *clock);
    int64_t (*mono_us)(const struct clock *clock);
};

// The system's clocks.
extern const struct clock clock_system;

// A clock that stands until it is moved.
struct clock_manual {
    struct clock clock; // first: a clock_manual is a clock
    int64_t wall_us, mono_us;
};
void clock_manual_init(struct clock_manual *manual, int64_t wall_us);
void clock_manual_pass(struct clock_manual *manual, int64_t us);

static inline int64_t clock_wall_us(const struct clock *clock)
{
    return clock->wall_us(clock);
}

static inline int64_t clock_mono_us(const struct clock *clock)
{
    return clock->mono_us(clock);
}
