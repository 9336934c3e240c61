// An agent's HTML as plain text with spans of style, laid out as a browser would: what a platform makes its replies of.
// The HTML may be anything: what is malformed is read as browsers read it (HTML5, by gumbo).
#pragma once
#include "base/arena.h"

// Where two are of the same text, the later one is to be taken for the outer one.
enum text_style {
    TEXT_PLAIN,
    TEXT_BOLD,
    TEXT_ITALIC,
    TEXT_UNDERLINE,
    TEXT_STRIKE,
    TEXT_LINK,
    TEXT_CODE, // within a line
    TEXT_PRE,  // lines of code
    TEXT_QUOTE,
};

// Not empty, and with no blank at either end. Of two spans one holds the other, or they have nothing in common. Nothing holds a
// quote, nothing but a quote holds code, and code holds nothing.
struct text_span {
    enum text_style style;
    size_t from, to; // bytes of the text
    struct str url;  // TEXT_LINK: http, https, tg or mailto
};

struct html_text {
    struct str text; // UTF-8, without controls but \n and \t
    struct text_span *spans;
    size_t span_count;
};

// All in the arena.
void html_text_read(struct str html, struct arena *arena, struct html_text *out);
