#include "support/rig.h"

#include "base/mem.h"
#include "model/media_link.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void push_task(struct rig *rig, struct loop_task *task)
{
    task->node.next = NULL;
    *rig->tasks_tail = task;
    rig->tasks_tail = (struct loop_task **)&task->node.next;
}

static void job_done(struct job *job)
{
    push_task(job->owner, &job->task);
}

static void port_submit(void *arg, struct job *job)
{
    struct rig *rig = arg;
    job->owner = rig;
    job->done = job_done;
    assert_true(committer_submit(rig->committer, job));
}

void rig_submit(struct rig *rig, struct job *job, void (*run)(struct loop_task *task))
{
    job->task.run = run;
    port_submit(rig, job);
}

static void *port_send(void *arg, const struct http_request *request, int64_t timeout_ms,
                       void (*done)(void *done_arg, const struct http_response *response), void *done_arg)
{
    struct rig *rig = arg;
    assert_true(rig->call_count < RIG_CALLS_MAX);
    struct rig_call *call = &rig->calls[rig->call_count++];
    *call = (struct rig_call){.done = done, .arg = done_arg, .open = true};
    call->timeout_ms = timeout_ms;
    call->sent_us = rig->clock.mono_us;
    call->method = arena_str(&call->arena, request->method);
    call->target = arena_str(&call->arena, request->target);
    call->body = arena_str(&call->arena, request->body.p ? request->body : STR(""));
    return call;
}

static void port_cancel(void *arg, void *call_)
{
    struct rig_call *call = call_;
    (void)arg;
    struct http_response response = {.failure = HTTP_CANCELLED, .written = true, .error = STR("stopped")};
    call->open = false;
    call->done(call->arg, &response);
}

static void port_arm(void *arg, int64_t at_us)
{
    ((struct rig *)arg)->armed_us = at_us;
}

static bool port_submit_or_refuse(void *arg, struct job *job)
{
    struct rig *rig = arg;
    job->owner = rig;
    job->done = job_done;
    return committer_submit(rig->committer, job);
}

static void port_arm_replies(void *arg, int64_t at_us)
{
    ((struct rig *)arg)->replies_armed_us = at_us;
}

static void port_stopped(void *arg)
{
    ((struct rig *)arg)->stopped = true;
}

static void port_linked(void *arg, int64_t account_id)
{
    struct rig *rig = arg;
    if (rig->replies)
        replies_linked(rig->replies, account_id);
}

static void port_lane_trouble(void *arg, int64_t lane, bool over)
{
    struct rig *rig = arg;
    rig->troubled_lane = lane;
    rig->trouble_over = over;
}

struct announce_task {
    struct loop_task task; // first
    struct rig *rig;
    struct announcement *list;
};

static void on_announced(struct loop_task *task)
{
    struct announce_task *announce = (struct announce_task *)task;
    dispatcher_announced(announce->rig->dispatcher, announce->list);
    free(announce);
}

static void announce(void *arg, struct announcement *list)
{
    struct announce_task *announce = mem_new_of(struct announce_task);
    announce->rig = arg;
    announce->list = list;
    announce->task.run = on_announced;
    push_task(arg, &announce->task);
}

static bool may_hand_on(void *arg)
{
    return dispatcher_has_room(((struct rig *)arg)->dispatcher);
}

static void end(struct rig *rig, const char *sentence)
{
    if (rig->ends)
        rig->ends(sentence);
    fail_msg("the process ends: %s", sentence);
}

