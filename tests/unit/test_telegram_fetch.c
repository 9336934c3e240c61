// Fetching a file of a customer's message from Telegram: the two requests, and what each answer comes to.
#include "support/unit.h"

#include <string.h>

#include "base/buf.h"
#include "platform/platform.h"
#include "support/plain_http.h"

#define NOW_US INT64_C(1700000000123456)
#define TOKEN "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
#define MIB (INT64_C(1024) * 1024)

static struct arena arena;
static const struct source source = {.name = STR("bot"), .platform = STR("telegram"), .token = STR(TOKEN)};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct file_fetch fetch_of(const char *ref)
{
    return (struct file_fetch){.source = &source,
                               .file = {.kind = STR("image"), .ref = str_of(ref)},
                               .max_size = 20 * MIB,
                               .arena = &arena,
                               .now_us = NOW_US};
}

static struct file_step next(struct file_fetch *fetch, const struct http_response *last)
{
    struct file_step step;
    platform_telegram.fetch_file(fetch, last, &step);
    return step;
}

static struct file_step answered(struct file_fetch *fetch, int status, const char *body)
{
    struct http_response response = plain_answer(status, NULL, str_of(body));
    return next(fetch, &response);
}

#define NOT_OK(status, says) "{\"ok\":false,\"error_code\":" #status ",\"description\":\"" says "\"}"
#define PLACE(path) "{\"ok\":true,\"result\":{\"file_id\":\"f1\",\"file_unique_id\":\"u1\",\"file_path\":\"" path "\"}}"

// The step behind getFile's answer.
static struct file_step placed(struct file_fetch *fetch, const char *body)
{
    *fetch = fetch_of("f1");
    assert_int_equal(next(fetch, NULL).kind, FILE_ASK);
    return answered(fetch, 200, body);
}

static void test_two_requests(void **state)
{
    (void)state;
    struct file_fetch fetch = fetch_of("AwAD\"x");
    struct file_step step = next(&fetch, NULL);
    assert_int_equal(step.kind, FILE_ASK);
    assert_true(step.trusted);
    assert_str(step.request.method, "POST");
    assert_str(step.request.target, "https://api.telegram.org/bot" TOKEN "/getFile");
    assert_str(step.request.body, "{\"file_id\":\"AwAD\\\"x\"}");
    assert_str(http_header_get(step.request.headers, step.request.header_count, "content-type"), "application/json");
    step = answered(&fetch, 200, PLACE("photos/file 1%2e.jpg"));
    assert_int_equal(step.kind, FILE_GET);
    assert_true(step.trusted);
    assert_str(step.request.method, "GET");
    assert_str(step.request.target, "https://api.telegram.org/file/bot" TOKEN "/photos/file%201%252e.jpg");
    assert_false(step.request.body.n || step.request.header_count);
    step = answered(&fetch, 200, "");
    assert_int_equal(step.kind, FILE_END);
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
}

static void test_another_server(void **state)
{
    (void)state;
    struct source own = source;
    own.api_url = STR("http://127.0.0.1:8081");
    struct file_fetch fetch = fetch_of("f1");
    fetch.source = &own;
    assert_str(next(&fetch, NULL).request.target, "http://127.0.0.1:8081/bot" TOKEN "/getFile");
    assert_str(answered(&fetch, 200, PLACE("a/b")).request.target, "http://127.0.0.1:8081/file/bot" TOKEN "/a/b");
}

static void test_paths_that_lead_elsewhere_are_not_asked_for(void **state)
{
    static const char *const paths[] = {"../x", "a/../b", "a//b", "a/", "a/./b", "a\\u00e9", "a\\u0000", "a\\nb", "."};
    static const char *const local[] = {"/var/lib/telegram-bot-api/x", "//host/x", "C:\\\\x", "http://host/x",
                                        "file:x"};
    (void)state;
    struct file_fetch fetch;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct str body = arena_printf(&arena, PLACE("%s"), paths[i]);
        struct file_step step = placed(&fetch, body.p);
        if (step.kind != FILE_END || step.verdict.kind != VERDICT_REJECTED)
            fail_msg("%s", paths[i]);
        assert_str(step.verdict.error, "Telegram's answer names no path that a file could have");
    }
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        struct str body = arena_printf(&arena, PLACE("%s"), local[i]);
        struct file_step step = placed(&fetch, body.p);
        if (step.kind != FILE_END || step.verdict.kind != VERDICT_REJECTED)
            fail_msg("%s", local[i]);
        assert_true(plain_contains(step.verdict.error, "local mode"));
    }
}

