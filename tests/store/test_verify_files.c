// verify: files of messages, in the rows and beside the store.
#include "support/unit.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/media_files.h"
#include "support/store_kit.h"

// ---- files beside the store, as a test wants them

enum { PLACES = 8 };

static struct shelf {
    struct media_files files; // first
    struct {
        char hash[FILE_HASH_SIZE + 1], bytes[8];
    } places[PLACES];
    size_t count;
    int read_error, each_error;
    void (*before_find)(void); // something that happens meanwhile
} shelf;

static int64_t shelf_find(struct media_files *files, struct str hash)
{
    (void)files;
    if (shelf.before_find)
        shelf.before_find();
    for (size_t i = 0; i < shelf.count; i++)
        if (str_eq_c(hash, shelf.places[i].hash))
            return (int64_t)strlen(shelf.places[i].bytes);
    return -1;
}

static int64_t shelf_read(struct media_files *files, struct str hash, int64_t offset, char *room, size_t size)
{
    (void)files;
    for (size_t i = 0; i < shelf.count; i++) {
        if (!str_eq_c(hash, shelf.places[i].hash))
            continue;
        struct str bytes = str_of(shelf.places[i].bytes);
        assert_true(size >= bytes.n);
        struct str rest = str_sub(bytes, (size_t)offset, bytes.n);
        memcpy(room, rest.p, rest.n);
        return shelf.read_error ? shelf.read_error : (int64_t)rest.n;
    }
    return ERR_NOT_FOUND;
}

static int shelf_each_in(struct media_files *files, int part, void (*each)(void *arg, struct str hash, int64_t size),
                         void *arg)
{
    (void)files;
    for (size_t i = 0; i < shelf.count && part == 0; i++)
        each(arg, str_of(shelf.places[i].hash), (int64_t)strlen(shelf.places[i].bytes));
    return shelf.each_error;
}

static const struct media_files_ops shelf_ops = {.find = shelf_find, .read = shelf_read, .each_in = shelf_each_in};

// Its hash.
static struct str put_on_shelf(const char *bytes)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    assert_int_equal(EVP_Digest(bytes, strlen(bytes), digest, &size, EVP_sha256(), NULL), 1);
    char *hash = shelf.places[shelf.count].hash;
    for (unsigned i = 0; i < size; i++)
        snprintf(hash + 2 * (size_t)i, 3, "%02x", digest[i]);
    snprintf(shelf.places[shelf.count++].bytes, sizeof shelf.places[0].bytes, "%s", bytes);
    return str_of(hash);
}

// ---- hands

static char *path;
static struct store *store;
static int64_t first_id;

static int64_t keep(const char *key, const char *bytes)
{
    struct store_accept accept = kit_accept(key, "c");
    accept.event.attachments = STR("[{\"kind\":\"image\",\"state\":\"wanted\",\"ref\":\"r\"}]");
    accept.wait_until_us = INT64_C(1) << 50;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    struct str hash = put_on_shelf(bytes);
    struct store_file file = {.message_id = accept.message_id,
                              .state = FILE_KEPT,
                              .hash = hash,
                              .size = (int64_t)strlen(bytes),
                              .mime = STR("image/png")};
    assert_int_equal(kit_apply(store, STORE_FILE, &file), 0);
    assert_true(file.applied);
    return accept.message_id;
}

static int begin(void **state)
{
    (void)state;
    static int n;
    char name[32];
    snprintf(name, sizeof name, "verify_files%d", n++);
    path = kit_store_path(name);
    store = kit_open(path);
    shelf = (struct shelf){.files = {&shelf_ops}};
    first_id = keep("1", "one");
    keep("2", "two");
    return 0;
}

static int end(void **state)
{
    (void)state;
    store->ops->close(store, true);
    free(path);
    return 0;
}

static void damage(const char *sql)
{
    store->ops->close(store, true);
    kit_damage(path, sql);
    store = kit_open(path);
}

static struct {
    int counts[FINDING_NOTE + 1];
    int64_t message_id; // the last one's
    char text[512];     // the last one's
    struct store_check check;
} found;

