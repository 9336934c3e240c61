// What other threads ask of the relay: a desk resumed, a message tried again or discarded; of accounts: relay_accounts.c.
// Each is a task on the relay loop, and the asking thread waits for its answer.
#include "relay/relay_own.h"
#include "relay/tell.h"

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

static int read_message(struct relay *relay, int64_t message_id, struct message **out)
{
    pthread_mutex_lock(&relay->lock);
    int err = relay->reader ? relay->reader->ops->message(relay->reader, message_id, out) : ERR_IO;
    pthread_mutex_unlock(&relay->lock);
    return err;
}

static void on_retried(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    if (!call->job.err && call->retry.applied) {
        tell_retried(call->relay->options.board, call->message);
        dispatcher_work(call->relay->dispatcher, call->message->account_id, call->retry.lane);
    }
    call_answer(call, call->job.err);
}

static void on_retry(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    call->retry.message_id = call->message->id;
    call->change = (struct store_change){.kind = STORE_RETRY, .retry = &call->retry};
    call_submit(call, &call->change, 1, on_retried);
}

static void on_changed(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    call_answer(call, call->job.err);
}

// A pending message is changed by hand: its lane reads it again after the change.
static void change_pending(struct call *call, bool discard)
{
    struct dispatcher *dispatcher = call->relay->dispatcher;
    int err = dispatcher_reload(dispatcher, call->message, discard);
    if (err) {
        call_answer(call, err);
        return;
    }
    call->change = (struct store_change){.kind = STORE_OUTCOME, .outcome = &call->outcome};
    call_submit(call, &call->change, 1, on_changed);
    dispatcher_tick(dispatcher);
}

// A mark is a doubt: its request was sent by a process that is gone, or is being sent by this one.
static bool is_in_doubt(const struct message *message)
{
    return message->in_doubt || message->in_flight;
}

// What may be at the desk keeps its time: it is looked up when it has settled.
static bool waits_for_no_reason_but_time(const struct message *message)
{
    bool held = message->next_attempt_us == MESSAGE_HELD;
    return message->state == MESSAGE_PENDING && message->next_attempt_us && (held || !is_in_doubt(message));
}

// Read again on this thread, where no attempt can end meanwhile and put it in doubt.
static void on_try_now(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    struct message *now;
    int err = read_message(call->relay, call->message->id, &now);
    if (err) {
        call_answer(call, err);
        return;
    }
    call->outcome = (struct store_outcome){
        .message_id = now->id,
        .in_doubt = is_in_doubt(now),
        .at_us = clock_wall_us(call->relay->options.clock),
    };
    if (waits_for_no_reason_but_time(now))
        change_pending(call, false);
    else
        call_answer(call, ERR_OK);
    message_free(now);
}

int relay_retry(struct relay *relay, int64_t message_id)
{
    struct message *message;
    int err = read_message(relay, message_id, &message);
    if (err)
        return err;
    struct call call = {.message = message};
    if (message->state == MESSAGE_SKIPPED) {
        err = call_wait(relay, &call, on_retry);
    } else if (message->state != MESSAGE_PENDING) {
        err = ERR_REFUSED;
    } else {
        err = call_wait(relay, &call, on_try_now);
        err = err == ERR_BUSY ? ERR_OK : err; // it is being tried
    }
    message_free(message);
    return err;
}

static void on_discard(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    if (call->message->state == MESSAGE_PENDING) {
        change_pending(call, true);
        return;
    }
    call->change = (struct store_change){.kind = STORE_OUTCOME, .outcome = &call->outcome};
    call_submit(call, &call->change, 1, on_changed);
}

static void tell_discarded(struct relay *relay, const struct message *message, const struct store_outcome *outcome)
{
    const struct account *account = directory_find_id(relay->options.directory, message->account_id);
    const struct source *source = account ? account_find_any_source_id(account, message->source_id) : NULL;
    if (source)
        tally_message(relay->options.tally, TALLY_DISCARDED, source->platform, message->direction);
    account_unref(account);
    tell_outcome(relay->options.board, message, outcome);
}

int relay_discard(struct relay *relay, int64_t message_id)
{
    struct message *message;
    int err = read_message(relay, message_id, &message);
    if (err)
        return err;
    struct call call = {.message = message};
    call.outcome = (struct store_outcome){
        .message_id = message_id,
        .state = MESSAGE_DISCARDED,
        .reason = REASON_BY_HAND,
        .attempts = message->attempts,
        .in_doubt = is_in_doubt(message),
        .at_us = clock_wall_us(relay->options.clock),
    };
    if (message->state == MESSAGE_DELIVERED)
        err = ERR_REFUSED;
    else if (message->state != MESSAGE_DISCARDED)
        err = call_wait(relay, &call, on_discard);
    if (!err && call.outcome.applied)
        tell_discarded(relay, message, &call.outcome);
    message_free(message);
    return err;
}
