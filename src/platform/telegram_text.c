// What a Telegram update says, in words for an agent: a text as it stands, an edit marked, anything else as one
// readable line in brackets, with the caption behind it.
#include "platform/telegram.h"

#include <string.h>

// Contents that have a word of their own, in the order in which they count: Telegram sets `document` beside
// `animation`, `photo` beside `live_photo`, `location` beside `venue`.
static const struct content {
    const char *key, *word;
    const char *detail; // a text within it that says more; NULL = none
} contents[] = {
    {"animation", "animation", "file_name"},
    {"live_photo", "photo", NULL},
    {"photo", "photo", NULL},
    {"video", "video", "file_name"},
    {"video_note", "video message", NULL},
    {"voice", "voice message", NULL},
    {"audio", "audio", "title"},
    {"document", "file", "file_name"},
    {"sticker", "sticker", "emoji"},
    {"venue", "place", "title"},
    {"location", "location", NULL},
    {"contact", "contact", "phone_number"},
    {"poll", "poll", "question"},
    {"dice", "dice", "emoji"},
    {"story", "story", NULL},
};

// What stands around the content of every message.
static const char *const envelope[] = {
    "message_id",
    "message_thread_id",
    "direct_messages_topic",
    "from",
    "sender_chat",
    "sender_boost_count",
    "sender_business_bot",
    "sender_tag",
    "date",
    "guest_query_id",
    "business_connection_id",
    "chat",
    "forward_origin",
    "is_topic_message",
    "is_automatic_forward",
    "reply_to_message",
    "external_reply",
    "quote",
    "reply_to_story",
    "reply_to_checklist_task_id",
    "reply_to_poll_option_id",
    "via_bot",
    "guest_bot_caller_user",
    "guest_bot_caller_chat",
    "edit_date",
    "has_protected_content",
    "is_from_offline",
    "is_paid_post",
    "media_group_id",
    "author_signature",
    "paid_star_count",
    "caption",
    "caption_entities",
    "show_caption_above_media",
    "has_media_spoiler",
    "effect_id",
    "reply_markup",
};

// Beside a text these say something that the text does not.
static const char *const beside_text[] = {"forward_origin", "reply_to_message", "external_reply", "quote",
                                          "reply_to_story"};

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
    text = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return text;
}

static bool is_in(const char *const *names, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq_c(name, names[i]))
            return true;
    return false;
}

// The key of what a message of an unknown sort holds; "message" when it holds nothing.
static struct str unknown_content(yyjson_val *message)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(message, i, n, key, value)
    {
        if (!is_in(envelope, sizeof envelope / sizeof *envelope, json_val_str(key)))
            return json_val_str(key);
    }
    return STR("message");
}

static struct str location_words(yyjson_val *location, struct arena *arena)
{
    yyjson_val *latitude = yyjson_obj_get(location, "latitude"), *longitude = yyjson_obj_get(location, "longitude");
    if (!yyjson_is_num(latitude) || !yyjson_is_num(longitude))
        return STR("(location)");
    return arena_printf(arena, "(location: %.6f, %.6f)", yyjson_get_num(latitude), yyjson_get_num(longitude));
}

static struct str content_words(yyjson_val *message, struct arena *arena)
{
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        yyjson_val *content = yyjson_obj_get(message, contents[i].key);
        if (!content)
            continue;
        if (strcmp(contents[i].key, "location") == 0)
            return location_words(content, arena);
        struct str detail = STR_NONE;
        if (contents[i].detail)
            detail = telegram_text(yyjson_obj_get(content, contents[i].detail), arena);
        if (detail.n)
            return arena_printf(arena, "(%s: %.*s)", contents[i].word, STR_ARG(detail));
        return arena_printf(arena, "(%s)", contents[i].word);
    }
    struct str key = arena_str(arena, unknown_content(message));
    return arena_printf(arena, "(Telegram: %.*s)", STR_ARG(key));
}

static struct str message_words(yyjson_val *message, struct arena *arena, bool *out_whole)
{
    struct str text = telegram_text(yyjson_obj_get(message, "text"), arena);
    *out_whole = text.p != NULL;
    for (size_t i = 0; i < sizeof beside_text / sizeof *beside_text; i++)
        *out_whole = *out_whole && !yyjson_obj_get(message, beside_text[i]);
    if (text.p)
        return text;
    struct str caption = telegram_text(yyjson_obj_get(message, "caption"), arena);
    struct str words = content_words(message, arena);
    if (caption.n)
        words = arena_printf(arena, "%.*s %.*s", STR_ARG(words), STR_ARG(caption));
    return words;
}

static struct str member_words(yyjson_val *change)
{
    yyjson_val *chat = yyjson_obj_get(change, "chat");
    struct str status = json_get_str(yyjson_obj_get(change, "new_chat_member"), "status");
    if (!str_eq_c(json_get_str(chat, "type"), "private"))
        return STR_NONE;
    if (str_eq_c(status, "kicked"))
        return STR("(blocked the bot)");
    return str_eq_c(status, "member") ? STR("(unblocked the bot)") : STR_NONE;
}

struct str telegram_words(struct str kind, yyjson_val *content, struct arena *arena, bool *out_whole)
{
    bool edited = str_starts(kind, STR("edited_"));
    struct str words = STR_NONE;
    *out_whole = false;
    if (str_ends(kind, STR("message")) || str_ends(kind, STR("channel_post"))) {
        words = message_words(content, arena, out_whole);
        return edited ? arena_printf(arena, "(edited) %.*s", STR_ARG(words)) : words;
    }
    if (str_eq_c(kind, "callback_query")) {
        struct str data = telegram_text(yyjson_obj_get(content, "data"), arena);
        if (data.n)
            words = arena_printf(arena, "(pressed a button: %.*s)", STR_ARG(data));
    } else if (str_eq_c(kind, "my_chat_member")) {
        words = member_words(content);
    }
    return words.p ? words : arena_printf(arena, "(Telegram: %.*s)", STR_ARG(kind));
}
