// Webhook delivery, as the real server does it (telegram.md, section 4): queues in strict order, up to max_connections of them at a
// time, the first retry at once, then 2, 4, 8 ... s up to a minute or two, Retry-After obeyed up to an hour, given up after 24 h.
#include "sandbox/telegram.h"

#include "base/clock.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <utlist.h>

enum { RETRY_CAP_S = 60, RETRY_AFTER_CAP_S = 3600, BODY_MAX = 8 << 20 };
static const int64_t give_up_us = INT64_C(24) * 3600 * 1000000;

static void remember_error(struct telegram_bot *bot, const struct http_response *response)
{
    struct arena arena = {0};
    bot->last_error_date = telegram_now();
    if (response->failure == HTTP_ANSWERED)
        own_again(&bot->last_error, arena_printf(&arena, "Wrong response from the webhook: %d %s", response->status,
                                                 http_status_text(response->status)));
    else if (response->failure == HTTP_NOT_CONNECTED)
        own_again(&bot->last_error, STR("Connection refused"));
    else if (response->failure == HTTP_TIMEOUT)
        own_again(&bot->last_error, STR("Read timeout expired"));
    else if (response->failure == HTTP_TLS)
        own_again(&bot->last_error, STR("SSL error"));
    else
        own_again(&bot->last_error, STR("Connection closed by the webhook"));
    arena_done(&arena);
}

// How long the head waits after its nth failure in a row.
static int64_t pause_ms(struct telegram *telegram, int failures, const struct http_response *response)
{
    int64_t asked = 0;
    struct str header = http_header_get(response->headers, response->header_count, "retry-after");
    if (response->failure == HTTP_ANSWERED && str_to_i64(str_trim(header), &asked) && asked >= 0)
        return (asked < RETRY_AFTER_CAP_S ? asked : RETRY_AFTER_CAP_S) * 1000;
    if (failures <= 1)
        return 0;
    int64_t cap_ms = (RETRY_CAP_S + (int64_t)chance_below(&telegram->chance, RETRY_CAP_S)) * 1000;
    int64_t ms = failures > 7 ? cap_ms : INT64_C(1000) << (failures - 1);
    return (int64_t)((double)(ms < cap_ms ? ms : cap_ms) * telegram->options.retry_scale);
}

static void pause_over(void *arg)
{
    struct telegram_queue *queue = arg;
    queue->waiting = false;
    telegram_queue_ready(queue);
}

static void queue_pause(struct telegram_queue *queue, int64_t ms)
{
    if (!queue->timer)
        queue->timer = loop_timer_new(queue->bot->telegram->loop, pause_over, queue);
    queue->waiting = true;
    loop_timer_set(queue->timer, ms);
}

static void failed(struct telegram_queue *queue, struct telegram_update *update, const struct http_response *response)
{
    struct telegram_bot *bot = queue->bot;
    remember_error(bot, response);
    update->last_status = response->status;
    telegram_set_state(update, TELEGRAM_WAITING);
    int64_t ms = pause_ms(bot->telegram, ++queue->failures, response);
    bool more = update->queue_next != NULL;
    queue->sending = NULL;
    if (clock_wall_us(&clock_system) + ms * 1000 <= update->created_us + give_up_us) {
        queue_pause(queue, ms);
        return;
    }
    telegram_settle(update, TELEGRAM_DROPPED); // frees the queue when nothing is left in it
    if (more)
        telegram_queue_ready(queue);
}

static void call_over(void *arg, const struct http_response *response)
{
    (void)arg;
    (void)response;
}

static bool names_method(struct str type, struct str body, struct arena *arena, struct str *out)
{
    if (str_ieq_c(http_media_type(type), "application/x-www-form-urlencoded")) {
        *out = http_query_get(arena, body, "method");
        return out->n > 0;
    }
    yyjson_doc *doc = json_read(body);
    *out = arena_str(arena, json_get_str(yyjson_doc_get_root(doc), "method"));
    yyjson_doc_free(doc);
    return out->n > 0;
}

