// A desk's health: what an answer says of the desk as a whole, its suspension, the probes that end it.
//
//   well -an attempt says desk_down-> suspended, probed at once: well = it was the message (counted), else an outage
//   suspended -pause over-> probe (one at a time; 1 s x2 to 30 s, not before what the desk asked for)
//   probe well -> all lanes go on, the governor begins small
// A desk without a probe is tried with the head of one lane, a different one each time. So is one at which the guard
// against mass skips has closed (model/skip_guard.h): there an answer to the probe would prove nothing.
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/backoff.h"
#include "relay/courier.h"
#include "relay/tell.h"

#include <stdlib.h>
#include <utlist.h>

enum { PROBE_TIMEOUT_MS = 5000, PAUSE_MS = 1000, PAUSE_CAP_MS = 30000 };

void desk_answered(struct dispatcher *d, struct desk_state *desk, const struct http_response *response)
{
    int64_t remaining, reset_us;
    if (response->failure == HTTP_ANSWERED && desk->connector->rate &&
        desk->connector->rate(response, &remaining, &reset_us))
        governor_learn(&desk->governor, remaining, reset_us, dispatcher_now_us(d));
}

void desk_show(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t until_us)
{
    board_desk_set(d->options.board, desk->identity,
                   &(struct board_desk){.suspended = desk->suspended, .reason = reason, .until_us = until_us});
}

static bool may_be_probed(const struct desk_state *desk)
{
    return desk->connector->probe && desk->account->desk.probe != DESK_PROBE_NONE;
}

static int64_t next_try_us(struct dispatcher *d, struct desk_state *desk)
{
    int64_t pause_ms = backoff_pause(PAUSE_MS, PAUSE_CAP_MS, desk->failures, &d->chance);
    int64_t at = dispatcher_now_us(d) + pause_ms * 1000;
    return at > desk->not_before_us ? at : desk->not_before_us;
}

// Gives when it is tried again.
static int64_t pause_desk(struct dispatcher *d, struct desk_state *desk, struct str reason)
{
    desk->failures++;
    int64_t at = next_try_us(d, desk);
    if (desk->guard.closed) {
        int64_t guarded = dispatcher_now_us(d) + skip_guard_pause_us(&desk->guard);
        at = guarded > desk->not_before_us ? guarded : desk->not_before_us;
        reason = STR("guard");
    }
    due_set(d, &desk->due, at);
    desk_show(d, desk, reason, at);
    return at;
}

void desk_await(struct dispatcher *d, struct desk_state *desk)
{
    if (desk->due.item.index || desk->probing || desk->probe_lane)
        return;
    if (desk->guard.closed)
        pause_desk(d, desk, STR("guard"));
    else
        due_set(d, &desk->due, dispatcher_now_us(d));
}

// All alarms of one suspension stand under one account's name, whichever account's settings reach the desk by then.
void desk_begin_alarm(struct dispatcher *d, struct desk_state *desk, const char *name, struct str text)
{
    if (!desk->alarmed_for)
        desk->alarmed_for = account_ref(desk->account);
    board_alarm(d->options.board, name, desk->alarmed_for->name, text);
}

static void end_alarms(struct dispatcher *d, struct desk_state *desk)
{
    if (!desk->alarmed_for)
        return;
    board_alarm_end(d->options.board, "desk_refuses", desk->alarmed_for->name);
    board_alarm_end(d->options.board, "skip_guard", desk->alarmed_for->name);
    account_unref(desk->alarmed_for);
    desk->alarmed_for = NULL;
    desk->alarmed = false;
}

// It goes on by itself as it is: its attempt ends first, or messages of another lane are settled first.
static bool has_other_cares(const struct lane *lane)
{
    return lane->attempt != NULL || lane->state == LANE_BEHIND;
}

static void suspend_lanes(struct dispatcher *d, struct desk_state *desk)
{
    struct lane_account *owner;
    DL_FOREACH2(desk->accounts, owner, all_next)
    {
        struct lane *lane, *next;
        for (lane = owner->lanes; lane; lane = next) {
            next = lane->all_next;
            if (!has_other_cares(lane) && lane->state != LANE_SUSPENDED)
                lane_set_state(d, lane, LANE_SUSPENDED);
        }
    }
}

