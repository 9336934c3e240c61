// The store's contract. Batch-shaped, because group commit is the heart: apply() takes accepted events,
// outcomes, marks and account changes in one transaction. All back ends pass tests/store.
//
// One thread (the committer's) makes all calls of `struct store`; flush() alone may be another one's. Readers (struct
// store_reader) are for other threads: read-only, each used by one thread at a time.
//
// Invariants, at every commit:
//   accepted = delivered + pending + skipped + discarded (totals; pending is counted from the rows)
//   in a lane, pending messages have distinct places, and places of messages accepted later are greater
//   (source, dedupe_key, digest) is stored once
//   a conversation is one thread, or several of which the later ones migrated from the first: an accept that says
//   migrated_from makes it so, whichever of the two threads was seen first. What was stored before in a thread that
//   then migrates stays in the conversation, and the lane, that it had
#pragma once
#include "base/arena.h"
#include "base/err.h"
#include "model/account.h"
#include "model/attachment.h"
#include "model/message.h"

#include <stdatomic.h>

struct store;
struct store_reader;

enum {
    // A message that parts of an album may join waits so long after the last one, even when all its files are settled, and for
    // their sake so long after the first one at most.
    ALBUM_PART_US = 1000000,
    ALBUM_US = 10000000,
};

// Where an inbound message of that conversation stands in line.
static inline int64_t inbound_lane(enum order_rule order, int64_t account_id, int64_t conversation_id)
{
    return order == ORDER_ACCOUNT ? lane_id(LANE_ACCOUNT, account_id) : lane_id(LANE_CONVERSATION, conversation_id);
}

enum accept_result {
    ACCEPT_STORED,
    ACCEPT_STORED_TWIN, // stored, but another event with the same key and another digest was there: warn
    ACCEPT_DUPLICATE,   // stored before: answered 2xx, nothing changed
    ACCEPT_JOINED,      // a part of an album: stored as discarded (`joined`), its files and words in `joined_id`
    ACCEPT_NOTHING,     // an act on a reply that is not here, or a change to what it says already: nothing is stored
    ACCEPT_OVER_QUOTA,  // not stored: the account has too much that waits, or too many bytes of files (`over_files`)
};

// A source's event to be stored, or a reply to go to that source. A reply stands in the lane of its conversation's
// replies, whatever the order rule.
struct store_accept {
    enum direction direction; // INBOUND, REPLY
    int64_t account_id, source_id;
    enum order_rule order;    // the account's rule as the caller knows it: decides the lane unless it has changed since
    enum message_state state; // MESSAGE_PENDING, or MESSAGE_DISCARDED with a reason for kinds without meaning
    enum reason reason;
    int64_t received_at_us;
    // With files to be fetched, or of an album: the message waits for them until then (its next_attempt_us), unless all are
    // settled before. Wall time; 0 = it does not wait. Out, when stored: its next_attempt_us.
    int64_t wait_until_us;
    // The account's bounds: pending messages, bytes of its kept files (a message with files to be fetched is refused beyond). 0 = none
    int64_t most_waiting, most_file_bytes;
    // Borrowed. Of a reply `conversation` is not looked at: `conversation_id` says whose it is. Out, when stored, with
    // out_arena: `attachments` as they were stored (too many files are not fetched).
    struct event event;
    int64_t conversation_id; // of a reply; else out
    // Out, when stored: in `out_arena` if texts are wanted for handing the message on (NULL: ids only).
    enum accept_result result;
    int64_t message_id, place, lane;
    int64_t joined_id; // ACCEPT_JOINED: the message whose row was changed; `lane` is its lane, which must look again
    bool over_files;   // ACCEPT_OVER_QUOTA
    // Of the conversation, where it is not event.conversation: that thread has migrated. Of a reply always. In out_arena.
    struct str thread;
    struct str address; // of a reply: as in struct message; in out_arena
    struct arena *out_arena;
    struct link link;   // of the conversation as stored; texts in out_arena
    struct str profile; // of the conversation as it is now, as JSON; in out_arena
};

