// A reply that is a file: the form that is sent (tests/data/telegram/replies.json), and what becomes of a file that is not taken.
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "platform/platform.h"
#include "support/plain_http.h"
#include "support/telegram_steps.h"

#define NOW_US INT64_C(1700000000123456)
#define TOKEN "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define URL "https://desk.example/f/1"
#define LINK "Bag.jpg: " URL
#define OK "{\"ok\":true,\"result\":{\"message_id\":77,\"date\":1,\"chat\":{\"id\":5,\"type\":\"private\"}}}"
#define NOT_OK(status, says) "{\"ok\":false,\"error_code\":" #status ",\"description\":\"" says "\"}"

static struct arena arena;
static const struct source source = {.name = STR("bot"), .platform = STR("telegram"), .token = STR(TOKEN)};
static const struct attachment photo = {.kind = STR("image"),
                                        .url = STR(URL),
                                        .name = STR("Bag.jpg"),
                                        .mime = STR("image/jpeg"),
                                        .size = 3,
                                        .state = FILE_KEPT,
                                        .hash = STR(HASH)};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct message message_of(const struct attachment *files, size_t count)
{
    return (struct message){.id = 9,
                            .direction = REPLY,
                            .conversation = STR("5"),
                            .text = STR(""),
                            .attachments = attachments_write(files, count, &arena)};
}

static struct delivery delivery_of(const struct message *message)
{
    return (struct delivery){.source = &source,
                             .message = message,
                             .store_id = STR("random-of-the-store"),
                             .now_us = NOW_US,
                             .arena = &arena};
}

// The request --------------------------------------------------------------------------------------------

static struct str boundary_of(const struct http_request *request)
{
    struct str type = http_header_get(request->headers, request->header_count, "content-type");
    struct str start = STR("multipart/form-data; boundary=");
    assert_true(str_starts(type, start));
    struct str boundary = str_sub(type, start.n, type.n);
    assert_in_range(boundary.n, 40, 70); // RFC 2046: at most 70
    return boundary;
}

// What stands before the file's bytes, as the case says it.
static struct str form_of(yyjson_val *each, struct str boundary)
{
    struct str all = STR("");
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(yyjson_obj_get(each, "fields"), i, n, key, value)
    {
        struct str text = yyjson_is_str(value) ? json_val_str(value) : written_in(&arena, value);
        all = ARENA_JOIN(&arena, all, STR("--"), boundary, STR("\r\nContent-Disposition: form-data; name=\""),
                         json_val_str(key), STR("\"\r\n\r\n"), text, STR("\r\n"));
    }
    return ARENA_JOIN(&arena, all, STR("--"), boundary, STR("\r\nContent-Disposition: form-data; name=\""),
                      json_get_str(each, "field"), STR("\"; filename=\""), json_get_str(each, "filename"),
                      STR("\"\r\nContent-Type: "), json_get_str(each, "type"), STR("\r\n\r\n"));
}

static void check_case(yyjson_val *each)
{
    yyjson_val *said = yyjson_obj_get(each, "file");
    struct attachment file = {.kind = json_get_str(said, "kind"),
                              .name = json_get_str(said, "name"),
                              .mime = json_get_str(said, "mime"),
                              .size = yyjson_get_sint(yyjson_obj_get(said, "size")),
                              .state = FILE_KEPT,
                              .hash = STR(HASH)};
    struct message message = message_of(&file, 1);
    message.conversation = json_get_str(each, "conversation");
    message.address = json_get_str(each, "address");
    message.text = json_get_str(each, "text");
    message.format = written_in(&arena, yyjson_obj_get(each, "format"));
    struct delivery delivery = delivery_of(&message);
    struct delivery_step step = next(&delivery, NULL);
    print_message("%.*s\n", STR_ARG(json_get_str(each, "what")));
    assert_int_equal(step.kind, DELIVERY_SEND);
    assert_true(step.writes);
    assert_str(step.request.method, "POST");
    struct str target = ARENA_JOIN(&arena, STR("https://api.telegram.org/bot" TOKEN "/"), json_get_str(each, "method"));
    assert_true(str_eq(step.request.target, target));
    assert_int_equal(step.request.part_count, 3);
    struct str boundary = boundary_of(&step.request);
    const struct http_part *parts = step.request.parts;
    if (!str_eq(parts[0].bytes, form_of(each, boundary)))
        fail_msg("%.*s", STR_ARG(parts[0].bytes));
    assert_str(parts[1].file, HASH);
    assert_true(parts[1].file_size == file.size);
    assert_false(parts[1].base64);
    assert_true(str_eq(parts[2].bytes, ARENA_JOIN(&arena, STR("\r\n--"), boundary, STR("--\r\n"))));
    assert_int_equal(delivery.files_told, 1);
}

