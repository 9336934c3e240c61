// The methods of the Bot API that the stand-in knows, with the real server's words for what it refuses.
// Parameters come as JSON, as a form or in the query; all of them are text here, lists and objects as JSON text.
#include "sandbox/telegram.h"

#include "base/clock.h"
#include "base/log.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { MAX_TEXT = 4096, DEFAULT_CONNECTIONS = 40, MAX_POLL_S = 50, MAX_UPDATES = 100 };

struct asked {
    struct call *call;
    struct telegram_bot *bot;
};

// ---- parameters ----

static struct str json_text(struct call *call, yyjson_val *value)
{
    if (yyjson_is_str(value))
        return json_val_str(value);
    size_t n = 0;
    char *text = yyjson_val_write(value, 0, &n);
    struct str copy = arena_str(call->arena, (struct str){text, n});
    free(text);
    return copy;
}

// The parameter as text, or STR_NONE.
static struct str param(struct call *call, const char *name)
{
    yyjson_val *value = yyjson_obj_get(call->body, name);
    if (value && !yyjson_is_null(value))
        return json_text(call, value);
    struct str type = http_media_type(call_request_header(call, "content-type"));
    struct str text = STR_NONE;
    if (str_ieq_c(type, "application/x-www-form-urlencoded"))
        text = http_query_get(call->arena, call->request->body, name);
    return text.p ? text : call_query(call, name);
}

static int64_t param_int(struct call *call, const char *name, int64_t otherwise)
{
    int64_t n = otherwise;
    return str_to_i64(param(call, name), &n) ? n : otherwise;
}

static bool param_bool(struct call *call, const char *name)
{
    struct str text = param(call, name);
    return str_ieq_c(text, "true") || str_eq_c(text, "1") || str_ieq_c(text, "yes");
}

// ---- answers ----

// `parameter` and its value go into "parameters"; NULL: there are none.
static void answer_failure(struct call *call, int code, const char *description, const char *parameter, int64_t value)
{
    struct buf text;
    buf_init(&text, 4096);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_bool(&json, "ok", false);
    json_key_int(&json, "error_code", code);
    json_key_str(&json, "description", str_of(description));
    if (parameter) {
        json_key(&json, "parameters");
        json_open(&json, '{');
        json_key_int(&json, parameter, value);
        json_close(&json, '}');
    }
    json_close(&json, '}');
    call_answer_buf(call, code, &text);
}

// retry_after_s below 0: not said.
static void answer_error(struct call *call, int code, const char *description, int64_t retry_after_s)
{
    if (retry_after_s >= 0)
        call_header(call, "Retry-After", arena_printf(call->arena, "%" PRId64, retry_after_s));
    answer_failure(call, code, description, retry_after_s >= 0 ? "retry_after" : NULL, retry_after_s);
}

