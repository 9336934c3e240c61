// What the contract does not say and the promise needs of the SQLite back end: rules S1 to S11, its files, its indexes.
// LDFLAGS: -Wl,--wrap=statfs -Wl,--wrap=posix_fadvise -Wl,--wrap=fdatasync -Wl,--wrap=sqlite3_step
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/sqlite.h"
#include "support/store_kit.h"

static struct {
    long fs_type; // 0: the real one
    int evicted_db, evicted_log, flushes;
    bool flush_fails;
    int read_ends_to_fail; // of readers' transactions
} wrapped;

int __real_statfs(const char *path, struct statfs *out);
int __wrap_statfs(const char *path, struct statfs *out);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_posix_fadvise(int fd, off_t at, off_t size, int advice);
int __wrap_posix_fadvise(int fd, off_t at, off_t size, int advice);

int __wrap_statfs(const char *path, struct statfs *out)
{
    int result = __real_statfs(path, out);
    if (wrapped.fs_type)
        out->f_type = wrapped.fs_type;
    return result;
}

int __real_sqlite3_step(sqlite3_stmt *q);
int __wrap_sqlite3_step(sqlite3_stmt *q);

int __wrap_sqlite3_step(sqlite3_stmt *q)
{
    bool ends = wrapped.read_ends_to_fail && strcmp(sqlite3_sql(q), "COMMIT") == 0 &&
                sqlite3_db_readonly(sqlite3_db_handle(q), "main") == 1;
    if (!ends)
        return __real_sqlite3_step(q);
    wrapped.read_ends_to_fail--;
    return SQLITE_NOMEM;
}

int __wrap_fdatasync(int fd)
{
    wrapped.flushes++;
    if (wrapped.flush_fails) {
        errno = EIO;
        return -1;
    }
    return __real_fdatasync(fd);
}

int __wrap_posix_fadvise(int fd, off_t at, off_t size, int advice)
{
    char link[64], path[512] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    assert_true(readlink(link, path, sizeof path - 1) > 0);
    bool whole = at == 0 && size == 0 && advice == POSIX_FADV_DONTNEED && wrapped.flushes > 0;
    wrapped.evicted_db += whole && strcmp(path + strlen(path) - 3, ".db") == 0;
    wrapped.evicted_log += whole && strcmp(path + strlen(path) - 7, ".db-wal") == 0;
    return __real_posix_fadvise(fd, at, size, advice);
}

static char *fresh_path(void)
{
    static int n;
    char name[32];
    snprintf(name, sizeof name, "sqlite%d", n++);
    return kit_store_path(name);
}

// NULL and the sentence, or the store.
static struct store *try_open(const struct store_options *options, char *out_why, size_t size)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store *store = store_sqlite_open(options, &arena, &why);
    snprintf(out_why, size, "%s", why ? why : "");
    arena_done(&arena);
    return store;
}

static void refuse(const char *path, const char *word)
{
    char why[512];
    struct store *store = try_open(&(struct store_options){.path = path}, why, sizeof why);
    if (store)
        store->ops->close(store, false);
    assert_null(store);
    if (!strstr(why, word))
        print_message("# %s\n", why);
    assert_non_null(strstr(why, word));
}

// As another program would, with the store closed.
static void run_sql(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *error = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &error);
    if (code != SQLITE_OK)
        print_message("# %s\n", error);
    assert_int_equal(code, SQLITE_OK);
    sqlite3_close(db);
}

static int64_t ask(struct store *store, const char *sql)
{
    int64_t got = -99;
    assert_int_equal(sql_exec(&sqlite_of(store)->sql, sql, &got), 0);
    return got;
}

static int64_t file_size(const char *path, const char *suffix)
{
    char name[512];
    struct stat st;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    return stat(name, &st) == 0 ? (int64_t)st.st_size : -1;
}

// --- Settings ---

