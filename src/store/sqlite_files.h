// The files of a SQLite store and what is done to them outside of SQLite: the directory, the lock against a
// second daemon, the page cache that is not trusted, the log's room, the ballast.
//
// SQLite's own locks on the database file are lost when this process closes any other descriptor of it (S6):
// the database file is touched here only before SQLite opens it. The log file carries no locks.
#pragma once
#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { SQLITE_FILES = 3 }; // the database, its log, the log's index

struct sqlite_files {
    char *path;    // of the database; owned
    int lock;      // descriptor of the lock file, held locked; -1 = none
    bool was_made; // the lock file says that there was a store
    struct {
        char *path; // owned
        dev_t device;
        ino_t number;
    } open[SQLITE_FILES];  // what SQLite has open, from sqlite_files_remember on
    int64_t ballast_bytes; // 0 = none
    bool ballast_is_there;
};

// Makes and locks what must be there, with mode 0600, and drops the cached pages of what was. NULL, or the
// reason in one sentence (in the arena).
const char *sqlite_files_open(struct sqlite_files *files, const char *path, bool force_network_fs,
                              int64_t ballast_bytes, struct arena *arena);
void sqlite_files_close(struct sqlite_files *files);
// Says in the lock file that there is a store, which is on the disk: from then on an empty one, or none, is refused.
void sqlite_files_mark_made(struct sqlite_files *files);
// Notes which files SQLite has opened.
void sqlite_files_remember(struct sqlite_files *files);
// Whether they still stand under their names: what is written to a file that was moved or removed is not there at
// the next start. NULL, or the name that is not.
const char *sqlite_files_gone(const struct sqlite_files *files);
// Gives the log file `bytes` of written zeros at its end where it is shorter: commits then overwrite blocks that
// are there, which no failed allocation can make vanish (S1), and flush faster. SQLite reads zeros as the end of
// the log. The log must have been truncated.
ERR_CHECK int sqlite_files_grow_log(const struct sqlite_files *files, int64_t bytes);
// Less room is left than the floor keeps (S9).
bool sqlite_files_is_low(const struct sqlite_files *files);
// Writes as much as a message may need, and removes it: a quota, or a disk that only says so, is not seen otherwise.
bool sqlite_files_has_room(const struct sqlite_files *files);
// Gives the ballast's room back to the disk; false when there was none left.
bool sqlite_files_drop_ballast(struct sqlite_files *files);
// Takes it again once there is room for it twice.
void sqlite_files_take_ballast(struct sqlite_files *files);
int64_t sqlite_files_log_bytes(const char *path);
