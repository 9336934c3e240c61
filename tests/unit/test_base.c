// The base layer: texts, buffers, JSON, times, arenas, heap, queue, chance.
#include "base/arena.h"
#include "base/buf.h"
#include "base/chance.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/queue.h"
#include "base/time_text.h"
#include "model/backoff.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_integers_are_whole_decimal_and_fit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } rows[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t value = 77;
        assert_int_equal(str_to_i64(str_of(rows[i].text), &value), rows[i].good);
        assert_int_equal(value, rows[i].good ? rows[i].value : 77); // untouched on failure
    }
}

static void test_utf8_is_told_from_what_looks_like_it(void **state)
{
    (void)state;
    static const char *const good[] = {"", "abc", "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\xC0\x80",         "\xC3", "\xE0\x80\x80", "\xED\xA0\x80",
                                      "\xF4\x90\x80\x80", "\xFF", "a\x80",        "\xF0\x80\x80\x80"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(str_is_utf8(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_is_utf8(str_of(bad[i])));
}

static void test_secrets_are_equal_only_when_they_are(void **state)
{
    (void)state;
    assert_true(str_eq_secret(STR("abc"), STR("abc")));
    assert_false(str_eq_secret(STR("abc"), STR("abd")));
    assert_false(str_eq_secret(STR("abc"), STR("abcabc")));
    assert_false(str_eq_secret(STR("abcabc"), STR("abc")));
    assert_false(str_eq_secret(STR("abc"), STR_NONE));
    assert_true(str_eq_secret(STR_NONE, STR_NONE));
}

static void test_parts_of_texts_stay_inside(void **state)
{
    (void)state;
    assert_str(str_sub(STR("hello"), 1, 3), "el");
    assert_str(str_sub(STR("hello"), 3, 99), "lo");
    assert_int_equal(str_sub(STR("hello"), 9, 12).n, 0);
    assert_int_equal(str_index(STR("a/b/c"), '/', 2), 3);
    assert_int_equal(str_index(STR("abc"), '/', 0), 3);
    assert_str(str_trim(STR(" \t a b \r\n")), "a b");
    assert_true(str_cmp(STR("a"), STR("ab")) < 0 && str_cmp(STR("b"), STR("ab")) > 0);
}

static void test_a_buffer_never_passes_its_maximum_and_remembers(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 5);
    assert_int_equal(buf_add(&buf, "abc", 3), ERR_OK);
    assert_int_equal(buf_add(&buf, "def", 3), ERR_TOO_LARGE);
    assert_true(buf.failed);
    assert_int_equal(buf_add_char(&buf, 'x'), ERR_TOO_LARGE); // the failure sticks: the content is not whole
    assert_str(buf_str(&buf), "abc");
    buf_clear(&buf);
    assert_int_equal(buf_printf(&buf, "%d", 12345), ERR_OK);
    assert_str(buf_str(&buf), "12345");
    buf_done(&buf);
}

static void test_json_escapes_what_must_be_and_mends_bad_utf8(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    struct json json = {.out = &out};
    json_open(&json, '{');
    json_key_str(&json, "a", STR("q\"\\\n\r\t\x01\x7F\xFF\xC3\xA4"));
    json_key(&json, "l");
    json_open(&json, '[');
    json_int(&json, INT64_MIN);
    json_null(&json);
    json_bool(&json, true);
    json_id(&json, 12);
    json_close(&json, ']');
    json_key_time(&json, "t", 1700000000123456);
    json_key_time(&json, "never", 0);
    json_close(&json, '}');
    assert_str(buf_str(&out),
               "{\"a\":\"q\\\"\\\\\\n\\r\\t\\u0001\\u007f\xEF\xBF\xBD\xC3\xA4\",\"l\":[-9223372036854775808,null,"
               "true,\"12\"],\"t\":\"2023-11-14T22:13:20.123Z\",\"never\":null}");
    buf_done(&out);
}

// Line 45 of the list of hostile inputs: what a terminal obeys, in 7 or 8 bits, and what turns the direction of text.
static void test_line_45_json_for_a_screen_is_harmless(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 1000);
    struct json json = {.out = &out, .for_screen = true};
    json_str(&json, STR("\x1B[2J \xC2\x9B"
                        "2J \xC2\x85\xE2\x80\xA8\xE2\x80\xA9 \xE2\x80\x8F"
                        "abc \xD8\x9C \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80 \xC2"));
    assert_str(buf_str(&out), "\"\\u001b[2J \\u009b2J \\u0085\\u2028\\u2029 \\u200fabc "
                              "\\u061c \xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBD\"");
    // Not as a literal: compilers warn of what it does to a reader.
    const char override[] = {(char)0xE2, (char)0x80, (char)0xAE, (char)0xE2, (char)0x81, (char)0xA9};
    struct str text = {override, sizeof override};
    buf_clear(&out);
    json = (struct json){.out = &out, .for_screen = true};
    json_str(&json, text);
    assert_str(buf_str(&out), "\"\\u202e\\u2069\"");
    buf_clear(&out);
    json = (struct json){.out = &out};
    json_str(&json, text); // a desk gets what was written
    assert_true(str_eq(str_sub(buf_str(&out), 1, 7), text));
    buf_done(&out);
}

