// verify: what it finds, what it does not take for a fault, and how it bounds itself.
#include "support/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/sqlite_reader.h"
#include "store/sqlite_verify_order.h"
#include "support/store_kit.h"

static char *path;
static struct store *store;

static int begin(void **state)
{
    (void)state;
    static int n;
    char name[32];
    snprintf(name, sizeof name, "verify%d", n++);
    path = kit_store_path(name);
    store = kit_open(path);
    return 0;
}

static int end(void **state)
{
    (void)state;
    store->ops->close(store, true);
    free(path);
    return 0;
}

// Closes the store, changes it behind the indexes' back, opens it.
static void damage(const char *sql)
{
    store->ops->close(store, true);
    kit_damage(path, sql);
    store = kit_open(path);
}

// Flips one bit of the first place where the text stands in the file.
static void flip_text(const char *text)
{
    store->ops->close(store, true);
    int fd = open(path, O_RDWR);
    off_t size = lseek(fd, 0, SEEK_END);
    char *bytes = malloc((size_t)size);
    assert_int_equal(pread(fd, bytes, (size_t)size, 0), size);
    char *at = memmem(bytes, (size_t)size, text, strlen(text));
    assert_non_null(at);
    *at ^= 1;
    assert_int_equal(pwrite(fd, at, 1, at - bytes), 1);
    free(bytes);
    close(fd);
    store = kit_open(path);
}

// ---- what was found

static struct {
    int counts[FINDING_NOTE + 1];
    int64_t messages[FINDING_NOTE + 1]; // the last one's
    char texts[FINDING_NOTE + 1][512];  // the last one's
    char advice[FINDING_NOTE + 1][512]; // the last one's
    struct store_check check;
} found;

static void on_finding(void *arg, const struct store_finding *finding)
{
    (void)arg;
    found.counts[finding->kind]++;
    found.messages[finding->kind] = finding->message_id;
    snprintf(found.texts[finding->kind], sizeof found.texts[0], "%.*s", STR_ARG(finding->text));
    snprintf(found.advice[finding->kind], sizeof found.advice[0], "%.*s", STR_ARG(finding->advice));
}

static void look(bool deep)
{
    memset(&found, 0, sizeof found);
    found.check = (struct store_check){.deep = deep, .finding = on_finding};
    kit_check(store, &found.check);
}

// Nothing but, perhaps, of this kind.
static void assert_found(enum store_finding_kind kind, int count)
{
    for (int i = 0; i <= FINDING_NOTE; i++) {
        if (found.counts[i] && i != (int)kind)
            print_message("# %s\n", found.texts[i]);
        assert_int_equal(found.counts[i], i == (int)kind ? count : 0);
    }
    assert_int_equal(found.check.ok, !count || kind == FINDING_NOTE);
}

// ---- order

static int64_t settle_at(int64_t id, enum message_state state, int64_t at_us)
{
    struct store_outcome outcome = kit_outcome(id, state);
    outcome.at_us = at_us;
    outcome.verdict = NULL;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    return id;
}

static int64_t accept_at(const char *key, int64_t at_us)
{
    struct store_accept accept = kit_accept(key, "c");
    accept.received_at_us = at_us;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept.message_id;
}

static void retry(int64_t id)
{
    struct store_retry change = {.message_id = id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &change), 0);
    assert_true(change.applied);
}

static void test_a_message_settled_while_an_earlier_one_waits_is_named(void **state)
{
    (void)state;
    int64_t a = accept_at("a", 1), b = accept_at("b", 2);
    look(false);
    assert_found(FINDING_ORDER, 0);
    settle_at(b, MESSAGE_DELIVERED, 10);
    look(false);
    assert_found(FINDING_ORDER, 1);
    assert_int_equal(found.messages[FINDING_ORDER], b);
    settle_at(a, MESSAGE_DELIVERED, 10); // by the clock at once
    look(false);
    assert_found(FINDING_ORDER, 0);
    assert_int_equal(found.check.lanes, 1);
    assert_int_equal(found.check.messages, 2);
    assert_int_equal(found.check.conversations, 1);
}

