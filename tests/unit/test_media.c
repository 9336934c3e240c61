// The machine that fetches files (relay/media.h): over a store and a network that the test plays, and kept files in memory, which
// it can break.
#include "relay/media.h"

#include "base/mem.h"
#include "platform/platform.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 1024, CALLS = 4096 };

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)

// A row of the store's table of files.
struct row {
    struct wanted_file wanted;
    enum file_state state;
    char hash[FILE_HASH_SIZE + 1];
    struct str mime, why;
    int64_t size;
    bool is_forgotten; // by the store, its bytes are not wanted any more
};

struct call {
    struct arena arena;
    struct str target;
    bool trusted, open, has_sink;
    struct media_sink sink;
    int64_t timeout_ms;
    void (*done)(void *arg, const struct http_response *response);
    void *arg;
};

static struct bench {
    struct clock_manual clock;
    struct arena arena;
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    struct media_files *files;
    struct media_files_ops ops; // those in memory, with ours in front
    const struct media_files_ops *memory_ops;
    int begin_err, write_err, keep_err; // what the disk gives
    struct media *media;
    struct job *jobs, **tail; // on their way to the store, and back
    bool refuses;             // the committer ends
    int job_err;
    struct row rows[ROWS];
    size_t row_count;
    struct call calls[CALLS];
    int call_count;
    int64_t armed_us;
    bool stopped;
    int looks; // JOB_FILES that were answered
    int parts_read,
        parts_at_first; // of the files that were there; when those of which it is not known were first asked about
} bench;

// ---- the store ----

static bool port_submit(void *arg, struct job *job)
{
    (void)arg;
    if (bench.refuses)
        return false;
    job->next = NULL;
    *bench.tail = job;
    bench.tail = &job->next;
    return true;
}

static int by_due(const void *a, const void *b)
{
    const struct wanted_file *x = a, *y = b;
    if (x->next_attempt_us != y->next_attempt_us)
        return x->next_attempt_us < y->next_attempt_us ? -1 : 1;
    return x->message_id < y->message_id ? -1 : x->message_id > y->message_id;
}

static bool is_excluded(const struct job *job, int64_t account_id)
{
    for (int i = 0; i < WANTED_NOT_OF; i++)
        if (job->files.not_of[i] == account_id)
            return true;
    return false;
}

static void give_wanted(struct job *job)
{
    static struct wanted_file all[ROWS]; // large
    struct wanted_file *out = arena_alloc(job->files.arena, ROWS * sizeof *out);
    size_t count = 0;
    for (size_t i = 0; i < bench.row_count; i++)
        if (bench.rows[i].state == FILE_WANTED && !is_excluded(job, bench.rows[i].wanted.account_id))
            all[count++] = bench.rows[i].wanted;
    qsort(all, count, sizeof *all, by_due);
    job->files.count = 0;
    job->files.due_us = 0;
    job->files.files = out;
    for (size_t i = 0; i < count; i++) {
        if (job->files.count < job->files.limit)
            out[job->files.count++] = all[i];
        else if (!job->files.due_us)
            job->files.due_us = all[i].next_attempt_us ? all[i].next_attempt_us : 1;
    }
    bench.looks++;
}

static struct row *row_of(int64_t message_id, int nth)
{
    for (size_t i = 0; i < bench.row_count; i++)
        if (bench.rows[i].wanted.message_id == message_id && bench.rows[i].wanted.nth == nth)
            return &bench.rows[i];
    return NULL;
}

static void apply_file(struct store_file *file)
{
    struct row *row = row_of(file->message_id, file->nth);
    file->applied = row && row->state == FILE_WANTED;
    if (!file->applied)
        return;
    row->state = file->state;
    row->wanted.attempts = file->attempts;
    row->wanted.next_attempt_us = file->next_attempt_us;
    row->mime = arena_str(&bench.arena, file->mime);
    row->why = arena_str(&bench.arena, file->why);
    row->size = file->size;
    if (file->hash.n)
        memcpy(row->hash, file->hash.p, file->hash.n);
}

static bool is_known(struct str hash)
{
    for (size_t i = 0; i < bench.row_count; i++)
        if (!bench.rows[i].is_forgotten && str_eq_c(hash, bench.rows[i].hash))
            return true;
    return false;
}

