// What a verdict makes of its message: the outcome that is stored, and what follows when it is durable.
#include "base/log.h"
#include "base/must.h"
#include "desk/desk.h"
#include "model/backoff.h"
#include "platform/platform.h"
#include "relay/courier.h"
#include "relay/note.h"
#include "relay/tell.h"

#include <stdlib.h>

enum { ERROR_TEXT = 500 }; // of the desk's words that are kept, bytes

static bool is_held(const struct store_outcome *outcome)
{
    return outcome->state == MESSAGE_PENDING && outcome->next_attempt_us == MESSAGE_HELD;
}

static int64_t retry_at_us(struct attempt *attempt, int attempts)
{
    struct dispatcher *d = attempt->dispatcher;
    int64_t pause_ms = backoff_pause(d->options.retry_base_ms, d->options.retry_cap_ms, attempts, &d->chance);
    if (attempt->verdict.unanswered && pause_ms < d->options.settle_ms)
        pause_ms = d->options.settle_ms;
    return dispatcher_now_us(d) + pause_ms * 1000;
}

// Notes hold nothing up, for what customers say is behind them; and what nobody can take waits for no person.
static bool may_hold(const struct attempt *attempt)
{
    return attempt->account->on_failure == ON_FAILURE_HOLD && attempt->steps.message->direction != NOTE &&
           attempt->desk_state->receiver != &receiver_nobody;
}

// A chat that refuses, or a note that there is no place for, says nothing of who takes messages.
static bool is_no_matter_of_the_guard(const struct attempt *attempt)
{
    bool unasked = attempt->steps.message->direction == NOTE && !attempt->requests;
    return attempt->verdict.of_chat || unasked;
}

// Skipped and reported, or held for a person, or kept by the guard against mass skips.
static void give_up(struct attempt *attempt, enum reason reason)
{
    struct store_outcome *outcome = &attempt->outcome;
    bool damaged = attempt->steps.message->reason == REASON_DAMAGED;
    outcome->reason = damaged ? REASON_DAMAGED : reason;
    if (may_hold(attempt)) {
        outcome->next_attempt_us = MESSAGE_HELD;
    } else if (damaged || is_no_matter_of_the_guard(attempt) || desk_lets_skip(attempt)) {
        outcome->state = MESSAGE_SKIPPED;
    } else {
        outcome->reason = REASON_NONE;
        outcome->attempts = attempt->steps.message->attempts;
    }
}

// A failure. What the guard keeps, or is looked for a last time, has been counted in full before.
static void count(struct attempt *attempt)
{
    if (attempt->outcome.attempts < attempt->dispatcher->options.max_attempts)
        attempt->outcome.attempts++;
}

static void judge_retry(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    const struct dispatcher *d = attempt->dispatcher;
    bool looks = attempt->desk_state->receiver->has_lookup;
    if (attempt->steps.look_only) {
        give_up(attempt, REASON_GAVE_UP);
        return;
    }
    count(attempt);
    if (outcome->attempts < d->options.max_attempts || (outcome->in_doubt && looks))
        outcome->next_attempt_us = retry_at_us(attempt, outcome->attempts);
    else
        give_up(attempt, REASON_GAVE_UP);
}

// Not counted: tried again at once, or when the platform says; what came without an answer settles first. A chat that is held back
// is left alone for as long as its platform says, an hour at most: to ask before would prolong that.
static void judge_uncounted(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    const struct verdict *verdict = &attempt->verdict;
    int64_t until_us = verdict->kind == VERDICT_WAIT ? verdict->until_us : 0;
    if (verdict->unanswered && until_us < outcome->at_us + attempt->steps.settle_us)
        until_us = outcome->at_us + attempt->steps.settle_us;
    int64_t latest_us = outcome->at_us + (verdict->limited ? LONGEST_LIMITED_US : attempt->dispatcher->longest_wait_us);
    outcome->next_attempt_us = until_us < latest_us ? until_us : latest_us;
}

