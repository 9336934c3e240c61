// The requests that the generator sends: one template a shape, expanded once, in which only digits of fixed width change from one
// message to the next. So a request costs a dozen short copies (and an HMAC where it is signed), never a printf.
// In a template a dollar sign and a letter stand for what varies; request_patch() says what each is.
#pragma once
#include "mark.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REQUEST_PATCHES = 32,
    REQUEST_PAD_MAX = 4 << 20,
    REQUEST_NUMBER_DIGITS = 10,
    REQUEST_SIGNATURE_CHARS = 44, // base64 of 32 bytes
};

struct request_options {
    const char *shape;   // "webhook" or "telegram"
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

static const char *const request_webhook_body =
    "{\"id\":\"b$R-$N\",\"conversation\":\"c$L\",\"sender\":{\"id\":\"u$L\",\"name\":\"Customer $L\"},"
    "\"text\":\"" MARK_WORD "$L $S $T$P\"}";

static const char *const request_telegram_body =
    "{\"update_id\":$U,\"message\":{\"message_id\":$M,\"from\":{\"id\":$C,\"is_bot\":false,\"first_name\":\"Customer\","
    "\"last_name\":\"$L\",\"username\":\"customer_$L\",\"language_code\":\"en\"},\"chat\":{\"id\":$C,\"first_name\":\"Customer\","
    "\"last_name\":\"$L\",\"username\":\"customer_$L\",\"type\":\"private\"},\"date\":$W,"
    "\"text\":\"" MARK_WORD "$L $S $T$P\"}}";

static inline void request_digits(char *at, uint32_t width, uint64_t value)
{
    for (uint32_t i = width; i > 0; i--, value /= 10)
        at[i - 1] = (char)('0' + value % 10);
}

// How many characters `kind` takes, and its value for this message. 0: written by its own code (signature, padding).
static inline uint32_t request_patch(char kind, const struct request_values *v, uint64_t *out_value)
{
    switch (kind) {
    case 'A': // account
        *out_value = v->account;
        return 6;
    case 'L': // lane: the conversation
        *out_value = v->mark.lane;
        return MARK_LANE_DIGITS;
    case 'S': // serial within the lane
        *out_value = v->mark.serial;
        return MARK_SERIAL_DIGITS;
    case 'T': // time of sending
        *out_value = v->mark.sent_ns;
        return MARK_TIME_DIGITS;
    case 'W': // wall time, seconds
        *out_value = (uint64_t)v->wall_s;
        return 10;
    case 'C': // Telegram: chat, the same as the lane, as a number without leading zeros
        *out_value = 1000000000U + v->mark.lane;
        return 10;
    case 'M': // Telegram: message of the chat
        *out_value = 1000000000U + v->mark.serial;
        return 10;
    case 'N': // webhook: the id, which grows like those of most senders
        *out_value = v->number;
        return REQUEST_NUMBER_DIGITS;
    case 'U': // Telegram: update_id. 'R' is in it when the template is expanded, as its first digits
        *out_value = v->number;
        return 8;
    default:
        return 0;
    }
}

static inline void request_fill(struct request *request, const struct request_values *values)
{
    for (size_t i = 0; i < request->patches; i++) {
        uint64_t value = 0;
        uint32_t width = request_patch(request->patch[i].kind, values, &value);
        request_digits(request->p + request->patch[i].at, width, value);
    }
}

// Appends the template to the request, which has room for it. The values of the run are written here and now.
static inline bool request_expand(struct request *request, const char *from, const struct request_options *options)
{
    static const struct request_values nothing;
    for (; *from; from++) {
        uint64_t value;
        uint32_t width;
        if (*from != '$') {
            request->p[request->n++] = *from;
            continue;
        }
        char kind = *++from;
        if (kind == 'R' || kind == 'U') {
            request_digits(request->p + request->n, 3, kind == 'R' ? options->run : 100 + options->run);
            request->n += 3;
        }
        if (kind == 'P') {
            memset(request->p + request->n, 'x', options->pad);
            request->n += options->pad;
        }
        width = kind == 'G' ? REQUEST_SIGNATURE_CHARS : request_patch(kind, &nothing, &value);
        if (!width)
            continue;
        if (request->patches == REQUEST_PATCHES)
            return false;
        request->patch[request->patches++] = (struct request_patch){.at = request->n, .kind = kind};
        memset(request->p + request->n, '0', width);
        request->n += width;
    }
    return true;
}

// The length of what a template expands to.
static inline size_t request_expanded(const char *from, const struct request_options *options)
{
    struct request scratch = {.p = malloc(strlen(from) * REQUEST_SIGNATURE_CHARS + options->pad)};
    if (!scratch.p || !request_expand(&scratch, from, options))
        abort();
    free(scratch.p);
    return scratch.n;
}

static inline void request_init(struct request *request, const struct request_options *options)
{
    bool telegram = strcmp(options->shape, "telegram") == 0;
    const char *body = telegram ? request_telegram_body : request_webhook_body;
    char head[1024], auth[256] = "";
    if (telegram && options->secret)
        snprintf(auth, sizeof(auth), "X-Telegram-Bot-Api-Secret-Token: %s\r\n", options->secret);
    else if (options->secret)
        snprintf(auth, sizeof(auth), "webhook-id: b$R-$N\r\nwebhook-timestamp: $W\r\nwebhook-signature: v1,$G\r\n");
    snprintf(head, sizeof(head),
             "POST /hooks/%s%s/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tributary-bench\r\nAccept: */*\r\n"
             "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
             options->account, options->accounts > 1 ? "-$A" : "", options->source, options->host, auth,
             request_expanded(body, options));
    *request = (struct request){.p = malloc(sizeof(head) * 8 + strlen(body) * REQUEST_SIGNATURE_CHARS + options->pad)};
    if (!request->p || !request_expand(request, head, options))
        abort();
    request->body_at = request->n;
    if (!request_expand(request, body, options))
        abort();
}

// The template's own copy for a connection.
static inline void request_copy(struct request *out, const struct request *from)
{
    *out = *from;
    out->p = malloc(from->n);
    if (!out->p)
        abort();
    memcpy(out->p, from->p, from->n);
}

static inline void request_free(struct request *request)
{
    free(request->p);
    request->p = NULL;
}

// Where the first patch of a kind is, or NULL.
static inline char *request_find(const struct request *request, char kind)
{
    for (size_t i = 0; i < request->patches; i++)
        if (request->patch[i].kind == kind)
            return request->p + request->patch[i].at;
    return NULL;
}

// Signs with the Standard Webhooks scheme, when the template has a place for it. Written anew here, so that generator and daemon
// do not share a mistake. The id is found by its place: it ends with the first number and is as long as b$R-$N.
struct request_key {
    EVP_MAC *hmac;
    EVP_MAC_CTX *context; // NULL: nothing is signed
};

static inline bool request_key_init(struct request_key *key, const char *secret)
{
    unsigned char raw[96];
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0), OSSL_PARAM_construct_end()};
    const char *text = secret + strlen("whsec_");
    size_t n = strncmp(secret, "whsec_", strlen("whsec_")) == 0 ? strlen(text) : 0;
    if (n == 0 || n > 88 || n % 4)
        return false;
    int size = EVP_DecodeBlock(raw, (const unsigned char *)text, (int)n);
    size -= (text[n - 1] == '=') + (text[n - 2] == '=');
    key->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    key->context = EVP_MAC_CTX_new(key->hmac);
    return size >= 24 && key->context && EVP_MAC_init(key->context, raw, (size_t)size, params);
}

