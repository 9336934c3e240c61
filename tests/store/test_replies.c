// The store's contract for what goes back to customers (store/store.h): replies, the notes that tell agents of them, and
// threads at the desk; over every back end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/store_kit.h"

static struct {
    bool on_disk;
    bool damaged; // verify must say so in the end
    struct store *store;
    char *path;
    struct account *account;
    int64_t source_id;
    struct arena arena;
} bench;

static void put_account(enum order_rule order)
{
    struct account *account = bench.account;
    struct store_account_put put = {.account = account, .source_ids = &bench.source_id};
    account->order = order;
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_PUT, &put), 0);
    account->id = put.id;
}

static int set_up(void **state)
{
    static int n;
    char name[32];
    (void)state;
    bench.damaged = false;
    snprintf(name, sizeof name, "replies%d", n++);
    bench.path = bench.on_disk ? kit_store_path(name) : NULL;
    bench.store = bench.on_disk ? kit_open(bench.path) : store_memory_new();
    bench.account = account_new();
    bench.account->name = STR("acme");
    bench.account->desk = (struct desk){.platform = STR("webhook"), .url = STR("http://desk.example/")};
    bench.account->source_count = 1;
    bench.account->sources = arena_of(&bench.account->arena, struct source);
    bench.account->sources[0] = (struct source){.name = STR("bot"), .platform = STR("telegram"), .token = STR("1:a")};
    put_account(ORDER_CONVERSATION);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bool sum = kit_verify(bench.store, true) != bench.damaged;
    bench.store->ops->close(bench.store, true);
    account_unref(bench.account);
    arena_done(&bench.arena);
    free(bench.path);
    return sum ? 0 : -1;
}

#define assert_str(s, literal) assert_true(str_eq((s), STR(literal)))

static struct store_accept inbound_event(const char *key, const char *thread)
{
    return (struct store_accept){
        .account_id = bench.account->id,
        .source_id = bench.source_id,
        .order = bench.account->order,
        .received_at_us = 1000000,
        .event = {.dedupe_key = str_of(key), .conversation = str_of(thread), .text = STR("hi")},
        .out_arena = &bench.arena};
}

static struct store_accept inbound(const char *key, const char *thread)
{
    struct store_accept accept = inbound_event(key, thread);
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static struct store_accept a_reply(const char *key, int64_t conversation_id)
{
    return (struct store_accept){.direction = REPLY,
                                 .account_id = bench.account->id,
                                 .source_id = bench.source_id,
                                 .order = bench.account->order,
                                 .received_at_us = 2000000,
                                 .conversation_id = conversation_id,
                                 .event = {.dedupe_key = str_of(key),
                                           .sender_id = STR("agent 7"),
                                           .sender_name = STR("Eve"),
                                           .text = STR("well"),
                                           .format = STR("[[0,4]]"),
                                           .sent_at_us = 1500000},
                                 .out_arena = &bench.arena};
}

static struct store_accept reply(const char *key, int64_t conversation_id)
{
    struct store_accept accept = a_reply(key, conversation_id);
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    assert_int_equal(accept.result, ACCEPT_STORED);
    return accept;
}

// The lane's only pending message, moved to the caller.
static struct message *head_of(int64_t lane)
{
    struct lane_page page;
    assert_int_equal(bench.store->ops->load_lane(bench.store, lane, 0, 2, &page), 0);
    assert_int_equal(page.count, 1);
    struct message *message = page.entries[0].message;
    assert_int_equal(message->reason, REASON_NONE);
    page.entries[0].message = NULL;
    lane_page_done(&page);
    return message;
}

static size_t lanes_of(int64_t account_id, int64_t after, size_t limit, int64_t *out)
{
    size_t count = 99;
    assert_int_equal(bench.store->ops->lanes_with_work(bench.store, account_id, after, limit, out, &count), 0);
    return count;
}

// --- Replies ---

static void test_reply_stands_in_the_lane_of_its_conversations_replies(void **state)
{
    (void)state;
    for (enum order_rule order = ORDER_ACCOUNT; order <= ORDER_CONVERSATION; order++) {
        put_account(order);
        struct store_accept question = inbound(order ? "q1" : "q0", order ? "chat 1" : "chat 0");
        struct store_accept answer = reply(order ? "part:1" : "part:0", question.conversation_id);
        assert_int_equal(answer.lane, lane_id(LANE_REPLY, question.conversation_id));
        assert_int_equal(answer.conversation_id, question.conversation_id);
        assert_true(answer.place > question.place);
        assert_true(str_eq(answer.thread, order ? STR("chat 1") : STR("chat 0")));
        assert_null(answer.address.p);
        struct message *m = head_of(answer.lane);
        assert_int_equal(m->id, answer.message_id);
        assert_int_equal(m->direction, REPLY);
        assert_int_equal(m->source_id, bench.source_id);
        assert_int_equal(m->sent_at_us, 1500000);
        assert_true(str_eq(m->conversation, answer.thread));
        assert_null(m->address.p);
        assert_str(m->sender_name, "Eve");
        assert_str(m->text, "well");
        assert_str(m->format, "[[0,4]]");
        message_free(m);
    }
}

static void test_reply_is_read_back_whole_and_stored_once(void **state)
{
    (void)state;
    int64_t conversation_id = inbound("q", "c").conversation_id;
    struct store_accept first = reply("part:1", conversation_id), again = a_reply("part:1", conversation_id);
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &again), 0);
    assert_int_equal(again.result, ACCEPT_DUPLICATE);
    assert_int_equal(again.message_id, first.message_id);
    assert_int_equal(kit_totals(bench.store).accepted, 2);
    struct message *m = kit_message(bench.store, first.message_id);
    assert_int_equal(m->direction, REPLY);
    assert_int_equal(m->reason, REASON_NONE);
    assert_str(m->conversation, "c");
    assert_str(m->sender_id, "agent 7");
    assert_str(m->format, "[[0,4]]");
    message_free(m);
    struct store_accept plain = a_reply("part:2", conversation_id);
    plain.event.format = STR_NONE;
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &plain), 0);
    m = kit_message(bench.store, plain.message_id);
    assert_null(m->format.p);
    assert_int_equal(m->reason, REASON_NONE);
    message_free(m);
}

