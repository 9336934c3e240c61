// HTML in pieces, since two things grow with the square in a parser: open formatting is repeated in each new block, and each attribute
// of a tag is compared with those before it (HTML5 13.2.4.3 and 13.2.5.33). A piece has a bounded number of tags and of attributes; it
// ends before a tag, and what is open there ends there. A tag that alone has more is a piece of its own, and keeps its first attributes.
#pragma once
#include "base/arena.h"

enum {
    PIECE_TAGS = 512,
    PIECE_ATTRIBUTES = 2048,
    TAG_ATTRIBUTES = 64, // that are left to a tag which has more than a piece may have
};

// Takes the next piece off `rest`; it lies there, or in the arena. `rest` must not be empty.
struct str html_piece_take(struct str *rest, struct arena *arena);