// What an attempt, or a person, made of a message. Only a pending message changes state (and a skipped one
// by discard): the rest of a stale outcome is ignored and `applied` is false.
struct store_outcome {
    int64_t message_id;
    enum message_state state; // MESSAGE_PENDING: tried again later
    enum reason reason;
    int attempts;
    int64_t next_attempt_us;
    bool in_doubt;
    bool in_flight;          // the mark after this outcome
    int64_t at_us;           // when; the settled time when it settles
    struct str last_error;   // STR_NONE: kept as it was
    struct str desk_ref;     // STR_NONE: kept
    const char *verdict;     // written to the message's history of attempts with last_error; NULL: not written
    int64_t conversation_id; // with `link`
    const struct link *link; // takes the place of the stored one as a whole; NULL: nothing learned
    int64_t lane;      // with REASON_DAMAGED: it is this lane's head, whatever its row says of itself; 0 = may be stale
    int64_t mark_next; // this message is marked in flight in the same transaction; 0 = none
    struct str
        moved_to; // of a reply: its thread goes on under this id at the platform, as `migrated_from` says of events
    // Of a reply: what its agent shall read of it, as a message of its own (NOTE) at the tail of the lane that an inbound one
    // of the conversation has now, in the same transaction. STR_NONE: nothing.
    struct str note;
    int64_t note_lane; // out; 0 = none was stored
    int64_t note_id;   // out, with note_lane
    uint32_t
        files_told; // with MESSAGE_DELIVERED: as in struct delivery. What of an inbound message is settled and not among them
                    // becomes a message that follows it, at the tail of the lane, in the same transaction
    // With MESSAGE_DELIVERED: of this account a customer wrote, whose picture the desk may show (struct avatar); 0 = nothing of it is
    // looked at. Out, `avatar_due`: it is due now, and was not before.
    int64_t avatar_of;
    bool avatar_due;
    // With MESSAGE_DELIVERED: how many bytes of its text the attempt had. A part of an album may have joined it meanwhile: what
    // it appended follows, too. Not known: all of it.
    struct {
        bool known;
        size_t bytes;
    } text_told;
    int64_t follow_lane; // out; 0 = nothing follows now
    int64_t follow_id;   // out, with follow_lane
    bool applied;        // out
};

// What became of one try to fetch a file of a message. The message's attachments tell it from then on; when it is the last one
// that a pending message waited for, the message may go (its next_attempt_us is 0); when an inbound message was delivered without
// it, it follows as a message of its own, in the same transaction.
struct store_file {
    int64_t message_id;
    int nth;               // which of its attachments, from 0
    enum file_state state; // FILE_WANTED: to be tried again at next_attempt_us
    int attempts;
    int64_t next_attempt_us;
    struct str hash, mime, why; // as in struct attachment
    int64_t size, at_us;
    bool applied; // out: the file was wanted (its message may be settled or gone)
    // Out, when applied:
    int64_t account_id, source_id, lane; // of the message
    bool ready;                          // the message waited for this, and may go: its lane must look again
    bool changed; // the message is pending and its attachments changed: what is in memory of it is old
    int64_t follow_lane, follow_id; // 0 = nothing follows
};

// Kept files that no message (and no customer, as their picture) has any more, at most `limit`, are forgotten by the store: their bytes are to be removed then. Not
// those that were forgotten by it once and are kept again meanwhile.
struct store_files_gone {
    size_t limit;
    struct arena *arena;
    // Beside those: files that are there, of which nobody knows whether a message has them (a crash, a message that went meanwhile).
    // Those that none has are among `hashes`, in the arena or as given, beyond `limit`.
    const struct str *asked;
    size_t asked_count;
    const struct str *hashes; // out
    size_t count;             // out
    bool more;                // out
};

