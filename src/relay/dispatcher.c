// See dispatcher.h. Lanes and rings: lanes.c. What they have in the store: pages.c. One attempt: courier.c, and what it
// makes of the message: outcome.c. The desk as a whole: desk_health.c, desk_guard.c.
#include "relay/dispatcher.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/backoff.h"
#include "relay/courier.h"
#include "store/attached.h"

#include <stdlib.h>
#include <utlist.h>

enum { MOST_ASKED_MS = 5 * 60 * 1000 }; // by a desk or a platform, of one message

// Backoff, settle, for files, or what was asked for.
static int64_t longest_wait_us(const struct dispatcher_options *options)
{
    const int64_t waits_ms[] = {options->retry_cap_ms, options->settle_ms, options->media_wait_ms};
    int64_t longest_ms = MOST_ASKED_MS;
    for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++)
        if (waits_ms[i] > longest_ms)
            longest_ms = waits_ms[i];
    return longest_ms * 1000;
}

struct dispatcher *dispatcher_new(const struct dispatcher_options *options, const struct dispatcher_ports *ports)
{
    struct dispatcher *d = mem_new_of(struct dispatcher);
    d->options = *options;
    d->ports = *ports;
    chance_init(&d->chance, options->seed);
    d->started_us = dispatcher_mono_us(d);
    d->longest_wait_us = longest_wait_us(options);
    return d;
}

void dispatcher_free(struct dispatcher *d)
{
    if (!d)
        return;
    must(!d->busy);
    feeds_end(d);
    struct lane *lane, *next_lane;
    HASH_ITER(hh, d->lanes, lane, next_lane)
    {
        if (lane->state == LANE_IDLE || lane_may_go(lane->state, LANE_STOPPED))
            lane_set_state(d, lane, LANE_STOPPED);
    }
    struct desk_state *desk, *next_desk;
    HASH_ITER(hh, d->desks, desk, next_desk)
    {
        desk->suspended = false;
        desk->guard = (struct skip_guard){0};
        desk->governor.remaining = -1;
        desk->governor.rate_per_min = 0;
        desk->refs++;
        desk_state_unref(d, desk);
    }
    must(!d->lanes && !d->owners && !d->conversations);
    struct guard_memory *memory, *next_memory;
    HASH_ITER(hh, d->guards, memory, next_memory)
    {
        HASH_DEL(d->guards, memory);
        free(memory);
    }
    troubled_lanes_free(d);
    kept_waits_free(d);
    paces_free(d);
    heap_done(&d->dues);
    free(d);
}

void dispatcher_submit(struct dispatcher *d, struct job *job, void (*run)(struct loop_task *task))
{
    job->task.run = run;
    d->busy++;
    d->ports.submit(d->ports.arg, job);
}

// ---- slots ----

static void slot_take(struct dispatcher *d, struct attempt *attempt)
{
    attempt->holds_slot = true;
    d->in_flight++;
    governor_start(&attempt->desk_state->governor);
}

static void slot_give(struct dispatcher *d, struct attempt *attempt, bool well)
{
    if (!attempt->holds_slot)
        return;
    attempt->holds_slot = false;
    d->in_flight--;
    governor_end(&attempt->desk_state->governor, well, attempt->requests ? attempt->took_us / attempt->requests : 0);
    desk_enlist(d, attempt->desk_state);
}

// ---- in-flight marks ----

struct unmark {
    struct job job; // first
    struct store_change change;
    struct store_mark mark;
    struct store_outcome outcome;
    struct dispatcher *dispatcher;
};

static void on_unmarked(struct loop_task *task)
{
    struct unmark *unmark = (struct unmark *)job_of(task);
    struct dispatcher *d = unmark->dispatcher;
    d->busy--;
    free(unmark);
    dispatcher_check_stopped(d);
}

static struct unmark *unmark_new(struct dispatcher *d)
{
    struct unmark *unmark = mem_new_of(struct unmark);
    unmark->dispatcher = d;
    unmark->job = (struct job){.kind = JOB_CHANGES, .changes = &unmark->change, .change_count = 1};
    return unmark;
}

