// RELIABILITY.md, section 6, line 40: a search term is data, and a search ends in its time whatever lies in the texts.
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/store_kit.h"

enum { ROWS = 16, TEXT_SIZE = 1 << 20, CAP_MS = 10 };

static void count(void *arg, const struct message *message)
{
    (void)message;
    ++*(int *)arg;
}

static int search(struct store_reader *reader, const char *q, int *out_found)
{
    struct message_filter filter = {.text = str_of(q)};
    *out_found = 0;
    return reader->ops->messages(reader, &filter, 0, 100, count, out_found);
}

static void store_text(struct store *store, const char *key, struct str text)
{
    struct store_accept accept = kit_accept(key, "c");
    accept.event.text = text;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
}

// A text of one letter and a term that differs from it in its last one: the slowest there is for the search.
static void test_line_40_search_over_large_texts_is_held_to_its_time(void **state)
{
    (void)state;
    char *path = kit_store_path("search"), *text = malloc(TEXT_SIZE), term[1000], key[16];
    struct store *store = kit_open(path);
    int found;
    memset(text, 'a', TEXT_SIZE);
    memset(term, 'a', sizeof term);
    memcpy(term + sizeof term - 2, "b", 2);
    for (int i = 0; i < ROWS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        store_text(store, key, (struct str){text, TEXT_SIZE});
    }
    struct store_reader *reader = store->ops->reader_new(store);
    reader->ops->set_time_cap(reader, CAP_MS);
    assert_int_equal(search(reader, term, &found), ERR_BUSY);
    reader->ops->set_time_cap(reader, 0);
    assert_int_equal(search(reader, term, &found), 0);
    assert_int_equal(found, 0);
    assert_int_equal(search(reader, "aaaa", &found), 0);
    assert_int_equal(found, ROWS);
    reader->ops->free(reader);
    store->ops->close(store, true);
    free(text);
    free(path);
}

static void test_line_40_terms_are_data(void **state)
{
    (void)state;
    static const struct {
        const char *term;
        int found;
    } rows[] = {
        {"", 4},        {"100%", 1},   {"%", 1},           {"_", 1},
        {"a_b", 1},     {"axb", 1},    {"' OR 1=1 --", 0}, {"'; DROP TABLE messages; --", 0},
        {"o'clock", 1}, {"$.text", 0}, {"[a-z]", 0},       {"(a+)+$", 0},
        {"\\", 0},      {"\"", 0},     {"O'CLOCK", 1}, // ASCII letters of any case
    };
    char *path = kit_store_path("terms");
    struct store *store = kit_open(path);
    store_text(store, "k1", STR("100% sure"));
    store_text(store, "k2", STR("a_b"));
    store_text(store, "k3", STR("axb"));
    store_text(store, "k4", STR("five o'clock"));
    struct store_reader *reader = store->ops->reader_new(store);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int found;
        assert_int_equal(search(reader, rows[i].term, &found), 0);
        if (found != rows[i].found)
            fail_msg("%s: %d found", rows[i].term, found);
        struct message_filter filter = {.conversation = str_of(rows[i].term)};
        assert_int_equal(reader->ops->messages(reader, &filter, 0, 100, count, &found), 0);
    }
    reader->ops->free(reader);
    store->ops->close(store, true);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_40_search_over_large_texts_is_held_to_its_time),
        cmocka_unit_test(test_line_40_terms_are_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
