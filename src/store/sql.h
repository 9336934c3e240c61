// Short hands over one SQLite connection: its prepared statements, binding, columns, and what SQLite's
// codes mean to us. Inside of the SQLite back end.
#pragma once
#include "base/err.h"
#include "base/str.h"
#include "store/sql_statement.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

// Used by one thread at a time.
struct sql {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_COUNT]; // those of `user`, prepared once
    bool index_contradicts;              // a statement of this transaction met a row that its index does not have
};

// Prepares all statements of this user. The connection is open and the schema is there.
ERR_CHECK int sql_prepare(struct sql *sql, enum sql_user user);
// Frees the statements and closes. Accepts a half-open one.
void sql_close(struct sql *sql);

// What a code of SQLite's is to us. Call it before the next call on the connection (it looks at errno's last
// value there). A full disk is ERR_FULL only where nothing can have been half flushed.
int sql_error(const struct sql *sql, int code);

// Use of a statement: get, bind, step, sql_end. Bound texts are borrowed until then.
sqlite3_stmt *sql_get(struct sql *sql, enum sql_statement name);
void sql_int(sqlite3_stmt *statement, int index, int64_t n);
void sql_str(sqlite3_stmt *statement, int index, struct str s); // STR_NONE is NULL
// Resets it. `code` is what its last step gave: a row and the end are 0.
ERR_CHECK int sql_end(struct sql *sql, sqlite3_stmt *statement, int code);
// Runs a statement that gives no rows.
ERR_CHECK int sql_run(struct sql *sql, enum sql_statement name);
ERR_CHECK int sql_finish(struct sql *sql, sqlite3_stmt *statement);

int64_t sql_column_int(sqlite3_stmt *statement, int column);
struct str sql_column_str(sqlite3_stmt *statement, int column); // lives until the next step

// One statement made for the moment (start-up, tests); `out` may be NULL, else takes the first row's first
// column as an integer.
ERR_CHECK int sql_exec(struct sql *sql, const char *text, int64_t *out);
