// LDFLAGS: -Wl,--wrap=realloc
// The HTTP client where bodies are files: requests of parts, answers that go to a sink.
#include "net/http_body.h"
#include "net/http_client.h"

#include "base/base64.h"
#include "base/err.h"
#include "support/unit.h"
#include "support/wire.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20, BODY_MAX = 6 * MIB, READ_MAX = 64 * 1024 };

// ---- the files: as long as their name says, each byte told by its place

static struct {
    int64_t ends_at; // nothing can be read from there on; 0 = all is well
    size_t at_most;  // of one read; 0 = what was asked
    size_t largest;  // that was asked for
    int64_t read;    // bytes, in all
    int err;         // in place of an early end
} disk;

static char byte_at(int64_t offset)
{
    return (char)((uint64_t)offset * 2654435761U >> 11);
}

static int64_t read_file(void *arg, struct str hash, int64_t offset, char *room, size_t size)
{
    int64_t file_size = 0;
    assert_ptr_equal(arg, &disk);
    assert_true(str_to_i64(hash, &file_size));
    if (disk.ends_at && disk.ends_at < file_size)
        file_size = disk.ends_at;
    if (size > disk.largest)
        disk.largest = size;
    if (disk.at_most && size > disk.at_most)
        size = disk.at_most;
    if (offset >= file_size)
        return disk.err;
    if ((int64_t)size > file_size - offset)
        size = (size_t)(file_size - offset);
    for (size_t i = 0; i < size; i++)
        room[i] = byte_at(offset + (int64_t)i);
    disk.read += (int64_t)size;
    return (int64_t)size;
}

static struct http_part bytes_part(const char *text)
{
    return (struct http_part){.bytes = str_of(text)};
}

// The name is kept until the next four are made.
static struct http_part file_part(int64_t size, bool base64)
{
    static char names[4][24];
    static int next;
    char *name = names[next++ % 4];
    snprintf(name, sizeof names[0], "%lld", (long long)size);
    return (struct http_part){.file = str_of(name), .file_size = size, .base64 = base64};
}

// What the parts are, one behind the other; the caller frees it.
static char *whole_of(const struct http_part *parts, size_t count, size_t *out_n)
{
    char *all = calloc(1, BODY_MAX);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = (size_t)parts[i].file_size;
        char *file = calloc(1, size + 1);
        for (size_t k = 0; k < size; k++)
            file[k] = byte_at((int64_t)k);
        if (!parts[i].file.p)
            memcpy(all + n, parts[i].bytes.p, parts[i].bytes.n);
        else if (parts[i].base64)
            EVP_EncodeBlock((unsigned char *)all + n, (unsigned char *)file, (int)size);
        else
            memcpy(all + n, file, size);
        n += !parts[i].file.p ? parts[i].bytes.n : parts[i].base64 ? (size + 2) / 3 * 4 : size;
        free(file);
    }
    *out_n = n;
    return all;
}

// ---- the scripted server: one connection after another

struct peer {
    int listener, port, connections;
    pthread_t thread;
    void (*serve)(struct peer *peer, int fd, int nth);
    atomic_int whole_requests;
    atomic_bool reached; // what the test waits for
    char head[WIRE_SIZE];
    char body[BODY_MAX];
    size_t body_n;
};

static void *run_peer(void *arg)
{
    struct peer *peer = arg;
    for (int i = 0; i < peer->connections; i++) {
        int fd = wire_accept(peer->listener);
        peer->serve(peer, fd, i);
        close(fd);
    }
    return NULL;
}

static struct peer *peer_start(void (*serve)(struct peer *peer, int fd, int nth), int connections)
{
    struct peer *peer = calloc(1, sizeof *peer);
    peer->listener = wire_listen(&peer->port);
    peer->serve = serve;
    peer->connections = connections;
    assert_int_equal(pthread_create(&peer->thread, NULL, run_peer, peer), 0);
    return peer;
}

static void peer_stop(struct peer *peer)
{
    pthread_join(peer->thread, NULL);
    close(peer->listener);
    free(peer);
}

