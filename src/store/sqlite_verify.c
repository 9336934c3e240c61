// verify: does the store hold what it says? The sum is counted in one snapshot; rows are read in many short ones, so that
// the log is not kept from being emptied for long. What two rows say of each other is compared within one snapshot, or is of
// a kind that stays true (sqlite_verify_order.h): traffic and retention make no fault.
#include "store/sqlite_verify.h"
#include "base/time_text.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

#include <stdarg.h>
#include <stdio.h>

void verify_find(struct check *check, enum store_finding_kind kind, int64_t message_id, const char *advice,
                 const char *format, ...)
{
    // A damaged disk would fill the screen; how many there were is said at the end.
    if (check->found[kind]++ >= STORE_FINDINGS_MAX || !check->asked->finding)
        return;
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n < 0)
        return;
    struct store_finding finding = {kind, message_id, str_of(text), str_of(advice)};
    check->asked->finding(check->asked->arg, &finding);
}

void verify_tell_progress(const struct check *check, const char *part, int64_t done, int64_t of)
{
    if (check->asked->progress)
        check->asked->progress(check->asked->arg, part, done, of);
}

static int snapshot_end(struct check *check, int err)
{
    struct sqlite_reader *r = check->reader;
    if (err == ERR_CORRUPT)
        snprintf(check->unread, sizeof check->unread, "%s", sqlite3_errmsg(r->sql.db));
    int end = sqlite_reader_snapshot_end(r);
    return err ? err : end;
}

// ---- the sum

static const char advice_sum[] =
    "keep a copy of the store's files as they are; a backup from before is the way back to a sum that is "
    "true, going on is possible: messages are still delivered";

struct counts {
    int64_t states[4], all, in_doubt, highest_id, highest_place;
    int64_t in_line, in_doubt_by_index;
};

static int count_in_doubt(struct sqlite_reader *r, int64_t *out)
{
    sqlite3_stmt *q = sql_get(&r->sql, SQL_COUNT_IN_DOUBT);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(&r->sql, q, code);
}

static int count_rows(struct sqlite_reader *r, struct counts *out)
{
    sqlite3_stmt *q = sql_get(&r->sql, SQL_COUNT_ROWS);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        for (int i = 0; i < 4; i++)
            out->states[i] = sql_column_int(q, i);
        out->all = sql_column_int(q, 4);
        out->in_doubt = sql_column_int(q, 5);
        out->highest_id = sql_column_int(q, 6);
        out->highest_place = sql_column_int(q, 7);
    }
    int err = sql_end(&r->sql, q, code);
    if (!err)
        err = sqlite_line_count(&r->line, 0, &out->in_line);
    if (!err)
        err = count_in_doubt(r, &out->in_doubt_by_index);
    return err;
}

static void compare(struct check *check, const char *what, const char *says, int64_t total, int64_t rows)
{
    if (total != rows)
        verify_find(check, FINDING_SUM, 0, advice_sum, "%s: the %s say %lld, the rows %lld", what, says,
                    (long long)total, (long long)rows);
}

static int check_sum_in_snapshot(struct check *check)
{
    struct sqlite_reader *r = check->reader;
    struct sqlite_totals t = {0};
    struct counts c = {0};
    bool whole;
    int err = sqlite_totals_read(&r->sql, &t, &whole);
    if (!err)
        err = count_rows(r, &c);
    if (err)
        return err;
    if (!whole)
        verify_find(check, FINDING_SUM, 0, advice_sum, "the totals are not what was stored");
    int64_t pending = t.accepted - t.delivered - t.skipped - t.discarded;
    compare(check, "delivered", "totals", t.delivered, c.states[MESSAGE_DELIVERED] + t.aged_delivered);
    compare(check, "skipped", "totals", t.skipped, c.states[MESSAGE_SKIPPED]);
    compare(check, "discarded", "totals", t.discarded, c.states[MESSAGE_DISCARDED] + t.aged_discarded);
    compare(check, "pending", "totals", pending, c.states[MESSAGE_PENDING]);
    compare(check, "accepted", "totals", t.accepted, c.all + t.aged_delivered + t.aged_discarded);
    compare(check, "pending", "lanes", c.in_line, c.states[MESSAGE_PENDING]);
    compare(check, "in doubt", "indexes", c.in_doubt_by_index, c.in_doubt);
    if (t.last_number < c.highest_id || t.last_number < c.highest_place)
        verify_find(check, FINDING_SUM, 0, advice_sum, "the last number given is %lld, but a row has %lld",
                    (long long)t.last_number,
                    (long long)(c.highest_id > c.highest_place ? c.highest_id : c.highest_place));
    check->rows = c.all;
    return 0;
}

static int check_sum(struct check *check)
{
    struct sqlite_reader *r = check->reader;
    verify_tell_progress(check, "the sum", 0, 0);
    int err = sqlite_reader_snapshot_begin(r);
    if (err)
        return err;
    return snapshot_end(check, check_sum_in_snapshot(check));
}

// ---- messages

