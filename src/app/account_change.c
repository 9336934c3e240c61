#include "app/account_change.h"

#include "app/accounts_file.h"
#include "app/config_value.h"
#include "base/json.h"
#include "base/must.h"
#include "desk/desk.h"
#include "platform/platform.h"

#include <stdlib.h>

int account_change_allowed(const struct account *account, struct buf *why)
{
    if (!account->defined_at.p || account->left_file)
        return ERR_OK;
    buf_printf(why, "The account is defined in %.*s; change it there. By hand only active can be changed.",
               STR_ARG(account->defined_at));
    return ERR_REFUSED;
}

// ---- what there is, as JSON ----

struct writer {
    yyjson_mut_doc *doc;
    struct arena arena;
};

static const struct config_section *section_of(const char *list, const char *within)
{
    const struct config_section *section = config_key_find(&config_root, str_of(list))->section;
    return within ? config_key_find(section, str_of(within))->section : section;
}

static yyjson_mut_val *text_value(struct writer *writer, const struct config_key *key, struct str text)
{
    if (key->type == KEY_BOOL)
        return yyjson_mut_bool(writer->doc, str_eq_c(text, "true"));
    return yyjson_mut_strncpy(writer->doc, text.p, text.n);
}

// A value that is the connector's own is not written: it goes with the connector.
static bool is_own(const struct config_key *key, struct str text, const char *platform_url)
{
    return (key->preset && str_eq_c(text, key->preset)) ||
           (key->type == KEY_BASE_URL && platform_url && str_eq_c(text, platform_url));
}

static void add_values(struct writer *writer, yyjson_mut_val *object, const struct config_section *section,
                       const void *from, struct str platform, const char *platform_url)
{
    for (size_t i = 0; i < section->count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->section || (key->only && !str_eq_c(platform, key->only)))
            continue;
        struct str text = config_value_text(key, (const char *)from + key->offset, &writer->arena);
        if (text.p && !is_own(key, text, platform_url))
            yyjson_mut_obj_add_val(writer->doc, object, key->name, text_value(writer, key, text));
    }
}

static yyjson_mut_val *desk_json(struct writer *writer, const struct desk *desk)
{
    yyjson_mut_val *object = yyjson_mut_obj(writer->doc);
    const struct desk_connector *connector = desk_connector_find(desk->platform);
    add_values(writer, object, section_of("accounts", "desk"), desk, desk->platform,
               connector ? connector->api_url : NULL);
    return object;
}

static yyjson_mut_val *source_json(struct writer *writer, const struct source *source)
{
    yyjson_mut_val *object = yyjson_mut_obj(writer->doc);
    const struct platform *platform = platform_find(source->platform);
    add_values(writer, object, section_of("accounts", "sources"), source, source->platform,
               platform ? platform->api_url : NULL);
    return object;
}

static yyjson_mut_val *account_json(struct writer *writer, const struct account *account)
{
    yyjson_mut_val *object = yyjson_mut_obj(writer->doc), *sources = yyjson_mut_arr(writer->doc);
    add_values(writer, object, section_of("accounts", NULL), account, STR(""), NULL);
    for (size_t i = 0; i < account->source_count; i++)
        yyjson_mut_arr_append(sources, source_json(writer, &account->sources[i]));
    yyjson_mut_obj_add_val(writer->doc, object, "sources", sources);
    yyjson_mut_obj_add_val(writer->doc, object, "desk", desk_json(writer, &account->desk));
    return object;
}

// ---- merging ----

static struct str text_at(yyjson_mut_val *object, const char *key)
{
    yyjson_mut_val *value = yyjson_mut_obj_get(object, key);
    return yyjson_mut_is_str(value) ? (struct str){yyjson_mut_get_str(value), yyjson_mut_get_len(value)} : STR_NONE;
}

