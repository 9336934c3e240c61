// The life of a store, from its making (or from an older version's) to its rest, on the relay's core: messages are accepted
// from a platform that sends until it is told yes, delivered to a desk that fails now and then and loses answers, skipped,
// held, tried again and discarded by hand, sent and delivered again; then the whole is verified, ages out, and ends in
// order. At any moment the process may die of what fails: what the platform was told, what the desk has and how far life
// had come lies in memory that processes share, and the next process goes on from there.
#pragma once
#include "fault/points.h"
#include "support/rig.h"

enum {
    LIFE_CONVERSATIONS = 4,
    LIFE_EACH = 5, // messages of each, the last of them in the second round
    LIFE_MESSAGES = LIFE_CONVERSATIONS * LIFE_EACH,
    LIFE_TAKEN_MOST = 400,
    LIFE_DESK_BYTES = 16 << 20,
};

// How a process ended: its exit status.
enum life_end {
    LIFE_THROUGH = 0,
    LIFE_ENDED = 10,   // by its own decision, with a sentence
    LIFE_GAVE_UP = 11, // nothing moved any more
    LIFE_WRONG = 12,   // `wrong` says what
};

// What the desk took. `id` tells a repetition, where the desk is told one.
struct life_taken {
    int message;
    int64_t id;
};

struct life {
    // Given
    bool intercom;
    bool told_early; // the platform is told yes before the store is asked: what no judge may let pass
    // How far it came
    int phase;
    bool told[LIFE_MESSAGES]; // yes, by the relay
    bool well_again;          // the desk takes what it refused
    struct life_taken taken[LIFE_TAKEN_MOST];
    int taken_count;
    int turn;               // of the desk
    int64_t wall_us;        // as far as time has come
    int64_t calls_at_start; // of points, when the process had started
    char wrong[300];
    _Alignas(16) char desk[LIFE_DESK_BYTES]; // of the stand-in for Intercom
};

// In a process of its own, which it ends (enum life_end). `until_accepted`: only what comes before the first delivery.
_Noreturn void life_live(struct life *given, const char *path, bool until_accepted);
// The same, and in the end it is judged.
_Noreturn void life_live_and_judge(struct life *given, const char *path);
