// libcurl tells which sockets it waits on and when it wants to be woken; libuv does both, and hands the events back.
// Answers are collected after each hand-over, outside libcurl, so `done` may send again.
//
// Sockets. libuv aborts when a descriptor it polls is closed behind its back, so each has a struct watch from the time
// libcurl opens it (on_open_socket) to the time it closes it (on_close_socket), and the watch goes first. libcurl's
// resolver has sockets of its own that it neither opens nor closes through us; those are watched from the first
// interest in them until libcurl says that it has none (CURL_POLL_REMOVE), which it does before closing.
// A watch stays registered between requests: most begin by waiting for what is waited for already. If an event comes
// that nobody wants, the registration is taken back then.
//
// Attempts. libcurl begins a request anew by itself when a reused connection ends before any answer. on_attempt runs
// before each and refuses a second one, but of GET and HEAD. Whether anything of the first had left is not asked: libcurl's
// counts are not to be relied on there (of bytes that waited for room in the socket some stay at nothing), and a
// connection that ended while nobody used it is found out before a request begins.
//
// Bodies are given as a whole (CURLOPT_POSTFIELDS): so libcurl sends them, up to 64 KiB, in one write with the head, where
// a read callback makes it two writes, two packets and two wake-ups of the peer. Only a body of parts has a read callback
// (http_body.h), and a seek callback that refuses: beginning anew it would need the bytes from the front again.
//
// Easy handles, with the buffers and options in them, are reused: that is a fifth of the cost of a request. So is the URL of a
// handle's last use as libcurl reads it (CURLU): reading it, and writing it anew from its parts, is another fifteenth.
#include "net/http_client.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"
#include "net/address.h"
#include "net/http_body.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    MAX_ANSWER_HEAD = 64 * 1024, // all heads of a call, 1xx included
    SPARE_CALLS = 256,           // kept for reuse
    IDLE_S = 50,                 // connections unused for longer are not used again: most servers wait at least 60 s
    EXPECT_FROM = 64 * 1024,     // bodies of which libcurl may ask whether they are welcome: from 1 MiB on, in 7.88
    SEND_BUFFER = 16 * 1024,     // libcurl's own, for what is not sent as it lies in memory
    PARTS_BUFFER = 64 * 1024,    // the same of a body of parts
};

struct watch {
    uv_poll_t uv; // first
    struct http_client *client;
    curl_socket_t fd; // key
    bool is_own;      // opened by on_open_socket
    int wanted;       // UV_READABLE, UV_WRITABLE: what libcurl waits for
    int registered;   // what libuv watches
    UT_hash_handle hh;
};

struct http_client {
    struct loop *loop;
    struct http_client_options options;
    CURLM *multi;
    uv_timer_t timer;
    int64_t wake_at_ms;      // of the timer, while it is active
    struct watch *watches;   // by fd
    struct http_call *calls; // in progress
    struct http_call *spare;
    size_t open_calls, spare_calls;
    size_t handles; // of libuv, not closed yet; with the last one the client is freed
    bool freed;
};

// One call, with the easy handle it keeps over its uses.
struct http_call {
    struct http_client *client;
    struct http_call *prev, *next;
    CURL *easy;
    char *url;     // of the last use, or NULL
    CURLU *parsed; // the same; only if it is set
    char problem[CURL_ERROR_SIZE];

    struct arena arena; // of this use
    struct str body;
    struct http_body parts;              // in place of `body`, if there are any
    struct http_sink sink;               // of a 200; its `write` is NULL: there is none
    int64_t sunk;                        // bytes that it has got
    unsigned attempts;                   // begun by libcurl
    bool stopped;                        // a second one was refused, by on_attempt or on_seek
    bool is_refused;                     // the address is not public
    bool is_idempotent;                  // GET, HEAD
    bool is_http;                        // the URL begins like one of ours
    bool head_too_large, body_too_large; // of the answer
    bool is_unwanted;                    // its sink wants no more of it
    bool is_unsendable;                  // a file of the parts cannot be read

    struct http_header *answer_headers;
    size_t answer_count, answer_room, head_size;
    bool head_done;
    struct buf answer_body;

    void (*done)(void *arg, const struct http_response *response);
    void *arg;
};

