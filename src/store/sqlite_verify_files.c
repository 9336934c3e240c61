// verify: files of messages, and customers' pictures. Rows against each other, and against the files beside the store, which come before their row and go
// after it: what a row says is there must be there; what no row names may be on its way, either way.
#include "store/sqlite_verify.h"

#include "base/mem.h"
#include "base/must.h"
#include "store/media_files.h"
#include "store/sqlite.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

// Rows that name kept files: "file 0 of message 7".
struct holders {
    enum sql_statement page, still_kept;
    bool of_messages;
    const char *table, *what, *whose, *advice_damaged;
};

static const struct holders of_messages = {
    .page = SQL_CHECK_FILES,
    .still_kept = SQL_FILE_IS_KEPT,
    .of_messages = true,
    .table = "files",
    .what = "file",
    .whose = "message",
    .advice_damaged = "it is not fetched any more, nor told of; nothing else rests on it",
};
static const struct holders of_customers = {
    .page = SQL_CHECK_AVATARS,
    .still_kept = SQL_AVATAR_IS_KEPT,
    .table = "avatars",
    .what = "picture",
    .whose = "the customer of conversation",
    .advice_damaged = "it is made anew when the customer writes; nothing else rests on it",
};

struct kept {
    int64_t message_id, nth, size; // of a picture the conversation, and 0
    char hash[FILE_HASH_SIZE + 1];
};

struct file_page {
    const struct holders *holders;
    struct kept kept[VERIFY_PAGE_ROWS];
    size_t count;
    int64_t message_id, nth; // the last one seen
};

static const char advice_kept[] =
    "it cannot be shown or sent any more; put the file back from a backup of the directory beside the store";

static int64_t message_of(const struct holders *holders, int64_t id)
{
    return holders->of_messages ? id : 0;
}

static void find_damaged(struct check *check, const struct file_page *page)
{
    const struct holders *holders = page->holders;
    check->asked->damaged++;
    verify_find(check, FINDING_DAMAGED, message_of(holders, page->message_id), holders->advice_damaged,
                "%s %lld of %s %lld is not what was stored", holders->what, (long long)page->nth, holders->whose,
                (long long)page->message_id);
}

static void take_row(struct check *check, sqlite3_stmt *q, struct file_page *page)
{
    page->message_id = sql_column_int(q, 0);
    page->nth = sql_column_int(q, 1);
    check->asked->files++;
    if (!sql_column_int(q, 4)) {
        find_damaged(check, page);
        return;
    }
    if (!sql_column_int(q, 5))
        verify_find(check, FINDING_SUM, message_of(page->holders, page->message_id), "nothing rests on it",
                    "%s %lld is of %s %lld, which is not there", page->holders->what, (long long)page->nth,
                    page->holders->whose, (long long)page->message_id);
    struct str hash = sql_column_str(q, 3);
    if (hash.n != FILE_HASH_SIZE)
        return;
    struct kept *kept = &page->kept[page->count++];
    *kept = (struct kept){.message_id = page->message_id, .nth = page->nth, .size = sql_column_int(q, 2)};
    memcpy(kept->hash, hash.p, hash.n);
}

static int read_page(struct check *check, struct file_page *page, bool *out_more)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, page->holders->page);
    sql_int(q, 1, page->message_id);
    sql_int(q, 2, VERIFY_PAGE_ROWS);
    sql_int(q, 3, page->nth);
    page->count = 0;
    *out_more = false;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        take_row(check, q, page);
        *out_more = true;
    }
    return sql_end(sql, q, code);
}

// It may have aged out since the page was read, and its bytes with it.
static int is_still_kept(struct check *check, const struct holders *holders, const struct kept *kept, bool *out)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, holders->still_kept);
    sql_int(q, 1, kept->message_id);
    sql_int(q, 2, kept->nth);
    sql_str(q, 3, str_of(kept->hash));
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW;
    return sql_end(sql, q, code);
}

static int find_missing(struct check *check, const struct holders *holders, const struct kept *kept, const char *how)
{
    bool kept_still;
    int err = is_still_kept(check, holders, kept, &kept_still);
    if (!err && kept_still)
        verify_find(check, FINDING_FILE, message_of(holders, kept->message_id), advice_kept,
                    "%s %lld of %s %lld, %s, %s", holders->what, (long long)kept->nth, holders->whose,
                    (long long)kept->message_id, kept->hash, how);
    return err;
}

static void write_hex(const unsigned char *bytes, unsigned count, char *out)
{
    for (unsigned i = 0; i < count; i++)
        snprintf(out + 2 * (size_t)i, 3, "%02x", bytes[i]);
}

