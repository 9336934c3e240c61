// Files: what they are, where the platforms, the desks and the customers' own servers have them, and what befalls who fetches them.
// What is kept of them is in memory here, as it is on a disk that never loses what it said it has.
#include "sim/sim.h"

#include "base/base64.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/must.h"
#include "store/media_files_sum.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    MAX_SIZE = 1000, // of what is kept of one file
    SAME = 5,        // of a hundred: what many send
};

struct kept_since {
    char hash[FILE_HASH_SIZE + 1];
    int64_t us;
};

struct file_call {
    struct sim *sim;
    struct arena arena;
    int file;
    bool place; // getFile
    struct str target;
    struct media_sink sink; // write NULL: none
    void (*done)(void *arg, const struct http_response *response);
    void *arg;
    struct sim_event *ending;
    enum { GIVES, CUTS, SAYS, FAILS } fate;
    int status, retry_after_s;
    enum http_failure failure;
    struct file_call *prev, *next;
};

struct files {
    struct media_files *kept;
    struct media_files_ops ops; // those in memory, with ours in front
    const struct media_files_ops *memory_ops;
    struct sim *sim;
    struct file_call *calls;
    uint64_t asked[FILE_IDS]; // how often
    struct kept_since *since;
    size_t since_count;
};

static struct files *running; // media_files have no place for it

// ---- what they are ----

enum file_nature file_nature(struct sim *sim, int file)
{
    struct chance c = sim_chance(sim, 'f', (uint64_t)file);
    if (!draw_percent(&c, sim->plan.bad_files))
        return FILE_FINE;
    return draw_percent(&c, 50) ? FILE_LARGE : FILE_GONE;
}

static char who(int file)
{
    return file < MOST_EVENTS * MOST_FILES ? 'e' : 'r';
}

static int number(int file)
{
    int number = file / MOST_FILES;
    return number < MOST_EVENTS ? number : number - MOST_EVENTS;
}

void file_name(int file, char *out, size_t size)
{
    snprintf(out, size, "%c%d-%d.png", who(file), number(file), file % MOST_FILES);
}

// "e12-0" at that place.
static int read_name(struct str text, size_t at)
{
    int numbers[2] = {0, 0};
    size_t i = at + 1;
    for (int n = 0; n < 2; n++) {
        size_t from = i;
        for (; i < text.n && i < from + 5 && text.p[i] >= '0' && text.p[i] <= '9'; i++)
            numbers[n] = numbers[n] * 10 + text.p[i] - '0';
        bool ends = n == 1 || (i < text.n && text.p[i++] == '-');
        if (i == from || !ends)
            return -1;
    }
    bool known = numbers[1] < MOST_FILES && numbers[0] < (text.p[at] == 'e' ? (int)MOST_EVENTS : (int)MOST_SPOKEN);
    if (!known)
        return -1;
    return text.p[at] == 'e' ? file_of_event(numbers[0], numbers[1]) : file_of_spoken(numbers[0], numbers[1]);
}

int file_named(struct str text)
{
    for (size_t i = 0; i + 3 < text.n; i++) {
        bool begins = (text.p[i] == 'e' || text.p[i] == 'r') &&
                      (i == 0 || !strchr("abcdefghijklmnopqrstuvwxyz", text.p[i - 1]));
        int file = begins ? read_name(text, i) : -1;
        if (file >= 0)
            return file;
    }
    return -1;
}

void file_bytes(const struct sim *sim, int file, char *out, size_t size)
{
    struct chance c = sim_chance(sim, 'F', (uint64_t)file);
    if (draw_percent(&c, SAME))
        snprintf(out, size, "what many send, %d", (int)draw(&c, 0, 2));
    else
        snprintf(out, size, "%sfile %c%d-%d, %llx", file % 3 ? "" : "\x89PNG\r\n\x1a\n", who(file), number(file),
                 file % MOST_FILES, (unsigned long long)chance_next(&c));
}

bool file_is(const struct sim *sim, int file, struct str bytes)
{
    char expected[120];
    file_bytes(sim, file, expected, sizeof expected);
    return str_eq_c(bytes, expected);
}

void file_hash(const struct sim *sim, int file, char out[FILE_HASH_SIZE + 1])
{
    struct media_files_sum sum;
    struct str mime;
    char bytes[120];
    file_bytes(sim, file, bytes, sizeof bytes);
    media_files_sum_init(&sum);
    media_files_sum_add(&sum, str_of(bytes));
    media_files_sum_end(&sum, out, &mime);
    media_files_sum_done(&sum);
}

