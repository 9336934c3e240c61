// A reply that is a file: which method sends it, and its request, multipart/form-data, in which the file is a part that is read while
// it is sent. What Telegram does not take goes as a document, else as a link.
#include "platform/telegram.h"

#include "base/hash.h"

#include <inttypes.h>

enum {
    UPLOAD_MAX = 50 * 1000 * 1000, // "up to 50 MB" (sendDocument and the others); which MB is not said: the smaller
    PHOTO_MAX = 10 * 1000 * 1000,  // "at most 10 MB" (sendPhoto)
    CAPTION_UNITS_MAX = 1024,      // "0-1024 characters after entities parsing"; that UTF-16 units are meant is safe
    NAME_MAX_BYTES = 200,
};

struct telegram_method {
    const char *mime; // NULL: any
    const char *name, *field;
    int64_t most; // bytes
};

// The first that fits counts.
static const struct telegram_method methods[] = {
    {"image/jpeg", "sendPhoto", "photo", PHOTO_MAX}, {"image/png", "sendPhoto", "photo", PHOTO_MAX},
    {"image/webp", "sendPhoto", "photo", PHOTO_MAX}, {"image/gif", "sendAnimation", "animation", UPLOAD_MAX},
    {"audio/ogg", "sendVoice", "voice", UPLOAD_MAX}, {"audio/mpeg", "sendAudio", "audio", UPLOAD_MAX},
    {"audio/mp4", "sendAudio", "audio", UPLOAD_MAX}, {"audio/x-m4a", "sendAudio", "audio", UPLOAD_MAX},
    {"video/mp4", "sendVideo", "video", UPLOAD_MAX}, {NULL, "sendDocument", "document", UPLOAD_MAX},
};
static const struct telegram_method *const as_document = &methods[sizeof methods / sizeof *methods - 1];

static const struct telegram_method *method_of(const struct attachment *file)
{
    struct str mime = http_media_type(file->mime);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if ((!methods[i].mime || str_ieq_c(mime, methods[i].mime)) && file->size <= methods[i].most)
            return &methods[i];
    return NULL;
}

// Links ---------------------------------------------------------------------------------------------------

static void add_line(struct telegram_sending *sending, const struct attachment *file, struct arena *arena)
{
    struct str line = ARENA_JOIN(arena, attachment_title(file, arena), STR(": "), file->url);
    sending->text = sending->text.n ? ARENA_JOIN(arena, sending->text, STR("\n"), line) : line;
}

static struct str why_no_link(const struct attachment *file, const char *otherwise, struct arena *arena)
{
    struct str why = file->why.n ? file->why : str_of(otherwise);
    return ARENA_JOIN(arena, STR("the file \""), attachment_title(file, arena), STR("\" cannot be sent: "), why);
}

// Where each is, behind the text. What has no address is not left out in silence: all is refused.
static struct str say_links(struct telegram_sending *sending, const struct attachment *files, size_t count,
                            const char *otherwise, struct arena *arena)
{
    for (size_t i = 0; i < count; i++) {
        if (!files[i].url.n)
            return why_no_link(&files[i], otherwise, arena);
        add_line(sending, &files[i], arena);
    }
    return STR_NONE;
}

static size_t units_of(struct str text)
{
    size_t units = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        units += (c & 0xC0) != 0x80;
        units += c >= 0xF0;
    }
    return units;
}

struct str telegram_upload_begin(struct delivery *delivery)
{
    struct telegram_sending *sending = delivery->state;
    struct attachment *files;
    size_t count = attachments_read(delivery->message->attachments, delivery->arena, &files);
    // With it, or as a link, or its agent reads why not.
    delivery->files_told = count < FILES_MAX ? (UINT32_C(1) << count) - 1 : UINT32_MAX;
    if (count != 1 || files->state != FILE_KEPT || files->size < 0)
        return say_links(sending, files, count, "it was not fetched", delivery->arena);
    if (units_of(sending->text) > CAPTION_UNITS_MAX)
        return say_links(sending, files, count, "there are more words with it than Telegram lets stand under a file",
                         delivery->arena);
    sending->method = method_of(files);
    sending->file = *files;
    if (!sending->method)
        return say_links(sending, files, count, "it is larger than the 50 MB that Telegram takes of bots",
                         delivery->arena);
    return STR_NONE;
}

bool telegram_upload_otherwise(struct delivery *delivery, bool too_large)
{
    struct telegram_sending *sending = delivery->state;
    if (!too_large && sending->method != as_document) {
        sending->method = as_document;
        return true;
    }
    if (!sending->file.url.n)
        return false;
    sending->method = NULL;
    add_line(sending, &sending->file, delivery->arena);
    return true;
}

// The request ---------------------------------------------------------------------------------------------

