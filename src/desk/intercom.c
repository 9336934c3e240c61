// Stand-in until the connector lands: knows nothing.
#include "desk/desk.h"

static const char *intercom_check(const struct desk *desk, struct arena *arena)
{
    (void)desk;
    (void)arena;
    return "platform: intercom is not built yet";
}

static void intercom_step(struct desk_attempt *attempt, const struct http_response *last, struct desk_step *out)
{
    (void)attempt;
    (void)last;
    *out = (struct desk_step){.kind = DESK_END, .verdict = {.kind = VERDICT_RETRY, .error = STR("not built yet")}};
}

static bool intercom_probe(const struct desk *desk, struct arena *arena, struct http_request *out)
{
    (void)desk;
    (void)arena;
    (void)out;
    return false;
}

const struct desk_connector desk_intercom = {
    .name = "intercom",
    .has_lookup = true,
    .api_url = "https://api.intercom.io",
    .check = intercom_check,
    .step = intercom_step,
    .probe = intercom_probe,
};
