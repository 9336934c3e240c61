#include "model/message.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

static void take_text(struct str *text, char **at)
{
    if (!text->p)
        return;
    if (text->n)
        memcpy(*at, text->p, text->n);
    text->p = *at;
    *at += text->n;
    *(*at)++ = 0;
}

struct message *message_copy(const struct message *from)
{
    size_t texts = from->conversation.n + from->conversation_name.n + from->sender_id.n + from->sender_name.n +
                   from->text.n + from->attachments.n + from->format.n + from->target_ref.n + from->address.n +
                   from->last_error.n + from->desk_ref.n + 11;
    struct message *message = mem_new(sizeof *message + texts);
    char *at = (char *)(message + 1);
    *message = *from;
    take_text(&message->conversation, &at);
    take_text(&message->conversation_name, &at);
    take_text(&message->sender_id, &at);
    take_text(&message->sender_name, &at);
    take_text(&message->text, &at);
    take_text(&message->attachments, &at);
    take_text(&message->format, &at);
    take_text(&message->target_ref, &at);
    take_text(&message->address, &at);
    take_text(&message->last_error, &at);
    take_text(&message->desk_ref, &at);
    return message;
}

struct link *link_copy(const struct link *from)
{
    size_t texts = from->contact.n + from->conversation.n + from->last_part.n + from->note.n + 4;
    struct link *link = mem_new(sizeof *link + texts);
    char *at = (char *)(link + 1);
    *link = *from;
    take_text(&link->contact, &at);
    take_text(&link->conversation, &at);
    take_text(&link->last_part, &at);
    take_text(&link->note, &at);
    return link;
}

void message_free(struct message *message)
{
    free(message);
}

static const char *const state_names[] = {"pending", "delivered", "skipped", "discarded"};

const char *message_state_name(enum message_state state)
{
    must((size_t)state < sizeof state_names / sizeof *state_names);
    return state_names[state];
}

bool message_state_of(struct str name, enum message_state *out)
{
    for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++)
        if (str_eq_c(name, state_names[i])) {
            *out = (enum message_state)i;
            return true;
        }
    return false;
}

static const char *const direction_names[] = {"inbound", "reply", "note"};

const char *direction_name(enum direction direction)
{
    must((size_t)direction < sizeof direction_names / sizeof *direction_names);
    return direction_names[direction];
}

bool direction_of(struct str name, enum direction *out)
{
    for (size_t i = 0; i < sizeof direction_names / sizeof *direction_names; i++)
        if (str_eq_c(name, direction_names[i])) {
            *out = (enum direction)i;
            return true;
        }
    return false;
}

const char *reason_name(enum reason reason)
{
    static const char *const names[] = {"",           "rejected", "gave_up",      "by_hand", "damaged",
                                        "no_meaning", "orphaned", "unknown_kind", "loop",    "joined"};
    must((size_t)reason < sizeof names / sizeof *names);
    return names[reason];
}
