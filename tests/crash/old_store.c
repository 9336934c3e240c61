// The migrations themselves, which nobody else may see: this takes the place of the library's object.
#include "store/sqlite_schema.c" // NOLINT(bugprone-suspicious-include)

#include "crash/old_store.h"

#include <stdlib.h>

int old_store_newest(void)
{
    return sqlite_schema_newest();
}

static void run(sqlite3 *db, const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK)
        return;
    fprintf(stderr, "%s: %s\n", text, sqlite3_errmsg(db));
    exit(2);
}

// The first column of the query's first row, freed by the caller.
static char *ask(sqlite3 *db, const char *format, const char *name)
{
    sqlite3_stmt *q = NULL;
    char *text = sqlite3_mprintf(format, name);
    if (sqlite3_prepare_v2(db, text, -1, &q, NULL) != SQLITE_OK || sqlite3_step(q) != SQLITE_ROW) {
        fprintf(stderr, "%s: %s\n", text, sqlite3_errmsg(db));
        exit(2);
    }
    char *found = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(q, 0));
    sqlite3_finalize(q);
    sqlite3_free(text);
    return found;
}

// Columns were only ever added: each that the old table has, the new one has too.
static void copy_table(sqlite3 *db, const char *table)
{
    char *columns = ask(db, "SELECT group_concat(name, ', ') FROM pragma_table_info('%q')", table);
    char *text = sqlite3_mprintf("DELETE FROM main.%s; INSERT INTO main.%s (%s) SELECT %s FROM newest.%s", table, table,
                                 columns, columns, table);
    run(db, text);
    sqlite3_free(text);
    sqlite3_free(columns);
}

void old_store_make(const char *path, int version, const char *newest)
{
    static const char *const tables[] = {"messages", "conversations", "accounts",    "sources",
                                         "attempts", "totals",        "desk_health", "store"};
    sqlite3 *db = NULL;
    if (sqlite3_open(path, &db) != SQLITE_OK)
        exit(2);
    run(db, "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL");
    char *text = sqlite3_mprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID, version);
    run(db, text);
    sqlite3_free(text);
    for (int i = 0; i < version; i++)
        run(db, migrations[i]);
    text = sqlite3_mprintf("ATTACH '%q' AS newest", newest);
    run(db, text);
    sqlite3_free(text);
    run(db, "UPDATE newest.totals SET sum = NULL"); // it is that of more columns
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        copy_table(db, tables[i]);
    run(db, "DETACH newest; PRAGMA wal_checkpoint(TRUNCATE)");
    sqlite3_close(db);
}
