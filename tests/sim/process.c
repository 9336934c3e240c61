// The relay's process: committer and dispatcher as they are, put together as relay/relay.c does it, with the threads'
// queues as lists that are worked off in simulated time.
#include "base/mem.h"
#include "base/must.h"
#include "relay/replies.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

// A webhook whose answer waits for the commit.
struct parked {
    struct intake_batch *batch;
    struct sim *sim;
    struct arena arena;
    int events[16];
    int count;
    int64_t delivery;
    struct parked *prev, *next;
};

// A desk's notice whose answer waits for the commit.
struct parked_notice {
    struct job job; // first
    struct sim *sim;
    struct arena arena;
    int64_t number;
    struct str conversation;
    struct store_news news;
    struct store_change change;
    struct parked_notice *prev, *next;
};

// Something asked by hand.
struct question {
    struct job job; // first
    struct sim *sim;
    struct store_change change;
    struct store_account_put put;
    struct store_account_active active;
    struct store_account_gone gone;
    int number; // of the account that is to be changed; -1: none is
    struct account *account;
    int64_t source_ids[MOST_SOURCES];
    struct by_hand hand;
    int64_t message_id;
    void (*begin)(struct question *question); // on the relay loop
    void (*answered)(struct question *question);
    struct question *prev, *next;
};

enum { IDLE_S = 31 };
enum { STOP_CALLS, STOP_DOORS, STOP_LANES, STOP_CUT }; // what is waited for

struct process {
    struct sim *sim;
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    struct committer *committer;
    struct dispatcher *dispatcher;
    struct replies *replies;
    struct media *media;
    struct media_links links;
    struct intake intake;
    struct by_hand_ports by_hand;
    struct loop_task *tasks, **tasks_tail;        // of the relay loop, in order of posting
    struct loop_task *media_tasks, **media_tail;  // the same of the media thread
    bool loop_runs, committer_runs, flusher_runs; // an event for it is on its way
    bool media_runs, poked;
    int jobs; // with the committer
    int64_t armed_us, replies_armed_us, media_armed_us;
    struct loop_task poke;
    struct parked *parked;
    struct parked_notice *notices;
    struct question *questions;
    int64_t since_us;
    bool dying, doomed;                    // dying: being wound up, nothing counts any more
    bool stopping, stopped, media_stopped; // orderly
    int stop_step;                         // enum above
    int64_t cut_at_us;
    struct chance chance;
};

bool process_is_up(const struct sim *sim)
{
    return sim->process && !sim->process->stopping && !sim->process->doomed;
}

// ---- the relay loop ----

static void run_task(struct process *p)
{
    struct loop_task *task = p->tasks;
    p->tasks = (struct loop_task *)task->node.next;
    if (!p->tasks)
        p->tasks_tail = &p->tasks;
    task->run(task);
}

static void on_loop(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    (void)event;
    p->loop_runs = false;
    if (p->tasks)
        run_task(p);
    if (p->tasks && !p->loop_runs) {
        p->loop_runs = true;
        sim_after_here(sim, draw(&p->chance, 1, 30), on_loop, NULL);
    }
}

static void post(struct process *p, struct loop_task *task)
{
    task->node.next = NULL;
    *p->tasks_tail = task;
    p->tasks_tail = (struct loop_task **)&task->node.next;
    if (p->loop_runs || p->dying)
        return;
    p->loop_runs = true;
    int64_t slow = draw_percent(&p->chance, 2) ? 20000 : 200;
    sim_after_here(p->sim, draw(&p->chance, 1, slow), on_loop, NULL);
}

// ---- the media thread ----

static void run_media_task(struct process *p)
{
    struct loop_task *task = p->media_tasks;
    p->media_tasks = (struct loop_task *)task->node.next;
    if (!p->media_tasks)
        p->media_tail = &p->media_tasks;
    task->run(task);
}

static void on_media_loop(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    (void)event;
    p->media_runs = false;
    if (p->media_tasks)
        run_media_task(p);
    if (p->media_tasks && !p->media_runs) {
        p->media_runs = true;
        sim_after_here(sim, draw(&p->chance, 1, 30), on_media_loop, NULL);
    }
}

static void media_post(struct process *p, struct loop_task *task)
{
    task->node.next = NULL;
    *p->media_tail = task;
    p->media_tail = (struct loop_task **)&task->node.next;
    if (p->media_runs || p->dying)
        return;
    p->media_runs = true;
    int64_t slow = draw_percent(&p->chance, 5) ? 200000 : 500; // it may be at a slow disk
    sim_after_here(p->sim, draw(&p->chance, 1, slow), on_media_loop, NULL);
}

static void on_poke(struct loop_task *task)
{
    struct process *p = (struct process *)((char *)task - offsetof(struct process, poke));
    p->poked = false;
    media_poke(p->media);
}

static void media_wake(struct process *p)
{
    if (p->poked)
        return;
    p->poked = true;
    p->poke.run = on_poke;
    media_post(p, &p->poke);
}

// ---- the committer ----

static void on_committer(struct sim *sim, struct sim_event *event);

static void wake_committer(struct process *p, int64_t us)
{
    if (p->committer_runs || p->dying)
        return;
    p->committer_runs = true;
    sim_after_here(p->sim, us, on_committer, NULL);
}

