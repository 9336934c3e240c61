#include "app/cli_table.h"

#include "base/must.h"

#include <string.h>

enum { GAP = 2, NARROW = 4 };

// One code point; bytes that are no UTF-8 are taken one by one as U+FFFD.
static uint32_t code_point(struct str text, size_t at, size_t *out_bytes)
{
    unsigned char c = (unsigned char)text.p[at];
    size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    *out_bytes = 1;
    if (n == 1)
        return c;
    if (at + n > text.n || !str_is_utf8(str_sub(text, at, at + n)))
        return 0xFFFD;
    *out_bytes = n;
    uint32_t code = c & (0x7FU >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)text.p[at + i] & 0x3FU);
    return code;
}

static size_t columns_of(uint32_t code)
{
    static const struct {
        uint32_t from, to;
        size_t columns;
    } ranges[] = {
        {0x300, 0x36F, 0},     {0x200B, 0x200D, 0},   {0xFE00, 0xFE0F, 0},   {0x1100, 0x115F, 2},   {0x2E80, 0xA4CF, 2},
        {0xAC00, 0xD7A3, 2},   {0xF900, 0xFAFF, 2},   {0xFE30, 0xFE6F, 2},   {0xFF00, 0xFF60, 2},   {0xFFE0, 0xFFE6, 2},
        {0x1F300, 0x1F64F, 2}, {0x1F680, 0x1F6FF, 2}, {0x1F900, 0x1F9FF, 2}, {0x20000, 0x3FFFD, 2},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (code >= ranges[i].from && code <= ranges[i].to)
            return ranges[i].columns;
    return 1;
}

struct str cli_clean(struct arena *arena, struct str text)
{
    char *clean = arena_alloc(arena, text.n + 1);
    size_t n = 0, bytes;
    for (size_t i = 0; i < text.n; i += bytes) {
        uint32_t code = code_point(text, i, &bytes);
        if (code == '\n' || code == '\t') {
            clean[n++] = ' ';
        } else if (code_point_is_harmful(code) || code == 0xFFFD) {
            clean[n++] = '?';
        } else {
            memcpy(clean + n, text.p + i, bytes);
            n += bytes;
        }
    }
    return (struct str){clean, n};
}

void cli_write_shown(struct buf *out, struct str text, bool is_json)
{
    size_t shown = 0, bytes; // up to `shown` it is written
    for (size_t i = 0; i < text.n; i += bytes) {
        uint32_t code = code_point(text, i, &bytes);
        bool is_bad = code == 0xFFFD && bytes == 1;
        if (code == '\n' || (!is_bad && !code_point_is_harmful(code)))
            continue;
        buf_add(out, text.p + shown, i - shown);
        if (is_json && !is_bad)
            buf_printf(out, "\\u%04x", (unsigned)code);
        else
            buf_add_char(out, '?');
        shown = i + bytes;
    }
    buf_add(out, text.p + shown, text.n - shown);
}

size_t cli_width(struct str text)
{
    size_t width = 0, bytes;
    for (size_t i = 0; i < text.n; i += bytes)
        width += columns_of(code_point(text, i, &bytes));
    return width;
}

size_t cli_fit(struct str text, size_t columns)
{
    size_t width = 0, bytes, end = 0;
    for (; end < text.n; end += bytes) {
        width += columns_of(code_point(text, end, &bytes));
        if (width > columns)
            break;
    }
    return end;
}

void cli_table_init(struct cli_table *table, struct arena *arena, const char *const *titles, size_t columns)
{
    must(columns > 0 && columns <= CLI_COLUMNS_MAX);
    *table = (struct cli_table){.arena = arena, .titles = titles, .columns = columns};
}

void cli_table_add(struct cli_table *table, struct str text)
{
    if (table->count == table->room) {
        size_t room = table->room ? 2 * table->room : 64;
        struct str *grown = arena_alloc(table->arena, room * sizeof *grown);
        if (table->count)
            memcpy(grown, table->cells, table->count * sizeof *grown);
        table->cells = grown;
        table->room = room;
    }
    table->cells[table->count++] = cli_clean(table->arena, text);
}

static struct str title_of(const struct cli_table *table, size_t column)
{
    const char *title = table->titles[column];
    return str_of(title + (*title == '>' || *title == '='));
}

static void natural_widths(const struct cli_table *table, size_t widths[CLI_COLUMNS_MAX])
{
    must(table->columns > 0);
    for (size_t i = 0; i < table->columns; i++)
        widths[i] = cli_width(title_of(table, i));
    for (size_t i = 0; i < table->count; i++) {
        size_t width = cli_width(table->cells[i]);
        if (width > widths[i % table->columns])
            widths[i % table->columns] = width;
    }
}

// Half of a number or of a time says nothing.
static bool is_cut_last(const struct cli_table *table, size_t column)
{
    return *table->titles[column] == '>' || *table->titles[column] == '=';
}

// The widest column of those that can give something; table->columns: there is none.
static size_t find_widest(const struct cli_table *table, const size_t widths[CLI_COLUMNS_MAX], bool last)
{
    size_t widest = table->columns;
    for (size_t i = 0; i < table->columns; i++)
        if (is_cut_last(table, i) == last && widths[i] > NARROW &&
            (widest == table->columns || widths[i] > widths[widest]))
            widest = i;
    return widest;
}

// Takes from the widest column, one by one, until all fits or nothing more can be taken.
static void fit(const struct cli_table *table, size_t widths[CLI_COLUMNS_MAX], size_t limit)
{
    size_t sum = GAP * (table->columns - 1);
    for (size_t i = 0; i < table->columns; i++)
        sum += widths[i];
    while (sum > limit) {
        size_t widest = find_widest(table, widths, false);
        if (widest == table->columns)
            widest = find_widest(table, widths, true);
        if (widest == table->columns)
            return;
        widths[widest]--;
        sum--;
    }
}

static void write_spaces(struct buf *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_add_char(out, ' ');
}

static void write_cell(struct buf *out, struct str text, size_t width, bool right, bool last)
{
    bool cut = cli_fit(text, width) < text.n;
    struct str shown = str_sub(text, 0, cli_fit(text, cut && width >= 3 ? width - 3 : width));
    size_t used = cli_width(shown);
    if (right)
        write_spaces(out, width - (cut ? width : used));
    buf_add_str(out, shown);
    if (cut && width >= 3) {
        buf_add_str(out, STR("..."));
        used += 3;
    }
    if (!right && !last && used < width)
        write_spaces(out, width - used);
}

void cli_write_cut(struct buf *out, struct str text, size_t width)
{
    write_cell(out, text, width ? width : SIZE_MAX, false, true);
}

static void write_row(const struct cli_table *table, const struct str *cells, const size_t *widths, struct buf *out)
{
    for (size_t i = 0; i < table->columns; i++) {
        struct str text = cells ? cells[i] : title_of(table, i);
        if (i)
            write_spaces(out, GAP);
        write_cell(out, text, widths[i], *table->titles[i] == '>', i + 1 == table->columns);
    }
    buf_add_char(out, '\n');
}

void cli_table_write(const struct cli_table *table, size_t width, struct buf *out)
{
    size_t widths[CLI_COLUMNS_MAX] = {0};
    natural_widths(table, widths);
    if (width)
        fit(table, widths, width);
    write_row(table, NULL, widths, out);
    for (size_t i = 0; i + table->columns <= table->count; i += table->columns)
        write_row(table, table->cells + i, widths, out);
}
