// What the writer of the SQLite store knows of conversations without asking.
#include "store/sqlite_known.h"
#include "support/unit.h"

#include <stdio.h>

static struct sqlite_known *known;

static int set_up(void **state)
{
    (void)state;
    known = sqlite_known_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sqlite_known_free(known);
    return 0;
}

static void put(int64_t id, int64_t source_id, const char *thread, const char *name)
{
    char copy[40];
    snprintf(copy, sizeof copy, "%s", thread); // it keeps copies
    sqlite_known_put(known, &(struct sqlite_conversation){.id = id,
                                                          .source_id = source_id,
                                                          .thread = str_of(copy),
                                                          .name = str_of(name),
                                                          .link = {.contact = STR("c"), .note = STR("n")}});
    copy[0] = '?';
}

static void test_it_is_found_by_thread_and_by_id(void **state)
{
    (void)state;
    put(7, 1, "one", "Ann");
    const struct sqlite_conversation *found = sqlite_known_find(known, 1, STR("one"));
    assert_non_null(found);
    assert_int_equal(found->id, 7);
    assert_true(str_eq_c(found->thread, "one") && str_eq_c(found->name, "Ann"));
    assert_true(str_eq_c(found->link.contact, "c") && str_eq_c(found->link.note, "n"));
    assert_null(found->link.conversation.p);
    assert_ptr_equal(sqlite_known_get(known, 7), found);
}

static void test_another_source_or_thread_is_another(void **state)
{
    (void)state;
    put(7, 1, "one", NULL);
    assert_null(sqlite_known_find(known, 2, STR("one")));
    assert_null(sqlite_known_find(known, 1, STR("on")));
    assert_null(sqlite_known_get(known, 8));
    assert_null(sqlite_known_get(known, 7 + 16384)); // the same place
    assert_null(sqlite_known_find(known, 1, STR("one"))->name.p);
}

static void test_what_is_put_again_takes_its_place(void **state)
{
    (void)state;
    put(7, 1, "one", "Ann");
    put(7, 1, "one", "Bob");
    assert_true(str_eq_c(sqlite_known_find(known, 1, STR("one"))->name, "Bob"));
    sqlite_known_find(known, 1, STR("one"))->account_waiting = 5;
    sqlite_known_put(known, sqlite_known_get(known, 7)); // from its own texts
    assert_int_equal(sqlite_known_find(known, 1, STR("one"))->account_waiting, 5);
    assert_true(str_eq_c(sqlite_known_get(known, 7)->name, "Bob"));
}

static void test_one_that_takes_a_place_leaves_nothing_of_the_other(void **state)
{
    (void)state;
    put(7, 1, "one", NULL);
    put(7 + 16384, 1, "two", NULL);
    assert_null(sqlite_known_get(known, 7));
    assert_null(sqlite_known_find(known, 1, STR("one")));
    assert_int_equal(sqlite_known_find(known, 1, STR("two"))->id, 7 + 16384);
}

static void test_forgotten_is_forgotten_both_ways(void **state)
{
    (void)state;
    put(7, 1, "one", NULL);
    put(8, 1, "two", NULL);
    sqlite_known_forget(known, 7 + 16384); // not that one
    assert_non_null(sqlite_known_get(known, 7));
    sqlite_known_forget(known, 7);
    assert_null(sqlite_known_get(known, 7));
    assert_null(sqlite_known_find(known, 1, STR("one")));
    assert_non_null(sqlite_known_find(known, 1, STR("two")));
    sqlite_known_forget_all(known);
    assert_null(sqlite_known_find(known, 1, STR("two")));
}

static void test_many_are_bounded(void **state)
{
    (void)state;
    int found = 0;
    for (int64_t id = 1; id <= 50000; id++) {
        char thread[20];
        snprintf(thread, sizeof thread, "%lld", (long long)id);
        put(id, 1, thread, NULL);
    }
    for (int64_t id = 1; id <= 50000; id++)
        found += sqlite_known_get(known, id) != NULL;
    assert_in_range(found, 5000, 16384);
}

int main(void)
{
#define KNOWN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        KNOWN_TEST(test_it_is_found_by_thread_and_by_id),
        KNOWN_TEST(test_another_source_or_thread_is_another),
        KNOWN_TEST(test_what_is_put_again_takes_its_place),
        KNOWN_TEST(test_one_that_takes_a_place_leaves_nothing_of_the_other),
        KNOWN_TEST(test_forgotten_is_forgotten_both_ways),
        KNOWN_TEST(test_many_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
