// Whether a message is at Intercom already: there is no idempotency key, so it is told by its author, its
// created_at (ours, sent along unchanged) and its body.
//
// Two equal texts of one second are told apart by counting: those whose ids we know are not this one. What a message says of its files
// may differ from one attempt to the next (they come, or cannot be had): of it only how it begins is compared.
#include "desk/intercom.h"

#include <inttypes.h>
#include <string.h>

enum { ID_MAX = 128, LABEL_MAX = 2048, SKEW_S = 60 };

struct str intercom_id(yyjson_val *value, struct arena *arena)
{
    struct str text = json_val_str(value);
    if (yyjson_is_uint(value))
        return arena_printf(arena, "%" PRIu64, yyjson_get_uint(value));
    if (!text.n || text.n > ID_MAX || str_index(text, 0, 0) < text.n)
        return STR_NONE;
    return arena_str(arena, text);
}

bool intercom_is_note(struct str part_type)
{
    return part_type.n && memmem(part_type.p, part_type.n, "note", 4) != NULL;
}

// Bodies --------------------------------------------------------------------------------------------------

struct squeeze {
    char *p;
    size_t n;
};

static void put(struct squeeze *out, const char *p, size_t n)
{
    memcpy(out->p + out->n, p, n);
    out->n += n;
}

// The HTML up to its last ">": behind it no tag ends, and looking for one from each "<" there would take the square of its length.
static size_t tags_end(struct str html)
{
    size_t n = html.n;
    while (n > 0 && html.p[n - 1] != '>')
        n--;
    return n;
}

static bool begins_a_tag(struct str s)
{
    char c = s.n < 3 ? 0 : (char)(s.p[1] | 0x20);
    return c && s.p[0] == '<' && ((c >= 'a' && c <= 'z') || s.p[1] == '/' || s.p[1] == '!');
}

// Length of the tag that s begins with, 0 when it begins with none.
static size_t tag(struct str s)
{
    if (!begins_a_tag(s))
        return 0;
    size_t end = str_index(s, '>', 0);
    return end < s.n ? end + 1 : 0;
}

static void put_code_point(struct squeeze *out, int64_t c)
{
    char utf8[4];
    if (c < 0x80) {
        utf8[0] = (char)c;
        put(out, utf8, 1);
    } else if (c < 0x800) {
        utf8[0] = (char)(0xC0 | c >> 6);
        utf8[1] = (char)(0x80 | (c & 0x3F));
        put(out, utf8, 2);
    } else if (c < 0x10000) {
        utf8[0] = (char)(0xE0 | c >> 12);
        utf8[1] = (char)(0x80 | (c >> 6 & 0x3F));
        utf8[2] = (char)(0x80 | (c & 0x3F));
        put(out, utf8, 3);
    } else {
        utf8[0] = (char)(0xF0 | c >> 18);
        utf8[1] = (char)(0x80 | (c >> 12 & 0x3F));
        utf8[2] = (char)(0x80 | (c >> 6 & 0x3F));
        utf8[3] = (char)(0x80 | (c & 0x3F));
        put(out, utf8, 4);
    }
}

// "#39" or "#x27".
static bool character_number(struct str name, int64_t *out)
{
    int64_t c = 0;
    if (name.n < 2 || name.n > 8 || name.p[0] != '#')
        return false;
    bool hex = (name.p[1] | 0x20) == 'x';
    for (size_t i = hex ? 2 : 1; i < name.n; i++) {
        char d = (char)(name.p[i] | 0x20);
        if (name.p[i] >= '0' && name.p[i] <= '9')
            c = c * (hex ? 16 : 10) + (name.p[i] - '0');
        else if (hex && d >= 'a' && d <= 'f')
            c = c * 16 + (d - 'a' + 10);
        else
            return false;
    }
    *out = c;
    return c > 0x20 && c <= 0x10FFFF;
}

