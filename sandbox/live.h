// Tells the pages at once that something changed (server-sent events). Only that: a page then asks for what it shows, so that a
// thousand messages a second cost it no more than its own pace.
#pragma once
#include "net/http_server.h"
#include "net/loop.h"

struct live;

struct live *live_new(struct loop *loop);
// Ends all streams.
void live_free(struct live *live);
// Answers the exchange with a stream, or 503 when there are too many.
void live_join(struct live *live, struct http_exchange *exchange);
void live_end_all(struct live *live);
// Something changed: listeners hear it within 20 ms.
void live_changed(struct live *live);