static void test_reply_that_says_nothing_to_the_customer_is_stored_settled(void **state)
{
    (void)state;
    struct store_accept bot = a_reply("part:1", inbound("q", "c").conversation_id);
    bot.state = MESSAGE_DISCARDED;
    bot.reason = REASON_NO_MEANING;
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &bot), 0);
    assert_int_equal(kit_totals(bench.store).pending, 1);
    assert_int_equal(kit_totals(bench.store).discarded, 1);
}

static void test_reply_knows_the_link_and_where_the_thread_goes_on(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "-5"), moved = inbound_event("q2", "-1005");
    struct link link = {.contact = STR("contact"), .conversation = STR("desk")};
    struct store_outcome outcome = kit_outcome(question.message_id, MESSAGE_DELIVERED);
    outcome.conversation_id = question.conversation_id;
    outcome.link = &link;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    moved.event.migrated_from = STR("-5");
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &moved), 0);
    struct store_accept answer = reply("part:1", question.conversation_id);
    assert_str(answer.thread, "-5");
    assert_str(answer.address, "-1005");
    assert_str(answer.link.conversation, "desk");
    struct message *m = head_of(answer.lane);
    assert_str(m->conversation, "-5");
    assert_str(m->address, "-1005");
    message_free(m);
}

static void test_reply_that_met_a_moved_thread_tells_the_store(void **state)
{
    (void)state;
    int64_t conversation_id = inbound("q", "-5").conversation_id;
    struct store_accept first = reply("part:1", conversation_id), second = reply("part:2", conversation_id);
    struct store_outcome outcome = kit_outcome(first.message_id, MESSAGE_DELIVERED);
    outcome.moved_to = STR("-1005");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct message *m = head_of(second.lane);
    assert_str(m->address, "-1005");
    message_free(m);
    assert_int_equal(inbound("q2", "-1005").conversation_id, conversation_id);
    outcome = kit_outcome(second.message_id, MESSAGE_PENDING); // to itself: nothing
    outcome.moved_to = STR("-5");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    m = head_of(second.lane);
    assert_str(m->address, "-1005");
    message_free(m);
}

static void test_skipped_reply_is_retried_in_its_lane(void **state)
{
    (void)state;
    struct store_accept answer = reply("part:1", inbound("q", "c").conversation_id);
    assert_true(kit_settle(bench.store, answer.message_id, MESSAGE_SKIPPED));
    put_account(ORDER_ACCOUNT);
    struct store_retry retry = {.message_id = answer.message_id};
    assert_int_equal(kit_apply(bench.store, STORE_RETRY, &retry), 0);
    assert_true(retry.applied);
    assert_int_equal(retry.lane, answer.lane);
    struct message *m = head_of(answer.lane);
    assert_true(m->late);
    assert_str(m->format, "[[0,4]]");
    message_free(m);
}

static void test_replies_that_wait_hold_no_changed_order_up(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "chat 1");
    reply("part:1", question.conversation_id);
    struct account *account = bench.account;
    struct store_account_put put = {.account = account, .source_ids = &bench.source_id};
    account->order = ORDER_ACCOUNT;
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_PUT, &put), 0);
    assert_true(put.order_barrier >= question.place);
    struct store_order_over over = {.account_id = account->id, .barrier = put.order_barrier};
    assert_int_equal(kit_apply(bench.store, STORE_ORDER_OVER, &over), 0);
    assert_false(over.over);
    struct store_outcome outcome = {.message_id = question.message_id, .state = MESSAGE_DELIVERED, .at_us = 3000000};
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    over = (struct store_order_over){.account_id = account->id, .barrier = put.order_barrier};
    assert_int_equal(kit_apply(bench.store, STORE_ORDER_OVER, &over), 0);
    assert_true(over.over);
}

static void test_lanes_of_one_account_are_those_of_replies_too(void **state)
{
    (void)state;
    int64_t found[8];
    struct store_accept a = inbound("a", "one"), b = inbound("b", "two");
    int64_t lanes[] = {a.lane, reply("part:a", a.conversation_id).lane, b.lane,
                       reply("part:b", b.conversation_id).lane};
    for (int64_t account_id = 0; account_id <= bench.account->id; account_id += bench.account->id) {
        assert_int_equal(lanes_of(account_id, 0, 8, found), 4);
        assert_memory_equal(found, lanes, sizeof lanes);
        for (size_t i = 0; i < 4; i++) { // page by page
            assert_int_equal(lanes_of(account_id, i ? lanes[i - 1] : 0, 1, found), 1);
            assert_int_equal(found[0], lanes[i]);
        }
        assert_int_equal(lanes_of(account_id, lanes[3], 8, found), 0);
    }
    kit_settle(bench.store, a.message_id, MESSAGE_DELIVERED); // a reply alone waits
    assert_int_equal(lanes_of(bench.account->id, 0, 1, found), 1);
    assert_int_equal(found[0], lanes[1]);
}

