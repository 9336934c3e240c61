// The accounts of the configuration file against those that there are: which to store anew.
//
// A value is applied when it changes in the file, not when it differs from the store: so a deactivation by hand outlives
// restarts until the file says something new. What the file said last is kept with each account (file_text). By hand only
// `active` of a file's account can be changed, so that is the one value compared by itself; the rest is the file's.
//
// One account at a time: there may be very many.
#pragma once
#include "app/config.h"
#include "relay/directory.h"

enum account_plan_kind {
    PLAN_NOTHING,
    PLAN_PUT,  // to be stored anew: it is new, it changed, or it left the file (inactive, left_file, no file_text)
    PLAN_MOVE, // unchanged, but its place in the file: for the directory only
};

// What to do about one account.
struct account_plan {
    enum account_plan_kind kind;
    struct account *account; // as it shall be: a reference for the caller; NULL when there is nothing to do
    bool keep_active;        // store_account_put
};

// What the file says of an account, and what there is of it (NULL: nothing). Ids, made secrets and registered URLs are kept.
void account_plan_said(struct account *said, const struct account *stored, struct account_plan *out);
// An account that does not stand in the file.
void account_plan_unsaid(const struct account *stored, struct account_plan *out);

// Ids of what is stored, and what its sources made or learned themselves; a webhook that another bot had is not this one's.
void accounts_keep_learned(struct account *account, const struct account *stored);
// True when a bot or number is in both: these are its sources.
bool accounts_share_bot(const struct account *one, const struct account *other, const struct source **out_one,
                        const struct source **out_other);
// One bot or number stands in one source: ERR_INVALID when the file has one that an account made by hand has, with lines
// as of config_load. (Within the file: config.h.)
ERR_CHECK int accounts_file_check(const struct config *config, struct directory *directory, struct buf *errors);
