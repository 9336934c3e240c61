// RELIABILITY.md section 6, items 55 to 63, as far as they are the store's: files that are damaged, mixed up, moved away or held by
// somebody else. What is damaged is found or harmless, never handed out as if it were right. docs/hostile-inputs.md has the list.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/sqlite.h"
#include "support/fault_vfs.h"
#include "support/store_kit.h"

// The sanitizers' builds are many times slower and look at every fourth place.
enum { MESSAGES = 40, PAGE = 8192, STEP = TRIBUTARY_CHECKS ? 4 : 1 };

// ---- files

static const char *const suffixes[] = {"", "-wal", "-shm", ".lock", ".ballast"};

static void name_of(const char *path, const char *suffix, char out[512])
{
    snprintf(out, 512, "%s%s", path, suffix);
}

static char *fresh_path(void)
{
    static int n;
    char name[32];
    snprintf(name, sizeof name, "hostile%d", n++);
    return kit_store_path(name);
}

static char *read_file(const char *path, const char *suffix, size_t *out_size)
{
    char name[512];
    struct stat st;
    name_of(path, suffix, name);
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char *bytes = malloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
    close(fd);
    *out_size = (size_t)st.st_size;
    return bytes;
}

static void write_file(const char *path, const char *suffix, const char *bytes, size_t size)
{
    char name[512];
    name_of(path, suffix, name);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

static void rename_file(const char *path, const char *suffix, const char *to)
{
    char from[512], there[512];
    name_of(path, suffix, from);
    name_of(path, to, there);
    assert_int_equal(rename(from, there), 0);
}

// What the store said by its `finding`.
static struct {
    int damaged, moved, log_long, log_long_over;
} said;

static void on_finding(void *arg, const char *name, struct str sentence)
{
    (void)arg;
    said.damaged += strcmp(name, "store_damaged") == 0;
    said.moved += strcmp(name, "store_moved") == 0;
    said.log_long += strcmp(name, "store_log_long") == 0 && sentence.p;
    said.log_long_over += strcmp(name, "store_log_long") == 0 && !sentence.p;
}

// NULL and the sentence, or the store.
static struct store *try_open(const char *path, char out_why[512])
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store_options options = {.path = path, .log_bytes = 65536, .finding = on_finding};
    struct store *store = store_sqlite_open(&options, &arena, &why);
    snprintf(out_why, 512, "%s", why ? why : "");
    arena_done(&arena);
    assert_true(store ? !*out_why : *out_why != 0);
    return store;
}

static struct store *must_open(const char *path)
{
    char why[512];
    struct store *store = try_open(path, why);
    if (!store)
        print_message("# %s\n", why);
    assert_non_null(store);
    return store;
}

static void refuse(const char *path, const char *word)
{
    char why[512];
    struct store *store = try_open(path, why);
    assert_null(store);
    if (!strstr(why, word))
        print_message("# %s\n", why);
    assert_non_null(strstr(why, word));
}

// ---- a store whose content is known

static struct {
    int64_t lane;
    char text[64];
    bool pending;
} known[2 * MESSAGES + 1]; // by id

static void text_for(int i, char out[64])
{
    snprintf(out, 64, "text %d of the known store, some words longer", i);
}

static int accept_known(struct store *store, int i)
{
    char key[16], text[64];
    snprintf(key, sizeof key, "k%d", i);
    text_for(i, text);
    struct store_accept accept = kit_accept(key, i % 3 ? "c" : "d");
    accept.order = i % 2 ? ORDER_ACCOUNT : ORDER_CONVERSATION;
    accept.event.text = str_of(text);
    int err = kit_apply(store, STORE_ACCEPT, &accept);
    if (!err) {
        assert_in_range(accept.message_id, 1, 2 * MESSAGES);
        known[accept.message_id].lane = accept.lane;
        known[accept.message_id].pending = true;
        snprintf(known[accept.message_id].text, 64, "%s", text);
        if (i % 5 == 0) {
            known[accept.message_id].pending = false;
            assert_true(kit_settle(store, accept.message_id, MESSAGE_DELIVERED));
        }
    }
    return err;
}

