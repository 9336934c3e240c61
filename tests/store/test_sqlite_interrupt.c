// A reader that is interrupted ends its calls, so that a stop need not wait for a long verification.
#include "store/store.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>

static void test_an_interrupted_reader_gives_up(void **state)
{
    (void)state;
    char path[256];
    const char *tmp = getenv("TMPDIR"), *why = NULL;
    struct arena arena = {0};
    struct store_check check = {.deep = true};
    snprintf(path, sizeof path, "%s/interrupt.db", tmp ? tmp : "/tmp");
    struct store_options options = {.path = path};
    struct store *store = store_sqlite_open(&options, &arena, &why);
    assert_non_null(store);
    struct store_reader *reader = store->ops->reader_new(store);
    assert_int_equal(reader->ops->verify(reader, &check), ERR_OK);
    assert_true(check.ok);
    reader->ops->interrupt(reader);
    assert_int_equal(reader->ops->verify(reader, &check), ERR_BUSY);
    reader->ops->free(reader);
    store->ops->close(store, true);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_an_interrupted_reader_gives_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
