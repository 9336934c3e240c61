// Webhooks over a real socket, from their arrival to their answer: 200 for what is stored, 503 for what cannot be.
#include "relay/intake.h"

#include "base/log.h"
#include "store/store.h"
#include "support/unit.h"
#include "support/wire.h"

#include <openssl/hmac.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { APPLIED_MAX = 16 };

// What the store was asked to accept, and what it is to say of those to come in place of taking them.
static struct applied {
    struct {
        char key[40];
        int64_t wait_until_us, most_waiting, most_file_bytes;
    } accepts[APPLIED_MAX];
    int count;
    enum accept_result result; // ACCEPT_STORED: it is asked
    bool over_files;
    const char *only; // of the event with this key; NULL: of all
    const struct store_ops *inner;
    struct store_ops ops;
} applied;

static struct wired {
    struct clock_manual clock;
    struct store_fault fault;
    struct store *store;
    struct board *board;
    struct tally *tally;
    struct directory *directory;
    struct intake intake;
    struct source source;
    struct loop *loop;
    struct http_server *server;
    pthread_t loop_thread, committer_thread;
    bool commits; // the committer's thread runs
    int port;
    sem_t stored;
    int stored_err;
    char news[200]; // that were told
} wired;

static void on_announce(void *arg, struct announcement *list)
{
    (void)arg;
    while (list) {
        struct announcement *announcement = list;
        list = list->next;
        announcement_free(announcement);
    }
}

static bool may_hand_on(void *arg)
{
    (void)arg;
    return false;
}

static void on_fatal(void *arg, const char *sentence)
{
    (void)arg;
    fail_msg("%s", sentence);
}

static void on_news(void *arg, int64_t account_id, const struct str *desk_conversations, size_t count)
{
    (void)arg, (void)account_id;
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(wired.news);
        snprintf(wired.news + n, sizeof wired.news - n, "%.*s ", STR_ARG(desk_conversations[i]));
    }
}

static bool answers_itself(struct store_accept *accept)
{
    if (applied.count < APPLIED_MAX) {
        int i = applied.count++;
        snprintf(applied.accepts[i].key, sizeof applied.accepts[i].key, "%.*s", STR_ARG(accept->event.dedupe_key));
        applied.accepts[i].wait_until_us = accept->wait_until_us;
        applied.accepts[i].most_waiting = accept->most_waiting;
        applied.accepts[i].most_file_bytes = accept->most_file_bytes;
    }
    if (!applied.result || (applied.only && !str_eq_c(accept->event.dedupe_key, applied.only)))
        return false;
    accept->result = applied.result;
    accept->over_files = applied.over_files;
    return true;
}

// The committer's thread: in front of the store, which is asked for the others.
static int apply(struct store *store, struct store_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool skip = changes[i].kind == STORE_ACCEPT && answers_itself(changes[i].accept);
        int err = skip ? 0 : applied.inner->apply(store, &changes[i], 1);
        if (err)
            return err;
    }
    return 0;
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void *run_committer(void *arg)
{
    committer_run(arg);
    return NULL;
}

static void commit(void)
{
    wired.commits = true;
    assert_int_equal(pthread_create(&wired.committer_thread, NULL, run_committer, wired.intake.committer), 0);
}

// "acme" with the source "site", which takes messages from anyone.
static void put_account(void)
{
    struct account *account = account_new();
    wired.source = (struct source){
        .id = 1, .name = STR("site"), .platform = STR("webhook"), .secret = STR("none"), .account = STR("acme")};
    account->name = STR("acme");
    account->active = true;
    account->desk = (struct desk){.platform = STR("webhook"), .url = STR("http://desk.example/")};
    struct store_account_put put = {.account = account};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(wired.store->ops->apply(wired.store, &change, 1), 0);
    account->id = wired.source.account_id = put.id;
    account->sources = &wired.source;
    account->source_count = 1;
    directory_put(wired.directory, account);
}

