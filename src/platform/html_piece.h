// HTML in pieces that gumbo parses with bounded work. Two things grow with the square there: HTML5 repeats open formatting in each new
// block, and each attribute of a tag is compared with those before it (HTML5 13.2.5.33). So a piece has a bounded number of tags, and of
// what may be attributes; it ends before a tag, and formatting that is open there ends there. A tag that is too much for a piece is a
// piece of its own, and keeps its first attributes.
#pragma once
#include "base/arena.h"

enum {
    PIECE_TAGS = 512,
    PIECE_ATTRIBUTES = 2048, // of some 12 KiB of words, which might be attributes, too
    TAG_ATTRIBUTES = 64,     // of a piece's first tag, that are read at least
};

// Takes the next piece off `rest`; it lies there, or in the arena. `rest` must not be empty.
struct str html_piece_take(struct str *rest, struct arena *arena);
