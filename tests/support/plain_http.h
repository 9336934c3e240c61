// Requests and answers as plain data, for the tests of what is pure.
#pragma once
#include "model/http.h"

enum { PLAIN_HEADERS_MAX = 16 };

struct plain_headers {
    struct http_header list[PLAIN_HEADERS_MAX];
    size_t count;
};

// Pairs "name", "value", ..., NULL.
struct plain_headers plain_headers_of(const char *const *pairs);
// An answer; `headers` (may be NULL) must live as long as it does.
struct http_response plain_answer(int status, const struct plain_headers *headers, struct str body);
// No answer, after the request was written or not.
struct http_response plain_failure(enum http_failure failure, bool written);
// A file of the tree, whole, in the arena; the test fails when it is not there.
struct str plain_file(struct arena *arena, const char *path);
// Whether `part` stands in `whole`.
bool plain_contains(struct str whole, const char *part);
