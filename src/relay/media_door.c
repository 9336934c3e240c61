#include "relay/media_door.h"

#include "base/log.h"
#include "base/mem.h"
#include "relay/intake_own.h"

#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 64 * 1024,
    MOST_DOWNLOADS = 64, // at a time, of all doors
    HEADERS = 9,
};

// ---- what a file is given as ----

// Lower-case ASCII. What runs nothing in a browser: no HTML, no SVG, no XML.
static const char *const shown_types[] = {
    "image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/mp4",       "audio/aac",
    "audio/ogg", "audio/opus", "audio/wav", "audio/webm", "audio/flac", "audio/amr",       "audio/3gpp",
    "video/mp4", "video/webm", "video/ogg", "video/mpeg", "video/3gpp", "video/quicktime", "application/pdf",
};

struct str media_shown_type(struct str mime, bool *out_inline)
{
    struct str type = http_media_type(mime);
    *out_inline = true;
    for (size_t i = 0; i < sizeof shown_types / sizeof *shown_types; i++)
        if (str_ieq_c(type, shown_types[i]))
            return str_of(shown_types[i]);
    if (str_ieq_c(type, "text/plain"))
        return STR("text/plain; charset=utf-8");
    *out_inline = false;
    return STR("application/octet-stream");
}

// Bytes of the character at `at`; the name is UTF-8.
static size_t char_size(struct str name, size_t at, uint32_t *out_code)
{
    unsigned char lead = (unsigned char)name.p[at];
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    uint32_t code = n == 1 ? lead : lead & (0xFFU >> (n + 1));
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)name.p[at + i] & 0x3F);
    *out_code = code;
    return n;
}

// A name that is a file's on any system: no folders, no hidden file, nothing that turns or breaks text.
static struct str safe_name(struct str name, struct arena *arena)
{
    char *out = arena_alloc(arena, name.n + 1);
    size_t n = 0;
    uint32_t code;
    if (!str_is_utf8(name))
        return STR_NONE;
    for (size_t at = 0, size; at < name.n; at += size) {
        size = char_size(name, at, &code);
        bool bad = code_point_is_harmful(code) || (code < 0x80 && strchr("/\\:*?\"<>|", (int)code)) ||
                   (code == '.' && !n);
        memcpy(out + n, bad ? "_" : name.p + at, bad ? 1 : size);
        n += bad ? 1 : size;
    }
    return (struct str){out, n};
}

// For those who do not know filename*: in it a "%" would be taken for an escape by some.
static struct str ascii_name(struct str name, struct arena *arena)
{
    char *out = arena_alloc(arena, name.n + 1);
    uint32_t code;
    size_t n = 0;
    for (size_t at = 0; at < name.n; n++) {
        at += char_size(name, at, &code);
        out[n] = code < 0x80 && code != '%' ? (char)code : '_';
    }
    return (struct str){out, n};
}

struct str media_disposition(struct str name, bool shown, struct arena *arena)
{
    struct str how = shown ? STR("inline") : STR("attachment"), safe = safe_name(name, arena);
    if (!safe.n)
        return how;
    return ARENA_JOIN(arena, how, STR("; filename=\""), ascii_name(safe, arena), STR("\"; filename*=UTF-8''"),
                      http_escape(arena, safe));
}

// ---- which part of it ----

static bool read_digits(struct str text, int64_t *out)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return str_to_i64(text, out);
}

enum media_range media_range_read(struct str header, int64_t size, int64_t *out_from, int64_t *out_size)
{
    struct str unit = STR("bytes="), range = str_trim(str_sub(header, unit.n, header.n));
    size_t dash = str_index(range, '-', 0);
    struct str first = str_sub(range, 0, dash), last = str_sub(range, dash + 1, range.n);
    int64_t from = 0, to = INT64_MAX;
    if (!str_ieq(str_sub(header, 0, unit.n), unit) || dash == range.n || (!first.n && !last.n) ||
        (first.n && !read_digits(first, &from)) || (last.n && !read_digits(last, &to)) || (first.n && to < from))
        return MEDIA_RANGE_WHOLE;
    if (!first.n) { // so many bytes at its end
        from = to < size ? size - to : 0;
        to = to ? INT64_MAX : -1;
    }
    if (from >= size || to < from)
        return MEDIA_RANGE_OUTSIDE;
    *out_from = from;
    *out_size = (to < size ? to + 1 : size) - from;
    return MEDIA_RANGE_PART;
}