static void make_known(const char *path, bool clean)
{
    memset(known, 0, sizeof known);
    struct store *store = must_open(path);
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(accept_known(store, i), 0);
    store->ops->close(store, clean);
}

// Its log was begun anew several times since the start.
static void make_worn(const char *path)
{
    memset(known, 0, sizeof known);
    struct store *store = must_open(path);
    for (int i = 0; i < MESSAGES; i++) {
        assert_int_equal(accept_known(store, i), 0);
        int code = sqlite3_wal_checkpoint_v2(sqlite_of(store)->sql.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        assert_int_equal(code, SQLITE_OK);
        sqlite_of(store)->log_is_moved = true; // as sqlite.c's own checkpoint notes
    }
    store->ops->close(store, false);
}

static int count_known(void)
{
    int n = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        n += known[i].pending;
    return n;
}

// Whatever is handed out unmarked is what was stored, in its place; *out_good counts it.
static int check_lane(struct store *store, int64_t lane, int *out_good)
{
    struct lane_page page;
    int64_t last = 0, after = 0;
    int err = 0;
    for (bool more = true; more;) {
        err = store->ops->load_lane(store, lane, after, 10, &page);
        if (err)
            return err;
        for (size_t i = 0; i < page.count; i++) {
            const struct message *m = page.entries[i].message;
            after = m->place;
            if (m->reason == REASON_DAMAGED)
                continue;
            assert_in_range(m->id, 1, 2 * MESSAGES);
            assert_true(known[m->id].lane == lane && str_eq_c(m->text, known[m->id].text));
            assert_true(m->id > last);
            last = m->id;
            ++*out_good;
        }
        more = page.more && page.count;
        lane_page_done(&page);
    }
    return 0;
}

static void count_bad(void *arg, const struct store_finding *finding)
{
    int *bad = arg; // the order is not kept here
    *bad += finding->kind != FINDING_ORDER && finding->kind != FINDING_NOTE;
}

static bool passes_verify(struct store *store)
{
    int bad = 0;
    struct store_check check = {.deep = true, .finding = count_bad, .arg = &bad};
    struct store_reader *reader = store->ops->reader_new(store);
    if (!reader)
        return false;
    int err = reader->ops->verify(reader, &check);
    reader->ops->free(reader);
    return !err && !bad;
}

enum outcome { REFUSED, FOUND, UNHARMED };

// A store that may be damaged: refused at the start, or found by looking, or as good as it was.
static enum outcome judge(const char *path)
{
    char why[512];
    struct store *store = try_open(path, why);
    if (!store)
        return REFUSED;
    int64_t lanes[64] = {0};
    size_t count = 0;
    int good = 0;
    int err = store->ops->lanes_with_work(store, 0, 0, 64, lanes, &count);
    for (size_t i = 0; i < count && !err; i++)
        err = check_lane(store, lanes[i], &good);
    bool is_well = !err && passes_verify(store);
    assert_true(!is_well || good == count_known());
    store->ops->close(store, false);
    return is_well ? UNHARMED : FOUND;
}

static void tell(const char *what, const int counts[3])
{
    print_message("# %s: %d refused at the start, %d found, %d unharmed\n", what, counts[REFUSED], counts[FOUND],
                  counts[UNHARMED]);
}

// ---- item 61: damage

static uint64_t chance = 88172645463325252ULL;

static size_t draw(size_t below)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (size_t)(chance % below);
}

