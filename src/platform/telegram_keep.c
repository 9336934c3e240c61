// What keeps a Telegram bot connected: its webhook registered, or long polling.
//
//   webhook   NEW -secret made, learned-> NEW -getWebhookInfo-> FIRST_LOOK -setWebhook-> REGISTERING
//             -url learned-> SETTLED -getWebhookInfo, every ten minutes-> LATER_LOOK -> SETTLED | REGISTERING
//   polling   NEW -getWebhookInfo-> FIRST_LOOK [-deleteWebhook-> REMOVING] -> POLL -getUpdates-> POLLING
//             -batch durable-> STORED [-answerCallbackQuery-> ANSWERING, for each button pressed] -> POLL, this once with the
//             offset that confirms the batch
//
// A webhook that somebody else registered is respected: the source is refused until a person decides
// (`take_over`). Everything else that goes wrong is tried again.
//
// The offset goes with the one call after a stored batch and never again. Telegram keeps no offset of its own
// for us to be told; ids start anew after a quiet week, and an old offset would then throw away what came
// since. Without one it gives what is not confirmed, at worst the last batch again, which the store knows.
// For the same reason a confirming call that fails is not repeated with its offset.
#include "platform/telegram.h"

#include "base/hash.h"
#include "base/must.h"
#include "model/verdict.h"

#include <inttypes.h>

enum phase { NEW, FIRST_LOOK, REGISTERING, SETTLED, LATER_LOOK, REMOVING, POLL, POLLING, STORED, ANSWERING };

enum {
    CALL_MS = 20000,
    PRESS_MS = 5000,
    POLL_S = 50,
    POLL_MS = (POLL_S + 15) * 1000,
    BATCH = 100,
    PAUSE_FIRST_S = 1,
    PAUSE_CAP_S = 60,
    REFUSED_S = 60,
    LOOK_S = 600,
    EMPTY_REST_MS = 100, // against a server that answers an empty list at once
};

// update_id has at most 52 significant bits; what is larger or not positive cannot be confirmed.
static const int64_t update_id_max = (INT64_C(1) << 53) - 1;

// One call of keep().
struct keeping {
    struct source_upkeep *upkeep;
    const struct source *source;
    int64_t now_us;
    struct arena *arena;
    struct source_step *out;
};

// Telegram's answer, opened. `result` is NULL unless it said ok.
struct answer {
    yyjson_doc *doc;
    yyjson_val *result;
};

bool telegram_wants_polling(const struct source *source, struct str public_url)
{
    if (source->mode == SOURCE_DEFAULT)
        return !public_url.n;
    return source->mode == SOURCE_POLLING;
}

static bool wants_polling(const struct keeping *k)
{
    return telegram_wants_polling(k->source, k->upkeep->public_url);
}

static struct str own_secret(const struct keeping *k)
{
    struct str configured = source_secret(k->source);
    return configured.n ? configured : k->upkeep->made_secret;
}

static struct str own_url(const struct keeping *k)
{
    return source_hook_url(k->source, k->upkeep->public_url, k->arena);
}

bool telegram_is_own_url(const struct source *source, struct str public_url, struct str url, struct arena *arena)
{
    if (str_eq(url, source->registered_url))
        return true;
    return public_url.n && str_eq(url, source_hook_url(source, public_url, arena));
}

static bool is_ours(const struct keeping *k, struct str url)
{
    return str_eq(url, k->upkeep->registered_url) ||
           telegram_is_own_url(k->source, k->upkeep->public_url, url, k->arena);
}

struct str telegram_shown_url(const struct source *source, struct str url, struct arena *arena)
{
    struct str shown = http_shown_url(arena, url);
    for (size_t i = 0; source->token.n && i + source->token.n <= shown.n; i++) {
        if (!str_eq(str_sub(shown, i, i + source->token.n), source->token))
            continue;
        size_t scheme = str_starts(shown, STR("https://")) ? 8 : str_starts(shown, STR("http://")) ? 7 : 0;
        return arena_printf(arena, "%.*s/...", STR_ARG(str_sub(shown, 0, str_index(shown, '/', scheme))));
    }
    return shown;
}

