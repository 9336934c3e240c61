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
#define PART_BEFORE                                                                                                    \
    "{\"type\":\"conversation_part\",\"id\":\"132\",\"part_type\":\"comment\",\"created_at\":1699999999,\"author\":{"  \
    "\"type\":\"user\",\"id\":\"" CONTACT "\"},\"body\":\""
#define PART_BEHIND "\"}"
#define REPLIED_WITH(body, rest)                                                                                       \
    CONVERSATION(                                                                                                      \
        "{\"type\":\"conversation_part\",\"id\":\"132\",\"created_at\":1699999999,\"author\":{\"type\":\"user\","      \
        "\"id\":\"" CONTACT "\"},\"body\":\"" body "\"" rest "}")
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

// The body as it goes out, with "<hash size>" where the bytes of a file go in base64.
static struct str body_of(const struct http_request *request)
{
    struct str body = request->body;
    if (request->part_count)
        assert_false(body.n > 0);
    for (size_t i = 0; i < request->part_count; i++) {
        const struct http_part *part = &request->parts[i];
        assert_int_equal(part->base64, part->file.n > 0);
        if (part->file.n)
            body = arena_printf(&t.arena, "%.*s<%.*s %lld>", STR_ARG(body), STR_ARG(str_sub(part->file, 0, 4)),
                                (long long)part->file_size);
        else
            body = ARENA_JOIN(&t.arena, body, part->bytes);
    }
    if (body.n) {
        yyjson_doc *doc = json_read(body);
        assert_non_null(doc);
        yyjson_doc_free(doc);
    }
    return body;
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
    struct str body = body_of(request);
    if (turn->body && !plain_contains(body, turn->body))
        fail_msg("expected %s in %.*s", turn->body, STR_ARG(body));
    bool writes = str_eq_c(line, "POST /conversations") || str_ends(line, STR("/reply"));
    assert_int_equal(t.step.writes, writes);
    assert_str(http_header_get(request->headers, request->header_count, "authorization"), "Bearer dG9rOnNlY3JldA==");
    assert_str(http_header_get(request->headers, request->header_count, "intercom-version"), "2.16");
    assert_str(http_header_get(request->headers, request->header_count, "accept"), "application/json");
    assert_int_equal(http_header_count(request->headers, request->header_count, "content-type"), body.n > 0);
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

// Files ---------------------------------------------------------------------------------------------------

#define HASH "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define KEPT(kind, name, mime, size)                                                                                   \
    "{\"kind\":\"" kind "\",\"name\":\"" name "\",\"mime\":\"" mime "\",\"size\":" size                                \
    ",\"state\":\"kept\",\"hash\":\"" HASH "\"}"
#define PHOTO KEPT("image", "a.png", "image/png", "3")
#define PHOTO_UP "{\"content_type\":\"image/png\",\"name\":\"a.png\",\"data\":\"<0123 3>\"}"
#define VOICE KEPT("audio", "v.ogg", "audio/ogg", "9000")
#define VOICE_UP "{\"content_type\":\"audio/ogg\",\"name\":\"v.ogg\",\"data\":\"<0123 9000>\"}"
#define LATER "{\"kind\":\"video\",\"name\":\"l.mp4\",\"state\":\"wanted\",\"ref\":\"R\"}"
#define LOST "{\"kind\":\"video\",\"name\":\"x.mp4\",\"state\":\"failed\",\"ref\":\"R\",\"why\":\"larger than 20 MB\"}"
#define NO_UPLOADS "\"created_at\":1699999999}"

static const struct media_links public_links = {
    .base = STR("https://relay.test"), .is_public = true, .lifetime_us = 3600000000};
static const struct media_links private_links = {.base = STR("http://127.0.0.1:8080"), .lifetime_us = 3600000000};

static void with_files(const char *text, const char *attachments, const struct media_links *links)
{
    t.message.text = str_of(text);
    t.message.attachments = str_of(attachments);
    new_attempt();
    t.attempt.links = links;
}

static void expect_told(uint32_t told)
{
    assert_int_equal(t.attempt.files_told, told);
}

static void test_files_go_with_their_text(void **state)
{
    (void)state;
    known_conversation();
    with_files("see", "[" PHOTO "," VOICE "]", &private_links);
    play({REPLY_TO,
          "{\"message_type\":\"comment\",\"type\":\"user\",\"intercom_user_id\":\"" CONTACT
          "\",\"body\":\"see\",\"created_at\":1699999999,\"attachment_files\":[" PHOTO_UP "," VOICE_UP "]}",
          200, REPLIED});
    expect_delivered("132");
    expect_link(CONTACT, "499", "132", "");
    expect_told(3);
    // Without a text they are named, since there is no message without a body.
    with_files("", "[" PHOTO "," VOICE "]", &private_links);
    play({REPLY_TO, "\"body\":\"a.png\\nv.ogg\",\"created_at\":1699999999,\"attachment_files\":[" PHOTO_UP, 200,
          REPLIED});
    t.message.conversation_name = STR("Group");
    with_files("", "[" PHOTO "]", &private_links);
    play({REPLY_TO, "\"body\":\"Ann: a.png\",", 200, REPLIED});
    with_files("see", "[" PHOTO "]", &private_links);
    play({REPLY_TO, "\"body\":\"Ann: see\",", 200, REPLIED});
    t.message.conversation_name = STR_NONE;
    // What has no name gets one that tells what it is.
    with_files("", "[{\"kind\":\"image\",\"mime\":\"image/jpeg\",\"size\":3,\"state\":\"kept\",\"hash\":\"" HASH "\"}]",
               &private_links);
    play({REPLY_TO, "\"body\":\"image.jpeg\",", 200, REPLIED});
    with_files("",
               "[{\"kind\":\"image\",\"mime\":\"image/jpeg\",\"size\":3,\"state\":\"kept\",\"hash\":\"" HASH
               "\"},{\"size\":3,\"state\":\"kept\",\"hash\":\"" HASH "\"}]",
               &private_links);
    play({REPLY_TO, "{\"content_type\":\"application/octet-stream\",\"name\":\"file 2\",", 200, REPLIED});
}

static void test_files_that_are_not_there_are_lines(void **state)
{
    (void)state;
    known_conversation();
    with_files("see", "[" PHOTO "," LATER "," LOST "]", &private_links);
    play({REPLY_TO,
          "\"body\":\"see\\n[l.mp4 follows]\\n[x.mp4 could not be fetched: larger than 20 MB]\","
          "\"created_at\":1699999999,\"attachment_files\":[" PHOTO_UP "]}",
          200, REPLIED});
    expect_told(5); // the one that follows is not told of for good
    with_files("",
               "[{\"kind\":\"file\",\"url\":\"https://a/f\",\"state\":\"failed\",\"why\":\"not found\"},"
               "{\"kind\":\"image\",\"state\":\"wanted\"}]",
               &private_links);
    play({REPLY_TO, "\"body\":\"[file 1 could not be fetched: not found] https://a/f\\n[image 2 follows]\",", 200,
          REPLIED});
    expect_told(1);
}

static struct str many_files(size_t count, const char *size)
{
    struct str list = STR("[");
    for (size_t i = 0; i < count; i++)
        list = arena_printf(&t.arena,
                            "%.*s%s{\"kind\":\"file\",\"name\":\"f%zu\",\"mime\":\"image/png\",\"size\":%s,"
                            "\"state\":\"kept\",\"hash\":\"" HASH "\"}",
                            STR_ARG(list), i ? "," : "", i, size);
    return ARENA_JOIN(&t.arena, list, STR("]"));
}

static size_t uploads_sent(void)
{
    return t.step.request.part_count / 2;
}

static void test_what_is_too_much_for_one_request_is_linked(void **state)
{
    (void)state;
    known_conversation();
    with_files("see", many_files(12, "3").p, &public_links);
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_int_equal(uploads_sent(), 10);
    assert_true(
        plain_contains(body_of(&t.step.request), "\"body\":\"see\\nfile: f10 https://relay.test/media/" HASH "?exp="));
    with_files("see", many_files(3, "12000000").p, &private_links); // 25 MiB hold two
    play({REPLY_TO, "\"body\":\"see\\nf2 (12 MB): kept at the relay\",", 200, REPLIED});
    expect_told(7);
    with_files("see", many_files(2, "26214400").p, &private_links);
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_int_equal(uploads_sent(), 1);
    with_files("see", many_files(1, "26214401").p, &private_links);
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_int_equal(uploads_sent(), 0);
    with_files("see", many_files(1, "-1").p, &private_links);
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    assert_int_equal(uploads_sent(), 0);
}

static void test_uploads_that_are_refused_become_links(void **state)
{
    (void)state;
    static const int refusals[] = {400, 413, 415, 422};
    known_conversation();
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        with_files("see", "[" PHOTO "]", &public_links);
        play({REPLY_TO, PHOTO_UP, refusals[i], "{}"},
             {REPLY_TO, "\"body\":\"see\\nimage: a.png https://relay.test/media/" HASH "?exp=", 200, REPLIED});
        expect_delivered("132");
        expect_told(1);
    }
    with_files("see", "[" PHOTO "]", &private_links);
    play({REPLY_TO, PHOTO_UP, 413, "{}"},
         {REPLY_TO, "\"body\":\"see\\na.png (3 bytes): kept at the relay\"," NO_UPLOADS, 422, "{}"});
    expect(VERDICT_REJECTED, false, false); // it is the text, too
    // What breaks the desk may be the files.
    t.message.attempts = 2;
    with_files("see", "[" PHOTO "]", &private_links);
    play({REPLY_TO, NO_UPLOADS, 200, REPLIED});
}

