// The store in memory, for tests and the simulator: the same contract, nothing durable, nothing fast about it but
// the lack of a disk. One lock around everything lets readers look from other threads; their callbacks run under
// it and must not call the store.
#include "base/mem.h"

#include "base/must.h"
#include "base/table.h"
#include "store/attached.h"
#include "store/entry.h"
#include "store/media_files.h"
#include "store/memory_avatars.h"
#include "store/memory_files.h"
#include "store/memory_threads.h"
#include "store/store.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct attempt {
    int64_t at_us;
    struct str verdict, error; // in the row's arena
    struct attempt *prev, *next;
};

struct row {
    struct arena arena;      // of what changes: last_error, desk_ref, attempts, text and attachments
    struct message *message; // one allocation; its place, state and texts of the last attempt are changed here
    struct attempt *attempts;
    uint64_t digest;
    int64_t target_id; // of a reply that changes another; else 0
    char *key;         // source id and dedupe key
    size_t key_size;
    struct row *twin;        // the next with the same key and another digest; the first stands in by_key
    struct row *prev, *next; // in its lane while pending, lowest place first
    UT_hash_handle by_id, by_key;
};

struct lane {
    int64_t id, account_id;
    struct row *pending;
    size_t count;
    UT_hash_handle hh;
};

struct conversation {
    int64_t id, source_id;
    struct arena arena;
    struct str thread, name;
    struct link link;
    struct str profile;
    struct conversation *goes_on_in; // NULL: messages of this thread are this one's
    bool gone_on_in;                 // another goes on here
    char *key;
    size_t key_size;
    UT_hash_handle by_id, by_key;
};

struct stored_account {
    struct account *account;
    struct arena arena;
    struct str file_text;
    struct source *gone; // sources no longer configured: their ids stay theirs
    size_t gone_count;
    bool removed;
    struct stored_account *prev, *next;
};

struct health {
    struct store_desk_health health;
    struct health *prev, *next;
};

struct memory {
    struct store store; // first
    pthread_mutex_t lock;
    struct store_totals totals; // the durable four
    int64_t aged_delivered, aged_discarded;
    int64_t last_number, last_account, last_source, last_conversation;
    struct row **rows; // ascending ids
    size_t row_count, row_size;
    struct row *by_id, *by_key;
    struct lane *lanes;
    struct conversation *conversations, *conversations_by_key;
    struct stored_account *accounts;
    bool any_removed;
    struct health *healths;
    struct memory_threads threads;
    struct memory_files files;
    bool order_changed; // of some account: callers may not know yet
};

struct memory_reader {
    struct store_reader reader; // first
    struct memory *memory;
};

static struct memory *memory_of(struct store *store)
{
    return (struct memory *)store;
}

static struct memory *lock_memory(struct store *store)
{
    struct memory *m = memory_of(store);
    pthread_mutex_lock(&m->lock);
    return m;
}

