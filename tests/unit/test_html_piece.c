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
    static const char *const parts[] = {"words ",     "<b>bold</b> ", "<br>", "<", "<a href='https://a/b'>'\"/\n</a>",
                                        "<img src='a"};
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
            assert_true(count_of(piece, '<') <= PIECE_TAGS);
            assert_true(!rest.n || rest.p[0] == '<');
        }
        assert_int_equal(at, all.n);
        assert_int_equal(pieces > 1, parts[i][0] == '<');
    }
}

// Only what an attribute may begin in counts: neither words, nor what stands in values.
static void test_what_agents_write_is_one_piece(void **state)
{
    static const struct {
        const char *begin, *part;
        size_t times;
        const char *end;
    } texts[] = {
        {"<pre><code>", "    \"key\": {\n        \"value\": \"v / w\"\n    },\n", 1000, "</code></pre>"},
        {"<table><tr>", "<td style=\"border: 1px solid #ccc; padding: 4px 8px; color: #333\">7</td>", 200, "</table>"},
        {"<ol><li><img src=\"data:image/png;base64,", "iVBORw0KGgo/AAA", 10000, "\"></li><li>two</li></ol>"},
        {"<p><a href=\"https://x.example/\"><b>", "it isn't \"so\" / and = ", 3000, "</b></a></p>"},
        {"<blockquote class='a b c'><p>", "words of a customer, ", 3000, "</p></blockquote>"},
        {"<!-- ", "<p class=\"x\">an old note, and more to say of it</p>", 200, " --><p>seen</p>"},
        {"<script>", "if (a < b && c == 'd / e') { f (\"g\"); }\n", 400, "</script><p>seen</p>"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct str all = ARENA_JOIN(&arena, str_of(texts[i].begin), repeated(texts[i].part, texts[i].times),
                                    str_of(texts[i].end));
        struct str rest = all, piece = html_piece_take(&rest, &arena);
        assert_int_equal(piece.n, all.n);
        assert_ptr_equal(piece.p, all.p);
    }
}

static void test_no_piece_has_too_many_attributes(void **state)
{
    (void)state;
    struct str tag = with_attributes(STR("<a"), " ", 100, STR(">text</a>")), all = STR("");
    for (int i = 0; i < 21; i++)
        all = ARENA_JOIN(&arena, all, tag);
    struct str rest = all, first = html_piece_take(&rest, &arena);
    assert_int_equal(first.n, 20 * tag.n); // 2,000 of them, and the end before the next tag
    assert_true(str_eq(html_piece_take(&rest, &arena), tag));
    assert_int_equal(rest.n, 0);
}

static void expect_piece(struct str html, struct str piece)
{
    struct str found = html_piece_take(&html, &arena);
    assert_int_equal(found.n, piece.n);
    assert_true(str_eq(found, piece));
    assert_int_equal(html.n, 0);
}

static void test_the_first_attributes_of_a_tag_stay(void **state)
{
    static const struct {
        const char *before;
        size_t each; // attributes that begin with it, and the one that follows
    } ways[] = {{" ", 1},
                {"/", 1},
                {"\n", 1},
                {" x=1 / ", 2},
                {" x='>' ", 2},
                {" x = \">\"", 2},
                {" x \"=\"'=/>\" y=/ ", 4},
                {" x \n= y / =", 2}};
    (void)state;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        const char *before = ways[i].before;
        size_t fit = PIECE_ATTRIBUTES / ways[i].each, kept = TAG_ATTRIBUTES / ways[i].each;
        struct str all = with_attributes(STR("<a"), before, fit, STR(">text > 'text'"));
        expect_piece(all, all);
        struct str found = with_attributes(STR("<a"), before, fit * 2, STR(">text > 'text'"));
        found = html_piece_take(&found, &arena);
        struct str head = with_attributes(STR("<a"), before, kept, STR("")), tail = STR(">text > 'text'");
        assert_true(str_starts(found, head));
        assert_true(str_ends(found, tail));
        assert_in_range(found.n, head.n + tail.n, head.n + tail.n + strlen(before));
    }
    expect_piece(with_attributes(STR("<svg"), " ", 3000, STR("/>seen")),
                 with_attributes(STR("<svg"), " ", TAG_ATTRIBUTES, STR(" />seen")));
    expect_piece(with_attributes(STR("<svg"), " ", 3000, STR(" x=/>seen")),
                 with_attributes(STR("<svg"), " ", TAG_ATTRIBUTES, STR(" >seen")));
    expect_piece(with_attributes(STR("</I"), " ", 3000, STR("")),
                 with_attributes(STR("</I"), " ", TAG_ATTRIBUTES, STR(" ")));
}

static void test_what_is_no_tag_has_no_attributes(void **state)
{
    static const char *const begins[] = {"", "<", "</", "< a", "<!-- ", "<!a", "<?a", "<1", "</ a", "</>", "<a>"};
    (void)state;
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++) {
        struct str all = with_attributes(str_of(begins[i]), " ", 3000, STR(">text"));
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
        cmocka_unit_test_teardown(test_what_agents_write_is_one_piece, clean),
        cmocka_unit_test_teardown(test_no_piece_has_too_many_attributes, clean),
        cmocka_unit_test_teardown(test_the_first_attributes_of_a_tag_stay, clean),
        cmocka_unit_test_teardown(test_what_is_no_tag_has_no_attributes, clean),
        cmocka_unit_test_teardown(test_many_attributes_take_no_time, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
