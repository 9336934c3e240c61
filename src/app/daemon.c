#include "app/daemon.h"

#include "admin/admin.h"
#include "app/accounts_file.h"
#include "app/admin_token.h"
#include "app/config.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "relay/relay.h"
#include "store/store.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct daemon {
    struct arena arena;
    const char *config_path;
    struct config *config;
    struct store *store;
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    struct relay *relay;
    struct admin *admin;
    struct store_reader *reader;                       // for reload; under reload_lock
    struct store_reader *admin_reader, *verify_reader; // the admin side's from admin_start on
    pthread_mutex_t reload_lock;                       // one reload at a time; guards `known`
    struct stored_account *known;                      // by name what the file last said; copies of our own
    size_t known_count;
    pthread_mutex_t threads_lock; // guards `reloads`
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

// ---- accounts ----

static void forget_known(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->known_count; i++) {
        account_unref(daemon->known[i].account);
        free((char *)(uintptr_t)daemon->known[i].file_text.p);
    }
    free(daemon->known);
    daemon->known = NULL;
    daemon->known_count = 0;
}

static void add_known(void *arg, struct account *account, struct str file_text)
{
    struct daemon *daemon = arg;
    if ((daemon->known_count & (daemon->known_count - 1)) == 0)
        daemon->known = mem_resize(daemon->known, (daemon->known_count * 2 + 1) * sizeof *daemon->known);
    struct str text = file_text.p ? (struct str){mem_dup(file_text.p, file_text.n), file_text.n} : STR_NONE;
    daemon->known[daemon->known_count++] = (struct stored_account){account, text};
}

static int compare_known(const void *a, const void *b)
{
    const struct stored_account *left = a, *right = b;
    return str_cmp(left->account->name, right->account->name);
}

// `known` is sorted by name.
static const struct stored_account *find_known(const struct daemon *daemon, struct str name)
{
    struct account account = {.name = name};
    struct stored_account key = {.account = &account};
    return daemon->known_count ? bsearch(&key, daemon->known, daemon->known_count, sizeof key, compare_known) : NULL;
}

static int read_accounts(struct daemon *daemon)
{
    forget_known(daemon);
    int err = daemon->store->ops->each_account(daemon->store, add_known, daemon);
    if (daemon->known_count)
        qsort(daemon->known, daemon->known_count, sizeof *daemon->known, compare_known);
    return err;
}

// ---- a changed order rule ----

static void set_file_text(struct config *config, struct str name, struct str text)
{
    for (size_t i = 0; i < config->account_count; i++)
        if (str_eq(config->accounts[i].account->name, name))
            config->accounts[i].file_text = text;
}

// The file asks for the rule that is in force (again): nothing waits for it.
static void end_order_alarms(struct daemon *daemon, const struct config *config)
{
    for (size_t i = 0; i < config->account_count; i++) {
        const struct account *said = config->accounts[i].account;
        const struct stored_account *known = find_known(daemon, said->name);
        if (known && known->account->order == said->order)
            board_alarm_end(daemon->board, "order_waits", said->name);
    }
}

// The last change of its order rule is not over, and the store takes one at a time. The file's text is not taken either,
// so that it counts as changed at the next reload.
static void note_kept_order(struct daemon *daemon, struct config *config, struct str name)
{
    const struct stored_account *known = find_known(daemon, name);
    set_file_text(config, name, arena_str(&config->arena, known ? known->file_text : STR_NONE));
    board_alarm(daemon->board, "order_waits", name,
                STR("its order rule was changed again before the messages of the rule before the last change were "
                    "settled: this change is not in force; reload when they are"));
}

static void note_orders(struct daemon *daemon, struct config *config, const struct accounts_plan *plan,
                        const bool *kept)
{
    end_order_alarms(daemon, config);
    for (size_t i = 0; i < plan->put_count; i++) {
        if (kept[i])
            note_kept_order(daemon, config, plan->puts[i]->name);
        else
            board_alarm_end(daemon->board, "order_waits", plan->puts[i]->name);
    }
}