void http_client_options_default(struct http_client_options *options)
{
    *options = (struct http_client_options){
        .max_connections = 128,
        .connect_ms = 5000,
        .max_body = 4 * 1024 * 1024,
        .slow_s = 30,
        .user_agent = "tributary/" TRIBUTARY_VERSION,
        .ca_file = getenv("SSL_CERT_FILE"), // as for every program of OpenSSL's; libcurl alone does not look at it
    };
    if (options->ca_file && !*options->ca_file)
        options->ca_file = NULL;
}

// ---- sockets

static void hand_over(struct http_client *client, curl_socket_t fd, int events);

static void client_handle_closed(struct http_client *client)
{
    if (--client->handles == 0) {
        must(client->freed);
        free(client);
    }
}

static void on_watch_closed(uv_handle_t *handle)
{
    struct watch *watch = (struct watch *)handle;
    struct http_client *client = watch->client;
    free(watch);
    client_handle_closed(client);
}

static struct watch *watch_find(struct http_client *client, curl_socket_t fd)
{
    struct watch *watch = NULL;
    HASH_FIND_INT(client->watches, &fd, watch);
    return watch;
}

static struct watch *watch_new(struct http_client *client, curl_socket_t fd, bool is_own)
{
    struct watch *watch = mem_new_of(struct watch);
    if (uv_poll_init(loop_uv(client->loop), &watch->uv, fd) != 0) {
        free(watch);
        return NULL;
    }
    watch->client = client;
    watch->fd = fd;
    watch->is_own = is_own;
    HASH_ADD_INT(client->watches, fd, watch);
    client->handles++;
    return watch;
}

static void watch_close(struct watch *watch)
{
    HASH_DEL(watch->client->watches, watch);
    uv_close((uv_handle_t *)&watch->uv, on_watch_closed);
}

static void on_watch(uv_poll_t *uv, int status, int events);

static void watch_register(struct watch *watch, int events)
{
    if (watch->registered == events)
        return;
    watch->registered = events;
    if (events)
        uv_poll_start(&watch->uv, events, on_watch);
    else
        uv_poll_stop(&watch->uv);
}

static void on_watch(uv_poll_t *uv, int status, int events)
{
    struct watch *watch = (struct watch *)uv;
    int useful = status < 0 ? watch->wanted : events & watch->wanted;
    if (status < 0)
        watch->registered = 0; // libuv stops watching by itself
    if (status < 0 || (events & ~watch->wanted))
        watch_register(watch, watch->wanted);
    int flags = (useful & UV_READABLE ? CURL_CSELECT_IN : 0) | (useful & UV_WRITABLE ? CURL_CSELECT_OUT : 0) |
                (status < 0 ? CURL_CSELECT_ERR : 0);
    if (flags)
        hand_over(watch->client, watch->fd, flags);
}

