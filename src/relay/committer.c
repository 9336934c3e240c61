#include "relay/committer.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "relay/age_clock.h"
#include "relay/tell.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_MESSAGES = 512,   // accepted per transaction: bounds the time a verdict waits
    BATCH_CHANGES = 2048,   // in one transaction
    MUCH_WORK = 8,          // jobs
    IDLE_WAIT_MS = 30000,   // between looks at housekeeping
    AGE_WAIT_MS = 100,      // between its steps, transactions that what is taken in waits for
    STALLED_WAIT_MS = 1000, // before what must be had is tried again
};

// Jobs that wait their turn, oldest first.
struct line {
    struct job *head, **tail;
};

// What one turn did well, until it is flushed and told.
struct group {
    struct group *next;
    struct line outcomes, accepts, loads;
    bool is_committed; // else it only read
    int64_t began_us;  // monotonic
};

struct committer {
    struct committer_options options;
    struct queue *queue;
    struct line urgent, accepts, loads;
    atomic_bool dead;
    atomic_bool hurried;          // nothing is waited for any more
    atomic_int refusing;          // the passing error that new messages are refused for; 0 = none
    bool stalled;                 // something must be tried again later
    struct store_change *changes; // BATCH_CHANGES entries at least
    size_t changes_size;
    int64_t house_at_us; // monotonic: next step of housekeeping
    struct age_clock age_clock;
    bool ageing; // it is not through yet

    pthread_mutex_t lock; // of what follows, which committer and flusher share
    pthread_cond_t changed;
    struct group *unflushed, **unflushed_tail; // oldest first
    bool flushing;                             // one of the two is about it
    bool handed_over;                          // the flusher shall take what is unflushed: there is something then
    bool over;                                 // committer_run has returned
};

static void line_init(struct line *line)
{
    line->head = NULL;
    line->tail = &line->head;
}

static void line_add(struct line *line, struct job *job)
{
    job->next = NULL;
    *line->tail = job;
    line->tail = &job->next;
}

static struct job *line_take(struct line *line)
{
    struct job *job = line->head;
    if (job) {
        line->head = job->next;
        if (!line->head)
            line->tail = &line->head;
    }
    return job;
}

struct committer *committer_new(const struct committer_options *options)
{
    struct committer *committer = mem_new_of(struct committer);
    committer->options = *options;
    committer->queue = queue_new(options->max_queue, NULL, NULL);
    line_init(&committer->urgent);
    line_init(&committer->accepts);
    line_init(&committer->loads);
    committer->house_at_us = (int64_t)IDLE_WAIT_MS * 1000; // counted from the machine's start: at once
    committer->changes_size = BATCH_CHANGES;
    committer->changes = mem_new(BATCH_CHANGES * sizeof *committer->changes);
    pthread_mutex_init(&committer->lock, NULL);
    pthread_cond_init(&committer->changed, NULL);
    committer->unflushed_tail = &committer->unflushed;
    return committer;
}

void committer_free(struct committer *committer)
{
    if (!committer)
        return;
    must(!committer->urgent.head && !committer->accepts.head && !committer->loads.head && !committer->unflushed);
    pthread_mutex_destroy(&committer->lock);
    pthread_cond_destroy(&committer->changed);
    queue_free(committer->queue);
    free(committer->changes);
    free(committer);
}

void announcement_free(struct announcement *announcement)
{
    if (!announcement)
        return;
    message_free(announcement->message);
    free(announcement->link);
    free(announcement->profile);
    free(announcement);
}

bool committer_submit(struct committer *committer, struct job *job)
{
    // Outcomes and loads are paid for already: there are never more than requests in flight.
    return job->kind == JOB_ACCEPT ? queue_push(committer->queue, &job->node)
                                   : queue_push_always(committer->queue, &job->node);
}

bool committer_is_well(struct committer *committer)
{
    return !atomic_load(&committer->dead) && !atomic_load(&committer->refusing);
}

static void sort_in(struct committer *committer, struct queue_node *nodes)
{
    while (nodes) {
        struct job *job = (struct job *)nodes;
        nodes = nodes->next;
        struct line *line = job->kind == JOB_ACCEPT    ? &committer->accepts
                            : job->kind == JOB_CHANGES ? &committer->urgent
                                                       : &committer->loads;
        line_add(line, job);
    }
}