static void test_s2_s3_settings_are_in_force(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    assert_int_equal(ask(store, "PRAGMA synchronous"), 1);
    assert_int_equal(ask(store, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
    assert_int_equal(ask(store, "PRAGMA page_size"), 8192);
    assert_int_equal(ask(store, "PRAGMA wal_autocheckpoint"), 0);
    assert_int_equal(ask(store, "PRAGMA mmap_size"), 0);
    assert_int_equal(ask(store, "PRAGMA journal_size_limit"), -1);
    store->ops->close(store, true);
    free(path);
}

static void test_s3_readers_cannot_write(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    struct store_reader *reader = store->ops->reader_new(store);
    // struct sqlite_reader: the contract's part, then its connection.
    struct {
        struct store_reader reader;
        struct sql sql;
    } *inside = (void *)reader;
    assert_int_equal(sqlite3_db_readonly(inside->sql.db, "main"), 1);
    reader->ops->free(reader);
    store->ops->close(store, true);
    free(path);
}

static void test_files_are_private_whatever_the_umask(void **state)
{
    (void)state;
    char *path = fresh_path();
    mode_t before = umask(0);
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    assert_true(fd >= 0);
    close(fd);
    struct arena arena = {0};
    const char *why;
    struct store_options options = {.path = path, .ballast_bytes = 4096};
    struct store *store = store_sqlite_open(&options, &arena, &why);
    assert_non_null(store);
    kit_store(store, "k", "c");
    umask(before);
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock", ".ballast"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[512];
        struct stat st;
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        assert_int_equal(stat(name, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    store->ops->close(store, true);
    arena_done(&arena);
    free(path);
}

static void test_directory_is_made_or_named(void **state)
{
    (void)state;
    char *base = fresh_path(), path[512];
    snprintf(path, sizeof path, "%s.dir/store.db", base);
    struct store *store = kit_open(path);
    store->ops->close(store, true);
    snprintf(path, sizeof path, "%s.no/such/store.db", base);
    refuse(path, "directory");
    free(base);
}

// --- Who may open it ---

static void test_s11_second_opening_is_refused_naming_the_first(void **state)
{
    (void)state;
    char *path = fresh_path(), pid[32];
    struct store *store = kit_open(path);
    snprintf(pid, sizeof pid, "pid %ld)", (long)getpid());
    refuse(path, pid);
    pid_t child = fork();
    if (child == 0) {
        char why[512];
        struct store *second = try_open(&(struct store_options){.path = path}, why, sizeof why);
        _exit(second || !strstr(why, pid));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    kit_store(store, "still ours", "c");
    store->ops->close(store, true);
    store = kit_open(path); // and free again
    store->ops->close(store, true);
    free(path);
}

static void test_s7_network_file_system_is_refused_unless_forced(void **state)
{
    (void)state;
    char *path = fresh_path(), why[512];
    wrapped.fs_type = 0x6969;
    refuse(path, "network file system (nfs)");
    struct store *store = try_open(&(struct store_options){.path = path, .force_network_fs = true}, why, sizeof why);
    wrapped.fs_type = 0;
    assert_non_null(store);
    store->ops->close(store, true);
    free(path);
}

static void test_reader_whose_snapshot_could_not_be_ended_sees_what_comes_after(void **state)
{
    (void)state;
    for (int failures = 1; failures <= 2; failures++) {
        char *path = fresh_path();
        struct store *store = kit_open(path);
        struct store_reader *reader = store->ops->reader_new(store);
        struct store_totals totals;
        kit_store(store, "1", "c");
        wrapped.read_ends_to_fail = failures;
        int err = reader->ops->totals(reader, &totals);
        assert_int_equal(err, failures == 1 ? 0 : ERR_NOMEM);
        assert_int_equal(wrapped.read_ends_to_fail, 0);
        kit_store(store, "2", "c");
        assert_int_equal(reader->ops->totals(reader, &totals), 0);
        assert_int_equal(totals.accepted, 2);
        reader->ops->free(reader);
        store->ops->close(store, true);
        free(path);
    }
}

static void test_newer_schema_is_refused(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    store->ops->close(store, true);
    run_sql(path, "PRAGMA user_version = 9999");
    refuse(path, "newer version");
    free(path);
}

// The number of the schema stands in the first bytes of the file, and no checksum is over them.
static void test_schema_of_a_number_that_it_does_not_have_is_damage(void **state)
{
    (void)state;
    static const char *const numbers[] = {"1", "3", "7", "-1", "-2147483648"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char sql[64];
        char *path = fresh_path();
        struct store *store = kit_open(path);
        store->ops->close(store, true);
        snprintf(sql, sizeof sql, "PRAGMA user_version = %s", numbers[i]);
        run_sql(path, sql);
        refuse(path, "is damaged");
        free(path);
    }
}

static void test_store_from_before_migrated_threads_is_taken_over(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    int64_t before = kit_store(store, "1", "-5").conversation_id;
    store->ops->close(store, true);
    run_sql(path, KIT_BEFORE_REPLIES KIT_BEFORE_WAITING
            "DROP INDEX conversations_waiting; ALTER TABLE conversations DROP COLUMN account_waiting;"
            "CREATE INDEX messages_lanes ON messages(account_id, lane, place) WHERE state = 0 AND (lane & 3) > 0");
    run_sql(path, "DROP INDEX conversations_moved");
    run_sql(path, "ALTER TABLE conversations DROP COLUMN goes_on_in");
    run_sql(path, "ALTER TABLE accounts DROP COLUMN sum; ALTER TABLE sources DROP COLUMN sum;"
                  "ALTER TABLE attempts DROP COLUMN sum; ALTER TABLE totals DROP COLUMN sum");
    run_sql(path, "PRAGMA user_version = 5");
    store = kit_open(path);
    assert_true(kit_verify(store, true));
    struct store_accept moved = kit_accept("2", "-1005");
    moved.event.migrated_from = STR("-5");
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &moved), 0);
    assert_int_equal(moved.conversation_id, before);
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
    free(path);
}

static void test_other_files_are_refused_and_left_alone(void **state)
{
    (void)state;
    char *path = fresh_path();
    run_sql(path, "CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)");
    refuse(path, "another program");
    run_sql(path, "SELECT a FROM theirs");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 4096; i++)
        fputs("junk", file);
    fclose(file);
    refuse(path, "damaged");
    assert_int_equal(file_size(path, ""), 4 * 4096);
    free(path);
    path = fresh_path();
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(path, "regular file");
    free(path);
}

// --- S1: starts ---

static void test_s1_start_drops_the_cache_and_empties_the_log(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    kit_store(store, "k", "c");
    store->ops->close(store, false);
    assert_true(file_size(path, "-wal") > 0);
    memset(&wrapped, 0, sizeof wrapped);
    store = kit_open(path);
    assert_int_equal(wrapped.evicted_db, 1);
    assert_int_equal(wrapped.evicted_log, 1);
    assert_int_equal(ask(store, "SELECT count(*) FROM messages"), 1);
    assert_true(sqlite_of(store)->log_frames < 8); // the mark of this start, no more
    assert_true(file_size(path, "-wal") >= 8 << 20);
    store->ops->close(store, true);
    free(path);
}

static void test_s1_start_without_a_working_flush_is_refused(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    store->ops->close(store, true);
    wrapped.flush_fails = true;
    refuse(path, "flush");
    wrapped.flush_fails = false;
    store = kit_open(path);
    store->ops->close(store, true);
    free(path);
}

static void test_clean_stop_leaves_all_in_one_file(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    kit_store(store, "k", "c");
    store->ops->close(store, true);
    assert_int_equal(file_size(path, "-wal"), 0);
    run_sql(path, "CREATE TEMP TABLE t AS SELECT 1 / (SELECT clean FROM store)");
    store = kit_open(path);
    assert_int_equal(ask(store, "SELECT clean FROM store"), 0);
    store->ops->close(store, false);
    free(path);
}

static void count_finding(void *arg, const char *name, struct str sentence)
{
    assert_string_equal(name, "store_damaged");
    assert_true(sentence.n > 0);
    ++*(int *)arg;
}

static void test_unclean_start_names_damaged_rows(void **state)
{
    (void)state;
    char *path = fresh_path(), why[512];
    struct store *store = kit_open(path);
    kit_store(store, "a", "c");
    kit_store(store, "b", "c");
    store->ops->close(store, false);
    run_sql(path, "UPDATE messages SET sender_id = 'somebody else' WHERE id = 2");
    int findings = 0;
    struct store_options options = {.path = path, .finding = count_finding, .finding_arg = &findings};
    store = try_open(&options, why, sizeof why);
    assert_non_null(store);
    assert_int_equal(findings, 1);
    store->ops->close(store, true);
    free(path);
}

// A log cut anywhere gives whole transactions and a true sum, and never stops the start.
static void test_cut_log_gives_whole_batches(void **state)
{
    (void)state;
    char *path = fresh_path(), log[512];
    snprintf(log, sizeof log, "%s-wal", path);
    for (int cut = 0; cut < 12; cut++) {
        kit_remove(path);
        struct store *store = kit_open(path);
        for (int i = 0; i < 6; i++) {
            char a[16], b[16];
            snprintf(a, sizeof a, "a%d", i);
            snprintf(b, sizeof b, "b%d", i);
            struct store_accept one = kit_accept(a, "c"), two = kit_accept(b, "d");
            struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &one},
                                             {.kind = STORE_ACCEPT, .accept = &two}};
            assert_int_equal(store->ops->apply(store, changes, 2), 0);
        }
        store->ops->close(store, false);
        assert_int_equal(truncate(log, cut == 11 ? 0 : cut * 100000 + 77), 0);
        store = kit_open(path);
        assert_int_equal(kit_totals(store).accepted % 2, 0);
        assert_true(kit_verify(store, true));
        store->ops->close(store, true);
    }
    free(path);
}

