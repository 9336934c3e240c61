// An agent's HTML as messages of Telegram: every case of tests/data/telegram/replies.json, where long texts are cut, and what
// no agent would write.
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "platform/platform.h"
#include "support/plain_http.h"

static struct arena arena;

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

struct reply {
    struct reply_text *texts;
    size_t count;
};

static struct reply compose(struct str html)
{
    struct reply reply;
    platform_telegram.compose(html, &arena, &reply.texts, &reply.count);
    return reply;
}

static struct str repeated(const char *part, size_t times)
{
    size_t n = strlen(part);
    char *all = arena_alloc(&arena, n * times + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(all + i * n, part, n);
    return (struct str){all, n * times};
}

static struct str written(yyjson_val *value)
{
    size_t n;
    char *text = value ? yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &n) : NULL;
    struct str copy = text ? arena_str(&arena, (struct str){text, n}) : STR("");
    free(text);
    return copy;
}

static void check_case(yyjson_val *each)
{
    struct reply reply = compose(json_get_str(each, "html"));
    yyjson_val *texts = yyjson_obj_get(each, "texts"), *text;
    size_t i, n;
    print_message("%.*s\n", STR_ARG(json_get_str(each, "what")));
    assert_int_equal(reply.count, yyjson_arr_size(texts));
    yyjson_arr_foreach(texts, i, n, text)
    {
        assert_str(reply.texts[i].text, yyjson_get_str(yyjson_obj_get(text, "text")));
        struct str entities = written(yyjson_obj_get(text, "entities"));
        assert_int_equal(reply.texts[i].format.n, entities.n);
        assert_true(str_eq(reply.texts[i].format, entities));
    }
}

static void test_each_case_of_the_table(void **state)
{
    (void)state;
    yyjson_doc *doc = json_read(plain_file(&arena, "tests/data/telegram/replies.json"));
    yyjson_val *replies = yyjson_obj_get(yyjson_doc_get_root(doc), "replies"), *each;
    size_t i, n;
    assert_true(yyjson_arr_size(replies) > 30);
    yyjson_arr_foreach(replies, i, n, each) check_case(each);
    yyjson_doc_free(doc);
}

// Cutting -------------------------------------------------------------------------------------------------

static size_t units(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += ((unsigned char)text.p[i] & 0xC0) != 0x80 ? 1 + ((unsigned char)text.p[i] >= 0xF0) : 0;
    return n;
}

static void test_4096_units_are_one_message(void **state)
{
    (void)state;
    assert_int_equal(compose(repeated("a", 4096)).count, 1);
    assert_int_equal(compose(repeated("é", 4096)).count, 1);
    assert_int_equal(compose(repeated("\xF0\x9F\x98\x80", 2048)).count, 1);
    struct reply reply = compose(repeated("\xF0\x9F\x98\x80", 2049));
    assert_int_equal(reply.count, 2);
    assert_int_equal(units(reply.texts[0].text), 4096);
    assert_int_equal(units(reply.texts[1].text), 2);
    reply = compose(ARENA_JOIN(&arena, STR("a"), repeated("\xF0\x9F\x98\x80", 4096)));
    assert_int_equal(reply.count, 3); // no surrogate is torn from its other half
    assert_int_equal(units(reply.texts[0].text), 4095);
}

// `first` before `second` behind it: the text is cut between them.
static void expect_cut(struct str first, const char *between, struct str second)
{
    struct reply reply = compose(ARENA_JOIN(&arena, STR("<pre>"), first, str_of(between), second, STR("</pre>")));
    assert_int_equal(reply.count, 2);
    assert_true(str_eq(reply.texts[0].text, first));
    assert_true(str_eq(reply.texts[1].text, second));
}

