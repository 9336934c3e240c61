// Accounts with their sources and desks. Changing more than `active` follows with accounts made by hand.
#include "admin/view.h"
#include "base/log.h"

#include <stdlib.h>

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
    view_account(api_json_begin(&answer), call, account, view_pending_of(&pending, account->id));
    api_json_send(call, 200, &answer);
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

// The list is in the order of names; the cursor is a name.
static void write_page(struct json *json, struct api_call *call, const struct account **accounts, struct str after,
                       size_t limit)
{
    struct view_pending pending;
    size_t i = 0, done = 0;
    if (view_pending_read(call, &pending))
        pending.count = 0;
    while (after.p && accounts[i] && str_cmp(accounts[i]->name, after) <= 0)
        i++;
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    for (; accounts[i] && done < limit; i++, done++)
        view_account(json, call, accounts[i], view_pending_of(&pending, accounts[i]->id));
    write_next(json, call, accounts[i] ? accounts[i - 1]->name : STR_NONE);
}

void api_accounts_list(struct api_call *call)
{
    struct str after;
    size_t limit;
    struct api_json answer;
    if (!api_query_limit(call, &limit) || !api_query_after(call, 'a', &after))
        return;
    const struct account **accounts = directory_list(admin_of(call)->directory);
    write_page(api_json_begin(&answer), call, accounts, after, limit);
    for (size_t i = 0; accounts[i]; i++)
        account_unref(accounts[i]);
    free(accounts);
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
        api_json_send(call, 200, &answer);
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

// What changes an account ends here: the account as it is now.
static void on_changed(struct api_work *work)
{
    struct api_call *call = work->call;
    if (work->err == ERR_NOT_FOUND)
        api_problem(call, 404, "There is no account of that name.");
    else if (work->err)
        api_problem_err(call, work->err);
    else
        api_accounts_get(call);
}

static const char *door_name(const struct api_call *call)
{
    return call->local ? "socket" : "token";
}

static void run_set_active(struct api_work *work)
{
    work->err = relay_set_active(admin_of(work->call)->relay, work->id, work->flag);
}

static void set_active(struct api_call *call, const struct account *account, bool active)
{
    struct api_work *work = api_work_new(call);
    work->id = account->id;
    work->flag = active;
    log_info(active ? "activate_by_hand" : "deactivate_by_hand", LOG_S("account", account->name),
             LOG_C("by", door_name(call)));
    api_work_start(work, run_set_active, on_changed);
}

// The one change by hand there is. False: answered.
static bool read_active(struct api_call *call, const struct account *account, bool *out)
{
    yyjson_doc *doc = json_read(call->request->body);
    yyjson_val *root = yyjson_doc_get_root(doc), *active = yyjson_obj_get(root, "active");
    bool alone = yyjson_obj_size(root) == 1, good = alone && yyjson_is_bool(active);
    if (good)
        *out = yyjson_get_bool(active);
    else if (yyjson_is_obj(root) && yyjson_obj_size(root) > (active ? 1 : 0) && account->defined_at.p)
        api_problem(call, 409, "The account is defined in %.*s; change it there. By hand only active can be changed.",
                    STR_ARG(account->defined_at));
    else
        api_problem(call, 400, "The body is {\"active\": true} or {\"active\": false}.");
    yyjson_doc_free(doc);
    return good;
}

void api_accounts_patch(struct api_call *call)
{
    bool active;
    const struct account *account = account_of(call);
    if (account && read_active(call, account, &active))
        set_active(call, account, active);
    account_unref(account);
}

static void run_resume(struct api_work *work)
{
    work->err = relay_resume_desk(admin_of(work->call)->relay, work->id);
}

static void on_resumed(struct api_work *work)
{
    if (work->err)
        on_changed(work);
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
    log_info("desk_resume_by_hand", LOG_S("account", account->name), LOG_C("by", door_name(call)));
    api_work_start(work, run_resume, on_resumed);
    account_unref(account);
}
