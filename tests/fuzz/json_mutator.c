#include "fuzz/json_mutator.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

enum { SLOTS_MAX = 4096, NESTING_MAX = 3000 };

// A value, and where it stands.
struct slot {
    yyjson_mut_val *value, *parent, *key; // parent NULL: the root; key NULL: in an array
};

struct mutation {
    yyjson_mut_doc *doc;
    struct slot *slots;
    size_t count;
    uint64_t random;
};

static size_t below(struct mutation *m, size_t n)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % n;
}

static void add_slot(struct mutation *m, yyjson_mut_val *value, yyjson_mut_val *parent, yyjson_mut_val *key)
{
    if (m->count < SLOTS_MAX)
        m->slots[m->count++] = (struct slot){value, parent, key};
}

// All values, the outer ones first.
static void list_slots(struct mutation *m)
{
    size_t i, n;
    yyjson_mut_val *key, *each;
    add_slot(m, yyjson_mut_doc_get_root(m->doc), NULL, NULL);
    for (size_t at = 0; at < m->count; at++) {
        yyjson_mut_val *value = m->slots[at].value;
        yyjson_mut_arr_foreach(value, i, n, each)
        {
            add_slot(m, each, value, NULL);
        }
        yyjson_mut_obj_foreach(value, i, n, key, each)
        {
            add_slot(m, each, value, key);
        }
    }
}

static struct slot *any_slot(struct mutation *m)
{
    return &m->slots[below(m, m->count)];
}

// In place: its neighbours stay.
static void replace(struct slot *slot, const yyjson_mut_val *with)
{
    slot->value->tag = with->tag;
    slot->value->uni = with->uni;
}

// Values that a reader may not be ready for, as they stand in a text.
static void set_hostile(struct mutation *m, struct slot *slot)
{
    static const char *const values[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1",
        "1",
        "0.1",
        "1e400",
        "-1e400",
        "1e-400",
        "2147483647",
        "2147483648",
        "-2147483649",
        "9007199254740993",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "1733999999",
        "253402300800",
        "{}",
        "[]",
        "[[]]",
        "[null]",
        "[{}]",
        "{\"\":\"\"}",
        "{\"a\":1,\"a\":2}",
        "\"\"",
        "\" \"",
        "\"\\u0000\"",
        "\"a\\u0000b\"",
        "\"\\u001b[31m\"",
        "\"\\r\\n\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"", // not JSON to a strict reader, and never taken for it
        "\"\\u202e\\u2028\\ufeff\\uffff\"",
        "\"<b>&amp;<a href='x'>y</a>\"",
        "\"../../etc\"",
        "\"http://127.0.0.1/\"",
        "\"5\"",
        "\"-5\"",
        "\"true\"",
    };
    const char *value = values[below(m, sizeof values / sizeof *values)];
    replace(slot, yyjson_mut_raw(m->doc, value));
}

static void set_nested(struct mutation *m, struct slot *slot)
{
    size_t depth = below(m, 4) ? 1 + below(m, 40) : 1 + below(m, NESTING_MAX);
    char *text = malloc(2 * depth);
    if (!text)
        abort();
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    replace(slot, yyjson_mut_rawncpy(m->doc, text, 2 * depth));
    free(text);
}

static void set_long(struct mutation *m, struct slot *slot)
{
    size_t n = below(m, 3) ? 1 + below(m, 300) : 1 + below(m, 70000);
    char *text = malloc(n);
    if (!text)
        abort();
    memset(text, (int)('a' + below(m, 26)), n);
    replace(slot, yyjson_mut_strncpy(m->doc, text, n));
    free(text);
}

// Its text changed byte by byte.
static void change_text(struct mutation *m, struct slot *slot)
{
    size_t n = yyjson_mut_get_len(slot->value), room = n + 16;
    uint8_t *text = malloc(room);
    if (!text)
        abort();
    memcpy(text, yyjson_mut_get_str(slot->value), n);
    n = LLVMFuzzerMutate(text, n, room);
    replace(slot, yyjson_mut_strncpy(m->doc, (const char *)text, n));
    free(text);
}

static void change_value(struct mutation *m, struct slot *slot)
{
    if (yyjson_mut_is_str(slot->value))
        change_text(m, slot);
    else if (yyjson_mut_is_int(slot->value))
        replace(slot, yyjson_mut_sint(m->doc, (int64_t)(yyjson_mut_get_uint(slot->value) + below(m, 5) - 2)));
    else if (yyjson_mut_is_bool(slot->value))
        replace(slot, yyjson_mut_bool(m->doc, !yyjson_mut_get_bool(slot->value)));
    else
        set_hostile(m, slot);
}

