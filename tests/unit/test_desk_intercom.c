// Intercom as a desk, driven with canned answers: every way from a message to its verdict.
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "desk/desk.h"
#include "support/plain_http.h"

#define NOW_S 1700000000
#define SECOND INT64_C(1000000)
#define CONTACT "6762f11b1bb69f9f2193bba3"
#define OTHER "6762f1571bb69f9f2193bbbb"
#define FIND "GET /contacts/find_by_external_id/telegram%3A1%3A5"
#define LOOK "GET /conversations/499?display_as=plaintext"
#define REPLY_TO "POST /conversations/499/reply"
#define NOT_FOUND "{\"type\":\"error.list\",\"errors\":[{\"code\":\"not_found\",\"message\":\"Resource Not Found\"}]}"
#define MERGED "{\"type\":\"error.list\",\"errors\":[{\"code\":\"contact_merged\",\"message\":\"Gone\"}]}"
#define A_CONTACT "{\"type\":\"contact\",\"id\":\"" CONTACT "\",\"created_at\":1500000000}"
#define NEW_CONTACT "{\"type\":\"contact\",\"id\":\"" CONTACT "\",\"created_at\":1700000000}"
#define OPENED                                                                                                         \
    "{\"type\":\"user_message\",\"id\":\"403918330\",\"created_at\":1699999999,\"body\":\"hello\",\"message_type\":"   \
    "\"inapp\",\"conversation_id\":\"499\"}"
#define PART(id, author, at, body)                                                                                     \
    "{\"type\":\"conversation_part\",\"id\":\"" id "\",\"part_type\":\"comment\",\"body\":\"" body                     \
    "\",\"created_at\":" at ",\"author\":{\"type\":\"user\",\"id\":\"" author "\"}}"
#define CONVERSATION(parts)                                                                                            \
    "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1600000000,\"source\":{\"id\":\"1\",\"body\":\"first\"," \
    "\"author\":{\"id\":\"" CONTACT "\"}},\"conversation_parts\":{\"type\":\"conversation_part.list\","                \
    "\"conversation_parts\":[" parts "],\"total_count\":1}}"
#define REPLIED CONVERSATION(PART("132", CONTACT, "1699999999", "<p>hello</p>"))

// Most turns say no more than four of these.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// One request that is expected, and the answer to it.
struct turn {
    const char *request, *body; // "METHOD /path", and what its body holds
    int status;
    const char *answer;
    enum http_failure failure; // instead of a status
    const char *header, *value;
};

static struct test {
    struct arena arena;
    struct account account;
    struct source source;
    struct desk desk;
    struct message message;
    struct delivery attempt;
    struct delivery_step step;
} t;

static void new_attempt(void)
{
    struct link link = t.attempt.link;
    int64_t now_us = t.attempt.now_us ? t.attempt.now_us : NOW_S * SECOND;
    t.attempt = (struct delivery){.account = &t.account,
                                  .source = &t.source,
                                  .desk = &t.desk,
                                  .message = &t.message,
                                  .customer = STR("telegram:1:5"),
                                  .store_id = STR("5f3a"),
                                  .settle_us = 15 * SECOND,
                                  .now_us = now_us,
                                  .arena = &t.arena,
                                  .link = link};
}

static int begin(void **state)
{
    (void)state;
    t = (struct test){
        .desk = {.platform = STR("intercom"), .token = STR("dG9rOnNlY3JldA==")},
        .message = {.id = 17,
                    .conversation = STR("5"),
                    .sender_id = STR("5"),
                    .sender_name = STR("Ann"),
                    .text = STR("hello"),
                    .sent_at_us = INT64_C(1699999999999999),
                    .received_at_us = INT64_C(1699999999999999)},
    };
    new_attempt();
    return 0;
}

static int finish(void **state)
{
    (void)state;
    arena_done(&t.arena);
    return 0;
}

static void known_conversation(void)
{
    t.attempt.link.contact = STR(CONTACT);
    t.attempt.link.conversation = STR("499");
}

static void check_request(const struct turn *turn)
{
    const struct http_request *request = &t.step.request;
    static const char base[] = "https://api.intercom.io";
    if (t.step.kind != DELIVERY_SEND)
        fail_msg("expected %s, came %s: %.*s", turn->request, verdict_kind_name(t.step.verdict.kind),
                 STR_ARG(t.step.verdict.error));
    assert_true(str_starts(request->target, STR("https://api.intercom.io/")));
    struct str line = arena_printf(&t.arena, "%.*s %.*s", STR_ARG(request->method),
                                   STR_ARG(str_sub(request->target, strlen(base), request->target.n)));
    if (!str_eq_c(line, turn->request))
        fail_msg("expected %s, came %.*s", turn->request, STR_ARG(line));
    if (turn->body && !plain_contains(request->body, turn->body))
        fail_msg("expected %s in %.*s", turn->body, STR_ARG(request->body));
    bool writes = str_eq_c(line, "POST /conversations") || str_ends(line, STR("/reply"));
    assert_int_equal(t.step.writes, writes);
    assert_str(http_header_get(request->headers, request->header_count, "authorization"), "Bearer dG9rOnNlY3JldA==");
    assert_str(http_header_get(request->headers, request->header_count, "intercom-version"), "2.16");
    assert_str(http_header_get(request->headers, request->header_count, "accept"), "application/json");
    assert_int_equal(http_header_count(request->headers, request->header_count, "content-type"), request->body.n > 0);
}

// From the start of the attempt through all turns, to its verdict.
static void play_turns(const struct turn *turns, size_t count)
{
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    for (size_t i = 0; i < count; i++) {
        const struct turn *turn = &turns[i];
        check_request(turn);
        struct plain_headers headers = {0};
        if (turn->header)
            headers = plain_headers_of((const char *const[]){turn->header, turn->value, NULL});
        struct http_response response = plain_answer(turn->status, &headers, str_of(turn->answer));
        if (turn->failure)
            response = plain_failure(turn->failure, true);
        desk_intercom.receiver.step(&t.attempt, &response, &t.step);
    }
    if (t.step.kind != DELIVERY_END)
        fail_msg("expected the end, came %.*s", STR_ARG(t.step.request.target));
}

#define play(...)                                                                                                      \
    do {                                                                                                               \
        const struct turn turns_[] = {__VA_ARGS__};                                                                    \
        play_turns(turns_, sizeof turns_ / sizeof *turns_);                                                            \
    } while (0)

static void expect(enum verdict_kind kind, bool maybe_applied, bool not_found)
{
    const struct verdict *verdict = &t.step.verdict;
    if (verdict->kind != kind || verdict->maybe_applied != maybe_applied || verdict->not_found != not_found)
        fail_msg("verdict %s, maybe %d, not found %d: %.*s", verdict_kind_name(verdict->kind), verdict->maybe_applied,
                 verdict->not_found, STR_ARG(verdict->error));
}

static void expect_delivered(const char *ref)
{
    expect(VERDICT_DELIVERED, false, false);
    assert_str(t.step.verdict.desk_ref, ref);
}

static void expect_link(const char *contact, const char *conversation, const char *last_part, const char *note)
{
    const struct link *link = &t.attempt.link;
    if (!str_eq_c(link->contact, contact) || !str_eq_c(link->conversation, conversation) ||
        !str_eq_c(link->last_part, last_part) || !str_eq_c(link->note, note))
        fail_msg("link: %.*s | %.*s | %.*s | %.*s", STR_ARG(link->contact), STR_ARG(link->conversation),
                 STR_ARG(link->last_part), STR_ARG(link->note));
}

// The way in ----------------------------------------------------------------------------------------------

static void test_first_message_makes_contact_and_conversation(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", "{\"role\":\"user\",\"external_id\":\"telegram:1:5\",\"name\":\"Ann\"}", 200, NEW_CONTACT},
         {"POST /conversations",
          "{\"from\":{\"type\":\"user\",\"id\":\"" CONTACT "\"},\"body\":\"hello\",\"created_at\":1699999999}", 200,
          OPENED});
    expect_delivered("403918330");
    expect_link(CONTACT, "499", "", "made=1700000000");
    assert_true(t.attempt.link_changed);
}

