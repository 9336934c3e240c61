// SQLite's files on a disk that loses its power: in front of SQLite's own VFS, and of the calls by which src/store touches the
// same files itself (pwrite, ftruncate, fsync and fdatasync, wrapped by the linker; nothing is flushed for real). It remembers
// what each write replaced that was not flushed since; when the power goes, a random part of those writes stays, torn at
// sectors of 512 bytes. One store at a time, one thread.
#pragma once
#include "base/chance.h"

#include <stdbool.h>
#include <stdint.h>

struct power_vfs {
    bool armed;    // faults and ends may come: a call of the store is under way
    int64_t ends;  // at that call from now the process ends: the call is done, in part, and nothing after it; 0 = not
    int64_t fails; // that call from now fails; 0 = none
    int per_10000; // of all calls that fail
    bool lies;     // a flush does nothing (a negative control)
    struct chance chance;
    bool (*may)(void *arg, int64_t nth); // whether the drawn fault of that number may be
    void *arg;
    // Out
    bool ended;          // until power_vfs_lose or power_vfs_keep
    bool flush_failed;   // what was to be flushed may be lost though it can be read (rule S1)
    int64_t calls, hits; // so far: of all; faults among them
    int64_t writes;
    int64_t lost, torn; // unflushed writes of which nothing, or a part, stayed
};
extern struct power_vfs power_vfs;

// Once per process, before anything is opened.
void power_vfs_install(void);
// Other files from now on.
void power_vfs_clear(void);
// All connections are closed, and the power goes, or the page cache forgets what could not be flushed.
void power_vfs_lose(void);
// The process alone has ended: what it wrote is still there.
void power_vfs_keep(void);
