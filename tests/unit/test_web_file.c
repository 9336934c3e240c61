// The files that script/embed made part of the program are what lies in web/, byte for byte.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/web_file.h"

static void test_table_is_sorted_and_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < web_files_count; i++) {
        assert_non_null(web_files[i].path);
        assert_int_not_equal(web_files[i].path[0], '/');
        assert_non_null(strchr(web_files[i].mime, '/'));
        assert_int_equal(web_files[i].data[web_files[i].size], 0);
        if (i > 0)
            assert_true(strcmp(web_files[i - 1].path, web_files[i].path) < 0);
    }
}

static void test_bytes_are_those_of_the_directory(void **state)
{
    (void)state;
    for (size_t i = 0; i < web_files_count; i++) {
        char path[512];
        snprintf(path, sizeof(path), "web/%s", web_files[i].path);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        size_t n = 0;
        for (int c; (c = fgetc(file)) != EOF; n++) {
            assert_true(n < web_files[i].size);
            assert_int_equal(c, web_files[i].data[n]);
        }
        assert_int_equal(n, web_files[i].size);
        fclose(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_sorted_and_complete),
        cmocka_unit_test(test_bytes_are_those_of_the_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
