// Telegram as a source: every sample of an update, who may send one, and what is no update at all.
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/attachment.h"
#include "platform/platform.h"
#include "support/plain_http.h"

#define NOW_US INT64_C(1700000000123456)
#define SENT_S 1441645532

static struct arena arena;
static const struct source source = {.name = STR("bot"),
                                     .platform = STR("telegram"),
                                     .token = STR("110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"),
                                     .secret = STR("s3cret_-A")};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct receipt receive_as(const struct source *from, const char *const *header_pairs, struct str body)
{
    struct plain_headers headers = plain_headers_of(header_pairs);
    struct http_request request = {
        .method = STR("POST"), .headers = headers.list, .header_count = headers.count, .body = body};
    struct receipt receipt;
    platform_telegram.receive(from, &request, NOW_US, &arena, &receipt);
    return receipt;
}

static struct receipt receive(struct str body)
{
    const char *const pairs[] = {"content-type", "application/json", "x-telegram-bot-api-secret-token", "s3cret_-A",
                                 NULL};
    return receive_as(&source, pairs, body);
}

static struct str sample(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "tests/data/telegram/%s.json", name);
    return plain_file(&arena, path);
}

#define ANN "Test Firstname Test Lastname"

#define FILE_OF(kind, name, mime, size, id)                                                                            \
    "[{\"kind\":\"" kind "\",\"url\":null,\"name\":\"" name "\",\"mime\":\"" mime "\",\"size\":" size                  \
    ",\"state\":\"wanted\",\"ref\":\"" id "\"}]"
#define IMAGE(size, id) FILE_OF("image", "photo.jpg", "image/jpeg", size, id)

static const struct row {
    const char *name, *key, *conversation, *group, *sender, *text;
    bool raw;
    int64_t sent_s; // 0: now
    const char *files, *migrated_from;
} rows[] = {
    {"message_text", "10001", "1111111", NULL, ANN, "/start", 0, SENT_S, NULL, NULL},
    {"message_unicode", "10002", "1111111", NULL, ANN,
     "Привет 👩‍👩‍👧‍👦 café — 你好\nline two", 0, SENT_S, NULL, NULL},
    {"message_reply", "10003", "1111111", NULL, ANN, "(in reply to \"order\") yes, that one", 1, SENT_S, NULL, NULL},
    {"edited_message", "10004", "1111111", NULL, ANN, "(edited) Edited text", 0, 1441646600, NULL, NULL},
    {"message_photo", "10005", "1111111", NULL, ANN, "broken part", 1, SENT_S,
     IMAGE("182013", "AwADBAADbXXXXXXXXXXXGBdhD2l6_x"), NULL},
    {"album_item_1", "10006", "1111111", NULL, ANN, "two photos", 1, SENT_S,
     IMAGE("150000", "AwADBAADbXXXXXXXXXXXGBdhD2l6_a1y"), NULL},
    {"album_item_2", "10007", "1111111", NULL, ANN, "", 1, SENT_S, IMAGE("151000", "AwADBAADbXXXXXXXXXXXGBdhD2l6_a2y"),
     NULL},
    {"message_document", "10008", "1111111", NULL, ANN, "", 1, SENT_S,
     FILE_OF("file", "Testfile.pdf", "application/pdf", "536392", "AwADBAADbXXXXXXXXXXXGBdhD2l6_d"), NULL},
    {"message_voice", "10009", "1111111", NULL, ANN, "", 1, SENT_S,
     FILE_OF("audio", "voice.ogg", "audio/ogg", "23000", "AwADBAADbXXXXXXXXXXXGBdhD2l6_v"), NULL},
    {"message_sticker", "10010", "1111111", NULL, ANN, "👍", 1, SENT_S,
     FILE_OF("image", "sticker.webp", "image/webp", "19232", "AwADBAADbXXXXXXXXXXXGBdhD2l6_st"), NULL},
    {"message_location", "10011", "1111111", NULL, ANN, "(location: 51.507351, -0.127758)", 1, SENT_S, NULL, NULL},
    {"message_venue", "10012", "1111111", NULL, ANN, "(place: Shop, 1 High St, 51.500000, -0.120000)", 1, SENT_S, NULL,
     NULL},
    {"message_contact", "10013", "1111111", NULL, ANN, "(contact: Ann Lee, +15550001111)", 1, SENT_S, NULL, NULL},
    {"message_group_topic", "10014", "-1001234567890:77", "Support group", ANN, "@support_bot help", 0, SENT_S, NULL,
     NULL},
    {"message_forwarded", "10015", "1111111", NULL, ANN, "(forwarded from Forward) fwd", 1, SENT_S, NULL, NULL},
    {"group_migrated", "10016", "-1001234567890", "Support group", ANN, "(the group became a supergroup)", 1, SENT_S,
     NULL, "-987654321"},
    {"callback_query", "10017", "1111111", NULL, ANN, "(pressed a button: btn:refund)", 1, 0, NULL, NULL},
    {"my_chat_member_blocked", "10018", "1111111", NULL, ANN, "(blocked the bot)", 1, 1441646000, NULL, NULL},
    {"message_reaction", "10019", "-1001234567890", "Support group", ANN, "(reacted to a message: 👍)", 1, 1441646100,
     NULL, NULL},
    {"business_message", "10020", "1111111:business:bc_Ab12Cd34", NULL, ANN, "hello shop", 0, SENT_S, NULL, NULL},
    {"deleted_business_messages", "10021", "1111111:business:bc_Ab12Cd34", NULL, ANN, "(deleted 2 messages)", 1, 0,
     NULL, NULL},
};

