#include "app/daemon.h"

#include "admin/admin.h"
#include "app/account_change.h"
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
    struct str fixed; // of the configuration that it was started with: config_fixed
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

static void note_orders(struct daemon *daemon, struct config *config, const struct accounts_plan *plan)
{
    end_order_alarms(daemon, config);
    for (size_t i = 0; i < plan->put_count; i++) {
        const struct relay_account_put *put = &plan->puts[i];
        if (put->order_kept)
            note_kept_order(daemon, config, put->account->name);
        else
            board_alarm_end(daemon->board, "order_waits", put->account->name);
    }
}

enum { PUT_BATCH = 1000 };

// Before the relay runs the store is ours: the plan is put into it directly.
static int store_plan(struct daemon *daemon, struct accounts_plan *plan)
{
    struct store_change *changes = mem_new(PUT_BATCH * sizeof *changes);
    struct store_account_put *puts = mem_new(PUT_BATCH * sizeof *puts);
    int err = ERR_OK;
    for (size_t at = 0; at < plan->put_count && !err; at += PUT_BATCH) {
        size_t count = plan->put_count - at < PUT_BATCH ? plan->put_count - at : PUT_BATCH;
        struct arena arena = {0};
        for (size_t i = 0; i < count; i++) {
            const struct relay_account_put *put = &plan->puts[at + i];
            puts[i] = (struct store_account_put){
                .account = put->account,
                .file_text = put->file_text,
                .keep_active = put->keep_active,
                .source_ids = arena_alloc(&arena, (put->account->source_count + 1) * sizeof(int64_t)),
            };
            changes[i] = (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &puts[i]};
        }
        err = daemon->store->ops->apply(daemon->store, changes, count);
        for (size_t i = 0; i < count; i++)
            plan->puts[at + i].order_kept = puts[i].order_kept;
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
    static const char sentence[] = "the accounts could not be written to the store";
    struct accounts_plan plan;
    struct buf errors;
    if (read_accounts(daemon))
        return fail(sentence);
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = accounts_file_check(daemon->config, daemon->known, daemon->known_count, &errors);
    if (err)
        fail(errors.p);
    buf_done(&errors);
    if (err)
        return 1;
    accounts_plan_make(daemon->config, daemon->known, daemon->known_count, &plan);
    err = store_plan(daemon, &plan);
    if (!err) {
        note_orders(daemon, daemon->config, &plan);
        err = fill_directory(daemon, &plan);
    }
    accounts_plan_done(&plan);
    forget_known(daemon);
    return err ? fail(sentence) : 0;
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
        .trouble_path = arena_printf(&daemon->arena, "%.*s.lane-trouble", STR_ARG(config->store_path)).p,
        .fatal = on_fatal,
    };
    daemon->relay = relay_start(&options, &daemon->arena, &why);
    return daemon->relay ? 0 : fail(why);
}

static int reload(void *arg, struct buf *report);
static int change_account(void *arg, struct admin_change *change);

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
        .change = change_account,
        .change_arg = daemon,
    };
    daemon->admin_reader = daemon->verify_reader = NULL; // taken
    daemon->admin = admin_start(&options, &daemon->arena, &why);
    return daemon->admin ? 0 : fail(why);
}

// ---- reload ----

static struct str next_line(struct str *text)
{
    struct str line = str_sub(*text, 0, str_index(*text, '\n', 0));
    *text = str_sub(*text, line.n + 1, text->n);
    return line;
}