static void test_images_begin_a_conversation_by_their_address(void **state)
{
    (void)state;
    t.attempt.link.contact = STR(CONTACT);
    with_files("see", "[" PHOTO "," LATER "]", &public_links);
    play(
        {"POST /conversations",
         "\"body\":\"see\\n[l.mp4 follows]\",\"created_at\":1699999999,\"attachment_urls\":[\"https://relay.test/media/" HASH
         "?exp=",
         200, OPENED});
    expect_delivered("403918330");
    expect_told(1);
    // Refused: the text alone, and the file behind it.
    t.attempt.link = (struct link){.contact = STR(CONTACT)};
    with_files("see", "[" PHOTO "]", &public_links);
    play({"POST /conversations", "attachment_urls", 422, "{}"},
         {"POST /conversations", "\"body\":\"see\"," NO_UPLOADS, 200, OPENED},
         {REPLY_TO, "\"body\":\"a.png\",\"created_at\":1699999999,\"attachment_files\":[" PHOTO_UP "]}", 200, REPLIED});
    expect_delivered("403918330,132");
    expect_told(1);
}

static void open_with_voice(const char *text)
{
    t.attempt.link = (struct link){.contact = STR(CONTACT)};
    with_files(text, "[" VOICE "," LOST "]", &public_links);
}

#define OPEN_LOST "\"body\":\"see\\n[x.mp4 could not be fetched: larger than 20 MB]\"," NO_UPLOADS

static void test_other_files_follow_the_text_that_begins_a_conversation(void **state)
{
    (void)state;
    open_with_voice("see");
    play({"POST /conversations", OPEN_LOST, 200, OPENED},
         {REPLY_TO, "\"body\":\"v.ogg\",\"created_at\":1699999999,\"attachment_files\":[" VOICE_UP "]}", 200, REPLIED});
    expect_delivered("403918330,132");
    expect_link(CONTACT, "499", "132", "");
    expect_told(3);
    open_with_voice("");
    t.message.attachments = STR("[" VOICE "]");
    play({"POST /conversations", "\"body\":\"v.ogg\"," NO_UPLOADS, 200, OPENED},
         {REPLY_TO, "\"body\":\"v.ogg\",", 413, "{}"},
         {REPLY_TO, "\"body\":\"audio: v.ogg https://relay.test/media/", 200, REPLIED});
    expect_delivered("403918330,132");
}

// The text is there, the answer to its files is lost.
static void lose_files(void)
{
    open_with_voice("see");
    play({"POST /conversations", OPEN_LOST, 200, OPENED}, {REPLY_TO, VOICE_UP, .failure = HTTP_TIMEOUT});
    expect(VERDICT_DESK_DOWN, true, false);
    expect_link(CONTACT, "499", "", "files=17@403918330@2");
    new_attempt();
    t.attempt.links = &public_links;
    t.attempt.in_doubt = true;
}

#define VOICE_PART                                                                                                     \
    "{\"type\":\"conversation_part\",\"id\":\"132\",\"body\":\"<p>v.ogg</p>\",\"created_at\":1699999999,\"author\":{"  \
    "\"type\":\"user\",\"id\":\"" CONTACT "\"},\"attachments\":[{\"type\":\"upload\",\"name\":\"v.ogg\"}]}"

