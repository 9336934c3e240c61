#include "base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_wall(const struct clock *clock)
{
    (void)clock;
    return read_us(CLOCK_REALTIME);
}

static int64_t system_mono(const struct clock *clock)
{
    (void)clock;
    return read_us(CLOCK_MONOTONIC);
}

const struct clock clock_system = {.wall_us = system_wall, .mono_us = system_mono};

static int64_t manual_wall(const struct clock *clock)
{
    return ((const struct clock_manual *)clock)->wall_us;
}

static int64_t manual_mono(const struct clock *clock)
{
    return ((const struct clock_manual *)clock)->mono_us;
}

void clock_manual_init(struct clock_manual *manual, int64_t wall_us)
{
    *manual = (struct clock_manual){
        .clock = {.wall_us = manual_wall, .mono_us = manual_mono},
        .wall_us = wall_us,
        .mono_us = 1000000,
    };
}

void clock_manual_pass(struct clock_manual *manual, int64_t us)
{
    manual->wall_us += us;
    manual->mono_us += us;
}
