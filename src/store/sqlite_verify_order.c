#include "store/sqlite_verify_order.h"

#include "base/hash.h"
#include "base/heap.h"
#include "base/mem.h"

#include <stdlib.h>

enum {
    LANES_FIRST = 1024,
    LANES_MAX = 4 << 20, // 200 MiB; beyond, messages of further lanes are left out, and it is said
    LATE_MAX = 1 << 20,
    FAULTS_MAX = 1000, // looked at; of more, the first
    STEPS_MAX = 64,
};

// Times of acceptance come from several threads: a little disorder is no clock.
static const int64_t step_least_us = 1000000;

struct lane_last {
    int64_t lane; // 0: free
    int64_t id, settled_us;
};

// A late one waits here until the walk, which goes by ids, has come to its place.
struct late {
    struct heap_item item; // at its place
    struct lane_last last;
};

// The clock was set back from (about) `high` to `low`.
struct clock_step {
    int64_t low, high;
};

struct order_check {
    struct lane_last *lanes; // by open addressing
    size_t size, count;
    struct heap late;
    int64_t left_out;
    struct order_fault faults[FAULTS_MAX];
    int64_t fault_count; // also of those beyond
    struct clock_step steps[STEPS_MAX];
    size_t step_count;
    int64_t latest_us; // of all times of acceptance so far
    bool is_back;      // the last row was accepted before `latest_us` by the clock's word
};

struct order_check *order_check_new(void)
{
    struct order_check *check = mem_new_of(struct order_check);
    check->size = LANES_FIRST;
    check->lanes = mem_new(check->size * sizeof *check->lanes);
    return check;
}

static struct late *take_late(struct order_check *check, int64_t before_place)
{
    struct heap_item *top = heap_top(&check->late);
    if (!top || top->at >= before_place)
        return NULL;
    heap_remove(&check->late, top);
    return (struct late *)top;
}

void order_check_free(struct order_check *check)
{
    struct late *late;
    while ((late = take_late(check, INT64_MAX)))
        free(late);
    heap_done(&check->late);
    free(check->lanes);
    free(check);
}

// Its place in the table, or the free one where it would stand.
static struct lane_last *slot_of(struct lane_last *lanes, size_t size, int64_t lane)
{
    size_t at = (size_t)hash_str((struct str){(const char *)&lane, sizeof lane}) & (size - 1);
    while (lanes[at].lane && lanes[at].lane != lane)
        at = (at + 1) & (size - 1);
    return &lanes[at];
}

static bool grow(struct order_check *check)
{
    if (check->count < check->size / 4 * 3)
        return true;
    struct lane_last *lanes = check->count < LANES_MAX ? mem_try(check->size * 2 * sizeof *lanes) : NULL;
    if (!lanes)
        return false;
    for (size_t i = 0; i < check->size; i++)
        if (check->lanes[i].lane)
            *slot_of(lanes, check->size * 2, check->lanes[i].lane) = check->lanes[i];
    free(check->lanes);
    check->lanes = lanes;
    check->size *= 2;
    return true;
}

static void add_fault(struct order_check *check, const struct lane_last *first, int64_t id, int64_t at_us, bool tried)
{
    if (check->fault_count < FAULTS_MAX)
        check->faults[check->fault_count] = (struct order_fault){.lane = first->lane,
                                                                 .first_id = first->id,
                                                                 .first_settled_us = first->settled_us,
                                                                 .then_id = id,
                                                                 .then_us = at_us,
                                                                 .tried = tried};
    check->fault_count++;
}

// The next one of its lane in order of places.
static void take(struct order_check *check, const struct lane_last *now, int64_t first_try_us)
{
    struct lane_last *last = slot_of(check->lanes, check->size, now->lane);
    if (!last->lane && !grow(check)) {
        check->left_out++;
        return;
    }
    last = slot_of(check->lanes, check->size, now->lane);
    if (!last->lane)
        check->count++;
    else if (now->settled_us < last->settled_us)
        add_fault(check, last, now->id, now->settled_us, false);
    else if (first_try_us && first_try_us < last->settled_us)
        add_fault(check, last, now->id, first_try_us, true);
    *last = *now;
}

static void take_all_late(struct order_check *check, int64_t before_place)
{
    struct late *late;
    while ((late = take_late(check, before_place))) {
        take(check, &late->last, 0); // its attempts are also those of its place before
        free(late);
    }
}

void order_check_settled(struct order_check *check, const struct message *m, int64_t first_try_us)
{
    struct lane_last now = {m->lane, m->id, m->settled_at_us};
    take_all_late(check, m->id);
    if (!m->late) {
        take(check, &now, first_try_us);
    } else if (check->late.count >= LATE_MAX) {
        check->left_out++;
    } else {
        struct late *late = mem_new_of(struct late);
        late->last = now;
        heap_set(&check->late, &late->item, m->place);
    }
}

void order_check_accepted(struct order_check *check, const struct message *m)
{
    bool is_back = m->received_at_us < check->latest_us - step_least_us;
    if (is_back && !check->is_back && check->step_count < STEPS_MAX)
        check->steps[check->step_count++] = (struct clock_step){m->received_at_us, check->latest_us};
    else if (is_back && check->step_count && m->received_at_us < check->steps[check->step_count - 1].low)
        check->steps[check->step_count - 1].low = m->received_at_us;
    if (m->received_at_us > check->latest_us)
        check->latest_us = m->received_at_us;
    check->is_back = is_back;
}

static bool is_by_clock(const struct order_check *check, const struct order_fault *fault)
{
    for (size_t i = 0; i < check->step_count; i++)
        if (fault->then_us <= check->steps[i].high && fault->first_settled_us >= check->steps[i].low)
            return true;
    return false;
}

void order_check_end(struct order_check *check, void (*each)(void *arg, const struct order_fault *fault), void *arg,
                     int64_t *out_by_clock)
{
    take_all_late(check, INT64_MAX);
    *out_by_clock = 0;
    for (int64_t i = 0; i < check->fault_count && i < FAULTS_MAX; i++) {
        if (is_by_clock(check, &check->faults[i]))
            ++*out_by_clock;
        else
            each(arg, &check->faults[i]);
    }
    if (check->fault_count > FAULTS_MAX && *out_by_clock == FAULTS_MAX) // the rest is taken for more of the same
        *out_by_clock = check->fault_count;
}

int64_t order_check_lanes(const struct order_check *check)
{
    return (int64_t)check->count;
}

int64_t order_check_left_out(const struct order_check *check)
{
    return check->left_out;
}
