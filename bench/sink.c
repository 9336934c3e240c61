// The sink: an HTTP server that stands for a signed-webhook desk. It takes every POST with 200 (after --delay-ms, if any), reads the
// mark (mark.h) out of the body and keeps book: what of each lane came, what came twice, what came late.
//
//   HEAD /...          200: the desk is well
//   POST /...          200; the body counts
//   POST /expect       body of "lane count" lines: the serials 1..count of the lane must have come (the generator writes them)
//   POST /reset        forgets everything
//   GET  /report       JSON:
//     received    different messages         duplicated  deliveries of a message that had come before
//     reordered   messages that came first after a later one of their lane
//     lost        expected and not here; without /expect: holes before the last serial of a lane
//     unexpected  here and not expected: taken in, but the generator never saw the answer
//     malformed   requests without a readable mark          first_ns, last_ns  monotonic time of the first and last arrival
//     latency_us  from the time in the mark to the arrival
//
// One thread, epoll. It prints {"port": N} when it listens. A delay is the same for every answer, so answers wait in one queue.
#include "histogram.h"
#include "mark.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    HEAD_MAX = 32 * 1024,
    BODY_MAX = 128 << 20, // of /expect with millions of lanes
    IN_FIRST = 4096,
    LOST_SHOWN = 20,
};

struct lane {
    uint64_t *seen; // one bit a serial
    uint32_t size;  // bits there are
    uint32_t last;  // highest serial that came
    uint32_t count; // different ones that came
    uint32_t expected;
};

struct conn {
    int fd;
    bool dead;    // closed while its answer waited: freed when that comes up
    bool closing; // after this answer
    bool writing; // waits for room in the socket
    char *in;
    size_t in_n, in_size;
    const char *out; // NULL: no answer under way
    char *out_owned; // what of it must be freed
    size_t out_n, out_written;
    uint64_t due_ns; // when the answer may leave; 0: it does not wait
    struct conn *next_due;
};

struct request {
    const char *method, *path, *body;
    size_t method_n, path_n, body_n;
    size_t whole_n; // bytes of the buffer that it takes
    bool expect_continue, closing, bad;
};

static struct {
    int epoll;
    uint64_t delay_ns;
    struct conn *first_due, **last_due;
    struct lane *lane;
    size_t lanes;
    bool told; // what to expect
    uint64_t deliveries, received, duplicated, reordered, malformed, probes, bytes;
    uint64_t first_ns, last_ns;
    uint32_t connections, connections_max;
    struct histogram latency;
} sink = {.last_due = &sink.first_due};

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "sink: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static void *resized(void *p, size_t size)
{
    p = realloc(p, size);
    if (!p)
        fail("memory");
    return p;
}

// --- The book

static struct lane *lane_get(uint32_t number)
{
    if (number >= sink.lanes) {
        size_t lanes = sink.lanes ? sink.lanes : 1024;
        while (lanes <= number)
            lanes *= 2;
        sink.lane = resized(sink.lane, lanes * sizeof(*sink.lane));
        memset(sink.lane + sink.lanes, 0, (lanes - sink.lanes) * sizeof(*sink.lane));
        sink.lanes = lanes;
    }
    return &sink.lane[number];
}

static bool lane_has(const struct lane *lane, uint32_t serial)
{
    return serial < lane->size && lane->seen[serial / 64] >> (serial % 64) & 1;
}

static void lane_add(struct lane *lane, uint32_t serial)
{
    if (serial >= lane->size) {
        uint32_t size = lane->size ? lane->size : 256;
        while (size <= serial)
            size *= 2;
        lane->seen = resized(lane->seen, size / 8);
        memset((char *)lane->seen + lane->size / 8, 0, (size - lane->size) / 8);
        lane->size = size;
    }
    lane->seen[serial / 64] |= 1ULL << (serial % 64);
    lane->count++;
}

static void count_message(const char *body, size_t n)
{
    struct mark mark;
    uint64_t now = mark_now_ns();
    if (!mark_find(body, n, &mark)) {
        sink.malformed++;
        return;
    }
    sink.deliveries++;
    sink.bytes += n;
    sink.last_ns = now;
    if (!sink.first_ns)
        sink.first_ns = now;
    struct lane *lane = lane_get(mark.lane);
    if (lane_has(lane, mark.serial)) {
        sink.duplicated++;
        return;
    }
    sink.received++;
    if (mark.serial < lane->last)
        sink.reordered++;
    else
        lane->last = mark.serial;
    lane_add(lane, mark.serial);
    histogram_add(&sink.latency, now > mark.sent_ns ? now - mark.sent_ns : 0);
}

