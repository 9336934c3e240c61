#include "support/plain_http.h"

#include "base/must.h"

#include <stdio.h>
#include <string.h>

struct plain_headers plain_headers_of(const char *const *pairs)
{
    struct plain_headers headers = {0};
    for (; pairs[0]; pairs += 2) {
        must(headers.count < PLAIN_HEADERS_MAX);
        headers.list[headers.count++] = (struct http_header){str_of(pairs[0]), str_of(pairs[1])};
    }
    return headers;
}

struct http_response plain_answer(int status, const struct plain_headers *headers, struct str body)
{
    return (struct http_response){
        .failure = HTTP_ANSWERED,
        .written = true,
        .status = status,
        .headers = headers ? headers->list : NULL,
        .header_count = headers ? headers->count : 0,
        .body = body,
    };
}

struct http_response plain_failure(enum http_failure failure, bool written)
{
    return (struct http_response){.failure = failure, .written = written, .error = STR("the wire was cut")};
}

static struct str read_all(struct arena *arena, FILE *file)
{
    int failed = fseek(file, 0, SEEK_END);
    long size = ftell(file);
    must(!failed && size >= 0);
    rewind(file);
    char *text = arena_alloc(arena, (size_t)size + 1);
    size_t n = fread(text, 1, (size_t)size, file);
    must(n == (size_t)size);
    return (struct str){text, n};
}

struct str plain_file(struct arena *arena, const char *path)
{
    struct str text = STR_NONE;
    FILE *file = fopen(path, "rb");
    if (file) {
        text = read_all(arena, file);
        fclose(file);
    }
    if (!text.p)
        must_fail(path, __FILE__, __LINE__);
    return text;
}

bool plain_contains(struct str whole, const char *part)
{
    return !*part || (whole.n && memmem(whole.p, whole.n, part, strlen(part)) != NULL);
}
