#include "relay/relay.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "relay/dispatcher.h"
#include "relay/intake.h"
#include "relay/sources.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    MOST_DOORS = 4,          // HTTP threads
    MOST_QUEUED = 20000,     // webhooks that may wait for the committer
    MEMORY_MESSAGES = 20000, // of all lanes
    DRAIN_LOOK_MS = 5,       // between looks at parked answers while stopping
    DRAIN_MS = 3000,         // for parked answers to be given
    PUT_ACCOUNTS = 500,      // in one transaction
};

// One HTTP thread.
struct door {
    struct relay *relay;
    struct loop *loop;
    struct http_server *server;
    struct loop_timer *look;
    int64_t drain_until_us;
    struct loop_task task;
    pthread_t thread;
    bool running, drained;
};

struct relay {
    struct relay_options options;
    struct committer *committer;
    struct intake intake;
    struct loop *loop; // the relay loop
    struct loop_timer *timer, *cut_timer;
    int64_t armed_us;
    struct http_client *client;
    struct dispatcher *dispatcher;
    struct sources *sources;
    struct door doors[MOST_DOORS];
    int door_count;
    pthread_t committer_thread, loop_thread;
    bool committer_running, loop_running;
    struct store_reader *reader; // for what is asked by hand; under `lock`
    pthread_mutex_t lock;        // also of the flags that relay_stop waits for
    pthread_cond_t changed;
    bool dispatcher_stopped;
    int doors_drained;
};

// ---- between the threads ----

static void job_to_loop(struct job *job)
{
    struct relay *relay = job->owner;
    must(loop_post(relay->loop, &job->task)); // the loop outlives the committer
}

static void port_submit(void *arg, struct job *job)
{
    struct relay *relay = arg;
    job->owner = relay;
    job->done = job_to_loop;
    must(committer_submit(relay->committer, job)); // it outlives the dispatcher
}

static void *port_send(void *arg, const struct http_request *request, int64_t timeout_ms,
                       void (*done)(void *done_arg, const struct http_response *response), void *done_arg)
{
    struct relay *relay = arg;
    return http_client_send(relay->client, request, timeout_ms, done, done_arg);
}

static void port_cancel(void *arg, void *call)
{
    (void)arg;
    http_call_cancel(call);
}

static void port_arm(void *arg, int64_t at_us)
{
    struct relay *relay = arg;
    if (at_us == relay->armed_us)
        return;
    relay->armed_us = at_us;
    if (!at_us) {
        loop_timer_clear(relay->timer);
        return;
    }
    int64_t pause_us = at_us - clock_mono_us(relay->options.clock);
    loop_timer_set(relay->timer, pause_us > 0 ? (pause_us + 999) / 1000 : 0);
}

static void on_timer(void *arg)
{
    struct relay *relay = arg;
    relay->armed_us = 0;
    dispatcher_tick(relay->dispatcher);
}

