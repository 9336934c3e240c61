// The index of numbers by hash: what was added is found until it is removed, however hashes fall together.
#include "base/hash_index.h"
#include "support/unit.h"

enum { NUMBERS = 3000 };

// Which hash a number was added with. Few of them differ in the half that is kept, and they stand close together.
static uint64_t hashes[NUMBERS];
static bool there[NUMBERS];

static bool is_number(const void *arg, uint32_t number)
{
    return number == *(const uint32_t *)arg;
}

static uint32_t find(const struct hash_index *index, uint32_t number)
{
    return hash_index_find(index, hashes[number], is_number, &number);
}

static void check(const struct hash_index *index)
{
    size_t count = 0;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        assert_int_equal(find(index, i), there[i] ? i : HASH_INDEX_NONE);
        count += there[i];
    }
    assert_int_equal(index->count, count);
}

static void test_what_is_there_is_found_through_adding_and_removing(void **state)
{
    (void)state;
    struct hash_index index = {0};
    uint32_t seed = 1;
    for (uint32_t i = 0; i < NUMBERS; i++)
        hashes[i] = (uint64_t)i << 40 | (i * 2654435761u % 512 + UINT32_MAX - 256);
    check(&index);
    for (int round = 0; round < 20000; round++) {
        seed = seed * 1103515245u + 12345u;
        uint32_t number = (seed >> 8) % NUMBERS;
        if (there[number])
            hash_index_remove(&index, hashes[number], number);
        else
            hash_index_add(&index, hashes[number], number);
        there[number] = !there[number];
        if (round % 1000 == 0)
            check(&index);
    }
    check(&index);
    assert_true(index.count * 4 <= index.size * 3);
    hash_index_done(&index);
    for (uint32_t i = 0; i < NUMBERS; i++)
        there[i] = false;
    check(&index);
}

static bool is_any(const void *arg, uint32_t number)
{
    (void)number;
    ++*(int *)(uintptr_t)arg;
    return false;
}

static void test_only_those_of_the_hash_are_asked_about(void **state)
{
    (void)state;
    struct hash_index index = {0};
    int asked = 0;
    for (uint32_t i = 0; i < 8; i++)
        hash_index_add(&index, 16 * i, i); // all belong into one place at first
    hash_index_add(&index, 32, 8);
    assert_int_equal(hash_index_find(&index, 32, is_any, &asked), HASH_INDEX_NONE);
    assert_int_equal(asked, 2);
    hash_index_done(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_there_is_found_through_adding_and_removing),
        cmocka_unit_test(test_only_those_of_the_hash_are_asked_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