// A file that is to be fetched.
struct wanted_file {
    int64_t message_id;
    int nth;
    int64_t account_id, source_id, received_at_us;
    enum direction direction; // REPLY: from the desk, to the platform
    struct attachment file;
    int attempts;
    int64_t next_attempt_us;
    int64_t account_bytes; // of the account's kept files, each hash once
};

enum { WANTED_NOT_OF = 4 };
// Asks for those that are due first.
struct store_wanted {
    size_t limit;
    int64_t not_of[WANTED_NOT_OF]; // accounts that have enough under way; 0: none
    struct arena *arena;
    struct wanted_file *files; // out
    size_t count;              // out
    int64_t due_us;            // out: when the next one behind them is due; 0 = there is none
};

// The picture of a conversation's customer, which the desk shows. It becomes due when a message of theirs is delivered and the platform
// was not asked for a day, or the desk has another contact for them; then it is asked for, kept among the files, and told.
struct avatar {
    int64_t due_us;     // wall time; 0 = nothing is to be done
    int attempts;       // since it became due
    int64_t asked_us;   // the platform, last; 0 = never
    struct str picture; // what the platform calls it; STR_NONE: there is none, or it is to be fetched anew
    struct str hash;    // kept; STR_NONE: there is none
    struct str mime;    // with `hash`
    int64_t size;       // with `hash`; bytes
    struct str
        told; // the desk's contact that shows it; without `hash`: that shows one that is none any more. STR_NONE: nobody
};

// Wall time; a clock that was set back is none to go by.
static inline bool avatar_is_old(int64_t asked_us, int64_t now_us)
{
    int64_t day_us = INT64_C(86400) * 1000000;
    return !asked_us || now_us - asked_us >= day_us || asked_us - now_us >= day_us;
}

// What became of one look: all of it is so from now on. The bytes of a picture that went are among those that nobody has any more.
struct store_avatar {
    int64_t conversation_id;
    struct avatar avatar;
    bool applied; // out: it is known, and was due
};

struct due_avatar {
    int64_t conversation_id, account_id, source_id;
    struct str thread; // STR_NONE: the conversation's row is damaged, and whose it is cannot be told
    struct link link;
    struct avatar avatar;
};

// Asks for those that are due first.
struct store_avatars {
    size_t limit;
    struct arena *arena;
    struct due_avatar *due; // out
    size_t count;           // out
};

// One message's in-flight mark, on or off (it does nothing to a settled message).
struct store_mark {
    int64_t message_id;
    bool in_flight;
};

// The definition of an account: inserted when id is 0 and no account has the name, else replaced as a whole.
// Sources are matched by name; a source that is gone keeps its messages. `file_text` is what the
// configuration file last said of it (opaque; STR_NONE when made by hand). `keep_active`: whether it is active
// stays as it is stored, so that a switch by hand that was committed meanwhile is not undone.
//
// A changed order rule counts for messages accepted from then on: their lanes are others, and `order_barrier` tells
// the last place of the rule before while any of its messages is pending. One change at a time: while that lasts,
// another one is not taken, and `order_kept` says so (then `file_text` stays as it was, too).
struct store_account_put {
    const struct account *account;
    struct str file_text;
    bool keep_active;
    int64_t id;            // out
    bool active;           // out
    int64_t *source_ids;   // out: account->source_count entries, the caller's
    enum order_rule order; // out: in force
    int64_t order_barrier; // out
    bool order_kept;       // out
};

// Asks whether all messages of the order rule before are settled (replies have none), and ends the account's order_barrier in the same
// transaction if so. Looks at a bounded number of lanes. Where the account has another barrier by now (the rule was
// changed again meanwhile) nothing is told of that one: neither over nor more. Where it has none it is over.
struct store_order_over {
    int64_t account_id;
    int64_t barrier;    // the one that is asked about
    int64_t after_lane; // lanes up to this one hold none any more; 0 at first; brought forward
    bool over, more;    // out; more: neither found nor through, ask again
};