// The line that log_write wrote, read back through a pipe.
static void test_line_45_a_log_field_is_cut_and_escaped_and_no_line_is_lost(void **state)
{
    (void)state;
    enum { SIZE = 300000 };
    char *words = malloc(SIZE), *line = calloc(1, SIZE);
    int ends[2], standard_error = dup(STDERR_FILENO);
    memset(words, 1, SIZE);
    memcpy(words, "a\n{\"event\":\"x\"}", 15);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_warn("hostile", LOG_S("why", ((struct str){words, SIZE})), LOG_N("after", 7));
    dup2(standard_error, STDERR_FILENO);
    close(standard_error);
    size_t n = 0;
    for (ssize_t got; (got = read(ends[0], line + n, SIZE - 1 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    assert_true(n > 8192);
    assert_int_equal(strcspn(line, "\n"), n - 1); // one line
    yyjson_doc *doc = json_read((struct str){line, n - 1});
    assert_non_null(doc);
    assert_str(json_get_str(yyjson_doc_get_root(doc), "event"), "hostile");
    struct str why = json_get_str(yyjson_doc_get_root(doc), "why");
    assert_true(str_eq(why, (struct str){words, 8192}));
    int64_t after = 0;
    assert_true(json_get_int(yyjson_doc_get_root(doc), "after", &after) && after == 7);
    yyjson_doc_free(doc);
    free(words);
    free(line);
}

static void test_json_is_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "{",        "{\"a\":1,}", "[1 2]", "NaN", "{\"a\":01}", "\xEF\xBB\xBF{}",
                                      "{} x", "\"\xFF\"", "// c\n{}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(json_read(str_of(bad[i])));
    yyjson_doc *doc = json_read(STR("{\"s\":\"x\",\"n\":-5,\"big\":18446744073709551615,\"f\":1.5}"));
    assert_non_null(doc);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int64_t n = 7;
    assert_str(json_get_str(root, "s"), "x");
    assert_null(json_get_str(root, "n").p);
    assert_true(json_get_int(root, "n", &n) && n == -5);
    assert_false(json_get_int(root, "big", &n));
    assert_false(json_get_int(root, "f", &n));
    assert_int_equal(n, -5);
    yyjson_doc_free(doc);
}

static void test_times_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t us;
    } rows[] = {
        {"1970-01-01T00:00:00Z", true, 0},
        {"2023-11-14T22:13:20.123456789Z", true, 1700000000123456},
        {"2023-11-15T00:13:20+02:00", true, 1700000000000000},
        {"1969-12-31T23:59:59.5Z", true, -500000},
        {"2023-11-14", false, 0},
        {"2023-13-14T22:13:20Z", false, 0},
        {"2023-11-14T22:13:20", false, 0},
        {"2023-11-14T22:13:20.Z", false, 0},
        {"2023-11-14T22:13:20Zx", false, 0},
        {"2023-11-14T22:13:20+2:00", false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int64_t us = 0;
        assert_int_equal(time_parse(str_of(rows[i].text), &us), rows[i].good);
        if (rows[i].good)
            assert_int_equal(us, rows[i].us);
    }
    char text[TIME_TEXT_SIZE];
    assert_str(time_text(-500000, text), "1969-12-31T23:59:59.500Z");
    assert_str(time_text(4102444800000000, text), "2100-01-01T00:00:00.000Z"); // beyond 2038
    assert_str(time_text(1709210096007999, text), "2024-02-29T12:34:56.007Z");
    assert_str(time_text(-62135596800000000, text), "0001-01-01T00:00:00.000Z");
    assert_str(time_text(253402300799999999, text), "9999-12-31T23:59:59.999Z");
    assert_str(time_text(253402300800000000, text), "10000-01-01T00:00:00.000Z");
}

static void test_an_arena_gives_room_for_large_and_small(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (size_t size = 1; size < 20000; size = size * 3 + 1) {
        char *p = arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xAA, size);
    }
    assert_null(arena_try(&arena, SIZE_MAX - 10));
    assert_null(arena_str(&arena, STR_NONE).p);
    assert_str(arena_printf(&arena, "%d-%s", 5, "x"), "5-x");
    arena_done(&arena);
    assert_null(arena.chunks);
}