// Moves jobs from a line into the batch while they fit. A job never spans two transactions.
static void gather(struct committer *committer, struct line *from, struct line *batch, size_t *count, size_t max)
{
    while (from->head && (*count == 0 || *count + from->head->change_count <= max)) {
        struct job *job = line_take(from);
        if (*count + job->change_count > committer->changes_size) {
            committer->changes_size = *count + job->change_count;
            committer->changes = mem_resize(committer->changes, committer->changes_size * sizeof(struct store_change));
        }
        if (job->change_count)
            memcpy(committer->changes + *count, job->changes, job->change_count * sizeof(struct store_change));
        *count += job->change_count;
        line_add(batch, job);
    }
}

// S1: after a failed flush nothing of this process can be trusted; the start of the next one can.
static void die(struct committer *committer, int err)
{
    if (atomic_exchange(&committer->dead, true))
        return;
    log_error("store_failed", LOG_C("error", err_name(err)));
    committer->options.fatal(committer->options.fatal_arg,
                             "the store failed: nothing more is accepted; the next start checks what is on the disk");
}

// What may be had a little later: no space, another program that holds the write lock, no memory.
static bool is_passing(int err)
{
    return err == ERR_FULL || err == ERR_BUSY || err == ERR_NOMEM;
}

// Outcomes and loads wait while the store cannot be had for a while, unless the process is about to end.
static bool may_wait(struct committer *committer)
{
    return !atomic_load(&committer->hurried) && !queue_is_closed(committer->queue);
}

static void set_refusing(struct committer *committer, int err)
{
    struct board *board = committer->options.board;
    if (atomic_exchange(&committer->refusing, err) == err)
        return;
    board_alarm_end(board, "disk_full", STR(""));
    board_alarm_end(board, "store_busy", STR(""));
    if (err == ERR_FULL)
        board_alarm(board, "disk_full", STR(""),
                    STR("no space left for new messages: webhooks are answered 503 until there is"));
    else if (err)
        board_alarm(board, "store_busy", STR(""),
                    STR("the store cannot be written now (another program holds it, or memory is out): webhooks are "
                        "answered 503 meanwhile"));
}

static int apply(struct committer *committer, size_t count)
{
    if (atomic_load(&committer->dead))
        return ERR_IO;
    struct store *store = committer->options.store;
    int err = store->ops->apply(store, committer->changes, count);
    if (err && !is_passing(err))
        die(committer, err);
    return err;
}

static struct message *accepted_message(const struct store_accept *accept)
{
    return message_copy(&(struct message){
        .id = accept->message_id,
        .place = accept->place,
        .lane = accept->lane,
        .account_id = accept->account_id,
        .source_id = accept->source_id,
        .conversation_id = accept->conversation_id,
        .direction = accept->direction,
        .state = accept->state,
        .sent_at_us = accept->event.sent_at_us,
        .received_at_us = accept->received_at_us,
        .next_attempt_us = accept->wait_until_us,
        .conversation = accept->thread.p ? accept->thread : accept->event.conversation,
        .conversation_name = accept->event.conversation_name,
        .sender_id = accept->event.sender_id,
        .sender_name = accept->event.sender_name,
        .text = accept->event.text,
        .attachments = accept->event.attachments,
        .format = accept->event.format,
        .address = accept->address,
    });
}

// An act is loaded: the store knows what it acts on.
static void hand_on(struct committer *committer, const struct store_accept *accept, struct announcement *announcement)
{
    if (accept->event.act != REPLY_SAYS || !committer->options.may_hand_on(committer->options.arg))
        return;
    announcement->message = accepted_message(accept);
    announcement->link = link_copy(&accept->link);
    if (accept->profile.p)
        announcement->profile = mem_dup(accept->profile.p, accept->profile.n);
}

static struct announcement *announcement_of(struct committer *committer, const struct store_accept *accept)
{
    struct announcement *announcement = mem_new_of(struct announcement);
    announcement->account_id = accept->account_id;
    announcement->lane = accept->lane;
    announcement->source_id = accept->direction == REPLY ? accept->source_id : 0;
    announcement->look_again = accept->result == ACCEPT_JOINED;
    announcement->wants_files = attachments_count(accept->event.attachments, FILE_WANTED) > 0;
    if (!announcement->look_again)
        hand_on(committer, accept, announcement);
    return announcement;
}

