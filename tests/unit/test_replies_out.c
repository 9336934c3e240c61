// Replies on their way to the platform: the dispatcher's promise, with who takes them being the bot of a source. The platform here
// has neither an idempotency key nor a look-up and takes one message a second in a chat, at most three at once, as Telegram does.
// LDFLAGS: -Wl,--wrap=platform_find
#include "platform/platform.h"
#include "relay/lane_view.h"
#include "relay/lanes.h"
#include "relay/note.h"
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static struct rig rig;

// ---- a platform ----

static void chat_step(struct delivery *delivery, const struct http_response *last, struct delivery_step *out)
{
    const struct message *message = delivery->message;
    struct arena *arena = delivery->arena;
    struct str chat = message->address.p ? message->address : message->conversation;
    *out = (struct delivery_step){.kind = DELIVERY_END};
    if (last && last->status == 400 && str_starts(last->body, STR("moved to "))) {
        delivery->moved_to = arena_str(arena, str_sub(last->body, 9, last->body.n));
        chat = delivery->moved_to;
        last = NULL;
    }
    if (!last) {
        out->kind = DELIVERY_SEND;
        out->writes = true;
        out->request = (struct http_request){
            .method = STR("POST"),
            .target = ARENA_JOIN(arena, STR("http://chat.test/"), delivery->source->token, STR("/"), chat),
            .body = message->text,
        };
        return;
    }
    out->verdict = verdict_of(last, true, delivery->now_us, arena);
    if (last->status == 403) {
        out->verdict.kind = VERDICT_REJECTED;
        out->verdict.of_chat = true;
        out->verdict.alarm = false;
        out->verdict.error = STR("the customer has blocked the bot");
    } else if (last->status == 429) {
        out->verdict.kind = VERDICT_WAIT;
        out->verdict.limited = true;
    }
}

static bool chat_probe(const struct account *account, const struct source *source, struct arena *arena,
                       struct http_request *out)
{
    (void)account;
    *out = (struct http_request){.method = STR("GET"),
                                 .target = ARENA_JOIN(arena, STR("http://chat.test/"), source->token, STR("/me"))};
    return true;
}

static struct verdict chat_probe_verdict(const struct http_response *response, int64_t now_us, struct arena *arena)
{
    return verdict_of(response, false, now_us, arena);
}

static struct receiver chat_receiver = {
    .name = "chat",
    .pace_us = 1000000,
    .pace_burst = 3,
    .step = chat_step,
    .probe = chat_probe,
    .probe_verdict = chat_probe_verdict,
};
static const struct platform chat = {.name = "telegram", .receiver = &chat_receiver};

const struct platform *__real_platform_find(struct str name);
const struct platform *__wrap_platform_find(struct str name);
const struct platform *__wrap_platform_find(struct str name)
{
    return str_eq_c(name, "telegram") ? &chat : __real_platform_find(name);
}

// ---- what the tests say often ----

static void with(struct rig_options options)
{
    if (!options.source)
        options.source = "telegram";
    chat_receiver.rate_per_min = 0;
    rig_init(&rig, &options);
}

// Each customer has written once, and the desk has it.
static void said(const char *const *conversations)
{
    for (; *conversations; conversations++) {
        rig_say(&rig, "acme", *conversations, "hello");
        rig_answer(&rig, rig_open_with(&rig, "hello"), 200, "");
    }
}
#define SAID(...) said((const char *const[]){__VA_ARGS__, NULL})

static void answer(const char *text, int status)
{
    struct rig_call *call = rig_open_with(&rig, text);
    assert_non_null(call);
    rig_answer(&rig, call, status, "");
}

static void lose(const char *text)
{
    rig_lose(&rig, rig_open_with(&rig, text), HTTP_TIMEOUT, true);
    answer("/me", 200); // the bot is well: it was the message
}

// The desk takes the note that begins so.
static void take_note(const char *words)
{
    answer(words, 200);
}

static int states_of(const int64_t *ids, int count, enum message_state state)
{
    int found = 0;
    for (int i = 0; i < count; i++)
        found += rig_state_of(&rig, ids[i]) == state;
    return found;
}

