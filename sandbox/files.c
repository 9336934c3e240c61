#include "sandbox/files.h"

#include "base/chance.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/http.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <utlist.h>

struct files *files_new(int64_t max)
{
    struct files *files = mem_new_of(struct files);
    files->max = max;
    return files;
}

static void file_free(struct files *files, struct file *file)
{
    HASH_DELETE(hh, files->by_id, file);
    DL_DELETE(files->list, file);
    files->size -= (int64_t)file->bytes.n;
    disown(&file->bytes);
    disown(&file->name);
    disown(&file->mime);
    free(file);
}

void files_clear(struct files *files)
{
    while (files->list)
        file_free(files, files->list);
}

void files_free(struct files *files)
{
    if (!files)
        return;
    files_clear(files);
    free(files);
}

static void hash_bytes(struct str bytes, char out[FILES_HASH_SIZE + 1])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    must(EVP_Digest(str_chars(bytes), bytes.n, digest, &length, EVP_sha256(), NULL));
    for (unsigned i = 0; i < length; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static bool good_mime(struct str mime)
{
    for (size_t i = 0; i < mime.n; i++) {
        char c = mime.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && !strchr("/+.-_", c))
            return false;
    }
    return mime.n > 0 && mime.n <= 127;
}

struct file *files_add(struct files *files, struct str bytes, struct str name, struct str mime)
{
    struct file *file = mem_new_of(struct file);
    struct chance chance;
    chance_init(&chance, ++files->last); // so that ids tell nothing and are the same in every run
    snprintf(file->id, sizeof(file->id), "%08" PRIx64 "%016" PRIx64, files->last & 0xFFFFFFFF, chance_next(&chance));
    hash_bytes(bytes, file->hash);
    file->bytes = own(bytes.p ? bytes : STR(""));
    file->name = own(name.p ? name : STR(""));
    mime = http_media_type(mime);
    file->mime = own(good_mime(mime) ? mime : STR("application/octet-stream"));
    HASH_ADD(hh, files->by_id, id[0], FILES_ID_SIZE, file);
    DL_APPEND(files->list, file);
    files->size += (int64_t)bytes.n;
    while (files->size > files->max && files->list != file)
        file_free(files, files->list);
    return file;
}

struct file *files_find(const struct files *files, struct str id)
{
    struct file *file = NULL;
    if (id.n == FILES_ID_SIZE)
        HASH_FIND(hh, files->by_id, id.p, id.n, file);
    return file;
}

// ---- what files look like ----

// "*" stands for four bytes of any kind.
static const struct magic {
    struct str bytes;
    const char *mime;
} magics[] = {
    {{"\x89PNG\r\n\x1a\n", 8}, "image/png"},
    {{"\xff\xd8\xff", 3}, "image/jpeg"},
    {{"GIF87a", 6}, "image/gif"},
    {{"GIF89a", 6}, "image/gif"},
    {{"RIFF*WEBP", 9}, "image/webp"},
    {{"BM*\0\0\0\0", 7}, "image/bmp"},
    {{"OggS", 4}, "audio/ogg"},
    {{"ID3", 3}, "audio/mpeg"},
    {{"\xff\xfb", 2}, "audio/mpeg"},
    {{"*ftypM4A", 8}, "audio/mp4"},
    {{"*ftyp", 5}, "video/mp4"},
};

static bool begins(struct str bytes, struct str magic)
{
    size_t at = 0;
    for (size_t i = 0; i < magic.n; i++) {
        if (magic.p[i] == '*') {
            at += 4;
            continue;
        }
        if (at >= bytes.n || bytes.p[at++] != magic.p[i])
            return false;
    }
    return at <= bytes.n;
}

struct str file_type(struct str bytes)
{
    for (size_t i = 0; i < sizeof(magics) / sizeof(*magics); i++)
        if (begins(bytes, magics[i].bytes))
            return str_of(magics[i].mime);
    return STR_NONE;
}

static int64_t number(struct str bytes, size_t at, size_t n, bool low_first)
{
    int64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | (unsigned char)bytes.p[low_first ? at + n - 1 - i : at + i];
    return value;
}

// The frame header is behind segments that say how long they are.
static bool jpeg_size(struct str bytes, int64_t *width, int64_t *height)
{
    for (size_t at = 2; at + 9 <= bytes.n && bytes.p[at] == '\xff';) {
        unsigned kind = (unsigned char)bytes.p[at + 1];
        if (kind >= 0xC0 && kind <= 0xCF && kind != 0xC4 && kind != 0xC8 && kind != 0xCC) {
            *height = number(bytes, at + 5, 2, false);
            *width = number(bytes, at + 7, 2, false);
            return true;
        }
        at += 2 + (size_t)number(bytes, at + 2, 2, false);
    }
    return false;
}

bool file_picture_size(struct str bytes, int64_t *width, int64_t *height)
{
    struct str type = file_type(bytes);
    if (str_eq_c(type, "image/jpeg"))
        return jpeg_size(bytes, width, height);
    if (str_eq_c(type, "image/png") && bytes.n >= 24) {
        *width = number(bytes, 16, 4, false);
        *height = number(bytes, 20, 4, false);
        return true;
    }
    if (str_eq_c(type, "image/gif") && bytes.n >= 10) {
        *width = number(bytes, 6, 2, true);
        *height = number(bytes, 8, 2, true);
        return true;
    }
    return false;
}

// Where pictures say how large they are: 320 by 240.
static const struct magic heads[] = {
    {{"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\x40\0\0\0\xf0\x08\2\0\0\0", 29}, "image/png"},
    {{"\xff\xd8\xff\xc0\0\x11\x08\0\xf0\1\x40\3", 12}, "image/jpeg"},
    {{"GIF89a\x40\1\xf0\0\0\0\0", 13}, "image/gif"},
};

struct str file_made_up(struct str mime, int64_t size, uint64_t seed, struct arena *arena)
{
    char *bytes = arena_alloc(arena, (size_t)size + 8);
    struct chance chance;
    chance_init(&chance, seed);
    for (size_t i = 0; i < (size_t)size; i += 8) {
        uint64_t some = chance_next(&chance);
        memcpy(bytes + i, &some, 8);
    }
    for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
        if (str_eq_c(mime, heads[i].mime)) {
            memcpy(bytes, heads[i].bytes.p, heads[i].bytes.n < (size_t)size ? heads[i].bytes.n : (size_t)size);
            return (struct str){bytes, (size_t)size};
        }
    size_t at = 0;
    for (size_t i = 0; i < sizeof(magics) / sizeof(*magics); i++) {
        if (!str_eq_c(mime, magics[i].mime))
            continue;
        for (size_t k = 0; k < magics[i].bytes.n && at < (size_t)size; k++)
            if (magics[i].bytes.p[k] == '*')
                at += 4;
            else
                bytes[at++] = magics[i].bytes.p[k];
        break;
    }
    return (struct str){bytes, (size_t)size};
}

struct str file_from_base64(struct str text, struct arena *arena)
{
    if (text.n == 0 || text.n % 4 != 0 || text.n > INT32_MAX)
        return STR_NONE;
    unsigned char *bytes = arena_alloc(arena, text.n / 4 * 3 + 1);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text.p, (int)text.n);
    if (n < 0)
        return STR_NONE;
    size_t padding = (size_t)(text.p[text.n - 1] == '=') + (text.p[text.n - 2] == '=');
    return (struct str){(const char *)bytes, (size_t)n - padding};
}
