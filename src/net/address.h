// Socket addresses: whose they are. Pure.
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

// Reachable by anyone on the internet: not private, loopback, link-local, shared (CGNAT), multicast, reserved
// or documentation, neither itself nor the IPv4 address it carries (mapped, NAT64, 6to4). False for other families.
bool address_is_public(const struct sockaddr *address);