// Takes the value of another place.
static void set_other(struct mutation *m, struct slot *slot)
{
    replace(slot, yyjson_mut_val_mut_copy(m->doc, any_slot(m)->value));
}

static yyjson_mut_val *any_key(struct mutation *m)
{
    for (int tries = 0; tries < 20; tries++) {
        struct slot *slot = any_slot(m);
        if (slot->key)
            return slot->key;
    }
    return NULL;
}

// Takes the name of another member, so that one may stand there twice, and one is missing.
static void rename_member(struct mutation *m, struct slot *slot)
{
    const yyjson_mut_val *key = any_key(m);
    if (!slot->key || !key)
        return;
    slot->key->tag = key->tag;
    slot->key->uni = key->uni;
}

static void duplicate(struct mutation *m, struct slot *slot)
{
    yyjson_mut_val *copy = yyjson_mut_val_mut_copy(m->doc, slot->value);
    if (slot->key)
        yyjson_mut_obj_add(slot->parent, yyjson_mut_val_mut_copy(m->doc, slot->key), copy);
    else if (slot->parent)
        yyjson_mut_arr_append(slot->parent, copy);
}

static void drop(struct mutation *m, struct slot *slot)
{
    if (slot->key)
        yyjson_mut_obj_remove(slot->parent, slot->key);
    else if (slot->parent)
        yyjson_mut_arr_remove(slot->parent, below(m, yyjson_mut_arr_size(slot->parent)));
}

static void change_once(struct mutation *m)
{
    static void (*const changes[])(struct mutation * m, struct slot * slot) = {
        set_hostile, set_hostile, change_value, change_value, change_value,  set_nested,
        set_long,    set_other,   set_other,    duplicate,    rename_member, drop,
    };
    m->count = 0;
    list_slots(m);
    changes[below(m, sizeof changes / sizeof *changes)](m, any_slot(m));
}

// The changed text, to be freed; NULL: it cannot be written.
static char *change_document(yyjson_doc *doc, uint64_t random, size_t *out_n)
{
    struct mutation m = {.doc = yyjson_doc_mut_copy(doc, NULL), .random = random};
    m.slots = malloc(SLOTS_MAX * sizeof *m.slots);
    if (!m.doc || !m.slots)
        abort();
    size_t changes = 1 + below(&m, 3);
    for (size_t i = 0; i < changes; i++)
        change_once(&m);
    char *text = yyjson_mut_write(m.doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE, out_n);
    yyjson_mut_doc_free(m.doc);
    free(m.slots);
    return text;
}

// The text of an object or list in the data: from `*at` on `*out_n` bytes. NULL: there is none.
static yyjson_doc *find_document(const uint8_t *data, size_t size, size_t *at, size_t *out_n)
{
    for (; *at < size; ++*at) {
        if (data[*at] != '{' && data[*at] != '[')
            continue;
        yyjson_doc *doc = yyjson_read_opts((char *)data + *at, size - *at, YYJSON_READ_STOP_WHEN_DONE, NULL, NULL);
        *out_n = yyjson_doc_get_read_size(doc);
        return doc;
    }
    return NULL;
}

static bool splice(uint8_t *data, size_t *size, size_t max_size, size_t at, size_t old_n, struct mutation *m,
                   yyjson_doc *doc)
{
    size_t n;
    char *text = change_document(doc, m->random, &n);
    bool fits = text && *size - old_n + n <= max_size;
    if (fits) {
        memmove(data + at + n, data + at + old_n, *size - at - old_n);
        memcpy(data + at, text, n);
        *size += n - old_n;
    }
    free(text);
    return fits;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct mutation m = {.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1};
    size_t at = 0, n;
    below(&m, 1);
    if (below(&m, 3) == 0) // broken JSON is a case, too
        return LLVMFuzzerMutate(data, size, max_size);
    if (size && below(&m, 2)) // mostly the outermost one
        at = below(&m, size);
    yyjson_doc *doc = find_document(data, size, &at, &n);
    if (!doc && at) {
        at = 0;
        doc = find_document(data, size, &at, &n);
    }
    bool changed = doc && splice(data, &size, max_size, at, n, &m, doc);
    yyjson_doc_free(doc);
    return changed ? size : LLVMFuzzerMutate(data, size, max_size);
}