static inline void request_key_done(struct request_key *key)
{
    EVP_MAC_CTX_free(key->context);
    EVP_MAC_free(key->hmac);
}

static inline void request_sign(struct request *request, struct request_key *key)
{
    char *signature = request_find(request, 'G');
    if (!signature || !key->context)
        return;
    const size_t id_n = 1 + 3 + 1 + REQUEST_NUMBER_DIGITS;
    const char *id = request_find(request, 'N') + REQUEST_NUMBER_DIGITS - id_n;
    unsigned char mac[32];
    unsigned char text[REQUEST_SIGNATURE_CHARS + 1];
    size_t size = sizeof(mac);
    bool good = EVP_MAC_init(key->context, NULL, 0, NULL) &&
                EVP_MAC_update(key->context, (const unsigned char *)id, id_n) &&
                EVP_MAC_update(key->context, (const unsigned char *)".", 1) &&
                EVP_MAC_update(key->context, (const unsigned char *)request_find(request, 'W'), 10) &&
                EVP_MAC_update(key->context, (const unsigned char *)".", 1) &&
                EVP_MAC_update(key->context, (const unsigned char *)request->p + request->body_at,
                               request->n - request->body_at) &&
                EVP_MAC_final(key->context, mac, &size, sizeof(mac));
    if (!good)
        abort();
    EVP_EncodeBlock(text, mac, sizeof(mac));
    memcpy(signature, text, REQUEST_SIGNATURE_CHARS);
}
