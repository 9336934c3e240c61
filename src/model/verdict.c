#include "model/verdict.h"

#include "base/json.h"
#include "base/must.h"

#include <string.h>
#include <time.h>

enum { WORDS_MAX = 300, RETRY_AFTER_MAX_S = 3600 };

// One row of the table in DESIGN.md (Failures); the first that fits counts.
struct rule {
    int from, to;
    enum verdict_kind kind;
    bool maybe_applied, unanswered, alarm;
};

static const struct rule rules[] = {
    {200, 299, VERDICT_DELIVERED, false, false, false}, {300, 399, VERDICT_RETRY, false, false, false},
    {401, 401, VERDICT_DESK_DOWN, false, false, true},  {403, 403, VERDICT_DESK_DOWN, false, false, true},
    {408, 408, VERDICT_DESK_DOWN, false, false, false}, {429, 429, VERDICT_DESK_DOWN, false, false, false},
    {400, 499, VERDICT_REJECTED, false, false, false},  {502, 502, VERDICT_DESK_DOWN, true, true, false},
    {503, 503, VERDICT_DESK_DOWN, true, false, false},  {504, 504, VERDICT_DESK_DOWN, true, true, false},
};

// Every other status: other 5xx, and what no standard names (1xx as a last answer, 6xx and up).
static const struct rule rule_other = {0, 0, VERDICT_RETRY, true, false, false};

static const struct rule *rule_of(int status)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (status >= rules[i].from && status <= rules[i].to)
            return &rules[i];
    return &rule_other;
}

// s reaches that far.
static bool number(struct str s, size_t at, size_t digits, int *out)
{
    int64_t value;
    struct str part = str_sub(s, at, at + digits);
    if (part.p[0] == '-' || !str_to_i64(part, &value))
        return false;
    *out = (int)value;
    return true;
}

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, IMF-fixdate, the one form that may be sent).
static bool http_date(struct str s, int64_t *out_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {0};
    if (s.n != 29 || !str_ends(s, STR(" GMT")) || s.p[3] != ',' || s.p[4] != ' ')
        return false;
    if (!number(s, 5, 2, &tm.tm_mday) || !number(s, 12, 4, &tm.tm_year) || !number(s, 17, 2, &tm.tm_hour) ||
        !number(s, 20, 2, &tm.tm_min) || !number(s, 23, 2, &tm.tm_sec))
        return false;
    for (tm.tm_mon = 0; tm.tm_mon < 12; tm.tm_mon++)
        if (memcmp(months + (size_t)tm.tm_mon * 3, s.p + 8, 3) == 0)
            break;
    if (tm.tm_mon == 12)
        return false;
    tm.tm_year -= 1900;
    *out_s = (int64_t)timegm(&tm);
    return true;
}