// The account is removed: its name is free, its secrets are forgotten, its messages stay. Not applied while some of
// them are pending. What is accepted for it afterwards (a request on its way met the removal) is stored as discarded.
struct store_account_gone {
    int64_t account_id;
    bool applied; // out
};

struct store_account_active {
    int64_t account_id;
    bool active;
};

// What a source made or learned of itself (platform/platform.h, SOURCE_LEARN).
struct store_source_learned {
    int64_t source_id;
    struct str made_secret, registered_url; // STR_NONE: kept
};

// A desk's health that outlives a restart: the guard's count and a suspension that waits for a person.
struct store_desk_health {
    uint64_t desk; // desk_identity
    int skips_in_row;
    bool guard_suspended;
};

// A skipped message goes back to the tail of its lane (the one of the account's rule now): a new place, attempts 0, late.
// Not when its account was removed, nor when its row is damaged: it could but be set aside again.
struct store_retry {
    int64_t message_id;
    bool applied; // out: it was skipped
    int64_t lane; // out
};

// Threads at a desk: which of our conversations a conversation of the desk is, how far its parts were taken, and whether
// it has news that have not been fetched. A thread is known from the outcome whose link names it first, or from STORE_TAKEN.
// Threads from before there were replies count as taken up to then.

// The desk says that these have news: to be fetched. They need not be known.
struct store_news {
    int64_t account_id;
    const struct str *desk_conversations;
    size_t count;
    int64_t at_us; // wall time
};

// Asks; changes nothing. By the desk's conversation, else by the contact of one of the account's conversations, of which
// it is another thread then (an agent has begun it).
struct store_thread {
    int64_t account_id;
    struct str desk_conversation;
    struct str contact;      // STR_NONE: not asked for
    struct arena *arena;     // for `thread`
    int64_t conversation_id; // out; 0: none
    bool known;              // out: by the conversation, not by the contact
    int64_t source_id;       // out
    struct str thread;       // out: the platform's id of the conversation
    // Out: parts made before that second were taken; 0: none were. While it is not known, how far the desk had been searched
    // when the first of its news came; 0: it had not been.
    int64_t taken_s;
};

// Its parts up to that second were taken (in the same transaction as the replies made of them), as it was when it was asked
// for: news from after that are still to be fetched.
struct store_taken {
    int64_t account_id;
    struct str desk_conversation;
    int64_t conversation_id; // ours; 0: nobody's, the thread is forgotten
    int64_t taken_s;         // never goes back
    int64_t asked_us;        // wall time
};

// The desk was searched for conversations with news up to that second.
struct store_searched {
    int64_t account_id;
    int64_t until_s;
};

enum store_change_kind {
    STORE_ACCEPT,
    STORE_OUTCOME,
    STORE_MARK,
    STORE_ACCOUNT_PUT,
    STORE_ACCOUNT_ACTIVE,
    STORE_ORDER_OVER,
    STORE_SOURCE_LEARNED,
    STORE_DESK_HEALTH,
    STORE_RETRY,
    STORE_NOTHING, // changes nothing, and is refused as an accepted event would be: whether one could be stored now
    STORE_ACCOUNT_GONE,
    STORE_NEWS,
    STORE_THREAD,
    STORE_TAKEN,
    STORE_SEARCHED,
    STORE_FILE,
    STORE_FILES_GONE,
    STORE_AVATAR,
};

struct store_change {
    enum store_change_kind kind;
    union {
        struct store_accept *accept;
        struct store_outcome *outcome;
        struct store_mark *mark;
        struct store_account_put *account_put;
        struct store_account_active *account_active;
        struct store_order_over *order_over;
        struct store_source_learned *source_learned;
        struct store_desk_health *desk_health;
        struct store_retry *retry;
        struct store_account_gone *account_gone;
        struct store_news *news;
        struct store_thread *thread;
        struct store_taken *taken;
        struct store_searched *searched;
        struct store_file *file;
        struct store_files_gone *files_gone;
        struct store_avatar *avatar;
    };
};