void desk_suspend(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t not_before_us)
{
    if (not_before_us > desk->not_before_us)
        desk->not_before_us = not_before_us;
    if (desk->suspended)
        return;
    desk->suspended = true;
    log_warn("desk_suspended", LOG_S("account", desk->account->name), LOG_S("desk", desk->account->desk.platform),
             LOG_S("reason", reason));
    desk_delist(d, desk);
    suspend_lanes(d, desk);
    tell_desk(d->options.board, desk->account, true, reason, pause_desk(d, desk, reason));
}

static void release_parked(struct dispatcher *d, struct desk_state *desk, bool well)
{
    while (desk->parked) {
        struct attempt *attempt = desk->parked;
        DL_DELETE(desk->parked, attempt);
        if (well) // the desk is well: it was the message, and it counts
            attempt->verdict.kind = VERDICT_RETRY;
        attempt_judged(attempt);
    }
    dispatcher_pump(d);
}

void desk_resume(struct dispatcher *d, struct desk_state *desk)
{
    if (!desk->suspended)
        return;
    desk->suspended = false;
    desk->not_before_us = 0;
    desk->probe_lane = NULL;
    due_clear(d, &desk->due);
    governor_restart(&desk->governor);
    desk_show(d, desk, STR(""), 0);
    end_alarms(d, desk);
    log_info("desk_resumed", LOG_S("account", desk->account->name), LOG_S("desk", desk->account->desk.platform));
    tell_desk(d->options.board, desk->account, false, STR_NONE, 0);
    struct lane_account *owner;
    DL_FOREACH2(desk->accounts, owner, all_next)
    {
        struct lane *lane;
        DL_FOREACH2(owner->lanes, lane, all_next)
        {
            lane->is_probe = false;
            if (lane->state == LANE_SUSPENDED)
                lane_set_state(d, lane, LANE_LOADING);
        }
    }
    desk_enlist(d, desk);
}

static void on_probe(void *arg, const struct http_response *response)
{
    struct desk_state *desk = arg;
    struct dispatcher *d = desk->dispatcher;
    bool well = false;
    desk->probing = false;
    desk->probe_call = NULL;
    if (response->failure != HTTP_CANCELLED) {
        struct verdict verdict = desk->connector->probe_verdict(response, dispatcher_now_us(d), &desk->probe_arena);
        well = verdict.kind == VERDICT_DELIVERED;
        desk_answered(d, desk, response);
        if (verdict.until_us > desk->not_before_us)
            desk->not_before_us = verdict.until_us;
        if (well && !desk->guard.closed)
            desk_resume(d, desk);
        else if (desk->suspended)
            pause_desk(d, desk, verdict.error);
    }
    arena_done(&desk->probe_arena);
    d->busy--;
    release_parked(d, desk, well);
    desk_state_unref(d, desk);
    dispatcher_check_stopped(d);
}

// The head of a lane that waits is sent as the probe; the accounts take turns.
static void probe_with_a_lane(struct dispatcher *d, struct desk_state *desk)
{
    struct lane_account *owner = desk->accounts;
    for (struct lane_account *end = NULL; owner && owner != end; owner = desk->accounts) {
        end = end ? end : owner;
        DL_DELETE2(desk->accounts, owner, all_prev, all_next);
        DL_APPEND2(desk->accounts, owner, all_prev, all_next);
        struct lane *lane = owner->lanes;
        while (lane && lane->state != LANE_SUSPENDED)
            lane = lane->all_next;
        if (!lane)
            continue;
        DL_DELETE2(owner->lanes, lane, all_prev, all_next);
        DL_APPEND2(owner->lanes, lane, all_prev, all_next);
        lane->is_probe = true;
        desk->probe_lane = lane;
        lane_set_state(d, lane, LANE_LOADING);
        dispatcher_pump(d);
        return;
    }
    due_set(d, &desk->due, next_try_us(d, desk)); // all its lanes are in flight
}

void desk_probe_lane_failed(struct dispatcher *d, struct lane *lane)
{
    struct desk_state *desk = lane->owner->desk;
    lane->is_probe = false;
    desk->probe_lane = NULL;
    due_set(d, &desk->due, dispatcher_now_us(d) + PAUSE_MS * 1000);
}

