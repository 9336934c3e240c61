// Ageing out in the SQLite back end: bodies first, then whole rows; what leaves is counted in the totals.
//
// A sweep walks the ids upwards in small transactions and ends at the first row that is too young for either; the
// next sweep begins from the oldest again, so that what was settled late is found.
#include "store/sqlite.h"
#include "store/sqlite_row.h"

enum { AGE_ROWS = 500 }; // looked at in one transaction

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
    int64_t last_id; // 0: the sweep is at its end
};

// Skipped ones keep everything until somebody settles them.
static bool is_due(const struct ageing *ageing, const struct message *m)
{
    return (m->state == MESSAGE_DELIVERED || m->state == MESSAGE_DISCARDED) &&
           m->settled_at_us < ageing->bodies_before_us;
}

static void add_row(struct ageing *ageing, struct message *m, struct sqlite_row *row)
{
    if (!is_due(ageing, m))
        return;
    bool whole = sqlite_row_is_whole(m, row);
    // A damaged row stays, without its body: entries of indexes that it does not name any more would be left.
    bool whole_row = whole && m->received_at_us < ageing->dedupe_before_us;
    if (!whole_row && !m->text.p && !m->attachments.p && !m->format.p)
        return; // its body has gone before
    struct aged_row *aged = &ageing->rows[ageing->count++];
    *aged = (struct aged_row){.id = m->id, .state = m->state, .whole_row = whole_row, .sum = row->sum};
    aged->files = m->attachments.p || !whole;
    m->text = m->attachments = m->format = STR_NONE;
    if (whole) // else it stays known as damaged
        aged->sum = sqlite_row_sum(m, row);
}

static int scan(struct sqlite_store *s, struct ageing *ageing)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_AGE_SCAN);
    sql_int(q, 1, s->age_after);
    sql_int(q, 2, AGE_ROWS);
    int64_t seen = 0;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct message message;
        struct sqlite_row row;
        sqlite_row_read(q, &message, &row);
        if (message.received_at_us >= ageing->bodies_before_us && message.received_at_us >= ageing->dedupe_before_us)
            break;
        seen++;
        ageing->last_id = message.id;
        add_row(ageing, &message, &row);
    }
    if (seen < AGE_ROWS)
        ageing->last_id = 0;
    return sql_end(&s->sql, q, code);
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
    int err = scan(s, &ageing);
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
