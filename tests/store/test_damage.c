// Rows that are not what was stored, with the indexes as they were: each is seen, set aside by the one way that the relay has, and
// neither breaks the store nor keeps what stands behind it.
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/sqlite.h"
#include "support/store_kit.h"

static char *path;
static struct store *store;
static int said_damaged;

static void on_said(void *arg, const char *name, struct str sentence)
{
    (void)arg, (void)sentence;
    said_damaged += strcmp(name, "store_damaged") == 0;
}

static void open_store(void)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store_options options = {.path = path, .finding = on_said};
    store = store_sqlite_open(&options, &arena, &why);
    arena_done(&arena);
    assert_non_null(store);
}

static int begin(void **state)
{
    (void)state;
    static int n;
    char name[32];
    snprintf(name, sizeof name, "damage%d", n++);
    path = kit_store_path(name);
    said_damaged = 0;
    open_store();
    return 0;
}

static int end(void **state)
{
    (void)state;
    store->ops->close(store, true);
    free(path);
    return 0;
}

static void damage(const char *sql)
{
    store->ops->close(store, true);
    kit_damage(path, sql);
    open_store();
}

// As kill -9 leaves it: what waits does not stand in the table yet, and nobody but its row knows of it.
static void damage_fresh(const char *sql)
{
    store->ops->close(store, false);
    kit_damage(path, sql);
    open_store();
}

static void settle(int64_t id, enum message_state state)
{
    assert_true(kit_settle(store, id, state));
}

// The head as the relay gets it, and what it makes of it; its id.
static int64_t take_head(int64_t lane, bool *out_damaged)
{
    struct lane_page page;
    assert_int_equal(store->ops->load_lane(store, lane, 0, 10, &page), 0);
    assert_true(page.count > 0);
    int64_t id = page.entries[0].message->id;
    *out_damaged = page.entries[0].message->reason == REASON_DAMAGED;
    struct store_outcome outcome = kit_outcome(id, *out_damaged ? MESSAGE_SKIPPED : MESSAGE_DELIVERED);
    outcome.reason = *out_damaged ? REASON_DAMAGED : REASON_NONE;
    outcome.lane = lane;
    lane_page_done(&page);
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    return id;
}

static int sums_found;

static void on_finding(void *arg, const struct store_finding *finding)
{
    (void)arg;
    sums_found += finding->kind == FINDING_SUM || finding->kind == FINDING_FILE;
    if (finding->kind == FINDING_SUM || finding->kind == FINDING_FILE)
        print_message("# %.*s\n", STR_ARG(finding->text));
}

// Damaged rows may be left, but the sum and the line are good.
static int64_t count_damaged(void)
{
    struct store_check check = {.finding = on_finding};
    sums_found = 0;
    kit_check(store, &check);
    assert_int_equal(sums_found, 0);
    return check.damaged;
}

static void test_each_damaged_column_of_a_head_is_set_aside_and_the_lane_goes_on(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        bool seen; // else the index has it right, or nothing rests on it: it is delivered
    } columns[] = {
        {"state = 1", true},        {"state = 2", true},
        {"state = 3", true},        {"state = 7", true},
        {"lane = lane + 4", false}, {"place = place + 1", false},
        {"account_id = 9", false},  {"source_id = 9", true},
        {"direction = 1", true},    {"conversation_id = 9", true},
        {"text = 'other'", true},   {"dedupe_key = 'x'", true},
        {"digest = 5", true},       {"sent_at = 5", true},
        {"in_doubt = 1", false},    {"desk_ref = 'r'", false},
        {"in_flight = 1", false},   {"late = 1", true},
        {"reason = 12", true},      {"state = 2, lane = 400", true},
    };
    enum { COLUMNS = sizeof columns / sizeof *columns };
    char key[32], sql[200];
    for (int64_t i = 0; i < COLUMNS; i++) {
        snprintf(key, sizeof key, "a%d", (int)i);
        struct store_accept a = kit_store(store, key, "c");
        snprintf(key, sizeof key, "b%d", (int)i);
        struct store_accept b = kit_store(store, key, "c");
        snprintf(sql, sizeof sql, "UPDATE messages SET %s WHERE id = %d", columns[i].what, (int)a.message_id);
        damage(sql);
        bool damaged;
        if (take_head(a.lane, &damaged) != a.message_id || damaged != columns[i].seen)
            print_message("# %s\n", columns[i].what);
        assert_int_equal(damaged, columns[i].seen);
        assert_int_equal(take_head(a.lane, &damaged), b.message_id);
        assert_false(damaged);
        struct store_totals totals = kit_totals(store);
        assert_int_equal(totals.pending, 0);
        assert_int_equal(totals.accepted, 2 * (i + 1));
        // Waiting for it are now neither row nor index, and nothing contradicts anything.
        (void)count_damaged();
    }
    assert_true(said_damaged > 0);
}

