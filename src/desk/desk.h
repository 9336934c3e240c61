// A desk's connector: pure step machines (no socket, clock, store or global), one file each, one line in the registry.
//
// To the desk: `receiver` (model/delivery.h). From the desk: a notice says which of its conversations have news; a fetch
// reads one of them; a search finds those whose notice was lost.
#pragma once
#include "base/arena.h"
#include "model/account.h"
#include "model/delivery.h"
#include "model/http.h"
#include "model/inquiry.h"
#include "model/message.h"
#include "model/verdict.h"

// What came to /desks/{account}.
enum desk_notice_kind {
    NOTICE_OK,        // 200 when it is stored that these conversations have news (there may be none)
    NOTICE_FORGED,    // 401: signature missing or wrong
    NOTICE_MALFORMED, // 400: not what the desk sends
    NOTICE_NO_MEMORY, // 503
};

struct desk_notice {
    enum desk_notice_kind kind;
    struct str why;                  // for people, unless OK; no secrets, no texts
    const struct str *conversations; // ids at the desk
    size_t conversation_count;
};

// One thing an agent (or a bot of the desk) said to the customer.
struct desk_part {
    struct str id; // unique in the workspace: what it is known by when it is read again
    int64_t created_s;
    struct str author_id, author_name;
    bool by_bot;
    bool ours; // the relay wrote it itself, through the API: never sent
    // It was taken back at the desk (its words and files are gone there): REPLY_DELETES of what it was sent as.
    bool redacted;
    int64_t updated_s;      // when it was last changed there; created_s when it never was
    struct str html;        // simple HTML; "" where it has files alone
    struct str attachments; // as in struct event. Images in the HTML are among them
};

// Reading one conversation at the desk: a step machine like struct delivery.
struct desk_fetch {
    const struct account *account;
    struct str conversation; // at the desk
    struct arena *arena;     // of the fetch
    int64_t now_us;          // wall time; true at every step
    int phase, tries;        // the connector's own, 0 at the start

    // Out, when the verdict is VERDICT_DELIVERED:
    bool gone;                     // the desk has no such conversation (any more)
    struct str contact;            // at the desk; STR_NONE: several, or none
    const struct desk_part *parts; // to the customer (never notes), oldest first
    size_t part_count;
    struct verdict verdict; // else why it could not be read, as of an attempt
};

// Looking for conversations that changed: a step machine, too. Each answer brings a page.
struct desk_search {
    const struct account *account;
    int64_t since_s; // changed then or later (unix seconds)
    struct arena *arena;
    int64_t now_us;
    int phase;
    struct str cursor; // the connector's own
    void *state;       // the connector's own, in the arena

    // Out, in the end, when the verdict is VERDICT_DELIVERED:
    const struct str *conversations; // one may stand there twice
    size_t conversation_count;
    // All that changed before then (unix seconds) is among them; the next search begins there. It lies before the start of
    // this one when more had changed than can be read at a time.
    int64_t until_s;
    struct verdict verdict;
};

struct desk_connector {
    struct receiver receiver;
    // The base URL when the configuration gives none; NULL when `url` is a setting.
    const char *api_url;
    // NULL when the settings can work, else one sentence saying what would be right.
    const char *(*check)(const struct desk *desk, struct arena *arena);
    // The next step of what a person asks of the desk, which changes nothing; `last` is NULL at the start. True: send
    // `out_request` and come back with the answer; false: inquiry_end was called.
    bool (*ask)(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last,
                struct http_request *out_request);
    // The request that gives the customer their picture at the desk, by its address (STR_NONE: it is taken from them), in the
    // arena. False: there is nobody to give it to, or it is not ours to say. NULL: this desk shows none.
    bool (*show_avatar)(const struct desk *desk, const struct link *link, struct str url, struct arena *arena,
                        struct http_request *out);
    // The rest is of desks whose agents' replies are taken; NULL in others.
    // Verifies, then reads. What is in *out borrows from the request or the arena.
    void (*receive)(const struct desk *desk, const struct http_request *request, struct arena *arena,
                    struct desk_notice *out);
    // `last` is NULL at the start. True: send `out_request` and come back with the answer; false: `verdict` is set.
    bool (*fetch)(struct desk_fetch *fetch, const struct http_response *last, struct http_request *out_request);
    bool (*search)(struct desk_search *search, const struct http_response *last, struct http_request *out_request);
};

// NULL when there is none of that name.
const struct desk_connector *desk_connector_find(struct str name);
// All of them, NULL-terminated.
extern const struct desk_connector *const desk_connectors[];

extern const struct desk_connector desk_intercom, desk_webhook;
