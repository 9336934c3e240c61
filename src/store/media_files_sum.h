// What is learned of a file's bytes while they go by: its size, its SHA-256, and what its first bytes say it is. For the variants
// of media_files.h.
#pragma once
#include "model/attachment.h"

#include <openssl/types.h>

struct media_files_sum {
    EVP_MD_CTX *digest;
    int64_t size;
    char first[MIME_SNIFF_SIZE];
    size_t first_n;
};

void media_files_sum_init(struct media_files_sum *sum);
void media_files_sum_done(struct media_files_sum *sum);
void media_files_sum_add(struct media_files_sum *sum, struct str bytes);
// Nothing may be added any more. The mime is static.
void media_files_sum_end(struct media_files_sum *sum, char out_hash[FILE_HASH_SIZE + 1], struct str *out_mime);

// It is the name that a file may have: nothing else becomes a path.
bool media_files_is_hash(struct str hash);