static void test_a_message_tried_or_marked_while_an_earlier_one_waits_is_named(void **state)
{
    (void)state;
    accept_at("a", 1);
    int64_t b = accept_at("b", 2);
    struct store_mark mark = {b, true};
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), 0);
    look(false);
    assert_found(FINDING_ORDER, 1);
    assert_int_equal(found.messages[FINDING_ORDER], b);
    struct store_outcome outcome = kit_outcome(b, MESSAGE_PENDING); // attempts 1, the mark is cleared
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    look(false);
    assert_found(FINDING_ORDER, 1);
}

static void test_discards_by_hand_are_in_nobodys_turn(void **state)
{
    (void)state;
    int64_t a = accept_at("a", 1), b = accept_at("b", 2);
    settle_at(b, MESSAGE_DISCARDED, 10);
    settle_at(a, MESSAGE_DELIVERED, 20);
    look(true);
    assert_found(FINDING_ORDER, 0);
}

static void test_settled_in_another_order_than_that_of_places_is_a_fault(void **state)
{
    (void)state;
    int64_t a = accept_at("a", 1), b = accept_at("b", 2);
    settle_at(a, MESSAGE_SKIPPED, 20);
    settle_at(b, MESSAGE_DELIVERED, 19);
    look(false);
    assert_found(FINDING_ORDER, 1);
    assert_int_equal(found.messages[FINDING_ORDER], b);
}

static void test_first_tried_before_the_one_in_front_was_settled_is_a_fault(void **state)
{
    (void)state;
    int64_t a = accept_at("a", 1), b = accept_at("b", 2);
    settle_at(a, MESSAGE_DELIVERED, 20);
    struct store_outcome outcome = kit_outcome(b, MESSAGE_PENDING);
    outcome.at_us = 15;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    settle_at(b, MESSAGE_DELIVERED, 30);
    look(false);
    assert_found(FINDING_ORDER, 1);
    assert_non_null(strstr(found.texts[FINDING_ORDER], "tried"));
}

static void test_late_ones_stand_at_their_place(void **state)
{
    (void)state;
    int64_t a = accept_at("a", 1), b = accept_at("b", 2);
    settle_at(a, MESSAGE_SKIPPED, 10);
    retry(a); // behind b now
    settle_at(b, MESSAGE_DELIVERED, 20);
    int64_t c = accept_at("c", 3); // behind a
    settle_at(a, MESSAGE_DELIVERED, 30);
    settle_at(c, MESSAGE_DELIVERED, 40);
    look(false);
    assert_found(FINDING_ORDER, 0);
    int64_t d = accept_at("d", 4);
    settle_at(d, MESSAGE_SKIPPED, 50);
    retry(d);
    int64_t e = accept_at("e", 5); // behind d
    settle_at(d, MESSAGE_DELIVERED, 70);
    settle_at(e, MESSAGE_DELIVERED, 60);
    look(false);
    assert_found(FINDING_ORDER, 1);
    assert_int_equal(found.messages[FINDING_ORDER], e);
}

static void test_a_clock_that_was_set_back_is_no_fault_where_the_store_shows_it(void **state)
{
    (void)state;
    const int64_t s = 1000000;
    int64_t a = accept_at("a", 1000 * s), b = accept_at("b", 1001 * s);
    settle_at(a, MESSAGE_DELIVERED, 1002 * s);
    settle_at(b, MESSAGE_DELIVERED, 900 * s); // set back before
    look(false);
    assert_found(FINDING_ORDER, 1); // nothing shows it yet
    int64_t c = accept_at("c", 901 * s);
    settle_at(c, MESSAGE_DELIVERED, 902 * s);
    look(false);
    assert_found(FINDING_NOTE, 1);
    int64_t d = accept_at("d", 2000 * s), e = accept_at("e", 2001 * s);
    settle_at(d, MESSAGE_DELIVERED, 3000 * s); // a fault of another time
    settle_at(e, MESSAGE_DELIVERED, 2500 * s);
    look(false);
    assert_int_equal(found.counts[FINDING_ORDER], 1);
    assert_int_equal(found.counts[FINDING_NOTE], 1);
    assert_int_equal(found.messages[FINDING_ORDER], e);
}