// A page of a lane's pending messages, lowest place first, with the link of each conversation.
struct lane_entry {
    struct message *message; // owned by whoever takes the page (message_free)
    struct link link;        // texts in the page's arena
    struct str profile;      // of the conversation's customer, as JSON; in the page's arena
};
// A row that is not what was stored comes with `reason` REASON_DAMAGED and whatever could be read of it: it is
// never sent, but set aside as skipped.
struct lane_page {
    struct arena arena;
    struct lane_entry *entries; // in the arena
    size_t count;
    bool more; // there are pending messages behind these
};
// Frees the page and the messages still in it (those taken out are set to NULL).
void lane_page_done(struct lane_page *page);

struct store_totals {
    int64_t accepted, delivered, skipped, discarded; // since the store was made, durable
    int64_t pending, in_doubt, lanes_waiting;        // counted now
    int64_t oldest_pending_us;                       // received_at of the lowest place that waits; 0 = none
    int64_t log_bytes;                               // size of the store's log file; 0 = has none
};

struct message_filter { // ids 0 = any
    int64_t account_id, source_id;
    struct str conversation; // any of its threads; STR_NONE = any conversation
    bool by_state;
    enum message_state state;
    bool by_direction;
    enum direction direction;
    struct str text; // contained in the text, case of ASCII letters ignored; STR_NONE = any
};

struct attempt_record {
    int64_t at_us;
    struct str verdict, error;
};

struct account_counts {
    int64_t account_id, pending;
    int64_t file_bytes; // of kept files of its messages
};

struct lane_filter {
    int64_t account_id; // 0 = of all accounts
    int64_t lane;       // this one alone; 0 = any
    bool brief;         // neither `head` nor `waiting`
};

// A lane with pending messages.
struct lane_row {
    int64_t lane, account_id;
    int64_t head_id, head_place;
    const struct message *head; // borrowed
    int64_t waiting;            // pending messages, the head among them
};

// Where one conversation's messages stand in a lane.
struct lane_line {
    int64_t first_id;   // of its pending messages the one with the lowest place; 0 = none was found
    int64_t before;     // pending messages of the lane before that one
    int64_t own;        // its pending messages that were found
    bool looked_at_all; // else only the first ones of the lane were looked at
};

enum store_finding_kind {
    FINDING_SUM,      // totals, rows and indexes do not fit each other
    FINDING_DAMAGED,  // a row that is not what was stored
    FINDING_ORDER,    // a lane that was not delivered in its order
    FINDING_FILE,     // the file's own structure
    FINDING_UNPROVEN, // what could not be looked at
    FINDING_NOTE,     // worth knowing; nothing is wrong
};
const char *store_finding_kind_name(enum store_finding_kind kind); // "sum"

struct store_finding {
    enum store_finding_kind kind;
    int64_t message_id;      // 0: of no message
    struct str text, advice; // sentences; advice: what to do, "" = nothing
};

// A look at the whole store (reader's verify).
struct store_check {
    bool deep; // the file's own structure, too
    // Both may be NULL. At most STORE_FINDINGS_MAX of a kind are told, and how many more there were.
    void (*finding)(void *arg, const struct store_finding *finding);
    void (*progress)(void *arg, const char *part, int64_t done,
                     int64_t of); // part: "the sum", "messages" ...; of 0: not known
    void *arg;
    // Out.
    bool ok;                   // nothing but notes was found
    struct media_files *media; // where the kept files lie; NULL: they are not looked at. Deep: their bytes, too
    int64_t files;             // looked at
    int64_t messages, conversations, lanes; // looked at
    int64_t damaged; // rows that are not what was stored, but for those that a person has discarded
};
enum { STORE_FINDINGS_MAX = 20 };

