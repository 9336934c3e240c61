// Changing and deleting what was sent to a chat: the exact requests (tests/data/telegram/replies.json), and what each answer means.
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "platform/platform.h"
#include "support/plain_http.h"
#include "support/telegram_steps.h"

#define NOW_US INT64_C(1700000000123456)
#define TOKEN "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
#define BOLD "[{\"type\":\"bold\",\"offset\":0,\"length\":3}]"
#define EDITED "{\"ok\":true,\"result\":{\"message_id\":77,\"date\":1,\"chat\":{\"id\":5,\"type\":\"private\"}}}"
#define DELETED "{\"ok\":true,\"result\":true}"
#define NOT_OK(status, says) "{\"ok\":false,\"error_code\":" #status ",\"description\":\"" says "\"}"

static struct arena arena;
static const struct source source = {.name = STR("bot"), .platform = STR("telegram"), .token = STR(TOKEN)};
static const struct message edit = {.direction = REPLY,
                                    .conversation = STR("5"),
                                    .text = STR("new"),
                                    .format = STR(BOLD),
                                    .act = REPLY_EDITS,
                                    .target_ref = STR("77")};
static const struct message deletion = {
    .direction = REPLY, .conversation = STR("5"), .text = STR(""), .act = REPLY_DELETES, .target_ref = STR("77")};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct delivery delivery_of(const struct message *message)
{
    return (struct delivery){.source = &source, .message = message, .now_us = NOW_US, .arena = &arena};
}

static struct verdict verdict_of_answer(const struct message *message, int status, const char *body)
{
    struct delivery delivery = delivery_of(message);
    struct delivery_step step = next(&delivery, NULL);
    assert_int_equal(step.kind, DELIVERY_SEND);
    assert_false(step.writes); // it may be done twice
    step = answered(&delivery, status, body);
    assert_int_equal(step.kind, DELIVERY_END);
    return step.verdict;
}

// Requests ------------------------------------------------------------------------------------------------

static void check_case(yyjson_val *each)
{
    struct message message = {.direction = REPLY,
                              .act = str_eq_c(json_get_str(each, "act"), "edits") ? REPLY_EDITS : REPLY_DELETES,
                              .conversation = json_get_str(each, "conversation"),
                              .address = json_get_str(each, "address"),
                              .target_ref = json_get_str(each, "target"),
                              .text = json_get_str(each, "text"),
                              .format = written_in(&arena, yyjson_obj_get(each, "format"))};
    struct delivery delivery = delivery_of(&message);
    struct delivery_step step = next(&delivery, NULL);
    print_message("%.*s\n", STR_ARG(json_get_str(each, "what")));
    assert_int_equal(step.kind, DELIVERY_SEND);
    struct str target = ARENA_JOIN(&arena, STR("https://api.telegram.org/bot" TOKEN "/"), json_get_str(each, "method"));
    assert_true(str_eq(step.request.target, target));
    assert_true(str_eq(step.request.body, written_in(&arena, yyjson_obj_get(each, "request"))));
}

static void test_requests_are_exact(void **state)
{
    (void)state;
    yyjson_doc *doc = json_read(plain_file(&arena, "tests/data/telegram/replies.json"));
    yyjson_val *acts = yyjson_obj_get(yyjson_doc_get_root(doc), "acts"), *each;
    size_t i, n;
    assert_true(yyjson_arr_size(acts) >= 8);
    yyjson_arr_foreach(acts, i, n, each) check_case(each);
    yyjson_doc_free(doc);
}

static void test_what_never_arrived_needs_no_request(void **state)
{
    (void)state;
    const struct message *const both[] = {&edit, &deletion};
    for (size_t i = 0; i < 2; i++) {
        struct message message = *both[i];
        message.target_ref = STR_NONE;
        struct delivery delivery = delivery_of(&message);
        struct delivery_step step = next(&delivery, NULL);
        assert_int_equal(step.kind, DELIVERY_END);
        assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
        assert_int_equal(step.verdict.status, 0);
    }
}

static void test_what_telegram_cannot_do_is_not_asked(void **state)
{
    (void)state;
    struct message message = deletion;
    message.conversation = STR("5:business:bc_1");
    struct delivery delivery = delivery_of(&message);
    struct delivery_step step = next(&delivery, NULL);
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_true(step.verdict.of_chat);
    assert_str(step.verdict.error, "the relay cannot delete messages in the chats of a business account");
    message = edit;
    message.target_ref = STR("5:x");
    delivery = delivery_of(&message);
    assert_str(next(&delivery, NULL).verdict.error, "what Telegram calls the message is not known");
    message = edit;
    message.conversation = STR("nobody");
    delivery = delivery_of(&message);
    assert_int_equal(next(&delivery, NULL).verdict.kind, VERDICT_REJECTED);
}

// Answers -------------------------------------------------------------------------------------------------

static void test_done(void **state)
{
    (void)state;
    assert_int_equal(verdict_of_answer(&edit, 200, EDITED).kind, VERDICT_DELIVERED);
    assert_int_equal(verdict_of_answer(&deletion, 200, DELETED).kind, VERDICT_DELIVERED);
    // The answer to an earlier attempt was lost.
    struct verdict verdict = verdict_of_answer(
        &edit, 400,
        NOT_OK(400, "Bad Request: message is not modified: specified new message content and reply markup are exactly "
                    "the same as a current content and reply markup of the message"));
    assert_int_equal(verdict.kind, VERDICT_DELIVERED);
    assert_null(verdict.error.p);
    verdict = verdict_of_answer(&deletion, 400, NOT_OK(400, "Bad Request: message to delete not found"));
    assert_int_equal(verdict.kind, VERDICT_DELIVERED);
}

