// A store that fails on request, around another one: for tests of whoever uses a store. A call that fails does
// nothing. After ERR_IO and ERR_CORRUPT a real store refuses everything; this one does so when not `once`.
#include "base/mem.h"
#include "store/store.h"

#include <stdlib.h>

struct faulty {
    struct store store; // first
    struct store *inner;
    struct store_fault *fault; // the test's, changed by it between calls
};

static struct faulty *faulty_of(struct store *store)
{
    return (struct faulty *)store;
}

static int fail_now(struct faulty *f)
{
    if (f->fault->after < 0)
        return 0;
    if (f->fault->after > 0) {
        f->fault->after--;
        return 0;
    }
    if (f->fault->once)
        f->fault->after = -1;
    return f->fault->err;
}

static void faulty_close(struct store *store, bool clean)
{
    struct faulty *f = faulty_of(store);
    f->inner->ops->close(f->inner, clean);
    free(f);
}

static struct str faulty_id(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->ops->id(inner);
}

static int faulty_apply(struct store *store, struct store_change *changes, size_t count)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->apply(f->inner, changes, count);
}

// A flush has no passing errors.
static int faulty_flush(struct store *store)
{
    struct faulty *f = faulty_of(store);
    bool lasting = f->fault->err == ERR_IO || f->fault->err == ERR_CORRUPT;
    int err = lasting ? fail_now(f) : 0;
    return err ? err : f->inner->ops->flush(f->inner);
}

static int faulty_load_lane(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->load_lane(f->inner, lane, after_place, limit, out);
}

static int faulty_lanes_with_work(struct store *store, int64_t account_id, int64_t after, size_t limit,
                                  int64_t *out_lanes, size_t *out_count)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->lanes_with_work(f->inner, account_id, after, limit, out_lanes, out_count);
}

static int faulty_load_refs(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                            struct str **out_refs, size_t *out_count)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->load_refs(f->inner, conversation_id, sent_s, arena, out_refs, out_count);
}

static int faulty_each_account(struct store *store,
                               void (*each)(void *arg, struct account *account, struct str file_text), void *arg)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->each_account(f->inner, each, arg);
}

static int faulty_each_desk_health(struct store *store, void (*each)(void *arg, const struct store_desk_health *health),
                                   void *arg)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->each_desk_health(f->inner, each, arg);
}

static int faulty_each_news(struct store *store,
                            void (*each)(void *arg, int64_t account_id, struct str desk_conversation), void *arg)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->each_news(f->inner, each, arg);
}

static int faulty_each_searched(struct store *store, void (*each)(void *arg, const struct store_searched *searched),
                                void *arg)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->each_searched(f->inner, each, arg);
}

static int faulty_wanted_files(struct store *store, struct store_wanted *wanted)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->wanted_files(f->inner, wanted);
}

static int faulty_due_avatars(struct store *store, struct store_avatars *avatars)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->due_avatars(f->inner, avatars);
}

static const uint8_t *faulty_link_key(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->ops->link_key(inner);
}

static int faulty_checkpoint(struct store *store, bool busy)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->checkpoint(f->inner, busy);
}

static int faulty_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more)
{
    struct faulty *f = faulty_of(store);
    int err = fail_now(f);
    return err ? err : f->inner->ops->age_out(f->inner, bodies_before_us, dedupe_before_us, out_more);
}

static void faulty_hurry(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    inner->ops->hurry(inner);
}

static struct store_reader *faulty_reader_new(struct store *store)
{
    struct store *inner = faulty_of(store)->inner;
    return inner->ops->reader_new(inner);
}

static const struct store_ops faulty_ops = {
    .name = "faulty",
    .close = faulty_close,
    .id = faulty_id,
    .apply = faulty_apply,
    .flush = faulty_flush,
    .load_lane = faulty_load_lane,
    .lanes_with_work = faulty_lanes_with_work,
    .load_refs = faulty_load_refs,
    .each_account = faulty_each_account,
    .each_desk_health = faulty_each_desk_health,
    .each_news = faulty_each_news,
    .each_searched = faulty_each_searched,
    .wanted_files = faulty_wanted_files,
    .due_avatars = faulty_due_avatars,
    .link_key = faulty_link_key,
    .checkpoint = faulty_checkpoint,
    .age_out = faulty_age_out,
    .hurry = faulty_hurry,
    .reader_new = faulty_reader_new,
};

struct store *store_faulty_new(struct store *inner, struct store_fault *fault)
{
    struct faulty *f = mem_new_of(struct faulty);
    f->store.ops = &faulty_ops;
    f->inner = inner;
    f->fault = fault;
    return &f->store;
}
