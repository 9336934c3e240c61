// Text that a long-lived object owns: copied in, freed by hand.
#pragma once
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>

// A copy on the heap; STR_NONE stays STR_NONE.
static inline struct str own(struct str s)
{
    return s.p ? (struct str){mem_dup(s.p, s.n), s.n} : STR_NONE;
}

static inline void disown(struct str *s)
{
    free((void *)(uintptr_t)s->p);
    *s = STR_NONE;
}

static inline void own_again(struct str *owned, struct str s)
{
    struct str copy = own(s);
    disown(owned);
    *owned = copy;
}