static int64_t commit_takes(struct process *p)
{
    int64_t usual = p->sim->plan.commit_us;
    return draw_percent(&p->chance, 1) ? draw(&p->chance, usual, 100 * usual) : draw(&p->chance, usual / 4, usual);
}

static void on_flusher(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    (void)event;
    p->flusher_runs = false;
    committer_flush(p->committer);
    if (p->doomed)
        process_crash(sim);
}

static void on_committer(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    (void)event;
    p->committer_runs = false;
    bool worked = committer_turn(p->committer);
    committer_keep_house(p->committer);
    if (p->doomed) {
        process_crash(sim);
        return;
    }
    if (committer_has_unflushed(p->committer) && !p->flusher_runs) {
        p->flusher_runs = true;
        sim_after_here(sim, commit_takes(p), on_flusher, NULL);
    }
    if (p->jobs)
        wake_committer(p, worked ? commit_takes(p) : SECOND);
}

// An idle committer looks at its house now and then.
static void on_idle(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    (void)event;
    sim_after_here(sim, IDLE_S * (int64_t)SECOND, on_idle, NULL);
    committer_keep_house(p->committer);
    if (p->doomed)
        process_crash(sim);
}

static void job_to_loop(struct job *job)
{
    struct process *p = job->owner;
    p->jobs--;
    post(p, &job->task);
}

static void submit(struct process *p, struct job *job)
{
    job->owner = p;
    job->done = job_to_loop;
    must(committer_submit(p->committer, job));
    p->jobs++;
    wake_committer(p, commit_takes(p));
}

struct announce_task {
    struct loop_task task; // first
    struct process *process;
    struct announcement *list;
};

static void on_announced(struct loop_task *task)
{
    struct announce_task *announce = (struct announce_task *)task;
    dispatcher_announced(announce->process->dispatcher, announce->list);
    free(announce);
}

static void announce(void *arg, struct announcement *list)
{
    struct process *p = arg;
    if (p->sim->options->breakage == BREAK_STUCK && draw_percent(&p->chance, 20)) {
        while (list) {
            struct announcement *next = list->next;
            announcement_free(list);
            list = next;
        }
        return;
    }
    for (const struct announcement *a = list; a; a = a->next)
        if (a->wants_files)
            media_wake(p);
    struct announce_task *task = mem_new_of(struct announce_task);
    task->process = p;
    task->list = list;
    task->task.run = on_announced;
    post(p, &task->task);
}

static bool may_hand_on(void *arg)
{
    return dispatcher_has_room(((struct process *)arg)->dispatcher);
}

static void on_doom(struct sim *sim, struct sim_event *event)
{
    (void)event;
    process_crash(sim);
}

// Rule S1: the process ends.
static void fatal(void *arg, const char *sentence)
{
    struct process *p = arg;
    (void)sentence;
    if (p->dying || p->doomed)
        return;
    sim_trace(p->sim, "the relay ends itself");
    p->sim->away_us = draw(&p->chance, SECOND / 10, 5 * SECOND);
    sim_after_here(p->sim, draw(&p->chance, 0, SECOND / 2), on_doom, NULL);
}

void process_crash_soon(struct sim *sim)
{
    sim->process->doomed = true;
}

// ---- the dispatcher's ports ----

static void port_submit(void *arg, struct job *job)
{
    submit(arg, job);
}

static bool by_hand_submit(void *arg, struct job *job)
{
    submit(arg, job);
    return true;
}

static bool replies_submit(void *arg, struct job *job)
{
    struct process *p = arg;
    job->owner = p;
    job->done = job_to_loop;
    if (!committer_submit(p->committer, job))
        return false;
    p->jobs++;
    wake_committer(p, commit_takes(p));
    return true;
}

static void *port_send(void *arg, const struct http_request *request, int64_t timeout_ms,
                       void (*done)(void *done_arg, const struct http_response *response), void *done_arg)
{
    struct process *p = arg;
    if (p->dying)
        sim_fail(p->sim, "A7", "a request leaves after the stop");
    return world_send(p->sim, request, timeout_ms, done, done_arg);
}

static void *replies_send(void *arg, const struct http_request *request, int64_t timeout_ms,
                          void (*done)(void *done_arg, const struct http_response *response), void *done_arg)
{
    struct process *p = arg;
    if (p->dying)
        sim_fail(p->sim, "A7", "a conversation is read after the stop");
    return world_read(p->sim, request, timeout_ms, done, done_arg);
}

static void port_cancel(void *arg, void *call)
{
    struct process *p = arg;
    world_cancel(p->sim, call);
}

static void on_timer(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    if (event->n != p->armed_us)
        return;
    p->armed_us = 0;
    dispatcher_tick(p->dispatcher);
}

static void port_arm(void *arg, int64_t at_us)
{
    struct process *p = arg;
    if (at_us == p->armed_us)
        return;
    p->armed_us = at_us;
    if (at_us && !p->dying)
        sim_after_here(p->sim, at_us - sim_now(p->sim) + draw(&p->chance, 0, 999), on_timer, NULL)->n = at_us;
}

static void on_replies_timer(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    if (event->n != p->replies_armed_us)
        return;
    p->replies_armed_us = 0;
    replies_tick(p->replies);
}

static void replies_arm(void *arg, int64_t at_us)
{
    struct process *p = arg;
    if (at_us == p->replies_armed_us)
        return;
    p->replies_armed_us = at_us;
    if (at_us && !p->dying)
        sim_after_here(p->sim, at_us - sim_now(p->sim) + draw(&p->chance, 0, 999), on_replies_timer, NULL)->n = at_us;
}

