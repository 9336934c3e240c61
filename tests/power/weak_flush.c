// Preloaded into the daemon: flushes that are none. The negative controls of `make powerloss` are made of it.
//
//   WEAK_FLUSH=never   no fsync and no fdatasync does anything (as under eatmydata)
//              log     the relay's own flush of the store's log does nothing; what SQLite does by itself with
//                      synchronous = NORMAL stays
//              later   the same one is done 30 ms after it was answered: 2xx leave before the flush
//              files   the fsync of kept files and their directories does nothing
#include <dirent.h>
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LATER_MS = 30 };

static int really(const char *name, int fd)
{
    int (*call)(int) = (int (*)(int))(intptr_t)dlsym(RTLD_NEXT, name);
    return call(fd);
}

static bool is_mode(const char *mode)
{
    const char *is = getenv("WEAK_FLUSH");
    return is && strcmp(is, mode) == 0;
}

static bool path_of(int fd, char out[512])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, 511);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

static bool is_log(int fd)
{
    char path[512];
    size_t n = path_of(fd, path) ? strlen(path) : 0;
    return n > 4 && strcmp(path + n - 4, "-wal") == 0;
}

// The relay flushes the log on an opening of its own, made after SQLite's.
static bool is_own_opening_of_log(int fd)
{
    if (!is_log(fd))
        return false;
    for (int other = 0; other < fd; other++)
        if (is_log(other))
            return true;
    return false;
}

static void *flush_later(void *arg)
{
    int fd = (int)(intptr_t)arg;
    poll(NULL, 0, LATER_MS);
    really("fdatasync", fd);
    close(fd);
    return NULL;
}

static int begin_flush_later(int fd)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, flush_later, (void *)(intptr_t)dup(fd)) == 0)
        pthread_detach(thread);
    return 0;
}

int fdatasync(int fildes)
{
    if (is_mode("never"))
        return 0;
    if (is_mode("log") && is_own_opening_of_log(fildes))
        return 0;
    if (is_mode("later") && is_own_opening_of_log(fildes))
        return begin_flush_later(fildes);
    return really("fdatasync", fildes);
}

int fsync(int fd)
{
    char path[512];
    if (is_mode("never") || (is_mode("files") && path_of(fd, path) && strstr(path, ".files")))
        return 0;
    return really("fsync", fd);
}
