// What bots send, change and delete, with the real server's words for what it refuses.
#include "sandbox/telegram.h"

#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_TEXT = 4096, MAX_CAPTION = 1024, MAX_PHOTO = 10 << 20, MAX_UPLOAD = 50 << 20, MAX_SIDES = 10000 };

// ---- texts and their entities ----

struct sending {
    struct telegram_chat *chat;
    struct str text, entities;
    int64_t thread_id;
};

static size_t utf16_units(unsigned char first)
{
    return (first & 0xC0) == 0x80 ? 0 : first >= 0xF0 ? 2 : 1;
}

static size_t utf16_length(struct str text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += utf16_units((unsigned char)text.p[i]);
    return n;
}

// Whether `at`, in UTF-16 units, lies between two characters of the text, or at one of its ends.
static bool is_boundary(struct str text, int64_t at)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.n && n < at; i++)
        n += (int64_t)utf16_units((unsigned char)text.p[i]);
    return n == at;
}

static bool is_entity_type(struct str type)
{
    static const char *const types[] = {"mention",
                                        "hashtag",
                                        "cashtag",
                                        "bot_command",
                                        "url",
                                        "email",
                                        "phone_number",
                                        "bold",
                                        "italic",
                                        "underline",
                                        "strikethrough",
                                        "code",
                                        "pre",
                                        "spoiler",
                                        "custom_emoji",
                                        "text_link",
                                        "text_mention",
                                        "blockquote",
                                        "expandable_blockquote",
                                        "date_time"};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (str_eq_c(type, types[i]))
            return true;
    return false;
}

// What is wrong with an entity of the text, or NULL.
static const char *wrong_entity(yyjson_val *entity, struct str text)
{
    int64_t offset = 0, length = 0;
    struct str type = json_get_str(entity, "type");
    if (!is_entity_type(type))
        return "Bad Request: can't parse MessageEntity: Unsupported type specified";
    if (!json_get_int(entity, "offset", &offset) || !json_get_int(entity, "length", &length))
        return "Bad Request: can't parse MessageEntity: Field \"offset\" or \"length\" must be of type Number";
    if (offset < 0 || length <= 0 || length > MAX_TEXT || !is_boundary(text, offset) ||
        !is_boundary(text, offset + length))
        return "Bad Request: can't parse MessageEntity: it does not lie within the text";
    if (str_eq_c(type, "text_link") && !json_get_str(entity, "url").n)
        return "Bad Request: can't parse MessageEntity: Can't find field \"url\"";
    return NULL;
}

static const char *wrong_entities(const struct sending *sending)
{
    if (!sending->entities.p)
        return NULL;
    yyjson_doc *doc = json_read(sending->entities);
    yyjson_val *list = yyjson_doc_get_root(doc), *each;
    const char *why = yyjson_is_arr(list) ? NULL : "Bad Request: can't parse entities: Expected an Array";
    size_t i, n;
    yyjson_arr_foreach(list, i, n, each)
    {
        if (!why)
            why = wrong_entity(each, sending->text);
    }
    yyjson_doc_free(doc);
    return why;
}

// What is wrong with a text or caption, or NULL.
static const char *wrong_words(struct call *call, const struct sending *sending, size_t max)
{
    if (utf16_length(sending->text) > max)
        return max == MAX_TEXT ? "Bad Request: message is too long" : "Bad Request: message caption is too long";
    if (telegram_param(call, "parse_mode").n > 0) // the stand-in reads no markup: what would arrive it cannot say
        return "Bad Request: unsupported parse_mode";
    return wrong_entities(sending);
}

static const char *wrong_text(struct call *call, const struct sending *sending)
{
    if (str_trim(sending->text).n == 0)
        return "Bad Request: message text is empty";
    return wrong_words(call, sending, MAX_TEXT);
}

static const char *shut_out(const struct telegram_chat *chat)
{
    if (strcmp(chat->type, "private") == 0)
        return "Forbidden: bot was blocked by the user";
    return strcmp(chat->type, "group") == 0 ? "Forbidden: bot was kicked from the group chat"
                                            : "Forbidden: bot was kicked from the supergroup chat";
}

// `next_us`: when one more is in pace if nothing comes at once; up to `burst` may.
static int64_t early_us(int64_t next_us, int64_t pace_us, int64_t burst, int64_t now_us)
{
    int64_t early = next_us - (burst - 1) * pace_us - now_us;
    return pace_us > 0 && early > 0 ? early : 0;
}

