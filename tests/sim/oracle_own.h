// The inside of oracle.c and oracle_replies.c: the model of the promise.
#pragma once
#include "sim/sim.h"

enum {
    MOST_IDENTITIES = 256,
    MOST_SKIPS = 5,
    MOST_THREADS = 400, // of a desk, whose news are modelled
    MOST_PARTS_OF_ALBUM = 8,
};

struct said {
    bool acknowledged;
    bool reborn;       // stored again for an account that was added anew: as if it were said twice
    int64_t id, place; // 0: not stored
    int epoch;         // of its account's order rule when it got its place
    enum message_state state;
    int attempts;
    bool in_doubt, in_flight, held, late;
    int64_t received_us, settled_us, account_id;
    int64_t sent_s, conversation_id; // as stored; with them others are looked for at the desk
    bool named;                      // it has a name at the desk
    int marked_by;                   // the process that set the mark
    int applied;                     // times that it stands at the desk
    int thread;                      // there
    bool was_there, doubted;
    // The last request about it:
    uint64_t identity;
    int open;
    int64_t ended_us;
    enum weather outage;
    bool discard_asked, discard_due; // by hand, while in flight
    // Of replies and notes:
    enum direction direction;
    char *text;         // owned
    int spoken, piece;  // of a reply: agents_spoken, and the how many-th message made of it
    int note_of, notes; // of a note: its reply; of a reply: how many there were of it
    bool asked;         // a request left since its last outcome
    bool sent_doubtful; // when the last one left it may have arrived before
    bool by_hand;       // a person said to try it, since it was held
    bool chat_refused;  // the last answer was about its chat alone
    bool left_marked;   // by a process that ended, and no outcome has come since
    int helped;         // how often it was held and tried again while all heals
    bool moved;         // its request was told that the chat has moved
    // With files (oracle_files.c):
    int joined[MOST_PARTS_OF_ALBUM], joined_count; // parts of its album that went into it, in order
    bool is_joined;                                // or it went into another one
    int follows;                                   // a message of its own behind that one; -1: it is none
    size_t there_bytes;                            // of its text, that stand at the desk
    bool noted_there;                              // the relay has stored that they are there, and its files are to go
};

// A file that somebody sent.
struct file_model {
    int number; // of the message that it is of now; -1: of none
    int nth;    // of its attachments
    enum file_state state;
    bool told;                  // nothing needs to follow on its account
    int shown;                  // how often it, or that it cannot be had, stands at the desk
    bool was_shown, was_missed; // it, or that it cannot be had, stood there
    int desk, thread;           // there
    bool reborn;
};

struct account_model {
    bool off; // deactivated, and that is in force
    bool stored_active;
    enum order_rule order;
    int epoch;
    bool removed; // on the disk
    int64_t id;
    int64_t gone_us; // wall time at which that was answered; 0: it is there
};

struct desk_identity_model {
    uint64_t identity;
    int skips;
    bool closed;
    int64_t resumed_us;
};

struct oracle {
    struct said said[MOST_EVENTS];
    int event_of_id[MOST_IDS]; // + 1
    struct account_model accounts[MOST_ACCOUNTS];
    enum order_rule rules[MOST_ACCOUNTS][MOST_EVENTS]; // of an account's epochs
    struct desk_identity_model identities[MOST_IDENTITIES];
    int identity_count;
    int64_t weather_since_us[MOST_RECEIVERS], well_us[MOST_RECEIVERS];
    int64_t counts[4], accepted; // by state
    // oracle_replies.c. Times are monotonic but for news and reads.
    bool moved[MOST_CONVERSATIONS];               // on the disk: replies know where the chat is
    int64_t news_us[MOST_ACCOUNTS][MOST_THREADS]; // on the disk: told then, and not fetched; 0: none
    int64_t read_us[MOST_DESKS][MOST_THREADS];    // the last request to read it left
    int64_t full_us[MOST_CONVERSATIONS];          // when its bucket is full again
    int64_t limited_until_us[MOST_CONVERSATIONS]; // by a 429
    int64_t limited_us[MOST_CONVERSATIONS];       // when it got the last 429
    int64_t bot_until_us[MOST_BOTS];              // for several of those
    int64_t linked_us[MOST_CONVERSATIONS];        // since when its counterpart at the desk is known; 0: it is not
    int resent;                                   // that this process must have counted
    struct file_model files[FILE_IDS];
    struct oracle *before; // as it was before a transaction that may be on the disk; NULL: there is none such
};

