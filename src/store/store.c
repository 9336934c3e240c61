#include "store/store.h"

#include "base/must.h"

void lane_page_done(struct lane_page *page)
{
    if (!page)
        return;
    for (size_t i = 0; i < page->count; i++)
        message_free(page->entries[i].message);
    arena_done(&page->arena);
    *page = (struct lane_page){0};
}

const char *store_finding_kind_name(enum store_finding_kind kind)
{
    static const char *const names[] = {"sum", "damaged", "order", "file", "unproven", "note"};
    must((size_t)kind < sizeof names / sizeof *names);
    return names[kind];
}
