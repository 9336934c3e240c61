#include "platform/html_piece.h"

// A tag as HTML5 reads it (13.2.5.6 to 13.2.5.40). What is no tag is DATA: text, comments, scripts.
enum state {
    DATA,
    TAG_NAME,
    BEFORE_ATTRIBUTE, // also behind a "/" and behind a quoted value
    ATTRIBUTE_NAME,
    AFTER_NAME,
    BEFORE_VALUE,
    VALUE,
    VALUE_IN_DOUBLE_QUOTES,
    VALUE_IN_QUOTES,
    STATES
};

enum kind { BLANK, SLASH, END, EQUALS, DOUBLE_QUOTE, QUOTE, OTHER, KINDS };

static enum kind kind_of(char c)
{
    switch (c) {
    case ' ':
    case '\t':
    case '\n':
    case '\f':
    case '\r':
        return BLANK;
    case '/':
        return SLASH;
    case '>':
        return END;
    case '=':
        return EQUALS;
    case '"':
        return DOUBLE_QUOTE;
    case '\'':
        return QUOTE;
    default:
        return OTHER;
    }
}

// The state behind a character, by its kind in the order above.
static const unsigned char follows[STATES][KINDS] = {
    [TAG_NAME] = {BEFORE_ATTRIBUTE, BEFORE_ATTRIBUTE, DATA, TAG_NAME, TAG_NAME, TAG_NAME, TAG_NAME},
    [BEFORE_ATTRIBUTE] = {BEFORE_ATTRIBUTE, BEFORE_ATTRIBUTE, DATA, ATTRIBUTE_NAME, ATTRIBUTE_NAME, ATTRIBUTE_NAME,
                          ATTRIBUTE_NAME},
    [ATTRIBUTE_NAME] = {AFTER_NAME, BEFORE_ATTRIBUTE, DATA, BEFORE_VALUE, ATTRIBUTE_NAME, ATTRIBUTE_NAME,
                        ATTRIBUTE_NAME},
    [AFTER_NAME] = {AFTER_NAME, BEFORE_ATTRIBUTE, DATA, BEFORE_VALUE, ATTRIBUTE_NAME, ATTRIBUTE_NAME, ATTRIBUTE_NAME},
    [BEFORE_VALUE] = {BEFORE_VALUE, VALUE, DATA, VALUE, VALUE_IN_DOUBLE_QUOTES, VALUE_IN_QUOTES, VALUE},
    [VALUE] = {BEFORE_ATTRIBUTE, VALUE, DATA, VALUE, VALUE, VALUE, VALUE},
    [VALUE_IN_DOUBLE_QUOTES] = {VALUE_IN_DOUBLE_QUOTES, VALUE_IN_DOUBLE_QUOTES, VALUE_IN_DOUBLE_QUOTES,
                                VALUE_IN_DOUBLE_QUOTES, BEFORE_ATTRIBUTE, VALUE_IN_DOUBLE_QUOTES,
                                VALUE_IN_DOUBLE_QUOTES},
    [VALUE_IN_QUOTES] = {VALUE_IN_QUOTES, VALUE_IN_QUOTES, VALUE_IN_QUOTES, VALUE_IN_QUOTES, VALUE_IN_QUOTES,
                         BEFORE_ATTRIBUTE, VALUE_IN_QUOTES},
};

static bool begins_attribute(enum state from, enum state to)
{
    return to == ATTRIBUTE_NAME && from != ATTRIBUTE_NAME;
}

// A tag's name begins here, if it does not stand in a comment or a script.
static bool begins_name(struct str html, size_t at)
{
    char c = (char)(html.p[at] | 0x20);
    bool follows_slash = at >= 2 && html.p[at - 1] == '/' && html.p[at - 2] == '<';
    return c >= 'a' && c <= 'z' && (follows_slash || (at >= 1 && html.p[at - 1] == '<'));
}

// What the parser may be at, a bit for each state, since whether a "<" stands in a comment or a script is not looked for. DATA is
// always among them.
struct reading {
    unsigned states;
    size_t attributes; // that may have begun
};

static void read_byte(struct reading *reading, struct str html, size_t at)
{
    enum kind kind = kind_of(html.p[at]);
    unsigned next = 1U << DATA;
    bool begins = false;
    for (unsigned states = reading->states & ~(1U << DATA); states; states &= states - 1) {
        enum state from = (enum state)__builtin_ctz(states), to = (enum state)follows[from][kind];
        begins = begins || begins_attribute(from, to);
        next |= 1U << to;
    }
    if (begins_name(html, at))
        next |= 1U << TAG_NAME;
    reading->states = next;
    reading->attributes += begins;
}

// Where the first piece ends: before a "<". `*out_attributes`: how many may be in it at most.
static size_t piece_end(struct str html, size_t *out_attributes)
{
    struct reading reading = {.states = 1U << DATA};
    size_t end = 0, tags = 0;
    *out_attributes = 0;
    for (size_t at = 0; at < html.n; at++) {
        if (html.p[at] == '<') {
            end = at;
            *out_attributes = reading.attributes;
            if (tags++ == PIECE_TAGS)
                return end;
        }
        read_byte(&reading, html, at);
        if (reading.attributes > PIECE_ATTRIBUTES && end)
            return end;
    }
    *out_attributes = reading.attributes;
    return html.n;
}

// The tag that a piece begins with, with its first attributes only.
static struct str with_first_attributes(struct str piece, struct arena *arena)
{
    enum state state = TAG_NAME, before = TAG_NAME;
    size_t at = 2, read = piece.n, attributes = 0; // behind "<" and a letter or "/"
    for (; at < piece.n && state != DATA; at++) {
        before = state;
        state = (enum state)follows[before][kind_of(piece.p[at])];
        if (begins_attribute(before, state) && ++attributes == TAG_ATTRIBUTES + 1)
            read = at;
    }
    size_t end = state == DATA ? at - 1 : piece.n;
    bool closes_itself = end < piece.n && before == BEFORE_ATTRIBUTE && piece.p[end - 1] == '/';
    return ARENA_JOIN(arena, str_sub(piece, 0, read), closes_itself ? STR("/") : STR(""), str_sub(piece, end, piece.n));
}

struct str html_piece_take(struct str *rest, struct arena *arena)
{
    size_t attributes, end = piece_end(*rest, &attributes);
    struct str piece = str_sub(*rest, 0, end);
    *rest = str_sub(*rest, end, rest->n);
    // More than a piece has: it is one tag, which the piece begins with.
    return attributes > PIECE_ATTRIBUTES ? with_first_attributes(piece, arena) : piece;
}
