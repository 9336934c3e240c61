// The admin side: API, metrics and status page, on a TCP address (Bearer token) and on a Unix socket (mode 0600, no
// token). A thread and a loop of its own; reads the store through its own reader with a time cap, changes things only
// through relay/relay.h. What blocks runs on worker threads, so that status and metrics always answer.
#pragma once
#include "base/buf.h"
#include "base/clock.h"
#include "relay/relay.h"

struct admin;

struct admin_options {
    const char *listen; // "HOST:PORT"; NULL: none
    const char *socket; // path of the Unix socket; NULL: none
    struct str token;   // for `listen`
    struct relay *relay;
    // The admin side's own from admin_start on, also when that fails: one for short pages, one for verify. Made by the store's
    // thread, or before there is one.
    struct store_reader *reader, *verify_reader;
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    // Reads the configuration again; blocks until it is in force. 0, or an err with lines of text in `report` (a
    // broken file leaves the old one in force). Called on a worker thread, one call at a time. NULL: not offered.
    int (*reload)(void *arg, struct buf *report);
    void *reload_arg;
    int64_t heartbeat_ms; // of the streams of events; 0: 15 s
};

// When it returns, the API answers. Texts are copied. NULL and one sentence in `why` when it cannot.
struct admin *admin_start(const struct admin_options *options, struct arena *arena, const char **why);
// Blocks: requests in progress are answered first. To be called before relay_stop. NULL is fine.
void admin_stop(struct admin *admin);
// The port of `listen`.
int admin_port(const struct admin *admin);