enum { PUT_BATCH = 1000 };

// Before the relay runs the store is ours: the plan is put into it directly.
static int store_plan(struct daemon *daemon, struct accounts_plan *plan, bool *out_kept)
{
    struct store_change *changes = mem_new(PUT_BATCH * sizeof *changes);
    struct store_account_put *puts = mem_new(PUT_BATCH * sizeof *puts);
    int err = ERR_OK;
    for (size_t at = 0; at < plan->put_count && !err; at += PUT_BATCH) {
        size_t count = plan->put_count - at < PUT_BATCH ? plan->put_count - at : PUT_BATCH;
        struct arena arena = {0};
        for (size_t i = 0; i < count; i++) {
            struct account *account = plan->puts[at + i];
            puts[i] = (struct store_account_put){
                .account = account,
                .file_text = plan->file_texts[at + i],
                .source_ids = arena_alloc(&arena, (account->source_count + 1) * sizeof(int64_t)),
            };
            changes[i] = (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &puts[i]};
        }
        err = daemon->store->ops->apply(daemon->store, changes, count);
        for (size_t i = 0; i < count; i++)
            out_kept[at + i] = puts[i].order_kept;
        arena_done(&arena);
    }
    free(changes);
    free(puts);
    return err;
}

// The store says what there is now; where the accounts of the file stand in it is the file's to say.
static int fill_directory(struct daemon *daemon, struct accounts_plan *plan)
{
    int err = read_accounts(daemon);
    for (size_t i = 0; i < daemon->known_count && !err; i++)
        directory_put(daemon->directory, account_ref(daemon->known[i].account));
    for (size_t i = 0; i < plan->moved_count && !err; i++) {
        directory_put(daemon->directory, plan->moved[i]);
        plan->moved[i] = NULL;
    }
    return err;
}

static int take_file(struct daemon *daemon)
{
    struct accounts_plan plan;
    int err = read_accounts(daemon);
    if (err)
        return err;
    accounts_plan_make(daemon->config, daemon->known, daemon->known_count, &plan);
    bool *kept = mem_new((plan.put_count + 1) * sizeof *kept);
    err = store_plan(daemon, &plan, kept);
    if (!err) {
        note_orders(daemon, daemon->config, &plan, kept);
        err = fill_directory(daemon, &plan);
    }
    free(kept);
    accounts_plan_done(&plan);
    forget_known(daemon);
    return err;
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
        board_alarm(daemon->board, name, STR(""), sentence);
    else
        board_alarm_end(daemon->board, name, STR(""));
}

static int open_store(struct daemon *daemon)
{
    const char *why = NULL;
    struct store_options options = {
        .path = daemon->config->store_path.p,
        .ballast_bytes = 1 << 20,
        .finding = on_store_finding,
        .finding_arg = daemon,
    };
    daemon->store = store_sqlite_open(&options, &daemon->arena, &why);
    if (!daemon->store)
        return fail(why);
    // Made while the store is this thread's; the committer's is it from relay_start on.
    daemon->reader = daemon->store->ops->reader_new(daemon->store);
    daemon->admin_reader = daemon->store->ops->reader_new(daemon->store);
    daemon->verify_reader = daemon->store->ops->reader_new(daemon->store);
    return daemon->reader && daemon->admin_reader && daemon->verify_reader
               ? 0
               : fail("the store cannot be opened a second time for reading");
}

static int start_relay(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    const char *why = NULL;
    struct relay_options options = {
        .store = daemon->store,
        .directory = daemon->directory,
        .board = daemon->board,
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
        .fatal = on_fatal,
    };
    daemon->relay = relay_start(&options, &daemon->arena, &why);
    return daemon->relay ? 0 : fail(why);
}

static int reload(void *arg, struct buf *report);

