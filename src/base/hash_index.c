#include "base/hash_index.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>

enum { FIRST_SIZE = 16 };

// Half of the hash, so that the table grows and closes gaps without asking its owner; 0 in `next` = free, else number + 1.
struct hash_index_entry {
    uint32_t hash, next;
};

void hash_index_done(struct hash_index *index)
{
    free(index->entries);
    *index = (struct hash_index){0};
}

static size_t home_of(const struct hash_index *index, uint32_t hash)
{
    return hash & (index->size - 1);
}

static void place(struct hash_index *index, struct hash_index_entry entry)
{
    size_t at = home_of(index, entry.hash);
    while (index->entries[at].next)
        at = (at + 1) & (index->size - 1);
    index->entries[at] = entry;
}

static void grow(struct hash_index *index)
{
    struct hash_index_entry *before = index->entries;
    size_t size = index->size;
    index->size = size ? size * 2 : FIRST_SIZE;
    index->entries = mem_new(index->size * sizeof *index->entries);
    for (size_t i = 0; i < size; i++)
        if (before[i].next)
            place(index, before[i]);
    free(before);
}

void hash_index_add(struct hash_index *index, uint64_t hash, uint32_t number)
{
    must(number < HASH_INDEX_MAX);
    if (index->count + 1 > index->size / 4 * 3)
        grow(index);
    place(index, (struct hash_index_entry){(uint32_t)hash, number + 1});
    index->count++;
}

// What stands behind the gap and belongs at or before it moves up: a search ends at the first free entry.
static void close_gap(struct hash_index *index, size_t gap)
{
    size_t mask = index->size - 1;
    for (size_t at = (gap + 1) & mask; index->entries[at].next; at = (at + 1) & mask) {
        size_t home = home_of(index, index->entries[at].hash);
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        index->entries[gap] = index->entries[at];
        gap = at;
    }
    index->entries[gap] = (struct hash_index_entry){0};
}

void hash_index_remove(struct hash_index *index, uint64_t hash, uint32_t number)
{
    must(index->count);
    size_t at = home_of(index, (uint32_t)hash);
    while (index->entries[at].next != number + 1 || index->entries[at].hash != (uint32_t)hash) {
        must(index->entries[at].next);
        at = (at + 1) & (index->size - 1);
    }
    close_gap(index, at);
    index->count--;
}

uint32_t hash_index_find(const struct hash_index *index, uint64_t hash, hash_index_is *is, const void *arg)
{
    if (!index->count)
        return HASH_INDEX_NONE;
    for (size_t at = home_of(index, (uint32_t)hash); index->entries[at].next; at = (at + 1) & (index->size - 1)) {
        const struct hash_index_entry *entry = &index->entries[at];
        if (entry->hash == (uint32_t)hash && is(arg, entry->next - 1))
            return entry->next - 1;
    }
    return HASH_INDEX_NONE;
}
