// The store's contract (store/store.h), one test per rule, over every back end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/store_kit.h"

struct fixture {
    struct store *(*make)(struct fixture *fixture);
    struct store *store;
    char *path;
    struct store_fault fault;
};

static struct store *make_sqlite(struct fixture *fixture)
{
    static int n;
    char name[32];
    snprintf(name, sizeof name, "contract%d", n++);
    fixture->path = kit_store_path(name);
    return kit_open(fixture->path);
}

// In which messages soon leave the memory for the table of what waits.
static struct store *make_small(struct fixture *fixture)
{
    static int n;
    char name[32];
    snprintf(name, sizeof name, "small%d", n++);
    fixture->path = kit_store_path(name);
    return kit_open_small(fixture->path, 1);
}

static struct store *make_memory(struct fixture *fixture)
{
    (void)fixture;
    return store_memory_new();
}

static struct store *make_faulty(struct fixture *fixture)
{
    fixture->fault = (struct store_fault){.err = ERR_IO, .after = -1};
    return store_faulty_new(make_sqlite(fixture), &fixture->fault);
}

static int set_up(void **state)
{
    struct fixture *fixture = *state;
    fixture->path = NULL;
    fixture->store = fixture->make(fixture);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    bool sum = kit_verify(fixture->store, true); // after every test
    fixture->store->ops->close(fixture->store, true);
    free(fixture->path);
    return sum ? 0 : -1;
}

static struct store *store_of(void **state)
{
    return ((struct fixture *)*state)->store;
}

static struct lane_page load(struct store *store, int64_t lane, int64_t after, size_t limit)
{
    struct lane_page page;
    assert_int_equal(store->ops->load_lane(store, lane, after, limit, &page), 0);
    return page;
}

static size_t lanes(struct store *store, int64_t account_id, int64_t after, size_t limit, int64_t *out)
{
    size_t count = 99;
    assert_int_equal(store->ops->lanes_with_work(store, account_id, after, limit, out, &count), 0);
    return count;
}

#define assert_str(s, literal) assert_true(str_eq((s), STR(literal)))

// --- Accepting ---

static void test_accepted_message_is_read_back_whole(void **state)
{
    struct store *store = store_of(state);
    struct store_accept accept = kit_accept("k1", "chat 7");
    accept.event.conversation_name = STR("Team");
    accept.event.text = STR("caf\xc3\xa9 \xe2\x82\xac");
    accept.event.attachments = STR("[]");
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    assert_int_equal(accept.result, ACCEPT_STORED);
    struct message *m = kit_message(store, accept.message_id);
    assert_int_equal(m->place, accept.place);
    assert_int_equal(m->lane, accept.lane);
    assert_int_equal(m->account_id, 1);
    assert_int_equal(m->source_id, 1);
    assert_int_equal(m->conversation_id, accept.conversation_id);
    assert_int_equal(m->direction, INBOUND);
    assert_int_equal(m->state, MESSAGE_PENDING);
    assert_int_equal(m->settled_at_us, 0);
    assert_int_equal(m->attempts, 0);
    assert_int_equal(m->sent_at_us, accept.event.sent_at_us);
    assert_int_equal(m->received_at_us, accept.received_at_us);
    assert_str(m->conversation, "chat 7");
    assert_str(m->conversation_name, "Team");
    assert_str(m->sender_id, "u1");
    assert_str(m->sender_name, "Ann");
    assert_true(str_eq(m->text, accept.event.text));
    assert_str(m->attachments, "[]");
    assert_null(m->last_error.p);
    assert_null(m->desk_ref.p);
    message_free(m);
}

static void test_absent_and_empty_texts_stay_apart(void **state)
{
    struct store *store = store_of(state);
    struct store_accept accept = kit_accept("k", "c");
    accept.event.sender_id = STR_NONE;
    accept.event.sender_name = STR("");
    accept.event.text = STR("");
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    struct message *m = kit_message(store, accept.message_id);
    assert_null(m->sender_id.p);
    assert_non_null(m->sender_name.p);
    assert_non_null(m->text.p);
    assert_int_equal(m->text.n, 0);
    assert_null(m->attachments.p);
    message_free(m);
}

static void test_large_text_with_zero_bytes_is_kept(void **state)
{
    struct store *store = store_of(state);
    char *text = malloc(300000);
    for (size_t i = 0; i < 300000; i++)
        text[i] = (char)(i % 251);
    struct store_accept accept = kit_accept("k", "c");
    accept.event.text = (struct str){text, 300000};
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    assert_true(kit_settle(store, accept.message_id, MESSAGE_DELIVERED));
    struct message *m = kit_message(store, accept.message_id);
    assert_true(str_eq(m->text, accept.event.text));
    message_free(m);
    free(text);
}

static void test_same_key_and_digest_is_stored_once(void **state)
{
    struct store *store = store_of(state);
    struct store_accept first = kit_store(store, "k", "c");
    struct store_accept again = kit_store(store, "k", "c");
    assert_int_equal(again.result, ACCEPT_DUPLICATE);
    assert_int_equal(again.message_id, first.message_id);
    assert_int_equal(kit_totals(store).accepted, 1);
}

static void test_duplicate_within_one_batch_is_stored_once(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_accept("k", "c"), b = kit_accept("k", "c");
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &a}, {.kind = STORE_ACCEPT, .accept = &b}};
    assert_int_equal(store->ops->apply(store, changes, 2), 0);
    assert_int_equal(a.result, ACCEPT_STORED);
    assert_int_equal(b.result, ACCEPT_DUPLICATE);
    assert_int_equal(kit_totals(store).accepted, 1);
}

static void test_duplicate_of_a_settled_message_is_still_one(void **state)
{
    struct store *store = store_of(state);
    struct store_accept first = kit_store(store, "k", "c");
    kit_settle(store, first.message_id, MESSAGE_DELIVERED);
    assert_int_equal(kit_store(store, "k", "c").result, ACCEPT_DUPLICATE);
}

static void test_same_key_with_another_digest_is_a_twin(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_accept("k", "c"), b = kit_accept("k", "c"), c = kit_accept("k", "c");
    a.event.digest = 1;
    b.event.digest = UINT64_MAX;
    c.event.digest = UINT64_MAX;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &a), 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &b), 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &c), 0);
    assert_int_equal(a.result, ACCEPT_STORED);
    assert_int_equal(b.result, ACCEPT_STORED_TWIN);
    assert_int_equal(c.result, ACCEPT_DUPLICATE);
    assert_int_equal(kit_totals(store).accepted, 2);
}

static void test_same_key_of_another_source_is_another_message(void **state)
{
    struct store *store = store_of(state);
    kit_store(store, "k", "c");
    struct store_accept other = kit_accept("k", "c");
    other.source_id = 2;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &other), 0);
    assert_int_equal(other.result, ACCEPT_STORED);
}

static void test_ids_and_places_grow_in_the_order_of_the_batch(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_accept("a", "c"), b = kit_accept("b", "c");
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &a}, {.kind = STORE_ACCEPT, .accept = &b}};
    assert_int_equal(store->ops->apply(store, changes, 2), 0);
    struct store_accept c = kit_store(store, "c", "c");
    assert_true(a.message_id > 0 && a.place > 0);
    assert_true(a.message_id < b.message_id && b.message_id < c.message_id);
    assert_true(a.place < b.place && b.place < c.place);
}

static void test_order_rule_decides_the_lane(void **state)
{
    struct store *store = store_of(state);
    struct store_accept account = kit_accept("1", "c"), thread = kit_accept("2", "c"), other = kit_accept("3", "d");
    thread.order = other.order = ORDER_CONVERSATION;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &account), 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &thread), 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &other), 0);
    assert_int_equal(account.lane, lane_id(LANE_ACCOUNT, 1));
    assert_int_equal(thread.lane, lane_id(LANE_CONVERSATION, thread.conversation_id));
    assert_int_equal(account.conversation_id, thread.conversation_id);
    assert_int_not_equal(thread.lane, other.lane);
}

static void test_same_thread_of_two_sources_is_two_conversations(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "1", "c"), b = kit_accept("2", "c");
    b.source_id = 2;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &b), 0);
    assert_int_not_equal(a.conversation_id, b.conversation_id);
}

