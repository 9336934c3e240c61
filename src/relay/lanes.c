#include "relay/lanes.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "platform/platform.h"
#include "relay/tell.h"

#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

int64_t dispatcher_now_us(struct dispatcher *d)
{
    return clock_wall_us(d->options.clock);
}

int64_t dispatcher_mono_us(struct dispatcher *d)
{
    return clock_mono_us(d->options.clock);
}

void due_set(struct dispatcher *d, struct due *due, int64_t at_us)
{
    heap_set(&d->dues, &due->item, at_us);
}

void due_clear(struct dispatcher *d, struct due *due)
{
    heap_remove(&d->dues, &due->item);
}

static struct conversation *conversation_find(struct dispatcher *d, int64_t id)
{
    struct conversation *conversation = NULL;
    HASH_FIND(hh, d->conversations, &id, sizeof id, conversation);
    return conversation;
}

void conversation_learn(struct dispatcher *d, int64_t id, struct str profile)
{
    struct conversation *conversation = profile.p ? conversation_find(d, id) : NULL;
    if (!conversation || (conversation->profile && str_eq_c(profile, conversation->profile)))
        return;
    free(conversation->profile);
    conversation->profile = mem_dup(profile.p, profile.n);
}

static struct conversation *conversation_get(struct dispatcher *d, int64_t id, const struct link *link)
{
    struct conversation *conversation = conversation_find(d, id);
    if (!conversation) {
        conversation = mem_new_of(struct conversation);
        conversation->id = id;
        conversation->link = link_copy(link);
        HASH_ADD(hh, d->conversations, id, sizeof conversation->id, conversation);
    }
    conversation->refs++;
    return conversation;
}

static void conversation_unref(struct dispatcher *d, struct conversation *conversation)
{
    if (--conversation->refs)
        return;
    HASH_DEL(d->conversations, conversation);
    free(conversation->link);
    free(conversation->profile);
    free(conversation);
}

struct lane *lane_find(struct dispatcher *d, int64_t lane_id)
{
    struct lane *lane = NULL;
    HASH_FIND(hh, d->lanes, &lane_id, sizeof lane_id, lane);
    return lane;
}

static void lane_wait_over(struct dispatcher *d, struct due *due)
{
    struct lane *lane = (struct lane *)due;
    lane->waited = true;
    lane_go_on(d, lane);
}

struct lane *lane_new(struct dispatcher *d, struct lane_owner *owner, int64_t lane_id)
{
    struct lane *lane = mem_new_of(struct lane);
    lane->id = lane_id;
    lane->owner = owner;
    lane->due.run = lane_wait_over;
    HASH_ADD(hh, d->lanes, id, sizeof lane->id, lane);
    DL_APPEND2(owner->lanes, lane, all_prev, all_next);
    owner->lanes_in_state[LANE_IDLE]++;
    lane_look_for_trouble(d, lane);
    wait_take_back(d, lane);
    return lane;
}

static void lane_free(struct dispatcher *d, struct lane *lane)
{
    struct lane_owner *owner = lane->owner;
    must(!lane->attempt && !lane->in_ring && !lane->due.item.index);
    lane_truncate(d, lane, 0);
    if (owner->desk->probe_lane == lane)
        desk_probe_lost(d, owner->desk);
    HASH_DEL(d->lanes, lane);
    DL_DELETE2(owner->lanes, lane, all_prev, all_next);
    owner->lanes_in_state[lane->state]--;
    lane_leaves_trouble(d, lane);
    free(lane);
    lane_owner_release(d, owner);
}

bool lane_owner_is_empty(const struct lane_owner *owner)
{
    return !owner->messages && !owner->loads;
}

static void stand_in_line(struct dispatcher *d, struct lane_owner *owner)
{
    if (lane_owner_is_empty(owner))
        DL_PREPEND2(d->to_load, owner, load_prev, load_next);
    else
        DL_APPEND2(d->to_load, owner, load_prev, load_next);
}

// One message or page less: it may have come to be first in line.
static void has_less(struct dispatcher *d, struct lane_owner *owner)
{
    if (!owner->in_load_ring || !lane_owner_is_empty(owner))
        return;
    DL_DELETE2(d->to_load, owner, load_prev, load_next);
    stand_in_line(d, owner);
}

void lane_want_page(struct dispatcher *d, struct lane *lane)
{
    struct lane_owner *owner = lane->owner;
    lane->in_ring = true;
    DL_APPEND(owner->to_load, lane);
    if (owner->in_load_ring)
        return;
    owner->in_load_ring = true;
    stand_in_line(d, owner);
}

void lane_want_no_page(struct dispatcher *d, struct lane *lane)
{
    struct lane_owner *owner = lane->owner;
    lane->in_ring = false;
    DL_DELETE(owner->to_load, lane);
    if (owner->to_load)
        return;
    owner->in_load_ring = false;
    DL_DELETE2(d->to_load, owner, load_prev, load_next);
}

