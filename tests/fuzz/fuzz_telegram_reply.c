// Whatever Telegram answers to a reply or for a file, the attempt ends, and no file is fetched from elsewhere.
//
// The input: a byte that chooses what is done, then answers (input.h).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "fuzz/input.h"
#include "platform/platform.h"

#define TOKEN "123456:AAsecretsecretsecretsecretsecretsec"

enum { REQUESTS_MAX = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct source source = {.token = STR(TOKEN), .platform = STR("telegram")};

#define FILE_OF(state) "[{\"kind\":\"image\",\"mime\":\"image/png\",\"size\":1,\"url\":\"https://d/1\"," state "}]"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define MESSAGE                                                                                                        \
    .conversation = STR("-5:7"), .text = STR("t"), .format = STR("[{\"type\":\"bold\",\"offset\":0,\"length\":1}]")

static const struct message messages[] = {
    {MESSAGE},
    {MESSAGE, .attachments = STR(FILE_OF("\"state\":\"kept\",\"hash\":\"" HASH "\""))},
    {MESSAGE, .attachments = STR(FILE_OF("\"state\":\"failed\",\"why\":\"w\""))},
    {MESSAGE, .act = REPLY_EDITS, .target_ref = STR("77")},
    {MESSAGE, .act = REPLY_DELETES, .target_ref = STR("-5:77")},
};

static void deliver(const struct message *message, struct input *input)
{
    struct arena arena = {0};
    struct delivery delivery = {.source = &source, .message = message, .now_us = 1700000000000000, .arena = &arena};
    struct http_response response = {0};
    struct delivery_step step;
    int requests = 0;
    platform_telegram.receiver->step(&delivery, NULL, &step);
    while (step.kind == DELIVERY_SEND) {
        must(++requests <= REQUESTS_MAX && step.writes == (message->act == REPLY_SAYS));
        must(str_starts(step.request.target, STR("https://api.telegram.org/bot" TOKEN "/")));
        response = input_answer(input, &arena);
        platform_telegram.receiver->step(&delivery, &response, &step);
    }
    must(step.verdict.kind == VERDICT_DELIVERED || step.verdict.error.n);
    must(!memmem(str_chars(step.verdict.error), step.verdict.error.n, TOKEN, sizeof TOKEN - 1));
    must(step.verdict.kind != VERDICT_WAIT || step.verdict.until_us > delivery.now_us ||
         response.failure == HTTP_CANCELLED);
    must(step.verdict.until_us <= delivery.now_us + INT64_C(3600000000));
    must(message->act == REPLY_SAYS || !step.verdict.maybe_applied);
    platform_telegram.receiver->probe_verdict(&response, delivery.now_us, &arena);
    arena_done(&arena);
}

// No path leads out of the bot's own files.
static void check_address(struct str url)
{
    static const struct str start = STR("https://api.telegram.org/file/bot" TOKEN "/");
    must(str_starts(url, start) && url.n > start.n);
    struct str path = str_sub(url, start.n - 1, url.n);
    must(!memmem(path.p, path.n, "//", 2) && !memmem(path.p, path.n, "/../", 4) && !str_ends(path, STR("/..")));
    for (size_t i = 0; i < path.n; i++)
        must(path.p[i] > ' ' && path.p[i] < 0x7F && !strchr("?#\\", path.p[i]));
}

static void fetch(struct input *input)
{
    struct arena arena = {0};
    struct file_fetch fetch = {
        .source = &source, .file = {.ref = STR("f")}, .max_size = 1000, .arena = &arena, .now_us = 1700000000000000};
    struct file_step step;
    int requests = 0;
    platform_telegram.fetch_file(&fetch, NULL, &step);
    while (step.kind != FILE_END) {
        must(++requests <= REQUESTS_MAX && step.trusted);
        if (step.kind == FILE_GET)
            check_address(step.request.target);
        struct http_response response = input_answer(input, &arena);
        if (step.kind == FILE_GET && response.status == 200)
            response.body = STR("");
        platform_telegram.fetch_file(&fetch, &response, &step);
        must(step.kind != FILE_END || step.verdict.kind != VERDICT_DELIVERED || response.status == 200);
    }
    must(step.verdict.kind == VERDICT_DELIVERED || step.verdict.error.n);
    must(!memmem(str_chars(step.verdict.error), step.verdict.error.n, TOKEN, sizeof TOKEN - 1));
    must(step.verdict.until_us <= fetch.now_us + INT64_C(3600000000));
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = input_of(data, size);
    size_t choice = input_byte(&input) % (sizeof messages / sizeof *messages + 1);
    if (choice < sizeof messages / sizeof *messages)
        deliver(&messages[choice], &input);
    else
        fetch(&input);
    return 0;
}
