// The line of the SQLite store (store/sqlite_line.h): messages that are kept out of the table of what waits for a while, and go
// there by the block. Whoever asks sees none of it: the memory store, to which the same is done, says the same.
#include "base/chance.h"
#include "store/sqlite.h"
#include "support/fault_vfs.h"
#include "support/store_kit.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ACCOUNTS = 2, THREADS = 3, MOST = 160, ROUNDS = TRIBUTARY_CHECKS ? 6 : 20 };

static char *path;
static struct store *store;

static int begin(void **state)
{
    (void)state;
    static int n;
    char name[20];
    snprintf(name, sizeof name, "line%d", n++);
    path = kit_store_path(name);
    store = kit_open_small(path, 4);
    return 0;
}

static int end(void **state)
{
    (void)state;
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
    free(path);
    return 0;
}

static void kill_and_open(void)
{
    store->ops->close(store, false); // as kill -9 leaves it
    store = kit_open_small(path, 4);
}

static int64_t ask(const char *sql)
{
    int64_t got = -99;
    assert_int_equal(sql_exec(&sqlite_of(store)->sql, sql, &got), 0);
    return got;
}

static int64_t in_table(void)
{
    return ask("SELECT count(*) FROM waiting");
}

static int64_t lined_number(void)
{
    return ask("SELECT lined_number FROM totals");
}

static struct store_accept accept_in(const char *thread)
{
    static int n;
    char key[16];
    snprintf(key, sizeof key, "k%d", n++);
    struct store_accept accept = kit_accept(key, thread);
    accept.order = ORDER_CONVERSATION;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static void keep_head(void *arg, const struct lane_row *row)
{
    *(int64_t *)arg = row->head_id;
}

// As a reader has it.
static int64_t head_of(int64_t lane)
{
    int64_t id = 0;
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->lanes(reader, &(struct lane_filter){.lane = lane}, 0, 1, keep_head, &id), 0);
    reader->ops->free(reader);
    return id;
}

// ---- what goes where, and when

static void test_what_is_settled_soon_never_stands_in_the_table(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        int64_t first = accept_in("a").message_id, second = accept_in("b").message_id;
        assert_int_equal(lined_number(), first - 1);
        kit_settle(store, first, MESSAGE_DELIVERED);
        assert_int_equal(lined_number(), second - 1);
        kit_settle(store, second, MESSAGE_SKIPPED);
        assert_int_equal(lined_number(), second);
        assert_int_equal(in_table(), 0);
    }
}

static void test_a_full_block_goes_to_the_table_lane_by_lane(void **state)
{
    (void)state;
    static const char *const threads[] = {"a", "b", "a", "b", "c", "c"};
    static const int64_t wanted[] = {0, 0, 0, 0, 2, 4}; // of them in the table
    for (int i = 0; i < 6; i++) {
        accept_in(threads[i]);
        assert_int_equal(in_table(), wanted[i]);
        if (i == 4)
            assert_int_equal(ask("SELECT count(*) FROM waiting WHERE id IN (1, 3)"), 2);
        assert_int_equal(lined_number(), i < 4 ? 0 : i == 4 ? 1 : 4);
    }
}

static void test_a_batch_larger_than_a_block_leaves_two_blocks(void **state)
{
    (void)state;
    enum { MANY = 23 };
    struct store_accept accepts[MANY];
    struct store_change changes[MANY];
    char keys[MANY][8];
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "%d", i);
        accepts[i] = kit_accept(keys[i], i % 2 ? "a" : "b");
        changes[i] = (struct store_change){.kind = STORE_ACCEPT, .accept = &accepts[i]};
    }
    assert_int_equal(store->ops->apply(store, changes, MANY), 0);
    assert_int_equal(in_table(), 20); // as many as an old block has by then
    assert_int_equal(lined_number(), 20);
    assert_int_equal(kit_totals(store).pending, MANY);
}

