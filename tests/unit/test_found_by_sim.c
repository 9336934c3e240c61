// What the simulator (tests/sim) found, each as the shortest story that shows it.
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct rig rig;

static void with(struct rig_options options)
{
    rig_init(&rig, &options);
}

static struct message is_now(int64_t id)
{
    struct message *message = rig_message(&rig, id), copy = *message;
    message_free(message);
    return copy;
}

// ---- a changed order rule ----

// With memory for one message, the lane of the rule before could not load its own while one behind it took the room.
static void test_a_lane_that_is_behind_takes_no_room_from_the_one_before(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_ACCOUNT, .memory_messages = 1});
    rig_say(&rig, "acme", "c1", "one");
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    rig_answer(&rig, rig_open_with(&rig, "one"), 500, "");
    rig_say(&rig, "acme", "c2", "two");
    rig_pass(&rig, 5000);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static struct {
    struct account *account;
    int64_t source_ids[1];
    struct store_account_put put;
    struct store_change change;
    struct job job;
} order_change;

static void on_order_stored(struct loop_task *task)
{
    (void)task;
    struct account *account = order_change.account;
    const struct account *before = rig_account(&rig, "acme");
    account->order = order_change.put.order;
    account->order_barrier = order_change.put.order_barrier;
    directory_put(rig.directory, account_ref(account));
    dispatcher_account_changed(rig.dispatcher, before, account);
    account_unref(before);
    account_unref(account);
}

// Both were stored in one transaction, and the lanes heard of the message first.
static void test_a_message_stored_with_the_change_of_the_rule_waits_for_the_ones_before(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    rig_say(&rig, "acme", "c1", "one");
    const struct account *before = rig_account(&rig, "acme");
    order_change.account = account_copy(before);
    order_change.account->order = ORDER_ACCOUNT;
    account_unref(before);
    order_change.put = (struct store_account_put){.account = order_change.account,
                                                  .source_ids = order_change.source_ids};
    order_change.change = (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &order_change.put};
    order_change.job = (struct job){.kind = JOB_CHANGES, .changes = &order_change.change, .change_count = 1};
    rig_submit(&rig, &order_change.job, on_order_stored);
    rig_say(&rig, "acme", "c2", "two");
    assert_null(rig_open_with(&rig, "two"));
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static void resume(void)
{
    const struct account *account = rig_account(&rig, "acme");
    dispatcher_resume_desk(rig.dispatcher, account);
    account_unref(account);
    rig_turn(&rig);
}

static void discard(int64_t id)
{
    struct message *message = rig_message(&rig, id);
    struct store_outcome outcome = {.message_id = id, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), 0);
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
    message_free(message);
}

// The change before was over in the store, and no lane had noticed: what was behind it stood in front of the new barrier
// and was waited for, by itself too.
static void test_a_second_change_of_the_rule_lets_go_what_was_behind_the_first(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    int64_t one = rig_say(&rig, "acme", "c1", "one");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c2", "two");
    assert_null(rig_open_with(&rig, "two"));
    rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_NOT_CONNECTED, false);
    discard(one);
    assert_true(rig_set_order(&rig, "acme", ORDER_CONVERSATION));
    resume();
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_say(&rig, "acme", "c3", "three");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    rig_done(&rig);
}

// ---- what is counted ----

static int64_t say_and_refuse(const char *text)
{
    int64_t id = rig_say(&rig, "acme", "c1", text);
    rig_answer(&rig, rig_open_with(&rig, text), 422, "");
    return id;
}

// Only a delivery or a person sets the count of skips in a row to 0, not a probe that finds the desk well.
static void test_a_recovery_without_a_delivery_does_not_forget_the_skips(void **state)
{
    (void)state;
    with((struct rig_options){0});
    for (int i = 0; i < 4; i++)
        say_and_refuse("refused");
    rig_say(&rig, "acme", "c1", "fifth");
    rig_lose(&rig, rig_open_with(&rig, "fifth"), HTTP_NOT_CONNECTED, false);
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open(&rig), 200, ""); // the probe
    rig_answer(&rig, rig_open_with(&rig, "fifth"), 422, "");
    int64_t sixth = say_and_refuse("sixth");
    assert_int_equal(is_now(sixth).state, MESSAGE_PENDING);
    rig_done(&rig);
}

