// A change by hand becomes a definition: what is said, merged with what there is, read by the reader of the file.
#include "app/account_change.h"
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

struct trial {
    struct admin_change change;
    struct arena arena;
    struct buf why;
    struct account *out;
    bool says_active;
    int err;
};

static void trial_done(struct trial *trial)
{
    account_unref(trial->out);
    buf_done(&trial->why);
    arena_done(&trial->arena);
}

static struct trial *make(struct trial *trial, enum admin_change_kind kind, const struct account *before,
                          const char *source, const char *body)
{
    *trial = (struct trial){0};
    buf_init(&trial->why, 1 << 16);
    trial->change = (struct admin_change){
        .kind = kind, .source = str_of(source), .body = str_of(body), .why = &trial->why, .arena = &trial->arena};
    trial->err = account_change_make(&trial->change, before, &trial->out, &trial->says_active);
    return trial;
}

static const char whole[] =
    "{\"name\":\"acme\",\"order\":\"conversation\",\"in_doubt\":\"hold\",\"identity\":\"phone\",\"active\":false,"
    "\"sources\":[{\"name\":\"bot\",\"platform\":\"telegram\",\"token\":\"123456:secret-token\",\"take_over\":true},"
    "{\"name\":\"hook\",\"platform\":\"webhook\",\"secret\":\"none\"}],"
    "\"desk\":{\"platform\":\"intercom\",\"token\":\"dG9rZW4\",\"client_secret\":\"c5\",\"rate\":\"150/s\"}}";

static struct account *stored(void)
{
    struct trial trial;
    make(&trial, CHANGE_ACCOUNT_ADD, NULL, "", whole);
    if (trial.err)
        print_message("# %s\n", trial.why.p);
    assert_int_equal(trial.err, ERR_OK);
    assert_str(trial.change.made, "acme");
    struct account *account = account_copy(trial.out);
    account->id = 7;
    for (size_t i = 0; i < account->source_count; i++) {
        account->sources[i].id = 70 + (int64_t)i;
        account->sources[i].made_secret = STR("made");
        account->sources[i].registered_url = STR("https://r.example/");
    }
    trial_done(&trial);
    return account;
}

static void test_definition_is_read_whole(void **state)
{
    (void)state;
    struct account *a = stored();
    assert_false(a->active);
    assert_int_equal(a->order, ORDER_CONVERSATION);
    assert_int_equal(a->in_doubt, IN_DOUBT_HOLD);
    assert_int_equal(a->identity, IDENTITY_PHONE);
    assert_int_equal(a->on_failure, ON_FAILURE_SKIP);
    assert_null(a->defined_at.p);
    assert_int_equal(a->source_count, 2);
    assert_str(a->sources[0].token, "123456:secret-token");
    assert_str(a->sources[0].api_url, "https://api.telegram.org");
    assert_true(a->sources[0].take_over);
    assert_str(a->sources[1].account, "acme");
    assert_int_equal(a->desk.rate_per_min, 9000);
    account_unref(a);
}

// What is written and read again is the same: nothing said of it, nothing changed.
static void test_empty_patch_changes_nothing(void **state)
{
    (void)state;
    struct account *a = stored();
    struct trial trial;
    a->left_file = true;
    a->defined_at = STR("t.yaml:1");
    make(&trial, CHANGE_ACCOUNT, a, "", "{}");
    assert_int_equal(trial.err, ERR_OK);
    assert_false(trial.says_active);
    const struct account *b = trial.out;
    assert_false(b->active);
    assert_false(b->left_file); // it is the hand's now
    assert_null(b->defined_at.p);
    assert_int_equal(b->id, 7);
    assert_int_equal(b->order, a->order);
    assert_int_equal(b->in_doubt, a->in_doubt);
    assert_int_equal(b->identity, a->identity);
    assert_int_equal(b->source_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(b->sources[i].id, a->sources[i].id);
        assert_true(str_eq(b->sources[i].token, a->sources[i].token));
        assert_true(str_eq(b->sources[i].secret, a->sources[i].secret));
        assert_true(str_eq(b->sources[i].api_url, a->sources[i].api_url));
        assert_int_equal(b->sources[i].take_over, a->sources[i].take_over);
        assert_str(b->sources[i].made_secret, "made");
        assert_str(b->sources[i].registered_url, "https://r.example/");
    }
    assert_true(desk_identity(&a->desk) == desk_identity(&b->desk));
    assert_str(b->desk.client_secret, "c5");
    assert_int_equal(b->desk.rate_per_min, 9000);
    trial_done(&trial);
    account_unref(a);
}

