// See definitions.h. What the store has is compared with what the file says in accounts_file.c; what is asked by hand becomes
// an account in account_change.c.
#include "app/definitions.h"

#include "app/account_change.h"
#include "app/accounts_file.h"
#include "base/log.h"
#include "base/mem.h"
#include "desk/desk.h"
#include "platform/platform.h"

#include <stdio.h>
#include <stdlib.h>

void definitions_init(struct definitions *d)
{
    pthread_mutex_init(&d->lock, NULL);
}

static void forget_known(struct definitions *d)
{
    for (size_t i = 0; i < d->known_count; i++) {
        account_unref(d->known[i].account);
        free((char *)(uintptr_t)d->known[i].file_text.p);
    }
    free(d->known);
    d->known = NULL;
    d->known_count = 0;
}

void definitions_done(struct definitions *d)
{
    forget_known(d);
    config_free(d->config);
    pthread_mutex_destroy(&d->lock);
}

// Of a row without a checksum, from before there were any, this is all that can be seen.
static bool names_what_there_is_not(const struct account *account)
{
    bool missing = !desk_connector_find(account->desk.platform);
    for (size_t i = 0; i < account->source_count; i++)
        missing = missing || !platform_find(account->sources[i].platform);
    return missing;
}

static void add_known(void *arg, struct account *account, struct str file_text)
{
    struct definitions *d = arg;
    if (names_what_there_is_not(account)) {
        account->damaged = true;
        account->active = false;
    }
    if ((d->known_count & (d->known_count - 1)) == 0)
        d->known = mem_resize(d->known, (d->known_count * 2 + 1) * sizeof *d->known);
    struct str text = file_text.p ? (struct str){mem_dup(file_text.p, file_text.n), file_text.n} : STR_NONE;
    d->known[d->known_count++] = (struct stored_account){account, text};
}

static int compare_known(const void *a, const void *b)
{
    const struct stored_account *left = a, *right = b;
    return str_cmp(left->account->name, right->account->name);
}

// `known` is sorted by name.
static const struct stored_account *find_known(const struct definitions *d, struct str name)
{
    struct account account = {.name = name};
    struct stored_account key = {.account = &account};
    return d->known_count ? bsearch(&key, d->known, d->known_count, sizeof key, compare_known) : NULL;
}

static int read_accounts(struct definitions *d)
{
    forget_known(d);
    int err = d->store->ops->each_account(d->store, add_known, d);
    if (d->known_count)
        qsort(d->known, d->known_count, sizeof *d->known, compare_known);
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
static void end_order_alarms(struct definitions *d, const struct config *config)
{
    for (size_t i = 0; i < config->account_count; i++) {
        const struct account *said = config->accounts[i].account;
        const struct stored_account *known = find_known(d, said->name);
        if (known && known->account->order == said->order)
            board_alarm_end(d->board, "order_waits", said->name);
    }
}

// The last change of its order rule is not over, and the store takes one at a time. The file's text is not taken either,
// so that it counts as changed at the next reload.
static void note_kept_order(struct definitions *d, struct config *config, struct str name)
{
    const struct stored_account *known = find_known(d, name);
    set_file_text(config, name, arena_str(&config->arena, known ? known->file_text : STR_NONE));
    board_alarm(d->board, "order_waits", name,
                STR("its order rule was changed again before the messages of the rule before the last change were "
                    "settled: this change is not in force; reload when they are"));
}

static void note_orders(struct definitions *d, struct config *config, const struct accounts_plan *plan)
{
    end_order_alarms(d, config);
    for (size_t i = 0; i < plan->put_count; i++) {
        const struct relay_account_put *put = &plan->puts[i];
        if (put->order_kept)
            note_kept_order(d, config, put->account->name);
        else
            board_alarm_end(d->board, "order_waits", put->account->name);
    }
}

enum { PUT_BATCH = 1000 };

// Before the relay runs the store is ours: the plan is put into it directly.
static int store_plan(struct definitions *d, struct accounts_plan *plan)
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
        err = d->store->ops->apply(d->store, changes, count);
        for (size_t i = 0; i < count; i++)
            plan->puts[at + i].order_kept = puts[i].order_kept;
        arena_done(&arena);
    }
    free(changes);
    free(puts);
    return err;
}

