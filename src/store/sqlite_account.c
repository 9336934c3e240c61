// Accounts, sources and the health of desks in the SQLite back end.
#include "base/mem.h"
#include "store/sqlite.h"

#include <stdlib.h>

// The id in the first column; 0 when there is no row.
static int find_id(struct sqlite_store *s, sqlite3_stmt *q, int64_t *out_id)
{
    int code = sqlite3_step(q);
    *out_id = code == SQLITE_ROW ? sql_column_int(q, 0) : 0;
    return sql_end(&s->sql, q, code);
}

static void bind_account(sqlite3_stmt *q, const struct store_account_put *put)
{
    const struct account *a = put->account;
    sql_str(q, 2, a->name);
    sql_int(q, 3, put->active);
    sql_int(q, 4, put->order);
    sql_int(q, 5, a->on_failure);
    sql_int(q, 6, a->in_doubt);
    sql_str(q, 7, a->desk.platform);
    sql_str(q, 8, a->desk.token);
    sql_str(q, 9, a->desk.client_secret);
    sql_str(q, 10, a->desk.api_url);
    sql_str(q, 11, a->desk.url);
    sql_str(q, 12, a->desk.secret);
    sql_int(q, 13, a->desk.probe);
    sql_int(q, 14, a->desk.rate_per_min);
    sql_str(q, 15, a->defined_at);
    sql_int(q, 16, a->left_file);
    sql_str(q, 17, put->file_text);
    sql_int(q, 19, a->replies);
    sql_int(q, 20, a->identity);
}

static void bind_source(sqlite3_stmt *q, int64_t account_id, const struct source *source)
{
    sql_int(q, 2, account_id);
    sql_str(q, 3, source->name);
    sql_str(q, 4, source->platform);
    sql_str(q, 5, source->token);
    sql_str(q, 6, source->secret);
    sql_int(q, 7, source->mode);
    sql_int(q, 8, source->take_over);
    sql_str(q, 9, source->api_url);
    sql_str(q, 10, source->made_secret);
    sql_str(q, 11, source->registered_url);
}

static int put_source(struct sqlite_store *s, int64_t account_id, const struct source *source, int64_t *out_id)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_FIND_SOURCE);
    sql_int(q, 1, account_id);
    sql_str(q, 2, source->name);
    int err = find_id(s, q, out_id);
    if (err)
        return err;
    q = sql_get(&s->sql, *out_id ? SQL_SET_SOURCE : SQL_INSERT_SOURCE);
    if (*out_id)
        sql_int(q, 1, *out_id);
    bind_source(q, account_id, source);
    err = sql_finish(&s->sql, q);
    if (!err && *out_id == 0)
        *out_id = sqlite3_last_insert_rowid(s->sql.db);
    return err;
}

static int stored_active(struct sqlite_store *s, struct store_account_put *put)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_ACCOUNT_ACTIVE);
    sql_int(q, 1, put->id);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW)
        put->active = sql_column_int(q, 0) != 0;
    return sql_end(&s->sql, q, code);
}

static int put_account_row(struct sqlite_store *s, struct store_account_put *put)
{
    int err = 0;
    put->id = put->account->id;
    if (put->id == 0) {
        sqlite3_stmt *find = sql_get(&s->sql, SQL_FIND_ACCOUNT);
        sql_str(find, 1, put->account->name);
        err = find_id(s, find, &put->id);
    }
    put->order = put->account->order;
    put->order_barrier = 0;
    put->order_kept = false;
    if (!err && put->id)
        err = sqlite_order_put(s, put);
    if (err)
        return err;
    put->active = put->account->active;
    if (put->id && put->keep_active)
        err = stored_active(s, put);
    if (err)
        return err;
    sqlite3_stmt *q = sql_get(&s->sql, put->id ? SQL_SET_ACCOUNT : SQL_INSERT_ACCOUNT);
    bind_account(q, put);
    if (put->id) {
        sql_int(q, 1, put->id);
        sql_int(q, 18, put->order_kept);
    }
    err = sql_finish(&s->sql, q);
    if (err)
        return err;
    if (put->id)
        return sqlite_order_barrier(s, put->id, put->order_barrier);
    put->id = sqlite3_last_insert_rowid(s->sql.db);
    return 0;
}

