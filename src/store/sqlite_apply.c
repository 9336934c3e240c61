// apply(): the changes of one batch, in one transaction. A crash before the commit's flush has ended leaves
// nothing of it, or, when only the answer of the flush is missing, all of it.
#include "base/must.h"
#include "store/attached.h"
#include "store/entry.h"
#include "store/sqlite.h"
#include "store/sqlite_row.h"

#include <inttypes.h>
#include <stdio.h>

struct batch {
    struct store_change *changes;
    size_t count;
};

void sqlite_count(struct sqlite_store *s, enum message_state from, enum message_state to)
{
    // Pending ones are not counted: they are what is left.
    int64_t *counts[] = {NULL, &s->totals.delivered, &s->totals.skipped, &s->totals.discarded};
    if (counts[from])
        --*counts[from];
    if (counts[to])
        ++*counts[to];
}

// The key alone tells the duplicates; the digest beside it tells twins: other events that came with the same key.
static int find_key(struct sqlite_store *s, struct store_accept *accept)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_KEY);
    sql_int(q, 1, accept->source_id);
    sql_str(q, 2, accept->event.dedupe_key);
    accept->result = ACCEPT_STORED;
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        accept->result = ACCEPT_STORED_TWIN;
        if ((uint64_t)sql_column_int(q, 1) == accept->event.digest) {
            accept->result = ACCEPT_DUPLICATE;
            accept->message_id = sql_column_int(q, 0);
            break;
        }
    }
    return sql_end(&s->sql, q, code);
}

// All but the contact, which the row has already.
static int write_conversation(struct sqlite_store *s, const struct sqlite_conversation *conversation)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_CONVERSATION);
    sql_int(q, 1, conversation->id);
    sql_str(q, 2, conversation->name);
    sql_str(q, 3, conversation->link.conversation);
    sql_str(q, 4, conversation->link.last_part);
    sql_str(q, 5, conversation->link.note);
    sql_int(q, 6, (int64_t)sqlite_conversation_sum(conversation));
    sql_int(q, 7, conversation->goes_on_in);
    sql_str(q, 8, conversation->profile);
    if (conversation->goes_on_in)
        sqlite_known_forget(s->known, conversation->id);
    else
        sqlite_known_put(s->known, conversation);
    return sql_finish(&s->sql, q);
}

// In two steps, since the id is part of the sum.
static int insert_conversation(struct sqlite_store *s, struct sqlite_conversation *conversation)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_INSERT_CONVERSATION);
    sql_int(q, 1, conversation->source_id);
    sql_str(q, 2, conversation->thread);
    sql_str(q, 3, conversation->name);
    int err = sql_finish(&s->sql, q);
    if (err)
        return err;
    conversation->id = sqlite3_last_insert_rowid(s->sql.db);
    return write_conversation(s, conversation);
}

static struct link copy_link(const struct link *link, struct arena *arena)
{
    return (struct link){arena_str(arena, link->contact), arena_str(arena, link->conversation),
                         arena_str(arena, link->last_part), arena_str(arena, link->note)};
}

static bool is_new_name(const struct sqlite_conversation *conversation, struct str name)
{
    return name.p && !str_eq(name, conversation->name);
}

// A damaged conversation keeps its wrong sum whatever is learned of it, so that it stays known as damaged.
static int learn_conversation(struct sqlite_store *s, struct sqlite_conversation *conversation,
                              const struct event *event, struct arena *arena)
{
    struct str profile = profile_merge(conversation->profile, &event->profile, arena);
    bool renamed = is_new_name(conversation, event->conversation_name);
    if ((!renamed && !profile.p) || !sqlite_conversation_is_whole(conversation))
        return 0;
    if (renamed)
        conversation->name = event->conversation_name;
    if (profile.p)
        conversation->profile = profile;
    return write_conversation(s, conversation);
}

static sqlite3_stmt *ask_thread(struct sqlite_store *s, int64_t source_id, struct str thread)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_CONVERSATION);
    sql_int(q, 1, source_id);
    sql_str(q, 2, thread);
    return q;
}

static sqlite3_stmt *ask_conversation(struct sqlite_store *s, int64_t id)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_CONVERSATION);
    sql_int(q, 1, id);
    return q;
}