static void test_patch_says_what_changes(void **state)
{
    (void)state;
    struct account *a = stored();
    struct trial trial;
    make(&trial, CHANGE_ACCOUNT, a, "", "{\"active\":true,\"in_doubt\":null,\"desk\":{\"rate\":null}}");
    assert_true(trial.says_active && trial.out->active);
    assert_int_equal(trial.out->in_doubt, IN_DOUBT_RESEND);
    assert_int_equal(trial.out->order, ORDER_CONVERSATION);
    assert_int_equal(trial.out->desk.rate_per_min, 0);
    assert_str(trial.out->desk.token, "dG9rZW4");
    trial_done(&trial);
    // the list of sources is given whole; what is not said of one that was there stays
    make(&trial, CHANGE_ACCOUNT, a, "", "{\"sources\":[{\"name\":\"bot\",\"mode\":\"polling\"}]}");
    assert_int_equal(trial.out->source_count, 1);
    assert_str(trial.out->sources[0].token, "123456:secret-token");
    assert_int_equal(trial.out->sources[0].mode, SOURCE_POLLING);
    trial_done(&trial);
    make(&trial, CHANGE_SOURCE, a, "bot", "{\"token\":\"654321:other-token\"}");
    assert_str(trial.out->sources[0].token, "654321:other-token");
    assert_true(trial.out->sources[0].take_over);
    assert_null(trial.out->sources[0].registered_url.p); // that was another bot's
    assert_str(trial.out->sources[1].name, "hook");
    trial_done(&trial);
    make(&trial, CHANGE_DESK, a, "", "{\"token\":\"bmV3\"}");
    assert_str(trial.out->desk.token, "bmV3");
    assert_str(trial.out->desk.client_secret, "c5");
    trial_done(&trial);
    make(&trial, CHANGE_DESK_SET, a, "", "{\"platform\":\"intercom\",\"token\":\"bmV3\"}");
    assert_null(trial.out->desk.client_secret.p);
    trial_done(&trial);
    make(&trial, CHANGE_SOURCE_ADD, a, "", "{\"name\":\"third\",\"platform\":\"webhook\",\"secret\":\"none\"}");
    assert_int_equal(trial.out->source_count, 3);
    assert_str(trial.change.made, "third");
    trial_done(&trial);
    make(&trial, CHANGE_SOURCE_REMOVE, a, "bot", "");
    assert_int_equal(trial.out->source_count, 1);
    assert_str(trial.out->sources[0].name, "hook");
    trial_done(&trial);
    account_unref(a);
}

// A token of one platform is not sent to another.
static void test_another_platform_begins_anew(void **state)
{
    (void)state;
    struct account *a = stored();
    struct trial trial;
    make(
        &trial, CHANGE_DESK, a, "",
        "{\"platform\":\"webhook\",\"url\":\"http://d.example/\",\"secret\":\"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\"}");
    assert_int_equal(trial.err, ERR_OK);
    assert_null(trial.out->desk.token.p);
    assert_null(trial.out->desk.client_secret.p);
    assert_int_equal(trial.out->desk.rate_per_min, 0);
    trial_done(&trial);
    make(&trial, CHANGE_SOURCE, a, "bot", "{\"platform\":\"webhook\",\"secret\":\"none\"}");
    assert_int_equal(trial.err, ERR_OK);
    assert_null(trial.out->sources[0].token.p);
    assert_str(trial.out->sources[0].name, "bot");
    trial_done(&trial);
    account_unref(a);
}

static void assert_refused(enum admin_change_kind kind, const struct account *before, const char *source,
                           const char *body, int err, const char *part)
{
    struct trial trial;
    make(&trial, kind, before, source, body);
    if (trial.err != err || !trial.why.n || !strstr(trial.why.p, part))
        print_message("# %s: %d %s\n", body, trial.err, trial.why.n ? trial.why.p : "");
    assert_int_equal(trial.err, err);
    assert_true(trial.why.n && strstr(trial.why.p, part));
    assert_null(strstr(trial.why.p, "secret-token"));
    trial_done(&trial);
}

