#include "relay/relay.h"

#include "base/descriptors.h"
#include "base/mem.h"
#include "base/must.h"
#include "relay/relay_own.h"
#include "relay/trouble_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MOST_QUEUED = 20000,      // webhooks that may wait for the committer
    MEMORY_MESSAGES = 20000,  // of all lanes
    CLIENT_CONNECTIONS = 128, // of one of relay->clients
    DRAIN_LOOK_MS = 5,        // between looks at parked answers while stopping
    DRAIN_MS = 3000,          // for parked answers to be given, of the time that a stop may take
};

// ---- between the threads ----

void relay_job_to_loop(struct job *job)
{
    struct relay *relay = job->owner;
    must(loop_post(relay->loop, &job->task)); // the loop outlives the committer
}

static void port_submit(void *arg, struct job *job)
{
    struct relay *relay = arg;
    job->owner = relay;
    job->done = relay_job_to_loop;
    must(committer_submit(relay->committer, job)); // it outlives the dispatcher
}

static void *port_send(void *arg, const struct http_request *request, int64_t timeout_ms,
                       void (*done)(void *done_arg, const struct http_response *response), void *done_arg)
{
    struct relay *relay = arg;
    int i = 0;
    if (request->part_count) // it takes files along
        return media_thread_send(relay->media, request, timeout_ms, done, done_arg);
    while (i < relay->client_count - 1 && http_client_open_calls(relay->clients[i]) >= CLIENT_CONNECTIONS)
        i++;
    return http_client_send(relay->clients[i], request, timeout_ms, done, done_arg);
}

static void port_cancel(void *arg, void *call)
{
    struct relay *relay = arg;
    if (!media_thread_cancel(relay->media, call))
        http_call_cancel(call);
}

// At this monotonic time, never before it; 0 = not at all.
static void arm_timer(const struct relay *relay, struct loop_timer *timer, int64_t at_us)
{
    int64_t pause_us = at_us - clock_mono_us(relay->options.clock);
    if (at_us)
        loop_timer_set(timer, pause_us > 0 ? (pause_us + 999) / 1000 : 0);
    else
        loop_timer_clear(timer);
}

static void port_arm(void *arg, int64_t at_us)
{
    struct relay *relay = arg;
    if (at_us == relay->armed_us)
        return;
    relay->armed_us = at_us;
    arm_timer(relay, relay->timer, at_us);
}

static void on_timer(void *arg)
{
    struct relay *relay = arg;
    relay->armed_us = 0;
    dispatcher_tick(relay->dispatcher);
}

static bool port_submit_or_refuse(void *arg, struct job *job)
{
    struct relay *relay = arg;
    job->owner = relay;
    job->done = relay_job_to_loop;
    return committer_submit(relay->committer, job);
}

static void replies_port_arm(void *arg, int64_t at_us)
{
    struct relay *relay = arg;
    arm_timer(relay, relay->replies_timer, at_us);
}

static void on_replies_timer(void *arg)
{
    struct relay *relay = arg;
    replies_tick(relay->replies);
}

// News of a desk, from the thread that took them to the relay loop.
struct news_task {
    struct loop_task task; // first
    struct relay *relay;
    struct arena arena;
    int64_t account_id;
    struct str *conversations;
    size_t count;
};

static void on_news(struct loop_task *task)
{
    struct news_task *news = (struct news_task *)task;
    replies_news(news->relay->replies, news->account_id, news->conversations, news->count);
    arena_done(&news->arena);
    free(news);
}

static void port_news(void *arg, int64_t account_id, const struct str *desk_conversations, size_t count)
{
    struct relay *relay = arg;
    struct news_task *news = mem_new_of(struct news_task);
    news->relay = relay;
    news->account_id = account_id;
    news->count = count;
    news->conversations = arena_alloc(&news->arena, count * sizeof *news->conversations);
    for (size_t i = 0; i < count; i++)
        news->conversations[i] = arena_str(&news->arena, desk_conversations[i]);
    news->task.run = on_news;
    must(loop_post(relay->loop, &news->task));
}

static void port_linked(void *arg, int64_t account_id)
{
    struct relay *relay = arg;
    replies_linked(relay->replies, account_id);
}

static void port_avatar_due(void *arg)
{
    media_thread_poke(((struct relay *)arg)->media);
}

