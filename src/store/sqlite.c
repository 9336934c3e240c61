// The SQLite back end: opening, closing, transactions, checkpoints.
#include "store/sqlite.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/must.h"
#include "store/sqlite_row.h"
#include "store/sqlite_schema.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOG_BYTES = 8 << 20, // written at start (S1)
    // A checkpoint makes the next commit wait, about 1 ms a MiB, so little at a time; and hot pages are written once per
    // checkpoint, so not too little. Percent of the log: when nothing waits, between turns when something does, and at the
    // latest (a large batch must fit behind).
    LOG_IDLE = 8,
    LOG_BUSY = 35,
    LOG_FORCED = 70,
    CACHE_KIB = 32768,
    LOG_TIMES_LONG = 32, // as long as at the start (256 MiB): somebody reads for long
    BUSY_MS = 5000,      // a backstop: nobody else of ours writes
    BUSY_LOOK_MS = 10,
    // After an unclean end: a database of up to so many pages is checked as a whole, a larger one only in what was
    // written last (the rest is `verify --deep`'s).
    QUICK_CHECK_PAGES = 2048,
    RECENT_ROWS_MAX = 100000,
};

static void configure_sqlite(void)
{
    // Counting its memory takes a lock shared by all threads for every allocation. Refused, harmlessly, when the
    // program has used SQLite before.
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_initialize();
}

int sqlite_note(struct sqlite_store *s, int err)
{
    int well = 0;
    if (err == ERR_IO || err == ERR_CORRUPT)
        atomic_compare_exchange_strong(&s->broken, &well, err);
    return err;
}

// 0 for what no store has ever counted to: a damaged row may say anything, and it is counted on from what it says.
static int64_t count_of(sqlite3_stmt *q, int column)
{
    static const int64_t most = INT64_C(1) << 50;
    int64_t said = sql_column_int(q, column);
    return said >= 0 && said < most ? said : 0;
}

int sqlite_totals_read(struct sql *sql, struct sqlite_totals *out, bool *out_whole)
{
    sqlite3_stmt *q = sql_get(sql, SQL_TOTALS);
    int code = sqlite3_step(q);
    bool found = code == SQLITE_ROW;
    if (found)
        *out = (struct sqlite_totals){.accepted = count_of(q, 0),
                                      .delivered = count_of(q, 1),
                                      .skipped = count_of(q, 2),
                                      .discarded = count_of(q, 3),
                                      .aged_delivered = count_of(q, 4),
                                      .aged_discarded = count_of(q, 5),
                                      .last_number = count_of(q, 6),
                                      .moved_number = count_of(q, 7),
                                      .lined_number = count_of(q, 8)};
    *out_whole = found && sql_column_int(q, 9) != 0;
    int err = sql_end(sql, q, code);
    return err ? err : found ? 0 : ERR_CORRUPT;
}

static int write_totals(struct sqlite_store *s)
{
    const struct sqlite_totals *t = &s->totals;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_TOTALS);
    sql_int(q, 1, t->accepted);
    sql_int(q, 2, t->delivered);
    sql_int(q, 3, t->skipped);
    sql_int(q, 4, t->discarded);
    sql_int(q, 5, t->aged_delivered);
    sql_int(q, 6, t->aged_discarded);
    sql_int(q, 7, t->last_number);
    sql_int(q, 8, t->moved_number);
    sql_int(q, 9, t->lined_number);
    return sql_finish(&s->sql, q);
}

static int transact_body(struct sqlite_store *s, int (*body)(struct sqlite_store *s, void *arg), void *arg)
{
    struct sqlite_totals before = s->totals;
    int err = s->log_is_moved ? sql_run(&s->sql, SQL_BEGIN_LOG) : 0;
    if (!err)
        err = body(s, arg);
    if (!err && memcmp(&before, &s->totals, sizeof before) != 0) {
        s->totals.lined_number = sqlite_line_lined(s);
        err = write_totals(s);
    }
    if (!err)
        err = sql_run(&s->sql, SQL_COMMIT);
    if (err)
        s->totals = before;
    return err;
}

static void tell(struct sqlite_store *s, const char *name, struct str sentence)
{
    if (s->finding)
        s->finding(s->finding_arg, name, sentence);
}

// A commit into a file that is no longer under its name is none: the next start would not find it.
static int check_place(struct sqlite_store *s)
{
    const char *gone = sqlite_files_gone(&s->files);
    if (!gone)
        return 0;
    struct arena arena = {0};
    tell(s, "store_moved", arena_printf(&arena, "%s was moved, removed or replaced while it was in use", gone));
    arena_done(&arena);
    return ERR_IO;
}

