#include "sim/power_vfs.h"

#include "base/mem.h"
#include "base/must.h"
#include "support/vfs_front.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512, FILES = 2 }; // the database and its log

struct power_vfs power_vfs;

// One change that was not flushed: bytes that were written, or an end that was moved (new_bytes NULL).
struct change {
    int64_t at, size;   // a write; or `at` is the new end
    int64_t end_before; // of the file
    char *old_bytes;    // what was there, as far as the file went
    int64_t old_size;
    char *new_bytes;
};

// A file by its number, whoever opens it.
struct platter {
    dev_t device;
    ino_t number;
    int fd; // of our own
    bool is_there;
    struct change *changes;
    size_t count, room;
};

static struct platter platters[FILES];
static sqlite3_vfs *real_vfs;

ssize_t __real_pwrite(int fd, const void *p, size_t n, off_t at);
int __real_ftruncate(int fd, off_t size);
int __real_fsync(int fd);
int __real_fdatasync(int fd);
ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);

// ---- what is not flushed ----

static void forget(struct platter *platter)
{
    for (size_t i = 0; i < platter->count; i++) {
        free(platter->changes[i].old_bytes);
        free(platter->changes[i].new_bytes);
    }
    platter->count = 0;
}

static void drop(struct platter *platter)
{
    forget(platter);
    free(platter->changes);
    if (platter->is_there)
        close(platter->fd);
    *platter = (struct platter){0};
}

static struct change *add_change(struct platter *platter)
{
    if (platter->count == platter->room) {
        platter->room = platter->room ? platter->room * 2 : 16;
        platter->changes = mem_resize(platter->changes, platter->room * sizeof *platter->changes);
    }
    struct change *change = &platter->changes[platter->count++];
    *change = (struct change){0};
    return change;
}

// What a change from `at` on is about to replace.
static void remember(struct platter *platter, int64_t at, int64_t size, const void *bytes)
{
    struct change *change = add_change(platter);
    struct stat st;
    must(fstat(platter->fd, &st) == 0);
    change->at = at;
    change->size = size;
    change->end_before = st.st_size;
    int64_t until = bytes && at + size < st.st_size ? at + size : st.st_size;
    change->old_size = until > at ? until - at : 0;
    change->old_bytes = mem_new((size_t)change->old_size + 1);
    must(pread(platter->fd, change->old_bytes, (size_t)change->old_size, at) == change->old_size);
    if (bytes) {
        change->new_bytes = mem_dup(bytes, (size_t)size);
        power_vfs.writes++;
    }
}

static void flushed(struct platter *platter)
{
    if (!power_vfs.lies)
        forget(platter);
}

// ---- faults ----

enum fate { GOES, FAILS, LAST };

static enum fate fate_now(void)
{
    power_vfs.calls++;
    if (power_vfs.ended)
        return FAILS;
    if (!power_vfs.armed)
        return GOES;
    if (power_vfs.ends && !--power_vfs.ends) {
        power_vfs.ended = true;
        return LAST;
    }
    bool fails = power_vfs.fails && !--power_vfs.fails;
    if (power_vfs.per_10000 && (int)chance_below(&power_vfs.chance, 10000) < power_vfs.per_10000)
        fails |= power_vfs.may(power_vfs.arg, power_vfs.calls);
    power_vfs.hits += fails;
    return fails ? FAILS : GOES;
}

// Of a write that is the last, or fails, some sectors may have come through.
static int64_t part_of(int64_t size)
{
    int64_t sectors = (int64_t)chance_below(&power_vfs.chance, (uint64_t)(size / SECTOR) + 2);
    return sectors * SECTOR < size ? sectors * SECTOR : size;
}

// ---- SQLite's files ----

struct file {
    struct vfs_front front;  // first
    struct platter *platter; // NULL: another kind of file
};

static struct file *file_of(sqlite3_file *file)
{
    return (struct file *)file;
}

// Reads go on after the end, for those who look at what the process had.
static int file_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    if (!power_vfs.ended && fate_now() == FAILS)
        return SQLITE_IOERR_READ;
    return real_of(file)->pMethods->xRead(real_of(file), p, n, at);
}

static int write_through(sqlite3_file *file, const void *p, int64_t n, sqlite3_int64 at)
{
    if (file_of(file)->platter)
        remember(file_of(file)->platter, at, n, p);
    return real_of(file)->pMethods->xWrite(real_of(file), p, (int)n, at);
}

static int file_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    bool ended = power_vfs.ended;
    enum fate fate = fate_now();
    if (fate == GOES)
        return write_through(file, p, n, at);
    int64_t part = ended ? 0 : part_of(n);
    if (part)
        write_through(file, p, part, at);
    errno = EIO;
    return SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    enum fate fate = fate_now();
    if (fate == FAILS)
        return SQLITE_IOERR_TRUNCATE;
    if (file_of(file)->platter)
        remember(file_of(file)->platter, size, 0, NULL);
    int code = real_of(file)->pMethods->xTruncate(real_of(file), size);
    return fate == LAST ? SQLITE_IOERR_TRUNCATE : code;
}

// Not flushed for real: what stands in the page cache is the disk's cache here.
static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    enum fate fate = fate_now();
    if (fate == FAILS) {
        power_vfs.flush_failed |= !power_vfs.ended;
        return SQLITE_IOERR_FSYNC;
    }
    if (file_of(file)->platter && (fate == GOES || chance_below(&power_vfs.chance, 2)))
        flushed(file_of(file)->platter);
    return fate == LAST ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    VFS_FRONT_PASSED, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate, .xSync = file_sync,
};

