// What is known of a customer, as JSON (model/message.h, struct profile).
#include "model/message.h"
#include "support/unit.h"

static struct arena arena;

static int end(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static struct str merge(const char *known, struct profile said)
{
    return profile_merge(str_of(known), &said, &arena);
}

static void test_profile_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct profile profile = {STR("Ann \"A\""), STR("ann"), STR("de"), STR("+491"), STR("a@b.de")};
    struct str text = profile_write(&profile, &arena);
    assert_str(
        text,
        "{\"name\":\"Ann \\\"A\\\"\",\"username\":\"ann\",\"language\":\"de\",\"phone\":\"+491\",\"email\":\"a@b.de\"}");
    struct profile again = profile_read(text, &arena);
    assert_str(again.name, "Ann \"A\"");
    assert_str(again.username, "ann");
    assert_str(again.language, "de");
    assert_str(again.phone, "+491");
    assert_str(again.email, "a@b.de");
}

static void test_absent_members_stay_absent(void **state)
{
    (void)state;
    assert_null(profile_write(&(struct profile){0}, &arena).p);
    assert_str(profile_write(&(struct profile){.phone = STR("")}, &arena), "{\"phone\":\"\"}");
    struct profile profile = profile_read(STR("{\"phone\":\"\"}"), &arena);
    assert_null(profile.name.p);
    assert_non_null(profile.phone.p);
}

static void test_what_is_no_profile_has_nothing(void **state)
{
    (void)state;
    const char *const others[] = {NULL, "", "[]", "{", "7", "{\"name\":7}", "{\"nam\":\"x\"}"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct profile profile = profile_read(str_of(others[i]), &arena);
        assert_null(profile.name.p);
        assert_null(profile.username.p);
        assert_null(profile.language.p);
        assert_null(profile.phone.p);
        assert_null(profile.email.p);
    }
}

static void test_merge_tells_what_is_new_and_erases_nothing(void **state)
{
    (void)state;
    assert_null(merge(NULL, (struct profile){0}).p);
    assert_str(merge(NULL, (struct profile){.name = STR("Ann")}), "{\"name\":\"Ann\"}");
    const char *known = "{\"name\":\"Ann\",\"language\":\"de\"}";
    assert_null(merge(known, (struct profile){0}).p);
    assert_null(merge(known, (struct profile){.name = STR("Ann")}).p);
    assert_null(merge(known, (struct profile){.language = STR("de"), .name = STR("Ann")}).p);
    assert_str(merge(known, (struct profile){.name = STR("Eve")}), "{\"name\":\"Eve\",\"language\":\"de\"}");
    assert_str(merge(known, (struct profile){.email = STR("a@b.de")}),
               "{\"name\":\"Ann\",\"language\":\"de\",\"email\":\"a@b.de\"}");
    assert_str(merge(known, (struct profile){.username = STR("a")}),
               "{\"name\":\"Ann\",\"username\":\"a\",\"language\":\"de\"}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_profile_is_read_as_it_was_written, end),
        cmocka_unit_test_teardown(test_absent_members_stay_absent, end),
        cmocka_unit_test_teardown(test_what_is_no_profile_has_nothing, end),
        cmocka_unit_test_teardown(test_merge_tells_what_is_new_and_erases_nothing, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
