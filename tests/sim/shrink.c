#include "sim/shrink.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t sim_running_seed;

enum { MOST_RUNS = 3000 };

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Whether it still fails with only these; and with which it did, then.
static bool still_fails(const struct sim_options *options, const char *code, uint64_t *ids, size_t *count)
{
    struct sim_result result;
    struct sim_options with = *options;
    uint64_t *sorted = mem_new((*count + 1) * sizeof *sorted);
    memcpy(sorted, ids, *count * sizeof *ids);
    qsort(sorted, *count, sizeof *sorted, compare);
    with.only = sorted;
    with.only_count = *count;
    with.trace = false;
    sim_run(&with, &result);
    bool fails = strcmp(result.code, code) == 0;
    if (fails && result.used_count <= *count) {
        memcpy(ids, result.used, result.used_count * sizeof *ids);
        *count = result.used_count;
    }
    free(result.used);
    free(sorted);
    return fails;
}

// Leaves out every part of this size that can be left out (Zeller's ddmin, complements only).
static size_t without_parts(const struct sim_options *options, const char *code, uint64_t *ids, size_t count,
                            size_t part, int *runs)
{
    uint64_t *trial = mem_new((count + 1) * sizeof *trial);
    for (size_t at = 0; at < count && *runs < MOST_RUNS;) {
        size_t end = at + part < count ? at + part : count, less = count - (end - at);
        memcpy(trial, ids, at * sizeof *ids);
        memcpy(trial + at, ids + end, (count - end) * sizeof *ids);
        ++*runs;
        if (still_fails(options, code, trial, &less)) {
            memcpy(ids, trial, less * sizeof *ids);
            count = less;
        } else {
            at = end;
        }
    }
    free(trial);
    return count;
}

size_t shrink(const struct sim_options *options, const struct sim_result *failed)
{
    size_t count = failed->used_count;
    uint64_t *ids = mem_new((count + 1) * sizeof *ids);
    int runs = 0;
    memcpy(ids, failed->used, count * sizeof *ids);
    for (size_t part = count / 2; part && runs<MOST_RUNS; part = part> 1 ? part / 2 : 0)
        count = without_parts(options, failed->code, ids, count, part, &runs);
    if (count)
        count = without_parts(options, failed->code, ids, count, 1, &runs);
    printf("\nthe shortest history that fails so: %zu of %zu faults and actions (%d runs)\n", count, failed->used_count,
           runs);
    qsort(ids, count, sizeof *ids, compare);
    struct sim_options with = *options;
    struct sim_result result;
    with.trace = true;
    with.only = ids;
    with.only_count = count;
    sim_run(&with, &result);
    free(result.used);
    free(ids);
    putchar('\n');
    return count;
}
