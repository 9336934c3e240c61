#include "store/store.h"

void lane_page_done(struct lane_page *page)
{
    if (!page)
        return;
    for (size_t i = 0; i < page->count; i++)
        message_free(page->entries[i].message);
    arena_done(&page->arena);
    *page = (struct lane_page){0};
}
