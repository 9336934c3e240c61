// Raw sockets for tests of net/: blocking, on loopback, every wait bounded. A helper that cannot do its work fails the test.
#pragma once
#include "base/str.h"

#include <stddef.h>

enum { WIRE_WAIT_MS = 20 * 1000, WIRE_SIZE = 1 << 16 };

// One answer as it came: its head and body, NUL-terminated.
struct wire_answer {
    int status; // 0: the connection ended first
    char head[WIRE_SIZE];
    char body[WIRE_SIZE];
    size_t body_n;
};

int wire_connect(int port);
int wire_connect_unix(const char *path);
// Sends all; a peer that has closed already is no failure here.
void wire_send(int fd, const void *bytes, size_t n);
void wire_send_text(int fd, const char *text);
// Reads one answer, by Content-Length, chunked, or to the end. `is_head`: it has no body.
void wire_read_answer(int fd, struct wire_answer *out_answer, bool is_head);
// Reads up to n bytes; less when the connection ends.
size_t wire_read(int fd, void *out, size_t n);
// Waits for the peer to end the connection; false when bytes came instead.
bool wire_is_ended(int fd);
// The same, and it was an orderly end, no reset.
bool wire_is_ended_cleanly(int fd);
// A listening socket on loopback.
int wire_listen(int *out_port);
int wire_accept(int listener);
// Reads one request with a Content-Length body; false when the connection ended before all of it.
bool wire_read_request(int fd, char *out_head, size_t head_size, char *out_body, size_t body_size, size_t *out_body_n);
// Closes with a reset.
void wire_reset(int fd);