// Chunks are memory that others have used, and are not cleared as a whole.
static void test_an_arena_gives_cleared_memory_after_any_use(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct arena arena = {0};
        for (size_t size = 1; size < 300; size++) {
            char *p = arena_alloc(&arena, size);
            for (size_t i = 0; i < size; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xAA, size);
            assert_str(arena_str(&arena, STR("text")), "text");
        }
        arena_done(&arena);
        char *dirty = malloc(4096);
        memset(dirty, 0xAA, 4096);
        free(dirty);
    }
}

static void test_an_arena_puts_texts_together(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct str joined = ARENA_JOIN(&arena, STR("a"), STR_NONE, STR(""), STR("bcd"));
    assert_str(joined, "abcd");
    assert_int_equal(joined.p[joined.n], 0);
    assert_int_equal(arena_join(&arena, NULL, 0).n, 0);
    // Of any length, the ones about the room that printf is tried in too.
    char long_text[2000];
    memset(long_text, 'x', sizeof long_text);
    for (int n = 0; n < (int)sizeof long_text; n++) {
        struct str text = arena_printf(&arena, "%.*s", n, long_text);
        assert_int_equal(text.n, n);
        assert_memory_equal(text.p, long_text, n);
        assert_int_equal(text.p[n], 0);
    }
    arena_done(&arena);
}

static void test_numbers_are_written_as_printf_does(void **state)
{
    (void)state;
    const int64_t numbers[] = {0, 1, -1, 9, 10, -10, 99, 100, 1700000000, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char expected[32], digits[STR_I64_SIZE];
        snprintf(expected, sizeof expected, "%lld", (long long)numbers[i]);
        assert_str(str_of_i64(numbers[i], digits), expected);
    }
}

struct thing {
    struct heap_item item; // first
};

static void test_a_heap_gives_the_earliest_whatever_is_moved_or_taken_out(void **state)
{
    (void)state;
    enum { THINGS = 300 };
    static struct thing things[THINGS];
    struct heap heap = {0};
    struct chance chance;
    chance_init(&chance, 3);
    for (int i = 0; i < THINGS; i++)
        heap_set(&heap, &things[i].item, (int64_t)chance_below(&chance, 1000));
    for (int i = 0; i < THINGS; i += 3)
        heap_set(&heap, &things[i].item, (int64_t)chance_below(&chance, 1000)); // moved
    for (int i = 0; i < THINGS; i += 5)
        heap_remove(&heap, &things[i].item);
    heap_remove(&heap, &things[0].item); // twice does nothing
    int64_t last = -1;
    int taken = 0;
    for (struct heap_item *top; (top = heap_top(&heap)); taken++) {
        assert_true(top->at >= last);
        last = top->at;
        heap_remove(&heap, top);
        assert_int_equal(top->index, 0);
    }
    assert_int_equal(taken, THINGS - THINGS / 5);
    heap_done(&heap);
}

struct note {
    struct queue_node node; // first
    int from, number;
};

enum { NOTES = 2000, WRITERS = 4 };

struct writer {
    struct queue *queue;
    int from;
};

static void *write_notes(void *arg)
{
    struct writer *writer = arg;
    for (int i = 0; i < NOTES; i++) {
        struct note *note = mem_new_of(struct note);
        note->from = writer->from;
        note->number = i;
        while (!queue_push(writer->queue, &note->node))
            sched_yield(); // full
    }
    return NULL;
}

static void test_a_queue_keeps_the_order_of_each_writer_and_its_bound(void **state)
{
    (void)state;
    struct queue *queue = queue_new(64, NULL, NULL);
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    int next[WRITERS] = {0}, taken = 0;
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){queue, i};
        pthread_create(&threads[i], NULL, write_notes, &writers[i]);
    }
    while (taken < NOTES * WRITERS) {
        assert_true(queue_length(queue) <= 64);
        for (struct queue_node *node = queue_wait(queue, -1); node; taken++) {
            struct note *note = (struct note *)node;
            node = node->next;
            assert_int_equal(note->number, next[note->from]++);
            free(note);
        }
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    queue_free(queue);
}

