// HTML to text. Gumbo makes the tree; it is walked without recursion, since it may be as deep as the input is long, and it
// is never destroyed (which gumbo does by recursion): all of it lies in an arena.
//
// The layout is one rule: what separates (blanks, ends of lines, margins of blocks) is kept pending until the next visible
// character, and then the largest of it is written. So nothing separates at the beginning and the end, and margins collapse.
#include "platform/html_text.h"

#include "base/buf.h"
#include "platform/html_piece.h"

#include <gumbo.h>
#include <inttypes.h>

enum {
    BREAKS_MAX = 3, // ends of lines in a row
    INDENT_MAX = 8, // nested lists that are still indented
    URL_MAX = 2048, // bytes; longer ones are no link
    SPANS_FIRST = 16,
};

static const size_t UNSET = SIZE_MAX;

enum role {
    ROLE_NONE,
    ROLE_DROPPED, // with all that is in it
    ROLE_LINE_END,
    ROLE_FILE, // shown by its address, on a line
    ROLE_LIST,
    ROLE_ITEM,
    ROLE_CELL,
};

// What an element is to us. `margin`: ends of lines between it and its neighbours, 0 = it stands in the line.
struct element {
    int margin;
    enum text_style style;
    enum role role;
};

static const struct element elements[GUMBO_TAG_LAST] = {
    [GUMBO_TAG_P] = {.margin = 2},
    [GUMBO_TAG_H1] = {.margin = 2, .style = TEXT_BOLD},
    [GUMBO_TAG_H2] = {.margin = 2, .style = TEXT_BOLD},
    [GUMBO_TAG_H3] = {.margin = 2, .style = TEXT_BOLD},
    [GUMBO_TAG_H4] = {.margin = 2, .style = TEXT_BOLD},
    [GUMBO_TAG_H5] = {.margin = 2, .style = TEXT_BOLD},
    [GUMBO_TAG_H6] = {.margin = 2, .style = TEXT_BOLD},
    [GUMBO_TAG_PRE] = {.margin = 2, .style = TEXT_PRE},
    [GUMBO_TAG_BLOCKQUOTE] = {.margin = 2, .style = TEXT_QUOTE},
    [GUMBO_TAG_UL] = {.margin = 2, .role = ROLE_LIST},
    [GUMBO_TAG_OL] = {.margin = 2, .role = ROLE_LIST},
    [GUMBO_TAG_LI] = {.margin = 1, .role = ROLE_ITEM},
    [GUMBO_TAG_HR] = {.margin = 2},
    [GUMBO_TAG_TABLE] = {.margin = 2},
    [GUMBO_TAG_DL] = {.margin = 2},
    [GUMBO_TAG_FIGURE] = {.margin = 2},
    [GUMBO_TAG_ADDRESS] = {.margin = 1},
    [GUMBO_TAG_ARTICLE] = {.margin = 1},
    [GUMBO_TAG_ASIDE] = {.margin = 1},
    [GUMBO_TAG_CAPTION] = {.margin = 1},
    [GUMBO_TAG_CENTER] = {.margin = 1},
    [GUMBO_TAG_DD] = {.margin = 1},
    [GUMBO_TAG_DETAILS] = {.margin = 1},
    [GUMBO_TAG_DIV] = {.margin = 1},
    [GUMBO_TAG_DT] = {.margin = 1},
    [GUMBO_TAG_FIELDSET] = {.margin = 1},
    [GUMBO_TAG_FIGCAPTION] = {.margin = 1},
    [GUMBO_TAG_FOOTER] = {.margin = 1},
    [GUMBO_TAG_FORM] = {.margin = 1},
    [GUMBO_TAG_HEADER] = {.margin = 1},
    [GUMBO_TAG_MAIN] = {.margin = 1},
    [GUMBO_TAG_NAV] = {.margin = 1},
    [GUMBO_TAG_OPTION] = {.margin = 1},
    [GUMBO_TAG_SECTION] = {.margin = 1},
    [GUMBO_TAG_SUMMARY] = {.margin = 1},
    [GUMBO_TAG_TR] = {.margin = 1},
    [GUMBO_TAG_TD] = {.role = ROLE_CELL},
    [GUMBO_TAG_TH] = {.role = ROLE_CELL},
    [GUMBO_TAG_B] = {.style = TEXT_BOLD},
    [GUMBO_TAG_STRONG] = {.style = TEXT_BOLD},
    [GUMBO_TAG_I] = {.style = TEXT_ITALIC},
    [GUMBO_TAG_EM] = {.style = TEXT_ITALIC},
    [GUMBO_TAG_U] = {.style = TEXT_UNDERLINE},
    [GUMBO_TAG_INS] = {.style = TEXT_UNDERLINE},
    [GUMBO_TAG_S] = {.style = TEXT_STRIKE},
    [GUMBO_TAG_DEL] = {.style = TEXT_STRIKE},
    [GUMBO_TAG_STRIKE] = {.style = TEXT_STRIKE},
    [GUMBO_TAG_CODE] = {.style = TEXT_CODE},
    [GUMBO_TAG_KBD] = {.style = TEXT_CODE},
    [GUMBO_TAG_SAMP] = {.style = TEXT_CODE},
    [GUMBO_TAG_TT] = {.style = TEXT_CODE},
    [GUMBO_TAG_A] = {.style = TEXT_LINK},
    [GUMBO_TAG_BR] = {.role = ROLE_LINE_END},
    [GUMBO_TAG_IMG] = {.role = ROLE_FILE},
    [GUMBO_TAG_AUDIO] = {.role = ROLE_FILE},
    [GUMBO_TAG_VIDEO] = {.role = ROLE_FILE},
    [GUMBO_TAG_IFRAME] = {.role = ROLE_FILE},
    [GUMBO_TAG_SCRIPT] = {.role = ROLE_DROPPED},
    [GUMBO_TAG_STYLE] = {.role = ROLE_DROPPED},
    [GUMBO_TAG_TEMPLATE] = {.role = ROLE_DROPPED},
    [GUMBO_TAG_TITLE] = {.role = ROLE_DROPPED},
    [GUMBO_TAG_SVG] = {.role = ROLE_DROPPED},
};

