// The promises of order, settling and marks, on the relay core over the store in memory (support/rig.h).
#include "support/intercom_answers.h"
#include "support/rig.h"
#include "support/store_kit.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;

static void with(struct rig_options options)
{
    rig_init(&rig, &options);
}

// ---- order ----

static void test_next_only_after_the_one_before_is_settled(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    assert_int_equal(rig_open_count(&rig), 1);
    assert_non_null(rig_open_with(&rig, "one"));
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_PENDING);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    assert_int_equal(rig_open_count(&rig), 1);
    assert_non_null(rig_open_with(&rig, "two"));
    rig_answer(&rig, rig_open(&rig), 204, "");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void test_order_account_serves_one_at_a_time_over_all_conversations(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_ACCOUNT});
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c2", "two");
    assert_int_equal(rig_open_count(&rig), 1);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    assert_non_null(rig_open_with(&rig, "two"));
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_order_conversation_serves_conversations_side_by_side(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c2", "two");
    rig_say(&rig, "acme", "c1", "three");
    assert_int_equal(rig_open_count(&rig), 2);
    assert_null(rig_open_with(&rig, "three"));
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    assert_non_null(rig_open_with(&rig, "three"));
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_done(&rig);
}

static void test_a_backlog_deeper_than_the_window_keeps_its_order(void **state)
{
    (void)state;
    with((struct rig_options){.window = 3});
    char text[32];
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof text, "number-%02d.", i);
        rig_say(&rig, "acme", "c1", text);
    }
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof text, "number-%02d.", i);
        assert_int_equal(rig_open_count(&rig), 1);
        rig_answer(&rig, rig_open_with(&rig, text), 200, "");
    }
    rig_done(&rig);
}

static void test_messages_that_come_while_a_backlog_drains_go_behind_it(void **state)
{
    (void)state;
    with((struct rig_options){.window = 2});
    char text[32];
    int said = 0;
    for (; said < 5; said++) {
        snprintf(text, sizeof text, "number-%02d.", said);
        rig_say(&rig, "acme", "c1", text);
    }
    for (int answered = 0; answered < 40; answered++) {
        if (said < 40) {
            snprintf(text, sizeof text, "number-%02d.", said++);
            rig_say(&rig, "acme", "c1", text);
        }
        snprintf(text, sizeof text, "number-%02d.", answered);
        assert_int_equal(rig_open_count(&rig), 1);
        rig_answer(&rig, rig_open_with(&rig, text), 200, "");
    }
    rig_done(&rig);
}

// ---- failures ----

static void test_a_failure_is_tried_again_before_the_next(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c1", "two");
    rig_answer(&rig, rig_open(&rig), 500, "");
    assert_int_equal(rig_attempts_of(&rig, first), 1);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2000);
    assert_int_equal(rig_open_count(&rig), 1);
    assert_non_null(rig_open_with(&rig, "one"));
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static void test_five_failures_then_skipped_and_the_next_goes_on(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    for (int i = 1; i <= 5; i++) {
        rig_answer(&rig, rig_open_with(&rig, "one"), 500, "");
        assert_int_equal(rig_attempts_of(&rig, first), i);
        rig_pass(&rig, 60000);
    }
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_SKIPPED);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_refusal_is_skipped_at_once(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c1", "two");
    rig_answer(&rig, rig_open_with(&rig, "one"), 422, "");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_SKIPPED);
    assert_int_equal(rig_attempts_of(&rig, first), 1);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static void test_on_failure_hold_keeps_the_lane_for_a_person(void **state)
{
    (void)state;
    with((struct rig_options){.on_failure = ON_FAILURE_HOLD});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c1", "two");
    rig_answer(&rig, rig_open_with(&rig, "one"), 422, "");
    rig_pass(&rig, 3600 * 1000);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_PENDING);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void test_an_outage_counts_nothing_and_resumes_in_order(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    rig_say(&rig, "acme", "c2", "three");
    assert_int_equal(rig_open_count(&rig), 0);
    for (int i = 0; i < 20; i++) { // probes only, one at a time
        rig_pass(&rig, 31000);
        assert_int_equal(rig_open_count(&rig), 1);
        assert_true(str_eq_c(rig_open(&rig)->method, "HEAD"));
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    }
    assert_int_equal(rig_attempts_of(&rig, first), 0);
    rig_pass(&rig, 31000);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_open_count(&rig), 2);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_no_answer_counts_when_the_probe_right_after_finds_the_desk_well(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    for (int i = 1; i <= 5; i++) {
        rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_TIMEOUT, true);
        assert_true(str_eq_c(rig_open(&rig)->method, "HEAD"));
        rig_answer(&rig, rig_open(&rig), 200, "");
        assert_int_equal(rig_attempts_of(&rig, first), i);
        rig_pass(&rig, 60000);
    }
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_SKIPPED);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_no_answer_counts_nothing_when_the_probe_fails_too(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_lose(&rig, rig_open(&rig), HTTP_TIMEOUT, true);
    rig_lose(&rig, rig_open(&rig), HTTP_TIMEOUT, true);
    assert_int_equal(rig_attempts_of(&rig, first), 0);
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open(&rig), 200, ""); // the probe
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_desk_without_probe_is_tried_with_one_head_at_a_time(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_lose(&rig, rig_open(&rig), HTTP_TIMEOUT, true);
    rig_say(&rig, "acme", "c2", "two");
    for (int i = 0; i < 4; i++) {
        rig_pass(&rig, 31000);
        assert_int_equal(rig_open_count(&rig), 1);
        assert_true(str_eq_c(rig_open(&rig)->method, "POST"));
        rig_lose(&rig, rig_open(&rig), HTTP_TIMEOUT, true);
    }
    assert_int_equal(rig_attempts_of(&rig, first), 0);
    rig_pass(&rig, 31000);
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_open_count(&rig), 0);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_429_is_obeyed_until_the_time_it_names(void **state)
{
    (void)state;
    with((struct rig_options){0});
    rig_say(&rig, "acme", "c1", "one");
    rig_answer_with(&rig, rig_open(&rig), 429, "retry-after", "90", "");
    rig_pass(&rig, 89000);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open(&rig), 200, ""); // the probe
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_done(&rig);
}

// ---- the guard against mass skips ----

static int64_t refused[8];

