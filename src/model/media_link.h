// Signed, expiring links to files that are kept: <base>/media/<hash>?exp=<unix seconds>&sig=<hex>, with the name and type that
// the file shall be given as (INTERFACE.md, GET /media/{id}). All of it is signed: HMAC-SHA256 with a key of the store's.
#pragma once
#include "model/attachment.h"

struct media_links {
    struct str base;     // URL without a slash at its end: public_url, else where `listen` is reached from this machine
    bool is_public;      // others reach it: there is a public_url
    uint8_t key[32];     // made with the store, kept in it
    int64_t lifetime_us; // of a link
};

// Of a file that is kept, in the arena. `now_us` is wall time.
struct str media_link(const struct media_links *links, const struct attachment *file, int64_t now_us,
                      struct arena *arena);

// The same for a customer's picture, which a desk may ask for whenever an agent looks: always the same text, and good for as long as
// the bytes are kept.
struct str media_link_lasting(const struct media_links *links, const struct attachment *file, struct arena *arena);

// The path of such a link (/media/<hash>), whoever signed it. The hash is borrowed from it.
bool media_link_path(struct str path, struct str *out_hash);

enum media_link_reading { MEDIA_LINK_GOOD, MEDIA_LINK_FORGED, MEDIA_LINK_EXPIRED };
// What a request for `path` with `query` asks for; of a good one the hash, name and mime are set in *out. Compares in constant time.
enum media_link_reading media_link_read(const struct media_links *links, struct str path, struct str query,
                                        int64_t now_us, struct arena *arena, struct attachment *out);
