// Telegram's Bot API as a source: verifies that a request is Telegram's, and turns updates into events. What
// they say in words is in telegram_kind.c and telegram_message.c; registration and long polling in telegram_keep.c.
//
// An update is one object: `update_id` and one field whose name is its kind. Its chat is the conversation, or the person
// who caused it. Each gives one event; one that no agent needs to read comes as discarded, with the reason.
#include "platform/telegram.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdlib.h>

enum { SECRET_MAX = 256 };

struct str telegram_bot_id(struct str token)
{
    size_t colon = str_index(token, ':', 0);
    if (colon < 1 || colon > 20 || colon + 1 >= token.n)
        return STR_NONE;
    for (size_t i = 0; i < colon; i++)
        if (token.p[i] < '0' || token.p[i] > '9')
            return STR_NONE;
    return str_sub(token, 0, colon);
}

// The characters of secret_token, and of what follows the colon in a token.
static bool is_plain_secret(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') && c != '_' && c != '-')
            return false;
    }
    return text.n > 0;
}

// Reading one update ---------------------------------------------------------------------------------------

// What is common to all kinds.
struct update {
    struct str kind;
    yyjson_val *content;
    yyjson_val *message; // what holds `chat` and the topic: the content itself, or the message of a button
    bool known;          // chat_id is one
    int64_t chat_id;     // of a private chat it is the person's id
    int64_t id;          // of the message, or 0
    int64_t before_id;   // the group that became this supergroup; 0: none
};

// The field beside update_id; of several the first that we know.
static void find_kind(yyjson_val *root, struct update *out)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(root, i, n, key, value)
    {
        enum telegram_use use = telegram_kind_use(json_val_str(key), NULL);
        if (use == TELEGRAM_ENVELOPE || (use == TELEGRAM_UNKNOWN && out->content))
            continue;
        out->kind = json_val_str(key);
        out->content = value;
        if (use != TELEGRAM_UNKNOWN)
            return;
    }
}

static bool find_chat(struct update *update)
{
    update->message = update->content;
    yyjson_val *chat = yyjson_obj_get(update->content, "chat");
    if (!chat) {
        update->message = yyjson_obj_get(update->content, "message");
        chat = yyjson_obj_get(update->message, "chat");
    }
    if (!json_get_int(update->message, "message_id", &update->id))
        update->id = 0;
    update->known = json_get_int(chat, "id", &update->chat_id);
    return update->known;
}

// What happens in no chat is told where its person writes to the bot.
static void find_person(struct update *update)
{
    static const char *const keys[] = {"from", "user", "voter_chat"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys && !update->known; i++)
        update->known = json_get_int(yyjson_obj_get(update->content, keys[i]), "id", &update->chat_id);
}

// A group that becomes a supergroup tells both ids, in the old chat and in the new one.
static void find_migration(struct update *update)
{
    int64_t other;
    if (!telegram_kind_is_message(update->kind))
        return;
    if (json_get_int(update->content, "migrate_to_chat_id", &other) && other) {
        update->before_id = update->chat_id;
        update->chat_id = other;
    } else if (json_get_int(update->content, "migrate_from_chat_id", &other)) {
        update->before_id = other;
    }
}

static struct str conversation_of(const struct update *update, struct arena *arena)
{
    struct str business = telegram_get_text(update->content, "business_connection_id", arena);
    yyjson_val *direct = yyjson_obj_get(update->message, "direct_messages_topic");
    int64_t thread;
    if (!update->known)
        return STR("nobody");
    if (business.n) // the same person may write to the bot, and to several accounts that it works for
        return arena_printf(arena, "%" PRId64 ":business:%.*s", update->chat_id, STR_ARG(business));
    if (json_get_int(direct, "topic_id", &thread)) // its answer names the topic otherwise than a forum's
        return arena_printf(arena, "%" PRId64 ":direct:%" PRId64, update->chat_id, thread);
    if (yyjson_get_bool(yyjson_obj_get(update->message, "is_topic_message")) &&
        json_get_int(update->message, "message_thread_id", &thread))
        return arena_printf(arena, "%" PRId64 ":%" PRId64, update->chat_id, thread);
    return arena_printf(arena, "%" PRId64, update->chat_id);
}

