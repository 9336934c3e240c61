// A reply's way to Telegram: the exact requests (tests/data/telegram/replies.json), and what each answer means.
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "platform/platform.h"
#include "support/plain_http.h"
#include "support/telegram_steps.h"

#define NOW_US INT64_C(1700000000123456)
#define TOKEN "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
#define BOLD "[{\"type\":\"bold\",\"offset\":0,\"length\":2}]"

static struct arena arena;
static const struct account account = {.name = STR("acme")};
static const struct source source = {.name = STR("bot"), .platform = STR("telegram"), .token = STR(TOKEN)};
static const struct message plain = {.direction = REPLY, .conversation = STR("-5"), .text = STR("Hi")};
static const struct message bold = {
    .direction = REPLY, .conversation = STR("-5"), .text = STR("Hi"), .format = STR(BOLD)};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct delivery delivery_of(const struct message *message)
{
    return (struct delivery){
        .account = &account, .source = &source, .message = message, .now_us = NOW_US, .arena = &arena};
}

// One request, and what its answer comes to.
static struct verdict verdict_of_answer(const struct message *message, int status, const char *body)
{
    struct delivery delivery = delivery_of(message);
    assert_int_equal(next(&delivery, NULL).kind, DELIVERY_SEND);
    struct delivery_step step = answered(&delivery, status, body);
    assert_int_equal(step.kind, DELIVERY_END);
    return step.verdict;
}

// Requests ------------------------------------------------------------------------------------------------

static void check_case(yyjson_val *each)
{
    struct message message = {.direction = REPLY,
                              .conversation = json_get_str(each, "conversation"),
                              .address = json_get_str(each, "address"),
                              .text = json_get_str(each, "text"),
                              .format = written_in(&arena, yyjson_obj_get(each, "format"))};
    struct delivery delivery = delivery_of(&message);
    struct delivery_step step = next(&delivery, NULL);
    print_message("%.*s\n", STR_ARG(json_get_str(each, "what")));
    assert_int_equal(step.kind, DELIVERY_SEND);
    assert_true(step.writes);
    assert_str(step.request.method, "POST");
    assert_str(step.request.target, "https://api.telegram.org/bot" TOKEN "/sendMessage");
    assert_str(http_header_get(step.request.headers, step.request.header_count, "content-type"), "application/json");
    assert_true(str_eq(step.request.body, written_in(&arena, yyjson_obj_get(each, "request"))));
}

static void test_requests_are_exact(void **state)
{
    (void)state;
    yyjson_doc *doc = json_read(plain_file(&arena, "tests/data/telegram/replies.json"));
    yyjson_val *sends = yyjson_obj_get(yyjson_doc_get_root(doc), "sends"), *each;
    size_t i, n;
    assert_true(yyjson_arr_size(sends) >= 8);
    yyjson_arr_foreach(sends, i, n, each) check_case(each);
    yyjson_doc_free(doc);
}

static void test_another_server(void **state)
{
    (void)state;
    struct source own = source;
    own.api_url = STR("http://127.0.0.1:8081");
    struct delivery delivery = delivery_of(&plain);
    delivery.source = &own;
    assert_str(next(&delivery, NULL).request.target, "http://127.0.0.1:8081/bot" TOKEN "/sendMessage");
}

static void test_what_is_no_chat_is_asked_of_nobody(void **state)
{
    static const char *const threads[] = {"nobody", "unreadable", "",           "x:1",
                                          "1:",     "1:x",        "1:direct:x", "99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        struct message message = {.direction = REPLY, .conversation = str_of(threads[i]), .text = STR("Hi")};
        struct delivery delivery = delivery_of(&message);
        struct delivery_step step = next(&delivery, NULL);
        assert_int_equal(step.kind, DELIVERY_END);
        assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
        assert_true(step.verdict.of_chat);
        assert_str(step.verdict.error, "this conversation belongs to no chat that the bot could write to");
    }
}

// Answers -------------------------------------------------------------------------------------------------

#define OK "{\"ok\":true,\"result\":{\"message_id\":77,\"date\":1,\"chat\":{\"id\":-5,\"type\":\"group\"}}}"
#define NOT_OK(status, says) "{\"ok\":false,\"error_code\":" #status ",\"description\":\"" says "\"}"
#define MOVED                                                                                                          \
    "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: group chat was upgraded to a supergroup chat\","  \
    "\"parameters\":{\"migrate_to_chat_id\":-1001234567890}}"
#define NO_ENTITIES NOT_OK(400, "Bad Request: can't parse entities: unsupported entity")

