// LDFLAGS: -Wl,--wrap=mem_try,--wrap=mem_try_resize
// The HTTP server over real sockets, against the hostile requests of RELIABILITY.md, section 6, items 1-14 and 16-20: each
// item is one table of raw bytes, what must be answered, and whether the connection must end.
#include "net/http_server.h"

#include "support/unit.h"
#include "support/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PARKED_MAX = 64, BIG = 16 << 20 };

// ---- a server on a thread of its own

struct served {
    struct loop *loop;
    struct http_server *server;
    pthread_t thread;
    int port;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t requests; // that reached the handler
    size_t gone;     // streams that ended from outside
    size_t taken;    // times that a stream's client had caught up
    struct http_exchange *parked[PARKED_MAX];
    size_t parked_count;
    char *big;
    int64_t length; // of streams that are asked for as /stream/known
};

static void change(struct served *served, size_t *count)
{
    pthread_mutex_lock(&served->lock);
    ++*count;
    pthread_cond_broadcast(&served->changed);
    pthread_mutex_unlock(&served->lock);
}

static void wait_for_count(struct served *served, const size_t *count, size_t n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WIRE_WAIT_MS / 1000;
    pthread_mutex_lock(&served->lock);
    int err = 0;
    while (*count < n && !err)
        err = pthread_cond_timedwait(&served->changed, &served->lock, &until);
    size_t got = *count;
    pthread_mutex_unlock(&served->lock);
    assert_int_equal(got, n);
}

static size_t count_of(struct served *served, const size_t *count)
{
    pthread_mutex_lock(&served->lock);
    size_t n = *count;
    pthread_mutex_unlock(&served->lock);
    return n;
}

static size_t requests_of(struct served *served)
{
    return count_of(served, &served->requests);
}

static int on_head(void *arg, const struct http_request *request, size_t *max_body)
{
    (void)arg;
    if (str_eq_c(request->path, "/small"))
        *max_body = 10;
    if (str_eq_c(request->path, "/large"))
        *max_body = BIG;
    if (str_eq_c(request->path, "/read-only") && !str_eq_c(request->method, "GET"))
        return 405;
    return str_eq_c(request->path, "/forbidden") ? 403 : 0;
}

static struct str on_allow(void *arg, const struct http_request *request)
{
    (void)arg;
    return str_starts(request->target, STR("/read-only")) ? STR("GET") : STR("GET, POST");
}

static void on_gone(void *arg)
{
    struct served *served = arg;
    change(served, &served->gone);
}

static void on_taken(void *arg)
{
    struct served *served = arg;
    change(served, &served->taken);
}

static void answer_echo(struct http_exchange *exchange)
{
    const struct http_request *request = http_exchange_request(exchange);
    struct str body = arena_printf(http_exchange_arena(exchange), "%.*s %.*s|%.*s", STR_ARG(request->method),
                                   STR_ARG(request->target), STR_ARG(request->body));
    struct http_header more[] = {{STR("X-Path"), request->path}, {STR("X-Query"), request->query}};
    http_exchange_answer(exchange, 200, STR("text/plain"), more, 2, body);
}

