// A desk's health: what an answer says of the desk as a whole, its suspension, its alarms. How it is probed: desk_probe.c.
//
//   well -an attempt says desk_down-> suspended, probed at once if the message may be the reason
//   suspended -pause over-> probe (one at a time; 1 s x2 to 30 s, not before what the desk asked for)
//   probe well -> all lanes go on, the governor begins small
// The pause is 1 s again only after a delivery. At a desk at which the guard against mass skips has closed
// (model/skip_guard.h) the probe is the head of a lane, for an answer to any other would prove nothing.
//
// All of it holds for the bots that take replies, too. Beside it a platform holds single chats back (429): several of them within a
// minute mean the bot, which is suspended until then.
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/backoff.h"
#include "relay/courier.h"
#include "relay/tell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { PAUSE_MS = 1000, PAUSE_CAP_MS = 30000 };

static const int64_t most_asked_us = INT64_C(3600) * 1000000; // of what a desk may ask for
static const int64_t limited_us = INT64_C(60) * 1000000;      // within which chats that are held back are several
static const int64_t lone_alarm_us = INT64_C(600) * 1000000;  // of one lane that cannot tell its message from its desk

void desk_answered(struct dispatcher *d, struct desk_state *desk, const struct http_response *response)
{
    int64_t remaining, reset_us;
    int64_t ahead_us = dispatcher_mono_us(d) - dispatcher_now_us(d);
    if (response->failure == HTTP_ANSWERED && desk->receiver->rate &&
        desk->receiver->rate(response, &remaining, &reset_us) && !__builtin_add_overflow(reset_us, ahead_us, &reset_us))
        governor_learn(&desk->governor, remaining, reset_us, dispatcher_mono_us(d));
}

void desk_show(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t until_us)
{
    if (until_us)
        until_us += dispatcher_now_us(d) - dispatcher_mono_us(d);
    board_desk_set(d->options.board, desk->identity,
                   &(struct board_desk){.suspended = desk->suspended, .reason = reason, .until_us = until_us});
}

// ---- pauses ----

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t desk_next_try_us(struct dispatcher *d, struct desk_state *desk, int64_t since_us)
{
    int64_t pause_ms = backoff_pause(PAUSE_MS, PAUSE_CAP_MS, desk->failures, &d->chance);
    int64_t at_us = later(since_us + pause_ms * 1000, dispatcher_mono_us(d));
    return later(at_us, desk->not_before_us);
}

// No account uses it any more, though requests of theirs may be in flight.
static bool is_left(struct dispatcher *d, const struct desk_state *desk)
{
    if (desk->owners)
        return false;
    if (!desk->source)
        return !directory_desk_users(d->options.directory, desk->identity);
    const struct account *account = directory_find_id(d->options.directory, desk->account->id);
    bool used = account && desk_identity_of(account, desk->source->id) == desk->identity;
    account_unref(account);
    return !used;
}

void desk_pause(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t since_us)
{
    desk->failures++;
    int64_t at_us = desk_next_try_us(d, desk, since_us);
    if (desk->guard.closed && !is_left(d, desk)) {
        at_us = later(dispatcher_mono_us(d) + skip_guard_pause_us(&desk->guard), desk->not_before_us);
        reason = STR("guard");
    }
    due_set(d, &desk->due, at_us);
    desk_show(d, desk, reason, at_us);
}

void desk_await(struct dispatcher *d, struct desk_state *desk)
{
    if (desk->due.item.index || desk_is_being_probed(desk))
        return;
    if (desk->guard.closed)
        desk_pause(d, desk, STR("guard"), dispatcher_mono_us(d));
    else
        due_set(d, &desk->due, later(dispatcher_mono_us(d), desk->not_before_us));
}

void desk_hold_until(struct dispatcher *d, struct desk_state *desk, int64_t until_wall_us)
{
    int64_t pause_us = until_wall_us - dispatcher_now_us(d);
    int64_t until_us = dispatcher_mono_us(d) + (pause_us < most_asked_us ? pause_us : most_asked_us);
    if (!until_wall_us || until_us <= desk->not_before_us)
        return;
    desk->not_before_us = until_us;
    if (!desk->suspended || !desk->due.item.index || desk->due.item.at >= until_us)
        return;
    due_set(d, &desk->due, until_us); // it was to be probed before
    desk_show(d, desk, STR("asked to wait"), until_us);
}