static void test_account_with_a_waiting_reply_is_not_removed(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "c"), answer = reply("part:1", question.conversation_id);
    struct store_account_gone gone = {.account_id = bench.account->id};
    kit_settle(bench.store, question.message_id, MESSAGE_DELIVERED);
    bool more; // housekeeping does not forget that it waits
    assert_int_equal(bench.store->ops->age_out(bench.store, 0, 0, &more), 0);
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_GONE, &gone), 0);
    assert_false(gone.applied);
    kit_settle(bench.store, answer.message_id, MESSAGE_SKIPPED);
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_GONE, &gone), 0);
    assert_true(gone.applied);
    struct store_accept late = reply("part:2", question.conversation_id);
    assert_int_equal(late.state, MESSAGE_DISCARDED);
    assert_int_equal(late.reason, REASON_ORPHANED);
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_DISCARDED);
    outcome.reason = REASON_BY_HAND;
    outcome.note = STR("nobody reads this");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    assert_int_equal(outcome.note_lane, 0);
}

static void test_body_of_a_reply_ages_with_its_format(void **state)
{
    (void)state;
    struct store_accept answer = reply("part:1", inbound("q", "c").conversation_id);
    kit_settle(bench.store, answer.message_id, MESSAGE_DELIVERED);
    bool more = true;
    while (more)
        assert_int_equal(bench.store->ops->age_out(bench.store, INT64_MAX, 0, &more), 0);
    struct message *m = kit_message(bench.store, answer.message_id);
    assert_null(m->text.p);
    assert_null(m->format.p);
    assert_int_equal(m->reason, REASON_NONE);
    message_free(m);
}

// --- Notes ---

static void test_note_stands_where_an_inbound_message_would(void **state)
{
    (void)state;
    for (enum order_rule order = ORDER_ACCOUNT; order <= ORDER_CONVERSATION; order++) {
        struct store_accept question = inbound(order ? "q1" : "q0", order ? "c1" : "c0");
        struct store_accept answer = reply(order ? "part:1" : "part:0", question.conversation_id);
        kit_settle(bench.store, question.message_id, MESSAGE_DELIVERED);
        put_account(order); // the rule now, not the one that it was accepted under
        struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_SKIPPED);
        outcome.note = STR("the customer has blocked the bot");
        int64_t accepted = kit_totals(bench.store).accepted;
        assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
        assert_int_equal(outcome.note_lane, inbound_lane(order, bench.account->id, question.conversation_id));
        assert_int_equal(kit_totals(bench.store).accepted, accepted + 1);
        assert_int_equal(kit_totals(bench.store).pending, 1);
        int64_t found[4]; // found by its account, too
        assert_int_equal(lanes_of(bench.account->id, 0, 4, found), 1);
        assert_int_equal(found[0], outcome.note_lane);
        struct message *m = head_of(outcome.note_lane);
        assert_int_equal(m->direction, NOTE);
        assert_int_equal(m->source_id, bench.source_id);
        assert_int_equal(m->conversation_id, question.conversation_id);
        assert_str(m->text, "the customer has blocked the bot");
        assert_null(m->sender_id.p);
        assert_int_equal(m->sent_at_us, outcome.at_us);
        assert_int_equal(m->received_at_us, outcome.at_us);
        assert_true(m->place > answer.place);
        kit_settle(bench.store, m->id, MESSAGE_DELIVERED);
        message_free(m);
    }
}

static void test_each_outcome_of_a_reply_may_have_its_note(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "c"), answer = reply("part:1", question.conversation_id);
    kit_settle(bench.store, question.message_id, MESSAGE_DELIVERED);
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_PENDING);
    outcome.note = STR("held");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct store_outcome same = outcome; // the same instant
    same.note = STR("sent twice, perhaps");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &same), 0);
    struct lane_page page;
    assert_int_equal(bench.store->ops->load_lane(bench.store, outcome.note_lane, 0, 9, &page), 0);
    assert_int_equal(page.count, 2);
    assert_str(page.entries[0].message->text, "held");
    assert_str(page.entries[1].message->text, "sent twice, perhaps");
    lane_page_done(&page);
    kit_settle(bench.store, answer.message_id, MESSAGE_SKIPPED);
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &same), 0); // stale
    assert_false(same.applied);
    assert_int_equal(same.note_lane, 0);
    assert_int_equal(kit_totals(bench.store).pending, 2);
}

static void test_notes_are_of_replies_alone(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "c");
    struct store_outcome outcome = kit_outcome(question.message_id, MESSAGE_SKIPPED);
    outcome.note = STR("no reply");
    outcome.moved_to = STR("elsewhere");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    assert_int_equal(outcome.note_lane, 0);
    assert_int_equal(kit_totals(bench.store).accepted, 1);
    assert_true(inbound("q2", "elsewhere").conversation_id != question.conversation_id);
}

static void test_skipped_note_is_retried_where_the_rule_wants_it(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "c"), answer = reply("part:1", question.conversation_id);
    kit_settle(bench.store, question.message_id, MESSAGE_DELIVERED);
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_SKIPPED);
    outcome.note = STR("note");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct message *note = head_of(outcome.note_lane);
    kit_settle(bench.store, note->id, MESSAGE_SKIPPED);
    put_account(ORDER_ACCOUNT);
    struct store_retry retry = {.message_id = note->id};
    assert_int_equal(kit_apply(bench.store, STORE_RETRY, &retry), 0);
    assert_int_equal(retry.lane, lane_id(LANE_ACCOUNT, bench.account->id));
    message_free(note);
    message_free(head_of(retry.lane));
}

