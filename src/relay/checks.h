// What a person asks of a source or a desk now (model/inquiry.h), carried on the relay loop by an HTTP client of its own: a
// few at a time, each bounded in time. Nothing of the relay changes by it: no suspension, no state of a source.
#pragma once
#include "base/clock.h"
#include "model/account.h"
#include "model/inquiry.h"
#include "net/http_client.h"

struct checks;

struct check {
    const struct account *account; // counted
    const struct source *source;   // of the account; NULL: its desk is asked
    // Called once, on the relay loop, possibly before checks_start returns. `err`: ERR_CLOSED, or the inquiry has ended.
    void (*done)(struct check *check, int err);
    struct arena arena;
    struct inquiry inquiry;
    // The runner's own.
    struct checks *checks;
    int steps;
    int64_t until_us; // monotonic
    struct http_call *call;
    struct check *prev, *next;
};

// `public_url` lives longer.
struct checks *checks_new(struct loop *loop, const struct clock *clock, struct str public_url);
// `check` has its first group set and is the caller's from done() on. ERR_BUSY: too many are asked already, done() is not
// called.
int checks_start(struct checks *checks, struct check *check);
// Ends all that are under way; there will be no others.
void checks_stop(struct checks *checks);
// Nothing may be under way.
void checks_free(struct checks *checks);