// What was configured once, for the life of the process: said, not silently left.
static void warn_fixed(struct daemon *daemon, const struct config *config, struct buf *report)
{
    struct arena scratch = {0};
    struct str before = daemon->fixed, now = config_fixed(config, &scratch), keys = STR("");
    while (now.n) {
        struct str was = next_line(&before), is = next_line(&now);
        if (!str_eq(was, is))
            keys = arena_printf(&scratch, "%.*s%s%.*s", STR_ARG(keys), keys.n ? ", " : "",
                                STR_ARG(str_sub(is, 0, str_index(is, ' ', 0))));
    }
    if (keys.n) {
        buf_printf(report, "%s: %.*s: takes effect at the next start\n", daemon->config_path, STR_ARG(keys));
        log_warn("restart_needed", LOG_S("keys", keys),
                 LOG_C("why", "what changed there takes effect at the next start"));
    }
    arena_done(&scratch);
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

static int apply_file(struct daemon *daemon, struct config *config, struct buf *report)
{
    struct accounts_plan plan;
    gather_known(daemon);
    if (accounts_file_check(config, daemon->known, daemon->known_count, report)) {
        forget_known(daemon);
        return ERR_INVALID;
    }
    accounts_plan_make(config, daemon->known, daemon->known_count, &plan);
    for (size_t i = 0; i < plan.put_count; i++)
        account_ref(plan.puts[i].account); // the relay takes one
    int err = relay_put_accounts(daemon->relay, plan.puts, plan.put_count);
    if (!err) {
        note_orders(daemon, config, &plan);
        relay_move_accounts(daemon->relay, plan.moved, plan.moved_count);
    }
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
        err = apply_file(daemon, config, report);
    if (!err) {
        warn_fixed(daemon, config, report);
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

// ---- accounts by hand ----

enum { LOOK_AT = 500 }; // accounts at a time

static int refuse_twin(const struct source *source, const struct account *other, const struct source *theirs,
                       struct buf *why)
{
    bool of_file = other->defined_at.p != NULL;
    buf_printf(why,
               "Source %.*s is the same bot or number as source %.*s/%.*s%s%.*s%s; one may appear in one source only.",
               STR_ARG(source->name), STR_ARG(other->name), STR_ARG(theirs->name), of_file ? " (" : "",
               STR_ARG(other->defined_at), of_file ? ")" : "");
    return ERR_REFUSED;
}

// One bot stands in one source, of all accounts. What left the file holds none, until somebody takes it up again.
static int check_bots(struct daemon *daemon, const struct account *account, struct buf *why)
{
    const struct account *page[LOOK_AT];
    struct arena names = {0};
    struct str after = STR_NONE;
    size_t count;
    int err = ERR_OK;
    do {
        count = directory_page(daemon->directory, after, LOOK_AT, page);
        arena_done(&names);
        if (count)
            after = arena_str(&names, page[count - 1]->name);
        for (size_t i = 0; i < count; i++) {
            const struct source *source, *theirs;
            bool other = page[i]->id != account->id && !page[i]->left_file;
            if (!err && other && accounts_share_bot(account, page[i], &source, &theirs))
                err = refuse_twin(source, page[i], theirs, why);
            account_unref(page[i]);
        }
    } while (count == LOOK_AT && !err);
    arena_done(&names);
    return err;
}

// A change of the order rule is over when the messages accepted before it are settled; until then there is no other one.
static int check_order(const struct account *before, const struct account *now, struct buf *why)
{
    if (before->order == now->order || !before->order_barrier)
        return ERR_OK;
    buf_add_str(why, STR("Its order rule was changed before, and messages of the rule before that are still pending; "
                         "change it again when they are settled."));
    return ERR_REFUSED;
}

static int put_change(struct daemon *daemon, struct admin_change *change, const struct account *before)
{
    struct relay_account_put put = {.file_text = STR_NONE};
    bool says_active;
    int err = account_change_make(change, before, &put.account, &says_active);
    if (err)
        return err;
    put.keep_active = !says_active;
    err = check_order(before, put.account, change->why);
    if (!err)
        err = check_bots(daemon, put.account, change->why);
    if (err)
        account_unref(put.account);
    else
        err = relay_put_accounts(daemon->relay, &put, 1);
    return err;
}

static int remove_account(struct daemon *daemon, struct admin_change *change, const struct account *before)
{
    int err = relay_remove_account(daemon->relay, before->id, change->discard, &change->discarded);
    if (err == ERR_REFUSED)
        buf_add_str(change->why, STR("Messages of the account are pending; wait until they are delivered, or remove it "
                                     "with discard=true, which discards them."));
    if (err == ERR_BUSY)
        buf_printf(change->why,
                   "The account is inactive now, but a request of it is still in flight, or messages still come in; "
                   "remove it again.");
    return err;
}

static int change_known(struct daemon *daemon, struct admin_change *change, const struct account *before)
{
    if (!before) {
        buf_add_str(change->why, STR("There is no account of that name."));
        return ERR_NOT_FOUND;
    }
    int err = account_change_allowed(before, change->why);
    if (err)
        return err;
    return change->kind == CHANGE_ACCOUNT_REMOVE ? remove_account(daemon, change, before)
                                                 : put_change(daemon, change, before);
}

static int add_account(struct daemon *daemon, struct admin_change *change)
{
    struct relay_account_put put = {.file_text = STR_NONE};
    bool says_active;
    int err = account_change_make(change, NULL, &put.account, &says_active);
    if (err)
        return err;
    const struct account *known = directory_find(daemon->directory, put.account->name);
    if (known) {
        buf_printf(change->why, "There is an account of that name already%s%.*s.", known->defined_at.p ? ", of " : "",
                   STR_ARG(known->defined_at));
        err = ERR_REFUSED;
    }
    account_unref(known);
    if (!err)
        err = check_bots(daemon, put.account, change->why);
    if (err)
        account_unref(put.account);
    else
        err = relay_put_accounts(daemon->relay, &put, 1);
    return err;
}

// Definitions change one at a time, those of the file among them.
static int change_account(void *arg, struct admin_change *change)
{
    struct daemon *daemon = arg;
    pthread_mutex_lock(&daemon->reload_lock);
    int err;
    if (change->kind == CHANGE_ACCOUNT_ADD) {
        err = add_account(daemon, change);
    } else {
        const struct account *before = directory_find(daemon->directory, change->account);
        err = change_known(daemon, change, before);
        account_unref(before);
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
    if (daemon->relay)
        relay_end_calls(daemon->relay);
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
    forget_known(daemon);
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
    else
        daemon->fixed = config_fixed(daemon->config, &daemon->arena);
    if (!err && daemon->config->warnings.n)
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
