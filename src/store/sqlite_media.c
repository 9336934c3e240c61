// Files of messages in the SQLite back end (struct store_file): tables files, account_files, dropped, albums. A row is read,
// changed and written as a whole with its checksum; one that is not what was stored is neither fetched nor waited for.
#include "base/must.h"
#include "store/attached.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

struct file_row {
    int64_t message_id;
    int nth;
    int64_t account_id;
    enum file_state state;
    bool told;
    int attempts;
    int64_t next_attempt_us, size;
    struct str hash, attachment; // attachment: a list of one
    bool whole;
};

struct file_rows {
    struct file_row rows[FILES_MAX];
    size_t count;
};

// ---- rows ----

static int read_rows(struct sqlite_store *s, int64_t message_id, struct arena *arena, struct file_rows *out)
{
    out->count = 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_FILES);
    sql_int(q, 1, message_id);
    int code = SQLITE_DONE;
    while (out->count < FILES_MAX && (code = sqlite3_step(q)) == SQLITE_ROW)
        out->rows[out->count++] = (struct file_row){.message_id = message_id,
                                                    .nth = (int)sql_column_int(q, 0),
                                                    .account_id = sql_column_int(q, 1),
                                                    .state = (enum file_state)sql_column_int(q, 2),
                                                    .told = sql_column_int(q, 3) != 0,
                                                    .attempts = (int)sql_column_int(q, 4),
                                                    .next_attempt_us = sql_column_int(q, 5),
                                                    .size = sql_column_int(q, 6),
                                                    .hash = arena_str(arena, sql_column_str(q, 7)),
                                                    .attachment = arena_str(arena, sql_column_str(q, 8)),
                                                    .whole = sql_column_int(q, 9) != 0};
    return sql_end(&s->sql, q, code);
}

static int put_row(struct sqlite_store *s, const struct file_row *row)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_PUT_FILE);
    sql_int(q, 1, row->message_id);
    sql_int(q, 2, row->nth);
    sql_int(q, 3, row->account_id);
    sql_int(q, 4, row->state);
    sql_int(q, 5, row->told);
    sql_int(q, 6, row->attempts);
    sql_int(q, 7, row->next_attempt_us);
    sql_int(q, 8, row->size);
    sql_str(q, 9, row->hash);
    sql_str(q, 10, row->attachment);
    return sql_finish(&s->sql, q);
}

static bool is_wanted(const struct file_row *row)
{
    return row->whole && row->state == FILE_WANTED;
}

static struct file_row *find_wanted(struct file_rows *rows, int nth)
{
    for (size_t i = 0; i < rows->count; i++)
        if (rows->rows[i].nth == nth)
            return is_wanted(&rows->rows[i]) ? &rows->rows[i] : NULL;
    return NULL;
}

static bool any_wanted(const struct file_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        if (is_wanted(&rows->rows[i]))
            return true;
    return false;
}

// ---- bytes ----

static int read_number(struct sqlite_store *s, enum sql_statement name, int64_t id, bool *out_found, int64_t *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    *out_found = code == SQLITE_ROW;
    *out = *out_found ? sql_column_int(q, 0) : 0;
    return sql_end(&s->sql, q, code);
}

// Where no row says so, or a damaged one, they are counted.
static int read_bytes(struct sqlite_store *s, int64_t account_id, int64_t *out)
{
    bool found;
    int err = read_number(s, SQL_GET_FILE_BYTES, account_id, &found, out);
    return err || found ? err : read_number(s, SQL_COUNT_FILE_BYTES, account_id, &found, out);
}

static int write_bytes(struct sqlite_store *s, int64_t account_id, int64_t bytes)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_FILE_BYTES);
    sql_int(q, 1, account_id);
    sql_int(q, 2, bytes);
    return sql_finish(&s->sql, q);
}

static int account_has(struct sqlite_store *s, int64_t account_id, struct str hash, bool *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_ACCOUNT_HAS_HASH);
    sql_str(q, 1, hash);
    sql_int(q, 2, account_id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW;
    return sql_end(&s->sql, q, code);
}

