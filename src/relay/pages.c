// What lanes have in the store: pages of their messages, and feeds of lanes that nobody announced (at the start, after an
// activation). Bounded in jobs with the committer and in messages in memory; accounts and sources take turns.
#include "base/mem.h"
#include "relay/lanes.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    MOST_LOADS = 64, // pages asked of the committer at a time
    MOST_LOOKS = 8,  // at owners that stand in line for a page
};

struct load {
    struct job job; // first
    struct dispatcher *dispatcher;
    struct feed *feed; // NULL: for a lane that is in memory
    unsigned by_hand;  // d->by_hand when it was asked for
};

static void take_page(struct dispatcher *d, struct lane *lane, struct lane_page *page)
{
    lane->more = page->more;
    for (size_t i = 0; i < page->count; i++) {
        struct message *message = page->entries[i].message;
        page->entries[i].message = NULL;
        bool marked = message->in_flight;
        if (marked) // by an earlier process: this one clears its marks
            message->in_flight = false;
        if (marked && !lane->owner->desk->receiver->has_key) {
            message->in_doubt = true;
            int64_t unsettled_us = d->started_us + d->options.settle_ms * 1000 - dispatcher_mono_us(d);
            if (message->next_attempt_us < dispatcher_now_us(d) + unsettled_us)
                message->next_attempt_us = dispatcher_now_us(d) + unsettled_us;
        }
        lane_push(d, lane, message, &page->entries[i].link, page->entries[i].profile)->was_marked = marked;
    }
}

// Of a damaged row, or one that its index contradicts, account and source may be anybody's: a whole one says whose the lane is.
// NULL: none.
static const struct message *whole_one(const struct lane_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        if (page->entries[i].message->reason != REASON_DAMAGED)
            return page->entries[i].message;
    return NULL;
}

static bool is_of(const struct lane_owner *owner, int64_t lane_id, const struct message *message)
{
    return message->account_id == owner->key.account_id &&
           owner_key_of(owner->account, lane_id, message->source_id).source_id == owner->key.source_id;
}

// What was damaged at the start of the lane had it taken for another account's or source's: it begins anew.
static bool is_anothers(struct dispatcher *d, struct lane *lane, const struct lane_page *page)
{
    int64_t lane_id = lane->id;
    const struct message *whole = whole_one(page);
    if (!whole || is_of(lane->owner, lane_id, whole))
        return false;
    lane_set_state(d, lane, LANE_IDLE);
    dispatcher_work(d, whole->account_id, whole->source_id, lane_id);
    return true;
}

static void on_page(struct loop_task *task)
{
    struct load *load = (struct load *)job_of(task);
    struct dispatcher *d = load->dispatcher;
    struct lane *lane = lane_find(d, load->job.load.lane);
    d->busy--;
    d->loads_asked--;
    if (lane && lane->load == &load->job && !load->job.err && !is_anothers(d, lane, &load->job.load.page)) {
        take_page(d, lane, &load->job.load.page);
        lane_go_on(d, lane);
    }
    lane_page_done(&load->job.load.page);
    free(load);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}

static struct load *load_new(struct dispatcher *d, int64_t lane_id)
{
    struct load *load = mem_new_of(struct load);
    load->dispatcher = d;
    load->by_hand = d->by_hand;
    load->job = (struct job){.kind = JOB_LOAD};
    load->job.load.lane = lane_id;
    load->job.load.limit = (size_t)d->options.window;
    d->loads_asked++;
    return load;
}

static bool may_load(struct dispatcher *d)
{
    return !d->stopping && d->loads_asked < MOST_LOADS && dispatcher_has_room(d);
}

// Accounts take turns, and one that has nothing in memory waits for nobody's backlog: the bound on memory is exceeded
// by a page an account at most.
static struct lane *next_to_load(struct dispatcher *d)
{
    for (int i = 0; i < MOST_LOOKS && d->to_load && !d->stopping && d->loads_asked < MOST_LOADS; i++) {
        struct lane_owner *owner = d->to_load;
        DL_DELETE2(d->to_load, owner, load_prev, load_next);
        DL_APPEND2(d->to_load, owner, load_prev, load_next);
        const struct desk_state *desk = owner->desk;
        if (desk->probe_lane && desk->probe_lane->owner == owner && desk->probe_lane->state == LANE_LOADING &&
            desk->probe_lane->in_ring) // what fills the memory may wait for the probe
            return desk->probe_lane;
        if (dispatcher_has_room(d) || lane_owner_is_empty(owner))
            return owner->to_load;
    }
    return NULL;
}

static void ask_page(struct dispatcher *d, struct lane *lane)
{
    lane_want_no_page(d, lane);
    struct load *load = load_new(d, lane->id);
    lane->load = &load->job;
    lane->owner->loads++;
    dispatcher_submit(d, &load->job, on_page);
}

// ---- feeds ----

// What lanes of a changed order rule wait for may have been discarded by hand before it was read.
static void look_at_orders(struct dispatcher *d)
{
    struct lane_owner *owner, *next;
    HASH_ITER(hh, d->owners, owner, next)
    {
        order_look(d, owner);
    }
}

