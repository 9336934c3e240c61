// verify: rows of the smaller tables, in short snapshots, and the structure of the file.
#include "store/sqlite_verify.h"

#include "base/buf.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

#include <string.h>

static int check_conversation_page(struct check *check, int64_t *after, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_CONVERSATIONS);
    sql_int(q, 1, *after);
    sql_int(q, 2, VERIFY_PAGE_ROWS);
    *out_more = false;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct sqlite_conversation conversation;
        sqlite_conversation_read(q, 0, 2, &conversation);
        if (!sqlite_conversation_is_whole(&conversation)) {
            check->asked->damaged++;
            verify_find(check, FINDING_DAMAGED, 0, "its messages are set aside when their turn comes, never delivered",
                        "conversation %lld is not what was stored", (long long)conversation.id);
        }
        *after = conversation.id;
        *out_more = true;
        check->asked->conversations++;
    }
    verify_tell_progress(check, "conversations", check->asked->conversations, 0);
    return sql_end(sql, q, code);
}

// Rows of id, name and whether they are whole.
static int check_named_page(struct check *check, enum sql_statement name, const char *what, const char *advice,
                            int64_t *after, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, name);
    sql_int(q, 1, *after);
    sql_int(q, 2, VERIFY_PAGE_ROWS);
    *out_more = false;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        *after = sql_column_int(q, 0);
        *out_more = true;
        if (sql_column_int(q, 2))
            continue;
        check->asked->damaged++;
        verify_find(check, FINDING_DAMAGED, 0, advice, "%s %.*s (%lld) is not what was stored", what,
                    STR_ARG(sql_column_str(q, 1)), (long long)*after);
    }
    return sql_end(sql, q, code);
}

static int check_account_page(struct check *check, int64_t *after, bool *out_more)
{
    return check_named_page(check, SQL_CHECK_ACCOUNTS, "account",
                            "it is inactive from the next start on; set it again, or reload the file that defines it",
                            after, out_more);
}

static int check_source_page(struct check *check, int64_t *after, bool *out_more)
{
    return check_named_page(check, SQL_CHECK_SOURCES, "source", "set it again, or reload the file that defines it",
                            after, out_more);
}

// A message's attempts may be on two pages.
static int check_attempts(struct check *check)
{
    struct sql *sql = &check->reader->sql;
    int64_t message_id = 0, at_us = 0;
    bool more = true;
    int err = 0;
    while (!err && more) {
        int64_t message_before = message_id, at_before = at_us;
        sqlite3_stmt *q = sql_get(sql, SQL_CHECK_ATTEMPTS);
        sql_int(q, 1, message_id);
        sql_int(q, 2, VERIFY_PAGE_ROWS);
        sql_int(q, 3, at_us);
        more = false;
        int code;
        while ((code = sqlite3_step(q)) == SQLITE_ROW) {
            message_id = sql_column_int(q, 0);
            at_us = sql_column_int(q, 1);
            more = true;
            if (sql_column_int(q, 2))
                continue;
            check->asked->damaged++;
            verify_find(check, FINDING_DAMAGED, message_id, "it is shown as damaged; nothing rests on it",
                        "an attempt at message %lld is not what was stored", (long long)message_id);
        }
        err = sql_end(sql, q, code);
        bool is_behind = message_id > message_before || (message_id == message_before && at_us > at_before);
        more = !err && verify_goes_on(check, "attempts", more, is_behind);
        if (!err)
            err = sqlite_reader_over_time(check->reader);
    }
    return err;
}

static int check_search_page(struct check *check, int64_t *after, bool *out_more)
{
    return check_named_page(check, SQL_CHECK_SEARCHES, "how far the desk was searched for account",
                            "all of it is searched once more", after, out_more);
}

// Goes on behind *account_id and `name`.
static int check_thread_page(struct check *check, int64_t *account_id, struct buf *name, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_THREADS);
    sql_int(q, 1, *account_id);
    sql_int(q, 2, VERIFY_PAGE_ROWS);
    sql_str(q, 3, buf_str(name));
    *out_more = false;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        *account_id = sql_column_int(q, 0);
        buf_clear(name);
        buf_add_str(name, sql_column_str(q, 1));
        buf_must(name);
        *out_more = true;
        if (sql_column_int(q, 2))
            continue;
        check->asked->damaged++;
        verify_find(check, FINDING_DAMAGED, 0, "it is found anew by its customer when an agent replies",
                    "the desk's conversation %.*s of account %lld is not what was stored",
                    STR_ARG(sql_column_str(q, 1)), (long long)*account_id);
    }
    return sql_end(sql, q, code);
}

