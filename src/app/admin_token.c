#include "app/admin_token.h"

#include "app/config_text.h"
#include "base/chance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOKEN_BYTES = 24 };

static struct str directory_of(struct str path, struct arena *arena)
{
    size_t slash = path.n;
    while (slash > 0 && path.p[slash - 1] != '/')
        slash--;
    return slash ? arena_str(arena, str_sub(path, 0, slash)) : STR("./");
}

static struct str make_token(struct arena *arena)
{
    unsigned char bytes[TOKEN_BYTES];
    char *text = arena_alloc(arena, 2 * TOKEN_BYTES + 1);
    chance_secret(bytes, sizeof bytes);
    for (size_t i = 0; i < TOKEN_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return str_of(text);
}

static int write_durable(int fd, struct str line)
{
    size_t done = 0;
    while (done < line.n) {
        ssize_t n = write(fd, line.p + done, line.n - done);
        if (n < 0 && errno != EINTR)
            return -1;
        done += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd);
}

static int sync_directory(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return failed;
}

// Temporary file, fsync, rename, fsync of the directory: there is a whole token or none.
static int keep_token(struct str path, const char *directory, struct str token, struct arena *arena)
{
    struct str temporary = arena_printf(arena, "%.*s.new", STR_ARG(path));
    if (unlink(temporary.p) && errno != ENOENT)
        return -1;
    int fd = open(temporary.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int failed = write_durable(fd, arena_printf(arena, "%.*s\n", STR_ARG(token)));
    failed |= close(fd);
    if (!failed)
        failed = rename(temporary.p, path.p);
    return failed ? failed : sync_directory(directory);
}

static int read_token(struct str path, struct arena *arena, struct str *out_token, const char **why)
{
    struct buf text;
    int err = config_text_read(path.p, 4096, 0177, arena, &text, why);
    if (err)
        return err;
    struct str token = arena_str(arena, str_trim(buf_str(&text)));
    buf_done(&text);
    *why = "holds no token; remove the file, and one is made";
    for (size_t i = 0; i < token.n; i++)
        if (token.p[i] <= ' ' || token.p[i] > '~')
            return ERR_INVALID;
    if (!token.n)
        return ERR_INVALID;
    *out_token = token;
    return ERR_OK;
}

int admin_token_get(struct str store_path, struct arena *arena, struct str *out_token, struct str *out_path,
                    const char **why)
{
    struct str directory = directory_of(store_path, arena);
    struct str path = arena_printf(arena, "%.*sadmin.token", STR_ARG(directory));
    int err = read_token(path, arena, out_token, why);
    if (err == ERR_NOT_FOUND) {
        struct str token = make_token(arena);
        err = keep_token(path, directory.p, token, arena) ? ERR_IO : ERR_OK;
        if (err)
            *why = arena_printf(arena, "cannot be written: %s", strerrordesc_np(errno)).p;
        else
            *out_token = token;
    }
    if (err)
        *why = arena_printf(arena, "%.*s: %s", STR_ARG(path), *why).p;
    else
        *out_path = path;
    return err;
}