// What the message takes of its conversation. The row's texts live as long as the statement stands on it. `out_waiting`:
// whose messages wait there already (sqlite_waiting.c).
static void take_conversation(struct store_accept *accept, const struct sqlite_conversation *conversation,
                              int64_t *out_waiting)
{
    accept->conversation_id = conversation->id;
    *out_waiting = conversation->account_waiting;
    if (!accept->out_arena)
        return;
    accept->link = copy_link(&conversation->link, accept->out_arena);
    accept->profile = arena_str(accept->out_arena, conversation->profile);
}

static int use_conversation(struct sqlite_store *s, struct store_accept *accept,
                            struct sqlite_conversation *conversation, struct arena *arena, int64_t *out_waiting)
{
    int err = learn_conversation(s, conversation, &accept->event, arena);
    take_conversation(accept, conversation, out_waiting);
    return err;
}

// What is known of the thread, where the event says nothing new of it: to write it, it is read.
static struct sqlite_conversation *find_known(struct sqlite_store *s, const struct store_accept *accept,
                                              struct arena *arena)
{
    const struct event *event = &accept->event;
    struct sqlite_conversation *known = sqlite_known_find(s->known, accept->source_id, event->conversation);
    if (!known || is_new_name(known, event->conversation_name))
        return NULL;
    return profile_merge(known->profile, &event->profile, arena).p ? NULL : known;
}

// The thread has migrated: its messages belong to the conversation of the one before.
static int use_earlier(struct sqlite_store *s, struct store_accept *accept, int64_t id, struct arena *arena,
                       int64_t *out_waiting)
{
    struct sqlite_conversation conversation = {0};
    sqlite3_stmt *q = ask_conversation(s, id);
    int code = sqlite3_step(q), err = 0;
    if (code == SQLITE_ROW) {
        sqlite_conversation_read(q, 0, 2, &conversation);
        accept->thread = arena_str(accept->out_arena ? accept->out_arena : arena, conversation.thread);
        err = use_conversation(s, accept, &conversation, arena, out_waiting);
    }
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

static int find_conversation(struct sqlite_store *s, struct store_accept *accept, struct arena *arena,
                             int64_t *out_waiting)
{
    const struct event *event = &accept->event;
    struct sqlite_conversation conversation = {0};
    struct sqlite_conversation *known = find_known(s, accept, arena);
    accept->thread = accept->profile = STR_NONE;
    if (known) {
        take_conversation(accept, known, out_waiting);
        return 0;
    }
    sqlite3_stmt *q = ask_thread(s, accept->source_id, event->conversation);
    int code = sqlite3_step(q), err = 0;
    int64_t earlier = 0;
    if (code == SQLITE_ROW) {
        sqlite_conversation_read(q, 0, 2, &conversation);
        // A damaged row might name anybody's conversation.
        bool whole = sqlite_conversation_is_whole(&conversation);
        earlier = whole ? conversation.goes_on_in : 0;
        if (whole && !earlier)
            sqlite_known_put(s->known, &conversation);
        if (!earlier)
            err = use_conversation(s, accept, &conversation, arena, out_waiting);
    }
    int end = sql_end(&s->sql, q, code);
    if (!err)
        err = end;
    if (err || (code == SQLITE_ROW && !earlier))
        return err;
    if (earlier)
        return use_earlier(s, accept, earlier, arena, out_waiting);
    conversation = (struct sqlite_conversation){
        .source_id = accept->source_id, .thread = event->conversation, .name = event->conversation_name};
    conversation.profile = profile_merge(STR_NONE, &event->profile, arena);
    err = insert_conversation(s, &conversation);
    accept->link = (struct link){0};
    if (accept->out_arena)
        accept->profile = arena_str(accept->out_arena, conversation.profile);
    accept->conversation_id = conversation.id;
    return err;
}

// The row of a thread without its texts; id 0 when there is none.
static int look_up(struct sqlite_store *s, int64_t source_id, struct str thread, struct sqlite_conversation *out)
{
    *out = (struct sqlite_conversation){0};
    sqlite3_stmt *q = ask_thread(s, source_id, thread);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        sqlite_conversation_read(q, 0, 2, out);
        if (!sqlite_conversation_is_whole(out))
            out->goes_on_in = out->id; // known as damaged: it neither moves nor is moved to
    }
    out->thread = out->name = out->profile = STR_NONE;
    out->link = (struct link){0};
    return sql_end(&s->sql, q, code);
}