static void test_missing_log_loses_no_more_than_it_held(void **state)
{
    (void)state;
    char *path = fresh_path(), log[512];
    struct store *store = kit_open(path);
    kit_store(store, "a", "c");
    store->ops->close(store, true);
    store = kit_open(path);
    kit_store(store, "b", "c");
    store->ops->close(store, false);
    snprintf(log, sizeof log, "%s-wal", path);
    assert_int_equal(unlink(log), 0);
    store = kit_open(path);
    assert_int_equal(kit_totals(store).accepted, 1);
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
    free(path);
}

// --- kill -9 ---

enum { KILL_BATCH = 8 };

// Batches without end; after each its number goes to the parent, who believes it.
static void write_for_ever(const char *path, int acks)
{
    struct store *store = kit_open(path);
    int64_t previous[KILL_BATCH] = {0};
    for (int64_t batch = 0;; batch++) {
        struct store_accept accepts[KILL_BATCH];
        struct store_outcome outcomes[KILL_BATCH];
        struct store_change changes[2 * KILL_BATCH];
        char keys[KILL_BATCH][32];
        size_t n = 0;
        for (int i = 0; i < KILL_BATCH; i++) {
            snprintf(keys[i], sizeof keys[i], "%ld-%lld-%d", (long)getpid(), (long long)batch, i);
            accepts[i] = kit_accept(keys[i], i % 2 ? "c" : "d");
            if (previous[i]) {
                outcomes[i] = kit_outcome(previous[i], MESSAGE_DELIVERED);
                changes[n++] = (struct store_change){.kind = STORE_OUTCOME, .outcome = &outcomes[i]};
            }
            changes[n++] = (struct store_change){.kind = STORE_ACCEPT, .accept = &accepts[i]};
        }
        if (store->ops->apply(store, changes, n) != 0 || store->ops->checkpoint(store, false) != 0)
            _exit(2);
        for (int i = 0; i < KILL_BATCH; i++)
            previous[i] = accepts[i].message_id;
        if (write(acks, &batch, sizeof batch) != sizeof batch)
            _exit(3);
    }
}

