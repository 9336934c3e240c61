// Whatever comes with the right secret, Telegram's connector gives a receipt, and an event is whole. The input is
// read as a webhook's body, as an answer in each phase of the upkeep, and as that of a customer's pictures.
// FUZZ: -max_len=4096
#include <stdint.h>
#include <stdlib.h>

#include "base/must.h"
#include "platform/platform.h"

enum { PHASES = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct source source = {
    .account = STR("a"), .name = STR("b"), .token = STR("1:x"), .secret = STR("s"), .platform = STR("telegram")};

static void check_files(const struct event *event)
{
    struct arena arena = {0};
    struct attachment *files;
    size_t count = attachments_read(event->attachments, &arena, &files);
    must((count > 0) == (event->attachments.p != NULL));
    must(attachments_count(event->attachments, FILE_WANTED) <= FILES_MAX);
    for (size_t i = 0; i < count; i++) {
        must(files[i].kind.n && files[i].name.n && files[i].state != FILE_KEPT && !files[i].url.p);
        must(files[i].state != FILE_WANTED || (files[i].ref.n && files[i].why.n == 0));
        must(files[i].state != FILE_FAILED || (files[i].why.n && !files[i].ref.p));
    }
    arena_done(&arena);
}

static void check_profile(const struct profile *profile)
{
    must(!profile->phone.p || (profile->phone.p[0] == '+' && profile->phone.n >= 6 && profile->phone.n <= 16));
    must(str_is_utf8(profile->name) && str_is_utf8(profile->username) && str_is_utf8(profile->language));
}

static void check_event(const struct event *event)
{
    check_files(event);
    check_profile(&event->profile);
    must(!event->album.n || event->attachments.n);
    must(event->dedupe_key.n && event->conversation.n && event->sender_id.n && event->text.p);
    must(event->digest != 0 || str_eq_c(event->conversation, "unreadable"));
    must(str_is_utf8(event->text) && str_index(event->text, 0, 0) == event->text.n);
    must(event->sent_at_us > 0);
    struct str customer = platform_telegram.customer(event->conversation);
    must(customer.n && str_starts(event->conversation, customer));
}

static void receive(struct str body)
{
    static const struct http_header headers[] = {
        {STR("content-type"), STR("application/json")},
        {STR("x-telegram-bot-api-secret-token"), STR("s")},
    };
    struct http_request request = {.method = STR("POST"), .headers = headers, .header_count = 2, .body = body};
    struct arena arena = {0};
    struct receipt receipt;
    platform_telegram.receive(&source, &request, 1700000000000000, &arena, &receipt);
    must(receipt.kind == RECEIPT_OK || (receipt.kind == RECEIPT_MALFORMED && receipt.why.n));
    must(receipt.kind == RECEIPT_OK || receipt.event_count == 0);
    for (size_t i = 0; i < receipt.event_count; i++)
        check_event(&receipt.events[i]);
    arena_done(&arena);
}

static void keep(struct str body, int phase, bool polling)
{
    struct source_upkeep upkeep = {.source = &source, .phase = phase};
    upkeep.public_url = polling ? STR_NONE : STR("https://r");
    struct http_response response = {.failure = HTTP_ANSWERED, .written = true, .status = 200, .body = body};
    struct arena arena = {0};
    struct source_step step;
    platform_telegram.keep(&upkeep, &response, 1700000000000000, &arena, &step);
    must(step.kind != SOURCE_REST || step.until_us >= 1700000000000000);
    must(step.kind != SOURCE_REFUSE || step.why.n);
    for (size_t i = 0; i < step.event_count; i++)
        must(step.events[i].dedupe_key.n && step.events[i].conversation.n && step.events[i].text.p);
    must(upkeep.offset >= 0);
    arena_done(&arena);
    arena_done(&upkeep.memory);
    arena_done(&upkeep.batch);
}

static void check_picture(const struct file_fetch *fetch, const struct file_step *step, int status)
{
    bool ends = step->kind == FILE_END, delivered = ends && step->verdict.kind == VERDICT_DELIVERED;
    must(step->kind != FILE_GET); // where it is has not been said
    must(ends || (step->trusted && str_ends(step->request.target, STR("/getFile"))));
    must(status == 200 || (ends && !delivered));
    must(!ends || delivered || step->verdict.error.n);
    must(fetch->picture.n <= 256 && fetch->file.ref.n <= 256);
    must(ends || (fetch->picture.n && fetch->file.ref.n));
    must(!delivered || !fetch->picture.n || str_eq(fetch->picture, fetch->known_picture));
}

static void take_pictures(struct str body, int status)
{
    struct arena arena = {0};
    struct file_fetch fetch = {.source = &source,
                               .thread = STR("77"),
                               .known_picture = STR("known"),
                               .max_size = 1 << 20,
                               .now_us = 1700000000000000,
                               .arena = &arena};
    struct http_response response = {.failure = HTTP_ANSWERED, .written = true, .status = status, .body = body};
    struct file_step step;
    platform_telegram.fetch_avatar(&fetch, NULL, &step);
    must(step.kind == FILE_ASK);
    platform_telegram.fetch_avatar(&fetch, &response, &step);
    check_picture(&fetch, &step, status);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str body = {(const char *)data, size};
    receive(body);
    take_pictures(body, 200);
    take_pictures(body, 400);
    for (int phase = 0; phase < PHASES; phase++)
        keep(body, phase, phase % 2);
    for (int phase = 0; phase < PHASES; phase++)
        keep(body, phase, phase % 2 == 0);
    return 0;
}
