// One conversation with news: read at the desk, told whose it is by the store, and its new parts stored as replies.
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "platform/platform.h"
#include "relay/replies_own.h"

#include <stdlib.h>
#include <utlist.h>

enum {
    MOST_REQUESTS = 10, // of one fetch
    LATE_S = 300,       // a desk may be so late with what it tells, and with what it finds
    NEWCOMER_S = 86400, // of a conversation that an agent began at a desk that was never searched: the last day
};

struct fetch {
    struct job job; // first
    struct replies *replies;
    struct thread_news *news;
    const struct account *account; // counted
    const struct desk_connector *connector;
    struct arena arena;
    struct desk_fetch steps;
    int requests;
    int64_t asked_us; // wall time
    int64_t desk_s;   // what the desk's clock said last
    void *call;
    struct store_thread thread;
    struct store_taken taken;
    struct reply_batch batch;
    struct store_change *changes;
    struct fetch *prev, *next;
};

static void fetch_free(struct fetch *fetch)
{
    DL_DELETE(fetch->replies->fetches, fetch);
    reply_batch_done(&fetch->batch);
    account_unref(fetch->account);
    arena_done(&fetch->arena);
    free(fetch);
}

static void end_well(struct fetch *fetch)
{
    struct thread_news *news = fetch->news;
    fetch_free(fetch);
    reader_fetched(news);
}

static void end_failed(struct fetch *fetch, struct verdict verdict)
{
    struct thread_news *news = fetch->news;
    verdict.error = STR_NONE; // of the arena
    fetch_free(fetch);
    reader_failed(news, &verdict);
}

static void end_unstored(struct fetch *fetch)
{
    end_failed(fetch, (struct verdict){.kind = VERDICT_DESK_DOWN});
}

static struct fetch *fetch_of(struct loop_task *task)
{
    return (struct fetch *)((char *)task - offsetof(struct job, task));
}

static void submit(struct fetch *fetch, enum job_kind kind, struct store_change *changes, size_t count,
                   void (*run)(struct loop_task *task))
{
    struct replies *replies = fetch->replies;
    fetch->job = (struct job){.kind = kind, .changes = changes, .change_count = count, .task.run = run};
    if (!replies->ports.submit(replies->ports.arg, &fetch->job))
        end_unstored(fetch);
}

// ---- stored ----

static void tell_batch(const struct fetch *fetch, const struct source *source)
{
    const struct replies_options *options = &fetch->replies->options;
    struct str platform = source ? source->platform : STR("");
    for (size_t i = 0; i < fetch->batch.count; i++) {
        const struct store_accept *accept = &fetch->batch.accepts[i];
        // Read again (nobody sent it twice), or a change of what is not here.
        if (accept->result == ACCEPT_DUPLICATE || accept->result == ACCEPT_NOTHING)
            continue;
        tally_message(options->tally, TALLY_ACCEPTED, platform, REPLY);
        if (accept->state == MESSAGE_DISCARDED)
            tally_message(options->tally, TALLY_DISCARDED, platform, REPLY);
    }
}

static void on_stored(struct loop_task *task)
{
    struct fetch *fetch = fetch_of(task);
    if (fetch->job.err) {
        end_unstored(fetch);
        return;
    }
    if (fetch->batch.guard.count) {
        fetch->news->guard = fetch->batch.guard;
        fetch->news->guarded_us = replies_mono_us(fetch->replies);
    }
    tell_batch(fetch, account_find_any_source_id(fetch->account, fetch->thread.source_id));
    if (fetch->batch.looped)
        log_error("reply_loop", LOG_S("account", fetch->account->name),
                  LOG_N("conversation", fetch->thread.conversation_id), LOG_N("discarded", fetch->batch.looped));
    end_well(fetch);
}

static void store(struct fetch *fetch)
{
    const struct reply_batch *batch = &fetch->batch;
    fetch->taken = (struct store_taken){
        .account_id = fetch->account->id,
        .desk_conversation = fetch->news->conversation,
        .conversation_id = fetch->thread.conversation_id,
        .taken_s = batch->taken_s,
        .asked_us = fetch->asked_us,
    };
    fetch->changes = arena_alloc(&fetch->arena, (batch->count + 1) * sizeof *fetch->changes);
    for (size_t i = 0; i < batch->count; i++)
        fetch->changes[i] = (struct store_change){.kind = STORE_ACCEPT, .accept = &batch->accepts[i]};
    fetch->changes[batch->count] = (struct store_change){.kind = STORE_TAKEN, .taken = &fetch->taken};
    submit(fetch, JOB_ACCEPT, fetch->changes, batch->count + 1, on_stored);
}