// The send is called off: marks never exceed requests in flight.
void dispatcher_unmark(struct dispatcher *d, int64_t message_id)
{
    struct unmark *unmark = unmark_new(d);
    unmark->mark = (struct store_mark){.message_id = message_id, .in_flight = false};
    unmark->change = (struct store_change){.kind = STORE_MARK, .mark = &unmark->mark};
    dispatcher_submit(d, &unmark->job, on_unmarked);
}

// The same of a message in doubt. The mark may be an earlier process', and all that the store knows of the doubt.
static void unmark_doubtful(struct dispatcher *d, const struct message *message)
{
    struct unmark *unmark = unmark_new(d);
    unmark->outcome = (struct store_outcome){
        .message_id = message->id,
        .attempts = message->attempts,
        .next_attempt_us = message->next_attempt_us,
        .at_us = dispatcher_now_us(d),
        .in_doubt = true,
    };
    unmark->change = (struct store_change){.kind = STORE_OUTCOME, .outcome = &unmark->outcome};
    dispatcher_submit(d, &unmark->job, on_unmarked);
}

static void unmark_head(struct dispatcher *d, struct lane *lane)
{
    struct message *message = lane->count ? lane_head(lane)->message : NULL;
    if (!message || !message->in_flight)
        return;
    message->in_flight = false;
    if (message->in_doubt)
        unmark_doubtful(d, message);
    else
        dispatcher_unmark(d, message->id);
}

static bool may_send(const struct dispatcher *d, const struct lane *lane)
{
    return !d->stopping && lane->owner->account->active && (!lane->owner->desk->suspended || lane->is_probe);
}

static void call_off(struct dispatcher *d, struct lane *lane)
{
    struct attempt *attempt = lane->attempt;
    slot_give(d, attempt, true);
    attempt_free(attempt);
    unmark_head(d, lane);
    if (lane->is_stale)
        lane_truncate(d, lane, 0);
    lane_go_on(d, lane);
    dispatcher_pump(d);
}

static void on_marked(struct loop_task *task)
{
    struct attempt *attempt = attempt_of(job_of(task));
    struct dispatcher *d = attempt->dispatcher;
    struct lane *lane = attempt->lane;
    d->busy--;
    if (!attempt->job.err)
        lane_head(lane)->message->in_flight = true;
    bool moved = lane->owner->desk != attempt->desk_state; // the account has another desk since
    if (!attempt->job.err && lane->discard == attempt->steps.message->id) {
        attempt->cut = true; // nothing has left: it ends as one that failed, and is discarded
        attempt->verdict = (struct verdict){.kind = VERDICT_WAIT};
        lane_set_state(d, lane, LANE_SENDING);
        attempt_ended(attempt);
    } else if (attempt->job.err || moved || lane->is_stale || !may_send(d, lane)) {
        call_off(d, lane);
    } else {
        lane_set_state(d, lane, LANE_SENDING);
        attempt_begin(attempt);
    }
    dispatcher_check_stopped(d);
}

static void mark_head(struct dispatcher *d, struct attempt *attempt)
{
    attempt->mark = (struct store_mark){.message_id = attempt->steps.message->id, .in_flight = true};
    attempt->changes[0] = (struct store_change){.kind = STORE_MARK, .mark = &attempt->mark};
    attempt->job = (struct job){.kind = JOB_CHANGES, .changes = attempt->changes, .change_count = 1};
    dispatcher_submit(d, &attempt->job, on_marked);
}

// ---- attempts ----

// Whether the mark must be on the disk before the request leaves. A receiver with a key needs none to tell a repetition; but no part of
// an album may join what it may have had under that key, since it would drop the words.
static bool needs_mark(const struct attempt *attempt)
{
    const struct message *message = attempt->steps.message;
    bool has_key = attempt->desk_state->receiver->has_key;
    return !message->in_flight && !attempt->asks_person && (!has_key || waits_for_files(message));
}

