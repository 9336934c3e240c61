// A reply to its chat: one request, and once more where Telegram says where the chat is now, that it does not like the formatting,
// or that it does not take the file so. There is no idempotency key and nothing to look a message up by: what was sent without
// an answer is in doubt. (Changing and deleting is telegram_act.c, what a file is sent as is telegram_upload.c.)
//
// Only what Telegram itself says counts for one chat: an answer that is not of its form (a proxy's 403) is about all.
#include "platform/telegram.h"

#include <inttypes.h>
#include <string.h>

enum {
    PER_MINUTE = 1800, // "about 30 messages per second" over all chats (bots FAQ)
    PACE_US = 1000000, // "more than one message per second" in one chat ends in 429 (bots FAQ), short bursts apart
    PACE_BURST = 4,
};

// Addresses -----------------------------------------------------------------------------------------------

bool telegram_address_read(struct str thread, struct telegram_address *out)
{
    static const struct str business = STR("business:"), direct = STR("direct:");
    size_t colon = str_index(thread, ':', 0);
    struct str rest = str_sub(thread, colon + 1, thread.n);
    *out = (struct telegram_address){0};
    if (!str_to_i64(str_sub(thread, 0, colon), &out->chat))
        return false;
    if (str_starts(rest, business))
        out->business = str_sub(rest, business.n, rest.n);
    else if (str_starts(rest, direct) && str_to_i64(str_sub(rest, direct.n, rest.n), &out->topic))
        out->topic_key = "direct_messages_topic_id";
    else if (str_to_i64(rest, &out->topic))
        out->topic_key = "message_thread_id";
    else
        return colon == thread.n;
    return true;
}

static void write_address(struct json *json, const struct telegram_address *address)
{
    json_key_int(json, "chat_id", address->chat);
    if (address->business.p)
        json_key_str(json, "business_connection_id", address->business);
    if (address->topic_key)
        json_key_int(json, address->topic_key, address->topic);
}

// Requests ------------------------------------------------------------------------------------------------

static void end(struct delivery_step *out, struct verdict verdict)
{
    *out = (struct delivery_step){.kind = DELIVERY_END, .verdict = verdict};
}

static struct http_request say(const struct delivery *delivery, const struct telegram_address *address)
{
    const struct telegram_sending *sending = delivery->state;
    const struct message *message = delivery->message;
    struct buf body;
    buf_init(&body, SIZE_MAX / 2);
    struct json json = {.out = &body};
    json_open(&json, '{');
    write_address(&json, address);
    json_key_str(&json, "text", sending->text);
    if (message->format.n && !sending->bare) {
        json_key(&json, "entities");
        json_raw(&json, message->format);
    }
    json_close(&json, '}');
    buf_must(&body); // the message was in memory a moment ago
    struct http_request request = telegram_call(delivery->source, "sendMessage",
                                                arena_str(delivery->arena, buf_str(&body)), delivery->arena);
    buf_done(&body);
    return request;
}

static void send(struct delivery *delivery, struct delivery_step *out)
{
    const struct telegram_sending *sending = delivery->state;
    struct telegram_address address;
    *out = (struct delivery_step){.kind = DELIVERY_SEND, .writes = delivery->message->act == REPLY_SAYS};
    if (!telegram_address_read(sending->address, &address))
        end(out, (struct verdict){.kind = VERDICT_REJECTED,
                                  .of_chat = true,
                                  .error = STR("this conversation belongs to no chat that the bot could write to")});
    else if (delivery->message->act != REPLY_SAYS)
        telegram_act(delivery, &address, out);
    else if (sending->method)
        out->request = telegram_upload(delivery, &address);
    else
        out->request = say(delivery, &address);
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
    struct telegram_answer said;
    struct verdict verdict;
};

static const struct refusal *refusal_of(const struct answer *a)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        if (refusals[i].status == a->response->status && strcasestr(a->said.says, refusals[i].says))
            return &refusals[i];
    return NULL;
}

