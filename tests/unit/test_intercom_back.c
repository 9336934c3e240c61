// Intercom's way back, driven with samples: notifications, conversations read for what agents said, the search for those that
// changed. The samples of the fuzz targets are held to the official description in tests/contract/test_intercom_back.py, and so
// are the requests, which stand in tests/contract/intercom_requests.json.
#include "support/unit.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "desk/desk.h"
#include "model/attachment.h"
#include "support/plain_http.h"

#define SECRET "test_client_secret"
#define CONTACT "6762f11b1bb69f9f2193bba3"
#define NOW_S 1700000001

static struct arena arena;
static const struct account account = {.name = STR("acme"),
                                       .desk = {.platform = STR("intercom"),
                                                .token = STR("dG9r"),
                                                .client_secret = STR(SECRET),
                                                .api_url = STR("https://api.eu.intercom.io")}};
static struct http_request request;

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct http_response answer(int status, struct str body)
{
    return plain_answer(status, NULL, body);
}

// The request is the `index`th of those that are held to the description.
static void assert_held(const char *group, size_t index)
{
    yyjson_doc *doc = json_read(plain_file(&arena, "tests/contract/intercom_requests.json"));
    yyjson_val *held = yyjson_arr_get(yyjson_obj_get(yyjson_doc_get_root(doc), group), index);
    struct str target = json_get_str(held, "target");
    assert_true(str_eq(request.method, json_get_str(held, "method")));
    assert_true(str_starts(request.target, account.desk.api_url));
    if (!str_ends(request.target, target) || request.target.n != account.desk.api_url.n + target.n)
        fail_msg("expected %.*s, came %.*s", STR_ARG(target), STR_ARG(request.target));
    yyjson_doc *sent = request.body.n ? json_read(request.body) : NULL;
    yyjson_val *body = yyjson_obj_get(held, "body");
    if (yyjson_is_null(body) ? sent != NULL : !yyjson_equals(body, yyjson_doc_get_root(sent)))
        fail_msg("not as held: %.*s", STR_ARG(request.body));
    yyjson_doc_free(sent);
    yyjson_doc_free(doc);
    assert_str(http_header_get(request.headers, request.header_count, "authorization"), "Bearer dG9r");
    assert_str(http_header_get(request.headers, request.header_count, "intercom-version"), "2.16");
    assert_int_equal(http_header_count(request.headers, request.header_count, "content-type"), request.body.n > 0);
}

// Notifications --------------------------------------------------------------------------------------------

static struct desk_notice notice;

static void receive(const struct desk *desk, const char *const *headers, struct str body)
{
    struct plain_headers list = plain_headers_of(headers);
    struct http_request came = {.method = STR("POST"), .headers = list.list, .header_count = list.count, .body = body};
    desk_intercom.receive(desk, &came, &arena, &notice);
}

#define PING_SIGNATURE "sha1=97c99000ac14939aa185cdd331a580a4989e85ae"

static void test_the_signature_is_the_one_of_the_page(void **state)
{
    (void)state;
    receive(&account.desk, (const char *const[]){"X-Hub-Signature", PING_SIGNATURE, NULL}, STR("{\"type\":\"ping\"}"));
    assert_int_equal(notice.kind, NOTICE_OK);
    assert_int_equal(notice.conversation_count, 0);
}

