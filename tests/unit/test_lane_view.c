// What the dispatcher tells of its lanes (relay/lane_view.h), and how busy they were (relay/busy.h).
#include "relay/courier.h"
#include "relay/lane_view.h"
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

static struct rig rig;

static struct lane_view look(const char *account_name, int64_t message_id)
{
    struct message *message = rig_message(&rig, message_id);
    const struct account *account = rig_account(&rig, account_name);
    struct lane_view view = {.account_id = account->id, .lane = message->lane};
    lane_view_fill(rig.dispatcher, &view);
    lane_view_judge(&view, message);
    account_unref(account);
    message_free(message);
    return view;
}

static void assert_view(struct lane_view view, const char *state, const char *waits_for)
{
    assert_string_equal(lane_state_name(view.state), state);
    assert_string_equal(lane_wait_name(view.waits_for), waits_for);
}

static struct account_view look_account(const char *name)
{
    const struct account *account = rig_account(&rig, name);
    struct account_view view = {.account_id = account->id};
    account_view_fill(rig.dispatcher, &view);
    account_unref(account);
    return view;
}

static int busy_now(const char *name)
{
    const struct account *account = rig_account(&rig, name);
    int percent = busy_percent(board_busy(rig.board), account->id, rig.clock.mono_us);
    account_unref(account);
    return percent;
}

static void test_an_attempt_is_told_with_its_time(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    int64_t began_us = rig.clock.wall_us, id = rig_say(&rig, "acme", "c", "one");
    rig_pass(&rig, 2000);
    struct lane_view view = look("acme", id);
    assert_view(view, "sending", "answer");
    assert_int_equal(view.since_us, began_us);
    assert_int_equal(view.until_us, began_us + 30 * 1000000);
    assert_int_equal(look_account("acme").lanes_in_state[LANE_SENDING], 1);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_view(look("acme", id), "idle", "nothing");
    assert_int_equal(look_account("acme").lanes_in_state[LANE_SENDING], 0);
    rig_done(&rig);
}

static void test_a_pause_after_a_failure_is_told_with_its_end(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    int64_t id = rig_say(&rig, "acme", "c", "one");
    rig_answer(&rig, rig_open(&rig), 500, "");
    struct message *message = rig_message(&rig, id);
    struct lane_view view = look("acme", id);
    assert_view(view, "waiting", "backoff");
    assert_int_equal(view.until_us, message->next_attempt_us);
    message_free(message);
    rig_done(&rig);
}

static void test_a_settle_time_is_told_apart(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.desk = "intercom"});
    int64_t id = rig_say(&rig, "acme", "c", "one");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200,
               "{\"type\":\"contact\",\"id\":\"6657adde6abd0167d9419d00\"}");
    rig_lose(&rig, rig_open_with(&rig, "/conversations"), HTTP_TIMEOUT, true);
    assert_view(look("acme", id), "sending", "probe"); // was it the message, or the desk?
    rig_answer(&rig, rig_open_with(&rig, "/me"), 200, "{\"type\":\"admin\",\"id\":\"1\"}");
    struct lane_view view = look("acme", id);
    assert_view(view, "waiting", "settle");
    assert_true(view.until_us >= rig.clock.wall_us + INT64_C(15) * 1000000);
    rig_done(&rig);
}

static void test_a_suspended_desk_and_its_guard_are_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION});
    int64_t id = rig_say(&rig, "acme", "c", "one");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    struct lane_view view = look("acme", id);
    assert_view(view, "suspended", "desk");
    assert_true(view.until_us > rig.clock.wall_us);
    rig_pass(&rig, 60000);
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    for (int i = 0; i < 6; i++) {
        char thread[8];
        snprintf(thread, sizeof thread, "g%d", i);
        id = rig_say(&rig, "acme", thread, "refused");
        rig_answer(&rig, rig_open(&rig), 400, "");
    }
    view = look("acme", id);
    assert_view(view, "suspended", "guard");
    assert_true(view.until_us >= rig.clock.wall_us + INT64_C(9) * 60 * 1000000);
    rig_done(&rig);
}

static void test_held_and_inactive_are_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.on_failure = ON_FAILURE_HOLD});
    int64_t id = rig_say(&rig, "acme", "c", "one");
    rig_answer(&rig, rig_open(&rig), 400, "");
    assert_view(look("acme", id), "held", "person");
    rig_set_active(&rig, "acme", false);
    assert_view(look("acme", id), "stopped", "account");
    assert_int_equal(look_account("acme").lanes_in_state[LANE_HELD], 0);
    rig_set_active(&rig, "acme", true);
    rig_turn(&rig);
    assert_view(look("acme", id), "held", "person");
    assert_int_equal(look_account("acme").lanes_in_state[LANE_HELD], 1);
    rig_done(&rig);
}

