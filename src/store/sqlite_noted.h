// Messages of which more is to be done when they are settled than to say so: files that an agent has not been told of, an album.
// All others are settled without a look at the tables that say so. It may name some of which nothing is to be done any more: a
// transaction that fails takes back only what it removed. Knows nothing of SQL.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Ready when zeroed.
struct sqlite_noted {
    int64_t *entries; // ascending: twice the id, one more when it has left
    size_t count, room, left;
    int64_t *leaving; // in the transaction under way
    size_t leaving_count, leaving_room;
};

void sqlite_noted_done(struct sqlite_noted *noted);
// Mostly ids that are greater than all before.
void sqlite_noted_add(struct sqlite_noted *noted, int64_t id);
bool sqlite_noted_has(const struct sqlite_noted *noted, int64_t id);
// With the commit.
void sqlite_noted_remove(struct sqlite_noted *noted, int64_t id);
void sqlite_noted_commit(struct sqlite_noted *noted);
void sqlite_noted_undo(struct sqlite_noted *noted);
