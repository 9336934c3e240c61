// See definitions.h. What the store has is compared with what the file says in accounts_file.c; what is asked by hand becomes
// an account in account_change.c.
#include "app/definitions.h"

#include "app/account_change.h"
#include "app/accounts_file.h"
#include "base/log.h"
#include "base/mem.h"
#include "desk/desk.h"
#include "platform/platform.h"

#include <malloc.h>
#include <stdlib.h>

void definitions_init(struct definitions *d)
{
    pthread_mutex_init(&d->lock, NULL);
}

void definitions_done(struct definitions *d)
{
    config_free(d->config);
    pthread_mutex_destroy(&d->lock);
}

// What was needed while a file of very many accounts was read goes back to the system: it is not needed again for long.
static void release_memory(struct config *config)
{
    config_drop_accounts(config);
    malloc_trim(0);
}

// Of a row without a checksum, from before there were any, this is all that can be seen.
static bool names_what_there_is_not(const struct account *account)
{
    bool missing = !desk_connector_find(account->desk.platform);
    for (size_t i = 0; i < account->source_count; i++)
        missing = missing || !platform_find(account->sources[i].platform);
    return missing;
}

static void take_stored(void *arg, struct account *account, struct str file_text)
{
    struct definitions *d = arg;
    if (names_what_there_is_not(account)) {
        account->damaged = true;
        account->active = false;
    }
    d->damaged += account->damaged;
    account->file_text = arena_str(&account->arena, file_text);
    directory_put(d->directory, account);
}

// ---- a changed order rule ----

static void note_order(struct definitions *d, const struct relay_account_put *put)
{
    if (put->order_kept)
        board_alarm(d->board, "order_waits", put->account->name,
                    STR("its order rule was changed again before the messages of the rule before the last change were "
                        "settled: this change is not in force; reload when they are"));
    else
        board_alarm_end(d->board, "order_waits", put->account->name);
}

// ---- what the file says, put in force ----

enum { BATCH = 1000 };

// Accounts on their way into the store and the directory: very many are not made all at once.
struct batch {
    struct definitions *d;
    struct relay_account_put puts[BATCH];
    struct account *moved[BATCH];
    size_t put_count, moved_count, all_put;
};

static void publish_stored(struct definitions *d, const struct store_account_put *put, struct account *account)
{
    const struct account *before = directory_look(d->directory, account->name);
    directory_put(d->directory, relay_account_stored(account, put, before));
    account_unref(before);
}

// Before the relay runs store and directory are ours: they are put into both directly.
static int store_puts(struct definitions *d, struct relay_account_put *accounts, size_t count)
{
    struct arena arena = {0};
    struct store_change *changes = arena_alloc(&arena, count * sizeof *changes);
    struct store_account_put *puts = arena_alloc(&arena, count * sizeof *puts);
    for (size_t i = 0; i < count; i++) {
        const struct account *account = accounts[i].account;
        puts[i] = (struct store_account_put){
            .account = account,
            .file_text = account->file_text,
            .keep_active = accounts[i].keep_active,
            .source_ids = arena_alloc(&arena, (account->source_count + 1) * sizeof(int64_t)),
        };
        changes[i] = (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &puts[i]};
    }
    int err = d->store->ops->apply(d->store, changes, count);
    for (size_t i = 0; i < count && !err; i++) {
        accounts[i].order_kept = puts[i].order_kept;
        publish_stored(d, &puts[i], accounts[i].account);
    }
    arena_done(&arena);
    return err;
}

static int relay_puts(struct definitions *d, struct relay_account_put *puts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        account_ref(puts[i].account); // the relay takes one
    return relay_put_accounts(d->relay, puts, count);
}

static int flush_puts(struct batch *batch)
{
    struct definitions *d = batch->d;
    size_t count = batch->put_count;
    int err = ERR_OK;
    if (count)
        err = d->relay ? relay_puts(d, batch->puts, count) : store_puts(d, batch->puts, count);
    for (size_t i = 0; i < count; i++) {
        if (!err)
            note_order(d, &batch->puts[i]);
        account_unref(batch->puts[i].account);
    }
    batch->all_put += count;
    batch->put_count = 0;
    return err;
}

// Where an account stands in the file is the file's to say: the store is not told.
static void flush_moved(struct batch *batch)
{
    struct definitions *d = batch->d;
    if (d->relay)
        relay_move_accounts(d->relay, batch->moved, batch->moved_count);
    for (size_t i = 0; i < batch->moved_count; i++) {
        if (!d->relay)
            directory_put(d->directory, account_ref(batch->moved[i]));
        account_unref(batch->moved[i]);
    }
    batch->moved_count = 0;
}

