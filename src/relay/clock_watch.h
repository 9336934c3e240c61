// Tells a wrong clock from forged requests: when the rightly signed requests of a source are refused one after another because
// of their timestamps, nothing of it gets in, and nobody but the sender would know. The alarm `webhook_clock` says so, and how
// far the clocks are apart; the next request that is taken ends it. Any thread.
#pragma once
#include "model/account.h"
#include "relay/board.h"

struct clock_watch;

struct clock_watch *clock_watch_new(struct board *board);
void clock_watch_free(struct clock_watch *watch);
// A rightly signed request was refused: its timestamp is that far ahead of our clock.
void clock_watch_refused(struct clock_watch *watch, const struct source *source, int64_t ahead_s);
// One was verified.
void clock_watch_verified(struct clock_watch *watch, const struct source *source);
// The account is replaced: what was seen of its sources counts no more.
void clock_watch_forget(struct clock_watch *watch, const struct account *account);
