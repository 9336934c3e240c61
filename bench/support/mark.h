// The mark that a generated message carries in its text, by which the sink knows it again:
// "tributary-bench <lane> <serial> <time>". Serials of a lane count from 1 without a gap, in the order in which the lane's
// messages were accepted; the time is that of the monotonic clock (nanoseconds) at which the webhook was meant to leave, so
// generator and sink must run on one machine.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define MARK_WORD "tributary-bench "

enum {
    MARK_LANE_DIGITS = 7,
    MARK_SERIAL_DIGITS = 9,
    MARK_TIME_DIGITS = 19,
    MARK_LANES_MAX = 9999999,
};

struct mark {
    uint32_t lane;
    uint32_t serial;
    uint64_t sent_ns;
};

static inline uint64_t mark_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

// Reads one decimal number and what separates it from the next; *p is left behind both.
static inline bool mark_number(const char **p, const char *end, uint64_t max, uint64_t *out)
{
    const char *at = *p;
    uint64_t value = 0;
    while (at < end && *at >= '0' && *at <= '9' && value <= max)
        value = value * 10 + (uint64_t)(*at++ - '0');
    if (at == *p || value > max)
        return false;
    *p = at < end && *at == ' ' ? at + 1 : at;
    *out = value;
    return true;
}

// Finds the mark anywhere in a body. False when there is none or it is damaged.
static inline bool mark_find(const char *body, size_t n, struct mark *out)
{
    const char *p = memmem(body, n, MARK_WORD, sizeof(MARK_WORD) - 1);
    const char *end = body + n;
    uint64_t lane, serial, sent;
    if (!p)
        return false;
    p += sizeof(MARK_WORD) - 1;
    if (!mark_number(&p, end, MARK_LANES_MAX, &lane) || !mark_number(&p, end, 999999999, &serial) ||
        !mark_number(&p, end, INT64_MAX, &sent) || serial == 0)
        return false;
    *out = (struct mark){.lane = (uint32_t)lane, .serial = (uint32_t)serial, .sent_ns = sent};
    return true;
}
