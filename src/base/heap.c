#include "base/heap.h"

#include "base/mem.h"

#include <stdlib.h>

void heap_done(struct heap *heap)
{
    free(heap->items);
    *heap = (struct heap){0};
}

static void put(struct heap *heap, size_t index, struct heap_item *item)
{
    heap->items[index] = item;
    item->index = index;
}

static void rise(struct heap *heap, struct heap_item *item)
{
    size_t i = item->index;
    for (; i > 1 && heap->items[i / 2]->at > item->at; i /= 2)
        put(heap, i, heap->items[i / 2]);
    put(heap, i, item);
}

static void sink(struct heap *heap, struct heap_item *item)
{
    size_t i = item->index;
    for (size_t child; (child = i * 2) <= heap->count; i = child) {
        if (child < heap->count && heap->items[child + 1]->at < heap->items[child]->at)
            child++;
        if (heap->items[child]->at >= item->at)
            break;
        put(heap, i, heap->items[child]);
    }
    put(heap, i, item);
}

void heap_set(struct heap *heap, struct heap_item *item, int64_t at)
{
    item->at = at;
    if (!item->index) {
        if (heap->count + 2 > heap->size) {
            heap->size = heap->size ? heap->size * 2 : 64;
            heap->items = mem_resize(heap->items, heap->size * sizeof(struct heap_item *));
        }
        put(heap, ++heap->count, item);
    }
    rise(heap, item);
    sink(heap, item);
}

void heap_remove(struct heap *heap, struct heap_item *item)
{
    size_t hole = item->index;
    if (!hole)
        return;
    item->index = 0;
    struct heap_item *last = heap->items[heap->count--];
    if (last == item)
        return;
    put(heap, hole, last);
    rise(heap, last);
    sink(heap, last);
}

struct heap_item *heap_top(const struct heap *heap)
{
    return heap->count ? heap->items[1] : NULL;
}