static void on_fault(void *arg, const struct order_fault *fault)
{
    int64_t *last = arg;
    *last = fault->then_id;
}

static void test_many_lanes_are_compared_in_little_memory(void **state)
{
    (void)state;
    enum { LANES = 300000 };
    struct order_check *check = order_check_new();
    int64_t last = 0, by_clock;
    for (int64_t id = 1; id <= 2 * LANES; id++) {
        struct message m = {.id = id, .place = id, .lane = (id % LANES + 1) * 4, .settled_at_us = id};
        if (id == LANES + 77)
            m.settled_at_us = 76;
        order_check_settled(check, &m, 0);
    }
    assert_int_equal(order_check_lanes(check), LANES);
    assert_int_equal(order_check_left_out(check), 0);
    order_check_end(check, on_fault, &last, &by_clock);
    assert_int_equal(last, LANES + 77);
    assert_int_equal(by_clock, 0);
    order_check_free(check);
}

// ---- damage

enum { MANY = 2000 };

// "text number 0." and so on, in one transaction.
static void store_many(void)
{
    static struct {
        char key[16], text[32];
    } words[MANY];
    static struct store_accept accepts[MANY];
    static struct store_change changes[MANY];
    for (int i = 0; i < MANY; i++) {
        snprintf(words[i].key, sizeof words[i].key, "k%d", i);
        snprintf(words[i].text, sizeof words[i].text, "text number %d.", i);
        accepts[i] = kit_accept(words[i].key, "c");
        accepts[i].event.text = str_of(words[i].text);
        changes[i] = (struct store_change){.kind = STORE_ACCEPT, .accept = &accepts[i]};
    }
    assert_int_equal(store->ops->apply(store, changes, MANY), 0);
}

static void test_a_flipped_bit_is_named_with_its_message_wherever_it_waits(void **state)
{
    (void)state;
    store_many();
    flip_text("text number 1776.");
    look(false);
    assert_found(FINDING_DAMAGED, 1);
    assert_int_equal(found.messages[FINDING_DAMAGED], 1777);
    assert_int_equal(found.check.damaged, 1);
    kit_settle(store, 1777, MESSAGE_DISCARDED); // somebody knows
    look(false);
    assert_found(FINDING_NOTE, 1);
    assert_int_equal(found.check.damaged, 0);
}

static void test_a_damaged_conversation_is_named(void **state)
{
    (void)state;
    kit_store(store, "a", "the thread of one");
    flip_text("the thread of one");
    look(false);
    assert_int_equal(found.counts[FINDING_DAMAGED], 2); // the message says the thread, too
    assert_false(found.check.ok);
}

static void test_a_row_that_its_index_contradicts_is_named(void **state)
{
    (void)state;
    int64_t a = accept_at("a", 1), b = accept_at("b", 2);
    settle_at(a, MESSAGE_DELIVERED, 3);
    damage("UPDATE messages SET state = 1 WHERE id = 2");
    look(false);
    assert_int_equal(found.messages[FINDING_SUM], b);
    assert_non_null(strstr(found.texts[FINDING_SUM], "has it"));
    damage("UPDATE messages SET state = 0");
    look(false);
    assert_int_equal(found.messages[FINDING_SUM], a);
    assert_non_null(strstr(found.texts[FINDING_SUM], "lacks it"));
    damage("UPDATE messages SET state = id - 1; UPDATE messages SET state = 1 WHERE id = 1;"
           "UPDATE messages SET state = 0 WHERE id = 2; UPDATE totals SET last_number = 1");
    look(false);
    assert_found(FINDING_SUM, 2); // the row of the totals is not what was stored, too
    assert_non_null(strstr(found.texts[FINDING_SUM], "last number"));
    assert_true(kit_store(store, "new", "c").message_id > 2);
}