// As media_thread.c does: what is stored of a file goes by the relay loop, so that lanes hear of it in the order of commits.
struct told_task {
    struct loop_task task; // first
    struct process *process;
    struct job *job;
};

static void on_told(struct loop_task *task)
{
    struct told_task *told = (struct told_task *)task;
    struct job *job = told->job;
    for (size_t i = 0; i < job->change_count && !job->err; i++) {
        if (job->changes[i].kind != STORE_FILE)
            continue;
        struct store_file file = *job->changes[i].file;
        if (told->process->sim->options->breakage == BREAK_FOLLOW)
            file.follow_lane = 0;
        dispatcher_file_settled(told->process->dispatcher, &file);
    }
    media_post(told->process, &job->task);
    free(told);
}

static void media_job_done(struct job *job)
{
    struct process *p = job->owner;
    p->jobs--;
    if (job->kind != JOB_CHANGES) {
        media_post(p, &job->task);
        return;
    }
    struct told_task *told = mem_new_of(struct told_task);
    told->process = p;
    told->job = job;
    told->task.run = on_told;
    post(p, &told->task);
}

static bool media_submit(void *arg, struct job *job)
{
    struct process *p = arg;
    job->owner = p;
    job->done = media_job_done;
    if (!committer_submit(p->committer, job))
        return false;
    p->jobs++;
    wake_committer(p, commit_takes(p));
    return true;
}

static void *media_send(void *arg, const struct http_request *request, bool trusted, const struct media_sink *sink,
                        int64_t timeout_ms, void (*done)(void *done_arg, const struct http_response *response),
                        void *done_arg)
{
    struct process *p = arg;
    if (p->dying || p->media_stopped)
        sim_fail(p->sim, "A7", "a file is fetched after the stop");
    return files_send(p->sim, request, trusted, sink, timeout_ms, done, done_arg);
}

static void media_cancel(void *arg, void *call)
{
    files_cancel(((struct process *)arg)->sim, call);
}

static void on_media_timer(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    if (event->n != p->media_armed_us)
        return;
    p->media_armed_us = 0;
    media_tick(p->media);
}

static void media_arm(void *arg, int64_t at_us)
{
    struct process *p = arg;
    if (at_us == p->media_armed_us)
        return;
    p->media_armed_us = at_us;
    if (at_us && !p->dying)
        sim_after_here(p->sim, at_us - sim_now(p->sim) + draw(&p->chance, 0, 999), on_media_timer, NULL)->n = at_us;
}

static void on_media_stopped(void *arg)
{
    ((struct process *)arg)->media_stopped = true;
}

static void port_linked(void *arg, int64_t account_id)
{
    replies_linked(((struct process *)arg)->replies, account_id);
}

static void port_stopped(void *arg)
{
    ((struct process *)arg)->stopped = true;
}

// ---- start ----

static void put_account(void *arg, struct account *account, struct str file_text)
{
    (void)file_text;
    directory_put(arg, account);
}

static void restore_desk(void *arg, const struct store_desk_health *health)
{
    dispatcher_restore_desk(arg, health);
}

static void restore_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    replies_restore_news(arg, account_id, desk_conversation);
}

static void restore_searched(void *arg, const struct store_searched *searched)
{
    replies_restore_searched(arg, searched);
}

static void make_replies(struct process *p)
{
    struct sim *sim = p->sim;
    p->replies = replies_new(
        &(struct replies_options){
            .directory = p->directory,
            .board = p->board,
            .tally = p->tally,
            .clock = &sim->clock.clock,
            .seed = chance_next(&p->chance),
            .timeout_ms = sim->plan.timeout_ms,
            .keep_dedupe_us = sim->plan.keep_dedupe_us,
            .media_wait_us = sim->plan.media_wait_ms * 1000,
        },
        &(struct replies_ports){
            .arg = p,
            .submit = replies_submit,
            .send = replies_send,
            .cancel = port_cancel,
            .arm = replies_arm,
        });
}

static void make_media(struct process *p)
{
    struct sim *sim = p->sim;
    p->links = (struct media_links){
        .base = STR("http://relay.test"), .is_public = sim->plan.public_links, .lifetime_us = 86400 * (int64_t)SECOND};
    p->media = media_new(
        &(struct media_options){
            .directory = p->directory,
            .board = p->board,
            .tally = p->tally,
            .clock = &sim->clock.clock,
            .files = files_kept(sim),
            .seed = chance_next(&p->chance),
            .max_size = 1000,
            .timeout_ms = sim->plan.timeout_ms,
        },
        &(struct media_ports){
            .arg = p,
            .submit = media_submit,
            .send = media_send,
            .cancel = media_cancel,
            .arm = media_arm,
            .stopped = on_media_stopped,
        });
}

