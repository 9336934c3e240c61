// A message: one thing said. `struct event` is what a platform told us, before it is stored; `struct
// message` is one that the store has.
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

// Stored as numbers: add at the end, never reorder.
enum direction {
    INBOUND, // customer to desk
    REPLY,   // agent to customer
    NOTE,    // relay to agent: what became of a reply. Stands in the lane of an inbound message
};
enum message_state { MESSAGE_PENDING, MESSAGE_DELIVERED, MESSAGE_SKIPPED, MESSAGE_DISCARDED };

// Why a message is where it is. Stored as numbers: add at the end, never reorder.
enum reason {
    REASON_NONE,
    REASON_REJECTED,     // the desk refused this message
    REASON_GAVE_UP,      // max_attempts counted failures
    REASON_BY_HAND,      // a person discarded it
    REASON_DAMAGED,      // its stored row is not what was stored
    REASON_NO_MEANING,   // a kind of event that says nothing to an agent
    REASON_ORPHANED,     // its account was removed
    REASON_UNKNOWN_KIND, // a kind of event that this version does not know
    REASON_LOOP,         // too many replies of bots in one conversation: bots that answer each other
    REASON_JOINED,       // a part of an album: its files and words went into the message of the album's first part
};

// What a reply does at the platform. Stored as numbers: add at the end, never reorder.
enum reply_act {
    REPLY_SAYS,    // it is said
    REPLY_EDITS,   // an earlier one is changed to this
    REPLY_DELETES, // an earlier one is taken back
};

// Who writes, as far as the platform tells and the desk shall know. Texts borrowed.
struct profile {
    // language: an IETF tag; phone: as the customer shared it, with its "+".
    struct str name, username, language, phone, email;
};
// As JSON in the arena, always in the same order; STR_NONE when all are absent. And back: what is no such object has none.
struct str profile_write(const struct profile *profile, struct arena *arena);
struct profile profile_read(struct str json, struct arena *arena);
// What is known (JSON, or STR_NONE) with what is said now: a member that is absent there stays as it is. In the arena;
// STR_NONE: nothing of it is new.
struct str profile_merge(struct str known, const struct profile *said, struct arena *arena);

// What a platform told us. All texts are borrowed from the request or its arena.
struct event {
    struct str dedupe_key;   // unique within the source
    uint64_t digest;         // told apart beside the key (Telegram: kind, chat, message id); 0 = the key alone
    struct str conversation; // the platform's thread id
    struct str
        migrated_from; // the thread id that this one takes the place of; STR_NONE: none. Stored as one conversation
    struct str conversation_name; // what a chat of several people is called; STR_NONE: a private one
    struct str sender_id, sender_name;
    struct str text;        // as the agent, or of a reply the customer, shall read it
    struct str format;      // of a reply: how the platform shows the text, as its connector wrote it; STR_NONE: plain
    struct str attachments; // model/attachment.h; STR_NONE = none. Those that are FILE_WANTED are fetched
    struct str album; // parts of one conversation that say the same here become one message; STR_NONE: it stands alone
    struct profile profile; // of the customer, in a chat of theirs alone
    enum reply_act act;     // of a reply
    struct str
        target_key; // of a reply that is no REPLY_SAYS: the dedupe key of the one that it changes. Its own begins so: KEY~
    // With REPLY_EDITS: the dedupe key of one that was said before it, of the same words or files. Where that one is there and
    // nothing was ever said under target_key, this is said (REPLY_SAYS, under target_key): the words have grown.
    struct str behind_key;
    struct str raw;      // the event as it came, kept where `text` cannot say all of it; STR_NONE otherwise
    enum reason discard; // why no agent needs to read it: stored as discarded; REASON_NONE = a message
    int64_t sent_at_us;  // the platform's time
};

// What the desk taught us of one conversation; texts mean what the connector says they mean.
// Committed with whatever outcome ended the steps that learned it.
struct link {
    struct str contact;      // the customer at the desk
    struct str conversation; // the thread at the desk
    struct str last_part;    // the newest part of it that is ours
    struct str note;         // the connector's own
};

// A deep copy in one allocation; free() it.
struct link *link_copy(const struct link *from);

// next_attempt_us of a message that waits for a person.
#define MESSAGE_HELD INT64_MAX

// A stored message, in one allocation with its texts.
struct message {
    int64_t id;
    int64_t place; // order within the lane
    int64_t lane;
    int64_t account_id, source_id, conversation_id;
    enum direction direction;
    enum message_state state;
    enum reason reason;
    bool in_doubt;           // may have been applied at the desk
    bool in_flight;          // marked before its first request left
    bool late;               // retried by hand: at the tail of its lane
    int attempts;            // counted ones
    int64_t next_attempt_us; // wall time; 0 = at once
    int64_t sent_at_us, received_at_us;
    int64_t settled_at_us;                      // 0 while pending
    struct str conversation, conversation_name; // as in struct event
    struct str sender_id, sender_name;
    struct str text, attachments;
    struct str format;  // of a reply, as in struct event
    enum reply_act act; // of a reply
    struct str
        target_ref; // with REPLY_EDITS, REPLY_DELETES: desk_ref of the reply it changes; STR_NONE: that one never arrived, or
                    // had not when this was read from the store
    struct str address;    // of a reply in a lane: the thread that `conversation` goes on in now; STR_NONE: in itself
    struct str last_error; // the receiver's words at the last failed attempt
    struct str desk_ref;   // what the receiver calls it, when it told
};

// Lanes: the order group of a message. The id says what kind it is and whose (DESIGN.md, Words).
enum lane_kind { LANE_ACCOUNT, LANE_CONVERSATION, LANE_REPLY };

static inline int64_t lane_id(enum lane_kind kind, int64_t owner_id)
{
    return owner_id * 4 + (int64_t)kind;
}

static inline enum lane_kind lane_id_kind(int64_t lane)
{
    return (enum lane_kind)(lane & 3);
}

// The account's or the conversation's id.
static inline int64_t lane_id_owner(int64_t lane)
{
    return lane >> 2;
}

// A deep copy in one allocation (message_free). The texts of `from` may be borrowed from anywhere.
struct message *message_copy(const struct message *from);
void message_free(struct message *message);

const char *message_state_name(enum message_state state);
bool message_state_of(struct str name, enum message_state *out);
const char *direction_name(enum direction direction);
bool direction_of(struct str name, enum direction *out);
const char *reason_name(enum reason reason); // "" for REASON_NONE