// --- Reading ---

static void count_directions(void *arg, const struct message *message)
{
    int *counts = arg;
    counts[message->direction]++;
}

static void test_listing_tells_directions_apart(void **state)
{
    (void)state;
    struct store_accept answer = reply("part:1", inbound("q", "c").conversation_id);
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_PENDING);
    outcome.note = STR("note");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct store_reader *reader = bench.store->ops->reader_new(bench.store);
    for (enum direction direction = INBOUND; direction <= NOTE; direction++) {
        int counts[3] = {0};
        struct message_filter filter = {.by_direction = true, .direction = direction};
        assert_int_equal(reader->ops->messages(reader, &filter, 0, 9, count_directions, counts), 0);
        for (enum direction d = INBOUND; d <= NOTE; d++)
            assert_int_equal(counts[d], d == direction);
    }
    reader->ops->free(reader);
}

static void test_only_what_customers_said_counts_as_delivered_last(void **state)
{
    (void)state;
    int64_t id = 0, at_us = 0;
    struct store_accept question = inbound("q", "c"), answer = reply("part:1", question.conversation_id);
    kit_settle(bench.store, question.message_id, MESSAGE_DELIVERED);
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_DELIVERED);
    outcome.note = STR("note");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct message *note = head_of(outcome.note_lane);
    kit_settle(bench.store, note->id, MESSAGE_DELIVERED);
    message_free(note);
    struct store_reader *reader = bench.store->ops->reader_new(bench.store);
    int64_t conversations[] = {0, question.conversation_id};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(reader->ops->last_delivered(reader, bench.account->id, conversations[i], 10, &id, &at_us), 0);
        assert_int_equal(id, question.message_id);
    }
    reader->ops->free(reader);
}

static void test_references_of_replies_are_none_at_the_desk(void **state)
{
    (void)state;
    struct store_accept question = inbound("q", "c"), answer = reply("part:1", question.conversation_id);
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_DELIVERED);
    outcome.desk_ref = STR("77");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct str *refs;
    size_t count = 9;
    assert_int_equal(bench.store->ops->load_refs(bench.store, question.conversation_id, 1, &bench.arena, &refs, &count),
                     0);
    assert_int_equal(count, 0);
}

// --- Threads at the desk ---

static struct store_thread ask(const char *desk_conversation, const char *contact)
{
    struct store_thread asked = {.account_id = bench.account->id,
                                 .desk_conversation = str_of(desk_conversation),
                                 .contact = str_of(contact),
                                 .arena = &bench.arena,
                                 .conversation_id = 99,
                                 .known = !contact, // to be set in any case
                                 .taken_s = 99};
    assert_int_equal(kit_apply(bench.store, STORE_THREAD, &asked), 0);
    return asked;
}

static void note_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    char *told = arg;
    snprintf(told + strlen(told), 256 - strlen(told), "%s%d:%.*s", *told ? " " : "", (int)account_id,
             STR_ARG(desk_conversation));
}

static const char *news(void)
{
    static char told[256];
    told[0] = 0;
    assert_int_equal(bench.store->ops->each_news(bench.store, note_news, told), 0);
    return told;
}

static void tell_news(int64_t account_id, const char *desk_conversation, int64_t at_us)
{
    struct str names[] = {str_of(desk_conversation)};
    struct store_news told = {.account_id = account_id, .desk_conversations = names, .count = 1, .at_us = at_us};
    assert_int_equal(kit_apply(bench.store, STORE_NEWS, &told), 0);
}

static void take(const char *desk_conversation, int64_t conversation_id, int64_t taken_s, int64_t asked_us)
{
    struct store_taken taken = {.account_id = bench.account->id,
                                .desk_conversation = str_of(desk_conversation),
                                .conversation_id = conversation_id,
                                .taken_s = taken_s,
                                .asked_us = asked_us};
    assert_int_equal(kit_apply(bench.store, STORE_TAKEN, &taken), 0);
}

static void note_searched(void *arg, const struct store_searched *searched)
{
    char *told = arg;
    snprintf(told + strlen(told), 256 - strlen(told), "%s%d:%d", *told ? " " : "", (int)searched->account_id,
             (int)searched->until_s);
}

static const char *searched(void)
{
    static char told[256];
    told[0] = 0;
    assert_int_equal(bench.store->ops->each_searched(bench.store, note_searched, told), 0);
    return told;
}

// Delivers a message of that thread, which teaches us this link at that second.
static int64_t learn(const char *key, const char *thread, const char *contact, const char *desk_conversation,
                     int64_t at_s)
{
    struct store_accept accept = inbound(key, thread);
    struct link link = {.contact = str_of(contact), .conversation = str_of(desk_conversation), .last_part = STR("9")};
    struct store_outcome outcome = kit_outcome(accept.message_id, MESSAGE_DELIVERED);
    outcome.at_us = at_s * 1000000;
    outcome.conversation_id = accept.conversation_id;
    outcome.link = &link;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    return accept.conversation_id;
}