static void apply_gone(struct store_files_gone *gone)
{
    if (gone->asked_count && !bench.parts_at_first)
        bench.parts_at_first = bench.parts_read;
    struct str *out = arena_alloc(gone->arena, (ROWS + gone->asked_count) * sizeof *out);
    gone->count = 0;
    for (size_t i = 0; i < bench.row_count; i++)
        if (bench.rows[i].is_forgotten && bench.rows[i].hash[0] && !is_known(str_of(bench.rows[i].hash)))
            out[gone->count++] = arena_str(gone->arena, str_of(bench.rows[i].hash));
    for (size_t i = 0; i < gone->asked_count; i++)
        if (!is_known(gone->asked[i]))
            out[gone->count++] = gone->asked[i];
    gone->hashes = out;
    gone->more = false;
}

static void serve(struct job *job)
{
    job->err = bench.job_err;
    if (job->err)
        return;
    if (job->kind == JOB_FILES)
        give_wanted(job);
    else if (job->changes[0].kind == STORE_FILE)
        apply_file(job->changes[0].file);
    else
        apply_gone(job->changes[0].files_gone);
}

static void turn(void)
{
    for (struct job *job; (job = bench.jobs);) {
        bench.jobs = job->next;
        if (!bench.jobs)
            bench.tail = &bench.jobs;
        serve(job);
        job->task.run(&job->task);
    }
}

// ---- the network ----

static void *port_send(void *arg, const struct http_request *request, bool trusted, const struct media_sink *sink,
                       int64_t timeout_ms, void (*done)(void *done_arg, const struct http_response *response),
                       void *done_arg)
{
    (void)arg;
    assert_true(bench.call_count < CALLS);
    struct call *call = &bench.calls[bench.call_count++];
    *call = (struct call){.trusted = trusted, .open = true, .timeout_ms = timeout_ms, .done = done, .arg = done_arg};
    call->target = arena_str(&call->arena, request->target);
    call->has_sink = sink != NULL;
    if (sink)
        call->sink = *sink;
    return call;
}

static void end_call(struct call *call, const struct http_response *response)
{
    assert_true(call->open);
    call->open = false;
    call->done(call->arg, response);
}

static void port_cancel(void *arg, void *call)
{
    (void)arg;
    end_call(call, &(struct http_response){.failure = HTTP_CANCELLED, .written = true, .error = STR("stopped")});
}

static void port_arm(void *arg, int64_t at_us)
{
    (void)arg;
    bench.armed_us = at_us;
}

static void port_stopped(void *arg)
{
    (void)arg;
    assert_false(bench.stopped);
    bench.stopped = true;
}

static int open_count(void)
{
    int count = 0;
    for (int i = 0; i < bench.call_count; i++)
        count += bench.calls[i].open;
    return count;
}

static struct call *open_with(const char *text)
{
    for (int i = 0; i < bench.call_count; i++)
        if (bench.calls[i].open && memmem(bench.calls[i].target.p, bench.calls[i].target.n, text, strlen(text)))
            return &bench.calls[i];
    fail_msg("no request for %s is open", text);
    return NULL;
}

static void answer(struct call *call, int status, const char *body)
{
    struct http_response response = {.written = true, .status = status, .body = str_of(body)};
    if (status == 200 && call->has_sink) {
        response.body = STR("");
        if (body[0] && !call->sink.write(call->sink.arg, str_of(body)))
            response = (struct http_response){.failure = HTTP_UNREADABLE, .written = true, .error = STR("not wanted")};
    }
    end_call(call, &response);
    turn();
}

static void lose(struct call *call, struct http_response response)
{
    response.written = true;
    response.error = STR("no answer");
    end_call(call, &response);
    turn();
}

// getFile is answered, and the file itself is asked for.
static struct call *place(void)
{
    answer(open_with("/getFile"), 200, "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/1.jpg\"}}");
    return open_with("/photos/1.jpg");
}

// ---- the disk ----

static struct media_file *met_begin(struct media_files *files, int *out_err)
{
    *out_err = bench.begin_err;
    return bench.begin_err ? NULL : bench.memory_ops->begin(files, out_err);
}

static int met_write(struct media_file *file, struct str bytes)
{
    return bench.write_err ? bench.write_err : bench.memory_ops->write(file, bytes);
}

static int met_keep(struct media_file *file, char out_hash[FILE_HASH_SIZE + 1], int64_t *out_size, struct str *out_mime)
{
    if (!bench.keep_err)
        return bench.memory_ops->keep(file, out_hash, out_size, out_mime);
    bench.memory_ops->drop(file);
    return bench.keep_err;
}

static int met_each_in(struct media_files *files, int part, void (*each)(void *arg, struct str hash, int64_t size),
                       void *arg)
{
    bench.parts_read = part + 1;
    return bench.memory_ops->each_in(files, part, each, arg);
}

