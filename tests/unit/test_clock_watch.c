// The alarm for a wrong clock (RELIABILITY.md, section 6, line 23): when it begins, what it says, what ends it.
#include "relay/clock_watch.h"

#include "base/log.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const struct source site = {.id = 7, .account = STR("acme"), .name = STR("site")};
static const struct source other = {.id = 8, .account = STR("acme"), .name = STR("other")};

static struct {
    struct board *board;
    struct clock_watch *watch;
    char text[512]; // of the alarm last seen
    int count;
} f;

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_OFF);
    f.board = board_new();
    f.watch = clock_watch_new(f.board);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    clock_watch_free(f.watch);
    board_free(f.board);
    return 0;
}

static void on_alarm(void *arg, const struct board_alarm_line *line)
{
    (void)arg;
    f.count++;
    snprintf(f.text, sizeof f.text, "%s %.*s: %.*s", line->name, STR_ARG(line->subject), STR_ARG(line->text));
}

static int alarms(void)
{
    f.count = 0;
    board_each_alarm(f.board, on_alarm, NULL);
    return f.count;
}

static void refuse(const struct source *source, int64_t ahead_s, int times)
{
    for (int i = 0; i < times; i++)
        clock_watch_refused(f.watch, source, ahead_s);
}

static void test_five_in_a_row_raise_it_and_one_good_one_ends_it(void **state)
{
    (void)state;
    refuse(&site, -600, 4);
    assert_int_equal(alarms(), 0);
    refuse(&site, -600, 1);
    assert_int_equal(alarms(), 1);
    assert_int_equal(strncmp(f.text, "webhook_clock acme/site: ", 25), 0);
    assert_non_null(strstr(f.text, "600 s behind this machine's clock"));
    refuse(&site, 601, 50);
    assert_int_equal(alarms(), 1);
    assert_non_null(strstr(f.text, "601 s ahead of this machine's clock"));
    clock_watch_verified(f.watch, &other);
    assert_int_equal(alarms(), 1);
    clock_watch_verified(f.watch, &site);
    assert_int_equal(alarms(), 0);
}

static void test_a_good_one_between_begins_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        refuse(&site, 400, 4);
        clock_watch_verified(f.watch, &site);
    }
    assert_int_equal(alarms(), 0);
}

static void test_sources_are_counted_apart(void **state)
{
    (void)state;
    refuse(&site, 400, 4);
    refuse(&other, 400, 4);
    assert_int_equal(alarms(), 0);
    refuse(&other, 400, 1);
    assert_int_equal(alarms(), 1);
}

static void test_times_at_the_ends_of_the_scale(void **state)
{
    (void)state;
    refuse(&site, INT64_MIN, 5);
    assert_int_equal(alarms(), 1);
    assert_non_null(strstr(f.text, " 9223372036854775808 s behind"));
    refuse(&site, INT64_MAX, 1);
    assert_int_equal(alarms(), 1);
    assert_non_null(strstr(f.text, " 9223372036854775807 s ahead of"));
}

static void test_an_account_that_is_replaced_is_forgotten(void **state)
{
    (void)state;
    struct source sources[] = {site, other};
    struct account account = {.name = STR("acme"), .sources = sources, .source_count = 2};
    refuse(&site, 400, 5);
    refuse(&other, 400, 4);
    clock_watch_forget(f.watch, &account);
    assert_int_equal(alarms(), 0);
    refuse(&other, 400, 4);
    assert_int_equal(alarms(), 0);
    clock_watch_forget(f.watch, NULL);
}

static void *refuse_and_verify(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        clock_watch_refused(f.watch, i % 2 ? &site : &other, 400);
        if (i % 7 == 0)
            clock_watch_verified(f.watch, &site);
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, refuse_and_verify, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    clock_watch_verified(f.watch, &site);
    clock_watch_verified(f.watch, &other);
    assert_int_equal(alarms(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_five_in_a_row_raise_it_and_one_good_one_ends_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_good_one_between_begins_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sources_are_counted_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_times_at_the_ends_of_the_scale, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_account_that_is_replaced_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
