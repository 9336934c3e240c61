#include "model/attachment.h"

#include "base/json.h"

#include <string.h>

static const char *const state_names[] = {[FILE_WANTED] = "wanted", [FILE_KEPT] = "kept", [FILE_FAILED] = "failed"};

const char *file_state_name(enum file_state state)
{
    return state == FILE_ELSEWHERE ? NULL : state_names[state];
}

static enum file_state state_of(struct str name)
{
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++)
        if (str_eq(name, str_of(state_names[i])))
            return (enum file_state)i;
    return FILE_ELSEWHERE;
}

static void read_one(yyjson_val *object, struct arena *arena, struct attachment *out)
{
    int64_t size;
    *out = (struct attachment){
        .kind = arena_str(arena, json_get_str(object, "kind")),
        .url = arena_str(arena, json_get_str(object, "url")),
        .name = arena_str(arena, json_get_str(object, "name")),
        .mime = arena_str(arena, json_get_str(object, "mime")),
        .size = json_get_int(object, "size", &size) && size >= 0 ? size : -1,
        .state = state_of(json_get_str(object, "state")),
        .ref = arena_str(arena, json_get_str(object, "ref")),
        .hash = arena_str(arena, json_get_str(object, "hash")),
        .why = arena_str(arena, json_get_str(object, "why")),
    };
    if (out->state == FILE_KEPT && out->hash.n != FILE_HASH_SIZE)
        out->state = FILE_ELSEWHERE;
}

size_t attachments_read(struct str json, struct arena *arena, struct attachment **out)
{
    yyjson_doc *doc = json.n ? json_read(json) : NULL;
    yyjson_val *list = yyjson_doc_get_root(doc), *each;
    size_t i, n, count = 0;
    *out = NULL;
    if (yyjson_arr_size(list))
        *out = arena_alloc(arena, (yyjson_arr_size(list) < ATTACHMENTS_MAX ? yyjson_arr_size(list) : ATTACHMENTS_MAX) *
                                      sizeof **out);
    yyjson_arr_foreach(list, i, n, each)
    {
        if (yyjson_is_obj(each) && count < ATTACHMENTS_MAX)
            read_one(each, arena, &(*out)[count++]);
    }
    yyjson_doc_free(doc);
    return count;
}

static void write_unless_none(struct json *json, const char *key, struct str text)
{
    if (text.p)
        json_key_str(json, key, text);
}

static void write_one(struct json *json, const struct attachment *file)
{
    json_open(json, '{');
    json_key_str(json, "kind", file->kind);
    json_key_str(json, "url", file->url);
    json_key_str(json, "name", file->name);
    json_key_str(json, "mime", file->mime);
    json_key(json, "size");
    if (file->size >= 0)
        json_int(json, file->size);
    else
        json_null(json);
    if (file->state != FILE_ELSEWHERE)
        json_key_str(json, "state", str_of(state_names[file->state]));
    write_unless_none(json, "ref", file->ref);
    write_unless_none(json, "hash", file->hash);
    write_unless_none(json, "why", file->why);
    json_close(json, '}');
}

struct str attachments_write(const struct attachment *attachments, size_t count, struct arena *arena)
{
    struct buf out;
    if (!count)
        return STR_NONE;
    buf_init(&out, SIZE_MAX / 2);
    struct json json = {.out = &out};
    json_open(&json, '[');
    for (size_t i = 0; i < count; i++)
        write_one(&json, &attachments[i]);
    json_close(&json, ']');
    buf_must(&out);
    struct str text = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return text;
}

size_t attachments_count(struct str json, enum file_state state)
{
    yyjson_doc *doc = json.n ? json_read(json) : NULL;
    size_t i, n, count = 0;
    yyjson_val *each;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, each)
    {
        if (i < ATTACHMENTS_MAX && yyjson_is_obj(each))
            count += state_of(json_get_str(each, "state")) == state;
    }
    yyjson_doc_free(doc);
    return count;
}

struct attachment attachment_copy(const struct attachment *file, struct arena *arena)
{
    struct attachment copy = *file;
    struct str *const texts[] = {&copy.kind, &copy.url, &copy.name, &copy.mime, &copy.ref, &copy.hash, &copy.why};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = arena_str(arena, *texts[i]);
    return copy;
}

struct str attachment_title(const struct attachment *file, struct arena *arena)
{
    struct str kind = file->kind.n ? file->kind : STR("file");
    if (file->name.n)
        return file->name;
    return file->mime.n ? ARENA_JOIN(arena, kind, STR(" ("), file->mime, STR(")")) : kind;
}
