// Inside of the SQLite back end: what its files share. The contract is store.h.
//
// The life of the writing connection:
//   opening --checked--> ready --ERR_IO, ERR_CORRUPT--> broken --close--> gone
//                        ready --close(clean)--> gone, with an empty log and the clean mark
// Broken, it refuses everything: what the page cache says of the file is no longer to be trusted (S1), and only
// a new process may look again.
#pragma once
#include "store/sql.h"
#include "store/sqlite_files.h"
#include "store/sqlite_known.h"
#include "store/sqlite_line.h"
#include "store/sqlite_noted.h"
#include "store/sqlite_quota.h"
#include "store/store.h"

#include <stdatomic.h>

// The row of totals, as the last commit left it; inside a transaction as it will be.
struct sqlite_totals {
    int64_t accepted, delivered, skipped, discarded;
    int64_t aged_delivered, aged_discarded; // of those, rows that are gone
    int64_t last_number;                    // ids and places are drawn from it
    int64_t moved_number;                   // last_number when the log was last empty
    int64_t lined_number;                   // what waits up to this id stands in the table `waiting`
};

struct sqlite_row;

struct sqlite_store {
    struct store store; // first
    struct sql sql;
    struct sqlite_files files;
    char id[33];
    struct {
        char id[33]; // "": cannot be told
        int64_t log_number;
    } file;            // what the file says without its log
    bool log_is_moved; // all of it: the next commit begins it anew
    atomic_int broken; // the error that broke it; 0. flush() sets it, too
    sqlite3_file *log; // the log opened by ourselves, for flush() alone
    char *log_name;
    struct sqlite_known *known;
    struct sqlite_line line;
    struct sqlite_noted
        noted; // of pending and skipped messages those with files that are untold or wanted, or an album
    struct sqlite_quota quota;
    uint8_t link_key[32];
    struct sqlite_totals totals;
    bool totals_are_whole; // they were at the start
    int log_frames;        // in the log
    int log_frames_usual;  // that it has room for from the start
    int log_frames_moved;  // of them, when last asked: a reader may have kept some back
    int64_t age_after;     // age_out goes on behind this id
    struct {
        int64_t account_id, conversation_id; // goes on behind these
        bool due;                            // something may have begun to wait since the last sweep began
    } sweep;
    bool any_gone;      // an account was removed by this process: a request on its way may still bring something for it
    bool order_changed; // of some account, since the store was opened: callers may not know yet
    atomic_bool hurried; // another program that writes is not waited for
    bool asks;           // nor for a batch that is only a question (STORE_NOTHING)
    bool log_is_long;    // it was said
    void (*finding)(void *arg, const char *name, struct str sentence);
    void *finding_arg;
};

static inline struct sqlite_store *sqlite_of(struct store *store)
{
    return (struct sqlite_store *)store;
}

// Remembers what breaks the store; gives `err` back.
int sqlite_note(struct sqlite_store *s, int err);
// One transaction around `body`; totals are written when they changed, and put back when it fails.
ERR_CHECK int sqlite_transact(struct sqlite_store *s, int (*body)(struct sqlite_store *s, void *arg), void *arg);
// Makes rows, indexes and line fit each other again, with the alarm (sqlite_mend.c).
ERR_CHECK int sqlite_mend_told(struct sqlite_store *s);
int sqlite_mend(struct sqlite_store *s, void *arg); // what its transaction does
// How many wait, in the transaction under way or after the last one.
static inline int64_t sqlite_waiting(const struct sqlite_store *s)
{
    const struct sqlite_totals *t = &s->totals;
    return t->accepted - t->delivered - t->skipped - t->discarded;
}
// A settled or revived message in the totals.
void sqlite_count(struct sqlite_store *s, enum message_state from, enum message_state to);
// A checkpoint when the log has passed its size. The batch before it is safe whatever becomes of it.
void sqlite_bound_log(struct sqlite_store *s);
ERR_CHECK int sqlite_totals_read(struct sql *sql, struct sqlite_totals *out, bool *out_whole);