static void begin(struct dispatcher *d, struct lane *lane)
{
    struct attempt *attempt = attempt_new(d, lane);
    bool marked = !needs_mark(attempt);
    lane->waited = lane->is_stale = false;
    slot_take(d, attempt);
    lane_set_state(d, lane, marked ? LANE_SENDING : LANE_MARKING);
    if (marked)
        attempt_begin(attempt);
    else
        mark_head(d, attempt);
}

static bool lane_is_paced(struct dispatcher *d, const struct lane *lane)
{
    return pace_due_us(d, lane) > dispatcher_mono_us(d);
}

// Nobody else waits for the slot, and the next message is at hand: it is marked with the outcome of this one
// and sent at once.
static bool keeps_slot(struct dispatcher *d, const struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    if (attempt->desk_state->receiver->has_key || attempt->verdict.kind != VERDICT_DELIVERED || lane->count < 2 ||
        d->ready || !may_send(d, lane) || attempt->steps.moved_to.p || lane_is_paced(d, lane))
        return false;
    const struct message *next = lane->slots[(lane->head + 1) % d->options.window].message;
    return !next->in_doubt && !next->next_attempt_us;
}

void attempt_ended(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    enum verdict_kind kind = attempt->verdict.kind;
    if (attempt->desk_state->receiver->has_key) // the same key is sent again: nothing to look up, nothing to settle
        attempt->verdict.maybe_applied = attempt->verdict.unanswered = false;
    bool well = kind == VERDICT_DELIVERED || kind == VERDICT_REJECTED || kind == VERDICT_WAIT;
    attempt->lane->keeps_slot = keeps_slot(d, attempt);
    slot_give(d, attempt, well);
    if (attempt->cut && attempt->lane->is_probe)
        desk_probe_lost(d, attempt->desk_state);
    if (!attempt->cut)
        tally_attempt(d->options.tally, str_of(attempt->desk_state->receiver->name), kind);
    if (attempt->cut || desk_judges(attempt))
        attempt_judged(attempt);
    dispatcher_pump(d);
}

// ---- what a lane does next ----

// The head, marked with the outcome of the one before, goes at once if the desk still lets it.
static bool goes_at_once(struct dispatcher *d, struct lane *lane)
{
    bool kept = lane->keeps_slot && lane_head(lane)->message->in_flight;
    lane->keeps_slot = false;
    if (lane->is_probe)
        return true;
    return kept && d->in_flight < d->options.concurrency &&
           !governor_blocked_until(&lane->owner->desk->governor, dispatcher_mono_us(d));
}

static void go_ready(struct dispatcher *d, struct lane *lane)
{
    bool at_once = goes_at_once(d, lane);
    if (!at_once)
        unmark_head(d, lane);
    if (!at_once || lane->state != LANE_SENDING)
        lane_set_state(d, lane, LANE_READY);
    if (at_once)
        begin(d, lane);
}

static void go_behind(struct dispatcher *d, struct lane *lane)
{
    unmark_head(d, lane);
    lane->keeps_slot = false;
    lane_set_state(d, lane, LANE_BEHIND);
    if (lane->is_probe)
        desk_probe_lost(d, lane->owner->desk);
    order_look(d, lane->owner);
}

static void go_by_head(struct dispatcher *d, struct lane *lane)
{
    if (order_holds(lane)) {
        go_behind(d, lane);
        return;
    }
    int64_t due_us = lane_due_us(d, lane);
    bool held = due_us == INT64_MAX;
    bool is_due = !held && (lane->waited || due_us <= dispatcher_mono_us(d));
    if (is_due && !lane_is_paced(d, lane)) {
        go_ready(d, lane);
        return;
    }
    unmark_head(d, lane);
    lane->keeps_slot = lane->waited = false;
    lane->paces = is_due;
    if (lane->is_probe) {
        lane_set_state(d, lane, LANE_SUSPENDED);
        desk_probe_lost(d, lane->owner->desk);
    } else {
        lane_set_state(d, lane, held ? LANE_HELD : LANE_WAITING);
    }
}

static void go_nowhere(struct dispatcher *d, struct lane *lane)
{
    lane->keeps_slot = false;
    unmark_head(d, lane);
    if (lane->is_probe)
        desk_probe_lost(d, lane->owner->desk);
    lane_set_state(d, lane, lane->owner->account->active ? LANE_SUSPENDED : LANE_STOPPED);
}

