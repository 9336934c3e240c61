// Standard Webhooks: the published vectors, and every way in which a request is not what it says.
#include "support/unit.h"

#include <stdio.h>
#include <string.h>

#include "model/webhook_signature.h"

static const struct vector {
    const char *secret, *id;
    int64_t timestamp_s;
    const char *body, *signature;
} vectors[] = {
    {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, "{\"test\": 2432232314}",
     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
    {"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553,
     "{\"email\":\"test@example.com\",\"username\":\"test_user\"}", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
    {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "msg_0001", 1700000000, "{\"type\":\"ping\"}",
     "v1,K9ob0G3GILE19pbMnhQXu29VS2iSf2oPWmbLX7xUUUU="},
};

static void test_vectors_sign_and_verify(void **state)
{
    (void)state;
    struct arena arena = {0};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        assert_null(webhook_secret_trouble(str_of(v->secret)));
        assert_str(webhook_sign(&arena, str_of(v->secret), str_of(v->id), v->timestamp_s, str_of(v->body)),
                   v->signature);
        struct str timestamp = arena_printf(&arena, "%lld", (long long)v->timestamp_s);
        assert_true(webhook_verify(str_of(v->secret), str_of(v->id), timestamp, str_of(v->signature), str_of(v->body),
                                   v->timestamp_s));
    }
    arena_done(&arena);
}

// A thread keeps contexts with the keys of secrets in them: each signature is its own secret's, whatever was signed before.
static void test_each_secret_signs_with_its_own_key(void **state)
{
    (void)state;
    enum { SECRETS = 300, ROUNDS = 3 };
    struct arena arena = {0};
    struct str signatures[SECRETS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SECRETS; i++) {
            struct str secret = arena_printf(&arena, "whsec_%032d", i);
            struct str signature = webhook_sign(&arena, secret, STR("id"), 1700000000, STR("body"));
            assert_true(webhook_verify(secret, STR("id"), STR("1700000000"), signature, STR("body"), 1700000000));
            if (round)
                assert_true(str_eq(signature, signatures[i]));
            for (int other = 0; other < i; other++)
                assert_false(str_eq(signature, signatures[other]));
            signatures[i] = signature;
        }
        for (size_t i = 0; i < 2 * (sizeof vectors / sizeof *vectors); i++) {
            const struct vector *v = &vectors[i / 2];
            assert_str(webhook_sign(&arena, str_of(v->secret), str_of(v->id), v->timestamp_s, str_of(v->body)),
                       v->signature);
        }
    }
    arena_done(&arena);
}

// The first vector with one thing changed.
static bool verify_with(const char *id, const char *timestamp, const char *signature, const char *body, int64_t now_s)
{
    return webhook_verify(str_of(vectors[0].secret), str_of(id), str_of(timestamp), str_of(signature), str_of(body),
                          now_s);
}

#define ID vectors[0].id
#define AT "1614265330"
#define NOW 1614265330
#define SIG "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define BODY vectors[0].body

static void test_tolerance_is_five_minutes_both_ways(void **state)
{
    (void)state;
    assert_true(verify_with(ID, AT, SIG, BODY, NOW + 300));
    assert_true(verify_with(ID, AT, SIG, BODY, NOW - 300));
    assert_false(verify_with(ID, AT, SIG, BODY, NOW + 301));
    assert_false(verify_with(ID, AT, SIG, BODY, NOW - 301));
}

static void test_one_right_entry_of_many_suffices(void **state)
{
    (void)state;
    static const char wrong[] = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,ignored";
    char list[300];
    snprintf(list, sizeof list, "%s", wrong);
    assert_false(verify_with(ID, AT, list, BODY, NOW));
    snprintf(list, sizeof list, "%s  %s", wrong, SIG);
    assert_true(verify_with(ID, AT, list, BODY, NOW));
    snprintf(list, sizeof list, "%s %s", SIG, wrong);
    assert_true(verify_with(ID, AT, list, BODY, NOW));
}