static void test_what_is_not_signed_so_is_forged(void **state)
{
    (void)state;
    static const char *const bad[][5] = {
        {NULL},
        {"X-Hub-Signature", "", NULL},
        {"X-Hub-Signature", "97c99000ac14939aa185cdd331a580a4989e85ae", NULL},
        {"X-Hub-Signature", "sha1=97c99000ac14939aa185cdd331a580a4989e85a", NULL},
        {"X-Hub-Signature", "sha1=97c99000ac14939aa185cdd331a580a4989e85af", NULL},
        {"X-Hub-Signature", PING_SIGNATURE "0", NULL},
        {"X-Hub-Signature", PING_SIGNATURE, "x-hub-signature", PING_SIGNATURE, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        receive(&account.desk, bad[i], STR("{\"type\":\"ping\"}"));
        assert_int_equal(notice.kind, NOTICE_FORGED);
        assert_true(plain_contains(notice.why, "X-Hub-Signature"));
    }
    receive(&account.desk, (const char *const[]){"X-Hub-Signature", PING_SIGNATURE, NULL}, STR("{\"type\":\"pong\"}"));
    assert_int_equal(notice.kind, NOTICE_FORGED);
}

static void test_without_a_client_secret_nothing_is_believed(void **state)
{
    (void)state;
    struct desk desk = account.desk;
    desk.client_secret = STR_NONE;
    receive(&desk, (const char *const[]){"X-Hub-Signature", PING_SIGNATURE, NULL}, STR("{\"type\":\"ping\"}"));
    assert_int_equal(notice.kind, NOTICE_FORGED);
    assert_true(plain_contains(notice.why, "client_secret"));
}

// Each sample with its signature, made with OpenSSL's own program from the secret.
static void expect_notice(const char *name, const char *signature, enum desk_notice_kind kind,
                          const char *const *conversations)
{
    struct str body = plain_file(&arena, arena_printf(&arena, "tests/fuzz/corpus/intercom_notice/%s", name).p);
    receive(&account.desk, (const char *const[]){"X-Hub-Signature", signature, NULL}, body);
    size_t count = 0;
    for (; conversations && conversations[count]; count++)
        if (count >= notice.conversation_count || !str_eq_c(notice.conversations[count], conversations[count]))
            fail_msg("%s: %s is not among %zu", name, conversations[count], notice.conversation_count);
    if (notice.kind != kind || notice.conversation_count != count)
        fail_msg("%s: kind %d, %zu conversations: %.*s", name, (int)notice.kind, notice.conversation_count,
                 STR_ARG(notice.why));
}

#define IDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_notifications_name_what_has_news(void **state)
{
    (void)state;
    expect_notice("replied", "sha1=93f3cc928f0603ba6435639413a5beb41c6749a5", NOTICE_OK, IDS("499"));
    expect_notice("noted", "sha1=4c183ee2c6142e2f7414cf38af79dcecdee72757", NOTICE_OK, NULL);
    expect_notice("user_replied", "sha1=4d729beffeec0f6c98ff293bb4fd3688149b9a48", NOTICE_OK, NULL);
    expect_notice("robot_replied", "sha1=0883b62a50e34d86a520346fa139c7d22be94806", NOTICE_OK, IDS("500"));
    expect_notice("redacted", "sha1=46383b0bf77dd46d8d3bd952de2135df52a59791", NOTICE_OK, IDS("501"));
    expect_notice("redacted_within", "sha1=348b0b850b9f7ce37b4977aaa6db1acbed72f2d5", NOTICE_OK, IDS("502"));
    expect_notice("deleted", "sha1=ad4368979420358c1a23424cd38acb7798aaf18f", NOTICE_OK, IDS("503"));
    expect_notice("merged", "sha1=c5497a34ac994b74689d421e37f3c6f1626ad792", NOTICE_OK, NULL);
    expect_notice("contact_archived", "sha1=ffea51fc62bd2c4f214de15c91a2fa1811f9815b", NOTICE_OK, NULL);
    expect_notice("contact_deleted", "sha1=c4fbd2392e3ccc3e7758e422e987e44eee4aae08", NOTICE_OK, NULL);
    expect_notice("ping", "sha1=f2b1096f5a4a6cc3d2692d5f97e1c66a083886d3", NOTICE_OK, NULL);
    expect_notice("several", "sha1=cb073d289c3281deb091e521492509ad46456184", NOTICE_OK, IDS("499", "500"));
    expect_notice("nameless", "sha1=f6c67eee411f2344944a0f034920f0f212ef2558", NOTICE_MALFORMED, NULL);
    expect_notice("part_without_conversation", "sha1=9041614f73308268e2152365857c027cf6b58861", NOTICE_MALFORMED, NULL);
    expect_notice("odd", "sha1=0525a87183941c5195de079c2e5ce9b5bc509cf4", NOTICE_MALFORMED, NULL);
    expect_notice("broken", "sha1=fe1d37748fd932848012ac77a30cd29d65b74e0b", NOTICE_MALFORMED, NULL);
    expect_notice("empty", "sha1=c95c9a88edb8b6b35c9820b2b2077a8e95cd98d9", NOTICE_MALFORMED, NULL);
}

// Conversations --------------------------------------------------------------------------------------------

static struct desk_fetch fetch_answered(const struct http_response *response)
{
    struct desk_fetch fetch = {
        .account = &account, .conversation = STR("499"), .arena = &arena, .now_us = NOW_S * INT64_C(1000000)};
    assert_true(desk_intercom.fetch(&fetch, NULL, &request));
    assert_held("fetch", 0);
    assert_false(desk_intercom.fetch(&fetch, response, &request));
    return fetch;
}

static struct desk_fetch fetch_sample(const char *name)
{
    struct str path = arena_printf(&arena, "tests/fuzz/corpus/intercom_fetch/%s", name);
    struct http_response response = answer(200, plain_file(&arena, path.p));
    struct desk_fetch fetch = fetch_answered(&response);
    assert_int_equal(fetch.verdict.kind, VERDICT_DELIVERED);
    assert_false(fetch.gone);
    return fetch;
}

static void test_what_agents_say_to_the_customer_is_taken_in_order(void **state)
{
    (void)state;
    static const struct {
        const char *id, *html, *author;
        int64_t created_s;
        bool by_bot, redacted;
    } expected[] = {
        {"132", "<p>Let me pass you over to <b>Tom</b>.</p>", "Jane Doe", 1734537530, false, false},
        {"99", "<p>We are on it</p>", "Support", 1734537540, false, false},
        {"100", "<p>Open again</p>", "Jane Doe", 1734537540, false, false},
        {"139", "<p>An answer of a robot</p>", "Fin", 1734537545, true, false},
        {"142", "", "Jane Doe", 1734537548, false, true}, // taken back: who wrote it, and none of the words
        {"143", "", "Jane Doe", 1734537549, false, false},
        {"144", NULL, "Jane Doe", 1734537550, false, false},
        {"145", "", "Jane Doe", 1734537551, false, false},
        {"150", "<p>Goodbye :)</p>", "Jane Doe", 1734537610, false, false},
    };
    struct desk_fetch fetch = fetch_sample("talk");
    assert_str(fetch.contact, CONTACT);
    assert_int_equal(fetch.part_count, sizeof expected / sizeof *expected);
    for (size_t i = 0; i < fetch.part_count; i++) {
        const struct desk_part *part = &fetch.parts[i];
        assert_str(part->id, expected[i].id);
        assert_int_equal(part->created_s, expected[i].created_s);
        assert_str(part->author_name, expected[i].author);
        assert_int_equal(part->by_bot, expected[i].by_bot);
        assert_int_equal(part->redacted, expected[i].redacted);
        assert_int_equal(part->updated_s, expected[i].created_s);
        assert_false(part->ours);
        if (expected[i].html)
            assert_str(part->html, expected[i].html);
    }
    assert_str(fetch.parts[0].author_id, "991267691");
    assert_null(fetch.parts[0].attachments.p);
}

static void test_files_and_images_of_a_part_are_attachments(void **state)
{
    (void)state;
    struct desk_fetch fetch = fetch_sample("talk");
    assert_str(
        fetch.parts[5].attachments,
        "[{\"kind\":\"image\",\"url\":\"https://downloads.intercomcdn.com/i/o/1/a.png?expires=1&signature=ab\","
        "\"name\":\"a.png\",\"mime\":\"image/png\",\"size\":100,\"state\":\"wanted\"},{\"kind\":\"file\",\"url\":"
        "\"https://downloads.intercomcdn.com/i/o/1/b.pdf?expires=1&signature=ab\",\"name\":\"b.pdf\",\"mime\":"
        "\"application/pdf\",\"size\":0,\"state\":\"wanted\"}]");
    assert_true(plain_contains(fetch.parts[6].html, "<p>See</p>"));
    assert_str(fetch.parts[6].attachments,
               "[{\"kind\":\"image\",\"url\":\"https://downloads.intercomcdn.com/i/o/2/c.png?expires=1&signature=cd\","
               "\"name\":null,\"mime\":null,\"size\":null,\"state\":\"wanted\"}]");
    assert_true(plain_contains(fetch.parts[7].attachments, "/i/o/3/d.gif"));
    fetch = fetch_sample("odd_types");
    assert_str(fetch.contact, "7");
    assert_int_equal(fetch.part_count, 3);
    assert_str(fetch.parts[0].id, "18446744073709551615"); // no number that we could compare
    assert_str(fetch.parts[0].attachments,
               "[{\"kind\":\"file\",\"url\":\"https://a\",\"name\":null,\"mime\":null,\"size\":null,\"state\":"
               "\"wanted\"},{\"kind\":\"image\",\"url\":\"http://a/b\",\"name\":null,\"mime\":null,\"size\":null,"
               "\"state\":\"wanted\"}]");
}

#define SAID(more)                                                                                                        \
    "{\"type\":\"conversation\",\"conversation_parts\":{\"conversation_parts\":[{\"id\":\"5\",\"part_type\":\"comment\"," \
    "\"author\":{\"type\":\"admin\"},\"created_at\":100" more "}]}}"

// Else one part could hold up everybody's replies: what is looked for from each "<" to the end takes minutes, and the runner ends what
// hangs.
static void test_tags_without_an_end_take_no_time(void **state)
{
    static const char *const pieces[] = {"<img ", "<a ", "< "};
    static const char *const ends[] = {"\"}]}}", ">\"}]}}"};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct buf body;
        buf_init(&body, SIZE_MAX / 2);
        buf_add_str(&body,
                    STR("{\"type\":\"conversation\",\"conversation_parts\":{\"conversation_parts\":[{\"id\":\"5\","
                        "\"part_type\":\"comment\",\"author\":{\"type\":\"admin\"},\"created_at\":100,\"body\":\"x"));
        while (body.n < 3000000)
            buf_add_str(&body, str_of(pieces[i % 3]));
        buf_add_str(&body, str_of(ends[i / 3]));
        buf_must(&body);
        struct http_response response = answer(200, buf_str(&body));
        struct desk_fetch fetch = fetch_answered(&response);
        assert_int_equal(fetch.part_count, 1);
        buf_done(&body);
    }
}

