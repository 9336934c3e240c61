#include "bench/support/peers.h"
#include "bench/support/mark.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS = 256,
    HEAD_MAX = 32 * 1024,
    BODY_MAX = 128 << 20, // of /expect with millions of lanes
    IN_FIRST = 4096,
};

struct peer {
    int fd;
    SSL *ssl;        // NULL: no TLS
    bool dead;       // closed while its answer waited: freed when that comes up
    bool answering;  // an answer is under way; what came behind its request waits
    bool writing;    // waits for room in the socket
    uint64_t due_ns; // when the answer may leave; 0: it does not wait
    size_t out_written;
    char *in;
    size_t in_n, in_size;
    struct peer_answer out;
    struct peer *next_due;
};

// A request in the buffer of its peer.
struct incoming {
    struct peer_request request;
    size_t whole_n; // bytes of the buffer that it takes
    bool expect_continue, closing, chunked, bad;
};

static struct {
    struct peers_options options;
    SSL_CTX *tls;
    int epoll;
    struct peer *first_due, **last_due;
    struct peers_counts count;
} peers = {.last_due = &peers.first_due};

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

struct peers_counts peers_counts(void)
{
    return peers.count;
}

// --- Requests and answers

static bool word_is(const char *p, size_t n, const char *word)
{
    return n == strlen(word) && memcmp(p, word, n) == 0;
}

bool peer_request_is(const struct peer_request *request, const char *method, const char *path)
{
    return word_is(request->method, request->method_n, method) && word_is(request->path, request->path_n, path);
}

bool peer_path_starts(const struct peer_request *request, const char *with)
{
    size_t n = strlen(with);
    return request->path_n >= n && memcmp(request->path, with, n) == 0;
}

void answer_add(struct peer_answer *answer, const char *p, size_t n)
{
    if (answer->n + n > answer->size) {
        answer->size = (answer->n + n) * 2;
        answer->p = resized(answer->p, answer->size);
    }
    memcpy(answer->p + answer->n, p, n);
    answer->n += n;
}

void answer_text(struct peer_answer *answer, const char *text)
{
    answer_add(answer, text, strlen(text));
}

static void read_header(const char *line, size_t n, struct incoming *out)
{
    if (n > 15 && strncasecmp(line, "content-length:", 15) == 0)
        out->request.body_n = strtoul(line + 15, NULL, 10);
    else if (n >= 17 && strncasecmp(line, "connection: close", 17) == 0)
        out->closing = true;
    else if (n > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0)
        out->chunked = true;
    else if (n > 7 && strncasecmp(line, "expect:", 7) == 0)
        out->expect_continue = true;
}

// True when a whole request (or one that cannot be one) stands at the beginning of the buffer. When only its head is there,
// whole_n and expect_continue are set already. It knows Content-Length only; the relay knows its bodies.
static bool parse(const struct peer *peer, struct incoming *out)
{
    const char *p = peer->in;
    const char *end = memmem(p, peer->in_n, "\r\n\r\n", 4);
    *out = (struct incoming){0};
    if (!end) {
        out->bad = peer->in_n > HEAD_MAX;
        return out->bad;
    }
    const char *line_end = memchr(p, '\r', peer->in_n);
    const char *space = memchr(p, ' ', (size_t)(line_end - p));
    const char *second = space ? memchr(space + 1, ' ', (size_t)(line_end - space - 1)) : NULL;
    if (!second) {
        out->bad = true;
        return true;
    }
    out->request = (struct peer_request){
        .method = p, .method_n = (size_t)(space - p), .path = space + 1, .path_n = (size_t)(second - space - 1)};
    while (line_end < end) {
        const char *line = line_end + 2;
        line_end = memchr(line, '\r', (size_t)(end + 1 - line));
        read_header(line, (size_t)(line_end - line), out);
    }
    out->request.body = end + 4;
    out->whole_n = (size_t)(out->request.body - p) + out->request.body_n;
    out->bad = out->chunked || out->request.body_n > BODY_MAX;
    return out->bad || peer->in_n >= out->whole_n;
}

// --- Connections

static void peer_free(struct peer *peer)
{
    free(peer->in);
    free(peer->out.p);
    free(peer);
}

static void peer_close(struct peer *peer)
{
    SSL_free(peer->ssl);
    close(peer->fd);
    peers.count.now--;
    if (peer->due_ns)
        peer->dead = true;
    else
        peer_free(peer);
}

static void watch(struct peer *peer, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(peers.epoll, operation, peer->fd, &event))
        fail("epoll_ctl");
}

