// Reading the SQLite back end from other threads: short snapshots, each query under a cap of time, since a reader
// that keeps its snapshot keeps the log from being written from its beginning again (S4).
#include "store/sqlite_reader.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One step of a search for a text may read megabytes: a look at the clock every few rows.
enum { STEPS_BETWEEN_LOOKS = 2000, STEPS_IN_TEXTS = 20, READER_CACHE_KIB = 512, READER_BUSY_MS = 2000 };
enum { LOG_ROOM = 128 << 20 }; // below what makes the alarm store_log_long

static int is_over_time(void *arg)
{
    struct sqlite_reader *r = arg;
    if (r->log_longest && sqlite_files_log_bytes(r->path) > r->log_longest)
        r->log_over = true;
    return r->log_over || atomic_load(&r->interrupted) ||
           (r->deadline_us && clock_mono_us(&clock_system) > r->deadline_us);
}

void sqlite_reader_bound_log(struct sqlite_reader *r, bool on)
{
    if (on)
        r->log_over = false;
    r->log_longest = on ? sqlite_files_log_bytes(r->path) + r->log_room : 0;
}

void sqlite_reader_begin(struct sqlite_reader *r)
{
    r->deadline_us = r->cap_ms ? clock_mono_us(&clock_system) + r->cap_ms * 1000 : 0;
}

static void reader_free(struct store_reader *reader)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    if (!r)
        return;
    sql_close(&r->sql);
    sqlite_fresh_free(r->line.fresh);
    free(r->path);
    free(r);
}

static void reader_set_time_cap(struct store_reader *reader, int64_t cap_ms)
{
    sqlite_reader_of(reader)->cap_ms = cap_ms;
}

static void reader_interrupt(struct store_reader *reader)
{
    atomic_store(&sqlite_reader_of(reader)->interrupted, true);
}

int sqlite_reader_over_time(struct sqlite_reader *r)
{
    return is_over_time(r) ? ERR_BUSY : 0;
}

// Lanes are counted by seeking from one to the next. The head with the lowest place was accepted first.
static int count_lanes(struct sqlite_reader *r, struct store_totals *out, int64_t *out_oldest_id)
{
    struct lane_row row = {0};
    int64_t lowest = INT64_MAX;
    int err = sqlite_line_next(&r->line, 0, &row);
    while (!err && row.lane) {
        out->lanes_waiting++;
        if (row.head_place < lowest) {
            lowest = row.head_place;
            *out_oldest_id = row.head_id;
        }
        err = sqlite_line_next(&r->line, row.lane, &row);
        if (!err)
            err = sqlite_reader_over_time(r);
    }
    return err;
}

static int read_number(struct sqlite_reader *r, sqlite3_stmt *q, int64_t *out)
{
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(&r->sql, q, code);
}

static int read_totals(struct sqlite_reader *r, struct store_totals *out)
{
    struct sqlite_totals totals;
    int64_t oldest_id = 0;
    bool whole; // that is verify's
    int err = sqlite_totals_read(&r->sql, &totals, &whole);
    if (!err)
        err = sqlite_line_count(&r->line, 0, &out->pending);
    if (!err)
        err = read_number(r, sql_get(&r->sql, SQL_COUNT_IN_DOUBT), &out->in_doubt);
    if (!err)
        err = count_lanes(r, out, &oldest_id);
    if (!err && oldest_id) {
        sqlite3_stmt *q = sql_get(&r->sql, SQL_RECEIVED_AT);
        sql_int(q, 1, oldest_id);
        err = read_number(r, q, &out->oldest_pending_us);
    }
    if (err)
        return err;
    out->accepted = totals.accepted;
    out->delivered = totals.delivered;
    out->skipped = totals.skipped;
    out->discarded = totals.discarded;
    out->log_bytes = sqlite_files_log_bytes(r->path);
    return 0;
}

int sqlite_reader_snapshot_end(struct sqlite_reader *r)
{
    int err = sql_run(&r->sql, SQL_READ_END);
    return err && !sqlite3_get_autocommit(r->sql.db) ? sql_run(&r->sql, SQL_READ_END) : err;
}

int sqlite_reader_snapshot_begin(struct sqlite_reader *r)
{
    int err = sqlite3_get_autocommit(r->sql.db) ? 0 : sqlite_reader_snapshot_end(r);
    r->line.stale = true;
    return err ? err : sql_run(&r->sql, SQL_READ_BEGIN);
}

