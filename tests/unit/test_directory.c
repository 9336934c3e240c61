// The directory: found by name and id, listed in the order of names, page by page, however it was filled. Many accounts in
// little memory, and those that are asked for at hand.
#include "base/must.h"
#include "relay/directory.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

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
    const struct account *page[4];
    assert_int_equal(directory_page(directory, STR_NONE, 4, page), 3);
    assert_int_equal(page[0]->id, 4);
    assert_int_equal(page[1]->id, 2);
    assert_int_equal(page[2]->id, 3);
    for (size_t i = 0; i < 3; i++)
        account_unref(page[i]);
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

static void test_all_are_walked_through_once(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    const struct account *account;
    for (int count = 0; count <= 2 * DIRECTORY_WALK_PAGE + 1; count++) {
        struct directory_walk walk = {.directory = directory};
        int found = 0;
        for (; (account = directory_walk_next(&walk)); found++) {
            assert_int_equal(account->id, found + 1);
            account_unref(account);
        }
        assert_int_equal(found, count);
        assert_null(directory_walk_next(&walk));
        directory_walk_done(&walk);
        put_number(directory, count);
    }
    for (int upto = 0; upto <= 2 * DIRECTORY_WALK_PAGE; upto++) { // given up early: nothing is left behind
        struct directory_walk walk = {.directory = directory};
        for (int i = 0; i < upto; i++)
            account_unref(directory_walk_next(&walk));
        directory_walk_done(&walk);
        assert_null(directory_walk_next(&walk));
    }
    directory_free(directory);
}

static const struct account *found(struct directory *directory, int number)
{
    const struct account *account = directory_find_id(directory, number + 1);
    assert_non_null(account);
    assert_int_equal(account->id, number + 1);
    account_unref(account);
    return account; // its address only
}

static void test_what_was_found_is_at_hand_until_others_were(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    for (int i = 0; i < DIRECTORY_AT_HAND + 10; i++)
        put_number(directory, i);
    const struct account *first = directory_find(directory, STR("a00000"));
    assert_ptr_equal(found(directory, 0), first); // the same one: nothing is made anew
    const struct account *look = directory_look(directory, STR("a00000"));
    assert_ptr_equal(look, first);
    account_unref(look);
    for (int i = 1; i < DIRECTORY_AT_HAND; i++)
        found(directory, i);
    assert_ptr_equal(found(directory, 0), first);
    found(directory, DIRECTORY_AT_HAND);
    const struct account *again = found(directory, 0);
    assert_ptr_not_equal(again, first); // it made room, and is at hand anew
    assert_ptr_equal(found(directory, 0), again);
    assert_str(first->name, "a00000"); // whoever has it keeps it
    account_unref(first);
    directory_free(directory);
}

static void test_looking_takes_nothing_up(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    put(directory, 1, "a");
    const struct account *one = directory_look(directory, STR("a")), *two = directory_look(directory, STR("a"));
    assert_ptr_not_equal(one, two);
    assert_str(two->name, "a");
    account_unref(one);
    account_unref(two);
    assert_null(directory_look(directory, STR("b")));
    directory_free(directory);
}

static void test_a_change_is_found_at_once(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    put(directory, 1, "a");
    put(directory, 2, "b");
    const struct account *before = directory_find_id(directory, 1);
    struct account *changed = account_copy(before);
    changed->active = false;
    changed->desk.token = STR("other");
    uint64_t desk = desk_identity(&changed->desk);
    assert_int_equal(directory_desk_users(directory, desk), 0);
    assert_int_equal(directory_desk_users(directory, desk_identity(&before->desk)), 2);
    directory_put(directory, changed);
    assert_int_equal(before->refs, 1); // it is at hand no more
    const struct account *now = directory_find(directory, STR("a"));
    assert_false(now->active);
    assert_true(before->active);
    assert_str(now->desk.token, "other");
    assert_int_equal(directory_desk_users(directory, desk), 1);
    assert_int_equal(directory_desk_users(directory, desk_identity(&before->desk)), 1);
    account_unref(before);
    account_unref(now);
    now = directory_find(directory, STR("a"));
    directory_remove(directory, 1);
    assert_int_equal(now->refs, 1);
    account_unref(now);
    assert_null(directory_find(directory, STR("a")));
    assert_int_equal(directory_desk_users(directory, desk), 0);
    put(directory, 3, "c"); // in the place of the one that is gone
    assert_null(directory_find_id(directory, 1));
    found(directory, 2);
    directory_free(directory);
}

