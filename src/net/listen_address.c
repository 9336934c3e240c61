#include "net/listen_address.h"

#include "base/str.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 }; // the kernel cuts it to net.core.somaxconn

static struct listen_result failed(const char *why)
{
    return (struct listen_result){.fd = -1, .why = why};
}

static struct listen_result failed_errno(int fd)
{
    struct listen_result result = failed(strerror(errno));
    if (fd >= 0)
        close(fd);
    return result;
}

static bool is_live(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; // not known: keep it
    bool live = connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 || errno == EAGAIN;
    close(fd);
    return live;
}

// A socket that nobody listens on is left from a process that was killed. Anything else is kept.
static const char *remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0)
        return NULL;
    if (!S_ISSOCK(status.st_mode))
        return "there is a file of that name that is no socket";
    if (is_live(address))
        return "another process listens on it";
    return unlink(address->sun_path) == 0 ? NULL : strerror(errno);
}

static struct listen_result open_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path || !*path)
        return failed("the path of a socket has 1 to 107 bytes");
    memcpy(address.sun_path, path, strlen(path) + 1);
    const char *why = remove_stale(&address);
    if (why)
        return failed(why);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // On Linux the file is made with the socket's own mode: unlike umask() this touches no other thread.
    if (fd < 0 || fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0)
        return failed_errno(fd);
    return (struct listen_result){.fd = fd, .unix_path = path};
}

// The host without brackets, and the port.
static bool split(struct str address, char host[256], char port[8])
{
    size_t colon = address.n;
    while (colon > 0 && address.p[colon - 1] != ':')
        colon--;
    struct str name = str_sub(address, 0, colon ? colon - 1 : 0), number = str_sub(address, colon, address.n);
    bool bracketed = str_starts(name, STR("[")) && str_ends(name, STR("]"));
    if (bracketed)
        name = str_sub(name, 1, name.n - 1);
    int64_t value = 0;
    if (colon == 0 || name.n == 0 || name.n > 255 || number.n > 5 || !str_to_i64(number, &value) || value < 0 ||
        value > 65535 || (!bracketed && str_index(name, ':', 0) < name.n))
        return false;
    snprintf(host, 256, "%.*s", STR_ARG(name));
    snprintf(port, 8, "%d", (int)value);
    return true;
}

int listen_address_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    getsockname(fd, (struct sockaddr *)&address, &size);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return address.ss_family == AF_INET ? ntohs(((struct sockaddr_in *)&address)->sin_port) : 0;
}

static struct listen_result listen_tcp(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    // Accepted connections inherit TCP_NODELAY, which saves a call for each.
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0)
        return failed_errno(fd);
    return (struct listen_result){.fd = fd, .port = listen_address_port(fd)};
}

struct listen_result listen_address_open(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return open_unix(address + 5);
    char host[256], port[8];
    if (!split(str_of(address), host, port))
        return failed("an address to listen on is HOST:PORT, [IPv6]:PORT or unix:PATH");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *info = NULL;
    int err = getaddrinfo(host, port, &hints, &info);
    if (err)
        return failed(gai_strerror(err));
    struct listen_result result = listen_tcp(info);
    freeaddrinfo(info);
    return result;
}
