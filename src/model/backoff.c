#include "model/backoff.h"

int64_t backoff_pause(int64_t base, int64_t cap, int failures, struct chance *chance)
{
    int64_t pause = base;
    for (int i = 1; i < failures && pause < cap; i++)
        pause *= 2;
    if (pause > cap)
        pause = cap;
    return pause - (int64_t)chance_below(chance, (uint64_t)(pause / 2 + 1));
}
