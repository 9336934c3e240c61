// What keeps a bot connected, driven step by step with canned answers: registration, whose webhook it is,
// long polling and its offset.
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "platform/platform.h"
#include "support/plain_http.h"

#define TOKEN "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
#define OURS "https://relay.example/hooks/acme/bot"
#define SECOND INT64_C(1000000)
#define START_US (INT64_C(1441646900) * SECOND)

static const struct source plain_source = {
    .name = STR("bot"), .account = STR("acme"), .platform = STR("telegram"), .token = STR(TOKEN)};

// A bot under upkeep, and the step that it is at.
static struct bot {
    struct arena arena; // of steps and tests; ended with the test
    struct source source;
    struct source_upkeep upkeep;
    struct source_step step;
    int64_t now_us;
} bot;

static int begin(void **state)
{
    (void)state;
    bot = (struct bot){.source = plain_source, .now_us = START_US};
    bot.upkeep = (struct source_upkeep){.source = &bot.source, .public_url = STR("https://relay.example")};
    for (size_t i = 0; i < sizeof bot.upkeep.fresh_secret; i++)
        bot.upkeep.fresh_secret[i] = (uint8_t)(i * 7 + 1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_done(&bot.arena);
    arena_done(&bot.upkeep.memory);
    arena_done(&bot.upkeep.batch);
    return 0;
}

static void check_no_token(struct str words)
{
    assert_false(plain_contains(words, "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"));
}

static void keep(const struct http_response *last)
{
    platform_telegram.keep(&bot.upkeep, last, bot.now_us, &bot.arena, &bot.step);
    check_no_token(bot.step.why);
}

// The step sends `method` with a body that holds `part`.
static void expect_call(const char *method, const char *part)
{
    if (bot.step.kind != SOURCE_SEND)
        fail_msg("expected %s, came step %d: %.*s", method, bot.step.kind, STR_ARG(bot.step.why));
    struct str target = bot.step.request.target;
    assert_str(bot.step.request.method, "POST");
    if (!plain_contains(target, "https://api.telegram.org/bot" TOKEN "/") || !str_ends(target, str_of(method)))
        fail_msg("expected %s, came %.*s", method, STR_ARG(target));
    if (!plain_contains(bot.step.request.body, part))
        fail_msg("expected %s in %.*s", part, STR_ARG(bot.step.request.body));
    assert_true(bot.step.timeout_ms > 0);
    assert_str(http_header_get(bot.step.request.headers, bot.step.request.header_count, "content-type"),
               "application/json");
}

static void answer(int status, const char *body)
{
    struct http_response response = plain_answer(status, NULL, str_of(body));
    keep(&response);
}

static void expect_refused(const char *part)
{
    assert_int_equal(bot.step.kind, SOURCE_REFUSE);
    if (!plain_contains(bot.step.why, part))
        fail_msg("expected %s in %.*s", part, STR_ARG(bot.step.why));
    assert_true(bot.step.until_us > bot.now_us);
}

// Rests in trouble for about `seconds`; then time has passed.
static void expect_trouble(int seconds, const char *part)
{
    assert_int_equal(bot.step.kind, SOURCE_REST);
    assert_false(bot.step.healthy);
    if (!plain_contains(bot.step.why, part))
        fail_msg("expected %s in %.*s", part, STR_ARG(bot.step.why));
    int64_t pause_us = bot.step.until_us - bot.now_us;
    if (pause_us > seconds * SECOND || pause_us < seconds * SECOND * 3 / 4)
        fail_msg("expected a pause of %d s, came %lld us", seconds, (long long)pause_us);
    bot.now_us = bot.step.until_us;
}

static void expect_well(int64_t at_least_s)
{
    if (bot.step.kind != SOURCE_REST || !bot.step.healthy)
        fail_msg("expected to be well, came step %d: %.*s", bot.step.kind, STR_ARG(bot.step.why));
    assert_true(bot.step.until_us - bot.now_us >= at_least_s * SECOND);
    bot.now_us = bot.step.until_us;
}

#define INFO(url) "{\"ok\":true,\"result\":{\"url\":\"" url "\",\"pending_update_count\":0}}"
#define TRUE "{\"ok\":true,\"result\":true}"

// Through registration, to the first healthy rest.
static void register_bot(void)
{
    bot.source.secret = STR("configured");
    keep(NULL);
    answer(200, INFO(""));
    answer(200, TRUE);
    assert_int_equal(bot.step.kind, SOURCE_LEARN);
    keep(NULL);
    answer(200, INFO(OURS));
    expect_well(600);
}

static void test_webhook_is_registered(void **state)
{
    (void)state;
    keep(NULL);
    // The secret is known and stored before Telegram hears of it.
    assert_int_equal(bot.step.kind, SOURCE_LEARN);
    assert_str(bot.upkeep.made_secret, "01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3da");
    keep(NULL);
    expect_call("getWebhookInfo", "");
    answer(200, INFO(""));
    expect_call("setWebhook", "\"url\":\"" OURS "\"");
    expect_call("setWebhook", "\"secret_token\":\"01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3da\"");
    expect_call("setWebhook", "\"max_connections\":1,");
    expect_call("setWebhook", "\"allowed_updates\":[\"message\",\"edited_message\",");
    assert_false(plain_contains(bot.step.request.body, "drop_pending"));
    answer(200, TRUE);
    assert_int_equal(bot.step.kind, SOURCE_LEARN);
    assert_str(bot.upkeep.registered_url, OURS);
    keep(NULL);
    expect_call("getWebhookInfo", "");
    answer(200, INFO(OURS));
    expect_well(600);
    keep(NULL);
    expect_call("getWebhookInfo", "");
    answer(200, INFO(OURS));
    expect_well(600);
}

static void test_configured_and_kept_secrets_are_used(void **state)
{
    (void)state;
    bot.source.made_secret = STR("kept");
    bot.upkeep.order = ORDER_CONVERSATION;
    keep(NULL);
    answer(200, INFO(""));
    expect_call("setWebhook", "\"secret_token\":\"kept\"");
    expect_call("setWebhook", "\"max_connections\":40");
    bot.source.secret = STR("configured");
    bot.upkeep.phase = 0;
    keep(NULL);
    answer(200, INFO(""));
    expect_call("setWebhook", "\"secret_token\":\"configured\"");
}

static void test_a_new_secret_reaches_telegram_though_the_url_is_right(void **state)
{
    (void)state;
    keep(NULL);
    assert_int_equal(bot.step.kind, SOURCE_LEARN);
    keep(NULL);
    answer(200, INFO(OURS));
    expect_call("setWebhook", "\"secret_token\":\"01080f16");
}

static void test_long_trouble_pauses_a_minute(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    bot.upkeep.failures = 100000;
    keep(NULL);
    answer(500, "");
    expect_trouble(60, "HTTP 500");
}

static void test_known_url_needs_no_learning(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    bot.source.registered_url = STR(OURS);
    bot.upkeep.public_url = STR("https://relay.example/");
    keep(NULL);
    answer(200, INFO(OURS));
    expect_call("setWebhook", "\"url\":\"" OURS "\""); // the secret and the list may be others than ours
    answer(200, TRUE);
    expect_well(0);
}

static void test_foreign_webhook_is_respected(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    keep(NULL);
    answer(200, INFO("https://user:pw@other.example/in/x?key=1#f"));
    expect_refused("https://other.example/in/x;");
    assert_false(plain_contains(bot.step.why, "pw"));
    assert_false(plain_contains(bot.step.why, "key"));
    bot.now_us = bot.step.until_us;
    keep(NULL);
    answer(200, INFO("https://other.example/bot" TOKEN "/x"));
    expect_refused("https://other.example/...");
    keep(NULL);
    answer(200, INFO("")); // the person removed it there
    expect_call("setWebhook", OURS);
}

static void test_own_old_webhook_is_replaced(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    bot.source.registered_url = STR("https://old.example/hooks/acme/bot");
    keep(NULL);
    answer(200, INFO("https://old.example/hooks/acme/bot"));
    expect_call("setWebhook", OURS);
}

static void test_take_over_replaces(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    bot.source.take_over = true;
    keep(NULL);
    answer(200, INFO("https://other.example/in"));
    expect_call("setWebhook", OURS);
}

static void test_losing_the_webhook_is_noticed(void **state)
{
    (void)state;
    register_bot();
    keep(NULL);
    answer(200, INFO("")); // somebody removed it: set again
    expect_call("setWebhook", OURS);
    answer(200, TRUE);
    keep(NULL);
    answer(200, INFO(OURS));
    expect_well(600);
    keep(NULL);
    answer(200, INFO("https://other.example/in"));
    expect_refused("https://other.example/in");
}

static void test_delivery_trouble_is_shown(void **state)
{
    (void)state;
    register_bot();
    bot.now_us = START_US;
    bot.upkeep.registered_url = STR("https://bridge.example.com/in/telegram/a1");
    bot.upkeep.public_url = STR("https://bridge.example.com");
    bot.source.account = STR("telegram");
    bot.source.name = STR("a1");
    struct str sample = plain_file(&bot.arena, "tests/data/telegram/api_response_getwebhookinfo.json");
    // The sample points elsewhere: where it is ours, its last error is passed on while it is fresh.
    keep(NULL);
    answer(200, sample.p);
    expect_call("setWebhook", "");
    answer(200, TRUE);
    keep(NULL);
    static const char told[] = "{\"ok\":true,\"result\":{\"url\":\"https://bridge.example.com/hooks/telegram/a1\","
                               "\"pending_update_count\":3,\"last_error_date\":1441646900,\"last_error_message\":"
                               "\"Wrong response from the webhook: 503 Service Unavailable\"}}";
    answer(200, told);
    expect_trouble(60, "cannot deliver here: Wrong response from the webhook: 503 Service Unavailable (3 waiting)");
    bot.now_us = START_US + 3600 * SECOND;
    keep(NULL);
    answer(200, told);
    expect_well(600);
}

static void test_trouble_is_tried_again(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    keep(NULL);
    for (int i = 0; i < 10; i++) {
        static const int pauses[] = {1, 2, 4, 8, 16, 32, 60, 60, 60, 60};
        expect_call("getWebhookInfo", "");
        struct http_response down = plain_failure(HTTP_NOT_CONNECTED, false);
        keep(&down);
        expect_trouble(pauses[i], "getWebhookInfo: the wire was cut");
        keep(NULL);
    }
    answer(200, INFO(""));
    expect_call("setWebhook", "");
    answer(400, "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: bad webhook: port\"}");
    expect_trouble(1, "setWebhook: HTTP 400: Bad Request: bad webhook: port");
    keep(NULL);
    expect_call("getWebhookInfo", "");
}

static void test_unreadable_answers_are_trouble(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",      "{", "[]", "null", "{}", "{\"ok\":true}", "{\"ok\":1,\"result\":{}}", "{\"ok\":false,\"result\":{}}",
        "<html>"};
    bot.source.secret = STR("configured");
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        bot.upkeep.failures = 0;
        keep(NULL);
        expect_call("getWebhookInfo", "");
        answer(200, bodies[i]);
        expect_trouble(1, "getWebhookInfo: an answer that cannot be read");
    }
}

static void test_unknown_token_needs_a_person(void **state)
{
    (void)state;
    static const int statuses[] = {401, 404};
    bot.source.secret = STR("configured");
    for (size_t i = 0; i < 2; i++) {
        keep(NULL);
        expect_call("getWebhookInfo", "");
        answer(statuses[i], "{\"ok\":false,\"error_code\":401,\"description\":\"Unauthorized\"}");
        expect_refused("does not know this bot");
        bot.now_us = bot.step.until_us;
    }
}

static void test_429_is_obeyed(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    keep(NULL);
    struct str body = plain_file(&bot.arena, "tests/data/telegram/api_response_429.json");
    struct http_response response = plain_answer(429, NULL, body);
    keep(&response);
    expect_trouble(35, "retry after 35");
    keep(NULL);
    answer(429, "{\"ok\":false,\"parameters\":{\"retry_after\":99999999999999}}");
    expect_trouble(3600, "429");
    keep(NULL);
    answer(429, "{\"ok\":false,\"parameters\":{\"retry_after\":-5}}");
    expect_trouble(4, "429");
}

static void test_webhook_mode_needs_an_address(void **state)
{
    (void)state;
    bot.source.mode = SOURCE_WEBHOOK;
    bot.upkeep.public_url = STR_NONE;
    keep(NULL);
    expect_refused("public_url");
}

static void test_own_api_url_is_called(void **state)
{
    (void)state;
    bot.source.secret = STR("configured");
    bot.source.api_url = STR("http://127.0.0.1:8081");
    keep(NULL);
    assert_str(bot.step.request.target, "http://127.0.0.1:8081/bot" TOKEN "/getWebhookInfo");
}

// Polling -------------------------------------------------------------------------------------------------

#define UPDATE(id, text) "{\"update_id\":" id ",\"message\":{\"chat\":{\"id\":5},\"text\":\"" text "\"}}"
#define BATCH(updates) "{\"ok\":true,\"result\":[" updates "]}"

// Through the look at the webhook, to the first getUpdates.
static void begin_polling(void)
{
    bot.upkeep.public_url = STR_NONE;
    keep(NULL);
    expect_call("getWebhookInfo", "");
    answer(200, INFO(""));
    expect_call("getUpdates", "{\"timeout\":50,\"limit\":100,\"allowed_updates\":[\"message\",");
    assert_true(bot.step.timeout_ms > 50000);
}

static void expect_poll_without_offset(void)
{
    expect_call("getUpdates", "{\"timeout\":50,");
    assert_false(plain_contains(bot.step.request.body, "offset"));
}

static void test_offset_confirms_once_after_the_store(void **state)
{
    (void)state;
    begin_polling();
    answer(200, BATCH(UPDATE("41", "a") "," UPDATE("42", "b")));
    assert_int_equal(bot.step.kind, SOURCE_STORE);
    assert_int_equal(bot.step.event_count, 2);
    assert_str(bot.step.events[0].dedupe_key, "110201543:41");
    assert_str(bot.step.events[1].text, "b");
    keep(NULL); // durable
    expect_well(0);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":43,\"timeout\":50,");
    answer(200, BATCH(""));
    expect_well(0);
    keep(NULL);
    expect_poll_without_offset();
    answer(200, BATCH(""));
    expect_well(0);
    keep(NULL);
    expect_poll_without_offset();
    // After a quiet week ids begin anew, lower: nothing of them is thrown away.
    answer(200, BATCH(UPDATE("7", "c") "," UPDATE("6", "d")));
    assert_int_equal(bot.step.kind, SOURCE_STORE);
    keep(NULL);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":8,");
}