static void test_one_that_is_tried_again_stands_behind_fresh_ones_and_before_later_ones(void **state)
{
    (void)state;
    int64_t again = accept_in("a").message_id, before = accept_in("a").message_id;
    kit_settle(store, again, MESSAGE_SKIPPED);
    struct store_retry retry = {.message_id = again};
    assert_int_equal(kit_apply(store, STORE_RETRY, &retry), 0);
    assert_true(retry.applied);
    assert_int_equal(in_table(), 1);
    int64_t after = accept_in("a").message_id, wanted[] = {before, again, after};
    assert_int_equal(after, before + 2); // the place took a number
    for (int round = 0; round < 2; round++) {
        struct lane_page page;
        assert_int_equal(head_of(retry.lane), before);
        assert_int_equal(store->ops->load_lane(store, retry.lane, 0, 9, &page), 0);
        assert_int_equal(page.count, 3);
        for (int i = 0; i < 3; i++)
            assert_int_equal(page.entries[i].message->id, wanted[i]);
        lane_page_done(&page);
        kill_and_open();
    }
    kit_settle(store, before, MESSAGE_DELIVERED);
    kit_settle(store, again, MESSAGE_DELIVERED);
    assert_int_equal(in_table(), 1);
}

static void test_after_a_kill_all_that_waits_stands_in_the_table(void **state)
{
    (void)state;
    for (int i = 0; i < 7; i++)
        accept_in(i % 3 ? "a" : "b");
    assert_true(in_table() > 0 && in_table() < 7);
    kill_and_open();
    assert_int_equal(in_table(), 7);
    assert_int_equal(lined_number(), 7);
    accept_in("a");
    assert_int_equal(in_table(), 7);
    store->ops->close(store, true); // a clean end leaves none behind
    store = kit_open_small(path, 4);
    assert_int_equal(in_table(), 8);
}

// The start has room for nothing: it goes on with what it reads.
static void test_a_start_without_room_knows_what_waits(void **state)
{
    (void)state;
    int without = 0;
    for (int n = 1; n < 60 && !without; n++) {
        struct arena arena = {0};
        const char *why;
        struct store_options options = {.path = path, .log_bytes = 65536, .fresh_block = 4};
        int64_t lane = accept_in("a").lane, id = accept_in("a").message_id;
        store->ops->close(store, false);
        fault_vfs = (struct fault_vfs){.at = n, .error = ENOSPC};
        store = store_sqlite_open(&options, &arena, &why);
        fault_vfs_clear();
        arena_done(&arena);
        if (!store)
            store = kit_open_small(path, 4);
        without += lined_number() < id;
        struct lane_page page;
        assert_int_equal(store->ops->load_lane(store, lane, 0, 500, &page), 0);
        assert_int_equal(page.count, 2 * n);
        lane_page_done(&page);
        assert_true(kit_verify(store, false));
    }
    assert_int_equal(without, 1);
}

// ---- the same said by the memory store

struct draw {
    struct chance chance;
    struct store *memory;
    int keys;
    enum order_rule orders[ACCOUNTS]; // in force
};

static uint64_t below(struct draw *draw, uint64_t bound)
{
    return chance_below(&draw->chance, bound);
}

// What one store says, in words.
struct said {
    char text[1 << 16];
    size_t n;
};

static void __attribute__((format(printf, 2, 3))) say(struct said *said, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(said->text + said->n, sizeof said->text - said->n, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < sizeof said->text - said->n);
    said->n += (size_t)n;
}

static void say_lane(void *arg, const struct lane_row *row)
{
    say(arg, "lane %lld of %lld: %lld at %lld (%lld), %lld\n", (long long)row->lane, (long long)row->account_id,
        (long long)row->head_id, (long long)row->head_place, row->head ? (long long)row->head->id : 0,
        (long long)row->waiting);
}

