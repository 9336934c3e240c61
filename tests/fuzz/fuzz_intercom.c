// Whatever Intercom answers, an attempt ends, in a verdict that can be; and a message is never sent twice within one
// attempt once an answer has said that it was taken.
//
// The input: one byte of settings, then answers (input.h).
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "desk/desk.h"
#include "fuzz/input.h"

enum { STEPS_MAX = 64 };

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILE_OF(state)                                                                                                 \
    "{\"kind\":\"image\",\"name\":\"" state "\",\"size\":7,\"state\":\"" state "\",\"hash\":\"" HASH "\",\"why\":\"x\"}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_verdict(const struct delivery *attempt, const struct verdict *verdict)
{
    must(verdict->kind == VERDICT_DELIVERED ? verdict->desk_ref.n > 0 : verdict->error.n > 0);
    must(verdict->kind != VERDICT_DELIVERED || (!verdict->maybe_applied && !verdict->not_found));
    must(verdict->kind != VERDICT_WAIT || verdict->until_us >= attempt->now_us);
    must(!verdict->unanswered || verdict->maybe_applied);
    must(!verdict->not_found || attempt->in_doubt);
    must(!(attempt->files_told & ~(uint32_t)0xB)); // never the one that is wanted
}

static void check_request(const struct http_request *request, bool writes)
{
    must(str_starts(request->target, STR("https://api.intercom.io/")));
    must(!request->part_count || (writes && !request->body.n && request->part_count % 2));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct desk desk = {.platform = STR("intercom"), .token = STR("t")};
    struct account account = {0};
    static const struct source source;
    static const struct media_links links = {.base = STR("https://relay.test"), .is_public = true};
    static const struct str refs[] = {STR("132"), STR("unnamed")};
    struct message message = {.id = 17,
                              .conversation = STR("5"),
                              .sender_id = STR("5"),
                              .text = STR("<p>a &amp; https://x (https://x)</p>"),
                              .attachments = STR("[{\"kind\":\"image\",\"url\":\"https://a\"}," FILE_OF(
                                  "kept") "," FILE_OF("wanted") "," FILE_OF("failed") "]"),
                              .sent_at_us = 1699999999000000,
                              .received_at_us = 1699999999500000};
    struct input input = input_of(data, size);
    unsigned settings = input_byte(&input);
    struct arena arena = {0};
    struct delivery attempt = {.account = &account,
                               .source = &source,
                               .desk = &desk,
                               .message = &message,
                               .customer = STR("telegram:1:5"),
                               .in_doubt = settings & 1,
                               .look_only = settings & 2,
                               .settle_us = 15000000,
                               .now_us = 1700000000000000,
                               .known_refs = refs,
                               .known_ref_count = settings >> 6 & 1,
                               .arena = &arena,
                               .links = settings & 64 ? &links : NULL};
    if (settings & 4)
        attempt.link.contact = STR("6762f11b1bb69f9f2193bba3");
    if (settings & 8)
        attempt.link.conversation = STR("499");
    if (settings & 16)
        attempt.link.note = STR("sought=17@1600000000000000 clock=desk files=17@403918330@1 old=1");
    if (settings & 32)
        message.conversation_name = STR("group");
    if ((settings & 12) == 8) { // the contact is lost: it may be one that is shared
        account.identity = settings & 16 ? IDENTITY_EMAIL : IDENTITY_PHONE;
        attempt.profile = STR("{\"name\":\"A\",\"language\":\"de\",\"phone\":\"+12345\",\"email\":\"a@b.c\"}");
    }
    if (settings & 128)
        message.direction = NOTE;
    struct delivery_step step;
    desk_intercom.receiver.step(&attempt, NULL, &step);
    int steps = 0;
    while (step.kind == DELIVERY_SEND) {
        must(++steps < STEPS_MAX);
        check_request(&step.request, step.writes);
        must(!(step.writes && attempt.in_doubt && attempt.look_only));
        struct http_response response = input_answer(&input, &arena);
        desk_intercom.receiver.step(&attempt, &response, &step);
    }
    check_verdict(&attempt, &step.verdict);
    must(message.direction != NOTE || !attempt.link.last_part.n); // what look-ups of customers' messages count from
    arena_done(&arena);
    return 0;
}
