// Conversations: begun by a contact, answered, closed, searched, deleted.
#include "sandbox/intercom.h"

#include "base/clock.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { PAGE = 20, PAGE_MAX = 150 };

static bool wants_plain(struct call *call)
{
    return str_eq_c(call_query(call, "display_as"), "plaintext");
}

static void answer_conversation(struct intercom *intercom, struct call *call,
                                const struct intercom_conversation *conversation, enum intercom_parts parts)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    intercom_write_conversation(&json, intercom, conversation, parts, wants_plain(call));
    intercom_send(call, &text);
}

static void answer_not_found(struct call *call)
{
    intercom_error(call, 404, "not_found", "Resource Not Found", NULL);
}

// The conversation of the path, or NULL after an answer.
static struct intercom_conversation *path_conversation(struct intercom *intercom, struct call *call)
{
    int64_t id = 0;
    struct intercom_conversation *conversation = NULL;
    if (str_to_i64(call_segment(call, 1), &id))
        conversation = intercom_conversation(intercom, id);
    if (!conversation)
        answer_not_found(call);
    return conversation;
}

// ---- begun by a contact ----

static bool check_from(struct call *call)
{
    static const struct field fields[] = {{"type", FIELD_TEXT, true, false}, {"id", FIELD_TEXT, true, false}};
    yyjson_val *from = yyjson_obj_get(call->body, "from");
    if (!intercom_check(call, from, fields, 2))
        return false;
    struct str type = json_get_str(from, "type");
    if (!str_eq_c(type, "user") && !str_eq_c(type, "lead") && !str_eq_c(type, "contact")) {
        intercom_error(call, 400, "parameter_invalid", "from type must be user, lead or contact", "from");
        return false;
    }
    if (json_get_str(from, "id").n != INTERCOM_ID) {
        intercom_error(call, 400, "parameter_invalid", "from id must be 24 characters long", "from");
        return false;
    }
    return true;
}

// The contact, if it can be written for now.
static struct intercom_contact *able_contact(struct intercom *intercom, struct intercom_contact *contact)
{
    if (!contact || contact->merged_into || contact->archived)
        return NULL;
    int64_t age_us = clock_wall_us(&clock_system) - contact->made_us;
    return age_us >= intercom->options.contact_ready_ms * 1000 ? contact : NULL;
}

static void answer_message(struct call *call, const struct intercom_conversation *conversation)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("user_message"));
    json_key_id(&json, "id", conversation->message_id);
    json_key_int(&json, "created_at", conversation->created_at);
    json_key_str(&json, "body", conversation->body);
    json_key_str(&json, "message_type", STR("inapp"));
    json_key_id(&json, "conversation_id", conversation->id);
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void create_conversation(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {
        {"from", FIELD_OBJECT, true, false},           {"body", FIELD_TEXT, true, false},
        {"subject", FIELD_TEXT, false, false},         {"created_at", FIELD_INT, false, false},
        {"attachment_urls", FIELD_URLS, false, false}, {"brand_id", FIELD_TEXT, false, false}};
    if (!intercom_check(call, call->body, fields, sizeof(fields) / sizeof(*fields)) || !check_from(call))
        return;
    struct str body = json_get_str(call->body, "body");
    struct str id = json_get_str(yyjson_obj_get(call->body, "from"), "id");
    struct intercom_contact *contact = able_contact(intercom, intercom_contact(intercom, id));
    struct intercom_part first = {.body = body, .contact = contact};
    json_get_int(call->body, "created_at", &first.created_at);
    if (str_trim(body).n == 0)
        intercom_error(call, 400, "parameter_invalid", "body must not be empty", "body");
    else if (!contact)
        intercom_error(call, 404, "not_found", "User Not Found", NULL);
    else {
        first.attachments = intercom_attachments(call);
        answer_message(call, intercom_conversation_add(intercom, contact, &first));
    }
}

// ---- replies ----

static struct intercom_contact *contact_by_email(struct intercom *intercom, struct str email)
{
    for (struct intercom_contact *contact = intercom->contacts; contact; contact = contact->hh.next)
        if (email.n > 0 && str_ieq(contact->email, email) && !contact->merged_into)
            return contact;
    return NULL;
}

// The contact that the body names in exactly one of three ways; NULL after an answer.
static struct intercom_contact *replying_contact(struct intercom *intercom, struct call *call)
{
    struct str id = json_get_str(call->body, "intercom_user_id"), external = json_get_str(call->body, "user_id");
    struct str email = json_get_str(call->body, "email");
    if ((id.p != NULL) + (external.p != NULL) + (email.p != NULL) != 1) {
        intercom_error(call, 400, "parameter_invalid", "exactly one of intercom_user_id, user_id and email is required",
                       NULL);
        return NULL;
    }
    struct intercom_contact *contact = id.p         ? intercom_contact(intercom, id)
                                       : external.p ? intercom_contact_by_external(intercom, external)
                                                    : contact_by_email(intercom, email);
    contact = able_contact(intercom, contact);
    if (!contact)
        intercom_error(call, 404, "not_found", "User Not Found", NULL);
    return contact;
}

