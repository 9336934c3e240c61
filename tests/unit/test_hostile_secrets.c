// LDFLAGS: -Wl,--wrap=CRYPTO_memcmp
// RELIABILITY.md, section 6, lines 21 and 37: a secret that a stranger guesses at is compared in constant time. A clock on a
// busy machine cannot show that; what can be shown is that each comparison is OpenSSL's, over the whole length, wherever the
// guess goes wrong.
#include "admin/guard.h"
#include "model/webhook_signature.h"
#include "platform/platform.h"
#include "support/plain_http.h"
#include "support/unit.h"

#include <string.h>

#define SECRET "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define NOW_S 1700000000

static struct {
    int calls;
    size_t n; // of the last one
} compared;

int __real_CRYPTO_memcmp(const void *a, const void *b, size_t n);
int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t n);

int __wrap_CRYPTO_memcmp(const void *a, const void *b, size_t n)
{
    compared.calls++;
    compared.n = n;
    return __real_CRYPTO_memcmp(a, b, n);
}

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    compared.calls = 0;
    compared.n = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static enum receipt_kind receive(const struct platform *platform, const struct source *source,
                                 const char *const *header_pairs)
{
    struct plain_headers headers = plain_headers_of(header_pairs);
    struct http_request request = {
        .method = STR("POST"), .headers = headers.list, .header_count = headers.count, .body = STR("{}")};
    struct receipt receipt;
    platform->receive(source, &request, NOW_S * INT64_C(1000000), &arena, &receipt);
    return receipt.kind;
}

// The right text with one byte changed at `at`.
static char *changed(const char *right, size_t at)
{
    char *text = (char *)(uintptr_t)arena_str(&arena, str_of(right)).p;
    text[at] = text[at] == 'A' ? 'B' : 'A';
    return text;
}

static void test_line_21_signature_is_compared_in_constant_time(void **state)
{
    (void)state;
    static const struct source source = {.name = STR("s"), .platform = STR("webhook"), .secret = STR(SECRET)};
    const char *right = webhook_sign(&arena, STR(SECRET), STR("e"), NOW_S, STR("{}")).p;
    size_t n = strlen(right);
    for (size_t at = 3; at < n; at++) {
        const char *pairs[] = {"webhook-id",       "e", "webhook-timestamp", "1700000000", "webhook-signature",
                               changed(right, at), NULL};
        compared.calls = 0;
        assert_int_equal(receive(&platform_webhook, &source, pairs), RECEIPT_FORGED);
        assert_int_equal(compared.calls, 1);
        assert_int_equal(compared.n, 44);
    }
    // An entry that is too short or too long, and several: each is compared, also behind a right one.
    const char *several = arena_printf(&arena, "v1,A %s v1,%s", right, right).p;
    const char *pairs[] = {"webhook-id", "e", "webhook-timestamp", "1700000000", "webhook-signature", several, NULL};
    compared.calls = 0;
    assert_int_equal(receive(&platform_webhook, &source, pairs), RECEIPT_BAD_TYPE); // verified: on to the next check
    assert_int_equal(compared.calls, 3);
}

static void test_line_21_telegram_secret_is_compared_in_constant_time(void **state)
{
    (void)state;
    static const char right[] = "s3cret_-0123456789";
    static const struct source source = {
        .name = STR("b"), .platform = STR("telegram"), .token = STR("1:A"), .secret = STR("s3cret_-0123456789")};
    for (size_t at = 0; at < sizeof right - 1; at++) {
        const char *pairs[] = {"X-Telegram-Bot-Api-Secret-Token", changed(right, at), NULL};
        compared.calls = 0;
        assert_int_equal(receive(&platform_telegram, &source, pairs), RECEIPT_FORGED);
        assert_int_equal(compared.calls, 1);
        assert_int_equal(compared.n, sizeof right - 1);
    }
    const char *longer[] = {"X-Telegram-Bot-Api-Secret-Token", "s3cret_-01234567890", NULL};
    assert_int_equal(receive(&platform_telegram, &source, longer), RECEIPT_FORGED);
    assert_int_equal(compared.n, sizeof right - 1); // as long as a right one takes
    const char *just[] = {"X-Telegram-Bot-Api-Secret-Token", right, NULL};
    assert_int_equal(receive(&platform_telegram, &source, just), RECEIPT_BAD_TYPE);
}

static void test_line_37_admin_token_is_compared_in_constant_time(void **state)
{
    (void)state;
    static const char right[] = "right-token-0123456789";
    for (size_t at = 0; at < sizeof right - 1; at++) {
        struct str value = arena_printf(&arena, "Bearer %s", changed(right, at));
        struct http_header header = {STR("Authorization"), value};
        struct http_request request = {.headers = &header, .header_count = 1};
        compared.calls = 0;
        assert_false(guard_token(&request, STR("right-token-0123456789")));
        assert_int_equal(compared.calls, 1);
        assert_int_equal(compared.n, sizeof right - 1);
    }
    struct http_header header = {STR("authorization"), STR("bearer right-token-0123456789")};
    struct http_request request = {.headers = &header, .header_count = 1};
    assert_true(guard_token(&request, STR("right-token-0123456789")));
    assert_false(guard_token(&request, STR_NONE));
    assert_false(guard_token(&request, STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line_21_signature_is_compared_in_constant_time, begin, end),
        cmocka_unit_test_setup_teardown(test_line_21_telegram_secret_is_compared_in_constant_time, begin, end),
        cmocka_unit_test_setup_teardown(test_line_37_admin_token_is_compared_in_constant_time, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
