// The store as the relay sees it: the store in memory stands for the disk, and what is applied there is flushed. In front
// of it: errors that pass, errors that do not, and a crash between the request and the word that it is done. The judge is
// told of every transaction here, before the relay is.
#include "base/mem.h"
#include "sim/sim.h"

#include <stdlib.h>

struct disk {
    struct store store; // first
    struct sim *sim;
    struct chance chance;
};

static struct disk *disk_of(struct store *store)
{
    return (struct disk *)store;
}

static bool has_accepts(const struct store_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].kind == STORE_ACCEPT)
            return true;
    return false;
}

static int error_now(struct sim *sim)
{
    if (sim->store_dead)
        return ERR_IO;
    if (sim->store_error && sim_now(sim) >= sim->store_error_until_us)
        sim->store_error = 0;
    return sim->store_error;
}

// What a liar of a store would do to a batch; negative controls.
static void corrupt(struct disk *disk, struct store_change *change)
{
    switch (disk->sim->options->breakage) {
    case BREAK_DROP_MARKS:
        if (change->kind == STORE_MARK)
            change->mark->in_flight = false;
        if (change->kind == STORE_OUTCOME)
            change->outcome->mark_next = 0;
        break;
    case BREAK_DOUBT:
        if (change->kind == STORE_OUTCOME)
            change->outcome->in_doubt = false;
        break;
    case BREAK_LOSE_MESSAGE:
        if (change->kind == STORE_OUTCOME && change->outcome->state == MESSAGE_PENDING && change->outcome->verdict)
            change->outcome->state = MESSAGE_DELIVERED;
        break;
    case BREAK_GUARD:
        process_break_guard(disk->sim);
        break;
    case BREAK_COUNT:
        if (change->kind == STORE_OUTCOME && change->outcome->verdict && change->outcome->state == MESSAGE_PENDING)
            change->outcome->attempts++;
        break;
    case BREAK_DEDUPE:
        if (change->kind == STORE_ACCEPT)
            change->accept->event.digest = chance_next(&disk->chance);
        break;
    default:
        break;
    }
}

static int flush(struct disk *disk, struct store_change *changes, size_t count)
{
    struct sim *sim = disk->sim;
    struct store *inner = sim->disk;
    enum breakage breakage = sim->options->breakage;
    bool loses = breakage == BREAK_LOSE_COMMIT && has_accepts(changes, count) && draw_percent(&disk->chance, 20);
    for (size_t i = 0; i < count; i++)
        corrupt(disk, &changes[i]);
    if (loses) {
        for (size_t i = 0; i < count; i++)
            if (changes[i].kind == STORE_ACCEPT)
                changes[i].accept->result = ACCEPT_DUPLICATE;
        return 0;
    }
    int err = inner->ops->apply(inner, changes, count);
    if (!err)
        oracle_committed(sim, changes, count);
    sim->result->transactions++;
    return err;
}

static int disk_apply(struct store *store, struct store_change *changes, size_t count)
{
    struct disk *disk = disk_of(store);
    struct sim *sim = disk->sim;
    int err = error_now(sim);
    if (err == ERR_FULL && !has_accepts(changes, count)) // what is settled needs little room
        err = draw_percent(&disk->chance, 50) ? 0 : err;
    bool on_disk = !err || (err == ERR_IO && !sim->store_dead && draw_percent(&disk->chance, 50));
    if (!sim->store_dead && sim->crash_in_apply) {
        on_disk = sim->crash_in_apply == 2 && !err;
        err = ERR_IO;
        process_crash_soon(sim);
    }
    if (on_disk) {
        int flushed = flush(disk, changes, count);
        err = err ? err : flushed;
    }
    if (err)
        sim->store_failed_in = sim->life;
    if (err == ERR_IO) {
        sim->store_dead = true;
        sim->store_error = 0;
    }
    return err;
}

static int disk_load_lane(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    err = sim->disk->ops->load_lane(sim->disk, lane, after_place, limit, out);
    if (!err && sim->options->breakage == BREAK_SWAP && out->count > 1) {
        struct lane_entry first = out->entries[0];
        out->entries[0] = out->entries[1];
        out->entries[1] = first;
    }
    return err;
}

static int disk_lanes_with_work(struct store *store, int64_t account_id, int64_t after, size_t limit,
                                int64_t *out_lanes, size_t *out_count)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    if (sim->options->breakage == BREAK_FORGET) {
        *out_count = 0;
        return 0;
    }
    return sim->disk->ops->lanes_with_work(sim->disk, account_id, after, limit, out_lanes, out_count);
}

static int disk_load_refs(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                          struct str **out_refs, size_t *out_count)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    return sim->disk->ops->load_refs(sim->disk, conversation_id, sent_s, arena, out_refs, out_count);
}

static void disk_close(struct store *store, bool clean)
{
    struct disk *disk = disk_of(store);
    disk->sim->disk->ops->close(disk->sim->disk, clean);
    free(disk);
}

static struct str disk_id(struct store *store)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->id(inner);
}

static int disk_each_account(struct store *store,
                             void (*each)(void *arg, struct account *account, struct str file_text), void *arg)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->each_account(inner, each, arg);
}

static int disk_each_desk_health(struct store *store, void (*each)(void *arg, const struct store_desk_health *health),
                                 void *arg)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->each_desk_health(inner, each, arg);
}

static int disk_checkpoint(struct store *store)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    return err == ERR_BUSY ? err : 0;
}

static int disk_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->age_out(inner, bodies_before_us, dedupe_before_us, out_more);
}

static void disk_hurry(struct store *store)
{
    (void)store;
}

static struct store_reader *disk_reader_new(struct store *store)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->reader_new(inner);
}

static const struct store_ops disk_ops = {
    .name = "simulated",
    .close = disk_close,
    .id = disk_id,
    .apply = disk_apply,
    .load_lane = disk_load_lane,
    .lanes_with_work = disk_lanes_with_work,
    .load_refs = disk_load_refs,
    .each_account = disk_each_account,
    .each_desk_health = disk_each_desk_health,
    .checkpoint = disk_checkpoint,
    .age_out = disk_age_out,
    .hurry = disk_hurry,
    .reader_new = disk_reader_new,
};

struct store *disk_open(struct sim *sim)
{
    struct disk *disk = mem_new_of(struct disk);
    disk->store.ops = &disk_ops;
    disk->sim = sim;
    disk->chance = sim_chance(sim, 'd', 0);
    return &disk->store;
}
