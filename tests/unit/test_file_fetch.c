// Files by their addresses: which may be fetched, where redirects lead, what answers come to. At last over real sockets: whatever
// notation an address has, it is refused by what it stands for when it is connected to.
#include "model/file_fetch.h"
#include "model/web_address.h"

#include "net/http_client.h"
#include "support/unit.h"
#include "support/wire.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static struct arena arena;

static int clear(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

// ---- addresses

static void test_addresses_are_read_in_one_way(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        // NULL: refused
        {"http://example.com", "http://example.com/"},
        {"HTTPS://Example.com/A", "https://Example.com/A"},
        {"https://example.com:443/a?b#c", "https://example.com/a?b"},
        {"http://example.com:443/", "http://example.com:443/"},
        {"http://example.com:/", "http://example.com/"},
        {"http://example.com?b=/../c", "http://example.com/?b=/../c"},
        {"http://example.com#c", "http://example.com/"},
        {"http://example.com/a/./b/../c/..", "http://example.com/a/"},
        {"http://example.com/../../a", "http://example.com/a"},
        {"http://example.com/a//b/../c", "http://example.com/a//c"},
        {"http://[2001:db8::1]:8080/a", "http://[2001:db8::1]:8080/a"},
        {"http://[::ffff:1.2.3.4]/", "http://[::ffff:1.2.3.4]/"},
        {"http://0x7f.1/", "http://0x7f.1/"},
        {"http://b\xC3\xBC"
         "cher.example/\xC3\xA4",
         "http://b\xC3\xBC"
         "cher.example/\xC3\xA4"},
        {"", NULL},
        {"http", NULL},
        {"http:", NULL},
        {"http:example.com", NULL},
        {"http:/example.com", NULL},
        {"http://", NULL},
        {"http:///a", NULL},
        {"//example.com/", NULL},
        {"example.com", NULL},
        {"ftp://example.com/", NULL},
        {"file:///etc/passwd", NULL},
        {"gopher://example.com/", NULL},
        {"javascript://example.com/%0a", NULL},
        {"data:text/plain,a", NULL},
        {"httpx://example.com/", NULL},
        {" http://example.com/", NULL},
        {"http://example.com/a b", NULL},
        {"http://example.com/a\r\nHost: b", NULL},
        {"http://example.com/\x7f", NULL},
        {"http://user@example.com/", NULL},
        {"http://user:word@example.com/", NULL},
        {"http://@example.com/", NULL},
        {"http://example.com\\@b.example/", NULL},
        {"http:\\\\example.com/", NULL},
        {"http://exa%6dple.com/", NULL},
        {"http://exa,mple.com/", NULL},
        {"http://example.com:x/", NULL},
        {"http://example.com:0/", NULL},
        {"http://example.com:65536/", NULL},
        {"http://example.com:4294967376/", NULL},
        {"http://example.com:-1/", NULL},
        {"http://example.com:80:80/", NULL},
        {"http://[::1/", NULL},
        {"http://[::1]a/", NULL},
        {"http://[]/", NULL},
        {"http://[fe80::1%25eth0]/", NULL},
        {"http://[a.example]/", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct web_address address;
        bool good = web_address_read(str_of(rows[i][0]), &arena, &address);
        if (good != (rows[i][1] != NULL))
            fail_msg("%s", rows[i][0]);
        if (good)
            assert_str(web_address_url(&address, &arena), rows[i][1]);
    }
}

static void test_locations_are_resolved(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        // RFC 3986, 5.4, but for the fragments, which are not sent, and what is no way to a file.
        {"g", "http://a/b/c/g"},
        {"./g", "http://a/b/c/g"},
        {"g/", "http://a/b/c/g/"},
        {"/g", "http://a/g"},
        {"//g", "http://g/"},
        {"?y", "http://a/b/c/d;p?y"},
        {"g?y", "http://a/b/c/g?y"},
        {"#s", "http://a/b/c/d;p?q"},
        {"g#s", "http://a/b/c/g"},
        {"g?y#s", "http://a/b/c/g?y"},
        {";x", "http://a/b/c/;x"},
        {".", "http://a/b/c/"},
        {"./", "http://a/b/c/"},
        {"..", "http://a/b/"},
        {"../", "http://a/b/"},
        {"../g", "http://a/b/g"},
        {"../..", "http://a/"},
        {"../../g", "http://a/g"},
        {"../../../g", "http://a/g"},
        {"/./g", "http://a/g"},
        {"/../g", "http://a/g"},
        {"g.", "http://a/b/c/g."},
        {"..g", "http://a/b/c/..g"},
        {"./g/.", "http://a/b/c/g/"},
        {"g/../h", "http://a/b/c/h"},
        {"g;x=1/../y", "http://a/b/c/y"},
        {"g?y/../x", "http://a/b/c/g?y/../x"},
        {"./x:y", "http://a/b/c/x:y"},
        {"?http://b", "http://a/b/c/d;p?http://b"},
        {"//g:81/x", "http://g:81/x"},
        {"https://b.example/x", "https://b.example/x"},
        {"HTTP://b.example", "http://b.example/"},
        {"", NULL},
        {"http:g", NULL},
        {"x:y", NULL},
        {"ftp://b.example/", NULL},
        {"file:/etc/passwd", NULL},
        {"//user@b.example/", NULL},
        {"http://a@b.example/", NULL},
        {"//", NULL},
        {"///x", NULL},
        {"/a b", NULL},
        {"/a\x01", NULL},
        {"\\\\b.example", NULL},
        {"/\\b.example", NULL},
    };
    struct web_address base, address;
    assert_true(web_address_read(STR("http://a/b/c/d;p?q"), &arena, &base));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool good = web_address_resolve(&base, str_of(rows[i][0]), &arena, &address);
        if (good != (rows[i][1] != NULL))
            fail_msg("%s", rows[i][0]);
        if (good)
            assert_str(web_address_url(&address, &arena), rows[i][1]);
    }
}