static void check_text(const char *name, struct str is, const char *should)
{
    if (!should)
        assert_null(is.p);
    else if (!str_eq_c(is, should))
        fail_msg("%s: %.*s", name, STR_ARG(is));
}

static void check_row(const struct row *row)
{
    struct str body = sample(row->name);
    struct receipt receipt = receive(body);
    if (receipt.kind != RECEIPT_OK || receipt.event_count != 1)
        fail_msg("%s: kind %d, %zu events, %.*s", row->name, receipt.kind, receipt.event_count, STR_ARG(receipt.why));
    const struct event *event = receipt.events;
    char key[64];
    snprintf(key, sizeof key, "110201543:%s", row->key);
    assert_str(event->dedupe_key, key);
    assert_int_not_equal(event->digest, 0);
    check_text(row->name, event->conversation, row->conversation);
    check_text(row->name, event->migrated_from, row->migrated_from);
    check_text(row->name, event->conversation_name, row->group);
    assert_str(event->sender_id, "1111111");
    assert_str(event->sender_name, row->sender);
    check_text(row->name, event->text, row->text);
    check_text(row->name, event->attachments, row->files);
    assert_int_equal(event->discard, REASON_NONE);
    assert_int_equal(event->raw.p != NULL, row->raw);
    if (row->raw)
        assert_true(str_eq(event->raw, body));
    assert_int_equal(event->sent_at_us, row->sent_s ? row->sent_s * INT64_C(1000000) : NOW_US);
}

static void test_every_sample_is_understood(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i]);
}

static struct receipt receive_with(const char *first, const char *first_value, const char *second,
                                   const char *second_value)
{
    const char *pairs[] = {"content-type", "application/json", first, first_value, second, second_value, NULL};
    return receive_as(&source, pairs, sample("message_text"));
}

static void test_only_telegram_may_send(void **state)
{
    (void)state;
    static const char token[] = "X-Telegram-Bot-Api-Secret-Token";
    assert_int_equal(receive_with(token, "s3cret_-A", NULL, NULL).kind, RECEIPT_OK);
    assert_int_equal(receive_with(token, "s3cret_-a", NULL, NULL).kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(token, "s3cret_-", NULL, NULL).kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(token, "s3cret_-AA", NULL, NULL).kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(token, "s3cret_-As3cret_-A", NULL, NULL).kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(token, "", NULL, NULL).kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(NULL, NULL, NULL, NULL).kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(token, "s3cret_-A", token, "s3cret_-A").kind, RECEIPT_FORGED);
    assert_int_equal(receive_with(token, "s3cret_-A", token, "other").kind, RECEIPT_FORGED);
}

static void test_without_any_secret_all_is_forged(void **state)
{
    (void)state;
    struct source bare = source;
    bare.secret = STR_NONE;
    const char *const empty[] = {"content-type", "application/json", "x-telegram-bot-api-secret-token", "", NULL};
    const char *const none[] = {"content-type", "application/json", "x-telegram-bot-api-secret-token", "none", NULL};
    const char *const made[] = {"content-type", "application/json", "x-telegram-bot-api-secret-token", "made", NULL};
    struct str body = sample("message_text");
    assert_int_equal(receive_as(&bare, empty, body).kind, RECEIPT_FORGED);
    bare.secret = STR("");
    assert_int_equal(receive_as(&bare, empty, body).kind, RECEIPT_FORGED);
    bare.secret = STR("none");
    assert_int_equal(receive_as(&bare, none, body).kind, RECEIPT_FORGED);
    bare.secret = STR_NONE;
    bare.made_secret = STR("made");
    assert_int_equal(receive_as(&bare, made, body).kind, RECEIPT_OK);
}

