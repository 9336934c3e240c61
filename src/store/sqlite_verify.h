// What the files of verify share: sqlite_verify.c (the sum, messages, all together), sqlite_verify_rows.c (rows of other tables,
// the file), sqlite_verify_files.c (files of messages).
#pragma once
#include "store/sqlite_reader.h"
#include "store/sqlite_verify_order.h"

enum { VERIFY_PAGE_ROWS = 500, VERIFY_KINDS = FINDING_NOTE + 1 };

struct check {
    struct sqlite_reader *reader;
    struct store_check *asked;
    int64_t found[VERIFY_KINDS];
    struct order_check *order;
    int64_t rows;                           // of messages, as far as known
    int64_t lined_number;                   // what waits up to this id stands in the table, in the snapshot of the page
    int64_t head_lane, head_place, head_id; // of the lane looked up last, in that snapshot; 0 = none
    bool head_of_all;                       // fresh messages were looked at, too
    int64_t discarded_damaged;
    char unread[160]; // what SQLite said of damage that it could not read on behind
};

void verify_find(struct check *check, enum store_finding_kind kind, int64_t message_id, const char *advice,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));
void verify_tell_progress(const struct check *check, const char *part, int64_t done, int64_t of);
// Whether there are more pages: `more`, where the last row of this one stands behind that of the page before. A damaged table may give
// the same rows again and again: that is told, and ends the look at it.
bool verify_goes_on(struct check *check, const char *table, bool more, bool is_behind);
// A page of rows behind *after, which goes on; in a snapshot of its own.
ERR_CHECK int verify_pages(struct check *check, const char *table,
                           int (*page)(struct check *check, int64_t *after, bool *out_more));
// Conversations, accounts, sources, attempts.
ERR_CHECK int verify_rows(struct check *check);
// Files of messages.
ERR_CHECK int verify_files(struct check *check);
// Whether the list of a message, which is as it was stored, and its rows in `files` say the same, in the snapshot that it was read in.
ERR_CHECK int verify_files_of(struct check *check, const struct message *message);
ERR_CHECK int verify_file(struct check *check);