static void test_thread_is_known_from_the_link_that_names_it(void **state)
{
    (void)state;
    assert_int_equal(ask("desk 1", NULL).conversation_id, 0);
    assert_string_equal(searched(), "");
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    struct store_thread asked = ask("desk 1", NULL);
    assert_int_equal(asked.conversation_id, id);
    assert_true(asked.known);
    assert_int_equal(asked.source_id, bench.source_id);
    assert_str(asked.thread, "c");
    assert_int_equal(asked.taken_s, 0);
    assert_true(asked.known);
    assert_string_equal(searched(), "1:5000");
    assert_int_equal(learn("q2", "c", "contact 1", "desk 2", 6000), id); // it goes on in another one
    assert_int_equal(ask("desk 2", NULL).conversation_id, id);
    assert_int_equal(ask("desk 1", NULL).conversation_id, id); // which an agent may still write in
    assert_string_equal(searched(), "1:5000");
}

static void test_thread_that_an_agent_began_is_known_by_its_contact(void **state)
{
    (void)state;
    int64_t first = learn("q", "c", "contact 1", "desk 1", 5000), other = learn("p", "d", "contact 2", "desk 2", 5000);
    assert_int_equal(ask("new", "contact 2").conversation_id, other);
    assert_false(ask("new", "contact 2").known);
    assert_false(ask("new", "contact").known);
    assert_int_equal(ask("new", "contact 1").conversation_id, first);
    assert_int_equal(ask("new", "contact 1").taken_s, 0);
    assert_false(ask("new", "contact 1").known);
    assert_true(ask("desk 1", "contact 1").known);
    assert_int_equal(ask("new", "contact").conversation_id, 0);
    assert_int_equal(ask("desk 1", "contact 2").conversation_id, first); // the thread says more
    int64_t last = learn("r", "e", "contact 1", "desk 3", 5000);         // of several the newest
    struct store_thread asked = ask("new", "contact 1");
    assert_int_equal(asked.conversation_id, last);
    assert_str(asked.thread, "e");
    assert_int_equal(learn("r2", "e", "contact 4", "desk 3", 5001), last); // merged into another contact
    assert_int_equal(ask("new", "contact 1").conversation_id, first);
    assert_int_equal(ask("new", "contact 4").conversation_id, last);
}

static void test_contact_of_another_account_is_nobody(void **state)
{
    (void)state;
    learn("q", "c", "contact 1", "desk 1", 5000);
    struct store_thread asked = {.account_id = bench.account->id + 1,
                                 .desk_conversation = STR("desk 1"),
                                 .contact = STR("contact 1"),
                                 .arena = &bench.arena};
    assert_int_equal(kit_apply(bench.store, STORE_THREAD, &asked), 0);
    assert_int_equal(asked.conversation_id, 0);
}

static void test_news_are_kept_until_they_are_taken(void **state)
{
    (void)state;
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    assert_string_equal(news(), "");
    tell_news(7, "theirs", 10);
    tell_news(bench.account->id, "unknown", 10);
    tell_news(bench.account->id, "desk 1", 20);
    tell_news(bench.account->id, "desk 1", 15); // told late
    assert_string_equal(news(), "1:desk 1 1:unknown 7:theirs");
    assert_int_equal(ask("desk 1", NULL).conversation_id, id);
    assert_int_equal(ask("unknown", NULL).conversation_id, 0);
    take("desk 1", id, 100, 19); // news came after it was asked for
    assert_string_equal(news(), "1:desk 1 1:unknown 7:theirs");
    assert_int_equal(ask("desk 1", NULL).taken_s, 100);
    take("desk 1", id, 90, 20);
    assert_string_equal(news(), "1:unknown 7:theirs");
    assert_int_equal(ask("desk 1", NULL).taken_s, 100); // never back
    take("unknown", 0, 0, 20);
    assert_string_equal(news(), "7:theirs");
}

static void test_news_come_before_the_thread_is_known(void **state)
{
    (void)state;
    tell_news(bench.account->id, "desk 1", 10);
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    assert_string_equal(news(), "1:desk 1");
    assert_int_equal(ask("desk 1", NULL).conversation_id, id);
}

static void test_news_of_a_thread_that_is_not_known_say_how_far_the_desk_was_searched(void **state)
{
    (void)state;
    struct store_searched until = {.account_id = bench.account->id, .until_s = 8000};
    struct str names[] = {STR("begun")};
    struct store_news told = {
        .account_id = bench.account->id, .desk_conversations = names, .count = 1, .at_us = 9000000000};
    struct store_change found[] = {{.kind = STORE_NEWS, .news = &told}, {.kind = STORE_SEARCHED, .searched = &until}};
    tell_news(bench.account->id, "before", 10);
    assert_int_equal(ask("before", NULL).taken_s, 0);
    learn("q", "c", "contact 1", "desk 1", 5000);
    tell_news(bench.account->id, "desk 1", 10);
    assert_int_equal(bench.store->ops->apply(bench.store, found, 2), 0);
    assert_int_equal(ask("begun", "contact 1").taken_s, 5000); // not 8000: the search that found it
    tell_news(bench.account->id, "begun", 9000000001);
    assert_int_equal(ask("begun", "contact 1").taken_s, 5000);
    assert_int_equal(ask("desk 1", NULL).taken_s, 0);
    tell_news(bench.account->id, "later", 10);
    assert_int_equal(ask("later", "contact 1").taken_s, 8000);
}