// Another platform begins anew: tokens of the one before are none of its.
static yyjson_mut_val *merge_part(struct writer *writer, yyjson_mut_val *part, yyjson_mut_val *patch)
{
    struct str wanted = text_at(patch, "platform"), name = text_at(part, "name");
    if (!yyjson_mut_is_obj(patch))
        return patch;
    if (wanted.p && !str_eq(wanted, text_at(part, "platform"))) {
        part = yyjson_mut_obj(writer->doc);
        if (name.p)
            yyjson_mut_obj_add_strncpy(writer->doc, part, "name", name.p, name.n);
    }
    return yyjson_mut_merge_patch(writer->doc, part, patch);
}

static yyjson_mut_val *find_source(yyjson_mut_val *sources, struct str name)
{
    size_t i, max;
    yyjson_mut_val *source;
    yyjson_mut_arr_foreach(sources, i, max, source)
    {
        if (name.p && str_eq(text_at(source, "name"), name))
            return source;
    }
    return NULL;
}

// The list is given whole; a source in it that was there before keeps what is not said of it.
static yyjson_mut_val *merge_sources(struct writer *writer, yyjson_mut_val *before, yyjson_mut_val *given)
{
    size_t i, max;
    yyjson_mut_val *source, *list = yyjson_mut_arr(writer->doc);
    yyjson_mut_arr_foreach(given, i, max, source)
    {
        yyjson_mut_val *old = find_source(before, text_at(source, "name"));
        yyjson_mut_val *base = old ? yyjson_mut_val_mut_copy(writer->doc, old) : yyjson_mut_obj(writer->doc);
        yyjson_mut_arr_append(list, merge_part(writer, base, yyjson_mut_val_mut_copy(writer->doc, source)));
    }
    return list;
}

static void replace(struct writer *writer, yyjson_mut_val *object, const char *key, yyjson_mut_val *value)
{
    yyjson_mut_obj_remove_key(object, key);
    yyjson_mut_obj_add_val(writer->doc, object, key, value);
}

static yyjson_mut_val *merge_account(struct writer *writer, yyjson_mut_val *account, yyjson_mut_val *patch)
{
    yyjson_mut_val *sources = yyjson_mut_obj_get(patch, "sources"), *desk = yyjson_mut_obj_get(patch, "desk");
    if (yyjson_mut_is_arr(sources))
        replace(writer, patch, "sources", merge_sources(writer, yyjson_mut_obj_get(account, "sources"), sources));
    if (yyjson_mut_is_obj(desk)) {
        yyjson_mut_val *merged = merge_part(writer, yyjson_mut_obj_get(account, "desk"), desk);
        replace(writer, account, "desk", merged);
        yyjson_mut_obj_remove_key(patch, "desk");
    }
    return yyjson_mut_merge_patch(writer->doc, account, patch);
}

static int refuse(struct admin_change *change, int err, const char *sentence)
{
    buf_add_str(change->why, str_of(sentence));
    return err;
}

static int add_source(struct admin_change *change, yyjson_mut_val *account, yyjson_mut_val *body)
{
    yyjson_mut_val *sources = yyjson_mut_obj_get(account, "sources");
    struct str name = text_at(body, "name");
    if (find_source(sources, name))
        return refuse(change, ERR_REFUSED, "The account has a source of that name already.");
    change->made = arena_str(change->arena, name);
    yyjson_mut_arr_append(sources, body);
    return ERR_OK;
}

