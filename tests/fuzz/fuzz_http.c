// The request parser: whatever bytes come, and however they are cut, the same requests come out of them or a refusal, and what is
// accepted keeps the rules that the rest of the relay relies on.
#include "net/request_parser.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Small, so that small inputs reach them.
static const struct request_limits limits = {.max_head = 512, .max_target = 64, .max_headers = 8, .max_body = 128};

// What came of an input.
struct outcome {
    size_t requests;
    uint64_t sum; // over all of them
    enum request_phase phase;
    int status;
};

static void expect(bool condition)
{
    if (!condition)
        abort();
}

static void add(struct outcome *outcome, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        outcome->sum = outcome->sum * 31 + (unsigned char)s.p[i];
    outcome->sum = outcome->sum * 31 + s.n;
}

static bool is_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static int on_head(void *arg, const struct http_request *request, size_t *max_body)
{
    (void)arg;
    expect(*max_body == limits.max_body);
    expect(request->target.n > 0 && request->target.n <= limits.max_target && is_clean(request->target));
    expect(request->target.p[0] == '/' || str_eq_c(request->target, "*"));
    expect(request->path.n + request->query.n <= request->target.n);
    expect(request->header_count <= limits.max_headers);
    expect(http_header_count(request->headers, request->header_count, "host") <= 1);
    expect(http_header_count(request->headers, request->header_count, "content-length") +
               http_header_count(request->headers, request->header_count, "transfer-encoding") <=
           1);
    for (size_t i = 0; i < request->header_count; i++)
        expect(request->headers[i].name.n > 0 && is_clean(request->headers[i].name) &&
               is_clean(request->headers[i].value));
    if (str_eq_c(request->path, "/small"))
        *max_body = 4;
    return str_eq_c(request->path, "/no") ? 403 : 0;
}

static void take(struct outcome *outcome, const struct http_request *request)
{
    expect(request->body.n <= limits.max_body);
    outcome->requests++;
    add(outcome, request->method);
    add(outcome, request->target);
    for (size_t i = 0; i < request->header_count; i++) {
        add(outcome, request->headers[i].name);
        add(outcome, request->headers[i].value);
    }
    add(outcome, request->body);
}

// Feeds in pieces of `step` bytes, each in a block of its own, so that a sanitizer sees a look beyond it.
static struct outcome parse(const uint8_t *data, size_t size, size_t step)
{
    struct outcome outcome = {0};
    struct request_parser parser;
    struct request_draft draft = {0};
    request_parser_init(&parser, &limits, on_head, NULL);
    for (size_t at = 0; at < size && parser.phase != PHASE_REFUSED; at += step) {
        size_t n = size - at < step ? size - at : step, used = 0;
        char *piece = malloc(n);
        memcpy(piece, data + at, n);
        for (size_t from = 0; from < n && parser.phase != PHASE_REFUSED; from += used) {
            parser.draft = &draft;
            enum request_phase phase = request_parser_feed(&parser, piece + from, n - from, &used);
            expect(used <= n - from && (used > 0 || phase == PHASE_REFUSED));
            if (phase != PHASE_WHOLE)
                continue;
            take(&outcome, &draft.request);
            request_draft_done(&draft);
            draft = (struct request_draft){0};
            if (!parser.keep_alive) {
                free(piece);
                return outcome;
            }
            request_parser_next(&parser);
        }
        free(piece);
    }
    request_draft_done(&draft);
    outcome.phase = parser.phase;
    outcome.status = parser.status;
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole = parse(data, size, size + 1);
    for (size_t step = 1; step < 100; step = step * 3 + 1) {
        struct outcome cut = parse(data, size, step);
        expect(cut.requests == whole.requests && cut.sum == whole.sum);
        expect(cut.phase == whole.phase);
    }
    expect(whole.phase != PHASE_REFUSED || (whole.status >= 400 && whole.status < 600));
    return 0;
}
