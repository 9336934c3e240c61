// A request's body out of parts (model/http.h), put together while it is sent: of a file there is never more in memory than the
// room that is filled. How long it becomes is known before the first byte.
#pragma once
#include "model/http.h"

#include <sys/types.h>

struct http_body {
    const struct http_part *parts;
    size_t count;
    int64_t size; // of all of it, as it is sent
    // As in struct http_client_options.
    int64_t (*read_file)(void *arg, struct str hash, int64_t offset, char *room, size_t size);
    void *read_file_arg;

    size_t at;    // the part that comes next
    int64_t done; // bytes of it that were given, as they are sent
};

// Copies the parts into the arena.
void http_body_init(struct http_body *body, const struct http_part *parts, size_t count, struct arena *arena);
// The next bytes, at least one, at most `size` (at least 4); 0 at the end. ERR_IO: a file of it cannot be read, or is shorter than it was.
int64_t http_body_read(struct http_body *body, char *room, size_t size);
