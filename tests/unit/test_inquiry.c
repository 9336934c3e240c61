// What connectors ask when a person asks, and the sentence they make of the answer. Pure: answers are made up here.
#include "desk/desk.h"
#include "platform/platform.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#define TOKEN "123456:AAsecretsecret"
#define NOW INT64_C(1700000000000000)
#define PUBLIC "https://relay.example.com/"
#define OWN "https://relay.example.com/hooks/acme/bot"
#define ME "{\"ok\":true,\"result\":{\"id\":123456,\"first_name\":\"Acme\",\"username\":\"acme_bot\"}}"

static struct arena arena;
static struct inquiry inquiry;
static struct http_request request;

static int set_up(void **state)
{
    (void)state;
    inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
    request = (struct http_request){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct http_response answer(int status, const char *body)
{
    return (struct http_response){.failure = HTTP_ANSWERED, .written = true, .status = status, .body = str_of(body)};
}

static const struct http_response nobody = {.failure = HTTP_NOT_CONNECTED, .error = STR("connection refused")};

static void assert_said(bool good, const char *part)
{
    assert_non_null(inquiry.sentence.p);
    if (!strstr(inquiry.sentence.p, part))
        fail_msg("\"%s\" does not say \"%s\"", inquiry.sentence.p, part);
    assert_int_equal(inquiry.good, good);
    assert_int_equal(inquiry.sentence.p[inquiry.sentence.n - 1], '.');
}

static const struct inquiry_fact *fact(const char *name)
{
    for (size_t i = 0; i < inquiry.fact_count; i++)
        if (strcmp(inquiry.facts[i].name, name) == 0)
            return &inquiry.facts[i];
    fail_msg("no fact %s", name);
    return NULL;
}

// ---- Telegram ----

static struct source bot(void)
{
    return (struct source){.account = STR("acme"),
                           .name = STR("bot"),
                           .platform = STR("telegram"),
                           .token = STR(TOKEN),
                           .api_url = STR("https://api.telegram.org")};
}

static bool ask_bot(const struct source *source, struct str public_url, const struct http_response *last)
{
    return platform_telegram.ask(source, public_url, &inquiry, last, &request);
}

// The bot is known, and getWebhookInfo gives this.
static void ask_webhook(struct source source, struct str public_url, const char *info)
{
    char body[1024];
    struct http_response me = answer(200, ME);
    inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
    assert_true(ask_bot(&source, public_url, NULL));
    assert_true(ask_bot(&source, public_url, &me));
    snprintf(body, sizeof body, "{\"ok\":true,\"result\":{%s}}", info);
    struct http_response told = answer(200, body);
    assert_false(ask_bot(&source, public_url, &told));
}

static void test_telegram_is_asked_who_it_is_and_where_its_webhook_points(void **state)
{
    (void)state;
    struct source source = bot();
    struct http_response me = answer(200, ME);
    assert_true(ask_bot(&source, STR(PUBLIC), NULL));
    assert_str(request.target, "https://api.telegram.org/bot" TOKEN "/getMe");
    assert_true(ask_bot(&source, STR(PUBLIC), &me));
    assert_str(request.target, "https://api.telegram.org/bot" TOKEN "/getWebhookInfo");
    struct http_response info = answer(200,
                                       "{\"ok\":true,\"result\":{\"url\":\"" OWN "\",\"pending_update_count\":2}}");
    assert_false(ask_bot(&source, STR(PUBLIC), &info));
    assert_said(true, "Telegram knows @acme_bot, and its webhook points here, to " OWN "; 2 updates wait there.");
    assert_str(fact("bot")->text, "@acme_bot");
    assert_str(fact("bot_id")->text, "123456");
    assert_int_equal(fact("pending_updates")->number, 2);
    assert_null(fact("last_error")->text.p);
}

static void test_telegram_webhooks_that_are_not_well_are_told(void **state)
{
    (void)state;
    ask_webhook(bot(), STR(PUBLIC), "\"url\":\"\",\"pending_update_count\":0");
    assert_said(false, "has no webhook for it");
    ask_webhook(bot(), STR(PUBLIC), "\"url\":\"https://u:p@other.example/x?key=1\"");
    assert_said(false, "a webhook elsewhere, at https://other.example/x;");
    ask_webhook(bot(), STR(PUBLIC), "\"url\":\"https://other.example/" TOKEN "/in\"");
    assert_said(false, "at https://other.example/...;");
    struct source moved = bot();
    moved.registered_url = STR("https://old.example/hooks/acme/bot");
    ask_webhook(moved, STR(PUBLIC), "\"url\":\"https://old.example/hooks/acme/bot\"");
    assert_said(false, "still points to https://old.example/hooks/acme/bot, not to " OWN);
    ask_webhook(bot(), STR(PUBLIC),
                "\"url\":\"" OWN "\",\"pending_update_count\":7,\"last_error_date\":1699999990,"
                "\"last_error_message\":\"Wrong response: 502\"");
    assert_said(false, "cannot deliver to " OWN ": Wrong response: 502; 7 updates wait");
    assert_int_equal(fact("last_error_at")->number, INT64_C(1699999990000000));
    ask_webhook(bot(), STR(PUBLIC),
                "\"url\":\"" OWN "\",\"pending_update_count\":0,\"last_error_date\":1600000000,"
                "\"last_error_message\":\"long ago\"");
    assert_said(true, "points here");
    struct source wanted = bot();
    wanted.mode = SOURCE_WEBHOOK;
    ask_webhook(wanted, STR_NONE, "\"url\":\"\"");
    assert_said(false, "needs public_url");
}

static void test_a_polled_bot_may_have_no_webhook_elsewhere(void **state)
{
    (void)state;
    ask_webhook(bot(), STR_NONE, "\"url\":\"\",\"pending_update_count\":3");
    assert_said(true, "is polled; 3 updates wait");
    assert_str(fact("mode")->text, "polling");
    ask_webhook(bot(), STR_NONE, "\"url\":\"https://other.example/x\"");
    assert_said(false, "cannot be polled");
    struct source taker = bot();
    taker.take_over = true;
    ask_webhook(taker, STR_NONE, "\"url\":\"https://other.example/x\"");
    assert_said(true, "is removed");
}

static void test_telegram_that_does_not_know_the_bot_or_does_not_answer_is_told(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body, *part;
    } bad[] = {
        {401, "{\"ok\":false,\"error_code\":401,\"description\":\"Unauthorized\"}",
         "does not know this bot (HTTP 401: Unauthorized)"},
        {404, "{\"ok\":false}", "does not know this bot"},
        {500, "oops", "answers getMe with HTTP 500: oops"},
        {200, "<html>", "answers getMe with an answer that cannot be read"},
        {200, "{\"ok\":true}", "answers getMe with an answer that cannot be read"},
        {200, "{\"ok\":true,\"result\":[]}", "answers getMe with"},
    };
    struct source source = bot();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_response told = answer(bad[i].status, bad[i].body);
        inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
        assert_true(ask_bot(&source, STR(PUBLIC), NULL));
        assert_false(ask_bot(&source, STR(PUBLIC), &told));
        assert_said(false, bad[i].part);
    }
    inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
    assert_true(ask_bot(&source, STR(PUBLIC), NULL));
    assert_false(ask_bot(&source, STR(PUBLIC), &nobody));
    assert_said(false, "cannot be reached: connection refused");
}

