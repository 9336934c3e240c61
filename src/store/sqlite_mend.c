// A row and its index that contradict each other, as flipped bits make it: SQLite refuses to change such a row. The rows are
// what is believed, and the indexes are made anew. But a row that the index of what waits has, and that says of itself that it
// is settled, is taken for waiting, as the totals do, and as damaged: it is set aside in its turn and not silently dropped.
//
// It reads the whole table, which takes seconds per million messages; nothing else could go on with that row.
#include "store/sqlite.h"

#include <stdio.h>

static int mend_rows(struct sqlite_store *s)
{
    char text[512];
    // With a writable schema an entry that is missing is none to delete. What the index says of `state` is not the row's word.
    int n = snprintf(text, sizeof text,
                     "UPDATE messages SET state = 0, reason = %d WHERE id IN (SELECT m.id FROM messages m "
                     "INDEXED BY messages_pending WHERE m.state = 0 AND "
                     "(SELECT r.state FROM messages r NOT INDEXED WHERE r.id = m.id) <> 0)",
                     REASON_DAMAGED);
    int err = n < (int)sizeof text ? sql_exec(&s->sql, "PRAGMA writable_schema = ON", NULL) : ERR_INVALID;
    if (!err)
        err = sql_exec(&s->sql, text, NULL);
    int off = sql_exec(&s->sql, "PRAGMA writable_schema = OFF", NULL);
    return err ? err : off;
}

int sqlite_mend(struct sqlite_store *s)
{
    int err = sql_run(&s->sql, SQL_BEGIN);
    if (!err)
        err = mend_rows(s);
    if (!err)
        err = sql_exec(&s->sql, "REINDEX", NULL);
    if (!err)
        err = sql_run(&s->sql, SQL_COMMIT);
    if (err && !sqlite3_get_autocommit(s->sql.db) && sql_run(&s->sql, SQL_ROLLBACK) != 0)
        err = ERR_IO;
    return err == ERR_INVALID ? ERR_CORRUPT : err; // two rows that an index can have but once
}