static void test_files_in_doubt_are_looked_for_and_the_text_is_not_sent_again(void **state)
{
    (void)state;
    lose_files();
    play({LOOK, NULL, 200, CONVERSATION(VOICE_PART)});
    expect_delivered("403918330,132");
    expect_told(3);
    expect_link(CONTACT, "499", "", "");
    lose_files();
    play({LOOK, NULL, 200, CONVERSATION("")}, {REPLY_TO, "\"body\":\"v.ogg\",", 200, REPLIED});
    expect_delivered("403918330,132");
    expect_told(3);
    // Without any more requests: the text is delivered, and the file is to follow as a message of its own.
    lose_files();
    t.attempt.look_only = true;
    play({LOOK, NULL, 200, CONVERSATION("")});
    expect_delivered("403918330");
    expect_told(2);
    // By hand, too: what the text began is known.
    lose_files();
    t.message.late = true;
    play({LOOK, NULL, 200, CONVERSATION("")}, {REPLY_TO, "\"body\":\"v.ogg\",", 200, REPLIED});
    t.message.late = false;
    // A text that reads like its file is not the file.
    lose_files();
    t.message.text = STR("v.ogg");
    play({LOOK, NULL, 200,
          "{\"type\":\"conversation\",\"created_at\":1699999999,\"source\":{\"id\":\"403918330\",\"body\":\"v.ogg\","
          "\"author\":{\"id\":\"" CONTACT "\"}},\"conversation_parts\":{\"conversation_parts\":[]}}"},
         {REPLY_TO, "\"body\":\"v.ogg\",", 200, REPLIED});
    // No doubt: it was refused for now.
    open_with_voice("see");
    play({"POST /conversations", NULL, 200, OPENED}, {REPLY_TO, NULL, 429, "{}"});
    expect(VERDICT_DESK_DOWN, false, false);
    new_attempt();
    play({REPLY_TO, "\"body\":\"v.ogg\",", 200, REPLIED});
    expect_delivered("403918330,132");
    // The word is of that message alone.
    lose_files();
    t.attempt.in_doubt = false;
    t.message.id = 18;
    play({REPLY_TO, "\"body\":\"see\\n[x.mp4 could", 200, REPLIED});
    expect_delivered("132");
    t.message.id = 17;
}

// Another message may be noted with the conversation before this one is tried again.
static void test_a_text_whose_files_fail_is_in_doubt(void **state)
{
    (void)state;
    open_with_voice("see");
    play({"POST /conversations", NULL, 200, OPENED}, {REPLY_TO, NULL, 302, ""});
    expect(VERDICT_RETRY, true, false);
    new_attempt();
    t.attempt.link.note = STR_NONE;
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200,
          "{\"type\":\"conversation\",\"created_at\":1699999999,\"source\":{\"id\":\"403918330\",\"body\":\"see [x.mp4 "
          "could not be fetched: larger than 20 MB]\",\"author\":{\"id\":\"" CONTACT
          "\"}},\"conversation_parts\":{\"conversation_parts\":[]}}"},
         {REPLY_TO, "\"body\":\"v.ogg\",", 200, REPLIED});
    expect_delivered("403918330,132");
}

static void test_files_that_are_refused_for_good_do_not_take_the_text_with_them(void **state)
{
    (void)state;
    open_with_voice("see");
    play({"POST /conversations", NULL, 200, OPENED}, {REPLY_TO, VOICE_UP, 422, "{}"},
         {REPLY_TO, "audio: v", 422, "{}"});
    expect_delivered("403918330");
    expect_told(2); // the other one will say itself what becomes of it
}

static void test_files_of_a_conversation_that_is_gone_go_with_their_text_to_the_next(void **state)
{
    (void)state;
    lose_files();
    t.attempt.in_doubt = false;
    play({REPLY_TO, NULL, 404, NOT_FOUND}, {LOOK, NULL, 404, NOT_FOUND},
         {"POST /conversations", OPEN_LOST, 200, OPENED}, {REPLY_TO, VOICE_UP, 200, REPLIED});
    expect_delivered("403918330,132");
    expect_told(3);
}

#define BEGUN_WITH(attachments)                                                                                        \
    "{\"conversations\":[{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1699999999,\"source\":{\"type\":"    \
    "\"conversation\",\"id\":\"403918330\",\"body\":\"<p>see</p><p>[x.mp4 could not be fetched: larger than 20 "       \
    "MB]</p>\",\"author\":{\"id\":\"" CONTACT "\"}" attachments "}}]}"

static void test_a_text_that_is_found_alone_gets_its_files(void **state)
{
    (void)state;
    // Killed after the text went: nothing was learned.
    open_with_voice("see");
    t.attempt.in_doubt = true;
    play({"POST /conversations/search", NULL, 200, BEGUN_WITH("")}, {LOOK, NULL, 200, CONVERSATION("")},
         {REPLY_TO, "\"body\":\"v.ogg\",\"created_at\":1699999999,\"attachment_files\":[" VOICE_UP "]}", 200, REPLIED});
    expect_delivered("403918330,132");
    expect_told(3);
    // Killed after the files, too.
    open_with_voice("see");
    t.attempt.in_doubt = true;
    play({"POST /conversations/search", NULL, 200, BEGUN_WITH("")}, {LOOK, NULL, 200, CONVERSATION(VOICE_PART)});
    expect_delivered("403918330,132");
    // It began with them.
    open_with_voice("see");
    t.attempt.in_doubt = true;
    play({"POST /conversations/search", NULL, 200, BEGUN_WITH(",\"attachments\":[{\"name\":\"v.ogg\"}]")});
    expect_delivered("403918330");
    expect_told(3);
}

static void test_a_file_that_came_after_the_text_was_sent_is_not_taken_for_sent(void **state)
{
    (void)state;
    // When the text went both were still to come; since then one came, and one will not.
    known_conversation();
    with_files("see", "[" VOICE "," LOST "," LATER "]", &public_links);
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200,
          CONVERSATION(PART("132", CONTACT, "1699999999",
                            "<p>see<br>[v.ogg follows]<br>[x.mp4 follows]<br>[l.mp4 follows]</p>"))},
         {REPLY_TO,
          "\"body\":\"[x.mp4 could not be fetched: larger than 20 MB]\\nv.ogg\",\"created_at\":1699999999,"
          "\"attachment_files\":[" VOICE_UP "]}",
          200, CONVERSATION(PART("133", CONTACT, "1699999999", "v.ogg"))});
    expect_delivered("132,133");
    expect_told(3);
    // With them in it nothing is left.
    known_conversation();
    with_files("see", "[" VOICE "]", &public_links);
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, REPLIED_WITH("see", ",\"attachments\":[{\"name\":\"v.ogg\"}]")});
    expect_delivered("132");
    expect_told(1);
    // The desk left them out.
    known_conversation();
    with_files("see", "[" VOICE "]", &public_links);
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, REPLIED_WITH("see", ",\"attachments\":[]")},
         {REPLY_TO, "\"body\":\"v.ogg\",", 200, REPLIED});
    // They are there in words: a link, a place.
    for (int i = 0; i < 2; i++) {
        known_conversation();
        with_files("see", "[" VOICE "]", &public_links);
        t.attempt.in_doubt = true;
        play({LOOK, NULL, 200,
              i ? REPLIED_WITH("see\\nv.ogg (9 kB): kept at the relay", ",\"attachments\":[]")
                : REPLIED_WITH("see\\naudio: v.ogg https://relay.test/media/" HASH "?exp=1", ",\"attachments\":[]")});
        expect_delivered("132");
        expect_told(1);
    }
}