static int reader_totals(struct store_reader *reader, struct store_totals *out)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    struct store_totals totals = {0};
    sqlite_reader_begin(r);
    // One snapshot, so that the numbers fit each other.
    int err = sqlite_reader_snapshot_begin(r);
    if (err)
        return err;
    err = read_totals(r, &totals);
    int end = sqlite_reader_snapshot_end(r);
    if (!err && !end)
        *out = totals;
    return err ? err : end;
}

static int reader_account_counts(struct store_reader *reader,
                                 void (*each)(void *arg, const struct account_counts *counts), void *arg)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite_reader_begin(r);
    sqlite3_stmt *q = sql_get(&r->sql, SQL_ACCOUNT_COUNTS);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct account_counts counts = {
            .account_id = sql_column_int(q, 0), .pending = sql_column_int(q, 1), .file_bytes = sql_column_int(q, 2)};
        each(arg, &counts);
    }
    return sql_end(&r->sql, q, code);
}

// Parameters of a listing: 1 after, 2 limit, 3 account, 4 source, 5 thread, 6 state, 7 direction, 8 text.
static void write_listing(struct buf *sql, const struct message_filter *filter)
{
    buf_printf(sql, "SELECT %s FROM messages m ", SQL_MESSAGE_COLUMNS);
    // What leaves the least to look at; the order is always that of the ids.
    bool waits = filter->by_state && filter->state == MESSAGE_PENDING;
    if (filter->by_state && filter->state == MESSAGE_SKIPPED)
        buf_printf(sql, "INDEXED BY messages_skipped ");
    else if (filter->account_id && !waits)
        buf_printf(sql, "INDEXED BY messages_of_account ");
    else
        buf_printf(sql, "NOT INDEXED ");
    buf_printf(sql, "LEFT JOIN conversations c ON c.id = m.conversation_id WHERE m.id > ?1 ");
    if (waits)
        buf_printf(sql, "AND m.id IN (SELECT id FROM line WHERE id > ?1%s) ",
                   filter->account_id ? " AND account_id = ?3" : "");
    else if (filter->by_state) // in words that a partial index is known by
        buf_printf(sql, "AND m.state = %d ", (int)filter->state);
    if (filter->account_id && !waits)
        buf_printf(sql, "AND m.account_id = ?3 ");
    if (filter->source_id)
        buf_printf(sql, "AND m.source_id = ?4 ");
    if (filter->conversation.p)
        buf_printf(sql, "AND (c.thread = ?5 OR c.id IN (SELECT goes_on_in FROM conversations "
                        "WHERE goes_on_in > 0 AND thread = ?5)) ");
    if (filter->by_direction)
        buf_printf(sql, "AND m.direction = ?7 ");
    if (filter->text.p) // not LIKE, whose pattern has characters of its own
        buf_printf(sql, "AND instr(lower(m.text), lower(?8)) > 0 ");
    buf_printf(sql, "ORDER BY m.id LIMIT ?2");
}

// The statement is made for the filter, so not every parameter is in it.
static void bind_listing(sqlite3_stmt *q, const struct message_filter *filter, int64_t after_id, size_t limit)
{
    int last = sqlite3_bind_parameter_count(q);
    sql_int(q, 1, after_id);
    sql_int(q, 2, (int64_t)limit);
    if (last >= 3)
        sql_int(q, 3, filter->account_id);
    if (last >= 4)
        sql_int(q, 4, filter->source_id);
    if (last >= 5)
        sql_str(q, 5, filter->conversation);
    if (last >= 7)
        sql_int(q, 7, filter->direction);
    if (last >= 8)
        sql_str(q, 8, filter->text);
}

// What is not what was stored is shown as such, in whatever state.
static void read_shown(sqlite3_stmt *q, struct message *out)
{
    struct sqlite_row row;
    sqlite_row_read(q, out, &row);
    if (!sqlite_row_is_whole(out, &row))
        out->reason = REASON_DAMAGED;
}

static int reader_messages(struct store_reader *reader, const struct message_filter *filter, int64_t after_id,
                           size_t limit, void (*each)(void *arg, const struct message *message), void *arg)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    struct buf sql;
    buf_init(&sql, 4096);
    write_listing(&sql, filter);
    sqlite_reader_begin(r);
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(r->sql.db, sql.p, (int)sql.n, &q, NULL);
    buf_done(&sql);
    if (code == SQLITE_OK) {
        int steps = filter->text.p ? STEPS_IN_TEXTS : STEPS_BETWEEN_LOOKS;
        sqlite3_progress_handler(r->sql.db, steps, is_over_time, r);
        bind_listing(q, filter, after_id, limit);
        while ((code = sqlite3_step(q)) == SQLITE_ROW) {
            struct message message;
            read_shown(q, &message);
            each(arg, &message);
        }
    }
    int err = sql_error(&r->sql, code);
    sqlite3_finalize(q);
    sqlite3_progress_handler(r->sql.db, STEPS_BETWEEN_LOOKS, is_over_time, r);
    return err;
}

