// The store as the relay sees it. Either the store in memory stands for the disk; in front of it errors that pass, errors that
// do not, and a crash between the request and the word that it is done. Or it is the real one on files that lose what was not
// flushed (power_vfs.h): then crashes and errors come at single reads and writes.
// The judge is told of every transaction here, when it was flushed and before the relay is; of one that may be on the disk
// when the relay starts again. Between its applying and its flush nothing may leave: to the judge it is not there.
#include "base/mem.h"
#include "sim/power_vfs.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

enum {
    FRESH_BLOCK = 5,  // messages: the store's own is larger than a history
    CALLS = 15,       // reads, writes and flushes that a call of the store takes, more or less
    CALLS_START = 40, // that its opening does
};

// A transaction that was applied and not flushed. What its changes point to is its jobs', which end with the flush.
struct applied {
    struct applied *next;
    struct store_change *changes;
    size_t count;
};

struct disk {
    struct store store; // first
    struct sim *sim;
    struct chance chance;
    struct applied *applied; // oldest first
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
    if (sim->options->directory && sim->store_error == ERR_IO) { // at one of the next calls
        sim->store_error = 0;
        power_vfs.fails = draw(&disk_of(sim->store)->chance, 1, CALLS);
    }
    if (sim->store_error == ERR_IO)
        sim->store_failed_in = sim->life;
    return sim->store_error;
}

// ---- files ----

static bool may_fail(void *arg, int64_t nth)
{
    struct sim *sim = arg;
    return !sim->healing && sim_may(sim, 'v', (uint64_t)nth);
}

static void arm(struct sim *sim)
{
    if (sim->crash_in_apply && !power_vfs.ends)
        power_vfs.ends = draw(&disk_of(sim->store)->chance, 1, CALLS);
    sim->crash_in_apply = 0;
    power_vfs.armed = true;
}

// After a call of the store; `err` is its answer.
static int disarm(struct sim *sim, int err)
{
    power_vfs.armed = false;
    if (!sim->options->directory)
        return err;
    if (power_vfs.ended && sim->process && !sim->store_dead)
        process_crash_soon(sim);
    sim->store_dead |= power_vfs.ended;
    if (err == ERR_IO || err == ERR_CORRUPT)
        sim->store_failed_in = sim->life;
    return err;
}

static void on_finding(void *arg, const char *name, struct str sentence)
{
    struct sim *sim = arg;
    if (sentence.p && !sim->store_dead)
        sim_fail(sim, "STORE", "%s: %.*s", name, STR_ARG(sentence));
}

static void remove_files(const struct sim *sim)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    char path[300];
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        snprintf(path, sizeof path, "%s/sim.db%s", sim->options->directory, suffixes[i]);
        unlink(path);
    }
}

static bool open_files(struct sim *sim)
{
    struct arena arena = {0};
    char path[300];
    const char *why = NULL;
    int64_t hits = power_vfs.hits;
    snprintf(path, sizeof path, "%s/sim.db", sim->options->directory);
    int per_10000 = power_vfs.per_10000;
    power_vfs.per_10000 = per_10000 / 20; // it takes many calls
    power_vfs.armed = sim->life > 0;
    sim->disk = store_sqlite_open(&(struct store_options){.path = path,
                                                          .force_network_fs = true,
                                                          .log_bytes = 1 << 18,
                                                          .fresh_block = FRESH_BLOCK,
                                                          .finding = on_finding,
                                                          .finding_arg = sim},
                                  &arena, &why);
    power_vfs.armed = false;
    power_vfs.per_10000 = per_10000;
    if (sim->disk)
        sim->reader = sim->disk->ops->reader_new(sim->disk);
    else if (!power_vfs.ended && power_vfs.hits == hits)
        sim_fail(sim, "STORE", "the store does not open: %s", why);
    else
        sim_trace(sim, "the store does not open: %s", why);
    arena_done(&arena);
    return sim->disk != NULL;
}

