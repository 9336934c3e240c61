// Threads at desks in the SQLite back end (store.h): tables desk_threads and desk_searches. A row is read, changed and written
// as a whole with its checksum. One that is not what was stored must not send an agent's words to another customer: it counts
// as a thread of nobody that was taken as far as the desk was searched, and is found anew by the customer's contact.
#include "store/sqlite.h"
#include "store/sqlite_row.h"

struct thread {
    int64_t account_id;
    struct str desk_conversation; // borrowed
    bool found;
    int64_t conversation_id, taken_s, news_at_us;
};

static int read_number(struct sqlite_store *s, enum sql_statement name, int64_t id, int64_t *out)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(&s->sql, q, code);
}

static int read_thread(struct sqlite_store *s, int64_t account_id, struct str desk_conversation, struct thread *out)
{
    *out = (struct thread){.account_id = account_id, .desk_conversation = desk_conversation};
    sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_THREAD);
    sql_int(q, 1, account_id);
    sql_str(q, 2, desk_conversation);
    int code = sqlite3_step(q);
    out->found = code == SQLITE_ROW;
    bool whole = out->found && sql_column_int(q, 3) != 0;
    if (whole) {
        out->conversation_id = sql_column_int(q, 0);
        out->taken_s = sql_column_int(q, 1);
        out->news_at_us = sql_column_int(q, 2);
    }
    int err = sql_end(&s->sql, q, code);
    if (!err && out->found && !whole)
        err = read_number(s, SQL_GET_SEARCHED, account_id, &out->taken_s);
    return err;
}

static int write_thread(struct sqlite_store *s, const struct thread *thread)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_THREAD);
    sql_int(q, 1, thread->account_id);
    sql_str(q, 2, thread->desk_conversation);
    sql_int(q, 3, thread->conversation_id);
    sql_int(q, 4, thread->taken_s);
    sql_int(q, 5, thread->news_at_us);
    return sql_finish(&s->sql, q);
}

static int set_searched(struct sqlite_store *s, enum sql_statement name, int64_t account_id, int64_t until_s)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, account_id);
    sql_int(q, 2, until_s);
    return sql_finish(&s->sql, q);
}

int sqlite_thread_add(struct sqlite_store *s, int64_t message_id, struct str desk_conversation, int64_t conversation_id,
                      int64_t at_us)
{
    struct thread thread;
    int64_t account_id;
    int err = read_number(s, SQL_ACCOUNT_OF_MESSAGE, message_id, &account_id);
    if (!err)
        err = read_thread(s, account_id, desk_conversation, &thread);
    if (err)
        return err;
    if (!thread.conversation_id) // we made it: all that agents say in it is for the customer
        thread.taken_s = 0;
    thread.conversation_id = conversation_id;
    err = write_thread(s, &thread);
    return err ? err : set_searched(s, SQL_BEGIN_SEARCH, account_id, at_us / 1000000);
}

int sqlite_news(struct sqlite_store *s, const struct store_news *news)
{
    bool gone;
    int err = sqlite_account_is_gone(s, news->account_id, &gone);
    for (size_t i = 0; i < news->count && !err && !gone; i++) {
        struct thread thread;
        err = read_thread(s, news->account_id, news->desk_conversations[i], &thread);
        if (!err && !thread.found)
            err = read_number(s, SQL_GET_SEARCHED, news->account_id, &thread.taken_s);
        if (err || thread.news_at_us >= news->at_us)
            continue;
        thread.news_at_us = news->at_us;
        err = write_thread(s, &thread);
    }
    return err;
}

static void take_conversation(struct store_thread *asked, const struct sqlite_conversation *conversation)
{
    asked->conversation_id = conversation->id;
    asked->source_id = conversation->source_id;
    asked->thread = arena_str(asked->arena, conversation->thread);
}