static void test_length_of_an_address_is_bounded(void **state)
{
    (void)state;
    char url[WEB_ADDRESS_MAX + 32];
    struct web_address address, next;
    memset(url, 'a', sizeof url);
    memcpy(url, "http://", 7);
    url[12] = '/';
    assert_true(web_address_read((struct str){url, WEB_ADDRESS_MAX}, &arena, &address));
    assert_false(web_address_read((struct str){url, WEB_ADDRESS_MAX + 1}, &arena, &address));
    assert_true(web_address_read(STR("http://a/b/"), &arena, &address));
    assert_false(web_address_resolve(&address, (struct str){url + 13, WEB_ADDRESS_MAX - 2}, &arena, &next));
}

// ---- steps

static struct file_fetch fetch_of(const char *url)
{
    return (struct file_fetch){
        .file = {.url = str_of(url)}, .max_size = 20 * (int64_t)MIB, .arena = &arena, .now_us = 1700000000000000};
}

static struct file_step first_step(struct file_fetch *fetch)
{
    struct file_step step;
    file_fetch_url(fetch, NULL, &step);
    return step;
}

static struct file_step after(struct file_fetch *fetch, const struct http_response *last)
{
    struct file_step step;
    file_fetch_url(fetch, last, &step);
    return step;
}

static struct file_step redirected(struct file_fetch *fetch, int status, const char *location)
{
    char *gone = strdup(location); // the answer lives for one step only
    struct http_header headers[] = {{STR("location"), str_of(gone)}};
    struct http_response response = {.status = status, .headers = headers, .header_count = 1};
    struct file_step step = after(fetch, &response);
    free(gone);
    return step;
}