static int is_gone_on_in(struct sqlite_store *s, int64_t id, bool *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GOES_ON_HERE);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW;
    return sql_end(&s->sql, q, code);
}

int sqlite_address(struct sqlite_store *s, int64_t conversation_id, struct arena *arena, struct str *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GOES_ON_HERE);
    sql_int(q, 1, conversation_id);
    int code = SQLITE_ROW;
    *out = STR_NONE;
    while (!out->p && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct sqlite_conversation conversation;
        sqlite_conversation_read(q, 0, 2, &conversation);
        if (sqlite_conversation_is_whole(&conversation)) // a damaged one might be anybody's
            *out = arena_str(arena, conversation.thread);
    }
    return sql_end(&s->sql, q, code);
}

static int set_goes_on_in(struct sqlite_store *s, int64_t id, int64_t earlier)
{
    struct sqlite_conversation conversation = {0};
    sqlite3_stmt *q = ask_conversation(s, id);
    int code = sqlite3_step(q), err = 0;
    if (code == SQLITE_ROW) {
        sqlite_conversation_read(q, 0, 2, &conversation);
        conversation.goes_on_in = earlier;
        err = write_conversation(s, &conversation);
    }
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

// A thread goes on in the conversation of the one before, unless that has been settled already, one way or the other. Both
// may be new.
static int migrate_conversation(struct sqlite_store *s, int64_t source_id, struct str from_thread, struct str to_thread)
{
    struct sqlite_conversation from, to;
    bool gone_on_in = false;
    int err = look_up(s, source_id, from_thread, &from);
    if (!err)
        err = look_up(s, source_id, to_thread, &to);
    if (!err && !from.id) {
        from = (struct sqlite_conversation){.source_id = source_id, .thread = from_thread};
        err = insert_conversation(s, &from);
    }
    if (err)
        return err;
    int64_t earlier = from.goes_on_in ? from.goes_on_in : from.id;
    if (from.goes_on_in == from.id) // damaged
        return 0;
    if (!to.id) {
        to = (struct sqlite_conversation){.source_id = source_id, .thread = to_thread, .goes_on_in = earlier};
        return insert_conversation(s, &to);
    }
    if (to.goes_on_in || to.id == earlier)
        return 0;
    err = is_gone_on_in(s, to.id, &gone_on_in);
    return err || gone_on_in ? err : set_goes_on_in(s, to.id, earlier);
}

static void bind_message(sqlite3_stmt *q, const struct message *m, const struct sqlite_row *row, struct str raw)
{
    sql_int(q, 1, m->id);
    sql_int(q, 2, m->lane);
    sql_int(q, 3, m->account_id);
    sql_int(q, 4, m->source_id);
    sql_int(q, 5, m->conversation_id);
    sql_int(q, 6, m->direction);
    sql_int(q, 7, m->state);
    sql_int(q, 8, m->reason);
    sql_int(q, 9, m->sent_at_us);
    sql_int(q, 10, m->received_at_us);
    sql_int(q, 11, (int64_t)row->digest);
    sql_int(q, 12, (int64_t)sqlite_row_sum(m, row));
    sql_str(q, 13, row->dedupe_key);
    sql_str(q, 14, m->sender_id);
    sql_str(q, 15, m->sender_name);
    sql_str(q, 16, m->text);
    sql_str(q, 17, m->attachments);
    sql_str(q, 18, raw);
    sql_str(q, 19, m->format);
    sql_int(q, 20, m->next_attempt_us);
    sql_int(q, 21, m->act);
    sql_int(q, 22, row->target_id);
}

int sqlite_insert_row(struct sqlite_store *s, const struct message *message, const struct sqlite_row *row,
                      struct str raw)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_INSERT_MESSAGE);
    bind_message(q, message, row, raw);
    s->totals.accepted++;
    sqlite_count(s, MESSAGE_PENDING, message->state);
    int err = sql_finish(&s->sql, q);
    return err || message->state != MESSAGE_PENDING ? err : sqlite_line_enter(s, message);
}

