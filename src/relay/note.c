#include "relay/note.h"

#include "base/must.h"

#include <inttypes.h>

enum { FIRST_WORDS = 80 }; // of the reply, characters

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xC0) != 0x80;
}

// On one line; at most so many characters, none of them cut.
static struct str first_words(struct str text, struct arena *arena)
{
    size_t n = 0, characters = 0;
    text = str_trim(text);
    while (n < text.n && (characters < FIRST_WORDS || !begins_character(text.p[n])))
        characters += begins_character(text.p[n++]);
    char *line = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < n; i++)
        line[i] = (unsigned char)text.p[i] < 0x20 ? ' ' : text.p[i];
    struct str words = {line, n};
    return n < text.n ? ARENA_JOIN(arena, str_trim(words), STR("\u2026")) : words;
}

static struct str named(const struct message *reply, struct arena *arena)
{
    struct str words = first_words(reply->text, arena);
    if (!words.n)
        return arena_printf(arena, "%s (message %" PRId64 ")", reply->act == REPLY_SAYS ? "a file" : "a message",
                            reply->id);
    return arena_printf(arena, "\u201c%.*s\u201d (message %" PRId64 ")", STR_ARG(words), reply->id);
}

// What did not happen, and what that leaves the customer with.
static const struct wording {
    const char *refused, *held;
} wordings[] = {
    [REPLY_SAYS] = {"This reply was not delivered", "This reply could not be delivered and is held"},
    [REPLY_EDITS] = {"Your change of a reply was not carried out, and the customer reads it as it was before",
                     "Your change of a reply could not be carried out and is held"},
    [REPLY_DELETES] = {"Your deletion of a reply was not carried out, and the customer can still read it",
                       "Your deletion of a reply could not be carried out and is held"},
};

static struct str reason(const struct note *note, struct arena *arena)
{
    struct str why = str_trim(note->why);
    while (str_ends(why, STR(".")))
        why.n--;
    return why.n ? arena_printf(arena, " The reason: %.*s.", STR_ARG(why)) : STR("");
}

static struct str tries(const struct note *note, struct arena *arena)
{
    return note->attempts == 1 ? STR("once") : arena_printf(arena, "%d times", note->attempts);
}

struct str note_text(const struct note *note, struct arena *arena)
{
    struct str name = named(note->reply, arena), why = reason(note, arena), often = tries(note, arena);
    const struct wording *wording = &wordings[note->reply->act];
    const char *doubt = note->in_doubt ? " It may have arrived all the same: the answer to one attempt was lost." : "";
    switch (note->kind) {
    case NOTE_REFUSED:
        return arena_printf(arena, "%s: %.*s.%.*s It is not tried again.%s", wording->refused, STR_ARG(name),
                            STR_ARG(why), doubt);
    case NOTE_GAVE_UP:
        return arena_printf(arena, "%s: %.*s. It failed %.*s.%.*s It is not tried again.%s", wording->refused,
                            STR_ARG(name), STR_ARG(often), STR_ARG(why), doubt);
    case NOTE_HELD:
        return arena_printf(arena,
                            "%s: %.*s.%.*s Later replies in this conversation "
                            "wait behind it until somebody retries or discards it in the relay.%s",
                            wording->held, STR_ARG(name), STR_ARG(why), doubt);
    case NOTE_HELD_IN_DOUBT:
        return arena_printf(
            arena,
            "It is not known whether this reply arrived, so it is held: %.*s.%.*s Later replies in this "
            "conversation wait behind it until somebody retries it in the relay, when it may arrive "
            "twice, or discards it.",
            STR_ARG(name), STR_ARG(why));
    case NOTE_SENT_TWICE:
        return arena_printf(
            arena,
            "This reply may have arrived twice: %.*s. The answer to an earlier attempt was lost, so it was "
            "sent again.",
            STR_ARG(name));
    }
    must(!"a kind of note");
    return STR_NONE;
}
