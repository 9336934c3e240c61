// Accounts as other threads change them: put, moved, switched, removed. The store decides, in the order of its commits, and the
// relay loop publishes in the same order: whoever looks at the directory sees what the store has, a little later.
#include "base/log.h"
#include "base/mem.h"
#include "relay/relay_own.h"
#include "relay/tell.h"

#include <stdlib.h>

enum {
    PUT_ACCOUNTS = 500,    // in one transaction
    SET_ACTIVE = 1000,     // in one transaction
    DISCARDS = 500,        // in one transaction
    QUIET_LOOK_MS = 20,    // between looks whether what is in flight has ended
    QUIET_MORE_MS = 10000, // beyond the time that a request has
    REMOVE_ROUNDS = 10,    // what was on its way when the account went is discarded in a further one
};

// `is_news`: more than where it is defined is another.
static void publish(struct relay *relay, const struct account *account, bool is_news)
{
    const struct account *before = directory_find_id(relay->options.directory, account->id);
    directory_put(relay->options.directory, account_ref(account));
    if (before && before->damaged && account->active)
        board_alarm_end(relay->options.board, "store_damaged", account->name);
    dispatcher_account_changed(relay->dispatcher, before, account);
    sources_account_changed(relay->sources, before, account);
    replies_account_changed(relay->replies, before, account);
    clock_watch_forget(relay->intake.clock_watch, before);
    if (is_news)
        tell_account(relay->options.board, before, account);
    account_unref(before);
}

// ---- put ----

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

struct account *relay_account_stored(struct account *account, const struct store_account_put *put,
                                     const struct account *before)
{
    account->id = put->id;
    account->active = put->active;
    account->order = put->order;
    account->order_barrier = put->order_barrier;
    if (put->order_kept) // the file's word was not taken whole: it counts as changed when the file is read again
        account->file_text = before ? arena_str(&account->arena, before->file_text) : STR_NONE;
    for (size_t i = 0; i < account->source_count; i++) {
        account->sources[i].id = put->source_ids[i];
        account->sources[i].account_id = account->id;
    }
    return before ? account_with_former(account, before) : account_ref(account);
}

static void publish_put(struct relay *relay, const struct store_account_put *put, struct account *account)
{
    const struct account *before = directory_find_id(relay->options.directory, put->id);
    keep_learned(relay, account); // once more: while it was being stored, its sources may have learned
    struct account *whole = relay_account_stored(account, put, before);
    if (before) // part of it was set: the alarm stands until it is activated
        whole->damaged = before->damaged && !account->active;
    account_unref(before);
    publish(relay, whole, true);
    account_unref(whole);
}

static void on_accounts_stored(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    for (size_t i = 0; i < call->count && !call->job.err; i++)
        publish_put(call->relay, &call->puts[i], call->accounts[i].account);
    call_answer(call, call->job.err);
}

static void on_put_accounts(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    for (size_t i = 0; i < call->count; i++)
        keep_learned(call->relay, call->accounts[i].account);
    call_submit(call, call->changes, call->count, on_accounts_stored);
}

// A bounded part of the accounts, so that webhooks do not wait for a long transaction.
static int put_some(struct relay *relay, struct relay_account_put *accounts, size_t count)
{
    struct arena arena = {0};
    struct call call = {.accounts = accounts, .count = count};
    call.puts = arena_alloc(&arena, count * sizeof *call.puts);
    call.changes = arena_alloc(&arena, count * sizeof *call.changes);
    for (size_t i = 0; i < count; i++) {
        const struct account *account = accounts[i].account;
        call.puts[i] = (struct store_account_put){
            .account = account,
            .file_text = account->file_text,
            .keep_active = accounts[i].keep_active,
            .source_ids = arena_alloc(&arena, (account->source_count + 1) * sizeof(int64_t)),
        };
        call.changes[i] = (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &call.puts[i]};
    }
    int err = call_wait(relay, &call, on_put_accounts);
    for (size_t i = 0; i < count; i++)
        accounts[i].order_kept = !err && call.puts[i].order_kept;
    arena_done(&arena);
    return err;
}