static int insert_message(struct sqlite_store *s, struct store_accept *accept, const struct store_entry *entry)
{
    const struct event *event = &accept->event;
    enum order_rule order = accept->order;
    int64_t barrier;
    int err = s->order_changed ? sqlite_order_get(s, accept->account_id, &order, &barrier) : 0;
    if (err)
        return err;
    accept->message_id = accept->place = ++s->totals.last_number;
    accept->lane = accept->direction == REPLY ? lane_id(LANE_REPLY, accept->conversation_id)
                                              : inbound_lane(order, accept->account_id, accept->conversation_id);
    struct message message = entry_message(accept, entry);
    struct sqlite_row row = {.digest = event->digest, .dedupe_key = entry->dedupe_key, .target_id = entry->target_id};
    return sqlite_insert_row(s, &message, &row, event->raw);
}

// What an event takes of its conversation; it may be its first.
static int enter_conversation(struct sqlite_store *s, struct store_accept *accept, struct arena *arena,
                              int64_t *out_waiting)
{
    const struct event *event = &accept->event;
    int err = 0;
    if (event->migrated_from.p && !str_eq(event->migrated_from, event->conversation))
        err = migrate_conversation(s, accept->source_id, event->migrated_from, event->conversation);
    return err ? err : find_conversation(s, accept, arena, out_waiting);
}

// The same for a reply, whose conversation is named. None is ever removed: one that is not there is a damaged store.
static int reply_conversation(struct sqlite_store *s, struct store_accept *accept, struct arena *arena,
                              int64_t *out_waiting)
{
    struct arena *out = accept->out_arena ? accept->out_arena : arena;
    struct sqlite_conversation conversation = {0};
    int err = sqlite_address(s, accept->conversation_id, out, &accept->address);
    if (err)
        return err;
    sqlite3_stmt *q = ask_conversation(s, accept->conversation_id);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW) {
        sqlite_conversation_read(q, 0, 2, &conversation);
        accept->thread = arena_str(out, conversation.thread);
        if (accept->out_arena)
            accept->link = copy_link(&conversation.link, out);
        accept->profile = arena_str(out, conversation.profile);
        *out_waiting = conversation.account_waiting;
    }
    err = sql_end(&s->sql, q, code);
    return err ? err : conversation.id ? 0 : ERR_CORRUPT;
}

// What nobody will read is stored as it came.
static void read_files(struct store_accept *accept, struct arena *arena, struct store_entry *entry)
{
    struct arena *out = accept->out_arena ? accept->out_arena : arena;
    if (entry->state != MESSAGE_PENDING || !accept->event.attachments.p)
        return;
    entry->file_count = attached_read(&accept->event.attachments, out, &entry->files);
    entry->wanted = attached_wanted(entry->files, entry->file_count);
}

// Replies are never refused: agents wrote them at the desk.
static int look_at_quota(struct sqlite_store *s, struct store_accept *accept, const struct store_entry *entry)
{
    bool over = false;
    int err = 0;
    if (accept->direction == REPLY || entry->state != MESSAGE_PENDING)
        return 0;
    if (accept->most_waiting)
        err = sqlite_quota_is_over(s, accept->account_id, accept->most_waiting, &over);
    accept->over_files = false;
    if (!err && !over && accept->most_file_bytes && entry->wanted) {
        err = sqlite_media_is_over(s, accept->account_id, accept->most_file_bytes, &accept->over_files);
        over = accept->over_files;
    }
    if (over)
        accept->result = ACCEPT_OVER_QUOTA;
    return err;
}

// Whether the reply says that already: as it was changed last, by what has arrived or will.
static int says_already(struct sqlite_store *s, const struct store_accept *accept, bool *out)
{
    const struct event *event = &accept->event;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_LAST_WORDS);
    sql_int(q, 1, accept->source_id);
    sql_str(q, 2, event->target_key);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW && str_eq(sql_column_str(q, 1), event->text) &&
           str_eq(sql_column_str(q, 2), event->format);
    return sql_end(&s->sql, q, code);
}

// What was said under that key; `out_id` 0: nothing that has arrived or will. Nothing at all: `out_never`.
static int find_said(struct sqlite_store *s, int64_t source_id, struct str key, int64_t *out_id, bool *out_never)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_TARGET);
    sql_int(q, 1, source_id);
    sql_str(q, 2, key);
    int code = sqlite3_step(q);
    int64_t state = code == SQLITE_ROW ? sql_column_int(q, 1) : MESSAGE_DISCARDED;
    bool arrives = state == MESSAGE_PENDING || state == MESSAGE_DELIVERED;
    *out_never = code != SQLITE_ROW;
    *out_id = arrives ? sql_column_int(q, 0) : 0;
    return sql_end(&s->sql, q, code);
}

