#include "support/fault_vfs.h"

#include "support/vfs_front.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stddef.h>
#include <string.h>

struct fault_vfs fault_vfs;

static sqlite3_vfs *real_vfs;

enum call { LOOKS, WRITES, FLUSHES, GROWS };

static bool fails(enum call call)
{
    fault_vfs.calls++;
    if (fault_vfs.at == 0 || (fault_vfs.error == ENOSPC && call != WRITES && call != GROWS) ||
        (fault_vfs.swallows && call != WRITES && call != FLUSHES))
        return false;
    if (fault_vfs.once ? fault_vfs.calls != fault_vfs.at : fault_vfs.calls < fault_vfs.at)
        return false;
    if (fault_vfs.dies)
        raise(SIGKILL);
    fault_vfs.hits++;
    return true;
}

static int file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int file_read(sqlite3_file *file, void *p, int n, sqlite3_int64 at)
{
    return fails(LOOKS) ? SQLITE_IOERR_READ : real_of(file)->pMethods->xRead(real_of(file), p, n, at);
}

static int file_write(sqlite3_file *file, const void *p, int n, sqlite3_int64 at)
{
    if (!fails(WRITES))
        return real_of(file)->pMethods->xWrite(real_of(file), p, n, at);
    if (fault_vfs.swallows)
        return SQLITE_OK;
    if (fault_vfs.torn)
        real_of(file)->pMethods->xWrite(real_of(file), p, n / 2, at);
    errno = fault_vfs.error;
    return fault_vfs.error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    return fails(LOOKS) ? SQLITE_IOERR_TRUNCATE : real_of(file)->pMethods->xTruncate(real_of(file), size);
}

static int file_sync(sqlite3_file *file, int flags)
{
    if (!fails(FLUSHES))
        return real_of(file)->pMethods->xSync(real_of(file), flags);
    return fault_vfs.swallows ? SQLITE_OK : SQLITE_IOERR_FSYNC;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return fails(LOOKS) ? SQLITE_IOERR_FSTAT : real_of(file)->pMethods->xFileSize(real_of(file), out);
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    return fails(GROWS) ? SQLITE_IOERR_SHMSIZE
                        : real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    bool unlocks = flags & SQLITE_SHM_UNLOCK; // that cannot fail
    return fault_vfs.locks && !unlocks && fails(LOOKS)
               ? SQLITE_IOERR_SHMLOCK
               : real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

// Version 2: no memory mapping, which the store does not use.
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    struct vfs_front *f = (struct vfs_front *)file;
    f->base.pMethods = NULL;
    f->real = (sqlite3_file *)(f + 1);
    if (fails(LOOKS))
        return SQLITE_CANTOPEN;
    int code = real_vfs->xOpen(real_vfs, name, f->real, flags, out_flags);
    if (f->real->pMethods)
        f->base.pMethods = &methods;
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    (void)vfs;
    return fails(LOOKS) ? SQLITE_IOERR_DELETE : real_vfs->xDelete(real_vfs, name, sync_directory);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    (void)vfs;
    return fault_vfs.locks && fails(LOOKS) ? SQLITE_IOERR_ACCESS : real_vfs->xAccess(real_vfs, name, flags, out);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *out)
{
    (void)vfs, (void)size, (void)out;
    return fault_vfs.hits ? fault_vfs.error : errno;
}

void fault_vfs_install(void)
{
    static sqlite3_vfs vfs;
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "fault";
    vfs.pNext = NULL;
    vfs.szOsFile = real_vfs->szOsFile + (int)sizeof(struct vfs_front);
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    vfs.xAccess = vfs_access;
    vfs.xGetLastError = vfs_last_error;
    sqlite3_vfs_register(&vfs, 1);
}

void fault_vfs_clear(void)
{
    fault_vfs = (struct fault_vfs){0};
}
