// Customers' pictures (relay/media_avatar.c): asked for, kept, told, and what becomes of each failure. Over the store in memory, and a
// network that the test plays.
#include "relay/media.h"

#include "support/store_kit.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)
#define JPEG "\xff\xd8\xff\xe0 a face"
#define PNG "\x89PNG\r\n\x1a\n another"
#define PICTURE(name) "{\"ok\":true,\"result\":{\"photos\":[[{\"file_id\":\"f\",\"file_unique_id\":\"" name "\"}]]}}"
#define NO_PICTURE "{\"ok\":true,\"result\":{\"photos\":[]}}"

enum { CALLS = 400 };

struct call {
    struct arena arena;
    struct str method, target, body;
    bool trusted, open, has_sink;
    struct media_sink sink;
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
    int begin_err, keep_err;
    struct store *store;
    int64_t source_id, account_id;
    struct media_links links;
    struct media *media;
    struct job *jobs, **tail; // on their way to the store
    bool refuses;             // the committer ends
    int job_err;
    int looks; // JOB_AVATARS that were answered
    struct call calls[CALLS];
    int call_count, keys;
    int64_t armed_us;
    bool stopped;
} bench;

// ---- the store, the network, the disk ----

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

static int serve(struct job *job)
{
    const struct store_ops *ops = bench.store->ops;
    if (bench.job_err)
        return bench.job_err;
    bench.looks += job->kind == JOB_AVATARS;
    if (job->kind == JOB_FILES)
        return ops->wanted_files(bench.store, &job->files);
    if (job->kind == JOB_AVATARS)
        return ops->due_avatars(bench.store, &job->avatars);
    return ops->apply(bench.store, job->changes, job->change_count);
}

static void turn(void)
{
    for (struct job *job; (job = bench.jobs);) {
        bench.jobs = job->next;
        if (!bench.jobs)
            bench.tail = &bench.jobs;
        job->err = serve(job);
        job->task.run(&job->task);
    }
}

static void *port_send(void *arg, const struct http_request *request, bool trusted, const struct media_sink *sink,
                       int64_t timeout_ms, void (*done)(void *done_arg, const struct http_response *response),
                       void *done_arg)
{
    (void)arg;
    assert_true(bench.call_count < CALLS && timeout_ms > 0);
    struct call *call = &bench.calls[bench.call_count++];
    *call = (struct call){.trusted = trusted, .open = true, .done = done, .arg = done_arg, .has_sink = sink != NULL};
    call->method = arena_str(&call->arena, request->method);
    call->target = arena_str(&call->arena, request->target);
    call->body = arena_str(&call->arena, request->body);
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
    bench.stopped = true;
}

static struct media_file *met_begin(struct media_files *files, int *out_err)
{
    *out_err = bench.begin_err;
    return bench.begin_err ? NULL : bench.memory_ops->begin(files, out_err);
}

static int met_keep(struct media_file *file, char out_hash[FILE_HASH_SIZE + 1], int64_t *out_size, struct str *out_mime)
{
    if (!bench.keep_err)
        return bench.memory_ops->keep(file, out_hash, out_size, out_mime);
    bench.memory_ops->drop(file);
    return bench.keep_err;
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

static void put_account(bool active, const char *desk)
{
    struct account *account = account_new();
    account->id = bench.account_id;
    account->name = STR("acme");
    account->active = active;
    account->desk = (struct desk){.platform = str_of(desk),
                                  .token = STR("t"),
                                  .api_url = STR("http://desk.test"),
                                  .url = STR("http://desk.test")};
    account->sources = arena_of(&account->arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){.id = bench.source_id,
                                          .account_id = bench.account_id,
                                          .account = account->name,
                                          .name = STR("main"),
                                          .platform = STR("telegram"),
                                          .token = STR("1:t"),
                                          .api_url = STR("http://telegram.test")};
    struct store_account_put put = {.account = account, .source_ids = &bench.source_id, .id = 0};
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_PUT, &put), 0);
    account->id = bench.account_id = put.id;
    account->sources[0].id = bench.source_id;
    account->sources[0].account_id = put.id;
    directory_put(bench.directory, account_ref(account));
    account_unref(account);
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
            .links = &bench.links,
            .seed = 1,
            .max_size = 1000,
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
    bench.ops.keep = met_keep;
    bench.files->ops = &bench.ops;
    bench.store = store_memory_new();
    bench.links = (struct media_links){.base = STR("https://relay.test"), .is_public = true, .lifetime_us = HOUR};
    put_account(true, "intercom");
    begin_media();
    return 0;
}

