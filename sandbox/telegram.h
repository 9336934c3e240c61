// A stand-in of Telegram's Bot API: bots, customers who write to them, updates on their way to whoever holds the bot's token.
//
// Any token of the right form is a bot, with a state of its own. An update is born by a customer (chat page, control API, chatting
// customers), waits, and is settled in one of two ways: the bot's webhook answered 2xx, or getUpdates was called with a higher
// offset. Updates of one queue (a chat's messages, a user's button presses ...) go to the webhook strictly one after another.
//
//   waiting -push-> sending -2xx-> delivered          waiting -offset-> confirmed
//   sending -else-> waiting (again at once, then 2, 4, 8 ... s)          waiting -24 h, or asked to-> dropped
#pragma once
#include "base/chance.h"
#include "net/http_client.h"
#include "sandbox/door.h"

#include <uthash.h>

enum telegram_state { TELEGRAM_WAITING, TELEGRAM_SENDING, TELEGRAM_DELIVERED, TELEGRAM_CONFIRMED, TELEGRAM_DROPPED };
enum { TELEGRAM_STATES = TELEGRAM_DROPPED + 1 };

struct telegram_update {
    struct telegram_update *prev, *next;             // all of the stand-in, in order of creation
    struct telegram_update *bot_prev, *bot_next;     // the bot's that are not settled
    struct telegram_update *queue_prev, *queue_next; // the queue's that are not settled
    struct telegram_bot *bot;
    struct telegram_queue *queue; // NULL once settled
    int64_t seq;                  // number in the stand-in
    int64_t id;                   // update_id
    struct str kind;              // owned: "message"
    struct str payload;           // owned until settled: the JSON of the kind's value
    int64_t chat_id, message_id;  // 0: none
    struct str text;              // owned: for the journal
    struct str press;             // owned: the id of the button press that it is, to be answered; STR_NONE: none
    bool answered;
    enum telegram_state state;
    int attempts;
    int last_status; // of the webhook's last answer; 0: none came
    int64_t created_us, settled_us;
};

// One order: what is in it goes one by one.
struct telegram_queue {
    UT_hash_handle hh; // in the bot, by key
    struct telegram_queue *ready_prev, *ready_next;
    struct telegram_bot *bot;
    char *key;
    struct telegram_update *updates;
    struct telegram_update *sending; // NULL although a call is open: it was settled otherwise
    struct http_call *call;
    struct loop_timer *timer; // NULL until needed
    int failures;             // of the head, in a row
    bool ready, waiting;
};

// What a message carries beside its text, which then is the caption.
struct telegram_media {
    const char *kind;      // "photo", "document", "voice", "audio", "video", "animation"; NULL: nothing
    struct str id;         // owned: of the file (files.h), which may have had to go
    struct str thumb;      // owned: the same of the smaller picture of a photo
    struct str name, mime; // owned, as the message says; may be empty
    int64_t size;          // bytes, as the message says; -1: it does not
    int64_t real_size;     // bytes
    int64_t width, height;
    char hash[FILES_HASH_SIZE + 1];
};

struct telegram_message {
    struct telegram_message *prev, *next;
    int64_t id, date;
    struct str text; // owned
    bool from_bot, edited;
    struct telegram_media media;
    struct str album;       // owned: its media_group_id, or STR_NONE
    struct str entities;    // owned: of the bot's, a JSON list; STR_NONE: none
    int64_t thread_id;      // forum topic, 0: none
    int64_t at_us;          // when it was said here
    bool pressed, answered; // a button, pressed by the customer; the bot answered that
    int64_t update_seq;     // the update that carries it; 0: the bot's own
    enum telegram_state state;
};

// A private chat with one customer; or a group, known by an update that was given by hand.
struct telegram_chat {
    UT_hash_handle hh;                 // in the bot, by id
    struct telegram_chat *prev, *next; // in the bot, latest activity first
    struct telegram_bot *bot;
    int64_t id;
    struct str name;                   // owned
    struct telegram_message *messages; // the last ones
    size_t message_count;
    int64_t said; // by the customer, in all
    int64_t active_us;
    const char *type;    // "private", "group", "supergroup", "channel"
    bool blocked;        // the customer blocked the bot, or the group removed it
    int64_t migrated_to; // the group goes on as this supergroup; 0: it does not
    int64_t next_us;     // when a message more would be in pace (telegram_api.c)
    int64_t chatter;     // running number of the chatting customer
};