static void test_steady_state_is_one_call(void **state)
{
    (void)state;
    known_conversation();
    play({REPLY_TO,
          "{\"message_type\":\"comment\",\"type\":\"user\",\"intercom_user_id\":\"" CONTACT
          "\",\"body\":\"hello\",\"created_at\":1699999999}",
          200, REPLIED});
    expect_delivered("132");
    expect_link(CONTACT, "499", "132", "");
    assert_true(t.attempt.link_changed);
    new_attempt();
    play({REPLY_TO, NULL, 200, REPLIED});
    assert_false(t.attempt.link_changed); // the same part again teaches nothing
}

static void test_contact_that_exists_is_used(void **state)
{
    (void)state;
    play({FIND, NULL, 200, A_CONTACT}, {"POST /conversations", CONTACT, 200, OPENED});
    expect_delivered("403918330");
    expect_link(CONTACT, "499", "", "");
}

static void test_known_conversation_without_contact(void **state)
{
    (void)state;
    t.attempt.link.conversation = STR("499");
    play({FIND, NULL, 200, A_CONTACT}, {REPLY_TO, CONTACT, 200, REPLIED});
    expect_delivered("132");
}

static void test_ids_may_be_numbers(void **state)
{
    (void)state;
    play({FIND, NULL, 200, "{\"id\":77}"},
         {"POST /conversations", "\"id\":\"77\"", 200, "{\"id\":12,\"conversation_id\":18446744073709551615}"});
    expect_delivered("12");
    expect_link("77", "18446744073709551615", "", "");
}

static void test_region_is_the_api_url(void **state)
{
    (void)state;
    t.desk.api_url = STR("https://api.eu.intercom.io");
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_str(t.step.request.target, "https://api.eu.intercom.io/contacts/find_by_external_id/telegram%3A1%3A5");
}

// The text ------------------------------------------------------------------------------------------------

static void expect_body(const char *json_body)
{
    struct str body = arena_printf(&t.arena, "\"body\":\"%s\",", json_body);
    new_attempt();
    known_conversation();
    play({REPLY_TO, body.p, 200, REPLIED});
}

static void test_body_is_what_agents_read(void **state)
{
    (void)state;
    expect_body("hello");
    t.message.text = STR("<b>&amp; \"x\"\n*y*");
    expect_body("<b>&amp; \\\"x\\\"\\n*y*");
    t.message.text = STR("");
    expect_body("(empty message)");
    t.message.text = STR_NONE;
    expect_body("(empty message)");
    t.message.attachments = STR("[{\"kind\":\"image\",\"url\":\"https://a/b.png\",\"name\":\"b.png\"},{\"url\":"
                                "\"https://a/c\"},{\"kind\":\"image\"},7]");
    expect_body("image: b.png https://a/b.png\\nfile: https://a/c");
    t.message.text = STR("see");
    expect_body("see\\nimage: b.png https://a/b.png\\nfile: https://a/c");
    t.message.attachments = STR("junk");
    expect_body("see");
}

static void test_group_names_the_speaker(void **state)
{
    (void)state;
    t.message.conversation_name = STR("Support group");
    expect_body("Ann: hello");
    t.message.sender_name = STR_NONE;
    expect_body("5: hello");
    t.message.sender_name = STR("Ann");
    new_attempt();
    t.attempt.link = (struct link){0};
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", "\"name\":\"Support group\"", 200, NEW_CONTACT},
         {"POST /conversations", "\"body\":\"Ann: hello\"", 200, OPENED});
}

// The contact ---------------------------------------------------------------------------------------------

#define CONFLICT(words) "{\"type\":\"error.list\",\"errors\":[{\"code\":\"conflict\",\"message\":\"" words "\"}]}"

static void test_conflict_names_the_contact(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", NULL, 409, CONFLICT("A contact matching those details already exists with id=" OTHER)},
         {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
    expect_link(OTHER, "499", "", "");
}

static void test_conflict_without_a_name_is_looked_up(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, CONFLICT("exists")}, {FIND, NULL, 200, A_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
    expect_delivered("403918330");
    t.attempt.link = (struct link){0};
    new_attempt();
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, "{"}, {FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", NULL, 409, ""}, {FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, ""});
    expect(VERDICT_RETRY, false, false);
}

#define ARCHIVED CONFLICT("An archived contact matching those details already exists with id=" OTHER)

static void test_archived_contact_is_taken_back(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, ARCHIVED},
         {"POST /contacts/" OTHER "/unarchive", NULL, 200, "{\"id\":\"x\",\"archived\":false}"},
         {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
    expect_link(OTHER, "499", "", "");
}

static void test_locked_contact_gets_another_name(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, ARCHIVED},
         {"POST /contacts/" OTHER "/unarchive", NULL, 400, CONFLICT("Contact is marked for permanent deletion")},
         {FIND "~2", NULL, 404, NOT_FOUND}, {"POST /contacts", "\"external_id\":\"telegram:1:5~2\"", 200, NEW_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
    expect_delivered("403918330");
    expect_link(CONTACT, "499", "", "space=2 made=1700000000");
    // It is remembered: the next look is for that name.
    t.attempt.link.contact = STR_NONE;
    new_attempt();
    play({FIND "~2", NULL, 500, ""});
    expect(VERDICT_RETRY, false, false);
}

static void test_every_lock_moves_on_and_ends(void **state)
{
    (void)state;
    t.attempt.link.note = STR("space=9");
    play({FIND "~9", NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, ARCHIVED},
         {"POST /contacts/" OTHER "/unarchive", NULL, 404, CONFLICT("not_restorable")});
    expect(VERDICT_RETRY, false, false);
    expect_link("", "", "", "space=9");
}

static void test_unarchive_in_trouble_is_tried_again(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, ARCHIVED},
         {"POST /contacts/" OTHER "/unarchive", NULL, 503, ""});
    expect(VERDICT_DESK_DOWN, false, false);
    expect_link("", "", "", "");
}

static void test_name_that_is_refused_is_left_out(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", "\"name\"", 422, CONFLICT("name is bad")},
         {"POST /contacts", "{\"role\":\"user\",\"external_id\":\"telegram:1:5\"}", 200, NEW_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
    expect_delivered("403918330");
    t.attempt.link = (struct link){0};
    new_attempt();
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 400, ""}, {"POST /contacts", NULL, 400, ""});
    expect(VERDICT_REJECTED, false, false);
}

static void test_merged_contact_is_followed(void **state)
{
    (void)state;
    play({FIND, NULL, 410, MERGED, 0, "Link", "</contacts/" OTHER ">; rel=\"canonical\""},
         {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
    expect_link(OTHER, "499", "", "");
    known_conversation();
    new_attempt();
    play({REPLY_TO, CONTACT, 410, MERGED, 0, "link", "</contacts/" OTHER ">; rel=\"canonical\""},
         {REPLY_TO, "\"intercom_user_id\":\"" OTHER "\"", 200, REPLIED});
    expect_delivered("132");
    expect_link(OTHER, "499", "132", "");
    t.attempt.link = (struct link){.contact = STR(CONTACT)}; // known, with nothing said yet
    new_attempt();
    play({"POST /conversations", CONTACT, 410, MERGED, 0, "Link", "</contacts/" OTHER ">; rel=\"canonical\""},
         {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
    expect_link(OTHER, "499", "", "");
}

static void test_merged_without_a_link_is_looked_up(void **state)
{
    (void)state;
    known_conversation();
    play({REPLY_TO, NULL, 410, MERGED}, {FIND, NULL, 200, "{\"id\":\"" OTHER "\"}"}, {REPLY_TO, OTHER, 200, REPLIED});
    expect_delivered("132");
    new_attempt();
    play({REPLY_TO, NULL, 410, MERGED}, {FIND, NULL, 410, MERGED}, {FIND, NULL, 410, MERGED});
    expect(VERDICT_RETRY, false, false);
}

static void test_merged_in_circles_ends(void **state)
{
    (void)state;
    known_conversation();
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    int steps = 0;
    while (t.step.kind == DELIVERY_SEND && steps++ < 100) {
        struct plain_headers headers = plain_headers_of(
            (const char *const[]){"Link", steps % 2 ? "</contacts/" OTHER ">" : "</contacts/" CONTACT ">", NULL});
        struct http_response response = plain_answer(410, &headers, STR(MERGED));
        desk_intercom.receiver.step(&t.attempt, &response, &t.step);
    }
    assert_true(steps < 30);
    expect(VERDICT_RETRY, false, false);
}

static void test_new_contact_is_waited_for(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 200, NEW_CONTACT},
         {"POST /conversations", NULL, 404, NOT_FOUND});
    expect(VERDICT_WAIT, false, false);
    assert_int_equal(t.step.verdict.until_us, (NOW_S + 5) * SECOND);
    expect_link(CONTACT, "", "", "made=1700000000");
    t.attempt.now_us = (NOW_S + 59) * SECOND;
    new_attempt();
    play({"POST /conversations", NULL, 404, NOT_FOUND});
    expect(VERDICT_WAIT, false, false);
    // After a minute it is gone, not new.
    t.attempt.now_us = (NOW_S + 60) * SECOND;
    new_attempt();
    play({"POST /conversations", NULL, 404, NOT_FOUND}, {FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", NULL, 200, "{\"id\":\"" OTHER "\"}"}, {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
}

static void test_contact_that_is_never_known_ends(void **state)
{
    (void)state;
    t.attempt.link.contact = STR(CONTACT);
    play({"POST /conversations", NULL, 404, NOT_FOUND}, {FIND, NULL, 200, A_CONTACT},
         {"POST /conversations", NULL, 404, NOT_FOUND}, {FIND, NULL, 200, A_CONTACT},
         {"POST /conversations", NULL, 404, NOT_FOUND});
    expect(VERDICT_RETRY, false, false);
}

static void test_contact_troubles_never_apply_the_message(void **state)
{
    (void)state;
    play({FIND, NULL, 0, NULL, HTTP_TIMEOUT});
    expect(VERDICT_DESK_DOWN, false, false);
    new_attempt();
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 0, NULL, HTTP_DROPPED});
    expect(VERDICT_DESK_DOWN, false, false);
    new_attempt();
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 500, ""});
    expect(VERDICT_RETRY, false, false);
    new_attempt();
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 404, NOT_FOUND}); // no such API there
    expect(VERDICT_DESK_DOWN, false, false);
    assert_true(t.step.verdict.alarm);
    new_attempt();
    play({FIND, NULL, 200, "{\"id\":"});
    expect(VERDICT_RETRY, false, false);
}

