// The load generator: POSTs webhooks over N keep-alive connections and prints one JSON object about the answers.
//
// Closed loop (default): each connection sends its next message when the one before is answered. Open loop (--rate): message i is
// due at start + i / rate, and its latency counts from there, also when its connection was still busy (no coordinated omission).
//
// Order. A lane (conversation) belongs to one connection, which has one request unanswered at a time, so the serials of a lane are
// accepted in their order and the sink can tell what was reordered. A message that is not answered 2xx (503, a broken connection)
// is sent again, unchanged, as platforms do; that must not make a second one of it. At the end --counts writes how many of each
// lane were acknowledged; those the sink must have.
//
// One thread, epoll, one send and one recv per message.
#include "bench/support/answer.h"
#include "bench/support/histogram.h"
#include "bench/support/load_options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    AGAIN_MS = 20, // pause before a message is sent again
};

enum conn_state {
    CONN_IDLE,    // connected, nothing asked
    CONN_ASKED,   // a request is on its way, or not all of it is written yet
    CONN_AGAIN,   // the request was refused or lost: it leaves again at again_ns, over a new connection if need be
    CONN_FINISHED // its share is sent and answered
};

struct conn {
    int fd; // -1: not connected
    enum conn_state state;
    bool writing; // waits for room in the socket
    uint32_t number;
    uint32_t lane;  // of the message at hand, counted from the first
    uint32_t owed;  // open loop: messages that are due and not sent
    uint64_t count; // messages begun
    uint64_t meant_ns;
    uint64_t again_ns;
    size_t written;
    size_t answer_n;
    struct request request;
    char *answer;
};

static struct load_options options;

static struct {
    int epoll;
    struct conn *conn;
    uint32_t *acknowledged; // by lane, counted from the first
    struct request_key key;
    uint64_t start_ns, stop_ns, last_answer_ns;
    uint64_t due;   // open loop: messages that have become due
    uint64_t begun; // distinct messages
    uint64_t answered, sends, again, broken, malformed;
    uint64_t status[600];
    uint32_t unfinished; // connections
    uint32_t waiting;    // connections in CONN_AGAIN
    struct histogram latency;
} load;

_Noreturn static void fail(const char *what)
{
    fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static void watch(struct conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(load.epoll, operation, conn->fd, &event))
        fail("epoll_ctl");
}

static bool conn_open(struct conn *conn)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        fail("socket");
    // Connecting blocks, which on the loopback is no time; sending and receiving do not (MSG_DONTWAIT).
    if (connect(conn->fd, (struct sockaddr *)&address, sizeof(address))) {
        close(conn->fd);
        conn->fd = -1;
        return false;
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    conn->writing = false;
    watch(conn, EPOLL_CTL_ADD, EPOLLIN);
    return true;
}

static void conn_close(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
}

static void conn_again(struct conn *conn)
{
    conn->state = CONN_AGAIN;
    conn->again_ns = mark_now_ns() + AGAIN_MS * 1000000ULL;
    conn->written = conn->answer_n = 0;
    load.again++;
    load.waiting++;
}

static void conn_broken(struct conn *conn)
{
    conn_close(conn);
    load.broken++;
    if (conn->state == CONN_ASKED)
        conn_again(conn);
}

static void conn_write(struct conn *conn)
{
    while (conn->written < conn->request.n) {
        ssize_t n = send(conn->fd, conn->request.p + conn->written, conn->request.n - conn->written,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!conn->writing)
                watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            conn->writing = true;
            return;
        }
        if (n < 0) {
            conn_broken(conn);
            return;
        }
        conn->written += (size_t)n;
    }
    load.sends++;
    if (conn->writing)
        watch(conn, EPOLL_CTL_MOD, EPOLLIN);
    conn->writing = false;
}

// The lanes of a connection: its number, and every so many above it.
static uint32_t next_lane(const struct conn *conn)
{
    uint64_t lanes = (options.lanes - conn->number + options.connections - 1) / options.connections;
    return conn->number + (uint32_t)(conn->count % lanes) * options.connections;
}

// The share of --count that is a connection's own.
static uint64_t share(const struct conn *conn)
{
    return options.count / options.connections + (conn->number < options.count % options.connections);
}

static bool has_more(const struct conn *conn, uint64_t now)
{
    if (options.count)
        return conn->count < share(conn);
    return now < load.stop_ns || conn->owed > 0;
}