static int transact_once(struct sqlite_store *s, int (*body)(struct sqlite_store *s, void *arg), void *arg)
{
    s->sql.index_contradicts = false;
    int err = sql_run(&s->sql, SQL_BEGIN);
    if (!err)
        err = transact_body(s, body, arg);
    if (err)
        sqlite_known_forget_all(s->known);
    (err ? sqlite_fresh_undo : sqlite_fresh_commit)(s->line.fresh);
    (err ? sqlite_noted_undo : sqlite_noted_commit)(&s->noted);
    if (err)
        sqlite_quota_undo(&s->quota);
    else
        sqlite_quota_commit(&s->quota, sqlite_waiting(s));
    // After some errors SQLite has rolled back already.
    if (err && !sqlite3_get_autocommit(s->sql.db) && sql_run(&s->sql, SQL_ROLLBACK) != 0)
        err = ERR_IO;
    return err;
}

int sqlite_mend_told(struct sqlite_store *s)
{
    tell(s, "store_damaged",
         STR("rows and indexes contradicted each other; the indexes were made anew: tributary verify tells more"));
    int err = transact_once(s, sqlite_mend, NULL);
    return err == ERR_INVALID ? ERR_CORRUPT : err; // two rows that an index can have but once
}

int sqlite_transact(struct sqlite_store *s, int (*body)(struct sqlite_store *s, void *arg), void *arg)
{
    int err = transact_once(s, body, arg);
    if (err == ERR_CORRUPT && s->sql.index_contradicts) {
        err = sqlite_mend_told(s);
        if (!err)
            err = transact_once(s, body, arg);
    }
    if (!err)
        err = check_place(s);
    return sqlite_note(s, err);
}

// The log's length in frames after a commit, told by SQLite.
static int on_commit(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct sqlite_store *s = arg;
    (void)db, (void)name;
    if (frames < s->log_frames)
        s->log_frames_moved = 0; // it was all moved, and is written from its beginning again
    s->log_frames = frames;
    s->log_is_moved = false;
    return SQLITE_OK;
}

// Frames are moved into the file, flushed, in one go; the log's file keeps its size. A crash at any point leaves
// the log in force. What a reader still looks at stays for the next time.
static int move_log(struct sqlite_store *s, int mode)
{
    int in_log = -1, moved = -1;
    int code = sqlite3_wal_checkpoint_v2(s->sql.db, NULL, mode, &in_log, &moved);
    if (in_log >= 0)
        s->log_frames = s->log_frames_moved = in_log;
    s->log_is_moved = code == SQLITE_OK && in_log == moved;
    if (s->log_is_moved)
        s->totals.moved_number = s->totals.last_number;
    return sqlite_note(s, sql_error(&s->sql, code));
}

static int move_log_past(struct sqlite_store *s, int percent)
{
    if ((s->log_frames - s->log_frames_moved) * 100 < s->log_frames_usual * percent)
        return 0;
    int err = move_log(s, SQLITE_CHECKPOINT_PASSIVE);
    if (err == ERR_FULL && sqlite_files_drop_ballast(&s->files))
        err = move_log(s, SQLITE_CHECKPOINT_PASSIVE);
    return err == ERR_BUSY ? 0 : err;
}

// A reader that stays keeps the log from being written from its beginning again: it grows with all that is written.
static void tell_long_log(struct sqlite_store *s)
{
    bool is_long = s->log_frames > s->log_frames_usual * LOG_TIMES_LONG;
    if (is_long == s->log_is_long)
        return;
    s->log_is_long = is_long;
    tell(s, "store_log_long",
         is_long ? STR("the store's log is long and grows: another program reads the store and does not end "
                       "its query; end that program")
                 : STR_NONE);
}

static int sqlite_checkpoint(struct store *store, bool busy)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    sqlite_files_take_ballast(&s->files);
    tell_long_log(s);
    return move_log_past(s, busy ? LOG_BUSY : LOG_IDLE);
}

// What COMMIT would do with synchronous = FULL, apart from it: the log is flushed the way SQLite does it. Frames that another
// thread adds meanwhile may be flushed as well, or not; the log counts up to its last whole commit.
static int sqlite_flush(struct store *store)
{
    struct sqlite_store *s = sqlite_of(store);
    int broken = atomic_load(&s->broken);
    if (broken)
        return broken;
    return s->log->pMethods->xSync(s->log, SQLITE_SYNC_NORMAL) == SQLITE_OK ? 0 : sqlite_note(s, ERR_IO);
}

