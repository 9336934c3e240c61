// Texts that very many hold, kept once: each has a small number. A pool only grows, and never beyond its bounds (a text that
// is too long, or comes when it is full, has no number). Not shared between threads.
#pragma once
#include "base/arena.h"
#include "base/hash_index.h"
#include "base/str.h"

enum { TEXT_POOL_TEXTS_MAX = 4096, TEXT_POOL_TEXT_MAX = 1024 };

// Ready when zeroed.
struct text_pool {
    struct arena arena;
    struct str *texts; // by number - 1
    size_t count;
    struct hash_index by_text;
};

void text_pool_done(struct text_pool *pool);
// The number of the text, which is copied when it is new; 0 when it can have none.
uint32_t text_pool_number(struct text_pool *pool, struct str text);
// Of a number that it gave. NUL-terminated beyond its length; as long as the pool.
struct str text_pool_text(const struct text_pool *pool, uint32_t number);
