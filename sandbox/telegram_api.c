// The methods of the Bot API that the stand-in knows, with the real server's words for what it refuses.
// Parameters come as JSON, as a form or in the query; all of them are text here, lists and objects as JSON text.
#include "sandbox/telegram.h"

#include "base/clock.h"
#include "base/log.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { DEFAULT_CONNECTIONS = 40, MAX_POLL_S = 50, MAX_UPDATES = 100 };

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

struct str telegram_param(struct call *call, const char *name)
{
    yyjson_val *value = yyjson_obj_get(call->body, name);
    if (value && !yyjson_is_null(value))
        return json_text(call, value);
    struct str type = http_media_type(call_request_header(call, "content-type"));
    struct str text = STR_NONE;
    const struct multipart_part *part = call->form ? multipart_find(call->form, str_of(name)) : NULL;
    if (part)
        return part->bytes;
    if (str_ieq_c(type, "application/x-www-form-urlencoded"))
        text = http_query_get(call->arena, call->request->body, name);
    return text.p ? text : call_query(call, name);
}

int64_t telegram_param_int(struct call *call, const char *name, int64_t otherwise)
{
    int64_t n = otherwise;
    return str_to_i64(telegram_param(call, name), &n) ? n : otherwise;
}

static bool param_bool(struct call *call, const char *name)
{
    struct str text = telegram_param(call, name);
    return str_ieq_c(text, "true") || str_eq_c(text, "1") || str_ieq_c(text, "yes");
}

// ---- answers ----

// `parameter` NULL: there are none.
void telegram_failure(struct call *call, int code, const char *description, const char *parameter, int64_t value)
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

void telegram_error(struct call *call, int code, const char *description, int64_t retry_after_s)
{
    if (retry_after_s >= 0)
        call_header(call, "Retry-After", arena_printf(call->arena, "%" PRId64, retry_after_s));
    telegram_failure(call, code, description, retry_after_s >= 0 ? "retry_after" : NULL, retry_after_s);
}

void telegram_true(struct call *call, const char *description)
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

void telegram_begin(struct buf *text, struct json *json)
{
    buf_init(text, CALL_ANSWER_MAX);
    *json = (struct json){.out = text};
    json_open(json, '{');
    json_key_bool(json, "ok", true);
    json_key(json, "result");
}

void telegram_end(struct call *call, struct buf *text, struct json *json)
{
    json_close(json, '}');
    call_answer_buf(call, 200, text);
}

void telegram_refuse(void *arg, struct call *call, int status, int64_t retry_after_s)
{
    (void)arg;
    if (status == 429) {
        int64_t wait_s = retry_after_s >= 0 ? retry_after_s : 1;
        telegram_error(call, 429, arena_printf(call->arena, "Too Many Requests: retry after %" PRId64, wait_s).p,
                       wait_s);
        return;
    }
    telegram_error(call, status, http_status_text(status), retry_after_s);
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
    telegram_error(call, 409, why, -1);
}