static struct str shown_url(const struct keeping *k, struct str url)
{
    return telegram_shown_url(k->source, url, k->arena);
}

// Steps ---------------------------------------------------------------------------------------------------

static void send(struct keeping *k, enum phase phase, const char *method, struct str body, int64_t timeout_ms)
{
    k->upkeep->phase = phase;
    k->out->kind = SOURCE_SEND;
    k->out->timeout_ms = timeout_ms;
    k->out->request = telegram_call(k->source, method, body, k->arena);
}

static void rest(struct keeping *k, enum phase phase, int64_t until_us)
{
    k->upkeep->phase = phase;
    *k->out = (struct source_step){.kind = SOURCE_REST, .until_us = until_us, .healthy = true};
}

static void refuse(struct keeping *k, struct str why)
{
    k->upkeep->phase = NEW;
    *k->out = (struct source_step){
        .kind = SOURCE_REFUSE, .until_us = k->now_us + REFUSED_S * INT64_C(1000000), .why = why};
}

static void learn(struct keeping *k, enum phase phase)
{
    k->upkeep->phase = phase;
    *k->out = (struct source_step){.kind = SOURCE_LEARN};
}

// Spread by bot, so that many which fail together do not come back together.
static int64_t pause_us(const struct keeping *k)
{
    int64_t pause_s = PAUSE_FIRST_S;
    for (int i = 1; i < k->upkeep->failures && pause_s < PAUSE_CAP_S; i++)
        pause_s *= 2;
    if (pause_s > PAUSE_CAP_S)
        pause_s = PAUSE_CAP_S;
    int64_t spread = (int64_t)(hash_str(k->source->token) % 250) * 1000;
    return pause_s * (1000000 - spread);
}

static void trouble(struct keeping *k, enum phase phase, int64_t until_us, struct str why)
{
    k->upkeep->failures++;
    k->upkeep->phase = phase;
    int64_t soonest_us = k->now_us + pause_us(k);
    *k->out = (struct source_step){
        .kind = SOURCE_REST, .until_us = until_us > soonest_us ? until_us : soonest_us, .why = why};
}

// Answers -------------------------------------------------------------------------------------------------

static bool open_answer(const struct http_response *last, struct answer *out)
{
    *out = (struct answer){0};
    if (!last || last->failure != HTTP_ANSWERED || last->status < 200 || last->status > 299)
        return false;
    out->doc = json_read(last->body);
    yyjson_val *root = yyjson_doc_get_root(out->doc);
    if (yyjson_get_bool(yyjson_obj_get(root, "ok")))
        out->result = yyjson_obj_get(root, "result");
    return out->result != NULL;
}

// 429 says in its body too how long to wait.
static int64_t asked_to_wait(const struct keeping *k, const struct http_response *last, int64_t by_header_us)
{
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *parameters = yyjson_obj_get(yyjson_doc_get_root(doc), "parameters");
    int64_t seconds = 0;
    bool said = json_get_int(parameters, "retry_after", &seconds);
    yyjson_doc_free(doc);
    if (!said || seconds <= 0)
        return by_header_us;
    int64_t until_us = k->now_us + (seconds > 3600 ? 3600 : seconds) * 1000000;
    return until_us > by_header_us ? until_us : by_header_us;
}

// The call did not end well: a token that Telegram does not know needs a person, all else is tried again.
static void failed(struct keeping *k, enum phase phase, const char *method, const struct http_response *last)
{
    if (!last) { // the runner came without an answer: as if nothing had been sent
        trouble(k, phase, 0, STR("the request was called off"));
        return;
    }
    struct verdict verdict = telegram_verdict(last, false, k->now_us, k->arena);
    struct str words = verdict.error.p ? verdict.error : STR("an answer that cannot be read");
    if (last->failure == HTTP_ANSWERED && (last->status == 401 || last->status == 404)) {
        refuse(k, arena_printf(k->arena,
                               "Telegram does not know this bot (%.*s): the token is wrong or was revoked, or api_url "
                               "is not a Bot API server",
                               STR_ARG(words)));
        return;
    }
    int64_t until_us = verdict.until_us;
    if (last->failure == HTTP_ANSWERED && last->status == 429)
        until_us = asked_to_wait(k, last, until_us);
    trouble(k, phase, until_us, arena_printf(k->arena, "Telegram, %s: %.*s", method, STR_ARG(words)));
}