static void test_forms_are_exact(void **state)
{
    (void)state;
    yyjson_doc *doc = json_read(plain_file(&arena, "tests/data/telegram/replies.json"));
    yyjson_val *uploads = yyjson_obj_get(yyjson_doc_get_root(doc), "uploads"), *each;
    size_t i, n;
    assert_true(yyjson_arr_size(uploads) >= 20);
    yyjson_arr_foreach(uploads, i, n, each) check_case(each);
    yyjson_doc_free(doc);
}

static void test_the_boundary_is_the_messages_own(void **state)
{
    (void)state;
    struct message message = message_of(&photo, 1);
    struct delivery delivery = delivery_of(&message), again = delivery, elsewhere = delivery;
    struct delivery_step step = next(&delivery, NULL);
    struct str boundary = boundary_of(&step.request);
    step = next(&again, NULL);
    assert_true(str_eq(boundary_of(&step.request), boundary));
    elsewhere.store_id = STR("another");
    step = next(&elsewhere, NULL);
    assert_false(str_eq(boundary_of(&step.request), boundary));
    struct message other = message;
    other.id++;
    struct delivery of_other = delivery_of(&other);
    step = next(&of_other, NULL);
    assert_false(str_eq(boundary_of(&step.request), boundary));
}

static void test_a_long_name_is_cut_between_characters(void **state)
{
    (void)state;
    struct attachment file = photo;
    char name[400];
    memset(name, 'a', sizeof name);
    memcpy(name + 199, "\xC3\xA9", 2);
    file.name = (struct str){name, sizeof name};
    struct message message = message_of(&file, 1);
    struct delivery delivery = delivery_of(&message);
    struct delivery_step step = next(&delivery, NULL);
    assert_true(str_is_utf8(step.request.parts[0].bytes));
    assert_true(plain_contains(step.request.parts[0].bytes, "aaa\"\r\n"));
    assert_true(step.request.parts[0].bytes.n < 500);
}

// Answers ------------------------------------------------------------------------------------------------

static bool calls(const struct delivery_step *step, const char *method)
{
    return step->kind == DELIVERY_SEND && str_ends(step->request.target, ARENA_JOIN(&arena, STR("/"), str_of(method)));
}

static void test_it_is_delivered(void **state)
{
    (void)state;
    struct message message = message_of(&photo, 1);
    struct delivery delivery = delivery_of(&message);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 200, OK);
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
    assert_str(step.verdict.desk_ref, "77");
}

static void test_what_is_not_taken_as_a_photo_goes_as_a_document_and_else_as_a_link(void **state)
{
    static const char *const says[] = {"Bad Request: PHOTO_INVALID_DIMENSIONS", "Bad Request: IMAGE_PROCESS_FAILED",
                                       "Bad Request: VOICE_MESSAGES_FORBIDDEN", "Bad Request: wrong file", "new words"};
    (void)state;
    for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
        struct message message = message_of(&photo, 1);
        struct delivery delivery = delivery_of(&message);
        struct delivery_step step = next(&delivery, NULL);
        struct str body = arena_printf(&arena, NOT_OK(400, "%s"), says[i]);
        assert_true(calls(&step, "sendPhoto"));
        step = answered(&delivery, 400, body.p);
        assert_true(calls(&step, "sendDocument"));
        assert_true(plain_contains(step.request.parts[0].bytes, "name=\"document\""));
        step = answered(&delivery, 400, body.p);
        assert_true(calls(&step, "sendMessage"));
        assert_true(step.writes);
        assert_str(step.request.body, "{\"chat_id\":5,\"text\":\"" LINK "\"}");
        assert_int_equal(step.request.part_count, 0);
        step = answered(&delivery, 400, body.p);
        assert_int_equal(step.kind, DELIVERY_END);
        assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    }
}

