#include "store/sql.h"

#include "base/must.h"
#include "store/sql_seal.h"

#include <errno.h>
#include <string.h>

int sql_prepare(struct sql *sql, enum sql_user user)
{
    int registered = sql_seal_register(sql->db);
    if (registered != SQLITE_OK)
        return sql_error(sql, registered);
    for (int i = 0; i < SQL_COUNT; i++) {
        if (!(sql_statements[i].user & user))
            continue;
        int code = sqlite3_prepare_v3(sql->db, sql_statements[i].text, -1, SQLITE_PREPARE_PERSISTENT,
                                      &sql->statements[i], NULL);
        // SQLITE_ERROR is a text that does not fit the schema: the file is not what its version says.
        if (code != SQLITE_OK)
            return (code & 0xff) == SQLITE_ERROR ? ERR_CORRUPT : sql_error(sql, code);
    }
    return 0;
}

void sql_close(struct sql *sql)
{
    for (int i = 0; i < SQL_COUNT; i++) {
        sqlite3_finalize(sql->statements[i]);
        sql->statements[i] = NULL;
    }
    must(sqlite3_close(sql->db) == SQLITE_OK);
    sql->db = NULL;
}

// No room, said by a call that wrote nothing. A flush that fails for want of room has lost what it should have
// kept, and counts as a failed disk.
static bool is_no_room(const struct sql *sql, int code)
{
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        return false;
    // SQLite does not note what a write of a COMMIT failed with.
    int error = code == SQLITE_IOERR_WRITE ? errno : sqlite3_system_errno(sql->db);
    return error == ENOSPC || error == EDQUOT || error == EFBIG; // EFBIG: RLIMIT_FSIZE
}

int sql_error(const struct sql *sql, int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_INTERRUPT:
        return ERR_BUSY;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    case SQLITE_CONSTRAINT:
        return ERR_INVALID;
    case SQLITE_IOERR:
        if (code == SQLITE_IOERR_NOMEM)
            return ERR_NOMEM;
        return is_no_room(sql, code) ? ERR_FULL : ERR_IO;
    default:
        return ERR_IO;
    }
}

sqlite3_stmt *sql_get(struct sql *sql, enum sql_statement name)
{
    must(sql->statements[name]);
    return sql->statements[name];
}

void sql_int(sqlite3_stmt *statement, int index, int64_t n)
{
    must(sqlite3_bind_int64(statement, index, n) == SQLITE_OK);
}

void sql_str(sqlite3_stmt *statement, int index, struct str s)
{
    int code = s.p ? sqlite3_bind_text64(statement, index, s.p, s.n, SQLITE_STATIC, SQLITE_UTF8)
                   : sqlite3_bind_null(statement, index);
    must(code == SQLITE_OK);
}

static int note_error(struct sql *sql, int code)
{
    if (code == SQLITE_CORRUPT_INDEX)
        sql->index_contradicts = true;
    return sql_error(sql, code);
}

int sql_end(struct sql *sql, sqlite3_stmt *statement, int code)
{
    int err = note_error(sql, code);
    sqlite3_reset(statement);
    return err;
}

int sql_finish(struct sql *sql, sqlite3_stmt *statement)
{
    return sql_end(sql, statement, sqlite3_step(statement));
}

int sql_run(struct sql *sql, enum sql_statement name)
{
    return sql_finish(sql, sql_get(sql, name));
}

int64_t sql_column_int(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_int64(statement, column);
}

struct str sql_column_str(sqlite3_stmt *statement, int column)
{
    if (sqlite3_column_type(statement, column) == SQLITE_NULL)
        return STR_NONE;
    // As a blob: asking for text may have to allocate a terminator, and could then fail.
    const char *p = sqlite3_column_blob(statement, column);
    size_t n = (size_t)sqlite3_column_bytes(statement, column);
    return p ? (struct str){p, n} : STR("");
}

int sql_exec(struct sql *sql, const char *text, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(sql->db, text, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        if (code == SQLITE_ROW && out)
            *out = sqlite3_column_int64(statement, 0);
        while (code == SQLITE_ROW)
            code = sqlite3_step(statement);
    }
    int err = note_error(sql, code);
    sqlite3_finalize(statement);
    return err;
}