static void make_core(struct process *p)
{
    struct sim *sim = p->sim;
    const struct plan *plan = &sim->plan;
    p->committer = committer_new(&(struct committer_options){
        .store = sim->store,
        .clock = &sim->clock.clock,
        .board = p->board,
        .tally = p->tally,
        .max_queue = (size_t)plan->max_queue,
        .keep_bodies_us = plan->keep_bodies_us,
        .keep_dedupe_us = plan->keep_dedupe_us,
        .announce = announce,
        .may_hand_on = may_hand_on,
        .arg = p,
        .fatal = fatal,
        .fatal_arg = p,
        .flushes_apart = draw_percent(&p->chance, 70),
    });
    p->dispatcher = dispatcher_new(
        &(struct dispatcher_options){
            .directory = p->directory,
            .board = p->board,
            .tally = p->tally,
            .clock = &sim->clock.clock,
            .seed = chance_next(&p->chance),
            .store_id = STR("simulated"),
            .max_attempts = plan->max_attempts,
            .retry_base_ms = plan->retry_base_ms,
            .retry_cap_ms = plan->retry_cap_ms,
            .timeout_ms = plan->timeout_ms,
            .settle_ms = plan->settle_ms,
            .window = plan->window,
            .concurrency = plan->concurrency,
            .memory_messages = plan->memory_messages,
            .media_wait_ms = plan->media_wait_ms,
            .links = &p->links,
        },
        &(struct dispatcher_ports){
            .arg = p,
            .submit = port_submit,
            .send = port_send,
            .cancel = port_cancel,
            .arm = port_arm,
            .linked = port_linked,
            .stopped = port_stopped,
        });
    make_replies(p);
    make_media(p);
    p->by_hand = (struct by_hand_ports){
        .arg = p,
        .submit = by_hand_submit,
        .dispatcher = p->dispatcher,
        .reader = sim->reader,
        .directory = p->directory,
        .board = p->board,
        .tally = p->tally,
        .clock = &sim->clock.clock,
        .settle_ms = plan->settle_ms,
    };
    p->intake = (struct intake){
        .directory = p->directory,
        .committer = p->committer,
        .tally = p->tally,
        .clock = &sim->clock.clock,
        .board = p->board,
        .media_wait_us = plan->media_wait_ms * 1000,
    };
}

static void on_restart(struct sim *sim, struct sim_event *event)
{
    (void)event;
    if (sim->process)
        return;
    sim_trace(sim, "--- the relay starts");
    process_start(sim);
}

void process_start(struct sim *sim)
{
    sim->life++;
    if (!disk_start(sim)) {
        sim_after(sim, SECOND, on_restart, NULL);
        return;
    }
    struct process *p = mem_new_of(struct process);
    p->sim = sim;
    p->since_us = sim_now(sim);
    p->tasks_tail = &p->tasks;
    p->media_tail = &p->media_tasks;
    p->directory = directory_new();
    p->board = board_new();
    p->tally = tally_new();
    p->chance = sim_chance(sim, 'r', (uint64_t)sim->life);
    sim->process = p;
    sim->disk->ops->each_account(sim->disk, put_account, p->directory);
    make_core(p);
    oracle_process_started(sim);
    sim->disk->ops->each_desk_health(sim->disk, restore_desk, p->dispatcher);
    sim->disk->ops->each_news(sim->disk, restore_news, p->replies);
    sim->disk->ops->each_searched(sim->disk, restore_searched, p->replies);
    dispatcher_start(p->dispatcher);
    replies_start(p->replies);
    media_start(p->media);
    sim_after_here(sim, IDLE_S * (int64_t)SECOND, on_idle, NULL);
}

// ---- the end ----

static void free_parked(struct process *p, struct parked *parked)
{
    DL_DELETE(p->parked, parked);
    intake_batch_free(parked->batch);
    arena_done(&parked->arena);
    free(parked);
}

static void free_notice(struct process *p, struct parked_notice *notice)
{
    DL_DELETE(p->notices, notice);
    arena_done(&notice->arena);
    free(notice);
}

static void free_question(struct process *p, struct question *question)
{
    DL_DELETE(p->questions, question);
    account_unref(question->account);
    free(question);
}

static void wind_up(struct process *p)
{
    bool worked;
    do {
        while (p->tasks || p->media_tasks)
            if (p->tasks)
                run_task(p);
            else
                run_media_task(p);
        worked = committer_turn(p->committer);
        worked |= committer_flush(p->committer);
    } while (worked || p->tasks || p->media_tasks);
}

static void process_free(struct process *p, bool crashed)
{
    struct sim *sim = p->sim;
    must(p->stopped && p->media_stopped && !p->tasks && !p->media_tasks);
    media_free(p->media);
    dispatcher_free(p->dispatcher);
    replies_free(p->replies);
    committer_free(p->committer);
    while (p->parked)
        free_parked(p, p->parked);
    while (p->notices)
        free_notice(p, p->notices);
    while (p->questions)
        free_question(p, p->questions);
    directory_free(p->directory);
    board_free(p->board);
    tally_free(p->tally);
    free(p);
    sim->process = NULL;
    disk_stop(sim, crashed);
    sim->store_dead = false;
    sim->crash_in_apply = 0;
    if (!sim->over)
        sim_after(sim, sim->away_us, on_restart, NULL);
}

// Its parts are freed the way they free themselves, over a store that takes nothing any more.
void process_crash(struct sim *sim)
{
    struct process *p = sim->process;
    if (!sim->over)
        sim_trace(sim, "--- the relay dies");
    sim->result->crashes++;
    p->dying = true;
    sim->store_dead = true;
    if (p->stop_step < STOP_LANES) {
        media_stop(p->media);
        replies_stop(p->replies);
        dispatcher_stop(p->dispatcher);
    }
    dispatcher_cut(p->dispatcher);
    wind_up(p);
    oracle_process_ended(sim, true);
    process_free(p, true);
}

