// Hands for tests that use a store: places to keep one, events to put in, the changes most tests make.
// Failures abort the test by cmocka's asserts.
#pragma once
#include "store/store.h"

// A path for a new store below the test's directory; freed by the caller.
char *kit_store_path(const char *name);
// The store's file and all beside it; none may be there.
void kit_remove(const char *path);
struct store *kit_open(const char *path);
// With blocks of so few messages (store_options, fresh_block).
struct store *kit_open_small(const char *path, size_t block);

// An event with this key in this conversation, at account 1, source 1, received at 1000 s + n.
struct store_accept kit_accept(const char *key, const char *conversation);
// Stores it alone and gives what it became.
struct store_accept kit_store(struct store *store, const char *key, const char *conversation);
int kit_apply(struct store *store, enum store_change_kind kind, void *change);
// An outcome of one attempt, to be changed before it is applied.
struct store_outcome kit_outcome(int64_t message_id, enum message_state state);
bool kit_settle(struct store *store, int64_t message_id, enum message_state state);

struct store_totals kit_totals(struct store *store);
// The whole message (message_free).
struct message *kit_message(struct store *store, int64_t id);
// Verified, but for the order, which tests of the store alone do not keep; what was found goes to standard error.
bool kit_verify(struct store *store, bool deep);
// The same, with what the caller wants of it.
void kit_check(struct store *store, struct store_check *check);
// SQL that makes a store what it was before customers' pictures, but for the schema's number.
#define KIT_BEFORE_AVATARS "DROP TABLE avatars;"
// SQL that makes a store what it was before rows stayed for their references, but for the schema's number.
#define KIT_BEFORE_TURNS KIT_BEFORE_AVATARS "DROP INDEX messages_out_of_turn;"
// SQL that makes a store what it was before one person could be known in several sources, but for the schema's number.
#define KIT_BEFORE_IDENTITY KIT_BEFORE_TURNS "ALTER TABLE accounts DROP COLUMN identity;"
// SQL that makes a store what it was before files were fetched, but for the schema's number.
#define KIT_BEFORE_FILES                                                                                               \
    KIT_BEFORE_IDENTITY                                                                                                \
    "DROP VIEW readable_messages; CREATE VIEW readable_messages AS SELECT id FROM messages;"                           \
    "ALTER TABLE messages DROP COLUMN act; ALTER TABLE messages DROP COLUMN target_id;"                                \
    "ALTER TABLE conversations DROP COLUMN profile; ALTER TABLE store DROP COLUMN link_key;"                           \
    "DROP TABLE files; DROP TABLE dropped; DROP TABLE account_files; DROP TABLE albums;"
// SQL that makes a store what it was before there were replies, but for the schema's number.
#define KIT_BEFORE_REPLIES                                                                                             \
    KIT_BEFORE_FILES                                                                                                   \
    "ALTER TABLE messages DROP COLUMN format; ALTER TABLE accounts DROP COLUMN replies;"                               \
    "DROP TABLE desk_threads; DROP TABLE desk_searches; DROP INDEX conversations_contact;"
// SQL that makes a store what it was before the table `waiting`, but for the schema's number.
#define KIT_BEFORE_WAITING                                                                                             \
    "DROP VIEW waiting_per_account; DROP VIEW line; DROP TABLE waiting;"                                               \
    "CREATE INDEX messages_pending ON messages(lane, place, account_id) WHERE state = 0;"                              \
    "ALTER TABLE totals DROP COLUMN lined_number; UPDATE totals SET sum = NULL;"                                       \
    "CREATE VIEW waiting_per_account AS SELECT account_id AS account, count(*) AS waiting, 0 AS oldest_received_at "   \
    "FROM messages WHERE state = 0 GROUP BY account_id;"
// Changes rows by SQL and their indexes with them. The store is closed.
void kit_change(const char *path, const char *sql);
// Changes rows by SQL behind the back of their indexes, as flipped bits in the file do. The store is closed.
void kit_damage(const char *path, const char *sql);