static void feed_end(struct feed *feed)
{
    struct dispatcher *d = feed->dispatcher;
    DL_DELETE(d->feeds, feed);
    if (d->first_feed == feed)
        d->first_feed = NULL;
    struct lane_owner *owner = feed->account_id ? lane_owner_find(d, (struct owner_key){feed->account_id, 0}) : NULL;
    if (!feed->account_id)
        look_at_orders(d);
    free(feed);
    if (!owner)
        return;
    order_look(d, owner);
    bool again = owner->feed_again && !d->stopping;
    owner->feeding = owner->feed_again = false;
    owner->pins--;
    if (again)
        feed_account(d, owner);
    else
        lane_owner_release(d, owner);
}

static struct lane_owner *owner_fed(struct dispatcher *d, const struct load *load)
{
    const struct lane_page *page = &load->job.load.page;
    int64_t lane_id = load->job.load.lane;
    const struct message *whole = whole_one(page);
    if (!whole && lane_id_kind(lane_id) == LANE_ACCOUNT)
        return lane_owner_inbound(d, lane_id_owner(lane_id));
    const struct message *message = whole ? whole : page->entries[0].message;
    return lane_owner_get(d, lane_id, message->account_id, message->source_id);
}

// A lane that was not in memory: its messages say whose it is.
static void take_fed_page(struct dispatcher *d, struct load *load)
{
    struct lane_page *page = &load->job.load.page;
    if (load->job.err || !page->count || lane_find(d, load->job.load.lane))
        return;
    struct lane_owner *owner = owner_fed(d, load);
    if (!owner)
        return;
    if (owner->account->active) {
        struct lane *lane = lane_new(d, owner, load->job.load.lane);
        if (owner->desk->suspended) {
            lane_set_state(d, lane, LANE_SUSPENDED);
            desk_await(d, owner->desk);
        } else {
            lane_set_state(d, lane, LANE_LOADING);
            if (load->by_hand != d->by_hand) // the page may be of before that change: the lane asks for another one
                return;
            lane_want_no_page(d, lane);
            take_page(d, lane, page);
            lane->waited = load->feed->account_id && lane->count && !lane_head(lane)->message->in_doubt;
            lane_go_on(d, lane);
        }
    } else {
        lane_owner_release(d, owner);
    }
}

static void on_fed_page(struct loop_task *task)
{
    struct load *load = (struct load *)job_of(task);
    struct dispatcher *d = load->dispatcher;
    d->busy--;
    d->loads_asked--;
    load->feed->loading--;
    take_fed_page(d, load);
    lane_page_done(&load->job.load.page);
    free(load);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}

static void on_lanes(struct loop_task *task)
{
    struct feed *feed = (struct feed *)job_of(task);
    struct dispatcher *d = feed->dispatcher;
    d->busy--;
    feed->at = 0;
    feed->loading = 0;
    if (feed->job.err || !feed->job.lanes.count || d->stopping)
        feed_end(feed);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}

static void feed_ask(struct feed *feed)
{
    feed->loading = -1; // the page of lanes itself
    feed->job = (struct job){.kind = JOB_LANES};
    feed->job.lanes.account_id = feed->account_id;
    feed->job.lanes.after = feed->passed;
    feed->job.lanes.lanes = feed->lanes;
    dispatcher_submit(feed->dispatcher, &feed->job, on_lanes);
}

// Loads the next lanes of the page, or asks for the next page when all of this one are there.
static void feed_on(struct feed *feed)
{
    struct dispatcher *d = feed->dispatcher;
    while (feed->loading >= 0 && feed->at < feed->job.lanes.count && may_load(d)) {
        int64_t lane_id = feed->lanes[feed->at++];
        if (lane_find(d, lane_id))
            continue;
        struct load *load = load_new(d, lane_id);
        load->feed = feed;
        feed->loading++;
        dispatcher_submit(d, &load->job, on_fed_page);
    }
    if (feed->loading == 0 && feed->at == feed->job.lanes.count && !d->stopping) {
        feed->passed = feed->lanes[feed->at - 1];
        feed_ask(feed);
    } else if (feed->loading == 0 && d->stopping) {
        feed_end(feed);
    }
}

static struct feed *feed_new(struct dispatcher *d, int64_t account_id)
{
    struct feed *feed = mem_new_of(struct feed);
    feed->dispatcher = d;
    feed->account_id = account_id;
    DL_APPEND(d->feeds, feed);
    feed_ask(feed);
    return feed;
}

void feed_account(struct dispatcher *d, struct lane_owner *owner)
{
    owner->feeding = true;
    owner->pins++;
    feed_new(d, owner->key.account_id);
}

void feed_whole_store(struct dispatcher *d)
{
    d->first_feed = feed_new(d, 0);
}

void feeds_end(struct dispatcher *d)
{
    while (d->feeds)
        feed_end(d->feeds);
}

void pages_pump(struct dispatcher *d)
{
    for (struct lane *lane; (lane = next_to_load(d));)
        ask_page(d, lane);
    struct feed *feed, *next;
    DL_FOREACH_SAFE(d->feeds, feed, next)
    {
        feed_on(feed);
    }
}