// Webhook -------------------------------------------------------------------------------------------------

static void set_webhook(struct keeping *k)
{
    struct buf body;
    buf_init(&body, 16384);
    struct json json = {.out = &body};
    json_open(&json, '{');
    json_key_str(&json, "url", own_url(k));
    json_key_str(&json, "secret_token", own_secret(k));
    // One at a time where one lane holds the whole account: what comes in parallel would be put in some order.
    json_key_int(&json, "max_connections", k->upkeep->order == ORDER_ACCOUNT ? 1 : 40);
    json_key(&json, "allowed_updates");
    json_raw(&json, str_of(telegram_allowed_updates));
    json_close(&json, '}');
    buf_must(&body);
    send(k, REGISTERING, "setWebhook", arena_str(k->arena, buf_str(&body)), CALL_MS);
    buf_done(&body);
}

static void refuse_foreign(struct keeping *k, struct str url)
{
    refuse(k, arena_printf(k->arena,
                           "this bot has a webhook elsewhere, at %.*s; say take_over: true to take the bot from "
                           "there, or remove it there",
                           STR_ARG(shown_url(k, url))));
}

// Registered and ours. Telegram tells how its last deliveries went.
static void report_settled(struct keeping *k, yyjson_val *info)
{
    int64_t pending = 0, at_s = 0, now_s = k->now_us / 1000000;
    struct str words = json_get_str(info, "last_error_message");
    bool told = json_get_int(info, "pending_update_count", &pending) && json_get_int(info, "last_error_date", &at_s);
    rest(k, SETTLED, k->now_us + LOOK_S * INT64_C(1000000) + pause_us(k) * 30);
    if (told && words.n && pending > 0 && at_s > now_s - TELEGRAM_ERROR_FRESH_S &&
        at_s <= now_s + TELEGRAM_ERROR_FRESH_S) {
        k->out->healthy = false;
        k->out->until_us = k->now_us + PAUSE_CAP_S * INT64_C(1000000);
        k->out->why = arena_printf(k->arena, "Telegram cannot deliver here: %.*s (%" PRId64 " waiting)",
                                   STR_ARG(telegram_words(words, k->arena)), pending);
    }
}

static void looked_for_webhook(struct keeping *k, yyjson_val *info, bool first)
{
    struct str url = json_get_str(info, "url");
    bool foreign = url.n && !is_ours(k, url);
    k->upkeep->failures = 0;
    if (foreign && !k->source->take_over)
        refuse_foreign(k, url);
    else if (first || !str_eq(url, own_url(k)))
        set_webhook(k);
    else
        report_settled(k, info);
}

static void registered(struct keeping *k)
{
    struct str url = own_url(k);
    k->upkeep->failures = 0;
    k->upkeep->registered_url = arena_str(&k->upkeep->memory, url);
    if (str_eq(url, k->source->registered_url))
        rest(k, SETTLED, k->now_us);
    else
        learn(k, SETTLED);
}

// 32 bytes of chance as 64 hex digits: within the alphabet that Telegram takes.
static struct str make_secret(struct source_upkeep *upkeep)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = sizeof upkeep->fresh_secret;
    char *text = arena_alloc(&upkeep->memory, 2 * n);
    for (size_t i = 0; i < n; i++) {
        text[2 * i] = digits[upkeep->fresh_secret[i] >> 4];
        text[2 * i + 1] = digits[upkeep->fresh_secret[i] & 15];
    }
    return (struct str){text, 2 * n};
}

// Polling -------------------------------------------------------------------------------------------------