// By the front door, so that it is refused, noted and hit by faults as any other call.
void telegram_push_call(struct telegram_bot *bot, const struct http_response *answer)
{
    struct arena arena = {0};
    struct str method, type = http_header_get(answer->headers, answer->header_count, "content-type");
    if (answer->body.n && names_method(type, answer->body, &arena, &method)) {
        struct str base = door_url(bot->telegram->door, &arena);
        struct http_header header = {STR("Content-Type"), type.n ? type : STR("application/json")};
        struct http_request request = {
            .method = STR("POST"),
            .target = arena_printf(&arena, "%.*s/bot%.*s/%.*s", STR_ARG(base), STR_ARG(bot->token),
                                   STR_ARG(http_escape(&arena, method))),
            .headers = &header,
            .header_count = 1,
            .body = answer->body,
        };
        http_client_send(bot->telegram->client, &request, bot->telegram->options.webhook_timeout_ms, call_over, NULL);
    }
    arena_done(&arena);
}

static void on_answer(void *arg, const struct http_response *response)
{
    struct telegram_queue *queue = arg;
    struct telegram_bot *bot = queue->bot;
    struct telegram_update *update = queue->sending;
    bool more = queue->updates && !(queue->updates == update && !update->queue_next);
    queue->call = NULL;
    bot->in_flight--;
    if (response->failure == HTTP_CANCELLED)
        return;
    bool good = response->status >= 200 && response->status < 300;
    if (good)
        telegram_push_call(bot, response);
    if (update && good) {
        update->last_status = response->status;
        telegram_settle(update, TELEGRAM_DELIVERED); // frees the queue when nothing is left in it
        if (more)
            telegram_queue_ready(queue);
    } else if (update) {
        failed(queue, update, response);
    } else if (queue->updates) { // settled by polling meanwhile
        telegram_queue_ready(queue);
    } else {
        telegram_queue_free(queue);
    }
    telegram_push(bot);
}

static void send_head(struct telegram_queue *queue)
{
    struct telegram_bot *bot = queue->bot;
    struct telegram_update *update = queue->updates;
    struct http_header headers[] = {{STR("Content-Type"), STR("application/json")},
                                    {STR("Accept-Encoding"), STR("gzip, deflate")},
                                    {STR("X-Telegram-Bot-Api-Secret-Token"), bot->secret}};
    struct buf body;
    buf_init(&body, BODY_MAX);
    telegram_update_write(update, &body);
    struct http_request request = {.method = STR("POST"),
                                   .target = bot->url,
                                   .headers = headers,
                                   .header_count = bot->secret.n > 0 ? 3 : 2,
                                   .body = buf_str(&body)};
    queue->sending = update;
    update->attempts++;
    bot->in_flight++;
    telegram_set_state(update, TELEGRAM_SENDING);
    queue->call = http_client_send(bot->telegram->client, &request, bot->telegram->options.webhook_timeout_ms,
                                   on_answer, queue);
    buf_done(&body);
}

void telegram_push(struct telegram_bot *bot)
{
    while (bot->url.p && bot->ready && bot->in_flight < bot->max_connections) {
        struct telegram_queue *queue = bot->ready;
        DL_DELETE2(bot->ready, queue, ready_prev, ready_next);
        queue->ready = false;
        send_head(queue);
    }
}

void telegram_queue_ready(struct telegram_queue *queue)
{
    struct telegram_bot *bot = queue->bot;
    if (!queue->ready && !queue->waiting && !queue->call && queue->updates) {
        queue->ready = true;
        DL_APPEND2(bot->ready, queue, ready_prev, ready_next);
    }
    telegram_push(bot);
}

void telegram_push_afresh(struct telegram_bot *bot)
{
    for (struct telegram_queue *queue = bot->queues; queue; queue = queue->hh.next) {
        queue->failures = 0;
        if (queue->waiting) {
            loop_timer_clear(queue->timer);
            queue->waiting = false;
        }
        if (!queue->ready && !queue->call && queue->updates) {
            queue->ready = true;
            DL_APPEND2(bot->ready, queue, ready_prev, ready_next);
        }
    }
    telegram_push(bot);
}

void telegram_queue_free(struct telegram_queue *queue)
{
    struct telegram_bot *bot = queue->bot;
    if (queue->call)
        http_call_cancel(queue->call);
    if (queue->ready)
        DL_DELETE2(bot->ready, queue, ready_prev, ready_next);
    HASH_DELETE(hh, bot->queues, queue);
    loop_timer_free(queue->timer);
    free(queue->key);
    free(queue);
}