static void test_a_failed_confirmation_drops_the_offset(void **state)
{
    (void)state;
    begin_polling();
    answer(200, BATCH(UPDATE("41", "a")));
    keep(NULL);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":42,");
    struct http_response cut = plain_failure(HTTP_TIMEOUT, true);
    keep(&cut);
    expect_trouble(1, "getUpdates: the wire was cut");
    keep(NULL);
    expect_call("getUpdates", "\"limit\":10,");
    assert_false(plain_contains(bot.step.request.body, "offset"));
    keep(&cut);
    expect_trouble(2, "getUpdates");
    keep(NULL);
    expect_call("getUpdates", "\"limit\":1,");
    answer(200, BATCH(UPDATE("41", "a")));
    assert_int_equal(bot.step.kind, SOURCE_STORE); // the store knows it
    keep(NULL);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":42,\"timeout\":50,\"limit\":100,");
}

static void test_what_says_nothing_is_stored_and_confirmed(void **state)
{
    (void)state;
    begin_polling();
    answer(200, BATCH("{\"update_id\":9,\"poll\":{\"id\":\"1\"}}"));
    assert_int_equal(bot.step.kind, SOURCE_STORE);
    assert_int_equal(bot.step.event_count, 1);
    assert_int_equal(bot.step.events[0].discard, REASON_NO_MEANING);
    keep(NULL);
    expect_well(0);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":10,");
}

