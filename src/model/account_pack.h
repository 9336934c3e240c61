// An account in one small block, for tables that hold very many: numbers in as few bytes as they need, texts back to back,
// and those that many accounts share (platforms, addresses of platforms, the file's path) in a pool of the table's owner.
#pragma once
#include "base/text_pool.h"
#include "model/account.h"

// Immutable but for `mark`; free() it.
struct packed_account {
    uint32_t mark; // the owner's; 0 at first
    unsigned char bytes[];
};

// All of the account.
struct packed_account *account_pack(const struct account *account, struct text_pool *pool);
// An account as it was packed, with one reference and texts of its own. `pool` is the one it was packed with.
struct account *account_unpack(const struct packed_account *packed, const struct text_pool *pool);
// Without unpacking. The name is the packed account's own, not NUL-terminated.
struct str packed_account_name(const struct packed_account *packed);
int64_t packed_account_id(const struct packed_account *packed);
