// The file's accounts against those of the store: what is stored anew, and what outlives a restart.
#include "app/accounts_file.h"
#include "support/unit.h"

#include <string.h>

// One account of a file and of a store, in brief.
static struct account *make(const char *name, bool active, const char *order)
{
    struct account *account = account_new();
    account->name = arena_str(&account->arena, str_of(name));
    account->active = active;
    account->order = strcmp(order, "account") == 0 ? ORDER_ACCOUNT : ORDER_CONVERSATION;
    account->defined_at = STR("t.yaml:1");
    account->sources = arena_of(&account->arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){.name = STR("bot"), .platform = STR("telegram"), .token = STR("1:a")};
    return account;
}

static struct account *make_stored(const char *name, bool active)
{
    struct account *account = make(name, active, "account");
    account->id = 7;
    account->sources[0].id = 70;
    account->sources[0].account_id = 7;
    account->sources[0].made_secret = STR("made");
    account->sources[0].registered_url = STR("https://r.example/hooks/acme/bot");
    return account;
}

struct trial {
    struct account *said, *stored;
    struct account_plan plan;
};

// What the file says (NULL: nothing) and what there is, with the texts of the file then and before.
static void plan(struct trial *trial, struct account *said, const char *text, struct account *stored,
                 const char *stored_text)
{
    *trial = (struct trial){.said = said, .stored = stored};
    if (stored)
        stored->file_text = str_of(stored_text);
    if (said) {
        said->file_text = str_of(text);
        account_plan_said(said, stored, &trial->plan);
    } else {
        account_plan_unsaid(stored, &trial->plan);
    }
}

static const struct account *put_of(const struct trial *trial)
{
    assert_int_equal(trial->plan.kind, PLAN_PUT);
    return trial->plan.account;
}

static void trial_done(struct trial *trial)
{
    account_unref(trial->plan.account);
    account_unref(trial->said);
    account_unref(trial->stored);
}

#define UNSAID "active=unsaid rest=1"

static void test_a_new_account_is_stored(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, make("acme", true, "account"), UNSAID, NULL, NULL);
    assert_str(put_of(&trial)->name, "acme");
    assert_str(put_of(&trial)->file_text, UNSAID);
    assert_false(trial.plan.keep_active);
    trial_done(&trial);
}

static void test_what_did_not_change_is_left_alone(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, make("acme", true, "account"), UNSAID, make_stored("acme", false), UNSAID);
    assert_int_equal(trial.plan.kind, PLAN_NOTHING);
    assert_null(trial.plan.account);
    trial_done(&trial);
}

static void test_a_moved_account_keeps_all_but_its_place(void **state)
{
    (void)state;
    struct trial trial;
    struct account *said = make("acme", true, "account");
    said->defined_at = STR("t.yaml:9");
    plan(&trial, said, UNSAID, make_stored("acme", false), UNSAID);
    assert_int_equal(trial.plan.kind, PLAN_MOVE);
    assert_str(trial.plan.account->defined_at, "t.yaml:9");
    assert_false(trial.plan.account->active);
    assert_int_equal(trial.plan.account->id, 7);
    assert_str(trial.plan.account->file_text, UNSAID);
    trial_done(&trial);
}

static void test_a_deactivation_by_hand_outlives_other_changes_of_the_file(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, make("acme", true, "conversation"), "active=unsaid rest=2", make_stored("acme", false), UNSAID);
    assert_false(put_of(&trial)->active);
    assert_int_equal(put_of(&trial)->order, ORDER_CONVERSATION);
    trial_done(&trial);
}

static void test_a_new_word_of_the_file_on_active_counts(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, make("acme", true, "account"), "active=true rest=1", make_stored("acme", false), UNSAID);
    assert_true(put_of(&trial)->active);
    trial_done(&trial);
    plan(&trial, make("acme", false, "account"), "active=false rest=1", make_stored("acme", true),
         "active=true rest=1");
    assert_false(put_of(&trial)->active);
    trial_done(&trial);
    plan(&trial, make("acme", true, "account"), UNSAID, make_stored("acme", false), "active=false rest=1");
    assert_true(put_of(&trial)->active);
    trial_done(&trial);
}

static void test_what_sources_made_and_learned_is_kept(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, make("acme", true, "conversation"), "active=unsaid rest=2", make_stored("acme", true), UNSAID);
    const struct account *put = put_of(&trial);
    assert_int_equal(put->id, 7);
    assert_int_equal(put->sources[0].id, 70);
    assert_int_equal(put->sources[0].account_id, 7);
    assert_str(put->sources[0].made_secret, "made");
    assert_str(put->sources[0].registered_url, "https://r.example/hooks/acme/bot");
    trial_done(&trial);
}

static void test_another_bot_has_not_the_webhook_of_the_one_before(void **state)
{
    (void)state;
    struct trial trial;
    struct account *said = make("acme", true, "account");
    said->sources[0].token = STR("2:b");
    plan(&trial, said, "active=unsaid rest=2", make_stored("acme", true), UNSAID);
    assert_null(put_of(&trial)->sources[0].registered_url.p);
    trial_done(&trial);
}

static void test_an_account_that_left_is_deactivated_and_flagged_once(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, NULL, NULL, make_stored("acme", true), UNSAID);
    assert_false(put_of(&trial)->active);
    assert_true(put_of(&trial)->left_file);
    assert_null(put_of(&trial)->file_text.p);
    trial_done(&trial);
    struct account *left = make_stored("acme", false);
    left->left_file = true;
    plan(&trial, NULL, NULL, left, NULL);
    assert_int_equal(trial.plan.kind, PLAN_NOTHING);
    trial_done(&trial);
}

static void test_an_account_that_returns_is_as_the_file_says(void **state)
{
    (void)state;
    struct trial trial;
    struct account *left = make_stored("acme", false);
    left->left_file = true;
    plan(&trial, make("acme", true, "account"), UNSAID, left, NULL);
    assert_true(put_of(&trial)->active);
    assert_false(put_of(&trial)->left_file);
    assert_int_equal(put_of(&trial)->id, 7);
    trial_done(&trial);
}

static void test_accounts_made_by_hand_stay(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, NULL, NULL, make_stored("acme", true), NULL);
    assert_int_equal(trial.plan.kind, PLAN_NOTHING);
    trial_done(&trial);
}

static void test_a_name_made_by_hand_becomes_the_files(void **state)
{
    (void)state;
    struct trial trial;
    plan(&trial, make("acme", true, "account"), UNSAID, make_stored("acme", false), NULL);
    assert_true(put_of(&trial)->active);
    assert_int_equal(put_of(&trial)->id, 7);
    trial_done(&trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_account_is_stored),
        cmocka_unit_test(test_what_did_not_change_is_left_alone),
        cmocka_unit_test(test_a_moved_account_keeps_all_but_its_place),
        cmocka_unit_test(test_a_deactivation_by_hand_outlives_other_changes_of_the_file),
        cmocka_unit_test(test_a_new_word_of_the_file_on_active_counts),
        cmocka_unit_test(test_what_sources_made_and_learned_is_kept),
        cmocka_unit_test(test_another_bot_has_not_the_webhook_of_the_one_before),
        cmocka_unit_test(test_an_account_that_left_is_deactivated_and_flagged_once),
        cmocka_unit_test(test_an_account_that_returns_is_as_the_file_says),
        cmocka_unit_test(test_accounts_made_by_hand_stay),
        cmocka_unit_test(test_a_name_made_by_hand_becomes_the_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
