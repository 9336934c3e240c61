// Conversations that the writer knows without asking SQLite: what it last read or wrote of them. It alone writes, so they are as
// the transaction under way has them; one that fails makes it forget all. Bounded: each has one place by its thread and one by
// its id, and whatever stands there goes.
#pragma once
#include "store/sqlite_row.h"

struct sqlite_known;

struct sqlite_known *sqlite_known_new(void);
void sqlite_known_free(struct sqlite_known *known);
// What is known of the thread, or NULL. It and its texts stand until the next call but find.
struct sqlite_conversation *sqlite_known_find(struct sqlite_known *known, int64_t source_id, struct str thread);
// In place of what was known of it. The texts are copied. For rows that are whole and go on nowhere else.
void sqlite_known_put(struct sqlite_known *known, const struct sqlite_conversation *conversation);
// NULL when it is not known.
struct sqlite_conversation *sqlite_known_get(struct sqlite_known *known, int64_t id);
void sqlite_known_forget(struct sqlite_known *known, int64_t id);
void sqlite_known_forget_all(struct sqlite_known *known);
