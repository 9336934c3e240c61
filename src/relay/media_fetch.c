// One try at one file: asks its connector for the next request, sends it, lets the bytes go to the disk, until there is a
// verdict; then what became of it goes to the store.
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "desk/desk.h"
#include "model/backoff.h"
#include "platform/platform.h"
#include "relay/media_own.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    MOST_REQUESTS = 10, // of one try
    PAUSE_MS = 2000,    // after a failure, doubled with each
    PAUSE_CAP_MS = 300000,
    GET_TIMES = 10, // the file itself may take so many times as long as another answer
};

static const int64_t over_quota_us = INT64_C(3600) * 1000000; // until it is seen whether the account has room
static const int64_t give_up_us = INT64_C(86400) * 1000000;   // after the message came
static const int64_t longest_us = INT64_C(3600) * 1000000;    // of a wait

void media_fetch_free(struct media_fetch *fetch)
{
    struct media *media = fetch->media;
    must(!fetch->call);
    media->options.files->ops->drop(fetch->file);
    if (fetch->avatar) {
        DL_DELETE(media->avatars, fetch);
    } else {
        DL_DELETE(media->fetches, fetch);
        media->fetch_count--;
    }
    account_unref(fetch->account);
    arena_done(&fetch->arena);
    free(fetch);
}

static void end(struct media_fetch *fetch)
{
    struct media *media = fetch->media;
    bool avatar = fetch->avatar != NULL;
    media_fetch_free(fetch);
    if (avatar)
        media_avatar_ended(media);
    else
        media_fetched(media);
}

// ---- what became of it ----

static struct str platform_name(const struct media_fetch *fetch)
{
    return fetch->steps.source ? fetch->steps.source->platform : STR("");
}

static void report(const struct media_fetch *fetch)
{
    const struct store_file *outcome = &fetch->outcome;
    enum tally_file event = outcome->state == FILE_KEPT     ? TALLY_FILE_KEPT
                            : outcome->state == FILE_FAILED ? TALLY_FILE_FAILED
                                                            : TALLY_FILE_RETRIED;
    tally_file(fetch->media->options.tally, event, outcome->state == FILE_KEPT ? outcome->size : 0);
    if (outcome->state == FILE_FAILED) // why stays in the store: it could repeat what its peer says
        log_warn("file_failed", LOG_N("message", outcome->message_id), LOG_N("file", outcome->nth),
                 LOG_S("account", fetch->account ? fetch->account->name : STR("")),
                 LOG_S("platform", platform_name(fetch)), LOG_N("attempts", outcome->attempts));
}

static void on_stored(struct loop_task *task)
{
    struct media_fetch *fetch = (struct media_fetch *)((char *)task - offsetof(struct job, task));
    bool known = !fetch->job.err && fetch->outcome.applied;
    if (known)
        report(fetch);
    if (known && fetch->outcome.state == FILE_KEPT)
        media_has_more(fetch->media, fetch->wanted.account_id, fetch->outcome.size);
    if (fetch->hash[0] && !known)
        media_is_unsure(fetch->media, str_of(fetch->hash));
    end(fetch);
}

static void store(struct media_fetch *fetch)
{
    struct media *media = fetch->media;
    struct store_file *outcome = &fetch->outcome;
    outcome->message_id = fetch->wanted.message_id;
    outcome->nth = fetch->wanted.nth;
    outcome->attempts = fetch->wanted.attempts + 1;
    outcome->at_us = media_now_us(media);
    fetch->change = (struct store_change){.kind = STORE_FILE, .file = outcome};
    fetch->job = (struct job){.kind = JOB_CHANGES, .changes = &fetch->change, .change_count = 1};
    fetch->job.task.run = on_stored;
    if (media->ports.submit(media->ports.arg, &fetch->job))
        return;
    if (fetch->hash[0])
        media_is_unsure(media, str_of(fetch->hash));
    media_fetch_free(fetch); // it is wanted still
    media_ask_later(media);
}

static void fail(struct media_fetch *fetch, struct str why)
{
    fetch->outcome = (struct store_file){.state = FILE_FAILED, .size = -1, .why = why.n ? why : STR("no answer")};
    store(fetch);
}

// What was written is given up, and nothing is counted: it is wanted as before.
static void rest(struct media_fetch *fetch, int err)
{
    media_rest(fetch->media, err);
    end(fetch);
}