// Six conversations, each with one message that the desk refuses: five are skipped, the sixth closes the guard.
static void close_guard(struct rig_options options)
{
    options.order = ORDER_CONVERSATION;
    options.concurrency = 1;
    with(options);
    char conversation[16], text[16];
    for (int i = 0; i < 6; i++) {
        snprintf(conversation, sizeof conversation, "c%d", i);
        snprintf(text, sizeof text, "bad-%d.", i);
        refused[i] = rig_say(&rig, "acme", conversation, text);
    }
    for (int i = 0; i < 6; i++)
        rig_answer(&rig, rig_open(&rig), 400, "");
}

static void test_five_skips_in_a_row_close_the_desk_and_the_sixth_stays(void **state)
{
    (void)state;
    close_guard((struct rig_options){0});
    for (int i = 0; i < 5; i++)
        assert_int_equal(rig_state_of(&rig, refused[i]), MESSAGE_SKIPPED);
    assert_int_equal(rig_state_of(&rig, refused[5]), MESSAGE_PENDING);
    assert_int_equal(rig_attempts_of(&rig, refused[5]), 0);
    int64_t next = rig_say(&rig, "acme", "c9", "good");
    rig_pass(&rig, 5 * 60 * 1000);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 5 * 60 * 1000 + 1000); // one head is tried, no probe: an answer to that would prove nothing
    assert_int_equal(rig_open_count(&rig), 1);
    assert_true(str_eq_c(rig_open(&rig)->method, "POST"));
    rig_answer(&rig, rig_open(&rig), 400, "");
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 59 * 60 * 1000);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 61 * 1000); // an hour later another lane's
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_state_of(&rig, next), MESSAGE_DELIVERED);
    assert_int_equal(rig_state_of(&rig, refused[5]), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_the_guard_outlives_a_crash_and_opens_by_hand(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .concurrency = 1};
    close_guard(options);
    rig_crash(&rig, &options);
    rig_pass(&rig, 9 * 60 * 1000);
    assert_int_equal(rig_open_count(&rig), 0);
    const struct account *account = rig_account(&rig, "acme");
    dispatcher_resume_desk(rig.dispatcher, account);
    account_unref(account);
    rig_turn(&rig);
    rig_answer(&rig, rig_open(&rig), 400, ""); // the count begins anew
    assert_int_equal(rig_state_of(&rig, refused[5]), MESSAGE_SKIPPED);
    rig_done(&rig);
}

static void test_a_delivery_between_them_keeps_the_guard_open(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    for (int i = 0; i < 20; i++) {
        int64_t id = rig_say(&rig, "acme", "c1", "x");
        rig_answer(&rig, rig_open(&rig), i % 5 == 4 ? 200 : 400, "");
        assert_int_equal(rig_state_of(&rig, id), i % 5 == 4 ? MESSAGE_DELIVERED : MESSAGE_SKIPPED);
    }
    rig_done(&rig);
}

static void skip_some(int count)
{
    for (int i = 0; i < count; i++) {
        int64_t id = rig_say(&rig, "acme", "c1", "refused");
        rig_answer(&rig, rig_open(&rig), 400, "");
        assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    }
}

static void test_a_delivery_is_remembered_over_a_crash(void **state)
{
    (void)state;
    struct rig_options options = {0};
    with(options);
    skip_some(3);
    rig_say(&rig, "acme", "c1", "taken");
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_crash(&rig, &options);
    skip_some(5);
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 0);
    rig_done(&rig);
}

// ---- fairness ----

static void test_one_account_does_not_starve_another_at_the_same_desk(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .concurrency = 2};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    char conversation[16];
    for (int i = 0; i < 20; i++) {
        snprintf(conversation, sizeof conversation, "c%d", i);
        rig_say(&rig, "acme", conversation, "backlog");
    }
    rig_say(&rig, "beta", "b1", "fresh");
    rig_answer(&rig, rig_open_with(&rig, "backlog"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "backlog"), 200, "");
    assert_non_null(rig_open_with(&rig, "fresh"));
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static int open_with(const char *text)
{
    int count = 0;
    for (int i = 0; i < rig.call_count; i++)
        count += rig.calls[i].open && memmem(rig.calls[i].body.p, rig.calls[i].body.n, text, strlen(text));
    return count;
}

static void test_a_slow_desk_leaves_slots_for_others(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .concurrency = 8};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://other.test/beta");
    char conversation[16];
    for (int i = 0; i < 20; i++) {
        snprintf(conversation, sizeof conversation, "c%d", i);
        rig_say(&rig, "acme", conversation, "slow");
    }
    assert_int_equal(rig_open_count(&rig), 8); // alone it may have them all
    for (int i = 0; i < 20; i++) {
        snprintf(conversation, sizeof conversation, "b%d", i);
        rig_say(&rig, "beta", conversation, "quick");
    }
    for (int i = 0; i < 8; i++) // as slots come free, the other gets them
        rig_answer(&rig, rig_open_with(&rig, "slow"), 200, "");
    assert_int_equal(open_with("quick"), 3);
    assert_int_equal(open_with("slow"), 3); // a quarter is kept for a third one
    for (int i = 0; i < 6; i++)             // and keeps them while the slow one answers nothing
        rig_answer(&rig, rig_open_with(&rig, "quick"), 200, "");
    assert_int_equal(open_with("quick"), 3);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

// Else it would wait for an answer to the busy one, though nothing of its own is in flight.
static void test_beside_others_a_busy_desk_leaves_a_quarter_free(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .concurrency = 8};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://other.test/beta");
    char conversation[16];
    rig_say(&rig, "beta", "b0", "one");
    for (int i = 0; i < 20; i++) {
        snprintf(conversation, sizeof conversation, "c%d", i);
        rig_say(&rig, "acme", conversation, "busy");
    }
    assert_int_equal(open_with("busy"), 5);
    rig_say(&rig, "beta", "b1", "at once");
    assert_non_null(rig_open_with(&rig, "at once"));
    rig_answer(&rig, rig_open_with(&rig, "at once"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "busy"), 200, ""); // alone again
    assert_int_equal(open_with("busy"), 8);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_a_backlog_that_fills_the_memory_leaves_room_for_others(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://other.test/beta");
    char conversation[16];
    for (int i = 0; i < 1500; i++) { // the rig holds 1000
        snprintf(conversation, sizeof conversation, "c%d", i % 10000);
        rig_say(&rig, "acme", conversation, "backlog");
    }
    assert_false(dispatcher_has_room(rig.dispatcher));
    int64_t first = rig_say(&rig, "beta", "b1", "fresh");
    int64_t second = rig_say(&rig, "beta", "b1", "later");
    assert_non_null(rig_open_with(&rig, "fresh"));
    rig_answer(&rig, rig_open_with(&rig, "fresh"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "later"), 200, "");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig.call_count, 1502);
    rig_done(&rig);
}

