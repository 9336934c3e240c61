// <directory>/<first two digits>/<hash>; <directory>/new/<n> while it is written.
//
// What a crash leaves, at each point of media_file_keep: before the rename a file in new/, removed at the next opening; after it a
// whole file under its hash, whose name may or may not be on the disk yet. Nobody was told of it then, and whoever keeps the
// same bytes again flushes the directory again. A subdirectory that was made without its name being flushed is flushed at the opening.
//
// A flush that failed is not repeated (rule S1: a second one may succeed and have lost what the first did not write): the
// file is removed, with whatever of it the page cache still holds.
#include "store/media_files.h"

#include "base/mem.h"
#include "store/media_files_sum.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PART_SIZE = 3, NUMBER_SIZE = 24 }; // names of subdirectories and of new files, with their end

struct dir_files {
    struct media_files base; // first
    char *path;
    int directory, new; // descriptors: the same numbers all the time, since any thread uses them
    int64_t floor_bytes;
    uint64_t begun; // names the next new file
};

struct media_file {
    struct dir_files *files;
    char name[NUMBER_SIZE]; // in new/
    int fd;
    int failed; // a write did: it is never kept
    struct media_files_sum sum;
};

static struct dir_files *files_of(struct media_files *base)
{
    return (struct dir_files *)base;
}

static int err_of_errno(void)
{
    return errno == ENOSPC || errno == EDQUOT ? ERR_FULL : errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
}

