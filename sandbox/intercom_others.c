// Who we are, admins, tags, attributes.
#include "sandbox/intercom.h"

#include "sandbox/own.h"

#include <inttypes.h>

static void write_app(struct json *json)
{
    json_key(json, "app");
    json_open(json, '{');
    json_key_str(json, "type", STR("app"));
    json_key_str(json, "id_code", STR("sandbox_workspace"));
    json_key_str(json, "name", STR("Tributary sandbox (a stand-in)"));
    json_key_int(json, "created_at", 1734537243);
    json_key_bool(json, "secure", false);
    json_key_bool(json, "identity_verification", false);
    json_key_str(json, "timezone", STR("Etc/UTC"));
    json_key_str(json, "region", STR("US"));
    json_close(json, '}');
}

// The app's token is that of an admin of its own, so that what the app writes can be told from what agents write.
static void get_me(struct intercom *intercom, struct call *call)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    intercom_write_admin(&json, intercom, INTERCOM_APP);
    json_key_bool(&json, "email_verified", true);
    write_app(&json);
    json_key_bool(&json, "has_inbox_seat", true);
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void list_admins(struct intercom *intercom, struct call *call)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("admin.list"));
    json_key(&json, "admins");
    json_open(&json, '[');
    for (int i = 0; i < INTERCOM_ADMINS; i++) {
        json_open(&json, '{');
        intercom_write_admin(&json, intercom, i);
        json_key_bool(&json, "away_mode_enabled", false);
        json_key_bool(&json, "away_mode_reassign", false);
        json_key_bool(&json, "has_inbox_seat", true);
        json_key(&json, "team_ids");
        json_raw(&json, STR("[]"));
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    intercom_send(call, &text);
}

// ---- tags ----

static void write_tag(struct json *json, const struct intercom_tag *tag)
{
    json_key_str(json, "type", STR("tag"));
    json_key_id(json, "id", tag->id);
    json_key_str(json, "name", tag->name);
}

static struct intercom_tag *tag_by_name(struct intercom_tag *tags, struct str name)
{
    while (tags && !str_ieq(tags->name, name))
        tags = tags->next;
    return tags;
}

static struct intercom_tag *tag_add(struct intercom_tag **tags, int64_t id, struct str name)
{
    struct intercom_tag *tag = mem_new_of(struct intercom_tag);
    *tag = (struct intercom_tag){.next = *tags, .id = id, .name = own(name)};
    *tags = tag;
    return tag;
}

static void create_tag(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"name", FIELD_TEXT, true, false}};
    if (!intercom_check(call, call->body, fields, 1))
        return;
    struct str name = str_trim(json_get_str(call->body, "name"));
    if (name.n == 0) {
        intercom_error(call, 400, "parameter_invalid", "name must not be empty", "name");
        return;
    }
    struct intercom_tag *tag = tag_by_name(intercom->tags, name);
    if (!tag)
        tag = tag_add(&intercom->tags, intercom->next_tag_id++, name);
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    write_tag(&json, tag);
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void list_tags(struct intercom *intercom, struct call *call)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "type", STR("list"));
    json_key(&json, "data");
    json_open(&json, '[');
    for (const struct intercom_tag *tag = intercom->tags; tag; tag = tag->next) {
        json_open(&json, '{');
        write_tag(&json, tag);
        json_close(&json, '}');
    }
    json_close(&json, ']');
    json_close(&json, '}');
    intercom_send(call, &text);
}

static void write_applied_tag(struct json *json, const struct intercom_tag *tag, struct str admin_id)
{
    json_open(json, '{');
    write_tag(json, tag);
    json_key_int(json, "applied_at", intercom_now());
    json_key(json, "applied_by");
    json_open(json, '{');
    json_key_str(json, "type", STR("admin"));
    json_key_str(json, "id", admin_id);
    json_close(json, '}');
    json_close(json, '}');
}