// The row gets a hash. What the account has twice is counted once.
static int add_kept(struct sqlite_store *s, const struct file_row *row)
{
    bool has = false;
    int64_t bytes = 0;
    int err = account_has(s, row->account_id, row->hash, &has);
    if (!err && !has)
        err = read_bytes(s, row->account_id, &bytes);
    if (!err)
        err = put_row(s, row);
    return err || has ? err : write_bytes(s, row->account_id, bytes + row->size);
}

static int run_with_hash(struct sqlite_store *s, enum sql_statement name, struct str hash)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_str(q, 1, hash);
    return sql_finish(&s->sql, q);
}

int sqlite_media_drop(struct sqlite_store *s, struct str hash)
{
    return run_with_hash(s, SQL_DROP_HASH, hash);
}

static int delete_row(struct sqlite_store *s, const struct file_row *row)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_DELETE_FILE);
    sql_int(q, 1, row->message_id);
    sql_int(q, 2, row->nth);
    return sql_finish(&s->sql, q);
}

static int remove_kept(struct sqlite_store *s, const struct file_row *row)
{
    bool has = false;
    int64_t bytes = 0;
    int err = read_bytes(s, row->account_id, &bytes);
    if (!err)
        err = delete_row(s, row);
    if (!err)
        err = account_has(s, row->account_id, row->hash, &has);
    if (!err && !has)
        err = write_bytes(s, row->account_id, bytes - row->size);
    return err ? err : sqlite_media_drop(s, row->hash);
}

int sqlite_media_age(struct sqlite_store *s, int64_t message_id)
{
    struct arena arena = {0};
    struct file_rows rows;
    int err = read_rows(s, message_id, &arena, &rows);
    for (size_t i = 0; i < rows.count && !err; i++)
        err = rows.rows[i].hash.p ? remove_kept(s, &rows.rows[i]) : delete_row(s, &rows.rows[i]);
    arena_done(&arena);
    return err;
}

int sqlite_media_is_over(struct sqlite_store *s, int64_t account_id, int64_t most, bool *out)
{
    int64_t bytes = 0;
    int err = read_bytes(s, account_id, &bytes);
    *out = bytes >= most;
    return err;
}

// Its customers' pictures go at once, since their links have no end.
int sqlite_media_account_gone(struct sqlite_store *s, int64_t account_id)
{
    static const enum sql_statement steps[] = {SQL_WANTED_OF_GONE, SQL_DROP_AVATARS_OF_GONE, SQL_AVATARS_OF_GONE};
    int err = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && !err; i++) {
        sqlite3_stmt *q = sql_get(&s->sql, steps[i]);
        sql_int(q, 1, account_id);
        err = sql_finish(&s->sql, q);
    }
    return err;
}

// ---- accepted ----

// Of a reply everything is told when it goes.
static int want(struct sqlite_store *s, int64_t message_id, int nth, const struct store_accept *accept,
                const struct attachment *file)
{
    struct arena arena = {0};
    struct file_row row = {.message_id = message_id,
                           .nth = nth,
                           .account_id = accept->account_id,
                           .state = FILE_WANTED,
                           .told = accept->direction == REPLY,
                           .next_attempt_us = accept->received_at_us,
                           .attachment = attachments_write(file, 1, &arena)};
    int err = put_row(s, &row);
    arena_done(&arena);
    return err;
}

static int want_all(struct sqlite_store *s, int64_t message_id, int from, const struct store_accept *accept,
                    const struct attachment *files, size_t count)
{
    int err = 0;
    for (size_t i = 0; i < count && from + (int)i < FILES_MAX && !err; i++)
        if (files[i].state == FILE_WANTED)
            err = want(s, message_id, from + (int)i, accept, &files[i]);
    return err;
}

int sqlite_media_accept(struct sqlite_store *s, const struct store_accept *accept, const struct attachment *files,
                        size_t count)
{
    sqlite_noted_add(&s->noted, accept->message_id);
    return want_all(s, accept->message_id, 0, accept, files, count);
}

// ---- messages that are changed ----

