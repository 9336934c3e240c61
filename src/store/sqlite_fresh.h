// Fresh messages: those that wait and do not stand in the table `waiting` yet (sqlite_line.h). They are kept in blocks, in order
// of their ids; a block that is full becomes an old one, whose messages are given out in order of their lanes, to be written
// to the table side by side. Most are settled before that, and never cost a write.
//
// What a transaction changes here is undone when it fails. Knows nothing of SQL.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sqlite_fresh;

// Its place in the lane is its id: a message with another place stands in the table.
struct sqlite_fresh_message {
    int64_t id, lane, account_id;
};

// Of blocks of so many messages.
struct sqlite_fresh *sqlite_fresh_new(size_t block);
void sqlite_fresh_free(struct sqlite_fresh *fresh);
// Forgets all, for good.
void sqlite_fresh_clear(struct sqlite_fresh *fresh);

// Ids only grow.
void sqlite_fresh_add(struct sqlite_fresh *fresh, struct sqlite_fresh_message message);
// False: it is none of them.
bool sqlite_fresh_remove(struct sqlite_fresh *fresh, int64_t id);
// What was changed since the last commit or undo stays, or is taken back.
void sqlite_fresh_commit(struct sqlite_fresh *fresh);
void sqlite_fresh_undo(struct sqlite_fresh *fresh);

// Messages given below stand until the next change; NULL: there is none.

// The lane's first one with id > after.
const struct sqlite_fresh_message *sqlite_fresh_next(struct sqlite_fresh *fresh, int64_t lane, int64_t after);
// The first one of the lowest lane > after.
const struct sqlite_fresh_message *sqlite_fresh_next_lane(struct sqlite_fresh *fresh, int64_t after);
size_t sqlite_fresh_count(const struct sqlite_fresh *fresh);
size_t sqlite_fresh_count_lane(struct sqlite_fresh *fresh, int64_t lane);
// The lowest id; 0 = there are none.
int64_t sqlite_fresh_lowest(struct sqlite_fresh *fresh);

// The next one to be written to the table, of an old block; `all`: of the youngest block, too.
const struct sqlite_fresh_message *sqlite_fresh_due(struct sqlite_fresh *fresh, bool all);