// The same to messages that are fresh: there is only the row to tell.
static void test_each_damaged_column_of_a_fresh_head_is_set_aside_and_the_lane_goes_on(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int64_t lane; // it is in another one by so much
        bool seen;    // else nothing rests on it: it is delivered
    } columns[] = {
        {"state = 1", 0, true},
        {"state = 2", 0, true},
        {"state = 3", 0, true},
        {"state = 7", 0, true},
        {"lane = lane + 4", 4, true},
        {"place = place + 1", 0, true},
        {"account_id = 9", 0, true},
        {"source_id = 9", 0, true},
        {"direction = 1", 0, true},
        {"conversation_id = 9", 0, true},
        {"text = 'other'", 0, true},
        {"dedupe_key = 'x'", 0, true},
        {"digest = 5", 0, true},
        {"sent_at = 5", 0, true},
        {"in_doubt = 1", 0, false},
        {"desk_ref = 'r'", 0, false},
        {"in_flight = 1", 0, false},
        {"late = 1", 0, true},
        {"late = 1, place = place + 1", 0, true},
        {"changed_at = 5", 0, true},
        {"reason = 12", 0, true},
        {"state = 2, lane = lane + 400", 400, true},
    };
    enum { COLUMNS = sizeof columns / sizeof *columns };
    char key[32], sql[200];
    for (int64_t i = 0; i < COLUMNS; i++) {
        snprintf(key, sizeof key, "a%d", (int)i);
        struct store_accept a = kit_store(store, key, "c");
        snprintf(key, sizeof key, "b%d", (int)i);
        struct store_accept b = kit_store(store, key, "c");
        snprintf(sql, sizeof sql, "UPDATE messages SET %s WHERE id = %d", columns[i].what, (int)a.message_id);
        int said_before = said_damaged;
        damage_fresh(sql);
        if (said_damaged == said_before && columns[i].seen)
            print_message("# not told at the start: %s\n", columns[i].what);
        assert_true(said_damaged > said_before || !columns[i].seen);
        bool damaged;
        assert_int_equal(take_head(a.lane + columns[i].lane, &damaged), a.message_id);
        if (damaged != columns[i].seen)
            print_message("# %s\n", columns[i].what);
        assert_int_equal(damaged, columns[i].seen);
        assert_int_equal(take_head(a.lane, &damaged), b.message_id);
        assert_false(damaged);
        struct store_totals totals = kit_totals(store);
        assert_int_equal(totals.pending, 0);
        assert_int_equal(totals.accepted, 2 * (i + 1));
        (void)count_damaged();
    }
}

// What was settled before it is not delivered again, and what was discarded when it came is no damage.
static void test_a_fresh_message_that_was_settled_is_not_delivered_again(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c"), skipped = kit_store(store, "s", "c");
    struct store_accept delivered = kit_store(store, "b", "c"), discarded = kit_accept("d", "c");
    discarded.state = MESSAGE_DISCARDED;
    discarded.reason = REASON_NO_MEANING;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &discarded), 0);
    settle(skipped.message_id, MESSAGE_SKIPPED);
    settle(delivered.message_id, MESSAGE_DELIVERED);
    char sql[100];
    snprintf(sql, sizeof sql, "UPDATE messages SET state = 0 WHERE id = %d", (int)delivered.message_id);
    damage_fresh(sql);
    assert_int_equal(said_damaged, 1);
    bool damaged;
    assert_int_equal(take_head(a.lane, &damaged), a.message_id);
    assert_false(damaged);
    assert_int_equal(take_head(a.lane, &damaged), delivered.message_id);
    assert_true(damaged);
    struct lane_page page;
    assert_int_equal(store->ops->load_lane(store, a.lane, 0, 10, &page), 0);
    assert_int_equal(page.count, 0);
    lane_page_done(&page);
}