static void test_a_last_look_up_that_is_refused_is_no_attempt(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom", .max_attempts = 1});
    rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, "{\"type\":\"contact\",\"id\":\"c1\"}");
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200,
               "{\"type\":\"user_message\",\"id\":\"1\",\"conversation_id\":\"9\"}");
    int64_t two = rig_say(&rig, "acme", "c1", "two");
    rig_answer(&rig, rig_open_with(&rig, "two"), 500, "");
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open(&rig), 400, ""); // the look-up
    assert_int_equal(is_now(two).state, MESSAGE_SKIPPED);
    assert_int_equal(is_now(two).attempts, 1);
    assert_true(is_now(two).in_doubt);
    rig_done(&rig);
}

// ---- the look-up ----

// The mark of the process before was all that the store knew of the doubt, and went when the send was called off.
static void test_a_send_that_is_called_off_keeps_the_doubt_of_the_process_before(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    rig_init(&rig, &options);
    rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, "{\"type\":\"contact\",\"id\":\"c1\"}");
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200,
               "{\"type\":\"user_message\",\"id\":\"1\",\"conversation_id\":\"9\"}");
    int64_t two = rig_say(&rig, "acme", "c1", "two");
    assert_non_null(rig_open_with(&rig, "two"));
    rig_crash(&rig, &options);
    clock_manual_pass(&rig.clock, 20 * INT64_C(1000000)); // settled
    dispatcher_tick(rig.dispatcher);
    rig_steps(&rig, 1); // its page is there, and the mark is asked for
    rig_set_active(&rig, "acme", false);
    assert_null(rig_open(&rig));
    assert_true(is_now(two).in_doubt);
    assert_false(is_now(two).in_flight);
    rig_set_active(&rig, "acme", true);
    assert_non_null(rig_open_with(&rig, "?display_as=plaintext"));
    rig_answer(&rig, rig_open(&rig), 500, "");
    rig_done(&rig);
}

static void move_desk(const char *token)
{
    const struct account *before = rig_account(&rig, "acme");
    struct account *now = account_copy(before);
    now->desk.token = arena_str(&now->arena, str_of(token));
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(&rig);
}

// By a clock that was set back its time had not come, though it had waited as long as anything may: the process aborted.
static void test_a_send_that_is_called_off_may_have_to_wait_again(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    rig_init(&rig, &options);
    rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 500, "");
    rig.clock.wall_us -= 3600 * INT64_C(1000000);
    rig_crash(&rig, &options);
    clock_manual_pass(&rig.clock, 20 * INT64_C(1000000)); // settled
    dispatcher_tick(rig.dispatcher);
    rig_steps(&rig, 1); // its page is there, and the mark is asked for
    move_desk("another");
    assert_null(rig_open(&rig));
    rig_pass(&rig, 20000);
    assert_non_null(rig_open(&rig));
    rig_answer(&rig, rig_open(&rig), 500, "");
    rig_done(&rig);
}

static void retry_skipped(int64_t id)
{
    struct message *message = rig_message(&rig, id);
    struct store_retry retry = {.message_id = id};
    struct store_change change = {.kind = STORE_RETRY, .retry = &retry};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    dispatcher_work(rig.dispatcher, message->account_id, message->source_id, retry.lane);
    rig_turn(&rig);
    message_free(message);
}

#define CONVERSATION_9                                                                                                       \
    "{\"type\":\"conversation\",\"id\":\"9\",\"created_at\":1700000100,\"source\":{\"id\":\"1\",\"body\":\"ok\",\"author\":" \
    "{\"type\":\"user\",\"id\":\"c1\"}},\"conversation_parts\":{\"conversation_parts\":[]}}"