// One request must not keep the API's thread for long: what is looked for among all keys takes the square of them.
static void test_an_object_has_not_more_keys_than_any_definition(void **state)
{
    (void)state;
    struct account *a = stored();
    for (int keys = 1000; keys <= 1001; keys++) {
        struct buf body;
        buf_init(&body, 1 << 20);
        buf_add_str(&body, STR("{\"desk\":{\"k\":1"));
        for (int i = 1; i < keys; i++)
            buf_printf(&body, ",\"k%d\":%d", i, i);
        buf_add_str(&body, STR("}}"));
        assert_false(body.failed);
        assert_refused(CHANGE_ACCOUNT, a, "", body.p, ERR_INVALID,
                       keys > 1000 ? "has 1001 keys; no definition has more than 1000" : "desk.k: is no key");
        buf_done(&body);
    }
    account_unref(a);
}

static void test_what_is_wrong_is_told(void **state)
{
    static const struct {
        enum admin_change_kind kind;
        const char *source, *body;
        int err;
        const char *part;
    } wrong[] = {
        {CHANGE_ACCOUNT, "", "{\"name\":\"zenith\"}", ERR_INVALID, "name: cannot be changed"},
        {CHANGE_ACCOUNT, "", "{\"orders\":\"account\"}", ERR_INVALID,
         "orders: is no key of an account; did you mean order?"},
        {CHANGE_ACCOUNT, "", "{\"order\":\"account\",\"order\":\"conversation\"}", ERR_INVALID,
         "order: stands there twice"},
        {CHANGE_ACCOUNT, "", "{\"desk\":{\"rate\":\"1/s\",\"rate\":\"2/s\"}}", ERR_INVALID, "rate: stands there twice"},
        {CHANGE_ACCOUNT, "", "{\"desk\":null}", ERR_INVALID, "desk: is missing"},
        {CHANGE_ACCOUNT, "", "{\"desk\":[]}", ERR_INVALID, "desk"},
        {CHANGE_ACCOUNT, "", "{\"sources\":[]}", ERR_INVALID, "sources: is empty"},
        {CHANGE_ACCOUNT, "", "{\"sources\":[7]}", ERR_INVALID, "no object"},
        {CHANGE_ACCOUNT, "", "{\"sources\":{}}", ERR_INVALID,
         "sources: is an object; write a list, its entries between [ and ]"},
        {CHANGE_ACCOUNT, "", "{\"sources\":7}", ERR_INVALID,
         "sources: is a single value; write a list, its entries between [ and ]"},
        {CHANGE_ACCOUNT, "", "{\"desk\":7}", ERR_INVALID,
         "desk: is a single value; write an object, its keys between { and }"},
        {CHANGE_ACCOUNT, "", "{\"desk\":[]}", ERR_INVALID,
         "desk: is a list; write an object, its keys between { and }"},
        {CHANGE_ACCOUNT, "", "{\"order\":{}}", ERR_INVALID, "order: is an object; write a single value"},
        {CHANGE_SOURCE_ADD, "", "{\"name\":\"more\",\"platform\":\"webhook\",\"secret\":\"none\",\"mode\":\"polling\"}",
         ERR_INVALID,
         "sources.mode: belongs to platform telegram, not to webhook, which has name, platform, secret, api_url"},
        {CHANGE_ACCOUNT, "", "{\"active\":1}", ERR_INVALID, "active: \"1\" is neither true nor false"},
        {CHANGE_ACCOUNT, "", "[[[[[[[[[[]]]]]]]]]]", ERR_INVALID, "JSON object"},
        {CHANGE_ACCOUNT, "", "{\"a\":[[[[[[[[[[]]]]]]]]]]}", ERR_INVALID, "too deep"},
        {CHANGE_SOURCE_ADD, "", "{\"name\":\"bot\",\"platform\":\"telegram\"}", ERR_REFUSED, "already"},
        {CHANGE_SOURCE_ADD, "", "{\"platform\":\"telegram\",\"token\":\"1:x\"}", ERR_INVALID,
         "sources.name: is missing"},
        {CHANGE_SOURCE_ADD, "", "{\"name\":\"more\",\"platform\":\"telegram\",\"token\":\"123456:secret-token\"}",
         ERR_INVALID, "same bot or number as source acme/bot before it"},
        {CHANGE_SOURCE, "nobody", "{}", ERR_NOT_FOUND, "no source"},
        {CHANGE_SOURCE, "bot", "{\"name\":\"other\"}", ERR_INVALID, "sources.name: cannot be changed"},
        {CHANGE_SOURCE, "bot", "{\"name\":6}", ERR_INVALID, "sources.name: is no text; write it in quotes"},
        {CHANGE_SOURCE_ADD, "", "{\"name\":5,\"platform\":\"webhook\",\"secret\":\"none\"}", ERR_INVALID,
         "sources.name: is no text"},
        {CHANGE_ACCOUNT, "", "{\"sources\":[{\"name\":true,\"platform\":\"webhook\",\"secret\":\"none\"}]}",
         ERR_INVALID, "sources.name: is no text"},
        {CHANGE_ACCOUNT_ADD, "", "{\"name\":5}", ERR_INVALID, "name: is no text"},
        {CHANGE_SOURCE, "bot", "{\"token\":\"secret-token with blanks\"}", ERR_INVALID, "sources.token"},
        {CHANGE_SOURCE_REMOVE, "nobody", "", ERR_NOT_FOUND, "no source"},
        {CHANGE_DESK, "", "{\"probe\":\"head\"}", ERR_INVALID, "desk.probe: belongs to platform webhook"},
        {CHANGE_DESK_SET, "", "{\"platform\":\"intercom\"}", ERR_INVALID, "desk: "},
        {CHANGE_DESK, "", "{\"listen\":\"x\"}", ERR_INVALID, "belongs to the top of the file"},
    };
    (void)state;
    struct account *a = stored();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_refused(wrong[i].kind, a, wrong[i].source, wrong[i].body, wrong[i].err, wrong[i].part);
    a->source_count = 1;
    assert_refused(CHANGE_SOURCE_REMOVE, a, "bot", "", ERR_REFUSED, "only source");
    account_unref(a);
}

