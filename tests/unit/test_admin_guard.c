// Who may come in to the admin side.
#include "admin/guard.h"
#include "support/unit.h"

#include <string.h>

static struct http_request request_with(const char *name, const char *value, struct http_header *room)
{
    *room = (struct http_header){str_of(name), str_of(value)};
    return (struct http_request){.headers = room, .header_count = value != NULL};
}

static bool token(const char *authorization, const char *wanted)
{
    struct http_header header;
    struct http_request request = request_with("Authorization", authorization, &header);
    return guard_token(&request, str_of(wanted));
}

static void test_token(void **state)
{
    (void)state;
    assert_true(token("Bearer abc", "abc"));
    assert_true(token("bearer  abc ", "abc"));
    assert_false(token(NULL, "abc"));
    assert_false(token("Bearer ", "abc"));
    assert_false(token("Bearer", "abc"));
    assert_false(token("Bearer abcd", "abc"));
    assert_false(token("Bearer ab", "abc"));
    assert_false(token("Basic abc", "abc"));
    assert_false(token("abc", "abc"));
    assert_false(token("Bearer ", ""));
    assert_false(token("Bearer x", NULL));
}

static bool host(const char *value)
{
    struct http_header header;
    struct http_request request = request_with("Host", value, &header);
    return guard_host(&request);
}

static void test_host(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:8081",   "10.0.0.7",       "[::1]:8081",
                                       "[fe80::1]",        "localhost:8081", "tributary",
                                       "relay.internal:1", "x.localhost",    "relay.lan"};
    static const char *const bad[] = {
        "evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", "",
        ".localhost",   "1.2.3.4.nip.io"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(host(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(host(bad[i]));
    assert_false(host(NULL));
}

static bool origin(const char *value, const char *site)
{
    struct http_header headers[] = {
        {STR("Host"), STR("127.0.0.1:8081")}, {STR("Origin"), str_of(value)}, {STR("Sec-Fetch-Site"), str_of(site)}};
    struct http_request request = {.headers = headers, .header_count = site ? 3 : value ? 2 : 1};
    return guard_origin(&request);
}

static void test_origin(void **state)
{
    (void)state;
    assert_true(origin(NULL, NULL));
    assert_true(origin("http://127.0.0.1:8081", NULL));
    assert_true(origin("https://127.0.0.1:8081", NULL));
    assert_true(origin("https://admin.example", "same-origin"));
    assert_false(origin("https://admin.example", "cross-site"));
    assert_false(origin("http://127.0.0.1:9999", NULL));
    assert_false(origin("http://evil.example", NULL));
    assert_false(origin("null", NULL));
    assert_false(origin("", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_token), cmocka_unit_test(test_host),
                                       cmocka_unit_test(test_origin)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
