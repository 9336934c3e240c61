// A forbidden change of a lane's state ends the process, and its name is there at the next start (relay/trouble_file.h).
#include "relay/lanes.h"
#include "relay/trouble_file.h"
#include "support/rig.h"
#include "support/unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_S INT64_C(1700000000)

static struct rig rig;
static char path[256];
static int64_t named[16];
static int named_count;

static void on_lane(void *arg, int64_t lane)
{
    (void)arg;
    assert_true(named_count < 16);
    named[named_count++] = lane;
}

static int read_again(void)
{
    named_count = 0;
    trouble_file_read(path, on_lane, NULL);
    return named_count;
}

static int begin(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/lane-trouble", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    unlink(path);
    return 0;
}

static void add(int64_t lane, int64_t at_s)
{
    trouble_file_add(path, lane, at_s * 1000000, false);
}

static void test_a_lane_named_twice_within_ten_minutes_is_held(void **state)
{
    (void)state;
    assert_int_equal(read_again(), 0); // there is no file
    add(5, AT_S);
    add(9, AT_S + 10);
    assert_int_equal(read_again(), 0);
    add(5, AT_S + 601);
    assert_int_equal(read_again(), 0); // too far apart
    add(9, AT_S + 610);
    assert_int_equal(read_again(), 1);
    assert_int_equal(named[0], 9);
    add(5, AT_S + 500); // the clock was set back
    assert_int_equal(read_again(), 2);
}

static void test_what_a_person_let_go_is_held_only_after_two_more(void **state)
{
    (void)state;
    add(5, AT_S);
    add(5, AT_S + 1);
    trouble_file_add(path, 5, 0, true);
    assert_int_equal(read_again(), 0);
    add(5, AT_S + 2);
    assert_int_equal(read_again(), 0);
    add(5, AT_S + 3);
    assert_int_equal(read_again(), 1);
}

static void write_raw(const char *text, int times)
{
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    for (int i = 0; i < times; i++)
        fputs(text, file);
    fclose(file);
}

static void test_lines_that_cannot_be_read_are_passed_over(void **state)
{
    (void)state;
    write_raw("\n\nhello\n5\n-5 1700000000\n5 soon\n5 1700000000 more\n99999999999999999999 1\n5 -3\n\x01\xFF\n", 1);
    assert_int_equal(read_again(), 0);
    add(5, AT_S);
    write_raw("5 17", 1); // cut
    assert_int_equal(read_again(), 0);
    write_raw("\n", 1);
    add(5, AT_S + 1);
    assert_int_equal(read_again(), 1);
}

static void on_long_lane(void *arg, int64_t lane)
{
    (void)arg;
    assert_int_equal(lane, 112345);
}

static void test_of_a_long_file_the_end_counts(void **state)
{
    (void)state;
    write_raw("105 x\n", 5000);
    add(7, AT_S);
    add(7, AT_S);
    assert_int_equal(read_again(), 1);
    assert_int_equal(named[0], 7);
    for (int shift = 0; shift < 20; shift++) { // wherever the end begins, no half of a number is believed
        write_raw("112345 1700000000\n", shift ? 0 : 2000);
        write_raw("x", 1);
        named_count = 0;
        trouble_file_read(path, on_long_lane, NULL);
    }
}

static void remember(void *arg, int64_t lane, bool over)
{
    (void)arg;
    trouble_file_add(path, lane, AT_S * 1000000, over);
}

static _Noreturn void break_a_lane(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    struct sigaction by_default = {.sa_handler = SIG_DFL}; // not cmocka's
    sigaction(SIGABRT, &by_default, NULL);
    rig_init(&rig, &(struct rig_options){0});
    rig.dispatcher->ports.lane_trouble = remember;
    rig_say(&rig, "acme", "c1", "one");
    lane_set_state(rig.dispatcher, rig.dispatcher->lanes, LANE_MARKING); // it is sending
    _exit(0);
}

static void test_a_forbidden_change_aborts_and_names_the_lane(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_again(), 0);
        pid_t child = fork();
        if (child == 0)
            break_a_lane();
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
    assert_int_equal(read_again(), 1);
    assert_int_equal(named[0], lane_id(LANE_ACCOUNT, 1));
}

static int64_t lane_of(int64_t message_id)
{
    struct message *message = rig_message(&rig, message_id);
    int64_t lane = message->lane;
    message_free(message);
    return lane;
}

// The alarm is of the account, and stands for all such lanes.
static void test_the_alarm_stands_until_the_last_of_the_accounts_lanes_is_let_go(void **state)
{
    (void)state;
    int64_t first = lane_id(LANE_CONVERSATION, 1), second = lane_id(LANE_CONVERSATION, 2);
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION, .hold_lane = first});
    dispatcher_hold_lane(rig.dispatcher, second);
    dispatcher_hold_lane(rig.dispatcher, second); // named by two lines of the file: once is enough to let it go
    dispatcher_hold_lane(rig.dispatcher, lane_id(LANE_CONVERSATION, 77)); // nothing of it waits
    assert_int_equal(lane_of(rig_say(&rig, "acme", "c1", "one")), first);
    assert_int_equal(lane_of(rig_say(&rig, "acme", "c2", "two")), second);
    dispatcher_trust_lane(rig.dispatcher, second);
    rig_turn(&rig);
    assert_int_equal(rig_alarms(&rig, "lane_held"), 1);
    assert_null(rig_open_with(&rig, "one"));
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_say(&rig, "acme", "c2", "three");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    dispatcher_trust_lane(rig.dispatcher, first);
    rig_turn(&rig);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_done(&rig);
}

// Held heads are passed over when a desk is tried with heads. One that is let go meanwhile is tried too.
static void test_a_lane_that_is_let_go_while_its_desk_is_down_is_tried_with_the_others(void **state)
{
    (void)state;
    int64_t bad = lane_id(LANE_CONVERSATION, 1);
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION, .hold_lane = bad, .probe = DESK_PROBE_NONE});
    assert_int_equal(lane_of(rig_say(&rig, "acme", "c1", "bad")), bad);
    rig_say(&rig, "acme", "c2", "good");
    for (int i = 0; i < 10; i++) {
        assert_null(rig_open_with(&rig, "bad"));
        rig_lose(&rig, rig_open_with(&rig, "good"), HTTP_NOT_CONNECTED, false);
        rig_pass(&rig, 31000);
    }
    rig_lose(&rig, rig_open_with(&rig, "good"), HTTP_NOT_CONNECTED, false);
    dispatcher_trust_lane(rig.dispatcher, bad);
    rig_pass(&rig, 31000);
    rig_lose(&rig, rig_open_with(&rig, "bad"), HTTP_NOT_CONNECTED, false); // their turns
    rig_pass(&rig, 31000);
    rig_answer(&rig, rig_open_with(&rig, "good"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "bad"), 200, "");
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_lane_named_twice_within_ten_minutes_is_held, begin),
        cmocka_unit_test_setup(test_what_a_person_let_go_is_held_only_after_two_more, begin),
        cmocka_unit_test_setup(test_lines_that_cannot_be_read_are_passed_over, begin),
        cmocka_unit_test_setup(test_of_a_long_file_the_end_counts, begin),
        cmocka_unit_test_setup(test_the_alarm_stands_until_the_last_of_the_accounts_lanes_is_let_go, begin),
        cmocka_unit_test_setup(test_a_lane_that_is_let_go_while_its_desk_is_down_is_tried_with_the_others, begin),
        cmocka_unit_test_setup(test_a_forbidden_change_aborts_and_names_the_lane, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