// In the microsecond in which it came: it could not be told from one whose state is damaged.
static void test_what_is_settled_at_once_is_no_damage(void **state)
{
    (void)state;
    static const enum message_state states[] = {MESSAGE_DELIVERED, MESSAGE_SKIPPED, MESSAGE_DISCARDED};
    char key[8];
    kit_store(store, "first", "c"); // so that the others are behind totals.lined_number
    for (int i = 0; i < 6; i++) {
        snprintf(key, sizeof key, "%d", i);
        struct store_accept a = kit_store(store, key, "c");
        struct store_outcome outcome = kit_outcome(a.message_id, states[i % 3]);
        outcome.at_us = a.received_at_us;
        outcome.last_error = i < 3 ? STR_NONE : STR("words");
        assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
        assert_true(outcome.applied);
        struct message *m = kit_message(store, a.message_id);
        assert_int_equal(m->settled_at_us, a.received_at_us);
        assert_int_equal(m->next_attempt_us, 0);
        assert_int_not_equal(m->reason, REASON_DAMAGED);
        message_free(m);
    }
    assert_int_equal(count_damaged(), 0);
    damage_fresh("SELECT 1");
    assert_int_equal(said_damaged, 0);
    assert_int_equal(kit_totals(store).pending, 1);
}

// While the store is open: what it has in memory is the witness.
static void test_a_row_that_is_damaged_under_the_writer_is_set_aside(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c"), c = kit_store(store, "c", "c");
    char sql[100];
    snprintf(sql, sizeof sql, "UPDATE messages SET state = 1 WHERE id IN (%d, %d)", (int)a.message_id,
             (int)b.message_id);
    kit_damage(path, sql);
    bool damaged;
    assert_int_equal(take_head(a.lane, &damaged), a.message_id);
    assert_true(damaged);
    assert_int_equal(said_damaged, 1);
    assert_int_equal(take_head(a.lane, &damaged), b.message_id);
    assert_true(damaged);
    assert_int_equal(said_damaged, 1); // all of it was mended
    assert_int_equal(take_head(a.lane, &damaged), c.message_id);
    assert_false(damaged);
    assert_int_equal(count_damaged(), 0);
}

static void test_a_fresh_message_whose_row_is_gone_keeps_nobody(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    char sql[100];
    snprintf(sql, sizeof sql, "DELETE FROM messages WHERE id = %d", (int)a.message_id);
    kit_damage(path, sql);
    bool damaged;
    assert_int_equal(take_head(a.lane, &damaged), b.message_id);
    assert_false(damaged);
    assert_int_equal(said_damaged, 1);
}

static void test_a_damaged_head_that_is_held_stays_at_the_head(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c");
    damage("UPDATE messages SET state = 1");
    struct store_outcome outcome = kit_outcome(a.message_id, MESSAGE_PENDING);
    outcome.reason = REASON_DAMAGED;
    outcome.next_attempt_us = MESSAGE_HELD;
    outcome.lane = a.lane;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    struct message *m = kit_message(store, a.message_id);
    assert_true(m->state == MESSAGE_PENDING && m->next_attempt_us == MESSAGE_HELD && m->reason == REASON_DAMAGED);
    message_free(m);
}

static void test_a_stale_outcome_is_stale_though_it_says_damaged(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    settle(a.message_id, MESSAGE_DISCARDED);
    struct store_outcome outcome = kit_outcome(a.message_id, MESSAGE_SKIPPED);
    outcome.reason = REASON_DAMAGED;
    outcome.lane = b.lane;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    assert_false(outcome.applied);
    assert_int_equal(said_damaged, 0);
}

static void on_listed(void *arg, const struct message *message)
{
    *(enum reason *)arg = message->reason;
}

static void test_a_damaged_message_is_shown_as_such_and_not_tried_again(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c");
    settle(a.message_id, MESSAGE_SKIPPED);
    damage("UPDATE messages SET text = 'other'");
    struct store_retry retry = {.message_id = a.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_false(retry.applied);
    struct message *m = kit_message(store, a.message_id);
    assert_true(m->state == MESSAGE_SKIPPED && m->reason == REASON_DAMAGED);
    message_free(m);
    enum reason reason = REASON_NONE;
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->messages(reader, &(struct message_filter){0}, 0, 10, on_listed, &reason), 0);
    reader->ops->free(reader);
    assert_int_equal(reason, REASON_DAMAGED);
    assert_int_equal(count_damaged(), 1);
    settle(a.message_id, MESSAGE_DISCARDED);
    assert_int_equal(count_damaged(), 0);
}

