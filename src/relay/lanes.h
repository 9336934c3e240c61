// What the dispatcher holds in memory: lanes, who owns them (an account's inbound side, or the replies to one of its sources),
// who takes their messages (desks, and bots of sources), and the conversations of the messages in memory. Owned by the
// dispatcher; not for others.
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

// Kept while messages of it are in memory: what one attempt taught holds for the next, and what the store said of the
// customer last.
struct conversation {
    int64_t id;
    int refs;
    struct link *link; // owned
    char *profile;     // owned, JSON; NULL: not known
    UT_hash_handle hh;
};

struct lane_slot {
    struct message *message;           // owned
    struct conversation *conversation; // counted
    bool was_marked;                   // by an earlier process: nobody knows whether it was sent
};

// A wait that this process gave a message, or that came with it: the store has it in wall time, which may be set meanwhile.
struct head_wait {
    int64_t message_id;
    int64_t next_attempt_us; // as stored; another value in the store is somebody else's word, and holds
    int64_t due_us;          // monotonic
};

struct lane {
    struct due due; // LANE_WAITING; first
    int64_t id;
    enum lane_state state;
    struct lane_owner *owner;
    struct lane_slot *slots; // ring buffer of `window` entries, NULL while none is used
    int head, count;
    bool more;                // pending messages are behind those in memory
    bool in_ring;             // of its owner: ready, or to be loaded
    bool is_probe;            // its head is the probe of its suspended desk
    int64_t discard;          // by hand while in flight: this message, if its attempt fails; 0 = none
    bool waited;              // its time has come, whatever the clock says now
    bool keeps_slot;          // from one message to the next
    bool is_stale;            // with an attempt: its message is another one in the store since
    bool in_trouble;          // it brought the process down twice: held for a person
    struct head_wait wait;    // of its head, as this process meant it
    bool paces;               // LANE_WAITING: for its pace alone
    int64_t asked_id;         // its head that was answered 503 with a time to wait last; 0 = none
    int asked_times;          // in a row
    int64_t probe_after_us;   // LANE_SUSPENDED, monotonic: its head is no probe before then; INT64_MAX: it is held
    struct job *load;         // asked of the committer; NULL while none is
    struct attempt *attempt;  // LANE_MARKING, LANE_SENDING
    struct lane *prev, *next; // in_ring
    struct lane *all_prev, *all_next; // the owner's lanes
    UT_hash_handle hh;
};

// Whose lanes: of the account's inbound side, whose messages its desk takes (source_id 0), or of the replies to one of its
// sources, whose platform takes them. SOURCE_UNKNOWN: to sources that the account does not know.
struct owner_key {
    int64_t account_id, source_id;
};
enum { SOURCE_UNKNOWN = -1 };

// One with lanes in memory.
struct lane_owner {
    struct owner_key key;
    const struct account *account;   // counted
    struct desk_state *desk;         // counted
    struct lane *lanes;              // all
    struct lane *ready;              // ring
    struct lane *to_load;            // ring
    int messages;                    // of its lanes in memory
    int loads;                       // pages asked for its lanes
    int lanes_in_state[LANE_STATES]; // how many of them are in each
    bool in_load_ring;               // of the dispatcher's owners with lanes to be loaded
    bool in_ring;                    // of the desk's owners with ready lanes
    int pins;                        // keep it while it has no lanes
    // Of the account as a whole: kept by its inbound side alone.
    bool feed_again;                // after the feed in progress: it was activated meanwhile
    bool feeding;                   // its lanes are being read from the store after an activation
    struct order_look *order_look;  // asked of the committer; NULL while none is
    bool look_again;                // after that one: something was settled meanwhile
    int64_t looked_lane;            // lanes up to this one have no message of the order rule before
    struct lane_owner *prev, *next; // in_ring
    struct lane_owner *load_prev, *load_next;
    struct lane_owner *all_prev, *all_next; // the desk's owners
    UT_hash_handle hh;
};

// For so long at most a platform may ask one chat of replies to wait (429).
#define LONGEST_LIMITED_US (INT64_C(3600) * 1000000)

// A lane that its platform asked to wait.
struct limited_lane {
    int64_t lane, at_us; // monotonic
};
// So many of one bot within a minute, and the bot is held as a whole.
enum { LIMITED_MOST = 3 };