void lane_go_on(struct dispatcher *d, struct lane *lane)
{
    if (!may_send(d, lane)) {
        go_nowhere(d, lane);
    } else if (lane->count) {
        go_by_head(d, lane);
    } else {
        lane->keeps_slot = false;
        if (!lane->more)
            order_look(d, lane->owner);
        lane_set_state(d, lane, lane->more ? LANE_LOADING : LANE_IDLE);
    }
}

// ---- starting what may start ----

// Out of the ring while it may start nothing; whatever ends that puts it back.
static bool is_blocked(struct dispatcher *d, struct desk_state *desk)
{
    int64_t until = governor_blocked_until(&desk->governor, dispatcher_mono_us(d));
    desk_delist(d, desk);
    if (!until)
        desk_enlist(d, desk); // to the end
    else if (until != INT64_MAX)
        due_set(d, &desk->due, until);
    return until != 0;
}

// Beside other desks in use a quarter of the slots is kept for those that have less than a quarter: a message for such a one
// would wait for the answer to a request of a busy one otherwise.
static bool leaves_enough(const struct dispatcher *d, int quarter)
{
    bool alone = HASH_COUNT(d->desks) < 2;
    return alone || d->options.concurrency - d->in_flight > quarter;
}

// The next desk that may start a request: round robin; when all that wait have a quarter of the slots already, the
// one that has least.
static struct desk_state *next_desk(struct dispatcher *d)
{
    int quarter = d->options.concurrency / 4 > 0 ? d->options.concurrency / 4 : 1;
    struct desk_state *first = NULL, *least = NULL;
    while (d->ready && d->ready != first) {
        struct desk_state *desk = d->ready;
        if (is_blocked(d, desk))
            continue;
        if (desk->governor.in_flight < quarter)
            return desk;
        if (!least || desk->governor.in_flight < least->governor.in_flight)
            least = desk;
        first = first ? first : desk;
    }
    return least && leaves_enough(d, quarter) ? least : NULL;
}

static struct lane *next_lane(struct desk_state *desk)
{
    struct lane_owner *owner = desk->ready;
    struct lane *lane = owner->ready;
    DL_DELETE(desk->ready, owner);
    DL_APPEND(desk->ready, owner);
    return lane; // its state is about to change: it leaves the ring by itself
}

// What it starts may end at once, and want it again: that is done in turns here, not in depth.
void dispatcher_pump(struct dispatcher *d)
{
    struct desk_state *desk;
    d->pump_again = true;
    if (d->pumping)
        return;
    d->pumping = true;
    while (d->pump_again) {
        d->pump_again = false;
        while (!d->stopping && d->in_flight < d->options.concurrency && (desk = next_desk(d)))
            begin(d, next_lane(desk));
        pages_pump(d);
    }
    d->pumping = false;
    struct heap_item *top = heap_top(&d->dues);
    d->ports.arm(d->ports.arg, top ? top->at : 0);
}

bool dispatcher_has_room(struct dispatcher *d)
{
    return atomic_load_explicit(&d->messages, memory_order_relaxed) < d->options.memory_messages;
}

void dispatcher_start(struct dispatcher *d)
{
    feed_whole_store(d);
}

// ---- events from outside ----

// There may be older messages of this lane in the store that no feed has brought yet.
static bool may_have_more(struct dispatcher *d, const struct lane_owner *owner, int64_t lane_id)
{
    const struct lane_owner *inbound = lane_owner_find(d, (struct owner_key){owner->key.account_id, 0});
    return (inbound && inbound->feeding) || (d->first_feed && lane_id > d->first_feed->passed);
}

static void push_announced(struct dispatcher *d, struct lane *lane, struct announcement *announcement)
{
    lane_push(d, lane, announcement->message, announcement->link, str_of(announcement->profile));
    announcement->message = NULL;
}