// It may have arrived, nothing can tell, and the account's owner would rather be asked than have it sent twice.
static bool is_held_in_doubt(const struct attempt *attempt)
{
    return attempt->verdict.maybe_applied && attempt->account->in_doubt == IN_DOUBT_HOLD &&
           receiver_is_blind(attempt->desk_state->receiver);
}

static void judge_by_kind(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    const struct verdict *verdict = &attempt->verdict;
    enum verdict_kind kind = verdict->kind;
    if (kind != VERDICT_DELIVERED && attempt_must_stop(attempt))
        kind = VERDICT_WAIT;
    switch (kind) {
    case VERDICT_DELIVERED:
        outcome->state = MESSAGE_DELIVERED;
        outcome->attempts++;
        outcome->in_doubt = false;
        break;
    case VERDICT_REJECTED:
        count(attempt);
        give_up(attempt, REASON_REJECTED);
        break;
    case VERDICT_RETRY:
        judge_retry(attempt);
        break;
    case VERDICT_WAIT:
    case VERDICT_DESK_DOWN:
        judge_uncounted(attempt);
        break;
    }
}

static void judge(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    if (is_held_in_doubt(attempt))
        outcome->next_attempt_us = MESSAGE_HELD;
    else
        judge_by_kind(attempt);
    if (attempt->lane->discard == outcome->message_id && outcome->state != MESSAGE_DELIVERED) {
        outcome->state = MESSAGE_DISCARDED;
        outcome->reason = REASON_BY_HAND;
    }
    if (outcome->state == MESSAGE_PENDING && outcome->next_attempt_us && !is_held(outcome))
        lane_keep_wait(attempt->dispatcher, attempt->lane, outcome->message_id, outcome->next_attempt_us);
}

static void on_outcome(struct loop_task *task);

// It may have arrived before, and was sent all the same; without a key what was plainly not taken now is no second one.
static bool is_resent(const struct attempt *attempt)
{
    const struct receiver *receiver = attempt->desk_state->receiver;
    const struct verdict *verdict = &attempt->verdict;
    bool taken = receiver->has_key || verdict->kind == VERDICT_DELIVERED || verdict->maybe_applied;
    return attempt->steps.in_doubt && !receiver->has_lookup && attempt->wrote && taken;
}

static void tally_doubt(const struct attempt *attempt)
{
    struct tally *tally = attempt->dispatcher->options.tally;
    const struct verdict *verdict = &attempt->verdict;
    if (is_held(&attempt->outcome) && is_held_in_doubt(attempt))
        tally_in_doubt(tally, DOUBT_HELD);
    if (is_resent(attempt))
        tally_in_doubt(tally, DOUBT_RESENT);
    if (!attempt->steps.in_doubt || attempt->cut || !attempt->desk_state->receiver->has_lookup)
        return;
    if (verdict->kind == VERDICT_DELIVERED && !attempt->wrote)
        tally_in_doubt(tally, DOUBT_FOUND);
    else if (verdict->not_found || attempt->wrote)
        tally_in_doubt(tally, DOUBT_NOT_FOUND);
    else
        tally_in_doubt(tally, DOUBT_UNKNOWN);
}

// What the agent reads of a reply that did not simply arrive; success is silent. Of a damaged row nobody knows whose it is.
static void tell_agent(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    const struct message *message = attempt->steps.message;
    struct note note = {
        .reply = message, .attempts = outcome->attempts, .why = attempt->verdict.error, .in_doubt = outcome->in_doubt};
    bool resent = is_resent(attempt) && receiver_is_blind(attempt->desk_state->receiver);
    if (message->direction != REPLY || outcome->reason == REASON_DAMAGED)
        return;
    if (outcome->state == MESSAGE_SKIPPED)
        note.kind = outcome->reason == REASON_REJECTED ? NOTE_REFUSED : NOTE_GAVE_UP;
    else if (is_held(outcome))
        note.kind = is_held_in_doubt(attempt) ? NOTE_HELD_IN_DOUBT : NOTE_HELD;
    else if (outcome->state == MESSAGE_DELIVERED && resent)
        note.kind = NOTE_SENT_TWICE;
    else
        return;
    outcome->note = note_text(&note, &attempt->arena);
}

