// The line: what waits. It stands in the table `waiting`, but for fresh messages (sqlite_fresh.h), which whoever asks has in
// memory: the writer as it goes, a reader once for each of its snapshots, from the rows behind totals.lined_number. A message
// up to that id that waits stands in the table; one behind it does, or does not. The view `line` is both in SQL.
#pragma once
#include "store/sql.h"
#include "store/sqlite_fresh.h"
#include "store/store.h"

struct sqlite_store;

// Of one connection.
struct sqlite_line {
    struct sql *sql;
    struct sqlite_fresh *fresh;
    bool stale; // to be read anew before it is used: a reader's snapshot began
};

enum { SQLITE_FRESH_BLOCK = 8192 }; // messages

// In a snapshot of its own, or in the one that a reader has begun. Where a lane is given, out->lane = 0: there is none.

// The lane with its head.
ERR_CHECK int sqlite_line_head(struct sqlite_line *line, int64_t lane, struct lane_row *out);
// With its head in the table, which is enough where only places up to totals.lined_number count.
ERR_CHECK int sqlite_line_lined_head(struct sqlite_line *line, int64_t lane, struct lane_row *out);
// The next lane with its head.
ERR_CHECK int sqlite_line_next(struct sqlite_line *line, int64_t after, struct lane_row *out);
// How many wait, and how many of them in the lane (0 = in all).
ERR_CHECK int sqlite_line_count(struct sqlite_line *line, int64_t lane, int64_t *out);
// Reads the fresh messages from the store.
ERR_CHECK int sqlite_line_load(struct sqlite_line *line);

// The writer's, within a transaction.

// The message begins to wait. Those whose place is their id come in order.
ERR_CHECK int sqlite_line_enter(struct sqlite_store *s, const struct message *message);
// It was settled; its row stands where it stood. ERR_CORRUPT when the line does not have it (struct sql, index_contradicts).
ERR_CHECK int sqlite_line_leave(struct sqlite_store *s, int64_t id);
// Writes fresh messages of old blocks to the table, behind a batch that brought so many.
ERR_CHECK int sqlite_line_move(struct sqlite_store *s, int64_t accepted);
// Writes all of them.
ERR_CHECK int sqlite_line_move_all(struct sqlite_store *s);
// What totals.lined_number is with this commit.
int64_t sqlite_line_lined(struct sqlite_store *s);
// At the start: all that waits goes to the table. Rows behind totals.lined_number that cannot be what was written are taken for
// waiting, and damaged; *out_damaged: how many.
ERR_CHECK int sqlite_line_begin(struct sqlite_store *s, int64_t *out_damaged);