static void fatal(void *arg, const char *sentence)
{
    struct rig *rig = arg;
    if (rig->fault.after != 0) // not while it dies
        end(rig, sentence);
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

static void start_replies(struct rig *rig, const struct rig_options *options)
{
    struct replies_options replies = {
        .directory = rig->directory,
        .board = rig->board,
        .tally = rig->tally,
        .clock = &rig->clock.clock,
        .seed = 1,
        .timeout_ms = 30000,
        .keep_dedupe_us = options->keep_dedupe_us ? options->keep_dedupe_us : 30 * INT64_C(86400) * 1000000,
    };
    struct replies_ports ports = {
        .arg = rig,
        .submit = port_submit_or_refuse,
        .send = port_send,
        .cancel = port_cancel,
        .arm = port_arm_replies,
    };
    rig->replies = replies_new(&replies, &ports);
    if (rig->store->ops->each_news(rig->store, restore_news, rig->replies) ||
        rig->store->ops->each_searched(rig->store, restore_searched, rig->replies))
        end(rig, "the store cannot be read");
    replies_start(rig->replies);
}

static void port_avatar_due(void *arg)
{
    ((struct rig *)arg)->avatars_due++;
}

static void start(struct rig *rig, const struct rig_options *options)
{
    static const struct media_links public_links = {
        .base = {"http://relay.test", 17}, .is_public = true, .key = "a key", .lifetime_us = INT64_C(3600) * 1000000};
    static const struct media_links own_links = {
        .base = {"http://127.0.0.1", 16}, .key = "a key", .lifetime_us = INT64_C(3600) * 1000000};
    rig->media_wait_us = (options->media_wait_ms ? options->media_wait_ms : 15000) * 1000;
    rig->tasks = NULL;
    rig->tasks_tail = &rig->tasks;
    rig->stopped = false;
    rig->committer = committer_new(&(struct committer_options){
        .store = rig->store,
        .clock = &rig->clock.clock,
        .board = rig->board,
        .tally = rig->tally,
        .max_queue = 1000,
        .announce = announce,
        .may_hand_on = may_hand_on,
        .arg = rig,
        .fatal = fatal,
        .fatal_arg = rig,
    });
    struct dispatcher_options dispatcher = {
        .directory = rig->directory,
        .board = rig->board,
        .tally = rig->tally,
        .clock = &rig->clock.clock,
        .seed = 1,
        .store_id = STR("teststore"),
        .max_attempts = options->max_attempts ? options->max_attempts : 5,
        .retry_base_ms = 1000,
        .retry_cap_ms = options->retry_cap_ms ? options->retry_cap_ms : 60000,
        .timeout_ms = 30000,
        .settle_ms = 15000,
        .window = options->window ? options->window : 10,
        .concurrency = options->concurrency ? options->concurrency : 16,
        .memory_messages = options->memory_messages ? options->memory_messages : 1000,
        .media_wait_ms = rig->media_wait_us / 1000,
        .links = options->no_public_url ? &own_links : &public_links,
    };
    struct dispatcher_ports ports = {
        .arg = rig,
        .submit = port_submit,
        .send = port_send,
        .cancel = port_cancel,
        .arm = port_arm,
        .stopped = port_stopped,
        .lane_trouble = port_lane_trouble,
        .linked = port_linked,
        .avatar_due = port_avatar_due,
    };
    rig->dispatcher = dispatcher_new(&dispatcher, &ports);
    if (options->hold_lane)
        dispatcher_hold_lane(rig->dispatcher, options->hold_lane);
    if (rig->store->ops->each_desk_health(rig->store, restore_desk, rig->dispatcher))
        end(rig, "the store cannot be read");
    dispatcher_desks_restored(rig->dispatcher);
    rig->suspended_at_start = board_desks_suspended(rig->board);
    dispatcher_start(rig->dispatcher);
    if (options->reads_desk)
        start_replies(rig, options);
    rig_turn(rig);
}

static struct store *open_store(struct rig *rig, const struct rig_options *options)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store_options sqlite = {.path = options->store_path, .log_bytes = options->log_bytes, .fresh_block = 3};
    struct store *store = options->store_path ? store_sqlite_open(&sqlite, &arena, &why) : store_memory_new();
    if (!store)
        end(rig, why);
    arena_done(&arena);
    return store;
}

void rig_init(struct rig *rig, const struct rig_options *options)
{
    memset(rig, 0, sizeof *rig);
    clock_manual_init(&rig->clock, options->wall_us ? options->wall_us : 1700000000LL * 1000000);
    rig->fault = (struct store_fault){.err = ERR_IO, .after = -1};
    rig->ends = options->ends;
    rig->store = store_faulty_new(open_store(rig, options), &rig->fault);
    rig->reader = rig->store->ops->reader_new(rig->store);
    if (!rig->reader)
        end(rig, "the store cannot be opened a second time for reading");
    rig->directory = directory_new();
    rig->board = board_new();
    rig->tally = tally_new();
    rig_add_account(rig, "acme", options, "http://desk.test/acme");
    if (options->add_accounts)
        options->add_accounts(rig);
    start(rig, options);
}

