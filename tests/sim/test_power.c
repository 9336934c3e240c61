// The real store is opened again after an unclean end, and the power goes, or a call fails, at each read, write and flush of
// that in turn: the next opening finds all that was committed.
// LDFLAGS: -Wl,--wrap=pwrite,--wrap=ftruncate,--wrap=fsync,--wrap=fdatasync
#include "sim/power_vfs.h"
#include "support/store_kit.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The first calls read; where the log is begun anew each has several chances.
enum {
    MESSAGES = 8,
    CHANCES = TRIBUTARY_CHECKS ? 1 : 4,
    FIRST_CALLS = 90,
    STEP = TRIBUTARY_CHECKS ? 9 : 1,
    MOST_CALLS = 400
};

static char *path;
static struct arena words;

static struct store *open_store(const char **why)
{
    return store_sqlite_open(&(struct store_options){.path = path, .log_bytes = 1 << 20}, &words, why);
}

static void remove_files(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[300];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

// A store whose log holds a transaction for each message.
static void make_store(uint64_t chance)
{
    power_vfs_clear();
    remove_files();
    chance_init(&power_vfs.chance, chance);
    const char *why = NULL;
    struct store *store = open_store(&why);
    assert_non_null(store);
    for (int i = 0; i < MESSAGES; i++) {
        char key[20];
        snprintf(key, sizeof key, "key-%d", i);
        kit_store(store, key, "c1");
    }
    assert_int_equal(store->ops->flush(store), 0);
    store->ops->close(store, false);
    power_vfs_lose();
}

// `ends` or `fails` at the call; false when the opening takes no so many.
static bool open_with(int64_t ends, int64_t fails, bool *out_corrupt)
{
    const char *why = "";
    power_vfs.ends = ends;
    power_vfs.fails = fails;
    power_vfs.armed = true;
    struct store *store = open_store(&why);
    power_vfs.armed = false;
    bool came = power_vfs.ended || power_vfs.hits;
    *out_corrupt = !store && strstr(why, "damaged");
    if (store)
        store->ops->close(store, false);
    if (ends || power_vfs.flush_failed)
        power_vfs_lose();
    else
        power_vfs_keep();
    power_vfs.hits = 0;
    return came;
}

static void check_all_is_there(int64_t call)
{
    const char *why = "";
    struct store *store = open_store(&why);
    if (!store)
        fail_msg("after an end at call %lld the store does not open: %s", (long long)call, why);
    struct store_totals totals = kit_totals(store);
    if (totals.accepted != MESSAGES || totals.pending != MESSAGES)
        fail_msg("after an end at call %lld: %lld accepted, %lld pending", (long long)call, (long long)totals.accepted,
                 (long long)totals.pending);
    store->ops->close(store, false);
}

// The log was emptied without a flush and written over with zeros: an end between left its beginning, which was played back
// over what was newer.
static void test_the_power_goes_at_each_call_of_an_opening(void **state)
{
    (void)state;
    int64_t call = 1;
    bool corrupt;
    for (bool more = true; more; call += STEP) {
        assert_true(call < MOST_CALLS);
        uint64_t chances = call < FIRST_CALLS ? 1 : CHANCES;
        for (uint64_t chance = 1; chance <= chances && more; chance++) {
            make_store(chance * 1000 + (uint64_t)call);
            more = open_with(call, 0, &corrupt);
            check_all_is_there(call);
        }
    }
    assert_true(call > 20);
}

// It was told to be damaged, with the advice to put a backup in its place.
static void test_a_call_that_fails_in_an_opening_is_no_damage(void **state)
{
    (void)state;
    int64_t call = 1;
    for (bool more = true; more; call += STEP) {
        bool corrupt;
        assert_true(call < MOST_CALLS);
        make_store((uint64_t)call);
        more = open_with(0, call, &corrupt);
        if (corrupt)
            fail_msg("an error of the disk at call %lld is told as damage", (long long)call);
        check_all_is_there(call);
    }
}

static int begin(void **state)
{
    (void)state;
    path = kit_store_path("power");
    power_vfs_install();
    return 0;
}

static int end(void **state)
{
    (void)state;
    power_vfs_clear();
    remove_files();
    arena_done(&words);
    free(path);
    return 0;
}

// What a person was shown must not be gone after a power cut.
static void test_what_a_reader_has_shown_and_flushed_is_there_when_the_power_goes(void **state)
{
    (void)state;
    for (int flushes = 0; flushes < 2; flushes++) {
        int lost = 0;
        for (uint64_t chance = 1; chance <= 20; chance++) {
            const char *why = NULL;
            make_store(chance);
            struct store *store = open_store(&why);
            assert_non_null(store);
            kit_store(store, "shown", "c1");
            struct store_reader *reader = store->ops->reader_new(store);
            struct store_totals totals;
            assert_int_equal(reader->ops->totals(reader, &totals), 0);
            assert_int_equal(totals.accepted, MESSAGES + 1);
            if (flushes)
                assert_int_equal(reader->ops->flush(reader), 0);
            reader->ops->free(reader);
            store->ops->close(store, false);
            power_vfs_lose();
            store = open_store(&why);
            assert_non_null(store);
            lost += kit_totals(store).accepted != MESSAGES + 1;
            store->ops->close(store, false);
        }
        assert_true(flushes ? lost == 0 : lost > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_power_goes_at_each_call_of_an_opening),
        cmocka_unit_test(test_what_a_reader_has_shown_and_flushed_is_there_when_the_power_goes),
        cmocka_unit_test(test_a_call_that_fails_in_an_opening_is_no_damage),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