static void say_message(void *arg, const struct message *message)
{
    say(arg, " %lld:%d", (long long)message->id, (int)message->state);
}

static void say_counts(void *arg, const struct account_counts *counts)
{
    say(arg, "account %lld: %lld\n", (long long)counts->account_id, (long long)counts->pending);
}

static void say_page(struct said *said, struct store *of, int64_t lane, int64_t after, size_t limit)
{
    struct lane_page page;
    assert_int_equal(of->ops->load_lane(of, lane, after, limit, &page), 0);
    say(said, "%lld behind %lld:", (long long)lane, (long long)after);
    for (size_t i = 0; i < page.count; i++)
        say(said, " %lld at %lld, %d", (long long)page.entries[i].message->id,
            (long long)page.entries[i].message->place, (int)page.entries[i].message->reason);
    say(said, "%s\n", page.more ? " and more" : "");
    lane_page_done(&page);
}

static void say_line(struct said *said, struct store_reader *reader, int64_t lane, int64_t conversation, size_t most)
{
    struct lane_line line;
    assert_int_equal(reader->ops->lane_line(reader, lane, conversation, most, &line), 0);
    say(said, "%lld in %lld: %lld %lld %lld %d\n", (long long)conversation, (long long)lane, (long long)line.first_id,
        (long long)line.before, (long long)line.own, line.looked_at_all);
}

static void say_all(struct said *said, struct store *of, int64_t some, size_t few)
{
    struct store_totals totals;
    int64_t lanes[4];
    size_t count = 0;
    struct store_reader *reader = of->ops->reader_new(of);
    said->n = 0;
    assert_int_equal(reader->ops->totals(reader, &totals), 0);
    say(said, "accepted %lld delivered %lld skipped %lld discarded %lld pending %lld lanes %lld oldest %lld\n",
        (long long)totals.accepted, (long long)totals.delivered, (long long)totals.skipped, (long long)totals.discarded,
        (long long)totals.pending, (long long)totals.lanes_waiting, (long long)totals.oldest_pending_us);
    assert_int_equal(reader->ops->account_counts(reader, say_counts, said), 0);
    assert_int_equal(of->ops->lanes_with_work(of, 0, some % 5, 4, lanes, &count), 0);
    for (size_t i = 0; i < count; i++)
        say(said, "%lld has work\n", (long long)lanes[i]);
    for (int64_t account = 0; account <= ACCOUNTS; account++)
        assert_int_equal(
            reader->ops->lanes(reader, &(struct lane_filter){.account_id = account}, 0, 50, say_lane, said), 0);
    for (int64_t i = 1; i <= ACCOUNTS * THREADS; i++) {
        int64_t lane = lane_id(i % 3 ? LANE_CONVERSATION : LANE_ACCOUNT, i);
        say_page(said, of, lane, i % 2 ? some : 0, few);
        say_line(said, reader, lane, i, few);
        assert_int_equal(reader->ops->lanes(reader, &(struct lane_filter){.lane = lane}, 0, 1, say_lane, said), 0);
    }
    for (int64_t account = 0; account <= ACCOUNTS; account++) {
        struct message_filter filter = {.account_id = account, .by_state = true, .state = MESSAGE_PENDING};
        assert_int_equal(reader->ops->messages(reader, &filter, some / 2, few * 3, say_message, said), 0);
        say(said, "\n");
    }
    reader->ops->free(reader);
}

// Names the first line in which they differ.
static void assert_same(const char *ours, const char *theirs)
{
    const char *line = ours;
    for (size_t i = 0; ours[i] && ours[i] == theirs[i]; i++)
        line = ours[i] == '\n' ? ours + i + 1 : line;
    if (strcmp(ours, theirs) != 0)
        fail_msg("%.*s, and not %.*s", (int)strcspn(line, "\n"), line, (int)strcspn(theirs + (line - ours), "\n"),
                 theirs + (line - ours));
}