// ---- whose it is ----

// Of a conversation that an agent began: what was said before the desk was searched last is history of before there were replies,
// or before its customer was known.
static int64_t newcomer_s(int64_t searched_s, int64_t now_s)
{
    return searched_s ? searched_s - LATE_S : now_s - NEWCOMER_S;
}

static void make_batch(struct fetch *fetch, int64_t now_us)
{
    const struct replies_options *options = &fetch->replies->options;
    const struct source *source = account_find_any_source_id(fetch->account, fetch->thread.source_id);
    const struct reply_taking taking = {
        .account = fetch->account,
        .platform = source ? platform_find(source->platform) : NULL,
        .thread = &fetch->thread,
        .now_us = now_us,
        .desk_s = fetch->desk_s,
        .keep_dedupe_us = options->keep_dedupe_us,
        .media_wait_us = options->media_wait_us,
    };
    reply_batch_make(&fetch->batch, &taking, fetch->steps.parts, fetch->steps.part_count, &fetch->news->guard);
}

static void on_thread(struct loop_task *task)
{
    struct fetch *fetch = fetch_of(task);
    struct replies *replies = fetch->replies;
    int64_t now_us = replies_now_us(replies);
    if (fetch->job.err) {
        end_unstored(fetch);
        return;
    }
    if (!fetch->thread.conversation_id && !fetch->steps.gone && reader_waits_for_owner(fetch->news)) {
        end_well(fetch);
        return;
    }
    if (fetch->thread.conversation_id && !fetch->thread.known)
        fetch->thread.taken_s = newcomer_s(fetch->thread.taken_s, now_us / 1000000);
    if (fetch->thread.conversation_id && !fetch->steps.gone)
        make_batch(fetch, now_us);
    store(fetch);
}

static void ask_whose(struct fetch *fetch)
{
    fetch->thread = (struct store_thread){
        .account_id = fetch->account->id,
        .desk_conversation = fetch->news->conversation,
        .contact = fetch->steps.contact,
        .arena = &fetch->arena,
    };
    fetch->changes = arena_of(&fetch->arena, struct store_change);
    *fetch->changes = (struct store_change){.kind = STORE_THREAD, .thread = &fetch->thread};
    submit(fetch, JOB_CHANGES, fetch->changes, 1, on_thread);
}

// ---- reading ----

static void go_on(struct fetch *fetch, const struct http_response *last);

static void on_answer(void *arg, const struct http_response *last)
{
    struct fetch *fetch = arg;
    fetch->call = NULL;
    if (last->failure == HTTP_CANCELLED)
        end_failed(fetch, (struct verdict){.kind = VERDICT_WAIT});
    else
        go_on(fetch, last);
}

static void go_on(struct fetch *fetch, const struct http_response *last)
{
    struct replies *replies = fetch->replies;
    struct http_request request = {0};
    fetch->steps.now_us = replies_now_us(replies);
    if (last)
        fetch->desk_s = verdict_date_s(last);
    if (!fetch->connector->fetch(&fetch->steps, last, &request)) {
        if (fetch->steps.verdict.kind == VERDICT_DELIVERED)
            ask_whose(fetch);
        else
            end_failed(fetch, fetch->steps.verdict);
    } else if (fetch->requests++ >= MOST_REQUESTS) {
        end_failed(fetch, (struct verdict){.kind = VERDICT_RETRY});
    } else {
        fetch->call = replies->ports.send(replies->ports.arg, &request, replies->options.timeout_ms, on_answer, fetch);
    }
}

void fetch_begin(struct thread_news *news, const struct account *account)
{
    struct fetch *fetch = mem_new_of(struct fetch);
    fetch->replies = news->reader->replies;
    fetch->news = news;
    fetch->account = account_ref(account);
    fetch->connector = desk_connector_find(account->desk.platform);
    fetch->asked_us = replies_now_us(fetch->replies);
    fetch->steps = (struct desk_fetch){
        .account = fetch->account, .conversation = news->conversation, .arena = &fetch->arena};
    DL_APPEND(fetch->replies->fetches, fetch);
    go_on(fetch, NULL);
}

void fetches_cancel(struct replies *replies)
{
    struct fetch *fetch, *next;
    DL_FOREACH_SAFE(replies->fetches, fetch, next)
    {
        if (fetch->call)
            replies->ports.cancel(replies->ports.arg, fetch->call);
    }
}
