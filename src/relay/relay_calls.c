// What other threads ask of the relay: a desk resumed, a message tried again or discarded (by_hand.c decides); of accounts:
// relay_accounts.c. Each is a task on the relay loop, and the asking thread waits for its answer.
#include "base/mem.h"
#include "relay/relay_own.h"
#include "relay/tell.h"

#include <stdlib.h>

enum {
    RETRY_SOME = 200,           // in one transaction
    RETRY_CALL_US = 1000 * 1000 // of one relay_retry_skipped
};

int call_wait(struct relay *relay, struct call *call, void (*run)(struct loop_task *task))
{
    call->relay = relay;
    call->task.run = run;
    if (!loop_post(relay->loop, &call->task))
        return ERR_CLOSED;
    pthread_mutex_lock(&relay->lock);
    while (!call->answered)
        pthread_cond_wait(&relay->changed, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
    return call->err;
}

void call_answer(struct call *call, int err)
{
    struct relay *relay = call->relay;
    pthread_mutex_lock(&relay->lock);
    call->err = err;
    call->answered = true;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

struct call *call_of_job(struct loop_task *task)
{
    return (struct call *)((char *)task - offsetof(struct call, job) - offsetof(struct job, task));
}

void call_submit(struct call *call, struct store_change *changes, size_t count, void (*run)(struct loop_task *task))
{
    call->job = (struct job){.kind = JOB_CHANGES, .changes = changes, .change_count = count, .task.run = run};
    call->job.owner = call->relay;
    call->job.done = relay_job_to_loop;
    if (!committer_submit(call->relay->committer, &call->job))
        call_answer(call, ERR_CLOSED);
}

static void on_resume_desk(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    const struct account *account = directory_find_id(call->relay->options.directory, call->account_id);
    if (account)
        dispatcher_resume_desk(call->relay->dispatcher, account);
    call_answer(call, account ? ERR_OK : ERR_NOT_FOUND);
    account_unref(account);
}

int relay_resume_desk(struct relay *relay, int64_t account_id)
{
    struct call call = {.account_id = account_id};
    return call_wait(relay, &call, on_resume_desk);
}

// ---- one message ----

static void on_by_hand(struct by_hand *hand, int err)
{
    call_answer((struct call *)((char *)hand - offsetof(struct call, hand)), err);
}

static void on_retry(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    by_hand_retry(&call->hand, &call->relay->by_hand, call->message_id);
}

int relay_retry(struct relay *relay, int64_t message_id)
{
    struct call call = {.message_id = message_id, .hand.answered = on_by_hand};
    int err = call_wait(relay, &call, on_retry);
    return err == ERR_BUSY ? ERR_OK : err; // it is being tried
}

static void on_discard(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    by_hand_discard(&call->hand, &call->relay->by_hand, call->message_id);
}

int relay_discard(struct relay *relay, int64_t message_id)
{
    struct call call = {.message_id = message_id, .hand.answered = on_by_hand};
    return call_wait(relay, &call, on_discard);
}

// ---- many at once ----

struct skipped {
    struct message messages[RETRY_SOME]; // their numbers only
    struct store_retry retries[RETRY_SOME];
    struct store_change changes[RETRY_SOME];
    size_t count;
};

static void on_some_retried(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    int64_t before = 0;
    for (size_t i = 0; i < call->count && !call->job.err; i++) {
        const struct store_retry *retry = &call->skipped->retries[i];
        if (retry->applied)
            tell_retried(call->relay->options.board, &call->skipped->messages[i]);
        if (retry->applied && retry->lane != before)
            dispatcher_work(call->relay->dispatcher, call->account_id, call->skipped->messages[i].source_id,
                            before = retry->lane);
    }
    call_answer(call, call->job.err);
}

static void on_retry_some(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    call_submit(call, call->changes, call->count, on_some_retried);
}

static void on_skipped(void *arg, const struct message *message)
{
    struct skipped *skipped = arg;
    size_t i = skipped->count++;
    skipped->messages[i] = (struct message){
        .id = message->id,
        .lane = message->lane,
        .account_id = message->account_id,
        .source_id = message->source_id,
        .in_doubt = message->in_doubt,
    };
    skipped->retries[i] = (struct store_retry){.message_id = message->id};
    skipped->changes[i] = (struct store_change){.kind = STORE_RETRY, .retry = &skipped->retries[i]};
}

static int retry_some(struct relay *relay, int64_t account_id, struct skipped *skipped, int64_t *after,
                      int64_t *out_count)
{
    struct message_filter filter = {.account_id = account_id, .by_state = true, .state = MESSAGE_SKIPPED};
    struct store_reader *reader = relay->bulk_reader;
    skipped->count = 0;
    int err = reader ? reader->ops->messages(reader, &filter, *after, RETRY_SOME, on_skipped, skipped) : ERR_IO;
    if (err || !skipped->count)
        return err;
    struct call call = {
        .account_id = account_id, .changes = skipped->changes, .skipped = skipped, .count = skipped->count};
    err = call_wait(relay, &call, on_retry_some);
    for (size_t i = 0; i < skipped->count && !err; i++)
        *out_count += skipped->retries[i].applied;
    if (!err)
        *after = skipped->retries[skipped->count - 1].message_id;
    return err;
}

int relay_retry_skipped(struct relay *relay, int64_t account_id, int64_t *after, int64_t *out_count, bool *out_more)
{
    struct skipped *skipped = mem_new_of(struct skipped);
    int64_t until_us = clock_mono_us(relay->options.clock) + RETRY_CALL_US;
    int err = ERR_OK;
    *out_count = 0;
    *out_more = true;
    pthread_mutex_lock(&relay->bulk_lock);
    while (!err && *out_more && clock_mono_us(relay->options.clock) < until_us) {
        err = retry_some(relay, account_id, skipped, after, out_count);
        *out_more = err || skipped->count == RETRY_SOME;
    }
    pthread_mutex_unlock(&relay->bulk_lock);
    free(skipped);
    return *out_count ? ERR_OK : err; // what was done counts, and who goes on is told then
}

// ---- what is shown ----

static void on_look(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    struct dispatcher *dispatcher = call->relay->dispatcher;
    for (size_t i = 0; i < call->count; i++)
        lane_view_fill(dispatcher, &call->lanes[i]);
    if (call->account_view)
        account_view_fill(dispatcher, call->account_view);
    call_answer(call, ERR_OK);
}

int relay_look(struct relay *relay, struct lane_view *lanes, size_t count, struct account_view *account)
{
    struct call call = {.lanes = lanes, .count = count, .account_view = account};
    return call_wait(relay, &call, on_look);
}
