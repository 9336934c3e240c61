// How long to wait before the next try: base, doubled each time, capped, with jitter.
#pragma once
#include "base/chance.h"

#include <stdint.h>

// The pause after the `failures`-th failure in a row (1, 2, ...), in the unit of base and cap: uniform in
// [half, whole] of min(base * 2^(failures-1), cap), so that many waiting for the same thing spread out.
int64_t backoff_pause(int64_t base, int64_t cap, int failures, struct chance *chance);