// 300 accounts, each with the same desk as two others; the desks are other ones than those of another round.
static void put_with_desks(struct directory *directory, int round, uint64_t *out_desks)
{
    for (int i = 0; i < 300; i++) {
        struct account *account = account_new();
        account->id = i + 1;
        account->name = arena_printf(&account->arena, "a%d", i);
        account->desk.url = arena_printf(&account->arena, "https://desk.example/%d", round * 100 + i / 3);
        out_desks[i] = desk_identity(&account->desk);
        directory_put(directory, account);
    }
}

static void assert_users(struct directory *directory, const uint64_t *desks, int users)
{
    for (int i = 0; i < 300; i++)
        assert_int_equal(directory_desk_users(directory, desks[i]), users);
}

static void test_each_desk_is_counted(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    uint64_t desks[3][300];
    for (int round = 0; round < 3; round++) {
        put_with_desks(directory, round, desks[round]);
        assert_users(directory, desks[round], 3);
        if (round)
            assert_users(directory, desks[round - 1], 0);
        for (int i = 0; i < 300 && round == 1; i++) {
            directory_remove(directory, i + 1);
            assert_int_equal(directory_desk_users(directory, desks[round][i]), 2 - i % 3);
        }
    }
    directory_free(directory);
}

enum { LOOKERS = 3, SHARED = 200, LOOKS = 20000 };

static void *look_again_and_again(void *arg)
{
    struct directory *directory = arg;
    for (int i = 0; i < LOOKS; i++) {
        const struct account *account = directory_find_id(directory, i % SHARED + 1);
        must(account && account->id == i % SHARED + 1 && account->name.n == 6);
        account_unref(account);
        if (i % 500 == 0)
            must(walk(directory, 64) == SHARED);
    }
    return NULL;
}

static void test_threads_look_while_accounts_change(void **state)
{
    (void)state;
    struct directory *directory = directory_new();
    pthread_t threads[LOOKERS];
    for (int i = 0; i < SHARED; i++)
        put_number(directory, i);
    for (int i = 0; i < LOOKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look_again_and_again, directory), 0);
    for (int i = 0; i < LOOKS; i++)
        put_number(directory, i % SHARED);
    for (int i = 0; i < LOOKERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(directory_count(directory), SHARED);
    directory_free(directory);
}

// As the benchmark has them: a signed webhook in and out, from a file.
static void put_idle(struct directory *directory, int number)
{
    struct account *account = account_new();
    struct arena *arena = &account->arena;
    account->id = number + 1;
    account->name = arena_printf(arena, "bench-%06d", number);
    account->defined_at = arena_printf(arena, "/var/lib/tributary/benchmark/accounts/tributary.yaml:%d",
                                       12 + 6 * number);
    account->file_text = arena_printf(arena, "active=true rest=%016x", number * 2654435761u);
    account->source_count = 1;
    account->sources = arena_of(arena, struct source);
    account->sources[0] = (struct source){
        .id = number + 1,
        .account_id = number + 1,
        .account = account->name,
        .name = STR("in"),
        .platform = STR("webhook"),
        .secret = arena_printf(arena, "whsec_%044d", number),
    };
    account->desk = (struct desk){
        .platform = STR("webhook"),
        .url = arena_printf(arena, "http://127.0.0.1:12345/bench-%06d", number),
        .secret = arena_printf(arena, "whsec_%044d", -number),
    };
    directory_put(directory, account);
}

static void test_a_million_idle_accounts_would_fit(void **state)
{
    (void)state;
    enum { IDLE = 100000, BYTES_EACH = 350 }; // of the 400 MiB that a million may take with all else there is
    size_t before = memory_in_use();
    struct directory *directory = directory_new();
    for (int i = 0; i < IDLE; i++)
        put_idle(directory, i);
    size_t each = (memory_in_use() - before) / IDLE;
    assert_true(each <= BYTES_EACH); // 0 where a sanitizer has the memory
    directory_free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_in_the_order_of_names),
        cmocka_unit_test(test_removal_before_the_first_page),
        cmocka_unit_test(test_page_begins_behind_a_name_that_is_gone),
        cmocka_unit_test(test_all_are_walked_through_once),
        cmocka_unit_test(test_what_was_found_is_at_hand_until_others_were),
        cmocka_unit_test(test_looking_takes_nothing_up),
        cmocka_unit_test(test_a_change_is_found_at_once),
        cmocka_unit_test(test_each_desk_is_counted),
        cmocka_unit_test(test_threads_look_while_accounts_change),
        cmocka_unit_test(test_a_million_idle_accounts_would_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