static void sqlite_hurry(struct store *store)
{
    atomic_store(&sqlite_of(store)->hurried, true);
}

// Another program has the write lock.
static int on_busy(void *arg, int tries)
{
    struct sqlite_store *s = arg;
    if (atomic_load(&s->hurried) || s->asks || tries >= BUSY_MS / BUSY_LOOK_MS)
        return 0;
    sqlite3_sleep(BUSY_LOOK_MS);
    return 1;
}

void sqlite_bound_log(struct sqlite_store *s)
{
    // A failure is noted and breaks the store; the batch before it is safe in the log.
    int err = move_log_past(s, LOG_FORCED);
    (void)err;
}

static struct str sqlite_id(struct store *store)
{
    return str_of(sqlite_of(store)->id);
}

static const uint8_t *sqlite_link_key(struct store *store)
{
    return sqlite_of(store)->link_key;
}

static int set_clean(struct sqlite_store *s, bool clean)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_CLEAN);
    sql_int(q, 1, clean);
    return sql_finish(&s->sql, q);
}

static int begin(struct sqlite_store *s, void *arg)
{
    int err = sqlite_line_begin(s, arg);
    return err ? err : set_clean(s, false);
}

static int end_clean(struct sqlite_store *s, void *arg)
{
    (void)arg;
    int err = sqlite_line_move_all(s);
    return err ? err : set_clean(s, true);
}

static void close_log(struct sqlite_store *s)
{
    if (s->log && s->log->pMethods)
        s->log->pMethods->xClose(s->log); // no locks lie on it (S6)
    free(s->log);
    free(s->log_name);
}

static void free_store(struct sqlite_store *s)
{
    if (!s)
        return;
    sql_close(&s->sql);
    sqlite_known_free(s->known);
    sqlite_fresh_free(s->line.fresh);
    sqlite_noted_done(&s->noted);
    sqlite_quota_done(&s->quota);
    close_log(s);
    sqlite_files_close(&s->files); // last: it holds the lock
    free(s);
}

static void sqlite_close_store(struct store *store, bool clean)
{
    struct sqlite_store *s = sqlite_of(store);
    sqlite_hurry(store);
    // The mark goes through the log like all else; then the log is emptied. Failing is a stop that was not clean.
    if (clean && !s->broken && sqlite_transact(s, end_clean, NULL) == 0) {
        int err = move_log(s, SQLITE_CHECKPOINT_TRUNCATE);
        (void)err;
    }
    free_store(s);
}

static const struct store_ops sqlite_ops = {
    .name = "sqlite",
    .close = sqlite_close_store,
    .id = sqlite_id,
    .apply = sqlite_apply,
    .flush = sqlite_flush,
    .load_lane = sqlite_load_lane,
    .lanes_with_work = sqlite_lanes_with_work,
    .load_refs = sqlite_load_refs,
    .each_account = sqlite_each_account,
    .each_desk_health = sqlite_each_desk_health,
    .each_news = sqlite_each_news,
    .each_searched = sqlite_each_searched,
    .wanted_files = sqlite_wanted_files,
    .due_avatars = sqlite_due_avatars,
    .link_key = sqlite_link_key,
    .checkpoint = sqlite_checkpoint,
    .age_out = sqlite_age_out,
    .hurry = sqlite_hurry,
    .reader_new = sqlite_reader_new,
};

// What must hold for the promise; set, then read back, since SQLite ignores what it does not know or cannot do.
static const struct {
    const char *set, *get;
    int64_t want; // -1: not checked
} pragmas[] = {
    {"PRAGMA page_size = 8192", NULL, -1}, // of a new file; an older one keeps its own
    {"PRAGMA mmap_size = 0", "PRAGMA mmap_size", 0},
    {"PRAGMA journal_mode = WAL", "SELECT 1 FROM pragma_journal_mode WHERE journal_mode = 'wal'", 1},
    // S2: the log is flushed by flush(), once for what came together; SQLite flushes it before a checkpoint, and the head of
    // one that begins anew. In this mode that is all that keeps what was acknowledged.
    {"PRAGMA synchronous = NORMAL", "PRAGMA synchronous", 1},
    {"PRAGMA wal_autocheckpoint = 0", "PRAGMA wal_autocheckpoint", 0},
    {"PRAGMA journal_size_limit = -1", "PRAGMA journal_size_limit", -1},
    {"PRAGMA locking_mode = NORMAL", NULL, -1},
    {"PRAGMA cell_size_check = ON", "PRAGMA cell_size_check", 1},
    {"PRAGMA foreign_keys = OFF", NULL, -1},
    {"PRAGMA trusted_schema = OFF", NULL, -1},
    {"PRAGMA temp_store = MEMORY", NULL, -1},
    {"PRAGMA secure_delete = FAST", NULL, -1},
};