static void test_retention_passes_by_damaged_rows(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        settle(kit_store(store, key, "c").message_id, MESSAGE_DELIVERED);
    }
    damage("UPDATE messages SET dedupe_key = 'other' WHERE id = 2; UPDATE messages SET source_id = 7 WHERE id = 3;"
           "UPDATE messages SET account_id = 7 WHERE id = 4; UPDATE messages SET in_doubt = 1 WHERE id = 5");
    bool more = true;
    while (more)
        assert_int_equal(store->ops->age_out(store, INT64_MAX, INT64_MAX, &more), 0);
    struct store_totals totals = kit_totals(store);
    assert_int_equal(totals.delivered, 6);
    assert_int_equal(totals.pending, 0);
    assert_int_equal(kit_store(store, "new", "c").result, ACCEPT_STORED);
}

// Both the row and the line say that the last one stands in front.
static void test_a_damaged_place_lets_nobody_overtake(void **state)
{
    (void)state;
    settle(kit_store(store, "a", "c").message_id, MESSAGE_DELIVERED);
    struct store_accept b = kit_store(store, "b", "c"), last = kit_store(store, "last", "c");
    store->ops->close(store, true);
    kit_change(path, "UPDATE messages SET place = 1 WHERE dedupe_key = 'last';"
                     "UPDATE waiting SET place = 1 WHERE id = (SELECT max(id) FROM messages)");
    open_store();
    struct lane_page page;
    assert_int_equal(store->ops->load_lane(store, b.lane, 0, 10, &page), 0);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.entries[0].message->id, last.message_id);
    assert_int_equal(page.entries[0].message->reason, REASON_DAMAGED);
    assert_int_equal(page.entries[1].message->reason, REASON_NONE);
    lane_page_done(&page);
}

static void test_what_is_learned_heals_no_damaged_conversation(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c");
    kit_store(store, "b", "c");
    damage("UPDATE conversations SET contact = 'anybody'");
    struct store_outcome outcome = kit_outcome(a.message_id, MESSAGE_DELIVERED);
    struct link link = {.contact = STR("contact"), .conversation = STR("theirs")};
    outcome.conversation_id = a.conversation_id;
    outcome.link = &link;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    bool damaged;
    take_head(a.lane, &damaged);
    assert_true(damaged);
}

static void test_a_damaged_row_sends_nobody_to_another_conversation(void **state)
{
    (void)state;
    struct store_accept theirs = kit_store(store, "a", "c"), others = kit_store(store, "b", "d");
    char sql[100];
    snprintf(sql, sizeof sql, "UPDATE conversations SET goes_on_in = %d WHERE id = %d", (int)others.conversation_id,
             (int)theirs.conversation_id);
    damage(sql);
    assert_int_equal(kit_store(store, "n", "c").conversation_id, theirs.conversation_id);
}

static void test_a_damaged_message_stays_so_without_its_text(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c");
    settle(a.message_id, MESSAGE_DELIVERED);
    damage("UPDATE messages SET sent_at = 5");
    bool more = true;
    while (more)
        assert_int_equal(store->ops->age_out(store, INT64_MAX, 0, &more), 0);
    struct message *m = kit_message(store, a.message_id);
    assert_null(m->text.p);
    assert_int_equal(m->reason, REASON_DAMAGED);
    message_free(m);
    assert_int_equal(count_damaged(), 1);
}

// The line does not have it, and what is made anew for another row must not bring it back.
static void test_a_settled_message_whose_state_is_damaged_is_not_delivered_again(void **state)
{
    (void)state;
    struct store_accept delivered = kit_store(store, "a", "c"), retried = kit_store(store, "b", "c");
    struct store_accept head = kit_store(store, "d", "c"), lost = kit_store(store, "e", "c");
    char sql[300];
    settle(delivered.message_id, MESSAGE_DELIVERED);
    settle(retried.message_id, MESSAGE_SKIPPED);
    struct store_retry retry = {.message_id = retried.message_id};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_true(retry.applied);
    settle(retried.message_id, MESSAGE_DELIVERED);
    store->ops->close(store, true);
    snprintf(sql, sizeof sql, "DELETE FROM waiting WHERE id = %d", (int)lost.message_id);
    kit_change(path, sql);
    open_store();
    snprintf(sql, sizeof sql,
             "UPDATE messages SET state = 0 WHERE id IN (%d, %d, %d); UPDATE messages SET state = 1 WHERE id = %d",
             (int)delivered.message_id, (int)retried.message_id, (int)lost.message_id, (int)head.message_id);
    damage(sql);
    bool damaged;
    assert_int_equal(take_head(head.lane, &damaged), head.message_id); // the indexes are made anew
    assert_true(damaged);
    assert_int_equal(take_head(head.lane, &damaged), delivered.message_id);
    assert_true(damaged);
    assert_int_equal(take_head(head.lane, &damaged), lost.message_id);
    assert_false(damaged); // nobody ever settled it
    assert_int_equal(take_head(head.lane, &damaged), retried.message_id);
    assert_true(damaged);
}

