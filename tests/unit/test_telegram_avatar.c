// A customer's profile picture at Telegram: whose is asked for, which size is taken, and what each answer comes to.
#include "support/unit.h"

#include <string.h>

#include "platform/platform.h"
#include "support/plain_http.h"

#define NOW_US INT64_C(1700000000123456)
#define TOKEN "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
#define SIZE(name, side)                                                                                               \
    "{\"file_id\":\"id-" name "\",\"file_unique_id\":\"" name "\",\"width\":" side ",\"height\":" side "}"
#define PHOTOS(sizes) "{\"ok\":true,\"result\":{\"total_count\":3,\"photos\":[" sizes "]}}"
#define NONE PHOTOS("")
#define NOT_OK(status, says) "{\"ok\":false,\"error_code\":" #status ",\"description\":\"" says "\"}"

static struct arena arena;
static const struct source source = {.name = STR("bot"), .platform = STR("telegram"), .token = STR(TOKEN)};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct file_fetch fetch_of(const char *thread, const char *known)
{
    return (struct file_fetch){.source = &source,
                               .thread = str_of(thread),
                               .known_picture = known ? str_of(known) : STR_NONE,
                               .max_size = 100000,
                               .arena = &arena,
                               .now_us = NOW_US};
}

static struct file_step next(struct file_fetch *fetch, const struct http_response *last)
{
    struct file_step step;
    platform_telegram.fetch_avatar(fetch, last, &step);
    return step;
}

static struct file_step answered(struct file_fetch *fetch, int status, const char *body)
{
    struct http_response response = plain_answer(status, NULL, str_of(body));
    return next(fetch, &response);
}

// The step behind the list of pictures.
static struct file_step listed(struct file_fetch *fetch, const char *known, const char *body)
{
    *fetch = fetch_of("77", known);
    assert_int_equal(next(fetch, NULL).kind, FILE_ASK);
    return answered(fetch, 200, body);
}

static void assert_takes(const char *name, const char *sizes)
{
    struct file_fetch fetch;
    struct str body = arena_printf(&arena, PHOTOS("[%s]"), sizes);
    struct file_step step = listed(&fetch, NULL, body.p);
    assert_int_equal(step.kind, FILE_ASK);
    assert_str(step.request.body, arena_printf(&arena, "{\"file_id\":\"id-%s\"}", name).p);
    assert_str(fetch.picture, name);
}

static void test_three_requests(void **state)
{
    (void)state;
    struct file_fetch fetch = fetch_of("77", NULL);
    struct file_step step = next(&fetch, NULL);
    assert_int_equal(step.kind, FILE_ASK);
    assert_true(step.trusted);
    assert_str(step.request.method, "POST");
    assert_str(step.request.target, "https://api.telegram.org/bot" TOKEN "/getUserProfilePhotos");
    assert_str(step.request.body, "{\"user_id\":77,\"offset\":0,\"limit\":1}");
    step = answered(&fetch, 200, PHOTOS("[" SIZE("a", "640") "]"));
    assert_str(step.request.target, "https://api.telegram.org/bot" TOKEN "/getFile");
    assert_str(step.request.body, "{\"file_id\":\"id-a\"}");
    step = answered(&fetch, 200, "{\"ok\":true,\"result\":{\"file_id\":\"id-a\",\"file_path\":\"photos/1.jpg\"}}");
    assert_int_equal(step.kind, FILE_GET);
    assert_str(step.request.target, "https://api.telegram.org/file/bot" TOKEN "/photos/1.jpg");
    step = answered(&fetch, 200, "");
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
    assert_str(fetch.picture, "a");
}

static void test_nobody_is_asked_for_but_the_customer_of_a_chat(void **state)
{
    static const char *const others[] = {"-100200",          "0", "-5:7",      "77:business:abc",
                                         "-100200:direct:4", "",  "unreadable"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct file_fetch fetch = fetch_of(others[i], NULL);
        struct file_step step = next(&fetch, NULL);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
        assert_str(fetch.picture, "");
    }
    struct file_fetch topic = fetch_of("77:4", NULL);
    assert_str(next(&topic, NULL).request.body, "{\"user_id\":77,\"offset\":0,\"limit\":1}");
}

static void test_the_smallest_that_is_large_enough_is_taken(void **state)
{
    (void)state;
    assert_takes("b", SIZE("a", "160") "," SIZE("b", "320") "," SIZE("c", "640"));
    assert_takes("b", SIZE("c", "640") "," SIZE("b", "320") "," SIZE("a", "160"));
    assert_takes("c", SIZE("c", "640") "," SIZE("d", "1280"));
    assert_takes("b", SIZE("a", "90") "," SIZE("b", "160")); // none is: the largest
    assert_takes("a", SIZE("a", "-1"));
    assert_takes("b", "{\"file_id\":\"id-a\",\"file_unique_id\":\"a\",\"width\":9999,\"height\":1}," SIZE("b", "320"));
    assert_takes("x", "{\"file_id\":\"id-x\",\"file_unique_id\":\"x\"}");
    assert_takes(
        "b", "{\"file_id\":\"id-a\",\"file_unique_id\":\"a\",\"width\":320,\"height\":320,\"file_size\":100001}," SIZE(
                 "b", "640"));
}

