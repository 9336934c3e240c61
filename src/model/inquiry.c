#include "model/inquiry.h"

#include "base/buf.h"
#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_MOST = 1024, SECRET_LEAST = 6, SECRET_SHOWN = 4 };

static const struct str cut_off = STR("..."); // at the end of a text that goes on

// A peer's texts may be long: the first bytes of one, up to the end of a character, and "..." where some are missing.
static struct str cut(struct str text, struct arena *arena)
{
    size_t n = TEXT_MOST - cut_off.n;
    if (text.n <= TEXT_MOST)
        return arena_str(arena, text);
    while (n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
        n--;
    return ARENA_JOIN(arena, str_sub(text, 0, n), cut_off);
}

static struct inquiry_fact *add(struct inquiry *inquiry, const char *name, enum inquiry_kind kind)
{
    must(inquiry->fact_count < INQUIRY_FACTS);
    struct inquiry_fact *fact = &inquiry->facts[inquiry->fact_count++];
    *fact = (struct inquiry_fact){.name = name, .kind = kind};
    return fact;
}

void inquiry_text(struct inquiry *inquiry, const char *name, struct str text)
{
    add(inquiry, name, INQUIRY_TEXT)->text = cut(text, inquiry->arena);
}

void inquiry_number(struct inquiry *inquiry, const char *name, int64_t number)
{
    add(inquiry, name, INQUIRY_NUMBER)->number = number;
}

void inquiry_time(struct inquiry *inquiry, const char *name, int64_t at_us)
{
    add(inquiry, name, INQUIRY_TIME)->number = at_us;
}

void inquiry_bool(struct inquiry *inquiry, const char *name, bool yes)
{
    add(inquiry, name, INQUIRY_BOOL)->number = yes;
}

void inquiry_end(struct inquiry *inquiry, bool good, const char *format, ...)
{
    char sentence[2 * TEXT_MOST];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    inquiry->good = good;
    inquiry->sentence = cut(str_of(sentence), inquiry->arena);
}

// How much of the secret stands there: all of it, or half of it and more; or, where the text was cut, more than a few bytes.
// 0: less than that.
static size_t secret_at(struct str text, size_t at, struct str secret)
{
    size_t n = 0;
    while (n < secret.n && at + n < text.n && text.p[at + n] == secret.p[n])
        n++;
    bool is_cut = n >= SECRET_SHOWN && str_eq(str_sub(text, at + n, text.n), cut_off);
    return 2 * n >= secret.n || is_cut ? n : 0;
}

static struct str without(struct str text, struct str secret, struct arena *arena)
{
    struct buf buf;
    bool found = false;
    buf_init(&buf, 2 * TEXT_MOST);
    for (size_t at = 0; at < text.n;) {
        size_t n = secret_at(text, at, secret);
        buf_add_str(&buf, n ? STR("...") : str_sub(text, at, at + 1));
        at += n ? n : 1;
        found |= n > 0;
    }
    buf_must(&buf);
    if (found)
        text = arena_str(arena, buf_str(&buf));
    buf_done(&buf);
    return text;
}

void inquiry_hide(struct inquiry *inquiry, struct str secret)
{
    if (secret.n < SECRET_LEAST) // no secret, and "none" is a word
        return;
    inquiry->sentence = without(inquiry->sentence, secret, inquiry->arena);
    for (size_t i = 0; i < inquiry->fact_count; i++)
        inquiry->facts[i].text = without(inquiry->facts[i].text, secret, inquiry->arena);
}