static void test_event_without_meaning_is_stored_settled(void **state)
{
    struct store *store = store_of(state);
    struct store_accept accept = kit_accept("k", "c");
    accept.state = MESSAGE_DISCARDED;
    accept.reason = REASON_NO_MEANING;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    struct store_totals totals = kit_totals(store);
    assert_int_equal(totals.accepted, 1);
    assert_int_equal(totals.discarded, 1);
    assert_int_equal(totals.pending, 0);
    int64_t found[4];
    assert_int_equal(lanes(store, 0, 0, 4, found), 0);
    struct message *m = kit_message(store, accept.message_id);
    assert_int_equal(m->state, MESSAGE_DISCARDED);
    assert_int_equal(m->reason, REASON_NO_MEANING);
    assert_int_equal(m->settled_at_us, accept.received_at_us);
    message_free(m);
}

static void test_conversation_name_follows_the_newest_event(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_accept("1", "c"), b = kit_accept("2", "c");
    a.event.conversation_name = STR("Old");
    b.event.conversation_name = STR("New");
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &a), 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &b), 0);
    kit_store(store, "3", "c"); // says nothing of the name
    struct message *m = kit_message(store, a.message_id);
    assert_str(m->conversation_name, "New");
    message_free(m);
}

static void count_message(void *arg, const struct message *message)
{
    (void)message;
    ++*(int *)arg;
}

static int messages_of(struct store *store, const char *thread)
{
    struct store_reader *reader = store->ops->reader_new(store);
    struct message_filter filter = {.conversation = str_of(thread)};
    int count = 0;
    assert_int_equal(reader->ops->messages(reader, &filter, 0, 100, count_message, &count), 0);
    reader->ops->free(reader);
    return count;
}

static struct store_accept store_migrated(struct store *store, const char *key, const char *from, const char *to)
{
    struct store_accept accept = kit_accept(key, to);
    accept.order = ORDER_CONVERSATION;
    accept.event.migrated_from = str_of(from);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static struct store_accept store_in_lane(struct store *store, const char *key, const char *thread, struct arena *arena)
{
    struct store_accept accept = kit_accept(key, thread);
    accept.order = ORDER_CONVERSATION;
    accept.out_arena = arena;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static void test_migrated_thread_goes_on_in_its_conversation(void **state)
{
    struct store *store = store_of(state);
    struct arena arena = {0};
    struct store_accept old = store_in_lane(store, "1", "-5", &arena);
    struct link link = {.contact = STR("c1"), .conversation = STR("d1")};
    struct store_outcome outcome = kit_outcome(old.message_id, MESSAGE_DELIVERED);
    outcome.conversation_id = old.conversation_id;
    outcome.link = &link;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    assert_null(old.thread.p);
    struct store_accept moved = store_migrated(store, "2", "-5", "-1005");
    assert_int_equal(moved.conversation_id, old.conversation_id);
    assert_int_equal(moved.lane, old.lane);
    struct store_accept later = store_in_lane(store, "3", "-1005", &arena);
    assert_int_equal(later.conversation_id, old.conversation_id);
    assert_int_equal(later.lane, old.lane);
    assert_str(later.thread, "-5");
    assert_str(later.link.conversation, "d1");
    struct message *m = kit_message(store, later.message_id);
    assert_str(m->conversation, "-5");
    message_free(m);
    assert_int_equal(messages_of(store, "-5"), 3);
    assert_int_equal(messages_of(store, "-1005"), 3);
    assert_int_equal(messages_of(store, "-6"), 0);
    arena_done(&arena);
}

static void test_migration_may_come_twice_and_first(void **state)
{
    struct store *store = store_of(state);
    struct store_accept first = store_migrated(store, "1", "-5", "-1005"); // neither thread was seen before
    struct store_accept again = store_migrated(store, "2", "-5", "-1005");
    struct store_accept repeat = store_migrated(store, "2", "-5", "-1005");
    struct store_accept old = store_in_lane(store, "3", "-5", NULL);
    struct store_accept new = store_in_lane(store, "4", "-1005", NULL);
    assert_int_equal(repeat.result, ACCEPT_DUPLICATE);
    assert_int_equal(again.conversation_id, first.conversation_id);
    assert_int_equal(old.conversation_id, first.conversation_id);
    assert_int_equal(new.conversation_id, first.conversation_id);
    assert_int_equal(new.lane, old.lane);
    struct message *m = kit_message(store, first.message_id);
    assert_str(m->conversation, "-5");
    message_free(m);
}

static void test_what_came_before_the_migration_stays_where_it_is(void **state)
{
    struct store *store = store_of(state);
    struct store_accept early = store_in_lane(store, "1", "-1005", NULL), old = store_in_lane(store, "2", "-5", NULL);
    assert_int_not_equal(early.lane, old.lane);
    assert_int_equal(store_migrated(store, "3", "-5", "-1005").lane, old.lane);
    assert_int_equal(store_in_lane(store, "4", "-1005", NULL).lane, old.lane);
    struct message *m = kit_message(store, early.message_id);
    assert_int_equal(m->lane, early.lane);
    assert_str(m->conversation, "-1005");
    message_free(m);
}

static void test_migrations_in_a_circle_lead_nowhere(void **state)
{
    struct store *store = store_of(state);
    int64_t a = store_migrated(store, "1", "a", "b").conversation_id;
    assert_int_equal(store_migrated(store, "2", "b", "a").conversation_id, a);
    assert_int_equal(store_migrated(store, "3", "a", "a").conversation_id, a);
    assert_int_equal(store_migrated(store, "4", "b", "c").conversation_id, a); // goes on where b does
    int64_t d = store_in_lane(store, "5", "d", NULL).conversation_id;
    assert_int_equal(store_migrated(store, "6", "d", "a").conversation_id, a); // others go on in a
    assert_int_equal(store_migrated(store, "7", "d", "b").conversation_id, a); // b has gone already
    assert_int_equal(store_in_lane(store, "8", "d", NULL).conversation_id, d);
    struct store_accept other = kit_accept("9", "b"); // another source's
    other.source_id = 2;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &other), 0);
    assert_int_not_equal(other.conversation_id, a);
}

// --- Lanes ---

static void test_page_gives_the_lowest_places_first_and_says_more(void **state)
{
    struct store *store = store_of(state);
    int64_t ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = kit_store(store, (const char *[]){"a", "b", "c"}[i], "c").message_id;
    struct lane_page page = load(store, lane_id(LANE_ACCOUNT, 1), 0, 2);
    assert_int_equal(page.count, 2);
    assert_true(page.more);
    assert_int_equal(page.entries[0].message->id, ids[0]);
    assert_int_equal(page.entries[1].message->id, ids[1]);
    assert_int_equal(page.entries[0].message->reason, REASON_NONE);
    assert_str(page.entries[0].message->conversation, "c");
    int64_t place = page.entries[1].message->place;
    lane_page_done(&page);
    page = load(store, lane_id(LANE_ACCOUNT, 1), place, 2);
    assert_int_equal(page.count, 1);
    assert_false(page.more);
    assert_int_equal(page.entries[0].message->id, ids[2]);
    lane_page_done(&page);
}

static void test_page_of_a_lane_without_work_is_empty(void **state)
{
    struct lane_page page = load(store_of(state), 44, 0, 5);
    assert_int_equal(page.count, 0);
    assert_false(page.more);
    lane_page_done(&page);
}

static void test_settled_messages_leave_their_lane(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    struct lane_page page = load(store, a.lane, 0, 5);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.entries[0].message->id, b.message_id);
    lane_page_done(&page);
    kit_settle(store, b.message_id, MESSAGE_SKIPPED);
    int64_t found[4];
    assert_int_equal(lanes(store, 0, 0, 4, found), 0);
}

static void test_lanes_with_work_come_ascending_in_bounded_pages(void **state)
{
    struct store *store = store_of(state);
    int64_t want[5], found[5];
    for (int i = 0; i < 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct store_accept accept = kit_accept(key, key);
        accept.order = ORDER_CONVERSATION;
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
        want[i] = accept.lane;
    }
    assert_int_equal(lanes(store, 0, 0, 3, found), 3);
    assert_memory_equal(found, want, 3 * sizeof *want);
    assert_int_equal(lanes(store, 0, found[2], 3, found), 2);
    assert_memory_equal(found, want + 3, 2 * sizeof *want);
    assert_int_equal(lanes(store, 0, want[4], 3, found), 0);
}

static void test_lanes_with_work_of_one_account(void **state)
{
    struct store *store = store_of(state);
    kit_store(store, "a", "c");
    struct store_accept other = kit_accept("b", "c");
    other.account_id = 2;
    other.source_id = 2;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &other), 0);
    int64_t found[4];
    assert_int_equal(lanes(store, 2, 0, 4, found), 1);
    assert_int_equal(found[0], other.lane);
    assert_int_equal(lanes(store, 3, 0, 4, found), 0);
}

