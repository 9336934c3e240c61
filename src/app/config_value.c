#include "app/config_value.h"

#include "base/must.h"
#include "desk/desk.h"
#include "model/account.h"
#include "platform/platform.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>
#include <sys/un.h>

enum { TEXT_MAX = 4096 };

static const char *set_text(struct str text, struct arena *arena, void *field)
{
    *(struct str *)field = arena_str(arena, text);
    return NULL;
}

static const char *set_name(struct str text, struct arena *arena, void *field)
{
    if (!account_name_is_valid(text))
        return "is no name; write 1 to 63 of a-z, 0-9 and -";
    return set_text(text, arena, field);
}

static const char *set_secret(struct str text, struct arena *arena, void *field)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~')
            return "holds a space, a control character or a letter outside ASCII; write it as the platform gave it";
    return set_text(text, arena, field);
}

static const char *set_path(struct str text, struct arena *arena, void *field)
{
    if (text.n >= sizeof((struct sockaddr_un *)0)->sun_path)
        return "is too long for a Unix socket; write a path of at most 107 bytes";
    return set_text(text, arena, field);
}

static bool has_any(struct str text, const char *unwanted)
{
    for (; *unwanted; unwanted++)
        if (str_index(text, *unwanted, 0) < text.n)
            return true;
    return false;
}

static bool port_is_valid(struct str text)
{
    int64_t port;
    return text.n && text.n <= 5 && str_to_i64(text, &port) && text.p[0] != '+' && text.p[0] != '-' && port <= 65535;
}

// The part of "http://HOST/PATH" behind the scheme.
static bool url_rest(struct str text, struct str *out)
{
    struct str schemes[] = {STR("http://"), STR("https://")};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        if (str_starts(text, schemes[i])) {
            *out = str_sub(text, schemes[i].n, text.n);
            return true;
        }
    }
    return false;
}

static bool host_is_valid(struct str host)
{
    size_t colon = host.n && host.p[0] == '[' ? str_index(host, ']', 0) + 1 : str_index(host, ':', 0);
    if (colon < host.n && (host.p[colon] != ':' || !port_is_valid(str_sub(host, colon + 1, host.n))))
        return false;
    return colon > 0 && colon <= host.n;
}

static const char *set_url(struct str text, bool base, struct arena *arena, void *field)
{
    struct str rest;
    if (!url_rest(text, &rest) || has_any(rest, " <>\"\\^`{|}"))
        return "is no URL; write it as in https://relay.example.com";
    struct str host = str_sub(rest, 0, str_index(rest, '/', 0));
    if (has_any(rest, "@#?") && (has_any(host, "@") || has_any(rest, "#")))
        return "holds a user or a fragment; write it as in https://relay.example.com";
    host = str_sub(host, 0, str_index(host, '?', 0));
    if (!host_is_valid(host))
        return "names no host; write it as in https://relay.example.com";
    if (base && has_any(rest, "?"))
        return "holds a query; paths are put behind this one, so write it as in https://relay.example.com";
    while (base && text.p[text.n - 1] == '/')
        text.n--;
    return set_text(text, arena, field);
}

// A name to be looked up: it begins with a letter, so that a mistyped address is none.
static bool is_host_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || (c != '.' && c != '-' && (c < '0' || c > '9'))))
            return false;
    }
    return name.n > 0;
}

static bool is_host_and_port(struct str text)
{
    char host[64];
    bool v6 = text.p[0] == '[';
    size_t end = v6 ? str_index(text, ']', 0) : str_index(text, ':', 0);
    struct str name = str_sub(text, v6, end);
    struct str port = str_sub(text, end + v6 + 1, text.n);
    unsigned char address[16];
    if (end + v6 >= text.n || text.p[end + v6] != ':' || name.n >= sizeof host || !port_is_valid(port))
        return false;
    memcpy(host, name.p, name.n);
    host[name.n] = 0;
    return inet_pton(v6 ? AF_INET6 : AF_INET, host, address) == 1 || (!v6 && is_host_name(name));
}

static const char *set_address(struct str text, struct arena *arena, void *field)
{
    struct str path = str_sub(text, sizeof "unix:" - 1, text.n);
    if (str_starts(text, STR("unix:"))) {
        if (!path.n || path.n >= sizeof((struct sockaddr_un *)0)->sun_path)
            return "is no Unix socket; write unix: and a path of at most 107 bytes";
        return set_text(text, arena, field);
    }
    if (!is_host_and_port(text))
        return "is no address; write a host and a port as in 127.0.0.1:8080 or [::1]:8080, or unix: and a path";
    return set_text(text, arena, field);
}

static const char *set_store(struct str text, struct arena *arena, void *field)
{
    struct str prefix = STR("sqlite:");
    if (str_starts(text, STR("postgresql:")) || str_starts(text, STR("postgres:")))
        return "cannot be used: this version keeps messages in SQLite only; write sqlite: and the path of a file";
    if (!str_starts(text, prefix) || text.n == prefix.n || text.p[text.n - 1] == '/')
        return "is no store; write sqlite: and the path of a file, as in sqlite:/var/lib/tributary/tributary.db";
    return set_text(str_sub(text, prefix.n, text.n), arena, field);
}