static void count_one(void *arg, struct str hash, int64_t size)
{
    (void)hash;
    (void)size;
    ++*(int *)arg;
}

static int kept_count(void)
{
    int count = 0;
    assert_int_equal(media_files_each(bench.files, count_one, &count), 0);
    return count;
}

// ---- the bench ----

static int64_t add_account(const char *name, int64_t id, const char *platform)
{
    struct account *account = account_new();
    account->id = id;
    account->name = str_of(name);
    account->active = id != 3; // addresses expire, whether or not it is
    account->desk = (struct desk){
        .platform = STR("intercom"), .token = STR("t"), .api_url = STR("http://desk.test:81/v2")};
    account->sources = arena_of(&account->arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){.id = id * 10,
                                          .account_id = id,
                                          .account = account->name,
                                          .name = STR("main"),
                                          .platform = str_of(platform),
                                          .token = STR("1:t"),
                                          .api_url = STR("http://telegram.test")};
    directory_put(bench.directory, account_ref(account));
    account_unref(account);
    return id;
}

static void begin_media(void)
{
    bench.jobs = NULL;
    bench.tail = &bench.jobs;
    bench.stopped = false;
    bench.media = media_new(
        &(struct media_options){
            .directory = bench.directory,
            .board = bench.board,
            .tally = bench.tally,
            .clock = &bench.clock.clock,
            .files = bench.files,
            .seed = 1,
            .max_size = 1000,
            .most_file_bytes = 1000,
            .timeout_ms = 30000,
        },
        &(struct media_ports){
            .submit = port_submit,
            .send = port_send,
            .cancel = port_cancel,
            .arm = port_arm,
            .stopped = port_stopped,
        });
    media_start(bench.media);
    turn();
}

static int put_up(void **state)
{
    (void)state;
    memset(&bench, 0, sizeof bench);
    clock_manual_init(&bench.clock, INT64_C(1700000000) * SECOND);
    bench.directory = directory_new();
    bench.board = board_new();
    bench.tally = tally_new();
    bench.files = media_files_memory_new();
    bench.memory_ops = bench.files->ops;
    bench.ops = *bench.files->ops;
    bench.ops.begin = met_begin;
    bench.ops.write = met_write;
    bench.ops.keep = met_keep;
    bench.ops.each_in = met_each_in;
    bench.files->ops = &bench.ops;
    add_account("acme", 1, "telegram");
    add_account("beta", 2, "telegram");
    add_account("gone", 3, "telegram");
    add_account("hook", 4, "webhook");
    begin_media();
    return 0;
}

static void stop_media(void)
{
    media_stop(bench.media);
    turn();
    assert_true(bench.stopped);
    assert_int_equal(open_count(), 0);
    media_free(bench.media);
    bench.media = NULL;
}

static int take_down(void **state)
{
    (void)state;
    if (bench.media)
        stop_media();
    bench.files->ops->free(bench.files);
    directory_free(bench.directory);
    board_free(bench.board);
    tally_free(bench.tally);
    for (int i = 0; i < bench.call_count; i++)
        arena_done(&bench.calls[i].arena);
    arena_done(&bench.arena);
    return 0;
}

static void pass(int64_t us)
{
    int64_t until = bench.clock.mono_us + us;
    while (bench.armed_us && bench.armed_us <= until) {
        if (bench.armed_us > bench.clock.mono_us)
            clock_manual_pass(&bench.clock, bench.armed_us - bench.clock.mono_us);
        bench.armed_us = 0;
        media_tick(bench.media);
        turn();
    }
    clock_manual_pass(&bench.clock, until - bench.clock.mono_us);
}

// A message of the account came with a file, and nobody was told yet.
static struct row *add(int64_t account_id)
{
    assert_true(bench.row_count < ROWS);
    struct row *row = &bench.rows[bench.row_count++];
    *row = (struct row){.wanted = {.message_id = (int64_t)bench.row_count,
                                   .account_id = account_id,
                                   .source_id = account_id * 10,
                                   .received_at_us = bench.clock.wall_us,
                                   .file = {.kind = STR("image"), .ref = STR("f"), .size = -1}},
                        .size = -1};
    return row;
}

static struct row *wanted(int64_t account_id)
{
    struct row *row = add(account_id);
    media_poke(bench.media);
    turn();
    return row;
}

static void look_for_alarm(void *arg, const struct board_alarm_line *line)
{
    *(const char **)arg = line->name;
}

static const char *alarm_now(void)
{
    const char *name = "";
    board_each_alarm(bench.board, look_for_alarm, &name);
    return name;
}

// ---- one file ----