static void answer_true(struct call *call, const char *description)
{
    struct buf text;
    buf_init(&text, 4096);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_bool(&json, "ok", true);
    json_key_bool(&json, "result", true);
    if (description)
        json_key_str(&json, "description", str_of(description));
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

// {"ok":true,"result": ... } : begin, write the result, end.
static void result_begin(struct buf *text, struct json *json)
{
    buf_init(text, CALL_ANSWER_MAX);
    *json = (struct json){.out = text};
    json_open(json, '{');
    json_key_bool(json, "ok", true);
    json_key(json, "result");
}

static void result_end(struct call *call, struct buf *text, struct json *json)
{
    json_close(json, '}');
    call_answer_buf(call, 200, text);
}

void telegram_refuse(void *arg, struct call *call, int status, int64_t retry_after_s)
{
    (void)arg;
    if (status == 429) {
        int64_t wait_s = retry_after_s >= 0 ? retry_after_s : 1;
        answer_error(call, 429, arena_printf(call->arena, "Too Many Requests: retry after %" PRId64, wait_s).p, wait_s);
        return;
    }
    answer_error(call, status, http_status_text(status), retry_after_s);
}

// ---- updates by polling ----

static void answer_updates(struct telegram_bot *bot, struct call *call, int64_t offset, int64_t limit)
{
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    buf_printf(&text, "{\"ok\":true,\"result\":[");
    int64_t n = 0;
    for (struct telegram_update *update = bot->waiting; update && n < limit; update = update->bot_next) {
        if (offset > 0 && update->id < offset)
            continue;
        if (n++ > 0)
            buf_add_char(&text, ',');
        telegram_update_write(update, &text);
        update->attempts++;
    }
    buf_printf(&text, "]}");
    call_answer_buf(call, 200, &text);
}

// What lies before the offset is confirmed, in the order of creation. Returns the offset that counts from here on.
static int64_t confirm(struct telegram_bot *bot, int64_t offset)
{
    if (offset < 0) { // from the end: what lies before is forgotten
        int64_t skip = bot->waiting_count + offset;
        while (skip-- > 0)
            telegram_settle(bot->waiting, TELEGRAM_CONFIRMED);
        return 0;
    }
    // Of another time: the ids have jumped since. The real server then begins at the oldest.
    if (offset > bot->next_update_id)
        return 0;
    for (struct telegram_update *update = bot->waiting, *next; update; update = next) {
        next = update->bot_next;
        if (update->id < offset)
            telegram_settle(update, TELEGRAM_CONFIRMED);
    }
    return offset;
}

static bool has_update(const struct telegram_bot *bot, int64_t offset)
{
    for (const struct telegram_update *update = bot->waiting; update; update = update->bot_next)
        if (update->id >= offset)
            return true;
    return false;
}

void telegram_poll_wake(struct telegram_bot *bot)
{
    struct call *call = bot->poll;
    if (!call || !has_update(bot, bot->poll_offset))
        return;
    bot->poll = NULL;
    call->state = NULL;
    loop_timer_clear(bot->poll_timer);
    answer_updates(bot, call, bot->poll_offset, bot->poll_limit);
}

void telegram_poll_end(struct telegram_bot *bot, const char *why)
{
    struct call *call = bot->poll;
    if (!call)
        return;
    bot->poll = NULL;
    call->state = NULL;
    loop_timer_clear(bot->poll_timer);
    answer_error(call, 409, why, -1);
}

static void take_allowed_updates(struct call *call, struct telegram_bot *bot)
{
    struct str text = param(call, "allowed_updates");
    if (!text.p)
        return;
    yyjson_doc *doc = json_read(text);
    yyjson_val *list = yyjson_doc_get_root(doc);
    if (yyjson_is_arr(list)) {
        if (yyjson_arr_size(list) > 0)
            own_again(&bot->allowed, text);
        else
            disown(&bot->allowed);
    }
    yyjson_doc_free(doc);
}

static void get_updates(struct asked *asked)
{
    struct telegram_bot *bot = asked->bot;
    struct call *call = asked->call;
    if (bot->url.p) {
        answer_error(
            call, 409,
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            -1);
        return;
    }
    telegram_poll_end(
        bot, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running");
    int64_t limit = param_int(call, "limit", MAX_UPDATES);
    int64_t timeout_s = param_int(call, "timeout", 0);
    bot->used = true;
    take_allowed_updates(call, bot);
    bot->poll_offset = confirm(bot, param_int(call, "offset", 0));
    bot->poll_limit = limit >= 1 && limit <= MAX_UPDATES ? limit : MAX_UPDATES;
    if (timeout_s <= 0 || has_update(bot, bot->poll_offset)) {
        answer_updates(bot, call, bot->poll_offset, bot->poll_limit);
        return;
    }
    bot->poll = call;
    call->state = bot;
    loop_timer_set(bot->poll_timer, (timeout_s < MAX_POLL_S ? timeout_s : MAX_POLL_S) * 1000);
}

// ---- the webhook ----

static const char *bad_secret(struct str secret)
{
    if (secret.n > 256)
        return "Bad Request: secret token is too long";
    for (size_t i = 0; i < secret.n; i++) {
        char c = secret.p[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        if (!good)
            return "Bad Request: secret token contains illegal characters";
    }
    return NULL;
}

static void drop_pending(struct telegram_bot *bot)
{
    while (bot->waiting)
        telegram_settle(bot->waiting, TELEGRAM_DROPPED);
}

static void remove_webhook(struct call *call, struct telegram_bot *bot)
{
    bool was_set = bot->url.p != NULL;
    if (param_bool(call, "drop_pending_updates"))
        drop_pending(bot);
    disown(&bot->url);
    disown(&bot->secret);
    disown(&bot->last_error);
    bot->last_error_date = 0;
    live_changed(bot->telegram->door->live);
    answer_true(call, was_set ? "Webhook was deleted" : "Webhook is already deleted");
}

static void delete_webhook(struct asked *asked)
{
    remove_webhook(asked->call, asked->bot);
}

static void set_webhook(struct asked *asked)
{
    struct telegram_bot *bot = asked->bot;
    struct call *call = asked->call;
    struct str url = param(call, "url"), secret = param(call, "secret_token");
    int64_t connections = param_int(call, "max_connections", DEFAULT_CONNECTIONS);
    if (url.n == 0) {
        remove_webhook(call, bot);
        return;
    }
    const char *bad = bad_secret(secret);
    if (!bad && !str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        bad = "Bad Request: bad webhook: An HTTPS URL must be provided for webhook";
    if (bad) {
        answer_error(call, 400, bad, -1);
        return;
    }
    bool same = str_eq(url, bot->url) && str_eq(secret, bot->secret);
    telegram_poll_end(bot, "Conflict: terminated by setWebhook request");
    take_allowed_updates(call, bot);
    if (param_bool(call, "drop_pending_updates"))
        drop_pending(bot);
    own_again(&bot->url, url);
    own_again(&bot->secret, secret);
    disown(&bot->last_error);
    bot->last_error_date = 0;
    bot->max_connections = connections < 1 ? 1 : connections > 100 ? 100 : connections;
    bot->used = true;
    log_info("webhook_set", LOG_N("bot", bot->id));
    live_changed(bot->telegram->door->live);
    answer_true(call, same ? "Webhook is already set" : "Webhook was set");
    telegram_push_afresh(bot);
}

static void get_webhook_info(struct asked *asked)
{
    struct telegram_bot *bot = asked->bot;
    struct buf text;
    struct json json;
    result_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "url", bot->url.p ? bot->url : STR(""));
    json_key_bool(&json, "has_custom_certificate", false);
    json_key_int(&json, "pending_update_count", bot->waiting_count);
    if (bot->last_error.p) {
        json_key_int(&json, "last_error_date", bot->last_error_date);
        json_key_str(&json, "last_error_message", bot->last_error);
    }
    if (bot->url.p)
        json_key_int(&json, "max_connections", bot->max_connections);
    if (bot->allowed.p) {
        json_key(&json, "allowed_updates");
        json_raw(&json, bot->allowed);
    }
    json_close(&json, '}');
    result_end(asked->call, &text, &json);
}

// ---- who the bot is ----

static void write_bot(struct json *json, const struct telegram_bot *bot)
{
    json_key_int(json, "id", bot->id);
    json_key_bool(json, "is_bot", true);
    json_key_str(json, "first_name", str_of(bot->name));
    json_key_str(json, "username", str_of(bot->username));
}

static void get_me(struct asked *asked)
{
    struct buf text;
    struct json json;
    result_begin(&text, &json);
    json_open(&json, '{');
    write_bot(&json, asked->bot);
    json_key_bool(&json, "can_join_groups", true);
    json_key_bool(&json, "can_read_all_group_messages", false);
    json_key_bool(&json, "supports_inline_queries", false);
    json_key_bool(&json, "can_connect_to_business", false);
    json_key_bool(&json, "has_main_web_app", false);
    json_close(&json, '}');
    result_end(asked->call, &text, &json);
}

// ---- sendMessage ----

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

static const char *wrong_text(struct call *call, const struct sending *sending)
{
    if (str_trim(sending->text).n == 0)
        return "Bad Request: message text is empty";
    if (utf16_length(sending->text) > MAX_TEXT)
        return "Bad Request: message is too long";
    if (param(call, "parse_mode").n > 0) // the stand-in reads no markup: what would arrive it cannot say
        return "Bad Request: unsupported parse_mode";
    if (sending->thread_id && strcmp(sending->chat->type, "supergroup") != 0)
        return "Bad Request: message thread not found";
    return wrong_entities(sending);
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

static void note_sent(struct telegram_bot *bot, const struct telegram_chat *chat,
                      const struct telegram_message *message)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    struct json json = {.out = &text};
    json_key_int(&json, "bot", bot->id);
    json_key_int(&json, "chat_id", chat->id);
    json_key_int(&json, "message_id", message->id);
    json_key_str(&json, "text", message->text);
    json_key(&json, "entities");
    json_raw(&json, message->entities.p ? message->entities : STR("[]"));
    json_key_int(&json, "message_thread_id", message->thread_id);
    journal_add(bot->telegram->sent, message->at_us, buf_str(&text));
    buf_done(&text);
}

static void answer_message(struct call *call, const struct telegram_chat *chat, const struct telegram_message *message)
{
    struct buf text;
    struct json json;
    result_begin(&text, &json);
    json_open(&json, '{');
    json_key_int(&json, "message_id", message->id);
    json_key(&json, "from");
    json_open(&json, '{');
    write_bot(&json, chat->bot);
    json_close(&json, '}');
    json_key(&json, "chat");
    json_open(&json, '{');
    json_key_int(&json, "id", chat->id);
    json_key_str(&json, "type", str_of(chat->type));
    json_key_str(&json, strcmp(chat->type, "private") == 0 ? "first_name" : "title", chat->name);
    json_close(&json, '}');
    json_key_int(&json, "date", message->date);
    json_key_str(&json, "text", message->text);
    if (message->entities.p) {
        json_key(&json, "entities");
        json_raw(&json, message->entities);
    }
    if (message->thread_id) {
        json_key_int(&json, "message_thread_id", message->thread_id);
        json_key_bool(&json, "is_topic_message", true);
    }
    json_close(&json, '}');
    result_end(call, &text, &json);
}

static void send_message(struct asked *asked)
{
    struct call *call = asked->call;
    struct telegram_chat *chat = telegram_chat_find(asked->bot, param_int(call, "chat_id", 0));
    struct sending sending = {chat, param(call, "text"), param(call, "entities"),
                              param_int(call, "message_thread_id", 0)};
    const char *wrong = chat ? wrong_text(call, &sending) : "Bad Request: chat not found";
    int64_t wait_us = 0;
    if (!param(call, "chat_id").p)
        answer_error(call, 400, "Bad Request: chat_id is empty", -1);
    else if (chat && chat->migrated_to)
        answer_failure(call, 400, "Bad Request: group chat was upgraded to a supergroup chat", "migrate_to_chat_id",
                       chat->migrated_to);
    else if (wrong)
        answer_error(call, 400, wrong, -1);
    else if (chat->blocked)
        answer_error(call, 403, shut_out(chat), -1);
    else if ((wait_us = wait_for_pace_us(chat)) > 0)
        telegram_refuse(asked->bot->telegram, call, 429, (wait_us + 999999) / 1000000);
    else {
        struct telegram_message *message = telegram_bot_says(chat, sending.text, sending.entities, sending.thread_id);
        note_sent(asked->bot, chat, message);
        answer_message(call, chat, message);
    }
}

// ---- the rest ----

static void answer_callback_query(struct asked *asked)
{
    if (!telegram_press_answer(asked->bot, param(asked->call, "callback_query_id")))
        answer_error(asked->call, 400,
                     "Bad Request: query is too old and response timeout expired or query ID is invalid", -1);
    else
        answer_true(asked->call, NULL);
}

static void send_chat_action(struct asked *asked)
{
    if (!telegram_chat_find(asked->bot, param_int(asked->call, "chat_id", 0)))
        answer_error(asked->call, 400, "Bad Request: chat not found", -1);
    else
        answer_true(asked->call, NULL);
}

static void get_file(struct asked *asked)
{
    struct str id = param(asked->call, "file_id");
    if (id.n == 0) {
        answer_error(asked->call, 400, "Bad Request: invalid file_id", -1);
        return;
    }
    struct buf text;
    struct json json;
    result_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "file_id", id);
    json_key_str(&json, "file_unique_id", str_sub(id, id.n > 8 ? id.n - 8 : 0, id.n));
    json_key_int(&json, "file_size", (int64_t)strlen("a file of the stand-in\n"));
    json_key_str(&json, "file_path",
                 arena_printf(asked->call->arena, "files/%.*s", STR_ARG(http_escape(asked->call->arena, id))));
    json_close(&json, '}');
    result_end(asked->call, &text, &json);
}

static const struct method {
    const char *name;
    void (*run)(struct asked *asked);
} methods[] = {
    {"getMe", get_me},
    {"getUpdates", get_updates},
    {"setWebhook", set_webhook},
    {"deleteWebhook", delete_webhook},
    {"getWebhookInfo", get_webhook_info},
    {"sendMessage", send_message},
    {"sendChatAction", send_chat_action},
    {"answerCallbackQuery", answer_callback_query},
    {"getFile", get_file},
};

// The bot that the path names ("bot<token>"), or NULL after an answer of 401 or 404.
static struct telegram_bot *bot_of_path(struct telegram *telegram, struct call *call, size_t i)
{
    struct str segment = call_segment(call, i);
    struct telegram_bot *bot = NULL;
    if (str_starts(segment, STR("bot")))
        bot = telegram_bot(telegram, str_sub(segment, 3, segment.n));
    if (!bot)
        answer_error(call, str_starts(segment, STR("bot")) ? 401 : 404,
                     str_starts(segment, STR("bot")) ? "Unauthorized" : "Not Found", -1);
    return bot;
}

void telegram_api(void *arg, struct call *call)
{
    struct telegram *telegram = arg;
    bool file = str_eq_c(call_segment(call, 0), "file");
    struct asked asked = {call, bot_of_path(telegram, call, file ? 1 : 0)};
    if (!asked.bot)
        return;
    if (file) {
        call_header(call, "Content-Type", STR("application/octet-stream"));
        call_answer(call, 200, STR("a file of the stand-in\n"));
        return;
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (str_ieq_c(call_segment(call, 1), methods[i].name) && call->segment_count == 2) {
            if (call->request->body.n > 0 && !call->body &&
                str_ieq_c(http_media_type(call_request_header(call, "content-type")), "application/json"))
                answer_error(call, 400, "Bad Request: can't parse JSON object", -1);
            else
                methods[i].run(&asked);
            return;
        }
    answer_error(call, 404, "Not Found", -1);
}
