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

// The call of a method; `body` is JSON. In the arena.
struct http_request telegram_call(const struct source *source, const char *method, struct str body,
                                  struct arena *arena);

// ---- telegram_kind.c, telegram_message.c: what they say ----

// What a member of an update or of a message is to us. Telegram's description is held against these by a test.
enum telegram_use {
    TELEGRAM_UNKNOWN,    // not known to this version
    TELEGRAM_SAYS,       // becomes words
    TELEGRAM_ENVELOPE,   // who, where, when, about what: read beside the words
    TELEGRAM_NO_MEANING, // says nothing to an agent: discarded when there is nothing else
    TELEGRAM_LEFT_OUT,   // as that, and never all that there is
};

struct telegram_words {
    struct str text;
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
// Only its content, as when it is quoted; `out` may be NULL.
struct str telegram_content(yyjson_val *message, bool edited, struct arena *arena, struct telegram_words *out);

// ---- telegram_file.c ----

// The files of a message as `attachments` of struct event: by reference (file_id), since Telegram's addresses hold the
// bot's token. STR_NONE when there are none.
struct str telegram_files(yyjson_val *message, struct arena *arena);

// ---- telegram_text.c: texts ----

// A text of an update in the arena, with U+FFFD for a NUL, which no later stage should have to carry.
struct str telegram_text(yyjson_val *value, struct arena *arena);
struct str telegram_get_text(yyjson_val *object, const char *key, struct arena *arena);
// The same with the addresses behind its linked words; `entities` count in UTF-16 units.
struct str telegram_linked_text(yyjson_val *text_value, yyjson_val *entities, struct arena *arena);
// On one line, and not longer than a quotation should be.
struct str telegram_quoted(struct str text, struct arena *arena);
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