// The conversation ----------------------------------------------------------------------------------------

static void test_deleted_conversation_is_replaced(void **state)
{
    (void)state;
    known_conversation();
    t.attempt.link.last_part = STR("131");
    play({REPLY_TO, NULL, 404, NOT_FOUND}, {LOOK, NULL, 404, NOT_FOUND},
         {"POST /conversations", CONTACT, 200, "{\"id\":\"9\",\"conversation_id\":\"500\",\"created_at\":1699999999}"});
    expect_delivered("9");
    expect_link(CONTACT, "500", "", "old=499");
}

static void test_reply_404_with_its_conversation_there_is_the_contact(void **state)
{
    (void)state;
    known_conversation();
    play({REPLY_TO, NULL, 404, NOT_FOUND}, {LOOK, NULL, 200, REPLIED}, {FIND, NULL, 200, "{\"id\":\"" OTHER "\"}"},
         {REPLY_TO, OTHER, 200, REPLIED});
    expect_delivered("132");
    // Not found by name either: a new contact begins a conversation of its own.
    known_conversation();
    new_attempt();
    play({REPLY_TO, NULL, 404, NOT_FOUND}, {LOOK, NULL, 200, REPLIED}, {FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", NULL, 200, "{\"id\":\"" OTHER "\"}"},
         {"POST /conversations", OTHER, 200, "{\"id\":\"9\",\"conversation_id\":\"500\"}"});
    expect_delivered("9");
    assert_str(t.attempt.link.conversation, "500");
}

static void test_check_in_trouble_says_nothing(void **state)
{
    (void)state;
    known_conversation();
    play({REPLY_TO, NULL, 404, NOT_FOUND}, {LOOK, NULL, 500, ""});
    expect(VERDICT_RETRY, false, false);
    expect_link(CONTACT, "499", "", "");
}

static void test_answers_to_a_reply(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *answer;
        enum verdict_kind kind;
        bool maybe, alarm;
        const char *ref;
    } rows[] = {
        {200, REPLIED, VERDICT_DELIVERED, 0, 0, "132"},
        {201, REPLIED, VERDICT_DELIVERED, 0, 0, "132"},
        {200, CONVERSATION(""), VERDICT_DELIVERED, 0, 0, "unnamed"},
        {200, "{\"type\":\"conversation\",\"id\":\"499\"}", VERDICT_DELIVERED, 0, 0, "unnamed"},
        {200, "{\"type\":\"conversation\",\"conversation_parts\":7}", VERDICT_DELIVERED, 0, 0, "unnamed"},
        {200, CONVERSATION("7,null,{\"id\":{},\"author\":5}"), VERDICT_DELIVERED, 0, 0, "unnamed"},
        {200, CONVERSATION(PART("8", "991", "1", "note") ",{\"id\":\"9\",\"author\":{\"type\":\"admin\"}}"),
         VERDICT_DELIVERED, 0, 0, "8"},
        {204, NULL, VERDICT_DELIVERED, 0, 0, "unnamed"},
        {200, NULL, VERDICT_RETRY, 1, 0, NULL},
        {200, "{\"type\":\"conversation\",\"conversation_parts\":{\"conv", VERDICT_RETRY, 1, 0, NULL},
        {200, "<html>", VERDICT_RETRY, 1, 0, NULL},
        {200, "[]", VERDICT_RETRY, 1, 0, NULL},
        {200, "{\"type\":\"error.list\",\"errors\":[{\"code\":\"x\"}]}", VERDICT_RETRY, 1, 0, NULL},
        {302, "", VERDICT_RETRY, 0, 0, NULL},
        {400, "", VERDICT_REJECTED, 0, 0, NULL},
        {401, "", VERDICT_DESK_DOWN, 0, 1, NULL},
        {403, "", VERDICT_DESK_DOWN, 0, 1, NULL},
        {406, "", VERDICT_REJECTED, 0, 0, NULL},
        {408, "", VERDICT_DESK_DOWN, 0, 0, NULL},
        {422, "", VERDICT_REJECTED, 0, 0, NULL},
        {429, "", VERDICT_DESK_DOWN, 0, 0, NULL},
        {500, "", VERDICT_RETRY, 1, 0, NULL},
        {502, "", VERDICT_DESK_DOWN, 1, 0, NULL},
        {503, "", VERDICT_DESK_DOWN, 1, 0, NULL},
        {504, "", VERDICT_DESK_DOWN, 1, 0, NULL},
        {529, "", VERDICT_RETRY, 1, 0, NULL},
        {600, "", VERDICT_RETRY, 1, 0, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t.attempt.link = (struct link){0};
        known_conversation();
        new_attempt();
        play({REPLY_TO, NULL, rows[i].status, rows[i].answer});
        const struct verdict *verdict = &t.step.verdict;
        if (verdict->kind != rows[i].kind || verdict->maybe_applied != rows[i].maybe ||
            verdict->alarm != rows[i].alarm || !str_eq_c(verdict->desk_ref, rows[i].ref ? rows[i].ref : ""))
            fail_msg("row %zu: %s, maybe %d, ref %.*s", i, verdict_kind_name(verdict->kind), verdict->maybe_applied,
                     STR_ARG(verdict->desk_ref));
    }
}

static void test_answers_to_a_create(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *answer;
        enum verdict_kind kind;
        bool maybe;
    } rows[] = {
        {200, OPENED, VERDICT_DELIVERED, 0},
        {200, "{\"conversation_id\":\"499\"}", VERDICT_DELIVERED, 0},
        {200, "{\"type\":\"user_message\",\"id\":\"403918330\"}", VERDICT_RETRY, 1},
        {200, "{\"conversation_id\":{}}", VERDICT_RETRY, 1},
        {200, "{\"conversation_id\":\"\"}", VERDICT_RETRY, 1},
        {200, "{\"conversation_id\":-4}", VERDICT_RETRY, 1},
        {200, "", VERDICT_RETRY, 1},
        {202, NULL, VERDICT_RETRY, 1},
        {400, "", VERDICT_REJECTED, 0},
        {403, "", VERDICT_DESK_DOWN, 0},
        {500, "", VERDICT_RETRY, 1},
        {504, "", VERDICT_DESK_DOWN, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t.attempt.link = (struct link){.contact = STR(CONTACT)};
        new_attempt();
        play({"POST /conversations", NULL, rows[i].status, rows[i].answer});
        if (t.step.verdict.kind != rows[i].kind || t.step.verdict.maybe_applied != rows[i].maybe)
            fail_msg("row %zu: %s", i, verdict_kind_name(t.step.verdict.kind));
    }
}

static void test_rate_headers_are_obeyed(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        int64_t until_s;
    } rows[] = {
        {"X-RateLimit-Reset", "1700000007", NOW_S + 7},
        {"Retry-After", "9", NOW_S + 9},
        {"X-RateLimit-Reset", "1699999999", 0},
        {"X-RateLimit-Reset", "1800000000", 0},
        {"X-RateLimit-Reset", "soon", 0},
        {"X-Other", "1", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        known_conversation();
        new_attempt();
        play({REPLY_TO, NULL, 429, "", 0, rows[i].name, rows[i].value});
        expect(VERDICT_DESK_DOWN, false, false);
        assert_int_equal(t.step.verdict.until_us, rows[i].until_s * SECOND);
    }
    int64_t remaining = 0, reset_us = 0;
    struct plain_headers headers = plain_headers_of(
        (const char *const[]){"x-ratelimit-remaining", "12", "X-RateLimit-Reset", "1700000010", NULL});
    struct http_response response = plain_answer(200, &headers, STR(""));
    assert_true(desk_intercom.receiver.rate(&response, &remaining, &reset_us));
    assert_int_equal(remaining, 12);
    assert_int_equal(reset_us, 1700000010 * SECOND);
    static const char *const bad[][2] = {
        {"-1", "1700000010"}, {"12", ""}, {"x", "1"}, {"12", "9223372036854775807"}, {"12", "-1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        headers.list[0].value = str_of(bad[i][0]);
        headers.list[1].value = str_of(bad[i][1]);
        assert_false(desk_intercom.receiver.rate(&response, &remaining, &reset_us));
    }
    response.header_count = 0;
    assert_false(desk_intercom.receiver.rate(&response, &remaining, &reset_us));
}

// In doubt ------------------------------------------------------------------------------------------------

static void test_lost_reply_is_found(void **state)
{
    (void)state;
    known_conversation();
    play({REPLY_TO, NULL, 0, NULL, HTTP_TIMEOUT});
    expect(VERDICT_DESK_DOWN, true, false);
    assert_true(t.step.verdict.unanswered);
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, REPLIED});
    expect_delivered("132");
}

