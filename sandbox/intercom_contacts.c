// Contacts: found, made, changed, archived, merged, searched.
#include "sandbox/intercom.h"

#include "base/clock.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <utlist.h>

enum { PAGE = 50, PAGE_MAX = 150 };

static const struct field contact_fields[] = {
    {"role", FIELD_TEXT, false, false},
    {"external_id", FIELD_TEXT, false, false},
    {"email", FIELD_TEXT, false, false},
    {"phone", FIELD_TEXT, false, true},
    {"name", FIELD_TEXT, false, true},
    {"avatar", FIELD_TEXT, false, true},
    {"language_override", FIELD_TEXT, false, true},
    {"signed_up_at", FIELD_INT, false, true},
    {"last_seen_at", FIELD_INT, false, true},
    {"owner_id", FIELD_TEXT, false, true},
    {"email_verified", FIELD_BOOL, false, true},
    {"custom_attributes", FIELD_OBJECT, false, true},
    {"unsubscribed_from_emails", FIELD_BOOL, false, true},
};
enum { CONTACT_FIELDS = sizeof(contact_fields) / sizeof(*contact_fields) };

static bool wants_history(struct call *call)
{
    return str_eq_c(call_query(call, "include_merge_history"), "true");
}

static void answer_contact(struct intercom *intercom, struct call *call, const struct intercom_contact *contact)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    intercom_write_contact(&json, intercom, contact, wants_history(call));
    intercom_send(call, &text);
}

static void answer_not_found(struct call *call)
{
    intercom_error(call, 404, "not_found", "User Not Found", NULL);
}

// Before 2.16 a contact that was merged away is simply not there.
static void answer_merged(struct call *call, struct intercom_contact *contact)
{
    if (intercom_version(call) < 16) {
        answer_not_found(call);
        return;
    }
    call_header(call, "Link",
                arena_printf(call->arena, "</contacts/%s>; rel=\"canonical\"", intercom_contact_final(contact)->id));
    intercom_error(call, 410, "contact_merged",
                   "This contact has been merged. See the 'Link' header for the canonical contact.", NULL);
}

// The contact of the path, or NULL after an answer.
static struct intercom_contact *path_contact(struct intercom *intercom, struct call *call)
{
    struct intercom_contact *contact = intercom_contact(intercom, call_segment(call, 1));
    if (contact && !contact->merged_into)
        return contact;
    if (contact)
        answer_merged(call, contact);
    else
        answer_not_found(call);
    return NULL;
}

static void get_contact(struct intercom *intercom, struct call *call)
{
    struct intercom_contact *contact = path_contact(intercom, call);
    if (contact)
        answer_contact(intercom, call, contact);
}

static void find_by_external_id(struct intercom *intercom, struct call *call)
{
    struct intercom_contact *contact = intercom_contact_by_external(intercom, call_segment(call, 2));
    if (!contact || contact->archived || intercom_version(call) < 13)
        answer_not_found(call);
    else if (contact->merged_into)
        answer_merged(call, contact);
    else
        answer_contact(intercom, call, contact);
}

// ---- making and changing ----

static bool attribute_known(const struct intercom *intercom, yyjson_val *key)
{
    for (const struct intercom_tag *each = intercom->attributes; each; each = each->next)
        if (str_eq(json_val_str(key), each->name))
            return true;
    return false;
}

static bool attributes_known(struct intercom *intercom, struct call *call)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(yyjson_obj_get(call->body, "custom_attributes"), i, n, key, value)
    {
        if (attribute_known(intercom, key))
            continue;
        intercom_error(
            call, 400, "parameter_invalid",
            arena_printf(call->arena, "Custom attribute '%.*s' does not exist", STR_ARG(json_val_str(key))).p,
            "custom_attributes");
        return false;
    }
    return true;
}

static const char *bad_role(struct str role)
{
    return !role.p || str_eq_c(role, "user") || str_eq_c(role, "lead") ? NULL : "role must be user or lead";
}

// The contact that already has one of these details, other than `self`.
static struct intercom_contact *same_details(struct intercom *intercom, struct call *call,
                                             const struct intercom_contact *self)
{
    struct str email = json_get_str(call->body, "email");
    struct intercom_contact *other = intercom_contact_by_external(intercom, json_get_str(call->body, "external_id"));
    if (other && other != self && !other->merged_into)
        return other;
    if (email.n == 0)
        return NULL;
    for (other = intercom->contacts; other; other = other->hh.next)
        if (other != self && !other->merged_into && str_ieq(other->email, email) && str_eq_c(other->role, "user"))
            return other;
    return NULL;
}

static bool no_conflict(struct intercom *intercom, struct call *call, const struct intercom_contact *self)
{
    struct intercom_contact *other = same_details(intercom, call, self);
    if (!other)
        return true;
    intercom_error(call, 409, "conflict",
                   arena_printf(call->arena, "%s contact matching those details already exists with id=%s",
                                other->archived ? "An archived" : "A", other->id)
                       .p,
                   NULL);
    return false;
}