// ---- a changed order rule ----

static void test_lanes_of_a_new_rule_start_when_the_old_ones_are_settled(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c2", "two");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c1", "three");
    rig_say(&rig, "acme", "c3", "four");
    assert_int_equal(rig_open_count(&rig), 2);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    assert_null(rig_open_with(&rig, "three"));
    assert_false(rig_set_order(&rig, "acme", ORDER_CONVERSATION)); // one change at a time
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_open_count(&rig), 1);
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "four"), 200, "");
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    rig_done(&rig);
}

// Without a probe the heads of lanes are tried in turn: those behind the change are passed over, whoever's turn it is.
static void test_who_is_behind_a_changed_order_is_no_probe_of_a_desk_that_is_down(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_ACCOUNT, .probe = DESK_PROBE_NONE});
    rig_say(&rig, "acme", "c1", "one");
    rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_NOT_CONNECTED, false);
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    rig_say(&rig, "acme", "c1", "two");
    rig_say(&rig, "acme", "c2", "three");
    for (int i = 0; i < 6; i++) {
        rig_pass(&rig, 31 * 1000);
        assert_int_equal(rig_open_count(&rig), 1);
        rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_NOT_CONNECTED, false);
    }
    rig_pass(&rig, 31 * 1000);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_done(&rig);
}

static void test_changed_order_waits_for_a_message_tried_again(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_ACCOUNT});
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c2", "two");
    rig_set_order(&rig, "acme", ORDER_CONVERSATION);
    rig_say(&rig, "acme", "c1", "three");
    rig_say(&rig, "acme", "c2", "four");
    rig_answer(&rig, rig_open_with(&rig, "one"), 500, "");
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 60 * 1000);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    assert_int_equal(rig_open_count(&rig), 1);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_open_count(&rig), 2); // side by side from here on
    rig_answer(&rig, rig_open_with(&rig, "four"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_done(&rig);
}

// The rule changed back in the transaction that settled the last message of the rule before: what was accepted with it is known
// here before the account's new definition is. The lane, in the middle of its attempt, goes behind, and on as soon as the store is asked.
static void test_changed_order_and_a_lane_that_is_sending(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_ACCOUNT});
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c1", "two");
    const struct account *before = rig_account(&rig, "acme");
    struct account *now = account_copy(before);
    struct message *one = rig_message(&rig, 1);
    now->order_barrier = one->place;
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    rig_turn(&rig);
    message_free(one);
    account_unref(before);
    account_unref(now);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void test_changed_order_outlives_a_restart(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION};
    with(options);
    rig_say(&rig, "acme", "c1", "one");
    rig_set_order(&rig, "acme", ORDER_ACCOUNT);
    rig_say(&rig, "acme", "c2", "two");
    rig_crash(&rig, &options);
    assert_int_equal(rig_open_count(&rig), 1);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static void test_changed_order_survives_an_outage_and_a_switch(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE});
    rig_say(&rig, "acme", "c1", "one");
    rig_set_order(&rig, "acme", ORDER_ACCOUNT);
    rig_say(&rig, "acme", "c2", "two");
    rig_answer(&rig, rig_open_with(&rig, "one"), 401, ""); // its head is the probe from here on, not the one behind
    for (int i = 0; i < 3; i++) {
        rig_pass(&rig, 60 * 1000);
        assert_int_equal(rig_open_count(&rig), 1);
        rig_answer(&rig, rig_open_with(&rig, "one"), 401, "");
    }
    rig_set_active(&rig, "acme", false);
    rig_set_active(&rig, "acme", true);
    rig_pass(&rig, 60 * 1000);
    assert_null(rig_open_with(&rig, "two"));
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

// The rule was changed back while the store was still asked whether the first change is over: that question was not about this one.
static void test_a_look_at_one_change_of_the_order_says_nothing_of_the_next(void **state)
{
    (void)state;
    char *path = kit_store_path("look");
    with((struct rig_options){.order = ORDER_CONVERSATION, .store_path = path});
    rig_say(&rig, "acme", "c1", "one");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c1", "two");
    struct rig_call *call = rig_open_with(&rig, "one");
    struct http_response response = {.written = true, .status = 200, .body = STR("")};
    call->open = false;
    call->done(call->arg, &response);
    committer_turn(rig.committer);
    rig_steps(&rig, 1); // the lane of the rule before has run empty: the store is about to be asked
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    rig_say(&rig, "acme", "c1", "three");
    assert_non_null(rig_open_with(&rig, "two"));
    assert_null(rig_open_with(&rig, "three"));
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_done(&rig);
    free(path);
}