static void on_finding(void *arg, const struct store_finding *finding)
{
    (void)arg;
    found.counts[finding->kind]++;
    found.message_id = finding->message_id;
    snprintf(found.text, sizeof found.text, "%.*s", STR_ARG(finding->text));
}

static void look(bool deep, bool at_shelf)
{
    memset(&found, 0, sizeof found);
    found.check = (struct store_check){.deep = deep, .finding = on_finding};
    found.check.media = at_shelf ? &shelf.files : NULL;
    kit_check(store, &found.check);
}

// Nothing but this, of the message.
static void assert_found(enum store_finding_kind kind, int count, int64_t message_id, const char *words)
{
    for (int i = 0; i <= FINDING_NOTE; i++) {
        if (found.counts[i] && i != (int)kind)
            print_message("# %s\n", found.text);
        assert_int_equal(found.counts[i], i == (int)kind ? count : 0);
    }
    assert_int_equal(found.check.ok, !count || kind == FINDING_NOTE);
    assert_int_equal(found.message_id, count ? message_id : 0);
    if (words && !strstr(found.text, words))
        print_message("# %s\n", found.text);
    assert_true(!words || strstr(found.text, words));
}

// ----

static void test_files_that_are_there_are_counted(void **state)
{
    (void)state;
    for (int deep = 0; deep <= 1; deep++) {
        look(deep, true);
        assert_found(FINDING_FILE, 0, 0, NULL);
        assert_int_equal(found.check.files, 2);
    }
}

static void test_a_file_that_is_not_there_is_named_with_its_message(void **state)
{
    (void)state;
    shelf.places[0].hash[0] = '!';
    look(false, false); // nobody looks at them
    assert_found(FINDING_FILE, 0, 0, NULL);
    look(false, true);
    assert_int_equal(found.counts[FINDING_FILE], 1);
    assert_int_equal(found.counts[FINDING_NOTE], 1); // what stands in its place is nobody's
    assert_false(found.check.ok);
}

static void test_a_file_of_another_size_is_named(void **state)
{
    (void)state;
    shelf.places[0].bytes[3] = '+';
    look(false, true);
    assert_found(FINDING_FILE, 1, first_id, "has another size");
}

static void test_other_bytes_are_found_by_a_deep_look(void **state)
{
    (void)state;
    shelf.places[0].bytes[1] ^= 1;
    look(false, true);
    assert_found(FINDING_FILE, 0, 0, NULL);
    look(true, true);
    assert_found(FINDING_FILE, 1, first_id, "is not what was kept");
    shelf.places[0].bytes[1] ^= 1;
    shelf.read_error = ERR_IO;
    look(true, true);
    assert_found(FINDING_FILE, 2, 2, "cannot be read");
}

static void test_a_file_without_a_row_is_worth_a_note(void **state)
{
    (void)state;
    put_on_shelf("three");
    look(false, true);
    assert_found(FINDING_NOTE, 1, 0, "1 files (5 bytes) are of no message");
    shelf.count--;
    shelf.each_error = ERR_IO;
    look(false, true);
    assert_found(FINDING_FILE, 1, 0, "directory");
}

static void age_out(void)
{
    bool more = true;
    shelf.before_find = NULL;
    while (more)
        assert_int_equal(store->ops->age_out(store, INT64_C(1) << 60, 0, &more), 0);
    shelf.count = 0;
}

static void test_what_ages_out_meanwhile_is_no_fault(void **state)
{
    (void)state;
    kit_settle(store, first_id, MESSAGE_DISCARDED);
    kit_settle(store, first_id + 1, MESSAGE_DISCARDED);
    shelf.before_find = age_out;
    look(false, true);
    assert_found(FINDING_FILE, 0, 0, NULL);
}

// Its bytes are to be removed, and are still there.
static void test_what_was_dropped_is_no_stray(void **state)
{
    (void)state;
    kit_settle(store, first_id, MESSAGE_DISCARDED);
    bool more = true;
    while (more)
        assert_int_equal(store->ops->age_out(store, INT64_C(1) << 60, 0, &more), 0);
    look(false, true);
    assert_found(FINDING_NOTE, 0, 0, NULL);
}

