// What stands below /sandbox/ on the Telegram side: the chat page's data and doings, and the control API for tests and people.
#include "sandbox/telegram.h"

#include "sandbox/own.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { SHOW_CHATS = 200, SHOW_MESSAGES = 200, BULK_MAX = 10000, LAST_TEXT = 120, FILE_MAX = 64 << 20 };

// ---- the journal ----

static void write_update(struct json *json, const struct telegram_update *update)
{
    json_open(json, '{');
    json_key_int(json, "seq", update->seq);
    json_key_time(json, "at", update->created_us);
    json_key_int(json, "bot", update->bot->id);
    json_key_int(json, "update_id", update->id);
    json_key_str(json, "kind", update->kind);
    json_key_int(json, "chat_id", update->chat_id);
    json_key_int(json, "message_id", update->message_id);
    json_key_str(json, "text", update->text);
    json_key_str(json, "state", str_of(telegram_state_name(update->state)));
    json_key_int(json, "attempts", update->attempts);
    json_key_int(json, "last_status", update->last_status);
    json_key_time(json, "settled_at", update->settled_us);
    if (update->press.p)
        json_key_bool(json, "answered", update->answered);
    json_close(json, '}');
}

static void write_updates(const struct telegram *telegram, int64_t after, int64_t limit, struct json *json)
{
    const struct telegram_update *update = telegram->updates;
    while (update && update->seq <= after)
        update = update->next;
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    int64_t last = 0;
    for (; update && limit > 0; update = update->next, limit--) {
        write_update(json, update);
        last = update->seq;
    }
    json_close(json, ']');
    json_key(json, "next");
    if (update)
        json_int(json, last);
    else
        json_null(json);
    json_key_int(json, "dropped", telegram->dropped_seq);
    json_close(json, '}');
}

bool telegram_journal(void *arg, struct str of, int64_t after, int64_t limit, struct json *json)
{
    struct telegram *telegram = arg;
    if (!of.p || str_eq_c(of, "updates"))
        write_updates(telegram, after, limit, json);
    else if (str_eq_c(of, "sent"))
        journal_write(telegram->sent, after, limit, json);
    else if (str_eq_c(of, "changed"))
        journal_write(telegram->changed, after, limit, json);
    else
        return false;
    return true;
}

void telegram_status(void *arg, struct json *json)
{
    struct telegram *telegram = arg;
    json_key_int(json, "bots", (int64_t)HASH_COUNT(telegram->bots));
    json_key(json, "updates");
    json_open(json, '{');
    for (int state = 0; state < TELEGRAM_STATES; state++)
        json_key_int(json, telegram_state_name((enum telegram_state)state), telegram->counts[state]);
    json_close(json, '}');
    json_key_int(json, "customers", customers_count(telegram->customers));
    json_key(json, "rate");
    json_num(json, customers_rate(telegram->customers));
}

// ---- the chat page ----

