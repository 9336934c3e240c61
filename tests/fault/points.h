// Where things can fail: the n-th allocation of our own code, call of SQLite, call of SQLite to its files, allocation within
// SQLite, or call of our own code to the system fails, once or from then on. The counter lies in memory that processes
// share: what a process came to is known when it is dead.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum point_kind {
    POINT_NONE,
    POINT_MEMORY,        // calloc, realloc of our own code: gives NULL
    POINT_SQL,           // sqlite3_open, prepare, bind, step, exec, checkpoint: gives `code`
    POINT_FILE,          // what SQLite does to its files: fails with the errno `code` (support/fault_vfs.h)
    POINT_SQLITE_MEMORY, // malloc, realloc within SQLite: gives NULL
    POINT_SYSTEM,        // open, write, fsync ... of our own code: fails with the errno `code`
};

// What is done beside saying that it failed.
enum point_how {
    POINT_PLAIN, // nothing
    POINT_DONE,  // SQL: a COMMIT or checkpoint is carried out nevertheless, so that nobody knows; other calls are none
    POINT_TORN,  // file: half of it is written
    POINT_SWALLOWED, // SQL: a COMMIT, file: writes and flushes; said to be done, and are not. What no judge may let pass
    POINT_ACCIDENT,  // the process dies of it, and not by its own decision
};

struct points {
    enum point_kind kind;
    enum point_how how;
    int code;
    bool lasting;        // from the n-th on; else that one alone
    int64_t at;          // the n-th, from 1; 0: none fails, they are counted
    int64_t calls, hits; // so far
    bool paused;         // what stands around the relay is no part of it
};

// Once per process, before SQLite is used.
void points_install(void);
// What counts from here on. The memory is the caller's.
void points_use(struct points *used);
struct points *points_used(void);
// The file's counter goes to where it outlives the process.
void points_note(void);
