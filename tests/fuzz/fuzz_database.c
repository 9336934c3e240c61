// A damaged store: whatever became of its files, opening it, looking through it, working it off and going on with it ends, and what
// is handed on for delivery is word for word what was accepted under that number. SQLite is the real one.
//
// The input: a byte of settings, then changes: what is done (below), then five bytes that say where and how. They are made to one
// of two stores with messages in all states: one that was closed, and one that was killed, with what it wrote in its log.
// FUZZ: -max_len=100
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/must.h"
#include "fuzz/input.h"
#include "fuzz/sqlite_memory.h"
#include "store/store.h"

enum { FILES = 2, PAGE = 4096, KNOWN_MAX = 200, COLUMNS_MAX = 200, HEADS_MAX = 10, LOG_BYTES = 65536 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

const size_t replay_variants = 4;

// Making a store -------------------------------------------------------------------------------------------

// The database and its log.
struct image {
    char *bytes[FILES];
    size_t size[FILES]; // 0: it is not there
};

struct known {
    int64_t id;
    char text[24];
};

static char directory[64], path[80], log_path[80];
static struct image images[2]; // killed, closed
static struct known known[KNOWN_MAX];
static size_t known_count;
static struct {
    char table[32], name[32];
} columns[COLUMNS_MAX];
static size_t column_count;

static struct store *open_store(void)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store_options options = {.path = path, .log_bytes = LOG_BYTES, .fresh_block = 4};
    struct store *store = store_sqlite_open(&options, &arena, &why);
    must(store || (why && *why));
    arena_done(&arena);
    return store;
}

static int apply(struct store *store, enum store_change_kind kind, void *what)
{
    struct store_change change = {.kind = kind, .accept = what};
    return store->ops->apply(store, &change, 1);
}

// A number that was lost with the log may be given again.
static void remember(int64_t id, struct str text)
{
    size_t i = 0;
    while (i < known_count && known[i].id != id)
        i++;
    must(i < KNOWN_MAX);
    known[i].id = id;
    snprintf(known[i].text, sizeof known[i].text, "%.*s", STR_ARG(text));
    known_count += i == known_count;
}

static int accept_one(struct store *store, int n, const char *attachments, int64_t *out_id)
{
    char key[16], conversation[16], text[24];
    snprintf(key, sizeof key, "k%d", n);
    snprintf(conversation, sizeof conversation, "c%d", n % 5);
    snprintf(text, sizeof text, "text of %d", n);
    struct store_accept accept = {.account_id = 1 + n % 2,
                                  .source_id = 1 + n % 2,
                                  .order = n % 2 ? ORDER_ACCOUNT : ORDER_CONVERSATION,
                                  .received_at_us = 1000000000 + n,
                                  .wait_until_us = attachments ? INT64_C(9000000000000000) : 0,
                                  .event = {.dedupe_key = str_of(key),
                                            .conversation = str_of(conversation),
                                            .sender_id = STR("u1"),
                                            .sender_name = STR("Ann"),
                                            .text = str_of(text),
                                            .attachments = str_of(attachments),
                                            .profile.name = STR("Ann"),
                                            .sent_at_us = 900000000 + n}};
    int err = apply(store, STORE_ACCEPT, &accept);
    if (!err && accept.result == ACCEPT_STORED)
        remember(accept.message_id, str_of(text));
    *out_id = accept.message_id;
    return err;
}

static int settle(struct store *store, int64_t id, enum message_state state, int n)
{
    static const struct link link = {
        .contact = STR("C"), .conversation = STR("D"), .last_part = STR("P"), .note = STR("space=2")};
    struct store_outcome outcome = {.message_id = id,
                                    .state = state,
                                    .reason = state == MESSAGE_SKIPPED     ? REASON_REJECTED
                                              : state == MESSAGE_DISCARDED ? REASON_BY_HAND
                                                                           : REASON_NONE,
                                    .attempts = 1,
                                    .at_us = 2000000000 + n,
                                    .in_doubt = state == MESSAGE_PENDING,
                                    .verdict = "retry",
                                    .last_error = STR("HTTP 500"),
                                    .desk_ref = STR("R"),
                                    .link = n % 3 ? NULL : &link};
    return apply(store, STORE_OUTCOME, &outcome);
}

