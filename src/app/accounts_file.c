#include "app/accounts_file.h"

#include "base/mem.h"
#include "base/table.h"
#include "platform/platform.h"

#include <stdlib.h>

enum { CONFLICTS_MAX = 10 };

// A stored account, found by name.
struct known {
    UT_hash_handle hh;
    const struct stored_account *stored;
    bool in_file;
};

static struct known *known_new(const struct stored_account *stored, size_t count, struct known **out_table)
{
    struct known *all = mem_new((count ? count : 1) * sizeof *all), *table = NULL;
    for (size_t i = 0; i < count; i++) {
        all[i].stored = &stored[i];
        HASH_ADD_KEYPTR(hh, table, stored[i].account->name.p, stored[i].account->name.n, &all[i]);
    }
    *out_table = table;
    return all;
}

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

static void add_put(struct accounts_plan *plan, struct account *account, struct str file_text, bool keep_active)
{
    plan->puts[plan->put_count++] = (struct relay_account_put){
        .account = account, .file_text = file_text, .keep_active = keep_active};
}

static void plan_changed(struct accounts_plan *plan, const struct config_account *said,
                         const struct stored_account *stored)
{
    struct account *account = account_copy(said->account);
    bool new_word = !str_eq(says_of_active(said->file_text), says_of_active(stored->file_text));
    accounts_keep_learned(account, stored->account);
    if (stored->account->damaged) // what it was is not known: the file's word counts
        new_word = true;
    if (!new_word) // one that returns had no word: the file's counts
        account->active = stored->account->active;
    add_put(plan, account, said->file_text, !new_word);
}

static void plan_moved(struct accounts_plan *plan, const struct config_account *said, const struct account *stored)
{
    if (str_eq(said->account->defined_at, stored->defined_at))
        return;
    struct account *account = account_copy(stored);
    account->defined_at = arena_str(&account->arena, said->account->defined_at);
    plan->moved[plan->moved_count++] = account;
}

static void plan_said(struct accounts_plan *plan, const struct config_account *said, struct known *table)
{
    struct known *known;
    HASH_FIND(hh, table, said->account->name.p, said->account->name.n, known);
    if (!known) {
        add_put(plan, account_copy(said->account), said->file_text, false);
        return;
    }
    known->in_file = true;
    const struct stored_account *stored = known->stored;
    if (str_eq(said->file_text, stored->file_text) && !stored->account->left_file && !stored->account->damaged)
        plan_moved(plan, said, stored->account);
    else
        plan_changed(plan, said, stored);
}

static void plan_left(struct accounts_plan *plan, const struct stored_account *stored)
{
    if (!stored->file_text.p)
        return; // made by hand, or it left before
    struct account *account = account_copy(stored->account);
    account->active = false;
    account->left_file = true;
    add_put(plan, account, STR_NONE, false);
}

void accounts_plan_make(const struct config *config, const struct stored_account *stored, size_t stored_count,
                        struct accounts_plan *out)
{
    struct known *table, *all = known_new(stored, stored_count, &table);
    *out = (struct accounts_plan){0};
    size_t most = config->account_count + stored_count;
    out->puts = arena_alloc(&out->arena, most * sizeof *out->puts);
    out->moved = arena_alloc(&out->arena, config->account_count * sizeof *out->moved);
    for (size_t i = 0; i < config->account_count; i++)
        plan_said(out, &config->accounts[i], table);
    for (size_t i = 0; i < stored_count; i++)
        if (!all[i].in_file)
            plan_left(out, all[i].stored);
    HASH_CLEAR(hh, table);
    free(all);
}

void accounts_plan_done(struct accounts_plan *plan)
{
    for (size_t i = 0; i < plan->put_count; i++)
        account_unref(plan->puts[i].account);
    for (size_t i = 0; i < plan->moved_count; i++)
        account_unref(plan->moved[i]);
    arena_done(&plan->arena);
    *plan = (struct accounts_plan){0};
}

// ---- one bot, one source ----

struct owner {
    UT_hash_handle hh;
    struct str identity;
    const struct account *account;
    const struct source *source;
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
static bool stays_by_hand(const struct known *known)
{
    return !known->in_file && !known->stored->file_text.p && !known->stored->account->left_file;
}

static struct owner *gather_owners(const struct known *all, size_t count, struct arena *arena)
{
    struct owner *owners = NULL, *twin;
    for (size_t i = 0; i < count; i++) {
        const struct account *account = all[i].stored->account;
        for (size_t j = 0; j < account->source_count && stays_by_hand(&all[i]); j++) {
            struct owner *owner = arena_of(arena, struct owner);
            *owner = (struct owner){.identity = identity_of(&account->sources[j], arena),
                                    .account = account,
                                    .source = &account->sources[j]};
            if (!owner->identity.p)
                continue;
            HASH_FIND(hh, owners, owner->identity.p, owner->identity.n, twin);
            if (!twin)
                HASH_ADD_KEYPTR(hh, owners, owner->identity.p, owner->identity.n, owner);
        }
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
                   STR_ARG(said->sources[i].name), STR_ARG(owner->account->name), STR_ARG(owner->source->name));
    }
    return mistakes;
}

int accounts_file_check(const struct config *config, const struct stored_account *stored, size_t stored_count,
                        struct buf *errors)
{
    struct arena arena = {0}, scratch = {0};
    struct known *table, *known, *all = known_new(stored, stored_count, &table);
    for (size_t i = 0; i < config->account_count; i++) {
        struct str name = config->accounts[i].account->name;
        HASH_FIND(hh, table, name.p, name.n, known);
        if (known)
            known->in_file = true;
    }
    struct owner *owners = gather_owners(all, stored_count, &arena);
    int mistakes = 0;
    for (size_t i = 0; i < config->account_count && owners && mistakes < CONFLICTS_MAX; i++) {
        mistakes += check_said(config->accounts[i].account, owners, &scratch, errors);
        arena_done(&scratch);
    }
    HASH_CLEAR(hh, owners);
    HASH_CLEAR(hh, table);
    free(all);
    arena_done(&arena);
    return mistakes ? ERR_INVALID : ERR_OK;
}
