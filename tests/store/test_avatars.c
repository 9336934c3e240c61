// The store's contract for customers' pictures (store.h, struct avatar), over both back ends: when one becomes due, what is kept of it,
// and which bytes go.
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/store_kit.h"

static const int64_t second_us = 1000000, day_us = INT64_C(86400) * 1000000;

static struct {
    bool on_disk;
    struct store *store;
    char *path;
    struct arena arena;
    int64_t now_us;
    int64_t source_id, account_id;
    int keys;
} bench;

static int set_up(void **state)
{
    static int n;
    char name[32];
    (void)state;
    snprintf(name, sizeof name, "avatars%d", n++);
    bench.path = bench.on_disk ? kit_store_path(name) : NULL;
    bench.store = bench.on_disk ? kit_open(bench.path) : store_memory_new();
    bench.now_us = 40 * day_us;
    struct account *account = account_new();
    account->name = STR("acme");
    account->desk = (struct desk){.platform = STR("webhook"), .url = STR("http://desk.example/")};
    account->source_count = 1;
    account->sources = arena_of(&account->arena, struct source);
    account->sources[0] = (struct source){.name = STR("bot"), .platform = STR("telegram"), .token = STR("1:a")};
    struct store_account_put put = {.account = account, .source_ids = &bench.source_id};
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_PUT, &put), 0);
    bench.account_id = put.id;
    account_unref(account);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bool whole = kit_verify(bench.store, true);
    bench.store->ops->close(bench.store, true);
    arena_done(&bench.arena);
    free(bench.path);
    return whole ? 0 : -1;
}

static void reopen(void)
{
    if (!bench.on_disk)
        return;
    bench.store->ops->close(bench.store, false);
    bench.store = kit_open(bench.path);
}

// ---- hands ----

// A message of the conversation is delivered; with it the desk's contact is learned ("": nothing is). What it came to.
static struct store_outcome deliver(const char *conversation, const char *contact, bool shown)
{
    struct store_accept accept = kit_accept(arena_printf(&bench.arena, "k%d", bench.keys++).p, conversation);
    accept.account_id = bench.account_id;
    accept.source_id = bench.source_id;
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    struct link link = {.contact = str_of(contact), .note = STR("a=1")};
    struct store_outcome outcome = kit_outcome(accept.message_id, MESSAGE_DELIVERED);
    outcome.conversation_id = accept.conversation_id;
    outcome.at_us = bench.now_us;
    outcome.link = *contact ? &link : NULL;
    outcome.avatar_of = shown ? bench.account_id : 0;
    outcome.avatar_due = true;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    outcome.link = NULL;
    return outcome;
}

static struct due_avatar *due(size_t limit, size_t want)
{
    struct store_avatars ask = {.limit = limit, .arena = &bench.arena, .count = 99};
    assert_int_equal(bench.store->ops->due_avatars(bench.store, &ask), 0);
    assert_int_equal(ask.count, want);
    return ask.due;
}

static struct str hash_of(char digit)
{
    char hash[FILE_HASH_SIZE];
    memset(hash, digit, sizeof hash);
    return arena_str(&bench.arena, (struct str){hash, sizeof hash});
}

static bool set(int64_t conversation_id, struct avatar avatar)
{
    struct store_avatar change = {.conversation_id = conversation_id, .avatar = avatar};
    assert_int_equal(kit_apply(bench.store, STORE_AVATAR, &change), 0);
    return change.applied;
}

static struct avatar kept(char digit)
{
    return (struct avatar){.asked_us = bench.now_us,
                           .picture = STR("unique"),
                           .hash = hash_of(digit),
                           .mime = STR("image/jpeg"),
                           .size = 100,
                           .told = STR("contact")};
}

// The hashes that nobody has any more, by their digits.
static const char *gone(struct str asked)
{
    static char digits[10];
    struct store_files_gone change = {
        .limit = 9, .arena = &bench.arena, .asked = &asked, .asked_count = asked.p ? 1 : 0};
    assert_int_equal(kit_apply(bench.store, STORE_FILES_GONE, &change), 0);
    assert_true(change.count < sizeof digits);
    for (size_t i = 0; i < change.count; i++)
        digits[i] = change.hashes[i].p[0];
    digits[change.count] = 0;
    return digits;
}

// ---- rules ----

static void test_a_picture_is_due_once_a_day(void **state)
{
    (void)state;
    int64_t id = deliver("77", "contact", false).conversation_id;
    due(9, 0);
    assert_true(deliver("77", "contact", true).avatar_due);
    assert_false(deliver("77", "contact", true).avatar_due); // it is due already
    reopen();
    struct due_avatar *first = due(9, 1);
    assert_int_equal(first->conversation_id, id);
    assert_int_equal(first->account_id, bench.account_id);
    assert_int_equal(first->source_id, bench.source_id);
    assert_str(first->thread, "77");
    assert_str(first->link.contact, "contact");
    assert_str(first->link.note, "a=1");
    assert_int_equal(first->avatar.due_us, bench.now_us);
    assert_int_equal(first->avatar.asked_us, 0);
    assert_null(first->avatar.hash.p);
    assert_true(set(id, (struct avatar){.asked_us = bench.now_us})); // there is none
    due(9, 0);
    bench.now_us += day_us - second_us;
    assert_false(deliver("77", "contact", true).avatar_due);
    reopen();
    bench.now_us += second_us;
    assert_true(deliver("77", "contact", true).avatar_due);
    assert_int_equal(due(9, 1)->avatar.asked_us, bench.now_us - day_us);
}