static void stop(struct rig *rig)
{
    if (rig->replies)
        replies_stop(rig->replies);
    dispatcher_stop(rig->dispatcher);
    dispatcher_cut(rig->dispatcher);
    rig_turn(rig);
    assert_true(rig->stopped);
    replies_free(rig->replies);
    rig->replies = NULL;
    dispatcher_free(rig->dispatcher);
    committer_free(rig->committer);
}

void rig_done(struct rig *rig)
{
    stop(rig);
    rig->reader->ops->free(rig->reader);
    rig->store->ops->close(rig->store, true);
    directory_free(rig->directory);
    board_free(rig->board);
    tally_free(rig->tally);
    for (int i = 0; i < rig->call_count; i++)
        arena_done(&rig->calls[i].arena);
}

// The memory store stands for the disk. It fails every call while the dying core is wound up, so that the core frees
// what it holds and changes nothing that counts.
void rig_crash(struct rig *rig, const struct rig_options *options)
{
    rig->fault.after = 0;
    stop(rig);
    rig->fault.after = -1;
    start(rig, options);
}

const struct account *rig_account(struct rig *rig, const char *name)
{
    const struct account *account = directory_find(rig->directory, str_of(name));
    assert_non_null(account);
    return account;
}

void rig_add_account(struct rig *rig, const char *name, const struct rig_options *options, const char *url)
{
    struct account *account = account_new();
    struct arena *arena = &account->arena;
    bool intercom = options->desk && strcmp(options->desk, "intercom") == 0;
    account->name = arena_str(arena, str_of(name));
    account->order = options->order;
    account->on_failure = options->on_failure;
    account->replies = options->replies;
    account->in_doubt = options->in_doubt;
    account->source_count = 1;
    account->sources = arena_of(arena, struct source);
    account->sources[0] = (struct source){
        .account = account->name,
        .name = STR("shop"),
        .platform = str_of(options->source ? options->source : "webhook"),
        .token = options->source ? STR("12345:token") : STR_NONE,
        .api_url = options->source ? STR("http://telegram.test") : STR_NONE,
        .secret = options->source ? STR_NONE : STR("none"),
    };
    account->desk = (struct desk){
        .platform = intercom ? STR("intercom") : STR("webhook"),
        .token = intercom ? STR("token") : STR_NONE,
        .api_url = intercom ? STR("http://intercom.test") : STR_NONE,
        .url = intercom ? STR_NONE : arena_str(arena, str_of(url)),
        .secret = intercom ? STR_NONE : STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        .probe = options->probe,
        .rate_per_min = options->rate_per_min,
    };
    int64_t source_ids[1];
    struct store_account_put put = {.account = account, .source_ids = source_ids};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    if (rig->store->ops->apply(rig->store, &change, 1))
        end(rig, "the accounts could not be written to the store");
    account->id = put.id;
    account->sources[0].id = source_ids[0];
    account->sources[0].account_id = put.id;
    directory_put(rig->directory, account_ref(account));
    if (rig->dispatcher)
        dispatcher_account_changed(rig->dispatcher, NULL, account);
    account_unref(account);
}

static void ignore(struct job *job)
{
    (void)job;
}

void rig_news(struct rig *rig, const char *account_name, const char *desk_conversation)
{
    const struct account *account = rig_account(rig, account_name);
    struct str id = str_of(desk_conversation);
    struct store_news news = {
        .account_id = account->id, .desk_conversations = &id, .count = 1, .at_us = rig->clock.wall_us};
    struct store_change change = {.kind = STORE_NEWS, .news = &news};
    struct job job = {.kind = JOB_ACCEPT, .changes = &change, .change_count = 1, .done = ignore};
    assert_true(committer_submit(rig->committer, &job));
    rig_turn(rig);
    assert_int_equal(job.err, 0);
    replies_news(rig->replies, account->id, &id, 1);
    rig_turn(rig);
    account_unref(account);
}

