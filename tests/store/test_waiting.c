// Which conversations have something that waits (store/sqlite_waiting.c): set when it begins, left alone while there is traffic,
// swept away by housekeeping, and right after an upgrade.
#include "store/sql_seal.h"
#include "store/sqlite.h"
#include "support/store_kit.h"
#include "support/unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static char *path;
static struct store *store;

static int open_fresh(void **state)
{
    static int number;
    char name[20];
    (void)state;
    snprintf(name, sizeof name, "waiting%d", number++);
    path = kit_store_path(name);
    store = kit_open(path);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    store->ops->close(store, true);
    free(path);
    return 0;
}

static int64_t ask(const char *sql)
{
    int64_t got = -99;
    assert_int_equal(sql_exec(&sqlite_of(store)->sql, sql, &got), 0);
    return got;
}

static int64_t said_waiting(void)
{
    return ask("SELECT count(*) FROM conversations WHERE account_waiting = 1");
}

static size_t lanes(int64_t *out, size_t limit)
{
    size_t count = 0;
    assert_int_equal(store->ops->lanes_with_work(store, 1, 0, limit, out, &count), 0);
    return count;
}

static void on_lane(void *arg, const struct lane_row *row)
{
    assert_int_equal(*(int64_t *)arg, 0); // one alone
    *(int64_t *)arg = row->lane;
}

// One step; whether there is more to do.
static bool keep_house(void)
{
    bool more = false;
    assert_int_equal(store->ops->age_out(store, 0, 0, &more), 0);
    return more;
}

static struct store_accept accept_in(const char *key, const char *thread, enum order_rule order)
{
    struct store_accept accept = kit_accept(key, thread);
    accept.order = order;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static void test_what_waits_is_found_and_what_is_settled_is_not(void **state)
{
    (void)state;
    int64_t found[4];
    struct store_accept a = accept_in("a", "one", ORDER_CONVERSATION), b = accept_in("b", "two", ORDER_CONVERSATION);
    assert_int_equal(lanes(found, 4), 2);
    assert_int_equal(found[0], a.lane);
    assert_int_equal(found[1], b.lane);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    assert_int_equal(said_waiting(), 2); // nothing is written for each message
    assert_int_equal(lanes(found, 4), 1);
    assert_int_equal(found[0], b.lane);
}

static void test_housekeeping_sweeps_and_a_new_message_is_found_again(void **state)
{
    (void)state;
    int64_t found[4];
    struct store_accept a = accept_in("a", "one", ORDER_CONVERSATION);
    accept_in("b", "two", ORDER_CONVERSATION);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    assert_false(keep_house());
    assert_int_equal(said_waiting(), 1);
    struct store_accept c = accept_in("c", "one", ORDER_CONVERSATION);
    assert_int_equal(said_waiting(), 2);
    assert_int_equal(lanes(found, 4), 2);
    assert_int_equal(found[0], c.lane);
    assert_true(kit_verify(store, true));
}

static void test_a_sweep_goes_on_where_it_was_and_rests_until_something_waits(void **state)
{
    (void)state;
    enum { MANY = 2500 }; // of 1024 a step
    int64_t ids[MANY];
    for (int i = 0; i < MANY; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        ids[i] = accept_in(key, key, ORDER_CONVERSATION).message_id;
    }
    for (int i = 0; i < MANY; i++)
        if (i != 300)
            kit_settle(store, ids[i], MESSAGE_DELIVERED);
    assert_true(keep_house());
    assert_int_equal(said_waiting(), MANY - 1023); // one of them waits
    assert_true(keep_house());
    assert_false(keep_house());
    assert_int_equal(said_waiting(), 1);
    kit_settle(store, ids[300], MESSAGE_DELIVERED);
    assert_false(keep_house()); // nothing began to wait: it does not look
    assert_int_equal(said_waiting(), 1);
    accept_in("x", "x", ORDER_CONVERSATION);
    assert_false(keep_house());
    assert_int_equal(said_waiting(), 1); // that one
}

// Many that waited until a while ago keep nobody for long: a page ends where it has looked far enough.
static void test_a_walk_over_many_idle_conversations_is_done_in_bounded_steps(void **state)
{
    (void)state;
    enum { MANY = 1200 };
    struct store_accept accept = {0};
    for (int i = 0; i < MANY; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        accept = accept_in(key, key, ORDER_CONVERSATION);
        if (i < MANY - 1)
            kit_settle(store, accept.message_id, MESSAGE_DELIVERED);
    }
    int64_t after = 0, last = 0, found[4];
    int calls = 0;
    for (size_t count = 1; count; calls++) {
        assert_int_equal(store->ops->lanes_with_work(store, 1, after, 4, found, &count), 0);
        assert_true(count <= 1 && calls < 10);
        if (count)
            last = after = found[0];
    }
    assert_int_equal(last, accept.lane);
    assert_int_equal(calls, 4); // two that only looked, the one that waits, the end
    struct store_account_gone gone = {.account_id = 1};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_GONE, &gone), 0);
    assert_false(gone.applied);
    struct store_reader *reader = store->ops->reader_new(store);
    int64_t shown = 0;
    assert_int_equal(
        reader->ops->lanes(reader, &(struct lane_filter){.account_id = 1, .brief = true}, 0, 5, on_lane, &shown), 0);
    assert_int_equal(shown, accept.lane);
    reader->ops->free(reader);
}

