#include "net/address.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct range {
    uint8_t bits; // how many of `prefix` count
    uint8_t prefix[16];
};

// IANA's special-purpose registries. IPv4 ranges are looked up without the mapping prefix.
static const struct range special4[] = {
    {8, {0}},             // "this network"
    {8, {10}},            // private
    {10, {100, 64}},      // shared: behind a carrier's NAT
    {8, {127}},           // loopback
    {16, {169, 254}},     // link-local; cloud metadata
    {12, {172, 16}},      // private
    {24, {192, 0, 0}},    // protocol assignments
    {24, {192, 0, 2}},    // documentation
    {24, {192, 88, 99}},  // 6to4 relays
    {16, {192, 168}},     // private
    {15, {198, 18}},      // benchmarks
    {24, {198, 51, 100}}, // documentation
    {24, {203, 0, 113}},  // documentation
    {4, {224}},           // multicast
    {4, {240}},           // reserved, broadcast
};
static const struct range mapped4 = {96, {[10] = 0xff, 0xff}};
static const struct range nat64 = {96, {0x00, 0x64, 0xff, 0x9b}};
static const struct range sixto4 = {16, {0x20, 0x02}};
// Of IPv6 only 2000::/3 is handed out; these parts of it are special.
static const struct range unicast6 = {3, {0x20}};
static const struct range special6[] = {
    {23, {0x20, 0x01}},             // protocol assignments: Teredo, ORCHID, benchmarks
    {32, {0x20, 0x01, 0x0d, 0xb8}}, // documentation
    {20, {0x3f, 0xff}},             // documentation
};

static bool in_range(const uint8_t *address, const struct range *range)
{
    size_t whole = range->bits / 8, rest = range->bits % 8;
    if (memcmp(address, range->prefix, whole) != 0)
        return false;
    return !rest || ((address[whole] ^ range->prefix[whole]) & (0xff00 >> rest & 0xff)) == 0;
}

static bool in_any(const uint8_t *address, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (in_range(address, &ranges[i]))
            return true;
    return false;
}

// The address without its port as 16 bytes, IPv4 v4-mapped; all zero for other families.
static struct in6_addr key_of(const struct sockaddr *address)
{
    struct in6_addr key = {0};
    if (address->sa_family == AF_INET6)
        return ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        memcpy(key.s6_addr, mapped4.prefix, 12);
        memcpy(key.s6_addr + 12, &in->sin_addr, 4);
    }
    return key;
}

static bool is_public4(const uint8_t *address)
{
    return !in_any(address, special4, sizeof special4 / sizeof *special4);
}

bool address_is_public(const struct sockaddr *address)
{
    struct in6_addr key = key_of(address);
    const uint8_t *bytes = key.s6_addr;
    if (in_range(bytes, &mapped4) || in_range(bytes, &nat64))
        return is_public4(bytes + 12);
    if (in_range(bytes, &sixto4))
        return is_public4(bytes + 2);
    return in_range(bytes, &unicast6) && !in_any(bytes, special6, sizeof special6 / sizeof *special6);
}
