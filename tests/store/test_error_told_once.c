// Rule S1 on two threads: Linux tells of a page that could not be written once for each opening of the file, and takes it for
// written then. Files that do so, in front of SQLite's own: a checkpoint that is told must not keep it from flush().
#include "store/sqlite.h"
#include "support/store_kit.h"
#include "support/unit.h"
#include "support/vfs_front.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int errors; // of the log, so far

struct file {
    struct vfs_front front; // first
    bool is_log;
    int told; // of the errors
};

static struct file *file_of(sqlite3_file *file)
{
    return (struct file *)file;
}

static int file_sync(sqlite3_file *file, int flags)
{
    struct file *f = file_of(file);
    if (f->is_log && f->told != errors) {
        f->told = errors;
        return SQLITE_IOERR_FSYNC;
    }
    return real_of(file)->pMethods->xSync(real_of(file), flags);
}

static const sqlite3_io_methods methods = {
    VFS_FRONT_PASSED, .xRead = pass_read, .xWrite = pass_write, .xTruncate = pass_truncate, .xSync = file_sync,
};

static sqlite3_vfs *real_vfs;

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags)
{
    (void)vfs;
    struct file *f = file_of(file);
    f->front.base.pMethods = NULL;
    f->front.real = (sqlite3_file *)(f + 1);
    f->is_log = (flags & SQLITE_OPEN_WAL) != 0;
    f->told = errors;
    int code = real_vfs->xOpen(real_vfs, name, f->front.real, flags, out_flags);
    if (f->front.real->pMethods)
        f->front.base.pMethods = &methods;
    return code;
}

static void install(void)
{
    static sqlite3_vfs vfs;
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); // as the store would
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "told-once";
    vfs.pNext = NULL;
    vfs.szOsFile = real_vfs->szOsFile + (int)sizeof(struct file);
    vfs.xOpen = vfs_open;
    sqlite3_vfs_register(&vfs, 1);
}

// So far that a checkpoint moves it, and no commit has to.
static void fill_log(struct store *store)
{
    const struct sqlite_store *s = sqlite_of(store);
    static char text[8000];
    memset(text, 'x', sizeof text);
    for (int i = 0; s->log_frames * 100 < s->log_frames_usual * 40; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        struct store_accept accept = kit_accept(key, "c");
        accept.event.text = (struct str){text, sizeof text};
        assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    }
}

static void test_what_a_checkpoint_is_told_the_flush_is_told_too(void **state)
{
    (void)state;
    char *path = kit_store_path("told");
    struct arena arena = {0};
    const char *why = NULL;
    struct store *store = store_sqlite_open(&(struct store_options){.path = path, .log_bytes = 1 << 20}, &arena, &why);
    assert_non_null(store);
    fill_log(store);
    errors++;
    assert_int_equal(store->ops->checkpoint(store, false), ERR_IO);
    atomic_store(&sqlite_of(store)->broken, 0); // the flush has begun before the other thread could say so
    assert_int_equal(store->ops->flush(store), ERR_IO);
    store->ops->close(store, false);
    arena_done(&arena);
    free(path);
}

static void test_what_the_flush_is_told_a_reader_is_told_too(void **state)
{
    (void)state;
    char *path = kit_store_path("told-reader");
    struct store *store = kit_open(path);
    kit_store(store, "a", "c");
    struct store_reader *reader = store->ops->reader_new(store);
    struct store_totals totals;
    assert_int_equal(reader->ops->totals(reader, &totals), 0);
    errors++;
    assert_int_equal(store->ops->flush(store), ERR_IO);
    assert_int_equal(reader->ops->flush(reader), ERR_IO);
    reader->ops->free(reader);
    store->ops->close(store, false);
    free(path);
}

int main(void)
{
    install();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_checkpoint_is_told_the_flush_is_told_too),
        cmocka_unit_test(test_what_the_flush_is_told_a_reader_is_told_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
