#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mem_out(void)
{
    static const char line[] = "{\"level\":\"fatal\",\"event\":\"out_of_memory\"}\n";
    fwrite(line, 1, sizeof line - 1, stderr);
    abort();
}

void *mem_try(size_t size)
{
    return calloc(1, size ? size : 1);
}

void *mem_try_resize(void *p, size_t size)
{
    return realloc(p, size ? size : 1);
}

void *mem_new(size_t size)
{
    void *p = mem_try(size);
    if (!p)
        mem_out();
    return p;
}

void *mem_resize(void *p, size_t size)
{
    void *q = mem_try_resize(p, size);
    if (!q)
        mem_out();
    return q;
}

char *mem_dup(const char *p, size_t n)
{
    char *q = mem_new(n + 1);
    if (n)
        memcpy(q, p, n);
    return q;
}