// Bits of one file flipped, hundreds of times; everything else as it was.
static void flip(const char *suffix, bool clean, size_t from, size_t part, int times)
{
    char *path = fresh_path();
    int counts[3] = {0};
    size_t sizes[2], size = 0;
    make_known(path, clean);
    char *files[2] = {read_file(path, "", &sizes[0]), read_file(path, "-wal", &sizes[1])};
    for (int n = 0; n < times; n += STEP) {
        kit_remove(path);
        write_file(path, "", files[0], sizes[0]);
        write_file(path, "-wal", files[1], sizes[1]);
        char *bytes = read_file(path, suffix, &size);
        for (size_t bits = 1 + draw(3), i = 0; i < bits; i++)
            bytes[from + draw((part ? part : size) - from)] ^= (char)(1 << draw(8));
        write_file(path, suffix, bytes, size);
        free(bytes);
        counts[judge(path)]++;
    }
    tell(*suffix ? "flips in the log" : "flips in the file", counts);
    assert_true(counts[REFUSED] + counts[FOUND] > 0);
    kit_remove(path);
    free(files[0]);
    free(files[1]);
    free(path);
}

static void test_item_61_flipped_bits_in_the_file_are_found_or_harmless(void **state)
{
    (void)state;
    flip("", true, 0, 0, 400);
    flip("", true, 0, 100, 60); // the header of the file
}

static void test_item_61_page_of_zeros_is_found(void **state)
{
    (void)state;
    char *path = fresh_path(), *zeros = calloc(1, PAGE);
    int counts[3] = {0};
    size_t size = 0;
    make_known(path, true);
    kit_change(path, "VACUUM"); // a free page may be zeros
    char *file = read_file(path, "", &size);
    for (size_t at = 0; at < size; at += PAGE) {
        kit_remove(path);
        char *bytes = memcpy(malloc(size), file, size);
        memcpy(bytes + at, zeros, PAGE);
        write_file(path, "", bytes, size);
        free(bytes);
        counts[judge(path)]++;
    }
    tell("pages of zeros", counts);
    assert_int_equal(counts[UNHARMED], 0);
    free(file);
    free(zeros);
    free(path);
}

// The log's own checksums end it where it is damaged: what it has left is whole transactions.
static void test_item_61_flipped_bits_in_the_log_leave_whole_transactions(void **state)
{
    (void)state;
    char *path = fresh_path();
    size_t sizes[2];
    make_known(path, false);
    char *files[2] = {read_file(path, "", &sizes[0]), read_file(path, "-wal", &sizes[1])};
    for (int n = 0; n < 200; n += STEP) {
        kit_remove(path);
        write_file(path, "", files[0], sizes[0]);
        char *bytes = memcpy(malloc(sizes[1]), files[1], sizes[1]);
        bytes[draw(sizes[1])] ^= (char)(1 << draw(8));
        write_file(path, "-wal", bytes, sizes[1]);
        free(bytes);
        struct store *store = must_open(path);
        int64_t accepted = kit_totals(store).accepted;
        assert_true(accepted <= MESSAGES && passes_verify(store));
        int64_t lanes[64] = {0};
        size_t count = 0;
        int good = 0;
        assert_int_equal(store->ops->lanes_with_work(store, 0, 0, 64, lanes, &count), 0);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(check_lane(store, lanes[i], &good), 0);
        store->ops->close(store, false);
    }
    kit_remove(path);
    free(files[0]);
    free(files[1]);
    free(path);
}

static void test_item_61_log_of_another_store_is_refused_and_put_right(void **state)
{
    (void)state;
    char *mine = fresh_path(), *other = fresh_path();
    size_t size = 0;
    make_worn(other);
    rename_file(other, "-wal", "-theirs");
    make_worn(mine);
    rename_file(mine, "-wal", "-mine");
    char *theirs = read_file(other, "-theirs", &size);
    write_file(mine, "-wal", theirs, size);
    free(theirs);
    refuse(mine, "the log of another store");
    rename_file(mine, "-mine", "-wal");
    assert_int_equal(judge(mine), UNHARMED);
    free(mine);
    free(other);
}