struct seen_lane {
    int64_t lane, account_id, head_id, waiting;
    bool whole;
};

static void on_seen_lane(void *arg, const struct lane_row *row)
{
    struct seen_lane **to = arg;
    *(*to)++ = (struct seen_lane){row->lane, row->account_id, row->head_id, row->waiting,
                                  row->head && row->head->id == row->head_id};
}

static size_t read_lanes(struct store *store, struct lane_filter filter, int64_t after, size_t limit,
                         struct seen_lane *out)
{
    struct seen_lane *to = out;
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->lanes(reader, &filter, after, limit, on_seen_lane, &to), 0);
    reader->ops->free(reader);
    return (size_t)(to - out);
}

static void test_reader_tells_lanes_with_their_heads(void **state)
{
    struct store *store = store_of(state);
    struct seen_lane seen[4];
    struct store_accept first = kit_store(store, "a", "c");
    struct store_accept second = kit_store(store, "b", "d");
    struct store_accept other = kit_accept("c", "c");
    other.account_id = other.source_id = 2;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &other), 0);
    assert_int_equal(read_lanes(store, (struct lane_filter){0}, 0, 4, seen), 2);
    assert_int_equal(seen[0].lane, first.lane);
    assert_int_equal(seen[0].account_id, 1);
    assert_int_equal(seen[0].head_id, first.message_id);
    assert_int_equal(seen[0].waiting, 2);
    assert_true(seen[0].whole);
    assert_int_equal(seen[1].lane, other.lane);
    assert_int_equal(read_lanes(store, (struct lane_filter){.account_id = 2, .brief = true}, 0, 4, seen), 1);
    assert_int_equal(seen[0].head_id, other.message_id);
    assert_false(seen[0].whole);
    assert_int_equal(read_lanes(store, (struct lane_filter){.lane = first.lane}, 0, 4, seen), 1);
    kit_settle(store, first.message_id, MESSAGE_DELIVERED);
    assert_int_equal(read_lanes(store, (struct lane_filter){.lane = first.lane}, 0, 4, seen), 1);
    assert_int_equal(seen[0].head_id, second.message_id);
    kit_settle(store, second.message_id, MESSAGE_SKIPPED);
    assert_int_equal(read_lanes(store, (struct lane_filter){.lane = first.lane}, 0, 4, seen), 0);
    assert_int_equal(read_lanes(store, (struct lane_filter){0}, 0, 1, seen), 1);
    assert_int_equal(read_lanes(store, (struct lane_filter){0}, other.lane, 4, seen), 0);
}

static void test_reader_tells_where_a_conversation_stands_in_a_lane(void **state)
{
    struct store *store = store_of(state);
    struct store_reader *reader = store->ops->reader_new(store);
    struct lane_line line;
    int64_t id = 0;
    struct store_accept first = kit_store(store, "a", "c");
    kit_store(store, "b", "c");
    struct store_accept wanted = kit_store(store, "d", "wanted");
    kit_store(store, "e", "c");
    kit_store(store, "f", "wanted");
    assert_int_equal(reader->ops->conversation(reader, 1, STR("wanted"), &id), 0);
    assert_int_equal(id, wanted.conversation_id);
    assert_int_equal(reader->ops->conversation(reader, 2, STR("wanted"), &id), ERR_NOT_FOUND);
    assert_int_equal(reader->ops->conversation(reader, 1, STR("want"), &id), ERR_NOT_FOUND);
    assert_int_equal(reader->ops->lane_line(reader, first.lane, id, 100, &line), 0);
    assert_int_equal(line.first_id, wanted.message_id);
    assert_int_equal(line.before, 2);
    assert_int_equal(line.own, 2);
    assert_true(line.looked_at_all);
    assert_int_equal(reader->ops->lane_line(reader, first.lane, id, 2, &line), 0);
    assert_int_equal(line.first_id, 0);
    assert_false(line.looked_at_all);
    reader->ops->free(reader);
}

static void test_reader_finds_what_was_delivered_last(void **state)
{
    struct store *store = store_of(state);
    struct store_reader *reader = store->ops->reader_new(store);
    int64_t id = 7, at_us = 7;
    struct store_accept first = kit_store(store, "a", "c"), second = kit_store(store, "b", "d");
    assert_int_equal(reader->ops->last_delivered(reader, 1, 0, 10, &id, &at_us), 0);
    assert_int_equal(id, 0);
    kit_settle(store, first.message_id, MESSAGE_DELIVERED);
    kit_settle(store, second.message_id, MESSAGE_DELIVERED);
    assert_int_equal(reader->ops->last_delivered(reader, 1, 0, 10, &id, &at_us), 0);
    assert_int_equal(id, second.message_id);
    assert_true(at_us > 0);
    assert_int_equal(reader->ops->last_delivered(reader, 1, first.conversation_id, 10, &id, &at_us), 0);
    assert_int_equal(id, first.message_id);
    assert_int_equal(reader->ops->last_delivered(reader, 1, first.conversation_id, 1, &id, &at_us), 0);
    assert_int_equal(id, 0); // not among the latest one
    assert_int_equal(reader->ops->last_delivered(reader, 2, 0, 10, &id, &at_us), 0);
    assert_int_equal(id, 0);
    reader->ops->free(reader);
}

static struct store_accept store_of_account(struct store *store, int64_t account_id, int64_t source_id, const char *key,
                                            enum order_rule order)
{
    struct store_accept accept = kit_accept(key, key);
    accept.account_id = account_id;
    accept.source_id = source_id;
    accept.order = order;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static struct account *make_account(const char *name, size_t source_count);
static struct store_account_put put_account(struct store *store, const struct account *account, int64_t *source_ids);

static void test_lanes_with_work_of_one_account_over_its_sources(void **state)
{
    struct store *store = store_of(state);
    struct account *acme = make_account("acme", 2), *other = make_account("other", 1);
    int64_t ids[2], other_ids[1], want[6], found[6];
    int64_t acme_id = put_account(store, acme, ids).id, other_id = put_account(store, other, other_ids).id;
    want[0] = store_of_account(store, acme_id, ids[0], "zero", ORDER_ACCOUNT).lane;
    for (int i = 1; i < 6; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        want[i] = store_of_account(store, acme_id, ids[i % 2], key, ORDER_CONVERSATION).lane;
        snprintf(key, sizeof key, "o%d", i);
        store_of_account(store, other_id, other_ids[0], key, ORDER_CONVERSATION);
    }
    assert_int_equal(lanes(store, acme_id, 0, 4, found), 4);
    assert_memory_equal(found, want, 4 * sizeof *want);
    assert_int_equal(lanes(store, acme_id, found[3], 4, found), 2);
    assert_memory_equal(found, want + 4, 2 * sizeof *want);
    assert_int_equal(lanes(store, acme_id, want[5], 4, found), 0);
    account_unref(acme);
    account_unref(other);
}

// --- Outcomes ---

static void test_retry_outcome_keeps_it_pending_with_its_attempts(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_PENDING);
    o.attempts = 3;
    o.next_attempt_us = 777;
    o.in_doubt = true;
    o.last_error = STR("HTTP 500");
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    assert_true(o.applied);
    struct lane_page page = load(store, a.lane, 0, 5);
    const struct message *m = page.entries[0].message;
    assert_int_equal(m->attempts, 3);
    assert_int_equal(m->next_attempt_us, 777);
    assert_true(m->in_doubt);
    assert_false(m->in_flight);
    assert_str(m->last_error, "HTTP 500");
    lane_page_done(&page);
    assert_int_equal(kit_totals(store).in_doubt, 1);
}

static void test_absent_texts_of_an_outcome_keep_the_stored_ones(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_PENDING);
    o.last_error = STR("first");
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    o = kit_outcome(a.message_id, MESSAGE_DELIVERED);
    o.desk_ref = STR("part 9");
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct message *m = kit_message(store, a.message_id);
    assert_str(m->last_error, "first");
    assert_str(m->desk_ref, "part 9");
    assert_int_equal(m->settled_at_us, o.at_us);
    message_free(m);
}

static void test_stale_outcome_changes_nothing(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    assert_true(kit_settle(store, a.message_id, MESSAGE_DELIVERED));
    struct link link = {.contact = STR("wrong")};
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_SKIPPED);
    o.link = &link;
    o.conversation_id = a.conversation_id;
    o.mark_next = b.message_id;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    assert_false(o.applied);
    struct lane_page page = load(store, b.lane, 0, 5);
    assert_false(page.entries[0].message->in_flight);
    assert_null(page.entries[0].link.contact.p);
    lane_page_done(&page);
    struct message *m = kit_message(store, a.message_id);
    assert_int_equal(m->state, MESSAGE_DELIVERED);
    message_free(m);
}

