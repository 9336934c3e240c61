// The directory: found by name and id, listed in the order of names, page by page, however it was filled.
#include "base/mem.h"
#include "relay/directory.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

static void put(struct directory *directory, int64_t id, const char *name)
{
    struct account *account = account_new();
    account->id = id;
    account->name = arena_str(&account->arena, str_of(name));
    directory_put(directory, account);
}

static void put_number(struct directory *directory, int number)
{
    char name[16];
    snprintf(name, sizeof name, "a%05d", number);
    put(directory, number + 1, name);
}

// All names by pages of that size; how many there were.
static int walk(struct directory *directory, size_t limit)
{
    const struct account *page[64];
    struct arena arena = {0};
    struct str after = STR_NONE;
    int found = 0;
    for (size_t count = limit; count == limit;) {
        count = directory_page(directory, after, limit, page);
        for (size_t i = 0; i < count; i++, found++) {
            if (after.p)
                assert_true(str_cmp(page[i]->name, after) > 0);
            after = arena_str(&arena, page[i]->name);
            account_unref(page[i]);
        }
    }
    arena_done(&arena);
    return found;
}

static void test_pages_are_in_the_order_of_names(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    assert_int_equal(walk(directory, 3), 0);
    for (int i = 0; i < 1000; i++)
        put_number(directory, i * 7919 % 1000); // at the start: in any order
    assert_int_equal(walk(directory, 7), 1000);
    assert_int_equal(walk(directory, 64), 1000);
    for (int i = 0; i < 1000; i++)
        put_number(directory, 1000 + i * 7919 % 1000); // one by one, after it was read
    assert_int_equal(walk(directory, 64), 2000);
    for (int64_t id = 1; id <= 2000; id += 2)
        directory_remove(directory, id);
    directory_remove(directory, 1); // is gone
    assert_int_equal(walk(directory, 64), 1000);
    assert_int_equal(directory_count(directory), 1000);
    for (int i = 1; i < 2000; i += 2)
        put_number(directory, i); // again: other versions of those that are there
    assert_int_equal(walk(directory, 64), 1000);
    directory_free(directory);
}

static void test_removal_before_the_first_page(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    put(directory, 3, "c");
    put(directory, 1, "a");
    put(directory, 2, "b");
    directory_remove(directory, 1);
    put(directory, 4, "a"); // another one of that name
    const struct account **list = directory_list(directory);
    assert_int_equal(list[0]->id, 4);
    assert_int_equal(list[1]->id, 2);
    assert_int_equal(list[2]->id, 3);
    assert_null(list[3]);
    for (size_t i = 0; list[i]; i++)
        account_unref(list[i]);
    free(list);
    const struct account *found = directory_find(directory, STR("a"));
    assert_int_equal(found->id, 4);
    account_unref(found);
    assert_null(directory_find_id(directory, 1));
    directory_free(directory);
}

static void test_page_begins_behind_a_name_that_is_gone(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    const struct account *page[2];
    put(directory, 1, "a");
    put(directory, 3, "c");
    assert_int_equal(directory_page(directory, STR("b"), 2, page), 1);
    assert_int_equal(page[0]->id, 3);
    account_unref(page[0]);
    assert_int_equal(directory_page(directory, STR("c"), 2, page), 0);
    directory_free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_in_the_order_of_names),
        cmocka_unit_test(test_removal_before_the_first_page),
        cmocka_unit_test(test_page_begins_behind_a_name_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
