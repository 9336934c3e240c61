// The guard against mass skips at a desk (model/skip_guard.h): what it keeps in the store, and how it calls for help.
#include "base/mem.h"
#include "relay/courier.h"
#include "relay/tell.h"

#include <stdlib.h>

struct health_change {
    struct job job; // first
    struct store_change change;
    struct store_desk_health health;
    struct dispatcher *dispatcher;
};

struct store_desk_health desk_health_of(const struct desk_state *desk)
{
    return (struct store_desk_health){desk->identity, desk->guard.skips, desk->guard.closed};
}

static void on_health_stored(struct loop_task *task)
{
    struct health_change *change = (struct health_change *)job_of(task);
    struct dispatcher *d = change->dispatcher;
    d->busy--;
    free(change);
    dispatcher_check_stopped(d);
}

void desk_store_health(struct dispatcher *d, const struct desk_state *desk)
{
    struct health_change *change = mem_new_of(struct health_change);
    change->dispatcher = d;
    change->health = desk_health_of(desk);
    change->change = (struct store_change){.kind = STORE_DESK_HEALTH, .desk_health = &change->health};
    change->job = (struct job){.kind = JOB_CHANGES, .changes = &change->change, .change_count = 1};
    dispatcher_submit(d, &change->job, on_health_stored);
}

static void guard_alarm(struct dispatcher *d, struct desk_state *desk)
{
    desk_begin_alarm(
        d, desk, "skip_guard",
        desk->source
            ? STR("five replies in a row could not be delivered: the bot is taken for out of order and nothing more "
                  "is skipped; look at what it answers (tributary messages --state skipped), then: desk resume")
            : STR("five messages in a row could not be delivered: the desk is taken for out of order and nothing "
                  "more is skipped; look at what it answers (tributary messages --state skipped), then: desk "
                  "resume"));
}

static void remember(struct dispatcher *d, uint64_t identity, struct skip_guard guard)
{
    struct guard_memory *memory = mem_new_of(struct guard_memory);
    memory->identity = identity;
    memory->guard = guard;
    HASH_ADD(hh, d->guards, identity, sizeof memory->identity, memory);
}

void desk_put_by(struct dispatcher *d, struct desk_state *desk)
{
    if (desk->guard.skips || desk->guard.closed)
        remember(d, desk->identity, desk->guard);
    desk->guard = (struct skip_guard){0};
}

void dispatcher_restore_desk(struct dispatcher *d, const struct store_desk_health *health)
{
    if (health->skips_in_row || health->guard_suspended)
        remember(d, health->desk,
                 (struct skip_guard){.skips = health->skips_in_row, .closed = health->guard_suspended});
}

// Brings the account's desk, or a source's bot, into memory, which shows it, if its guard is closed.
static void show_if_closed(struct dispatcher *d, const struct account *account, int64_t source_id)
{
    uint64_t identity = desk_identity_of(account, source_id);
    struct guard_memory *memory = NULL;
    HASH_FIND(hh, d->guards, &identity, sizeof identity, memory);
    if (memory && memory->guard.closed && desk_connector_find(account->desk.platform))
        desk_state_unref(d, desk_state_get(d, account, source_id));
}

static void show_closed(struct dispatcher *d, bool active)
{
    struct directory_walk walk = {.directory = d->options.directory};
    const struct account *account;
    while ((account = directory_walk_next(&walk))) {
        if (account->active == active) {
            show_if_closed(d, account, 0);
            for (size_t i = 0; i < account->source_count; i++)
                show_if_closed(d, account, account->sources[i].id);
        }
        account_unref(account);
    }
}

// Under the name of an active account where there is one.
void dispatcher_desks_restored(struct dispatcher *d)
{
    if (!d->guards) // nearly always, and then many accounts cost nothing here
        return;
    show_closed(d, true);
    show_closed(d, false);
}

void desk_restore(struct dispatcher *d, struct desk_state *desk)
{
    struct guard_memory *memory = NULL;
    HASH_FIND(hh, d->guards, &desk->identity, sizeof desk->identity, memory);
    if (!memory)
        return;
    desk->guard = memory->guard;
    HASH_DEL(d->guards, memory);
    free(memory);
    if (!desk->guard.closed)
        return;
    desk->suspended = true;
    desk->suspended_us = dispatcher_mono_us(d);
    guard_alarm(d, desk);
    desk_show(d, desk, STR("guard"), 0);
    tell_desk(d->options.board, desk, STR("guard"), 0);
}

bool desk_lets_skip(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    bool was_closed = desk->guard.closed;
    bool may = skip_guard_lets_skip(&desk->guard);
    attempt->tells_health = may || !was_closed;
    attempt->health = desk_health_of(desk);
    if (!may && !was_closed) {
        guard_alarm(d, desk);
        desk_suspend(d, desk, STR("guard"), 0);
    }
    return may;
}