static void test_forged_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *id, *timestamp, *signature, *body;
    } rows[] = {
        {NULL, AT, SIG, NULL},
        {"", AT, SIG, NULL},
        {"msg_other", AT, SIG, NULL},
        {"msg.dot", AT, SIG, NULL},
        {"=", NULL, SIG, NULL},
        {"=", "", SIG, NULL},
        {"=", "hello", SIG, NULL},
        {"=", "1614265331", SIG, NULL},
        {"=", "-1614265330", SIG, NULL},
        {"=", "1614265330.0", SIG, NULL},
        {"=", "99999999999999999999", SIG, NULL},
        {"=", "-9223372036854775808", SIG, NULL},
        {"=", "9223372036854775807", SIG, NULL},
        {"=", AT, NULL, NULL},
        {"=", AT, "", NULL},
        {"=", AT, "v1,", NULL},
        {"=", AT, "v1", NULL},
        {"=", AT, ",", NULL},
        {"=", AT, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", NULL},
        {"=", AT, "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", NULL},
        {"=", AT, "V1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", NULL},
        {"=", AT, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE", NULL},
        {"=", AT, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=A", NULL},
        {"=", AT, "v1,G0HM9SSE+OTPJTGT/TMIKTSYZLE3UFJELVLNIOLJ1OE=", NULL},
        {"=", AT, "v1,83484cf52b04f8e4cf2531adfed9882ad4b2665137b852442d594d20e2c9d4e1", NULL},
        {"=", AT, SIG, "{\"test\":2432232314}"},
        {"=", AT, SIG, "{\"test\": 2432232314}\n"},
        {"=", AT, SIG, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *id = rows[i].id && strcmp(rows[i].id, "=") == 0 ? ID : rows[i].id;
        if (verify_with(id, rows[i].timestamp, rows[i].signature, rows[i].body ? rows[i].body : BODY, NOW))
            fail_msg("row %zu passed", i);
    }
}

static void test_id_with_a_dot_is_refused_even_when_signed(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct str secret = str_of(vectors[0].secret);
    struct str signature = webhook_sign(&arena, secret, STR("a.5"), 5, STR("{}"));
    assert_false(webhook_verify(secret, STR("a.5"), STR("5"), signature, STR("{}"), 5));
    // What it could be passed off as.
    assert_false(webhook_verify(secret, STR("a"), STR("5"), signature, STR("{}"), 5));
    arena_done(&arena);
}

static void test_no_secret_verifies_nothing(void **state)
{
    (void)state;
    // Signed with a key of no bytes.
    assert_false(webhook_verify(STR("whsec_"), STR("m"), STR("5"),
                                STR("v1,txkJshvxWbmCBrs2xDYN9gyZpuQJ+r5TSmxR/hR9Hco="), STR("{}"), 5));
    static const char *const secrets[] = {NULL,
                                          "",
                                          "whsec_",
                                          "none",
                                          "whsec_*",
                                          "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                          "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"};
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++)
        assert_false(webhook_verify(str_of(secrets[i]), str_of(ID), STR(AT), STR(SIG), str_of(BODY), NOW));
}

static void test_body_may_hold_any_byte(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct str secret = str_of(vectors[0].secret), body = {"a\0b\xFF", 4};
    struct str signature = webhook_sign(&arena, secret, STR("m"), 5, body);
    assert_true(webhook_verify(secret, STR("m"), STR("5"), signature, body, 5));
    assert_false(webhook_verify(secret, STR("m"), STR("5"), signature, STR("a"), 5));
    arena_done(&arena);
}

static void test_secrets_are_checked(void **state)
{
    (void)state;
    // 24 and 64 bytes, with and without padding.
    assert_null(webhook_secret_trouble(STR("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")));
    assert_null(webhook_secret_trouble(STR("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA==")));
    assert_null(webhook_secret_trouble(STR("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA")));
    assert_null(webhook_secret_trouble(
        STR("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHw==")));
    static const char *const bad[] = {
        NULL,
        "",
        "whsec_",
        "hello",
        "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXG",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY!",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFR X",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX====",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHwAB",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!webhook_secret_trouble(str_of(bad[i])))
            fail_msg("secret %zu passed", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors_sign_and_verify),
        cmocka_unit_test(test_each_secret_signs_with_its_own_key),
        cmocka_unit_test(test_tolerance_is_five_minutes_both_ways),
        cmocka_unit_test(test_one_right_entry_of_many_suffices),
        cmocka_unit_test(test_forged_is_refused),
        cmocka_unit_test(test_id_with_a_dot_is_refused_even_when_signed),
        cmocka_unit_test(test_no_secret_verifies_nothing),
        cmocka_unit_test(test_body_may_hold_any_byte),
        cmocka_unit_test(test_secrets_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
