#include "admin/api.h"

#include "admin/route.h"
#include "base/hash.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// No script, style or frame may come of an answer of the API, whatever is in it.
static const struct http_header answer_headers[] = {
    {STR("X-Content-Type-Options"), STR("nosniff")},
    {STR("Cache-Control"), STR("no-store")},
    {STR("Referrer-Policy"), STR("no-referrer")},
    {STR("Cross-Origin-Resource-Policy"), STR("same-origin")},
    {STR("X-Frame-Options"), STR("DENY")},
    {STR("Content-Security-Policy"), STR("default-src 'none'; frame-ancestors 'none'")},
};
enum { ANSWER_HEADERS = sizeof answer_headers / sizeof *answer_headers };

// The one place that says who changed what by hand, and what came of it. Words of ours, ids and names that are names: neither
// bodies nor answers, which hold secrets and texts, nor whatever else somebody put into a path.
static void audit(struct api_call *call, int status)
{
    struct str request = arena_printf(call->arena, "%s %s", call->route->method, call->route->path);
    struct log_field fields[8] = {LOG_S("request", request)};
    size_t count = 1;
    bool of_account = strstr(call->route->path, "/accounts") != NULL, done = status < 300;
    int64_t id;
    if (of_account && account_name_is_valid(call->params[0]))
        fields[count++] = LOG_S("account", call->params[0]);
    if (of_account && account_name_is_valid(call->params[1]))
        fields[count++] = LOG_S("source", call->params[1]);
    if (!of_account && api_id_of(call->params[0], &id))
        fields[count++] = LOG_N("message", id);
    if (call->said.p && done) // a refused one may say anything
        fields[count++] = LOG_S("said", call->said);
    fields[count++] = LOG_C("by", call->local ? "socket" : "token");
    fields[count++] = LOG_N("status", status);
    fields[count] = LOG_C("result", done ? "done" : "refused");
    log_write(LOG_INFO, "by_hand", fields);
}

static void answer_with(struct api_call *call, int status, struct str content_type, const struct http_header *more,
                        size_t more_count, struct str body)
{
    struct http_header headers[ANSWER_HEADERS + 2];
    memcpy(headers, answer_headers, sizeof answer_headers);
    for (size_t i = 0; i < more_count && i < 2; i++)
        headers[ANSWER_HEADERS + i] = more[i];
    if (call->audited)
        audit(call, status);
    http_exchange_answer(call->exchange, status, content_type, headers, ANSWER_HEADERS + more_count, body);
}

void api_answer(struct api_call *call, int status, struct str content_type, struct str body)
{
    answer_with(call, status, content_type, NULL, 0, body);
}

bool api_stream(struct api_call *call, struct str content_type, const struct http_stream *stream)
{
    return http_exchange_stream(call->exchange, 200, content_type, answer_headers, ANSWER_HEADERS, stream);
}

struct json *api_json_begin(struct api_json *out)
{
    buf_init(&out->buf, API_ANSWER_MAX);
    out->json = (struct json){.out = &out->buf};
    return &out->json;
}

// INTERFACE.md: what is shown of the store is durable.
static bool is_durable(const struct api_call *call)
{
    struct store_reader *reader = admin_of(call)->reader;
    return !reader || reader->ops->flush(reader) == 0;
}

void api_json_send(struct api_call *call, int status, struct api_json *json)
{
    if (json->buf.failed)
        api_problem(call, 500, "The answer is larger than %d MiB; ask for less at once.", API_ANSWER_MAX >> 20);
    else if (status < 300 && !is_durable(call))
        api_problem(call, 503, "The store cannot be brought to the disk.");
    else
        api_answer(call, status, STR("application/json"), buf_str(&json->buf));
    buf_done(&json->buf);
}

// Headers that a status comes with.
static size_t problem_headers(const struct api_call *call, int status, struct http_header *out)
{
    struct str allow;
    struct api_call again = *call;
    switch (status) {
    case 401:
        *out = (struct http_header){STR("WWW-Authenticate"), STR("Bearer realm=\"tributary\"")};
        return 1;
    case 503:
        *out = (struct http_header){STR("Retry-After"), STR("1")};
        return 1;
    case 405:
        route_find(&again, &allow);
        *out = (struct http_header){STR("Allow"), allow.n ? allow : STR("GET, HEAD")}; // none: a file of the page
        return 1;
    default:
        return 0;
    }
}

void api_problem(struct api_call *call, int status, const char *detail, ...)
{
    char sentence[8192];
    va_list args;
    va_start(args, detail);
    vsnprintf(sentence, sizeof sentence, detail, args);
    va_end(args);
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    json_key_str(json, "type", STR("about:blank"));
    json_key_str(json, "title", str_of(http_status_text(status)));
    json_key_int(json, "status", status);
    json_key_str(json, "detail", str_of(sentence));
    json_close(json, '}');
    struct http_header header;
    size_t count = problem_headers(call, status, &header);
    answer_with(call, status, STR("application/problem+json"), &header, count, buf_str(&answer.buf));
    buf_done(&answer.buf);
}

