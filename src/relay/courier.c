#include "relay/courier.h"

#include "base/mem.h"
#include "base/must.h"
#include "platform/platform.h"

#include <stdlib.h>

enum {
    MOST_REQUESTS = 40, // of one attempt: a desk that leads in circles is a failure
};

static const struct source *source_of(const struct account *account, const struct message *message)
{
    const struct source *source = account_find_any_source_id(account, message->source_id);
    static const struct source gone = {.name = {"", 0}, .platform = {"", 0}, .account = {"", 0}};
    return source ? source : &gone;
}

// "telegram:<bot id>:<chat id>"; where a platform has no bots, the account and source tell them apart.
static struct str customer_of(struct attempt *attempt, const struct source *source, struct str conversation)
{
    struct arena *arena = &attempt->arena;
    const struct platform *platform = platform_find(source->platform);
    struct str who = STR_NONE;
    if (platform && platform->identity)
        who = platform->identity(source, arena);
    if (!who.p)
        who = ARENA_JOIN(arena, source->platform, STR(":"), attempt->account->name, STR("/"), source->name);
    struct str chat = platform && platform->customer ? platform->customer(conversation) : conversation;
    return ARENA_JOIN(arena, who, STR(":"), chat);
}

// Marked by a process that is gone: whether it was sent cannot be found out, and shall not be done again unasked. (What changes or
// takes back an earlier one may be done twice.)
static bool must_ask_person(const struct attempt *attempt, const struct lane_slot *slot)
{
    return slot->was_marked && slot->message->act == REPLY_SAYS && attempt->account->in_doubt == IN_DOUBT_HOLD &&
           receiver_is_blind(attempt->desk_state->receiver);
}

static struct link link_in(struct arena *arena, const struct link *link)
{
    return (struct link){
        .contact = arena_str(arena, link->contact),
        .conversation = arena_str(arena, link->conversation),
        .last_part = arena_str(arena, link->last_part),
        .note = arena_str(arena, link->note),
    };
}

struct attempt *attempt_new(struct dispatcher *d, struct lane *lane)
{
    struct attempt *attempt = mem_new_of(struct attempt);
    struct lane_slot *slot = lane_head(lane);
    const struct account *account = lane->owner->account;
    const struct source *source = source_of(account, slot->message);
    attempt->dispatcher = d;
    attempt->lane = lane;
    attempt->desk_state = lane->owner->desk;
    attempt->desk_state->refs++;
    attempt->account = account_ref(account);
    attempt->steps = (struct delivery){
        .account = account,
        .source = source,
        .desk = &account->desk,
        .message = slot->message,
        .customer = customer_of(attempt, source, slot->message->conversation),
        .store_id = d->options.store_id,
        .in_doubt = slot->message->in_doubt,
        .look_only = slot->message->in_doubt && slot->message->attempts >= d->options.max_attempts &&
                     attempt->desk_state->receiver->has_lookup,
        .settle_us = d->options.settle_ms * 1000,
        .arena = &attempt->arena,
        .links = d->options.links,
        .profile = arena_str(&attempt->arena, str_of(slot->conversation->profile)),
        .link = link_in(&attempt->arena, slot->conversation->link),
    };
    attempt->asks_person = must_ask_person(attempt, slot);
    lane->attempt = attempt;
    attempt->began_us = clock_mono_us(d->options.clock);
    if (lane_id_kind(lane->id) == LANE_ACCOUNT)
        busy_began(board_busy(d->options.board), lane->owner->key.account_id, attempt->began_us);
    return attempt;
}

void attempt_free(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    must(!attempt->call && !attempt->holds_slot);
    attempt->lane->attempt = NULL;
    if (lane_id_kind(attempt->lane->id) == LANE_ACCOUNT)
        busy_ended(board_busy(d->options.board), attempt->lane->owner->key.account_id, clock_mono_us(d->options.clock));
    desk_state_unref(d, attempt->desk_state);
    account_unref(attempt->account);
    arena_done(&attempt->arena);
    free(attempt);
}

static void end(struct attempt *attempt, struct verdict verdict)
{
    attempt->verdict = verdict;
    attempt_ended(attempt);
}