static void put_account(struct store *store, const char *name)
{
    int64_t source_id = 0;
    struct account *account = account_new();
    account->name = str_of(name);
    account->active = true;
    account->sources = arena_of(&account->arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){.account = account->name,
                                          .name = STR("bot"),
                                          .platform = STR("telegram"),
                                          .token = STR("1:x"),
                                          .secret = STR("s")};
    account->desk = (struct desk){.platform = STR("webhook"), .url = STR("http://desk.example/"), .secret = STR("s")};
    struct store_account_put put = {.account = account, .source_ids = &source_id};
    must(apply(store, STORE_ACCOUNT_PUT, &put) == 0);
    account_unref(account);
}

#define FILE_WANTED_JSON                                                                                               \
    "[{\"kind\":\"image\",\"name\":\"a\",\"size\":5,\"state\":\"wanted\",\"ref\":\"r\"},"                              \
    "{\"kind\":\"file\",\"name\":\"b\",\"size\":-1,\"state\":\"wanted\",\"ref\":\"q\"}]"
#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void keep_file(struct store *store, int64_t id)
{
    struct store_file file = {.message_id = id,
                              .state = FILE_KEPT,
                              .hash = STR(HASH),
                              .mime = STR("image/png"),
                              .size = 5,
                              .at_us = 2000000000};
    must(apply(store, STORE_FILE, &file) == 0 && file.applied);
}

static void say_news(struct store *store)
{
    static const struct str names[] = {STR("D"), STR("E")};
    struct store_news news = {.account_id = 1, .desk_conversations = names, .count = 2, .at_us = 1};
    struct store_desk_health health = {.desk = 7, .skips_in_row = 3, .guard_suspended = true};
    struct store_searched searched = {.account_id = 1, .until_s = 5};
    must(apply(store, STORE_NEWS, &news) == 0);
    must(apply(store, STORE_DESK_HEALTH, &health) == 0);
    must(apply(store, STORE_SEARCHED, &searched) == 0);
}

static void fill(struct store *store, int from, int count)
{
    static const enum message_state states[] = {MESSAGE_PENDING, MESSAGE_DELIVERED, MESSAGE_PENDING,
                                                MESSAGE_SKIPPED, MESSAGE_DISCARDED, MESSAGE_PENDING};
    for (int n = from; n < from + count; n++) {
        int64_t id;
        must(accept_one(store, n, n % 7 == 3 ? FILE_WANTED_JSON : NULL, &id) == 0);
        if (n % 14 == 3)
            keep_file(store, id);
        if (states[n % 6] != MESSAGE_PENDING || n % 4 == 0)
            must(settle(store, id, states[n % 6], n) == 0);
    }
}

static void read_file(const char *name, char **out, size_t *out_size)
{
    struct stat status;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    *out_size = 0;
    if (fd < 0)
        return;
    must(fstat(fd, &status) == 0);
    *out = malloc((size_t)status.st_size + 1);
    must(*out && pread(fd, *out, (size_t)status.st_size, 0) == status.st_size);
    *out_size = (size_t)status.st_size;
    close(fd);
}

static void take_image(struct image *image)
{
    read_file(path, &image->bytes[0], &image->size[0]);
    read_file(log_path, &image->bytes[1], &image->size[1]);
    must(image->size[0] > 0);
}

static int on_column(void *arg, int count, char **values, char **names)
{
    (void)arg, (void)count, (void)names;
    must(column_count < COLUMNS_MAX);
    snprintf(columns[column_count].table, sizeof columns->table, "%s", values[0]);
    snprintf(columns[column_count++].name, sizeof columns->name, "%s", values[1]);
    return 0;
}