static void test_another_text_is_not_taken_for_one_with_files(void **state)
{
    (void)state;
    static const char *const others[] = {"seen", "see you", "se", "v.ogg", "see [v", ""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        known_conversation();
        with_files("see", "[" VOICE "]", &public_links);
        t.attempt.in_doubt = true;
        struct str shown = arena_printf(&t.arena, CONVERSATION("%.*s%s%s"), STR_ARG(STR(PART_BEFORE)), others[i],
                                        PART_BEHIND);
        play({LOOK, NULL, 200, shown.p}, {REPLY_TO, VOICE_UP, 200, REPLIED});
        expect_delivered("132");
    }
    // Without a text, what says nothing is not it.
    known_conversation();
    with_files("", "[" VOICE "]", &public_links);
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, CONVERSATION(PART("132", CONTACT, "1699999999", ""))}, {REPLY_TO, VOICE_UP, 200, REPLIED});
    // Two files of one second, the references of one message known.
    static const struct str refs[] = {STR("403918330,132")};
    known_conversation();
    with_files("", "[" VOICE "]", &public_links);
    t.attempt.in_doubt = true;
    t.attempt.known_refs = refs;
    t.attempt.known_ref_count = 1;
    play({LOOK, NULL, 200, CONVERSATION(VOICE_PART)}, {REPLY_TO, VOICE_UP, 200, REPLIED});
    static const struct str nameless[] = {STR("unnamed,unnamed")};
    with_files("", "[" VOICE "]", &public_links);
    t.attempt.in_doubt = true;
    t.attempt.known_refs = nameless;
    t.attempt.known_ref_count = 1;
    play({LOOK, NULL, 200, CONVERSATION(VOICE_PART "," VOICE_PART)}, {REPLY_TO, VOICE_UP, 200, REPLIED});
}