// ---- Intercom ----

static struct str client_secret = STR("c5");

static void ask_intercom(const struct http_response *last)
{
    struct desk desk = {.platform = STR("intercom"),
                        .token = STR("tok-secret"),
                        .client_secret = client_secret,
                        .api_url = STR("https://api.eu.intercom.io")};
    inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
    assert_true(desk_intercom.ask(&desk, &inquiry, NULL, &request));
    assert_str(request.method, "GET");
    assert_str(request.target, "https://api.eu.intercom.io/me");
    assert_false(desk_intercom.ask(&desk, &inquiry, last, &request));
}

static void test_intercom_is_asked_whose_token_it_is(void **state)
{
    (void)state;
    const struct http_header left[] = {{STR("X-RateLimit-Remaining"), STR("160")},
                                       {STR("X-RateLimit-Reset"), STR("1700000010")}};
    struct http_response me = answer(200,
                                     "{\"type\":\"admin\",\"id\":\"77\",\"app\":{\"id_code\":\"abc\",\"name\":\"Acme\","
                                     "\"region\":\"EU\",\"timezone\":\"Europe/Berlin\"}}");
    me.headers = left;
    me.header_count = 2;
    ask_intercom(&me);
    assert_said(true, "Intercom takes the token; it is of workspace Acme (abc).");
    assert_str(fact("app_id")->text, "abc");
    assert_str(fact("region")->text, "EU");
    assert_str(fact("admin_id")->text, "77");
    assert_int_equal(fact("requests_left")->number, 160);
    client_secret = STR_NONE;
    ask_intercom(&me);
    assert_said(true, "without client_secret its notifications are refused");
    client_secret = STR("c5");
    me = answer(200, "{\"type\":\"admin\",\"id\":\"77\",\"app\":{\"id_code\":\"abc\"}}");
    ask_intercom(&me);
    assert_said(true, "of workspace abc.");
    me = answer(200, "{}");
    ask_intercom(&me);
    assert_said(true, "names no workspace");
    me = answer(
        401, "{\"type\":\"error.list\",\"errors\":[{\"code\":\"unauthorized\",\"message\":\"Access Token Invalid\"}]}");
    ask_intercom(&me);
    assert_said(false, "does not take the token (HTTP 401: unauthorized: Access Token Invalid)");
    me = answer(403, "{}");
    ask_intercom(&me);
    assert_said(false, "but not for this");
    me = answer(503, "");
    ask_intercom(&me);
    assert_said(false, "answers with HTTP 503");
    me = answer(200, "nonsense");
    ask_intercom(&me);
    assert_said(false, "cannot be read");
    ask_intercom(&nobody);
    assert_said(false, "cannot be reached: connection refused");
}