// How long a message to the chat has to wait by the limits; 0: not at all, and it is counted.
static int64_t wait_for_pace_us(struct telegram_chat *chat)
{
    struct telegram_bot *bot = chat->bot;
    const struct telegram_limits *limits = &bot->telegram->limits;
    int64_t now_us = clock_wall_us(&clock_system), chat_us = limits->chat_ms * 1000;
    int64_t bot_us = limits->bot_per_s ? 1000000 / limits->bot_per_s : 0;
    int64_t chat_wait = early_us(chat->next_us, chat_us, limits->chat_burst, now_us);
    int64_t bot_wait = early_us(bot->next_us, bot_us, limits->bot_per_s, now_us);
    if (chat_wait > 0 || bot_wait > 0)
        return chat_wait > bot_wait ? chat_wait : bot_wait;
    chat->next_us = (chat->next_us > now_us ? chat->next_us : now_us) + chat_us;
    bot->next_us = (bot->next_us > now_us ? bot->next_us : now_us) + bot_us;
    return 0;
}

// ---- what was sent ----

static void note(struct journal *journal, const struct telegram_chat *chat, const struct telegram_message *message,
                 const char *kind)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    struct json json = {.out = &text};
    if (kind)
        json_key_str(&json, "kind", str_of(kind));
    json_key_int(&json, "bot", chat->bot->id);
    json_key_int(&json, "chat_id", chat->id);
    json_key_int(&json, "message_id", message->id);
    json_key_str(&json, "text", message->text);
    json_key(&json, "entities");
    json_raw(&json, message->entities.p ? message->entities : STR("[]"));
    json_key_int(&json, "message_thread_id", message->thread_id);
    telegram_media_show(&json, &message->media);
    journal_add(journal, clock_wall_us(&clock_system), buf_str(&text));
    buf_done(&text);
}

static void write_words(struct json *json, const struct telegram_message *message)
{
    bool caption = message->media.kind != NULL;
    if (caption)
        telegram_media_write(json, &message->media);
    if (caption && message->text.n == 0)
        return;
    json_key_str(json, caption ? "caption" : "text", message->text);
    if (message->entities.p) {
        json_key(json, caption ? "caption_entities" : "entities");
        json_raw(json, message->entities);
    }
}

static void answer_message(struct call *call, const struct telegram_chat *chat, const struct telegram_message *message)
{
    struct buf text;
    struct json json;
    telegram_begin(&text, &json);
    json_open(&json, '{');
    json_key_int(&json, "message_id", message->id);
    json_key(&json, "from");
    json_open(&json, '{');
    telegram_write_bot(&json, chat->bot);
    json_close(&json, '}');
    json_key(&json, "chat");
    json_open(&json, '{');
    json_key_int(&json, "id", chat->id);
    json_key_str(&json, "type", str_of(chat->type));
    json_key_str(&json, strcmp(chat->type, "private") == 0 ? "first_name" : "title", chat->name);
    json_close(&json, '}');
    json_key_int(&json, "date", message->date);
    if (message->edited)
        json_key_int(&json, "edit_date", telegram_now());
    write_words(&json, message);
    if (message->thread_id) {
        json_key_int(&json, "message_thread_id", message->thread_id);
        json_key_bool(&json, "is_topic_message", true);
    }
    json_close(&json, '}');
    telegram_end(call, &text, &json);
}

// The chat that is asked for; NULL after an answer.
static struct telegram_chat *asked_chat(struct asked *asked)
{
    struct call *call = asked->call;
    struct telegram_chat *chat = telegram_chat_find(asked->bot, telegram_param_int(call, "chat_id", 0));
    if (!telegram_param(call, "chat_id").p)
        telegram_error(call, 400, "Bad Request: chat_id is empty", -1);
    else if (!chat)
        telegram_error(call, 400, "Bad Request: chat not found", -1);
    else if (chat->migrated_to)
        telegram_failure(call, 400, "Bad Request: group chat was upgraded to a supergroup chat", "migrate_to_chat_id",
                         chat->migrated_to);
    else
        return chat;
    return NULL;
}

// True: it may be said now, and is counted. False after an answer. `wrong`: what is wrong with it, or NULL.
static bool may_send(struct asked *asked, const struct sending *sending, const char *wrong)
{
    int64_t wait_us = 0;
    if (!wrong && sending->thread_id && strcmp(sending->chat->type, "supergroup") != 0)
        wrong = "Bad Request: message thread not found";
    if (wrong)
        telegram_error(asked->call, 400, wrong, -1);
    else if (sending->chat->blocked)
        telegram_error(asked->call, 403, shut_out(sending->chat), -1);
    else if ((wait_us = wait_for_pace_us(sending->chat)) > 0)
        telegram_refuse(asked->bot->telegram, asked->call, 429, (wait_us + 999999) / 1000000);
    else
        return true;
    return false;
}