// libcurl's word on what it waits for.
static int on_interest(CURL *easy, curl_socket_t fd, int what, void *client_arg, void *watch_arg)
{
    struct http_client *client = client_arg;
    struct watch *watch = watch_find(client, fd);
    (void)easy, (void)watch_arg;
    if (!watch && what != CURL_POLL_REMOVE)
        watch = watch_new(client, fd, false);
    if (!watch)
        return what == CURL_POLL_REMOVE ? 0 : -1;
    watch->wanted = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    if (what == CURL_POLL_REMOVE)
        watch->wanted = 0;
    if (watch->wanted & ~watch->registered)
        watch_register(watch, watch->wanted);
    if (!watch->wanted && !watch->is_own)
        watch_close(watch);
    return 0;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_call *call = arg;
    (void)purpose;
    if (call->client->options.refuse_private && !address_is_public(&address->addr)) {
        call->is_refused = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (!watch_new(call->client, fd, true)) {
        close(fd);
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
    struct watch *watch = watch_find(arg, fd);
    if (watch)
        watch_close(watch);
    return close(fd);
}

// ---- time

static void on_timer(uv_timer_t *timer)
{
    hand_over(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void wake_in(struct http_client *client, long after_ms)
{
    int64_t at_ms = (int64_t)uv_now(loop_uv(client->loop)) + after_ms;
    if (uv_is_active((uv_handle_t *)&client->timer) && client->wake_at_ms <= at_ms)
        return; // earlier is good enough: it will be asked again then
    client->wake_at_ms = at_ms;
    uv_timer_start(&client->timer, on_timer, (uint64_t)after_ms, 0);
}

// Asked for after each time in libcurl, instead of waiting to be told (CURLMOPT_TIMERFUNCTION): it tells a time only once,
// and libuv, whose clock stands still during a round, can come a moment early.
static void set_timer(struct http_client *client)
{
    long after_ms = -1;
    curl_multi_timeout(client->multi, &after_ms);
    if (after_ms >= 0)
        wake_in(client, after_ms);
}

// ---- the request, as libcurl takes it

static int on_attempt(void *arg, char *peer, char *own, int peer_port, int own_port)
{
    struct http_call *call = arg;
    (void)peer, (void)own, (void)peer_port, (void)own_port;
    call->attempts++;
    call->stopped = call->attempts > 1 && !call->is_idempotent;
    return call->stopped ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t on_read_body(char *room, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    int64_t n = http_body_read(&call->parts, room, size * count);
    call->is_unsendable = n < 0;
    return n < 0 ? CURL_READFUNC_ABORT : (size_t)n;
}

// libcurl goes back to the front of a body to send it a second time, and for nothing else.
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct http_call *call = arg;
    (void)offset, (void)origin;
    call->stopped = true;
    return CURL_SEEKFUNC_FAIL;
}

static int64_t body_size(const struct http_call *call)
{
    return call->parts.count ? call->parts.size : (int64_t)call->body.n;
}

// ---- the answer, as libcurl gives it

static int status_of(const struct http_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static bool goes_to_sink(const struct http_call *call)
{
    return call->sink.write && status_of(call) == 200;
}

// By its own word: then not a byte of it is taken.
static bool says_too_much(const struct http_call *call)
{
    struct str length = http_header_get(call->answer_headers, call->answer_count, "content-length");
    int64_t number = 0;
    return str_to_i64(length, &number) && number > call->sink.max;
}

static bool add_answer_header(struct http_call *call, struct str line)
{
    size_t colon = str_index(line, ':', 0);
    if (call->answer_count == call->answer_room) {
        size_t room = call->answer_room ? 2 * call->answer_room : 32;
        struct http_header *headers = arena_try(&call->arena, room * sizeof *headers);
        if (!headers)
            return false;
        if (call->answer_count)
            memcpy(headers, call->answer_headers, call->answer_count * sizeof *headers);
        call->answer_headers = headers;
        call->answer_room = room;
    }
    char *text = arena_try(&call->arena, line.n + 1);
    if (!text)
        return false;
    memcpy(text, line.p, line.n);
    line.p = text;
    call->answer_headers[call->answer_count++] = (struct http_header){
        str_trim(str_sub(line, 0, colon)),
        str_trim(str_sub(line, colon + 1, line.n)),
    };
    return true;
}

// One line at a time. Each 1xx answer has a head of its own, which the next one replaces; trailers are ignored.
static size_t on_head_line(char *p, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    struct str line = {p, size * count};
    call->head_size += line.n;
    if (call->head_size > MAX_ANSWER_HEAD) {
        call->head_too_large = true;
        return 0;
    }
    if (str_starts(line, STR("HTTP/")) && (call->head_done || call->answer_count == 0)) {
        call->head_done = false;
        call->answer_count = 0;
    } else if (str_trim(line).n == 0) {
        call->head_done = true;
        call->body_too_large = goes_to_sink(call) && says_too_much(call);
        return call->body_too_large ? 0 : line.n;
    } else if (!call->head_done && str_index(line, ':', 0) < line.n && !add_answer_header(call, line)) {
        call->head_too_large = true;
        return 0;
    }
    return line.n;
}

static bool sink_bytes(struct http_call *call, struct str bytes)
{
    if ((int64_t)bytes.n > call->sink.max - call->sunk) {
        call->body_too_large = true;
        return false;
    }
    call->sunk += (int64_t)bytes.n;
    call->is_unwanted = !call->sink.write(call->sink.arg, bytes);
    return !call->is_unwanted;
}

static size_t on_answer_body(char *p, size_t size, size_t count, void *arg)
{
    struct http_call *call = arg;
    size_t n = size * count;
    if (goes_to_sink(call))
        return sink_bytes(call, (struct str){p, n}) ? n : 0;
    if (buf_add(&call->answer_body, p, n) == ERR_OK)
        return n;
    call->body_too_large = true;
    return 0;
}

// ---- ends

static enum http_failure failure_of(const struct http_call *call, CURLcode code)
{
    bool began = call->attempts > 0;
    switch (code) {
    case CURLE_OK:
        // libcurl takes a head that ends in the middle, with the connection, for a whole one.
        return call->head_done ? HTTP_ANSWERED : HTTP_DROPPED;
    case CURLE_OPERATION_TIMEDOUT:
        return began ? HTTP_TIMEOUT : HTTP_NOT_CONNECTED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_USE_SSL_FAILED:
        return HTTP_TLS;
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return began ? HTTP_DROPPED : HTTP_NOT_CONNECTED;
    case CURLE_RECV_ERROR:
        // libcurl 7.88 says the same of a connection that broke and of chunks that are none.
        return !began ? HTTP_NOT_CONNECTED : strstr(call->problem, "chunk") ? HTTP_UNREADABLE : HTTP_DROPPED;
    default:
        return began ? HTTP_UNREADABLE : HTTP_NOT_CONNECTED;
    }
}

// Whether the peer can have got all of it. Of a body, the kernel having taken the last byte is as much as can be known; libcurl
// forgets how far it came when it begins anew, and before that it still has the count of the handle's last use.
static bool may_be_written(const struct http_call *call)
{
    if (!body_size(call) || call->attempts != 1 || call->stopped)
        return call->attempts > 0;
    curl_off_t sent = 0;
    curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return sent >= body_size(call);
}

// What libcurl says of a URL that it cannot read may quote it, and the token in it.
static struct str words_of(const struct http_call *call, CURLcode code)
{
    if (call->is_refused)
        return STR("the address is not a public one");
    if (call->head_too_large || call->body_too_large)
        return STR("the answer is too large");
    if (call->is_unwanted)
        return STR("no more of the answer could be taken");
    if (call->is_unsendable)
        return STR("a file that was to be sent cannot be read");
    if (code == CURLE_OK)
        return STR("the answer ends within its head");
    if (call->stopped) // libcurl has a sentence on our callback
        return STR("the connection ended before an answer");
    bool quotable = call->is_http && code != CURLE_URL_MALFORMAT && code != CURLE_UNSUPPORTED_PROTOCOL;
    return str_of(quotable && call->problem[0] ? call->problem : curl_easy_strerror(code));
}

// libcurl reads to the end of the connection when a length does not fit 64 bits.
static bool is_length_readable(const struct http_call *call)
{
    struct str length = http_header_get(call->answer_headers, call->answer_count, "content-length");
    int64_t number = 0;
    return !length.p || (str_to_i64(length, &number) && number >= 0);
}

static struct http_response response_of(const struct http_call *call, CURLcode code)
{
    struct http_response response = {
        .failure = failure_of(call, code),
        .too_large = call->body_too_large,
        .written = may_be_written(call),
    };
    if (call->stopped)
        response.failure = HTTP_RESENT;
    if (call->is_unsendable)
        response.failure = HTTP_UNSENDABLE;
    response.refused = call->is_refused && response.failure == HTTP_NOT_CONNECTED;
    if (response.failure == HTTP_ANSWERED && !is_length_readable(call)) {
        response.failure = HTTP_UNREADABLE;
        code = CURLE_WEIRD_SERVER_REPLY;
    }
    if (response.failure != HTTP_ANSWERED) {
        response.error = words_of(call, code);
        return response;
    }
    response.status = status_of(call);
    response.headers = call->answer_headers;
    response.header_count = call->answer_count;
    response.body = buf_str(&call->answer_body);
    return response;
}

static void call_free(struct http_call *call)
{
    curl_easy_cleanup(call->easy);
    curl_url_cleanup(call->parsed);
    free(call->url);
    buf_done(&call->answer_body);
    free(call);
}

// What few calls have is set for each of them and taken back: the others are not to pay for it.
static void set_extras(struct http_call *call)
{
    if (call->parts.count)
        curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)PARTS_BUFFER);
    if (call->sink.write && call->sink.min_rate > 0) {
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_LIMIT, (long)call->sink.min_rate);
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_TIME, (long)call->client->options.slow_s);
    }
}

static void unset_extras(struct http_call *call)
{
    if (call->parts.count)
        curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER);
    if (call->sink.write && call->sink.min_rate > 0) {
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_LIMIT, 0L);
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_TIME, 0L);
    }
}

