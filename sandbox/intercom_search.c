// Searches: a filter, or filters joined by AND and OR, as the description has them (at most two levels, 15 in a group).
#include "sandbox/intercom.h"

#include <string.h>
#include <utlist.h>

enum { MAX_DEPTH = 3, MAX_GROUP = 15 };

static bool contains(struct str text, struct str part)
{
    return part.n == 0 || (text.n >= part.n && memmem(text.p, text.n, part.p, part.n) != NULL);
}

static int compare(const struct search_value *have, yyjson_val *want)
{
    int64_t number = 0;
    if (have->is_number) {
        if (yyjson_is_int(want))
            number = yyjson_get_sint(want);
        else if (!str_to_i64(json_val_str(want), &number))
            return -2;
        return (have->number > number) - (have->number < number);
    }
    if (!yyjson_is_str(want))
        return -2;
    int order = str_cmp(have->text, json_val_str(want));
    return (order > 0) - (order < 0);
}

static bool is_equal(const struct search_value *have, yyjson_val *want)
{
    if (yyjson_is_null(want))
        return have->is_null;
    if (have->is_null)
        return false;
    if (yyjson_is_bool(want))
        return str_eq_c(have->text, yyjson_get_bool(want) ? "true" : "false");
    return compare(have, want) == 0;
}

static bool in_list(const struct search_value *have, yyjson_val *list)
{
    size_t i, n;
    yyjson_val *want;
    yyjson_arr_foreach(list, i, n, want)
    {
        if (is_equal(have, want))
            return true;
    }
    return false;
}

static bool holds(const struct search_value *have, struct str operator, yyjson_val * want, const char **bad)
{
    struct str text = json_val_str(want);
    int order = have->is_null || yyjson_is_null(want) ? -2 : compare(have, want);
    if (str_eq_c(operator, "="))
        return is_equal(have, want);
    if (str_eq_c(operator, "!="))
        return !is_equal(have, want);
    if (str_eq_c(operator, "IN"))
        return in_list(have, want);
    if (str_eq_c(operator, "NIN"))
        return !in_list(have, want);
    if (str_eq_c(operator, ">") || str_eq_c(operator, ">="))
        return order == 1 || (order == 0 && operator.n == 2);
    if (str_eq_c(operator, "<") || str_eq_c(operator, "<="))
        return order == -1 || (order == 0 && operator.n == 2);
    if (str_eq_c(operator, "~"))
        return contains(have->text, text);
    if (str_eq_c(operator, "!~"))
        return !contains(have->text, text);
    if (str_eq_c(operator, "^"))
        return str_starts(have->text, text);
    if (str_eq_c(operator, "$"))
        return str_ends(have->text, text);
    *bad = "operator is not known";
    return false;
}

static bool group_matches(const struct searchable *searchable, yyjson_val *query, int depth, const char **bad);

static bool matches(const struct searchable *searchable, yyjson_val *query, int depth, const char **bad)
{
    struct str field = json_get_str(query, "field");
    struct str operator= json_get_str(query, "operator");
    yyjson_val *want = yyjson_obj_get(query, "value");
    struct search_value have = {0};
    if (depth > MAX_DEPTH)
        *bad = "filters are nested too deeply";
    else if (!yyjson_is_obj(query) || !operator.p || !want)
        *bad = "a filter needs an operator and a value";
    else if (str_eq_c(operator, "AND") || str_eq_c(operator, "OR"))
        return group_matches(searchable, query, depth, bad);
    else if (!field.p || !searchable->get(searchable->thing, field, &have))
        *bad = "field is not one that can be searched";
    else
        return holds(&have, operator, want, bad);
    return false;
}

