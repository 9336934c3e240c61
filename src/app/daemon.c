#include "app/daemon.h"

#include "admin/admin.h"
#include "app/admin_token.h"
#include "app/definitions.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "relay/relay.h"
#include "store/media_files.h"
#include "store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILES_FLOOR (INT64_C(256) << 20) // bytes

struct daemon {
    struct arena arena;
    struct definitions definitions; // and what they stand on: store, directory, board, relay
    struct tally *tally;
    struct media_files *files;
    struct admin *admin;
    struct store_reader *admin_reader, *verify_reader; // the admin side's from admin_start on
    pthread_mutex_t threads_lock;                      // guards `reloads`
    pthread_cond_t no_reloads;
    int reloads;       // threads that a SIGHUP began
    struct loop *loop; // signals
    uv_signal_t signals[3];
    bool stopping;
};

static int fail(const char *sentence)
{
    log_error("cannot_start", LOG_C("why", sentence));
    return 1;
}

// ---- start ----

static void on_fatal(void *arg, const char *sentence)
{
    (void)arg;
    log_error("fatal", LOG_C("why", sentence));
    _exit(1); // nobody gets a 2xx any more (rule S1)
}

static void on_store_finding(void *arg, const char *name, struct str sentence)
{
    struct daemon *daemon = arg;
    if (sentence.p)
        board_alarm(daemon->definitions.board, name, STR(""), sentence);
    else
        board_alarm_end(daemon->definitions.board, name, STR(""));
}

static int open_store(struct daemon *daemon)
{
    const char *why = NULL;
    struct store_options options = {
        .path = daemon->definitions.config->store_path.p,
        .ballast_bytes = 1 << 20,
        .finding = on_store_finding,
        .finding_arg = daemon,
    };
    daemon->definitions.store = store_sqlite_open(&options, &daemon->arena, &why);
    if (!daemon->definitions.store)
        return fail(why);
    // Made while the store is this thread's; the committer's is it from relay_start on.
    daemon->admin_reader = daemon->definitions.store->ops->reader_new(daemon->definitions.store);
    daemon->verify_reader = daemon->definitions.store->ops->reader_new(daemon->definitions.store);
    return daemon->admin_reader && daemon->verify_reader ? 0
                                                         : fail("the store cannot be opened a second time for reading");
}

// Beside the store. With less free space than that no file is fetched, so that messages have it.
static int open_files(struct daemon *daemon)
{
    const char *why = NULL;
    struct str path = arena_printf(&daemon->arena, "%.*s.files", STR_ARG(daemon->definitions.config->store_path));
    daemon->files = media_files_open(path.p, FILES_FLOOR, &daemon->arena, &why);
    return daemon->files ? 0 : fail(why);
}

static int start_relay(struct daemon *daemon)
{
    const struct config *config = daemon->definitions.config;
    const char *why = NULL;
    struct relay_options options = {
        .store = daemon->definitions.store,
        .directory = daemon->definitions.directory,
        .board = daemon->definitions.board,
        .tally = daemon->tally,
        .clock = &clock_system,
        .listen = arena_str(&daemon->arena, config->listen), // a reload frees the configuration
        .public_url = arena_str(&daemon->arena, config->public_url),
        .max_attempts = (int)config->max_attempts,
        .retry_base_ms = config->retry_base_ms,
        .retry_cap_ms = config->retry_cap_ms,
        .timeout_ms = config->timeout_ms,
        .settle_ms = config->settle_ms,
        .shutdown_ms = config->shutdown_ms,
        .window = (int)config->window,
        .concurrency = (int)config->concurrency,
        .keep_bodies_us = config->keep_bodies_us,
        .keep_dedupe_us = config->keep_dedupe_us,
        .files = daemon->files,
        .media_wait_ms = config->media_wait_ms,
        .max_file_bytes = config->max_file_bytes,
        .link_us = config->link_us,
        .most_waiting = config->most_waiting,
        .most_file_bytes = config->most_file_bytes,
        .trouble_path = arena_printf(&daemon->arena, "%.*s.lane-trouble", STR_ARG(config->store_path)).p,
        .fatal = on_fatal,
    };
    daemon->definitions.relay = relay_start(&options, &daemon->arena, &why);
    return daemon->definitions.relay ? 0 : fail(why);
}