// A fresh one need not stand in the table, but one that was tried again must, and one that was settled must not.
static void test_the_table_of_what_waits_is_held_against_fresh_rows(void **state)
{
    (void)state;
    accept_at("first", 1);
    int64_t again = accept_at("a", 2), fresh = accept_at("b", 3);
    settle_at(again, MESSAGE_SKIPPED, 4);
    retry(again);
    look(false);
    assert_found(FINDING_SUM, 0);
    kit_change(path, "DELETE FROM waiting");
    look(false);
    assert_found(FINDING_SUM, 1);
    assert_int_equal(found.messages[FINDING_SUM], again);
    assert_non_null(strstr(found.texts[FINDING_SUM], "lacks it"));
    kit_change(path, "INSERT INTO waiting SELECT lane, place, id, account_id FROM messages WHERE state = 0;"
                     "UPDATE messages SET state = 3, reason = 3 WHERE id = 3");
    look(false);
    assert_int_equal(found.messages[FINDING_SUM], fresh);
    assert_non_null(strstr(found.texts[FINDING_SUM], "has it"));
}

static void test_what_it_advises_brings_back_what_the_table_lacks(void **state)
{
    (void)state;
    accept_at("a", 1);
    int64_t b = accept_at("b", 2);
    damage("DELETE FROM waiting WHERE id = 2");
    look(false);
    assert_int_equal(found.messages[FINDING_SUM], b);
    char *sql = strstr(found.advice[FINDING_SUM], "'");
    assert_non_null(sql);
    *strchr(sql + 1, '\'') = 0;
    store->ops->close(store, true);
    kit_change(path, sql + 1);
    store = kit_open(path);
    look(true);
    assert_found(FINDING_SUM, 0);
}

static void test_numbers_that_nobody_writes_are_damage(void **state)
{
    (void)state;
    static const char *const numbers[] = {"state = 4", "direction = 2", "reason = 99", "late = 1",
                                          "late = 2",  "attempts = -1", "place = 7",   "in_flight = 3"};
    accept_at("a", 1);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char sql[300];
        snprintf(
            sql, sizeof sql,
            "UPDATE messages SET state = 0, direction = 0, reason = 0, late = 0, attempts = 0, place = 1, in_flight = 0; UPDATE messages SET %s",
            numbers[i]);
        damage(sql);
        look(false);
        if (!found.counts[FINDING_DAMAGED])
            print_message("# %s\n", numbers[i]);
        assert_int_equal(found.counts[FINDING_DAMAGED], 1);
    }
}

// ---- while others work

static void test_the_log_is_bounded_while_the_file_is_looked_at(void **state)
{
    (void)state;
    store_many();
    memset(&found, 0, sizeof found);
    found.check = (struct store_check){.deep = true, .finding = on_finding};
    struct store_reader *reader = store->ops->reader_new(store);
    sqlite_reader_of(reader)->log_room = -1;
    assert_int_equal(reader->ops->verify(reader, &found.check), 0);
    assert_false(found.check.ok);
    assert_true(found.counts[FINDING_UNPROVEN] >= 1); // the small tables were
    assert_int_equal(found.counts[FINDING_NOTE], 1);
    sqlite_reader_of(reader)->log_room = 1 << 20;
    assert_int_equal(reader->ops->verify(reader, &found.check), 0);
    assert_true(found.check.ok);
    reader->ops->free(reader);
}

enum { ROUNDS = TRIBUTARY_CHECKS ? 20 : 60, PER_ROUND = 20 };

// Accepts, delivers in order, skips, tries again, discards, and lets what is old go.
static void *work(void *arg)
{
    atomic_bool *over = arg;
    int64_t now = 1000000000000;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t ids[PER_ROUND];
        bool more;
        for (int i = 0; i < PER_ROUND; i++) {
            char key[32];
            snprintf(key, sizeof key, "w%d-%d", round, i);
            ids[i] = accept_at(key, now++);
        }
        for (int i = 0; i < PER_ROUND; i++)
            settle_at(ids[i], i == 3 ? MESSAGE_SKIPPED : MESSAGE_DELIVERED, now++);
        retry(ids[3]);
        settle_at(ids[3], MESSAGE_DELIVERED, now++);
        assert_int_equal(store->ops->age_out(store, now - 200, now - 400, &more), 0);
    }
    atomic_store(over, true);
    return NULL;
}

