// One HTTP request to the running relay over its Unix socket, for the command line.
#pragma once
#include "base/arena.h"
#include "base/buf.h"

enum { HTTP_LOCAL_ANSWER_MAX = 256 << 20 };

struct http_local_answer {
    int status;
    struct buf body; // the caller's to end
};

// `timeout_s` 0: none. False: no answer, and one sentence in *why (in the arena).
bool http_local_call(const char *socket, const char *method, const char *target, struct str body, int timeout_s,
                     struct arena *arena, struct http_local_answer *out, const char **why);