static void test_outcome_of_an_unknown_message_is_not_applied(void **state)
{
    assert_false(kit_settle(store_of(state), 12345, MESSAGE_DELIVERED));
    assert_false(kit_settle(store_of(state), 12345, MESSAGE_DISCARDED));
}

static void test_skipped_message_can_be_discarded_only(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    kit_settle(store, a.message_id, MESSAGE_SKIPPED);
    assert_int_equal(kit_totals(store).skipped, 1);
    assert_false(kit_settle(store, a.message_id, MESSAGE_DELIVERED));
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_DISCARDED);
    o.reason = REASON_BY_HAND;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    assert_true(o.applied);
    struct store_totals totals = kit_totals(store);
    assert_int_equal(totals.skipped, 0);
    assert_int_equal(totals.discarded, 1);
    assert_false(kit_settle(store, a.message_id, MESSAGE_DISCARDED)); // twice by hand: once counted
    assert_int_equal(kit_totals(store).discarded, 1);
}

static void test_settled_message_is_never_in_flight(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_DELIVERED);
    o.in_flight = true;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct store_mark mark = {a.message_id, true};
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), 0);
    struct message *m = kit_message(store, a.message_id);
    assert_false(m->in_flight);
    message_free(m);
}

static void test_mark_is_set_and_cleared(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct store_mark mark = {a.message_id, true};
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), 0);
    struct message *m = kit_message(store, a.message_id);
    assert_true(m->in_flight);
    message_free(m);
    mark.in_flight = false;
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), 0);
    m = kit_message(store, a.message_id);
    assert_false(m->in_flight);
    message_free(m);
}

static void test_outcome_marks_the_next_in_the_same_transaction(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_DELIVERED);
    o.mark_next = b.message_id;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct message *m = kit_message(store, b.message_id);
    assert_true(m->in_flight);
    message_free(m);
}

static void test_learned_link_comes_with_the_conversation(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    struct link link = {.contact = STR("contact"), .conversation = STR("thread"), .last_part = STR("part")};
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_DELIVERED);
    o.link = &link;
    o.conversation_id = a.conversation_id;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct lane_page page = load(store, b.lane, 0, 5);
    assert_str(page.entries[0].link.contact, "contact");
    assert_str(page.entries[0].link.conversation, "thread");
    assert_str(page.entries[0].link.last_part, "part");
    assert_null(page.entries[0].link.note.p);
    lane_page_done(&page);
    struct arena arena = {0};
    struct store_accept c = kit_accept("x", "c");
    c.out_arena = &arena;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &c), 0);
    assert_str(c.link.contact, "contact");
    arena_done(&arena);
}

static void test_learned_link_replaces_the_old_one_as_a_whole(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct link first = {.contact = STR("contact"), .conversation = STR("gone")}, second = {.contact = STR("merged")};
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_PENDING);
    o.conversation_id = a.conversation_id;
    o.link = &first;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    o.link = &second;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct lane_page page = load(store, a.lane, 0, 5);
    assert_str(page.entries[0].link.contact, "merged");
    assert_null(page.entries[0].link.conversation.p);
    lane_page_done(&page);
}

struct attempts {
    int count;
    int64_t at[8];
    char texts[8][32];
};

static void add_attempt(void *arg, const struct attempt_record *record)
{
    struct attempts *attempts = arg;
    attempts->at[attempts->count] = record->at_us;
    snprintf(attempts->texts[attempts->count++], 32, "%.*s:%.*s", STR_ARG(record->verdict), STR_ARG(record->error));
}

static void test_history_of_attempts_is_kept_in_order(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_PENDING);
    o.last_error = STR("500");
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    o.last_error = STR("502"); // in the same microsecond
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    o.verdict = NULL;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    o.verdict = "delivered";
    o.at_us += 100;
    o.last_error = STR_NONE;
    o.state = MESSAGE_DELIVERED;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct attempts attempts = {0};
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->attempts(reader, a.message_id, add_attempt, &attempts), 0);
    reader->ops->free(reader);
    assert_int_equal(attempts.count, 3);
    assert_string_equal(attempts.texts[0], "retry:500");
    assert_string_equal(attempts.texts[1], "retry:502");
    assert_string_equal(attempts.texts[2], "delivered:");
    assert_int_equal(attempts.at[1], attempts.at[0] + 1);
}

static void test_references_of_one_second_of_a_conversation(void **state)
{
    struct store *store = store_of(state);
    static const struct {
        const char *key, *conversation, *ref;
        int64_t sent_at_us;
        enum message_state state;
    } rows[] = {
        {"1", "c", "r1", 5000000, MESSAGE_DELIVERED}, {"2", "c", "r2", 5999999, MESSAGE_DELIVERED},
        {"3", "c", "r3", 6000000, MESSAGE_DELIVERED}, {"4", "c", "r4", 4999999, MESSAGE_DELIVERED},
        {"5", "d", "r5", 5000000, MESSAGE_DELIVERED}, {"6", "c", "r6", 5000000, MESSAGE_PENDING},
        {"7", "c", NULL, 5000000, MESSAGE_DELIVERED},
    };
    int64_t conversation_id = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct store_accept a = kit_accept(rows[i].key, rows[i].conversation);
        a.event.sent_at_us = rows[i].sent_at_us;
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &a), 0);
        struct store_outcome o = kit_outcome(a.message_id, rows[i].state);
        o.desk_ref = str_of(rows[i].ref);
        assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
        if (i == 0)
            conversation_id = a.conversation_id;
    }
    struct arena arena = {0};
    struct str *refs = NULL;
    size_t count = 0;
    assert_int_equal(store->ops->load_refs(store, conversation_id, 5, &arena, &refs, &count), 0);
    assert_int_equal(count, 2);
    assert_str(refs[0], "r1");
    assert_str(refs[1], "r2");
    arena_done(&arena);
}

// --- Retry by hand ---

