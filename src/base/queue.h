// The one queue between threads: many may push, one owner takes. Items are intrusive and change owner
// with the push. Bounded: a full queue refuses, and the pusher says no to whoever asked.
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct queue_node {
    struct queue_node *next;
};

struct queue;

// `wake` is called, outside the lock, after each push; it costs little when the owner is awake (NULL: the owner waits with
// queue_wait). max: nodes held at most; 0 = no bound.
struct queue *queue_new(size_t max, void (*wake)(void *arg), void *arg);
// The queue must be empty, and nobody inside queue_push any more, which goes on after the owner has what was pushed.
void queue_free(struct queue *queue);
// False when full or closed: the node stays the caller's.
bool queue_push(struct queue *queue, struct queue_node *node);
// Also over the bound: for what is already paid for (verdicts, answers), of which there are never more
// than requests in flight. False only when closed.
bool queue_push_always(struct queue *queue, struct queue_node *node);
// All that is queued, oldest first, or NULL. Does not block.
struct queue_node *queue_take(struct queue *queue);
// Blocks until something is queued, the queue is closed, or timeout_ms (-1: for ever) have passed.
struct queue_node *queue_wait(struct queue *queue, int timeout_ms);
// The owner's queue_wait ends, this one or the next.
void queue_wake(struct queue *queue);
// No more pushes; wakes the owner. What is queued can still be taken.
void queue_close(struct queue *queue);
bool queue_is_closed(struct queue *queue);
size_t queue_length(struct queue *queue);
