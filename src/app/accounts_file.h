// The accounts of the configuration file against those of the store: which to store anew.
//
// A value is applied when it changes in the file, not when it differs from the store: so a deactivation by hand outlives
// restarts until the file says something new. By hand only `active` of a file's account can be changed, so that is the
// one value compared by itself; the rest is the file's.
#pragma once
#include "app/config.h"

// An account as the store has it, with the file_text stored with it (STR_NONE: made by hand). Borrowed.
struct stored_account {
    const struct account *account;
    struct str file_text;
};

// What to do. The lists are in the arena. Each account is a copy with one reference of the plan's: whoever hands one on
// that takes the reference sets its place to NULL; accounts_plan_done drops the others.
struct accounts_plan {
    struct arena arena;
    // For relay_put_accounts: new ones, changed ones, and those that left the file (inactive, left_file, file_text STR_NONE).
    struct account **puts;
    struct str *file_texts; // borrowed from the configuration
    size_t put_count;
    // Unchanged, but their place in the file: for the directory only, nothing to store.
    struct account **moved;
    size_t moved_count;
};

// Pure. Ids, made secrets and registered URLs of what is stored are kept.
void accounts_plan_make(const struct config *config, const struct stored_account *stored, size_t stored_count,
                        struct accounts_plan *out);
void accounts_plan_done(struct accounts_plan *plan);
