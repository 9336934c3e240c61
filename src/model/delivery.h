// A delivery: one attempt at one message, as a pure step machine (no socket, clock, store or global). Desks take inbound
// messages and notes so, platforms take replies. The courier (relay/courier.h) runs it: the last answer goes in, the next
// request or the verdict comes out.
//
// What a step learns goes into `link` or `moved_to`, as data, and is committed with whatever outcome ends the steps; an
// attempt that is cut short loses nothing but time.
#pragma once
#include "base/arena.h"
#include "model/account.h"
#include "model/http.h"
#include "model/media_link.h"
#include "model/message.h"
#include "model/verdict.h"

// The courier fills the first group and keeps `now_us` true at every step.
struct delivery {
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
    struct arena *arena;             // of the attempt: lives until its outcome is handed over
    const struct media_links *links; // for kept files
    struct str profile;              // of the customer, as struct profile's JSON; STR_NONE: not known

    struct link link; // desks. In: as stored. Out: as learned; texts in the arena
    bool link_changed;
    // Inbound. Out: of the message's attachments those (bit n: the n-th) that went with it or that the agent was told of for good. What
    // is not among them when it is delivered follows as a message of its own, once it is kept or has failed.
    uint32_t files_told;
    struct str moved_to; // replies. Out: the thread goes on under this id of the platform; STR_NONE: it does not

    int phase;   // the connector's own, 0 at the start
    int tries;   // the connector's own, 0 at the start: bounds loops
    void *state; // the connector's own, in the arena
};

enum delivery_step_kind { DELIVERY_SEND, DELIVERY_END };

struct delivery_step {
    enum delivery_step_kind kind;
    struct http_request request; // DELIVERY_SEND; in the arena
    // DELIVERY_SEND: it could apply the message (a look-up or a contact could not), and twice would be once too often (an edit or a
    // deletion may be repeated).
    bool writes;
    struct verdict verdict; // DELIVERY_END
};

// Who takes deliveries: a kind of desk, or a kind of platform.
struct receiver {
    const char *name; // as in the configuration
    // An idempotency key goes with every attempt: no look-up, no in-flight mark.
    bool has_key;
    // In doubt can be settled by a look-up.
    bool has_lookup;
    // Requests a minute that it takes in all; 0 = it never said.
    int64_t rate_per_min;
    // In one lane (a chat): a message each `pace_us` on the average, at most `pace_burst` at once; 0 = as fast as it goes.
    int64_t pace_us;
    int pace_burst;
    // `last` is NULL at the start, else the answer to the request of the step before.
    void (*step)(struct delivery *delivery, const struct http_response *last, struct delivery_step *out);
    // The cheap request that tells whether it is well; false when there is none. `source`: NULL for a desk.
    bool (*probe)(const struct account *account, const struct source *source, struct arena *arena,
                  struct http_request *out);
    // What the probe's answer says: VERDICT_DELIVERED = well; VERDICT_REJECTED = it cannot be probed so, and the head of a
    // lane is tried instead; all else = not well.
    struct verdict (*probe_verdict)(const struct http_response *response, int64_t now_us, struct arena *arena);
    // What an answer's headers say of its rate: true when it said how many requests are left (`out_remaining`) until when
    // (`out_reset_us`, wall time). NULL when it never says.
    bool (*rate)(const struct http_response *response, int64_t *out_remaining, int64_t *out_reset_us);
};