static void test_what_an_earlier_process_left_is_swept_too(void **state)
{
    (void)state;
    kit_settle(store, accept_in("a", "one", ORDER_CONVERSATION).message_id, MESSAGE_DELIVERED);
    store->ops->close(store, true);
    store = kit_open(path);
    assert_int_equal(said_waiting(), 1);
    assert_false(keep_house());
    assert_int_equal(said_waiting(), 0);
}

static void test_lanes_of_accounts_are_none_of_it(void **state)
{
    (void)state;
    int64_t found[4];
    struct store_accept a = accept_in("a", "one", ORDER_ACCOUNT);
    assert_int_equal(said_waiting(), 0);
    struct store_accept b = accept_in("b", "one", ORDER_CONVERSATION);
    assert_int_equal(lanes(found, 4), 2);
    assert_true((found[0] == a.lane && found[1] == b.lane) || (found[0] == b.lane && found[1] == a.lane));
}

static void test_a_message_that_is_tried_again_is_found(void **state)
{
    (void)state;
    int64_t found[4];
    struct store_accept a = accept_in("a", "one", ORDER_CONVERSATION);
    kit_settle(store, a.message_id, MESSAGE_SKIPPED);
    assert_false(keep_house());
    assert_int_equal(said_waiting(), 0);
    struct store_retry retry = {.message_id = a.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_true(retry.applied);
    assert_int_equal(lanes(found, 4), 1); // by the rule of an account that the store does not have: as it was
    assert_int_equal(found[0], a.lane);
}

static void test_one_that_is_not_said_to_wait_is_named_and_found_at_the_next_start(void **state)
{
    (void)state;
    int64_t found[4];
    struct store_accept a = accept_in("a", "one", ORDER_CONVERSATION);
    store->ops->close(store, true);
    kit_change(path, "UPDATE conversations SET account_waiting = 0");
    store = kit_open(path);
    assert_int_equal(lanes(found, 4), 0);
    assert_false(kit_verify(store, false));
    size_t count = 0;
    assert_int_equal(store->ops->lanes_with_work(store, 0, 0, 4, found, &count), 0);
    assert_int_equal(count, 1);
    assert_int_equal(found[0], a.lane);
}

static void test_an_older_store_is_taken_over_with_what_waits(void **state)
{
    (void)state;
    int64_t found[4];
    struct store_accept a = accept_in("a", "one", ORDER_CONVERSATION), b = accept_in("b", "two", ORDER_CONVERSATION);
    accept_in("c", "three", ORDER_ACCOUNT);
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    store->ops->close(store, true);
    kit_change(path, KIT_BEFORE_REPLIES KIT_BEFORE_WAITING
               "DROP INDEX conversations_waiting; ALTER TABLE conversations DROP COLUMN account_waiting;"
               "CREATE INDEX messages_lanes ON messages(account_id, lane, place) WHERE state = 0 AND (lane & 3) > 0;"
               "PRAGMA user_version = 7");
    store = kit_open(path);
    assert_int_equal(said_waiting(), 1);
    assert_int_equal(lanes(found, 4), 2); // and the account's own
    assert_true(found[0] == b.lane || found[1] == b.lane);
    assert_true(kit_verify(store, true));
}

// From before what waits had a table. `sum`: what the row of totals has for one.
static void make_older(const char *sum)
{
    sqlite3 *db = NULL;
    char set_sum[200];
    snprintf(set_sum, sizeof set_sum, "UPDATE totals SET sum = %s", sum);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sql_seal_register(db), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, KIT_BEFORE_REPLIES KIT_BEFORE_WAITING "PRAGMA user_version = 8", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, set_sum, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_an_older_store_has_in_the_table_what_waited(void **state)
{
    (void)state;
    struct store_accept a = accept_in("a", "one", ORDER_CONVERSATION), b = accept_in("b", "one", ORDER_CONVERSATION);
    struct store_retry retry = {.message_id = a.message_id};
    kit_settle(store, accept_in("c", "two", ORDER_ACCOUNT).message_id, MESSAGE_DELIVERED);
    kit_settle(store, a.message_id, MESSAGE_SKIPPED);
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    store->ops->close(store, true);
    make_older("row_sum(accepted, delivered, skipped, discarded, aged_delivered, aged_discarded, last_number, "
               "moved_number)");
    store = kit_open(path);
    assert_int_equal(ask("SELECT count(*) FROM waiting"), 2);
    assert_int_equal(ask("SELECT id FROM waiting ORDER BY lane, place LIMIT 1"), b.message_id);
    assert_int_equal(ask("SELECT lined_number = last_number FROM totals"), 1);
    assert_int_equal(ask("SELECT waiting FROM waiting_per_account"), 2);
    accept_in("d", "two", ORDER_ACCOUNT);
    assert_int_equal(ask("SELECT waiting FROM waiting_per_account"), 3);
    assert_true(kit_verify(store, true));
}

static void test_damaged_totals_of_an_older_store_stay_so(void **state)
{
    (void)state;
    accept_in("a", "one", ORDER_CONVERSATION);
    store->ops->close(store, true);
    make_older("5");
    store = kit_open(path);
    assert_false(kit_verify(store, false));
}

int main(void)
{
#define WAITING_TEST(name) cmocka_unit_test_setup_teardown(name, open_fresh, close_all)
    const struct CMUnitTest tests[] = {
        WAITING_TEST(test_what_waits_is_found_and_what_is_settled_is_not),
        WAITING_TEST(test_housekeeping_sweeps_and_a_new_message_is_found_again),
        WAITING_TEST(test_a_sweep_goes_on_where_it_was_and_rests_until_something_waits),
        WAITING_TEST(test_a_walk_over_many_idle_conversations_is_done_in_bounded_steps),
        WAITING_TEST(test_what_an_earlier_process_left_is_swept_too),
        WAITING_TEST(test_lanes_of_accounts_are_none_of_it),
        WAITING_TEST(test_a_message_that_is_tried_again_is_found),
        WAITING_TEST(test_one_that_is_not_said_to_wait_is_named_and_found_at_the_next_start),
        WAITING_TEST(test_an_older_store_is_taken_over_with_what_waits),
        WAITING_TEST(test_an_older_store_has_in_the_table_what_waited),
        WAITING_TEST(test_damaged_totals_of_an_older_store_stay_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