static void test_a_full_queue_refuses_but_takes_what_is_paid_for(void **state)
{
    (void)state;
    struct queue *queue = queue_new(1, NULL, NULL);
    struct note a = {0}, b = {0}, c = {0};
    assert_true(queue_push(queue, &a.node));
    assert_false(queue_push(queue, &b.node));
    assert_true(queue_push_always(queue, &b.node));
    queue_close(queue);
    assert_false(queue_push_always(queue, &c.node));
    struct queue_node *all = queue_wait(queue, -1); // what is queued can still be taken
    assert_ptr_equal(all, &a.node);
    assert_ptr_equal(all->next, &b.node);
    assert_null(queue_wait(queue, -1)); // closed: does not block
    queue_free(queue);
}

static void test_a_woken_queue_is_not_waited_for(void **state)
{
    (void)state;
    struct queue *queue = queue_new(0, NULL, NULL);
    queue_wake(queue);
    assert_null(queue_wait(queue, -1)); // else for ever
    assert_false(queue_is_closed(queue));
    queue_free(queue);
}

static void test_hashes_tell_where_texts_end(void **state)
{
    (void)state;
    struct str ab_c[] = {STR("ab"), STR("c")}, a_bc[] = {STR("a"), STR("bc")}, abc[] = {STR("abc")};
    struct str with_empty[] = {STR("ab"), STR("c"), STR("")};
    assert_true(hash_strs(ab_c, 2) != hash_strs(a_bc, 2));
    assert_true(hash_strs(ab_c, 2) != hash_strs(abc, 1));
    assert_true(hash_strs(ab_c, 2) != hash_strs(with_empty, 3));
    assert_true(hash_strs(ab_c, 2) == hash_strs(ab_c, 2));
}

static void test_pauses_double_to_the_cap_and_vary(void **state)
{
    (void)state;
    struct chance chance;
    chance_init(&chance, 1);
    static const int64_t whole[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (int failures = 1; failures <= 8; failures++) {
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < 500; i++) {
            int64_t pause = backoff_pause(1000, 60000, failures, &chance);
            least = pause < least ? pause : least;
            most = pause > most ? pause : most;
        }
        assert_true(least >= whole[failures - 1] / 2 && most <= whole[failures - 1]);
        assert_true(least < whole[failures - 1] * 6 / 10 && most > whole[failures - 1] * 9 / 10);
    }
    assert_true(backoff_pause(1000, 60000, 1000000, &chance) <= 60000);
}

static void test_a_manual_clock_stands_until_it_is_moved(void **state)
{
    (void)state;
    struct clock_manual manual;
    clock_manual_init(&manual, 5);
    assert_int_equal(clock_wall_us(&manual.clock), 5);
    int64_t mono = clock_mono_us(&manual.clock);
    clock_manual_pass(&manual, 10);
    assert_int_equal(clock_wall_us(&manual.clock), 15);
    assert_int_equal(clock_mono_us(&manual.clock), mono + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_are_whole_decimal_and_fit),
        cmocka_unit_test(test_utf8_is_told_from_what_looks_like_it),
        cmocka_unit_test(test_secrets_are_equal_only_when_they_are),
        cmocka_unit_test(test_parts_of_texts_stay_inside),
        cmocka_unit_test(test_a_buffer_never_passes_its_maximum_and_remembers),
        cmocka_unit_test(test_json_escapes_what_must_be_and_mends_bad_utf8),
        cmocka_unit_test(test_line_45_json_for_a_screen_is_harmless),
        cmocka_unit_test(test_line_45_a_log_field_is_cut_and_escaped_and_no_line_is_lost),
        cmocka_unit_test(test_json_is_read_strictly),
        cmocka_unit_test(test_times_are_read_and_written),
        cmocka_unit_test(test_an_arena_gives_room_for_large_and_small),
        cmocka_unit_test(test_an_arena_gives_cleared_memory_after_any_use),
        cmocka_unit_test(test_an_arena_puts_texts_together),
        cmocka_unit_test(test_numbers_are_written_as_printf_does),
        cmocka_unit_test(test_a_heap_gives_the_earliest_whatever_is_moved_or_taken_out),
        cmocka_unit_test(test_a_queue_keeps_the_order_of_each_writer_and_its_bound),
        cmocka_unit_test(test_a_full_queue_refuses_but_takes_what_is_paid_for),
        cmocka_unit_test(test_a_woken_queue_is_not_waited_for),
        cmocka_unit_test(test_hashes_tell_where_texts_end),
        cmocka_unit_test(test_pauses_double_to_the_cap_and_vary),
        cmocka_unit_test(test_a_manual_clock_stands_until_it_is_moved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