static void test_taken(void **state)
{
    (void)state;
    struct verdict verdict = verdict_of_answer(&plain, 200, OK);
    assert_int_equal(verdict.kind, VERDICT_DELIVERED);
    assert_str(verdict.desk_ref, "77");
    assert_false(verdict.maybe_applied);
    verdict = verdict_of_answer(&plain, 200, "{\"ok\":true,\"result\":true}");
    assert_int_equal(verdict.kind, VERDICT_DELIVERED);
    assert_null(verdict.desk_ref.p);
}

static void test_taken_or_not_nobody_can_tell(void **state)
{
    static const char *const bodies[] = {"", "{}", "{\"ok\":false}", "{\"ok\":1}", "[]", "<html>", "{\"ok\":true"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct verdict verdict = verdict_of_answer(&plain, 200, bodies[i]);
        assert_int_equal(verdict.kind, VERDICT_RETRY);
        assert_true(verdict.maybe_applied);
        assert_str(verdict.error, "Telegram's answer does not say what became of it");
    }
}

static void test_refusals(void **state)
{
    static const struct {
        int status;
        const char *body;
        bool of_chat;
        const char *error;
    } rows[] = {
        {403, NOT_OK(403, "Forbidden: bot was blocked by the user"), true, "the customer has blocked the bot"},
        {403, NOT_OK(403, "Forbidden: user is deactivated"), true, "the account of the customer was deleted"},
        {403, NOT_OK(403, "Forbidden: bot was kicked from the group chat"), true, "the bot was removed from the group"},
        {403, NOT_OK(403, "Forbidden: bot was kicked from the supergroup chat"), true,
         "the bot was removed from the group"},
        {403, NOT_OK(403, "Forbidden: bot is not a member of the channel chat"), true,
         "the bot is not a member of the group"},
        {403, NOT_OK(403, "Forbidden: the group chat was deleted"), true, "the group was deleted"},
        {403, NOT_OK(403, "Forbidden: bot can't initiate conversation with a user"), true,
         "the customer has not started the bot"},
        {403, NOT_OK(403, "Forbidden: bot can't send messages to bots"), true,
         "the chat is that of another bot, and bots cannot write to each other"},
        {403, NOT_OK(403, "Forbidden: something new"), false,
         "Telegram does not let the bot write in this chat (HTTP 403: Forbidden: something new)"},
        {400, NOT_OK(400, "Bad Request: chat not found"), true, "the chat was not found"},
        {400, NOT_OK(400, "Bad Request: message thread not found"), true, "the topic was not found"},
        {400, NOT_OK(400, "Bad Request: TOPIC_CLOSED"), true, "the topic is closed"},
        {400, NOT_OK(400, "Bad Request: not enough rights to send text messages to the chat"), true,
         "the bot may not write in this chat"},
        {400, NOT_OK(400, "Bad Request: group chat was upgraded to a supergroup chat"), true,
         "the group has moved, and Telegram does not say where to"},
        {400, NOT_OK(400, "Bad Request: BUSINESS_CONNECTION_INVALID"), true,
         "the business account does not let the bot write in its name any more"},
        {400, NOT_OK(400, "Bad Request: message is too long"), false, "HTTP 400: Bad Request: message is too long"},
        {400, "", false, "HTTP 400"},
        {413, NOT_OK(413, "Request Entity Too Large"), false, "HTTP 413: Request Entity Too Large"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict verdict = verdict_of_answer(&plain, rows[i].status, rows[i].body);
        assert_int_equal(verdict.kind, VERDICT_REJECTED);
        assert_int_equal(verdict.of_chat, rows[i].of_chat);
        assert_int_equal(verdict.status, rows[i].status);
        assert_str(verdict.error, rows[i].error);
        assert_false(verdict.alarm || verdict.maybe_applied || verdict.limited || verdict.until_us);
    }
}

static void test_a_refusal_that_is_not_telegrams_says_nothing_of_the_chat(void **state)
{
    (void)state;
    struct verdict verdict = verdict_of_answer(&plain, 403, "bot was blocked by the user");
    assert_int_equal(verdict.kind, VERDICT_DESK_DOWN);
    assert_true(verdict.alarm);
    assert_false(verdict.of_chat);
    verdict = verdict_of_answer(&plain, 429, "slow down");
    assert_int_equal(verdict.kind, VERDICT_DESK_DOWN);
    assert_false(verdict.limited);
}

static void test_the_bot_as_a_whole(void **state)
{
    static const struct {
        int status;
        const char *body, *error;
    } rows[] = {
        {401, NOT_OK(401, "Unauthorized"),
         "Telegram does not know this bot (HTTP 401: Unauthorized): the token is wrong or was revoked, or api_url is not a "
         "Bot API server"},
        {404, NOT_OK(404, "Not Found"),
         "Telegram does not know this bot (HTTP 404: Not Found): the token is wrong or was revoked, or api_url is not a Bot "
         "API server"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict verdict = verdict_of_answer(&plain, rows[i].status, rows[i].body);
        assert_int_equal(verdict.kind, VERDICT_DESK_DOWN);
        assert_true(verdict.alarm);
        assert_str(verdict.error, rows[i].error);
    }
    assert_int_equal(verdict_of_answer(&plain, 500, "{}").kind, VERDICT_RETRY);
    assert_true(verdict_of_answer(&plain, 500, "{}").maybe_applied);
    assert_int_equal(verdict_of_answer(&plain, 502, "{}").kind, VERDICT_DESK_DOWN);
    assert_true(verdict_of_answer(&plain, 502, "{}").unanswered);
}

static void test_no_answer(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&plain);
    next(&delivery, NULL);
    struct http_response lost = plain_failure(HTTP_TIMEOUT, true);
    struct delivery_step step = next(&delivery, &lost);
    assert_int_equal(step.kind, DELIVERY_END);
    assert_int_equal(step.verdict.kind, VERDICT_DESK_DOWN);
    assert_true(step.verdict.maybe_applied);
}

static void test_a_limit_holds_the_chat_as_long_as_telegram_says(void **state)
{
    static const struct {
        const char *parameters, *header;
        int64_t wait_s;
    } rows[] = {
        {",\"parameters\":{\"retry_after\":35}", NULL, 35},
        {",\"parameters\":{\"retry_after\":35}", "7", 35},
        {"", "7", 7},
        {"", NULL, 1},
        {",\"parameters\":{\"retry_after\":0}", NULL, 1},
        {",\"parameters\":{\"retry_after\":-4}", NULL, 1},
        {",\"parameters\":{\"retry_after\":\"9\"}", "x", 1},
        {",\"parameters\":{\"retry_after\":99999}", NULL, 3600},
        {",\"parameters\":{\"retry_after\":18446744073709551615}", NULL, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *const pairs[] = {rows[i].header ? "retry-after" : NULL, rows[i].header, NULL};
        struct plain_headers headers = plain_headers_of(pairs);
        struct http_response response = plain_answer(
            429, &headers,
            arena_printf(&arena, "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\"%s}",
                         rows[i].parameters));
        struct delivery delivery = delivery_of(&plain);
        next(&delivery, NULL);
        struct delivery_step step = next(&delivery, &response);
        assert_int_equal(step.verdict.kind, VERDICT_WAIT);
        assert_true(step.verdict.limited);
        assert_false(step.verdict.maybe_applied);
        assert_int_equal(step.verdict.until_us, NOW_US + rows[i].wait_s * 1000000);
    }
}

// Once more -----------------------------------------------------------------------------------------------

static void test_a_group_that_moved_is_followed(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&bold);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 400, MOVED);
    assert_int_equal(step.kind, DELIVERY_SEND);
    assert_true(step.writes);
    assert_str(step.request.body, "{\"chat_id\":-1001234567890,\"text\":\"Hi\",\"entities\":" BOLD "}");
    step = answered(&delivery, 200, OK);
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
    assert_str(delivery.moved_to, "-1001234567890");
}