static int seal(struct sqlite_store *s, enum sql_statement name, int64_t id)
{
    sqlite3_stmt *q = sql_get(&s->sql, name);
    sql_int(q, 1, id);
    return sql_finish(&s->sql, q);
}

int sqlite_account_seal(struct sqlite_store *s, int64_t account_id)
{
    return seal(s, SQL_SEAL_WHOLE_ACCOUNT, account_id);
}

static int seal_all(struct sqlite_store *s, int64_t account_id)
{
    int err = seal(s, SQL_SEAL_ACCOUNT, account_id);
    return err ? err : seal(s, SQL_SEAL_SOURCES, account_id);
}

int sqlite_account_put(struct sqlite_store *s, struct store_account_put *put)
{
    int err = put_account_row(s, put);
    if (err)
        return err;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SOURCES_GONE);
    sql_int(q, 1, put->id);
    err = sql_finish(&s->sql, q);
    for (size_t i = 0; i < put->account->source_count && !err; i++)
        err = put_source(s, put->id, &put->account->sources[i], &put->source_ids[i]);
    return err ? err : seal_all(s, put->id);
}

int sqlite_account_active(struct sqlite_store *s, const struct store_account_active *change)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_ACCOUNT_ACTIVE);
    sql_int(q, 1, change->account_id);
    sql_int(q, 2, change->active);
    int err = sql_finish(&s->sql, q);
    return err ? err : seal_all(s, change->account_id); // who activates a damaged one has looked at it
}

int sqlite_account_gone(struct sqlite_store *s, struct store_account_gone *gone)
{
    bool pending = false;
    gone->applied = false;
    int err = sqlite_has_pending(&s->line, gone->account_id, &pending);
    if (err || pending)
        return err;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_ACCOUNT_GONE);
    sql_int(q, 1, gone->account_id);
    err = sql_finish(&s->sql, q);
    gone->applied = !err && sqlite3_changes(s->sql.db) == 1;
    if (!gone->applied)
        return err;
    s->any_gone = true;
    q = sql_get(&s->sql, SQL_SOURCES_OF_GONE);
    sql_int(q, 1, gone->account_id);
    err = sql_finish(&s->sql, q);
    if (!err)
        err = sqlite_threads_forget(s, gone->account_id);
    if (!err)
        err = sqlite_media_account_gone(s, gone->account_id);
    return err ? err : seal_all(s, gone->account_id);
}

int sqlite_account_is_gone(struct sqlite_store *s, int64_t account_id, bool *out)
{
    *out = false;
    if (!s->any_gone) // nothing of an earlier process is on its way
        return 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_IS_GONE);
    sql_int(q, 1, account_id);
    int code = sqlite3_step(q);
    *out = code == SQLITE_ROW && sql_column_int(q, 0) != 0;
    return sql_end(&s->sql, q, code);
}

int sqlite_source_learned(struct sqlite_store *s, const struct store_source_learned *learned)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_SOURCE_LEARNED);
    sql_int(q, 1, learned->source_id);
    sql_str(q, 2, learned->made_secret);
    sql_str(q, 3, learned->registered_url);
    int err = sql_finish(&s->sql, q);
    return err ? err : seal(s, SQL_SEAL_WHOLE_SOURCE, learned->source_id);
}

int sqlite_desk_health(struct sqlite_store *s, const struct store_desk_health *health)
{
    sqlite3_stmt *q = sql_get(&s->sql, SQL_SET_DESK_HEALTH);
    sql_int(q, 1, (int64_t)health->desk);
    sql_int(q, 2, health->skips_in_row);
    sql_int(q, 3, health->guard_suspended);
    return sql_finish(&s->sql, q);
}

static struct str take(struct account *account, sqlite3_stmt *q, int column)
{
    return arena_str(&account->arena, sql_column_str(q, column));
}