struct telegram_bot {
    UT_hash_handle hh; // by token
    struct telegram *telegram;
    struct str token; // owned
    int64_t id;
    char *username, *name;
    int64_t next_update_id, next_message_id;
    struct telegram_update *waiting; // not settled, by creation (bot_next)
    int64_t waiting_count;
    struct telegram_queue *queues, *ready;
    struct telegram_chat *chats_by_id, *chats;
    size_t chat_count;
    int64_t next_us; // as of a chat, for all that the bot sends
    bool used;       // somebody asked for its updates
    // The webhook; url.p NULL: none.
    struct str url, secret; // owned
    int64_t max_connections, in_flight;
    int64_t last_error_date;
    struct str last_error; // owned
    struct str allowed;    // owned: a JSON list; STR_NONE: the default kinds
    // The long poll that waits.
    struct call *poll;
    struct loop_timer *poll_timer;
    int64_t poll_offset, poll_limit;
};

// An address that getFile gave.
struct telegram_path {
    UT_hash_handle hh; // by path
    struct telegram_path *prev, *next;
    struct telegram_bot *bot;
    struct str path, id; // owned; id of the file
    bool spent;
};

// How fast a bot may send before it gets 429; 0: as fast as it likes.
struct telegram_limits {
    int64_t chat_ms;    // to one chat a message in so many milliseconds, on the average
    int64_t chat_burst; // so many at once
    int64_t bot_per_s;  // to all chats, in a second
};

struct telegram_options {
    const char *address;
    double retry_scale; // of the pauses between attempts at a webhook: 0.01 for tests
    int64_t webhook_timeout_ms;
    uint64_t seed;
    size_t keep; // settled updates that the journal remembers
};

struct telegram {
    struct door *door;
    struct loop *loop;
    struct http_client *client;
    struct telegram_options options;
    struct telegram_bot *bots;
    struct telegram_update *updates;
    size_t update_count;
    int64_t last_seq;
    int64_t dropped_seq; // the journal begins after this one
    int64_t counts[TELEGRAM_STATES];
    struct journal *sent;    // what the bots sent
    struct journal *changed; // what they edited and deleted
    struct files *files;
    struct telegram_path *paths_by_path, *paths; // the last ones
    size_t path_count;
    int64_t last_path;
    struct telegram_limits limits;
    struct chance chance;
    struct customers *customers;
};

// ---- telegram.c ----
struct telegram *telegram_new(struct loop *loop, const struct telegram_options *options, const char **why);
void telegram_free(struct telegram *telegram);
// The bot of a well-formed token, made when it is new; NULL when the token is none.
struct telegram_bot *telegram_bot(struct telegram *telegram, struct str token);
// The bot of that token; without a token the only one there is. NULL: none, or which one is not clear.
struct telegram_bot *telegram_bot_find(struct telegram *telegram, struct str token);
// The chat with that customer, made when it is new (with the name, or one of ours).
struct telegram_chat *telegram_chat(struct telegram_bot *bot, int64_t id, struct str name);
struct telegram_chat *telegram_chat_find(struct telegram_bot *bot, int64_t id);
// A new update; `payload` is copied. NULL when the bot does not want that kind.
struct telegram_update *telegram_update_add(struct telegram_bot *bot, struct str kind, struct str payload);
// A customer says something: an update and a line in the chat. date 0: now. NULL when messages are not wanted.
struct telegram_update *telegram_say(struct telegram_chat *chat, struct str text, int64_t date);
// A file that a customer sends, and how: `kind` NULL is by its type. size: what the update says of it (-1: nothing).
struct telegram_sends {
    const char *kind;
    struct str bytes, name, mime, caption, album;
    int64_t size;
};
struct telegram_update *telegram_send(struct telegram_chat *chat, const struct telegram_sends *sends);
// The customer changes a message that is still remembered. NULL when it is not.
struct telegram_update *telegram_edit(struct telegram_chat *chat, int64_t message_id, struct str text);
// The customer presses a button of the bot's that says `label` and sends `data`: an update and a line in the chat.
struct telegram_update *telegram_press(struct telegram_chat *chat, struct str label, struct str data);
// The message of that id that is still remembered, or NULL.
struct telegram_message *telegram_message_find(const struct telegram_chat *chat, int64_t id);
// The bot changes what it said.
void telegram_bot_edits(struct telegram_chat *chat, struct telegram_message *message, struct str text,
                        struct str entities);
void telegram_bot_deletes(struct telegram_chat *chat, struct telegram_message *message);
// The bot answers a press, so that the customer's client stops waiting. False when there is none of that id.
bool telegram_press_answer(struct telegram_bot *bot, struct str press);
// The customer blocks the bot, or lets it in again.
struct telegram_update *telegram_block(struct telegram_chat *chat, bool blocked);
// The bot says something; `entities` as JSON, or STR_NONE.
struct telegram_message *telegram_bot_says(struct telegram_chat *chat, struct str text, struct str entities,
                                           int64_t thread_id);
