#include "bench/support/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NUMBER_DIGITS = 10,
    SIGNATURE_CHARS = 44, // base64 of 32 bytes
};

#define MARK_AND_PAD MARK_WORD "$L $S $T$P"
#define CUSTOMER "\"first_name\":\"Customer\",\"last_name\":\"$L\",\"username\":\"customer_$L\""

// What a shape sends: where to (`many`: with several accounts), the header lines that prove who sends, the body.
struct shape {
    const char *name, *path, *many, *auth, *body;
};

static const struct shape shapes[] = {
    {
        .name = "webhook",
        .path = "/hooks/$H/$I",
        .many = "/hooks/$H-$A/$I",
        .auth = "webhook-id: b$R-$N\r\nwebhook-timestamp: $W\r\nwebhook-signature: v1,$G\r\n",
        .body = "{\"id\":\"b$R-$N\",\"conversation\":\"c$L\",\"sender\":{\"id\":\"u$L\",\"name\":\"Customer $L\"},"
                "\"text\":\"" MARK_AND_PAD "\"}",
    },
    {
        .name = "telegram",
        .path = "/hooks/$H/$I",
        .many = "/hooks/$H-$A/$I",
        .auth = "X-Telegram-Bot-Api-Secret-Token: $K\r\n",
        .body = "{\"update_id\":$U,\"message\":{\"message_id\":$M,\"from\":{\"id\":$C,\"is_bot\":false," CUSTOMER
                ",\"language_code\":\"en\"},\"chat\":{\"id\":$C," CUSTOMER ",\"type\":\"private\"},\"date\":$W,"
                "\"text\":\"" MARK_AND_PAD "\"}}",
    },
    {
        .name = "intercom",
        .path = "/conversations/1$L/reply",
        .auth = "Authorization: Bearer $K\r\n",
        .body = "{\"message_type\":\"comment\",\"type\":\"user\",\"intercom_user_id\":\"65000000000000001$L\","
                "\"body\":\"" MARK_AND_PAD "\",\"created_at\":$W}",
    },
};

static const struct shape *shape_find(const char *name)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

bool request_shape_is_known(const char *name)
{
    return shape_find(name) != NULL;
}

static void write_digits(char *at, uint32_t width, uint64_t value)
{
    for (uint32_t i = width; i > 0; i--, value /= 10)
        at[i - 1] = (char)('0' + value % 10);
}

// How many characters `kind` takes, and its value for this message. 0: written by its own code (signature, padding).
static uint32_t patch_value(char kind, const struct request_values *v, uint64_t *out_value)
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
        return NUMBER_DIGITS;
    case 'U': // Telegram: update_id, behind its first digits, which add_constant() wrote
        *out_value = v->number;
        return 8;
    default:
        return 0;
    }
}

void request_fill(struct request *request, const struct request_values *values)
{
    for (size_t i = 0; i < request->patches; i++) {
        uint64_t value = 0;
        uint32_t width = patch_value(request->patch[i].kind, values, &value);
        write_digits(request->p + request->patch[i].at, width, value);
    }
}

static void add(struct request *request, const char *p, size_t n)
{
    memcpy(request->p + request->n, p, n);
    request->n += n;
}

// What stands for a letter and is the same in all messages of a run. What varies is patch_value()'s.
static void add_constant(struct request *request, char kind, const struct request_options *options)
{
    switch (kind) {
    case 'H': // account
        add(request, options->account, strlen(options->account));
        break;
    case 'I': // source
        add(request, options->source, strlen(options->source));
        break;
    case 'K': // secret
        add(request, options->secret, strlen(options->secret));
        break;
    case 'P': // padding
        memset(request->p + request->n, 'x', options->pad);
        request->n += options->pad;
        break;
    case 'R': // the run's number
    case 'U': // stands before update_id
        write_digits(request->p + request->n, 3, kind == 'R' ? options->run : 100 + options->run);
        request->n += 3;
        break;
    default:
        break;
    }
}

// Appends the template to the request, which has room for it. The values of the run are written here and now.
static bool expand(struct request *request, const char *from, const struct request_options *options)
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
        add_constant(request, kind, options);
        width = kind == 'G' ? SIGNATURE_CHARS : patch_value(kind, &nothing, &value);
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

static struct request new_request(const char *from, const struct request_options *options)
{
    size_t secret_n = options->secret ? strlen(options->secret) : 0;
    struct request request = {.p = malloc(strlen(from) * SIGNATURE_CHARS + strlen(options->account) +
                                          strlen(options->source) + secret_n + options->pad)};
    if (!request.p || !expand(&request, from, options))
        abort();
    return request;
}

// The length of what a template expands to.
static size_t expanded_size(const char *from, const struct request_options *options)
{
    struct request scratch = new_request(from, options);
    free(scratch.p);
    return scratch.n;
}

void request_init(struct request *request, const struct request_options *options)
{
    const struct shape *shape = shape_find(options->shape);
    char head[1024];
    snprintf(head, sizeof(head),
             "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tributary-bench\r\nAccept: application/json\r\n"
             "Content-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
             options->accounts > 1 && shape->many ? shape->many : shape->path, options->host,
             options->secret ? shape->auth : "", expanded_size(shape->body, options));
    size_t head_n = expanded_size(head, options);
    char *whole = malloc(strlen(head) + strlen(shape->body) + 1);
    if (!whole)
        abort();
    memcpy(whole, head, strlen(head));
    memcpy(whole + strlen(head), shape->body, strlen(shape->body) + 1);
    *request = new_request(whole, options);
    request->body_at = head_n;
    free(whole);
}

void request_copy(struct request *out, const struct request *from)
{
    *out = *from;
    out->p = malloc(from->n);
    if (!out->p)
        abort();
    memcpy(out->p, from->p, from->n);
}

void request_free(struct request *request)
{
    free(request->p);
    request->p = NULL;
}

// Where the first patch of a kind is, or NULL.
static char *find(const struct request *request, char kind)
{
    for (size_t i = 0; i < request->patches; i++)
        if (request->patch[i].kind == kind)
            return request->p + request->patch[i].at;
    return NULL;
}

bool request_key_init(struct request_key *key, const char *secret)
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

void request_key_done(struct request_key *key)
{
    EVP_MAC_CTX_free(key->context);
    EVP_MAC_free(key->hmac);
}

void request_sign(struct request *request, struct request_key *key)
{
    char *signature = find(request, 'G');
    if (!signature || !key->context)
        return;
    const size_t id_n = 1 + 3 + 1 + NUMBER_DIGITS;
    const char *id = find(request, 'N') + NUMBER_DIGITS - id_n;
    unsigned char mac[32];
    unsigned char text[SIGNATURE_CHARS + 1];
    size_t size = sizeof(mac);
    bool good = EVP_MAC_init(key->context, NULL, 0, NULL) &&
                EVP_MAC_update(key->context, (const unsigned char *)id, id_n) &&
                EVP_MAC_update(key->context, (const unsigned char *)".", 1) &&
                EVP_MAC_update(key->context, (const unsigned char *)find(request, 'W'), 10) &&
                EVP_MAC_update(key->context, (const unsigned char *)".", 1) &&
                EVP_MAC_update(key->context, (const unsigned char *)request->p + request->body_at,
                               request->n - request->body_at) &&
                EVP_MAC_final(key->context, mac, &size, sizeof(mac));
    if (!good)
        abort();
    EVP_EncodeBlock(text, mac, sizeof(mac));
    memcpy(signature, text, SIGNATURE_CHARS);
}