static void write_mistake(struct json *json, struct str line)
{
    size_t colon = str_index(line, ':', 0);
    bool has_key = colon < line.n && str_index(line, ' ', 0) > colon;
    json_open(json, '{');
    json_key_str(json, "key", has_key ? str_sub(line, 0, colon) : STR_NONE);
    json_key_str(json, "text", has_key ? str_trim(str_sub(line, colon + 1, line.n)) : line);
    json_close(json, '}');
}

void api_problem_mistakes(struct api_call *call, struct str lines)
{
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    json_key_str(json, "type", STR("about:blank"));
    json_key_str(json, "title", str_of(http_status_text(422)));
    json_key_int(json, "status", 422);
    json_key_str(json, "detail", lines);
    json_key(json, "mistakes");
    json_open(json, '[');
    for (size_t from = 0; from < lines.n;) {
        size_t to = str_index(lines, '\n', from);
        write_mistake(json, str_sub(lines, from, to));
        from = to + 1;
    }
    json_close(json, ']');
    json_close(json, '}');
    answer_with(call, 422, STR("application/problem+json"), NULL, 0, buf_str(&answer.buf));
    buf_done(&answer.buf);
}

void api_problem_err(struct api_call *call, int err)
{
    switch (err) {
    case ERR_NOT_FOUND:
        api_problem(call, 404, "There is no such thing.");
        break;
    case ERR_BUSY:
        api_problem(call, 503, "The store took too long to answer; ask for less, or again.");
        break;
    case ERR_CLOSED:
        api_problem(call, 503, "The relay is going down.");
        break;
    case ERR_FULL:
        api_problem(call, 503, "The disk has no space left; nothing was changed.");
        break;
    case ERR_CORRUPT:
        board_alarm(admin_of(call)->board, "store_damaged", STR(""),
                    STR("a part of the store's file cannot be read: tributary verify --deep tells more"));
        api_problem(call, 503,
                    "The store is damaged where this is read from; tributary verify --deep tells more. Put a backup in "
                    "its place.");
        break;
    default:
        api_problem(call, 503, "It failed (%s); the log may say more.", err_name(err));
    }
}

struct str api_query(struct api_call *call, const char *name)
{
    return http_query_get(call->arena, call->request->query, name);
}

bool api_query_limit(struct api_call *call, size_t *out)
{
    struct str text = api_query(call, "limit");
    int64_t limit = API_LIMIT;
    if (text.p && (!str_to_i64(text, &limit) || limit < 1 || limit > API_LIMIT_MAX)) {
        api_problem(call, 400, "limit is a number from 1 to %d.", API_LIMIT_MAX);
        return false;
    }
    *out = (size_t)limit;
    return true;
}

bool api_query_bool(struct api_call *call, const char *name, bool *out)
{
    struct str text = api_query(call, name);
    bool yes = str_eq_c(text, "true");
    if (text.p && !yes && !str_eq_c(text, "false")) {
        api_problem(call, 400, "%s is true or false.", name);
        return false;
    }
    *out = yes;
    return true;
}

// Kind and payload in hexadecimal, then a digest: opaque, and a forged one is told.
struct str api_cursor(struct arena *arena, char kind, struct str payload)
{
    char *text = arena_alloc(arena, 2 * (payload.n + 1) + 9);
    struct str whole = arena_printf(arena, "%c%.*s", kind, STR_ARG(payload));
    for (size_t i = 0; i < whole.n; i++)
        snprintf(text + 2 * i, 3, "%02x", (unsigned char)whole.p[i]);
    snprintf(text + 2 * whole.n, 9, "%08" PRIx32, (uint32_t)hash_str(whole));
    return str_of(text);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static struct str cursor_payload(struct arena *arena, char kind, struct str cursor)
{
    if (cursor.n < 10 || cursor.n % 2)
        return STR_NONE;
    size_t n = (cursor.n - 8) / 2;
    char *whole = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(cursor.p[2 * i]), low = hex_digit(cursor.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return STR_NONE;
        whole[i] = (char)(high << 4 | low);
    }
    struct str payload = {whole + 1, n - 1};
    return whole[0] == kind && str_eq(api_cursor(arena, kind, payload), cursor) ? payload : STR_NONE;
}

bool api_query_after(struct api_call *call, char kind, struct str *out)
{
    struct str cursor = api_query(call, "after");
    *out = STR_NONE;
    if (!cursor.p)
        return true;
    *out = cursor_payload(call->arena, kind, cursor);
    if (out->p)
        return true;
    api_problem(call, 400, "after is a cursor that \"next\" of the same list gave.");
    return false;
}

bool api_query_after_id(struct api_call *call, char kind, int64_t *out)
{
    struct str payload;
    int64_t id = 0;
    if (!api_query_after(call, kind, &payload))
        return false;
    if (payload.p && !api_id_of(payload, &id)) { // well made, but not by us
        api_problem(call, 400, "after is a cursor that \"next\" of the same list gave.");
        return false;
    }
    *out = id;
    return true;
}

bool api_id_of(struct str text, int64_t *out)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return text.n && str_to_i64(text, out) && *out > 0;
}

struct api_work *api_work_new(struct api_call *call)
{
    struct api_work *work = arena_of(call->arena, struct api_work);
    work->call = call;
    buf_init(&work->text, 1 << 20);
    return work;
}