static int start_admin(struct daemon *daemon)
{
    const struct config *config = daemon->config;
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
        .relay = daemon->relay,
        .reader = daemon->admin_reader,
        .verify_reader = daemon->verify_reader,
        .directory = daemon->directory,
        .board = daemon->board,
        .tally = daemon->tally,
        .clock = &clock_system,
        .reload = reload,
        .reload_arg = daemon,
    };
    daemon->admin_reader = daemon->verify_reader = NULL; // taken
    daemon->admin = admin_start(&options, &daemon->arena, &why);
    return daemon->admin ? 0 : fail(why);
}

// ---- reload ----

// What was configured once, for the life of the process.
static void warn_fixed(const struct config *before, const struct config *now)
{
    if (!str_eq(before->listen, now->listen) || !str_eq(before->store_path, now->store_path) ||
        !str_eq(before->admin_listen, now->admin_listen) || !str_eq(before->public_url, now->public_url))
        log_warn("restart_needed",
                 LOG_C("why", "listen, admin.listen, public_url and store are read at the start only"));
}

static int compare_names(const void *a, const void *b)
{
    const struct config_account *const *left = a, *const *right = b;
    return str_cmp((*left)->account->name, (*right)->account->name);
}

// What is in force, with what the file said of it at the last read: the directory by name, the file's accounts
// sorted the same way.
static void gather_known(struct daemon *daemon)
{
    const struct config *config = daemon->config;
    const struct account **accounts = directory_list(daemon->directory);
    const struct config_account **sorted = mem_new((config->account_count + 1) * sizeof(struct config_account *));
    for (size_t i = 0; i < config->account_count; i++)
        sorted[i] = &config->accounts[i];
    qsort(sorted, config->account_count, sizeof *sorted, compare_names);
    forget_known(daemon);
    for (size_t i = 0, j = 0; accounts[i]; i++) {
        while (j < config->account_count && str_cmp(sorted[j]->account->name, accounts[i]->name) < 0)
            j++;
        bool in_file = j < config->account_count && str_eq(sorted[j]->account->name, accounts[i]->name);
        add_known(daemon, (struct account *)(uintptr_t)accounts[i], in_file ? sorted[j]->file_text : STR_NONE);
    }
    free(sorted);
    free(accounts);
}

static int apply_file(struct daemon *daemon, struct config *config)
{
    struct accounts_plan plan;
    gather_known(daemon);
    accounts_plan_make(config, daemon->known, daemon->known_count, &plan);
    bool *kept = mem_new((plan.put_count + 1) * sizeof *kept);
    for (size_t i = 0; i < plan.put_count; i++)
        account_ref(plan.puts[i]); // the relay takes one
    int err = relay_put_accounts(daemon->relay, plan.puts, plan.file_texts, kept, plan.put_count);
    if (!err) {
        note_orders(daemon, config, &plan, kept);
        relay_move_accounts(daemon->relay, plan.moved, plan.moved_count);
    }
    free(kept);
    log_info("reloaded", LOG_N("accounts_changed", (int64_t)plan.put_count));
    news_tell_of(board_news(daemon->board), NEWS_RELOADED, NULL, STR_NONE, STR_NONE);
    accounts_plan_done(&plan);
    forget_known(daemon);
    return err;
}

