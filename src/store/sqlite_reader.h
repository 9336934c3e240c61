// A read-only connection for another thread. Inside of the SQLite back end.
#pragma once
#include "store/sqlite_line.h"
#include "store/store.h"

struct sqlite_reader {
    struct store_reader reader; // first
    struct sql sql;
    struct sqlite_line line;
    char *path;
    int64_t cap_ms;      // 0 = none
    int64_t deadline_us; // monotonic, of the call under way; 0 = none
    atomic_bool interrupted;
    int64_t log_room;    // by so much the log may grow during a long snapshot, bytes
    int64_t log_longest; // during the one under way; 0 = no bound
    bool log_over;       // that bound ended it
};

static inline struct sqlite_reader *sqlite_reader_of(struct store_reader *reader)
{
    return (struct sqlite_reader *)reader;
}
// Starts the time of one call.
void sqlite_reader_begin(struct sqlite_reader *r);
// ERR_BUSY when its time is over, or the reader was interrupted: for calls of many short steps, since SQLite looks only
// within one.
int sqlite_reader_over_time(struct sqlite_reader *r);
// Several queries that fit each other; one whose end failed is ended first, since the reader would see that one for ever.
ERR_CHECK int sqlite_reader_snapshot_begin(struct sqlite_reader *r);
ERR_CHECK int sqlite_reader_snapshot_end(struct sqlite_reader *r);
// Begins and ends a snapshot that is given up (ERR_BUSY, `log_over`) when the log has grown by `log_room` meanwhile.
void sqlite_reader_bound_log(struct sqlite_reader *r, bool on);