static int unlock_memory(struct memory *m)
{
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static char *make_key(int64_t owner, struct str text, size_t *out_size)
{
    *out_size = sizeof owner + text.n;
    char *key = mem_new(*out_size + 1);
    memcpy(key, &owner, sizeof owner);
    memcpy(key + sizeof owner, text.p, text.n);
    return key;
}

// --- Messages ---

static void count(struct memory *m, enum message_state from, enum message_state to)
{
    int64_t *counts[] = {NULL, &m->totals.delivered, &m->totals.skipped, &m->totals.discarded};
    if (counts[from])
        --*counts[from];
    if (counts[to])
        ++*counts[to];
}

static struct row *find_row(struct memory *m, int64_t id)
{
    struct row *row;
    HASH_FIND(by_id, m->by_id, &id, sizeof id, row);
    return row;
}

static void enter_lane(struct memory *m, struct row *row)
{
    struct lane *lane;
    HASH_FIND(hh, m->lanes, &row->message->lane, sizeof lane->id, lane);
    if (!lane) {
        lane = mem_new_of(struct lane);
        lane->id = row->message->lane;
        lane->account_id = row->message->account_id;
        HASH_ADD(hh, m->lanes, id, sizeof lane->id, lane);
    }
    DL_APPEND(lane->pending, row); // places only grow
    lane->count++;
}

static void leave_lane(struct memory *m, struct row *row)
{
    struct lane *lane;
    HASH_FIND(hh, m->lanes, &row->message->lane, sizeof lane->id, lane);
    must(lane);
    DL_DELETE(lane->pending, row);
    if (--lane->count == 0) {
        HASH_DEL(m->lanes, lane);
        free(lane);
    }
}

static struct stored_account *find_account(struct memory *m, int64_t id, struct str name)
{
    struct stored_account *a;
    for (a = m->accounts; a; a = a->next)
        if (id ? a->account->id == id : !a->removed && str_eq(a->account->name, name))
            return a;
    return NULL;
}

static bool is_removed(struct memory *m, int64_t account_id)
{
    const struct stored_account *a = m->any_removed ? find_account(m, account_id, STR_NONE) : NULL;
    return a && a->removed;
}

// The rule in force, whatever the caller knows of it.
static enum order_rule order_of(struct memory *m, int64_t account_id, enum order_rule known)
{
    const struct stored_account *a = m->order_changed ? find_account(m, account_id, STR_NONE) : NULL;
    return a ? a->account->order : known;
}

static struct conversation *get_conversation(struct memory *m, int64_t source_id, struct str thread)
{
    size_t size;
    char *key = make_key(source_id, thread, &size);
    struct conversation *c;
    HASH_FIND(by_key, m->conversations_by_key, key, size, c);
    if (c) {
        free(key);
        return c;
    }
    c = mem_new_of(struct conversation);
    c->id = ++m->last_conversation;
    c->source_id = source_id;
    c->thread = arena_str(&c->arena, thread);
    c->key = key;
    c->key_size = size;
    HASH_ADD(by_id, m->conversations, id, sizeof c->id, c);
    HASH_ADD_KEYPTR(by_key, m->conversations_by_key, c->key, c->key_size, c);
    return c;
}

static struct conversation *find_conversation(struct memory *m, int64_t id)
{
    struct conversation *c;
    HASH_FIND(by_id, m->conversations, &id, sizeof id, c);
    return c;
}

static void migrate_conversation(struct memory *m, int64_t source_id, struct str from_thread, struct str to_thread)
{
    struct conversation *from = get_conversation(m, source_id, from_thread);
    struct conversation *to = get_conversation(m, source_id, to_thread);
    struct conversation *earlier = from->goes_on_in ? from->goes_on_in : from;
    if (to->goes_on_in || to->gone_on_in || to == earlier)
        return;
    to->goes_on_in = earlier;
    earlier->gone_on_in = true;
}

// The thread that a conversation goes on in now; STR_NONE: in its own.
static struct str address_of(struct memory *m, const struct conversation *conversation)
{
    const struct conversation *last = NULL;
    if (!conversation->gone_on_in)
        return STR_NONE;
    for (const struct conversation *c = m->conversations; c; c = c->by_id.next)
        if (c->goes_on_in == conversation && (!last || c->id > last->id))
            last = c;
    return last ? last->thread : STR_NONE;
}

// The one that the event's messages belong to.
static const struct conversation *conversation_of(struct memory *m, struct store_accept *accept)
{
    if (accept->event.migrated_from.p && !str_eq(accept->event.migrated_from, accept->event.conversation))
        migrate_conversation(m, accept->source_id, accept->event.migrated_from, accept->event.conversation);
    struct conversation *c = get_conversation(m, accept->source_id, accept->event.conversation);
    accept->thread = STR_NONE;
    if (c->goes_on_in) {
        c = c->goes_on_in;
        accept->thread = accept->out_arena ? arena_str(accept->out_arena, c->thread) : STR_NONE;
    }
    if (accept->event.conversation_name.p && !str_eq(accept->event.conversation_name, c->name))
        c->name = arena_str(&c->arena, accept->event.conversation_name);
    struct str profile = profile_merge(c->profile, &accept->event.profile, &c->arena);
    if (profile.p)
        c->profile = profile;
    return c;
}

static struct link copy_link(const struct link *link, struct arena *arena)
{
    return (struct link){arena_str(arena, link->contact), arena_str(arena, link->conversation),
                         arena_str(arena, link->last_part), arena_str(arena, link->note)};
}

// Of a pending message, or one that settles as it comes. `key` as in struct row; it is copied.
static struct row *add_row(struct memory *m, const struct message *message, struct str dedupe_key, uint64_t digest,
                           enum accept_result *out_result)
{
    struct row *row = mem_new_of(struct row), *first;
    row->message = message_copy(message);
    row->digest = digest;
    row->key = make_key(message->source_id, dedupe_key, &row->key_size);
    HASH_ADD_KEYPTR(by_id, m->by_id, &row->message->id, sizeof row->message->id, row);
    HASH_FIND(by_key, m->by_key, row->key, row->key_size, first);
    if (first) {
        row->twin = first->twin;
        first->twin = row;
    } else {
        HASH_ADD_KEYPTR(by_key, m->by_key, row->key, row->key_size, row);
    }
    if (m->row_count == m->row_size) {
        m->row_size = m->row_size ? m->row_size * 2 : 64;
        m->rows = mem_resize(m->rows, m->row_size * sizeof *m->rows);
    }
    m->rows[m->row_count++] = row;
    m->totals.accepted++;
    count(m, MESSAGE_PENDING, message->state);
    if (message->state == MESSAGE_PENDING)
        enter_lane(m, row);
    *out_result = first ? ACCEPT_STORED_TWIN : ACCEPT_STORED;
    return row;
}

static const struct row *find_same(struct memory *m, const struct store_accept *accept)
{
    size_t key_size;
    char *key = make_key(accept->source_id, accept->event.dedupe_key, &key_size);
    struct row *same;
    HASH_FIND(by_key, m->by_key, key, key_size, same);
    free(key);
    while (same && same->digest != accept->event.digest)
        same = same->twin;
    return same;
}

static const struct conversation *replied_conversation(struct memory *m, struct store_accept *accept)
{
    const struct conversation *c = find_conversation(m, accept->conversation_id);
    must(c); // none is ever forgotten
    accept->thread = accept->address = STR_NONE;
    if (accept->out_arena) {
        accept->thread = arena_str(accept->out_arena, c->thread);
        accept->address = arena_str(accept->out_arena, address_of(m, c));
    }
    return c;
}

static void add_accepted(struct memory *m, struct store_accept *accept, const struct store_entry *entry)
{
    const struct event *event = &accept->event;
    accept->message_id = accept->place = ++m->last_number;
    struct message message = entry_message(accept, entry);
    struct row *row = add_row(m, &message, entry->dedupe_key, event->digest, &accept->result);
    row->target_id = entry->target_id;
}

static int64_t waiting_of(const struct memory *m, int64_t account_id)
{
    int64_t waiting = 0;
    for (const struct lane *lane = m->lanes; lane; lane = lane->hh.next)
        waiting += lane->account_id == account_id ? (int64_t)lane->count : 0;
    return waiting;
}

static bool is_over_quota(const struct memory *m, struct store_accept *accept, const struct store_entry *entry)
{
    accept->over_files = false;
    if (accept->direction == REPLY || entry->state != MESSAGE_PENDING)
        return false;
    if (accept->most_waiting && waiting_of(m, accept->account_id) >= accept->most_waiting)
        return true;
    accept->over_files = accept->most_file_bytes && entry->wanted &&
                         memory_files_bytes(&m->files, accept->account_id) >= accept->most_file_bytes;
    return accept->over_files;
}

// What the reply says now: as it was changed last, by what has arrived or will.
static const struct message *last_words(const struct memory *m, const struct row *target)
{
    const struct message *last = target->message;
    for (const struct row *row = m->by_id; row; row = row->by_id.next) {
        const struct message *each = row->message;
        bool changes = row->target_id == target->message->id;
        if (changes && each->state <= MESSAGE_DELIVERED && each->id > last->id)
            last = each;
    }
    return last;
}

// What was said first under that key; NULL: nothing.
static struct row *find_said(const struct memory *m, int64_t source_id, struct str dedupe_key)
{
    size_t key_size;
    char *key = make_key(source_id, dedupe_key, &key_size);
    struct row *row, *said = NULL;
    HASH_FIND(by_key, m->by_key, key, key_size, row);
    free(key);
    for (; row; row = row->twin)
        if (row->message->direction == REPLY && row->message->act == REPLY_SAYS &&
            (!said || row->message->id < said->message->id))
            said = row;
    return said;
}

static bool arrives(const struct row *said)
{
    return said && (said->message->state == MESSAGE_PENDING || said->message->state == MESSAGE_DELIVERED);
}

// What the reply changes, as it was first said; one that never arrived is not changed, and one that is the same already. What
// was never there, behind what was, is said: the words have grown.
static void find_target(const struct memory *m, struct store_accept *accept, struct store_entry *entry)
{
    const struct event *event = &accept->event;
    const struct row *target = find_said(m, accept->source_id, event->target_key);
    if (!target && event->behind_key.p && arrives(find_said(m, accept->source_id, event->behind_key))) {
        entry->act = REPLY_SAYS;
        entry->dedupe_key = event->target_key;
        return;
    }
    const struct message *last = arrives(target) ? last_words(m, target) : NULL;
    bool same = last && event->act == REPLY_EDITS && str_eq(last->text, event->text) &&
                str_eq(last->format, event->format);
    if (!last || same)
        accept->result = ACCEPT_NOTHING;
    else
        entry->target_id = target->message->id;
}

// The message whose album the event belongs to.
static struct row *find_album(struct memory *m, const struct store_accept *accept)
{
    struct row *row = accept->event.album.n ? find_row(m, memory_album_find(&m->files, accept)) : NULL;
    return row && album_may_join(row->message, &accept->event, accept->received_at_us) ? row : NULL;
}

static void join(struct memory *m, struct store_accept *accept, struct row *first)
{
    struct store_entry part = entry_joined(accept);
    struct attachment *files;
    int from;
    add_accepted(m, accept, &part);
    album_join(first->message, &accept->event, accept->wait_until_us, &first->arena, &from);
    size_t count = attachments_read(accept->event.attachments, &first->arena, &files);
    memory_files_want(&m->files, first->message->id, accept, from, files, count);
    memory_album_set(&m->files, accept, first->message->id,
                     album_until(first->message->received_at_us, accept->received_at_us));
    accept->result = ACCEPT_JOINED;
    accept->joined_id = first->message->id;
    accept->lane = first->message->lane;
}

static void store_entry(struct memory *m, struct store_accept *accept, struct store_entry *entry)
{
    bool album = accept->direction != REPLY && accept->event.album.n;
    if (entry->state == MESSAGE_PENDING && (entry->wanted || album))
        entry->wait_until_us = accept->wait_until_us;
    add_accepted(m, accept, entry);
    if (entry->wanted)
        memory_files_want(&m->files, accept->message_id, accept, 0, entry->files, entry->file_count);
    if (album && entry->wait_until_us)
        memory_album_set(&m->files, accept, accept->message_id,
                         album_until(accept->received_at_us, accept->received_at_us));
    accept->wait_until_us = entry->wait_until_us;
}

static void enter(struct memory *m, struct store_accept *accept, struct store_entry *entry)
{
    bool reply = accept->direction == REPLY;
    const struct conversation *c = reply ? replied_conversation(m, accept) : conversation_of(m, accept);
    accept->conversation_id = c->id;
    accept->link = accept->out_arena ? copy_link(&c->link, accept->out_arena) : (struct link){0};
    accept->profile = accept->out_arena ? arena_str(accept->out_arena, c->profile) : STR_NONE;
    accept->lane = reply ? lane_id(LANE_REPLY, c->id)
                         : inbound_lane(order_of(m, accept->account_id, accept->order), accept->account_id, c->id);
    struct row *first = reply || entry->state != MESSAGE_PENDING ? NULL : find_album(m, accept);
    if (first)
        join(m, accept, first);
    else
        store_entry(m, accept, entry);
}

// What nobody will read is stored as it came.
static void read_files(struct store_accept *accept, struct arena *arena, struct store_entry *entry)
{
    struct arena *out = accept->out_arena ? accept->out_arena : arena;
    if (entry->state != MESSAGE_PENDING)
        return;
    entry->file_count = attached_read(&accept->event.attachments, out, &entry->files);
    entry->wanted = attached_wanted(entry->files, entry->file_count);
}

static void apply_accept(struct memory *m, struct store_accept *accept)
{
    bool reply = accept->direction == REPLY;
    must(accept->event.dedupe_key.p && (reply || accept->event.conversation.p));
    must(accept->state == MESSAGE_PENDING || accept->state == MESSAGE_DISCARDED);
    if (is_removed(m, accept->account_id) && accept->state == MESSAGE_PENDING) {
        accept->state = MESSAGE_DISCARDED;
        accept->reason = REASON_ORPHANED;
    }
    const struct row *same = find_same(m, accept);
    if (same) {
        accept->result = ACCEPT_DUPLICATE;
        accept->message_id = same->message->id;
        return;
    }
    struct arena arena = {0};
    struct store_entry entry = entry_of(accept);
    struct str came = accept->event.attachments;
    read_files(accept, &arena, &entry);
    accept->result = ACCEPT_STORED;
    if (reply && accept->event.act != REPLY_SAYS)
        find_target(m, accept, &entry);
    if (is_over_quota(m, accept, &entry))
        accept->result = ACCEPT_OVER_QUOTA;
    if (accept->result == ACCEPT_STORED)
        enter(m, accept, &entry);
    if (!accept->out_arena)
        accept->event.attachments = came;
    arena_done(&arena);
}

// Of a reply: what its agent shall read of it. Its number, never given twice, tells it from other notes of the reply.
static void add_note(struct memory *m, const struct message *reply, struct store_outcome *o)
{
    char key[NOTE_KEY_SIZE];
    const struct stored_account *a = find_account(m, reply->account_id, STR_NONE);
    enum accept_result result;
    o->note_id = ++m->last_number;
    struct message note = entry_note(reply, o, a ? a->account->order : ORDER_ACCOUNT, key);
    o->note_lane = note.lane;
    add_row(m, &note, str_of(key), (uint64_t)note.id, &result);
}

// What follows a message that was delivered without it, as a message of its own.
static void add_following(struct memory *m, const struct message *first, const struct memory_following *following,
                          int64_t at_us, int64_t *out_lane, int64_t *out_id)
{
    char key[FOLLOWING_KEY_SIZE];
    struct arena arena = {0};
    const struct stored_account *a = find_account(m, first->account_id, STR_NONE);
    *out_lane = *out_id = 0;
    if ((!following->files && !following->text.n) || is_removed(m, first->account_id))
        return;
    int64_t id = *out_id = ++m->last_number;
    *out_lane = inbound_lane(a ? a->account->order : ORDER_ACCOUNT, first->account_id, first->conversation_id);
    following_key(first->id, following->files, key);
    struct message message = {.id = id,
                              .place = id,
                              .lane = *out_lane,
                              .account_id = first->account_id,
                              .source_id = first->source_id,
                              .conversation_id = first->conversation_id,
                              .direction = INBOUND,
                              .state = MESSAGE_PENDING,
                              .sent_at_us = first->sent_at_us,
                              .received_at_us = at_us,
                              .sender_id = first->sender_id,
                              .sender_name = first->sender_name,
                              .text = following->text.p ? following->text : STR(""),
                              .attachments = attached_some(first->attachments, following->files, &arena)};
    enum accept_result result;
    add_row(m, &message, str_of(key), (uint64_t)id, &result);
    memory_files_copy(&m->files, first->id, following->files, id);
    arena_done(&arena);
}

static void set_mark(struct memory *m, int64_t id, bool in_flight)
{
    struct row *row = find_row(m, id);
    if (row && row->message->state == MESSAGE_PENDING)
        row->message->in_flight = in_flight;
}

static void add_attempt(struct row *row, const struct store_outcome *o)
{
    struct attempt *attempt = arena_of(&row->arena, struct attempt);
    attempt->at_us = o->at_us;
    if (row->attempts && attempt->at_us <= row->attempts->prev->at_us)
        attempt->at_us = row->attempts->prev->at_us + 1;
    attempt->verdict = arena_str(&row->arena, str_of(o->verdict));
    attempt->error = arena_str(&row->arena, o->last_error);
    DL_APPEND(row->attempts, attempt);
}

static void set_link(struct memory *m, int64_t account_id, const struct store_outcome *o)
{
    struct conversation *c = find_conversation(m, o->conversation_id);
    if (!c)
        return;
    if (o->link->conversation.n && !str_eq(o->link->conversation, c->link.conversation))
        memory_threads_add(&m->threads, account_id, o->link->conversation, c->id, o->at_us);
    c->link = copy_link(o->link, &c->arena);
}

static void set_outcome(struct memory *m, struct row *row, const struct store_outcome *o)
{
    struct message *message = row->message;
    bool settles = o->state != MESSAGE_PENDING;
    if (settles)
        leave_lane(m, row);
    count(m, message->state, o->state);
    message->state = o->state;
    message->reason = o->reason;
    message->attempts = o->attempts;
    message->next_attempt_us = o->next_attempt_us;
    message->in_doubt = o->in_doubt;
    message->in_flight = o->in_flight && !settles;
    if (settles)
        message->settled_at_us = o->at_us;
    if (o->last_error.p)
        message->last_error = arena_str(&row->arena, o->last_error);
    if (o->desk_ref.p)
        message->desk_ref = arena_str(&row->arena, o->desk_ref);
}

static void discard_skipped(struct memory *m, struct row *row, const struct store_outcome *o)
{
    count(m, MESSAGE_SKIPPED, MESSAGE_DISCARDED);
    row->message->state = MESSAGE_DISCARDED;
    row->message->reason = o->reason;
    row->message->in_doubt = o->in_doubt;
    row->message->settled_at_us = o->at_us;
}

static void follow_reply(struct memory *m, const struct message *reply, struct store_outcome *o)
{
    const struct conversation *c = find_conversation(m, reply->conversation_id);
    must(c); // none is ever removed
    if (o->moved_to.p && !str_eq(o->moved_to, c->thread))
        migrate_conversation(m, c->source_id, c->thread, o->moved_to);
    if (o->note.p && !is_removed(m, reply->account_id))
        add_note(m, reply, o);
}

static void apply_outcome(struct memory *m, struct store_outcome *o)
{
    struct row *row = find_row(m, o->message_id);
    o->applied = o->avatar_due = false;
    o->note_lane = o->follow_lane = o->follow_id = 0;
    if (row && row->message->state == MESSAGE_PENDING)
        set_outcome(m, row, o);
    else if (row && row->message->state == MESSAGE_SKIPPED && o->state == MESSAGE_DISCARDED)
        discard_skipped(m, row, o);
    else
        return;
    o->applied = true;
    if (o->verdict)
        add_attempt(row, o);
    if (o->link)
        set_link(m, row->message->account_id, o);
    if (o->mark_next)
        set_mark(m, o->mark_next, true);
    if (row->message->direction == REPLY)
        follow_reply(m, row->message, o);
    o->avatar_due = o->avatar_of && o->state == MESSAGE_DELIVERED && memory_avatar_look(&m->files, o);
    if (o->state != MESSAGE_PENDING) {
        struct memory_following following;
        memory_files_settled(&m->files, row->message, o, &following);
        add_following(m, row->message, &following, o->at_us, &o->follow_lane, &o->follow_id);
    }
}

static void apply_file(struct memory *m, struct store_file *file)
{
    struct row *row = find_row(m, file->message_id);
    struct memory_following following;
    file->applied = file->ready = file->changed = false;
    file->follow_lane = file->follow_id = 0;
    if (!row)
        return;
    memory_files_set(&m->files, row->message, file, &row->arena, &following);
    add_following(m, row->message, &following, file->at_us, &file->follow_lane, &file->follow_id);
}

static void apply_retry(struct memory *m, struct store_retry *retry)
{
    struct row *row = find_row(m, retry->message_id);
    retry->applied = row && row->message->state == MESSAGE_SKIPPED && !is_removed(m, row->message->account_id);
    retry->lane = 0;
    if (!retry->applied)
        return;
    struct message *message = row->message;
    const struct stored_account *a = find_account(m, message->account_id, STR_NONE);
    if (a && message->direction != REPLY) // the rule may have changed since
        message->lane = inbound_lane(a->account->order, message->account_id, message->conversation_id);
    retry->lane = message->lane;
    count(m, MESSAGE_SKIPPED, MESSAGE_PENDING);
    message->state = MESSAGE_PENDING;
    message->reason = REASON_NONE;
    message->place = ++m->last_number;
    message->late = true;
    message->attempts = 0;
    message->next_attempt_us = 0;
    message->settled_at_us = 0;
    enter_lane(m, row);
}

// --- Accounts ---

// What a source of that name was before, configured or gone.
static const struct source *find_old_source(const struct stored_account *a, struct str name)
{
    const struct source *old = account_find_source(a->account, name);
    for (size_t i = 0; !old && i < a->gone_count; i++)
        if (str_eq(a->gone[i].name, name))
            old = &a->gone[i];
    return old;
}

static void keep_gone(struct stored_account *a, const struct account *next)
{
    for (size_t i = 0; i < a->account->source_count; i++) {
        struct source source = a->account->sources[i];
        if (account_find_source(next, source.name))
            continue;
        source.name = arena_str(&a->arena, source.name);
        source.platform = arena_str(&a->arena, source.platform);
        source.token = arena_str(&a->arena, source.token);
        source.secret = arena_str(&a->arena, source.secret);
        source.api_url = arena_str(&a->arena, source.api_url);
        source.account = arena_str(&a->arena, source.account);
        source.made_secret = arena_str(&a->arena, source.made_secret);
        source.registered_url = arena_str(&a->arena, source.registered_url);
        a->gone = mem_resize(a->gone, (a->gone_count + 1) * sizeof *a->gone);
        a->gone[a->gone_count++] = source;
    }
}

// A source that is configured again is no longer gone.
static void drop_returned(struct stored_account *a, const struct account *next)
{
    size_t kept = 0;
    for (size_t i = 0; i < a->gone_count; i++)
        if (!account_find_source(next, a->gone[i].name))
            a->gone[kept++] = a->gone[i];
    a->gone_count = kept;
}

static void put_sources(struct memory *m, const struct stored_account *a, struct account *next)
{
    for (size_t i = 0; i < next->source_count; i++) {
        struct source *source = &next->sources[i];
        const struct source *old = a->account ? find_old_source(a, source->name) : NULL;
        source->id = old ? old->id : ++m->last_source;
        source->account_id = next->id;
        source->account = next->name;
        if (old && !source->made_secret.p)
            source->made_secret = arena_str(&next->arena, old->made_secret);
        if (old && !source->registered_url.p)
            source->registered_url = arena_str(&next->arena, old->registered_url);
    }
}

// Pending messages of the account with a place up to this one.
// Replies know no order rule.
static bool has_pending(const struct memory *m, int64_t account_id, int64_t place)
{
    for (const struct lane *lane = m->lanes; lane; lane = lane->hh.next)
        if (lane->account_id == account_id && lane->pending->message->place <= place &&
            lane->pending->message->direction != REPLY)
            return true;
    return false;
}

// The rule of `next` as it can be had now.
static void change_order(struct memory *m, const struct account *before, struct account *next, bool *out_kept)
{
    *out_kept = false;
    next->order_barrier = before->order_barrier;
    if (next->order == before->order)
        return;
    if (before->order_barrier && has_pending(m, before->id, before->order_barrier)) {
        next->order = before->order;
        *out_kept = true;
        return;
    }
    next->order_barrier = has_pending(m, before->id, m->last_number) ? m->last_number : 0;
    m->order_changed = true;
}

static void apply_order_over(struct memory *m, struct store_order_over *over)
{
    const struct stored_account *a = find_account(m, over->account_id, STR_NONE);
    over->more = false;
    int64_t barrier = a ? a->account->order_barrier : 0;
    over->over = !barrier || (barrier == over->barrier && !has_pending(m, over->account_id, barrier));
    if (a && over->over)
        a->account->order_barrier = 0;
}

static void apply_account_put(struct memory *m, struct store_account_put *put)
{
    struct stored_account *a = find_account(m, put->account->id, put->account->name);
    struct account *next = account_copy(put->account);
    put->order_kept = false;
    next->order_barrier = 0;
    if (!a) {
        a = mem_new_of(struct stored_account);
        next->id = next->id ? next->id : ++m->last_account;
        DL_APPEND(m->accounts, a);
    } else {
        next->id = a->account->id;
        if (put->keep_active)
            next->active = a->account->active;
    }
    put->active = next->active;
    if (a->account)
        change_order(m, a->account, next, &put->order_kept);
    put_sources(m, a, next);
    if (a->account)
        keep_gone(a, next);
    drop_returned(a, next);
    next->former_count = 0; // read_former puts them in
    account_unref(a->account);
    a->account = next;
    if (!put->order_kept)
        a->file_text = arena_str(&a->arena, put->file_text);
    put->id = next->id;
    put->order = next->order;
    put->order_barrier = next->order_barrier;
    for (size_t i = 0; i < next->source_count; i++)
        put->source_ids[i] = next->sources[i].id;
}

static void apply_account_active(struct memory *m, const struct store_account_active *change)
{
    struct stored_account *a = find_account(m, change->account_id, STR_NONE);
    if (a)
        a->account->active = change->active;
}

static void apply_account_gone(struct memory *m, struct store_account_gone *gone)
{
    struct stored_account *a = find_account(m, gone->account_id, STR_NONE);
    gone->applied = a && !a->removed;
    for (const struct lane *lane = m->lanes; lane; lane = lane->hh.next)
        if (lane->account_id == gone->account_id && lane->count)
            gone->applied = false;
    if (!gone->applied)
        return;
    a->removed = m->any_removed = true;
    memory_threads_forget(&m->threads, gone->account_id);
    memory_files_account_gone(&m->files, gone->account_id);
}

static int64_t account_of_source(const struct memory *m, int64_t source_id)
{
    const struct stored_account *a;
    for (a = m->accounts; a; a = a->next) {
        for (size_t i = 0; i < a->account->source_count; i++)
            if (a->account->sources[i].id == source_id)
                return a->account->id;
        for (size_t i = 0; i < a->gone_count; i++)
            if (a->gone[i].id == source_id)
                return a->account->id;
    }
    return 0;
}

static void apply_source_learned(struct memory *m, const struct store_source_learned *learned)
{
    struct stored_account *a;
    for (a = m->accounts; a; a = a->next)
        for (size_t i = 0; i < a->account->source_count; i++) {
            struct source *source = &a->account->sources[i];
            if (source->id != learned->source_id)
                continue;
            if (learned->made_secret.p)
                source->made_secret = arena_str(&a->account->arena, learned->made_secret);
            if (learned->registered_url.p)
                source->registered_url = arena_str(&a->account->arena, learned->registered_url);
        }
}

static void apply_desk_health(struct memory *m, const struct store_desk_health *health)
{
    struct health *h;
    DL_SEARCH_SCALAR(m->healths, h, health.desk, health->desk);
    if (!h) {
        h = mem_new_of(struct health);
        DL_APPEND(m->healths, h);
    }
    h->health = *health;
}

// --- Threads at desks ---

// The newest of the account's conversations with that customer.
static const struct conversation *find_contact(struct memory *m, int64_t account_id, struct str contact)
{
    const struct conversation *last = NULL;
    if (!contact.n)
        return NULL;
    for (const struct conversation *c = m->conversations; c; c = c->by_id.next)
        if (str_eq(c->link.contact, contact) && account_of_source(m, c->source_id) == account_id &&
            (!last || c->id > last->id))
            last = c;
    return last;
}

static void apply_thread(struct memory *m, struct store_thread *asked)
{
    const struct conversation *c = find_conversation(m, memory_threads_find(&m->threads, asked, &asked->taken_s));
    asked->known = c != NULL;
    if (!c)
        c = find_contact(m, asked->account_id, asked->contact);
    asked->conversation_id = c ? c->id : 0;
    asked->source_id = c ? c->source_id : 0;
    asked->thread = c ? arena_str(asked->arena, c->thread) : STR_NONE;
}

// --- The contract ---

static void apply_change(struct memory *m, struct store_change *change)
{
    switch (change->kind) {
    case STORE_ACCEPT:
        apply_accept(m, change->accept);
        return;
    case STORE_OUTCOME:
        apply_outcome(m, change->outcome);
        return;
    case STORE_MARK:
        set_mark(m, change->mark->message_id, change->mark->in_flight);
        return;
    case STORE_ACCOUNT_PUT:
        apply_account_put(m, change->account_put);
        return;
    case STORE_ORDER_OVER:
        apply_order_over(m, change->order_over);
        return;
    case STORE_ACCOUNT_ACTIVE:
        apply_account_active(m, change->account_active);
        return;
    case STORE_SOURCE_LEARNED:
        apply_source_learned(m, change->source_learned);
        return;
    case STORE_DESK_HEALTH:
        apply_desk_health(m, change->desk_health);
        return;
    case STORE_ACCOUNT_GONE:
        apply_account_gone(m, change->account_gone);
        return;
    case STORE_NEWS:
        if (!is_removed(m, change->news->account_id))
            memory_threads_news(&m->threads, change->news);
        return;
    case STORE_THREAD:
        apply_thread(m, change->thread);
        return;
    case STORE_TAKEN:
        if (!is_removed(m, change->taken->account_id))
            memory_threads_taken(&m->threads, change->taken);
        return;
    case STORE_SEARCHED:
        if (!is_removed(m, change->searched->account_id))
            memory_threads_searched(&m->threads, change->searched);
        return;
    case STORE_NOTHING:
        return;
    case STORE_FILE:
        apply_file(m, change->file);
        return;
    case STORE_FILES_GONE:
        memory_files_gone(&m->files, change->files_gone);
        return;
    case STORE_AVATAR:
        memory_avatar_set(&m->files, change->avatar);
        return;
    case STORE_RETRY:
        apply_retry(m, change->retry);
        return;
    }
    must(!"a kind of change");
}

static int memory_apply(struct store *store, struct store_change *changes, size_t count_)
{
    struct memory *m = lock_memory(store);
    for (size_t i = 0; i < count_; i++)
        apply_change(m, &changes[i]);
    return unlock_memory(m);
}

// The message with the texts of its conversation, borrowed.
static struct message whole_message(struct memory *m, const struct row *row, struct link *out_link)
{
    struct message message = *row->message;
    const struct conversation *c = find_conversation(m, message.conversation_id);
    must(c);
    message.conversation = c->thread;
    if (message.direction == REPLY && out_link)
        message.address = address_of(m, c);
    message.conversation_name = c->name;
    const struct row *target = row->target_id ? find_row(m, row->target_id) : NULL;
    if (target && target->message->state == MESSAGE_DELIVERED)
        message.target_ref = target->message->desk_ref;
    if (out_link)
        *out_link = c->link;
    return message;
}

static int memory_load_lane(struct store *store, int64_t lane_number, int64_t after_place, size_t limit,
                            struct lane_page *out)
{
    struct memory *m = lock_memory(store);
    struct lane *lane;
    *out = (struct lane_page){0};
    out->entries = arena_alloc(&out->arena, (limit ? limit : 1) * sizeof *out->entries);
    HASH_FIND(hh, m->lanes, &lane_number, sizeof lane_number, lane);
    const struct row *row = lane ? lane->pending : NULL;
    while (row && row->message->place <= after_place)
        row = row->next;
    for (; row && out->count < limit; row = row->next) {
        struct lane_entry *entry = &out->entries[out->count++];
        struct link link;
        struct message message = whole_message(m, row, &link);
        entry->message = message_copy(&message);
        entry->link = copy_link(&link, &out->arena);
        entry->profile = arena_str(&out->arena, find_conversation(m, message.conversation_id)->profile);
    }
    out->more = row != NULL;
    return unlock_memory(m);
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int memory_lanes_with_work(struct store *store, int64_t account_id, int64_t after, size_t limit,
                                  int64_t *out_lanes, size_t *out_count)
{
    struct memory *m = lock_memory(store);
    size_t n = 0;
    int64_t *ids = mem_new((HASH_COUNT(m->lanes) + 1) * sizeof *ids);
    for (const struct lane *lane = m->lanes; lane; lane = lane->hh.next)
        if (lane->id > after && (account_id == 0 || lane->account_id == account_id))
            ids[n++] = lane->id;
    qsort(ids, n, sizeof *ids, compare_ids);
    *out_count = n < limit ? n : limit;
    memcpy(out_lanes, ids, *out_count * sizeof *ids);
    free(ids);
    return unlock_memory(m);
}

static int memory_load_refs(struct store *store, int64_t conversation_id, int64_t sent_s, struct arena *arena,
                            struct str **out_refs, size_t *out_count)
{
    struct memory *m = lock_memory(store);
    size_t n = 0;
    struct str *refs = NULL;
    for (size_t i = 0; i < m->row_count; i++) {
        const struct message *message = m->rows[i]->message;
        if (message->conversation_id != conversation_id || message->state != MESSAGE_DELIVERED ||
            message->direction == REPLY || !message->desk_ref.p || message->sent_at_us / 1000000 != sent_s)
            continue;
        refs = mem_resize(refs, (n + 1) * sizeof *refs);
        refs[n++] = arena_str(arena, message->desk_ref);
    }
    *out_refs = arena_alloc(arena, (n ? n : 1) * sizeof *refs);
    for (size_t i = 0; i < n; i++)
        (*out_refs)[i] = refs[i];
    *out_count = n;
    free(refs);
    return unlock_memory(m);
}

static int memory_each_account(struct store *store,
                               void (*each)(void *arg, struct account *account, struct str file_text), void *arg)
{
    struct memory *m = lock_memory(store);
    struct stored_account *a;
    for (a = m->accounts; a; a = a->next) {
        if (a->removed)
            continue;
        struct account view = *a->account; // with the sources it had once
        view.former = a->gone;
        view.former_count = a->gone_count;
        each(arg, account_copy(&view), a->file_text);
    }
    return unlock_memory(m);
}

static int memory_each_desk_health(struct store *store, void (*each)(void *arg, const struct store_desk_health *health),
                                   void *arg)
{
    struct memory *m = lock_memory(store);
    const struct health *h;
    for (h = m->healths; h; h = h->next)
        each(arg, &h->health);
    return unlock_memory(m);
}

static int memory_each_news(struct store *store,
                            void (*each)(void *arg, int64_t account_id, struct str desk_conversation), void *arg)
{
    struct memory *m = lock_memory(store);
    memory_threads_each_news(&m->threads, each, arg);
    return unlock_memory(m);
}

static int memory_each_searched(struct store *store, void (*each)(void *arg, const struct store_searched *searched),
                                void *arg)
{
    struct memory *m = lock_memory(store);
    memory_threads_each_searched(&m->threads, each, arg);
    return unlock_memory(m);
}

static int memory_wanted_files(struct store *store, struct store_wanted *wanted)
{
    struct memory *m = lock_memory(store);
    memory_files_wanted(&m->files, wanted);
    return unlock_memory(m);
}

static int memory_due_avatars(struct store *store, struct store_avatars *avatars)
{
    struct memory *m = lock_memory(store);
    memory_avatars_due(&m->files, avatars);
    for (size_t i = 0; i < avatars->count; i++) {
        struct due_avatar *due = &avatars->due[i];
        const struct conversation *c = find_conversation(m, due->conversation_id);
        must(c); // none is ever removed
        due->source_id = c->source_id;
        due->thread = arena_str(avatars->arena, c->thread);
        due->link = copy_link(&c->link, avatars->arena);
    }
    return unlock_memory(m);
}

static const uint8_t *memory_link_key(struct store *store)
{
    static const uint8_t key[32] = "of the store that is in memory";
    (void)store;
    return key;
}

static int memory_checkpoint(struct store *store, bool busy)
{
    (void)store, (void)busy;
    return 0;
}

static void memory_hurry(struct store *store)
{
    (void)store;
}

static void free_row(struct row *row)
{
    arena_done(&row->arena);
    message_free(row->message);
    free(row->key);
    free(row);
}

static void forget_row(struct memory *m, struct row *row)
{
    if (row->message->state == MESSAGE_DELIVERED)
        m->aged_delivered++;
    else
        m->aged_discarded++;
    HASH_DELETE(by_id, m->by_id, row);
    struct row *first;
    HASH_FIND(by_key, m->by_key, row->key, row->key_size, first);
    must(first);
    if (first == row) {
        HASH_DELETE(by_key, m->by_key, row);
        if (row->twin)
            HASH_ADD_KEYPTR(by_key, m->by_key, row->twin->key, row->twin->key_size, row->twin);
    } else {
        while (first->twin != row)
            first = first->twin;
        first->twin = row->twin;
    }
    free_row(row);
}

// Whether the reference of a delivered one tells it from another message that may be looked for at the desk.
static bool is_needed(const struct memory *m, const struct message *message)
{
    if (message->state != MESSAGE_DELIVERED || message->direction == REPLY || !message->desk_ref.p)
        return false;
    for (const struct row *row = m->by_id; row; row = row->by_id.next) {
        const struct message *other = row->message;
        bool settled = other->state == MESSAGE_DISCARDED ||
                       (other->state == MESSAGE_DELIVERED && !memory_files_may_follow(&m->files, other->id));
        if (other != message && !settled && other->direction != REPLY &&
            other->conversation_id == message->conversation_id &&
            other->sent_at_us / 1000000 == message->sent_at_us / 1000000)
            return true;
    }
    return false;
}

static int memory_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more)
{
    struct memory *m = lock_memory(store);
    size_t kept = 0;
    for (size_t i = 0; i < m->row_count; i++) {
        struct row *row = m->rows[i];
        struct message *message = row->message;
        bool due = (message->state == MESSAGE_DELIVERED || message->state == MESSAGE_DISCARDED) &&
                   message->settled_at_us < bodies_before_us;
        if (due)
            memory_files_forget(&m->files, message->id);
        if (due && message->received_at_us < dedupe_before_us && !is_needed(m, message)) {
            forget_row(m, row);
            continue;
        }
        if (due)
            message->text = message->attachments = message->format = STR_NONE;
        m->rows[kept++] = row;
    }
    m->row_count = kept;
    *out_more = false;
    return unlock_memory(m);
}

static struct str memory_id(struct store *store)
{
    (void)store;
    return STR("00000000memory00");
}

static void free_accounts(struct memory *m)
{
    for (struct stored_account *a = m->accounts, *next; a; a = next) {
        next = a->next;
        account_unref(a->account);
        arena_done(&a->arena);
        free(a->gone);
        free(a);
    }
    for (struct health *h = m->healths, *next; h; h = next) {
        next = h->next;
        free(h);
    }
}

static void free_conversations(struct memory *m)
{
    struct conversation *c = m->conversations;
    HASH_CLEAR(by_key, m->conversations_by_key);
    HASH_CLEAR(by_id, m->conversations);
    while (c) {
        struct conversation *next = c->by_id.next;
        arena_done(&c->arena);
        free(c->key);
        free(c);
        c = next;
    }
}

static void memory_close(struct store *store, bool clean)
{
    struct memory *m = memory_of(store);
    (void)clean;
    HASH_CLEAR(by_id, m->by_id);
    HASH_CLEAR(by_key, m->by_key);
    for (size_t i = 0; i < m->row_count; i++)
        free_row(m->rows[i]);
    free(m->rows);
    struct lane *lane = m->lanes;
    HASH_CLEAR(hh, m->lanes); // the table goes, the elements stay linked
    while (lane) {
        struct lane *next = lane->hh.next;
        free(lane);
        lane = next;
    }
    free_conversations(m);
    free_accounts(m);
    memory_threads_forget(&m->threads, 0);
    memory_files_done(&m->files);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

// --- Reading ---

static struct memory *lock_reader(struct store_reader *reader)
{
    struct memory *m = ((struct memory_reader *)reader)->memory;
    pthread_mutex_lock(&m->lock);
    return m;
}

static void reader_free(struct store_reader *reader)
{
    free(reader);
}

static void reader_set_time_cap(struct store_reader *reader, int64_t cap_ms)
{
    (void)reader, (void)cap_ms;
}

static void reader_interrupt(struct store_reader *reader)
{
    (void)reader; // no call takes long
}

static int reader_totals(struct store_reader *reader, struct store_totals *out)
{
    struct memory *m = lock_reader(reader);
    *out = m->totals;
    int64_t lowest = INT64_MAX;
    for (size_t i = 0; i < m->row_count; i++) {
        const struct message *message = m->rows[i]->message;
        if (message->state != MESSAGE_PENDING)
            continue;
        out->pending++;
        out->in_doubt += message->in_doubt;
        if (message->place < lowest) {
            lowest = message->place;
            out->oldest_pending_us = message->received_at_us;
        }
    }
    out->lanes_waiting = HASH_COUNT(m->lanes);
    return unlock_memory(m);
}

static int reader_account_counts(struct store_reader *reader,
                                 void (*each)(void *arg, const struct account_counts *counts), void *arg)
{
    struct memory *m = lock_reader(reader);
    const struct stored_account *a;
    for (a = m->accounts; a; a = a->next) {
        struct account_counts counts = {.account_id = a->account->id};
        counts.pending = waiting_of(m, counts.account_id);
        counts.file_bytes = memory_files_bytes(&m->files, counts.account_id);
        if (counts.pending || counts.file_bytes)
            each(arg, &counts);
    }
    return unlock_memory(m);
}

static bool contains(struct str text, struct str part)
{
    for (size_t i = 0; i + part.n <= text.n; i++)
        if (str_ieq(str_sub(text, i, i + part.n), part))
            return true;
    return false;
}

static bool is_of_thread(struct memory *memory, const struct message *m, struct str thread)
{
    if (str_eq(m->conversation, thread))
        return true;
    for (const struct conversation *c = memory->conversations; c; c = c->by_id.next)
        if (c->goes_on_in && c->goes_on_in->id == m->conversation_id && str_eq(c->thread, thread))
            return true;
    return false;
}

static bool matches(struct memory *memory, const struct message_filter *f, const struct message *m)
{
    return (!f->account_id || m->account_id == f->account_id) && (!f->source_id || m->source_id == f->source_id) &&
           (!f->conversation.p || is_of_thread(memory, m, f->conversation)) && (!f->by_state || m->state == f->state) &&
           (!f->by_direction || m->direction == f->direction) && (!f->text.p || contains(m->text, f->text));
}

static int reader_messages(struct store_reader *reader, const struct message_filter *filter, int64_t after_id,
                           size_t limit, void (*each)(void *arg, const struct message *message), void *arg)
{
    struct memory *m = lock_reader(reader);
    for (size_t i = 0; i < m->row_count && limit; i++) {
        struct message message = whole_message(m, m->rows[i], NULL);
        if (message.id <= after_id || !matches(m, filter, &message))
            continue;
        each(arg, &message);
        limit--;
    }
    return unlock_memory(m);
}

static int reader_message(struct store_reader *reader, int64_t id, struct message **out)
{
    struct memory *m = lock_reader(reader);
    const struct row *row = find_row(m, id);
    if (row) {
        struct message message = whole_message(m, row, NULL);
        *out = message_copy(&message);
    }
    unlock_memory(m);
    return row ? 0 : ERR_NOT_FOUND;
}

static int reader_attempts(struct store_reader *reader, int64_t message_id,
                           void (*each)(void *arg, const struct attempt_record *record), void *arg)
{
    struct memory *m = lock_reader(reader);
    const struct row *row = find_row(m, message_id);
    const struct attempt *attempt = row ? row->attempts : NULL;
    for (; attempt; attempt = attempt->next) {
        struct attempt_record record = {attempt->at_us, attempt->verdict, attempt->error};
        each(arg, &record);
    }
    return unlock_memory(m);
}

static int reader_lanes(struct store_reader *reader, const struct lane_filter *filter, int64_t after, size_t limit,
                        void (*each)(void *arg, const struct lane_row *row), void *arg)
{
    struct memory *m = lock_reader(reader);
    size_t n = 0;
    int64_t *ids = mem_new((HASH_COUNT(m->lanes) + 1) * sizeof *ids);
    for (const struct lane *lane = m->lanes; lane; lane = lane->hh.next)
        if (lane->id > after && (!filter->account_id || lane->account_id == filter->account_id) &&
            (!filter->lane || lane->id == filter->lane))
            ids[n++] = lane->id;
    qsort(ids, n, sizeof *ids, compare_ids);
    for (size_t i = 0; i < n && i < limit; i++) {
        struct lane *lane;
        HASH_FIND(hh, m->lanes, &ids[i], sizeof ids[i], lane);
        must(lane);
        struct message head = whole_message(m, lane->pending, NULL);
        struct lane_row row = {.lane = lane->id, .account_id = lane->account_id};
        row.head_id = head.id;
        row.head_place = head.place;
        row.head = filter->brief ? NULL : &head;
        row.waiting = filter->brief ? 0 : (int64_t)lane->count;
        each(arg, &row);
    }
    free(ids);
    return unlock_memory(m);
}

static int reader_lane_line(struct store_reader *reader, int64_t lane_number, int64_t conversation_id, size_t most,
                            struct lane_line *out)
{
    struct memory *m = lock_reader(reader);
    struct lane *lane;
    size_t looked = 0;
    *out = (struct lane_line){0};
    HASH_FIND(hh, m->lanes, &lane_number, sizeof lane_number, lane);
    const struct row *row = lane ? lane->pending : NULL;
    for (; row && looked < most; row = row->next, looked++) {
        if (row->message->conversation_id == conversation_id) {
            out->own++;
            out->first_id = out->first_id ? out->first_id : row->message->id;
        } else if (!out->first_id) {
            out->before++;
        }
    }
    out->looked_at_all = looked < most;
    return unlock_memory(m);
}

static int reader_conversation(struct store_reader *reader, int64_t source_id, struct str thread, int64_t *out_id)
{
    struct memory *m = lock_reader(reader);
    size_t size;
    char *key = make_key(source_id, thread, &size);
    struct conversation *c;
    HASH_FIND(by_key, m->conversations_by_key, key, size, c);
    free(key);
    if (c)
        *out_id = c->id;
    unlock_memory(m);
    return c ? 0 : ERR_NOT_FOUND;
}

static int reader_last_delivered(struct store_reader *reader, int64_t account_id, int64_t conversation_id, size_t most,
                                 int64_t *out_id, int64_t *out_at_us)
{
    struct memory *m = lock_reader(reader);
    *out_id = *out_at_us = 0;
    for (size_t i = m->row_count, looked = 0; i && looked < most && !*out_id; i--) {
        const struct message *message = m->rows[i - 1]->message;
        if (message->account_id != account_id)
            continue;
        looked++;
        if (message->state != MESSAGE_DELIVERED || message->direction != INBOUND ||
            (conversation_id && message->conversation_id != conversation_id))
            continue;
        *out_id = message->id;
        *out_at_us = message->settled_at_us;
    }
    return unlock_memory(m);
}

static void check_kept(void *arg, int64_t message_id, struct str hash, int64_t size)
{
    struct store_check *check = arg;
    struct media_files *media = check->media;
    if (!media || media->ops->find(media, hash) == size)
        return;
    check->ok = false;
    if (check->finding)
        check->finding(check->arg, &(struct store_finding){.kind = FINDING_FILE,
                                                           .message_id = message_id,
                                                           .text = STR("a file that a message has is not there"),
                                                           .advice = STR("")});
}

static void check_files(struct memory *m, struct store_check *check)
{
    check->files = (int64_t)memory_files_each_kept(&m->files, check_kept, check) +
                   (int64_t)memory_avatars_each_kept(&m->files, check_kept, check);
}

static int reader_verify(struct store_reader *reader, struct store_check *check)
{
    struct memory *m = lock_reader(reader);
    int64_t counts[4] = {0, m->aged_delivered, 0, m->aged_discarded};
    for (size_t i = 0; i < m->row_count; i++)
        counts[m->rows[i]->message->state]++;
    check->ok = m->totals.delivered == counts[MESSAGE_DELIVERED] && m->totals.skipped == counts[MESSAGE_SKIPPED] &&
                m->totals.discarded == counts[MESSAGE_DISCARDED] &&
                m->totals.accepted == counts[0] + counts[1] + counts[2] + counts[3];
    check->messages = (int64_t)m->row_count;
    check->conversations = check->lanes = check->damaged = 0;
    check_files(m, check);
    if (!check->ok && check->finding)
        check->finding(check->arg, &(struct store_finding){.kind = FINDING_SUM,
                                                           .text = STR("the totals are not what the rows say"),
                                                           .advice = STR("")});
    return unlock_memory(m);
}

static int reader_flush(struct store_reader *reader)
{
    (void)reader;
    return 0;
}

static const struct store_reader_ops reader_ops = {
    .free = reader_free,
    .set_time_cap = reader_set_time_cap,
    .interrupt = reader_interrupt,
    .totals = reader_totals,
    .account_counts = reader_account_counts,
    .messages = reader_messages,
    .message = reader_message,
    .attempts = reader_attempts,
    .lanes = reader_lanes,
    .lane_line = reader_lane_line,
    .conversation = reader_conversation,
    .last_delivered = reader_last_delivered,
    .flush = reader_flush,
    .verify = reader_verify,
};

static struct store_reader *memory_reader_new(struct store *store)
{
    struct memory_reader *r = mem_new_of(struct memory_reader);
    r->reader.ops = &reader_ops;
    r->memory = memory_of(store);
    return &r->reader;
}

static int memory_flush(struct store *store)
{
    (void)store; // there is no disk
    return 0;
}

static const struct store_ops memory_ops = {
    .name = "memory",
    .close = memory_close,
    .id = memory_id,
    .apply = memory_apply,
    .flush = memory_flush,
    .load_lane = memory_load_lane,
    .lanes_with_work = memory_lanes_with_work,
    .load_refs = memory_load_refs,
    .each_account = memory_each_account,
    .each_desk_health = memory_each_desk_health,
    .each_news = memory_each_news,
    .each_searched = memory_each_searched,
    .wanted_files = memory_wanted_files,
    .due_avatars = memory_due_avatars,
    .link_key = memory_link_key,
    .checkpoint = memory_checkpoint,
    .age_out = memory_age_out,
    .hurry = memory_hurry,
    .reader_new = memory_reader_new,
};

struct store *store_memory_new(void)
{
    struct memory *m = mem_new_of(struct memory);
    m->store.ops = &memory_ops;
    must(pthread_mutex_init(&m->lock, NULL) == 0);
    return &m->store;
}
