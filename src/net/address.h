// Socket addresses: whose they are. Pure.
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

// 127.0.0.0/8 and ::1, also written as v4-mapped. False for other families.
bool address_is_loopback(const struct sockaddr *address);
// Reachable by anyone on the internet: not private, loopback, link-local, shared (CGNAT), multicast, reserved
// or documentation, neither itself nor the IPv4 address it carries (mapped, NAT64, 6to4). False for other families.
bool address_is_public(const struct sockaddr *address);
// The address without its port as 16 bytes, IPv4 v4-mapped; all zero for other families.
struct in6_addr address_key(const struct sockaddr *address);