static void test_changes_and_what_was_taken_back_are_seen(void **state)
{
    (void)state;
    struct http_response response = answer(200, STR(SAID(",\"body\":\"x\",\"updated_at\":170")));
    struct desk_fetch fetch = fetch_answered(&response);
    assert_int_equal(fetch.part_count, 1);
    assert_int_equal(fetch.parts[0].updated_s, 170);
    response = answer(200, STR(SAID(",\"body\":\"x\",\"updated_at\":99")));
    fetch = fetch_answered(&response);
    assert_int_equal(fetch.parts[0].updated_s, 100);
    response = answer(200,
                      STR(SAID(",\"body\":\"<p>This message was deleted</p><img src='https://a/b'>\",\"redacted\":true,"
                               "\"updated_at\":170,\"attachments\":[{\"url\":\"https://a\"}]")));
    fetch = fetch_answered(&response);
    assert_int_equal(fetch.part_count, 1);
    assert_true(fetch.parts[0].redacted);
    assert_str(fetch.parts[0].html, "");
    assert_null(fetch.parts[0].attachments.p);
    assert_int_equal(fetch.parts[0].updated_s, 170);
    // Nothing to know it by: nothing that could be taken back.
    response = answer(200,
                      STR("{\"type\":\"conversation\",\"conversation_parts\":{\"conversation_parts\":[{\"author\":{"
                          "\"type\":\"admin\"},\"redacted\":true}]}}"));
    fetch = fetch_answered(&response);
    assert_int_equal(fetch.verdict.kind, VERDICT_DELIVERED);
    assert_int_equal(fetch.part_count, 0);
}

