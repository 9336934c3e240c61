// LDFLAGS: -Wl,--wrap=write,--wrap=fsync,--wrap=renameat,--wrap=fstatvfs
// Kept files: one contract over both variants, then what only a directory can do and suffer.
#include "store/media_files.h"

#include "support/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ABC_HASH "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, appendix B.1
#define EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// ---- a disk that fails: the n-th call from now, with this error

static struct {
    int write_at, fsync_at, rename_at; // 0 = never
    int error;
    int fsyncs;
    uint64_t free_bytes; // 0 = what there is
    bool writes_little;
} disk;

ssize_t __wrap_write(int fd, const void *bytes, size_t n);
ssize_t __real_write(int fd, const void *bytes, size_t n);
int __wrap_fsync(int fd);
int __real_fsync(int fd);
int __wrap_renameat(int from_at, const char *from, int to_at, const char *to);
int __real_renameat(int from_at, const char *from, int to_at, const char *to);
int __wrap_fstatvfs(int fd, struct statvfs *out);
int __real_fstatvfs(int fd, struct statvfs *out);

static bool is_its_turn(int *at)
{
    if (*at == 0 || --*at > 0)
        return false;
    errno = disk.error;
    return true;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    if (is_its_turn(&disk.write_at))
        return -1;
    return __real_write(fd, bytes, disk.writes_little && n > 1 ? n / 2 : n);
}

int __wrap_fsync(int fd)
{
    disk.fsyncs++;
    return is_its_turn(&disk.fsync_at) ? -1 : __real_fsync(fd);
}

int __wrap_renameat(int from_at, const char *from, int to_at, const char *to)
{
    return is_its_turn(&disk.rename_at) ? -1 : __real_renameat(from_at, from, to_at, to);
}

int __wrap_fstatvfs(int fd, struct statvfs *out)
{
    int result = __real_fstatvfs(fd, out);
    if (disk.free_bytes)
        *out = (struct statvfs){.f_frsize = 1024, .f_bavail = disk.free_bytes / 1024};
    return result;
}

// ---- hands

static char directory[512];
static struct arena arena;

static const char *path_of(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

// A new one for each test, not made yet.
static int set_up(void **state)
{
    static int tests;
    (void)state;
    snprintf(directory, sizeof directory, "%s/files-%d", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp", tests++);
    memset(&disk, 0, sizeof disk);
    return 0;
}

static struct media_files *open_floor(int64_t floor_bytes)
{
    const char *why = NULL;
    struct media_files *files = media_files_open(directory, floor_bytes, &arena, &why);
    if (!files)
        fail_msg("%s", why);
    return files;
}

static struct media_files *open_dir(void)
{
    return open_floor(0);
}

static struct media_file *begin(struct media_files *files)
{
    int err = 0;
    struct media_file *file = files->ops->begin(files, &err);
    assert_non_null(file);
    return file;
}

struct told {
    int err;
    char hash[FILE_HASH_SIZE + 1];
    int64_t size;
    struct str mime;
};

static struct told try_keep(struct media_files *files, struct str bytes)
{
    struct told told = {.hash = "untouched", .size = -7};
    struct media_file *file = begin(files);
    told.err = files->ops->write(file, bytes);
    int err = files->ops->keep(file, told.hash, &told.size, &told.mime);
    assert_true(!told.err || told.err == err); // what could not be written is not kept
    told.err = err;
    if (err) {
        assert_string_equal(told.hash, "untouched");
        assert_int_equal(told.size, -7);
    }
    return told;
}

static struct told keep(struct media_files *files, struct str bytes)
{
    struct told told = try_keep(files, bytes);
    assert_int_equal(told.err, ERR_OK);
    return told;
}

static void count_one(void *arg, struct str hash, int64_t size)
{
    assert_int_equal(hash.n, FILE_HASH_SIZE);
    assert_true(size >= 0);
    ++*(int *)arg;
}

static int count(struct media_files *files)
{
    int kept = 0;
    assert_int_equal(media_files_each(files, count_one, &kept), ERR_OK);
    return kept;
}

// ---- the contract

static struct media_files *(*const variants[])(void) = {open_dir, media_files_memory_new};

static void each_variant(void (*check)(struct media_files *files))
{
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        struct media_files *files = variants[i]();
        check(files);
        files->ops->free(files);
    }
    arena_done(&arena);
}

static void check_keeping(struct media_files *files)
{
    struct media_file *file = begin(files);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), -1);
    assert_int_equal(files->ops->write(file, STR("a")), ERR_OK);
    assert_int_equal(files->ops->write(file, STR("")), ERR_OK);
    assert_int_equal(files->ops->write(file, STR("bc")), ERR_OK);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), -1);
    assert_int_equal(count(files), 0);
    struct told told;
    assert_int_equal(files->ops->keep(file, told.hash, &told.size, &told.mime), ERR_OK);
    assert_string_equal(told.hash, ABC_HASH);
    assert_int_equal(told.size, 3);
    assert_null(told.mime.p);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), 3);
    assert_int_equal(count(files), 1);
}