static bool peer_take(struct peer *peer, int fd)
{
    if (!wire_read_request(fd, peer->head, sizeof peer->head, peer->body, sizeof peer->body, &peer->body_n))
        return false;
    peer->whole_requests++;
    return true;
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void serve_ok(struct peer *peer, int fd, int nth)
{
    (void)nth;
    while (peer_take(peer, fd))
        wire_send_text(fd, OK_ANSWER);
}

// ---- the client

struct asked {
    struct loop *loop;
    bool done, too_large, written;
    enum http_failure failure;
    int status;
    char body[256], error[256];
    // The sink's.
    int64_t sunk, wrong, wants; // `wants`: so many bytes and no more; 0 = all
};

struct asking {
    struct loop *loop;
    struct http_client *client;
    char url[64];
};

static struct asking asking_start(const struct peer *peer)
{
    struct asking asking = {.loop = loop_new()};
    struct http_client_options options;
    http_client_options_default(&options);
    options.read_file = read_file;
    options.read_file_arg = &disk;
    options.slow_s = 1;
    asking.client = http_client_new(asking.loop, &options);
    snprintf(asking.url, sizeof asking.url, "http://127.0.0.1:%d/upload", peer->port);
    return asking;
}

static void asking_stop(struct asking *asking)
{
    http_client_free(asking->client);
    loop_free(asking->loop);
}

static void on_done(void *arg, const struct http_response *response)
{
    struct asked *asked = arg;
    assert_false(asked->done);
    asked->done = true;
    uv_stop(loop_uv(asked->loop));
    asked->failure = response->failure;
    asked->too_large = response->too_large;
    asked->written = response->written;
    asked->status = response->status;
    snprintf(asked->body, sizeof asked->body, "%.*s", STR_ARG(response->body));
    snprintf(asked->error, sizeof asked->error, "%.*s", STR_ARG(response->error));
    assert_true((response->failure == HTTP_ANSWERED) == (response->status != 0));
    assert_true(response->failure == HTTP_ANSWERED || response->error.n > 0);
    assert_true(!response->too_large || response->failure == HTTP_UNREADABLE);
}

static void wait_for(struct asking *asking, const struct asked *asked)
{
    while (!asked->done)
        uv_run(loop_uv(asking->loop), UV_RUN_DEFAULT);
}

static struct http_call *send_parts(struct asking *asking, struct asked *asked, const struct http_part *parts,
                                    size_t count)
{
    *asked = (struct asked){.loop = asking->loop};
    struct http_request request = {
        .method = STR("POST"), .target = str_of(asking->url), .parts = parts, .part_count = count};
    return http_client_send(asking->client, &request, WIRE_WAIT_MS, on_done, asked);
}

static void ask_parts(struct asking *asking, struct asked *asked, const struct http_part *parts, size_t count)
{
    send_parts(asking, asked, parts, count);
    wait_for(asking, asked);
}

static void ask_plain(struct asking *asking, struct asked *asked, const char *method, struct str body)
{
    *asked = (struct asked){.loop = asking->loop};
    struct http_request request = {.method = str_of(method), .target = str_of(asking->url), .body = body};
    http_client_send(asking->client, &request, WIRE_WAIT_MS, on_done, asked);
    wait_for(asking, asked);
}

static int set_up(void **state)
{
    (void)state;
    memset(&disk, 0, sizeof disk);
    return 0;
}

// ---- base64, and the body by itself

static void test_base64_is_as_the_standard_has_it(void **state)
{
    (void)state;
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xfb\xff\xfe", "+//+"}}; // RFC 4648, section 10
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char out[16] = "";
        size_t n = strlen(rows[i][0]), size = strlen(rows[i][1]);
        assert_int_equal(base64_size((int64_t)n), size);
        base64_encode(rows[i][0], n, out);
        assert_string_equal(out, rows[i][1]);
        memcpy(out + size - n, rows[i][0], n); // out of its own end
        base64_encode(out + size - n, n, out);
        assert_string_equal(out, rows[i][1]);
    }
}

