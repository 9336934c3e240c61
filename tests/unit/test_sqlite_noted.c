// Which messages need a second look when they are settled.
#include "base/chance.h"
#include "store/sqlite_noted.h"
#include "support/unit.h"

static void test_what_was_added_is_there_until_it_is_removed_for_good(void **state)
{
    (void)state;
    struct sqlite_noted noted = {0};
    assert_false(sqlite_noted_has(&noted, 1));
    for (int64_t id = 10; id < 1000; id += 10)
        sqlite_noted_add(&noted, id);
    assert_true(sqlite_noted_has(&noted, 10) && sqlite_noted_has(&noted, 990));
    assert_false(sqlite_noted_has(&noted, 11) || sqlite_noted_has(&noted, 9) || sqlite_noted_has(&noted, 991));
    sqlite_noted_add(&noted, 15); // an earlier one
    sqlite_noted_add(&noted, 15);
    assert_true(sqlite_noted_has(&noted, 15));
    sqlite_noted_remove(&noted, 15);
    assert_true(sqlite_noted_has(&noted, 15)); // while the transaction may fail
    sqlite_noted_undo(&noted);
    sqlite_noted_commit(&noted);
    assert_true(sqlite_noted_has(&noted, 15));
    sqlite_noted_remove(&noted, 15);
    sqlite_noted_remove(&noted, 15);
    sqlite_noted_remove(&noted, 16); // never was
    sqlite_noted_commit(&noted);
    assert_false(sqlite_noted_has(&noted, 15));
    assert_true(sqlite_noted_has(&noted, 10) && sqlite_noted_has(&noted, 20));
    sqlite_noted_add(&noted, 15); // it comes back
    assert_true(sqlite_noted_has(&noted, 15));
    sqlite_noted_done(&noted);
}

static void test_those_that_left_take_no_room(void **state)
{
    (void)state;
    struct sqlite_noted noted = {0};
    for (int64_t id = 1; id <= 100000; id++) {
        sqlite_noted_add(&noted, id);
        if (id > 100)
            sqlite_noted_remove(&noted, id - 100);
        sqlite_noted_commit(&noted);
        assert_true(noted.count <= 210);
    }
    for (int64_t id = 99000; id <= 100000; id++)
        assert_int_equal(sqlite_noted_has(&noted, id), id > 99900);
    sqlite_noted_done(&noted);
}

// Against a plain list.
static void test_it_says_what_a_list_says(void **state)
{
    (void)state;
    enum { IDS = 500, STEPS = 20000 };
    bool in[IDS] = {false};
    struct sqlite_noted noted = {0};
    struct chance chance;
    chance_init(&chance, 7);
    for (int i = 0; i < STEPS; i++) {
        int64_t id = (int64_t)chance_below(&chance, IDS);
        if (chance_below(&chance, 2)) {
            sqlite_noted_add(&noted, id);
            in[id] = true;
        } else {
            sqlite_noted_remove(&noted, id);
            sqlite_noted_commit(&noted);
            in[id] = false;
        }
        int64_t asked = (int64_t)chance_below(&chance, IDS);
        assert_int_equal(sqlite_noted_has(&noted, asked), in[asked]);
    }
    sqlite_noted_done(&noted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_added_is_there_until_it_is_removed_for_good),
        cmocka_unit_test(test_those_that_left_take_no_room),
        cmocka_unit_test(test_it_says_what_a_list_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