static void port_stopped(void *arg)
{
    struct relay *relay = arg;
    pthread_mutex_lock(&relay->lock);
    relay->dispatcher_stopped = true;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

static void port_lane_trouble(void *arg, int64_t lane, bool over)
{
    struct relay *relay = arg;
    if (relay->options.trouble_path)
        trouble_file_add(relay->options.trouble_path, lane, clock_wall_us(relay->options.clock), over);
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

static bool wants_files(const struct announcement *list)
{
    while (list && !list->wants_files)
        list = list->next;
    return list != NULL;
}

// On the committer's thread or the flusher's.
static void announce(void *arg, struct announcement *list)
{
    struct announce_task *announce = mem_new_of(struct announce_task);
    if (wants_files(list))
        media_thread_poke(((struct relay *)arg)->media);
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

static void *run_flusher(void *arg)
{
    committer_run_flusher(arg);
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
        .flushes_apart = true,
    });
    relay->intake = (struct intake){
        .directory = options->directory,
        .committer = relay->committer,
        .tally = options->tally,
        .clock = options->clock,
        .clock_watch = clock_watch_new(options->board),
        .news = port_news,
        .news_arg = relay,
        .board = options->board,
        .media_wait_us = options->media_wait_ms * 1000,
        .most_waiting = options->most_waiting,
        .most_file_bytes = options->most_file_bytes,
    };
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
        .media_wait_ms = options->media_wait_ms,
        .links = &relay->links,
    };
    struct dispatcher_ports ports = {
        .arg = relay,
        .submit = port_submit,
        .send = port_send,
        .cancel = port_cancel,
        .arm = port_arm,
        .lane_trouble = port_lane_trouble,
        .linked = port_linked,
        .avatar_due = port_avatar_due,
        .stopped = port_stopped,
    };
    relay->dispatcher = dispatcher_new(&dispatcher, &ports);
}

// To desks and platforms: kept open they would leave no descriptors for webhooks where these are few.
static size_t most_connections(const struct relay *relay)
{
    size_t concurrency = (size_t)relay->options.concurrency, share = descriptors_share();
    return concurrency < share ? concurrency : share;
}

static void settled(void *arg, const struct store_file *file)
{
    struct relay *relay = arg;
    dispatcher_file_settled(relay->dispatcher, file);
}

static void make_media(struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    struct chance chance;
    chance_init_system(&chance);
    relay->media = media_thread_new(&(struct media_thread_options){
        .media = {.directory = options->directory,
                  .board = options->board,
                  .tally = options->tally,
                  .clock = options->clock,
                  .files = options->files,
                  .links = &relay->links,
                  .seed = chance_next(&chance),
                  .max_size = options->max_file_bytes,
                  .most_file_bytes = options->most_file_bytes,
                  .timeout_ms = options->timeout_ms},
        .committer = relay->committer,
        .relay_loop = relay->loop,
        .settled = settled,
        .arg = relay,
        .uploads = most_connections(relay),
    });
}

static void make_replies(struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    struct chance chance;
    chance_init_system(&chance);
    struct replies_options replies = {
        .directory = options->directory,
        .board = options->board,
        .tally = options->tally,
        .clock = options->clock,
        .seed = chance_next(&chance),
        .timeout_ms = options->timeout_ms,
        .keep_dedupe_us = options->keep_dedupe_us,
        .media_wait_us = options->media_wait_ms * 1000,
    };
    struct replies_ports ports = {
        .arg = relay,
        .submit = port_submit_or_refuse,
        .send = port_send,
        .cancel = port_cancel,
        .arm = replies_port_arm,
    };
    relay->replies_timer = loop_timer_new(relay->loop, on_replies_timer, relay);
    relay->replies = replies_new(&replies, &ports);
}

static void make_by_hand(struct relay *relay)
{
    const struct relay_options *options = &relay->options;
    relay->by_hand = (struct by_hand_ports){
        .arg = relay,
        .submit = port_submit_or_refuse,
        .dispatcher = relay->dispatcher,
        .reader = options->store->ops->reader_new(options->store),
        .directory = options->directory,
        .board = options->board,
        .tally = options->tally,
        .clock = options->clock,
        .settle_ms = options->settle_ms,
    };
}

static void restore_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    replies_restore_news(arg, account_id, desk_conversation);
}

static void restore_searched(void *arg, const struct store_searched *searched)
{
    replies_restore_searched(arg, searched);
}

static bool restore_replies(struct relay *relay)
{
    struct store *store = relay->options.store;
    return !store->ops->each_news(store, restore_news, relay->replies) &&
           !store->ops->each_searched(store, restore_searched, relay->replies);
}

static void restore_desk(void *arg, const struct store_desk_health *health)
{
    dispatcher_restore_desk(arg, health);
}

static void hold_lane(void *arg, int64_t lane)
{
    dispatcher_hold_lane(arg, lane);
}

