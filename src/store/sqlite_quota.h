// How many messages of each account wait, for the bound that an account may have (struct store_accept, most_waiting). Counted only
// once so many wait in all that an account could be over it: until then nothing is kept up. Within a transaction.
#pragma once
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite_store;
struct sqlite_quota_account;

// Ready when zeroed.
struct sqlite_quota {
    bool counting;
    bool began; // in the transaction under way
    struct sqlite_quota_account *accounts;
    struct sqlite_quota_step {
        int64_t account_id, change;
    } * steps; // of the transaction under way
    size_t step_count, step_room;
    int64_t least; // counting ends when less wait in all: nobody could be over the bound
};

void sqlite_quota_done(struct sqlite_quota *quota);
// What waits is no longer what was counted.
void sqlite_quota_forget(struct sqlite_quota *quota);
// A message of the account began to wait (1), or was settled (-1).
void sqlite_quota_change(struct sqlite_quota *quota, int64_t account_id, int64_t change);
// `waiting`: in all, now.
void sqlite_quota_commit(struct sqlite_quota *quota, int64_t waiting);
void sqlite_quota_undo(struct sqlite_quota *quota);
// Whether `most` or more of the account's messages wait.
ERR_CHECK int sqlite_quota_is_over(struct sqlite_store *s, int64_t account_id, int64_t most, bool *out);