static void test_content_type_must_be_json(void **state)
{
    (void)state;
    const char *pairs[] = {"x-telegram-bot-api-secret-token", "s3cret_-A", "content-type", "text/plain", NULL};
    assert_int_equal(receive_as(&source, pairs, sample("message_text")).kind, RECEIPT_BAD_TYPE);
    pairs[3] = "application/json; charset=utf-8";
    assert_int_equal(receive_as(&source, pairs, sample("message_text")).kind, RECEIPT_OK);
    pairs[2] = NULL;
    assert_int_equal(receive_as(&source, pairs, sample("message_text")).kind, RECEIPT_BAD_TYPE);
}

#define CHAT "\"chat\":{\"id\":5,\"type\":\"private\"}"

static void test_what_is_no_update_is_malformed(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "null",
        "7",
        "{}",
        "[{\"update_id\":1}]",
        "{\"message\":{" CHAT "}}",
        "{\"update_id\":\"1\",\"message\":{" CHAT "}}",
        "{\"update_id\":1.0,\"message\":{" CHAT "}}",
        "{\"update_id\":null,\"message\":{" CHAT "}}",
        "{\"update_id\":18446744073709551615,\"message\":{" CHAT "}}",
        "{\"update_id\":99999999999999999999999,\"message\":{" CHAT "}}",
        "{\"update_id\":1,\"message\":{}}",
        "{\"update_id\":1,\"message\":5}",
        "{\"update_id\":1,\"message\":null}",
        "{\"update_id\":1,\"message\":[]}",
        "{\"update_id\":1,\"message\":{\"chat\":5}}",
        "{\"update_id\":1,\"message\":{\"chat\":{\"id\":\"5\"}}}",
        "{\"update_id\":1,\"message\":{\"chat\":{\"id\":5.5}}}",
        "{\"update_id\":1,\"edited_message\":{}}",
        "{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"\\ud800\"}}",
        "{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"\xFF\"}}",
        "{\"update_id\":1,\"message\":{" CHAT "}}x",
        "\xEF\xBB\xBF{\"update_id\":1}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct receipt receipt = receive(str_of(bodies[i]));
        if (receipt.kind != RECEIPT_MALFORMED || !receipt.why.n || receipt.event_count)
            fail_msg("%s: kind %d", bodies[i], receipt.kind);
    }
}

static void test_without_a_chat_it_is_told_where_its_person_writes(void **state)
{
    (void)state;
    static const struct {
        const char *body, *conversation;
        enum reason discard;
    } odd[] = {
        {"{\"update_id\":1}", "nobody", REASON_UNKNOWN_KIND},
        {"{\"update_id\":1,\"inline_query\":{\"id\":\"9\",\"from\":{\"id\":5},\"query\":\"x\"}}", "5",
         REASON_NO_MEANING},
        {"{\"update_id\":1,\"poll\":{\"id\":\"9\"}}", "nobody", REASON_NO_MEANING},
        {"{\"update_id\":1,\"callback_query\":{\"id\":\"9\",\"inline_message_id\":\"x\",\"from\":{\"id\":5}}}", "5",
         REASON_NONE},
        {"{\"update_id\":1,\"callback_query\":{\"id\":\"9\"}}", "nobody", REASON_NO_MEANING},
        {"{\"update_id\":1,\"of_the_future\":[1]}", "nobody", REASON_UNKNOWN_KIND},
        {"{\"update_id\":1,\"of_the_future\":{\"message\":7}}", "nobody", REASON_UNKNOWN_KIND},
        {"{\"update_id\":1,\"of_the_future\":{" CHAT "}}", "5", REASON_UNKNOWN_KIND},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct receipt receipt = receive(str_of(odd[i].body));
        if (receipt.kind != RECEIPT_OK || receipt.event_count != 1)
            fail_msg("%s: kind %d, %zu events", odd[i].body, receipt.kind, receipt.event_count);
        check_text(odd[i].body, receipt.events->conversation, odd[i].conversation);
        assert_int_equal(receipt.events->discard, odd[i].discard);
        assert_str(receipt.events->raw, odd[i].body); // an operator can read what it was
    }
}