// The store says what there is now; where the accounts of the file stand in it is the file's to say.
static int fill_directory(struct definitions *d, struct accounts_plan *plan)
{
    int err = read_accounts(d);
    for (size_t i = 0; i < d->known_count && !err; i++)
        directory_put(d->directory, account_ref(d->known[i].account));
    for (size_t i = 0; i < plan->moved_count && !err; i++) {
        directory_put(d->directory, plan->moved[i]);
        plan->moved[i] = NULL;
    }
    return err;
}

// After the file was taken: what it defines was written anew, whole.
static void tell_damaged(struct definitions *d)
{
    for (size_t i = 0; i < d->known_count; i++)
        if (d->known[i].account->damaged)
            board_alarm(d->board, "store_damaged", d->known[i].account->name,
                        STR("the account's definition is not what was stored: it is inactive; look at it with account "
                            "show, set what is wrong, and activate it"));
}

static void log_mended(const struct definitions *d, const struct accounts_plan *plan)
{
    for (size_t i = 0; i < plan->put_count; i++) {
        const struct stored_account *known = find_known(d, plan->puts[i].account->name);
        if (known && known->account->damaged)
            log_error("account_damaged", LOG_S("account", known->account->name),
                      LOG_C("why", "its definition in the store was not what was stored; the file's was taken"));
    }
}

int definitions_take_file(struct definitions *d, struct buf *why)
{
    struct accounts_plan plan;
    int err = read_accounts(d);
    if (err)
        return err;
    err = accounts_file_check(d->config, d->known, d->known_count, why);
    if (err)
        return err;
    accounts_plan_make(d->config, d->known, d->known_count, &plan);
    log_mended(d, &plan);
    err = store_plan(d, &plan);
    if (!err) {
        note_orders(d, d->config, &plan);
        err = fill_directory(d, &plan);
        tell_damaged(d);
    }
    accounts_plan_done(&plan);
    forget_known(d);
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

static int compare_names(const void *a, const void *b)
{
    const struct config_account *const *left = a, *const *right = b;
    return str_cmp((*left)->account->name, (*right)->account->name);
}

// What is in force, with what the file said of it at the last read: the directory by name, the file's accounts
// sorted the same way.
static void gather_known(struct definitions *d)
{
    const struct config *config = d->config;
    const struct account **accounts = directory_list(d->directory);
    const struct config_account **sorted = mem_new((config->account_count + 1) * sizeof(struct config_account *));
    for (size_t i = 0; i < config->account_count; i++)
        sorted[i] = &config->accounts[i];
    qsort(sorted, config->account_count, sizeof *sorted, compare_names);
    forget_known(d);
    for (size_t i = 0, j = 0; accounts[i]; i++) {
        while (j < config->account_count && str_cmp(sorted[j]->account->name, accounts[i]->name) < 0)
            j++;
        bool in_file = j < config->account_count && str_eq(sorted[j]->account->name, accounts[i]->name);
        add_known(d, (struct account *)(uintptr_t)accounts[i], in_file ? sorted[j]->file_text : STR_NONE);
    }
    free(sorted);
    free(accounts);
}

static int apply_file(struct definitions *d, struct config *config, struct buf *report)
{
    struct accounts_plan plan;
    gather_known(d);
    if (accounts_file_check(config, d->known, d->known_count, report)) {
        forget_known(d);
        return ERR_INVALID;
    }
    accounts_plan_make(config, d->known, d->known_count, &plan);
    for (size_t i = 0; i < plan.put_count; i++)
        account_ref(plan.puts[i].account); // the relay takes one
    int err = relay_put_accounts(d->relay, plan.puts, plan.put_count);
    if (!err) {
        note_orders(d, config, &plan);
        relay_move_accounts(d->relay, plan.moved, plan.moved_count);
    }
    log_info("reloaded", LOG_N("accounts_changed", (int64_t)plan.put_count));
    news_tell_of(board_news(d->board), NEWS_RELOADED, NULL, STR_NONE, STR_NONE);
    accounts_plan_done(&plan);
    forget_known(d);
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
    pthread_mutex_unlock(&d->lock);
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
static int check_bots(struct definitions *d, const struct account *account, struct buf *why)
{
    const struct account *page[LOOK_AT];
    struct arena names = {0};
    struct str after = STR_NONE;
    size_t count;
    int err = ERR_OK;
    do {
        count = directory_page(d->directory, after, LOOK_AT, page);
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

static int put_change(struct definitions *d, struct admin_change *change, const struct account *before)
{
    struct relay_account_put put = {.file_text = STR_NONE};
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
    struct relay_account_put put = {.file_text = STR_NONE};
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