#define PRESS(id, press)                                                                                               \
    "{\"update_id\":" id ",\"callback_query\":{\"id\":\"" press "\",\"from\":{\"id\":5},\"data\":\"d\"}}"

static void begin_presses(void)
{
    begin_polling();
    answer(200, BATCH(PRESS("41", "q1") "," UPDATE("42", "b") "," PRESS("43", "q\\\"3") "," PRESS("44", "")));
    assert_int_equal(bot.step.kind, SOURCE_STORE); // nothing is answered before it is durable
    assert_int_equal(bot.step.event_count, 4);
    keep(NULL);
    expect_call("answerCallbackQuery", "{\"callback_query_id\":\"q1\"}");
    assert_true(bot.step.timeout_ms <= 5000);
}

static void test_presses_are_answered_when_they_are_durable(void **state)
{
    (void)state;
    begin_presses();
    answer(200, "{\"ok\":true,\"result\":true}");
    expect_call("answerCallbackQuery", "{\"callback_query_id\":\"q\\\"3\"}");
    answer(400, "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: query is too old\"}");
    expect_well(0);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":45,");
    answer(200, BATCH(UPDATE("45", "c")));
    keep(NULL);
    expect_well(0); // and only once
}

static void test_trouble_with_a_press_holds_up_nothing(void **state)
{
    (void)state;
    begin_presses();
    struct http_response cut = plain_failure(HTTP_TIMEOUT, true);
    keep(&cut);
    expect_well(0);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":45,");
    static const int statuses[] = {401, 404, 429, 500, 502};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        bot.upkeep.phase = 0;
        begin_presses();
        answer(statuses[i], "not even JSON");
        expect_well(0);
        keep(NULL);
        expect_call("getUpdates", "{\"offset\":45,");
    }
}