// A later message with the same words had begun the conversation: it was taken for this one, which was lost.
static void test_an_equal_text_that_began_the_conversation_is_another_message(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom", .max_attempts = 1});
    int64_t lost = rig_say(&rig, "acme", "c1", "ok");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, "{\"type\":\"contact\",\"id\":\"c1\"}");
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 422, "");
    assert_int_equal(is_now(lost).state, MESSAGE_SKIPPED);
    rig_pass(&rig, 100 * 1000);
    rig_say(&rig, "acme", "c1", "ok");
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200,
               "{\"type\":\"user_message\",\"id\":\"1\",\"conversation_id\":\"9\",\"created_at\":1700000100}");
    retry_skipped(lost);
    rig_answer(&rig, rig_open_with(&rig, "/conversations/9/reply"), 500, "");
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open_with(&rig, "/conversations/9"), 200, CONVERSATION_9);
    rig_answer(&rig, rig_open_with(&rig, "/search"), 200, "{\"conversations\":[" CONVERSATION_9 "]}");
    assert_int_not_equal(is_now(lost).state, MESSAGE_DELIVERED);
    rig_done(&rig);
}

#define CONTACT "{\"type\":\"contact\",\"id\":\"c1\"}"

// It had begun a conversation unseen; then an older one, tried again by hand too, began the one that we know.
static void test_a_late_message_is_sought_beside_the_conversation_that_an_older_one_began(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom", .max_attempts = 1});
    int64_t older = rig_say(&rig, "acme", "c1", "older");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, CONTACT);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 422, "");
    rig_pass(&rig, 100 * 1000);
    int64_t taken = rig_say(&rig, "acme", "c1", "taken");
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 500, "");
    rig_pass(&rig, 2000);
    rig_answer(&rig, rig_open_with(&rig, "/search"), 400, "");
    assert_int_equal(is_now(taken).state, MESSAGE_SKIPPED);
    assert_true(is_now(taken).in_doubt);
    retry_skipped(older);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200,
               "{\"type\":\"user_message\",\"id\":\"5\",\"conversation_id\":\"8\",\"created_at\":1700000000}");
    assert_int_equal(is_now(older).state, MESSAGE_DELIVERED);
    retry_skipped(taken);
    rig_answer(&rig, rig_open_with(&rig, "/conversations/8"), 200,
               "{\"type\":\"conversation\",\"id\":\"8\",\"created_at\":1700000000,\"conversation_parts\":"
               "{\"conversation_parts\":[]}}");
    assert_non_null(rig_open_with(&rig, "/search"));
    rig_answer(
        &rig, rig_open(&rig), 200,
        "{\"conversations\":[{\"id\":\"7\",\"created_at\":1700000100,\"source\":{\"id\":\"4\",\"body\":\"taken\","
        "\"author\":{\"type\":\"user\",\"id\":\"c1\"}}}]}");
    assert_int_equal(is_now(taken).state, MESSAGE_DELIVERED);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lane_that_is_behind_takes_no_room_from_the_one_before),
        cmocka_unit_test(test_a_message_stored_with_the_change_of_the_rule_waits_for_the_ones_before),
        cmocka_unit_test(test_a_second_change_of_the_rule_lets_go_what_was_behind_the_first),
        cmocka_unit_test(test_a_recovery_without_a_delivery_does_not_forget_the_skips),
        cmocka_unit_test(test_a_last_look_up_that_is_refused_is_no_attempt),
        cmocka_unit_test(test_a_send_that_is_called_off_keeps_the_doubt_of_the_process_before),
        cmocka_unit_test(test_a_send_that_is_called_off_may_have_to_wait_again),
        cmocka_unit_test(test_an_equal_text_that_began_the_conversation_is_another_message),
        cmocka_unit_test(test_a_late_message_is_sought_beside_the_conversation_that_an_older_one_began),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
