// What an agent changed or took back at the desk is changed or deleted in the chat: editMessageText or, of a file, editMessageCaption;
// deleteMessage.
//
// A message's id is one of its chat. Where a group became a supergroup, what was said before is in the old chat and can be reached no
// more; in the new one the same id is another message.
#include "platform/telegram.h"

#include <string.h>

void telegram_act_begin(struct delivery *delivery)
{
    const struct message *message = delivery->message;
    struct telegram_sending *sending = delivery->state;
    size_t colon = str_index(message->target_ref, ':', 0);
    // As telegram_send.c wrote it: the chat stands before it where it is not the conversation's own.
    sending->address = message->conversation;
    if (colon < message->target_ref.n)
        sending->address = str_sub(message->target_ref, 0, colon);
}

static bool target_of(const struct delivery *delivery, int64_t *out)
{
    struct str ref = delivery->message->target_ref;
    size_t colon = str_index(ref, ':', 0);
    return str_to_i64(colon < ref.n ? str_sub(ref, colon + 1, ref.n) : ref, out);
}

static void end_rejected(struct delivery_step *out, struct str why)
{
    *out = (struct delivery_step){.kind = DELIVERY_END,
                                  .verdict = {.kind = VERDICT_REJECTED, .of_chat = true, .error = why}};
}

static void write_words(struct json *json, const struct delivery *delivery)
{
    const struct telegram_sending *sending = delivery->state;
    struct str format = delivery->message->format;
    json_key_str(json, sending->captions ? "caption" : "text", sending->text);
    if (format.n && !sending->bare) {
        json_key(json, sending->captions ? "caption_entities" : "entities");
        json_raw(json, format);
    }
}

void telegram_act(const struct delivery *delivery, const struct telegram_address *address, struct delivery_step *out)
{
    const struct telegram_sending *sending = delivery->state;
    bool edits = delivery->message->act == REPLY_EDITS;
    int64_t target;
    struct buf body;
    if (!target_of(delivery, &target)) {
        end_rejected(out, STR("what Telegram calls the message is not known"));
        return;
    }
    if (!edits && address->business.p) {
        end_rejected(out, STR("the relay cannot delete messages in the chats of a business account"));
        return;
    }
    buf_init(&body, SIZE_MAX / 2);
    struct json json = {.out = &body};
    json_open(&json, '{');
    json_key_int(&json, "chat_id", address->chat);
    if (address->business.p)
        json_key_str(&json, "business_connection_id", address->business);
    json_key_int(&json, "message_id", target);
    if (edits)
        write_words(&json, delivery);
    json_close(&json, '}');
    buf_must(&body);
    const char *method = !edits ? "deleteMessage" : sending->captions ? "editMessageCaption" : "editMessageText";
    out->request = telegram_call(delivery->source, method, arena_str(delivery->arena, buf_str(&body)), delivery->arena);
    buf_done(&body);
}

bool telegram_act_otherwise(struct delivery *delivery, const struct telegram_answer *answer, int status)
{
    struct telegram_sending *sending = delivery->state;
    if (status != 400 || delivery->message->act != REPLY_EDITS || sending->captions ||
        !strcasestr(answer->says, "no text in the message"))
        return false;
    sending->captions = true;
    return true;
}

static const struct meaning {
    enum reply_act act;
    const char *says;
    const char *words; // NULL: it is done
} meanings[] = {
    {REPLY_EDITS, "is not modified", NULL},
    {REPLY_EDITS, "message can't be edited", "Telegram does not let this message be changed any more"},
    {REPLY_EDITS, "to edit not found", "the message is not in the chat any more"},
    {REPLY_EDITS, "message_id_invalid", "the message is not in the chat any more"},
    {REPLY_EDITS, "no caption in the message", "the message has no words that could be changed"},
    {REPLY_EDITS, "caption is too long", "the words under a file may have 1024 characters at most"},
    {REPLY_EDITS, "message is too long", "a message may have 4096 characters at most"},
    {REPLY_EDITS, "upgraded to a supergroup", "the message is from before the group became a supergroup"},
    {REPLY_DELETES, "to delete not found", NULL},
    {REPLY_DELETES, "message can't be deleted",
     "Telegram does not let bots delete this message: it is older than 48 "
     "hours, or the bot may not delete here"},
    {REPLY_DELETES, "upgraded to a supergroup", "the message is from before the group became a supergroup"},
};

void telegram_act_judge(const struct delivery *delivery, const struct telegram_answer *answer, struct verdict *verdict)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        if (delivery->message->act != meanings[i].act || !strcasestr(answer->says, meanings[i].says))
            continue;
        bool done = !meanings[i].words;
        *verdict = (struct verdict){.kind = done ? VERDICT_DELIVERED : VERDICT_REJECTED,
                                    .of_chat = !done,
                                    .status = verdict->status,
                                    .error = str_of(meanings[i].words)};
        return;
    }
}
