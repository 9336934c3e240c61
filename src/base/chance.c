#include "base/chance.h"

#include "base/must.h"

#include <sys/random.h>

void chance_init(struct chance *chance, uint64_t seed)
{
    chance->state = seed;
}

void chance_init_system(struct chance *chance)
{
    chance_secret(&chance->state, sizeof chance->state);
}

// SplitMix64 (Steele, Lea, Flood 2014): every seed is a good one.
uint64_t chance_next(struct chance *chance)
{
    uint64_t z = chance->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t chance_below(struct chance *chance, uint64_t bound)
{
    return bound ? (uint64_t)(((unsigned __int128)chance_next(chance) * bound) >> 64) : 0;
}

void chance_secret(void *out, size_t n)
{
    char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        must(got > 0);
        p += got;
        n -= (size_t)got;
    }
}
