#include "admin/route.h"

#include <string.h>

static const struct route routes[] = {
    {"GET", "/api/v1/status", api_status_get, "", false},
    {"GET", "/api/v1/accounts", api_accounts_list, "limit after", false},
    {"POST", "/api/v1/accounts", api_accounts_post, "", false},
    {"PATCH", "/api/v1/accounts", api_accounts_switch, "", false},
    {"GET", "/api/v1/accounts/{account}", api_accounts_get, "", false},
    {"PATCH", "/api/v1/accounts/{account}", api_accounts_patch, "", false},
    {"DELETE", "/api/v1/accounts/{account}", api_accounts_delete, "discard", false},
    {"GET", "/api/v1/accounts/{account}/sources", api_sources_list, "limit after", false},
    {"POST", "/api/v1/accounts/{account}/sources", api_sources_post, "", false},
    {"GET", "/api/v1/accounts/{account}/sources/{source}", api_sources_get, "", false},
    {"PATCH", "/api/v1/accounts/{account}/sources/{source}", api_sources_patch, "", false},
    {"DELETE", "/api/v1/accounts/{account}/sources/{source}", api_sources_delete, "", false},
    {"GET", "/api/v1/accounts/{account}/desk", api_desk_get, "", false},
    {"POST", "/api/v1/accounts/{account}/sources/{source}/check", api_sources_check, "", false},
    {"POST", "/api/v1/accounts/{account}/desk/check", api_desk_check, "", false},
    {"PUT", "/api/v1/accounts/{account}/desk", api_desk_put, "", false},
    {"PATCH", "/api/v1/accounts/{account}/desk", api_desk_patch, "", false},
    {"POST", "/api/v1/accounts/{account}/desk/resume", api_desk_resume, "", false},
    {"GET", "/api/v1/messages", api_messages_list, "account source conversation state direction q limit after", false},
    {"GET", "/api/v1/messages/{id}", api_messages_get, "", false},
    {"POST", "/api/v1/messages/{id}/retry", api_messages_retry, "", false},
    {"POST", "/api/v1/messages/{id}/discard", api_messages_discard, "", false},
    {"POST", "/api/v1/accounts/{account}/retry", api_messages_retry_skipped, "state after", false},
    {"GET", "/api/v1/accounts/{account}/why", api_why_get, "source conversation", false},
    {"GET", "/api/v1/lanes", api_lanes_list, "account source conversation state limit after", false},
    {"GET", "/api/v1/lanes/{id}", api_lanes_get, "", false},
    {"GET", "/api/v1/events", api_events_get, "account types", false},
    {"GET", "/api/v1/verify", api_verify_get, "deep", false},
    {"GET", "/api/v1/verify/progress", api_verify_progress_get, "", false},
    {"POST", "/api/v1/reload", api_reload_post, "", false},
    {"GET", "/metrics", api_metrics_get, "", true},
    {"GET", "/readyz", api_ready_get, "", true},
};

static struct str next_segment(struct str *path)
{
    size_t to = str_index(*path, '/', 1);
    struct str segment = str_sub(*path, 1, to);
    *path = str_sub(*path, to, path->n);
    return segment;
}

// Whether the path is the route's; its params still encoded.
static bool matches(const struct route *route, struct str path, struct str params[2])
{
    struct str pattern = str_of(route->path);
    size_t count = 0;
    while (pattern.n && path.n) {
        struct str wanted = next_segment(&pattern), given = next_segment(&path);
        if (str_starts(wanted, STR("{")) && given.n)
            params[count++] = given;
        else if (!str_eq(wanted, given))
            return false;
    }
    return !pattern.n && !path.n;
}

static bool has_method(const struct route *route, struct str method)
{
    return str_eq_c(method, route->method) || (str_eq_c(method, "HEAD") && str_eq_c(STR("GET"), route->method));
}

static bool decode_params(struct api_call *call)
{
    for (size_t i = 0; i < sizeof call->params / sizeof *call->params; i++) {
        if (!call->params[i].p)
            continue;
        call->params[i] = http_unescape(call->arena, call->params[i]);
        if (!call->params[i].p || !str_is_utf8(call->params[i]))
            return false;
    }
    return true;
}

int route_find(struct api_call *call, struct str *out_allow)
{
    *out_allow = STR_NONE;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        struct str params[2] = {{0}};
        if (!matches(&routes[i], call->request->path, params))
            continue;
        if (!has_method(&routes[i], call->request->method)) {
            bool is_get = strcmp(routes[i].method, "GET") == 0;
            *out_allow = arena_printf(call->arena, "%.*s%s%s%s", STR_ARG(*out_allow), out_allow->n ? ", " : "",
                                      routes[i].method, is_get ? ", HEAD" : "");
            continue;
        }
        call->route = &routes[i];
        call->params[0] = params[0];
        call->params[1] = params[1];
        return decode_params(call) ? 0 : 400;
    }
    return out_allow->p ? 405 : 404;
}

static bool is_word_of(struct str words, struct str word)
{
    for (size_t from = 0; from < words.n;) {
        size_t to = str_index(words, ' ', from);
        if (str_eq(str_sub(words, from, to), word))
            return true;
        from = to + 1;
    }
    return false;
}

bool route_knows_query(const struct route *route, struct str query, struct str *out_unknown)
{
    for (size_t from = 0; from < query.n;) {
        size_t to = str_index(query, '&', from);
        struct str pair = str_sub(query, from, to);
        struct str name = str_sub(pair, 0, str_index(pair, '=', 0));
        if (pair.n && !is_word_of(str_of(route->query), name)) {
            *out_unknown = name;
            return false;
        }
        from = to + 1;
    }
    return true;
}

static size_t count_of(struct str query, struct str wanted)
{
    size_t count = 0;
    for (size_t from = 0; from < query.n;) {
        size_t to = str_index(query, '&', from);
        struct str pair = str_sub(query, from, to);
        count += str_eq(str_sub(pair, 0, str_index(pair, '=', 0)), wanted);
        from = to + 1;
    }
    return count;
}

bool route_reads_query(struct api_call *call, struct str *out_unclear)
{
    struct str words = str_of(call->route->query);
    for (size_t from = 0; from < words.n;) {
        size_t to = str_index(words, ' ', from);
        struct str name = str_sub(words, from, to);
        size_t count = count_of(call->request->query, name);
        struct str value = count ? api_query(call, arena_str(call->arena, name).p) : STR("");
        if (count > 1 || !value.p || !str_is_utf8(value)) {
            *out_unclear = name;
            return false;
        }
        from = to + 1;
    }
    return true;
}