static const char *set_source_platform(struct str text, struct arena *arena, void *field)
{
    if (platform_find(text))
        return set_text(text, arena, field);
    struct str known = STR("");
    for (const struct platform *const *each = platforms; *each; each++)
        known = arena_printf(arena, "%.*s%s%s", STR_ARG(known), known.n ? ", " : "", (*each)->name);
    return arena_printf(arena, "is no platform; there are %.*s", STR_ARG(known)).p;
}

static const char *set_desk_platform(struct str text, struct arena *arena, void *field)
{
    if (desk_connector_find(text))
        return set_text(text, arena, field);
    struct str known = STR("");
    for (const struct desk_connector *const *each = desk_connectors; *each; each++)
        known = arena_printf(arena, "%.*s%s%s", STR_ARG(known), known.n ? ", " : "", (*each)->receiver.name);
    return arena_printf(arena, "is no desk; there are %.*s", STR_ARG(known)).p;
}

static const char *set_bool(struct str text, bool quoted, void *field)
{
    bool yes = str_eq_c(text, "true");
    if (quoted || (!yes && !str_eq_c(text, "false")))
        return "is neither true nor false; write one of these, without quotes";
    *(bool *)field = yes;
    return NULL;
}

static const char *set_word(const struct config_key *key, struct str text, struct arena *arena, void *field)
{
    struct str words = str_of(key->words), known = STR("");
    unsigned index = 0;
    for (size_t from = 0; from <= words.n; index++) {
        size_t to = str_index(words, '|', from);
        struct str word = str_sub(words, from, to);
        if (word.n && str_eq(word, text)) {
            *(unsigned *)field = index; // enums without negative values are unsigned
            return NULL;
        }
        if (word.n)
            known = arena_printf(arena, "%.*s%s%.*s", STR_ARG(known), known.n ? " or " : "", STR_ARG(word));
        from = to + 1;
    }
    return arena_printf(arena, "cannot stand here; write %.*s", STR_ARG(known)).p;
}

// Decimal digits only, so that no sign, blank, octal or exponent slips in.
static bool digits(struct str text, int64_t *out)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return text.n && (text.n == 1 || text.p[0] != '0') && str_to_i64(text, out);
}

static const char *set_number(const struct config_key *key, struct str text, bool quoted, struct arena *arena,
                              void *field)
{
    int64_t n;
    const char *more = key->none ? ", or none" : "";
    if (quoted || !digits(text, &n))
        return arena_printf(arena, "is no number; write one from %" PRId64 " to %" PRId64 ", without quotes or unit%s",
                            key->min, key->max, more)
            .p;
    if (n < key->min || n > key->max)
        return arena_printf(arena, "is out of range; write a number from %" PRId64 " to %" PRId64 "%s", key->min,
                            key->max, more)
            .p;
    *(int64_t *)field = n;
    return NULL;
}

static const struct unit {
    const char *name;
    int64_t us;
} units[] = {
    {"ms", 1000}, {"s", 1000000}, {"m", 60000000}, {"h", INT64_C(3600000000)}, {"d", INT64_C(86400000000)},
};

// "30s" for a number of microseconds, in the largest unit that is exact.
static struct str duration_text(struct arena *arena, int64_t us)
{
    size_t i = sizeof units / sizeof *units - 1;
    while (i > 0 && (us == 0 || us % units[i].us))
        i--;
    return arena_printf(arena, "%" PRId64 "%s", us / units[i].us, units[i].name);
}

static bool duration_us(struct str text, int64_t *out)
{
    size_t n = 0;
    while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
        n++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (str_eq_c(str_sub(text, n, text.n), units[i].name))
            return digits(str_sub(text, 0, n), out) && !__builtin_mul_overflow(*out, units[i].us, out);
    return false;
}

static const char *set_duration(const struct config_key *key, struct str text, struct arena *arena, void *field)
{
    int64_t unit = key->type == KEY_MS ? 1000 : 1, us;
    if (!duration_us(text, &us))
        return "is no duration; write a whole number and ms, s, m, h or d, as in 500ms or 30s";
    if (us < key->min * unit || us > key->max * unit)
        return arena_printf(arena, "is out of range; write a duration from %s to %s",
                            duration_text(arena, key->min * unit).p, duration_text(arena, key->max * unit).p)
            .p;
    *(int64_t *)field = us / unit;
    return NULL;
}

