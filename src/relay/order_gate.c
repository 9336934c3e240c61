// A changed order rule (store.h, struct store_account_put): lanes of the new rule are behind until all messages of the rule
// before are settled (replies know no rule). Whenever one of the account's lanes has run empty, or a new one has come, the store is asked.
#include "base/log.h"
#include "base/mem.h"
#include "relay/lanes.h"

#include <stdlib.h>
#include <utlist.h>

struct order_look {
    struct job job; // first
    struct store_change change;
    struct store_order_over over;
    struct dispatcher *dispatcher;
    struct lane_owner *owner; // pinned
};

bool order_holds(const struct lane *lane)
{
    int64_t barrier = lane->owner->account->order_barrier;
    return barrier && lane_id_kind(lane->id) != LANE_REPLY && lane->slots[lane->head].message->place > barrier;
}

// The account as it is now, without the barrier.
static void end_barrier(struct dispatcher *d, int64_t account_id)
{
    const struct account *before = directory_find_id(d->options.directory, account_id);
    if (!before)
        return;
    struct account *now = account_copy(before);
    now->order_barrier = 0;
    log_info("order_in_force", LOG_S("account", now->name), LOG_C("order", order_rule_name(now->order)));
    directory_put(d->options.directory, account_ref(now));
    dispatcher_account_changed(d, before, now);
    account_unref(now);
    account_unref(before);
}

static void on_looked(struct loop_task *task)
{
    struct order_look *look = (struct order_look *)job_of(task);
    struct dispatcher *d = look->dispatcher;
    struct lane_owner *owner = look->owner;
    bool again = owner->look_again || look->over.more;
    d->busy--;
    owner->order_look = NULL;
    owner->look_again = false;
    if (owner->account->order_barrier == look->over.barrier)
        owner->looked_lane = look->over.after_lane;
    if (!look->job.err && look->over.over)
        end_barrier(d, owner->key.account_id);
    else if (!look->job.err && again)
        order_look(d, owner);
    owner->pins--;
    lane_owner_release(d, owner);
    free(look);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}

void order_look(struct dispatcher *d, struct lane_owner *owner)
{
    if (!owner->account->order_barrier || owner->key.source_id || d->stopping)
        return;
    if (owner->order_look) {
        owner->look_again = true;
        return;
    }
    struct order_look *look = mem_new_of(struct order_look);
    look->dispatcher = d;
    look->owner = owner;
    look->over = (struct store_order_over){.account_id = owner->key.account_id,
                                           .barrier = owner->account->order_barrier,
                                           .after_lane = owner->looked_lane};
    look->change = (struct store_change){.kind = STORE_ORDER_OVER, .order_over = &look->over};
    look->job = (struct job){.kind = JOB_CHANGES, .changes = &look->change, .change_count = 1};
    owner->order_look = look;
    owner->pins++;
    dispatcher_submit(d, &look->job, on_looked);
}

// It may have been the last that a changed order rule waited for, and its lane need not be in memory.
void dispatcher_changed_by_hand(struct dispatcher *d, int64_t account_id)
{
    const struct account *account = directory_find_id(d->options.directory, account_id);
    bool waits = account && account->order_barrier;
    account_unref(account);
    struct lane_owner *owner = waits ? lane_owner_inbound(d, account_id) : NULL;
    if (!owner)
        return;
    order_look(d, owner);
    lane_owner_release(d, owner);
}

void order_release(struct dispatcher *d, struct lane_owner *owner)
{
    struct lane *lane;
    owner->looked_lane = 0;
    DL_FOREACH2(owner->lanes, lane, all_next)
    {
        if (lane->state == LANE_BEHIND)
            lane_set_state(d, lane, owner->desk->suspended ? LANE_SUSPENDED : LANE_LOADING);
    }
    if (owner->desk->suspended)
        desk_await(d, owner->desk);
}