static void check_killed(const char *path, pid_t child, int64_t last_acked)
{
    struct store *store = kit_open(path);
    assert_true(kit_verify(store, true));
    for (int64_t batch = 0; batch <= last_acked + 1; batch++) {
        int found = 0;
        for (int i = 0; i < KILL_BATCH; i++) {
            char sql[128];
            snprintf(sql, sizeof sql, "SELECT count(*) FROM messages WHERE dedupe_key = '%ld-%lld-%d'", (long)child,
                     (long long)batch, i);
            found += (int)ask(store, sql);
        }
        assert_true(found == KILL_BATCH || (batch > last_acked && found == 0));
    }
    store->ops->close(store, false);
}

static void test_kill_9_loses_nothing_acknowledged(void **state)
{
    (void)state;
    char *path = fresh_path();
    for (int round = 0; round < 6; round++) {
        int acks[2];
        assert_int_equal(pipe(acks), 0);
        pid_t child = fork();
        if (child == 0)
            write_for_ever(path, acks[1]);
        close(acks[1]);
        int64_t last = -1;
        // A different moment each time, without a clock: after so many answers, wherever the child is by then.
        for (int i = 0; i < 5 + round * 17; i++)
            assert_int_equal(read(acks[0], &last, sizeof last), sizeof last);
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(acks[0], &last, sizeof last) == sizeof last)
            ; // what it still said before it died
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        close(acks[0]);
        check_killed(path, child, last);
    }
    free(path);
}

// --- S10: damage ---

static void damage(const char *sql, int64_t entry_damaged)
{
    char *path = fresh_path();
    struct store *store = kit_open(path);
    struct store_accept a = kit_store(store, "a", "c"), b = kit_store(store, "b", "d");
    assert_true(a.message_id < b.message_id);
    store->ops->close(store, true);
    run_sql(path, sql);
    store = kit_open(path);
    struct lane_page page;
    assert_int_equal(store->ops->load_lane(store, a.lane, 0, 9, &page), 0);
    assert_int_equal(page.count, 2); // damaged, not absent
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(page.entries[i].message->reason,
                         page.entries[i].message->id == entry_damaged ? REASON_DAMAGED : REASON_NONE);
    lane_page_done(&page);
    assert_false(kit_verify(store, true));
    store->ops->close(store, true);
    free(path);
}