static void test_one_bad_update_holds_up_nothing(void **state)
{
    (void)state;
    begin_polling();
    answer(
        200,
        BATCH(UPDATE("41", "a") ",{\"update_id\":42,\"message\":{\"text\":\"lost?\"}},{\"message\":{}},7,null," UPDATE(
            "43", "b")));
    assert_int_equal(bot.step.kind, SOURCE_STORE);
    assert_int_equal(bot.step.event_count, 6);
    const struct event *bad = &bot.step.events[1];
    assert_str(bad->dedupe_key, "110201543:42");
    assert_str(bad->conversation, "unreadable");
    assert_str(bad->text, "(Telegram: an update that could not be read)");
    assert_str(bad->raw, "{\"update_id\":42,\"message\":{\"text\":\"lost?\"}}");
    for (size_t i = 2; i < 5; i++)
        assert_true(str_starts(bot.step.events[i].dedupe_key, STR("110201543:raw:")));
    assert_false(str_eq(bot.step.events[2].dedupe_key, bot.step.events[3].dedupe_key));
    assert_str(bot.step.events[5].text, "b");
    keep(NULL);
    keep(NULL);
    expect_call("getUpdates", "{\"offset\":44,");
}

static void test_ids_that_cannot_be_confirmed_do_not_spin(void **state)
{
    (void)state;
    static const char *const batches[] = {BATCH("7"), BATCH(UPDATE("-5", "a")), BATCH(UPDATE("0", "a")),
                                          BATCH(UPDATE("9223372036854775807", "a")), BATCH(UPDATE("\"5\"", "a"))};
    begin_polling();
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        bot.upkeep.failures = 0;
        answer(200, batches[i]);
        expect_trouble(60, "without ids");
        keep(NULL);
    }
    answer(200, "{\"ok\":true,\"result\":{}}");
    expect_trouble(2, "without a list");
}