static void test_file_is_asked_for_with_nothing_but_its_address(void **state)
{
    (void)state;
    struct file_fetch fetch = fetch_of("https://files.example/a?signature=s#top");
    struct file_step step = first_step(&fetch);
    assert_int_equal(step.kind, FILE_GET);
    assert_str(step.request.method, "GET");
    assert_str(step.request.target, "https://files.example/a?signature=s");
    assert_int_equal(step.request.header_count, 0);
    assert_int_equal(step.request.body.n, 0);
    assert_false(step.trusted);
    struct http_response ok = {.status = 200};
    step = after(&fetch, &ok);
    assert_int_equal(step.kind, FILE_END);
    assert_int_equal(step.verdict.kind, VERDICT_DELIVERED);
    assert_null(step.verdict.error.p);
}

static void test_address_that_is_none_is_rejected(void **state)
{
    (void)state;
    static const char *const urls[] = {NULL, "", "file:///etc/passwd", "http://user:secret@files.example/"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct file_fetch fetch = fetch_of(urls[i]);
        struct file_step step = first_step(&fetch);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
        assert_str(step.verdict.error, "its address is none that can be fetched");
    }
}

static void test_five_redirects_are_followed_and_no_more(void **state)
{
    (void)state;
    static const int statuses[] = {301, 302, 303, 307, 308};
    struct file_fetch fetch = fetch_of("https://files.example/0");
    first_step(&fetch);
    for (int i = 0; i < 5; i++) {
        char location[16], url[64];
        snprintf(location, sizeof location, "%d?q", i + 1);
        snprintf(url, sizeof url, "https://files.example/%d?q", i + 1);
        struct file_step step = redirected(&fetch, statuses[i], location);
        assert_int_equal(step.kind, FILE_GET);
        assert_str(step.request.target, url);
    }
    struct file_step step = redirected(&fetch, 302, "/6");
    assert_int_equal(step.kind, FILE_END);
    assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
    assert_str(step.verdict.error, "its address leads on to another one too often");
}

static void test_redirect_to_what_is_no_address_is_rejected(void **state)
{
    (void)state;
    static const char *const locations[] = {"", "file:///etc/passwd", "ftp://files.example/", "//user@files.example/",
                                            "/a\nb"};
    struct http_response without = {.status = 302};
    for (size_t i = 0; i <= sizeof locations / sizeof *locations; i++) {
        struct file_fetch fetch = fetch_of("https://files.example/?secret");
        first_step(&fetch);
        struct file_step step = i ? redirected(&fetch, 302, locations[i - 1]) : after(&fetch, &without);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, VERDICT_REJECTED);
        assert_str(step.verdict.error, "its address leads on to one that cannot be fetched");
    }
}

static void test_only_the_operators_own_address_is_trusted(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        bool trusted;
    } rows[] = {
        {"http://desk.example:8080/a", true},
        {"HTTP://DESK.example:8080", true},
        {"http://desk.example/a", false},
        {"https://desk.example:8080/a", false},
        {"http://desk.example:80801/a", false},
        {"http://desk.example.evil.example:8080/a", false},
        {"http://evil.example/http://desk.example:8080/", false},
        {"http://127.0.0.1:8080/a", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file_fetch fetch = fetch_of(rows[i].url);
        fetch.trusted = STR("http://desk.example:8080/api");
        assert_int_equal(first_step(&fetch).trusted, rows[i].trusted);
        struct file_fetch later = fetch_of("http://desk.example:8080/first");
        later.trusted = fetch.trusted;
        assert_true(first_step(&later).trusted);
        assert_int_equal(redirected(&later, 302, rows[i].url).trusted, rows[i].trusted);
    }
    struct file_fetch back = fetch_of("https://elsewhere.example/");
    back.trusted = STR("http://desk.example:8080");
    assert_false(first_step(&back).trusted);
    assert_true(redirected(&back, 302, "http://desk.example:8080/a").trusted);
    assert_true(redirected(&back, 302, "b").trusted);
    back.trusted = STR("desk.example"); // that is no address
    assert_false(redirected(&back, 302, "c").trusted);
}

