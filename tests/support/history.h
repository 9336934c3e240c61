// A history on the rig and its judge: a platform sends numbered messages until each is acknowledged, a desk takes them and
// fails now and then, and afterwards the desk's journal is held against what was acknowledged (RELIABILITY: A1 lost,
// A4 reordered, A5 repeated under another id). Plain data, so that it can lie in memory that several processes share.
#pragma once
#include "support/rig.h"

enum { CONVERSATIONS = 3, EACH = 4, SENT = CONVERSATIONS * EACH, JOURNAL_MAX = 400 };

// What the desk took: the id under which it came tells a repetition.
struct taken {
    int64_t id;
    int conversation, serial;
};

struct history {
    bool acknowledged[SENT];
    struct taken journal[JOURNAL_MAX];
    int journal_count;
    int turn;    // answers of the desk
    int lose_at; // this answer of the desk is lost; 0 = none
    enum http_failure lose_how;
    bool lose_applied; // the desk took the message before
    bool lost;         // it came to that
};

// Plays it to the end: sends what is not acknowledged, serves the desk, lets time pass until nothing waits. `after_each`
// (may be NULL) is called after everything that can meet a fault, for a process that died of it to come back.
void history_play(struct history *history, struct rig *rig, void (*after_each)(void));
// Fails the test when the promise was broken.
void history_judge(const struct history *history, struct rig *rig);
// Whether the journal alone is as it must be.
bool history_is_in_order(const struct history *history);