static void begin_files(struct sim *sim)
{
    static const int per_10000[] = {0, 0, 0, 0, 1, 10, 100, 1000};
    struct chance chance = sim_chance(sim, 'V', 0);
    power_vfs_install();
    power_vfs_clear();
    remove_files(sim);
    power_vfs.chance = sim_chance(sim, 'V', 1);
    power_vfs.per_10000 = per_10000[chance_below(&chance, sizeof per_10000 / sizeof *per_10000)];
    power_vfs.lies = sim->options->breakage == BREAK_FLUSH;
    power_vfs.may = may_fail;
    power_vfs.arg = sim;
    open_files(sim);
}

static void close_files(struct sim *sim, bool clean)
{
    if (sim->reader)
        sim->reader->ops->free(sim->reader);
    sim->reader = NULL;
    if (sim->disk)
        sim->disk->ops->close(sim->disk, clean);
    sim->disk = NULL;
}

static void lose_power(struct sim *sim)
{
    struct chance chance = sim_chance(sim, 'P', (uint64_t)sim->life);
    bool lost = power_vfs.flush_failed || draw_percent(&chance, 75);
    sim_trace(sim, lost ? "--- what was not flushed is lost, in part" : "--- what was written is there");
    if (lost)
        power_vfs_lose();
    else
        power_vfs_keep();
}

// Times of delivery that are out of order mean nothing where the clock was set.
static void on_verified(void *arg, const struct store_finding *finding)
{
    struct sim *sim = arg;
    if (finding->kind != FINDING_NOTE && !(finding->kind == FINDING_ORDER && sim->clock_was_set))
        sim_fail(sim, "STORE", "verify: %.*s", STR_ARG(finding->text));
}

void disk_verify(struct sim *sim)
{
    struct store_check check = {.deep = true, .finding = on_verified, .arg = sim};
    int err = sim->reader->ops->verify(sim->reader, &check);
    if (err)
        sim_fail(sim, "STORE", "the store cannot be verified: %s", err_name(err));
}

bool disk_start(struct sim *sim)
{
    if (sim->disk)
        return true;
    struct chance chance = sim_chance(sim, 'o', (uint64_t)sim->life);
    if (!sim->healing && draw_percent(&chance, 10) && sim_may(sim, 'o', (uint64_t)sim->life))
        power_vfs.ends = draw(&chance, 1, CALLS_START);
    sim->store_dead = false;
    bool open = open_files(sim);
    if (open && !power_vfs.ended) {
        oracle_reopened(sim);
        return true;
    }
    close_files(sim, false);
    lose_power(sim);
    return false;
}

void disk_stop(struct sim *sim, bool crashed)
{
    if (!sim->options->directory)
        return;
    bool failed = sim->store_dead || sim->store_failed_in == sim->life;
    power_vfs.armed = !sim->over;
    close_files(sim, !crashed && !failed);
    power_vfs.armed = false;
    if (crashed || failed || power_vfs.ended)
        lose_power(sim);
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
    case BREAK_NEWS:
        if (change->kind == STORE_TAKEN)
            change->taken->asked_us = INT64_MAX;
        break;
    case BREAK_PART_KEY:
        if (change->kind == STORE_ACCEPT && change->accept->direction == REPLY)
            change->accept->event.dedupe_key = str_sub(change->accept->event.dedupe_key, 0, sizeof "part:1" - 1);
        break;
    case BREAK_NOTE:
        if (change->kind == STORE_OUTCOME)
            change->outcome->note = STR_NONE;
        break;
    case BREAK_MOVED:
        if (change->kind == STORE_OUTCOME)
            change->outcome->moved_to = STR_NONE;
        break;
    case BREAK_UNTOLD:
        if (change->kind == STORE_OUTCOME)
            change->outcome->files_told = 0;
        break;
    case BREAK_TOLD:
        if (change->kind == STORE_OUTCOME)
            change->outcome->files_told = UINT32_MAX;
        break;
    case BREAK_ALBUM:
        if (change->kind == STORE_ACCEPT && change->accept->event.album.n)
            change->accept->event.text = STR("");
        break;
    case BREAK_GIVE_UP:
        if (change->kind == STORE_FILE && change->file->state == FILE_WANTED) {
            change->file->state = FILE_FAILED;
            change->file->why = STR("no answer");
        }
        break;
    case BREAK_DEDUPE:
        if (change->kind == STORE_ACCEPT)
            change->accept->event.digest = chance_next(&disk->chance);
        break;
    default:
        break;
    }
}

