// What both back ends store of what is new: the message of an accepted event, and the note of a reply. Plain data, made of what the
// caller gave; texts stay borrowed.
#pragma once
#include "store/store.h"

// What is stored of an event. Its store_accept says what its caller wants, who may have to ask for it once more.
struct store_entry {
    enum message_state state;
    enum reason reason;
    struct attachment *files; // of its attachments
    size_t file_count, wanted;
    int64_t wait_until_us;
    enum reply_act act;
    struct str dedupe_key;
    int64_t target_id;
};

// As it is asked for, before anything is looked up.
struct store_entry entry_of(const struct store_accept *accept);
// A part of an album whose first part takes it in.
struct store_entry entry_joined(const struct store_accept *accept);
// Its ids and lane are those of the accept.
struct message entry_message(const struct store_accept *accept, const struct store_entry *entry);

enum { NOTE_KEY_SIZE = 32 };
// The note that the outcome has for the reply's agent, under note_id, at the tail of the lane of that rule. Its dedupe key goes to `key`; its
// number, never given twice, is the digest that tells it from other notes of the reply.
struct message entry_note(const struct message *reply, const struct store_outcome *o, enum order_rule order,
                          char key[NOTE_KEY_SIZE]);