static void test_item_61_log_without_its_store_is_kept_and_refused(void **state)
{
    (void)state;
    char *path = fresh_path(), name[512];
    make_known(path, false);
    rename_file(path, "", ".away");
    refuse(path, "put the store back");
    name_of(path, "", name);
    write_file(path, "", "", 0); // an empty file is no store either
    refuse(path, "put the store back");
    rename_file(path, ".away", "");
    assert_int_equal(judge(path), UNHARMED);
    free(path);
}

// After an orderly end no log is left that could tell.
static void test_item_61_store_that_was_emptied_or_lost_is_no_new_one(void **state)
{
    (void)state;
    char *path = fresh_path();
    size_t size = 0;
    make_known(path, true);
    char *bytes = read_file(path, "", &size);
    write_file(path, "", "", 0);
    refuse(path, "is empty and was not");
    refuse(path, "is empty and was not"); // the refusal left the mark
    rename_file(path, "", ".away");
    refuse(path, "is empty and was not");
    write_file(path, "", bytes, size);
    assert_int_equal(judge(path), UNHARMED);
    kit_remove(path); // with the lock, which is how one begins with nothing
    char why[512];
    struct store *store = try_open(path, why);
    assert_non_null(store);
    assert_int_equal(kit_totals(store).accepted, 0);
    store->ops->close(store, true);
    free(bytes);
    free(path);
}

// A first start that was killed before there was anything.
static void test_item_61_store_that_was_never_made_is_a_new_one(void **state)
{
    (void)state;
    char *path = fresh_path(), why[512];
    write_file(path, ".lock", "12345\n", 6);
    write_file(path, "", "", 0);
    struct store *store = try_open(path, why);
    assert_non_null(store);
    store->ops->close(store, true);
    free(path);
}

// A backup of yesterday under the log of today.
static void test_item_61_older_copy_under_a_newer_log_is_refused(void **state)
{
    (void)state;
    char *path = fresh_path();
    size_t size = 0;
    make_known(path, true);
    char *old = read_file(path, "", &size);
    struct store *store = must_open(path);
    for (int i = MESSAGES; i < 2 * MESSAGES; i++)
        assert_int_equal(accept_known(store, i), 0);
    struct sqlite_store *s = sqlite_of(store);
    assert_int_equal(sqlite3_wal_checkpoint_v2(s->sql.db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL), SQLITE_OK);
    s->log_is_moved = true; // as sqlite.c's own checkpoint notes
    struct store_mark mark = {2 * MESSAGES, true};
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), 0);
    store->ops->close(store, false);
    size_t new_size = 0;
    char *new = read_file(path, "", &new_size);
    write_file(path, "", old, size);
    refuse(path, "a later state of this one");
    write_file(path, "", new, new_size);
    assert_int_equal(judge(path), UNHARMED);
    free(new);
    free(old);
    free(path);
}

static void test_item_61_index_of_the_log_is_made_anew_at_the_start(void **state)
{
    (void)state;
    char *path = fresh_path(), junk[32768];
    make_known(path, false);
    memset(junk, 'x', sizeof junk);
    write_file(path, "-shm", junk, sizeof junk);
    assert_int_equal(judge(path), UNHARMED);
    free(path);
}

// ---- items 61 and 63: files that are taken away from under a running store

static void take_away(const char *suffix, bool put_back_copy)
{
    char *path = fresh_path();
    size_t size = 0;
    memset(known, 0, sizeof known);
    struct store *store = must_open(path);
    for (int i = 0; i < 3; i++)
        assert_int_equal(accept_known(store, i), 0);
    said.moved = 0;
    char *copy = read_file(path, suffix, &size);
    rename_file(path, suffix, ".away");
    if (put_back_copy)
        write_file(path, suffix, copy, size);
    assert_int_equal(accept_known(store, 3), ERR_IO); // nobody is told that this one is kept
    assert_int_equal(said.moved, 1);
    assert_int_equal(accept_known(store, 4), ERR_IO);
    store->ops->close(store, true);
    rename_file(path, ".away", suffix);
    store = must_open(path);
    assert_true(kit_totals(store).accepted >= 3);
    assert_true(passes_verify(store));
    store->ops->close(store, true);
    kit_remove(path);
    free(copy);
    free(path);
}