// What is changed was never there, but what stands before it is: the words have grown, and this is said.
static int grow(struct sqlite_store *s, struct store_accept *accept, struct store_entry *entry)
{
    int64_t before = 0;
    bool never;
    int err = find_said(s, accept->source_id, accept->event.behind_key, &before, &never);
    if (before) {
        entry->act = REPLY_SAYS;
        entry->dedupe_key = accept->event.target_key;
    } else {
        accept->result = ACCEPT_NOTHING;
    }
    return err;
}

// What the reply changes; one that never arrived is not changed, and one that is the same already.
static int find_target(struct sqlite_store *s, struct store_accept *accept, struct store_entry *entry)
{
    const struct event *event = &accept->event;
    bool same = false, never;
    if (accept->direction != REPLY || event->act == REPLY_SAYS)
        return 0;
    int err = find_said(s, accept->source_id, event->target_key, &entry->target_id, &never);
    if (!err && never && event->behind_key.p)
        return grow(s, accept, entry);
    if (!err && entry->target_id && event->act == REPLY_EDITS)
        err = says_already(s, accept, &same);
    if (!entry->target_id || same)
        accept->result = ACCEPT_NOTHING;
    return err;
}

// As a row of its own it only says that it was here.
static int join(struct sqlite_store *s, struct store_accept *accept, struct message *first,
                const struct sqlite_row *first_row, struct arena *arena)
{
    struct store_entry part = entry_joined(accept);
    int err = insert_message(s, accept, &part);
    if (!err)
        err = sqlite_album_join(s, accept, first, first_row, arena);
    accept->result = ACCEPT_JOINED;
    accept->joined_id = first->id;
    accept->lane = first->lane;
    return err;
}

// A message of its own.
static int store_entry(struct sqlite_store *s, struct store_accept *accept, struct store_entry *entry, int64_t waiting)
{
    bool album = accept->direction != REPLY && accept->event.album.n;
    if (entry->state == MESSAGE_PENDING && (entry->wanted || album))
        entry->wait_until_us = accept->wait_until_us;
    int err = insert_message(s, accept, entry);
    if (!err && entry->state == MESSAGE_PENDING)
        err = sqlite_set_waiting(s, accept->lane, accept->account_id, waiting);
    if (!err && entry->wanted)
        err = sqlite_media_accept(s, accept, entry->files, entry->file_count);
    if (!err && album && entry->wait_until_us)
        err = sqlite_album_begin(s, accept);
    accept->wait_until_us = entry->wait_until_us;
    return err;
}

static int enter(struct sqlite_store *s, struct store_accept *accept, struct store_entry *entry, struct arena *arena)
{
    struct message first = {0};
    struct sqlite_row first_row;
    bool reply = accept->direction == REPLY;
    int64_t waiting = 0;
    int err = reply ? reply_conversation(s, accept, arena, &waiting) : enter_conversation(s, accept, arena, &waiting);
    if (!err && !reply && accept->event.album.n && entry->state == MESSAGE_PENDING)
        err = sqlite_album_find(s, accept, arena, &first, &first_row);
    if (err)
        return err;
    return first.id ? join(s, accept, &first, &first_row, arena) : store_entry(s, accept, entry, waiting);
}

static int apply_accept(struct sqlite_store *s, struct store_accept *accept)
{
    must(accept->event.dedupe_key.p && (accept->direction == REPLY || accept->event.conversation.p));
    must(accept->state == MESSAGE_PENDING || accept->state == MESSAGE_DISCARDED);
    bool gone;
    int err = find_key(s, accept);
    if (err || accept->result == ACCEPT_DUPLICATE)
        return err;
    err = sqlite_account_is_gone(s, accept->account_id, &gone);
    if (err)
        return err;
    if (gone && accept->state == MESSAGE_PENDING) {
        accept->state = MESSAGE_DISCARDED;
        accept->reason = REASON_ORPHANED;
    }
    struct arena arena = {0};
    struct store_entry entry = entry_of(accept);
    struct str came = accept->event.attachments;
    read_files(accept, &arena, &entry);
    err = look_at_quota(s, accept, &entry);
    if (!err && accept->result != ACCEPT_OVER_QUOTA)
        err = find_target(s, accept, &entry);
    if (!err && accept->result != ACCEPT_OVER_QUOTA && accept->result != ACCEPT_NOTHING)
        err = enter(s, accept, &entry, &arena);
    if (!accept->out_arena)
        accept->event.attachments = came;
    arena_done(&arena);
    return err;
}