// A desk that shows pictures fetches them from here, so it must be told a public address. Only where the platform says who writes: in a
// chat with one customer.
static bool may_show_avatar(const struct attempt *attempt)
{
    const struct media_links *links = attempt->steps.links;
    const struct message *message = attempt->steps.message;
    if (attempt->verdict.kind != VERDICT_DELIVERED || message->direction != INBOUND || message->conversation_name.p ||
        !attempt->steps.profile.n || !links || !links->is_public)
        return false;
    const struct platform *platform = platform_find(attempt->steps.source->platform);
    const struct desk_connector *desk = desk_connector_find(attempt->account->desk.platform);
    return platform && platform->fetch_avatar && desk && desk->show_avatar;
}

void attempt_judged(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    const struct message *message = attempt->steps.message;
    const struct verdict *verdict = &attempt->verdict;
    struct lane *lane = attempt->lane;
    // A look-up said so before it was sent again, or the key says so; else the first copy may have arrived all the same.
    bool cleared = attempt->wrote && !receiver_is_blind(attempt->desk_state->receiver);
    bool doubt = message->in_doubt && !verdict->not_found && !cleared;
    attempt->outcome = (struct store_outcome){
        .message_id = message->id,
        .lane = lane->id,
        .attempts = message->attempts,
        .at_us = dispatcher_now_us(d),
        .in_doubt = verdict->maybe_applied || doubt,
        .last_error = str_sub(verdict->error, 0, ERROR_TEXT),
        .desk_ref = verdict->desk_ref,
        .conversation_id = message->conversation_id,
        .link = attempt->steps.link_changed ? &attempt->steps.link : NULL,
        .moved_to = attempt->steps.moved_to,
        .files_told = attempt->steps.files_told,
        .avatar_of = may_show_avatar(attempt) ? attempt->account->id : 0,
        .text_told = {.known = true, .bytes = message->text.n},
    };
    judge(attempt);
    if (!attempt->cut && (verdict->kind != VERDICT_DELIVERED || message->attempts))
        attempt->outcome.verdict = verdict_kind_name(verdict->kind);
    if (lane->keeps_slot)
        attempt->outcome.mark_next = lane->slots[(lane->head + 1) % d->options.window].message->id;
    tally_doubt(attempt);
    tell_agent(attempt);
    attempt->changes[0] = (struct store_change){.kind = STORE_OUTCOME, .outcome = &attempt->outcome};
    attempt->changes[1] = (struct store_change){.kind = STORE_DESK_HEALTH, .desk_health = &attempt->health};
    attempt->job = (struct job){
        .kind = JOB_CHANGES, .changes = attempt->changes, .change_count = attempt->tells_health ? 2 : 1};
    dispatcher_submit(d, &attempt->job, on_outcome);
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
    } else if (outcome->state == MESSAGE_DISCARDED) { // asked for while it was in flight
        tally_message(tally, TALLY_DISCARDED, platform, message->direction);
        log_info("message_discarded", LOG_N("message", message->id), LOG_S("account", attempt->account->name),
                 LOG_C("reason", reason_name(outcome->reason)));
    } else {
        tally_message(tally, TALLY_SKIPPED, platform, message->direction);
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
    if (!lane->count) {
        dispatcher_unmark(d, message_id);
        return;
    }
    // What is behind an attempt goes as a whole, and comes back as a page.
    must(lane_head(lane)->message->id == message_id);
    lane_head(lane)->message->in_flight = true;
}