struct said *oracle_find(struct oracle *o, int64_t id, int *out_event);
void oracle_complain(struct sim *sim, const char *code, int event, const char *what);
// Whom it goes to: a desk, or a bot.
int oracle_receiver(const struct sim *sim, int event);

// Another that says the same in its conversation was in doubt, too: which of them stands there cannot be told.
bool oracle_is_ambiguous(const struct sim *sim, int event);
// So long ago that it may be forgotten, or the bodies are gone `since_us` already.
bool oracle_has_aged(const struct sim *sim, const struct said *s, int64_t since_us);

// oracle_files.c.
void oracle_files_init(struct oracle *o);
// An event, or a reply, was stored with its files.
void oracle_see_files(struct sim *sim, int event, const struct store_accept *accept);
void oracle_see_joined(struct sim *sim, int event, const struct store_accept *accept);
void oracle_see_file(struct sim *sim, const struct store_file *to);
// A customer's message was delivered.
void oracle_files_delivered(struct sim *sim, int event, const struct store_outcome *outcome);
// What arrives of a message with files, or may have: false: it is the rest of one whose words are there.
bool oracle_files_applied(struct sim *sim, int desk, int event, int thread, struct str base, const struct sight *sight);
// The words of a message with files are there, and the relay has learned so: it is in doubt no longer, and not through.
bool oracle_files_note(const struct sim *sim, int event, const struct store_outcome *outcome);
void oracle_files_deleted(struct sim *sim, int desk, int thread);
// The store's word of them is the model's.
bool oracle_files_are(const struct sim *sim, int event, struct str attachments);
void oracle_files_take_back(struct oracle *o, const struct oracle *before);
// A reply that is a file; -1: it is words.
int oracle_file_of_reply(const struct sim *sim, int event);

// oracle_replies.c. One more message; -1 when there is no room.
int oracle_number_new(struct sim *sim, int account, int conversation, enum direction direction, struct str text);
// It may be ill, as often as customers' messages are.
void oracle_draw_illness(struct sim *sim, int number);
// The number of the reply that is stored under this key; -1: nobody said it.
int oracle_number_of_reply(struct sim *sim, const struct store_accept *accept);
void oracle_check_reply(struct sim *sim, int event, const struct store_accept *accept);
// A request with a reply leaves; `s->asked` and what was sent before are as they were.
void oracle_check_send(struct sim *sim, int event);
// Before the outcome is taken into the model; makes the note's number, and gives that it is held for the first time.
void oracle_check_reply_outcome(struct sim *sim, int event, const struct store_outcome *outcome);
void oracle_see_news(struct sim *sim, const struct store_news *news);
void oracle_see_taken(struct sim *sim, const struct store_taken *taken);
void oracle_forget_news(struct sim *sim, int account);
// The relay has recorded what the conversation's counterpart at the desk is.
void oracle_linked(struct sim *sim, int conversation);
// The store has the news that were stored and not fetched, and no others.
bool oracle_news_are(const struct sim *sim, char *out_why, size_t size);
void oracle_check_news(struct sim *sim);
// The text that it must have: in the store; at its receiver.
void oracle_text(const struct sim *sim, int event, bool at_desk, struct buf *out);
// What a person, or another process, has changed: waits need not be kept.
void oracle_forget_waits(struct oracle *o);
void oracle_judge_replies(struct sim *sim);