static struct sending read_sending(struct call *call, struct telegram_chat *chat, const char *text,
                                   const char *entities)
{
    return (struct sending){chat, telegram_param(call, text), telegram_param(call, entities),
                            telegram_param_int(call, "message_thread_id", 0)};
}

static void said(struct asked *asked, const struct sending *sending, struct telegram_media *media)
{
    struct str text = sending->text.p ? sending->text : STR("");
    struct telegram_message *message = telegram_bot_says(sending->chat, text, sending->entities, sending->thread_id);
    if (media)
        message->media = *media;
    note(asked->bot->telegram->sent, sending->chat, message, NULL);
    answer_message(asked->call, sending->chat, message);
}

void telegram_send_message(struct asked *asked)
{
    struct telegram_chat *chat = asked_chat(asked);
    if (!chat)
        return;
    struct sending sending = read_sending(asked->call, chat, "text", "entities");
    if (may_send(asked, &sending, wrong_text(asked->call, &sending)))
        said(asked, &sending, NULL);
}

// ---- files ----

// What is to be sent: a part of the form, or the file_id of a file that is known.
struct source {
    const struct multipart_part *part;
    struct str file_id;
};

static const char *find_source(struct asked *asked, const char *kind, struct source *out)
{
    const struct multipart *form = asked->call->form;
    const struct multipart_part *part = form ? multipart_find(form, str_of(kind)) : NULL;
    struct str text = telegram_param(asked->call, kind);
    if (part && !part->filename.p && str_starts(text, STR("attach://")))
        part = multipart_find(form, str_sub(text, strlen("attach://"), text.n));
    if (part && part->filename.p)
        out->part = part;
    else if (text.n == 0)
        return arena_printf(asked->call->arena, "Bad Request: there is no %s in the request", kind).p;
    else if (str_starts(text, STR("http://")) || str_starts(text, STR("https://")))
        return "Bad Request: failed to get HTTP URL content"; // the stand-in fetches nothing
    else
        out->file_id = text;
    return NULL;
}

static const char *wrong_picture(struct str bytes)
{
    struct str type = file_type(bytes);
    int64_t width = 1, height = 1;
    if (!str_starts(type, STR("image/")))
        return "Bad Request: IMAGE_PROCESS_FAILED";
    if (file_picture_size(bytes, &width, &height) &&
        (width + height > MAX_SIDES || width > 20 * height || height > 20 * width))
        return "Bad Request: PHOTO_INVALID_DIMENSIONS";
    return NULL;
}

static const char *wrong_upload(struct call *call, const char *kind, struct str bytes)
{
    if (bytes.n == 0)
        return "Bad Request: file must be non-empty";
    if (strcmp(kind, "photo") != 0)
        return NULL;
    if (bytes.n > MAX_PHOTO)
        return arena_printf(call->arena,
                            "Bad Request: file of size %zu bytes is too big for a photo; the maximum size is %d bytes",
                            bytes.n, (int)MAX_PHOTO)
            .p;
    return wrong_picture(bytes);
}

// What is not what its method is for comes as a document, as it does at the real server.
static const char *kind_made(const char *kind, struct str bytes)
{
    static const struct {
        const char *kind, *type;
    } fits[] = {{"voice", "audio/ogg"},     {"voice", "audio/mpeg"},   {"voice", "audio/mp4"},
                {"audio", "audio/mpeg"},    {"audio", "audio/mp4"},    {"video", "video/mp4"},
                {"animation", "image/gif"}, {"animation", "video/mp4"}};
    struct str type = file_type(bytes);
    if (strcmp(kind, "photo") == 0)
        return kind;
    for (size_t i = 0; i < sizeof(fits) / sizeof(*fits); i++)
        if (strcmp(kind, fits[i].kind) == 0 && str_eq_c(type, fits[i].type))
            return kind;
    return "document";
}

static void send_upload(struct asked *asked, const char *kind, const struct sending *sending,
                        const struct multipart_part *part)
{
    struct telegram_media media = {0};
    const struct telegram_sends sends = {.kind = kind_made(kind, part->bytes),
                                         .bytes = part->bytes,
                                         .name = part->filename,
                                         .mime = part->type,
                                         .size = (int64_t)part->bytes.n};
    telegram_media_make(asked->bot->telegram, &media, &sends);
    said(asked, sending, &media);
}