static int open_count(void)
{
    int count = 0;
    for (int i = 0; i < bench.call_count; i++)
        count += bench.calls[i].open;
    return count;
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
    bench.store->ops->close(bench.store, true);
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
    for (int ticks = 0; bench.armed_us && bench.armed_us <= until; ticks++) {
        assert_true(ticks < 10000);
        if (bench.armed_us > bench.clock.mono_us)
            clock_manual_pass(&bench.clock, bench.armed_us - bench.clock.mono_us);
        bench.armed_us = 0;
        media_tick(bench.media);
        turn();
    }
    clock_manual_pass(&bench.clock, until - bench.clock.mono_us);
}

// A message of the chat is delivered to that contact. Whether the picture is due now.
static bool deliver(const char *chat, const char *contact, const char *note)
{
    struct store_accept accept = kit_accept(arena_printf(&bench.arena, "k%d", bench.keys++).p, chat);
    accept.account_id = bench.account_id;
    accept.source_id = bench.source_id;
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    struct link link = {.contact = str_of(contact), .note = str_of(note)};
    struct store_outcome outcome = kit_outcome(accept.message_id, MESSAGE_DELIVERED);
    outcome.conversation_id = accept.conversation_id;
    outcome.at_us = bench.clock.wall_us;
    outcome.link = &link;
    outcome.avatar_of = bench.account_id;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    if (outcome.avatar_due)
        media_poke(bench.media);
    turn();
    return outcome.avatar_due;
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

// What getUserProfilePhotos answers, and the bytes that it leads to.
static void show(const char *photos, const char *bytes)
{
    answer(open_with("/getUserProfilePhotos"), 200, photos);
    if (!bytes)
        return;
    answer(open_with("/getFile"), 200, "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/1.jpg\"}}");
    answer(open_with("/photos/1.jpg"), 200, bytes);
}

// The desk is told; what of.
static struct str told(int status)
{
    struct call *call = open_with("/contacts/");
    assert_str(call->method, "PUT");
    assert_true(call->trusted);
    assert_false(call->has_sink);
    struct str body = arena_str(&bench.arena, call->body);
    answer(call, status, "{}");
    return body;
}

// What the store says is to be done.
static struct due_avatar *due(void)
{
    struct store_avatars ask = {.limit = 1, .arena = &bench.arena};
    assert_int_equal(bench.store->ops->due_avatars(bench.store, &ask), 0);
    return ask.count ? ask.due : NULL;
}

static void assert_done(int calls)
{
    assert_int_equal(open_count(), 0);
    assert_int_equal(bench.call_count, calls);
    assert_null(due());
}

// Tried again when that long has passed, and not before. The time that the test lets pass.
static void assert_tried_again(int attempts, int64_t least_us, int64_t most_us)
{
    assert_int_equal(open_count(), 0);
    struct due_avatar *row = due();
    assert_non_null(row);
    assert_int_equal(row->avatar.attempts, attempts);
    int64_t pause_us = row->avatar.due_us - bench.clock.wall_us;
    assert_in_range(pause_us, least_us, most_us);
    pass(pause_us - SECOND);
    assert_int_equal(open_count(), 0);
    pass(SECOND);
    assert_int_equal(open_count(), 1);
}

// ---- rules ----

static void test_a_picture_is_asked_for_kept_and_told(void **state)
{
    (void)state;
    assert_true(deliver("77", "contact", ""));
    assert_str(open_with("/getUserProfilePhotos")->body, "{\"user_id\":77,\"offset\":0,\"limit\":1}");
    show(PICTURE("one"), JPEG);
    struct str body = told(200);
    assert_true(str_starts(body, STR("{\"avatar\":\"https://relay.test/media/")));
    assert_true(str_ends(body, STR("&name=avatar.jpg&mime=image%2Fjpeg\"}")));
    assert_done(4);
    assert_int_equal(kept_count(), 1);
    assert_false(deliver("77", "contact", ""));
    pass(23 * HOUR);
    assert_false(deliver("77", "contact", ""));
    assert_done(4);
}

static void test_the_same_is_neither_fetched_nor_told(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    told(200);
    pass(DAY);
    assert_true(deliver("77", "contact", ""));
    show(PICTURE("one"), NULL);
    assert_done(5);
    pass(DAY);
    deliver("77", "contact", "");
    show(PICTURE("two"), PNG);
    assert_true(str_ends(told(200), STR("&name=avatar.png&mime=image%2Fpng\"}")));
    assert_done(9);
    pass(SECOND);
    assert_int_equal(kept_count(), 1); // the one before has gone
}

static void test_no_picture_is_remembered(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(NO_PICTURE, NULL);
    assert_done(1);
    assert_false(deliver("77", "contact", ""));
    pass(DAY);
    assert_true(deliver("77", "contact", ""));
    show(NO_PICTURE, NULL);
    assert_done(2);
}

static void test_a_picture_that_was_taken_back(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    told(200);
    pass(DAY);
    deliver("77", "contact", "");
    show(NO_PICTURE, NULL);
    assert_str(told(200), "{\"avatar\":null}");
    assert_done(6);
    pass(SECOND);
    assert_int_equal(kept_count(), 0);
    assert_false(deliver("77", "another", "")); // nothing is to be told to anybody
}

// The contact that shows it is not the customer's any more: the other one was told nothing, and nothing is taken from it.
static void test_a_picture_that_was_taken_back_from_another_contact(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    told(200);
    pass(DAY);
    deliver("77", "another", "");
    show(NO_PICTURE, NULL);
    pass(SECOND);
    assert_done(5);
    assert_int_equal(kept_count(), 0);
}

static void test_what_is_no_picture_is_dropped_and_remembered(void **state)
{
    static const char *const others[] = {"<html>", "%PDF-1.7", "", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        deliver("77", "contact", "");
        show(arena_printf(&bench.arena, PICTURE("p%d"), (int)i).p, others[i]);
        assert_done(3 + 4 * (int)i);
        pass(DAY);
        assert_int_equal(kept_count(), 0);
        deliver("77", "contact", "");
        show(arena_printf(&bench.arena, PICTURE("p%d"), (int)i).p, NULL); // as known as any
        assert_done(4 + 4 * (int)i);
        pass(DAY);
    }
}

static void test_what_is_too_large_is_not_kept(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    answer(open_with("/getUserProfilePhotos"), 200, PICTURE("one"));
    answer(open_with("/getFile"), 200, "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/1.jpg\"}}");
    assert_int_equal(open_with("/photos/1.jpg")->sink.max, 1000);
    struct http_response large = {
        .failure = HTTP_UNREADABLE, .too_large = true, .written = true, .error = STR("large")};
    end_call(open_with("/photos/1.jpg"), &large);
    turn();
    assert_done(3);
    assert_int_equal(kept_count(), 0);
}

static void test_the_platform_is_tried_five_times(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    for (int i = 1; i < 5; i++) {
        answer(open_with("/getUserProfilePhotos"), 500, "");
        int64_t most = (60 * SECOND) << (i - 1);
        assert_tried_again(i, most / 2, most);
    }
    answer(open_with("/getUserProfilePhotos"), 500, "");
    assert_done(5);
    assert_false(deliver("77", "contact", ""));
    pass(DAY);
    assert_true(deliver("77", "contact", ""));
    show(PICTURE("one"), JPEG);
    told(200);
    assert_done(9);
}

static void test_who_asks_for_time_gets_an_hour_at_most(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    answer(
        open_with("/getUserProfilePhotos"), 429,
        "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\",\"parameters\":{\"retry_after\":900}}");
    assert_tried_again(1, 900 * SECOND, 900 * SECOND);
    answer(
        open_with("/getUserProfilePhotos"), 429,
        "{\"ok\":false,\"error_code\":429,\"description\":\"Too Many Requests\",\"parameters\":{\"retry_after\":90000}}");
    assert_tried_again(2, HOUR, HOUR);
}

static void test_a_customer_who_is_not_known_keeps_what_was_told(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    told(200);
    pass(DAY);
    deliver("77", "contact", "");
    answer(open_with("/getUserProfilePhotos"), 400, "{\"ok\":false,\"description\":\"Bad Request: user not found\"}");
    assert_done(5);
    pass(SECOND);
    assert_int_equal(kept_count(), 1);
}

static void test_the_desk_is_tried_five_times_and_anew_on_another_day(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    for (int i = 1; i < 5; i++) {
        told(i % 2 ? 503 : 401);
        int64_t most = (60 * SECOND) << (i - 1);
        assert_tried_again(i, most / 2, most);
    }
    told(500);
    assert_done(8);
    assert_int_equal(kept_count(), 1);
    assert_false(deliver("77", "contact", ""));
    pass(DAY);
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    told(200);
    assert_done(12);
}

static void test_what_the_desk_refuses_is_not_told_again(void **state)
{
    static const int statuses[] = {400, 404, 410, 422};
    (void)state;
    for (int i = 0; i < 4; i++) {
        deliver("77", arena_printf(&bench.arena, "contact %d", i).p, "");
        if (!i)
            show(PICTURE("one"), JPEG);
        told(statuses[i]);
        assert_done(4 + i);
        assert_false(deliver("77", arena_printf(&bench.arena, "contact %d", i).p, ""));
    }
}

static void test_another_contact_is_told_without_a_question(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    struct str first = told(200);
    assert_true(deliver("77", "another", ""));
    assert_true(memmem(open_with("/contacts/")->target.p, open_with("/contacts/")->target.n, "another", 7) != NULL);
    assert_true(str_eq(told(200), first));
    assert_done(5);
}

static void test_a_contact_that_is_not_ours_is_passed_over(void **state)
{
    (void)state;
    assert_true(deliver("77", "contact", "joined=1"));
    assert_done(0); // nobody is asked
    assert_false(deliver("77", "contact", "joined=1"));
    assert_int_equal(bench.looks, 2);
}

static void test_nothing_is_done_where_nothing_can_be_shown(void **state)
{
    (void)state;
    put_account(false, "intercom");
    assert_true(deliver("77", "contact", ""));
    assert_done(0);
    put_account(true, "webhook");
    assert_true(deliver("77", "contact", ""));
    assert_done(0);
    directory_remove(bench.directory, bench.account_id);
    assert_true(deliver("77", "contact", ""));
    assert_done(0);
    stop_media();
    bench.links.is_public = false;
    begin_media();
    int looks = bench.looks;
    assert_true(deliver("77", "contact", ""));
    assert_int_equal(bench.looks, looks);
    assert_int_equal(bench.call_count, 0);
}

static void test_eight_at_a_time_and_all_in_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        deliver(arena_printf(&bench.arena, "%d", 100 + i).p, "contact", "");
    assert_int_equal(open_count(), 1); // one was due when it was looked; the others come behind it
    for (int answered = 0; answered < 20; answered++) {
        answer(open_with("/getUserProfilePhotos"), 200, NO_PICTURE);
        assert_true(open_count() <= 8);
    }
    assert_done(20);
}