// False: it is tried again.
static bool take_outcome(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    struct lane *lane = attempt->lane;
    struct lane_slot *head = lane_head(lane);
    struct store_outcome *outcome = &attempt->outcome;
    if (outcome->link) {
        free(head->conversation->link);
        head->conversation->link = link_copy(outcome->link);
        if (outcome->link->conversation.n && d->ports.linked)
            d->ports.linked(d->ports.arg, head->message->account_id);
    }
    if (outcome->applied && outcome->avatar_due && d->ports.avatar_due)
        d->ports.avatar_due(d->ports.arg);
    if (outcome->applied)
        tell_outcome(d->options.board, head->message, outcome);
    if (!outcome->applied || outcome->state != MESSAGE_PENDING) {
        if (outcome->applied)
            report_settled(attempt);
        lane->discard = 0;
        lane_pop(d, lane);
        if (outcome->mark_next && outcome->applied)
            take_mark(d, lane, outcome->mark_next);
        return true;
    }
    head->was_marked = false;
    head->message->attempts = outcome->attempts;
    head->message->next_attempt_us = outcome->next_attempt_us;
    head->message->in_doubt = outcome->in_doubt;
    head->message->in_flight = false;
    if (outcome->next_attempt_us == MESSAGE_HELD)
        log_error("message_held", LOG_N("message", head->message->id), LOG_S("account", attempt->account->name),
                  LOG_C("reason", reason_name(outcome->reason)), LOG_N("status", attempt->verdict.status));
    return false;
}

// Asked by hand while the failure was being stored.
static bool must_discard(const struct attempt *attempt)
{
    const struct store_outcome *outcome = &attempt->outcome;
    return attempt->lane->discard == outcome->message_id && !attempt->job.err && outcome->applied &&
           (outcome->state == MESSAGE_PENDING || outcome->state == MESSAGE_SKIPPED);
}

static void discard_now(struct attempt *attempt)
{
    struct store_outcome *outcome = &attempt->outcome;
    outcome->state = MESSAGE_DISCARDED;
    outcome->reason = REASON_BY_HAND;
    outcome->next_attempt_us = 0;
    outcome->verdict = NULL; // that one is stored, and so is the note
    outcome->note = STR_NONE;
    outcome->note_lane = 0;
    attempt->job = (struct job){.kind = JOB_CHANGES, .changes = attempt->changes, .change_count = 1};
    dispatcher_submit(attempt->dispatcher, &attempt->job, on_outcome);
}

// What the outcome put at the tail of an inbound lane: a note, or files that follow. In lane 0: nothing.
static void announce_behind(const struct attempt *attempt, enum direction direction, int64_t lane)
{
    struct dispatcher *d = attempt->dispatcher;
    if (!lane || attempt->job.err)
        return;
    tally_message(d->options.tally, TALLY_ACCEPTED, attempt->steps.source->platform, direction);
    dispatcher_work(d, attempt->steps.message->account_id, 0, lane);
}

static void on_outcome(struct loop_task *task)
{
    struct attempt *attempt = attempt_of(job_of(task));
    struct dispatcher *d = attempt->dispatcher;
    struct lane *lane = attempt->lane;
    d->busy--;
    announce_behind(attempt, NOTE, attempt->outcome.note_lane);
    announce_behind(attempt, INBOUND, attempt->outcome.follow_lane);
    if (must_discard(attempt)) {
        discard_now(attempt);
        return;
    }
    if (attempt->job.err) { // the process is about to end, and the mark stays on the disk
        d->stopping = true;
        lane_head(lane)->message->in_flight = false;
    } else {
        bool settled = take_outcome(attempt);
        // Those in memory have the address from before; or the head is tried again, and is another one in the store. (What
        // came behind it since is as it is there, and may be marked.)
        if (attempt->outcome.moved_to.p || (lane->is_stale && !settled))
            lane_truncate(d, lane, 0);
    }
    attempt_free(attempt);
    lane_go_on(d, lane);
    dispatcher_pump(d);
    dispatcher_check_stopped(d);
}
