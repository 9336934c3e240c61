// Fetching one file that a message came with: a step machine like struct delivery (model/delivery.h). relay/media.h runs it;
// platforms have one for what they name by a reference of their own, and file_fetch_url is the one for addresses.
#pragma once
#include "base/arena.h"
#include "model/account.h"
#include "model/attachment.h"
#include "model/http.h"
#include "model/verdict.h"

struct file_fetch {
    const struct account *account;
    const struct source *source;
    struct str
        trusted; // file_fetch_url: addresses of this scheme, host and port are the operator's (a desk's API); STR_NONE: none
    struct attachment file;
    int64_t max_size; // bytes that are kept of one file
    struct arena *arena;
    int64_t now_us;   // wall time; true at every step
    int phase, tries; // the connector's own, 0 at the start
    void *state;      // the connector's own, in the arena
    // A customer's picture (platform.fetch_avatar): of whose conversation, what the platform calls the one that is known (STR_NONE:
    // none is), and out, with VERDICT_DELIVERED, the one that they have now: "" none; that which is known is not fetched again.
    struct str thread, known_picture, picture;
};

enum file_step_kind {
    FILE_ASK, // send `request`, come back with the answer
    FILE_GET, // the same, and the body of a 200 is the file: it goes to the disk, and is not in the answer
    FILE_END, // `verdict`
};

struct file_step {
    enum file_step_kind kind;
    struct http_request request;
    bool trusted; // the operator configured where it goes; else only public addresses are connected to
    // VERDICT_DELIVERED: the body of the last FILE_GET is the file, whole. VERDICT_REJECTED: it cannot be had, `error` says why for
    // people (never with a token or an address that holds one). Else it may be tried again, at `until_us` or by the usual pauses.
    struct verdict verdict;
};

// `last` is NULL at the start. Of an answer to FILE_GET that was 200 the body is empty.
// What is larger than max_size, by its own word or in fact, comes back as HTTP_UNREADABLE and `too_large`.
typedef void file_fetch_step(struct file_fetch *fetch, const struct http_response *last, struct file_step *out);

// A file by its address: follows up to five redirects (http and https only), sends nothing but GET, no cookies, no credentials, to
// any host. Whether the peer's address may be connected to is checked when it is.
void file_fetch_url(struct file_fetch *fetch, const struct http_response *last, struct file_step *out);