// Anonymous administrators and channels speak as a chat; `from` is then a stand-in user.
static yyjson_val *sender_of(const struct update *update)
{
    static const char *const keys[] = {"sender_chat", "from", "user", "actor_chat", "voter_chat", "chat"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        yyjson_val *sender = yyjson_obj_get(update->content, keys[i]);
        if (yyjson_is_obj(sender))
            return sender;
    }
    return NULL;
}

static void read_people(const struct update *update, struct arena *arena, struct event *out)
{
    yyjson_val *chat = yyjson_obj_get(update->message, "chat");
    yyjson_val *sender = sender_of(update);
    int64_t id;
    if (!str_eq_c(json_get_str(chat, "type"), "private") && update->chat_id < 0) {
        out->conversation_name = telegram_name(chat, arena);
        if (!out->conversation_name.p)
            out->conversation_name = STR("Telegram group");
    }
    out->sender_id = json_get_int(sender, "id", &id) ? arena_printf(arena, "%" PRId64, id) : out->conversation;
    out->sender_name = telegram_name(sender, arena);
}

// "+15550001111" of a number as Telegram's clients write it ("15550001111", "+1 555 000-11-11"); STR_NONE of what is none.
static struct str phone_of(yyjson_val *contact, struct arena *arena)
{
    enum { DIGITS_MIN = 5, DIGITS_MAX = 15 }; // E.164 has at most 15
    struct str said = json_get_str(contact, "phone_number");
    char digits[DIGITS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < said.n; i++) {
        char c = said.p[i];
        if (c >= '0' && c <= '9' && n < DIGITS_MAX)
            digits[n++] = c;
        else if (!(c == '+' && n == 0) && c != ' ' && c != '-' && c != '(' && c != ')')
            return STR_NONE;
    }
    return n < DIGITS_MIN ? STR_NONE : ARENA_JOIN(arena, STR("+"), ((struct str){digits, n}));
}

// Of the customer, in the chat that is theirs. A number only where they share their own: Telegram knows whose it is.
static void read_profile(const struct update *update, struct arena *arena, struct event *out)
{
    yyjson_val *from = yyjson_obj_get(update->content, "from"), *contact = yyjson_obj_get(update->content, "contact");
    struct str type = json_get_str(yyjson_obj_get(update->message, "chat"), "type");
    int64_t id, owner;
    if (!str_eq_c(type, "private") || !json_get_int(from, "id", &id) || id != update->chat_id)
        return;
    out->profile = (struct profile){
        .name = telegram_name(from, arena),
        .username = telegram_get_text(from, "username", arena),
        .language = telegram_get_text(from, "language_code", arena),
    };
    if (json_get_int(contact, "user_id", &owner) && owner == id)
        out->profile.phone = phone_of(contact, arena);
}

static int64_t sent_at_of(const struct update *update, int64_t now_us)
{
    int64_t at_s, at_us;
    if (!json_get_int(update->content, "edit_date", &at_s) && !json_get_int(update->content, "date", &at_s))
        return now_us;
    if (at_s <= 0 || __builtin_mul_overflow(at_s, 1000000, &at_us))
        return now_us;
    return at_us;
}

// Told apart beside update_id: after a quiet week the ids start anew, and might meet an old one.
static uint64_t digest_of(const struct update *update)
{
    char chat[24], id[24];
    struct str own = json_get_str(update->content, "id"); // a button press has an id of its own
    snprintf(chat, sizeof chat, "%" PRId64, update->chat_id);
    snprintf(id, sizeof id, "%" PRId64, update->id);
    struct str parts[] = {update->kind, str_of(chat), str_of(id), own};
    uint64_t digest = hash_strs(parts, sizeof parts / sizeof *parts);
    return digest ? digest : 1;
}

// A key stands twice: the first one is read, but the other might have been meant. Telegram writes no such thing, nor objects of
// more keys than this; where they are, nothing is compared.
static bool has_twins(yyjson_val *object)
{
    enum { KEYS_MAX = 64 };
    yyjson_val *keys[KEYS_MAX], *key, *value;
    size_t i, n;
    if (yyjson_obj_size(object) > KEYS_MAX)
        return true;
    yyjson_obj_foreach(object, i, n, key, value)
    {
        for (size_t before = 0; before < i; before++)
            if (str_eq(json_val_str(keys[before]), json_val_str(key)))
                return true;
        keys[i] = key;
    }
    return false;
}

