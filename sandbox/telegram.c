#include "sandbox/telegram.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { KEEP_MESSAGES = 300, PAYLOAD_MAX = 4 << 20 };
static const int64_t files_max = INT64_C(768) << 20; // of files in memory, bytes

static const char *const state_names[] = {
    [TELEGRAM_WAITING] = "waiting",     [TELEGRAM_SENDING] = "sending", [TELEGRAM_DELIVERED] = "delivered",
    [TELEGRAM_CONFIRMED] = "confirmed", [TELEGRAM_DROPPED] = "dropped",
};

const char *telegram_state_name(enum telegram_state state)
{
    return state_names[state];
}

int64_t telegram_now(void)
{
    return clock_wall_us(&clock_system) / 1000000;
}

bool telegram_is_waiting(const struct telegram_update *update)
{
    return update->state == TELEGRAM_WAITING || update->state == TELEGRAM_SENDING;
}

// ---- chats ----

struct telegram_chat *telegram_chat_find(struct telegram_bot *bot, int64_t id)
{
    struct telegram_chat *chat = NULL;
    HASH_FIND(hh, bot->chats_by_id, &id, sizeof(id), chat);
    return chat;
}

static const char *const first_names[] = {"Ada",    "Bruno", "Chiara", "Dmitri", "Elif",  "Femi",  "Greta",
                                          "Hiro",   "Inês",  "Jonas",  "Kaya",   "Lena",  "Mateo", "Nadia",
                                          "Oskar",  "Priya", "Quinn",  "Rosa",   "Samir", "Tuula", "Uma",
                                          "Viktor", "Wanda", "Ximena", "Yusuf",  "Zoë"};

struct telegram_chat *telegram_chat(struct telegram_bot *bot, int64_t id, struct str name)
{
    struct telegram_chat *chat = telegram_chat_find(bot, id);
    if (chat) {
        if (name.n > 0 && !str_eq(name, chat->name))
            own_again(&chat->name, name);
        return chat;
    }
    chat = mem_new_of(struct telegram_chat);
    chat->bot = bot;
    chat->id = id;
    chat->type = "private";
    size_t count = sizeof(first_names) / sizeof(*first_names);
    chat->name = own(name.n > 0 ? name : str_of(first_names[(uint64_t)id % count]));
    HASH_ADD(hh, bot->chats_by_id, id, sizeof(chat->id), chat);
    DL_PREPEND(bot->chats, chat);
    bot->chat_count++;
    return chat;
}

static void chat_moved(struct telegram_chat *chat)
{
    struct telegram_bot *bot = chat->bot;
    chat->active_us = clock_wall_us(&clock_system);
    if (bot->chats != chat) {
        DL_DELETE(bot->chats, chat);
        DL_PREPEND(bot->chats, chat);
    }
    live_changed(bot->telegram->door->live);
}

static void message_free(struct telegram_chat *chat, struct telegram_message *message)
{
    DL_DELETE(chat->messages, message);
    chat->message_count--;
    disown(&message->text);
    disown(&message->entities);
    disown(&message->album);
    telegram_media_free(&message->media);
    free(message);
}

static struct telegram_message *message_add(struct telegram_chat *chat, struct str text, int64_t date)
{
    struct telegram_message *message = mem_new_of(struct telegram_message);
    message->id = chat->bot->next_message_id++;
    message->date = date ? date : telegram_now();
    message->at_us = clock_wall_us(&clock_system);
    message->text = own(text);
    DL_APPEND(chat->messages, message);
    if (++chat->message_count > KEEP_MESSAGES)
        message_free(chat, chat->messages);
    return message;
}

static void chat_free(struct telegram_chat *chat)
{
    while (chat->messages)
        message_free(chat, chat->messages);
    HASH_DELETE(hh, chat->bot->chats_by_id, chat);
    DL_DELETE(chat->bot->chats, chat);
    disown(&chat->name);
    free(chat);
}

// ---- bots ----

static bool is_token(struct str token, int64_t *out_id)
{
    size_t colon = str_index(token, ':', 0);
    if (colon == token.n || colon + 1 == token.n || token.n - colon > 100 || colon > 15)
        return false;
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        bool digit = c >= '0' && c <= '9';
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
        if (i != colon && !digit && (i < colon || !letter))
            return false;
    }
    return str_to_i64(str_sub(token, 0, colon), out_id) && *out_id > 0;
}