static void check_body(const struct http_part *parts, size_t count, size_t room_size)
{
    struct arena arena = {0};
    struct http_body body;
    size_t n = 0, done = 0;
    char *whole = whole_of(parts, count, &n);
    http_body_init(&body, parts, count, &arena);
    body.read_file = read_file;
    body.read_file_arg = &disk;
    assert_int_equal(body.size, n);
    for (;;) {
        char *room = malloc(room_size); // of exactly that size, for a sanitizer
        int64_t got = http_body_read(&body, room, room_size);
        assert_true(got >= 0 && got <= (int64_t)room_size && done + (size_t)got <= n);
        assert_memory_equal(room, whole + done, (size_t)got);
        done += (size_t)got;
        free(room);
        if (got == 0)
            break;
    }
    assert_int_equal(done, n);
    free(whole);
    arena_done(&arena);
}

static void test_body_is_the_same_by_any_room(void **state)
{
    (void)state;
    for (int64_t size = 0; size < 12; size++)
        for (size_t before = 0; before < 5; before++)
            for (size_t room = 4; room < 14; room++) {
                const struct http_part parts[] = {bytes_part(&"abcd"[4 - before]), file_part(size, true),
                                                  bytes_part(""), file_part(size, false), bytes_part("end")};
                disk.at_most = room % 3; // 0: all that is asked for
                check_body(parts, 5, room);
            }
}

static void test_base64_is_exact_across_the_borders_of_the_buffer(void **state)
{
    (void)state;
    enum { FITS = READ_MAX / 4 * 3 };
    for (int64_t size = FITS - 4; size <= FITS + 4; size++)
        for (size_t before = 0; before < 5; before++) {
            const struct http_part parts[] = {bytes_part(&"abcd"[4 - before]), file_part(size, true), bytes_part("x")};
            check_body(parts, 3, READ_MAX);
        }
}

// ---- parts

static void check_parts(const struct http_part *parts, size_t count)
{
    struct peer *peer = peer_start(serve_ok, 1);
    struct asking asking = asking_start(peer);
    struct asked asked;
    size_t n = 0;
    char length[64], *whole = whole_of(parts, count, &n);
    ask_parts(&asking, &asked, parts, count);
    assert_int_equal(asked.failure, HTTP_ANSWERED);
    assert_int_equal(asked.status, 200);
    assert_true(asked.written);
    assert_int_equal(peer->body_n, n);
    assert_memory_equal(peer->body, whole, n);
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", n);
    assert_non_null(strstr(peer->head, length));
    assert_null(strstr(peer->head, "Expect"));
    assert_null(strstr(peer->head, "Transfer-Encoding"));
    assert_null(strstr(peer->head, "Content-Type"));
    asking_stop(&asking);
    peer_stop(peer);
    free(whole);
}

static void test_parts_arrive_byte_for_byte(void **state)
{
    (void)state;
    const struct http_part parts[] = {bytes_part("--b\r\n\r\n"), file_part(3 * MIB, false), bytes_part("\r\n--b--")};
    check_parts(parts, 3);
    assert_true(disk.largest <= READ_MAX);
    assert_int_equal(disk.read, 3 * MIB); // each byte once
}

static void test_base64_arrives_as_it_should(void **state)
{
    (void)state;
    for (int more = 0; more < 3; more++) {
        const struct http_part parts[] = {bytes_part("{\"file\":\""), file_part(3 * MIB + more, true),
                                          bytes_part("\"}")};
        check_parts(parts, 3);
    }
    assert_true(disk.largest <= READ_MAX);
}

static void test_small_parts_and_none_at_all(void **state)
{
    (void)state;
    const struct http_part one[] = {bytes_part("hello")}, empty[] = {bytes_part("")}, none[] = {file_part(0, true)};
    check_parts(one, 1);
    check_parts(empty, 1);
    check_parts(none, 1);
}

static void test_file_that_is_read_in_small_pieces(void **state)
{
    (void)state;
    disk.at_most = 1000;
    const struct http_part parts[] = {file_part(200000, false), file_part(200000, true)};
    check_parts(parts, 2);
}

// The handle of a call is used again: what one had is not the next one's.
static void test_parts_and_plain_bodies_share_a_connection(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_ok, 1);
    struct asking asking = asking_start(peer);
    struct asked asked;
    const struct http_part parts[] = {bytes_part("ab"), file_part(100000, false)};
    for (int i = 0; i < 3; i++) {
        ask_parts(&asking, &asked, parts, 2);
        assert_int_equal(asked.status, 200);
        assert_int_equal(peer->body_n, 100002);
        ask_plain(&asking, &asked, "POST", STR("hello"));
        assert_int_equal(asked.status, 200);
        assert_string_equal(peer->body, "hello");
        ask_plain(&asking, &asked, "GET", STR_NONE);
        assert_int_equal(asked.status, 200);
        assert_int_equal(peer->body_n, 0);
    }
    asking_stop(&asking);
    peer_stop(peer);
}