// Else an answer of a quarter of a megabyte took gigabytes.
static void test_a_path_takes_memory_as_it_is_long(void **state)
{
    (void)state;
    struct file_fetch fetch;
    struct buf body;
    buf_init(&body, 1 << 20);
    buf_add_str(&body, STR("{\"ok\":true,\"result\":{\"file_path\":\"a"));
    for (int i = 0; i < 20000; i++)
        buf_add_str(&body, STR("/b c"));
    buf_add_str(&body, STR("\"}}"));
    assert_false(body.failed);
    size_t before = memory_in_use();
    struct file_step step = placed(&fetch, body.p);
    assert_int_equal(step.kind, FILE_GET);
    assert_true(plain_contains(step.request.target, TOKEN "/a/b%20c/b%20c/"));
    assert_true(str_ends(step.request.target, STR("/b%20c/b%20c")));
    assert_in_range(memory_in_use() - before, 0, 40 * body.n);
    buf_done(&body);
}

static void test_what_cannot_be_had_is_said(void **state)
{
    static const struct {
        const char *body, *error;
    } rows[] = {
        {NOT_OK(400, "Bad Request: file is too big"), "larger than the 20 MB that Telegram gives to bots"},
        {NOT_OK(400, "Bad Request: invalid file_id"),
         "Telegram does not give the file (HTTP 400: Bad Request: invalid file_id)"},
        {NOT_OK(400, "Bad Request: wrong file_id or the file is gone"),
         "Telegram does not give the file (HTTP 400: Bad Request: wrong file_id or the file is gone)"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file_fetch fetch = fetch_of("f1");
        next(&fetch, NULL);
        struct file_step step = answered(&fetch, 400, rows[i].body);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
        assert_str(step.verdict.error, rows[i].error);
    }
    struct file_fetch nameless = fetch_of("");
    assert_int_equal(next(&nameless, NULL).verdict.kind, VERDICT_REJECTED);
}

static void test_too_large(void **state)
{
    (void)state;
    struct file_fetch fetch;
    struct file_step step = placed(
        &fetch, "{\"ok\":true,\"result\":{\"file_id\":\"f1\",\"file_size\":20971521,\"file_path\":\"a/b\"}}");
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_str(step.verdict.error, "larger than the 20 MiB that are kept of a file");
    step = placed(&fetch, "{\"ok\":true,\"result\":{\"file_id\":\"f1\",\"file_size\":20971520,\"file_path\":\"a/b\"}}");
    assert_int_equal(step.kind, FILE_GET);
    struct http_response large = plain_failure(HTTP_UNREADABLE, true);
    large.too_large = true;
    step = next(&fetch, &large);
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_str(step.verdict.error, "larger than the 20 MiB that are kept of a file");
}

static void test_what_may_pass_is_tried_again(void **state)
{
    static const struct {
        int status;
        const char *body;
    } rows[] = {
        {400, NOT_OK(400, "Bad Request: wrong file_id or the file is temporarily unavailable")},
        {400, "<html>"},
        {401, NOT_OK(401, "Unauthorized")},
        {403, NOT_OK(403, "Forbidden")},
        {404, NOT_OK(404, "Not Found")},
        {429, NOT_OK(429, "Too Many Requests")},
        {500, "{}"},
        {502, ""},
        {301, ""},
        {200, ""},
        {200, "{\"ok\":true,\"result\":true}"},
        {200, "{\"ok\":true,\"result\":{\"file_id\":\"f1\"}}"},
        {200, "{\"ok\":false,\"result\":{\"file_path\":\"a/b\"}}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file_fetch fetch = fetch_of("f1");
        next(&fetch, NULL);
        struct file_step step = answered(&fetch, rows[i].status, rows[i].body);
        if (step.kind != FILE_END || step.verdict.kind != VERDICT_RETRY || !step.verdict.error.n)
            fail_msg("%d %s: %d", rows[i].status, rows[i].body, step.verdict.kind);
    }
    struct file_fetch fetch = fetch_of("f1");
    struct http_response lost = plain_failure(HTTP_TIMEOUT, true);
    next(&fetch, NULL);
    assert_int_equal(next(&fetch, &lost).verdict.kind, VERDICT_RETRY);
    placed(&fetch, PLACE("a/b"));
    assert_int_equal(next(&fetch, &lost).verdict.kind, VERDICT_RETRY);
    placed(&fetch, PLACE("a/b"));
    assert_int_equal(answered(&fetch, 500, "").verdict.kind, VERDICT_RETRY);
    struct http_response stopped = plain_failure(HTTP_CANCELLED, true);
    placed(&fetch, PLACE("a/b"));
    assert_int_equal(next(&fetch, &stopped).verdict.kind, VERDICT_WAIT);
}

static void test_a_limit_is_obeyed(void **state)
{
    (void)state;
    struct file_fetch fetch = fetch_of("f1");
    next(&fetch, NULL);
    struct file_step step = answered(&fetch, 429,
                                     "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\","
                                     "\"parameters\":{\"retry_after\":35}}");
    assert_int_equal(step.verdict.until_us, NOW_US + 35 * 1000000);
}

static void test_an_expired_address_is_asked_for_once_more(void **state)
{
    (void)state;
    struct file_fetch fetch;
    placed(&fetch, PLACE("a/b"));
    assert_int_equal(answered(&fetch, 404, NOT_OK(404, "Not Found")).kind, FILE_ASK);
    struct file_step step = answered(&fetch, 200, PLACE("a/c"));
    assert_str(step.request.target, "https://api.telegram.org/file/bot" TOKEN "/a/c");
    step = answered(&fetch, 404, NOT_OK(404, "Not Found"));
    assert_int_equal(step.kind, FILE_END);
    assert_int_equal(step.verdict.kind, VERDICT_RETRY);
    assert_str(step.verdict.error, "the file is not where Telegram says it is");
}

static void test_no_error_holds_the_token(void **state)
{
    static const int statuses[] = {200, 301, 400, 401, 403, 404, 429, 500, 502};
    static const char *const says[] = {NOT_OK(1, "no such path: /file/bot" TOKEN "/a/b"),
                                       NOT_OK(1, "/bot110201543%3AAAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getFile"),
                                       "GET /file/bot" TOKEN "/a/b"};
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        for (size_t j = 0; j < sizeof says / sizeof *says; j++) {
            struct file_fetch fetch = fetch_of("f1");
            next(&fetch, NULL);
            struct file_step step = answered(&fetch, statuses[i], says[j]);
            assert_false(plain_contains(step.verdict.error, "AAHdqTcv"));
            placed(&fetch, PLACE("a/b"));
            step = answered(&fetch, statuses[i], says[j]);
            assert_false(plain_contains(step.verdict.error, "AAHdqTcv"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_two_requests, clean),
        cmocka_unit_test_teardown(test_another_server, clean),
        cmocka_unit_test_teardown(test_paths_that_lead_elsewhere_are_not_asked_for, clean),
        cmocka_unit_test_teardown(test_a_path_takes_memory_as_it_is_long, clean),
        cmocka_unit_test_teardown(test_what_cannot_be_had_is_said, clean),
        cmocka_unit_test_teardown(test_too_large, clean),
        cmocka_unit_test_teardown(test_what_may_pass_is_tried_again, clean),
        cmocka_unit_test_teardown(test_a_limit_is_obeyed, clean),
        cmocka_unit_test_teardown(test_an_expired_address_is_asked_for_once_more, clean),
        cmocka_unit_test_teardown(test_no_error_holds_the_token, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