static bool is_held(int64_t id)
{
    struct message *message = rig_message(&rig, id);
    bool held = message->next_attempt_us == MESSAGE_HELD;
    message_free(message);
    return held;
}

static void assert_view(int64_t id, enum lane_state state, enum lane_wait waits_for)
{
    struct message *message = rig_message(&rig, id);
    struct lane_view view = {.account_id = message->account_id, .lane = message->lane};
    lane_view_fill(rig.dispatcher, &view);
    lane_view_judge(&view, message);
    message_free(message);
    assert_int_equal(view.state, state);
    assert_int_equal(view.waits_for, waits_for);
    assert_int_equal(view.until_us > rig.clock.wall_us, waits_for == LANE_WAITS_PACE);
}

static bool bot_is_suspended(void)
{
    char text[128];
    struct board_desk health;
    const struct account *account = rig_account(&rig, "acme");
    board_desk_get(rig.board, source_identity(&account->sources[0]), &health, text, sizeof text);
    account_unref(account);
    return health.suspended;
}

static void pass_to_the_end(void)
{
    for (int i = 0; i < 100; i++) {
        while (rig_open(&rig))
            rig_answer(&rig, rig_open(&rig), 200, "");
        rig_pass(&rig, 1000);
    }
    rig_done(&rig);
}

// ---- lanes of their own ----

static void test_replies_go_one_by_one_in_each_chat_and_beside_what_customers_say(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2");
    int64_t inbound = rig_say(&rig, "acme", "c1", "question");
    int64_t first = rig_reply(&rig, "acme", "c1", "first");
    rig_reply(&rig, "acme", "c1", "second");
    rig_reply(&rig, "acme", "c2", "other");
    assert_non_null(rig_open_with(&rig, "question"));
    assert_non_null(rig_open_with(&rig, "12345:token/c1"));
    assert_non_null(rig_open_with(&rig, "12345:token/c2"));
    assert_null(rig_open_with(&rig, "second"));
    answer("first", 200);
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_DELIVERED);
    assert_int_equal(rig_state_of(&rig, inbound), MESSAGE_PENDING);
    answer("second", 200);
    answer("other", 200);
    answer("question", 200);
    assert_int_equal(rig_open_count(&rig), 0); // success is silent
    assert_int_equal(rig.tally->messages[TALLY_DELIVERED][0][REPLY], 3);
    rig_done(&rig);
}

static void test_a_reply_is_marked_before_it_leaves_and_the_mark_goes_with_its_outcome(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "first");
    assert_true(rig_is_marked(&rig, id));
    answer("first", 200);
    assert_false(rig_is_marked(&rig, id));
    rig_done(&rig);
}

static void test_a_changed_order_of_what_customers_say_holds_no_reply_up(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    SAID("c1");
    rig_say(&rig, "acme", "c1", "old");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c1", "new");
    assert_null(rig_open_with(&rig, "new"));
    int64_t reply = rig_reply(&rig, "acme", "c1", "reply");
    answer("reply", 200);
    assert_int_equal(rig_state_of(&rig, reply), MESSAGE_DELIVERED);
    pass_to_the_end();
}

// The inbound lanes waited for a reply, too, and nobody looked again when it was settled.
static void test_a_changed_order_does_not_wait_for_replies(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    SAID("c1");
    rig_reply(&rig, "acme", "c1", "reply");
    rig_say(&rig, "acme", "c1", "old");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c1", "new");
    assert_null(rig_open_with(&rig, "new"));
    answer("old", 200);
    answer("new", 200);
    answer("reply", 200);
    rig_done(&rig);
}

static void test_a_reply_that_is_held_holds_no_changed_order_up(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .on_failure = ON_FAILURE_HOLD});
    SAID("c1");
    int64_t reply = rig_reply(&rig, "acme", "c1", "blocked");
    answer("blocked", 403);
    take_note("is held");
    assert_true(is_held(reply));
    rig_say(&rig, "acme", "c1", "old");
    assert_true(rig_set_order(&rig, "acme", ORDER_ACCOUNT));
    rig_say(&rig, "acme", "c1", "new");
    answer("old", 200);
    answer("new", 200);
    rig_done(&rig);
}