// Something for a lane: a message of its own, or more for one that waits there.
static bool is_news(const struct store_accept *accept)
{
    bool stored = accept->result == ACCEPT_STORED || accept->result == ACCEPT_STORED_TWIN;
    return (stored && accept->state == MESSAGE_PENDING) || accept->result == ACCEPT_JOINED;
}

// NULL: another change, that goes with accepted messages.
static const struct store_accept *accept_of(const struct store_change *change)
{
    return change->kind == STORE_ACCEPT ? change->accept : NULL;
}

// The lanes of what these jobs made pending, or added to.
static void announce(struct committer *committer, const struct line *batch)
{
    struct announcement *list = NULL, **tail = &list;
    for (struct job *job = batch->head; job; job = job->next) {
        for (size_t i = 0; i < job->change_count; i++) {
            const struct store_accept *accept = accept_of(&job->changes[i]);
            if (!accept || !is_news(accept))
                continue;
            *tail = announcement_of(committer, accept);
            tail = &(*tail)->next;
        }
    }
    if (list)
        committer->options.announce(committer->options.arg, list);
}

static void tell_news(struct committer *committer, const struct line *batch)
{
    if (!news_wanted(board_news(committer->options.board)))
        return;
    for (struct job *job = batch->head; job; job = job->next)
        for (size_t i = 0; i < job->change_count; i++) {
            const struct store_accept *accept = accept_of(&job->changes[i]);
            if (accept)
                tell_accepted(committer->options.board, accept);
        }
}

static void finish(struct line *batch, int err)
{
    for (struct job *job; (job = line_take(batch));) {
        job->err = err;
        job->done(job);
    }
}

// Back to the head of the line they came from.
static void put_back(struct line *line, struct line *jobs)
{
    if (!jobs->head)
        return;
    *jobs->tail = line->head;
    if (!line->head)
        line->tail = jobs->tail;
    line->head = jobs->head;
}

// What was delivered and cannot be recorded would be in doubt: outcomes wait until the disk takes them, and are tried
// without the messages that wanted in beside them.
static int settle_outcomes(struct committer *committer, struct line *outcomes, size_t count, int err, bool alone)
{
    if (is_passing(err) && !alone && count)
        err = apply(committer, count);
    if (is_passing(err) && may_wait(committer)) {
        put_back(&committer->urgent, outcomes);
        line_init(outcomes);
        committer->stalled = true;
    } else if (err) {
        finish(outcomes, err);
    }
    return err;
}

static void commit_batch(struct committer *committer, struct group *group)
{
    size_t count = 0;
    gather(committer, &committer->urgent, &group->outcomes, &count, BATCH_CHANGES);
    size_t outcome_count = count;
    gather(committer, &committer->accepts, &group->accepts, &count, count + BATCH_MESSAGES);
    if (!count)
        return;
    int err = apply(committer, count);
    if (is_passing(err) || (!err && group->accepts.head))
        set_refusing(committer, err);
    bool alone = !group->accepts.head;
    if (err) // refused before the outcomes are tried once more: at a store that is held that takes seconds
        finish(&group->accepts, err);
    err = settle_outcomes(committer, &group->outcomes, outcome_count, err, alone);
    group->is_committed = !err;
}

static int serve_load(struct store *store, struct job *job)
{
    if (job->kind == JOB_LOAD)
        return store->ops->load_lane(store, job->load.lane, job->load.after_place, job->load.limit, &job->load.page);
    if (job->kind == JOB_LANES)
        return store->ops->lanes_with_work(store, job->lanes.account_id, job->lanes.after, JOB_LANES_MAX,
                                           job->lanes.lanes, &job->lanes.count);
    if (job->kind == JOB_FILES)
        return store->ops->wanted_files(store, &job->files);
    if (job->kind == JOB_AVATARS)
        return store->ops->due_avatars(store, &job->avatars);
    must(job->kind == JOB_REFS);
    return store->ops->load_refs(store, job->refs.conversation_id, job->refs.sent_s, job->refs.arena, &job->refs.refs,
                                 &job->refs.count);
}

