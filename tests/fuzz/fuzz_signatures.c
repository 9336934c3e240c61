// Who may come in: whatever stands in the headers, it passes just when a plain reading of the rule says so. A webhook's signature
// (Standard Webhooks), Telegram's secret token, Intercom's X-Hub-Signature, the admin API's token, Host and Origin.
//
// The input: lines (secret, id, timestamp, signatures, host, origin), then the body. A byte 1 in the signatures stands for the right
// one, a byte 2 for it without its last character; in the other headers a byte 1 stands for the secret.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "admin/guard.h"
#include "base/buf.h"
#include "base/must.h"
#include "desk/desk.h"
#include "fuzz/input.h"
#include "model/webhook_signature.h"
#include "platform/platform.h"

enum { LINES = 6, NOW_S = 1700000000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str filled(struct str text, char mark, struct str with, struct arena *arena)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    for (size_t at = 0; at < text.n;) {
        size_t end = str_index(text, mark, at);
        buf_add_str(&buf, str_sub(text, at, end));
        buf_add_str(&buf, end < text.n ? with : STR(""));
        at = end + 1;
    }
    buf_must(&buf);
    struct str out = arena_str(arena, buf.p ? buf_str(&buf) : STR(""));
    buf_done(&buf);
    return out;
}

// Standard Webhooks ----------------------------------------------------------------------------------------

static const unsigned char key[24] = "fuzzing needs 24 bytes!";
static struct str whsec; // of that key

static struct str right_signature(struct str id, struct str timestamp, struct str body, struct arena *arena)
{
    unsigned char mac[32], text[64];
    struct str whole = ARENA_JOIN(arena, id, STR("."), timestamp, STR("."), body);
    must(HMAC(EVP_sha256(), key, sizeof key, (const unsigned char *)whole.p, whole.n, mac, NULL));
    int n = EVP_EncodeBlock(text, mac, sizeof mac);
    return ARENA_JOIN(arena, STR("v1,"), {(const char *)text, (size_t)n});
}

// As the standard says it, with nothing clever.
static bool has_entry(struct str signatures, struct str right)
{
    for (size_t at = 0; at < signatures.n;) {
        size_t end = str_index(signatures, ' ', at);
        if (str_eq(str_sub(signatures, at, end), right))
            return true;
        at = end + 1;
    }
    return false;
}

static bool is_timely(struct str timestamp)
{
    int64_t at_s;
    return str_to_i64(timestamp, &at_s) && at_s >= NOW_S - WEBHOOK_TOLERANCE_S && at_s <= NOW_S + WEBHOOK_TOLERANCE_S;
}

static void check_webhook(const struct str line[LINES], struct str body, struct arena *arena)
{
    struct str right = right_signature(line[1], line[2], body, arena);
    struct str signatures = filled(filled(line[3], 1, right, arena), 2, str_sub(right, 0, right.n - 1), arena);
    bool passes = line[1].n && !memchr(line[1].p, '.', line[1].n) && is_timely(line[2]) && has_entry(signatures, right);
    must(webhook_verify(whsec, line[1], line[2], signatures, body, NOW_S) == passes);
    // A secret of any bytes is judged before it is used; one that is good signs what it verifies.
    struct str secret = ARENA_JOIN(arena, STR("whsec_"), line[0]);
    if (!webhook_secret_trouble(secret))
        must(webhook_verify(secret, STR("i"), STR("1700000000"), webhook_sign(arena, secret, STR("i"), NOW_S, body),
                            body, NOW_S));
    must(!webhook_verify(line[0], line[1], line[2], line[3], body, NOW_S) || !webhook_secret_trouble(line[0]));
}

// Telegram, Intercom ---------------------------------------------------------------------------------------

static void check_telegram(struct str given, struct str body, struct arena *arena)
{
    static const struct source source = {.account = STR("a"),
                                         .name = STR("b"),
                                         .token = STR("1:x"),
                                         .secret = STR("Secret-1"),
                                         .platform = STR("telegram")};
    struct str value = filled(given, 1, source.secret, arena);
    struct http_header headers[] = {{STR("Content-Type"), STR("application/json")},
                                    {STR("X-Telegram-Bot-Api-Secret-Token"), value}};
    struct http_request request = {.method = STR("POST"), .headers = headers, .header_count = 2, .body = body};
    struct receipt receipt;
    platform_telegram.receive(&source, &request, NOW_S * INT64_C(1000000), arena, &receipt);
    must((receipt.kind == RECEIPT_FORGED) == !str_eq(value, source.secret));
}

static void check_intercom(struct str given, struct str body, struct arena *arena)
{
    static const struct desk desk = {.platform = STR("intercom"), .client_secret = STR("client secret")};
    unsigned char mac[20];
    struct str hex = STR("sha1=");
    must(HMAC(EVP_sha1(), "client secret", 13, (const unsigned char *)body.p, body.n, mac, NULL));
    for (size_t i = 0; i < sizeof mac; i++)
        hex = arena_printf(arena, "%.*s%02x", STR_ARG(hex), mac[i]);
    struct str value = filled(filled(given, 1, hex, arena), 2, str_sub(hex, 0, hex.n - 1), arena);
    struct http_header headers[] = {{STR("X-Hub-Signature"), value}};
    struct http_request request = {.method = STR("POST"), .headers = headers, .header_count = 1, .body = body};
    struct desk_notice notice;
    desk_intercom.receive(&desk, &request, arena, &notice);
    must((notice.kind == NOTICE_FORGED) == !str_eq(value, hex));
}

// The admin API --------------------------------------------------------------------------------------------

static void check_admin(const struct str line[LINES], struct arena *arena)
{
    struct str token = STR("right-token"), given = filled(line[0], 1, token, arena);
    struct http_header headers[] = {{STR("Authorization"), given},
                                    {STR("Host"), line[4]},
                                    {STR("Origin"), line[5]},
                                    {STR("Sec-Fetch-Site"), line[3]}};
    struct http_request request = {.headers = headers, .header_count = sizeof headers / sizeof *headers};
    bool carries = given.n > 7 && str_ieq(str_sub(given, 0, 7), STR("bearer ")) &&
                   str_eq(str_trim(str_sub(given, 7, given.n)), token);
    must(guard_token(&request, token) == carries);
    must(!guard_token(&request, STR("")));
    // A name that anybody could buy: two labels of letters, and none of the tops that nobody can.
    struct str bought = ARENA_JOIN(arena, STR("x"), line[4], STR(".com"));
    headers[1].value = bought;
    must(!guard_host(&request) || memchr(bought.p, ':', bought.n));
    headers[1].value = line[4];
    (void)guard_host(&request);
    struct str same = ARENA_JOIN(arena, STR("http://"), line[4]);
    must(!guard_origin(&request) || str_ieq_c(line[3], "same-origin") || str_ieq(line[5], same) ||
         str_ieq(line[5], ARENA_JOIN(arena, STR("https://"), line[4])) || !line[5].p);
    headers[2].value = same;
    must(guard_origin(&request));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct input input = input_of(data, size);
    struct str line[LINES];
    unsigned char text[64];
    int n = EVP_EncodeBlock(text, key, sizeof key);
    whsec = ARENA_JOIN(&arena, STR("whsec_"), {(const char *)text, (size_t)n});
    for (int i = 0; i < LINES; i++)
        line[i] = input_until(&input, '\n');
    check_webhook(line, input.left, &arena);
    check_telegram(line[3], input.left, &arena);
    check_intercom(line[3], input.left, &arena);
    check_admin(line, &arena);
    arena_done(&arena);
    return 0;
}