static void test_changed_order_is_over_when_its_last_message_is_discarded_in_an_inactive_account(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    rig_set_active(&rig, "acme", false);
    int64_t last = rig_say(&rig, "acme", "c1", "last");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    const struct account *account = rig_account(&rig, "acme");
    assert_int_not_equal(account->order_barrier, 0);
    account_unref(account);
    struct store_outcome outcome = {.message_id = last, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    account = rig_account(&rig, "acme");
    dispatcher_changed_by_hand(rig.dispatcher, account->id);
    account_unref(account);
    rig_turn(&rig);
    account = rig_account(&rig, "acme");
    assert_int_equal(account->order_barrier, 0);
    account_unref(account);
    rig_done(&rig);
}

// ---- switches ----

static void test_deactivated_stops_and_activated_goes_on_in_order(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c1", "two");
    rig_set_active(&rig, "acme", false);
    rig_answer(&rig, rig_open(&rig), 200, ""); // the one in flight ends and is recorded
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    assert_int_equal(rig_open_count(&rig), 0);
    int64_t third = rig_say(&rig, "acme", "c1", "three");
    rig_pass(&rig, 3600 * 1000);
    assert_int_equal(rig_open_count(&rig), 0);
    assert_int_equal(rig_state_of(&rig, third), MESSAGE_PENDING);
    rig_set_active(&rig, "acme", true);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    assert_int_equal(rig_state_of(&rig, third), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_switched_off_and_on_while_its_lanes_are_read_forgets_none(void **state)
{
    (void)state;
    for (int steps = 0; steps < 8; steps++) { // each time at another point of the reading
        with((struct rig_options){.order = ORDER_CONVERSATION, .concurrency = 1});
        rig_set_active(&rig, "acme", false);
        rig_say(&rig, "acme", "c1", "one");
        rig_say(&rig, "acme", "c2", "two");
        rig_say(&rig, "acme", "c3", "three");
        const struct account *off = rig_account(&rig, "acme");
        struct account *on = account_copy(off);
        on->active = true;
        directory_put(rig.directory, account_ref(on));
        dispatcher_account_changed(rig.dispatcher, off, on);
        rig_steps(&rig, steps);
        directory_put(rig.directory, account_ref(off));
        dispatcher_account_changed(rig.dispatcher, on, off);
        directory_put(rig.directory, account_ref(on));
        dispatcher_account_changed(rig.dispatcher, off, on);
        account_unref(on);
        account_unref(off);
        rig_turn(&rig);
        rig_answer(&rig, rig_open(&rig), 200, "");
        rig_answer(&rig, rig_open(&rig), 200, "");
        rig_answer(&rig, rig_open(&rig), 200, "");
        rig_done(&rig);
    }
}

static void on_discarded(struct job *job)
{
    (void)job;
}

// What a person does with `tributary discard`, at any moment.
static bool discard_by_hand(int64_t id)
{
    struct message *message = rig_message(&rig, id);
    bool may = dispatcher_reload(rig.dispatcher, message, true) == 0;
    struct store_outcome outcome = {
        .message_id = id, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND, .at_us = rig.clock.wall_us};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    struct job job = {.kind = JOB_CHANGES, .changes = &change, .change_count = 1, .done = on_discarded};
    if (may)
        assert_true(committer_submit(rig.committer, &job));
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
    message_free(message);
    return may;
}

static void test_what_is_discarded_while_its_lane_is_read_is_not_sent(void **state)
{
    (void)state;
    int discarded = 0;
    for (int half_steps = 0; half_steps < 16; half_steps++) { // each time at another point of the reading
        with((struct rig_options){.order = ORDER_CONVERSATION});
        rig_set_active(&rig, "acme", false);
        int64_t id = rig_say(&rig, "acme", "c1", "one");
        const struct account *off = rig_account(&rig, "acme");
        struct account *on = account_copy(off);
        on->active = true;
        directory_put(rig.directory, account_ref(on));
        dispatcher_account_changed(rig.dispatcher, off, on);
        account_unref(on);
        account_unref(off);
        rig_steps(&rig, half_steps / 2);
        if (half_steps % 2) // the page is read and on its way
            committer_turn(rig.committer);
        if (discard_by_hand(id)) {
            assert_int_equal(rig_open_count(&rig), 0);
            assert_int_equal(rig_state_of(&rig, id), MESSAGE_DISCARDED);
            discarded++;
        } else {
            rig_answer(&rig, rig_open(&rig), 200, ""); // it was in flight already
        }
        rig_done(&rig);
    }
    assert_in_range(discarded, 1, 15);
}

// The same of a lane in memory whose page is on its way to it.
static void test_what_is_discarded_while_its_page_is_on_its_way_is_not_sent(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 500, "");
    rig.clock.mono_us += 2000000;
    rig.clock.wall_us += 2000000;
    dispatcher_tick(rig.dispatcher); // its pause is over: the page is asked for
    assert_int_equal(rig_open_count(&rig), 0);
    committer_turn(rig.committer);
    assert_true(discard_by_hand(id));
    assert_int_equal(rig_open_count(&rig), 0);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DISCARDED);
    rig_done(&rig);
}

static void test_attempts_survive_a_deactivation(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 500, "");
    rig_set_active(&rig, "acme", false);
    rig_pass(&rig, 120000);
    assert_int_equal(rig_open_count(&rig), 0);
    assert_int_equal(rig_attempts_of(&rig, first), 1);
    rig_set_active(&rig, "acme", true);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// At the start the lane of the new rule is there, and knows that it is behind, before the one with the last message of the rule before.
static void test_changed_order_goes_on_when_its_last_message_is_discarded_before_it_was_read(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_ACCOUNT, .memory_messages = 4};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://other.test/beta");
    rig_set_order(&rig, "beta", ORDER_CONVERSATION);
    for (int i = 0; i < 70; i++) {
        char conversation[16];
        snprintf(conversation, sizeof conversation, "b%d", i);
        rig_say(&rig, "beta", conversation, "backlog");
    }
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    int64_t last = rig_say(&rig, "acme", "c1", "last");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c1", "first");
    rig_crash(&rig, &options);
    assert_null(rig_open_with(&rig, "last")); // what is in memory fills it
    assert_true(discard_by_hand(last));
    assert_null(rig_open_with(&rig, "first"));
    while (rig_open_with(&rig, "backlog"))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "first"), 200, "");
    rig_done(&rig);
}

// ---- restart ----

static void test_a_restart_takes_up_the_backlog_in_order(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .window = 2};
    with(options);
    char text[32];
    for (int i = 0; i < 9; i++) {
        snprintf(text, sizeof text, "number-%d.", i);
        rig_say(&rig, "acme", "c1", text);
    }
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_crash(&rig, &options);
    for (int i = 1; i < 9; i++) {
        snprintf(text, sizeof text, "number-%d.", i);
        assert_int_equal(rig_open_count(&rig), 1);
        rig_answer(&rig, rig_open_with(&rig, text), 200, "");
    }
    rig_done(&rig);
}