static void test_the_word_for_files_is_read_leniently(void **state)
{
    (void)state;
    static const char *const bad[] = {"files=17",    "files=17@4",    "files=17@4@",          "files=17@4@g",
                                      "files=x@4@1", "files=-17@4@1", "files=17@4@123456789", "files=@@",
                                      "files="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        known_conversation();
        t.attempt.link.note = str_of(bad[i]);
        with_files("see", "[" VOICE "]", &public_links);
        play({REPLY_TO, "\"body\":\"see\",", 200, REPLIED});
        expect_link(CONTACT, "499", "132", "");
    }
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

// Who the customer is -------------------------------------------------------------------------------------

#define WHO "PUT /contacts/" CONTACT
#define PROFILE "{\"name\":\"Ann B\",\"username\":\"annb\",\"language\":\"de\",\"phone\":\"+4912345\"}"
#define WHO_ALL                                                                                                        \
    "{\"name\":\"Ann B\",\"phone\":\"+4912345\",\"custom_attributes\":{\"telegram_username\":\"annb\","                \
    "\"telegram_language\":\"de\"}}"
#define WHO_PLAIN "{\"name\":\"Ann B\",\"phone\":\"+4912345\"}"

static void with_profile(const char *profile)
{
    struct link link = t.attempt.link;
    new_attempt();
    known_conversation();
    t.attempt.link.note = link.note;
    t.source.platform = STR("telegram");
    t.attempt.profile = str_of(profile);
}

static void test_a_picture_is_shown_at_a_contact_of_ours(void **state)
{
    (void)state;
    struct http_request request;
    struct desk desk = {.token = STR("secret"), .api_url = STR("http://desk.test")};
    struct link link = {.contact = STR("a/b"), .note = STR("who=1")};
    struct str url = STR("https://relay.example/media/x?exp=1&name=\"");
    assert_true(desk_intercom.show_avatar(&desk, &link, url, t.attempt.arena, &request));
    assert_str(request.method, "PUT");
    assert_str(request.target, "http://desk.test/contacts/a%2Fb");
    assert_str(request.body, "{\"avatar\":\"https://relay.example/media/x?exp=1&name=\\\"\"}");
    assert_str(http_header_get(request.headers, request.header_count, "authorization"), "Bearer secret");
    assert_true(desk_intercom.show_avatar(&desk, &link, STR_NONE, t.attempt.arena, &request));
    assert_str(request.body, "{\"avatar\":null}");
    link.note = STR("joined=1"); // it is somebody's who writes elsewhere, too
    assert_false(desk_intercom.show_avatar(&desk, &link, url, t.attempt.arena, &request));
    link = (struct link){.conversation = STR("1")};
    assert_false(desk_intercom.show_avatar(&desk, &link, url, t.attempt.arena, &request));
    assert_null(desk_webhook.show_avatar);
}

static bool note_says(const char *word)
{
    return plain_contains(t.attempt.link.note, word);
}

static void test_a_profile_is_told_once_for_each_change(void **state)
{
    (void)state;
    with_profile(PROFILE);
    play({WHO, WHO_ALL, 200, A_CONTACT}, {REPLY_TO, "\"body\":\"hello\",", 200, REPLIED});
    expect_delivered("132");
    assert_true(note_says("who="));
    assert_false(note_says("@"));
    with_profile(PROFILE);
    play({REPLY_TO, NULL, 200, REPLIED});
    with_profile("{\"name\":\"Ann C\"}");
    play({WHO, "{\"name\":\"Ann C\"}", 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
    with_profile("{\"username\":\"ann\"}");
    play({WHO, "{\"custom_attributes\":{\"telegram_username\":\"ann\"}}", 200, A_CONTACT},
         {REPLY_TO, NULL, 200, REPLIED});
    with_profile("junk");
    play({REPLY_TO, NULL, 200, REPLIED});
    with_profile(NULL);
    play({REPLY_TO, NULL, 200, REPLIED});
    // A group is no person.
    t.message.conversation_name = STR("Group");
    with_profile(PROFILE);
    play({REPLY_TO, NULL, 200, REPLIED});
}

static void test_attributes_that_the_workspace_has_not_are_left_out(void **state)
{
    (void)state;
    static const int refusals[] = {400, 422};
    for (size_t i = 0; i < 2; i++) {
        t.attempt.link.note = STR_NONE;
        with_profile(PROFILE);
        play({WHO, WHO_ALL, refusals[i], "{}"}, {WHO, WHO_PLAIN, 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
        assert_false(note_says("@"));
        with_profile(PROFILE); // not asked again with each message
        play({REPLY_TO, NULL, 200, REPLIED});
    }
    t.attempt.link.note = STR_NONE;
    with_profile("{\"language\":\"de\"}"); // nothing else is left
    play({WHO, NULL, 422, "{}"}, {REPLY_TO, NULL, 200, REPLIED});
    expect_delivered("132");
}

static void expect_who_waits(int status, enum http_failure failure, const char *word, int64_t seconds)
{
    t.attempt.link.note = STR_NONE;
    t.attempt.now_us = NOW_S * SECOND;
    with_profile("{\"name\":\"Ann B\"}");
    play({WHO, NULL, status, "{}", failure}, {REPLY_TO, NULL, 200, REPLIED});
    expect_delivered("132"); // it hinders nothing
    if (!note_says(word))
        fail_msg("%d: %.*s", status, STR_ARG(t.attempt.link.note));
    t.attempt.now_us = (NOW_S + seconds - 1) * SECOND;
    with_profile("{\"name\":\"Ann B\"}");
    play({REPLY_TO, NULL, 200, REPLIED});
    with_profile("{\"name\":\"Ann C\"}"); // another one is not held back
    play({WHO, NULL, 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
    t.attempt.link.note = arena_printf(&t.arena, "%.*s", STR_ARG(t.attempt.link.note));
    t.attempt.now_us = NOW_S * SECOND;
}

static void test_a_profile_that_cannot_be_told_hinders_nothing(void **state)
{
    (void)state;
    static const int final[] = {400, 401, 403, 405, 409, 422};
    for (size_t i = 0; i < sizeof final / sizeof *final; i++)
        expect_who_waits(final[i], HTTP_ANSWERED, "@1700086400", 86400);
    static const int later[] = {429, 408, 500, 503, 302};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        expect_who_waits(later[i], HTTP_ANSWERED, "@1700000600", 600);
    expect_who_waits(0, HTTP_TIMEOUT, "@1700000600", 600);
    expect_who_waits(404, HTTP_ANSWERED, "@1700000060", 60);
    expect_who_waits(410, HTTP_ANSWERED, "@1700000060", 60);
    // And then it is tried again.
    t.attempt.link.note = STR_NONE;
    with_profile("{\"name\":\"Ann B\"}");
    play({WHO, NULL, 503, "{}"}, {REPLY_TO, NULL, 200, REPLIED});
    t.attempt.now_us = (NOW_S + 600) * SECOND;
    with_profile("{\"name\":\"Ann B\"}");
    play({WHO, NULL, 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
    assert_false(note_says("@"));
}

static void test_a_new_contact_is_made_with_what_is_known(void **state)
{
    (void)state;
    with_profile(PROFILE);
    t.attempt.link = (struct link){0};
    play({FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts",
          "{\"role\":\"user\",\"external_id\":\"telegram:1:5\",\"name\":\"Ann\",\"phone\":\"+4912345\"}", 200,
          NEW_CONTACT},
         {WHO, WHO_ALL, 200, A_CONTACT}, {"POST /conversations", NULL, 200, OPENED});
    expect_delivered("403918330");
    // All there is to know went with it.
    with_profile("{\"name\":\"Ann\"}");
    t.attempt.link = (struct link){0};
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 200, NEW_CONTACT},
         {"POST /conversations", NULL, 200, OPENED});
    assert_true(note_says("who="));
    // A phone that Intercom does not like goes with the name.
    with_profile(PROFILE);
    t.attempt.link = (struct link){0};
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", "phone", 422, "{}"},
         {"POST /contacts", "{\"role\":\"user\",\"external_id\":\"telegram:1:5\"}", 200, NEW_CONTACT},
         {WHO, WHO_ALL, 422, "{}"}, {WHO, WHO_PLAIN, 422, "{}"}, {"POST /conversations", NULL, 200, OPENED});
    assert_true(note_says("@1700086400"));
}

static void test_another_contact_is_told_again(void **state)
{
    (void)state;
    with_profile(PROFILE);
    play({WHO, WHO_ALL, 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
    struct str note = t.attempt.link.note;
    with_profile(PROFILE);
    play({REPLY_TO, CONTACT, 410, MERGED, 0, "Link", "</contacts/" OTHER ">; rel=\"canonical\""},
         {"PUT /contacts/" OTHER, WHO_ALL, 200, A_CONTACT}, {REPLY_TO, OTHER, 200, REPLIED});
    expect_delivered("132");
    // Deleted, or archived, at the desk: found anew.
    t.attempt.link.note = note;
    with_profile(PROFILE);
    play({REPLY_TO, NULL, 404, NOT_FOUND}, {LOOK, NULL, 200, REPLIED}, {FIND, NULL, 404, NOT_FOUND},
         {"POST /contacts", NULL, 409, ARCHIVED},
         {"POST /contacts/" OTHER "/unarchive", NULL, 200, "{\"id\":\"x\",\"archived\":false}"},
         {"PUT /contacts/" OTHER, WHO_ALL, 200, A_CONTACT}, {REPLY_TO, OTHER, 200, REPLIED});
    expect_delivered("132");
    expect_link(OTHER, "499", "132", t.attempt.link.note.p);
}

static void test_who_is_told_after_the_look_up_and_not_for_it(void **state)
{
    (void)state;
    with_profile(PROFILE);
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, REPLIED});
    expect_delivered("132");
    with_profile(PROFILE);
    t.attempt.in_doubt = t.attempt.look_only = true;
    play({LOOK, NULL, 200, CONVERSATION("")});
    with_profile(PROFILE);
    t.attempt.in_doubt = true;
    play({LOOK, NULL, 200, CONVERSATION("")}, {WHO, WHO_ALL, 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
}

static void test_the_word_for_who_is_read_leniently(void **state)
{
    (void)state;
    static const char *const bad[] = {"who=", "who=xyz", "who=12345678901234567", "who=5@", "who=5@-1", "who=5@x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        t.attempt.link.note = str_of(bad[i]);
        with_profile(NULL);
        play({REPLY_TO, NULL, 200, REPLIED});
        assert_false(note_says("who"));
    }
}

// Each of them, as it goes out, is among those that are held to the description.
static void expect_held(size_t index)
{
    const struct http_request *request = &t.step.request;
    yyjson_doc *doc = json_read(plain_file(&t.arena, "tests/contract/intercom_requests.json"));
    yyjson_val *held = yyjson_arr_get(yyjson_obj_get(yyjson_doc_get_root(doc), "message"), index), *key, *value;
    assert_true(str_eq(request->method, json_get_str(held, "method")));
    assert_true(str_ends(request->target, json_get_str(held, "target")));
    yyjson_doc *sent = json_read(body_of(request));
    yyjson_val *body = yyjson_obj_get(held, "body");
    size_t i, n;
    assert_int_equal(yyjson_obj_size(body), yyjson_obj_size(yyjson_doc_get_root(sent)));
    yyjson_obj_foreach(body, i, n, key, value)
    {
        yyjson_val *ours = yyjson_obj_get(yyjson_doc_get_root(sent), yyjson_get_str(key));
        bool made = str_starts(json_val_str(key),
                               STR("attachment_")); // with what differs: a link's signature, a file's bytes
        if (made ? yyjson_arr_size(ours) != yyjson_arr_size(value) : !yyjson_equals(value, ours))
            fail_msg("%s is not as held: %.*s", yyjson_get_str(key), STR_ARG(body_of(request)));
    }
    yyjson_doc_free(sent);
    yyjson_doc_free(doc);
}

static void step_with(int status, const char *answer)
{
    struct http_response response = plain_answer(status, NULL, str_of(answer));
    desk_intercom.receiver.step(&t.attempt, &response, &t.step);
}

static void test_requests_are_those_held_to_the_description(void **state)
{
    (void)state;
    with_profile(PROFILE);
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    expect_held(0);
    step_with(422, "{}");
    expect_held(1);
    with_profile(PROFILE);
    t.attempt.link = (struct link){0};
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    step_with(404, NOT_FOUND);
    expect_held(2);
    with_files("see", "[" PHOTO "]", &public_links);
    t.attempt.link = (struct link){.contact = STR(CONTACT)};
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    expect_held(3);
    known_conversation();
    with_files("see", "[" PHOTO "]", &public_links);
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    expect_held(4);
    with_profile("{\"name\":\"Ann B\",\"phone\":\"+4912345\",\"email\":\"ann@example.com\"}");
    t.attempt.link = (struct link){0};
    t.account.identity = IDENTITY_EMAIL;
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    step_with(404, NOT_FOUND);
    expect_held(5);
    step_with(200, "{\"data\":[]}");
    expect_held(6);
    step_with(200, NEW_CONTACT);
    expect_held(7);
    with_profile("{\"phone\":\"+4912345\"}");
    t.attempt.link = (struct link){0};
    t.account.identity = IDENTITY_PHONE;
    desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
    step_with(404, NOT_FOUND);
    expect_held(8);
}

// One person in several sources -----------------------------------------------------------------------------

#define SEEK "POST /contacts/search"
#define SEEK_PHONE                                                                                                     \
    "{\"query\":{\"operator\":\"AND\",\"value\":[{\"field\":\"phone\",\"operator\":\"=\",\"value\":\"+4912345\"},"     \
    "{\"field\":\"role\",\"operator\":\"=\",\"value\":\"user\"}]},\"pagination\":{\"per_page\":2}}"
#define PERSON(id, rest) "{\"type\":\"contact\",\"id\":\"" id "\",\"role\":\"user\"," rest "}"
#define PEOPLE(total, list) "{\"type\":\"list\",\"data\":[" list "],\"total_count\":" total "}"
#define ONE_BY_PHONE                                                                                                   \
    PEOPLE("1", PERSON(OTHER, "\"external_id\":\"x\",\"phone\":\"+49 123-45\",\"created_at\":1500000000"))
#define NOBODY PEOPLE("0", "")
#define SHARED "{\"name\":\"Ann B\",\"username\":\"annb\",\"phone\":\"+4912345\",\"email\":\"ann@example.com\"}"
#define OWN_BY_PHONE "{\"role\":\"user\",\"external_id\":\"telegram:1:5\",\"name\":\"Ann\",\"phone\":\"+4912345\"}"
#define WHO_OTHER "PUT /contacts/" OTHER

static void with_person(enum identity_policy identity, const char *profile)
{
    t.attempt.link = (struct link){0};
    t.account.identity = identity;
    with_profile(profile);
    t.attempt.link = (struct link){0};
}

// The next message of the same conversation.
static void next_message(const char *profile)
{
    t.attempt.link.note = arena_str(&t.arena, t.attempt.link.note);
    new_attempt();
    t.attempt.profile = str_of(profile);
}

static void test_a_person_is_found_by_their_phone_and_keeps_their_name(void **state)
{
    (void)state;
    with_person(IDENTITY_PHONE, SHARED);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, SEEK_PHONE, 200, ONE_BY_PHONE},
         {WHO_OTHER, "{\"custom_attributes\":{\"telegram_username\":\"annb\"}}", 200, A_CONTACT},
         {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
    assert_str(t.attempt.link.contact, OTHER);
    assert_true(note_says("joined=1"));
    next_message(SHARED);
    play({REPLY_TO, OTHER, 200, REPLIED});
    next_message("{\"name\":\"Ann C\",\"phone\":\"+4912345\"}"); // of what is another's too nothing is told
    play({REPLY_TO, OTHER, 200, REPLIED});
    next_message("{\"name\":\"Ann C\",\"language\":\"de\"}");
    play({WHO_OTHER, "{\"custom_attributes\":{\"telegram_language\":\"de\"}}", 422, "{}"},
         {REPLY_TO, OTHER, 200, REPLIED});
    assert_true(note_says("@1700086400"));
    assert_true(note_says("joined=1"));
}

static void test_a_person_is_found_by_their_address(void **state)
{
    (void)state;
    with_person(IDENTITY_EMAIL, SHARED);
    play({FIND, NULL, 404, NOT_FOUND},
         {SEEK, "{\"field\":\"email\",\"operator\":\"=\",\"value\":\"ann@example.com\"}", 200,
          PEOPLE("1", PERSON(OTHER, "\"email\":\"Ann@Example.com\""))},
         {WHO_OTHER, "{\"custom_attributes\":{\"telegram_username\":\"annb\"}}", 200, A_CONTACT},
         {"POST /conversations", OTHER, 200, OPENED});
    expect_delivered("403918330");
}

static void test_who_is_nobody_else_gets_a_contact_of_their_own(void **state)
{
    (void)state;
    static const char *const others[] = {
        NOBODY,
        PEOPLE("2", PERSON(OTHER, "\"phone\":\"+4912345\"") "," PERSON(CONTACT, "\"phone\":\"+4912345\"")),
        PEOPLE("2", PERSON(OTHER, "\"phone\":\"+4912345\"")),
        PEOPLE("1", PERSON(OTHER, "\"phone\":\"+49123456\"")), // found by less than all of it
        PEOPLE("1", PERSON(OTHER, "\"phone\":null")),
        PEOPLE("1", "{\"type\":\"contact\",\"id\":\"" OTHER "\",\"role\":\"lead\",\"phone\":\"+4912345\"}"),
        PEOPLE("1", PERSON("a/b", "\"phone\":\"+4912345\"")),
        PEOPLE("1", "{\"type\":\"admin\",\"id\":\"7\",\"phone\":\"+4912345\"}"),
        PEOPLE("1", "7"),
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        with_person(IDENTITY_PHONE, "{\"name\":\"Ann\",\"phone\":\"+4912345\",\"email\":\"ann@example.com\"}");
        play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, others[i]},
             {"POST /contacts", OWN_BY_PHONE, 200, NEW_CONTACT}, {"POST /conversations", CONTACT, 200, OPENED});
        expect_delivered("403918330");
        assert_false(note_says("joined"));
    }
    next_message("{\"name\":\"Ann D\",\"phone\":\"+4912345\"}"); // it is named as ever
    play({WHO, "{\"name\":\"Ann D\",\"phone\":\"+4912345\"}", 200, A_CONTACT}, {REPLY_TO, NULL, 200, REPLIED});
    with_person(IDENTITY_EMAIL, "{\"name\":\"Ann\",\"email\":\"ann@example.com\"}");
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, NOBODY},
         {"POST /contacts",
          "{\"role\":\"user\",\"external_id\":\"telegram:1:5\",\"name\":\"Ann\",\"email\":\"ann@example.com\"}", 200,
          NEW_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
}

static void test_nobody_is_looked_for_without_reason(void **state)
{
    (void)state;
    static const struct {
        enum identity_policy identity;
        const char *profile;
    } rows[] = {
        {IDENTITY_NONE, SHARED},
        {IDENTITY_PHONE, "{\"name\":\"Ann\",\"email\":\"ann@example.com\"}"},
        {IDENTITY_EMAIL, "{\"name\":\"Ann\",\"phone\":\"+4912345\"}"},
        {IDENTITY_PHONE, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        with_person(rows[i].identity, rows[i].profile);
        t.attempt.link.note = STR("who=1@1700000001"); // whatever is to be told of them
        play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 400, ""}, {"POST /contacts", NULL, 503, ""});
    }
    with_person(IDENTITY_PHONE, "{\"name\":\"Ann B\",\"phone\":\"+4912345\"}");
    play({FIND, NULL, 200, A_CONTACT}, {WHO, WHO_PLAIN, 200, A_CONTACT}, {"POST /conversations", CONTACT, 200, OPENED});
    with_person(IDENTITY_PHONE, SHARED);
    t.message.conversation_name = STR("Group"); // is no person
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", "\"name\":\"Group\"}", 200, NEW_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
}

static void test_a_search_for_a_person_that_fails_hinders_nothing(void **state)
{
    (void)state;
    static const struct turn rows[] = {
        {SEEK, NULL, 400, ""},  {SEEK, NULL, 401, ""},
        {SEEK, NULL, 403, ""},  {SEEK, NULL, 404, NOT_FOUND},
        {SEEK, NULL, 408, ""},  {SEEK, NULL, 422, ""},
        {SEEK, NULL, 500, ""},  {SEEK, NULL, 503, ""},
        {SEEK, NULL, 200, "{"}, {SEEK, NULL, 200, "{\"data\":{}}"},
        {SEEK, NULL, 302, ""},  {SEEK, NULL, 0, NULL, HTTP_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        with_person(IDENTITY_PHONE, "{\"name\":\"Ann\",\"phone\":\"+4912345\"}");
        play({FIND, NULL, 404, NOT_FOUND}, rows[i], {"POST /contacts", OWN_BY_PHONE, 200, NEW_CONTACT},
             {"POST /conversations", CONTACT, 200, OPENED});
        expect_delivered("403918330");
    }
    // A limit is a limit; and then it goes on where it was.
    with_person(IDENTITY_PHONE, SHARED);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 429, ""});
    expect(VERDICT_DESK_DOWN, false, false);
    assert_str(t.attempt.link.note, "absent=1700000000");
    next_message(SHARED);
    play({SEEK, NULL, 200, NOBODY}, {"POST /contacts", NULL, 429, ""});
    assert_str(t.attempt.link.note, "absent=1700000000");
    next_message("{\"phone\":\"+4912345\"}");
    play({SEEK, NULL, 200, ONE_BY_PHONE}, {"POST /conversations", OTHER, 200, OPENED});
    assert_str(t.attempt.link.note, "joined=1");
}

static void doubt_person(bool look_only)
{
    with_person(IDENTITY_PHONE, "{\"name\":\"Ann\",\"phone\":\"+4912345\"}");
    t.attempt.in_doubt = true;
    t.attempt.look_only = look_only;
}

static void test_doubt_about_a_message_of_a_person_who_was_joined(void **state)
{
    (void)state;
    doubt_person(false); // it may have said so
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, ONE_BY_PHONE},
         {"POST /conversations/search", OTHER, 200,
          "{\"conversations\":[{\"id\":\"499\",\"created_at\":1699999999,\"source\":{\"id\":\"13\",\"body\":\"hello\","
          "\"author\":{\"id\":\"" OTHER "\"}}}]}"});
    expect_delivered("13");
    doubt_person(false);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, NOBODY}, {"POST /contacts", NULL, 200, NEW_CONTACT},
         {"POST /conversations", NULL, 200, OPENED});
    doubt_person(true);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, NOBODY});
    expect(VERDICT_RETRY, false, true);
    doubt_person(true);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 403, ""});
    expect(VERDICT_RETRY, false, true);
    // Without an answer it is not known under whom.
    doubt_person(false);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 500, ""});
    expect(VERDICT_RETRY, false, false);
    doubt_person(false);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 408, ""});
    expect(VERDICT_DESK_DOWN, false, false);
    doubt_person(true);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 0, NULL, HTTP_TIMEOUT});
    expect(VERDICT_DESK_DOWN, false, false);
    doubt_person(false);
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, "{\"data\":"});
    expect(VERDICT_RETRY, false, false);
}

