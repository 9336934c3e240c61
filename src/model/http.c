#include "model/http.h"

#include <string.h>

struct str http_header_get(const struct http_header *headers, size_t count, const char *name)
{
    struct str wanted = str_of(name);
    for (size_t i = 0; i < count; i++)
        if (str_ieq(headers[i].name, wanted))
            return headers[i].value;
    return STR_NONE;
}

size_t http_header_count(const struct http_header *headers, size_t count, const char *name)
{
    struct str wanted = str_of(name);
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += str_ieq(headers[i].name, wanted);
    return found;
}

struct str http_media_type(struct str content_type)
{
    return str_trim(str_sub(content_type, 0, str_index(content_type, ';', 0)));
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

struct str http_shown_url(struct arena *arena, struct str url)
{
    url = str_sub(url, 0, str_index(url, '?', 0));
    url = str_sub(url, 0, str_index(url, '#', 0));
    size_t scheme = str_starts(url, STR("https://")) ? 8 : str_starts(url, STR("http://")) ? 7 : 0;
    size_t host_end = str_index(url, '/', scheme), host = scheme;
    for (size_t i = scheme; i < host_end; i++)
        if (url.p[i] == '@')
            host = i + 1;
    return arena_printf(arena, "%.*s%.*s", STR_ARG(str_sub(url, 0, scheme)), STR_ARG(str_sub(url, host, url.n)));
}

struct str http_escape(struct arena *arena, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, text.n * 3 + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (is_unreserved(text.p[i])) {
            out[n++] = text.p[i];
        } else {
            out[n++] = '%';
            out[n++] = digits[c >> 4];
            out[n++] = digits[c & 15];
        }
    }
    return (struct str){out, n};
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

struct str http_unescape(struct arena *arena, struct str text)
{
    char *out = arena_alloc(arena, text.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] != '%') {
            out[n++] = text.p[i];
            continue;
        }
        int high = i + 2 < text.n ? hex_value(text.p[i + 1]) : -1;
        int low = i + 2 < text.n ? hex_value(text.p[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return STR_NONE;
        out[n++] = (char)(high << 4 | low);
        i += 2;
    }
    return (struct str){out, n};
}

static struct str form_unescape(struct arena *arena, struct str text)
{
    char *plain = arena_alloc(arena, text.n + 1);
    for (size_t i = 0; i < text.n; i++)
        plain[i] = text.p[i] == '+' ? ' ' : text.p[i];
    return http_unescape(arena, (struct str){plain, text.n});
}

struct str http_query_get(struct arena *arena, struct str query, const char *name)
{
    for (size_t at = 0; at < query.n;) {
        size_t end = str_index(query, '&', at);
        struct str pair = str_sub(query, at, end);
        size_t equals = str_index(pair, '=', 0);
        if (str_eq_c(str_sub(pair, 0, equals), name))
            return form_unescape(arena, str_sub(pair, equals + 1, pair.n));
        at = end + 1;
    }
    return STR_NONE;
}
