// The courier: runs one attempt. It asks the desk's connector for the next request, sends it, gives the answer
// back, until there is a verdict; then it hands the verdict to the dispatcher (attempt_ended).
#pragma once
#include "relay/lanes.h"

// One attempt at the head of a lane. Owned by its lane from attempt_new to attempt_free.
struct attempt {
    struct dispatcher *dispatcher;
    struct lane *lane;
    struct desk_state *desk_state; // counted: the desk it began at
    const struct account *account; // counted
    struct arena arena;
    struct delivery steps;          // the connector's view
    bool holds_slot;                // of the governor and of the dispatcher
    bool last_writes;               // the request in flight could apply the message
    bool wrote;                     // one such request was sent
    bool asks_person;               // it may have been sent by an earlier process, and its account has that held
    enum http_failure last_failure; // of the last answer
    int requests;
    int64_t began_us;         // monotonic
    int64_t sent_us, took_us; // monotonic: the last request left; all of them together
    void *call;               // in flight, or NULL
    struct verdict verdict;
    bool cut;                       // ended by us between two requests
    struct attempt *prev, *next;    // parked, waiting for a probe
    struct job job;                 // mark, references or outcome: one at a time
    struct store_change changes[2]; // the outcome, and the desk's health when it changed
    struct store_desk_health health;
    bool tells_health;
    struct store_outcome outcome;
    struct store_mark mark;
};

struct attempt *attempt_new(struct dispatcher *d, struct lane *lane);
void attempt_free(struct attempt *attempt);
// The first step; when the message is in doubt, the references recorded for its second are fetched before.
void attempt_begin(struct attempt *attempt);

// The attempt of a job.
#define attempt_of(job_) ((struct attempt *)((char *)(job_)-offsetof(struct attempt, job)))

// dispatcher.c: the attempt has come to attempt->verdict (or was cut).
void attempt_ended(struct attempt *attempt);
// desk_health.c: the desk answered, and what its headers say.
void desk_answered(struct dispatcher *d, struct desk_state *desk, const struct http_response *response);
// The verdict's bearing on the desk: false when the attempt is parked until a probe tells whether it was the
// desk or the message (it then comes back through attempt_judged).
bool desk_judges(struct attempt *attempt);
// desk_probe.c: it waits for the probe's word; and that word: `well`: it was the message, and counts.
void desk_park(struct dispatcher *d, struct attempt *attempt);
void desk_release_parked(struct dispatcher *d, struct desk_state *desk, bool well);
// courier.c: its account was deactivated, or the daemon stops: no other request, and nothing is counted.
bool attempt_must_stop(const struct attempt *attempt);
// desk_guard.c: the message may be skipped; false: the guard against mass skips keeps it pending.
bool desk_lets_skip(struct attempt *attempt);
// dispatcher.c: the message's in-flight mark is taken off the disk.
void dispatcher_unmark(struct dispatcher *d, int64_t message_id);
// outcome.c: what the verdict makes of the message.
void attempt_judged(struct attempt *attempt);
// Nothing is sent to a suspended desk; its lanes hold no messages.
void desk_suspend(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t not_before_us);
// All its lanes go on, ramped.
void desk_resume(struct dispatcher *d, struct desk_state *desk);
