// LDFLAGS: -Wl,--wrap=calloc,--wrap=realloc -Wl,--wrap=sqlite3_open_v2,--wrap=sqlite3_prepare_v2,--wrap=sqlite3_prepare_v3
// LDFLAGS: -Wl,--wrap=sqlite3_bind_text64,--wrap=sqlite3_step,--wrap=sqlite3_exec,--wrap=sqlite3_wal_checkpoint_v2
// LDFLAGS: -Wl,--wrap=open,--wrap=write,--wrap=pread,--wrap=pwrite,--wrap=fsync,--wrap=fdatasync,--wrap=ftruncate
// LDFLAGS: -Wl,--wrap=fchmod,--wrap=mkdir,--wrap=unlink,--wrap=stat,--wrap=fstat,--wrap=statfs,--wrap=fstatvfs
// LDFLAGS: -Wl,--wrap=posix_fadvise,--wrap=posix_fallocate,--wrap=fcntl
// Every thing that can fail in the life of a store (fault/life.h) fails, one after the other, once or from then on. Each
// point is a process that lives until it is through, ends by its own decision or comes no further, and a second one
// without faults that goes on from there and is judged: nothing lost, doubled or reordered, the sum true, the store whole.
// In `make check` a sample of the points; with FULL=1 (make fault) all of them, and only the sweeps that an argument names.
#include "fault/life.h"
#include "support/store_kit.h"
#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 2, HANG_S = 60, SAMPLE = TRIBUTARY_CHECKS ? 1 : 3 }; // points of a sweep in `make check`

struct sweep {
    const char *name;
    struct points points;
    bool intercom, old_store, told_early;
};

// What the workers found. Shared.
struct found {
    int points, through, ended, aborted, gave_up, wrong;
    char first[400];
};

static bool full;
static struct life *scratch; // of each worker
static struct points *used;
static char directory[128];

static void *shared(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    return p;
}

// ---- processes ----

static void mute(const char *log)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0)
        _exit(3);
    close(fd);
}

enum how { LIVE, LIVE_UNSERVED, LIVE_AND_JUDGE };

static int in_child(struct life *life, struct points points, enum how how, const char *path, const char *log)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        mute(log);
        alarm(HANG_S);
        *used = points;
        points_use(used);
        if (how == LIVE_AND_JUDGE)
            life_live_and_judge(life, path);
        life_live(life, path, how == LIVE_UNSERVED);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static bool log_says(const char *log, const char *word)
{
    char text[8192];
    FILE *file = fopen(log, "r");
    if (!file)
        return false;
    bool found = false;
    while (!found && fgets(text, sizeof text, file))
        found = strstr(text, word);
    fclose(file);
    return found;
}

// Aborted by our own hand: an allocation that failed, or (want of memory while a value is bound) a must().
static bool is_decided(int status, const struct points *points, const char *log)
{
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        return false;
    bool bind = points->kind == POINT_SQL && points->code == SQLITE_NOMEM && log_says(log, "src/store/sql.c");
    bool sqlite = points->kind == POINT_SQLITE_MEMORY && log_says(log, "src/store/sql.c");
    return log_says(log, "out_of_memory") || bind || sqlite;
}

// ---- stores ----

static void path_of(int worker, const char *suffix, char out[200])
{
    snprintf(out, 200, "%s/%d.db%s", directory, worker, suffix);
}

static void remove_store(int worker)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock", ".ballast"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[200];
        path_of(worker, suffixes[i], path);
        unlink(path);
    }
}

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 20];
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    assert_true(in && out);
    size_t n = fread(bytes, 1, sizeof bytes, in);
    assert_true(n > 0 && n < sizeof bytes && fwrite(bytes, 1, n, out) == n);
    fclose(in);
    fclose(out);
}

