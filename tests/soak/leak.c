// Preloaded into the daemon, as the soak's negative control: each flush of the store leaks memory, each fiftieth a descriptor.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAKED_BYTES = 8192, CALLS_A_DESCRIPTOR = 50 };

void *leaked;

int fdatasync(int fd) // NOLINT(readability-inconsistent-declaration-parameter-name): the library says __fildes
{
    static atomic_int calls;
    static int (*real)(int);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    leaked = malloc(LEAKED_BYTES);
    if (leaked)
        memset(leaked, 1, LEAKED_BYTES);
    if (atomic_fetch_add(&calls, 1) % CALLS_A_DESCRIPTOR == 0)
        (void)!dup(fd);
    return real(fd);
}
