#include "app/config_text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_is_wrong(const struct stat *status, unsigned bad_mode, struct arena *arena)
{
    if (S_ISDIR(status->st_mode))
        return "is a directory; name a file";
    if (!S_ISREG(status->st_mode))
        return "is no regular file (a pipe, socket or device); name a file";
    if (status->st_mode & bad_mode)
        return arena_printf(arena, "has mode %04o: others could %s it; run chmod %s on it",
                            (unsigned)(status->st_mode & 07777), bad_mode == S_IWOTH ? "change" : "read or change",
                            bad_mode == S_IWOTH ? "o-w" : "600")
            .p;
    return NULL;
}

static int read_all(int fd, struct buf *out)
{
    char block[65536];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ERR_IO;
        if (n == 0)
            return ERR_OK;
        int err = buf_add(out, block, (size_t)n);
        if (err)
            return err;
    }
}

static int read_open(int fd, size_t max, unsigned bad_mode, struct arena *arena, struct buf *out, const char **why)
{
    struct stat status;
    if (fstat(fd, &status)) {
        *why = arena_printf(arena, "cannot be read: %s", strerrordesc_np(errno)).p;
        return ERR_INVALID;
    }
    *why = kind_is_wrong(&status, bad_mode, arena);
    if (*why)
        return ERR_INVALID;
    const char *large = arena_printf(arena, "is larger than %zu MiB", max >> 20).p;
    int err = status.st_size > (off_t)max ? ERR_TOO_LARGE : buf_reserve(out, (size_t)status.st_size);
    err = err ? err : read_all(fd, out);
    struct stat after;
    if (!err && fstat(fd, &after) == 0 &&
        (after.st_size != (off_t)out->n || after.st_mtim.tv_sec != status.st_mtim.tv_sec ||
         after.st_mtim.tv_nsec != status.st_mtim.tv_nsec)) {
        *why = "was changed while it was read; try again (better: write a new file and rename it to this name)";
        return ERR_INVALID;
    }
    if (err)
        *why = err == ERR_IO ? arena_printf(arena, "cannot be read: %s", strerrordesc_np(errno)).p : large;
    return err ? ERR_INVALID : ERR_OK;
}

int config_text_read(const char *path, size_t max, unsigned bad_mode, struct arena *arena, struct buf *out,
                     const char **why)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR;
        *why = absent ? "is not there" : arena_printf(arena, "cannot be read: %s", strerrordesc_np(errno)).p;
        return absent ? ERR_NOT_FOUND : ERR_INVALID;
    }
    buf_init(out, max);
    int err = read_open(fd, max, bad_mode, arena, out, why);
    if (err)
        buf_done(out);
    close(fd);
    return err;
}

static bool name_is_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.n > 0;
}

// Quotes around the whole value are not part of it.
static struct str unquoted(struct str value)
{
    if (value.n >= 2 && (value.p[0] == '"' || value.p[0] == '\'') && value.p[value.n - 1] == value.p[0])
        return str_sub(value, 1, value.n - 1);
    return value;
}

