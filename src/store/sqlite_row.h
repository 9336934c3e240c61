// Rows of the SQLite back end: what a row says, and the checksums that tell whether it still says what was
// written. Checksums are plain (XXH3), against a damaged disk, not against an attacker.
#pragma once
#include "model/message.h"
#include "store/sql.h"

// The columns of a message that struct message has no field for.
struct sqlite_row {
    uint64_t digest, sum;
    struct str dedupe_key;
    int64_t target_id; // of a reply that changes another; else 0
    bool in_range;     // every number is one that we write, and they fit each other
};

struct sqlite_conversation {
    int64_t id, source_id;
    struct str thread, name;
    struct str profile; // JSON
    struct link link;
    int64_t goes_on_in; // the conversation that messages of this thread belong to; 0 = this one
    uint64_t sum;
    int64_t account_waiting; // not in the sum
};

enum { SQLITE_ROW_COLUMNS = 32 }; // of SQL_MESSAGE_COLUMNS: what follows them begins here

// From SQL_MESSAGE_COLUMNS. Texts live until the next step.
void sqlite_row_read(sqlite3_stmt *statement, struct message *out, struct sqlite_row *out_row);
// Over what never changes: ids, lane, direction, digest, times, thread, key, sender, text, attachments, format, what it
// changes. (Text and attachments are sealed anew when they change.)
uint64_t sqlite_row_sum(const struct message *message, const struct sqlite_row *row);
// The sum fits, numbers are such as we write, and the place is one that the message can have.
bool sqlite_row_is_whole(const struct message *message, const struct sqlite_row *row);

// From "thread, name" at `first` and SQL_LINK_COLUMNS at `link`.
void sqlite_conversation_read(sqlite3_stmt *statement, int first, int link, struct sqlite_conversation *out);
uint64_t sqlite_conversation_sum(const struct sqlite_conversation *conversation);
bool sqlite_conversation_is_whole(const struct sqlite_conversation *conversation);
