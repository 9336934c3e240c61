// The steps of a reply to Telegram, one by one, and what the tables of tests/data/telegram hold: for tests of the receiver. What
// they give lies in the test's own `arena`.
#pragma once
#include "base/json.h"
#include "platform/platform.h"
#include "support/plain_http.h"

#include <stdlib.h>

static inline struct delivery_step next(struct delivery *delivery, const struct http_response *last)
{
    struct delivery_step step;
    platform_telegram.receiver->step(delivery, last, &step);
    return step;
}

static inline struct delivery_step answered(struct delivery *delivery, int status, const char *body)
{
    struct http_response response = plain_answer(status, NULL, str_of(body));
    return next(delivery, &response);
}

// As JSON; STR_NONE of what is not there.
static inline struct str written_in(struct arena *arena, yyjson_val *value)
{
    size_t n;
    char *text = value ? yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &n) : NULL;
    struct str copy = text ? arena_str(arena, (struct str){text, n}) : STR_NONE;
    free(text);
    return copy;
}
