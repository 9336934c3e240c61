#include "relay/directory.h"

#include "base/mem.h"
#include "base/must.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

struct entry {
    const struct account *account;
    UT_hash_handle by_name, by_id;
};

struct directory {
    pthread_rwlock_t lock;
    struct entry *names, *ids;
};

struct directory *directory_new(void)
{
    struct directory *directory = mem_new_of(struct directory);
    pthread_rwlock_init(&directory->lock, NULL);
    return directory;
}

static void drop(struct directory *directory, struct entry *entry)
{
    HASH_DELETE(by_name, directory->names, entry);
    HASH_DELETE(by_id, directory->ids, entry);
    account_unref(entry->account);
    free(entry);
}

void directory_free(struct directory *directory)
{
    if (!directory)
        return;
    struct entry *entry, *next;
    HASH_ITER(by_id, directory->ids, entry, next)
    {
        drop(directory, entry);
    }
    pthread_rwlock_destroy(&directory->lock);
    free(directory);
}

static struct entry *find_id(struct directory *directory, int64_t account_id)
{
    struct entry *entry = NULL;
    HASH_FIND(by_id, directory->ids, &account_id, sizeof account_id, entry);
    return entry;
}

const struct account *directory_find(struct directory *directory, struct str name)
{
    struct entry *entry = NULL;
    pthread_rwlock_rdlock(&directory->lock);
    HASH_FIND(by_name, directory->names, name.p, name.n, entry);
    const struct account *account = entry ? account_ref(entry->account) : NULL;
    pthread_rwlock_unlock(&directory->lock);
    return account;
}

const struct account *directory_find_id(struct directory *directory, int64_t account_id)
{
    pthread_rwlock_rdlock(&directory->lock);
    struct entry *entry = find_id(directory, account_id);
    const struct account *account = entry ? account_ref(entry->account) : NULL;
    pthread_rwlock_unlock(&directory->lock);
    return account;
}

void directory_put(struct directory *directory, const struct account *account)
{
    must(account->id);
    struct entry *entry = mem_new_of(struct entry);
    entry->account = account;
    pthread_rwlock_wrlock(&directory->lock);
    struct entry *before = find_id(directory, account->id);
    if (before)
        drop(directory, before);
    HASH_ADD_KEYPTR(by_name, directory->names, account->name.p, account->name.n, entry);
    HASH_ADD_KEYPTR(by_id, directory->ids, &account->id, sizeof account->id, entry);
    pthread_rwlock_unlock(&directory->lock);
}

void directory_remove(struct directory *directory, int64_t account_id)
{
    pthread_rwlock_wrlock(&directory->lock);
    struct entry *entry = find_id(directory, account_id);
    if (entry)
        drop(directory, entry);
    pthread_rwlock_unlock(&directory->lock);
}

size_t directory_count(struct directory *directory)
{
    pthread_rwlock_rdlock(&directory->lock);
    size_t count = HASH_CNT(by_id, directory->ids);
    pthread_rwlock_unlock(&directory->lock);
    return count;
}

static int compare_names(const void *a, const void *b)
{
    const struct account *const *left = a, *const *right = b;
    return str_cmp((*left)->name, (*right)->name);
}

const struct account **directory_list(struct directory *directory)
{
    pthread_rwlock_rdlock(&directory->lock);
    size_t count = 0;
    const struct account **list = mem_new((HASH_CNT(by_id, directory->ids) + 1) * sizeof(struct account *));
    struct entry *entry, *next;
    HASH_ITER(by_id, directory->ids, entry, next)
    {
        list[count++] = account_ref(entry->account);
    }
    pthread_rwlock_unlock(&directory->lock);
    qsort(list, count, sizeof *list, compare_names);
    return list;
}