static const struct {
    const char *name;
    int64_t bytes;
} sizes[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

// "20MiB", in the largest unit that is exact.
static struct str size_text(struct arena *arena, int64_t bytes)
{
    size_t i = sizeof sizes / sizeof *sizes - 1;
    while (i > 0 && (bytes == 0 || bytes % sizes[i].bytes))
        i--;
    return arena_printf(arena, "%" PRId64 "%s", bytes / sizes[i].bytes, sizes[i].name);
}

static bool size_bytes(struct str text, int64_t *out)
{
    size_t n = 0;
    while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
        n++;
    if (n == 1 && text.n == 1 && text.p[0] == '0') { // nothing in any unit
        *out = 0;
        return true;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (str_eq_c(str_sub(text, n, text.n), sizes[i].name))
            return digits(str_sub(text, 0, n), out) && !__builtin_mul_overflow(*out, sizes[i].bytes, out);
    return false;
}

static const char *set_size(const struct config_key *key, struct str text, struct arena *arena, void *field)
{
    const char *more = key->none ? ", or none" : "";
    int64_t bytes;
    if (!size_bytes(text, &bytes))
        return arena_printf(arena, "is no size; write a whole number and B, KiB, MiB or GiB, as in 20MiB%s", more).p;
    if (bytes < key->min || bytes > key->max)
        return arena_printf(arena, "is out of range; write a size from %s to %s%s", size_text(arena, key->min).p,
                            size_text(arena, key->max).p, more)
            .p;
    *(int64_t *)field = bytes;
    return NULL;
}

static const char *set_rate(const struct config_key *key, struct str text, struct arena *arena, void *field)
{
    static const char *const wrong = "is no rate; write a whole number and /s or /min, as in 150/s";
    size_t slash = str_index(text, '/', 0);
    struct str unit = str_sub(text, slash, text.n);
    int64_t n, times = str_eq_c(unit, "/s") ? 60 : str_eq_c(unit, "/min") ? 1 : 0;
    if (!times || !digits(str_sub(text, 0, slash), &n))
        return wrong;
    if (__builtin_mul_overflow(n, times, &n) || n < key->min || n > key->max)
        return arena_printf(arena, "is out of range; write a rate from 1/min to %" PRId64 "/s", key->max / 60).p;
    *(int64_t *)field = n;
    return NULL;
}

const char *config_value_set(const struct config_key *key, struct str text, bool quoted, struct arena *arena,
                             void *field)
{
    if (!text.n)
        return "is empty; write a value or leave the key out";
    if (text.n > TEXT_MAX)
        return "is longer than 4096 bytes";
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7F)
            return "holds a control character";
    if (key->none && str_eq_c(text, "none")) {
        *(int64_t *)field = 0;
        return NULL;
    }
    switch (key->type) {
    case KEY_NAME:
        return set_name(text, arena, field);
    case KEY_SECRET:
        return set_secret(text, arena, field);
    case KEY_PATH:
        return set_path(text, arena, field);
    case KEY_BASE_URL:
    case KEY_URL:
        return set_url(text, key->type == KEY_BASE_URL, arena, field);
    case KEY_ADDRESS:
        return set_address(text, arena, field);
    case KEY_STORE:
        return set_store(text, arena, field);
    case KEY_SOURCE_PLATFORM:
        return set_source_platform(text, arena, field);
    case KEY_DESK_PLATFORM:
        return set_desk_platform(text, arena, field);
    case KEY_BOOL:
        return set_bool(text, quoted, field);
    case KEY_WORD:
        return set_word(key, text, arena, field);
    case KEY_NUMBER:
        return set_number(key, text, quoted, arena, field);
    case KEY_MS:
    case KEY_US:
        return set_duration(key, text, arena, field);
    case KEY_RATE:
        return set_rate(key, text, arena, field);
    case KEY_SIZE:
        return set_size(key, text, arena, field);
    case KEY_SECTION:
    case KEY_LIST:
        break;
    }
    must(false);
    return NULL;
}

// The word at that place; STR_NONE for an empty one.
static struct str word_text(const struct config_key *key, unsigned index)
{
    struct str words = str_of(key->words);
    size_t from = 0;
    for (; index; index--)
        from = str_index(words, '|', from) + 1;
    struct str word = str_sub(words, from, str_index(words, '|', from));
    return word.n ? word : STR_NONE;
}

struct str config_value_text(const struct config_key *key, const void *field, struct arena *arena)
{
    switch (key->type) {
    case KEY_BOOL:
        return *(const bool *)field ? STR("true") : STR("false");
    case KEY_WORD:
        return word_text(key, *(const unsigned *)field);
    case KEY_NUMBER:
        return arena_printf(arena, "%" PRId64, *(const int64_t *)field);
    case KEY_MS:
        return duration_text(arena, *(const int64_t *)field * 1000);
    case KEY_US:
        return duration_text(arena, *(const int64_t *)field);
    case KEY_RATE:
        return *(const int64_t *)field ? arena_printf(arena, "%" PRId64 "/min", *(const int64_t *)field) : STR_NONE;
    case KEY_SIZE:
        return size_text(arena, *(const int64_t *)field);
    case KEY_STORE:
        return arena_printf(arena, "sqlite:%.*s", STR_ARG(*(const struct str *)field));
    case KEY_SECTION:
    case KEY_LIST:
        break;
    default:
        return *(const struct str *)field;
    }
    must(false);
    return STR_NONE;
}