static void port_stopped(void *arg)
{
    struct relay *relay = arg;
    pthread_mutex_lock(&relay->lock);
    relay->dispatcher_stopped = true;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

struct announce_task {
    struct loop_task task; // first
    struct relay *relay;
    struct announcement *list;
};

static void on_announced(struct loop_task *task)
{
    struct announce_task *announce = (struct announce_task *)task;
    dispatcher_announced(announce->relay->dispatcher, announce->list);
    free(announce);
}

// On the committer's thread.
static void announce(void *arg, struct announcement *list)
{
    struct announce_task *announce = mem_new_of(struct announce_task);
    announce->relay = arg;
    announce->list = list;
    announce->task.run = on_announced;
    must(loop_post(announce->relay->loop, &announce->task));
}

static bool may_hand_on(void *arg)
{
    struct relay *relay = arg;
    return dispatcher_has_room(relay->dispatcher);
}

// ---- start ----

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void *run_committer(void *arg)
{
    committer_run(arg);
    return NULL;
}

static void make_committer(struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    relay->committer = committer_new(&(struct committer_options){
        .store = options->store,
        .clock = options->clock,
        .board = options->board,
        .tally = options->tally,
        .max_queue = MOST_QUEUED,
        .keep_bodies_us = options->keep_bodies_us,
        .keep_dedupe_us = options->keep_dedupe_us,
        .announce = announce,
        .may_hand_on = may_hand_on,
        .arg = relay,
        .fatal = options->fatal,
        .fatal_arg = options->fatal_arg,
    });
    relay->intake = (struct intake){options->directory, relay->committer, options->tally, options->clock};
}

static void make_dispatcher(struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    struct chance chance;
    chance_init_system(&chance);
    struct dispatcher_options dispatcher = {
        .directory = options->directory,
        .board = options->board,
        .tally = options->tally,
        .clock = options->clock,
        .seed = chance_next(&chance),
        .store_id = options->store->ops->id(options->store),
        .max_attempts = options->max_attempts,
        .retry_base_ms = options->retry_base_ms,
        .retry_cap_ms = options->retry_cap_ms,
        .timeout_ms = options->timeout_ms,
        .settle_ms = options->settle_ms,
        .window = options->window,
        .concurrency = options->concurrency,
        .memory_messages = MEMORY_MESSAGES,
    };
    struct dispatcher_ports ports = {
        .arg = relay,
        .submit = port_submit,
        .send = port_send,
        .cancel = port_cancel,
        .arm = port_arm,
        .stopped = port_stopped,
    };
    relay->dispatcher = dispatcher_new(&dispatcher, &ports);
}

static void restore_desk(void *arg, const struct store_desk_health *health)
{
    dispatcher_restore_desk(arg, health);
}

static void make_loop(struct relay *relay)
{
    struct http_client_options client;
    http_client_options_default(&client);
    client.max_connections = (size_t)relay->options.concurrency;
    relay->loop = loop_new();
    relay->timer = loop_timer_new(relay->loop, on_timer, relay);
    relay->client = http_client_new(relay->loop, &client);
    relay->sources = sources_new(&(struct sources_options){
        .loop = relay->loop,
        .intake = &relay->intake,
        .directory = relay->options.directory,
        .board = relay->options.board,
        .clock = relay->options.clock,
        .public_url = relay->options.public_url,
    });
}

static int wanted_doors(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 4 ? 1 : cores / 2 < MOST_DOORS ? (int)(cores / 2) : MOST_DOORS;
}

static bool open_door(struct relay *relay, const char **why)
{
    struct door *door = &relay->doors[relay->door_count];
    struct http_server_options options;
    http_server_options_default(&options);
    options.max_connections /= (size_t)wanted_doors(); // the bound is the daemon's
    struct http_handler handler = {&relay->intake, intake_head, intake_request};
    int shared_fd = relay->door_count ? http_server_fd(relay->doors[0].server) : -1;
    char address[256];
    snprintf(address, sizeof address, "%.*s", STR_ARG(relay->options.listen));
    door->relay = relay;
    door->loop = loop_new();
    relay->door_count++;
    door->server = http_server_new(door->loop, address, shared_fd, &options, &handler, why);
    return door->server != NULL;
}

// The first events of the relay loop.
struct begin_task {
    struct loop_task task; // first
    struct relay *relay;
};

static void on_begin(struct loop_task *task)
{
    struct relay *relay = ((struct begin_task *)task)->relay;
    const struct account **accounts = directory_list(relay->options.directory);
    for (size_t i = 0; accounts[i]; i++) {
        sources_account_changed(relay->sources, NULL, accounts[i]);
        account_unref(accounts[i]);
    }
    free(accounts);
    dispatcher_start(relay->dispatcher);
    free(task);
}

// The name is what top and the benchmark tell the threads by.
static void start_thread(pthread_t *thread, void *(*run)(void *arg), void *arg, const char *name)
{
    must(pthread_create(thread, NULL, run, arg) == 0);
    pthread_setname_np(*thread, name);
}

static void start_threads(struct relay *relay)
{
    start_thread(&relay->committer_thread, run_committer, relay->committer, "committer");
    relay->committer_running = true;
    start_thread(&relay->loop_thread, run_loop, relay->loop, "relay");
    relay->loop_running = true;
    struct begin_task *begin = mem_new_of(struct begin_task);
    begin->relay = relay;
    begin->task.run = on_begin;
    must(loop_post(relay->loop, &begin->task));
    for (int i = 0; i < relay->door_count; i++) {
        struct door *door = &relay->doors[i];
        start_thread(&door->thread, run_loop, door->loop, "intake");
        door->running = true;
    }
}

static void relay_free(struct relay *relay)
{
    for (int i = 0; i < relay->door_count; i++) {
        if (relay->doors[i].server)
            http_server_free(relay->doors[i].server);
        if (relay->doors[i].look)
            loop_timer_free(relay->doors[i].look);
        loop_free(relay->doors[i].loop);
    }
    dispatcher_free(relay->dispatcher);
    sources_free(relay->sources);
    http_client_free(relay->client);
    loop_timer_free(relay->timer);
    if (relay->cut_timer)
        loop_timer_free(relay->cut_timer);
    loop_free(relay->loop);
    committer_free(relay->committer);
    if (relay->reader)
        relay->reader->ops->free(relay->reader);
    pthread_mutex_destroy(&relay->lock);
    pthread_cond_destroy(&relay->changed);
    free(relay);
}

struct relay *relay_start(const struct relay_options *options, struct arena *arena, const char **why)
{
    struct relay *relay = mem_new_of(struct relay);
    const char *trouble = NULL;
    relay->options = *options;
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->changed, NULL);
    make_committer(relay);
    make_dispatcher(relay);
    make_loop(relay);
    if (options->store->ops->each_desk_health(options->store, restore_desk, relay->dispatcher)) {
        *why = "the store cannot be read";
        relay_free(relay);
        return NULL;
    }
    relay->reader = options->store->ops->reader_new(options->store);
    for (int wanted = wanted_doors(); relay->door_count < wanted;) {
        if (open_door(relay, &trouble))
            continue;
        *why = arena_printf(arena, "cannot listen on %.*s: %s", STR_ARG(options->listen), trouble).p;
        relay_free(relay);
        return NULL;
    }
    start_threads(relay);
    return relay;
}

