#include "relay/sources.h"

#include "base/chance.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"
#include "platform/platform.h"
#include "relay/tell.h"

#include <stdlib.h>
#include <string.h>

enum {
    TROUBLE_PAUSE_MS = 2000,
    REFUSED_PAUSE_MS = 5000, // the account has no room: that takes longer to pass
};

struct keeper {
    struct sources *sources;
    int64_t source_id;
    const struct account *account; // counted
    const struct source *source;   // of the account
    const struct platform *platform;
    struct source_upkeep upkeep;
    struct arena step; // of the last answer and what was made of it
    struct loop_timer *timer;
    struct http_call *call;
    bool storing; // a batch or something learned is with the committer
    bool gone;    // ended: freed when nothing is in progress
    struct job job;
    struct store_change change;
    struct store_source_learned learned;
    UT_hash_handle hh;
};

struct sources {
    struct sources_options options;
    struct http_client *client; // not the delivery's: a long poll holds its connection
    struct keeper *keepers;     // by source id
};

struct sources *sources_new(const struct sources_options *options)
{
    struct sources *sources = mem_new_of(struct sources);
    struct http_client_options client;
    http_client_options_default(&client);
    client.max_connections = 4096;
    sources->options = *options;
    sources->client = http_client_new(options->loop, &client);
    return sources;
}

static struct str subject_of(struct keeper *keeper)
{
    return arena_printf(&keeper->step, "%.*s/%.*s", STR_ARG(keeper->account->name), STR_ARG(keeper->source->name));
}

static void keeper_free(struct keeper *keeper)
{
    loop_timer_free(keeper->timer);
    arena_done(&keeper->upkeep.memory);
    arena_done(&keeper->upkeep.batch);
    arena_done(&keeper->step);
    account_unref(keeper->account);
    free(keeper);
}

static void keeper_free_if_done(struct keeper *keeper)
{
    if (keeper->gone && !keeper->call && !keeper->storing)
        keeper_free(keeper);
}

static void keeper_end(struct keeper *keeper)
{
    HASH_DEL(keeper->sources->keepers, keeper);
    keeper->gone = true;
    loop_timer_clear(keeper->timer);
    board_alarm_end(keeper->sources->options.board, "source_refused", subject_of(keeper));
    if (keeper->call)
        http_call_cancel(keeper->call); // its done() frees the keeper
    else
        keeper_free_if_done(keeper);
}

static void show(const struct keeper *keeper, enum source_health health, struct str text)
{
    struct board *board = keeper->sources->options.board;
    if (board_source_set(board, keeper->source_id, health, text))
        tell_source(board, keeper->account, keeper->source, health, text);
}

static void keep(struct keeper *keeper, const struct http_response *last);

static void on_time(void *arg)
{
    keep(arg, NULL);
}

static void rest(struct keeper *keeper, enum source_health health, struct str why, int64_t until_us)
{
    struct sources *sources = keeper->sources;
    int64_t pause_ms = (until_us - clock_wall_us(sources->options.clock)) / 1000;
    show(keeper, health, why);
    if (health == SOURCE_REFUSED)
        board_alarm(sources->options.board, "source_refused", subject_of(keeper), why);
    else
        board_alarm_end(sources->options.board, "source_refused", subject_of(keeper));
    if (health == SOURCE_TROUBLE)
        log_warn("source_trouble", LOG_S("source", subject_of(keeper)), LOG_S("why", why));
    loop_timer_set(keeper->timer, pause_ms > 0 ? pause_ms : 0);
}

// The answer's texts must outlive it: what is made of them is stored later.
static struct http_response keep_answer(struct arena *arena, const struct http_response *from)
{
    struct http_response copy = *from;
    struct http_header *headers = arena_alloc(arena, from->header_count * sizeof *headers);
    for (size_t i = 0; i < from->header_count; i++)
        headers[i] = (struct http_header){arena_str(arena, from->headers[i].name),
                                          arena_str(arena, from->headers[i].value)};
    copy.headers = headers;
    copy.body = arena_str(arena, from->body);
    copy.error = arena_str(arena, from->error);
    return copy;
}

static void on_answer(void *arg, const struct http_response *response)
{
    struct keeper *keeper = arg;
    keeper->call = NULL;
    if (keeper->gone)
        keeper_free_if_done(keeper);
    else if (response->failure != HTTP_CANCELLED)
        keep(keeper, response);
}

