// The signed webhook as a desk: the exact request, and what each answer means.
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "desk/desk.h"
#include "model/attachment.h"
#include "model/webhook_signature.h"
#include "support/plain_http.h"

#define SECRET "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define NOW_US INT64_C(1700000000123456)

static struct arena arena;
static const struct account account = {.name = STR("acme")};
static const struct source source = {.name = STR("bot"), .platform = STR("telegram")};
static const struct desk desk = {
    .platform = STR("webhook"), .url = STR("https://desk.example/in?x=1"), .secret = STR(SECRET)};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct delivery attempt_of(const struct message *message)
{
    return (struct delivery){.account = &account,
                             .source = &source,
                             .desk = &desk,
                             .message = message,
                             .store_id = STR("5f3a"),
                             .now_us = NOW_US,
                             .arena = &arena};
}

static const struct message full = {
    .id = 42,
    .direction = INBOUND,
    .conversation = STR("-100:7"),
    .sender_id = STR("9"),
    .sender_name = STR("Ann \"B\""),
    .text = STR("line\nline"),
    .attachments = STR("[{\"kind\":\"image\",\"url\":\"https://a\",\"name\":null,\"mime\":null,\"size\":3}]"),
    .sent_at_us = INT64_C(1699999999000000),
    .received_at_us = INT64_C(1699999999500000),
    .late = true,
};

static void test_request_is_exact(void **state)
{
    (void)state;
    struct delivery attempt = attempt_of(&full);
    struct delivery_step step;
    desk_webhook.receiver.step(&attempt, NULL, &step);
    assert_int_equal(step.kind, DELIVERY_SEND);
    assert_true(step.writes);
    assert_str(step.request.method, "POST");
    assert_str(step.request.target, "https://desk.example/in?x=1");
    const char body[] =
        "{\"id\":\"42\",\"account\":\"acme\",\"source\":\"bot\",\"platform\":\"telegram\",\"direction\":\"inbound\","
        "\"conversation\":\"-100:7\",\"sender\":{\"id\":\"9\",\"name\":\"Ann \\\"B\\\"\"},\"text\":\"line\\nline\","
        "\"attachments\":[{\"kind\":\"image\",\"url\":\"https://a\",\"name\":null,\"mime\":null,\"size\":3}],"
        "\"sent_at\":\"2023-11-14T22:13:19.000Z\",\"received_at\":\"2023-11-14T22:13:19.500Z\",\"late\":true}";
    assert_str(step.request.body, body);
    const struct http_request *request = &step.request;
    struct str id = http_header_get(request->headers, request->header_count, "webhook-id");
    struct str timestamp = http_header_get(request->headers, request->header_count, "webhook-timestamp");
    struct str signature = http_header_get(request->headers, request->header_count, "webhook-signature");
    assert_str(http_header_get(request->headers, request->header_count, "content-type"), "application/json");
    assert_str(id, "msg_5f3a_42");
    assert_str(timestamp, "1700000000");
    assert_true(webhook_verify(STR(SECRET), id, timestamp, signature, request->body, 1700000000));
}

static void test_what_is_absent_is_null_or_empty(void **state)
{
    (void)state;
    struct message bare = {.id = 1, .conversation = STR("c"), .sender_id = STR("s"), .received_at_us = 1000000};
    struct delivery attempt = attempt_of(&bare);
    struct delivery_step step;
    desk_webhook.receiver.step(&attempt, NULL, &step);
    assert_str(step.request.body,
               "{\"id\":\"1\",\"account\":\"acme\",\"source\":\"bot\",\"platform\":\"telegram\",\"direction\":"
               "\"inbound\",\"conversation\":\"c\",\"sender\":{\"id\":\"s\",\"name\":null},\"text\":\"\","
               "\"attachments\":[],\"sent_at\":null,\"received_at\":\"1970-01-01T00:00:01.000Z\",\"late\":false}");
}

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILE_JSON(kind, url, rest)                                                                                     \
    "{\"kind\":\"" kind "\",\"url\":" url ",\"name\":null,\"mime\":null,\"size\":null" rest "}"