static int add_plan(struct batch *batch, const struct account_plan *plan)
{
    int err = ERR_OK;
    if (plan->kind == PLAN_PUT) {
        batch->puts[batch->put_count++] = (struct relay_account_put){.account = plan->account,
                                                                     .keep_active = plan->keep_active};
        err = batch->put_count == BATCH ? flush_puts(batch) : ERR_OK;
    } else if (plan->kind == PLAN_MOVE) {
        batch->moved[batch->moved_count++] = plan->account;
        if (batch->moved_count == BATCH)
            flush_moved(batch);
    }
    return err;
}

static void log_mended(const struct definitions *d, const struct account *stored, const struct account_plan *plan)
{
    if (stored->damaged && plan->kind == PLAN_PUT && !d->relay)
        log_error("account_damaged", LOG_S("account", stored->name),
                  LOG_C("why", "its definition in the store was not what was stored; the file's was taken"));
}

static int take_said(struct batch *batch, const struct config *config, size_t at)
{
    struct definitions *d = batch->d;
    struct account_plan plan;
    struct account *said = config_account(config, at);
    const struct account *stored = directory_look(d->directory, said->name);
    account_plan_said(said, stored, &plan);
    if (stored)
        log_mended(d, stored, &plan);
    if (stored && stored->order == said->order && d->relay) // the rule that is in force (again): nothing waits for it
        board_alarm_end(d->board, "order_waits", said->name);
    int err = add_plan(batch, &plan);
    account_unref(stored);
    account_unref(said);
    return err;
}

static int take_unsaid(struct batch *batch, const struct config *config)
{
    struct directory_walk walk = {.directory = batch->d->directory};
    const struct account *account;
    int err = ERR_OK;
    while (!err && (account = directory_walk_next(&walk))) {
        struct account_plan plan = {.kind = PLAN_NOTHING};
        if (!config_has_account(config, account->name))
            account_plan_unsaid(account, &plan);
        log_mended(batch->d, account, &plan);
        err = add_plan(batch, &plan);
        account_unref(account);
    }
    directory_walk_done(&walk);
    return err;
}

// All that the file says or says no more. `out_put`: how many accounts it changed.
static int take_all(struct definitions *d, const struct config *config, size_t *out_put)
{
    struct batch *batch = mem_new_of(struct batch);
    batch->d = d;
    int err = ERR_OK;
    for (size_t i = 0; i < config->account_count && !err; i++)
        err = take_said(batch, config, i);
    err = err ? err : take_unsaid(batch, config);
    int last = flush_puts(batch);
    flush_moved(batch);
    *out_put = batch->all_put;
    free(batch);
    return err ? err : last;
}

// After the file was taken: what it defines was written anew, whole.
static void tell_damaged(struct definitions *d)
{
    struct directory_walk walk = {.directory = d->directory};
    const struct account *account;
    while (d->damaged && (account = directory_walk_next(&walk))) {
        if (account->damaged)
            board_alarm(d->board, "store_damaged", account->name,
                        STR("the account's definition is not what was stored: it is inactive; look at it with account "
                            "show, set what is wrong, and activate it"));
        account_unref(account);
    }
}

int definitions_take_file(struct definitions *d, struct buf *why)
{
    size_t put;
    int err = d->store->ops->each_account(d->store, take_stored, d);
    if (!err)
        err = accounts_file_check(d->config, d->directory, why);
    if (!err)
        err = take_all(d, d->config, &put);
    if (!err && put) // from now on others hear of them
        err = d->store->ops->flush(d->store);
    if (!err)
        tell_damaged(d);
    release_memory(d->config);
    return err;
}

// ---- reload ----

static struct str next_line(struct str *text)
{
    struct str line = str_sub(*text, 0, str_index(*text, '\n', 0));
    *text = str_sub(*text, line.n + 1, text->n);
    return line;
}

// What was configured once, for the life of the process: said, not silently left.
static void warn_fixed(struct definitions *d, const struct config *config, struct buf *report)
{
    struct arena scratch = {0};
    struct str before = d->fixed, now = config_fixed(config, &scratch), keys = STR("");
    while (now.n) {
        struct str was = next_line(&before), is = next_line(&now);
        if (!str_eq(was, is))
            keys = arena_printf(&scratch, "%.*s%s%.*s", STR_ARG(keys), keys.n ? ", " : "",
                                STR_ARG(str_sub(is, 0, str_index(is, ' ', 0))));
    }
    if (keys.n) {
        buf_printf(report, "%s: %.*s: takes effect at the next start\n", d->config_path, STR_ARG(keys));
        log_warn("restart_needed", LOG_S("keys", keys),
                 LOG_C("why", "what changed there takes effect at the next start"));
    }
    arena_done(&scratch);
}

