// Things of the relay as JSON objects, the same wherever they are shown. Secrets are shown as "set".
#pragma once
#include "admin/api.h"

// Pending messages and bytes of kept files by account, sorted by id; in the arena.
struct view_pending {
    struct account_counts *counts;
    size_t count, room;
    struct arena *arena;
};
int view_pending_read(struct api_call *call, struct view_pending *out);
// Never NULL: zeroes of an account that has none.
const struct account_counts *view_counts_of(const struct view_pending *pending, int64_t account_id);

// All of an account, with its sources and its desk.
void view_account(struct json *json, struct api_call *call, const struct account *account,
                  const struct account_counts *counts);
void view_source(struct json *json, struct api_call *call, const struct source *source);
void view_desk(struct json *json, struct api_call *call, const struct desk *desk);
// Only the health, as members of an object that is open: state, reason, until / state, text, since, bot (of a platform that
// takes replies: state, reason, until).
void view_desk_health(struct json *json, struct api_call *call, const struct desk *desk);
void view_source_health(struct json *json, struct api_call *call, const struct source *source);
// The same of a desk or a bot, by desk_identity or source_identity.
void view_health(struct json *json, struct api_call *call, uint64_t identity);
bool view_takes_replies(const struct source *source);
// How busy the account's one lane was over the last five minutes, in percent; 0 where conversations have lanes of their own.
int view_busy_percent(struct api_call *call, const struct account *account);
// A message; the object is left open for more members. A kept file has a signed link of ours for its url; what its connector
// fetches it by is never shown.
void view_message(struct json *json, struct api_call *call, const struct message *message);