// As relay_stop, after the admin thread has ended.
static void on_stopping(struct sim *sim, struct sim_event *event)
{
    struct process *p = sim->process;
    (void)event;
    if (p->stop_step == STOP_CALLS && !p->questions) {
        p->stop_step = STOP_DOORS;
        p->cut_at_us = sim_now(sim) + sim->plan.shutdown_ms * 1000;
    }
    bool late = p->stop_step > STOP_CALLS && sim_now(sim) >= p->cut_at_us;
    if (p->stop_step == STOP_DOORS && ((!p->parked && !p->notices) || late)) {
        p->stop_step = STOP_LANES;
        media_stop(p->media);
        replies_stop(p->replies);
        dispatcher_stop(p->dispatcher);
    }
    if (p->stop_step == STOP_LANES && late && !p->stopped) {
        p->stop_step = STOP_CUT;
        committer_hurry(p->committer);
        dispatcher_cut(p->dispatcher);
    }
    if (!p->stopped || !p->media_stopped || p->stop_step < STOP_LANES) {
        sim_after_here(sim, 5000, on_stopping, NULL);
        return;
    }
    committer_close(p->committer);
    wind_up(p);
    sim_trace(sim, "--- the relay has stopped");
    oracle_process_ended(sim, false);
    p->dying = true;
    process_free(p, false);
}

void process_stop(struct sim *sim)
{
    sim->process->stopping = true;
    on_stopping(sim, NULL);
}

// ---- webhooks ----

static void on_answer_given(struct sim *sim, struct sim_event *event)
{
    struct parked *parked = event->arg;
    int err = parked->batch->job.err;
    int events[16], count = parked->count;
    int64_t delivery = parked->delivery;
    memcpy(events, parked->events, sizeof events);
    free_parked(sim->process, parked);
    platform_answered(sim, events, count, delivery, err == 0);
}

// On the thread of whoever flushed; the HTTP thread answers.
static void on_committed(struct job *job)
{
    struct parked *parked = job->owner;
    struct process *p = parked->sim->process;
    p->jobs--;
    if (!p->dying)
        sim_after_here(p->sim, draw(&p->chance, 10, 2000), on_answer_given, parked);
}

static struct str files_of(struct sim *sim, int number, struct arena *arena)
{
    struct attachment files[MOST_FILES];
    int count = sim->plan.event[number].files;
    for (int i = 0; i < count; i++)
        files[i] = file_attachment(sim, file_of_event(number, i), arena);
    return attachments_write(files, (size_t)count, arena);
}

// It has the name of its first part.
static struct str album_of(const struct sim *sim, int number, struct arena *arena)
{
    bool goes_on = number + 1 < sim->plan.events && sim->plan.event[number + 1].album;
    if (!sim->plan.event[number].album && !goes_on)
        return STR_NONE;
    while (sim->plan.event[number].album)
        number--;
    return arena_printf(arena, "album-%d", number);
}

static struct event make_event(struct sim *sim, struct arena *arena, const struct account *account, int number)
{
    char text[200];
    event_text(sim, number, text, sizeof text);
    bool first, migrated = platform_migrated(sim, number, &first);
    bool knows = account->id ==
                 sim->plan.event[number].account + 1; // one that was added anew never heard of the migration
    char name[24];
    thread_name(sim, sim->plan.event[number].conversation, false, name, sizeof name);
    struct str who = arena_str(arena, str_of(name));
    thread_name(sim, sim->plan.event[number].conversation, true, name, sizeof name);
    return (struct event){
        .attachments = files_of(sim, number, arena),
        .album = album_of(sim, number, arena),
        .migrated_from = knows && first && sim->options->breakage != BREAK_MIGRATE ? who : STR_NONE,
        .dedupe_key = arena_printf(arena, "key-%d", number),
        .conversation = knows && migrated ? arena_str(arena, str_of(name)) : who,
        .sender_id = who,
        .sender_name = STR("Ann"),
        .text = arena_str(arena, str_of(text)),
        .sent_at_us = platform_said_us(sim, number) / SECOND * SECOND, // as Telegram tells it
    };
}

bool process_webhook(struct sim *sim, const int *numbers, int count, int64_t delivery)
{
    struct process *p = sim->process;
    if (!p || p->stopping)
        return false;
    const struct account *account = process_account(sim, sim->plan.event[numbers[0]].account);
    char name[20];
    source_name(sim->plan.source_of[sim->plan.event[numbers[0]].conversation], name, sizeof name);
    const struct source *source = account ? account_find_source(account, str_of(name)) : NULL;
    if (!source) {
        account_unref(account);
        return false;
    }
    struct parked *parked = mem_new_of(struct parked);
    struct event events[16];
    for (int i = 0; i < count; i++)
        events[i] = make_event(sim, &parked->arena, account, parked->events[i] = numbers[i]);
    parked->sim = sim;
    parked->count = count;
    parked->delivery = delivery;
    parked->batch = intake_batch_new(&p->intake, account, source, events, (size_t)count);
    parked->batch->job.owner = parked;
    parked->batch->job.done = on_committed;
    DL_APPEND(p->parked, parked);
    if (!committer_submit(p->committer, &parked->batch->job)) {
        free_parked(p, parked);
        platform_answered(sim, numbers, count, delivery, false);
        return true;
    }
    if (sim->options->breakage == BREAK_ANSWER_EARLY)
        platform_answered(sim, numbers, count, delivery, true);
    p->jobs++;
    wake_committer(p, commit_takes(p));
    return true;
}

