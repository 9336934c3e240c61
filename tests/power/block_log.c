// An nbdkit plugin: a disk in memory that writes down all that is asked of it, for `make powerloss` (block_log.py reads it).
//
//   nbdkit ./block_log.so size=96M [log=FILE] [once=FILE]
//
// `once`: while there is such a file the next write removes it and fails.
//
// The log is a list of records, in the order in which the requests came; the bytes of a write follow its record. A request has a
// record when it begins and, but for reads, which have none, one when it has ended: only what ended before a flush began is
// covered by that flush. Times are CLOCK_MONOTONIC, which the programs that use the disk can read as well.
#define NBDKIT_API_VERSION 2
#include <errno.h>
#include <fcntl.h>
#include <nbdkit-plugin.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

enum record_kind { RECORD_WRITE = 1, RECORD_ZERO = 2, RECORD_FLUSH = 3, RECORD_END = 4, RECORD_FUA = 0x100 };

struct record {
    uint64_t number; // of the request, from 0; of an end: of the request that ended
    uint64_t at_ns;
    uint64_t offset;
    uint32_t length, kind;
};

static struct {
    int64_t size;
    char *bytes, *path, *once;
    int log; // -1: none
    uint64_t begun;
    pthread_mutex_t lock;
} disk = {.log = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static int disk_config(const char *key, const char *value)
{
    if (strcmp(key, "size") == 0)
        disk.size = nbdkit_parse_size(value);
    else if (strcmp(key, "log") == 0)
        disk.path = nbdkit_absolute_path(value);
    else if (strcmp(key, "once") == 0)
        disk.once = nbdkit_absolute_path(value);
    else {
        nbdkit_error("there are size, log and once, not %s", key);
        return -1;
    }
    return disk.size < 0 ? -1 : 0;
}

static int disk_get_ready(void)
{
    if (disk.size <= 0) {
        nbdkit_error("needs size=SIZE");
        return -1;
    }
    disk.bytes = mmap(NULL, (size_t)disk.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                      0);
    if (disk.path)
        disk.log = open(disk.path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (disk.bytes == MAP_FAILED || (disk.path && disk.log < 0)) {
        nbdkit_error("%s: %m", disk.path ? disk.path : "memory");
        return -1;
    }
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Under the lock. A log that cannot be written ends the disk: what it says must be all that happened.
static void note(struct record record, const void *bytes)
{
    if (disk.log < 0)
        return;
    record.at_ns = now_ns();
    struct iovec parts[2] = {{&record, sizeof record}, {(void *)(uintptr_t)bytes, bytes ? record.length : 0}};
    ssize_t size = (ssize_t)(parts[0].iov_len + parts[1].iov_len);
    if (writev(disk.log, parts, bytes ? 2 : 1) != size) {
        nbdkit_error("the log cannot be written: %m");
        _exit(1);
    }
}

static uint64_t note_begin(enum record_kind kind, uint32_t flags, const void *bytes, uint32_t length, uint64_t offset)
{
    uint32_t fua = flags & NBDKIT_FLAG_FUA ? RECORD_FUA : 0;
    uint64_t number = disk.begun++;
    note((struct record){.number = number, .offset = offset, .length = length, .kind = kind | fua}, bytes);
    return number;
}

static int note_end(uint64_t number)
{
    pthread_mutex_lock(&disk.lock);
    note((struct record){.number = number, .kind = RECORD_END}, NULL);
    pthread_mutex_unlock(&disk.lock);
    return 0;
}

static int disk_pread(void *handle, void *out, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)handle, (void)flags;
    pthread_mutex_lock(&disk.lock);
    memcpy(out, disk.bytes + offset, count);
    pthread_mutex_unlock(&disk.lock);
    return 0;
}

static int disk_pwrite(void *handle, const void *bytes, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)handle;
    if (disk.once && unlink(disk.once) == 0) {
        nbdkit_set_error(EIO);
        return -1;
    }
    pthread_mutex_lock(&disk.lock);
    uint64_t number = note_begin(RECORD_WRITE, flags, bytes, count, offset);
    memcpy(disk.bytes + offset, bytes, count);
    pthread_mutex_unlock(&disk.lock);
    return note_end(number);
}

static int disk_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
    (void)handle;
    pthread_mutex_lock(&disk.lock);
    uint64_t number = note_begin(RECORD_ZERO, flags, NULL, count, offset);
    memset(disk.bytes + offset, 0, count);
    pthread_mutex_unlock(&disk.lock);
    return note_end(number);
}

static int disk_flush(void *handle, uint32_t flags)
{
    (void)handle;
    pthread_mutex_lock(&disk.lock);
    uint64_t number = note_begin(RECORD_FLUSH, flags, NULL, 0, 0);
    pthread_mutex_unlock(&disk.lock);
    return note_end(number);
}

static void *disk_open(int readonly)
{
    (void)readonly;
    return &disk;
}

static int64_t disk_get_size(void *handle)
{
    (void)handle;
    return disk.size;
}

static int disk_can(void *handle)
{
    (void)handle;
    return 1;
}

static int disk_can_fua(void *handle)
{
    (void)handle;
    return NBDKIT_FUA_NATIVE;
}

static struct nbdkit_plugin plugin = {
    .name = "block-log",
    .config = disk_config,
    .get_ready = disk_get_ready,
    .open = disk_open,
    .get_size = disk_get_size,
    .can_flush = disk_can,
    .can_trim = disk_can,
    .can_zero = disk_can,
    .can_fua = disk_can_fua,
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .zero = disk_zero,
    .trim = disk_zero, // what was given up reads as zeros, which is one of the things it may read as
    .flush = disk_flush,
};

NBDKIT_REGISTER_PLUGIN(plugin)