static void test_file_is_there_when_it_is_kept(void **state)
{
    (void)state;
    each_variant(check_keeping);
}

static void check_empty(struct media_files *files)
{
    struct told told;
    char room[1];
    assert_int_equal(files->ops->keep(begin(files), told.hash, &told.size, &told.mime), ERR_OK);
    assert_string_equal(told.hash, EMPTY_HASH);
    assert_int_equal(files->ops->find(files, STR(EMPTY_HASH)), 0);
    assert_int_equal(files->ops->read(files, STR(EMPTY_HASH), 0, room, 1), 0);
}

static void test_empty_file(void **state)
{
    (void)state;
    each_variant(check_empty);
}

static void check_twice(struct media_files *files)
{
    struct told first = keep(files, STR("the same")), second = keep(files, STR("the same"));
    assert_string_equal(first.hash, second.hash);
    assert_int_equal(count(files), 1);
    keep(files, STR("another"));
    assert_int_equal(count(files), 2);
    assert_int_equal(files->ops->remove(files, str_of(first.hash)), ERR_OK);
    assert_int_equal(files->ops->find(files, str_of(first.hash)), -1);
    assert_int_equal(count(files), 1);
}

static void test_same_bytes_are_one_file(void **state)
{
    (void)state;
    each_variant(check_twice);
}

static void check_at_once(struct media_files *files)
{
    struct media_file *one = begin(files), *other = begin(files), *dropped = begin(files);
    struct told told;
    files->ops->write(one, STR("ab"));
    files->ops->write(other, STR("other"));
    files->ops->write(dropped, STR("given up"));
    files->ops->write(one, STR("c"));
    files->ops->drop(dropped);
    files->ops->drop(NULL);
    assert_int_equal(files->ops->keep(other, told.hash, &told.size, &told.mime), ERR_OK);
    assert_int_equal(told.size, 5);
    assert_int_equal(files->ops->keep(one, told.hash, &told.size, &told.mime), ERR_OK);
    assert_string_equal(told.hash, ABC_HASH);
    assert_int_equal(count(files), 2);
}

static void test_several_are_written_at_once(void **state)
{
    (void)state;
    each_variant(check_at_once);
}

static void check_ranges(struct media_files *files)
{
    static const struct {
        int64_t offset;
        size_t size;
        const char *bytes;
    } rows[] = {{0, 10, "0123456789"}, {0, 99, "0123456789"}, {0, 3, "012"}, {4, 3, "456"}, {8, 5, "89"},
                {9, 1, "9"},           {10, 1, ""},           {99, 4, ""},   {0, 0, ""}};
    struct told told = keep(files, STR("0123456789"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char room[100] = "";
        int64_t n = files->ops->read(files, str_of(told.hash), rows[i].offset, room, rows[i].size);
        assert_int_equal(n, strlen(rows[i].bytes));
        assert_string_equal(room, rows[i].bytes);
    }
}

static void test_ranges_are_read(void **state)
{
    (void)state;
    each_variant(check_ranges);
}

static void check_large(struct media_files *files)
{
    enum { SIZE = 3 << 20, PIECE = 16 * 1024 - 1 };
    char *bytes = malloc(SIZE), *back = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 2654435761U >> 13);
    struct media_file *file = begin(files);
    for (size_t at = 0; at < SIZE; at += PIECE)
        assert_int_equal(files->ops->write(file, str_sub((struct str){bytes, SIZE}, at, at + PIECE)), ERR_OK);
    struct told told;
    assert_int_equal(files->ops->keep(file, told.hash, &told.size, &told.mime), ERR_OK);
    assert_int_equal(told.size, SIZE);
    assert_int_equal(files->ops->read(files, str_of(told.hash), 0, back, SIZE), SIZE);
    assert_memory_equal(back, bytes, SIZE);
    free(bytes);
    free(back);
}