static int set_outcome(struct sqlite_store *s, struct store_outcome *o)
{
    bool texts = o->last_error.p || o->desk_ref.p, settles = o->state != MESSAGE_PENDING;
    sqlite3_stmt *q = sql_get(&s->sql, texts ? SQL_SET_OUTCOME_TEXTS : SQL_SET_OUTCOME);
    sql_int(q, 1, o->message_id);
    sql_int(q, 2, o->state);
    sql_int(q, 3, o->reason);
    sql_int(q, 4, o->attempts);
    sql_int(q, 5, o->next_attempt_us);
    sql_int(q, 6, o->in_doubt);
    sql_int(q, 7, o->in_flight && !settles);
    if (settles)
        sql_int(q, 8, o->at_us);
    else
        sql_str(q, 8, STR_NONE);
    if (texts) {
        sql_str(q, 9, o->last_error);
        sql_str(q, 10, o->desk_ref);
    }
    int err = sql_finish(&s->sql, q);
    o->applied = !err && sqlite3_changes(s->sql.db) == 1;
    if (o->applied)
        sqlite_count(s, MESSAGE_PENDING, o->state);
    err = o->applied && settles ? sqlite_line_leave(s, o->message_id) : err;
    return !err && o->applied && settles && sqlite_noted_has(&s->noted, o->message_id) ? sqlite_media_settled(s, o)
                                                                                       : err;
}

static int discard_skipped(struct sqlite_store *s, struct store_outcome *o)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_DISCARD_SKIPPED);
    sql_int(q, 1, o->message_id);
    sql_int(q, 2, o->reason);
    sql_int(q, 3, o->in_doubt);
    sql_int(q, 4, o->at_us);
    int err = sql_finish(&s->sql, q);
    o->applied = !err && sqlite3_changes(s->sql.db) == 1;
    if (o->applied)
        sqlite_count(s, MESSAGE_SKIPPED, MESSAGE_DISCARDED);
    return o->applied && sqlite_noted_has(&s->noted, o->message_id) ? sqlite_media_settled(s, o) : err;
}

static int insert_attempt(struct sqlite_store *s, const struct store_outcome *o)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_INSERT_ATTEMPT);
    sql_int(q, 1, o->message_id);
    sql_int(q, 2, o->at_us);
    sql_str(q, 3, str_of(o->verdict));
    sql_str(q, 4, o->last_error);
    return sql_finish(&s->sql, q);
}

static int write_contact(struct sqlite_store *s, int64_t conversation_id, struct str contact)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_CONTACT);
    sql_int(q, 1, conversation_id);
    sql_str(q, 2, contact);
    return sql_finish(&s->sql, q);
}

// What is seldom new costs nothing else: the contact, and the thread at the desk.
static int write_link(struct sqlite_store *s, struct sqlite_conversation *conversation, const struct store_outcome *o)
{
    struct link before = conversation->link, link = *o->link;
    int err = 0;
    if (!str_eq(before.contact, link.contact) || !before.contact.p != !link.contact.p)
        err = write_contact(s, conversation->id, link.contact);
    if (!err && link.conversation.n && !str_eq(before.conversation, link.conversation))
        err = sqlite_thread_add(s, o->message_id, link.conversation, conversation->id, o->at_us);
    conversation->link = link;
    return err ? err : write_conversation(s, conversation);
}

static int set_link(struct sqlite_store *s, const struct store_outcome *o)
{
    struct sqlite_conversation conversation = {0};
    sqlite3_stmt *q = ask_conversation(s, o->conversation_id);
    int code = sqlite3_step(q), err = 0;
    if (code == SQLITE_ROW) {
        sqlite_conversation_read(q, 0, 2, &conversation);
        if (sqlite_conversation_is_whole(&conversation))
            err = write_link(s, &conversation, o);
    }
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

static int set_mark(struct sqlite_store *s, int64_t message_id, bool in_flight)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_MARK);
    sql_int(q, 1, message_id);
    sql_int(q, 2, in_flight);
    return sql_finish(&s->sql, q);
}

