#include "support/wire.h"

#include "support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void wait_for(int fd, short events)
{
    struct pollfd wait = {.fd = fd, .events = events};
    int n = 0;
    do {
        n = poll(&wait, 1, WIRE_WAIT_MS);
    } while (n < 0 && errno == EINTR);
    assert_int_equal(n, 1);
}

static int connect_to(int family, const void *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, address, size), 0);
    return fd;
}

int wire_connect(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    return connect_to(AF_INET, &address, sizeof address);
}

int wire_connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return connect_to(AF_UNIX, &address, sizeof address);
}

void wire_send(int fd, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n > 0) {
        wait_for(fd, POLLOUT);
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return;
        assert_true(sent > 0);
        p += sent;
        n -= (size_t)sent;
    }
}

void wire_send_text(int fd, const char *text)
{
    wire_send(fd, text, strlen(text));
}

static size_t read_some(int fd, char *out, size_t n)
{
    wait_for(fd, POLLIN);
    ssize_t got = recv(fd, out, n, 0);
    return got > 0 ? (size_t)got : 0; // a reset is an end too
}

size_t wire_read(int fd, void *out, size_t n)
{
    size_t all = 0, got;
    while (all < n && (got = read_some(fd, (char *)out + all, n - all)) > 0)
        all += got;
    return all;
}

bool wire_is_ended(int fd)
{
    char byte;
    return read_some(fd, &byte, 1) == 0;
}

bool wire_is_ended_cleanly(int fd)
{
    char byte;
    wait_for(fd, POLLIN);
    return recv(fd, &byte, 1, 0) == 0;
}

// Byte by byte, so that nothing behind it is taken.
static size_t read_head(int fd, char *out, size_t size)
{
    size_t n = 0;
    while (n < size - 1 && read_some(fd, out + n, 1) == 1) {
        out[++n] = 0;
        if (n >= 4 && memcmp(out + n - 4, "\r\n\r\n", 4) == 0)
            return n;
    }
    out[n] = 0;
    return 0;
}

static long header_number(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void read_chunked(int fd, struct wire_answer *answer)
{
    for (;;) {
        char line[32], end[2];
        size_t n = 0;
        while (n < sizeof line - 1 && read_some(fd, line + n, 1) == 1 && line[n++] != '\n') {
        }
        line[n] = 0;
        size_t size = strtoul(line, NULL, 16);
        assert_true(answer->body_n + size < sizeof answer->body);
        answer->body_n += wire_read(fd, answer->body + answer->body_n, size);
        if (wire_read(fd, end, 2) < 2 || size == 0)
            return;
    }
}

void wire_read_answer(int fd, struct wire_answer *out_answer, bool is_head)
{
    memset(out_answer, 0, sizeof *out_answer);
    if (read_head(fd, out_answer->head, sizeof out_answer->head) == 0)
        return;
    assert_memory_equal(out_answer->head, "HTTP/1.1 ", 9);
    out_answer->status = (int)strtol(out_answer->head + 9, NULL, 10);
    long length = header_number(out_answer->head, "\r\nContent-Length: ");
    bool has_none = is_head || out_answer->status < 200 || out_answer->status == 204 || out_answer->status == 304;
    if (has_none)
        return;
    if (strcasestr(out_answer->head, "\r\nTransfer-Encoding: chunked")) {
        read_chunked(fd, out_answer);
        return;
    }
    size_t n = length >= 0 ? (size_t)length : sizeof out_answer->body - 1;
    assert_true(n < sizeof out_answer->body);
    out_answer->body_n = wire_read(fd, out_answer->body, n);
    assert_true(length < 0 || out_answer->body_n == n);
}

int wire_listen(int *out_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *out_port = ntohs(address.sin_port);
    return fd;
}

int wire_accept(int listener)
{
    wait_for(listener, POLLIN);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

bool wire_read_request(int fd, char *out_head, size_t head_size, char *out_body, size_t body_size, size_t *out_body_n)
{
    if (read_head(fd, out_head, head_size) == 0)
        return false;
    long length = header_number(out_head, "\r\nContent-Length: ");
    size_t n = length > 0 ? (size_t)length : 0;
    assert_true(n < body_size);
    *out_body_n = wire_read(fd, out_body, n);
    out_body[*out_body_n] = 0;
    return *out_body_n == n;
}

void wire_reset(int fd)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
}
