// The committer: the only one that writes SQL. It takes jobs from a queue, puts what is there into one
// transaction (outcomes first, messages capped), and tells each job what became of it after the flush. While
// one group is flushed the next gathers: that grouping beats any timer. It also loads lane pages, between
// transactions, so that a page and the announcements around it have one order.
//
// Guarantees:
//   a job's done() runs after its transaction is on stable storage (err 0), or after it is certain that nothing
//   of it is stored (err < 0)
//   announcements and done() calls come in the order of commits, on the committer's thread
//   after a disk error no job succeeds any more, and `fatal` is called once (rule S1)
// What a crash leaves at any point: the transactions that were flushed, nothing of the others; nobody was told
// of the others.
#pragma once
#include "base/clock.h"
#include "base/queue.h"
#include "net/loop.h"
#include "relay/board.h"
#include "relay/tally.h"
#include "store/store.h"

enum job_kind {
    JOB_ACCEPT,  // changes, all STORE_ACCEPT; refused (ERR_FULL, ERR_BUSY) while the store cannot be written
    JOB_CHANGES, // changes of any other kind
    JOB_LOAD,    // a page of a lane
    JOB_LANES,   // lanes that have work
    JOB_REFS,    // references recorded for a conversation's second
};

enum { JOB_LANES_MAX = 512 };

// Owned by the committer from the submit to done(), then by done()'s side again.
struct job {
    struct queue_node node; // first
    enum job_kind kind;
    int err; // out
    // On the committer's thread; it must not block: usually it posts `task` to a loop.
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
    };
};

// New work, told to the lanes after the commit.
struct announcement {
    struct announcement *next;
    int64_t account_id, lane;
    struct message *message; // owned; NULL: over budget, load it
    struct link *link;       // of its conversation; owned, NULL with message
};

struct committer;

struct committer_options {
    struct store *store;
    const struct clock *clock;
    struct board *board;
    struct tally *tally;
    size_t max_queue; // accept jobs that may wait; beyond it submit refuses
    int64_t keep_bodies_us, keep_dedupe_us;
    // A list, oldest first; the callee's to free (announcement_free). On the committer's thread.
    void (*announce)(void *arg, struct announcement *list);
    // True when messages shall be handed on with announcements (memory budget not used up). Any thread.
    bool (*may_hand_on)(void *arg);
    void *arg;
    void (*fatal)(void *arg, const char *sentence);
    void *fatal_arg;
};

struct committer *committer_new(const struct committer_options *options);
void committer_free(struct committer *committer);
// False when the queue is full or the committer ended: the job stays the caller's. Any thread.
bool committer_submit(struct committer *committer, struct job *job);
// Works off what is queued, in one or several transactions; false when there was nothing. For the
// committer's thread and the simulator. False also when what is left must be tried again later (a full disk).
bool committer_turn(struct committer *committer);
// What may be done when nothing else is: ages out what is old enough, now and then. As committer_turn.
void committer_keep_house(struct committer *committer);
// Blocks and works until committer_close and the queue is empty. The committer's thread runs this.
void committer_run(struct committer *committer);
// From now on nothing waits for a store that is full or busy: what cannot be recorded fails, and stays marked. Any thread.
void committer_hurry(struct committer *committer);
void committer_close(struct committer *committer);
// Webhooks would be stored: no disk error, no full disk.
bool committer_is_well(struct committer *committer);

void announcement_free(struct announcement *announcement);