int relay_put_accounts(struct relay *relay, struct relay_account_put *puts, size_t count)
{
    int err = ERR_OK;
    for (size_t at = 0; at < count && !err; at += PUT_ACCOUNTS) {
        size_t some = count - at < PUT_ACCOUNTS ? count - at : PUT_ACCOUNTS;
        err = put_some(relay, puts + at, some);
    }
    for (size_t i = 0; i < count; i++)
        account_unref(puts[i].account);
    return err;
}

static void on_move_accounts(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    for (size_t i = 0; i < call->count; i++) {
        const struct account *now = directory_find_id(call->relay->options.directory, call->moved[i]->id);
        if (!now)
            continue;
        struct account *copy = account_copy(now);
        copy->defined_at = arena_str(&copy->arena, call->moved[i]->defined_at);
        publish(call->relay, copy, false);
        account_unref(copy);
        account_unref(now);
    }
    call_answer(call, ERR_OK);
}

void relay_move_accounts(struct relay *relay, struct account **accounts, size_t count)
{
    struct call call = {.moved = accounts, .count = count};
    if (count)
        call_wait(relay, &call, on_move_accounts);
}

// ---- switches ----

static void publish_active(struct relay *relay, const struct store_account_active *change)
{
    const struct account *now = directory_find_id(relay->options.directory, change->account_id);
    if (now && now->active != change->active) {
        struct account *copy = account_copy(now);
        copy->active = change->active;
        publish(relay, copy, true);
        log_info(copy->active ? "account_activated" : "account_deactivated", LOG_S("account", copy->name));
        account_unref(copy);
    }
    account_unref(now);
}

static void on_active_stored(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    for (size_t i = 0; i < call->count && !call->job.err; i++)
        publish_active(call->relay, &call->actives[i]);
    call_answer(call, call->job.err);
}

static void on_set_active(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    call_submit(call, call->changes, call->count, on_active_stored);
}

static int set_active_some(struct relay *relay, const int64_t *account_ids, size_t count, bool active)
{
    struct arena arena = {0};
    struct call call = {.count = count};
    call.actives = arena_alloc(&arena, count * sizeof *call.actives);
    call.changes = arena_alloc(&arena, count * sizeof *call.changes);
    for (size_t i = 0; i < count; i++) {
        call.actives[i] = (struct store_account_active){account_ids[i], active};
        call.changes[i] = (struct store_change){.kind = STORE_ACCOUNT_ACTIVE, .account_active = &call.actives[i]};
    }
    int err = call_wait(relay, &call, on_set_active);
    arena_done(&arena);
    return err;
}

int relay_set_active_all(struct relay *relay, const int64_t *account_ids, size_t count, bool active)
{
    int err = ERR_OK;
    for (size_t at = 0; at < count && !err; at += SET_ACTIVE)
        err = set_active_some(relay, account_ids + at, count - at < SET_ACTIVE ? count - at : SET_ACTIVE, active);
    return err;
}

int relay_set_active(struct relay *relay, int64_t account_id, bool active)
{
    return set_active_some(relay, &account_id, 1, active);
}

// ---- removal ----

// A job whose answer another thread waits for.
struct waiting_job {
    struct job job; // first
    struct relay *relay;
    bool done;
};

