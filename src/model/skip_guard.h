// The guard against mass skips: what looks like failing messages can skip at most five in a row at one desk before it
// is taken for an outage that a person must look at (DESIGN.md, Failures). Plain data.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { SKIP_GUARD_MOST = 5 };

struct skip_guard {
    int skips;   // in a row at this desk, with no delivery between them; durable
    bool closed; // nothing more is skipped here, one head is tried now and then; durable
    int tries;   // since it closed
};

// A message is about to be skipped. True: it may be, and is counted. False: it stays pending, and the guard is closed.
bool skip_guard_lets_skip(struct skip_guard *guard);
// Something was delivered, or a person says that all is well. True when that changed anything durable.
bool skip_guard_open(struct skip_guard *guard);
// Microseconds to the next try of a closed guard: 10 minutes, 1 hour, 6 hours, and every 6 hours.
int64_t skip_guard_pause_us(struct skip_guard *guard);