// No link is followed below the directory: what is one was not put there by us.
static int open_directory(int at, const char *name)
{
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

// The subdirectory of this hash and the name in it. ERR_NOT_FOUND, ERR_IO.
static int open_part(const struct dir_files *files, struct str hash, char out_name[FILE_HASH_SIZE + 1])
{
    if (!media_files_is_hash(hash))
        return ERR_NOT_FOUND;
    memcpy(out_name, hash.p, FILE_HASH_SIZE);
    out_name[FILE_HASH_SIZE] = 0;
    char part[PART_SIZE] = {hash.p[0], hash.p[1], 0};
    int fd = open_directory(files->directory, part);
    return fd >= 0 ? fd : err_of_errno();
}

// ---- one that is written

static bool is_below_floor(const struct dir_files *files)
{
    struct statvfs disk;
    if (fstatvfs(files->directory, &disk) != 0)
        return false; // what cannot be told is left to the write
    return (double)disk.f_bavail * (double)disk.f_frsize < (double)files->floor_bytes;
}

static void reopen(struct dir_files *files);

static int open_one(const struct dir_files *files, const char *name)
{
    return openat(files->new, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static struct media_file *dir_begin(struct media_files *base, int *out_err)
{
    struct dir_files *files = files_of(base);
    if (is_below_floor(files)) {
        *out_err = ERR_FULL;
        return NULL;
    }
    struct media_file *file = mem_new_of(struct media_file);
    file->files = files;
    snprintf(file->name, sizeof file->name, "%llu", (unsigned long long)files->begun++);
    file->fd = open_one(files, file->name);
    if (file->fd < 0 && errno == ENOENT) { // the directory was removed
        reopen(files);
        file->fd = open_one(files, file->name);
    }
    if (file->fd < 0) {
        *out_err = err_of_errno() == ERR_FULL ? ERR_FULL : ERR_IO;
        free(file);
        return NULL;
    }
    media_files_sum_init(&file->sum);
    return file;
}

static int dir_write(struct media_file *file, struct str bytes)
{
    for (size_t done = 0; done < bytes.n && !file->failed;) {
        ssize_t n = write(file->fd, bytes.p + done, bytes.n - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            file->failed = n == 0                       ? ERR_IO
                           : errno == EFBIG             ? ERR_TOO_LARGE
                           : err_of_errno() == ERR_FULL ? ERR_FULL
                                                        : ERR_IO;
    }
    if (!file->failed)
        media_files_sum_add(&file->sum, bytes);
    return file->failed;
}

static void dir_drop(struct media_file *file)
{
    if (!file)
        return;
    unlinkat(file->files->new, file->name, 0); // gone already, when it was kept
    close(file->fd);
    media_files_sum_done(&file->sum);
    free(file);
}

static int flush(int fd)
{
    if (fsync(fd) == 0)
        return ERR_OK;
    return err_of_errno() == ERR_FULL ? ERR_FULL : ERR_IO;
}

// Made if need be, and then durable.
static int make_part(const struct dir_files *files, const char *hash)
{
    const char part[PART_SIZE] = {hash[0], hash[1], 0};
    if (mkdirat(files->directory, part, 0700) != 0)
        return errno == EEXIST ? ERR_OK : err_of_errno() == ERR_FULL ? ERR_FULL : ERR_IO;
    int err = flush(files->directory);
    if (err)
        unlinkat(files->directory, part, AT_REMOVEDIR);
    return err;
}

// From new/ to its hash in the open subdirectory. One that is there already is replaced: it is the same, or has rotted.
static int put_into(const struct media_file *file, int part, const char *hash)
{
    struct stat st;
    bool is_first = fstatat(part, hash, &st, AT_SYMLINK_NOFOLLOW) != 0;
    if (renameat(file->files->new, file->name, part, hash) != 0)
        return err_of_errno() == ERR_FULL ? ERR_FULL : ERR_IO;
    int err = flush(part);
    if (err && is_first) // others may have been told of the one before, and it is whole whichever of the two is found
        unlinkat(part, hash, 0);
    return err;
}

static int put(const struct media_file *file, const char *hash)
{
    char name[FILE_HASH_SIZE + 1];
    int err = make_part(file->files, hash);
    if (err)
        return err;
    int part = open_part(file->files, str_of(hash), name);
    if (part < 0)
        return ERR_IO;
    err = put_into(file, part, name);
    close(part);
    return err;
}

static int dir_keep(struct media_file *file, char out_hash[FILE_HASH_SIZE + 1], int64_t *out_size, struct str *out_mime)
{
    char hash[FILE_HASH_SIZE + 1];
    struct str mime = STR_NONE;
    int err = file->failed;
    if (!err)
        err = flush(file->fd);
    if (!err) {
        media_files_sum_end(&file->sum, hash, &mime);
        err = put(file, hash);
    }
    if (!err) {
        memcpy(out_hash, hash, sizeof hash);
        *out_size = file->sum.size;
        *out_mime = mime;
    }
    dir_drop(file);
    return err;
}

// ---- those that are kept

// Not flushed: one that comes back after a power failure is one that nobody has, as after a crash between keeping and storing.
static int dir_remove(struct media_files *base, struct str hash)
{
    char name[FILE_HASH_SIZE + 1];
    int part = open_part(files_of(base), hash, name);
    if (part < 0)
        return part == ERR_NOT_FOUND ? ERR_NOT_FOUND : ERR_IO;
    int err = unlinkat(part, name, 0) == 0 ? ERR_OK : errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    close(part);
    return err;
}

static int64_t size_in(int part, const char *name)
{
    struct stat st;
    return fstatat(part, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : -1;
}

static int64_t dir_find(struct media_files *base, struct str hash)
{
    char name[FILE_HASH_SIZE + 1];
    int part = open_part(files_of(base), hash, name);
    if (part < 0)
        return -1;
    int64_t size = size_in(part, name);
    close(part);
    return size;
}

static int64_t read_at(int fd, int64_t offset, char *room, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t n = pread(fd, room + done, size - done, (off_t)offset + (off_t)done);
        if (n == 0)
            break;
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            return ERR_IO;
    }
    return (int64_t)done;
}

static int64_t dir_read(struct media_files *base, struct str hash, int64_t offset, char *room, size_t size)
{
    char name[FILE_HASH_SIZE + 1];
    int part = open_part(files_of(base), hash, name);
    if (part < 0)
        return part == ERR_NOT_FOUND ? ERR_NOT_FOUND : ERR_IO;
    int fd = openat(part, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int64_t n = fd >= 0 ? read_at(fd, offset, room, size) : errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    if (fd >= 0)
        close(fd);
    close(part);
    return n;
}

// Takes the descriptor. Names that are not ours are left out.
static int each_of(int part, const char *prefix, void (*each)(void *arg, struct str hash, int64_t size), void *arg)
{
    DIR *list = fdopendir(part);
    const struct dirent *entry;
    if (!list) {
        close(part);
        return ERR_IO;
    }
    errno = 0;
    while ((entry = readdir(list))) {
        struct str hash = str_of(entry->d_name);
        int64_t size = media_files_is_hash(hash) && str_starts(hash, str_of(prefix)) ? size_in(part, hash.p) : -1;
        if (size >= 0)
            each(arg, hash, size);
        errno = 0;
    }
    int err = errno ? ERR_IO : ERR_OK;
    closedir(list);
    return err;
}

static int dir_each_in(struct media_files *base, int part, void (*each)(void *arg, struct str hash, int64_t size),
                       void *arg)
{
    char prefix[PART_SIZE];
    snprintf(prefix, sizeof prefix, "%02x", (unsigned)part);
    int directory = open_directory(files_of(base)->directory, prefix);
    if (directory < 0)
        return errno == ENOENT ? ERR_OK : ERR_IO;
    return each_of(directory, prefix, each, arg);
}

static void dir_free(struct media_files *base)
{
    struct dir_files *files = files_of(base);
    if (files->new >= 0)
        close(files->new);
    if (files->directory >= 0)
        close(files->directory);
    free(files->path);
    free(files);
}

static const struct media_files_ops dir_ops = {
    .free = dir_free,
    .begin = dir_begin,
    .write = dir_write,
    .keep = dir_keep,
    .drop = dir_drop,
    .remove = dir_remove,
    .find = dir_find,
    .read = dir_read,
    .each_in = dir_each_in,
};

// ---- opening

static const char *trouble(struct arena *arena, const char *what, const char *path)
{
    int error = errno;
    return arena_printf(arena, "%s %s: %s", what, path, strerror(error)).p;
}

// The name of what was made in it is durable.
static bool flush_above(const char *directory)
{
    char *above = mem_dup(directory, strlen(directory));
    size_t n = strlen(above);
    while (n > 1 && above[n - 1] == '/')
        n--;
    while (n > 0 && above[n - 1] != '/')
        n--;
    above[n] = 0;
    int fd = open(n ? above : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    free(above);
    return good;
}

static const char *open_top(struct dir_files *files, const char *directory, struct arena *arena)
{
    if (mkdir(directory, 0700) == 0) {
        if (!flush_above(directory))
            return trouble(arena, "cannot flush what lies above", directory);
    } else if (errno != EEXIST) {
        return trouble(arena, "the directory of files cannot be made,", directory);
    }
    // A link here is the operator's, to another disk.
    files->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->directory < 0)
        return trouble(arena, "cannot open the directory of files,", directory);
    if (fsync(files->directory) != 0)
        return trouble(arena, "cannot flush the directory of files,", directory);
    return NULL;
}

static bool remove_all_in(int fd)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = own >= 0 ? fdopendir(own) : NULL;
    const struct dirent *entry;
    if (!list) {
        if (own >= 0)
            close(own);
        return false;
    }
    errno = 0;
    while (!errno && (entry = readdir(list)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlinkat(fd, entry->d_name, 0);
    int error = errno;
    closedir(list);
    errno = error;
    return !error;
}

static const char *open_new(struct dir_files *files, const char *directory, struct arena *arena)
{
    if (mkdirat(files->directory, "new", 0700) != 0 && errno != EEXIST)
        return trouble(arena, "cannot make \"new\" in", directory);
    files->new = open_directory(files->directory, "new");
    if (files->new < 0)
        return trouble(arena, "cannot open \"new\" in", directory);
    if (!remove_all_in(files->new))
        return trouble(arena, "cannot remove what a crash left in \"new\" of", directory);
    if (faccessat(files->directory, ".", W_OK | X_OK, AT_EACCESS) != 0 ||
        faccessat(files->new, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return trouble(arena, "cannot write in", directory);
    return NULL;
}

// Made anew where it was. What is being written in the old one is lost.
static void reopen(struct dir_files *files)
{
    struct dir_files fresh = {.directory = -1, .new = -1};
    struct arena arena = {0};
    if (!open_top(&fresh, files->path, &arena) && !open_new(&fresh, files->path, &arena)) {
        dup3(fresh.directory, files->directory, O_CLOEXEC);
        dup3(fresh.new, files->new, O_CLOEXEC);
    }
    if (fresh.new >= 0)
        close(fresh.new);
    if (fresh.directory >= 0)
        close(fresh.directory);
    arena_done(&arena);
}

struct media_files *media_files_open(const char *directory, int64_t floor_bytes, struct arena *arena, const char **why)
{
    struct dir_files *files = mem_new_of(struct dir_files);
    *files = (struct dir_files){.base.ops = &dir_ops,
                                .path = mem_dup(directory, strlen(directory)),
                                .directory = -1,
                                .new = -1,
                                .floor_bytes = floor_bytes};
    const char *trouble_found = open_top(files, directory, arena);
    if (!trouble_found)
        trouble_found = open_new(files, directory, arena);
    if (trouble_found) {
        dir_free(&files->base);
        *why = trouble_found;
        return NULL;
    }
    return &files->base;
}
