// Files that a stand-in keeps in memory, up to a bound in all: the oldest go first. Known by an id that is made with them.
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <uthash.h>

enum { FILES_ID_SIZE = 24, FILES_HASH_SIZE = 64 };

struct file {
    UT_hash_handle hh; // by id
    struct file *prev, *next;
    char id[FILES_ID_SIZE + 1];
    char hash[FILES_HASH_SIZE + 1]; // SHA-256 of the bytes, in lower-case hex digits
    struct str bytes, name, mime;   // owned, none is STR_NONE; the name may be empty
    bool spent;                     // its address worked once, and does no more (a fault)
};

struct files {
    struct file *by_id, *list; // by creation
    int64_t size, max;         // bytes in all
    uint64_t last;             // number of the newest: the ids come from it
};

// At most `max` bytes in all; a single file may be larger only if it is alone.
struct files *files_new(int64_t max);
void files_free(struct files *files);
void files_clear(struct files *files);
// Copies all of it. Never NULL.
struct file *files_add(struct files *files, struct str bytes, struct str name, struct str mime);
// NULL: there is none, or it had to go.
struct file *files_find(const struct files *files, struct str id);

// What the first bytes say it is ("image/png"), or STR_NONE: pictures and sounds only.
struct str file_type(struct str bytes);
// Width and height of a PNG, JPEG or GIF. False: it is none, or not whole.
bool file_picture_size(struct str bytes, int64_t *width, int64_t *height);
// Bytes that look like that type from the start and are the same for the same seed.
struct str file_made_up(struct str mime, int64_t size, uint64_t seed, struct arena *arena);
// The base64 text decoded, in the arena; STR_NONE when it is none.
struct str file_from_base64(struct str text, struct arena *arena);