static void test_damaged_rows_are_named(void **state)
{
    (void)state;
    damage("UPDATE files SET size = 4 WHERE message_id = 1");
    look(false, false);
    assert_found(FINDING_DAMAGED, 1, first_id, "file 0 of message 1");
    assert_int_equal(found.check.damaged, 1);
    damage("UPDATE files SET size = 3 WHERE message_id = 1");
    look(false, false);
    assert_found(FINDING_SUM, 0, 0, NULL);
    damage("UPDATE account_files SET bytes = 7");
    look(false, false);
    assert_found(FINDING_SUM, 1, 0,
                 "has 7 bytes of files by its count, 6 by the rows, and the count is not what was stored");
}

static void test_a_damaged_album_is_named(void **state)
{
    (void)state;
    struct store_accept accept = kit_accept("3", "c");
    accept.event.album = STR("x");
    accept.wait_until_us = INT64_C(1) << 50;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    damage("UPDATE albums SET album = 'y'");
    look(false, false);
    assert_found(FINDING_DAMAGED, 1, accept.message_id, "the album of message 3");
}

static void test_a_row_without_its_message_is_named(void **state)
{
    (void)state;
    damage("UPDATE files SET message_id = 9, sum = NULL WHERE message_id = 1");
    look(false, false);
    assert_found(FINDING_SUM, 2, 9, "file 0 is of message 9, which is not there"); // and message 1 lacks it
}

// ---- a message's list and its rows

static void assert_contradiction(const char *damaging, int64_t message_id, const char *words)
{
    damage(damaging);
    look(false, false);
    assert_found(FINDING_SUM, 1, message_id, words);
}

static void test_a_kept_file_whose_row_is_gone_is_named(void **state)
{
    (void)state;
    assert_contradiction("DELETE FROM files WHERE message_id = 1", first_id,
                         "file 0 of message 1 is kept by the message, not there by its row");
}

static void test_a_file_that_failed_by_its_row_alone_is_named(void **state)
{
    (void)state;
    assert_contradiction("UPDATE files SET state = 2, hash = NULL, size = 0, sum = NULL WHERE message_id = 1", first_id,
                         "file 0 of message 1 is kept by the message, failed by its row");
}

static void test_a_row_with_other_bytes_than_its_message_is_named(void **state)
{
    (void)state;
    assert_contradiction("UPDATE files SET sum = NULL, hash = (SELECT hash FROM files WHERE message_id = 2)", first_id,
                         "file 0 of message 1 is kept by the message, kept with other bytes by its row");
}

static int64_t want_file(const char *key)
{
    struct store_accept accept = kit_accept(key, "c");
    accept.event.attachments = STR("[{\"kind\":\"image\"},{\"kind\":\"image\",\"state\":\"wanted\",\"ref\":\"r\"}]");
    accept.wait_until_us = INT64_C(1) << 50;
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept.message_id;
}

static void test_a_wanted_file_without_a_row_is_named(void **state)
{
    (void)state;
    int64_t id = want_file("3");
    look(false, false);
    assert_found(FINDING_SUM, 0, 0, NULL);
    assert_contradiction("DELETE FROM files WHERE message_id = 3", id,
                         "file 1 of message 3 is wanted by the message, not there by its row");
}

static void test_a_row_of_no_file_of_its_message_is_named(void **state)
{
    (void)state;
    assert_contradiction("UPDATE files SET nth = 1, sum = NULL WHERE message_id = 1; "
                         "INSERT INTO files SELECT message_id, 0, account_id, state, told, attempts, next_attempt_at, "
                         "size, hash, attachment, sum FROM files WHERE message_id = 1",
                         first_id, "file 1 of message 1 is not to be fetched by the message, kept by its row");
}

static void test_the_wanted_file_of_a_discarded_message_needs_no_row(void **state)
{
    (void)state;
    kit_settle(store, want_file("3"), MESSAGE_DISCARDED);
    look(false, false);
    assert_found(FINDING_SUM, 0, 0, NULL);
}