static void test_more_files_than_are_fetched_keep_their_addresses(void **state)
{
    (void)state;
    struct str list = STR("");
    for (int i = 0; i <= ATTACHMENTS_MAX; i++)
        list = ARENA_JOIN(&arena, list, i ? STR(",") : STR(""), STR("{\"url\":\"https://a\"}"));
    struct str all = arena_printf(&arena, SAID(",\"attachments\":[%.*s]"), STR_ARG(list));
    struct http_response response = answer(200, all);
    struct desk_fetch fetch = fetch_answered(&response);
    struct attachment *files;
    assert_int_equal(attachments_read(fetch.parts[0].attachments, &arena, &files), ATTACHMENTS_MAX);
    assert_int_equal(attachments_count(fetch.parts[0].attachments, FILE_WANTED), FILES_MAX);
    assert_int_equal(files[FILES_MAX].state, FILE_ELSEWHERE);
}

static void test_the_message_that_began_a_conversation(void **state)
{
    (void)state;
    struct desk_fetch fetch = fetch_sample("begun_by_an_agent");
    assert_int_equal(fetch.part_count, 3);
    assert_str(fetch.parts[0].id, "source:403918330");
    assert_int_equal(fetch.parts[0].created_s, 1734537500);
    assert_str(fetch.parts[0].html, "<p>Your parcel is here</p>");
    assert_true(plain_contains(fetch.parts[0].attachments, "\"kind\":\"audio\""));
    assert_false(fetch.parts[0].by_bot);
    assert_str(fetch.parts[1].id, "131");
    assert_false(fetch.parts[1].by_bot);
    assert_true(fetch.parts[2].by_bot); // in an agent's name
    fetch = fetch_sample("begun_by_a_campaign");
    assert_int_equal(fetch.part_count, 1);
    assert_true(fetch.parts[0].by_bot);
}

