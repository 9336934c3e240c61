// What an agent reads of a reply that did not simply arrive, as a note in that conversation. Pure.
#pragma once
#include "base/arena.h"
#include "model/message.h"

enum note_kind {
    NOTE_REFUSED,       // skipped: it will not be taken, however often it is sent
    NOTE_GAVE_UP,       // skipped: it failed too often
    NOTE_HELD,          // the same, and it waits for a person
    NOTE_HELD_IN_DOUBT, // it may have arrived, and waits for a person
    NOTE_SENT_TWICE,    // it may have arrived before it was sent again
};

struct note {
    enum note_kind kind;
    const struct message *reply;
    int attempts;   // counted ones
    struct str why; // words for people, of the platform or its connector; STR_NONE: none
    bool in_doubt;  // skipped or held, it may have arrived all the same
};

// Sentences, plain text, in the arena. They begin with what became of it and name the reply by its first words.
struct str note_text(const struct note *note, struct arena *arena);