static int check_threads(struct check *check)
{
    int64_t account_id = 0;
    struct buf name;
    buf_init(&name, SIZE_MAX);
    bool more = true;
    int err = 0;
    while (!err && more) {
        struct arena arena = {0};
        int64_t account_before = account_id;
        struct str name_before = arena_str(&arena, buf_str(&name));
        err = check_thread_page(check, &account_id, &name, &more);
        bool is_behind = account_id > account_before ||
                         (account_id == account_before && str_cmp(buf_str(&name), name_before) > 0);
        more = !err && verify_goes_on(check, "desk_threads", more, is_behind);
        arena_done(&arena);
        if (!err)
            err = sqlite_reader_over_time(check->reader);
    }
    buf_done(&name);
    return err;
}

int verify_rows(struct check *check)
{
    int err = verify_pages(check, "conversations", check_conversation_page);
    if (!err)
        err = verify_pages(check, "accounts", check_account_page);
    if (!err)
        err = verify_pages(check, "sources", check_source_page);
    if (!err)
        err = verify_pages(check, "desk_searches", check_search_page);
    if (!err)
        err = check_threads(check);
    return err ? err : check_attempts(check);
}

// ---- the file

// In the words of SQLite's checker, which goes on: a page that the disk did not give is no damage of what was stored.
static bool could_not_be_read(struct str line)
{
    static const char code_is[] = "error code=";
    const char *code = memmem(line.p, line.n, code_is, sizeof code_is - 1);
    struct str rest = code ? (struct str){code, (size_t)(line.p + line.n - code)} : STR_NONE;
    int64_t number = 0;
    for (size_t i = sizeof code_is - 1; i < rest.n && rest.p[i] >= '0' && rest.p[i] <= '9'; i++)
        number = (number * 10 + rest.p[i] - '0') % (1 << 20);
    return (number & 0xff) == SQLITE_IOERR || memmem(line.p, line.n, "failed to get page", 18);
}

// SQLite reads all of it in one snapshot, and the log grows by what is written meanwhile: up to a bound.
static int check_structure(struct check *check, const char *pragma, const char *table)
{
    struct sqlite_reader *r = check->reader;
    char text[256];
    sqlite3_stmt *q = NULL;
    sqlite3_snprintf(sizeof text, text, pragma, table);
    sqlite_reader_bound_log(r, true);
    bool unread = false;
    int code = sqlite3_prepare_v2(r->sql.db, text, -1, &q, NULL);
    bool asked = code == SQLITE_OK;
    while (asked && !unread && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct str line = sql_column_str(q, 0);
        unread = could_not_be_read(line);
        if (!unread && !str_eq_c(line, "ok"))
            verify_find(check, FINDING_FILE, 0, "put a backup in its place; keep the damaged files", "the file: %.*s",
                        STR_ARG(line));
    }
    int err = unread ? ERR_IO : sql_error(&r->sql, code);
    sqlite3_finalize(q);
    sqlite_reader_bound_log(r, false);
    return err;
}

static int check_tables(struct check *check)
{
    static const char *const tables[] = {"messages", "waiting",      "conversations", "attempts",      "accounts",
                                         "sources",  "desk_threads", "desk_searches", "desk_health",   "totals",
                                         "store",    "files",        "dropped",       "account_files", "albums"};
    int err = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables && !err; i++) {
        err = check_structure(check, "PRAGMA integrity_check(%Q)", tables[i]);
        if (err == ERR_BUSY && check->reader->log_over) {
            verify_find(check, FINDING_UNPROVEN, 0, "ask again when less comes in, or of a copy",
                        "the file: table %s was not looked at to its end, the store's log had grown too long meanwhile",
                        tables[i]);
            err = 0;
        }
    }
    return err;
}

int verify_file(struct check *check)
{
    verify_tell_progress(check, "the file", 0, 0);
    int err = check_structure(check, "PRAGMA integrity_check(20)", "");
    if (err != ERR_BUSY || !check->reader->log_over)
        return err;
    // Table by table, a shorter snapshot each.
    verify_find(check, FINDING_NOTE, 0, "",
                "the file: its free pages were not looked at, the store's log had grown too long");
    return check_tables(check);
}
