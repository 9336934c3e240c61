#include "store/sqlite_line.h"

#include "store/sqlite.h"

enum { MOVED_FOR_EACH = 2 }; // accepted one: an old block is empty before the next one is full, however large a batch

// ---- asked by whoever reads ----

int sqlite_line_load(struct sqlite_line *line)
{
    sqlite3_stmt *q = sql_get(line->sql, SQL_FRESH);
    int code;
    sqlite_fresh_clear(line->fresh);
    while ((code = sqlite3_step(q)) == SQLITE_ROW)
        sqlite_fresh_add(line->fresh, (struct sqlite_fresh_message){.id = sql_column_int(q, 0),
                                                                    .lane = sql_column_int(q, 1),
                                                                    .account_id = sql_column_int(q, 2)});
    sqlite_fresh_commit(line->fresh);
    int err = sql_end(line->sql, q, code);
    line->stale = err != 0;
    return err;
}

static int load_stale(struct sqlite_line *line)
{
    return line->stale ? sqlite_line_load(line) : 0;
}

static int read_row(struct sqlite_line *line, enum sql_statement name, int64_t lane, struct lane_row *out)
{
    *out = (struct lane_row){0};
    sqlite3_stmt *q = sql_get(line->sql, name);
    sql_int(q, 1, lane);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        out->lane = sql_column_int(q, 0);
        out->head_place = sql_column_int(q, 1);
        out->head_id = sql_column_int(q, 2);
        out->account_id = sql_column_int(q, 3);
    }
    return sql_end(line->sql, q, code);
}

// The earlier of the two. A message that was retried may stand in the table behind a fresh one.
static void take_earlier(struct lane_row *row, const struct sqlite_fresh_message *fresh)
{
    if (fresh && (!row->lane || fresh->lane < row->lane || (fresh->lane == row->lane && fresh->id < row->head_place)))
        *row = (struct lane_row){
            .lane = fresh->lane, .account_id = fresh->account_id, .head_id = fresh->id, .head_place = fresh->id};
}

int sqlite_line_lined_head(struct sqlite_line *line, int64_t lane, struct lane_row *out)
{
    return read_row(line, SQL_LANE_HEAD, lane, out);
}

int sqlite_line_head(struct sqlite_line *line, int64_t lane, struct lane_row *out)
{
    int err = load_stale(line);
    if (!err)
        err = sqlite_line_lined_head(line, lane, out);
    if (!err)
        take_earlier(out, sqlite_fresh_next(line->fresh, lane, 0));
    return err;
}

int sqlite_line_next(struct sqlite_line *line, int64_t after, struct lane_row *out)
{
    int err = load_stale(line);
    if (!err)
        err = read_row(line, SQL_NEXT_LANE, after, out);
    if (!err)
        take_earlier(out, sqlite_fresh_next_lane(line->fresh, after));
    return err;
}

int sqlite_line_count(struct sqlite_line *line, int64_t lane, int64_t *out)
{
    int err = load_stale(line);
    if (err)
        return err;
    sqlite3_stmt *q = sql_get(line->sql, lane ? SQL_COUNT_LANE : SQL_COUNT_WAITING);
    if (lane)
        sql_int(q, 1, lane);
    size_t fresh = lane ? sqlite_fresh_count_lane(line->fresh, lane) : sqlite_fresh_count(line->fresh);
    int code = sqlite3_step(q);
    *out = (code == SQLITE_ROW ? sql_column_int(q, 0) : 0) + (int64_t)fresh;
    return sql_end(line->sql, q, code);
}

// ---- written ----

static int write_entry(struct sqlite_store *s, int64_t lane, int64_t place, int64_t id, int64_t account_id)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_ENTER_LINE);
    sql_int(q, 1, lane);
    sql_int(q, 2, place);
    sql_int(q, 3, id);
    sql_int(q, 4, account_id);
    return sql_finish(&s->sql, q);
}

int sqlite_line_enter(struct sqlite_store *s, const struct message *m)
{
    sqlite_quota_change(&s->quota, m->account_id, 1);
    if (m->place != m->id)
        return write_entry(s, m->lane, m->place, m->id, m->account_id);
    sqlite_fresh_add(s->line.fresh, (struct sqlite_fresh_message){m->id, m->lane, m->account_id});
    return 0;
}

static int leave_quota(struct sqlite_store *s, int64_t id)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_ACCOUNT_OF_MESSAGE);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        sqlite_quota_change(&s->quota, sql_column_int(q, 0), -1);
    return sql_end(&s->sql, q, code);
}

int sqlite_line_leave(struct sqlite_store *s, int64_t id)
{
    int counted = s->quota.counting ? leave_quota(s, id) : 0;
    if (counted)
        return counted;
    if (sqlite_fresh_remove(s->line.fresh, id))
        return 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_LEAVE_LINE);
    sql_int(q, 1, id);
    int err = sql_finish(&s->sql, q);
    if (err || sqlite3_changes(s->sql.db) == 1)
        return err;
    s->sql.index_contradicts = true;
    return ERR_CORRUPT;
}

static int move_due(struct sqlite_store *s, size_t most, bool all)
{
    const struct sqlite_fresh_message *due;
    int err = 0;
    while (most-- && !err && (due = sqlite_fresh_due(s->line.fresh, all)) != NULL) {
        err = write_entry(s, due->lane, due->id, due->id, due->account_id);
        if (!err)
            sqlite_fresh_remove(s->line.fresh, due->id);
    }
    return err;
}

int sqlite_line_move(struct sqlite_store *s, int64_t accepted)
{
    return move_due(s, MOVED_FOR_EACH * (size_t)accepted, false);
}

int sqlite_line_move_all(struct sqlite_store *s)
{
    bool any = sqlite_fresh_count(s->line.fresh) > 0;
    int err = move_due(s, SIZE_MAX, true);
    if (any)
        s->totals.lined_number = s->totals.last_number;
    return err;
}

int64_t sqlite_line_lined(struct sqlite_store *s)
{
    int64_t lowest = sqlite_fresh_lowest(s->line.fresh);
    return lowest ? lowest - 1 : s->totals.last_number;
}

// ---- the start ----

_Static_assert(REASON_DAMAGED == 4, "in SQL_UNSETTLE, SQL_DOUBT_RETRIED");

static int run_behind(struct sqlite_store *s, enum sql_statement name, int64_t *changed)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, s->totals.lined_number);
    int err = sql_finish(&s->sql, q);
    *changed += err ? 0 : sqlite3_changes(s->sql.db);
    return err;
}

// These rows have no second witness on the disk as those in the table have. But one that was settled says when, or that it was
// at once (SQL_SET_OUTCOME), or why it was discarded; and what was retried stands in the table.
int sqlite_line_begin(struct sqlite_store *s, int64_t *out_damaged)
{
    int64_t lined = 0;
    *out_damaged = 0;
    if (s->totals.lined_number == s->totals.last_number)
        return 0;
    int err = run_behind(s, SQL_UNSETTLE, out_damaged);
    if (!err)
        err = run_behind(s, SQL_DOUBT_RETRIED, out_damaged);
    if (!err)
        err = run_behind(s, SQL_LINE_UP, &lined);
    if (s->totals_are_whole) // damaged ones are not sealed before something happens
        s->totals.lined_number = s->totals.last_number;
    return err;
}