static void lane_begin(struct dispatcher *d, struct lane_owner *owner, int64_t lane_id,
                       struct announcement *announcement)
{
    struct lane *lane = lane_new(d, owner, lane_id);
    if (owner->desk->suspended) {
        lane_set_state(d, lane, LANE_SUSPENDED);
        desk_await(d, owner->desk);
    } else if (!announcement || !announcement->message || lane->in_trouble || may_have_more(d, owner, lane_id)) {
        lane_set_state(d, lane, LANE_LOADING);
    } else {
        push_announced(d, lane, announcement);
        go_by_head(d, lane);
    }
}

// Work for a lane that is in memory.
static void lane_add(struct dispatcher *d, struct lane *lane, struct announcement *announcement)
{
    if (lane->state == LANE_LOADING) // the page was asked for, or will be: it tells
        return;
    bool fits = announcement->message && !lane->more && lane->count && lane->count < d->options.window &&
                lane->state != LANE_SUSPENDED;
    if (fits)
        push_announced(d, lane, announcement);
    else
        lane->more = true;
}

// A lane that is not in memory, or whose page is wanted or under way, needs nothing: pages, announcements and what else is told
// of the store come in the order of commits, so a page that comes after this shows the change, and one that came before it is
// in memory by now. A lane that holds no messages will be read when it goes on. No wait that began before holds a head whose
// time is another one in the store (struct head_wait); one whose time is the same waits on until it is over.
static void look_again(struct dispatcher *d, struct lane *lane)
{
    lane->waited = false; // of a head that may be another one by now
    if (lane->attempt) {
        lane->is_stale = true; // it goes on with what it has
        lane_truncate(d, lane, 1);
    } else if (lane->state == LANE_READY || lane->state == LANE_WAITING) {
        lane_set_state(d, lane, LANE_LOADING);
    } else if (lane->state == LANE_SUSPENDED && lane->probe_after_us != INT64_MAX) {
        lane->probe_after_us = 0; // or its head is found to wait on
        desk_await(d, lane->owner->desk);
    }
}

static void announced(struct dispatcher *d, struct announcement *announcement)
{
    struct lane *lane = lane_find(d, announcement->lane);
    if (announcement->message)
        conversation_learn(d, announcement->message->conversation_id, str_of(announcement->profile));
    if (announcement->look_again) {
        if (lane)
            look_again(d, lane);
        return;
    }
    if (lane) {
        lane_add(d, lane, announcement);
        return;
    }
    struct lane_owner *owner = lane_owner_get(d, announcement->lane, announcement->account_id, announcement->source_id);
    if (!owner)
        return;
    if (owner->account->active && !d->stopping)
        lane_begin(d, owner, announcement->lane, announcement);
    else
        lane_owner_release(d, owner);
}

void dispatcher_announced(struct dispatcher *d, struct announcement *list)
{
    while (list) {
        struct announcement *announcement = list;
        list = list->next;
        announced(d, announcement);
        announcement_free(announcement);
    }
    dispatcher_pump(d);
}

void dispatcher_work(struct dispatcher *d, int64_t account_id, int64_t source_id, int64_t lane_id)
{
    struct announcement *announcement = mem_new_of(struct announcement);
    announcement->account_id = account_id;
    announcement->source_id = source_id;
    announcement->lane = lane_id;
    dispatcher_announced(d, announcement);
}

void dispatcher_look_again(struct dispatcher *d, int64_t lane_id)
{
    struct lane *lane = lane_find(d, lane_id);
    if (lane)
        look_again(d, lane);
    dispatcher_pump(d);
}

static void tally_follower(struct dispatcher *d, const struct store_file *file)
{
    const struct account *account = directory_find_id(d->options.directory, file->account_id);
    const struct source *source = account ? account_find_any_source_id(account, file->source_id) : NULL;
    if (source)
        tally_message(d->options.tally, TALLY_ACCEPTED, source->platform, INBOUND);
    account_unref(account);
}

void dispatcher_file_settled(struct dispatcher *d, const struct store_file *file)
{
    if (!file->applied)
        return;
    if (file->ready || file->changed)
        dispatcher_look_again(d, file->lane);
    if (!file->follow_lane)
        return;
    tally_follower(d, file);
    dispatcher_work(d, file->account_id, 0, file->follow_lane);
}