static void make_clients(struct relay *relay)
{
    struct http_client_options client;
    http_client_options_default(&client);
    size_t left = most_connections(relay);
    do {
        bool last = left <= CLIENT_CONNECTIONS || relay->client_count == MOST_CLIENTS - 1;
        client.max_connections = last ? left : CLIENT_CONNECTIONS;
        relay->clients[relay->client_count++] = http_client_new(relay->loop, &client);
        left -= client.max_connections;
    } while (left);
}

static void make_loop(struct relay *relay)
{
    relay->loop = loop_new();
    relay->timer = loop_timer_new(relay->loop, on_timer, relay);
    make_clients(relay);
    relay->sources = sources_new(&(struct sources_options){
        .loop = relay->loop,
        .intake = &relay->intake,
        .directory = relay->options.directory,
        .board = relay->options.board,
        .clock = relay->options.clock,
        .public_url = relay->options.public_url,
    });
    relay->checks = checks_new(relay->loop, relay->options.clock, relay->options.public_url);
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
    options.max_connections /= (size_t)wanted_doors(); // the bounds are the daemon's
    options.max_reading /= (size_t)wanted_doors();
    struct http_handler handler = {
        .arg = &relay->intake, .head = intake_head, .request = intake_request, .allow = intake_allow};
    int shared_fd = relay->door_count ? http_server_fd(relay->doors[0].server) : -1;
    char address[256];
    snprintf(address, sizeof address, "%.*s", STR_ARG(relay->options.listen));
    door->relay = relay;
    door->loop = loop_new();
    relay->door_count++;
    door->server = http_server_new(door->loop, address, shared_fd, &options, &handler, why);
    return door->server != NULL;
}

// Something to be done on the relay loop.
struct relay_task {
    struct loop_task task; // first
    struct relay *relay;
};

static void post(struct relay *relay, void (*run)(struct loop_task *task))
{
    struct relay_task *own = mem_new_of(struct relay_task);
    own->relay = relay;
    own->task.run = run;
    must(loop_post(relay->loop, &own->task));
}