static void poll_timeout(void *arg)
{
    struct telegram_bot *bot = arg;
    struct call *call = bot->poll;
    bot->poll = NULL;
    if (!call)
        return;
    call->state = NULL;
    call_answer(call, 200, STR("{\"ok\":true,\"result\":[]}"));
}

struct telegram_bot *telegram_bot_find(struct telegram *telegram, struct str token)
{
    struct telegram_bot *bot = NULL;
    if (token.n == 0)
        return HASH_COUNT(telegram->bots) == 1 ? telegram->bots : NULL;
    HASH_FIND(hh, telegram->bots, token.p, token.n, bot);
    return bot;
}

struct telegram_bot *telegram_bot(struct telegram *telegram, struct str token)
{
    int64_t id = 0;
    struct telegram_bot *bot = token.n > 0 ? telegram_bot_find(telegram, token) : NULL;
    if (bot || !is_token(token, &id))
        return bot;
    bot = mem_new_of(struct telegram_bot);
    bot->telegram = telegram;
    bot->token = own(token);
    bot->id = id;
    char text[64];
    bot->username = mem_dup(text, (size_t)snprintf(text, sizeof(text), "sandbox_%" PRId64 "_bot", id % 100000));
    bot->name = mem_dup(text, (size_t)snprintf(text, sizeof(text), "Sandbox bot %" PRId64, id % 100000));
    bot->next_update_id = 100000000 + (int64_t)chance_below(&telegram->chance, 800000000);
    bot->next_message_id = 1 + (int64_t)chance_below(&telegram->chance, 5000);
    bot->max_connections = 40;
    bot->poll_timer = loop_timer_new(telegram->loop, poll_timeout, bot);
    HASH_ADD_KEYPTR(hh, telegram->bots, bot->token.p, bot->token.n, bot);
    log_info("bot_seen", LOG_N("bot", id));
    live_changed(telegram->door->live);
    return bot;
}

// The long poll, if any, is not answered: its call is cut by the door.
static void bot_free(struct telegram_bot *bot)
{
    if (bot->poll)
        bot->poll->state = NULL;
    struct telegram_queue *queue, *next_queue;
    HASH_ITER(hh, bot->queues, queue, next_queue)
    {
        telegram_queue_free(queue);
    }
    while (bot->chats)
        chat_free(bot->chats);
    HASH_DELETE(hh, bot->telegram->bots, bot);
    loop_timer_free(bot->poll_timer);
    disown(&bot->token);
    disown(&bot->url);
    disown(&bot->secret);
    disown(&bot->last_error);
    disown(&bot->allowed);
    free(bot->username);
    free(bot->name);
    free(bot);
}

// ---- updates ----

static bool wants(const struct telegram_bot *bot, struct str kind)
{
    if (!bot->allowed.p)
        return !str_eq_c(kind, "chat_member") && !str_eq_c(kind, "message_reaction") &&
               !str_eq_c(kind, "message_reaction_count");
    yyjson_doc *doc = json_read(bot->allowed);
    size_t i, n;
    yyjson_val *value;
    bool found = false;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, n, value) found |= str_eq(json_val_str(value), kind);
    yyjson_doc_free(doc);
    return found;
}

static int64_t get_id(yyjson_val *object, const char *key, const char *id)
{
    int64_t n = 0;
    json_get_int(yyjson_obj_get(object, key), id, &n);
    return n;
}

// Which updates go one after another: as the real server does it (telegram.md, section 4).
static struct str queue_key(struct arena *arena, struct str kind, yyjson_val *payload)
{
    int64_t chat = get_id(payload, "chat", "id");
    int64_t from = get_id(payload, "from", "id");
    struct str business = json_get_str(payload, "business_connection_id");
    if (business.p)
        return arena_printf(arena, "business:%.*s:%" PRId64, STR_ARG(business), chat);
    if (str_eq_c(kind, "message") || str_eq_c(kind, "edited_message") || str_eq_c(kind, "channel_post") ||
        str_eq_c(kind, "edited_channel_post"))
        return arena_printf(arena, "chat:%" PRId64, chat);
    if (str_eq_c(kind, "poll") || str_eq_c(kind, "poll_answer"))
        return arena_printf(arena, "poll:%.*s", STR_ARG(json_get_str(payload, "id")));
    if (chat != 0)
        return arena_printf(arena, "%.*s:%" PRId64, STR_ARG(kind), chat);
    return arena_printf(arena, "%.*s:user:%" PRId64, STR_ARG(kind), from);
}

