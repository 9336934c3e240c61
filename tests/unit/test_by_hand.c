// What a person asks of a message (relay/by_hand.c): the looks, the change, and what is answered.
#include "relay/by_hand.h"
#include "support/rig.h"
#include "support/unit.h"

#include <string.h>

static struct rig rig;
static struct by_hand_ports ports;
static bool going_down;

static bool submit(void *arg, struct job *job)
{
    (void)arg;
    if (!going_down)
        rig_submit(&rig, job, job->task.run);
    return !going_down;
}

static void begin(struct rig_options options)
{
    rig_init(&rig, &options);
    going_down = false;
    ports = (struct by_hand_ports){
        .submit = submit,
        .dispatcher = rig.dispatcher,
        .reader = rig.reader,
        .directory = rig.directory,
        .board = rig.board,
        .tally = rig.tally,
        .clock = &rig.clock.clock,
        .settle_ms = 15000,
    };
}

struct asked {
    struct by_hand hand; // first
    bool answered;
    int err;
};

static void on_answered(struct by_hand *hand, int err)
{
    struct asked *asked = (struct asked *)hand;
    assert_false(asked->answered);
    asked->answered = true;
    asked->err = err;
}

static int retry(int64_t id)
{
    struct asked asked = {.hand.answered = on_answered};
    by_hand_retry(&asked.hand, &ports, id);
    rig_turn(&rig);
    assert_true(asked.answered);
    return asked.err;
}

static int discard(int64_t id)
{
    struct asked asked = {.hand.answered = on_answered};
    by_hand_discard(&asked.hand, &ports, id);
    rig_turn(&rig);
    assert_true(asked.answered);
    return asked.err;
}

static int64_t skipped(const char *text)
{
    int64_t id = rig_say(&rig, "acme", "c1", text);
    rig_answer(&rig, rig_open_with(&rig, text), 400, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    return id;
}

static void remove_account(void)
{
    const struct account *account = rig_account(&rig, "acme");
    struct store_account_gone gone = {.account_id = account->id};
    struct store_change change = {.kind = STORE_ACCOUNT_GONE, .account_gone = &gone};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    assert_true(gone.applied);
    account_unref(account);
}

// It was answered as if all were well, and nothing had changed.
static void test_a_skipped_message_of_a_removed_account_cannot_be_retried_but_discarded(void **state)
{
    (void)state;
    begin((struct rig_options){0});
    int64_t id = skipped("one");
    remove_account();
    assert_int_equal(retry(id), ERR_REFUSED);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    assert_int_equal(discard(id), ERR_OK);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DISCARDED);
    rig_done(&rig);
}

static void test_who_waits_keeps_its_attempts_and_who_was_held_begins_anew(void **state)
{
    (void)state;
    begin((struct rig_options){.on_failure = ON_FAILURE_HOLD, .max_attempts = 2});
    int64_t id = rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 500, "");
    assert_int_equal(retry(id), ERR_OK);
    rig_answer(&rig, rig_open(&rig), 500, "");
    assert_int_equal(rig_attempts_of(&rig, id), 2); // and held
    assert_int_equal(retry(id), ERR_OK);
    rig_answer(&rig, rig_open(&rig), 500, "");
    assert_int_equal(rig_attempts_of(&rig, id), 1);
    rig_pass(&rig, 60 * 1000);
    rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_asking_twice_does_nothing_more(void **state)
{
    (void)state;
    begin((struct rig_options){0});
    int64_t id = skipped("one");
    struct asked first = {.hand.answered = on_answered}, second = {.hand.answered = on_answered};
    by_hand_retry(&first.hand, &ports, id);
    by_hand_retry(&second.hand, &ports, id); // both saw it skipped
    rig_turn(&rig);
    assert_true(first.answered && second.answered);
    assert_int_equal(first.err, ERR_OK);
    assert_int_equal(second.err, ERR_OK);
    assert_int_equal(discard(id), ERR_BUSY);
    rig_answer(&rig, rig_open_with(&rig, "one"), 400, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DISCARDED);
    assert_int_equal(discard(id), ERR_OK);
    assert_int_equal(retry(id), ERR_REFUSED);
    rig_done(&rig);
}

static void test_one_that_waits_is_tried_now_and_one_in_flight_is_not_tried_twice(void **state)
{
    (void)state;
    begin((struct rig_options){0});
    int64_t id = rig_say(&rig, "acme", "c1", "one");
    assert_int_equal(retry(id), ERR_OK); // in flight: nothing to do
    assert_int_equal(rig_open_count(&rig), 1);
    rig_answer(&rig, rig_open(&rig), 500, "");
    assert_null(rig_open(&rig));
    assert_int_equal(retry(id), ERR_OK);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    assert_int_equal(retry(id), ERR_REFUSED);
    assert_int_equal(discard(id), ERR_REFUSED);
    rig_done(&rig);
}

