// An arena: everything of one delivery or one HTTP exchange is allocated here and goes with it.
// Allocations abort when memory is out, except arena_try. Not shared between threads.
#pragma once
#include "base/str.h"

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; // newest first
    size_t first;               // bytes of the first chunk, where many small arenas live long; 0 = as all others
};

// An arena is ready when zeroed: struct arena a = {0}. arena_done frees all it gave; it may be used again.
void arena_done(struct arena *arena);
// Zeroed, aligned for any type.
void *arena_alloc(struct arena *arena, size_t size);
// The same or NULL: for sizes that a peer chose.
void *arena_try(struct arena *arena, size_t size);
// A copy, NUL-terminated beyond its length. STR_NONE stays STR_NONE.
struct str arena_str(struct arena *arena, struct str s);
// The parts one behind the other.
struct str arena_join(struct arena *arena, const struct str *parts, size_t count);
struct str arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define ARENA_JOIN(arena, ...)                                                                                         \
    arena_join(arena, (struct str[]){__VA_ARGS__}, sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str))
#define arena_of(arena, type) ((type *)arena_alloc(arena, sizeof(type)))