static void test_odd_updates_become_lines(void **state)
{
    (void)state;
    static const struct {
        const char *body, *conversation, *text;
    } odd[] = {
        {"{\"update_id\":1,\"of_the_future\":{" CHAT "}}", "5", "(Telegram: of_the_future)"},
        {"{\"update_id\":1,\"message\":{" CHAT "}}", "5", "(empty message)"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"new_thing\":{}}}", "5", "(Telegram: new_thing)"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":5}}", "5", "(Telegram: text)"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"\"}}", "5", ""},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":{},\"text\":\"second\"}}", "5", "(Telegram: text)"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"a\\u0000b\"}}", "5",
         "a\xEF\xBF\xBD"
         "b"},
        {"{\"update_id\":1,\"edited_message\":{" CHAT ",\"photo\":[],\"caption\":\"c\"}}", "5", "(edited) (photo) c"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"animation\":{},\"document\":{\"file_name\":\"x\"}}}", "5",
         "(animation)"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"location\":{\"latitude\":\"x\"}}}", "5", "(location)"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"poll\":{\"question\":\"Why?\"}}}", "5", "(poll: Why?)"},
        {"{\"update_id\":1,\"callback_query\":{\"id\":\"9\",\"message\":{\"date\":0," CHAT "}}}", "5",
         "(pressed a button)"},
        {"{\"update_id\":1,\"of_the_future\":{},\"message\":{" CHAT ",\"text\":\"t\"},\"poll\":{}}", "5", "t"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"first\",\"text\":\"second\"},\"message\":{}}", "5",
         "first"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"t\",\"reply_to_message\":7,\"forward_origin\":[]}}", "5",
         "(forwarded) t"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"t\",\"migrate_to_chat_id\":5}}", "5", "t"},
        {"{\"update_id\":-3,\"message\":{" CHAT ",\"text\":\"t\"}}", "5", "t"},
        {"{\"update_id\":0,\"message\":{\"chat\":{\"id\":-1009007199254740993},\"text\":\"t\"}}",
         "-1009007199254740993", "t"},
        {"{\"update_id\":1,\"message\":{" CHAT
         ",\"text\":\"t\",\"is_topic_message\":true,\"message_thread_id\":\"9\"}}",
         "5", "t"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"t\",\"message_thread_id\":9}}", "5", "t"},
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct receipt receipt = receive(str_of(odd[i].body));
        if (receipt.kind != RECEIPT_OK || receipt.event_count != 1 ||
            !str_eq_c(receipt.events->conversation, odd[i].conversation) ||
            !str_eq_c(receipt.events->text, odd[i].text))
            fail_msg("%s: kind %d, %zu events", odd[i].body, receipt.kind, receipt.event_count);
    }
}

static struct str linked(const char *text, const char *entities)
{
    struct str body = arena_printf(&arena, "{\"update_id\":1,\"message\":{" CHAT ",\"text\":%s,\"entities\":[%s]}}",
                                   text, entities);
    struct receipt receipt = receive(body);
    assert_int_equal(receipt.event_count, 1);
    return receipt.events->text;
}

#define LINK(offset, length, url)                                                                                      \
    "{\"type\":\"text_link\",\"offset\":" offset ",\"length\":" length ",\"url\":\"" url "\"}"

static void test_addresses_stand_behind_their_words(void **state)
{
    (void)state;
    assert_str(linked("\"go here now\"", LINK("3", "4", "https://a.b/c")), "go here (https://a.b/c) now");
    assert_str(linked("\"👩‍👩‍👧 x\"", LINK("9", "1", "https://a.b")), "👩‍👩‍👧 x (https://a.b)");
    assert_str(linked("\"a b\"", LINK("2", "1", "u:2") "," LINK("0", "1", "u:1")), "a (u:1) b (u:2)");
    assert_str(linked("\"ab\"", LINK("0", "2", "u:1") "," LINK("0", "2", "u:2")), "ab (u:1) (u:2)");
    // Where the words are the address, nothing is lost.
    assert_str(linked("\"a.b/c\"", LINK("0", "5", "https://a.b/c")), "a.b/c");
    assert_str(linked("\"https://a.b\"", LINK("0", "11", "https://a.b/")), "https://a.b");
    assert_str(linked("\"b/c\"", LINK("0", "3", "https://a.b/c")), "b/c (https://a.b/c)");
    assert_str(linked("\"a.b\"", LINK("0", "3", "https://evil.example/?a.b")), "a.b (https://evil.example/?a.b)");
}

