// What the bytes of a fuzzer are taken for. Parts end with a separator, so that one may grow when the mutator changes it.
#pragma once
#include "base/arena.h"
#include "model/http.h"

#include <stdbool.h>

#define RECORD_END '\x1e'

// A target that is slow says how many variants of an input the replay (replay.c) makes of each kind.
extern const size_t replay_variants __attribute__((weak));

// The rest of an input.
struct input {
    struct str left;
};

static inline struct input input_of(const uint8_t *data, size_t size)
{
    return (struct input){{(const char *)data, size}};
}
// 0 where nothing is left.
unsigned input_byte(struct input *input);
// Up to the end, which is taken away.
struct str input_until(struct input *input, char end);

// The next answer of a peer: a byte that chooses the status or the failure, header lines ("Name: value"), an empty line, and the
// body up to RECORD_END. An empty body with 404 and no headers where nothing is left.
struct http_response input_answer(struct input *input, struct arena *arena);