static void write_bots(const struct telegram *telegram, struct json *json)
{
    json_key(json, "bots");
    json_open(json, '[');
    for (const struct telegram_bot *bot = telegram->bots; bot; bot = bot->hh.next) {
        json_open(json, '{');
        json_key_id(json, "id", bot->id);
        json_key_str(json, "name", str_of(bot->name));
        json_key_str(json, "username", str_of(bot->username));
        json_key_str(json, "mode", bot->url.p ? STR("webhook") : bot->used ? STR("polling") : STR("none"));
        json_key_str(json, "last_error", bot->last_error);
        json_key_int(json, "waiting", bot->waiting_count);
        json_key_int(json, "chats", (int64_t)bot->chat_count);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void write_chat(struct json *json, const struct telegram_chat *chat)
{
    const struct telegram_message *last = chat->messages ? chat->messages->prev : NULL;
    json_open(json, '{');
    json_key_id(json, "id", chat->id);
    json_key_str(json, "name", chat->name);
    json_key_str(json, "type", str_of(chat->type));
    json_key_time(json, "active_at", chat->active_us);
    json_key_int(json, "said", chat->said);
    json_key_bool(json, "blocked", chat->blocked);
    json_key_str(json, "last", last ? str_sub(last->text, 0, LAST_TEXT) : STR_NONE);
    json_key_str(json, "last_kind", last ? str_of(last->media.kind) : STR_NONE);
    json_key_bool(json, "last_from_bot", last && last->from_bot);
    json_key_str(json, "last_state", last ? str_of(telegram_state_name(last->state)) : STR_NONE);
    json_close(json, '}');
}

static void write_messages(struct json *json, const struct telegram_chat *chat)
{
    json_key(json, "messages");
    json_open(json, '[');
    size_t skip = chat->message_count > SHOW_MESSAGES ? chat->message_count - SHOW_MESSAGES : 0;
    for (const struct telegram_message *message = chat->messages; message; message = message->next) {
        if (skip > 0 && skip--)
            continue;
        json_open(json, '{');
        json_key_id(json, "id", message->id);
        json_key_int(json, "date", message->date);
        json_key_str(json, "text", message->text);
        json_key(json, "entities");
        json_raw(json, message->entities.p ? message->entities : STR("[]"));
        json_key_bool(json, "from_bot", message->from_bot);
        json_key_bool(json, "edited", message->edited);
        telegram_media_show(json, &message->media);
        json_key_bool(json, "pressed", message->pressed);
        json_key_bool(json, "answered", message->answered);
        json_key_str(json, "state", str_of(telegram_state_name(message->state)));
        json_close(json, '}');
    }
    json_close(json, ']');
}

static struct telegram_bot *bot_by_id(struct telegram *telegram, int64_t id)
{
    for (struct telegram_bot *bot = telegram->bots; bot; bot = bot->hh.next)
        if (bot->id == id)
            return bot;
    return telegram->bots;
}

// GET chat?bot=ID&chat=ID: the bots, the latest chats of one, the messages of one chat.
static void get_chat(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = bot_by_id(telegram, call_query_int(call, "bot", 0, INT64_MAX, 0));
    struct telegram_chat *chat = bot ? telegram_chat_find(bot, call_query_int(call, "chat", INT64_MIN, INT64_MAX, 0))
                                     : NULL;
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    struct json json = {.out = &text};
    json_open(&json, '{');
    write_bots(telegram, &json);
    json_key_str(&json, "other", str_of(telegram->door->other));
    json_key_int(&json, "customers", customers_count(telegram->customers));
    json_key(&json, "rate");
    json_num(&json, customers_rate(telegram->customers));
    if (bot) {
        json_key_id(&json, "bot", bot->id);
        json_key(&json, "chats");
        json_open(&json, '[');
        int shown = 0;
        for (const struct telegram_chat *each = bot->chats; each && shown < SHOW_CHATS; each = each->next, shown++)
            write_chat(&json, each);
        json_close(&json, ']');
    }
    if (chat) {
        json_key(&json, "chat");
        write_chat(&json, chat);
        write_messages(&json, chat);
    }
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

// GET telegram/received?chat=ID&bot=ID: what the bot sent to one chat, in order, as far as the chat remembers.
static void get_received(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = bot_by_id(telegram, call_query_int(call, "bot", 0, INT64_MAX, 0));
    const struct telegram_chat *chat = bot ? telegram_chat_find(bot,
                                                                call_query_int(call, "chat", INT64_MIN, INT64_MAX, 0))
                                           : NULL;
    if (!chat) {
        call_control_error(call, 404, "no such chat");
        return;
    }
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key(&json, "items");
    json_open(&json, '[');
    for (const struct telegram_message *message = chat->messages; message; message = message->next) {
        if (!message->from_bot)
            continue;
        json_open(&json, '{');
        json_key_int(&json, "message_id", message->id);
        json_key_time(&json, "at", message->at_us);
        json_key_str(&json, "text", message->text);
        json_key(&json, "entities");
        json_raw(&json, message->entities.p ? message->entities : STR("[]"));
        json_key_int(&json, "message_thread_id", message->thread_id);
        json_key_bool(&json, "edited", message->edited);
        telegram_media_show(&json, &message->media);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

// ---- doings ----

// What is asked for by that name: a text of the JSON, or in the query where the body is a file.
static struct str asked_text(struct call *call, const char *name)
{
    return call->body ? json_get_str(call->body, name) : call_query(call, name);
}

static int64_t asked_int(struct call *call, const char *name, int64_t otherwise)
{
    int64_t n = otherwise;
    return json_get_int(call->body, name, &n) || str_to_i64(asked_text(call, name), &n) ? n : otherwise;
}

// The bot that "token" or "bot" names; without either the only one. NULL after an answer.
static struct telegram_bot *asked_bot(struct telegram *telegram, struct call *call)
{
    struct str token = asked_text(call, "token");
    int64_t id = asked_int(call, "bot", 0);
    struct telegram_bot *bot = NULL;
    if (id) {
        for (struct telegram_bot *each = telegram->bots; each; each = each->hh.next)
            bot = each->id == id ? each : bot;
    } else {
        bot = token.p ? telegram_bot(telegram, token) : telegram_bot_find(telegram, STR_NONE);
    }
    if (!bot)
        call_control_error(call, 400, "no such bot: give \"token\", or \"bot\" with the id of one that is known");
    return bot;
}

static int64_t new_customer(struct telegram_bot *bot)
{
    int64_t id = 0;
    do
        id = 100000000 + (int64_t)chance_below(&bot->telegram->chance, 6000000000);
    while (telegram_chat_find(bot, id));
    return id;
}

// "customer": a number or digits. A new one is numbered when there is none.
static bool asked_customer(struct telegram_bot *bot, yyjson_val *body, int64_t *out)
{
    yyjson_val *value = yyjson_obj_get(body, "customer");
    if (!value) {
        *out = new_customer(bot);
        return true;
    }
    return (json_get_int(body, "customer", out) || str_to_i64(json_val_str(value), out)) && *out > 0;
}

static void write_made_members(struct json *json, const struct telegram_update *update, int64_t chat_id)
{
    json_key(json, "update_id");
    if (update)
        json_int(json, update->id);
    else
        json_null(json); // the bot does not ask for this kind
    json_key_int(json, "chat_id", chat_id);
    json_key_int(json, "message_id", update ? update->message_id : 0);
    json_key_int(json, "seq", update ? update->seq : 0);
}

static void write_made(struct json *json, const struct telegram_update *update, int64_t chat_id)
{
    json_open(json, '{');
    write_made_members(json, update, chat_id);
    json_close(json, '}');
}

static bool say_one(struct telegram_bot *bot, yyjson_val *what, struct json *json)
{
    int64_t customer = 0, date = 0, message_id = 0;
    struct str text = json_get_str(what, "text");
    json_get_int(what, "date", &date);
    if (!asked_customer(bot, what, &customer) || !text.p)
        return false;
    struct telegram_chat *chat = telegram_chat(bot, customer, json_get_str(what, "name"));
    struct telegram_update *update = json_get_int(what, "edit", &message_id) ? telegram_edit(chat, message_id, text)
                                                                             : telegram_say(chat, text, date);
    write_made(json, update, customer);
    return true;
}

static const char bad_say[] = "\"customer\" is a positive number (or absent: a new one) and \"text\" a text";

static void say_many(struct telegram_bot *bot, struct call *call, yyjson_val *list)
{
    struct buf text;
    buf_init(&text, CALL_ANSWER_MAX);
    struct json json = {.out = &text};
    size_t i, n;
    yyjson_val *what;
    bool good = yyjson_arr_size(list) <= BULK_MAX;
    json_open(&json, '{');
    json_key(&json, "said");
    json_open(&json, '[');
    yyjson_arr_foreach(list, i, n, what) good = good && say_one(bot, what, &json);
    json_close(&json, ']');
    json_close(&json, '}');
    if (good) {
        call_answer_buf(call, 200, &text);
        return;
    }
    buf_done(&text);
    call_control_error(call, 400, bad_say);
}

static void do_say(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = asked_bot(telegram, call);
    if (!bot)
        return;
    yyjson_val *list = yyjson_obj_get(call->body, "say");
    if (yyjson_is_arr(list)) {
        say_many(bot, call, list);
        return;
    }
    struct buf text;
    buf_init(&text, 4096);
    if (say_one(bot, call->body, &(struct json){.out = &text})) {
        call_answer_buf(call, 200, &text);
        return;
    }
    buf_done(&text);
    call_control_error(call, 400, bad_say);
}

// The bytes: the body, "data" in base64, or made up ("size", "seed"). NULL, or what is wrong.
static const char *read_file(struct call *call, struct telegram_sends *out)
{
    struct str data = call->body ? json_get_str(call->body, "data") : STR_NONE, as = asked_text(call, "as");
    int64_t size = asked_int(call, "size", -1);
    *out = (struct telegram_sends){.kind = telegram_media_kind(as),
                                   .name = asked_text(call, "file_name"),
                                   .mime = asked_text(call, "mime"),
                                   .caption = asked_text(call, "caption"),
                                   .album = asked_text(call, "album")};
    if (as.n > 0 && !out->kind)
        return "\"as\" is photo, document, voice, audio, video or animation";
    if (!call->body)
        out->bytes = call->request->body;
    else if (data.p)
        out->bytes = file_from_base64(data, call->arena);
    else if (size > 0 && size <= FILE_MAX)
        out->bytes = file_made_up(out->mime, size, (uint64_t)asked_int(call, "seed", 1), call->arena);
    if (out->bytes.n == 0 || out->bytes.n > FILE_MAX)
        return "the file is the body, \"data\" in base64, or \"size\" bytes that are made up: 1 byte to 64 MiB";
    out->size = asked_int(call, "told_size", (int64_t)out->bytes.n);
    return NULL;
}

// A file in the body, with what else there is to say in the query; or all of it as JSON.
static void do_file(struct telegram *telegram, struct call *call)
{
    if (!str_ieq_c(http_media_type(call_request_header(call, "content-type")), "application/json"))
        call->body = NULL;
    struct telegram_bot *bot = asked_bot(telegram, call);
    struct telegram_sends sends;
    if (!bot)
        return;
    const char *why = read_file(call, &sends);
    int64_t customer = asked_int(call, "customer", 0);
    customer = customer ? customer : new_customer(bot);
    if (why || customer < 0) {
        call_control_error(call, 400, why ? why : "\"customer\" is a positive number, or absent: a new one");
        return;
    }
    struct telegram_chat *chat = telegram_chat(bot, customer, asked_text(call, "name"));
    struct telegram_update *update = telegram_send(chat, &sends);
    struct buf text;
    buf_init(&text, 16384);
    struct json json = {.out = &text};
    json_open(&json, '{');
    write_made_members(&json, update, customer);
    telegram_media_show(&json, &chat->messages->prev->media);
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

static void do_update(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = asked_bot(telegram, call);
    if (!bot)
        return;
    yyjson_val *update = yyjson_obj_get(call->body, "update");
    yyjson_val *kind = NULL, *payload = NULL, *key, *value;
    size_t i, n, kinds = 0;
    yyjson_obj_foreach(update, i, n, key, value)
    {
        if (yyjson_equals_str(key, "update_id"))
            continue;
        kind = key;
        payload = value;
        kinds++;
    }
    if (kinds != 1) {
        call_control_error(
            call, 400,
            "\"update\" is an object with one member beside update_id, which is replaced: {\"message\":{...}}");
        return;
    }
    size_t length = 0;
    char *payload_text = yyjson_val_write(payload, 0, &length);
    telegram_chat_learn(bot, payload);
    struct telegram_update *made = telegram_update_add(bot, json_val_str(kind), (struct str){payload_text, length});
    free(payload_text);
    struct buf text;
    buf_init(&text, 4096);
    write_made(&(struct json){.out = &text}, made, made ? made->chat_id : 0);
    call_answer_buf(call, 200, &text);
}

static void do_block(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = asked_bot(telegram, call);
    int64_t customer = 0;
    if (!bot)
        return;
    if (!yyjson_obj_get(call->body, "customer") || !asked_customer(bot, call->body, &customer)) {
        call_control_error(call, 400, "\"customer\" is a positive number");
        return;
    }
    struct telegram_chat *chat = telegram_chat(bot, customer, json_get_str(call->body, "name"));
    yyjson_val *blocked = yyjson_obj_get(call->body, "blocked");
    struct telegram_update *update = telegram_block(chat, !blocked || yyjson_get_bool(blocked));
    struct buf text;
    buf_init(&text, 4096);
    write_made(&(struct json){.out = &text}, update, customer);
    call_answer_buf(call, 200, &text);
}

static void do_press(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = asked_bot(telegram, call);
    int64_t customer = 0;
    struct str label = json_get_str(call->body, "label"), data = json_get_str(call->body, "data");
    if (!bot)
        return;
    if (!asked_customer(bot, call->body, &customer) || !label.n || !data.n) {
        call_control_error(call, 400, "\"customer\" is a positive number, \"label\" and \"data\" are texts");
        return;
    }
    struct telegram_chat *chat = telegram_chat(bot, customer, json_get_str(call->body, "name"));
    struct telegram_update *update = telegram_press(chat, label, data);
    struct buf text;
    buf_init(&text, 4096);
    write_made(&(struct json){.out = &text}, update, customer);
    call_answer_buf(call, 200, &text);
}

static void do_jump(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = asked_bot(telegram, call);
    if (!bot)
        return;
    int64_t to = 0;
    if (!json_get_int(call->body, "to", &to) || to <= 0)
        to = 100000000 + (int64_t)chance_below(&telegram->chance, 800000000);
    bot->next_update_id = to;
    call_answer(call, 200, arena_printf(call->arena, "{\"next_update_id\":%" PRId64 "}", to));
}

static void do_customers(struct telegram *telegram, struct call *call)
{
    int64_t count = customers_count(telegram->customers);
    yyjson_val *rate = yyjson_obj_get(call->body, "rate");
    double per_second = rate ? yyjson_get_num(rate) : customers_rate(telegram->customers);
    json_get_int(call->body, "customers", &count);
    if (count < 0 || count > 1000000 || per_second < 0 || per_second > 100000) {
        call_control_error(call, 400, "\"customers\" is 0 to 1000000, \"rate\" 0 to 100000 messages a second in all");
        return;
    }
    customers_set(telegram->customers, count, per_second);
    live_changed(telegram->door->live);
    call_answer(call, 200, STR("{}"));
}

static void do_migrate(struct telegram *telegram, struct call *call)
{
    struct telegram_bot *bot = asked_bot(telegram, call);
    int64_t id = 0, to = 0;
    if (!bot)
        return;
    json_get_int(call->body, "chat", &id);
    struct telegram_chat *chat = telegram_chat_find(bot, id);
    if (!chat || !json_get_int(call->body, "to", &to) || to >= 0) {
        call_control_error(call, 400, "\"chat\" is a group that is known, \"to\" the id of a supergroup");
        return;
    }
    telegram_migrate(chat, to);
    call_answer(call, 200, STR("{}"));
}

static void take_limit(struct call *call, const char *key, int64_t low, int64_t *limit)
{
    int64_t n = 0;
    if (json_get_int(call->body, key, &n) && n >= low && n <= 1000000)
        *limit = n;
}

// Counted anew from here on.
static void do_limits(struct telegram *telegram, struct call *call)
{
    struct telegram_limits *limits = &telegram->limits;
    take_limit(call, "chat_ms", 0, &limits->chat_ms);
    take_limit(call, "chat_burst", 1, &limits->chat_burst);
    take_limit(call, "bot_per_s", 0, &limits->bot_per_s);
    for (struct telegram_bot *bot = telegram->bots; bot; bot = bot->hh.next) {
        bot->next_us = 0;
        for (struct telegram_chat *chat = bot->chats; chat; chat = chat->next)
            chat->next_us = 0;
    }
    call_answer(call, 200,
                arena_printf(call->arena,
                             "{\"chat_ms\":%" PRId64 ",\"chat_burst\":%" PRId64 ",\"bot_per_s\":%" PRId64 "}",
                             limits->chat_ms, limits->chat_burst, limits->bot_per_s));
}

static const struct doing {
    const char *method, *what;
    void (*run)(struct telegram *telegram, struct call *call);
} doings[] = {
    {"GET", "chat", get_chat},
    {"POST", "telegram/say", do_say},
    {"POST", "telegram/file", do_file},
    {"POST", "telegram/update", do_update},
    {"POST", "telegram/block", do_block},
    {"POST", "telegram/press", do_press},
    {"POST", "telegram/jump", do_jump},
    {"POST", "telegram/migrate", do_migrate},
    {"POST", "telegram/limits", do_limits},
    {"GET", "telegram/received", get_received},
    {"POST", "telegram/customers", do_customers},
};

static void show_file(const struct telegram *telegram, struct call *call, struct str id)
{
    const struct file *file = files_find(telegram->files, id);
    if (file)
        call_show_file(call, file);
    else
        call_control_error(call, 404, "no such file, or it had to go");
}

bool telegram_control(void *arg, struct call *call, struct str what)
{
    if (str_starts(what, STR("files/"))) {
        show_file(arg, call, str_sub(what, strlen("files/"), what.n));
        return true;
    }
    for (size_t i = 0; i < sizeof(doings) / sizeof(*doings); i++)
        if (str_eq_c(what, doings[i].what) && str_eq_c(call->request->method, doings[i].method)) {
            if (!yyjson_is_obj(call->body) && doings[i].method[0] == 'P' && doings[i].run != do_file)
                call_control_error(call, 400, "a JSON object is needed");
            else
                doings[i].run(arg, call);
            return true;
        }
    return false;
}