static void test_lost_reply_not_found_is_sent_again_at_once(void **state)
{
    (void)state;
    known_conversation();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, CONVERSATION("")}, {REPLY_TO, NULL, 200, REPLIED});
    expect_delivered("132");
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, CONVERSATION("")}, {REPLY_TO, NULL, 429, ""});
    expect(VERDICT_DESK_DOWN, false, true); // it is not there, and this did not put it there
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, CONVERSATION("")}, {REPLY_TO, NULL, 0, NULL, HTTP_DROPPED});
    expect(VERDICT_DESK_DOWN, true, true);
}

static void test_look_only_sends_nothing(void **state)
{
    (void)state;
    known_conversation();
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({LOOK, NULL, 200, CONVERSATION("")});
    expect(VERDICT_RETRY, false, true);
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({LOOK, NULL, 200, REPLIED});
    expect_delivered("132");
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({LOOK, NULL, 503, ""});
    expect(VERDICT_DESK_DOWN, false, false); // unknown as before
    t.attempt.link = (struct link){0};
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({FIND, NULL, 404, NOT_FOUND});
    expect(VERDICT_RETRY, false, true);
}

static void test_look_up_compares_author_time_and_text(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        bool found;
    } rows[] = {
        {PART("132", CONTACT, "1699999999", "hello"), true},
        {PART("132", CONTACT, "1699999999", "<p> hel<b>lo</b></p>\\r\\n"), true},
        {PART("132", OTHER, "1699999999", "hello"), false},
        {PART("132", CONTACT, "1699999998", "hello"), false},
        {PART("132", CONTACT, "1700000000", "hello"), false},
        {PART("132", CONTACT, "1699999999", "hello!"), false},
        {PART("132", CONTACT, "1699999999", ""), false},
        {PART("", CONTACT, "1699999999", "hello"), false},
        {"{\"id\":132,\"created_at\":1699999999,\"author\":{\"id\":\"" CONTACT "\"},\"body\":\"hello\"}", true},
        {"{\"id\":\"132\",\"created_at\":1699999999,\"author\":{\"id\":\"" CONTACT "\"},\"body\":null}", false},
        {"{\"id\":\"132\",\"created_at\":\"1699999999\",\"author\":{\"id\":\"" CONTACT "\"},\"body\":\"hello\"}",
         false},
        {"{\"id\":\"132\",\"created_at\":1699999999,\"author\":null,\"body\":\"hello\"}", false},
        {"7,null,[],\"x\"", false},
        {PART("140", CONTACT, "1700000050", "later") "," PART("132", CONTACT, "1699999999", "hello"), true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        known_conversation();
        new_attempt();
        t.attempt.in_doubt = t.attempt.look_only = true;
        struct str answer = arena_printf(&t.arena, CONVERSATION("%s"), rows[i].part);
        play({LOOK, NULL, 200, answer.p});
        if ((t.step.verdict.kind == VERDICT_DELIVERED) != rows[i].found)
            fail_msg("row %zu: %s", i, verdict_kind_name(t.step.verdict.kind));
    }
}

// Item 76: hundreds of parts of others and of ours, newest first, oldest first or in no order, ours among them or not.
static void test_item_76_parts_in_any_order_among_hundreds(void **state)
{
    (void)state;
    enum { PARTS = 500 };
    for (int order = 0; order < 3; order++) {
        for (int where = -1; where < PARTS; where += 83) { // -1: not there
            struct buf parts;
            buf_init(&parts, 1 << 20);
            for (int i = 0; i < PARTS; i++) {
                int n = order == 0 ? i : order == 1 ? PARTS - 1 - i : i * 7 % PARTS;
                buf_printf(&parts, "%s", i ? "," : "");
                if (n == where)
                    buf_printf(&parts, "%s", PART("132", CONTACT, "1699999999", "<p>hello</p>"));
                else
                    buf_printf(&parts, PART("9%04d", "%s", "16999%05d", "hello"), n, n, n % 3 ? CONTACT : OTHER);
            }
            known_conversation();
            new_attempt();
            t.attempt.in_doubt = t.attempt.look_only = true;
            play({LOOK, NULL, 200, arena_printf(&t.arena, CONVERSATION("%s"), parts.p).p});
            buf_done(&parts);
            if (where >= 0)
                expect_delivered("132");
            else
                expect(VERDICT_RETRY, false, true);
        }
    }
}

static bool same_text(const char *ours, const char *theirs)
{
    t.message.text = str_of(ours);
    known_conversation();
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    struct str answer = arena_printf(&t.arena, CONVERSATION(PART("132", CONTACT, "1699999999", "%s")), theirs);
    play({LOOK, NULL, 200, answer.p});
    return t.step.verdict.kind == VERDICT_DELIVERED;
}

static void test_texts_are_the_same_in_other_clothes(void **state)
{
    (void)state;
    assert_true(same_text("a\r\nb", "a\\nb"));
    assert_true(same_text("a\nb", "<p>a<br>\\nb</p>"));
    assert_true(same_text("  a  b ", "a b"));
    assert_true(same_text("a & b < c > d \"e\" 'f'", "<p>a &amp; b &lt; c &gt; d &quot;e&quot; &#39;f&apos;</p>"));
    assert_true(same_text("x\xC2\xA0y", "x&nbsp;y"));
    assert_true(same_text("\xE2\x82\xAC \xF0\x9F\x98\x80 \xC3\xA9", "&#8364; &#x1F600; &#xe9;"));
    assert_true(same_text("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>"));
    assert_true(same_text("<b>x</b>", "<b>x</b>"));
    assert_true(same_text("<b>x</b>", "x"));
    assert_true(same_text("<b></b>", "<b></b>"));
    assert_true(same_text("1 < 2 and 3 > 2", "<p>1 &lt; 2 and 3 &gt; 2</p>"));
    assert_true(same_text("see https://a.b/c now", "see https://a.b/c (https://a.b/c) now"));
    assert_true(same_text("&amp;", "<p>&amp;amp;</p>"));
    assert_true(same_text("&bogus; &", "<p>&bogus; &</p>"));
    assert_true(same_text("((((", "(((("));
    assert_false(same_text("a", "b"));
    assert_false(same_text("a", "<b></b>"));
    assert_false(same_text("<b></b>", "<i></i>"));
    assert_false(same_text("a(a)", "a"));
    assert_false(same_text("a &#39;", "a"));
}