static void serve_unfinished(struct peer *peer, int fd, int nth)
{
    (void)nth;
    assert_false(peer_take(peer, fd));
}

static void check_unsendable(void)
{
    struct peer *peer = peer_start(serve_unfinished, 1);
    struct asking asking = asking_start(peer);
    struct asked asked;
    const struct http_part parts[] = {bytes_part("ab"), file_part(3 * MIB, false), bytes_part("end")};
    ask_parts(&asking, &asked, parts, 3);
    assert_int_equal(asked.failure, HTTP_UNSENDABLE);
    assert_false(asked.written);
    assert_string_equal(asked.error, "a file that was to be sent cannot be read");
    asking_stop(&asking);
    assert_int_equal(peer->whole_requests, 0);
    peer_stop(peer);
}

static void test_file_that_cannot_be_read_any_more_ends_the_call(void **state)
{
    (void)state;
    static const int64_t ends[] = {1, 100000, 2 * MIB, 3 * MIB - 1};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        for (disk.err = 0; disk.err >= ERR_NOT_FOUND; disk.err += ERR_NOT_FOUND) { // it is shorter; it has gone
            disk.ends_at = ends[i];
            check_unsendable();
        }
}

// ---- parts are not sent a second time

static void serve_then_take_and_close(struct peer *peer, int fd, int nth)
{
    if (nth == 0 && peer_take(peer, fd)) {
        wire_send_text(fd, OK_ANSWER);
        peer_take(peer, fd);
    } else {
        peer_take(peer, fd); // the test's own, or what must not be
    }
}

static void check_not_sent_again(int64_t size)
{
    struct peer *peer = peer_start(serve_then_take_and_close, 2);
    struct asking asking = asking_start(peer);
    struct asked asked;
    const struct http_part parts[] = {bytes_part("ab"), file_part(size, false)};
    ask_plain(&asking, &asked, "GET", STR_NONE);
    assert_int_equal(asked.status, 200);
    ask_parts(&asking, &asked, parts, 2);
    assert_int_equal(asked.failure, HTTP_RESENT);
    assert_true(asked.written);
    assert_string_equal(asked.error, "the connection ended before an answer");
    asking_stop(&asking);
    close(wire_connect(peer->port));
    pthread_join(peer->thread, NULL);
    assert_int_equal(peer->whole_requests, 2);
    close(peer->listener);
    free(peer);
}

static void test_item_75_parts_taken_on_a_reused_connection_are_not_sent_again(void **state)
{
    (void)state;
    for (int64_t size = 1; size < 4 * MIB; size *= 50)
        check_not_sent_again(size);
}

static void serve_then_reset_in_body(struct peer *peer, int fd, int nth)
{
    char some[1000];
    if (nth == 0 && peer_take(peer, fd)) {
        wire_send_text(fd, OK_ANSWER);
        wire_read(fd, some, sizeof some);
        wire_reset(dup(fd));
    } else {
        peer_take(peer, fd);
    }
}

static void test_item_75_parts_are_not_sent_again_after_a_reset(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_then_reset_in_body, 2);
    struct asking asking = asking_start(peer);
    struct asked asked;
    const struct http_part parts[] = {file_part(32 * (int64_t)MIB, false)};
    ask_plain(&asking, &asked, "GET", STR_NONE);
    ask_parts(&asking, &asked, parts, 1);
    assert_true(asked.failure == HTTP_RESENT || asked.failure == HTTP_DROPPED);
    asking_stop(&asking);
    close(wire_connect(peer->port));
    pthread_join(peer->thread, NULL);
    assert_int_equal(peer->whole_requests, 1);
    close(peer->listener);
    free(peer);
}

// ---- memory

static size_t largest_block;

void *__wrap_realloc(void *p, size_t size);
void *__real_realloc(void *p, size_t size);