// ---- the signed webhook ----

static void test_a_webhook_desk_is_asked_by_head(void **state)
{
    (void)state;
    struct desk desk = {.platform = STR("webhook"), .url = STR("https://u:p@desk.example/in?key=x")};
    static const struct {
        int status;
        bool good;
        const char *part;
    } told[] = {
        {200, true, "https://desk.example/in answers (HTTP 200 to HEAD)"},
        {405, true, "knows no HEAD (HTTP 405)"},
        {404, true, "knows no HEAD (HTTP 404)"},
        {500, true, "answers (HTTP 500"},
        {410, false, "takes no messages (HTTP 410)"},
        {401, false, "takes no messages (HTTP 401)"},
    };
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        struct http_response last = answer(told[i].status, "");
        inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
        assert_true(desk_webhook.ask(&desk, &inquiry, NULL, &request));
        assert_str(request.method, "HEAD");
        assert_str(request.target, "https://u:p@desk.example/in?key=x");
        assert_false(desk_webhook.ask(&desk, &inquiry, &last, &request));
        assert_said(told[i].good, told[i].part);
        assert_str(fact("url")->text, "https://desk.example/in");
    }
    inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
    assert_true(desk_webhook.ask(&desk, &inquiry, NULL, &request));
    assert_false(desk_webhook.ask(&desk, &inquiry, &nobody, &request));
    assert_said(false, "cannot be reached");
    desk.probe = DESK_PROBE_NONE;
    inquiry = (struct inquiry){.arena = &arena, .now_us = NOW};
    assert_false(desk_webhook.ask(&desk, &inquiry, NULL, &request));
    assert_said(true, "probe: none");
}

