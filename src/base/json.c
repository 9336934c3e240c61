#include "base/json.h"

#include "base/time_text.h"

#include <inttypes.h>
#include <math.h>

static void separate(struct json *json)
{
    if (json->comma)
        buf_add_char(json->out, ',');
    json->comma = true;
}

void json_open(struct json *json, char bracket)
{
    separate(json);
    buf_add_char(json->out, bracket);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    buf_add_char(json->out, bracket);
    json->comma = true;
}

// Length of the UTF-8 sequence that s begins with, 0 when it is bad.
static size_t sequence(struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    return n <= s.n && str_is_utf8(str_sub(s, 0, n)) ? n : 0;
}

// Of a good sequence of more than one byte.
static uint32_t code_point(const char *p, size_t n)
{
    uint32_t code = (unsigned char)p[0] & (0x7FU >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)p[i] & 0x3FU);
    return code;
}

static void write_special(struct buf *out, uint32_t c)
{
    switch (c) {
    case '"':
        buf_add(out, "\\\"", 2);
        break;
    case '\\':
        buf_add(out, "\\\\", 2);
        break;
    case '\n':
        buf_add(out, "\\n", 2);
        break;
    case '\r':
        buf_add(out, "\\r", 2);
        break;
    case '\t':
        buf_add(out, "\\t", 2);
        break;
    default:
        buf_printf(out, "\\u%04" PRIx32, c);
    }
}

// Stands in a text as it is, whatever the reader.
static bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static void write_text(struct json *json, struct str s)
{
    struct buf *out = json->out;
    buf_add_char(out, '"');
    size_t plain = 0; // [plain, i) can be copied as it stands
    for (size_t i = 0; i < s.n;) {
        if (is_plain(s.p[i])) {
            i++;
            continue;
        }
        unsigned char c = (unsigned char)s.p[i];
        size_t n = c < 0x80 ? 1 : sequence(str_sub(s, i, s.n));
        bool special = c < 0x20 || c == '"' || c == '\\' || c == 0x7F;
        uint32_t code = n > 1 && json->for_screen ? code_point(s.p + i, n) : c;
        special = special || (n > 1 && json->for_screen && code_point_is_harmful(code));
        if (n && !special) {
            i += n;
            continue;
        }
        buf_add(out, s.p + plain, i - plain);
        if (special)
            write_special(out, code);
        else
            buf_add(out, "\xEF\xBF\xBD", 3);
        i += n ? n : 1;
        plain = i;
    }
    buf_add(out, s.p + plain, s.n - plain);
    buf_add_char(out, '"');
}

void json_key(struct json *json, const char *key)
{
    separate(json);
    write_text(json, str_of(key));
    buf_add_char(json->out, ':');
    json->comma = false;
}

void json_str(struct json *json, struct str s)
{
    separate(json);
    if (s.p)
        write_text(json, s);
    else
        buf_add(json->out, "null", 4);
}

void json_int(struct json *json, int64_t n)
{
    separate(json);
    buf_add_int(json->out, n);
}

void json_num(struct json *json, double n)
{
    separate(json);
    if (isfinite(n))
        buf_printf(json->out, "%.10g", n);
    else
        buf_add(json->out, "null", 4);
}

void json_bool(struct json *json, bool b)
{
    separate(json);
    buf_add_str(json->out, b ? STR("true") : STR("false"));
}

void json_null(struct json *json)
{
    json_str(json, STR_NONE);
}

void json_raw(struct json *json, struct str s)
{
    separate(json);
    buf_add_str(json->out, s);
}

void json_time(struct json *json, int64_t at_us)
{
    char text[TIME_TEXT_SIZE];
    json_str(json, at_us ? time_text(at_us, text) : STR_NONE);
}

void json_id(struct json *json, int64_t id)
{
    separate(json);
    buf_add_char(json->out, '"');
    buf_add_int(json->out, id);
    buf_add_char(json->out, '"');
}

void json_key_str(struct json *json, const char *key, struct str s)
{
    json_key(json, key);
    json_str(json, s);
}

void json_key_int(struct json *json, const char *key, int64_t n)
{
    json_key(json, key);
    json_int(json, n);
}

void json_key_bool(struct json *json, const char *key, bool b)
{
    json_key(json, key);
    json_bool(json, b);
}

void json_key_time(struct json *json, const char *key, int64_t at_us)
{
    json_key(json, key);
    json_time(json, at_us);
}

void json_key_id(struct json *json, const char *key, int64_t id)
{
    json_key(json, key);
    json_id(json, id);
}

yyjson_doc *json_read(struct str text)
{
    return text.p ? yyjson_read(text.p, text.n, YYJSON_READ_NOFLAG) : NULL;
}

struct str json_val_str(yyjson_val *value)
{
    return yyjson_is_str(value) ? (struct str){yyjson_get_str(value), yyjson_get_len(value)} : STR_NONE;
}

struct str json_get_str(yyjson_val *object, const char *key)
{
    return json_val_str(yyjson_obj_get(object, key));
}

bool json_get_int(yyjson_val *object, const char *key, int64_t *out)
{
    yyjson_val *value = yyjson_obj_get(object, key);
    if (yyjson_is_uint(value) && yyjson_get_uint(value) > INT64_MAX)
        return false;
    if (!yyjson_is_int(value))
        return false;
    *out = yyjson_get_sint(value);
    return true;
}
