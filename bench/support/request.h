// The requests that the generator sends: one template a shape, expanded once, in which only digits of fixed width change from one
// message to the next. So a request costs a dozen short copies (and an HMAC where it is signed), never a printf.
// In a template a dollar sign and a letter stand for what varies; patch_value() in request.c says what each is.
#pragma once
#include "bench/support/mark.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REQUEST_PATCHES = 32, REQUEST_PAD_MAX = 4 << 20 };

struct request_options {
    const char *
        shape; // "webhook", "telegram", or "intercom": a reply to conversation 1<lane>, for runs straight into the sink
    const char *host;    // for the Host header
    const char *account; // with several accounts: "<account>-<number of six digits>"
    const char *source;
    const char *secret; // webhook: whsec_..., or NULL for no signature; telegram: the header's value, or NULL
    uint32_t accounts;
    uint32_t run; // 0..999: tells the ids of two runs against one store apart
    size_t pad;   // bytes of text beside the mark
};

// What changes from message to message.
struct request_values {
    struct mark mark;
    uint32_t account; // its number
    uint32_t number;  // of the message in this run, from 0
    int64_t wall_s;
};

struct request_patch {
    size_t at;
    char kind;
};

struct request {
    char *p;
    size_t n;
    size_t body_at;
    size_t patches;
    struct request_patch patch[REQUEST_PATCHES];
};

bool request_shape_is_known(const char *shape);
void request_init(struct request *request, const struct request_options *options);

// The template's own copy for a connection.
void request_copy(struct request *out, const struct request *from);
void request_free(struct request *request);
void request_fill(struct request *request, const struct request_values *values);

// Signs with the Standard Webhooks scheme, when the template has a place for it. Written anew here, so that generator and daemon
// do not share a mistake. The id is found by its place: it ends with the first number and is as long as b$R-$N.
struct request_key {
    EVP_MAC *hmac;
    EVP_MAC_CTX *context; // NULL: nothing is signed
};

bool request_key_init(struct request_key *key, const char *secret);
void request_key_done(struct request_key *key);
void request_sign(struct request *request, struct request_key *key);