// "beta", whose agents work at Intercom.
static void put_intercom(void)
{
    struct account *account = account_new();
    account->name = STR("beta");
    account->active = true;
    account->desk = (struct desk){
        .platform = STR("intercom"), .token = STR("token"), .client_secret = STR("test_client_secret")};
    struct store_account_put put = {.account = account};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(wired.store->ops->apply(wired.store, &change, 1), 0);
    account->id = put.id;
    directory_put(wired.directory, account);
}

static int set_up(void **state)
{
    (void)state;
    wired = (struct wired){.fault = {.after = -1}};
    clock_manual_init(&wired.clock, INT64_C(1700000000) * 1000000);
    sem_init(&wired.stored, 0, 0);
    wired.store = store_faulty_new(store_memory_new(), &wired.fault);
    applied = (struct applied){.inner = wired.store->ops, .ops = *wired.store->ops};
    applied.ops.apply = apply;
    wired.store->ops = &applied.ops;
    wired.board = board_new();
    wired.tally = tally_new();
    wired.directory = directory_new();
    put_account();
    put_intercom();
    struct committer *committer = committer_new(&(struct committer_options){
        .store = wired.store,
        .clock = &wired.clock.clock,
        .board = wired.board,
        .tally = wired.tally,
        .max_queue = 1,
        .announce = on_announce,
        .may_hand_on = may_hand_on,
        .fatal = on_fatal,
    });
    wired.intake = (struct intake){
        .directory = wired.directory,
        .committer = committer,
        .tally = wired.tally,
        .clock = &wired.clock.clock,
        .clock_watch = clock_watch_new(wired.board),
        .news = on_news,
        .board = wired.board,
        .media_wait_us = 15 * 1000000,
        .most_waiting = 77,
        .most_file_bytes = 88,
    };
    wired.loop = loop_new();
    struct http_server_options options;
    http_server_options_default(&options);
    struct http_handler handler = {
        .arg = &wired.intake, .head = intake_head, .request = intake_request, .allow = intake_allow};
    const char *why = NULL;
    wired.server = http_server_new(wired.loop, "127.0.0.1:0", -1, &options, &handler, &why);
    assert_non_null(wired.server);
    wired.port = http_server_port(wired.server);
    return pthread_create(&wired.loop_thread, NULL, run_loop, wired.loop);
}

static int tear_down(void **state)
{
    (void)state;
    committer_close(wired.intake.committer);
    if (wired.commits)
        pthread_join(wired.committer_thread, NULL);
    loop_stop(wired.loop);
    pthread_join(wired.loop_thread, NULL);
    http_server_free(wired.server);
    loop_free(wired.loop);
    committer_free(wired.intake.committer);
    clock_watch_free(wired.intake.clock_watch);
    directory_free(wired.directory);
    wired.store->ops->close(wired.store, true);
    tally_free(wired.tally);
    board_free(wired.board);
    sem_destroy(&wired.stored);
    return 0;
}

// A webhook with that message is sent; the connection.
static int post(const char *id)
{
    char body[200], text[600];
    snprintf(body, sizeof body, "{\"id\":\"%s\",\"conversation\":\"c\",\"sender\":{\"id\":\"s\"},\"text\":\"t\"}", id);
    snprintf(
        text, sizeof text,
        "POST /hooks/acme/site HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    int fd = wire_connect(wired.port);
    wire_send_text(fd, text);
    return fd;
}

static struct wire_answer answer;

static void answered_with(int fd, int status, const char *retry)
{
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, status);
    assert_int_equal(strstr(answer.head, "Retry-After: ") != NULL, status == 503);
    assert_true(status != 503 || strstr(answer.head, retry));
    close(fd);
}

static void answered(int fd, int status)
{
    answered_with(fd, status, "Retry-After: 2\r\n");
}

static struct store_totals totals(void)
{
    struct store_reader *reader = wired.store->ops->reader_new(wired.store);
    struct store_totals totals;
    assert_int_equal(reader->ops->totals(reader, &totals), 0);
    reader->ops->free(reader);
    return totals;
}