static void test_large_file_comes_back_as_it_was(void **state)
{
    (void)state;
    disk.writes_little = true; // a write may take less than it was given
    each_variant(check_large);
}

static void check_sniffed(struct media_files *files)
{
    struct media_file *file = begin(files);
    struct told told;
    files->ops->write(file, STR("\x89P"));
    files->ops->write(file, STR("NG\r\n\x1a\nand so on"));
    assert_int_equal(files->ops->keep(file, told.hash, &told.size, &told.mime), ERR_OK);
    assert_str(told.mime, "image/png");
}

static void test_first_bytes_say_what_it_is(void **state)
{
    (void)state;
    each_variant(check_sniffed);
}

static void check_names_that_are_none(struct media_files *files)
{
    static const char *const names[] = {
        "",
        "..",
        "../../../../../../../../../../../../../../../../../../../etc/passwd",
        "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
        "0000000000000000000000000000000000000000000000000000000000000000",
    };
    char room[8];
    keep(files, STR("abc"));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct str name = str_of(names[i]);
        assert_int_equal(files->ops->find(files, name), -1);
        assert_int_equal(files->ops->read(files, name, 0, room, sizeof room), ERR_NOT_FOUND);
        assert_int_equal(files->ops->remove(files, name), ERR_NOT_FOUND);
    }
    assert_int_equal(files->ops->find(files, STR_NONE), -1);
    assert_int_equal(count(files), 1);
}

static void test_name_that_is_no_hash_is_not_found(void **state)
{
    (void)state;
    each_variant(check_names_that_are_none);
}

struct removing {
    struct media_files *files;
    int removed;
};

static void remove_one(void *arg, struct str hash, int64_t size)
{
    struct removing *removing = arg;
    (void)size;
    removing->removed += removing->files->ops->remove(removing->files, hash) == ERR_OK;
}

static void check_removing_all(struct media_files *files)
{
    struct removing removing = {.files = files};
    for (int i = 0; i < 300; i++) {
        char text[16];
        snprintf(text, sizeof text, "%d", i);
        keep(files, str_of(text));
    }
    assert_int_equal(count(files), 300);
    assert_int_equal(media_files_each(files, remove_one, &removing), ERR_OK);
    assert_int_equal(removing.removed, 300);
    assert_int_equal(count(files), 0);
}

static void test_all_are_told_of_and_may_be_removed_meanwhile(void **state)
{
    (void)state;
    each_variant(check_removing_all);
}

// ---- the directory

static void test_files_are_there_after_the_next_opening(void **state)
{
    (void)state;
    struct media_files *files = open_dir();
    keep(files, STR("abc"));
    files->ops->free(files);
    files = open_dir();
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), 3);
    assert_int_equal(access(path_of("ba/" ABC_HASH), F_OK), 0);
    files->ops->free(files);
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(path_of(name), &st), 0);
    return st.st_mode & 0777;
}

static void test_nobody_else_may_read_them(void **state)
{
    (void)state;
    mode_t mask = umask(0);
    struct media_files *files = open_dir();
    keep(files, STR("abc"));
    umask(mask);
    assert_int_equal(mode_of("."), 0700);
    assert_int_equal(mode_of("new"), 0700);
    assert_int_equal(mode_of("ba"), 0700);
    assert_int_equal(mode_of("ba/" ABC_HASH), 0600);
    files->ops->free(files);
}

static int begun_files(void)
{
    int n = 0;
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "new/%d", i);
        n += access(path_of(name), F_OK) == 0;
    }
    return n;
}

static void test_what_a_crash_left_half_written_is_removed(void **state)
{
    (void)state;
    struct media_files *files = open_dir();
    keep(files, STR("abc"));
    files->ops->free(files);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "new/%d", i);
        close(open(path_of(name), O_CREAT | O_WRONLY, 0600));
    }
    assert_int_equal(begun_files(), 3);
    files = open_dir();
    assert_int_equal(begun_files(), 0);
    assert_int_equal(count(files), 1);
    struct media_file *file = begin(files);
    assert_int_equal(begun_files(), 1);
    files->ops->drop(file);
    assert_int_equal(begun_files(), 0);
    files->ops->free(files);
}