static void test_of_a_webhook_source_nothing_can_be_asked(void **state)
{
    (void)state;
    struct source source = {
        .account = STR("acme"), .name = STR("hook"), .platform = STR("webhook"), .secret = STR("whsec_x")};
    assert_false(platform_webhook.ask(&source, STR(PUBLIC), &inquiry, NULL, &request));
    assert_said(true, "posts to https://relay.example.com/hooks/acme/hook, signed with");
    source.secret = STR("none");
    inquiry = (struct inquiry){.arena = &arena};
    assert_false(platform_webhook.ask(&source, STR_NONE, &inquiry, NULL, &request));
    assert_said(true, "posts to /hooks/acme/hook of this relay, without needing");
}

// ---- secrets ----

static void test_a_secret_that_a_peer_repeats_is_hidden(void **state)
{
    (void)state;
    inquiry_text(&inquiry, "echo", STR("a " TOKEN TOKEN " b"));
    inquiry_text(&inquiry, "none", STR_NONE);
    inquiry_end(&inquiry, false, "It says %s, %s.", TOKEN, "and more");
    inquiry_hide(&inquiry, STR(TOKEN));
    inquiry_hide(&inquiry, STR("none"));
    inquiry_hide(&inquiry, STR_NONE);
    assert_str(inquiry.sentence, "It says ..., and more.");
    assert_str(fact("echo")->text, "a ...... b");
    assert_null(fact("none")->text.p);
}

// As a peer may answer, in 4 MiB of it: neither time nor memory goes with the square of that.
static void test_a_text_full_of_secrets_is_short(void **state)
{
    (void)state;
    enum { TIMES = 200000 };
    static char text[TIMES * (sizeof TOKEN - 1) + 1];
    for (size_t i = 0; i < TIMES; i++)
        memcpy(text + i * (sizeof TOKEN - 1), TOKEN, sizeof TOKEN - 1);
    inquiry_text(&inquiry, "echo", str_of(text));
    inquiry_end(&inquiry, false, "It says %s.", text);
    inquiry_hide(&inquiry, STR(TOKEN));
    assert_true(fact("echo")->text.n <= 1024 && inquiry.sentence.n <= 1024);
    assert_true(str_ends(inquiry.sentence, STR("...")));
    assert_null(memmem(fact("echo")->text.p, fact("echo")->text.n, "AA", 2));
}

static void test_what_is_cut_leaves_next_to_nothing_of_a_secret_and_no_part_of_a_character(void **state)
{
    (void)state;
    char text[1200];
    for (int n = 990; n < 1024; n++) {
        inquiry.fact_count = 0;
        snprintf(text, sizeof text, "%*s" TOKEN "%s", n, "",
                 "\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4");
        inquiry_text(&inquiry, "echo", str_of(text));
        inquiry_end(&inquiry, false, "%s.", text);
        inquiry_hide(&inquiry, STR(TOKEN));
        assert_null(memmem(fact("echo")->text.p, fact("echo")->text.n, TOKEN, 4));
        assert_null(memmem(inquiry.sentence.p, inquiry.sentence.n, TOKEN, 4));
        assert_true(str_is_utf8(fact("echo")->text) && str_is_utf8(inquiry.sentence));
        assert_true(str_ends(inquiry.sentence, STR(".")));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_text_full_of_secrets_is_short),
        TEST(test_what_is_cut_leaves_next_to_nothing_of_a_secret_and_no_part_of_a_character),
        TEST(test_telegram_is_asked_who_it_is_and_where_its_webhook_points),
        TEST(test_telegram_webhooks_that_are_not_well_are_told),
        TEST(test_a_polled_bot_may_have_no_webhook_elsewhere),
        TEST(test_telegram_that_does_not_know_the_bot_or_does_not_answer_is_told),
        TEST(test_intercom_is_asked_whose_token_it_is),
        TEST(test_a_webhook_desk_is_asked_by_head),
        TEST(test_of_a_webhook_source_nothing_can_be_asked),
        TEST(test_a_secret_that_a_peer_repeats_is_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
