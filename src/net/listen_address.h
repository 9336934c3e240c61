// From an address in text to a listening socket, and back to nothing. Internal to net/.
#pragma once

struct listen_result {
    int fd; // non-blocking, close-on-exec; -1 = failed
    int port;
    const char *unix_path; // points into the text given; NULL for TCP
    const char *why;       // a sentence, when failed: static or the errno's
};

// "HOST:PORT", "[IPv6]:PORT" or "unix:PATH". Blocks while a host name is looked up.
struct listen_result listen_address_open(const char *address);
// The port a listening socket is bound to; 0 for a Unix socket.
int listen_address_port(int fd);
