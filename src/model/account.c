#include "model/account.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/http.h"

#include <stdlib.h>

enum { ARENA_FIRST = 640 }; // holds an account with one source: of 100,000 accounts each byte counts

struct account *account_new(void)
{
    struct account *account = mem_new_of(struct account);
    atomic_init(&account->refs, 1);
    account->arena.first = ARENA_FIRST;
    account->active = true;
    return account;
}

struct account *account_ref(const struct account *account)
{
    // The count is the one part of a published account that changes.
    struct account *shared = (struct account *)(uintptr_t)account;
    atomic_fetch_add(&shared->refs, 1);
    return shared;
}

void account_unref(const struct account *account)
{
    struct account *shared = (struct account *)(uintptr_t)account;
    if (!shared || atomic_fetch_sub(&shared->refs, 1) != 1)
        return;
    arena_done(&shared->arena);
    free(shared);
}

static void copy_str(struct arena *arena, struct str *text)
{
    *text = arena_str(arena, *text);
}

static void copy_source(struct arena *arena, struct source *source)
{
    copy_str(arena, &source->account);
    copy_str(arena, &source->name);
    copy_str(arena, &source->platform);
    copy_str(arena, &source->token);
    copy_str(arena, &source->secret);
    copy_str(arena, &source->api_url);
    copy_str(arena, &source->made_secret);
    copy_str(arena, &source->registered_url);
}

static struct source *copy_sources(struct arena *arena, const struct source *sources, size_t count)
{
    struct source *copy = count ? arena_alloc(arena, count * sizeof *copy) : NULL;
    for (size_t i = 0; i < count; i++) {
        copy[i] = sources[i];
        copy_source(arena, &copy[i]);
    }
    return copy;
}

static void copy_desk(struct arena *arena, struct desk *desk)
{
    copy_str(arena, &desk->platform);
    copy_str(arena, &desk->token);
    copy_str(arena, &desk->client_secret);
    copy_str(arena, &desk->api_url);
    copy_str(arena, &desk->url);
    copy_str(arena, &desk->secret);
}

struct account *account_copy(const struct account *account)
{
    struct account *copy = account_new();
    struct arena *arena = &copy->arena;
    copy->id = account->id;
    copy->name = arena_str(arena, account->name);
    copy->active = account->active;
    copy->order = account->order;
    copy->order_barrier = account->order_barrier;
    copy->on_failure = account->on_failure;
    copy->in_doubt = account->in_doubt;
    copy->replies = account->replies;
    copy->identity = account->identity;
    copy->source_count = account->source_count;
    copy->sources = copy_sources(arena, account->sources, account->source_count);
    copy->former_count = account->former_count;
    copy->former = copy_sources(arena, account->former, account->former_count);
    copy->desk = account->desk;
    copy_desk(arena, &copy->desk);
    copy->defined_at = arena_str(arena, account->defined_at);
    copy->file_text = arena_str(arena, account->file_text);
    copy->left_file = account->left_file;
    return copy;
}

static void add_former(struct account *account, const struct source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!account_find_source(account, sources[i].name))
            account->former[account->former_count++] = sources[i];
}

struct account *account_with_former(const struct account *account, const struct account *before)
{
    struct account *whole = account_copy(account);
    whole->former_count = 0;
    whole->former = arena_alloc(&whole->arena,
                                (before->source_count + before->former_count + 1) * sizeof *whole->former);
    add_former(whole, before->sources, before->source_count);
    add_former(whole, before->former, before->former_count);
    struct account *own = account_copy(whole); // with texts of its own
    account_unref(whole);
    return own;
}

const struct source *account_find_source(const struct account *account, struct str name)
{
    for (size_t i = 0; i < account->source_count; i++)
        if (str_eq(account->sources[i].name, name))
            return &account->sources[i];
    return NULL;
}

const struct source *account_find_source_id(const struct account *account, int64_t source_id)
{
    for (size_t i = 0; i < account->source_count; i++)
        if (account->sources[i].id == source_id)
            return &account->sources[i];
    return NULL;
}

const struct source *account_find_any_source_id(const struct account *account, int64_t source_id)
{
    const struct source *source = account_find_source_id(account, source_id);
    for (size_t i = 0; !source && i < account->former_count; i++)
        if (account->former[i].id == source_id)
            source = &account->former[i];
    return source;
}

struct str source_secret(const struct source *source)
{
    if (str_eq_c(source->secret, "none"))
        return STR_NONE;
    return source->secret.p ? source->secret : source->made_secret;
}

struct str source_hook_url(const struct source *source, struct str public_url, struct arena *arena)
{
    if (str_ends(public_url, STR("/")))
        public_url.n--;
    return arena_printf(arena, "%.*s/hooks/%.*s/%.*s", STR_ARG(public_url),
                        STR_ARG(http_escape(arena, source->account)), STR_ARG(http_escape(arena, source->name)));
}

uint64_t desk_identity(const struct desk *desk)
{
    struct str parts[] = {desk->platform, desk->api_url, desk->url, desk->token, desk->secret};
    return hash_strs(parts, sizeof parts / sizeof *parts);
}

uint64_t source_identity(const struct source *source)
{
    struct str parts[] = {STR("source"), source->platform, source->api_url, source->token};
    return hash_strs(parts, sizeof parts / sizeof *parts);
}

bool account_name_is_valid(struct str name)
{
    if (name.n < 1 || name.n > 63)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

const char *replies_policy_name(enum replies_policy policy)
{
    return policy == REPLIES_AGENTS ? "agents" : "agents+bots";
}

const char *identity_policy_name(enum identity_policy policy)
{
    static const char *const names[] = {"none", "phone", "email"};
    must((size_t)policy < sizeof names / sizeof *names);
    return names[policy];
}

const char *order_rule_name(enum order_rule rule)
{
    return rule == ORDER_ACCOUNT ? "account" : "conversation";
}

const char *failure_policy_name(enum failure_policy policy)
{
    return policy == ON_FAILURE_SKIP ? "skip" : "hold";
}

const char *doubt_policy_name(enum doubt_policy policy)
{
    return policy == IN_DOUBT_RESEND ? "resend" : "hold";
}

const char *source_mode_name(enum source_mode mode)
{
    static const char *const names[] = {"default", "webhook", "polling"};
    must((size_t)mode < sizeof names / sizeof *names);
    return names[mode];
}
