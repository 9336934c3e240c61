// SQLite's files that fail on request: the n-th call to the system (open, read, write, truncate, sync, size, removal,
// shared memory; where asked for also locks, and looks whether a file is there) gives an error, once or from then on. It
// stands in front of SQLite's own VFS as the default one.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct fault_vfs {
    int64_t at;    // the call that fails, counted from 1; 0 = none
    bool once;     // else every call from then on
    int error;     // ENOSPC: writes say that there is no room, all else is fine; otherwise all kinds of calls fail so
    bool torn;     // a failing write leaves half of its bytes
    bool locks;    // locks of the shared memory and looks whether a file is there count, too
    bool dies;     // instead of failing, the process is killed
    bool swallows; // a failing write or sync says that it is done: what no test may bear
    int64_t calls; // so far
    int64_t hits;  // failed so far
};
extern struct fault_vfs fault_vfs;

// Once per process, before anything is opened.
void fault_vfs_install(void);
// No faults from here on.
void fault_vfs_clear(void);