// A picture of the customer of conversation 1.
static void keep_picture(const char *bytes)
{
    struct store_outcome outcome = kit_outcome(first_id, MESSAGE_DELIVERED);
    struct link link = {.contact = STR("contact")};
    outcome.conversation_id = outcome.avatar_of = 1;
    outcome.files_told = 1;
    outcome.link = &link;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    struct store_avatar set = {.conversation_id = 1,
                               .avatar = {.asked_us = 1,
                                          .picture = STR("p"),
                                          .hash = put_on_shelf(bytes),
                                          .mime = STR("image/png"),
                                          .size = (int64_t)strlen(bytes)}};
    assert_int_equal(kit_apply(store, STORE_AVATAR, &set), 0);
    assert_true(set.applied);
}

static void test_pictures_are_looked_at_as_files_are(void **state)
{
    (void)state;
    keep_picture("face");
    look(true, true);
    assert_found(FINDING_FILE, 0, 0, NULL);
    assert_int_equal(found.check.files, 3);
    shelf.places[2].bytes[3] = '+';
    look(true, true);
    assert_found(FINDING_FILE, 1, 0, "picture 0 of the customer of conversation 1");
    shelf.count--;
    look(false, true);
    assert_found(FINDING_FILE, 1, 0, "is not there");
    damage("UPDATE avatars SET size = 9");
    look(false, true);
    assert_found(FINDING_DAMAGED, 1, 0, "picture 0 of the customer of conversation 1 is not what was stored");
    damage("UPDATE avatars SET conversation_id = 9, sum = NULL");
    look(false, false);
    assert_found(FINDING_SUM, 1, 0, "conversation 9, which is not there");
}

static void replace_picture(void)
{
    shelf.before_find = NULL;
    struct store_outcome outcome = kit_outcome(first_id + 1, MESSAGE_DELIVERED);
    outcome.conversation_id = outcome.avatar_of = 1;
    outcome.at_us = INT64_C(1) << 50;
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    struct store_avatar set = {.conversation_id = 1};
    assert_int_equal(kit_apply(store, STORE_AVATAR, &set), 0);
    assert_true(set.applied);
    shelf.count--;
}

static void test_a_picture_that_goes_meanwhile_is_no_fault(void **state)
{
    (void)state;
    shelf.count = 0;
    keep("3", "one"); // of the messages nothing is missing but what is looked at first
    keep("4", "two");
    keep_picture("face");
    shelf.before_find = replace_picture;
    look(false, true);
    assert_found(FINDING_FILE, 0, 0, NULL);
}

#define VERIFY_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        VERIFY_TEST(test_files_that_are_there_are_counted),
        VERIFY_TEST(test_a_file_that_is_not_there_is_named_with_its_message),
        VERIFY_TEST(test_a_file_of_another_size_is_named),
        VERIFY_TEST(test_other_bytes_are_found_by_a_deep_look),
        VERIFY_TEST(test_a_file_without_a_row_is_worth_a_note),
        VERIFY_TEST(test_what_ages_out_meanwhile_is_no_fault),
        VERIFY_TEST(test_what_was_dropped_is_no_stray),
        VERIFY_TEST(test_damaged_rows_are_named),
        VERIFY_TEST(test_a_damaged_album_is_named),
        VERIFY_TEST(test_a_row_without_its_message_is_named),
        VERIFY_TEST(test_a_kept_file_whose_row_is_gone_is_named),
        VERIFY_TEST(test_a_file_that_failed_by_its_row_alone_is_named),
        VERIFY_TEST(test_a_row_with_other_bytes_than_its_message_is_named),
        VERIFY_TEST(test_a_wanted_file_without_a_row_is_named),
        VERIFY_TEST(test_a_row_of_no_file_of_its_message_is_named),
        VERIFY_TEST(test_the_wanted_file_of_a_discarded_message_needs_no_row),
        VERIFY_TEST(test_pictures_are_looked_at_as_files_are),
        VERIFY_TEST(test_a_picture_that_goes_meanwhile_is_no_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