int rig_accept(struct rig *rig, const char *account_name, const char *key, const char *conversation, const char *text,
               int64_t *out_id)
{
    const struct account *account = rig_account(rig, account_name);
    struct arena arena = {0};
    struct store_accept accept = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .order = account->order,
        .received_at_us = rig->clock.wall_us,
        .event = {.dedupe_key = str_of(key),
                  .conversation = str_of(conversation),
                  .sender_id = str_of(conversation),
                  .sender_name = STR("Ann"),
                  .text = str_of(text),
                  .sent_at_us = rig->clock.wall_us},
        .out_arena = &arena,
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    struct job job = {.kind = JOB_ACCEPT, .changes = &change, .change_count = 1, .done = ignore};
    assert_true(committer_submit(rig->committer, &job));
    rig_turn(rig);
    arena_done(&arena);
    account_unref(account);
    *out_id = accept.message_id;
    return job.err;
}

int64_t rig_reply(struct rig *rig, const char *account_name, const char *conversation, const char *text)
{
    const struct account *account = rig_account(rig, account_name);
    int64_t source_id = account->sources[0].id;
    char key[32];
    struct arena arena = {0};
    snprintf(key, sizeof key, "part:%d", ++rig->said);
    struct store_accept accept = {
        .direction = REPLY,
        .account_id = account->id,
        .source_id = source_id,
        .order = account->order,
        .received_at_us = rig->clock.wall_us,
        .event = {.dedupe_key = str_of(key),
                  .sender_id = STR("1"),
                  .sender_name = STR("Agent"),
                  .text = str_of(text),
                  .sent_at_us = rig->clock.wall_us},
        .out_arena = &arena,
    };
    int err = rig->reader->ops->conversation(rig->reader, source_id, str_of(conversation), &accept.conversation_id);
    assert_int_equal(err, 0);
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    struct job job = {.kind = JOB_ACCEPT, .changes = &change, .change_count = 1, .done = ignore};
    assert_true(committer_submit(rig->committer, &job));
    rig_turn(rig);
    assert_int_equal(job.err, 0);
    arena_done(&arena);
    account_unref(account);
    return accept.message_id;
}

int64_t rig_say(struct rig *rig, const char *account_name, const char *conversation, const char *text)
{
    char key[32];
    int64_t id = 0;
    snprintf(key, sizeof key, "key-%d", ++rig->said);
    assert_int_equal(rig_accept(rig, account_name, key, conversation, text, &id), 0);
    return id;
}

static struct str wanted_files(int count, struct arena *arena)
{
    struct attachment *files = arena_alloc(arena, (size_t)(count + 1) * sizeof *files);
    for (int i = 0; i < count; i++)
        files[i] = (struct attachment){.kind = STR("image"),
                                       .name = arena_printf(arena, "%d.png", i),
                                       .ref = arena_printf(arena, "ref %d", i),
                                       .size = -1};
    return attachments_write(files, (size_t)count, arena);
}

int64_t rig_say_with(struct rig *rig, const char *account_name, const struct rig_said *said)
{
    const struct account *account = rig_account(rig, account_name);
    struct arena arena = {0};
    int64_t wait_us = said->files ? rig->media_wait_us : said->album ? ALBUM_PART_US : 0;
    struct store_accept accept = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .order = account->order,
        .received_at_us = rig->clock.wall_us,
        .wait_until_us = wait_us ? rig->clock.wall_us + wait_us : 0,
        .event = {.dedupe_key = arena_printf(&arena, "key-%d", ++rig->said),
                  .conversation = str_of(said->conversation),
                  .sender_id = str_of(said->conversation),
                  .sender_name = STR("Ann"),
                  .text = str_of(said->text),
                  .attachments = wanted_files(said->files, &arena),
                  .album = str_of(said->album),
                  .conversation_name = str_of(said->group),
                  .profile.name = str_of(said->who),
                  .sent_at_us = rig->clock.wall_us},
        .out_arena = &arena,
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    struct job job = {.kind = JOB_ACCEPT, .changes = &change, .change_count = 1, .done = ignore};
    assert_true(committer_submit(rig->committer, &job));
    rig_turn(rig);
    assert_int_equal(job.err, 0);
    arena_done(&arena);
    account_unref(account);
    return accept.joined_id ? accept.joined_id : accept.message_id;
}