static void test_a_file_is_fetched_and_stored(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    assert_true(open_with("/getFile")->trusted);
    struct call *file = place();
    assert_true(file->trusted);
    assert_int_equal(file->sink.max, 1000);
    assert_int_equal(file->timeout_ms, 300000);
    answer(file, 200, "\x89PNG\r\n\x1a\n and so on");
    assert_int_equal(row->state, FILE_KEPT);
    assert_int_equal(row->size, 18);
    assert_str(row->mime, "image/png"); // whatever its sender said
    assert_int_equal(bench.files->ops->find(bench.files, str_of(row->hash)), 18);
    assert_int_equal(open_count(), 0);
    assert_int_equal(atomic_load(&bench.tally->files[TALLY_FILE_KEPT]), 1);
    assert_int_equal(atomic_load(&bench.tally->file_bytes), 18);
}

static void test_an_empty_file_is_one(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    row->wanted.file.mime = STR("x/y");
    answer(place(), 200, "");
    assert_int_equal(row->state, FILE_KEPT);
    assert_int_equal(row->size, 0);
    assert_int_equal(kept_count(), 1);
}

static void test_what_bytes_do_not_say_their_sender_may(void **state)
{
    (void)state;
    struct row *row = add(1);
    row->wanted.file.mime = STR("text/csv");
    media_poke(bench.media);
    turn();
    answer(place(), 200, "a,b\n");
    assert_str(row->mime, "text/csv");
}

static void test_a_failure_is_tried_again_with_pauses(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    int64_t least_ms = 1000, most_ms = 2000;
    for (int i = 1; i <= 12; i++) {
        answer(open_with("/getFile"), 500, "");
        assert_int_equal(row->state, FILE_WANTED);
        assert_int_equal(row->wanted.attempts, i);
        int64_t pause_us = row->wanted.next_attempt_us - bench.clock.wall_us;
        assert_true(pause_us >= least_ms * 1000 && pause_us <= most_ms * 1000);
        pass(pause_us - 1000);
        assert_int_equal(open_count(), 0);
        pass(1000);
        assert_int_equal(open_count(), 1);
        most_ms = most_ms * 2 < 300000 ? most_ms * 2 : 300000;
        least_ms = most_ms / 2;
    }
    assert_int_equal(atomic_load(&bench.tally->files[TALLY_FILE_RETRIED]), 12);
    answer(place(), 200, "at last");
    assert_int_equal(row->state, FILE_KEPT);
}

static void test_a_clock_that_is_set_back_keeps_no_file_waiting(void **state)
{
    (void)state;
    const struct row *row = wanted(1);
    answer(place(), 500, "");
    bench.clock.wall_us -= 24 * HOUR;
    pass(HOUR / 4);
    answer(place(), 200, "x");
    assert_int_equal(row->state, FILE_KEPT);
}

static void test_who_asks_for_time_gets_it(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    answer(open_with("/getFile"), 429,
           "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests: retry after "
           "600\",\"parameters\":{\"retry_after\":600}}");
    assert_true(row->wanted.next_attempt_us >= bench.clock.wall_us + 600 * SECOND);
    pass(599 * SECOND);
    assert_int_equal(open_count(), 0);
    pass(10 * SECOND);
    assert_int_equal(open_count(), 1);
}

static void test_a_clock_that_is_set_back_holds_no_file_up(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    answer(open_with("/getFile"), 500, "");
    bench.clock.wall_us -= 2 * HOUR;
    pass(600 * SECOND); // the store is asked again now and then, whatever was thought to be due when
    answer(place(), 200, "x");
    assert_int_equal(row->state, FILE_KEPT);
}

static void test_after_a_day_it_is_given_up_with_the_last_words(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    int tries = 0;
    for (int minutes = 0; row->state == FILE_WANTED && minutes < 2 * 24 * 60; minutes++) {
        if (!open_count())
            pass(60 * SECOND);
        for (; open_count(); tries++)
            lose(open_with("/getFile"), (struct http_response){.failure = HTTP_TIMEOUT});
    }
    assert_int_equal(row->state, FILE_FAILED);
    assert_true(row->why.n > 0);
    assert_true(tries > 280); // every five minutes at least
    int64_t lasted_us = bench.clock.wall_us - row->wanted.received_at_us;
    assert_true(lasted_us >= 24 * HOUR && lasted_us <= 24 * HOUR + 60 * SECOND);
    assert_int_equal(atomic_load(&bench.tally->files[TALLY_FILE_FAILED]), 1);
}