void dispatcher_tick(struct dispatcher *d)
{
    int64_t now = clock_mono_us(d->options.clock);
    for (struct heap_item *top; (top = heap_top(&d->dues)) && top->at <= now;) {
        struct due *due = (struct due *)top;
        heap_remove(&d->dues, top);
        due->run(d, due);
    }
    dispatcher_pump(d);
}

static void stop_lanes(struct dispatcher *d, struct lane_owner *owner)
{
    struct lane *lane, *next;
    owner->pins++; // its lanes go one by one
    for (lane = owner->lanes; lane; lane = next) {
        next = lane->all_next;
        if (!lane->attempt)
            lane_set_state(d, lane, LANE_STOPPED);
    }
    owner->pins--;
}

// Who takes its messages is another one now: its lanes leave the old one's suspension and load anew.
static void move_to_desk(struct dispatcher *d, struct lane_owner *owner)
{
    struct desk_state *from = owner->desk;
    struct lane *lane;
    DL_FOREACH2(owner->lanes, lane, all_next)
    {
        if (lane->state == LANE_READY)
            lane_set_state(d, lane, LANE_LOADING);
        if (from->probe_lane == lane) // the others that wait there have lost theirs
            desk_probe_lost(d, from);
    }
    DL_DELETE2(from->owners, owner, all_prev, all_next);
    owner->desk = desk_state_get(d, owner->account, owner->key.source_id);
    DL_APPEND2(owner->desk->owners, owner, all_prev, all_next);
    desk_left(d, from);
    desk_state_unref(d, from);
    DL_FOREACH2(owner->lanes, lane, all_next)
    {
        if (lane->state == LANE_SUSPENDED && !owner->desk->suspended)
            lane_set_state(d, lane, LANE_LOADING);
        else if (owner->desk->suspended && !lane->attempt && lane->state != LANE_SUSPENDED)
            lane_set_state(d, lane, LANE_SUSPENDED);
    }
    if (owner->desk->suspended)
        desk_await(d, owner->desk);
}

// The desk of an account that may have gone elsewhere, or is no more; it can be in memory without lanes of any.
static void look_whether_left(struct dispatcher *d, const struct account *account, int64_t source_id)
{
    struct desk_state *desk = desk_state_find(d, account, source_id);
    if (!desk)
        return;
    desk->refs++;
    desk_left(d, desk);
    desk_state_unref(d, desk);
}

// The same desk, reached by settings that may be others now (its rate, how it is probed).
static void take_settings(struct dispatcher *d, const struct account *account, int64_t source_id)
{
    struct desk_state *desk = desk_state_find(d, account, source_id);
    if (desk && account->active) // or they are another account's that uses it
        desk_state_settings(desk, account, source_id);
}

// Its desk, and the bots of its sources.
static void desks_changed(struct dispatcher *d, const struct account *before, const struct account *now)
{
    take_settings(d, now, 0);
    for (size_t i = 0; i < now->source_count; i++)
        take_settings(d, now, now->sources[i].id);
    if (!before)
        return;
    look_whether_left(d, before, 0);
    for (size_t i = 0; i < before->source_count; i++)
        look_whether_left(d, before, before->sources[i].id);
}

static void activate(struct dispatcher *d, int64_t account_id)
{
    struct lane_owner *owner = lane_owner_inbound(d, account_id);
    if (!owner)
        return;
    if (owner->feeding) // it may have passed lanes that were stopped since
        owner->feed_again = true;
    else
        feed_account(d, owner);
}

static void owner_changed(struct dispatcher *d, struct lane_owner *owner, const struct account *now)
{
    bool other_barrier = owner->account->order_barrier != now->order_barrier;
    account_unref(owner->account);
    owner->account = account_ref(now);
    if (owner->desk->identity != desk_identity_of(now, owner->key.source_id))
        move_to_desk(d, owner);
    if (!now->order_barrier || other_barrier) // what was behind the one before may not be behind this one
        order_release(d, owner);
    if (now->active)
        return;
    stop_lanes(d, owner);
    lane_owner_release(d, owner);
}

