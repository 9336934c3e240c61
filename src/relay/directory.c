#include "relay/directory.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/account_pack.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// An account that is kept unpacked, too. `packed->mark` is its place in `at_hand`, and one.
struct at_hand {
    const struct account *account; // counted; NULL: a free place
    struct packed_account *packed;
};

// A desk that accounts use. accounts == 0: a free place, and `desk` is the next one's.
struct use {
    uint64_t desk;
    uint32_t accounts;
};

// Each account has a number, its place in `packed`; the indexes and the order hold numbers. While there was no reader of
// the order yet it takes them as they come, and is sorted once if they did not come in order. From then on each is put
// where it belongs. Behind the `count` numbers of the order stand those that are free again, up to `used`.
struct directory {
    pthread_rwlock_t lock;
    struct text_pool pool;
    struct packed_account **packed; // NULL: a free number
    uint32_t *ordered;
    size_t room; // of both
    size_t used, count;
    bool sorted, was_read;
    struct hash_index by_name, by_id;

    struct use *uses;
    size_t use_room, use_count; // use_count: with those that are free
    uint64_t free_use;          // and one; 0 = none
    struct hash_index by_desk;

    struct at_hand *at_hand;
    size_t next_at_hand; // the one that was taken up longest ago
};

struct directory *directory_new(void)
{
    struct directory *directory = mem_new_of(struct directory);
    pthread_rwlock_init(&directory->lock, NULL);
    directory->sorted = true;
    directory->at_hand = mem_new(DIRECTORY_AT_HAND * sizeof *directory->at_hand);
    return directory;
}

void directory_free(struct directory *directory)
{
    if (!directory)
        return;
    for (size_t i = 0; i < DIRECTORY_AT_HAND; i++)
        account_unref(directory->at_hand[i].account);
    for (size_t i = 0; i < directory->used; i++)
        free(directory->packed[i]);
    hash_index_done(&directory->by_name);
    hash_index_done(&directory->by_id);
    hash_index_done(&directory->by_desk);
    text_pool_done(&directory->pool);
    free(directory->packed);
    free(directory->ordered);
    free(directory->uses);
    free(directory->at_hand);
    pthread_rwlock_destroy(&directory->lock);
    free(directory);
}

// ---- looking up ----

struct wanted {
    const struct directory *directory;
    struct str name;
    int64_t id;
    uint64_t desk;
};

static struct str name_of(const struct directory *directory, uint32_t number)
{
    return packed_account_name(directory->packed[number]);
}

static bool has_name(const void *arg, uint32_t number)
{
    const struct wanted *wanted = arg;
    return str_eq(name_of(wanted->directory, number), wanted->name);
}

static bool has_id(const void *arg, uint32_t number)
{
    const struct wanted *wanted = arg;
    return packed_account_id(wanted->directory->packed[number]) == wanted->id;
}

static bool has_desk(const void *arg, uint32_t number)
{
    const struct wanted *wanted = arg;
    return wanted->directory->uses[number].desk == wanted->desk;
}

static uint64_t hash_id(int64_t id)
{
    return hash_str((struct str){(const char *)&id, sizeof id});
}

// By name, or by id where there is no name.
static uint32_t find_number(const struct directory *directory, struct str name, int64_t id)
{
    struct wanted wanted = {.directory = directory, .name = name, .id = id};
    return name.p ? hash_index_find(&directory->by_name, hash_str(name), has_name, &wanted)
                  : hash_index_find(&directory->by_id, hash_id(id), has_id, &wanted);
}

// ---- at hand ----

static void put_away(struct directory *directory, struct packed_account *packed)
{
    if (!packed->mark)
        return;
    struct at_hand *place = &directory->at_hand[packed->mark - 1];
    account_unref(place->account);
    *place = (struct at_hand){0};
    packed->mark = 0;
}

// Under the lock for writing. The account in its place, if any, has to go.
static void take_up(struct directory *directory, struct packed_account *packed)
{
    struct at_hand *place = &directory->at_hand[directory->next_at_hand];
    if (packed->mark)
        return; // another thread was quicker
    if (place->account)
        put_away(directory, place->packed);
    *place = (struct at_hand){account_unpack(packed, &directory->pool), packed};
    packed->mark = (uint32_t)directory->next_at_hand + 1;
    directory->next_at_hand = (directory->next_at_hand + 1) % DIRECTORY_AT_HAND;
}

// A reference: of the one at hand, or of one unpacked for the caller.
static const struct account *account_of(struct directory *directory, const struct packed_account *packed)
{
    return packed->mark ? account_ref(directory->at_hand[packed->mark - 1].account)
                        : account_unpack(packed, &directory->pool);
}

static const struct account *find_and_take_up(struct directory *directory, struct str name, int64_t id)
{
    const struct account *account = NULL;
    pthread_rwlock_wrlock(&directory->lock);
    uint32_t number = find_number(directory, name, id);
    if (number != HASH_INDEX_NONE) {
        take_up(directory, directory->packed[number]);
        account = account_of(directory, directory->packed[number]);
    }
    pthread_rwlock_unlock(&directory->lock);
    return account;
}

