// The admin token of a relay whose configuration has none: made once and kept beside the store, mode 0600.
#pragma once
#include "base/arena.h"
#include "base/err.h"

// Reads "admin.token" in the directory of the store, or makes it (durable when this returns 0). `out_path` is for the
// log. On failure one sentence in `why`, allocated in the arena.
ERR_CHECK int admin_token_get(struct str store_path, struct arena *arena, struct str *out_token, struct str *out_path,
                              const char **why);
