// What the dispatcher holds in memory: lanes, the accounts they belong to, the desks those share, and the
// conversations of the messages in memory. Owned by the dispatcher; not for others.
#pragma once
#include "base/heap.h"
#include "base/table.h"
#include "desk/desk.h"
#include "model/account.h"
#include "model/governor.h"
#include "model/lane.h"
#include "model/message.h"
#include "model/skip_guard.h"
#include "relay/dispatcher.h"

// Something that waits for a monotonic time in the dispatcher's heap.
struct due {
    struct heap_item item; // first
    void (*run)(struct dispatcher *dispatcher, struct due *due);
};

// Kept while messages of it are in memory: what one attempt taught holds for the next.
struct conversation {
    int64_t id;
    int refs;
    struct link *link; // owned
    UT_hash_handle hh;
};

struct lane_slot {
    struct message *message;           // owned
    struct conversation *conversation; // counted
};

// A wait that this process gave a message: the store has it in wall time, which may be set meanwhile.
struct head_wait {
    int64_t message_id;
    int64_t next_attempt_us; // as stored; another value in the store is somebody else's word, and holds
    int64_t due_us;          // monotonic
};

struct lane {
    struct due due; // LANE_WAITING; first
    int64_t id;
    enum lane_state state;
    struct lane_account *owner;
    struct lane_slot *slots; // ring buffer of `window` entries, NULL while none is used
    int head, count;
    bool more;                // pending messages are behind those in memory
    bool in_ring;             // of its owner: ready, or to be loaded
    bool is_probe;            // its head is the probe of its suspended desk
    int64_t discard;          // by hand while in flight: this message, if its attempt fails; 0 = none
    bool waited;              // its time has come, whatever the clock says now
    bool keeps_slot;          // from one message to the next
    bool in_trouble;          // it brought the process down twice: held for a person
    struct head_wait wait;    // of its head, as this process meant it
    int64_t asked_id;         // its head that was answered 503 with a time to wait last; 0 = none
    int asked_times;          // in a row
    int64_t probe_after_us;   // LANE_SUSPENDED, monotonic: its head is no probe before then; INT64_MAX: it is held
    struct job *load;         // asked of the committer; NULL while none is
    struct attempt *attempt;  // LANE_MARKING, LANE_SENDING
    struct lane *prev, *next; // in_ring
    struct lane *all_prev, *all_next; // the owner's lanes
    UT_hash_handle hh;
};

// An account with lanes in memory.
struct lane_account {
    int64_t id;
    const struct account *account;    // counted
    struct desk_state *desk;          // counted
    struct lane *lanes;               // all
    struct lane *ready;               // ring
    struct lane *to_load;             // ring
    int messages;                     // of its lanes in memory
    int loads;                        // pages asked for its lanes
    int lanes_in_state[LANE_STATES];  // how many of them are in each
    bool in_load_ring;                // of the dispatcher's accounts with lanes to be loaded
    bool in_ring;                     // of the desk's accounts with ready lanes
    int pins;                         // keep it while it has no lanes
    bool feed_again;                  // after the feed in progress: it was activated meanwhile
    bool feeding;                     // its lanes are being read from the store after an activation
    struct order_look *order_look;    // asked of the committer; NULL while none is
    bool look_again;                  // after that one: something was settled meanwhile
    int64_t looked_lane;              // lanes up to this one have no message of the order rule before
    struct lane_account *prev, *next; // in_ring
    struct lane_account *load_prev, *load_next;
    struct lane_account *all_prev, *all_next; // the desk's accounts
    UT_hash_handle hh;
};

// A desk (same address and token = the same, also across accounts) with work in memory.
struct desk_state {
    struct due due; // the next probe, or the end of a governor's pause; first
    struct dispatcher *dispatcher;
    uint64_t identity;
    int refs;                      // accounts, attempts and a probe
    const struct account *account; // counted: whose settings reach it
    const struct desk_connector *connector;
    struct governor governor;
    struct skip_guard guard;
    struct lane_account *accounts; // all
    struct lane_account *ready;    // ring
    bool in_ring;                  // of the dispatcher's desks
    bool suspended;
    bool alarmed;                      // that it refuses us
    const struct account *alarmed_for; // counted: under whose name its alarms stand; NULL while there is none
    int failures;                      // probes in a row that failed
    int64_t not_before_us;             // monotonic: what the desk asked for
    int64_t suspended_us;              // monotonic: since when
    bool unprobed;                     // it answered the probe that it takes none; until it is well
    bool probing;
    void *probe_call;
    struct arena probe_arena;
    struct lane *probe_lane; // where the desk has no probe: whose head is one
    int64_t probe_lane_us;   // monotonic: since when
    struct attempt *parked;  // unanswered attempts that wait for the probe's word
    struct desk_state *prev, *next;
    UT_hash_handle hh;
};

