// Files of messages and albums, of the store in memory (store.h, struct store_file). The caller holds the store's lock.
#pragma once
#include "store/attached.h"
#include "store/store.h"

struct memory_filed;
struct memory_album;
struct memory_dropped;
struct memory_avatar; // memory_avatars.h

// Ready when zeroed.
struct memory_files {
    struct memory_filed *messages; // those that have files, by id
    struct memory_album *albums;   // of pending messages
    struct memory_dropped *dropped;
    struct memory_avatar *avatars; // by conversation
};

// What follows a message that was delivered without it.
struct memory_following {
    uint32_t files;  // of its attachments
    struct str text; // STR_NONE: none
};

void memory_files_done(struct memory_files *files);
// Those of the list that are wanted; the first of it is the message's `from`-th.
void memory_files_want(struct memory_files *files, int64_t message_id, const struct store_accept *accept, int from,
                       const struct attachment *list, size_t count);
// Bytes of the account's kept files, each hash once.
int64_t memory_files_bytes(const struct memory_files *files, int64_t account_id);
// The message was settled, or discarded after it was skipped. *out: what follows now.
void memory_files_settled(struct memory_files *files, const struct message *message, const struct store_outcome *o,
                          struct memory_following *out);
// What became of one. Message and `set` are changed, texts in the arena (the message's own). *out: what follows now.
void memory_files_set(struct memory_files *files, struct message *message, struct store_file *set, struct arena *arena,
                      struct memory_following *out);
// These of its files are another message's, too, which nothing follows.
void memory_files_copy(struct memory_files *files, int64_t from_id, uint32_t bits, int64_t to_id);
// Whether a delivered message waits for a file that will follow it.
bool memory_files_may_follow(const struct memory_files *files, int64_t message_id);
// The message's body goes.
void memory_files_forget(struct memory_files *files, int64_t message_id);
void memory_files_account_gone(struct memory_files *files, int64_t account_id);
void memory_files_gone(struct memory_files *files, struct store_files_gone *gone);
// It may be that nobody has it any more.
void memory_files_drop(struct memory_files *files, struct str hash);
void memory_files_wanted(const struct memory_files *files, struct store_wanted *wanted);
// Each that is kept. How many rows there are in all.
size_t memory_files_each_kept(const struct memory_files *files,
                              void (*each)(void *arg, int64_t message_id, struct str hash, int64_t size), void *arg);
// A message or a customer has it.
bool memory_files_has(const struct memory_files *files, struct str hash);

// The message that parts of the event's album may join, if it still waits; 0 = none.
int64_t memory_album_find(const struct memory_files *files, const struct store_accept *accept);
// Further parts are waited for until then. In place of what was known of the album.
void memory_album_set(struct memory_files *files, const struct store_accept *accept, int64_t message_id,
                      int64_t until_us);
