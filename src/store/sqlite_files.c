#include "store/sqlite_files.h"

#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { ROOM_BYTES = 256 * 1024, PID_BYTES = 20 };

static const char made[] = "made\n"; // in the lock file, behind the number

// Network file systems: the log's shared memory does not work over them, and their locks hold no second machine
// off (S7). FUSE is not among them: it may be anything, and works where it is local.
static const struct {
    uint32_t magic;
    const char *name;
} network_fs[] = {
    {0x6969, "nfs"},        {0x517b, "smb"},      {0xff534d42, "cifs"}, {0xfe534d42, "smb2"},  {0x01021997, "9p"},
    {0x00c36400, "ceph"},   {0x5346414f, "afs"},  {0x6b414653, "afs"},  {0x73757245, "coda"},  {0x564c, "ncp"},
    {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"}, {0x01161970, "gfs2"}, {0x7461636f, "ocfs2"},
};

static char *path_with(const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    char *text = mem_new(size);
    snprintf(text, size, "%s%s", path, suffix);
    return text;
}

// SQLite gives ":memory:" and "file:..." a meaning of their own; with a directory before it a name is a name.
static char *plain_path(const char *path)
{
    size_t size = strlen(path) + 3;
    char *text = mem_new(size);
    snprintf(text, size, "%s%s", *path == '/' ? "" : "./", path);
    return text;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_dup(".", 1);
    return mem_dup(path, slash == path ? 1 : (size_t)(slash - path));
}

static const char *trouble(struct arena *arena, const char *what, const char *path)
{
    int error = errno;
    return arena_printf(arena, "%s %s: %s", what, path, strerror(error)).p;
}

static const char *make_directory(const char *directory, struct arena *arena)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return trouble(arena, "the directory of the store cannot be made,", directory);
    struct stat st;
    if (stat(directory, &st) != 0 || !S_ISDIR(st.st_mode))
        return arena_printf(arena, "%s is not a directory that can be used", directory).p;
    return NULL;
}

static const char *check_fs(const char *directory, struct arena *arena)
{
    struct statfs fs;
    if (statfs(directory, &fs) != 0)
        return trouble(arena, "cannot look at the file system of", directory);
    for (size_t i = 0; i < sizeof network_fs / sizeof *network_fs; i++)
        if ((uint32_t)fs.f_type == network_fs[i].magic)
            return arena_printf(arena,
                                "%s is on a network file system (%s), where a store cannot be kept safe; put it "
                                "on a local disk",
                                directory, network_fs[i].name)
                .p;
    return NULL;
}

// The number that the holder wrote; only for the sentence, the lock itself is what counts.
static const char *held_by(int fd, const char *path, struct arena *arena)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? (size_t)n : 0] = 0;
    text[strcspn(text, " \n")] = 0;
    return arena_printf(arena, "another process (pid %s) has the store %s open", *text ? text : "unknown", path).p;
}

// An open file description's lock: a second opening is refused in the same process too, and closing another
// descriptor of the file does not lose it. The file stays when we go: removing it would race.
//
// Its file is never cut short: what it says of the store stays behind the number.
static const char *take_lock(struct sqlite_files *files, struct arena *arena)
{
    char *path = path_with(files->path, ".lock");
    const char *why = NULL;
    files->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (files->lock < 0) {
        why = trouble(arena, "cannot open", path);
    } else if (fcntl(files->lock, F_OFD_SETLK, &lock) != 0) {
        why = errno == EAGAIN || errno == EACCES ? held_by(files->lock, files->path, arena)
                                                 : trouble(arena, "cannot lock", path);
    } else {
        char text[PID_BYTES + 1], was[sizeof made] = "";
        snprintf(text, sizeof text, "%-*ld\n", PID_BYTES - 1, (long)getpid());
        files->was_made = pread(files->lock, was, sizeof made - 1, PID_BYTES) > 0 && strcmp(was, made) == 0;
        if (pwrite(files->lock, text, PID_BYTES, 0) != PID_BYTES)
            why = trouble(arena, "cannot write", path);
    }
    free(path);
    return why;
}

static bool flush_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

// What an earlier process wrote and failed to flush may still stand in the page cache, marked clean (S1): flush
// what is dirty, drop the rest, so that SQLite reads what the disk really has.
static bool evict(int fd)
{
    return fdatasync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0;
}