static void test_taken_thread_becomes_the_conversations(void **state)
{
    (void)state;
    int64_t id = inbound("q", "c").conversation_id;
    take("begun", id, 100, 7000000);
    assert_int_equal(ask("begun", NULL).conversation_id, id);
    assert_int_equal(ask("begun", NULL).taken_s, 100);
    assert_string_equal(searched(), "1:7");
}

static void test_forgotten_thread_is_nobodys(void **state)
{
    (void)state;
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    take("desk 1", id, 100, 10);
    tell_news(bench.account->id, "desk 1", 20);
    take("desk 1", 0, 0, 15); // not those news
    assert_string_equal(news(), "1:desk 1");
    assert_int_equal(ask("desk 1", NULL).conversation_id, 0);
    assert_int_equal(ask("desk 1", NULL).taken_s, 0);
    take("desk 1", 0, 0, 20);
    assert_string_equal(news(), "");
    take("never known", 0, 0, 20);
    assert_int_equal(ask("never known", NULL).conversation_id, 0);
}

static void test_taken_comes_with_the_replies_made_of_it(void **state)
{
    (void)state;
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    tell_news(bench.account->id, "desk 1", 10);
    struct store_accept first = a_reply("part:1", id), second = a_reply("part:1#2", id);
    struct store_taken taken = {.account_id = bench.account->id,
                                .desk_conversation = STR("desk 1"),
                                .conversation_id = id,
                                .taken_s = 50,
                                .asked_us = 10};
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &first},
                                     {.kind = STORE_ACCEPT, .accept = &second},
                                     {.kind = STORE_TAKEN, .taken = &taken}};
    assert_int_equal(bench.store->ops->apply(bench.store, changes, 3), 0);
    assert_true(first.place < second.place);
    assert_string_equal(news(), "");
    assert_int_equal(ask("desk 1", NULL).taken_s, 50);
}

static void test_search_goes_forward_only(void **state)
{
    (void)state;
    struct store_searched until = {.account_id = bench.account->id, .until_s = 8000};
    learn("q", "c", "contact 1", "desk 1", 5000);
    assert_int_equal(kit_apply(bench.store, STORE_SEARCHED, &until), 0);
    assert_string_equal(searched(), "1:8000");
    until.until_s = 7000;
    assert_int_equal(kit_apply(bench.store, STORE_SEARCHED, &until), 0);
    assert_string_equal(searched(), "1:8000");
    learn("q2", "c", "contact 1", "desk 2", 9000);
    assert_string_equal(searched(), "1:8000");
}

static void test_threads_go_with_their_account(void **state)
{
    (void)state;
    struct store_account_gone gone = {.account_id = bench.account->id};
    struct store_searched until = {.account_id = bench.account->id, .until_s = 8000};
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    tell_news(bench.account->id, "desk 1", 10);
    tell_news(7, "theirs", 10);
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_GONE, &gone), 0);
    assert_true(gone.applied);
    // what was on its way changes nothing
    tell_news(bench.account->id, "desk 2", 10);
    take("desk 3", id, 100, 10);
    assert_int_equal(kit_apply(bench.store, STORE_SEARCHED, &until), 0);
    assert_string_equal(news(), "7:theirs");
    assert_string_equal(searched(), "");
    assert_int_equal(ask("desk 1", NULL).conversation_id, 0);
    assert_int_equal(ask("desk 3", NULL).conversation_id, 0);
}

static void keep_replies(void *arg, struct account *account, struct str file_text)
{
    (void)file_text;
    *(enum replies_policy *)arg = account->replies;
    assert_false(account->damaged);
    account_unref(account);
}

static void keep_identity(void *arg, struct account *account, struct str file_text)
{
    (void)file_text;
    *(enum identity_policy *)arg = account->identity;
    assert_false(account->damaged);
    account_unref(account);
}

static void test_policy_of_replies_is_kept(void **state)
{
    (void)state;
    enum replies_policy policies[] = {REPLIES_AGENTS_AND_BOTS, REPLIES_AGENTS}, found;
    for (size_t i = 0; i < 2; i++) {
        bench.account->replies = policies[i];
        put_account(ORDER_CONVERSATION);
        assert_int_equal(bench.store->ops->each_account(bench.store, keep_replies, &found), 0);
        assert_int_equal(found, policies[i]);
    }
}

static void test_policy_of_identity_is_kept(void **state)
{
    (void)state;
    enum identity_policy policies[] = {IDENTITY_PHONE, IDENTITY_EMAIL, IDENTITY_NONE}, found;
    bench.account->replies = REPLIES_AGENTS_AND_BOTS;
    for (size_t i = 0; i < 3; i++) {
        bench.account->identity = policies[i];
        put_account(ORDER_CONVERSATION);
        assert_int_equal(bench.store->ops->each_account(bench.store, keep_identity, &found), 0);
        assert_int_equal(found, policies[i]);
    }
}

// One person's chats in two sources: each thread at the desk is one chat's; a new one that an agent begins is the latest chat's.
static void test_threads_of_a_contact_that_is_shared(void **state)
{
    (void)state;
    int64_t first = learn("q", "c", "contact 1", "desk 1", 5000), second = learn("p", "d", "contact 1", "desk 2", 5000);
    assert_true(second > first);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask("desk 1", "contact 1").conversation_id, first);
        assert_int_equal(ask("desk 2", "contact 1").conversation_id, second);
        assert_int_equal(ask("new", "contact 1").conversation_id, second);
        learn("q2", "c", "contact 1", "desk 1", 6000); // who writes last changes nothing
    }
}

// --- On disk ---

