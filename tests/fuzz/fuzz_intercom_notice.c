// Whatever Intercom signs, it is a notice; what it names are ids, each once. Nothing passes that was not signed.
#include <stdint.h>
#include <stdlib.h>

#include <openssl/hmac.h>

#include "base/must.h"
#include "desk/desk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_ids(const struct desk_notice *notice)
{
    for (size_t i = 0; i < notice->conversation_count; i++) {
        must(notice->conversations[i].n >= 1 && notice->conversations[i].n <= 128);
        for (size_t j = 0; j < i; j++)
            must(!str_eq(notice->conversations[i], notice->conversations[j]));
    }
}

static void receive(struct str signature, struct str body, struct arena *arena, struct desk_notice *out)
{
    static const struct desk desk = {.platform = STR("intercom"), .client_secret = STR("test_client_secret")};
    const struct http_header headers[] = {{STR("x-hub-signature"), signature}};
    struct http_request request = {.method = STR("POST"), .headers = headers, .header_count = 1, .body = body};
    desk_intercom.receive(&desk, &request, arena, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    struct arena arena = {0};
    struct desk_notice notice;
    struct str body = {(const char *)data, size};
    unsigned char mac[20];
    char text[45] = "sha1=";
    must(HMAC(EVP_sha1(), "test_client_secret", 18, data, size, mac, NULL));
    for (size_t i = 0; i < sizeof mac; i++) {
        text[5 + 2 * i] = digits[mac[i] >> 4];
        text[6 + 2 * i] = digits[mac[i] & 15];
    }
    receive((struct str){text, sizeof text}, body, &arena, &notice);
    must(notice.kind == NOTICE_OK || (notice.kind == NOTICE_MALFORMED && notice.why.n && !notice.conversation_count));
    check_ids(&notice);
    receive(body, STR("{}"), &arena, &notice);
    must(notice.kind == NOTICE_FORGED && notice.why.n);
    arena_done(&arena);
    return 0;
}
