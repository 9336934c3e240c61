// What is signed is the link itself without its signature: "<hash>?exp=<digits>&name=<escaped>&mime=<escaped>". Name and type are
// escaped anew when it is read, so a program between that writes "%2d" for "-" breaks no link, and nothing of one field can be taken
// for another.
#include "model/media_link.h"

#include "base/must.h"
#include "model/http.h"

#include <openssl/hmac.h>

enum {
    NAME_MAX_BYTES = 200, // a request target has 8 KiB, and a byte may take three
    MIME_MAX_BYTES = 100,
    SIGNATURE_SIZE = 64, // hex digits
    EXPIRY_DIGITS = 12,  // at most: far from what overflows as microseconds
};

static const int64_t NEVER_S = INT64_C(253402300799); // the last second of the year 9999

// At most so many bytes, whole characters, and nothing from a NUL on: it could not be read back.
static struct str cut(struct str text, size_t most)
{
    text = str_sub(text, 0, str_index(text, '\0', 0));
    if (text.n <= most)
        return text;
    while (most > 0 && ((unsigned char)text.p[most] & 0xC0) == 0x80)
        most--;
    return str_sub(text, 0, most);
}

static void sign(const struct media_links *links, struct str hash, struct str exp, struct str name, struct str mime,
                 struct arena *arena, char out[SIGNATURE_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    struct str text = ARENA_JOIN(arena, hash, STR("?exp="), exp, STR("&name="), http_escape(arena, name), STR("&mime="),
                                 http_escape(arena, mime));
    unsigned char mac[SIGNATURE_SIZE / 2];
    unsigned size = 0;
    must(HMAC(EVP_sha256(), links->key, sizeof links->key, (const unsigned char *)text.p, text.n, mac, &size));
    must(size == sizeof mac);
    for (size_t i = 0; i < sizeof mac; i++) {
        out[2 * i] = digits[mac[i] >> 4];
        out[2 * i + 1] = digits[mac[i] & 15];
    }
}

static struct str link_until(const struct media_links *links, const struct attachment *file, int64_t until_s,
                             struct arena *arena)
{
    char number[STR_I64_SIZE], signature[SIGNATURE_SIZE];
    struct str exp = str_of_i64(until_s, number);
    struct str name = cut(file->name, NAME_MAX_BYTES), mime = cut(file->mime, MIME_MAX_BYTES);
    must(file->hash.n == FILE_HASH_SIZE);
    sign(links, file->hash, exp, name, mime, arena, signature);
    return ARENA_JOIN(arena, links->base, STR("/media/"), file->hash, STR("?exp="), exp, STR("&sig="),
                      {signature, sizeof signature}, STR("&name="), http_escape(arena, name), STR("&mime="),
                      http_escape(arena, mime));
}

struct str media_link(const struct media_links *links, const struct attachment *file, int64_t now_us,
                      struct arena *arena)
{
    return link_until(links, file, (now_us + links->lifetime_us + 999999) / 1000000, arena);
}

struct str media_link_lasting(const struct media_links *links, const struct attachment *file, struct arena *arena)
{
    return link_until(links, file, NEVER_S, arena);
}

bool media_link_path(struct str path, struct str *out_hash)
{
    struct str prefix = STR("/media/"), hash = str_sub(path, prefix.n, path.n);
    if (!str_starts(path, prefix) || hash.n != FILE_HASH_SIZE)
        return false;
    for (size_t i = 0; i < hash.n; i++)
        if (!(hash.p[i] >= '0' && hash.p[i] <= '9') && !(hash.p[i] >= 'a' && hash.p[i] <= 'f'))
            return false;
    *out_hash = hash;
    return true;
}

// The decoded value of a parameter that stands there once. Absent: "" where it may be, else false. Twice: false, for whoever stands
// between might look at the other one.
static bool read_parameter(struct str query, const char *key, bool optional, struct arena *arena, struct str *out)
{
    size_t count = 0;
    for (size_t at = 0; at < query.n;) {
        size_t end = str_index(query, '&', at);
        struct str pair = str_sub(query, at, end);
        count += str_eq_c(str_sub(pair, 0, str_index(pair, '=', 0)), key);
        at = end + 1;
    }
    *out = count == 1 ? http_query_get(arena, query, key) : STR("");
    return count == 1 ? out->p != NULL : count == 0 && optional;
}

static bool read_expiry(struct str exp, int64_t *out_s)
{
    for (size_t i = 0; i < exp.n; i++)
        if (exp.p[i] < '0' || exp.p[i] > '9')
            return false;
    return exp.n <= EXPIRY_DIGITS && str_to_i64(exp, out_s);
}

enum media_link_reading media_link_read(const struct media_links *links, struct str path, struct str query,
                                        int64_t now_us, struct arena *arena, struct attachment *out)
{
    struct str hash, exp, signature, name, mime;
    char right[SIGNATURE_SIZE];
    int64_t expiry_s;
    if (!media_link_path(path, &hash) || !read_parameter(query, "exp", false, arena, &exp) ||
        !read_parameter(query, "sig", false, arena, &signature) || !read_parameter(query, "name", true, arena, &name) ||
        !read_parameter(query, "mime", true, arena, &mime))
        return MEDIA_LINK_FORGED;
    if (!read_expiry(exp, &expiry_s) || name.n > NAME_MAX_BYTES || mime.n > MIME_MAX_BYTES)
        return MEDIA_LINK_FORGED;
    sign(links, hash, exp, name, mime, arena, right);
    if (!str_eq_secret((struct str){right, sizeof right}, signature))
        return MEDIA_LINK_FORGED;
    if (now_us >= expiry_s * 1000000)
        return MEDIA_LINK_EXPIRED;
    *out = (struct attachment){
        .name = name, .mime = mime, .size = -1, .state = FILE_KEPT, .hash = arena_str(arena, hash)};
    return MEDIA_LINK_GOOD;
}