int relay_port(const struct relay *relay)
{
    return http_server_port(relay->doors[0].server);
}

bool relay_is_ready(struct relay *relay)
{
    return committer_is_well(relay->committer);
}

// ---- stop ----

static void tell_drained(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->doors_drained++;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

static void look_at_door(void *arg)
{
    struct door *door = arg;
    bool late = clock_mono_us(door->relay->options.clock) > door->drain_until_us;
    if (http_server_open_exchanges(door->server) && !late)
        loop_timer_set(door->look, DRAIN_LOOK_MS);
    else
        tell_drained(door->relay);
}

static void on_drain(struct loop_task *task)
{
    struct door *door = (struct door *)((char *)task - offsetof(struct door, task));
    http_server_drain(door->server);
    door->drain_until_us = clock_mono_us(door->relay->options.clock) + DRAIN_MS * 1000;
    door->look = loop_timer_new(door->loop, look_at_door, door);
    look_at_door(door);
}

static void drain_doors(struct relay *relay)
{
    for (int i = 0; i < relay->door_count; i++) {
        relay->doors[i].task.run = on_drain;
        must(loop_post(relay->doors[i].loop, &relay->doors[i].task));
    }
    pthread_mutex_lock(&relay->lock);
    while (relay->doors_drained < relay->door_count)
        pthread_cond_wait(&relay->changed, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
}

static void on_cut(void *arg)
{
    struct relay *relay = arg;
    committer_hurry(relay->committer);
    dispatcher_cut(relay->dispatcher);
}

static void on_stop(struct loop_task *task)
{
    struct relay *relay = ((struct begin_task *)task)->relay;
    free(task);
    sources_stop(relay->sources);
    relay->cut_timer = loop_timer_new(relay->loop, on_cut, relay);
    loop_timer_set(relay->cut_timer, relay->options.shutdown_ms);
    dispatcher_stop(relay->dispatcher);
}

static void stop_dispatcher(struct relay *relay)
{
    struct begin_task *stop = mem_new_of(struct begin_task);
    stop->relay = relay;
    stop->task.run = on_stop;
    must(loop_post(relay->loop, &stop->task));
    pthread_mutex_lock(&relay->lock);
    while (!relay->dispatcher_stopped)
        pthread_cond_wait(&relay->changed, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
}

void relay_stop(struct relay *relay)
{
    drain_doors(relay);
    stop_dispatcher(relay);
    committer_close(relay->committer);
    pthread_join(relay->committer_thread, NULL);
    for (int i = 0; i < relay->door_count; i++) {
        loop_stop(relay->doors[i].loop);
        pthread_join(relay->doors[i].thread, NULL);
    }
    loop_stop(relay->loop);
    pthread_join(relay->loop_thread, NULL);
    relay_free(relay);
}

// ---- what is asked by hand ----

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
    call->job.done = job_to_loop;
    if (!committer_submit(call->relay->committer, &call->job))
        call_answer(call, ERR_CLOSED);
}

static void publish(struct relay *relay, const struct account *account)
{
    const struct account *before = directory_find_id(relay->options.directory, account->id);
    directory_put(relay->options.directory, account_ref(account));
    dispatcher_account_changed(relay->dispatcher, before, account);
    sources_account_changed(relay->sources, before, account);
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
        for (size_t j = 0; j < account->source_count; j++) {
            account->sources[j].id = call->puts[i].source_ids[j];
            account->sources[j].account_id = account->id;
        }
        publish(call->relay, account);
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
static int put_some(struct relay *relay, struct account **accounts, const struct str *file_texts, size_t count)
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
    arena_done(&arena);
    return err;
}

int relay_put_accounts(struct relay *relay, struct account **accounts, const struct str *file_texts, size_t count)
{
    int err = ERR_OK;
    for (size_t at = 0; at < count && !err; at += PUT_ACCOUNTS) {
        size_t some = count - at < PUT_ACCOUNTS ? count - at : PUT_ACCOUNTS;
        err = put_some(relay, accounts + at, file_texts + at, some);
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
        publish(call->relay, copy);
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
        publish(call->relay, copy);
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
    if (!call->job.err && call->retry.applied)
        dispatcher_work(call->relay->dispatcher, call->message->account_id, call->retry.lane);
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

static void tally_discard(struct relay *relay, const struct message *message)
{
    const struct account *account = directory_find_id(relay->options.directory, message->account_id);
    const struct source *source = account ? account_find_source_id(account, message->source_id) : NULL;
    if (source)
        tally_message(relay->options.tally, TALLY_DISCARDED, source->platform, message->direction);
    account_unref(account);
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
        tally_discard(relay, message);
    message_free(message);
    return err;
}
