// Chance comes in through this interface: the daemon's is seeded from the system, a test's from a number.
// For jitter, not for secrets (those: chance_secret).
#pragma once
#include <stddef.h>
#include <stdint.h>

struct chance {
    uint64_t state;
};

void chance_init(struct chance *chance, uint64_t seed);
void chance_init_system(struct chance *chance);
uint64_t chance_next(struct chance *chance);
// Uniform in [0, bound); 0 for bound 0.
uint64_t chance_below(struct chance *chance, uint64_t bound);
// `n` bytes fit for keys, from the system; aborts when it gives none.
void chance_secret(void *out, size_t n);
