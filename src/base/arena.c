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
    struct arena_chunk *chunk = mem_try_resize(NULL,
                                               sizeof *chunk + size); // what is handed out is cleared, not the chunk
    if (!chunk)
        return false;
    *chunk = (struct arena_chunk){.next = arena->chunks, .size = size};
    arena->chunks = chunk;
    return true;
}

// Not cleared.
static void *take(struct arena *arena, size_t size)
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

void *arena_try(struct arena *arena, size_t size)
{
    void *p = take(arena, size);
    if (p)
        memset(p, 0, size);
    return p;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *p = arena_try(arena, size);
    if (!p)
        mem_out();
    return p;
}

// A text of n bytes, to be written, and the NUL behind it.
static char *take_text(struct arena *arena, size_t n)
{
    char *text = take(arena, n + 1);
    if (!text)
        mem_out();
    text[n] = 0;
    return text;
}

struct str arena_str(struct arena *arena, struct str s)
{
    if (!s.p)
        return STR_NONE;
    char *copy = take_text(arena, s.n);
    memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}

struct str arena_join(struct arena *arena, const struct str *parts, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += parts[i].n;
    char *text = take_text(arena, n), *end = text;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].n)
            memcpy(end, parts[i].p, parts[i].n);
        end += parts[i].n;
    }
    return (struct str){text, n};
}

struct str arena_printf(struct arena *arena, const char *format, ...)
{
    // Into a guess first: most are short, and then they are formatted once.
    char guess[256];
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(guess, sizeof guess, format, args);
    va_end(args);
    must(n >= 0);
    char *text = take_text(arena, (size_t)n);
    if ((size_t)n < sizeof guess)
        memcpy(text, guess, (size_t)n);
    else
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return (struct str){text, (size_t)n};
}
