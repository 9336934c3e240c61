#include "base/queue.h"

#include "base/mem.h"
#include "base/must.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    struct queue_node *head, **tail;
    size_t length, max;
    bool closed, woken;
    void (*wake)(void *arg);
    void *wake_arg;
};

struct queue *queue_new(size_t max, void (*wake)(void *arg), void *arg)
{
    struct queue *queue = mem_new_of(struct queue);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->filled, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&queue->lock, NULL);
    queue->tail = &queue->head;
    queue->max = max;
    queue->wake = wake;
    queue->wake_arg = arg;
    return queue;
}

void queue_free(struct queue *queue)
{
    if (!queue)
        return;
    must(!queue->head);
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->filled);
    free(queue);
}

// By every push, not by the first one alone, and outside the lock: the first may be of a thread that gives way to others (files),
// is put off at this very place, and would keep the owner asleep for all who come after it, or have it wait for the lock.
static void wake(struct queue *queue)
{
    if (queue->wake)
        queue->wake(queue->wake_arg);
    else
        pthread_cond_signal(&queue->filled);
}

static bool push(struct queue *queue, struct queue_node *node, bool always)
{
    pthread_mutex_lock(&queue->lock);
    bool taken = !queue->closed && (always || !queue->max || queue->length < queue->max);
    if (taken) {
        node->next = NULL;
        *queue->tail = node;
        queue->tail = &node->next;
        queue->length++;
    }
    pthread_mutex_unlock(&queue->lock);
    if (taken)
        wake(queue);
    return taken;
}

bool queue_push(struct queue *queue, struct queue_node *node)
{
    return push(queue, node, false);
}

bool queue_push_always(struct queue *queue, struct queue_node *node)
{
    return push(queue, node, true);
}

static struct queue_node *take_locked(struct queue *queue)
{
    struct queue_node *all = queue->head;
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->length = 0;
    return all;
}

struct queue_node *queue_take(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct queue_node *all = take_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    return all;
}

static struct timespec deadline(int timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

struct queue_node *queue_wait(struct queue *queue, int timeout_ms)
{
    struct timespec until = deadline(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&queue->lock);
    while (!queue->head && !queue->closed && !queue->woken) {
        int err = timeout_ms < 0 ? pthread_cond_wait(&queue->filled, &queue->lock)
                                 : pthread_cond_timedwait(&queue->filled, &queue->lock, &until);
        if (err == ETIMEDOUT)
            break;
    }
    queue->woken = false;
    struct queue_node *all = take_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    return all;
}

void queue_wake(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->woken = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->filled);
    pthread_mutex_unlock(&queue->lock);
    if (queue->wake)
        queue->wake(queue->wake_arg);
}

bool queue_is_closed(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    pthread_mutex_unlock(&queue->lock);
    return closed;
}

size_t queue_length(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t length = queue->length;
    pthread_mutex_unlock(&queue->lock);
    return length;
}
