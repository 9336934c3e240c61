// What other threads ask of the relay: a desk resumed, a message tried again or discarded; of accounts: relay_accounts.c.
// Each is a task on the relay loop, and the asking thread waits for its answer.
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
    if (!call->job.err)
        dispatcher_changed_by_hand(call->relay->dispatcher, call->message->account_id);
    call_answer(call, call->job.err);
}

// What waits or is skipped is changed by hand: its lane reads it again after the change.
static void change_waiting(struct call *call, const struct message *message, bool discard)
{
    struct dispatcher *dispatcher = call->relay->dispatcher;
    bool pending = message->state == MESSAGE_PENDING;
    int err = dispatcher_reload(dispatcher, message, discard && pending);
    if (err && pending) {
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

static void on_attempt(void *arg, const struct attempt_record *record)
{
    *(int64_t *)arg = record->at_us;
}

// When a message that waits may be tried by hand. What may be at the desk keeps its settle time: it is looked up then. The end
// of an attempt that a mark speaks of is not known here: it keeps all of its time.
static int64_t by_hand_us(struct relay *relay, const struct message *message)
{
    int64_t last_us = 0;
    if (message->next_attempt_us == MESSAGE_HELD || !is_in_doubt(message))
        return 0;
    pthread_mutex_lock(&relay->lock);
    int err = relay->reader->ops->attempts(relay->reader, message->id, on_attempt, &last_us);
    pthread_mutex_unlock(&relay->lock);
    int64_t settled_us = last_us + relay->options.settle_ms * 1000;
    bool sooner = !err && last_us && !message->in_flight && settled_us < message->next_attempt_us;
    return sooner ? settled_us : message->next_attempt_us;
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
    bool held = now->next_attempt_us == MESSAGE_HELD;
    call->outcome = (struct store_outcome){
        .message_id = now->id,
        .attempts = held ? 0 : now->attempts, // who was held begins anew
        .next_attempt_us = by_hand_us(call->relay, now),
        .in_doubt = is_in_doubt(now),
        .at_us = clock_wall_us(call->relay->options.clock),
    };
    if (now->state == MESSAGE_PENDING && call->outcome.next_attempt_us < now->next_attempt_us) {
        change_waiting(call, now, false);
    } else {
        dispatcher_trust_lane(call->relay->dispatcher, now->lane);
        call_answer(call, ERR_OK);
    }
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

// Read again on this thread: another person may have done something about it, or its attempt may have ended.
static void on_discard(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    struct message *now = NULL;
    int err = read_message(call->relay, call->message->id, &now);
    if (!now || now->state == MESSAGE_DELIVERED || now->state == MESSAGE_DISCARDED) {
        call_answer(call, now && now->state == MESSAGE_DELIVERED ? ERR_REFUSED : err);
    } else {
        call->outcome = (struct store_outcome){
            .message_id = now->id,
            .state = MESSAGE_DISCARDED,
            .reason = REASON_BY_HAND,
            .attempts = now->attempts,
            .in_doubt = is_in_doubt(now),
            .at_us = clock_wall_us(call->relay->options.clock),
        };
        change_waiting(call, now, true);
    }
    message_free(now);
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
    err = call_wait(relay, &call, on_discard);
    if (!err && call.outcome.applied)
        tell_discarded(relay, message, &call.outcome);
    message_free(message);
    return err;
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
            dispatcher_work(call->relay->dispatcher, call->account_id, before = retry->lane);
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
