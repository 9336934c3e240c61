// struct str: text from outside is pointer + length. It borrows; who owns the bytes is said where the
// str is kept. An absent text is {NULL, 0}; an empty one has a pointer.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){0})
// For printf's "%.*s".
static inline const char *str_chars(struct str s)
{
    return s.p ? s.p : "";
}
#define STR_ARG(s) (int)(s).n, str_chars(s)

// A str over a C string; NULL gives STR_NONE. (Inline, as what stands next: of a literal the compiler knows the length.)
static inline struct str str_of(const char *c)
{
    return c ? (struct str){c, strlen(c)} : STR_NONE;
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_eq_c(struct str a, const char *b)
{
    return str_eq(a, str_of(b));
}
// Equal but for the case of ASCII letters.
static inline bool str_ieq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}
static inline bool str_ieq_c(struct str a, const char *b)
{
    return str_ieq(a, str_of(b));
}
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
// Equal, in a time that depends on the lengths only (OpenSSL's CRYPTO_memcmp). For secrets.
bool str_eq_secret(struct str a, struct str b);
// memcmp order, then length.
int str_cmp(struct str a, struct str b);
// Index of c at or after `from`, or s.n when there is none.
size_t str_index(struct str s, char c, size_t from);
// The part [from, to), cut to the length.
struct str str_sub(struct str s, size_t from, size_t to);
// Without spaces, tabs, CR and LF at both ends.
struct str str_trim(struct str s);
enum { STR_I64_SIZE = 20 };
// The number in decimal digits, in `out`, which the str borrows.
struct str str_of_i64(int64_t number, char out[STR_I64_SIZE]);
// The whole of s as a decimal integer; false when it is anything else or does not fit.
bool str_to_i64(struct str s, int64_t *out);
// Controls (a terminal may obey them), separators of lines, and what turns the direction of text.
bool code_point_is_harmful(uint32_t code);
// The whole of s is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool str_is_utf8(struct str s);