static void test_a_stop_counts_nothing(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    stop_media();
    assert_int_equal(due()->avatar.attempts, 0);
    begin_media();
    show(PICTURE("one"), JPEG);
    stop_media(); // between the two halves
    assert_int_equal(kept_count(), 1);
    begin_media();
    told(200);
    assert_int_equal(kept_count(), 1);
    assert_null(due());
}

static void test_a_committer_that_takes_nothing_is_asked_again(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    bench.refuses = true;
    answer(open_with("/getUserProfilePhotos"), 200, NO_PICTURE);
    bench.refuses = false;
    pass(2 * SECOND);
    show(NO_PICTURE, NULL);
    assert_done(2);
    pass(DAY);
    deliver("77", "contact", "");
    bench.refuses = true;
    show(PICTURE("one"), JPEG);
    bench.refuses = false;
    pass(2 * SECOND);
    show(PICTURE("one"), JPEG);
    told(200);
    assert_null(due());
    pass(HOUR);
    assert_int_equal(kept_count(), 1);
}

static void test_an_error_of_the_store_is_no_end(void **state)
{
    (void)state;
    bench.job_err = ERR_BUSY;
    deliver("77", "contact", "");
    assert_int_equal(open_count(), 0);
    pass(10 * SECOND);
    bench.job_err = 0;
    pass(2 * SECOND);
    bench.job_err = ERR_FULL;
    show(PICTURE("one"), JPEG);
    bench.job_err = 0;
    pass(2 * SECOND);
    show(PICTURE("one"), JPEG);
    told(200);
    assert_null(due());
}