static void test_a_message_that_finds_no_room_is_503_and_is_taken_when_it_comes_again(void **state)
{
    (void)state;
    wired.fault = (struct store_fault){.err = ERR_FULL, .once = true};
    commit();
    answered(post("m1"), 503);
    assert_int_equal(totals().accepted, 0);
    answered(post("m1"), 200);
    assert_int_equal(totals().accepted, 1);
    answered(post("m1"), 200); // once more: taken before
    assert_int_equal(totals().accepted, 1);
}

static void test_where_too_many_wait_to_be_stored_the_next_is_503(void **state)
{
    (void)state;
    int fds[] = {post("m1"), post("m2")}; // one waits, nothing is stored yet
    struct pollfd polls[] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}};
    assert_int_equal(poll(polls, 2, WIRE_WAIT_MS), 1);
    int refused = polls[1].revents ? 1 : 0;
    answered(fds[refused], 503);
    commit();
    answered(fds[!refused], 200);
    assert_int_equal(totals().accepted, 1);
}

static void on_stored(struct intake_batch *batch, int err)
{
    intake_batch_free(batch);
    wired.stored_err = err;
    sem_post(&wired.stored);
}

// What a platform hands over together is stored together, what says nothing to an agent as settled.
static void test_all_of_a_batch_is_stored(void **state)
{
    (void)state;
    const struct event events[] = {
        {.dedupe_key = STR("k1"), .conversation = STR("c"), .sender_id = STR("s"), .text = STR("one")},
        {.dedupe_key = STR("k2"), .conversation = STR("c"), .sender_id = STR("s"), .discard = REASON_NO_MEANING},
        {.dedupe_key = STR("k3"), .conversation = STR("c"), .sender_id = STR("s"), .text = STR("three")},
    };
    const struct account *account = directory_find(wired.directory, STR("acme"));
    struct intake_batch *batch = intake_batch_new(&wired.intake, account, &wired.source, events, 3);
    commit();
    assert_true(intake_submit(&wired.intake, batch, wired.loop, on_stored, NULL));
    assert_int_equal(sem_wait(&wired.stored), 0);
    assert_int_equal(wired.stored_err, 0);
    assert_int_equal(totals().accepted, 3);
    assert_int_equal(totals().discarded, 1);
}

// ---- files, albums and bounds ----

#define WANTED "[{\"kind\":\"image\",\"state\":\"wanted\",\"ref\":\"r\"}]"
#define FAILED "[{\"kind\":\"image\",\"state\":\"failed\",\"why\":\"it is too large\"}]"

// The source's batch, as a polled source hands it over; what was refused of it.
static struct str refused_words;

static void on_taken(struct intake_batch *batch, int err)
{
    refused_words = batch->refused;
    on_stored(batch, err);
}

static void hand_over(const struct event *events, size_t count)
{
    const struct account *account = directory_find(wired.directory, STR("acme"));
    struct intake_batch *batch = intake_batch_new(&wired.intake, account, &wired.source, events, count);
    assert_true(intake_submit(&wired.intake, batch, wired.loop, on_taken, NULL));
    assert_int_equal(sem_wait(&wired.stored), 0);
    assert_int_equal(wired.stored_err, 0);
}