static int start_admin(struct daemon *daemon)
{
    const struct config *config = daemon->definitions.config;
    const char *why = NULL;
    struct str token = config->admin_token, token_path = STR_NONE;
    if (!token.p && admin_token_get(config->store_path, &daemon->arena, &token, &token_path, &why))
        return fail(why);
    if (token_path.p)
        log_info("admin_token", LOG_S("file", token_path));
    struct admin_options options = {
        .listen = config->admin_listen.p,
        .socket = config->admin_socket.p,
        .token = token,
        .relay = daemon->definitions.relay,
        .reader = daemon->admin_reader,
        .verify_reader = daemon->verify_reader,
        .files = daemon->files,
        .links = relay_links(daemon->definitions.relay),
        .directory = daemon->definitions.directory,
        .board = daemon->definitions.board,
        .tally = daemon->tally,
        .clock = &clock_system,
        .reload = definitions_reload,
        .reload_arg = &daemon->definitions,
        .change = definitions_change,
        .change_arg = &daemon->definitions,
    };
    daemon->admin_reader = daemon->verify_reader = NULL; // taken
    daemon->admin = admin_start(&options, &daemon->arena, &why);
    return daemon->admin ? 0 : fail(why);
}

// ---- signals ----

static void count_reloads(struct daemon *daemon, int change)
{
    pthread_mutex_lock(&daemon->threads_lock);
    daemon->reloads += change;
    if (!daemon->reloads)
        pthread_cond_signal(&daemon->no_reloads);
    pthread_mutex_unlock(&daemon->threads_lock);
}

static void wait_for_reloads(struct daemon *daemon)
{
    pthread_mutex_lock(&daemon->threads_lock);
    while (daemon->reloads)
        pthread_cond_wait(&daemon->no_reloads, &daemon->threads_lock);
    pthread_mutex_unlock(&daemon->threads_lock);
}

static const int watched_signals[] = {SIGTERM, SIGINT, SIGHUP};

// This thread alone takes the watched signals, and only while its loop runs; others inherit that they do not. What comes before
// or between waits: libuv puts the default back when it lets go of a signal, which would end us.
static void take_signals(bool take)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < 3; i++)
        sigaddset(&set, watched_signals[i]);
    pthread_sigmask(take ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static void *reload_thread(void *arg)
{
    struct daemon *daemon = arg;
    struct buf report;
    buf_init(&report, CONFIG_ERRORS_MAX);
    if (definitions_reload(&daemon->definitions, &report))
        log_warn("old_configuration_stays");
    buf_done(&report);
    count_reloads(daemon, -1);
    return NULL;
}

// The signal's loop goes on meanwhile: a stop must not wait for a long file, nor its second signal.
static void begin_reload(struct daemon *daemon)
{
    pthread_t thread;
    count_reloads(daemon, 1);
    take_signals(false);
    if (pthread_create(&thread, NULL, reload_thread, daemon) == 0)
        pthread_detach(thread);
    else
        count_reloads(daemon, -1);
    take_signals(true);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;
    if (number == SIGHUP) {
        begin_reload(daemon);
        return;
    }
    if (daemon->stopping)
        _exit(1);
    daemon->stopping = true;
    loop_stop(daemon->loop);
}

static void handle(int number, void (*handler)(int number))
{
    struct sigaction action = {.sa_handler = handler};
    sigaction(number, &action, NULL);
}

static void watch_signals(struct daemon *daemon)
{
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN); // a limit on the size of files is an error of the write, as a full disk is
    daemon->loop = loop_new();
    for (int i = 0; i < 3; i++) {
        uv_signal_init(loop_uv(daemon->loop), &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, watched_signals[i]);
    }
    // ThreadSanitizer (GCC 12) loses a signal that comes while a thread makes its first blocking call: that is made here, while
    // they are kept off.
    uv_run(loop_uv(daemon->loop), UV_RUN_NOWAIT);
}

