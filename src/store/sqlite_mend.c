// A row and an index, or the line, that contradict each other, as flipped bits make it: SQLite refuses to change such a row. The
// rows are what is believed, and the indexes and the line are made anew. But a row that the line has, and that says of itself
// that it is settled, is taken for waiting, as the totals do, and as damaged: it is set aside in its turn and not silently
// dropped. And one that says that it waits, of which the line knows nothing, may have been delivered: where its times do not
// tell (sqlite_row.c), since it was retried once, it is taken for damaged, too.
//
// It reads the whole table, which takes seconds per million messages; nothing else could go on with that row.
#include "store/sqlite.h"

#include <stdio.h>

static int set_damaged(struct sqlite_store *s, const char *which)
{
    char text[512];
    int n = snprintf(text, sizeof text, "UPDATE messages SET state = 0, reason = %d WHERE id IN (%s)", REASON_DAMAGED,
                     which);
    return n < (int)sizeof text ? sql_exec(&s->sql, text, NULL) : ERR_INVALID;
}

static int mend_rows(struct sqlite_store *s)
{
    // With a writable schema an entry that is missing is none to delete.
    int err = sql_exec(&s->sql, "PRAGMA writable_schema = ON", NULL);
    if (!err)
        err = set_damaged(s, "SELECT id FROM messages NOT INDEXED WHERE state = 0 AND late = 1 EXCEPT "
                             "SELECT id FROM waiting");
    if (!err)
        err = set_damaged(s, "SELECT w.id FROM waiting w CROSS JOIN messages m NOT INDEXED ON m.id = w.id "
                             "WHERE m.state <> 0");
    int off = sql_exec(&s->sql, "PRAGMA writable_schema = OFF", NULL);
    return err ? err : off;
}

static int line_up(struct sqlite_store *s)
{
    int err = sql_exec(&s->sql, "DELETE FROM waiting", NULL);
    return err ? err
               : sql_exec(&s->sql,
                          "INSERT INTO waiting (lane, place, id, account_id) SELECT lane, place, id, account_id "
                          "FROM messages NOT INDEXED WHERE state = 0 ORDER BY lane, place, id",
                          NULL);
}

// Conversations whose pending messages would not be found by their account.
static int find_waiting(struct sqlite_store *s)
{
    return sql_exec(&s->sql,
                    "UPDATE conversations SET account_waiting = w.account_id FROM (SELECT lane >> 2 AS id, account_id "
                    "FROM waiting WHERE (lane & 3) > 0 GROUP BY lane >> 2) AS w "
                    "WHERE conversations.id = w.id AND account_waiting <> w.account_id",
                    NULL);
}

int sqlite_mend(struct sqlite_store *s, void *arg)
{
    (void)arg;
    sqlite_known_forget_all(s->known);
    sqlite_quota_forget(&s->quota);
    int err = sqlite_line_move_all(s);
    if (!err)
        err = mend_rows(s);
    if (!err)
        err = line_up(s);
    if (!err)
        err = sql_exec(&s->sql, "REINDEX", NULL);
    return err ? err : find_waiting(s);
}
