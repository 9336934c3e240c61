// What the files of the Telegram connector share; for nobody else.
#pragma once
#include "base/json.h"
#include "platform/platform.h"

// ---- telegram.c: updates ----

enum telegram_reading {
    TELEGRAM_EVENT,     // *out is one event
    TELEGRAM_MALFORMED, // not what Telegram sends
};

// The digits before the colon of a bot's token, which are the bot's id; STR_NONE when it is no token.
struct str telegram_bot_id(struct str token);

// One update (`root`) as an event in the arena. `raw` is the update as it came, or STR_NONE to have it written when it
// is needed. `out_press` is the id of the button press that it is, to be answered; STR_NONE when it is none.
enum telegram_reading telegram_read(struct str bot_id, yyjson_val *root, struct str raw, int64_t now_us,
                                    struct arena *arena, struct event *out, struct str *out_press);
// The same for an update of a batch that must not be refused, since all behind it would wait for ever: what
// cannot be read becomes one readable line, in a conversation of its own.
void telegram_read_anyhow(struct str bot_id, yyjson_val *root, int64_t now_us, struct arena *arena, struct event *out,
                          struct str *out_press);

// Where the Bot API is; borrowed.
struct str telegram_base(const struct source *source);
// The call of a method; `body` is JSON. In the arena.
struct http_request telegram_call(const struct source *source, const char *method, struct str body,
                                  struct arena *arena);

// ---- telegram_kind.c, telegram_message.c: what they say ----

// What a member of an update or of a message is to us. Telegram's description is held against these by a test.
enum telegram_use {
    TELEGRAM_UNKNOWN,    // not known to this version
    TELEGRAM_SAYS,       // becomes words
    TELEGRAM_SHOWS,      // is a file that goes along; becomes words where it does not, as when it is quoted
    TELEGRAM_ENVELOPE,   // who, where, when, about what: read beside the words
    TELEGRAM_NO_MEANING, // says nothing to an agent: discarded when there is nothing else
    TELEGRAM_LEFT_OUT,   // as that, and never all that there is
};

struct telegram_words {
    struct str text;     // may be empty where there are files
    struct str files;    // as `attachments` of struct event
    bool whole;          // the text is all that was said
    enum reason discard; // REASON_NONE: an agent shall read it
};

// The members of an update: the kinds. `out_asked` (may be NULL): whether we ask Telegram for it.
enum telegram_use telegram_kind_use(struct str kind, bool *out_asked);
// The kinds of update that we ask for, as a JSON list.
extern const char telegram_allowed_updates[];
// A kind whose value is a message.
bool telegram_kind_is_message(struct str kind);
// What an update of this kind says.
void telegram_kind_words(struct str kind, yyjson_val *value, struct arena *arena, struct telegram_words *out);

// The members of a message. `out_why` (may be NULL): why it is left out, or has no meaning.
enum telegram_use telegram_message_use(struct str member, const char **out_why);
// What a message says, with what it answers or was forwarded from.
void telegram_message_words(yyjson_val *message, bool edited, struct arena *arena, struct telegram_words *out);
// Only its content. `out` NULL: as it is quoted, where no file goes along.
struct str telegram_content(yyjson_val *message, bool edited, struct arena *arena, struct telegram_words *out);

// ---- telegram_file.c ----

// The files of a message as `attachments` of struct event: wanted, by reference (file_id), since Telegram's addresses hold
// the bot's token; those that Telegram gives to no bot have failed. STR_NONE when there are none.
struct str telegram_files(yyjson_val *message, struct arena *arena);

#define TELEGRAM_TOO_LARGE "larger than the 20 MB that Telegram gives to bots"

// What a file without a name is called: by its kind and type. In the arena.
struct str telegram_file_name(const struct attachment *file, struct arena *arena);
// Fetches one of them by its file_id.
file_fetch_step telegram_fetch;

// ---- telegram_avatar.c ----

file_fetch_step telegram_fetch_avatar;

// ---- telegram_answer.c: answers of its methods ----

struct telegram_answer {
    yyjson_doc *doc;  // the caller's to free; may be NULL
    yyjson_val *root; // NULL when it is not Telegram's
    const char *says; // its description; ""
};

// telegram_fetch.c: the end by an answer that says nothing of the file, so that it may be tried again.
void telegram_fetch_failed(struct file_fetch *fetch, const struct http_response *last,
                           const struct telegram_answer *answer, struct file_step *out);