static void test_what_is_kept_is_given_back(void **state)
{
    (void)state;
    int64_t id = deliver("77", "contact", true).conversation_id;
    struct avatar avatar = kept('a');
    avatar.due_us = bench.now_us + second_us;
    avatar.attempts = 3;
    assert_true(set(id, avatar));
    reopen();
    struct avatar now = due(9, 1)->avatar;
    assert_int_equal(now.due_us, avatar.due_us);
    assert_int_equal(now.attempts, 3);
    assert_int_equal(now.asked_us, bench.now_us);
    assert_int_equal(now.size, 100);
    assert_str(now.picture, "unique");
    assert_true(str_eq(now.hash, hash_of('a')));
    assert_str(now.mime, "image/jpeg");
    assert_str(now.told, "contact");
}

static void test_another_contact_is_to_be_told(void **state)
{
    (void)state;
    int64_t id = deliver("77", "contact", true).conversation_id;
    assert_true(set(id, kept('a')));
    bench.now_us += second_us;
    assert_false(deliver("77", "contact", true).avatar_due);
    assert_false(deliver("77", "", true).avatar_due); // nothing was learned
    assert_true(deliver("77", "another", true).avatar_due);
    struct avatar now = due(9, 1)->avatar;
    assert_int_equal(now.attempts, 0);
    assert_int_equal(now.asked_us, bench.now_us - second_us); // it need not be asked for
    now.due_us = 0;
    now.hash = now.mime = now.told = STR_NONE;
    assert_true(set(id, now));
    assert_false(deliver("77", "a third", true).avatar_due); // there is nothing to tell
}

static void test_only_what_is_due_is_changed(void **state)
{
    (void)state;
    int64_t id = deliver("77", "contact", true).conversation_id;
    assert_false(set(id + 1, kept('a')));
    assert_true(set(id, kept('a')));
    assert_false(set(id, kept('b')));
    assert_string_equal(gone(hash_of('b')), "b");
    assert_string_equal(gone(hash_of('a')), "");
}

static void test_those_that_are_due_first_come_first(void **state)
{
    (void)state;
    int64_t ids[3];
    for (int i = 0; i < 3; i++) {
        ids[i] = deliver(arena_printf(&bench.arena, "%d", i).p, "c", true).conversation_id;
        bench.now_us += second_us;
    }
    assert_true(set(ids[0], (struct avatar){.due_us = bench.now_us}));
    struct due_avatar *list = due(2, 2);
    assert_int_equal(list[0].conversation_id, ids[1]);
    assert_int_equal(list[1].conversation_id, ids[2]);
    assert_int_equal(due(9, 3)[2].conversation_id, ids[0]);
}

static void test_a_clock_that_was_set_back_hinders_nothing(void **state)
{
    (void)state;
    int64_t id = deliver("77", "contact", true).conversation_id;
    assert_true(set(id, (struct avatar){.asked_us = bench.now_us}));
    bench.now_us -= 2 * day_us;
    assert_true(deliver("77", "contact", true).avatar_due);
}

static void test_only_what_was_delivered_counts(void **state)
{
    (void)state;
    struct store_accept accept = kit_accept("x", "77");
    accept.account_id = bench.account_id;
    accept.source_id = bench.source_id;
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    struct store_outcome outcome = kit_outcome(accept.message_id, MESSAGE_PENDING);
    outcome.conversation_id = accept.conversation_id;
    outcome.avatar_of = bench.account_id;
    outcome.avatar_due = true;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_false(outcome.avatar_due);
    outcome.state = MESSAGE_SKIPPED;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_false(outcome.avatar_due);
    outcome.state = MESSAGE_DELIVERED; // stale
    outcome.avatar_due = true;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_false(outcome.applied || outcome.avatar_due);
    due(9, 0);
}

static void make_due(const char *conversation)
{
    bench.now_us += day_us;
    assert_true(deliver(conversation, "contact", true).avatar_due);
}

static void test_bytes_stay_while_they_are_shown(void **state)
{
    (void)state;
    int64_t ann = deliver("ann", "contact", true).conversation_id;
    int64_t bob = deliver("bob", "contact", true).conversation_id;
    assert_true(set(ann, kept('a')));
    assert_true(set(bob, kept('a')));
    assert_string_equal(gone(hash_of('a')), "");
    bool more = true;
    while (more) // messages go, the picture stays
        assert_int_equal(bench.store->ops->age_out(bench.store, 90 * day_us, 90 * day_us, &more), 0);
    assert_string_equal(gone(hash_of('a')), "");
    make_due("ann");
    assert_true(set(ann, kept('b')));
    assert_string_equal(gone(STR_NONE), ""); // Bob shows it still
    make_due("bob");
    assert_true(set(bob, kept('a'))); // the same once more
    assert_string_equal(gone(hash_of('a')), "");
    make_due("bob");
    assert_true(set(bob, (struct avatar){.asked_us = bench.now_us}));
    reopen();
    assert_string_equal(gone(STR_NONE), "a");
    assert_string_equal(gone(hash_of('b')), "");
}

