#include "store/media_files.h"

#include "base/buf.h"
#include "base/mem.h"
#include "store/media_files_sum.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

struct kept {
    char hash[FILE_HASH_SIZE + 1]; // key
    char *bytes;                   // owned
    size_t n;
    UT_hash_handle hh;
};

struct memory_files {
    struct media_files base; // first
    pthread_mutex_t lock;    // of `kept`: others read, too
    struct kept *kept;       // by hash
};

struct media_file {
    struct memory_files *files;
    struct media_files_sum sum;
    struct buf bytes;
};

static struct memory_files *files_of(struct media_files *base)
{
    return (struct memory_files *)base;
}

// The lock is held.
static struct kept *kept_find(struct memory_files *files, struct str hash)
{
    struct kept *kept = NULL;
    if (media_files_is_hash(hash))
        HASH_FIND(hh, files->kept, hash.p, FILE_HASH_SIZE, kept);
    return kept;
}

static void kept_free(struct kept *kept)
{
    free(kept->bytes);
    free(kept);
}

static void memory_free(struct media_files *base)
{
    struct memory_files *files = files_of(base);
    struct kept *kept, *next;
    HASH_ITER(hh, files->kept, kept, next)
    {
        HASH_DEL(files->kept, kept);
        kept_free(kept);
    }
    pthread_mutex_destroy(&files->lock);
    free(files);
}

static struct media_file *memory_begin(struct media_files *base, int *out_err)
{
    (void)out_err;
    struct media_file *file = mem_new_of(struct media_file);
    file->files = files_of(base);
    media_files_sum_init(&file->sum);
    buf_init(&file->bytes, SIZE_MAX / 2);
    return file;
}

static int memory_write(struct media_file *file, struct str bytes)
{
    media_files_sum_add(&file->sum, bytes);
    return buf_add_str(&file->bytes, bytes) == ERR_OK ? ERR_OK : ERR_FULL;
}

static void memory_drop(struct media_file *file)
{
    if (!file)
        return;
    media_files_sum_done(&file->sum);
    buf_done(&file->bytes);
    free(file);
}

static void kept_add(struct memory_files *files, const char *hash, struct str bytes)
{
    pthread_mutex_lock(&files->lock);
    if (!kept_find(files, str_of(hash))) {
        struct kept *kept = mem_new_of(struct kept);
        memcpy(kept->hash, hash, sizeof kept->hash);
        kept->bytes = mem_dup(bytes.p, bytes.n);
        kept->n = bytes.n;
        HASH_ADD(hh, files->kept, hash, FILE_HASH_SIZE, kept);
    }
    pthread_mutex_unlock(&files->lock);
}

static int memory_keep(struct media_file *file, char out_hash[FILE_HASH_SIZE + 1], int64_t *out_size,
                       struct str *out_mime)
{
    int err = file->bytes.failed ? ERR_FULL : ERR_OK;
    if (!err) {
        media_files_sum_end(&file->sum, out_hash, out_mime);
        *out_size = file->sum.size;
        kept_add(file->files, out_hash, (struct str){file->bytes.n ? file->bytes.p : "", file->bytes.n});
    }
    memory_drop(file);
    return err;
}

static int memory_remove(struct media_files *base, struct str hash)
{
    struct memory_files *files = files_of(base);
    pthread_mutex_lock(&files->lock);
    struct kept *kept = kept_find(files, hash);
    if (kept)
        HASH_DEL(files->kept, kept);
    pthread_mutex_unlock(&files->lock);
    if (!kept)
        return ERR_NOT_FOUND;
    kept_free(kept);
    return ERR_OK;
}

static int64_t memory_find(struct media_files *base, struct str hash)
{
    struct memory_files *files = files_of(base);
    pthread_mutex_lock(&files->lock);
    struct kept *kept = kept_find(files, hash);
    int64_t size = kept ? (int64_t)kept->n : -1;
    pthread_mutex_unlock(&files->lock);
    return size;
}

static int64_t memory_read(struct media_files *base, struct str hash, int64_t offset, char *room, size_t size)
{
    struct memory_files *files = files_of(base);
    pthread_mutex_lock(&files->lock);
    struct kept *kept = kept_find(files, hash);
    int64_t n = kept ? 0 : ERR_NOT_FOUND;
    if (kept && offset < (int64_t)kept->n) {
        size_t left = kept->n - (size_t)offset;
        n = (int64_t)(left < size ? left : size);
        memcpy(room, kept->bytes + offset, (size_t)n);
    }
    pthread_mutex_unlock(&files->lock);
    return n;
}

// Without the lock while it calls: this is the one thread that changes them, and `each` may remove the one it is told of.
static int memory_each_in(struct media_files *base, int part, void (*each)(void *arg, struct str hash, int64_t size),
                          void *arg)
{
    struct kept *kept, *next;
    HASH_ITER(hh, files_of(base)->kept, kept, next)
    {
        if (media_files_part(str_of(kept->hash)) == part)
            each(arg, str_of(kept->hash), (int64_t)kept->n);
    }
    return ERR_OK;
}

static const struct media_files_ops memory_ops = {
    .free = memory_free,
    .begin = memory_begin,
    .write = memory_write,
    .keep = memory_keep,
    .drop = memory_drop,
    .remove = memory_remove,
    .find = memory_find,
    .read = memory_read,
    .each_in = memory_each_in,
};

struct media_files *media_files_memory_new(void)
{
    struct memory_files *files = mem_new_of(struct memory_files);
    files->base.ops = &memory_ops;
    pthread_mutex_init(&files->lock, NULL);
    return &files->base;
}
