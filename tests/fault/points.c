#include "fault/points.h"

#include "support/fault_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct points *points;

static bool fails(enum point_kind kind)
{
    if (!points || points->kind != kind || points->paused)
        return false;
    points->calls++;
    if (!points->at || (points->lasting ? points->calls < points->at : points->calls != points->at))
        return false;
    points->hits++;
    if (points->how == POINT_ACCIDENT)
        raise(SIGSEGV);
    return true;
}

// ---- allocations of our own code ----

void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
    return fails(POINT_MEMORY) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails(POINT_MEMORY) ? NULL : __real_realloc(p, size);
}

// ---- SQL ----

int __real_sqlite3_open_v2(const char *name, sqlite3 **out, int flags, const char *vfs);
int __wrap_sqlite3_open_v2(const char *name, sqlite3 **out, int flags, const char *vfs);
int __real_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int size, sqlite3_stmt **out, const char **tail);
int __wrap_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int size, sqlite3_stmt **out, const char **tail);
int __real_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags, sqlite3_stmt **out,
                              const char **tail);
int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags, sqlite3_stmt **out,
                              const char **tail);
int __real_sqlite3_bind_text64(sqlite3_stmt *q, int index, const char *p, sqlite3_uint64 n, void (*done)(void *),
                               unsigned char encoding);
int __wrap_sqlite3_bind_text64(sqlite3_stmt *q, int index, const char *p, sqlite3_uint64 n, void (*done)(void *),
                               unsigned char encoding);
int __real_sqlite3_step(sqlite3_stmt *q);
int __wrap_sqlite3_step(sqlite3_stmt *q);
int __real_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **), void *arg,
                        char **error);
int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **), void *arg,
                        char **error);
int __real_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *in_log, int *moved);
int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *in_log, int *moved);

// Neither a commit nor a checkpoint.
static bool sql_fails(void)
{
    return points && points->how == POINT_PLAIN && fails(POINT_SQL);
}

int __wrap_sqlite3_open_v2(const char *name, sqlite3 **out, int flags, const char *vfs)
{
    if (!sql_fails())
        return __real_sqlite3_open_v2(name, out, flags, vfs);
    *out = NULL;
    return points->code;
}

int __wrap_sqlite3_prepare_v2(sqlite3 *db, const char *sql, int size, sqlite3_stmt **out, const char **tail)
{
    if (!sql_fails())
        return __real_sqlite3_prepare_v2(db, sql, size, out, tail);
    *out = NULL;
    return points->code;
}

int __wrap_sqlite3_prepare_v3(sqlite3 *db, const char *sql, int size, unsigned flags, sqlite3_stmt **out,
                              const char **tail)
{
    if (!sql_fails())
        return __real_sqlite3_prepare_v3(db, sql, size, flags, out, tail);
    *out = NULL;
    return points->code;
}

// Only for want of memory: the disk has no part in it.
int __wrap_sqlite3_bind_text64(sqlite3_stmt *q, int index, const char *p, sqlite3_uint64 n, void (*done)(void *),
                               unsigned char encoding)
{
    if (points && points->code == SQLITE_NOMEM && sql_fails())
        return SQLITE_NOMEM;
    return __real_sqlite3_bind_text64(q, index, p, n, done, encoding);
}

static bool begins(sqlite3_stmt *q, const char *word)
{
    return strncmp(sqlite3_sql(q), word, strlen(word)) == 0;
}

// What passes keeps nobody from rolling back: that needs neither room nor the lock.
static bool spares(sqlite3_stmt *q)
{
    bool passes = points->code == SQLITE_FULL || points->code == SQLITE_BUSY || points->code == SQLITE_NOMEM;
    if (points->how == POINT_SWALLOWED || points->how == POINT_DONE)
        return !begins(q, "COMMIT");
    return points->lasting && passes && begins(q, "ROLLBACK");
}

int __wrap_sqlite3_step(sqlite3_stmt *q)
{
    if (!points || points->kind != POINT_SQL || spares(q) || !fails(POINT_SQL))
        return __real_sqlite3_step(q);
    if (points->how == POINT_DONE)
        (void)__real_sqlite3_step(q);
    return points->how == POINT_SWALLOWED ? SQLITE_DONE : points->code;
}

int __wrap_sqlite3_exec(sqlite3 *db, const char *sql, int (*each)(void *, int, char **, char **), void *arg,
                        char **error)
{
    return sql_fails() ? points->code : __real_sqlite3_exec(db, sql, each, arg, error);
}

