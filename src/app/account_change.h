// A change of an account by hand, as a new definition: what there is, written as JSON with the keys of the file, merged with what
// was given (RFC 7396), and read by the reader of the file. So there is one table of keys, and one place that says what is wrong.
#pragma once
#include "admin/admin.h"

// Pure. `before`: the account as it is, NULL for a new one. Not for CHANGE_ACCOUNT_REMOVE. *out_active: the change says
// whether it is active. `out`: one reference; ids, what sources made or learned, and unnamed secrets are kept.
ERR_CHECK int account_change_make(struct admin_change *change, const struct account *before, struct account **out,
                                  bool *out_active);
// ERR_REFUSED when the file defines it: that is where it is changed.
ERR_CHECK int account_change_allowed(const struct account *account, struct buf *why);