static struct intercom_conversation *last_of(struct intercom *intercom, const struct intercom_contact *contact)
{
    struct intercom_conversation *conversation = NULL;
    DL_FOREACH(intercom->conversations, conversation)
    if (conversation->contact == contact)
        return conversation;
    return NULL;
}

// The conversation of the path, which may be the word "last"; NULL after an answer.
static struct intercom_conversation *replied_conversation(struct intercom *intercom, struct call *call,
                                                          const struct intercom_contact *contact)
{
    if (!str_eq_c(call_segment(call, 1), "last"))
        return path_conversation(intercom, call);
    struct intercom_conversation *conversation = last_of(intercom, contact);
    if (!conversation)
        intercom_error(call, 400, "parameter_invalid", "No conversation for this user", NULL);
    return conversation;
}

static void reply_as_contact(struct intercom *intercom, struct call *call)
{
    struct intercom_contact *contact = replying_contact(intercom, call);
    if (!contact)
        return;
    struct intercom_conversation *conversation = replied_conversation(intercom, call, contact);
    if (!conversation)
        return;
    struct str body = json_get_str(call->body, "body");
    if (conversation->contact != contact) {
        answer_not_found(call);
        return;
    }
    if (str_trim(body).n == 0 && !intercom_has_attachments(call)) {
        intercom_error(call, 400, "parameter_invalid", "body must not be empty", "body");
        return;
    }
    bool reopens = strcmp(conversation->state, "open") != 0;
    struct intercom_part part = {.type = reopens ? "open" : "comment",
                                 .body = body,
                                 .contact = contact,
                                 .attachments = intercom_attachments(call),
                                 .by_api = true};
    json_get_int(call->body, "created_at", &part.created_at);
    intercom_part_add(intercom, conversation, &part);
    answer_conversation(intercom, call, conversation, PARTS_LAST);
}

static void reply_as_admin(struct intercom *intercom, struct call *call, const char *type)
{
    struct intercom_conversation *conversation = path_conversation(intercom, call);
    if (!conversation)
        return;
    struct str body = json_get_str(call->body, "body");
    int admin = intercom_admin(intercom, json_get_str(call->body, "admin_id"));
    bool quick = strcmp(type, "quick_reply") == 0;
    if (admin < 0)
        intercom_error(call, 404, "admin_not_found", "Admin not found", "admin_id");
    else if (str_trim(body).n == 0 && !intercom_has_attachments(call) && !quick)
        intercom_error(call, 400, "parameter_invalid", "body must not be empty", "body");
    else {
        struct intercom_part part = {.type = type,
                                     .body = body,
                                     .html = true,
                                     .admin = admin,
                                     .attachments = intercom_attachments(call),
                                     .by_api = true};
        json_get_int(call->body, "created_at", &part.created_at);
        intercom_part_add(intercom, conversation, &part);
        answer_conversation(intercom, call, conversation, PARTS_LAST);
    }
}

static const char *admin_part_type(struct str message_type)
{
    static const char *const types[] = {"comment", "note", "quick_reply"};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (str_eq_c(message_type, types[i]))
            return types[i];
    return NULL;
}

static void reply(struct intercom *intercom, struct call *call)
{
    static const struct field common[] = {{"message_type", FIELD_TEXT, true, false},
                                          {"type", FIELD_TEXT, true, false},
                                          {"body", FIELD_TEXT, false, false},
                                          {"created_at", FIELD_INT, false, false},
                                          {"attachment_urls", FIELD_URLS, false, false},
                                          {"attachment_files", FIELD_FILES, false, false},
                                          {"intercom_user_id", FIELD_TEXT, false, false},
                                          {"user_id", FIELD_TEXT, false, false},
                                          {"email", FIELD_TEXT, false, false},
                                          {"skip_notifications", FIELD_BOOL, false, false}};
    static const struct field of_contact[] = {{"body", FIELD_TEXT, true, false}};
    static const struct field of_admin[] = {{"admin_id", FIELD_TEXT, true, false}};
    if (!intercom_check(call, call->body, common, sizeof(common) / sizeof(*common)))
        return;
    struct str type = json_get_str(call->body, "type"), message_type = json_get_str(call->body, "message_type");
    const char *admin_type = admin_part_type(message_type);
    if (str_eq_c(type, "user") && str_eq_c(message_type, "comment")) {
        if (intercom_check(call, call->body, of_contact, 1))
            reply_as_contact(intercom, call);
    } else if (str_eq_c(type, "admin") && admin_type) {
        if (intercom_check(call, call->body, of_admin, 1))
            reply_as_admin(intercom, call, admin_type);
    } else {
        intercom_error(call, 400, "parameter_invalid", "type must be user or admin, message_type one that fits it",
                       "message_type");
    }
}