static void take_allowed_updates(struct call *call, struct telegram_bot *bot)
{
    struct str text = telegram_param(call, "allowed_updates");
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
        telegram_error(
            call, 409,
            "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            -1);
        return;
    }
    telegram_poll_end(
        bot, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running");
    int64_t limit = telegram_param_int(call, "limit", MAX_UPDATES);
    int64_t timeout_s = telegram_param_int(call, "timeout", 0);
    bot->used = true;
    take_allowed_updates(call, bot);
    bot->poll_offset = confirm(bot, telegram_param_int(call, "offset", 0));
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
    telegram_true(call, was_set ? "Webhook was deleted" : "Webhook is already deleted");
}

static void delete_webhook(struct asked *asked)
{
    remove_webhook(asked->call, asked->bot);
}

static void set_webhook(struct asked *asked)
{
    struct telegram_bot *bot = asked->bot;
    struct call *call = asked->call;
    struct str url = telegram_param(call, "url"), secret = telegram_param(call, "secret_token");
    int64_t connections = telegram_param_int(call, "max_connections", DEFAULT_CONNECTIONS);
    if (url.n == 0) {
        remove_webhook(call, bot);
        return;
    }
    const char *bad = bad_secret(secret);
    if (!bad && !str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        bad = "Bad Request: bad webhook: An HTTPS URL must be provided for webhook";
    if (bad) {
        telegram_error(call, 400, bad, -1);
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
    telegram_true(call, same ? "Webhook is already set" : "Webhook was set");
    telegram_push_afresh(bot);
}

static void get_webhook_info(struct asked *asked)
{
    struct telegram_bot *bot = asked->bot;
    struct buf text;
    struct json json;
    telegram_begin(&text, &json);
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
    telegram_end(asked->call, &text, &json);
}

// ---- who the bot is ----

void telegram_write_bot(struct json *json, const struct telegram_bot *bot)
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
    telegram_begin(&text, &json);
    json_open(&json, '{');
    telegram_write_bot(&json, asked->bot);
    json_key_bool(&json, "can_join_groups", true);
    json_key_bool(&json, "can_read_all_group_messages", false);
    json_key_bool(&json, "supports_inline_queries", false);
    json_key_bool(&json, "can_connect_to_business", false);
    json_key_bool(&json, "has_main_web_app", false);
    json_close(&json, '}');
    telegram_end(asked->call, &text, &json);
}

// ---- the rest ----

static void answer_callback_query(struct asked *asked)
{
    if (!telegram_press_answer(asked->bot, telegram_param(asked->call, "callback_query_id")))
        telegram_error(asked->call, 400,
                       "Bad Request: query is too old and response timeout expired or query ID is invalid", -1);
    else
        telegram_true(asked->call, NULL);
}

static void send_chat_action(struct asked *asked)
{
    if (!telegram_chat_find(asked->bot, telegram_param_int(asked->call, "chat_id", 0)))
        telegram_error(asked->call, 400, "Bad Request: chat not found", -1);
    else
        telegram_true(asked->call, NULL);
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
    {"sendMessage", telegram_send_message},
    {"sendPhoto", telegram_send_photo},
    {"sendDocument", telegram_send_document},
    {"sendVoice", telegram_send_voice},
    {"sendAudio", telegram_send_audio},
    {"sendVideo", telegram_send_video},
    {"sendAnimation", telegram_send_animation},
    {"editMessageText", telegram_edit_text},
    {"editMessageCaption", telegram_edit_caption},
    {"deleteMessage", telegram_delete_message},
    {"sendChatAction", send_chat_action},
    {"answerCallbackQuery", answer_callback_query},
    {"getFile", telegram_get_file},
    {"getUserProfilePhotos", telegram_get_user_profile_photos},
};

// The bot that the path names ("bot<token>"), or NULL after an answer of 401 or 404.
static struct telegram_bot *bot_of_path(struct telegram *telegram, struct call *call, size_t i)
{
    struct str segment = call_segment(call, i);
    struct telegram_bot *bot = NULL;
    if (str_starts(segment, STR("bot")))
        bot = telegram_bot(telegram, str_sub(segment, 3, segment.n));
    if (!bot)
        telegram_error(call, str_starts(segment, STR("bot")) ? 401 : 404,
                       str_starts(segment, STR("bot")) ? "Unauthorized" : "Not Found", -1);
    return bot;
}

// Reads a form; NULL: the body can be read.
static const char *wrong_body(struct call *call)
{
    struct str header = call_request_header(call, "content-type"), type = http_media_type(header);
    if (call->request->body.n > 0 && !call->body && str_ieq_c(type, "application/json"))
        return "Bad Request: can't parse JSON object";
    if (!str_ieq_c(type, "multipart/form-data"))
        return NULL;
    call->form = arena_of(call->arena, struct multipart);
    const char *why = multipart_read(header, call->request->body, call->arena, call->form);
    return why ? arena_printf(call->arena, "Bad Request: can't parse the form: %s", why).p : NULL;
}

void telegram_api(void *arg, struct call *call)
{
    struct telegram *telegram = arg;
    bool file = str_eq_c(call_segment(call, 0), "file");
    struct asked asked = {call, bot_of_path(telegram, call, file ? 1 : 0)};
    if (!asked.bot)
        return;
    if (file) {
        telegram_file(&asked);
        return;
    }
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++)
        if (str_ieq_c(call_segment(call, 1), methods[i].name) && call->segment_count == 2) {
            const char *why = wrong_body(call);
            if (why)
                telegram_error(call, 400, why, -1);
            else
                methods[i].run(&asked);
            return;
        }
    telegram_error(call, 404, "Not Found", -1);
}
