// What Telegram says of a bot when a person asks: getMe, then getWebhookInfo. Nothing is changed by it.
#include "platform/telegram.h"

#include "model/verdict.h"

#include <inttypes.h>

enum phase { START, ME, WEBHOOK };

// One call of ask().
struct asking {
    const struct source *source;
    struct str public_url;
    struct inquiry *inquiry;
    struct http_request *out;
};

static bool send(struct asking *a, enum phase phase, const char *method)
{
    a->inquiry->phase = phase;
    *a->out = telegram_call(a->source, method, STR("{}"), a->inquiry->arena);
    return true;
}

static bool end_failed(struct asking *a, const struct http_response *last, const char *method)
{
    struct verdict verdict = telegram_verdict(last, false, a->inquiry->now_us, a->inquiry->arena);
    struct str words = verdict.error.n ? verdict.error : STR("an answer that cannot be read");
    bool answered = last->failure == HTTP_ANSWERED;
    if (answered && (last->status == 401 || last->status == 404))
        inquiry_end(a->inquiry, false,
                    "Telegram does not know this bot (%.*s): the token is wrong or was revoked, or api_url is not a "
                    "Bot API server.",
                    STR_ARG(words));
    else if (answered)
        inquiry_end(a->inquiry, false, "Telegram answers %s with %.*s.", method, STR_ARG(words));
    else
        inquiry_end(a->inquiry, false, "Telegram cannot be reached: %.*s.", STR_ARG(words));
    return false;
}

static bool on_me(struct asking *a, yyjson_val *me)
{
    struct inquiry *inquiry = a->inquiry;
    struct str name = json_get_str(me, "username");
    inquiry->name = name.n ? arena_printf(inquiry->arena, "@%.*s", STR_ARG(name)) : STR("the bot");
    inquiry_text(inquiry, "bot", inquiry->name);
    inquiry_text(inquiry, "name", json_get_str(me, "first_name"));
    inquiry_text(inquiry, "bot_id", telegram_bot_id(a->source->token));
    inquiry_bool(inquiry, "reads_all_group_messages",
                 yyjson_get_bool(yyjson_obj_get(me, "can_read_all_group_messages")));
    return send(a, WEBHOOK, "getWebhookInfo");
}

// What getWebhookInfo told.
struct webhook {
    struct str url, shown; // as Telegram has it, and for people
    struct str own;        // where it should point; STR_NONE: without public_url
    int64_t pending;
    struct str error;
    int64_t error_s;
};

static void end_polling(struct asking *a, const struct webhook *webhook)
{
    bool ours = telegram_is_own_url(a->source, a->public_url, webhook->url, a->inquiry->arena);
    if (!webhook->url.n)
        inquiry_end(a->inquiry, true, "Telegram knows %.*s, which is polled; %" PRId64 " updates wait there.",
                    STR_ARG(a->inquiry->name), webhook->pending);
    else if (ours || a->source->take_over)
        inquiry_end(a->inquiry, true,
                    "Telegram knows %.*s; its webhook at %.*s is removed as soon as the source is connected, and it is "
                    "polled.",
                    STR_ARG(a->inquiry->name), STR_ARG(webhook->shown));
    else
        inquiry_end(a->inquiry, false,
                    "%.*s has a webhook elsewhere, at %.*s, and cannot be polled; say take_over: true to take it from "
                    "there, or remove it there.",
                    STR_ARG(a->inquiry->name), STR_ARG(webhook->shown));
}