static void test_replies_of_an_inactive_account_wait_and_go_on_where_they_stopped(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2");
    rig_reply(&rig, "acme", "c1", "first");
    const struct account *account = rig_account(&rig, "acme");
    assert_true(dispatcher_is_busy_with(rig.dispatcher, account->id));
    rig_set_active(&rig, "acme", false);
    rig_reply(&rig, "acme", "c1", "second");
    rig_reply(&rig, "acme", "c2", "other");
    answer("first", 200); // was in flight
    assert_false(dispatcher_is_busy_with(rig.dispatcher, account->id));
    account_unref(account);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_set_active(&rig, "acme", true);
    answer("second", 200);
    answer("other", 200);
    rig_done(&rig);
}

static void test_replies_of_an_earlier_process_are_taken_up(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    rig_set_active(&rig, "acme", false);
    rig_reply(&rig, "acme", "c1", "first");
    rig_set_active(&rig, "acme", true);
    answer("first", 200);
    rig_set_active(&rig, "acme", false);
    rig_reply(&rig, "acme", "c1", "second");
    rig_crash(&rig, &(struct rig_options){.source = "telegram"});
    rig_set_active(&rig, "acme", true);
    answer("second", 200);
    rig_done(&rig);
}

// ---- nobody takes them ----

static void test_a_reply_to_a_source_that_takes_none_is_refused_and_its_agent_reads_why(void **state)
{
    (void)state;
    with((struct rig_options){.source = "webhook", .on_failure = ON_FAILURE_HOLD}); // no person could help
    SAID("c1");
    int64_t ids[6];
    for (int i = 0; i < 6; i++)
        ids[i] = rig_reply(&rig, "acme", "c1", "to nobody");
    for (int i = 0; i < 6; i++)
        take_note("replies cannot be sent to customers on this channel (shop)");
    assert_int_equal(states_of(ids, 6, MESSAGE_SKIPPED), 6);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void has_no_source(struct account *account)
{
    account->source_count = 0;
}

static void test_replies_to_a_source_that_is_removed_are_refused(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    rig_reply(&rig, "acme", "c1", "first");
    int64_t second = rig_reply(&rig, "acme", "c1", "second");
    rig_change(&rig, "acme", has_no_source);
    answer("first", 200);
    assert_int_equal(rig_state_of(&rig, second), MESSAGE_SKIPPED);
    take_note("no longer connected");
    rig_done(&rig);
}

static void test_the_alarm_of_a_bot_ends_when_its_source_is_removed(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "first");
    answer("first", 401);
    assert_int_equal(rig_alarms(&rig, "bot_refuses"), 1);
    rig_change(&rig, "acme", has_no_source);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_int_equal(board_desks_suspended(rig.board), 0);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    take_note("no longer connected");
    rig_done(&rig);
}

// ---- the bot as a whole ----

static void has_another_token(struct account *account)
{
    account->sources[0].token = STR("12345:other");
}

static void test_a_bot_that_is_refused_waits_for_a_person_and_the_desk_does_not(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2");
    int64_t first = rig_reply(&rig, "acme", "c1", "first");
    answer("first", 401);
    assert_true(bot_is_suspended());
    assert_int_equal(rig_alarms(&rig, "bot_refuses"), 1);
    assert_int_equal(rig_alarms(&rig, NULL), 1);
    assert_int_equal(rig_attempts_of(&rig, first), 0);
    rig_reply(&rig, "acme", "c2", "other");
    assert_null(rig_open_with(&rig, "other"));
    struct account_view view = {.account_id = 1};
    account_view_fill(rig.dispatcher, &view);
    assert_int_equal(view.lanes_in_state[LANE_SUSPENDED], 2);
    int64_t inbound = rig_say(&rig, "acme", "c1", "question");
    answer("question", 200);
    assert_int_equal(rig_state_of(&rig, inbound), MESSAGE_DELIVERED);
    rig_pass(&rig, 2000);
    answer("12345:token/me", 401); // probed as a desk is
    rig_change(&rig, "acme", has_another_token);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    answer("12345:other/c1", 200);
    answer("12345:other/c2", 200);
    assert_false(bot_is_suspended());
    rig_done(&rig);
}

