// Fresh messages of the SQLite store, held against a plain list: whatever is added, removed, given out and undone.
#include "store/sqlite_fresh.h"

#include "base/chance.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 200, LANES = 7 };

static struct sqlite_fresh *fresh;

struct plain {
    struct sqlite_fresh_message messages[MOST];
    bool waits[MOST];
    int count;
};

static void add(struct plain *plain, int64_t id, int64_t lane)
{
    struct sqlite_fresh_message message = {id, lane, lane + 1};
    plain->messages[plain->count] = message;
    plain->waits[plain->count++] = true;
    sqlite_fresh_add(fresh, message);
}

static bool plain_remove(struct plain *plain, int64_t id)
{
    for (int i = 0; i < plain->count; i++)
        if (plain->messages[i].id == id && plain->waits[i]) {
            plain->waits[i] = false;
            return true;
        }
    return false;
}

static int64_t plain_next(const struct plain *plain, int64_t lane, int64_t after)
{
    for (int i = 0; i < plain->count; i++)
        if (plain->waits[i] && plain->messages[i].lane == lane && plain->messages[i].id > after)
            return plain->messages[i].id;
    return 0;
}

static int64_t plain_next_lane(const struct plain *plain, int64_t after)
{
    int64_t lowest = 0;
    for (int i = 0; i < plain->count; i++)
        if (plain->waits[i] && plain->messages[i].lane > after && (!lowest || plain->messages[i].lane < lowest))
            lowest = plain->messages[i].lane;
    return lowest;
}

static int64_t id_of(const struct sqlite_fresh_message *message)
{
    return message ? message->id : 0;
}

static void compare(const struct plain *plain)
{
    size_t counts[LANES + 1] = {0}, all = 0;
    int64_t lowest = 0;
    for (int i = 0; i < plain->count; i++) {
        counts[plain->messages[i].lane] += plain->waits[i];
        all += plain->waits[i];
        if (plain->waits[i] && !lowest)
            lowest = plain->messages[i].id;
    }
    assert_int_equal(sqlite_fresh_count(fresh), all);
    assert_int_equal(sqlite_fresh_lowest(fresh), lowest);
    for (int64_t lane = 1; lane <= LANES; lane++) {
        assert_int_equal(sqlite_fresh_count_lane(fresh, lane), counts[lane]);
        for (int64_t after = 0; after < plain->messages[plain->count - 1].id; after += 23)
            assert_int_equal(id_of(sqlite_fresh_next(fresh, lane, after)), plain_next(plain, lane, after));
    }
    for (int64_t after = 0; after <= LANES; after++) {
        int64_t lane = plain_next_lane(plain, after);
        const struct sqlite_fresh_message *head = sqlite_fresh_next_lane(fresh, after);
        assert_int_equal(head ? head->lane : 0, lane);
        assert_int_equal(id_of(head), lane ? plain_next(plain, lane, 0) : 0);
    }
}

// Some changes; gives the last id.
static int64_t change(struct plain *plain, struct chance *chance, int64_t id)
{
    for (uint64_t n = chance_below(chance, 9); n; n--) {
        const struct sqlite_fresh_message *due = sqlite_fresh_due(fresh, chance_below(chance, 8) == 0);
        uint64_t what = chance_below(chance, 5);
        if (what < 3 && plain->count < MOST) {
            id += 1 + (int64_t)chance_below(chance, 3); // numbers jump
            add(plain, id, 1 + (int64_t)chance_below(chance, LANES));
        } else if (what == 3 && due) {
            int64_t due_id = due->id;
            assert_true(plain_remove(plain, due_id));
            assert_true(sqlite_fresh_remove(fresh, due_id));
        } else {
            int64_t any = (int64_t)chance_below(chance, (uint64_t)id + 2);
            assert_int_equal(sqlite_fresh_remove(fresh, any), plain_remove(plain, any));
        }
    }
    return id;
}

static void test_it_is_as_a_plain_list_whatever_is_done(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct chance chance;
        struct plain plain = {0}, before;
        int64_t id = 1, id_before;
        chance_init(&chance, seed);
        fresh = sqlite_fresh_new(1 + chance_below(&chance, 12));
        add(&plain, id, 1);
        sqlite_fresh_commit(fresh);
        while (plain.count < MOST) {
            before = plain;
            id_before = id;
            id = change(&plain, &chance, id);
            compare(&plain);
            if (chance_below(&chance, 3)) {
                sqlite_fresh_commit(fresh);
            } else {
                sqlite_fresh_undo(fresh);
                plain = before;
                id = id_before;
            }
            compare(&plain);
        }
        sqlite_fresh_free(fresh);
    }
}

static void test_old_blocks_are_given_out_in_order_of_lanes(void **state)
{
    (void)state;
    static const int64_t lanes[] = {5, 3, 5, 4, 3}, wanted[] = {2, 4, 1, 3};
    struct plain plain = {0};
    fresh = sqlite_fresh_new(4);
    for (int i = 0; i < 5; i++) {
        assert_null(sqlite_fresh_due(fresh, false)); // the youngest block fills first
        add(&plain, i + 1, lanes[i]);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(id_of(sqlite_fresh_due(fresh, false)), wanted[i]);
        sqlite_fresh_remove(fresh, wanted[i]);
        if (i == 1)
            sqlite_fresh_commit(fresh);
    }
    assert_null(sqlite_fresh_due(fresh, false));
    sqlite_fresh_undo(fresh); // two of them come back, in their turn
    assert_int_equal(id_of(sqlite_fresh_due(fresh, false)), 1);
    assert_int_equal(id_of(sqlite_fresh_next(fresh, 5, 0)), 1);
    for (int i = 2; i < 4; i++)
        sqlite_fresh_remove(fresh, wanted[i]);
    assert_int_equal(id_of(sqlite_fresh_due(fresh, true)), 5);
    sqlite_fresh_free(fresh);
}

static void test_a_block_of_which_all_were_settled_begins_again(void **state)
{
    (void)state;
    struct plain plain = {0};
    fresh = sqlite_fresh_new(2);
    for (int i = 1; i <= 300; i++) {
        add(&plain, i, 1);
        sqlite_fresh_remove(fresh, i);
        sqlite_fresh_commit(fresh);
        plain.count = 0;
    }
    add(&plain, 301, 2);
    assert_null(sqlite_fresh_due(fresh, false)); // it is the only block
    assert_int_equal(id_of(sqlite_fresh_next_lane(fresh, 0)), 301);
    sqlite_fresh_clear(fresh);
    assert_int_equal(sqlite_fresh_count(fresh), 0);
    assert_int_equal(sqlite_fresh_lowest(fresh), 0);
    sqlite_fresh_free(fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_as_a_plain_list_whatever_is_done),
        cmocka_unit_test(test_old_blocks_are_given_out_in_order_of_lanes),
        cmocka_unit_test(test_a_block_of_which_all_were_settled_begins_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