static void test_item_61_index_of_the_log_removed_live_is_noticed(void **state)
{
    (void)state;
    take_away("-shm", false);
}

static void test_item_61_log_removed_live_is_noticed(void **state)
{
    (void)state;
    take_away("-wal", false);
    take_away("-wal", true);
}

static void test_item_63_store_moved_or_replaced_while_open_is_noticed(void **state)
{
    (void)state;
    take_away("", false);
    take_away("", true);
}

// ---- item 62: others at the same file

static sqlite3 *open_foreign(const char *path)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    return db;
}

static void run_foreign(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &error);
    if (code != SQLITE_OK)
        print_message("# %s: %s\n", sql, error);
    assert_int_equal(code, SQLITE_OK);
}

static void *hurry_soon(void *arg)
{
    struct store *store = arg;
    sqlite3_sleep(100);
    store->ops->hurry(store);
    return NULL;
}

static void test_item_62_foreign_writer_is_busy_and_not_waited_for_at_the_end(void **state)
{
    (void)state;
    char *path = fresh_path();
    memset(known, 0, sizeof known);
    struct store *store = must_open(path);
    assert_int_equal(accept_known(store, 1), 0);
    sqlite3 *foreign = open_foreign(path);
    run_foreign(foreign, "BEGIN IMMEDIATE");
    pthread_t thread;
    int64_t began = clock_mono_us(&clock_system);
    assert_int_equal(pthread_create(&thread, NULL, hurry_soon, store), 0);
    assert_int_equal(accept_known(store, 2), ERR_BUSY);
    assert_int_equal(accept_known(store, 2), ERR_BUSY);
    assert_true(clock_mono_us(&clock_system) - began < 3 * 1000000);
    pthread_join(thread, NULL);
    run_foreign(foreign, "ROLLBACK");
    assert_int_equal(accept_known(store, 2), 0);
    assert_true(passes_verify(store));
    sqlite3_close(foreign);
    store->ops->close(store, true);
    free(path);
}

static void test_item_62_operator_vacuums_checkpoints_and_analyzes(void **state)
{
    (void)state;
    static const char *const orders[] = {"VACUUM",  "PRAGMA wal_checkpoint(TRUNCATE)", "ANALYZE",
                                         "REINDEX", "PRAGMA wal_checkpoint(FULL)",     "PRAGMA optimize"};
    char *path = fresh_path();
    memset(known, 0, sizeof known);
    struct store *store = must_open(path);
    for (int i = 0; i < MESSAGES; i++) {
        assert_int_equal(accept_known(store, i), 0);
        if (i % 6)
            continue;
        sqlite3 *foreign = open_foreign(path);
        run_foreign(foreign, orders[i / 6 % 6]);
        sqlite3_close(foreign);
        assert_int_equal(store->ops->checkpoint(store, false), 0);
    }
    assert_int_equal(kit_totals(store).accepted, MESSAGES);
    assert_true(passes_verify(store));
    store->ops->close(store, false);
    assert_int_equal(judge(path), UNHARMED);
    free(path);
}

// SQLite's own way to make a copy, and the plain one of file and log while nobody writes.
static void test_item_62_backup_of_a_running_store_is_whole(void **state)
{
    (void)state;
    char *path = fresh_path(), *copy = fresh_path(), *plain = fresh_path(), sql[600];
    memset(known, 0, sizeof known);
    struct store *store = must_open(path);
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(accept_known(store, i), 0);
    sqlite3 *foreign = open_foreign(path);
    snprintf(sql, sizeof sql, "VACUUM INTO '%s'", copy);
    run_foreign(foreign, sql);
    sqlite3_close(foreign);
    for (size_t i = 0; i < 2; i++) {
        size_t size = 0;
        char *bytes = read_file(path, suffixes[i], &size);
        write_file(plain, suffixes[i], bytes, size);
        free(bytes);
    }
    assert_int_equal(judge(copy), UNHARMED);
    assert_int_equal(judge(plain), UNHARMED);
    store->ops->close(store, true);
    free(path);
    free(copy);
    free(plain);
}

