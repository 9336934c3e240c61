#include "base/buf.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max};
}

void buf_done(struct buf *buf)
{
    if (!buf)
        return;
    free(buf->p);
    *buf = (struct buf){.max = buf->max};
}

void buf_clear(struct buf *buf)
{
    buf->n = 0;
    buf->failed = 0;
    if (buf->p)
        buf->p[0] = 0;
}

static int fail(struct buf *buf, int err)
{
    buf->failed = err;
    return err;
}

static int make_room(struct buf *buf, size_t more)
{
    if (buf->failed)
        return buf->failed;
    if (more > buf->max || buf->n > buf->max - more)
        return fail(buf, ERR_TOO_LARGE);
    size_t need = buf->n + more + 1;
    if (need <= buf->size)
        return ERR_OK;
    size_t size = buf->size ? buf->size : 256;
    while (size < need)
        size *= 2;
    char *p = mem_try_resize(buf->p, size);
    if (!p)
        return fail(buf, ERR_NOMEM);
    buf->p = p;
    buf->size = size;
    return ERR_OK;
}

// What nearly always holds, for what is called for each word of a text.
static inline int reserve(struct buf *buf, size_t more)
{
    bool fits = !buf->failed && buf->n < buf->size && more < buf->size - buf->n && more <= buf->max - buf->n;
    return fits ? ERR_OK : make_room(buf, more);
}

int buf_reserve(struct buf *buf, size_t more)
{
    return reserve(buf, more);
}

int buf_add(struct buf *buf, const void *p, size_t n)
{
    int err = reserve(buf, n);
    if (err)
        return err;
    if (n)
        memcpy(buf->p + buf->n, p, n);
    buf->n += n;
    buf->p[buf->n] = 0;
    return ERR_OK;
}

int buf_add_str(struct buf *buf, struct str s)
{
    return buf_add(buf, s.p, s.n);
}

int buf_add_char(struct buf *buf, char c)
{
    int err = reserve(buf, 1);
    if (err)
        return err;
    buf->p[buf->n++] = c;
    buf->p[buf->n] = 0;
    return ERR_OK;
}

int buf_add_int(struct buf *buf, int64_t number)
{
    char digits[STR_I64_SIZE];
    return buf_add_str(buf, str_of_i64(number, digits));
}

int buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    must(n >= 0);
    int err = buf_reserve(buf, (size_t)n);
    if (!err) {
        vsnprintf(buf->p + buf->n, (size_t)n + 1, format, again);
        buf->n += (size_t)n;
    }
    va_end(again);
    return err;
}

struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->p ? buf->p : "", buf->n};
}

void buf_must(const struct buf *buf)
{
    if (buf->failed == ERR_NOMEM)
        mem_out();
    must(!buf->failed);
}