// Of a TLS call that did not work: as recv and send say it.
static ssize_t tls_error(SSL *ssl, int code)
{
    int error = SSL_get_error(ssl, code);
    ERR_clear_error();
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static ssize_t peer_send(struct peer *peer, const char *p, size_t n)
{
    if (!peer->ssl)
        return send(peer->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    size_t sent;
    int code = SSL_write_ex(peer->ssl, p, n, &sent);
    return code == 1 ? (ssize_t)sent : tls_error(peer->ssl, code);
}

static ssize_t peer_recv(struct peer *peer, char *p, size_t n)
{
    if (!peer->ssl)
        return recv(peer->fd, p, n, MSG_DONTWAIT);
    size_t received;
    int code = SSL_read_ex(peer->ssl, p, n, &received);
    return code == 1 ? (ssize_t)received : tls_error(peer->ssl, code);
}

// False: the connection is gone.
static bool peer_write(struct peer *peer)
{
    while (peer->out_written < peer->out.n) {
        ssize_t n = peer_send(peer, peer->out.p + peer->out_written, peer->out.n - peer->out_written);
        if (n < 0 && errno == EAGAIN) {
            if (!peer->writing)
                watch(peer, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            peer->writing = true;
            return true;
        }
        if (n <= 0) {
            peer_close(peer);
            return false;
        }
        peer->out_written += (size_t)n;
    }
    if (peer->writing)
        watch(peer, EPOLL_CTL_MOD, EPOLLIN);
    peer->writing = peer->answering = false;
    if (peer->out.closing) {
        peer_close(peer);
        return false;
    }
    return true;
}

static void make_wait(struct peer *peer)
{
    peer->due_ns = mark_now_ns() + peers.options.delay_ns;
    peer->next_due = NULL;
    *peers.last_due = peer;
    peers.last_due = &peer->next_due;
}

static void answer(struct peer *peer, const struct incoming *incoming)
{
    peer->answering = true;
    peer->out_written = 0;
    peer->out.n = 0;
    peer->out.delayed = false;
    peer->out.closing = incoming->closing || incoming->bad;
    if (incoming->bad) {
        peers.options.malformed();
        answer_text(&peer->out, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    } else {
        peers.options.handle(&incoming->request, &peer->out);
    }
    if (peer->out.delayed && peers.options.delay_ns)
        make_wait(peer);
}

// Makes room for all of a request whose head is here, and lets a client go on that asks whether it may.
static void prepare(struct peer *peer, const struct incoming *incoming)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (incoming->expect_continue && peer->in_n == (size_t)(incoming->request.body - peer->in))
        (void)!peer_send(peer, go_on, strlen(go_on));
    if (incoming->whole_n > peer->in_size) {
        peer->in_size = incoming->whole_n;
        peer->in = resized(peer->in, peer->in_size);
    }
}

// Takes request after request out of the buffer until one is not whole or its answer has to wait. False: the connection is gone.
static bool peer_serve(struct peer *peer)
{
    struct incoming incoming;
    while (!peer->answering && peer->in_n) {
        if (!parse(peer, &incoming)) {
            prepare(peer, &incoming);
            return true;
        }
        answer(peer, &incoming);
        peer->in_n -= incoming.bad ? peer->in_n : incoming.whole_n;
        memmove(peer->in, peer->in + incoming.whole_n, peer->in_n);
        if (!peer->due_ns && !peer_write(peer))
            return false;
    }
    return true;
}

static void peer_read(struct peer *peer)
{
    do {
        if (peer->in_n == peer->in_size) {
            peer->in_size = peer->in_size ? peer->in_size * 2 : IN_FIRST;
            peer->in = resized(peer->in, peer->in_size);
        }
        ssize_t n = peer_recv(peer, peer->in + peer->in_n, peer->in_size - peer->in_n);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            peer_close(peer);
            return;
        }
        peer->in_n += (size_t)n;
        if (!peer_serve(peer))
            return;
    } while (peer->ssl && SSL_has_pending(peer->ssl)); // epoll does not know of what OpenSSL has read already
}

static void on_event(struct peer *peer, uint32_t events)
{
    if (peer->dead)
        return;
    if (events & EPOLLOUT) {
        if (peer_write(peer) && !peer->answering)
            peer_serve(peer);
    } else {
        peer_read(peer);
    }
}

static void peer_new(int fd)
{
    int one = 1;
    struct peer *peer = calloc(1, sizeof(*peer));
    if (!peer)
        fail("memory");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (peers.tls) {
        peer->ssl = SSL_new(peers.tls);
        if (!peer->ssl || !SSL_set_fd(peer->ssl, fd))
            fail("TLS");
        SSL_set_accept_state(peer->ssl);
    }
    peers.count.now++;
    peers.count.max = peers.count.now > peers.count.max ? peers.count.now : peers.count.max;
    peer->fd = fd;
    watch(peer, EPOLL_CTL_ADD, EPOLLIN);
} // NOLINT(clang-analyzer-unix.Malloc): epoll holds the connection

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return;
        peer_new(fd);
    }
}

// Lets the answers go whose delay is over. How long until the next, or -1.
static int64_t answer_due(void)
{
    while (peers.first_due) {
        struct peer *peer = peers.first_due;
        uint64_t now = mark_now_ns();
        if (peer->due_ns > now)
            return (int64_t)(peer->due_ns - now);
        peers.first_due = peer->next_due;
        if (!peers.first_due)
            peers.last_due = &peers.first_due;
        peer->due_ns = 0;
        if (peer->dead)
            peer_free(peer);
        else if (peer_write(peer))
            peer_serve(peer);
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

static void prepare_tls(void)
{
    peers.tls = SSL_CTX_new(TLS_server_method());
    if (!peers.tls || SSL_CTX_use_certificate_chain_file(peers.tls, peers.options.certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(peers.tls, peers.options.key, SSL_FILETYPE_PEM) != 1)
        fail("TLS: certificate or key");
    SSL_CTX_set_mode(peers.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

_Noreturn void peers_serve(const struct peers_options *options)
{
    struct epoll_event events[EVENTS];
    peers.options = *options;
    if (options->certificate)
        prepare_tls();
    peers.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (peers.epoll < 0)
        fail("epoll");
    int listener = listen_on(options->port);
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(peers.epoll, EPOLL_CTL_ADD, listener, &listening))
        fail("epoll");
    for (;;) {
        int64_t wait_ns = answer_due();
        struct timespec timeout = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
        int n = epoll_pwait2(peers.epoll, events, EVENTS, wait_ns < 0 ? NULL : &timeout, NULL);
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