static void reset(void)
{
    for (size_t i = 0; i < sink.lanes; i++)
        free(sink.lane[i].seen);
    free(sink.lane);
    sink.lane = NULL;
    sink.lanes = 0;
    sink.told = false;
    sink.deliveries = sink.received = sink.duplicated = sink.reordered = sink.malformed = sink.probes = sink.bytes = 0;
    sink.first_ns = sink.last_ns = 0;
    memset(&sink.latency, 0, sizeof(sink.latency));
}

static bool expect(const char *body, size_t n)
{
    const char *end = body + n;
    for (const char *p = body; p < end;) {
        uint64_t lane, count;
        if (!mark_number(&p, end, MARK_LANES_MAX, &lane) || !mark_number(&p, end, 999999999, &count))
            return false;
        lane_get((uint32_t)lane)->expected = (uint32_t)count;
        if (p < end && *p++ != '\n')
            return false;
    }
    sink.told = true;
    return true;
}

// Writes the list of the first lost ones and counts all, those of one lane up to and with `upto`.
static void count_lost(uint32_t number, uint32_t upto, FILE *out, uint64_t *lost)
{
    const struct lane *lane = &sink.lane[number];
    for (uint32_t serial = 1; serial <= upto; serial++) {
        if (lane_has(lane, serial))
            continue;
        if (*lost < LOST_SHOWN)
            fprintf(out, "%s\"%u/%u\"", *lost ? "," : "", number, serial);
        (*lost)++;
    }
}

