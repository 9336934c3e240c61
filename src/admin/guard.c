#include "admin/guard.h"

static struct str header(const struct http_request *request, const char *name)
{
    return http_header_get(request->headers, request->header_count, name);
}

bool guard_token(const struct http_request *request, struct str token)
{
    struct str scheme = STR("Bearer ");
    struct str given = header(request, "authorization");
    if (!token.n || given.n <= scheme.n || !str_ieq(str_sub(given, 0, scheme.n), scheme))
        return false;
    return str_eq_secret(str_trim(str_sub(given, scheme.n, given.n)), token);
}

// Without the port.
static struct str host_name(struct str host)
{
    if (str_starts(host, STR("[")))
        return str_sub(host, 0, str_index(host, ']', 0) + 1);
    return str_sub(host, 0, str_index(host, ':', 0));
}

static bool is_ipv4(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] != '.' && (name.p[i] < '0' || name.p[i] > '9'))
            return false;
    return name.n > 0;
}

bool guard_host(const struct http_request *request)
{
    static const char *const tops[] = {".localhost", ".local", ".internal", ".lan", ".home.arpa"};
    struct str name = host_name(header(request, "host"));
    if (str_starts(name, STR("[")) || is_ipv4(name))
        return true;
    if (!name.n || str_index(name, '.', 0) == name.n)
        return name.n > 0;
    for (size_t i = 0; i < sizeof tops / sizeof *tops; i++) {
        struct str top = str_of(tops[i]);
        if (name.n > top.n && str_ieq(str_sub(name, name.n - top.n, name.n), top))
            return true;
    }
    return false;
}

bool guard_origin(const struct http_request *request)
{
    struct str origin = header(request, "origin");
    // Behind a proxy Host is another one; this header no page can set.
    if (!origin.p || str_ieq_c(header(request, "sec-fetch-site"), "same-origin"))
        return true;
    size_t from = str_starts(origin, STR("https://")) ? 8 : str_starts(origin, STR("http://")) ? 7 : 0;
    return from && str_ieq(str_sub(origin, from, origin.n), header(request, "host"));
}
