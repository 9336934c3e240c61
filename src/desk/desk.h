// A desk's connector: a pure step machine (no socket, clock, store or global), one file each, one line in
// the registry. The courier (relay/courier.h) runs it: the last answer goes in, the next request or the
// verdict comes out.
//
// What a step learns goes into `link`, as data, and is committed with whatever outcome ends the steps; an
// attempt that is cut short loses nothing but time.
#pragma once
#include "base/arena.h"
#include "model/account.h"
#include "model/http.h"
#include "model/inquiry.h"
#include "model/message.h"
#include "model/verdict.h"

// One attempt at one message. The courier fills the first group and keeps `now_us` true at every step.
struct desk_attempt {
    const struct account *account;
    const struct source *source;
    const struct desk *desk;
    const struct message *message;
    struct str customer; // whose thread it is, unique over all platforms: "telegram:<bot id>:<chat id>"
    struct str store_id; // random, of the store: makes our ids unique at the desk
    bool in_doubt;       // it may be there already: look first
    bool look_only;      // the last look-up before it is given up: send nothing, end with not_found
    int64_t settle_us;   // delivery.settle
    int64_t now_us;      // wall time
    // References recorded for this conversation by messages with the same second of sent_at (look-ups
    // count them).
    const struct str *known_refs;
    size_t known_ref_count;
    struct arena *arena; // of the attempt: lives until its outcome is handed over

    struct link link; // in: as stored. out: as learned; texts in the arena
    bool link_changed;

    int phase;   // the connector's own, 0 at the start
    int tries;   // the connector's own, 0 at the start: bounds loops
    void *state; // the connector's own, in the arena
};

enum desk_step_kind { DESK_SEND, DESK_END };

struct desk_step {
    enum desk_step_kind kind;
    struct http_request request; // DESK_SEND; in the arena
    bool writes;                 // DESK_SEND: it could apply the message (a look-up or a contact could not)
    struct verdict verdict;      // DESK_END
};

struct desk_connector {
    const char *name; // as in the configuration
    // An idempotency key goes with every attempt: no look-up, no in-flight mark.
    bool has_key;
    // In doubt can be settled by a look-up.
    bool has_lookup;
    // The base URL when the configuration gives none; NULL when `url` is a setting.
    const char *api_url;
    // NULL when the settings can work, else one sentence saying what would be right.
    const char *(*check)(const struct desk *desk, struct arena *arena);
    // `last` is NULL at the start, else the answer to the request of the step before.
    void (*step)(struct desk_attempt *attempt, const struct http_response *last, struct desk_step *out);
    // The cheap request that tells whether the desk is well; false when this desk has none.
    bool (*probe)(const struct desk *desk, struct arena *arena, struct http_request *out);
    // What the probe's answer says: VERDICT_DELIVERED = well; VERDICT_REJECTED = it cannot be probed so, and the head of a
    // lane is tried instead; all else = not well.
    struct verdict (*probe_verdict)(const struct http_response *response, int64_t now_us, struct arena *arena);
    // What an answer's headers say of the desk's rate: true when the desk said how many requests are left
    // (`out_remaining`) until when (`out_reset_us`, wall time). NULL when it never says.
    bool (*rate)(const struct http_response *response, int64_t *out_remaining, int64_t *out_reset_us);
    // The next step of what a person asks of the desk, which changes nothing; `last` is NULL at the start. True: send
    // `out_request` and come back with the answer; false: inquiry_end was called.
    bool (*ask)(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last,
                struct http_request *out_request);
};

// NULL when there is none of that name.
const struct desk_connector *desk_connector_find(struct str name);
// All of them, NULL-terminated.
extern const struct desk_connector *const desk_connectors[];

extern const struct desk_connector desk_intercom, desk_webhook;