// Waits are waited on the monotonic clock; what the store has of them is wall time, which may be set back before it is read.
static void test_item_56_clock_that_is_set_stalls_no_lane(void **state)
{
    (void)state;
    static const int64_t steps_us[] = {INT64_C(3600000000), -INT64_C(3600000000), -INT64_C(86400000000) * 400};
    for (size_t i = 0; i < 3; i++) {
        for (int crash = 0; crash < 2; crash++) {
            struct rig_options options = {0};
            with(options);
            rig_say(&rig, "acme", "c1", "one");
            rig_say(&rig, "acme", "c1", "two");
            rig_answer(&rig, rig_open(&rig), 500, "");
            rig.clock.wall_us += steps_us[i];
            if (crash)
                rig_crash(&rig, &options);
            rig_pass(&rig, 20000);
            assert_int_equal(rig_open_count(&rig), 1);
            rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
            rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
            assert_int_equal(rig_open_count(&rig), 0);
            rig_done(&rig);
        }
    }
}

// ---- a desk without a key: marks and doubts ----

// The first message: contact found, conversation made.
static void through_first_message(void)
{
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
}

static void test_the_head_is_marked_before_its_first_request(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    assert_int_equal(rig_open_count(&rig), 1);
    assert_true(rig_is_marked(&rig, first));
    through_first_message();
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    assert_false(rig_is_marked(&rig, first));
    rig_done(&rig);
}

static void test_the_next_is_marked_in_the_transaction_that_settles_the_one_before(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    assert_false(rig_is_marked(&rig, second));
    through_first_message();
    assert_true(rig_is_marked(&rig, second));
    assert_int_equal(rig_open_count(&rig), 1); // steady state: one call a message
    char answer[600];
    snprintf(answer, sizeof answer, intercom_part, 77);
    rig_answer(&rig, rig_open_with(&rig, "/conversations/499/reply"), 200, answer);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_after_a_crash_a_marked_head_is_looked_up_when_it_has_settled(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    with(options);
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    through_first_message();
    assert_non_null(rig_open_with(&rig, "/reply"));
    rig_crash(&rig, &options);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 14000);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2000);
    struct rig_call *look = rig_open(&rig);
    assert_non_null(look);
    assert_true(str_eq_c(look->method, "GET"));
    // Not there: it is sent in the same attempt.
    rig_answer(&rig, look, 200,
               "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1700000000,\"source\":{\"body\":\"one\"},"
               "\"conversation_parts\":{\"conversation_parts\":[],\"total_count\":0}}");
    rig_answer(&rig, rig_open_with(&rig, "/conversations/search"), 200,
               "{\"type\":\"conversation.list\",\"conversations\":[],\"total_count\":0}");
    char answer[600];
    snprintf(answer, sizeof answer, intercom_part, 78);
    rig_answer(&rig, rig_open_with(&rig, "/reply"), 200, answer);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_lost_answer_is_in_doubt_and_found_at_the_desk(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    through_first_message();
    rig_lose(&rig, rig_open_with(&rig, "/reply"), HTTP_TIMEOUT, true);
    rig_answer(&rig, rig_open_with(&rig, "/me"), 200, "{\"type\":\"admin\",\"id\":\"1\"}"); // the desk is well
    assert_true(rig_is_in_doubt(&rig, second));
    rig_pass(&rig, 16000);
    struct rig_call *look = rig_open(&rig);
    assert_true(str_eq_c(look->method, "GET"));
    rig_answer(&rig, look, 200,
               "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1700000000,\"source\":{\"body\":\"one\"},"
               "\"conversation_parts\":{\"conversation_parts\":[{\"type\":\"conversation_part\",\"id\":\"81\","
               "\"part_type\":\"comment\",\"body\":\"two\",\"created_at\":1700000000,\"author\":{\"type\":\"user\","
               "\"id\":\"6657adde6abd0167d9419d00\"}}],\"total_count\":1}}");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    assert_int_equal(rig_open_count(&rig), 0);
    struct message *message = rig_message(&rig, second);
    assert_true(str_eq_c(message->desk_ref, "81"));
    message_free(message);
    rig_done(&rig);
}

static void test_a_clean_stop_leaves_no_marks(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    with(options);
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    dispatcher_stop(rig.dispatcher);
    assert_false(rig.stopped); // a request is in flight
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    assert_true(rig.stopped); // no other request was started
    assert_int_equal(rig_open_count(&rig), 0);
    assert_false(rig_is_marked(&rig, second));
    assert_false(rig_is_in_doubt(&rig, second));
    rig_done(&rig);
}

static void test_a_stop_and_a_switch_let_no_next_request_leave(void **state)
{
    (void)state;
    char answer[600];
    snprintf(answer, sizeof answer, intercom_part, 77);
    for (int stops = 0; stops < 2; stops++) {
        with((struct rig_options){.desk = "intercom"});
        rig_say(&rig, "acme", "c1", "one");
        int64_t second = rig_say(&rig, "acme", "c1", "two"), third = rig_say(&rig, "acme", "c1", "three");
        through_first_message();
        if (stops)
            dispatcher_stop(rig.dispatcher);
        else
            rig_set_active(&rig, "acme", false);
        rig_answer(&rig, rig_open_with(&rig, "/reply"), 200, answer); // the next would be marked and sent at once
        assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
        assert_int_equal(rig_open_count(&rig), 0);
        assert_false(rig_is_marked(&rig, third));
        assert_false(rig_is_in_doubt(&rig, third));
        assert_int_equal(rig.stopped, stops);
        rig_done(&rig);
    }
}

// ---- hard moments ----

static void ignore_job(struct job *job)
{
    (void)job;
}

static void test_a_failure_that_may_be_the_messages_own_is_recorded_while_the_daemon_stops(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    with(options);
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    through_first_message();
    dispatcher_stop(rig.dispatcher);
    rig_answer(&rig, rig_open_with(&rig, "/reply"), 502, ""); // no probe is sent any more
    assert_true(rig.stopped);
    assert_int_equal(rig_attempts_of(&rig, second), 0);
    assert_true(rig_is_in_doubt(&rig, second));
    assert_false(rig_is_marked(&rig, second));
    rig_done(&rig);
}

static void test_a_stop_waits_no_longer_for_a_busy_store_than_it_must_and_keeps_the_mark(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    rig.fault = (struct store_fault){.err = ERR_BUSY, .after = 0};
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
    dispatcher_stop(rig.dispatcher);
    rig_turn(&rig);
    assert_false(rig.stopped); // the outcome waits
    committer_hurry(rig.committer);
    rig.fault.once = true;
    rig_turn(&rig);
    assert_true(rig.stopped);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_PENDING);
    assert_true(rig_is_marked(&rig, first)); // the next start looks it up
    rig_done(&rig);
}