static void test_a_person_resumes_a_bot_with_the_desk_of_its_account(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    rig_reply(&rig, "acme", "c1", "first");
    answer("first", 401);
    const struct account *account = rig_account(&rig, "acme");
    dispatcher_resume_desk(rig.dispatcher, account);
    account_unref(account);
    rig_turn(&rig);
    assert_false(bot_is_suspended());
    answer("first", 200);
    rig_done(&rig);
}

static void test_chats_that_refuse_a_bot_are_skipped_and_the_guard_does_not_count_them(void **state)
{
    (void)state;
    static const char *const chats[] = {"c1", "c2", "c3", "c4", "c5", "c6", "c7", NULL};
    with((struct rig_options){0});
    said(chats);
    for (int i = 0; chats[i]; i++) {
        int64_t id = rig_reply(&rig, "acme", chats[i], "blocked");
        answer("blocked", 403);
        assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
        take_note("the customer has blocked the bot");
    }
    assert_false(bot_is_suspended());
    rig_done(&rig);
}

static void test_refusals_that_are_no_chats_close_the_guard_over_the_bot(void **state)
{
    (void)state;
    static const char *const chats[] = {"c1", "c2", "c3", "c4", "c5", "c6", NULL};
    with((struct rig_options){0});
    said(chats);
    int64_t id = 0;
    for (int i = 0; chats[i]; i++) {
        id = rig_reply(&rig, "acme", chats[i], "refused");
        answer("refused", 400);
        if (i < 5)
            take_note("This reply was not delivered");
    }
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_PENDING);
    assert_true(bot_is_suspended());
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    const struct account *account = rig_account(&rig, "acme");
    board_desk_set(rig.board, source_identity(&account->sources[0]), &(struct board_desk){0}); // died with the process
    account_unref(account);
    rig_crash(&rig, &(struct rig_options){.source = "telegram"});
    assert_int_equal(rig.suspended_at_start, 1);
    assert_true(bot_is_suspended());
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    rig_done(&rig);
}

// ---- pace and limits ----

static void test_a_chat_takes_three_at_once_and_then_one_a_second(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2");
    int64_t ids[5];
    for (int i = 0; i < 5; i++)
        ids[i] = rig_reply(&rig, "acme", "c1", "quick");
    for (int i = 0; i < 3; i++)
        answer("quick", 200);
    assert_null(rig_open_with(&rig, "quick"));
    assert_view(ids[3], LANE_WAITING, LANE_WAITS_PACE);
    rig_reply(&rig, "acme", "c2", "other"); // another chat has a pace of its own
    answer("other", 200);
    rig_pass(&rig, 900);
    assert_null(rig_open_with(&rig, "quick"));
    rig_pass(&rig, 100);
    answer("quick", 200);
    assert_null(rig_open_with(&rig, "quick"));
    rig_pass(&rig, 1000);
    answer("quick", 200);
    assert_int_equal(states_of(ids, 5, MESSAGE_DELIVERED), 5);
    rig_done(&rig);
}

static void test_a_bot_takes_what_its_platform_says_in_all(void **state)
{
    (void)state;
    with((struct rig_options){0});
    chat_receiver.rate_per_min = 60;
    SAID("c1", "c2");
    rig_reply(&rig, "acme", "c1", "one");
    rig_reply(&rig, "acme", "c2", "two");
    answer("one", 200);
    rig_pass(&rig, 900);
    assert_null(rig_open(&rig));
    rig_pass(&rig, 200);
    answer("two", 200);
    rig_done(&rig);
}

