#include "store/sqlite_fresh.h"

#include "base/hash_index.h"
#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>

struct entry {
    struct sqlite_fresh_message message;
    uint32_t before,
        next; // in its lane, a ring: the last stands before the first. Kept when it has left, for coming back
    bool waits;
};

struct block {
    struct block *younger;
    struct hash_index firsts; // the number of each lane's first entry
    int64_t *lanes;           // in order: those that have entries, and some that had; NULL: to be made
    size_t lane_count;
    int64_t lane; // lanes before this one were given out
    size_t used, waiting;
    size_t low; // entries before this one have left
    struct entry entries[];
};

struct step {
    struct block *block;
    uint32_t number;
    bool entered;
};

struct sqlite_fresh {
    size_t size; // of a block
    struct block *oldest, *youngest;
    struct step *steps; // since the last commit
    size_t step_count, step_room;
};

// ---- one block ----

static struct block *block_new(size_t size)
{
    struct block *block = mem_new(sizeof *block + size * sizeof block->entries[0]);
    block->lane = INT64_MIN;
    return block;
}

static void forget_lanes(struct block *block)
{
    free(block->lanes);
    block->lanes = NULL;
    block->lane = INT64_MIN;
}

static void block_free(struct block *block)
{
    forget_lanes(block);
    hash_index_done(&block->firsts);
    free(block);
}

static uint64_t hash_of(int64_t lane)
{
    return ((uint64_t)lane * 0x9e3779b97f4a7c15) >> 32;
}

struct lane_of {
    const struct block *block;
    int64_t lane;
};

static bool is_of_lane(const void *arg, uint32_t number)
{
    const struct lane_of *wanted = arg;
    return wanted->block->entries[number].message.lane == wanted->lane;
}

// HASH_INDEX_NONE: nothing of the lane waits here.
static uint32_t first_of(const struct block *block, int64_t lane)
{
    return hash_index_find(&block->firsts, hash_of(lane), is_of_lane, &(struct lane_of){block, lane});
}

// Numbers grow along the ring, but for the step from the last to the first.
static bool is_first(const struct block *block, uint32_t number)
{
    return block->entries[number].before >= number;
}

static void leave(struct block *block, uint32_t number)
{
    struct entry *entry = &block->entries[number];
    uint64_t hash = hash_of(entry->message.lane);
    if (is_first(block, number)) {
        hash_index_remove(&block->firsts, hash, number);
        if (entry->next != number)
            hash_index_add(&block->firsts, hash, entry->next);
    }
    block->entries[entry->before].next = entry->next;
    block->entries[entry->next].before = entry->before;
    entry->waits = false;
    block->waiting--;
}

// Between those that it names as its neighbours.
static void enter(struct block *block, uint32_t number)
{
    struct entry *entry = &block->entries[number];
    uint64_t hash = hash_of(entry->message.lane);
    if (is_first(block, number)) {
        if (entry->next != number)
            hash_index_remove(&block->firsts, hash, entry->next);
        hash_index_add(&block->firsts, hash, number);
    }
    block->entries[entry->before].next = number;
    block->entries[entry->next].before = number;
    entry->waits = true;
    block->waiting++;
}

static int64_t last_id(const struct block *block)
{
    return block->used ? block->entries[block->used - 1].message.id : INT64_MIN;
}

static bool find(const struct block *block, int64_t id, uint32_t *out)
{
    size_t from = 0, to = block->used;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (block->entries[middle].message.id < id)
            from = middle + 1;
        else
            to = middle;
    }
    *out = (uint32_t)from;
    return from < block->used && block->entries[from].message.id == id && block->entries[from].waits;
}

static int compare_lanes(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sort_lanes(struct block *block)
{
    if (block->lanes)
        return;
    block->lanes = mem_new((block->waiting ? block->waiting : 1) * sizeof *block->lanes);
    block->lane_count = 0;
    for (uint32_t i = (uint32_t)block->low; i < block->used; i++)
        if (block->entries[i].waits && is_first(block, i))
            block->lanes[block->lane_count++] = block->entries[i].message.lane;
    qsort(block->lanes, block->lane_count, sizeof *block->lanes, compare_lanes);
}

// The first entry of the lowest lane > after.
static uint32_t next_lane(struct block *block, int64_t after)
{
    sort_lanes(block);
    size_t from = 0, to = block->lane_count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (block->lanes[middle] <= after)
            from = middle + 1;
        else
            to = middle;
    }
    uint32_t first = HASH_INDEX_NONE;
    for (; from < block->lane_count && first == HASH_INDEX_NONE; from++)
        first = first_of(block, block->lanes[from]);
    return first;
}

// ---- all of them ----

struct sqlite_fresh *sqlite_fresh_new(size_t block)
{
    struct sqlite_fresh *fresh = mem_new_of(struct sqlite_fresh);
    must(block && block < HASH_INDEX_MAX);
    fresh->size = block;
    fresh->oldest = fresh->youngest = block_new(block);
    return fresh;
}

static void free_blocks(struct sqlite_fresh *fresh)
{
    while (fresh->oldest) {
        struct block *block = fresh->oldest;
        fresh->oldest = block->younger;
        block_free(block);
    }
}

void sqlite_fresh_free(struct sqlite_fresh *fresh)
{
    if (!fresh)
        return;
    free_blocks(fresh);
    free(fresh->steps);
    free(fresh);
}