static void test_entities_that_fit_nothing_are_borne(void **state)
{
    (void)state;
    assert_str(linked("\"ab\"", LINK("5", "9", "u:1")), "ab (u:1)");
    assert_str(linked("\"ab\"", LINK("1", "2147483647", "u:1")), "ab (u:1)");
    assert_str(linked("\"a👍b\"", LINK("0", "2", "u:1")), "a👍 (u:1)b"); // half a surrogate pair
    assert_str(linked("\"ab\"", LINK("-1", "2", "u:1")), "ab");
    assert_str(linked("\"ab\"", LINK("0", "-2", "u:1")), "ab");
    assert_str(linked("\"ab\"", LINK("9223372036854775807", "9223372036854775807", "u:1")), "ab");
    assert_str(linked("\"ab\"", LINK("1e3", "\"2\"", "u:1")), "ab");
    assert_str(linked("\"ab\"", LINK("0", "2", "")), "ab");
    assert_str(linked("\"ab\"", "null,7,\"x\",[],{}"), "ab");
    assert_str(linked("\"\"", LINK("0", "0", "u:1")), "");
}

static void test_large_and_odd_texts_are_unchanged(void **state)
{
    (void)state;
    static const char *const odd[] = {"e\u0301", "\\u202E\\u200B\\u2066", "<b>&amp;</b>", "=cmd|' /C calc'!A0", "*_~`",
                                      " \\t "};
    struct buf text;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        buf_init(&text, 1 << 20);
        while (text.n < 100 * 1024)
            buf_printf(&text, "%s", odd[i]);
        struct str body = arena_printf(&arena, "{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"%.*s\"}}",
                                       STR_ARG(buf_str(&text)));
        yyjson_doc *doc = json_read(body);
        struct receipt receipt = receive(body);
        struct str sent = json_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "message"), "text");
        assert_int_equal(receipt.event_count, 1);
        assert_true(sent.n && str_eq(receipt.events->text, sent));
        yyjson_doc_free(doc);
        buf_done(&text);
    }
}

// Nested so deep that no stack would hold one frame for each; and as broad as a body may be.
static void test_deep_and_broad_updates_are_borne(void **state)
{
    (void)state;
    static const struct {
        const char *open, *inside, *close;
    } nested[] = {
        {"\"pinned_message\":{\"date\":1,", "\"text\":\"t\"", "}"},
        {"\"reply_to_message\":{\"date\":1,", "\"text\":\"t\"", "}"},
        {"\"external_reply\":{\"photo\":[],", "\"text\":\"t\"", "}"},
        {"\"rich_message\":{\"blocks\":[{", "\"text\":\"t\"", "}]}"},
        {"\"checklist\":{\"tasks\":[{", "\"text\":\"t\"", "}]}"},
        {"\"x\":1,\"y\":[],", "\"text\":\"t\"", ""},
    };
    for (size_t i = 0; i < sizeof nested / sizeof *nested; i++) {
        struct buf body;
        buf_init(&body, 8 << 20);
        buf_printf(&body, "{\"update_id\":1,\"message\":{" CHAT ",");
        for (int n = 0; n < 60000; n++)
            buf_printf(&body, "%s", nested[i].open);
        buf_printf(&body, "%s", nested[i].inside);
        for (int n = 0; n < 60000; n++)
            buf_printf(&body, "%s", nested[i].close);
        buf_printf(&body, "}}");
        assert_false(body.failed);
        struct receipt receipt = receive(buf_str(&body));
        assert_int_equal(receipt.kind, RECEIPT_OK);
        assert_int_equal(receipt.event_count, 1);
        assert_true(receipt.events->text.n < 1000);
        buf_done(&body);
    }
}

// What it is about may never have been seen: each of these stands by itself.
static void test_what_answers_something_unknown_stands_by_itself(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } about[] = {
        {"{\"update_id\":1,\"edited_message\":{" CHAT ",\"message_id\":99,\"text\":\"t\"}}", "(edited) t"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"t\",\"reply_to_message\":{" CHAT
         ",\"message_id\":99,\"date\":0}}}",
         "(in reply to a message) t"},
        {"{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"t\",\"quote\":{\"text\":\"gone\",\"position\":0}}}",
         "(in reply to \"gone\") t"},
        {"{\"update_id\":1,\"message_reaction\":{" CHAT
         ",\"message_id\":99,\"new_reaction\":[{\"type\":\"emoji\",\"emoji\":\"x\"}]}}",
         "(reacted to a message: x)"},
        {"{\"update_id\":1,\"deleted_business_messages\":{" CHAT
         ",\"business_connection_id\":\"b\",\"message_ids\":[99]}}",
         "(deleted a message)"},
    };
    for (size_t i = 0; i < sizeof about / sizeof *about; i++) {
        struct receipt receipt = receive(str_of(about[i].body));
        assert_int_equal(receipt.event_count, 1);
        check_text(about[i].body, receipt.events->text, about[i].text);
        assert_int_equal(receipt.events->discard, REASON_NONE);
    }
}

