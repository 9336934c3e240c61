// A reply to its chat: one sendMessage, and once more where Telegram says where the chat is now, or that it does not like
// the formatting. There is no idempotency key and nothing to look a message up by: what went without an answer is in doubt.
//
// Only what Telegram itself says counts for one chat: an answer that is not of its form (a proxy's 403) is about all.
#include "platform/telegram.h"

#include <inttypes.h>
#include <string.h>

enum {
    PER_MINUTE = 1800, // "about 30 messages per second" over all chats (bots FAQ)
    PACE_US = 1000000, // "more than one message per second" in one chat ends in 429 (bots FAQ), short bursts apart
    PACE_BURST = 4,
    WAIT_MAX_S = 3600,
    TOKEN_CHARACTERS = 20, // behind the colon: surely more than any word
};

// What is remembered from one request of an attempt to the next.
struct progress {
    struct str address; // the thread that is written to
    bool bare;          // without entities
};

// Requests ------------------------------------------------------------------------------------------------

// "<chat>", "<chat>:<topic>", "<chat>:direct:<topic>", "<chat>:business:<connection>": as telegram.c makes them.
static bool write_address(struct json *json, struct str address)
{
    static const struct str business = STR("business:"), direct = STR("direct:");
    size_t colon = str_index(address, ':', 0);
    struct str rest = str_sub(address, colon + 1, address.n);
    int64_t chat, topic;
    if (!str_to_i64(str_sub(address, 0, colon), &chat))
        return false;
    json_key_int(json, "chat_id", chat);
    if (str_starts(rest, business))
        json_key_str(json, "business_connection_id", str_sub(rest, business.n, rest.n));
    else if (str_starts(rest, direct) && str_to_i64(str_sub(rest, direct.n, rest.n), &topic))
        json_key_int(json, "direct_messages_topic_id", topic);
    else if (str_to_i64(rest, &topic))
        json_key_int(json, "message_thread_id", topic);
    else
        return colon == address.n;
    return true;
}

static void end(struct delivery_step *out, struct verdict verdict)
{
    *out = (struct delivery_step){.kind = DELIVERY_END, .verdict = verdict};
}

static void send(struct delivery *delivery, struct delivery_step *out)
{
    const struct progress *progress = delivery->state;
    const struct message *message = delivery->message;
    struct buf body;
    buf_init(&body, SIZE_MAX / 2);
    struct json json = {.out = &body};
    json_open(&json, '{');
    bool addressed = write_address(&json, progress->address);
    json_key_str(&json, "text", message->text.p ? message->text : STR(""));
    if (message->format.n && !progress->bare) {
        json_key(&json, "entities");
        json_raw(&json, message->format);
    }
    json_close(&json, '}');
    buf_must(&body); // the message was in memory a moment ago
    if (addressed)
        *out = (struct delivery_step){
            .kind = DELIVERY_SEND,
            .writes = true,
            .request = telegram_call(delivery->source, "sendMessage", arena_str(delivery->arena, buf_str(&body)),
                                     delivery->arena),
        };
    else
        end(out, (struct verdict){.kind = VERDICT_REJECTED,
                                  .of_chat = true,
                                  .error = STR("this conversation belongs to no chat that the bot could write to")});
    buf_done(&body);
}

// Answers -------------------------------------------------------------------------------------------------

