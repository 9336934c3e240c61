#include "model/skip_guard.h"

bool skip_guard_lets_skip(struct skip_guard *guard)
{
    if (!guard->closed && guard->skips < SKIP_GUARD_MOST) {
        guard->skips++;
        return true;
    }
    guard->closed = true;
    return false;
}

bool skip_guard_open(struct skip_guard *guard)
{
    bool changed = guard->skips || guard->closed;
    *guard = (struct skip_guard){0};
    return changed;
}

int64_t skip_guard_pause_us(struct skip_guard *guard)
{
    static const int64_t minutes[] = {10, 60, 360};
    int step = guard->tries < 2 ? guard->tries : 2;
    guard->tries++;
    return minutes[step] * 60 * 1000000;
}
