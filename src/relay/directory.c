#include "relay/directory.h"

#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    const struct account *account;
    UT_hash_handle by_name, by_id;
};

// A desk that accounts use.
struct use {
    uint64_t desk;
    int accounts;
    UT_hash_handle hh;
};

// `ordered` holds all entries. While there was no reader of it yet it takes them as they come: what is filled in at the
// start is sorted once. From then on each is put where it belongs.
struct directory {
    pthread_rwlock_t lock;
    struct entry *names, *ids;
    struct use *uses;
    struct entry **ordered;
    size_t count, room;
    bool sorted;
};

struct directory *directory_new(void)
{
    struct directory *directory = mem_new_of(struct directory);
    pthread_rwlock_init(&directory->lock, NULL);
    return directory;
}

// The place of the first entry whose name is `name` or greater.
static size_t place_of(const struct directory *directory, struct str name)
{
    size_t lo = 0, hi = directory->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (str_cmp(directory->ordered[mid]->account->name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert_ordered(struct directory *directory, struct entry *entry)
{
    if (directory->count == directory->room) {
        directory->room = directory->room ? directory->room * 2 : 16;
        directory->ordered = mem_resize(directory->ordered, directory->room * sizeof *directory->ordered);
    }
    size_t place = directory->sorted ? place_of(directory, entry->account->name) : directory->count;
    struct entry **at = directory->ordered + place;
    memmove(at + 1, at, (directory->count++ - place) * sizeof *at);
    *at = entry;
}

static void remove_ordered(struct directory *directory, const struct entry *entry)
{
    size_t place = directory->sorted ? place_of(directory, entry->account->name) : 0;
    while (directory->ordered[place] != entry)
        place++;
    struct entry **at = directory->ordered + place;
    memmove(at, at + 1, (--directory->count - place) * sizeof *at);
}

static int compare_names(const void *a, const void *b)
{
    const struct entry *const *left = a, *const *right = b;
    return str_cmp((*left)->account->name, (*right)->account->name);
}

// Under the lock for writing.
static void sort(struct directory *directory)
{
    if (!directory->sorted && directory->count)
        qsort(directory->ordered, directory->count, sizeof *directory->ordered, compare_names);
    directory->sorted = true;
}

// The lock for reading, with the entries in order.
static void lock_sorted(struct directory *directory)
{
    pthread_rwlock_rdlock(&directory->lock);
    if (directory->sorted)
        return;
    pthread_rwlock_unlock(&directory->lock);
    pthread_rwlock_wrlock(&directory->lock);
    sort(directory);
    pthread_rwlock_unlock(&directory->lock);
    pthread_rwlock_rdlock(&directory->lock); // it stays sorted
}

static struct use *find_use(struct directory *directory, uint64_t desk)
{
    struct use *use = NULL;
    HASH_FIND(hh, directory->uses, &desk, sizeof desk, use);
    return use;
}

static void add_use(struct directory *directory, uint64_t desk)
{
    struct use *use = find_use(directory, desk);
    if (!use) {
        use = mem_new_of(struct use);
        use->desk = desk;
        HASH_ADD(hh, directory->uses, desk, sizeof use->desk, use);
    }
    use->accounts++;
}

static void drop_use(struct directory *directory, uint64_t desk)
{
    struct use *use = find_use(directory, desk);
    must(use);
    if (--use->accounts)
        return;
    HASH_DEL(directory->uses, use);
    free(use);
}

static void drop(struct directory *directory, struct entry *entry)
{
    drop_use(directory, desk_identity(&entry->account->desk));
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
    free(directory->ordered);
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

static void add(struct directory *directory, struct entry *entry)
{
    const struct account *account = entry->account;
    HASH_ADD_KEYPTR(by_name, directory->names, account->name.p, account->name.n, entry);
    HASH_ADD_KEYPTR(by_id, directory->ids, &account->id, sizeof account->id, entry);
    add_use(directory, desk_identity(&account->desk));
}

// The keys of the tables are the account's own: they change with it, its place in the order does not.
static void swap(struct directory *directory, struct entry *entry, const struct account *account)
{
    must(str_eq(entry->account->name, account->name));
    HASH_DELETE(by_name, directory->names, entry);
    HASH_DELETE(by_id, directory->ids, entry);
    drop_use(directory, desk_identity(&entry->account->desk));
    account_unref(entry->account);
    entry->account = account;
    add(directory, entry);
}

void directory_put(struct directory *directory, const struct account *account)
{
    must(account->id);
    pthread_rwlock_wrlock(&directory->lock);
    struct entry *entry = find_id(directory, account->id);
    if (entry) {
        swap(directory, entry, account);
    } else {
        entry = mem_new_of(struct entry);
        entry->account = account;
        add(directory, entry);
        insert_ordered(directory, entry);
    }
    pthread_rwlock_unlock(&directory->lock);
}

void directory_remove(struct directory *directory, int64_t account_id)
{
    pthread_rwlock_wrlock(&directory->lock);
    struct entry *entry = find_id(directory, account_id);
    if (entry) {
        remove_ordered(directory, entry);
        drop(directory, entry);
    }
    pthread_rwlock_unlock(&directory->lock);
}

size_t directory_count(struct directory *directory)
{
    pthread_rwlock_rdlock(&directory->lock);
    size_t count = directory->count;
    pthread_rwlock_unlock(&directory->lock);
    return count;
}

int directory_desk_users(struct directory *directory, uint64_t desk)
{
    pthread_rwlock_rdlock(&directory->lock);
    const struct use *use = find_use(directory, desk);
    int accounts = use ? use->accounts : 0;
    pthread_rwlock_unlock(&directory->lock);
    return accounts;
}

size_t directory_page(struct directory *directory, struct str after, size_t limit, const struct account **out)
{
    size_t count = 0;
    lock_sorted(directory);
    size_t at = after.p ? place_of(directory, after) : 0;
    if (after.p && at < directory->count && str_eq(directory->ordered[at]->account->name, after))
        at++;
    for (; at < directory->count && count < limit; at++)
        out[count++] = account_ref(directory->ordered[at]->account);
    pthread_rwlock_unlock(&directory->lock);
    return count;
}

const struct account **directory_list(struct directory *directory)
{
    lock_sorted(directory);
    const struct account **list = mem_new((directory->count + 1) * sizeof(struct account *));
    for (size_t i = 0; i < directory->count; i++)
        list[i] = account_ref(directory->ordered[i]->account);
    pthread_rwlock_unlock(&directory->lock);
    return list;
}
