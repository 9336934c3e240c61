// A changed order rule (store.h, struct store_account_put): messages accepted from then on stand in other lanes, and those
// wait behind the barrier until the messages in front of it are settled. No message enters a lane of the rule before any
// more, so what was found settled once stays so.
#include "store/sqlite.h"

enum { LANES_A_LOOK = 256 };

int sqlite_order_get(struct sqlite_store *s, int64_t account_id, enum order_rule *order, int64_t *out_barrier)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_ORDER);
    sql_int(q, 1, account_id);
    int code = sqlite3_step(q);
    *out_barrier = 0;
    if (code == SQLITE_ROW) {
        *order = sql_column_int(q, 0) ? ORDER_CONVERSATION : ORDER_ACCOUNT;
        *out_barrier = sql_column_int(q, 1);
    }
    return sql_end(&s->sql, q, code);
}

int sqlite_order_barrier(struct sqlite_store *s, int64_t account_id, int64_t barrier)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_ORDER_BARRIER);
    sql_int(q, 1, account_id);
    sql_int(q, 2, barrier);
    int err = sql_finish(&s->sql, q);
    return err ? err : sqlite_account_seal(s, account_id);
}

// Goes on from over->after_lane to the first lane whose head is in front of the barrier. Replies know no order rule.
static int look(struct sqlite_store *s, int64_t barrier, struct store_order_over *over)
{
    int64_t lanes[LANES_A_LOOK];
    struct lane_row row = {0};
    size_t count = 0;
    int err = sqlite_lanes_of(&s->line, over->account_id, over->after_lane, LANES_A_LOOK, lanes, &count);
    for (size_t i = 0; i < count && !err; i++) {
        err = sqlite_line_head(&s->line, lanes[i], &row);
        if (err || (row.lane && row.head_place <= barrier && lane_id_kind(row.lane) != LANE_REPLY))
            return err;
        over->after_lane = lanes[i];
    }
    bool looked_at_all = count < LANES_A_LOOK && (!count || row.lane);
    over->more = !looked_at_all;
    over->over = !over->more;
    return err;
}

int sqlite_order_over(struct sqlite_store *s, struct store_order_over *over)
{
    enum order_rule order = ORDER_ACCOUNT;
    int64_t barrier;
    over->over = over->more = false;
    int err = sqlite_order_get(s, over->account_id, &order, &barrier);
    if (!err)
        over->over = !barrier;
    if (err || barrier != over->barrier || !barrier)
        return err;
    err = look(s, barrier, over);
    if (!err && over->over)
        err = sqlite_order_barrier(s, over->account_id, 0);
    return err;
}

int sqlite_order_put(struct sqlite_store *s, struct store_account_put *put)
{
    enum order_rule now = put->account->order;
    struct store_order_over over = {.account_id = put->id, .over = true};
    int err = sqlite_order_get(s, put->id, &now, &put->order_barrier);
    if (err || now == put->account->order)
        return err;
    over.barrier = put->order_barrier;
    if (put->order_barrier)
        err = sqlite_order_over(s, &over);
    if (err || !over.over) {
        put->order = now;
        put->order_kept = true;
        return err;
    }
    bool pending = false;
    err = sqlite_has_pending(&s->line, put->id, &pending);
    put->order_barrier = pending ? s->totals.last_number : 0;
    s->order_changed = true;
    return err;
}