// The search is an index: what it names may have gone.
static void test_a_person_who_is_gone_is_not_joined_again(void **state)
{
    (void)state;
    with_person(IDENTITY_PHONE, "{\"phone\":\"+4912345\"}");
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, ONE_BY_PHONE}, {"POST /conversations", OTHER, 404, NOT_FOUND},
         {FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 200, NEW_CONTACT},
         {"POST /conversations", CONTACT, 200, OPENED});
    expect_delivered("403918330");
    assert_false(note_says("joined"));
    // Later the same: and another one who is found has conversations of their own.
    static const char *const answers[] = {ONE_BY_PHONE, PEOPLE("1", PERSON("77", "\"phone\":\"+4912345\""))};
    for (size_t i = 0; i < 2; i++) {
        with_person(IDENTITY_PHONE, "{\"phone\":\"+4912345\"}");
        t.attempt.link = (struct link){STR(OTHER), STR("499"), STR_NONE, STR("joined=1")};
        desk_intercom.receiver.step(&t.attempt, NULL, &t.step);
        step_with(404, NOT_FOUND);
        step_with(200, REPLIED);
        step_with(404, NOT_FOUND);
        assert_true(str_ends(t.step.request.target, STR("/contacts/search")));
        step_with(200, answers[i]);
        assert_true(str_ends(t.step.request.target, i ? STR("/conversations") : STR("/contacts")));
        if (!i)
            continue;
        step_with(200, OPENED);
        expect_delivered("403918330");
        assert_str(t.attempt.link.contact, "77");
        assert_true(note_says("old=499"));
        assert_true(note_says("joined=1"));
    }
}

