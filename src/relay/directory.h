// The directory: which accounts there are, now. Shared by all threads under a read-write lock that is never
// held across I/O; accounts are immutable and counted, a change swaps in a new one.
#pragma once
#include "model/account.h"

struct directory;

struct directory *directory_new(void);
void directory_free(struct directory *directory);
// A counted reference (account_unref), or NULL.
const struct account *directory_find(struct directory *directory, struct str name);
const struct account *directory_find_id(struct directory *directory, int64_t account_id);
// Takes the caller's reference; replaces the account of that id.
void directory_put(struct directory *directory, const struct account *account);
void directory_remove(struct directory *directory, int64_t account_id);
size_t directory_count(struct directory *directory);
// The first `limit` accounts whose name is greater than `after` (STR_NONE: from the first), in the order of their names,
// each with a reference for the caller; how many there were. Costs what the page costs, however many there are.
size_t directory_page(struct directory *directory, struct str after, size_t limit, const struct account **out);
// How many accounts use the desk of that identity (desk_identity).
int directory_desk_users(struct directory *directory, uint64_t desk);
// All accounts in the order of their names, each with a reference of its own for the caller, NULL-terminated;
// free() the list.
const struct account **directory_list(struct directory *directory);