static void test_s10_damaged_rows_are_marked_in_the_page(void **state)
{
    (void)state;
    damage("UPDATE messages SET text = 'hellp' WHERE id = 2", 2);
    damage("UPDATE messages SET text = NULL WHERE id = 1", 1);
    damage("UPDATE messages SET sent_at = sent_at + 1 WHERE id = 1", 1);
    damage("UPDATE messages SET account_id = 3 WHERE id = 2; UPDATE waiting SET account_id = 3 WHERE id = 2", 2);
    damage("UPDATE messages SET dedupe_key = 'x' WHERE id = 2", 2);
    damage("UPDATE messages SET conversation_id = 1 WHERE id = 2", 2);
    damage("UPDATE conversations SET contact = 'somebody else' WHERE id = 2", 2);
    damage("UPDATE conversations SET thread = 'other' WHERE id = 1", 1);
    damage("DELETE FROM conversations WHERE id = 2", 2);
}

static void test_verify_finds_a_sum_that_is_not_true(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    struct store_accept a = kit_store(store, "a", "c");
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    assert_true(kit_verify(store, false));
    store->ops->close(store, true);
    run_sql(path, "DELETE FROM messages");
    store = kit_open(path);
    assert_false(kit_verify(store, false));
    store->ops->close(store, true);
    free(path);
}

static void test_overwritten_page_is_found(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    char text[9000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 20; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct store_accept accept = kit_accept(key, "c");
        accept.event.text = (struct str){text, sizeof text};
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    }
    store->ops->close(store, true);
    int fd = open(path, O_RDWR);
    memset(text, 0, sizeof text);
    for (int64_t at = file_size(path, "") - 4 * 8192; at < file_size(path, ""); at += 8192)
        assert_int_equal(pwrite(fd, text, 8192, at), 8192);
    close(fd);
    char why[512];
    store = try_open(&(struct store_options){.path = path}, why, sizeof why);
    if (store) { // zeroed in a place that only a deep look comes by
        assert_false(kit_verify(store, true));
        store->ops->close(store, false);
    }
    free(path);
}

// --- S4, S9: room ---

static void test_s4_log_does_not_grow_with_the_work(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    int64_t at_start = file_size(path, "-wal");
    char *text = calloc(1, 100000);
    for (int i = 0; i < 300; i++) { // 30 MB through a log of 8
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct store_accept accept = kit_accept(key, "c");
        accept.event.text = (struct str){text, 100000};
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    }
    assert_int_equal(file_size(path, "-wal"), at_start); // and never shrinks
    assert_int_equal(kit_totals(store).log_bytes, at_start);
    store->ops->close(store, true);
    free(text);
    free(path);
}

static void fill_log_to(struct store *store, int percent)
{
    const struct sqlite_store *s = sqlite_of(store);
    static int64_t number;
    while (s->log_frames * 100 < s->log_frames_usual * percent) {
        char key[24];
        snprintf(key, sizeof key, "fill%lld", (long long)++number);
        kit_store(store, key, "c");
    }
}

// One message in a quiet time must not meet a large step, and many at a time not many small ones.
static void test_the_log_is_moved_in_small_steps_when_nothing_waits(void **state)
{
    (void)state;
    char *path = fresh_path(), why[512];
    struct store *store = try_open(&(struct store_options){.path = path, .log_bytes = 2 << 20}, why, sizeof why);
    assert_non_null(store);
    const struct sqlite_store *s = sqlite_of(store);
    fill_log_to(store, 10);
    int moved = s->log_frames_moved;
    assert_int_equal(store->ops->checkpoint(store, true), 0);
    assert_int_equal(s->log_frames_moved, moved);
    assert_int_equal(store->ops->checkpoint(store, false), 0);
    assert_int_equal(s->log_frames_moved, s->log_frames);
    kit_store(store, "anew", "c");
    fill_log_to(store, 40);
    assert_int_equal(store->ops->checkpoint(store, true), 0);
    assert_int_equal(s->log_frames_moved, s->log_frames);
    store->ops->close(store, true);
    free(path);
}

static void test_s9_below_the_floor_accepts_stop_and_outcomes_go_on(void **state)
{
    (void)state;
    char *path = fresh_path(), why[512];
    struct store *store = kit_open(path);
    struct store_accept a = kit_store(store, "a", "c");
    store->ops->close(store, true);
    struct store_options options = {.path = path, .ballast_bytes = INT64_C(1) << 60};
    store = try_open(&options, why, sizeof why);
    assert_non_null(store);
    struct store_accept b = kit_accept("b", "c");
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &b), ERR_FULL);
    assert_int_equal(kit_apply(store, STORE_NOTHING, NULL), ERR_FULL);
    assert_true(kit_settle(store, a.message_id, MESSAGE_DELIVERED));
    assert_int_equal(kit_totals(store).accepted, 1);
    store->ops->close(store, true);
    free(path);
}