static void test_a_conflict_may_be_about_what_is_shared(void **state)
{
    (void)state;
    static const char exists[] = CONFLICT("A contact matching those details already exists with id=" OTHER);
    with_person(IDENTITY_EMAIL, "{\"name\":\"Ann B\",\"email\":\"ann@example.com\"}"); // the index lags
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, NOBODY}, {"POST /contacts", "ann@example.com", 409, exists},
         {"POST /conversations", OTHER, 200, OPENED});
    assert_true(note_says("joined=1"));
    with_person(IDENTITY_EMAIL, "{\"name\":\"Ann B\"}");
    play({FIND, NULL, 404, NOT_FOUND}, {"POST /contacts", NULL, 409, exists},
         {WHO_OTHER, "{\"name\":\"Ann B\"}", 200, A_CONTACT}, {"POST /conversations", OTHER, 200, OPENED});
    assert_false(note_says("joined"));
    // One of ours that was archived is ours again.
    with_person(IDENTITY_EMAIL, "{\"name\":\"Ann B\",\"email\":\"ann@example.com\"}");
    play({FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, NOBODY}, {"POST /contacts", NULL, 409, ARCHIVED},
         {"POST /contacts/" OTHER "/unarchive", NULL, 200,
          "{\"id\":\"" OTHER "\",\"external_id\":\"telegram:1:5\",\"archived\":false}"},
         {WHO_OTHER, "{\"name\":\"Ann B\",\"email\":\"ann@example.com\"}", 200, A_CONTACT},
         {"POST /conversations", OTHER, 200, OPENED});
    assert_false(note_says("joined"));
    // And one that cannot be had does not keep the next from being made by having the same address.
    with_person(IDENTITY_EMAIL, "{\"email\":\"ann@example.com\"}");
    play(
        {FIND, NULL, 404, NOT_FOUND}, {SEEK, NULL, 200, NOBODY}, {"POST /contacts", NULL, 409, ARCHIVED},
        {"POST /contacts/" OTHER "/unarchive", NULL, 400, CONFLICT("not_restorable")},
        {FIND "~2", NULL, 404, NOT_FOUND},
        {"POST /contacts", "{\"role\":\"user\",\"external_id\":\"telegram:1:5~2\",\"name\":\"Ann\"}", 200, NEW_CONTACT},
        {"POST /conversations", CONTACT, 200, OPENED});
    assert_false(note_says("joined"));
}