static int accept_large(struct store *store, int i)
{
    static char text[100000];
    char key[16];
    snprintf(key, sizeof key, "large%d", i);
    memset(text, 'x', sizeof text);
    struct store_accept accept = kit_accept(key, "c");
    accept.event.text = (struct str){text, sizeof text};
    return kit_apply(store, STORE_ACCEPT, &accept);
}

static int64_t log_bytes(const char *path)
{
    return sqlite_files_log_bytes(path);
}

// S4: it cannot be kept from growing then, but it is said, and the log is used anew once the reader has gone.
static void test_item_62_reader_that_stays_makes_the_log_grow_and_that_is_said(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = must_open(path);
    memset(&said, 0, sizeof said);
    assert_int_equal(accept_large(store, 0), 0);
    sqlite3 *foreign = open_foreign(path);
    run_foreign(foreign, "BEGIN; SELECT count(*) FROM messages");
    for (int i = 1; i <= 60; i++) {
        assert_int_equal(accept_large(store, i), 0);
        assert_int_equal(store->ops->checkpoint(store, false), 0);
    }
    int64_t grown = log_bytes(path);
    assert_true(grown > 4 << 20);
    assert_int_equal(said.log_long, 1);
    assert_int_equal(said.log_long_over, 0);
    run_foreign(foreign, "COMMIT");
    for (int i = 61; i <= 160; i++) {
        assert_int_equal(accept_large(store, i), 0);
        assert_int_equal(store->ops->checkpoint(store, false), 0);
    }
    assert_int_equal(said.log_long_over, 1);
    assert_true(log_bytes(path) < grown + (4 << 20)); // written from its beginning again
    sqlite3_close(foreign);
    assert_true(passes_verify(store));
    store->ops->close(store, true);
    assert_int_equal(log_bytes(path), 0);
    free(path);
}

// ---- items 55 and 60: no room of other kinds

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_item_55_limit_on_file_sizes_is_a_full_disk(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    char *path = fresh_path();
    struct store *store = must_open(path);
    assert_int_equal(accept_large(store, 0), 0);
    limit_files((rlim_t)log_bytes(path) + 1000);
    int err = 0, kept = 1;
    for (int i = 1; i < 50 && !err; i++)
        kept += !(err = accept_large(store, i));
    assert_int_equal(err, ERR_FULL);
    limit_files(limit.rlim_cur);
    assert_int_equal(accept_large(store, 100), 0);
    assert_int_equal(kit_totals(store).accepted, kept + 1);
    assert_true(passes_verify(store));
    store->ops->close(store, true);
    free(path);
}

static void test_item_60_quota_is_a_full_disk(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = must_open(path);
    assert_int_equal(accept_large(store, 0), 0);
    // The first call of a batch is a write of the log or the index of it: all fail as a quota does.
    fault_vfs = (struct fault_vfs){.at = fault_vfs.calls + 1, .error = EDQUOT};
    fault_vfs.calls = fault_vfs.at - 1;
    int err = accept_large(store, 1);
    fault_vfs_clear();
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(accept_large(store, 1), 0);
    assert_true(passes_verify(store));
    store->ops->close(store, true);
    free(path);
}