static void poll_updates(struct keeping *k)
{
    // A batch that was too large to be read is asked for in smaller pieces.
    int limit = k->upkeep->failures == 0 ? BATCH : k->upkeep->failures == 1 ? 10 : 1;
    struct str offset = STR("");
    if (k->upkeep->offset)
        offset = arena_printf(k->arena, "\"offset\":%" PRId64 ",", k->upkeep->offset);
    k->upkeep->offset = 0;
    send(k, POLLING, "getUpdates",
         arena_printf(k->arena, "{%.*s\"timeout\":%d,\"limit\":%d,\"allowed_updates\":%s}", STR_ARG(offset), POLL_S,
                      limit, telegram_allowed_updates),
         POLL_MS);
}

static void looked_before_polling(struct keeping *k, yyjson_val *info)
{
    struct str url = json_get_str(info, "url");
    if (!url.n)
        poll_updates(k);
    else if (is_ours(k, url) || k->source->take_over)
        send(k, REMOVING, "deleteWebhook", STR("{}"), CALL_MS); // what waits there stays and is polled
    else
        refuse_foreign(k, url);
}

// What confirms the batch: one more than its highest id. 0 when none of its ids can be confirmed.
static int64_t offset_after(yyjson_val *batch)
{
    int64_t offset = 0, id;
    size_t i, n;
    yyjson_val *update;
    yyjson_arr_foreach(batch, i, n, update)
    {
        if (json_get_int(update, "update_id", &id) && id > 0 && id <= update_id_max && id >= offset)
            offset = id + 1;
    }
    return offset;
}

static void forget_presses(struct keeping *k)
{
    k->upkeep->presses = NULL;
    k->upkeep->press_count = 0;
    arena_done(&k->upkeep->batch);
}

static void remember_press(struct keeping *k, struct str press, size_t most)
{
    struct source_upkeep *upkeep = k->upkeep;
    if (!upkeep->presses)
        upkeep->presses = arena_alloc(&upkeep->batch, most * sizeof *upkeep->presses);
    upkeep->presses[upkeep->press_count++] = arena_str(&upkeep->batch, press);
}

static void polled(struct keeping *k, yyjson_val *batch)
{
    size_t i, n, count = yyjson_arr_size(batch);
    yyjson_val *update;
    struct event *events = arena_alloc(k->arena, (count ? count : 1) * sizeof *events);
    struct str bot_id = telegram_bot_id(k->source->token), press;
    forget_presses(k);
    if (!yyjson_is_arr(batch)) {
        trouble(k, POLL, 0, STR("Telegram, getUpdates: an answer without a list of updates"));
        return;
    }
    k->upkeep->failures = 0;
    k->upkeep->offset = offset_after(batch);
    if (!count) { // tells that all is well
        rest(k, POLL, k->now_us + EMPTY_REST_MS * INT64_C(1000));
        return;
    }
    if (!k->upkeep->offset) { // would come again at once, for ever
        trouble(k, POLL, k->now_us + PAUSE_CAP_S * INT64_C(1000000), STR("Telegram sent updates without ids"));
        return;
    }
    yyjson_arr_foreach(batch, i, n, update)
    {
        telegram_read_anyhow(bot_id, update, k->now_us, k->arena, &events[i], &press);
        if (press.n)
            remember_press(k, press, count);
    }
    k->upkeep->phase = STORED;
    *k->out = (struct source_step){.kind = SOURCE_STORE, .events = events, .event_count = count};
}

struct str telegram_press_answer(struct str press, const char *method, struct arena *arena)
{
    struct buf body;
    buf_init(&body, SIZE_MAX / 2);
    struct json json = {.out = &body};
    json_open(&json, '{');
    if (method)
        json_key_str(&json, "method", str_of(method));
    json_key_str(&json, "callback_query_id", press);
    json_close(&json, '}');
    buf_must(&body);
    struct str text = arena_str(arena, buf_str(&body));
    buf_done(&body);
    return text;
}

// The batch is durable: whoever pressed a button need not wait any longer. The next call for updates confirms.
static void answer_next_press(struct keeping *k)
{
    struct source_upkeep *upkeep = k->upkeep;
    if (!upkeep->press_count) {
        forget_presses(k);
        rest(k, POLL, k->now_us); // tells that all is well
        return;
    }
    struct str press = *upkeep->presses++;
    upkeep->press_count--;
    send(k, ANSWERING, "answerCallbackQuery", telegram_press_answer(press, NULL, k->arena), PRESS_MS);
}