static void list_columns(void)
{
    sqlite3 *db;
    must(sqlite3_open(path, &db) == SQLITE_OK);
    must(sqlite3_exec(db,
                      "SELECT m.name, c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table' "
                      "AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, c.cid",
                      on_column, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

static void remove_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal", ".lock", ".ballast"};
    char name[100];
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static void end(void)
{
    remove_files();
    rmdir(directory);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < FILES; k++)
            free(images[i].bytes[k]);
}

static void begin(void)
{
    const char *tmp = getenv("TMPDIR");
    log_set_level(LOG_OFF);
    snprintf(directory, sizeof directory, "%.40s/database-XXXXXX", tmp ? tmp : "/tmp");
    must(mkdtemp(directory) && atexit(end) == 0);
    snprintf(path, sizeof path, "%s/t.db", directory);
    snprintf(log_path, sizeof log_path, "%s/t.db-wal", directory);
    struct store *store = open_store();
    must(store);
    put_account(store, "acme");
    put_account(store, "b-corp");
    fill(store, 0, 40);
    say_news(store);
    store->ops->close(store, false);
    store = open_store();
    must(store);
    fill(store, 40, 20);
    must(store->ops->flush(store) == 0);
    take_image(&images[0]);
    store->ops->close(store, true);
    take_image(&images[1]);
    list_columns();
}

// Damaging it ----------------------------------------------------------------------------------------------

static void write_image(const struct image *image)
{
    remove_files();
    for (int i = 0; i < FILES; i++) {
        if (!image->size[i])
            continue;
        int fd = open(i ? log_path : path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        must(fd >= 0 && pwrite(fd, image->bytes[i], image->size[i], 0) == (ssize_t)image->size[i]);
        close(fd);
    }
}

static sqlite3 *rows; // open while rows are changed, one after another

static void open_rows(void)
{
    if (rows)
        return;
    sqlite3_open(path, &rows); // what cannot be opened cannot be changed: what follows fails, too
    sqlite3_exec(rows, "PRAGMA ignore_check_constraints = 1; PRAGMA synchronous = 0; PRAGMA wal_autocheckpoint = 0",
                 NULL, NULL, NULL);
}

// Its log goes into the file, and stays.
static void close_rows(void)
{
    if (!rows)
        return;
    sqlite3_file_control(rows, "main", SQLITE_FCNTL_PERSIST_WAL, &(int){1});
    must(sqlite3_close(rows) == SQLITE_OK);
    rows = NULL;
}

// The value of a column of one row, behind the back of its checksum.
static void change_row(const unsigned char how[5])
{
    static const char *const values[] = {"NULL",
                                         "0",
                                         "1",
                                         "-1",
                                         "2",
                                         "7",
                                         "9223372036854775807",
                                         "''",
                                         "x'00ff41'",
                                         "'x'",
                                         "1.5",
                                         "zeroblob(20)",
                                         "'[{\"kind\":5}]'",
                                         "rowid",
                                         "-rowid"};
    char sql[300];
    size_t column = how[0] % column_count;
    snprintf(sql, sizeof sql,
             "UPDATE OR IGNORE \"%s\" SET \"%s\" = %s WHERE rowid = (SELECT rowid FROM \"%s\" LIMIT 1 OFFSET %d)",
             columns[column].table, columns[column].name, values[how[1] % (sizeof values / sizeof *values)],
             columns[column].table, how[2] % 64);
    open_rows();
    sqlite3_exec(rows, sql, NULL, NULL, NULL);
}

static void write_at(int fd, const void *bytes, size_t n, size_t at)
{
    must(pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n);
}

static void change_bytes(unsigned what, const unsigned char how[5])
{
    static const char zeros[PAGE];
    char page[PAGE];
    struct stat status;
    int fd = open(what & 8 ? log_path : path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return;
    must(fstat(fd, &status) == 0);
    size_t size = (size_t)status.st_size, pages = size / PAGE;
    size_t at = size ? ((size_t)how[0] << 16 | (size_t)how[1] << 8 | how[2]) % size : 0;
    switch (what % 8) {
    case 0: // some bytes
        write_at(fd, how + 3, 2, at);
        break;
    case 1: // in the head of a page, where SQLite's own numbers are
        write_at(fd, how + 3, 1 + how[3] % 2, pages ? how[0] % pages * PAGE + how[2] % 32 : 0);
        break;
    case 2: // a page of zeros
        write_at(fd, zeros, PAGE, pages ? how[0] % pages * PAGE : 0);
        break;
    case 3: // a page that stands where another one should
        if (pages && pread(fd, page, PAGE, (off_t)(how[0] % pages * PAGE)) == PAGE)
            write_at(fd, page, PAGE, how[1] % pages * PAGE);
        break;
    case 4: // the end is missing
        must(ftruncate(fd, (off_t)at) == 0);
        break;
    case 5: // there is more
        write_at(fd, zeros, PAGE, size);
        break;
    default: // in the first 100 bytes
        write_at(fd, how + 3, 1, how[0] % 100);
        break;
    }
    close(fd);
}

static void damage(struct input *input)
{
    while (input->left.n) {
        unsigned what = input_byte(input);
        unsigned char how[5];
        for (int i = 0; i < 5; i++)
            how[i] = (unsigned char)input_byte(input);
        if (what % 32 != 31 && what % 4 == 3) {
            change_row(how);
            continue;
        }
        close_rows();
        if (what % 32 == 31)
            unlink(what & 32 ? log_path : path);
        else
            change_bytes(what / 4, how);
    }
    close_rows();
}

// A life with it -------------------------------------------------------------------------------------------

static void each_account(void *arg, struct account *account, struct str file_text)
{
    (void)arg, (void)file_text;
    account_unref(account);
}

static void each_health(void *arg, const struct store_desk_health *health)
{
    (void)arg, (void)health;
}

static void each_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    (void)arg, (void)account_id;
    must(desk_conversation.p);
}

static void each_searched(void *arg, const struct store_searched *searched)
{
    (void)arg, (void)searched;
}

static void each_message(void *arg, const struct message *message)
{
    ++*(int *)arg;
    must(message->text.p || !message->text.n);
}

static void each_counts(void *arg, const struct account_counts *counts)
{
    (void)arg, (void)counts;
}

static void each_attempt(void *arg, const struct attempt_record *record)
{
    (void)arg, (void)record;
}

static void each_lane(void *arg, const struct lane_row *row)
{
    (void)arg, (void)row;
}

static void on_finding(void *arg, const struct store_finding *finding)
{
    (void)arg;
    must(finding->text.n > 0);
}

static void look(struct store *store, bool deep)
{
    struct store_reader *reader = store->ops->reader_new(store);
    struct store_totals totals;
    struct store_check check = {.deep = deep, .finding = on_finding};
    struct message_filter filter = {.text = deep ? STR("of") : STR_NONE};
    struct lane_filter lanes = {0};
    int count = 0;
    if (!reader)
        return;
    (void)reader->ops->totals(reader, &totals);
    (void)reader->ops->account_counts(reader, each_counts, NULL);
    (void)reader->ops->messages(reader, &filter, 0, 100, each_message, &count);
    must(count <= 100);
    (void)reader->ops->attempts(reader, 5, each_attempt, NULL);
    (void)reader->ops->lanes(reader, &lanes, 0, 100, each_lane, NULL);
    (void)reader->ops->verify(reader, &check);
    reader->ops->free(reader);
}

static void start(struct store *store)
{
    struct arena arena = {0};
    struct store_wanted wanted = {.limit = 10, .arena = &arena};
    (void)store->ops->each_account(store, each_account, NULL);
    (void)store->ops->each_desk_health(store, each_health, NULL);
    (void)store->ops->each_news(store, each_news, NULL);
    (void)store->ops->each_searched(store, each_searched, NULL);
    if (store->ops->wanted_files(store, &wanted) == 0)
        for (size_t i = 0; i < wanted.count; i++)
            must(wanted.files[i].nth >= 0 && wanted.files[i].nth < FILES_MAX);
    arena_done(&arena);
}

// What would be handed on is what was accepted under that number.
static void check_head(const struct message *message)
{
    for (size_t i = 0; i < known_count && message->reason != REASON_DAMAGED; i++)
        if (known[i].id == message->id)
            must(!message->text.n || str_eq_c(message->text, known[i].text));
}

static int work_off(struct store *store, int64_t lane, int *heads)
{
    struct lane_page page;
    int err = store->ops->load_lane(store, lane, 0, 3, &page);
    if (err)
        return err;
    for (size_t i = 0; i < page.count; i++)
        check_head(page.entries[i].message);
    int64_t place = 0;
    for (size_t i = 0; i < page.count; i++) {
        const struct message *message = page.entries[i].message;
        if (message->reason == REASON_DAMAGED)
            continue;
        must(message->place > place);
        place = message->place;
    }
    bool some = page.count > 0;
    if (some) {
        const struct message *head = page.entries[0].message;
        struct store_outcome outcome = {.message_id = head->id,
                                        .state = head->reason == REASON_DAMAGED ? MESSAGE_SKIPPED : MESSAGE_DELIVERED,
                                        .reason = head->reason == REASON_DAMAGED ? REASON_DAMAGED : REASON_NONE,
                                        .lane = head->reason == REASON_DAMAGED ? lane : 0,
                                        .attempts = 1,
                                        .at_us = INT64_C(3000000000),
                                        .verdict = "delivered",
                                        .desk_ref = STR("R")};
        err = apply(store, STORE_OUTCOME, &outcome);
    }
    lane_page_done(&page);
    if (err || !some || ++*heads > HEADS_MAX)
        return err;
    return work_off(store, lane, heads);
}

static int deliver(struct store *store)
{
    int64_t lanes[20];
    size_t count = 0;
    int heads = 0, err = store->ops->lanes_with_work(store, 0, 0, 20, lanes, &count);
    for (size_t i = 0; !err && i < count; i++)
        err = work_off(store, lanes[i], &heads);
    return err;
}

static int go_on(struct store *store)
{
    struct arena arena = {0};
    struct store_retry retry = {.message_id = 4};
    struct store_files_gone gone = {.limit = 5, .arena = &arena};
    struct store_thread thread = {.account_id = 1, .desk_conversation = STR("D"), .arena = &arena};
    struct store_file file = {.message_id = 11, .nth = 1, .state = FILE_FAILED, .why = STR("gone"), .at_us = 3};
    struct str *refs;
    size_t count;
    int64_t id;
    bool more;
    int err = accept_one(store, 100, NULL, &id);
    if (!err)
        err = accept_one(store, 5, NULL, &id); // stored before
    if (!err)
        err = apply(store, STORE_RETRY, &retry);
    if (!err)
        err = apply(store, STORE_FILE, &file);
    if (!err)
        err = apply(store, STORE_THREAD, &thread);
    if (!err)
        err = apply(store, STORE_FILES_GONE, &gone);
    if (!err)
        err = store->ops->load_refs(store, 1, 900, &arena, &refs, &count);
    if (!err)
        err = store->ops->age_out(store, INT64_C(2500000000), INT64_C(2400000000), &more);
    if (!err)
        err = store->ops->checkpoint(store, false);
    arena_done(&arena);
    return err;
}

// Settings: 1 the closed store, 2 deep looks, 4 closed well, 8 opened once more, 16 looked at first, 32 looked at last,
// 64 only looked at and worked off.
static void live(unsigned settings)
{
    struct store *store = open_store();
    if (!store)
        return;
    if (!(settings & 64))
        start(store);
    if (settings & 16)
        look(store, settings & 2);
    int err = deliver(store);
    if (!err && !(settings & 64))
        err = go_on(store);
    if (!err && settings & 32)
        err = deliver(store);
    if (!err)
        err = store->ops->flush(store);
    if (!err && settings & 32)
        look(store, settings & 2);
    store->ops->close(store, settings & 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct known before[KNOWN_MAX];
    static size_t before_count;
    if (!column_count) {
        if (sqlite_memory_begin)
            sqlite_memory_begin();
        begin();
        memcpy(before, known, sizeof known);
        before_count = known_count;
    }
    if (sqlite_memory_renew)
        sqlite_memory_renew();
    memcpy(known, before, sizeof known);
    known_count = before_count;
    struct input input = input_of(data, size);
    unsigned settings = input_byte(&input);
    write_image(&images[settings & 1]);
    damage(&input);
    live(settings);
    if (settings & 8)
        live(settings);
    return 0;
}
