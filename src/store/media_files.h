// The bytes of kept files, by content: one file each, named by the SHA-256 of what is in it, beside the store. What the store says
// of them (which message, what name) is in its rows; here are bytes alone.
//
// A file appears whole or not at all, and is on stable storage when media_file_keep returns 0 (rules S8, S9): written under a
// name of its own, flushed, renamed, the directory flushed. Kept twice it is one file. What a crash leaves half-written is removed
// at the next opening. All but media_files_read and media_files_find is for one thread, the owner's.
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "model/attachment.h"

struct media_files;
struct media_file; // one that is being written

struct media_files_ops {
    void (*free)(struct media_files *files);
    // A new one, empty. NULL and ERR_FULL (too little room on the disk, below the floor), ERR_IO in *out_err.
    struct media_file *(*begin)(struct media_files *files, int *out_err);
    int (*write)(struct media_file *file,
                 struct str bytes); // ERR_FULL, ERR_IO; ERR_TOO_LARGE: no file may have so much here
    // Done: durable under its hash. Frees it whatever comes. `out_mime`: what its first bytes say (mime_sniff), static.
    int (*keep)(struct media_file *file, char out_hash[FILE_HASH_SIZE + 1], int64_t *out_size, struct str *out_mime);
    // Gives up what was not kept, and frees it. NULL is fine.
    void (*drop)(struct media_file *file);
    // ERR_NOT_FOUND, ERR_IO. A descriptor of it may still be read by others.
    int (*remove)(struct media_files *files, struct str hash);
    // Its size, or -1: it is not there. Any thread.
    int64_t (*find)(struct media_files *files, struct str hash);
    // At most `room` bytes from `offset`; how many, or ERR_NOT_FOUND, ERR_IO. Any thread; it may read the disk.
    int64_t (*read)(struct media_files *files, struct str hash, int64_t offset, char *room, size_t size);
    // All that are kept in one of MEDIA_FILES_PARTS parts. ERR_IO.
    int (*each_in)(struct media_files *files, int part, void (*each)(void *arg, struct str hash, int64_t size),
                   void *arg);
};

struct media_files {
    const struct media_files_ops *ops;
};

enum { MEDIA_FILES_PARTS = 256 }; // by the first byte of their hashes
// Which part a file of that hash is in.
int media_files_part(struct str hash);
// All that are kept, part after part. ERR_IO: some were left out.
int media_files_each(struct media_files *files, void (*each)(void *arg, struct str hash, int64_t size), void *arg);

// In this directory, made if need be (mode 0700). `floor_bytes`: of free space on its disk, below which nothing is begun. NULL and a
// sentence in `why` (in the arena) when it cannot.
struct media_files *media_files_open(const char *directory, int64_t floor_bytes, struct arena *arena, const char **why);
// In memory, for tests and the simulator.
struct media_files *media_files_memory_new(void);