static void keep(struct media_fetch *fetch)
{
    struct media_files *files = fetch->media->options.files;
    struct store_file *outcome = &fetch->outcome;
    int err = ERR_OK;
    if (!fetch->file) // an empty one
        fetch->file = files->ops->begin(files, &err);
    struct str mime = STR_NONE;
    int64_t size = 0;
    if (!err)
        err = files->ops->keep(fetch->file, fetch->hash, &size, &mime);
    fetch->file = NULL;
    if (err) {
        fetch->hash[0] = 0;
        rest(fetch, err);
        return;
    }
    *outcome = (struct store_file){
        .state = FILE_KEPT, .hash = str_of(fetch->hash), .mime = mime.p ? mime : fetch->wanted.file.mime, .size = size};
    store(fetch);
}

// At most an hour is waited for who asks for it.
static void try_later(struct media_fetch *fetch, const struct verdict *verdict)
{
    struct media *media = fetch->media;
    int64_t now_us = media_now_us(media), last_us = fetch->wanted.received_at_us + give_up_us;
    if (now_us >= last_us) {
        fail(fetch, verdict->error);
        return;
    }
    int64_t pause_ms = backoff_pause(PAUSE_MS, PAUSE_CAP_MS, fetch->wanted.attempts + 1, &media->chance);
    int64_t at_us = now_us + pause_ms * 1000;
    if (verdict->until_us > at_us)
        at_us = verdict->until_us < now_us + longest_us ? verdict->until_us : now_us + longest_us;
    fetch->outcome = (struct store_file){
        .state = FILE_WANTED, .size = -1, .next_attempt_us = at_us < last_us ? at_us : last_us};
    store(fetch);
}

// ---- the try ----

static bool on_bytes(void *arg, struct str bytes)
{
    struct media_fetch *fetch = arg;
    struct media_files *files = fetch->media->options.files;
    if (!fetch->file)
        fetch->file = files->ops->begin(files, &fetch->disk_err);
    if (fetch->file)
        fetch->disk_err = files->ops->write(fetch->file, bytes);
    return !fetch->disk_err;
}

static void drop_file(struct media_fetch *fetch)
{
    fetch->media->options.files->ops->drop(fetch->file);
    fetch->file = NULL;
}

static void on_answer(void *arg, const struct http_response *response);

static void send_request(struct media_fetch *fetch, const struct file_step *step)
{
    struct media *media = fetch->media;
    int64_t timeout_ms = media->options.timeout_ms;
    drop_file(fetch); // of an answer before this one
    fetch->has_body = false;
    fetch->gets = step->kind == FILE_GET;
    fetch->sink = (struct media_sink){.arg = fetch, .write = on_bytes, .max = fetch->steps.max_size};
    fetch->call = media->ports.send(media->ports.arg, &step->request, step->trusted, fetch->gets ? &fetch->sink : NULL,
                                    fetch->gets ? timeout_ms * GET_TIMES : timeout_ms, on_answer, fetch);
}

static void judge(struct media_fetch *fetch, const struct verdict *verdict)
{
    if (fetch->avatar)
        media_avatar_judged(fetch, verdict);
    else if (verdict->kind == VERDICT_DELIVERED && fetch->has_body)
        keep(fetch);
    else if (verdict->kind == VERDICT_REJECTED)
        fail(fetch, verdict->error);
    else
        try_later(fetch, verdict);
}

static void take_step(struct media_fetch *fetch, const struct http_response *last)
{
    struct file_step step = {0};
    fetch->steps.now_us = media_now_us(fetch->media);
    fetch->step(&fetch->steps, last, &step);
    if (step.kind == FILE_END)
        judge(fetch, &step.verdict);
    else if (fetch->requests++ >= MOST_REQUESTS)
        judge(fetch, &(struct verdict){.kind = VERDICT_RETRY, .error = STR("the answers lead in circles")});
    else
        send_request(fetch, &step);
}

void media_fetch_start(struct media_fetch *fetch)
{
    take_step(fetch, NULL);
}