static const struct config_env_line *find_line(const struct config_env *env, struct str name)
{
    for (size_t lo = 0, hi = env->count; lo < hi;) {
        size_t mid = (lo + hi) / 2;
        int order = str_cmp(name, env->lines[mid].name);
        if (order == 0)
            return &env->lines[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static int line_order(const void *a, const void *b)
{
    const struct config_env_line *one = a, *other = b;
    int order = str_cmp(one->name, other->name);
    return order ? order : one->line - other->line;
}

// One line of the file; what is wrong with it, or NULL. Blank lines and comments give an empty name.
static const char *parse_line(struct str text, struct config_env_line *out)
{
    text = str_trim(text);
    out->name = STR_NONE;
    if (!text.n || text.p[0] == '#')
        return NULL;
    size_t equals = str_index(text, '=', 0);
    struct str name = str_sub(text, 0, equals);
    if (equals == text.n || !name_is_valid(name))
        return "is no NAME=value line; a name has letters, digits and _ and no space around the =";
    out->name = name;
    out->value = unquoted(str_sub(text, equals + 1, text.n));
    if (memchr(out->value.p, 0, out->value.n) || !str_is_utf8(out->value))
        return "holds bytes that are no text";
    return NULL;
}

static int parse_lines(struct config_env *env, struct str text, struct arena *arena, const char **why)
{
    size_t max = 1;
    for (size_t i = 0; i < text.n; i++)
        max += text.p[i] == '\n';
    env->lines = arena_alloc(arena, max * sizeof *env->lines);
    int line = 0;
    for (size_t from = 0; from < text.n;) {
        size_t to = str_index(text, '\n', from);
        struct config_env_line *next = &env->lines[env->count];
        next->line = ++line;
        const char *wrong = parse_line(str_sub(text, from, to), next);
        if (wrong) {
            *why = arena_printf(arena, "%.*s:%d: %s", STR_ARG(env->path), line, wrong).p;
            return ERR_INVALID;
        }
        env->count += next->name.n > 0;
        from = to + 1;
    }
    return ERR_OK;
}

static int refuse_twins(struct config_env *env, struct arena *arena, const char **why)
{
    qsort(env->lines, env->count, sizeof *env->lines, line_order);
    for (size_t i = 1; i < env->count; i++) {
        const struct config_env_line *one = &env->lines[i - 1], *other = &env->lines[i];
        if (!str_eq(one->name, other->name))
            continue;
        *why = arena_printf(arena, "%.*s:%d: %.*s stands in line %d already; keep one of them", STR_ARG(env->path),
                            other->line, STR_ARG(other->name), one->line)
                   .p;
        return ERR_INVALID;
    }
    return ERR_OK;
}

int config_env_read(struct config_env *env, const char *config_path, struct arena *arena, const char **why)
{
    const char *slash = strrchr(config_path, '/');
    int directory = slash ? (int)(slash - config_path) + 1 : 0;
    *env = (struct config_env){.path = arena_printf(arena, "%.*stributary.env", directory, config_path), .read = true};
    struct buf text;
    int err = config_text_read(env->path.p, CONFIG_ENV_MAX, 0177, arena, &text, why);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err) {
        *why = arena_printf(arena, "%.*s: %s", STR_ARG(env->path), *why).p;
        return err;
    }
    err = parse_lines(env, arena_str(arena, buf_str(&text)), arena, why);
    buf_done(&text);
    return err ? err : refuse_twins(env, arena, why);
}

static int find_value(const struct config_env *env, struct str name, struct arena *arena, struct str *out,
                      const char **why)
{
    if (!name_is_valid(name)) {
        *why = "has a ${...} that names no variable; write ${NAME} with letters, digits and _";
        return ERR_INVALID;
    }
    const struct config_env_line *line = find_line(env, name);
    *out = line ? line->value : str_of(getenv(arena_str(arena, name).p));
    if (out->n)
        return ERR_OK;
    *why = arena_printf(
               arena,
               "needs ${%.*s}, which %s; write it into tributary.env beside this file, or set it in the environment",
               STR_ARG(name), out->p ? "is empty" : "is not set")
               .p;
    return ERR_NOT_FOUND;
}

int config_env_expand(const struct config_env *env, struct str text, struct arena *arena, struct str *out,
                      const char **why)
{
    if (!text.n || !memmem(text.p, text.n, "${", 2)) {
        *out = text;
        return ERR_OK;
    }
    struct buf whole;
    buf_init(&whole, 65536);
    int err = ERR_OK;
    for (size_t i = 0; i < text.n && !err;) {
        struct str rest = str_sub(text, i, text.n), value;
        if (str_starts(rest, STR("$${"))) {
            err = buf_add_str(&whole, STR("${"));
            i += 3;
        } else if (str_starts(rest, STR("${"))) {
            size_t end = str_index(rest, '}', 0);
            err = end < rest.n ? find_value(env, str_sub(rest, 2, end), arena, &value, why) : ERR_INVALID;
            if (end == rest.n)
                *why = "has a ${ without }; write ${NAME}, or $${ for a plain ${";
            if (!err)
                err = buf_add_str(&whole, value);
            i += end + 1;
        } else {
            err = buf_add_char(&whole, text.p[i++]);
        }
    }
    if (whole.failed)
        *why = "is longer than 65536 bytes";
    if (!err)
        *out = arena_str(arena, buf_str(&whole));
    buf_done(&whole);
    return err;
}