static int change_source(struct writer *writer, struct admin_change *change, yyjson_mut_val *account,
                         yyjson_mut_val *body)
{
    yyjson_mut_val *sources = yyjson_mut_obj_get(account, "sources");
    yyjson_mut_val *source = find_source(sources, change->source), *list = yyjson_mut_arr(writer->doc), *each;
    struct str name = text_at(body, "name");
    size_t i, max;
    if (!source)
        return refuse(change, ERR_NOT_FOUND, "The account has no source of that name.");
    if (change->kind == CHANGE_SOURCE_REMOVE && yyjson_mut_arr_size(sources) == 1)
        return refuse(
            change, ERR_REFUSED,
            "It is the account's only source, and an account needs one; add another one first, deactivate the "
            "account, or remove it.");
    if (name.p && !str_eq(name, change->source))
        return refuse(change, ERR_INVALID, "sources.name: cannot be changed: messages belong to it; add a new source");
    yyjson_mut_arr_foreach(sources, i, max, each)
    {
        yyjson_mut_val *copy = yyjson_mut_val_mut_copy(writer->doc, each);
        if (each != source)
            yyjson_mut_arr_append(list, copy);
        else if (change->kind == CHANGE_SOURCE)
            yyjson_mut_arr_append(list, merge_part(writer, copy, body));
    }
    replace(writer, account, "sources", list);
    return ERR_OK;
}

// The whole definition as it shall be.
static int merge(struct writer *writer, struct admin_change *change, yyjson_mut_val *account, yyjson_mut_val *body,
                 yyjson_mut_val **out)
{
    *out = account;
    switch (change->kind) {
    case CHANGE_ACCOUNT_ADD:
        *out = body;
        return ERR_OK;
    case CHANGE_ACCOUNT:
        *out = merge_account(writer, account, body);
        return ERR_OK;
    case CHANGE_SOURCE_ADD:
        return add_source(change, account, body);
    case CHANGE_SOURCE:
    case CHANGE_SOURCE_REMOVE:
        return change_source(writer, change, account, body);
    case CHANGE_DESK_SET:
        replace(writer, account, "desk", body);
        return ERR_OK;
    case CHANGE_DESK:
        replace(writer, account, "desk", merge_part(writer, yyjson_mut_obj_get(account, "desk"), body));
        return ERR_OK;
    case CHANGE_ACCOUNT_REMOVE:
        break;
    }
    must(!"a change of a definition");
    return ERR_INVALID;
}

// ---- reading ----

enum { KEYS_MAX = 1000 }; // of an object, far more than there are

// JSON says nothing of a key that stands twice; the file's reader would, of what came out of the merge, too late.
// NOLINTNEXTLINE(misc-no-recursion): as deep as a definition, which is bounded below
static bool has_twins(yyjson_val *value, int depth, struct buf *why)
{
    size_t i, max;
    yyjson_val *key, *inner;
    if (depth > 8) {
        buf_add_str(why, STR("The definition is nested too deep."));
        return true;
    }
    if (yyjson_obj_size(value) > KEYS_MAX) { // each is looked for among all
        buf_printf(why, "An object of the definition has %zu keys; no definition has more than %d.",
                   yyjson_obj_size(value), KEYS_MAX);
        return true;
    }
    yyjson_obj_foreach(value, i, max, key, inner)
    {
        if (yyjson_obj_getn(value, yyjson_get_str(key), yyjson_get_len(key)) != inner) {
            buf_printf(why, "%.*s: stands there twice; keep one of them",
                       (int)(yyjson_get_len(key) < 60 ? yyjson_get_len(key) : 60), yyjson_get_str(key));
            return true;
        }
        if (has_twins(inner, depth + 1, why))
            return true;
    }
    if (!yyjson_is_arr(value))
        return false;
    yyjson_arr_foreach(value, i, max, inner)
    {
        if (has_twins(inner, depth + 1, why))
            return true;
    }
    return false;
}

// The file's reader takes 5 for a name; here a name is found by what it says, so it is text or it is not there.
static bool name_is_text(yyjson_val *object, const char *key, struct buf *why)
{
    yyjson_val *name = yyjson_obj_get(object, "name");
    bool good = !name || yyjson_is_null(name) || yyjson_is_str(name);
    if (!good)
        buf_printf(why, "%s: is no text; write it in quotes", key);
    return good;
}

