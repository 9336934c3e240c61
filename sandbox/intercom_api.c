// The gate that every request of the API passes (credentials, version, Accept, rate), the routes, and the checks of bodies.
#include "sandbox/intercom.h"

#include "base/clock.h"
#include "base/must.h"

#include <inttypes.h>
#include <string.h>

enum { NEWEST_VERSION = 16 };

// ---- answers ----

static struct str request_id(struct call *call)
{
    struct intercom *intercom = call->door->arg;
    uint64_t a = chance_next(&intercom->chance), b = chance_next(&intercom->chance);
    return arena_printf(call->arena, "%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(a >> 32),
                        (unsigned)(a >> 16) & 0xFFFF, (unsigned)a & 0xFFF, (unsigned)(b >> 48) & 0xFFF,
                        b & 0xFFFFFFFFFFFF);
}

void intercom_error(struct call *call, int status, const char *code, const char *message, const char *field)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("error.list"));
    json_key_str(&json, "request_id", request_id(call));
    json_key(&json, "errors");
    json_open(&json, '[');
    json_open(&json, '{');
    json_key_str(&json, "code", str_of(code));
    json_key_str(&json, "message", str_of(message));
    if (field)
        json_key_str(&json, "field", str_of(field));
    json_close(&json, '}');
    json_close(&json, ']');
    json_close(&json, '}');
    call_answer_buf(call, status, &text);
}

void intercom_begin(struct buf *text, struct json *json)
{
    buf_init(text, CALL_ANSWER_MAX);
    *json = (struct json){.out = text};
}

void intercom_send(struct call *call, struct buf *text)
{
    call_answer_buf(call, 200, text);
}

static void answer_rate_limit(struct call *call)
{
    const struct intercom *intercom = call->door->arg;
    const struct intercom_options *options = &intercom->options;
    intercom_error(call, 429, "rate_limit_exceeded",
                   arena_printf(call->arena, "Exceeded rate limit of %" PRId64 " in %" PRId64 "_seconds",
                                options->limit, options->window_ms / 1000)
                       .p,
                   NULL);
}

void intercom_refuse(void *arg, struct call *call, int status, int64_t retry_after_s)
{
    static const struct {
        int status;
        const char *code, *message;
    } words[] = {
        {401, "unauthorized", "Access Token Invalid"},
        {403, "api_plan_restricted", "Active subscription needed."},
        {404, "not_found", "Resource Not Found"},
        {409, "conflict", "A contact matching those details already exists"},
        {500, "server_error", "Internal Server Error"},
        {502, "bad_gateway", "Bad Gateway"},
        {503, "service_unavailable", "Sorry, the API service is temporarily unavailable"},
        {504, "gateway_timeout", "Gateway Timeout"},
    };
    const struct intercom *intercom = arg;
    if (status == 429) {
        int64_t reset = intercom_now() + (retry_after_s >= 0 ? retry_after_s : 1);
        call_header(call, "X-RateLimit-Limit", arena_printf(call->arena, "%" PRId64, intercom->options.limit));
        call_header(call, "X-RateLimit-Remaining", STR("0"));
        call_header(call, "X-RateLimit-Reset", arena_printf(call->arena, "%" PRId64, reset));
        answer_rate_limit(call);
        return;
    }
    if (retry_after_s >= 0)
        call_header(call, "Retry-After", arena_printf(call->arena, "%" PRId64, retry_after_s));
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (words[i].status == status) {
            intercom_error(call, status, words[i].code, words[i].message, NULL);
            return;
        }
    intercom_error(call, status, status < 500 ? "client_error" : "server_error", http_status_text(status), NULL);
}

// ---- bodies ----

static const char *wrong(const struct field *field, yyjson_val *value)
{
    if (yyjson_is_null(value))
        return field->nullable ? NULL : "must not be null";
    switch (field->type) {
    case FIELD_TEXT:
        return yyjson_is_str(value) ? NULL : "must be a string";
    case FIELD_INT:
        return yyjson_is_int(value) ? NULL : "must be an integer";
    case FIELD_BOOL:
        return yyjson_is_bool(value) ? NULL : "must be a boolean";
    case FIELD_OBJECT:
        return yyjson_is_obj(value) ? NULL : "must be an object";
    case FIELD_LIST:
    case FIELD_URLS:
    case FIELD_FILES:
        break;
    }
    if (!yyjson_is_arr(value) || yyjson_arr_size(value) > 10)
        return "must be a list of at most 10";
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(value, i, n, each)
    {
        if (field->type == FIELD_URLS && !str_starts(json_val_str(each), STR("http://")) &&
            !str_starts(json_val_str(each), STR("https://")))
            return "must hold URLs";
        const char *why = field->type == FIELD_FILES ? intercom_wrong_file(each) : NULL;
        if (why)
            return why;
    }
    return NULL;
}

bool intercom_check(struct call *call, yyjson_val *body, const struct field *fields, size_t count)
{
    if (!yyjson_is_obj(body)) {
        intercom_error(call, 400, "parameter_invalid", "The request body must be a JSON object", NULL);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        yyjson_val *value = yyjson_obj_get(body, fields[i].name);
        const char *why = value ? wrong(&fields[i], value) : fields[i].required ? "is required" : NULL;
        if (!why)
            continue;
        intercom_error(call, 400, value ? "parameter_invalid" : "parameter_not_found",
                       arena_printf(call->arena, "%s %s", fields[i].name, why).p, fields[i].name);
        return false;
    }
    return true;
}