// Back to what it was before its first use, the easy handle kept.
static void call_recycle(struct http_call *call)
{
    struct http_client *client = call->client;
    arena_done(&call->arena);
    if (client->spare_calls >= SPARE_CALLS) {
        call_free(call);
        return;
    }
    buf_done(&call->answer_body);
    unset_extras(call);
    struct http_call fresh = {.client = client, .easy = call->easy, .url = call->url, .parsed = call->parsed};
    *call = fresh;
    DL_PREPEND(client->spare, call);
    client->spare_calls++;
}

static void call_end(struct http_call *call, const struct http_response *response)
{
    struct http_client *client = call->client;
    curl_multi_remove_handle(client->multi, call->easy);
    DL_DELETE(client->calls, call);
    client->open_calls--;
    call->done(call->arg, response);
    call_recycle(call);
}

static void collect(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(client->multi, &left))) {
        struct http_call *call = NULL;
        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        struct http_response response = response_of(call, message->data.result);
        call_end(call, &response);
    }
}

static void hand_over(struct http_client *client, curl_socket_t fd, int events)
{
    int running;
    curl_multi_socket_action(client->multi, fd, events, &running);
    collect(client);
    set_timer(client);
}

// ---- calls

static CURL *easy_new(struct http_call *call)
{
    const struct http_client_options *options = &call->client->options;
    CURL *easy = curl_easy_init();
    must(easy);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, (char *)call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->problem);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    // A look-up that does not end is left to its thread; else giving it up would wait for it, and the loop with it.
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2); // and newer
    curl_easy_setopt(easy, CURLOPT_USERAGENT, options->user_agent);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_ms);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_S);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BUFFER);
    if (options->ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    // The connection outlives the call: its end is told to the client.
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->client);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_attempt);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, call);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
    return easy;
}