static int apply_file(struct definitions *d, struct config *config, struct buf *report)
{
    size_t put;
    if (accounts_file_check(config, d->directory, report))
        return ERR_INVALID;
    int err = take_all(d, config, &put);
    log_info("reloaded", LOG_N("accounts_changed", (int64_t)put));
    news_tell_of(board_news(d->board), NEWS_RELOADED, NULL, STR_NONE, STR_NONE);
    return err;
}

int definitions_reload(void *arg, struct buf *report)
{
    struct definitions *d = arg;
    struct config *config = NULL;
    pthread_mutex_lock(&d->lock);
    int err = config_load(d->config_path, &config, report);
    if (!err)
        err = apply_file(d, config, report);
    if (!err) {
        warn_fixed(d, config, report);
        buf_add_str(report, config->warnings);
        config_free(d->config);
        d->config = config;
    } else {
        log_error("reload_refused", LOG_S("why", buf_str(report)));
        config_free(config);
    }
    release_memory(d->config);
    pthread_mutex_unlock(&d->lock);
    return err;
}

// ---- accounts by hand ----

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
static int check_bots(struct definitions *d, const struct account *account, struct buf *why)
{
    struct directory_walk walk = {.directory = d->directory};
    const struct account *other;
    int err = ERR_OK;
    while (!err && (other = directory_walk_next(&walk))) {
        const struct source *source, *theirs;
        bool counts = other->id != account->id && !other->left_file;
        if (counts && accounts_share_bot(account, other, &source, &theirs))
            err = refuse_twin(source, other, theirs, why);
        account_unref(other);
    }
    directory_walk_done(&walk);
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

static int put_change(struct definitions *d, struct admin_change *change, const struct account *before)
{
    struct relay_account_put put = {0};
    bool says_active;
    int err = account_change_make(change, before, &put.account, &says_active);
    if (err)
        return err;
    put.keep_active = !says_active;
    err = check_order(before, put.account, change->why);
    if (!err)
        err = check_bots(d, put.account, change->why);
    if (err)
        account_unref(put.account);
    else
        err = relay_put_accounts(d->relay, &put, 1);
    return err;
}

static int remove_account(struct definitions *d, struct admin_change *change, const struct account *before)
{
    int err = relay_remove_account(d->relay, before->id, change->discard, &change->discarded);
    if (err == ERR_REFUSED)
        buf_add_str(change->why, STR("Messages of the account are pending; wait until they are delivered, or remove it "
                                     "with discard=true, which discards them."));
    if (err == ERR_BUSY)
        buf_printf(change->why,
                   "The account is inactive now, but a request of it is still in flight, or messages still come in; "
                   "remove it again.");
    return err;
}

static int change_known(struct definitions *d, struct admin_change *change, const struct account *before)
{
    if (!before) {
        buf_add_str(change->why, STR("There is no account of that name."));
        return ERR_NOT_FOUND;
    }
    int err = account_change_allowed(before, change->why);
    if (err)
        return err;
    return change->kind == CHANGE_ACCOUNT_REMOVE ? remove_account(d, change, before) : put_change(d, change, before);
}

static int add_account(struct definitions *d, struct admin_change *change)
{
    struct relay_account_put put = {0};
    bool says_active;
    int err = account_change_make(change, NULL, &put.account, &says_active);
    if (err)
        return err;
    const struct account *known = directory_find(d->directory, put.account->name);
    if (known) {
        buf_printf(change->why, "There is an account of that name already%s%.*s.", known->defined_at.p ? ", of " : "",
                   STR_ARG(known->defined_at));
        err = ERR_REFUSED;
    }
    account_unref(known);
    if (!err)
        err = check_bots(d, put.account, change->why);
    if (err)
        account_unref(put.account);
    else
        err = relay_put_accounts(d->relay, &put, 1);
    return err;
}

// Definitions change one at a time, those of the file among them.
int definitions_change(void *arg, struct admin_change *change)
{
    struct definitions *d = arg;
    pthread_mutex_lock(&d->lock);
    int err;
    if (change->kind == CHANGE_ACCOUNT_ADD) {
        err = add_account(d, change);
    } else {
        const struct account *before = directory_find(d->directory, change->account);
        err = change_known(d, change, before);
        account_unref(before);
    }
    pthread_mutex_unlock(&d->lock);
    return err;
}
