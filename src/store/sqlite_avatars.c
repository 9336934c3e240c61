// Customers' pictures in the SQLite back end (struct avatar): table avatars. A row that is not what was stored is made anew when its
// customer writes.
#include "base/must.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

// What decides whether it is due.
struct row {
    bool found, whole;
    int64_t due_us, asked_us, account_id;
    struct str hash, told; // in the arena
};

static int get_row(struct sqlite_store *s, int64_t conversation_id, struct arena *arena, struct row *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_AVATAR);
    sql_int(q, 1, conversation_id);
    int code = sqlite3_step(q);
    *out = (struct row){.found = code == SQLITE_ROW};
    if (out->found)
        *out = (struct row){.found = true,
                            .due_us = sql_column_int(q, 0),
                            .asked_us = sql_column_int(q, 1),
                            .hash = arena_str(arena, sql_column_str(q, 2)),
                            .told = arena_str(arena, sql_column_str(q, 3)),
                            .account_id = sql_column_int(q, 4),
                            .whole = sql_column_int(q, 5) != 0};
    return sql_end(&s->sql, q, code);
}

static int put_row(struct sqlite_store *s, int64_t conversation_id, int64_t account_id, const struct avatar *avatar)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_PUT_AVATAR);
    sql_int(q, 1, conversation_id);
    sql_int(q, 2, account_id);
    sql_int(q, 3, avatar->due_us);
    sql_int(q, 4, avatar->attempts);
    sql_int(q, 5, avatar->asked_us);
    sql_int(q, 6, avatar->size);
    sql_str(q, 7, avatar->picture);
    sql_str(q, 8, avatar->hash);
    sql_str(q, 9, avatar->mime);
    sql_str(q, 10, avatar->told);
    return sql_finish(&s->sql, q);
}

static int set_due(struct sqlite_store *s, const struct store_outcome *o)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_AVATAR_DUE);
    sql_int(q, 1, o->conversation_id);
    sql_int(q, 2, o->at_us);
    return sql_finish(&s->sql, q);
}

// In place of what is not what was stored, whose bytes (if it names some that are there) go.
static int begin_anew(struct sqlite_store *s, const struct store_outcome *o, const struct row *row)
{
    struct avatar avatar = {.due_us = o->at_us};
    int err = row->hash.n == FILE_HASH_SIZE ? sqlite_media_drop(s, row->hash) : 0;
    return err ? err : put_row(s, o->conversation_id, o->avatar_of, &avatar);
}

int sqlite_avatar_look(struct sqlite_store *s, struct store_outcome *o)
{
    struct arena arena = {0};
    struct row row;
    int err = get_row(s, o->conversation_id, &arena, &row);
    bool anew = !row.found || !row.whole;
    bool untold = o->link && o->link->contact.n && row.hash.p && !str_eq(row.told, o->link->contact);
    o->avatar_due = !err && (anew || (!row.due_us && (avatar_is_old(row.asked_us, o->at_us) || untold)));
    if (o->avatar_due)
        err = anew ? begin_anew(s, o, &row) : set_due(s, o);
    arena_done(&arena);
    return err;
}

int sqlite_avatar(struct sqlite_store *s, struct store_avatar *set)
{
    struct arena arena = {0};
    struct row row;
    const struct avatar *avatar = &set->avatar;
    must(!avatar->hash.p || avatar->hash.n == FILE_HASH_SIZE);
    int err = get_row(s, set->conversation_id, &arena, &row);
    set->applied = !err && row.found && row.whole && row.due_us;
    if (set->applied && row.hash.p && !str_eq(row.hash, avatar->hash))
        err = sqlite_media_drop(s, row.hash);
    if (set->applied && !err)
        err = put_row(s, set->conversation_id, row.account_id, avatar);
    arena_done(&arena);
    return err;
}

// ---- asked for ----

enum { AVATAR_AT = 12 }; // the first column behind the conversation's

static struct link link_in(const struct link *link, struct arena *arena)
{
    return (struct link){.contact = arena_str(arena, link->contact),
                         .conversation = arena_str(arena, link->conversation),
                         .last_part = arena_str(arena, link->last_part),
                         .note = arena_str(arena, link->note)};
}

static struct due_avatar due_row(sqlite3_stmt *q, struct arena *arena)
{
    struct sqlite_conversation conversation;
    struct due_avatar due = {.conversation_id = sql_column_int(q, AVATAR_AT),
                             .account_id = sql_column_int(q, AVATAR_AT + 1),
                             .avatar = {.due_us = sql_column_int(q, AVATAR_AT + 2),
                                        .attempts = (int)sql_column_int(q, AVATAR_AT + 3),
                                        .asked_us = sql_column_int(q, AVATAR_AT + 4),
                                        .size = sql_column_int(q, AVATAR_AT + 5),
                                        .picture = arena_str(arena, sql_column_str(q, AVATAR_AT + 6)),
                                        .hash = arena_str(arena, sql_column_str(q, AVATAR_AT + 7)),
                                        .mime = arena_str(arena, sql_column_str(q, AVATAR_AT + 8)),
                                        .told = arena_str(arena, sql_column_str(q, AVATAR_AT + 9))}};
    sqlite_conversation_read(q, 0, 2, &conversation);
    if (!sqlite_conversation_is_whole(&conversation)) // no customer is shown as another one
        return due;
    due.source_id = conversation.source_id;
    due.thread = arena_str(arena, conversation.thread);
    due.link = link_in(&conversation.link, arena);
    return due;
}

int sqlite_due_avatars(struct store *store, struct store_avatars *avatars)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    avatars->due = arena_alloc(avatars->arena, (avatars->limit + 1) * sizeof *avatars->due);
    avatars->count = 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_DUE_AVATARS);
    sql_int(q, 1, (int64_t)avatars->limit);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW)
        avatars->due[avatars->count++] = due_row(q, avatars->arena);
    return sqlite_note(s, sql_end(&s->sql, q, code));
}