static struct message texts_in(const struct message *m, struct arena *arena)
{
    struct message copy = *m;
    copy.conversation = arena_str(arena, m->conversation);
    copy.sender_id = arena_str(arena, m->sender_id);
    copy.sender_name = arena_str(arena, m->sender_name);
    copy.text = arena_str(arena, m->text);
    copy.attachments = arena_str(arena, m->attachments);
    copy.format = arena_str(arena, m->format);
    copy.last_error = arena_str(arena, m->last_error);
    copy.conversation_name = copy.desk_ref = copy.target_ref = STR_NONE; // nobody needs them here
    return copy;
}

// id 0: there is no such row. *out_whole: it is what was stored.
static int read_message(struct sqlite_store *s, int64_t id, struct arena *arena, struct message *out,
                        struct sqlite_row *out_row, bool *out_whole)
{
    struct message message;
    *out = (struct message){0};
    *out_whole = false;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_MESSAGE);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        sqlite_row_read(q, &message, out_row);
        *out_whole = sqlite_row_is_whole(&message, out_row);
        *out = texts_in(&message, arena);
        out_row->dedupe_key = arena_str(arena, out_row->dedupe_key);
    }
    return sql_end(&s->sql, q, code);
}

static int write_body(struct sqlite_store *s, const struct message *message, const struct sqlite_row *row)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_BODY);
    sql_int(q, 1, message->id);
    sql_str(q, 2, message->text);
    sql_str(q, 3, message->attachments);
    sql_int(q, 4, (int64_t)sqlite_row_sum(message, row));
    return sql_finish(&s->sql, q);
}

static int write_wait(struct sqlite_store *s, int64_t id, int64_t until_us)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_WAIT);
    sql_int(q, 1, id);
    sql_int(q, 2, until_us);
    return sql_finish(&s->sql, q);
}

// ---- albums ----

static int write_album(struct sqlite_store *s, int64_t message_id, const struct store_accept *accept, int64_t until_us)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_ALBUM);
    sql_int(q, 1, message_id);
    sql_int(q, 2, accept->conversation_id);
    sql_str(q, 3, accept->event.album);
    sql_int(q, 4, until_us);
    return sql_finish(&s->sql, q);
}

int sqlite_album_begin(struct sqlite_store *s, const struct store_accept *accept)
{
    sqlite_noted_add(&s->noted, accept->message_id);
    return write_album(s, accept->message_id, accept, album_until(accept->received_at_us, accept->received_at_us));
}

int sqlite_album_find(struct sqlite_store *s, const struct store_accept *accept, struct arena *arena,
                      struct message *out, struct sqlite_row *out_row)
{
    int64_t id = 0;
    bool whole = false;
    *out = (struct message){0};
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_ALBUM);
    sql_int(q, 1, accept->conversation_id);
    sql_str(q, 2, accept->event.album);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        id = sql_column_int(q, 0);
    int err = sql_end(&s->sql, q, code);
    if (!err && id)
        err = read_message(s, id, arena, out, out_row, &whole);
    if (!err && (!whole || out->conversation_id != accept->conversation_id ||
                 !album_may_join(out, &accept->event, accept->received_at_us)))
        out->id = 0;
    return err;
}

int sqlite_album_join(struct sqlite_store *s, const struct store_accept *accept, struct message *message,
                      const struct sqlite_row *row, struct arena *arena)
{
    struct attachment *files;
    int from;
    size_t count = attachments_read(accept->event.attachments, arena, &files);
    album_join(message, &accept->event, accept->wait_until_us, arena, &from);
    int err = write_body(s, message, row);
    if (!err)
        err = write_wait(s, message->id, message->next_attempt_us);
    if (!err)
        err = want_all(s, message->id, from, accept, files, count);
    int64_t until_us = album_until(message->received_at_us, accept->received_at_us);
    return err ? err : write_album(s, message->id, accept, until_us);
}

// How long a message whose files are all settled waits for parts of its album; 0 = it does not.
static int read_album_wait(struct sqlite_store *s, int64_t message_id, int64_t now_us, int64_t *out)
{
    bool found;
    int err = read_number(s, SQL_GET_ALBUM, message_id, &found, out);
    if (*out <= now_us)
        *out = 0;
    return err;
}