// A lane that brought the process down twice within a short time, until a person lets it go.
struct troubled_lane {
    int64_t id;
    UT_hash_handle hh;
};

// What the store remembers of a desk that is not in memory.
struct guard_memory {
    uint64_t identity;
    struct skip_guard guard;
    UT_hash_handle hh;
};

struct feed {
    struct job job;
    int64_t account_id; // 0 = all
    int64_t lanes[JOB_LANES_MAX];
    size_t at;      // next lane of the page to be loaded
    int loading;    // pages asked for and not here yet
    int64_t passed; // lanes up to this id are known, or were empty
    struct dispatcher *dispatcher;
    struct feed *prev, *next;
};

struct dispatcher {
    struct dispatcher_options options;
    struct dispatcher_ports ports;
    struct chance chance;
    int64_t started_us;      // monotonic: marks are of an earlier process, and settle from then on
    int64_t longest_wait_us; // of one message; what is stored to wait longer was stored before the clock was set back
    struct heap dues;
    struct lane *lanes;                 // hash
    struct lane_account *accounts;      // hash
    struct desk_state *desks;           // hash
    struct conversation *conversations; // hash
    struct guard_memory *guards;        // hash
    struct kept_wait *kept_waits;       // hash
    struct troubled_lane *troubled;     // hash
    struct desk_state *ready;           // ring of desks that may start something
    struct lane_account *to_load;       // ring; those that have nothing in memory first
    int loads_asked;
    int in_flight;       // attempts that hold a slot
    int busy;            // attempts and jobs of ours that have not ended
    atomic_int messages; // in memory
    struct feed *feeds;
    unsigned by_hand;        // changes by hand to what is pending (dispatcher_reload)
    struct feed *first_feed; // of the whole store, at the start; NULL when it is through
    bool stopping, told_stopped;
    bool pumping, pump_again;
};

struct lane *lane_find(struct dispatcher *d, int64_t lane_id);
// A new lane of the account, LANE_IDLE.
struct lane *lane_new(struct dispatcher *d, struct lane_account *owner, int64_t lane_id);
// The one way a lane changes state: checks the table, leaves and enters the rings. LANE_IDLE and LANE_STOPPED
// free it: it must not be touched afterwards.
void lane_set_state(struct dispatcher *d, struct lane *lane, enum lane_state to);
struct lane_slot *lane_head(struct lane *lane);
// Takes the message; the link is used when its conversation is not in memory yet.
void lane_push(struct dispatcher *d, struct lane *lane, struct message *message, const struct link *link);
// The head is settled: frees it.
void lane_pop(struct dispatcher *d, struct lane *lane);
// Forgets the messages in memory behind the first `keep`; the store has them.
void lane_truncate(struct dispatcher *d, struct lane *lane, int keep);

// The lane stands in line for its page, or no longer.
void lane_want_page(struct dispatcher *d, struct lane *lane);
void lane_want_no_page(struct dispatcher *d, struct lane *lane);
// The page that was asked for is of a state that has passed.
void lane_forget_load(struct dispatcher *d, struct lane *lane);
// It has no message in memory and none on its way there: a page of its is loaded even when memory is full.
bool lane_account_is_empty(const struct lane_account *owner);

// The account with lanes in memory; made from the directory. NULL when there is no such account.
struct lane_account *lane_account_get(struct dispatcher *d, int64_t account_id);
struct lane_account *lane_account_find(struct dispatcher *d, int64_t account_id);
// Frees it when it has no lanes and no pins.
void lane_account_release(struct dispatcher *d, struct lane_account *owner);

// The account's desk, if it is in memory.
struct desk_state *desk_state_find(struct dispatcher *d, const struct account *account);
struct desk_state *desk_state_get(struct dispatcher *d, const struct account *account);
void desk_state_unref(struct dispatcher *d, struct desk_state *desk);
// Puts the desk into the ring of those that may start something, if it has reason to be there.
void desk_enlist(struct dispatcher *d, struct desk_state *desk);
void desk_delist(struct dispatcher *d, struct desk_state *desk);

// Waits are waited in monotonic time: a clock that is set neither stalls nor hurries them.
void due_set(struct dispatcher *d, struct due *due, int64_t at_us);
void due_clear(struct dispatcher *d, struct due *due);
int64_t dispatcher_now_us(struct dispatcher *d);  // wall time: for what is stored, shown and signed
int64_t dispatcher_mono_us(struct dispatcher *d); // monotonic time
// When the lane's head may go, in monotonic time; INT64_MAX: it is held for a person.
int64_t lane_due_us(struct dispatcher *d, struct lane *lane);
// This process makes the head wait from now on, until a wall time that it stores.
void lane_keep_wait(struct dispatcher *d, struct lane *lane, int64_t message_id, int64_t next_attempt_us);
// kept_waits.c: a lane that leaves memory with its account's activity, and one that comes into memory.
void wait_keep(struct dispatcher *d, const struct lane *lane);
void wait_take_back(struct dispatcher *d, struct lane *lane);
void kept_waits_free(struct dispatcher *d);

