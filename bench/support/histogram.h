// Times in nanoseconds, counted in buckets that are at most 1/64 (1.6 %) of their value wide. A percentile is the upper edge of
// its bucket, so it is never flattered.
#pragma once
#include <stdint.h>
#include <stdio.h>

enum { HISTOGRAM_SUB = 64, HISTOGRAM_BUCKETS = 36 * HISTOGRAM_SUB }; // up to 2^40 ns, 18 minutes

struct histogram {
    uint64_t total;
    uint64_t max_ns;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint64_t ns)
{
    uint32_t i = (uint32_t)ns;
    if (ns >= HISTOGRAM_SUB) {
        uint32_t exponent = 63U - (uint32_t)__builtin_clzll(ns);
        i = (exponent - 6) * HISTOGRAM_SUB + (uint32_t)(ns >> (exponent - 6));
    }
    h->bucket[i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

static inline uint64_t histogram_edge(uint32_t i)
{
    if (i < 2 * HISTOGRAM_SUB)
        return i;
    uint32_t shift = i / HISTOGRAM_SUB - 1;
    return (((uint64_t)(i % HISTOGRAM_SUB) + HISTOGRAM_SUB + 1) << shift) - 1;
}

// The time that `percent` of all did not pass; 0 when there are none.
static inline uint64_t histogram_percentile(const struct histogram *h, double percent)
{
    uint64_t want = (uint64_t)((double)h->total * percent / 100.0 + 0.999999);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= want && seen)
            return histogram_edge(i) < h->max_ns ? histogram_edge(i) : h->max_ns;
    }
    return h->max_ns;
}

// As a JSON object, in microseconds.
static inline void histogram_print(const struct histogram *h, FILE *out)
{
    fprintf(out, "{\"count\":%llu,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", (unsigned long long)h->total,
            (double)histogram_percentile(h, 50) / 1e3, (double)histogram_percentile(h, 99) / 1e3,
            (double)histogram_percentile(h, 99.9) / 1e3, (double)h->max_ns / 1e3);
}