// A refusal in Telegram's words, and in those for an agent
static const struct refusal {
    int status;
    const char *says, *words;
} refusals[] = {
    {403, "blocked by the user", "the customer has blocked the bot"},
    {403, "user is deactivated", "the account of the customer was deleted"},
    {403, "kicked", "the bot was removed from the group"},
    {403, "not a member", "the bot is not a member of the group"},
    {403, "was deleted", "the group was deleted"},
    {403, "can't initiate", "the customer has not started the bot"},
    {403, "to bots", "the chat is that of another bot, and bots cannot write to each other"},
    {400, "chat not found", "the chat was not found"},
    {400, "thread not found", "the topic was not found"},
    {400, "topic_closed", "the topic is closed"},
    {400, "topic_deleted", "the topic was deleted"},
    {400, "upgraded to a supergroup", "the group has moved, and Telegram does not say where to"},
    {400, "not enough rights", "the bot may not write in this chat"},
    {400, "no rights to send", "the bot may not write in this chat"},
    {400, "administrator rights", "the bot may not write in this chat"},
    {400, "business_connection", "the business account does not let the bot write in its name any more"},
    {400, "business connection", "the business account does not let the bot write in its name any more"},
};

struct answer {
    struct delivery *delivery;
    const struct http_response *response;
    yyjson_val *root; // NULL when it is not Telegram's
    const char *says; // its description
    struct verdict verdict;
};

static const struct refusal *refusal_of(const struct answer *a)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (refusals[i].status == a->response->status && strcasestr(a->says, refusals[i].says))
            return &refusals[i];
    return NULL;
}

static yyjson_val *parameter(const struct answer *a, const char *name)
{
    return yyjson_obj_get(yyjson_obj_get(a->root, "parameters"), name);
}

// The server may say the address that it was asked for, and the token is in it.
static bool may_hold_token(struct str words)
{
    size_t run = 0; // characters of a token behind "<digit>:"
    for (size_t i = 1; i < words.n; i++) {
        char c = words.p[i];
        bool is_of_token = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
                           c == '-';
        if (c == ':' && words.p[i - 1] >= '0' && words.p[i - 1] <= '9')
            run = 1;
        else
            run = run && is_of_token ? run + 1 : 0;
        if (run > TOKEN_CHARACTERS)
            return true;
    }
    return false;
}

static struct verdict safe(struct verdict verdict, struct arena *arena)
{
    if (may_hold_token(verdict.error))
        verdict.error = verdict.status ? arena_printf(arena, "HTTP %d", verdict.status) : STR("no answer");
    return verdict;
}

// What is wrong with the bot as a whole.
static void judge_bot(struct verdict *verdict, struct arena *arena)
{
    if (verdict->status != 401 && verdict->status != 404)
        return;
    verdict->kind = VERDICT_DESK_DOWN;
    verdict->alarm = true;
    verdict->error = arena_printf(
        arena,
        "Telegram does not know this bot (%.*s): the token is wrong or was revoked, or api_url "
        "is not a Bot API server",
        STR_ARG(verdict->error));
}

// 429 is of this chat; of the bot, when several chats get it.
static void judge_limited(struct answer *a)
{
    struct verdict *verdict = &a->verdict;
    int64_t now_us = a->delivery->now_us, wait_s = yyjson_get_sint(parameter(a, "retry_after"));
    if (wait_s <= 0 && verdict->until_us > now_us) // the header said it
        wait_s = (verdict->until_us - now_us + 999999) / 1000000;
    if (wait_s <= 0)
        wait_s = 1;
    verdict->kind = VERDICT_WAIT;
    verdict->limited = true;
    verdict->until_us = now_us + (wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S) * 1000000;
}

static void judge_refusal(struct answer *a)
{
    const struct refusal *refusal = refusal_of(a);
    a->verdict.kind = VERDICT_REJECTED;
    a->verdict.alarm = false;
    a->verdict.until_us = 0;
    a->verdict.of_chat = refusal != NULL;
    if (refusal)
        a->verdict.error = str_of(refusal->words);
    else if (a->response->status == 403)
        a->verdict.error = arena_printf(a->delivery->arena, "Telegram does not let the bot write in this chat (%.*s)",
                                        STR_ARG(a->verdict.error));
}

static void judge_taken(struct answer *a)
{
    int64_t id;
    if (!yyjson_get_bool(yyjson_obj_get(a->root, "ok")))
        a->verdict = verdict_unreadable(a->response, true, STR("Telegram's answer does not say what became of it"));
    else if (json_get_int(yyjson_obj_get(a->root, "result"), "message_id", &id))
        a->verdict.desk_ref = arena_printf(a->delivery->arena, "%" PRId64, id);
}

