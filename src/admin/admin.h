// The admin side: API, metrics and status page, on a TCP address (Bearer token) and on a Unix socket (mode 0600, no
// token). A thread and a loop of its own; reads the store through its own reader with a time cap, changes things only
// through relay/relay.h. What blocks runs on worker threads, so that status and metrics always answer.
#pragma once
#include "base/buf.h"
#include "base/clock.h"
#include "relay/relay.h"

struct admin;

// A change of accounts by hand.
enum admin_change_kind {
    CHANGE_ACCOUNT_ADD,
    CHANGE_ACCOUNT, // these keys take new values, what is null goes back to its default, the rest stays
    CHANGE_ACCOUNT_REMOVE,
    CHANGE_SOURCE_ADD,
    CHANGE_SOURCE,
    CHANGE_SOURCE_REMOVE,
    CHANGE_DESK_SET, // as a whole
    CHANGE_DESK,
};

struct admin_change {
    enum admin_change_kind kind;
    struct str account, source; // names: not of what is added, it has its own
    struct str body;            // a JSON object with the keys of the configuration file
    bool discard;               // CHANGE_ACCOUNT_REMOVE: with what is pending
    // Out
    struct str made;   // the name of what was added; in `arena`
    int64_t discarded; // messages
    struct buf *
        why; // ERR_REFUSED, ERR_NOT_FOUND: one sentence; ERR_INVALID: lines "KEY: what is wrong and what would be right"
    struct arena *arena;
};

struct admin_options {
    const char *listen; // "HOST:PORT"; NULL: none
    const char *socket; // path of the Unix socket; NULL: none
    struct str token;   // for `listen`
    struct relay *relay;
    // The admin side's own from admin_start on, also when that fails: one for short pages, one for verify. Made by the store's
    // thread, or before there is one.
    struct store_reader *reader, *verify_reader;
    // Kept files, for verify, and links to them; NULL: there are none. Both longer there than the admin side.
    struct media_files *files;
    const struct media_links *links;
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    // Reads the configuration again; blocks until it is in force. 0, or an err with lines of text in `report` (a
    // broken file leaves the old one in force). Called on a worker thread, one call at a time. NULL: not offered.
    int (*reload)(void *arg, struct buf *report);
    void *reload_arg;
    int64_t heartbeat_ms; // of the streams of events; 0: 15 s
    // Blocks until the change is durable and in force; on a worker thread. ERR_NOT_FOUND, ERR_REFUSED (the file defines it, the
    // name is taken, messages are pending), ERR_INVALID, or what the relay gave. NULL: not offered.
    int (*change)(void *arg, struct admin_change *change);
    void *change_arg;
};

// When it returns, the API answers. Texts are copied. NULL and one sentence in `why` when it cannot.
struct admin *admin_start(const struct admin_options *options, struct arena *arena, const char **why);
// Blocks: requests in progress are answered first. To be called before relay_stop. NULL is fine.
void admin_stop(struct admin *admin);
// To be called after relay_stop: until then the relay's threads may be inside what they post to it. NULL is fine.
void admin_free(struct admin *admin);
// The port of `listen`.
int admin_port(const struct admin *admin);