// ---- closed, opened, snoozed, assigned ----

static const char *managed_type(struct str message_type)
{
    static const char *const types[] = {"close", "open", "snoozed", "assignment"};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
        if (str_eq_c(message_type, types[i]))
            return types[i];
    return NULL;
}

static void manage(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"message_type", FIELD_TEXT, true, false},
                                          {"admin_id", FIELD_TEXT, true, false},
                                          {"body", FIELD_TEXT, false, false},
                                          {"snoozed_until", FIELD_INT, false, false}};
    struct intercom_conversation *conversation = path_conversation(intercom, call);
    if (!conversation || !intercom_check(call, call->body, fields, sizeof(fields) / sizeof(*fields)))
        return;
    struct str what = json_get_str(call->body, "message_type");
    struct intercom_part part = {.body = json_get_str(call->body, "body"), .html = true, .by_api = true};
    part.admin = intercom_admin(intercom, json_get_str(call->body, "admin_id"));
    if (part.admin < 0) {
        intercom_error(call, 404, "admin_not_found", "Admin not found", "admin_id");
        return;
    }
    if (!(part.type = managed_type(what))) {
        intercom_error(call, 400, "parameter_invalid", "message_type must be close, open, snoozed or assignment",
                       "message_type");
        return;
    }
    if (str_eq_c(what, "snoozed"))
        json_get_int(call->body, "snoozed_until", &conversation->snoozed_until);
    if (str_eq_c(what, "assignment") && str_to_i64(json_get_str(call->body, "assignee_id"), &part.assigned_to))
        conversation->admin_assignee = part.assigned_to;
    intercom_part_add(intercom, conversation, &part);
    answer_conversation(intercom, call, conversation, PARTS_ALL);
}

// ---- one conversation ----

static void get_conversation(struct intercom *intercom, struct call *call)
{
    struct intercom_conversation *conversation = path_conversation(intercom, call);
    if (conversation)
        answer_conversation(intercom, call, conversation, PARTS_ALL);
}

static void update_conversation(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"read", FIELD_BOOL, false, false},
                                          {"title", FIELD_TEXT, false, false},
                                          {"custom_attributes", FIELD_OBJECT, false, false},
                                          {"company_id", FIELD_TEXT, false, false}};
    struct intercom_conversation *conversation = path_conversation(intercom, call);
    if (!conversation || !intercom_check(call, call->body, fields, sizeof(fields) / sizeof(*fields)))
        return;
    yyjson_val *read = yyjson_obj_get(call->body, "read");
    yyjson_val *attributes = yyjson_obj_get(call->body, "custom_attributes");
    if (read)
        conversation->read = yyjson_get_bool(read);
    if (json_get_str(call->body, "title").p)
        own_again(&conversation->title, json_get_str(call->body, "title"));
    if (attributes) {
        size_t n = 0;
        char *text = yyjson_val_write(attributes, 0, &n);
        own_again(&conversation->attributes, (struct str){text, n});
        free(text);
    }
    conversation->updated_at = intercom_now();
    live_changed(intercom->door->live);
    answer_conversation(intercom, call, conversation, PARTS_ALL);
}

static void delete_conversation(struct intercom *intercom, struct call *call)
{
    struct intercom_conversation *conversation = path_conversation(intercom, call);
    if (!conversation)
        return;
    int64_t id = conversation->id;
    intercom_conversation_delete(intercom, conversation, str_eq_c(call_query(call, "retain_metrics"), "true"));
    call_answer(call, 200,
                arena_printf(call->arena, "{\"id\":\"%" PRId64 "\",\"object\":\"conversation\",\"deleted\":true}", id));
}

// ---- lists ----

struct page {
    int64_t per_page, skip;
};

static bool found(const struct intercom *intercom, const struct intercom_conversation *conversation, yyjson_val *query)
{
    const char *bad = NULL;
    int64_t age_us = clock_wall_us(&clock_system) - conversation->made_us;
    return !query || (age_us >= intercom->options.search_lag_ms * 1000 &&
                      intercom_matches(&(struct searchable){conversation, intercom_conversation_value}, query, &bad));
}