static void test_answers_and_their_verdicts(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *retry_after;
        enum verdict_kind kind;
        int64_t pause_s; // 0 = by the usual pauses
        const char *error;
    } rows[] = {
        {404, NULL, VERDICT_REJECTED, 0, "it is not there any more: HTTP 404"},
        {410, "5", VERDICT_REJECTED, 0, "it is not there any more: HTTP 410"},
        {401, NULL, VERDICT_REJECTED, 0, "its server does not let it be read: HTTP 401"},
        {403, NULL, VERDICT_REJECTED, 0, "its server does not let it be read: HTTP 403"},
        {400, NULL, VERDICT_REJECTED, 0, "its server refused: HTTP 400"},
        {451, NULL, VERDICT_REJECTED, 0, "its server refused: HTTP 451"},
        {300, NULL, VERDICT_REJECTED, 0, "its server answered HTTP 300"},
        {304, NULL, VERDICT_REJECTED, 0, "its server answered HTTP 304"},
        {408, NULL, VERDICT_RETRY, 0, "its server refused: HTTP 408"},
        {425, "7", VERDICT_RETRY, 7, "its server refused: HTTP 425"},
        {429, "30", VERDICT_RETRY, 30, "its server refused: HTTP 429"},
        {429, "99999", VERDICT_RETRY, 3600, "its server refused: HTTP 429"},
        {429, "soon", VERDICT_RETRY, 0, "its server refused: HTTP 429"},
        {500, NULL, VERDICT_RETRY, 0, "its server answered HTTP 500"},
        {503, "120", VERDICT_RETRY, 120, "its server answered HTTP 503"},
        {599, NULL, VERDICT_RETRY, 0, "its server answered HTTP 599"},
        {204, NULL, VERDICT_RETRY, 0, "its server answered HTTP 204"},
        {206, NULL, VERDICT_RETRY, 0, "its server answered HTTP 206"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file_fetch fetch = fetch_of("https://files.example/?secret");
        struct http_header headers[] = {{STR("Retry-After"), str_of(rows[i].retry_after)}};
        struct http_response response = {.status = rows[i].status,
                                         .headers = headers,
                                         .header_count = rows[i].retry_after != NULL,
                                         .body = STR("{\"error\":\"https://files.example/?secret\"}")};
        first_step(&fetch);
        struct file_step step = after(&fetch, &response);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, rows[i].kind);
        assert_int_equal(step.verdict.status, rows[i].status);
        assert_int_equal(step.verdict.until_us, rows[i].pause_s ? fetch.now_us + rows[i].pause_s * 1000000 : 0);
        assert_str(step.verdict.error, rows[i].error);
    }
}