// ---- its bytes ----

struct download {
    struct loop_work work; // first
    struct intake *intake;
    struct http_exchange *exchange; // NULL once the client has left
    struct loop *loop;
    char hash[FILE_HASH_SIZE];
    int64_t at, left; // of the file
    bool reading;
    int64_t got; // by the last reading: bytes, or an error
    char piece[PIECE];
};

static void download_free(struct download *download)
{
    atomic_fetch_sub(&download->intake->downloads, 1);
    free(download);
}

static void end(struct download *download)
{
    http_exchange_end(download->exchange);
    download->exchange = NULL;
    if (!download->reading)
        download_free(download);
}

// On a thread of the pool.
static void read_piece(struct loop_work *work)
{
    struct download *download = (struct download *)work;
    struct media_files *files = download->intake->files;
    size_t size = download->left < PIECE ? (size_t)download->left : PIECE;
    download->got = files->ops->read(files, (struct str){download->hash, FILE_HASH_SIZE}, download->at, download->piece,
                                     size);
}

static void on_piece(struct loop_work *work);

static void go_on(struct download *download)
{
    if (!download->left) {
        end(download);
        return;
    }
    download->reading = true;
    download->work.work = read_piece;
    download->work.done = on_piece;
    loop_work(download->loop, &download->work);
}

static void on_piece(struct loop_work *work)
{
    struct download *download = (struct download *)work;
    download->reading = false;
    if (!download->exchange) {
        download_free(download);
        return;
    }
    if (download->got <= 0) { // the client has been told how long it is, and sees that it is cut short
        log_warn("media_unreadable", LOG_S("file", ((struct str){download->hash, FILE_HASH_SIZE})),
                 LOG_C("error", download->got ? err_name((int)download->got) : "shorter than it was kept"));
        end(download);
        return;
    }
    download->at += download->got;
    download->left -= download->got;
    if (!http_exchange_write(download->exchange, (struct str){download->piece, (size_t)download->got}))
        return; // on_gone is to come
    if (!download->left || !http_exchange_unsent(download->exchange))
        go_on(download);
}

static void on_taken(void *arg)
{
    struct download *download = arg;
    if (!download->reading)
        go_on(download);
}

static void on_gone(void *arg)
{
    end(arg);
}

struct answer_head {
    int status;
    struct str type;
    struct http_header headers[HEADERS];
    size_t count;
};

static void add_header(struct answer_head *head, struct str name, struct str value)
{
    head->headers[head->count++] = (struct http_header){name, value};
}

static void send_bytes(struct intake *intake, struct http_exchange *exchange, struct str hash, int64_t from,
                       int64_t size, const struct answer_head *head)
{
    struct download *download = mem_try(sizeof *download);
    if (atomic_fetch_add(&intake->downloads, 1) >= MOST_DOWNLOADS || !download) {
        atomic_fetch_sub(&intake->downloads, 1);
        free(download);
        intake_answer_problem(exchange, 503, "Service Unavailable",
                              STR("too many files are being fetched; try again later"));
        return;
    }
    bool is_head = str_eq_c(http_exchange_request(exchange)->method, "HEAD");
    download->intake = intake;
    download->exchange = exchange;
    download->loop = http_exchange_loop(exchange);
    download->at = from;
    download->left = is_head ? 0 : size;
    memcpy(download->hash, hash.p, FILE_HASH_SIZE);
    struct http_stream stream = {.length = size, .gone = on_gone, .taken = on_taken, .arg = download};
    if (http_exchange_stream(exchange, head->status, head->type, head->headers, head->count, &stream))
        go_on(download);
    else
        end(download);
}

// ---- the answer ----

static struct str header_of(const struct http_request *request, const char *name)
{
    return http_header_get(request->headers, request->header_count, name);
}