static int end_album(struct sqlite_store *s, int64_t message_id, bool *out_was)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_END_ALBUM);
    sql_int(q, 1, message_id);
    int err = sql_finish(&s->sql, q);
    *out_was = !err && sqlite3_changes(s->sql.db) == 1;
    return err;
}

// ---- what follows a message that was delivered without it ----

struct following {
    const struct message *first;  // whole
    const struct file_rows *rows; // of it
    uint32_t files;               // of its attachments
    struct str text;
    int64_t at_us;
    int64_t lane, id; // out; 0 = nothing follows: its account is gone
};

// Nothing follows what follows.
static int copy_rows(struct sqlite_store *s, const struct following *following)
{
    int nth = 0, err = 0;
    for (size_t i = 0; i < following->rows->count && !err; i++) {
        struct file_row row = following->rows->rows[i];
        if (!row.whole || !(following->files & UINT32_C(1) << row.nth))
            continue;
        row.message_id = following->id;
        row.nth = nth++;
        row.told = true;
        err = put_row(s, &row);
    }
    return err;
}

// As a note (insert_note): its number tells it from whatever a platform calls an event.
static int insert_following(struct sqlite_store *s, struct following *following)
{
    const struct message *first = following->first;
    struct arena arena = {0};
    enum order_rule order = ORDER_ACCOUNT;
    int64_t barrier;
    char key[FOLLOWING_KEY_SIZE];
    int err = sqlite_order_get(s, first->account_id, &order, &barrier);
    if (err)
        return err;
    following->id = ++s->totals.last_number;
    following->lane = inbound_lane(order, first->account_id, first->conversation_id);
    following_key(first->id, following->files, key);
    struct message message = {.id = following->id,
                              .place = following->id,
                              .lane = following->lane,
                              .account_id = first->account_id,
                              .source_id = first->source_id,
                              .conversation_id = first->conversation_id,
                              .direction = INBOUND,
                              .state = MESSAGE_PENDING,
                              .sent_at_us = first->sent_at_us,
                              .received_at_us = following->at_us,
                              .conversation = first->conversation,
                              .sender_id = first->sender_id,
                              .sender_name = first->sender_name,
                              .text = following->text.p ? following->text : STR(""),
                              .attachments = attached_some(first->attachments, following->files, &arena)};
    struct sqlite_row row = {.digest = (uint64_t)following->id, .dedupe_key = str_of(key)};
    err = sqlite_insert_row(s, &message, &row, STR_NONE);
    if (!err)
        err = sqlite_set_waiting(s, message.lane, message.account_id, 0);
    arena_done(&arena);
    return err ? err : copy_rows(s, following);
}

static int follow(struct sqlite_store *s, struct following *following)
{
    bool gone = false;
    int err = sqlite_account_is_gone(s, following->first->account_id, &gone);
    return err || gone ? err : insert_following(s, following);
}

// Marks as told what was, and what shall follow now.
static int tell_rows(struct sqlite_store *s, struct file_rows *rows, uint32_t told, uint32_t *out_follows)
{
    int err = 0;
    *out_follows = 0;
    for (size_t i = 0; i < rows->count && !err; i++) {
        struct file_row *row = &rows->rows[i];
        uint32_t bit = row->whole ? UINT32_C(1) << row->nth : 0;
        if (row->told || !row->whole || (row->state == FILE_WANTED && !(told & bit)))
            continue;
        *out_follows |= told & bit ? 0 : bit;
        row->told = true;
        err = put_row(s, row);
    }
    return err;
}

static int settle_delivered(struct sqlite_store *s, struct store_outcome *o, bool album, struct arena *arena)
{
    struct message message;
    struct sqlite_row row;
    struct file_rows rows;
    bool whole;
    int err = read_message(s, o->message_id, arena, &message, &row, &whole);
    if (err || !whole || message.direction != INBOUND) // whose a damaged one was cannot be told
        return err;
    struct following following = {.first = &message, .rows = &rows, .at_us = o->at_us};
    if (album)
        following.text = untold_text(&message, o);
    err = read_rows(s, o->message_id, arena, &rows);
    if (!err)
        err = tell_rows(s, &rows, o->files_told, &following.files);
    if (err || (!following.files && !following.text.n))
        return err;
    err = follow(s, &following);
    o->follow_lane = following.lane;
    o->follow_id = following.id;
    return err;
}