// A damaged row may say that it was settled, and would stay at the head of its lane for ever.
static int look_whether_it_waits(struct sqlite_store *s, const struct store_outcome *o)
{
    struct lane_row head;
    int err = sqlite_line_head(&s->line, o->lane, &head);
    if (err || head.head_id != o->message_id)
        return err;
    s->sql.index_contradicts = true;
    return ERR_CORRUPT;
}

// Its number, never given twice, tells it from other notes of the reply, and from whatever a platform calls an event.
static int insert_note(struct sqlite_store *s, const struct message *reply, struct store_outcome *o)
{
    enum order_rule order = ORDER_ACCOUNT;
    int64_t barrier;
    char key[NOTE_KEY_SIZE];
    int err = sqlite_order_get(s, reply->account_id, &order, &barrier);
    if (err)
        return err;
    o->note_id = ++s->totals.last_number;
    struct message note = entry_note(reply, o, order, key);
    o->note_lane = note.lane;
    struct sqlite_row row = {.digest = (uint64_t)note.id, .dedupe_key = str_of(key)};
    err = sqlite_insert_row(s, &note, &row, STR_NONE);
    return err ? err : sqlite_set_waiting(s, note.lane, note.account_id, 0);
}

static int follow(struct sqlite_store *s, const struct message *reply, struct store_outcome *o)
{
    bool gone = false;
    int err = 0;
    if (o->moved_to.p && !str_eq(o->moved_to, reply->conversation))
        err = migrate_conversation(s, reply->source_id, reply->conversation, o->moved_to);
    if (!err)
        err = sqlite_account_is_gone(s, reply->account_id, &gone);
    return err || gone || !o->note.p ? err : insert_note(s, reply, o);
}

// What else a reply's outcome says. Whose a damaged one was cannot be told: nothing is made of it.
static int follow_reply(struct sqlite_store *s, struct store_outcome *o)
{
    struct message reply = {0};
    struct sqlite_row row;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_REPLY);
    sql_int(q, 1, o->message_id);
    int code = sqlite3_step(q), err = 0;
    if (code == SQLITE_ROW) { // its texts live as long as the statement stands on the row
        sqlite_row_read(q, &reply, &row);
        err = sqlite_row_is_whole(&reply, &row) ? follow(s, &reply, o) : 0;
    }
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

static int apply_outcome(struct sqlite_store *s, struct store_outcome *o)
{
    o->note_lane = o->follow_lane = o->follow_id = 0;
    o->avatar_due = false;
    int err = set_outcome(s, o);
    if (!err && !o->applied && o->reason == REASON_DAMAGED && o->lane)
        err = look_whether_it_waits(s, o);
    if (!err && !o->applied && o->state == MESSAGE_DISCARDED)
        err = discard_skipped(s, o);
    if (err || !o->applied)
        return err;
    if (o->verdict)
        err = insert_attempt(s, o);
    if (!err && o->link)
        err = set_link(s, o);
    if (!err && o->avatar_of && o->state == MESSAGE_DELIVERED)
        err = sqlite_avatar_look(s, o);
    if (!err && o->mark_next)
        err = set_mark(s, o->mark_next, true);
    if (!err && (o->note.p || o->moved_to.p))
        err = follow_reply(s, o);
    return err;
}

// Its lane is the one of the order rule now.
static int retry_row(struct sqlite_store *s, struct message *message, const struct sqlite_row *row)
{
    enum order_rule order = lane_id_kind(message->lane) == LANE_ACCOUNT
                                ? ORDER_ACCOUNT
                                : ORDER_CONVERSATION; // of an account that is gone
    int64_t barrier;
    uint64_t sum = row->sum;
    int err = sqlite_order_get(s, message->account_id, &order, &barrier);
    if (!err && message->direction != REPLY) {
        message->lane = inbound_lane(order, message->account_id, message->conversation_id);
        sum = sqlite_row_sum(message, row);
    }
    if (err)
        return err;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_RETRY);
    sql_int(q, 1, message->id);
    message->place = ++s->totals.last_number;
    sql_int(q, 2, message->place);
    sql_int(q, 3, message->lane);
    sql_int(q, 4, (int64_t)sum);
    sqlite_count(s, MESSAGE_SKIPPED, MESSAGE_PENDING);
    err = sql_finish(&s->sql, q);
    if (!err)
        err = sqlite_line_enter(s, message);
    return err ? err : sqlite_set_waiting(s, message->lane, message->account_id, 0);
}