// Whether it was answered matters to nobody but the one who pressed: it is not tried again, and no message waits for it.
// A press that is too old is refused by itself (400); after anything else the others would fare no better.
static void press_answered(struct keeping *k, const struct http_response *last)
{
    bool goes_on = last && last->failure == HTTP_ANSWERED && (last->status == 200 || last->status == 400);
    if (!goes_on)
        k->upkeep->press_count = 0;
    answer_next_press(k);
}

// Two hands on one bot: whoever it is, look at the webhook again before the next poll.
static void conflict(struct keeping *k, const struct http_response *last)
{
    struct str words = telegram_verdict(last, false, k->now_us, k->arena).error;
    trouble(k, NEW, k->now_us + 5 * INT64_C(1000000),
            arena_printf(k->arena, "another program polls this bot, or it has a webhook (%.*s)", STR_ARG(words)));
}

// The machine ---------------------------------------------------------------------------------------------

static void begin(struct keeping *k)
{
    bool polling = wants_polling(k);
    if (!polling && !k->upkeep->public_url.n) {
        refuse(k, STR("mode: webhook needs public_url; set it, or say mode: polling"));
    } else if (!polling && !own_secret(k).n) {
        k->upkeep->made_secret = make_secret(k->upkeep);
        learn(k, NEW);
    } else {
        send(k, FIRST_LOOK, "getWebhookInfo", STR("{}"), CALL_MS);
    }
}

static void answered(struct keeping *k, enum phase phase, yyjson_val *result)
{
    switch (phase) {
    case FIRST_LOOK:
        if (wants_polling(k))
            looked_before_polling(k, result);
        else
            looked_for_webhook(k, result, true);
        break;
    case LATER_LOOK:
        looked_for_webhook(k, result, false);
        break;
    case REGISTERING:
        registered(k);
        break;
    case REMOVING:
        poll_updates(k);
        break;
    case POLLING:
        polled(k, result);
        break;
    case NEW:
    case SETTLED:
    case POLL:
    case STORED:    // send nothing, so nothing is answered
    case ANSWERING: // whatever the answer
        break;
    }
}

// Where to go on when the call of this phase failed.
static const struct call {
    const char *method;
    enum phase again;
} calls[] = {
    [FIRST_LOOK] = {"getWebhookInfo", NEW}, [LATER_LOOK] = {"getWebhookInfo", SETTLED},
    [REGISTERING] = {"setWebhook", NEW},    [REMOVING] = {"deleteWebhook", NEW},
    [POLLING] = {"getUpdates", POLL},
};

static void take_answer(struct keeping *k, enum phase phase, const struct http_response *last)
{
    struct answer answer;
    if (open_answer(last, &answer))
        answered(k, phase, answer.result);
    else if (phase == POLLING && last && last->failure == HTTP_ANSWERED && last->status == 409)
        conflict(k, last);
    else
        failed(k, calls[phase].again, calls[phase].method, last);
    yyjson_doc_free(answer.doc);
}

void telegram_keep(struct source_upkeep *upkeep, const struct http_response *last, int64_t now_us, struct arena *arena,
                   struct source_step *out)
{
    struct keeping k = {upkeep, upkeep->source, now_us, arena, out};
    enum phase phase = (enum phase)upkeep->phase;
    *out = (struct source_step){0};
    switch (phase) {
    case NEW:
        begin(&k);
        break;
    case SETTLED:
        send(&k, LATER_LOOK, "getWebhookInfo", STR("{}"), CALL_MS);
        break;
    case STORED:
        answer_next_press(&k);
        break;
    case ANSWERING:
        press_answered(&k, last);
        break;
    case POLL:
        poll_updates(&k);
        break;
    case FIRST_LOOK:
    case REGISTERING:
    case LATER_LOOK:
    case REMOVING:
    case POLLING:
        take_answer(&k, phase, last);
        break;
    }
}
