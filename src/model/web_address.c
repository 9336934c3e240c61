#include "model/web_address.h"

static size_t index_of_any(struct str s, const char *chars)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr(chars, s.p[i]))
            return i;
    return s.n;
}

// Nothing that somebody could read otherwise, or that would end a line.
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '\\')
            return false;
    return s.n <= WEB_ADDRESS_MAX;
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

// A name, in whatever letters; an IPv4 address in whatever notation is one too: what it means is seen when it is connected to.
static bool is_host_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && !strchr("-._", s.p[i]) && (unsigned char)s.p[i] < 0x80)
            return false;
    return s.n > 0;
}

static bool is_ipv6(struct str s)
{
    if (s.n < 4 || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < s.n; i++)
        if (!is_hex(s.p[i]) && s.p[i] != ':' && s.p[i] != '.')
            return false;
    return true;
}

static bool read_port(struct str s, int *out_port)
{
    int port = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (!is_digit(s.p[i]) || i == 5)
            return false;
        port = port * 10 + (s.p[i] - '0');
    }
    if (s.n && (port < 1 || port > 65535))
        return false;
    if (s.n)
        *out_port = port;
    return true;
}

static bool read_authority(struct str s, struct web_address *out)
{
    size_t host_end = s.n && s.p[0] == '[' ? str_index(s, ']', 0) + 1 : str_index(s, ':', 0);
    struct str port = str_sub(s, host_end, s.n);
    out->host = str_sub(s, 0, host_end);
    out->port = str_eq_c(out->scheme, "https") ? 443 : 80;
    if (port.n && port.p[0] != ':')
        return false;
    return (is_host_name(out->host) || is_ipv6(out->host)) && read_port(str_sub(port, 1, port.n), &out->port);
}

// Without the one before: it has none where it begins.
static size_t without_last_segment(const char *out, size_t n)
{
    while (n > 0 && out[n - 1] != '/')
        n--;
    return n ? n - 1 : 0;
}

// RFC 3986, 5.2.4, of a path that begins with a slash.
static struct str without_dots(struct str path, struct arena *arena)
{
    char *out = arena_alloc(arena, path.n + 2);
    size_t n = 0;
    for (size_t at = 0; at < path.n;) {
        size_t end = str_index(path, '/', at + 1);
        struct str segment = str_sub(path, at + 1, end);
        bool is_last = end == path.n, is_dot = str_eq_c(segment, "."), is_up = str_eq_c(segment, "..");
        if (is_up)
            n = without_last_segment(out, n);
        if (!is_up && !is_dot) {
            memcpy(out + n, path.p + at, end - at);
            n += end - at;
        } else if (is_last) {
            out[n++] = '/';
        }
        at = end;
    }
    return (struct str){out, n};
}

// Path, query and fragment, which goes.
static void read_rest(struct str rest, struct arena *arena, struct web_address *out)
{
    rest = str_sub(rest, 0, str_index(rest, '#', 0));
    size_t path_end = str_index(rest, '?', 0);
    struct str path = str_sub(rest, 0, path_end);
    out->path = path.n ? without_dots(path, arena) : STR("/");
    out->query = str_sub(rest, path_end, rest.n);
}

// Its length, with the colon; 0: it begins with none.
static size_t scheme_size(struct str s)
{
    size_t end = index_of_any(s, ":/?#");
    if (end == s.n || s.p[end] != ':' || !end || !is_alpha(s.p[0]))
        return 0;
    return end + 1;
}

static bool read_behind_slashes(struct str scheme, struct str s, struct arena *arena, struct web_address *out)
{
    struct web_address address = {.scheme = scheme};
    size_t authority_end = index_of_any(s, "/?#");
    if (!read_authority(str_sub(s, 0, authority_end), &address))
        return false;
    read_rest(str_sub(s, authority_end, s.n), arena, &address);
    *out = address;
    return true;
}

bool web_address_read(struct str url, struct arena *arena, struct web_address *out)
{
    size_t size = scheme_size(url);
    struct str word = str_sub(url, 0, size), rest = str_sub(url, size, url.n);
    struct str scheme = str_ieq_c(word, "https:") ? STR("https") : STR("http");
    if (!is_plain(url) || !(str_ieq_c(word, "https:") || str_ieq_c(word, "http:")) || !str_starts(rest, STR("//")))
        return false;
    return read_behind_slashes(scheme, str_sub(rest, 2, rest.n), arena, out);
}

// The path of the base up to its last slash, and the relative one behind it.
static struct str merged(const struct web_address *base, struct str relative, struct arena *arena)
{
    size_t end = base->path.n;
    while (end > 0 && base->path.p[end - 1] != '/')
        end--;
    return ARENA_JOIN(arena, str_sub(base->path, 0, end), relative);
}

bool web_address_resolve(const struct web_address *base, struct str location, struct arena *arena,
                         struct web_address *out)
{
    struct web_address address = *base;
    if (!location.n || !is_plain(location))
        return false;
    if (scheme_size(location))
        return web_address_read(location, arena, out);
    if (str_starts(location, STR("//")))
        return read_behind_slashes(base->scheme, str_sub(location, 2, location.n), arena, out);
    if (location.p[0] == '?')
        location = ARENA_JOIN(arena, base->path, location);
    else if (location.p[0] == '#')
        location = ARENA_JOIN(arena, base->path, base->query);
    else if (location.p[0] != '/')
        location = merged(base, location, arena);
    read_rest(location, arena, &address);
    *out = address;
    return address.path.n + address.query.n <= WEB_ADDRESS_MAX;
}

struct str web_address_url(const struct web_address *address, struct arena *arena)
{
    char digits[STR_I64_SIZE];
    bool is_usual = address->port == (str_eq_c(address->scheme, "https") ? 443 : 80);
    return ARENA_JOIN(arena, address->scheme, STR("://"), address->host, is_usual ? STR("") : STR(":"),
                      is_usual ? STR("") : str_of_i64(address->port, digits), address->path, address->query);
}

bool web_address_is_of(const struct web_address *a, const struct web_address *b)
{
    return str_eq(a->scheme, b->scheme) && str_ieq(a->host, b->host) && a->port == b->port;
}