// ---- alarms ----

char *desk_name(const struct desk_state *desk)
{
    struct arena arena = {0};
    struct str account = desk->account->name;
    struct str name = desk->source ? ARENA_JOIN(&arena, account, STR("/"), desk->source->name) : account;
    char *copy = mem_dup(name.p, name.n);
    arena_done(&arena);
    return copy;
}

// All alarms of one suspension stand under one account's name, whichever account's settings reach the desk by then.
void desk_begin_alarm(struct dispatcher *d, struct desk_state *desk, const char *name, struct str text)
{
    if (!desk->alarmed_for)
        desk->alarmed_for = desk_name(desk);
    board_alarm(d->options.board, name, str_of(desk->alarmed_for), text);
}

void desk_refuses(struct dispatcher *d, struct desk_state *desk, int status)
{
    char text[160];
    if (desk->alarmed || !desk->suspended)
        return;
    desk->alarmed = true;
    if (desk->source) {
        snprintf(text, sizeof text, "the platform answers %d: check the bot's token; all replies through it wait",
                 status);
        desk_begin_alarm(d, desk, "bot_refuses", str_of(text));
        return;
    }
    snprintf(text, sizeof text, "the desk answers %d: check its address, token and plan; all messages wait", status);
    desk_begin_alarm(d, desk, "desk_refuses", str_of(text));
}

// It cannot be tried: a person or another lane must act first.
static bool is_out_of_play(const struct lane *lane)
{
    return lane->state == LANE_BEHIND || lane->probe_after_us == INT64_MAX;
}

// The only lane that waits for the desk, or NULL.
static struct lane *lone_lane(const struct desk_state *desk)
{
    struct lane_owner *owner;
    struct lane *lane, *found = NULL;
    DL_FOREACH2(desk->owners, owner, all_next)
    {
        DL_FOREACH2(owner->lanes, lane, all_next)
        {
            if (is_out_of_play(lane))
                continue;
            if (found)
                return NULL;
            found = lane;
        }
    }
    return found;
}

// Where nothing else can be tried nobody can tell the message from the desk, but a person.
static void alarm_if_alone(struct dispatcher *d, struct desk_state *desk, int64_t message_id)
{
    char text[200];
    if (desk->guard.closed || !lone_lane(desk) || dispatcher_mono_us(d) - desk->suspended_us < lone_alarm_us)
        return;
    snprintf(text, sizeof text,
             "nothing was taken for ten minutes and only one lane waits, so the desk cannot be told from message %lld: "
             "look at what it says, then retry or discard it",
             (long long)message_id);
    desk_begin_alarm(d, desk, "desk_unproven", str_of(text));
}

static void end_alarms(struct dispatcher *d, struct desk_state *desk)
{
    static const char *const names[] = {"desk_refuses", "bot_refuses", "skip_guard", "desk_unproven"};
    if (!desk->alarmed_for)
        return;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        board_alarm_end(d->options.board, names[i], str_of(desk->alarmed_for));
    free(desk->alarmed_for);
    desk->alarmed_for = NULL;
    desk->alarmed = false;
}

// ---- suspension ----

// It goes on by itself as it is: its attempt ends first, or messages of another lane are settled first.
static bool has_other_cares(const struct lane *lane)
{
    return lane->attempt != NULL || lane->state == LANE_BEHIND;
}

static void suspend_lanes(struct dispatcher *d, struct desk_state *desk)
{
    struct lane_owner *owner;
    DL_FOREACH2(desk->owners, owner, all_next)
    {
        struct lane *lane, *next;
        for (lane = owner->lanes; lane; lane = next) {
            next = lane->all_next;
            if (!has_other_cares(lane) && lane->state != LANE_SUSPENDED)
                lane_set_state(d, lane, LANE_SUSPENDED);
        }
    }
}

static struct str source_name(const struct desk_state *desk)
{
    return desk->source ? desk->source->name : STR("");
}

void desk_suspend(struct dispatcher *d, struct desk_state *desk, struct str reason, int64_t not_before_us)
{
    desk_hold_until(d, desk, not_before_us);
    if (desk->suspended)
        return;
    desk->suspended = true;
    desk->suspended_us = dispatcher_mono_us(d);
    log_warn("desk_suspended", LOG_S("account", desk->account->name), LOG_S("source", source_name(desk)),
             LOG_C("desk", desk->receiver->name), LOG_S("reason", reason));
    desk_delist(d, desk);
    suspend_lanes(d, desk);
    desk_pause(d, desk, reason, dispatcher_mono_us(d));
    tell_desk(d->options.board, desk, reason, desk->due.item.at + dispatcher_now_us(d) - dispatcher_mono_us(d));
}

