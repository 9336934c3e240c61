// Texts out of Telegram's updates, as people shall read them.
#include "platform/telegram.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    QUOTE_CHARACTERS = 80,
    LINKS_MAX = 100,         // entities of a message, as Telegram bounds them
    LINKED_MAX = 128 * 1024, // bytes of a text whose entities are read; Telegram's are 4096 characters
};

struct str telegram_text(yyjson_val *value, struct arena *arena)
{
    struct str text = json_val_str(value);
    if (!text.p || str_index(text, 0, 0) == text.n)
        return arena_str(arena, text);
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    for (size_t at = 0; at < text.n;) {
        size_t end = str_index(text, 0, at);
        buf_add_str(&out, str_sub(text, at, end));
        if (end < text.n)
            buf_add_str(&out, STR("\xEF\xBF\xBD"));
        at = end + 1;
    }
    buf_must(&out);
    text = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return text;
}

struct str telegram_get_text(yyjson_val *object, const char *key, struct arena *arena)
{
    return telegram_text(yyjson_obj_get(object, key), arena);
}

// Bytes of the character at `at`; the text is UTF-8.
static size_t character(struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.p[at];
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return at + n <= text.n ? n : text.n - at;
}

// Linked words ---------------------------------------------------------------------------------------------

struct linked {
    size_t from, to; // bytes of the text
    struct str url;
};

// Where the UTF-16 unit stands; the end when there are not so many.
static size_t byte_of_unit(struct str text, int64_t unit)
{
    size_t at = 0;
    while (at < text.n && unit > 0) {
        size_t n = character(text, at);
        unit -= n == 4 ? 2 : 1;
        at += n;
    }
    return at;
}

static bool read_link(struct str text, yyjson_val *entity, struct arena *arena, struct linked *out)
{
    int64_t offset = 0, length = 0;
    if (!str_eq_c(json_get_str(entity, "type"), "text_link") || !json_get_int(entity, "offset", &offset) ||
        !json_get_int(entity, "length", &length))
        return false;
    *out = (struct linked){.url = telegram_get_text(entity, "url", arena)};
    if (!out->url.n || offset < 0 || length < 0 || length > INT32_MAX || offset > INT32_MAX)
        return false;
    out->from = byte_of_unit(text, offset);
    out->to = byte_of_unit(text, offset + length);
    return true;
}

// The words are the address already, at most without its scheme and its last slash.
static bool shows_address(struct str words, struct str url)
{
    if (str_ends(url, STR("/")) && !str_ends(words, STR("/")))
        url.n--;
    return words.n && str_ends(url, words) &&
           (words.n == url.n || str_ends(str_sub(url, 0, url.n - words.n), STR("//")));
}

static int by_end(const void *a, const void *b)
{
    const struct linked *x = a, *y = b;
    return x->to < y->to ? -1 : x->to > y->to;
}

struct str telegram_linked_text(yyjson_val *text_value, yyjson_val *entities, struct arena *arena)
{
    struct str text = telegram_text(text_value, arena);
    struct linked links[LINKS_MAX];
    size_t count = 0, i, n, at = 0;
    yyjson_val *entity;
    if (!text.n || text.n > LINKED_MAX)
        return text;
    yyjson_arr_foreach(entities, i, n, entity)
    {
        if (count < LINKS_MAX && i < LINKS_MAX && read_link(text, entity, arena, &links[count]) &&
            !shows_address(str_sub(text, links[count].from, links[count].to), links[count].url))
            count++;
    }
    if (!count)
        return text;
    qsort(links, count, sizeof *links, by_end);
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    for (i = 0; i < count; i++) {
        buf_add_str(&out, str_sub(text, at, links[i].to));
        buf_printf(&out, " (%.*s)", STR_ARG(links[i].url));
        at = links[i].to;
    }
    buf_add_str(&out, str_sub(text, at, text.n));
    buf_must(&out);
    text = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return text;
}

// Shortening and names --------------------------------------------------------------------------------------

struct str telegram_quoted(struct str text, struct arena *arena)
{
    size_t end = 0, characters = 0;
    text = str_trim(text);
    while (end < text.n && characters < QUOTE_CHARACTERS) {
        end += character(text, end);
        characters++;
    }
    char *copy = arena_alloc(arena, end + sizeof "…");
    for (size_t i = 0; i < end; i++)
        copy[i] = (unsigned char)text.p[i] < ' ' ? ' ' : text.p[i];
    if (end == text.n)
        return (struct str){copy, end};
    return arena_printf(arena, "%.*s…", (int)end, copy);
}

struct str telegram_behind(struct str before, struct str text, struct arena *arena)
{
    return text.n ? ARENA_JOIN(arena, before, text) : str_trim(before);
}

struct str telegram_name(yyjson_val *who, struct arena *arena)
{
    struct str first = telegram_get_text(who, "first_name", arena);
    struct str last = telegram_get_text(who, "last_name", arena);
    struct str title = telegram_get_text(who, "title", arena);
    if (first.n && last.n)
        return arena_printf(arena, "%.*s %.*s", STR_ARG(first), STR_ARG(last));
    if (first.n || last.n)
        return first.n ? first : last;
    return title.n ? title : telegram_get_text(who, "username", arena);
}

struct str telegram_duration(yyjson_val *file, struct arena *arena)
{
    int64_t s;
    if (!json_get_int(file, "duration", &s) || s < 0)
        return STR_NONE;
    if (s < 3600)
        return arena_printf(arena, "%" PRId64 ":%02" PRId64, s / 60, s % 60);
    return arena_printf(arena, "%" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
}