static struct store *fill_disk(const char *path, int64_t *out_last)
{
    char why[512];
    struct store_options options = {.path = path, .ballast_bytes = 2 << 20, .log_bytes = 1 << 20};
    struct store *store = try_open(&options, why, sizeof why);
    if (!store)
        return NULL;
    char *text = calloc(1, 60000);
    int err = 0;
    for (int i = 0; !err && i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct store_accept accept = kit_accept(key, "c");
        accept.event.text = (struct str){text, 60000};
        err = kit_apply(store, STORE_ACCEPT, &accept);
        if (!err)
            *out_last = accept.message_id;
    }
    free(text);
    return err == ERR_FULL ? store : NULL;
}

// On a full disk of 16 MB, in a place of its own that ends with the process. 77: cannot be had here.
static int full_disk(void)
{
    char directory[512], path[600];
    snprintf(directory, sizeof directory, "%s/small", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    snprintf(path, sizeof path, "%s/store.db", directory);
    mkdir(directory, 0700);
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", directory, "tmpfs", 0, "size=16m") != 0)
        return 77;
    int64_t last = 0;
    struct store *store = fill_disk(path, &last);
    if (!store)
        return 1;
    // Somebody else takes what is left.
    snprintf(path, sizeof path, "%s/other", directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    static char block[4096] = "x";
    while (write(fd, block, sizeof block) > 0)
        ;
    for (int64_t id = 1; id <= last; id++) { // the ballast makes room for what became of them
        struct store_outcome outcome = kit_outcome(id, MESSAGE_DELIVERED);
        outcome.last_error = STR("a few words, so that rows grow");
        if (kit_apply(store, STORE_OUTCOME, &outcome) != 0 || !outcome.applied)
            return 2;
    }
    close(fd);
    unlink(path);
    struct store_accept accept = kit_accept("after", "c");
    if (store->ops->checkpoint(store, false) != 0 || kit_apply(store, STORE_ACCEPT, &accept) != 0)
        return 3;
    if (!kit_verify(store, true))
        return 4;
    store->ops->close(store, true);
    return 0;
}

static void test_s9_full_disk_is_survived(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0)
        _exit(full_disk());
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

// --- Indexes ---

static void keep_plan(char *plan, size_t size, sqlite3 *db, const char *sql)
{
    char text[4096];
    sqlite3_stmt *statement = NULL;
    snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", sql);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &statement, NULL), SQLITE_OK);
    *plan = 0;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        size_t n = strlen(plan);
        snprintf(plan + n, size - n, "%s; ", (const char *)sqlite3_column_text(statement, 3));
    }
    sqlite3_finalize(statement);
}

static void test_no_statement_of_the_hot_path_scans_or_sorts(void **state)
{
    (void)state;
    static const enum sql_statement hot[] = {
        SQL_FIND_KEY,         SQL_FIND_CONVERSATION,
        SQL_GET_CONVERSATION, SQL_SET_CONVERSATION,
        SQL_SET_OUTCOME,      SQL_SET_OUTCOME_TEXTS,
        SQL_DISCARD_SKIPPED,  SQL_MARK,
        SQL_GET_SKIPPED,      SQL_RETRY,
        SQL_LOAD_LANE,        SQL_NEXT_LANE,
        SQL_LOAD_REFS,        SQL_EACH_ATTEMPT,
        SQL_AGE_SCAN,         SQL_FIND_ACCOUNT,
        SQL_GET_MESSAGE,      SQL_GET_ORDER,
        SQL_LANE_HEAD,        SQL_NEXT_WAITING,
        SQL_SET_WAITING,      SQL_EACH_WAITING,
        SQL_ACCOUNT_GONE,     SQL_SOURCES_OF_GONE,
        SQL_GOES_ON_HERE,     SQL_SET_ACCOUNT,
        SQL_ENTER_LINE,       SQL_LEAVE_LINE,
        SQL_LOAD_FRESH,       SQL_COUNT_LANE,
        SQL_CHECK_LINE,
    };
    char *path = fresh_path(), plan[2048];
    struct store *store = kit_open(path);
    for (size_t i = 0; i < sizeof hot / sizeof *hot; i++) {
        keep_plan(plan, sizeof plan, sqlite_of(store)->sql.db, sql_statements[hot[i]].text);
        if (strstr(plan, "SCAN") || strstr(plan, "TEMP B-TREE"))
            print_message("# %s\n# %s\n", sql_statements[hot[i]].text, plan);
        assert_null(strstr(plan, "SCAN"));
        assert_null(strstr(plan, "TEMP B-TREE"));
    }
    store->ops->close(store, true);
    free(path);
}

// The SQL that docs/sql.md gives to users: each runs, and what it calls fast is.
static void test_documented_sql_runs_and_uses_its_index(void **state)
{
    (void)state;
    FILE *file = fopen("docs/sql.md", "r");
    assert_non_null(file);
    char line[1024], sql[4096] = "", plan[2048], *path = fresh_path();
    struct store *store = kit_open(path);
    kit_store(store, "a", "c");
    bool inside = false;
    int count = 0, ordered = 0;
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "```", 3) == 0) {
            if (inside) {
                keep_plan(plan, sizeof plan, sqlite_of(store)->sql.db, sql);
                count++;
            }
            if (inside && strstr(sql, "-- messages of one account in order")) {
                ordered++;
                assert_non_null(strstr(plan, "messages_of_account"));
                assert_null(strstr(plan, "TEMP B-TREE"));
                assert_null(strstr(plan, "SCAN m"));
            }
            inside = strncmp(line, "```sql", 6) == 0;
            *sql = 0;
        } else if (inside) {
            size_t n = strlen(sql);
            snprintf(sql + n, sizeof sql - n, "%s", line);
        }
    }
    fclose(file);
    assert_true(count >= 3);
    assert_int_equal(ordered, 1);
    store->ops->close(store, true);
    free(path);
}