static struct http_call *call_take(struct http_client *client)
{
    struct http_call *call = client->spare;
    if (call) {
        DL_DELETE(client->spare, call);
        client->spare_calls--;
        return call;
    }
    call = mem_new_of(struct http_call);
    call->client = client;
    call->easy = easy_new(call);
    return call;
}

// As libcurl wants it: "Name: value", or "Name;" where the value is empty.
static char *header_line(struct arena *arena, const struct http_header *header)
{
    size_t n = header->name.n;
    char *line = arena_alloc(arena, n + 2 + header->value.n + 1);
    memcpy(line, header->name.p, n);
    line[n++] = header->value.n ? ':' : ';';
    if (header->value.n) {
        line[n++] = ' ';
        memcpy(line + n, header->value.p, header->value.n);
        n += header->value.n;
    }
    for (size_t i = 0; i < n; i++) // a line break would be a header of somebody else's making
        if ((unsigned char)line[i] < ' ')
            line[i] = ' ';
    return line;
}

// libcurl only reads the list, so it lies in the arena like all else of the call.
static void set_headers(struct http_call *call, const struct http_request *request)
{
    static char no_expect[] = "Expect:", no_type[] = "Content-Type:"; // not what libcurl would add by itself
    struct curl_slist *lines = arena_alloc(&call->arena, (request->header_count + 2) * sizeof *lines);
    size_t count = 0;
    for (; count < request->header_count; count++)
        lines[count].data = header_line(&call->arena, &request->headers[count]);
    if (body_size(call) >= EXPECT_FROM)
        lines[count++].data = no_expect;
    if (!http_header_count(request->headers, request->header_count, "content-type"))
        lines[count++].data = no_type;
    for (size_t i = 0; i + 1 < count; i++)
        lines[i].next = &lines[i + 1];
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, count ? lines : NULL);
}

static void set_method(struct http_call *call, struct str method)
{
    bool is_post = str_eq_c(method, "POST"), is_get = str_eq_c(method, "GET");
    bool has_body = body_size(call) > 0 || is_post || str_eq_c(method, "PUT") || str_eq_c(method, "PATCH");
    curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->parts.count ? NULL : call->body.p);
    if (str_eq_c(method, "HEAD")) {
        curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
    } else if (has_body) {
        curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body_size(call));
    } else {
        curl_easy_setopt(call->easy, CURLOPT_HTTPGET, 1L);
    }
    bool is_plain = is_get ? !has_body : is_post || str_eq_c(method, "HEAD"); // libcurl has the word itself
    curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, is_plain ? NULL : arena_str(&call->arena, method).p);
    call->is_idempotent = is_get || str_eq_c(method, "HEAD");
}