// Every filter is looked at, so that a mistake is found whatever the values are.
static bool group_matches(const struct searchable *searchable, yyjson_val *query, int depth, const char **bad)
{
    yyjson_val *list = yyjson_obj_get(query, "value"), *each;
    bool all = true, any = false;
    size_t i, n;
    if (!yyjson_is_arr(list) || yyjson_arr_size(list) == 0 || yyjson_arr_size(list) > MAX_GROUP) {
        *bad = "a group holds 1 to 15 filters";
        return false;
    }
    yyjson_arr_foreach(list, i, n, each)
    {
        bool fits = matches(searchable, each, depth + 1, bad);
        all &= fits;
        any |= fits;
    }
    return str_eq_c(json_get_str(query, "operator"), "AND") ? all : any;
}

bool intercom_matches(const struct searchable *searchable, yyjson_val *query, const char **bad)
{
    return matches(searchable, query, 1, bad) && !*bad;
}

static bool put_text(struct search_value *out, struct str text)
{
    *out = (struct search_value){.text = text, .is_null = !text.p};
    return true;
}

static bool put_number(struct search_value *out, int64_t number)
{
    *out = (struct search_value){.number = number, .is_number = true, .is_null = number == 0};
    return true;
}

bool intercom_contact_value(const void *thing, struct str field, struct search_value *out)
{
    static const struct intercom_contact nobody;
    const struct intercom_contact *contact = thing ? thing : &nobody;
    if (str_eq_c(field, "id"))
        return put_text(out, str_of(contact->id));
    if (str_eq_c(field, "external_id"))
        return put_text(out, contact->external_id);
    if (str_eq_c(field, "role"))
        return put_text(out, contact->role);
    if (str_eq_c(field, "name"))
        return put_text(out, contact->name);
    if (str_eq_c(field, "email"))
        return put_text(out, contact->email);
    if (str_eq_c(field, "phone"))
        return put_text(out, contact->phone);
    if (str_eq_c(field, "created_at"))
        return put_number(out, contact->created_at);
    if (str_eq_c(field, "updated_at"))
        return put_number(out, contact->updated_at);
    if (str_eq_c(field, "last_replied_at"))
        return put_number(out, contact->last_replied_at);
    return false;
}

bool intercom_conversation_value(const void *thing, struct str field, struct search_value *out)
{
    static const struct intercom_contact nobody = {.id = ""};
    static const struct intercom_conversation nothing = {.contact = (struct intercom_contact *)(uintptr_t)&nobody,
                                                         .state = ""};
    const struct intercom_conversation *conversation = thing ? thing : &nothing;
    if (str_eq_c(field, "id"))
        return put_number(out, conversation->id);
    if (str_eq_c(field, "created_at"))
        return put_number(out, conversation->created_at);
    if (str_eq_c(field, "updated_at"))
        return put_number(out, conversation->updated_at);
    if (str_eq_c(field, "contact_ids"))
        return put_text(out, str_of(conversation->contact->id));
    if (str_eq_c(field, "source.author.id")) // of an agent: no search of ours asks for one
        return put_text(out, conversation->by_admin ? STR_NONE : str_of(conversation->contact->id));
    if (str_eq_c(field, "source.author.type"))
        return put_text(out, conversation->by_admin ? STR("admin") : conversation->contact->role);
    if (str_eq_c(field, "source.delivered_as"))
        return put_text(out, conversation->by_admin ? STR("admin_initiated") : STR("customer_initiated"));
    if (str_eq_c(field, "source.author.name"))
        return put_text(out, conversation->by_admin ? STR_NONE : conversation->contact->name);
    if (str_eq_c(field, "source.body"))
        return put_text(out, conversation->body);
    if (str_eq_c(field, "source.id"))
        return put_number(out, conversation->message_id);
    if (str_eq_c(field, "state"))
        return put_text(out, str_of(conversation->state));
    if (str_eq_c(field, "title"))
        return put_text(out, conversation->title);
    if (str_eq_c(field, "open"))
        return put_text(out, strcmp(conversation->state, "closed") ? STR("true") : STR("false"));
    if (str_eq_c(field, "read"))
        return put_text(out, conversation->read ? STR("true") : STR("false"));
    if (str_eq_c(field, "waiting_since"))
        return put_number(out, conversation->waiting_since);
    return false;
}