static char *report(size_t *n)
{
    char *text = NULL;
    uint64_t lost = 0, expected = 0, unexpected = 0;
    struct rusage usage;
    FILE *out = open_memstream(&text, n);
    if (!out)
        fail("memory");
    fputs("{\"lost_first\":[", out);
    for (size_t i = 0; i < sink.lanes; i++) {
        struct lane *lane = &sink.lane[i];
        expected += lane->expected;
        uint32_t upto = sink.told ? lane->expected : lane->last;
        uint64_t before = lost;
        if (lane->count < upto || lane->last > upto)
            count_lost((uint32_t)i, upto, out, &lost);
        if (sink.told)
            unexpected += lane->count - (upto - (lost - before));
    }
    fprintf(out, "],\"lost\":%llu,\"expected\":", (unsigned long long)lost);
    fprintf(out, sink.told ? "%llu" : "null", (unsigned long long)expected);
    getrusage(RUSAGE_SELF, &usage);
    fprintf(out,
            ",\"unexpected\":%llu,\"received\":%llu,\"deliveries\":%llu,\"duplicated\":%llu,\"reordered\":%llu,"
            "\"malformed\":%llu,\"probes\":%llu,\"bytes\":%llu,\"first_ns\":%llu,\"last_ns\":%llu,\"connections\":%u,"
            "\"connections_max\":%u,\"cpu_s\":%.3f,\"latency_us\":",
            (unsigned long long)unexpected, (unsigned long long)sink.received, (unsigned long long)sink.deliveries,
            (unsigned long long)sink.duplicated, (unsigned long long)sink.reordered, (unsigned long long)sink.malformed,
            (unsigned long long)sink.probes, (unsigned long long)sink.bytes, (unsigned long long)sink.first_ns,
            (unsigned long long)sink.last_ns, sink.connections, sink.connections_max,
            (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    histogram_print(&sink.latency, out);
    fputs("}\n", out);
    if (fclose(out))
        fail("memory");
    return text;
}

// --- HTTP

static bool word_is(const char *p, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(p, word, n) == 0;
}

static void read_header(const char *line, size_t n, struct request *out, bool *chunked)
{
    if (n > 15 && strncasecmp(line, "content-length:", 15) == 0)
        out->body_n = strtoul(line + 15, NULL, 10);
    else if (n >= 17 && strncasecmp(line, "connection: close", 17) == 0)
        out->closing = true;
    else if (n > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0)
        *chunked = true;
    else if (n > 7 && strncasecmp(line, "expect:", 7) == 0)
        out->expect_continue = true;
}

// True when a whole request (or one that cannot be one) stands at the beginning of the buffer. When only its head is there,
// whole_n and expect_continue are set already. It knows Content-Length only; the relay knows its bodies.
static bool parse(const struct conn *conn, struct request *out)
{
    const char *p = conn->in;
    const char *end = memmem(p, conn->in_n, "\r\n\r\n", 4);
    bool chunked = false;
    *out = (struct request){0};
    if (!end) {
        out->bad = conn->in_n > HEAD_MAX;
        return out->bad;
    }
    const char *line_end = memchr(p, '\r', conn->in_n);
    const char *space = memchr(p, ' ', (size_t)(line_end - p));
    const char *second = space ? memchr(space + 1, ' ', (size_t)(line_end - space - 1)) : NULL;
    if (!second) {
        out->bad = true;
        return true;
    }
    out->method = p;
    out->method_n = (size_t)(space - p);
    out->path = space + 1;
    out->path_n = (size_t)(second - space - 1);
    while (line_end < end) {
        const char *line = line_end + 2;
        line_end = memchr(line, '\r', (size_t)(end + 1 - line));
        read_header(line, (size_t)(line_end - line), out, &chunked);
    }
    out->body = end + 4;
    out->whole_n = (size_t)(out->body - p) + out->body_n;
    out->bad = chunked || out->body_n > BODY_MAX;
    return out->bad || conn->in_n >= out->whole_n;
}

static const char answer_ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
static const char answer_bad[] = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
static const char answer_continue[] = "HTTP/1.1 100 Continue\r\n\r\n";

static void conn_free(struct conn *conn)
{
    free(conn->in);
    free(conn->out_owned);
    free(conn);
}

static void conn_close(struct conn *conn)
{
    close(conn->fd);
    sink.connections--;
    if (conn->due_ns)
        conn->dead = true;
    else
        conn_free(conn);
}

static void watch(struct conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(sink.epoll, operation, conn->fd, &event))
        fail("epoll_ctl");
}

// False: the connection is gone.
static bool conn_write(struct conn *conn)
{
    while (conn->out_written < conn->out_n) {
        ssize_t n = send(conn->fd, conn->out + conn->out_written, conn->out_n - conn->out_written,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!conn->writing)
                watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            conn->writing = true;
            return true;
        }
        if (n < 0) {
            conn_close(conn);
            return false;
        }
        conn->out_written += (size_t)n;
    }
    if (conn->writing)
        watch(conn, EPOLL_CTL_MOD, EPOLLIN);
    conn->writing = false;
    free(conn->out_owned);
    conn->out = conn->out_owned = NULL;
    if (conn->closing) {
        conn_close(conn);
        return false;
    }
    return true;
}

static void set_answer(struct conn *conn, const char *answer)
{
    conn->out = answer;
    conn->out_n = strlen(answer);
    conn->out_written = 0;
}

static void answer_report(struct conn *conn)
{
    size_t n, all_n;
    char *body = report(&n);
    FILE *out = open_memstream(&conn->out_owned, &all_n);
    if (!out)
        fail("memory");
    fprintf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", n, body);
    if (fclose(out))
        fail("memory");
    free(body);
    set_answer(conn, conn->out_owned);
}

// Does what the request asks and prepares the answer, which may have to wait.
static void handle(struct conn *conn, const struct request *request)
{
    bool post = word_is(request->method, request->method_n, "POST");
    conn->closing = request->closing;
    if (word_is(request->method, request->method_n, "HEAD")) {
        sink.probes++;
        set_answer(conn, answer_ok);
    } else if (post && word_is(request->path, request->path_n, "/expect")) {
        set_answer(conn, expect(request->body, request->body_n) ? answer_ok : answer_bad);
    } else if (post && word_is(request->path, request->path_n, "/reset")) {
        reset();
        set_answer(conn, answer_ok);
    } else if (post) {
        count_message(request->body, request->body_n);
        set_answer(conn, answer_ok);
        if (sink.delay_ns) {
            conn->due_ns = mark_now_ns() + sink.delay_ns;
            conn->next_due = NULL;
            *sink.last_due = conn;
            sink.last_due = &conn->next_due;
        }
    } else if (word_is(request->path, request->path_n, "/report")) {
        answer_report(conn);
    } else {
        set_answer(conn, answer_bad);
        conn->closing = true;
    }
}

