// Addresses out of messages and of redirects. What is taken for one is read the same by libcurl, which connects to it: scheme, host,
// port, path and query; written and read again it stays. Numeric hosts in whatever notation lead where getaddrinfo says, and whether
// that is a public address agrees with a list of ranges as the registries print them.
//
// The input: an address, a line's end, where a redirect from there leads.
// FUZZ: -max_len=600
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>

#include "base/must.h"
#include "fuzz/input.h"
#include "model/web_address.h"
#include "net/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Public or not --------------------------------------------------------------------------------------------

static const char *const special[] = {
    "0.0.0.0/8",      "10.0.0.0/8",    "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",   "192.0.2.0/24",  "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",  "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4",   "240.0.0.0/4",    "::/3",           "4000::/2",       "8000::/1",
    "2001::/23",      "2001:db8::/32", "3fff::/20",
};

static bool is_within(int family, const unsigned char *address, const char *range)
{
    char text[64];
    unsigned char prefix[16];
    const char *slash = strchr(range, '/');
    snprintf(text, sizeof text, "%.*s", (int)(slash - range), range);
    if (inet_pton(family, text, prefix) != 1)
        return false;
    long bits = strtol(slash + 1, NULL, 10);
    for (long bit = 0; bit < bits; bit++) // bit by bit: slow, and hard to get wrong
        if (((address[bit / 8] ^ prefix[bit / 8]) >> (7 - bit % 8)) & 1)
            return false;
    return true;
}

static bool is_plainly_public(int family, const unsigned char *address)
{
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (is_within(family, address, special[i]))
            return false;
    return true;
}

// The IPv4 address that an IPv6 one carries, or NULL.
static const unsigned char *carried(const unsigned char *address)
{
    static const unsigned char mapped[12] = {[10] = 0xff, 0xff}, nat64[12] = {0x00, 0x64, 0xff, 0x9b};
    if (memcmp(address, mapped, 12) == 0 || memcmp(address, nat64, 12) == 0)
        return address + 12;
    return address[0] == 0x20 && address[1] == 0x02 ? address + 2 : NULL;
}

static bool should_be_public(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return is_plainly_public(AF_INET, (const unsigned char *)&((const struct sockaddr_in *)address)->sin_addr);
    const unsigned char *bytes = ((const struct sockaddr_in6 *)address)->sin6_addr.s6_addr;
    const unsigned char *inner = carried(bytes);
    if (inner)
        return is_plainly_public(AF_INET, inner);
    return is_plainly_public(AF_INET6, bytes);
}

static void check_numeric(const char *host)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return;
    for (const struct addrinfo *each = found; each; each = each->ai_next)
        must(address_is_public(each->ai_addr) == should_be_public(each->ai_addr));
    freeaddrinfo(found);
}

// Sixteen bytes, and the first four of them.
static void check_binary(struct str bytes)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    if (bytes.n < sizeof six.sin6_addr)
        return;
    memcpy(&six.sin6_addr, bytes.p, sizeof six.sin6_addr);
    memcpy(&four.sin_addr, bytes.p, sizeof four.sin_addr);
    must(address_is_public((struct sockaddr *)&six) == should_be_public((struct sockaddr *)&six));
    must(address_is_public((struct sockaddr *)&four) == should_be_public((struct sockaddr *)&four));
}

// Reading --------------------------------------------------------------------------------------------------

static struct str part_of(CURLU *url, CURLUPart part, unsigned flags, struct arena *arena)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(url, part, &text, flags);
    must(code == CURLUE_OK || code == CURLUE_NO_QUERY);
    struct str copy = text ? arena_str(arena, str_of(text)) : STR_NONE;
    curl_free(text);
    return copy;
}

// curl writes a numeric IPv4 host in its usual form.
static bool is_same_host(struct str ours, struct str theirs, struct arena *arena)
{
    struct in_addr a, b;
    if (str_ieq(ours, theirs))
        return true;
    return inet_aton(arena_str(arena, ours).p, &a) && inet_pton(AF_INET, arena_str(arena, theirs).p, &b) == 1 &&
           a.s_addr == b.s_addr;
}

static void compare_with_curl(const struct web_address *address, struct str url, struct arena *arena)
{
    CURLU *handle = curl_url();
    must(handle);
    if (curl_url_set(handle, CURLUPART_URL, arena_str(arena, url).p, CURLU_PATH_AS_IS) == CURLUE_OK) {
        struct str host = part_of(handle, CURLUPART_HOST, 0, arena);
        must(str_eq(part_of(handle, CURLUPART_SCHEME, 0, arena), address->scheme));
        must(is_same_host(address->host, host, arena) || address->host.p[0] == '[');
        int64_t port;
        must(str_to_i64(part_of(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT, arena), &port) && port == address->port);
        must(str_eq(part_of(handle, CURLUPART_PATH, 0, arena), address->path));
        struct str query = part_of(handle, CURLUPART_QUERY, 0, arena);
        must(query.n ? str_eq(query, str_sub(address->query, 1, address->query.n)) : address->query.n <= 1);
    }
    curl_url_cleanup(handle);
}

static void check_address(const struct web_address *address, struct arena *arena)
{
    struct web_address again;
    struct str url = web_address_url(address, arena);
    must(url.n <= 2 * WEB_ADDRESS_MAX && web_address_read(url, arena, &again));
    must(str_eq(web_address_url(&again, arena), url) && web_address_is_of(&again, address));
    must(str_eq(again.host, address->host) && str_eq(again.path, address->path) && str_eq(again.query, address->query));
    must(address->path.n && address->path.p[0] == '/' && address->port >= 1 && address->port <= 65535);
    must(!memchr(address->host.p, '%', address->host.n) && !memchr(address->host.p, '@', address->host.n));
    compare_with_curl(address, url, arena);
    check_numeric(arena_str(arena, str_sub(address->host, address->host.p[0] == '[',
                                           address->host.n - (address->host.p[0] == '[')))
                      .p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct input input = input_of(data, size);
    struct str text = input_until(&input, '\n');
    struct web_address address, next;
    check_binary((struct str){(const char *)data, size});
    if (web_address_read(text, &arena, &address)) {
        check_address(&address, &arena);
        if (web_address_resolve(&address, input.left, &arena, &next))
            check_address(&next, &arena);
    }
    arena_done(&arena);
    return 0;
}