void sqlite_fresh_clear(struct sqlite_fresh *fresh)
{
    free_blocks(fresh);
    fresh->oldest = fresh->youngest = block_new(fresh->size);
    fresh->step_count = 0;
}

static void note(struct sqlite_fresh *fresh, struct step step)
{
    if (fresh->step_count == fresh->step_room) {
        fresh->step_room = fresh->step_room ? fresh->step_room * 2 : 64;
        fresh->steps = mem_resize(fresh->steps, fresh->step_room * sizeof *fresh->steps);
    }
    fresh->steps[fresh->step_count++] = step;
}

void sqlite_fresh_add(struct sqlite_fresh *fresh, struct sqlite_fresh_message message)
{
    if (fresh->youngest->used == fresh->size)
        fresh->youngest = fresh->youngest->younger = block_new(fresh->size);
    struct block *block = fresh->youngest;
    must(message.id > last_id(block));
    uint32_t number = (uint32_t)block->used++, first = first_of(block, message.lane);
    struct entry *entry = &block->entries[number];
    *entry = (struct entry){.message = message, .before = number, .next = number};
    if (first != HASH_INDEX_NONE) {
        entry->before = block->entries[first].before;
        entry->next = first;
    } else {
        forget_lanes(block);
    }
    enter(block, number);
    note(fresh, (struct step){block, number, true});
}

bool sqlite_fresh_remove(struct sqlite_fresh *fresh, int64_t id)
{
    for (struct block *block = fresh->oldest; block; block = block->younger) {
        uint32_t number;
        if (last_id(block) < id)
            continue;
        if (!find(block, id, &number))
            return false;
        leave(block, number);
        note(fresh, (struct step){block, number, false});
        return true;
    }
    return false;
}

void sqlite_fresh_commit(struct sqlite_fresh *fresh)
{
    fresh->step_count = 0;
    while (fresh->oldest != fresh->youngest && !fresh->oldest->waiting) {
        struct block *block = fresh->oldest;
        fresh->oldest = block->younger;
        block_free(block);
    }
    struct block *block = fresh->oldest;
    if (block->used == fresh->size && !block->waiting) // all were settled: it begins again
        block->used = block->low = 0;
}

// Backwards: each finds its neighbours as they were.
void sqlite_fresh_undo(struct sqlite_fresh *fresh)
{
    while (fresh->step_count) {
        struct step *step = &fresh->steps[--fresh->step_count];
        if (step->entered) {
            leave(step->block, step->number);
            step->block->used--;
        } else {
            enter(step->block, step->number);
        }
    }
    for (struct block *block = fresh->oldest; block; block = block->younger) {
        forget_lanes(block);
        block->low = 0;
    }
}

const struct sqlite_fresh_message *sqlite_fresh_next(struct sqlite_fresh *fresh, int64_t lane, int64_t after)
{
    for (struct block *block = fresh->oldest; block; block = block->younger) {
        uint32_t first = first_of(block, lane), number;
        if (first == HASH_INDEX_NONE || block->entries[block->entries[first].before].message.id <= after)
            continue;
        if (find(block, after, &number) && block->entries[number].message.lane == lane)
            return &block->entries[block->entries[number].next].message;
        while (block->entries[first].message.id <= after)
            first = block->entries[first].next;
        return &block->entries[first].message;
    }
    return NULL;
}

const struct sqlite_fresh_message *sqlite_fresh_next_lane(struct sqlite_fresh *fresh, int64_t after)
{
    const struct sqlite_fresh_message *lowest = NULL;
    for (struct block *block = fresh->oldest; block; block = block->younger) {
        uint32_t first = next_lane(block, after);
        if (first != HASH_INDEX_NONE && (!lowest || block->entries[first].message.lane < lowest->lane))
            lowest = &block->entries[first].message;
    }
    return lowest;
}

size_t sqlite_fresh_count(const struct sqlite_fresh *fresh)
{
    size_t count = 0;
    for (const struct block *block = fresh->oldest; block; block = block->younger)
        count += block->waiting;
    return count;
}

size_t sqlite_fresh_count_lane(struct sqlite_fresh *fresh, int64_t lane)
{
    size_t count = 0;
    for (struct block *block = fresh->oldest; block; block = block->younger) {
        uint32_t first = first_of(block, lane), number = first;
        if (first == HASH_INDEX_NONE)
            continue;
        do {
            count++;
            number = block->entries[number].next;
        } while (number != first);
    }
    return count;
}

int64_t sqlite_fresh_lowest(struct sqlite_fresh *fresh)
{
    struct block *block = fresh->oldest;
    while (block && !block->waiting)
        block = block->younger;
    if (!block)
        return 0;
    while (!block->entries[block->low].waits)
        block->low++;
    return block->entries[block->low].message.id;
}

const struct sqlite_fresh_message *sqlite_fresh_due(struct sqlite_fresh *fresh, bool all)
{
    struct block *block = fresh->oldest;
    while (block && !block->waiting)
        block = block->younger;
    if (!block || (block == fresh->youngest && !all))
        return NULL;
    uint32_t first = first_of(block, block->lane);
    if (first == HASH_INDEX_NONE)
        first = next_lane(block, block->lane);
    must(first != HASH_INDEX_NONE);
    block->lane = block->entries[first].message.lane;
    return &block->entries[first].message;
}
