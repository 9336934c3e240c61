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

enum webhook_judgement {
    WEBHOOK_VERIFIED,
    WEBHOOK_FORGED,   // the signature is wrong, or one of the three is no such value
    WEBHOOK_UNTIMELY, // rightly signed, but its timestamp is not within the tolerance of now_s
};
// All three header values as they came. One entry of version v1 has to be right; compared in constant time, over the raw body.
// `out_ahead_s`: how far the timestamp is ahead of now_s (negative: behind); set unless forged.
enum webhook_judgement webhook_judge(struct str secret, struct str id, struct str timestamp, struct str signature,
                                     struct str body, int64_t now_s, int64_t *out_ahead_s);
// True when it is WEBHOOK_VERIFIED.
bool webhook_verify(struct str secret, struct str id, struct str timestamp, struct str signature, struct str body,
                    int64_t now_s);