static void begin_message(struct conn *conn, uint64_t meant_ns, uint64_t now)
{
    static uint64_t wall_read_ns;
    static int64_t wall_s;
    if (now - wall_read_ns > 100000000U) {
        wall_s = time(NULL);
        wall_read_ns = now;
    }
    conn->lane = next_lane(conn);
    conn->count++;
    conn->meant_ns = meant_ns;
    conn->state = CONN_ASKED;
    conn->written = conn->answer_n = 0;
    request_fill(&conn->request, &(struct request_values){
                                     .mark = {.lane = options.first_lane + conn->lane,
                                              .serial = load.acknowledged[conn->lane] + 1,
                                              .sent_ns = meant_ns},
                                     .account = conn->lane % options.request.accounts,
                                     .number = (uint32_t)load.begun,
                                     .wall_s = wall_s,
                                 });
    request_sign(&conn->request, &load.key);
    load.begun++;
    if (conn->fd < 0 && !conn_open(conn))
        conn_again(conn);
    else
        conn_write(conn);
}

static void conn_finish(struct conn *conn)
{
    conn->state = CONN_FINISHED;
    load.unfinished--;
}

// What an idle connection does next.
static void conn_next(struct conn *conn, uint64_t now)
{
    conn->state = CONN_IDLE;
    if (!has_more(conn, now))
        conn_finish(conn);
    else if (options.rate == 0)
        begin_message(conn, now, now);
    else if (conn->owed > 0) {
        uint64_t i = conn->number + conn->count * options.connections;
        conn->owed--;
        begin_message(conn, load.start_ns + (uint64_t)((double)i * 1e9 / options.rate), now);
    }
}

static void answered(struct conn *conn, uint32_t status, bool closing)
{
    uint64_t now = mark_now_ns();
    load.status[status < 600 ? status : 599]++;
    conn->answer_n = 0;
    if (closing)
        conn_close(conn);
    if (status < 200 || status > 299) {
        conn_again(conn);
        return;
    }
    load.answered++;
    load.acknowledged[conn->lane]++;
    load.last_answer_ns = now;
    histogram_add(&load.latency, now - conn->meant_ns);
    conn_next(conn, now);
}

static void conn_read(struct conn *conn)
{
    struct answer answer;
    ssize_t n = recv(conn->fd, conn->answer + conn->answer_n, ANSWER_MAX - conn->answer_n, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_broken(conn);
        return;
    }
    conn->answer_n += (size_t)n;
    conn->answer[conn->answer_n] = 0;
    if (!answer_parse(conn->answer, conn->answer_n, &answer))
        return;
    if (conn->state != CONN_ASKED || answer.status == 0 || answer.whole_n != conn->answer_n) {
        load.malformed++;
        conn_broken(conn);
        return;
    }
    answered(conn, answer.status, answer.closing);
}

static void on_event(struct conn *conn, uint32_t events)
{
    if (conn->fd >= 0 && events & EPOLLOUT)
        conn_write(conn);
    if (conn->fd >= 0 && events & ~(uint32_t)EPOLLOUT)
        conn_read(conn);
}

// Messages that were refused or lost leave again.
static void send_again(uint64_t now)
{
    for (uint32_t i = 0; i < options.connections && load.waiting; i++) {
        struct conn *conn = &load.conn[i];
        if (conn->state != CONN_AGAIN || conn->again_ns > now)
            continue;
        if (conn->fd < 0 && !conn_open(conn)) {
            conn->again_ns = now + AGAIN_MS * 1000000ULL;
            continue;
        }
        load.waiting--;
        conn->state = CONN_ASKED;
        conn_write(conn);
    }
}

// Open loop: hands out what has become due. Returns when the next one is.
static uint64_t hand_out(uint64_t now)
{
    for (;;) {
        uint64_t at = load.start_ns + (uint64_t)((double)load.due * 1e9 / options.rate);
        if (at > now || (options.count ? load.due >= options.count : at >= load.stop_ns))
            return at;
        struct conn *conn = &load.conn[load.due++ % options.connections];
        conn->owed++;
        if (conn->state == CONN_IDLE)
            conn_next(conn, now);
    }
}

static void finish_idle(uint64_t now)
{
    for (uint32_t i = 0; i < options.connections; i++)
        if (load.conn[i].state == CONN_IDLE && !has_more(&load.conn[i], now))
            conn_finish(&load.conn[i]);
}

static struct timespec until(uint64_t now, uint64_t at)
{
    uint64_t ns = at > now ? at - now : 0;
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000U), .tv_nsec = (long)(ns % 1000000000U)};
}