static void test_retried_message_goes_to_the_tail_of_its_lane(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    struct store_outcome o = kit_outcome(a.message_id, MESSAGE_SKIPPED);
    o.attempts = 5;
    o.reason = REASON_GAVE_UP;
    o.in_doubt = true;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    struct store_retry retry = {.message_id = a.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_true(retry.applied);
    assert_int_equal(retry.lane, a.lane);
    struct store_accept c = kit_store(store, "x", "c");
    struct lane_page page = load(store, a.lane, 0, 5);
    assert_int_equal(page.count, 3);
    assert_int_equal(page.entries[0].message->id, b.message_id);
    assert_int_equal(page.entries[1].message->id, a.message_id);
    assert_int_equal(page.entries[2].message->id, c.message_id); // accepted later: behind it
    const struct message *m = page.entries[1].message;
    assert_true(m->place > m->id);
    assert_true(m->late);
    assert_true(m->in_doubt); // looked up first
    assert_int_equal(m->attempts, 0);
    assert_int_equal(m->reason, REASON_NONE);
    assert_int_equal(m->settled_at_us, 0);
    lane_page_done(&page);
    struct store_totals totals = kit_totals(store);
    assert_int_equal(totals.skipped, 0);
    assert_int_equal(totals.pending, 3);
}

static void test_only_a_skipped_message_is_retried(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    struct store_retry retry = {.message_id = a.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_false(retry.applied);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_false(retry.applied);
    retry.message_id = 999;
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_false(retry.applied);
}

// --- Accounts ---

static struct account *make_account(const char *name, size_t source_count)
{
    struct account *account = account_new();
    account->name = str_of(name);
    account->order = ORDER_CONVERSATION;
    account->on_failure = ON_FAILURE_HOLD;
    account->in_doubt = IN_DOUBT_HOLD;
    account->desk.platform = STR("webhook");
    account->desk.url = STR("http://desk.example/");
    account->desk.rate_per_min = 90;
    account->desk.probe = DESK_PROBE_NONE;
    account->source_count = source_count;
    account->sources = arena_alloc(&account->arena, 2 * sizeof *account->sources);
    for (size_t i = 0; i < source_count; i++)
        account->sources[i] = (struct source){.name = i ? STR("second") : STR("first"),
                                              .platform = STR("telegram"),
                                              .token = STR("123:abc"),
                                              .mode = SOURCE_POLLING,
                                              .take_over = i == 1};
    return account;
}

static struct store_account_put put_account(struct store *store, const struct account *account, int64_t *source_ids)
{
    struct store_account_put put = {.account = account, .file_text = STR("text"), .source_ids = source_ids};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
    return put;
}

struct accounts {
    int count;
    struct account *account[4];
    bool file_text_is_right;
};

static void add_account(void *arg, struct account *account, struct str file_text)
{
    struct accounts *accounts = arg;
    accounts->account[accounts->count++] = account;
    accounts->file_text_is_right = str_eq(file_text, STR("text"));
}

static struct accounts all_accounts(struct store *store)
{
    struct accounts accounts = {0};
    assert_int_equal(store->ops->each_account(store, add_account, &accounts), 0);
    return accounts;
}

static void free_accounts(struct accounts *accounts)
{
    for (int i = 0; i < accounts->count; i++)
        account_unref(accounts->account[i]);
}

static void test_account_is_read_back_whole(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 2);
    account->defined_at = STR("tributary.yaml:3");
    int64_t ids[2] = {0};
    struct store_account_put put = put_account(store, account, ids);
    assert_true(put.id > 0 && ids[0] > 0 && ids[1] > 0 && ids[0] != ids[1]);
    struct accounts found = all_accounts(store);
    assert_int_equal(found.count, 1);
    assert_true(found.file_text_is_right);
    const struct account *a = found.account[0];
    assert_int_equal(a->id, put.id);
    assert_str(a->name, "acme");
    assert_true(a->active);
    assert_int_equal(a->order, ORDER_CONVERSATION);
    assert_int_equal(a->on_failure, ON_FAILURE_HOLD);
    assert_int_equal(a->in_doubt, IN_DOUBT_HOLD);
    assert_str(a->desk.platform, "webhook");
    assert_int_equal(a->desk.rate_per_min, 90);
    assert_int_equal(a->desk.probe, DESK_PROBE_NONE);
    assert_null(a->desk.token.p);
    assert_str(a->defined_at, "tributary.yaml:3");
    assert_int_equal(a->source_count, 2);
    assert_int_equal(a->sources[1].id, ids[1]);
    assert_int_equal(a->sources[1].account_id, put.id);
    assert_str(a->sources[1].account, "acme");
    assert_str(a->sources[1].name, "second");
    assert_str(a->sources[1].token, "123:abc");
    assert_int_equal(a->sources[1].mode, SOURCE_POLLING);
    assert_true(a->sources[1].take_over);
    assert_false(a->sources[0].take_over);
    free_accounts(&found);
    account_unref(account);
}

static void test_account_put_again_by_name_keeps_its_ids(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 2);
    int64_t ids[2], again[2];
    int64_t id = put_account(store, account, ids).id;
    account->order = ORDER_ACCOUNT;
    assert_int_equal(put_account(store, account, again).id, id);
    assert_memory_equal(ids, again, sizeof ids);
    struct accounts found = all_accounts(store);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.account[0]->order, ORDER_ACCOUNT);
    free_accounts(&found);
    account_unref(account);
}

static struct account *find_stored(struct accounts *found, const char *name)
{
    for (int i = 0; i < found->count; i++)
        if (str_eq_c(found->account[i]->name, name))
            return found->account[i];
    return NULL;
}

static bool is_over(struct store *store, int64_t account_id)
{
    struct accounts found = all_accounts(store);
    struct store_order_over over = {.account_id = account_id};
    for (int i = 0; i < found.count; i++)
        over.barrier = found.account[i]->id == account_id ? found.account[i]->order_barrier : over.barrier;
    free_accounts(&found);
    assert_int_equal(kit_apply(store, STORE_ORDER_OVER, &over), 0);
    assert_false(over.more);
    return over.over;
}

static void test_changed_order_counts_from_then_on(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    account->order = ORDER_ACCOUNT;
    int64_t ids[1];
    int64_t id = put_account(store, account, ids).id;
    struct store_accept before = store_of_account(store, id, ids[0], "a", ORDER_ACCOUNT);
    account->order = ORDER_CONVERSATION;
    struct store_account_put put = put_account(store, account, ids);
    assert_false(put.order_kept);
    assert_int_equal(put.order, ORDER_CONVERSATION);
    assert_int_equal(put.order_barrier, before.place);
    // The caller's rule is of before the change: the store knows better.
    struct store_accept after = store_of_account(store, id, ids[0], "b", ORDER_ACCOUNT);
    assert_int_equal(after.lane, lane_id(LANE_CONVERSATION, after.conversation_id));
    struct accounts found = all_accounts(store);
    assert_int_equal(find_stored(&found, "acme")->order_barrier, before.place);
    free_accounts(&found);
    assert_false(is_over(store, id));
    kit_settle(store, before.message_id, MESSAGE_DELIVERED);
    assert_true(is_over(store, id));
    found = all_accounts(store);
    assert_int_equal(find_stored(&found, "acme")->order_barrier, 0);
    free_accounts(&found);
    account_unref(account);
}

static void test_second_change_of_the_order_waits_for_the_end_of_the_first(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    account->order = ORDER_CONVERSATION;
    int64_t ids[1];
    struct store_account_put put = put_account(store, account, ids);
    struct store_accept before = store_of_account(store, put.id, ids[0], "a", ORDER_CONVERSATION);
    account->order = ORDER_ACCOUNT;
    put_account(store, account, ids);
    account->order = ORDER_CONVERSATION;
    account->on_failure = ON_FAILURE_HOLD;
    put = put_account(store, account, ids);
    assert_true(put.order_kept);
    assert_int_equal(put.order, ORDER_ACCOUNT);
    assert_int_equal(put.order_barrier, before.place);
    struct accounts found = all_accounts(store);
    assert_int_equal(find_stored(&found, "acme")->order, ORDER_ACCOUNT);
    assert_int_equal(find_stored(&found, "acme")->on_failure, ON_FAILURE_HOLD); // the rest of it counts
    free_accounts(&found);
    kit_settle(store, before.message_id, MESSAGE_SKIPPED);
    put = put_account(store, account, ids); // over, though nobody asked
    assert_false(put.order_kept);
    assert_int_equal(put.order, ORDER_CONVERSATION);
    assert_int_equal(put.order_barrier, 0);
    account_unref(account);
}

static void test_a_look_at_one_order_change_says_nothing_of_the_next(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    account->order = ORDER_CONVERSATION;
    int64_t ids[1];
    int64_t id = put_account(store, account, ids).id;
    struct store_accept one = store_of_account(store, id, ids[0], "a", ORDER_CONVERSATION);
    account->order = ORDER_ACCOUNT;
    struct store_order_over over = {.account_id = id, .barrier = put_account(store, account, ids).order_barrier};
    struct store_accept two = store_of_account(store, id, ids[0], "b", ORDER_ACCOUNT);
    kit_settle(store, one.message_id, MESSAGE_DELIVERED);
    account->order = ORDER_CONVERSATION;
    assert_int_equal(put_account(store, account, ids).order_barrier, two.place);
    over.after_lane = two.lane; // as far as it was looked at for the first change
    assert_int_equal(kit_apply(store, STORE_ORDER_OVER, &over), 0);
    assert_false(over.over || over.more);
    assert_false(is_over(store, id));
    kit_settle(store, two.message_id, MESSAGE_DELIVERED);
    assert_int_equal(kit_apply(store, STORE_ORDER_OVER, &over), 0);
    assert_false(over.over || over.more);
    assert_true(is_over(store, id));
    account_unref(account);
}

static void test_order_changed_with_nothing_pending_has_no_barrier(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1), *other = make_account("other", 1);
    int64_t ids[1], other_ids[1];
    account->order = other->order = ORDER_CONVERSATION;
    int64_t other_id = put_account(store, other, other_ids).id;
    store_of_account(store, other_id, other_ids[0], "o", ORDER_CONVERSATION);
    put_account(store, account, ids);
    account->order = ORDER_ACCOUNT;
    assert_int_equal(put_account(store, account, ids).order_barrier, 0);
    account_unref(account);
    account_unref(other);
}

static void test_retried_message_goes_to_the_lane_of_the_rule_now(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    account->order = ORDER_ACCOUNT;
    int64_t ids[1];
    int64_t id = put_account(store, account, ids).id;
    struct store_accept skipped = store_of_account(store, id, ids[0], "a", ORDER_ACCOUNT);
    kit_settle(store, skipped.message_id, MESSAGE_SKIPPED);
    account->order = ORDER_CONVERSATION;
    put_account(store, account, ids);
    struct store_retry retry = {.message_id = skipped.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_int_equal(retry.lane, lane_id(LANE_CONVERSATION, skipped.conversation_id));
    struct message *message = kit_message(store, skipped.message_id);
    assert_int_equal(message->lane, retry.lane);
    message_free(message);
    struct lane_page page = load(store, retry.lane, 0, 2);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.entries[0].message->reason, REASON_NONE); // its checksum fits
    lane_page_done(&page);
    account_unref(account);
}