static void on_answer(void *arg, const struct http_response *response)
{
    struct media_fetch *fetch = arg;
    fetch->call = NULL;
    fetch->has_body = fetch->gets && response->failure == HTTP_ANSWERED && response->status == 200;
    if (fetch->media->stopping)
        end(fetch);
    else if (fetch->disk_err == ERR_TOO_LARGE) // of the others it says nothing
        judge(fetch, &(struct verdict){.kind = VERDICT_REJECTED,
                                       .error = STR("it is larger than a file may be where the relay keeps them")});
    else if (fetch->disk_err)
        rest(fetch, fetch->disk_err);
    else
        take_step(fetch, response);
}

// "https://api.example:8443" of "https://api.example:8443/v2/": STR_NONE of what is no URL.
static struct str origin_of(struct str url)
{
    const char *scheme_end = url.p ? memmem(url.p, url.n, "://", 3) : NULL;
    if (!scheme_end)
        return STR_NONE;
    size_t end = (size_t)(scheme_end - url.p) + 3;
    while (end < url.n && url.p[end] != '/' && url.p[end] != '?' && url.p[end] != '#')
        end++;
    return str_sub(url, 0, end);
}

// What agents send lies at their desk, which the operator named; everything else is an address that a stranger wrote.
static struct str trusted_of(const struct media_fetch *fetch)
{
    const struct desk *desk = &fetch->account->desk;
    const struct desk_connector *connector = desk_connector_find(desk->platform);
    if (fetch->wanted.direction != REPLY || !connector)
        return STR_NONE;
    return origin_of(desk->api_url.n ? desk->api_url : str_of(connector->api_url));
}

// NULL and a sentence: nobody can fetch it any more.
static file_fetch_step *step_of(const struct media_fetch *fetch, const char **out_why)
{
    const struct source *source = fetch->steps.source;
    const struct platform *platform = source ? platform_find(source->platform) : NULL;
    bool by_ref = fetch->wanted.direction != REPLY && fetch->wanted.file.ref.p;
    if (!fetch->account)
        *out_why = "the account that it came to is gone";
    else if (!source)
        *out_why = "the source that it came through is gone";
    else if (by_ref && !(platform && platform->fetch_file))
        *out_why = "this version cannot fetch files of its platform";
    else
        return by_ref ? platform->fetch_file : file_fetch_url;
    return NULL;
}

// What was accepted while there was room may be much more than there is room for.
static bool is_over_quota(struct media_fetch *fetch)
{
    const struct media_options *options = &fetch->media->options;
    static const struct str words = STR("the account has as many bytes of files as it may have (quota.files)");
    if (!options->most_file_bytes)
        return false;
    if (fetch->wanted.account_bytes < options->most_file_bytes) {
        board_alarm_end(options->board, "quota_files", fetch->account->name);
        return false;
    }
    board_alarm(options->board, "quota_files", fetch->account->name, words);
    try_later(fetch, &(struct verdict){.error = words, .until_us = media_now_us(fetch->media) + over_quota_us});
    return true;
}

static struct media_fetch *fetch_new(struct media *media, const struct wanted_file *wanted)
{
    struct media_fetch *fetch = mem_new_of(struct media_fetch);
    fetch->media = media;
    fetch->wanted = *wanted;
    fetch->wanted.file = attachment_copy(&wanted->file, &fetch->arena);
    fetch->account = directory_find_id(media->options.directory, wanted->account_id);
    DL_APPEND(media->fetches, fetch);
    media->fetch_count++;
    return fetch;
}

void media_fetch_begin(struct media *media, const struct wanted_file *wanted)
{
    struct media_fetch *fetch = fetch_new(media, wanted);
    const char *why = NULL;
    fetch->steps = (struct file_fetch){
        .account = fetch->account,
        .source = fetch->account ? account_find_source_id(fetch->account, wanted->source_id) : NULL,
        .file = fetch->wanted.file,
        .max_size = media->options.max_size,
        .arena = &fetch->arena,
    };
    fetch->step = step_of(fetch, &why);
    if (!fetch->step) {
        fail(fetch, str_of(why));
        return;
    }
    if (is_over_quota(fetch))
        return;
    fetch->steps.trusted = trusted_of(fetch);
    media_fetch_start(fetch);
}

static void cancel_all(struct media *media, struct media_fetch *list)
{
    struct media_fetch *fetch, *next;
    DL_FOREACH_SAFE(list, fetch, next)
    {
        if (fetch->call)
            media->ports.cancel(media->ports.arg, fetch->call);
    }
}

void media_fetches_cancel(struct media *media)
{
    cancel_all(media, media->fetches);
    cancel_all(media, media->avatars);
}