static void on_begin(struct loop_task *task)
{
    struct relay *relay = ((struct relay_task *)task)->relay;
    struct directory_walk walk = {.directory = relay->options.directory};
    const struct account *account;
    while ((account = directory_walk_next(&walk))) {
        sources_account_changed(relay->sources, NULL, account);
        account_unref(account);
    }
    dispatcher_start(relay->dispatcher);
    replies_start(relay->replies);
    media_thread_start(relay->media);
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
    start_thread(&relay->flusher_thread, run_flusher, relay->committer, "flusher");
    start_thread(&relay->loop_thread, run_loop, relay->loop, "relay");
    post(relay, on_begin);
    for (int i = 0; i < relay->door_count; i++) {
        struct door *door = &relay->doors[i];
        start_thread(&door->thread, run_loop, door->loop, "intake");
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
    media_thread_free(relay->media);
    replies_free(relay->replies);
    sources_free(relay->sources);
    checks_free(relay->checks);
    for (int i = 0; i < relay->client_count; i++)
        http_client_free(relay->clients[i]);
    loop_timer_free(relay->timer);
    if (relay->replies_timer)
        loop_timer_free(relay->replies_timer);
    if (relay->cut_timer)
        loop_timer_free(relay->cut_timer);
    if (relay->hurry_timer)
        loop_timer_free(relay->hurry_timer);
    loop_free(relay->loop);
    committer_free(relay->committer);
    clock_watch_free(relay->intake.clock_watch);
    if (relay->by_hand.reader)
        relay->by_hand.reader->ops->free(relay->by_hand.reader);
    if (relay->bulk_reader)
        relay->bulk_reader->ops->free(relay->bulk_reader);
    pthread_mutex_destroy(&relay->bulk_lock);
    pthread_mutex_destroy(&relay->lock);
    pthread_cond_destroy(&relay->changed);
    free(relay);
}

// Where this machine reaches what listens at `listen`, "127.0.0.1:0" or "[::]:8080".
static struct str own_url(const struct relay *relay, struct arena *arena)
{
    struct str listen = relay->options.listen;
    size_t colon = listen.n;
    while (colon && listen.p[colon - 1] != ':')
        colon--;
    struct str host = str_sub(listen, 0, colon ? colon - 1 : 0);
    if (!host.n || str_eq_c(host, "0.0.0.0") || str_eq_c(host, "*"))
        host = STR("127.0.0.1");
    else if (str_eq_c(host, "[::]"))
        host = STR("[::1]");
    return arena_printf(arena, "http://%.*s:%d", STR_ARG(host), relay_port(relay));
}

// Before the threads run, who read them. The arena is the caller's, and outlives the relay.
static void make_links(struct relay *relay, struct arena *arena)
{
    const struct relay_options *options = &relay->options;
    struct str base = options->public_url.n ? arena_str(arena, options->public_url) : own_url(relay, arena);
    while (base.n && base.p[base.n - 1] == '/')
        base.n--;
    relay->links = (struct media_links){
        .base = base, .is_public = options->public_url.n > 0, .lifetime_us = options->link_us};
    memcpy(relay->links.key, options->store->ops->link_key(options->store), sizeof relay->links.key);
    relay->intake.files = options->files;
    relay->intake.links = &relay->links;
}

struct relay *relay_start(const struct relay_options *options, struct arena *arena, const char **why)
{
    struct relay *relay = mem_new_of(struct relay);
    const char *trouble = NULL;
    relay->options = *options;
    pthread_mutex_init(&relay->lock, NULL);
    pthread_mutex_init(&relay->bulk_lock, NULL);
    pthread_cond_init(&relay->changed, NULL);
    make_committer(relay);
    make_dispatcher(relay);
    make_loop(relay);
    make_replies(relay);
    make_media(relay);
    if (options->store->ops->each_desk_health(options->store, restore_desk, relay->dispatcher) ||
        !restore_replies(relay)) {
        *why = "the store cannot be read";
        relay_free(relay);
        return NULL;
    }
    dispatcher_desks_restored(relay->dispatcher);
    if (options->trouble_path)
        trouble_file_read(options->trouble_path, hold_lane, relay->dispatcher);
    make_by_hand(relay);
    relay->bulk_reader = options->store->ops->reader_new(options->store);
    for (int wanted = wanted_doors(); relay->door_count < wanted;) {
        if (open_door(relay, &trouble))
            continue;
        *why = arena_printf(arena, "cannot listen on %.*s: %s", STR_ARG(options->listen), trouble).p;
        relay_free(relay);
        return NULL;
    }
    make_links(relay, arena);
    start_threads(relay);
    return relay;
}

int relay_port(const struct relay *relay)
{
    return http_server_port(relay->doors[0].server);
}

const struct media_links *relay_links(const struct relay *relay)
{
    return relay->intake.links;
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
    if (door->drain_until_us > door->relay->cut_at_us)
        door->drain_until_us = door->relay->cut_at_us;
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

static struct loop_timer *timer_at_cut(struct relay *relay, void (*run)(void *arg))
{
    struct loop_timer *timer = loop_timer_new(relay->loop, run, relay);
    int64_t left_us = relay->cut_at_us - clock_mono_us(relay->options.clock);
    loop_timer_set(timer, left_us > 0 ? left_us / 1000 : 0);
    return timer;
}

static void on_hurry(void *arg)
{
    struct relay *relay = arg;
    committer_hurry(relay->committer);
}

static void on_end_calls(struct loop_task *task)
{
    struct relay *relay = ((struct relay_task *)task)->relay;
    free(task);
    relay->hurry_timer = timer_at_cut(relay, on_hurry);
}

void relay_end_calls(struct relay *relay)
{
    relay->cut_at_us = clock_mono_us(relay->options.clock) + relay->options.shutdown_ms * 1000;
    atomic_store(&relay->ending_calls, true);
    post(relay, on_end_calls);
}

static void on_cut(void *arg)
{
    struct relay *relay = arg;
    dispatcher_cut(relay->dispatcher);
}

static void on_stop(struct loop_task *task)
{
    struct relay *relay = ((struct relay_task *)task)->relay;
    free(task);
    sources_stop(relay->sources);
    replies_stop(relay->replies);
    checks_stop(relay->checks);
    relay->cut_timer = timer_at_cut(relay, on_cut);
    dispatcher_stop(relay->dispatcher);
}

static void stop_dispatcher(struct relay *relay)
{
    post(relay, on_stop);
    pthread_mutex_lock(&relay->lock);
    while (!relay->dispatcher_stopped)
        pthread_cond_wait(&relay->changed, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
}

void relay_stop(struct relay *relay)
{
    must(relay->cut_at_us); // relay_end_calls
    drain_doors(relay);
    media_thread_stop(relay->media);
    stop_dispatcher(relay);
    committer_close(relay->committer);
    pthread_join(relay->committer_thread, NULL);
    pthread_join(relay->flusher_thread, NULL);
    media_thread_join(relay->media); // what became of the last file came from the committer
    for (int i = 0; i < relay->door_count; i++) {
        loop_stop(relay->doors[i].loop);
        pthread_join(relay->doors[i].thread, NULL);
    }
    loop_stop(relay->loop);
    pthread_join(relay->loop_thread, NULL);
    relay_free(relay);
}