int64_t verdict_date_s(const struct http_response *response)
{
    int64_t date_s = 0;
    struct str value = str_trim(http_header_get(response->headers, response->header_count, "Date"));
    return http_date(value, &date_s) ? date_s : 0;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

int64_t verdict_retry_after(const struct http_response *response, int64_t now_us)
{
    struct str value = str_trim(http_header_get(response->headers, response->header_count, "Retry-After"));
    int64_t pause_s = 0;
    if (all_digits(value)) {
        if (!str_to_i64(value, &pause_s))
            pause_s = RETRY_AFTER_MAX_S; // more than fits is more than an hour
    } else if (http_date(value, &pause_s)) {
        pause_s -= now_us / 1000000;
    }
    if (pause_s <= 0)
        return 0;
    if (pause_s > RETRY_AFTER_MAX_S)
        pause_s = RETRY_AFTER_MAX_S;
    return now_us + pause_s * 1000000;
}

// The first text under one of the names that APIs give to what went wrong.
static struct str spoken(yyjson_val *object)
{
    static const char *const names[] = {"message", "description", "detail", "error", "title", "code"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str text = json_get_str(object, names[i]);
        if (text.n)
            return text;
    }
    return STR_NONE;
}

// Cut at a character's border, without control characters: this goes into logs, tables and pages.
static struct str tidy(struct arena *arena, struct str text)
{
    size_t n = text.n < WORDS_MAX ? text.n : WORDS_MAX;
    while (n < text.n && n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
        n--;
    char *copy = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = (unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7F ? ' ' : text.p[i];
    return str_trim((struct str){copy, n});
}

static struct str words_in(yyjson_val *root, struct arena *arena)
{
    yyjson_val *first = yyjson_arr_get_first(yyjson_obj_get(root, "errors"));
    struct str text = spoken(first);
    struct str code = json_get_str(first, "code");
    if (!text.n)
        text = spoken(yyjson_obj_get(root, "error"));
    if (!text.n)
        text = spoken(root);
    if (code.n && !str_eq(code, text))
        text = arena_printf(arena, "%.*s: %.*s", STR_ARG(code), STR_ARG(text));
    return text;
}

// What the answer says of itself: the words of a JSON error, else the first line of a text that is no page.
static struct str body_words(const struct http_response *response, struct arena *arena)
{
    yyjson_doc *doc = json_read(response->body);
    if (doc) {
        struct str text = tidy(arena, words_in(yyjson_doc_get_root(doc), arena));
        yyjson_doc_free(doc);
        return text;
    }
    struct str text = str_trim(response->body);
    text = str_sub(text, 0, str_index(text, '\n', 0));
    if (str_starts(text, STR("<")) || str_starts(text, STR("{")) || !str_is_utf8(text))
        return STR_NONE;
    return tidy(arena, text);
}

static struct str answer_error(const struct http_response *response, struct arena *arena)
{
    struct str words = body_words(response, arena);
    if (words.n)
        return arena_printf(arena, "HTTP %d: %.*s", response->status, STR_ARG(words));
    return arena_printf(arena, "HTTP %d", response->status);
}

static struct verdict verdict_of_failure(const struct http_response *response, bool writes, int64_t now_us,
                                         struct arena *arena)
{
    struct verdict verdict = {.kind = VERDICT_DESK_DOWN, .maybe_applied = writes && response->written};
    verdict.unanswered = verdict.maybe_applied;
    verdict.error = response->error.n ? tidy(arena, response->error) : STR("no answer");
    switch (response->failure) {
    case HTTP_RESENT: // the first copy of the body may have gone out as a whole
        verdict.maybe_applied = verdict.unanswered = writes;
        break;
    case HTTP_UNREADABLE: // somebody answered, so somebody had the request
        verdict.kind = VERDICT_RETRY;
        verdict.maybe_applied = writes;
        verdict.unanswered = false;
        break;
    case HTTP_UNSENDABLE: // our own disk's doing; it was not written as a whole
        verdict.kind = VERDICT_RETRY;
        verdict.maybe_applied = verdict.unanswered = false;
        break;
    case HTTP_CANCELLED: // our own doing: says nothing of the desk
        verdict.kind = VERDICT_WAIT;
        verdict.until_us = now_us;
        break;
    case HTTP_ANSWERED:
    case HTTP_NOT_CONNECTED:
    case HTTP_TLS:
    case HTTP_TIMEOUT:
    case HTTP_DROPPED:
        break;
    }
    return verdict;
}

struct verdict verdict_of(const struct http_response *response, bool writes, int64_t now_us, struct arena *arena)
{
    if (response->failure != HTTP_ANSWERED)
        return verdict_of_failure(response, writes, now_us, arena);
    const struct rule *rule = rule_of(response->status);
    struct verdict verdict = {
        .kind = rule->kind,
        .maybe_applied = rule->maybe_applied && writes && (response->written || rule->kind == VERDICT_RETRY),
        .unanswered = rule->unanswered && writes && response->written,
        .alarm = rule->alarm,
        .status = response->status,
    };
    if (verdict.kind == VERDICT_DESK_DOWN)
        verdict.until_us = verdict_retry_after(response, now_us);
    if (verdict.kind != VERDICT_DELIVERED)
        verdict.error = answer_error(response, arena);
    return verdict;
}

struct verdict verdict_unreadable(const struct http_response *response, bool writes, struct str what)
{
    return (struct verdict){.kind = VERDICT_RETRY, .maybe_applied = writes, .status = response->status, .error = what};
}

const char *verdict_kind_name(enum verdict_kind kind)
{
    static const char *const names[] = {"delivered", "rejected", "retry", "wait", "desk_down"};
    must((size_t)kind < sizeof names / sizeof *names);
    return names[kind];
}