// Room is what can be written: of a quota the file system does not tell. (A limit on file sizes is one for this process.)
static void test_item_60_whether_there_is_room_again_is_tried_by_writing(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = must_open(path);
    struct rlimit before, low;
    assert_int_equal(kit_apply(store, STORE_NOTHING, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = 128 * 1024;
    struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigaction(SIGXFSZ, &ignored, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int err = kit_apply(store, STORE_NOTHING, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(kit_apply(store, STORE_NOTHING, NULL), 0);
    char probe[4096];
    snprintf(probe, sizeof probe, "%s.room", path);
    assert_int_not_equal(access(probe, F_OK), 0);
    store->ops->close(store, true);
    free(path);
}

// ---- item 57: making and upgrading the tables, cut anywhere

static void test_item_57_kill_9_at_every_call_of_the_first_start(void **state)
{
    (void)state;
    char *path = fresh_path();
    int n = 1, status = -1;
    for (;; n += STEP) {
        kit_remove(path);
        pid_t child = fork();
        if (child == 0) {
            fault_vfs = (struct fault_vfs){.at = n, .dies = true};
            struct store *store = must_open(path);
            fault_vfs_clear();
            store->ops->close(store, true);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        struct store *store = must_open(path);
        assert_int_equal(accept_large(store, 0), 0);
        assert_true(passes_verify(store));
        store->ops->close(store, true);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            break;
        assert_true(WIFSIGNALED(status));
    }
    print_message("# %d places\n", n);
    assert_true(n > 20);
    kit_remove(path);
    free(path);
}

// A store of the first version, upgraded; killed at every call of that start.
static void test_item_57_kill_9_at_every_call_of_an_upgrade(void **state)
{
    (void)state;
    char *path = fresh_path();
    size_t size = 0;
    make_known(path, true);
    sqlite3 *foreign = open_foreign(path);
    run_foreign(foreign, KIT_BEFORE_REPLIES KIT_BEFORE_WAITING
                "DROP INDEX conversations_moved;"
                "ALTER TABLE conversations DROP COLUMN goes_on_in;"
                "ALTER TABLE store DROP COLUMN log_number;"
                "ALTER TABLE accounts DROP COLUMN sum; ALTER TABLE sources DROP COLUMN sum;"
                "ALTER TABLE attempts DROP COLUMN sum; ALTER TABLE totals DROP COLUMN sum;"
                "DROP INDEX conversations_waiting; ALTER TABLE conversations DROP COLUMN account_waiting;"
                "ALTER TABLE accounts DROP COLUMN order_barrier;"
                "ALTER TABLE accounts DROP COLUMN gone;"
                "PRAGMA user_version = 1");
    sqlite3_close(foreign);
    char *old = read_file(path, "", &size);
    int n = 1, status = -1;
    for (;; n += STEP) {
        kit_remove(path);
        write_file(path, "", old, size);
        pid_t child = fork();
        if (child == 0) {
            fault_vfs = (struct fault_vfs){.at = n, .dies = true};
            struct store *store = must_open(path);
            fault_vfs_clear();
            store->ops->close(store, false);
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(judge(path), UNHARMED);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            break;
        assert_true(WIFSIGNALED(status));
    }
    print_message("# %d places\n", n);
    assert_true(n > 20);
    kit_remove(path);
    free(old);
    free(path);
}

// ---- item 58

// Batches on, each told to the parent once it is applied, until the n-th call kills this process.
static void work_until_killed(const char *path, int n, int acks)
{
    struct store *store = must_open(path);
    fault_vfs = (struct fault_vfs){.at = n, .dies = true};
    for (int i = 0; i < 12; i++) {
        if (accept_known(store, i) || store->ops->checkpoint(store, false) || write(acks, &i, sizeof i) != sizeof i)
            _exit(1);
    }
    store->ops->close(store, true);
    _exit(0);
}

static void check_worked(const char *path, int acked)
{
    struct store *store = must_open(path);
    int64_t accepted = kit_totals(store).accepted, found = 0;
    assert_true(accepted == acked + 1 || accepted == acked + 2); // the one that was not told may be there
    for (int i = 0; i <= acked; i++) {
        char sql[128];
        int64_t one = 0;
        snprintf(sql, sizeof sql, "SELECT count(*) FROM messages WHERE dedupe_key = 'k%d'", i);
        assert_int_equal(sql_exec(&sqlite_of(store)->sql, sql, &one), 0);
        found += one;
    }
    assert_int_equal(found, acked + 1);
    assert_true(passes_verify(store));
    store->ops->close(store, true);
}

static void test_item_58_kill_9_at_every_call_of_the_work(void **state)
{
    (void)state;
    char *path = fresh_path();
    int n = 1;
    for (bool over = false; !over; n += STEP) {
        int acks[2], acked = -1, status = -1;
        kit_remove(path);
        assert_int_equal(pipe(acks), 0);
        pid_t child = fork();
        if (child == 0)
            work_until_killed(path, n, acks[1]);
        close(acks[1]);
        while (read(acks[0], &acked, sizeof acked) == sizeof acked)
            ;
        close(acks[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        over = WIFEXITED(status);
        assert_true(over ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
        check_worked(path, acked);
    }
    print_message("# %d places\n", n);
    assert_true(n > 100);
    kit_remove(path);
    free(path);
}

// ---- item 56: dates

static void test_item_56_times_beyond_2038_are_kept(void **state)
{
    (void)state;
    static const int64_t seconds[] = {INT64_C(2147483648), INT64_C(4294967296), INT64_C(4102444800),
                                      INT64_C(253402300799), 0};
    char *path = fresh_path();
    struct store *store = must_open(path);
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%zu", i);
        struct store_accept accept = kit_accept(key, "c");
        accept.received_at_us = accept.event.sent_at_us = seconds[i] * 1000000 + 1;
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
        struct message *m = kit_message(store, accept.message_id);
        assert_int_equal(m->received_at_us, seconds[i] * 1000000 + 1);
        assert_int_equal(m->sent_at_us, seconds[i] * 1000000 + 1);
        message_free(m);
    }
    assert_true(passes_verify(store));
    store->ops->close(store, true);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_item_61_flipped_bits_in_the_file_are_found_or_harmless),
        cmocka_unit_test(test_item_61_page_of_zeros_is_found),
        cmocka_unit_test(test_item_61_flipped_bits_in_the_log_leave_whole_transactions),
        cmocka_unit_test(test_item_61_log_of_another_store_is_refused_and_put_right),
        cmocka_unit_test(test_item_61_log_without_its_store_is_kept_and_refused),
        cmocka_unit_test(test_item_61_store_that_was_emptied_or_lost_is_no_new_one),
        cmocka_unit_test(test_item_61_store_that_was_never_made_is_a_new_one),
        cmocka_unit_test(test_item_61_older_copy_under_a_newer_log_is_refused),
        cmocka_unit_test(test_item_61_index_of_the_log_is_made_anew_at_the_start),
        cmocka_unit_test(test_item_61_index_of_the_log_removed_live_is_noticed),
        cmocka_unit_test(test_item_61_log_removed_live_is_noticed),
        cmocka_unit_test(test_item_63_store_moved_or_replaced_while_open_is_noticed),
        cmocka_unit_test(test_item_62_foreign_writer_is_busy_and_not_waited_for_at_the_end),
        cmocka_unit_test(test_item_62_operator_vacuums_checkpoints_and_analyzes),
        cmocka_unit_test(test_item_62_backup_of_a_running_store_is_whole),
        cmocka_unit_test(test_item_62_reader_that_stays_makes_the_log_grow_and_that_is_said),
        cmocka_unit_test(test_item_55_limit_on_file_sizes_is_a_full_disk),
        cmocka_unit_test(test_item_60_quota_is_a_full_disk),
        cmocka_unit_test(test_item_60_whether_there_is_room_again_is_tried_by_writing),
        cmocka_unit_test(test_item_57_kill_9_at_every_call_of_the_first_start),
        cmocka_unit_test(test_item_57_kill_9_at_every_call_of_an_upgrade),
        cmocka_unit_test(test_item_58_kill_9_at_every_call_of_the_work),
        cmocka_unit_test(test_item_56_times_beyond_2038_are_kept),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