static void serve_loads(struct committer *committer, struct group *group)
{
    for (struct job *job; (job = committer->loads.head);) {
        job->err = atomic_load(&committer->dead) ? ERR_IO : serve_load(committer->options.store, job);
        if (is_passing(job->err) && may_wait(committer)) {
            committer->stalled = true;
            return;
        }
        if (job->err && !is_passing(job->err))
            die(committer, job->err);
        line_take(&committer->loads);
        if (job->err)
            job->done(job);
        else
            line_add(&group->loads, job);
    }
}

// ---- groups ----

static struct group *group_new(const struct committer *committer)
{
    struct group *group = mem_new_of(struct group);
    line_init(&group->outcomes);
    line_init(&group->accepts);
    line_init(&group->loads);
    group->began_us = clock_mono_us(committer->options.clock);
    return group;
}

static void add_unflushed(struct committer *committer, struct group *group)
{
    pthread_mutex_lock(&committer->lock);
    *committer->unflushed_tail = group;
    committer->unflushed_tail = &group->next;
    pthread_mutex_unlock(&committer->lock);
}

static struct group *take_unflushed(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    struct group *groups = committer->flushing ? NULL : committer->unflushed;
    if (groups) {
        committer->unflushed = NULL;
        committer->unflushed_tail = &committer->unflushed;
        committer->flushing = true;
        committer->handed_over = false;
        pthread_cond_broadcast(&committer->changed);
    }
    pthread_mutex_unlock(&committer->lock);
    return groups;
}

static int flush(struct committer *committer, const struct group *groups)
{
    struct store *store = committer->options.store;
    while (groups && !groups->is_committed)
        groups = groups->next;
    if (!groups) // their pages may show what could not be flushed before
        return atomic_load(&committer->dead) ? ERR_IO : ERR_OK;
    int err = store->ops->flush(store);
    if (err)
        die(committer, err);
    return atomic_load(&committer->dead) ? ERR_IO : err;
}

// Pages that show what may not be on the disk.
static void drop_pages(const struct line *loads)
{
    for (struct job *job = loads->head; job; job = job->next)
        if (job->kind == JOB_LOAD)
            lane_page_done(&job->load.page);
}

// Changes first: a changed order rule is known before the first message that was stored under it.
static void tell(struct committer *committer, struct group *group, int err)
{
    if (group->is_committed)
        tally_time(&committer->options.tally->commit, clock_mono_us(committer->options.clock) - group->began_us);
    finish(&group->outcomes, err);
    if (!err) {
        tell_news(committer, &group->accepts);
        announce(committer, &group->accepts);
    }
    finish(&group->accepts, err);
    if (err)
        drop_pages(&group->loads);
    finish(&group->loads, err);
    free(group);
}

