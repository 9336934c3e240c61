// The files of a Telegram message, as references. Of a file that comes in several forms (Telegram sets `document`
// beside `animation`, several sizes of a photo), the one that says most.
#include "platform/telegram.h"

#include "base/must.h"

struct writing {
    struct json json;
    struct arena *arena;
    bool some;
};

static void write_file(struct writing *writing, yyjson_val *file, const char *kind, const char *mime)
{
    struct json *json = &writing->json;
    struct str id = telegram_get_text(file, "file_id", writing->arena);
    struct str said = telegram_get_text(file, "mime_type", writing->arena);
    int64_t size = 0;
    if (!id.n)
        return;
    writing->some = true;
    json_open(json, '{');
    json_key_str(json, "kind", str_of(kind));
    json_key_str(json, "url", STR_NONE);
    json_key_str(json, "name", telegram_get_text(file, "file_name", writing->arena));
    json_key_str(json, "mime", said.n ? said : str_of(mime));
    json_key(json, "size");
    if (json_get_int(file, "file_size", &size) && size >= 0)
        json_int(json, size);
    else
        json_null(json);
    json_key_str(json, "file_id", id);
    json_close(json, '}');
}

static double area(yyjson_val *size)
{
    return yyjson_get_num(yyjson_obj_get(size, "width")) * yyjson_get_num(yyjson_obj_get(size, "height"));
}

static yyjson_val *largest(yyjson_val *sizes)
{
    size_t i, n;
    yyjson_val *each, *best = NULL;
    yyjson_arr_foreach(sizes, i, n, each)
    {
        if (json_get_str(each, "file_id").n && (!best || area(each) > area(best)))
            best = each;
    }
    return best;
}

static void write_photo(struct writing *writing, yyjson_val *sizes)
{
    write_file(writing, largest(sizes), "image", "image/jpeg");
}

static void write_live_photo(struct writing *writing, yyjson_val *holder)
{
    write_photo(writing, yyjson_obj_get(holder, "photo"));
    write_file(writing, yyjson_obj_get(holder, "live_photo"), "video", NULL);
}

static void write_sticker(struct writing *writing, yyjson_val *sticker)
{
    bool animated = yyjson_get_bool(yyjson_obj_get(sticker, "is_animated"));
    bool video = yyjson_get_bool(yyjson_obj_get(sticker, "is_video"));
    if (animated)
        write_file(writing, sticker, "file", "application/x-tgsticker");
    else
        write_file(writing, sticker, video ? "video" : "image", video ? "video/webm" : "image/webp");
}

static void write_paid(struct writing *writing, yyjson_val *list)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(list, i, n, each)
    {
        if (yyjson_obj_get(each, "live_photo"))
            write_live_photo(writing, each);
        else if (yyjson_obj_get(each, "photo"))
            write_photo(writing, yyjson_obj_get(each, "photo"));
        else
            write_file(writing, yyjson_obj_get(each, "video"), "video", NULL);
    }
}

static void write_files(struct writing *writing, yyjson_val *message)
{
    static const struct plain {
        const char *key, *kind, *mime;
    } plain[] = {
        {"animation", "video", NULL},    {"video", "video", NULL}, {"video_note", "video", "video/mp4"},
        {"voice", "audio", "audio/ogg"}, {"audio", "audio", NULL}, {"document", "file", NULL},
    };
    if (yyjson_obj_get(message, "live_photo")) {
        write_live_photo(writing, message);
    } else if (yyjson_obj_get(message, "photo")) {
        write_photo(writing, yyjson_obj_get(message, "photo"));
    } else if (yyjson_obj_get(message, "sticker")) {
        write_sticker(writing, yyjson_obj_get(message, "sticker"));
    } else if (yyjson_obj_get(message, "paid_media")) {
        write_paid(writing, yyjson_obj_get(yyjson_obj_get(message, "paid_media"), "paid_media"));
    } else if (yyjson_obj_get(message, "new_chat_photo")) {
        write_photo(writing, yyjson_obj_get(message, "new_chat_photo"));
    } else {
        size_t i = 0;
        while (i < sizeof plain / sizeof *plain && !yyjson_obj_get(message, plain[i].key))
            i++;
        if (i < sizeof plain / sizeof *plain)
            write_file(writing, yyjson_obj_get(message, plain[i].key), plain[i].kind, plain[i].mime);
    }
}

struct str telegram_files(yyjson_val *message, struct arena *arena)
{
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    struct writing writing = {.json = {.out = &out}, .arena = arena};
    json_open(&writing.json, '[');
    write_files(&writing, message);
    json_close(&writing.json, ']');
    buf_must(&out);
    struct str files = writing.some ? arena_str(arena, buf_str(&out)) : STR_NONE;
    buf_done(&out);
    return files;
}