// What is noted before it is sent is stored, and it is tried again at once.
static struct str files_sent(struct delivery *attempt)
{
    struct delivery_step step;
    desk_webhook.receiver.step(attempt, NULL, &step);
    if (step.kind == DELIVERY_END) {
        attempt->link_changed = false;
        desk_webhook.receiver.step(attempt, NULL, &step);
    }
    assert_int_equal(step.kind, DELIVERY_SEND);
    yyjson_doc *doc = json_read(step.request.body);
    size_t n;
    char *text = yyjson_val_write(yyjson_obj_get(yyjson_doc_get_root(doc), "attachments"), 0, &n);
    struct str files = arena_str(&arena, (struct str){text, n});
    free(text);
    yyjson_doc_free(doc);
    return files;
}

static void test_a_kept_file_is_a_link_to_us_and_the_others_say_what_they_are(void **state)
{
    (void)state;
    struct message message = full;
    message.attachments = STR(
        "[{\"kind\":\"image\",\"url\":null,\"name\":\"a.png\",\"mime\":\"image/png\",\"size\":3,"
        "\"state\":\"kept\",\"ref\":\"AgAC\",\"hash\":\"" HASH "\"},"
        "{\"kind\":\"video\",\"url\":null,\"state\":\"wanted\",\"ref\":\"BAAC\"},"
        "{\"kind\":\"audio\",\"url\":\"https://a/v\",\"state\":\"failed\",\"ref\":\"CAAC\",\"why\":"
        "\"larger than 20 MB\"},"
        "{\"kind\":\"file\",\"url\":\"https://a/f\"}]");
    static const struct media_links links = {.base = STR("https://relay.test"), .lifetime_us = 3600000000};
    struct delivery attempt = attempt_of(&message);
    attempt.links = &links;
    struct attachment kept = {
        .name = STR("a.png"), .mime = STR("image/png"), .size = 3, .state = FILE_KEPT, .hash = STR(HASH)};
    struct str link = media_link(&links, &kept, NOW_US, &arena);
    assert_true(str_starts(link, STR("https://relay.test/media/" HASH "?")));
    struct str expected = ARENA_JOIN(
        &arena, STR("[{\"kind\":\"image\",\"url\":\""), link,
        STR("\",\"name\":\"a.png\",\"mime\":\"image/png\",\"size\":3}," FILE_JSON("video", "null", ",\"state\":\"wanted\"") "," FILE_JSON(
            "audio", "\"https://a/v\"",
            ",\"state\":\"failed\",\"why\":\"larger than 20 MB\"") "," FILE_JSON("file", "\"https://a/f\"", "") "]"));
    struct str sent = files_sent(&attempt);
    if (!str_eq(sent, expected))
        fail_msg("%.*s", STR_ARG(sent));
    assert_int_equal(attempt.files_told, 0xD); // all but the one that is still to come
}