static int reload(void *arg, struct buf *report)
{
    struct daemon *daemon = arg;
    struct config *config = NULL;
    pthread_mutex_lock(&daemon->reload_lock);
    int err = config_load(daemon->config_path, &config, report);
    if (!err)
        err = apply_file(daemon, config);
    if (!err) {
        warn_fixed(daemon->config, config);
        buf_add_str(report, config->warnings);
        config_free(daemon->config);
        daemon->config = config;
    } else {
        log_error("reload_refused", LOG_S("why", buf_str(report)));
        config_free(config);
    }
    pthread_mutex_unlock(&daemon->reload_lock);
    return err;
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

static void *reload_thread(void *arg)
{
    struct buf report;
    buf_init(&report, CONFIG_ERRORS_MAX);
    if (reload(arg, &report))
        log_warn("old_configuration_stays");
    buf_done(&report);
    count_reloads(arg, -1);
    return NULL;
}

// The signal's loop goes on meanwhile: a stop must not wait for a long file, nor its second signal.
static void begin_reload(struct daemon *daemon)
{
    pthread_t thread;
    count_reloads(daemon, 1);
    if (pthread_create(&thread, NULL, reload_thread, daemon) == 0)
        pthread_detach(thread);
    else
        count_reloads(daemon, -1);
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
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    handle(SIGPIPE, SIG_IGN);
    handle(SIGXFSZ, SIG_IGN); // a limit on the size of files is an error of the write, as a full disk is
    daemon->loop = loop_new();
    for (int i = 0; i < 3; i++) {
        uv_signal_init(loop_uv(daemon->loop), &daemon->signals[i]);
        daemon->signals[i].data = daemon;
        uv_signal_start(&daemon->signals[i], on_signal, numbers[i]);
    }
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
    handle(SIGHUP, SIG_IGN); // its default would end us in the middle
    handle(SIGTERM, end_at_once);
    handle(SIGINT, end_at_once);
}

static int start(struct daemon *daemon)
{
    daemon->directory = directory_new();
    daemon->board = board_new();
    daemon->tally = tally_new();
    if (open_store(daemon))
        return 1;
    if (take_file(daemon))
        return fail("the accounts could not be written to the store");
    return start_relay(daemon) || start_admin(daemon);
}

static void free_reader(struct store_reader *reader)
{
    if (reader)
        reader->ops->free(reader);
}

static void stop(struct daemon *daemon)
{
    wait_for_reloads(daemon);
    admin_stop(daemon->admin);
    if (daemon->relay)
        relay_stop(daemon->relay);
    free_reader(daemon->reader);
    free_reader(daemon->admin_reader);
    free_reader(daemon->verify_reader);
    if (daemon->store)
        daemon->store->ops->close(daemon->store, true);
    directory_free(daemon->directory);
    board_free(daemon->board);
    tally_free(daemon->tally);
    config_free(daemon->config);
    arena_done(&daemon->arena);
    pthread_mutex_destroy(&daemon->reload_lock);
    pthread_mutex_destroy(&daemon->threads_lock);
    pthread_cond_destroy(&daemon->no_reloads);
}

static int load_config(struct daemon *daemon)
{
    struct buf errors;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load(daemon->config_path, &daemon->config, &errors);
    if (err)
        fail(errors.n ? errors.p : "the configuration cannot be read");
    else if (daemon->config->warnings.n)
        log_warn("configuration", LOG_S("why", daemon->config->warnings));
    buf_done(&errors);
    return err;
}

// The admin side runs already: a reload may be taking the configuration's place.
static void say_ready(struct daemon *daemon)
{
    pthread_mutex_lock(&daemon->reload_lock);
    log_info("ready", LOG_S("listen", daemon->config->listen), LOG_N("port", relay_port(daemon->relay)),
             LOG_N("admin_port", admin_port(daemon->admin)), LOG_S("socket", daemon->config->admin_socket));
    pthread_mutex_unlock(&daemon->reload_lock);
}

int daemon_serve(const char *given)
{
    struct daemon daemon = {.config_path = config_find(given)};
    handle(SIGHUP, SIG_IGN); // its default would end us; the file has not been read yet
    pthread_mutex_init(&daemon.reload_lock, NULL);
    pthread_mutex_init(&daemon.threads_lock, NULL);
    pthread_cond_init(&daemon.no_reloads, NULL);
    if (load_config(&daemon)) {
        stop(&daemon);
        return 1;
    }
    watch_signals(&daemon);
    int status = start(&daemon);
    if (!status) {
        say_ready(&daemon);
        loop_run(daemon.loop);
        log_info("stopping");
    }
    stop_watching(&daemon);
    stop(&daemon);
    if (!status)
        log_info("stopped");
    return status;
}