// A store as the first version left it, with a round of messages, and the life so far.
static void make_old(struct life *old, char path[200])
{
    struct points none = {0};
    snprintf(path, 200, "%s/old.db", directory);
    *old = (struct life){0};
    int status = in_child(old, none, LIVE_UNSERVED, path, "old.log");
    assert_int_equal(status, 0);
    old->calls_at_start = 0;
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(
            db,
            KIT_BEFORE_REPLIES KIT_BEFORE_WAITING
            "DROP INDEX conversations_moved; ALTER TABLE conversations DROP COLUMN goes_on_in;"
            "DROP INDEX conversations_waiting; ALTER TABLE conversations DROP COLUMN account_waiting; ALTER TABLE accounts DROP COLUMN gone;"
            "ALTER TABLE store DROP COLUMN log_number;"
            "ALTER TABLE accounts DROP COLUMN order_barrier;"
            "ALTER TABLE accounts DROP COLUMN sum; ALTER TABLE sources DROP COLUMN sum;"
            "ALTER TABLE attempts DROP COLUMN sum; ALTER TABLE totals DROP COLUMN sum;"
            "PRAGMA user_version = 1; PRAGMA wal_checkpoint(TRUNCATE)",
            NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

// ---- one point ----

static void begin(int worker, const struct sweep *sweep, const struct life *old, const char *old_path)
{
    struct life *life = &scratch[worker];
    char path[200];
    remove_store(worker);
    memset(life, 0, offsetof(struct life, desk));
    if (sweep->intercom) // else it has not been touched
        memset(life->desk, 0, sizeof life->desk);
    if (sweep->old_store) {
        memcpy(life, old, offsetof(struct life, desk));
        path_of(worker, "", path);
        copy_file(old_path, path);
    }
    life->intercom = sweep->intercom;
    life->told_early = sweep->told_early;
}

static void note_wrong(struct found *found, const struct sweep *sweep, int64_t n, const char *what, int status,
                       int phase, const char *words)
{
    char text[sizeof found->first];
    snprintf(text, sizeof text, "%s, point %lld, phase %d: %s %s %d: %s", sweep->name, (long long)n, phase, what,
             WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
             words);
    if (full)
        print_message("# %s\n", text);
    if (!found->wrong++)
        memcpy(found->first, text, sizeof text);
}

static void try_point(int worker, const struct sweep *sweep, int64_t n, struct found *found)
{
    struct life *life = &scratch[worker];
    char path[200], log[32], second_log[32];
    path_of(worker, "", path);
    snprintf(log, sizeof log, "%d.log", worker);
    snprintf(second_log, sizeof second_log, "%d.second.log", worker);
    struct points points = sweep->points, none = {0};
    points.at = n;
    found->points++;
    int status = in_child(life, points, LIVE, path, log);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    bool may_give_up = points.lasting;
    if (is_decided(status, &points, log)) {
        found->aborted++;
    } else if (code == LIFE_THROUGH || code == LIFE_ENDED || (code == LIFE_GAVE_UP && may_give_up)) {
        found->through += code == LIFE_THROUGH;
        found->ended += code == LIFE_ENDED;
        found->gave_up += code == LIFE_GAVE_UP;
    } else {
        note_wrong(found, sweep, n, "the process ends with", status, life->phase, life->wrong);
        return;
    }
    status = in_child(life, none, LIVE_AND_JUDGE, path, second_log);
    if (status)
        note_wrong(found, sweep, n, "afterwards", status, life->phase, life->wrong);
}

// ---- sweeps ----

// How many points there are: those of an untouched life; of an old store's, those up to its start.
static int64_t count_points(const struct sweep *sweep, const struct life *old, const char *old_path)
{
    struct points points = sweep->points;
    char path[200];
    path_of(0, "", path);
    points.at = 0;
    begin(0, sweep, old, old_path);
    int status = in_child(&scratch[0], points, LIVE_AND_JUDGE, path, "count.log");
    if (status)
        fail_msg("%s: untouched it comes to %x: %s", sweep->name, (unsigned)status, scratch[0].wrong);
    return sweep->old_store ? scratch[0].calls_at_start : used->calls;
}

// Of a control only the points up to the first one that is found, from the start of the process on.
static void run(const struct sweep *sweep, const struct life *old, const char *old_path, bool control,
                struct found *found)
{
    int64_t count = count_points(sweep, old, old_path);
    int64_t step = control ? 3 : full ? 1 : (count + SAMPLE - 1) / SAMPLE;
    static int64_t turn; // samples of different sweeps lie at different places
    int64_t first = 1 + (control ? scratch[0].calls_at_start : full ? 0 : (turn++ * 7919) % step);
    pid_t workers[WORKERS];
    memset(found, 0, WORKERS * sizeof *found);
    fflush(NULL);
    for (int i = 0; i < WORKERS; i++) {
        if ((workers[i] = fork()) != 0)
            continue;
        used = shared(sizeof *used);
        for (int64_t n = first + i * step; n <= count && !(control && found[i].wrong); n += WORKERS * step) {
            begin(i, sweep, old, old_path);
            try_point(i, sweep, n, &found[i]);
        }
        remove_store(i);
        _exit(0);
    }
    for (int i = 0; i < WORKERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(workers[i], &status, 0), workers[i]);
        assert_int_equal(status, 0);
    }
    for (int i = 1; i < WORKERS; i++) {
        found->points += found[i].points;
        found->through += found[i].through;
        found->ended += found[i].ended;
        found->aborted += found[i].aborted;
        found->gave_up += found[i].gave_up;
        if (!found->wrong)
            memcpy(found->first, found[i].first, sizeof found->first);
        found->wrong += found[i].wrong;
    }
    print_message("# %s: %d of %lld points: %d through, %d ended, %d aborted, %d waited to the end; %d wrong\n",
                  sweep->name, found->points, (long long)count, found->through, found->ended, found->aborted,
                  found->gave_up, found->wrong);
}

#define MEMORY                                                                                                         \
    {                                                                                                                  \
        .kind = POINT_MEMORY                                                                                           \
    }
#define SQL(code_, how_)                                                                                               \
    {                                                                                                                  \
        .kind = POINT_SQL, .code = (code_), .how = (how_)                                                              \
    }
#define FILES(code_, how_)                                                                                             \
    {                                                                                                                  \
        .kind = POINT_FILE, .code = (code_), .how = (how_)                                                             \
    }
#define SQLITE_MEMORY                                                                                                  \
    {                                                                                                                  \
        .kind = POINT_SQLITE_MEMORY                                                                                    \
    }
#define SYSTEM(code_)                                                                                                  \
    {                                                                                                                  \
        .kind = POINT_SYSTEM, .code = (code_)                                                                          \
    }

// Each once and from then on, at both kinds of desk; what is met at the start also with a store of the first version.
static const struct sweep sweeps[] = {
    {.name = "memory", .points = MEMORY},
    {.name = "sql-io", .points = SQL(SQLITE_IOERR, POINT_PLAIN)},
    {.name = "sql-io-done", .points = SQL(SQLITE_IOERR, POINT_DONE)},
    {.name = "sql-full", .points = SQL(SQLITE_FULL, POINT_PLAIN)},
    {.name = "sql-busy", .points = SQL(SQLITE_BUSY, POINT_PLAIN)},
    {.name = "sql-nomem", .points = SQL(SQLITE_NOMEM, POINT_PLAIN)},
    {.name = "sql-corrupt", .points = SQL(SQLITE_CORRUPT, POINT_PLAIN)},
    {.name = "file-io", .points = FILES(EIO, POINT_PLAIN)},
    {.name = "file-io-torn", .points = FILES(EIO, POINT_TORN)},
    {.name = "file-full", .points = FILES(ENOSPC, POINT_PLAIN)},
    {.name = "sqlite-memory", .points = SQLITE_MEMORY},
    {.name = "system-io", .points = SYSTEM(EIO)},
    {.name = "system-full", .points = SYSTEM(ENOSPC)},
    {.name = "system-files", .points = SYSTEM(EMFILE)},
};

#if !TRIBUTARY_CHECKS
// What must be found.
static const struct sweep controls[] = {
    {.name = "control: memory, an accident", .points = {.kind = POINT_MEMORY, .how = POINT_ACCIDENT}},
    {.name = "control: sql-io, told early", .points = SQL(SQLITE_IOERR, POINT_PLAIN), .told_early = true},
    {.name = "control: sql, commits swallowed", .points = SQL(0, POINT_SWALLOWED)},
    {.name = "control: file-io, told early", .points = FILES(EIO, POINT_PLAIN), .told_early = true},
    {.name = "control: file, writes swallowed", .points = FILES(EIO, POINT_SWALLOWED)},
    {.name = "control: sqlite-memory, told early", .points = SQLITE_MEMORY, .told_early = true},
    {.name = "control: system, an accident", .points = {.kind = POINT_SYSTEM, .how = POINT_ACCIDENT}},
};
#endif

static const char *wanted = "";
static struct found *found;
static struct life *old;
static char old_path[200];
static int total;

static void sweep_variant(const struct sweep *sweep, bool lasting, bool intercom, bool old_store)
{
    char name[100];
    struct sweep variant = *sweep;
    snprintf(name, sizeof name, "%s %s, %s%s", sweep->name, lasting ? "from then on" : "once",
             intercom ? "intercom" : "webhook", old_store ? ", old store" : "");
    if (!strstr(name, wanted))
        return;
    variant.name = name;
    variant.points.lasting = lasting;
    variant.intercom = intercom;
    variant.old_store = old_store;
    run(&variant, old, old_path, false, found);
    total += found->points;
    if (found->wrong)
        fail_msg("%s", found->first);
    assert_true(found->points > 0);
}

static void test_nothing_that_fails_breaks_the_promise(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++)
        for (int lasting = 0; lasting < 2; lasting++) {
            sweep_variant(&sweeps[i], lasting, i & 1, false);
            if (TRIBUTARY_CHECKS) // many times slower
                continue;
            sweep_variant(&sweeps[i], lasting, !(i & 1), false);
            sweep_variant(&sweeps[i], lasting, false, true);
        }
    print_message("# %d points in all\n", total);
}