static void test_what_is_too_large_goes_as_a_link(void **state)
{
    (void)state;
    struct message message = message_of(&photo, 1);
    struct delivery delivery = delivery_of(&message);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 413, "<html>"); // a proxy may say so
    assert_str(step.request.body, "{\"chat_id\":5,\"text\":\"" LINK "\"}");
    struct attachment large = photo;
    large.size = 50000001;
    message = message_of(&large, 1);
    delivery = delivery_of(&message);
    assert_str(next(&delivery, NULL).request.body, "{\"chat_id\":5,\"text\":\"" LINK "\"}");
    large.url = STR_NONE;
    message = message_of(&large, 1);
    delivery = delivery_of(&message);
    step = next(&delivery, NULL);
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_str(step.verdict.error,
               "the file \"Bag.jpg\" cannot be sent: it is larger than the 50 MB that Telegram takes of bots");
}

static void test_without_an_address_the_refusal_is_said(void **state)
{
    (void)state;
    struct attachment file = photo;
    file.url = STR_NONE;
    struct message message = message_of(&file, 1);
    struct delivery delivery = delivery_of(&message);
    next(&delivery, NULL);
    answered(&delivery, 400, NOT_OK(400, "Bad Request: file must be non-empty"));
    struct delivery_step step = answered(&delivery, 400, NOT_OK(400, "Bad Request: file must be non-empty"));
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_str(step.verdict.error, "HTTP 400: Bad Request: file must be non-empty");
}

static void test_a_chat_that_refuses_is_not_asked_twice(void **state)
{
    (void)state;
    struct message message = message_of(&photo, 1);
    struct delivery delivery = delivery_of(&message);
    next(&delivery, NULL);
    struct delivery_step step = answered(&delivery, 400, NOT_OK(400, "Bad Request: not enough rights to send photos"));
    assert_int_equal(step.kind, DELIVERY_END);
    assert_true(step.verdict.of_chat);
    delivery = delivery_of(&message);
    next(&delivery, NULL);
    assert_int_equal(answered(&delivery, 403, NOT_OK(403, "Forbidden: bot was blocked by the user")).kind,
                     DELIVERY_END);
    delivery = delivery_of(&message);
    next(&delivery, NULL);
    assert_int_equal(answered(&delivery, 400, "a proxy's words").kind, DELIVERY_END);
    delivery = delivery_of(&message);
    next(&delivery, NULL);
    struct http_response lost = plain_failure(HTTP_TIMEOUT, true);
    step = next(&delivery, &lost);
    assert_true(step.verdict.maybe_applied);
}

static void test_it_follows_a_group_that_moved_and_drops_formatting_that_is_refused(void **state)
{
    (void)state;
    struct message message = message_of(&photo, 1);
    message.conversation = STR("-5");
    message.text = STR("Hi");
    message.format = STR("[{\"type\":\"bold\",\"offset\":0,\"length\":2}]");
    struct delivery delivery = delivery_of(&message);
    next(&delivery, NULL);
    struct delivery_step step = answered(
        &delivery, 400,
        "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: group chat was upgraded to a supergroup "
        "chat\",\"parameters\":{\"migrate_to_chat_id\":-1001234567890}}");
    assert_true(calls(&step, "sendPhoto"));
    assert_true(plain_contains(step.request.parts[0].bytes, "\r\n\r\n-1001234567890\r\n"));
    assert_true(plain_contains(step.request.parts[0].bytes, "caption_entities"));
    step = answered(&delivery, 400, NOT_OK(400, "Bad Request: can't parse entities"));
    assert_true(calls(&step, "sendPhoto"));
    assert_true(plain_contains(step.request.parts[0].bytes, "\r\n\r\nHi\r\n"));
    assert_false(plain_contains(step.request.parts[0].bytes, "caption_entities"));
    step = answered(&delivery, 200, OK);
    assert_str(step.verdict.desk_ref, "-1001234567890:77");
    assert_str(delivery.moved_to, "-1001234567890");
}

