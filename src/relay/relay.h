// The relay: intake, committer, lanes, courier and sources put together, with their threads. What the layers
// above may ask of it.
#pragma once
#include "base/clock.h"
#include "model/media_link.h"
#include "relay/board.h"
#include "relay/checks.h"
#include "relay/directory.h"
#include "relay/lane_view.h"
#include "relay/tally.h"
#include "store/store.h"

struct relay;

struct relay_options {
    struct store *store;         // open; the relay's committer is its only caller from the start to the end
    struct directory *directory; // filled with the store's accounts
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    struct str listen;     // for webhooks; this and public_url are borrowed until relay_stop
    struct str public_url; // STR_NONE when absent
    int max_attempts;
    int64_t retry_base_ms, retry_cap_ms, timeout_ms, settle_ms, shutdown_ms;
    int window, concurrency;
    int64_t keep_bodies_us, keep_dedupe_us;
    struct media_files *files;             // open; the relay's media thread is the only one that writes there
    int64_t media_wait_ms;                 // a message waits so long at most for its files
    int64_t max_file_bytes;                // larger ones are not fetched
    int64_t link_us;                       // how long a link to a file is good
    int64_t most_waiting, most_file_bytes; // of one account (struct store_accept)
    const char
        *trouble_path; // remembers lanes that brought the process down (relay/trouble_file.h); NULL: nothing does
    void (*fatal)(void *arg, const char *sentence); // the disk failed: called once, from any thread; end the process
    void *fatal_arg;
};

// Starts everything: when it returns, webhooks are answered. NULL and one sentence in `why` when it cannot.
struct relay *relay_start(const struct relay_options *options, struct arena *arena, const char **why);
// The orderly end (DESIGN.md, Threads): stops accepting, lets requests in flight end, drains the committer.
// Blocks; the store is the caller's to close then.
void relay_stop(struct relay *relay);
// The port webhooks are taken on.
int relay_port(const struct relay *relay);
// To kept files, as desks get them. Lives as long as the relay.
const struct media_links *relay_links(const struct relay *relay);
// Webhooks would be stored now.
bool relay_is_ready(struct relay *relay);

// The definition of an account; `keep_active` as in store_account_put.
struct relay_account_put {
    struct account *account;
    bool keep_active;
    bool order_kept; // out: the rule was not taken, since its last change is not over: nothing else was left out
};
// Stores the accounts as they are now defined, publishes them in the directory and makes lanes, desks and
// sources follow. Blocks until it is durable and in force; not to be called on a thread of the relay's.
// Takes the references.
int relay_put_accounts(struct relay *relay, struct relay_account_put *puts, size_t count);
// The account as it is in the store after it was put, and is to be published: with what the store said of it, and the sources
// that `before` (NULL: there was none) had and it has no more, whose messages may wait. One reference.
struct account *relay_account_stored(struct account *account, const struct store_account_put *put,
                                     const struct account *before);
// Accounts of which nothing changed but `defined_at`: published, not stored. The references stay the caller's.
void relay_move_accounts(struct relay *relay, struct account **accounts, size_t count);
// Activates or deactivates: returns when it is durable and (deactivated) no new request can start.
int relay_set_active(struct relay *relay, int64_t account_id, bool active);
// The same for many, in few transactions.
int relay_set_active_all(struct relay *relay, const int64_t *account_ids, size_t count, bool active);
// Removes the account: nothing is taken for it any more, its name is free, its messages stay. ERR_REFUSED while messages
// are pending, unless `discard`: then it is deactivated, what is in flight ends, and they are discarded (REASON_ORPHANED) in
// bounded transactions; cut short (ERR_BUSY, ERR_CLOSED, ...) it stays as an inactive account with what is left.
// *out_discarded: how many were. One caller at a time, and no relay_put_accounts meanwhile.
int relay_remove_account(struct relay *relay, int64_t account_id, bool discard, int64_t *out_discarded);
// The process is about to stop, and its time for that begins: what waits long for others' ends gives up at once, what
// waits for a store that another program holds when that time is over. Once, before relay_stop.
void relay_end_calls(struct relay *relay);
// A person says that the desk is well again.
int relay_resume_desk(struct relay *relay, int64_t account_id);
// By hand, as INTERFACE.md says of POST .../retry and .../discard (relay/by_hand.h). A retry of what is in flight is no
// error; a discard of it gives ERR_BUSY (202: it takes effect if the attempt fails).
int relay_retry(struct relay *relay, int64_t message_id);
int relay_discard(struct relay *relay, int64_t message_id);
// Skipped messages of the account, in order of acceptance, those with greater ids than `*after`: in short transactions with
// room for others between them, until there is none or enough was done for one call. *after is the last one looked at, and
// *out_more whether there may be more behind it. What is cut short can be asked for again: those done are skipped no longer.
int relay_retry_skipped(struct relay *relay, int64_t account_id, int64_t *after, int64_t *out_count, bool *out_more);

// What the dispatcher knows now of lanes (a bounded number: a page of them), and of all lanes of an account (NULL: not asked).
int relay_look(struct relay *relay, struct lane_view *lanes, size_t count, struct account_view *account);

// A person asks a source's platform, or the account's desk, now; nothing changes by it, and it takes 10 s at most.
struct relay_check {
    struct loop_task task; // first; the relay's own
    struct relay *relay;
    int64_t account_id, source_id; // source_id 0: the desk
    // Called once, on the relay loop. `err` is ERR_NOT_FOUND, ERR_BUSY (too many are asked), ERR_CLOSED or 0: then
    // check.inquiry has ended, and lies in check.arena, which is the caller's to end.
    void (*done)(struct relay_check *check);
    int err;
    struct check check;
};
// False: the relay is going down, and done() is not called. Any thread.
bool relay_check(struct relay *relay, struct relay_check *check);
// Ends all checks under way with ERR_CLOSED; there will be no others. Any thread.
void relay_end_checks(struct relay *relay);
