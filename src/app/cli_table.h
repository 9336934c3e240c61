// A table for people: columns as wide as needed, cut with "..." where the terminal ends. Text from outside is made harmless:
// control characters, escape sequences and marks that turn the writing direction are shown as "?".
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum { CLI_COLUMNS_MAX = 10 };

struct cli_table {
    struct arena *arena;
    const char *const *titles; // a leading '>' makes a column of numbers, '=' one that is cut after others
    size_t columns;
    struct str *cells; // row by row
    size_t count, room;
};

void cli_table_init(struct cli_table *table, struct arena *arena, const char *const *titles, size_t columns);
// The next cell; STR_NONE is an empty one.
void cli_table_add(struct cli_table *table, struct str text);
// `width` of the terminal in columns; 0 = no limit.
void cli_table_write(const struct cli_table *table, size_t width, struct buf *out);

// The text made harmless, in the arena; a line break becomes a blank.
struct str cli_clean(struct arena *arena, struct str text);
// The (clean) text, cut with "..." where it takes more than `width` columns; 0 = no limit.
void cli_write_cut(struct buf *out, struct str text, size_t width);
// What is about to be shown, of whatever it was made: line breaks stay, what a terminal may obey, or what is no UTF-8, becomes "?".
// In JSON it becomes its escape: the value is the same.
void cli_write_shown(struct buf *out, struct str text, bool is_json);
// Columns that the (clean) text takes.
size_t cli_width(struct str text);
// Bytes of as much of the (clean) text as fits into so many columns.
size_t cli_fit(struct str text, size_t columns);