// On the committer's thread or the flusher's.
static void on_job_done(struct job *job)
{
    struct waiting_job *waiting = (struct waiting_job *)job;
    struct relay *relay = waiting->relay;
    pthread_mutex_lock(&relay->lock);
    waiting->done = true;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

static int job_wait(struct relay *relay, struct waiting_job *waiting)
{
    waiting->relay = relay;
    waiting->done = false;
    waiting->job.done = on_job_done;
    if (!committer_submit(relay->committer, &waiting->job))
        return ERR_CLOSED;
    pthread_mutex_lock(&relay->lock);
    while (!waiting->done)
        pthread_cond_wait(&relay->changed, &relay->lock);
    pthread_mutex_unlock(&relay->lock);
    return waiting->job.err;
}

// Messages to be discarded together.
struct discard {
    struct relay *relay;
    const struct account *account;
    struct waiting_job job;
    struct store_change changes[DISCARDS];
    struct store_outcome outcomes[DISCARDS];
    const char *platforms[DISCARDS]; // for the tally
    enum direction directions[DISCARDS];
    struct arena names;
    size_t count;
    int64_t applied;
    int64_t lanes[JOB_LANES_MAX];
};

static int discard_gathered(struct discard *discard)
{
    discard->job.job = (struct job){.kind = JOB_CHANGES, .changes = discard->changes, .change_count = discard->count};
    int err = discard->count ? job_wait(discard->relay, &discard->job) : ERR_OK;
    for (size_t i = 0; i < discard->count && !err; i++) {
        if (!discard->outcomes[i].applied)
            continue;
        discard->applied++;
        if (discard->platforms[i])
            tally_message(discard->relay->options.tally, TALLY_DISCARDED, str_of(discard->platforms[i]),
                          discard->directions[i]);
    }
    discard->count = 0;
    arena_done(&discard->names);
    return err;
}

static void gather_message(struct discard *discard, const struct message *message)
{
    const struct source *source = account_find_any_source_id(discard->account, message->source_id);
    size_t at = discard->count++;
    discard->outcomes[at] = (struct store_outcome){
        .message_id = message->id,
        .state = MESSAGE_DISCARDED,
        .reason = REASON_ORPHANED,
        .attempts = message->attempts,
        .in_doubt = message->in_doubt || message->in_flight,
        .at_us = clock_wall_us(discard->relay->options.clock),
    };
    discard->changes[at] = (struct store_change){.kind = STORE_OUTCOME, .outcome = &discard->outcomes[at]};
    discard->directions[at] = message->direction;
    discard->platforms[at] = source ? arena_str(&discard->names, source->platform).p : NULL;
}

static int discard_lane(struct discard *discard, int64_t lane)
{
    struct waiting_job load = {0};
    int64_t after = 0;
    int err = ERR_OK;
    do {
        load.job = (struct job){.kind = JOB_LOAD, .load = {.lane = lane, .after_place = after, .limit = DISCARDS}};
        err = job_wait(discard->relay, &load);
        for (size_t i = 0; i < load.job.load.page.count && !err; i++) {
            const struct message *message = load.job.load.page.entries[i].message;
            after = message->place;
            gather_message(discard, message);
            if (discard->count == DISCARDS)
                err = discard_gathered(discard);
        }
        bool more = load.job.load.page.more;
        lane_page_done(&load.job.load.page);
        if (!err && atomic_load(&discard->relay->ending_calls))
            err = ERR_CLOSED;
        if (!more)
            break;
    } while (!err);
    return err;
}

// All that is pending of the account, lane by lane; each transaction leaves the sum true.
static int discard_pending(struct relay *relay, const struct account *account, int64_t *out_applied)
{
    struct discard *discard = mem_new_of(struct discard);
    struct waiting_job page = {0};
    int64_t after = 0;
    int err = ERR_OK;
    discard->relay = relay;
    discard->account = account;
    for (;;) {
        page.job = (struct job){.kind = JOB_LANES,
                                .lanes = {.account_id = account->id, .after = after, .lanes = discard->lanes}};
        err = job_wait(relay, &page);
        if (err || !page.job.lanes.count)
            break;
        for (size_t i = 0; i < page.job.lanes.count && !err; i++)
            err = discard_lane(discard, discard->lanes[i]);
        if (err)
            break;
        after = discard->lanes[page.job.lanes.count - 1];
    }
    if (!err)
        err = discard_gathered(discard);
    *out_applied += discard->applied;
    arena_done(&discard->names);
    free(discard);
    return err;
}

// A call that looks, now and then, whether an account's requests have ended.
struct quiet {
    struct call call; // first
    struct loop_timer *timer;
    int64_t until_us; // monotonic
};

static void look_whether_quiet(void *arg)
{
    struct quiet *quiet = arg;
    struct relay *relay = quiet->call.relay;
    bool busy = dispatcher_is_busy_with(relay->dispatcher, quiet->call.account_id);
    bool late = clock_mono_us(relay->options.clock) > quiet->until_us;
    bool ending = atomic_load(&relay->ending_calls);
    if (busy && !late && !ending) {
        loop_timer_set(quiet->timer, QUIET_LOOK_MS);
        return;
    }
    loop_timer_free(quiet->timer);
    call_answer(&quiet->call, !busy ? ERR_OK : ending ? ERR_CLOSED : ERR_BUSY);
}

static void on_wait_quiet(struct loop_task *task)
{
    struct quiet *quiet = (struct quiet *)task;
    quiet->timer = loop_timer_new(quiet->call.relay->loop, look_whether_quiet, quiet);
    look_whether_quiet(quiet);
}

// Until no request of the (inactive) account is in flight.
static int wait_quiet(struct relay *relay, int64_t account_id)
{
    int64_t patience_ms = relay->options.timeout_ms + QUIET_MORE_MS;
    struct quiet quiet = {.call = {.account_id = account_id},
                          .until_us = clock_mono_us(relay->options.clock) + patience_ms * 1000};
    return call_wait(relay, &quiet.call, on_wait_quiet);
}

// Nothing is taken for it any more.
static void forget(struct relay *relay, const struct account *account)
{
    struct account *empty = account_copy(account);
    empty->source_count = 0;
    empty->active = false;
    directory_remove(relay->options.directory, account->id);
    dispatcher_account_changed(relay->dispatcher, account, empty);
    sources_account_changed(relay->sources, account, empty);
    replies_account_changed(relay->replies, account, empty);
    clock_watch_forget(relay->intake.clock_watch, account);
    tell_account(relay->options.board, account, NULL);
    if (account->damaged)
        board_alarm_end(relay->options.board, "store_damaged", account->name);
    board_alarm_end(relay->options.board, "quota_waiting", account->name);
    board_alarm_end(relay->options.board, "quota_files", account->name);
    account_unref(empty);
}

static void on_forget(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    forget(call->relay, call->account);
    call_answer(call, ERR_OK);
}

// The removal was cut short: it is there again.
static void on_remember(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    directory_put(call->relay->options.directory, account_ref(call->account));
    sources_account_changed(call->relay->sources, NULL, call->account);
    tell_account(call->relay->options.board, NULL, call->account);
    call_answer(call, ERR_OK);
}

static void on_gone_stored(struct loop_task *task)
{
    struct call *call = call_of_job(task);
    const struct account *now = directory_find_id(call->relay->options.directory, call->account_id);
    if (!call->job.err && call->gone.applied && now)
        forget(call->relay, now);
    account_unref(now);
    call_answer(call, call->job.err ? call->job.err : call->gone.applied ? ERR_OK : ERR_REFUSED);
}

static void on_remove(struct loop_task *task)
{
    struct call *call = (struct call *)task;
    call->gone = (struct store_account_gone){.account_id = call->account_id};
    call->change = (struct store_change){.kind = STORE_ACCOUNT_GONE, .account_gone = &call->gone};
    call_submit(call, &call->change, 1, on_gone_stored);
}

static int remove_now(struct relay *relay, int64_t account_id)
{
    struct call call = {.account_id = account_id};
    return call_wait(relay, &call, on_remove);
}

// From here on it is in the store only, inactive: a crash leaves it so, with what is left of its messages.
static int remove_with_messages(struct relay *relay, const struct account *account, int64_t *out_discarded)
{
    int err = ERR_REFUSED;
    for (int round = 0; round < REMOVE_ROUNDS && err == ERR_REFUSED; round++) {
        err = discard_pending(relay, account, out_discarded);
        if (!err)
            err = remove_now(relay, account->id);
    }
    return err == ERR_REFUSED ? ERR_BUSY : err;
}

static int remove_inactive(struct relay *relay, int64_t account_id, int64_t *out_discarded)
{
    struct call call = {.account = directory_find_id(relay->options.directory, account_id)};
    if (!call.account)
        return ERR_NOT_FOUND;
    int err = call_wait(relay, &call, on_forget);
    if (!err) {
        err = remove_with_messages(relay, call.account, out_discarded);
        struct call back = {.account = call.account};
        if (err)
            (void)call_wait(relay, &back, on_remember);
    }
    account_unref(call.account);
    return err;
}

int relay_remove_account(struct relay *relay, int64_t account_id, bool discard, int64_t *out_discarded)
{
    *out_discarded = 0;
    int err = remove_now(relay, account_id);
    if (err != ERR_REFUSED || !discard)
        return err;
    err = relay_set_active(relay, account_id, false);
    if (!err)
        err = wait_quiet(relay, account_id);
    return err ? err : remove_inactive(relay, account_id, out_discarded);
}