static void reopen_after(void (*change)(const char *path, const char *sql), const char *sql)
{
    bench.store->ops->close(bench.store, true);
    change(bench.path, sql);
    bench.store = kit_open(bench.path);
}

static void test_threads_outlive_the_process(void **state)
{
    (void)state;
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000);
    tell_news(bench.account->id, "desk 1", 10);
    take("desk 1", id, 60, 5);
    bench.store->ops->close(bench.store, false);
    bench.store = kit_open(bench.path);
    assert_string_equal(news(), "1:desk 1");
    assert_string_equal(searched(), "1:5000");
    assert_int_equal(ask("desk 1", NULL).conversation_id, id);
    assert_int_equal(ask("desk 1", NULL).taken_s, 60);
}

static void test_a_store_from_before_identity_is_taken_over(void **state)
{
    (void)state;
    enum identity_policy found = IDENTITY_EMAIL;
    bench.account->replies = REPLIES_AGENTS_AND_BOTS;
    put_account(ORDER_CONVERSATION);
    reopen_after(kit_change, KIT_BEFORE_IDENTITY "PRAGMA user_version = 11");
    assert_int_equal(bench.store->ops->each_account(bench.store, keep_identity, &found), 0); // and its sum fits
    assert_int_equal(found, IDENTITY_NONE);
    assert_true(kit_verify(bench.store, true));
}

static void test_threads_from_before_are_taken_up_to_now(void **state)
{
    (void)state;
    int64_t first = learn("q", "c", "contact 1", "desk 1", 5000), other = learn("p", "d", "contact 2", "desk 2", 5000);
    inbound("r", "e"); // no thread yet
    reopen_after(kit_change, KIT_BEFORE_REPLIES "PRAGMA user_version = 9");
    int64_t now_s = time(NULL);
    assert_string_equal(news(), "");
    assert_int_equal(ask("desk 1", NULL).conversation_id, first);
    assert_int_equal(ask("desk 2", NULL).conversation_id, other);
    assert_int_equal(ask("new", "contact 2").conversation_id, other);
    int64_t taken_s = ask("desk 1", NULL).taken_s;
    assert_true(taken_s > now_s - 100 && taken_s <= now_s);
    char want[64];
    snprintf(want, sizeof want, "1:%d", (int)taken_s);
    assert_string_equal(searched(), want);
    inbound("s", "c"); // and it goes on as any other
    reply("part:1", first);
}

// A head that is not what was stored is told as such.
static void assert_head_is_damaged(int64_t lane)
{
    struct lane_page page;
    assert_int_equal(bench.store->ops->load_lane(bench.store, lane, 0, 2, &page), 0);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.entries[0].message->reason, REASON_DAMAGED);
    lane_page_done(&page);
}

static void test_damaged_reply_is_never_sent(void **state)
{
    (void)state;
    static const char *const damages[] = {"UPDATE messages SET format = 'other' WHERE direction = 1",
                                          "UPDATE messages SET format = NULL WHERE direction = 1",
                                          "UPDATE messages SET format = '' WHERE direction = 1",
                                          "UPDATE messages SET direction = 2 WHERE direction = 1",
                                          "UPDATE messages SET direction = 0 WHERE direction = 1",
                                          "UPDATE messages SET direction = 7 WHERE direction = 1",
                                          "UPDATE messages SET conversation_id = 9 WHERE direction = 1"};
    int64_t conversation_id = inbound("q", "c").conversation_id;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        char key[32];
        snprintf(key, sizeof key, "part:%zu", i);
        struct store_accept answer = reply(key, conversation_id);
        reopen_after(kit_damage, damages[i]);
        assert_head_is_damaged(answer.lane);
        struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_DISCARDED);
        assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
        assert_true(outcome.applied);
    }
    struct store_accept question = inbound("q2", "d"); // a format where there was none
    reopen_after(kit_damage, "UPDATE messages SET format = 'bold' WHERE dedupe_key = 'q2'");
    assert_head_is_damaged(question.lane);
    bench.damaged = true;
}

// Whose it was cannot be told: another one's conversation must not hear of it.
static void test_damaged_reply_makes_no_note(void **state)
{
    (void)state;
    int64_t conversation_id = inbound("q", "c").conversation_id;
    inbound("p", "d");
    struct store_accept answer = reply("part:1", conversation_id);
    reopen_after(kit_damage, "UPDATE messages SET conversation_id = conversation_id + 1 WHERE direction = 1");
    struct store_outcome outcome = kit_outcome(answer.message_id, MESSAGE_SKIPPED);
    outcome.reason = REASON_DAMAGED;
    outcome.note = STR("could not be sent");
    outcome.moved_to = STR("elsewhere");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    assert_int_equal(outcome.note_lane, 0);
    assert_int_equal(kit_totals(bench.store).accepted, 3);
    bench.damaged = true;
}