static void on_request(void *arg, struct http_exchange *exchange)
{
    struct served *served = arg;
    struct str path = http_exchange_request(exchange)->path;
    change(served, &served->requests);
    if (str_starts(path, STR("/park")) || str_starts(path, STR("/stream"))) {
        served->parked[served->parked_count] = exchange;
        struct http_stream stream = {.gone = on_gone, .taken = on_taken, .arg = served};
        struct http_header more = {STR("X-Path"), path};
        if (str_starts(path, STR("/stream/known")))
            stream.length = served->length;
        if (str_starts(path, STR("/stream")))
            http_exchange_stream(exchange, 200, STR("text/event-stream"), &more, 1, &stream);
        change(served, &served->parked_count);
    } else if (str_starts(path, STR("/release"))) {
        while (served->parked_count > 0)
            answer_echo(served->parked[--served->parked_count]);
        answer_echo(exchange);
    } else if (str_starts(path, STR("/big"))) {
        http_exchange_answer(exchange, 200, STR("text/plain"), NULL, 0, (struct str){served->big, BIG});
    } else if (str_starts(path, STR("/count"))) {
        char count[24];
        snprintf(count, sizeof count, "%zu", requests_of(served));
        http_exchange_answer(exchange, 200, STR("text/plain"), NULL, 0, str_of(count));
    } else if (str_starts(path, STR("/empty"))) {
        http_exchange_answer(exchange, 204, STR_NONE, NULL, 0, STR(""));
    } else {
        answer_echo(exchange);
    }
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static struct http_server_options default_options(void)
{
    struct http_server_options options;
    http_server_options_default(&options);
    return options;
}

static struct served *serve_at(const char *address, int shared_fd, struct http_server_options options)
{
    struct served *served = calloc(1, sizeof *served);
    pthread_mutex_init(&served->lock, NULL);
    pthread_cond_init(&served->changed, NULL);
    served->big = calloc(1, BIG);
    served->loop = loop_new();
    const char *why = NULL;
    struct http_handler handler = {.arg = served, .head = on_head, .request = on_request, .allow = on_allow};
    served->server = http_server_new(served->loop, address, shared_fd, &options, &handler, &why);
    assert_non_null(served->server);
    served->port = http_server_port(served->server);
    assert_int_equal(pthread_create(&served->thread, NULL, run_loop, served->loop), 0);
    return served;
}

static struct served *serve_with(struct http_server_options options)
{
    return serve_at("127.0.0.1:0", -1, options);
}

static struct served *serve(void)
{
    return serve_with(default_options());
}

// Runs a function on the server's thread and waits for it.
struct errand {
    struct loop_task task; // first
    struct served *served;
    void (*run)(struct served *served);
    size_t done;
};

static void run_errand(struct loop_task *task)
{
    struct errand *errand = (struct errand *)task;
    errand->run(errand->served);
    change(errand->served, &errand->done);
}

static void call(struct served *served, void (*run)(struct served *served))
{
    struct errand errand = {.task.run = run_errand, .served = served, .run = run};
    assert_true(loop_post(served->loop, &errand.task));
    wait_for_count(served, &errand.done, 1);
}

static void free_server(struct served *served)
{
    http_server_free(served->server);
}

static void stop_serving(struct served *served)
{
    call(served, free_server);
    loop_stop(served->loop);
    pthread_join(served->thread, NULL);
    loop_free(served->loop);
    pthread_mutex_destroy(&served->lock);
    pthread_cond_destroy(&served->changed);
    free(served->big);
    free(served);
}

// Answers what is parked, the last first.
static void answer_parked(struct served *served)
{
    while (served->parked_count > 0)
        answer_echo(served->parked[--served->parked_count]);
}

// ---- tables

struct row {
    const char *name;
    const char *bytes;
    size_t n;
    int status;
    bool ends; // the connection
};
#define ROW(name, bytes, status, ends)                                                                                 \
    {                                                                                                                  \
        name, "" bytes, sizeof(bytes) - 1, status, ends                                                                \
    }
#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

static void check_refusal(const struct wire_answer *answer, int fd)
{
    assert_non_null(strstr(answer->head, "\r\nContent-Type: application/problem+json\r\n"));
    assert_non_null(strstr(answer->head, "\r\nConnection: close\r\n"));
    char status[32];
    snprintf(status, sizeof status, "\"status\":%d", answer->status);
    assert_non_null(strstr(answer->body, status));
    // One answer, and nothing behind it is taken for a request.
    wire_send_text(fd, GET "\r\n");
    assert_true(wire_is_ended(fd));
}

static void check_goes_on(int fd)
{
    struct wire_answer answer;
    wire_send_text(fd, "GET /after HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "GET /after|");
}

static void check_row(struct served *served, const struct row *row)
{
    struct wire_answer answer;
    size_t before = requests_of(served);
    int fd = wire_connect(served->port);
    wire_send(fd, row->bytes, row->n);
    wire_read_answer(fd, &answer, false);
    if (answer.status != row->status)
        fail_msg("%s: %d instead of %d (%s)", row->name, answer.status, row->status, answer.body);
    if (row->status >= 400)
        check_refusal(&answer, fd);
    else if (row->ends)
        assert_true(wire_is_ended(fd));
    else
        check_goes_on(fd);
    size_t after = requests_of(served);
    if (row->status >= 400 && after != before)
        fail_msg("%s: reached the handler", row->name);
    close(fd);
}

static void check_rows(const struct row *rows, size_t count)
{
    struct served *served = serve();
    for (size_t i = 0; i < count; i++)
        check_row(served, &rows[i]);
    stop_serving(served);
}
#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof *(rows))

static void test_plain_requests_are_answered(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("GET", GET "\r\n", 200, false),
        ROW("GET with a query", "GET /a/b?c=d HTTP/1.1\r\nHost: a:80\r\n\r\n", 200, false),
        ROW("POST", POST "Content-Length: 3\r\n\r\nabc", 200, false),
        ROW("POST without a body", POST "Content-Length: 0\r\n\r\n", 200, false),
        ROW("chunks", CHUNKED "3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n", 200, false),
        ROW("chunk extension and trailers", CHUNKED "3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\nX: 2\r\n\r\n", 200, false),
        ROW("blank lines before", "\r\n\r\n" GET "\r\n", 200, false),
        ROW("high bytes in a value", GET "X: \xc3\xa9\xff\r\n\r\n", 200, false),
        ROW("IPv6 host", "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200, false),
        ROW("asked to close", GET "Connection: close\r\n\r\n", 200, true),
        ROW("HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 200, true),
        ROW("HTTP/1.0 kept", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, false),
        ROW("an offer of another protocol", GET "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n", 200, false),
        ROW("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 200, false),
    };
    CHECK_ROWS(rows);
}

static void test_item_01_length_and_transfer_encoding(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("length first", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true),
        ROW("length last", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, true),
        ROW("length 0", POST "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true),
        ROW("length in the trailers", CHUNKED "0\r\nContent-Length: 5\r\n\r\n", 400, true),
    };
    CHECK_ROWS(rows);
}

static void test_item_02_content_length(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("two, equal", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, true),
        ROW("two, not equal", POST "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, true),
        ROW("plus", POST "Content-Length: +5\r\n\r\nabcde", 400, true),
        ROW("minus", POST "Content-Length: -5\r\n\r\nabcde", 400, true),
        ROW("list", POST "Content-Length: 5,5\r\n\r\nabcde", 400, true),
        ROW("two numbers", POST "Content-Length: 5 5\r\n\r\nabcde", 400, true),
        ROW("hexadecimal", POST "Content-Length: 0x5\r\n\r\nabcde", 400, true),
        ROW("empty", POST "Content-Length:\r\n\r\n", 400, true),
        ROW("words", POST "Content-Length: five\r\n\r\nabcde", 400, true),
        ROW("underscore", POST "Content-Length: 1_0\r\n\r\nabcdeabcde", 400, true),
        ROW("fraction", POST "Content-Length: 5.0\r\n\r\nabcde", 400, true),
        ROW("quoted", POST "Content-Length: \"5\"\r\n\r\nabcde", 400, true),
        ROW("twenty digits of zeros", POST "Content-Length: 00000000000000000005\r\n\r\nabcde", 400, true),
        ROW("2^63", POST "Content-Length: 9223372036854775808\r\n\r\n", 400, true),
        ROW("2^64", POST "Content-Length: 18446744073709551616\r\n\r\n", 400, true),
        ROW("2^64 + 5", POST "Content-Length: 18446744073709551621\r\n\r\nabcde", 400, true),
        ROW("2^63 - 1", POST "Content-Length: 9223372036854775807\r\n\r\n", 413, true),
    };
    CHECK_ROWS(rows);
}

static void test_item_03_transfer_encoding(void **state)
{
    (void)state;
#define TE(value) POST "Transfer-Encoding:" value "\r\n\r\n0\r\n\r\n"
    static const struct row rows[] = {
        ROW("plain", TE(" chunked"), 200, false),
        ROW("no space", TE("chunked"), 200, false),
        ROW("case", TE(" Chunked"), 200, false),
        ROW("twice in one", TE(" chunked, chunked"), 400, true),
        ROW("twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true),
        ROW("gzip before", TE(" gzip, chunked"), 501, true),
        ROW("gzip in a header before", POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400, true),
        ROW("gzip after", TE(" chunked, gzip"), 400, true),
        ROW("identity", TE(" identity"), 501, true),
        ROW("empty", TE(""), 400, true),
        ROW("xchunked", TE(" xchunked"), 501, true),
        ROW("chunkedx", TE(" chunkedx"), 501, true),
        ROW("tab before", TE("\tchunked"), 400, true),
        ROW("space and tab before", TE(" \tchunked"), 400, true),
        ROW("tab and space before", TE("\t chunked"), 400, true),
        ROW("two spaces before", TE("  chunked"), 400, true),
        ROW("tab after", TE(" chunked\t"), 400, true),
        ROW("vertical tab before", TE(" \vchunked"), 400, true),
        ROW("vertical tab after", TE(" chunked\v"), 400, true),
        ROW("quoted", TE(" \"chunked\""), 501, true),
        ROW("parameter", TE(" chunked;a=b"), 501, true),
        ROW("HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true),
    };
#undef TE
    CHECK_ROWS(rows);
}

static void test_item_04_chunks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("overflow", CHUNKED "10000000000000003\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("plus", CHUNKED "+3\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("minus", CHUNKED "-3\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("0x", CHUNKED "0x3\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("underscore", CHUNKED "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", 400, true),
        ROW("space before", CHUNKED " 3\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("space behind", CHUNKED "3 \r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("tab behind", CHUNKED "3\t\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("none", CHUNKED "\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("no line end behind the data", CHUNKED "3\r\nabc0\r\n\r\n", 400, true),
        ROW("LF behind the size", CHUNKED "3\nabc\r\n0\r\n\r\n", 400, true),
        ROW("LF behind the data", CHUNKED "3\r\nabc\n0\r\n\r\n", 400, true),
        ROW("CR without LF behind the data", CHUNKED "3\r\nabc\r0\r\n\r\n", 400, true),
        ROW("LF at the end", CHUNKED "3\r\nabc\r\n0\r\n\n", 400, true),
        ROW("LF in an extension", CHUNKED "3;a\nb\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("control byte in an extension", CHUNKED "3;\x01\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("open quote in an extension", CHUNKED "3;a=\"b\r\nabc\r\n0\r\n\r\n", 400, true),
        ROW("LF in a trailer", CHUNKED "0\r\nX: y\nZ: a\r\n\r\n", 400, true),
        ROW("longer than its size", CHUNKED "3\r\nabcd\r\n0\r\n\r\n", 400, true),
    };
    CHECK_ROWS(rows);
}

// `count` times `unit` between two texts.
static struct row row_of(const char *name, const char *before, const char *unit, size_t count, const char *after,
                         int status)
{
    size_t unit_n = strlen(unit), before_n = strlen(before), after_n = strlen(after), n = before_n;
    char *bytes = malloc(before_n + count * unit_n + after_n + 1);
    memcpy(bytes, before, before_n);
    for (size_t i = 0; i < count; i++, n += unit_n)
        memcpy(bytes + n, unit, unit_n);
    memcpy(bytes + n, after, after_n);
    return (struct row){name, bytes, n + after_n, status, status >= 400};
}

static void check_made_rows(struct row *rows, size_t count)
{
    check_rows(rows, count);
    for (size_t i = 0; i < count; i++)
        free((void *)(uintptr_t)rows[i].bytes);
}
#define CHECK_MADE_ROWS(rows) check_made_rows(rows, sizeof(rows) / sizeof *(rows))

static void test_item_04_chunks_without_end(void **state)
{
    (void)state;
    struct row rows[] = {
        row_of("huge extension", CHUNKED "3;", "abcdefgh", 16 << 10, "", 400),
        row_of("huge extension value", CHUNKED "3;a=", "abcdefgh", 16 << 10, "", 400),
        row_of("leading zeros", CHUNKED, "00000000", 16 << 10, "", 400),
        row_of("trailers without end", CHUNKED "0\r\n", "X: y\r\n", 16 << 10, "", 400),
        row_of("one trailer without end", CHUNKED "0\r\nX: ", "abcdefgh", 16 << 10, "", 400),
        row_of("a trailer of spaces", CHUNKED "0\r\nX:", "        ", 16 << 10, "", 400),
        row_of("an extension to each byte", CHUNKED, "1;abcdefghijklmnopqrstuvwxyz\r\na\r\n", 8 << 10, "0\r\n\r\n",
               400),
        row_of("many small chunks", CHUNKED, "1\r\na\r\n", 8 << 10, "0\r\n\r\n", 200),
    };
    CHECK_MADE_ROWS(rows);
}

static void test_item_05_bare_cr_lf_in_header(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, true),
        ROW("CR behind the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400, true),
        ROW("LF behind a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400, true),
        ROW("LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, true),
        ROW("CR in a value", GET "X: a\rb\r\n\r\n", 400, true),
        ROW("LF in a value", GET "X: a\nb\r\n\r\n", 400, true),
        ROW("CR CR LF", GET "X: a\r\r\n\r\n", 400, true),
        ROW("CR in a name", GET "X\ra: b\r\n\r\n", 400, true),
    };
    CHECK_ROWS(rows);
}

static void test_item_05_header_bytes(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("NUL in a value", GET "X: a\0b\r\n\r\n", 400, true),
        ROW("NUL in a name", GET "X\0a: b\r\n\r\n", 400, true),
        ROW("control byte in a value", GET "X: a\x01\r\n\r\n", 400, true),
        ROW("DEL in a value", GET "X: a\x7f\r\n\r\n", 400, true),
        ROW("folded", GET "X: a\r\n b\r\n\r\n", 400, true),
        ROW("folded with a tab", GET "X: a\r\n\tb\r\n\r\n", 400, true),
        ROW("folded at once", GET "X:\r\n b\r\n\r\n", 400, true),
        ROW("space before the first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, true),
        ROW("space before the colon", GET "X : a\r\n\r\n", 400, true),
        ROW("tab before the colon", GET "X\t: a\r\n\r\n", 400, true),
        ROW("empty name", GET ": a\r\n\r\n", 400, true),
        ROW("no colon", GET "X\r\n\r\n", 400, true),
        ROW("space in a name", GET "X Y: a\r\n\r\n", 400, true),
        ROW("bracket in a name", GET "X(: a\r\n\r\n", 400, true),
        ROW("quote in a name", GET "\"X\": a\r\n\r\n", 400, true),
        ROW("high byte in a name", GET "X\xff: a\r\n\r\n", 400, true),
    };
    CHECK_ROWS(rows);
}

static void test_item_06_request_line(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("absolute form", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("authority form", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("no slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("star", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("two spaces behind the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("tab before the target", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("tab in the target", "GET /\ta HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, true),
        ROW("space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("HTTP/0.9", "GET / HTTP/0.9\r\n\r\n", 505, true),
        ROW("HTTP/0.9, short", "GET /\r\n\r\n", 505, true),
        ROW("HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, true),
        ROW("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, true),
        ROW("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, true),
        ROW("HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, true),
        ROW("HTTP/01.1", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("RTSP", "GET / RTSP/1.0\r\nHost: a\r\n\r\n", 505, true),
        ROW("RTSP 1.1", "POST / RTSP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 505, true),
        ROW("ICE", "GET / ICE/1.0\r\nHost: a\r\n\r\n", 400, true),
        ROW("lower case version", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("lower case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("high byte", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("NUL", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, true),
        ROW("the PROXY protocol", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n" GET "\r\n", 400, true),
        ROW("a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, true),
    };
    CHECK_ROWS(rows);
}

static void test_item_06_long_target(void **state)
{
    (void)state;
    const char *after = " HTTP/1.1\r\nHost: a\r\n\r\n";
    struct row rows[] = {
        row_of("8 KiB", "GET /", "a", 8 * 1024 - 1, after, 200),
        row_of("8 KiB + 1", "GET /", "a", 8 * 1024, after, 414),
        row_of("64 KiB", "GET /", "a", 64 * 1024, after, 414),
        row_of("1 MiB of spaces behind the method", "GET", " ", 1 << 20, "/", 431),
        row_of("1 MiB of blank lines", "", "\r\n", 1 << 19, GET "\r\n", 431),
    };
    CHECK_MADE_ROWS(rows);
}

static void test_item_07_host(void **state)
{
    (void)state;
#define HOST(value) "GET / HTTP/1.1\r\nHost: " value "\r\n\r\n"
    static const struct row rows[] = {
        ROW("none", "GET / HTTP/1.1\r\n\r\n", 400, true),
        ROW("two", GET "Host: a\r\n\r\n", 400, true),
        ROW("two, other case", GET "hOST: b\r\n\r\n", 400, true),
        ROW("empty", HOST(""), 400, true),
        ROW("user", HOST("user@a"), 400, true),
        ROW("user and password", HOST("user:secret@a"), 400, true),
        ROW("port of letters", HOST("a:http"), 400, true),
        ROW("port too large", HOST("a:65536"), 400, true),
        ROW("port of six digits", HOST("a:000080"), 400, true),
        ROW("negative port", HOST("a:-1"), 400, true),
        ROW("two ports", HOST("a:80:80"), 400, true),
        ROW("only a port", HOST(":80"), 400, true),
        ROW("path", HOST("a/b"), 400, true),
        ROW("query", HOST("a?b"), 400, true),
        ROW("list", HOST("a b"), 400, true),
        ROW("open bracket", HOST("[::1"), 400, true),
        ROW("empty brackets", HOST("[]"), 400, true),
        ROW("name in brackets", HOST("[host]"), 400, true),
        ROW("junk behind brackets", HOST("[::1]a"), 400, true),
        ROW("high byte", HOST("\xc3\xa9"), 400, true),
        ROW("plain", HOST("relay.example"), 200, false),
        ROW("port", HOST("relay.example:8443"), 200, false),
        ROW("empty port", HOST("relay.example:"), 200, false),
    };
#undef HOST
    CHECK_ROWS(rows);
}

static void test_item_08_large_heads(void **state)
{
    (void)state;
    struct row rows[] = {
        row_of("100 headers", GET, "X: y\r\n", 99, "\r\n", 200),
        row_of("101 headers", GET, "X: y\r\n", 100, "\r\n", 431),
        row_of("one header of 16 KiB", GET "X: ", "y", 16 * 1024, "\r\n\r\n", 200),
        row_of("one header of 64 KiB", GET "X: ", "y", 64 * 1024, "\r\n\r\n", 431),
        row_of("one name of 64 KiB", GET, "y", 64 * 1024, ": y\r\n\r\n", 431),
        row_of("64 KiB of spaces", GET "X:", " ", 64 * 1024, "y\r\n\r\n", 431),
        row_of("1 MiB of headers", GET "X: ", "yyyyyyyy", 128 * 1024, "\r\n\r\n", 431),
    };
    CHECK_MADE_ROWS(rows);
}

static void test_item_08_head_limit_is_exact(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.max_head = strlen(GET "\r\n");
    struct served *served = serve_with(options);
    const struct row fits = ROW("fits", GET "\r\n", 200, true), over = ROW("over", GET "X: \r\n\r\n", 431, true);
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send(fd, fits.bytes, fits.n);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    close(fd);
    check_row(served, &over);
    stop_serving(served);
}

static void test_item_09_body_limit(void **state)
{
    (void)state;
#define SMALL "POST /small HTTP/1.1\r\nHost: a\r\n"
    static const struct row rows[] = {
        ROW("declared, at the limit", SMALL "Content-Length: 10\r\n\r\n0123456789", 200, false),
        ROW("declared, one over, not sent", SMALL "Content-Length: 11\r\n\r\n", 413, true),
        ROW("declared, far over, not sent", SMALL "Content-Length: 10000000000\r\n\r\n", 413, true),
        ROW("chunked, at the limit", SMALL "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", 200,
            false),
        ROW("chunked, one over", SMALL "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\na", 413, true),
        ROW("chunked, one over, not sent", SMALL "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n1\r\n", 413,
            true),
        ROW("chunked, far over, not sent", SMALL "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413, true),
        ROW("chunked, over in one", SMALL "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a", 413, true),
    };
#undef SMALL
    CHECK_ROWS(rows);
}

static void test_item_09_whole_body_comes_through(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    char *body = malloc(40000);
    memset(body, 'b', 40000);
    char head[128];
    snprintf(head, sizeof head, POST "Content-Length: %d\r\n\r\n", 40000);
    struct wire_answer answer;
    wire_send_text(fd, head);
    wire_send(fd, body, 40000);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.body_n, 40000 + strlen("POST /|"));
    assert_memory_equal(answer.body + strlen("POST /|"), body, 40000);
    free(body);
    close(fd);
    stop_serving(served);
}

static void test_item_10_body_cut_short_is_not_accepted(void **state)
{
    (void)state;
    struct served *served = serve();
    static const char *const cut[] = {
        "GET / HT",
        GET,
        POST "Content-Length: 10\r\n\r\nabc",
        CHUNKED "5\r\nabc",
        CHUNKED "3\r\nabc\r\n",
        CHUNKED "3\r\nabc\r\n0\r\n",
    };
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        int fd = wire_connect(served->port);
        wire_send_text(fd, cut[i]);
        shutdown(fd, SHUT_WR);
        assert_true(wire_is_ended(fd));
        close(fd);
    }
    assert_int_equal(requests_of(served), 0);
    stop_serving(served);
}

static void test_item_10_longer_body_is_no_request(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send_text(fd, POST "Content-Length: 3\r\n\r\nabcdef");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "POST /|abc");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 400);
    assert_true(wire_is_ended(fd));
    assert_int_equal(requests_of(served), 1);
    close(fd);
    stop_serving(served);
}

static void test_item_11_expect(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("unknown", POST "Expect: 200-ok\r\nContent-Length: 3\r\n\r\nabc", 417, true),
        ROW("list", POST "Expect: 100-continue, x\r\nContent-Length: 3\r\n\r\nabc", 417, true),
        ROW("two", POST "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 417, true),
        ROW("head refused", "POST /forbidden HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            403, true),
        ROW("too large", POST "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n", 413, true),
        ROW("no body", GET "Expect: 100-continue\r\n\r\n", 200, false),
        ROW("body sent at once", POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 200, false),
    };
    CHECK_ROWS(rows);
}

static void test_item_11_continue_is_sent_once_the_head_is_accepted(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 100);
    assert_int_equal(requests_of(served), 0);
    wire_send_text(fd, "ab");
    wire_send_text(fd, "c");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "POST /|abc");
    close(fd);
    stop_serving(served);
}

static void test_item_11_body_that_never_comes(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.body_ms = 50;
    options.min_body_rate = 0;
    struct served *served = serve_with(options);
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send_text(fd, POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 100);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 408);
    assert_true(wire_is_ended(fd));
    assert_int_equal(requests_of(served), 0);
    close(fd);
    stop_serving(served);
}

static void send_numbered(int fd, const char *path, int count)
{
    char request[128];
    for (int i = 0; i < count; i++) {
        snprintf(request, sizeof request, "GET %s%d HTTP/1.1\r\nHost: a\r\n\r\n", path, i);
        wire_send_text(fd, request);
    }
}

static void check_numbered(int fd, const char *path, int from, int to)
{
    struct wire_answer answer;
    char expected[128];
    for (int i = from; i < to; i++) {
        wire_read_answer(fd, &answer, false);
        snprintf(expected, sizeof expected, "GET %s%d|", path, i);
        assert_string_equal(answer.body, expected);
    }
}

static void test_item_12_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    send_numbered(fd, "/", 1000);
    check_numbered(fd, "/", 0, 1000);
    assert_int_equal(requests_of(served), 1000);
    close(fd);
    stop_serving(served);
}

static void test_item_12_pipelined_requests_wait_for_a_parked_one(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /park0 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    send_numbered(fd, "/", 1000);
    shutdown(fd, SHUT_WR);
    assert_int_equal(requests_of(served), 1);
    call(served, answer_parked);
    check_numbered(fd, "/park", 0, 1);
    check_numbered(fd, "/", 0, 1000);
    assert_true(wire_is_ended(fd));
    close(fd);
    stop_serving(served);
}

static void test_item_12_every_pipelined_request_parks(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    send_numbered(fd, "/park", 20);
    for (int i = 0; i < 20; i++) {
        wait_for_count(served, &served->parked_count, 1);
        call(served, answer_parked);
        check_numbered(fd, "/park", i, i + 1);
    }
    close(fd);
    stop_serving(served);
}

// More than the server keeps: it must stop reading and later read on.
static void test_item_12_pipelined_megabytes_wait_in_the_kernel(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    char *filler = malloc(30001);
    memset(filler, 'x', 30000);
    filler[30000] = 0;
    wire_send_text(fd, "GET /park0 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    for (int i = 0; i < 10; i++) {
        char head[64];
        snprintf(head, sizeof head, "GET /%d HTTP/1.1\r\nHost: a\r\nX: ", i);
        wire_send_text(fd, head);
        wire_send_text(fd, filler);
        wire_send_text(fd, "\r\n\r\n");
    }
    call(served, answer_parked);
    check_numbered(fd, "/park", 0, 1);
    check_numbered(fd, "/", 0, 10);
    free(filler);
    close(fd);
    stop_serving(served);
}

static void check_turned_away(struct served *served)
{
    struct wire_answer answer;
    int over = wire_connect(served->port);
    wire_read_answer(over, &answer, false);
    assert_int_equal(answer.status, 503);
    close(over);
}

// Nobody waits for anything: who was quiet for longest makes room. Who is being worked for does not.
static void test_item_12_connection_cap(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.max_connections = 3;
    struct served *served = serve_with(options);
    int parked = wire_connect(served->port), fds[4];
    struct wire_answer answer;
    wire_send_text(parked, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    for (int i = 0; i < 4; i++) {
        fds[i] = wire_connect(served->port);
        check_goes_on(fds[i]);
        if (i == 1)
            check_goes_on(fds[0]); // the other one is the quieter now
    }
    assert_true(wire_is_ended_cleanly(fds[1]));
    assert_true(wire_is_ended_cleanly(fds[0]));
    check_goes_on(fds[2]);
    check_goes_on(fds[3]);
    wire_send_text(fds[2], "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_send_text(fds[3], "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 3);
    check_turned_away(served);
    call(served, answer_parked);
    wire_read_answer(parked, &answer, false);
    assert_int_equal(answer.status, 200);
    close(parked);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    stop_serving(served);
}

// Whatever newcomers do before their first request is whole, those who were answered stay, and the latest comer is served.
static void test_item_12_slow_newcomers_make_room(void **state)
{
    (void)state;
    static const char *const slow[] = {"", "GET / HT", POST "Content-Length: 9\r\n\r\n1", "\r\n"};
    struct http_server_options options = default_options();
    options.max_connections = 8;
    struct served *served = serve_with(options);
    int regulars[4], newcomers[16];
    for (int i = 0; i < 4; i++) {
        regulars[i] = wire_connect(served->port);
        check_goes_on(regulars[i]);
    }
    for (int i = 0; i < 16; i++) {
        newcomers[i] = wire_connect(served->port);
        wire_send_text(newcomers[i], slow[i % 4]);
    }
    for (int i = 0; i < 12; i++)
        assert_true(wire_is_ended(newcomers[i]));
    int late = wire_connect(served->port);
    check_goes_on(late);
    for (int i = 0; i < 4; i++)
        check_goes_on(regulars[i]);
    for (int i = 0; i < 16; i++)
        close(newcomers[i]);
    for (int i = 0; i < 4; i++)
        close(regulars[i]);
    close(late);
    stop_serving(served);
}

// The same the other way round: who was answered once does not keep others out by staying.
static void test_item_12_quiet_regulars_make_room(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.max_connections = 4;
    struct served *served = serve_with(options);
    int regulars[4], newcomers[2];
    for (int i = 0; i < 4; i++) {
        regulars[i] = wire_connect(served->port);
        check_goes_on(regulars[i]);
    }
    for (int i = 0; i < 2; i++) {
        newcomers[i] = wire_connect(served->port);
        assert_true(wire_is_ended_cleanly(regulars[i]));
    }
    for (int i = 0; i < 2; i++) {
        check_goes_on(newcomers[i]);
        close(newcomers[i]);
        check_goes_on(regulars[2 + i]);
    }
    for (int i = 0; i < 4; i++)
        close(regulars[i]);
    stop_serving(served);
}

static int held[2];

static void hold(struct served *served)
{
    char byte;
    (void)served;
    assert_int_equal(read(held[0], &byte, 1), 1);
}

// How many requests are handled before that of another connection, when both have sent all they have.
static long requests_before_another(struct served *served, int fd, int other, const char *bytes, size_t n)
{
    struct wire_answer answer;
    struct errand errand = {.task.run = run_errand, .served = served, .run = hold};
    check_goes_on(fd);
    check_goes_on(other);
    size_t before = requests_of(served);
    assert_int_equal(pipe(held), 0);
    assert_true(loop_post(served->loop, &errand.task));
    wire_send(fd, bytes, n);
    wire_send_text(other, "GET /count HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(write(held[1], "x", 1), 1);
    wait_for_count(served, &errand.done, 1);
    wire_read_answer(other, &answer, false);
    close(held[0]);
    close(held[1]);
    return strtol(answer.body, NULL, 10) - (long)before - 1;
}

static void test_item_12_many_requests_let_others_go_between(void **state)
{
    (void)state;
    enum { REQUESTS = 2000 };
    struct served *served = serve();
    int fd = wire_connect(served->port), other = wire_connect(served->port);
    struct wire_answer answer;
    char bytes[REQUESTS * sizeof(GET "\r\n")];
    size_t n = 0;
    for (int i = 0; i < REQUESTS; i++)
        n += (size_t)snprintf(bytes + n, sizeof bytes - n, GET "\r\n");
    assert_true(requests_before_another(served, fd, other, bytes, n) < 100);
    for (int i = 0; i < REQUESTS; i++) {
        wire_read_answer(fd, &answer, false);
        assert_string_equal(answer.body, "GET /|");
    }
    close(fd);
    close(other);
    stop_serving(served);
}

// Over a Unix socket, where the kernel holds more than is read at once.
static void test_item_12_long_bodies_let_others_go_between(void **state)
{
    (void)state;
    enum { BODY = 140 * 1000 };
    char address[200], *bytes = calloc(1, BODY + 100);
    const char *directory = getenv("TMPDIR");
    snprintf(address, sizeof address, "unix:%s/net-turns-%d", directory ? directory : "/tmp", (int)getpid());
    struct served *served = serve_at(address, -1, default_options());
    int fd = wire_connect_unix(address + strlen("unix:")), other = wire_connect_unix(address + strlen("unix:"));
    struct wire_answer answer;
    size_t n = (size_t)snprintf(bytes, BODY + 100, POST "Content-Length: %d\r\n\r\n", BODY) + BODY;
    assert_int_equal(requests_before_another(served, fd, other, bytes, n), 0);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    close(fd);
    close(other);
    free(bytes);
    stop_serving(served);
}

// Bodies that end one byte short: the server keeps so many bytes of them, and who holds most of these goes.
static void test_item_12_bytes_of_unfinished_requests_are_bounded(void **state)
{
    (void)state;
    enum { SMALL = 10, LARGE = 100 * 1000 };
    struct http_server_options options = default_options();
    options.max_reading = 4 * LARGE;
    struct served *served = serve_with(options);
    char *body = calloc(1, LARGE), head[128];
    int small = wire_connect(served->port), large[8];
    wire_send_text(small, POST "Content-Length: 10\r\n\r\n");
    wire_send(small, body, SMALL - 1);
    for (int i = 0; i < 8; i++) {
        large[i] = wire_connect(served->port);
        snprintf(head, sizeof head, POST "Content-Length: %d\r\n\r\n", LARGE + i); // a later one is a little larger
        wire_send_text(large[i], head);
        wire_send(large[i], body, (size_t)(LARGE + i - 1 < LARGE ? LARGE - 1 : LARGE));
    }
    struct pollfd ended[8];
    int count = 0;
    for (int i = 0; i < 8; i++)
        ended[i] = (struct pollfd){.fd = large[i], .events = POLLIN};
    while (count < 5) { // three of them fit, with the small one
        count = 0;
        assert_true(poll(ended, 8, WIRE_WAIT_MS) > 0);
        for (int i = 0; i < 8; i++)
            count += ended[i].revents != 0;
    }
    struct wire_answer answer;
    wire_send(small, "x", 1);
    wire_read_answer(small, &answer, false);
    assert_int_equal(answer.status, 200);
    for (int i = 0; i < 8; i++)
        close(large[i]);
    close(small);
    free(body);
    stop_serving(served);
}

// Others' answers come in the round in which they were told to wait for their turn: each is served on, and once.
static void test_answers_come_while_it_is_others_turn(void **state)
{
    (void)state;
    enum { CLIENTS = 3, MOST = 70 * 1000 };
    char address[200], *bytes = calloc(1, MOST + 100);
    const char *directory = getenv("TMPDIR");
    snprintf(address, sizeof address, "unix:%s/net-answers-%d", directory ? directory : "/tmp", (int)getpid());
    struct served *served = serve_at(address, -1, default_options());
    struct errand errand = {.task.run = run_errand, .served = served, .run = hold};
    struct wire_answer answer;
    int fds[CLIENTS], other = wire_connect_unix(address + strlen("unix:"));
    size_t n = 0;
    while (n < MOST)
        n += (size_t)snprintf(bytes + n, 100, GET "\r\n");
    check_goes_on(other);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = wire_connect_unix(address + strlen("unix:"));
        wire_send_text(fds[i], "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_for_count(served, &served->parked_count, (size_t)i + 1);
    }
    assert_int_equal(pipe(held), 0);
    assert_true(loop_post(served->loop, &errand.task));
    for (int i = 0; i < CLIENTS; i++)
        wire_send(fds[i], bytes, n);
    wire_send_text(other, "GET /release HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(write(held[1], "x", 1), 1);
    wait_for_count(served, &errand.done, 1);
    wire_read_answer(other, &answer, false);
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < 100; k++) {
            wire_read_answer(fds[i], &answer, false);
            assert_int_equal(answer.status, 200);
        }
        close(fds[i]);
    }
    check_goes_on(other);
    close(other);
    close(held[0]);
    close(held[1]);
    free(bytes);
    stop_serving(served);
}

// What waits behind a request that the handler has is no reason for others to go.
static void test_bytes_behind_a_request_under_way_drive_nobody_out(void **state)
{
    (void)state;
    enum { PARKED = 4, BEHIND = 60 * 1000 };
    struct http_server_options options = default_options();
    options.max_reading = 3 * BEHIND;
    struct served *served = serve_with(options);
    struct wire_answer answer;
    int fds[PARKED], slow = wire_connect(served->port);
    char *bytes = memset(malloc(BEHIND), 'G', BEHIND);
    wire_send_text(slow, "GET / HTTP/1.1\r\nHost:");
    for (int i = 0; i < PARKED; i++) {
        fds[i] = wire_connect(served->port);
        wire_send_text(fds[i], "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_for_count(served, &served->parked_count, (size_t)i + 1);
        wire_send(fds[i], bytes, BEHIND);
    }
    int late = wire_connect(served->port);
    wire_send_text(late, POST "Content-Length: 10\r\n\r\n12345");
    int last = wire_connect(served->port);
    check_goes_on(last); // all before was read
    close(last);
    wire_send_text(late, "67890");
    wire_read_answer(late, &answer, false);
    assert_int_equal(answer.status, 200);
    wire_send_text(slow, " a\r\n\r\n");
    wire_read_answer(slow, &answer, false);
    assert_int_equal(answer.status, 200);
    call(served, answer_parked);
    for (int i = 0; i < PARKED; i++)
        close(fds[i]);
    close(late);
    close(slow);
    free(bytes);
    stop_serving(served);
}

static void test_item_13_slow_head(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.head_ms = 50;
    struct served *served = serve_with(options);
    struct wire_answer answer;
    int fd = wire_connect(served->port), other = wire_connect(served->port);
    wire_send_text(fd, "GET / HT");
    check_goes_on(other);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 408);
    check_refusal(&answer, fd);
    check_goes_on(other);
    close(fd);
    close(other);
    stop_serving(served);
}

static void test_item_13_slow_body(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.body_grace_ms = 20;
    options.min_body_rate = 1000 * 1000;
    struct served *served = serve_with(options);
    struct wire_answer answer;
    int fd = wire_connect(served->port), other = wire_connect(served->port);
    wire_send_text(fd, POST "Content-Length: 100000\r\n\r\nabc");
    check_goes_on(other);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 408);
    check_refusal(&answer, fd);
    check_goes_on(other);
    close(fd);
    close(other);
    stop_serving(served);
}

static void test_item_13_reader_that_does_not_read(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.write_ms = 50;
    struct served *served = serve_with(options);
    int fd = wire_connect(served->port), other = wire_connect(served->port);
    wire_send_text(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    check_goes_on(other);
    struct pollfd wait = {.fd = fd}; // only what is always told: that it was reset
    assert_int_equal(poll(&wait, 1, WIRE_WAIT_MS), 1);
    assert_true(wait.revents & (POLLHUP | POLLERR));
    check_goes_on(other);
    close(fd);
    close(other);
    stop_serving(served);
}

static void test_item_13_reader_that_reads_gets_it_all(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char *all = malloc(BIG + 4096);
    size_t n = wire_read(fd, all, BIG + 4096);
    assert_true(n > BIG && n < BIG + 1024);
    free(all);
    close(fd);
    stop_serving(served);
}

static void test_item_13_idle_connections_are_closed(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.idle_ms = 50;
    struct served *served = serve_with(options);
    int fresh = wire_connect(served->port), used = wire_connect(served->port);
    check_goes_on(used);
    assert_true(wire_is_ended(fresh));
    assert_true(wire_is_ended(used));
    close(fresh);
    close(used);
    stop_serving(served);
}

static void test_item_13_parked_request_is_not_hurried(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.idle_ms = options.head_ms = options.body_ms = options.write_ms = 20;
    struct served *served = serve_with(options);
    struct wire_answer answer;
    int parked = wire_connect(served->port), idle = wire_connect(served->port);
    wire_send_text(parked, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    assert_true(wire_is_ended(idle)); // so that much time has passed
    call(served, answer_parked);
    wire_read_answer(parked, &answer, false);
    assert_int_equal(answer.status, 200);
    close(parked);
    close(idle);
    stop_serving(served);
}

static void test_item_14_compressed_body(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("gzip", POST "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", 415, true),
        ROW("nested", POST "Content-Encoding: gzip, gzip\r\nContent-Length: 3\r\n\r\nabc", 415, true),
        ROW("two headers", POST "Content-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc",
            415, true),
        ROW("identity", POST "Content-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", 200, false),
    };
    CHECK_ROWS(rows);
}

static void test_item_18_methods(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, true),
        ROW("CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405, true),
        ROW("PROPFIND", "PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", 405, true),
        ROW("DESCRIBE of RTSP", "DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n", 405, true),
        ROW("refused by the handler", "PUT /read-only HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", 405, true),
        ROW("overridden", "POST / HTTP/1.1\r\nHost: a\r\nX-HTTP-Method-Override: TRACE\r\n\r\n", 200, false),
    };
    CHECK_ROWS(rows);
}

static void test_item_18_a_refused_method_is_told_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *request, *allow;
    } rows[] = {
        {"PUT /read-only HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "\r\nAllow: GET\r\n"},
        {"TRACE /read-only?x HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nAllow: GET\r\n"},
        {"TRACE /x HTTP/1.1\r\nHost: a\r\nX-Secret: s\r\n\r\n", "\r\nAllow: GET, POST\r\n"},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "\r\nAllow: GET, POST\r\n"},
    };
    struct served *served = serve();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wire_answer answer;
        int fd = wire_connect(served->port);
        wire_send_text(fd, rows[i].request);
        wire_read_answer(fd, &answer, false);
        assert_int_equal(answer.status, 405);
        assert_non_null(strstr(answer.head, rows[i].allow));
        assert_null(strstr(answer.body, "X-Secret")); // TRACE would give back what was sent
        close(fd);
    }
    stop_serving(served);
}

static void test_item_19_client_leaves_before_the_answer(void **state)
{
    (void)state;
    struct served *served = serve();
    int left = wire_connect(served->port), reset = wire_connect(served->port), other = wire_connect(served->port);
    wire_send_text(left, "GET /park0 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    wire_send_text(reset, "GET /park1 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 2);
    close(left);
    wire_reset(reset);
    check_goes_on(other); // the loop has come round
    call(served, answer_parked);
    check_goes_on(other);
    close(other);
    stop_serving(served);
}

static void test_item_19_half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(fd, SHUT_WR);
    wait_for_count(served, &served->parked_count, 1);
    call(served, answer_parked);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_true(wire_is_ended(fd));
    close(fd);
    stop_serving(served);
}

static void test_request_cut_anywhere_is_the_same_request(void **state)
{
    (void)state;
    struct served *served = serve();
    static const char request[] = "POST /a?b HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\nX: y z\r\n\r\n"
                                  "3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nT: r\r\n\r\n";
    struct wire_answer answer;
    int fd = wire_connect(served->port), one = 1;
    setsockopt(fd, 6, 1, &one, sizeof one); // TCP_NODELAY
    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        wire_send(fd, request, cut);
        wire_send(fd, request + cut, sizeof request - 1 - cut);
        wire_read_answer(fd, &answer, false);
        assert_string_equal(answer.body, "POST /a?b|abcde");
        assert_non_null(strstr(answer.head, "\r\nX-Path: /a\r\nX-Query: b\r\n"));
    }
    close(fd);
    stop_serving(served);
}

static void test_refusal_is_read_by_a_client_that_still_sends(void **state)
{
    (void)state;
    enum { HEAD = 64, SENT = 200 * 1000 }; // more than the server reads at once
    struct served *served = serve();
    struct wire_answer answer;
    char *request = calloc(1, SENT);
    snprintf(request, HEAD, POST "Content-Length: 99999999\r\n\r\n");
    int fd = wire_connect(served->port);
    wire_send(fd, request, SENT);
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 413);
    assert_true(wire_is_ended_cleanly(fd)); // a reset may overtake the answer
    for (int i = 0; i < 10; i++)
        wire_send(fd, request, SENT); // thrown away
    free(request);
    close(fd);
    stop_serving(served);
}

static void test_head_has_no_body_and_204_no_length(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send_text(fd, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_read_answer(fd, &answer, true);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nContent-Length: 8\r\n"));
    check_goes_on(fd);
    wire_send_text(fd, "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    wire_read_answer(fd, &answer, false);
    assert_int_equal(answer.status, 204);
    assert_null(strstr(answer.head, "Content-Length"));
    check_goes_on(fd);
    close(fd);
    stop_serving(served);
}

static void answer_with_broken_header(struct served *served)
{
    struct http_header header = {STR("X"), STR("a\r\nY: b")};
    http_exchange_answer(served->parked[--served->parked_count], 200, STR_NONE, &header, 1, STR("ok"));
}

static void test_header_values_cannot_break_lines(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, answer_with_broken_header);
    wire_read_answer(fd, &answer, false);
    assert_non_null(strstr(answer.head, "\r\nX: a  Y: b\r\n"));
    close(fd);
    stop_serving(served);
}

static void cut_parked(struct served *served)
{
    http_exchange_cut(served->parked[--served->parked_count], STR("HTTP/1.1 200 OK\r\nContent-Le"), false);
}

static void reset_parked(struct served *served)
{
    http_exchange_cut(served->parked[--served->parked_count], STR("not sent"), true);
}

static void test_exchange_can_be_cut_for_stand_ins(void **state)
{
    (void)state;
    struct served *served = serve();
    char got[64] = {0};
    int cut = wire_connect(served->port), reset = wire_connect(served->port);
    wire_send_text(cut, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, cut_parked);
    wire_read(cut, got, sizeof got - 1);
    assert_string_equal(got, "HTTP/1.1 200 OK\r\nContent-Le");
    wire_send_text(reset, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, reset_parked);
    assert_true(wire_is_ended(reset));
    close(cut);
    close(reset);
    stop_serving(served);
}

// ---- streams

static void stream_two_and_end(struct served *served)
{
    struct http_exchange *exchange = served->parked[--served->parked_count];
    assert_true(http_exchange_write(exchange, STR("one,")));
    assert_true(http_exchange_write(exchange, STR("")));
    assert_true(http_exchange_write(exchange, STR("two")));
    http_exchange_end(exchange);
}

static void end_stream(struct served *served)
{
    struct http_exchange *exchange = served->parked[--served->parked_count];
    assert_false(http_exchange_write(exchange, STR("late")));
    http_exchange_end(exchange);
}

static void test_stream_comes_in_chunks_and_ends(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    static const char *const requests[] = {
        "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /stream HTTP/1.0\r\n\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        int fd = wire_connect(served->port);
        wire_send_text(fd, requests[i]);
        wait_for_count(served, &served->parked_count, 1);
        call(served, stream_two_and_end);
        wire_read_answer(fd, &answer, false);
        assert_string_equal(answer.body, "one,two");
        assert_non_null(strstr(answer.head, "\r\nX-Path: /stream\r\n"));
        assert_true(wire_is_ended(fd));
        close(fd);
    }
    assert_int_equal(served->gone, 0);
    stop_serving(served);
}

static void test_stream_is_told_that_its_client_left(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    close(fd);
    wait_for_count(served, &served->gone, 1);
    call(served, end_stream);
    stop_serving(served);
}

static void write_until_it_waits(struct served *served)
{
    struct http_exchange *exchange = served->parked[0];
    while (!http_exchange_unsent(exchange))
        assert_true(http_exchange_write(exchange, (struct str){served->big, 50 * 1000}));
}

static void end_stream_well(struct served *served)
{
    struct http_exchange *exchange = served->parked[--served->parked_count];
    assert_int_equal(http_exchange_unsent(exchange), 0);
    http_exchange_end(exchange);
}

static void test_stream_tells_when_its_client_has_caught_up(void **state)
{
    (void)state;
    struct served *served = serve();
    char bytes[65536];
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, write_until_it_waits);
    assert_int_equal(count_of(served, &served->taken), 0);
    while (!count_of(served, &served->taken)) { // all may have come before the server has counted it
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        assert_true(n > 0 || (n < 0 && errno == EAGAIN));
    }
    call(served, end_stream_well);
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {
    }
    assert_int_equal(served->gone, 0);
    close(fd);
    stop_serving(served);
}

static void flood_stream(struct served *served)
{
    while (http_exchange_write(served->parked[0], (struct str){served->big, 100 * 1000})) {
    }
}

static void test_stream_that_is_not_read_is_ended(void **state)
{
    (void)state;
    struct served *served = serve();
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, flood_stream);
    wait_for_count(served, &served->gone, 1);
    call(served, end_stream);
    close(fd);
    stop_serving(served);
}

// ---- bodies of a known length that come bit by bit

static void send_seven_and_end(struct served *served)
{
    struct http_exchange *exchange = served->parked[--served->parked_count];
    assert_true(http_exchange_write(exchange, STR("one,")));
    assert_true(http_exchange_write(exchange, STR("two")));
    http_exchange_end(exchange);
}

static void test_a_body_of_a_known_length_leaves_the_connection_open(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    static const struct {
        const char *request;
        bool is_head, kept;
    } each[] = {
        {"GET /stream/known HTTP/1.1\r\nHost: a\r\n\r\n", false, true},
        {"HEAD /stream/known HTTP/1.1\r\nHost: a\r\n\r\n", true, true},
        {"GET /stream/known HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, true},
        {"GET /stream/known HTTP/1.0\r\n\r\n", false, false},
        {"GET /stream/known HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, false},
    };
    served->length = 7;
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        int fd = wire_connect(served->port);
        wire_send_text(fd, each[i].request);
        wait_for_count(served, &served->parked_count, 1);
        call(served, send_seven_and_end);
        wire_read_answer(fd, &answer, each[i].is_head);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body, each[i].is_head ? "" : "one,two");
        assert_non_null(strstr(answer.head, "\r\nContent-Length: 7\r\n"));
        assert_null(strstr(answer.head, "chunked"));
        if (each[i].kept)
            check_goes_on(fd);
        else
            assert_true(wire_is_ended(fd));
        close(fd);
    }
    assert_int_equal(served->gone, 0);
    stop_serving(served);
}

// What stands behind the request waits for its end, and its client may shut its side before.
static void test_a_request_behind_a_body_of_a_known_length_is_answered(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    served->length = 7;
    for (int shuts = 0; shuts < 2; shuts++) {
        int fd = wire_connect(served->port);
        wire_send_text(fd, "GET /stream/known HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_for_count(served, &served->parked_count, 1);
        wire_send_text(fd, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        if (shuts)
            shutdown(fd, SHUT_WR);
        int other = wire_connect(served->port); // by its answer the server has seen what was sent before
        check_goes_on(other);
        close(other);
        call(served, send_seven_and_end);
        wire_read_answer(fd, &answer, false);
        assert_string_equal(answer.body, "one,two");
        wire_read_answer(fd, &answer, false);
        assert_string_equal(answer.body, "GET /next|");
        if (shuts)
            assert_true(wire_is_ended(fd));
        close(fd);
    }
    assert_int_equal(served->gone, 0);
    stop_serving(served);
}

static void send_four_and_end(struct served *served)
{
    struct http_exchange *exchange = served->parked[--served->parked_count];
    assert_true(http_exchange_write(exchange, STR("one,")));
    http_exchange_end(exchange);
}

static void test_a_body_that_ends_too_early_is_cut(void **state)
{
    (void)state;
    struct served *served = serve();
    char bytes[1000];
    served->length = 7;
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /stream/known HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, send_four_and_end);
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
    }
    assert_true(n < 0 && errno == ECONNRESET);
    close(fd);
    stop_serving(served);
}

static void test_a_body_of_a_known_length_is_told_that_its_client_left(void **state)
{
    (void)state;
    struct served *served = serve();
    served->length = BIG;
    int fd = wire_connect(served->port);
    wire_send_text(fd, "GET /stream/known HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    call(served, write_until_it_waits);
    wire_reset(fd);
    wait_for_count(served, &served->gone, 1);
    call(served, end_stream);
    stop_serving(served);
}

// ---- the server's life

static void drain(struct served *served)
{
    http_server_drain(served->server);
}

static void test_drain_ends_idle_ones_and_streams_and_lets_requests_finish(void **state)
{
    (void)state;
    struct served *served = serve();
    struct wire_answer answer;
    int idle = wire_connect(served->port), parked = wire_connect(served->port), half = wire_connect(served->port),
        stream = wire_connect(served->port);
    check_goes_on(idle);
    wire_send_text(stream, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 1);
    wire_send_text(parked, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_count(served, &served->parked_count, 2);
    wire_send_text(half, POST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    wire_read_answer(half, &answer, false);
    call(served, drain);
    assert_true(wire_is_ended(idle));
    wait_for_count(served, &served->gone, 1);
    wire_send_text(half, "abc");
    wire_read_answer(half, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    assert_true(wire_is_ended(half));
    struct http_exchange *streamed = served->parked[0];
    served->parked[0] = served->parked[1];
    served->parked_count = 1;
    call(served, answer_parked);
    wire_read_answer(parked, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_true(wire_is_ended(parked));
    served->parked[served->parked_count++] = streamed;
    call(served, end_stream);
    assert_int_equal(http_server_open_exchanges(served->server), 0);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)served->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_not_equal(connect(late, (struct sockaddr *)&address, sizeof address), 0);
    int fds[] = {idle, parked, half, stream, late};
    for (size_t i = 0; i < 5; i++)
        close(fds[i]);
    stop_serving(served);
}

static void test_two_loops_share_one_address(void **state)
{
    (void)state;
    struct served *first = serve();
    struct served *second = serve_at("127.0.0.1:0", http_server_fd(first->server), default_options());
    assert_int_equal(second->port, first->port);
    int fds[16];
    for (size_t i = 0; i < 16; i++) {
        fds[i] = wire_connect(first->port);
        check_goes_on(fds[i]);
    }
    assert_int_equal(requests_of(first) + requests_of(second), 16);
    call(first, drain);
    // The other goes on, also for new connections.
    int late = wire_connect(second->port);
    check_goes_on(late);
    close(late);
    for (size_t i = 0; i < 16; i++)
        close(fds[i]);
    stop_serving(first);
    stop_serving(second);
}

static const char *why_not(const char *address)
{
    struct loop *loop = loop_new();
    struct http_server_options options = default_options();
    struct http_handler handler = {.request = on_request};
    const char *why = NULL;
    assert_null(http_server_new(loop, address, -1, &options, &handler, &why));
    assert_non_null(why);
    loop_free(loop);
    return why;
}

static void test_addresses_that_cannot_be_listened_on_are_explained(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "8080",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      ":80",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:-1",
                                      "127.0.0.1:http",
                                      "::1:80",
                                      "[::1]",
                                      "unix:",
                                      "unix:/nowhere/at/all/socket",
                                      "no such host:1",
                                      "192.0.2.1:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        why_not(bad[i]);
    int port = 0, taken = wire_listen(&port);
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", port);
    assert_string_equal(why_not(address), "Address already in use");
    close(taken);
}

static void socket_path(char out[100])
{
    const char *directory = getenv("TMPDIR");
    snprintf(out, 100, "unix:%s/net-test-%d.sock", directory ? directory : "/tmp", (int)getpid());
}

static void test_unix_socket_is_private_and_removed(void **state)
{
    (void)state;
    char address[100];
    struct stat status;
    socket_path(address);
    struct served *served = serve_at(address, -1, default_options());
    assert_int_equal(served->port, 0);
    assert_int_equal(stat(address + 5, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    int fd = wire_connect_unix(address + 5);
    check_goes_on(fd);
    assert_string_equal(why_not(address), "another process listens on it");
    close(fd);
    stop_serving(served);
    assert_int_not_equal(stat(address + 5, &status), 0);
}

static void test_stale_unix_socket_is_replaced_and_other_files_are_not(void **state)
{
    (void)state;
    char address[100];
    socket_path(address);
    struct sockaddr_un stale = {.sun_family = AF_UNIX};
    snprintf(stale.sun_path, sizeof stale.sun_path, "%s", address + 5);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&stale, sizeof stale), 0);
    close(fd);
    struct served *served = serve_at(address, -1, default_options());
    fd = wire_connect_unix(address + 5);
    check_goes_on(fd);
    close(fd);
    stop_serving(served);
    FILE *file = fopen(address + 5, "w");
    assert_non_null(file);
    fclose(file);
    assert_string_equal(why_not(address), "there is a file of that name that is no socket");
    assert_int_equal(unlink(address + 5), 0);
}

// What goes to standard error from here on goes to a file of the test's.
static int catch_log(char path[100])
{
    const char *directory = getenv("TMPDIR");
    snprintf(path, 100, "%s/net-test-%d.log", directory ? directory : "/tmp", (int)getpid());
    int before = dup(STDERR_FILENO), file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    assert_true(before >= 0 && file >= 0);
    dup2(file, STDERR_FILENO);
    close(file);
    return before;
}

static size_t count_log(const char *path, int before, const char *event)
{
    dup2(before, STDERR_FILENO);
    close(before);
    char line[4096];
    size_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, event) != NULL;
    fclose(file);
    unlink(path);
    return count;
}

// A socket that is connected when this process may have no further descriptor.
static int connect_with_the_last_descriptor(const struct served *served, struct rlimit *out_before)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, out_before), 0);
    struct rlimit none = *out_before;
    none.rlim_cur = (rlim_t)fd + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)served->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void test_out_of_descriptors_the_quietest_makes_room(void **state)
{
    (void)state;
    struct served *served = serve();
    struct rlimit before;
    char log[100];
    int log_before = catch_log(log);
    int quiet = wire_connect(served->port), known = wire_connect(served->port);
    check_goes_on(quiet);
    check_goes_on(known);
    int third = connect_with_the_last_descriptor(served, &before);
    check_goes_on(third);
    assert_true(wire_is_ended_cleanly(quiet));
    check_goes_on(known);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(quiet);
    close(known);
    close(third);
    stop_serving(served);
    assert_int_equal(count_log(log, log_before, "connections_full"), 1);
}

static void nothing(struct served *served)
{
    (void)served;
}

static void test_out_of_descriptors_pauses_accepting_only(void **state)
{
    (void)state;
    struct http_server_options options = default_options();
    options.idle_ms = 20 * 1000;
    options.head_ms = 20; // so that the pause is short
    struct served *served = serve_with(options);
    struct rlimit before;
    struct wire_answer answer;
    char log[100];
    int log_before = catch_log(log);
    int known = wire_connect(served->port);
    wire_send_text(known, "GET /park HTTP/1.1\r\nHost: a\r\n\r\n"); // it makes no room
    wait_for_count(served, &served->parked_count, 1);
    int second = connect_with_the_last_descriptor(served, &before);
    wire_send_text(second, "GET /second HTTP/1.1\r\nHost: a\r\n\r\n");
    call(served, nothing);
    call(served, nothing); // the loop has come round
    call(served, answer_parked);
    wire_read_answer(known, &answer, false);
    assert_int_equal(answer.status, 200);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    wire_read_answer(second, &answer, false);
    assert_string_equal(answer.body, "GET /second|");
    close(known);
    close(second);
    stop_serving(served);
    assert_int_equal(count_log(log, log_before, "accept_failed"), 1);
}

// ---- memory: the n-th allocation whose size comes from outside fails, for n = 1, 2, 3 ... until none does

void *__real_mem_try(size_t size);
void *__real_mem_try_resize(void *p, size_t size);
void *__wrap_mem_try(size_t size);
void *__wrap_mem_try_resize(void *p, size_t size);
static _Thread_local long fail_at = -1; // on the server's thread

static bool fails_now(void)
{
    return fail_at > 0 && --fail_at == 0;
}

void *__wrap_mem_try(size_t size)
{
    return fails_now() ? NULL : __real_mem_try(size);
}

void *__wrap_mem_try_resize(void *p, size_t size)
{
    return fails_now() ? NULL : __real_mem_try_resize(p, size);
}

static long sweep_at;

static void start_failing(struct served *served)
{
    (void)served;
    fail_at = sweep_at;
}

static void stop_failing(struct served *served)
{
    (void)served;
    sweep_at = fail_at; // above 0: it was not reached
    fail_at = -1;
}

static void test_memory_refused_at_any_point_costs_one_request_at_most(void **state)
{
    (void)state;
    struct served *served = serve();
    static const char *const texts[] = {
        POST "Content-Length: 5\r\n\r\nabcde",
        CHUNKED "5\r\nabcde\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < 2; i++) {
        bool untouched = false;
        for (long n = 1; !untouched; n++) {
            struct wire_answer answer;
            int fd = wire_connect(served->port);
            check_goes_on(fd);
            sweep_at = n;
            call(served, start_failing);
            wire_send_text(fd, texts[i]);
            shutdown(fd, SHUT_WR);
            wire_read_answer(fd, &answer, false);
            assert_true(answer.status == 200 || answer.status == 503 || answer.status == 0);
            assert_true(answer.status != 200 || strcmp(answer.body, "POST /|abcde") == 0);
            close(fd);
            call(served, stop_failing);
            untouched = sweep_at > 0;
            assert_true(n < 100);
        }
    }
    stop_serving(served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_requests_are_answered),
        cmocka_unit_test(test_item_01_length_and_transfer_encoding),
        cmocka_unit_test(test_item_02_content_length),
        cmocka_unit_test(test_item_03_transfer_encoding),
        cmocka_unit_test(test_item_04_chunks),
        cmocka_unit_test(test_item_04_chunks_without_end),
        cmocka_unit_test(test_item_05_bare_cr_lf_in_header),
        cmocka_unit_test(test_item_05_header_bytes),
        cmocka_unit_test(test_item_06_request_line),
        cmocka_unit_test(test_item_06_long_target),
        cmocka_unit_test(test_item_07_host),
        cmocka_unit_test(test_item_08_large_heads),
        cmocka_unit_test(test_item_08_head_limit_is_exact),
        cmocka_unit_test(test_item_09_body_limit),
        cmocka_unit_test(test_item_09_whole_body_comes_through),
        cmocka_unit_test(test_item_10_body_cut_short_is_not_accepted),
        cmocka_unit_test(test_item_10_longer_body_is_no_request),
        cmocka_unit_test(test_item_11_expect),
        cmocka_unit_test(test_item_11_continue_is_sent_once_the_head_is_accepted),
        cmocka_unit_test(test_item_11_body_that_never_comes),
        cmocka_unit_test(test_item_12_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_item_12_pipelined_requests_wait_for_a_parked_one),
        cmocka_unit_test(test_item_12_every_pipelined_request_parks),
        cmocka_unit_test(test_item_12_pipelined_megabytes_wait_in_the_kernel),
        cmocka_unit_test(test_item_12_connection_cap),
        cmocka_unit_test(test_item_12_slow_newcomers_make_room),
        cmocka_unit_test(test_item_12_quiet_regulars_make_room),
        cmocka_unit_test(test_item_12_many_requests_let_others_go_between),
        cmocka_unit_test(test_item_12_long_bodies_let_others_go_between),
        cmocka_unit_test(test_item_12_bytes_of_unfinished_requests_are_bounded),
        cmocka_unit_test(test_answers_come_while_it_is_others_turn),
        cmocka_unit_test(test_bytes_behind_a_request_under_way_drive_nobody_out),
        cmocka_unit_test(test_item_13_slow_head),
        cmocka_unit_test(test_item_13_slow_body),
        cmocka_unit_test(test_item_13_reader_that_does_not_read),
        cmocka_unit_test(test_item_13_reader_that_reads_gets_it_all),
        cmocka_unit_test(test_item_13_idle_connections_are_closed),
        cmocka_unit_test(test_item_13_parked_request_is_not_hurried),
        cmocka_unit_test(test_item_14_compressed_body),
        cmocka_unit_test(test_item_18_methods),
        cmocka_unit_test(test_item_18_a_refused_method_is_told_what_is_allowed),
        cmocka_unit_test(test_item_19_client_leaves_before_the_answer),
        cmocka_unit_test(test_item_19_half_closed_client_gets_its_answer),
        cmocka_unit_test(test_request_cut_anywhere_is_the_same_request),
        cmocka_unit_test(test_refusal_is_read_by_a_client_that_still_sends),
        cmocka_unit_test(test_head_has_no_body_and_204_no_length),
        cmocka_unit_test(test_header_values_cannot_break_lines),
        cmocka_unit_test(test_exchange_can_be_cut_for_stand_ins),
        cmocka_unit_test(test_stream_comes_in_chunks_and_ends),
        cmocka_unit_test(test_stream_is_told_that_its_client_left),
        cmocka_unit_test(test_stream_tells_when_its_client_has_caught_up),
        cmocka_unit_test(test_stream_that_is_not_read_is_ended),
        cmocka_unit_test(test_a_body_of_a_known_length_leaves_the_connection_open),
        cmocka_unit_test(test_a_request_behind_a_body_of_a_known_length_is_answered),
        cmocka_unit_test(test_a_body_that_ends_too_early_is_cut),
        cmocka_unit_test(test_a_body_of_a_known_length_is_told_that_its_client_left),
        cmocka_unit_test(test_drain_ends_idle_ones_and_streams_and_lets_requests_finish),
        cmocka_unit_test(test_two_loops_share_one_address),
        cmocka_unit_test(test_addresses_that_cannot_be_listened_on_are_explained),
        cmocka_unit_test(test_unix_socket_is_private_and_removed),
        cmocka_unit_test(test_stale_unix_socket_is_replaced_and_other_files_are_not),
        cmocka_unit_test(test_out_of_descriptors_the_quietest_makes_room),
        cmocka_unit_test(test_out_of_descriptors_pauses_accepting_only),
        cmocka_unit_test(test_memory_refused_at_any_point_costs_one_request_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
