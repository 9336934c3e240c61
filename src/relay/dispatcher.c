// See dispatcher.h. Lanes and rings: lanes.c. One attempt: courier.c. The desk as a whole: desk_health.c.
#include "relay/dispatcher.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/backoff.h"
#include "relay/courier.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    MOST_LOADS = 64,  // pages asked of the committer at a time
    MOST_LOOKS = 8,   // at accounts that stand in line for a page
    ERROR_TEXT = 500, // of the desk's words that are kept, bytes
};

#define job_of(task_) ((struct job *)((char *)(task_)-offsetof(struct job, task)))
#define attempt_of(job_) ((struct attempt *)((char *)(job_)-offsetof(struct attempt, job)))

struct dispatcher *dispatcher_new(const struct dispatcher_options *options, const struct dispatcher_ports *ports)
{
    struct dispatcher *d = mem_new_of(struct dispatcher);
    d->options = *options;
    d->ports = *ports;
    chance_init(&d->chance, options->seed);
    d->started_us = dispatcher_now_us(d);
    return d;
}

static void feed_end(struct feed *feed);

void dispatcher_free(struct dispatcher *d)
{
    if (!d)
        return;
    must(!d->busy);
    while (d->feeds)
        feed_end(d->feeds);
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
        desk->refs++;
        desk_state_unref(d, desk);
    }
    must(!d->lanes && !d->accounts && !d->conversations);
    struct guard_memory *memory, *next_memory;
    HASH_ITER(hh, d->guards, memory, next_memory)
    {
        HASH_DEL(d->guards, memory);
        free(memory);
    }
    heap_done(&d->dues);
    free(d);
}

static void submit(struct dispatcher *d, struct job *job, void (*run)(struct loop_task *task))
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

// The send is called off: marks never exceed requests in flight.
static void unmark(struct dispatcher *d, int64_t message_id)
{
    struct unmark *unmark = mem_new_of(struct unmark);
    unmark->dispatcher = d;
    unmark->mark = (struct store_mark){.message_id = message_id, .in_flight = false};
    unmark->change = (struct store_change){.kind = STORE_MARK, .mark = &unmark->mark};
    unmark->job = (struct job){.kind = JOB_CHANGES, .changes = &unmark->change, .change_count = 1};
    submit(d, &unmark->job, on_unmarked);
}

