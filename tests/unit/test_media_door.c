// GET /media/{hash} over real sockets: what is given to whom, in which parts, as what; and files that are slow, gone or cut short.
#include "relay/media_door.h"

#include "base/log.h"
#include "support/unit.h"
#include "support/wire.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
enum { SMALL = 1000, LARGE = 200 * 1000, HUGE_SIZE = 4 << 20, DOWNLOADS = 64 };

// One file, whose bytes come when the gate is open.
static struct fake {
    struct media_files files; // first
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic int64_t size;
    _Atomic int64_t fails_at; // from there on it cannot be read; -1: nowhere
    bool shut;                // readings wait
    int waiting, readings;
} fake;

static char byte_at(int64_t at)
{
    return (char)(at * 7 + at / 251);
}

static int64_t fake_find(struct media_files *files, struct str hash)
{
    (void)files;
    return str_eq_c(hash, HASH) ? fake.size : -1;
}

static int64_t fake_read(struct media_files *files, struct str hash, int64_t offset, char *room, size_t size)
{
    (void)files;
    assert_str(hash, HASH);
    pthread_mutex_lock(&fake.lock);
    fake.readings++;
    fake.waiting++;
    pthread_cond_broadcast(&fake.changed);
    while (fake.shut)
        pthread_cond_wait(&fake.changed, &fake.lock);
    fake.waiting--;
    pthread_mutex_unlock(&fake.lock);
    if (fake.fails_at >= 0 && offset >= fake.fails_at)
        return ERR_IO;
    size_t n = 0; // at most a third of the room at a time: a reading may be short
    for (; n < size && (n < size / 3 || n < 100) && offset + (int64_t)n < fake.size; n++)
        room[n] = byte_at(offset + (int64_t)n);
    return (int64_t)n;
}