// ---- notices of desks, as in relay/intake_desk.c ----

struct news_task {
    struct loop_task task; // first
    struct process *process;
    struct arena arena;
    int64_t account_id;
    struct str conversation;
};

static void on_news(struct loop_task *task)
{
    struct news_task *news = (struct news_task *)task;
    replies_news(news->process->replies, news->account_id, &news->conversation, 1);
    arena_done(&news->arena);
    free(news);
}

static void post_news(struct process *p, const struct parked_notice *notice)
{
    struct news_task *news = mem_new_of(struct news_task);
    news->process = p;
    news->account_id = notice->news.account_id;
    news->conversation = arena_str(&news->arena, notice->conversation);
    news->task.run = on_news;
    post(p, &news->task);
}

static void on_notice_stored(struct sim *sim, struct sim_event *event)
{
    struct parked_notice *notice = event->arg;
    int err = notice->job.err;
    if (!err)
        post_news(sim->process, notice);
    agents_answered(sim, notice->number, err == 0);
    free_notice(sim->process, notice);
}

static void on_notice_committed(struct job *job)
{
    struct parked_notice *notice = job->owner;
    struct process *p = notice->sim->process;
    p->jobs--;
    if (!p->dying)
        sim_after_here(p->sim, draw(&p->chance, 10, 2000), on_notice_stored, notice);
}

bool process_notice(struct sim *sim, int account, struct str desk_conversation, int64_t number)
{
    struct process *p = sim->process;
    const struct account *now = p && !p->stopping ? process_account(sim, account) : NULL;
    if (!now)
        return false;
    struct parked_notice *notice = mem_new_of(struct parked_notice);
    notice->sim = sim;
    notice->number = number;
    notice->conversation = arena_str(&notice->arena, desk_conversation);
    notice->news = (struct store_news){
        .account_id = now->id, .desk_conversations = &notice->conversation, .count = 1, .at_us = sim->clock.wall_us};
    notice->change = (struct store_change){.kind = STORE_NEWS, .news = &notice->news};
    notice->job = (struct job){.kind = JOB_ACCEPT,
                               .changes = &notice->change,
                               .change_count = 1,
                               .done = on_notice_committed,
                               .owner = notice};
    DL_APPEND(p->notices, notice);
    account_unref(now);
    if (!committer_submit(p->committer, &notice->job)) {
        free_notice(p, notice);
        agents_answered(sim, number, false);
        return true;
    }
    p->jobs++;
    wake_committer(p, commit_takes(p));
    return true;
}

int64_t process_resent(const struct sim *sim)
{
    if (sim->options->breakage == BREAK_RESEND)
        return 0;
    return (int64_t)atomic_load(&sim->process->tally->in_doubt[DOUBT_RESENT]);
}

// ---- by hand ----

const struct account *process_account(const struct sim *sim, int account)
{
    char name[30];
    snprintf(name, sizeof name, "account-%d", account);
    return sim->process ? directory_find(sim->process->directory, str_of(name)) : NULL;
}

static struct question *ask(struct sim *sim)
{
    struct question *question = mem_new_of(struct question);
    question->sim = sim;
    question->number = -1;
    DL_APPEND(sim->process->questions, question);
    return question;
}

static struct question *question_of(struct loop_task *task)
{
    return (struct question *)((char *)task - offsetof(struct job, task));
}

static void on_answered(struct loop_task *task)
{
    struct question *question = question_of(task);
    question->answered(question);
    free_question(question->sim->process, question);
}

static void submit_question(struct question *question, struct store_change change,
                            void (*answered)(struct question *question))
{
    question->change = change;
    question->answered = answered;
    question->job = (struct job){
        .kind = JOB_CHANGES, .changes = &question->change, .change_count = 1, .task.run = on_answered};
    submit(question->sim->process, &question->job);
}

static void on_posted(struct loop_task *task)
{
    struct question *question = question_of(task);
    if (question->sim->process->dying)
        free_question(question->sim->process, question);
    else
        question->begin(question);
}

static void on_post(struct sim *sim, struct sim_event *event)
{
    struct question *question = event->arg;
    question->job.task.run = on_posted;
    post(sim->process, &question->job.task);
}

// The asking thread reads what it needs, then posts to the loop.
static void post_question(struct question *question, void (*begin)(struct question *question))
{
    struct sim *sim = question->sim;
    question->begin = begin;
    sim_after_here(sim, draw(&sim->process->chance, 1, 3000), on_post, question);
}

static void publish(struct process *p, const struct account *account)
{
    const struct account *before = directory_find_id(p->directory, account->id);
    directory_put(p->directory, account_ref(account));
    if (p->sim->options->breakage != BREAK_SWITCH || account->active)
        dispatcher_account_changed(p->dispatcher, before, account);
    replies_account_changed(p->replies, before, account);
    account_unref(before);
}

static void on_account_stored(struct question *question)
{
    struct account *account = question->account;
    if (question->job.err)
        return;
    account->id = question->put.id;
    account->active = question->put.active;
    account->order = question->put.order;
    account->order_barrier = question->put.order_barrier;
    for (size_t i = 0; i < account->source_count; i++) {
        account->sources[i].id = question->source_ids[i];
        account->sources[i].account_id = account->id;
    }
    const struct account *before = directory_find_id(question->sim->process->directory, account->id);
    struct account *whole = before ? account_with_former(account, before) : account_ref(account);
    publish(question->sim->process, whole);
    account_unref(whole);
    account_unref(before);
}