bool committer_flush(struct committer *committer)
{
    struct group *groups = take_unflushed(committer);
    if (!groups)
        return false;
    int err = flush(committer, groups);
    while (groups) {
        struct group *group = groups;
        groups = group->next;
        tell(committer, group, err);
    }
    pthread_mutex_lock(&committer->lock);
    committer->flushing = false;
    pthread_cond_broadcast(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
    return true;
}

bool committer_has_unflushed(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    bool has = committer->unflushed != NULL;
    pthread_mutex_unlock(&committer->lock);
    return has;
}

void committer_run_flusher(struct committer *committer)
{
    for (bool over = false; !over;) {
        pthread_mutex_lock(&committer->lock);
        while (!committer->over && !committer->handed_over)
            pthread_cond_wait(&committer->changed, &committer->lock);
        over = committer->over;
        pthread_mutex_unlock(&committer->lock);
        committer_flush(committer);
    }
}

// Until the group before is being flushed, at least.
static void await_flusher(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    while (committer->unflushed)
        pthread_cond_wait(&committer->changed, &committer->lock);
    pthread_mutex_unlock(&committer->lock);
}

static void end_flusher(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    must(!committer->unflushed); // the last turn found nothing, after it had waited for that
    committer->over = true;
    pthread_cond_broadcast(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
}

// Enough for a transaction that is worth its while beside the flush of the one before.
static bool has_much_work(struct committer *committer)
{
    return committer->urgent.head || committer->accepts.head || queue_length(committer->queue) >= MUCH_WORK;
}

static void hand_over(struct committer *committer)
{
    pthread_mutex_lock(&committer->lock);
    committer->handed_over = true;
    pthread_cond_broadcast(&committer->changed);
    pthread_mutex_unlock(&committer->lock);
}

// ---- turns ----

static bool take_turn(struct committer *committer)
{
    sort_in(committer, queue_take(committer->queue));
    committer->stalled = false;
    if (!committer->urgent.head && !committer->accepts.head && !committer->loads.head)
        return false;
    struct group *group = group_new(committer);
    commit_batch(committer, group);
    if (!committer->urgent.head) // a page shows every change that was asked for before it
        serve_loads(committer, group);
    add_unflushed(committer, group);
    return true;
}

static void move_log(struct committer *committer)
{
    struct store *store = committer->options.store;
    bool busy = committer->accepts.head || committer->urgent.head || queue_length(committer->queue);
    int err = atomic_load(&committer->dead) ? ERR_OK : store->ops->checkpoint(store, busy);
    if (err && !is_passing(err))
        die(committer, err);
}

bool committer_turn(struct committer *committer)
{
    if (!take_turn(committer))
        return false;
    if (!committer->options.flushes_apart)
        committer_flush(committer);
    move_log(committer);
    return !committer->stalled;
}

// One of committer_run's: who flushes depends on whether there is more to do.
static bool run_turn(struct committer *committer)
{
    await_flusher(committer);
    if (!take_turn(committer))
        return false;
    bool apart = committer->options.flushes_apart && has_much_work(committer);
    if (apart || !committer_flush(committer))
        hand_over(committer);
    move_log(committer);
    return !committer->stalled;
}

void committer_keep_house(struct committer *committer)
{
    const struct committer_options *options = &committer->options;
    int64_t now = clock_mono_us(options->clock);
    if (atomic_load(&committer->dead) || now < committer->house_at_us)
        return;
    int64_t wall = age_clock_read(&committer->age_clock, clock_wall_us(options->clock), now);
    bool more = false;
    int err = options->store->ops->age_out(options->store, wall - options->keep_bodies_us,
                                           wall - options->keep_dedupe_us, &more);
    if (err && !is_passing(err))
        die(committer, err);
    committer->ageing = more;
    committer->house_at_us = now + (int64_t)(more ? AGE_WAIT_MS : IDLE_WAIT_MS) * 1000;
}

// Whether messages would be stored again nobody would find out who sends nothing while /readyz says no.
static bool is_refusing(struct committer *committer)
{
    return atomic_load(&committer->refusing) && !atomic_load(&committer->dead);
}

static void look_again(struct committer *committer)
{
    struct store_change nothing = {.kind = STORE_NOTHING};
    struct store *store = committer->options.store;
    if (!is_refusing(committer))
        return;
    int err = store->ops->apply(store, &nothing, 1);
    if (!err || is_passing(err))
        set_refusing(committer, err);
    else
        die(committer, err);
}

// How long it waits for a job at most.
static int longest_wait_ms(struct committer *committer)
{
    if (committer->stalled || is_refusing(committer))
        return STALLED_WAIT_MS;
    return committer->ageing && !atomic_load(&committer->dead) ? AGE_WAIT_MS : IDLE_WAIT_MS;
}

void committer_run(struct committer *committer)
{
    while (!queue_is_closed(committer->queue) || queue_length(committer->queue)) {
        sort_in(committer, queue_wait(committer->queue, longest_wait_ms(committer)));
        while (run_turn(committer))
            ;
        look_again(committer);
        committer_keep_house(committer);
    }
    while (run_turn(committer)) // closed: nothing waits for space any more
        ;
    end_flusher(committer);
}

void committer_hurry(struct committer *committer)
{
    atomic_store(&committer->hurried, true);
    committer->options.store->ops->hurry(committer->options.store);
    queue_wake(committer->queue);
}

void committer_close(struct committer *committer)
{
    queue_close(committer->queue);
}