static void take_text(yyjson_val *body, const char *key, struct str *field)
{
    yyjson_val *value = yyjson_obj_get(body, key);
    if (value)
        own_again(field, json_val_str(value));
}

// Those that are given change; the others stay.
static void take_attributes(yyjson_val *body, struct str *field)
{
    yyjson_val *value = yyjson_obj_get(body, "custom_attributes"), *key, *each;
    if (!yyjson_is_obj(value))
        return;
    yyjson_doc *before = json_read(field->p ? *field : STR("{}"));
    yyjson_mut_doc *doc = yyjson_doc_mut_copy(before, NULL);
    yyjson_mut_val *all = yyjson_mut_doc_get_root(doc);
    size_t i, count, n = 0;
    yyjson_obj_foreach(value, i, count, key, each)
        yyjson_mut_obj_put(all, yyjson_val_mut_copy(doc, key), yyjson_val_mut_copy(doc, each));
    char *text = yyjson_mut_write(doc, 0, &n);
    own_again(field, (struct str){text, n});
    free(text);
    yyjson_mut_doc_free(doc);
    yyjson_doc_free(before);
}

static void take_details(struct intercom *intercom, yyjson_val *body, struct intercom_contact *contact)
{
    if (yyjson_obj_get(body, "external_id"))
        intercom_contact_set_external(intercom, contact, json_get_str(body, "external_id"));
    take_text(body, "role", &contact->role);
    take_text(body, "name", &contact->name);
    take_text(body, "email", &contact->email);
    take_text(body, "phone", &contact->phone);
    take_text(body, "avatar", &contact->avatar);
    take_text(body, "language_override", &contact->language);
    take_attributes(body, &contact->attributes);
    if (!contact->role.p)
        contact->role = own(contact->external_id.p || contact->email.p ? STR("user") : STR("lead"));
    contact->updated_at = intercom_now();
}

static bool good_details(struct intercom *intercom, struct call *call, const struct intercom_contact *self)
{
    const char *why = NULL;
    if (!intercom_check(call, call->body, contact_fields, CONTACT_FIELDS))
        return false;
    why = bad_role(json_get_str(call->body, "role"));
    if (!self && !json_get_str(call->body, "email").p && !json_get_str(call->body, "external_id").p &&
        !json_get_str(call->body, "role").p)
        why = "one of email, external_id and role is required";
    if (why) {
        intercom_error(call, 400, "parameter_invalid", why, NULL);
        return false;
    }
    return attributes_known(intercom, call) && no_conflict(intercom, call, self);
}

static void create_contact(struct intercom *intercom, struct call *call)
{
    if (!good_details(intercom, call, NULL))
        return;
    struct intercom_contact *contact = intercom_contact_add(intercom);
    take_details(intercom, call->body, contact);
    intercom_note(intercom, "contact", NULL, contact, 0, contact->name, STR_NONE, contact->created_at, "api");
    answer_contact(intercom, call, contact);
}

static void update_contact(struct intercom *intercom, struct call *call)
{
    struct intercom_contact *contact = path_contact(intercom, call);
    if (!contact || !good_details(intercom, call, contact))
        return;
    take_details(intercom, call->body, contact);
    intercom_note(intercom, "contact_changed", NULL, contact, 0, contact->name, STR_NONE, contact->updated_at, "api");
    live_changed(intercom->door->live);
    answer_contact(intercom, call, contact);
}

// ---- archived, deleted, merged ----

static void answer_reference(struct call *call, const struct intercom_contact *contact, const char *key, bool value)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("contact"));
    json_key_str(&json, "id", str_of(contact->id));
    json_key_str(&json, "external_id", contact->external_id);
    json_key_bool(&json, key, value);
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void set_archived(struct intercom *intercom, struct call *call, bool archived)
{
    struct intercom_contact *contact = path_contact(intercom, call);
    if (!contact)
        return;
    contact->archived = archived;
    answer_reference(call, contact, "archived", archived);
}

static void archive_contact(struct intercom *intercom, struct call *call)
{
    set_archived(intercom, call, true);
}

static void unarchive_contact(struct intercom *intercom, struct call *call)
{
    set_archived(intercom, call, false);
}

static void delete_contact(struct intercom *intercom, struct call *call)
{
    struct intercom_contact *contact = path_contact(intercom, call);
    if (!contact)
        return;
    struct intercom_contact gone = *contact;
    gone.external_id = arena_str(call->arena, contact->external_id);
    intercom_contact_delete(intercom, contact);
    answer_reference(call, &gone, "deleted", true);
}

static void move_conversations(struct intercom *intercom, const struct intercom_contact *from,
                               struct intercom_contact *into)
{
    struct intercom_conversation *conversation = NULL;
    DL_FOREACH(intercom->conversations, conversation)
    {
        if (conversation->contact != from)
            continue;
        conversation->contact = into;
        for (struct intercom_part *part = conversation->parts; part; part = part->next)
            if (part->contact == from)
                part->contact = into;
    }
    live_changed(intercom->door->live);
}

static bool are_duplicates(const struct intercom_contact *a, const struct intercom_contact *b)
{
    return (a->email.n > 0 && str_ieq(a->email, b->email)) || (a->phone.n > 0 && str_eq(a->phone, b->phone));
}