// A second signal while everything ends in order ends at once, which is as safe as a crash.
static void end_at_once(int number)
{
    (void)number;
    _exit(1);
}

static void stop_watching(struct daemon *daemon)
{
    for (int i = 0; i < 3; i++)
        uv_close((uv_handle_t *)&daemon->signals[i], NULL);
    loop_free(daemon->loop);
    handle(SIGHUP, SIG_IGN); // what waits is dropped with it
    handle(SIGTERM, end_at_once);
    handle(SIGINT, end_at_once);
    take_signals(true);
}

static int take_file(struct daemon *daemon)
{
    struct buf why;
    buf_init(&why, CONFIG_ERRORS_MAX);
    int err = definitions_take_file(&daemon->definitions, &why);
    if (err)
        fail(why.n ? why.p : "the accounts could not be written to the store");
    buf_done(&why);
    return err;
}

static int start(struct daemon *daemon)
{
    daemon->definitions.directory = directory_new();
    daemon->definitions.board = board_new();
    daemon->tally = tally_new();
    if (open_store(daemon) || open_files(daemon))
        return 1;
    if (take_file(daemon))
        return 1;
    return start_relay(daemon) || start_admin(daemon);
}

static void free_reader(struct store_reader *reader)
{
    if (reader)
        reader->ops->free(reader);
}

static void stop(struct daemon *daemon)
{
    if (daemon->definitions.relay)
        relay_end_calls(daemon->definitions.relay);
    wait_for_reloads(daemon);
    admin_stop(daemon->admin);
    if (daemon->definitions.relay)
        relay_stop(daemon->definitions.relay);
    admin_free(daemon->admin);
    free_reader(daemon->admin_reader);
    free_reader(daemon->verify_reader);
    if (daemon->definitions.store)
        daemon->definitions.store->ops->close(daemon->definitions.store, true);
    if (daemon->files)
        daemon->files->ops->free(daemon->files);
    directory_free(daemon->definitions.directory);
    board_free(daemon->definitions.board);
    tally_free(daemon->tally);
    definitions_done(&daemon->definitions);
    arena_done(&daemon->arena);
    pthread_mutex_destroy(&daemon->threads_lock);
    pthread_cond_destroy(&daemon->no_reloads);
}

static int load_config(struct daemon *daemon)
{
    struct buf errors;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load(daemon->definitions.config_path, &daemon->definitions.config, &errors);
    if (err)
        fail(errors.n ? errors.p : "the configuration cannot be read");
    else
        daemon->definitions.fixed = config_fixed(daemon->definitions.config, &daemon->arena);
    if (!err && daemon->definitions.config->warnings.n)
        log_warn("configuration", LOG_S("why", daemon->definitions.config->warnings));
    buf_done(&errors);
    return err;
}

// The admin side runs already: a reload may be taking the configuration's place.
static void say_ready(struct daemon *daemon)
{
    pthread_mutex_lock(&daemon->definitions.lock);
    log_info("ready", LOG_S("listen", daemon->definitions.config->listen),
             LOG_N("port", relay_port(daemon->definitions.relay)), LOG_N("admin_port", admin_port(daemon->admin)),
             LOG_S("socket", daemon->definitions.config->admin_socket));
    pthread_mutex_unlock(&daemon->definitions.lock);
}

int daemon_serve(const char *given)
{
    struct daemon daemon = {.definitions.config_path = config_find(given)};
    handle(SIGHUP, SIG_IGN); // its default would end us; the file has not been read yet
    definitions_init(&daemon.definitions);
    pthread_mutex_init(&daemon.threads_lock, NULL);
    pthread_cond_init(&daemon.no_reloads, NULL);
    if (load_config(&daemon)) {
        stop(&daemon);
        return 1;
    }
    take_signals(false);
    watch_signals(&daemon);
    int status = start(&daemon);
    if (!status) {
        say_ready(&daemon);
        take_signals(true);
        loop_run(daemon.loop);
        take_signals(false);
        log_info("stopping");
    }
    stop_watching(&daemon);
    stop(&daemon);
    if (!status)
        log_info("stopped");
    return status;
}