// An agent's lies at the desk; a customer's at the platform, which names it, or somewhere.
struct attachment file_attachment(const struct sim *sim, int file, struct arena *arena)
{
    char name[40];
    file_name(file, name, sizeof name);
    struct attachment out = {.kind = STR("image"), .name = arena_str(arena, str_of(name)), .size = -1};
    if (who(file) == 'r')
        out.url = arena_printf(arena, "http://desk%d.test/files/%s", agents_spoken(sim, number(file))->desk, name);
    else if (sim->plan.telegram[sim->plan.event[number(file)].account])
        out.ref = out.name;
    else
        out.url = arena_printf(arena, "http://files.test/%s", name);
    return out;
}

// ---- what is kept ----

static bool has_room(const struct sim *sim)
{
    return !sim->store_error || sim->store_error == ERR_BUSY || sim->store_error == ERR_NOMEM ||
           sim_now(sim) >= sim->store_error_until_us;
}

static struct media_file *begin(struct media_files *base, int *out_err)
{
    const struct sim *sim = running->sim;
    *out_err = has_room(sim) || sim->healing ? 0 : sim->store_error == ERR_FULL ? ERR_FULL : ERR_IO;
    return *out_err ? NULL : running->memory_ops->begin(base, out_err);
}

static int keep(struct media_file *file, char out_hash[FILE_HASH_SIZE + 1], int64_t *out_size, struct str *out_mime)
{
    struct files *f = running;
    int err = f->memory_ops->keep(file, out_hash, out_size, out_mime);
    if (err)
        return err;
    f->since = mem_resize(f->since, (f->since_count + 1) * sizeof *f->since);
    memcpy(f->since[f->since_count].hash, out_hash, FILE_HASH_SIZE + 1);
    f->since[f->since_count++].us = sim_now(f->sim);
    return 0;
}

static int remove_kept(struct media_files *base, struct str hash)
{
    if (running->sim->options->breakage == BREAK_LEFT)
        return 0;
    return running->memory_ops->remove(base, hash);
}

struct files *files_new(struct sim *sim)
{
    struct files *files = mem_new_of(struct files);
    files->sim = sim;
    files->kept = media_files_memory_new();
    files->memory_ops = files->kept->ops;
    files->ops = *files->kept->ops;
    files->ops.begin = begin;
    files->ops.keep = keep;
    files->ops.remove = remove_kept;
    files->kept->ops = &files->ops;
    running = files;
    return files;
}

void files_free(struct files *files)
{
    must(!files->calls);
    files->memory_ops->free(files->kept);
    free(files->since);
    free(files);
}

struct media_files *files_kept(const struct sim *sim)
{
    return sim->files->kept;
}

bool files_have(const struct sim *sim, struct str hash)
{
    return sim->files->memory_ops->find(sim->files->kept, hash) >= 0;
}

bool files_next_kept(const struct sim *sim, size_t *at, int64_t before_us, struct str *out_hash)
{
    const struct files *f = sim->files;
    for (; *at < f->since_count; ++*at) {
        bool again = false; // kept once more since
        for (size_t i = *at + 1; i < f->since_count; i++)
            again |= strcmp(f->since[i].hash, f->since[*at].hash) == 0;
        *out_hash = str_of(f->since[*at].hash);
        if (!again && f->since[*at].us < before_us && files_have(sim, *out_hash)) {
            ++*at;
            return true;
        }
    }
    return false;
}

static bool add_file(const struct sim *sim, const struct http_part *part, struct buf *out, struct arena *arena)
{
    char bytes[MAX_SIZE];
    int64_t n = sim->files->memory_ops->read(sim->files->kept, part->file, 0, bytes, sizeof bytes);
    if (n < 0)
        return false;
    must(n == part->file_size);
    char *text = arena_alloc(arena, (size_t)base64_size(n) + 1);
    if (part->base64) {
        base64_encode(bytes, (size_t)n, text);
        buf_add_str(out, (struct str){text, (size_t)base64_size(n)});
    } else {
        buf_add_str(out, (struct str){bytes, (size_t)n});
    }
    return true;
}

struct str files_body(const struct sim *sim, const struct http_request *request, struct arena *arena)
{
    struct buf out;
    bool there = true;
    if (!request->part_count)
        return arena_str(arena, request->body);
    buf_init(&out, 1 << 24);
    for (size_t i = 0; i < request->part_count && there; i++)
        if (request->parts[i].file.p)
            there = add_file(sim, &request->parts[i], &out, arena);
        else
            buf_add_str(&out, request->parts[i].bytes);
    struct str body = there ? arena_str(arena, buf_str(&out)) : STR_NONE;
    buf_done(&out);
    return body;
}