static void test_a_group_is_followed_once(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&plain);
    next(&delivery, NULL);
    assert_int_equal(answered(&delivery, 400, MOVED).kind, DELIVERY_SEND);
    struct delivery_step step = answered(&delivery, 400, MOVED);
    assert_int_equal(step.kind, DELIVERY_END);
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_true(step.verdict.of_chat);
    assert_str(delivery.moved_to, "-1001234567890"); // where it has gone is known all the same
}

static void test_the_topic_goes_with_the_group(void **state)
{
    (void)state;
    struct message topic = plain;
    topic.conversation = STR("-5:9");
    struct delivery delivery = delivery_of(&topic);
    next(&delivery, NULL);
    assert_str(answered(&delivery, 400, MOVED).request.body,
               "{\"chat_id\":-1001234567890,\"message_thread_id\":9,\"text\":\"Hi\"}");
    assert_str(delivery.moved_to, "-1001234567890:9");
}

static void test_formatting_that_is_refused_is_left_out(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&bold);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 400, NO_ENTITIES);
    assert_int_equal(step.kind, DELIVERY_SEND);
    assert_str(step.request.body, "{\"chat_id\":-5,\"text\":\"Hi\"}");
    step = answered(&delivery, 400, NO_ENTITIES);
    assert_int_equal(step.kind, DELIVERY_END);
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_false(step.verdict.of_chat);
    assert_int_equal(verdict_of_answer(&plain, 400, NO_ENTITIES).kind, VERDICT_REJECTED);
}

