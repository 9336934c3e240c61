#include "store/sqlite_noted.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_ROOM = 64 };

void sqlite_noted_done(struct sqlite_noted *noted)
{
    free(noted->entries);
    free(noted->leaving);
    *noted = (struct sqlite_noted){0};
}

// An id beyond half of all numbers, which a damaged row alone has, is never found.
static int64_t entry_of(int64_t id)
{
    return (int64_t)(2 * (uint64_t)id);
}

// Of the first entry that is not of a lower id.
static size_t place_of(const struct sqlite_noted *noted, int64_t id)
{
    size_t from = 0, to = noted->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (noted->entries[middle] / 2 < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static int64_t *make_room(int64_t *list, size_t count, size_t *room)
{
    if (count < *room)
        return list;
    *room = *room ? 2 * *room : LEAST_ROOM;
    return mem_resize(list, *room * sizeof *list);
}

static bool is_at(const struct sqlite_noted *noted, size_t place, int64_t id)
{
    return place < noted->count && noted->entries[place] / 2 == id;
}

void sqlite_noted_add(struct sqlite_noted *noted, int64_t id)
{
    size_t place = place_of(noted, id);
    if (is_at(noted, place, id)) {
        noted->left -= noted->entries[place] & 1;
        noted->entries[place] = entry_of(id);
        return;
    }
    noted->entries = make_room(noted->entries, noted->count, &noted->room);
    memmove(noted->entries + place + 1, noted->entries + place, (noted->count - place) * sizeof *noted->entries);
    noted->entries[place] = entry_of(id);
    noted->count++;
}

bool sqlite_noted_has(const struct sqlite_noted *noted, int64_t id)
{
    size_t place = noted->count ? place_of(noted, id) : 0;
    return is_at(noted, place, id) && noted->entries[place] == entry_of(id);
}

void sqlite_noted_remove(struct sqlite_noted *noted, int64_t id)
{
    noted->leaving = make_room(noted->leaving, noted->leaving_count, &noted->leaving_room);
    noted->leaving[noted->leaving_count++] = id;
}

static void close_up(struct sqlite_noted *noted)
{
    size_t kept = 0;
    for (size_t i = 0; i < noted->count; i++)
        if (!(noted->entries[i] & 1))
            noted->entries[kept++] = noted->entries[i];
    noted->count = kept;
    noted->left = 0;
}

void sqlite_noted_commit(struct sqlite_noted *noted)
{
    for (size_t i = 0; i < noted->leaving_count; i++) {
        size_t place = place_of(noted, noted->leaving[i]);
        if (!is_at(noted, place, noted->leaving[i]) || noted->entries[place] & 1)
            continue;
        noted->entries[place]++;
        noted->left++;
    }
    noted->leaving_count = 0;
    if (noted->left > noted->count / 2)
        close_up(noted);
}

void sqlite_noted_undo(struct sqlite_noted *noted)
{
    noted->leaving_count = 0;
}