// Neither suspended nor probed any more; its lanes are the caller's.
static void end_suspension(struct dispatcher *d, struct desk_state *desk)
{
    if (desk->probe_lane)
        desk->probe_lane->is_probe = false;
    desk->probe_lane = NULL;
    desk_release_parked(d, desk, false);
    desk->suspended = desk->unprobed = false;
    desk->not_before_us = 0;
    due_clear(d, &desk->due);
    desk_show(d, desk, STR(""), 0);
    tell_desk(d->options.board, desk, STR_NONE, 0);
    end_alarms(d, desk);
}

void desk_resume(struct dispatcher *d, struct desk_state *desk)
{
    if (!desk->suspended)
        return;
    end_suspension(d, desk);
    governor_restart(&desk->governor);
    log_info("desk_resumed", LOG_S("account", desk->account->name), LOG_S("source", source_name(desk)),
             LOG_C("desk", desk->receiver->name));
    struct lane_owner *owner;
    DL_FOREACH2(desk->owners, owner, all_next)
    {
        struct lane *lane;
        DL_FOREACH2(owner->lanes, lane, all_next)
        {
            if (lane->state == LANE_SUSPENDED)
                lane_set_state(d, lane, LANE_LOADING);
        }
    }
    desk_enlist(d, desk);
}

void desk_found_well(struct dispatcher *d, struct desk_state *desk)
{
    if (desk->suspended && desk->not_before_us > dispatcher_mono_us(d)) { // well, but it asked to be left alone
        due_set(d, &desk->due, desk->not_before_us);
        desk_show(d, desk, STR("asked to wait"), desk->not_before_us);
    } else {
        desk_resume(d, desk);
    }
}

void desk_left(struct dispatcher *d, struct desk_state *desk)
{
    if (!desk->suspended || !is_left(d, desk))
        return;
    if (desk->refs > 1) { // beside the caller's: requests of theirs are in flight
        due_set(d, &desk->due, dispatcher_mono_us(d) + PAUSE_MS * 1000);
        return;
    }
    end_suspension(d, desk);
    desk_put_by(d, desk);
}

void desk_pause_over(struct dispatcher *d, struct due *due)
{
    struct desk_state *desk = (struct desk_state *)due;
    desk->refs++;
    if (!desk->suspended)
        desk_enlist(d, desk);
    else if (desk->owners)
        desk_probe_now(d, desk);
    else if (!desk->guard.closed) // nothing waits for it: whoever comes next finds out
        desk_resume(d, desk);
    else
        desk_left(d, desk);
    desk_state_unref(d, desk);
}

// ---- verdicts ----

// A 503 that says how long to wait is the desk's own word, and taken for it so many times in a row for one head as a message has
// attempts. One that is still answered so may be a message at which the desk fails: its lane would never go on.
static bool is_asked_too_often(const struct attempt *attempt)
{
    const struct lane *lane = attempt->lane;
    return lane->asked_id == attempt->steps.message->id &&
           lane->asked_times > attempt->dispatcher->options.max_attempts;
}

static void note_asked(struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    const struct verdict *verdict = &attempt->verdict;
    int64_t id = attempt->steps.message->id;
    bool asked = verdict->kind == VERDICT_DESK_DOWN && verdict->status == 503 && verdict->until_us;
    if (!asked || lane->asked_id != id)
        lane->asked_times = 0;
    lane->asked_id = asked ? id : 0;
    lane->asked_times += asked;
}

// What can as well be the message's own doing: a request that came to nothing at a desk that may be well.
static bool may_be_the_message(const struct attempt *attempt)
{
    const struct verdict *verdict = &attempt->verdict;
    bool no_answer = !verdict->status && attempt->last_failure != HTTP_NOT_CONNECTED &&
                     attempt->last_failure != HTTP_TLS;
    bool bad_gateway = verdict->status == 408 || (verdict->status >= 502 && verdict->status <= 504);
    return (no_answer || bad_gateway) && (!verdict->until_us || is_asked_too_often(attempt));
}

