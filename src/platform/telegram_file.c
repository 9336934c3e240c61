// The files of a Telegram message, to be fetched by their file_id. Of a file that comes in several forms (Telegram sets
// `document` beside `animation`, several sizes of a photo), the one that says most.
#include "platform/telegram.h"

#include "model/attachment.h"

// "For the moment, bots can download files of up to 20MB in size" (getFile).
enum { FETCHED_MAX = 20 * 1024 * 1024 };

// A kind of file as Telegram has it.
struct form {
    const char *key;  // the member that holds it
    const char *kind; // as in struct attachment
    const char *mime; // where Telegram says none; NULL: it is not known
    const char *stem; // of the name, where it has none
    const char *tail; // the same, where its type has no usual one
};

struct listing {
    struct attachment files[ATTACHMENTS_MAX];
    size_t count;
    struct arena *arena;
};

// Names ---------------------------------------------------------------------------------------------------

// What names of this type end with, or `otherwise`.
static struct str tail_of(struct str mime, const char *otherwise)
{
    static const struct {
        const char *mime, *tail;
    } tails[] = {
        {"image/jpeg", ".jpg"},      {"image/png", ".png"},         {"image/webp", ".webp"},
        {"image/gif", ".gif"},       {"image/heic", ".heic"},       {"video/mp4", ".mp4"},
        {"video/quicktime", ".mov"}, {"video/webm", ".webm"},       {"audio/ogg", ".ogg"},
        {"audio/mpeg", ".mp3"},      {"audio/mp4", ".m4a"},         {"audio/x-m4a", ".m4a"},
        {"audio/flac", ".flac"},     {"audio/x-wav", ".wav"},       {"audio/wav", ".wav"},
        {"application/pdf", ".pdf"}, {"application/zip", ".zip"},   {"text/plain", ".txt"},
        {"text/csv", ".csv"},        {"application/json", ".json"},
    };
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (str_ieq_c(mime, tails[i].mime))
            return str_of(tails[i].tail);
    return str_of(otherwise);
}

// "Mina - O mio" of music.
static struct str title_of(yyjson_val *file, struct arena *arena)
{
    struct str performer = telegram_get_text(file, "performer", arena), title = telegram_get_text(file, "title", arena);
    if (performer.n && title.n)
        return ARENA_JOIN(arena, performer, STR(" - "), title);
    return title.n ? title : performer;
}

static struct str name_of(yyjson_val *file, const struct form *form, struct str mime, struct arena *arena)
{
    struct str name = telegram_get_text(file, "file_name", arena);
    if (name.n)
        return name;
    struct str title = title_of(file, arena);
    return ARENA_JOIN(arena, title.n ? title : str_of(form->stem), tail_of(mime, form->tail));
}

struct str telegram_file_name(const struct attachment *file, struct arena *arena)
{
    return ARENA_JOIN(arena, file->kind.n ? file->kind : STR("file"), tail_of(http_media_type(file->mime), ""));
}

// Files ---------------------------------------------------------------------------------------------------

// One that is too large is named all the same, so that the agent reads that there is one.
static void refuse(struct attachment *file)
{
    file->state = FILE_FAILED;
    file->ref = STR_NONE;
    file->why = STR(TELEGRAM_TOO_LARGE);
}

static void list(struct listing *listing, yyjson_val *file, const struct form *form)
{
    struct str id = telegram_get_text(file, "file_id", listing->arena);
    struct str mime = telegram_get_text(file, "mime_type", listing->arena);
    int64_t size;
    if (!id.n || listing->count == ATTACHMENTS_MAX)
        return;
    mime = mime.n ? mime : str_of(form->mime);
    struct attachment *out = &listing->files[listing->count];
    *out = (struct attachment){
        .kind = str_of(form->kind),
        .name = name_of(file, form, mime, listing->arena),
        .mime = mime,
        .size = json_get_int(file, "file_size", &size) && size >= 0 ? size : -1,
        .state = listing->count < FILES_MAX ? FILE_WANTED : FILE_ELSEWHERE,
        .ref = id,
    };
    if (out->size > FETCHED_MAX)
        refuse(out);
    listing->count++;
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

static void list_photo(struct listing *listing, yyjson_val *sizes)
{
    static const struct form photo = {"photo", "image", "image/jpeg", "photo", ".jpg"};
    list(listing, largest(sizes), &photo);
}

static const struct form video = {"video", "video", NULL, "video", ".mp4"};

static void list_live_photo(struct listing *listing, yyjson_val *holder)
{
    list_photo(listing, yyjson_obj_get(holder, "photo"));
    list(listing, yyjson_obj_get(holder, "live_photo"), &video);
}

static void list_sticker(struct listing *listing, yyjson_val *sticker)
{
    static const struct form still = {"sticker", "image", "image/webp", "sticker", ".webp"};
    static const struct form animated = {"sticker", "file", "application/x-tgsticker", "sticker", ".tgs"};
    static const struct form moving = {"sticker", "video", "video/webm", "sticker", ".webm"};
    if (yyjson_get_bool(yyjson_obj_get(sticker, "is_animated")))
        list(listing, sticker, &animated);
    else
        list(listing, sticker, yyjson_get_bool(yyjson_obj_get(sticker, "is_video")) ? &moving : &still);
}

static void list_paid(struct listing *listing, yyjson_val *media)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(media, i, n, each)
    {
        if (yyjson_obj_get(each, "live_photo"))
            list_live_photo(listing, each);
        else if (yyjson_obj_get(each, "photo"))
            list_photo(listing, yyjson_obj_get(each, "photo"));
        else
            list(listing, yyjson_obj_get(each, "video"), &video);
    }
}

// In the order in which they count.
static void list_plain(struct listing *listing, yyjson_val *message)
{
    static const struct form forms[] = {
        {"animation", "video", NULL, "animation", ".mp4"},
        {"video", "video", NULL, "video", ".mp4"},
        {"video_note", "video", "video/mp4", "video message", ".mp4"},
        {"voice", "audio", "audio/ogg", "voice", ".ogg"},
        {"audio", "audio", NULL, "audio", ".mp3"},
        {"document", "file", NULL, "file", ""},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        yyjson_val *file = yyjson_obj_get(message, forms[i].key);
        if (file) {
            list(listing, file, &forms[i]);
            return;
        }
    }
}

static void list_all(struct listing *listing, yyjson_val *message)
{
    if (yyjson_obj_get(message, "live_photo"))
        list_live_photo(listing, message);
    else if (yyjson_obj_get(message, "photo"))
        list_photo(listing, yyjson_obj_get(message, "photo"));
    else if (yyjson_obj_get(message, "sticker"))
        list_sticker(listing, yyjson_obj_get(message, "sticker"));
    else if (yyjson_obj_get(message, "paid_media"))
        list_paid(listing, yyjson_obj_get(yyjson_obj_get(message, "paid_media"), "paid_media"));
    else if (yyjson_obj_get(message, "new_chat_photo"))
        list_photo(listing, yyjson_obj_get(message, "new_chat_photo"));
    else
        list_plain(listing, message);
}

struct str telegram_files(yyjson_val *message, struct arena *arena)
{
    struct listing listing = {.arena = arena};
    list_all(&listing, message);
    return attachments_write(listing.files, listing.count, arena);
}
