// What the files of the Telegram connector share; for nobody else.
#pragma once
#include "base/json.h"
#include "platform/platform.h"

enum telegram_reading {
    TELEGRAM_EVENT,     // *out is one event
    TELEGRAM_NOTHING,   // an update that belongs to no chat: nothing to tell anyone
    TELEGRAM_MALFORMED, // not what Telegram sends
};

// The kinds of update that we ask for and understand, as a JSON list.
extern const char telegram_allowed_updates[];

// The digits before the colon of a bot's token, which are the bot's id; STR_NONE when it is no token.
struct str telegram_bot_id(struct str token);

// One update (`root`) as an event in the arena. `raw` is the update as it came, or STR_NONE to have it written when it
// is needed.
enum telegram_reading telegram_read(struct str bot_id, yyjson_val *root, struct str raw, int64_t now_us,
                                    struct arena *arena, struct event *out);
// The same for an update of a batch that must not be refused, since all behind it would wait for ever: what
// cannot be read becomes one readable line, in a conversation of its own when it names no chat. False when it
// says nothing.
bool telegram_read_anyhow(struct str bot_id, yyjson_val *root, int64_t now_us, struct arena *arena, struct event *out);

// The words an agent shall read for an update of this kind; `out_whole` says whether they are all of it.
struct str telegram_words(struct str kind, yyjson_val *content, struct arena *arena, bool *out_whole);
// A text of an update in the arena, with U+FFFD for a NUL, which no later stage should have to carry.
struct str telegram_text(yyjson_val *value, struct arena *arena);

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