static void probe_now(struct dispatcher *d, struct desk_state *desk)
{
    struct http_request request = {0};
    if (desk->probing || desk->probe_lane || d->stopping)
        return;
    if (desk->guard.closed || !may_be_probed(desk) ||
        !desk->connector->probe(&desk->account->desk, &desk->probe_arena, &request)) {
        probe_with_a_lane(d, desk);
        return;
    }
    desk->probing = true;
    desk->refs++;
    d->busy++;
    desk->probe_call = d->ports.send(d->ports.arg, &request, PROBE_TIMEOUT_MS, on_probe, desk);
}

void desk_pause_over(struct dispatcher *d, struct due *due)
{
    struct desk_state *desk = (struct desk_state *)due;
    if (!desk->suspended)
        desk_enlist(d, desk);
    else if (desk->accounts)
        probe_now(d, desk);
    else if (!desk->guard.closed) // nothing waits for it: whoever comes next finds out
        desk_resume(d, desk);
    if (!desk->refs) {
        desk->refs++;
        desk_state_unref(d, desk);
    }
}

// What can as well be the message's own doing: a request that came to nothing at a desk that may be well.
static bool may_be_the_message(const struct attempt *attempt)
{
    const struct verdict *verdict = &attempt->verdict;
    bool no_answer = !verdict->status && attempt->last_failure != HTTP_NOT_CONNECTED &&
                     attempt->last_failure != HTTP_TLS;
    bool bad_gateway = verdict->status == 408 || (verdict->status >= 502 && verdict->status <= 504);
    return (no_answer || bad_gateway) && !verdict->until_us;
}

static struct str reason_of(struct attempt *attempt)
{
    const struct verdict *verdict = &attempt->verdict;
    if (verdict->status) // not the desk's own words: they could repeat the message
        return arena_printf(&attempt->arena, "answered %d", verdict->status);
    return verdict->error.p ? verdict->error : STR("no answer");
}

static void judge_down(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    desk_suspend(d, desk, reason_of(attempt), attempt->verdict.until_us);
    if (attempt->verdict.alarm && !desk->alarmed) {
        desk->alarmed = true;
        desk_begin_alarm(d, desk, "desk_refuses",
                         arena_printf(&attempt->arena,
                                      "the desk answers %d: check its address, token and plan; all messages wait",
                                      attempt->verdict.status));
    }
}

// The head that was sent as a probe tells of the desk: anything but "down" says that it is well; at a closed guard only
// a delivery does.
static void judge_probe_lane(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    enum verdict_kind kind = attempt->verdict.kind;
    attempt->lane->is_probe = false;
    desk->probe_lane = NULL;
    if (kind == VERDICT_DELIVERED || (kind != VERDICT_DESK_DOWN && !desk->guard.closed))
        desk_resume(d, desk);
    else if (desk->suspended)
        pause_desk(d, desk, reason_of(attempt));
}

static void judge_delivered(struct attempt *attempt)
{
    struct desk_state *desk = attempt->desk_state;
    bool was_closed = desk->guard.closed;
    if (skip_guard_open(&desk->guard)) {
        attempt->tells_health = true;
        attempt->health = desk_health_of(desk);
    }
    if (was_closed)
        desk_resume(attempt->dispatcher, desk);
    if (!desk->suspended)
        desk->failures = 0;
}

bool desk_judges(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    if (attempt->verdict.kind == VERDICT_DELIVERED)
        judge_delivered(attempt);
    if (attempt->lane->is_probe) {
        judge_probe_lane(attempt);
        return true;
    }
    if (attempt->verdict.kind != VERDICT_DESK_DOWN)
        return true;
    bool first = !desk->suspended;
    judge_down(attempt);
    if (!may_be_the_message(attempt) || !may_be_probed(desk) || !(first || desk->probing))
        return true;
    if (!desk->probing) {
        due_clear(d, &desk->due);
        probe_now(d, desk);
    }
    if (!desk->probing) // none is sent any more: the daemon stops
        return true;
    DL_APPEND(desk->parked, attempt);
    return false;
}
