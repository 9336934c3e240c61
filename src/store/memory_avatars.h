// Customers' pictures, of the store in memory (store.h, struct avatar). The caller holds the store's lock.
#pragma once
#include "store/memory_files.h"

void memory_avatars_done(struct memory_files *files);
// A message with `avatar_of` was delivered. True: the picture is due now, and was not before.
bool memory_avatar_look(struct memory_files *files, const struct store_outcome *o);
void memory_avatar_set(struct memory_files *files, struct store_avatar *set);
void memory_avatars_account_gone(struct memory_files *files, int64_t account_id);
// What is due first; of the conversation only its id.
void memory_avatars_due(const struct memory_files *files, struct store_avatars *avatars);
bool memory_avatars_have(const struct memory_files *files, struct str hash);
// Each that is kept, under the conversation's id as if it were a message's. How many rows there are in all.
size_t memory_avatars_each_kept(const struct memory_files *files,
                                void (*each)(void *arg, int64_t id, struct str hash, int64_t size), void *arg);