// Deactivation and a stop of the daemon let the request in flight end and start no other.
bool attempt_must_stop(const struct attempt *attempt)
{
    return attempt->dispatcher->stopping || !attempt->lane->owner->account->active;
}

static void on_answer(void *arg, const struct http_response *response);

static void take_step(struct attempt *attempt, const struct http_response *response)
{
    struct dispatcher *d = attempt->dispatcher;
    struct delivery_step step = {0};
    attempt->steps.now_us = dispatcher_now_us(d);
    attempt->desk_state->receiver->step(&attempt->steps, response, &step);
    if (step.kind == DELIVERY_END) {
        end(attempt, step.verdict);
    } else if (attempt_must_stop(attempt)) {
        attempt->cut = true;
        end(attempt, (struct verdict){.kind = VERDICT_WAIT});
    } else if (attempt->requests++ >= MOST_REQUESTS) {
        end(attempt, (struct verdict){.kind = VERDICT_RETRY,
                                      .error = STR("the desk's answers lead in circles: given up after 40 requests")});
    } else {
        attempt->sent_us = clock_mono_us(d->options.clock);
        attempt->last_writes = step.writes;
        attempt->wrote |= step.writes;
        if (step.writes)
            pace_take(d, attempt->lane);
        attempt->call = d->ports.send(d->ports.arg, &step.request, d->options.timeout_ms, on_answer, attempt);
    }
}

static void on_answer(void *arg, const struct http_response *response)
{
    struct attempt *attempt = arg;
    attempt->call = NULL;
    attempt->last_failure = response->failure;
    attempt->took_us += clock_mono_us(attempt->dispatcher->options.clock) - attempt->sent_us;
    if (response->failure == HTTP_CANCELLED) { // the daemon's stop took too long to wait for it
        attempt->cut = true;
        bool maybe = attempt->last_writes && response->written;
        end(attempt, (struct verdict){.kind = VERDICT_WAIT, .maybe_applied = maybe, .unanswered = maybe});
        return;
    }
    desk_answered(attempt->dispatcher, attempt->desk_state, response);
    take_step(attempt, response);
}

static void on_refs(struct loop_task *task)
{
    struct job *job = job_of(task);
    struct attempt *attempt = attempt_of(job);
    attempt->dispatcher->busy--;
    if (job->err || attempt_must_stop(attempt)) {
        attempt->cut = true;
        end(attempt, (struct verdict){.kind = VERDICT_WAIT});
        return;
    }
    attempt->steps.known_refs = job->refs.refs;
    attempt->steps.known_ref_count = job->refs.count;
    take_step(attempt, NULL);
}

// Found at its turn, if not before. It is sent nowhere, so it tells nothing of the desk.
static void tell_damaged(struct attempt *attempt)
{
    struct str text = arena_printf(&attempt->arena,
                                   "the row of message %lld is not what was stored: it is set aside; tributary verify "
                                   "looks at all",
                                   (long long)attempt->steps.message->id);
    board_alarm(attempt->dispatcher->options.board, "store_damaged", STR(""), text);
    if (attempt->lane->is_probe)
        desk_probe_lost(attempt->dispatcher, attempt->desk_state);
}

void attempt_begin(struct attempt *attempt)
{
    struct dispatcher *d = attempt->dispatcher;
    if (attempt->steps.message->reason == REASON_DAMAGED) {
        tell_damaged(attempt);
        end(attempt, (struct verdict){.kind = VERDICT_REJECTED, .error = STR("its stored row is damaged")});
        return;
    }
    if (attempt->asks_person) {
        attempt->cut = true;
        end(attempt, (struct verdict){.kind = VERDICT_WAIT,
                                      .maybe_applied = true,
                                      .error = STR("the relay was stopped while it was being sent")});
        return;
    }
    if (!attempt->steps.in_doubt || !attempt->desk_state->receiver->has_lookup) {
        take_step(attempt, NULL);
        return;
    }
    attempt->job = (struct job){.kind = JOB_REFS};
    attempt->job.refs.conversation_id = attempt->steps.message->conversation_id;
    attempt->job.refs.sent_s = attempt->steps.message->sent_at_us / 1000000;
    attempt->job.refs.arena = &attempt->arena;
    dispatcher_submit(d, &attempt->job, on_refs);
}
