// The committer: the only one that writes SQL. It takes jobs from a queue, puts what is there into one
// transaction (outcomes first, messages capped), and tells each job what became of it after the flush. It also loads lane
// pages, between transactions, so that a page and the announcements around it have one order.
//
// What one turn did is a group. Groups are told in their order, after a flush that began when they were committed. While one
// is flushed the next is put together and committed, and what comes in meanwhile gathers for the one after that: this
// grouping beats any timer. The flush is the flusher's (a thread of its own, committer_run_flusher) where much more waits,
// else the committer does it itself, since handing over takes time and small transactions cost as much as large ones. Never is more than one group committed while another
// is being flushed, so that groups grow with the load.
//
// Guarantees:
//   a job's done() runs after its transaction is on stable storage (err 0), or after it is certain that nothing
//   of it is stored (err < 0); a page's, when everything that it shows is
//   announcements and done() calls of what went well come in the order of commits, one at a time
//   after a disk error no job succeeds any more, and `fatal` is called once (rule S1)
// What a crash leaves at any point: the transactions that were flushed, and of the others the first ones or none; nobody was
// told of those.
#pragma once
#include "base/clock.h"
#include "base/queue.h"
#include "net/loop.h"
#include "relay/board.h"
#include "relay/tally.h"
#include "store/store.h"

enum job_kind {
    JOB_ACCEPT, // changes: STORE_ACCEPT, and STORE_TAKEN beside them; refused (ERR_FULL, ERR_BUSY) while the store cannot be written
    JOB_CHANGES, // changes of any other kind; without any it is told when all before it is on the disk
    JOB_LOAD,    // a page of a lane
    JOB_LANES,   // lanes that have work
    JOB_REFS,    // references recorded for a conversation's second
    JOB_FILES,   // files to be fetched
    JOB_AVATARS, // customers' pictures to be looked at
};

enum { JOB_LANES_MAX = 512 };

// Owned by the committer from the submit to done(), then by done()'s side again.
struct job {
    struct queue_node node; // first
    enum job_kind kind;
    int err; // out
    // On the committer's thread or the flusher's; it must not block: usually it posts `task` to a loop.
    void (*done)(struct job *job);
    void *owner;           // done()'s to use
    struct loop_task task; // done()'s to use
    struct job *next;      // the committer's

    struct store_change *changes; // JOB_ACCEPT, JOB_CHANGES; the submitter's memory
    size_t change_count;
    union {
        struct {
            int64_t lane, after_place;
            size_t limit;
            struct lane_page page; // out
        } load;
        struct {
            int64_t account_id, after;
            int64_t *lanes; // out: the submitter's memory, JOB_LANES_MAX entries
            size_t count;   // out
        } lanes;
        struct {
            int64_t conversation_id, sent_s;
            struct arena *arena; // the submitter's, untouched by others until done()
            struct str *refs;    // out
            size_t count;        // out
        } refs;
        struct store_wanted files;    // its arena: as of refs
        struct store_avatars avatars; // the same
    };
};

// New work, told to the lanes after the commit.
struct announcement {
    struct announcement *next;
    int64_t account_id, lane;
    int64_t source_id;       // of a reply: whose; else 0
    struct message *message; // owned; NULL: over budget, load it
    struct link *link;       // of its conversation; owned, NULL with message
    char *profile;           // of its conversation, JSON; owned, may be NULL
    bool look_again;         // not new: pending messages of this lane were changed in the store (an album grew)
    bool wants_files;        // of a new one: it has files to be fetched (relay/media.h)
};

struct committer;

struct committer_options {
    struct store *store;
    const struct clock *clock;
    struct board *board;
    struct tally *tally;
    size_t max_queue; // accept jobs that may wait; beyond it submit refuses
    int64_t keep_bodies_us, keep_dedupe_us;
    // A list, oldest first; the callee's to free (announcement_free). On the committer's thread or the flusher's.
    void (*announce)(void *arg, struct announcement *list);
    // True when messages shall be handed on with announcements (memory budget not used up). Any thread.
    bool (*may_hand_on)(void *arg);
    void *arg;
    void (*fatal)(void *arg, const char *sentence); // on the committer's thread or the flusher's
    void *fatal_arg;
    bool flushes_apart; // committer_turn leaves the flush to committer_flush
};

struct committer *committer_new(const struct committer_options *options);
void committer_free(struct committer *committer);
// False when the queue is full or the committer ended: the job stays the caller's. Any thread.
bool committer_submit(struct committer *committer, struct job *job);
// Works off what is queued, in one or several transactions; false when there was nothing. For the
// committer's thread and the simulator. False also when what is left must be tried again later (a full disk).
bool committer_turn(struct committer *committer);
// Flushes and tells the groups that were committed; false when there are none, or another thread is about it. For the
// threads of the committer, and the simulator.
bool committer_flush(struct committer *committer);
// Groups that were committed and that nobody has begun to flush. As committer_flush.
bool committer_has_unflushed(struct committer *committer);
// What may be done when nothing else is: ages out what is old enough, now and then. As committer_turn.
void committer_keep_house(struct committer *committer);
// Blocks and works until committer_close and the queue is empty. The committer's thread runs this.
void committer_run(struct committer *committer);
// Blocks and flushes what committer_run leaves to it until that has returned. The flusher's thread runs this; without one
// (and without `flushes_apart`) each turn flushes.
void committer_run_flusher(struct committer *committer);
// From now on nothing waits for a store that is full or busy: what cannot be recorded fails, and stays marked. Any thread.
void committer_hurry(struct committer *committer);
void committer_close(struct committer *committer);
// Webhooks would be stored: no disk error, no full disk.
bool committer_is_well(struct committer *committer);

void announcement_free(struct announcement *announcement);