// Takes request after request out of the buffer until one is not whole or its answer has to wait.
static void conn_serve(struct conn *conn)
{
    struct request request;
    while (!conn->out && conn->in_n) {
        if (!parse(conn, &request)) {
            if (request.expect_continue && conn->in_n == (size_t)(request.body - conn->in))
                (void)!send(conn->fd, answer_continue, strlen(answer_continue), MSG_NOSIGNAL);
            if (request.whole_n > conn->in_size) {
                conn->in_size = request.whole_n;
                conn->in = resized(conn->in, conn->in_size);
            }
            return;
        }
        if (request.bad) {
            sink.malformed++;
            set_answer(conn, answer_bad);
            conn->closing = true;
            request.whole_n = conn->in_n;
        } else {
            handle(conn, &request);
        }
        conn->in_n -= request.whole_n;
        memmove(conn->in, conn->in + request.whole_n, conn->in_n);
        if (!conn->due_ns && !conn_write(conn))
            return;
    }
}

static void conn_read(struct conn *conn)
{
    if (conn->in_n == conn->in_size) {
        conn->in_size = conn->in_size ? conn->in_size * 2 : IN_FIRST;
        conn->in = resized(conn->in, conn->in_size);
    }
    ssize_t n = recv(conn->fd, conn->in + conn->in_n, conn->in_size - conn->in_n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_close(conn);
        return;
    }
    conn->in_n += (size_t)n;
    conn_serve(conn);
}

static void on_event(struct conn *conn, uint32_t events)
{
    if (conn->dead)
        return;
    if (events & EPOLLOUT) {
        if (!conn_write(conn))
            return;
        if (!conn->out)
            conn_serve(conn);
    } else {
        conn_read(conn);
    }
}

static void conn_new(int fd)
{
    int one = 1;
    struct conn *conn = calloc(1, sizeof(*conn));
    if (!conn)
        fail("memory");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    sink.connections++;
    sink.connections_max = sink.connections > sink.connections_max ? sink.connections : sink.connections_max;
    conn->fd = fd;
    watch(conn, EPOLL_CTL_ADD, EPOLLIN);
} // NOLINT(clang-analyzer-unix.Malloc): epoll holds the connection

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        conn_new(fd);
    }
}

// Lets the answers go whose delay is over. How long until the next, or -1.
static int64_t answer_due(void)
{
    while (sink.first_due) {
        struct conn *conn = sink.first_due;
        uint64_t now = mark_now_ns();
        if (conn->due_ns > now)
            return (int64_t)(conn->due_ns - now);
        sink.first_due = conn->next_due;
        if (!sink.first_due)
            sink.last_due = &sink.first_due;
        conn->due_ns = 0;
        if (conn->dead)
            conn_free(conn);
        else if (conn_write(conn))
            conn_serve(conn);
    }
    return -1;
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(address);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &n))
        fail("listening");
    printf("{\"port\": %u}\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, NULL, 'p'}, {"delay-ms", 1, NULL, 'd'}, {NULL, 0, NULL, 0}};
    struct epoll_event events[EVENTS];
    uint16_t port = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'p')
            port = (uint16_t)strtoul(optarg, NULL, 10);
        else if (option == 'd')
            sink.delay_ns = (uint64_t)(strtod(optarg, NULL) * 1e6);
        else {
            fputs("usage: sink [--port PORT] [--delay-ms MS]\n", stderr);
            return 2;
        }
    }
    sink.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (sink.epoll < 0)
        fail("epoll");
    int listener = listen_on(port);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(sink.epoll, EPOLL_CTL_ADD, listener, &listening))
        fail("epoll");
    for (;;) {
        int64_t wait_ns = answer_due();
        struct timespec timeout = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
        int n = epoll_pwait2(sink.epoll, events, EVENTS, wait_ns < 0 ? NULL : &timeout, NULL);
        if (n < 0 && errno != EINTR)
            fail("epoll_pwait2");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr)
                on_event(events[i].data.ptr, events[i].events);
            else
                accept_all(listener);
        }
    }
}