struct store_ops {
    const char *name;
    // Frees it. Checkpoints and writes the clean mark when `clean`.
    void (*close)(struct store *store, bool clean);
    // Random text made with the store; lives as long as it.
    struct str (*id)(struct store *store);
    // All changes in order in one transaction; on any error none of them is, and out fields mean nothing. Later calls see
    // them when it returns 0, and they are on stable storage when a flush() that began after that has returned 0: nobody
    // may hear of them, or of what was read since, before. ERR_FULL: may be tried again; a batch with accepts is refused
    // so below the free-space floor (S9) while one without goes on, so try the outcomes alone. ERR_BUSY (another
    // program writes), ERR_NOMEM: may be tried again. ERR_IO, ERR_CORRUPT: every later call fails; the caller
    // ends the process (S1), and only the next one can tell whether the disk has the batch or not.
    int (*apply)(struct store *store, struct store_change *changes, size_t count);
    // Brings to stable storage what was applied before. One thread at a time, which may be another one than the
    // committer's, while that one calls what it likes. Any error is as ERR_IO of apply().
    int (*flush)(struct store *store);
    // The first `limit` pending messages of the lane with place > after_place (0 = from the head).
    int (*load_lane)(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out);
    // Lanes that have pending messages, ascending, greater than `after`; at most `limit`; *out_count = 0 at the
    // end. `account_id` 0 = of all accounts. Of one account the last of a page may have none: so far was looked.
    int (*lanes_with_work)(struct store *store, int64_t account_id, int64_t after, size_t limit, int64_t *out_lanes,
                           size_t *out_count);
    // desk_ref of messages of the conversation delivered with that second of sent_at (unix seconds).
    int (*load_refs)(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                     struct str **out_refs, size_t *out_count);
    // All accounts but removed ones, with sources (former ones too) and what they learned, one call each; the account is the
    // callee's to unref.
    int (*each_account)(struct store *store, void (*each)(void *arg, struct account *account, struct str file_text),
                        void *arg);
    int (*each_desk_health)(struct store *store, void (*each)(void *arg, const struct store_desk_health *health),
                            void *arg);
    // Threads with news that were not fetched, ordered by account.
    int (*each_news)(struct store *store, void (*each)(void *arg, int64_t account_id, struct str desk_conversation),
                     void *arg);
    // Accounts with threads: how far the desk was searched. Until it was, from when its first thread was made.
    int (*each_searched)(struct store *store, void (*each)(void *arg, const struct store_searched *searched),
                         void *arg);
    // Files to be fetched.
    int (*wanted_files)(struct store *store, struct store_wanted *wanted);
    // Pictures to be asked for or told.
    int (*due_avatars)(struct store *store, struct store_avatars *avatars);
    // The key that links to kept files are signed with: random, made with the store. Lives as long as it.
    const uint8_t *(*link_key)(struct store *store); // 32 bytes
    // Moves written pages from the log into the file when the log has passed its size; short. Called when idle
    // and now and then. Never shrinks the log.
    // `busy`: more work waits, which it would hold up; only when the log has grown far.
    int (*checkpoint)(struct store *store, bool busy);
    // Housekeeping of settled rows older than these (wall time), in one short transaction over a small id
    // range; *out_more when there is more to do. Bodies first, ids stay until `dedupe_before_us`.
    int (*age_out)(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more);
    // From any thread, when the process is about to end: from then on another program that writes is not waited for.
    void (*hurry)(struct store *store);
    // A reader for another thread. NULL when it cannot be had.
    struct store_reader *(*reader_new)(struct store *store);
};

struct store {
    const struct store_ops *ops;
};