const char *rig_hash(char letter)
{
    static char hash[FILE_HASH_SIZE + 1];
    memset(hash, '0', FILE_HASH_SIZE);
    hash[0] = letter;
    return hash;
}

struct settling {
    struct job job; // first
    struct rig *rig;
    struct store_file file;
};

static void on_settled(struct loop_task *task)
{
    struct settling *settling = (struct settling *)((char *)task - offsetof(struct job, task));
    assert_int_equal(settling->job.err, 0);
    dispatcher_file_settled(settling->rig->dispatcher, &settling->file);
}

struct store_file rig_file(struct rig *rig, int64_t id, int nth, const char *hash)
{
    struct settling settling = {
        .rig = rig,
        .file = {.message_id = id,
                 .nth = nth,
                 .state = hash ? FILE_KEPT : FILE_FAILED,
                 .hash = str_of(hash),
                 .mime = STR("image/png"),
                 .size = 5,
                 .why = hash ? STR_NONE : STR("it is gone"),
                 .attempts = 1,
                 .at_us = rig->clock.wall_us},
    };
    struct store_change change = {.kind = STORE_FILE, .file = &settling.file};
    settling.job = (struct job){.kind = JOB_CHANGES, .changes = &change, .change_count = 1};
    rig_submit(rig, &settling.job, on_settled);
    rig_turn(rig);
    return settling.file;
}

// One turn of the committer and one event of the dispatcher; false when there was neither.
static bool step(struct rig *rig)
{
    bool worked = committer_turn(rig->committer);
    struct loop_task *task = rig->tasks;
    if (!task)
        return worked;
    rig->tasks = (struct loop_task *)task->node.next;
    if (!rig->tasks)
        rig->tasks_tail = &rig->tasks;
    task->run(task);
    return true;
}

void rig_steps(struct rig *rig, int count)
{
    while (count-- > 0 && step(rig))
        ;
}

void rig_turn(struct rig *rig)
{
    while (step(rig))
        ;
}

static int64_t next_armed(const struct rig *rig)
{
    int64_t a = rig->armed_us, b = rig->replies_armed_us;
    return !a || (b && b < a) ? b : a;
}

void rig_pass(struct rig *rig, int64_t ms)
{
    int64_t until = rig->clock.mono_us + ms * 1000;
    for (int64_t next; (next = next_armed(rig)) && next <= until; rig_turn(rig)) {
        if (next > rig->clock.mono_us)
            clock_manual_pass(&rig->clock, next - rig->clock.mono_us);
        if (rig->armed_us == next) {
            rig->armed_us = 0;
            dispatcher_tick(rig->dispatcher);
        } else {
            rig->replies_armed_us = 0;
            replies_tick(rig->replies);
        }
    }
    clock_manual_pass(&rig->clock, until - rig->clock.mono_us);
    rig_turn(rig); // what the committer put off
}

static bool holds(struct str whole, const char *part)
{
    return memmem(whole.p, whole.n, part, strlen(part)) != NULL;
}

struct rig_call *rig_open_with(struct rig *rig, const char *text)
{
    for (int i = 0; i < rig->call_count; i++)
        if (rig->calls[i].open && (holds(rig->calls[i].body, text) || holds(rig->calls[i].target, text)))
            return &rig->calls[i];
    return NULL;
}

struct rig_call *rig_open(struct rig *rig)
{
    return rig_open_with(rig, "");
}

int rig_open_count(struct rig *rig)
{
    int count = 0;
    for (int i = 0; i < rig->call_count; i++)
        count += rig->calls[i].open;
    return count;
}

static void end_call(struct rig *rig, struct rig_call *call, const struct http_response *response)
{
    assert_non_null(call);
    assert_true(call->open);
    call->open = false;
    call->done(call->arg, response);
    rig_turn(rig);
}