struct list {
    struct list *outer;
    const GumboNode *owner;
    bool ordered;
    int64_t next; // number of its next item
};

struct open_span {
    const GumboNode *owner; // the element that ends it; NULL: it is not open
    size_t from;            // UNSET: no visible character yet
    struct str url;
};

struct reader {
    struct arena *arena;  // of what is given back
    struct arena scratch; // of a piece's tree
    struct buf out;

    int breaks;        // pending ends of lines
    struct buf gap;    // pending blanks
    struct str bullet; // pending, of a list's item; in the scratch, or static
    int indent;        // of the bullet

    const GumboNode *pre; // the outermost element whose blanks and ends of lines are kept
    struct list *list;    // the innermost; in the scratch
    int list_depth;
    struct open_span open[TEXT_QUOTE + 1]; // by style

    struct text_span *spans;
    size_t span_count, span_room;
};

// Spans -------------------------------------------------------------------------------------------------

static void keep_span(struct reader *r, const struct text_span *span)
{
    if (r->span_count == r->span_room) {
        size_t room = r->span_room ? r->span_room * 2 : SPANS_FIRST;
        struct text_span *spans = arena_alloc(r->arena, room * sizeof *spans);
        if (r->span_count)
            memcpy(spans, r->spans, r->span_count * sizeof *spans);
        r->spans = spans;
        r->span_room = room;
    }
    r->spans[r->span_count++] = *span;
}

// What is pending is not in it: a span has no blank at its end.
static void end_span(struct reader *r, enum text_style style)
{
    struct open_span *open = &r->open[style];
    if (open->owner && open->from != UNSET)
        keep_span(r, &(struct text_span){style, open->from, r->out.n, open->url});
    open->from = UNSET;
}

