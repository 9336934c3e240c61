// The failure table of DESIGN.md, row by row.
#include "support/unit.h"

#include <string.h>

#include "model/verdict.h"
#include "support/plain_http.h"

#define NOW_S 784111777 // Sun, 06 Nov 1994 08:49:37 GMT
#define NOW_US (NOW_S * INT64_C(1000000))

static struct arena arena;

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct verdict verdict_of_status(int status, bool writes)
{
    struct http_response response = plain_answer(status, NULL, STR(""));
    return verdict_of(&response, writes, NOW_US, &arena);
}

static void test_every_status_has_its_row(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum verdict_kind kind;
        bool maybe, unanswered, alarm;
    } rows[] = {
        {200, VERDICT_DELIVERED, 0, 0, 0}, {201, VERDICT_DELIVERED, 0, 0, 0}, {204, VERDICT_DELIVERED, 0, 0, 0},
        {299, VERDICT_DELIVERED, 0, 0, 0}, {301, VERDICT_RETRY, 0, 0, 0},     {302, VERDICT_RETRY, 0, 0, 0},
        {307, VERDICT_RETRY, 0, 0, 0},     {400, VERDICT_REJECTED, 0, 0, 0},  {401, VERDICT_DESK_DOWN, 0, 0, 1},
        {402, VERDICT_REJECTED, 0, 0, 0},  {403, VERDICT_DESK_DOWN, 0, 0, 1}, {404, VERDICT_REJECTED, 0, 0, 0},
        {405, VERDICT_REJECTED, 0, 0, 0},  {406, VERDICT_REJECTED, 0, 0, 0},  {408, VERDICT_DESK_DOWN, 0, 0, 0},
        {409, VERDICT_REJECTED, 0, 0, 0},  {410, VERDICT_REJECTED, 0, 0, 0},  {413, VERDICT_REJECTED, 0, 0, 0},
        {415, VERDICT_REJECTED, 0, 0, 0},  {422, VERDICT_REJECTED, 0, 0, 0},  {429, VERDICT_DESK_DOWN, 0, 0, 0},
        {451, VERDICT_REJECTED, 0, 0, 0},  {499, VERDICT_REJECTED, 0, 0, 0},  {500, VERDICT_RETRY, 1, 0, 0},
        {501, VERDICT_RETRY, 1, 0, 0},     {502, VERDICT_DESK_DOWN, 1, 1, 0}, {503, VERDICT_DESK_DOWN, 1, 0, 0},
        {504, VERDICT_DESK_DOWN, 1, 1, 0}, {505, VERDICT_RETRY, 1, 0, 0},     {529, VERDICT_RETRY, 1, 0, 0},
        {599, VERDICT_RETRY, 1, 0, 0},     {600, VERDICT_RETRY, 1, 0, 0},     {999, VERDICT_RETRY, 1, 0, 0},
        {101, VERDICT_RETRY, 1, 0, 0},     {0, VERDICT_RETRY, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int writes = 0; writes < 2; writes++) {
            struct verdict verdict = verdict_of_status(rows[i].status, writes);
            if (verdict.kind != rows[i].kind || verdict.maybe_applied != (rows[i].maybe && writes) ||
                verdict.unanswered != (rows[i].unanswered && writes) || verdict.alarm != rows[i].alarm)
                fail_msg("status %d, writes %d: %s", rows[i].status, writes, verdict_kind_name(verdict.kind));
            assert_int_equal(verdict.status, rows[i].status);
            assert_int_equal(verdict.error.p != NULL, verdict.kind != VERDICT_DELIVERED);
            assert_false(verdict.not_found);
            assert_null(verdict.desk_ref.p);
        }
    }
}

static void test_an_answer_before_the_request_was_written_is_no_doubt(void **state)
{
    (void)state;
    for (int status = 502; status <= 504; status++) {
        struct http_response response = plain_answer(status, NULL, STR(""));
        response.written = false;
        struct verdict verdict = verdict_of(&response, true, NOW_US, &arena);
        assert_int_equal(verdict.kind, VERDICT_DESK_DOWN);
        assert_false(verdict.maybe_applied || verdict.unanswered);
    }
    struct http_response response = plain_answer(500, NULL, STR("")); // not of a proxy: the desk itself was at it
    response.written = false;
    struct verdict verdict = verdict_of(&response, true, NOW_US, &arena);
    assert_int_equal(verdict.kind, VERDICT_RETRY);
    assert_true(verdict.maybe_applied);
    assert_false(verdict.unanswered);
}

