// What an attempt's end makes of its message where something else had a hand in it: somebody settled the message meanwhile, its
// account went to another desk, or the desk has neither an idempotency key nor a look-up (none that we have is such; here is one).
// LDFLAGS: -Wl,--wrap=desk_connector_find
#include "desk/desk.h"
#include "relay/lanes.h"
#include "support/intercom_answers.h"
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static struct rig rig;

// ---- a desk that takes messages as they come ----

static struct verdict plain_verdict; // what the next answers come to
static bool leads_in_circles;        // each asks for another request

static void plain_step(struct delivery *attempt, const struct http_response *last, struct delivery_step *out)
{
    bool ends = last && !leads_in_circles;
    *out = (struct delivery_step){.kind = ends ? DELIVERY_END : DELIVERY_SEND, .writes = true};
    if (ends)
        out->verdict = plain_verdict;
    else
        out->request = (struct http_request){
            .method = STR("POST"), .target = STR("http://plain.test/"), .body = attempt->message->text};
}

static const struct desk_connector desk_plain = {.receiver = {.name = "webhook", .step = plain_step}};
static bool is_plain;

const struct desk_connector *__real_desk_connector_find(struct str name);
const struct desk_connector *__wrap_desk_connector_find(struct str name);
const struct desk_connector *__wrap_desk_connector_find(struct str name)
{
    return is_plain ? &desk_plain : __real_desk_connector_find(name);
}

// ---- what the tests say often ----

static void with(const char *desk)
{
    is_plain = strcmp(desk, "plain") == 0;
    leads_in_circles = false;
    rig_init(&rig, &(struct rig_options){.desk = is_plain ? "webhook" : desk});
}

static void done(void)
{
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

// Another hand, at the store: SQL, say. The relay is not told.
static void settle_behind_its_back(int64_t id)
{
    struct store_outcome outcome = {.message_id = id, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    assert_true(outcome.applied);
}

static void on_wake(void *arg)
{
    (void)arg;
}

static uint64_t counted(enum tally_event event)
{
    return rig.tally->messages[event][1][INBOUND] + rig.tally->messages[event][0][INBOUND];
}

// At Intercom, with a conversation: the next message is one reply.
static void begin_at_intercom(void)
{
    with("intercom");
    rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
}

static void take_reply(int part)
{
    char body[600];
    snprintf(body, sizeof body, intercom_part, part);
    rig_answer(&rig, rig_open_with(&rig, "/reply"), 200, body);
}

// ---- settled meanwhile ----

static void test_what_was_settled_meanwhile_is_not_settled_again(void **state)
{
    (void)state;
    static const int statuses[] = {200, 400, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        with("webhook");
        struct news_item news;
        uint64_t missed = 0, at = news_listen(board_news(rig.board), on_wake, NULL);
        int64_t one = rig_say(&rig, "acme", "c1", "one"), two = rig_say(&rig, "acme", "c1", "two");
        settle_behind_its_back(one);
        while (news_read(board_news(rig.board), &at, &missed, &news))
            assert_int_equal(news.kind, NEWS_MESSAGE_ACCEPTED);
        rig_answer(&rig, rig_open_with(&rig, "one"), statuses[i], "");
        assert_false(news_read(board_news(rig.board), &at, &missed, &news)); // none of it is told
        assert_int_equal(rig_state_of(&rig, one), MESSAGE_DISCARDED);
        assert_int_equal(rig_attempts_of(&rig, one), 0);
        assert_int_equal(counted(TALLY_DELIVERED) + counted(TALLY_SKIPPED), 0);
        rig_answer(&rig, rig_open_with(&rig, "two"), 200, ""); // the lane goes on
        assert_int_equal(rig_state_of(&rig, two), MESSAGE_DELIVERED);
        assert_int_equal(counted(TALLY_DELIVERED), 1);
        news_unlisten(board_news(rig.board));
        done();
    }
}

// The mark that was to come with the outcome did not: the next message gets one of its own before it is sent.
static void test_a_mark_that_came_to_nothing_is_made_anew(void **state)
{
    (void)state;
    begin_at_intercom();
    int64_t two = rig_say(&rig, "acme", "c1", "two"), three = rig_say(&rig, "acme", "c1", "three");
    settle_behind_its_back(two);
    take_reply(77);
    assert_non_null(rig_open_with(&rig, "three"));
    assert_true(rig_is_marked(&rig, three));
    take_reply(78);
    assert_int_equal(rig_state_of(&rig, three), MESSAGE_DELIVERED);
    assert_int_equal(rig_state_of(&rig, two), MESSAGE_DISCARDED);
    done();
}

static void test_a_discard_of_what_was_settled_meanwhile_is_over_with_the_attempt(void **state)
{
    (void)state;
    with("webhook");
    int64_t one = rig_say(&rig, "acme", "c1", "one"), two = rig_say(&rig, "acme", "c1", "two");
    struct message *message = rig_message(&rig, one);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_BUSY);
    message_free(message);
    settle_behind_its_back(one);
    rig_answer(&rig, rig_open_with(&rig, "one"), 500, "");
    assert_int_equal(counted(TALLY_DISCARDED), 0);
    rig_answer(&rig, rig_open_with(&rig, "two"), 500, ""); // it was not meant
    assert_int_equal(rig_state_of(&rig, two), MESSAGE_PENDING);
    done();
}

// The discard comes while the failure is being stored, and both come too late.
static void test_a_discard_beside_an_outcome_that_was_settled_meanwhile_is_over_too(void **state)
{
    (void)state;
    with("webhook");
    int64_t one = rig_say(&rig, "acme", "c1", "one"), two = rig_say(&rig, "acme", "c1", "two");
    struct message *message = rig_message(&rig, one);
    struct rig_call *call = rig_open_with(&rig, "one");
    call->open = false;
    call->done(call->arg, &(struct http_response){.written = true, .status = 500}); // on its way to the committer
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_BUSY);
    message_free(message);
    settle_behind_its_back(one);
    uint64_t transactions = rig.tally->commit.count;
    rig_turn(&rig);
    assert_int_equal(rig.tally->commit.count, transactions + 1); // no second one
    assert_int_equal(counted(TALLY_DISCARDED), 0);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_state_of(&rig, two), MESSAGE_DELIVERED);
    done();
}

