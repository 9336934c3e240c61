// Base64 as RFC 4648 section 4 has it: with padding, without line breaks.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Characters that n bytes become.
int64_t base64_size(int64_t n);
// Writes base64_size(n) characters, no NUL. The bytes may be the last ones of `out` itself: none is overwritten before it is read.
void base64_encode(const char *bytes, size_t n, char *out);