static bool is_ambiguous(yyjson_val *root, const struct update *update)
{
    yyjson_val *message = update->message;
    return has_twins(root) || has_twins(update->content) || (message != update->content && has_twins(message)) ||
           has_twins(yyjson_obj_get(message, "chat")) || has_twins(sender_of(update));
}

static struct str raw_of(yyjson_val *update, struct arena *arena)
{
    size_t n = 0;
    char *text = yyjson_val_write(update, YYJSON_WRITE_NOFLAG, &n);
    struct str raw = arena_str(arena, (struct str){text, text ? n : 0});
    free(text);
    return raw;
}

static void read_content(const struct update *update, struct arena *arena, struct event *out, bool *out_whole)
{
    struct telegram_words words;
    telegram_kind_words(update->kind, update->content, arena, &words);
    out->text = words.text;
    out->discard = words.discard;
    *out_whole = words.whole;
    if (!update->known && !out->discard) // nobody whom it could be told of
        out->discard = REASON_NO_MEANING;
    if (out->discard) // nobody would look at its files
        return;
    out->attachments = words.files;
    if (words.files.n && !str_starts(update->kind, STR("edited_"))) // an edit is told by itself
        out->album = telegram_get_text(update->content, "media_group_id", arena);
}

enum telegram_reading telegram_read(struct str bot_id, yyjson_val *root, struct str raw, int64_t now_us,
                                    struct arena *arena, struct event *out, struct str *out_press)
{
    struct update update = {0};
    int64_t update_id;
    bool whole;
    *out_press = STR_NONE;
    if (!yyjson_is_obj(root) || !json_get_int(root, "update_id", &update_id))
        return TELEGRAM_MALFORMED;
    find_kind(root, &update);
    if (!find_chat(&update) && telegram_kind_is_message(update.kind))
        return TELEGRAM_MALFORMED; // of these kinds Telegram promises a chat
    if (!update.known)
        find_person(&update);
    find_migration(&update);
    *out = (struct event){
        .dedupe_key = arena_printf(arena, "%.*s:%" PRId64, STR_ARG(bot_id), update_id),
        .digest = digest_of(&update),
        .conversation = conversation_of(&update, arena),
        .sent_at_us = sent_at_of(&update, now_us),
    };
    if (update.before_id && update.before_id != update.chat_id)
        out->migrated_from = arena_printf(arena, "%" PRId64, update.before_id);
    read_people(&update, arena, out);
    read_profile(&update, arena, out);
    read_content(&update, arena, out, &whole);
    if (!whole || is_ambiguous(root, &update))
        out->raw = raw.p ? raw : raw_of(root, arena);
    if (str_eq_c(update.kind, "callback_query"))
        *out_press = telegram_get_text(update.content, "id", arena);
    return TELEGRAM_EVENT;
}

void telegram_read_anyhow(struct str bot_id, yyjson_val *root, int64_t now_us, struct arena *arena, struct event *out,
                          struct str *out_press)
{
    int64_t update_id;
    if (telegram_read(bot_id, root, STR_NONE, now_us, arena, out, out_press) == TELEGRAM_EVENT)
        return;
    struct str raw = raw_of(root, arena);
    *out = (struct event){
        .conversation = STR("unreadable"),
        .sender_id = STR("unreadable"),
        .text = STR("(Telegram: an update that could not be read)"),
        .raw = raw,
        .sent_at_us = now_us,
    };
    if (json_get_int(root, "update_id", &update_id))
        out->dedupe_key = arena_printf(arena, "%.*s:%" PRId64, STR_ARG(bot_id), update_id);
    else
        out->dedupe_key = arena_printf(arena, "%.*s:raw:%016" PRIx64, STR_ARG(bot_id), hash_str(raw));
}

struct str telegram_base(const struct source *source)
{
    return source->api_url.n ? source->api_url : str_of(platform_telegram.api_url);
}

struct http_request telegram_call(const struct source *source, const char *method, struct str body, struct arena *arena)
{
    static const struct http_header headers[] = {{STR("content-type"), STR("application/json")}};
    struct str base = telegram_base(source);
    return (struct http_request){
        .method = STR("POST"),
        .target = arena_printf(arena, "%.*s/bot%.*s/%s", STR_ARG(base), STR_ARG(source->token), method),
        .headers = headers,
        .header_count = 1,
        .body = body,
    };
}