struct str desk_reason(const struct verdict *verdict, struct arena *arena)
{
    if (verdict->status) // not the desk's own words: they could repeat the message
        return arena_printf(arena, "answered %d", verdict->status);
    return verdict->error.p ? verdict->error : STR("no answer");
}

static void judge_down(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    desk_suspend(d, desk, desk_reason(&attempt->verdict, &attempt->arena), attempt->verdict.until_us);
    if (attempt->verdict.alarm)
        desk_refuses(d, desk, attempt->verdict.status);
}

// The head that was sent as a probe tells of the desk: anything but "down" says that it is well; at a closed guard only
// a delivery does.
static void judge_probe_lane(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    enum verdict_kind kind = attempt->verdict.kind;
    bool well = kind == VERDICT_DELIVERED || (kind != VERDICT_DESK_DOWN && !desk->guard.closed);
    attempt->lane->is_probe = false;
    desk->probe_lane = NULL;
    desk_release_parked(d, desk, well);
    if (kind == VERDICT_DESK_DOWN)
        judge_down(attempt);
    if (well) {
        desk_found_well(d, desk);
    } else if (desk->suspended) {
        desk_pause(d, desk, desk_reason(&attempt->verdict, &attempt->arena), desk->probe_lane_us);
        alarm_if_alone(d, desk, attempt->steps.message->id);
    }
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
    if (!desk->suspended || attempt->lane->is_probe)
        desk->failures = 0;
}

// Nothing told yet whether it was the desk or the message: it is parked until a probe does.
static bool is_parked(struct attempt *attempt, bool first)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    if (!may_be_the_message(attempt) || desk->guard.closed || !(first || desk_is_being_probed(desk)))
        return false;
    if (!desk_is_being_probed(desk)) {
        int64_t due_us = desk->due.item.at;
        due_clear(d, &desk->due);
        desk_probe_now(d, desk);
        if (!desk_is_being_probed(desk)) { // the daemon stops, or no other lane waits
            due_set(d, &desk->due, due_us);
            return false;
        }
    }
    desk_park(d, attempt);
    return true;
}

// The lane is noted as the latest. How many were asked to wait within a minute.
static int note_limited(struct desk_state *desk, int64_t lane_id, int64_t now_us)
{
    struct limited_lane *limited = desk->limited;
    size_t at = 0;
    int count = 0;
    while (at < LIMITED_MOST - 1 && limited[at].lane != lane_id)
        at++;
    memmove(limited + 1, limited, at * sizeof *limited);
    limited[0] = (struct limited_lane){lane_id, now_us};
    for (size_t i = 0; i < LIMITED_MOST; i++)
        count += limited[i].lane && limited[i].at_us > now_us - limited_us;
    return count;
}

static void judge_limited(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct desk_state *desk = attempt->desk_state;
    if (note_limited(desk, attempt->lane->id, dispatcher_mono_us(d)) < LIMITED_MOST)
        return;
    memset(desk->limited, 0, sizeof desk->limited);
    desk_suspend(d, desk, STR("answered 429 in several chats"), attempt->verdict.until_us);
}

static bool judge_outage(struct attempt *attempt)
{
    bool first = !attempt->desk_state->suspended;
    judge_down(attempt);
    return !is_parked(attempt, first);
}

// There was nothing to do (what is taken back was never there): that says nothing of the desk.
static bool asked_nothing(const struct attempt *attempt)
{
    return !attempt->requests && attempt->verdict.kind == VERDICT_DELIVERED;
}

bool desk_judges(struct attempt *attempt)
{
    if (asked_nothing(attempt)) {
        if (attempt->lane->is_probe)
            desk_probe_lost(attempt->dispatcher, attempt->desk_state);
        return true;
    }
    note_asked(attempt);
    if (attempt->verdict.kind == VERDICT_DELIVERED)
        judge_delivered(attempt);
    if (attempt->lane->is_probe && !attempt->requests) // nobody was asked
        desk_probe_lost(attempt->dispatcher, attempt->desk_state);
    if (attempt->lane->is_probe)
        judge_probe_lane(attempt);
    else if (attempt->verdict.kind == VERDICT_DESK_DOWN)
        return judge_outage(attempt);
    if (attempt->verdict.kind == VERDICT_WAIT && attempt->verdict.limited)
        judge_limited(attempt);
    return true;
}