void lane_forget_load(struct dispatcher *d, struct lane *lane)
{
    if (!lane->load)
        return;
    lane->load = NULL;
    lane->owner->loads--;
    has_less(d, lane->owner);
}

struct lane_slot *lane_head(struct lane *lane)
{
    must(lane->count > 0);
    return &lane->slots[lane->head];
}

struct lane_slot *lane_push(struct dispatcher *d, struct lane *lane, struct message *message, const struct link *link,
                            struct str profile)
{
    int window = d->options.window;
    must(lane->count < window);
    if (!lane->slots)
        lane->slots = mem_new((size_t)window * sizeof *lane->slots);
    struct lane_slot *slot = &lane->slots[(lane->head + lane->count++) % window];
    slot->message = message;
    slot->conversation = conversation_get(d, message->conversation_id, link);
    conversation_learn(d, message->conversation_id, profile);
    lane->owner->messages++;
    atomic_fetch_add_explicit(&d->messages, 1, memory_order_relaxed);
    return slot;
}

static void slot_clear(struct dispatcher *d, struct lane *lane, struct lane_slot *slot)
{
    message_free(slot->message);
    conversation_unref(d, slot->conversation);
    *slot = (struct lane_slot){0};
    lane->owner->messages--;
    has_less(d, lane->owner);
    atomic_fetch_sub_explicit(&d->messages, 1, memory_order_relaxed);
}

int64_t lane_due_us(struct dispatcher *d, struct lane *lane)
{
    const struct message *head = lane_head(lane)->message;
    if (head->next_attempt_us == MESSAGE_HELD || lane->in_trouble)
        return INT64_MAX;
    if (lane->wait.message_id == head->id && lane->wait.next_attempt_us == head->next_attempt_us)
        return lane->wait.due_us;
    int64_t pause_us = head->next_attempt_us - dispatcher_now_us(d);
    bool may_be_limited = lane_id_kind(lane->id) == LANE_REPLY && d->longest_wait_us < LONGEST_LIMITED_US;
    if (pause_us > (may_be_limited ? LONGEST_LIMITED_US : d->longest_wait_us))
        pause_us = d->options.settle_ms * 1000;
    int64_t due_us = dispatcher_mono_us(d) + (pause_us > 0 ? pause_us : 0);
    // An earlier process meant it to wait, by a clock that may have been set since: in doubt, it settles anew.
    int64_t settled_us = d->started_us + d->options.settle_ms * 1000;
    bool settles = head->in_doubt && head->next_attempt_us && due_us < settled_us;
    return settles ? settled_us : due_us;
}

void lane_keep_wait(struct dispatcher *d, struct lane *lane, int64_t message_id, int64_t next_attempt_us)
{
    lane->wait = (struct head_wait){message_id, next_attempt_us,
                                    dispatcher_mono_us(d) + next_attempt_us - dispatcher_now_us(d)};
}

void lane_pop(struct dispatcher *d, struct lane *lane)
{
    slot_clear(d, lane, lane_head(lane));
    lane->head = (lane->head + 1) % d->options.window;
    lane->count--;
}

void lane_truncate(struct dispatcher *d, struct lane *lane, int keep)
{
    if (lane->count > keep)
        lane->more = true;
    while (lane->count > keep)
        slot_clear(d, lane, &lane->slots[(lane->head + --lane->count) % d->options.window]);
    if (keep)
        return;
    free(lane->slots);
    lane->slots = NULL;
    lane->head = 0;
}

// When it is over. One that came with the message, for its files, is waited from now on, whatever the clock is set to: who changes
// its time in the store has another word, which holds.
static int64_t begin_wait(struct dispatcher *d, struct lane *lane)
{
    const struct message *head = lane_head(lane)->message;
    int64_t due_us = lane_due_us(d, lane);
    if (!head->attempts && !head->in_doubt)
        lane->wait = (struct head_wait){head->id, head->next_attempt_us, due_us};
    return due_us;
}

// What is known of its head stays known while it holds no messages.
static int64_t probe_after_us(struct dispatcher *d, struct lane *lane)
{
    if (lane->count) {
        int64_t due_us = lane_due_us(d, lane), paced_us = pace_due_us(d, lane);
        return due_us > paced_us ? due_us : paced_us;
    }
    return lane->state == LANE_HELD ? INT64_MAX : lane->state == LANE_WAITING ? lane->due.item.at : 0;
}

