#include "relay/age_clock.h"

static const int64_t slack_us = INT64_C(60) * 1000000, doubt_us = INT64_C(86400) * 1000000;

static void doubt(struct age_clock *clock, int64_t zero_us, int64_t mono_us)
{
    clock->doubts = true;
    clock->doubts_from_us = mono_us;
    clock->least_us = zero_us;
}

// What it was ahead by for a whole day is believed; what came on top of that has its own day.
static void weigh(struct age_clock *clock, int64_t zero_us, int64_t mono_us)
{
    if (clock->doubts && zero_us < clock->least_us)
        clock->least_us = zero_us;
    if (clock->doubts && mono_us - clock->doubts_from_us >= doubt_us) {
        clock->zero_us = clock->least_us;
        clock->doubts = false;
    }
    if (zero_us - clock->zero_us <= slack_us)
        clock->doubts = false;
    else if (!clock->doubts)
        doubt(clock, zero_us, mono_us);
}

int64_t age_clock_read(struct age_clock *clock, int64_t wall_us, int64_t mono_us)
{
    int64_t zero_us = wall_us - mono_us;
    if (!clock->begun) {
        clock->begun = true;
        clock->zero_us = zero_us;
    }
    weigh(clock, zero_us, mono_us);
    if (clock->doubts)
        return clock->zero_us + mono_us;
    if (zero_us > clock->zero_us)
        clock->zero_us = zero_us;
    return wall_us;
}