static void test_texts_are_taken_as_they_are(void **state)
{
    (void)state;
    struct account *a = stored();
    struct trial trial;
    static const char *const plain[] = {"${HOME}", "null", "~",       "true",    "1e5",
                                        "*alias",  "!tag", "&anchor", "'quote'", "a/b"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"token\":\"%s\"}", plain[i]);
        make(&trial, CHANGE_DESK, a, "", body);
        assert_int_equal(trial.err, ERR_OK);
        assert_str(trial.out->desk.token, plain[i]);
        trial_done(&trial);
    }
    static const char *const odd[] = {"\\u0000", "\\u0007",        "\\u007f", "\\u0085",
                                      "\\ufffe", "\\ud83d\\ude00", "a b",     ""};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"token\":\"%s\"}", odd[i]);
        make(&trial, CHANGE_DESK, a, "", body);
        assert_int_equal(trial.err, ERR_INVALID);
        assert_true(trial.why.n > 0);
        trial_done(&trial);
    }
    account_unref(a);
}

static void test_the_file_is_changed_in_the_file(void **state)
{
    (void)state;
    struct account *a = stored();
    struct buf why;
    buf_init(&why, 1000);
    assert_int_equal(account_change_allowed(a, &why), ERR_OK);
    a->defined_at = STR("t.yaml:3");
    assert_int_equal(account_change_allowed(a, &why), ERR_REFUSED);
    assert_non_null(strstr(why.p, "defined in t.yaml:3"));
    a->left_file = true;
    assert_int_equal(account_change_allowed(a, &why), ERR_OK);
    buf_done(&why);
    account_unref(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition_is_read_whole),
        cmocka_unit_test(test_empty_patch_changes_nothing),
        cmocka_unit_test(test_patch_says_what_changes),
        cmocka_unit_test(test_another_platform_begins_anew),
        cmocka_unit_test(test_an_object_has_not_more_keys_than_any_definition),
        cmocka_unit_test(test_what_is_wrong_is_told),
        cmocka_unit_test(test_texts_are_taken_as_they_are),
        cmocka_unit_test(test_the_file_is_changed_in_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