static void test_of_several_contacts_none_is_the_one(void **state)
{
    (void)state;
    struct desk_fetch fetch = fetch_sample("of_two_contacts");
    assert_null(fetch.contact.p);
    assert_int_equal(fetch.part_count, 1);
}

static void test_ids_of_one_second_are_compared_as_numbers(void **state)
{
    (void)state;
    struct desk_fetch fetch = fetch_sample("of_many_parts");
    assert_int_equal(fetch.part_count, 20);
    for (size_t i = 0; i < fetch.part_count; i++)
        assert_str(fetch.parts[i].id, arena_printf(&arena, "%zu", 9991 + 2 * i).p);
}

// Sixteen are read at a time, of 500 parts each.
static void test_a_part_takes_little_more_memory_than_its_words(void **state)
{
    (void)state;
    struct http_response response = answer(200, plain_file(&arena, "tests/fuzz/corpus/intercom_fetch/of_many_parts"));
    size_t before = memory_in_use();
    struct desk_fetch fetch = fetch_answered(&response);
    assert_int_equal(fetch.part_count, 20);
    assert_in_range(memory_in_use() - before, 0, fetch.part_count * 1024);
}

static void test_a_conversation_that_is_gone(void **state)
{
    (void)state;
    struct http_response response = answer(404, STR("{\"type\":\"error.list\",\"errors\":[{\"code\":\"not_found\"}]}"));
    struct desk_fetch fetch = fetch_answered(&response);
    assert_int_equal(fetch.verdict.kind, VERDICT_DELIVERED);
    assert_true(fetch.gone);
    assert_int_equal(fetch.part_count, 0);
}

static void test_a_hostile_id_stays_in_its_place(void **state)
{
    (void)state;
    struct desk_fetch fetch = {.account = &account, .conversation = STR("../me?x=1#"), .arena = &arena};
    assert_true(desk_intercom.fetch(&fetch, NULL, &request));
    assert_str(request.target, "https://api.eu.intercom.io/conversations/..%2Fme%3Fx%3D1%23");
}

static void test_what_cannot_be_read_is_no_conversation(void **state)
{
    (void)state;
    static const char *const samples[] = {"no_parts", "a_list", "an_error", "a_part_without_a_name", "cut"};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        struct str path = arena_printf(&arena, "tests/fuzz/corpus/intercom_fetch/%s", samples[i]);
        struct http_response response = answer(200, plain_file(&arena, path.p));
        struct desk_fetch fetch = fetch_answered(&response);
        assert_int_equal(fetch.verdict.kind, VERDICT_RETRY);
        assert_false(fetch.verdict.maybe_applied);
        assert_true(fetch.verdict.error.n > 0);
        assert_int_equal(fetch.part_count, 0);
    }
}