static void read_account(sqlite3_stmt *q, struct account *a)
{
    a->id = sql_column_int(q, 0);
    a->name = take(a, q, 1);
    a->active = sql_column_int(q, 2) != 0;
    a->order = sql_column_int(q, 3) ? ORDER_CONVERSATION : ORDER_ACCOUNT;
    a->on_failure = sql_column_int(q, 4) ? ON_FAILURE_HOLD : ON_FAILURE_SKIP;
    a->in_doubt = sql_column_int(q, 5) ? IN_DOUBT_HOLD : IN_DOUBT_RESEND;
    a->desk.platform = take(a, q, 6);
    a->desk.token = take(a, q, 7);
    a->desk.client_secret = take(a, q, 8);
    a->desk.api_url = take(a, q, 9);
    a->desk.url = take(a, q, 10);
    a->desk.secret = take(a, q, 11);
    a->desk.probe = sql_column_int(q, 12) ? DESK_PROBE_NONE : DESK_PROBE_HEAD;
    a->desk.rate_per_min = sql_column_int(q, 13);
    a->defined_at = take(a, q, 14);
    a->left_file = sql_column_int(q, 15) != 0;
    a->order_barrier = sql_column_int(q, 17);
    a->damaged = !sql_column_int(q, 18);
    a->replies = sql_column_int(q, 19) ? REPLIES_AGENTS_AND_BOTS : REPLIES_AGENTS;
    int64_t identity = sql_column_int(q, 20);
    a->identity = identity == IDENTITY_PHONE || identity == IDENTITY_EMAIL ? (enum identity_policy)identity
                                                                           : IDENTITY_NONE;
}

static void read_source(sqlite3_stmt *q, struct account *a, struct source *source)
{
    int64_t mode = sql_column_int(q, 5);
    source->id = sql_column_int(q, 0);
    source->account_id = a->id;
    source->account = a->name;
    source->name = take(a, q, 1);
    source->platform = take(a, q, 2);
    source->token = take(a, q, 3);
    source->secret = take(a, q, 4);
    source->mode = mode == SOURCE_WEBHOOK || mode == SOURCE_POLLING ? (enum source_mode)mode : SOURCE_DEFAULT;
    source->take_over = sql_column_int(q, 6) != 0;
    source->api_url = take(a, q, 7);
    source->made_secret = take(a, q, 8);
    source->registered_url = take(a, q, 9);
}

static int read_sources(struct sqlite_store *s, struct account *account)
{
    struct source *sources = NULL;
    size_t count = 0, current = 0;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_SOURCE);
    sql_int(q, 1, account->id);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        sources = mem_resize(sources, (count + 1) * sizeof *sources);
        sources[count] = (struct source){0};
        read_source(q, account, &sources[count++]);
        account->damaged = account->damaged || !sql_column_int(q, 11);
        current += sql_column_int(q, 10) == 0; // they come first
    }
    account->source_count = current;
    account->former_count = count - current;
    account->sources = arena_alloc(&account->arena, (count ? count : 1) * sizeof *sources);
    for (size_t i = 0; i < count; i++)
        account->sources[i] = sources[i];
    account->former = account->sources + current;
    free(sources);
    return sql_end(&s->sql, q, code);
}

int sqlite_each_account(struct store *store, void (*each)(void *arg, struct account *account, struct str file_text),
                        void *arg)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_ACCOUNT);
    int code, err = 0;
    while (!err && (code = sqlite3_step(q)) == SQLITE_ROW) {
        struct account *account = account_new();
        read_account(q, account);
        err = read_sources(s, account);
        account->active = account->active && !account->damaged;
        if (!err)
            each(arg, account, sql_column_str(q, 16));
        else
            account_unref(account);
    }
    int end = sql_end(&s->sql, q, code);
    return sqlite_note(s, err ? err : end);
}

int sqlite_each_desk_health(struct store *store, void (*each)(void *arg, const struct store_desk_health *health),
                            void *arg)
{
    struct sqlite_store *s = sqlite_of(store);
    if (s->broken)
        return s->broken;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_DESK_HEALTH);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        struct store_desk_health health = {.desk = (uint64_t)sql_column_int(q, 0),
                                           .skips_in_row = (int)sql_column_int(q, 1),
                                           .guard_suspended = sql_column_int(q, 2) != 0};
        each(arg, &health);
    }
    return sqlite_note(s, sql_end(&s->sql, q, code));
}
