// The disk fails at the n-th call, for n = 1, 2, 3 ... until the scenario passes untouched: whatever was acknowledged is
// there after the next start, nothing is half there, the sum is true, and a broken store says so from then on. Single faults, and what
// exactly follows: test_sqlite_single_faults.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fault_vfs.h"
#include "support/store_kit.h"

// Release looks at every third place, the sanitizers' builds, many times slower, at every seventh: each place is one of many
// of its kind, and tests/fault goes through all of them.
enum { BATCHES = 4, BATCH = 3, STEP = TRIBUTARY_CHECKS ? 7 : 3 };

// What the scenario was told, to be held against the store afterwards.
struct told {
    bool acked[BATCHES], asked[BATCHES];
    bool delivered_acked, delivered_asked;
    int64_t first_id;
    bool replied_acked, replied_asked, noted_acked;
    int64_t reply_id;
};

static struct store *open_store(const char *path)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store_options options = {.path = path, .log_bytes = 65536, .fresh_block = 2};
    struct store *store = store_sqlite_open(&options, &arena, &why);
    assert_true(store ? why == NULL : why != NULL && *why);
    arena_done(&arena);
    return store;
}

static void check_broken(struct store *store, int err)
{
    if (err != ERR_IO && err != ERR_CORRUPT)
        return;
    struct store_mark mark = {1, false};
    struct lane_page page;
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), err);
    assert_int_equal(store->ops->load_lane(store, 4, 0, 1, &page), err);
    assert_int_equal(store->ops->checkpoint(store, false), err);
}

static void key_of(int batch, int i, char out[32])
{
    snprintf(out, 32, "key-%d-%d", batch, i);
}

static int accept_batch(struct store *store, int batch, struct told *told)
{
    struct store_accept accepts[BATCH];
    struct store_change changes[BATCH];
    char keys[BATCH][32];
    for (int i = 0; i < BATCH; i++) {
        key_of(batch, i, keys[i]);
        accepts[i] = kit_accept(keys[i], i ? "c" : keys[i]);
        changes[i] = (struct store_change){.kind = STORE_ACCEPT, .accept = &accepts[i]};
    }
    told->asked[batch] = true;
    int err = store->ops->apply(store, changes, BATCH);
    told->acked[batch] |= err == 0;
    if (err == 0 && !told->first_id)
        told->first_id = accepts[0].message_id;
    check_broken(store, err);
    return err;
}

static void deliver_first(struct store *store, struct told *told)
{
    if (!told->first_id)
        return;
    struct link link = {.contact = STR("contact"), .conversation = STR("desk")};
    struct store_outcome outcome = kit_outcome(told->first_id, MESSAGE_DELIVERED);
    outcome.desk_ref = STR("ref");
    outcome.link = &link;
    outcome.conversation_id = 1;
    told->delivered_asked = true;
    int err = kit_apply(store, STORE_OUTCOME, &outcome);
    told->delivered_acked |= err == 0 && outcome.applied;
    check_broken(store, err);
}

static struct store_accept a_reply(void)
{
    return (struct store_accept){.direction = REPLY,
                                 .account_id = 1,
                                 .source_id = 1,
                                 .received_at_us = 1000000000,
                                 .conversation_id = 1,
                                 .event = {.dedupe_key = STR("part:1"), .text = STR("well"), .format = STR("[]")}};
}

// A reply with how far its thread was taken, then its end with the note.
static void reply_to_first(struct store *store, struct told *told)
{
    if (!told->delivered_acked)
        return;
    struct store_accept reply = a_reply();
    struct store_taken taken = {.account_id = 1, .desk_conversation = STR("desk"), .conversation_id = 1, .taken_s = 7};
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &reply}, {.kind = STORE_TAKEN, .taken = &taken}};
    told->replied_asked = true;
    int err = store->ops->apply(store, changes, 2);
    told->replied_acked = err == 0;
    check_broken(store, err);
    if (err)
        return;
    told->reply_id = reply.message_id;
    struct store_outcome outcome = kit_outcome(reply.message_id, MESSAGE_SKIPPED);
    outcome.note = STR("blocked");
    err = kit_apply(store, STORE_OUTCOME, &outcome);
    told->noted_acked = err == 0 && outcome.applied;
    check_broken(store, err);
}

static void load_first_lane(struct store *store)
{
    struct lane_page page;
    int err = store->ops->load_lane(store, lane_id(LANE_ACCOUNT, 1), 0, 2, &page);
    if (err == 0)
        lane_page_done(&page);
    check_broken(store, err);
}

static void read_totals(struct store *store)
{
    struct store_reader *reader = store->ops->reader_new(store);
    struct store_totals totals;
    if (!reader)
        return;
    if (reader->ops->totals(reader, &totals) == 0)
        assert_int_equal(totals.accepted, totals.delivered + totals.skipped + totals.discarded + totals.pending);
    reader->ops->free(reader);
}