static void test_who_drops_a_repetition_loses_no_file(void **state)
{
    (void)state;
    struct message message = full;
    message.attachments = STR("[{\"kind\":\"image\",\"state\":\"kept\",\"hash\":\"" HASH "\"},"
                              "{\"kind\":\"video\",\"state\":\"wanted\"}]");
    static const struct media_links links = {.base = STR("https://relay.test")};
    struct delivery attempt = attempt_of(&message);
    struct delivery_step step;
    attempt.links = &links;
    struct str first = files_sent(&attempt);
    assert_int_equal(attempt.files_told, 1);
    struct http_response lost = plain_failure(HTTP_DROPPED, true);
    desk_webhook.receiver.step(&attempt, &lost, &step);
    assert_str(attempt.link.note, "wanted=42:2");
    // It may have been taken. Meanwhile the file is there: it goes behind the message, not in it.
    struct link link = attempt.link;
    message.attachments = STR("[{\"kind\":\"image\",\"state\":\"kept\",\"hash\":\"" HASH "\"},"
                              "{\"kind\":\"video\",\"state\":\"kept\",\"hash\":\"" HASH "\"}]");
    attempt = attempt_of(&message);
    attempt.links = &links;
    attempt.link = link;
    assert_true(str_eq(files_sent(&attempt), first));
    assert_int_equal(attempt.files_told, 1);
    assert_false(attempt.link_changed);
    struct http_response taken = plain_answer(200, NULL, STR(""));
    desk_webhook.receiver.step(&attempt, &taken, &step);
    assert_int_equal(attempt.files_told, 1);
    assert_true(attempt.link_changed);
    assert_null(attempt.link.note.p);
    // Of another message the word says nothing.
    message.id = 43;
    attempt = attempt_of(&message);
    attempt.links = &links;
    attempt.link = link;
    files_sent(&attempt);
    assert_int_equal(attempt.files_told, 3);
}

// After a crash nobody knew what it was sent without, and the receiver dropped what was sent with it.
static void test_what_a_message_is_sent_without_is_stored_before_it_is_sent(void **state)
{
    (void)state;
    struct message message = full;
    message.attachments = STR("[{\"kind\":\"image\",\"state\":\"wanted\"}]");
    struct delivery attempt = attempt_of(&message);
    struct delivery_step step;
    desk_webhook.receiver.step(&attempt, NULL, &step);
    assert_int_equal(step.kind, DELIVERY_END);
    assert_int_equal(step.verdict.kind, VERDICT_WAIT);
    assert_int_equal(step.verdict.until_us, NOW_US);
    assert_true(attempt.link_changed);
    assert_str(attempt.link.note, "wanted=42:1");
    struct link link = attempt.link;
    attempt = attempt_of(&message);
    attempt.link = link;
    desk_webhook.receiver.step(&attempt, NULL, &step);
    assert_int_equal(step.kind, DELIVERY_SEND);
}

// One was set aside, and may be tried again by hand long after others of its conversation.
static void test_what_several_messages_were_sent_without_is_remembered(void **state)
{
    (void)state;
    struct message message = full;
    struct delivery attempt;
    struct delivery_step step;
    struct link link = {0};
    message.attachments = STR("[{\"kind\":\"image\",\"state\":\"wanted\"}]");
    for (message.id = 1; message.id <= 12; message.id++) {
        attempt = attempt_of(&message);
        attempt.link = link;
        desk_webhook.receiver.step(&attempt, NULL, &step);
        link = attempt.link;
    }
    assert_str(link.note, "wanted=4:1,5:1,6:1,7:1,8:1,9:1,10:1,11:1,12:1");
    message.id = 7;
    message.attachments = STR("[{\"kind\":\"image\",\"state\":\"kept\",\"hash\":\"" HASH "\"}]");
    attempt = attempt_of(&message);
    attempt.link = link;
    struct str sent = files_sent(&attempt);
    assert_true(plain_contains(sent, "wanted"));
    struct http_response taken = plain_answer(200, NULL, STR(""));
    desk_webhook.receiver.step(&attempt, &taken, &step);
    assert_int_equal(attempt.files_told, 0);
    assert_str(attempt.link.note, "wanted=4:1,5:1,6:1,8:1,9:1,10:1,11:1,12:1");
}

static void test_files_beyond_those_that_are_fetched_have_no_bit(void **state)
{
    (void)state;
    struct attachment many[FILES_MAX + 1];
    for (size_t i = 0; i <= FILES_MAX; i++)
        many[i] = (struct attachment){
            .kind = STR("file"), .url = STR("https://a"), .size = -1, .state = i ? FILE_ELSEWHERE : FILE_WANTED};
    struct message message = full;
    message.attachments = attachments_write(many, FILES_MAX + 1, &arena);
    struct delivery attempt = attempt_of(&message);
    struct str sent = files_sent(&attempt);
    assert_true(plain_contains(sent, "wanted"));
    assert_int_equal(attempt.files_told, 0xFFFFFFFE);
}