static void test_a_message_waits_for_its_files_and_for_its_album(void **state)
{
    (void)state;
#define EVENT(key) .dedupe_key = STR(key), .conversation = STR("c"), .sender_id = STR("s"), .text = STR("t")
    const struct event events[] = {
        {EVENT("text")},
        {EVENT("file"), .attachments = STR(WANTED)},
        {EVENT("failed"), .attachments = STR(FAILED)},
        {EVENT("album"), .album = STR("a1")},
        {EVENT("album with a file"), .album = STR("a2"), .attachments = STR(WANTED)},
        {EVENT("nothing"), .attachments = STR(WANTED), .album = STR("a3"), .discard = REASON_NO_MEANING},
    };
    static const int64_t waits_us[] = {0, 15 * 1000000, 0, 1000000, 15 * 1000000, 0};
    commit();
    hand_over(events, 6);
    assert_null(refused_words.p);
    assert_int_equal(applied.count, 6);
    for (int i = 0; i < 6; i++) {
        int64_t until = applied.accepts[i].wait_until_us;
        assert_int_equal(until ? until - wired.clock.wall_us : 0, waits_us[i]);
        assert_int_equal(applied.accepts[i].most_waiting, 77);
        assert_int_equal(applied.accepts[i].most_file_bytes, 88);
    }
    // An album's wait is the longer one where files get less.
    wired.intake.media_wait_us = 500 * 1000;
    applied.count = 0;
    hand_over(&events[4], 1);
    assert_int_equal(applied.accepts[0].wait_until_us - wired.clock.wall_us, 1000000);
}

static char standing[200];

static void add_alarm(void *arg, const struct board_alarm_line *line)
{
    (void)arg;
    size_t n = strlen(standing);
    snprintf(standing + n, sizeof standing - n, "%s:%.*s ", line->name, STR_ARG(line->subject));
}

static const char *alarms(void)
{
    standing[0] = 0;
    board_each_alarm(wired.board, add_alarm, NULL);
    return standing;
}

static void test_over_its_bound_an_account_is_503_until_there_is_room(void **state)
{
    (void)state;
    commit();
    applied.result = ACCEPT_OVER_QUOTA;
    answered_with(post("m1"), 503, "Retry-After: 60\r\n");
    assert_non_null(strstr(answer.body, "(quota.waiting)"));
    assert_string_equal(alarms(), "quota_waiting:acme ");
    applied.over_files = true;
    answered_with(post("m1"), 503, "Retry-After: 60\r\n");
    assert_non_null(strstr(answer.body, "(quota.files)"));
    assert_string_equal(alarms(), "quota_waiting:acme quota_files:acme ");
    assert_int_equal(atomic_load(&wired.tally->webhooks[TALLY_WEBHOOK_TAKEN][0]), 0);
    assert_int_equal(totals().accepted, 0);
    // A message that was stored before says nothing of room.
    applied.result = ACCEPT_DUPLICATE;
    answered(post("m0"), 200);
    assert_string_equal(alarms(), "quota_waiting:acme quota_files:acme ");
    applied.result = ACCEPT_STORED;
    answered(post("m1"), 200);
    assert_string_equal(alarms(), "quota_files:acme "); // it had no files
    const struct event with_file = {EVENT("m2"), .attachments = STR(WANTED)};
    hand_over(&with_file, 1);
    assert_string_equal(alarms(), "");
}

// One of a batch refused: whoever handed it over is told, and hands all over again.
static void test_a_batch_with_one_over_the_bound_is_not_taken(void **state)
{
    (void)state;
    const struct event events[] = {{EVENT("k1")}, {EVENT("k2"), .attachments = STR(WANTED)}, {EVENT("k3")}};
    commit();
    applied.result = ACCEPT_OVER_QUOTA;
    applied.over_files = true;
    applied.only = "k2";
    hand_over(events, 3);
    assert_non_null(refused_words.p);
    assert_string_equal(alarms(), "quota_files:acme ");
    applied.result = ACCEPT_STORED;
    hand_over(events, 3);
    assert_null(refused_words.p);
    assert_string_equal(alarms(), "");
    assert_int_equal(totals().accepted, 3); // each once
}

static uint64_t tallied(enum tally_event event)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < TALLY_PLATFORMS; i++)
        sum += atomic_load(&wired.tally->messages[event][i][INBOUND]);
    return sum;
}