static void run_scenario(const char *path, struct told *told)
{
    struct store *store = open_store(path);
    if (store) {
        (void)!accept_batch(store, 0, told);
        (void)!accept_batch(store, 1, told);
        load_first_lane(store);
        read_totals(store);
        deliver_first(store, told);
        store->ops->close(store, false); // as if killed: the next start finds it in the log
    }
    store = open_store(path);
    if (store) {
        (void)!accept_batch(store, 2, told);
        deliver_first(store, told);
        reply_to_first(store, told);
        store->ops->close(store, true);
    }
    store = open_store(path);
    if (store) {
        (void)!accept_batch(store, 3, told);
        store->ops->close(store, true);
    }
}

static void check_batch(struct store *store, const struct told *told, int batch)
{
    int found = 0;
    for (int i = 0; i < BATCH; i++) {
        char key[32];
        key_of(batch, i, key);
        found += kit_store(store, key, i ? "c" : key).result == ACCEPT_DUPLICATE;
    }
    assert_true(found == 0 || found == BATCH);
    if (told->acked[batch])
        assert_int_equal(found, BATCH);
    if (!told->asked[batch])
        assert_int_equal(found, 0);
}

static void count_message(void *arg, const struct message *message)
{
    (void)message;
    ++*(int *)arg;
}

static int count_notes(struct store *store)
{
    int notes = 0;
    struct message_filter filter = {.by_direction = true, .direction = NOTE};
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->messages(reader, &filter, 0, 9, count_message, &notes), 0);
    reader->ops->free(reader);
    return notes;
}

// A thread is taken where its reply is there, and a reply skipped where its note is.
static void check_reply(struct store *store, const struct told *told)
{
    struct arena arena = {0};
    struct store_thread thread = {.account_id = 1, .desk_conversation = STR("desk"), .arena = &arena};
    struct store_accept again = a_reply();
    if (told->reply_id) {
        struct message *m = kit_message(store, told->reply_id);
        assert_int_equal(count_notes(store), m->state == MESSAGE_SKIPPED);
        if (told->noted_acked)
            assert_int_equal(m->state, MESSAGE_SKIPPED);
        message_free(m);
    }
    if (told->delivered_acked) {
        assert_int_equal(kit_apply(store, STORE_THREAD, &thread), 0);
        assert_int_equal(thread.conversation_id, 1);
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &again), 0);
        assert_int_equal(thread.taken_s == 7, again.result == ACCEPT_DUPLICATE);
        if (told->replied_acked)
            assert_int_equal(thread.taken_s, 7);
        if (!told->replied_asked)
            assert_int_equal(thread.taken_s, 0);
    }
    arena_done(&arena);
}

static void check_told(const char *path, const struct told *told)
{
    struct store *store = open_store(path);
    assert_non_null(store);
    assert_true(kit_verify(store, true));
    if (told->delivered_asked) {
        struct message *m = kit_message(store, told->first_id);
        if (told->delivered_acked)
            assert_int_equal(m->state, MESSAGE_DELIVERED);
        if (m->state == MESSAGE_DELIVERED)
            assert_true(str_eq_c(m->desk_ref, "ref"));
        message_free(m);
    }
    check_reply(store, told);
    for (int batch = 0; batch < BATCHES; batch++)
        check_batch(store, told, batch);
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
}

// Thousands of stores: in memory, where a flush costs nothing, if there is such a place.
static char *quick_path(void)
{
    char directory[] = "/dev/shm/tributary-test-XXXXXX";
    if (!mkdtemp(directory))
        return kit_store_path("faults");
    char *path = malloc(sizeof directory + 16);
    assert_non_null(path);
    snprintf(path, sizeof directory + 16, "%s/faults.db", directory);
    return path;
}

static void sweep(struct fault_vfs plan)
{
    char *path = quick_path();
    int64_t n = 1, hits = 1, places = 0;
    for (; hits; n += STEP, places++) {
        struct told told = {0};
        kit_remove(path);
        fault_vfs = plan;
        fault_vfs.at = n;
        run_scenario(path, &told);
        hits = plan.error == ENOSPC ? fault_vfs.calls >= n : fault_vfs.hits;
        fault_vfs_clear();
        check_told(path, &told);
    }
    print_message("# %lld places failed\n", (long long)places - 1);
    assert_true(n > 200);
    kit_remove(path);
    if (strncmp(path, "/dev/shm/", 9) == 0) {
        *strrchr(path, '/') = 0;
        rmdir(path);
    }
    free(path);
}

static void test_every_call_fails_once(void **state)
{
    (void)state;
    sweep((struct fault_vfs){.once = true, .error = EIO});
}

static void test_every_call_fails_from_then_on(void **state)
{
    (void)state;
    sweep((struct fault_vfs){.error = EIO});
}

static void test_every_write_is_torn_from_then_on(void **state)
{
    (void)state;
    sweep((struct fault_vfs){.error = EIO, .torn = true});
}

static void test_no_room_once(void **state)
{
    (void)state;
    sweep((struct fault_vfs){.once = true, .error = ENOSPC});
}

static void test_no_room_from_then_on(void **state)
{
    (void)state;
    sweep((struct fault_vfs){.error = ENOSPC});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_fails_once),
        cmocka_unit_test(test_every_call_fails_from_then_on),
        cmocka_unit_test(test_every_write_is_torn_from_then_on),
        cmocka_unit_test(test_no_room_once),
        cmocka_unit_test(test_no_room_from_then_on),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