// Puts the tag into the conversation's list, once.
static void attach(struct call *call, struct intercom_conversation *conversation, const struct intercom_tag *tag,
                   struct str applied)
{
    struct str have = conversation->tags;
    struct str marker = arena_printf(call->arena, "\"id\":\"%" PRId64 "\"", tag->id);
    if (!have.p)
        conversation->tags = own(arena_printf(call->arena, "[%.*s]", STR_ARG(applied)));
    else if (!memmem(have.p, have.n, marker.p, marker.n))
        own_again(&conversation->tags,
                  arena_printf(call->arena, "%.*s,%.*s]", (int)have.n - 1, have.p, STR_ARG(applied)));
}

static void tag_conversation(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {{"id", FIELD_TEXT, true, false}, {"admin_id", FIELD_TEXT, true, false}};
    int64_t id = 0;
    struct intercom_conversation *conversation = NULL;
    if (str_to_i64(call_segment(call, 1), &id))
        conversation = intercom_conversation(intercom, id);
    if (!conversation) {
        intercom_error(call, 404, "not_found", "Conversation not found", NULL);
        return;
    }
    if (!intercom_check(call, call->body, fields, 2))
        return;
    struct intercom_tag *tag = intercom->tags;
    while (tag && (!str_to_i64(json_get_str(call->body, "id"), &id) || tag->id != id))
        tag = tag->next;
    if (!tag || intercom_admin(intercom, json_get_str(call->body, "admin_id")) < 0) {
        intercom_error(call, 404, tag ? "admin_not_found" : "tag_not_found", tag ? "Admin not found" : "Tag not found",
                       NULL);
        return;
    }
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    write_applied_tag(&json, tag, json_get_str(call->body, "admin_id"));
    attach(call, conversation, tag, buf_str(&text));
    intercom_send(call, &text);
}

// ---- attributes of contacts ----

static void write_attribute(struct json *json, const struct intercom_tag *attribute, struct str model,
                            struct str data_type)
{
    struct arena arena = {0};
    json_open(json, '{');
    json_key_str(json, "type", STR("data_attribute"));
    json_key_int(json, "id", attribute->id);
    json_key_str(json, "model", model);
    json_key_str(json, "name", attribute->name);
    json_key_str(json, "full_name", arena_printf(&arena, "custom_attributes.%.*s", STR_ARG(attribute->name)));
    json_key_str(json, "label", attribute->name);
    json_key_str(json, "data_type", data_type);
    json_key_bool(json, "api_writable", true);
    json_key_bool(json, "messenger_writable", false);
    json_key_bool(json, "ui_writable", false);
    json_key_bool(json, "custom", true);
    json_key_bool(json, "archived", false);
    json_key_int(json, "created_at", intercom_now());
    json_key_int(json, "updated_at", intercom_now());
    json_close(json, '}');
    arena_done(&arena);
}

static void create_attribute(struct intercom *intercom, struct call *call)
{
    static const struct field fields[] = {
        {"name", FIELD_TEXT, true, false}, {"model", FIELD_TEXT, true, false}, {"data_type", FIELD_TEXT, true, false}};
    if (!intercom_check(call, call->body, fields, 3))
        return;
    struct str name = json_get_str(call->body, "name"), model = json_get_str(call->body, "model");
    if ((!str_eq_c(model, "contact") && !str_eq_c(model, "company")) || tag_by_name(intercom->attributes, name)) {
        intercom_error(call, 400, "parameter_invalid", "model must be contact or company, and the name a new one",
                       "name");
        return;
    }
    struct intercom_tag *attribute = tag_add(&intercom->attributes, intercom->next_attribute_id++, name);
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    write_attribute(&json, attribute, model, json_get_str(call->body, "data_type"));
    intercom_send(call, &text);
}

const struct route intercom_other_routes[] = {
    {"GET", "me", get_me},
    {"GET", "admins", list_admins},
    {"POST", "tags", create_tag},
    {"GET", "tags", list_tags},
    {"POST", "conversations/*/tags", tag_conversation},
    {"POST", "data_attributes", create_attribute},
    {NULL, NULL, NULL},
};