// What is open goes on behind this place, in spans of its own.
static void interrupt(struct reader *r)
{
    for (int style = TEXT_BOLD; style < TEXT_QUOTE; style++)
        end_span(r, style);
}

static bool is_open(const struct reader *r, enum text_style style)
{
    return r->open[style].owner != NULL;
}

static bool in_code(const struct reader *r)
{
    return is_open(r, TEXT_CODE) || is_open(r, TEXT_PRE);
}

static bool is_linkable(struct str url)
{
    static const struct str schemes[] = {STR("http://"), STR("https://"), STR("tg://"), STR("mailto:")};
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ')
            return false;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (url.n > schemes[i].n && url.n <= URL_MAX && str_ieq(str_sub(url, 0, schemes[i].n), schemes[i]))
            return str_is_utf8(url);
    return false;
}

static struct str attribute(const GumboNode *node, const char *name)
{
    const GumboAttribute *found = gumbo_get_attribute(&node->v.element.attributes, name);
    return found ? str_trim(str_of(found->value)) : STR_NONE;
}

static void open_span(struct reader *r, enum text_style style, const GumboNode *node)
{
    struct str url = STR_NONE;
    if (is_open(r, style) || in_code(r))
        return;
    if (style == TEXT_LINK) {
        url = attribute(node, "href");
        if (!is_linkable(url))
            return;
        url = arena_str(r->arena, url);
    }
    bool is_code = style == TEXT_CODE || style == TEXT_PRE;
    if (is_code && is_open(r, TEXT_LINK)) // which may hold no code, and is more useful
        return;
    if (is_code || style == TEXT_QUOTE) // they are in none of these
        interrupt(r);
    r->open[style] = (struct open_span){.owner = node, .from = UNSET, .url = url};
}

// A visible character follows.
static void begin_spans(struct reader *r, enum text_style from, enum text_style to)
{
    for (int style = (int)from; style <= (int)to; style++) {
        bool hidden = in_code(r) && style < TEXT_CODE;
        if (is_open(r, style) && !hidden && r->open[style].from == UNSET)
            r->open[style].from = r->out.n;
    }
}

// Layout ------------------------------------------------------------------------------------------------

static bool at_line_start(const struct reader *r)
{
    return r->out.n == 0 || r->breaks > 0;
}

static void end_line(struct reader *r)
{
    buf_clear(&r->gap);
    if (r->breaks < BREAKS_MAX)
        r->breaks++;
}

// The border of a block.
static void separate(struct reader *r, int margin)
{
    if (r->list && margin > 1) // items of a list stand close
        margin = 1;
    if (!margin)
        return;
    buf_clear(&r->gap);
    if (r->breaks < margin)
        r->breaks = margin;
}

static void write_bullet(struct reader *r)
{
    for (int i = 0; i < r->indent; i++)
        buf_add_str(&r->out, STR("  "));
    begin_spans(r, TEXT_QUOTE, TEXT_QUOTE); // what else is open begins behind it
    buf_add_str(&r->out, r->bullet);
    r->bullet = STR_NONE;
}

static void write_pending(struct reader *r)
{
    if (r->out.n)
        for (int i = 0; i < r->breaks; i++)
            buf_add_char(&r->out, '\n');
    r->breaks = 0;
    if (r->bullet.n)
        write_bullet(r);
    buf_add_str(&r->out, buf_str(&r->gap));
    buf_clear(&r->gap);
    begin_spans(r, TEXT_BOLD, TEXT_QUOTE);
}

static void add_blank(struct reader *r, struct str blank)
{
    char c = blank.p[0];
    if (r->pre) {
        if (c == '\n')
            end_line(r);
        else if (c == ' ' || c == '\t' || blank.n > 1)
            buf_add_str(&r->gap, blank);
    } else if (!at_line_start(r) && (blank.n > 1 || !r->gap.n || r->gap.p[r->gap.n - 1] != ' ')) {
        buf_add_str(&r->gap, blank.n > 1 ? blank : STR(" "));
    }
}

