// Standard Webhooks 1.0.0 signatures (shared page desks/standard-webhooks.md, sections 1, 2): the source
// and the desk of that name both use them.
#pragma once
#include "base/arena.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum { WEBHOOK_TOLERANCE_S = 300 };

// A secret is "whsec_" and standard base64 (padding may be missing), 24 to 64 bytes. NULL when it is fine,
// else a sentence that says what would be right.
const char *webhook_secret_trouble(struct str secret);
// "v1,<base64>" over "<id>.<timestamp_s>.<body>".
struct str webhook_sign(struct arena *arena, struct str secret, struct str id, int64_t timestamp_s, struct str body);
// All three header values as they came. True when the timestamp is within the tolerance of now_s and one
// entry of version v1 is right; compared in constant time, over the raw body.
bool webhook_verify(struct str secret, struct str id, struct str timestamp, struct str signature, struct str body,
                    int64_t now_s);
