#include "store/sqlite_row.h"

#include "base/hash.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void read_numbers(sqlite3_stmt *q, struct message *m)
{
    m->id = sql_column_int(q, 0);
    m->place = sql_column_int(q, 1);
    m->lane = sql_column_int(q, 2);
    m->account_id = sql_column_int(q, 3);
    m->source_id = sql_column_int(q, 4);
    m->conversation_id = sql_column_int(q, 5);
    m->direction = (enum direction)sql_column_int(q, 6);
    m->state = (enum message_state)(sql_column_int(q, 7) & 3);
    m->reason = (enum reason)sql_column_int(q, 8);
    m->in_doubt = sql_column_int(q, 9) != 0;
    m->in_flight = sql_column_int(q, 10) != 0;
    m->late = sql_column_int(q, 11) != 0;
    m->attempts = (int)sql_column_int(q, 12);
    m->next_attempt_us = m->state == MESSAGE_PENDING ? sql_column_int(q, 13) : 0;
    m->sent_at_us = sql_column_int(q, 14);
    m->received_at_us = sql_column_int(q, 15);
    m->settled_at_us = m->state == MESSAGE_PENDING ? 0 : sql_column_int(q, 16);
    // A damaged number must not become a word that no table has.
    if (m->reason < REASON_NONE || m->reason > REASON_JOINED)
        m->reason = REASON_DAMAGED;
    if (m->direction < INBOUND || m->direction > NOTE)
        m->direction = INBOUND;
}

static bool is_in_range(sqlite3_stmt *q)
{
    static const struct {
        int column, most;
    } bounds[] = {{6, NOTE}, {7, MESSAGE_DISCARDED}, {8, REASON_JOINED}, {9, 1}, {10, 1},
                  {11, 1},   {12, INT32_MAX},        {27, REPLY_DELETES}};
    for (size_t i = 0; i < COUNT(bounds); i++) {
        int64_t n = sql_column_int(q, bounds[i].column);
        if (n < 0 || n > bounds[i].most)
            return false;
    }
    return true;
}

// It says that it waits, and that its state has changed since it came: a delivered one would be delivered again.
static bool was_settled(sqlite3_stmt *q, const struct message *m)
{
    return m->state == MESSAGE_PENDING && !m->late && sql_column_int(q, 16) != m->received_at_us;
}

// It says that it was settled, and not when or why.
static bool was_never_settled(sqlite3_stmt *q, const struct message *m)
{
    if (m->state == MESSAGE_DISCARDED)
        return m->reason == REASON_NONE;
    return m->state != MESSAGE_PENDING && m->settled_at_us == m->received_at_us && sql_column_int(q, 13) != 1;
}

void sqlite_row_read(sqlite3_stmt *statement, struct message *out, struct sqlite_row *out_row)
{
    *out = (struct message){0};
    read_numbers(statement, out);
    out_row->in_range = is_in_range(statement) && !was_settled(statement, out) && !was_never_settled(statement, out);
    out_row->digest = (uint64_t)sql_column_int(statement, 17);
    out_row->sum = (uint64_t)sql_column_int(statement, 18);
    out_row->dedupe_key = sql_column_str(statement, 19);
    out->sender_id = sql_column_str(statement, 20);
    out->sender_name = sql_column_str(statement, 21);
    out->text = sql_column_str(statement, 22);
    out->attachments = sql_column_str(statement, 23);
    out->last_error = sql_column_str(statement, 24);
    out->desk_ref = sql_column_str(statement, 25);
    out->format = sql_column_str(statement, 26);
    out->act = (enum reply_act)sql_column_int(statement, 27);
    out_row->target_id = sql_column_int(statement, 28);
    out->target_ref = sql_column_str(statement, 29);
    out->conversation = sql_column_str(statement, 30);
    out->conversation_name = sql_column_str(statement, 31);
    if (out->act < REPLY_SAYS || out->act > REPLY_DELETES)
        out->act = REPLY_SAYS;
}

// An absent text and an empty one differ, and hash_strs does not tell them apart.
static int64_t presence(const struct str *texts, size_t count)
{
    int64_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits |= (int64_t)(texts[i].p != NULL) << i;
    return bits;
}

uint64_t sqlite_row_sum(const struct message *message, const struct sqlite_row *row)
{
    struct str texts[] = {
        STR_NONE,      row->dedupe_key,      message->conversation, message->sender_id, message->sender_name,
        message->text, message->attachments, message->format};
    // Rows without a format have the sum that they had before there were any.
    size_t count = COUNT(texts) - !message->format.p;
    int64_t numbers[] = {message->id,
                         message->lane,
                         message->account_id,
                         message->source_id,
                         message->conversation_id,
                         message->direction,
                         (int64_t)row->digest,
                         message->sent_at_us,
                         message->received_at_us,
                         presence(texts, count),
                         message->act,
                         row->target_id};
    // Likewise those that change no other.
    bool acts = message->act != REPLY_SAYS || row->target_id;
    texts[0] = (struct str){(const char *)numbers, sizeof numbers - (acts ? 0 : 2 * sizeof *numbers)};
    return hash_strs(texts, count);
}

bool sqlite_row_is_whole(const struct message *message, const struct sqlite_row *row)
{
    // Places are not in the checksum, since a retry gives a new one.
    bool in_place = message->late ? message->place > message->id : message->place == message->id;
    return row->in_range && in_place && sqlite_row_sum(message, row) == row->sum;
}

void sqlite_conversation_read(sqlite3_stmt *statement, int first, int link, struct sqlite_conversation *out)
{
    out->thread = sql_column_str(statement, first);
    out->name = sql_column_str(statement, first + 1);
    out->link.contact = sql_column_str(statement, link);
    out->link.conversation = sql_column_str(statement, link + 1);
    out->link.last_part = sql_column_str(statement, link + 2);
    out->link.note = sql_column_str(statement, link + 3);
    out->sum = (uint64_t)sql_column_int(statement, link + 4);
    out->source_id = sql_column_int(statement, link + 5);
    out->id = sql_column_int(statement, link + 6);
    out->goes_on_in = sql_column_int(statement, link + 7);
    out->account_waiting = sql_column_int(statement, link + 8);
    out->profile = sql_column_str(statement, link + 9);
}

uint64_t sqlite_conversation_sum(const struct sqlite_conversation *conversation)
{
    const struct link *link = &conversation->link;
    struct str texts[] = {STR_NONE,           conversation->thread, conversation->name, link->contact,
                          link->conversation, link->last_part,      link->note,         conversation->profile};
    // Rows without a profile, and from before goes_on_in, have the sum that they had.
    enum { FIRST_TEXTS = 7 };
    size_t count = COUNT(texts) - !conversation->profile.p;
    int64_t moved = (int64_t)((uint64_t)conversation->goes_on_in << FIRST_TEXTS);
    int64_t numbers[] = {conversation->id, conversation->source_id, presence(texts, count) ^ moved};
    texts[0] = (struct str){(const char *)numbers, sizeof numbers};
    return hash_strs(texts, count);
}

bool sqlite_conversation_is_whole(const struct sqlite_conversation *conversation)
{
    return sqlite_conversation_sum(conversation) == conversation->sum;
}
