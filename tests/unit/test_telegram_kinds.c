// Everything that Telegram's description says an update or a message can hold: known to us, and shown to become what
// tests/data/telegram/kinds.json says. A member that a later description adds makes these tests fail until somebody
// decides what it means to an agent.
#include "support/unit.h"

#include <string.h>

#include "base/json.h"
#include "platform/telegram.h"
#include "support/plain_http.h"

#define NOW_US INT64_C(1700000000123456)

static struct arena arena;
static yyjson_doc *cases_doc, *description_doc;

static const struct source source = {.platform = STR("telegram"), .token = STR("110201543:x"), .secret = STR("s")};

static int begin(void **state)
{
    (void)state;
    cases_doc = json_read(plain_file(&arena, "tests/data/telegram/kinds.json"));
    description_doc = json_read(plain_file(&arena, "tests/contract/telegram-10.1.json"));
    return cases_doc && description_doc ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    yyjson_doc_free(cases_doc);
    yyjson_doc_free(description_doc);
    arena_done(&arena);
    return 0;
}

static yyjson_val *cases(const char *which)
{
    return yyjson_obj_get(yyjson_doc_get_root(cases_doc), which);
}

static struct str written(yyjson_val *value)
{
    size_t n = 0;
    char *text = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &n);
    struct str copy = arena_str(&arena, (struct str){text, n});
    free(text);
    return copy;
}

// `base` with the case's members in the place of its own.
static struct str message_of(yyjson_val *each)
{
    yyjson_val *says = yyjson_obj_get(each, "says"), *base = cases("base"), *key, *value;
    struct str text = written(says);
    size_t i, n;
    text.n--; // the bracket
    yyjson_obj_foreach(base, i, n, key, value)
    {
        if (!yyjson_obj_get(says, yyjson_get_str(key)))
            text = arena_printf(&arena, "%.*s,\"%s\":%.*s", STR_ARG(text), yyjson_get_str(key),
                                STR_ARG(written(value)));
    }
    return arena_printf(&arena, "%.*s}", STR_ARG(text));
}

static struct receipt receive(struct str kind, struct str value)
{
    static const struct http_header headers[] = {
        {STR("content-type"), STR("application/json")},
        {STR("x-telegram-bot-api-secret-token"), STR("s")},
    };
    struct str body = arena_printf(&arena, "{\"update_id\":5,\"%.*s\":%.*s}", STR_ARG(kind), STR_ARG(value));
    struct http_request request = {.method = STR("POST"), .headers = headers, .header_count = 2, .body = body};
    struct receipt receipt;
    platform_telegram.receive(&source, &request, NOW_US, &arena, &receipt);
    return receipt;
}

static void expect(yyjson_val *each, const char *what, struct str is, struct str should)
{
    if (!str_eq(is, should) || !is.p != !should.p)
        fail_msg("%.*s\n%s is     %.*s\nand not %.*s", STR_ARG(written(each)), what, STR_ARG(is), STR_ARG(should));
}

static struct str or_else(yyjson_val *each, const char *key, const char *otherwise)
{
    struct str said = json_get_str(each, key);
    return said.p ? said : str_of(otherwise);
}

static void check_event(yyjson_val *each, const struct receipt *receipt)
{
    yyjson_val *files = yyjson_obj_get(each, "files");
    struct str press = json_get_str(each, "press");
    if (receipt->kind != RECEIPT_OK || receipt->event_count != 1)
        fail_msg("%.*s: kind %d, %zu events", STR_ARG(written(each)), receipt->kind, receipt->event_count);
    const struct event *event = receipt->events;
    expect(each, "the text", event->text, json_get_str(each, "text"));
    expect(each, "the reason", str_of(reason_name(event->discard)), or_else(each, "discard", ""));
    expect(each, "what is attached", event->attachments, files ? written(files) : STR_NONE);
    expect(each, "the album", event->album, json_get_str(each, "album"));
    expect(each, "the answer", receipt->answer,
           press.p ? arena_printf(&arena, "{\"method\":\"answerCallbackQuery\",\"callback_query_id\":\"%.*s\"}",
                                  STR_ARG(press))
                   : STR_NONE);
    expect(each, "the thread before", event->migrated_from, json_get_str(each, "migrated_from"));
}

static void test_every_case_becomes_what_it_says(void **state)
{
    (void)state;
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(cases("messages"), i, n, each)
    {
        struct receipt receipt = receive(or_else(each, "kind", "message"), message_of(each));
        check_event(each, &receipt);
        yyjson_val *chat = yyjson_obj_get(yyjson_obj_get(each, "says"), "chat");
        struct str thread = chat ? written(yyjson_obj_get(chat, "id")) : STR("1111111");
        if (json_get_str(each, "conversation").p)
            thread = json_get_str(each, "conversation");
        expect(each, "the conversation", receipt.events->conversation, thread);
        expect(each, "the sender", receipt.events->sender_id, or_else(each, "sender", "1111111"));
    }
    yyjson_arr_foreach(cases("updates"), i, n, each)
    {
        struct receipt receipt = receive(json_get_str(each, "kind"), written(yyjson_obj_get(each, "value")));
        check_event(each, &receipt);
        expect(each, "the conversation", receipt.events->conversation, json_get_str(each, "conversation"));
    }
}