static void test_a_press_is_answered_in_the_answer(void **state)
{
    (void)state;
    struct receipt receipt = receive(sample("callback_query"));
    assert_str(receipt.answer, "{\"method\":\"answerCallbackQuery\",\"callback_query_id\":\"4382bfdwdsb323b2d9\"}");
    assert_null(receive(sample("message_text")).answer.p); // Telegram would carry it out
    assert_null(receive(STR("{\"update_id\":1,\"callback_query\":{\"id\":7,\"from\":{\"id\":5}}}")).answer.p);
    receipt = receive(STR("{\"update_id\":1,\"callback_query\":{\"id\":\"\\\"},{\",\"from\":{\"id\":5}}}"));
    assert_str(receipt.answer, "{\"method\":\"answerCallbackQuery\",\"callback_query_id\":\"\\\"},{\"}");
}

static void test_dates_out_of_range_are_now(void **state)
{
    (void)state;
    static const char *const dates[] = {"0", "-1", "9223372036854775807", "18446744073709551615", "\"1\"", "1.5"};
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        struct str body = arena_printf(&arena, "{\"update_id\":1,\"message\":{" CHAT ",\"text\":\"t\",\"date\":%s}}",
                                       dates[i]);
        struct receipt receipt = receive(body);
        assert_int_equal(receipt.kind, RECEIPT_OK);
        assert_int_equal(receipt.events->sent_at_us, NOW_US);
    }
}

static struct event event_of(const char *body)
{
    struct receipt receipt = receive(str_of(body));
    assert_int_equal(receipt.event_count, 1);
    return receipt.events[0];
}

static void test_senders_have_names(void **state)
{
    (void)state;
    struct event event = event_of("{\"update_id\":1,\"message\":{\"chat\":{\"id\":-7,\"type\":\"group\"},\"from\":{"
                                  "\"id\":1087968824,\"first_name\":\"Group\"},\"sender_chat\":{\"id\":-7,\"title\":"
                                  "\"The shop\"},\"text\":\"t\"}}");
    assert_str(event.sender_name, "The shop");
    assert_str(event.sender_id, "-7");
    assert_str(event.conversation_name, "Telegram group");
    event = event_of("{\"update_id\":1,\"channel_post\":{\"chat\":{\"id\":-8,\"type\":\"channel\",\"title\":\"News\"},"
                     "\"text\":\"t\"}}");
    assert_str(event.sender_name, "News");
    assert_str(event.conversation_name, "News");
    event = event_of("{\"update_id\":1,\"message\":{" CHAT
                     ",\"from\":{\"id\":5,\"username\":\"ann\"},\"text\":\"t\"}}");
    assert_str(event.sender_name, "ann");
    event = event_of("{\"update_id\":1,\"message\":{" CHAT
                     ",\"from\":{\"id\":5,\"last_name\":\"Lee\"},\"text\":\"t\"}}");
    assert_str(event.sender_name, "Lee");
    event = event_of("{\"update_id\":1,\"message\":{" CHAT ",\"from\":\"x\",\"text\":\"t\"}}");
    assert_str(event.sender_id, "5");
    assert_null(event.sender_name.p);
}

static void test_digest_tells_reused_ids_apart(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"update_id\":1,\"message\":{" CHAT ",\"message_id\":1,\"text\":\"t\"}}",
        "{\"update_id\":1,\"message\":{" CHAT ",\"message_id\":2,\"text\":\"t\"}}",
        "{\"update_id\":1,\"message\":{\"chat\":{\"id\":6},\"message_id\":1,\"text\":\"t\"}}",
        "{\"update_id\":1,\"edited_message\":{" CHAT ",\"message_id\":1,\"text\":\"t\"}}",
        "{\"update_id\":1,\"callback_query\":{\"id\":\"a\",\"message\":{" CHAT ",\"message_id\":1}}}",
        "{\"update_id\":1,\"callback_query\":{\"id\":\"b\",\"message\":{" CHAT ",\"message_id\":1}}}",
    };
    size_t count = sizeof bodies / sizeof *bodies;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(event_of(bodies[i]).digest, event_of(bodies[i]).digest);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(event_of(bodies[i]).digest, event_of(bodies[j]).digest);
    }
}