static void find_damaged(struct check *check, const struct message *m)
{
    const char *advice = "";
    switch (m->state) {
    case MESSAGE_PENDING:
        advice = "it is set aside when its turn comes, never delivered; tributary show tells what can be read of it";
        break;
    case MESSAGE_SKIPPED:
        advice = "tributary show tells what can be read of it; when you have done what can be done, tributary discard";
        break;
    case MESSAGE_DELIVERED:
        advice = "it was delivered before; look after the disk";
        break;
    case MESSAGE_DISCARDED: // somebody knows of it
        check->discarded_damaged++;
        return;
    }
    check->asked->damaged++;
    verify_find(check, FINDING_DAMAGED, m->id, advice, "message %lld (%s) is not what was stored", (long long)m->id,
                message_state_name(m->state));
}

// Whether the line has the row. Where the table does not say so, one that may be fresh is believed.
static int is_in_line(struct check *check, const struct message *m, bool *out)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_LINE);
    sql_int(q, 1, m->lane);
    sql_int(q, 2, m->place);
    sql_int(q, 3, m->id);
    int code = sqlite3_step(q);
    bool fresh = m->id > check->lined_number && !m->late && m->state == MESSAGE_PENDING;
    *out = code == SQLITE_ROW || fresh;
    return sql_end(sql, q, code);
}

// Whether it is found when its account is activated (sqlite_waiting.c).
static int check_waiting(struct check *check, const struct message *m)
{
    if (m->state != MESSAGE_PENDING || lane_id_kind(m->lane) == LANE_ACCOUNT)
        return 0;
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_WAITING);
    sql_int(q, 1, lane_id_owner(m->lane));
    sql_int(q, 2, m->account_id);
    int code = sqlite3_step(q);
    int err = sql_end(sql, q, code);
    if (!err && code == SQLITE_DONE)
        verify_find(check, FINDING_SUM, m->id, "restart the relay: it finds what waits by another way then",
                    "message %lld waits, but conversation %lld does not say so", (long long)m->id,
                    (long long)lane_id_owner(m->lane));
    return err;
}

// The first that waits in the message's lane, now. Fresh ones count only where they can stand before it.
static int find_head(struct check *check, const struct message *m)
{
    struct lane_row head = {0};
    bool of_all = m->place > check->lined_number;
    if (check->head_lane == m->lane && check->head_of_all >= of_all)
        return 0;
    struct sqlite_line *line = &check->reader->line;
    int err = of_all ? sqlite_line_head(line, m->lane, &head) : sqlite_line_lined_head(line, m->lane, &head);
    check->head_lane = err ? 0 : m->lane;
    check->head_of_all = of_all;
    check->head_place = head.head_place;
    check->head_id = head.head_id;
    return err;
}

// Without a clock: nothing is tried or settled in its turn while an earlier place of its lane waits. A discard by hand is
// in nobody's turn.
static int check_turn(struct check *check, const struct message *m)
{
    bool settled = m->state == MESSAGE_DELIVERED || m->state == MESSAGE_SKIPPED;
    bool tried = m->state == MESSAGE_PENDING && (m->attempts || m->in_flight);
    int err = settled || tried ? find_head(check, m) : 0;
    if (err || !(settled || tried) || !check->head_id || check->head_place >= m->place)
        return err;
    verify_find(check, FINDING_ORDER, m->id, "tell the makers, with the log of the relay: this must not happen",
                "message %lld was %s while message %lld, which stands before it in lane %lld, waits", (long long)m->id,
                settled ? message_state_name(m->state) : "tried", (long long)check->head_id, (long long)m->lane);
    return 0;
}

static int first_try(struct check *check, int64_t message_id, int64_t *out)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_FIRST_ATTEMPT);
    sql_int(q, 1, message_id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(sql, q, code);
}

static int check_message(struct check *check, const struct message *m, const struct sqlite_row *row)
{
    bool in_line;
    int64_t first_try_us = 0;
    int err = is_in_line(check, m, &in_line);
    if (err)
        return err;
    bool whole = sqlite_row_is_whole(m, row);
    if (in_line != (m->state == MESSAGE_PENDING))
        verify_find(
            check, FINDING_SUM, m->id,
            in_line  ? "it is set aside when its turn comes, never delivered"
            : !whole ? "it may have been delivered: it is not tried again"
            : m->late
                ? "it was tried again by hand once, and may have been delivered: look at the desk, then discard it"
                : "stop the relay, run sqlite3 STORE 'UPDATE totals SET lined_number = 0, sum = NULL', start it, and "
                  "verify again",
            "message %lld is %s by its row, but the line of what waits %s it", (long long)m->id,
            message_state_name(m->state), in_line ? "has" : "lacks");
    if (!whole) {
        find_damaged(check, m);
        return 0;
    }
    order_check_accepted(check->order, m);
    err = check_waiting(check, m);
    if (!err)
        err = verify_files_of(check, m);
    if (!err)
        err = check_turn(check, m);
    if (err || (m->state != MESSAGE_DELIVERED && m->state != MESSAGE_SKIPPED))
        return err;
    err = first_try(check, m->id, &first_try_us);
    if (!err)
        order_check_settled(check->order, m, first_try_us);
    return err;
}

