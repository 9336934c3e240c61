#include "base/text_pool.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>

struct wanted {
    const struct text_pool *pool;
    struct str text;
};

void text_pool_done(struct text_pool *pool)
{
    arena_done(&pool->arena);
    free(pool->texts);
    hash_index_done(&pool->by_text);
    *pool = (struct text_pool){0};
}

static bool is_wanted(const void *arg, uint32_t number)
{
    const struct wanted *wanted = arg;
    return str_eq(wanted->pool->texts[number], wanted->text);
}

uint32_t text_pool_number(struct text_pool *pool, struct str text)
{
    if (!text.p || text.n > TEXT_POOL_TEXT_MAX)
        return 0;
    uint64_t hash = hash_str(text);
    uint32_t number = hash_index_find(&pool->by_text, hash, is_wanted, &(struct wanted){pool, text});
    if (number != HASH_INDEX_NONE)
        return number + 1;
    if (pool->count == TEXT_POOL_TEXTS_MAX)
        return 0;
    if ((pool->count & (pool->count - 1)) == 0)
        pool->texts = mem_resize(pool->texts, (pool->count * 2 + 1) * sizeof *pool->texts);
    pool->texts[pool->count] = arena_str(&pool->arena, text);
    hash_index_add(&pool->by_text, hash, (uint32_t)pool->count);
    return (uint32_t)++pool->count;
}

struct str text_pool_text(const struct text_pool *pool, uint32_t number)
{
    must(number && number <= pool->count);
    return pool->texts[number - 1];
}