enum { READ_BYTES = 1 << 16 };

// Whether the bytes have that hash. ERR_NOT_FOUND, ERR_IO.
static int has_hash(struct check *check, struct str hash, char *room, bool *out)
{
    struct media_files *media = check->asked->media;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    char text[2 * EVP_MAX_MD_SIZE + 1] = "";
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool well = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    int64_t offset = 0, n = 1;
    int err = 0;
    while (well && !err && n > 0) {
        n = media->ops->read(media, hash, offset, room, READ_BYTES);
        well = n <= 0 || EVP_DigestUpdate(context, room, (size_t)n) == 1;
        offset += n;
        err = sqlite_reader_over_time(check->reader);
    }
    well = well && EVP_DigestFinal_ex(context, digest, &size) == 1;
    EVP_MD_CTX_free(context);
    if (!well)
        return ERR_NOMEM;
    write_hex(digest, size, text);
    *out = n == 0 && str_eq_c(hash, text);
    return n < 0 ? (int)n : err;
}

static int check_bytes(struct check *check, const struct holders *holders, const struct kept *kept)
{
    char *room = mem_new(READ_BYTES);
    bool same = false;
    int err = has_hash(check, str_of(kept->hash), room, &same);
    free(room);
    if (err == ERR_IO || err == ERR_NOT_FOUND)
        return find_missing(check, holders, kept, "cannot be read");
    return err || same ? err : find_missing(check, holders, kept, "is not what was kept");
}

static int check_kept(struct check *check, const struct holders *holders, const struct kept *kept)
{
    struct media_files *media = check->asked->media;
    int64_t size = media->ops->find(media, str_of(kept->hash));
    if (size < 0)
        return find_missing(check, holders, kept, "is not there");
    if (size != kept->size)
        return find_missing(check, holders, kept, "has another size than it had");
    return check->asked->deep ? check_bytes(check, holders, kept) : 0;
}

static int check_rows(struct check *check, const struct holders *holders)
{
    struct file_page *page = mem_new_of(struct file_page);
    bool more = true;
    int err = 0;
    page->holders = holders;
    page->nth = -1;
    while (!err && more) {
        int64_t message_before = page->message_id, nth_before = page->nth;
        err = read_page(check, page, &more);
        bool is_behind = page->message_id > message_before ||
                         (page->message_id == message_before && page->nth > nth_before);
        more = !err && verify_goes_on(check, holders->table, more, is_behind);
        for (size_t i = 0; i < page->count && !err && check->asked->media; i++) {
            err = check_kept(check, holders, &page->kept[i]);
            if (!err)
                err = sqlite_reader_over_time(check->reader);
        }
        verify_tell_progress(check, "files", check->asked->files, 0);
        if (!err)
            err = sqlite_reader_over_time(check->reader);
    }
    free(page);
    return err;
}

// ---- a message's list and its rows

struct file_said {
    bool there, whole;
    int64_t state;
    struct str hash;
};

static int read_said(struct check *check, int64_t message_id, struct arena *arena, struct file_said out[FILES_MAX])
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_FILES_OF);
    sql_int(q, 1, message_id);
    sql_int(q, 2, FILES_MAX);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        int64_t nth = sql_column_int(q, 0);
        if (nth >= 0 && nth < FILES_MAX)
            out[nth] = (struct file_said){.there = true,
                                          .state = sql_column_int(q, 1),
                                          .hash = arena_str(arena, sql_column_str(q, 2)),
                                          .whole = sql_column_int(q, 3) != 0};
    }
    return sql_end(sql, q, code);
}

// What was never wanted has no row. A damaged one is named where rows are looked at.
static bool say_the_same(const struct attachment *file, const struct file_said *row)
{
    if (!row->there)
        return file->state != FILE_WANTED && file->state != FILE_KEPT;
    return !row->whole ||
           (row->state == (int64_t)file->state && (file->state != FILE_KEPT || str_eq(row->hash, file->hash)));
}

static const char *words_of(int64_t state)
{
    return state == FILE_WANTED   ? "wanted"
           : state == FILE_KEPT   ? "kept"
           : state == FILE_FAILED ? "failed"
                                  : "not to be fetched";
}

static void find_contradiction(struct check *check, const struct message *m, size_t nth, const struct attachment *file,
                               const struct file_said *row)
{
    const char *by_row = row->there ? words_of(row->state) : "not there";
    bool other_bytes = row->there && row->state == FILE_KEPT && file->state == FILE_KEPT;
    verify_find(check, FINDING_SUM, m->id,
                "tell the makers, with the log of the relay: this must not happen; no text waits for a file for long",
                "file %zu of message %lld is %s by the message, %s by its row", nth, (long long)m->id,
                words_of(file->state), other_bytes ? "kept with other bytes" : by_row);
}