static void test_a_cut_is_made_where_a_reader_would(void **state)
{
    (void)state;
    struct str word = repeated("a", 2500), line = ARENA_JOIN(&arena, word, STR("\nb c. d")),
               sentence = ARENA_JOIN(&arena, word, STR(" b."));
    expect_cut(line, "\n\n", ARENA_JOIN(&arena, STR("e\nf. g "), repeated("h", 2000))); // a paragraph
    expect_cut(sentence, "\n", ARENA_JOIN(&arena, STR("c. d "), repeated("e", 2000)));  // a line
    expect_cut(sentence, " ", ARENA_JOIN(&arena, STR("c d "), repeated("e", 2000)));    // a sentence
    expect_cut(ARENA_JOIN(&arena, word, STR("?")), " ", ARENA_JOIN(&arena, STR("c "), repeated("e", 2000)));
    expect_cut(ARENA_JOIN(&arena, repeated("中", 2500), STR("。")), "", repeated("中", 2000));
    expect_cut(word, " ", repeated("e", 2000)); // a word
}

static void test_what_stands_too_early_cuts_nothing(void **state)
{
    (void)state;
    struct reply reply = compose(ARENA_JOIN(&arena, STR("a<p>"), repeated("b ", 3000)));
    assert_int_equal(reply.count, 2);
    assert_int_equal(units(reply.texts[0].text), 4096); // "a", a blank line, and the words that fit
}

static void test_characters_of_several_code_points_stay_whole(void **state)
{
    static const char *const characters[] = {
        "e\xCC\x81",                                    // e and an accent
        "\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD",             // a thumb and its skin
        "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB", // joined by U+200D
        "\xE2\x9D\xA4\xEF\xB8\x8F",                     // a heart and its variant
        "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA",             // two letters of a flag
    };
    (void)state;
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++)
        for (size_t shift = 0; shift < 5; shift++) {
            struct str shown = str_of(characters[i]);
            struct reply reply = compose(ARENA_JOIN(&arena, repeated("a", shift), repeated(characters[i], 3000)));
            assert_true(reply.count >= 2);
            for (size_t piece = 0; piece < reply.count; piece++) {
                struct str text = reply.texts[piece].text;
                assert_true(units(text) <= 4096);
                assert_true(piece == 0 || str_starts(text, shown));
                assert_true(str_ends(text, shown));
            }
        }
}

static void test_marks_without_end_are_cut_anyhow(void **state)
{
    (void)state;
    struct reply reply = compose(ARENA_JOIN(&arena, STR("e"), repeated("\xCC\x81", 9000)));
    assert_int_equal(reply.count, 3);
    assert_int_equal(units(reply.texts[0].text), 4096);
}

static void test_entities_are_cut_with_the_text(void **state)
{
    (void)state;
    struct reply reply = compose(ARENA_JOIN(&arena, STR("<b>x<a href=\"https://x.example/\">"), repeated("a", 2999),
                                            STR(" "), repeated("\xF0\x9F\x98\x80", 1000), STR("</a></b> <i>end</i>")));
    assert_int_equal(reply.count, 2);
    assert_str(reply.texts[0].format,
               "[{\"type\":\"bold\",\"offset\":0,\"length\":3000},{\"type\":\"text_link\",\"offset\":1,"
               "\"length\":2999,\"url\":\"https://x.example/\"}]");
    assert_str(reply.texts[1].format,
               "[{\"type\":\"bold\",\"offset\":0,\"length\":2000},{\"type\":\"text_link\",\"offset\":0,"
               "\"length\":2000,\"url\":\"https://x.example/\"},{\"type\":\"italic\",\"offset\":2001,\"length\":3}]");
}

static void test_a_message_has_at_most_100_entities(void **state)
{
    (void)state;
    struct reply reply = compose(repeated("<b>a</b> ", 150));
    assert_int_equal(reply.count, 1);
    yyjson_doc *doc = json_read(reply.texts->format);
    assert_int_equal(yyjson_arr_size(yyjson_doc_get_root(doc)), 100);
    yyjson_doc_free(doc);
}

// What no agent would write -------------------------------------------------------------------------------

static void expect_text(struct str html, const char *text)
{
    struct reply reply = compose(html);
    assert_int_equal(reply.count, 1);
    assert_str(reply.texts->text, text);
}