static void test_what_is_refused_has_failed_at_once(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    answer(open_with("/getFile"), 400,
           "{\"ok\":false,\"error_code\":400,\"description\":\"Bad Request: file is too big\"}");
    assert_int_equal(row->state, FILE_FAILED);
    assert_non_null(memmem(row->why.p, row->why.n, "larger", 6));
}

static void test_what_turns_out_too_large_leaves_nothing(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    struct call *file = place();
    assert_true(file->sink.write(file->sink.arg, STR("the first bytes")));
    lose(file, (struct http_response){.failure = HTTP_UNREADABLE, .too_large = true});
    assert_int_equal(row->state, FILE_FAILED);
    assert_int_equal(kept_count(), 0);
}

static void test_what_was_cut_off_is_fetched_anew(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    struct call *file = place();
    assert_true(file->sink.write(file->sink.arg, STR("only ha")));
    lose(file, (struct http_response){.failure = HTTP_DROPPED});
    assert_int_equal(row->state, FILE_WANTED);
    assert_int_equal(kept_count(), 0);
    pass(5 * SECOND);
    answer(place(), 200, "the whole");
    assert_int_equal(row->size, 9);
    assert_int_equal(kept_count(), 1);
}

static void test_an_answer_that_leads_in_circles_ends(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    for (int i = 0; i < 40 && open_count(); i++) {
        struct call *call = &bench.calls[bench.call_count - 1];
        answer(call, call->has_sink ? 404 : 200,
               "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/1.jpg\"}}");
    }
    assert_int_equal(row->state, FILE_WANTED);
    assert_int_equal(row->wanted.attempts, 1);
}

static void test_what_nobody_can_fetch_any_more_has_failed(void **state)
{
    (void)state;
    struct row *account = add(77), *source = add(1), *platform = add(4);
    source->wanted.source_id = 99;
    media_poke(bench.media);
    turn();
    assert_int_equal(open_count(), 0);
    assert_str(account->why, "the account that it came to is gone");
    assert_str(source->why, "the source that it came through is gone");
    assert_str(platform->why, "this version cannot fetch files of its platform");
}

// Its address will have expired when it is active again.
static void test_an_inactive_account_is_no_reason_to_wait(void **state)
{
    (void)state;
    struct row *row = wanted(3);
    answer(place(), 200, "x");
    assert_int_equal(row->state, FILE_KEPT);
}

// ---- by address ----

static void test_addresses_that_strangers_wrote_are_not_trusted(void **state)
{
    (void)state;
    struct row *row = add(4), *same = add(1);
    row->wanted.file.ref = same->wanted.file.ref = STR_NONE;
    row->wanted.file.url = STR("http://anywhere.test/a");
    same->wanted.file.url = STR(
        "http://desk.test:81/b"); // the desk's own is a stranger's, too, when a customer writes it
    media_poke(bench.media);
    turn();
    assert_false(open_with("anywhere.test")->trusted);
    assert_true(open_with("anywhere.test")->has_sink);
    assert_false(open_with("desk.test")->trusted);
    answer(open_with("anywhere.test"), 200, "x");
    assert_int_equal(row->state, FILE_KEPT);
}

static void test_what_agents_send_lies_at_their_desk(void **state)
{
    (void)state;
    struct row *ours = add(1), *other = add(1);
    ours->wanted.direction = other->wanted.direction = REPLY;
    ours->wanted.file.url = STR("http://desk.test:81/files/1");
    other->wanted.file.url = STR("http://desk.test/files/2"); // another port
    media_poke(bench.media);
    turn();
    assert_true(open_with("files/1")->trusted);
    assert_false(open_with("files/2")->trusted);
}

// ---- many ----

static void test_sixteen_at_a_time_and_four_of_one_account(void **state)
{
    (void)state;
    for (int64_t id = 5; id < 12; id++)
        add_account(arena_printf(&bench.arena, "a%d", (int)id).p, id, "telegram");
    for (int i = 0; i < 30; i++)
        add(1);
    wanted(1);
    assert_int_equal(open_count(), 4);
    for (int64_t id = 5; id < 12; id++)
        for (int i = 0; i < 5; i++)
            add(id);
    media_poke(bench.media);
    turn();
    assert_int_equal(open_count(), 16);
    for (int i = 0; i < 66; i++) {
        answer(place(), 200, "x");
        assert_true(open_count() <= 16);
    }
    assert_int_equal(open_count(), 0);
    for (size_t i = 0; i < bench.row_count; i++)
        assert_int_equal(bench.rows[i].state, FILE_KEPT);
    assert_int_equal(kept_count(), 1);
}