// The file, its directory, and the one above where that was made.
static void test_each_step_is_flushed(void **state)
{
    (void)state;
    struct media_files *files = open_dir();
    disk.fsyncs = 0;
    keep(files, STR("abc"));
    assert_int_equal(disk.fsyncs, 3);
    keep(files, STR("abc")); // it may be there and its name not be durable
    assert_int_equal(disk.fsyncs, 5);
    files->ops->free(files);
}

static void check_nothing_is_left(struct media_files *files, struct str bytes, int err)
{
    assert_int_equal(try_keep(files, bytes).err, err);
    assert_int_equal(begun_files(), 0);
    assert_int_equal(count(files), 0);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), -1);
    keep(files, bytes); // and the next one is as if nothing had been
    assert_int_equal(count(files), 1);
    files->ops->remove(files, STR(ABC_HASH));
}

static void test_item_59_disk_that_fails_keeps_nothing(void **state)
{
    (void)state;
    int *const calls[] = {&disk.write_at, &disk.fsync_at, &disk.rename_at};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct media_files *files = open_dir();
        disk.error = EIO;
        *calls[i] = 1;
        check_nothing_is_left(files, STR("abc"), ERR_IO);
        disk.error = ENOSPC;
        *calls[i] = 1;
        check_nothing_is_left(files, STR("abc"), ERR_FULL);
        files->ops->free(files);
    }
    struct media_files *files = open_dir();
    disk.error = EFBIG; // of this file alone
    disk.write_at = 1;
    check_nothing_is_left(files, STR("abc"), ERR_TOO_LARGE);
    files->ops->free(files);
}

// Of the subdirectory, made or there before; of the directory.
static void test_item_59_directory_that_cannot_be_flushed_keeps_nothing(void **state)
{
    (void)state;
    for (int nth = 2; nth <= 3; nth++) {
        set_up(state);
        struct media_files *files = open_dir();
        disk.error = EIO;
        disk.fsync_at = nth;
        assert_int_equal(try_keep(files, STR("abc")).err, ERR_IO);
        assert_int_equal(access(path_of("ba"), F_OK) == 0, nth == 3); // one whose name may not last is made again
        if (nth == 3)
            assert_int_equal(rmdir(path_of("ba")), 0); // it is empty
        disk.fsync_at = nth;
        check_nothing_is_left(files, STR("abc"), ERR_IO);
        files->ops->free(files);
    }
    struct media_files *files = open_dir();
    disk.error = EIO;
    disk.fsync_at = 2;
    check_nothing_is_left(files, STR("abc"), ERR_IO);
    files->ops->free(files);
}

static void test_failed_flush_of_the_same_bytes_loses_not_the_ones_before(void **state)
{
    (void)state;
    struct media_files *files = open_dir();
    char room[4] = "";
    keep(files, STR("abc"));
    disk.error = EIO;
    disk.fsync_at = 2;
    assert_int_equal(try_keep(files, STR("abc")).err, ERR_IO);
    assert_int_equal(files->ops->read(files, STR(ABC_HASH), 0, room, 3), 3);
    assert_string_equal(room, "abc");
    files->ops->free(files);
}

static void test_write_that_was_interrupted_goes_on(void **state)
{
    (void)state;
    struct media_files *files = open_dir();
    disk.error = EINTR;
    disk.write_at = 1;
    assert_string_equal(keep(files, STR("abc")).hash, ABC_HASH);
    files->ops->free(files);
}

static void test_nothing_is_begun_below_the_floor(void **state)
{
    (void)state;
    struct media_files *files = open_floor(1 << 20);
    int err = 0;
    disk.free_bytes = (1 << 20) - 1024;
    assert_null(files->ops->begin(files, &err));
    assert_int_equal(err, ERR_FULL);
    assert_int_equal(begun_files(), 0);
    disk.free_bytes = 1 << 20;
    keep(files, STR("abc"));
    files->ops->free(files);
}