static bool names_are_text(const struct admin_change *change, yyjson_val *root, struct buf *why)
{
    size_t i, max;
    yyjson_val *source;
    bool of_source = change->kind == CHANGE_SOURCE_ADD || change->kind == CHANGE_SOURCE;
    if (!name_is_text(root, of_source ? "sources.name" : "name", why))
        return false;
    yyjson_arr_foreach(yyjson_obj_get(root, "sources"), i, max, source)
    {
        if (!name_is_text(source, "sources.name", why))
            return false;
    }
    return true;
}

static int read_body(struct writer *writer, struct admin_change *change, yyjson_mut_val **out)
{
    yyjson_doc *doc = json_read(change->body.n ? change->body : STR("{}"));
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool good = yyjson_is_obj(root);
    if (!good)
        buf_add_str(change->why, STR("The body is no JSON object."));
    else if (has_twins(root, 0, change->why) || !names_are_text(change, root, change->why))
        good = false;
    else
        *out = yyjson_val_mut_copy(writer->doc, root);
    yyjson_doc_free(doc);
    return good ? ERR_OK : ERR_INVALID;
}

// What is null is absent, as in a patch.
// NOLINTNEXTLINE(misc-no-recursion): has_twins bounds the depth
static void drop_nulls(yyjson_mut_val *value)
{
    yyjson_mut_obj_iter members;
    yyjson_mut_arr_iter items;
    yyjson_mut_val *key, *item;
    if (yyjson_mut_is_obj(value)) {
        yyjson_mut_obj_iter_init(value, &members);
        while ((key = yyjson_mut_obj_iter_next(&members))) {
            if (yyjson_mut_is_null(yyjson_mut_obj_iter_get_val(key)))
                yyjson_mut_obj_iter_remove(&members);
            else
                drop_nulls(yyjson_mut_obj_iter_get_val(key));
        }
    } else if (yyjson_mut_is_arr(value)) {
        yyjson_mut_arr_iter_init(value, &items);
        while ((item = yyjson_mut_arr_iter_next(&items)))
            drop_nulls(item);
    }
}

static int read_merged(struct admin_change *change, yyjson_mut_val *whole, struct account **out)
{
    size_t n = 0;
    drop_nulls(whole);
    char *text = yyjson_mut_val_write(whole, 0, &n);
    if (!text)
        return refuse(change, ERR_INVALID, "holds text that is no UTF-8");
    int err = config_account_read((struct str){text, n}, out, change->why);
    free(text);
    return err;
}

static int finish(struct admin_change *change, const struct account *before, struct account *account)
{
    if (!before) {
        change->made = arena_str(change->arena, account->name);
        return ERR_OK;
    }
    if (!str_eq(account->name, before->name))
        return refuse(change, ERR_INVALID, "name: cannot be changed: messages belong to it; add a new account");
    accounts_keep_learned(account, before);
    return ERR_OK;
}

static int make(struct writer *writer, struct admin_change *change, const struct account *before, struct account **out,
                bool *out_active)
{
    struct account *account = NULL;
    yyjson_mut_val *body = NULL, *whole = NULL;
    int err = read_body(writer, change, &body);
    if (err)
        return err;
    *out_active = !before || (change->kind == CHANGE_ACCOUNT && yyjson_mut_obj_get(body, "active"));
    err = merge(writer, change, before ? account_json(writer, before) : NULL, body, &whole);
    if (!err)
        err = read_merged(change, whole, &account);
    if (!err)
        err = finish(change, before, account);
    if (err)
        account_unref(account);
    else
        *out = account;
    return err;
}

int account_change_make(struct admin_change *change, const struct account *before, struct account **out,
                        bool *out_active)
{
    struct writer writer = {.doc = yyjson_mut_doc_new(NULL)};
    must(writer.doc);
    int err = make(&writer, change, before, out, out_active);
    yyjson_mut_doc_free(writer.doc);
    arena_done(&writer.arena);
    return err;
}