static struct platter *find_platter(const struct stat *st)
{
    for (int i = 0; i < FILES; i++)
        if (platters[i].is_there && platters[i].device == st->st_dev && platters[i].number == st->st_ino)
            return &platters[i];
    return NULL;
}

static struct platter *take_platter(const char *path, int flags)
{
    struct stat st;
    if (!(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) || stat(path, &st) != 0)
        return NULL;
    struct platter *platter = &platters[flags & SQLITE_OPEN_WAL ? 1 : 0];
    if (find_platter(&st) == platter)
        return platter;
    drop(platter);
    *platter = (struct platter){
        .device = st.st_dev, .number = st.st_ino, .is_there = true, .fd = open(path, O_RDWR | O_CLOEXEC)};
    must(platter->fd >= 0);
    return platter;
}

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    struct file *f = file_of(file);
    f->front.base.pMethods = NULL;
    f->platter = NULL;
    f->front.real = (sqlite3_file *)(f + 1);
    int code = real_vfs->xOpen(real_vfs, name, f->front.real, flags, out_flags);
    if (f->front.real->pMethods)
        f->front.base.pMethods = &methods;
    if (code == SQLITE_OK && name)
        f->platter = take_platter(name, flags);
    return code;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs, (void)size, (void)out;
    return errno;
}

void power_vfs_install(void)
{
    static sqlite3_vfs vfs;
    if (vfs.zName)
        return;
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); // as the store would
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "power";
    vfs.pNext = NULL;
    vfs.szOsFile = real_vfs->szOsFile + (int)sizeof(struct file);
    vfs.xOpen = vfs_open;
    vfs.xGetLastError = vfs_last_error;
    sqlite3_vfs_register(&vfs, 1);
}

// ---- what the store does to them itself ----

static struct platter *platter_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? find_platter(&st) : NULL;
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
    struct platter *platter = platter_of(fd);
    if (!platter)
        return __real_pwrite(fd, p, n, at);
    if (fate_now() != GOES) {
        errno = EIO;
        return -1;
    }
    remember(platter, at, (int64_t)n, p);
    return __real_pwrite(fd, p, n, at);
}

int __wrap_ftruncate(int fd, off_t size)
{
    struct platter *platter = platter_of(fd);
    if (platter)
        remember(platter, size, 0, NULL);
    return __real_ftruncate(fd, size);
}

static int flush(int fd)
{
    struct platter *platter = platter_of(fd);
    if (!platter)
        return 0;
    if (fate_now() != GOES) {
        power_vfs.flush_failed |= !power_vfs.ended;
        errno = EIO;
        return -1;
    }
    flushed(platter);
    return 0;
}

int __wrap_fsync(int fd)
{
    return flush(fd);
}

int __wrap_fdatasync(int fd)
{
    return flush(fd);
}

// ---- the power goes ----

static void put(int fd, const void *p, int64_t n, int64_t at)
{
    must(n <= 0 || __real_pwrite(fd, p, (size_t)n, at) == n);
}

static void undo(int fd, const struct change *change)
{
    put(fd, change->old_bytes, change->old_size, change->at);
    must(__real_ftruncate(fd, change->end_before) == 0);
}

// Sectors that came through, each by chance.
static void redo_torn(int fd, const struct change *change)
{
    for (int64_t from = 0, to; from < change->size; from = to) {
        to = (change->at + from) / SECTOR * SECTOR + SECTOR - change->at;
        to = to < change->size ? to : change->size;
        if (chance_below(&power_vfs.chance, 2))
            put(fd, change->new_bytes + from, to - from, change->at + from);
    }
}

static void redo(int fd, const struct change *change)
{
    if (change->new_bytes)
        put(fd, change->new_bytes, change->size, change->at);
    else
        must(__real_ftruncate(fd, change->at) == 0);
}

// Either of all some, or all up to one.
static void lose_some(struct platter *platter)
{
    int stays = (int[]){0, 20, 50, 90}[chance_below(&power_vfs.chance, 4)];
    int torn = (int[]){0, 20, 100}[chance_below(&power_vfs.chance, 3)];
    size_t until = chance_below(&power_vfs.chance, 2) ? chance_below(&power_vfs.chance, platter->count + 1) : 0;
    int fd = platter->fd;
    for (size_t i = platter->count; i-- > 0;)
        undo(fd, &platter->changes[i]);
    for (size_t i = 0; i < platter->count; i++) {
        const struct change *change = &platter->changes[i];
        if (i < until || (int)chance_below(&power_vfs.chance, 100) < stays) {
            redo(fd, change);
        } else if (change->new_bytes && (int)chance_below(&power_vfs.chance, 100) < torn) {
            redo_torn(fd, change);
            power_vfs.torn++;
        } else {
            power_vfs.lost++;
        }
    }
    forget(platter);
}

void power_vfs_lose(void)
{
    for (int i = 0; i < FILES; i++)
        if (platters[i].count)
            lose_some(&platters[i]);
    power_vfs_keep();
}

void power_vfs_keep(void)
{
    power_vfs.ended = power_vfs.flush_failed = false;
    power_vfs.ends = power_vfs.fails = 0;
}

void power_vfs_clear(void)
{
    for (int i = 0; i < FILES; i++)
        drop(&platters[i]);
    power_vfs = (struct power_vfs){0};
}