// Writes what an entity stands for and gives its length; 0 when s begins with none that we know. Its text is
// never longer than itself, so it fits where the body fitted.
static size_t entity(struct str s, struct squeeze *out)
{
    static const struct {
        const char *name, *text;
    } named[] = {{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", ""}};
    struct str head = str_sub(s, 0, 10);
    size_t end = str_index(head, ';', 0);
    struct str name = str_sub(head, 1, end);
    int64_t c;
    if (end == head.n)
        return 0;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (str_eq_c(name, named[i].name)) {
            put(out, named[i].text, strlen(named[i].text));
            return end + 1;
        }
    if (!character_number(name, &c))
        return 0;
    put_code_point(out, c);
    return end + 1;
}

// Length of the blank that s begins with; a no-break space is one too.
static size_t blank(struct str s)
{
    if (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r'))
        return 1;
    return str_starts(s, STR("\xC2\xA0")) ? 2 : 0;
}

// "label (url)" is how the desk shows a link in plain text; where label and url are one, the second goes.
static struct str without_repeated_links(struct squeeze *text)
{
    struct squeeze out = {text->p, 0}; // in place: it only shrinks
    struct str in = {text->p, text->n};
    for (size_t i = 0; i < in.n;) {
        size_t length = 0;
        if (in.p[i] == '(')
            length = str_index(str_sub(in, i + 1, i + 1 + LABEL_MAX), ')', 0);
        if (length > 3 && i + 1 + length < in.n && in.p[i + 1 + length] == ')' && out.n >= length &&
            memcmp(out.p + out.n - length, in.p + i + 1, length) == 0 &&
            memmem(in.p + i + 1, length, "://", 3) != NULL) {
            i += length + 2;
            continue;
        }
        out.p[out.n++] = in.p[i++];
    }
    return (struct str){out.p, out.n};
}

struct str intercom_squeezed(struct str body, bool html, struct arena *arena)
{
    struct squeeze out = {arena_alloc(arena, body.n + 1), 0};
    size_t end = html ? tags_end(body) : 0;
    for (size_t i = 0; i < body.n;) {
        struct str rest = str_sub(body, i, body.n);
        size_t n = blank(rest);
        if (!n && html)
            n = rest.p[0] == '<' && i < end ? tag(rest) : rest.p[0] == '&' ? entity(rest, &out) : 0;
        if (!n) {
            put(&out, rest.p, 1);
            n = 1;
        }
        i += n;
    }
    return without_repeated_links(&out);
}

bool intercom_same_body(struct str ours, struct str theirs, struct arena *arena)
{
    struct str plain = intercom_squeezed(ours, false, arena);
    struct str their_plain = intercom_squeezed(theirs, false, arena);
    if (str_eq(plain, their_plain))
        return true;
    struct str their_text = intercom_squeezed(theirs, true, arena);
    if (str_eq(plain, their_text))
        return true;
    // What we sent as plain text may have been read as HTML, and lost what looked like tags.
    struct str text = intercom_squeezed(ours, true, arena);
    return text.n && str_eq(text, their_text);
}

bool intercom_is_blank(struct str html, struct arena *arena)
{
    return !intercom_squeezed(html, true, arena).n;
}

// The value of src in a tag, with entities read.
static struct str source_of(struct str tag_text, struct arena *arena)
{
    static const char name[] = " src=";
    const char *hit = memmem(tag_text.p, tag_text.n, name, sizeof name - 1);
    if (!hit)
        return STR_NONE;
    struct str value = str_sub(tag_text, (size_t)(hit - tag_text.p) + sizeof name - 1, tag_text.n);
    char quote = value.n ? value.p[0] : 0;
    if (quote != '"' && quote != '\'')
        return STR_NONE;
    return intercom_squeezed(str_sub(value, 1, str_index(value, quote, 1)), true, arena);
}

bool intercom_next_image(struct str html, size_t *at, struct arena *arena, struct str *out_url)
{
    while (*at < html.n) {
        struct str rest = str_sub(html, *at, html.n);
        size_t length = tag(rest);
        if (!length && begins_a_tag(rest)) { // it has no end, and so has none behind it
            *at = html.n;
            return false;
        }
        *at += length ? length : 1;
        if (length && str_ieq_c(str_sub(rest, 0, 4), "<img")) {
            *out_url = source_of(str_sub(rest, 0, length), arena);
            return true;
        }
    }
    return false;
}

// Looking -------------------------------------------------------------------------------------------------

// How often this reference is known. One message may have two, with a comma between: of its text, and of its files.
static size_t times_known(const struct intercom_wanted *wanted, struct str id)
{
    size_t times = wanted->text_ref.n && str_eq(wanted->text_ref, id);
    for (size_t i = 0; i < wanted->known_ref_count; i++) {
        struct str refs = wanted->known_refs[i];
        size_t comma = str_index(refs, ',', 0);
        times += str_eq(str_sub(refs, 0, comma), id);
        times += comma < refs.n && str_eq(str_sub(refs, comma + 1, refs.n), id);
    }
    return times;
}

static bool is_tail(const struct intercom_wanted *wanted, struct str rest, struct arena *arena)
{
    if (!rest.n)
        return !wanted->has_tail;
    for (size_t i = 0; i < wanted->tail_count; i++) {
        struct str tail = intercom_squeezed(wanted->tails[i], false, arena);
        if (tail.n && str_ieq(str_sub(rest, 0, tail.n), tail))
            return true;
    }
    return false;
}

static bool is_with_tail(const struct intercom_wanted *wanted, struct str ours, struct str theirs, struct arena *arena)
{
    return str_starts(theirs, ours) && is_tail(wanted, str_sub(theirs, ours.n, theirs.n), arena);
}

// The same as intercom_same_body of a message with files.
static bool is_same_with_files(const struct intercom_wanted *wanted, struct str theirs, struct arena *arena)
{
    struct str plain = intercom_squeezed(wanted->body, false, arena);
    struct str their_text = intercom_squeezed(theirs, true, arena);
    if (is_with_tail(wanted, plain, intercom_squeezed(theirs, false, arena), arena) ||
        is_with_tail(wanted, plain, their_text, arena))
        return true;
    struct str text = intercom_squeezed(wanted->body, true, arena);
    return text.n && is_with_tail(wanted, text, their_text, arena);
}

static bool is_ours(const struct intercom_wanted *wanted, yyjson_val *said, struct arena *arena)
{
    struct str author = intercom_id(yyjson_obj_get(yyjson_obj_get(said, "author"), "id"), arena);
    if (!author.n || !str_eq(author, wanted->contact))
        return false;
    struct str body = json_get_str(said, "body");
    return wanted->tail_count ? is_same_with_files(wanted, body, arena) : intercom_same_body(wanted->body, body, arena);
}

// Ids grow with time; those that are no numbers cannot be compared.
static bool is_later_part(const struct intercom_wanted *wanted, struct str id)
{
    int64_t known, this;
    if (!str_to_i64(wanted->last_part, &known) || !str_to_i64(id, &this))
        return true;
    return this > known;
}

static bool is_time(const struct intercom_wanted *wanted, int64_t created_s, struct str id)
{
    if (created_s == wanted->created_s)
        return true;
    return wanted->own_clock && created_s >= wanted->received_s - SKEW_S && is_later_part(wanted, id);
}

static int64_t created_at(yyjson_val *object)
{
    int64_t at_s;
    return json_get_int(object, "created_at", &at_s) ? at_s : 0;
}

static struct str find_in_source(const struct intercom_wanted *wanted, yyjson_val *conversation, struct arena *arena)
{
    yyjson_val *source = yyjson_obj_get(conversation, "source");
    struct str id = intercom_id(yyjson_obj_get(source, "id"), arena);
    if (!id.n || times_known(wanted, id) || created_at(conversation) != wanted->created_s)
        return STR_NONE;
    return is_ours(wanted, source, arena) ? id : STR_NONE;
}

struct str intercom_find_in_conversation(const struct intercom_wanted *wanted, yyjson_val *conversation,
                                         struct arena *arena, yyjson_val **out_said)
{
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(conversation, "conversation_parts"), "conversation_parts");
    // So many messages of this second were taken without a name: as many of those found may be theirs.
    size_t taken = times_known(wanted, INTERCOM_UNNAMED), i, n;
    struct str found = find_in_source(wanted, conversation, arena);
    yyjson_val *part;
    *out_said = yyjson_obj_get(conversation, "source");
    if (found.n && taken)
        taken--;
    else if (found.n)
        return found;
    yyjson_arr_foreach(parts, i, n, part)
    {
        struct str id = intercom_id(yyjson_obj_get(part, "id"), arena);
        if (!id.n || times_known(wanted, id) || !is_time(wanted, created_at(part), id) || !is_ours(wanted, part, arena))
            continue;
        *out_said = part;
        if (!taken)
            return id;
        taken--;
    }
    return STR_NONE;
}

// Without our created_at a conversation is told by its body and its time only, which will do where the contact
// has no other one of ours.
static bool is_begun_now(const struct intercom_wanted *wanted, int64_t created_s)
{
    return created_s == wanted->created_s || (wanted->alone && created_s >= wanted->received_s - SKEW_S);
}

struct str intercom_find_in_list(const struct intercom_wanted *wanted, yyjson_val *list, struct arena *arena,
                                 struct str *out_conversation, yyjson_val **out_said)
{
    size_t i, n;
    yyjson_val *conversation;
    yyjson_arr_foreach(yyjson_obj_get(list, "conversations"), i, n, conversation)
    {
        yyjson_val *source = yyjson_obj_get(conversation, "source");
        struct str conversation_id = intercom_id(yyjson_obj_get(conversation, "id"), arena);
        struct str id = intercom_id(yyjson_obj_get(source, "id"), arena);
        if (!conversation_id.n || str_eq(conversation_id, wanted->looked) || times_known(wanted, id) ||
            !is_begun_now(wanted, created_at(conversation)) || !is_ours(wanted, source, arena))
            continue;
        *out_conversation = conversation_id;
        *out_said = source;
        return id.n ? id : INTERCOM_UNNAMED;
    }
    return STR_NONE;
}