// Whoever takes deliveries, with work in memory: a desk (same address and token = the same, also across accounts), or the bot of
// a source, for which all that is said of desks holds. Replies that nobody can take go to a desk of their own, which refuses
// them (nobody.c).
struct desk_state {
    struct due due; // the next probe, or the end of a governor's pause; first
    struct dispatcher *dispatcher;
    uint64_t identity;
    int refs;                      // owners, attempts and a probe
    const struct account *account; // counted: whose settings reach it
    const struct source *source;   // of that account: whose bot it is; NULL: a desk
    const struct receiver *receiver;
    struct governor governor;
    struct skip_guard guard;
    struct lane_owner *owners; // all
    struct lane_owner *ready;  // ring
    bool in_ring;              // of the dispatcher's desks
    bool suspended;
    bool alarmed;                              // that it refuses us
    char *alarmed_for;                         // owned: under which name its alarms stand; NULL while there is none
    struct limited_lane limited[LIMITED_MOST]; // lanes that were asked to wait lately, the latest first; lane 0: none
    int failures;                              // probes in a row that failed
    int64_t not_before_us;                     // monotonic: what the desk asked for
    int64_t suspended_us;                      // monotonic: since when
    bool unprobed;                             // it answered the probe that it takes none; until it is well
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

// What a lane took lately, whether it is in memory or not.
struct pace {
    int64_t lane;
    int64_t full_us; // monotonic: its bucket is full again
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
    struct lane_owner *owners;          // hash
    struct desk_state *desks;           // hash
    struct conversation *conversations; // hash
    struct guard_memory *guards;        // hash
    struct kept_wait *kept_waits;       // hash
    struct pace *paces;                 // hash
    struct troubled_lane *troubled;     // hash
    struct desk_state *ready;           // ring of desks that may start something
    struct lane_owner *to_load;         // ring; those that have nothing in memory first
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
// A new lane of the owner, LANE_IDLE.
struct lane *lane_new(struct dispatcher *d, struct lane_owner *owner, int64_t lane_id);
// The one way a lane changes state: checks the table, leaves and enters the rings. LANE_IDLE and LANE_STOPPED
// free it: it must not be touched afterwards.
void lane_set_state(struct dispatcher *d, struct lane *lane, enum lane_state to);
struct lane_slot *lane_head(struct lane *lane);
// Takes the message; the link is used when its conversation is not in memory yet. `profile`: JSON; STR_NONE: not known.
struct lane_slot *lane_push(struct dispatcher *d, struct lane *lane, struct message *message, const struct link *link,
                            struct str profile);
// If the conversation is in memory: its customer is known as this from now on.
void conversation_learn(struct dispatcher *d, int64_t id, struct str profile);
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
bool lane_owner_is_empty(const struct lane_owner *owner);

// Whose lane that is, by the account and the source of its messages.
struct owner_key owner_key_of(const struct account *account, int64_t lane_id, int64_t source_id);
// The owner of a lane whose messages are of that account and source; made from the directory. NULL when there is no such account.
struct lane_owner *lane_owner_get(struct dispatcher *d, int64_t lane_id, int64_t account_id, int64_t source_id);
// An account's inbound side, in the same way.
struct lane_owner *lane_owner_inbound(struct dispatcher *d, int64_t account_id);
struct lane_owner *lane_owner_find(struct dispatcher *d, struct owner_key key);
// The account's owners in memory, one after the other, its inbound side first; `at` is 0 at the start. NULL at the end.
struct lane_owner *lane_owner_next(struct dispatcher *d, const struct account *account, size_t *at);
// Frees it when it has no lanes and no pins.
void lane_owner_release(struct dispatcher *d, struct lane_owner *owner);

// Who takes what owners of that key send: the account's desk (source_id 0), or the source's bot.
uint64_t desk_identity_of(const struct account *account, int64_t source_id);
// The same, if it is in memory.
struct desk_state *desk_state_find(struct dispatcher *d, const struct account *account, int64_t source_id);
struct desk_state *desk_state_get(struct dispatcher *d, const struct account *account, int64_t source_id);
// The settings that reach it are those of this account now.
void desk_state_settings(struct desk_state *desk, const struct account *account, int64_t source_id);
// A restart and a look-up aside: once a message may have arrived, there is no way to know, and another try may repeat it.
bool receiver_is_blind(const struct receiver *receiver);
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

// paces.c: when the pace that the lane's receiver takes lets its next message go, monotonic; not before now.
int64_t pace_due_us(struct dispatcher *d, const struct lane *lane);
// paces.c: a request that writes is about to leave.
void pace_take(struct dispatcher *d, const struct lane *lane);
void paces_free(struct dispatcher *d);

// nobody.c: takes replies to a source whose platform takes none, or that is gone: refuses each with a sentence.
extern const struct receiver receiver_nobody;

// desk_health.c: the time its suspension or its governor waited for has come.
void desk_pause_over(struct dispatcher *d, struct due *due);

// desk_health.c: puts its state on the board. `until_us` is monotonic; 0 = unknown.
void desk_show(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t until_us);
// desk_health.c: what it is called in logs and alarms: "ACCOUNT", of a bot "ACCOUNT/SOURCE". The caller frees it.
char *desk_name(const struct desk_state *desk);
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
void order_look(struct dispatcher *d, struct lane_owner *owner);
// order_gate.c: nothing of the rule before is left: the lanes that were behind go on.
void order_release(struct dispatcher *d, struct lane_owner *owner);

// pages.c: asks for the pages that may be asked for, and takes the feeds on.
void pages_pump(struct dispatcher *d);
// pages.c: reads the lanes of an account (given its inbound side), or of the whole store, that are not in memory.
void feed_account(struct dispatcher *d, struct lane_owner *owner);
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