// Each in a file of its name.
int sqlite_apply(struct store *store, struct store_change *changes, size_t count);
ERR_CHECK int sqlite_account_put(struct sqlite_store *s, struct store_account_put *put);
// The order rule that an account which is there gets, in `put`, and with it the barrier.
ERR_CHECK int sqlite_order_put(struct sqlite_store *s, struct store_account_put *put);
ERR_CHECK int sqlite_order_over(struct sqlite_store *s, struct store_order_over *over);
// The rule in force; *order stays when there is no such account.
ERR_CHECK int sqlite_order_get(struct sqlite_store *s, int64_t account_id, enum order_rule *order,
                               int64_t *out_barrier);
ERR_CHECK int sqlite_order_barrier(struct sqlite_store *s, int64_t account_id, int64_t barrier);
// After a change of the row that nobody asked for: a damaged one stays so.
ERR_CHECK int sqlite_account_seal(struct sqlite_store *s, int64_t account_id);
ERR_CHECK int sqlite_account_active(struct sqlite_store *s, const struct store_account_active *change);
ERR_CHECK int sqlite_account_gone(struct sqlite_store *s, struct store_account_gone *gone);
ERR_CHECK int sqlite_account_is_gone(struct sqlite_store *s, int64_t account_id, bool *out);
ERR_CHECK int sqlite_source_learned(struct sqlite_store *s, const struct store_source_learned *learned);
ERR_CHECK int sqlite_desk_health(struct sqlite_store *s, const struct store_desk_health *health);
int sqlite_each_account(struct store *store, void (*each)(void *arg, struct account *account, struct str file_text),
                        void *arg);
int sqlite_each_desk_health(struct store *store, void (*each)(void *arg, const struct store_desk_health *health),
                            void *arg);
int sqlite_load_lane(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out);
int sqlite_lanes_with_work(struct store *store, int64_t account_id, int64_t after, size_t limit, int64_t *out_lanes,
                           size_t *out_count);
// lanes_with_work; the last one may be only how far was looked.
ERR_CHECK int sqlite_lanes_of(struct sqlite_line *line, int64_t account_id, int64_t after, size_t limit,
                              int64_t *out_lanes, size_t *out_count);
// Whether the account has a pending message.
ERR_CHECK int sqlite_has_pending(struct sqlite_line *line, int64_t account_id, bool *out);
// sqlite_waiting.c: a message of the account is about to wait in the conversation's lane; `known` is what its row says.
ERR_CHECK int sqlite_set_waiting(struct sqlite_store *s, int64_t lane, int64_t account_id, int64_t known);
// The account's next lane of a conversation, with its head; out->lane = 0: there is none. Without a head (head_id 0) it is
// only how far was looked: nothing waits in it, what is behind it was not looked at.
ERR_CHECK int sqlite_next_waiting(struct sqlite_line *line, int64_t account_id, int64_t after, struct lane_row *out);
// A step of housekeeping: conversations that were found waiting once, and do so no longer.
ERR_CHECK int sqlite_sweep_waiting(struct sqlite_store *s, bool *out_more);
// sqlite_apply.c: a new message, pending or settled as it comes; its place is its id.
ERR_CHECK int sqlite_insert_row(struct sqlite_store *s, const struct message *message, const struct sqlite_row *row,
                                struct str raw);
// sqlite_media.c: files of messages (struct store_file). The rows of an accepted message's files that are wanted.
ERR_CHECK int sqlite_media_accept(struct sqlite_store *s, const struct store_accept *accept,
                                  const struct attachment *files, size_t count);
// Whether kept files of the account have that many bytes.
ERR_CHECK int sqlite_media_is_over(struct sqlite_store *s, int64_t account_id, int64_t most, bool *out);
// A message that parts of the event's album may join; its row with texts in the arena, out->id 0: there is none.
ERR_CHECK int sqlite_album_find(struct sqlite_store *s, const struct store_accept *accept, struct arena *arena,
                                struct message *out, struct sqlite_row *out_row);
