#include "store/sqlite_quota.h"

#include "base/mem.h"
#include "base/table.h"
#include "store/sqlite.h"

#include <stdlib.h>

struct sqlite_quota_account {
    int64_t account_id, waiting;
    UT_hash_handle hh;
};

void sqlite_quota_forget(struct sqlite_quota *quota)
{
    struct sqlite_quota_account *each = quota->accounts;
    HASH_CLEAR(hh, quota->accounts); // the table goes, the elements stay linked
    while (each) {
        struct sqlite_quota_account *next = each->hh.next;
        free(each);
        each = next;
    }
    quota->counting = quota->began = false;
    quota->step_count = 0;
}

void sqlite_quota_done(struct sqlite_quota *quota)
{
    sqlite_quota_forget(quota);
    free(quota->steps);
    *quota = (struct sqlite_quota){0};
}

static struct sqlite_quota_account *account_of(struct sqlite_quota *quota, int64_t account_id)
{
    struct sqlite_quota_account *account;
    HASH_FIND(hh, quota->accounts, &account_id, sizeof account_id, account);
    if (!account) {
        account = mem_new_of(struct sqlite_quota_account);
        account->account_id = account_id;
        HASH_ADD(hh, quota->accounts, account_id, sizeof account_id, account);
    }
    return account;
}

void sqlite_quota_change(struct sqlite_quota *quota, int64_t account_id, int64_t change)
{
    if (!quota->counting)
        return;
    account_of(quota, account_id)->waiting += change;
    if (quota->step_count == quota->step_room) {
        quota->step_room = quota->step_room ? 2 * quota->step_room : 64;
        quota->steps = mem_resize(quota->steps, quota->step_room * sizeof *quota->steps);
    }
    quota->steps[quota->step_count++] = (struct sqlite_quota_step){account_id, change};
}

void sqlite_quota_commit(struct sqlite_quota *quota, int64_t waiting)
{
    quota->step_count = 0;
    quota->began = false;
    if (quota->counting && waiting < quota->least)
        sqlite_quota_forget(quota);
}

void sqlite_quota_undo(struct sqlite_quota *quota)
{
    if (quota->began) // what the transaction had done was counted, too
        sqlite_quota_forget(quota);
    while (quota->step_count) {
        struct sqlite_quota_step *step = &quota->steps[--quota->step_count];
        account_of(quota, step->account_id)->waiting -= step->change;
    }
}

// In the order of the lanes: mostly one account's for a long while.
static int count_all(struct sqlite_store *s)
{
    struct sqlite_quota_account *account = NULL;
    sqlite3_stmt *q = sql_get(&s->sql, SQL_EACH_IN_LINE);
    int code;
    while ((code = sqlite3_step(q)) == SQLITE_ROW) {
        int64_t account_id = sql_column_int(q, 0);
        if (!account || account->account_id != account_id)
            account = account_of(&s->quota, account_id);
        account->waiting++;
    }
    int err = sql_end(&s->sql, q, code);
    s->quota.counting = s->quota.began = !err;
    if (err)
        sqlite_quota_forget(&s->quota);
    return err;
}

int sqlite_quota_is_over(struct sqlite_store *s, int64_t account_id, int64_t most, bool *out)
{
    *out = false;
    if (sqlite_waiting(s) < most)
        return 0;
    int err = s->quota.counting ? 0 : count_all(s);
    if (err)
        return err;
    s->quota.least = most / 2;
    *out = account_of(&s->quota, account_id)->waiting >= most;
    return 0;
}
