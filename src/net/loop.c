// The loop's door is a queue and an eventfd: who pushes a task sees to it that the thread wakes, which then takes all there is.
// Stopping is closing that queue, so that what was posted before is still run.
//
// It is no uv_async_t: there the first of several threads that wake the loop does it for all, and the loop waits (turning in a
// circle) until that thread has come back from it. A thread that gives way to others, as the one for files does, may be put off right
// there, and all messages with it: for tens of milliseconds on a busy machine.
//
// A thread that posts may be put off inside loop_post after its task was run already, even after the loop was stopped for it: end the
// threads that post before freeing the loop.
#include "net/loop.h"

#include "base/mem.h"
#include "base/must.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utlist.h>

struct loop {
    uv_loop_t uv;
    int wakes; // eventfd
    uv_poll_t door;
    atomic_uint round, woken_for; // how often what was there was taken; a write of this round is in the eventfd
    struct queue *tasks;
    struct loop_timer *timers;
};

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    struct loop_timer *prev, *next; // in loop->timers
    void (*fire)(void *arg);
    void *arg;
};

// One write for all that is posted in a round. That it is in is said after it, so nobody relies on a thread that has not come to it.
static void wake(void *arg)
{
    struct loop *loop = arg;
    unsigned round = atomic_load(&loop->round);
    if (atomic_load(&loop->woken_for) == round)
        return;
    must(write(loop->wakes, &(uint64_t){1}, sizeof(uint64_t)) == sizeof(uint64_t));
    atomic_store(&loop->woken_for, round);
}

static void run_tasks(struct queue_node *node)
{
    while (node) {
        struct loop_task *task = (struct loop_task *)node;
        node = node->next; // before it runs: the task may free itself
        task->run(task);
    }
}

static void on_door(uv_poll_t *door, int status, int events)
{
    struct loop *loop = door->data;
    uint64_t count;
    (void)events;
    must(status == 0 && read(loop->wakes, &count, sizeof count) == sizeof count);
    atomic_fetch_add(&loop->round, 1);        // before the taking: what is posted from now on needs a write of its own
    bool last = queue_is_closed(loop->tasks); // asked first: then the queue holds all there will be
    run_tasks(queue_take(loop->tasks));
    if (last)
        uv_stop(&loop->uv);
}

struct loop *loop_new(void)
{
    struct loop *loop = mem_new_of(struct loop);
    must(uv_loop_init(&loop->uv) == 0);
    loop->wakes = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(loop->wakes >= 0);
    must(uv_poll_init(&loop->uv, &loop->door, loop->wakes) == 0);
    must(uv_poll_start(&loop->door, UV_READABLE, on_door) == 0);
    loop->door.data = loop;
    atomic_init(&loop->round, 1);
    loop->tasks = queue_new(0, wake, loop);
    return loop;
}

static void close_rest(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->timers)
        loop_timer_free(loop->timers);
    uv_walk(&loop->uv, close_rest, NULL);
    while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0) { // a stop that came late ends a run at once
    }
    must(uv_loop_close(&loop->uv) == 0);
    close(loop->wakes);
    queue_free(loop->tasks);
    free(loop);
}

// A peer that has gone must show as a failed write, never as a signal. libuv and OpenSSL write without
// MSG_NOSIGNAL, so the signal is blocked on the threads that run loops; other threads are not touched.
static void block_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void loop_run(struct loop *loop)
{
    block_sigpipe();
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    queue_close(loop->tasks);
}

bool loop_post(struct loop *loop, struct loop_task *task)
{
    return queue_push_always(loop->tasks, &task->node);
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

static void on_timer(uv_timer_t *uv)
{
    struct loop_timer *timer = uv->data;
    timer->fire(timer->arg);
}

struct loop_timer *loop_timer_new(struct loop *loop, void (*fire)(void *arg), void *arg)
{
    struct loop_timer *timer = mem_new_of(struct loop_timer);
    uv_timer_init(&loop->uv, &timer->uv);
    timer->uv.data = timer;
    timer->loop = loop;
    timer->fire = fire;
    timer->arg = arg;
    DL_APPEND(loop->timers, timer);
    return timer;
}

// libuv counts whole milliseconds from the start of the loop's round. Asking the clock anew and adding one
// makes a timer late by up to two milliseconds, but never early: who waits for a time finds it passed.
void loop_timer_set(struct loop_timer *timer, int64_t after_ms)
{
    uv_update_time(&timer->loop->uv);
    uv_timer_start(&timer->uv, on_timer, (after_ms > 0 ? (uint64_t)after_ms : 0) + 1, 0);
}

void loop_timer_clear(struct loop_timer *timer)
{
    uv_timer_stop(&timer->uv);
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void loop_timer_free(struct loop_timer *timer)
{
    if (!timer)
        return;
    DL_DELETE(timer->loop->timers, timer);
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}

static void on_work(uv_work_t *uv)
{
    struct loop_work *work = uv->data;
    work->work(work);
}

static void on_worked(uv_work_t *uv, int status)
{
    struct loop_work *work = uv->data;
    must(status == 0); // none is ever cancelled
    work->done(work);
}

void loop_work(struct loop *loop, struct loop_work *work)
{
    work->uv.data = work;
    must(uv_queue_work(&loop->uv, &work->uv, on_work, on_worked) == 0);
}
