#include "relay/by_hand.h"

#include "relay/tell.h"

static struct by_hand *hand_of(struct loop_task *task)
{
    return (struct by_hand *)((char *)task - offsetof(struct by_hand, job) - offsetof(struct job, task));
}

static void answer(struct by_hand *hand, int err)
{
    message_free(hand->message);
    hand->message = NULL;
    hand->answered(hand, err);
}

static void submit_job(struct by_hand *hand, size_t change_count, void (*run)(struct loop_task *task))
{
    hand->job = (struct job){
        .kind = JOB_CHANGES, .changes = &hand->change, .change_count = change_count, .task.run = run};
    if (!hand->ports->submit(hand->ports->arg, &hand->job))
        answer(hand, ERR_CLOSED);
}

static void submit(struct by_hand *hand, struct store_change change, void (*run)(struct loop_task *task))
{
    hand->change = change;
    submit_job(hand, 1, run);
}

static void on_flushed(struct loop_task *task)
{
    struct by_hand *hand = hand_of(task);
    answer(hand, hand->job.err);
}

// What was read says that it is done already, perhaps by a change that is not on the disk yet.
static void answer_flushed(struct by_hand *hand)
{
    submit_job(hand, 0, on_flushed);
}

static bool look(struct by_hand *hand, const struct by_hand_ports *ports, int64_t message_id)
{
    struct store_reader *reader = ports->reader;
    hand->ports = ports;
    int err = reader ? reader->ops->message(reader, message_id, &hand->message) : ERR_IO;
    if (err)
        answer(hand, err);
    return !err;
}

// ---- one that is pending or skipped gets another outcome ----

static void tell_discarded(const struct by_hand *hand)
{
    const struct by_hand_ports *ports = hand->ports;
    const struct message *message = hand->message;
    const struct account *account = directory_find_id(ports->directory, message->account_id);
    const struct source *source = account ? account_find_any_source_id(account, message->source_id) : NULL;
    if (source)
        tally_message(ports->tally, TALLY_DISCARDED, source->platform, message->direction);
    account_unref(account);
    tell_outcome(ports->board, message, &hand->outcome);
}

static void on_changed(struct loop_task *task)
{
    struct by_hand *hand = hand_of(task);
    int err = hand->job.err;
    if (!err)
        dispatcher_changed_by_hand(hand->ports->dispatcher, hand->message->account_id);
    if (!err && hand->outcome.applied && hand->outcome.state == MESSAGE_DISCARDED)
        tell_discarded(hand);
    answer(hand, err);
}

// Its lane reads it again after the change.
static void change(struct by_hand *hand)
{
    struct dispatcher *dispatcher = hand->ports->dispatcher;
    bool pending = hand->message->state == MESSAGE_PENDING;
    int err = dispatcher_reload(dispatcher, hand->message, pending && hand->outcome.state == MESSAGE_DISCARDED);
    if (err && pending) {
        answer(hand, err);
        return;
    }
    submit(hand, (struct store_change){.kind = STORE_OUTCOME, .outcome = &hand->outcome}, on_changed);
    dispatcher_tick(dispatcher);
}

// A mark is a doubt: its request was sent by a process that is gone, or is being sent by this one.
static bool is_in_doubt(const struct message *message)
{
    return message->in_doubt || message->in_flight;
}

// ---- tried now ----

static void on_attempt(void *arg, const struct attempt_record *record)
{
    *(int64_t *)arg = record->at_us;
}

// When a message that waits may be tried by hand. What may be at the desk keeps its settle time: it is looked up then. The end
// of an attempt that a mark speaks of is not known here: it keeps all of its time.
static int64_t earliest_us(const struct by_hand_ports *ports, const struct message *message)
{
    int64_t last_us = 0;
    if (message->next_attempt_us == MESSAGE_HELD || !is_in_doubt(message))
        return 0;
    int err = ports->reader->ops->attempts(ports->reader, message->id, on_attempt, &last_us);
    int64_t settled_us = last_us + ports->settle_ms * 1000;
    bool sooner = !err && last_us && !message->in_flight && settled_us < message->next_attempt_us;
    return sooner ? settled_us : message->next_attempt_us;
}

static void try_now(struct by_hand *hand)
{
    const struct message *message = hand->message;
    bool held = message->next_attempt_us == MESSAGE_HELD;
    hand->outcome = (struct store_outcome){
        .message_id = message->id,
        .attempts = held ? 0 : message->attempts, // who was held begins anew
        .next_attempt_us = earliest_us(hand->ports, message),
        .in_doubt = is_in_doubt(message),
        .at_us = clock_wall_us(hand->ports->clock),
    };
    if (hand->outcome.next_attempt_us < message->next_attempt_us) {
        change(hand);
        return;
    }
    dispatcher_trust_lane(hand->ports->dispatcher, message->lane);
    answer(hand, ERR_OK);
}

// ---- tried again ----

// Why the store did not take it back: somebody else did something about it meanwhile, or its account was removed.
static int why_not_retried(const struct by_hand *hand)
{
    struct store_reader *reader = hand->ports->reader;
    struct message *now = NULL;
    int err = reader->ops->message(reader, hand->message->id, &now);
    if (!err && (now->state == MESSAGE_SKIPPED || now->state == MESSAGE_DISCARDED))
        err = ERR_REFUSED;
    message_free(now);
    return err;
}

static void on_retried(struct loop_task *task)
{
    struct by_hand *hand = hand_of(task);
    int err = hand->job.err;
    if (!err && hand->retry.applied) {
        tell_retried(hand->ports->board, hand->message);
        dispatcher_work(hand->ports->dispatcher, hand->message->account_id, hand->message->source_id, hand->retry.lane);
    } else if (!err) {
        err = why_not_retried(hand);
    }
    answer(hand, err);
}

void by_hand_retry(struct by_hand *hand, const struct by_hand_ports *ports, int64_t message_id)
{
    if (!look(hand, ports, message_id))
        return;
    if (hand->message->state == MESSAGE_PENDING) {
        try_now(hand);
    } else if (hand->message->state == MESSAGE_SKIPPED) {
        hand->retry = (struct store_retry){.message_id = message_id};
        submit(hand, (struct store_change){.kind = STORE_RETRY, .retry = &hand->retry}, on_retried);
    } else {
        answer(hand, ERR_REFUSED);
    }
}

// ---- discarded ----

void by_hand_discard(struct by_hand *hand, const struct by_hand_ports *ports, int64_t message_id)
{
    if (!look(hand, ports, message_id))
        return;
    const struct message *message = hand->message;
    if (message->state == MESSAGE_DISCARDED) {
        answer_flushed(hand);
        return;
    }
    if (message->state == MESSAGE_DELIVERED) {
        answer(hand, ERR_REFUSED);
        return;
    }
    hand->outcome = (struct store_outcome){
        .message_id = message_id,
        .state = MESSAGE_DISCARDED,
        .reason = REASON_BY_HAND,
        .attempts = message->attempts,
        .in_doubt = is_in_doubt(message),
        .at_us = clock_wall_us(ports->clock),
    };
    change(hand);
}
