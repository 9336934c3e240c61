#include "platform/html_piece.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

// How many attributes may begin in the text at most, wherever the parser is when it comes there: each stands behind one of these.
static size_t attributes_at_most(struct str text)
{
    size_t most = 0;
    for (size_t i = 0; i < text.n; i++)
        most += is_blank(text.p[i]) || text.p[i] == '/' || text.p[i] == '"' || text.p[i] == '\'';
    return most;
}

static size_t piece_end(struct str html)
{
    size_t end = 0, attributes = 0;
    for (int tags = 0; tags <= PIECE_TAGS && end < html.n; tags++) {
        size_t next = str_index(html, '<', end + (tags > 0));
        attributes += attributes_at_most(str_sub(html, end, next));
        if (attributes > PIECE_ATTRIBUTES && end)
            break;
        end = next;
    }
    return end;
}

// A tag, as HTML5 13.2.5.6 to 13.2.5.39 reads it ---------------------------------------------------------

static size_t skip_blanks(struct str html, size_t at)
{
    while (at < html.n && is_blank(html.p[at]))
        at++;
    return at;
}

static size_t value_end(struct str html, size_t at)
{
    if (at < html.n && (html.p[at] == '"' || html.p[at] == '\'')) {
        size_t quote = str_index(html, html.p[at], at + 1);
        return quote < html.n ? quote + 1 : html.n;
    }
    while (at < html.n && !is_blank(html.p[at]) && html.p[at] != '>')
        at++;
    return at;
}

// Of the one that begins at `at`, whatever its first character is.
static size_t attribute_end(struct str html, size_t at)
{
    do
        at++;
    while (at < html.n && !is_blank(html.p[at]) && !strchr("/>=", html.p[at]));
    size_t equals = skip_blanks(html, at);
    return equals < html.n && html.p[equals] == '=' ? value_end(html, skip_blanks(html, equals + 1)) : at;
}

static size_t attribute_begin(struct str html, size_t at)
{
    while (at < html.n && (is_blank(html.p[at]) || html.p[at] == '/'))
        at++;
    return at;
}

// Bytes of the tag that the piece begins with, up to its ">"; 0 when it begins with none. The attributes that are read end at `*out_read`.
static size_t tag_end(struct str piece, size_t *out_read)
{
    size_t at = 1 + (piece.n > 1 && piece.p[1] == '/');
    if (piece.p[0] != '<' || at >= piece.n || (piece.p[at] | 0x20) < 'a' || (piece.p[at] | 0x20) > 'z')
        return 0;
    while (at < piece.n && !is_blank(piece.p[at]) && piece.p[at] != '/' && piece.p[at] != '>')
        at++;
    *out_read = at;
    int attributes = 0;
    for (at = attribute_begin(piece, at); at < piece.n && piece.p[at] != '>'; at = attribute_begin(piece, at)) {
        at = attribute_end(piece, at);
        if (++attributes <= TAG_ATTRIBUTES)
            *out_read = at;
    }
    if (attributes <= TAG_ATTRIBUTES)
        *out_read = at;
    return at;
}

struct str html_piece_take(struct str *rest, struct arena *arena)
{
    size_t end = piece_end(*rest), read = 0;
    struct str piece = str_sub(*rest, 0, end);
    *rest = str_sub(*rest, end, rest->n);
    size_t tag = tag_end(piece, &read);
    return read == tag ? piece : ARENA_JOIN(arena, str_sub(piece, 0, read), str_sub(piece, tag, piece.n));
}
