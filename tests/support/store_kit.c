#include "support/store_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *kit_store_path(const char *name)
{
    const char *directory = getenv("TMPDIR");
    size_t size = strlen(directory ? directory : "/tmp") + strlen(name) + 16;
    char *path = malloc(size);
    assert_non_null(path);
    snprintf(path, size, "%s/%s.db", directory ? directory : "/tmp", name);
    return path;
}

void kit_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock", ".ballast"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        struct arena arena = {0};
        unlink(arena_printf(&arena, "%s%s", path, suffixes[i]).p);
        arena_done(&arena);
    }
}

struct store *kit_open(const char *path)
{
    return kit_open_small(path, 0);
}

struct store *kit_open_small(const char *path, size_t block)
{
    struct arena arena = {0};
    const char *why = NULL;
    struct store_options options = {.path = path, .fresh_block = block};
    struct store *store = store_sqlite_open(&options, &arena, &why);
    if (!store)
        print_message("# %s\n", why);
    arena_done(&arena);
    assert_non_null(store);
    return store;
}

struct store_accept kit_accept(const char *key, const char *conversation)
{
    static int64_t n;
    n++;
    return (struct store_accept){.account_id = 1,
                                 .source_id = 1,
                                 .order = ORDER_ACCOUNT,
                                 .received_at_us = 1000000000 + n,
                                 .event = {.dedupe_key = str_of(key),
                                           .conversation = str_of(conversation),
                                           .sender_id = STR("u1"),
                                           .sender_name = STR("Ann"),
                                           .text = STR("hello"),
                                           .sent_at_us = 900000000 + n}};
}

int kit_apply(struct store *store, enum store_change_kind kind, void *change)
{
    struct store_change changes[] = {{.kind = kind, .accept = change}};
    return store->ops->apply(store, changes, 1);
}

struct store_accept kit_store(struct store *store, const char *key, const char *conversation)
{
    struct store_accept accept = kit_accept(key, conversation);
    assert_int_equal(kit_apply(store, STORE_ACCEPT, &accept), 0);
    return accept;
}

struct store_outcome kit_outcome(int64_t message_id, enum message_state state)
{
    static int64_t n;
    n++;
    return (struct store_outcome){.message_id = message_id,
                                  .state = state,
                                  .attempts = 1,
                                  .at_us = 2000000000 + n,
                                  .verdict = "retry",
                                  .reason = state == MESSAGE_DISCARDED ? REASON_BY_HAND : REASON_NONE};
}

bool kit_settle(struct store *store, int64_t message_id, enum message_state state)
{
    struct store_outcome outcome = kit_outcome(message_id, state);
    assert_int_equal(kit_apply(store, STORE_OUTCOME, &outcome), 0);
    return outcome.applied;
}

static struct store_reader *reader_of(struct store *store)
{
    struct store_reader *reader = store->ops->reader_new(store);
    assert_non_null(reader);
    return reader;
}

struct store_totals kit_totals(struct store *store)
{
    struct store_totals totals = {0};
    struct store_reader *reader = reader_of(store);
    assert_int_equal(reader->ops->totals(reader, &totals), 0);
    reader->ops->free(reader);
    assert_int_equal(totals.accepted, totals.delivered + totals.skipped + totals.discarded + totals.pending);
    return totals;
}

struct message *kit_message(struct store *store, int64_t id)
{
    struct message *message = NULL;
    struct store_reader *reader = reader_of(store);
    assert_int_equal(reader->ops->message(reader, id, &message), 0);
    reader->ops->free(reader);
    return message;
}

static void print_finding(void *arg, const struct store_finding *finding)
{
    int *bad = arg;
    if (finding->kind == FINDING_ORDER || finding->kind == FINDING_NOTE)
        return;
    ++*bad;
    print_message("# found (%s): %.*s\n", store_finding_kind_name(finding->kind), STR_ARG(finding->text));
}

void kit_check(struct store *store, struct store_check *check)
{
    struct store_reader *reader = reader_of(store);
    assert_int_equal(reader->ops->verify(reader, check), 0);
    reader->ops->free(reader);
}

bool kit_verify(struct store *store, bool deep)
{
    int bad = 0;
    struct store_check check = {.deep = deep, .finding = print_finding, .arg = &bad};
    kit_check(store, &check);
    return bad == 0;
}

static void run_sql(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        print_message("# %s: %s\n", sql, error);
    assert_null(error);
}

void kit_change(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run_sql(db, sql);
    sqlite3_close(db);
}

void kit_damage(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    // The indexes stay in the file while nobody knows of them.
    run_sql(db, "PRAGMA writable_schema = ON;"
                "CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL;"
                "DELETE FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL;"
                "PRAGMA writable_schema = RESET");
    run_sql(db, sql);
    run_sql(db, "PRAGMA writable_schema = ON;"
                "INSERT INTO sqlite_schema SELECT * FROM kept;"
                "PRAGMA writable_schema = RESET");
    sqlite3_close(db);
}