// Whose wanted files nobody fetches any more: their rows went with it.
static int is_of_nobody(struct check *check, const struct message *m, bool *out)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_IS_GONE);
    sql_int(q, 1, m->account_id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW && sql_column_int(q, 0);
    return sql_end(sql, q, code);
}

static int look_at_file(struct check *check, const struct message *m, size_t nth, const struct attachment *file,
                        const struct file_said *row)
{
    bool of_nobody = false;
    int err = 0;
    if (say_the_same(file, row))
        return 0;
    if (!row->there && file->state == FILE_WANTED)
        err = is_of_nobody(check, m, &of_nobody);
    if (!err && !of_nobody)
        find_contradiction(check, m, nth, file, row);
    return err;
}

int verify_files_of(struct check *check, const struct message *m)
{
    if (!m->attachments.p || m->state == MESSAGE_DISCARDED) // whose wanted ones are nobody's business any more
        return 0;
    struct arena arena = {0};
    struct file_said said[FILES_MAX] = {{0}};
    const struct attachment none = {.state = FILE_ELSEWHERE};
    struct attachment *files;
    size_t count = attachments_read(m->attachments, &arena, &files);
    int err = read_said(check, m->id, &arena, said);
    for (size_t i = 0; i < FILES_MAX && !err; i++)
        err = look_at_file(check, m, i, i < count ? &files[i] : &none, &said[i]);
    arena_done(&arena);
    return err == ERR_CORRUPT ? 0 : err; // named when all rows of files are looked at, after what else there is to see
}

// ---- files beside the store

struct strays {
    struct check *check;
    int err;
    int64_t count, bytes;
};

static void look_for_row(void *arg, struct str hash, int64_t size)
{
    struct strays *strays = arg;
    struct sql *sql = &strays->check->reader->sql;
    if (strays->err)
        return;
    sqlite3_stmt *q = sql_get(sql, SQL_HASH_IS_KNOWN);
    sql_str(q, 1, hash);
    int code = sqlite3_step(q);
    strays->count += code == SQLITE_DONE;
    strays->bytes += code == SQLITE_DONE ? size : 0;
    strays->err = sql_end(sql, q, code);
    if (!strays->err)
        strays->err = sqlite_reader_over_time(strays->check->reader);
}

// One that was kept a moment ago gets its row next; a crash between leaves it.
static int check_strays(struct check *check)
{
    struct media_files *media = check->asked->media;
    struct strays strays = {.check = check};
    int err = media ? media_files_each(media, look_for_row, &strays) : 0;
    if (err == ERR_IO)
        verify_find(check, FINDING_FILE, 0, "look after the disk, and the rights of the directory",
                    "the directory of files cannot be read");
    if (strays.count)
        verify_find(check, FINDING_NOTE, 0, "",
                    "%lld files (%lld bytes) are of no message: they just came, or a crash left them",
                    (long long)strays.count, (long long)strays.bytes);
    return strays.err;
}

// ---- what is counted, and albums

static int check_account_bytes(struct check *check)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_FILE_BYTES);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW)
        verify_find(check, FINDING_SUM, 0,
                    "only its bound on bytes of files rests on it; a count that is damaged is made anew",
                    "account %lld has %lld bytes of files by its count, %lld by the rows%s",
                    (long long)sql_column_int(q, 0), (long long)sql_column_int(q, 1), (long long)sql_column_int(q, 2),
                    sql_column_int(q, 3) ? "" : ", and the count is not what was stored");
    return sql_end(sql, q, code);
}

static int check_albums(struct check *check)
{
    struct sql *sql = &check->reader->sql;
    sqlite3_stmt *q = sql_get(sql, SQL_CHECK_ALBUMS);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        check->asked->damaged++;
        verify_find(check, FINDING_DAMAGED, sql_column_int(q, 0), "further parts of it become messages of their own",
                    "the album of message %lld is not what was stored", (long long)sql_column_int(q, 0));
    }
    return sql_end(sql, q, code);
}

int verify_files(struct check *check)
{
    int err = check_rows(check, &of_messages);
    if (!err)
        err = check_rows(check, &of_customers);
    if (!err)
        err = check_account_bytes(check);
    if (!err)
        err = check_albums(check);
    return err ? err : check_strays(check);
}