static const struct {
    int status;
    enum verdict_kind kind;
    bool alarm;
} troubles[] = {{401, VERDICT_DESK_DOWN, true}, {403, VERDICT_DESK_DOWN, true},  {429, VERDICT_DESK_DOWN, false},
                {500, VERDICT_RETRY, false},    {503, VERDICT_DESK_DOWN, false}, {400, VERDICT_REJECTED, false},
                {302, VERDICT_RETRY, false}};

static void test_a_fetch_in_trouble_says_so_by_the_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++) {
        struct http_response response = answer(troubles[i].status, STR("{}"));
        struct desk_fetch fetch = fetch_answered(&response);
        assert_int_equal(fetch.verdict.kind, troubles[i].kind);
        assert_int_equal(fetch.verdict.alarm, troubles[i].alarm);
        assert_false(fetch.gone || fetch.verdict.maybe_applied);
    }
    struct http_response nobody = plain_failure(HTTP_TIMEOUT, true);
    assert_int_equal(fetch_answered(&nobody).verdict.kind, VERDICT_DESK_DOWN);
    struct plain_headers reset = plain_headers_of((const char *const[]){"X-RateLimit-Reset", "1700000009", NULL});
    struct http_response later = plain_answer(429, &reset, STR("{}"));
    assert_int_equal(fetch_answered(&later).verdict.until_us, INT64_C(1700000009000000));
}

// The search -----------------------------------------------------------------------------------------------

static struct desk_search search;

static void begin_search(void)
{
    search = (struct desk_search){
        .account = &account, .since_s = 1699990001, .arena = &arena, .now_us = NOW_S * INT64_C(1000000)};
    assert_true(desk_intercom.search(&search, NULL, &request));
    assert_held("search", 0);
}

static bool next_page(const char *conversations, const char *cursor)
{
    struct str next = cursor ? arena_printf(&arena, ",\"next\":{\"page\":2,\"starting_after\":\"%s\"}", cursor)
                             : STR("");
    struct http_response page = answer(
        200, arena_printf(&arena,
                          "{\"type\":\"conversation.list\",\"pages\":{\"type\":\"pages\",\"page\":1%.*s},"
                          "\"total_count\":3,\"conversations\":[%s]}",
                          STR_ARG(next), conversations));
    return desk_intercom.search(&search, &page, &request);
}

static void test_pages_are_followed_to_the_end(void **state)
{
    (void)state;
    begin_search();
    assert_true(next_page("{\"id\":\"1\",\"updated_at\":1699990001},{\"id\":2,\"updated_at\":1699999999}", "page-2"));
    assert_held("search", 1);
    search.now_us += 5000000;
    // Whoever searches by days gets the whole day; what changed before is of no use.
    assert_false(next_page("{\"id\":\"3\",\"updated_at\":1699990000},{\"id\":\"4\"},{\"id\":\"\"},7", NULL));
    assert_int_equal(search.verdict.kind, VERDICT_DELIVERED);
    assert_int_equal(search.conversation_count, 3);
    assert_str(search.conversations[0], "1");
    assert_str(search.conversations[1], "2");
    assert_str(search.conversations[2], "4");
    assert_int_equal(search.until_s, NOW_S); // when it began
}

// By a clock of ours that is ahead the next search would begin behind what changes until then.
static void test_a_search_reaches_no_further_than_the_desks_own_clock(void **state)
{
    static const struct {
        const char *date;
        int64_t until_s;
    } dates[] = {
        {"Tue, 14 Nov 2023 22:03:21 GMT", NOW_S - 600},
        {"Tue, 14 Nov 2023 22:33:20 GMT", NOW_S}, // or ours, if that is behind
        {"soon", NOW_S},
    };
    (void)state;
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        struct plain_headers date = plain_headers_of((const char *const[]){"Date", dates[i].date, NULL});
        struct http_response page = answer(200, STR("{\"type\":\"conversation.list\",\"conversations\":[]}"));
        page.headers = date.list;
        page.header_count = date.count;
        begin_search();
        assert_false(desk_intercom.search(&search, &page, &request));
        assert_int_equal(search.until_s, dates[i].until_s);
    }
}

