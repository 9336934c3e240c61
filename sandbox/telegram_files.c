// Files on the Telegram side: what messages say of them, getFile, and the bytes by the address that it gives.
#include "sandbox/telegram.h"

#include "sandbox/own.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { DOWNLOAD_MAX = 20 << 20, KEEP_PATHS = 20000, PREFIX = 4, UNIQUE = 16 };

static const struct kind {
    const char *name, *prefix, *folder, *extension, *mime;
} kinds[] = {
    {"photo", "AgAC", "photos", "jpg", "image/jpeg"}, {"document", "BQAC", "documents", NULL, NULL},
    {"voice", "AwAC", "voice", "oga", "audio/ogg"},   {"audio", "CQAC", "music", "mp3", "audio/mpeg"},
    {"video", "BAAC", "videos", "mp4", "video/mp4"},  {"animation", "CgAC", "animations", "mp4", "video/mp4"},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

// A PNG of one dot: what stands for the smaller picture of a photo.
static const struct str dot = {"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\0\0\0\x0cIDATx\x9c"
                               "c\xf8\xcf\xc0\0\0\3\1\1\0\xc9\xfe\x92\xef\0\0\0\0IEND\xae"
                               "B`\x82",
                               69};

static const struct kind *kind_of(const char *name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return &kinds[1];
}

const char *telegram_media_kind(struct str word)
{
    for (size_t i = 0; i < KINDS; i++)
        if (str_eq_c(word, kinds[i].name))
            return kinds[i].name;
    return NULL;
}

// ---- media of messages ----

// How the real server sends it by itself.
static const char *kind_by_type(struct str mime)
{
    if (str_eq_c(mime, "image/jpeg") || str_eq_c(mime, "image/png") || str_eq_c(mime, "image/webp"))
        return "photo";
    if (str_eq_c(mime, "image/gif"))
        return "animation";
    if (str_eq_c(mime, "audio/ogg"))
        return "voice";
    if (str_starts(mime, STR("audio/")))
        return "audio";
    return str_eq_c(mime, "video/mp4") ? "video" : "document";
}

static void fill(struct telegram *telegram, struct telegram_media *out, const char *kind, const struct file *file)
{
    out->kind = kind;
    out->id = own(str_of(file->id));
    out->name = own(file->name);
    out->mime = own(file->mime);
    out->size = out->real_size = (int64_t)file->bytes.n;
    memcpy(out->hash, file->hash, sizeof(out->hash));
    if (!file_picture_size(file->bytes, &out->width, &out->height)) {
        out->width = 640;
        out->height = 480;
    }
    if (strcmp(kind, "photo") == 0)
        out->thumb = own(str_of(files_add(telegram->files, dot, STR("dot.png"), STR("image/png"))->id));
}

void telegram_media_make(struct telegram *telegram, struct telegram_media *out, const struct telegram_sends *sends)
{
    struct str type = sends->mime.n ? sends->mime : file_type(sends->bytes);
    const char *kind = sends->kind ? sends->kind : kind_by_type(http_media_type(type));
    if (!type.n)
        type = str_of(kind_of(kind)->mime ? kind_of(kind)->mime : "application/octet-stream");
    fill(telegram, out, kind, files_add(telegram->files, sends->bytes, sends->name, type));
    out->size = sends->size;
}

static struct file *file_of_id(const struct telegram *telegram, struct str file_id)
{
    return files_find(telegram->files, str_sub(file_id, PREFIX, file_id.n));
}

bool telegram_media_again(struct telegram *telegram, struct telegram_media *out, const char *kind, struct str file_id)
{
    const struct file *file = file_of_id(telegram, file_id);
    if (file)
        fill(telegram, out, kind, file);
    return file != NULL;
}

void telegram_media_free(struct telegram_media *media)
{
    disown(&media->id);
    disown(&media->thumb);
    disown(&media->name);
    disown(&media->mime);
}

static void write_ids(struct json *json, const char *prefix, struct str id, struct str unique)
{
    struct arena arena = {0};
    json_key_str(json, "file_id", arena_printf(&arena, "%s%.*s", prefix, STR_ARG(id)));
    json_key_str(json, "file_unique_id", unique);
    arena_done(&arena);
}

static void write_size(struct json *json, const struct telegram_media *media)
{
    if (media->size >= 0)
        json_key_int(json, "file_size", media->size);
}

static void write_photo(struct json *json, const struct telegram_media *media)
{
    json_open(json, '[');
    json_open(json, '{');
    write_ids(json, "AgAC", media->thumb, STR("b1ff9c8ea3a780ba")); // of its hash, as that of every file
    json_key_int(json, "file_size", (int64_t)dot.n);
    json_key_int(json, "width", 1);
    json_key_int(json, "height", 1);
    json_close(json, '}');
    json_open(json, '{');
    write_ids(json, "AgAC", media->id, str_sub(str_of(media->hash), 0, UNIQUE));
    write_size(json, media);
    json_key_int(json, "width", media->width);
    json_key_int(json, "height", media->height);
    json_close(json, '}');
    json_close(json, ']');
}

static void write_file(struct json *json, const struct telegram_media *media, const char *kind)
{
    json_open(json, '{');
    write_ids(json, kind_of(media->kind)->prefix, media->id, str_sub(str_of(media->hash), 0, UNIQUE));
    if (strcmp(kind, "voice") != 0 && media->name.n)
        json_key_str(json, "file_name", media->name);
    if (media->mime.n)
        json_key_str(json, "mime_type", media->mime);
    write_size(json, media);
    if (strcmp(kind, "document") != 0)
        json_key_int(json, "duration", 3);
    if (strcmp(kind, "video") == 0 || strcmp(kind, "animation") == 0) {
        json_key_int(json, "width", media->width);
        json_key_int(json, "height", media->height);
    }
    json_close(json, '}');
}

void telegram_media_write(struct json *json, const struct telegram_media *media)
{
    json_key(json, media->kind);
    if (strcmp(media->kind, "photo") == 0) {
        write_photo(json, media);
        return;
    }
    write_file(json, media, media->kind);
    if (strcmp(media->kind, "animation") == 0) { // for clients from before there were animations
        json_key(json, "document");
        write_file(json, media, "document");
    }
}

void telegram_media_show(struct json *json, const struct telegram_media *media)
{
    json_key(json, "file");
    if (!media->kind) {
        json_null(json);
        return;
    }
    struct arena arena = {0};
    json_open(json, '{');
    json_key_str(json, "kind", str_of(media->kind));
    json_key_str(json, "file_id", arena_printf(&arena, "%s%.*s", kind_of(media->kind)->prefix, STR_ARG(media->id)));
    json_key_str(json, "url", arena_printf(&arena, "/sandbox/files/%.*s", STR_ARG(media->id)));
    json_key_str(json, "name", media->name);
    json_key_str(json, "mime", media->mime);
    json_key_int(json, "size", media->real_size);
    json_key_str(json, "sha256", str_of(media->hash));
    json_close(json, '}');
    arena_done(&arena);
}

// ---- getFile, and the bytes ----

static void path_free(struct telegram *telegram, struct telegram_path *path)
{
    HASH_DELETE(hh, telegram->paths_by_path, path);
    DL_DELETE(telegram->paths, path);
    telegram->path_count--;
    disown(&path->path);
    disown(&path->id);
    free(path);
}

void telegram_paths_free(struct telegram *telegram)
{
    while (telegram->paths)
        path_free(telegram, telegram->paths);
}

// What stands behind the last point of its name, if that can stand in a path.
static struct str extension(const struct kind *kind, struct str name)
{
    size_t dot_at = name.n;
    if (kind->extension)
        return str_of(kind->extension);
    while (dot_at > 0 && name.p[dot_at - 1] != '.')
        dot_at--;
    struct str end = str_sub(name, dot_at, name.n);
    for (size_t i = 0; i < end.n; i++)
        if (!(end.p[i] >= 'a' && end.p[i] <= 'z') && !(end.p[i] >= '0' && end.p[i] <= '9'))
            return STR("bin");
    return dot_at > 0 && end.n > 0 && end.n <= 8 ? end : STR("bin");
}

static struct telegram_path *path_new(struct telegram_bot *bot, struct str file_id, const struct file *file)
{
    struct telegram *telegram = bot->telegram;
    struct telegram_path *path = mem_new_of(struct telegram_path);
    const struct kind *kind = &kinds[1];
    struct arena arena = {0};
    for (size_t i = 0; i < KINDS; i++)
        if (str_starts(file_id, str_of(kinds[i].prefix)))
            kind = &kinds[i];
    path->bot = bot;
    path->id = own(str_of(file->id));
    path->path = own(arena_printf(&arena, "%s/file_%" PRId64 ".%.*s", kind->folder, telegram->last_path++,
                                  STR_ARG(extension(kind, file->name))));
    arena_done(&arena);
    HASH_ADD_KEYPTR(hh, telegram->paths_by_path, path->path.p, path->path.n, path);
    DL_APPEND(telegram->paths, path);
    if (++telegram->path_count > KEEP_PATHS)
        path_free(telegram, telegram->paths);
    return path;
}

void telegram_get_file(struct asked *asked)
{
    struct str id = telegram_param(asked->call, "file_id");
    const struct file *file = file_of_id(asked->bot->telegram, id);
    if (id.n == 0 || !file) {
        telegram_error(asked->call, 400,
                       id.n ? "Bad Request: wrong file_id or the file is temporarily unavailable"
                            : "Bad Request: file_id is empty",
                       -1);
        return;
    }
    if (file->bytes.n > DOWNLOAD_MAX) {
        telegram_error(asked->call, 400, "Bad Request: file is too big", -1);
        return;
    }
    struct buf text;
    struct json json;
    telegram_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "file_id", id);
    json_key_str(&json, "file_unique_id", str_sub(str_of(file->hash), 0, UNIQUE));
    json_key_int(&json, "file_size", (int64_t)file->bytes.n);
    json_key_str(&json, "file_path", path_new(asked->bot, id, file)->path);
    json_close(&json, '}');
    telegram_end(asked->call, &text, &json);
}

void telegram_file(struct asked *asked)
{
    struct call *call = asked->call;
    struct telegram *telegram = asked->bot->telegram;
    struct telegram_path *path = NULL;
    struct str text = ARENA_JOIN(call->arena, call_segment(call, 2), STR("/"), call_segment(call, 3));
    if (call->segment_count == 4)
        HASH_FIND(hh, telegram->paths_by_path, text.p, text.n, path);
    const struct file *file = path && path->bot == asked->bot ? files_find(telegram->files, path->id) : NULL;
    if (!file || !call_opens_file(call, &path->spent))
        telegram_error(call, 404, "Not Found", -1);
    else
        call_answer_file(call, file->bytes, STR("application/octet-stream"));
}