static const char *prepare_database(const struct sqlite_files *files, const char *directory, struct arena *arena)
{
    int fd = open(files->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return trouble(arena, "cannot open the store", files->path);
    struct stat st;
    const char *why = NULL;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        why = arena_printf(arena, "the store %s is not a regular file", files->path).p;
    // Secrets lie in it. SQLite gives its other files the mode of this one.
    else if ((st.st_mode & 0777) != 0600 && fchmod(fd, 0600) != 0)
        why = trouble(arena, "cannot make private", files->path);
    else if (!evict(fd) || !flush_directory(directory))
        why = trouble(arena, "cannot flush the store", files->path);
    close(fd);
    return why;
}

static const char *prepare_log(const struct sqlite_files *files, struct arena *arena)
{
    char *path = path_with(files->path, "-wal");
    const char *why = NULL;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        why = trouble(arena, "cannot open", path);
    else if (fd >= 0 && (fchmod(fd, 0600) != 0 || !evict(fd)))
        why = trouble(arena, "cannot flush", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return why;
}

// Without its database SQLite would throw the log away, and with it what was acknowledged; and a store that has gone altogether
// is no new one.
static const char *check_is_there(const struct sqlite_files *files, struct arena *arena)
{
    const char *path = files->path;
    char *log = path_with(path, "-wal");
    struct stat database, st;
    bool empty = stat(path, &database) != 0 || database.st_size == 0;
    const char *why = NULL;
    if (empty && stat(log, &st) == 0 && st.st_size > 0)
        why = arena_printf(arena,
                           "%s is there and the store %s that it belongs to is not: put the store back beside it, or "
                           "remove it to begin with nothing",
                           log, path)
                  .p;
    else if (empty && files->was_made)
        why = arena_printf(arena,
                           "the store %s is empty and was not: put it, or a backup, in its place, or remove %s.lock to "
                           "begin with nothing",
                           path, path)
                  .p;
    free(log);
    return why;
}

const char *sqlite_files_open(struct sqlite_files *files, const char *path, bool force_network_fs,
                              int64_t ballast_bytes, struct arena *arena)
{
    *files = (struct sqlite_files){.path = plain_path(path), .lock = -1, .ballast_bytes = ballast_bytes};
    char *directory = directory_of(path);
    const char *why = make_directory(directory, arena);
    if (!why && !force_network_fs)
        why = check_fs(directory, arena);
    if (!why)
        why = take_lock(files, arena);
    if (!why)
        why = check_is_there(files, arena);
    if (!why)
        why = prepare_database(files, directory, arena);
    if (!why)
        why = prepare_log(files, arena);
    free(directory);
    if (why)
        sqlite_files_close(files);
    return why;
}

void sqlite_files_close(struct sqlite_files *files)
{
    if (files->lock >= 0)
        close(files->lock);
    files->lock = -1;
    free(files->path);
    files->path = NULL;
    for (size_t i = 0; i < SQLITE_FILES; i++) {
        free(files->open[i].path);
        files->open[i].path = NULL;
    }
}

// Where it cannot be said, nothing but this belt is missing.
void sqlite_files_mark_made(struct sqlite_files *files)
{
    if (!files->was_made)
        files->was_made = pwrite(files->lock, made, sizeof made - 1, PID_BYTES) == sizeof made - 1 &&
                          fdatasync(files->lock) == 0;
}

void sqlite_files_remember(struct sqlite_files *files)
{
    static const char *const suffixes[SQLITE_FILES] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < SQLITE_FILES; i++) {
        char *path = path_with(files->path, suffixes[i]);
        struct stat st;
        if (stat(path, &st) != 0) {
            free(path);
            continue;
        }
        files->open[i].path = path;
        files->open[i].device = st.st_dev;
        files->open[i].number = st.st_ino;
    }
}

const char *sqlite_files_gone(const struct sqlite_files *files)
{
    for (size_t i = 0; i < SQLITE_FILES; i++) {
        struct stat st;
        if (files->open[i].path && (stat(files->open[i].path, &st) != 0 || st.st_ino != files->open[i].number ||
                                    st.st_dev != files->open[i].device))
            return files->open[i].path;
    }
    return NULL;
}

static int write_zeros(int fd, int64_t from, int64_t to)
{
    static const char zeros[64 * 1024];
    while (from < to) {
        size_t size = (size_t)(to - from) < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        ssize_t n = pwrite(fd, zeros, size, from);
        if (n <= 0)
            return n == 0 || errno == ENOSPC || errno == EDQUOT ? ERR_FULL : ERR_IO;
        from += n;
    }
    return 0;
}

int sqlite_files_grow_log(const struct sqlite_files *files, int64_t bytes)
{
    char *path = path_with(files->path, "-wal");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    free(path);
    struct stat st;
    // First that it was emptied: else a power cut could leave its former beginning before zeros, which would be played back
    // over what is newer.
    int err = fd < 0 || fsync(fd) != 0 || fstat(fd, &st) != 0 ? ERR_IO : 0;
    if (!err && st.st_size < bytes) {
        err = write_zeros(fd, st.st_size, bytes);
        if (!err && fsync(fd) != 0)
            err = ERR_IO;
    }
    if (fd >= 0)
        close(fd);
    return err;
}

static int64_t room(const struct sqlite_files *files)
{
    struct statvfs fs;
    if (fstatvfs(files->lock, &fs) != 0)
        return INT64_MAX; // not known: the disk itself will say
    return (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

bool sqlite_files_is_low(const struct sqlite_files *files)
{
    return files->ballast_bytes > 0 && room(files) < files->ballast_bytes;
}

bool sqlite_files_has_room(const struct sqlite_files *files)
{
    char *path = path_with(files->path, ".room");
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool has = fd >= 0 && write_zeros(fd, 0, ROOM_BYTES) == 0;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return has;
}

bool sqlite_files_drop_ballast(struct sqlite_files *files)
{
    if (!files->ballast_is_there)
        return false;
    files->ballast_is_there = false;
    char *path = path_with(files->path, ".ballast");
    bool gone = unlink(path) == 0;
    free(path);
    return gone;
}

void sqlite_files_take_ballast(struct sqlite_files *files)
{
    if (files->ballast_bytes <= 0 || files->ballast_is_there)
        return;
    char *path = path_with(files->path, ".ballast");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0) {
        bool fits = st.st_size >= files->ballast_bytes || room(files) > 2 * files->ballast_bytes;
        files->ballast_is_there = fits && posix_fallocate(fd, 0, files->ballast_bytes) == 0;
        if (!files->ballast_is_there)
            unlink(path);
    }
    if (fd >= 0)
        close(fd);
    free(path);
}

int64_t sqlite_files_log_bytes(const char *path)
{
    char *log = path_with(path, "-wal");
    struct stat st;
    int64_t bytes = stat(log, &st) == 0 ? st.st_size : 0;
    free(log);
    return bytes;
}
