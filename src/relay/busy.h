// How busy the lanes of accounts with `order: account` were lately: the share of the last five minutes in which an attempt
// was in progress. Where that is nearly all, the account's one lane is its limit, and `order: conversation` would help.
//
// Kept for accounts that had an attempt lately, and beside their lanes, which leave memory between messages. Times are
// monotonic, microseconds, and the caller's. Any thread, under a lock of its own.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { BUSY_PERCENT = 80 }; // above it an account is said to be busy

struct busy;

struct busy *busy_new(void);
void busy_free(struct busy *busy);
// An attempt of the account's lane begins or ends. Beginning twice, or ending what did not begin, does nothing.
void busy_began(struct busy *busy, int64_t account_id, int64_t now_us);
void busy_ended(struct busy *busy, int64_t account_id, int64_t now_us);
// 0 to 100.
int busy_percent(struct busy *busy, int64_t account_id, int64_t now_us);
// Accounts that something is kept of.
int busy_kept(struct busy *busy);