void telegram_answer_read(const struct http_response *response, struct telegram_answer *out);
yyjson_val *telegram_answer_parameter(const struct telegram_answer *answer, const char *name);
// Telegram's own words, for people: the first of them, in the arena; others in their place where the token may be among them.
struct str telegram_words(struct str words, struct arena *arena);
// As verdict_of, and its error holds no token.
struct verdict telegram_verdict(const struct http_response *response, bool writes, int64_t now_us, struct arena *arena);
// What is wrong with the bot as a whole; nothing is done to other verdicts.
void telegram_judge_bot(struct verdict *verdict, struct arena *arena);
// Wall time until which a 429 wants us to wait: as it says itself, else its header (in `verdict`), else a second.
int64_t telegram_limited_until(const struct telegram_answer *answer, const struct verdict *verdict, int64_t now_us);

// ---- telegram_text.c: texts ----

// A text of an update in the arena, with U+FFFD for a NUL, which no later stage should have to carry.
struct str telegram_text(yyjson_val *value, struct arena *arena);
struct str telegram_get_text(yyjson_val *object, const char *key, struct arena *arena);
// The same with the addresses behind its linked words; `entities` count in UTF-16 units.
struct str telegram_linked_text(yyjson_val *text_value, yyjson_val *entities, struct arena *arena);
// On one line, and not longer than a quotation should be.
struct str telegram_quoted(struct str text, struct arena *arena);
// The text behind what stands before it, which ends with a blank.
struct str telegram_behind(struct str before, struct str text, struct arena *arena);
// A person's or a chat's name; STR_NONE when it has none.
struct str telegram_name(yyjson_val *who, struct arena *arena);
// "0:05" of `duration`, "1:02:03"; STR_NONE when there is none.
struct str telegram_duration(yyjson_val *file, struct arena *arena);

// ---- telegram_keep.c ----

// The source is polled, by its mode or for want of a public URL.
bool telegram_wants_polling(const struct source *source, struct str public_url);
// A webhook's URL is where the source's should point, or one that we registered before.
bool telegram_is_own_url(const struct source *source, struct str public_url, struct str url, struct arena *arena);
// Where a webhook points, for people: never with our token.
struct str telegram_shown_url(const struct source *source, struct str url, struct arena *arena);

enum { TELEGRAM_ERROR_FRESH_S = 900 }; // an error of a delivery that is older says nothing of now

bool telegram_ask(const struct source *source, struct str public_url, struct inquiry *inquiry,
                  const struct http_response *last, struct http_request *out_request);
void telegram_keep(struct source_upkeep *upkeep, const struct http_response *last, int64_t now_us, struct arena *arena,
                   struct source_step *out);
// The parameters of answerCallbackQuery; `method` (may be NULL) is put beside them, as the answer to a webhook needs it.
struct str telegram_press_answer(struct str press, const char *method, struct arena *arena);

// ---- telegram_reply.c, telegram_send.c: the way back ----

void telegram_compose(struct str html, struct arena *arena, struct reply_text **out_texts, size_t *out_count);
extern const struct receiver telegram_receiver;

// Where a reply goes.
struct telegram_address {
    int64_t chat;
    struct str business;   // the connection in whose account's name; STR_NONE: the bot's own
    const char *topic_key; // the parameter that names the topic; NULL: there is none
    int64_t topic;
};

// "<chat>", "<chat>:<topic>", "<chat>:direct:<topic>", "<chat>:business:<connection>": as telegram.c makes them.
bool telegram_address_read(struct str thread, struct telegram_address *out);

// What is remembered from one request of a delivery to the next: its `state`.
struct telegram_sending {
    struct str address;                   // the thread that is written to
    struct str text;                      // what is said, of a file the words under it
    bool bare;                            // without entities
    const struct telegram_method *method; // that the file is sent by; NULL: it is not, the text is all
    struct attachment file;               // with `method`
    bool captions;                        // what is changed is the words under a file
};

// ---- telegram_upload.c: files ----

// Decides what goes out. STR_NONE, or why it cannot be sent, for its agent.
struct str telegram_upload_begin(struct delivery *delivery);
// With `method`.
struct http_request telegram_upload(const struct delivery *delivery, const struct telegram_address *address);
// It was refused so: true when there is another way.
bool telegram_upload_otherwise(struct delivery *delivery, bool too_large);

// ---- telegram_act.c: changing and deleting what was sent ----

// Both may be repeated without harm, so none of their requests "writes".
void telegram_act_begin(struct delivery *delivery);
// The request, or the end where Telegram has none for it.
void telegram_act(const struct delivery *delivery, const struct telegram_address *address, struct delivery_step *out);
// It was refused so: true when there is another way.
bool telegram_act_otherwise(struct delivery *delivery, const struct telegram_answer *answer, int status);
// What a 400 means for an act; nothing is done to others.
void telegram_act_judge(const struct delivery *delivery, const struct telegram_answer *answer, struct verdict *verdict);
