// The mutator of inputs with JSON: it keeps to its room, leaves what stands around the JSON, and makes JSON of JSON.
#include "support/unit.h"

#include <string.h>
#include <yyjson.h>

#include "fuzz/json_mutator.h"

enum { ROOM = 1 << 17, SEEDS = 4000 };

static const char document[] = "{\"a\":[1,\"x\",{\"b\":null}],\"c\":{\"d\":-7,\"e\":true},\"f\":\"text\"}";
static int bytewise; // how often the bytewise one was asked

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    bytewise++;
    if (size < max_size)
        data[size++] = '!';
    return size;
}

static uint8_t data[ROOM];

static size_t mutate(const char *text, size_t max_size, unsigned seed)
{
    size_t size = strlen(text);
    memset(data, 0xEE, sizeof data);
    memcpy(data, text, size);
    size = LLVMFuzzerCustomMutator(data, size, max_size, seed);
    assert_true(size <= max_size);
    for (size_t i = max_size; i < max_size + 64; i++)
        assert_int_equal(data[i], 0xEE);
    return size;
}

static bool is_json(const uint8_t *text, size_t size)
{
    yyjson_doc *doc = yyjson_read((const char *)text, size, 0);
    yyjson_doc_free(doc);
    return doc != NULL;
}

static void test_json_stays_json_and_is_another_one(void **state)
{
    (void)state;
    int good = 0, other = 0;
    bytewise = 0;
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        size_t size = mutate(document, ROOM - 64, seed);
        good += is_json(data, size);
        other += size != strlen(document) || memcmp(data, document, size) != 0;
    }
    assert_true(good > SEEDS / 2 && good < SEEDS); // not JSON: lone surrogates, and what the bytewise one made
    assert_true(other > SEEDS * 9 / 10);
    assert_true(bytewise > SEEDS / 6);
}

static void test_what_stands_around_the_json_stays(void **state)
{
    (void)state;
    char text[200];
    int kept = 0;
    snprintf(text, sizeof text, "POST / HTTP/1.1\r\n\r\n%s\x1e@", document);
    for (unsigned seed = 0; seed < SEEDS; seed++) {
        size_t size = mutate(text, ROOM - 64, seed);
        kept += memcmp(data, text, 19) == 0 && data[size - 2] == 0x1e && data[size - 1] == '@';
    }
    assert_true(kept > SEEDS / 3);
}

static void test_room_is_kept_to(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < SEEDS; seed++)
        mutate(document, strlen(document) + seed % 8, seed);
}

static void test_without_json_it_is_the_bytewise_one(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "plain", "{", "[1,", "}{", "\x1e"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (unsigned seed = 0; seed < 50; seed++) {
            bytewise = 0;
            assert_int_equal(mutate(texts[i], 100, seed), strlen(texts[i]) + 1);
            assert_int_equal(bytewise, 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_stays_json_and_is_another_one),
        cmocka_unit_test(test_what_stands_around_the_json_stays),
        cmocka_unit_test(test_room_is_kept_to),
        cmocka_unit_test(test_without_json_it_is_the_bytewise_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
