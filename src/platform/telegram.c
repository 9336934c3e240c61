// Stand-in until the connector lands: knows nothing.
#include "platform/platform.h"

static const char *telegram_check(const struct source *source, struct arena *arena)
{
    (void)source;
    (void)arena;
    return "platform: telegram is not built yet";
}

static struct str telegram_identity(const struct source *source, struct arena *arena)
{
    (void)source;
    (void)arena;
    return STR_NONE;
}

static void telegram_receive(const struct source *source, const struct http_request *request, int64_t now_us,
                             struct arena *arena, struct receipt *out)
{
    (void)source;
    (void)request;
    (void)now_us;
    (void)arena;
    *out = (struct receipt){.kind = RECEIPT_FORGED, .why = STR("not built yet")};
}

const struct platform platform_telegram = {
    .name = "telegram",
    .check = telegram_check,
    .api_url = "https://api.telegram.org",
    .identity = telegram_identity,
    .receive = telegram_receive,
};
