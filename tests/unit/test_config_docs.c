// docs/configuration.md and tributary.yaml(5) list exactly the keys of the table. After a change of the table:
//   CONFIG_DOCS_WRITE=1 build/debug/tests/unit/test_config_docs
#include "app/config_keys.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct page {
    const char *path, *begin, *end;
    void (*write)(struct buf *out);
};

static const struct page pages[] = {
    {"docs/configuration.md", "<!-- keys: made from the table in src/app/config_keys.c -->\n", "<!-- end of keys -->\n",
     config_keys_markdown},
    {"docs/man/tributary.yaml.5", ".\\\" keys: made from the table in src/app/config_keys.c\n", ".\\\" end of keys\n",
     config_keys_man},
};

static void read_page(const char *path, struct buf *out)
{
    char block[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        buf_add(out, block, n);
    fclose(file);
}

// The page with its keys as the table has them.
static void renew(const struct page *page, const struct buf *text, struct buf *out)
{
    const char *begin = strstr(text->p, page->begin), *end = strstr(text->p, page->end);
    assert_non_null(begin);
    assert_non_null(end);
    begin += strlen(page->begin);
    buf_add(out, text->p, (size_t)(begin - text->p));
    page->write(out);
    buf_add_str(out, str_of(end));
}

static void test_pages_hold_the_keys_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        struct buf text, wanted;
        buf_init(&text, 1 << 20);
        buf_init(&wanted, 1 << 20);
        read_page(pages[i].path, &text);
        renew(&pages[i], &text, &wanted);
        if (getenv("CONFIG_DOCS_WRITE")) {
            FILE *file = fopen(pages[i].path, "w");
            assert_non_null(file);
            fwrite(wanted.p, 1, wanted.n, file);
            fclose(file);
        } else {
            assert_string_equal(text.p, wanted.p);
        }
        buf_done(&text);
        buf_done(&wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pages_hold_the_keys_of_the_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
