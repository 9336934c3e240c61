// An agent's reply as messages of Telegram: plain text, and beside it a list of MessageEntity, whose offsets count UTF-16
// units. (Neither Markdown nor HTML is sent: there is nothing to escape, and nothing that could be refused for it.)
#include "platform/telegram.h"

#include "platform/html_text.h"

#include <stdlib.h>

enum {
    TEXT_UNITS_MAX =
        4096,           // "1-4096 characters after entities parsing" (sendMessage); that UTF-16 units are meant is safe
    ENTITIES_MAX = 100, // of one message; Telegram drops what is more
    GRAPHEME_MAX = 64,  // code points that are not torn apart
};

// Code points -----------------------------------------------------------------------------------------------

// Bytes of the character at `at`.
static size_t character(struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.p[at];
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return at + n <= text.n ? n : text.n - at;
}

static size_t units_of(size_t bytes)
{
    return bytes == 4 ? 2 : 1;
}

static uint32_t code_point(struct str text, size_t at)
{
    size_t n = character(text, at);
    unsigned char first = (unsigned char)text.p[at];
    uint32_t code = n == 1 ? first : first & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)text.p[at + i] & 0x3Fu);
    return code;
}

static size_t before(struct str text, size_t at)
{
    while (at > 0 && ((unsigned char)text.p[--at] & 0xC0) == 0x80)
        ;
    return at;
}

struct range {
    uint32_t from, to;
};

static bool is_in(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].from && code <= ranges[i].to)
            return true;
    return false;
}

// Shows nothing by itself: a text of these alone is an empty one.
static bool is_invisible(uint32_t code)
{
    static const struct range ranges[] = {
        {0, ' '},         {0x7F, 0xA0},     {0xAD, 0xAD},     {0x34F, 0x34F},   {0x61C, 0x61C},   {0x115F, 0x1160},
        {0x17B4, 0x17B5}, {0x180B, 0x180E}, {0x2000, 0x200F}, {0x2028, 0x202F}, {0x205F, 0x206F}, {0x2800, 0x2800},
        {0x3000, 0x3000}, {0x3164, 0x3164}, {0xFE00, 0xFE0F}, {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0xE0000, 0xE0FFF},
    };
    return is_in(code, ranges, sizeof ranges / sizeof *ranges);
}

// Belongs to the character before it: marks, variants, shades of skin, tags.
static bool is_extending(uint32_t code)
{
    static const struct range ranges[] = {
        {0x300, 0x36F},   {0x483, 0x489},     {0x591, 0x5BD},     {0x64B, 0x65F},     {0x900, 0x903},
        {0x93A, 0x94D},   {0xE31, 0xE31},     {0xE34, 0xE3A},     {0xE47, 0xE4E},     {0x1AB0, 0x1AFF},
        {0x1DC0, 0x1DFF}, {0x200C, 0x200D},   {0x20D0, 0x20FF},   {0x302A, 0x302F},   {0x3099, 0x309A},
        {0xFE00, 0xFE0F}, {0x1F3FB, 0x1F3FF}, {0xE0020, 0xE007F}, {0xE0100, 0xE01EF},
    };
    return is_in(code, ranges, sizeof ranges / sizeof *ranges);
}

static bool is_flag_letter(uint32_t code)
{
    return code >= 0x1F1E6 && code <= 0x1F1FF;
}

// Letters of flags right before `at` are an odd number: the first of a pair.
static bool is_within_flag(struct str text, size_t from, size_t at)
{
    size_t letters = 0;
    while (at > from && is_flag_letter(code_point(text, before(text, at)))) {
        at = before(text, at);
        letters++;
    }
    return letters % 2 == 1;
}

// The character at `at` and the one before it are one to the reader. `from`: where one begins for sure.
static bool is_within_grapheme(struct str text, size_t from, size_t at)
{
    enum { JOINER = 0x200D };
    if (at <= from || at >= text.n)
        return false;
    uint32_t here = code_point(text, at);
    return is_extending(here) || code_point(text, before(text, at)) == JOINER ||
           (is_flag_letter(here) && is_within_flag(text, from, at));
}

// Cutting ---------------------------------------------------------------------------------------------------

static bool is_readable(struct str text)
{
    for (size_t at = 0; at < text.n; at += character(text, at))
        if (!is_invisible(code_point(text, at)))
            return true;
    return false;
}

// The last place in [least, most] where `mark` stands, behind its first `keep` bytes; 0 when there is none.
static size_t last_mark(struct str text, size_t least, size_t most, struct str mark, size_t keep)
{
    for (size_t at = most; at >= least && at > keep; at--)
        if (str_starts(str_sub(text, at - keep, text.n), mark))
            return at;
    return 0;
}