static void test_equal_texts_of_a_second_are_counted(void **state)
{
    (void)state;
#define TWICE CONVERSATION(PART("132", CONTACT, "1699999999", "hello") "," PART("133", CONTACT, "1699999999", "hello"))
    static const struct {
        struct str known[3];
        size_t count;
        const char *answer, *found;
    } rows[] = {
        {{{0}}, 0, TWICE, "132"},
        {{STR("132")}, 1, TWICE, "133"},
        {{STR("133")}, 1, TWICE, "132"},
        {{STR("132"), STR("133")}, 2, TWICE, NULL},
        {{STR("132")}, 1, REPLIED, NULL},
        {{STR("unnamed")}, 1, TWICE, "133"},
        {{STR("unnamed")}, 1, REPLIED, NULL},
        {{STR("unnamed"), STR("132")}, 2, TWICE, NULL},
        {{STR("77")}, 1, TWICE, "132"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        known_conversation();
        new_attempt();
        t.attempt.in_doubt = t.attempt.look_only = true;
        t.attempt.known_refs = rows[i].known;
        t.attempt.known_ref_count = rows[i].count;
        play({LOOK, NULL, 200, rows[i].answer});
        if (!str_eq_c(t.step.verdict.desk_ref, rows[i].found ? rows[i].found : ""))
            fail_msg("row %zu: %.*s", i, STR_ARG(t.step.verdict.desk_ref));
    }
}

// The one that began the conversation is one of them.
static void test_an_equal_text_that_began_the_conversation_is_counted_too(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1699999999,\"source\":{\"id\":\"13\",\"body\":"
        "\"hello\",\"author\":{\"id\":\"" CONTACT
        "\"}},\"conversation_parts\":{\"conversation_parts\":[" PART("132", CONTACT, "1699999999", "hello") "]}}";
    static const struct {
        struct str known[1];
        size_t count;
        const char *found;
    } rows[] = {
        {{{0}}, 0, "13"},
        {{STR("unnamed")}, 1, "132"},
        {{STR("13")}, 1, "132"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        known_conversation();
        new_attempt();
        t.attempt.in_doubt = t.attempt.look_only = true;
        t.attempt.known_refs = rows[i].known;
        t.attempt.known_ref_count = rows[i].count;
        play({LOOK, NULL, 200, answer});
        if (!str_eq_c(t.step.verdict.desk_ref, rows[i].found))
            fail_msg("row %zu: %.*s", i, STR_ARG(t.step.verdict.desk_ref));
    }
}

static void test_desk_with_its_own_clock(void **state)
{
    (void)state;
    // A reply shows that the desk does not keep our created_at: that is remembered.
    known_conversation();
    play({REPLY_TO, NULL, 200, CONVERSATION(PART("130", CONTACT, "1700000001", "hello"))});
    expect_link(CONTACT, "499", "130", "clock=desk");
    // Now the text, later than what we know, is enough.
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200,
          CONVERSATION(PART("130", CONTACT, "1700000001", "hello") "," PART("132", CONTACT, "1700000002", "hello"))});
    expect_delivered("132");
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({LOOK, NULL, 200, CONVERSATION(PART("130", CONTACT, "1700000001", "hello"))});
    expect(VERDICT_RETRY, false, true);
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({LOOK, NULL, 200, CONVERSATION(PART("132", CONTACT, "1600000000", "hello"))}); // from before we had it
    expect(VERDICT_RETRY, false, true);
    new_attempt();
    play({REPLY_TO, NULL, 200, REPLIED}); // in the same second: its own clock says the same
    expect_link(CONTACT, "499", "132", "clock=desk");
    new_attempt();
    t.attempt.now_us += 3600 * SECOND;
    play({REPLY_TO, NULL, 200, REPLIED}); // it keeps it after all
    expect_link(CONTACT, "499", "132", "clock=ours");
}

static void test_a_clock_that_says_what_ours_says_is_not_known(void **state)
{
    (void)state;
    static const struct str known[] = {STR("130")};
    // The first one went out in its own second: whose time it is cannot be told, and a look-up does not rest on it.
    known_conversation();
    play({REPLY_TO, NULL, 200, CONVERSATION(PART("130", CONTACT, "1699999999", "hello"))});
    expect_link(CONTACT, "499", "130", "");
    new_attempt();
    t.attempt.in_doubt = true;
    t.attempt.known_refs = known;
    t.attempt.known_ref_count = 1;
    play({LOOK, NULL, 200,
          CONVERSATION(PART("130", CONTACT, "1699999999", "hello") "," PART("132", CONTACT, "1700000002", "hello"))});
    expect_delivered("132");
    // Without a part to count from only our own time will do: another message may say the same words.
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    t.attempt.link.last_part = STR_NONE;
    play({LOOK, NULL, 200, CONVERSATION(PART("132", CONTACT, "1700000002", "hello"))});
    expect(VERDICT_RETRY, false, true);
    // Where the desk keeps our time, nothing else is ours.
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    t.attempt.link.note = STR("clock=ours");
    play({LOOK, NULL, 200,
          CONVERSATION(PART("130", CONTACT, "1600000000", "hello") "," PART("134", CONTACT, "1700000002", "hello"))});
    expect(VERDICT_RETRY, false, true);
}

// With one request a time the look would take it for ever, and the contact never be made.
static void test_a_desk_of_few_requests_is_not_asked_again_for_a_contact_that_was_absent(void **state)
{
    (void)state;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 429, ""});
    expect(VERDICT_DESK_DOWN, false, false);
    assert_str(t.attempt.link.note, "absent=1700000000");
    new_attempt();
    play({"POST /contacts", NULL, 429, ""});
    assert_str(t.attempt.link.note, "absent=1700000000");
    new_attempt();
    t.attempt.now_us += 601 * SECOND; // somebody may have made it
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 429, ""});
    assert_str(t.attempt.link.note, "absent=1700000601");
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true; // nothing is made
    play({FIND, NULL, 404, NOT_FOUND});
    expect(VERDICT_RETRY, false, true);
    new_attempt();
    play({"POST /contacts", NULL, 409, CONFLICT("exists")}, {FIND, NULL, 200, A_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
    assert_str(t.attempt.link.note, "clock=ours");
}

static void test_look_up_in_trouble_keeps_the_doubt(void **state)
{
    (void)state;
    static const struct turn rows[] = {
        {LOOK, NULL, 500, ""},
        {LOOK, NULL, 200, "{\"type\":\"conver"},
        {LOOK, NULL, 200, "{\"type\":\"conversation\"}"},
        {LOOK, NULL, 200, "{\"type\":\"error.list\",\"errors\":[]}"},
        {LOOK, NULL, 200, "[]"},
        {LOOK, NULL, 0, NULL, HTTP_UNREADABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        known_conversation();
        new_attempt();
        t.attempt.in_doubt = true;
        play_turns(&rows[i], 1);
        expect(VERDICT_RETRY, false, false);
    }
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 0, NULL, HTTP_TIMEOUT});
    expect(VERDICT_DESK_DOWN, false, false);
}

#define SEARCH "POST /conversations/search"
#define QUERY                                                                                                          \
    "{\"query\":{\"operator\":\"AND\",\"value\":[{\"field\":\"contact_ids\",\"operator\":\"=\",\"value\":\"" CONTACT   \
    "\"},{\"field\":\"created_at\",\"operator\":\">\",\"value\":\"1699827199\"}]},\"pagination\":{\"per_page\":150}}"
#define LIST(items) "{\"type\":\"conversation.list\",\"total_count\":1,\"conversations\":[" items "]}"
#define BEGUN(id, at, source, author, body)                                                                            \
    "{\"type\":\"conversation\",\"id\":\"" id "\",\"created_at\":" at ",\"source\":{\"id\":\"" source                  \
    "\",\"body\":\"" body "\",\"author\":{\"type\":\"user\",\"id\":\"" author "\"}}}"

static void doubtful_create(int64_t now_s)
{
    t.attempt.link.contact = STR(CONTACT);
    t.attempt.now_us = now_s * SECOND;
    new_attempt();
    t.attempt.in_doubt = true;
}