static void test_the_next_may_be_discarded_by_hand_while_the_outcome_that_marks_it_is_on_its_way(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    int64_t third = rig_say(&rig, "acme", "c1", "three");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    struct rig_call *call = rig_open_with(&rig, "/conversations");
    struct http_response response = {.written = true, .status = 200, .body = str_of(intercom_created)};
    call->open = false;
    call->done(call->arg, &response); // the outcome waits for the committer
    struct message *message = rig_message(&rig, second);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_OK);
    message_free(message);
    struct store_outcome outcome = {.message_id = second, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    struct job job = {.kind = JOB_CHANGES, .changes = &change, .change_count = 1, .done = ignore_job};
    assert_true(committer_submit(rig.committer, &job));
    rig_turn(&rig);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DISCARDED);
    assert_int_equal(rig_open_count(&rig), 1);
    assert_non_null(rig_open_with(&rig, "three"));
    char answer[600];
    snprintf(answer, sizeof answer, intercom_part, 77);
    rig_answer(&rig, rig_open_with(&rig, "/reply"), 200, answer);
    assert_int_equal(rig_state_of(&rig, third), MESSAGE_DELIVERED);
    assert_false(rig_is_in_doubt(&rig, third));
    rig_done(&rig);
}

// Its lane forgets what it holds, the marked message too, which was never sent.
static void test_a_marked_message_is_in_no_doubt_when_one_behind_it_is_discarded(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    int64_t third = rig_say(&rig, "acme", "c1", "three");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    struct rig_call *call = rig_open_with(&rig, "/conversations");
    struct http_response response = {.written = true, .status = 200, .body = str_of(intercom_created)};
    call->open = false;
    call->done(call->arg, &response); // the outcome, and with it the mark of the second, waits for the committer
    assert_true(discard_by_hand(third));
    assert_non_null(rig_open_with(&rig, "two"));
    assert_non_null(rig_open_with(&rig, "/reply"));
    assert_false(rig_is_in_doubt(&rig, second));
    char answer[600];
    snprintf(answer, sizeof answer, intercom_part, 77);
    rig_answer(&rig, rig_open_with(&rig, "/reply"), 200, answer);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void set_url(const char *name, const char *url)
{
    const struct account *before = rig_account(&rig, name);
    struct account *now = account_copy(before);
    now->desk.url = arena_str(&now->arena, str_of(url));
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(&rig);
}

static void test_an_account_that_leaves_a_desk_while_it_is_the_probe_leaves_no_other_behind(void **state)
{
    (void)state;
    struct rig_options options = {.probe = DESK_PROBE_NONE};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    rig_say(&rig, "acme", "c1", "one");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    int64_t other = rig_say(&rig, "beta", "b1", "other");
    rig_pass(&rig, 2000);
    for (int i = 0; i < 2 && !rig_open_with(&rig, "one"); i++) { // until acme's head is the probe
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
        rig_pass(&rig, 31000);
    }
    assert_non_null(rig_open_with(&rig, "one"));
    set_url("acme", "http://desk.test/elsewhere");
    rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_NOT_CONNECTED, false);
    rig_pass(&rig, 61000);
    assert_non_null(rig_open_with(&rig, "other"));
    rig_answer(&rig, rig_open_with(&rig, "other"), 200, "");
    assert_int_equal(rig_state_of(&rig, other), MESSAGE_DELIVERED);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_a_probing_head_cut_by_a_deactivation_taken_back_is_sent_again(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom", .order = ORDER_CONVERSATION, .concurrency = 1};
    with(options);
    char conversation[16];
    int64_t last = 0;
    for (int i = 0; i < 6; i++) {
        snprintf(conversation, sizeof conversation, "c%d", i);
        last = rig_say(&rig, "acme", conversation, "bad");
    }
    for (int i = 0; i < 6; i++) {
        rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
        rig_answer(&rig, rig_open_with(&rig, "/conversations"), 400, "");
    }
    rig_pass(&rig, 10 * 60 * 1000 + 1000);
    struct rig_call *call = rig_open(&rig);
    assert_non_null(call);
    const struct account *on = rig_account(&rig, "acme");
    struct account *off = account_copy(on);
    off->active = false;
    directory_put(rig.directory, account_ref(off));
    dispatcher_account_changed(rig.dispatcher, on, off);
    struct http_response response = {.written = true, .status = 404, .body = STR("")};
    call->open = false;
    call->done(call->arg, &response); // the contact is gone, and no other request goes: cut, and to be stored
    directory_put(rig.directory, account_ref(on));
    dispatcher_account_changed(rig.dispatcher, off, on);
    account_unref(off);
    account_unref(on);
    rig_turn(&rig);
    rig_pass(&rig, 3600 * 1000);
    while (rig_open_with(&rig, "/contacts"))
        rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
    assert_int_equal(rig_state_of(&rig, last), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_an_alarm_of_a_desk_that_two_accounts_share_ends_under_the_name_it_began_with(void **state)
{
    (void)state;
    struct rig_options options = {0};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "beta", "b1", "two");
    rig_answer(&rig, rig_open_with(&rig, "one"), 401, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 401, "");
    assert_int_equal(rig_alarms(&rig, NULL), 1);
    const struct account *now = rig_account(&rig, "beta"); // its definition was put again
    dispatcher_account_changed(rig.dispatcher, now, now);
    account_unref(now);
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open(&rig), 200, ""); // the probe
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

static void test_a_discard_asked_while_the_failure_is_being_stored_takes_that_message_and_no_other(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    struct rig_call *call = rig_open(&rig);
    struct http_response response = {.written = true, .status = 500, .body = STR("")};
    call->open = false;
    call->done(call->arg, &response); // the outcome waits for the committer
    struct message *message = rig_message(&rig, first);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_BUSY);
    message_free(message);
    rig_turn(&rig);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DISCARDED);
    rig_answer(&rig, rig_open_with(&rig, "two"), 500, "");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_PENDING);
    rig_done(&rig);
}