static void test_a_line_that_names_a_row_that_there_is_not_is_made_anew(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "c");
    store->ops->close(store, true);
    kit_change(path, "UPDATE waiting SET id = 100 WHERE id = 1");
    open_store();
    bool damaged;
    assert_int_equal(take_head(a.lane, &damaged), a.message_id);
    assert_false(damaged);
    assert_int_equal(take_head(a.lane, &damaged), b.message_id);
    assert_int_equal(said_damaged, 1);
    assert_int_equal(count_damaged(), 0);
}

// ---- rows of the other tables

static void put_account(const char *name)
{
    struct source source = {.name = STR("hook"), .platform = STR("webhook"), .secret = STR("none")};
    struct account account = {.name = str_of(name),
                              .active = true,
                              .sources = &source,
                              .source_count = 1,
                              .desk = {.platform = STR("webhook"), .url = STR("http://desk.test/right")}};
    int64_t ids[1];
    struct store_account_put put = {.account = &account, .source_ids = ids};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
}

static void on_account(void *arg, struct account *account, struct str file_text)
{
    (void)file_text;
    *(int *)arg = account->damaged * 2 + account->active;
    account_unref(account);
}

// 2: damaged and inactive; 1: whole and active.
static int look_at_account(void)
{
    int got = -1;
    assert_int_equal(store->ops->each_account(store, on_account, &got), 0);
    return got;
}

static void test_a_damaged_account_or_source_is_inactive_until_it_is_set_again(void **state)
{
    (void)state;
    static const char *const flips[] = {"UPDATE accounts SET desk_url = 'http://desk.test/wrong'",
                                        "UPDATE accounts SET on_failure = 1",
                                        "UPDATE accounts SET gone = 0, name = 'acne'",
                                        "UPDATE sources SET secret = 'nome'", "UPDATE sources SET take_over = 1"};
    for (size_t i = 0; i < sizeof flips / sizeof *flips; i++) {
        put_account("acme");
        assert_int_equal(look_at_account(), 1);
        assert_int_equal(count_damaged(), 0);
        damage(flips[i]);
        assert_int_equal(look_at_account(), 2);
        assert_int_equal(count_damaged(), 1);
        struct store_account_active active = {.account_id = 1, .active = true};
        assert_int_equal(kit_apply(store, STORE_ACCOUNT_ACTIVE, &active), 0); // somebody has looked at it
        assert_int_equal(look_at_account(), 1);
        assert_int_equal(count_damaged(), 0);
        if (i == 2)
            damage("UPDATE accounts SET name = 'acme'");
    }
}

static void test_what_the_store_writes_by_itself_heals_no_damaged_account(void **state)
{
    (void)state;
    put_account("acme");
    damage("UPDATE accounts SET order_barrier = 5, desk_url = 'http://desk.test/wrong'");
    struct store_order_over over = {.account_id = 1, .barrier = 5};
    assert_int_equal(kit_apply(store, STORE_ORDER_OVER, &over), 0);
    assert_true(over.over);
    assert_int_equal(look_at_account(), 2);
    put_account("acme");
    assert_int_equal(look_at_account(), 1);
    damage("UPDATE sources SET secret = 'nome'");
    struct store_source_learned learned = {.source_id = 1, .registered_url = STR("http://here")};
    assert_int_equal(kit_apply(store, STORE_SOURCE_LEARNED, &learned), 0);
    assert_int_equal(look_at_account(), 2);
    put_account("acme");
    assert_int_equal(kit_apply(store, STORE_SOURCE_LEARNED, &learned), 0);
    assert_int_equal(look_at_account(), 1);
    assert_int_equal(count_damaged(), 0);
}

static void on_attempt(void *arg, const struct attempt_record *record)
{
    *(int *)arg += str_eq_c(record->verdict, "damaged") ? 100 : 1;
}