// The names of a type's members in the description, one after another.
static void each_member(const char *type, void (*check)(struct str name))
{
    yyjson_val *types = yyjson_obj_get(yyjson_doc_get_root(description_doc), "types"), *member;
    size_t i, n;
    yyjson_val *members = yyjson_obj_get(yyjson_obj_get(types, type), "fields");
    assert_true(yyjson_arr_size(members) > 20);
    yyjson_arr_foreach(members, i, n, member)
    {
        check(json_get_str(member, "name"));
    }
}

static bool has_case(const char *which, const char *key, struct str name)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(cases(which), i, n, each)
    {
        if (str_eq(or_else(each, key, "message"), name))
            return true;
    }
    return false;
}

static void check_message_member(struct str name)
{
    const char *why = NULL;
    enum telegram_use use = telegram_message_use(name, &why);
    if (use == TELEGRAM_UNKNOWN)
        fail_msg("Telegram's description of a message has %.*s: say in telegram_message.c what it means",
                 STR_ARG(name));
    assert_true(why && *why);
    if (!has_case("messages", "member", name))
        fail_msg("kinds.json has no message with %.*s", STR_ARG(name));
}

static void check_kind(struct str name)
{
    enum telegram_use use = telegram_kind_use(name, NULL);
    if (use == TELEGRAM_UNKNOWN)
        fail_msg("Telegram's description of an update has %.*s: say in telegram_kind.c what it means", STR_ARG(name));
    if (use != TELEGRAM_ENVELOPE && !has_case("updates", "kind", name) && !has_case("messages", "kind", name))
        fail_msg("kinds.json has no update of the kind %.*s", STR_ARG(name));
}

static void test_every_member_of_the_description_is_known(void **state)
{
    (void)state;
    each_member("Message", check_message_member);
    each_member("Update", check_kind);
    assert_int_equal(telegram_message_use(STR("of_the_future"), NULL), TELEGRAM_UNKNOWN);
    assert_int_equal(telegram_kind_use(STR("of_the_future"), NULL), TELEGRAM_UNKNOWN);
}

static size_t asked_kinds;

static void check_asked(struct str name)
{
    bool asked;
    telegram_kind_use(name, &asked);
    struct str quoted = arena_printf(&arena, "\"%.*s\"", STR_ARG(name));
    assert_int_equal(asked, strstr(telegram_allowed_updates, quoted.p) != NULL);
    asked_kinds += asked;
}

static void test_what_is_asked_for_is_what_the_table_says(void **state)
{
    (void)state;
    asked_kinds = 0;
    each_member("Update", check_asked);
    yyjson_doc *list = json_read(str_of(telegram_allowed_updates));
    assert_int_equal(yyjson_arr_size(yyjson_doc_get_root(list)), asked_kinds);
    yyjson_doc_free(list);
}

// A value of a wrong type at any member: no crash, one event, a text.
static const char *const wrong[] = {
    "null", "true",     "-1", "1e300", "18446744073709551615", "\"\"", "\"a\\u0000b\"", "[]", "[null,1,\"x\",[],{}]",
    "{}",   "{\"\":{}}"};

static void check_wrong_types(struct str name)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct str value = arena_printf(&arena, "{\"%.*s\":%s,\"chat\":{\"id\":5},\"date\":1}", STR_ARG(name),
                                        wrong[i]);
        struct receipt receipt = receive(STR("message"), value);
        if (str_eq_c(name, "chat") && receipt.kind == RECEIPT_MALFORMED)
            continue;
        if (receipt.kind != RECEIPT_OK || receipt.event_count != 1 || !receipt.events->text.p)
            fail_msg("%.*s: kind %d, %zu events", STR_ARG(value), receipt.kind, receipt.event_count);
        assert_true(str_is_utf8(receipt.events->text));
        assert_int_equal(str_index(receipt.events->text, 0, 0), receipt.events->text.n);
    }
}

static void check_wrong_kind(struct str name)
{
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct receipt receipt = receive(name, str_of(wrong[i]));
        bool needs_chat = telegram_kind_is_message(name);
        if (str_eq_c(name, "update_id"))
            continue;
        assert_int_equal(receipt.kind, needs_chat ? RECEIPT_MALFORMED : RECEIPT_OK);
        assert_int_equal(receipt.event_count, needs_chat ? 0 : 1);
        if (!needs_chat) {
            assert_str(receipt.events->conversation, "nobody");
            assert_int_not_equal(receipt.events->discard, REASON_NONE);
        }
    }
}

static void test_wrong_types_anywhere_are_borne(void **state)
{
    (void)state;
    each_member("Message", check_wrong_types);
    each_member("Update", check_wrong_kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_case_becomes_what_it_says),
        cmocka_unit_test(test_every_member_of_the_description_is_known),
        cmocka_unit_test(test_what_is_asked_for_is_what_the_table_says),
        cmocka_unit_test(test_wrong_types_anywhere_are_borne),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
