// Single faults of the disk and what follows: no room, a flush that fails. Every call in turn: test_sqlite_faults.c.
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/fault_vfs.h"
#include "support/store_kit.h"

static struct store *open_with(const struct store_options *options)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store *store = store_sqlite_open(options, &arena, &why);
    if (!store)
        fail_msg("%s", why);
    arena_done(&arena);
    return store;
}

static struct store *open_store(const char *path)
{
    return open_with(&(struct store_options){.path = path, .log_bytes = 65536});
}

static void test_no_room_for_a_batch_leaves_the_store_in_use(void **state)
{
    (void)state;
    char *path = kit_store_path("full");
    struct store *store = open_store(path);
    struct store_accept accept = kit_accept("k", "c");
    fault_vfs = (struct fault_vfs){.at = 1, .error = ENOSPC};
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), ERR_FULL);
    fault_vfs_clear();
    assert_int_equal(kit_totals(store).accepted, 0);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    assert_int_equal(accept.result, ACCEPT_STORED);
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
    free(path);
}

static void test_ballast_makes_room_for_outcomes(void **state)
{
    (void)state;
    char *path = kit_store_path("ballast"), ballast[512];
    struct store *store = open_with(&(struct store_options){.path = path, .ballast_bytes = 65536, .log_bytes = 65536});
    snprintf(ballast, sizeof ballast, "%s.ballast", path);
    struct store_accept accept = kit_store(store, "k", "c");
    assert_int_equal(access(ballast, F_OK), 0);
    fault_vfs = (struct fault_vfs){.at = 1, .once = true, .error = ENOSPC};
    assert_true(kit_settle(store, accept.message_id, MESSAGE_DELIVERED));
    assert_int_equal(fault_vfs.hits, 1);
    fault_vfs_clear();
    assert_int_not_equal(access(ballast, F_OK), 0);
    assert_int_equal(store->ops->checkpoint(store, false), 0); // there is room again
    assert_int_equal(access(ballast, F_OK), 0);
    store->ops->close(store, true);
    free(path);
}

static void test_failed_flush_breaks_the_store_for_good(void **state)
{
    (void)state;
    char *path = kit_store_path("flush");
    struct store *store = open_store(path);
    kit_store(store, "before", "c");
    assert_int_equal(store->ops->flush(store), 0);
    kit_store(store, "k", "c");
    fault_vfs = (struct fault_vfs){.at = 1, .once = true, .error = EIO};
    assert_int_equal(store->ops->flush(store), ERR_IO);
    assert_int_equal(fault_vfs.hits, 1);
    assert_int_equal(store->ops->flush(store), ERR_IO); // the kernel would say that all is well now (S1)
    assert_int_equal(fault_vfs.calls, 1);
    struct store_mark mark = {1, false};
    struct lane_page page;
    assert_int_equal(kit_apply(store, STORE_MARK, &mark), ERR_IO);
    assert_int_equal(store->ops->load_lane(store, 4, 0, 1, &page), ERR_IO);
    assert_int_equal(store->ops->checkpoint(store, false), ERR_IO);
    store->ops->close(store, true); // even a clean stop writes nothing more
    fault_vfs_clear();
    store = open_store(path);
    assert_true(kit_totals(store).accepted >= 1);
    assert_true(kit_verify(store, true));
    store->ops->close(store, true);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_room_for_a_batch_leaves_the_store_in_use),
        cmocka_unit_test(test_ballast_makes_room_for_outcomes),
        cmocka_unit_test(test_failed_flush_breaks_the_store_for_good),
    };
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