static void test_one_that_was_held_begins_anew(void **state)
{
    (void)state;
    begin((struct rig_options){.on_failure = ON_FAILURE_HOLD});
    int64_t id = rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 400, "");
    assert_int_equal(rig_attempts_of(&rig, id), 1);
    assert_int_equal(retry(id), ERR_OK);
    assert_int_equal(rig_attempts_of(&rig, id), 0);
    rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
    rig_done(&rig);
}

static void test_what_cannot_be_done_is_said(void **state)
{
    (void)state;
    begin((struct rig_options){0});
    assert_int_equal(retry(77), ERR_NOT_FOUND);
    assert_int_equal(discard(77), ERR_NOT_FOUND);
    int64_t id = skipped("one");
    going_down = true;
    assert_int_equal(retry(id), ERR_CLOSED);
    assert_int_equal(discard(id), ERR_CLOSED);
    ports.reader = NULL;
    assert_int_equal(retry(id), ERR_IO);
    rig_done(&rig);
}

// The reader shows what is committed, and the disk may not have it yet.
static void test_what_was_read_as_discarded_is_answered_by_way_of_the_committer(void **state)
{
    (void)state;
    begin((struct rig_options){.order = ORDER_CONVERSATION});
    int64_t id = skipped("once");
    assert_int_equal(discard(id), ERR_OK);
    struct asked asked = {.hand.answered = on_answered};
    by_hand_discard(&asked.hand, &ports, id);
    assert_false(asked.answered);
    rig_turn(&rig);
    assert_true(asked.answered);
    assert_int_equal(asked.err, ERR_OK);
    going_down = true;
    assert_int_equal(discard(id), ERR_CLOSED);
    rig_done(&rig);
}

// ---- replies ----

static const char blocked[] =
    "{\"ok\":false,\"error_code\":403,\"description\":\"Forbidden: bot was blocked by the user\"}";
static const char sent[] = "{\"ok\":true,\"result\":{\"message_id\":7}}";

static int64_t reply_to_someone(const char *text)
{
    begin((struct rig_options){.source = "telegram"});
    rig_say(&rig, "acme", "5", "hello");
    rig_answer(&rig, rig_open_with(&rig, "hello"), 200, "");
    return rig_reply(&rig, "acme", "5", text);
}

static void test_a_skipped_reply_that_is_retried_goes_to_the_platform_behind_what_came_since(void **state)
{
    (void)state;
    int64_t id = reply_to_someone("first");
    rig_answer(&rig, rig_open_with(&rig, "first"), 403, blocked);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    rig_answer(&rig, rig_open_with(&rig, "the customer has blocked the bot"), 200, ""); // the note
    rig_reply(&rig, "acme", "5", "second");
    assert_int_equal(retry(id), ERR_OK);
    rig_pass(&rig, 100); // so many a second for the bot
    rig_answer(&rig, rig_open_with(&rig, "second"), 200, sent);
    rig_pass(&rig, 100);
    rig_answer(&rig, rig_open_with(&rig, "first"), 200, sent);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    assert_int_equal(rig_open_count(&rig), 0); // and no agent is told of it
    rig_done(&rig);
}

static void test_a_reply_that_waits_is_discarded_and_the_next_goes(void **state)
{
    (void)state;
    int64_t id = reply_to_someone("first");
    rig_answer_with(&rig, rig_open_with(&rig, "first"), 429, "Retry-After", "100",
                    "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\"}");
    rig_reply(&rig, "acme", "5", "second");
    assert_null(rig_open(&rig));
    assert_int_equal(discard(id), ERR_OK);
    assert_int_equal(rig.tally->messages[TALLY_DISCARDED][0][REPLY], 1);
    rig_pass(&rig, 100); // so many a second for the bot
    rig_answer(&rig, rig_open_with(&rig, "second"), 200, sent);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_read_as_discarded_is_answered_by_way_of_the_committer),
        cmocka_unit_test(test_a_skipped_message_of_a_removed_account_cannot_be_retried_but_discarded),
        cmocka_unit_test(test_who_waits_keeps_its_attempts_and_who_was_held_begins_anew),
        cmocka_unit_test(test_asking_twice_does_nothing_more),
        cmocka_unit_test(test_one_that_waits_is_tried_now_and_one_in_flight_is_not_tried_twice),
        cmocka_unit_test(test_one_that_was_held_begins_anew),
        cmocka_unit_test(test_what_cannot_be_done_is_said),
        cmocka_unit_test(test_a_skipped_reply_that_is_retried_goes_to_the_platform_behind_what_came_since),
        cmocka_unit_test(test_a_reply_that_waits_is_discarded_and_the_next_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