static int check_messages(struct check *check, int64_t *after, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_MESSAGES);
    sql_int(q, 1, *after);
    sql_int(q, 2, VERIFY_PAGE_ROWS);
    *out_more = false;
    check->head_lane = 0;
    int code, err = 0;
    while (!err && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct message message;
        struct sqlite_row row;
        sqlite_row_read(q, &message, &row);
        err = check_message(check, &message, &row);
        *after = message.id;
        *out_more = true;
        check->asked->messages++;
    }
    int end = sql_end(sql, q, err ? SQLITE_OK : code);
    verify_tell_progress(check, "messages", check->asked->messages,
                         check->rows > check->asked->messages ? check->rows : check->asked->messages);
    return err ? err : end;
}

// Rows and line in one snapshot.
static int check_message_page(struct check *check, int64_t *after, bool *out_more)
{
    struct sqlite_reader *r = check->reader;
    struct sqlite_totals totals = {0};
    bool whole;
    int err = sqlite_reader_snapshot_begin(r);
    if (err)
        return err;
    err = sqlite_totals_read(&r->sql, &totals, &whole);
    check->lined_number = totals.lined_number;
    if (!err)
        err = check_messages(check, after, out_more);
    return snapshot_end(check, err);
}

bool verify_goes_on(struct check *check, const char *table, bool more, bool is_behind)
{
    if (more && !is_behind)
        verify_find(check, FINDING_FILE, 0, "put a backup in its place; keep the damaged files",
                    "the rows of the table %s do not stand in their order: those behind could not be looked at", table);
    return more && is_behind;
}

int verify_pages(struct check *check, const char *table,
                 int (*page)(struct check *check, int64_t *after, bool *out_more))
{
    int64_t after = 0;
    bool more = true;
    int err = 0;
    while (!err && more) {
        int64_t before = after;
        err = page(check, &after, &more);
        more = !err && verify_goes_on(check, table, more, after > before);
        if (!err)
            err = sqlite_reader_over_time(check->reader);
    }
    return err;
}

// ---- the order, by the clock

static void on_order_fault(void *arg, const struct order_fault *fault)
{
    char first[TIME_TEXT_SIZE], then[TIME_TEXT_SIZE];
    verify_find(
        arg, FINDING_ORDER, fault->then_id,
        "where the clock was not set back about then, tell the makers: this must not happen",
        "message %lld was %s at %.*s, before message %lld, which stands before it in lane %lld, was settled at %.*s (or "
        "the clock was set back between)",
        (long long)fault->then_id, fault->tried ? "tried" : "settled", STR_ARG(time_text(fault->then_us, then)),
        (long long)fault->first_id, (long long)fault->lane, STR_ARG(time_text(fault->first_settled_us, first)));
}

static void end_order(struct check *check)
{
    int64_t by_clock = 0, left_out = order_check_left_out(check->order);
    order_check_end(check->order, on_order_fault, check, &by_clock);
    check->asked->lanes = order_check_lanes(check->order);
    if (by_clock)
        verify_find(
            check, FINDING_NOTE, 0, "",
            "the clock was set back while messages came: of %lld messages settled about then the times say nothing of "
            "their order",
            (long long)by_clock);
    if (left_out)
        verify_find(check, FINDING_UNPROVEN, 0, "",
                    "the order of %lld messages, of more lanes than fit into memory, was not looked at",
                    (long long)left_out);
    if (check->discarded_damaged)
        verify_find(check, FINDING_NOTE, 0, "", "%lld damaged messages were discarded by hand",
                    (long long)check->discarded_damaged);
}

// ----

static int check_all(struct check *check)
{
    int err = check_sum(check);
    if (!err)
        err = verify_pages(check, "messages", check_message_page);
    if (!err)
        err = verify_rows(check);
    if (!err)
        err = verify_files(check);
    if (!err)
        end_order(check);
    return err || !check->asked->deep ? err : verify_file(check);
}

static void say_more(struct check *check)
{
    check->asked->ok = true;
    for (int kind = 0; kind < VERIFY_KINDS; kind++) {
        int64_t more = check->found[kind] - STORE_FINDINGS_MAX;
        check->asked->ok = check->asked->ok && (kind == FINDING_NOTE || !check->found[kind]);
        if (more > 0) {
            check->found[kind] = 0;
            verify_find(check, (enum store_finding_kind)kind, 0, "", "and %lld more of this kind", (long long)more);
        }
    }
}

int sqlite_reader_verify(struct store_reader *reader, struct store_check *asked)
{
    struct check check = {.reader = sqlite_reader_of(reader), .asked = asked, .order = order_check_new()};
    asked->messages = asked->conversations = asked->lanes = asked->damaged = asked->files = 0;
    sqlite_reader_begin(check.reader);
    int err = check_all(&check);
    // Damage that keeps SQLite from reading on is a finding, and the end of the look.
    if (err == ERR_CORRUPT) {
        verify_find(&check, FINDING_FILE, 0, "put a backup in its place; keep the damaged files",
                    "the file is damaged: %s", *check.unread ? check.unread : sqlite3_errmsg(check.reader->sql.db));
        err = 0;
    }
    say_more(&check);
    order_check_free(check.order);
    return err;
}
