// What is outside of the process that is killed: the platform's messages and what the desk took of them, in a file that is
// mapped and so outlives kill -9; the two desks; and the judge.
#pragma once
#include "support/rig.h"

enum { LANES = 3, MOST = 240, TAKEN_MOST = 4 * MOST, THREADS_MOST = 64 };

// What the desk took, in that order.
struct taken {
    int64_t id;         // under which it came: a repetition tells itself (webhook)
    int64_t created_s;  // Intercom's parts
    int number, thread; // which message; the conversation at Intercom
};

struct world {
    int count; // messages that the platform sends; of lane number % LANES
    int pad;   // bytes more in each text
    bool intercom;
    int poison; // this one is refused until it is cured; -1 = none
    bool cured;
    int fails_every; // the desk fails every n-th time; 0 = never
    int64_t wall_us; // time goes on while the process is away; 0 = it has not begun
    bool acknowledged[MOST];
    int turn;
    struct taken taken[TAKEN_MOST];
    int taken_count;
    bool contacts[LANES];
    int thread_lane[THREADS_MOST], thread_count;
};

// Maps the file; makes it when `make`. The process exits when it cannot.
struct world *world_open(const char *path, bool make);
// The event of that number; its texts in the arena.
struct event world_event(const struct world *world, struct arena *arena, int number);
// Answers the request as the desk that it is.
void world_answer(struct world *world, struct rig *rig, struct rig_call *call);

struct judgement {
    int acked, lost, doubled, reordered;
    bool settled_right; // the store's counts are those of the world, nothing is pending
};
// Of a history that was played to its end. `discarded`: what became of the message that the desk refuses.
struct judgement world_judge(const struct world *world, struct rig *rig, bool discarded);
