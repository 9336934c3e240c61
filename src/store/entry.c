#include "store/entry.h"

#include <inttypes.h>
#include <stdio.h>

struct store_entry entry_of(const struct store_accept *accept)
{
    return (struct store_entry){.state = accept->state,
                                .reason = accept->reason,
                                .act = accept->event.act,
                                .dedupe_key = accept->event.dedupe_key};
}

struct store_entry entry_joined(const struct store_accept *accept)
{
    return (struct store_entry){
        .state = MESSAGE_DISCARDED, .reason = REASON_JOINED, .dedupe_key = accept->event.dedupe_key};
}

struct message entry_message(const struct store_accept *accept, const struct store_entry *entry)
{
    const struct event *event = &accept->event;
    return (struct message){.id = accept->message_id,
                            .place = accept->place,
                            .lane = accept->lane,
                            .account_id = accept->account_id,
                            .source_id = accept->source_id,
                            .conversation_id = accept->conversation_id,
                            .direction = accept->direction,
                            .state = entry->state,
                            .reason = entry->reason,
                            .next_attempt_us = entry->wait_until_us,
                            .sent_at_us = event->sent_at_us,
                            .received_at_us = accept->received_at_us,
                            .settled_at_us = entry->state == MESSAGE_PENDING ? 0 : accept->received_at_us,
                            .conversation = accept->thread.p ? accept->thread : event->conversation,
                            .sender_id = event->sender_id,
                            .sender_name = event->sender_name,
                            .text = event->text,
                            .attachments = event->attachments,
                            .format = event->format,
                            .act = entry->act};
}

struct message entry_note(const struct message *reply, const struct store_outcome *o, enum order_rule order,
                          char key[NOTE_KEY_SIZE])
{
    snprintf(key, NOTE_KEY_SIZE, "note:%" PRId64, reply->id);
    return (struct message){.id = o->note_id,
                            .place = o->note_id,
                            .lane = inbound_lane(order, reply->account_id, reply->conversation_id),
                            .account_id = reply->account_id,
                            .source_id = reply->source_id,
                            .conversation_id = reply->conversation_id,
                            .direction = NOTE,
                            .state = MESSAGE_PENDING,
                            .sent_at_us = o->at_us,
                            .received_at_us = o->at_us,
                            .conversation = reply->conversation,
                            .text = o->note};
}