static void test_the_pace_of_a_chat_is_known_though_its_lane_has_left_memory(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2");
    for (int i = 0; i < 3; i++) {
        rig_reply(&rig, "acme", "c1", "quick");
        answer("quick", 200);
    }
    assert_null(rig.dispatcher->lanes);
    int64_t id = rig_reply(&rig, "acme", "c1", "quick");
    assert_null(rig_open_with(&rig, "quick"));
    struct message *message = rig_message(&rig, id);
    assert_int_equal(message->next_attempt_us, 0); // nothing of it is stored
    message_free(message);
    rig_pass(&rig, 1000);
    answer("quick", 200);
    rig_pass(&rig, 3000);
    for (int i = 0; i < 3; i++) { // rested
        rig_reply(&rig, "acme", "c1", "quick");
        answer("quick", 200);
    }
    rig_pass(&rig, 3000);
    rig_reply(&rig, "acme", "c2", "other");
    answer("other", 200);
    assert_int_equal(HASH_COUNT(rig.dispatcher->paces), 1); // what has rested is forgotten
    rig_done(&rig);
}

static void test_a_429_holds_its_chat_alone_and_counts_nothing(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2");
    int64_t id = rig_reply(&rig, "acme", "c1", "limited");
    rig_answer_with(&rig, rig_open_with(&rig, "limited"), 429, "Retry-After", "1000", "");
    assert_int_equal(rig_attempts_of(&rig, id), 0);
    assert_false(bot_is_suspended());
    rig_reply(&rig, "acme", "c2", "other");
    answer("other", 200);
    rig_pass(&rig, 999000);
    assert_null(rig_open_with(&rig, "limited"));
    rig_pass(&rig, 1000);
    answer("limited", 200);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_429_holds_its_chat_over_a_restart(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    rig_reply(&rig, "acme", "c1", "limited");
    rig_answer_with(&rig, rig_open_with(&rig, "limited"), 429, "Retry-After", "1000", "");
    rig_crash(&rig, &(struct rig_options){.source = "telegram"});
    rig_pass(&rig, 999000);
    assert_null(rig_open_with(&rig, "limited"));
    rig_pass(&rig, 1000);
    answer("limited", 200);
    rig_done(&rig);
}

static void limit(const char *conversation, const char *seconds)
{
    rig_reply(&rig, "acme", conversation, conversation);
    rig_answer_with(&rig, rig_open_with(&rig, conversation), 429, "Retry-After", seconds, "");
}

static void test_three_chats_with_a_429_within_a_minute_hold_the_bot(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2", "c3", "c4");
    limit("c1", "200");
    limit("c2", "200");
    assert_false(bot_is_suspended());
    limit("c3", "20");
    assert_true(bot_is_suspended());
    int64_t id = rig_reply(&rig, "acme", "c4", "other");
    rig_pass(&rig, 19000);
    assert_null(rig_open(&rig));
    rig_pass(&rig, 2000);
    answer("/me", 200);
    assert_false(bot_is_suspended());
    answer("other", 200);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    pass_to_the_end();
}

static void test_one_chat_with_many_429_or_three_in_a_long_time_are_no_reason_to_hold_the_bot(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1", "c2", "c3");
    limit("c1", "200");
    limit("c2", "2");
    for (int i = 0; i < 3; i++) {
        rig_pass(&rig, 2000);
        rig_answer_with(&rig, rig_open_with(&rig, "c2"), 429, "Retry-After", "2", "");
    }
    assert_false(bot_is_suspended());
    rig_pass(&rig, 2000);
    answer("c2", 200);
    rig_pass(&rig, 60000);
    limit("c3", "2");
    assert_false(bot_is_suspended());
    pass_to_the_end();
}

// ---- in doubt ----

static void test_a_lost_answer_is_sent_again_when_it_has_settled_and_the_agent_is_told_once_it_is_there(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "once?");
    lose("once?");
    assert_true(rig_is_in_doubt(&rig, id));
    rig_pass(&rig, 14000);
    assert_null(rig_open(&rig));
    rig_pass(&rig, 1000);
    assert_non_null(rig_open_with(&rig, "once?"));
    assert_null(rig_open_with(&rig, "twice"));
    answer("once?", 200);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    assert_int_equal(rig.tally->in_doubt[DOUBT_RESENT], 1);
    take_note("may have arrived twice");
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void test_what_may_have_arrived_and_is_refused_when_sent_again_stays_in_doubt(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "once?");
    lose("once?");
    rig_pass(&rig, 15000);
    answer("once?", 403);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    assert_true(rig_is_in_doubt(&rig, id));
    assert_int_equal(rig.tally->in_doubt[DOUBT_RESENT], 0);
    take_note("It may have arrived all the same");
    rig_done(&rig);
}

