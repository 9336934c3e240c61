#include "fuzz/input.h"

enum { HEADERS_MAX = 8 };

unsigned input_byte(struct input *input)
{
    unsigned byte = input->left.n ? (unsigned char)input->left.p[0] : 0;
    input->left = str_sub(input->left, 1, input->left.n);
    return byte;
}

struct str input_until(struct input *input, char end)
{
    size_t n = str_index(input->left, end, 0);
    struct str text = str_sub(input->left, 0, n);
    input->left = str_sub(input->left, n + 1, input->left.n);
    return text;
}

static void read_headers(struct input *record, struct arena *arena, struct http_response *out)
{
    struct http_header *headers = arena_alloc(arena, HEADERS_MAX * sizeof *headers);
    for (struct str line; (line = input_until(record, '\n')).n;) {
        size_t colon = str_index(line, ':', 0);
        if (out->header_count < HEADERS_MAX && colon && colon < line.n)
            headers[out->header_count++] = (struct http_header){str_sub(line, 0, colon),
                                                                str_trim(str_sub(line, colon + 1, line.n))};
    }
    out->headers = headers;
}

struct http_response input_answer(struct input *input, struct arena *arena)
{
    static const int statuses[] = {200, 200, 201, 204, 302, 400, 401, 403, 404, 404, 409,
                                   410, 422, 429, 500, 502, 503, 504, 529, 600, 0};
    struct http_response response = {.written = true};
    if (!input->left.n) {
        response.status = 404;
        response.body = STR("");
        return response;
    }
    unsigned choice = input_byte(input);
    struct input record = {input_until(input, RECORD_END)};
    response.status = statuses[choice % (sizeof statuses / sizeof *statuses)];
    if (!response.status)
        response.failure = (enum http_failure)(1 + choice / 32 % 8);
    read_headers(&record, arena, &response);
    response.body = record.left;
    return response;
}
