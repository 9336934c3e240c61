#include "net/http_body.h"

#include "base/base64.h"
#include "base/err.h"
#include "base/must.h"

static int64_t size_of(const struct http_part *part)
{
    if (!part->file.p)
        return (int64_t)part->bytes.n;
    must(part->file_size >= 0);
    return part->base64 ? base64_size(part->file_size) : part->file_size;
}

void http_body_init(struct http_body *body, const struct http_part *parts, size_t count, struct arena *arena)
{
    struct http_part *copies = arena_alloc(arena, count * sizeof *copies);
    *body = (struct http_body){.parts = copies, .count = count};
    for (size_t i = 0; i < count; i++) {
        copies[i] = parts[i];
        copies[i].bytes = arena_str(arena, parts[i].bytes);
        copies[i].file = arena_str(arena, parts[i].file);
        body->size += size_of(&parts[i]);
    }
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// All that is asked for: the file had as much when the length of the body was told.
static bool read_all(const struct http_body *body, struct str file, int64_t offset, char *room, int64_t size)
{
    must(body->read_file);
    while (size > 0) {
        int64_t n = body->read_file(body->read_file_arg, file, offset, room, (size_t)size);
        if (n <= 0)
            return false;
        offset += n;
        room += n;
        size -= n;
    }
    return true;
}

static int64_t read_bytes(const struct http_part *part, int64_t done, char *room, int64_t size)
{
    int64_t n = least(size, (int64_t)part->bytes.n - done);
    memcpy(room, part->bytes.p + done, (size_t)n);
    return n;
}

static int64_t read_plain(const struct http_body *body, const struct http_part *part, char *room, int64_t size)
{
    int64_t n = least(size, part->file_size - body->done);
    return read_all(body, part->file, body->done, room, n) ? n : ERR_IO;
}

// Whole groups of four only, so each piece begins at one, and `done` says where in the file. What is encoded is read to the end of
// the room that it comes to fill.
static int64_t read_base64(const struct http_body *body, const struct http_part *part, char *room, int64_t size)
{
    int64_t offset = body->done / 4 * 3, n = least(size / 4 * 3, part->file_size - offset);
    int64_t filled = base64_size(n);
    char *bytes = room + filled - n;
    if (!read_all(body, part->file, offset, bytes, n))
        return ERR_IO;
    base64_encode(bytes, (size_t)n, room);
    return filled;
}

static int64_t read_part(const struct http_body *body, char *room, int64_t size)
{
    const struct http_part *part = &body->parts[body->at];
    if (!part->file.p)
        return read_bytes(part, body->done, room, size);
    return part->base64 ? read_base64(body, part, room, size) : read_plain(body, part, room, size);
}

int64_t http_body_read(struct http_body *body, char *room, size_t size)
{
    int64_t filled = 0;
    while (body->at < body->count) {
        if (body->done == size_of(&body->parts[body->at])) {
            body->at++;
            body->done = 0;
            continue;
        }
        int64_t n = read_part(body, room + filled, (int64_t)size - filled);
        if (n <= 0) // no room for a group of four: what there is will do
            return n < 0 ? n : filled;
        body->done += n;
        filled += n;
        if (filled == (int64_t)size)
            break;
    }
    return filled;
}
