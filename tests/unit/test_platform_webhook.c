// The signed webhook as a source: what it takes, what it refuses, and with which words.
#include "support/unit.h"

#include <string.h>

#include "base/json.h"
#include "model/attachment.h"
#include "model/webhook_signature.h"
#include "platform/platform.h"
#include "support/plain_http.h"

#define SECRET "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define NOW_S 1700000000
#define NOW_US (NOW_S * INT64_C(1000000))

static struct arena arena;
static const struct source signed_source = {.name = STR("site"), .platform = STR("webhook"), .secret = STR(SECRET)};
static const struct source open_source = {.name = STR("open"), .platform = STR("webhook"), .secret = STR("none")};

static int clean(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct receipt receive(const struct source *source, const char *const *header_pairs, struct str body)
{
    struct plain_headers headers = plain_headers_of(header_pairs);
    struct http_request request = {
        .method = STR("POST"), .headers = headers.list, .header_count = headers.count, .body = body};
    struct receipt receipt;
    platform_webhook.receive(source, &request, NOW_US, &arena, &receipt);
    return receipt;
}

static struct receipt receive_open(struct str body)
{
    return receive(&open_source, (const char *const[]){"Content-Type", "application/json", NULL}, body);
}

static struct receipt receive_signed(const char *secret, int64_t at_s, struct str body)
{
    struct str at = arena_printf(&arena, "%lld", (long long)at_s);
    struct str signature = webhook_sign(&arena, str_of(secret), STR("evt_1"), at_s, body);
    const char *pairs[] = {"content-type",
                           "application/json; charset=utf-8",
                           "Webhook-Id",
                           "evt_1",
                           "WEBHOOK-TIMESTAMP",
                           at.p,
                           "webhook-signature",
                           signature.p,
                           NULL};
    return receive(&signed_source, pairs, body);
}

#define PLAIN                                                                                                          \
    "{\"id\":\"m1\",\"conversation\":\"c1\",\"sender\":{\"id\":\"s1\",\"name\":\"Ann\"},\"text\":\"hi "                \
    "\xF0\x9F\x98\x80\\n\\u00e9\"}"

static void test_plain_message_is_taken(void **state)
{
    (void)state;
    struct receipt receipt = receive_signed(SECRET, NOW_S, STR(PLAIN));
    assert_int_equal(receipt.kind, RECEIPT_OK);
    assert_int_equal(receipt.event_count, 1);
    const struct event *event = receipt.events;
    assert_str(event->dedupe_key, "m1");
    assert_int_equal(event->digest, 0);
    assert_str(event->conversation, "c1");
    assert_null(event->conversation_name.p);
    assert_str(event->sender_id, "s1");
    assert_str(event->sender_name, "Ann");
    assert_str(event->text, "hi \xF0\x9F\x98\x80\n\xC3\xA9");
    assert_null(event->attachments.p);
    assert_int_equal(event->sent_at_us, NOW_US);
}

static void test_everything_optional_is_taken(void **state)
{
    (void)state;
    struct receipt receipt = receive_open(
        STR("{\"id\":\"m1\",\"conversation\":\"c1\",\"sender\":{\"id\":\"s1\",\"x\":1,\"x\":2},\"text\":\"\","
            "\"sent_at\":\"2026-11-22T14:00:35.5+01:00\",\"attachments\":[{\"url\":\"https://a/b\"},{\"kind\":"
            "\"image\",\"url\":\"http://a/c.png\",\"name\":\"c\\\"\",\"mime\":\"image/png\",\"size\":7,\"more\":{}}],"
            "\"unknown\":[1e9]}"));
    assert_int_equal(receipt.kind, RECEIPT_OK);
    assert_null(receipt.events->sender_name.p);
    assert_str(receipt.events->text, "");
    assert_int_equal(receipt.events->sent_at_us, INT64_C(1795352435500000));
    assert_str(
        receipt.events->attachments,
        "[{\"kind\":\"file\",\"url\":\"https://a/b\",\"name\":null,\"mime\":null,\"size\":null,\"state\":\"wanted\"},"
        "{\"kind\":\"image\",\"url\":\"http://a/c.png\",\"name\":\"c\\\"\",\"mime\":\"image/png\",\"size\":7,"
        "\"state\":\"wanted\"}]");
    receipt = receive_open(STR("{\"id\":\"m\",\"conversation\":\"c\",\"sender\":{\"id\":\"s\"},\"attachments\":[{"
                               "\"url\":\"https://a\"}],\"sent_at\":null}"));
    assert_int_equal(receipt.kind, RECEIPT_OK);
    assert_str(receipt.events->text, "");
}

#define OF(sender) "{\"id\":\"m\",\"conversation\":\"c\",\"text\":\"t\",\"sender\":{\"id\":\"s\"," sender "}}"

static struct str profile_of(const char *body)
{
    struct receipt receipt = receive_open(str_of(body));
    if (receipt.kind != RECEIPT_OK)
        fail_msg("%s: %.*s", body, STR_ARG(receipt.why));
    return profile_write(&receipt.events->profile, &arena);
}

static void test_who_sends_is_known_as_far_as_they_say(void **state)
{
    (void)state;
    assert_str(profile_of(OF("\"name\":\"Ann\",\"username\":\"ann\",\"language\":\"de\",\"phone\":\"+15550001111\","
                             "\"email\":\"ann@example.com\"")),
               "{\"name\":\"Ann\",\"username\":\"ann\",\"language\":\"de\",\"phone\":\"+15550001111\","
               "\"email\":\"ann@example.com\"}");
    assert_str(profile_of(OF("\"phone\":\"+12345\",\"email\":null")), "{\"phone\":\"+12345\"}");
    assert_str(profile_of(OF("\"name\":\"Ann\",\"email\":\"a@b\"")), "{\"name\":\"Ann\",\"email\":\"a@b\"}");
    // A name alone says nothing of whose conversation it is.
    assert_null(profile_of(OF("\"name\":\"Ann\"")).p);
    assert_null(profile_of(OF("\"name\":\"Ann\",\"username\":null,\"phone\":null")).p);
}

static void test_who_sends_is_refused_with_words(void **state)
{
    (void)state;
    static const char phone[] = "sender.phone must be + and 5 to 15 digits",
                      email[] = "sender.email must be an address";
    static const struct {
        const char *body, *why;
    } rows[] = {
        {OF("\"username\":7"), "sender.username must be a text"},
        {OF("\"username\":\"a\\nb\""), "sender.username must not hold control characters"},
        {OF("\"username\":\"a\\u0000\""), "sender.username must not hold a NUL"},
        {OF("\"language\":[]"), "sender.language must be a text"},
        {OF("\"phone\":15550001111"), "sender.phone must be a text"},
        {OF("\"phone\":\"\""), phone},
        {OF("\"phone\":\"+\""), phone},
        {OF("\"phone\":\"+1234\""), phone},
        {OF("\"phone\":\"15550001111\""), phone},
        {OF("\"phone\":\"+1555000111x\""), phone},
        {OF("\"phone\":\"+1 555 000 1111\""), phone},
        {OF("\"phone\":\"+1234567890123456\""), phone},
        {OF("\"email\":false"), "sender.email must be a text"},
        {OF("\"email\":\"\""), email},
        {OF("\"email\":\"ann\""), email},
        {OF("\"email\":\"@b\""), email},
        {OF("\"email\":\"a@\""), email},
        {OF("\"email\":\"a@b@c\""), email},
        {OF("\"email\":\"a b@c\""), email},
        {OF("\"email\":\"a@b\\n\""), email},
        {OF("\"phone\":\"+15550001111\",\"phone\":\"+15550001112\""), "phone stands twice"},
        {OF("\"email\":\"a@b\",\"email\":\"a@b\""), "email stands twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct receipt receipt = receive_open(str_of(rows[i].body));
        if (receipt.kind != RECEIPT_MALFORMED || !plain_contains(receipt.why, rows[i].why))
            fail_msg("%s: kind %d, %.*s", rows[i].body, receipt.kind, STR_ARG(receipt.why));
    }
    static const struct {
        const char *key;
        size_t most;
    } lengths[] = {{"username", 256}, {"language", 256}, {"email", 254}};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t n = lengths[i].most; n <= lengths[i].most + 1; n++) {
            char text[300];
            memset(text, 'x', sizeof text);
            text[1] = strcmp(lengths[i].key, "email") == 0 ? '@' : 'x';
            struct str body = arena_printf(&arena, OF("\"%s\":\"%.*s\""), lengths[i].key, (int)n, text);
            struct receipt receipt = receive_open(body);
            assert_int_equal(receipt.kind, n == lengths[i].most ? RECEIPT_OK : RECEIPT_MALFORMED);
        }
}

static void test_signature_is_asked_for(void **state)
{
    (void)state;
    struct str body = STR(PLAIN);
    assert_int_equal(receive_signed(SECRET, NOW_S - 300, body).kind, RECEIPT_OK);
    assert_int_equal(receive_signed(SECRET, NOW_S - 301, body).kind, RECEIPT_UNTIMELY);
    assert_int_equal(receive_signed(SECRET, NOW_S + 301, body).kind, RECEIPT_UNTIMELY);
    assert_int_equal(receive_signed("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", NOW_S, body).kind, RECEIPT_FORGED);
    // Unsigned, and unsigned nonsense: what is wrong inside is told to nobody who cannot sign.
    const char *const plain[] = {"content-type", "application/json", NULL};
    assert_int_equal(receive(&signed_source, plain, body).kind, RECEIPT_FORGED);
    assert_int_equal(receive(&signed_source, plain, STR("{")).kind, RECEIPT_FORGED);
    struct source no_secret = {.platform = STR("webhook")};
    struct receipt receipt = receive(&no_secret, plain, body);
    assert_int_equal(receipt.kind, RECEIPT_FORGED);
    assert_true(plain_contains(receipt.why, "no secret"));
}

// A right signature at a wrong time is told from a forged one: it says that a clock is wrong.
static void test_line_23_timestamps(void **state)
{
    (void)state;
    static const struct {
        int64_t at_s;
        enum receipt_kind kind;
    } rows[] = {
        {NOW_S, RECEIPT_OK},
        {NOW_S - 300, RECEIPT_OK},
        {NOW_S + 300, RECEIPT_OK},
        {NOW_S - 301, RECEIPT_UNTIMELY},
        {NOW_S + 301, RECEIPT_UNTIMELY},
        {NOW_S - 600, RECEIPT_UNTIMELY},
        {0, RECEIPT_UNTIMELY},
        {-NOW_S, RECEIPT_UNTIMELY},
        {INT64_MAX, RECEIPT_UNTIMELY},
        {INT64_MIN + NOW_S, RECEIPT_UNTIMELY},
        {INT64_MIN, RECEIPT_FORGED}, // further than can be counted
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct receipt receipt = receive_signed(SECRET, rows[i].at_s, STR(PLAIN));
        assert_int_equal(receipt.kind, rows[i].kind);
        assert_int_equal(receipt.event_count, receipt.kind == RECEIPT_OK);
        if (receipt.kind == RECEIPT_UNTIMELY) {
            assert_true(receipt.ahead_s == rows[i].at_s - NOW_S);
            assert_true(plain_contains(receipt.why, "clock"));
        }
    }
    // With another secret nothing is said about clocks.
    assert_int_equal(receive_signed("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", NOW_S - 600, STR(PLAIN)).kind,
                     RECEIPT_FORGED);
}

static void test_each_header_must_stand_once(void **state)
{
    (void)state;
    struct str signature = webhook_sign(&arena, STR(SECRET), STR("e"), NOW_S, STR(PLAIN));
    const char *pairs[] = {"content-type",
                           "application/json",
                           "webhook-id",
                           "e",
                           "webhook-timestamp",
                           "1700000000",
                           "webhook-signature",
                           signature.p,
                           NULL,
                           NULL,
                           NULL};
    assert_int_equal(receive(&signed_source, pairs, STR(PLAIN)).kind, RECEIPT_OK);
    for (size_t twice = 2; twice < 8; twice += 2) {
        pairs[8] = pairs[twice];
        pairs[9] = pairs[twice + 1];
        assert_int_equal(receive(&signed_source, pairs, STR(PLAIN)).kind, RECEIPT_FORGED);
    }
    pairs[8] = NULL;
    for (size_t without = 2; without < 8; without += 2) {
        const char *name = pairs[without];
        pairs[without] = "x-other";
        assert_int_equal(receive(&signed_source, pairs, STR(PLAIN)).kind, RECEIPT_FORGED);
        pairs[without] = name;
    }
}

static void test_raw_bytes_decide(void **state)
{
    (void)state;
    struct str signature = webhook_sign(&arena, STR(SECRET), STR("e"), NOW_S, STR(PLAIN));
    const char *pairs[] = {"content-type", "application/json",  "webhook-id", "e", "webhook-timestamp",
                           "1700000000",   "webhook-signature", signature.p,  NULL};
    // The same JSON value in other bytes.
    struct str other = STR("{\"id\":\"m1\",\"conversation\":\"c1\",\"sender\":{\"id\":\"s1\",\"name\":\"Ann\"},"
                           "\"text\":\"hi \\ud83d\\ude00\\n\\u00e9\"}");
    assert_int_equal(receive_open(other).kind, RECEIPT_OK);
    assert_int_equal(receive(&signed_source, pairs, other).kind, RECEIPT_FORGED);
}

static void test_content_type_must_be_json(void **state)
{
    (void)state;
    static const struct {
        const char *type, *coding;
        enum receipt_kind kind;
    } rows[] = {
        {"application/json", "identity", RECEIPT_OK},
        {"Application/JSON ; x=y", "", RECEIPT_OK},
        {"text/plain", "", RECEIPT_BAD_TYPE},
        {"", "", RECEIPT_BAD_TYPE},
        {"application/jsonp", "", RECEIPT_BAD_TYPE},
        {"application/json", "gzip", RECEIPT_BAD_TYPE},
        {"application/x-www-form-urlencoded", "", RECEIPT_BAD_TYPE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *pairs[] = {"content-type", rows[i].type, "content-encoding", rows[i].coding, NULL};
        assert_int_equal(receive(&open_source, pairs, STR(PLAIN)).kind, rows[i].kind);
    }
    assert_int_equal(receive(&open_source, (const char *const[]){NULL}, STR(PLAIN)).kind, RECEIPT_BAD_TYPE);
}

#define REST "\"conversation\":\"c\",\"sender\":{\"id\":\"s\"},\"text\":\"t\""
#define HEAD "\"id\":\"m\",\"conversation\":\"c\",\"sender\":{\"id\":\"s\"}"

static void test_malformed_is_refused_with_words(void **state)
{
    (void)state;
    static const struct {
        const char *body, *why;
    } rows[] = {
        {"", "empty"},
        {"{", "not JSON"},
        {"[]", "one JSON object"},
        {"null", "one JSON object"},
        {"\"text\"", "one JSON object"},
        {"{} {}", "not JSON"},
        {"\xEF\xBB\xBF{\"id\":\"m\"," REST "}", "not JSON"},
        {"{\"id\":\"m\"," REST "}x", "not JSON"},
        {"{\"id\":\"m\"," REST ",}", "not JSON"},
        {"{\"id\":\"m\"," REST ",\"n\":NaN}", "not JSON"},
        {"{\"id\":\"m\"," REST ",\"n\":1e400}", "not JSON"},
        {"{\"id\":\"m\"," REST ",\"n\":01}", "not JSON"},
        {"{\"id\":\"m\xFF\"," REST "}", "not JSON"},
        {"{\"id\":\"m\xED\xA0\x80\"," REST "}", "not JSON"},
        {"{\"id\":\"\\ud800\"," REST "}", "not JSON"},
        {"{\"id\":\"\\udc00x\"," REST "}", "not JSON"},
        {"{\"id\":\"a\\u0000b\"," REST "}", "NUL"},
        {"{" HEAD ",\"text\":\"a\\u0000\"}", "text must not hold a NUL"},
        {"{\"id\":\"a\\nb\"," REST "}", "control"},
        {"{\"id\":\"m\"," REST ",\"id\":\"n\"}", "id stands twice"},
        {"{\"id\":\"m\"," REST ",\"text\":\"u\"}", "text stands twice"},
        {"{" REST "}", "id must be a text"},
        {"{\"id\":\"\"," REST "}", "id must be a text of 1 to 256"},
        {"{\"id\":null," REST "}", "id must be a text"},
        {"{\"id\":7," REST "}", "id must be a text"},
        {"{\"id\":9007199254740993," REST "}", "id must be a text"},
        {"{\"id\":[\"m\"]," REST "}", "id must be a text"},
        {"{\"id\":\"m\",\"sender\":{\"id\":\"s\"},\"text\":\"t\"}", "conversation must be"},
        {"{\"id\":\"m\",\"conversation\":5,\"sender\":{\"id\":\"s\"},\"text\":\"t\"}", "conversation must be"},
        {"{\"id\":\"m\",\"conversation\":\"c\",\"text\":\"t\"}", "sender must be an object"},
        {"{\"id\":\"m\",\"conversation\":\"c\",\"sender\":\"s\",\"text\":\"t\"}", "sender must be an object"},
        {"{\"id\":\"m\",\"conversation\":\"c\",\"sender\":{\"name\":\"x\"},\"text\":\"t\"}", "sender.id must"},
        {"{\"id\":\"m\",\"conversation\":\"c\",\"sender\":{\"id\":\"s\",\"id\":\"t\"},\"text\":\"t\"}", "id stands"},
        {"{\"id\":\"m\",\"conversation\":\"c\",\"sender\":{\"id\":\"s\",\"name\":1},\"text\":\"t\"}", "sender.name"},
        {"{" HEAD "}", "text must be"},
        {"{" HEAD ",\"text\":null}", "text must be"},
        {"{" HEAD ",\"text\":{}}", "text must be"},
        {"{" HEAD ",\"attachments\":[]}", "text must be"},
        {"{\"id\":\"m\"," REST ",\"sent_at\":1700000000}", "sent_at must be a text"},
        {"{\"id\":\"m\"," REST ",\"sent_at\":\"yesterday\"}", "RFC 3339"},
        {"{\"id\":\"m\"," REST ",\"attachments\":{}}", "attachments must be a list"},
        {"{\"id\":\"m\"," REST ",\"attachments\":[\"a\"]}", "attachments must be a list of objects"},
        {"{\"id\":\"m\"," REST ",\"attachments\":[{}]}", "attachments.url"},
        {"{\"id\":\"m\"," REST ",\"attachments\":[{\"url\":\"file:///etc/passwd\"}]}", "attachments.url"},
        {"{\"id\":\"m\"," REST ",\"attachments\":[{\"url\":\"https://a\",\"size\":-1}]}", "attachments.size"},
        {"{\"id\":\"m\"," REST ",\"attachments\":[{\"url\":\"https://a\",\"size\":1.5}]}", "attachments.size"},
        {"{\"id\":\"m\"," REST ",\"attachments\":[{\"url\":\"https://a\",\"url\":\"https://b\"}]}", "url stands twice"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct receipt receipt = receive_open(str_of(rows[i].body));
        if (receipt.kind != RECEIPT_MALFORMED || !plain_contains(receipt.why, rows[i].why))
            fail_msg("%s: kind %d, %.*s", rows[i].body, receipt.kind, STR_ARG(receipt.why));
        assert_null(receipt.events);
    }
    assert_int_equal(receive_open((struct str){"{\0}", 3}).kind, RECEIPT_MALFORMED);
    assert_int_equal(receive_open(STR_NONE).kind, RECEIPT_MALFORMED);
}

// {"id":"<n times x>", ...}
static struct receipt receive_long(const char *field, size_t n)
{
    char *xs = arena_alloc(&arena, n + 1);
    memset(xs, 'x', n);
    struct str body = arena_printf(&arena,
                                   "{\"%s\":\"%s\",\"id%s\":\"m\",\"conversation%s\":\"c\",\"sender\":{\"id\":\"s\"},"
                                   "\"text%s\":\"t\"}",
                                   field, xs, strcmp(field, "id") == 0 ? "_" : "",
                                   strcmp(field, "conversation") == 0 ? "_" : "",
                                   strcmp(field, "text") == 0 ? "_" : "");
    return receive_open(body);
}

static void test_lengths_are_limited(void **state)
{
    (void)state;
    assert_int_equal(receive_long("id", 256).kind, RECEIPT_OK);
    assert_int_equal(receive_long("id", 257).kind, RECEIPT_MALFORMED);
    assert_int_equal(receive_long("conversation", 256).kind, RECEIPT_OK);
    assert_int_equal(receive_long("conversation", 257).kind, RECEIPT_MALFORMED);
    struct receipt receipt = receive_long("text", 3 << 20);
    assert_int_equal(receipt.kind, RECEIPT_OK);
    assert_int_equal(receipt.events->text.n, 3 << 20);
    char name[1026] = {0};
    memset(name, 'x', 1025);
    for (int n = 1024; n <= 1025; n++) {
        struct str body = arena_printf(&arena,
                                       "{\"id\":\"m\",\"conversation\":\"c\",\"text\":\"t\",\"sender\":{\"id\":\"s\","
                                       "\"name\":\"%.*s\"}}",
                                       n, name);
        receipt = receive_open(body);
        assert_int_equal(receipt.kind, n == 1024 ? RECEIPT_OK : RECEIPT_MALFORMED);
    }
    assert_true(plain_contains(receipt.why, "is too long"));
}

static void test_100_attachments_are_taken_and_101_are_not(void **state)
{
    (void)state;
    for (int count = 100; count <= 101; count++) {
        struct buf body;
        buf_init(&body, 1 << 20);
        struct json json = {.out = &body};
        json_open(&json, '{');
        json_key_str(&json, "id", STR("m"));
        json_key_str(&json, "conversation", STR("c"));
        json_key(&json, "sender");
        json_raw(&json, STR("{\"id\":\"s\"}"));
        json_key(&json, "attachments");
        json_open(&json, '[');
        for (int i = 0; i < count; i++)
            json_raw(&json, STR("{\"url\":\"https://a/b\"}"));
        json_close(&json, ']');
        json_close(&json, '}');
        struct receipt receipt = receive_open(buf_str(&body));
        assert_int_equal(receipt.kind, count == 100 ? RECEIPT_OK : RECEIPT_MALFORMED);
        if (count == 101) {
            assert_true(plain_contains(receipt.why, "must not be more than 100"));
        } else {
            struct attachment *files;
            assert_int_equal(attachments_read(receipt.events->attachments, &arena, &files), 100);
            assert_int_equal(attachments_count(receipt.events->attachments, FILE_WANTED), FILES_MAX);
            assert_int_equal(files[FILES_MAX - 1].state, FILE_WANTED);
            assert_int_equal(files[FILES_MAX].state, FILE_ELSEWHERE);
            assert_str(files[99].url, "https://a/b");
        }
        buf_done(&body);
    }
}

static void test_deep_nesting_is_harmless(void **state)
{
    (void)state;
    size_t depth = 100000;
    char *body = arena_alloc(&arena, 2 * depth + 100);
    memset(body, '[', depth);
    assert_int_equal(receive_open((struct str){body, depth}).kind, RECEIPT_MALFORMED);
    memset(body + depth, ']', depth);
    assert_int_equal(receive_open((struct str){body, 2 * depth}).kind, RECEIPT_MALFORMED);
}

static void test_settings_are_checked(void **state)
{
    (void)state;
    struct source source = {.platform = STR("webhook")};
    assert_non_null(platform_webhook.check(&source, &arena));
    source.secret = STR("none");
    assert_null(platform_webhook.check(&source, &arena));
    source.secret = STR("secret");
    assert_non_null(strstr(platform_webhook.check(&source, &arena), "whsec_"));
    source.secret = STR(SECRET);
    assert_null(platform_webhook.check(&source, &arena));
    assert_null(platform_webhook.identity(&source, &arena).p);
    assert_null(platform_webhook.keep);
    assert_ptr_equal(platform_find(STR("webhook")), &platform_webhook);
    assert_null(platform_find(STR("Webhook")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_plain_message_is_taken, clean),
        cmocka_unit_test_teardown(test_everything_optional_is_taken, clean),
        cmocka_unit_test_teardown(test_who_sends_is_known_as_far_as_they_say, clean),
        cmocka_unit_test_teardown(test_who_sends_is_refused_with_words, clean),
        cmocka_unit_test_teardown(test_signature_is_asked_for, clean),
        cmocka_unit_test_teardown(test_line_23_timestamps, clean),
        cmocka_unit_test_teardown(test_each_header_must_stand_once, clean),
        cmocka_unit_test_teardown(test_raw_bytes_decide, clean),
        cmocka_unit_test_teardown(test_content_type_must_be_json, clean),
        cmocka_unit_test_teardown(test_malformed_is_refused_with_words, clean),
        cmocka_unit_test_teardown(test_lengths_are_limited, clean),
        cmocka_unit_test_teardown(test_100_attachments_are_taken_and_101_are_not, clean),
        cmocka_unit_test_teardown(test_deep_nesting_is_harmless, clean),
        cmocka_unit_test_teardown(test_settings_are_checked, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
