// The life of a lane, as a table (DESIGN.md, Lane state machine). What is done at each transition is the
// dispatcher's (relay/dispatcher.h); which ones are allowed is said here, and checked at every one.
//
//   idle -work-> loading | ready | suspended | stopped | waiting (of replies: for the pace of their chat)
//   loading -page-> ready | waiting | held | idle
//   ready -taken-> marking -durable-> sending      (desk with a key, or marked already: ready -> sending)
//   sending -settled-> ready | loading | idle | sending (the next one, marked with it)
//   sending -retry, wait-> waiting -timer, by hand-> ready
//   sending -given up, on_failure: hold-> held -by hand-> ready | loading | idle
//   loading, ready, marking, waiting, sending, held -desk suspended-> suspended
//   suspended -desk well, or its head is the probe-> loading
//   loading, sending -the order rule was changed, older messages are pending-> behind -settled-> loading | suspended
//   any -account deactivated-> stopped -activated-> loading | suspended | idle
#pragma once
#include <stdbool.h>

enum lane_state {
    LANE_IDLE,      // nothing pending: the lane is about to be forgotten
    LANE_LOADING,   // a page is wanted, or asked of the committer
    LANE_READY,     // the head is known and stands in the ring
    LANE_MARKING,   // the head's in-flight mark is on its way to the disk
    LANE_SENDING,   // one attempt, until its outcome is durable
    LANE_WAITING,   // until a time: backoff, settle, the platform's own wait
    LANE_SUSPENDED, // with its desk; holds no messages
    LANE_HELD,      // for a person
    LANE_STOPPED,   // the account is inactive; holds no messages
    LANE_BEHIND,    // of a changed order rule: until all messages of the rule before are settled; holds no messages
    LANE_STATES,
};

const char *lane_state_name(enum lane_state state);
bool lane_may_go(enum lane_state from, enum lane_state to);