static void test_a_damaged_attempt_is_shown_as_such(void **state)
{
    (void)state;
    struct store_accept a = kit_store(store, "a", "c");
    settle(a.message_id, MESSAGE_PENDING);
    settle(a.message_id, MESSAGE_PENDING);
    damage("UPDATE attempts SET verdict = 'ratry' WHERE at = (SELECT max(at) FROM attempts)");
    int seen = 0;
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->attempts(reader, a.message_id, on_attempt, &seen), 0);
    reader->ops->free(reader);
    assert_int_equal(seen, 101);
    assert_int_equal(count_damaged(), 1);
}

static void test_damaged_totals_are_told_at_the_start_and_no_number_is_given_again(void **state)
{
    (void)state;
    static const char *const flips[] = {"UPDATE totals SET last_number = 1", "UPDATE totals SET last_number = 1 << 60",
                                        "UPDATE totals SET aged_delivered = 1"};
    int64_t last = 0;
    for (int i = 0; i < 3; i++) {
        char key[8];
        for (int j = 0; j < 3; j++) {
            snprintf(key, sizeof key, "%d-%d", i, j);
            last = kit_store(store, key, "c").message_id;
        }
        int before = said_damaged;
        damage(flips[i]);
        assert_int_equal(said_damaged, before + 1);
        snprintf(key, sizeof key, "%d", i);
        int64_t next = kit_store(store, key, "c").message_id;
        assert_true(next > last && next < last + 2000000);
    }
}

// Rows that have aged out had higher numbers than those that are left; each column but one is right.
static void test_damaged_totals_give_no_number_of_what_has_aged_out(void **state)
{
    (void)state;
    static const char *const flips[] = {"accepted = 3, last_number = 5000000", "accepted = 5000000, last_number = 3",
                                        "accepted = 1 << 58, last_number = 5000000"};
    kit_store(store, "a", "c");
    for (int i = 0; i < 3; i++) {
        char sql[200], key[8];
        snprintf(sql, sizeof sql, "UPDATE totals SET %s, moved_number = 0; DELETE FROM messages WHERE id > 1",
                 flips[i]);
        damage(sql);
        snprintf(key, sizeof key, "%d", i);
        int64_t next = kit_store(store, key, "c").message_id;
        assert_true(next > 5000000 && next < 7000000);
    }
}

#define DAMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DAMAGE_TEST(test_each_damaged_column_of_a_head_is_set_aside_and_the_lane_goes_on),
        DAMAGE_TEST(test_each_damaged_column_of_a_fresh_head_is_set_aside_and_the_lane_goes_on),
        DAMAGE_TEST(test_a_fresh_message_that_was_settled_is_not_delivered_again),
        DAMAGE_TEST(test_what_is_settled_at_once_is_no_damage),
        DAMAGE_TEST(test_a_row_that_is_damaged_under_the_writer_is_set_aside),
        DAMAGE_TEST(test_a_fresh_message_whose_row_is_gone_keeps_nobody),
        DAMAGE_TEST(test_a_damaged_head_that_is_held_stays_at_the_head),
        DAMAGE_TEST(test_a_stale_outcome_is_stale_though_it_says_damaged),
        DAMAGE_TEST(test_a_damaged_message_is_shown_as_such_and_not_tried_again),
        DAMAGE_TEST(test_retention_passes_by_damaged_rows),
        DAMAGE_TEST(test_a_damaged_place_lets_nobody_overtake),
        DAMAGE_TEST(test_what_is_learned_heals_no_damaged_conversation),
        DAMAGE_TEST(test_a_damaged_row_sends_nobody_to_another_conversation),
        DAMAGE_TEST(test_a_damaged_message_stays_so_without_its_text),
        DAMAGE_TEST(test_a_settled_message_whose_state_is_damaged_is_not_delivered_again),
        DAMAGE_TEST(test_a_line_that_names_a_row_that_there_is_not_is_made_anew),
        DAMAGE_TEST(test_a_damaged_account_or_source_is_inactive_until_it_is_set_again),
        DAMAGE_TEST(test_what_the_store_writes_by_itself_heals_no_damaged_account),
        DAMAGE_TEST(test_a_damaged_attempt_is_shown_as_such),
        DAMAGE_TEST(test_damaged_totals_are_told_at_the_start_and_no_number_is_given_again),
        DAMAGE_TEST(test_damaged_totals_give_no_number_of_what_has_aged_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
