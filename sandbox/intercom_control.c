// What stands below /sandbox/ on the Intercom side: the settings of the stand-in; the inbox is intercom_inbox.c.
#include "sandbox/intercom.h"

#include <inttypes.h>

void intercom_status(void *arg, struct json *json)
{
    const struct intercom *intercom = arg;
    json_key_int(json, "contacts", (int64_t)HASH_COUNT(intercom->contacts));
    json_key_int(json, "conversations", (int64_t)intercom->conversation_count);
    json_key_int(json, "applied", intercom->applied);
    json_key_int(json, "limit", intercom->options.limit);
    json_key_int(json, "window_ms", intercom->options.window_ms);
    json_key_str(json, "webhook", str_of(notifier_state(intercom->notifier)));
}

static void take_setting(struct call *call, const char *key, int64_t low, int64_t *setting)
{
    int64_t n = 0;
    if (json_get_int(call->body, key, &n) && n >= low)
        *setting = n;
}

static void do_settings(struct intercom *intercom, struct call *call)
{
    struct intercom_options *options = &intercom->options;
    take_setting(call, "limit", 0, &options->limit);
    take_setting(call, "window_ms", 10, &options->window_ms);
    take_setting(call, "contact_ready_ms", 0, &options->contact_ready_ms);
    take_setting(call, "search_lag_ms", 0, &options->search_lag_ms);
    take_setting(call, "webhook_timeout_ms", 1, &options->webhook_ms);
    take_setting(call, "webhook_retry_ms", 0, &options->retry_ms);
    intercom->window_calls = intercom->window_began_us = 0;
    call_answer(call, 200,
                arena_printf(call->arena,
                             "{\"limit\":%" PRId64 ",\"window_ms\":%" PRId64 ",\"contact_ready_ms\":%" PRId64
                             ",\"search_lag_ms\":%" PRId64 ",\"webhook_timeout_ms\":%" PRId64
                             ",\"webhook_retry_ms\":%" PRId64 "}",
                             options->limit, options->window_ms, options->contact_ready_ms, options->search_lag_ms,
                             options->webhook_ms, options->retry_ms));
}

static const struct doing {
    const char *method, *what;
    void (*run)(struct intercom *intercom, struct call *call);
} doings[] = {
    {"POST", "intercom/settings", do_settings},
    {"GET", "intercom/webhook", notifier_show},
    {"POST", "intercom/webhook", notifier_join},
};

bool intercom_control(void *arg, struct call *call, struct str what)
{
    for (size_t i = 0; i < sizeof(doings) / sizeof(*doings); i++)
        if (str_eq_c(what, doings[i].what) && str_eq_c(call->request->method, doings[i].method)) {
            doings[i].run(arg, call);
            return true;
        }
    return intercom_inbox(arg, call, what);
}