static void test_who_waits_for_a_slot_is_told_so(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION, .concurrency = 1});
    rig_say(&rig, "acme", "c", "one");
    int64_t id = rig_say(&rig, "acme", "d", "two");
    assert_view(look("acme", id), "ready", "governor");
    rig_add_account(&rig, "other", &(struct rig_options){0}, "http://desk.test/other");
    id = rig_say(&rig, "other", "c", "three");
    assert_view(look("other", id), "ready", "slot");
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_who_waits_for_the_rate_of_the_desk_is_told_until_when(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.rate_per_min = 6});
    rig_say(&rig, "acme", "c", "one");
    int64_t id = rig_say(&rig, "acme", "c", "two");
    rig_answer(&rig, rig_open(&rig), 200, "");
    struct lane_view view = look("acme", id);
    assert_view(view, "ready", "rate");
    assert_in_range(view.until_us, rig.clock.wall_us + 1, rig.clock.wall_us + 10 * 1000000 + 1);
    rig_pass(&rig, (view.until_us - rig.clock.wall_us) / 1000 + 1);
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

// The store is held after so many calls of it, and everything that it is asked for stands still.
static void hold_store(int64_t after)
{
    rig.fault = (struct store_fault){.err = ERR_BUSY, .after = after};
}

static void let_store_go(void)
{
    rig.fault.after = -1;
    rig_turn(&rig);
}

static void deliver_all(void)
{
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_a_mark_on_its_way_to_the_disk_is_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.desk = "intercom"});
    hold_store(2); // accepted, and the log looked after
    int64_t id = rig_say(&rig, "acme", "c", "one");
    assert_view(look("acme", id), "marking", "mark");
    let_store_go();
    assert_view(look("acme", id), "sending", "answer");
    rig_set_active(&rig, "acme", false);
    deliver_all();
}

static void test_an_outcome_on_its_way_to_the_disk_is_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    int64_t id = rig_say(&rig, "acme", "c", "one");
    hold_store(0);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_view(look("acme", id), "sending", "record");
    let_store_go();
    assert_view(look("acme", id), "idle", "nothing");
    deliver_all();
}

static void test_each_of_several_that_wait_for_one_probe_is_told_so(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION});
    int64_t ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = rig_say(&rig, "acme", (char[]){(char)('a' + i), 0}, "text");
    for (int i = 0; i < 3; i++)
        rig_lose(&rig, rig_open_with(&rig, "text"), HTTP_TIMEOUT, true);
    for (int i = 0; i < 3; i++)
        assert_view(look("acme", ids[i]), "sending", "probe");
    deliver_all();
}

static void test_a_page_that_is_being_read_is_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    int64_t id = rig_say(&rig, "acme", "c", "one");
    rig_answer(&rig, rig_open(&rig), 500, "");
    hold_store(0);
    rig_pass(&rig, 2000);
    assert_view(look("acme", id), "loading", "page");
    let_store_go();
    assert_view(look("acme", id), "sending", "answer");
    deliver_all();
}

static void test_who_waits_for_memory_that_others_fill_is_told_so(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION, .memory_messages = 1});
    rig_say(&rig, "acme", "c", "one");
    int64_t id = rig_say(&rig, "acme", "d", "two");
    assert_view(look("acme", id), "loading", "memory");
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_view(look("acme", id), "sending", "answer");
    deliver_all();
}

static void test_an_account_whose_lanes_are_still_being_read_is_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    rig_set_active(&rig, "acme", false);
    int64_t id = rig_say(&rig, "acme", "c", "one");
    hold_store(1); // the change itself
    rig_set_active(&rig, "acme", true);
    assert_view(look("acme", id), "loading", "start");
    assert_true(look_account("acme").starting);
    let_store_go();
    assert_view(look("acme", id), "sending", "answer");
    assert_false(look_account("acme").starting);
    deliver_all();
}

static void test_who_is_behind_a_change_of_the_order_rule_is_told_so(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    rig_say(&rig, "acme", "c", "one");
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    int64_t id = rig_say(&rig, "acme", "d", "two");
    assert_view(look("acme", id), "behind", "order");
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_view(look("acme", id), "sending", "answer");
    deliver_all();
}