// By the contact a damaged conversation might be anybody's. By its thread it is told: its replies are set aside as damaged.
static int find_conversation(struct sqlite_store *s, struct store_thread *asked, sqlite3_stmt *q, bool damaged_too)
{
    int code = SQLITE_ROW;
    while (!asked->conversation_id && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct sqlite_conversation conversation;
        sqlite_conversation_read(q, 0, 2, &conversation);
        if (damaged_too || sqlite_conversation_is_whole(&conversation))
            take_conversation(asked, &conversation);
    }
    return sql_end(&s->sql, q, code);
}

int sqlite_thread(struct sqlite_store *s, struct store_thread *asked)
{
    struct thread thread;
    asked->conversation_id = asked->source_id = 0;
    asked->thread = STR_NONE;
    int err = read_thread(s, asked->account_id, asked->desk_conversation, &thread);
    if (err)
        return err;
    asked->taken_s = thread.taken_s;
    if (thread.conversation_id) {
        sqlite3_stmt *q = sql_get(&s->sql, SQL_GET_CONVERSATION);
        sql_int(q, 1, thread.conversation_id);
        err = find_conversation(s, asked, q, true);
    }
    asked->known = asked->conversation_id != 0;
    if (err || asked->conversation_id || !asked->contact.n)
        return err;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_CONTACT);
    sql_int(q, 1, asked->account_id);
    sql_str(q, 2, asked->contact);
    return find_conversation(s, asked, q, false);
}

static int forget(struct sqlite_store *s, const struct thread *thread)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FORGET_THREAD);
    sql_int(q, 1, thread->account_id);
    sql_str(q, 2, thread->desk_conversation);
    return sql_finish(&s->sql, q);
}

int sqlite_taken(struct sqlite_store *s, const struct store_taken *taken)
{
    struct thread thread = {0};
    bool gone;
    int err = sqlite_account_is_gone(s, taken->account_id, &gone);
    if (!err && !gone)
        err = read_thread(s, taken->account_id, taken->desk_conversation, &thread);
    if (err || gone || (!thread.found && !taken->conversation_id))
        return err;
    if (thread.news_at_us <= taken->asked_us)
        thread.news_at_us = 0;
    thread.conversation_id = taken->conversation_id;
    if (!taken->conversation_id)
        thread.taken_s = 0;
    else if (thread.taken_s < taken->taken_s)
        thread.taken_s = taken->taken_s;
    if (!taken->conversation_id && !thread.news_at_us)
        return forget(s, &thread);
    err = write_thread(s, &thread);
    return err || !taken->conversation_id
               ? err
               : set_searched(s, SQL_BEGIN_SEARCH, taken->account_id, taken->asked_us / 1000000);
}

int sqlite_searched(struct sqlite_store *s, const struct store_searched *searched)
{
    bool gone;
    int err = sqlite_account_is_gone(s, searched->account_id, &gone);
    return err || gone ? err : set_searched(s, SQL_SET_SEARCHED, searched->account_id, searched->until_s);
}

static int forget_all(struct sqlite_store *s, enum sql_statement name, int64_t account_id)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, account_id);
    return sql_finish(&s->sql, q);
}

int sqlite_threads_forget(struct sqlite_store *s, int64_t account_id)
{
    int err = forget_all(s, SQL_THREADS_OF_GONE, account_id);
    return err ? err : forget_all(s, SQL_SEARCH_OF_GONE, account_id);
}

int sqlite_each_news(struct store *store, void (*each)(void *arg, int64_t account_id, struct str desk_conversation),
                     void *arg)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_NEWS);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW)
        each(arg, sql_column_int(q, 0), sql_column_str(q, 1));
    return sqlite_note(s, sql_end(&s->sql, q, code));
}

int sqlite_each_searched(struct store *store, void (*each)(void *arg, const struct store_searched *searched), void *arg)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_SEARCHED);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct store_searched searched = {sql_column_int(q, 0), sql_column_int(q, 1)};
        each(arg, &searched);
    }
    return sqlite_note(s, sql_end(&s->sql, q, code));
}