static void leave_state(struct dispatcher *d, struct lane *lane)
{
    struct lane_owner *owner = lane->owner;
    due_clear(d, &lane->due);
    lane_forget_load(d, lane);
    if (!lane->in_ring)
        return;
    if (lane->state == LANE_LOADING) {
        lane_want_no_page(d, lane);
        return;
    }
    lane->in_ring = false;
    DL_DELETE(owner->ready, lane);
    if (!owner->ready && owner->in_ring) {
        DL_DELETE(owner->desk->ready, owner);
        owner->in_ring = false;
        if (!owner->desk->ready)
            desk_delist(d, owner->desk);
    }
}

static void enter_ready(struct dispatcher *d, struct lane *lane)
{
    struct lane_owner *owner = lane->owner;
    lane->in_ring = true;
    DL_APPEND(owner->ready, lane);
    if (!owner->in_ring) {
        owner->in_ring = true;
        DL_APPEND(owner->desk->ready, owner);
    }
    desk_enlist(d, owner->desk);
}

static void enter_state(struct dispatcher *d, struct lane *lane)
{
    switch (lane->state) {
    case LANE_LOADING:
        lane_truncate(d, lane, 0);
        lane_want_page(d, lane);
        break;
    case LANE_READY:
        enter_ready(d, lane);
        break;
    case LANE_WAITING: // memory is for lanes that move: it is read again when the time has come
        due_set(d, &lane->due, lane->paces ? pace_due_us(d, lane) : begin_wait(d, lane));
        if (!lane->paces)
            tell_lane_waits(d->options.board, lane);
        lane_truncate(d, lane, 0);
        break;
    case LANE_HELD:
    case LANE_SUSPENDED:
    case LANE_BEHIND:
        lane_truncate(d, lane, 0);
        lane->more = true;
        break;
    case LANE_STOPPED:
        wait_keep(d, lane);
        lane_free(d, lane);
        break;
    case LANE_IDLE:
        lane_free(d, lane);
        break;
    default:
        break;
    }
}

void lane_set_state(struct dispatcher *d, struct lane *lane, enum lane_state to)
{
    if (!lane_may_go(lane->state, to)) {
        log_error("forbidden_transition", LOG_N("lane", lane->id), LOG_C("from", lane_state_name(lane->state)),
                  LOG_C("to", lane_state_name(to)));
        lane_note_trouble(d, lane);
        must(!"a lane's state may change so");
    }
    log_debug("lane", LOG_N("lane", lane->id), LOG_C("from", lane_state_name(lane->state)),
              LOG_C("to", lane_state_name(to)));
    lane->probe_after_us = to == LANE_SUSPENDED ? probe_after_us(d, lane) : 0;
    leave_state(d, lane);
    lane->owner->lanes_in_state[lane->state]--;
    lane->owner->lanes_in_state[to]++;
    lane->state = to;
    enter_state(d, lane);
}

// ---- owners ----

struct owner_key owner_key_of(const struct account *account, int64_t lane_id, int64_t source_id)
{
    if (lane_id_kind(lane_id) != LANE_REPLY)
        source_id = 0;
    else if (!account_find_any_source_id(account, source_id))
        source_id = SOURCE_UNKNOWN;
    return (struct owner_key){account->id, source_id};
}

struct lane_owner *lane_owner_find(struct dispatcher *d, struct owner_key key)
{
    struct lane_owner *owner = NULL;
    HASH_FIND(hh, d->owners, &key, sizeof key, owner);
    return owner;
}

struct lane_owner *lane_owner_next(struct dispatcher *d, const struct account *account, size_t *at)
{
    size_t known = account->source_count + account->former_count;
    struct lane_owner *owner = NULL;
    while (!owner && *at < known + 2) {
        struct owner_key key = {.account_id = account->id};
        size_t i = (*at)++;
        if (i > known)
            key.source_id = SOURCE_UNKNOWN;
        else if (i > account->source_count)
            key.source_id = account->former[i - 1 - account->source_count].id;
        else if (i)
            key.source_id = account->sources[i - 1].id;
        owner = lane_owner_find(d, key);
    }
    return owner;
}

// Takes the account.
static struct lane_owner *owner_new(struct dispatcher *d, const struct account *account, struct owner_key key)
{
    struct lane_owner *owner = mem_new_of(struct lane_owner);
    owner->key = key;
    owner->account = account;
    owner->desk = desk_state_get(d, account, key.source_id);
    DL_APPEND2(owner->desk->owners, owner, all_prev, all_next);
    HASH_ADD(hh, d->owners, key, sizeof owner->key, owner);
    return owner;
}

struct lane_owner *lane_owner_get(struct dispatcher *d, int64_t lane_id, int64_t account_id, int64_t source_id)
{
    struct owner_key key = {account_id, lane_id_kind(lane_id) == LANE_REPLY ? source_id : 0};
    struct lane_owner *owner = lane_owner_find(d, key);
    if (owner)
        return owner;
    const struct account *account = directory_find_id(d->options.directory, account_id);
    // A damaged definition may name a desk that there is not; it is inactive.
    if (!account || !desk_connector_find(account->desk.platform)) {
        account_unref(account);
        return NULL;
    }
    key = owner_key_of(account, lane_id, source_id);
    owner = lane_owner_find(d, key);
    if (!owner)
        return owner_new(d, account, key);
    account_unref(account);
    return owner;
}