static int set_pragmas(struct sql *sql)
{
    int err = 0;
    for (size_t i = 0; i < sizeof pragmas / sizeof *pragmas && !err; i++) {
        int64_t got = -1;
        err = sql_exec(sql, pragmas[i].set, NULL);
        if (!err && pragmas[i].get)
            err = sql_exec(sql, pragmas[i].get, &got);
        if (!err && got != pragmas[i].want)
            err = ERR_REFUSED;
    }
    char text[64];
    snprintf(text, sizeof text, "PRAGMA cache_size = -%d", CACHE_KIB);
    return err ? err : sql_exec(sql, text, NULL);
}

static int open_database(struct sqlite_store *s)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int code = sqlite3_open_v2(s->files.path, &s->sql.db, flags, NULL);
    if (code != SQLITE_OK)
        return s->sql.db ? sql_error(&s->sql, code) : ERR_NOMEM;
    // Nothing of the log is moved but by us: not by SQLite, not by closing.
    sqlite3_db_config(s->sql.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_busy_handler(s->sql.db, on_busy, s);
    int err = set_pragmas(&s->sql);
    if (!err)
        err = sqlite_schema_migrate(&s->sql);
    return err ? err : sql_prepare(&s->sql, SQL_WRITER);
}

// Links must not be signed with a key that anybody knows.
static bool read_link_key(struct sqlite_store *s, sqlite3_stmt *q)
{
    const void *key = sqlite3_column_blob(q, 3);
    bool whole = key && sqlite3_column_bytes(q, 3) == sizeof s->link_key;
    if (whole)
        memcpy(s->link_key, key, sizeof s->link_key);
    return whole;
}

static int read_store_row(struct sqlite_store *s, bool *out_clean, int64_t *out_log_number)
{
    sqlite3_stmt *q = NULL;
    int code = sqlite3_prepare_v2(s->sql.db, "SELECT id, clean, log_number, link_key FROM store", -1, &q, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(q);
    bool found = code == SQLITE_ROW, key_is_whole = false;
    if (found) {
        snprintf(s->id, sizeof s->id, "%.*s", STR_ARG(sql_column_str(q, 0)));
        *out_clean = sql_column_int(q, 1) == 1;
        *out_log_number = sql_column_int(q, 2);
        key_is_whole = read_link_key(s, q);
    }
    int err = sql_error(&s->sql, code);
    sqlite3_finalize(q);
    return err ? err : found && *s->id && key_is_whole ? 0 : ERR_CORRUPT;
}

// What the file says of itself without its log. Before the file is open: S6.
static void read_without_log(struct sqlite_store *s)
{
    struct arena arena = {0};
    struct buf uri;
    buf_init(&uri, 65536);
    buf_printf(&uri, "file:");
    for (const char *c = s->files.path; *c; c++)
        buf_printf(&uri, strchr("?#%", *c) ? "%%%02x" : "%c", (unsigned char)*c);
    buf_printf(&uri, "?immutable=1");
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX;
    if (!uri.failed && sqlite3_open_v2(arena_str(&arena, buf_str(&uri)).p, &db, flags, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, "SELECT id, log_number FROM store", -1, &q, NULL) == SQLITE_OK &&
        sqlite3_step(q) == SQLITE_ROW) {
        snprintf(s->file.id, sizeof s->file.id, "%.*s", STR_ARG(sql_column_str(q, 0)));
        s->file.log_number = sql_column_int(q, 1);
    }
    sqlite3_finalize(q);
    sqlite3_close(db);
    buf_done(&uri);
    arena_done(&arena);
}

// The first transaction of a log says which it is, so that it is not taken for the log of another file, nor of an older
// copy of this one.
static bool log_belongs(const struct sqlite_store *s, int64_t log_number)
{
    bool same = strcmp(s->file.id, s->id) == 0;
    return !*s->file.id || (same && (log_number == s->file.log_number || log_number == s->file.log_number + 1));
}

// Structure of the whole file where that is quick. A page that the disk does not give (SQLITE_IOERR is 10) is no damage.
static int quick_check(struct sqlite_store *s)
{
    static const char *const question =
        "SELECT count(*) FILTER (WHERE quick_check <> 'ok') + (1 << 20) * count(*) FILTER "
        "(WHERE CAST(substr(quick_check, instr(quick_check, 'error code=') + 11) AS "
        "INTEGER) & 255 = 10) FROM pragma_quick_check";
    int64_t pages = 0, bad = 0;
    int err = sql_exec(&s->sql, "PRAGMA page_count", &pages);
    if (err || pages > QUICK_CHECK_PAGES)
        return err;
    err = sql_exec(&s->sql, question, &bad);
    return err ? err : !bad ? 0 : bad >= 1 << 20 ? ERR_IO : ERR_CORRUPT;
}

// Rows that the log may have held when the last process ended: their checksums.
static int check_recent(struct sqlite_store *s, int64_t after, int64_t *out_damaged)
{
    if (s->totals.last_number - after > RECENT_ROWS_MAX)
        after = s->totals.last_number - RECENT_ROWS_MAX;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_CHECK_MESSAGES);
    sql_int(q, 1, after);
    sql_int(q, 2, RECENT_ROWS_MAX);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct message message;
        struct sqlite_row row;
        sqlite_row_read(q, &message, &row);
        *out_damaged += !sqlite_row_is_whole(&message, &row);
    }
    return sql_end(&s->sql, q, code);
}