// ---- another desk ----

// In doubt at a desk with look-ups, and then the account goes to one that has none: it is sent, and counted as such.
static void test_a_doubt_of_a_desk_that_was_left_is_sent_again_and_counted(void **state)
{
    (void)state;
    begin_at_intercom();
    int64_t two = rig_say(&rig, "acme", "c1", "two");
    rig_lose(&rig, rig_open_with(&rig, "/reply"), HTTP_TIMEOUT, true);
    rig_answer(&rig, rig_open_with(&rig, "/me"), 200, "{\"type\":\"admin\",\"id\":\"1\"}"); // it was the message
    assert_true(rig_is_in_doubt(&rig, two));
    const struct account *before = rig_account(&rig, "acme");
    struct account *now = account_copy(before);
    now->desk = (struct desk){.platform = STR("webhook"),
                              .url = STR("http://desk.test/acme"),
                              .secret = STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")};
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_pass(&rig, 20000);
    rig_answer(&rig, rig_open_with(&rig, "two"), 500, "");
    assert_false(rig_is_in_doubt(&rig, two)); // this desk knows a repetition by its key
    rig_pass(&rig, 20000);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    assert_int_equal(rig_state_of(&rig, two), MESSAGE_DELIVERED);
    assert_int_equal(rig.tally->in_doubt[DOUBT_RESENT], 1);
    assert_int_equal(rig.tally->in_doubt[DOUBT_FOUND] + rig.tally->in_doubt[DOUBT_NOT_FOUND], 0);
    done();
}

// ---- neither key nor look-up ----

static void test_without_a_look_up_the_last_failure_is_the_end_and_the_doubt_is_shown(void **state)
{
    (void)state;
    with("plain");
    plain_verdict = (struct verdict){.kind = VERDICT_RETRY, .maybe_applied = true, .error = STR("broken")};
    int64_t one = rig_say(&rig, "acme", "c1", "one");
    for (int attempts = 1; attempts <= 5; attempts++) {
        assert_int_equal(rig_state_of(&rig, one), MESSAGE_PENDING);
        rig_answer(&rig, rig_open_with(&rig, "one"), 500, "");
        assert_int_equal(rig_attempts_of(&rig, one), attempts);
        rig_pass(&rig, 60000);
    }
    assert_int_equal(rig_state_of(&rig, one), MESSAGE_SKIPPED);
    assert_true(rig_is_in_doubt(&rig, one));
    assert_int_equal(rig.tally->in_doubt[DOUBT_RESENT], 4);
    done();
}

// What came without an answer settles first, and waits longer when more was asked for.
static void test_an_uncounted_wait_is_the_longer_of_what_was_asked_and_the_settle_time(void **state)
{
    (void)state;
    for (int asked_s = 5; asked_s <= 65; asked_s += 60) {
        with("plain");
        plain_verdict = (struct verdict){.kind = VERDICT_WAIT,
                                         .maybe_applied = true,
                                         .unanswered = true,
                                         .until_us = rig.clock.wall_us + asked_s * INT64_C(1000000)};
        rig_say(&rig, "acme", "c1", "one");
        rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
        int64_t wait_ms = asked_s > 15 ? asked_s * 1000 : 15000;
        rig_pass(&rig, wait_ms - 1);
        assert_null(rig_open(&rig));
        rig_pass(&rig, 1);
        assert_non_null(rig_open(&rig));
        plain_verdict = (struct verdict){.kind = VERDICT_DELIVERED};
        done();
    }
}

static void test_a_desk_that_leads_in_circles_has_failed_after_40_requests(void **state)
{
    (void)state;
    with("plain");
    leads_in_circles = true;
    int64_t one = rig_say(&rig, "acme", "c1", "one");
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
    assert_int_equal(rig.call_count, 40);
    assert_int_equal(rig_attempts_of(&rig, one), 1);
    assert_int_equal(rig_state_of(&rig, one), MESSAGE_PENDING);
    leads_in_circles = false;
    plain_verdict = (struct verdict){.kind = VERDICT_DELIVERED};
    rig_pass(&rig, 2000);
    done();
}

// ---- the customer's picture ----

// Of a first message that is delivered: whether the picture of its customer is due then.
static int avatars_due(const struct rig_options *options, const struct rig_said *said)
{
    is_plain = false;
    rig_init(&rig, options);
    int64_t id = rig_say_with(&rig, "acme", said);
    while (rig_open(&rig)) {
        const char *body = rig_open_with(&rig, "/conversations") ? intercom_created : intercom_contact;
        assert_int_equal(rig.avatars_due, 0); // nothing before it is delivered
        rig_answer(&rig, rig_open(&rig), 200, body);
    }
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    int due = rig.avatars_due;
    struct arena arena = {0};
    struct store_avatars ask = {.limit = 9, .arena = &arena};
    assert_int_equal(rig.store->ops->due_avatars(rig.store, &ask), 0);
    assert_int_equal(ask.count, due);
    if (due) {
        assert_int_equal(ask.due->account_id, 1);
        assert_str(ask.due->link.contact, "6657adde6abd0167d9419d00");
    }
    arena_done(&arena);
    rig_done(&rig);
    return due;
}

static void test_a_picture_is_due_where_it_can_be_shown(void **state)
{
    (void)state;
    struct rig_options telegram = {.desk = "intercom", .source = "telegram"};
    struct rig_said said = {.conversation = "77", .text = "hello", .who = "Ann"};
    assert_int_equal(avatars_due(&telegram, &said), 1);
    struct rig_options closed = telegram, site = telegram, webhook = telegram;
    closed.no_public_url = true;
    site.source = NULL;
    webhook.desk = "webhook";
    assert_int_equal(avatars_due(&closed, &said), 0);
    assert_int_equal(avatars_due(&site, &said), 0);
    assert_int_equal(avatars_due(&webhook, &said), 0);
    struct rig_said nobody = said, group = said;
    nobody.who = NULL;
    group.group = "All of us";
    assert_int_equal(avatars_due(&telegram, &nobody), 0);
    assert_int_equal(avatars_due(&telegram, &group), 0);
}

static void test_a_message_that_is_not_delivered_makes_no_picture_due(void **state)
{
    (void)state;
    is_plain = false;
    rig_init(&rig, &(struct rig_options){.desk = "intercom", .source = "telegram", .max_attempts = 1});
    int64_t id = rig_say_with(&rig, "acme", &(struct rig_said){.conversation = "77", .text = "hello", .who = "Ann"});
    rig_answer(&rig, rig_open(&rig), 200, intercom_contact);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 422, "{}");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    assert_int_equal(rig.avatars_due, 0);
    rig_done(&rig);
}