static void test_an_address_is_told_where_it_is_shared_alone(void **state)
{
    (void)state;
    static const char profile[] = "{\"name\":\"Ann B\",\"username\":\"annb\",\"email\":\"ann@example.com\"}";
    with_profile(profile);
    play({WHO, "{\"name\":\"Ann B\",\"custom_attributes\":{\"telegram_username\":\"annb\"}}", 200, A_CONTACT},
         {REPLY_TO, NULL, 200, REPLIED});
    t.account.identity = IDENTITY_EMAIL; // from now on it is
    with_profile(profile);
    play({WHO,
          "{\"name\":\"Ann B\",\"email\":\"ann@example.com\",\"custom_attributes\":{\"telegram_username\":\"annb\"}}",
          200, A_CONTACT},
         {REPLY_TO, NULL, 200, REPLIED});
    with_profile(profile);
    play({REPLY_TO, NULL, 200, REPLIED});
    // Another contact has it, or it is none: the rest is told.
    t.attempt.link.note = STR_NONE;
    with_profile(profile);
    play({WHO, "email", 409, "{}"},
         {WHO, "{\"name\":\"Ann B\",\"custom_attributes\":{\"telegram_username\":\"annb\"}}", 200, A_CONTACT},
         {REPLY_TO, NULL, 200, REPLIED});
    assert_false(note_says("@"));
    t.attempt.link.note = STR_NONE;
    with_profile(profile);
    play({WHO, "email", 422, "{}"}, {WHO, "{\"name\":\"Ann B\",\"email\":\"ann@example.com\"}", 422, "{}"},
         {WHO, "{\"name\":\"Ann B\"}", 422, "{}"}, {REPLY_TO, NULL, 200, REPLIED});
    assert_true(note_says("@1700086400"));
}

// A desk with its own clock: by its text alone a conversation may be that of the same person in another source.
static void test_a_lost_create_of_a_shared_contact_is_not_told_by_its_text(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        t.account.identity = i ? IDENTITY_NONE : IDENTITY_PHONE;
        t.attempt.link = (struct link){.contact = STR(CONTACT), .note = i ? STR("joined=1") : STR_NONE};
        new_attempt();
        t.attempt.in_doubt = true;
        play(
            {"POST /conversations/search", NULL, 200,
             "{\"conversations\":[{\"id\":\"499\",\"created_at\":1700000003,\"source\":{\"id\":\"13\",\"body\":\"hello\","
             "\"author\":{\"id\":\"" CONTACT "\"}}}]}"});
        expect(VERDICT_WAIT, false, false);
    }
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
        {"joined=1", "joined=1"},
        {"joined=2", ""},
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
        DESK_TEST(test_files_go_with_their_text),
        DESK_TEST(test_files_that_are_not_there_are_lines),
        DESK_TEST(test_what_is_too_much_for_one_request_is_linked),
        DESK_TEST(test_uploads_that_are_refused_become_links),
        DESK_TEST(test_images_begin_a_conversation_by_their_address),
        DESK_TEST(test_other_files_follow_the_text_that_begins_a_conversation),
        DESK_TEST(test_files_in_doubt_are_looked_for_and_the_text_is_not_sent_again),
        DESK_TEST(test_files_that_are_refused_for_good_do_not_take_the_text_with_them),
        DESK_TEST(test_a_text_whose_files_fail_is_in_doubt),
        DESK_TEST(test_files_of_a_conversation_that_is_gone_go_with_their_text_to_the_next),
        DESK_TEST(test_a_text_that_is_found_alone_gets_its_files),
        DESK_TEST(test_a_file_that_came_after_the_text_was_sent_is_not_taken_for_sent),
        DESK_TEST(test_another_text_is_not_taken_for_one_with_files),
        DESK_TEST(test_the_word_for_files_is_read_leniently),
        DESK_TEST(test_a_profile_is_told_once_for_each_change),
        DESK_TEST(test_attributes_that_the_workspace_has_not_are_left_out),
        DESK_TEST(test_a_profile_that_cannot_be_told_hinders_nothing),
        DESK_TEST(test_a_new_contact_is_made_with_what_is_known),
        DESK_TEST(test_another_contact_is_told_again),
        DESK_TEST(test_who_is_told_after_the_look_up_and_not_for_it),
        DESK_TEST(test_the_word_for_who_is_read_leniently),
        DESK_TEST(test_a_person_is_found_by_their_phone_and_keeps_their_name),
        DESK_TEST(test_a_person_is_found_by_their_address),
        DESK_TEST(test_who_is_nobody_else_gets_a_contact_of_their_own),
        DESK_TEST(test_nobody_is_looked_for_without_reason),
        DESK_TEST(test_a_search_for_a_person_that_fails_hinders_nothing),
        DESK_TEST(test_doubt_about_a_message_of_a_person_who_was_joined),
        DESK_TEST(test_a_person_who_is_gone_is_not_joined_again),
        DESK_TEST(test_a_conflict_may_be_about_what_is_shared),
        DESK_TEST(test_an_address_is_told_where_it_is_shared_alone),
        DESK_TEST(test_a_lost_create_of_a_shared_contact_is_not_told_by_its_text),
        DESK_TEST(test_requests_are_those_held_to_the_description),
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
        DESK_TEST(test_a_picture_is_shown_at_a_contact_of_ours),
        DESK_TEST(test_probe_asks_who_we_are),
        DESK_TEST(test_settings_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