// Asked of an account that was removed meanwhile.
static void test_an_account_that_is_not_there_is_told_as_one_that_is_off(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    struct lane_view view = {.account_id = 77, .lane = 5};
    lane_view_fill(rig.dispatcher, &view);
    assert_view(view, "stopped", "account");
    rig_done(&rig);
}

// ---- busy ----

static void send_one(const char *thread, int64_t takes_ms)
{
    rig_say(&rig, "acme", thread, "text");
    rig_pass(&rig, takes_ms);
    rig_answer(&rig, rig_open(&rig), 200, "");
}

static void test_a_lane_that_is_busy_for_five_minutes_is_told(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    assert_int_equal(busy_now("acme"), 0);
    for (int s = 0; s < 240; s += 10) { // nine seconds of ten, and the lane is forgotten in between
        send_one("c", 9000);
        assert_null(rig.dispatcher->lanes);
        rig_pass(&rig, 1000);
    }
    assert_true(busy_now("acme") <= BUSY_PERCENT); // of five minutes
    for (int s = 0; s < 120; s += 10) {
        send_one("c", 9000);
        rig_pass(&rig, 1000);
    }
    assert_in_range(busy_now("acme"), 88, 92);
    rig_pass(&rig, 150 * 1000);
    assert_in_range(busy_now("acme"), 40, 50);
    rig_pass(&rig, 300 * 1000);
    assert_int_equal(busy_now("acme"), 0);
    rig_done(&rig);
}

static void test_an_attempt_in_progress_counts(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){0});
    rig_say(&rig, "acme", "c", "text");
    rig_pass(&rig, 150 * 1000);
    assert_in_range(busy_now("acme"), 49, 51);
    rig_pass(&rig, 600 * 1000);
    assert_int_equal(busy_now("acme"), 100);
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_conversations_with_lanes_of_their_own_are_not_measured(void **state)
{
    (void)state;
    rig_init(&rig, &(struct rig_options){.order = ORDER_CONVERSATION});
    send_one("c", 100 * 1000);
    assert_int_equal(busy_kept(board_busy(rig.board)), 0);
    rig_done(&rig);
}

static void test_nothing_is_kept_of_accounts_that_had_no_attempt_lately(void **state)
{
    (void)state;
    struct busy *busy = busy_new();
    for (int64_t id = 1; id <= 1000; id++) {
        busy_began(busy, id, 1000000);
        busy_ended(busy, id, 2000000);
    }
    assert_int_equal(busy_kept(busy), 1000);
    for (int i = 0; i < 1000; i++) {
        busy_began(busy, 7777, INT64_C(1000000000) + i);
        busy_ended(busy, 7777, INT64_C(1000000000) + i);
    }
    assert_int_equal(busy_kept(busy), 1);
    busy_ended(busy, 8888, INT64_C(1000000000)); // never began
    assert_int_equal(busy_percent(busy, 8888, INT64_C(1000000000)), 0);
    busy_free(busy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_attempt_is_told_with_its_time),
        cmocka_unit_test(test_a_pause_after_a_failure_is_told_with_its_end),
        cmocka_unit_test(test_a_settle_time_is_told_apart),
        cmocka_unit_test(test_a_suspended_desk_and_its_guard_are_told),
        cmocka_unit_test(test_held_and_inactive_are_told),
        cmocka_unit_test(test_who_waits_for_a_slot_is_told_so),
        cmocka_unit_test(test_who_waits_for_the_rate_of_the_desk_is_told_until_when),
        cmocka_unit_test(test_a_mark_on_its_way_to_the_disk_is_told),
        cmocka_unit_test(test_an_outcome_on_its_way_to_the_disk_is_told),
        cmocka_unit_test(test_each_of_several_that_wait_for_one_probe_is_told_so),
        cmocka_unit_test(test_a_page_that_is_being_read_is_told),
        cmocka_unit_test(test_who_waits_for_memory_that_others_fill_is_told_so),
        cmocka_unit_test(test_an_account_whose_lanes_are_still_being_read_is_told),
        cmocka_unit_test(test_who_is_behind_a_change_of_the_order_rule_is_told_so),
        cmocka_unit_test(test_an_account_that_is_not_there_is_told_as_one_that_is_off),
        cmocka_unit_test(test_a_lane_that_is_busy_for_five_minutes_is_told),
        cmocka_unit_test(test_an_attempt_in_progress_counts),
        cmocka_unit_test(test_conversations_with_lanes_of_their_own_are_not_measured),
        cmocka_unit_test(test_nothing_is_kept_of_accounts_that_had_no_attempt_lately),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
