// Memory. Small allocations of our own abort when memory is out (a crash loses nothing); sizes that
// come from outside are asked for with mem_try and the caller says no.
#pragma once
#include <stddef.h>

// Zeroed memory, never NULL. The caller frees it with free().
void *mem_new(size_t size);
// Like realloc, never NULL for size > 0.
void *mem_resize(void *p, size_t size);
// Zeroed memory or NULL. For sizes that a peer chose.
void *mem_try(size_t size);
// Like realloc; NULL leaves p as it was.
void *mem_try_resize(void *p, size_t size);
// Memory is out, and it was ours to have: says so and aborts.
_Noreturn void mem_out(void);
// A NUL-terminated copy of n bytes, never NULL.
char *mem_dup(const char *p, size_t n);

#define mem_new_of(type) ((type *)mem_new(sizeof(type)))
