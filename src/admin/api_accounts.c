// Accounts with their sources and desks, as they are. Changing them: api_changes.c.
#include "admin/view.h"

// The account of the path, with a reference; NULL: answered.
static const struct account *account_of(struct api_call *call)
{
    const struct account *account = directory_find(admin_of(call)->directory, call->params[0]);
    if (!account)
        api_problem(call, 404, "There is no account of that name.");
    return account;
}

static void send_account(struct api_call *call, const struct account *account)
{
    struct view_pending pending;
    struct api_json answer;
    int err = view_pending_read(call, &pending);
    if (err) {
        api_problem_err(call, err);
        return;
    }
    view_account(api_json_begin(&answer), call, account, view_counts_of(&pending, account->id));
    api_json_send(call, call->status ? call->status : 200, &answer);
}

void api_accounts_get(struct api_call *call)
{
    const struct account *account = account_of(call);
    if (account)
        send_account(call, account);
    account_unref(account);
}

static void write_next(struct json *json, struct api_call *call, struct str last)
{
    json_close(json, ']');
    json_key_str(json, "next", last.p ? api_cursor(call->arena, 'a', last) : STR_NONE);
    json_close(json, '}');
}

// The list is in the order of names; the cursor is a name. One more than the limit tells whether there is a next page.
static void write_page(struct json *json, struct api_call *call, const struct account **accounts, size_t count,
                       size_t limit)
{
    struct view_pending pending;
    size_t shown = count < limit ? count : limit;
    if (view_pending_read(call, &pending))
        pending.count = 0;
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    for (size_t i = 0; i < shown; i++)
        view_account(json, call, accounts[i], view_counts_of(&pending, accounts[i]->id));
    write_next(json, call, count > limit ? accounts[shown - 1]->name : STR_NONE);
}

void api_accounts_list(struct api_call *call)
{
    const struct account *accounts[API_LIMIT_MAX + 1];
    struct str after;
    size_t limit;
    struct api_json answer;
    if (!api_query_limit(call, &limit) || !api_query_after(call, 'a', &after))
        return;
    size_t count = directory_page(admin_of(call)->directory, after, limit + 1, accounts);
    write_page(api_json_begin(&answer), call, accounts, count, limit);
    for (size_t i = 0; i < count; i++)
        account_unref(accounts[i]);
    api_json_send(call, 200, &answer);
}

static void write_sources(struct json *json, struct api_call *call, const struct account *account, size_t from,
                          size_t limit)
{
    size_t end = from + limit < account->source_count ? from + limit : account->source_count;
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    for (size_t i = from; i < end; i++)
        view_source(json, call, &account->sources[i]);
    write_next(json, call, end < account->source_count ? account->sources[end - 1].name : STR_NONE);
}

void api_sources_list(struct api_call *call)
{
    struct str after;
    size_t limit, from = 0;
    struct api_json answer;
    const struct account *account = account_of(call);
    if (!account)
        return;
    if (api_query_limit(call, &limit) && api_query_after(call, 'a', &after)) {
        for (size_t i = 0; after.p && i < account->source_count; i++)
            if (str_eq(account->sources[i].name, after))
                from = i + 1;
        write_sources(api_json_begin(&answer), call, account, from, limit);
        api_json_send(call, 200, &answer);
    }
    account_unref(account);
}

void api_sources_get(struct api_call *call)
{
    struct api_json answer;
    const struct account *account = account_of(call);
    if (!account)
        return;
    const struct source *source = account_find_source(account, call->params[1]);
    if (source) {
        view_source(api_json_begin(&answer), call, source);
        api_json_send(call, call->status ? call->status : 200, &answer);
    } else {
        api_problem(call, 404, "The account has no source of that name.");
    }
    account_unref(account);
}

void api_desk_get(struct api_call *call)
{
    struct api_json answer;
    const struct account *account = account_of(call);
    if (!account)
        return;
    view_desk(api_json_begin(&answer), call, &account->desk);
    api_json_send(call, 200, &answer);
    account_unref(account);
}

static void run_resume(struct api_work *work)
{
    work->err = relay_resume_desk(admin_of(work->call)->relay, work->id);
}

static void on_resumed(struct api_work *work)
{
    if (work->err == ERR_NOT_FOUND)
        api_problem(work->call, 404, "There is no account of that name.");
    else if (work->err)
        api_problem_err(work->call, work->err);
    else
        api_desk_get(work->call);
}

void api_desk_resume(struct api_call *call)
{
    const struct account *account = account_of(call);
    if (!account)
        return;
    struct api_work *work = api_work_new(call);
    work->id = account->id;
    api_work_start(work, run_resume, on_resumed);
    account_unref(account);
}