static void test_a_note_is_a_message_that_says_so(void **state)
{
    (void)state;
    struct message note = {.id = 1, .direction = NOTE, .conversation = STR("c"), .text = STR("Not delivered")};
    struct delivery attempt = attempt_of(&note);
    struct delivery_step step;
    desk_webhook.receiver.step(&attempt, NULL, &step);
    assert_str(step.request.body,
               "{\"id\":\"1\",\"account\":\"acme\",\"source\":\"bot\",\"platform\":\"telegram\",\"direction\":\"note\","
               "\"conversation\":\"c\",\"sender\":{\"id\":null,\"name\":null},\"text\":\"Not delivered\","
               "\"attachments\":[],\"sent_at\":null,\"received_at\":null,\"late\":false}");
}

static void test_id_stays_and_timestamp_moves(void **state)
{
    (void)state;
    struct delivery attempt = attempt_of(&full);
    struct delivery_step first, second;
    desk_webhook.receiver.step(&attempt, NULL, &first);
    attempt.now_us += 61000000;
    attempt.in_doubt = true; // a key needs no look-up: the same request goes again
    desk_webhook.receiver.step(&attempt, NULL, &second);
    assert_int_equal(second.kind, DELIVERY_SEND);
    assert_true(str_eq(first.request.headers[1].value, second.request.headers[1].value));
    assert_str(second.request.headers[2].value, "1700000061");
    assert_true(str_eq(first.request.body, second.request.body));
    assert_false(str_eq(first.request.headers[3].value, second.request.headers[3].value));
}

static void test_answers_become_verdicts(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum verdict_kind kind;
        bool alarm;
    } rows[] = {
        {200, VERDICT_DELIVERED, 0}, {202, VERDICT_DELIVERED, 0}, {204, VERDICT_DELIVERED, 0},
        {302, VERDICT_RETRY, 0},     {400, VERDICT_REJECTED, 0},  {401, VERDICT_DESK_DOWN, 1},
        {403, VERDICT_DESK_DOWN, 1}, {404, VERDICT_DESK_DOWN, 1}, {405, VERDICT_DESK_DOWN, 1},
        {410, VERDICT_DESK_DOWN, 1}, {413, VERDICT_REJECTED, 0},  {422, VERDICT_REJECTED, 0},
        {429, VERDICT_DESK_DOWN, 0}, {500, VERDICT_RETRY, 0},     {503, VERDICT_DESK_DOWN, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct delivery attempt = attempt_of(&full);
        struct delivery_step step;
        struct http_response response = plain_answer(rows[i].status, NULL, STR(""));
        desk_webhook.receiver.step(&attempt, &response, &step);
        assert_int_equal(step.kind, DELIVERY_END);
        if (step.verdict.kind != rows[i].kind || step.verdict.alarm != rows[i].alarm)
            fail_msg("status %d: %s", rows[i].status, verdict_kind_name(step.verdict.kind));
    }
    struct delivery attempt = attempt_of(&full);
    struct delivery_step step;
    struct http_response cut = plain_failure(HTTP_DROPPED, true);
    desk_webhook.receiver.step(&attempt, &cut, &step);
    assert_int_equal(step.verdict.kind, VERDICT_DESK_DOWN);
    assert_true(step.verdict.maybe_applied);
}

static void test_probe_asks_with_head(void **state)
{
    (void)state;
    struct http_request request;
    assert_true(desk_webhook.receiver.probe(&(struct account){.desk = desk}, NULL, &arena, &request));
    assert_str(request.method, "HEAD");
    assert_str(request.target, "https://desk.example/in?x=1");
    struct desk silent = desk;
    silent.probe = DESK_PROBE_NONE;
    assert_false(desk_webhook.receiver.probe(&(struct account){.desk = silent}, NULL, &arena, &request));
}