static void upkeep_begin(struct keeper *keeper)
{
    struct source_upkeep *upkeep = &keeper->upkeep;
    arena_done(&upkeep->memory);
    arena_done(&upkeep->batch);
    *upkeep = (struct source_upkeep){
        .source = keeper->source,
        .public_url = keeper->sources->options.public_url,
        .order = keeper->account->order,
    };
    upkeep->made_secret = arena_str(&upkeep->memory, keeper->source->made_secret);
    upkeep->registered_url = arena_str(&upkeep->memory, keeper->source->registered_url);
}

// What was not stored is not confirmed: the steps begin anew, and the platform gives the same again.
static void begin_anew_for(struct keeper *keeper, struct str why, int64_t pause_ms)
{
    upkeep_begin(keeper);
    rest(keeper, SOURCE_TROUBLE, why, clock_wall_us(keeper->sources->options.clock) + pause_ms * 1000);
}

static void begin_anew(struct keeper *keeper)
{
    begin_anew_for(keeper, STR("the store takes nothing now"), TROUBLE_PAUSE_MS);
}

static void on_stored(struct intake_batch *batch, int err)
{
    struct keeper *keeper = batch->arg;
    struct str refused = batch->refused; // static
    intake_batch_free(batch);
    keeper->storing = false;
    if (keeper->gone)
        keeper_free_if_done(keeper);
    else if (err)
        begin_anew(keeper);
    else if (refused.p)
        begin_anew_for(keeper, refused, REFUSED_PAUSE_MS);
    else
        keep(keeper, NULL);
}

// A platform that is asked cannot be told to send one message again: all behind a refused one would wait with it, whoever wrote them. So
// none is refused for the bytes of its files (quota.files), which are not fetched then, and it says so.
static void store_events(struct keeper *keeper, const struct source_step *step)
{
    const struct intake *intake = keeper->sources->options.intake;
    struct intake_batch *batch = intake_batch_new(intake, account_ref(keeper->account), keeper->source, step->events,
                                                  step->event_count);
    for (size_t i = 0; i < step->event_count; i++)
        batch->accepts[i].most_file_bytes = 0;
    keeper->storing = true;
    if (intake_submit(intake, batch, keeper->sources->options.loop, on_stored, keeper))
        return;
    batch->arg = keeper;
    on_stored(batch, ERR_FULL);
}

// The directory's account with what its source learned; the keeper goes on with that version.
static void publish_learned(struct keeper *keeper)
{
    struct directory *directory = keeper->sources->options.directory;
    const struct account *now = directory_find_id(directory, keeper->account->id);
    if (!now)
        return;
    struct account *copy = account_copy(now);
    account_unref(now);
    for (size_t i = 0; i < copy->source_count; i++) {
        struct source *source = &copy->sources[i];
        if (source->id != keeper->source_id)
            continue;
        source->made_secret = arena_str(&copy->arena, keeper->upkeep.made_secret);
        source->registered_url = arena_str(&copy->arena, keeper->upkeep.registered_url);
    }
    directory_put(directory, account_ref(copy));
    account_unref(keeper->account);
    keeper->account = copy;
    keeper->source = account_find_source_id(copy, keeper->source_id);
    keeper->upkeep.source = keeper->source;
    must(keeper->source);
}

static void on_learned(struct loop_task *task)
{
    struct job *job = (struct job *)((char *)task - offsetof(struct job, task));
    struct keeper *keeper = job->owner;
    keeper->storing = false;
    if (keeper->gone) {
        keeper_free_if_done(keeper);
        return;
    }
    if (job->err) {
        begin_anew(keeper);
        return;
    }
    publish_learned(keeper);
    keep(keeper, NULL);
}

static void post_back(struct job *job)
{
    struct keeper *keeper = job->owner;
    must(loop_post(keeper->sources->options.loop, &job->task));
}

static void store_learned(struct keeper *keeper)
{
    keeper->learned = (struct store_source_learned){
        .source_id = keeper->source_id,
        .made_secret = keeper->upkeep.made_secret,
        .registered_url = keeper->upkeep.registered_url,
    };
    keeper->change = (struct store_change){.kind = STORE_SOURCE_LEARNED, .source_learned = &keeper->learned};
    keeper->job = (struct job){
        .kind = JOB_CHANGES,
        .changes = &keeper->change,
        .change_count = 1,
        .done = post_back,
        .owner = keeper,
        .task.run = on_learned,
    };
    keeper->storing = true;
    must(committer_submit(keeper->sources->options.intake->committer, &keeper->job));
}

