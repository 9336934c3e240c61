// What a person asks of a platform or a desk, now ("source check", "desk check"): is it there, does it take our token, what
// does it say of us? Plain data; the connector's ask() fills it in steps, relay/checks.h sends what is to be sent.
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { INQUIRY_FACTS = 12, INQUIRY_STEPS_MAX = 6 };

enum inquiry_kind { INQUIRY_TEXT, INQUIRY_NUMBER, INQUIRY_TIME, INQUIRY_BOOL };

struct inquiry_fact {
    const char *name; // a word of ours in snake_case
    enum inquiry_kind kind;
    struct str text; // STR_NONE: none
    int64_t number;  // microseconds since 1970 for a time, 0: none
};

struct inquiry {
    struct arena *arena; // of the inquiry
    int64_t now_us;      // wall time; true at every step
    int phase;           // the connector's own, 0 at the start
    struct str name;     // likewise: what an answer before told
    // In the end:
    bool good;
    struct str sentence; // one, for people
    struct inquiry_fact facts[INQUIRY_FACTS];
    size_t fact_count;
};

// Texts are copied into the arena.
void inquiry_text(struct inquiry *inquiry, const char *name, struct str text);
void inquiry_number(struct inquiry *inquiry, const char *name, int64_t number);
void inquiry_time(struct inquiry *inquiry, const char *name, int64_t at_us);
void inquiry_bool(struct inquiry *inquiry, const char *name, bool yes);
void inquiry_end(struct inquiry *inquiry, bool good, const char *format, ...) __attribute__((format(printf, 3, 4)));
// A peer may say what it likes: "..." stands for the secret wherever it was repeated.
void inquiry_hide(struct inquiry *inquiry, struct str secret);