static void retry_by_hand(int64_t id)
{
    struct store_outcome outcome = {.message_id = id, .in_doubt = true, .at_us = rig.clock.wall_us};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    struct message *message = rig_message(&rig, id);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, false), 0);
    assert_int_equal(rig.store->ops->apply(rig.store, &change, 1), 0);
    message_free(message);
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
}

static void test_with_hold_a_lost_answer_waits_for_a_person_who_may_have_it_sent_again(void **state)
{
    (void)state;
    with((struct rig_options){.in_doubt = IN_DOUBT_HOLD});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "once?");
    rig_reply(&rig, "acme", "c1", "later");
    lose("once?");
    assert_true(is_held(id));
    assert_true(rig_is_in_doubt(&rig, id));
    assert_int_equal(rig.tally->in_doubt[DOUBT_HELD], 1);
    take_note("It is not known whether this reply arrived");
    rig_pass(&rig, 600000);
    assert_null(rig_open(&rig));
    retry_by_hand(id);
    answer("once?", 500); // may have arrived once more
    assert_true(is_held(id));
    take_note("It is not known");
    retry_by_hand(id);
    answer("once?", 429); // told plainly that it was not taken: no reason to ask again
    assert_false(is_held(id));
    rig_pass(&rig, 1000);
    answer("once?", 200);
    take_note("may have arrived twice");
    answer("later", 200);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void test_with_hold_what_an_earlier_process_may_have_sent_waits_for_a_person(void **state)
{
    (void)state;
    with((struct rig_options){.in_doubt = IN_DOUBT_HOLD});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "once?");
    assert_true(rig_is_marked(&rig, id));
    rig_crash(&rig, &(struct rig_options){.source = "telegram", .in_doubt = IN_DOUBT_HOLD});
    uint64_t held_before = rig.tally->in_doubt[DOUBT_HELD]; // by the process that died
    rig_pass(&rig, 20000);
    assert_null(rig_open_with(&rig, "token/c1"));
    assert_true(is_held(id));
    assert_true(rig_is_in_doubt(&rig, id));
    assert_false(rig_is_marked(&rig, id));
    assert_int_equal(rig.tally->in_doubt[DOUBT_HELD], held_before + 1);
    take_note("It is not known whether this reply arrived");
    retry_by_hand(id);
    answer("/c1", 200);
    take_note("may have arrived twice");
    rig_done(&rig);
}

static void test_what_an_earlier_process_may_have_sent_is_sent_again_when_it_has_settled(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "once?");
    rig_crash(&rig, &(struct rig_options){.source = "telegram"});
    rig_pass(&rig, 14000);
    assert_null(rig_open(&rig));
    rig_pass(&rig, 1000);
    answer("/c1", 200);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    assert_int_equal(rig.tally->in_doubt[DOUBT_RESENT], 1);
    take_note("may have arrived twice");
    rig_done(&rig);
}

// ---- notes ----

static void test_a_reply_that_is_given_up_comes_back_as_a_note_in_its_place(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    SAID("c1");
    rig_reply(&rig, "acme", "c1", "broken");
    for (int i = 0; i < 4; i++) {
        answer("broken", 301);
        rig_pass(&rig, 60000);
    }
    rig_say(&rig, "acme", "c1", "before");
    answer("broken", 301);
    assert_null(rig_open_with(&rig, "failed 5 times")); // behind what was said before
    answer("before", 200);
    take_note("failed 5 times");
    assert_int_equal(rig.tally->messages[TALLY_ACCEPTED][0][NOTE], 1);
    rig_done(&rig);
}

static void test_a_reply_that_is_held_is_told_and_a_note_that_is_refused_holds_nothing(void **state)
{
    (void)state;
    with((struct rig_options){.on_failure = ON_FAILURE_HOLD});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "blocked");
    answer("blocked", 403);
    assert_true(is_held(id));
    rig_say(&rig, "acme", "c1", "question");
    answer("is held", 400);
    answer("question", 200);
    rig_pass(&rig, 60000);
    assert_int_equal(rig_open_count(&rig), 0); // nor does it make another note
    rig_done(&rig);
}