// Bytes of the blank at `at`: one of the browser's, or a no-break space; 0 when there is none.
static size_t blank_at(struct str text, size_t at)
{
    char c = text.p[at];
    if (c == ' ' || (c >= '\t' && c <= '\r'))
        return 1;
    return c == '\xC2' && at + 1 < text.n && text.p[at + 1] == '\xA0' ? 2 : 0;
}

// Bytes of the control at `at`, which nobody sees; 0 when there is none.
static size_t control_at(struct str text, size_t at)
{
    unsigned char c = (unsigned char)text.p[at];
    if (c < ' ' || c == 0x7F)
        return 1;
    return c == 0xC2 && at + 1 < text.n && ((unsigned char)text.p[at + 1] & 0xE0) == 0x80 ? 2 : 0;
}

static void add_text(struct reader *r, struct str text)
{
    for (size_t at = 0, end; at < text.n; at = end) {
        size_t n = blank_at(text, at);
        end = at + n;
        if (n) {
            add_blank(r, str_sub(text, at, end));
            continue;
        }
        end = at + control_at(text, at);
        if (end > at)
            continue;
        while (end < text.n && !blank_at(text, end) && !control_at(text, end))
            end++;
        write_pending(r);
        buf_add_str(&r->out, str_sub(text, at, end));
    }
}

// Elements ----------------------------------------------------------------------------------------------

static void open_list(struct reader *r, const GumboNode *node)
{
    int64_t start;
    struct list *list = arena_of(&r->scratch, struct list);
    *list = (struct list){.outer = r->list, .owner = node, .ordered = node->v.element.tag == GUMBO_TAG_OL, .next = 1};
    if (str_to_i64(attribute(node, "start"), &start) && start > INT32_MIN && start < INT32_MAX)
        list->next = start;
    r->list = list;
    r->list_depth++;
}

static void begin_item(struct reader *r)
{
    r->indent = r->list_depth <= 1 ? 0 : r->list_depth <= INDENT_MAX ? r->list_depth - 1 : INDENT_MAX - 1;
    if (r->list && r->list->ordered)
        r->bullet = arena_printf(&r->scratch, "%" PRId64 ". ", r->list->next++);
    else
        r->bullet = STR("• ");
}

// Its address on a line, behind what it is said to show. False when it has none.
static bool add_file(struct reader *r, const GumboNode *node)
{
    struct str url = attribute(node, "src"), words = attribute(node, "alt");
    bool reachable = is_linkable(url) && (url.p[0] == 'h' || url.p[0] == 'H');
    separate(r, 1);
    if (reachable) {
        add_text(r, words);
        if (words.n)
            add_text(r, STR(": "));
        add_text(r, url);
    } else if (node->v.element.tag == GUMBO_TAG_IMG) {
        add_text(r, words.n ? STR("(image: ") : STR("(image"));
        add_text(r, words);
        add_text(r, STR(")"));
    }
    separate(r, 1);
    return reachable;
}

static int margin_of(const GumboNode *node, const struct element *element)
{
    // How Intercom marks the lines of one paragraph.
    bool close = element->margin > 1 && strstr(str_chars(attribute(node, "class")), "no-margin");
    return close ? 1 : element->margin;
}

static const struct element *element_of(const GumboNode *node)
{
    static const struct element nothing;
    return node->v.element.tag < GUMBO_TAG_LAST ? &elements[node->v.element.tag] : &nothing;
}

// Whether what is in it is to be read.
static bool enter_element(struct reader *r, const GumboNode *node)
{
    const struct element *element = element_of(node);
    separate(r, margin_of(node, element));
    if (element->style)
        open_span(r, element->style, node);
    if (!r->pre && node->v.element.tag == GUMBO_TAG_PRE)
        r->pre = node;
    if (element->role == ROLE_LINE_END)
        end_line(r);
    else if (element->role == ROLE_LIST)
        open_list(r, node);
    else if (element->role == ROLE_ITEM)
        begin_item(r);
    else if (element->role == ROLE_FILE) // in it stands what is shown instead of it
        return !add_file(r, node);
    return true;
}

