// An event loop with its thread's timers and its door for other threads: libuv, one loop per thread.
// Everything but loop_post and loop_stop is for the thread that runs the loop.
#pragma once
#include "base/queue.h"

#include <stdint.h>
#include <uv.h>

struct loop;

// A task for a loop, embedded in what it is about. `run` is called on the loop's thread and then owns it.
struct loop_task {
    struct queue_node node; // first
    void (*run)(struct loop_task *task);
};

struct loop *loop_new(void);
// Closes what is left, waits for close callbacks, frees. The loop must not be running.
void loop_free(struct loop *loop);
// Until loop_stop. Runs on the calling thread.
void loop_run(struct loop *loop);
// Ends loop_run after the tasks posted before it. Any thread.
void loop_stop(struct loop *loop);
// Runs the task on the loop's thread, in order of posting. Any thread. False once the loop has been stopped:
// the task stays the caller's.
bool loop_post(struct loop *loop, struct loop_task *task);
// For the modules of net/ that sit on libuv directly.
uv_loop_t *loop_uv(struct loop *loop);

// A one-shot timer in milliseconds of monotonic time. Setting it again moves it.
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, void (*fire)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *timer, int64_t after_ms);
void loop_timer_clear(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer);

// What may take long (a disk), on a thread beside the loop's. Embedded in what it is about, which stays until `done`. Those under
// way when the loop is freed are done within loop_free.
struct loop_work {
    uv_work_t uv;                         // the loop's own
    void (*work)(struct loop_work *work); // on a thread of libuv's pool
    void (*done)(struct loop_work *work); // then, on the loop's thread; owns it
};
void loop_work(struct loop *loop, struct loop_work *work);
