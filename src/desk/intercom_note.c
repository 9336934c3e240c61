// link.note as words: read leniently, written anew.
#include "desk/intercom.h"

#include <inttypes.h>

enum { OLD_MAX = 512 };

// Small letters only, as we write it.
static bool read_hex(struct str digits, size_t most, uint64_t *out)
{
    uint64_t value = 0;
    if (!digits.n || digits.n > most)
        return false;
    for (size_t i = 0; i < digits.n; i++) {
        char c = digits.p[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out = value;
    return true;
}

// "ID@REF@BITS"
static void read_files(struct intercom_note *note, struct str value)
{
    size_t at = str_index(value, '@', 0), second = str_index(value, '@', at + 1);
    uint64_t told;
    bool good = str_to_i64(str_sub(value, 0, at), &note->files_id) && note->files_id > 0 &&
                read_hex(str_sub(value, second + 1, value.n), 8, &told);
    note->files_id = good ? note->files_id : 0;
    note->files_ref = good ? str_sub(value, at + 1, second) : STR_NONE;
    note->files_told = good ? (uint32_t)told : 0;
}

// "HASH" or "HASH@S"
static void read_who(struct intercom_note *note, struct str value)
{
    size_t at = str_index(value, '@', 0);
    uint64_t who;
    bool good = read_hex(str_sub(value, 0, at), 16, &who);
    note->who = good ? who : 0;
    note->who_after_s = 0;
    if (at < value.n && (!str_to_i64(str_sub(value, at + 1, value.n), &note->who_after_s) || note->who_after_s <= 0))
        note->who = 0;
}

static void read_word(struct intercom_note *note, struct str name, struct str value)
{
    size_t at = str_index(value, '@', 0);
    if (str_eq_c(name, "space") && (!str_to_i64(value, &note->space) || note->space < 0 || note->space > 9))
        note->space = 0;
    else if (str_eq_c(name, "joined"))
        note->joined = str_eq_c(value, "1");
    else if (str_eq_c(name, "made") && !str_to_i64(value, &note->made_s))
        note->made_s = 0;
    else if (str_eq_c(name, "absent") && !str_to_i64(value, &note->absent_s))
        note->absent_s = 0;
    else if (str_eq_c(name, "sought") && (!str_to_i64(str_sub(value, 0, at), &note->sought_id) ||
                                          !str_to_i64(str_sub(value, at + 1, value.n), &note->sought_us)))
        note->sought_id = note->sought_us = 0;
    else if (str_eq_c(name, "clock"))
        note->clock = str_eq_c(value, "desk") ? CLOCK_DESKS : str_eq_c(value, "ours") ? CLOCK_OURS : CLOCK_NOT_KNOWN;
    else if (str_eq_c(name, "told") && !str_to_i64(value, &note->told))
        note->told = 0;
    else if (str_eq_c(name, "files"))
        read_files(note, value);
    else if (str_eq_c(name, "who"))
        read_who(note, value);
    else if (str_eq_c(name, "old"))
        note->old = value;
}

struct intercom_note intercom_note_read(struct str text)
{
    struct intercom_note note = {0};
    for (size_t at = 0; at < text.n;) {
        size_t end = str_index(text, ' ', at);
        struct str word = str_sub(text, at, end);
        size_t equals = str_index(word, '=', 0);
        read_word(&note, str_sub(word, 0, equals), str_sub(word, equals + 1, word.n));
        at = end + 1;
    }
    return note;
}

struct str intercom_note_write(const struct intercom_note *note, struct arena *arena)
{
    struct buf out;
    buf_init(&out, 4096);
    if (note->space)
        buf_printf(&out, " space=%" PRId64, note->space);
    if (note->joined)
        buf_add_str(&out, STR(" joined=1"));
    if (note->made_s)
        buf_printf(&out, " made=%" PRId64, note->made_s);
    if (note->absent_s)
        buf_printf(&out, " absent=%" PRId64, note->absent_s);
    if (note->sought_id)
        buf_printf(&out, " sought=%" PRId64 "@%" PRId64, note->sought_id, note->sought_us);
    if (note->clock)
        buf_printf(&out, " clock=%s", note->clock == CLOCK_DESKS ? "desk" : "ours");
    if (note->told)
        buf_printf(&out, " told=%" PRId64, note->told);
    if (note->files_id)
        buf_printf(&out, " files=%" PRId64 "@%.*s@%" PRIx32, note->files_id, STR_ARG(note->files_ref),
                   note->files_told);
    if (note->who)
        buf_printf(&out, " who=%" PRIx64, note->who);
    if (note->who && note->who_after_s)
        buf_printf(&out, "@%" PRId64, note->who_after_s);
    if (note->old.n)
        buf_printf(&out, " old=%.*s", STR_ARG(note->old));
    struct str text = arena_str(arena, str_trim(buf_str(&out)));
    buf_done(&out);
    return text;
}

void intercom_note_add_old(struct intercom_note *note, struct str conversation, struct arena *arena)
{
    struct str escaped = http_escape(arena, conversation); // no blank, no comma
    if (!escaped.n || escaped.n > OLD_MAX)
        return;
    while (note->old.n && note->old.n + 1 + escaped.n > OLD_MAX)
        note->old = str_sub(note->old, str_index(note->old, ',', 0) + 1, note->old.n);
    note->old = note->old.n ? arena_printf(arena, "%.*s,%.*s", STR_ARG(note->old), STR_ARG(escaped)) : escaped;
}