static void test_polling_respects_a_foreign_webhook(void **state)
{
    (void)state;
    bot.source.mode = SOURCE_POLLING;
    keep(NULL);
    answer(200, INFO("https://other.example/in"));
    expect_refused("https://other.example/in");
    bot.source.take_over = true;
    keep(NULL);
    answer(200, INFO("https://other.example/in"));
    expect_call("deleteWebhook", "{}");
    answer(200, TRUE);
    expect_poll_without_offset();
}

static void test_polling_removes_our_own_webhook(void **state)
{
    (void)state;
    bot.source.mode = SOURCE_POLLING;
    keep(NULL);
    answer(200, INFO(OURS));
    expect_call("deleteWebhook", "{}");
    answer(502, "");
    expect_trouble(1, "deleteWebhook: HTTP 502");
    keep(NULL);
    expect_call("getWebhookInfo", "");
    bot.upkeep.public_url = STR_NONE;
    bot.source.registered_url = STR("https://old.example/hooks/acme/bot");
    answer(200, INFO("https://old.example/hooks/acme/bot"));
    expect_call("deleteWebhook", "{}");
}

static void test_another_hand_on_the_bot_is_told(void **state)
{
    (void)state;
    begin_polling();
    answer(200, BATCH(UPDATE("41", "a")));
    keep(NULL);
    keep(NULL);
    answer(409, "{\"ok\":false,\"error_code\":409,\"description\":\"Conflict: terminated by other getUpdates "
                "request\"}");
    expect_trouble(5, "terminated by other getUpdates");
    keep(NULL);
    expect_call("getWebhookInfo", "");
    answer(200, INFO("https://other.example/in"));
    expect_refused("other.example");
}

static void test_polling_with_an_unknown_token_needs_a_person(void **state)
{
    (void)state;
    begin_polling();
    answer(401, "{\"ok\":false,\"error_code\":401,\"description\":\"Unauthorized\"}");
    expect_refused("does not know this bot");
}

