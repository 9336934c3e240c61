// The accounts of the configuration file against those of the store: which to store anew.
//
// A value is applied when it changes in the file, not when it differs from the store: so a deactivation by hand outlives
// restarts until the file says something new. By hand only `active` of a file's account can be changed, so that is the
// one value compared by itself; the rest is the file's.
#pragma once
#include "app/config.h"
#include "relay/relay.h"

// An account as the store has it, with the file_text stored with it (STR_NONE: made by hand). Borrowed.
struct stored_account {
    const struct account *account;
    struct str file_text;
};

// What to do. The lists are in the arena. Each account is a copy with one reference of the plan's: whoever hands one on
// that takes the reference sets its account to NULL; accounts_plan_done drops the others.
struct accounts_plan {
    struct arena arena;
    // For relay_put_accounts: new ones, changed ones, and those that left the file (inactive, left_file, file_text STR_NONE).
    struct relay_account_put *puts; // file_text borrowed from the configuration
    size_t put_count;
    // Unchanged, but their place in the file: for the directory only, nothing to store.
    struct account **moved;
    size_t moved_count;
};

// Pure. Ids, made secrets and registered URLs of what is stored are kept.
void accounts_plan_make(const struct config *config, const struct stored_account *stored, size_t stored_count,
                        struct accounts_plan *out);
void accounts_plan_done(struct accounts_plan *plan);

// Ids of what is stored, and what its sources made or learned themselves; a webhook that another bot had is not this one's.
void accounts_keep_learned(struct account *account, const struct account *stored);
// True when a bot or number is in both: these are its sources.
bool accounts_share_bot(const struct account *one, const struct account *other, const struct source **out_one,
                        const struct source **out_other);
// One bot or number stands in one source: ERR_INVALID when the file has one that an account made by hand has, with lines
// as of config_load. (Within the file: config.h.)
ERR_CHECK int accounts_file_check(const struct config *config, const struct stored_account *stored, size_t stored_count,
                                  struct buf *errors);
