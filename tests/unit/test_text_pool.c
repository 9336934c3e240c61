// Texts kept once: one number for each, until there are too many.
#include "base/text_pool.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static void test_one_number_for_each_text(void **state)
{
    (void)state;
    struct text_pool pool = {0};
    char text[] = "telegram";
    uint32_t telegram = text_pool_number(&pool, str_of(text)), empty = text_pool_number(&pool, STR(""));
    text[0] = 'T'; // the pool has one of its own
    assert_true(telegram && empty && telegram != empty);
    assert_int_equal(text_pool_number(&pool, STR("telegram")), telegram);
    assert_int_equal(text_pool_number(&pool, STR("")), empty);
    assert_str(text_pool_text(&pool, telegram), "telegram");
    assert_str(text_pool_text(&pool, empty), "");
    assert_int_equal(text_pool_number(&pool, STR_NONE), 0);
    text_pool_done(&pool);
}

static void test_bounds(void **state)
{
    (void)state;
    struct text_pool pool = {0};
    char text[TEXT_POOL_TEXT_MAX + 2];
    memset(text, 'a', sizeof text);
    assert_int_equal(text_pool_number(&pool, (struct str){text, TEXT_POOL_TEXT_MAX + 1}), 0);
    assert_int_equal(text_pool_number(&pool, (struct str){text, TEXT_POOL_TEXT_MAX}), 1);
    for (int i = 1; i < TEXT_POOL_TEXTS_MAX; i++) {
        snprintf(text, sizeof text, "text %d", i);
        assert_int_equal(text_pool_number(&pool, str_of(text)), i + 1);
    }
    assert_int_equal(text_pool_number(&pool, STR("one too many")), 0);
    assert_int_equal(text_pool_number(&pool, STR("text 77")), 78); // those that are there are found
    assert_str(text_pool_text(&pool, 78), "text 77");
    text_pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_number_for_each_text),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