static void on_put_account(struct question *question)
{
    submit_question(question, (struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &question->put},
                    on_account_stored);
}

// The layers above ask one thing of an account at a time.
static bool is_being_changed(const struct sim *sim, int number)
{
    const struct question *question = NULL;
    DL_FOREACH(sim->process->questions, question)
    {
        if (question->number == number)
            return true;
    }
    return false;
}

void process_put_account(struct sim *sim, const struct account *account)
{
    int number = account_number(account->name);
    if (is_being_changed(sim, number))
        return;
    struct question *question = ask(sim);
    question->number = number;
    question->account = account_copy(account);
    question->put = (struct store_account_put){.account = question->account, .source_ids = question->source_ids};
    post_question(question, on_put_account);
}

static void on_active_stored(struct question *question)
{
    struct process *p = question->sim->process;
    bool active = question->active.active;
    const struct account *now = directory_find_id(p->directory, question->active.account_id);
    if (!question->job.err && now && now->active != active) {
        struct account *copy = account_copy(now);
        copy->active = active;
        publish(p, copy);
        account_unref(copy);
    }
    account_unref(now);
    if (!question->job.err && !p->dying)
        oracle_active(question->sim, question->number, active, true);
}

static void on_set_active(struct question *question)
{
    submit_question(question, (struct store_change){.kind = STORE_ACCOUNT_ACTIVE, .account_active = &question->active},
                    on_active_stored);
}

void process_set_active(struct sim *sim, int account, bool active)
{
    const struct account *now = process_account(sim, account);
    if (!now || is_being_changed(sim, account)) {
        account_unref(now);
        return;
    }
    struct question *question = ask(sim);
    question->number = account;
    question->active = (struct store_account_active){now->id, active};
    account_unref(now);
    oracle_active(sim, account, active, false);
    post_question(question, on_set_active);
}

// As relay_accounts.c does.
static void forget_account(struct process *p, const struct account *account)
{
    struct account *empty = account_copy(account);
    empty->source_count = 0;
    empty->active = false;
    directory_remove(p->directory, account->id);
    dispatcher_account_changed(p->dispatcher, account, empty);
    replies_account_changed(p->replies, account, empty);
    account_unref(empty);
}

static void on_removed(struct question *question)
{
    struct process *p = question->sim->process;
    const struct account *now = directory_find_id(p->directory, question->gone.account_id);
    bool removed = !question->job.err && question->gone.applied && now;
    if (removed && question->sim->options->breakage != BREAK_REMOVAL)
        forget_account(p, now);
    if (removed && !p->dying)
        oracle_removed(question->sim, question->number);
    account_unref(now);
}

static void on_remove_account(struct question *question)
{
    submit_question(question, (struct store_change){.kind = STORE_ACCOUNT_GONE, .account_gone = &question->gone},
                    on_removed);
}

void process_remove_account(struct sim *sim, int account)
{
    const struct account *now = process_account(sim, account);
    if (now && !is_being_changed(sim, account)) {
        struct question *question = ask(sim);
        question->number = account;
        question->gone.account_id = now->id;
        post_question(question, on_remove_account);
    }
    account_unref(now);
}

static void on_resume(struct question *question)
{
    struct process *p = question->sim->process;
    const struct account *account = directory_find_id(p->directory, question->active.account_id);
    if (account) {
        oracle_resumed(question->sim, desk_identity(&account->desk));
        for (size_t i = 0; i < account->source_count; i++)
            oracle_resumed(question->sim, source_identity(&account->sources[i]));
        dispatcher_resume_desk(p->dispatcher, account);
    }
    account_unref(account);
    free_question(p, question);
}

void process_resume(struct sim *sim, int account)
{
    const struct account *now = process_account(sim, account);
    if (!now)
        return;
    struct question *question = ask(sim);
    question->active.account_id = now->id;
    account_unref(now);
    post_question(question, on_resume);
}

static void on_break_guard(struct sim *sim, struct sim_event *event)
{
    (void)event;
    for (int a = 0; a < sim->plan.accounts; a++) {
        const struct account *account = process_account(sim, a);
        if (account)
            dispatcher_resume_desk(sim->process->dispatcher, account);
        account_unref(account);
    }
}

void process_break_guard(struct sim *sim)
{
    if (process_is_up(sim))
        sim_after_here(sim, 0, on_break_guard, NULL);
}

static struct question *question_of_hand(struct by_hand *hand)
{
    return (struct question *)((char *)hand - offsetof(struct question, hand));
}

static void on_message_retried(struct by_hand *hand, int err)
{
    struct question *question = question_of_hand(hand);
    (void)err;
    free_question(question->sim->process, question);
}

static void on_retry(struct question *question)
{
    by_hand_retry(&question->hand, &question->sim->process->by_hand, question->message_id);
}

void process_retry(struct sim *sim, int64_t message_id)
{
    struct question *question = ask(sim);
    sim_trace(sim, "by hand: retry of message %lld", (long long)message_id);
    oracle_by_hand(sim, message_id);
    question->message_id = message_id;
    question->hand.answered = on_message_retried;
    post_question(question, on_retry);
}

