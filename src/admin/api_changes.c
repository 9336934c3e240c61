// Accounts changed by hand: switched on and off, defined, removed. What a definition may hold is the program layer's to say
// (admin.h, admin_change): the same table of keys as the configuration file's.
#include "admin/view.h"

#include <stdlib.h>
#include <string.h>

// ---- switches ----

// Accounts to be switched together.
struct switches {
    int64_t *ids;
    size_t count, room;
};

static void add_switch(struct switches *switches, struct arena *arena, int64_t id)
{
    if (switches->count == switches->room) {
        size_t room = switches->room ? 2 * switches->room : 64;
        int64_t *grown = arena_alloc(arena, room * sizeof *grown);
        if (switches->count)
            memcpy(grown, switches->ids, switches->count * sizeof *grown);
        switches->ids = grown;
        switches->room = room;
    }
    switches->ids[switches->count++] = id;
}

static void run_switch(struct api_work *work)
{
    const struct switches *switches = work->data;
    work->err = relay_set_active_all(admin_of(work->call)->relay, switches->ids, switches->count, work->flag);
}

static void start_switch(struct api_call *call, const struct switches *switches, bool active,
                         void (*done)(struct api_work *work))
{
    struct api_work *work = api_work_new(call);
    struct switches *own = arena_of(call->arena, struct switches);
    *own = *switches;
    work->data = own;
    work->flag = active;
    call->said = active ? STR("active=true") : STR("active=false");
    api_work_start(work, run_switch, done);
}

static void on_switched(struct api_work *work)
{
    if (work->err)
        api_problem_err(work->call, work->err);
    else
        api_accounts_get(work->call);
}

static void on_all_switched(struct api_work *work)
{
    const struct switches *switches = work->data;
    struct api_json answer;
    if (work->err) {
        api_problem_err(work->call, work->err);
        return;
    }
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    json_key_bool(json, "active", work->flag);
    json_key_int(json, "changed", (int64_t)switches->count);
    json_close(json, '}');
    api_json_send(work->call, 200, &answer);
}

// Activating it is more than a switch: its definition is looked at as a whole.
static bool wants_a_look(const struct account *account)
{
    return account->left_file || account->damaged;
}

static void gather_all(struct api_call *call, bool active, struct switches *out)
{
    const struct account *page[API_LIMIT_MAX];
    struct str after = STR_NONE;
    for (size_t count = API_LIMIT_MAX; count == API_LIMIT_MAX;) {
        count = directory_page(admin_of(call)->directory, after, API_LIMIT_MAX, page);
        after = count ? arena_str(call->arena, page[count - 1]->name) : after;
        for (size_t i = 0; i < count; i++) {
            if (page[i]->active != active && !(active && wants_a_look(page[i])))
                add_switch(out, call->arena, page[i]->id);
            account_unref(page[i]);
        }
    }
}

// False: answered. All or none.
static bool gather_named(struct api_call *call, yyjson_val *names, bool active, struct switches *out)
{
    size_t i, max;
    yyjson_val *name;
    yyjson_arr_foreach(names, i, max, name)
    {
        struct str text = json_val_str(name);
        const struct account *account = text.p ? directory_find(admin_of(call)->directory, text) : NULL;
        bool look = account && active && wants_a_look(account);
        if (!account)
            api_problem(call, 404, "There is no account of the name \"%.*s\"; none was changed.",
                        STR_ARG(str_sub(text, 0, 64)));
        else if (look)
            api_problem(call, 409, "The account %.*s %s; activate it alone. None was changed.", STR_ARG(text),
                        account->left_file ? "left the configuration file" : "is not what was stored");
        else if (account->active != active)
            add_switch(out, call->arena, account->id);
        account_unref(account);
        if (!account || look)
            return false;
    }
    return true;
}

static void switch_many(struct api_call *call, yyjson_val *root)
{
    yyjson_val *active = yyjson_obj_get(root, "active"), *all = yyjson_obj_get(root, "all");
    yyjson_val *names = yyjson_obj_get(root, "accounts");
    struct switches switches = {0};
    if (yyjson_obj_size(root) != 2 || !yyjson_is_bool(active) || (!yyjson_is_true(all) && !yyjson_is_arr(names))) {
        api_problem(call, 400,
                    "The body is {\"active\": true or false, \"accounts\": [names]}, or with \"all\": true in place of "
                    "the names.");
        return;
    }
    bool on = yyjson_get_bool(active);
    if (all)
        gather_all(call, on, &switches);
    if (all || gather_named(call, names, on, &switches))
        start_switch(call, &switches, on, on_all_switched);
}

