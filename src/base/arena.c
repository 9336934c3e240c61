#include "base/arena.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_SIZE = 4096 - 64 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

void arena_done(struct arena *arena)
{
    if (!arena)
        return;
    while (arena->chunks) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
}

static bool add_chunk(struct arena *arena, size_t size)
{
    size_t least = !arena->chunks && arena->first ? arena->first : CHUNK_SIZE;
    if (size < least)
        size = least;
    struct arena_chunk *chunk = mem_try(sizeof *chunk + size);
    if (!chunk)
        return false;
    chunk->size = size;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return true;
}

void *arena_try(struct arena *arena, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + align - 1) / align * align;
    struct arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < size) {
        if (!add_chunk(arena, size))
            return NULL;
        chunk = arena->chunks;
    }
    void *p = chunk->bytes + chunk->used;
    chunk->used += size;
    return p;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *p = arena_try(arena, size);
    if (!p)
        mem_out();
    return p;
}

struct str arena_str(struct arena *arena, struct str s)
{
    if (!s.p)
        return STR_NONE;
    char *copy = arena_alloc(arena, s.n + 1);
    memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    must(n >= 0);
    char *text = arena_alloc(arena, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return (struct str){text, (size_t)n};
}