static bool is_reply(const struct store_change *change)
{
    return change->kind == STORE_ACCEPT && change->accept->direction == REPLY;
}

// The replies of one conversation, which stand side by side.
static void reverse(struct store_change *changes, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++) {
        if (!is_reply(&changes[i]) || !is_reply(&changes[i + 1]) ||
            changes[i].accept->conversation_id != changes[i + 1].accept->conversation_id)
            continue;
        struct store_change first = changes[i];
        changes[i] = changes[i + 1];
        changes[i + 1] = first;
    }
}

// How far was taken is on the disk, the replies are not.
static int take_early(struct store *inner, struct store_change *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (changes[i].kind == STORE_TAKEN && inner->ops->apply(inner, &changes[i], 1))
            return ERR_IO;
    return ERR_BUSY;
}

static void remember(struct disk *disk, const struct store_change *changes, size_t count)
{
    struct applied *applied = mem_new_of(struct applied);
    applied->changes = mem_new(count * sizeof *changes);
    applied->count = count;
    memcpy(applied->changes, changes, count * sizeof *changes);
    LL_APPEND(disk->applied, applied);
}

// The judge hears of what was applied. When the process ends without a flush, it is there in memory, and in files perhaps.
static void tell_applied(struct disk *disk, bool flushed)
{
    struct sim *sim = disk->sim;
    while (disk->applied) {
        struct applied *applied = disk->applied;
        disk->applied = applied->next;
        if (flushed || !sim->options->directory)
            oracle_committed(sim, applied->changes, applied->count, !disk->applied);
        else
            oracle_perhaps_committed(sim, applied->changes, applied->count);
        free(applied->changes);
        free(applied);
    }
}

static int apply(struct disk *disk, struct store_change *changes, size_t count)
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
    if (breakage == BREAK_REVERSE)
        reverse(changes, count);
    for (size_t i = 0; breakage == BREAK_TAKEN && i < count; i++)
        if (is_reply(&changes[i]) && draw_percent(&disk->chance, 30))
            return take_early(inner, changes, count);
    int64_t writes = power_vfs.writes;
    arm(sim);
    int err = inner->ops->apply(inner, changes, count);
    power_vfs.armed = false;
    if (!err) {
        remember(disk, changes, count);
    } else if (err == ERR_IO || err == ERR_CORRUPT) {
        tell_applied(disk, false);
        if (power_vfs.writes != writes)
            oracle_perhaps_committed(sim, changes, count);
    }
    sim->result->transactions++;
    return disarm(sim, err);
}

static int disk_apply(struct store *store, struct store_change *changes, size_t count)
{
    struct disk *disk = disk_of(store);
    struct sim *sim = disk->sim;
    int err = error_now(sim);
    if (err == ERR_FULL && !has_accepts(changes, count)) // what is settled needs little room
        err = draw_percent(&disk->chance, 50) ? 0 : err;
    if (sim->options->directory) {
        err = err ? err : apply(disk, changes, count);
        sim->store_dead |= err == ERR_IO || err == ERR_CORRUPT;
        if (err)
            sim->store_failed_in = sim->life;
        return err;
    }
    bool on_disk = !err || (err == ERR_IO && !sim->store_dead && draw_percent(&disk->chance, 50));
    if (!sim->store_dead && sim->crash_in_apply) {
        on_disk = sim->crash_in_apply == 2 && !err;
        err = ERR_IO;
        process_crash_soon(sim);
    }
    if (on_disk) {
        int applied = apply(disk, changes, count);
        err = err ? err : applied;
    }
    if (err)
        sim->store_failed_in = sim->life;
    if (err == ERR_IO) {
        tell_applied(disk, false);
        sim->store_dead = true;
        sim->store_error = 0;
    }
    return err;
}