static void test_what_cannot_be_used_is_passed_over(void **state)
{
    (void)state;
    char longest[258];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_takes("b",
                 "7,null,[],{},{\"file_id\":\"i\"},{\"file_unique_id\":\"u\"},{\"file_id\":7,\"file_unique_id\":\"u\"},"
                 "{\"file_id\":\"\",\"file_unique_id\":\"u\"}," SIZE("b", "160"));
    struct file_fetch fetch;
    struct str body = arena_printf(&arena, PHOTOS("[{\"file_id\":\"i\",\"file_unique_id\":\"%s\"}]"), longest);
    struct file_step step = listed(&fetch, NULL, body.p);
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED); // none that could be shown
    assert_str(fetch.picture, "");
}

static void test_no_picture(void **state)
{
    (void)state;
    static const char *const bodies[] = {NONE, PHOTOS("[]"), "{\"ok\":true,\"result\":{\"photos\":[]}}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct file_fetch fetch;
        struct file_step step = listed(&fetch, "a", bodies[i]);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
        assert_str(fetch.picture, "");
    }
}

static void test_what_is_known_is_not_fetched(void **state)
{
    (void)state;
    struct file_fetch fetch;
    struct file_step step = listed(&fetch, "a", PHOTOS("[" SIZE("a", "640") "]"));
    assert_int_equal(step.kind, FILE_END);
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
    assert_str(fetch.picture, "a");
    assert_int_equal(listed(&fetch, "a", PHOTOS("[" SIZE("ab", "640") "]")).kind, FILE_ASK);
}

static void test_what_may_pass_is_tried_again(void **state)
{
    static const struct {
        int status;
        const char *body;
    } rows[] = {
        {400, "<html>"},
        {401, NOT_OK(401, "Unauthorized")},
        {404, NOT_OK(404, "Not Found")},
        {429, NOT_OK(429, "Too Many Requests")},
        {500, "{}"},
        {502, ""},
        {301, ""},
        {200, ""},
        {200, "[]"},
        {200, "{\"ok\":true,\"result\":true}"},
        {200, "{\"ok\":true,\"result\":{\"photos\":{}}}"},
        {200, "{\"ok\":true,\"result\":{\"photos\":[7]}}"},
        {200, "{\"ok\":true,\"result\":{\"photos\":[" SIZE("a", "640") "]}}"},
        {200, "{\"ok\":false,\"result\":{\"photos\":[]}}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file_fetch fetch = fetch_of("77", NULL);
        next(&fetch, NULL);
        struct file_step step = answered(&fetch, rows[i].status, rows[i].body);
        if (step.kind != FILE_END || step.verdict.kind != VERDICT_RETRY || !step.verdict.error.n)
            fail_msg("%d %s: %d", rows[i].status, rows[i].body, step.verdict.kind);
    }
    struct file_fetch fetch = fetch_of("77", NULL);
    next(&fetch, NULL);
    struct http_response lost = plain_failure(HTTP_TIMEOUT, true);
    assert_int_equal(next(&fetch, &lost).verdict.kind, VERDICT_RETRY);
    fetch = fetch_of("77", NULL);
    next(&fetch, NULL);
    assert_int_equal(answered(&fetch, 429,
                              "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\","
                              "\"parameters\":{\"retry_after\":35}}")
                         .verdict.until_us,
                     NOW_US + 35 * 1000000);
}

static void test_a_customer_who_is_not_known_is_for_good(void **state)
{
    (void)state;
    struct file_fetch fetch = fetch_of("77", NULL);
    next(&fetch, NULL);
    struct file_step step = answered(&fetch, 400, NOT_OK(400, "Bad Request: user not found"));
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
}

static void test_no_error_holds_the_token(void **state)
{
    static const int statuses[] = {200, 301, 400, 401, 403, 404, 429, 500, 502};
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct file_fetch fetch = fetch_of("77", NULL);
        next(&fetch, NULL);
        struct file_step step = answered(&fetch, statuses[i],
                                         NOT_OK(1, "no such path: /bot" TOKEN "/getUserProfilePhotos"));
        assert_int_equal(step.kind, FILE_END);
        assert_false(plain_contains(step.verdict.error, "AAHdqTcv"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_three_requests, clean),
        cmocka_unit_test_teardown(test_nobody_is_asked_for_but_the_customer_of_a_chat, clean),
        cmocka_unit_test_teardown(test_the_smallest_that_is_large_enough_is_taken, clean),
        cmocka_unit_test_teardown(test_what_cannot_be_used_is_passed_over, clean),
        cmocka_unit_test_teardown(test_no_picture, clean),
        cmocka_unit_test_teardown(test_what_is_known_is_not_fetched, clean),
        cmocka_unit_test_teardown(test_what_may_pass_is_tried_again, clean),
        cmocka_unit_test_teardown(test_a_customer_who_is_not_known_is_for_good, clean),
        cmocka_unit_test_teardown(test_no_error_holds_the_token, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