static void test_links_are_not_followed(void **state)
{
    (void)state;
    struct media_files *files = open_dir();
    char room[8];
    keep(files, STR("abc"));
    assert_int_equal(unlink(path_of("ba/" ABC_HASH)), 0);
    assert_int_equal(symlink("/etc/hostname", path_of("ba/" ABC_HASH)), 0);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), -1);
    assert_int_equal(files->ops->read(files, STR(ABC_HASH), 0, room, sizeof room), ERR_IO);
    assert_int_equal(count(files), 0);
    keep(files, STR("abc")); // takes its place
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), 3);
    files->ops->remove(files, STR(ABC_HASH));
    assert_int_equal(rmdir(path_of("ba")), 0);
    assert_int_equal(symlink("/tmp", path_of("ba")), 0);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), -1);
    assert_int_equal(try_keep(files, STR("abc")).err, ERR_IO);
    assert_int_equal(begun_files(), 0);
    files->ops->free(files);
}

static void test_directory_that_was_removed_is_made_anew(void **state)
{
    (void)state;
    char room[8];
    struct media_files *files = open_dir();
    struct media_file *lost = begin(files);
    struct told told;
    keep(files, STR("abc"));
    unlink(path_of("ba/" ABC_HASH));
    unlink(path_of("new/0"));
    assert_true(rmdir(path_of("ba")) == 0 && rmdir(path_of("new")) == 0 && rmdir(directory) == 0);
    assert_int_equal(files->ops->find(files, STR(ABC_HASH)), -1);
    keep(files, STR("abc"));
    assert_int_equal(access(path_of("ba/" ABC_HASH), F_OK), 0);
    assert_int_equal(files->ops->read(files, STR(ABC_HASH), 0, room, sizeof room), 3);
    assert_int_equal(files->ops->keep(lost, told.hash, &told.size, &told.mime),
                     ERR_IO);                   // what was being written is gone
    assert_int_equal(rmdir(path_of("new")), 0); // this alone
    keep(files, STR("x"));
    assert_int_equal(count(files), 2);
    files->ops->free(files);
    arena_done(&arena);
}

static void test_directory_that_cannot_be_used_is_told(void **state)
{
    (void)state;
    const char *why = NULL;
    close(open(directory, O_CREAT | O_WRONLY, 0600));
    assert_null(media_files_open(directory, 0, &arena, &why));
    assert_non_null(strstr(why, directory));
    assert_null(media_files_open(path_of("below/it"), 0, &arena, &why));
    unlink(directory);
    assert_null(media_files_open(path_of("below/it"), 0, &arena, &why));
    assert_non_null(strstr(why, "No such file"));
    assert_int_equal(mkdir(directory, 0700), 0);
    assert_int_equal(symlink("/tmp", path_of("new")), 0);
    assert_null(media_files_open(directory, 0, &arena, &why));
    assert_non_null(strstr(why, "\"new\""));
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_file_is_there_when_it_is_kept, set_up),
        cmocka_unit_test_setup(test_empty_file, set_up),
        cmocka_unit_test_setup(test_same_bytes_are_one_file, set_up),
        cmocka_unit_test_setup(test_several_are_written_at_once, set_up),
        cmocka_unit_test_setup(test_ranges_are_read, set_up),
        cmocka_unit_test_setup(test_large_file_comes_back_as_it_was, set_up),
        cmocka_unit_test_setup(test_first_bytes_say_what_it_is, set_up),
        cmocka_unit_test_setup(test_name_that_is_no_hash_is_not_found, set_up),
        cmocka_unit_test_setup(test_all_are_told_of_and_may_be_removed_meanwhile, set_up),
        cmocka_unit_test_setup(test_files_are_there_after_the_next_opening, set_up),
        cmocka_unit_test_setup(test_nobody_else_may_read_them, set_up),
        cmocka_unit_test_setup(test_what_a_crash_left_half_written_is_removed, set_up),
        cmocka_unit_test_setup(test_each_step_is_flushed, set_up),
        cmocka_unit_test_setup(test_item_59_disk_that_fails_keeps_nothing, set_up),
        cmocka_unit_test_setup(test_item_59_directory_that_cannot_be_flushed_keeps_nothing, set_up),
        cmocka_unit_test_setup(test_failed_flush_of_the_same_bytes_loses_not_the_ones_before, set_up),
        cmocka_unit_test_setup(test_write_that_was_interrupted_goes_on, set_up),
        cmocka_unit_test_setup(test_nothing_is_begun_below_the_floor, set_up),
        cmocka_unit_test_setup(test_links_are_not_followed, set_up),
        cmocka_unit_test_setup(test_directory_that_was_removed_is_made_anew, set_up),
        cmocka_unit_test_setup(test_directory_that_cannot_be_used_is_told, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