static int check_unclean(struct sqlite_store *s, int64_t after, int64_t *out_damaged)
{
    int err = quick_check(s);
    return err ? err : check_recent(s, after, out_damaged);
}

// Damaged totals are told, and count on from what they say: only verify knows what is true. But a number is never given again:
// rows that have aged out had higher ones than those that are left, so all that the totals say of it is believed, and more.
static int read_totals(struct sqlite_store *s)
{
    enum { FAR = 1000000 };
    struct sqlite_totals *t = &s->totals;
    int64_t number = 0;
    int err = sqlite_totals_read(&s->sql, t, &s->totals_are_whole);
    if (!err && !s->totals_are_whole)
        err = sql_exec(&s->sql, "SELECT max(ifnull(max(id), 0), ifnull(max(place), 0)) FROM messages", &number);
    if (err || s->totals_are_whole)
        return err;
    const int64_t said[] = {t->last_number, t->accepted, t->moved_number}; // each that was accepted has taken one
    for (size_t i = 0; i < sizeof said / sizeof *said; i++)
        number = said[i] > number ? said[i] : number;
    t->last_number = number + FAR;
    t->moved_number = t->lined_number = 0;
    tell(s, "store_damaged",
         STR("the totals are not what was stored: tributary verify tells whether the sum is still true"));
    return 0;
}

