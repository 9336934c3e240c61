#include "model/inquiry.h"

#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>

enum { SENTENCE_SIZE = 1024, SECRET_LEAST = 6 };

static struct inquiry_fact *add(struct inquiry *inquiry, const char *name, enum inquiry_kind kind)
{
    must(inquiry->fact_count < INQUIRY_FACTS);
    struct inquiry_fact *fact = &inquiry->facts[inquiry->fact_count++];
    *fact = (struct inquiry_fact){.name = name, .kind = kind};
    return fact;
}

void inquiry_text(struct inquiry *inquiry, const char *name, struct str text)
{
    add(inquiry, name, INQUIRY_TEXT)->text = arena_str(inquiry->arena, text);
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
    char sentence[SENTENCE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    inquiry->good = good;
    inquiry->sentence = arena_str(inquiry->arena, str_of(sentence));
}

static struct str without(struct str text, struct str secret, struct arena *arena)
{
    for (size_t at = 0; at + secret.n <= text.n; at++) {
        if (!str_eq(str_sub(text, at, at + secret.n), secret))
            continue;
        text = arena_printf(arena, "%.*s...%.*s", (int)at, text.p, STR_ARG(str_sub(text, at + secret.n, text.n)));
        at += 2;
    }
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
