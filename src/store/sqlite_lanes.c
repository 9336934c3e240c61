// Lanes that wait, as the SQLite back end has them: the walk over them, and what readers ask about one.
#include "store/sqlite.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_row.h"

static int next_lane_of(struct sqlite_line *line, int64_t account_id, int64_t after, struct lane_row *out)
{
    int64_t own = lane_id(LANE_ACCOUNT, account_id);
    struct lane_row own_row = {0};
    int err = own > after ? sqlite_line_head(line, own, &own_row) : 0;
    if (err)
        return err;
    err = sqlite_next_waiting(line, account_id, after, out);
    if (!err && own_row.lane && (!out->lane || own_row.lane < out->lane))
        *out = own_row;
    return err;
}

// The next lane (account_id 0 = of all accounts) with its head; out->lane = 0: there is none. Of one account as
// sqlite_next_waiting.
static int next_lane(struct sqlite_line *line, int64_t account_id, int64_t after, struct lane_row *out)
{
    return account_id ? next_lane_of(line, account_id, after, out) : sqlite_line_next(line, after, out);
}

int sqlite_lanes_of(struct sqlite_line *line, int64_t account_id, int64_t after, size_t limit, int64_t *out_lanes,
                    size_t *out_count)
{
    int err = 0;
    struct lane_row row = {.lane = after, .head_id = 1};
    *out_count = 0;
    while (!err && *out_count < limit && row.head_id) {
        err = next_lane(line, account_id, row.lane, &row);
        if (err || !row.lane)
            break;
        out_lanes[(*out_count)++] = row.lane;
    }
    return err;
}

int sqlite_has_pending(struct sqlite_line *line, int64_t account_id, bool *out)
{
    struct lane_row row = {0};
    int err;
    do {
        err = next_lane(line, account_id, row.lane, &row);
    } while (!err && row.lane && !row.head_id);
    *out = row.head_id != 0;
    return err;
}

// ---- for readers ----

static int tell_whole(struct sqlite_reader *r, const struct lane_row *row,
                      void (*each)(void *arg, const struct lane_row *row), void *arg)
{
    struct message message;
    struct sqlite_row rest;
    struct lane_row whole = *row;
    int err = sqlite_line_count(&r->line, row->lane, &whole.waiting);
    if (err)
        return err;
    sqlite3_stmt *q = sql_get(&r->sql, SQL_GET_MESSAGE);
    sql_int(q, 1, row->head_id);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        sqlite_row_read(q, &message, &rest);
        whole.head = &message;
        each(arg, &whole);
    }
    return sql_end(&r->sql, q, code);
}

// A walk over lanes; it tells of at most `limit`.
struct walk {
    struct sqlite_reader *reader;
    const struct lane_filter *filter;
    size_t left;
    void (*each)(void *arg, const struct lane_row *row);
    void *arg;
};

static int tell(struct walk *walk, const struct lane_row *row)
{
    int err = 0;
    walk->left--;
    if (walk->filter->brief)
        walk->each(walk->arg, row);
    else
        err = tell_whole(walk->reader, row, walk->each, walk->arg);
    return err ? err : sqlite_reader_over_time(walk->reader);
}

static int walk_on(struct walk *walk, int64_t after)
{
    struct lane_row row = {.lane = after};
    int err = 0;
    while (!err && walk->left) {
        err = next_lane(&walk->reader->line, walk->filter->account_id, row.lane, &row);
        if (err || !row.lane)
            break;
        err = row.head_id ? tell(walk, &row) : sqlite_reader_over_time(walk->reader);
    }
    return err;
}

static int walk_one(struct walk *walk, int64_t lane)
{
    struct lane_row row;
    int err = sqlite_line_head(&walk->reader->line, lane, &row);
    return err || !row.lane ? err : tell(walk, &row);
}

int sqlite_reader_lanes(struct store_reader *reader, const struct lane_filter *filter, int64_t after, size_t limit,
                        void (*each)(void *arg, const struct lane_row *row), void *arg)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite_reader_begin(r);
    int err = sqlite_reader_snapshot_begin(r); // one snapshot, so that heads and counts fit each other
    if (err)
        return err;
    struct walk walk = {r, filter, limit, each, arg};
    if (filter->lane)
        err = filter->lane > after && limit ? walk_one(&walk, filter->lane) : 0;
    else
        err = walk_on(&walk, after);
    int end = sqlite_reader_snapshot_end(r);
    return err ? err : end;
}

int sqlite_reader_lane_line(struct store_reader *reader, int64_t lane, int64_t conversation_id, size_t most,
                            struct lane_line *out)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    struct lane_line line = {0};
    size_t looked = 0;
    sqlite_reader_begin(r);
    sqlite3_stmt *q = sql_get(&r->sql, SQL_LANE_LINE);
    sql_int(q, 1, lane);
    sql_int(q, 2, (int64_t)most);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        looked++;
        if (sql_column_int(q, 1) == conversation_id) {
            line.own++;
            line.first_id = line.first_id ? line.first_id : sql_column_int(q, 0);
        } else if (!line.first_id) {
            line.before++;
        }
    }
    line.looked_at_all = looked < most;
    int err = sql_end(&r->sql, q, code);
    if (!err)
        *out = line;
    return err;
}

int sqlite_reader_conversation(struct store_reader *reader, int64_t source_id, struct str thread, int64_t *out_id)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite_reader_begin(r);
    sqlite3_stmt *q = sql_get(&r->sql, SQL_CONVERSATION_ID);
    sql_int(q, 1, source_id);
    sql_str(q, 2, thread);
    int code = sqlite3_step(q);
    bool found = code == SQLITE_ROW;
    if (found)
        *out_id = sql_column_int(q, 0);
    int err = sql_end(&r->sql, q, code);
    return err ? err : found ? 0 : ERR_NOT_FOUND;
}

int sqlite_reader_last_delivered(struct store_reader *reader, int64_t account_id, int64_t conversation_id, size_t most,
                                 int64_t *out_id, int64_t *out_at_us)
{
    struct sqlite_reader *r = sqlite_reader_of(reader);
    sqlite_reader_begin(r);
    sqlite3_stmt *q = sql_get(&r->sql, conversation_id ? SQL_LAST_DELIVERED_IN : SQL_LAST_DELIVERED);
    sql_int(q, 1, account_id);
    sql_int(q, 2, (int64_t)most);
    if (conversation_id)
        sql_int(q, 3, conversation_id);
    int code = sqlite3_step(q);
    bool found = code == SQLITE_ROW;
    int64_t id = found ? sql_column_int(q, 0) : 0, at_us = found ? sql_column_int(q, 1) : 0;
    int err = sql_end(&r->sql, q, code);
    if (err)
        return err;
    *out_id = id;
    *out_at_us = at_us;
    return 0;
}