// One of a list of entity tags is ours, whether they are called weak or not (If-None-Match).
static bool names_tag(struct str list, struct str tag)
{
    for (size_t at = 0; at < list.n;) {
        size_t end_at = str_index(list, ',', at);
        struct str each = str_trim(str_sub(list, at, end_at));
        if (str_starts(each, STR("W/")))
            each = str_sub(each, 2, each.n);
        if (str_eq(each, tag) || str_eq_c(each, "*"))
            return true;
        at = end_at + 1;
    }
    return false;
}

static enum media_range range_of(const struct http_request *request, struct str tag, int64_t size, int64_t *out_from,
                                 int64_t *out_size)
{
    struct str if_range = header_of(request, "if-range");
    *out_from = 0;
    *out_size = size;
    if (http_header_count(request->headers, request->header_count, "range") != 1 ||
        (if_range.p && !str_eq(str_trim(if_range), tag)))
        return MEDIA_RANGE_WHOLE;
    return media_range_read(header_of(request, "range"), size, out_from, out_size);
}

// The same for every answer that speaks of the file.
static void begin_head(struct answer_head *head, struct str tag)
{
    add_header(head, STR("ETag"), tag);
    add_header(head, STR("Cache-Control"), STR("private, max-age=300")); // not much longer than the link itself is good
    add_header(head, STR("Accept-Ranges"), STR("bytes"));
    add_header(head, STR("X-Content-Type-Options"), STR("nosniff"));
    add_header(head, STR("Content-Security-Policy"), STR("sandbox; default-src 'none'"));
    add_header(head, STR("Referrer-Policy"), STR("no-referrer")); // the link is a key
}

static void give(struct intake *intake, struct http_exchange *exchange, const struct attachment *file, int64_t size)
{
    const struct http_request *request = http_exchange_request(exchange);
    struct arena *arena = http_exchange_arena(exchange);
    struct str tag = ARENA_JOIN(arena, STR("\""), file->hash, STR("\""));
    struct answer_head head = {.status = 200};
    int64_t from, part;
    bool shown;
    begin_head(&head, tag);
    if (names_tag(header_of(request, "if-none-match"), tag)) {
        http_exchange_answer(exchange, 304, STR_NONE, head.headers, head.count, STR(""));
        return;
    }
    enum media_range range = range_of(request, tag, size, &from, &part);
    if (range == MEDIA_RANGE_OUTSIDE) {
        struct http_header whole = {STR("Content-Range"), arena_printf(arena, "bytes */%lld", (long long)size)};
        intake_answer_problem_with(exchange, 416, "Range Not Satisfiable",
                                   arena_printf(arena, "the file has %lld bytes", (long long)size), &whole);
        return;
    }
    head.type = media_shown_type(file->mime, &shown);
    add_header(&head, STR("Content-Disposition"), media_disposition(file->name, shown, arena));
    if (range == MEDIA_RANGE_PART) {
        head.status = 206;
        add_header(&head, STR("Content-Range"),
                   arena_printf(arena, "bytes %lld-%lld/%lld", (long long)from, (long long)(from + part - 1),
                                (long long)size));
    }
    if (part)
        send_bytes(intake, exchange, file->hash, from, part, &head);
    else
        http_exchange_answer(exchange, head.status, head.type, head.headers, head.count, STR(""));
}

void media_door_take(struct intake *intake, struct http_exchange *exchange)
{
    const struct http_request *request = http_exchange_request(exchange);
    struct media_files *files = intake->files;
    struct attachment file = {0};
    switch (media_link_read(intake->links, request->path, request->query, clock_wall_us(intake->clock),
                            http_exchange_arena(exchange), &file)) {
    case MEDIA_LINK_FORGED:
        intake_answer_problem(exchange, 403, "Forbidden", STR("this link was not made here, or it was changed"));
        return;
    case MEDIA_LINK_EXPIRED:
        intake_answer_problem(exchange, 410, "Gone", STR("this link has expired"));
        return;
    case MEDIA_LINK_GOOD:
        break;
    }
    int64_t size = files->ops->find(files, file.hash);
    if (size < 0)
        intake_answer_problem(exchange, 404, "Not Found", STR("the file is not kept any more"));
    else
        give(intake, exchange, &file, size);
}
