// The one growable buffer. It is made with its maximum; what would pass it fails, and the failure
// sticks, so that a writer checks once at the end. Always NUL-terminated beyond its length.
#pragma once
#include "base/err.h"
#include "base/str.h"

struct buf {
    char *p;
    size_t n;
    size_t size; // allocated
    size_t max;
    int failed; // ERR_TOO_LARGE: something did not fit, ERR_NOMEM: memory was out; the content is not whole
};

// Nothing is allocated until the first byte.
void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf);
// Empty again, the memory kept.
void buf_clear(struct buf *buf);
// Room for `more` bytes: ERR_TOO_LARGE or ERR_NOMEM when there is none (and failed is set).
int buf_reserve(struct buf *buf, size_t more);
int buf_add(struct buf *buf, const void *p, size_t n);
int buf_add_str(struct buf *buf, struct str s);
int buf_add_char(struct buf *buf, char c);
int buf_add_int(struct buf *buf, int64_t number);
int buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct str buf_str(const struct buf *buf);
// For what fits by its nature: memory that was out ends the process, as in base/mem.h, anything else is a bug.
void buf_must(const struct buf *buf);