static void test_one_account_with_many_keeps_no_other_from_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        add(1);
    media_poke(bench.media);
    turn();
    struct row *other = wanted(2);
    assert_int_equal(open_count(), 5);
    answer(&bench.calls[bench.call_count - 1], 200,
           "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/2.jpg\"}}");
    answer(open_with("/photos/2.jpg"), 200, "x");
    assert_int_equal(other->state, FILE_KEPT);
}

// Nobody asks again meanwhile: what the first page is full of does not hide what is behind it.
static void test_what_is_behind_a_page_of_one_account_is_fetched_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 600; i++)
        add(1);
    add(2);
    media_poke(bench.media);
    turn();
    assert_int_equal(open_count(), 5);
}

// However much of one account waits, its places are not left empty.
static void test_one_account_with_more_than_a_page_is_fetched_without_pauses(void **state)
{
    (void)state;
    for (int i = 0; i < 600; i++)
        add(1);
    media_poke(bench.media);
    turn();
    for (int i = 0; i < 200; i++) {
        assert_int_equal(open_count(), 4);
        answer(place(), 200, "x");
    }
    assert_true(bench.looks <= 4);
}

// All places are taken: the store is not asked again and again what it would want.
static void test_what_cannot_begin_is_not_asked_for(void **state)
{
    (void)state;
    for (int64_t id = 5; id < 9; id++) {
        add_account(arena_printf(&bench.arena, "a%d", (int)id).p, id, "telegram");
        for (int i = 0; i < 4; i++)
            add(id);
    }
    media_poke(bench.media);
    turn();
    int looks = bench.looks;
    for (int i = 0; i < 50; i++)
        wanted(1);
    assert_int_equal(bench.looks, looks);
    answer(place(), 200, "x");
    assert_int_equal(open_count(), 16);
}

static void test_the_same_file_twice_is_kept_once(void **state)
{
    (void)state;
    struct row *first = wanted(1), *second = wanted(2);
    answer(place(), 200, "same");
    answer(place(), 200, "same");
    assert_string_equal(first->hash, second->hash);
    assert_int_equal(kept_count(), 1);
    first->is_forgotten = true;
    pass(HOUR);
    assert_int_equal(kept_count(), 1); // the other message has it
    second->is_forgotten = true;
    pass(HOUR);
    assert_int_equal(kept_count(), 0);
}

// ---- no room ----

static void test_without_room_all_rests_and_goes_on_by_itself(void **state)
{
    (void)state;
    struct row *first = wanted(1), *second = wanted(2);
    struct call *one = place();
    bench.begin_err = ERR_FULL;
    answer(one, 200, "x");
    assert_string_equal(alarm_now(), "files_full");
    assert_int_equal(first->wanted.attempts, 0); // nothing is counted
    answer(place(), 200, "y");
    assert_int_equal(second->wanted.attempts, 0);
    wanted(1);
    pass(300 * SECOND);
    assert_int_equal(open_count(), 0);
    bench.begin_err = 0;
    pass(30 * SECOND);
    assert_string_equal(alarm_now(), "");
    assert_int_equal(open_count(), 3);
}

// Many may have been accepted while there was room; they are no way around the bound, and no other account's trouble.
static void test_an_account_with_too_many_bytes_gets_no_more(void **state)
{
    (void)state;
    struct row *rows[6];
    for (int i = 0; i < 6; i++) {
        rows[i] = add(1);
        rows[i]->wanted.account_bytes = 990;
    }
    struct row *other = wanted(2);
    for (int i = 0; i < 4; i++) // those under way are finished
        answer(place(), 200, "0123456789");
    answer(place(), 200, "other");
    assert_int_equal(other->state, FILE_KEPT);
    assert_int_equal(open_count(), 0);
    assert_int_equal(kept_count(), 2);
    assert_string_equal(alarm_now(), "quota_files");
    for (int i = 4; i < 6; i++) {
        assert_int_equal(rows[i]->state, FILE_WANTED);
        assert_true(rows[i]->wanted.next_attempt_us >= bench.clock.wall_us + HOUR);
        rows[i]->wanted.account_bytes = i == 4 ? 999 : 1000;
    }
    pass(HOUR + SECOND); // one learned that there is room
    answer(place(), 200, "x");
    assert_int_equal(rows[4]->state, FILE_KEPT);
    pass(25 * HOUR);
    assert_int_equal(rows[5]->state, FILE_FAILED);
    assert_str(rows[5]->why, "the account has as many bytes of files as it may have (quota.files)");
    wanted(1);
    assert_string_equal(alarm_now(), "");
}