static void test_nothing_changes_nothing(void **state)
{
    struct store *store = store_of(state);
    kit_store(store, "a", "c");
    struct store_totals before = kit_totals(store);
    assert_int_equal(kit_apply(store, STORE_NOTHING, NULL), 0);
    struct store_totals after = kit_totals(store);
    assert_memory_equal(&before, &after, sizeof before);
}

static void test_source_that_comes_back_is_the_same(void **state)
{
    struct store *store = store_of(state);
    struct account *two = make_account("acme", 2), *one = make_account("acme", 1);
    int64_t ids[2], one_id[1], again[2];
    put_account(store, two, ids);
    put_account(store, one, one_id);
    assert_int_equal(one_id[0], ids[0]);
    struct accounts found = all_accounts(store);
    assert_int_equal(found.account[0]->source_count, 1);
    free_accounts(&found);
    put_account(store, two, again);
    assert_memory_equal(ids, again, sizeof ids);
    account_unref(one);
    account_unref(two);
}

static void test_source_that_is_gone_is_a_former_one(void **state)
{
    struct store *store = store_of(state);
    struct account *two = make_account("acme", 2), *one = make_account("acme", 1);
    int64_t ids[2], again[2];
    put_account(store, two, ids);
    put_account(store, one, again);
    put_account(store, one, again); // and stays one
    struct accounts found = all_accounts(store);
    const struct account *a = found.account[0];
    assert_int_equal(a->source_count, 1);
    assert_int_equal(a->former_count, 1);
    assert_str(a->former[0].name, "second");
    assert_str(a->former[0].platform, "telegram");
    assert_str(a->former[0].token, "123:abc");
    assert_int_equal(a->former[0].id, ids[1]);
    assert_null(account_find_source_id(a, ids[1]));
    assert_ptr_equal(account_find_any_source_id(a, ids[1]), &a->former[0]);
    free_accounts(&found);
    put_account(store, two, again);
    found = all_accounts(store);
    assert_int_equal(found.account[0]->source_count, 2);
    assert_int_equal(found.account[0]->former_count, 0);
    free_accounts(&found);
    account_unref(one);
    account_unref(two);
}

static void test_account_put_that_keeps_active_undoes_no_switch(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    int64_t ids[1];
    struct store_account_active off = {put_account(store, account, ids).id, false};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_ACTIVE, &off), 0);
    struct store_account_put put = {.account = account, .keep_active = true, .source_ids = ids};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
    assert_false(put.active);
    struct accounts found = all_accounts(store);
    assert_false(found.account[0]->active);
    free_accounts(&found);
    put = (struct store_account_put){.account = account, .source_ids = ids};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
    assert_true(put.active);
    found = all_accounts(store);
    assert_true(found.account[0]->active);
    free_accounts(&found);
    account_unref(account);
}

static int64_t remove_account(struct store *store, int64_t id, bool applied)
{
    struct store_account_gone gone = {.account_id = id};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_GONE, &gone), 0);
    assert_int_equal(gone.applied, applied);
    return id;
}

static struct store_accept accept_of(struct store *store, const struct account *account, int64_t source_id,
                                     const char *key)
{
    struct store_accept accept = {.account_id = account->id,
                                  .source_id = source_id,
                                  .order = account->order,
                                  .received_at_us = 1,
                                  .event = {.dedupe_key = str_of(key), .conversation = STR("c")}};
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static void test_account_is_removed_when_nothing_is_pending(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    int64_t ids[1], new_ids[1];
    account->id = put_account(store, account, ids).id;
    struct store_accept first = accept_of(store, account, ids[0], "one");
    remove_account(store, account->id, false);
    assert_true(kit_settle(store, first.message_id, MESSAGE_SKIPPED));
    remove_account(store, account->id, true);
    remove_account(store, account->id, false); // once
    struct accounts found = all_accounts(store);
    assert_int_equal(found.count, 0);
    // what was on its way is stored, and waits for nobody
    struct store_accept late = accept_of(store, account, ids[0], "two");
    assert_int_equal(late.state, MESSAGE_DISCARDED);
    assert_int_equal(late.reason, REASON_ORPHANED);
    struct store_retry retry = {.message_id = first.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_false(retry.applied);
    // its name is free: the next of that name is another one
    account->id = 0;
    int64_t id = put_account(store, account, new_ids).id;
    assert_true(id > 0 && new_ids[0] != ids[0]);
    account->id = id;
    assert_int_equal(accept_of(store, account, new_ids[0], "one").state, MESSAGE_PENDING);
    found = all_accounts(store);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.account[0]->id, id);
    assert_int_equal(found.account[0]->former_count, 0);
    free_accounts(&found);
    account_unref(account);
}

static void test_learned_of_a_source_survives_a_new_definition(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    int64_t ids[1];
    put_account(store, account, ids);
    struct store_source_learned learned = {.source_id = ids[0], .made_secret = STR("s3cret")};
    assert_int_equal(kit_apply(store, STORE_SOURCE_LEARNED, &learned), 0);
    learned = (struct store_source_learned){.source_id = ids[0], .registered_url = STR("https://x/")};
    assert_int_equal(kit_apply(store, STORE_SOURCE_LEARNED, &learned), 0);
    put_account(store, account, ids);
    struct accounts found = all_accounts(store);
    assert_str(found.account[0]->sources[0].made_secret, "s3cret");
    assert_str(found.account[0]->sources[0].registered_url, "https://x/");
    free_accounts(&found);
    account_unref(account);
}

static void test_account_is_deactivated_and_activated(void **state)
{
    struct store *store = store_of(state);
    struct account *account = make_account("acme", 1);
    int64_t ids[1];
    struct store_account_active change = {put_account(store, account, ids).id, false};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_ACTIVE, &change), 0);
    struct accounts found = all_accounts(store);
    assert_false(found.account[0]->active);
    free_accounts(&found);
    change.active = true;
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_ACTIVE, &change), 0);
    found = all_accounts(store);
    assert_true(found.account[0]->active);
    free_accounts(&found);
    account_unref(account);
}

static void keep_health(void *arg, const struct store_desk_health *health)
{
    *(struct store_desk_health *)arg = *health;
}

static void test_desk_health_is_kept(void **state)
{
    struct store *store = store_of(state);
    struct store_desk_health health = {.desk = UINT64_MAX - 3, .skips_in_row = 4}, found = {0};
    assert_int_equal(kit_apply(store, STORE_DESK_HEALTH, &health), 0);
    health.skips_in_row = 5;
    health.guard_suspended = true;
    assert_int_equal(kit_apply(store, STORE_DESK_HEALTH, &health), 0);
    assert_int_equal(store->ops->each_desk_health(store, keep_health, &found), 0);
    assert_true(found.desk == health.desk);
    assert_int_equal(found.skips_in_row, 5);
    assert_true(found.guard_suspended);
}

// --- Reading ---

static void test_totals_count_what_waits(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    struct store_accept other = kit_accept("x", "d");
    other.order = ORDER_CONVERSATION;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &other), 0);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    struct store_totals totals = kit_totals(store);
    assert_int_equal(totals.accepted, 3);
    assert_int_equal(totals.delivered, 1);
    assert_int_equal(totals.pending, 2);
    assert_int_equal(totals.lanes_waiting, 2);
    assert_int_equal(totals.oldest_pending_us, b.received_at_us);
    assert_int_equal(totals.in_doubt, 0);
}

static void keep_counts(void *arg, const struct account_counts *counts)
{
    ((int64_t *)arg)[counts->account_id] = counts->pending;
}

static void test_counts_per_account(void **state)
{
    struct store *store = store_of(state);
    struct account *one = make_account("one", 0), *two = make_account("two", 0);
    put_account(store, one, NULL);
    int64_t two_id = put_account(store, two, NULL).id;
    kit_store(store, "a", "c");
    struct store_accept b = kit_store(store, "b", "c");
    kit_settle(store, b.message_id, MESSAGE_DELIVERED);
    struct store_accept c = kit_accept("x", "d");
    c.account_id = two_id;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &c), 0);
    int64_t counts[8] = {0};
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->account_counts(reader, keep_counts, counts), 0);
    reader->ops->free(reader);
    assert_int_equal(counts[1], 1);
    assert_int_equal(counts[two_id], 1);
    account_unref(one);
    account_unref(two);
}

struct listing {
    int count;
    int64_t ids[16];
};

static void add_listed(void *arg, const struct message *message)
{
    struct listing *listing = arg;
    listing->ids[listing->count++] = message->id;
}

