// A heap of things that wait for a time: the earliest is on top. Items are intrusive and know their place,
// so that one can be taken out of the middle. For timers of the relay loop: one real timer serves them all.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_item {
    int64_t at;   // the key; set by heap_set
    size_t index; // 1-based place in the heap, 0 = not in it; the heap's own
};

struct heap {
    struct heap_item **items; // 1-based
    size_t count, size;
};

// A heap is ready when zeroed.
void heap_done(struct heap *heap);
// Puts the item in, or moves it.
void heap_set(struct heap *heap, struct heap_item *item, int64_t at);
// Nothing happens when it is not in.
void heap_remove(struct heap *heap, struct heap_item *item);
// The earliest, still in the heap, or NULL.
struct heap_item *heap_top(const struct heap *heap);