static void keep(struct keeper *keeper, const struct http_response *last)
{
    struct sources *sources = keeper->sources;
    struct source_step step = {0};
    struct http_response answer;
    arena_done(&keeper->step);
    if (last)
        answer = keep_answer(&keeper->step, last);
    chance_secret(keeper->upkeep.fresh_secret, sizeof keeper->upkeep.fresh_secret);
    keeper->platform->keep(&keeper->upkeep, last ? &answer : NULL, clock_wall_us(sources->options.clock), &keeper->step,
                           &step);
    switch (step.kind) {
    case SOURCE_SEND:
        keeper->call = http_client_send(sources->client, &step.request, step.timeout_ms, on_answer, keeper);
        break;
    case SOURCE_STORE:
        show(keeper, SOURCE_WELL, STR(""));
        store_events(keeper, &step);
        break;
    case SOURCE_LEARN:
        store_learned(keeper);
        break;
    case SOURCE_REST:
        rest(keeper, step.healthy ? SOURCE_WELL : SOURCE_TROUBLE, step.why, step.until_us);
        break;
    case SOURCE_REFUSE:
        rest(keeper, SOURCE_REFUSED, step.why, step.until_us);
        break;
    }
}

static void keeper_begin(struct sources *sources, const struct account *account, const struct source *source,
                         const struct platform *platform)
{
    struct keeper *keeper = mem_new_of(struct keeper);
    keeper->sources = sources;
    keeper->source_id = source->id;
    keeper->account = account_ref(account);
    keeper->source = source;
    keeper->platform = platform;
    keeper->timer = loop_timer_new(sources->options.loop, on_time, keeper);
    upkeep_begin(keeper);
    HASH_ADD(hh, sources->keepers, source_id, sizeof keeper->source_id, keeper);
    show(keeper, SOURCE_STARTING, STR("being connected"));
    loop_timer_set(keeper->timer, 0);
}

static bool is_kept_the_same(const struct keeper *keeper, const struct account *account, const struct source *source)
{
    const struct source *before = keeper->source;
    return str_eq(before->platform, source->platform) && str_eq(before->token, source->token) &&
           str_eq(before->secret, source->secret) && str_eq(before->api_url, source->api_url) &&
           before->mode == source->mode && before->take_over == source->take_over &&
           str_eq(before->name, source->name) && keeper->upkeep.order == account->order;
}

static struct keeper *find_keeper(struct sources *sources, int64_t source_id)
{
    struct keeper *keeper = NULL;
    HASH_FIND(hh, sources->keepers, &source_id, sizeof source_id, keeper);
    return keeper;
}

static void source_changed(struct sources *sources, const struct account *account, const struct source *source)
{
    struct keeper *keeper = find_keeper(sources, source->id);
    const struct platform *platform = platform_find(source->platform);
    if (keeper && is_kept_the_same(keeper, account, source)) {
        account_unref(keeper->account);
        keeper->account = account_ref(account);
        keeper->source = keeper->upkeep.source = source;
        return;
    }
    if (keeper)
        keeper_end(keeper);
    if (platform && platform->keep)
        keeper_begin(sources, account, source, platform);
}

void sources_account_changed(struct sources *sources, const struct account *before, const struct account *now)
{
    for (size_t i = 0; before && i < before->source_count; i++) {
        struct keeper *keeper = find_keeper(sources, before->sources[i].id);
        if (keeper && (now->left_file || !account_find_source_id(now, keeper->source_id)))
            keeper_end(keeper);
    }
    for (size_t i = 0; i < now->source_count && !now->left_file; i++)
        source_changed(sources, now, &now->sources[i]);
}

void sources_stop(struct sources *sources)
{
    struct keeper *keeper, *next;
    HASH_ITER(hh, sources->keepers, keeper, next)
    {
        keeper_end(keeper);
    }
}

void sources_free(struct sources *sources)
{
    if (!sources)
        return;
    must(!sources->keepers);
    http_client_free(sources->client);
    free(sources);
}