static void test_damaged_thread_is_found_anew_by_its_contact(void **state)
{
    (void)state;
    static const char *const damages[] = {"UPDATE desk_threads SET conversation_id = conversation_id + 1",
                                          "UPDATE desk_threads SET taken_s = 0", "UPDATE desk_threads SET sum = 1"};
    struct store_searched until = {.account_id = bench.account->id, .until_s = 8000};
    int64_t id = learn("q", "c", "contact 1", "desk 1", 5000), other = learn("p", "d", "contact 2", "desk 2", 5000);
    assert_int_equal(kit_apply(bench.store, STORE_SEARCHED, &until), 0);
    assert_true(other == id + 1);
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        take("desk 1", id, 9000, 10);
        reopen_after(kit_change, damages[i]);
        assert_false(kit_verify(bench.store, true));
        struct store_thread asked = ask("desk 1", NULL);
        assert_int_equal(asked.conversation_id, 0);
        assert_int_equal(asked.taken_s, 8000); // nothing old is sent again
        assert_int_equal(ask("desk 1", "contact 1").conversation_id, id);
    }
    tell_news(bench.account->id, "desk 1", 20);
    take("desk 1", id, 9500, 20);
    tell_news(bench.account->id, "desk 2", 20);
    take("desk 2", other, 9500, 20);
    assert_int_equal(ask("desk 1", NULL).conversation_id, id); // whole again
    assert_int_equal(ask("desk 1", NULL).taken_s, 9500);
}

static void test_damaged_search_begins_anew(void **state)
{
    (void)state;
    struct store_searched until = {.account_id = bench.account->id, .until_s = 8000};
    learn("q", "c", "contact 1", "desk 1", 5000);
    reopen_after(kit_change, "UPDATE desk_searches SET until_s = 9000");
    assert_false(kit_verify(bench.store, true));
    assert_string_equal(searched(), "1:0");
    assert_int_equal(kit_apply(bench.store, STORE_SEARCHED, &until), 0);
    assert_string_equal(searched(), "1:8000");
}

static void test_damaged_conversation_is_nobodys_by_contact_or_address(void **state)
{
    (void)state;
    int64_t id = learn("q", "-5", "contact 1", "desk 1", 5000), other = learn("p", "d", "contact 2", "desk 2", 5000);
    struct store_accept moved = inbound_event("q2", "-1005"), answer = reply("part:1", id);
    moved.event.migrated_from = STR("-5");
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &moved), 0);
    reopen_after(kit_change, "UPDATE conversations SET thread = '-1006' WHERE goes_on_in > 0;"
                             "UPDATE conversations SET contact = 'contact 1' WHERE contact = 'contact 2'");
    struct message *m = head_of(answer.lane);
    assert_null(m->address.p); // the platform says where it goes on
    message_free(m);
    assert_int_equal(ask("new", "contact 1").conversation_id, id);
    assert_int_equal(ask("desk 2", NULL).conversation_id, other); // its replies are set aside, and not unseen
    assert_head_is_damaged(reply("part:2", other).lane);
    bench.damaged = true;
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int run(const char *name, bool on_disk)
{
    bench.on_disk = on_disk;
    const struct CMUnitTest tests[] = {
        RULE(test_reply_stands_in_the_lane_of_its_conversations_replies),
        RULE(test_reply_is_read_back_whole_and_stored_once),
        RULE(test_reply_that_says_nothing_to_the_customer_is_stored_settled),
        RULE(test_reply_knows_the_link_and_where_the_thread_goes_on),
        RULE(test_reply_that_met_a_moved_thread_tells_the_store),
        RULE(test_skipped_reply_is_retried_in_its_lane),
        RULE(test_replies_that_wait_hold_no_changed_order_up),
        RULE(test_lanes_of_one_account_are_those_of_replies_too),
        RULE(test_account_with_a_waiting_reply_is_not_removed),
        RULE(test_body_of_a_reply_ages_with_its_format),
        RULE(test_note_stands_where_an_inbound_message_would),
        RULE(test_each_outcome_of_a_reply_may_have_its_note),
        RULE(test_notes_are_of_replies_alone),
        RULE(test_skipped_note_is_retried_where_the_rule_wants_it),
        RULE(test_listing_tells_directions_apart),
        RULE(test_only_what_customers_said_counts_as_delivered_last),
        RULE(test_references_of_replies_are_none_at_the_desk),
        RULE(test_thread_is_known_from_the_link_that_names_it),
        RULE(test_thread_that_an_agent_began_is_known_by_its_contact),
        RULE(test_contact_of_another_account_is_nobody),
        RULE(test_news_are_kept_until_they_are_taken),
        RULE(test_news_come_before_the_thread_is_known),
        RULE(test_news_of_a_thread_that_is_not_known_say_how_far_the_desk_was_searched),
        RULE(test_taken_thread_becomes_the_conversations),
        RULE(test_forgotten_thread_is_nobodys),
        RULE(test_taken_comes_with_the_replies_made_of_it),
        RULE(test_search_goes_forward_only),
        RULE(test_threads_go_with_their_account),
        RULE(test_policy_of_replies_is_kept),
        RULE(test_policy_of_identity_is_kept),
        RULE(test_threads_of_a_contact_that_is_shared),
    };
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, NULL, NULL);
}

static int run_on_disk(void)
{
    bench.on_disk = true;
    const struct CMUnitTest tests[] = {
        RULE(test_threads_outlive_the_process),
        RULE(test_a_store_from_before_identity_is_taken_over),
        RULE(test_threads_from_before_are_taken_up_to_now),
        RULE(test_damaged_reply_is_never_sent),
        RULE(test_damaged_reply_makes_no_note),
        RULE(test_damaged_thread_is_found_anew_by_its_contact),
        RULE(test_damaged_search_begins_anew),
        RULE(test_damaged_conversation_is_nobodys_by_contact_or_address),
    };
    return cmocka_run_group_tests_name("on disk", tests, NULL, NULL);
}

int main(void)
{
    int failed = run("sqlite", true);
    failed += run_on_disk();
    failed += run("memory", false);
    return failed ? 1 : 0;
}