static void test_moved_and_without_formatting(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&bold);
    next(&delivery, NULL);
    answered(&delivery, 400, NO_ENTITIES);
    struct delivery_step step = answered(&delivery, 400, MOVED);
    assert_str(step.request.body, "{\"chat_id\":-1001234567890,\"text\":\"Hi\"}");
    assert_int_equal(answered(&delivery, 200, OK).verdict.kind, VERDICT_DELIVERED);
}

static void test_no_error_holds_the_token(void **state)
{
    static const int statuses[] = {400, 401, 403, 404, 429, 500, 502};
    (void)state;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct verdict verdict = verdict_of_answer(&plain, statuses[i],
                                                   NOT_OK(1, "no such path: /bot" TOKEN "/sendMessage"));
        assert_true(verdict.error.n > 0);
        assert_false(plain_contains(verdict.error, "AAHdqTcv"));
        struct http_response response = plain_answer(statuses[i], NULL,
                                                     STR("{\"ok\":false,\"description\":\"/bot" TOKEN "/getMe\"}"));
        verdict = platform_telegram.receiver->probe_verdict(&response, NOW_US, &arena);
        assert_false(plain_contains(verdict.error, "AAHdqTcv"));
    }
}

// The probe -----------------------------------------------------------------------------------------------

static void test_probe(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum verdict_kind kind;
        bool alarm;
    } rows[] = {
        {200, "{\"ok\":true,\"result\":{\"id\":1}}", VERDICT_DELIVERED, false},
        {200, "{\"ok\":false}", VERDICT_RETRY, false},
        {200, "<html>", VERDICT_RETRY, false},
        {401, NOT_OK(401, "Unauthorized"), VERDICT_DESK_DOWN, true},
        {404, NOT_OK(404, "Not Found"), VERDICT_DESK_DOWN, true},
        {403, "", VERDICT_DESK_DOWN, true},
        {429, NOT_OK(429, "Too Many Requests"), VERDICT_DESK_DOWN, false},
        {500, "", VERDICT_RETRY, false},
        {502, "", VERDICT_DESK_DOWN, false},
    };
    (void)state;
    struct http_request request;
    assert_true(platform_telegram.receiver->probe(&account, &source, &arena, &request));
    assert_str(request.target, "https://api.telegram.org/bot" TOKEN "/getMe");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_response response = plain_answer(rows[i].status, NULL, str_of(rows[i].body));
        struct verdict verdict = platform_telegram.receiver->probe_verdict(&response, NOW_US, &arena);
        assert_int_equal(verdict.kind, rows[i].kind);
        assert_int_equal(verdict.alarm, rows[i].alarm);
        assert_false(verdict.maybe_applied);
    }
}

static void test_what_the_receiver_says_of_itself(void **state)
{
    (void)state;
    const struct receiver *receiver = platform_telegram.receiver;
    assert_string_equal(receiver->name, "telegram");
    assert_false(receiver->has_key || receiver->has_lookup);
    assert_int_equal(receiver->rate_per_min, 1800);
    assert_int_equal(receiver->pace_us, 1000000);
    assert_in_range(receiver->pace_burst, 2, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_requests_are_exact, clean),
        cmocka_unit_test_teardown(test_another_server, clean),
        cmocka_unit_test_teardown(test_what_is_no_chat_is_asked_of_nobody, clean),
        cmocka_unit_test_teardown(test_taken, clean),
        cmocka_unit_test_teardown(test_taken_or_not_nobody_can_tell, clean),
        cmocka_unit_test_teardown(test_refusals, clean),
        cmocka_unit_test_teardown(test_a_refusal_that_is_not_telegrams_says_nothing_of_the_chat, clean),
        cmocka_unit_test_teardown(test_the_bot_as_a_whole, clean),
        cmocka_unit_test_teardown(test_no_answer, clean),
        cmocka_unit_test_teardown(test_a_limit_holds_the_chat_as_long_as_telegram_says, clean),
        cmocka_unit_test_teardown(test_a_group_that_moved_is_followed, clean),
        cmocka_unit_test_teardown(test_a_group_is_followed_once, clean),
        cmocka_unit_test_teardown(test_the_topic_goes_with_the_group, clean),
        cmocka_unit_test_teardown(test_formatting_that_is_refused_is_left_out, clean),
        cmocka_unit_test_teardown(test_moved_and_without_formatting, clean),
        cmocka_unit_test_teardown(test_no_error_holds_the_token, clean),
        cmocka_unit_test_teardown(test_probe, clean),
        cmocka_unit_test_teardown(test_what_the_receiver_says_of_itself, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