static void test_pictures_of_an_account_that_is_removed_go(void **state)
{
    (void)state;
    int64_t ann = deliver("ann", "contact", true).conversation_id;
    assert_true(set(ann, kept('a')));
    struct store_account_gone account = {.account_id = bench.account_id};
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_GONE, &account), 0);
    assert_true(account.applied);
    assert_string_equal(gone(STR_NONE), "a");
    assert_string_equal(gone(hash_of('a')), "a");
    assert_false(set(ann, kept('b'))); // one that was under way
    assert_string_equal(gone(hash_of('b')), "b");
}

static void test_a_picture_that_is_also_a_file_stays_with_either(void **state)
{
    (void)state;
    struct store_accept accept = kit_accept("file", "ann");
    accept.account_id = bench.account_id;
    accept.source_id = bench.source_id;
    accept.wait_until_us = bench.now_us;
    accept.event.attachments = STR("[{\"kind\":\"image\",\"state\":\"wanted\",\"ref\":\"r\"}]");
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    struct store_file file = {.message_id = accept.message_id,
                              .state = FILE_KEPT,
                              .hash = hash_of('a'),
                              .mime = STR("image/jpeg"),
                              .size = 100};
    assert_int_equal(kit_apply(bench.store, STORE_FILE, &file), 0);
    int64_t ann = deliver("ann", "contact", true).conversation_id;
    assert_true(set(ann, kept('a')));
    kit_settle(bench.store, accept.message_id, MESSAGE_DISCARDED);
    bool more = true;
    while (more)
        assert_int_equal(bench.store->ops->age_out(bench.store, 90 * day_us, 90 * day_us, &more), 0);
    assert_string_equal(gone(STR_NONE), "");
    make_due("ann");
    assert_true(set(ann, (struct avatar){.asked_us = bench.now_us}));
    assert_string_equal(gone(STR_NONE), "a");
}

// ---- on disk ----

static void change(void (*by)(const char *path, const char *sql), const char *sql)
{
    bench.store->ops->close(bench.store, true);
    by(bench.path, sql);
    bench.store = kit_open(bench.path);
}

static void test_a_damaged_row_is_made_anew(void **state)
{
    (void)state;
    int64_t id = deliver("77", "contact", true).conversation_id;
    struct avatar avatar = kept('a');
    avatar.due_us = bench.now_us;
    assert_true(set(id, avatar));
    change(kit_damage, "UPDATE avatars SET told = 'another'");
    due(9, 0);
    assert_false(set(id, kept('b')));
    assert_true(deliver("77", "contact", true).avatar_due);
    assert_null(due(9, 1)->avatar.hash.p);
    assert_string_equal(gone(STR_NONE), "a");
}

static void test_a_damaged_conversation_has_no_picture(void **state)
{
    (void)state;
    deliver("77", "contact", true);
    change(kit_damage, "UPDATE conversations SET contact = 'another'");
    struct due_avatar *found = due(9, 1);
    assert_null(found->thread.p);
    assert_int_equal(found->link.contact.n, 0);
    change(kit_damage, "UPDATE conversations SET contact = 'contact'");
}

static void test_store_from_before_pictures_is_taken_over(void **state)
{
    (void)state;
    deliver("77", "contact", false);
    change(kit_change, KIT_BEFORE_AVATARS "PRAGMA user_version = 13");
    due(9, 0);
    assert_true(deliver("77", "contact", true).avatar_due);
    due(9, 1);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int run(const char *name, bool on_disk)
{
    bench.on_disk = on_disk;
    const struct CMUnitTest tests[] = {
        RULE(test_a_picture_is_due_once_a_day),
        RULE(test_what_is_kept_is_given_back),
        RULE(test_another_contact_is_to_be_told),
        RULE(test_only_what_is_due_is_changed),
        RULE(test_those_that_are_due_first_come_first),
        RULE(test_a_clock_that_was_set_back_hinders_nothing),
        RULE(test_only_what_was_delivered_counts),
        RULE(test_bytes_stay_while_they_are_shown),
        RULE(test_pictures_of_an_account_that_is_removed_go),
        RULE(test_a_picture_that_is_also_a_file_stays_with_either),
    };
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, NULL, NULL);
}

int main(void)
{
    int failed = run("sqlite", true);
    const struct CMUnitTest tests[] = {
        RULE(test_a_damaged_row_is_made_anew),
        RULE(test_a_damaged_conversation_has_no_picture),
        RULE(test_store_from_before_pictures_is_taken_over),
    };
    failed += cmocka_run_group_tests_name("on disk", tests, NULL, NULL);
    return failed + run("memory", false) ? 1 : 0;
}