struct lane_owner *lane_owner_inbound(struct dispatcher *d, int64_t account_id)
{
    return lane_owner_get(d, lane_id(LANE_ACCOUNT, account_id), account_id, 0);
}

void lane_owner_release(struct dispatcher *d, struct lane_owner *owner)
{
    if (owner->lanes || owner->pins)
        return;
    must(!owner->in_ring && !owner->in_load_ring && lane_owner_is_empty(owner));
    HASH_DEL(d->owners, owner);
    DL_DELETE2(owner->desk->owners, owner, all_prev, all_next);
    desk_state_unref(d, owner->desk);
    account_unref(owner->account);
    free(owner);
}

// ---- who takes their messages ----

bool receiver_is_blind(const struct receiver *receiver)
{
    return !receiver->has_key && !receiver->has_lookup;
}

// `out_source`: whose bot it is; NULL where it is none.
static const struct receiver *receiver_of(const struct account *account, int64_t source_id,
                                          const struct source **out_source)
{
    *out_source = NULL;
    if (!source_id) {
        const struct desk_connector *connector = desk_connector_find(account->desk.platform);
        must(connector);
        return &connector->receiver;
    }
    const struct source *source = account_find_source_id(account, source_id);
    const struct platform *platform = source ? platform_find(source->platform) : NULL;
    if (!platform || !platform->receiver)
        return &receiver_nobody;
    *out_source = source;
    return platform->receiver;
}

uint64_t desk_identity_of(const struct account *account, int64_t source_id)
{
    const struct source *source;
    if (!source_id)
        return desk_identity(&account->desk);
    if (receiver_of(account, source_id, &source) == &receiver_nobody) {
        struct str name = str_of(receiver_nobody.name);
        return hash_strs(&name, 1);
    }
    return source_identity(source);
}

struct desk_state *desk_state_find(struct dispatcher *d, const struct account *account, int64_t source_id)
{
    uint64_t identity = desk_identity_of(account, source_id);
    struct desk_state *desk = NULL;
    HASH_FIND(hh, d->desks, &identity, sizeof identity, desk);
    return desk;
}

void desk_state_settings(struct desk_state *desk, const struct account *account, int64_t source_id)
{
    account_unref(desk->account);
    desk->account = account_ref(account);
    desk->receiver = receiver_of(account, source_id, &desk->source);
    desk->governor.rate_per_min = source_id ? desk->receiver->rate_per_min : account->desk.rate_per_min;
}

struct desk_state *desk_state_get(struct dispatcher *d, const struct account *account, int64_t source_id)
{
    struct desk_state *desk = desk_state_find(d, account, source_id);
    if (!desk) {
        desk = mem_new_of(struct desk_state);
        desk->dispatcher = d;
        desk->identity = desk_identity_of(account, source_id);
        desk->due.run = desk_pause_over;
        governor_init(&desk->governor, d->options.concurrency, 0, dispatcher_mono_us(d));
        desk_state_settings(desk, account, source_id);
        HASH_ADD(hh, d->desks, identity, sizeof desk->identity, desk);
        desk_restore(d, desk);
    }
    desk->refs++;
    return desk;
}

static bool remembers_something(struct dispatcher *d, struct desk_state *desk)
{
    struct governor *governor = &desk->governor;
    int64_t now_us = dispatcher_mono_us(d);
    return desk->suspended || desk->guard.skips || (governor->remaining >= 0 && governor->reset_us > now_us) ||
           governor_blocked_until(governor, now_us);
}

static void desk_free(struct dispatcher *d, struct desk_state *desk)
{
    desk_delist(d, desk);
    due_clear(d, &desk->due);
    HASH_DEL(d->desks, desk);
    account_unref(desk->account);
    free(desk->alarmed_for);
    free(desk);
}

void desk_state_unref(struct dispatcher *d, struct desk_state *desk)
{
    must(desk->refs > 0);
    if (!--desk->refs && !remembers_something(d, desk) && !desk->probing)
        desk_free(d, desk);
}

void desk_enlist(struct dispatcher *d, struct desk_state *desk)
{
    if (desk->in_ring || desk->suspended || !desk->ready)
        return;
    desk->in_ring = true;
    DL_APPEND(d->ready, desk);
}

void desk_delist(struct dispatcher *d, struct desk_state *desk)
{
    if (!desk->in_ring)
        return;
    desk->in_ring = false;
    DL_DELETE(d->ready, desk);
}
