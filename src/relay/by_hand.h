// What a person asks of one message: that it is tried, or discarded. It decides what is read, which change is submitted, what
// the dispatcher is told and what is told afterwards. All of it happens on the dispatcher's thread, where no attempt can end
// between the look and the change; no thread, lock or wait of its own: relay_calls.c waits for it, the simulator does not.
#pragma once
#include "relay/dispatcher.h"

// What it works on; lives longer than what is asked.
struct by_hand_ports {
    void *arg;
    // Hands the job to the committer, as the dispatcher's port does. False: going down, and nothing comes of it.
    bool (*submit)(void *arg, struct job *job);
    struct dispatcher *dispatcher;
    struct store_reader *reader; // of the dispatcher's thread; NULL: could not be had
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    const struct clock *clock;
    int64_t settle_ms;
};

// One question. Zeroed but for `answered`; the rest is its own.
struct by_hand {
    struct job job; // first
    const struct by_hand_ports *ports;
    struct message *message; // as it was when it was looked at
    struct store_change change;
    struct store_outcome outcome;
    struct store_retry retry;
    // Called once, at once or later: it may be freed then.
    void (*answered)(struct by_hand *hand, int err);
};

// A skipped message goes to the tail of its lane, one that waits or is held is tried now; nothing to do is no error.
// ERR_REFUSED: it is settled for good, or skipped and its account was removed; ERR_NOT_FOUND.
void by_hand_retry(struct by_hand *hand, const struct by_hand_ports *ports, int64_t message_id);
// ERR_REFUSED: it is delivered; ERR_BUSY: it is in flight, and discarded if the attempt fails; ERR_NOT_FOUND.
void by_hand_discard(struct by_hand *hand, const struct by_hand_ports *ports, int64_t message_id);
