// Was each lane delivered in its order? Fed with rows in the order of their ids, from any number of snapshots: that a message
// of a place was settled at a time stays true, so nothing that goes on meanwhile makes a fault.
//
// Memory: 24 bytes per lane (a table that doubles, so up to 64), and what is late and not in its place yet.
#pragma once
#include "model/message.h"

struct order_check;

// An earlier place that was settled after a later one was tried or settled, by the clock's word.
struct order_fault {
    int64_t lane;
    int64_t first_id, first_settled_us; // the earlier place
    int64_t then_id, then_us;           // the later one, and when it was tried first, or settled
    bool tried;                         // `then_us` is the first try
};

struct order_check *order_check_new(void);
void order_check_free(struct order_check *check);
// A message that is delivered or skipped. `first_try_us`: of its attempts on record the first; 0 = there is none.
void order_check_settled(struct order_check *check, const struct message *message, int64_t first_try_us);
// A message of any state, for the clock: one accepted later that says an earlier time shows that the clock was set back.
void order_check_accepted(struct order_check *check, const struct message *message);
// The rows are at their end: faults that no clock that was set back explains, and how many it does explain.
void order_check_end(struct order_check *check, void (*each)(void *arg, const struct order_fault *fault), void *arg,
                     int64_t *out_by_clock);
int64_t order_check_lanes(const struct order_check *check);
// Messages that there was no room to compare.
int64_t order_check_left_out(const struct order_check *check);
