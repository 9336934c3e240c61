// What every file system in front of SQLite's own passes on as it is. A file of such a one begins with a struct vfs_front.
#pragma once
#include <sqlite3.h>

struct vfs_front {
    sqlite3_file base; // first
    sqlite3_file *real;
};

static inline sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct vfs_front *)file)->real;
}

static inline int file_lock(sqlite3_file *file, int lock)
{
    return real_of(file)->pMethods->xLock(real_of(file), lock);
}

static inline int file_unlock(sqlite3_file *file, int lock)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), lock);
}

static inline int file_check_lock(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static inline int file_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static inline int file_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static inline int file_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static inline void file_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static inline int file_shm_unmap(sqlite3_file *file, int delete)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete);
}

// For those that let these through, too.

static inline int pass_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static inline int pass_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xRead(real_of(file), p, n, at);
}

static inline int pass_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    return real_of(file)->pMethods->xWrite(real_of(file), p, n, at);
}

static inline int pass_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static inline int pass_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), out);
}

static inline int pass_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static inline int pass_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

// The members of sqlite3_io_methods that pass on. Version 2: no memory mapping, which the store does not use.
#define VFS_FRONT_PASSED                                                                                               \
    .iVersion = 2, .xClose = pass_close, .xFileSize = pass_size, .xLock = file_lock, .xUnlock = file_unlock,           \
    .xCheckReservedLock = file_check_lock, .xFileControl = file_control, .xSectorSize = file_sector_size,              \
    .xDeviceCharacteristics = file_characteristics, .xShmMap = pass_shm_map, .xShmLock = pass_shm_lock,                \
    .xShmBarrier = file_shm_barrier, .xShmUnmap = file_shm_unmap
