#include "base/err.h"

const char *err_name(int err)
{
    static const char *const names[] = {
        "ok",      "invalid", "too_large", "nomem",  "io",      "full",
        "corrupt", "busy",    "not_found", "exists", "refused", "closed",
    };
    int i = -err;
    if (i < 0 || i >= (int)(sizeof names / sizeof *names))
        return "unknown";
    return names[i];
}
