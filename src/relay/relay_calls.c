// What other threads ask of the relay: accounts put and switched, a desk resumed, a message tried again or discarded.
// Each is a task on the relay loop, and the asking thread waits for its answer.
#include "base/log.h"
#include "relay/relay_own.h"
#include "relay/tell.h"

#include <stdlib.h>

enum { PUT_ACCOUNTS = 500 }; // in one transaction

// A question of another thread to the relay loop: it blocks until call_answer.
struct call {
    struct loop_task task; // first
    struct relay *relay;
    struct job job;
    struct store_change *changes;
    int err;
    bool answered;
    // The question
    struct account **accounts;
    struct store_account_put *puts;
    size_t count;
    struct store_account_active active;
    int64_t account_id;
    const struct message *message;
    struct store_outcome outcome;
    struct store_retry retry;
    struct store_change change;
};

static int call_wait(struct relay *relay, struct call *call, void (*run)(struct loop_task *task))
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

static void call_answer(struct call *call, int err)
{
    struct relay *relay = call->relay;
    pthread_mutex_lock(&relay->lock);
    call->err = err;
    call->answered = true;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

static struct call *call_of_job(struct loop_task *task)
{
    return (struct call *)((char *)task - offsetof(struct call, job) - offsetof(struct job, task));
}

static void call_submit(struct call *call, struct store_change *changes, size_t count,
                        void (*run)(struct loop_task *task))
{
    call->job = (struct job){.kind = JOB_CHANGES, .changes = changes, .change_count = count, .task.run = run};
    call->job.owner = call->relay;
    call->job.done = relay_job_to_loop;
    if (!committer_submit(call->relay->committer, &call->job))
        call_answer(call, ERR_CLOSED);
}

// `is_news`: more than where it is defined is another.
static void publish(struct relay *relay, const struct account *account, bool is_news)
{
    const struct account *before = directory_find_id(relay->options.directory, account->id);
    directory_put(relay->options.directory, account_ref(account));
    dispatcher_account_changed(relay->dispatcher, before, account);
    sources_account_changed(relay->sources, before, account);
    clock_watch_forget(relay->intake.clock_watch, before);
    if (is_news)
        tell_account(relay->options.board, before, account);
    account_unref(before);
}

// What the sources learned since the new definition was made from the old one stays.
static void keep_learned(struct relay *relay, struct account *account)
{
    const struct account *now = directory_find(relay->options.directory, account->name);
    for (size_t i = 0; now && i < account->source_count; i++) {
        struct source *source = &account->sources[i];
        const struct source *known = account_find_source(now, source->name);
        if (!known || !str_eq(known->platform, source->platform) || !str_eq(known->token, source->token))
            continue;
        source->made_secret = arena_str(&account->arena, known->made_secret);
        source->registered_url = arena_str(&account->arena, known->registered_url);
    }
    account_unref(now);
}

static void on_accounts_stored(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    for (size_t i = 0; i < call->count && !call->job.err; i++) {
        struct account *account = call->accounts[i];
        keep_learned(call->relay, account); // once more: while it was being stored, its sources may have learned
        account->id = call->puts[i].id;
        account->order = call->puts[i].order;
        account->order_barrier = call->puts[i].order_barrier;
        for (size_t j = 0; j < account->source_count; j++) {
            account->sources[j].id = call->puts[i].source_ids[j];
            account->sources[j].account_id = account->id;
        }
        publish(call->relay, account, true);
    }
    call_answer(call, call->job.err);
}

static void on_put_accounts(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    for (size_t i = 0; i < call->count; i++)
        keep_learned(call->relay, call->accounts[i]);
    call_submit(call, call->changes, call->count, on_accounts_stored);
}

// A bounded part of the accounts, so that webhooks do not wait for a long transaction.
static int put_some(struct relay *relay, struct account **accounts, const struct str *file_texts, bool *out_kept,
                    size_t count)
{
    struct arena arena = {0};
    struct call call = {.accounts = accounts, .count = count};
    call.puts = arena_alloc(&arena, count * sizeof *call.puts);
    call.changes = arena_alloc(&arena, count * sizeof *call.changes);
    for (size_t i = 0; i < count; i++) {
        call.puts[i].account = accounts[i];
        call.puts[i].file_text = file_texts[i];
        call.puts[i].source_ids = arena_alloc(&arena, (accounts[i]->source_count + 1) * sizeof(int64_t));
        call.changes[i] = (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &call.puts[i]};
    }
    int err = call_wait(relay, &call, on_put_accounts);
    for (size_t i = 0; i < count && out_kept; i++)
        out_kept[i] = !err && call.puts[i].order_kept;
    arena_done(&arena);
    return err;
}

int relay_put_accounts(struct relay *relay, struct account **accounts, const struct str *file_texts, bool *out_kept,
                       size_t count)
{
    int err = ERR_OK;
    for (size_t at = 0; at < count && !err; at += PUT_ACCOUNTS) {
        size_t some = count - at < PUT_ACCOUNTS ? count - at : PUT_ACCOUNTS;
        err = put_some(relay, accounts + at, file_texts + at, out_kept ? out_kept + at : NULL, some);
    }
    for (size_t i = 0; i < count; i++)
        account_unref(accounts[i]);
    return err;
}

static void on_move_accounts(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    for (size_t i = 0; i < call->count; i++) {
        const struct account *now = directory_find_id(call->relay->options.directory, call->accounts[i]->id);
        if (!now)
            continue;
        struct account *copy = account_copy(now);
        copy->defined_at = arena_str(&copy->arena, call->accounts[i]->defined_at);
        publish(call->relay, copy, false);
        account_unref(copy);
        account_unref(now);
    }
    call_answer(call, ERR_OK);
}

void relay_move_accounts(struct relay *relay, struct account **accounts, size_t count)
{
    struct call call = {.accounts = accounts, .count = count};
    if (count)
        call_wait(relay, &call, on_move_accounts);
}

static void on_active_stored(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    const struct account *now = directory_find_id(call->relay->options.directory, call->active.account_id);
    if (!call->job.err && now && now->active != call->active.active) {
        struct account *copy = account_copy(now);
        copy->active = call->active.active;
        publish(call->relay, copy, true);
        log_info(copy->active ? "account_activated" : "account_deactivated", LOG_S("account", copy->name));
        account_unref(copy);
    }
    account_unref(now);
    call_answer(call, call->job.err);
}

static void on_set_active(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    call->change = (struct store_change){.kind = STORE_ACCOUNT_ACTIVE, .account_active = &call->active};
    call_submit(call, &call->change, 1, on_active_stored);
}

int relay_set_active(struct relay *relay, int64_t account_id, bool active)
{
    struct call call = {.active = {account_id, active}};
    return call_wait(relay, &call, on_set_active);
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
    const struct source *source = account ? account_find_source_id(account, message->source_id) : NULL;
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