static const struct account *find(struct directory *directory, struct str name, int64_t id)
{
    const struct account *account = NULL;
    pthread_rwlock_rdlock(&directory->lock);
    uint32_t number = find_number(directory, name, id);
    bool known = number != HASH_INDEX_NONE, ready = known && directory->packed[number]->mark;
    if (ready)
        account = account_of(directory, directory->packed[number]);
    pthread_rwlock_unlock(&directory->lock);
    return known && !ready ? find_and_take_up(directory, name, id) : account;
}

const struct account *directory_find(struct directory *directory, struct str name)
{
    return name.p ? find(directory, name, 0) : NULL;
}

const struct account *directory_find_id(struct directory *directory, int64_t account_id)
{
    return find(directory, STR_NONE, account_id);
}

const struct account *directory_look(struct directory *directory, struct str name)
{
    const struct account *account = NULL;
    pthread_rwlock_rdlock(&directory->lock);
    uint32_t number = find_number(directory, name, 0);
    if (number != HASH_INDEX_NONE)
        account = account_of(directory, directory->packed[number]);
    pthread_rwlock_unlock(&directory->lock);
    return account;
}

// ---- the order ----

// The place of the first account whose name is `name` or greater.
static size_t place_of(const struct directory *directory, struct str name)
{
    size_t lo = 0, hi = directory->count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (str_cmp(name_of(directory, directory->ordered[mid]), name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

// Before it is counted: the place behind the last one is its own, or its number stood there while it was free.
static void insert_ordered(struct directory *directory, uint32_t number)
{
    size_t place = directory->count;
    struct str name = name_of(directory, number);
    bool in_order = !place || str_cmp(name_of(directory, directory->ordered[place - 1]), name) < 0;
    if (!directory->was_read)
        directory->sorted = directory->sorted && in_order;
    else if (!in_order)
        place = place_of(directory, name);
    uint32_t *at = directory->ordered + place;
    memmove(at + 1, at, (directory->count++ - place) * sizeof *at);
    *at = number;
}

static void remove_ordered(struct directory *directory, uint32_t number)
{
    size_t place = directory->sorted ? place_of(directory, name_of(directory, number)) : 0;
    while (directory->ordered[place] != number)
        place++;
    uint32_t *at = directory->ordered + place;
    memmove(at, at + 1, (--directory->count - place) * sizeof *at);
    directory->ordered[directory->count] = number;
}

static int compare_names(const void *a, const void *b, void *arg)
{
    const uint32_t *left = a, *right = b;
    return str_cmp(name_of(arg, *left), name_of(arg, *right));
}

// Under the lock for writing.
static void sort(struct directory *directory)
{
    if (!directory->sorted)
        qsort_r(directory->ordered, directory->count, sizeof *directory->ordered, compare_names, directory);
    directory->sorted = directory->was_read = true;
}

// The lock for reading, with the accounts in order.
static void lock_sorted(struct directory *directory)
{
    pthread_rwlock_rdlock(&directory->lock);
    if (directory->was_read)
        return;
    pthread_rwlock_unlock(&directory->lock);
    pthread_rwlock_wrlock(&directory->lock);
    sort(directory);
    pthread_rwlock_unlock(&directory->lock);
    pthread_rwlock_rdlock(&directory->lock); // it stays sorted
}

// ---- desks that are used ----

static uint32_t find_use(const struct directory *directory, uint64_t desk)
{
    return hash_index_find(&directory->by_desk, desk, has_desk, &(struct wanted){.directory = directory, .desk = desk});
}

static uint32_t new_use(struct directory *directory)
{
    if (directory->free_use) {
        uint32_t number = (uint32_t)directory->free_use - 1;
        directory->free_use = directory->uses[number].desk;
        return number;
    }
    if (directory->use_count == directory->use_room) {
        directory->use_room = directory->use_room ? directory->use_room * 2 : 16;
        directory->uses = mem_resize(directory->uses, directory->use_room * sizeof *directory->uses);
    }
    return (uint32_t)directory->use_count++;
}

static void add_use(struct directory *directory, uint64_t desk)
{
    uint32_t number = find_use(directory, desk);
    if (number == HASH_INDEX_NONE) {
        number = new_use(directory);
        directory->uses[number] = (struct use){.desk = desk};
        hash_index_add(&directory->by_desk, desk, number);
    }
    directory->uses[number].accounts++;
}

static void drop_use(struct directory *directory, uint64_t desk)
{
    uint32_t number = find_use(directory, desk);
    must(number != HASH_INDEX_NONE);
    if (--directory->uses[number].accounts)
        return;
    hash_index_remove(&directory->by_desk, desk, number);
    directory->uses[number].desk = directory->free_use;
    directory->free_use = (uint64_t)number + 1;
}

static void drop_use_of(struct directory *directory, const struct packed_account *packed)
{
    const struct account *account = account_of(directory, packed);
    drop_use(directory, desk_identity(&account->desk));
    account_unref(account);
}

int directory_desk_users(struct directory *directory, uint64_t desk)
{
    pthread_rwlock_rdlock(&directory->lock);
    uint32_t number = find_use(directory, desk);
    int accounts = number != HASH_INDEX_NONE ? (int)directory->uses[number].accounts : 0;
    pthread_rwlock_unlock(&directory->lock);
    return accounts;
}

// ---- changes ----

static uint32_t new_number(struct directory *directory)
{
    if (directory->count < directory->used)
        return directory->ordered[directory->count];
    if (directory->used == directory->room) {
        directory->room = directory->room ? directory->room * 2 : 16;
        directory->packed = mem_resize(directory->packed, directory->room * sizeof(struct packed_account *));
        directory->ordered = mem_resize(directory->ordered, directory->room * sizeof *directory->ordered);
    }
    return (uint32_t)directory->used++;
}

static void add(struct directory *directory, const struct account *account, struct packed_account *packed)
{
    uint32_t number = new_number(directory);
    directory->packed[number] = packed;
    insert_ordered(directory, number);
    hash_index_add(&directory->by_name, hash_str(account->name), number);
    hash_index_add(&directory->by_id, hash_id(account->id), number);
    add_use(directory, desk_identity(&account->desk));
}

// The indexes and the order stay as they are: they know its number, and name and id are the same.
static void swap(struct directory *directory, uint32_t number, const struct account *account,
                 struct packed_account *packed)
{
    must(str_eq(name_of(directory, number), account->name));
    drop_use_of(directory, directory->packed[number]);
    put_away(directory, directory->packed[number]);
    free(directory->packed[number]);
    directory->packed[number] = packed;
    add_use(directory, desk_identity(&account->desk));
}

void directory_put(struct directory *directory, const struct account *account)
{
    must(account->id);
    pthread_rwlock_wrlock(&directory->lock);
    struct packed_account *packed = account_pack(account, &directory->pool);
    uint32_t number = find_number(directory, STR_NONE, account->id);
    if (number != HASH_INDEX_NONE)
        swap(directory, number, account, packed);
    else
        add(directory, account, packed);
    pthread_rwlock_unlock(&directory->lock);
    account_unref(account);
}

static void drop(struct directory *directory, uint32_t number)
{
    struct packed_account *packed = directory->packed[number];
    remove_ordered(directory, number);
    hash_index_remove(&directory->by_name, hash_str(packed_account_name(packed)), number);
    hash_index_remove(&directory->by_id, hash_id(packed_account_id(packed)), number);
    drop_use_of(directory, packed);
    put_away(directory, packed);
    free(packed);
    directory->packed[number] = NULL;
}

void directory_remove(struct directory *directory, int64_t account_id)
{
    pthread_rwlock_wrlock(&directory->lock);
    uint32_t number = find_number(directory, STR_NONE, account_id);
    if (number != HASH_INDEX_NONE)
        drop(directory, number);
    pthread_rwlock_unlock(&directory->lock);
}

// ---- all of them ----

size_t directory_count(struct directory *directory)
{
    pthread_rwlock_rdlock(&directory->lock);
    size_t count = directory->count;
    pthread_rwlock_unlock(&directory->lock);
    return count;
}

size_t directory_page(struct directory *directory, struct str after, size_t limit, const struct account **out)
{
    size_t count = 0;
    lock_sorted(directory);
    size_t at = after.p ? place_of(directory, after) : 0;
    if (after.p && at < directory->count && str_eq(name_of(directory, directory->ordered[at]), after))
        at++;
    for (; at < directory->count && count < limit; at++)
        out[count++] = account_of(directory, directory->packed[directory->ordered[at]]);
    pthread_rwlock_unlock(&directory->lock);
    return count;
}

// The last of a page stays until the next is taken: its name says where that begins.
static void next_page(struct directory_walk *walk)
{
    const struct account *last = walk->count ? walk->page[walk->count - 1] : NULL;
    walk->count = directory_page(walk->directory, last ? last->name : STR_NONE, DIRECTORY_WALK_PAGE, walk->page);
    walk->at = 0;
    walk->ended = !walk->count;
    account_unref(last);
}

const struct account *directory_walk_next(struct directory_walk *walk)
{
    if (walk->at == walk->count && !walk->ended)
        next_page(walk);
    if (walk->ended)
        return NULL;
    const struct account *account = walk->page[walk->at++];
    return walk->at == walk->count ? account_ref(account) : account;
}

void directory_walk_done(struct directory_walk *walk)
{
    while (walk->at < walk->count)
        account_unref(directory_walk_next(walk));
    if (walk->count)
        account_unref(walk->page[walk->count - 1]);
    walk->count = walk->at = 0;
    walk->ended = true;
}
