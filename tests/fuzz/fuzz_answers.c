// Whatever a desk or a platform answers to what is asked of it beside messages and files (the other targets have those), there is an
// end, in words that can be shown: a search for conversations with news, what a person asks, the upkeep of a source, the signed
// webhook's answers. A secret that the peer repeats stands in no sentence of an inquiry.
//
// The input: a byte that chooses what is asked, then answers (input.h).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "desk/desk.h"
#include "fuzz/input.h"
#include "platform/platform.h"

#define TOKEN "123456:AAsecretsecretsecretsecretsecretsec"

enum { STEPS_MAX = 500 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t now_us = INT64_C(1700000000000000);
static const struct account account = {
    .desk = {.platform = STR("intercom"), .token = STR("dG9rZW4secretsecret"), .client_secret = STR("c")}};
static const struct desk hook_desk = {.platform = STR("webhook"),
                                      .url = STR("https://desk.example/in"),
                                      .secret = STR("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")};
static const struct source source = {.account = STR("a"),
                                     .name = STR("b"),
                                     .platform = STR("telegram"),
                                     .token = STR(TOKEN),
                                     .api_url = STR("https://api.telegram.org")};

static bool holds(struct str text, struct str part)
{
    return text.n && memmem(text.p, text.n, part.p, part.n);
}

// Searching ------------------------------------------------------------------------------------------------

static void search(struct input *input)
{
    struct arena arena = {0};
    struct desk_search search = {
        .account = &account, .since_s = now_us / 1000000 - 3600, .now_us = now_us, .arena = &arena};
    struct http_request request;
    int steps = 0;
    for (bool asks = desk_intercom.search(&search, NULL, &request); asks;) {
        must(++steps <= STEPS_MAX && str_starts(request.target, STR("https://api.intercom.io/")));
        struct http_response response = input_answer(input, &arena);
        asks = desk_intercom.search(&search, &response, &request);
    }
    must(search.verdict.kind == VERDICT_DELIVERED || search.verdict.error.n);
    for (size_t i = 0; i < search.conversation_count; i++)
        must(search.conversations[i].n && search.conversations[i].n <= 128);
    must(search.verdict.kind != VERDICT_DELIVERED || search.until_s <= now_us / 1000000);
    arena_done(&arena);
}

// Asking ---------------------------------------------------------------------------------------------------

static void check_inquiry(const struct inquiry *inquiry, struct str secret)
{
    must(inquiry->sentence.n && inquiry->sentence.p[inquiry->sentence.n - 1] == '.');
    must(!holds(inquiry->sentence, secret));
    must(inquiry->fact_count <= INQUIRY_FACTS);
}

static void ask_desk(const struct desk_connector *connector, const struct desk *desk, struct input *input)
{
    struct arena arena = {0};
    struct inquiry inquiry = {.arena = &arena, .now_us = now_us};
    struct http_request request;
    int steps = 0;
    for (bool asks = connector->ask(desk, &inquiry, NULL, &request); asks;) {
        must(++steps <= INQUIRY_STEPS_MAX);
        struct http_response response = input_answer(input, &arena);
        asks = connector->ask(desk, &inquiry, &response, &request);
    }
    inquiry_hide(&inquiry, desk->token.n ? desk->token : desk->secret);
    check_inquiry(&inquiry, desk->token.n ? desk->token : desk->secret);
    arena_done(&arena);
}

static void ask_telegram(struct input *input)
{
    struct arena arena = {0};
    struct inquiry inquiry = {.arena = &arena, .now_us = now_us};
    struct http_request request;
    int steps = 0;
    for (bool asks = platform_telegram.ask(&source, STR("https://r.example"), &inquiry, NULL, &request); asks;) {
        must(++steps <= INQUIRY_STEPS_MAX);
        struct http_response response = input_answer(input, &arena);
        asks = platform_telegram.ask(&source, STR("https://r.example"), &inquiry, &response, &request);
    }
    inquiry_hide(&inquiry, source.token);
    check_inquiry(&inquiry, source.token);
    arena_done(&arena);
}

// A source's upkeep ----------------------------------------------------------------------------------------

static void check_step(const struct source_step *step)
{
    must(step->kind != SOURCE_SEND || str_starts(step->request.target, STR("https://api.telegram.org/bot" TOKEN "/")));
    must(step->kind != SOURCE_STORE || step->event_count > 0);
    must(step->kind != SOURCE_REFUSE || step->why.n);
    must(step->kind == SOURCE_SEND || !holds(step->why, STR(TOKEN)));
    for (size_t i = 0; step->kind == SOURCE_STORE && i < step->event_count; i++)
        must(step->events[i].dedupe_key.n && step->events[i].conversation.n && step->events[i].text.p);
}

static void keep(struct input *input, bool polls)
{
    struct arena arena = {0};
    struct source_upkeep upkeep = {.source = &source, .public_url = polls ? STR_NONE : STR("https://r.example")};
    struct source_step step = {0};
    int64_t at_us = now_us;
    struct http_response response, *last = NULL;
    for (int steps = 0; steps < STEPS_MAX && input->left.n; steps++) {
        platform_telegram.keep(&upkeep, last, at_us, &arena, &step);
        check_step(&step);
        last = NULL;
        if (step.kind == SOURCE_SEND) {
            response = input_answer(input, &arena);
            last = &response;
        } else if (step.kind == SOURCE_REST || step.kind == SOURCE_REFUSE) {
            must(step.until_us >= at_us);
            at_us = step.until_us > at_us ? step.until_us : at_us + 1;
            if (input_byte(input) & 1) // as after a stop
                break;
        }
    }
    must(upkeep.offset >= 0);
    arena_done(&arena);
    arena_done(&upkeep.memory);
    arena_done(&upkeep.batch);
}

// The signed webhook ---------------------------------------------------------------------------------------

static void deliver(struct input *input)
{
    static const struct message message = {.id = 17,
                                           .conversation = STR("5"),
                                           .sender_id = STR("5"),
                                           .text = STR("hello"),
                                           .sent_at_us = 1699999999000000,
                                           .received_at_us = 1699999999500000};
    static const struct account hook_account = {.name = STR("a")};
    struct arena arena = {0};
    struct delivery attempt = {.account = &hook_account,
                               .source = &source,
                               .desk = &hook_desk,
                               .message = &message,
                               .customer = STR("webhook:1:5"),
                               .store_id = STR("s"),
                               .now_us = now_us,
                               .arena = &arena};
    struct delivery_step step;
    int steps = 0;
    desk_webhook.receiver.step(&attempt, NULL, &step);
    while (step.kind == DELIVERY_SEND) {
        must(++steps <= 4 && str_eq(step.request.target, hook_desk.url));
        struct http_response response = input_answer(input, &arena);
        desk_webhook.receiver.probe_verdict(&response, now_us, &arena);
        desk_webhook.receiver.step(&attempt, &response, &step);
    }
    must(step.verdict.kind == VERDICT_DELIVERED || step.verdict.error.n);
    must(step.verdict.until_us <= now_us + INT64_C(3600000000));
    must(!step.verdict.desk_ref.p || step.verdict.kind == VERDICT_DELIVERED);
    arena_done(&arena);
}

// What the headers of an answer say of the rate.
static void read_rate(struct input *input)
{
    struct arena arena = {0};
    struct http_response response = input_answer(input, &arena);
    int64_t remaining, reset_us;
    if (desk_intercom.receiver.rate(&response, &remaining, &reset_us))
        must(remaining >= 0 && reset_us > 0);
    int64_t after_us = verdict_retry_after(&response, now_us);
    must(!after_us || (after_us > now_us && after_us <= now_us + INT64_C(3600000000)));
    (void)verdict_date_s(&response);
    struct verdict verdict = desk_intercom.receiver.probe_verdict(&response, now_us, &arena);
    must(verdict.kind == VERDICT_DELIVERED || verdict.error.n);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    switch (input_byte(&input) % 8) {
    case 0:
        search(&input);
        break;
    case 1:
        ask_desk(&desk_intercom, &account.desk, &input);
        break;
    case 2:
        ask_desk(&desk_webhook, &hook_desk, &input);
        break;
    case 3:
        ask_telegram(&input);
        break;
    case 4:
    case 5:
        keep(&input, data[0] % 8 == 4);
        break;
    case 6:
        deliver(&input);
        break;
    default:
        read_rate(&input);
        break;
    }
    return 0;
}