static struct listing list(struct store *store, struct message_filter filter, int64_t after, size_t limit)
{
    struct listing listing = {0};
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->messages(reader, &filter, after, limit, add_listed, &listing), 0);
    reader->ops->free(reader);
    return listing;
}

static void test_listing_pages_in_order_of_acceptance(void **state)
{
    struct store *store = store_of(state);
    int64_t ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = kit_store(store, (const char *[]){"a", "b", "c"}[i], "c").message_id;
    struct listing page = list(store, (struct message_filter){0}, 0, 2);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.ids[0], ids[0]);
    page = list(store, (struct message_filter){0}, page.ids[1], 2);
    assert_int_equal(page.count, 1);
    assert_int_equal(page.ids[0], ids[2]);
}

static void test_listing_filters(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "d");
    struct store_accept c = kit_accept("x", "e");
    c.account_id = 2;
    c.source_id = 2;
    c.event.text = STR("100% Off_Now");
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &c), 0);
    kit_settle(store, b.message_id, MESSAGE_SKIPPED);
    struct {
        struct message_filter filter;
        int count;
        int64_t id;
    } cases[] = {
        {{.account_id = 2}, 1, c.message_id},
        {{.source_id = 1}, 2, a.message_id},
        {{.conversation = STR("d")}, 1, b.message_id},
        {{.by_state = true, .state = MESSAGE_SKIPPED}, 1, b.message_id},
        {{.by_state = true, .state = MESSAGE_PENDING}, 2, a.message_id},
        {{.by_state = true, .state = MESSAGE_DELIVERED}, 0, 0},
        {{.by_direction = true, .direction = REPLY}, 0, 0},
        {{.by_direction = true, .direction = INBOUND}, 3, a.message_id},
        {{.text = STR("% OFF_")}, 1, c.message_id},
        {{.text = STR("Of%Now")}, 0, 0},
        {{.account_id = 1, .by_state = true, .state = MESSAGE_PENDING, .text = STR("hello")}, 1, a.message_id},
        {{.account_id = 1, .conversation = STR("d"), .by_state = true, .state = MESSAGE_SKIPPED}, 1, b.message_id},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct listing found = list(store, cases[i].filter, 0, 10);
        assert_int_equal(found.count, cases[i].count);
        if (found.count)
            assert_int_equal(found.ids[0], cases[i].id);
    }
}

static void test_unknown_message_is_not_found(void **state)
{
    struct store *store = store_of(state);
    struct store_reader *reader = store->ops->reader_new(store);
    struct message *message = NULL;
    assert_int_equal(reader->ops->message(reader, 5, &message), ERR_NOT_FOUND);
    assert_null(message);
    reader->ops->free(reader);
}

// --- Ageing out ---

static void age_all(struct store *store, int64_t bodies, int64_t dedupe)
{
    bool more = true;
    while (more)
        assert_int_equal(store->ops->age_out(store, bodies, dedupe, &more), 0);
}

static void test_bodies_go_first_and_keys_stay(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c");
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    age_all(store, INT64_MAX, 0);
    struct message *m = kit_message(store, a.message_id);
    assert_null(m->text.p);
    assert_int_equal(m->state, MESSAGE_DELIVERED);
    message_free(m);
    assert_int_equal(kit_store(store, "a", "c").result, ACCEPT_DUPLICATE);
}

static void test_rows_that_have_gone_stay_in_the_sum(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    kit_settle(store, b.message_id, MESSAGE_DISCARDED);
    age_all(store, INT64_MAX, INT64_MAX);
    assert_int_equal(list(store, (struct message_filter){0}, 0, 9).count, 0);
    struct store_totals totals = kit_totals(store);
    assert_int_equal(totals.accepted, 2);
    assert_int_equal(totals.delivered, 1);
    assert_int_equal(totals.discarded, 1);
    struct store_accept c = kit_store(store, "a", "c"); // beyond the window: new, with a number never used
    assert_int_equal(c.result, ACCEPT_STORED);
    assert_true(c.message_id > b.message_id);
}

static void test_pending_skipped_and_young_rows_do_not_age(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    kit_settle(store, b.message_id, MESSAGE_SKIPPED);
    age_all(store, INT64_MAX, INT64_MAX);
    struct message *m = kit_message(store, b.message_id);
    assert_str(m->text, "hello");
    message_free(m);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    age_all(store, 1, 1);
    m = kit_message(store, a.message_id);
    assert_str(m->text, "hello");
    message_free(m);
}

// --- What a look-up at the desk needs to tell apart ---

enum { SECOND_US = 1000000 };
static const int64_t hour_us = INT64_C(3600) * SECOND_US;

// Said in the fifth second, and accepted so long after it.
static struct store_accept said_in_second_five(const char *key, const char *conversation, int64_t after_us)
{
    struct store_accept accept = kit_accept(key, conversation);
    accept.event.sent_at_us = 5 * SECOND_US + (int64_t)strlen(key);
    accept.received_at_us = 5 * SECOND_US + after_us;
    return accept;
}

static struct store_accept accepted(struct store *store, struct store_accept accept)
{
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static void deliver_as(struct store *store, int64_t message_id, const char *ref)
{
    struct store_outcome o = kit_outcome(message_id, MESSAGE_DELIVERED);
    o.desk_ref = str_of(ref);
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &o), 0);
    assert_true(o.applied);
}

// How many references of the fifth second are known.
static size_t references(struct store *store, int64_t conversation_id)
{
    struct arena arena = {0};
    struct str *refs = NULL;
    size_t count = 0;
    assert_int_equal(store->ops->load_refs(store, conversation_id, 5, &arena, &refs, &count), 0);
    arena_done(&arena);
    return count;
}

static void retry(struct store *store, int64_t message_id)
{
    struct store_retry again = {.message_id = message_id};
    kit_settle(store, message_id, MESSAGE_SKIPPED);
    assert_int_equal(kit_apply(store, STORE_RETRY, &again), 0);
    assert_true(again.applied);
}

// Where the other message of that second is while the first one's row is old enough to go.
enum place_of_other { IT_WAITS, IT_IS_SKIPPED, IT_WAITS_AGAIN, IT_CAME_LATE, ITS_RULE_IS_ANOTHER };

static struct store_accept put_other(struct store *store, enum place_of_other place)
{
    struct store_accept other = said_in_second_five("other", "c", place == IT_CAME_LATE ? 48 * hour_us : SECOND_US);
    if (place == ITS_RULE_IS_ANOTHER)
        other.order = ORDER_CONVERSATION;
    other = accepted(store, other);
    if (place == IT_IS_SKIPPED)
        kit_settle(store, other.message_id, MESSAGE_SKIPPED);
    if (place == IT_WAITS_AGAIN)
        retry(store, other.message_id);
    return other;
}

// The desk has no key for what it is sent: a message in doubt is looked for there, and what others of its second are called
// there is not it. As long as one may be looked for, so long the others' references are known.
static void test_reference_stays_while_another_of_its_second_is_unsettled(void **state)
{
    for (enum place_of_other place = IT_WAITS; place <= ITS_RULE_IS_ANOTHER; place++) {
        struct fixture *fixture = *state;
        struct store *store = store_of(state);
        struct store_accept a = accepted(store, said_in_second_five("a", "c", SECOND_US));
        deliver_as(store, a.message_id, "r1");
        // In front of those at the tail stands what came long after that second.
        if (place == IT_WAITS_AGAIN || place == IT_CAME_LATE)
            accepted(store, said_in_second_five("front", "d", 47 * hour_us));
        struct store_accept other = put_other(store, place);
        age_all(store, INT64_MAX, INT64_MAX);
        assert_int_equal(references(store, a.conversation_id), 1);
        assert_int_equal(accepted(store, said_in_second_five("a", "c", 0)).result, ACCEPT_DUPLICATE);
        struct message *m = kit_message(store, a.message_id);
        assert_null(m->text.p); // its body is of no use to anybody
        message_free(m);
        kit_settle(store, other.message_id, place == IT_IS_SKIPPED ? MESSAGE_DISCARDED : MESSAGE_DELIVERED);
        age_all(store, INT64_MAX, INT64_MAX);
        assert_int_equal(references(store, a.conversation_id), 0);
        assert_int_equal(kit_totals(store).delivered, place == IT_IS_SKIPPED ? 1 : 2);
        assert_true(tear_down(state) == 0 && set_up(state) == 0);
        assert_ptr_equal(fixture, *state);
    }
}

