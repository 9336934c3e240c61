#include "model/webhook_signature.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MIN = 24, KEY_MAX = 64, MAC_SIZE = 32, MAC_TEXT_SIZE = 44 };
enum { KEYS = 64 }; // a thread's contexts, 1 KiB each

static int base64_value(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *hit = c ? strchr(alphabet, c) : NULL;
    return hit ? (int)(hit - alphabet) : -1;
}

// The key bytes of a secret, or 0 when it is not one. OpenSSL's decoder wants padding and lets blanks pass.
static size_t key_of(struct str secret, unsigned char out[KEY_MAX])
{
    if (!str_starts(secret, STR("whsec_")))
        return 0;
    struct str text = str_sub(secret, 6, secret.n);
    for (int i = 0; i < 2 && str_ends(text, STR("=")); i++)
        text.n--;
    if (text.n % 4 == 1 || text.n * 3 / 4 > KEY_MAX)
        return 0;
    size_t n = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < text.n; i++) {
        int value = base64_value(text.p[i]);
        if (value < 0)
            return 0;
        bits = (bits << 6 | (unsigned)value) & 0xFFFF;
        if (i % 4)
            out[n++] = (unsigned char)(bits >> (6 - i % 4 * 2));
    }
    return n;
}

const char *webhook_secret_trouble(struct str secret)
{
    unsigned char key[KEY_MAX];
    if (!str_starts(secret, STR("whsec_")))
        return "a webhook secret is \"whsec_\" and base64 of 24 to 64 random bytes";
    size_t n = key_of(secret, key);
    if (!n)
        return "what follows \"whsec_\" must be base64 of 24 to 64 random bytes";
    if (n < KEY_MIN)
        return "a webhook secret must hold at least 24 random bytes";
    return NULL;
}

// Contexts of this thread, each with the key of a secret in it: to find HMAC and SHA-256, and then to begin with a key, cost more
// than to compute them over a message. A secret has one place where its context can stand, and drives out whose that is.
struct keyed {
    char *secret;
    size_t secret_size;
    EVP_MAC_CTX *context;
};

struct keys {
    struct keyed all[KEYS];
};

static pthread_key_t thread_keys;

static void forget(struct keyed *keyed)
{
    OPENSSL_clear_free(keyed->secret, keyed->secret_size);
    keyed->secret = NULL;
}

static void free_keys(void *arg)
{
    struct keys *keys = arg;
    for (size_t i = 0; i < KEYS; i++) {
        forget(&keys->all[i]);
        EVP_MAC_CTX_free(keys->all[i].context);
    }
    free(keys);
}

static void make_thread_keys(void)
{
    must(pthread_key_create(&thread_keys, free_keys) == 0);
}

static struct keys *keys_of_thread(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_thread_keys);
    struct keys *keys = pthread_getspecific(thread_keys);
    if (!keys) {
        keys = mem_new_of(struct keys);
        must(pthread_setspecific(thread_keys, keys) == 0);
    }
    return keys;
}

static EVP_MAC_CTX *context_new(void)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {{"digest", OSSL_PARAM_UTF8_STRING, digest, sizeof digest - 1, 0}, {0}};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *context = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac); // the context keeps its own reference
    must(context && EVP_MAC_CTX_set_params(context, params));
    return context;
}

// False when the secret is none.
static bool begin_with_key(struct keyed *keyed, struct str secret)
{
    unsigned char key[KEY_MAX];
    size_t key_size = key_of(secret, key);
    if (!key_size)
        return false;
    forget(keyed);
    if (!keyed->context)
        keyed->context = context_new();
    must(EVP_MAC_init(keyed->context, key, key_size, NULL));
    OPENSSL_cleanse(key, sizeof key);
    keyed->secret = OPENSSL_memdup(secret.p, secret.n);
    must(keyed->secret);
    keyed->secret_size = secret.n;
    return true;
}

// Ready for a message, with the key of the secret; NULL when the secret is none.
static EVP_MAC_CTX *context_of(struct str secret)
{
    struct keyed *keyed = &keys_of_thread()->all[hash_str(secret) % KEYS];
    if (keyed->secret && str_eq(secret, (struct str){keyed->secret, keyed->secret_size}))
        must(EVP_MAC_init(keyed->context, NULL, 0, NULL));
    else if (!begin_with_key(keyed, secret))
        return NULL;
    return keyed->context;
}

// HMAC-SHA256 over "<id>.<timestamp>.<body>", as base64. False when the secret is none.
static bool mac_text(struct str secret, struct str id, struct str timestamp, struct str body,
                     unsigned char out[MAC_TEXT_SIZE + 1])
{
    unsigned char mac[MAC_SIZE];
    size_t size = 0;
    EVP_MAC_CTX *context = context_of(secret);
    if (!context)
        return false;
    struct str parts[] = {id, STR("."), timestamp, STR("."), body};
    bool done = true;
    for (size_t i = 0; done && i < sizeof parts / sizeof *parts; i++)
        done = !parts[i].n || EVP_MAC_update(context, (const unsigned char *)parts[i].p, parts[i].n);
    done = done && EVP_MAC_final(context, mac, &size, sizeof mac) && size == MAC_SIZE;
    must(done); // only memory, or an OpenSSL without SHA-256, can fail here
    EVP_EncodeBlock(out, mac, MAC_SIZE);
    return true;
}

struct str webhook_sign(struct arena *arena, struct str secret, struct str id, int64_t timestamp_s, struct str body)
{
    unsigned char text[MAC_TEXT_SIZE + 1];
    char digits[STR_I64_SIZE];
    bool signed_it = mac_text(secret, id, str_of_i64(timestamp_s, digits), body, text);
    must(signed_it); // the configuration was checked with webhook_secret_trouble
    return ARENA_JOIN(arena, STR("v1,"), {(const char *)text, MAC_TEXT_SIZE});
}

static bool is_signed(struct str secret, struct str id, struct str timestamp, struct str signature, struct str body)
{
    unsigned char text[MAC_TEXT_SIZE + 1];
    if (!mac_text(secret, id, timestamp, body, text))
        return false;
    struct str right = {(const char *)text, MAC_TEXT_SIZE};
    bool verified = false;
    for (size_t at = 0; at < signature.n;) {
        size_t end = str_index(signature, ' ', at);
        struct str entry = str_sub(signature, at, end);
        if (str_starts(entry, STR("v1,")))
            verified |= str_eq_secret(right, str_sub(entry, 3, entry.n));
        at = end + 1;
    }
    return verified;
}

enum webhook_judgement webhook_judge(struct str secret, struct str id, struct str timestamp, struct str signature,
                                     struct str body, int64_t now_s, int64_t *out_ahead_s)
{
    int64_t at, ahead;
    // A dot would let parts of one signed text be read as parts of another.
    if (!id.n || str_index(id, '.', 0) < id.n || !str_to_i64(timestamp, &at) ||
        __builtin_sub_overflow(at, now_s, &ahead))
        return WEBHOOK_FORGED;
    if (!is_signed(secret, id, timestamp, signature, body))
        return WEBHOOK_FORGED;
    *out_ahead_s = ahead;
    return ahead >= -WEBHOOK_TOLERANCE_S && ahead <= WEBHOOK_TOLERANCE_S ? WEBHOOK_VERIFIED : WEBHOOK_UNTIMELY;
}

bool webhook_verify(struct str secret, struct str id, struct str timestamp, struct str signature, struct str body,
                    int64_t now_s)
{
    int64_t ahead_s;
    return webhook_judge(secret, id, timestamp, signature, body, now_s, &ahead_s) == WEBHOOK_VERIFIED;
}
