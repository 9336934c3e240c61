// What is taken back, and what is changed, after it was said.
#include "sandbox/intercom.h"

#include "sandbox/own.h"

#include <string.h>

static const struct str deleted_words = {"<p><i>This message was deleted</i></p>", 38};

struct intercom_part *intercom_part_find(struct intercom_conversation *conversation, int64_t id)
{
    struct intercom_part *part = conversation ? conversation->parts : NULL;
    while (part && part->id != id)
        part = part->next;
    return part;
}

// Ids come as text, in the description's examples as numbers too.
static int64_t id_at(yyjson_val *body, const char *key)
{
    int64_t id = 0;
    return json_get_int(body, key, &id) || str_to_i64(json_get_str(body, key), &id) ? id : 0;
}

void intercom_part_redact(struct intercom *intercom, struct intercom_conversation *conversation,
                          struct intercom_part *part)
{
    own_again(&part->body, deleted_words);
    disown(&part->attachments);
    part->html = part->redacted = true;
    intercom_part_changed(intercom, conversation, part, "redacted");
    notifier_tell(intercom->notifier, "conversation_part.redacted", conversation, NULL);
}

static void redact_source(struct intercom *intercom, struct intercom_conversation *conversation)
{
    own_again(&conversation->body, deleted_words);
    disown(&conversation->attachments);
    conversation->redacted = true;
    intercom_part_changed(intercom, conversation, NULL, "redacted");
}

static void answer_conversation(struct intercom *intercom, struct call *call,
                                const struct intercom_conversation *conversation)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    intercom_write_conversation(&json, intercom, conversation, PARTS_ALL, false);
    intercom_send(call, &text);
}

static void answer_not_redactable(struct call *call)
{
    intercom_error(call, 400, "conversation_part_not_redactable", "This part cannot be redacted", NULL);
}

// POST conversations/redact
static void redact(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"type", FIELD_TEXT, true, false}};
    if (!intercom_check(call, call->body, fields, 1))
        return;
    struct str type = json_get_str(call->body, "type");
    struct intercom_conversation *conversation = intercom_conversation(intercom, id_at(call->body, "conversation_id"));
    struct intercom_part *part = intercom_part_find(conversation, id_at(call->body, "conversation_part_id"));
    bool source = str_eq_c(type, "source");
    bool found = source ? conversation && conversation->message_id == id_at(call->body, "source_id") : part != NULL;
    if (!source && !str_eq_c(type, "conversation_part")) {
        intercom_error(call, 400, "parameter_invalid", "type must be conversation_part or source", "type");
        return;
    }
    if (!found) {
        intercom_error(call, 404, "conversation_part_or_message_not_found", "Conversation part or message not found",
                       NULL);
        return;
    }
    if (source ? conversation->by_admin : part->body.n == 0) {
        answer_not_redactable(call);
        return;
    }
    if (source)
        redact_source(intercom, conversation);
    else
        intercom_part_redact(intercom, conversation, part);
    answer_conversation(intercom, call, conversation);
}

const struct route intercom_redact_routes[] = {
    {"POST", "conversations/redact", redact},
    {NULL, NULL, NULL},
};

// ---- by the agent, on the page ----

// The agent's part that is asked for; NULL after an answer.
static struct intercom_part *asked_part(struct intercom *intercom, struct call *call,
                                        struct intercom_conversation **out)
{
    *out = intercom_conversation(intercom, id_at(call->body, "conversation"));
    struct intercom_part *part = intercom_part_find(*out, id_at(call->body, "part"));
    if (part && !part->contact && !part->redacted)
        return part;
    call_control_error(call, 404, "no such part of an agent's, or it was taken back");
    return NULL;
}

void intercom_do_redact(struct intercom *intercom, struct call *call)
{
    struct intercom_conversation *conversation = NULL;
    struct intercom_part *part = asked_part(intercom, call, &conversation);
    if (!part)
        return;
    intercom_part_redact(intercom, conversation, part);
    call_answer(call, 200, STR("{}"));
}

void intercom_do_edit(struct intercom *intercom, struct call *call)
{
    struct intercom_conversation *conversation = NULL;
    struct intercom_part *part = asked_part(intercom, call, &conversation);
    if (!part)
        return;
    struct str html = json_get_str(call->body, "html"), text = json_get_str(call->body, "body");
    if (html.n == 0 && str_trim(text).n == 0) {
        call_control_error(call, 400, "\"body\" is empty");
        return;
    }
    own_again(&part->body, html.n ? html : intercom_as_html(call, text));
    part->html = part->edited = true;
    intercom_part_changed(intercom, conversation, part, "edited");
    call_answer(call, 200, STR("{}"));
}
