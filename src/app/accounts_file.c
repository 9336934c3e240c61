#include "app/accounts_file.h"

#include "base/mem.h"
#include "platform/platform.h"

#include <stdlib.h>
#include <uthash.h>

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

// Ids, and what a source made or learned itself; a webhook that another bot had is not this one's.
static void keep_learned(struct account *account, const struct account *stored)
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

static void add_put(struct accounts_plan *plan, struct account *account, struct str file_text)
{
    plan->puts[plan->put_count] = account;
    plan->file_texts[plan->put_count++] = file_text;
}

static void plan_changed(struct accounts_plan *plan, const struct config_account *said,
                         const struct stored_account *stored)
{
    struct account *account = account_copy(said->account);
    bool new_word = !str_eq(says_of_active(said->file_text), says_of_active(stored->file_text));
    keep_learned(account, stored->account);
    if (!new_word) // one that returns had no word: the file's counts
        account->active = stored->account->active;
    add_put(plan, account, said->file_text);
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
        add_put(plan, account_copy(said->account), said->file_text);
        return;
    }
    known->in_file = true;
    const struct stored_account *stored = known->stored;
    if (str_eq(said->file_text, stored->file_text) && !stored->account->left_file)
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
    add_put(plan, account, STR_NONE);
}

void accounts_plan_make(const struct config *config, const struct stored_account *stored, size_t stored_count,
                        struct accounts_plan *out)
{
    struct known *table, *all = known_new(stored, stored_count, &table);
    *out = (struct accounts_plan){0};
    size_t most = config->account_count + stored_count;
    out->puts = arena_alloc(&out->arena, most * sizeof *out->puts);
    out->file_texts = arena_alloc(&out->arena, most * sizeof *out->file_texts);
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
        account_unref(plan->puts[i]);
    for (size_t i = 0; i < plan->moved_count; i++)
        account_unref(plan->moved[i]);
    arena_done(&plan->arena);
    *plan = (struct accounts_plan){0};
}
