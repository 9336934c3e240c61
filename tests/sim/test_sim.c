// A few hundred histories of the simulator with fixed seeds; and the judge can fail: each deliberate breakage of what stands
// around the core is found.
// LDFLAGS: -Wl,--wrap=must_fail,--wrap=pwrite,--wrap=ftruncate,--wrap=fsync,--wrap=fdatasync
#include "sim/shrink.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Sanitizers are slower; `make sim` runs as many as one likes.
enum { SEEDS = TRIBUTARY_CHECKS ? 250 : 1000, SQLITE_SEEDS = TRIBUTARY_CHECKS ? 1 : 16, BROKEN_SEEDS = 600 };

static const char *files(void)
{
    const char *directory = getenv("TMPDIR");
    return directory ? directory : "/tmp";
}

static void run(uint64_t seeds, const char *directory)
{
    int64_t simulated_us = 0;
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct sim_options options = {.seed = seed, .directory = directory};
        struct sim_result result;
        sim_running_seed = seed;
        sim_run(&options, &result);
        simulated_us += result.simulated_us;
        if (result.code[0]) {
            printf("seed %llu: %s: %s\n", (unsigned long long)seed, result.code, result.why);
            shrink(&options, &result);
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, result.code, result.why);
        }
        free(result.used);
    }
    printf("%d histories, %.0f simulated hours\n", (int)seeds, (double)simulated_us / 3600e6);
}

static void test_no_history_breaks_the_promise(void **state)
{
    (void)state;
    run(SEEDS, NULL);
}

static void test_no_history_breaks_the_promise_over_files_that_lose_what_was_not_flushed(void **state)
{
    (void)state;
    run(SQLITE_SEEDS, files());
}

static void test_a_seed_is_one_history(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 11; seed++) {
        struct sim_options options = {.seed = seed, .directory = seed == 11 ? files() : NULL};
        struct sim_result first, second;
        sim_run(&options, &first);
        sim_run(&options, &second);
        assert_int_equal(first.simulated_us, second.simulated_us);
        assert_int_equal(first.requests, second.requests);
        assert_int_equal(first.transactions, second.transactions);
        assert_int_equal(first.used_count, second.used_count);
        assert_memory_equal(first.used, second.used, first.used_count * sizeof *first.used);
        free(first.used);
        free(second.used);
    }
}

#ifndef __SANITIZE_THREAD__
// Codes by which a breakage may be found, first come first: several clauses break at once.
static const struct {
    enum breakage breakage;
    const char *codes;
} breakages[] = {
    {BREAK_ANSWER_EARLY, "A10"}, {BREAK_LOSE_COMMIT, "A10 A1"},
    {BREAK_LOSE_MESSAGE, "A1"},  {BREAK_FORGET, "A7 A8"},
    {BREAK_DROP_MARKS, "MARK"},  {BREAK_REPEAT, "A5 DOUBT"},
    {BREAK_OVERLAP, "A9"},       {BREAK_SWAP, "A7"},
    {BREAK_ALTER, "A3"},         {BREAK_PHANTOM, "A2"},
    {BREAK_DEDUPE, "A13"},       {BREAK_COUNT, "COUNT"},
    {BREAK_SUM, "A11"},          {BREAK_STUCK, "A7 A8"},
    {BREAK_SWITCH, "SWITCH"},    {BREAK_DOUBT, "DOUBT"},
    {BREAK_GUARD, "GUARD"},      {BREAK_DISCARD, "DISCARD"},
    {BREAK_AGE, "A13 A1"},       {BREAK_MIGRATE, "A3 A7 MARK"},
    {BREAK_REMOVAL, "GONE A8"},  {BREAK_FLUSH, "A1 STORE"},
    {BREAK_TAKEN, "A1 NEWS"},    {BREAK_NEWS, "NEWS"},
    {BREAK_PART_KEY, "A2"},      {BREAK_REVERSE, "A7"},
    {BREAK_SWEEP, "A1"},         {BREAK_NOTE, "NOTE"},
    {BREAK_RESEND, "DOUBT"},     {BREAK_HOLD, "DOUBT"},
    {BREAK_MOVED, "MOVED"},      {BREAK_CHAT, "MARK A3"},
    {BREAK_PACE, "PACE"},        {BREAK_UNTOLD, "FILE"},
    {BREAK_TOLD, "FILE"},        {BREAK_BYTES, "FILE"},
    {BREAK_GIVE_UP, "FILE"},     {BREAK_FOLLOW, "A8 A7"},
    {BREAK_LEFT, "FILE"},        {BREAK_ALBUM, "A3 A1"},
    {BREAK_STRANGER, "FILE"},
};

// The first history that fails; the result's list is the caller's.
static bool find_failing(struct sim_options *options, struct sim_result *result)
{
    for (options->seed = 1; options->seed <= BROKEN_SEEDS; options->seed++) {
        sim_run(options, result);
        if (result->code[0])
            return true;
        free(result->used);
    }
    return false;
}

static bool is_one_of(const char *code, const char *codes)
{
    size_t n = strlen(code);
    for (const char *at = codes; (at = strstr(at, code)); at += n)
        if ((at == codes || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static void test_the_judge_finds_each_breakage(void **state)
{
    (void)state;
    assert_int_equal(sizeof breakages / sizeof *breakages, BREAKAGES - 1);
    for (size_t i = 0; i < sizeof breakages / sizeof *breakages; i++) {
        struct sim_options options = {.breakage = breakages[i].breakage};
        options.directory = options.breakage == BREAK_FLUSH ? files() : NULL;
        struct sim_result result;
        const char *name = breakage_names[breakages[i].breakage];
        if (!find_failing(&options, &result))
            fail_msg("%s is not found", name);
        printf("%s: seed %llu: %s\n", name, (unsigned long long)options.seed, result.code);
        if (!is_one_of(result.code, breakages[i].codes))
            fail_msg("%s is found as %s: %s", name, result.code, result.why);
        free(result.used);
    }
}

static void test_a_failing_history_gets_shorter(void **state)
{
    (void)state;
    struct sim_options options = {.breakage = BREAK_REPEAT};
    struct sim_result result;
    assert_true(find_failing(&options, &result));
    size_t kept = shrink(&options, &result);
    assert_true(kept > 0 && kept < 10 && kept < result.used_count);
    free(result.used);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_history_breaks_the_promise),
        cmocka_unit_test(test_no_history_breaks_the_promise_over_files_that_lose_what_was_not_flushed),
        cmocka_unit_test(test_a_seed_is_one_history),
#ifndef __SANITIZE_THREAD__ // it is one thread, twenty times as slow then, and the judge is judged without it
        cmocka_unit_test(test_the_judge_finds_each_breakage),
        cmocka_unit_test(test_a_failing_history_gets_shorter),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
