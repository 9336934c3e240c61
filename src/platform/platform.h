// A social platform's connector: pure functions over plain data (no socket, clock, store or global), one
// file each, one line in the registry.
//
// An incoming request becomes a receipt: forged, malformed, or a list of events. What keeps a source
// connected (registering a webhook, long polling) is a step machine: the last answer goes in, the next
// request comes out; relay/sources.h runs it.
#pragma once
#include "base/arena.h"
#include "model/account.h"
#include "model/delivery.h"
#include "model/file_fetch.h"
#include "model/http.h"
#include "model/inquiry.h"
#include "model/message.h"

enum receipt_kind {
    RECEIPT_OK,        // 200 once the events (maybe none) are stored
    RECEIPT_FORGED,    // 401: signature or secret missing or wrong
    RECEIPT_UNTIMELY,  // 401: rightly signed, but `ahead_s` from our clock
    RECEIPT_MALFORMED, // 400: not what the platform sends
    RECEIPT_BAD_TYPE,  // 415: a content type the platform never sends
    RECEIPT_NO_MEMORY, // 503: it could not be read for want of memory, whatever it is
};

struct receipt {
    enum receipt_kind kind;
    struct str why; // for people, unless OK; no secrets, no texts
    const struct event *events;
    size_t event_count;
    int64_t ahead_s;   // UNTIMELY: of its timestamp, seen from our clock; negative: behind
    struct str answer; // the 200's body, JSON; STR_NONE: an empty one
};

enum source_step_kind {
    SOURCE_SEND,   // send `request`, come back with the answer
    SOURCE_STORE,  // store `events`; come back, without an answer, when they are durable
    SOURCE_LEARN,  // `made_secret` or `registered_url` of the upkeep changed: store them, come back when durable
    SOURCE_REST,   // nothing to do until `until_us`
    SOURCE_REFUSE, // a person must act: `why`, shown as an alarm; look again at `until_us`
};

struct source_step {
    enum source_step_kind kind;
    struct http_request request;
    int64_t timeout_ms; // of the request
    const struct event *events;
    size_t event_count;
    int64_t until_us; // wall time
    bool healthy;     // SOURCE_REST: all is well (else it is trouble that will be tried again, and `why` says which)
    struct str why;
};

// The step machine's memory; owned by relay/sources, zeroed but for the first group at the start.
struct source_upkeep {
    const struct source *source;
    struct str public_url; // STR_NONE: polling is the default
    enum order_rule order;
    uint8_t fresh_secret[32]; // chance, for a secret to be made

    struct arena memory; // what outlives one step; the runner ends it
    struct arena batch;  // the same, for what the connector keeps of one batch: it may end it too
    int phase;           // the connector's own
    int failures;        // in a row
    int64_t offset;      // the connector's own
    struct str *presses; // in `batch`: button presses still to be answered
    size_t press_count;
    struct str made_secret, registered_url;
};

// A reply, or a part of a long one.
struct reply_text {
    struct str text;   // plain
    struct str format; // as in struct event
};

struct platform {
    const char *name; // as in the configuration
    // NULL when the settings can work, else one sentence saying what would be right. Allocated in the arena.
    const char *(*check)(const struct source *source, struct arena *arena);
    // The base URL when the configuration gives none; NULL when the platform is never called.
    const char *api_url;
    // Whose bot or number this is, unique over all sources: "telegram:<bot id>". STR_NONE when it has none.
    struct str (*identity)(const struct source *source, struct arena *arena);
    // The part of `conversation` that says whose thread it is (Telegram: the chat id without the topic);
    // borrowed from it. NULL: all of it.
    struct str (*customer)(struct str conversation);
    // Verifies, then parses. `now_us` is wall time. Everything in *out borrows from the request or the arena.
    void (*receive)(const struct source *source, const struct http_request *request, int64_t now_us,
                    struct arena *arena, struct receipt *out);
    // The next step of what keeps the source connected; `last` is NULL unless the step before was SOURCE_SEND.
    // NULL when there is nothing to keep.
    void (*keep)(struct source_upkeep *upkeep, const struct http_response *last, int64_t now_us, struct arena *arena,
                 struct source_step *out);
    // The next step of what a person asks of the source, which changes nothing; `last` is NULL at the start. True: send
    // `out_request` and come back with the answer; false: inquiry_end was called. `public_url` as in source_upkeep.
    bool (*ask)(const struct source *source, struct str public_url, struct inquiry *inquiry,
                const struct http_response *last, struct http_request *out_request);
    // Fetches a file that this platform names by a reference of its own; NULL: all come by their address (file_fetch_url).
    file_fetch_step *fetch_file;
    // The customer's profile picture, of a conversation with them alone (the last fields of struct file_fetch). NULL: this platform
    // has none.
    file_fetch_step *fetch_avatar;
    // Takes replies; NULL: this platform cannot.
    const struct receiver *receiver;
    // An agent's words (simple HTML, as desks write it) as messages of the platform, in order: several where the text is
    // longer than one may be, cut at a sensible place; none when nothing is left that a customer could read. In the arena.
    void (*compose)(struct str html, struct arena *arena, struct reply_text **out_texts, size_t *out_count);
    // Its receiver takes replies that are a file (one attachment, no text): an agent's files go so, each as a message of its own
    // behind the words. False: they are links in the text.
    bool takes_files;
    // Its receiver carries out REPLY_EDITS and REPLY_DELETES. False: the agent gets a note that it cannot.
    bool takes_acts;
};

// NULL when there is none of that name.
const struct platform *platform_find(struct str name);
// All of them, NULL-terminated.
extern const struct platform *const platforms[];

extern const struct platform platform_telegram, platform_webhook;