static void write_pages(struct json *json, struct page page, int64_t total)
{
    json_key(json, "pages");
    json_open(json, '{');
    json_key_str(json, "type", STR("pages"));
    json_key_int(json, "page", page.skip / page.per_page + 1);
    json_key_int(json, "per_page", page.per_page);
    json_key_int(json, "total_pages", (total + page.per_page - 1) / page.per_page);
    if (page.skip + page.per_page < total) {
        json_key(json, "next");
        json_open(json, '{');
        json_key_int(json, "per_page", page.per_page);
        json_key_id(json, "starting_after", page.skip + page.per_page);
        json_close(json, '}');
    }
    json_close(json, '}');
}

static void answer_list(struct intercom *intercom, struct call *call, yyjson_val *query, struct page page)
{
    struct buf text;
    struct json json;
    int64_t total = 0;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("conversation.list"));
    json_key(&json, "conversations");
    json_open(&json, '[');
    const struct intercom_conversation *conversation = NULL;
    DL_FOREACH(intercom->conversations, conversation)
    {
        if (!found(intercom, conversation, query))
            continue;
        if (total >= page.skip && total < page.skip + page.per_page)
            intercom_write_conversation(&json, intercom, conversation, PARTS_NONE, wants_plain(call));
        total++;
    }
    json_close(&json, ']');
    json_key_int(&json, "total_count", total);
    write_pages(&json, page, total);
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void list_conversations(struct intercom *intercom, struct call *call)
{
    struct page page = {call_query_int(call, "per_page", 1, PAGE_MAX, PAGE), 0};
    str_to_i64(call_query(call, "starting_after"), &page.skip);
    answer_list(intercom, call, NULL, page);
}

static void search_conversations(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"query", FIELD_OBJECT, true, false},
                                          {"pagination", FIELD_OBJECT, false, true}};
    const char *bad = NULL;
    struct page page = {PAGE, 0};
    int64_t n = 0;
    if (!intercom_check(call, call->body, fields, 2))
        return;
    yyjson_val *query = yyjson_obj_get(call->body, "query"), *pagination = yyjson_obj_get(call->body, "pagination");
    if (json_get_int(pagination, "per_page", &n) && n >= 1)
        page.per_page = n < PAGE_MAX ? n : PAGE_MAX;
    str_to_i64(json_get_str(pagination, "starting_after"), &page.skip);
    intercom_matches(&(struct searchable){NULL, intercom_conversation_value}, query, &bad);
    if (bad)
        intercom_error(call, 400, "parameter_invalid", bad, "query");
    else
        answer_list(intercom, call, query, page);
}

static void list_deleted(struct intercom *intercom, struct call *call)
{
    int64_t per_page = call_query_int(call, "per_page", 1, 60, 20),
            page = call_query_int(call, "page", 1, INT32_MAX, 1);
    int64_t skip = (page - 1) * per_page, at = 0, pages = (intercom->deleted_count + per_page - 1) / per_page;
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("conversations.list"));
    json_key(&json, "conversations");
    json_open(&json, '[');
    for (const struct intercom_deleted *deleted = intercom->deleted; deleted; deleted = deleted->next, at++) {
        if (at < skip || at >= skip + per_page)
            continue;
        json_open(&json, '{');
        json_key_str(&json, "type", STR("conversation"));
        json_key_id(&json, "id", deleted->id);
        json_key_bool(&json, "metrics_retained", deleted->metrics_retained);
        json_key_int(&json, "deleted_at", deleted->at);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_key_int(&json, "total_count", intercom->deleted_count);
    json_key(&json, "pages");
    json_open(&json, '{');
    json_key_str(&json, "type", STR("pages"));
    json_key_str(&json, "next",
                 page < pages
                     ? arena_printf(call->arena, "%.*s/conversations/deleted?per_page=%" PRId64 "&page=%" PRId64,
                                    STR_ARG(door_url(call->door, call->arena)), per_page, page + 1)
                     : STR_NONE);
    json_key_int(&json, "page", page);
    json_key_int(&json, "per_page", per_page);
    json_key_int(&json, "total_pages", pages);
    json_close(&json, '}');
    json_close(&json, '}');
    intercom_send(call, &text);
}

const struct route intercom_conversation_routes[] = {
    {"POST", "conversations", create_conversation},
    {"GET", "conversations", list_conversations},
    {"POST", "conversations/search", search_conversations},
    {"GET", "conversations/deleted", list_deleted},
    {"GET", "conversations/*", get_conversation},
    {"PUT", "conversations/*", update_conversation},
    {"DELETE", "conversations/*", delete_conversation},
    {"POST", "conversations/*/reply", reply},
    {"POST", "conversations/*/parts", manage},
    {NULL, NULL, NULL},
};
