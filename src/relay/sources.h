// Sources that need keeping: a webhook to be registered with the platform, or long polling. Each has a keeper
// that runs its connector's step machine (platform/platform.h) on the relay loop; what it polls goes the same
// way as a webhook (intake.h), and is confirmed to the platform only when it is durable.
//
// Trouble is shown on the board and tried again, never fatal.
#pragma once
#include "net/http_client.h"
#include "relay/board.h"
#include "relay/intake.h"

struct sources;

struct sources_options {
    struct loop *loop;
    const struct intake *intake;
    struct directory *directory;
    struct board *board;
    const struct clock *clock;
    struct str public_url; // STR_NONE when absent; lives longer
};

struct sources *sources_new(const struct sources_options *options);
// The directory has another version of this account (before: NULL when it is new): keepers are started, told,
// or ended.
void sources_account_changed(struct sources *sources, const struct account *before, const struct account *now);
// Ends all keepers: requests are cancelled; what is being stored ends first.
void sources_stop(struct sources *sources);
// Nothing may be in progress (the committer has ended and its answers have been taken).
void sources_free(struct sources *sources);