static void test_a_discard_asked_while_the_skip_is_being_stored_discards_all_the_same(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    struct rig_call *call = rig_open(&rig);
    struct http_response response = {.written = true, .status = 422, .body = STR("")};
    call->open = false;
    call->done(call->arg, &response); // it is to be skipped, and that waits for the committer
    struct message *message = rig_message(&rig, first);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_BUSY);
    message_free(message);
    rig_turn(&rig);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DISCARDED);
    rig_answer(&rig, rig_open_with(&rig, "two"), 422, "");
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_SKIPPED);
    rig_done(&rig);
}

static void test_a_discard_asked_before_a_send_that_was_called_off_takes_no_other_message(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    with(options);
    rig_add_account(&rig, "beta", &options, NULL);
    rig_say(&rig, "acme", "c0", "zero");
    rig_set_active(&rig, "beta", false);
    int64_t first = rig_say(&rig, "beta", "c1", "one");
    int64_t second = rig_say(&rig, "beta", "c1", "two");
    const struct account *off = rig_account(&rig, "beta");
    struct account *on = account_copy(off);
    on->active = true;
    directory_put(rig.directory, account_ref(on));
    dispatcher_account_changed(rig.dispatcher, off, on);
    account_unref(off);
    for (committer_turn(rig.committer); !rig_is_marked(&rig, first); committer_turn(rig.committer))
        rig_steps(&rig, 1);
    struct rig_call *call = rig_open(&rig);
    struct http_response response = {.written = true, .status = 401, .body = STR("")};
    call->open = false;
    call->done(call->arg, &response);     // its desk is suspended while the mark is on its way
    assert_false(discard_by_hand(first)); // it may be in flight
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DISCARDED);
    dispatcher_resume_desk(rig.dispatcher, on);
    account_unref(on);
    rig_turn(&rig);
    rig_answer(&rig, rig_open(&rig), 500, "");
    rig_answer(&rig, rig_open(&rig), 500, "");
    assert_int_equal(rig_attempts_of(&rig, second), 1);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_PENDING);
    rig_done(&rig);
}

// It was answered that the message is discarded if its attempt fails: nothing has left, and nothing does.
static void test_a_discard_asked_while_the_mark_is_being_stored_sends_nothing(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_set_active(&rig, "acme", false);
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c1", "two");
    const struct account *off = rig_account(&rig, "acme");
    struct account *on = account_copy(off);
    on->active = true;
    directory_put(rig.directory, account_ref(on));
    dispatcher_account_changed(rig.dispatcher, off, on);
    account_unref(off);
    account_unref(on);
    for (committer_turn(rig.committer); !rig_is_marked(&rig, first); committer_turn(rig.committer))
        rig_steps(&rig, 1);
    assert_false(discard_by_hand(first));
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DISCARDED);
    assert_false(rig_is_in_doubt(&rig, first));
    assert_int_equal(rig_open_count(&rig), 1);
    rig_answer(&rig, rig_open(&rig), 500, ""); // of the second one
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_PENDING);
    rig_done(&rig);
}

static void test_nothing_more_is_sent_to_the_desk_that_an_account_has_left(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_set_active(&rig, "acme", false);
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    const struct account *off = rig_account(&rig, "acme");
    struct account *on = account_copy(off), *moved = account_copy(off);
    on->active = moved->active = true;
    moved->desk.api_url = STR("http://other.test");
    directory_put(rig.directory, account_ref(on));
    dispatcher_account_changed(rig.dispatcher, off, on);
    for (committer_turn(rig.committer); !rig_is_marked(&rig, first);
         committer_turn(rig.committer)) // stored, and not yet told
        rig_steps(&rig, 1);
    assert_int_equal(rig.call_count, 0);
    directory_put(rig.directory, account_ref(moved));
    dispatcher_account_changed(rig.dispatcher, on, moved);
    account_unref(off);
    account_unref(on);
    account_unref(moved);
    rig_turn(&rig);
    assert_null(rig_open_with(&rig, "intercom.test"));
    assert_non_null(rig_open_with(&rig, "other.test"));
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_page_is_read_after_the_changes_asked_for_before_it(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 500, ""); // it waits
    struct message *message = rig_message(&rig, first);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_OK);
    message_free(message);
    struct store_outcome outcome = {.message_id = first, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    struct job job = {.kind = JOB_CHANGES, .changes = &change, .change_count = 1, .done = ignore_job};
    assert_true(committer_submit(rig.committer, &job));
    clock_manual_pass(&rig.clock, 5000000);
    rig.fault = (struct store_fault){.err = ERR_BUSY, .after = 0, .once = true}; // the first try of the change
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
    committer_turn(rig.committer);
    rig_turn(&rig);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DISCARDED);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

