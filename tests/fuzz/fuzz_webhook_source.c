// Whatever is posted to a webhook source, it gives a receipt; what it takes is within the stated limits.
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/must.h"
#include "model/webhook_signature.h"
#include "platform/platform.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event(const struct event *event)
{
    must(event->dedupe_key.n >= 1 && event->dedupe_key.n <= 256);
    must(event->conversation.n >= 1 && event->conversation.n <= 256);
    must(event->sender_id.n >= 1 && event->sender_id.n <= 256);
    must(!event->profile.phone.p || (event->profile.phone.p[0] == '+' && event->profile.phone.n <= 16));
    must(!event->profile.email.p || (event->profile.email.n >= 3 && event->profile.email.n <= 254));
    must(event->text.p && str_is_utf8(event->text) && str_index(event->text, 0, 0) == event->text.n);
    if (event->attachments.p) {
        yyjson_doc *doc = json_read(event->attachments);
        must(yyjson_arr_size(yyjson_doc_get_root(doc)) > 0);
        yyjson_doc_free(doc);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct source source = {.name = STR("b"), .secret = STR("none"), .platform = STR("webhook")};
    static const struct http_header headers[] = {{STR("content-type"), STR("application/json")}};
    struct str body = {(const char *)data, size};
    struct http_request request = {.method = STR("POST"), .headers = headers, .header_count = 1, .body = body};
    struct arena arena = {0};
    struct receipt receipt;
    platform_webhook.receive(&source, &request, 1700000000000000, &arena, &receipt);
    must(receipt.kind == RECEIPT_OK ? receipt.event_count == 1 : receipt.event_count == 0 && receipt.why.n);
    if (receipt.event_count)
        check_event(receipt.events);
    // The bytes as every part of a signature: nothing that was not signed passes.
    struct str secret = STR("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX");
    must(!webhook_verify(secret, body, STR("5"), STR("v1,"), body, 5));
    must(!webhook_verify(secret, STR("i"), STR("5"), body, STR(""), 5));
    webhook_verify(body, STR("i"), body, body, body, 5);
    webhook_secret_trouble(body);
    arena_done(&arena);
    return 0;
}