struct str base64_decode(struct str text, struct arena *arena)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(arena, text.n + 1);
    size_t n = 0;
    unsigned bits = 0;
    int have = 0;
    for (size_t i = 0; i < text.n && text.p[i] != '='; i++) {
        const char *digit = strchr(digits, text.p[i]);
        must(digit);
        bits = bits << 6 | (unsigned)(digit - digits);
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        out[n++] = (char)(bits >> have);
    }
    return (struct str){out, n};
}

// ---- what is seen of them at desks ----

void sight_add(struct sight *sight, int file, enum file_sight how)
{
    if (sight->count < MOST_SEEN)
        sight->seen[sight->count++] = (struct file_seen){file, how};
}

// Where several files are the same, the one that its address names.
int sight_of_link(const struct sim *sim, struct str url)
{
    const char *at = memmem(url.p, url.n, "/media/", 7);
    int file = file_named(url);
    if (!at || file < 0)
        return -1;
    char hash[FILE_HASH_SIZE + 1];
    file_hash(sim, file, hash);
    struct str given = str_sub(url, (size_t)(at - url.p) + 7, (size_t)(at - url.p) + 7 + FILE_HASH_SIZE);
    return str_eq_c(given, hash) && files_have(sim, given) ? file : -1;
}

// `named`: what it is called.
int sight_of_bytes(const struct sim *sim, struct str bytes, int named)
{
    return named >= 0 && file_is(sim, named, bytes) ? named : -1;
}

static void read_line(struct sim *sim, struct str line, int file, struct sight *out)
{
    if (memmem(line.p, line.n, " follows]", 9))
        sight_add(out, file, SEEN_FOLLOWS);
    else if (memmem(line.p, line.n, " could not be fetched", 21))
        sight_add(out, file, SEEN_FAILED);
    else if (memmem(line.p, line.n, "kept at the relay", 17))
        sight_add(out, file, SEEN_NAMED);
    else if (memmem(line.p, line.n, "/media/", 7))
        sight_add(out, sight_of_link(sim, line), SEEN_LINK);
}

struct str sight_read(struct sim *sim, struct str text, struct arena *arena, struct sight *out)
{
    struct str rest = STR("");
    for (size_t at = 0; at < text.n;) {
        size_t to = str_index(text, '\n', at);
        struct str line = str_sub(text, at, to);
        int file = file_named(line);
        if (file >= 0)
            read_line(sim, line, file, out);
        else if (!str_eq_c(line, "(empty message)"))
            rest = rest.n ? ARENA_JOIN(arena, rest, STR("\n"), line) : arena_str(arena, line);
        at = to + 1;
    }
    return rest;
}

// ---- fetching ----

static void call_free(struct file_call *call)
{
    DL_DELETE(call->sim->files->calls, call);
    arena_done(&call->arena);
    free(call);
}

static struct str place_of(struct file_call *call)
{
    char name[40];
    file_name(call->file, name, sizeof name);
    return arena_printf(&call->arena, "{\"ok\":true,\"result\":{\"file_id\":\"%s\",\"file_path\":\"photos/%s\"}}", name,
                        name);
}

static struct str words_of(struct file_call *call)
{
    if (!call->place)
        return STR("no");
    const char *why = call->status == 400   ? file_nature(call->sim, call->file) == FILE_LARGE
                                                  ? "Bad Request: file is too big"
                                                  : "Bad Request: invalid file_id"
                      : call->status == 429 ? "Too Many Requests"
                                            : "Internal Server Error";
    return arena_printf(&call->arena,
                        "{\"ok\":false,\"error_code\":%d,\"description\":\"%s\",\"parameters\":{\"retry_after\":%d}}",
                        call->status, why, call->retry_after_s);
}

// All of it, or the first half. False: it is not wanted.
static bool give(struct file_call *call, bool half)
{
    char bytes[120];
    file_bytes(call->sim, call->file, bytes, sizeof bytes);
    if (call->sim->options->breakage == BREAK_BYTES)
        bytes[0] ^= 1;
    size_t n = strlen(bytes), middle = n / 2;
    return call->sink.write(call->sink.arg, (struct str){bytes, middle}) &&
           (half || call->sink.write(call->sink.arg, (struct str){bytes + middle, n - middle}));
}

