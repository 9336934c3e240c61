// What every test program begins with: cmocka and the headers it wants first.
#pragma once
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// A struct str is this C string.
#define assert_str(s, c)                                                                                               \
    do {                                                                                                               \
        struct str assert_str_ = (s);                                                                                  \
        assert_non_null(assert_str_.p);                                                                                \
        assert_int_equal(assert_str_.n, strlen(c));                                                                    \
        assert_memory_equal(assert_str_.p, c, assert_str_.n);                                                          \
    } while (0)

// Bytes of the C library's heap that are in use; always 0 under a sanitizer, whose heap is another one.
static inline size_t memory_in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}