void dispatcher_account_changed(struct dispatcher *d, const struct account *before, const struct account *now)
{
    size_t at = 0;
    for (struct lane_owner *owner; (owner = lane_owner_next(d, now, &at));)
        owner_changed(d, owner, now);
    desks_changed(d, before, now);
    if (now->active && before && !before->active)
        activate(d, now->id);
    dispatcher_pump(d);
}

static bool has_attempt(const struct lane_owner *owner)
{
    const struct lane *lane = owner->lanes;
    while (lane && !lane->attempt)
        lane = lane->all_next;
    return lane != NULL;
}

bool dispatcher_is_busy_with(struct dispatcher *d, int64_t account_id)
{
    const struct account *account = directory_find_id(d->options.directory, account_id);
    size_t at = 0;
    bool busy = false;
    for (const struct lane_owner *owner; account && !busy && (owner = lane_owner_next(d, account, &at));)
        busy = has_attempt(owner);
    account_unref(account);
    return busy;
}

static void resume(struct dispatcher *d, const struct account *account, int64_t source_id)
{
    struct desk_state *desk = desk_state_get(d, account, source_id);
    if (skip_guard_open(&desk->guard)) // a desk that is found well by a probe has delivered nothing yet
        desk_store_health(d, desk);
    desk_resume(d, desk);
    desk_state_unref(d, desk);
}

void dispatcher_resume_desk(struct dispatcher *d, const struct account *account)
{
    if (!desk_connector_find(account->desk.platform)) // a damaged definition
        return;
    resume(d, account, 0);
    for (size_t i = 0; i < account->source_count; i++)
        resume(d, account, account->sources[i].id);
    dispatcher_pump(d);
}

// ---- by hand ----

int dispatcher_reload(struct dispatcher *d, const struct message *message, bool discard)
{
    struct lane *lane = lane_find(d, message->lane);
    d->by_hand++; // pages on their way to lanes that are not in memory yet
    lane_trust(d, message->lane);
    if (!lane)
        return ERR_OK;
    if (lane->state == LANE_SUSPENDED) {
        lane->probe_after_us = 0; // its head may be another one now
        desk_await(d, lane->owner->desk);
    } else if (lane->attempt) {
        if (lane_head(lane)->message->id == message->id) {
            if (discard)
                lane->discard = message->id;
            return ERR_BUSY;
        }
        lane_truncate(d, lane, 1);
    } else if (lane->state != LANE_LOADING) {
        lane_set_state(d, lane, LANE_LOADING);
    } else if (lane->load) { // a page that was read before the change: another one is asked for
        lane_forget_load(d, lane);
        lane_want_page(d, lane);
    }
    return ERR_OK;
}

void dispatcher_trust_lane(struct dispatcher *d, int64_t lane_id)
{
    lane_trust(d, lane_id);
    dispatcher_pump(d);
}

// ---- the end ----

void dispatcher_check_stopped(struct dispatcher *d)
{
    if (d->stopping && !d->busy && !d->in_flight && !d->told_stopped) {
        d->told_stopped = true;
        d->ports.stopped(d->ports.arg);
    }
}

void dispatcher_stop(struct dispatcher *d)
{
    d->stopping = true;
    struct desk_state *desk, *next_desk;
    HASH_ITER(hh, d->desks, desk, next_desk)
    {
        if (desk->probe_lane && !desk->probe_lane->attempt) // none will be sent
            desk_probe_lost(d, desk);
    }
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}

void dispatcher_cut(struct dispatcher *d)
{
    struct lane *lane, *next;
    HASH_ITER(hh, d->lanes, lane, next)
    {
        if (lane->attempt && lane->attempt->call)
            d->ports.cancel(d->ports.arg, lane->attempt->call);
    }
    struct desk_state *desk, *next_desk;
    HASH_ITER(hh, d->desks, desk, next_desk)
    {
        if (desk->probe_call)
            d->ports.cancel(d->ports.arg, desk->probe_call);
    }
}
