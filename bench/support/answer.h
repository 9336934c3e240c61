// The answer to a request, as far as the generator reads it: HTTP/1.1 with a length.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_MAX = 64 * 1024 };

struct answer {
    uint32_t status; // 0: it is not what we can read
    size_t whole_n;  // head and body
    bool closing;
};

// False: not all of it is there yet. `p` ends with a zero behind its n bytes.
bool answer_parse(const char *p, size_t n, struct answer *out);
