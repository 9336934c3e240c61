#include "base/descriptors.h"

#include <sys/resource.h>

enum { OWN = 50 };

size_t descriptors_limit(void)
{
    struct rlimit files = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &files);
    return files.rlim_cur;
}

size_t descriptors_share(void)
{
    size_t limit = descriptors_limit();
    size_t left = limit > OWN + 2 ? (limit - OWN) / 2 : 1;
    return left < limit / 4 ? left : limit / 4;
}