// Kept, and then the store did not take the row.
static void keep_unheard_of(void)
{
    deliver("77", "contact", "");
    answer(open_with("/getUserProfilePhotos"), 200, PICTURE("one"));
    answer(open_with("/getFile"), 200, "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/1.jpg\"}}");
    bench.job_err = ERR_FULL;
    answer(open_with("/photos/1.jpg"), 200, JPEG);
    bench.job_err = 0;
    assert_int_equal(kept_count(), 1);
    pass(2 * SECOND);
}

static void test_bytes_that_the_store_never_heard_of_go(void **state)
{
    (void)state;
    keep_unheard_of();
    show(NO_PICTURE, NULL);
    pass(HOUR);
    assert_int_equal(kept_count(), 0);
}

static void test_bytes_are_not_removed_before_their_row_is_there(void **state)
{
    (void)state;
    keep_unheard_of();
    answer(open_with("/getUserProfilePhotos"), 200, PICTURE("one"));
    answer(open_with("/getFile"), 200, "{\"ok\":true,\"result\":{\"file_id\":\"f\",\"file_path\":\"photos/1.jpg\"}}");
    clock_manual_pass(&bench.clock, 700 * SECOND);
    media_tick(bench.media); // asks which bytes nobody has: these, until the row is there
    assert_non_null(bench.jobs);
    answer(open_with("/photos/1.jpg"), 200, JPEG);
    told(200);
    assert_int_equal(kept_count(), 1);
}

