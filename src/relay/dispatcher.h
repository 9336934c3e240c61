// The dispatcher: lanes, their timers, the desks' health, fair shares. It takes events (announced, page loaded,
// committed, answered, timer, account changed) and gives actions through its ports (submit a job, send a
// request, arm the timer). No thread, socket, clock or store of its own: the daemon and the simulator run the
// same code.
//
// Everything here happens on one thread (the relay loop's), one event at a time.
#pragma once
#include "base/chance.h"
#include "base/clock.h"
#include "model/http.h"
#include "relay/board.h"
#include "relay/committer.h"
#include "relay/directory.h"
#include "relay/tally.h"

struct dispatcher;

struct dispatcher_ports {
    void *arg;
    // Hands the job to the committer; later, as an event of its own, job->task.run(&job->task) is called.
    void (*submit)(void *arg, struct job *job);
    // Sends; `done` is called later, once, as an event of its own.
    void *(*send)(void *arg, const struct http_request *request, int64_t timeout_ms,
                  void (*done)(void *done_arg, const struct http_response *response), void *done_arg);
    // Ends a call now: its done() is called with HTTP_CANCELLED before this returns.
    void (*cancel)(void *arg, void *call);
    // dispatcher_tick at this monotonic time (microseconds); replaces the one before. 0 = none.
    void (*arm)(void *arg, int64_t at_us);
    // A bug in the life of this lane is about to abort the process (`over` false), or a person lets a lane go that was
    // held for such bugs (true): to be remembered for the next start. May be NULL.
    void (*lane_trouble)(void *arg, int64_t lane, bool over);
    // An attempt of this account has learned of a conversation at the desk, and it is stored. May be NULL.
    void (*linked)(void *arg, int64_t account_id);
    // It is stored that a customer's picture is due (store_outcome.avatar_due). May be NULL.
    void (*avatar_due)(void *arg);
    // dispatcher_stop is through: nothing is in flight any more.
    void (*stopped)(void *arg);
};

struct dispatcher_options {
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    uint64_t seed;
    struct str store_id; // lives longer than the dispatcher
    int max_attempts;
    int64_t retry_base_ms, retry_cap_ms, timeout_ms, settle_ms;
    int window;                      // messages of one lane in memory
    int concurrency;                 // attempts in flight
    int memory_messages;             // messages of all lanes in memory
    int64_t media_wait_ms;           // a message waits so long at most for its files
    const struct media_links *links; // to files that are kept; lives longer than the dispatcher. NULL: there are none
};

struct dispatcher *dispatcher_new(const struct dispatcher_options *options, const struct dispatcher_ports *ports);
// Nothing may be in flight.
void dispatcher_free(struct dispatcher *dispatcher);

// What the store remembers of a desk; before dispatcher_start.
void dispatcher_restore_desk(struct dispatcher *dispatcher, const struct store_desk_health *health);
// They are all there: shows those that are suspended. Before dispatcher_start.
void dispatcher_desks_restored(struct dispatcher *dispatcher);
// This lane brought the process down twice within a short time: it starts as held, with the alarm `lane_held`, until a
// person tries or discards one of its messages. Before dispatcher_start.
void dispatcher_hold_lane(struct dispatcher *dispatcher, int64_t lane);
// A person tries a message of the lane: it is let go. Nothing happens when it is not held so.
void dispatcher_trust_lane(struct dispatcher *dispatcher, int64_t lane);
// Takes up what the store has pending (at the start).
void dispatcher_start(struct dispatcher *dispatcher);
// New work was committed. Takes the list.
void dispatcher_announced(struct dispatcher *dispatcher, struct announcement *list);
// The time armed for has come.
void dispatcher_tick(struct dispatcher *dispatcher);
// The directory has another version of this account (before: NULL when it is new), or, with an inactive one, has it no
// more. When it returns, no new request of a deactivated account can start.
void dispatcher_account_changed(struct dispatcher *dispatcher, const struct account *before, const struct account *now);
// An attempt of the account's is under way, or its outcome is on its way to the store.
bool dispatcher_is_busy_with(struct dispatcher *dispatcher, int64_t account_id);
// A person says that the account's desk is well again, and so are the bots of its sources.
void dispatcher_resume_desk(struct dispatcher *dispatcher, const struct account *account);
// The lane has work that was not announced (a retry by hand). `source_id`: of its messages; only of replies it matters.
void dispatcher_work(struct dispatcher *dispatcher, int64_t account_id, int64_t source_id, int64_t lane);
// Pending messages of the lane were changed in the store, durably (a file came, an album grew): what is in memory of them is
// read again, and a wait that is over in the store is over. An attempt under way goes on with what it has.
void dispatcher_look_again(struct dispatcher *dispatcher, int64_t lane);
// What became of a file is durable (STORE_FILE): its lane looks again, or has a message more. In the order of commits, as
// announcements are: what was accepted later stands behind that message.
void dispatcher_file_settled(struct dispatcher *dispatcher, const struct store_file *file);
// By hand: something about this pending message is about to be changed in the store (tried now, discarded): its
// lane forgets what it has in memory. The caller submits the change before any other event, and then calls
// dispatcher_tick. ERR_BUSY: it is in flight; with `discard` it is discarded if the attempt fails.
int dispatcher_reload(struct dispatcher *dispatcher, const struct message *message, bool discard);
// A change by hand of one of the account's messages is durable.
void dispatcher_changed_by_hand(struct dispatcher *dispatcher, int64_t account_id);
// Starts no attempt any more; `stopped` is called when those in flight have ended.
void dispatcher_stop(struct dispatcher *dispatcher);
// Ends the requests in flight now: what may have been applied is in doubt.
void dispatcher_cut(struct dispatcher *dispatcher);
// Messages of all lanes in memory. Any thread.
bool dispatcher_has_room(struct dispatcher *dispatcher);