// Files that are not at hand ----------------------------------------------------------------------------

static void test_what_is_not_at_hand_goes_as_a_link(void **state)
{
    static const enum file_state states[] = {FILE_WANTED, FILE_FAILED, FILE_ELSEWHERE};
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        struct attachment file = photo;
        file.state = states[i];
        file.why = states[i] == FILE_FAILED ? STR("the address answers 404") : STR_NONE;
        struct message message = message_of(&file, 1);
        struct delivery delivery = delivery_of(&message);
        assert_str(next(&delivery, NULL).request.body, "{\"chat_id\":5,\"text\":\"" LINK "\"}");
        assert_int_equal(delivery.files_told, 1);
        file.url = STR_NONE;
        message = message_of(&file, 1);
        delivery = delivery_of(&message);
        struct delivery_step step = next(&delivery, NULL);
        assert_int_equal(step.kind, DELIVERY_END);
        assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
        assert_true(step.verdict.of_chat);
        assert_str(step.verdict.error, states[i] == FILE_FAILED
                                           ? "the file \"Bag.jpg\" cannot be sent: the address answers 404"
                                           : "the file \"Bag.jpg\" cannot be sent: it was not fetched");
    }
}

static void test_of_several_files_none_is_left_out(void **state)
{
    (void)state;
    struct attachment files[] = {photo, photo};
    files[1].name = STR_NONE;
    struct message message = message_of(files, 2);
    message.text = STR("Hi");
    struct delivery delivery = delivery_of(&message);
    assert_str(next(&delivery, NULL).request.body,
               "{\"chat_id\":5,\"text\":\"Hi\\n" LINK "\\nimage (image/jpeg): " URL "\"}");
    assert_int_equal(delivery.files_told, 3);
}

static void test_more_words_than_stand_under_a_file(void **state)
{
    (void)state;
    char words[1024 * 4 + 1] = "";
    for (size_t i = 0; i < 512; i++)
        memcpy(words + i * 4, "😀", 4); // two units each
    struct message message = message_of(&photo, 1);
    message.text = (struct str){words, 2048};
    struct delivery delivery = delivery_of(&message);
    struct delivery_step step = next(&delivery, NULL);
    assert_true(calls(&step, "sendPhoto"));
    words[2048] = 'x';
    message.text.n++;
    delivery = delivery_of(&message);
    step = next(&delivery, NULL);
    assert_true(calls(&step, "sendMessage"));
    assert_true(plain_contains(step.request.body, "x\\n" LINK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_forms_are_exact, clean),
        cmocka_unit_test_teardown(test_the_boundary_is_the_messages_own, clean),
        cmocka_unit_test_teardown(test_a_long_name_is_cut_between_characters, clean),
        cmocka_unit_test_teardown(test_it_is_delivered, clean),
        cmocka_unit_test_teardown(test_what_is_not_taken_as_a_photo_goes_as_a_document_and_else_as_a_link, clean),
        cmocka_unit_test_teardown(test_what_is_too_large_goes_as_a_link, clean),
        cmocka_unit_test_teardown(test_without_an_address_the_refusal_is_said, clean),
        cmocka_unit_test_teardown(test_a_chat_that_refuses_is_not_asked_twice, clean),
        cmocka_unit_test_teardown(test_it_follows_a_group_that_moved_and_drops_formatting_that_is_refused, clean),
        cmocka_unit_test_teardown(test_what_is_not_at_hand_goes_as_a_link, clean),
        cmocka_unit_test_teardown(test_of_several_files_none_is_left_out, clean),
        cmocka_unit_test_teardown(test_more_words_than_stand_under_a_file, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