static void compare(struct draw *draw)
{
    static struct said ours, theirs;
    int64_t some = (int64_t)below(draw, (uint64_t)draw->keys + 20);
    size_t few = 1 + below(draw, 5);
    say_all(&ours, store, some, few);
    say_all(&theirs, draw->memory, some, few);
    assert_same(ours.text, theirs.text);
}

// A change, and room for what it points to.
struct drawn {
    enum store_change_kind kind;
    char key[12], thread[4];
    struct store_accept accept;
    struct store_outcome outcome;
    struct store_retry retry;
    struct store_account_put put;
    struct account account;
    char name[4];
};

static void draw_accept(struct draw *draw, struct drawn *drawn)
{
    int64_t account = 1 + (int64_t)below(draw, ACCOUNTS);
    drawn->kind = STORE_ACCEPT;
    snprintf(drawn->key, sizeof drawn->key, "%d", draw->keys - (int)below(draw, 12) / 11); // some twice
    draw->keys++;
    snprintf(drawn->thread, sizeof drawn->thread, "%d", (int)below(draw, THREADS));
    drawn->accept = kit_accept(drawn->key, drawn->thread);
    drawn->accept.account_id = drawn->accept.source_id = account;
    drawn->accept.order = draw->orders[account - 1];
}

static void put_account(struct drawn *drawn, int number, enum order_rule order)
{
    drawn->kind = STORE_ACCOUNT_PUT;
    snprintf(drawn->name, sizeof drawn->name, "a%d", number);
    drawn->account = (struct account){.name = str_of(drawn->name), .order = order};
    drawn->put = (struct store_account_put){.account = &drawn->account};
}

static void draw_change(struct draw *draw, struct drawn *drawn)
{
    static const enum message_state states[] = {MESSAGE_DELIVERED, MESSAGE_DELIVERED, MESSAGE_SKIPPED,
                                                MESSAGE_SKIPPED,   MESSAGE_DISCARDED, MESSAGE_PENDING};
    uint64_t what = below(draw, 20);
    int64_t any = 1 + (int64_t)below(draw, (uint64_t)draw->keys + 5);
    if (what < 9) {
        draw_accept(draw, drawn);
    } else if (what < 15) {
        drawn->kind = STORE_OUTCOME;
        drawn->outcome = kit_outcome(any, states[below(draw, 6)]);
    } else if (what < 19) {
        drawn->kind = STORE_RETRY;
        drawn->retry = (struct store_retry){.message_id = any};
    } else {
        put_account(drawn, (int)below(draw, ACCOUNTS), below(draw, 2) ? ORDER_ACCOUNT : ORDER_CONVERSATION);
    }
}

static int apply_drawn(struct store *to, struct drawn *drawn, size_t count)
{
    struct store_change changes[12];
    for (size_t i = 0; i < count; i++) {
        changes[i].kind = drawn[i].kind;
        switch (drawn[i].kind) {
        case STORE_ACCEPT:
            changes[i].accept = &drawn[i].accept;
            break;
        case STORE_OUTCOME:
            changes[i].outcome = &drawn[i].outcome;
            break;
        case STORE_RETRY:
            changes[i].retry = &drawn[i].retry;
            break;
        default:
            changes[i].account_put = &drawn[i].put;
        }
    }
    return to->ops->apply(to, changes, count);
}

// A batch to both; now and then there is no room for it in the middle of it, and neither has any of it.
static void apply_some(struct draw *draw)
{
    struct drawn drawn[12];
    size_t count = 1 + below(draw, 12);
    for (size_t i = 0; i < count; i++)
        draw_change(draw, &drawn[i]);
    if (below(draw, 4) == 0)
        fault_vfs = (struct fault_vfs){.at = 1 + (int64_t)below(draw, 4), .once = true, .error = ENOSPC};
    int err = apply_drawn(store, drawn, count);
    assert_true(!err || (err == ERR_FULL && fault_vfs.hits));
    fault_vfs_clear();
    if (err)
        return;
    assert_int_equal(apply_drawn(draw->memory, drawn, count), 0);
    for (size_t i = 0; i < count; i++)
        if (drawn[i].kind == STORE_ACCOUNT_PUT)
            draw->orders[drawn[i].put.id - 1] = drawn[i].put.order;
}