static void leave_element(struct reader *r, const GumboNode *node)
{
    const struct element *element = element_of(node);
    if (element->style && r->open[element->style].owner == node) {
        if (element->style == TEXT_QUOTE)
            interrupt(r);
        end_span(r, element->style);
        r->open[element->style].owner = NULL;
    }
    if (r->pre == node)
        r->pre = NULL;
    if (r->list && r->list->owner == node) {
        r->list = r->list->outer;
        r->list_depth--;
    }
    if (element->role == ROLE_CELL)
        add_blank(r, STR(" "));
    separate(r, margin_of(node, element));
}

// The tree ----------------------------------------------------------------------------------------------

static bool is_element(const GumboNode *node)
{
    return node->type == GUMBO_NODE_ELEMENT || node->type == GUMBO_NODE_TEMPLATE;
}

// The first child, where there is one to be read.
static const GumboNode *enter(struct reader *r, const GumboNode *node)
{
    if (!is_element(node)) {
        if (node->type != GUMBO_NODE_COMMENT)
            add_text(r, str_of(node->v.text.text));
        return NULL;
    }
    bool read = element_of(node)->role != ROLE_DROPPED && enter_element(r, node);
    return read && node->v.element.children.length ? node->v.element.children.data[0] : NULL;
}

static const GumboNode *next_sibling(const GumboNode *node)
{
    const GumboVector *all = &node->parent->v.element.children;
    return node->index_within_parent + 1 < all->length ? all->data[node->index_within_parent + 1] : NULL;
}

static void leave(struct reader *r, const GumboNode *node)
{
    if (is_element(node) && element_of(node)->role != ROLE_DROPPED)
        leave_element(r, node);
}

static void walk(struct reader *r, const GumboNode *root)
{
    for (const GumboNode *node = root, *next;; node = next) {
        next = enter(r, node);
        if (next)
            continue;
        leave(r, node);
        while (node != root && !(next = next_sibling(node))) {
            node = node->parent;
            leave(r, node);
        }
        if (node == root)
            return;
    }
}

static void *allocate(void *arena, size_t size)
{
    return arena_alloc(arena, size);
}

static void leave_to_arena(void *arena, void *p)
{
    (void)arena, (void)p;
}

static void read_piece(struct reader *r, struct str html)
{
    GumboOptions options = kGumboDefaultOptions;
    options.allocator = allocate;
    options.deallocator = leave_to_arena;
    options.userdata = &r->scratch;
    options.max_errors = 0;
    options.fragment_context = GUMBO_TAG_BODY;
    const GumboOutput *tree = gumbo_parse_with_options(&options, html.p, html.n);
    walk(r, tree->root);
    r->bullet = STR_NONE;
    arena_done(&r->scratch);
}

// A copy without controls: gumbo would show each as U+FFFD.
static struct str without_controls(struct str html, struct arena *arena)
{
    char *copy = arena_alloc(arena, html.n + 1);
    size_t n = 0;
    for (size_t at = 0; at < html.n;) {
        size_t skipped = blank_at(html, at) ? 0 : control_at(html, at);
        if (!skipped)
            copy[n++] = html.p[at] == '\v' ? ' ' : html.p[at];
        at += skipped ? skipped : 1;
    }
    return (struct str){copy, n};
}

void html_text_read(struct str html, struct arena *arena, struct html_text *out)
{
    struct arena copies = {0};
    struct reader r = {.arena = arena};
    html = without_controls(html, &copies);
    buf_init(&r.out, SIZE_MAX / 2);
    buf_init(&r.gap, SIZE_MAX / 2);
    while (html.n)
        read_piece(&r, html_piece_take(&html, &r.scratch));
    buf_must(&r.gap);
    buf_must(&r.out); // a reply that is cut would be sent
    *out = (struct html_text){
        .text = arena_str(arena, r.out.p ? buf_str(&r.out) : STR("")), .spans = r.spans, .span_count = r.span_count};
    buf_done(&r.out);
    buf_done(&r.gap);
    arena_done(&copies);
}
