// What time it is for what ages (relay/age_clock.h).
#include "relay/age_clock.h"
#include "support/unit.h"

enum { MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400 };

static const int64_t us = 1000000;

// A wall clock that is so many seconds ahead of what passed; looked at each ten minutes of a day, from then on.
static int64_t lag_after_a_day(struct age_clock *clock, int64_t *mono_s, int64_t ahead_s)
{
    int64_t wall_us = 0, seen_us = 0;
    for (int64_t end_s = *mono_s + DAY_S; *mono_s < end_s; *mono_s += 10 * MINUTE_S) {
        wall_us = (*mono_s + ahead_s) * us;
        seen_us = age_clock_read(clock, wall_us, *mono_s * us);
    }
    return (wall_us - seen_us) / us;
}

static void test_a_step_is_believed_after_a_day(void **state)
{
    (void)state;
    struct age_clock clock = {0};
    int64_t mono_s = 0;
    assert_int_equal(lag_after_a_day(&clock, &mono_s, 0), 0);
    assert_int_equal(lag_after_a_day(&clock, &mono_s, 400 * DAY_S), 400 * DAY_S);
    assert_int_equal(lag_after_a_day(&clock, &mono_s, 400 * DAY_S), 0);
}

static void test_a_large_step_behind_a_small_one_has_its_own_day(void **state)
{
    (void)state;
    struct age_clock clock = {0};
    int64_t mono_s = 0;
    age_clock_read(&clock, 0, 0);
    mono_s += MINUTE_S;
    assert_int_equal(lag_after_a_day(&clock, &mono_s, 2 * MINUTE_S), 2 * MINUTE_S);
    int64_t ahead_us = (mono_s + 400 * DAY_S) * us;
    assert_int_equal(age_clock_read(&clock, ahead_us, mono_s * us), (mono_s + 2 * MINUTE_S) * us);
    assert_int_equal(lag_after_a_day(&clock, &mono_s, 400 * DAY_S), 400 * DAY_S - 2 * MINUTE_S);
    assert_int_equal(lag_after_a_day(&clock, &mono_s, 400 * DAY_S), 0);
}

// A machine that sleeps each night is never further behind than two of them.
static void test_steps_of_each_day_are_believed_one_after_the_other(void **state)
{
    (void)state;
    struct age_clock clock = {0};
    int64_t mono_s = 0;
    for (int64_t day = 0; day < 30; day++)
        assert_in_range(lag_after_a_day(&clock, &mono_s, day * 8 * HOUR_S), 0, 16 * HOUR_S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_step_is_believed_after_a_day),
        cmocka_unit_test(test_a_large_step_behind_a_small_one_has_its_own_day),
        cmocka_unit_test(test_steps_of_each_day_are_believed_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