static void test_traffic_and_retention_make_no_fault(void **state)
{
    (void)state;
    atomic_bool over = false;
    pthread_t thread;
    int looks = 0;
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(pthread_create(&thread, NULL, work, &over), 0);
    while (!atomic_load(&over)) {
        memset(&found, 0, sizeof found);
        found.check = (struct store_check){.finding = on_finding, .deep = looks % 4 == 3};
        assert_int_equal(reader->ops->verify(reader, &found.check), 0);
        assert_found(FINDING_NOTE, 0);
        looks++;
    }
    pthread_join(thread, NULL);
    print_message("# %d looks\n", looks);
    reader->ops->free(reader);
}

#define VERIFY_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

// ---- rows that do not stand in their order

// The first column of the table's key becomes a text, which stands behind all numbers and is read as 0.
static void spoil_key(const char *table, const char *column)
{
    char sql[600];
    snprintf(
        sql, sizeof sql,
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'STRICT, ', '') WHERE name = '%s';"
        "PRAGMA writable_schema = RESET; UPDATE %s SET %s = 'x' || %s;"
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'WITHOUT', 'STRICT, WITHOUT') "
        "WHERE name = '%s'; PRAGMA writable_schema = RESET",
        table, table, column, column, table);
    store->ops->close(store, true);
    kit_change(path, sql);
    store = kit_open(path);
}

// Page after page would be the same one, without an end.
static void test_rows_that_come_again_and_again_end_the_look_at_their_table(void **state)
{
    (void)state;
    static const struct str names[] = {STR("D")};
    struct store_news news = {.account_id = 1, .desk_conversations = names, .count = 1, .at_us = 1};
    struct store_accept accept = kit_accept("a", "c");
    accept.event.attachments = STR("[{\"kind\":\"image\",\"name\":\"a\",\"state\":\"wanted\",\"ref\":\"r\"}]");
    accept.wait_until_us = INT64_C(9000000000000000);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    assert_int_equal(kit_apply(store, STORE_NEWS, &news), 0);
    settle_at(accept.message_id, MESSAGE_SKIPPED, 5);
    struct store_outcome tried = kit_outcome(accept_at("b", 2), MESSAGE_PENDING);
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &tried), 0);
    look(false);
    assert_found(FINDING_NOTE, 0);
    spoil_key("attempts", "message_id");
    look(false);
    assert_true(found.counts[FINDING_FILE] == 1 && strstr(found.texts[FINDING_FILE], "attempts"));
    spoil_key("desk_threads", "account_id");
    look(false);
    assert_int_equal(found.counts[FINDING_FILE], 2);
    spoil_key("files", "message_id");
    look(false);
    assert_int_equal(found.counts[FINDING_FILE], 3);
    assert_false(found.check.ok);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VERIFY_TEST(test_a_message_settled_while_an_earlier_one_waits_is_named),
        VERIFY_TEST(test_rows_that_come_again_and_again_end_the_look_at_their_table),
        VERIFY_TEST(test_a_message_tried_or_marked_while_an_earlier_one_waits_is_named),
        VERIFY_TEST(test_discards_by_hand_are_in_nobodys_turn),
        VERIFY_TEST(test_settled_in_another_order_than_that_of_places_is_a_fault),
        VERIFY_TEST(test_first_tried_before_the_one_in_front_was_settled_is_a_fault),
        VERIFY_TEST(test_late_ones_stand_at_their_place),
        VERIFY_TEST(test_a_clock_that_was_set_back_is_no_fault_where_the_store_shows_it),
        cmocka_unit_test(test_many_lanes_are_compared_in_little_memory),
        VERIFY_TEST(test_a_flipped_bit_is_named_with_its_message_wherever_it_waits),
        VERIFY_TEST(test_a_damaged_conversation_is_named),
        VERIFY_TEST(test_a_row_that_its_index_contradicts_is_named),
        VERIFY_TEST(test_the_table_of_what_waits_is_held_against_fresh_rows),
        VERIFY_TEST(test_what_it_advises_brings_back_what_the_table_lacks),
        VERIFY_TEST(test_numbers_that_nobody_writes_are_damage),
        VERIFY_TEST(test_the_log_is_bounded_while_the_file_is_looked_at),
        VERIFY_TEST(test_traffic_and_retention_make_no_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
