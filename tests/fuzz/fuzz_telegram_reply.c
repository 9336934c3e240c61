// Whatever an agent's HTML is, what becomes of it can be sent: texts of at most 4096 UTF-16 units with something to read in
// them, entities that fit them; and of plain words none is lost. Whatever Telegram answers, an attempt ends, and no file
// is fetched from elsewhere.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/must.h"
#include "platform/platform.h"

enum { UNITS_MAX = 4096, ENTITIES_MAX = 100, REQUESTS_MAX = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Texts ---------------------------------------------------------------------------------------------------

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

// Answers -------------------------------------------------------------------------------------------------

static const struct source source = {.token = STR("1:x"), .platform = STR("telegram")};

#define FILE_OF(state) "[{\"kind\":\"image\",\"mime\":\"image/png\",\"size\":1,\"url\":\"https://d/1\"," state "}]"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MESSAGE                                                                                                        \
    .conversation = STR("-5:7"), .text = STR("t"), .format = STR("[{\"type\":\"bold\",\"offset\":0,\"length\":1}]")

static const struct message messages[] = {
    {MESSAGE},
    {MESSAGE, .attachments = STR(FILE_OF("\"state\":\"kept\",\"hash\":\"" HASH "\""))},
    {MESSAGE, .attachments = STR(FILE_OF("\"state\":\"failed\",\"why\":\"w\""))},
    {MESSAGE, .act = REPLY_EDITS, .target_ref = STR("77")},
    {MESSAGE, .act = REPLY_DELETES, .target_ref = STR("-5:77")},
};

static void deliver(const struct message *message, struct str body, int status)
{
    struct arena arena = {0};
    struct delivery delivery = {.source = &source, .message = message, .now_us = 1700000000000000, .arena = &arena};
    struct http_response response = {.failure = HTTP_ANSWERED, .written = true, .status = status, .body = body};
    struct delivery_step step;
    int requests = 0;
    platform_telegram.receiver->step(&delivery, NULL, &step);
    while (step.kind == DELIVERY_SEND) {
        must(++requests <= REQUESTS_MAX && step.writes == (message->act == REPLY_SAYS));
        platform_telegram.receiver->step(&delivery, &response, &step);
    }
    must(step.verdict.kind == VERDICT_DELIVERED || step.verdict.error.n);
    must(step.verdict.kind != VERDICT_WAIT || step.verdict.until_us > delivery.now_us);
    must(step.verdict.until_us <= delivery.now_us + INT64_C(3600000000));
    must(message->act == REPLY_SAYS || !step.verdict.maybe_applied);
    platform_telegram.receiver->probe_verdict(&response, delivery.now_us, &arena);
    arena_done(&arena);
}

// Files ---------------------------------------------------------------------------------------------------

// No path leads out of the bot's own files.
static void check_address(struct str url)
{
    static const struct str start = STR("https://api.telegram.org/file/bot1:x/");
    must(str_starts(url, start) && url.n > start.n);
    struct str path = str_sub(url, start.n - 1, url.n);
    must(!memmem(path.p, path.n, "//", 2) && !memmem(path.p, path.n, "/../", 4) && !str_ends(path, STR("/..")));
    for (size_t i = 0; i < path.n; i++)
        must(path.p[i] > ' ' && path.p[i] < 0x7F && !strchr("?#\\", path.p[i]));
}

static void fetch(struct str body, int status)
{
    struct arena arena = {0};
    struct file_fetch fetch = {
        .source = &source, .file = {.ref = STR("f")}, .max_size = 1000, .arena = &arena, .now_us = 1700000000000000};
    struct http_response response = {.failure = HTTP_ANSWERED, .written = true, .status = status, .body = body};
    struct http_response gone = {.failure = HTTP_ANSWERED, .written = true, .status = 404, .body = body};
    struct file_step step;
    int requests = 0;
    platform_telegram.fetch_file(&fetch, NULL, &step);
    while (step.kind != FILE_END) {
        must(++requests <= REQUESTS_MAX && step.trusted);
        if (step.kind == FILE_GET)
            check_address(step.request.target);
        platform_telegram.fetch_file(&fetch, step.kind == FILE_GET ? &gone : &response, &step);
    }
    must(step.verdict.kind != VERDICT_DELIVERED && step.verdict.error.n);
    must(step.verdict.until_us <= fetch.now_us + INT64_C(3600000000));
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 400, 401, 403, 404, 429, 500};
    struct str text = {(const char *)data, size};
    compose(text);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        for (size_t j = 0; j < sizeof messages / sizeof *messages; j++)
            deliver(&messages[j], text, statuses[i]);
        fetch(text, statuses[i]);
    }
    return 0;
}
