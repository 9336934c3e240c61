#include "app/accounts_file.h"

#include "base/mem.h"
#include "base/table.h"
#include "platform/platform.h"

#include <stdlib.h>

enum { CONFLICTS_MAX = 10 };

// What the text says of `active`: its first word (config.c writes it).
static struct str says_of_active(struct str file_text)
{
    return str_sub(file_text, 0, str_index(file_text, ' ', 0));
}

static bool is_same_bot(const struct source *one, const struct source *other)
{
    const struct platform *platform = platform_find(one->platform);
    if (!str_eq(one->platform, other->platform))
        return false;
    if (!platform || !platform->identity)
        return str_eq(one->token, other->token);
    struct arena scratch = {0};
    struct str identity = platform->identity(one, &scratch);
    bool same = identity.p ? str_eq(identity, platform->identity(other, &scratch)) : str_eq(one->token, other->token);
    arena_done(&scratch);
    return same;
}

void accounts_keep_learned(struct account *account, const struct account *stored)
{
    account->id = stored->id;
    for (size_t i = 0; i < account->source_count; i++) {
        struct source *source = &account->sources[i];
        const struct source *old = account_find_source(stored, source->name);
        source->account_id = stored->id;
        if (!old)
            continue;
        source->id = old->id;
        source->made_secret = arena_str(&account->arena, old->made_secret);
        if (is_same_bot(source, old))
            source->registered_url = arena_str(&account->arena, old->registered_url);
    }
}

static void plan_put(struct account *account, bool keep_active, struct account_plan *out)
{
    *out = (struct account_plan){.kind = PLAN_PUT, .account = account, .keep_active = keep_active};
}

static void plan_changed(const struct account *said, const struct account *stored, struct account_plan *out)
{
    struct account *account = account_copy(said);
    bool new_word = !str_eq(says_of_active(said->file_text), says_of_active(stored->file_text));
    accounts_keep_learned(account, stored);
    if (stored->damaged) // what it was is not known: the file's word counts
        new_word = true;
    if (!new_word) // one that returns had no word: the file's counts
        account->active = stored->active;
    plan_put(account, !new_word, out);
}

static void plan_moved(const struct account *said, const struct account *stored, struct account_plan *out)
{
    if (str_eq(said->defined_at, stored->defined_at))
        return;
    struct account *account = account_copy(stored);
    account->defined_at = arena_str(&account->arena, said->defined_at);
    *out = (struct account_plan){.kind = PLAN_MOVE, .account = account};
}

void account_plan_said(struct account *said, const struct account *stored, struct account_plan *out)
{
    *out = (struct account_plan){.kind = PLAN_NOTHING};
    if (!stored)
        plan_put(account_ref(said), false, out);
    else if (str_eq(said->file_text, stored->file_text) && !stored->left_file && !stored->damaged)
        plan_moved(said, stored, out);
    else
        plan_changed(said, stored, out);
}

void account_plan_unsaid(const struct account *stored, struct account_plan *out)
{
    *out = (struct account_plan){.kind = PLAN_NOTHING};
    if (!stored->file_text.p)
        return; // made by hand, or it left before
    struct account *account = account_copy(stored);
    account->active = false;
    account->left_file = true;
    account->file_text = STR_NONE;
    plan_put(account, false, out);
}

// ---- one bot, one source ----

struct owner {
    UT_hash_handle hh;
    struct str identity;
    struct str account, source;
};

static struct str identity_of(const struct source *source, struct arena *arena)
{
    const struct platform *platform = platform_find(source->platform);
    struct str identity = platform && platform->identity ? platform->identity(source, arena) : STR_NONE;
    return identity.n ? identity : STR_NONE;
}

bool accounts_share_bot(const struct account *one, const struct account *other, const struct source **out_one,
                        const struct source **out_other)
{
    struct arena scratch = {0};
    bool found = false;
    for (size_t i = 0; i < one->source_count && !found; i++) {
        struct str identity = identity_of(&one->sources[i], &scratch);
        for (size_t j = 0; identity.p && j < other->source_count && !found; j++) {
            found = str_eq(identity, identity_of(&other->sources[j], &scratch));
            *out_one = &one->sources[i];
            *out_other = &other->sources[j];
        }
    }
    arena_done(&scratch);
    return found;
}

// Made by hand, and not the file's from now on.
static bool stays_by_hand(const struct config *config, const struct account *account)
{
    return !account->file_text.p && !account->left_file && !config_has_account(config, account->name);
}

static void gather_owner(const struct account *account, const struct source *source, struct arena *arena,
                         struct owner **owners)
{
    struct owner *twin, *owner;
    struct str identity = identity_of(source, arena);
    if (!identity.p)
        return;
    HASH_FIND(hh, *owners, identity.p, identity.n, twin);
    if (twin)
        return;
    owner = arena_of(arena, struct owner);
    *owner = (struct owner){.identity = arena_str(arena, identity),
                            .account = arena_str(arena, account->name),
                            .source = arena_str(arena, source->name)};
    HASH_ADD_KEYPTR(hh, *owners, owner->identity.p, owner->identity.n, owner);
}

static struct owner *gather_owners(const struct config *config, struct directory *directory, struct arena *arena)
{
    struct directory_walk walk = {.directory = directory};
    struct owner *owners = NULL;
    const struct account *account;
    while ((account = directory_walk_next(&walk))) {
        for (size_t i = 0; i < account->source_count && stays_by_hand(config, account); i++)
            gather_owner(account, &account->sources[i], arena, &owners);
        account_unref(account);
    }
    return owners;
}

static int check_said(const struct account *said, struct owner *owners, struct arena *arena, struct buf *errors)
{
    int mistakes = 0;
    for (size_t i = 0; i < said->source_count; i++) {
        struct str identity = identity_of(&said->sources[i], arena);
        struct owner *owner = NULL;
        if (identity.p)
            HASH_FIND(hh, owners, identity.p, identity.n, owner);
        if (!owner)
            continue;
        mistakes++;
        buf_printf(errors,
                   "%s%.*s: accounts.sources: %.*s/%.*s is the same bot or number as source %.*s/%.*s, which was made "
                   "by hand; one may appear in one source only: remove that one, or leave this out",
                   errors->n ? "\n" : "", STR_ARG(said->defined_at), STR_ARG(said->name),
                   STR_ARG(said->sources[i].name), STR_ARG(owner->account), STR_ARG(owner->source));
    }
    return mistakes;
}

int accounts_file_check(const struct config *config, struct directory *directory, struct buf *errors)
{
    struct arena arena = {0}, scratch = {0};
    struct owner *owners = gather_owners(config, directory, &arena);
    int mistakes = 0;
    for (size_t i = 0; i < config->account_count && owners && mistakes < CONFLICTS_MAX; i++) {
        struct account *said = config_account(config, i);
        mistakes += check_said(said, owners, &scratch, errors);
        account_unref(said);
        arena_done(&scratch);
    }
    HASH_CLEAR(hh, owners);
    arena_done(&arena);
    return mistakes ? ERR_INVALID : ERR_OK;
}