// At Intercom: what the customer said there was refused, so there is no conversation to write in.
static void test_notes_for_which_there_is_no_place_are_skipped_and_say_nothing_of_the_desk(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t first = rig_say(&rig, "acme", "c1", "hello");
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 400, "");
    assert_int_equal(rig_state_of(&rig, first), MESSAGE_SKIPPED);
    for (int i = 0; i < 6; i++) {
        rig_reply(&rig, "acme", "c1", "blocked");
        rig_pass(&rig, 1000);
        answer("token/c1", 403);
    }
    assert_int_equal(rig.tally->messages[TALLY_SKIPPED][0][NOTE], 6);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_done(&rig);
}

static void test_a_discard_while_the_failure_is_being_stored_writes_the_note_once(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    int64_t id = rig_reply(&rig, "acme", "c1", "blocked");
    struct rig_call *call = rig_open_with(&rig, "blocked");
    struct http_response response = {.written = true, .status = 403, .body = STR("")};
    call->open = false;
    call->done(call->arg, &response); // its outcome is on its way
    struct message *message = rig_message(&rig, id);
    assert_int_equal(dispatcher_reload(rig.dispatcher, message, true), ERR_BUSY);
    message_free(message);
    rig_turn(&rig);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DISCARDED);
    take_note("was not delivered");
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static void test_a_chat_that_moved_is_followed_by_those_behind_it(void **state)
{
    (void)state;
    with((struct rig_options){0});
    SAID("c1");
    rig_reply(&rig, "acme", "c1", "first");
    rig_reply(&rig, "acme", "c1", "second");
    rig_answer(&rig, rig_open_with(&rig, "12345:token/c1"), 400, "moved to s1");
    answer("12345:token/s1", 200);
    assert_null(rig_open_with(&rig, "12345:token/c1"));
    answer("12345:token/s1", 200);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_done(&rig);
}

static struct str told(struct arena *arena, enum note_kind kind, const char *text, const char *why)
{
    struct message reply = {.id = 7, .text = str_of(text)};
    struct note note = {.kind = kind, .reply = &reply, .attempts = 1, .why = str_of(why)};
    return note_text(&note, arena);
}

static struct str told_of_act(struct arena *arena, enum note_kind kind, enum reply_act act, const char *text)
{
    struct message reply = {.id = 7, .text = str_of(text), .act = act};
    struct note note = {.kind = kind, .reply = &reply, .attempts = 2, .why = STR("it is too old")};
    return note_text(&note, arena);
}

static void test_a_note_says_which_act_was_not_carried_out(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_string_equal(told_of_act(&arena, NOTE_REFUSED, REPLY_DELETES, "").p,
                        "Your deletion of a reply was not carried out, and the customer can still read it: a message "
                        "(message 7). The reason: it is too old. It is not tried again.");
    assert_string_equal(told_of_act(&arena, NOTE_GAVE_UP, REPLY_EDITS, "new words").p,
                        "Your change of a reply was not carried out, and the customer reads it as it was before: "
                        "\u201cnew words\u201d (message 7). It failed 2 times. The reason: it is too old. It is not "
                        "tried again.");
    assert_string_equal(told_of_act(&arena, NOTE_HELD, REPLY_DELETES, "").p,
                        "Your deletion of a reply could not be carried out and is held: a message (message 7). The "
                        "reason: it is too old. Later replies in this conversation wait behind it until somebody "
                        "retries or discards it in the relay.");
    arena_done(&arena);
}