static struct telegram_queue *queue_of(struct telegram_bot *bot, struct str key)
{
    struct telegram_queue *queue = NULL;
    HASH_FIND(hh, bot->queues, key.p, key.n, queue);
    if (queue)
        return queue;
    queue = mem_new_of(struct telegram_queue);
    queue->bot = bot;
    queue->key = mem_dup(key.p, key.n);
    HASH_ADD_KEYPTR(hh, bot->queues, queue->key, key.n, queue);
    return queue;
}

static void update_free(struct telegram *telegram, struct telegram_update *update)
{
    DL_DELETE(telegram->updates, update);
    telegram->update_count--;
    disown(&update->kind);
    disown(&update->payload);
    disown(&update->text);
    disown(&update->press);
    free(update);
}

static void forget_oldest(struct telegram *telegram)
{
    while (telegram->update_count > telegram->options.keep && !telegram_is_waiting(telegram->updates)) {
        telegram->dropped_seq = telegram->updates->seq;
        update_free(telegram, telegram->updates);
    }
}

static struct str what_it_says(yyjson_val *payload)
{
    static const char *const keys[] = {"text", "caption", "data"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        if (json_get_str(payload, keys[i]).p)
            return json_get_str(payload, keys[i]);
    return STR_NONE;
}

struct telegram_update *telegram_update_add(struct telegram_bot *bot, struct str kind, struct str payload)
{
    if (!wants(bot, kind))
        return NULL;
    struct telegram *telegram = bot->telegram;
    struct arena arena = {0};
    yyjson_doc *doc = json_read(payload);
    yyjson_val *value = yyjson_doc_get_root(doc);
    struct telegram_update *update = mem_new_of(struct telegram_update);
    update->bot = bot;
    update->seq = ++telegram->last_seq;
    update->id = bot->next_update_id++;
    update->kind = own(kind);
    update->payload = own(payload);
    update->text = own(what_it_says(value));
    if (str_eq_c(kind, "callback_query")) {
        update->press = own(json_get_str(value, "id"));
        update->chat_id = get_id(yyjson_obj_get(value, "message"), "chat", "id");
    } else {
        update->chat_id = get_id(value, "chat", "id");
    }
    json_get_int(value, "message_id", &update->message_id);
    update->created_us = clock_wall_us(&clock_system);
    update->queue = queue_of(bot, queue_key(&arena, kind, value));
    yyjson_doc_free(doc);
    arena_done(&arena);
    DL_APPEND(telegram->updates, update);
    DL_APPEND2(bot->waiting, update, bot_prev, bot_next);
    DL_APPEND2(update->queue->updates, update, queue_prev, queue_next);
    telegram->update_count++;
    bot->waiting_count++;
    telegram->counts[TELEGRAM_WAITING]++;
    forget_oldest(telegram);
    telegram_queue_ready(update->queue);
    telegram_poll_wake(bot);
    live_changed(telegram->door->live);
    return update;
}

static void show_state(struct telegram_update *update)
{
    struct telegram_chat *chat = telegram_chat_find(update->bot, update->chat_id);
    if (!chat)
        return;
    for (struct telegram_message *message = chat->messages ? chat->messages->prev : NULL; message;
         message = message == chat->messages ? NULL : message->prev)
        if (message->update_seq == update->seq) {
            message->state = update->state;
            message->answered = update->answered;
            break;
        }
    live_changed(update->bot->telegram->door->live);
}

void telegram_set_state(struct telegram_update *update, enum telegram_state state)
{
    struct telegram *telegram = update->bot->telegram;
    telegram->counts[update->state]--;
    telegram->counts[state]++;
    update->state = state;
    show_state(update);
}

void telegram_settle(struct telegram_update *update, enum telegram_state state)
{
    struct telegram_bot *bot = update->bot;
    struct telegram_queue *queue = update->queue;
    must(telegram_is_waiting(update));
    DL_DELETE2(bot->waiting, update, bot_prev, bot_next);
    DL_DELETE2(queue->updates, update, queue_prev, queue_next);
    bot->waiting_count--;
    if (queue->sending == update)
        queue->sending = NULL;
    update->queue = NULL;
    update->settled_us = clock_wall_us(&clock_system);
    disown(&update->payload);
    telegram_set_state(update, state);
    queue->failures = 0;
    if (!queue->updates && !queue->call)
        telegram_queue_free(queue);
}

void telegram_update_write(const struct telegram_update *update, struct buf *out)
{
    buf_printf(out, "{\"update_id\":%" PRId64 ",\"%.*s\":", update->id, STR_ARG(update->kind));
    buf_add_str(out, update->payload);
    buf_add_char(out, '}');
}

// ---- what customers do ----

static void write_person(struct json *json, const struct telegram_chat *chat, bool as_user)
{
    struct str name = chat->name;
    size_t space = str_index(name, ' ', 0);
    json_open(json, '{');
    json_key_int(json, "id", chat->id);
    if (as_user)
        json_key_bool(json, "is_bot", false);
    else
        json_key_str(json, "type", STR("private"));
    json_key_str(json, "first_name", str_sub(name, 0, space));
    if (space + 1 < name.n)
        json_key_str(json, "last_name", str_sub(name, space + 1, name.n));
    if (as_user)
        json_key_str(json, "language_code", STR("en"));
    json_close(json, '}');
}

static void write_entities(struct json *json, struct str text)
{
    size_t end = 1;
    while (end < text.n && text.p[end] > ' ')
        end++;
    if (text.n < 2 || text.p[0] != '/' || end < 2)
        return;
    json_key(json, "entities");
    json_open(json, '[');
    json_open(json, '{');
    json_key_int(json, "offset", 0);
    json_key_int(json, "length", (int64_t)end);
    json_key_str(json, "type", STR("bot_command"));
    json_close(json, '}');
    json_close(json, ']');
}

static void write_message(struct json *json, const struct telegram_chat *chat, const struct telegram_message *message)
{
    json_open(json, '{');
    json_key_int(json, "message_id", message->id);
    json_key(json, "from");
    write_person(json, chat, true);
    json_key(json, "chat");
    write_person(json, chat, false);
    json_key_int(json, "date", message->date);
    if (message->edited)
        json_key_int(json, "edit_date", telegram_now());
    if (message->album.p)
        json_key_str(json, "media_group_id", message->album);
    if (message->media.kind)
        telegram_media_write(json, &message->media);
    if (message->media.kind && message->text.n > 0)
        json_key_str(json, "caption", message->text);
    else if (!message->media.kind)
        json_key_str(json, "text", message->text);
    if (!message->media.kind)
        write_entities(json, message->text);
    json_close(json, '}');
}

static struct telegram_update *message_update_of(struct telegram_chat *chat, struct telegram_message *message,
                                                 struct str kind, struct str payload)
{
    int64_t seq = message->update_seq;
    message->update_seq = chat->bot->telegram->last_seq + 1; // known before the update is on its way
    message->state = TELEGRAM_WAITING;
    struct telegram_update *update = telegram_update_add(chat->bot, kind, payload);
    if (!update) { // the bot does not ask for this kind
        message->update_seq = seq;
        message->state = TELEGRAM_DROPPED;
    }
    return update;
}

static struct telegram_update *message_update(struct telegram_chat *chat, struct telegram_message *message,
                                              struct str kind)
{
    struct buf text;
    buf_init(&text, PAYLOAD_MAX);
    struct json json = {.out = &text};
    write_message(&json, chat, message);
    struct telegram_update *update = message_update_of(chat, message, kind, buf_str(&text));
    buf_done(&text);
    return update;
}

struct telegram_update *telegram_say(struct telegram_chat *chat, struct str text, int64_t date)
{
    struct telegram_message *message = message_add(chat, text, date);
    chat->said++;
    chat_moved(chat);
    return message_update(chat, message, STR("message"));
}

struct telegram_update *telegram_send(struct telegram_chat *chat, const struct telegram_sends *sends)
{
    struct telegram_message *message = message_add(chat, sends->caption.p ? sends->caption : STR(""), 0);
    message->album = own(sends->album);
    telegram_media_make(chat->bot->telegram, &message->media, sends);
    chat->said++;
    chat_moved(chat);
    return message_update(chat, message, STR("message"));
}

struct telegram_message *telegram_message_find(const struct telegram_chat *chat, int64_t id)
{
    struct telegram_message *message = NULL;
    DL_FOREACH(chat->messages, message)
    if (message->id == id)
        return message;
    return NULL;
}

struct telegram_update *telegram_edit(struct telegram_chat *chat, int64_t message_id, struct str text)
{
    struct telegram_message *message = telegram_message_find(chat, message_id);
    if (!message || message->from_bot)
        return NULL;
    own_again(&message->text, text);
    message->edited = true;
    chat_moved(chat);
    return message_update(chat, message, STR("edited_message"));
}

static void write_bot_as_user(struct json *json, const struct telegram_bot *bot)
{
    json_open(json, '{');
    json_key_int(json, "id", bot->id);
    json_key_bool(json, "is_bot", true);
    json_key_str(json, "first_name", str_of(bot->name));
    json_key_str(json, "username", str_of(bot->username));
    json_close(json, '}');
}

// The bot's message with the button, as if it had been sent just now.
static void write_button(struct json *json, const struct telegram_chat *chat, struct str label, struct str data)
{
    json_open(json, '{');
    json_key_int(json, "message_id", chat->bot->next_message_id++);
    json_key(json, "from");
    write_bot_as_user(json, chat->bot);
    json_key(json, "chat");
    write_person(json, chat, false);
    json_key_int(json, "date", telegram_now());
    json_key_str(json, "text", STR("Choose"));
    json_key(json, "reply_markup");
    json_open(json, '{');
    json_key(json, "inline_keyboard");
    json_open(json, '[');
    json_open(json, '[');
    json_open(json, '{');
    json_key_str(json, "text", label);
    json_key_str(json, "callback_data", data);
    json_close(json, '}');
    json_close(json, ']');
    json_close(json, ']');
    json_close(json, '}');
    json_close(json, '}');
}

struct telegram_update *telegram_press(struct telegram_chat *chat, struct str label, struct str data)
{
    struct telegram_bot *bot = chat->bot;
    char id[40];
    snprintf(id, sizeof(id), "%" PRIu64, chance_below(&bot->telegram->chance, UINT64_C(1) << 62));
    struct telegram_message *message = message_add(chat, label, 0);
    message->pressed = true;
    chat_moved(chat);
    struct buf text;
    buf_init(&text, PAYLOAD_MAX);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_str(&json, "id", str_of(id));
    json_key(&json, "from");
    write_person(&json, chat, true);
    json_key(&json, "message");
    write_button(&json, chat, label, data);
    json_key_str(&json, "chat_instance", str_of(id));
    json_key_str(&json, "data", data);
    json_close(&json, '}');
    struct telegram_update *update = message_update_of(chat, message, STR("callback_query"), buf_str(&text));
    buf_done(&text);
    return update;
}

bool telegram_press_answer(struct telegram_bot *bot, struct str press)
{
    for (struct telegram_update *update = bot->telegram->updates; update; update = update->next)
        if (update->bot == bot && update->press.n && str_eq(update->press, press)) {
            update->answered = true;
            show_state(update);
            return true;
        }
    return false;
}

static void write_member(struct json *json, const struct telegram_bot *bot, bool blocked)
{
    json_open(json, '{');
    json_key(json, "user");
    write_bot_as_user(json, bot);
    json_key_str(json, "status", blocked ? STR("kicked") : STR("member"));
    if (blocked)
        json_key_int(json, "until_date", 0);
    json_close(json, '}');
}

struct telegram_update *telegram_block(struct telegram_chat *chat, bool blocked)
{
    struct buf text;
    buf_init(&text, PAYLOAD_MAX);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key(&json, "chat");
    write_person(&json, chat, false);
    json_key(&json, "from");
    write_person(&json, chat, true);
    json_key_int(&json, "date", telegram_now());
    json_key(&json, "old_chat_member");
    write_member(&json, chat->bot, !blocked);
    json_key(&json, "new_chat_member");
    write_member(&json, chat->bot, blocked);
    json_close(&json, '}');
    chat->blocked = blocked;
    struct telegram_update *update = telegram_update_add(chat->bot, STR("my_chat_member"), buf_str(&text));
    buf_done(&text);
    return update;
}

struct telegram_message *telegram_bot_says(struct telegram_chat *chat, struct str text, struct str entities,
                                           int64_t thread_id)
{
    struct telegram_message *message = message_add(chat, text, 0);
    message->from_bot = true;
    message->entities = own(entities);
    message->thread_id = thread_id;
    message->state = TELEGRAM_DELIVERED;
    chat_moved(chat);
    return message;
}

void telegram_bot_edits(struct telegram_chat *chat, struct telegram_message *message, struct str text,
                        struct str entities)
{
    own_again(&message->text, text);
    own_again(&message->entities, entities);
    message->edited = true;
    chat_moved(chat);
}

void telegram_bot_deletes(struct telegram_chat *chat, struct telegram_message *message)
{
    message_free(chat, message);
    chat_moved(chat);
}

// ---- chats of updates that were given by hand ----

static const char *chat_type(struct str type)
{
    static const char *const types[] = {"private", "group", "supergroup", "channel"};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (str_eq_c(type, types[i]))
            return types[i];
    return types[0];
}

void telegram_migrate(struct telegram_chat *chat, int64_t to)
{
    chat->migrated_to = to;
    telegram_chat(chat->bot, to, chat->name)->type = "supergroup";
    live_changed(chat->bot->telegram->door->live);
}

void telegram_chat_learn(struct telegram_bot *bot, yyjson_val *payload)
{
    yyjson_val *of = yyjson_obj_get(payload, "chat");
    int64_t id = 0, to = 0;
    if (!json_get_int(of, "id", &id))
        return;
    struct str title = json_get_str(of, "title"), name = title.n ? title : json_get_str(of, "first_name");
    struct telegram_chat *chat = telegram_chat(bot, id, name);
    struct str status = json_get_str(yyjson_obj_get(payload, "new_chat_member"), "status");
    chat->type = chat_type(json_get_str(of, "type"));
    if (status.p)
        chat->blocked = str_eq_c(status, "kicked") || str_eq_c(status, "left");
    if (json_get_int(payload, "migrate_to_chat_id", &to))
        telegram_migrate(chat, to);
}

// ---- life ----

static void forget_all(struct telegram *telegram)
{
    struct telegram_bot *bot, *next;
    telegram_paths_free(telegram);
    files_clear(telegram->files);
    HASH_ITER(hh, telegram->bots, bot, next)
    {
        bot_free(bot);
    }
    while (telegram->updates)
        update_free(telegram, telegram->updates);
    memset(telegram->counts, 0, sizeof(telegram->counts));
    telegram->last_seq = telegram->dropped_seq = 0;
    journal_clear(telegram->sent);
    journal_clear(telegram->changed);
}

static void on_reset(void *arg)
{
    forget_all(arg);
}

static void on_dropped(void *arg, struct call *call)
{
    struct telegram_bot *bot = call->state;
    (void)arg;
    bot->poll = NULL;
    loop_timer_clear(bot->poll_timer);
    call->state = NULL;
}

static const struct door_ops ops = {
    .name = "telegram",
    .page = "chat.html",
    .api = telegram_api,
    .control = telegram_control,
    .refuse = telegram_refuse,
    .status = telegram_status,
    .journal = telegram_journal,
    .reset = on_reset,
    .dropped = on_dropped,
};

struct telegram *telegram_new(struct loop *loop, const struct telegram_options *options, const char **why)
{
    struct telegram *telegram = mem_new_of(struct telegram);
    telegram->loop = loop;
    telegram->options = *options;
    telegram->limits.chat_burst = 1;
    chance_init(&telegram->chance, options->seed);
    telegram->door = door_new(loop, options->address, &ops, telegram, options->seed, why);
    if (!telegram->door) {
        free(telegram);
        return NULL;
    }
    struct http_client_options client;
    http_client_options_default(&client);
    client.user_agent = "tributary-sandbox/" TRIBUTARY_VERSION;
    client.max_connections = 256;
    telegram->client = http_client_new(loop, &client);
    telegram->sent = journal_new(options->keep);
    telegram->changed = journal_new(options->keep);
    telegram->files = files_new(files_max);
    telegram->customers = customers_new(telegram, 0, 0);
    return telegram;
}

void telegram_free(struct telegram *telegram)
{
    if (!telegram)
        return;
    customers_free(telegram->customers);
    forget_all(telegram);
    http_client_free(telegram->client);
    door_free(telegram->door);
    journal_free(telegram->sent);
    journal_free(telegram->changed);
    files_free(telegram->files);
    free(telegram);
}