int __wrap_sqlite3_wal_checkpoint_v2(sqlite3 *db, const char *name, int mode, int *in_log, int *moved)
{
    if ((points && points->how == POINT_SWALLOWED) || !fails(POINT_SQL))
        return __real_sqlite3_wal_checkpoint_v2(db, name, mode, in_log, moved);
    if (points->how == POINT_DONE)
        (void)__real_sqlite3_wal_checkpoint_v2(db, name, mode, in_log, moved);
    return points->code;
}

// ---- allocations within SQLite ----

static sqlite3_mem_methods memory;

static void *sqlite_malloc(int size)
{
    return fails(POINT_SQLITE_MEMORY) ? NULL : memory.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size)
{
    return fails(POINT_SQLITE_MEMORY) ? NULL : memory.xRealloc(p, size);
}

// ---- calls of our own code to the system ----

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *p, size_t size);
ssize_t __wrap_write(int fd, const void *p, size_t size);
ssize_t __real_pread(int fd, void *p, size_t size, off_t at);
ssize_t __wrap_pread(int fd, void *p, size_t size, off_t at);
ssize_t __real_pwrite(int fd, const void *p, size_t size, off_t at);
ssize_t __wrap_pwrite(int fd, const void *p, size_t size, off_t at);

static bool system_fails(void)
{
    if (!fails(POINT_SYSTEM))
        return false;
    errno = points->code;
    return true;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    return system_fails() ? -1 : __real_open(path, flags, mode);
}

// The log's lines are nobody's business here: a process that cannot write one goes on.
ssize_t __wrap_write(int fd, const void *p, size_t size)
{
    return fd > STDERR_FILENO && system_fails() ? -1 : __real_write(fd, p, size);
}

ssize_t __wrap_pread(int fd, void *p, size_t size, off_t at)
{
    return system_fails() ? -1 : __real_pread(fd, p, size, at);
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t size, off_t at)
{
    return system_fails() ? -1 : __real_pwrite(fd, p, size, at);
}

// Calls that say 0, or -1 and errno.
#define CALL(name, parameters, arguments)                                                                              \
    int __real_##name parameters;                                                                                      \
    int __wrap_##name parameters;                                                                                      \
    int __wrap_##name parameters                                                                                       \
    {                                                                                                                  \
        return system_fails() ? -1 : __real_##name arguments;                                                          \
    }

// Calls that give the errno itself.
#define CALL_ERRNO(name, parameters, arguments)                                                                        \
    int __real_##name parameters;                                                                                      \
    int __wrap_##name parameters;                                                                                      \
    int __wrap_##name parameters                                                                                       \
    {                                                                                                                  \
        return system_fails() ? points->code : __real_##name arguments;                                                \
    }

CALL(fsync, (int fd), (fd))
CALL(fdatasync, (int fd), (fd))
CALL(ftruncate, (int fd, off_t size), (fd, size))
CALL(fchmod, (int fd, mode_t mode), (fd, mode))
CALL(mkdir, (const char *path, mode_t mode), (path, mode))
CALL(unlink, (const char *path), (path))
CALL(stat, (const char *path, struct stat *out), (path, out))
CALL(fstat, (int fd, struct stat *out), (fd, out))
CALL(statfs, (const char *path, struct statfs *out), (path, out))
CALL(fstatvfs, (int fd, struct statvfs *out), (fd, out))
CALL_ERRNO(posix_fadvise, (int fd, off_t at, off_t size, int advice), (fd, at, size, advice))
CALL_ERRNO(posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);

int __wrap_fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void *arg = va_arg(list, void *);
    va_end(list);
    return system_fails() ? -1 : __real_fcntl(fd, command, arg);
}

// ---- ----

void points_install(void)
{
    sqlite3_mem_methods methods;
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    methods = memory;
    methods.xMalloc = sqlite_malloc;
    methods.xRealloc = sqlite_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    fault_vfs_install();
}

void points_use(struct points *used)
{
    points = used;
    points->calls = points->hits = 0;
    fault_vfs_clear();
    if (used->kind == POINT_FILE)
        fault_vfs = (struct fault_vfs){.at = used->at,
                                       .once = !used->lasting,
                                       .error = used->code,
                                       .locks = true,
                                       .torn = used->how == POINT_TORN,
                                       .swallows = used->how == POINT_SWALLOWED};
}

struct points *points_used(void)
{
    return points;
}

void points_note(void)
{
    if (points->kind != POINT_FILE)
        return;
    points->calls = fault_vfs.calls;
    points->hits = fault_vfs.hits;
}