static void gate(bool shut)
{
    pthread_mutex_lock(&fake.lock);
    fake.shut = shut;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static void wait_for_readings(int n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WIRE_WAIT_MS / 1000;
    pthread_mutex_lock(&fake.lock);
    while (fake.readings < n)
        assert_int_equal(pthread_cond_timedwait(&fake.changed, &fake.lock, &until), 0);
    pthread_mutex_unlock(&fake.lock);
}

static struct {
    struct clock_manual clock;
    struct intake intake;
    struct loop *loop;
    struct http_server *server;
    pthread_t thread;
    int port;
    struct arena arena;
    struct media_links links;
} door;

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static int set_up(void **state)
{
    (void)state;
    static const struct media_files_ops ops = {.find = fake_find, .read = fake_read};
    memset(&door, 0, sizeof door);
    fake = (struct fake){.files.ops = &ops, .size = SMALL, .fails_at = -1};
    pthread_mutex_init(&fake.lock, NULL);
    pthread_cond_init(&fake.changed, NULL);
    clock_manual_init(&door.clock, INT64_C(1700000000) * 1000000);
    door.links = (struct media_links){.base = STR(""), .key = {9}, .lifetime_us = INT64_C(60) * 1000000};
    door.intake = (struct intake){.clock = &door.clock.clock, .files = &fake.files, .links = &door.links};
    door.loop = loop_new();
    struct http_server_options options;
    http_server_options_default(&options);
    struct http_handler handler = {
        .arg = &door.intake, .head = intake_head, .request = intake_request, .allow = intake_allow};
    const char *why = NULL;
    door.server = http_server_new(door.loop, "127.0.0.1:0", -1, &options, &handler, &why);
    assert_non_null(door.server);
    door.port = http_server_port(door.server);
    return pthread_create(&door.thread, NULL, run_loop, door.loop);
}

static void stop(void)
{
    loop_stop(door.loop);
    pthread_join(door.thread, NULL);
    http_server_free(door.server);
    loop_free(door.loop);
    assert_int_equal(atomic_load(&door.intake.downloads), 0); // none is forgotten
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    arena_done(&door.arena);
    return 0;
}

static struct str link_as(const char *name, const char *mime)
{
    struct attachment file = {.hash = STR(HASH), .name = str_of(name), .mime = str_of(mime), .state = FILE_KEPT};
    return media_link(&door.links, &file, door.clock.wall_us, &door.arena);
}

static void send_request(int fd, const char *method, struct str target, const char *headers)
{
    wire_send_text(
        fd, arena_printf(&door.arena, "%s %.*s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, STR_ARG(target), headers).p);
}

static struct wire_answer answer;

// On a connection of its own.
static int ask(const char *method, struct str target, const char *headers)
{
    int fd = wire_connect(door.port);
    send_request(fd, method, target, headers);
    wire_read_answer(fd, &answer, strcmp(method, "HEAD") == 0);
    close(fd);
    return answer.status;
}

static void assert_header(const char *line)
{
    if (!strstr(answer.head, arena_printf(&door.arena, "\r\n%s\r\n", line).p))
        fail_msg("%s is not in %s", line, answer.head);
}

static void assert_bytes(const char *bytes, int64_t from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (bytes[i] != byte_at(from + i))
            fail_msg("byte %lld is another one", (long long)(from + i));
}

static void assert_body(int64_t from, int64_t n)
{
    assert_int_equal(answer.body_n, n);
    assert_bytes(answer.body, from, n);
}

static void test_a_link_gives_the_file_and_keeps_the_connection(void **state)
{
    (void)state;
    int fd = wire_connect(door.port);
    for (int i = 0; i < 3; i++) {
        send_request(fd, i == 1 ? "HEAD" : "GET", link_as("p.png", "image/png"), "");
        wire_read_answer(fd, &answer, i == 1);
        assert_int_equal(answer.status, 200);
        assert_header("Content-Length: 1000");
        assert_header("Content-Type: image/png");
        assert_header("Content-Disposition: inline; filename=\"p.png\"; filename*=UTF-8''p.png");
        assert_header("X-Content-Type-Options: nosniff");
        assert_header("Content-Security-Policy: sandbox; default-src 'none'");
        assert_header("Cache-Control: private, max-age=300");
        assert_header("Accept-Ranges: bytes");
        assert_header("ETag: \"" HASH "\"");
        assert_null(strstr(answer.head, "Content-Range"));
        assert_body(0, i == 1 ? 0 : SMALL);
    }
    close(fd);
}

static void test_an_empty_file_is_empty(void **state)
{
    (void)state;
    fake.size = 0;
    assert_int_equal(ask("GET", link_as("", ""), ""), 200);
    assert_header("Content-Length: 0");
    assert_header("Content-Disposition: attachment");
    assert_int_equal(ask("HEAD", link_as("", ""), ""), 200);
    assert_int_equal(ask("GET", link_as("", ""), "Range: bytes=0-\r\n"), 416);
}

static void test_a_large_file_comes_whole_to_a_client_that_is_slow(void **state)
{
    (void)state;
    fake.size = HUGE_SIZE;
    int fd = wire_connect(door.port), other = wire_connect(door.port), small = 64 * 1024;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    send_request(fd, "GET", link_as("a", "b"), "Connection: close\r\n");
    for (int i = 0; i < 200; i++) { // nothing is read meanwhile, and others are answered
        send_request(other, "GET", STR("/healthz"), "");
        wire_read_answer(other, &answer, false);
        assert_int_equal(answer.status, 200);
    }
    size_t room = HUGE_SIZE + WIRE_SIZE;
    char *all = malloc(room);
    size_t n = wire_read(fd, all, room);
    const char *body = memmem(all, n, "\r\n\r\n", 4);
    assert_non_null(body);
    assert_int_equal(all + n - (body + 4), HUGE_SIZE);
    assert_bytes(body + 4, 0, HUGE_SIZE);
    free(all);
    close(fd);
    close(other);
}

static void test_who_may_not_have_it(void **state)
{
    (void)state;
    struct str good = link_as("a", "b");
    assert_int_equal(ask("GET", good, ""), 200);
    assert_int_equal(ask("GET", STR("/media/" HASH), ""), 403);
    assert_int_equal(ask("GET", ARENA_JOIN(&door.arena, good, STR("x")), ""), 403);
    assert_header("Content-Type: application/problem+json");
    assert_int_equal(ask("HEAD", STR("/media/" HASH "?exp=1&sig=2"), ""), 403);
    assert_int_equal(ask("GET", STR("/media/"), ""), 404);
    assert_int_equal(ask("GET", STR("/media/" HASH "0"), ""), 404);
    assert_int_equal(ask("GET", STR("/media/../media/" HASH), ""), 404);
    assert_int_equal(ask("POST", good, "Content-Length: 0\r\n"), 405);
    assert_header("Allow: GET, HEAD");
    assert_int_equal(ask("DELETE", good, ""), 405);
    fake.size = -1;
    assert_int_equal(ask("GET", good, ""), 404);
    fake.size = SMALL;
    clock_manual_pass(&door.clock, INT64_C(61) * 1000000);
    assert_int_equal(ask("GET", good, ""), 410);
    assert_non_null(strstr(answer.body, "expired"));
    assert_null(strstr(answer.body, HASH));
}

static void test_where_no_files_are_kept_there_is_no_such_path(void **state)
{
    (void)state;
    door.intake.files = NULL;
    assert_int_equal(ask("GET", link_as("a", "b"), ""), 404);
}

static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *headers;
        int status;
        int64_t from, n;
        const char *range; // Content-Range
    } rows[] = {
        {"Range: bytes=0-99\r\n", 206, 0, 100, "bytes 0-99/1000"},
        {"Range: bytes=990-\r\n", 206, 990, 10, "bytes 990-999/1000"},
        {"Range: bytes=990-5000\r\n", 206, 990, 10, "bytes 990-999/1000"},
        {"Range: bytes=-1\r\n", 206, 999, 1, "bytes 999-999/1000"},
        {"range: BYTES= 5-5 \r\n", 206, 5, 1, "bytes 5-5/1000"},
        {"Range: bytes=-5000\r\n", 206, 0, 1000, "bytes 0-999/1000"},
        {"Range: bytes=1000-\r\n", 416, 0, -1, "bytes */1000"},
        {"Range: bytes=-0\r\n", 416, 0, -1, "bytes */1000"},
        {"Range: bytes=0-1,5-6\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=0-1\r\nRange: bytes=5-6\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=9-5\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=-\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=+1-5\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=1- 5\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=99999999999999999999-\r\n", 200, 0, 1000, NULL},
        {"Range: lines=1-5\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=0-9\r\nIf-Range: \"" HASH "\"\r\n", 206, 0, 10, "bytes 0-9/1000"},
        {"Range: bytes=0-9\r\nIf-Range: W/\"" HASH "\"\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=0-9\r\nIf-Range: \"other\"\r\n", 200, 0, 1000, NULL},
        {"Range: bytes=0-9\r\nIf-Range: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 200, 0, 1000, NULL},
        {"If-None-Match: \"" HASH "\"\r\n", 304, 0, 0, NULL},
        {"If-None-Match: \"x\", W/\"" HASH "\"\r\nRange: bytes=0-9\r\n", 304, 0, 0, NULL},
        {"If-None-Match: *\r\n", 304, 0, 0, NULL},
        {"If-None-Match: \"x\"\r\n", 200, 0, 1000, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (ask("GET", link_as("a", "b"), rows[i].headers) != rows[i].status)
            fail_msg("%s: %d", rows[i].headers, answer.status);
        if (rows[i].range)
            assert_header(arena_printf(&door.arena, "Content-Range: %s", rows[i].range).p);
        else
            assert_null(strstr(answer.head, "Content-Range"));
        if (rows[i].n >= 0)
            assert_body(rows[i].from, rows[i].n);
    }
    assert_int_equal(ask("HEAD", link_as("a", "b"), "Range: bytes=0-99\r\n"), 206);
    assert_header("Content-Length: 100");
}

// A browser is to run nothing of what a stranger has sent.
static void test_types_and_names(void **state)
{
    (void)state;
    static const struct {
        const char *name, *mime, *type, *disposition;
    } rows[] = {
        {"a.jpg", "image/jpeg", "image/jpeg", "inline; filename=\"a.jpg\"; filename*=UTF-8''a.jpg"},
        {"", "IMAGE/PNG; x=y", "image/png", "inline"},
        {"", "application/pdf", "application/pdf", "inline"},
        {"", "audio/ogg", "audio/ogg", "inline"},
        {"", "video/mp4", "video/mp4", "inline"},
        {"", "text/plain; charset=utf-7", "text/plain; charset=utf-8", "inline"},
        {"", "text/html", "application/octet-stream", "attachment"},
        {"", "image/svg+xml", "application/octet-stream", "attachment"},
        {"", "text/xml", "application/octet-stream", "attachment"},
        {"", "application/javascript", "application/octet-stream", "attachment"},
        {"", "image/png\r\nX-Evil: 1", "application/octet-stream", "attachment"},
        {"", "", "application/octet-stream", "attachment"},
        {"x.html", "text/html", "application/octet-stream", "attachment; filename=\"x.html\"; filename*=UTF-8''x.html"},
        {"\xc3\xa4 b%20.txt", "", "application/octet-stream",
         "attachment; filename=\"_ b_20.txt\"; filename*=UTF-8''%C3%A4%20b%2520.txt"},
        {"../../etc/passwd", "", "application/octet-stream",
         "attachment; filename=\"_._.._etc_passwd\"; filename*=UTF-8''_._.._etc_passwd"},
        {"a\"; filename=\"b.exe", "", "application/octet-stream",
         "attachment; filename=\"a_; filename=_b.exe\"; filename*=UTF-8''a_%3B%20filename%3D_b.exe"},
        {"a\\b\r\nc", "", "application/octet-stream", "attachment; filename=\"a_b__c\"; filename*=UTF-8''a_b__c"},
        {"gpj.\xe2\x80\xae" // NOLINT(misc-misleading-bidirectional): right to left from there on
         "exe",
         "", "application/octet-stream", "attachment; filename=\"gpj._exe\"; filename*=UTF-8''gpj._exe"},
        {"not\xff"
         "utf8",
         "", "application/octet-stream", "attachment"},
        {"\xf0\x9f\x98\x80", "", "application/octet-stream",
         "attachment; filename=\"_\"; filename*=UTF-8''%F0%9F%98%80"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(ask("GET", link_as(rows[i].name, rows[i].mime), ""), 200);
        assert_header(arena_printf(&door.arena, "Content-Type: %s", rows[i].type).p);
        assert_header(arena_printf(&door.arena, "Content-Disposition: %s", rows[i].disposition).p);
    }
}

static void test_so_many_at_a_time(void **state)
{
    (void)state;
    int fds[DOWNLOADS];
    struct str link = link_as("a", "b");
    gate(true);
    for (int i = 0; i < DOWNLOADS; i++) {
        fds[i] = wire_connect(door.port);
        send_request(fds[i], "GET", link, "");
        char first[1]; // the head is out: it is one of those under way
        assert_int_equal(recv(fds[i], first, 1, MSG_PEEK), 1);
    }
    assert_int_equal(ask("GET", link, ""), 503);
    assert_header("Retry-After: 2");
    gate(false);
    for (int i = 0; i < DOWNLOADS; i++) {
        wire_read_answer(fds[i], &answer, false);
        assert_body(0, SMALL);
    }
    assert_int_equal(ask("GET", link, ""), 200);
    for (int i = 0; i < DOWNLOADS; i++)
        close(fds[i]);
}

static void test_a_client_that_leaves_while_the_disk_is_slow(void **state)
{
    (void)state;
    fake.size = LARGE;
    gate(true);
    int fd = wire_connect(door.port), other = wire_connect(door.port);
    send_request(fd, "GET", link_as("a", "b"), "");
    wait_for_readings(1);
    wire_reset(fd);
    for (int i = 0; i < 20; i++) { // the loop goes round, and hears of it
        send_request(other, "GET", STR("/healthz"), "");
        wire_read_answer(other, &answer, false);
    }
    gate(false);
    close(other);
}

static void test_what_cannot_be_read_is_cut_short(void **state)
{
    (void)state;
    char bytes[LARGE];
    fake.size = LARGE;
    for (int i = 0; i < 2; i++) { // an error, or a file that has become shorter
        fake.fails_at = i == 0 ? 100 * 1000 : -1;
        int fd = wire_connect(door.port);
        gate(true);
        fake.readings = 0;
        send_request(fd, "GET", link_as("a", "b"), "");
        wait_for_readings(1);
        if (i == 1)
            fake.size = 100 * 1000;
        gate(false);
        ssize_t n;
        while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        }
        assert_true(n < 0 && errno == ECONNRESET);
        close(fd);
    }
}

static void on_drain(struct loop_task *task)
{
    (void)task;
    http_server_drain(door.server);
}

// Downloads end, also with a piece under way, which is waited for when the loop is freed.
static void test_a_stop_waits_for_the_disk_and_not_for_clients(void **state)
{
    (void)state;
    struct loop_task task = {.run = on_drain};
    fake.size = LARGE;
    gate(true);
    int fd = wire_connect(door.port);
    send_request(fd, "GET", link_as("a", "b"), "");
    wait_for_readings(1);
    assert_true(loop_post(door.loop, &task));
    wire_read_answer(fd, &answer, true); // the head, and then the end
    assert_true(wire_is_ended(fd));
    gate(false);
    close(fd);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_link_gives_the_file_and_keeps_the_connection, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_empty_file_is_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_large_file_comes_whole_to_a_client_that_is_slow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_may_not_have_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_where_no_files_are_kept_there_is_no_such_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_parts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_types_and_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_so_many_at_a_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_client_that_leaves_while_the_disk_is_slow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_read_is_cut_short, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stop_waits_for_the_disk_and_not_for_clients, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
