// What the dispatcher knows of a lane now, for people: its state, what it waits for and until when. What the store has of
// it (head, how many wait) comes from a store_reader; admin/api_lanes.c puts both together.
#pragma once
#include "base/arena.h"
#include "model/lane.h"
#include "model/message.h"

struct dispatcher;

// One machine word each (lane_wait_name).
enum lane_wait {
    LANE_WAITS_NOT,      // nothing is pending, or it moves on by itself this moment
    LANE_WAITS_START,    // the relay is still reading what waits (after its start, or after an activation)
    LANE_WAITS_PAGE,     // its messages are being read from the store
    LANE_WAITS_MEMORY,   // the memory for messages is full of others' messages
    LANE_WAITS_TURN,     // others of the same desk go first
    LANE_WAITS_SLOT,     // as many attempts are in flight as delivery.concurrency allows
    LANE_WAITS_GOVERNOR, // as many are in flight at its desk as that takes well
    LANE_WAITS_RATE,     // the desk's rate limit, or the ceiling that the operator set
    LANE_WAITS_MARK,     // its in-flight mark on the way to the disk
    LANE_WAITS_ANSWER,   // of the desk, to an attempt in progress
    LANE_WAITS_PROBE,    // whether it was the message or the desk
    LANE_WAITS_RECORD,   // what the attempt came to is being recorded
    LANE_WAITS_BACKOFF,  // the pause after a failure
    LANE_WAITS_SETTLE,   // in doubt: looked up when it has settled
    LANE_WAITS_TIME,     // a time that the desk, or its connector, asked for
    LANE_WAITS_DESK,     // the desk is suspended
    LANE_WAITS_GUARD,    // the desk is suspended by the guard against mass skips
    LANE_WAITS_PERSON,   // held
    LANE_WAITS_ACCOUNT,  // the account is inactive
    LANE_WAITS_ORDER,    // the order rule was changed: messages accepted before are settled first
    LANE_WAITS_PACE,     // as fast as its platform takes messages in one chat
    LANE_WAITS,
};

struct lane_view {
    int64_t account_id, lane; // asked for
    enum lane_state state;
    enum lane_wait waits_for;
    int64_t until_us;                // wall; 0 = unknown or none
    int64_t since_us;                // wall: the attempt in progress began; 0 = none is
    int desk_in_flight, desk_window; // of its desk's governor; 0 where nothing of it is in memory
};

// An account's lanes in memory, those of replies among them.
struct account_view {
    int64_t account_id;              // asked for
    int lanes_in_state[LANE_STATES]; // all those that wait, but for `starting` and inactive accounts
    bool starting;                   // its lanes are still being read from the store
};

// On the relay loop's thread.
void lane_view_fill(struct dispatcher *d, struct lane_view *view);
void account_view_fill(struct dispatcher *d, struct account_view *view);

// What a wait for a time is for, told by the head as the store has it.
void lane_view_judge(struct lane_view *view, const struct message *head);
const char *lane_wait_name(enum lane_wait wait);