static void merge_contacts(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"from", FIELD_TEXT, true, false},
                                          {"into", FIELD_TEXT, true, false},
                                          {"skip_duplicate_validation", FIELD_BOOL, false, false}};
    if (!intercom_check(call, call->body, fields, sizeof(fields) / sizeof(*fields)))
        return;
    struct intercom_contact *from = intercom_contact(intercom, json_get_str(call->body, "from"));
    struct intercom_contact *into = intercom_contact(intercom, json_get_str(call->body, "into"));
    bool skip = yyjson_get_bool(yyjson_obj_get(call->body, "skip_duplicate_validation"));
    if (!from || !into || from->merged_into || into->merged_into) {
        answer_not_found(call);
    } else if (from == into || (!skip && !are_duplicates(from, into))) {
        intercom_error(call, 400, "invalid_merge",
                       "Contacts can only be merged when they are duplicates (matching email or phone). "
                       "Pass skip_duplicate_validation=true to override this check.",
                       NULL);
    } else {
        from->merged_into = into;
        from->merged_at = intercom_now();
        move_conversations(intercom, from, into);
        answer_contact(intercom, call, into);
    }
}

// ---- lists ----

struct page {
    int64_t per_page, skip;
};

static struct page asked_page(yyjson_val *pagination)
{
    struct page page = {PAGE, 0};
    int64_t n = 0;
    if (json_get_int(pagination, "per_page", &n) && n >= 1)
        page.per_page = n < PAGE_MAX ? n : PAGE_MAX;
    str_to_i64(json_get_str(pagination, "starting_after"), &page.skip);
    return page;
}

static bool found(const struct intercom *intercom, const struct intercom_contact *contact, yyjson_val *query)
{
    const char *bad = NULL;
    int64_t age_us = clock_wall_us(&clock_system) - contact->made_us;
    return !contact->merged_into && !contact->archived && age_us >= intercom->options.search_lag_ms * 1000 &&
           (!query || intercom_matches(&(struct searchable){contact, intercom_contact_value}, query, &bad));
}

static void answer_list(struct intercom *intercom, struct call *call, yyjson_val *query, struct page page)
{
    struct buf text;
    struct json json;
    int64_t total = 0;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("list"));
    json_key(&json, "data");
    json_open(&json, '[');
    for (const struct intercom_contact *contact = intercom->contacts; contact; contact = contact->hh.next) {
        if (!found(intercom, contact, query))
            continue;
        if (total >= page.skip && total < page.skip + page.per_page)
            intercom_write_contact(&json, intercom, contact, wants_history(call));
        total++;
    }
    json_close(&json, ']');
    json_key_int(&json, "total_count", total);
    json_key(&json, "pages");
    json_open(&json, '{');
    json_key_str(&json, "type", STR("pages"));
    json_key_int(&json, "page", page.skip / page.per_page + 1);
    json_key_int(&json, "per_page", page.per_page);
    json_key_int(&json, "total_pages", (total + page.per_page - 1) / page.per_page);
    if (page.skip + page.per_page < total) {
        json_key(&json, "next");
        json_open(&json, '{');
        json_key_int(&json, "per_page", page.per_page);
        json_key_id(&json, "starting_after", page.skip + page.per_page);
        json_close(&json, '}');
    }
    json_close(&json, '}');
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void list_contacts(struct intercom *intercom, struct call *call)
{
    answer_list(intercom, call, NULL, (struct page){PAGE, 0});
}

static void search_contacts(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"query", FIELD_OBJECT, true, false},
                                          {"pagination", FIELD_OBJECT, false, true}};
    const char *bad = NULL;
    if (!intercom_check(call, call->body, fields, 2))
        return;
    yyjson_val *query = yyjson_obj_get(call->body, "query");
    struct str order = json_get_str(yyjson_obj_get(call->body, "sort"), "order");
    intercom_matches(&(struct searchable){NULL, intercom_contact_value}, query, &bad);
    if (order.p && !str_eq_c(order, "ascending") && !str_eq_c(order, "descending"))
        intercom_error(call, 400, "invalid_sort_order", "Invalid sort order. Must be one of: ascending, descending",
                       NULL);
    else if (bad)
        intercom_error(call, 400, "parameter_invalid", bad, "query");
    else
        answer_list(intercom, call, query, asked_page(yyjson_obj_get(call->body, "pagination")));
}

const struct route intercom_contact_routes[] = {
    {"POST", "contacts", create_contact},
    {"GET", "contacts", list_contacts},
    {"POST", "contacts/merge", merge_contacts},
    {"POST", "contacts/search", search_contacts},
    {"GET", "contacts/find_by_external_id/*", find_by_external_id},
    {"GET", "contacts/*", get_contact},
    {"PUT", "contacts/*", update_contact},
    {"DELETE", "contacts/*", delete_contact},
    {"POST", "contacts/*/archive", archive_contact},
    {"POST", "contacts/*/unarchive", unarchive_contact},
    {NULL, NULL, NULL},
};
