// Which conversations have an account's pending messages: conversations.account_waiting. It is set when a message begins to
// wait, where it is not set yet, and stays when it is settled, so that a conversation with much traffic costs nothing here;
// housekeeping takes it back where nothing waits any more. So it names all that wait, and some that did.
#include "store/sqlite.h"

enum {
    LOOKS_MAX = 500,   // at conversations in which nothing waits, in one call
    SWEEP_ROWS = 1024, // looked at in one transaction
};

static void note_waiting(struct sqlite_store *s, int64_t conversation_id, int64_t account_id)
{
    struct sqlite_conversation *known = sqlite_known_get(s->known, conversation_id);
    if (known)
        known->account_waiting = account_id;
}

int sqlite_set_waiting(struct sqlite_store *s, int64_t lane, int64_t account_id, int64_t known)
{
    if (lane_id_kind(lane) == LANE_ACCOUNT || known == account_id)
        return 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_WAITING);
    sql_int(q, 1, lane_id_owner(lane));
    sql_int(q, 2, account_id);
    note_waiting(s, lane_id_owner(lane), account_id);
    s->sweep.due = true;
    return sql_finish(&s->sql, q);
}

static int next_conversation(struct sql *sql, int64_t account_id, int64_t after, int64_t *out)
{
    sqlite3_stmt *q = sql_get(sql, SQL_NEXT_WAITING);
    sql_int(q, 1, account_id);
    sql_int(q, 2, after);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(sql, q, code);
}

// The conversation's next lane in which something waits: that of its inbound messages, then that of its replies.
static int next_lane_in(struct sqlite_line *line, int64_t conversation_id, int64_t after, struct lane_row *out)
{
    int64_t inbound = lane_id(LANE_CONVERSATION, conversation_id);
    int err = inbound > after ? sqlite_line_head(line, inbound, out) : 0;
    return err || out->lane ? err : sqlite_line_head(line, lane_id(LANE_REPLY, conversation_id), out);
}

int sqlite_next_waiting(struct sqlite_line *line, int64_t account_id, int64_t after, struct lane_row *out)
{
    int64_t conversation_id = lane_id_owner(after);
    if (after < lane_id(LANE_REPLY, conversation_id)) // a lane of its is still to come
        conversation_id--;
    int err = 0;
    *out = (struct lane_row){0};
    for (int i = 0; i < LOOKS_MAX && !err && !out->lane; i++) {
        err = next_conversation(line->sql, account_id, conversation_id, &conversation_id);
        if (err || !conversation_id)
            return err;
        err = next_lane_in(line, conversation_id, after, out);
    }
    if (!err && !out->lane) // far enough for once
        out->lane = lane_id(LANE_REPLY, conversation_id);
    return err;
}

struct sweep {
    int64_t idle[SWEEP_ROWS]; // conversations in whose lanes nothing waits
    size_t count, seen;
    int64_t account_id, conversation_id; // the last one seen
};

static int look(struct sqlite_store *s, struct sweep *sweep)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_WAITING);
    sql_int(q, 1, sweep->account_id);
    sql_int(q, 2, sweep->conversation_id);
    sql_int(q, 3, SWEEP_ROWS);
    int code, err = 0;
    while (!err && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct lane_row head = {0};
        sweep->account_id = sql_column_int(q, 0);
        sweep->conversation_id = sql_column_int(q, 1);
        sweep->seen++;
        err = next_lane_in(&s->line, sweep->conversation_id, 0, &head);
        if (!err && !head.lane)
            sweep->idle[sweep->count++] = sweep->conversation_id;
    }
    int end = sql_end(&s->sql, q, err ? SQLITE_OK : code);
    return err ? err : end;
}

static int clear(struct sqlite_store *s, void *arg)
{
    struct sweep *sweep = arg;
    int err = 0;
    for (size_t i = 0; i < sweep->count && !err; i++) {
        sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_WAITING);
        sql_int(q, 1, sweep->idle[i]);
        sql_int(q, 2, 0);
        note_waiting(s, sweep->idle[i], 0);
        err = sql_finish(&s->sql, q);
    }
    return err;
}

int sqlite_sweep_waiting(struct sqlite_store *s, bool *out_more)
{
    bool begins = !s->sweep.account_id;
    *out_more = false;
    if (begins && !s->sweep.due)
        return 0;
    if (begins)
        s->sweep.due = false;
    struct sweep sweep = {.account_id = s->sweep.account_id, .conversation_id = s->sweep.conversation_id};
    int err = look(s, &sweep);
    if (!err && sweep.count)
        err = sqlite_transact(s, clear, &sweep);
    s->sweep.due |= err != 0;
    if (err)
        return err;
    *out_more = sweep.seen == SWEEP_ROWS;
    s->sweep.account_id = *out_more ? sweep.account_id : 0;
    s->sweep.conversation_id = *out_more ? sweep.conversation_id : 0;
    return 0;
}
