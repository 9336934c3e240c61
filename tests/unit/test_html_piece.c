// HTML in pieces: nothing between them is lost, none is too much work for the parser, and of a tag that alone is too much the first
// attributes are read as HTML5 reads them.
#include "support/unit.h"

#include "base/buf.h"
#include "platform/html_piece.h"
#include "platform/html_text.h"

static struct arena arena;

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct str repeated(const char *part, size_t times)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    for (size_t i = 0; i < times; i++)
        buf_add_str(&buf, str_of(part));
    buf_must(&buf);
    struct str all = arena_str(&arena, buf_str(&buf));
    buf_done(&buf);
    return all;
}

// `begin`, so many attributes of different names, each behind `before`, and `end`.
static struct str with_attributes(struct str begin, const char *before, size_t count, struct str end)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    buf_add_str(&buf, begin);
    for (size_t i = 0; i < count; i++)
        buf_printf(&buf, "%sa%zu", before, i);
    buf_add_str(&buf, end);
    buf_must(&buf);
    struct str all = arena_str(&arena, buf_str(&buf));
    buf_done(&buf);
    return all;
}

static size_t count_of(struct str text, char c)
{
    size_t count = 0;
    for (size_t i = 0; i < text.n; i++)
        count += text.p[i] == c;
    return count;
}

static void test_pieces_are_all_there_is(void **state)
{
    static const char *const parts[] = {
        "words ", "<b>bold</b> ", "<br>", "<", "<a href='https://a/b'>'\"/\n</a>", "<img src='a'> "};
    (void)state;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct str all = repeated(parts[i], 5000), rest = all;
        size_t at = 0, pieces = 0;
        for (; rest.n; pieces++) {
            struct str piece = html_piece_take(&rest, &arena);
            assert_true(piece.n > 0);
            assert_ptr_equal(piece.p, all.p + at); // where it lies
            at += piece.n;
            assert_ptr_equal(rest.p, all.p + at);
            assert_true(count_of(piece, '<') <= PIECE_TAGS + 1);
            assert_true(!rest.n || rest.p[0] == '<');
            assert_true(count_of(piece, ' ') + count_of(piece, '\'') <= PIECE_ATTRIBUTES || count_of(piece, '<') <= 1);
        }
        assert_int_equal(at, all.n);
        assert_true(pieces == 1 || parts[i][0] == '<');
        assert_true(pieces > 1 || parts[i][0] != '<');
    }
}

static void test_a_short_text_is_one_piece(void **state)
{
    (void)state;
    struct str all = repeated("<p>some words of an agent, <b>as</b> they are</p>", 100), rest = all;
    assert_true(str_eq(html_piece_take(&rest, &arena), all));
    assert_int_equal(rest.n, 0);
}

static void expect_piece(struct str html, struct str piece)
{
    struct str found = html_piece_take(&html, &arena);
    assert_int_equal(found.n, piece.n);
    assert_true(str_eq(found, piece));
}

static void test_the_first_attributes_of_a_tag_stay(void **state)
{
    static const char *const befores[] = {" ", "/", "\n", " x=1 / ", " x='>' ", "\t\"'=\">\""};
    (void)state;
    for (size_t i = 0; i < sizeof befores / sizeof *befores; i++) {
        size_t each = i < 3 ? 1 : 2, most = TAG_ATTRIBUTES / each;
        const char *before = befores[i];
        struct str just = with_attributes(STR("<a"), before, most, STR(">text > 'text'"));
        expect_piece(just, just);
        expect_piece(with_attributes(STR("<a"), before, most, STR("/ y='>' z>text > 'text'")), just);
        expect_piece(with_attributes(STR("<a"), before, most * 3, STR(">text > 'text'")), just);
        just = with_attributes(STR("</I"), before, most, STR(""));
        expect_piece(with_attributes(STR("</I"), before, most * 3, STR("")), just);
    }
}

static void test_what_is_no_tag_has_no_attributes(void **state)
{
    static const char *const begins[] = {"", "<", "</", "< a", "<!-- ", "<!a", "<?a", "<1", "</ a", "</>", "<a>"};
    (void)state;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        struct str all = with_attributes(str_of(begins[i]), " ", 1000, STR(">text"));
        expect_piece(all, all);
    }
}

// Without bounds each of them takes a quarter of an hour, and whoever writes at a desk would hold up everybody: the runner ends what hangs.
static void test_many_attributes_take_no_time(void **state)
{
    static const struct {
        const char *begin, *before, *end;
        bool shown; // the end is
    } attacks[] = {
        {"<a", " ", ">hello", true},
        {"<a", "/", ">hello", true},
        {"<a", " <", ">hello", false},
        {"<a", " b='<'", ">hello", false},
        {"<!-- <b ' --><a", " ", ">hello", true},
        {"<title>\"</title><a", " ", ">hello", true},
        {"<script><b ='</script><a", "\n", ">hello", true},
        {"<a '><b", " ", ">hello", true},
        {"</b", " ", ">hello", true},
        {"<a \">\"", " ", "", false},
        {"<svg><a", " ", "/>hello", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof attacks / sizeof *attacks; i++) {
        struct str html = with_attributes(str_of(attacks[i].begin), attacks[i].before, 400000, str_of(attacks[i].end));
        struct html_text out;
        html_text_read(html, &arena, &out);
        assert_true(!attacks[i].shown || str_ends(out.text, STR("hello")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_pieces_are_all_there_is, clean),
        cmocka_unit_test_teardown(test_a_short_text_is_one_piece, clean),
        cmocka_unit_test_teardown(test_the_first_attributes_of_a_tag_stay, clean),
        cmocka_unit_test_teardown(test_what_is_no_tag_has_no_attributes, clean),
        cmocka_unit_test_teardown(test_many_attributes_take_no_time, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
