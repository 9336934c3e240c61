// The loop's door for other threads and its timers, on real threads and real time.
#include "net/loop.h"

#include "support/unit.h"

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, TASKS = 5000 };

struct counted {
    struct loop_task task; // first
    struct ledger *ledger;
    int thread, number;
};

struct ledger {
    struct loop *loop;
    int next[THREADS]; // the number each thread's next task must have
    int total;
    struct counted tasks[THREADS][TASKS];
};

static void on_counted(struct loop_task *task)
{
    struct counted *counted = (struct counted *)task;
    struct ledger *ledger = counted->ledger;
    assert_int_equal(counted->number, ledger->next[counted->thread]++);
    if (++ledger->total == THREADS * TASKS)
        loop_stop(ledger->loop);
}

static void *post_all(void *arg)
{
    struct counted *tasks = arg;
    for (int i = 0; i < TASKS; i++)
        assert_true(loop_post(tasks[i].ledger->loop, &tasks[i].task));
    return NULL;
}

static void test_tasks_of_each_thread_run_in_order_and_once(void **state)
{
    (void)state;
    struct ledger *ledger = calloc(1, sizeof *ledger);
    ledger->loop = loop_new();
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < TASKS; i++)
            ledger->tasks[t][i] = (struct counted){{.run = on_counted}, ledger, t, i};
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, ledger->tasks[t]), 0);
    }
    loop_run(ledger->loop);
    assert_int_equal(ledger->total, THREADS * TASKS);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    loop_free(ledger->loop);
    free(ledger);
}

struct simple {
    struct loop_task task; // first
    struct loop *loop;
    int runs;
    struct simple *then;
};

static void on_nothing(struct loop_task *task)
{
    ((struct simple *)task)->runs++;
}

static void on_simple(struct loop_task *task)
{
    struct simple *simple = (struct simple *)task;
    simple->runs++;
    if (simple->then)
        assert_true(loop_post(simple->loop, &simple->then->task));
    else
        loop_stop(simple->loop);
}

// A thread that the machine puts off in the midst of waking the loop, which is a write to a descriptor.
static _Thread_local bool is_put_off;
static sem_t is_inside, may_go_on;

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the C library names them __fd and so on
ssize_t write(int fd, const void *bytes, size_t n)
{
    if (is_put_off) {
        is_put_off = false;
        sem_post(&is_inside);
        sem_wait(&may_go_on);
    }
    return syscall(SYS_write, fd, bytes, n);
}

// What happens right after the loop's thread gave back a lock so many times.
static _Thread_local int unlocks;
static struct simple *posted_then;

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    static int (*unlock)(pthread_mutex_t *);
    if (!unlock)
        *(void **)&unlock = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
    int err = unlock(mutex);
    if (unlocks && --unlocks == 0)
        assert_true(loop_post(posted_then->loop, &posted_then->task));
    return err;
}

static void *post_put_off(void *arg)
{
    struct simple *simple = arg;
    is_put_off = true;
    assert_true(loop_post(simple->loop, &simple->task));
    return NULL;
}

static void test_a_thread_that_is_put_off_while_it_wakes_the_loop_keeps_nobody_waiting(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct simple last = {{.run = on_simple}, loop, 0, NULL}, first = {{.run = on_nothing}, loop, 0, NULL};
    pthread_t slow;
    sem_init(&is_inside, 0, 0);
    sem_init(&may_go_on, 0, 0);
    assert_int_equal(pthread_create(&slow, NULL, post_put_off, &first), 0);
    sem_wait(&is_inside);
    assert_true(loop_post(loop, &last.task)); // by this thread, which is not put off
    loop_run(loop);                           // else for ever
    assert_int_equal(first.runs, 1);
    assert_int_equal(last.runs, 1);
    sem_post(&may_go_on);
    pthread_join(slow, NULL);
    loop_free(loop);
    sem_destroy(&is_inside);
    sem_destroy(&may_go_on);
}

static void test_what_is_posted_right_after_the_taking_wakes_the_loop_anew(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct simple last = {{.run = on_simple}, loop, 0, NULL}, first = {{.run = on_nothing}, loop, 0, NULL};
    assert_true(loop_post(loop, &first.task));
    posted_then = &last;
    unlocks = 2; // whether the queue is closed, then all that is in it
    loop_run(loop);
    assert_int_equal(first.runs, 1);
    assert_int_equal(last.runs, 1);
    loop_free(loop);
}

static void test_task_may_post_another(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct simple last = {{.run = on_simple}, loop, 0, NULL}, first = {{.run = on_simple}, loop, 0, &last};
    assert_true(loop_post(loop, &first.task));
    loop_run(loop);
    assert_int_equal(first.runs, 1);
    assert_int_equal(last.runs, 1);
    loop_free(loop);
}

static void on_freeing(struct loop_task *task)
{
    free(task);
}