static void answer(struct file_call *call)
{
    struct http_response response = {.written = true, .error = STR("no answer")};
    struct http_header retry = {STR("Retry-After"), arena_printf(&call->arena, "%d", call->retry_after_s)};
    response.status = call->status;
    if (call->fate == FAILS) {
        response.failure = call->failure;
        response.status = 0;
    } else if (call->fate == SAYS) {
        response.body = words_of(call);
        response.headers = &retry;
        response.header_count = call->retry_after_s ? 1 : 0;
    } else if (call->place) {
        response.body = place_of(call);
    } else if (file_nature(call->sim, call->file) == FILE_LARGE) {
        response = (struct http_response){.failure = HTTP_UNREADABLE, .too_large = true, .written = true};
    } else if (!give(call, call->fate == CUTS)) {
        response = (struct http_response){.failure = HTTP_UNREADABLE, .written = true, .error = STR("not wanted")};
    } else if (call->fate == CUTS) {
        response = (struct http_response){.failure = HTTP_DROPPED, .written = true, .error = STR("cut")};
    }
    sim_trace(call->sim, "file %.*s: %s %d", STR_ARG(call->target), response.failure ? "failure" : "status",
              response.failure ? (int)response.failure : response.status);
    call->done(call->arg, &response);
}

static void on_end(struct sim *sim, struct sim_event *event)
{
    struct file_call *call = event->arg;
    (void)sim;
    call->ending = NULL;
    answer(call);
    call_free(call);
}

static void mishap(struct file_call *call, struct chance *c)
{
    static const enum http_failure failures[] = {HTTP_NOT_CONNECTED, HTTP_TIMEOUT, HTTP_DROPPED, HTTP_UNREADABLE,
                                                 HTTP_TLS};
    static const int statuses[] = {500, 502, 503, 504, 408, 429};
    switch (draw(c, 0, 3)) {
    case 0:
        call->fate = FAILS;
        call->failure = failures[chance_below(c, sizeof failures / sizeof *failures)];
        break;
    case 1:
        call->fate = SAYS;
        call->status = statuses[chance_below(c, sizeof statuses / sizeof *statuses)];
        call->retry_after_s = call->status == 429 ? (int)draw(c, 1, draw_percent(c, 5) ? 3000 : 60) : 0;
        break;
    default:
        if (call->sink.write)
            call->fate = CUTS;
        else
            call->fate = FAILS, call->failure = HTTP_DROPPED;
        break;
    }
}

static void draw_fate(struct file_call *call)
{
    struct sim *sim = call->sim;
    uint64_t name = sim_mix((uint64_t)call->file, sim->files->asked[call->file]++);
    struct chance c = sim_chance(sim, 'x', name);
    enum file_nature nature = file_nature(sim, call->file);
    call->status = 200;
    bool telegram = file_attachment(sim, call->file, &call->arena).ref.p;
    if (call->place && nature != FILE_FINE) {
        call->fate = SAYS;
        call->status = 400;
    } else if (nature == FILE_GONE && !telegram) {
        call->fate = SAYS;
        call->status = 404;
    }
    if (!sim->healing && (int)draw(&c, 0, 999) < sim->plan.file_faults && sim_may(sim, 'x', name))
        mishap(call, &c);
    call->ending = sim_after_here(sim, draw(&c, 1000, draw_percent(&c, 10) ? 20 * (int64_t)SECOND : 200000), on_end,
                                  call);
}

static void check_trust(struct file_call *call, bool trusted)
{
    bool ours = !str_starts(call->target, STR("http://files.test/"));
    if (trusted && !ours)
        sim_fail(call->sim, "FILE", "an address that a customer wrote is trusted: %.*s", STR_ARG(call->target));
    if (!trusted && ours)
        sim_fail(call->sim, "FILE", "what the operator named is not trusted: %.*s", STR_ARG(call->target));
}

void *files_send(struct sim *sim, const struct http_request *request, bool trusted, const struct media_sink *sink,
                 int64_t timeout_ms, void (*done)(void *arg, const struct http_response *response), void *arg)
{
    struct file_call *call = mem_new_of(struct file_call);
    (void)timeout_ms;
    call->sim = sim;
    call->target = arena_str(&call->arena, request->target);
    call->place = str_ends(request->target, STR("/getFile"));
    call->file = file_named(call->place ? request->body : request->target);
    must(call->file >= 0);
    if (sink)
        call->sink = *sink;
    call->done = done;
    call->arg = arg;
    DL_APPEND(sim->files->calls, call);
    check_trust(call, trusted || sim->options->breakage == BREAK_STRANGER);
    sim->result->requests++;
    draw_fate(call);
    return call;
}

void files_cancel(struct sim *sim, void *call_)
{
    struct file_call *call = call_;
    heap_remove(&sim->events, &call->ending->item);
    free(call->ending);
    call->done(call->arg, &(struct http_response){.failure = HTTP_CANCELLED, .written = true, .error = STR("stopped")});
    call_free(call);
}
