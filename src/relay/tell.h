// What of the relay's life is news (relay/news.h), put into items. Each does nothing when nobody listens.
#pragma once
#include "relay/lanes.h"

// A message of a webhook or a poll is durable.
void tell_accepted(struct board *board, const struct store_accept *accept);
// An outcome that the store took: of an attempt, or by hand.
void tell_outcome(struct board *board, const struct message *message, const struct store_outcome *outcome);
// A skipped message is back at the tail of its lane.
void tell_retried(struct board *board, const struct message *message);
// Its head waits for a time.
void tell_lane_waits(struct board *board, struct lane *lane);
// Suspended (`reason` as on the board) or resumed: a desk, or the bot of a source.
void tell_desk(struct board *board, const struct desk_state *desk, struct str reason, int64_t until_us);
void tell_source(struct board *board, const struct account *account, const struct source *source,
                 enum source_health health, struct str text);
// Another version of an account is in force; `before` NULL: it is new, `now` NULL: it is gone.
void tell_account(struct board *board, const struct account *before, const struct account *now);
