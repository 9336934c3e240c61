// An index of numbers by hash, for tables that hold very many: eight bytes an entry, open addressing, no key of its own.
// The number says where in the owner's table something of that hash stands; the owner says whether it is what is looked for.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_index_entry;

// Ready when zeroed.
struct hash_index {
    struct hash_index_entry *entries;
    size_t size, count; // size: 0 or a power of two
};

enum { HASH_INDEX_MAX = INT32_MAX }; // numbers below it
#define HASH_INDEX_NONE UINT32_MAX

// Whether the one of that number is the one looked for.
typedef bool hash_index_is(const void *arg, uint32_t number);

// May be used again.
void hash_index_done(struct hash_index *index);
// A number may be there once for each hash; hashes may be alike.
void hash_index_add(struct hash_index *index, uint64_t hash, uint32_t number);
// It must be there, under that hash.
void hash_index_remove(struct hash_index *index, uint64_t hash, uint32_t number);
// The number, or HASH_INDEX_NONE.
uint32_t hash_index_find(const struct hash_index *index, uint64_t hash, hash_index_is *is, const void *arg);
