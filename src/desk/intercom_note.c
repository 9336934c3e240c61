// link.note as words: read leniently, written anew.
#include "desk/intercom.h"

#include <inttypes.h>

enum { OLD_MAX = 512 };

static void read_word(struct intercom_note *note, struct str name, struct str value)
{
    size_t at = str_index(value, '@', 0);
    if (str_eq_c(name, "space") && (!str_to_i64(value, &note->space) || note->space < 0 || note->space > 9))
        note->space = 0;
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