// What an update that was given by hand says of its chat: that there is one, that the bot was removed, that it migrated.
void telegram_chat_learn(struct telegram_bot *bot, yyjson_val *payload);
// The group goes on as a supergroup under the id `to`.
void telegram_migrate(struct telegram_chat *chat, int64_t to);
void telegram_settle(struct telegram_update *update, enum telegram_state state);
void telegram_set_state(struct telegram_update *update, enum telegram_state state);
bool telegram_is_waiting(const struct telegram_update *update);
const char *telegram_state_name(enum telegram_state state);
// {"update_id":1,"message":{...}} into `out`.
void telegram_update_write(const struct telegram_update *update, struct buf *out);
int64_t telegram_now(void);

// ---- telegram_api.c ----
struct asked {
    struct call *call;
    struct telegram_bot *bot;
};
// A parameter as text, wherever it stands, or STR_NONE.
struct str telegram_param(struct call *call, const char *name);
int64_t telegram_param_int(struct call *call, const char *name, int64_t otherwise);
// The real server's words for what it does not do; retry_after_s below 0: not said.
void telegram_error(struct call *call, int code, const char *description, int64_t retry_after_s);
// The same; `parameter` and its value go into "parameters".
void telegram_failure(struct call *call, int code, const char *description, const char *parameter, int64_t value);
// {"ok":true,"result":true}; `description` may be NULL.
void telegram_true(struct call *call, const char *description);
// {"ok":true,"result": ... } : begin, write the result, end.
void telegram_begin(struct buf *text, struct json *json);
void telegram_end(struct call *call, struct buf *text, struct json *json);
void telegram_write_bot(struct json *json, const struct telegram_bot *bot);
void telegram_api(void *arg, struct call *call);
void telegram_refuse(void *arg, struct call *call, int status, int64_t retry_after_s);
// Answers the long poll, if one waits and there is something for it.
void telegram_poll_wake(struct telegram_bot *bot);
// Ends the long poll that waits with 409.
void telegram_poll_end(struct telegram_bot *bot, const char *why);

// ---- telegram_send.c: what the bot sends, changes and deletes ----
void telegram_send_message(struct asked *asked);
void telegram_send_photo(struct asked *asked);
void telegram_send_document(struct asked *asked);
void telegram_send_voice(struct asked *asked);
void telegram_send_audio(struct asked *asked);
void telegram_send_video(struct asked *asked);
void telegram_send_animation(struct asked *asked);
void telegram_edit_text(struct asked *asked);
void telegram_edit_caption(struct asked *asked);
void telegram_delete_message(struct asked *asked);

// ---- telegram_files.c ----
// Keeps the file; what it looks like says what stands where the sender did not.
void telegram_media_make(struct telegram *telegram, struct telegram_media *out, const struct telegram_sends *sends);
// Of a file that is kept already. False: it is not.
bool telegram_media_again(struct telegram *telegram, struct telegram_media *out, const char *kind, struct str file_id);
void telegram_media_free(struct telegram_media *media);
// The member of a message: "photo": [...].
void telegram_media_write(struct json *json, const struct telegram_media *media);
// For pages and tests: "file": {...} or null.
void telegram_media_show(struct json *json, const struct telegram_media *media);
// The kind that the word names, or NULL.
const char *telegram_media_kind(struct str word);
void telegram_get_file(struct asked *asked);
// GET /file/bot<token>/<file_path>
void telegram_file(struct asked *asked);
void telegram_paths_free(struct telegram *telegram);

// ---- telegram_avatar.c ----
void telegram_get_user_profile_photos(struct asked *asked);

// ---- telegram_push.c ----
// Sends what may be sent to the webhook.
void telegram_push(struct telegram_bot *bot);
// The queue has its first update, or another after the one before was settled.
void telegram_queue_ready(struct telegram_queue *queue);
// Carries out the call that a webhook's answer may hold; its result is lost.
void telegram_push_call(struct telegram_bot *bot, const struct http_response *answer);
// The webhook changed: what waits for another attempt goes now.
void telegram_push_afresh(struct telegram_bot *bot);
void telegram_queue_free(struct telegram_queue *queue);

// ---- telegram_control.c ----
bool telegram_control(void *arg, struct call *call, struct str what);
bool telegram_journal(void *arg, struct str of, int64_t after, int64_t limit, struct json *json);
void telegram_status(void *arg, struct json *json);

// ---- customers.c ----
struct customers *customers_new(struct telegram *telegram, int64_t count, double rate);
void customers_free(struct customers *customers);
void customers_set(struct customers *customers, int64_t count, double rate);
int64_t customers_count(const struct customers *customers);
double customers_rate(const struct customers *customers);