// 429 is of this chat; of the bot, when several chats get it.
static void judge_limited(struct answer *a)
{
    struct verdict *verdict = &a->verdict;
    verdict->kind = VERDICT_WAIT;
    verdict->limited = true;
    verdict->until_us = telegram_limited_until(&a->said, verdict, a->delivery->now_us);
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

// Its id, which is one of its chat: with the chat where that is not the conversation's own, but the one that it went on in.
static struct str ref_of(const struct delivery *delivery, int64_t id)
{
    const struct telegram_sending *sending = delivery->state;
    const struct message *message = delivery->message;
    struct str chat = str_sub(sending->address, 0, str_index(sending->address, ':', 0));
    struct str own = str_sub(message->conversation, 0, str_index(message->conversation, ':', 0));
    if (str_eq(chat, own))
        return arena_printf(delivery->arena, "%" PRId64, id);
    return arena_printf(delivery->arena, "%.*s:%" PRId64, STR_ARG(chat), id);
}

static void judge_taken(struct answer *a)
{
    int64_t id;
    bool says = a->delivery->message->act == REPLY_SAYS;
    if (!yyjson_get_bool(yyjson_obj_get(a->said.root, "ok")))
        a->verdict = verdict_unreadable(a->response, says, STR("Telegram's answer does not say what became of it"));
    else if (says && json_get_int(yyjson_obj_get(a->said.root, "result"), "message_id", &id))
        a->verdict.desk_ref = ref_of(a->delivery, id);
}

// Once more -----------------------------------------------------------------------------------------------

// The group became a supergroup: once, since one of those does not move again. What was said before stays where it was.
static bool follow(struct answer *a)
{
    struct delivery *delivery = a->delivery;
    struct telegram_sending *sending = delivery->state;
    int64_t chat = yyjson_get_sint(telegram_answer_parameter(&a->said, "migrate_to_chat_id"));
    if (a->response->status != 400 || !chat || delivery->moved_to.n || delivery->message->act != REPLY_SAYS)
        return false;
    struct str rest = str_sub(sending->address, str_index(sending->address, ':', 0), sending->address.n);
    delivery->moved_to = arena_printf(delivery->arena, "%" PRId64 "%.*s", chat, STR_ARG(rest));
    sending->address = delivery->moved_to;
    return true;
}

// Words without their formatting are better than none.
static bool bare(struct answer *a)
{
    struct telegram_sending *sending = a->delivery->state;
    if (a->response->status != 400 || sending->bare || !a->delivery->message->format.n ||
        !strcasestr(a->said.says, "entit"))
        return false;
    sending->bare = true;
    return true;
}

// It is not the chat that refuses: a photo goes as a document, and what Telegram does not take at all as a link.
static bool otherwise(struct answer *a)
{
    struct telegram_sending *sending = a->delivery->state;
    int status = a->response->status;
    bool refused = status == 413 || (status == 400 && a->said.root);
    return sending->method && refused && !refusal_of(a) && telegram_upload_otherwise(a->delivery, status == 413);
}

static bool is_sent_again(struct answer *a)
{
    return follow(a) || bare(a) || otherwise(a) || telegram_act_otherwise(a->delivery, &a->said, a->response->status);
}

static void judge(struct answer *a)
{
    int status = a->response->status;
    if (status >= 200 && status < 300)
        judge_taken(a);
    else if (a->said.root && status == 429)
        judge_limited(a);
    else if (a->said.root && (status == 400 || status == 403))
        judge_refusal(a);
    else
        telegram_judge_bot(&a->verdict, a->delivery->arena);
    if (a->said.root && status == 400)
        telegram_act_judge(a->delivery, &a->said, &a->verdict);
}

static void take_answer(struct delivery *delivery, const struct http_response *last, struct delivery_step *out)
{
    struct answer a = {.delivery = delivery, .response = last};
    a.verdict = telegram_verdict(last, delivery->message->act == REPLY_SAYS, delivery->now_us, delivery->arena);
    if (last->failure != HTTP_ANSWERED) {
        end(out, a.verdict);
        return;
    }
    telegram_answer_read(last, &a.said);
    if (is_sent_again(&a)) {
        send(delivery, out);
    } else {
        judge(&a);
        end(out, a.verdict);
    }
    yyjson_doc_free(a.said.doc);
}

// The receiver --------------------------------------------------------------------------------------------

static void begin(struct delivery *delivery, struct delivery_step *out)
{
    const struct message *message = delivery->message;
    struct telegram_sending *sending = arena_of(delivery->arena, struct telegram_sending);
    struct str why = STR_NONE;
    sending->address = message->address.n ? message->address : message->conversation;
    sending->text = message->text.p ? message->text : STR("");
    delivery->state = sending;
    if (message->act == REPLY_SAYS)
        why = telegram_upload_begin(delivery);
    else if (!message->target_ref.n) { // there is nothing at the customer's
        end(out, (struct verdict){.kind = VERDICT_DELIVERED});
        return;
    } else
        telegram_act_begin(delivery);
    if (why.n)
        end(out, (struct verdict){.kind = VERDICT_REJECTED, .of_chat = true, .error = why});
    else
        send(delivery, out);
}

static void telegram_step(struct delivery *delivery, const struct http_response *last, struct delivery_step *out)
{
    if (last)
        take_answer(delivery, last, out);
    else
        begin(delivery, out);
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
    struct verdict verdict = telegram_verdict(response, false, now_us, arena);
    if (verdict.kind != VERDICT_DELIVERED) {
        telegram_judge_bot(&verdict, arena);
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
