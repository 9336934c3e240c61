// Bodies of multipart/form-data (RFC 7578), read strictly: nothing before the first boundary, nothing behind the last, every part with
// a name of its own. Borrows from the body.
#pragma once
#include "base/arena.h"
#include "base/str.h"

enum { MULTIPART_PARTS = 64, MULTIPART_HEAD = 4096 };

struct multipart_part {
    struct str name;
    struct str filename; // STR_NONE: a text, no file
    struct str type;     // its Content-Type, or STR_NONE
    struct str bytes;
};

struct multipart {
    struct multipart_part parts[MULTIPART_PARTS];
    size_t count;
};

// NULL, or what is wrong with it in one sentence.
const char *multipart_read(struct str content_type, struct str body, struct arena *arena, struct multipart *out);
// NULL: there is none of that name.
const struct multipart_part *multipart_find(const struct multipart *form, struct str name);
