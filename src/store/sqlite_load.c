// What the relay loads from the SQLite back end: pages of lanes, lanes with work, references at the desk.
#include "base/mem.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

#include <stdlib.h>

// A row that is not what was stored is given back marked, and never silently left out or delivered (S10).
static int read_entry(struct sqlite_store *s, sqlite3_stmt *q, struct str address, struct lane_page *page)
{
    struct message message;
    struct sqlite_row row;
    struct sqlite_conversation conversation;
    if (sqlite3_column_type(q, 0) == SQLITE_NULL) {
        s->sql.index_contradicts = true;
        return ERR_CORRUPT;
    }
    sqlite_row_read(q, &message, &row);
    sqlite_conversation_read(q, SQLITE_ROW_COLUMNS - 2, SQLITE_ROW_COLUMNS, &conversation);
    // It stands in the line: a row that says something else is damaged.
    if (message.state != MESSAGE_PENDING || !sqlite_row_is_whole(&message, &row) ||
        !sqlite_conversation_is_whole(&conversation))
        message.reason = REASON_DAMAGED;
    message.address = address;
    struct lane_entry *entry = &page->entries[page->count++];
    entry->message = message_copy(&message);
    entry->link = (struct link){
        arena_str(&page->arena, conversation.link.contact), arena_str(&page->arena, conversation.link.conversation),
        arena_str(&page->arena, conversation.link.last_part), arena_str(&page->arena, conversation.link.note)};
    entry->profile = arena_str(&page->arena, conversation.profile);
    return 0;
}

static int read_fresh(struct sqlite_store *s, int64_t id, struct str address, struct lane_page *page)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_LOAD_FRESH);
    sql_int(q, 1, id);
    int code = sqlite3_step(q), err = 0;
    if (code == SQLITE_ROW)
        err = read_entry(s, q, address, page);
    else if (code == SQLITE_DONE)
        err = ERR_CORRUPT; // there is no such row
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

// What stands in the table and what is fresh, by their places.
static int read_line(struct sqlite_store *s, sqlite3_stmt *q, const struct sqlite_fresh_message *fresh, size_t limit,
                     struct str address, struct lane_page *page)
{
    int code = sqlite3_step(q), err = 0;
    while (!err && page->count < limit && (code == SQLITE_ROW || (code == SQLITE_DONE && fresh))) {
        if (code == SQLITE_ROW && (!fresh || sql_column_int(q, 1) < fresh->id)) {
            err = read_entry(s, q, address, page);
            code = err ? code : sqlite3_step(q);
        } else {
            err = read_fresh(s, fresh->id, address, page);
            fresh = sqlite_fresh_next(s->line.fresh, fresh->lane, fresh->id);
        }
    }
    page->more = code == SQLITE_ROW || fresh;
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

static int read_lane(struct sqlite_store *s, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    struct lane_page page = {0};
    struct str address = STR_NONE; // all of a lane of replies are of one conversation
    int err = lane_id_kind(lane) == LANE_REPLY ? sqlite_address(s, lane_id_owner(lane), &page.arena, &address) : 0;
    if (err)
        return err;
    page.entries = arena_alloc(&page.arena, (limit ? limit : 1) * sizeof *page.entries);
    sqlite3_stmt *q = sql_get(&s->sql, SQL_LOAD_LANE);
    sql_int(q, 1, lane);
    sql_int(q, 2, after_place);
    sql_int(q, 3, (int64_t)limit + 1);
    err = read_line(s, q, sqlite_fresh_next(s->line.fresh, lane, after_place), limit, address, &page);
    if (err)
        lane_page_done(&page);
    else
        *out = page;
    return err;
}

int sqlite_load_lane(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    int err = read_lane(s, lane, after_place, limit, out);
    if (err == ERR_CORRUPT) { // the line may name a row that there is not
        err = sqlite_mend_told(s);
        if (!err)
            err = read_lane(s, lane, after_place, limit, out);
    }
    return sqlite_note(s, err);
}

int sqlite_lanes_with_work(struct store *store, int64_t account_id, int64_t after, size_t limit, int64_t *out_lanes,
                           size_t *out_count)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    size_t count = 0;
    int err = sqlite_lanes_of(&s->line, account_id, after, limit, out_lanes, &count);
    if (!err)
        *out_count = count;
    return sqlite_note(s, err);
}

int sqlite_load_refs(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                     struct str **out_refs, size_t *out_count)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    struct str *refs = NULL;
    size_t count = 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_LOAD_REFS);
    sql_int(q, 1, conversation_id);
    sql_int(q, 2, sent_s * 1000000);
    sql_int(q, 3, (sent_s + 1) * 1000000);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        refs = mem_resize(refs, (count + 1) * sizeof *refs);
        refs[count++] = arena_str(arena, sql_column_str(q, 0));
    }
    int err = sql_end(&s->sql, q, code);
    if (!err) {
        *out_refs = arena_alloc(arena, (count ? count : 1) * sizeof *refs);
        for (size_t i = 0; i < count; i++)
            (*out_refs)[i] = refs[i];
        *out_count = count;
    }
    free(refs);
    return sqlite_note(s, err);
}