static void test_a_file_that_is_too_large_for_the_disk_holds_up_no_other(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    struct call *file = place();
    bench.write_err = ERR_TOO_LARGE;
    answer(file, 200, "x");
    assert_string_equal(alarm_now(), "");
    assert_int_equal(row->state, FILE_FAILED);
    assert_str(row->why, "it is larger than a file may be where the relay keeps them");
}

static void test_a_disk_that_fills_up_while_a_file_is_written(void **state)
{
    (void)state;
    const int errs[][2] = {{ERR_FULL, 0}, {0, ERR_FULL}, {ERR_IO, 0}, {0, ERR_IO}};
    struct row *row = wanted(1);
    for (int i = 0; i < 4; i++) {
        struct call *file = place();
        bench.write_err = errs[i][0];
        bench.keep_err = errs[i][1];
        answer(file, 200, "x");
        assert_string_equal(alarm_now(), "files_full");
        assert_int_equal(open_count(), 0);
        assert_int_equal(row->state, FILE_WANTED);
        assert_int_equal(row->wanted.attempts, 0);
        bench.write_err = bench.keep_err = 0;
        pass(30 * SECOND);
        assert_string_equal(alarm_now(), "");
    }
    answer(place(), 200, "x");
    assert_int_equal(row->state, FILE_KEPT);
}

// ---- what is removed ----

static void test_what_no_message_has_any_more_is_removed(void **state)
{
    (void)state;
    struct row *row = wanted(1), *stays = wanted(1);
    answer(place(), 200, "one");
    answer(place(), 200, "two");
    row->is_forgotten = true;
    pass(599 * SECOND);
    assert_int_equal(kept_count(), 2);
    pass(2 * SECOND);
    assert_int_equal(kept_count(), 1);
    assert_int_equal(bench.files->ops->find(bench.files, str_of(stays->hash)), 3);
}

// The store has forgotten the one, and will hear of the other in a moment.
static void test_what_was_just_kept_again_is_not_removed(void **state)
{
    (void)state;
    struct row *old = wanted(1);
    answer(place(), 200, "same");
    old->is_forgotten = true;
    struct row *young = wanted(1);
    struct call *file = place();
    clock_manual_pass(&bench.clock, 600 * SECOND);
    bench.armed_us = 0;
    media_tick(bench.media); // the question is on its way
    assert_true(file->sink.write(file->sink.arg, STR("same")));
    end_call(file, &(struct http_response){.written = true, .status = 200, .body = STR("")}); // kept
    turn();                                                                                   // forgotten, then known
    assert_int_equal(young->state, FILE_KEPT);
    assert_int_equal(bench.files->ops->find(bench.files, str_of(young->hash)), 4);
}

static void test_a_file_whose_message_went_meanwhile_is_removed(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    struct call *file = place();
    row->state = FILE_FAILED; // by another hand
    answer(file, 200, "x");
    pass(HOUR);
    assert_int_equal(kept_count(), 0);
}

static void keep_orphans(int count)
{
    char hash[FILE_HASH_SIZE + 1];
    int64_t size;
    struct str mime;
    int err = 0;
    for (int i = 0; i < count; i++) {
        struct media_file *file = bench.files->ops->begin(bench.files, &err);
        bench.files->ops->write(file, arena_printf(&bench.arena, "orphan %d", i));
        assert_int_equal(bench.files->ops->keep(file, hash, &size, &mime), 0);
    }
}

static void test_bytes_that_a_crash_left_are_removed(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    answer(place(), 200, "known");
    keep_orphans(600); // more than are asked for at a time
    stop_media();
    begin_media();
    pass(SECOND);
    assert_int_equal(kept_count(), 1);
    assert_int_equal(bench.files->ops->find(bench.files, str_of(row->hash)), 5);
    assert_true(bench.parts_at_first < MEDIA_FILES_PARTS); // never the names of all of them at once
}

static void test_bytes_that_a_crash_left_are_asked_about_until_the_store_answers(void **state)
{
    (void)state;
    keep_orphans(3);
    stop_media();
    bench.job_err = ERR_IO;
    begin_media();
    pass(SECOND);
    assert_int_equal(kept_count(), 3);
    bench.job_err = 0;
    pass(HOUR);
    assert_int_equal(kept_count(), 0);
}

// ---- ends ----