// Where the text is best cut, at `most` at the latest and not in the first half of it: between paragraphs, lines, sentences,
// words, and if there is none, between characters.
static size_t best_cut(struct str text, size_t from, size_t most)
{
    static const struct {
        struct str mark;
        size_t keep;
        bool next; // of equal rank as the one before: the later of the two places is taken
    } marks[] = {
        {STR("\n\n"), 0, false}, {STR("\n"), 0, false}, {STR(". "), 1, false}, {STR("! "), 1, true},
        {STR("? "), 1, true},    {STR("。"), 3, true},  {STR("！"), 3, true},  {STR("？"), 3, true},
        {STR(" "), 0, false},    {STR("，"), 3, true},  {STR("、"), 3, true},
    };
    size_t best = 0;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (best && !marks[i].next)
            break;
        size_t at = last_mark(text, from + (most - from) / 2, most, marks[i].mark, marks[i].keep);
        best = at > best ? at : best;
    }
    if (best)
        return best;
    best = most;
    for (int i = 0; i < GRAPHEME_MAX && is_within_grapheme(text, from, best); i++)
        best = before(text, best);
    return is_within_grapheme(text, from, best) ? most : best;
}

static size_t piece_end(struct str text, size_t from)
{
    size_t at = from, units = 0;
    while (at < text.n) {
        size_t n = character(text, at);
        units += units_of(n);
        if (units > TEXT_UNITS_MAX)
            return best_cut(text, from, at);
        at += n;
    }
    return at;
}

static size_t blank_at(struct str text, size_t at)
{
    if (text.p[at] == ' ' || text.p[at] == '\n' || text.p[at] == '\t')
        return 1;
    return str_starts(str_sub(text, at, text.n), STR("\xC2\xA0")) ? 2 : 0;
}

// Telegram would cut blanks at both ends itself, of texts and of entities.
static void trim(struct str text, size_t *from, size_t *to)
{
    while (*from < *to && blank_at(text, *from))
        *from += blank_at(text, *from);
    while (*from < *to && blank_at(text, before(text, *to)))
        *to = before(text, *to);
}

// Entities --------------------------------------------------------------------------------------------------

static const char *const entity_names[] = {
    [TEXT_BOLD] = "bold", [TEXT_ITALIC] = "italic", [TEXT_UNDERLINE] = "underline", [TEXT_STRIKE] = "strikethrough",
    [TEXT_CODE] = "code", [TEXT_PRE] = "pre",       [TEXT_QUOTE] = "blockquote",    [TEXT_LINK] = "text_link",
};

// By their beginning; what holds another stands before it.
static int by_place(const void *a, const void *b)
{
    const struct text_span *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    if (x->to != y->to)
        return x->to > y->to ? -1 : 1;
    return x->style > y->style ? -1 : x->style < y->style;
}

struct writing {
    struct str text; // all of it
    size_t from, to; // the piece
    struct json json;
    size_t count;
    size_t at, offset; // a place, and how many units of the piece stand before it
};

static size_t units_between(struct str text, size_t from, size_t to)
{
    size_t units = 0;
    for (; from < to; from += character(text, from))
        units += units_of(character(text, from));
    return units;
}

// Neither spans nor pieces have a blank at an end, so no part of both has.
static void write_entity(struct writing *w, const struct text_span *span)
{
    size_t from = span->from > w->from ? span->from : w->from, to = span->to < w->to ? span->to : w->to;
    if (from >= to || w->count == ENTITIES_MAX)
        return;
    w->offset += units_between(w->text, w->at, from);
    w->at = from;
    json_open(&w->json, '{');
    json_key_str(&w->json, "type", str_of(entity_names[span->style]));
    json_key_int(&w->json, "offset", (int64_t)w->offset);
    json_key_int(&w->json, "length", (int64_t)units_between(w->text, from, to));
    if (span->style == TEXT_LINK)
        json_key_str(&w->json, "url", span->url);
    json_close(&w->json, '}');
    w->count++;
}

// The entities of [from, to) of the text.
static struct str entities_of(const struct html_text *html, size_t from, size_t to, struct arena *arena)
{
    struct buf out;
    struct writing w = {.text = html->text, .from = from, .to = to, .at = from};
    struct str format = STR_NONE;
    buf_init(&out, SIZE_MAX / 2);
    w.json.out = &out;
    json_open(&w.json, '[');
    for (size_t i = 0; i < html->span_count && html->spans[i].from < to; i++)
        write_entity(&w, &html->spans[i]);
    json_close(&w.json, ']');
    buf_must(&out);
    if (w.count)
        format = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return format;
}

void telegram_compose(struct str html, struct arena *arena, struct reply_text **out_texts, size_t *out_count)
{
    struct html_text all;
    html_text_read(html, arena, &all);
    if (all.span_count)
        qsort(all.spans, all.span_count, sizeof *all.spans, by_place);
    size_t room = all.text.n / (TEXT_UNITS_MAX / 2 - GRAPHEME_MAX * 4) +
                  1; // no piece but the last is less than half as long
    struct reply_text *texts = arena_alloc(arena, room * sizeof *texts);
    size_t count = 0;
    for (size_t at = 0, end; at < all.text.n; at = end) {
        end = piece_end(all.text, at);
        size_t from = at, to = end;
        trim(all.text, &from, &to);
        struct str text = str_sub(all.text, from, to);
        if (is_readable(text))
            texts[count++] = (struct reply_text){.text = text, .format = entities_of(&all, from, to, arena)};
    }
    *out_texts = texts;
    *out_count = count;
}