// An agent's reply is the other way.
static void test_a_reply_makes_no_picture_due(void **state)
{
    (void)state;
    is_plain = false;
    rig_init(&rig, &(struct rig_options){.desk = "intercom", .source = "telegram"});
    rig_say_with(&rig, "acme", &(struct rig_said){.conversation = "77", .text = "hello", .who = "Ann"});
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200,
                   rig_open_with(&rig, "/conversations") ? intercom_created : intercom_contact);
    struct store_avatar none = {.conversation_id = 1};
    struct store_change change = {.kind = STORE_AVATAR, .avatar = &none};
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0); // never asked for
    assert_true(none.applied);
    int64_t reply = rig_reply(&rig, "acme", "77", "hi");
    rig_answer(&rig, rig_open(&rig), 200, "{\"ok\":true,\"result\":{\"message_id\":5}}");
    assert_int_equal(rig_state_of(&rig, reply), MESSAGE_DELIVERED);
    assert_int_equal(rig.avatars_due, 1);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_settled_meanwhile_is_not_settled_again),
        cmocka_unit_test(test_a_mark_that_came_to_nothing_is_made_anew),
        cmocka_unit_test(test_a_discard_of_what_was_settled_meanwhile_is_over_with_the_attempt),
        cmocka_unit_test(test_a_discard_beside_an_outcome_that_was_settled_meanwhile_is_over_too),
        cmocka_unit_test(test_a_doubt_of_a_desk_that_was_left_is_sent_again_and_counted),
        cmocka_unit_test(test_without_a_look_up_the_last_failure_is_the_end_and_the_doubt_is_shown),
        cmocka_unit_test(test_an_uncounted_wait_is_the_longer_of_what_was_asked_and_the_settle_time),
        cmocka_unit_test(test_a_desk_that_leads_in_circles_has_failed_after_40_requests),
        cmocka_unit_test(test_a_picture_is_due_where_it_can_be_shown),
        cmocka_unit_test(test_a_message_that_is_not_delivered_makes_no_picture_due),
        cmocka_unit_test(test_a_reply_makes_no_picture_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
