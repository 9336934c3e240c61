#include "base/mem.h"

#include "base/clock.h"
#include "base/time_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A line of the log without the log's hands, which would ask for memory.
void mem_out(void)
{
    char time[TIME_TEXT_SIZE];
    fprintf(stderr, "{\"time\":\"%.*s\",\"level\":\"fatal\",\"event\":\"out_of_memory\"}\n",
            STR_ARG(time_text(clock_wall_us(&clock_system), time)));
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
