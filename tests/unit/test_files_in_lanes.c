// What lanes do while files of their messages are fetched, on the relay core over the store in memory (support/rig.h): they wait,
// look again, and nothing of a message is lost or told twice whenever a file comes. The desk is the signed webhook, whose
// messages say what they carry.
#include "support/rig.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

static struct rig rig;

static void with(struct rig_options options)
{
    rig_init(&rig, &options);
}

static int64_t say(const char *text, int files)
{
    return rig_say_with(&rig, "acme", &(struct rig_said){.conversation = "c1", .text = text, .files = files});
}

static int64_t part(const char *text, int files)
{
    return rig_say_with(&rig, "acme",
                        &(struct rig_said){.conversation = "c1", .text = text, .files = files, .album = "a"});
}

// The only open request; its body, which holds this text.
static struct rig_call *sent(const char *text)
{
    assert_int_equal(rig_open_count(&rig), 1);
    struct rig_call *call = rig_open_with(&rig, text);
    assert_non_null(call);
    return call;
}

static bool carries(const struct rig_call *call, const char *text)
{
    return memmem(call->body.p, call->body.n, text, strlen(text)) != NULL;
}

// Its file was fetched, and nothing else happens until the dispatcher has heard of it.
static void settle_unasked(int64_t id)
{
    struct store_file file = {.message_id = id,
                              .state = FILE_KEPT,
                              .hash = str_of(rig_hash('a')),
                              .mime = STR("image/png"),
                              .size = 5,
                              .at_us = rig.clock.wall_us};
    struct store_change change = {.kind = STORE_FILE, .file = &file};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    dispatcher_file_settled(rig.dispatcher, &file);
}

static void take(const char *text)
{
    rig_answer(&rig, sent(text), 200, "");
}

static void nothing_is_sent(void)
{
    assert_int_equal(rig_open_count(&rig), 0);
}

// The account's message that was accepted last.
static void note_latest(void *arg, const struct message *message)
{
    *(int64_t *)arg = message->id;
}

static int64_t latest(void)
{
    int64_t id = 0;
    struct message_filter any = {0};
    assert_int_equal(rig.reader->ops->messages(rig.reader, &any, 0, 1000, note_latest, &id), 0);
    return id;
}

// ---- it waits, and goes as soon as it can ----