static void test_probe_knows_the_well(void **state)
{
    (void)state;
    static const int well[] = {200, 204, 302, 400, 422, 500, 501};
    static const int ill[] = {401, 403, 408, 410, 429, 502, 503, 504};
    static const int no_probe[] = {404, 405}; // it may know POST alone
    for (size_t i = 0; i < sizeof well / sizeof *well; i++) {
        struct http_response response = plain_answer(well[i], NULL, STR(""));
        struct verdict verdict = desk_webhook.receiver.probe_verdict(&response, NOW_US, &arena);
        if (verdict.kind != VERDICT_DELIVERED || verdict.alarm)
            fail_msg("%d should be well", well[i]);
    }
    for (size_t i = 0; i < sizeof ill / sizeof *ill; i++) {
        struct http_response response = plain_answer(ill[i], NULL, STR(""));
        struct verdict verdict = desk_webhook.receiver.probe_verdict(&response, NOW_US, &arena);
        if (verdict.kind != VERDICT_DESK_DOWN || verdict.maybe_applied)
            fail_msg("%d should be ill", ill[i]);
        assert_int_equal(verdict.alarm, ill[i] == 401 || ill[i] == 403 || ill[i] == 410);
    }
    for (size_t i = 0; i < sizeof no_probe / sizeof *no_probe; i++) {
        struct http_response response = plain_answer(no_probe[i], NULL, STR(""));
        struct verdict verdict = desk_webhook.receiver.probe_verdict(&response, NOW_US, &arena);
        if (verdict.kind != VERDICT_REJECTED || verdict.alarm)
            fail_msg("%d should tell nothing", no_probe[i]);
    }
    struct http_response gone = plain_failure(HTTP_NOT_CONNECTED, false);
    assert_int_equal(desk_webhook.receiver.probe_verdict(&gone, NOW_US, &arena).kind, VERDICT_DESK_DOWN);
}

static void test_settings_are_checked(void **state)
{
    (void)state;
    struct desk each = desk;
    assert_null(desk_webhook.check(&each, &arena));
    each.url = STR_NONE;
    assert_non_null(strstr(desk_webhook.check(&each, &arena), "url"));
    each.url = STR("desk.example");
    assert_non_null(strstr(desk_webhook.check(&each, &arena), "http"));
    each = desk;
    each.secret = STR_NONE;
    assert_non_null(strstr(desk_webhook.check(&each, &arena), "needs a secret"));
    each.secret = STR("none");
    assert_non_null(strstr(desk_webhook.check(&each, &arena), "whsec_"));
    assert_true(desk_webhook.receiver.has_key);
    assert_ptr_equal(desk_connector_find(STR("webhook")), &desk_webhook);
    assert_null(desk_connector_find(STR("fax")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_request_is_exact, clean),
        cmocka_unit_test_teardown(test_what_is_absent_is_null_or_empty, clean),
        cmocka_unit_test_teardown(test_a_kept_file_is_a_link_to_us_and_the_others_say_what_they_are, clean),
        cmocka_unit_test_teardown(test_who_drops_a_repetition_loses_no_file, clean),
        cmocka_unit_test_teardown(test_what_a_message_is_sent_without_is_stored_before_it_is_sent, clean),
        cmocka_unit_test_teardown(test_what_several_messages_were_sent_without_is_remembered, clean),
        cmocka_unit_test_teardown(test_files_beyond_those_that_are_fetched_have_no_bit, clean),
        cmocka_unit_test_teardown(test_a_note_is_a_message_that_says_so, clean),
        cmocka_unit_test_teardown(test_id_stays_and_timestamp_moves, clean),
        cmocka_unit_test_teardown(test_answers_become_verdicts, clean),
        cmocka_unit_test_teardown(test_probe_asks_with_head, clean),
        cmocka_unit_test_teardown(test_probe_knows_the_well, clean),
        cmocka_unit_test_teardown(test_settings_are_checked, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