// Linux tells of a page that could not be written once for each opening of the file, and takes it for written then: flushed by
// the descriptor on which SQLite's checkpoints flush, the one thread would be told and the other not.
static int open_log(struct sqlite_store *s)
{
    sqlite3_vfs *vfs = NULL;
    int code = sqlite3_file_control(s->sql.db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
    if (code != SQLITE_OK || !vfs)
        return ERR_IO;
    size_t n = strlen(s->files.path);
    s->log_name = mem_new(n + sizeof "-wal" + 4); // a name of SQLite's: what could follow is absent
    memcpy(s->log_name, s->files.path, n);
    memcpy(s->log_name + n, "-wal", sizeof "-wal");
    s->log = mem_new((size_t)vfs->szOsFile);
    code = vfs->xOpen(vfs, s->log_name, s->log, SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL, NULL);
    return sql_error(&s->sql, code);
}

// The first transaction. Without room for it what waits is known as it stands.
static int take_over(struct sqlite_store *s)
{
    int64_t damaged = 0;
    int err = sqlite_transact(s, begin, &damaged);
    if (!err && damaged) {
        struct arena arena = {0};
        tell(s, "store_damaged",
             arena_printf(&arena,
                          "%lld of the youngest messages are not what was stored: they are set aside in their turn",
                          (long long)damaged));
        arena_done(&arena);
    }
    if (err != ERR_FULL)
        return err;
    int loaded = sqlite_line_load(&s->line);
    return loaded ? loaded : err;
}

// Rule S1. The cached pages are gone already (sqlite_files_open); SQLite has read the log from the disk. Before
// anything is acknowledged the log goes into the file, flushed, and what it held is read again.
static int make_ready(struct sqlite_store *s, int64_t log_bytes, int64_t *out_damaged)
{
    bool clean = false;
    int64_t log_number = 0, page_bytes = 0;
    int err = read_store_row(s, &clean, &log_number);
    if (!err && !log_belongs(s, log_number))
        err = ERR_EXISTS;
    if (!err)
        err = read_totals(s);
    int64_t after = s->totals.moved_number; // of the last process; moving the log sets ours
    if (!err) {
        err = move_log(s, SQLITE_CHECKPOINT_TRUNCATE);
        if (err ==
            ERR_BUSY) // somebody reads: all is moved that can be, the rest stays in a log that was read from the disk
            err = 0;
    }
    if (!err && !clean)
        err = check_unclean(s, after, out_damaged);
    if (!err)
        err = sql_exec(&s->sql, "PRAGMA page_size", &page_bytes);
    if (!err) {
        log_bytes = log_bytes ? log_bytes : LOG_BYTES;
        s->log_frames_usual = (int)(log_bytes / page_bytes);
        err = sqlite_files_grow_log(&s->files, log_bytes);
        if (err == ERR_FULL) // no room for the belt; the braces hold
            err = 0;
    }
    if (err)
        return err;
    sqlite3_wal_hook(s->sql.db, on_commit, s);
    err = open_log(s);
    if (err)
        return err;
    err = take_over(s);
    if (!err || err == ERR_FULL) {
        int loaded = sqlite_media_open(s);
        err = loaded ? loaded : err;
    }
    return err == ERR_FULL ? 0 : err ? err : sqlite_flush(&s->store);
}

static const char *open_trouble(struct sqlite_store *s, int err, struct arena *arena)
{
    const char *path = s->files.path, *said = sqlite3_errmsg(s->sql.db);
    switch (err) {
    case ERR_INVALID:
        return arena_printf(arena, "%s is a database of another program", path).p;
    case ERR_REFUSED:
        return arena_printf(arena, "the store %s was made by a newer version (or SQLite would not keep it safe)", path)
            .p;
    case ERR_EXISTS:
        return arena_printf(arena,
                            "%s-wal is the log of another store, or of a later state of this one than %s: put together "
                            "what belongs together, or remove the log to go on without it",
                            path, path)
            .p;
    case ERR_BUSY:
        return arena_printf(arena, "another program is writing to the store %s", path).p;
    case ERR_CORRUPT:
        return arena_printf(arena, "the store %s is damaged (%s); put a backup in its place", path, said).p;
    case ERR_FULL:
        return arena_printf(arena, "no space is left for the store %s", path).p;
    default:
        return arena_printf(arena, "the store %s cannot be opened: %s (%s)", path, err_name(err), said).p;
    }
}

static void tell_damaged(struct sqlite_store *s, int64_t damaged)
{
    if (damaged == 0)
        return;
    struct arena arena = {0};
    tell(s, "store_damaged",
         arena_printf(&arena, "%lld of the last rows written are not what was stored", (long long)damaged));
    arena_done(&arena);
}

struct store *store_sqlite_open(const struct store_options *options, struct arena *arena, const char **why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_sqlite);
    struct sqlite_store *s = mem_new_of(struct sqlite_store);
    s->store.ops = &sqlite_ops;
    s->known = sqlite_known_new();
    s->line.sql = &s->sql;
    s->line.fresh = sqlite_fresh_new(options->fresh_block ? options->fresh_block : SQLITE_FRESH_BLOCK);
    s->sweep.due = true; // of what an earlier process left
    s->finding = options->finding;
    s->finding_arg = options->finding_arg;
    *why = sqlite_files_open(&s->files, options->path, options->force_network_fs, options->ballast_bytes, arena);
    if (*why) {
        sqlite_known_free(s->known);
        sqlite_fresh_free(s->line.fresh);
        free(s);
        return NULL;
    }
    int64_t damaged = 0;
    read_without_log(s);
    int err = open_database(s);
    if (!err)
        err = make_ready(s, options->log_bytes, &damaged);
    if (err) {
        *why = open_trouble(s, err, arena);
        free_store(s);
        return NULL;
    }
    sqlite_files_mark_made(&s->files);
    sqlite_files_remember(&s->files);
    tell_damaged(s, damaged);
    sqlite_files_take_ballast(&s->files);
    return &s->store;
}