static int delete_wanted(struct sqlite_store *s, int64_t message_id)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_DELETE_WANTED);
    sql_int(q, 1, message_id);
    return sql_finish(&s->sql, q);
}

// A skipped one may be tried again: its files are fetched all the same.
int sqlite_media_settled(struct sqlite_store *s, struct store_outcome *o)
{
    struct arena arena = {0};
    bool album;
    int err = end_album(s, o->message_id, &album);
    if (!err && o->state == MESSAGE_DELIVERED)
        err = settle_delivered(s, o, album, &arena);
    if (!err && o->state == MESSAGE_DISCARDED)
        err = delete_wanted(s, o->message_id);
    if (!err && o->state != MESSAGE_SKIPPED)
        sqlite_noted_remove(&s->noted, o->message_id);
    arena_done(&arena);
    return err;
}

// ---- one try to fetch one ----

static void set_row(struct file_row *row, const struct store_file *file)
{
    row->state = file->state;
    row->attempts = file->attempts;
    row->next_attempt_us = file->next_attempt_us;
    if (file->state == FILE_WANTED)
        return;
    row->next_attempt_us = 0;
    row->attachment = STR_NONE;
    row->hash = file->state == FILE_KEPT ? file->hash : STR_NONE;
    row->size = file->state == FILE_KEPT ? file->size : 0;
}

static int make_ready(struct sqlite_store *s, const struct message *message, struct store_file *file)
{
    int64_t until_us = 0;
    int err = read_album_wait(s, message->id, file->at_us, &until_us);
    file->ready = true;
    return err ? err : write_wait(s, message->id, until_us);
}

static int follow_alone(struct sqlite_store *s, const struct message *message, struct file_rows *rows,
                        struct file_row *row, struct store_file *file)
{
    struct following following = {
        .first = message, .rows = rows, .files = UINT32_C(1) << row->nth, .at_us = file->at_us};
    row->told = true;
    int err = put_row(s, row);
    if (!err)
        err = follow(s, &following);
    file->follow_lane = following.lane;
    file->follow_id = following.id;
    return err;
}

// The message tells what became of the file. Nothing is made of a damaged one, which is set aside in its turn.
static int settle_in(struct sqlite_store *s, struct message *message, const struct sqlite_row *row,
                     struct store_file *file, struct arena *arena)
{
    if (!message->attachments.p)
        return 0;
    message->attachments = attached_settled(message->attachments, file, arena);
    file->changed = message->state == MESSAGE_PENDING;
    return write_body(s, message, row);
}

static int settle_file(struct sqlite_store *s, struct store_file *file, struct file_rows *rows, struct file_row *row,
                       struct arena *arena)
{
    struct message message;
    struct sqlite_row message_row;
    bool whole;
    int err = read_message(s, file->message_id, arena, &message, &message_row, &whole);
    if (err)
        return err;
    file->applied = true;
    file->account_id = row->account_id;
    file->source_id = message.source_id;
    file->lane = message.lane;
    set_row(row, file);
    err = row->hash.p ? add_kept(s, row) : put_row(s, row);
    if (err || file->state == FILE_WANTED || !whole)
        return err;
    err = settle_in(s, &message, &message_row, file, arena);
    if (!err && waits_for_files(&message) && !any_wanted(rows))
        err = make_ready(s, &message, file);
    if (!err && message.state == MESSAGE_DELIVERED && message.direction == INBOUND && !row->told)
        err = follow_alone(s, &message, rows, row, file);
    return err;
}

int sqlite_file(struct sqlite_store *s, struct store_file *file)
{
    struct arena arena = {0};
    struct file_rows rows;
    must(file->state != FILE_KEPT || file->hash.n == FILE_HASH_SIZE);
    file->applied = file->ready = file->changed = false;
    file->follow_lane = file->follow_id = 0;
    int err = read_rows(s, file->message_id, &arena, &rows);
    struct file_row *row = err ? NULL : find_wanted(&rows, file->nth);
    if (row)
        err = settle_file(s, file, &rows, row, &arena);
    arena_done(&arena);
    return err;
}