static void on_message_discarded(struct by_hand *hand, int err)
{
    struct question *question = question_of_hand(hand);
    struct process *p = question->sim->process;
    if (!p->dying)
        oracle_discarded(question->sim, question->message_id, err);
    free_question(p, question);
}

static void on_discard(struct question *question)
{
    by_hand_discard(&question->hand, &question->sim->process->by_hand, question->message_id);
}

void process_discard(struct sim *sim, int64_t message_id)
{
    sim_trace(sim, "by hand: discard of message %lld", (long long)message_id);
    oracle_by_hand(sim, message_id);
    if (sim->options->breakage == BREAK_DISCARD) { // answered, and not done
        oracle_discarded(sim, message_id, 0);
        return;
    }
    struct question *question = ask(sim);
    question->message_id = message_id;
    question->hand.answered = on_message_discarded;
    post_question(question, on_discard);
}

bool process_is_asked(const struct sim *sim)
{
    return sim->process->questions != NULL;
}

int64_t process_since_us(const struct sim *sim)
{
    return sim->process->since_us;
}

bool process_suspends(const struct sim *sim, uint64_t identity)
{
    char reason[80];
    struct board_desk desk;
    board_desk_get(sim->process->board, identity, &desk, reason, sizeof reason);
    return desk.suspended && strcmp(reason, "guard") != 0;
}

static int account_named(const struct sim *sim, struct str name)
{
    const struct account *account = directory_find(sim->process->directory, name);
    int number = account ? account_number(account->name) : -1;
    account_unref(account);
    return number;
}

// For an hour perhaps; until then nobody asks it, and nobody knows that it is well.
static bool desk_asks_to_wait(const struct sim *sim, int account)
{
    return account >= 0 && world_free_since_us(sim, sim->plan.desk_of[account]) == INT64_MAX;
}

static void on_alarm(void *arg, const struct board_alarm_line *line)
{
    struct sim *sim = arg;
    int number = account_named(sim, line->subject);
    bool passing = strcmp(line->name, "disk_full") == 0 || strcmp(line->name, "store_busy") == 0;
    if (strcmp(line->name, "replies_unread") == 0 && number >= 0) // it is read again when that is over
        passing = world_read_asked_us(sim, sim->plan.desk_of[number]) > sim_now(sim) - 2 * (int64_t)MINUTE;
    if (passing || desk_asks_to_wait(sim, number)) // until a webhook is stored, or it is over
        return;
    sim_fail(sim, "ALARM", "the alarm %s of %.*s stands when all is settled and well: %.*s", line->name,
             STR_ARG(line->subject), STR_ARG(line->text));
}

void process_show_alarms(struct sim *sim)
{
    if (!sim->process)
        return;
    board_each_alarm(sim->process->board, on_alarm, sim);
    for (int a = 0; a < sim->plan.accounts; a++) {
        const struct account *account = process_account(sim, a);
        if (account && !desk_asks_to_wait(sim, a) && process_suspends(sim, desk_identity(&account->desk)))
            sim_fail(sim, "A8", "the desk of account %d is suspended when all is settled and well", a);
        account_unref(account);
    }
}

// ---- accounts as they begin ----

int account_number(struct str name)
{
    int64_t number = -1;
    must(str_to_i64(str_sub(name, sizeof "account-" - 1, name.n), &number));
    return (int)number;
}

void source_name(int number, char *out, size_t size)
{
    snprintf(out, size, number ? "shop%d" : "shop", number);
}

void source_of_plan(const struct sim *sim, struct account *account, int number)
{
    struct source *sources = arena_alloc(&account->arena, MOST_SOURCES * sizeof *sources);
    char name[20];
    int owner = account_number(account->name);
    source_name(number, name, sizeof name);
    for (size_t i = 0; i < account->source_count; i++)
        sources[i] = account->sources[i];
    sources[account->source_count++] = (struct source){.account = account->name,
                                                       .name = arena_str(&account->arena, str_of(name)),
                                                       .platform = STR("webhook"),
                                                       .secret = STR("none")};
    if (sim->plan.telegram[owner]) {
        struct source *bot = &sources[account->source_count - 1];
        bot->platform = STR("telegram");
        bot->secret = STR_NONE;
        bot->api_url = BOT_URL;
        bot->token = bot_token(owner, number, &account->arena);
    }
    account->sources = sources;
}

struct account *account_of_plan(const struct sim *sim, int index)
{
    const struct plan *plan = &sim->plan;
    int desk = plan->desk_of[index];
    struct account *account = account_new();
    struct arena *arena = &account->arena;
    account->name = arena_printf(arena, "account-%d", index);
    account->order = plan->order[index];
    account->on_failure = plan->on_failure[index];
    account->in_doubt = plan->in_doubt[index];
    if (sim->options->breakage == BREAK_HOLD)
        account->in_doubt = IN_DOUBT_RESEND;
    account->replies = plan->replies[index];
    for (int i = 0; i < plan->sources[index]; i++)
        source_of_plan(sim, account, i);
    account->desk = (struct desk){.probe = plan->desk[desk].probe, .rate_per_min = plan->rate_per_min[index]};
    if (plan->desk[desk].intercom) {
        account->desk.platform = STR("intercom");
        account->desk.token = STR("token-0");
        account->desk.api_url = arena_printf(arena, "http://desk%d.test", desk);
    } else {
        account->desk.platform = STR("webhook");
        account->desk.url = arena_printf(arena, "http://desk%d.test/0", desk);
        account->desk.secret = STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }
    return account;
}