static int disk_flush(struct store *store)
{
    struct disk *disk = disk_of(store);
    struct sim *sim = disk->sim;
    int err = error_now(sim);
    err = err == ERR_IO ? err : 0;
    if (!err && sim->options->directory) {
        arm(sim);
        err = disarm(sim, sim->disk->ops->flush(sim->disk));
    }
    tell_applied(disk, !err);
    if (err) {
        sim->store_failed_in = sim->life;
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
    arm(sim);
    err = disarm(sim, sim->disk->ops->load_lane(sim->disk, lane, after_place, limit, out));
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
    arm(sim);
    return disarm(sim, sim->disk->ops->lanes_with_work(sim->disk, account_id, after, limit, out_lanes, out_count));
}

static int disk_load_refs(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                          struct str **out_refs, size_t *out_count)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    arm(sim);
    return disarm(sim, sim->disk->ops->load_refs(sim->disk, conversation_id, sent_s, arena, out_refs, out_count));
}

static void disk_close(struct store *store, bool clean)
{
    struct disk *disk = disk_of(store);
    close_files(disk->sim, clean);
    if (disk->sim->options->directory) {
        power_vfs_clear();
        remove_files(disk->sim);
    }
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

static int disk_each_news(struct store *store,
                          void (*each)(void *arg, int64_t account_id, struct str desk_conversation), void *arg)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->each_news(inner, each, arg);
}

static int disk_each_searched(struct store *store, void (*each)(void *arg, const struct store_searched *searched),
                              void *arg)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->each_searched(inner, each, arg);
}

static int disk_wanted_files(struct store *store, struct store_wanted *wanted)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    arm(sim);
    return disarm(sim, sim->disk->ops->wanted_files(sim->disk, wanted));
}

static int disk_due_avatars(struct store *store, struct store_avatars *avatars)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    arm(sim);
    return disarm(sim, sim->disk->ops->due_avatars(sim->disk, avatars));
}

static const uint8_t *disk_link_key(struct store *store)
{
    struct store *inner = disk_of(store)->sim->disk;
    return inner->ops->link_key(inner);
}

static int disk_checkpoint(struct store *store, bool busy)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err == ERR_BUSY || (err && sim->options->directory))
        return err;
    arm(sim);
    return disarm(sim, sim->disk->ops->checkpoint(sim->disk, busy));
}

static int disk_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more)
{
    struct sim *sim = disk_of(store)->sim;
    int err = error_now(sim);
    if (err && err != ERR_FULL)
        return err;
    if (sim->options->breakage == BREAK_AGE)
        bodies_before_us = dedupe_before_us = INT64_MAX;
    arm(sim);
    return disarm(sim, sim->disk->ops->age_out(sim->disk, bodies_before_us, dedupe_before_us, out_more));
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
    .flush = disk_flush,
    .load_lane = disk_load_lane,
    .lanes_with_work = disk_lanes_with_work,
    .load_refs = disk_load_refs,
    .each_account = disk_each_account,
    .each_desk_health = disk_each_desk_health,
    .each_news = disk_each_news,
    .each_searched = disk_each_searched,
    .wanted_files = disk_wanted_files,
    .due_avatars = disk_due_avatars,
    .link_key = disk_link_key,
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
    if (sim->options->directory) {
        begin_files(sim);
    } else {
        sim->disk = store_memory_new();
        sim->reader = sim->disk->ops->reader_new(sim->disk);
    }
    return &disk->store;
}
