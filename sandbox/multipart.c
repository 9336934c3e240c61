#include "sandbox/multipart.h"

// ---- values with parameters: form-data; name="a\"b" ----

// Reads one parameter at *at, which is behind the value before it. False: there is none, or it is none.
static bool next_parameter(struct str line, size_t *at, struct arena *arena, struct str *name, struct str *value)
{
    size_t i = *at;
    while (i < line.n && (line.p[i] == ' ' || line.p[i] == '\t'))
        i++;
    if (i >= line.n || line.p[i++] != ';')
        return false;
    size_t equals = str_index(line, '=', i);
    if (equals == line.n)
        return false;
    *name = str_trim(str_sub(line, i, equals));
    i = equals + 1;
    char *text = arena_alloc(arena, line.n + 1);
    size_t n = 0;
    if (i < line.n && line.p[i] == '"') {
        for (i++; i < line.n && line.p[i] != '"'; i++) {
            if (line.p[i] == '\\' && i + 1 < line.n && (line.p[i + 1] == '"' || line.p[i + 1] == '\\'))
                i++;
            text[n++] = line.p[i];
        }
        if (i++ >= line.n)
            return false;
    } else {
        while (i < line.n && line.p[i] != ';' && line.p[i] != ' ')
            text[n++] = line.p[i++];
        if (n == 0)
            return false;
    }
    *value = (struct str){text, n};
    *at = i;
    return true;
}

static bool good_boundary(struct str boundary)
{
    static const struct str marks = {"'()+_,-./:=? ", 13};
    if (boundary.n == 0 || boundary.n > 70 || boundary.p[boundary.n - 1] == ' ')
        return false;
    for (size_t i = 0; i < boundary.n; i++) {
        char c = boundary.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && str_index(marks, c, 0) == marks.n)
            return false;
    }
    return true;
}

// "\r\n--boundary", or STR_NONE.
static struct str delimiter(struct str content_type, struct arena *arena)
{
    size_t at = str_index(content_type, ';', 0);
    struct str name, value;
    while (next_parameter(content_type, &at, arena, &name, &value))
        if (str_ieq_c(name, "boundary"))
            return good_boundary(value) ? ARENA_JOIN(arena, STR("\r\n--"), value) : STR_NONE;
    return STR_NONE;
}

// ---- parts ----

static bool starts_at(struct str body, size_t at, struct str what)
{
    return at <= body.n && str_starts(str_sub(body, at, body.n), what);
}

static const char *read_disposition(struct str value, struct arena *arena, struct multipart_part *part)
{
    size_t at = str_index(value, ';', 0);
    struct str key, text;
    if (part->name.p || !str_ieq_c(str_trim(str_sub(value, 0, at)), "form-data"))
        return "a part has no single Content-Disposition: form-data";
    while (next_parameter(value, &at, arena, &key, &text)) {
        struct str *field = str_ieq_c(key, "name") ? &part->name : str_ieq_c(key, "filename") ? &part->filename : NULL;
        if (field && field->p)
            return "a parameter of Content-Disposition is given twice";
        if (field)
            *field = text;
    }
    return str_trim(str_sub(value, at, value.n)).n > 0 ? "Content-Disposition cannot be read" : NULL;
}

static const char *read_header(struct str line, struct arena *arena, struct multipart_part *part)
{
    size_t colon = str_index(line, ':', 0);
    struct str name = str_sub(line, 0, colon), value = str_trim(str_sub(line, colon + 1, line.n));
    if (colon == line.n || colon == 0 || str_index(line, '\n', 0) < line.n || str_index(line, '\0', 0) < line.n)
        return "a part has a header that cannot be read";
    if (str_ieq_c(name, "content-disposition"))
        return read_disposition(value, arena, part);
    if (str_ieq_c(name, "content-type"))
        part->type = value;
    if (str_ieq_c(name, "content-transfer-encoding") && !str_ieq_c(value, "binary") && !str_ieq_c(value, "8bit"))
        return "a part has a transfer encoding";
    return NULL;
}

// The headers at *at, up to the empty line; *at is behind it then.
static const char *read_head(struct str body, size_t *at, struct arena *arena, struct multipart_part *part)
{
    size_t begin = *at;
    for (;;) {
        size_t end = str_index(body, '\r', *at);
        if (end - begin > MULTIPART_HEAD || !starts_at(body, end, STR("\r\n")))
            return "a part's headers have no end, or are too long";
        struct str line = str_sub(body, *at, end);
        *at = end + 2;
        if (line.n == 0)
            break;
        const char *why = read_header(line, arena, part);
        if (why)
            return why;
    }
    return part->name.n > 0 ? NULL : "a part has no name";
}

static const char *add_part(struct multipart *out, const struct multipart_part *part)
{
    if (out->count == MULTIPART_PARTS)
        return "there are too many parts";
    if (multipart_find(out, part->name))
        return "two parts have the same name";
    out->parts[out->count++] = *part;
    return NULL;
}

const char *multipart_read(struct str content_type, struct str body, struct arena *arena, struct multipart *out)
{
    struct str mark = delimiter(content_type, arena);
    out->count = 0;
    if (!mark.p)
        return "Content-Type has no boundary, or a bad one";
    size_t at = mark.n - 2; // the first one begins the body, without a line's end before it
    if (!str_starts(body, str_sub(mark, 2, mark.n)))
        return "the body does not begin with the boundary";
    while (!starts_at(body, at, STR("--"))) {
        struct multipart_part part = {0};
        if (!starts_at(body, at, STR("\r\n")))
            return "a boundary is not followed by the end of its line";
        at += 2;
        const char *why = read_head(body, &at, arena, &part);
        if (why)
            return why;
        const char *end = memmem(body.p + at, body.n - at, mark.p, mark.n);
        if (!end)
            return "a part has no end";
        part.bytes = str_sub(body, at, (size_t)(end - body.p));
        at = (size_t)(end - body.p) + mark.n;
        if ((why = add_part(out, &part)))
            return why;
    }
    struct str rest = str_sub(body, at + 2, body.n);
    return rest.n == 0 || str_eq_c(rest, "\r\n") ? NULL : "something stands behind the last boundary";
}

const struct multipart_part *multipart_find(const struct multipart *form, struct str name)
{
    for (size_t i = 0; i < form->count; i++)
        if (str_eq(form->parts[i].name, name))
            return &form->parts[i];
    return NULL;
}