struct form {
    struct buf out;
    struct str boundary;
};

// Not to be found in the file by chance, nor by who has only the file: the store's id is random.
static struct str boundary_of(const struct delivery *delivery, const struct attachment *file)
{
    struct str id = arena_printf(delivery->arena, "%" PRId64, delivery->message->id);
    uint64_t words[3];
    for (size_t i = 0; i < 3; i++) {
        const char nth = (char)('a' + i);
        struct str parts[] = {delivery->store_id, id, file->hash, {&nth, 1}};
        words[i] = hash_strs(parts, sizeof parts / sizeof *parts);
    }
    return arena_printf(delivery->arena, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64, words[0], words[1], words[2]);
}

static void open_field(struct form *form, const char *name)
{
    buf_printf(&form->out, "--%.*s\r\nContent-Disposition: form-data; name=\"%s\"", STR_ARG(form->boundary), name);
}

static void field(struct form *form, const char *name, struct str value)
{
    open_field(form, name);
    buf_add_str(&form->out, STR("\r\n\r\n"));
    buf_add_str(&form->out, value);
    buf_add_str(&form->out, STR("\r\n"));
}

static void number(struct form *form, const char *name, int64_t value)
{
    char digits[STR_I64_SIZE];
    field(form, name, str_of_i64(value, digits));
}

// Within quotes, which not all read with the same escapes: what would need one is replaced.
static struct str quotable(struct str name, struct arena *arena)
{
    size_t n = name.n < NAME_MAX_BYTES ? name.n : NAME_MAX_BYTES;
    while (n < name.n && n > 0 && ((unsigned char)name.p[n] & 0xC0) == 0x80)
        n--;
    char *copy = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        copy[i] = c == '"' ? '\'' : c < ' ' || c == 0x7F || c == '/' || c == '\\' ? '_' : name.p[i];
    }
    return (struct str){copy, n};
}

// As RFC 9110 writes a media type; anything else is bytes.
static struct str type_of(const struct attachment *file)
{
    struct str mime = http_media_type(file->mime);
    size_t slashes = 0;
    for (size_t i = 0; i < mime.n; i++) {
        char c = mime.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c && strchr("!#$&^_.+-/", c));
        slashes += c == '/';
        if (!plain)
            return STR("application/octet-stream");
    }
    return slashes == 1 ? mime : STR("application/octet-stream");
}

static struct str before_file(const struct delivery *delivery, const struct telegram_address *address,
                              struct str boundary)
{
    const struct telegram_sending *sending = delivery->state;
    struct form form = {.boundary = boundary};
    struct str name = sending->file.name.n ? sending->file.name : telegram_file_name(&sending->file, delivery->arena);
    struct str format = delivery->message->format;
    buf_init(&form.out, SIZE_MAX / 2);
    number(&form, "chat_id", address->chat);
    if (address->business.p)
        field(&form, "business_connection_id", address->business);
    if (address->topic_key)
        number(&form, address->topic_key, address->topic);
    if (sending->text.n)
        field(&form, "caption", sending->text);
    if (sending->text.n && format.n && !sending->bare)
        field(&form, "caption_entities", format);
    open_field(&form, sending->method->field);
    buf_add_str(&form.out, STR("; filename=\""));
    buf_add_str(&form.out, quotable(name, delivery->arena));
    buf_add_str(&form.out, STR("\"\r\nContent-Type: "));
    buf_add_str(&form.out, type_of(&sending->file));
    buf_add_str(&form.out, STR("\r\n\r\n"));
    buf_must(&form.out);
    struct str bytes = arena_str(delivery->arena, buf_str(&form.out));
    buf_done(&form.out);
    return bytes;
}

struct http_request telegram_upload(const struct delivery *delivery, const struct telegram_address *address)
{
    enum { PARTS = 3 };
    const struct telegram_sending *sending = delivery->state;
    struct arena *arena = delivery->arena;
    struct str boundary = boundary_of(delivery, &sending->file);
    struct http_request request = telegram_call(delivery->source, sending->method->name, STR_NONE, arena);
    struct http_header *header = arena_of(arena, struct http_header);
    struct http_part *parts = arena_alloc(arena, PARTS * sizeof *parts);
    *header = (struct http_header){STR("content-type"),
                                   ARENA_JOIN(arena, STR("multipart/form-data; boundary="), boundary)};
    parts[0].bytes = before_file(delivery, address, boundary);
    parts[1] = (struct http_part){.file = sending->file.hash, .file_size = sending->file.size};
    parts[2].bytes = ARENA_JOIN(arena, STR("\r\n--"), boundary, STR("--\r\n"));
    request.headers = header;
    request.parts = parts;
    request.part_count = PARTS;
    return request;
}
