// What time it is for what ages: the wall clock, unless it has been set ahead. That is believed after a day; until then time goes on as
// it passed. So a clock that is wrong for a while makes nothing old that is young: what is forgotten would not come back with the
// right time, and what is known of duplicates goes with it. Set back it is believed at once, since that only keeps things longer,
// and so is its return to where it was.
//
// Of the time before this process it knows nothing: a start believes the clock. Time that the machine slept is a step ahead.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct age_clock { // begins as zeros
    bool begun, doubts;
    int64_t zero_us;        // wall time when the monotonic clock was 0, as believed
    int64_t doubts_from_us; // monotonic: since when the wall clock has been ahead of that
    int64_t least_us;       // as zero_us, of the least that it was ahead by since then
};

// To be asked now and then, once in a minute or so: a clock that gains no more than a minute in between runs fast, and was not set.
int64_t age_clock_read(struct age_clock *clock, int64_t wall_us, int64_t mono_us);