void *__wrap_realloc(void *p, size_t size)
{
    if (size > largest_block)
        largest_block = size;
    return __real_realloc(p, size);
}

static long resident_pages(void)
{
    long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &all, &resident), 2);
    fclose(file);
    return resident;
}

// Takes all until the client goes.
static void serve_drain(struct peer *peer, int fd, int nth)
{
    static char some[256 * 1024];
    size_t n = 0, got = 0;
    (void)nth;
    while ((got = wire_read(fd, some, sizeof some)) > 0) {
        n += got;
        if (n >= 64 * (size_t)MIB)
            peer->reached = true;
    }
}

static void test_file_is_never_in_memory_as_a_whole(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_drain, 1);
    struct asking asking = asking_start(peer);
    struct asked asked;
    const struct http_part parts[] = {file_part(1024 * (int64_t)MIB, true)};
    long before = resident_pages();
    largest_block = 0;
    struct http_call *call = send_parts(&asking, &asked, parts, 1);
    while (!peer->reached)
        uv_run(loop_uv(asking.loop), UV_RUN_ONCE);
    assert_in_range(resident_pages() - before + 1024, 0, 1024 + 8 * MIB / 4096);
    assert_true(disk.largest <= READ_MAX && largest_block <= READ_MAX);
    http_call_cancel(call);
    asking_stop(&asking);
    peer_stop(peer);
}

// ---- sinks

static bool sink_write(void *arg, struct str bytes)
{
    struct asked *asked = arg;
    for (size_t i = 0; i < bytes.n; i++)
        asked->wrong += bytes.p[i] != byte_at(asked->sunk + (int64_t)i);
    asked->sunk += (int64_t)bytes.n;
    return !asked->wants || asked->sunk < asked->wants;
}

static struct http_call *fetch(struct asking *asking, struct asked *asked, int64_t max, int64_t min_rate)
{
    struct http_request request = {.method = STR("GET"), .target = str_of(asking->url)};
    struct http_sink sink = {.arg = asked, .write = sink_write, .max = max, .min_rate = min_rate};
    int64_t wants = asked->wants;
    *asked = (struct asked){.loop = asking->loop, .wants = wants};
    return http_client_fetch(asking->client, &request, WIRE_WAIT_MS, &sink, on_done, asked);
}

// What is sent, and how its end is told.
static struct {
    int status;
    int64_t size, cut_at; // `cut_at`: the connection ends there; 0 = it does not
    bool chunked, without_length;
} answer;

static void send_bytes(int fd, int64_t from, int64_t to)
{
    char *bytes = malloc((size_t)(to - from) + 1);
    for (int64_t i = from; i < to; i++)
        bytes[i - from] = byte_at(i);
    wire_send(fd, bytes, (size_t)(to - from));
    free(bytes);
}

static void send_chunks(int fd, int64_t end)
{
    for (int64_t at = 0; at < end; at += 50000) {
        char line[32];
        int64_t to = at + 50000 < end ? at + 50000 : end;
        snprintf(line, sizeof line, "%llx\r\n", (long long)(to - at));
        wire_send_text(fd, line);
        send_bytes(fd, at, to);
        wire_send_text(fd, "\r\n");
    }
}

static void serve_answer(struct peer *peer, int fd, int nth)
{
    char head[256], rest[16];
    int64_t end = answer.cut_at ? answer.cut_at : answer.size;
    (void)nth;
    peer_take(peer, fd);
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d Whatever\r\n", answer.status);
    if (answer.chunked)
        n += snprintf(head + n, sizeof head - (size_t)n, "Transfer-Encoding: chunked\r\n");
    else if (!answer.without_length)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %lld\r\n", (long long)answer.size);
    snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    wire_send_text(fd, head);
    if (answer.chunked)
        send_chunks(fd, end);
    else
        send_bytes(fd, 0, end);
    if (answer.chunked && !answer.cut_at)
        wire_send_text(fd, "0\r\n\r\n");
    peer->reached = true;
    if (!answer.cut_at && !answer.without_length)
        wire_read(fd, rest, sizeof rest); // until the client goes
}

static void check_fetch(struct asked *asked, int64_t max)
{
    struct peer *peer = peer_start(serve_answer, 1);
    struct asking asking = asking_start(peer);
    fetch(&asking, asked, max, 0);
    wait_for(&asking, asked);
    assert_int_equal(asked->wrong, 0);
    assert_true(asked->sunk <= max);
    asking_stop(&asking);
    peer_stop(peer);
}