static void test_refusals_are_said_in_words(void **state)
{
    static const struct {
        const struct message *message;
        int status;
        const char *body, *error;
    } rows[] = {
        {&edit, 400, NOT_OK(400, "Bad Request: message can't be edited"),
         "Telegram does not let this message be changed any more"},
        {&edit, 400, NOT_OK(400, "Bad Request: message to edit not found"), "the message is not in the chat any more"},
        {&edit, 400, NOT_OK(400, "Bad Request: MESSAGE_ID_INVALID"), "the message is not in the chat any more"},
        {&edit, 400, NOT_OK(400, "Bad Request: message is too long"), "a message may have 4096 characters at most"},
        {&deletion, 400, NOT_OK(400, "Bad Request: message can't be deleted for everyone"),
         "Telegram does not let bots delete this message: it is older than 48 hours, or the bot may not delete here"},
        {&deletion, 403, NOT_OK(403, "Forbidden: bot was blocked by the user"), "the customer has blocked the bot"},
        {&edit, 400,
         "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: group chat was upgraded to a supergroup chat\","
         "\"parameters\":{\"migrate_to_chat_id\":-1001234567890}}",
         "the message is from before the group became a supergroup"},
        {&deletion, 400,
         "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: group chat was upgraded to a supergroup chat\","
         "\"parameters\":{\"migrate_to_chat_id\":-1001234567890}}",
         "the message is from before the group became a supergroup"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct verdict verdict = verdict_of_answer(rows[i].message, rows[i].status, rows[i].body);
        assert_int_equal(verdict.kind, VERDICT_REJECTED);
        assert_str(verdict.error, rows[i].error);
        assert_true(verdict.of_chat);
        assert_int_equal(verdict.status, rows[i].status);
    }
    struct verdict verdict = verdict_of_answer(&deletion, 400, NOT_OK(400, "Bad Request: something new"));
    assert_int_equal(verdict.kind, VERDICT_REJECTED);
    assert_str(verdict.error, "HTTP 400: Bad Request: something new");
}

static void test_the_words_under_a_file_are_its_caption(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&edit);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 400,
                                         NOT_OK(400, "Bad Request: there is no text in the message to edit"));
    assert_true(str_ends(step.request.target, STR("/editMessageCaption")));
    assert_false(step.writes);
    assert_str(step.request.body,
               "{\"chat_id\":5,\"message_id\":77,\"caption\":\"new\",\"caption_entities\":" BOLD "}");
    step = answered(&delivery, 400, NOT_OK(400, "Bad Request: message caption is too long"));
    assert_int_equal(step.kind, DELIVERY_END);
    assert_str(step.verdict.error, "the words under a file may have 1024 characters at most");
    delivery = delivery_of(&edit);
    next(&delivery, NULL);
    answered(&delivery, 400, NOT_OK(400, "Bad Request: there is no text in the message to edit"));
    step = answered(&delivery, 400, NOT_OK(400, "Bad Request: there is no text in the message to edit"));
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
}

static void test_formatting_that_is_refused_is_left_out(void **state)
{
    (void)state;
    struct delivery delivery = delivery_of(&edit);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 400, NOT_OK(400, "Bad Request: can't parse entities"));
    assert_str(step.request.body, "{\"chat_id\":5,\"message_id\":77,\"text\":\"new\"}");
}

// It can be repeated, so nobody needs to be asked or told.
static void test_a_lost_answer_leaves_no_doubt(void **state)
{
    (void)state;
    const struct message *const both[] = {&edit, &deletion};
    for (size_t i = 0; i < 2; i++) {
        struct delivery delivery = delivery_of(both[i]);
        struct http_response lost = plain_failure(HTTP_TIMEOUT, true);
        next(&delivery, NULL);
        struct delivery_step step = next(&delivery, &lost);
        assert_int_equal(step.verdict.kind, VERDICT_DESK_DOWN);
        assert_false(step.verdict.maybe_applied || step.verdict.unanswered);
        assert_false(verdict_of_answer(both[i], 500, "{}").maybe_applied);
        struct verdict verdict = verdict_of_answer(both[i], 200, "<html>");
        assert_int_equal(verdict.kind, VERDICT_RETRY);
        assert_false(verdict.maybe_applied);
    }
}

static void test_limits_and_the_bot_as_a_whole(void **state)
{
    (void)state;
    struct verdict verdict = verdict_of_answer(
        &deletion, 429, "{\"ok\":false,\"parameters\":{\"retry_after\":5},\"description\":\"x\"}");
    assert_int_equal(verdict.kind, VERDICT_WAIT);
    assert_true(verdict.limited);
    assert_int_equal(verdict.until_us, NOW_US + 5 * 1000000);
    verdict = verdict_of_answer(&deletion, 401, NOT_OK(401, "Unauthorized"));
    assert_int_equal(verdict.kind, VERDICT_DESK_DOWN);
    assert_true(verdict.alarm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_requests_are_exact, clean),
        cmocka_unit_test_teardown(test_what_never_arrived_needs_no_request, clean),
        cmocka_unit_test_teardown(test_what_telegram_cannot_do_is_not_asked, clean),
        cmocka_unit_test_teardown(test_done, clean),
        cmocka_unit_test_teardown(test_refusals_are_said_in_words, clean),
        cmocka_unit_test_teardown(test_the_words_under_a_file_are_its_caption, clean),
        cmocka_unit_test_teardown(test_formatting_that_is_refused_is_left_out, clean),
        cmocka_unit_test_teardown(test_a_lost_answer_leaves_no_doubt, clean),
        cmocka_unit_test_teardown(test_limits_and_the_bot_as_a_whole, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