static int reader_message(struct store_reader *reader, int64_t id, struct message **out)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite_reader_begin(r);
    struct message message;
    sqlite3_stmt *q = sql_get(&r->sql, SQL_GET_MESSAGE);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    bool found = code == SQLITE_ROW;
    if (found) {
        read_shown(q, &message);
        *out = message_copy(&message);
    }
    int err = sql_end(&r->sql, q, code);
    return err ? err : found ? 0 : ERR_NOT_FOUND;
}

static int reader_attempts(struct store_reader *reader, int64_t message_id,
                           void (*each)(void *arg, const struct attempt_record *record), void *arg)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite_reader_begin(r);
    sqlite3_stmt *q = sql_get(&r->sql, SQL_EACH_ATTEMPT);
    sql_int(q, 1, message_id);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct attempt_record record = {
            .at_us = sql_column_int(q, 0), .verdict = sql_column_str(q, 1), .error = sql_column_str(q, 2)};
        if (!sql_column_int(q, 3)) {
            record.verdict = STR("damaged");
            record.error = STR_NONE;
        }
        each(arg, &record);
    }
    return sql_end(&r->sql, q, code);
}

// By a descriptor of its own: it hears of an error of the disk by itself, as the writer does.
static int reader_flush(struct store_reader *reader)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite3_file *log = NULL;
    int code = sqlite3_file_control(r->sql.db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    if (code == SQLITE_OK && log && log->pMethods) // else it has read nothing yet
        code = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    return code == SQLITE_OK ? 0 : ERR_IO;
}

static const struct store_reader_ops reader_ops = {
    .free = reader_free,
    .set_time_cap = reader_set_time_cap,
    .interrupt = reader_interrupt,
    .totals = reader_totals,
    .account_counts = reader_account_counts,
    .messages = reader_messages,
    .message = reader_message,
    .attempts = reader_attempts,
    .lanes = sqlite_reader_lanes,
    .lane_line = sqlite_reader_lane_line,
    .conversation = sqlite_reader_conversation,
    .last_delivered = sqlite_reader_last_delivered,
    .flush = reader_flush,
    .verify = sqlite_reader_verify,
};

// Small: what it frees stays in the arena of each thread that has used it.
static int set_cache(struct sqlite_reader *r)
{
    char text[64];
    snprintf(text, sizeof text, "PRAGMA cache_size = -%d", READER_CACHE_KIB);
    return sql_exec(&r->sql, text, NULL);
}

static int open_reader(struct sqlite_reader *r)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(r->path, &r->sql.db, flags, NULL);
    if (code != SQLITE_OK)
        return r->sql.db ? sql_error(&r->sql, code) : ERR_NOMEM;
    sqlite3_busy_timeout(r->sql.db, READER_BUSY_MS);
    int64_t mapped = -1;
    int err = sql_exec(&r->sql, "PRAGMA mmap_size = 0", &mapped);
    if (!err && mapped > 0)
        err = ERR_REFUSED;
    if (!err)
        err = sql_exec(&r->sql, "PRAGMA query_only = ON", NULL);
    if (!err)
        err = set_cache(r);
    if (!err)
        err = sql_exec(&r->sql, "PRAGMA trusted_schema = OFF", NULL);
    if (!err)
        err = sql_prepare(&r->sql, SQL_READER);
    if (!err)
        sqlite3_progress_handler(r->sql.db, STEPS_BETWEEN_LOOKS, is_over_time, r);
    return err;
}

struct store_reader *sqlite_reader_new(struct store *store)
{
    struct sqlite_store *s = sqlite_of(store);
    struct sqlite_reader *r = mem_new_of(struct sqlite_reader);
    r->reader.ops = &reader_ops;
    r->log_room = LOG_ROOM;
    r->line.sql = &r->sql;
    r->line.fresh = sqlite_fresh_new(SQLITE_FRESH_BLOCK);
    r->path = mem_dup(s->files.path, strlen(s->files.path));
    if (open_reader(r) != 0) {
        reader_free(&r->reader);
        return NULL;
    }
    return &r->reader;
}