// What cannot be read is left to libcurl, which says so when its turn comes.
static void set_url(struct http_call *call, struct str url)
{
    const unsigned as_libcurl = CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME;
    call->is_http = str_starts(url, STR("http://")) || str_starts(url, STR("https://"));
    if (call->url && str_eq_c(url, call->url))
        return;
    free(call->url);
    call->url = mem_dup(url.p, url.n);
    curl_url_cleanup(call->parsed);
    call->parsed = curl_url();
    must(call->parsed);
    bool readable = curl_url_set(call->parsed, CURLUPART_URL, call->url, as_libcurl) == CURLUE_OK;
    curl_easy_setopt(call->easy, CURLOPT_URL, call->url);
    curl_easy_setopt(call->easy, CURLOPT_CURLU, readable ? call->parsed : NULL);
}

static void set_body(struct http_call *call, const struct http_request *request)
{
    const struct http_client_options *options = &call->client->options;
    call->body = request->body.n ? arena_str(&call->arena, request->body) : STR("");
    if (!request->part_count)
        return;
    http_body_init(&call->parts, request->parts, request->part_count, &call->arena);
    call->parts.read_file = options->read_file;
    call->parts.read_file_arg = options->read_file_arg;
}

// With the first call: it has descriptors of its own (a pair of sockets), and many clients are never called.
static CURLM *multi_get(struct http_client *client)
{
    const struct http_client_options *options = &client->options;
    if (client->multi)
        return client->multi;
    client->multi = curl_multi_init();
    must(client->multi);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)options->max_connections);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)options->max_connections);
    curl_multi_setopt(client->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)options->max_per_host);
    return client->multi;
}

struct http_call *http_client_fetch(struct http_client *client, const struct http_request *request, int64_t timeout_ms,
                                    const struct http_sink *sink,
                                    void (*done)(void *arg, const struct http_response *response), void *arg)
{
    struct http_call *call = call_take(client);
    call->done = done;
    call->arg = arg;
    if (sink)
        call->sink = *sink;
    set_body(call, request);
    set_extras(call);
    buf_init(&call->answer_body, client->options.max_body);
    set_method(call, request->method);
    set_headers(call, request);
    set_url(call, request->target);
    curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)(timeout_ms > 0 ? timeout_ms : 1));
    DL_APPEND(client->calls, call);
    client->open_calls++;
    must(curl_multi_add_handle(multi_get(client), call->easy) == CURLM_OK);
    wake_in(client, 0);
    return call;
}

struct http_call *http_client_send(struct http_client *client, const struct http_request *request, int64_t timeout_ms,
                                   void (*done)(void *arg, const struct http_response *response), void *arg)
{
    return http_client_fetch(client, request, timeout_ms, NULL, done, arg);
}

void http_call_cancel(struct http_call *call)
{
    struct http_response response = {
        .failure = HTTP_CANCELLED,
        .written = may_be_written(call),
        .error = STR("cancelled"),
    };
    call_end(call, &response);
}

size_t http_client_open_calls(const struct http_client *client)
{
    return client->open_calls;
}

// ---- the client's life

static void curl_set_up(void)
{
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
}

struct http_client *http_client_new(struct loop *loop, const struct http_client_options *options)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, curl_set_up);
    struct http_client *client = mem_new_of(struct http_client);
    client->loop = loop;
    client->options = *options;
    uv_timer_init(loop_uv(loop), &client->timer);
    client->timer.data = client;
    client->handles = 1;
    return client;
}

static void on_timer_closed(uv_handle_t *handle)
{
    client_handle_closed(handle->data);
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    while (client->calls)
        http_call_cancel(client->calls);
    while (client->spare) {
        struct http_call *call = client->spare;
        DL_DELETE(client->spare, call);
        call_free(call);
    }
    curl_multi_cleanup(client->multi);
    struct watch *watch, *next;
    HASH_ITER(hh, client->watches, watch, next)
    watch_close(watch);
    client->freed = true;
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}