static void end_webhook(struct asking *a, const struct webhook *webhook)
{
    struct str name = a->inquiry->name;
    bool ours = telegram_is_own_url(a->source, a->public_url, webhook->url, a->inquiry->arena);
    int64_t now_s = a->inquiry->now_us / 1000000;
    bool fails = webhook->pending > 0 && webhook->error.n && webhook->error_s > now_s - TELEGRAM_ERROR_FRESH_S;
    if (!webhook->own.n)
        inquiry_end(a->inquiry, false, "%.*s cannot have a webhook: mode: webhook needs public_url.", STR_ARG(name));
    else if (!webhook->url.n)
        inquiry_end(
            a->inquiry, false,
            "Telegram knows %.*s, but has no webhook for it; it is registered at %.*s as soon as Telegram takes "
            "it.",
            STR_ARG(name), STR_ARG(webhook->own));
    else if (!ours && !a->source->take_over)
        inquiry_end(a->inquiry, false,
                    "%.*s has a webhook elsewhere, at %.*s; say take_over: true to take it from there, or remove it "
                    "there.",
                    STR_ARG(name), STR_ARG(webhook->shown));
    else if (!str_eq(webhook->url, webhook->own))
        inquiry_end(a->inquiry, false, "The webhook of %.*s still points to %.*s, not to %.*s.", STR_ARG(name),
                    STR_ARG(webhook->shown), STR_ARG(webhook->own));
    else if (fails)
        inquiry_end(a->inquiry, false, "Telegram cannot deliver to %.*s: %.*s; %" PRId64 " updates wait there.",
                    STR_ARG(webhook->shown), STR_ARG(webhook->error), webhook->pending);
    else
        inquiry_end(a->inquiry, true,
                    "Telegram knows %.*s, and its webhook points here, to %.*s; %" PRId64 " updates wait there.",
                    STR_ARG(name), STR_ARG(webhook->shown), webhook->pending);
}

static bool on_webhook(struct asking *a, yyjson_val *info)
{
    struct inquiry *inquiry = a->inquiry;
    struct webhook webhook = {.url = json_get_str(info, "url"), .error = json_get_str(info, "last_error_message")};
    bool polls = telegram_wants_polling(a->source, a->public_url);
    json_get_int(info, "pending_update_count", &webhook.pending);
    json_get_int(info, "last_error_date", &webhook.error_s);
    if (webhook.error_s < 0 || webhook.error_s > INT64_C(1) << 40)
        webhook.error_s = 0;
    webhook.shown = telegram_shown_url(a->source, webhook.url, inquiry->arena);
    if (a->public_url.n)
        webhook.own = source_hook_url(a->source, a->public_url, inquiry->arena);
    inquiry_text(inquiry, "mode", polls ? STR("polling") : STR("webhook"));
    inquiry_text(inquiry, "webhook", webhook.url.n ? webhook.shown : STR_NONE);
    inquiry_number(inquiry, "pending_updates", webhook.pending);
    inquiry_text(inquiry, "last_error", webhook.error.n ? webhook.error : STR_NONE);
    inquiry_time(inquiry, "last_error_at", webhook.error_s * 1000000);
    if (polls)
        end_polling(a, &webhook);
    else
        end_webhook(a, &webhook);
    return false;
}

static bool take_answer(struct asking *a, const struct http_response *last)
{
    bool (*take)(struct asking * a, yyjson_val * result) = a->inquiry->phase == ME ? on_me : on_webhook;
    const char *method = a->inquiry->phase == ME ? "getMe" : "getWebhookInfo";
    bool good = last->failure == HTTP_ANSWERED && last->status >= 200 && last->status < 300;
    yyjson_doc *doc = good ? json_read(last->body) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc), *result = yyjson_obj_get(root, "result");
    bool more = yyjson_get_bool(yyjson_obj_get(root, "ok")) && yyjson_is_obj(result) ? take(a, result)
                                                                                     : end_failed(a, last, method);
    yyjson_doc_free(doc);
    return more;
}

bool telegram_ask(const struct source *source, struct str public_url, struct inquiry *inquiry,
                  const struct http_response *last, struct http_request *out_request)
{
    struct asking a = {source, public_url, inquiry, out_request};
    return last ? take_answer(&a, last) : send(&a, ME, "getMe");
}