static void test_a_note_names_the_reply_by_its_first_80_characters(void **state)
{
    (void)state;
    struct arena arena = {0};
    char text[200] = "";
    for (int i = 0; i < 80; i++)
        strcat(text, "\u00e9"); // allow strcat: a test's own
    struct str whole = told(&arena, NOTE_REFUSED, text, "no");
    assert_non_null(strstr(whole.p, text));
    assert_null(strstr(whole.p, "\u2026"));
    strcat(text, "\u00fc"); // allow strcat: a test's own
    struct str cut = told(&arena, NOTE_REFUSED, text, "no");
    assert_non_null(strstr(cut.p, "\u00e9\u2026\u201d"));
    assert_null(strstr(cut.p, "\u00fc"));
    assert_string_equal(
        told(&arena, NOTE_GAVE_UP, " two\nlines ", "it broke. ").p,
        "This reply was not delivered: \u201ctwo lines\u201d (message 7). It failed once. The reason: it "
        "broke. It is not tried again.");
    assert_string_equal(told(&arena, NOTE_REFUSED, "", "").p,
                        "This reply was not delivered: a file (message 7). It is not tried again.");
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_go_one_by_one_in_each_chat_and_beside_what_customers_say),
        cmocka_unit_test(test_a_reply_is_marked_before_it_leaves_and_the_mark_goes_with_its_outcome),
        cmocka_unit_test(test_a_changed_order_of_what_customers_say_holds_no_reply_up),
        cmocka_unit_test(test_a_changed_order_does_not_wait_for_replies),
        cmocka_unit_test(test_a_reply_that_is_held_holds_no_changed_order_up),
        cmocka_unit_test(test_replies_of_an_inactive_account_wait_and_go_on_where_they_stopped),
        cmocka_unit_test(test_replies_of_an_earlier_process_are_taken_up),
        cmocka_unit_test(test_a_reply_to_a_source_that_takes_none_is_refused_and_its_agent_reads_why),
        cmocka_unit_test(test_replies_to_a_source_that_is_removed_are_refused),
        cmocka_unit_test(test_the_alarm_of_a_bot_ends_when_its_source_is_removed),
        cmocka_unit_test(test_a_bot_that_is_refused_waits_for_a_person_and_the_desk_does_not),
        cmocka_unit_test(test_a_person_resumes_a_bot_with_the_desk_of_its_account),
        cmocka_unit_test(test_chats_that_refuse_a_bot_are_skipped_and_the_guard_does_not_count_them),
        cmocka_unit_test(test_refusals_that_are_no_chats_close_the_guard_over_the_bot),
        cmocka_unit_test(test_a_chat_takes_three_at_once_and_then_one_a_second),
        cmocka_unit_test(test_a_bot_takes_what_its_platform_says_in_all),
        cmocka_unit_test(test_the_pace_of_a_chat_is_known_though_its_lane_has_left_memory),
        cmocka_unit_test(test_a_429_holds_its_chat_alone_and_counts_nothing),
        cmocka_unit_test(test_a_429_holds_its_chat_over_a_restart),
        cmocka_unit_test(test_three_chats_with_a_429_within_a_minute_hold_the_bot),
        cmocka_unit_test(test_one_chat_with_many_429_or_three_in_a_long_time_are_no_reason_to_hold_the_bot),
        cmocka_unit_test(test_a_lost_answer_is_sent_again_when_it_has_settled_and_the_agent_is_told_once_it_is_there),
        cmocka_unit_test(test_what_may_have_arrived_and_is_refused_when_sent_again_stays_in_doubt),
        cmocka_unit_test(test_with_hold_a_lost_answer_waits_for_a_person_who_may_have_it_sent_again),
        cmocka_unit_test(test_with_hold_what_an_earlier_process_may_have_sent_waits_for_a_person),
        cmocka_unit_test(test_what_an_earlier_process_may_have_sent_is_sent_again_when_it_has_settled),
        cmocka_unit_test(test_a_reply_that_is_given_up_comes_back_as_a_note_in_its_place),
        cmocka_unit_test(test_a_reply_that_is_held_is_told_and_a_note_that_is_refused_holds_nothing),
        cmocka_unit_test(test_notes_for_which_there_is_no_place_are_skipped_and_say_nothing_of_the_desk),
        cmocka_unit_test(test_a_discard_while_the_failure_is_being_stored_writes_the_note_once),
        cmocka_unit_test(test_a_chat_that_moved_is_followed_by_those_behind_it),
        cmocka_unit_test(test_a_note_says_which_act_was_not_carried_out),
        cmocka_unit_test(test_a_note_names_the_reply_by_its_first_80_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