static void test_lost_create_is_adopted(void **state)
{
    (void)state;
    doubtful_create(NOW_S);
    play({SEARCH, QUERY, 200,
          LIST(BEGUN("497", "1699999999", "11", CONTACT,
                     "other") "," BEGUN("498", "1699999999", "12", OTHER,
                                        "hello") "," BEGUN("499", "1699999999", "13", CONTACT, "<p>hello</p>"))});
    expect_delivered("13");
    expect_link(CONTACT, "499", "", "");
}

static void test_lost_create_is_looked_for_twice(void **state)
{
    (void)state;
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
    assert_int_equal(t.step.verdict.until_us, (NOW_S + 15) * SECOND);
    expect_link(CONTACT, "", "", "sought=17@1700000000000000");
    // Tried before its time, by hand: still once.
    doubtful_create(NOW_S + 7);
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
    assert_int_equal(t.step.verdict.until_us, (NOW_S + 15) * SECOND);
    doubtful_create(NOW_S + 15);
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_WAIT, false, true);
    assert_int_equal(t.step.verdict.until_us, (NOW_S + 15) * SECOND);
    expect_link(CONTACT, "", "", "");
    // The doubt is cleared: now it is made again.
    new_attempt();
    play({"POST /conversations", NULL, 200, OPENED});
    expect_delivered("403918330");
    expect_link(CONTACT, "499", "", "");
}

static void test_last_look_for_a_create_ends_it(void **state)
{
    (void)state;
    doubtful_create(NOW_S);
    t.attempt.look_only = true;
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
    doubtful_create(NOW_S + 15);
    t.attempt.look_only = true;
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_RETRY, false, true); // given up, not sent once more
    expect_link(CONTACT, "", "", "");
}

static void test_second_look_finds_what_the_index_lacked(void **state)
{
    (void)state;
    t.attempt.link.note = STR("sought=17@1700000000000000");
    doubtful_create(NOW_S + 15);
    play({SEARCH, NULL, 200, LIST(BEGUN("499", "1699999999", "13", CONTACT, "hello"))});
    expect_delivered("13");
    expect_link(CONTACT, "499", "", "");
}

static void test_looks_of_others_and_of_the_future_do_not_count(void **state)
{
    (void)state;
    t.attempt.link.note = STR("sought=16@1600000000000000");
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
    expect_link(CONTACT, "", "", "sought=17@1700000000000000");
    doubtful_create(NOW_S - 1000); // the clock was set back
    play({SEARCH, NULL, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
    expect_link(CONTACT, "", "", "sought=17@1699999000000000");
}

static void test_lost_create_by_text_alone(void **state)
{
    (void)state;
    static const char *const at = "1700000003";
    struct str answer = arena_printf(&t.arena, LIST(BEGUN("499", "%s", "13", CONTACT, "hello")), at);
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 200, answer.p});
    expect_delivered("13");
    // In a group the contact has several conversations of ours: the text alone does not tell them apart.
    t.attempt.link = (struct link){0};
    t.message.conversation = STR("5:77");
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 200, answer.p});
    expect(VERDICT_WAIT, false, false);
    // From before we had it, it is another.
    t.attempt.link = (struct link){0};
    t.message.conversation = STR("5");
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 200, LIST(BEGUN("499", "1699990000", "13", CONTACT, "hello"))});
    expect(VERDICT_WAIT, false, false);
}

static void test_search_in_trouble_keeps_the_doubt(void **state)
{
    (void)state;
    static const char *const answers[] = {"", "{", "{}", "[]", "{\"conversations\":{}}", "{\"type\":\"error.list\"}"};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        doubtful_create(NOW_S);
        play({SEARCH, NULL, 200, answers[i]});
        expect(VERDICT_RETRY, false, false);
        expect_link(CONTACT, "", "", "");
    }
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 0, NULL, HTTP_TIMEOUT});
    expect(VERDICT_DESK_DOWN, false, false);
    doubtful_create(NOW_S);
    play({SEARCH, NULL, 200, LIST("7,null,{},{\"id\":\"x\"},{\"id\":\"499\",\"source\":5}")});
    expect(VERDICT_WAIT, false, false);
}

static void test_doubt_without_a_contact(void **state)
{
    (void)state;
    t.attempt.in_doubt = true;
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 200, NEW_CONTACT},
         {"POST /conversations", NULL, 200, OPENED}); // who was not there has said nothing
    expect_delivered("403918330");
    t.attempt.link = (struct link){0};
    new_attempt();
    t.attempt.in_doubt = true;
    play({FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", NULL, 409, CONFLICT("A contact matching those details already exists with id=" CONTACT)},
         {SEARCH, QUERY, 200, LIST(BEGUN("499", "1699999999", "13", CONTACT, "hello"))});
    expect_delivered("13");
    t.attempt.link = (struct link){0};
    new_attempt();
    t.attempt.in_doubt = true;
    play({FIND, NULL, 200, A_CONTACT}, {SEARCH, QUERY, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
}

static void test_doubt_in_a_deleted_conversation(void **state)
{
    (void)state;
    known_conversation();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 404, NOT_FOUND}, {SEARCH, QUERY, 200, LIST("")});
    expect(VERDICT_WAIT, false, false);
    expect_link(CONTACT, "", "", "sought=17@1700000000000000 old=499");
}

static void test_doubt_older_than_the_conversation(void **state)
{
    (void)state;
#define YOUNG                                                                                                          \
    "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1700000000,\"source\":{\"id\":\"1\",\"body\":\"next\","  \
    "\"author\":{\"id\":\"" CONTACT "\"}},\"conversation_parts\":{\"conversation_parts\":[]}}"
    // The message may have begun a conversation that we never heard of.
    known_conversation();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, YOUNG}, {SEARCH, QUERY, 200, LIST(BEGUN("498", "1699999999", "13", CONTACT, "hello"))});
    expect_delivered("13");
    expect_link(CONTACT, "499", "", "");
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, YOUNG}, {SEARCH, QUERY, 200, LIST("")}, {REPLY_TO, NULL, 200, REPLIED});
    expect_delivered("132");
}

static void test_doubt_about_the_first_message_of_a_known_conversation(void **state)
{
    (void)state;
    static const char first[] =
        "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1699999999,\"source\":{\"id\":\"13\",\"body\":"
        "\"hello\",\"author\":{\"id\":\"" CONTACT "\"}},\"conversation_parts\":{\"conversation_parts\":[]}}";
    known_conversation();
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, first});
    expect_delivered("13");
    struct str known = STR("13");
    new_attempt();
    t.attempt.in_doubt = t.attempt.look_only = true;
    t.attempt.known_refs = &known;
    t.attempt.known_ref_count = 1;
    play({LOOK, NULL, 200, first}, {SEARCH, QUERY, 200, LIST("")});
    expect(VERDICT_RETRY, false, true);
}

// The rest ------------------------------------------------------------------------------------------------