static void test_task_may_free_itself(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    for (int i = 0; i < 10; i++) {
        struct loop_task *task = calloc(1, sizeof *task);
        task->run = on_freeing;
        assert_true(loop_post(loop, task));
    }
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

static void test_stop_runs_what_was_posted_before_and_takes_no_more(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct simple before = {{.run = on_simple}, loop, 0, NULL}, after = before;
    assert_true(loop_post(loop, &before.task));
    loop_stop(loop);
    assert_false(loop_post(loop, &after.task));
    loop_run(loop);
    assert_int_equal(before.runs, 1);
    assert_int_equal(after.runs, 0);
    loop_free(loop);
}

static void *stop_it(void *arg)
{
    loop_stop(arg);
    return NULL;
}

static void test_stop_from_another_thread_ends_an_idle_loop(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_it, loop), 0);
    loop_run(loop);
    pthread_join(thread, NULL);
    loop_free(loop);
}

// ---- timers

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

struct alarm {
    struct loop *loop;
    struct loop_timer *timer;
    int64_t at_us;
    int fired, wanted;
};

static void on_alarm(void *arg)
{
    struct alarm *alarm = arg;
    alarm->at_us = now_us();
    if (++alarm->fired == alarm->wanted)
        loop_stop(alarm->loop);
    else
        loop_timer_set(alarm->timer, 1);
}

static struct alarm alarm_new(struct loop *loop, struct alarm *self, int wanted)
{
    return (struct alarm){.loop = loop, .timer = loop_timer_new(loop, on_alarm, self), .wanted = wanted};
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

// While the loop spins: waiting in the kernel would round up and hide it.
static void test_timer_is_never_early(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        struct loop *loop = loop_new();
        struct alarm alarm = alarm_new(loop, &alarm, 1);
        uv_idle_t idle;
        uv_idle_init(loop_uv(loop), &idle);
        uv_idle_start(&idle, on_idle);
        int64_t from = now_us();
        loop_timer_set(alarm.timer, i % 4);
        loop_run(loop);
        assert_true(alarm.at_us - from >= (i % 4) * 1000);
        loop_timer_free(alarm.timer);
        loop_free(loop);
    }
}

static void test_timer_is_not_early_after_a_busy_round(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct alarm alarm = alarm_new(loop, &alarm, 1);
    int64_t from = now_us();
    while (now_us() - from < 20000) { // the loop's own idea of the time is old by now
    }
    from = now_us();
    loop_timer_set(alarm.timer, 10);
    loop_run(loop);
    assert_true(alarm.at_us - from >= 10000);
    loop_timer_free(alarm.timer);
    loop_free(loop);
}

static void test_timer_fires_once_and_may_set_itself_again(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct alarm alarm = alarm_new(loop, &alarm, 3);
    loop_timer_set(alarm.timer, 1);
    loop_run(loop);
    assert_int_equal(alarm.fired, 3);
    loop_timer_free(alarm.timer);
    loop_free(loop);
}

static void test_timers_fire_by_time_and_cleared_or_freed_ones_do_not(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct alarm moved = alarm_new(loop, &moved, 1), cleared = alarm_new(loop, &cleared, 1),
                 freed = alarm_new(loop, &freed, 1), left = alarm_new(loop, &left, 1);
    loop_timer_set(moved.timer, 60 * 1000);
    loop_timer_set(cleared.timer, 1);
    loop_timer_set(freed.timer, 1);
    loop_timer_set(left.timer, 60 * 1000);
    loop_timer_clear(cleared.timer);
    loop_timer_free(freed.timer);
    loop_timer_set(moved.timer, 20); // earlier than it was
    loop_run(loop);
    assert_int_equal(moved.fired, 1);
    assert_int_equal(cleared.fired + freed.fired + left.fired, 0);
    loop_timer_free(NULL);
    loop_free(loop); // with the three that are left
}

int main(void)
{
    alarm(120); // a lost wake-up is a test that never ends
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_of_each_thread_run_in_order_and_once),
        cmocka_unit_test(test_task_may_post_another),
        cmocka_unit_test(test_a_thread_that_is_put_off_while_it_wakes_the_loop_keeps_nobody_waiting),
        cmocka_unit_test(test_what_is_posted_right_after_the_taking_wakes_the_loop_anew),
        cmocka_unit_test(test_task_may_free_itself),
        cmocka_unit_test(test_stop_runs_what_was_posted_before_and_takes_no_more),
        cmocka_unit_test(test_stop_from_another_thread_ends_an_idle_loop),
        cmocka_unit_test(test_timer_is_never_early),
        cmocka_unit_test(test_timer_is_not_early_after_a_busy_round),
        cmocka_unit_test(test_timer_fires_once_and_may_set_itself_again),
        cmocka_unit_test(test_timers_fire_by_time_and_cleared_or_freed_ones_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