static int apply_retry(struct sqlite_store *s, struct store_retry *retry)
{
    struct message message = {0};
    struct sqlite_row row;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_SKIPPED);
    sql_int(q, 1, retry->message_id);
    int code = sqlite3_step(q), err = 0;
    retry->applied = false;
    if (code == SQLITE_ROW) { // its texts live as long as the statement stands on the row
        sqlite_row_read(q, &message, &row);
        retry->applied = sqlite_row_is_whole(&message, &row);
    }
    if (retry->applied)
        err = retry_row(s, &message, &row);
    retry->lane = message.lane;
    int end = sql_end(&s->sql, q, code);
    return err ? err : end;
}

static int apply_change(struct sqlite_store *s, struct store_change *change)
{
    switch (change->kind) {
    case STORE_ACCEPT:
        return apply_accept(s, change->accept);
    case STORE_OUTCOME:
        return apply_outcome(s, change->outcome);
    case STORE_MARK:
        return set_mark(s, change->mark->message_id, change->mark->in_flight);
    case STORE_ACCOUNT_PUT:
        return sqlite_account_put(s, change->account_put);
    case STORE_ORDER_OVER:
        return sqlite_order_over(s, change->order_over);
    case STORE_ACCOUNT_ACTIVE:
        return sqlite_account_active(s, change->account_active);
    case STORE_SOURCE_LEARNED:
        return sqlite_source_learned(s, change->source_learned);
    case STORE_DESK_HEALTH:
        return sqlite_desk_health(s, change->desk_health);
    case STORE_NOTHING:
        return 0;
    case STORE_FILE:
        return sqlite_file(s, change->file);
    case STORE_FILES_GONE:
        return sqlite_files_forget(s, change->files_gone);
    case STORE_AVATAR:
        return sqlite_avatar(s, change->avatar);
    case STORE_RETRY:
        return apply_retry(s, change->retry);
    case STORE_ACCOUNT_GONE:
        return sqlite_account_gone(s, change->account_gone);
    case STORE_NEWS:
        return sqlite_news(s, change->news);
    case STORE_THREAD:
        return sqlite_thread(s, change->thread);
    case STORE_TAKEN:
        return sqlite_taken(s, change->taken);
    case STORE_SEARCHED:
        return sqlite_searched(s, change->searched);
    }
    must(!"a kind of change");
    return ERR_INVALID;
}

static int apply_batch(struct sqlite_store *s, void *arg)
{
    struct batch *batch = arg;
    int64_t accepted_before = s->totals.accepted;
    int err = 0;
    for (size_t i = 0; i < batch->count && !err; i++)
        err = apply_change(s, &batch->changes[i]);
    return err ? err : sqlite_line_move(s, s->totals.accepted - accepted_before);
}

static bool has_accept(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->changes[i].kind == STORE_ACCEPT || batch->changes[i].kind == STORE_NOTHING)
            return true;
    return false;
}

int sqlite_apply(struct store *store, struct store_change *changes, size_t count)
{
    struct sqlite_store *s = sqlite_of(store);
    struct batch batch = {changes, count};
    if (s->broken)
        return s->broken;
    if (count == 0)
        return 0;
    bool accepts = has_accept(&batch);
    // The last of the room is for recording what became of what we have (S9).
    if (accepts && sqlite_files_is_low(&s->files))
        return ERR_FULL;
    s->asks = count == 1 && changes[0].kind == STORE_NOTHING;
    int err = sqlite_transact(s, apply_batch, &batch);
    if (!err && s->asks && !sqlite_files_has_room(&s->files))
        err = ERR_FULL;
    s->asks = false;
    if (err == ERR_FULL && !accepts && sqlite_files_drop_ballast(&s->files))
        err = sqlite_transact(s, apply_batch, &batch);
    if (!err)
        sqlite_bound_log(s);
    return err;
}