// The event joins that message.
ERR_CHECK int sqlite_album_join(struct sqlite_store *s, const struct store_accept *accept, struct message *message,
                                const struct sqlite_row *row, struct arena *arena);
// The accepted message is the first of its album.
ERR_CHECK int sqlite_album_begin(struct sqlite_store *s, const struct store_accept *accept);
// A message that stands in `noted` was settled.
ERR_CHECK int sqlite_media_settled(struct sqlite_store *s, struct store_outcome *o);
ERR_CHECK int sqlite_file(struct sqlite_store *s, struct store_file *file);
ERR_CHECK int sqlite_files_forget(struct sqlite_store *s, struct store_files_gone *gone);
// The message's body goes.
ERR_CHECK int sqlite_media_age(struct sqlite_store *s, int64_t message_id);
ERR_CHECK int sqlite_media_account_gone(struct sqlite_store *s, int64_t account_id);
// At the opening: `noted`.
ERR_CHECK int sqlite_media_open(struct sqlite_store *s);
int sqlite_wanted_files(struct store *store, struct store_wanted *wanted);
// Bytes that the row of a file, or of a picture, had until now.
ERR_CHECK int sqlite_media_drop(struct sqlite_store *s, struct str hash);
// sqlite_avatars.c: customers' pictures (struct avatar). A message with `avatar_of` was delivered.
ERR_CHECK int sqlite_avatar_look(struct sqlite_store *s, struct store_outcome *o);
ERR_CHECK int sqlite_avatar(struct sqlite_store *s, struct store_avatar *set);
int sqlite_due_avatars(struct store *store, struct store_avatars *avatars);
// sqlite_threads.c: the link of a message's outcome names a thread at the desk for the first time.
ERR_CHECK int sqlite_thread_add(struct sqlite_store *s, int64_t message_id, struct str desk_conversation,
                                int64_t conversation_id, int64_t at_us);
ERR_CHECK int sqlite_news(struct sqlite_store *s, const struct store_news *news);
ERR_CHECK int sqlite_thread(struct sqlite_store *s, struct store_thread *asked);
ERR_CHECK int sqlite_taken(struct sqlite_store *s, const struct store_taken *taken);
ERR_CHECK int sqlite_searched(struct sqlite_store *s, const struct store_searched *searched);
ERR_CHECK int sqlite_threads_forget(struct sqlite_store *s, int64_t account_id);
int sqlite_each_news(struct store *store, void (*each)(void *arg, int64_t account_id, struct str desk_conversation),
                     void *arg);
int sqlite_each_searched(struct store *store, void (*each)(void *arg, const struct store_searched *searched),
                         void *arg);
// The thread that the conversation goes on in now, in the arena; STR_NONE: in its own.
ERR_CHECK int sqlite_address(struct sqlite_store *s, int64_t conversation_id, struct arena *arena, struct str *out);
int sqlite_load_refs(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                     struct str **out_refs, size_t *out_count);
int sqlite_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more);
struct store_reader *sqlite_reader_new(struct store *store);
int sqlite_reader_lanes(struct store_reader *reader, const struct lane_filter *filter, int64_t after, size_t limit,
                        void (*each)(void *arg, const struct lane_row *row), void *arg);
int sqlite_reader_lane_line(struct store_reader *reader, int64_t lane, int64_t conversation_id, size_t most,
                            struct lane_line *out);
int sqlite_reader_conversation(struct store_reader *reader, int64_t source_id, struct str thread, int64_t *out_id);
int sqlite_reader_last_delivered(struct store_reader *reader, int64_t account_id, int64_t conversation_id, size_t most,
                                 int64_t *out_id, int64_t *out_at_us);
int sqlite_reader_verify(struct store_reader *reader, struct store_check *asked);
