// The signed webhook as a desk: one POST for each message, signed, with an id that is the same on every
// attempt, so that the receiver can tell a repetition (INTERFACE.md, "The signed webhook").
#include "base/json.h"
#include "base/must.h"
#include "desk/desk.h"
#include "model/webhook_signature.h"

enum { USUAL_BODY = 700 }; // bytes, but for the text

static struct str body_of(const struct delivery *attempt)
{
    const struct message *message = attempt->message;
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    buf_reserve(&out, USUAL_BODY + message->text.n); // rarely made larger
    struct json json = {.out = &out};
    json_open(&json, '{');
    json_key_id(&json, "id", message->id);
    json_key_str(&json, "account", attempt->account->name);
    json_key_str(&json, "source", attempt->source->name);
    json_key_str(&json, "platform", attempt->source->platform);
    json_key_str(&json, "direction", str_of(direction_name(message->direction)));
    json_key_str(&json, "conversation", message->conversation);
    json_key(&json, "sender");
    json_open(&json, '{');
    json_key_str(&json, "id", message->sender_id);
    json_key_str(&json, "name", message->sender_name);
    json_close(&json, '}');
    json_key_str(&json, "text", message->text.p ? message->text : STR(""));
    json_key(&json, "attachments");
    json_raw(&json, message->attachments.n ? message->attachments : STR("[]"));
    json_key_time(&json, "sent_at", message->sent_at_us);
    json_key_time(&json, "received_at", message->received_at_us);
    json_key_bool(&json, "late", message->late);
    json_close(&json, '}');
    buf_must(&out); // the message was in memory a moment ago
    struct str body = arena_str(attempt->arena, buf_str(&out));
    buf_done(&out);
    return body;
}

static void make_request(const struct delivery *attempt, struct http_request *out)
{
    struct arena *arena = attempt->arena;
    int64_t now_s = attempt->now_us / 1000000;
    char digits[STR_I64_SIZE], now_digits[STR_I64_SIZE];
    struct str number = str_of_i64(attempt->message->id, digits);
    struct str id = ARENA_JOIN(arena, STR("msg_"), attempt->store_id, STR("_"), number);
    struct str body = body_of(attempt);
    struct http_header *headers = arena_alloc(arena, 4 * sizeof *headers);
    headers[0] = (struct http_header){STR("content-type"), STR("application/json")};
    headers[1] = (struct http_header){STR("webhook-id"), id};
    headers[2] = (struct http_header){STR("webhook-timestamp"), arena_str(arena, str_of_i64(now_s, now_digits))};
    headers[3] = (struct http_header){STR("webhook-signature"),
                                      webhook_sign(arena, attempt->desk->secret, id, now_s, body)};
    *out = (struct http_request){
        .method = STR("POST"), .target = attempt->desk->url, .headers = headers, .header_count = 4, .body = body};
}

// At one fixed address these say that the receiver has moved or is set up wrongly, not that this message is.
static bool is_wrong_address(int status)
{
    return status == 404 || status == 405 || status == 410;
}

static struct verdict webhook_verdict(const struct http_response *response, bool writes, int64_t now_us,
                                      struct arena *arena)
{
    struct verdict verdict = verdict_of(response, writes, now_us, arena);
    if (response->failure == HTTP_ANSWERED && is_wrong_address(response->status)) {
        verdict.kind = VERDICT_DESK_DOWN;
        verdict.alarm = true;
    }
    return verdict;
}

static void webhook_step(struct delivery *attempt, const struct http_response *last, struct delivery_step *out)
{
    *out = (struct delivery_step){0};
    if (last) {
        out->kind = DELIVERY_END;
        out->verdict = webhook_verdict(last, true, attempt->now_us, attempt->arena);
    } else {
        out->kind = DELIVERY_SEND;
        out->writes = true;
        make_request(attempt, &out->request);
    }
}

static const char *webhook_check(const struct desk *desk, struct arena *arena)
{
    if (!str_starts(desk->url, STR("https://")) && !str_starts(desk->url, STR("http://")))
        return "a webhook desk needs a url that begins with https:// or http://";
    if (!desk->secret.p)
        return "a webhook desk needs a secret (whsec_...)";
    const char *trouble = webhook_secret_trouble(desk->secret);
    return trouble ? arena_printf(arena, "secret: %s", trouble).p : NULL;
}

static bool probe_request(const struct desk *desk, struct http_request *out)
{
    if (desk->probe == DESK_PROBE_NONE)
        return false;
    *out = (struct http_request){.method = STR("HEAD"), .target = desk->url};
    return true;
}

static bool webhook_probe(const struct account *account, const struct source *source, struct arena *arena,
                          struct http_request *out)
{
    (void)source, (void)arena;
    return probe_request(&account->desk, out);
}

// 405, and 404 of frameworks that route by method, are about HEAD itself: they say nothing of what becomes of a POST.
static bool knows_no_head(int status)
{
    return status == 404 || status == 405;
}

// Any status outside the desk_down rows means well: whoever answers can take a message.
static struct verdict webhook_probe_verdict(const struct http_response *response, int64_t now_us, struct arena *arena)
{
    struct verdict verdict = webhook_verdict(response, false, now_us, arena);
    if (response->failure != HTTP_ANSWERED)
        return verdict;
    if (knows_no_head(response->status))
        return (struct verdict){.kind = VERDICT_REJECTED, .status = response->status, .error = verdict.error};
    if (verdict.kind != VERDICT_DESK_DOWN)
        return (struct verdict){.kind = VERDICT_DELIVERED, .status = response->status};
    return verdict;
}

static bool webhook_ask(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last,
                        struct http_request *out_request)
{
    struct str url = http_shown_url(inquiry->arena, desk->url);
    if (!last)
        inquiry_text(inquiry, "url", url);
    if (!last && probe_request(desk, out_request))
        return true;
    if (!last) {
        inquiry_end(inquiry, true, "Nothing is asked of %.*s, which has probe: none; the next message tells.",
                    STR_ARG(url));
        return false;
    }
    struct verdict verdict = webhook_probe_verdict(last, inquiry->now_us, inquiry->arena);
    if (last->status)
        inquiry_number(inquiry, "status", last->status);
    if (verdict.kind == VERDICT_DELIVERED)
        inquiry_end(inquiry, true, "%.*s answers (HTTP %d to HEAD).", STR_ARG(url), last->status);
    else if (verdict.kind == VERDICT_REJECTED)
        inquiry_end(inquiry, true, "%.*s answers, but knows no HEAD (HTTP %d): the next message tells.", STR_ARG(url),
                    last->status);
    else if (last->failure == HTTP_ANSWERED)
        inquiry_end(inquiry, false, "%.*s answers as one that takes no messages (%.*s).", STR_ARG(url),
                    STR_ARG(verdict.error));
    else
        inquiry_end(inquiry, false, "%.*s cannot be reached: %.*s.", STR_ARG(url), STR_ARG(verdict.error));
    return false;
}

const struct desk_connector desk_webhook = {
    .receiver =
        {
            .name = "webhook",
            .has_key = true,
            .step = webhook_step,
            .probe = webhook_probe,
            .probe_verdict = webhook_probe_verdict,
        },
    .check = webhook_check,
    .ask = webhook_ask,
};