// ---- asked for ----

static struct wanted_file wanted_row(sqlite3_stmt *q, struct arena *arena)
{
    struct attachment *file;
    bool any = attachments_read(sql_column_str(q, 6), arena, &file) == 1;
    return (struct wanted_file){.message_id = sql_column_int(q, 0),
                                .nth = (int)sql_column_int(q, 1),
                                .account_id = sql_column_int(q, 2),
                                .source_id = sql_column_int(q, 3),
                                .received_at_us = sql_column_int(q, 4),
                                .direction = (enum direction)sql_column_int(q, 5),
                                .file = any ? *file : (struct attachment){.size = -1},
                                .attempts = (int)sql_column_int(q, 7),
                                .next_attempt_us = sql_column_int(q, 8)};
}

// Most of a page is one account's, one behind the other.
static int add_account_bytes(struct sqlite_store *s, struct store_wanted *wanted)
{
    int err = 0;
    for (size_t i = 0; i < wanted->count && !err; i++) {
        struct wanted_file *file = &wanted->files[i];
        if (i > 0 && file->account_id == file[-1].account_id)
            file->account_bytes = file[-1].account_bytes;
        else
            err = read_bytes(s, file->account_id, &file->account_bytes);
    }
    return err;
}

int sqlite_wanted_files(struct store *store, struct store_wanted *wanted)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    wanted->files = arena_alloc(wanted->arena, (wanted->limit + 1) * sizeof *wanted->files);
    wanted->count = 0;
    wanted->due_us = 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_WANTED_FILES);
    sql_int(q, 1, (int64_t)wanted->limit + 1);
    for (int i = 0; i < WANTED_NOT_OF; i++)
        sql_int(q, 2 + i, wanted->not_of[i]);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        if (wanted->count < wanted->limit)
            wanted->files[wanted->count++] = wanted_row(q, wanted->arena);
        else
            wanted->due_us = sql_column_int(q, 8);
    }
    int err = sql_end(&s->sql, q, code);
    return sqlite_note(s, err ? err : add_account_bytes(s, wanted));
}

static int read_dropped(struct sqlite_store *s, struct store_files_gone *gone, struct str *out, size_t *out_count)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_DROPPED);
    sql_int(q, 1, (int64_t)gone->limit + 1);
    int code;
    *out_count = 0;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        gone->more = *out_count == gone->limit;
        if (!gone->more)
            out[(*out_count)++] = arena_str(gone->arena, sql_column_str(q, 0));
    }
    return sql_end(&s->sql, q, code);
}

static int is_kept(struct sqlite_store *s, struct str hash, bool *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_HASH_IS_KEPT);
    sql_str(q, 1, hash);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW;
    return sql_end(&s->sql, q, code);
}

// `hashes` may be `asked`: it is written behind what was read.
static int add_those_that_nobody_has(struct sqlite_store *s, struct store_files_gone *gone, const struct str *asked,
                                     size_t count, struct str *hashes)
{
    int err = 0;
    for (size_t i = 0; i < count && !err; i++) {
        bool kept = false;
        struct str hash = asked[i];
        err = is_kept(s, hash, &kept);
        if (!err)
            err = run_with_hash(s, SQL_FORGET_DROPPED, hash);
        if (!err && !kept)
            hashes[gone->count++] = hash;
    }
    return err;
}

int sqlite_files_forget(struct sqlite_store *s, struct store_files_gone *gone)
{
    struct str *hashes = arena_alloc(gone->arena, (gone->limit + gone->asked_count + 1) * sizeof *hashes);
    size_t dropped = 0;
    gone->hashes = hashes;
    gone->count = 0;
    gone->more = false;
    int err = read_dropped(s, gone, hashes, &dropped);
    if (!err)
        err = add_those_that_nobody_has(s, gone, hashes, dropped, hashes);
    return err ? err : add_those_that_nobody_has(s, gone, gone->asked, gone->asked_count, hashes);
}

int sqlite_media_open(struct sqlite_store *s)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_UNTOLD);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW)
        sqlite_noted_add(&s->noted, sql_column_int(q, 0));
    return sql_end(&s->sql, q, code);
}
