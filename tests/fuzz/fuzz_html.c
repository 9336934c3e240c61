// Whatever an agent's HTML is, its plain text is clean and its spans fit it and one another; what becomes of it can be sent: texts of
// at most 4096 UTF-16 units with something to read in them, entities that fit them; and of plain words none is lost. How the desk's
// HTML is compared with what we sent ends, too.
//
// A byte 1 of the input stands for LONG bytes of words, so that a small input makes more than one message.
// FUZZ: -max_len=1000
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/must.h"
#include "desk/intercom.h"
#include "platform/html_text.h"
#include "platform/platform.h"

enum { UNITS_MAX = 4096, ENTITIES_MAX = 100, LONG = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Plain text and spans -------------------------------------------------------------------------------------

static bool is_border(struct str text, size_t at)
{
    return at == text.n || ((unsigned char)text.p[at] & 0xC0) != 0x80;
}

static void check_span(struct str text, const struct text_span *span)
{
    must(span->from < span->to && span->to <= text.n);
    must(is_border(text, span->from) && is_border(text, span->to));
    must((span->style == TEXT_LINK) == (span->url.n > 0));
    must(str_is_utf8(span->url));
}

static void check_spans(const struct text_span *a, const struct text_span *b)
{
    bool apart = a->to <= b->from || b->to <= a->from;
    must(apart || (a->from <= b->from && b->to <= a->to) || (b->from <= a->from && a->to <= b->to));
}

static void read_text(struct str html)
{
    struct arena arena = {0};
    struct html_text out;
    html_text_read(html, &arena, &out);
    must(str_is_utf8(out.text));
    for (size_t i = 0; i < out.text.n; i++)
        must((unsigned char)out.text.p[i] >= ' ' || out.text.p[i] == '\n' || out.text.p[i] == '\t');
    for (size_t i = 0; i < out.span_count; i++) {
        check_span(out.text, &out.spans[i]);
        for (size_t before = 0; before < i && before < ENTITIES_MAX; before++)
            check_spans(&out.spans[before], &out.spans[i]);
    }
    arena_done(&arena);
}

// As the desk shows it --------------------------------------------------------------------------------------

static void compare(struct str html)
{
    struct arena arena = {0};
    struct str url;
    size_t at = 0, before = 0, images = 0;
    must(intercom_same_body(html, html, &arena));
    must(intercom_squeezed(html, true, &arena).n <= 4 * html.n);
    intercom_is_blank(html, &arena);
    for (; intercom_next_image(html, &at, &arena, &url); before = at, images++)
        must(at > before && at <= html.n && images < html.n);
    arena_done(&arena);
}

// What is sent ----------------------------------------------------------------------------------------------

// Per UTF-16 unit of a text: where a character begins.
struct units {
    bool begins[UNITS_MAX + 1], blank[UNITS_MAX + 1];
    size_t count;
};

static bool is_blank_at(struct str text, size_t at)
{
    return strchr(" \n\t", text.p[at]) || str_starts(str_sub(text, at, text.n), STR("\xC2\xA0"));
}

static void count_units(struct str text, struct units *out)
{
    *out = (struct units){0};
    for (size_t at = 0; at < text.n; at++) {
        unsigned char c = (unsigned char)text.p[at];
        if ((c & 0xC0) == 0x80)
            continue;
        out->begins[out->count] = true;
        out->blank[out->count] = is_blank_at(text, at);
        out->count += c >= 0xF0 ? 2 : 1;
        must(out->count <= UNITS_MAX);
    }
    out->begins[out->count] = true;
}

struct entity {
    int64_t from, to;
    bool code, quote;
};

static struct entity read_entity(yyjson_val *value, const struct units *units)
{
    int64_t offset, length;
    struct str type = json_get_str(value, "type");
    must(type.n && json_get_int(value, "offset", &offset) && json_get_int(value, "length", &length));
    must(offset >= 0 && length > 0 && (size_t)(offset + length) <= units->count);
    must(units->begins[offset] && units->begins[offset + length]);
    must(!units->blank[offset] && !units->blank[offset + length - 1]);
    must(str_eq_c(type, "text_link") == (json_get_str(value, "url").n > 0));
    return (struct entity){.from = offset,
                           .to = offset + length,
                           .code = str_eq_c(type, "code") || str_eq_c(type, "pre"),
                           .quote = str_eq_c(type, "blockquote")};
}

// Two in their order: the second is within the first, or behind it.
static void check_pair(const struct entity *a, const struct entity *b)
{
    must(b->from > a->from || (b->from == a->from && b->to <= a->to));
    if (b->from >= a->to)
        return;
    must(b->to <= a->to && !a->code && !b->quote && (a->quote || !b->code));
}

static void check_format(struct str format, const struct units *units)
{
    struct entity all[ENTITIES_MAX];
    size_t i, n, count = 0;
    yyjson_val *each;
    yyjson_doc *doc = json_read(format);
    must(yyjson_arr_size(yyjson_doc_get_root(doc)) > 0);
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, each)
    {
        must(count < ENTITIES_MAX);
        all[count] = read_entity(each, units);
        for (size_t before = 0; before < count; before++)
            check_pair(&all[before], &all[count]);
        count++;
    }
    yyjson_doc_free(doc);
}

static void check_text(const struct reply_text *reply)
{
    struct units units;
    must(reply->text.n && str_is_utf8(reply->text) && !memchr(reply->text.p, 0, reply->text.n));
    count_units(reply->text, &units);
    must(!units.blank[0]);
    for (size_t last = units.count; last-- > 0;)
        if (units.begins[last]) {
            must(!units.blank[last]);
            break;
        }
    if (reply->format.p)
        check_format(reply->format, &units);
}

// Letters and digits, which no rule drops.
static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static void check_nothing_is_lost(struct str html, const struct reply_text *texts, size_t count)
{
    size_t piece = 0, at = 0;
    if (memchr(html.p, '<', html.n) || memchr(html.p, '&', html.n))
        return;
    for (size_t i = 0; i < html.n; i++) {
        if (!is_word(html.p[i]))
            continue;
        for (;; at++) {
            while (piece < count && at == texts[piece].text.n) {
                piece++;
                at = 0;
            }
            must(piece < count);
            if (is_word(texts[piece].text.p[at]))
                break;
        }
        must(texts[piece].text.p[at++] == html.p[i]);
    }
}

static void compose(struct str html)
{
    struct arena arena = {0};
    struct reply_text *texts;
    size_t count;
    platform_telegram.compose(html, &arena, &texts, &count);
    for (size_t i = 0; i < count; i++)
        check_text(&texts[i]);
    if (html.n)
        check_nothing_is_lost(html, texts, count);
    arena_done(&arena);
}

static struct str expanded(const uint8_t *data, size_t size, size_t longs, struct arena *arena)
{
    size_t n = 0;
    char *out = arena_alloc(arena, size + longs * LONG + 1);
    for (size_t i = 0; i < size; i++) {
        if (data[i] != 1)
            out[n++] = (char)data[i];
        for (size_t k = 0; data[i] == 1 && k < LONG; k++)
            out[n++] = "words and "[k % 10];
    }
    return (struct str){out, n};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    size_t longs = 0;
    for (size_t i = 0; i < size; i++)
        longs += data[i] == 1;
    struct str html = longs && longs < 12 ? expanded(data, size, longs, &arena)
                                          : (struct str){(const char *)data, size};
    read_text(html);
    compare(html);
    compose(html);
    arena_done(&arena);
    return 0;
}
