// The directory: which accounts there are, now. Shared by all threads under a read-write lock that is never
// held across I/O; accounts are immutable and counted, a change swaps in a new one.
//
// A million accounts that do nothing must fit into little memory: each is kept packed (model/account_pack.h), and those
// that somebody looked for lately are kept unpacked, too, a bounded number of them. So two looks for one account may find
// two copies of it: compare what they say, not their addresses.
#pragma once
#include "model/account.h"

enum { DIRECTORY_AT_HAND = 16384, DIRECTORY_WALK_PAGE = 256 };

struct directory;

struct directory *directory_new(void);
void directory_free(struct directory *directory);
// A counted reference (account_unref), or NULL. Once it was found an account stays at hand until DIRECTORY_AT_HAND others
// were, or it changes: finding it then allocates nothing.
const struct account *directory_find(struct directory *directory, struct str name);
const struct account *directory_find_id(struct directory *directory, int64_t account_id);
// The same for whoever goes through very many: nothing is kept at hand for it.
const struct account *directory_look(struct directory *directory, struct str name);
// Takes the caller's reference; replaces the account of that id, whose name never changes.
void directory_put(struct directory *directory, const struct account *account);
void directory_remove(struct directory *directory, int64_t account_id);
size_t directory_count(struct directory *directory);
// The first `limit` accounts whose name is greater than `after` (STR_NONE: from the first), in the order of their names,
// each with a reference for the caller; how many there were. Costs what the page costs, however many there are.
size_t directory_page(struct directory *directory, struct str after, size_t limit, const struct account **out);
// How many accounts use the desk of that identity (desk_identity).
int directory_desk_users(struct directory *directory, uint64_t desk);

// All accounts in the order of their names, page by page: what changes meanwhile is seen as it is when its page is taken.
struct directory_walk {
    struct directory *directory; // the only field to set
    const struct account *page[DIRECTORY_WALK_PAGE];
    size_t count, at;
    bool ended;
};
// The next one, with a reference for the caller; NULL at the end, which must be reached, or directory_walk_done called.
const struct account *directory_walk_next(struct directory_walk *walk);
void directory_walk_done(struct directory_walk *walk);