static void test_nothing_changed(void **state)
{
    (void)state;
    begin_search();
    assert_false(next_page("", NULL));
    assert_int_equal(search.verdict.kind, VERDICT_DELIVERED);
    assert_int_equal(search.conversation_count, 0);
    assert_int_equal(search.until_s, NOW_S);
}

static void test_too_much_is_halved_in_time(void **state)
{
    (void)state;
    begin_search();
    for (int i = 1; i < 100; i++)
        assert_true(next_page("{\"id\":\"1\"},{\"id\":\"2\"}", "more"));
    assert_int_equal(search.conversation_count, 198);
    assert_true(next_page("{\"id\":\"1\"}", "more"));
    assert_held("search", 2);
    assert_int_equal(search.conversation_count, 0);
    assert_false(next_page("{\"id\":\"5\"}", NULL));
    assert_int_equal(search.conversation_count, 1);
    assert_str(search.conversations[0], "5");
    assert_int_equal(search.until_s, 1699995001);
}

static void test_a_search_that_never_ends_is_ended(void **state)
{
    (void)state;
    begin_search();
    int pages = 1;
    while (next_page("{\"id\":\"1\"}", "more"))
        assert_true(++pages < 2000);
    assert_int_equal(search.verdict.kind, VERDICT_DELIVERED);
    assert_true(search.until_s > search.since_s); // it gets on
}

static void test_a_search_in_trouble_says_so_by_the_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof troubles / sizeof *troubles; i++) {
        begin_search();
        struct http_response response = answer(troubles[i].status, STR("{}"));
        assert_false(desk_intercom.search(&search, &response, &request));
        assert_int_equal(search.verdict.kind, troubles[i].kind);
        assert_false(search.verdict.maybe_applied); // it changes nothing
    }
    static const char *const junk[] = {"", "[", "{}", "{\"conversations\":{}}"};
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        begin_search();
        struct http_response response = answer(200, str_of(junk[i]));
        assert_false(desk_intercom.search(&search, &response, &request));
        assert_int_equal(search.verdict.kind, VERDICT_RETRY);
    }
}

#define BACK_TEST(name) cmocka_unit_test_teardown(name, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACK_TEST(test_the_signature_is_the_one_of_the_page),
        BACK_TEST(test_what_is_not_signed_so_is_forged),
        BACK_TEST(test_without_a_client_secret_nothing_is_believed),
        BACK_TEST(test_notifications_name_what_has_news),
        BACK_TEST(test_what_agents_say_to_the_customer_is_taken_in_order),
        BACK_TEST(test_files_and_images_of_a_part_are_attachments),
        BACK_TEST(test_tags_without_an_end_take_no_time),
        BACK_TEST(test_changes_and_what_was_taken_back_are_seen),
        BACK_TEST(test_more_files_than_are_fetched_keep_their_addresses),
        BACK_TEST(test_the_message_that_began_a_conversation),
        BACK_TEST(test_of_several_contacts_none_is_the_one),
        BACK_TEST(test_ids_of_one_second_are_compared_as_numbers),
        BACK_TEST(test_a_part_takes_little_more_memory_than_its_words),
        BACK_TEST(test_a_conversation_that_is_gone),
        BACK_TEST(test_a_hostile_id_stays_in_its_place),
        BACK_TEST(test_what_cannot_be_read_is_no_conversation),
        BACK_TEST(test_a_fetch_in_trouble_says_so_by_the_rule),
        BACK_TEST(test_pages_are_followed_to_the_end),
        BACK_TEST(test_nothing_changed),
        BACK_TEST(test_a_search_reaches_no_further_than_the_desks_own_clock),
        BACK_TEST(test_too_much_is_halved_in_time),
        BACK_TEST(test_a_search_that_never_ends_is_ended),
        BACK_TEST(test_a_search_in_trouble_says_so_by_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