void api_accounts_switch(struct api_call *call)
{
    yyjson_doc *doc = json_read(call->request->body);
    switch_many(call, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
}

// ---- definitions ----

static void run_change(struct api_work *work)
{
    const struct admin_options *options = admin_of(work->call);
    work->err = options->change(options->change_arg, work->data);
}

static void send_removal(struct api_call *call, struct str name, int64_t discarded)
{
    struct api_json answer;
    struct json *json = api_json_begin(&answer);
    json_open(json, '{');
    json_key_str(json, "removed", name);
    json_key_int(json, "discarded", discarded);
    json_close(json, '}');
    api_json_send(call, 200, &answer);
}

// What was changed, as it is now: the handler of GET finds it by the names in the path.
static void send_changed(struct api_call *call, const struct admin_change *change)
{
    switch (change->kind) {
    case CHANGE_ACCOUNT_ADD:
        call->params[0] = change->made;
        call->status = 201;
        api_accounts_get(call);
        break;
    case CHANGE_SOURCE_ADD:
        call->params[1] = change->made;
        call->status = 201;
        api_sources_get(call);
        break;
    case CHANGE_ACCOUNT:
        api_accounts_get(call);
        break;
    case CHANGE_SOURCE:
        api_sources_get(call);
        break;
    case CHANGE_DESK_SET:
    case CHANGE_DESK:
        api_desk_get(call);
        break;
    case CHANGE_ACCOUNT_REMOVE:
        send_removal(call, change->account, change->discarded);
        break;
    case CHANGE_SOURCE_REMOVE:
        send_removal(call, change->source, 0);
        break;
    }
}

static void on_changed(struct api_work *work)
{
    struct api_call *call = work->call;
    struct buf why = work->text;
    if (!work->err)
        send_changed(call, work->data);
    else if (work->err == ERR_INVALID && why.n)
        api_problem_mistakes(call, buf_str(&why));
    else if (why.n)
        api_problem(call, work->err == ERR_NOT_FOUND ? 404 : work->err == ERR_REFUSED ? 409 : 503, "%s", why.p);
    else
        api_problem_err(call, work->err);
    buf_done(&why);
}

// The keys of the body, for the log; never their values.
static struct str keys_of(yyjson_val *root, struct arena *arena)
{
    enum { KEYS_MAX = 12, KEY_MAX = 24 };
    struct str keys = STR("");
    size_t i, max;
    yyjson_val *key, *value;
    yyjson_obj_foreach(root, i, max, key, value)
    {
        struct str name = str_sub(json_val_str(key), 0, KEY_MAX);
        if (i < KEYS_MAX)
            keys = arena_printf(arena, "%.*s%s%.*s", STR_ARG(keys), i ? " " : "", STR_ARG(name));
    }
    return keys;
}

static void start_change(struct api_call *call, enum admin_change_kind kind, bool discard)
{
    struct api_work *work = api_work_new(call);
    struct admin_change *change = arena_of(call->arena, struct admin_change);
    *change = (struct admin_change){
        .kind = kind,
        .account = call->params[0],
        .source = call->params[1],
        .body = call->request->body,
        .discard = discard,
        .why = &work->text,
        .arena = call->arena,
    };
    work->data = change;
    api_work_in_turn(work, run_change, on_changed);
}

static void change(struct api_call *call, enum admin_change_kind kind)
{
    yyjson_doc *doc = json_read(call->request->body);
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool has_body = kind != CHANGE_SOURCE_REMOVE, object = yyjson_is_obj(root);
    if (object)
        call->said = keys_of(root, call->arena);
    yyjson_doc_free(doc);
    if (!admin_of(call)->change)
        api_problem(call, 404, "This relay offers no changes by hand.");
    else if (has_body && !object)
        api_problem(call, 400, "The body is a JSON object with the keys of the configuration file.");
    else
        start_change(call, kind, false);
}

void api_accounts_post(struct api_call *call)
{
    change(call, CHANGE_ACCOUNT_ADD);
}

void api_accounts_delete(struct api_call *call)
{
    bool discard;
    if (!api_query_bool(call, "discard", &discard))
        return;
    if (discard)
        call->said = STR("discard=true");
    if (admin_of(call)->change)
        start_change(call, CHANGE_ACCOUNT_REMOVE, discard);
    else
        api_problem(call, 404, "This relay offers no changes by hand.");
}

void api_sources_post(struct api_call *call)
{
    change(call, CHANGE_SOURCE_ADD);
}

void api_sources_patch(struct api_call *call)
{
    change(call, CHANGE_SOURCE);
}

void api_sources_delete(struct api_call *call)
{
    change(call, CHANGE_SOURCE_REMOVE);
}

void api_desk_put(struct api_call *call)
{
    change(call, CHANGE_DESK_SET);
}

void api_desk_patch(struct api_call *call)
{
    change(call, CHANGE_DESK);
}

enum patch { PATCH_SWITCH, PATCH_DEFINITION, PATCH_WRONG, PATCH_WRONG_ACTIVE };

// {"active": ...} alone is a switch: it holds for every account, and waits for no other change. *out: what it says.
static enum patch read_patch(struct api_call *call, const struct account *account, bool *out)
{
    yyjson_doc *doc = json_read(call->request->body);
    yyjson_val *root = yyjson_doc_get_root(doc), *active = yyjson_obj_get(root, "active");
    bool alone = yyjson_obj_size(root) == 1, is_bool = yyjson_is_bool(active), any = yyjson_obj_size(root) > 0;
    *out = yyjson_get_bool(active);
    yyjson_doc_free(doc);
    if (!any)
        return PATCH_WRONG;
    if (active && !is_bool)
        return PATCH_WRONG_ACTIVE;
    return active && alone && !(*out && wants_a_look(account)) ? PATCH_SWITCH : PATCH_DEFINITION;
}

void api_accounts_patch(struct api_call *call)
{
    struct switches switches = {0};
    bool active;
    const struct account *account = directory_find(admin_of(call)->directory, call->params[0]);
    if (!account) {
        api_problem(call, 404, "There is no account of that name.");
        return;
    }
    switch (read_patch(call, account, &active)) {
    case PATCH_SWITCH:
        add_switch(&switches, call->arena, account->id);
        start_switch(call, &switches, active, on_switched);
        break;
    case PATCH_DEFINITION:
        change(call, CHANGE_ACCOUNT);
        break;
    case PATCH_WRONG:
        api_problem(
            call, 400,
            "The body is a JSON object with what shall change: {\"active\": true or false}, and the keys of the "
            "configuration file for an account made by hand.");
        break;
    case PATCH_WRONG_ACTIVE:
        api_problem(call, 400, "active is true or false.");
        break;
    }
    account_unref(account);
}