static int answer_ok(void **state)
{
    memset(&answer, 0, sizeof answer);
    answer.status = 200;
    answer.size = 3 * MIB + 1;
    return set_up(state);
}

static void test_sink_gets_the_exact_bytes(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct asked asked = {0};
        answer.chunked = way == 1;
        answer.without_length = way == 2;
        check_fetch(&asked, answer.size); // as much as is allowed
        assert_int_equal(asked.failure, HTTP_ANSWERED);
        assert_int_equal(asked.status, 200);
        assert_int_equal(asked.sunk, answer.size);
        assert_string_equal(asked.body, "");
    }
}

static void test_other_answers_do_not_go_to_the_sink(void **state)
{
    (void)state;
    static const int statuses[] = {206, 302, 404, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct asked asked = {0};
        answer.status = statuses[i];
        answer.size = 100;
        check_fetch(&asked, 10);
        assert_int_equal(asked.status, statuses[i]);
        assert_int_equal(asked.sunk, 0);
        assert_int_equal(asked.body[0], byte_at(0));
    }
}

static void test_too_large_by_its_own_word_is_not_begun(void **state)
{
    (void)state;
    struct asked asked = {0};
    answer.size = 200001;
    check_fetch(&asked, 200000);
    assert_int_equal(asked.failure, HTTP_UNREADABLE);
    assert_true(asked.too_large);
    assert_int_equal(asked.sunk, 0);
    assert_string_equal(asked.error, "the answer is too large");
}

static void test_too_large_in_fact_ends_there(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct asked asked = {0};
        answer.chunked = way == 0;
        answer.without_length = way == 1;
        answer.size = 200001;
        check_fetch(&asked, 200000);
        assert_int_equal(asked.failure, HTTP_UNREADABLE);
        assert_true(asked.too_large);
    }
}

static void test_body_that_is_cut_short_is_no_answer(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct asked asked = {0};
        answer.chunked = way == 1;
        answer.cut_at = 100000;
        check_fetch(&asked, answer.size);
        assert_int_equal(asked.failure, HTTP_DROPPED);
        assert_false(asked.too_large);
        assert_int_equal(asked.sunk, 100000);
    }
}

static void test_sink_that_is_full_ends_the_call(void **state)
{
    (void)state;
    struct asked asked = {.wants = 100000};
    check_fetch(&asked, answer.size);
    assert_int_equal(asked.failure, HTTP_UNREADABLE);
    assert_false(asked.too_large);
    assert_true(asked.sunk >= 100000 && asked.sunk < answer.size);
}

static void serve_a_little(struct peer *peer, int fd, int nth)
{
    (void)nth;
    peer_take(peer, fd);
    wire_send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    send_bytes(fd, 0, 100);
    assert_true(wire_is_ended(fd)); // the client gives up
}

static void test_slow_body_is_a_timeout(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_a_little, 1);
    struct asking asking = asking_start(peer);
    struct asked asked = {0};
    fetch(&asking, &asked, MIB, 1000);
    int64_t before_ms = (int64_t)uv_now(loop_uv(asking.loop));
    wait_for(&asking, &asked);
    assert_int_equal(asked.failure, HTTP_TIMEOUT);
    assert_true((int64_t)uv_now(loop_uv(asking.loop)) - before_ms < WIRE_WAIT_MS / 2); // not by the time of the whole
    asking_stop(&asking);
    peer_stop(peer);
}

static void serve_once_and_then_a_little(struct peer *peer, int fd, int nth)
{
    peer_take(peer, fd);
    wire_send_text(fd, OK_ANSWER);
    serve_a_little(peer, fd, nth);
}

