#include "store/media_files.h"

static int digit_of(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

int media_files_part(struct str hash)
{
    return 16 * digit_of(hash.p[0]) + digit_of(hash.p[1]);
}

int media_files_each(struct media_files *files, void (*each)(void *arg, struct str hash, int64_t size), void *arg)
{
    int err = ERR_OK;
    for (int part = 0; part < MEDIA_FILES_PARTS && !err; part++)
        err = files->ops->each_in(files, part, each, arg);
    return err;
}