void rig_answer_with(struct rig *rig, struct rig_call *call, int status, const char *header, const char *value,
                     const char *body)
{
    struct http_header headers[] = {{str_of(header), str_of(value)}};
    struct http_response response = {
        .written = true,
        .status = status,
        .headers = headers,
        .header_count = header ? 1 : 0,
        .body = str_of(body),
    };
    end_call(rig, call, &response);
}

void rig_answer(struct rig *rig, struct rig_call *call, int status, const char *body)
{
    rig_answer_with(rig, call, status, NULL, NULL, body);
}

void rig_lose(struct rig *rig, struct rig_call *call, enum http_failure failure, bool written)
{
    struct http_response response = {.failure = failure, .written = written, .error = STR("no answer")};
    end_call(rig, call, &response);
}

void rig_set_active(struct rig *rig, const char *name, bool active)
{
    const struct account *before = rig_account(rig, name);
    struct account *now = account_copy(before);
    now->active = active;
    struct store_account_active change_active = {before->id, active};
    struct store_change change = {.kind = STORE_ACCOUNT_ACTIVE, .account_active = &change_active};
    assert_int_equal(rig->store->ops->apply(rig->store, &change, 1), 0);
    directory_put(rig->directory, account_ref(now));
    dispatcher_account_changed(rig->dispatcher, before, now);
    if (rig->replies)
        replies_account_changed(rig->replies, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(rig);
}

bool rig_set_order(struct rig *rig, const char *name, enum order_rule order)
{
    const struct account *before = rig_account(rig, name);
    struct account *now = account_copy(before);
    now->order = order;
    int64_t source_ids[1];
    struct store_account_put put = {.account = now, .source_ids = source_ids};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(rig->store->ops->apply(rig->store, &change, 1), 0);
    now->order = put.order;
    now->order_barrier = put.order_barrier;
    directory_put(rig->directory, account_ref(now));
    dispatcher_account_changed(rig->dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(rig);
    return !put.order_kept;
}

void rig_change(struct rig *rig, const char *name, void (*change)(struct account *account))
{
    const struct account *before = rig_account(rig, name);
    struct account *changed = account_copy(before);
    change(changed);
    const struct account *now = account_with_former(changed, before);
    int64_t source_ids[1];
    struct store_account_put put = {.account = changed, .source_ids = source_ids};
    struct store_change stored = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(rig->store->ops->apply(rig->store, &stored, 1), 0);
    directory_put(rig->directory, account_ref(now));
    dispatcher_account_changed(rig->dispatcher, before, now);
    account_unref(before);
    account_unref(changed);
    account_unref(now);
    rig_turn(rig);
}

struct message *rig_message(struct rig *rig, int64_t id)
{
    struct message *message = NULL;
    assert_int_equal(rig->reader->ops->message(rig->reader, id, &message), 0);
    return message;
}

enum message_state rig_state_of(struct rig *rig, int64_t id)
{
    struct message *message = rig_message(rig, id);
    enum message_state state = message->state;
    message_free(message);
    return state;
}

int rig_attempts_of(struct rig *rig, int64_t id)
{
    struct message *message = rig_message(rig, id);
    int attempts = message->attempts;
    message_free(message);
    return attempts;
}

bool rig_is_in_doubt(struct rig *rig, int64_t id)
{
    struct message *message = rig_message(rig, id);
    bool doubt = message->in_doubt;
    message_free(message);
    return doubt;
}

bool rig_is_marked(struct rig *rig, int64_t id)
{
    struct message *message = rig_message(rig, id);
    bool mark = message->in_flight;
    message_free(message);
    return mark;
}

struct alarm_count {
    const char *name;
    int count;
};

static void count_alarm(void *arg, const struct board_alarm_line *line)
{
    struct alarm_count *count = arg;
    count->count += !count->name || strcmp(count->name, line->name) == 0;
}

int rig_alarms(struct rig *rig, const char *name)
{
    struct alarm_count count = {.name = name};
    board_each_alarm(rig->board, count_alarm, &count);
    return count.count;
}