static void test_no_answer_and_its_verdicts(void **state)
{
    (void)state;
    static const struct {
        struct http_response response;
        enum verdict_kind kind;
        const char *error;
    } rows[] = {
        {{.failure = HTTP_NOT_CONNECTED, .error = STR("Connection refused")}, VERDICT_RETRY, "Connection refused"},
        {{.failure = HTTP_NOT_CONNECTED}, VERDICT_RETRY, "no answer"},
        {{.failure = HTTP_NOT_CONNECTED, .refused = true, .error = STR("whatever")},
         VERDICT_REJECTED,
         "its address is not a public one"},
        {{.failure = HTTP_TLS, .error = STR("bad certificate")}, VERDICT_RETRY, "bad certificate"},
        {{.failure = HTTP_TIMEOUT, .error = STR("too slow")}, VERDICT_RETRY, "too slow"},
        {{.failure = HTTP_DROPPED, .error = STR("cut")}, VERDICT_RETRY, "cut"},
        {{.failure = HTTP_UNREADABLE, .error = STR("no HTTP")}, VERDICT_RETRY, "no HTTP"},
        {{.failure = HTTP_UNREADABLE, .too_large = true, .error = STR("too large")},
         VERDICT_REJECTED,
         "it is larger than 20 MiB"},
        {{.failure = HTTP_CANCELLED, .error = STR("cancelled")}, VERDICT_WAIT, "cancelled"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct file_fetch fetch = fetch_of("https://files.example/");
        first_step(&fetch);
        struct file_step step = after(&fetch, &rows[i].response);
        assert_int_equal(step.kind, FILE_END);
        assert_int_equal(step.verdict.kind, rows[i].kind);
        assert_str(step.verdict.error, rows[i].error);
    }
    struct file_fetch small = fetch_of("https://files.example/");
    small.max_size = MIB + 1;
    first_step(&small);
    assert_str(after(&small, &rows[7].response).verdict.error, "it is larger than 1048577 bytes");
}

// ---- over sockets: a client for the operator's address, one that refuses what is not public for all else

struct running {
    struct loop *loop;
    struct http_client *trusting, *careful;
    struct file_fetch fetch;
    struct file_step step;
    char bytes[64];
    size_t n;
};

static bool take(void *arg, struct str bytes)
{
    struct running *run = arg;
    if (run->n + bytes.n > sizeof run->bytes)
        return false;
    memcpy(run->bytes + run->n, bytes.p, bytes.n);
    run->n += bytes.n;
    return true;
}

static void go_on(struct running *run, const struct http_response *last);

static void on_answer(void *arg, const struct http_response *response)
{
    go_on(arg, response);
}

static void go_on(struct running *run, const struct http_response *last)
{
    struct http_sink sink = {.arg = run, .write = take, .max = run->fetch.max_size};
    file_fetch_url(&run->fetch, last, &run->step);
    if (run->step.kind == FILE_END)
        uv_stop(loop_uv(run->loop));
    else
        http_client_fetch(run->step.trusted ? run->trusting : run->careful, &run->step.request, WIRE_WAIT_MS, &sink,
                          on_answer, run);
}

static struct running run_fetch(const char *url, const char *trusted)
{
    struct running run = {.loop = loop_new(), .fetch = fetch_of(url)};
    struct http_client_options options;
    http_client_options_default(&options);
    run.trusting = http_client_new(run.loop, &options);
    options.refuse_private = true;
    run.careful = http_client_new(run.loop, &options);
    run.fetch.trusted = str_of(trusted);
    go_on(&run, NULL);
    while (run.step.kind != FILE_END)
        uv_run(loop_uv(run.loop), UV_RUN_DEFAULT);
    http_client_free(run.trusting);
    http_client_free(run.careful);
    loop_free(run.loop);
    return run;
}

static const char *const private_hosts[] = {"127.0.0.1",       "127.1",           "0x7f.1",
                                            "2130706433",      "0177.0.0.1",      "0",
                                            "localhost",       "[::1]",           "[::ffff:127.0.0.1]",
                                            "[::ffff:7f00:1]", "169.254.169.254", "10.0.0.1",
                                            "192.168.1.1",     "172.16.0.1",      "[fe80::1]",
                                            "[fd00::1]"};

static void assert_refused(const struct running *run)
{
    assert_int_equal(run->step.verdict.kind, VERDICT_REJECTED);
    assert_str(run->step.verdict.error, "its address is not a public one");
    assert_int_equal(run->n, 0);
}

static void test_item_32_file_at_a_private_address_is_refused(void **state)
{
    (void)state;
    int port = 0, listener = wire_listen(&port);
    for (size_t i = 0; i < sizeof private_hosts / sizeof *private_hosts; i++) {
        char url[64];
        snprintf(url, sizeof url, "http://%s:%d/latest/meta-data", private_hosts[i], port);
        struct running run = run_fetch(url, NULL);
        assert_refused(&run);
        run = run_fetch(url, "http://desk.example");
        assert_refused(&run);
    }
    close(listener);
}

struct peer {
    int listener, port;
    pthread_t thread;
    char location[128];
};

// Two connections at most: one that is redirected, and where that leads to the same address the file.
static void *run_peer(void *arg)
{
    struct peer *peer = arg;
    char head[4096], body[16], answer[256];
    size_t n = 0;
    int fd = wire_accept(peer->listener);
    while (wire_read_request(fd, head, sizeof head, body, sizeof body, &n)) {
        assert_null(strcasestr(head, "\r\nCookie"));
        assert_null(strcasestr(head, "\r\nAuthorization"));
        assert_null(strcasestr(head, "\r\nReferer"));
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 302 Found\r\nSet-Cookie: a=b\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n", peer->location);
        wire_send_text(fd, str_starts(str_of(head), STR("GET /file"))
                               ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                               : answer);
    }
    close(fd);
    return NULL;
}

static struct running run_redirected(const char *location, int port)
{
    struct peer peer = {.listener = wire_listen(&peer.port)};
    char trusted[64], url[80];
    snprintf(trusted, sizeof trusted, "http://127.0.0.1:%d", peer.port);
    snprintf(url, sizeof url, "%s/first", trusted);
    if (port)
        snprintf(peer.location, sizeof peer.location, "http://%s:%d/", location, port);
    else
        snprintf(peer.location, sizeof peer.location, "%s", location);
    assert_int_equal(pthread_create(&peer.thread, NULL, run_peer, &peer), 0);
    struct running run = run_fetch(url, trusted);
    pthread_join(peer.thread, NULL);
    close(peer.listener);
    return run;
}

static void test_item_32_redirect_to_a_private_address_is_refused(void **state)
{
    (void)state;
    int port = 0, listener = wire_listen(&port);
    for (size_t i = 0; i < sizeof private_hosts / sizeof *private_hosts; i++) {
        struct running run = run_redirected(private_hosts[i], port);
        assert_refused(&run);
    }
    close(listener);
}

static void test_redirect_within_the_trusted_address_is_followed(void **state)
{
    (void)state;
    struct running run = run_redirected("/file?x", 0);
    assert_int_equal(run.step.verdict.kind, VERDICT_DELIVERED);
    assert_int_equal(run.n, 5);
    assert_memory_equal(run.bytes, "hello", 5);
}

static void test_redirect_without_end_ends(void **state)
{
    (void)state;
    struct running run = run_redirected("/again", 0);
    assert_int_equal(run.step.verdict.kind, VERDICT_REJECTED);
    assert_str(run.step.verdict.error, "its address leads on to another one too often");
}

int main(void)
{
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_addresses_are_read_in_one_way, clear),
        cmocka_unit_test_teardown(test_locations_are_resolved, clear),
        cmocka_unit_test_teardown(test_length_of_an_address_is_bounded, clear),
        cmocka_unit_test_teardown(test_file_is_asked_for_with_nothing_but_its_address, clear),
        cmocka_unit_test_teardown(test_address_that_is_none_is_rejected, clear),
        cmocka_unit_test_teardown(test_five_redirects_are_followed_and_no_more, clear),
        cmocka_unit_test_teardown(test_redirect_to_what_is_no_address_is_rejected, clear),
        cmocka_unit_test_teardown(test_only_the_operators_own_address_is_trusted, clear),
        cmocka_unit_test_teardown(test_answers_and_their_verdicts, clear),
        cmocka_unit_test_teardown(test_no_answer_and_its_verdicts, clear),
        cmocka_unit_test_teardown(test_item_32_file_at_a_private_address_is_refused, clear),
        cmocka_unit_test_teardown(test_item_32_redirect_to_a_private_address_is_refused, clear),
        cmocka_unit_test_teardown(test_redirect_within_the_trusted_address_is_followed, clear),
        cmocka_unit_test_teardown(test_redirect_without_end_ends, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