// The next call with the same handle has no such limit.
static void test_slowness_counts_for_sinks_alone(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_once_and_then_a_little, 1);
    struct asking asking = asking_start(peer);
    struct asked asked = {0};
    fetch(&asking, &asked, MIB, 1000);
    wait_for(&asking, &asked);
    assert_int_equal(asked.status, 200);
    asked = (struct asked){.loop = asking.loop};
    struct http_request request = {.method = STR("GET"), .target = str_of(asking.url)};
    http_client_send(asking.client, &request, 2500, on_done, &asked); // slow for longer than slow_s
    wait_for(&asking, &asked);
    assert_int_equal(asked.failure, HTTP_TIMEOUT);
    assert_null(strstr(asked.error, "too slow"));
    assert_non_null(strstr(asked.error, "timed out"));
    asking_stop(&asking);
    peer_stop(peer);
}

static void test_cancelled_in_the_middle(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_a_little, 1);
    struct asking asking = asking_start(peer);
    struct asked asked = {0};
    struct http_call *call = fetch(&asking, &asked, MIB, 0);
    while (asked.sunk < 100)
        uv_run(loop_uv(asking.loop), UV_RUN_ONCE);
    http_call_cancel(call);
    assert_true(asked.done);
    assert_int_equal(asked.failure, HTTP_CANCELLED);
    assert_int_equal(asked.sunk, 100);
    assert_int_equal(http_client_open_calls(asking.client), 0);
    asking_stop(&asking);
    peer_stop(peer);
}

static void serve_the_beginning(struct peer *peer, int fd, int nth)
{
    char some[100000];
    (void)nth;
    wire_read(fd, some, sizeof some);
    peer->reached = true;
    while (wire_read(fd, some, sizeof some) == sizeof some) {
    }
}

static void test_cancelled_in_the_middle_of_parts_is_not_written(void **state)
{
    (void)state;
    struct peer *peer = peer_start(serve_the_beginning, 1);
    struct asking asking = asking_start(peer);
    struct asked asked;
    const struct http_part parts[] = {file_part(1024 * (int64_t)MIB, false)};
    struct http_call *call = send_parts(&asking, &asked, parts, 1);
    while (!peer->reached)
        uv_run(loop_uv(asking.loop), UV_RUN_ONCE);
    http_call_cancel(call);
    assert_int_equal(asked.failure, HTTP_CANCELLED);
    assert_false(asked.written);
    asking_stop(&asking);
    peer_stop(peer);
}

int main(void)
{
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_base64_is_as_the_standard_has_it, set_up),
        cmocka_unit_test_setup(test_body_is_the_same_by_any_room, set_up),
        cmocka_unit_test_setup(test_base64_is_exact_across_the_borders_of_the_buffer, set_up),
        cmocka_unit_test_setup(test_parts_arrive_byte_for_byte, set_up),
        cmocka_unit_test_setup(test_base64_arrives_as_it_should, set_up),
        cmocka_unit_test_setup(test_small_parts_and_none_at_all, set_up),
        cmocka_unit_test_setup(test_file_that_is_read_in_small_pieces, set_up),
        cmocka_unit_test_setup(test_parts_and_plain_bodies_share_a_connection, set_up),
        cmocka_unit_test_setup(test_file_that_cannot_be_read_any_more_ends_the_call, set_up),
        cmocka_unit_test_setup(test_item_75_parts_taken_on_a_reused_connection_are_not_sent_again, set_up),
        cmocka_unit_test_setup(test_item_75_parts_are_not_sent_again_after_a_reset, set_up),
        cmocka_unit_test_setup(test_file_is_never_in_memory_as_a_whole, set_up),
        cmocka_unit_test_setup(test_sink_gets_the_exact_bytes, answer_ok),
        cmocka_unit_test_setup(test_other_answers_do_not_go_to_the_sink, answer_ok),
        cmocka_unit_test_setup(test_too_large_by_its_own_word_is_not_begun, answer_ok),
        cmocka_unit_test_setup(test_too_large_in_fact_ends_there, answer_ok),
        cmocka_unit_test_setup(test_body_that_is_cut_short_is_no_answer, answer_ok),
        cmocka_unit_test_setup(test_sink_that_is_full_ends_the_call, answer_ok),
        cmocka_unit_test_setup(test_slow_body_is_a_timeout, answer_ok),
        cmocka_unit_test_setup(test_slowness_counts_for_sinks_alone, answer_ok),
        cmocka_unit_test_setup(test_cancelled_in_the_middle, answer_ok),
        cmocka_unit_test_setup(test_cancelled_in_the_middle_of_parts_is_not_written, answer_ok),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