static void test_settings_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *token, *secret, *api_url, *trouble;
    } settings[] = {
        {"1:a", NULL, NULL, NULL},
        {"110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", "A-Za-z0-9_-", "http://127.0.0.1:8081", NULL},
        {NULL, NULL, NULL, "needs a token"},
        {"", NULL, NULL, "token must be"},
        {"hello", NULL, NULL, "token must be"},
        {":abc", NULL, NULL, "token must be"},
        {"12:", NULL, NULL, "token must be"},
        {"12x:abc", NULL, NULL, "token must be"},
        {"12:ab/c", NULL, NULL, "token must be"},
        {"1:a", "", NULL, "secret must be"},
        {"1:a", "with space", NULL, "secret must be"},
        {"1:a", "none", NULL, "cannot go without"},
        {"1:a", NULL, "api.telegram.org", "api_url must"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct source each = {.token = str_of(settings[i].token),
                              .secret = str_of(settings[i].secret),
                              .api_url = str_of(settings[i].api_url)};
        const char *trouble = platform_telegram.check(&each, &arena);
        if (!trouble != !settings[i].trouble || (trouble && !strstr(trouble, settings[i].trouble)))
            fail_msg("setting %zu: %s", i, trouble ? trouble : "fine");
    }
}

static void test_identity_and_customer(void **state)
{
    (void)state;
    struct source bad = {.token = STR("x")};
    assert_str(platform_telegram.identity(&source, &arena), "telegram:110201543");
    assert_null(platform_telegram.identity(&bad, &arena).p);
    assert_str(platform_telegram.customer(STR("-100:77")), "-100");
    assert_str(platform_telegram.customer(STR("1111111")), "1111111");
    assert_str(platform_telegram.customer(STR("1111111:business:bc:1")), "1111111");
    assert_ptr_equal(platform_find(STR("telegram")), &platform_telegram);
}

// Who they are ----------------------------------------------------------------------------------------------

#define OWN_CHAT "\"chat\":{\"id\":5,\"type\":\"private\"},\"date\":1"
#define FROM_ANN                                                                                                       \
    "\"from\":{\"id\":5,\"first_name\":\"Ann\",\"last_name\":\"Lee\",\"username\":\"annlee\",\"language_code\":\"pt-br\"}"

static struct profile profile_of(const char *body)
{
    struct receipt receipt = receive(str_of(body));
    assert_int_equal(receipt.event_count, 1);
    return receipt.events->profile;
}

static void test_a_private_chat_tells_who_it_is(void **state)
{
    (void)state;
    struct profile profile = profile_of("{\"update_id\":1,\"message\":{" OWN_CHAT "," FROM_ANN ",\"text\":\"t\"}}");
    assert_str(profile.name, "Ann Lee");
    assert_str(profile.username, "annlee");
    assert_str(profile.language, "pt-br");
    assert_null(profile.phone.p);
    profile = profile_of("{\"update_id\":1,\"callback_query\":{\"id\":\"9\"," FROM_ANN ",\"message\":{" OWN_CHAT
                         "}}}"); // its message is the bot's
    assert_str(profile.username, "annlee");
    profile = profile_of("{\"update_id\":1,\"message\":{" OWN_CHAT ",\"from\":{\"id\":5},\"text\":\"t\"}}");
    assert_null(profile.username.p);
    assert_null(profile.language.p);
}

static void test_nobody_else_is_taken_for_the_customer(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{\"update_id\":1,\"message\":{\"chat\":{\"id\":-5,\"type\":\"group\"},\"date\":1," FROM_ANN
        ",\"text\":\"t\"}}",
        "{\"update_id\":1,\"message\":{\"chat\":{\"id\":5},\"date\":1," FROM_ANN ",\"text\":\"t\"}}",
        "{\"update_id\":1,\"business_message\":{\"business_connection_id\":\"b\"," OWN_CHAT
        ",\"from\":{\"id\":7,\"first_name\":\"Bob\",\"username\":\"bob\"},\"text\":\"t\"}}",
        "{\"update_id\":1,\"message\":{" OWN_CHAT ",\"text\":\"t\"}}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct profile profile = profile_of(bodies[i]);
        assert_false(profile.name.p || profile.username.p || profile.language.p || profile.phone.p);
    }
}