// ---- the gate ----

int intercom_version(struct call *call)
{
    struct str text = call_request_header(call, "intercom-version");
    int64_t major = 2, minor = NEWEST_VERSION;
    if (!text.p || str_eq_c(text, "Unstable"))
        return NEWEST_VERSION;
    size_t dot = str_index(text, '.', 0);
    if (!str_to_i64(str_sub(text, 0, dot), &major) || !str_to_i64(str_sub(text, dot + 1, text.n), &minor))
        return -1;
    if (major == 1 && minor >= 0 && minor <= 4)
        return 0;
    return major == 2 && minor >= 0 && minor <= NEWEST_VERSION ? (int)minor : -1;
}

static bool accepts_json(struct call *call)
{
    struct str accept = call_request_header(call, "accept");
    static const char *const good[] = {"application/json", "application/*", "*/*"};
    for (size_t at = 0; at < accept.n;) {
        size_t end = str_index(accept, ',', at);
        struct str type = http_media_type(str_trim(str_sub(accept, at, end)));
        for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
            if (str_ieq_c(type, good[i]))
                return true;
        at = end + 1;
    }
    return false;
}

static bool has_token(struct call *call)
{
    struct str header = call_request_header(call, "authorization");
    return str_starts(header, STR("Bearer ")) && str_trim(str_sub(header, 7, header.n)).n > 0 &&
           !str_starts(header, STR("Bearer invalid"));
}

// Counts the call in its window and says how it stands; false when it is one too many.
static bool within_rate(struct intercom *intercom, struct call *call)
{
    const struct intercom_options *options = &intercom->options;
    int64_t window_us = options->window_ms * 1000, now_us = clock_wall_us(&clock_system);
    if (options->limit <= 0)
        return true;
    if (now_us - intercom->window_began_us >= window_us || now_us < intercom->window_began_us) {
        intercom->window_began_us = now_us - now_us % window_us;
        intercom->window_calls = 0;
    }
    bool good = intercom->window_calls < options->limit;
    intercom->window_calls += good;
    int64_t reset = (intercom->window_began_us + window_us + 999999) / 1000000;
    call_header(call, "X-RateLimit-Limit", arena_printf(call->arena, "%" PRId64, options->limit));
    call_header(call, "X-RateLimit-Remaining",
                arena_printf(call->arena, "%" PRId64, options->limit - intercom->window_calls));
    call_header(call, "X-RateLimit-Reset", arena_printf(call->arena, "%" PRId64, reset));
    return good;
}

static bool has_readable_body(struct call *call)
{
    if (call->request->body.n == 0)
        return true;
    if (!str_ieq_c(http_media_type(call_request_header(call, "content-type")), "application/json")) {
        intercom_error(call, 415, "media_type_not_acceptable", "The Content-Type header should be application/json",
                       NULL);
        return false;
    }
    if (call->body)
        return true;
    intercom_error(call, 400, "parameter_invalid", "The request body is not valid JSON", NULL);
    return false;
}

static bool pass(struct intercom *intercom, struct call *call)
{
    if (!has_token(call)) {
        intercom_error(call, 401, "unauthorized", "Access Token Invalid", NULL);
        return false;
    }
    if (!within_rate(intercom, call)) {
        answer_rate_limit(call);
        return false;
    }
    if (!accepts_json(call)) {
        intercom_error(call, 406, "media_type_not_acceptable",
                       "The Accept header should send a media type of application/json", NULL);
        return false;
    }
    if (intercom_version(call) < 0) {
        intercom_error(call, 400, "intercom_version_invalid", "The requested version could not be found", NULL);
        return false;
    }
    call_header(call, "Intercom-Version",
                call_request_header(call, "intercom-version").p ? call_request_header(call, "intercom-version")
                                                                : STR("2.16"));
    return has_readable_body(call);
}

// ---- routes ----

static bool fits(const struct route *route, const struct call *call)
{
    struct str pattern = str_of(route->path);
    size_t n = 0;
    for (size_t at = 0; at < pattern.n; n++) {
        size_t end = str_index(pattern, '/', at);
        struct str want = str_sub(pattern, at, end), have = call_segment(call, n);
        if (!have.p || (!str_eq_c(want, "*") && !str_eq(want, have)))
            return false;
        at = end + 1;
    }
    return n == call->segment_count;
}

static const struct route *find_route(const struct call *call, bool *out_known)
{
    const struct route *const tables[] = {intercom_contact_routes, intercom_redact_routes, intercom_conversation_routes,
                                          intercom_other_routes};
    *out_known = false;
    for (size_t t = 0; t < sizeof(tables) / sizeof(*tables); t++)
        for (const struct route *route = tables[t]; route->method; route++) {
            if (!fits(route, call))
                continue;
            *out_known = true;
            if (str_eq_c(call->request->method, route->method))
                return route;
        }
    return NULL;
}

void intercom_api(void *arg, struct call *call)
{
    struct intercom *intercom = arg;
    bool known = false;
    if (str_eq_c(call_segment(call, 0), "files")) {
        intercom_file(intercom, call);
        return;
    }
    const struct route *route = find_route(call, &known);
    if (!pass(intercom, call))
        return;
    if (!route)
        intercom_error(call, 404, known ? "action_not_found" : "not_found",
                       known ? "This path has no such method" : "The requested resource was not found", NULL);
    else
        route->run(intercom, call);
}