struct store_reader_ops {
    void (*free)(struct store_reader *reader);
    // A cap on the time any call below may take from now on; beyond it ERR_BUSY. 0 = none.
    void (*set_time_cap)(struct store_reader *reader, int64_t cap_ms);
    // From any thread: the call under way and all later ones end soon with ERR_BUSY, for going down.
    void (*interrupt)(struct store_reader *reader);
    int (*totals)(struct store_reader *reader, struct store_totals *out);
    // Pending messages and bytes of files per account, those with any; `each` is called per account.
    int (*account_counts)(struct store_reader *reader, void (*each)(void *arg, const struct account_counts *counts),
                          void *arg);
    // In order of acceptance, id > after_id, at most `limit`. The message is borrowed during the call.
    int (*messages)(struct store_reader *reader, const struct message_filter *filter, int64_t after_id, size_t limit,
                    void (*each)(void *arg, const struct message *message), void *arg);
    // ERR_NOT_FOUND, or the message (message_free).
    int (*message)(struct store_reader *reader, int64_t id, struct message **out);
    int (*attempts)(struct store_reader *reader, int64_t message_id,
                    void (*each)(void *arg, const struct attempt_record *record), void *arg);
    // Lanes with pending messages, ascending, greater than `after`, at most `limit`; those of one account are found without
    // looking at others.
    int (*lanes)(struct store_reader *reader, const struct lane_filter *filter, int64_t after, size_t limit,
                 void (*each)(void *arg, const struct lane_row *row), void *arg);
    // Among the first `most` pending messages of the lane.
    int (*lane_line)(struct store_reader *reader, int64_t lane, int64_t conversation_id, size_t most,
                     struct lane_line *out);
    // The conversation of that thread; ERR_NOT_FOUND.
    int (*conversation)(struct store_reader *reader, int64_t source_id, struct str thread, int64_t *out_id);
    // The account's (with a conversation, its) delivered message that was accepted last, among the account's latest
    // `most` messages; *out_id = 0: none was found.
    int (*last_delivered)(struct store_reader *reader, int64_t account_id, int64_t conversation_id, size_t most,
                          int64_t *out_id, int64_t *out_at_us);
    // A reader sees what was applied, flushed or not: all that it has given so far is on stable storage when this returns 0.
    int (*flush)(struct store_reader *reader);
    // Looks at the whole store: the sum in one snapshot, then row by row in short ones. Nothing that goes on meanwhile is
    // taken for a fault. ERR_BUSY: interrupted.
    int (*verify)(struct store_reader *reader, struct store_check *check);
};

struct store_reader {
    const struct store_reader_ops *ops;
};

struct store_options {
    const char *path;      // of the database file
    bool force_network_fs; // S7
    int64_t ballast_bytes; // S9: free-space floor, and the size of a file that keeps it; 0 = none
    int64_t log_bytes;     // S1: room written for the log at start; 0 = 8 MiB
    size_t fresh_block;    // youngest messages that are put into the table of what waits together; 0 = 8192
    // What is found and can be gone on with, or why the store broke: `store_damaged`, `store_moved`, `store_log_long`,
    // with a sentence; STR_NONE: it is over. From the opening, apply() and checkpoint(); may be NULL.
    void (*finding)(void *arg, const char *name, struct str sentence);
    void *finding_arg;
};

// Opens or makes a SQLite store (rules S1-S11: cache of both files evicted, WAL checkpointed with TRUNCATE,
// pragmas read back, lock file). NULL and a sentence in `why` (in the arena) when it cannot.
struct store *store_sqlite_open(const struct store_options *options, struct arena *arena, const char **why);
// In memory, for tests and the simulator.
struct store *store_memory_new(void);
// Wraps another store (takes it over) and fails its calls on request: tests.
struct store_fault {
    int err;       // what to give
    int64_t after; // calls of apply/load that still succeed; -1 = no fault
    bool once;     // one failure only, else from then on
};
struct store *store_faulty_new(struct store *inner, struct store_fault *fault);