static void test_a_part_that_joined_an_album_is_accepted_and_discarded(void **state)
{
    (void)state;
    commit();
    applied.result = ACCEPT_JOINED;
    answered(post("m1"), 200);
    assert_int_equal(tallied(TALLY_ACCEPTED), 1);
    assert_int_equal(tallied(TALLY_DISCARDED), 1);
    applied.result = ACCEPT_OVER_QUOTA;
    answered_with(post("m2"), 503, "Retry-After: 60\r\n");
    assert_int_equal(tallied(TALLY_ACCEPTED), 1);
    assert_int_equal(tallied(TALLY_DUPLICATE), 0);
}

// ---- /desks/{account} ----

static int ask(const char *method, const char *account, const char *body, const char *signed_body)
{
    unsigned char mac[20];
    char text[2000], hex[41] = "";
    HMAC(EVP_sha1(), "test_client_secret", 18, (const unsigned char *)signed_body, strlen(signed_body), mac, NULL);
    for (int i = 0; i < 20; i++)
        snprintf(hex + (size_t)(2 * i), 3, "%02x", mac[i]);
    snprintf(text, sizeof text,
             "%s /desks/%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Hub-Signature: "
             "sha1=%s\r\nContent-Length: %zu\r\n\r\n%s",
             method, account, hex, strlen(body), body);
    int fd = wire_connect(wired.port);
    wire_send_text(fd, text);
    return fd;
}

static const char replied[] =
    "{\"type\":\"notification_event\",\"topic\":\"conversation.admin.replied\",\"id\":\"notif_1\",\"data\":{\"type\":"
    "\"notification_event_data\",\"item\":{\"type\":\"conversation\",\"id\":\"77\"}}}";

static void count_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    (void)account_id;
    assert_str(desk_conversation, "77");
    ++*(int *)arg;
}

static int news_stored(void)
{
    int count = 0;
    assert_int_equal(wired.store->ops->each_news(wired.store, count_news, &count), 0);
    return count;
}

static void test_what_a_desk_tells_is_stored_then_told_and_answered(void **state)
{
    (void)state;
    commit();
    answered(ask("POST", "beta", replied, replied), 200);
    assert_string_equal(wired.news, "77 ");
    assert_int_equal(news_stored(), 1);
}

static void test_a_notice_that_cannot_be_stored_is_503_and_nobody_is_told(void **state)
{
    (void)state;
    wired.fault = (struct store_fault){.err = ERR_FULL, .once = true};
    commit();
    answered(ask("POST", "beta", replied, replied), 503);
    assert_string_equal(wired.news, "");
    answered(ask("POST", "beta", replied, replied), 200);
    assert_string_equal(wired.news, "77 ");
}

static void test_notices_that_are_none(void **state)
{
    (void)state;
    commit();
    answered(ask("POST", "beta", replied, "another body"), 401);
    answered(ask("POST", "beta", "{", "{"), 400);
    answered(ask("POST", "beta", "{\"type\":\"notification_event\",\"topic\":\"ping\"}",
                 "{\"type\":\"notification_event\",\"topic\":\"ping\"}"),
             200);
    answered(ask("POST", "nobody", replied, replied), 404);
    answered(ask("POST", "acme", replied, replied), 404); // a webhook desk tells nothing
    answered(ask("GET", "beta", "", ""), 405);
    assert_string_equal(wired.news, "");
    assert_int_equal(news_stored(), 0);
}

// Intercom asks so whether the address is one.
static void test_a_head_request_is_200(void **state)
{
    (void)state;
    commit();
    int fd = ask("HEAD", "beta", "", "");
    wire_read_answer(fd, &answer, true);
    assert_int_equal(answer.status, 200);
    close(fd);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_message_that_finds_no_room_is_503_and_is_taken_when_it_comes_again,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_where_too_many_wait_to_be_stored_the_next_is_503, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_of_a_batch_is_stored, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_message_waits_for_its_files_and_for_its_album, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_over_its_bound_an_account_is_503_until_there_is_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_batch_with_one_over_the_bound_is_not_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_part_that_joined_an_album_is_accepted_and_discarded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_desk_tells_is_stored_then_told_and_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_notice_that_cannot_be_stored_is_503_and_nobody_is_told, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_notices_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_head_request_is_200, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