// The group became a supergroup: once, since one of those does not move again.
static bool follow(struct answer *a)
{
    struct delivery *delivery = a->delivery;
    struct progress *progress = delivery->state;
    int64_t chat = yyjson_get_sint(parameter(a, "migrate_to_chat_id"));
    if (a->response->status != 400 || !chat || delivery->moved_to.n)
        return false;
    struct str rest = str_sub(progress->address, str_index(progress->address, ':', 0), progress->address.n);
    delivery->moved_to = arena_printf(delivery->arena, "%" PRId64 "%.*s", chat, STR_ARG(rest));
    progress->address = delivery->moved_to;
    return true;
}

// Words without their formatting are better than none.
static bool bare(struct answer *a)
{
    struct progress *progress = a->delivery->state;
    if (a->response->status != 400 || progress->bare || !a->delivery->message->format.n ||
        !strcasestr(a->says, "entit"))
        return false;
    progress->bare = true;
    return true;
}

static void judge(struct answer *a)
{
    int status = a->response->status;
    if (status >= 200 && status < 300)
        judge_taken(a);
    else if (a->root && status == 429)
        judge_limited(a);
    else if (a->root && (status == 400 || status == 403))
        judge_refusal(a);
    else
        judge_bot(&a->verdict, a->delivery->arena);
}

static void take_answer(struct delivery *delivery, const struct http_response *last, struct delivery_step *out)
{
    struct answer a = {.delivery = delivery, .response = last, .says = ""};
    a.verdict = safe(verdict_of(last, true, delivery->now_us, delivery->arena), delivery->arena);
    if (last->failure != HTTP_ANSWERED) {
        end(out, a.verdict);
        return;
    }
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (yyjson_is_bool(yyjson_obj_get(root, "ok"))) {
        const char *says = yyjson_get_str(yyjson_obj_get(root, "description"));
        a.root = root;
        a.says = says ? says : "";
    }
    if (follow(&a) || bare(&a)) {
        send(delivery, out);
    } else {
        judge(&a);
        end(out, a.verdict);
    }
    yyjson_doc_free(doc);
}

// The receiver --------------------------------------------------------------------------------------------

static void telegram_step(struct delivery *delivery, const struct http_response *last, struct delivery_step *out)
{
    if (last) {
        take_answer(delivery, last, out);
        return;
    }
    struct progress *progress = arena_of(delivery->arena, struct progress);
    progress->address = delivery->message->address.n ? delivery->message->address : delivery->message->conversation;
    delivery->state = progress;
    send(delivery, out);
}

static bool telegram_probe(const struct account *account, const struct source *source, struct arena *arena,
                           struct http_request *out)
{
    (void)account;
    *out = telegram_call(source, "getMe", STR("{}"), arena);
    return true;
}

static struct verdict telegram_probe_verdict(const struct http_response *response, int64_t now_us, struct arena *arena)
{
    struct verdict verdict = safe(verdict_of(response, false, now_us, arena), arena);
    if (verdict.kind != VERDICT_DELIVERED) {
        judge_bot(&verdict, arena);
        return verdict;
    }
    yyjson_doc *doc = json_read(response->body);
    if (!yyjson_get_bool(yyjson_obj_get(yyjson_doc_get_root(doc), "ok")))
        verdict = verdict_unreadable(response, false, STR("not an answer of Telegram's"));
    yyjson_doc_free(doc);
    return verdict;
}

const struct receiver telegram_receiver = {
    .name = "telegram",
    .rate_per_min = PER_MINUTE,
    .pace_us = PACE_US,
    .pace_burst = PACE_BURST,
    .step = telegram_step,
    .probe = telegram_probe,
    .probe_verdict = telegram_probe_verdict,
};