static void test_a_message_goes_with_its_files_as_soon_as_they_are_there(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 2);
    say("behind", 0);
    rig_pass(&rig, 5000);
    rig_file(&rig, id, 0, rig_hash('a'));
    nothing_is_sent();
    rig_file(&rig, id, 1, rig_hash('b'));
    struct rig_call *call = sent("look");
    assert_true(carries(call, "/media/a0") && carries(call, "/media/b0"));
    rig_answer(&rig, call, 200, "");
    take("behind");
    nothing_is_sent();
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_message_waits_no_longer_than_it_may(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_pass(&rig, 14999);
    nothing_is_sent();
    rig_pass(&rig, 1);
    struct rig_call *call = sent("look");
    assert_false(carries(call, "/media/"));
    rig_answer(&rig, call, 200, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// Longer than any other wait there is: it was taken for a wait from before the clock was set, and cut to a settle.
static void test_a_long_wait_for_files_is_waited_whole(void **state)
{
    (void)state;
    with((struct rig_options){.media_wait_ms = 600000});
    say("look", 1);
    rig_pass(&rig, 599999);
    nothing_is_sent();
    rig_pass(&rig, 1);
    take("look");
    rig_done(&rig);
}

static void test_a_clock_that_is_set_changes_no_wait_for_files(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 2);
    rig.clock.wall_us += 3600 * INT64_C(1000000);
    rig_pass(&rig, 5000);
    rig_file(&rig, id, 0, rig_hash('a')); // the lane looks again
    rig_pass(&rig, 9000);
    nothing_is_sent();
    rig.clock.wall_us -= 7200 * INT64_C(1000000);
    rig_pass(&rig, 1000);
    assert_true(carries(sent("look"), "/media/a0"));
    take("look");
    rig_done(&rig);
}

// Its turn comes when the time has passed: nobody waits for it once more.
static void test_what_waited_behind_others_waits_no_more(void **state)
{
    (void)state;
    with((struct rig_options){0});
    say("first", 0);
    say("look", 1);
    rig_pass(&rig, 16000);
    take("first");
    take("look");
    rig_done(&rig);
}

static void test_what_waits_in_the_window_waits_at_its_turn(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"}); // whose next head may be marked with the outcome of the one before
    say("first", 0);
    int64_t id = say("look", 1);
    rig_answer(&rig, rig_open(&rig), 200, "{\"type\":\"contact\",\"id\":\"k\"}");
    rig_answer(&rig, rig_open(&rig), 200, "{\"type\":\"user_message\",\"id\":\"m\",\"conversation_id\":\"9\"}");
    assert_false(rig_is_marked(&rig, id));
    nothing_is_sent();
    rig_pass(&rig, 15000);
    assert_int_equal(rig_open_count(&rig), 1);
    assert_true(rig_is_marked(&rig, id));
    rig_done(&rig);
}

static void test_a_failed_file_is_told_and_waited_for_no_longer(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_file(&rig, id, 0, NULL);
    assert_true(carries(sent("look"), "it is gone"));
    take("look");
    nothing_is_sent();
    rig_done(&rig);
}

static void test_the_next_process_goes_on_waiting(void **state)
{
    (void)state;
    struct rig_options options = {0};
    with(options);
    int64_t id = say("look", 1);
    rig_pass(&rig, 5000);
    rig_crash(&rig, &options);
    nothing_is_sent();
    rig_file(&rig, id, 0, rig_hash('a'));
    assert_true(carries(sent("look"), "/media/a0"));
    take("look");
    rig_done(&rig);
}

// ---- it comes while the lane does something else ----

static void test_a_file_that_comes_while_its_message_waits_in_the_window(void **state)
{
    (void)state;
    with((struct rig_options){0});
    say("first", 0);
    int64_t id = say("look", 1);
    say("last", 0);
    rig_pass(&rig, 15000);
    rig_file(&rig, id, 0, rig_hash('a'));
    take("first");
    assert_true(carries(sent("look"), "/media/a0")); // not what was in memory of it
    take("look");
    take("last");
    nothing_is_sent();
    rig_done(&rig);
}

// It waits on for the other one, and what was in memory of it is old all the same.
static void test_the_first_of_two_files_that_comes_while_its_message_waits_in_the_window(void **state)
{
    (void)state;
    with((struct rig_options){0});
    say("first", 0);
    int64_t id = say("look", 2);
    assert_false(rig_file(&rig, id, 0, rig_hash('a')).ready);
    rig_pass(&rig, 15000);
    take("first");
    assert_true(carries(sent("look"), "/media/a0"));
    take("look");
    nothing_is_sent();
    rig_done(&rig);
}

// The attempt goes on with what it has; the file follows.
static void test_a_file_that_comes_during_the_attempt_follows(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    say("behind", 0);
    rig_pass(&rig, 15000);
    struct rig_call *call = sent("look");
    assert_int_equal(rig_file(&rig, id, 0, rig_hash('a')).follow_lane, 0);
    rig_answer(&rig, call, 200, "");
    take("behind"); // was there before
    struct rig_call *follows = sent("/media/a0");
    assert_int_equal(latest(), id + 2);
    rig_answer(&rig, follows, 200, "");
    assert_int_equal(rig_state_of(&rig, id + 2), MESSAGE_DELIVERED);
    nothing_is_sent();
    rig_done(&rig);
}

static void test_what_failed_is_tried_again_with_what_came_meanwhile(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t id = say("look", 1);
    rig_pass(&rig, 15000);
    struct rig_call *call = sent("/contacts");
    rig_file(&rig, id, 0, rig_hash('a'));
    rig_answer(&rig, call, 500, "");
    rig_pass(&rig, 2000);
    rig_answer(&rig, sent("/contacts"), 200, "{\"type\":\"contact\",\"id\":\"k\"}");
    assert_true(carries(sent("look"), "/media/a0"));
    rig_answer(&rig, rig_open(&rig), 200, "{\"type\":\"user_message\",\"id\":\"m\",\"conversation_id\":\"9\"}");
    nothing_is_sent(); // told once
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// Who takes it for a repetition drops it: it is sent as it was, and the file follows.
static void test_what_is_sent_with_the_same_key_again_is_the_same(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_pass(&rig, 15000);
    struct rig_call *call = sent("look");
    rig_file(&rig, id, 0, rig_hash('a'));
    rig_answer(&rig, call, 500, "");
    rig_pass(&rig, 2000);
    assert_false(carries(sent("look"), "/media/a0"));
    take("look");
    take("/media/a0");
    nothing_is_sent();
    rig_done(&rig);
}

// Nor by the process that comes after one which ended before it had an answer: what it was sent without was stored before.
static void test_what_a_crash_left_in_flight_is_sent_without_what_came_since(void **state)
{
    (void)state;
    struct rig_options options = {0};
    with(options);
    int64_t id = say("look", 1);
    rig_pass(&rig, 15000);
    sent("look");
    rig_file(&rig, id, 0, rig_hash('a'));
    rig_crash(&rig, &options);
    assert_false(carries(sent("look"), "/media/a0"));
    take("look");
    take("/media/a0");
    nothing_is_sent();
    rig_done(&rig);
}

static void test_a_file_that_comes_after_its_message_follows_in_order(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_pass(&rig, 15000);
    take("look");
    say("later", 0);
    rig_file(&rig, id, 0, rig_hash('a'));
    say("latest", 0);
    take("later");
    take("/media/a0");
    take("latest");
    nothing_is_sent();
    rig_done(&rig);
}

// Committed first, told first: what is accepted in the next transaction is not sent before it.
static void test_what_follows_keeps_its_place_before_what_is_accepted_next(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_pass(&rig, 15000);
    take("look");
    settle_unasked(id); // its page is wanted
    say("next", 0);
    take("/media/a0");
    take("next");
    rig_done(&rig);
}

static void test_a_file_that_comes_while_the_desk_is_down(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t first = say("first", 0), id = say("look", 1);
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    rig_file(&rig, id, 0, rig_hash('a'));
    nothing_is_sent();
    rig_pass(&rig, 1000);
    rig_answer(&rig, rig_open(&rig), 200, ""); // the probe
    take("first");
    assert_true(carries(sent("look"), "/media/a0"));
    take("look");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// Its head was no probe before its time.
static void test_a_file_lets_its_message_be_the_probe_of_a_desk_without_one(void **state)
{
    (void)state;
    with((struct rig_options){.probe = DESK_PROBE_NONE, .order = ORDER_CONVERSATION});
    int64_t waits = say("look", 1);
    rig_say(&rig, "acme", "c2", "other");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    rig_pass(&rig, 1000);
    rig_lose(&rig, sent("other"), HTTP_NOT_CONNECTED, false);
    rig_file(&rig, waits, 0, rig_hash('a'));
    rig_pass(&rig, 2000);
    take("look"); // long before it would have gone without its file
    take("other");
    rig_done(&rig);
}

static void test_a_file_that_comes_while_the_account_is_inactive(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_set_active(&rig, "acme", false);
    rig_file(&rig, id, 0, rig_hash('a'));
    nothing_is_sent();
    rig_set_active(&rig, "acme", true);
    assert_true(carries(sent("look"), "/media/a0"));
    take("look");
    rig_done(&rig);
}

static void test_a_file_that_comes_between_the_page_and_its_arrival(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = say("look", 1);
    rig_pass(&rig, 14999);
    clock_manual_pass(&rig.clock, 1000);
    dispatcher_tick(rig.dispatcher); // its wait is over, the page is asked for
    rig_file(&rig, id, 0, rig_hash('a'));
    struct rig_call *call = sent("look");
    bool went = carries(call, "/media/a0"); // whichever was first
    rig_answer(&rig, call, 200, "");
    if (!went)
        take("/media/a0");
    nothing_is_sent();
    rig_done(&rig);
}

// A process marks its head in flight first: what is told of meanwhile is not what the attempt has.
static void test_a_send_whose_message_changes_while_it_is_marked_begins_anew(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t id = say("look", 1);
    rig_pass(&rig, 14999);
    clock_manual_pass(&rig.clock, 1000);
    dispatcher_tick(rig.dispatcher);
    rig_steps(&rig, 1); // the page is there, the mark is asked for
    settle_unasked(id);
    rig_turn(&rig);
    assert_true(rig_is_marked(&rig, id));
    rig_answer(&rig, sent("/contacts"), 200, "{\"type\":\"contact\",\"id\":\"k\"}");
    assert_true(carries(sent("look"), "/media/a0"));
    rig_answer(&rig, rig_open(&rig), 200, "{\"type\":\"user_message\",\"id\":\"m\",\"conversation_id\":\"9\"}");
    nothing_is_sent();
    rig_done(&rig);
}

// The next head was marked with the outcome of the one before, and the lane reads it again: the mark is ours, and is taken back.
static void test_what_is_read_again_behind_an_attempt_is_not_taken_for_doubtful(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    say("first", 0);
    int64_t second = say("second", 0), id = say("look", 1);
    rig_answer(&rig, sent("/contacts"), 200, "{\"type\":\"contact\",\"id\":\"k\"}");
    struct rig_call *call = sent("first");
    struct http_response taken = {
        .written = true,
        .status = 200,
        .body = STR("{\"type\":\"user_message\",\"id\":\"m\",\"conversation_id\":\"9\"}"),
    };
    call->open = false;
    call->done(call->arg, &taken); // its outcome is on its way
    settle_unasked(id);
    rig_turn(&rig);
    assert_false(rig_is_in_doubt(&rig, second));
    assert_non_null(sent("second"));
    rig_answer(&rig, rig_open(&rig), 200, "{\"type\":\"conversation\",\"id\":\"9\"}");
    rig_done(&rig);
}

static void test_what_came_behind_a_changed_attempt_is_not_taken_for_doubtful(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t id = say("first", 1);
    rig_pass(&rig, 15000);
    rig_answer(&rig, sent("/contacts"), 200, "{\"type\":\"contact\",\"id\":\"k\"}");
    struct rig_call *call = sent("first");
    settle_unasked(id);
    int64_t second = say("second", 0);
    rig_answer(&rig, call, 200, "{\"type\":\"user_message\",\"id\":\"m\",\"conversation_id\":\"9\"}");
    assert_false(rig_is_in_doubt(&rig, second));
    assert_non_null(sent("second"));
    rig_answer(&rig, rig_open(&rig), 200, "{\"type\":\"conversation\",\"id\":\"9\"}");
    rig_done(&rig);
}

// ---- albums ----

static void test_parts_of_an_album_go_as_one_message(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = part("one", 1);
    assert_int_equal(part("two", 1), id);
    rig_file(&rig, id, 0, rig_hash('a'));
    assert_int_equal(part("", 1), id);
    rig_file(&rig, id, 1, rig_hash('b'));
    rig_file(&rig, id, 2, rig_hash('c'));
    nothing_is_sent(); // there may be another part
    rig_pass(&rig, 1000);
    struct rig_call *call = sent("one\\ntwo");
    assert_true(carries(call, "/media/a0") && carries(call, "/media/b0") && carries(call, "/media/c0"));
    rig_answer(&rig, call, 200, "");
    nothing_is_sent();
    rig_done(&rig);
}

// The wait of the first was over when the second one was stored: a message of its own. If it joined, and the first one's answer were
// lost, the repetition would have its words under a key that the desk knows.
static void test_a_part_that_comes_while_the_first_is_sent_stands_alone(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = part("one", 0);
    clock_manual_pass(&rig.clock, ALBUM_PART_US - 1);
    rig.clock.mono_us += 1; // by the clock of the lane it is time
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
    struct rig_call *call = sent("one");
    assert_true(rig_is_marked(&rig, id));
    int64_t second = part("two", 1);
    assert_int_not_equal(second, id);
    rig_answer(&rig, call, 500, "");
    rig_pass(&rig, 2000);
    assert_false(carries(sent("one"), "two"));
    take("one");
    rig_file(&rig, second, 0, rig_hash('a'));
    rig_pass(&rig, 1000);
    assert_true(carries(sent("two"), "/media/a0"));
    take("two");
    nothing_is_sent();
    rig_done(&rig);
}

// Nor does the next process take it in, nor wait: the key tells the repetition.
static void test_a_part_that_comes_after_a_crash_stands_alone(void **state)
{
    (void)state;
    struct rig_options options = {0};
    with(options);
    int64_t id = part("one", 0);
    clock_manual_pass(&rig.clock, ALBUM_PART_US - 1);
    rig.clock.mono_us += 1;
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
    sent("one");
    rig_crash(&rig, &options);
    assert_int_not_equal(part("two", 0), id);
    rig_pass(&rig, 1);
    assert_false(carries(sent("one"), "two"));
    take("one");
    rig_pass(&rig, 1000);
    take("two");
    nothing_is_sent();
    rig_done(&rig);
}

// The page shows a longer wait than the one that is over.
static void test_a_part_that_joins_while_the_page_is_asked_for_is_waited_for(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = part("one", 0);
    clock_manual_pass(&rig.clock, ALBUM_PART_US - 1);
    rig.clock.mono_us += 1;
    dispatcher_tick(rig.dispatcher); // the page is asked for
    assert_int_equal(part("two", 1), id);
    rig_pass(&rig, 2000);
    nothing_is_sent();
    rig_file(&rig, id, 0, rig_hash('a'));
    assert_true(carries(sent("one\\ntwo"), "/media/a0"));
    take("one");
    rig_done(&rig);
}

static void test_a_part_that_comes_late_is_a_message_of_its_own(void **state)
{
    (void)state;
    with((struct rig_options){0});
    int64_t id = part("one", 0);
    rig_pass(&rig, 1000);
    take("one");
    int64_t second = part("two", 1);
    assert_int_not_equal(second, id);
    rig_file(&rig, second, 0, rig_hash('a'));
    rig_pass(&rig, 1000);
    assert_true(carries(sent("two"), "/media/a0"));
    take("two");
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_goes_with_its_files_as_soon_as_they_are_there),
        cmocka_unit_test(test_a_message_waits_no_longer_than_it_may),
        cmocka_unit_test(test_a_long_wait_for_files_is_waited_whole),
        cmocka_unit_test(test_a_clock_that_is_set_changes_no_wait_for_files),
        cmocka_unit_test(test_what_waited_behind_others_waits_no_more),
        cmocka_unit_test(test_what_waits_in_the_window_waits_at_its_turn),
        cmocka_unit_test(test_a_failed_file_is_told_and_waited_for_no_longer),
        cmocka_unit_test(test_the_next_process_goes_on_waiting),
        cmocka_unit_test(test_a_file_that_comes_while_its_message_waits_in_the_window),
        cmocka_unit_test(test_the_first_of_two_files_that_comes_while_its_message_waits_in_the_window),
        cmocka_unit_test(test_a_file_that_comes_during_the_attempt_follows),
        cmocka_unit_test(test_what_failed_is_tried_again_with_what_came_meanwhile),
        cmocka_unit_test(test_what_is_sent_with_the_same_key_again_is_the_same),
        cmocka_unit_test(test_what_a_crash_left_in_flight_is_sent_without_what_came_since),
        cmocka_unit_test(test_a_file_that_comes_after_its_message_follows_in_order),
        cmocka_unit_test(test_what_follows_keeps_its_place_before_what_is_accepted_next),
        cmocka_unit_test(test_a_file_that_comes_while_the_desk_is_down),
        cmocka_unit_test(test_a_file_lets_its_message_be_the_probe_of_a_desk_without_one),
        cmocka_unit_test(test_a_file_that_comes_while_the_account_is_inactive),
        cmocka_unit_test(test_a_file_that_comes_between_the_page_and_its_arrival),
        cmocka_unit_test(test_a_send_whose_message_changes_while_it_is_marked_begins_anew),
        cmocka_unit_test(test_what_is_read_again_behind_an_attempt_is_not_taken_for_doubtful),
        cmocka_unit_test(test_what_came_behind_a_changed_attempt_is_not_taken_for_doubtful),
        cmocka_unit_test(test_parts_of_an_album_go_as_one_message),
        cmocka_unit_test(test_a_part_that_comes_while_the_first_is_sent_stands_alone),
        cmocka_unit_test(test_a_part_that_comes_after_a_crash_stands_alone),
        cmocka_unit_test(test_a_part_that_joins_while_the_page_is_asked_for_is_waited_for),
        cmocka_unit_test(test_a_part_that_comes_late_is_a_message_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