static void test_a_call_without_its_answer_is_repeated(void **state)
{
    (void)state;
    begin_polling();
    keep(NULL);
    expect_trouble(1, "called off");
    keep(NULL);
    expect_call("getUpdates", "");
}

// A server may repeat the address that it was asked for, as many do, or say more than anybody reads. (keep() looks for the token.)
static void test_no_answer_brings_the_token_or_a_long_text_into_an_alarm(void **state)
{
    (void)state;
    begin_polling();
    answer(200, BATCH(UPDATE("41", "a")));
    keep(NULL);
    keep(NULL);
    answer(409, "{\"ok\":false,\"error_code\":409,\"description\":\"Conflict at /bot" TOKEN "\"}");
    expect_trouble(5, "another program polls this bot");
    keep(NULL);
    answer(500, "{\"message\":\"Cannot POST /bot" TOKEN "/getWebhookInfo\"}");
    expect_trouble(2, "HTTP 500");
    keep(NULL);
    answer(401, "{\"message\":\"Cannot POST /bot" TOKEN "/getWebhookInfo\"}");
    expect_refused("does not know this bot (HTTP 401)");
}

static void test_a_webhooks_last_error_is_cut_and_holds_no_token(void **state)
{
    (void)state;
    char body[3000];
    bot.source.registered_url = STR(OURS);
    bot.source.secret = STR("s");
    const char *const words[] = {"403 at /bot" TOKEN, "503 "};
    for (size_t i = 0; i < 2; i++) {
        bot.now_us = START_US;
        bot.upkeep.phase = 0;
        keep(NULL);
        snprintf(body, sizeof body,
                 "{\"ok\":true,\"result\":{\"url\":\"" OURS "\",\"pending_update_count\":3,"
                 "\"last_error_date\":1441646900,\"last_error_message\":\"%s%02000d\"}}",
                 words[i], 0);
        answer(200, body);
        if (bot.step.kind == SOURCE_SEND) { // registered anew first
            answer(200, TRUE);
            keep(NULL);
            answer(200, body);
        }
        assert_false(bot.step.healthy);
        assert_true(plain_contains(bot.step.why, "cannot deliver here: ") && bot.step.why.n < 400);
    }
}

#define KEEP_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEEP_TEST(test_webhook_is_registered),
        KEEP_TEST(test_no_answer_brings_the_token_or_a_long_text_into_an_alarm),
        KEEP_TEST(test_a_webhooks_last_error_is_cut_and_holds_no_token),
        KEEP_TEST(test_configured_and_kept_secrets_are_used),
        KEEP_TEST(test_a_new_secret_reaches_telegram_though_the_url_is_right),
        KEEP_TEST(test_long_trouble_pauses_a_minute),
        KEEP_TEST(test_known_url_needs_no_learning),
        KEEP_TEST(test_foreign_webhook_is_respected),
        KEEP_TEST(test_own_old_webhook_is_replaced),
        KEEP_TEST(test_take_over_replaces),
        KEEP_TEST(test_losing_the_webhook_is_noticed),
        KEEP_TEST(test_delivery_trouble_is_shown),
        KEEP_TEST(test_trouble_is_tried_again),
        KEEP_TEST(test_unreadable_answers_are_trouble),
        KEEP_TEST(test_unknown_token_needs_a_person),
        KEEP_TEST(test_429_is_obeyed),
        KEEP_TEST(test_webhook_mode_needs_an_address),
        KEEP_TEST(test_own_api_url_is_called),
        KEEP_TEST(test_offset_confirms_once_after_the_store),
        KEEP_TEST(test_a_failed_confirmation_drops_the_offset),
        KEEP_TEST(test_what_says_nothing_is_stored_and_confirmed),
        KEEP_TEST(test_presses_are_answered_when_they_are_durable),
        KEEP_TEST(test_trouble_with_a_press_holds_up_nothing),
        KEEP_TEST(test_one_bad_update_holds_up_nothing),
        KEEP_TEST(test_ids_that_cannot_be_confirmed_do_not_spin),
        KEEP_TEST(test_polling_respects_a_foreign_webhook),
        KEEP_TEST(test_polling_removes_our_own_webhook),
        KEEP_TEST(test_another_hand_on_the_bot_is_told),
        KEEP_TEST(test_polling_with_an_unknown_token_needs_a_person),
        KEEP_TEST(test_a_call_without_its_answer_is_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