static void run(void)
{
    struct epoll_event events[EVENTS];
    load.start_ns = load.last_answer_ns = mark_now_ns();
    load.stop_ns = options.count ? UINT64_MAX : load.start_ns + (uint64_t)(options.seconds * 1e9);
    for (uint32_t i = 0; i < options.connections && options.rate == 0; i++)
        conn_next(&load.conn[i], mark_now_ns());
    while (load.unfinished) {
        uint64_t now = mark_now_ns();
        uint64_t wake = now + 100000000U;
        if (options.rate > 0) {
            uint64_t due = hand_out(now);
            wake = due > now && due < wake ? due : wake;
            finish_idle(now);
        }
        if (load.waiting) {
            send_again(now);
            wake = wake < now + 5000000U ? wake : now + 5000000U;
        }
        if (now > load.last_answer_ns + (uint64_t)(options.patience_s * 1e9))
            break;
        struct timespec timeout = until(now, wake);
        int n = epoll_pwait2(load.epoll, events, EVENTS, &timeout, NULL);
        if (n < 0 && errno != EINTR)
            fail("epoll_pwait2");
        for (int i = 0; i < n; i++)
            on_event(events[i].data.ptr, events[i].events);
    }
}

static void print_report(void)
{
    struct rusage usage;
    double seconds = (double)(load.last_answer_ns - load.start_ns) / 1e9;
    getrusage(RUSAGE_SELF, &usage);
    double cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                   (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"messages\":%llu,\"answered\":%llu,\"sends\":%llu,\"again\":%llu,\"broken\":%llu,\"malformed\":%llu,"
           "\"unanswered\":%llu,\"status\":{",
           (unsigned long long)load.begun, (unsigned long long)load.answered, (unsigned long long)load.sends,
           (unsigned long long)load.again, (unsigned long long)load.broken, (unsigned long long)load.malformed,
           (unsigned long long)(load.begun - load.answered));
    const char *comma = "";
    for (uint32_t i = 0; i < 600; i++)
        if (load.status[i]) {
            printf("%s\"%u\":%llu", comma, i, (unsigned long long)load.status[i]);
            comma = ",";
        }
    printf("},\"seconds\":%.6f,\"rate\":%.1f,\"request_bytes\":%zu,\"latency_us\":", seconds,
           seconds > 0 ? (double)load.answered / seconds : 0, load.conn[0].request.n);
    histogram_print(&load.latency, stdout);
    printf(",\"first_send_ns\":%llu,\"last_answer_ns\":%llu,\"cpu_us_per_message\":%.2f}\n",
           (unsigned long long)load.start_ns, (unsigned long long)load.last_answer_ns,
           load.answered ? cpu_s * 1e6 / (double)load.answered : 0);
}

static void write_counts(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        fail(path);
    for (uint32_t lane = 0; lane < options.lanes; lane++)
        fprintf(file, "%u %u\n", options.first_lane + lane, load.acknowledged[lane]);
    if (fclose(file))
        fail(path);
}

// Lanes that this run does not have are another's.
static void read_counts(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[64];
    if (!file)
        fail(path);
    while (fgets(line, sizeof(line), file)) {
        uint64_t lane, count;
        const char *p = line;
        const char *end = line + strlen(line);
        if (!mark_number(&p, end, MARK_LANES_MAX, &lane) || !mark_number(&p, end, 999999999, &count))
            fail("--after: not what --counts writes");
        if (lane >= options.first_lane && lane - options.first_lane < options.lanes)
            load.acknowledged[lane - options.first_lane] = (uint32_t)count;
    }
    fclose(file);
}

static void load_init(void)
{
    char host[32];
    struct request template;
    snprintf(host, sizeof(host), "127.0.0.1:%u", options.port);
    options.request.host = host;
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.conn = calloc(options.connections, sizeof(*load.conn));
    load.acknowledged = calloc(options.lanes, sizeof(*load.acknowledged));
    if (load.epoll < 0 || !load.conn || !load.acknowledged)
        fail("starting");
    if (options.after)
        read_counts(options.after);
    request_init(&template, &options.request);
    load.unfinished = options.connections;
    for (uint32_t i = 0; i < options.connections; i++) {
        struct conn *conn = &load.conn[i];
        conn->number = i;
        conn->answer = malloc(ANSWER_MAX + 1);
        if (!conn->answer)
            fail("starting");
        request_copy(&conn->request, &template);
        conn->fd = -1;
        conn_open(conn); // where nobody listens yet, a message's turn tries again
    }
    request_free(&template);
}

static void load_done(void)
{
    for (uint32_t i = 0; i < options.connections; i++) {
        conn_close(&load.conn[i]);
        request_free(&load.conn[i].request);
        free(load.conn[i].answer);
    }
    request_key_done(&load.key);
    free(load.acknowledged);
    free(load.conn);
    close(load.epoll);
}

int main(int argc, char **argv)
{
    load_options_read(argc, argv, &options);
    errno = 0;
    if (options.request.secret && strcmp(options.request.shape, "webhook") == 0 &&
        !request_key_init(&load.key, options.request.secret))
        fail("--secret of a webhook is whsec_ and base64 of 24 to 64 bytes");
    load_init();
    run();
    print_report();
    if (options.counts)
        write_counts(options.counts);
    load_done();
    return load.answered == load.begun ? 0 : 1;
}
