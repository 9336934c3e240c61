// A fast hash for checksums and digests (XXH3, 64 bits). Not for anything an attacker gains from guessing.
#pragma once
#include "base/str.h"

// Feeds several texts so that {"ab","c"} and {"a","bc"} differ (each is preceded by its length).
uint64_t hash_strs(const struct str *texts, size_t count);
uint64_t hash_str(struct str text);