// Every column that users may read is told of.
static void test_every_column_is_documented(void **state)
{
    (void)state;
    FILE *file = fopen("docs/sql.md", "r");
    assert_non_null(file);
    static char text[65536];
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *path = fresh_path();
    struct store *store = kit_open(path);
    sqlite3_stmt *q = NULL;
    assert_int_equal(
        sqlite3_prepare_v2(sqlite_of(store)->sql.db,
                           "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE "
                           "t.name IN ('messages', 'conversations', 'attempts', 'readable_messages', "
                           "'waiting_per_account', 'waiting', 'line', 'files', 'account_files', 'dropped', 'albums')",
                           -1, &q, NULL),
        SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW) {
        char word[128];
        snprintf(word, sizeof word, "`%s`", (const char *)sqlite3_column_text(q, 1));
        if (!strstr(text, word))
            print_message("# %s.%s\n", (const char *)sqlite3_column_text(q, 0), word);
        assert_non_null(strstr(text, word));
    }
    sqlite3_finalize(q);
    store->ops->close(store, true);
    free(path);
}

// --- Readers ---

static void no_message(void *arg, const struct message *message)
{
    (void)arg, (void)message;
}

static void test_reader_is_held_to_its_time(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    kit_store(store, "k", "c");
    store->ops->close(store, true);
    run_sql(path,
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) "
            "INSERT INTO messages SELECT i, i, 4, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1, 0, 0, 'x' || i, '', "
            "'', NULL, NULL, 'words', NULL, NULL, NULL, 0, 0 FROM n");
    store = kit_open(path);
    struct store_reader *reader = store->ops->reader_new(store);
    struct message_filter filter = {.text = STR("not there")};
    assert_int_equal(reader->ops->messages(reader, &filter, 0, 10, no_message, NULL), 0);
    reader->ops->set_time_cap(reader, 1);
    assert_int_equal(reader->ops->messages(reader, &filter, 0, 10, no_message, NULL), ERR_BUSY);
    reader->ops->set_time_cap(reader, 0);
    assert_int_equal(reader->ops->messages(reader, &filter, 0, 10, no_message, NULL), 0);
    reader->ops->free(reader);
    store->ops->close(store, false);
    free(path);
}

struct watcher {
    struct store_reader *reader;
    atomic_bool stop;
    bool good;
    int looks;
};

static void *watch(void *arg)
{
    struct watcher *watcher = arg;
    watcher->good = true;
    while (!atomic_load(&watcher->stop) || watcher->looks == 0) {
        struct store_totals totals;
        watcher->good = watcher->good && watcher->reader->ops->totals(watcher->reader, &totals) == 0 &&
                        totals.accepted == totals.delivered + totals.pending + totals.skipped + totals.discarded;
        watcher->looks++;
    }
    return NULL;
}

static void watched(struct store *store)
{
    struct watcher watcher = {.reader = store->ops->reader_new(store)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &watcher), 0);
    for (int i = 0; i < 200; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        struct store_accept accept = kit_store(store, key, "c");
        kit_settle(store, accept.message_id, i % 3 ? MESSAGE_DELIVERED : MESSAGE_SKIPPED);
    }
    atomic_store(&watcher.stop, true);
    pthread_join(thread, NULL);
    assert_true(watcher.good);
    watcher.reader->ops->free(watcher.reader);
    store->ops->close(store, true);
}

static void test_sum_is_true_at_every_instant_for_another_thread(void **state)
{
    (void)state;
    char *path = fresh_path();
    watched(kit_open(path));
    watched(store_memory_new());
    free(path);
}

