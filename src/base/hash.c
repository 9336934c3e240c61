#include "base/hash.h"

#include <xxhash.h>

uint64_t hash_str(struct str text)
{
    return XXH3_64bits(text.n ? text.p : "", text.n);
}

uint64_t hash_strs(const struct str *texts, size_t count)
{
    // Chained: the hash so far seeds the next one, and XXH3 mixes the length in.
    uint64_t hash = count;
    for (size_t i = 0; i < count; i++)
        hash = XXH3_64bits_withSeed(texts[i].n ? texts[i].p : "", texts[i].n, hash + texts[i].n);
    return hash;
}
