// Tables for people: they fit the terminal, and no text from outside can do anything to it.
#include "app/cli_table.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

static const char *table_with(const char *const *titles, size_t width, const char *const *cells, size_t count)
{
    static char text[8192];
    struct arena arena = {0};
    struct cli_table table;
    struct buf out;
    buf_init(&out, sizeof text);
    cli_table_init(&table, &arena, titles, 3);
    for (size_t i = 0; i < count; i++)
        cli_table_add(&table, str_of(cells[i]));
    cli_table_write(&table, width, &out);
    snprintf(text, sizeof text, "%.*s", STR_ARG(buf_str(&out)));
    buf_done(&out);
    arena_done(&arena);
    return text;
}

static const char *table_of(size_t width, const char *const *cells, size_t count)
{
    static const char *const titles[] = {"NAME", ">COUNT", "TEXT"};
    return table_with(titles, width, cells, count);
}

static void test_columns_are_as_wide_as_needed(void **state)
{
    (void)state;
    const char *cells[] = {"acme", "1", "hello", "b", "1000000", NULL};
    assert_string_equal(table_of(0, cells, 6), "NAME    COUNT  TEXT\n"
                                               "acme        1  hello\n"
                                               "b     1000000  \n");
}

static void test_the_widest_column_is_cut_to_fit(void **state)
{
    (void)state;
    const char *cells[] = {"acme", "1", "a text that is much longer than the terminal is wide"};
    const char *text = table_of(30, cells, 3);
    assert_string_equal(text, "NAME  COUNT  TEXT\nacme      1  a text that is...\n");
    for (size_t width = 1; width < 60; width++)
        for (const char *line = table_of(width, cells, 3); *line; line = strchr(line, '\n') + 1)
            assert_true(width < 20 || (size_t)(strchr(line, '\n') - line) <= width);
}

// An id or a time that is cut is of no use; a text is.
static void test_numbers_and_times_are_cut_last(void **state)
{
    (void)state;
    static const char *const titles[] = {">ID", "=AT", "TEXT"};
    const char *cells[] = {"1234567", "2026-11-22 18:00:39", "a text"};
    assert_string_equal(table_with(titles, 34, cells, 3), "     ID  AT                   TEXT\n"
                                                          "1234567  2026-11-22 18:00:39  a...\n");
    assert_string_equal(table_with(titles, 32, cells, 3), "     ID  AT                 TEXT\n"
                                                          "1234567  2026-11-22 18:...  a...\n");
}

static void test_a_terminal_of_one_column_ends(void **state)
{
    (void)state;
    const char *cells[] = {"acme", "1", "hello world"};
    assert_non_null(strstr(table_of(1, cells, 3), "acme"));
}

static void test_wide_letters_count_as_two(void **state)
{
    (void)state;
    assert_int_equal(cli_width(STR("abc")), 3);
    assert_int_equal(cli_width(STR("\u65e5\u672c")), 4);
    assert_int_equal(cli_width(STR("e\u0301")), 1);
    assert_int_equal(cli_width(STR("\U0001F600")), 2);
}

static void test_text_from_outside_is_harmless(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_string_equal(cli_clean(&arena, STR("a\x1b[31mred\x07\x7f")).p, "a?[31mred??");
    assert_string_equal(cli_clean(&arena, STR("one\ntwo\r")).p, "one two?");
    assert_string_equal(cli_clean(&arena, STR("\xe2\x80\xae" // NOLINT(misc-misleading-bidirectional)
                                              "evil"
                                              "\xe2\x81\xa6"))
                            .p,
                        "?evil?");
    assert_string_equal(cli_clean(&arena, STR("c1 \xc2\x9b"
                                              "31m"))
                            .p,
                        "c1 ?31m");
    assert_string_equal(cli_clean(&arena, STR("\xff\xc3")).p, "??");
    assert_string_equal(cli_clean(&arena, STR("gr\u00fc\u00dfe")).p, "gr\u00fc\u00dfe");
    arena_done(&arena);
}

static void assert_shown(const char *text, bool is_json, const char *shown)
{
    struct buf out;
    buf_init(&out, 1000);
    cli_write_shown(&out, str_of(text), is_json);
    assert_str(buf_str(&out), shown);
    buf_done(&out);
}

static void test_whatever_is_shown_is_harmless(void **state)
{
    (void)state;
    assert_shown("a\nb \xC3\xA4", false, "a\nb \xC3\xA4");
    assert_shown("\x1b[2J\r\x7f \xC2\x9b"
                 "31m \xE2\x80\xA8",
                 false, "?[2J?? ?31m ?");
    assert_shown("\xff\xC3 \xEF\xBF\xBD", false, "?? \xEF\xBF\xBD");
}

// The value is the same for whoever reads it as JSON.
static void test_json_that_is_shown_is_harmless_and_says_the_same(void **state)
{
    (void)state;
    assert_shown("{\n \"a\": \"\xC3\xA4\"\n}\n", true, "{\n \"a\": \"\xC3\xA4\"\n}\n");
    assert_shown("\"\x7f\xC2\x9b\xE2\x80\xA8\"", true, "\"\\u007f\\u009b\\u2028\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whatever_is_shown_is_harmless),
        cmocka_unit_test(test_json_that_is_shown_is_harmless_and_says_the_same),
        cmocka_unit_test(test_columns_are_as_wide_as_needed),
        cmocka_unit_test(test_the_widest_column_is_cut_to_fit),
        cmocka_unit_test(test_numbers_and_times_are_cut_last),
        cmocka_unit_test(test_a_terminal_of_one_column_ends),
        cmocka_unit_test(test_wide_letters_count_as_two),
        cmocka_unit_test(test_text_from_outside_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