// The connector -------------------------------------------------------------------------------------------

static bool is_from_telegram(const struct source *source, const struct http_request *request)
{
    static const char name[] = "X-Telegram-Bot-Api-Secret-Token";
    struct str secret = source_secret(source);
    if (!secret.n || http_header_count(request->headers, request->header_count, name) != 1)
        return false;
    return str_eq_secret(secret, http_header_get(request->headers, request->header_count, name));
}

static void read_body(const struct source *source, struct str body, int64_t now_us, struct arena *arena,
                      struct receipt *out)
{
    struct event *event = arena_of(arena, struct event);
    yyjson_read_err err = {0};
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)body.p, body.n, YYJSON_READ_NOFLAG, NULL, &err);
    struct str press = STR_NONE;
    enum telegram_reading reading = TELEGRAM_MALFORMED;
    if (doc)
        reading = telegram_read(telegram_bot_id(source->token), yyjson_doc_get_root(doc), body, now_us, arena, event,
                                &press);
    if (reading == TELEGRAM_MALFORMED) {
        out->kind = err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? RECEIPT_NO_MEMORY : RECEIPT_MALFORMED;
        out->why = doc ? STR("not an update: one JSON object with a whole number as update_id, and a chat id in "
                             "its message")
                       : STR("the body is not JSON");
    }
    if (reading == TELEGRAM_EVENT) {
        out->events = event;
        out->event_count = 1;
        if (press.n) // Telegram carries out what its webhook answers
            out->answer = telegram_press_answer(press, "answerCallbackQuery", arena);
    }
    yyjson_doc_free(doc);
}

static void telegram_receive(const struct source *source, const struct http_request *request, int64_t now_us,
                             struct arena *arena, struct receipt *out)
{
    struct str type = http_header_get(request->headers, request->header_count, "content-type");
    *out = (struct receipt){.kind = RECEIPT_OK};
    if (!is_from_telegram(source, request))
        *out = (struct receipt){.kind = RECEIPT_FORGED, .why = STR("the secret token is missing or wrong")};
    else if (!str_ieq_c(http_media_type(type), "application/json"))
        *out = (struct receipt){.kind = RECEIPT_BAD_TYPE, .why = STR("the content type must be application/json")};
    else
        read_body(source, request->body, now_us, arena, out);
}

static const char *telegram_check(const struct source *source, struct arena *arena)
{
    (void)arena;
    struct str bot_id = telegram_bot_id(source->token);
    if (!source->token.p)
        return "a telegram source needs a token, as @BotFather gives it";
    if (!bot_id.p || !is_plain_secret(str_sub(source->token, bot_id.n + 1, source->token.n)))
        return "token must be a bot's, as @BotFather gives it: digits, a colon, letters and digits";
    if (source->secret.p && (!is_plain_secret(source->secret) || source->secret.n > SECRET_MAX))
        return "secret must be 1 to 256 characters of A-Z a-z 0-9 _ -; leave it out and one is made";
    if (str_eq_c(source->secret, "none"))
        return "a telegram source cannot go without a secret; leave it out and one is made";
    if (source->api_url.p && !str_starts(source->api_url, STR("https://")) &&
        !str_starts(source->api_url, STR("http://")))
        return "api_url must begin with https:// or http://";
    return NULL;
}

static struct str telegram_identity(const struct source *source, struct arena *arena)
{
    struct str bot_id = telegram_bot_id(source->token);
    return bot_id.p ? arena_printf(arena, "telegram:%.*s", STR_ARG(bot_id)) : STR_NONE;
}

static struct str telegram_customer(struct str conversation)
{
    return str_sub(conversation, 0, str_index(conversation, ':', 0));
}

const struct platform platform_telegram = {
    .name = "telegram",
    .check = telegram_check,
    .api_url = "https://api.telegram.org",
    .identity = telegram_identity,
    .customer = telegram_customer,
    .receive = telegram_receive,
    .keep = telegram_keep,
    .ask = telegram_ask,
    .fetch_file = telegram_fetch,
    .fetch_avatar = telegram_fetch_avatar,
    .receiver = &telegram_receiver,
    .compose = telegram_compose,
    .takes_files = true,
    .takes_acts = true,
};