static void test_a_stop_ends_what_is_under_way_and_counts_nothing(void **state)
{
    (void)state;
    struct row *asked = wanted(1), *got = wanted(2);
    struct call *file = place();
    assert_true(file->sink.write(file->sink.arg, STR("only ha")));
    media_stop(bench.media);
    assert_int_equal(open_count(), 0);
    assert_true(bench.stopped);
    assert_int_equal(asked->wanted.attempts + got->wanted.attempts, 0);
    assert_int_equal(kept_count(), 0);
    media_poke(bench.media); // is late, and does nothing
    media_tick(bench.media);
    turn();
    media_free(bench.media);
    begin_media(); // the next process takes up what was left
    assert_int_equal(open_count(), 2);
}

static void test_a_stop_waits_for_the_store(void **state)
{
    (void)state;
    struct row *row = wanted(1);
    struct call *file = place();
    assert_true(file->sink.write(file->sink.arg, STR("x")));
    end_call(file, &(struct http_response){.written = true, .status = 200, .body = STR("")});
    media_stop(bench.media);
    assert_false(bench.stopped);
    turn();
    assert_true(bench.stopped);
    assert_int_equal(row->state, FILE_KEPT);
    media_free(bench.media);
    bench.media = NULL;
}

static void test_a_committer_that_takes_nothing_is_asked_again(void **state)
{
    (void)state;
    struct row *row = add(1);
    bench.refuses = true;
    media_poke(bench.media);
    bench.refuses = false;
    pass(SECOND);
    struct call *file = place();
    bench.refuses = true;
    answer(file, 200, "x");
    assert_int_equal(row->state, FILE_WANTED);
    bench.refuses = false;
    pass(SECOND);
    answer(place(), 200, "x");
    assert_int_equal(row->state, FILE_KEPT);
    bench.refuses = true;
    pass(HOUR); // bytes that nobody has are asked for again, too
    bench.refuses = false;
}

static void test_a_store_that_failed_is_told_nothing_more(void **state)
{
    (void)state;
    wanted(1);
    struct call *file = place();
    bench.job_err = ERR_IO;
    answer(file, 200, "x");
    wanted(1);
    assert_int_equal(open_count(), 0);
    bench.job_err = 0;
}

static void test_what_is_no_media_is_freed(void **state)
{
    (void)state;
    media_free(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, put_up, take_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_file_is_fetched_and_stored),
        TEST(test_an_empty_file_is_one),
        TEST(test_what_bytes_do_not_say_their_sender_may),
        TEST(test_a_failure_is_tried_again_with_pauses),
        TEST(test_a_clock_that_is_set_back_keeps_no_file_waiting),
        TEST(test_who_asks_for_time_gets_it),
        TEST(test_a_clock_that_is_set_back_holds_no_file_up),
        TEST(test_after_a_day_it_is_given_up_with_the_last_words),
        TEST(test_what_is_refused_has_failed_at_once),
        TEST(test_what_turns_out_too_large_leaves_nothing),
        TEST(test_what_was_cut_off_is_fetched_anew),
        TEST(test_an_answer_that_leads_in_circles_ends),
        TEST(test_what_nobody_can_fetch_any_more_has_failed),
        TEST(test_an_inactive_account_is_no_reason_to_wait),
        TEST(test_addresses_that_strangers_wrote_are_not_trusted),
        TEST(test_what_agents_send_lies_at_their_desk),
        TEST(test_sixteen_at_a_time_and_four_of_one_account),
        TEST(test_one_account_with_many_keeps_no_other_from_its_own),
        TEST(test_what_is_behind_a_page_of_one_account_is_fetched_at_once),
        TEST(test_one_account_with_more_than_a_page_is_fetched_without_pauses),
        TEST(test_what_cannot_begin_is_not_asked_for),
        TEST(test_the_same_file_twice_is_kept_once),
        TEST(test_without_room_all_rests_and_goes_on_by_itself),
        TEST(test_an_account_with_too_many_bytes_gets_no_more),
        TEST(test_a_file_that_is_too_large_for_the_disk_holds_up_no_other),
        TEST(test_a_disk_that_fills_up_while_a_file_is_written),
        TEST(test_what_no_message_has_any_more_is_removed),
        TEST(test_what_was_just_kept_again_is_not_removed),
        TEST(test_a_file_whose_message_went_meanwhile_is_removed),
        TEST(test_bytes_that_a_crash_left_are_removed),
        TEST(test_bytes_that_a_crash_left_are_asked_about_until_the_store_answers),
        TEST(test_a_stop_ends_what_is_under_way_and_counts_nothing),
        TEST(test_a_stop_waits_for_the_store),
        TEST(test_a_committer_that_takes_nothing_is_asked_again),
        TEST(test_a_store_that_failed_is_told_nothing_more),
        TEST(test_what_is_no_media_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
