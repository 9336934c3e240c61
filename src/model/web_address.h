// Addresses of files, out of messages and redirects: http and https only, and so plain that every reader of them reads the same. No
// user in them, no controls, blanks or backslashes, nothing percent-encoded in a host. RFC 3986.
#pragma once
#include "base/arena.h"

#include <stdbool.h>

enum { WEB_ADDRESS_MAX = 8192 }; // bytes of one

// Texts are borrowed, or in the arena.
struct web_address {
    struct str scheme; // "http", "https"
    struct str host;   // as written; IPv6 in its brackets
    int port;
    struct str path;  // from its slash on, without dot segments
    struct str query; // with its "?"; may be empty
};

// False: it is none of those.
bool web_address_read(struct str url, struct arena *arena, struct web_address *out);
// What a redirect at `base` to `location` leads to (RFC 3986, 5.2): absolute, without scheme, absolute or relative path, query alone.
bool web_address_resolve(const struct web_address *base, struct str location, struct arena *arena,
                         struct web_address *out);
struct str web_address_url(const struct web_address *address, struct arena *arena);
// The same scheme, host and port.
bool web_address_is_of(const struct web_address *a, const struct web_address *b);
