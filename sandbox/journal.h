// What happened, in order: a bounded list of JSON objects with a number and a time each. The oldest go first, and how many went is
// said, so that a reader never takes a part for the whole.
#pragma once
#include "base/json.h"

struct journal;

struct journal *journal_new(size_t keep);
void journal_free(struct journal *journal);
void journal_clear(struct journal *journal);
// `members` are the object's members as JSON text without the braces: "\"a\":1". "seq" and "at" are put before. Returns seq.
int64_t journal_add(struct journal *journal, int64_t at_us, struct str members);
// {"items":[...],"next":N or null,"dropped":N}: at most `limit` items after number `after`.
void journal_write(const struct journal *journal, int64_t after, int64_t limit, struct json *json);
