// A change of an account by hand from any bytes: the first says which kind, the rest is the body. It is made or refused with a
// reason; what was made is read the same when nothing is said of it.
#include "app/account_change.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char whole[] =
    "{\"name\":\"acme\",\"sources\":[{\"name\":\"bot\",\"platform\":\"telegram\",\"token\":\"123456:secret-token\"},"
    "{\"name\":\"hook\",\"platform\":\"webhook\",\"secret\":\"none\"}],"
    "\"desk\":{\"platform\":\"intercom\",\"token\":\"dG9rZW4\",\"rate\":\"150/s\"}}";

static struct account *make(enum admin_change_kind kind, const struct account *before, struct str body)
{
    struct arena arena = {0};
    struct buf why;
    struct account *out = NULL;
    bool says_active;
    buf_init(&why, 1 << 20);
    struct admin_change change = {.kind = kind, .source = STR("bot"), .body = body, .why = &why, .arena = &arena};
    int err = account_change_make(&change, before, &out, &says_active);
    if ((err != 0) != (why.n > 0) || (err != 0) != (out == NULL))
        abort();
    buf_done(&why);
    arena_done(&arena);
    return out;
}

static void check(const struct account *account)
{
    struct account *again = make(CHANGE_ACCOUNT, account, STR("{}"));
    if (!account_name_is_valid(account->name) || !account->source_count || !again)
        abort();
    if (!str_eq(again->name, account->name) || again->source_count != account->source_count ||
        again->active != account->active || again->desk.rate_per_min != account->desk.rate_per_min ||
        desk_identity(&again->desk) != desk_identity(&account->desk))
        abort();
    account_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum admin_change_kind kinds[] = {CHANGE_ACCOUNT_ADD, CHANGE_ACCOUNT,       CHANGE_SOURCE_ADD,
                                                   CHANGE_SOURCE,      CHANGE_SOURCE_REMOVE, CHANGE_DESK_SET,
                                                   CHANGE_DESK};
    if (!size)
        return 0;
    enum admin_change_kind kind = kinds[data[0] % (sizeof kinds / sizeof *kinds)];
    struct account *before = make(CHANGE_ACCOUNT_ADD, NULL, str_of(whole));
    struct str body = {(const char *)data + 1, size - 1};
    struct account *made = make(kind, kind == CHANGE_ACCOUNT_ADD ? NULL : before, body);
    if (made)
        check(made);
    account_unref(made);
    account_unref(before);
    return 0;
}