static void test_note_is_read_leniently(void **state)
{
    (void)state;
    static const struct {
        const char *note, *after;
    } rows[] = {
        {"", ""},
        {"space=x sought=5 made= clock old", ""},
        {"space=-3 sought=@ =", ""},
        {"space=99", ""},
        {"space=3 unknown=1 old=1,2", "space=3 old=1,2"},
        {"clock=desk", "clock=desk"},
        {"clock=ours", "clock=ours"},
        {"clock=theirs", ""},
        {"made=1699999990", "made=1699999990"},
        {"made=1600000000", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        t.attempt.link = (struct link){.note = str_of(rows[i].note)};
        known_conversation();
        new_attempt();
        play({REPLY_TO, NULL, 200, REPLIED});
        if (!str_eq_c(t.attempt.link.note, rows[i].after))
            fail_msg("row %zu: %.*s", i, STR_ARG(t.attempt.link.note));
    }
}

static void test_old_conversations_are_few(void **state)
{
    (void)state;
    t.attempt.link.contact = STR(CONTACT);
    for (int i = 100000; i < 100200; i++) {
        t.attempt.link.conversation = arena_printf(&t.arena, "%d", i);
        new_attempt();
        struct str reply = arena_printf(&t.arena, "POST /conversations/%d/reply", i);
        struct str look = arena_printf(&t.arena, "GET /conversations/%d?display_as=plaintext", i);
        play({reply.p, NULL, 404, NOT_FOUND}, {look.p, NULL, 404, NOT_FOUND}, {"POST /conversations", NULL, 400, ""});
    }
    assert_true(t.attempt.link.note.n < 600);
    assert_true(str_ends(t.attempt.link.note, STR(",100198,100199")));
}

static void test_hostile_ids_stay_in_their_place(void **state)
{
    (void)state;
    char *xs = arena_alloc(&t.arena, 400);
    memset(xs, 'x', 399);
    play({FIND, NULL, 200, "{\"id\":\"../../admin?x=1#\"}"});
    expect(VERDICT_RETRY, false, false);
    new_attempt();
    play({FIND, NULL, 200, "{\"type\":\"admin\",\"id\":\"7\"}"}); // who believed it would wait for contact 7
    expect(VERDICT_RETRY, false, false);
    new_attempt();
    play({FIND, NULL, 200, A_CONTACT},
         {"POST /conversations", CONTACT, 200, "{\"conversation_id\":\"1/reply?a b\\\"\",\"id\":\"1\"}"});
    expect_delivered("1");
    new_attempt();
    play({"POST /conversations/1%2Freply%3Fa%20b%22/reply", NULL, 500, ""});
    t.attempt.link = (struct link){0};
    new_attempt();
    play({FIND, NULL, 200, arena_printf(&t.arena, "{\"id\":\"%s\"}", xs).p});
    expect(VERDICT_RETRY, false, false);
    new_attempt();
    play({FIND, NULL, 200, "{\"id\":\"a\\u0000b\"}"});
    expect(VERDICT_RETRY, false, false);
}

static void test_probe_asks_who_we_are(void **state)
{
    (void)state;
    struct http_request request;
    assert_true(desk_intercom.receiver.probe(&(struct account){.desk = t.desk}, NULL, &t.arena, &request));
    assert_str(request.method, "GET");
    assert_str(request.target, "https://api.intercom.io/me");
    assert_int_equal(request.header_count, 3);
    static const struct {
        int status;
        enum verdict_kind kind;
    } rows[] = {{200, VERDICT_DELIVERED},
                {401, VERDICT_DESK_DOWN},
                {429, VERDICT_DESK_DOWN},
                {503, VERDICT_DESK_DOWN},
                {500, VERDICT_RETRY}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_response response = plain_answer(rows[i].status, NULL, STR(""));
        struct verdict verdict = desk_intercom.receiver.probe_verdict(&response, NOW_S * SECOND, &t.arena);
        assert_int_equal(verdict.kind, rows[i].kind);
        assert_false(verdict.maybe_applied);
    }
}

static void test_settings_are_checked(void **state)
{
    (void)state;
    assert_null(desk_intercom.check(&t.desk, &t.arena));
    t.desk.api_url = STR("http://127.0.0.1:9000");
    assert_null(desk_intercom.check(&t.desk, &t.arena));
    t.desk.api_url = STR("api.eu.intercom.io");
    assert_non_null(strstr(desk_intercom.check(&t.desk, &t.arena), "https://"));
    t.desk.api_url = STR_NONE;
    t.desk.token = STR("two words");
    assert_non_null(strstr(desk_intercom.check(&t.desk, &t.arena), "token"));
    t.desk.token = STR("line\r\nX-Other: 1");
    assert_non_null(desk_intercom.check(&t.desk, &t.arena));
    t.desk.token = STR_NONE;
    assert_non_null(strstr(desk_intercom.check(&t.desk, &t.arena), "needs a token"));
    assert_ptr_equal(desk_connector_find(STR("intercom")), &desk_intercom);
    assert_true(desk_intercom.receiver.has_lookup);
    assert_false(desk_intercom.receiver.has_key);
}

// Notes ---------------------------------------------------------------------------------------------------

#define ME "{\"type\":\"admin\",\"id\":\"991267691\",\"app\":{\"id_code\":\"abc\"}}"
#define NOTED(id, at, body)                                                                                            \
    "{\"type\":\"conversation_part\",\"id\":\"" id "\",\"part_type\":\"note\",\"body\":\"" body                        \
    "\",\"created_at\":" at ",\"author\":{\"type\":\"admin\",\"id\":\"991267691\"}}"
#define LOOK_TOLD "GET /conversations/499"
#define WORDS "Not delivered: <b> & \"x\"\nblocked"
#define WORDS_HTML "<p>Not delivered: &lt;b&gt; &amp; \\\"x\\\"<br>blocked</p>"
#define WORDS_SHOWN "<p>Not delivered: &lt;b&gt; &amp; &quot;x&quot;<br>\\nblocked</p>"

static void a_note(void)
{
    known_conversation();
    t.attempt.link.last_part = STR("132");
    t.message.direction = NOTE;
    t.message.text = STR(WORDS);
}

static void assert_held(size_t index)
{
    yyjson_doc *doc = json_read(plain_file(&t.arena, "tests/contract/intercom_requests.json"));
    yyjson_val *held = yyjson_arr_get(yyjson_obj_get(yyjson_doc_get_root(doc), "note"), index);
    yyjson_doc *sent = t.step.request.body.n ? json_read(t.step.request.body) : NULL;
    assert_true(str_eq(t.step.request.method, json_get_str(held, "method")));
    assert_true(str_ends(t.step.request.target, json_get_str(held, "target")));
    yyjson_val *body = yyjson_obj_get(held, "body");
    assert_true(yyjson_is_null(body) ? !sent : yyjson_equals(body, yyjson_doc_get_root(sent)));
    yyjson_doc_free(sent);
    yyjson_doc_free(doc);
}

static void test_a_note_is_written_as_the_tokens_admin(void **state)
{
    (void)state;
    a_note();
    play({"GET /me", NULL, 200, ME},
         {REPLY_TO,
          "{\"message_type\":\"note\",\"type\":\"admin\",\"admin_id\":\"991267691\",\"body\":"
          "\"" WORDS_HTML "\"}",
          200, CONVERSATION(NOTED("140", "1700000000", WORDS_SHOWN))});
    expect_delivered("140");
    expect_link(CONTACT, "499", "132", "told=140"); // the look-up of customers' messages counts on as before
}

static void test_requests_for_a_note_are_those_held_to_the_description(void **state)
{
    (void)state;
    a_note();
    t.attempt.in_doubt = true;
    struct http_response nothing = plain_answer(200, NULL, STR(CONVERSATION("")));
    struct http_response me = plain_answer(200, NULL, STR(ME));
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_held(0);
    desk_intercom.receiver.step(&t.attempt, &nothing, &t.step);
    assert_held(1);
    desk_intercom.receiver.step(&t.attempt, &me, &t.step);
    assert_held(2);
}

static void test_a_note_of_a_group_names_nobody(void **state)
{
    (void)state;
    a_note();
    t.message.conversation_name = STR("Support group");
    t.message.text = STR("x");
    play({"GET /me", NULL, 200, ME}, {REPLY_TO, "\"body\":\"<p>x</p>\"", 200, CONVERSATION("")});
    expect_delivered("unnamed note");
    expect_link(CONTACT, "499", "132", "");
}

static void test_a_note_without_a_conversation_is_refused(void **state)
{
    (void)state;
    a_note();
    t.attempt.link.conversation = STR_NONE;
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_int_equal(t.step.kind, DELIVERY_END);
    expect(VERDICT_REJECTED, false, false);
    a_note();
    new_attempt();
    play({"GET /me", NULL, 200, ME}, {REPLY_TO, NULL, 404, NOT_FOUND});
    expect(VERDICT_REJECTED, false, false);
    assert_true(t.step.verdict.of_chat);    // says nothing of others: five of these closed the guard of the whole desk
    expect_link(CONTACT, "499", "132", ""); // that the conversation is gone, the next message finds out for itself
    new_attempt();
    t.attempt.in_doubt = true;
    play({LOOK_TOLD, NULL, 404, NOT_FOUND});
    expect(VERDICT_REJECTED, false, true);
}

static void test_answers_to_a_note(void **state)
{
    (void)state;
    static const struct {
        int me, told;
        const char *answer;
        enum verdict_kind kind;
        bool maybe_applied;
    } rows[] = {
        {401, 0, "{}", VERDICT_DESK_DOWN, false}, {200, 0, "{\"type\":\"admin\"}", VERDICT_RETRY, false},
        {500, 0, "", VERDICT_RETRY, false},       {200, 500, "", VERDICT_RETRY, true},
        {200, 503, "", VERDICT_DESK_DOWN, true},  {200, 400, "{}", VERDICT_REJECTED, false},
        {200, 200, "{}", VERDICT_RETRY, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        a_note();
        new_attempt();
        if (rows[i].told)
            play({"GET /me", NULL, 200, ME}, {REPLY_TO, NULL, rows[i].told, rows[i].answer});
        else
            play({"GET /me", NULL, rows[i].me, rows[i].answer});
        expect(rows[i].kind, rows[i].maybe_applied, false);
    }
}

static void doubt_note(const struct str *refs, size_t count, const char *note)
{
    a_note();
    new_attempt();
    t.attempt.link.note = str_of(note);
    t.attempt.in_doubt = true;
    t.attempt.known_refs = refs;
    t.attempt.known_ref_count = count;
}

#define NOT_IT                                                                                                         \
    PART("139", CONTACT, "1700000000", WORDS_SHOWN)                                                                    \
    "," NOTED("130", "1600000000", WORDS_SHOWN) "," NOTED("131", "1700000000", "<p>Not delivered</p>")

static void test_a_note_in_doubt_is_looked_for(void **state)
{
    (void)state;
    static const struct str refs[] = {STR("140"), STR("unnamed"), STR("unnamed note")};
    doubt_note(NULL, 0, "");
    play({LOOK_TOLD, NULL, 200, CONVERSATION(NOT_IT "," NOTED("141", "1699999999", WORDS_SHOWN))});
    expect_delivered("141");
    expect_link(CONTACT, "499", "132", "told=141");
    // Another's, by its id or by being there before; a message of the customer without a name is no note.
    doubt_note(refs, 2, "told=139");
    play({LOOK_TOLD, NULL, 200,
          CONVERSATION(NOT_IT "," NOTED("138", "1699999999", WORDS_SHOWN) "," NOTED(
              "140", "1699999999", WORDS_SHOWN) "," NOTED("142", "1699999999", WORDS_SHOWN))});
    expect_delivered("142");
    doubt_note(refs, 3, "");
    play({LOOK_TOLD, NULL, 200,
          CONVERSATION(NOTED("141", "1699999999", WORDS_SHOWN) "," NOTED("142", "1699999999", WORDS_SHOWN))});
    expect_delivered("142");
}

// Others were written since it was given up: it was written twice.
static void test_a_note_that_is_tried_again_by_hand_may_stand_before_the_last_one(void **state)
{
    (void)state;
    doubt_note(NULL, 0, "told=150");
    t.message.late = true;
    play({LOOK_TOLD, NULL, 200, CONVERSATION(NOTED("141", "1700000000", WORDS_SHOWN))});
    expect(VERDICT_DELIVERED, false, false);
    assert_str(t.step.verdict.desk_ref, "141");
    t.message.late = false;
}

static void test_a_note_in_doubt_that_is_not_there_is_written(void **state)
{
    (void)state;
    doubt_note(NULL, 0, "");
    play({LOOK_TOLD, NULL, 200, CONVERSATION(NOT_IT)}, {"GET /me", NULL, 200, ME},
         {REPLY_TO, WORDS_HTML, 200, CONVERSATION(NOTED("141", "1700000000", WORDS_SHOWN))});
    expect_delivered("141");
    doubt_note(NULL, 0, "");
    t.attempt.look_only = true;
    play({LOOK_TOLD, NULL, 200, CONVERSATION(NOT_IT)});
    expect(VERDICT_RETRY, false, true);
    doubt_note(NULL, 0, "");
    play({LOOK_TOLD, NULL, 503, ""});
    expect(VERDICT_DESK_DOWN, false, false);
    doubt_note(NULL, 0, "");
    play({LOOK_TOLD, NULL, 200, "{}"});
    expect(VERDICT_RETRY, false, false);
}

static void test_a_note_without_a_name_is_no_message_of_the_customer(void **state)
{
    (void)state;
    static const struct str refs[] = {STR("unnamed note"), STR("140")};
    known_conversation();
    t.attempt.in_doubt = true;
    t.attempt.known_refs = refs;
    t.attempt.known_ref_count = 2;
    play({LOOK, NULL, 200, REPLIED});
    expect_delivered("132");
}

#define DESK_TEST(test) cmocka_unit_test_setup_teardown(test, begin, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DESK_TEST(test_first_message_makes_contact_and_conversation),
        DESK_TEST(test_steady_state_is_one_call),
        DESK_TEST(test_contact_that_exists_is_used),
        DESK_TEST(test_known_conversation_without_contact),
        DESK_TEST(test_ids_may_be_numbers),
        DESK_TEST(test_region_is_the_api_url),
        DESK_TEST(test_body_is_what_agents_read),
        DESK_TEST(test_group_names_the_speaker),
        DESK_TEST(test_conflict_names_the_contact),
        DESK_TEST(test_conflict_without_a_name_is_looked_up),
        DESK_TEST(test_archived_contact_is_taken_back),
        DESK_TEST(test_locked_contact_gets_another_name),
        DESK_TEST(test_every_lock_moves_on_and_ends),
        DESK_TEST(test_unarchive_in_trouble_is_tried_again),
        DESK_TEST(test_name_that_is_refused_is_left_out),
        DESK_TEST(test_merged_contact_is_followed),
        DESK_TEST(test_merged_without_a_link_is_looked_up),
        DESK_TEST(test_merged_in_circles_ends),
        DESK_TEST(test_new_contact_is_waited_for),
        DESK_TEST(test_contact_that_is_never_known_ends),
        DESK_TEST(test_contact_troubles_never_apply_the_message),
        DESK_TEST(test_deleted_conversation_is_replaced),
        DESK_TEST(test_reply_404_with_its_conversation_there_is_the_contact),
        DESK_TEST(test_check_in_trouble_says_nothing),
        DESK_TEST(test_answers_to_a_reply),
        DESK_TEST(test_answers_to_a_create),
        DESK_TEST(test_rate_headers_are_obeyed),
        DESK_TEST(test_lost_reply_is_found),
        DESK_TEST(test_lost_reply_not_found_is_sent_again_at_once),
        DESK_TEST(test_look_only_sends_nothing),
        DESK_TEST(test_look_up_compares_author_time_and_text),
        DESK_TEST(test_item_76_parts_in_any_order_among_hundreds),
        DESK_TEST(test_texts_are_the_same_in_other_clothes),
        DESK_TEST(test_equal_texts_of_a_second_are_counted),
        DESK_TEST(test_an_equal_text_that_began_the_conversation_is_counted_too),
        DESK_TEST(test_desk_with_its_own_clock),
        DESK_TEST(test_a_clock_that_says_what_ours_says_is_not_known),
        DESK_TEST(test_a_desk_of_few_requests_is_not_asked_again_for_a_contact_that_was_absent),
        DESK_TEST(test_look_up_in_trouble_keeps_the_doubt),
        DESK_TEST(test_lost_create_is_adopted),
        DESK_TEST(test_lost_create_is_looked_for_twice),
        DESK_TEST(test_last_look_for_a_create_ends_it),
        DESK_TEST(test_second_look_finds_what_the_index_lacked),
        DESK_TEST(test_looks_of_others_and_of_the_future_do_not_count),
        DESK_TEST(test_lost_create_by_text_alone),
        DESK_TEST(test_search_in_trouble_keeps_the_doubt),
        DESK_TEST(test_doubt_without_a_contact),
        DESK_TEST(test_doubt_in_a_deleted_conversation),
        DESK_TEST(test_doubt_older_than_the_conversation),
        DESK_TEST(test_doubt_about_the_first_message_of_a_known_conversation),
        DESK_TEST(test_note_is_read_leniently),
        DESK_TEST(test_old_conversations_are_few),
        DESK_TEST(test_hostile_ids_stay_in_their_place),
        DESK_TEST(test_a_note_is_written_as_the_tokens_admin),
        DESK_TEST(test_requests_for_a_note_are_those_held_to_the_description),
        DESK_TEST(test_a_note_of_a_group_names_nobody),
        DESK_TEST(test_a_note_without_a_conversation_is_refused),
        DESK_TEST(test_answers_to_a_note),
        DESK_TEST(test_a_note_in_doubt_is_looked_for),
        DESK_TEST(test_a_note_that_is_tried_again_by_hand_may_stand_before_the_last_one),
        DESK_TEST(test_a_note_in_doubt_that_is_not_there_is_written),
        DESK_TEST(test_a_note_without_a_name_is_no_message_of_the_customer),
        DESK_TEST(test_probe_asks_who_we_are),
        DESK_TEST(test_settings_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