#if !TRIBUTARY_CHECKS
static void test_what_breaks_the_promise_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        struct sweep control = controls[i];
        if (!strstr(control.name, wanted))
            continue;
        control.points.lasting = true;
        run(&control, old, old_path, true, found);
        if (!found->wrong)
            fail_msg("%s: nothing was found", control.name);
    }
}
#endif

static int set_up(void **state)
{
    (void)state;
    scratch = shared(WORKERS * sizeof *scratch);
    used = shared(sizeof *used);
    found = shared(WORKERS * sizeof *found);
    old = shared(sizeof *old);
    snprintf(directory, sizeof directory,
             "/dev/shm/tributary-test-XXXXXX"); // where a flush costs nothing, if there is such
    if (!mkdtemp(directory))
        snprintf(directory, sizeof directory, ".");
    points_install();
    points_use(used);
    make_old(old, old_path);
    return 0;
}

static int clean_up(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[250];
        snprintf(path, sizeof path, "%s%s", old_path, suffixes[i]);
        unlink(path);
    }
    remove_store(0);
    rmdir(directory);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_that_fails_breaks_the_promise),
#if !TRIBUTARY_CHECKS // a sanitizer's report of the accidents would be one too many
        cmocka_unit_test(test_what_breaks_the_promise_is_found),
#endif
    };
    const char *own = getenv("TMPDIR"); // a directory of this run's
    full = getenv("FULL");
    wanted = argc > 1 ? argv[1] : "";
    if (own && chdir(own) != 0)
        return 1;
    return cmocka_run_group_tests(tests, set_up, clean_up);
}