static void test_no_answer_is_doubt_only_when_written(void **state)
{
    (void)state;
    static const struct {
        enum http_failure failure;
        bool written;
        enum verdict_kind kind;
        bool maybe, unanswered;
    } rows[] = {
        {HTTP_NOT_CONNECTED, 0, VERDICT_DESK_DOWN, 0, 0}, {HTTP_TLS, 0, VERDICT_DESK_DOWN, 0, 0},
        {HTTP_TIMEOUT, 0, VERDICT_DESK_DOWN, 0, 0},       {HTTP_TIMEOUT, 1, VERDICT_DESK_DOWN, 1, 1},
        {HTTP_DROPPED, 0, VERDICT_DESK_DOWN, 0, 0},       {HTTP_DROPPED, 1, VERDICT_DESK_DOWN, 1, 1},
        {HTTP_RESENT, 0, VERDICT_DESK_DOWN, 1, 1},        {HTTP_RESENT, 1, VERDICT_DESK_DOWN, 1, 1},
        {HTTP_UNREADABLE, 1, VERDICT_RETRY, 1, 0},        {HTTP_UNREADABLE, 0, VERDICT_RETRY, 1, 0},
        {HTTP_CANCELLED, 0, VERDICT_WAIT, 0, 0},          {HTTP_CANCELLED, 1, VERDICT_WAIT, 1, 1},
        {HTTP_UNSENDABLE, 0, VERDICT_RETRY, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_response response = plain_failure(rows[i].failure, rows[i].written);
        struct verdict verdict = verdict_of(&response, true, NOW_US, &arena);
        if (verdict.kind != rows[i].kind || verdict.maybe_applied != rows[i].maybe ||
            verdict.unanswered != rows[i].unanswered)
            fail_msg("row %zu: %s, maybe %d", i, verdict_kind_name(verdict.kind), verdict.maybe_applied);
        assert_str(verdict.error, "the wire was cut");
        verdict = verdict_of(&response, false, NOW_US, &arena);
        assert_false(verdict.maybe_applied);
        assert_false(verdict.unanswered);
    }
}

static int64_t pause_after(int status, const char *retry_after)
{
    struct plain_headers headers = plain_headers_of((const char *const[]){"retry-after", retry_after, NULL});
    struct http_response response = plain_answer(status, &headers, STR(""));
    int64_t until_us = verdict_of(&response, true, NOW_US, &arena).until_us;
    return until_us ? until_us - NOW_US : 0;
}

static void test_retry_after_is_obeyed_within_reason(void **state)
{
    (void)state;
    const int64_t second = 1000000;
    assert_int_equal(pause_after(429, "7"), 7 * second);
    assert_int_equal(pause_after(503, " 7 "), 7 * second);
    assert_int_equal(pause_after(429, "3600"), 3600 * second);
    assert_int_equal(pause_after(429, "3601"), 3600 * second);
    assert_int_equal(pause_after(429, "99999999999999999999999999"), 3600 * second);
    assert_int_equal(pause_after(429, "0"), 0);
    assert_int_equal(pause_after(429, "-5"), 0);
    assert_int_equal(pause_after(429, "+5"), 0);
    assert_int_equal(pause_after(429, "7.5"), 0);
    assert_int_equal(pause_after(429, ""), 0);
    assert_int_equal(pause_after(429, "soon"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1994 08:50:37 GMT"), 60 * second);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1994 23:49:37 GMT"), 3600 * second);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1994 08:49:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1993 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Foo 1994 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, -6 Nov 1994 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, x6 Nov 1995 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 199x 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1995 x8:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1995 08:x0:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1995 08:50:3x GMT"), 0);
    assert_int_equal(pause_after(429, "Sunx 06 Nov 1994 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun,x06 Nov 1994 08:50:37 GMT"), 0);
    assert_int_equal(pause_after(429, "Sun, 06 Nov 1994 08:50:37 CET"), 0);
    assert_int_equal(pause_after(500, "7"), 0); // a counted failure has its own backoff
    assert_int_equal(pause_after(400, "7"), 0);
}

static void test_error_carries_the_peers_words(void **state)
{
    (void)state;
    static const struct {
        const char *body, *error;
    } rows[] = {
        {"", "HTTP 422"},
        {"{\"type\":\"error.list\",\"errors\":[{\"code\":\"data_invalid\",\"message\":\"body is empty\"}]}",
         "HTTP 422: data_invalid: body is empty"},
        {"{\"errors\":[{\"code\":\"not_found\"}]}", "HTTP 422: not_found"},
        {"{\"errors\":[]}", "HTTP 422"},
        {"{\"errors\":\"no\"}", "HTTP 422"},
        {"{\"ok\":false,\"description\":\"Bad Request: chat not found\"}", "HTTP 422: Bad Request: chat not found"},
        {"{\"error\":\"nope\"}", "HTTP 422: nope"},
        {"{\"error\":{\"message\":\"deep\"}}", "HTTP 422: deep"},
        {"[1,2]", "HTTP 422"},
        {"out of order\nsecond line", "HTTP 422: out of order"},
        {"tab\there", "HTTP 422: tab here"},
        {"a\x7F and", "HTTP 422: a  and"},
        {"<html><body>no</body></html>", "HTTP 422"},
        {"{\"cut\":", "HTTP 422"},
        {"\xFF\xFE", "HTTP 422"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_response response = plain_answer(422, NULL, str_of(rows[i].body));
        assert_str(verdict_of(&response, true, NOW_US, &arena).error, rows[i].error);
    }
}

static void test_long_error_is_cut_between_characters(void **state)
{
    (void)state;
    char body[1001] = {0};
    memset(body, 'x', 299);
    for (size_t i = 299; i + 2 < 1000; i += 2)
        memcpy(body + i, "\xC3\xA9", 2);
    struct http_response response = plain_answer(400, NULL, str_of(body));
    struct str error = verdict_of(&response, true, NOW_US, &arena).error;
    assert_int_equal(error.n, strlen("HTTP 400: ") + 299);
    assert_true(str_is_utf8(error));
    memset(body, '\x80', 1000); // of a library's own words nobody says that they are text
    struct http_response lost = {.failure = HTTP_DROPPED, .error = {body, 1000}};
    assert_int_equal(verdict_of(&lost, true, NOW_US, &arena).error.n, 0);
}

static void test_a_failure_without_words_says_that_there_was_no_answer(void **state)
{
    (void)state;
    struct http_response lost = {.failure = HTTP_TIMEOUT};
    assert_str(verdict_of(&lost, true, NOW_US, &arena).error, "no answer");
}

static void test_unreadable_success_is_doubt(void **state)
{
    (void)state;
    struct http_response response = plain_answer(200, NULL, STR("{"));
    struct verdict verdict = verdict_unreadable(&response, true, STR("no JSON"));
    assert_int_equal(verdict.kind, VERDICT_RETRY);
    assert_true(verdict.maybe_applied);
    assert_false(verdict.unanswered);
    assert_int_equal(verdict.status, 200);
    assert_false(verdict_unreadable(&response, false, STR("no JSON")).maybe_applied);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_status_has_its_row, clean),
        cmocka_unit_test_teardown(test_an_answer_before_the_request_was_written_is_no_doubt, clean),
        cmocka_unit_test_teardown(test_no_answer_is_doubt_only_when_written, clean),
        cmocka_unit_test_teardown(test_retry_after_is_obeyed_within_reason, clean),
        cmocka_unit_test_teardown(test_error_carries_the_peers_words, clean),
        cmocka_unit_test_teardown(test_long_error_is_cut_between_characters, clean),
        cmocka_unit_test_teardown(test_a_failure_without_words_says_that_there_was_no_answer, clean),
        cmocka_unit_test_teardown(test_unreadable_success_is_doubt, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