// --- Transactions ---

static void test_refused_change_undoes_its_batch(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    struct account *one = account_new(), *two = account_new();
    one->name = STR("one");
    two->name = STR("two");
    struct store_account_put put = {.account = one};
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
    put.account = two;
    assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
    two->id = put.id;
    two->name = STR("one"); // taken
    struct store_accept accept = kit_accept("k", "c"), later = kit_accept("l", "c");
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &accept},
                                     {.kind = STORE_ACCOUNT_PUT, .account_put = &put}};
    assert_int_equal(store->ops->apply(store, changes, 2), ERR_INVALID);
    assert_int_equal(kit_totals(store).accepted, 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &later), 0); // and the store goes on
    assert_int_equal(kit_totals(store).accepted, 1);
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
    account_unref(one);
    account_unref(two);
    free(path);
}

// --- Numbers ---

static void test_numbers_are_never_given_again(void **state)
{
    (void)state;
    char *path = fresh_path();
    struct store *store = kit_open(path);
    struct store_accept a = kit_store(store, "a", "c");
    kit_settle(store, a.message_id, MESSAGE_DELIVERED);
    bool more = true;
    while (more)
        assert_int_equal(store->ops->age_out(store, INT64_MAX, INT64_MAX, &more), 0);
    store->ops->close(store, true);
    store = kit_open(path);
    assert_true(kit_store(store, "b", "c").message_id > a.message_id);
    store->ops->close(store, true);
    free(path);
}

static void test_id_lives_as_long_as_the_store(void **state)
{
    (void)state;
    char *path = fresh_path(), *other = fresh_path(), id[64];
    struct store *store = kit_open(path), *second = kit_open(other);
    snprintf(id, sizeof id, "%.*s", STR_ARG(store->ops->id(store)));
    assert_false(str_eq_c(second->ops->id(second), id));
    store->ops->close(store, true);
    second->ops->close(second, true);
    store = kit_open(path);
    assert_true(str_eq_c(store->ops->id(store), id));
    store->ops->close(store, true);
    free(path);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_s2_s3_settings_are_in_force),
        cmocka_unit_test(test_s3_readers_cannot_write),
        cmocka_unit_test(test_files_are_private_whatever_the_umask),
        cmocka_unit_test(test_directory_is_made_or_named),
        cmocka_unit_test(test_s11_second_opening_is_refused_naming_the_first),
        cmocka_unit_test(test_s7_network_file_system_is_refused_unless_forced),
        cmocka_unit_test(test_newer_schema_is_refused),
        cmocka_unit_test(test_schema_of_a_number_that_it_does_not_have_is_damage),
        cmocka_unit_test(test_reader_whose_snapshot_could_not_be_ended_sees_what_comes_after),
        cmocka_unit_test(test_store_from_before_migrated_threads_is_taken_over),
        cmocka_unit_test(test_other_files_are_refused_and_left_alone),
        cmocka_unit_test(test_s1_start_drops_the_cache_and_empties_the_log),
        cmocka_unit_test(test_s1_start_without_a_working_flush_is_refused),
        cmocka_unit_test(test_clean_stop_leaves_all_in_one_file),
        cmocka_unit_test(test_unclean_start_names_damaged_rows),
        cmocka_unit_test(test_cut_log_gives_whole_batches),
        cmocka_unit_test(test_missing_log_loses_no_more_than_it_held),
        cmocka_unit_test(test_kill_9_loses_nothing_acknowledged),
        cmocka_unit_test(test_s10_damaged_rows_are_marked_in_the_page),
        cmocka_unit_test(test_verify_finds_a_sum_that_is_not_true),
        cmocka_unit_test(test_overwritten_page_is_found),
        cmocka_unit_test(test_s4_log_does_not_grow_with_the_work),
        cmocka_unit_test(test_the_log_is_moved_in_small_steps_when_nothing_waits),
        cmocka_unit_test(test_s9_below_the_floor_accepts_stop_and_outcomes_go_on),
        cmocka_unit_test(test_s9_full_disk_is_survived),
        cmocka_unit_test(test_no_statement_of_the_hot_path_scans_or_sorts),
        cmocka_unit_test(test_documented_sql_runs_and_uses_its_index),
        cmocka_unit_test(test_every_column_is_documented),
        cmocka_unit_test(test_reader_is_held_to_its_time),
        cmocka_unit_test(test_sum_is_true_at_every_instant_for_another_thread),
        cmocka_unit_test(test_refused_change_undoes_its_batch),
        cmocka_unit_test(test_numbers_are_never_given_again),
        cmocka_unit_test(test_id_lives_as_long_as_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