static void test_no_room_is_waited_for(void **state)
{
    (void)state;
    bench.keep_err = ERR_FULL;
    deliver("77", "contact", "");
    show(PICTURE("one"), JPEG);
    assert_int_equal(open_count(), 0);
    assert_int_equal(due()->avatar.attempts, 0);
    bench.keep_err = 0;
    pass(31 * SECOND);
    show(PICTURE("one"), JPEG);
    told(200);
    assert_null(due());
}

static void test_what_becomes_due_behind_one_that_hangs_waits_quietly(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    answer(open_with("/getUserProfilePhotos"), 500, "");
    deliver("78", "contact", "");
    pass(90 * SECOND);
    assert_int_equal(open_count(), 1);
    show(NO_PICTURE, NULL);
    show(NO_PICTURE, NULL);
    assert_done(3);
}

static void test_what_becomes_due_while_there_is_no_room_waits_quietly(void **state)
{
    (void)state;
    deliver("77", "contact", "");
    answer(open_with("/getUserProfilePhotos"), 500, "");
    bench.keep_err = bench.begin_err = ERR_FULL;
    deliver("78", "contact", "");
    show(PICTURE("one"), JPEG);
    pass(100 * SECOND);
    assert_int_equal(open_count(), 0);
    bench.keep_err = bench.begin_err = 0;
    pass(31 * SECOND);
    show(NO_PICTURE, NULL);
    show(NO_PICTURE, NULL);
    assert_null(due());
}

#define AVATAR_TEST(name) cmocka_unit_test_setup_teardown(name, put_up, take_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AVATAR_TEST(test_a_picture_is_asked_for_kept_and_told),
        AVATAR_TEST(test_the_same_is_neither_fetched_nor_told),
        AVATAR_TEST(test_no_picture_is_remembered),
        AVATAR_TEST(test_a_picture_that_was_taken_back),
        AVATAR_TEST(test_a_picture_that_was_taken_back_from_another_contact),
        AVATAR_TEST(test_what_is_no_picture_is_dropped_and_remembered),
        AVATAR_TEST(test_what_is_too_large_is_not_kept),
        AVATAR_TEST(test_the_platform_is_tried_five_times),
        AVATAR_TEST(test_who_asks_for_time_gets_an_hour_at_most),
        AVATAR_TEST(test_a_customer_who_is_not_known_keeps_what_was_told),
        AVATAR_TEST(test_the_desk_is_tried_five_times_and_anew_on_another_day),
        AVATAR_TEST(test_what_the_desk_refuses_is_not_told_again),
        AVATAR_TEST(test_another_contact_is_told_without_a_question),
        AVATAR_TEST(test_a_contact_that_is_not_ours_is_passed_over),
        AVATAR_TEST(test_nothing_is_done_where_nothing_can_be_shown),
        AVATAR_TEST(test_eight_at_a_time_and_all_in_the_end),
        AVATAR_TEST(test_a_stop_counts_nothing),
        AVATAR_TEST(test_a_committer_that_takes_nothing_is_asked_again),
        AVATAR_TEST(test_an_error_of_the_store_is_no_end),
        AVATAR_TEST(test_bytes_that_the_store_never_heard_of_go),
        AVATAR_TEST(test_bytes_are_not_removed_before_their_row_is_there),
        AVATAR_TEST(test_no_room_is_waited_for),
        AVATAR_TEST(test_what_becomes_due_behind_one_that_hangs_waits_quietly),
        AVATAR_TEST(test_what_becomes_due_while_there_is_no_room_waits_quietly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