static void test_bytes_that_are_no_text(void **state)
{
    (void)state;
    expect_text(STR("a\0b<p>c\0</p>"), "ab\n\nc");
    expect_text(STR("a\xFF\xC3(b"), "a\xEF\xBF\xBD\xEF\xBF\xBD(b");
    expect_text(STR("\xEF\xBB\xBF"
                    "a\x01\x1B[31m\x7F b\xC2\x85"
                    "c"),
                "\xEF\xBB\xBF"
                "a[31m bc");
    expect_text(STR("\xC2z\xC2"), "\xEF\xBF\xBDz\xEF\xBF\xBD");
    expect_text(STR("a\xE2\x82"), "a\xEF\xBF\xBD");
    expect_text(STR("&#0;&#x110000;&#xD800;&#1;a&#99999999999999999999;"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                                                                           "a\xEF\xBF\xBD");
    expect_text(STR("<b \0 x='\xFF'>a</b\0>b"), "ab");
    assert_int_equal(compose(STR("")).count, 0);
    assert_int_equal(compose(STR_NONE).count, 0);
    assert_int_equal(compose(STR("<")).count, 1);
}

static void test_depth_has_no_limit(void **state)
{
    static const char *const tags[] = {"<div>",           "<b>",      "<ul><li>", "<blockquote>",
                                       "<table><tr><td>", "<font a=", "<svg>",    "<pre>"};
    (void)state;
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        struct reply reply = compose(ARENA_JOIN(&arena, STR("begin"), repeated(tags[i], 30000), STR("<p>end")));
        assert_true(reply.count > 0);
        assert_true(str_starts(reply.texts[0].text, STR("begin")));
    }
    expect_text(ARENA_JOIN(&arena, repeated("<div><i>", 50000), STR("x"), repeated("</i></div>", 50000)), "x");
}

// Formatting that is open is repeated in each block by HTML5's rules: the work must not grow with the square.
static void test_much_open_formatting_is_bounded(void **state)
{
    (void)state;
    struct buf html;
    buf_init(&html, 8 << 20);
    buf_add_str(&html, STR("<p>"));
    for (int i = 0; i < 20000; i++)
        buf_printf(&html, "<font size=%d>", i);
    for (int i = 0; i < 20000; i++)
        buf_printf(&html, "<p>y");
    assert_false(html.failed);
    struct reply reply = compose(buf_str(&html));
    size_t letters = 0;
    for (size_t i = 0; i < reply.count; i++)
        for (size_t at = 0; at < reply.texts[i].text.n; at++)
            letters += reply.texts[i].text.p[at] == 'y';
    assert_int_equal(letters, 20000);
    buf_done(&html);
}

static void test_much_text_is_all_there(void **state)
{
    (void)state;
    struct reply reply = compose(repeated("<p>one <b>two</b> <i>three</i></p>", 30000));
    size_t words = 0;
    for (size_t i = 0; i < reply.count; i++) {
        struct str text = reply.texts[i].text;
        assert_true(units(text) <= 4096);
        for (size_t at = 0; at + 5 <= text.n; at++)
            words += memcmp(text.p + at, "three", 5) == 0;
    }
    assert_int_equal(words, 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_each_case_of_the_table, clean),
        cmocka_unit_test_teardown(test_4096_units_are_one_message, clean),
        cmocka_unit_test_teardown(test_a_cut_is_made_where_a_reader_would, clean),
        cmocka_unit_test_teardown(test_what_stands_too_early_cuts_nothing, clean),
        cmocka_unit_test_teardown(test_characters_of_several_code_points_stay_whole, clean),
        cmocka_unit_test_teardown(test_marks_without_end_are_cut_anyhow, clean),
        cmocka_unit_test_teardown(test_entities_are_cut_with_the_text, clean),
        cmocka_unit_test_teardown(test_a_message_has_at_most_100_entities, clean),
        cmocka_unit_test_teardown(test_bytes_that_are_no_text, clean),
        cmocka_unit_test_teardown(test_depth_has_no_limit, clean),
        cmocka_unit_test_teardown(test_much_open_formatting_is_bounded, clean),
        cmocka_unit_test_teardown(test_much_text_is_all_there, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