// desk_health.c: the time its suspension or its governor waited for has come.
void desk_pause_over(struct dispatcher *d, struct due *due);

// desk_health.c: puts its state on the board. `until_us` is monotonic; 0 = unknown.
void desk_show(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t until_us);
// desk_health.c: an alarm of this suspension; they end with it.
void desk_begin_alarm(struct dispatcher *d, struct desk_state *desk, const char *name, struct str text);
// desk_health.c: it answered one of the statuses that a person must look at: an alarm, once per suspension.
void desk_refuses(struct dispatcher *d, struct desk_state *desk, int status);
// desk_health.c: what people read of an attempt or a probe that came to nothing: words of ours, of the arena's life.
struct str desk_reason(const struct verdict *verdict, struct arena *arena);
// desk_health.c: one more failure in a row; the next probe is a pause after `since_us` (monotonic).
void desk_pause(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t since_us);
int64_t desk_next_try_us(struct dispatcher *d, struct desk_state *desk, int64_t since_us);
// desk_health.c: it asked to be left alone until this wall time (0 = it did not); an hour at most.
void desk_hold_until(struct dispatcher *d, struct desk_state *desk, int64_t until_wall_us);
// desk_health.c: a probe was answered well: its lanes go on, at once or when the time that it asked for is over.
void desk_found_well(struct dispatcher *d, struct desk_state *desk);
// desk_health.c: a lane begins at a suspended desk: somebody must look when it is well.
void desk_await(struct dispatcher *d, struct desk_state *desk);
// desk_health.c: an account has gone to another desk: one that nobody uses any more is forgotten, with its alarms.
void desk_left(struct dispatcher *d, struct desk_state *desk);

// desk_probe.c: sends a probe, unless one is out.
void desk_probe_now(struct dispatcher *d, struct desk_state *desk);
bool desk_is_being_probed(const struct desk_state *desk);
// desk_probe.c: the lane whose head was to be the probe cannot tell whether the desk is well: another one will.
void desk_probe_lost(struct dispatcher *d, struct desk_state *desk);

// desk_guard.c: what of it outlives a restart, and storing that.
struct store_desk_health desk_health_of(const struct desk_state *desk);
void desk_store_health(struct dispatcher *d, const struct desk_state *desk);
// desk_guard.c: a desk comes into memory with what the store remembers of it.
void desk_restore(struct dispatcher *d, struct desk_state *desk);
// desk_guard.c: a desk that nobody uses leaves memory: what the store remembers of it is kept.
void desk_put_by(struct dispatcher *d, struct desk_state *desk);

// lane_trouble.c: a lane comes into memory: it is held when it brought the process down twice within a short time and no
// person has let it go since.
void lane_look_for_trouble(struct dispatcher *d, struct lane *lane);
// lane_trouble.c: a lane has left its account, and memory: its alarm is begun again when it comes back and is still held.
void lane_leaves_trouble(struct dispatcher *d, const struct lane *lane);
// lane_trouble.c: a forbidden transition is about to end the process: remembers whose it was.
void lane_note_trouble(struct dispatcher *d, const struct lane *lane);
// lane_trouble.c: a person lets it go; nothing happens when it is not held so.
void lane_trust(struct dispatcher *d, int64_t lane_id);
void troubled_lanes_free(struct dispatcher *d);

// order_gate.c: the lane's head is of a changed order rule, and messages of the rule before are pending.
bool order_holds(const struct lane *lane);
// order_gate.c: something may have been settled that lanes of a changed order rule wait for.
void order_look(struct dispatcher *d, struct lane_account *owner);
// order_gate.c: nothing of the rule before is left: the lanes that were behind go on.
void order_release(struct dispatcher *d, struct lane_account *owner);

// pages.c: asks for the pages that may be asked for, and takes the feeds on.
void pages_pump(struct dispatcher *d);
// pages.c: reads the lanes of an account, or of the whole store, that are not in memory.
void feed_account(struct dispatcher *d, struct lane_account *owner);
void feed_whole_store(struct dispatcher *d);
// pages.c: for the end; nothing of theirs may be with the committer.
void feeds_end(struct dispatcher *d);

// The job of a task.
#define job_of(task_) ((struct job *)((char *)(task_)-offsetof(struct job, task)))
// Hands a job to the committer; `run` is called when it is done, and takes it off d->busy.
void dispatcher_submit(struct dispatcher *d, struct job *job, void (*run)(struct loop_task *task));

// dispatcher.c: decides what a lane whose attempt, load or wait has ended does next.
void lane_go_on(struct dispatcher *d, struct lane *lane);
// Starts what may start: attempts and loads.
void dispatcher_pump(struct dispatcher *d);
void dispatcher_check_stopped(struct dispatcher *d);