// A wait longer than the settle time and than what a desk may ask for, where the operator's backoff is: it is believed at a start.
static void test_a_long_backoff_outlives_a_restart(void **state)
{
    (void)state;
    struct rig_options options = {.max_attempts = 20, .retry_cap_ms = INT64_C(3600) * 1000};
    with(options);
    int64_t id = rig_say(&rig, "acme", "c1", "one"), wait_ms = 0;
    for (int i = 0; i < 20 && wait_ms < 360 * 1000; i++) {
        rig_pass(&rig, wait_ms + 1);
        rig_answer(&rig, rig_open(&rig), 500, "");
        struct message *message = rig_message(&rig, id);
        wait_ms = (message->next_attempt_us - rig.clock.wall_us) / 1000;
        message_free(message);
    }
    rig_crash(&rig, &options);
    rig_pass(&rig, wait_ms - 1);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// Its messages are in the store, or were being announced: it is known no more.
static void test_nothing_is_begun_for_an_account_that_was_removed(void **state)
{
    (void)state;
    with((struct rig_options){0});
    rig_set_active(&rig, "acme", false);
    struct message *message = rig_message(&rig, rig_say(&rig, "acme", "c1", "one"));
    directory_remove(rig.directory, message->account_id);
    dispatcher_work(rig.dispatcher, message->account_id, message->source_id, message->lane);
    rig_turn(&rig);
    assert_int_equal(rig_open_count(&rig), 0);
    message_free(message);
    rig_crash(&rig, &(struct rig_options){0}); // and the start reads what waits
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

// What a removal waits for.
static void test_an_account_is_busy_while_any_of_its_lanes_is(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    struct message *message = rig_message(&rig, rig_say(&rig, "acme", "c1", "one"));
    int64_t account = message->account_id;
    message_free(message);
    rig_answer(&rig, rig_open_with(&rig, "one"), 500, "");
    assert_false(dispatcher_is_busy_with(rig.dispatcher, account)); // it waits
    rig_say(&rig, "acme", "c2", "two");
    assert_true(dispatcher_is_busy_with(rig.dispatcher, account));
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_false(dispatcher_is_busy_with(rig.dispatcher, account));
    assert_false(dispatcher_is_busy_with(rig.dispatcher, account + 1));
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next_only_after_the_one_before_is_settled),
        cmocka_unit_test(test_order_account_serves_one_at_a_time_over_all_conversations),
        cmocka_unit_test(test_order_conversation_serves_conversations_side_by_side),
        cmocka_unit_test(test_a_backlog_deeper_than_the_window_keeps_its_order),
        cmocka_unit_test(test_messages_that_come_while_a_backlog_drains_go_behind_it),
        cmocka_unit_test(test_a_failure_is_tried_again_before_the_next),
        cmocka_unit_test(test_five_failures_then_skipped_and_the_next_goes_on),
        cmocka_unit_test(test_a_refusal_is_skipped_at_once),
        cmocka_unit_test(test_on_failure_hold_keeps_the_lane_for_a_person),
        cmocka_unit_test(test_an_outage_counts_nothing_and_resumes_in_order),
        cmocka_unit_test(test_no_answer_counts_when_the_probe_right_after_finds_the_desk_well),
        cmocka_unit_test(test_no_answer_counts_nothing_when_the_probe_fails_too),
        cmocka_unit_test(test_a_desk_without_probe_is_tried_with_one_head_at_a_time),
        cmocka_unit_test(test_429_is_obeyed_until_the_time_it_names),
        cmocka_unit_test(test_five_skips_in_a_row_close_the_desk_and_the_sixth_stays),
        cmocka_unit_test(test_the_guard_outlives_a_crash_and_opens_by_hand),
        cmocka_unit_test(test_a_delivery_between_them_keeps_the_guard_open),
        cmocka_unit_test(test_a_delivery_is_remembered_over_a_crash),
        cmocka_unit_test(test_one_account_does_not_starve_another_at_the_same_desk),
        cmocka_unit_test(test_a_slow_desk_leaves_slots_for_others),
        cmocka_unit_test(test_beside_others_a_busy_desk_leaves_a_quarter_free),
        cmocka_unit_test(test_a_backlog_that_fills_the_memory_leaves_room_for_others),
        cmocka_unit_test(test_lanes_of_a_new_rule_start_when_the_old_ones_are_settled),
        cmocka_unit_test(test_changed_order_waits_for_a_message_tried_again),
        cmocka_unit_test(test_changed_order_and_a_lane_that_is_sending),
        cmocka_unit_test(test_a_look_at_one_change_of_the_order_says_nothing_of_the_next),
        cmocka_unit_test(test_changed_order_goes_on_when_its_last_message_is_discarded_before_it_was_read),
        cmocka_unit_test(test_changed_order_is_over_when_its_last_message_is_discarded_in_an_inactive_account),
        cmocka_unit_test(test_changed_order_outlives_a_restart),
        cmocka_unit_test(test_who_is_behind_a_changed_order_is_no_probe_of_a_desk_that_is_down),
        cmocka_unit_test(test_changed_order_survives_an_outage_and_a_switch),
        cmocka_unit_test(test_deactivated_stops_and_activated_goes_on_in_order),
        cmocka_unit_test(test_switched_off_and_on_while_its_lanes_are_read_forgets_none),
        cmocka_unit_test(test_what_is_discarded_while_its_lane_is_read_is_not_sent),
        cmocka_unit_test(test_what_is_discarded_while_its_page_is_on_its_way_is_not_sent),
        cmocka_unit_test(test_attempts_survive_a_deactivation),
        cmocka_unit_test(test_a_restart_takes_up_the_backlog_in_order),
        cmocka_unit_test(test_item_56_clock_that_is_set_stalls_no_lane),
        cmocka_unit_test(test_the_head_is_marked_before_its_first_request),
        cmocka_unit_test(test_the_next_is_marked_in_the_transaction_that_settles_the_one_before),
        cmocka_unit_test(test_after_a_crash_a_marked_head_is_looked_up_when_it_has_settled),
        cmocka_unit_test(test_a_lost_answer_is_in_doubt_and_found_at_the_desk),
        cmocka_unit_test(test_a_clean_stop_leaves_no_marks),
        cmocka_unit_test(test_a_stop_and_a_switch_let_no_next_request_leave),
        cmocka_unit_test(test_a_failure_that_may_be_the_messages_own_is_recorded_while_the_daemon_stops),
        cmocka_unit_test(test_a_stop_waits_no_longer_for_a_busy_store_than_it_must_and_keeps_the_mark),
        cmocka_unit_test(test_the_next_may_be_discarded_by_hand_while_the_outcome_that_marks_it_is_on_its_way),
        cmocka_unit_test(test_a_marked_message_is_in_no_doubt_when_one_behind_it_is_discarded),
        cmocka_unit_test(test_an_account_that_leaves_a_desk_while_it_is_the_probe_leaves_no_other_behind),
        cmocka_unit_test(test_a_probing_head_cut_by_a_deactivation_taken_back_is_sent_again),
        cmocka_unit_test(test_an_alarm_of_a_desk_that_two_accounts_share_ends_under_the_name_it_began_with),
        cmocka_unit_test(test_a_discard_asked_while_the_failure_is_being_stored_takes_that_message_and_no_other),
        cmocka_unit_test(test_a_discard_asked_while_the_skip_is_being_stored_discards_all_the_same),
        cmocka_unit_test(test_a_discard_asked_before_a_send_that_was_called_off_takes_no_other_message),
        cmocka_unit_test(test_a_discard_asked_while_the_mark_is_being_stored_sends_nothing),
        cmocka_unit_test(test_nothing_more_is_sent_to_the_desk_that_an_account_has_left),
        cmocka_unit_test(test_a_page_is_read_after_the_changes_asked_for_before_it),
        cmocka_unit_test(test_a_long_backoff_outlives_a_restart),
        cmocka_unit_test(test_nothing_is_begun_for_an_account_that_was_removed),
        cmocka_unit_test(test_an_account_is_busy_while_any_of_its_lanes_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
