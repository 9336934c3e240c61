#include "store/media_files_sum.h"

#include "base/mem.h"
#include "base/must.h"

#include <openssl/evp.h>

void media_files_sum_init(struct media_files_sum *sum)
{
    *sum = (struct media_files_sum){.digest = EVP_MD_CTX_new()};
    if (!sum->digest)
        mem_out();
    must(EVP_DigestInit_ex(sum->digest, EVP_sha256(), NULL) == 1);
}

void media_files_sum_done(struct media_files_sum *sum)
{
    EVP_MD_CTX_free(sum->digest);
    sum->digest = NULL;
}

void media_files_sum_add(struct media_files_sum *sum, struct str bytes)
{
    size_t room = sizeof sum->first - sum->first_n, n = bytes.n < room ? bytes.n : room;
    if (n)
        memcpy(sum->first + sum->first_n, bytes.p, n);
    sum->first_n += n;
    sum->size += (int64_t)bytes.n;
    must(EVP_DigestUpdate(sum->digest, bytes.p, bytes.n) == 1);
}

void media_files_sum_end(struct media_files_sum *sum, char out_hash[FILE_HASH_SIZE + 1], struct str *out_mime)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    must(EVP_DigestFinal_ex(sum->digest, hash, &n) == 1 && 2 * n == FILE_HASH_SIZE);
    for (unsigned int i = 0; i < n; i++) {
        out_hash[2 * i] = digits[hash[i] >> 4];
        out_hash[2 * i + 1] = digits[hash[i] & 15];
    }
    out_hash[FILE_HASH_SIZE] = 0;
    *out_mime = mime_sniff((struct str){sum->first, sum->first_n});
}

bool media_files_is_hash(struct str hash)
{
    for (size_t i = 0; i < hash.n; i++)
        if (!((hash.p[i] >= '0' && hash.p[i] <= '9') || (hash.p[i] >= 'a' && hash.p[i] <= 'f')))
            return false;
    return hash.n == FILE_HASH_SIZE;
}