static void send_file(struct asked *asked, const char *kind)
{
    struct telegram_chat *chat = asked_chat(asked);
    struct source source = {0};
    if (!chat)
        return;
    struct sending sending = read_sending(asked->call, chat, "caption", "caption_entities");
    const char *wrong = find_source(asked, kind, &source);
    struct telegram_media media = {0};
    if (source.part && source.part->bytes.n > MAX_UPLOAD) {
        telegram_error(asked->call, 413, "Request Entity Too Large", -1);
        return;
    }
    if (!wrong)
        wrong = source.part ? wrong_upload(asked->call, kind, source.part->bytes) : NULL;
    if (!wrong)
        wrong = wrong_words(asked->call, &sending, MAX_CAPTION);
    if (!wrong && !source.part && !telegram_media_again(asked->bot->telegram, &media, kind, source.file_id))
        wrong = "Bad Request: wrong file identifier/HTTP URL specified";
    if (!may_send(asked, &sending, wrong))
        telegram_media_free(&media);
    else if (source.part)
        send_upload(asked, kind, &sending, source.part);
    else
        said(asked, &sending, &media);
}

void telegram_send_photo(struct asked *asked)
{
    send_file(asked, "photo");
}

void telegram_send_document(struct asked *asked)
{
    send_file(asked, "document");
}

void telegram_send_voice(struct asked *asked)
{
    send_file(asked, "voice");
}

void telegram_send_audio(struct asked *asked)
{
    send_file(asked, "audio");
}

void telegram_send_video(struct asked *asked)
{
    send_file(asked, "video");
}

void telegram_send_animation(struct asked *asked)
{
    send_file(asked, "animation");
}

// ---- changed and deleted ----

static const char *wrong_change(const struct telegram_message *message, const struct sending *to, bool caption)
{
    if (!message)
        return "Bad Request: message to edit not found";
    if (!message->from_bot)
        return "Bad Request: message can't be edited";
    if (!caption && message->media.kind)
        return "Bad Request: there is no text in the message to edit";
    if (caption && !message->media.kind)
        return "Bad Request: there is no caption in the message to edit";
    if (str_eq(message->text, to->text) && str_eq(message->entities, to->entities))
        return "Bad Request: message is not modified: specified new message content and reply markup are exactly the "
               "same as a current content and reply markup of the message";
    return NULL;
}

static void change(struct asked *asked, bool caption)
{
    struct telegram_chat *chat = asked_chat(asked);
    if (!chat)
        return;
    struct sending to = read_sending(asked->call, chat, caption ? "caption" : "text",
                                     caption ? "caption_entities" : "entities");
    struct telegram_message *message = telegram_message_find(chat, telegram_param_int(asked->call, "message_id", 0));
    const char *wrong = caption ? wrong_words(asked->call, &to, MAX_CAPTION) : wrong_text(asked->call, &to);
    if (!wrong)
        wrong = wrong_change(message, &to, caption);
    if (!may_send(asked, &(struct sending){.chat = chat}, wrong))
        return;
    telegram_bot_edits(chat, message, to.text.p ? to.text : STR(""), to.entities);
    note(asked->bot->telegram->changed, chat, message, "edit");
    answer_message(asked->call, chat, message);
}

void telegram_edit_text(struct asked *asked)
{
    change(asked, false);
}

void telegram_edit_caption(struct asked *asked)
{
    change(asked, true);
}

static bool is_old(const struct telegram_message *message)
{
    return clock_wall_us(&clock_system) - message->at_us > INT64_C(48) * 3600 * 1000000;
}

void telegram_delete_message(struct asked *asked)
{
    struct telegram_chat *chat = asked_chat(asked);
    if (!chat)
        return;
    struct telegram_message *message = telegram_message_find(chat, telegram_param_int(asked->call, "message_id", 0));
    const char *wrong = !message ? "Bad Request: message to delete not found"
                        : is_old(message) || (!message->from_bot && strcmp(chat->type, "private") != 0)
                            ? "Bad Request: message can't be deleted"
                            : NULL;
    if (!may_send(asked, &(struct sending){.chat = chat}, wrong))
        return;
    note(asked->bot->telegram->changed, chat, message, "delete");
    telegram_bot_deletes(chat, message);
    telegram_true(asked->call, NULL);
}