static void test_reference_goes_when_no_other_can_be_taken_for_it(void **state)
{
    struct store *store = store_of(state);
    struct store_accept a = accepted(store, said_in_second_five("a", "c", SECOND_US));
    deliver_as(store, a.message_id, "r1");
    kit_settle(store, accepted(store, said_in_second_five("not here", "d", 0)).message_id, MESSAGE_SKIPPED);
    struct store_accept later = said_in_second_five("later", "c", 2 * SECOND_US);
    later.event.sent_at_us = 6 * SECOND_US;
    kit_settle(store, accepted(store, later).message_id, MESSAGE_SKIPPED);
    later.event.dedupe_key = STR("before");
    later.event.sent_at_us = 5 * SECOND_US - 1;
    kit_settle(store, accepted(store, later).message_id, MESSAGE_SKIPPED);
    struct store_accept reply = said_in_second_five("reply", "c", SECOND_US);
    reply.direction = REPLY;
    reply.conversation_id = a.conversation_id;
    reply = accepted(store, reply);
    kit_settle(store, reply.message_id, MESSAGE_SKIPPED);
    struct store_accept day_after = said_in_second_five("day after", "c", 24 * hour_us);
    day_after.event.sent_at_us = day_after.received_at_us; // it waits in the same lane
    accepted(store, day_after);
    age_all(store, INT64_MAX, INT64_MAX);
    assert_int_equal(references(store, a.conversation_id), 0);
    assert_int_equal(accepted(store, said_in_second_five("a", "c", 0)).result, ACCEPT_STORED);
}

// Nobody looks for them by what others are called.
static void test_rows_without_a_reference_at_the_desk_go(void **state)
{
    struct store *store = store_of(state);
    struct store_accept other = accepted(store, said_in_second_five("other", "c", SECOND_US));
    struct store_accept a = accepted(store, said_in_second_five("a", "c", SECOND_US));
    struct store_accept b = accepted(store, said_in_second_five("bb", "c", SECOND_US));
    struct store_accept reply = said_in_second_five("reply", "c", SECOND_US);
    reply.direction = REPLY;
    reply.conversation_id = a.conversation_id;
    reply = accepted(store, reply);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    kit_settle(store, b.message_id, MESSAGE_DISCARDED);
    deliver_as(store, reply.message_id, "r1");
    age_all(store, INT64_MAX, INT64_MAX);
    struct listing found = list(store, (struct message_filter){0}, 0, 9);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.ids[0], other.message_id);
}

static struct store_accept take_at(struct store *store, const char *key, int64_t at_us)
{
    struct store_accept accept = kit_accept(key, "c");
    accept.received_at_us = at_us;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    struct store_outcome outcome = kit_outcome(accept.message_id, MESSAGE_DELIVERED);
    outcome.at_us = at_us;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    return accept;
}

// The clock was set ahead and back again: what was taken meanwhile is in nobody's way.
static void test_rows_of_a_time_ahead_let_those_behind_them_age(void **state)
{
    struct store *store = store_of(state);
    take_at(store, "before", 1000);
    struct store_accept ahead = take_at(store, "ahead", 1000000);
    take_at(store, "behind", 1010);
    struct store_accept young = take_at(store, "young", 2000);
    age_all(store, 1500, 1500);
    struct listing found = list(store, (struct message_filter){0}, 0, 9);
    assert_int_equal(found.count, 2);
    assert_int_equal(found.ids[0], ahead.message_id);
    assert_int_equal(found.ids[1], young.message_id);
    age_all(store, 1000001, 1000001);
    assert_int_equal(list(store, (struct message_filter){0}, 0, 9).count, 0);
}

static void test_store_has_an_id(void **state)
{
    struct store *store = store_of(state);
    assert_true(store->ops->id(store).n >= 8);
    assert_int_equal(store->ops->checkpoint(store, false), 0);
    assert_int_equal(store->ops->apply(store, NULL, 0), 0);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int run(const char *name, struct store *(*make)(struct fixture *fixture))
{
    struct fixture fixture = {.make = make};
    struct CMUnitTest tests[] = {
        RULE(test_accepted_message_is_read_back_whole),
        RULE(test_absent_and_empty_texts_stay_apart),
        RULE(test_large_text_with_zero_bytes_is_kept),
        RULE(test_same_key_and_digest_is_stored_once),
        RULE(test_duplicate_within_one_batch_is_stored_once),
        RULE(test_duplicate_of_a_settled_message_is_still_one),
        RULE(test_same_key_with_another_digest_is_a_twin),
        RULE(test_same_key_of_another_source_is_another_message),
        RULE(test_ids_and_places_grow_in_the_order_of_the_batch),
        RULE(test_order_rule_decides_the_lane),
        RULE(test_same_thread_of_two_sources_is_two_conversations),
        RULE(test_event_without_meaning_is_stored_settled),
        RULE(test_conversation_name_follows_the_newest_event),
        RULE(test_migrated_thread_goes_on_in_its_conversation),
        RULE(test_migration_may_come_twice_and_first),
        RULE(test_what_came_before_the_migration_stays_where_it_is),
        RULE(test_migrations_in_a_circle_lead_nowhere),
        RULE(test_page_gives_the_lowest_places_first_and_says_more),
        RULE(test_page_of_a_lane_without_work_is_empty),
        RULE(test_settled_messages_leave_their_lane),
        RULE(test_lanes_with_work_come_ascending_in_bounded_pages),
        RULE(test_lanes_with_work_of_one_account),
        RULE(test_reader_tells_lanes_with_their_heads),
        RULE(test_reader_tells_where_a_conversation_stands_in_a_lane),
        RULE(test_reader_finds_what_was_delivered_last),
        RULE(test_lanes_with_work_of_one_account_over_its_sources),
        RULE(test_changed_order_counts_from_then_on),
        RULE(test_second_change_of_the_order_waits_for_the_end_of_the_first),
        RULE(test_a_look_at_one_order_change_says_nothing_of_the_next),
        RULE(test_order_changed_with_nothing_pending_has_no_barrier),
        RULE(test_nothing_changes_nothing),
        RULE(test_retried_message_goes_to_the_lane_of_the_rule_now),
        RULE(test_retry_outcome_keeps_it_pending_with_its_attempts),
        RULE(test_absent_texts_of_an_outcome_keep_the_stored_ones),
        RULE(test_stale_outcome_changes_nothing),
        RULE(test_outcome_of_an_unknown_message_is_not_applied),
        RULE(test_skipped_message_can_be_discarded_only),
        RULE(test_settled_message_is_never_in_flight),
        RULE(test_mark_is_set_and_cleared),
        RULE(test_outcome_marks_the_next_in_the_same_transaction),
        RULE(test_learned_link_comes_with_the_conversation),
        RULE(test_learned_link_replaces_the_old_one_as_a_whole),
        RULE(test_history_of_attempts_is_kept_in_order),
        RULE(test_references_of_one_second_of_a_conversation),
        RULE(test_retried_message_goes_to_the_tail_of_its_lane),
        RULE(test_only_a_skipped_message_is_retried),
        RULE(test_account_is_read_back_whole),
        RULE(test_account_put_again_by_name_keeps_its_ids),
        RULE(test_source_that_is_gone_is_a_former_one),
        RULE(test_account_put_that_keeps_active_undoes_no_switch),
        RULE(test_account_is_removed_when_nothing_is_pending),
        RULE(test_source_that_comes_back_is_the_same),
        RULE(test_learned_of_a_source_survives_a_new_definition),
        RULE(test_account_is_deactivated_and_activated),
        RULE(test_desk_health_is_kept),
        RULE(test_totals_count_what_waits),
        RULE(test_counts_per_account),
        RULE(test_listing_pages_in_order_of_acceptance),
        RULE(test_listing_filters),
        RULE(test_unknown_message_is_not_found),
        RULE(test_bodies_go_first_and_keys_stay),
        RULE(test_rows_that_have_gone_stay_in_the_sum),
        RULE(test_pending_skipped_and_young_rows_do_not_age),
        RULE(test_reference_stays_while_another_of_its_second_is_unsettled),
        RULE(test_reference_goes_when_no_other_can_be_taken_for_it),
        RULE(test_rows_without_a_reference_at_the_desk_go),
        RULE(test_rows_of_a_time_ahead_let_those_behind_them_age),
        RULE(test_store_has_an_id),
    };
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tests[i].initial_state = &fixture;
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, NULL, NULL);
}

int main(void)
{
    int failed = run("sqlite", make_sqlite);
    failed += run("sqlite, small blocks", make_small);
    failed += run("memory", make_memory);
    failed += run("faulty", make_faulty);
    return failed ? 1 : 0;
}