static void play(uint64_t seed)
{
    static const size_t blocks[] = {1, 2, 3, 5, 8, 30};
    struct draw draw = {.memory = store_memory_new()};
    struct drawn accounts[ACCOUNTS];
    chance_init(&draw.chance, seed);
    for (int i = 0; i < ACCOUNTS; i++) {
        draw.orders[i] = ORDER_CONVERSATION;
        put_account(&accounts[i], i, ORDER_CONVERSATION);
    }
    assert_int_equal(apply_drawn(store, accounts, ACCOUNTS), 0);
    assert_int_equal(apply_drawn(draw.memory, accounts, ACCOUNTS), 0);
    while (draw.keys < MOST) {
        apply_some(&draw);
        compare(&draw);
        if (below(&draw, 12) == 0) {
            store->ops->close(store, below(&draw, 2) == 0);
            store = kit_open_small(path, blocks[below(&draw, 6)]);
            compare(&draw);
        }
        if (below(&draw, 12) == 0)
            assert_true(kit_verify(store, true));
    }
    draw.memory->ops->close(draw.memory, true);
}

static void test_it_says_what_the_memory_store_says_whatever_is_done(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        store->ops->close(store, true);
        kit_remove(path);
        store = kit_open_small(path, 3);
        play(seed);
    }
}

// ---- readers

struct watcher {
    struct said said;
    int64_t settle; // the next to be settled
};

// Behind the reader's back what it looks at is settled, and more comes.
static void change_under_it(void *arg, const struct lane_row *row)
{
    struct watcher *watcher = arg;
    say_lane(&watcher->said, row);
    for (int i = 0; i < 3; i++) {
        accept_in("a");
        kit_settle(store, watcher->settle++, MESSAGE_DELIVERED);
    }
}

static void test_a_reader_sees_one_moment_while_blocks_move(void **state)
{
    (void)state;
    static struct said before;
    static struct watcher watcher;
    char thread[4];
    for (int i = 0; i < 14; i++) {
        snprintf(thread, sizeof thread, "%d", i % 5);
        accept_in(thread);
    }
    struct store_reader *reader = store->ops->reader_new(store);
    struct lane_filter all = {0};
    before.n = 0;
    assert_int_equal(reader->ops->lanes(reader, &all, 0, 50, say_lane, &before), 0);
    watcher.said.n = 0;
    watcher.settle = 1;
    assert_int_equal(reader->ops->lanes(reader, &all, 0, 50, change_under_it, &watcher), 0);
    assert_string_equal(watcher.said.text, before.text);
    watcher.said.n = 0;
    assert_int_equal(reader->ops->lanes(reader, &all, 0, 50, say_lane, &watcher.said), 0);
    assert_string_not_equal(watcher.said.text, before.text);
    reader->ops->free(reader);
}

int main(void)
{
#define LINE_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        LINE_TEST(test_what_is_settled_soon_never_stands_in_the_table),
        LINE_TEST(test_a_full_block_goes_to_the_table_lane_by_lane),
        LINE_TEST(test_a_batch_larger_than_a_block_leaves_two_blocks),
        LINE_TEST(test_one_that_is_tried_again_stands_behind_fresh_ones_and_before_later_ones),
        LINE_TEST(test_after_a_kill_all_that_waits_stands_in_the_table),
        LINE_TEST(test_a_start_without_room_knows_what_waits),
        LINE_TEST(test_it_says_what_the_memory_store_says_whatever_is_done),
        LINE_TEST(test_a_reader_sees_one_moment_while_blocks_move),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