static void unmark_head(struct dispatcher *d, struct lane *lane)
{
    if (!lane->count || !lane_head(lane)->message->in_flight)
        return;
    lane_head(lane)->message->in_flight = false;
    unmark(d, lane_head(lane)->message->id);
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
    if (attempt->job.err || moved || !may_send(d, lane)) {
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
    submit(d, &attempt->job, on_marked);
}

// ---- attempts ----

static void begin(struct dispatcher *d, struct lane *lane)
{
    struct attempt *attempt = attempt_new(d, lane);
    bool marked = attempt->desk_state->connector->has_key || attempt->steps.message->in_flight;
    lane->waited = false;
    slot_take(d, attempt);
    lane_set_state(d, lane, marked ? LANE_SENDING : LANE_MARKING);
    if (marked)
        attempt_begin(attempt);
    else
        mark_head(d, attempt);
}

// Nobody else waits for the slot, and the next message is at hand: it is marked with the outcome of this one
// and sent at once.
static bool keeps_slot(struct dispatcher *d, const struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    if (attempt->desk_state->connector->has_key || attempt->verdict.kind != VERDICT_DELIVERED || lane->count < 2 ||
        d->ready || !may_send(d, lane))
        return false;
    const struct message *next = lane->slots[(lane->head + 1) % d->options.window].message;
    return !next->in_doubt && !next->next_attempt_us;
}

void attempt_ended(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    enum verdict_kind kind = attempt->verdict.kind;
    if (attempt->desk_state->connector->has_key) // the same key is sent again: nothing to look up, nothing to settle
        attempt->verdict.maybe_applied = attempt->verdict.unanswered = false;
    bool well = kind == VERDICT_DELIVERED || kind == VERDICT_REJECTED || kind == VERDICT_WAIT;
    attempt->lane->keeps_slot = keeps_slot(d, attempt);
    slot_give(d, attempt, well);
    if (attempt->cut && attempt->lane->is_probe)
        desk_probe_lane_failed(d, attempt->lane);
    if (!attempt->cut)
        tally_attempt(d->options.tally, attempt->account->desk.platform, kind);
    if (attempt->cut || desk_judges(attempt))
        attempt_judged(attempt);
    dispatcher_pump(d);
}

static int64_t retry_at_us(struct attempt *attempt, int attempts)
{
    struct dispatcher *d = attempt->dispatcher;
    int64_t pause_ms = backoff_pause(d->options.retry_base_ms, d->options.retry_cap_ms, attempts, &d->chance);
    if (attempt->verdict.unanswered && pause_ms < d->options.settle_ms)
        pause_ms = d->options.settle_ms;
    return dispatcher_now_us(d) + pause_ms * 1000;
}

// Skipped and reported, or held for a person, or kept by the guard against mass skips.
static void give_up(struct attempt *attempt, enum reason reason)
{
    struct store_outcome *outcome = &attempt->outcome;
    bool damaged = attempt->steps.message->reason == REASON_DAMAGED;
    outcome->reason = damaged ? REASON_DAMAGED : reason;
    if (attempt->account->on_failure == ON_FAILURE_HOLD) {
        outcome->next_attempt_us = MESSAGE_HELD;
    } else if (damaged || desk_lets_skip(attempt)) {
        outcome->state = MESSAGE_SKIPPED;
    } else {
        outcome->reason = REASON_NONE;
        outcome->attempts = attempt->steps.message->attempts;
    }
}

static void judge_retry(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    const struct dispatcher *d = attempt->dispatcher;
    bool looks = attempt->desk_state->connector->has_lookup;
    if (attempt->steps.look_only) {
        give_up(attempt, REASON_GAVE_UP);
        return;
    }
    outcome->attempts++;
    if (outcome->attempts < d->options.max_attempts || (outcome->in_doubt && looks))
        outcome->next_attempt_us = retry_at_us(attempt, outcome->attempts);
    else
        give_up(attempt, REASON_GAVE_UP);
}

static void judge(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    const struct verdict *verdict = &attempt->verdict;
    switch (verdict->kind) {
    case VERDICT_DELIVERED:
        outcome->state = MESSAGE_DELIVERED;
        outcome->attempts++;
        outcome->in_doubt = false;
        break;
    case VERDICT_REJECTED:
        outcome->attempts++;
        give_up(attempt, REASON_REJECTED);
        break;
    case VERDICT_RETRY:
        judge_retry(attempt);
        break;
    case VERDICT_WAIT:
    case VERDICT_DESK_DOWN:
        outcome->next_attempt_us = verdict->kind == VERDICT_WAIT ? verdict->until_us : 0;
        if (verdict->unanswered && outcome->next_attempt_us < outcome->at_us + attempt->steps.settle_us)
            outcome->next_attempt_us = outcome->at_us + attempt->steps.settle_us;
        break;
    }
    if (attempt->lane->discard && outcome->state != MESSAGE_DELIVERED) {
        outcome->state = MESSAGE_DISCARDED;
        outcome->reason = REASON_BY_HAND;
    }
}

static void on_outcome(struct loop_task *task);

static void tally_doubt(const struct attempt *attempt)
{
    struct tally *tally = attempt->dispatcher->options.tally;
    const struct verdict *verdict = &attempt->verdict;
    if (!attempt->steps.in_doubt || attempt->cut)
        return;
    if (!attempt->desk_state->connector->has_lookup)
        tally_in_doubt(tally, DOUBT_RESENT);
    else if (verdict->kind == VERDICT_DELIVERED && !attempt->wrote)
        tally_in_doubt(tally, DOUBT_FOUND);
    else if (verdict->not_found || attempt->wrote)
        tally_in_doubt(tally, DOUBT_NOT_FOUND);
    else
        tally_in_doubt(tally, DOUBT_UNKNOWN);
}

void attempt_judged(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    const struct message *message = attempt->steps.message;
    const struct verdict *verdict = &attempt->verdict;
    struct lane *lane = attempt->lane;
    bool doubt = message->in_doubt && !verdict->not_found && !(attempt->wrote && attempt->steps.in_doubt);
    attempt->outcome = (struct store_outcome){
        .message_id = message->id,
        .attempts = message->attempts,
        .at_us = dispatcher_now_us(d),
        .in_doubt = verdict->maybe_applied || doubt,
        .last_error = str_sub(verdict->error, 0, ERROR_TEXT),
        .desk_ref = verdict->desk_ref,
        .conversation_id = message->conversation_id,
        .link = attempt->steps.link_changed ? &attempt->steps.link : NULL,
    };
    judge(attempt);
    if (!attempt->cut && (verdict->kind != VERDICT_DELIVERED || message->attempts))
        attempt->outcome.verdict = verdict_kind_name(verdict->kind);
    if (lane->keeps_slot)
        attempt->outcome.mark_next = lane->slots[(lane->head + 1) % d->options.window].message->id;
    tally_doubt(attempt);
    attempt->changes[0] = (struct store_change){.kind = STORE_OUTCOME, .outcome = &attempt->outcome};
    attempt->changes[1] = (struct store_change){.kind = STORE_DESK_HEALTH, .desk_health = &attempt->health};
    attempt->job = (struct job){
        .kind = JOB_CHANGES, .changes = attempt->changes, .change_count = attempt->tells_health ? 2 : 1};
    submit(d, &attempt->job, on_outcome);
}

static void report_settled(const struct attempt *attempt)
{
    const struct store_outcome *outcome = &attempt->outcome;
    const struct message *message = attempt->steps.message;
    struct tally *tally = attempt->dispatcher->options.tally;
    struct str platform = attempt->steps.source->platform;
    if (outcome->state == MESSAGE_DELIVERED) {
        tally_message(tally, TALLY_DELIVERED, platform, message->direction);
        tally_time(&tally->delivery, outcome->at_us - message->received_at_us);
    } else {
        tally_message(tally, outcome->state == MESSAGE_SKIPPED ? TALLY_SKIPPED : TALLY_DISCARDED, platform,
                      message->direction);
        // The desk's own words stay in the store: they could repeat the message.
        log_error("message_skipped", LOG_N("message", message->id), LOG_S("account", attempt->account->name),
                  LOG_C("reason", reason_name(outcome->reason)), LOG_N("attempts", outcome->attempts),
                  LOG_N("status", attempt->verdict.status));
    }
}

// The mark that came with the outcome of the message before. By hand the lane may have been made to forget what it
// marks (dispatcher_reload).
static void take_mark(struct dispatcher *d, struct lane *lane, int64_t message_id)
{
    if (lane->count && lane_head(lane)->message->id == message_id)
        lane_head(lane)->message->in_flight = true;
    else
        unmark(d, message_id);
}

static void take_outcome(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct lane *lane = attempt->lane;
    struct lane_slot *head = lane_head(lane);
    struct store_outcome *outcome = &attempt->outcome;
    if (outcome->link) {
        free(head->conversation->link);
        head->conversation->link = link_copy(outcome->link);
    }
    if (!outcome->applied || outcome->state != MESSAGE_PENDING) {
        if (outcome->applied)
            report_settled(attempt);
        lane->discard = false;
        lane_pop(d, lane);
        if (outcome->mark_next && outcome->applied)
            take_mark(d, lane, outcome->mark_next);
        return;
    }
    head->message->attempts = outcome->attempts;
    head->message->next_attempt_us = outcome->next_attempt_us;
    head->message->in_doubt = outcome->in_doubt;
    head->message->in_flight = false;
    if (outcome->next_attempt_us == MESSAGE_HELD)
        log_error("message_held", LOG_N("message", head->message->id), LOG_S("account", attempt->account->name),
                  LOG_C("reason", reason_name(outcome->reason)), LOG_N("status", attempt->verdict.status));
}

// Asked by hand while the failure was being stored.
static bool must_discard(const struct attempt *attempt)
{
    const struct store_outcome *outcome = &attempt->outcome;
    return attempt->lane->discard && !attempt->job.err && outcome->applied && outcome->state == MESSAGE_PENDING;
}

static void discard_now(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    outcome->state = MESSAGE_DISCARDED;
    outcome->reason = REASON_BY_HAND;
    outcome->next_attempt_us = 0;
    outcome->verdict = NULL; // that one is stored
    attempt->job = (struct job){.kind = JOB_CHANGES, .changes = attempt->changes, .change_count = 1};
    submit(attempt->dispatcher, &attempt->job, on_outcome);
}

static void on_outcome(struct loop_task *task)
{
    struct attempt *attempt = attempt_of(job_of(task));
    struct dispatcher *d = attempt->dispatcher;
    struct lane *lane = attempt->lane;
    d->busy--;
    if (must_discard(attempt)) {
        discard_now(attempt);
        return;
    }
    if (attempt->job.err) { // the process is about to end, and the mark stays on the disk
        d->stopping = true;
        lane_head(lane)->message->in_flight = false;
    } else {
        take_outcome(attempt);
    }
    attempt_free(attempt);
    lane_go_on(d, lane);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
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
           !governor_blocked_until(&lane->owner->desk->governor, dispatcher_now_us(d));
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

static void go_by_head(struct dispatcher *d, struct lane *lane)
{
    const struct message *head = lane_head(lane)->message;
    bool held = head->next_attempt_us == MESSAGE_HELD;
    if (!held && (lane->waited || head->next_attempt_us <= dispatcher_now_us(d))) {
        go_ready(d, lane);
        return;
    }
    unmark_head(d, lane);
    lane->keeps_slot = false;
    if (lane->is_probe) {
        desk_probe_lane_failed(d, lane);
        lane_set_state(d, lane, LANE_SUSPENDED);
    } else {
        lane_set_state(d, lane, held ? LANE_HELD : LANE_WAITING);
    }
}

void lane_go_on(struct dispatcher *d, struct lane *lane)
{
    if (!may_send(d, lane)) {
        lane->keeps_slot = false;
        unmark_head(d, lane);
        lane_set_state(d, lane, lane->owner->account->active ? LANE_SUSPENDED : LANE_STOPPED);
    } else if (lane->count) {
        go_by_head(d, lane);
    } else {
        lane->keeps_slot = false;
        lane_set_state(d, lane, lane->more ? LANE_LOADING : LANE_IDLE);
    }
}

// ---- starting what may start ----

// Out of the ring while it may start nothing; whatever ends that puts it back.
static bool is_blocked(struct dispatcher *d, struct desk_state *desk)
{
    int64_t until = governor_blocked_until(&desk->governor, dispatcher_now_us(d));
    desk_delist(d, desk);
    if (!until)
        desk_enlist(d, desk); // to the end
    else if (until != INT64_MAX)
        due_set(d, &desk->due, until);
    return until != 0;
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
    return least;
}

static struct lane *next_lane(struct desk_state *desk)
{
    struct lane_account *owner = desk->ready;
    struct lane *lane = owner->ready;
    DL_DELETE(desk->ready, owner);
    DL_APPEND(desk->ready, owner);
    return lane; // its state is about to change: it leaves the ring by itself
}

struct load {
    struct job job; // first
    struct dispatcher *dispatcher;
    struct feed *feed; // NULL: for a lane that is in memory
};

static void take_page(struct dispatcher *d, struct lane *lane, struct lane_page *page)
{
    lane->more = page->more;
    for (size_t i = 0; i < page->count; i++) {
        struct message *message = page->entries[i].message;
        page->entries[i].message = NULL;
        if (message->in_flight) { // by an earlier process: this one clears its marks
            message->in_flight = false;
            message->in_doubt = true;
            int64_t settled = d->started_us + d->options.settle_ms * 1000;
            if (message->next_attempt_us < settled)
                message->next_attempt_us = settled;
        }
        lane_push(d, lane, message, &page->entries[i].link);
    }
}

static void page_done(struct lane_page *page)
{
    for (size_t i = 0; i < page->count; i++)
        message_free(page->entries[i].message);
    arena_done(&page->arena);
}

static void on_page(struct loop_task *task)
{
    struct load *load = (struct load *)job_of(task);
    struct dispatcher *d = load->dispatcher;
    struct lane *lane = lane_find(d, load->job.load.lane);
    d->busy--;
    d->loads_asked--;
    if (lane && lane->load == &load->job && !load->job.err) {
        take_page(d, lane, &load->job.load.page);
        lane_go_on(d, lane);
    }
    page_done(&load->job.load.page);
    free(load);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}

static struct load *load_new(struct dispatcher *d, int64_t lane_id)
{
    struct load *load = mem_new_of(struct load);
    load->dispatcher = d;
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
        struct lane_account *owner = d->to_load;
        DL_DELETE2(d->to_load, owner, load_prev, load_next);
        DL_APPEND2(d->to_load, owner, load_prev, load_next);
        if (dispatcher_has_room(d) || lane_account_is_empty(owner))
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
    submit(d, &load->job, on_page);
}

static void feed_on(struct feed *feed);

void dispatcher_pump(struct dispatcher *d)
{
    struct desk_state *desk;
    while (!d->stopping && d->in_flight < d->options.concurrency && (desk = next_desk(d)))
        begin(d, next_lane(desk));
    for (struct lane *lane; (lane = next_to_load(d));)
        ask_page(d, lane);
    struct feed *feed, *next;
    DL_FOREACH_SAFE(d->feeds, feed, next)
    {
        feed_on(feed);
    }
    struct heap_item *top = heap_top(&d->dues);
    d->ports.arm(d->ports.arg, top ? top->at : 0);
}

bool dispatcher_has_room(struct dispatcher *d)
{
    return atomic_load_explicit(&d->messages, memory_order_relaxed) < d->options.memory_messages;
}

// ---- feeds: lanes that the store has and we do not know ----

static void feed_account(struct dispatcher *d, struct lane_account *owner);

static void feed_end(struct feed *feed)
{
    struct dispatcher *d = feed->dispatcher;
    DL_DELETE(d->feeds, feed);
    if (d->first_feed == feed)
        d->first_feed = NULL;
    struct lane_account *owner = feed->account_id ? lane_account_find(d, feed->account_id) : NULL;
    free(feed);
    if (!owner)
        return;
    bool again = owner->feed_again && !d->stopping;
    owner->feeding = owner->feed_again = false;
    owner->pins--;
    if (again)
        feed_account(d, owner);
    else
        lane_account_release(d, owner);
}

// A lane that was not in memory: its first message says whose it is.
static void take_fed_page(struct dispatcher *d, struct load *load)
{
    struct lane_page *page = &load->job.load.page;
    if (load->job.err || !page->count || lane_find(d, load->job.load.lane))
        return;
    struct lane_account *owner = lane_account_get(d, page->entries[0].message->account_id);
    if (!owner)
        return;
    if (owner->account->active) {
        struct lane *lane = lane_new(d, owner, load->job.load.lane);
        if (owner->desk->suspended) {
            lane_set_state(d, lane, LANE_SUSPENDED);
            desk_await(d, owner->desk);
        } else {
            lane_set_state(d, lane, LANE_LOADING);
            lane_want_no_page(d, lane);
            take_page(d, lane, page);
            lane_go_on(d, lane);
        }
    } else {
        lane_account_release(d, owner);
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
    page_done(&load->job.load.page);
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
    submit(feed->dispatcher, &feed->job, on_lanes);
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
        submit(d, &load->job, on_fed_page);
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

static void feed_account(struct dispatcher *d, struct lane_account *owner)
{
    owner->feeding = true;
    owner->pins++;
    feed_new(d, owner->id);
}

void dispatcher_start(struct dispatcher *d)
{
    d->first_feed = feed_new(d, 0);
}

// ---- events from outside ----

// There may be older messages of this lane in the store that no feed has brought yet.
static bool may_have_more(const struct dispatcher *d, const struct lane_account *owner, int64_t lane_id)
{
    return owner->feeding || (d->first_feed && lane_id > d->first_feed->passed);
}

static void lane_begin(struct dispatcher *d, struct lane_account *owner, int64_t lane_id,
                       struct announcement *announcement)
{
    struct lane *lane = lane_new(d, owner, lane_id);
    if (owner->desk->suspended) {
        lane_set_state(d, lane, LANE_SUSPENDED);
        desk_await(d, owner->desk);
    } else if (!announcement || !announcement->message || may_have_more(d, owner, lane_id)) {
        lane_set_state(d, lane, LANE_LOADING);
    } else {
        lane_push(d, lane, announcement->message, announcement->link);
        announcement->message = NULL;
        lane_set_state(d, lane, LANE_READY);
    }
}

// Work for a lane that is in memory.
static void lane_add(struct dispatcher *d, struct lane *lane, struct announcement *announcement)
{
    if (lane->state == LANE_LOADING) // the page was asked for, or will be: it tells
        return;
    bool fits = announcement->message && !lane->more && lane->count && lane->count < d->options.window &&
                lane->state != LANE_SUSPENDED;
    if (fits) {
        lane_push(d, lane, announcement->message, announcement->link);
        announcement->message = NULL;
    } else {
        lane->more = true;
    }
}

static void announced(struct dispatcher *d, struct announcement *announcement)
{
    struct lane *lane = lane_find(d, announcement->lane);
    if (lane) {
        lane_add(d, lane, announcement);
        return;
    }
    struct lane_account *owner = lane_account_get(d, announcement->account_id);
    if (!owner)
        return;
    if (owner->account->active && !d->stopping)
        lane_begin(d, owner, announcement->lane, announcement);
    else
        lane_account_release(d, owner);
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

void dispatcher_work(struct dispatcher *d, int64_t account_id, int64_t lane_id)
{
    struct announcement *announcement = mem_new_of(struct announcement);
    announcement->account_id = account_id;
    announcement->lane = lane_id;
    dispatcher_announced(d, announcement);
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

static void stop_lanes(struct dispatcher *d, struct lane_account *owner)
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

// The account's desk is another one now: its lanes leave the old one's suspension and load anew.
static void move_to_desk(struct dispatcher *d, struct lane_account *owner)
{
    struct desk_state *from = owner->desk;
    struct lane *lane;
    DL_FOREACH2(owner->lanes, lane, all_next)
    {
        if (lane->state == LANE_READY)
            lane_set_state(d, lane, LANE_LOADING);
        if (from->probe_lane == lane) {
            from->probe_lane = NULL;
            due_set(d, &from->due, dispatcher_now_us(d)); // the others that wait there have lost theirs
        }
        lane->is_probe = false;
    }
    DL_DELETE2(from->accounts, owner, all_prev, all_next);
    owner->desk = desk_state_get(d, owner->account);
    DL_APPEND2(owner->desk->accounts, owner, all_prev, all_next);
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

// The same desk, reached by settings that may be others now (its rate, how it is probed).
static void desk_settings_changed(struct desk_state *desk, const struct account *account)
{
    account_unref(desk->account);
    desk->account = account_ref(account);
    desk->governor.rate_per_min = account->desk.rate_per_min;
}

static void activate(struct dispatcher *d, int64_t account_id)
{
    struct lane_account *owner = lane_account_get(d, account_id);
    if (!owner)
        return;
    if (owner->feeding) // it may have passed lanes that were stopped since
        owner->feed_again = true;
    else
        feed_account(d, owner);
}

void dispatcher_account_changed(struct dispatcher *d, const struct account *before, const struct account *now)
{
    struct lane_account *owner = lane_account_find(d, now->id);
    if (owner) {
        account_unref(owner->account);
        owner->account = account_ref(now);
        if (owner->desk->identity != desk_identity(&now->desk))
            move_to_desk(d, owner);
        else
            desk_settings_changed(owner->desk, now);
        if (!now->active) {
            stop_lanes(d, owner);
            lane_account_release(d, owner);
        }
    }
    if (now->active && before && !before->active)
        activate(d, now->id);
    dispatcher_pump(d);
}

void dispatcher_resume_desk(struct dispatcher *d, const struct account *account)
{
    struct desk_state *desk = desk_state_get(d, account);
    desk_resume(d, desk);
    desk_state_unref(d, desk);
    dispatcher_pump(d);
}

// ---- by hand ----

int dispatcher_reload(struct dispatcher *d, const struct message *message, bool discard)
{
    struct lane *lane = lane_find(d, message->lane);
    if (!lane || lane->state == LANE_SUSPENDED)
        return ERR_OK;
    if (lane->attempt) {
        if (lane_head(lane)->message->id == message->id) {
            lane->discard |= discard;
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