static void test_a_number_is_the_customers_where_they_share_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *contact, *phone;
    } numbers[] = {
        {"{\"phone_number\":\"15550001111\",\"first_name\":\"Ann\",\"user_id\":5}", "+15550001111"},
        {"{\"phone_number\":\"+15550001111\",\"first_name\":\"Ann\",\"user_id\":5}", "+15550001111"},
        {"{\"phone_number\":\"+1 (555) 000-1111\",\"first_name\":\"Ann\",\"user_id\":5}", "+15550001111"},
        {"{\"phone_number\":\"15550001111\",\"first_name\":\"Bob\",\"user_id\":6}", NULL},
        {"{\"phone_number\":\"15550001111\",\"first_name\":\"Bob\"}", NULL},
        {"{\"phone_number\":\"15550001111\",\"first_name\":\"Bob\",\"user_id\":\"5\"}", NULL},
        {"{\"phone_number\":\"911\",\"user_id\":5}", NULL},
        {"{\"phone_number\":\"1234567890123456\",\"user_id\":5}", NULL},
        {"{\"phone_number\":\"1555000+1111\",\"user_id\":5}", NULL},
        {"{\"phone_number\":\"<b>15550001111\",\"user_id\":5}", NULL},
        {"{\"phone_number\":15550001111,\"user_id\":5}", NULL},
        {"[]", NULL},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct str body = arena_printf(
            &arena, "{\"update_id\":1,\"message\":{" OWN_CHAT "," FROM_ANN ",\"contact\":%s}}", numbers[i].contact);
        check_text(numbers[i].contact, profile_of(body.p).phone, numbers[i].phone);
    }
}

static void test_of_many_files_the_first_are_fetched(void **state)
{
    (void)state;
    struct buf body;
    buf_init(&body, SIZE_MAX / 2);
    buf_add_str(&body, STR("{\"update_id\":1,\"message\":{" CHAT ",\"paid_media\":{\"star_count\":1,\"paid_media\":["));
    for (int i = 0; i < 2 * ATTACHMENTS_MAX; i++)
        buf_printf(&body, "%s{\"type\":\"video\",\"video\":{\"file_id\":\"v%d\"}}", i ? "," : "", i);
    buf_add_str(&body, STR("]}}}"));
    buf_must(&body);
    struct str files = receive(buf_str(&body)).events->attachments;
    assert_int_equal(attachments_count(files, FILE_WANTED), FILES_MAX);
    assert_int_equal(attachments_count(files, FILE_ELSEWHERE), ATTACHMENTS_MAX - FILES_MAX);
    buf_done(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_private_chat_tells_who_it_is, clean),
        cmocka_unit_test_teardown(test_nobody_else_is_taken_for_the_customer, clean),
        cmocka_unit_test_teardown(test_a_number_is_the_customers_where_they_share_their_own, clean),
        cmocka_unit_test_teardown(test_of_many_files_the_first_are_fetched, clean),
        cmocka_unit_test_teardown(test_every_sample_is_understood, clean),
        cmocka_unit_test_teardown(test_only_telegram_may_send, clean),
        cmocka_unit_test_teardown(test_without_any_secret_all_is_forged, clean),
        cmocka_unit_test_teardown(test_content_type_must_be_json, clean),
        cmocka_unit_test_teardown(test_what_is_no_update_is_malformed, clean),
        cmocka_unit_test_teardown(test_without_a_chat_it_is_told_where_its_person_writes, clean),
        cmocka_unit_test_teardown(test_odd_updates_become_lines, clean),
        cmocka_unit_test_teardown(test_addresses_stand_behind_their_words, clean),
        cmocka_unit_test_teardown(test_entities_that_fit_nothing_are_borne, clean),
        cmocka_unit_test_teardown(test_large_and_odd_texts_are_unchanged, clean),
        cmocka_unit_test_teardown(test_deep_and_broad_updates_are_borne, clean),
        cmocka_unit_test_teardown(test_what_answers_something_unknown_stands_by_itself, clean),
        cmocka_unit_test_teardown(test_a_press_is_answered_in_the_answer, clean),
        cmocka_unit_test_teardown(test_dates_out_of_range_are_now, clean),
        cmocka_unit_test_teardown(test_senders_have_names, clean),
        cmocka_unit_test_teardown(test_digest_tells_reused_ids_apart, clean),
        cmocka_unit_test_teardown(test_settings_are_checked, clean),
        cmocka_unit_test_teardown(test_identity_and_customer, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
