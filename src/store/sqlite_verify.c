// verify: does the store hold what it says? The sum is counted in one snapshot; the checksums, with `deep`, in many
// short ones, so that the log is not kept from being emptied for long.
#include "base/arena.h"
#include "base/mem.h"
#include "store/sqlite.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_row.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

enum { PAGE_ROWS = 1000, FINDINGS_MAX = 20 };

struct lane_last {
    int64_t lane;
    int64_t id, settled_at_us; // the delivered message of the lane seen last
    UT_hash_handle hh;
};

struct check {
    struct sqlite_reader *reader;
    void (*finding)(void *arg, struct str sentence);
    void *arg;
    int64_t findings;
    struct lane_last *lanes;
};

__attribute__((format(printf, 2, 3))) static void find(struct check *check, const char *format, ...)
{
    // A damaged disk would fill the screen; how many there were is said at the end.
    if (check->findings++ >= FINDINGS_MAX || !check->finding)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0)
        check->finding(check->arg, str_of(text));
}

static int count_states(struct sqlite_reader *r, int64_t out_counts[4])
{
    sqlite3_stmt *q = sql_get(&r->sql, SQL_COUNT_BY_STATE);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        int64_t state = sql_column_int(q, 0);
        if (state >= 0 && state < 4)
            out_counts[state] = sql_column_int(q, 1);
    }
    return sql_end(&r->sql, q, code);
}

static void compare(struct check *check, const char *what, int64_t total, int64_t rows)
{
    if (total != rows)
        find(check, "%s: the totals say %lld, the rows %lld", what, (long long)total, (long long)rows);
}

static int check_sum_in_snapshot(struct check *check)
{
    struct sqlite_reader *r = check->reader;
    struct sqlite_totals t = {0};
    int64_t counts[4] = {0}, by_index = 0;
    int err = sqlite_totals_read(&r->sql, &t);
    if (!err)
        err = count_states(r, counts);
    if (!err) {
        sqlite3_stmt *q = sql_get(&r->sql, SQL_COUNT_PENDING);
        int code = sqlite3_step(q);
        by_index = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
        err = sql_end(&r->sql, q, code);
    }
    if (err)
        return err;
    compare(check, "delivered", t.delivered, counts[MESSAGE_DELIVERED] + t.aged_delivered);
    compare(check, "skipped", t.skipped, counts[MESSAGE_SKIPPED]);
    compare(check, "discarded", t.discarded, counts[MESSAGE_DISCARDED] + t.aged_discarded);
    compare(check, "pending", t.accepted - t.delivered - t.skipped - t.discarded, counts[MESSAGE_PENDING]);
    if (by_index != counts[MESSAGE_PENDING])
        find(check, "pending: the index has %lld, the rows %lld", (long long)by_index,
             (long long)counts[MESSAGE_PENDING]);
    return 0;
}

static int check_sum(struct check *check)
{
    struct sqlite_reader *r = check->reader;
    int err = sql_run(&r->sql, SQL_READ_BEGIN);
    if (err)
        return err;
    err = check_sum_in_snapshot(check);
    int end = sql_run(&r->sql, SQL_READ_END);
    return err ? err : end;
}

// Rows come in the order of acceptance, which in a lane is the order of places but for late ones.
static void check_order(struct check *check, const struct message *m)
{
    if (m->state != MESSAGE_DELIVERED || m->late)
        return;
    struct lane_last *last;
    HASH_FIND(hh, check->lanes, &m->lane, sizeof m->lane, last);
    if (!last) {
        last = mem_new_of(struct lane_last);
        last->lane = m->lane;
        HASH_ADD(hh, check->lanes, lane, sizeof last->lane, last);
    } else if (m->settled_at_us < last->settled_at_us) {
        find(check,
             "lane %lld: message %lld was delivered before message %lld, which came first (or the clock was set "
             "back between)",
             (long long)m->lane, (long long)m->id, (long long)last->id);
    }
    last->id = m->id;
    last->settled_at_us = m->settled_at_us;
}

static int check_message_page(struct check *check, int64_t *after, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_MESSAGES);
    sql_int(q, 1, *after);
    sql_int(q, 2, PAGE_ROWS);
    *out_more = false;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct message message;
        struct sqlite_row row;
        sqlite_row_read(q, &message, &row);
        if (!sqlite_row_is_whole(&message, &row))
            find(check, "message %lld is not what was stored", (long long)message.id);
        check_order(check, &message);
        *after = message.id;
        *out_more = true;
    }
    return sql_end(sql, q, code);
}

static int check_conversation_page(struct check *check, int64_t *after, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_CONVERSATIONS);
    sql_int(q, 1, *after);
    sql_int(q, 2, PAGE_ROWS);
    *out_more = false;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct sqlite_conversation conversation;
        sqlite_conversation_read(q, 0, 2, &conversation);
        if (!sqlite_conversation_is_whole(&conversation))
            find(check, "conversation %lld is not what was stored", (long long)conversation.id);
        *after = conversation.id;
        *out_more = true;
    }
    return sql_end(sql, q, code);
}

static int check_pages(struct check *check, int (*page)(struct check *check, int64_t *after, bool *out_more))
{
    int64_t after = 0;
    bool more = true;
    int err = 0;
    while (!err && more) {
        err = page(check, &after, &more);
        if (!err)
            err = sqlite_reader_over_time(check->reader);
    }
    return err;
}

static int check_file(struct check *check)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(sql->db, "PRAGMA integrity_check(20)", -1, &q, NULL);
    if (code == SQLITE_OK)
        while ((code = sqlite3_step(q)) == SQLITE_ROW)
            if (!str_eq_c(sql_column_str(q, 0), "ok"))
                find(check, "the file: %.*s", STR_ARG(sql_column_str(q, 0)));
    int err = sql_error(sql, code);
    sqlite3_finalize(q);
    return err;
}

static int check_deep(struct check *check)
{
    int err = check_pages(check, check_message_page);
    if (!err)
        err = check_pages(check, check_conversation_page);
    return err ? err : check_file(check);
}

static void free_lanes(struct check *check)
{
    struct lane_last *last = check->lanes;
    HASH_CLEAR(hh, check->lanes); // the table goes, the elements stay linked
    while (last) {
        struct lane_last *next = last->hh.next;
        free(last);
        last = next;
    }
}

int sqlite_reader_verify(struct store_reader *reader, bool deep, void (*finding)(void *arg, struct str sentence),
                         void *arg, bool *out_ok)
{
    struct check check = {.reader = sqlite_reader_of(reader), .finding = finding, .arg = arg};
    sqlite_reader_begin(check.reader);
    int err = check_sum(&check);
    if (!err && deep)
        err = check_deep(&check);
    // Damage that keeps SQLite from reading on is a finding, and the end of the look.
    if (err == ERR_CORRUPT) {
        find(&check, "the file is damaged: %s", sqlite3_errmsg(check.reader->sql.db));
        err = 0;
    }
    if (check.findings > FINDINGS_MAX && finding) {
        char text[64];
        snprintf(text, sizeof text, "%lld findings in all", (long long)check.findings);
        finding(arg, str_of(text));
    }
    free_lanes(&check);
    if (!err)
        *out_ok = check.findings == 0;
    return err;
}
