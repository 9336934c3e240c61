// Ageing out in the SQLite back end: bodies first, then whole rows; what leaves is counted in the totals.
//
// A sweep walks the ids upwards in small transactions and ends at the first row that is too young for either; the
// next sweep begins from the oldest again, so that what was settled late is found. A row with a later time than the
// youngest one has was taken when the clock was ahead: it stays until its time is over, and the sweep goes on behind it.
//
// The row of a delivered message stays while its reference is needed (load_refs): as long as another message of its
// conversation and second is unsettled. Most of those that wait stand in their lanes as they were said, so the lane's
// head tells whether there can be any; the others (sqlite_schema.c, messages_out_of_turn) have an index, and are few.
#include "store/sqlite.h"
#include "store/sqlite_row.h"

enum { AGE_ROWS = 500 }; // looked at in one transaction

// What is accepted later than this behind its second is in the index messages_out_of_turn, which says the same.
static const int64_t in_turn_us = INT64_C(3600000000);

struct aged_row {
    int64_t id;
    enum message_state state;
    bool whole_row;
    uint64_t sum; // without its body
    bool files;   // it may have some
};

struct ageing {
    int64_t bodies_before_us, dedupe_before_us;
    struct aged_row rows[AGE_ROWS];
    size_t count;
    int64_t last_id;     // 0: the sweep is at its end
    int64_t youngest_us; // when the last row was taken
};

// Skipped ones keep everything until somebody settles them.
static bool is_due(const struct ageing *ageing, const struct message *m)
{
    return (m->state == MESSAGE_DELIVERED || m->state == MESSAGE_DISCARDED) &&
           m->settled_at_us < ageing->bodies_before_us;
}

// Another message of that conversation and second, in one of the ways that the statement knows.
static int find_other(struct sqlite_store *s, enum sql_statement name, const struct message *m, bool *out)
{
    int64_t second_us = m->sent_at_us / 1000000 * 1000000;
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, m->conversation_id);
    sql_int(q, 2, second_us);
    sql_int(q, 3, second_us + 1000000);
    if (name == SQL_MAY_BE_FOLLOWED)
        sql_int(q, 4, m->id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW;
    return sql_end(&s->sql, q, code);
}

static int read_received(struct sqlite_store *s, int64_t id, int64_t *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_RECEIVED_AT);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(&s->sql, q, code);
}

// Whether one that waits in turn in the lane can be of that second: it came no earlier than the head, and within the hour.
static int find_in_turn(struct sqlite_store *s, int64_t lane, const struct message *m, bool *out)
{
    struct lane_row head = {0};
    int64_t received_us = 0;
    int err = sqlite_line_head(&s->line, lane, &head);
    if (!err && head.lane)
        err = read_received(s, head.head_id, &received_us);
    *out = head.lane && received_us <= m->sent_at_us + 1000000 + in_turn_us;
    return err;
}

// Whether its reference tells it from another message that may be looked for at the desk.
static int is_needed(struct sqlite_store *s, const struct message *m, bool *out)
{
    *out = false;
    if (m->state != MESSAGE_DELIVERED || m->direction == REPLY || !m->desk_ref.p)
        return 0;
    int err = find_in_turn(s, lane_id(LANE_ACCOUNT, m->account_id), m, out);
    if (!err && !*out)
        err = find_in_turn(s, lane_id(LANE_CONVERSATION, m->conversation_id), m, out);
    if (!err && !*out)
        err = find_other(s, SQL_OUT_OF_TURN, m, out);
    if (!err && !*out)
        err = find_other(s, SQL_MAY_BE_FOLLOWED, m, out);
    return err;
}

static int add_row(struct sqlite_store *s, struct ageing *ageing, struct message *m, struct sqlite_row *row)
{
    bool needed = false;
    if (!is_due(ageing, m))
        return 0;
    bool whole = sqlite_row_is_whole(m, row);
    // A damaged row stays, without its body: entries of indexes that it does not name any more would be left.
    bool whole_row = whole && m->received_at_us < ageing->dedupe_before_us;
    int err = whole_row ? is_needed(s, m, &needed) : 0;
    whole_row = whole_row && !needed;
    if (err || (!whole_row && !m->text.p && !m->attachments.p && !m->format.p))
        return err; // its body has gone before
    struct aged_row *aged = &ageing->rows[ageing->count++];
    *aged = (struct aged_row){.id = m->id, .state = m->state, .whole_row = whole_row, .sum = row->sum};
    aged->files = m->attachments.p || !whole;
    m->text = m->attachments = m->format = STR_NONE;
    if (whole) // else it stays known as damaged
        aged->sum = sqlite_row_sum(m, row);
    return 0;
}

static bool is_too_young(const struct ageing *ageing, const struct message *m)
{
    return m->received_at_us >= ageing->bodies_before_us && m->received_at_us >= ageing->dedupe_before_us &&
           m->received_at_us <= ageing->youngest_us;
}

static int find_youngest(struct sqlite_store *s, struct ageing *ageing)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_AGE_YOUNGEST);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        ageing->youngest_us = sql_column_int(q, 0);
    return sql_end(&s->sql, q, code);
}

static int scan(struct sqlite_store *s, struct ageing *ageing)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_AGE_SCAN);
    sql_int(q, 1, s->age_after);
    sql_int(q, 2, AGE_ROWS);
    int64_t seen = 0;
    int code, err = 0;
    while (!err && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct message message;
        struct sqlite_row row;
        sqlite_row_read(q, &message, &row);
        if (is_too_young(ageing, &message))
            break;
        seen++;
        ageing->last_id = message.id;
        err = add_row(s, ageing, &message, &row);
    }
    if (seen < AGE_ROWS)
        ageing->last_id = 0;
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

static int run_by_id(struct sqlite_store *s, enum sql_statement name, int64_t id)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, id);
    return sql_finish(&s->sql, q);
}

static int remove_row(struct sqlite_store *s, const struct aged_row *row)
{
    int err = run_by_id(s, SQL_AGE_ATTEMPTS, row->id);
    if (!err)
        err = run_by_id(s, SQL_AGE_MESSAGE, row->id);
    if (row->state == MESSAGE_DELIVERED)
        s->totals.aged_delivered++;
    else
        s->totals.aged_discarded++;
    return err;
}

static int remove_body(struct sqlite_store *s, const struct aged_row *row)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_AGE_BODY);
    sql_int(q, 1, row->id);
    sql_int(q, 2, (int64_t)row->sum);
    return sql_finish(&s->sql, q);
}

static int age_rows(struct sqlite_store *s, void *arg)
{
    struct ageing *ageing = arg;
    int err = 0;
    for (size_t i = 0; i < ageing->count && !err; i++) {
        const struct aged_row *row = &ageing->rows[i];
        err = row->files ? sqlite_media_age(s, row->id) : 0;
        if (!err)
            err = row->whole_row ? remove_row(s, row) : remove_body(s, row);
    }
    return err;
}

int sqlite_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    struct ageing ageing = {.bodies_before_us = bodies_before_us, .dedupe_before_us = dedupe_before_us};
    int err = find_youngest(s, &ageing);
    if (!err)
        err = scan(s, &ageing);
    if (!err && ageing.count)
        err = sqlite_transact(s, age_rows, &ageing);
    bool sweeps = false;
    if (!err)
        err = sqlite_sweep_waiting(s, &sweeps);
    if (!err) {
        s->age_after = ageing.last_id;
        *out_more = ageing.last_id != 0 || sweeps;
        sqlite_bound_log(s);
    }
    return sqlite_note(s, err);
}
