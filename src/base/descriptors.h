// How many descriptors there are for what: connections of clients and connections to desks and platforms take no others' away.
#pragma once
#include <stddef.h>

// RLIMIT_NOFILE.
size_t descriptors_limit(void);
// What each of the two may take where there are few: a quarter of them, and no more than half of what the relay leaves that needs
// about 50 for itself (docs/operations.md); at least one.
size_t descriptors_share(void);
