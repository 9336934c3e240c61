// Contacts and conversations as the description wants them written: every member of its examples, null where we know nothing.
#include "sandbox/intercom.h"

#include <inttypes.h>
#include <string.h>

enum { PARTS_SHOWN = 500 };

static void key_time(struct json *json, const char *key, int64_t at)
{
    json_key(json, key);
    if (at)
        json_int(json, at);
    else
        json_null(json);
}

static void key_nulls(struct json *json, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        json_key(json, keys[i]);
        json_null(json);
    }
}
#define KEY_NULLS(json, ...)                                                                                           \
    key_nulls(json, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void key_raw(struct json *json, const char *key, struct str raw, const char *otherwise)
{
    json_key(json, key);
    json_raw(json, raw.p ? raw : str_of(otherwise));
}

// An empty list that has an address of its own.
static void key_list(struct json *json, const char *key, const struct intercom_contact *contact, const char *path)
{
    json_key(json, key);
    json_open(json, '{');
    json_key_str(json, "type", STR("list"));
    key_raw(json, "data", STR_NONE, "[]");
    json_key(json, "url");
    struct arena arena = {0};
    json_str(json, arena_printf(&arena, "/contacts/%s/%s", contact->id, path));
    arena_done(&arena);
    json_key_int(json, "total_count", 0);
    json_key_bool(json, "has_more", false);
    json_close(json, '}');
}

static void key_avatar(struct json *json, struct str url)
{
    json_key(json, "avatar");
    if (!url.p) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key_str(json, "type", STR("avatar"));
    json_key_str(json, "image_url", url);
    json_close(json, '}');
}

static void write_merge_history(struct json *json, const struct intercom *intercom,
                                const struct intercom_contact *contact)
{
    json_key(json, "merge_history");
    json_open(json, '[');
    for (const struct intercom_contact *other = intercom->contacts; other; other = other->hh.next) {
        if (other->merged_into != contact)
            continue;
        json_open(json, '{');
        json_key_str(json, "type", STR("merge_history"));
        json_key_str(json, "source_contact_id", str_of(other->id));
        json_key_str(json, "source_contact_role", other->role);
        key_time(json, "merged_at", other->merged_at);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void write_location(struct json *json)
{
    json_key(json, "location");
    json_open(json, '{');
    json_key_str(json, "type", STR("location"));
    KEY_NULLS(json, "country", "region", "city", "country_code", "continent_code");
    json_close(json, '}');
}

static void write_lists(struct json *json, const struct intercom_contact *contact)
{
    json_key(json, "social_profiles");
    json_open(json, '{');
    json_key_str(json, "type", STR("list"));
    key_raw(json, "data", STR_NONE, "[]");
    json_close(json, '}');
    key_list(json, "tags", contact, "tags");
    key_list(json, "notes", contact, "notes");
    key_list(json, "companies", contact, "companies");
    key_list(json, "opted_out_subscription_types", contact, "subscriptions");
    key_list(json, "opted_in_subscription_types", contact, "subscriptions");
}

void intercom_write_contact(struct json *json, const struct intercom *intercom, const struct intercom_contact *contact,
                            bool merge_history)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("contact"));
    json_key_str(json, "id", str_of(contact->id));
    json_key_str(json, "workspace_id", STR("sandbox_workspace"));
    json_key_str(json, "external_id", contact->external_id);
    json_key_str(json, "role", contact->role);
    // The description says text, and no null: the real one gives "" for a contact without an address.
    json_key_str(json, "email", contact->email.p ? contact->email : STR(""));
    json_key_str(json, "phone", contact->phone);
    json_key_str(json, "name", contact->name);
    json_key_str(json, "language_override", contact->language);
    key_avatar(json, contact->avatar);
    json_key_bool(json, "has_hard_bounced", false);
    json_key_bool(json, "marked_email_as_spam", false);
    json_key_bool(json, "unsubscribed_from_emails", false);
    json_key_int(json, "created_at", contact->created_at);
    json_key_int(json, "updated_at", contact->updated_at);
    key_time(json, "last_replied_at", contact->last_replied_at);
    KEY_NULLS(json, "owner_id", "signed_up_at", "last_seen_at", "last_contacted_at", "last_email_opened_at",
              "last_email_clicked_at", "browser", "browser_version", "browser_language", "os", "android_app_name",
              "android_app_version", "android_device", "android_os_version", "android_sdk_version",
              "android_last_seen_at", "ios_app_name", "ios_app_version", "ios_device", "ios_os_version",
              "ios_sdk_version", "ios_last_seen_at", "utm_campaign", "utm_content", "utm_medium", "utm_source",
              "utm_term", "referrer", "enabled_push_messaging");
    key_raw(json, "custom_attributes", contact->attributes, "{}");
    write_location(json);
    write_lists(json, contact);
    if (merge_history)
        write_merge_history(json, intercom, contact);
    json_close(json, '}');
}

void intercom_write_contact_reference(struct json *json, const struct intercom_contact *contact)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("contact"));
    json_key_str(json, "id", str_of(contact->id));
    json_key_str(json, "external_id", contact->external_id);
    json_close(json, '}');
}

void intercom_write_admin(struct json *json, const struct intercom *intercom, int admin)
{
    json_key_str(json, "type", STR("admin"));
    json_key_id(json, "id", intercom->admins[admin].id);
    json_key_str(json, "name", str_of(intercom->admins[admin].name));
    json_key_str(json, "email", str_of(intercom->admins[admin].email));
}

// ---- bodies ----

static void add_escaped(struct buf *out, char c)
{
    if (c == '<')
        buf_add(out, "&lt;", 4);
    else if (c == '>')
        buf_add(out, "&gt;", 4);
    else if (c == '&')
        buf_add(out, "&amp;", 5);
    else if (c == '"')
        buf_add(out, "&quot;", 6);
    else if (c == '\n')
        buf_add(out, "<br>\n", 5);
    else
        buf_add_char(out, c);
}

static void write_as_html(struct json *json, struct str text)
{
    struct buf html;
    buf_init(&html, 32 << 20);
    buf_add(&html, "<p>", 3);
    for (size_t i = 0; i < text.n; i++)
        add_escaped(&html, text.p[i]);
    buf_add(&html, "</p>", 4);
    json_str(json, buf_str(&html));
    buf_done(&html);
}

// The character that an entity at `i` stands for, and its length in the text; 0 when it is none that we know.
static size_t entity(struct str html, size_t i, char *out)
{
    static const struct {
        const char *name;
        char c;
    } known[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&#39;", '\''}, {"&nbsp;", ' '}};
    for (size_t k = 0; k < sizeof(known) / sizeof(*known); k++)
        if (str_starts(str_sub(html, i, html.n), str_of(known[k].name))) {
            *out = known[k].c;
            return strlen(known[k].name);
        }
    return 0;
}

struct str intercom_plain(struct arena *arena, struct str html)
{
    char *out = arena_alloc(arena, html.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < html.n;) {
        char c = html.p[i];
        size_t length = 0;
        if (c == '<') {
            size_t end = str_index(html, '>', i);
            struct str tag = str_sub(html, i, end);
            if (n > 0 && out[n - 1] != '\n' &&
                (str_starts(tag, STR("<br")) || str_starts(tag, STR("</p")) || str_starts(tag, STR("</li"))))
                out[n++] = '\n';
            i = end + 1;
        } else if (c == '&' && (length = entity(html, i, &c)) > 0) {
            out[n++] = c;
            i += length;
        } else {
            out[n++] = c;
            i++;
        }
    }
    return str_trim((struct str){out, n});
}

static void write_body(struct json *json, struct str body, bool is_html, bool plain)
{
    struct arena arena = {0};
    json_key(json, "body");
    if (!body.p)
        json_null(json);
    else if (plain && is_html)
        json_str(json, intercom_plain(&arena, body));
    else if (plain || is_html)
        json_str(json, body);
    else
        write_as_html(json, body);
    arena_done(&arena);
}

// ---- conversations ----

// A part's author has an address or no member for it; a source's may be null (so the description).
static void write_contact_author(struct json *json, const struct intercom_contact *contact, bool of_part)
{
    json_open(json, '{');
    json_key_str(json, "type", contact->role.p ? contact->role : STR("user"));
    json_key_str(json, "id", str_of(contact->id));
    json_key_str(json, "name", contact->name);
    if (contact->email.p || !of_part)
        json_key_str(json, "email", contact->email);
    json_close(json, '}');
}

static void write_admin_author(struct json *json, const struct intercom *intercom, int admin)
{
    json_open(json, '{');
    intercom_write_admin(json, intercom, admin);
    json_close(json, '}');
}

static const char bot_name[] = "Operator", fin_name[] = "Fin";

static void write_bot_author(struct json *json, bool fin)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("bot"));
    json_key_str(json, "id", STR("991267400"));
    json_key_str(json, "name", str_of(fin ? fin_name : bot_name));
    json_key_str(json, "email", STR("operator@sandbox.example"));
    json_key_bool(json, "from_ai_agent", fin);
    json_key_bool(json, "is_ai_answer", fin);
    json_close(json, '}');
}

struct str intercom_author(const struct intercom *intercom, const struct intercom_part *part)
{
    if (part->contact)
        return STR_NONE;
    return str_of(part->bot ? part->fin ? fin_name : bot_name : intercom->admins[part->admin].name);
}

static void write_assigned(struct json *json, int64_t admin)
{
    json_key(json, "assigned_to");
    if (!admin) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key_str(json, "type", STR("admin"));
    json_key_id(json, "id", admin);
    json_close(json, '}');
}

static void write_part(struct json *json, const struct intercom *intercom, const struct intercom_part *part, bool plain)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("conversation_part"));
    json_key_id(json, "id", part->id);
    json_key_str(json, "part_type", str_of(part->type));
    write_body(json, part->body, part->html, plain);
    json_key_int(json, "created_at", part->created_at);
    json_key_int(json, "updated_at", part->updated_at);
    json_key_int(json, "notified_at", part->updated_at);
    write_assigned(json, part->assigned_to);
    json_key(json, "author");
    if (part->contact)
        write_contact_author(json, part->contact, true);
    else if (part->bot)
        write_bot_author(json, part->fin);
    else
        write_admin_author(json, intercom, part->admin);
    key_raw(json, "attachments", part->attachments, "[]");
    KEY_NULLS(json, "external_id");
    json_key_bool(json, "redacted", part->redacted);
    key_raw(json, "metadata", STR_NONE, "{}");
    KEY_NULLS(json, "email_message_metadata");
    json_key_str(json, "app_package_code", part->by_api ? STR("sandbox-app") : STR_NONE);
    json_close(json, '}');
}

static void write_source(struct json *json, const struct intercom *intercom,
                         const struct intercom_conversation *conversation, bool plain)
{
    json_key(json, "source");
    json_open(json, '{');
    json_key_str(json, "type", STR("conversation"));
    json_key_id(json, "id", conversation->message_id);
    json_key_str(json, "delivered_as", conversation->by_admin ? STR("admin_initiated") : STR("customer_initiated"));
    json_key_str(json, "subject", STR(""));
    write_body(json, conversation->body, conversation->by_admin || conversation->redacted, plain);
    json_key(json, "author");
    if (conversation->by_admin)
        write_admin_author(json, intercom, conversation->admin);
    else
        write_contact_author(json, conversation->contact, false);
    key_raw(json, "attachments", conversation->attachments, "[]");
    KEY_NULLS(json, "url");
    json_key_bool(json, "redacted", conversation->redacted);
    json_close(json, '}');
}

static void write_parts(struct json *json, const struct intercom *intercom,
                        const struct intercom_conversation *conversation, enum intercom_parts which, bool plain)
{
    size_t most = which == PARTS_LAST ? 1 : PARTS_SHOWN;
    size_t skip = conversation->part_count > most ? conversation->part_count - most : 0;
    json_key(json, "conversation_parts");
    json_open(json, '{');
    json_key_str(json, "type", STR("conversation_part.list"));
    json_key(json, "conversation_parts");
    json_open(json, '[');
    for (const struct intercom_part *part = conversation->parts; part; part = part->next) {
        if (skip > 0)
            skip--;
        else
            write_part(json, intercom, part, plain);
    }
    json_close(json, ']');
    json_key_int(json, "total_count", which == PARTS_LAST ? conversation->parts != NULL : conversation->total_parts);
    json_close(json, '}');
}

static void write_first_reply(struct json *json, const struct intercom_conversation *conversation)
{
    json_key(json, "first_contact_reply");
    if (!conversation->first_reply_at) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key_int(json, "created_at", conversation->first_reply_at);
    json_key_str(json, "type", STR("conversation"));
    KEY_NULLS(json, "url");
    json_close(json, '}');
}

void intercom_write_conversation(struct json *json, const struct intercom *intercom,
                                 const struct intercom_conversation *conversation, enum intercom_parts parts,
                                 bool plain)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("conversation"));
    json_key_id(json, "id", conversation->id);
    json_key_int(json, "created_at", conversation->created_at);
    json_key_int(json, "updated_at", conversation->updated_at);
    key_time(json, "waiting_since", conversation->waiting_since);
    key_time(json, "snoozed_until", conversation->snoozed_until);
    write_source(json, intercom, conversation, plain);
    json_key(json, "contacts");
    json_open(json, '{');
    json_key_str(json, "type", STR("contact.list"));
    json_key(json, "contacts");
    json_open(json, '[');
    intercom_write_contact_reference(json, conversation->contact);
    json_close(json, ']');
    json_close(json, '}');
    write_first_reply(json, conversation);
    if (conversation->admin_assignee)
        json_key_int(json, "admin_assignee_id", conversation->admin_assignee);
    json_key_bool(json, "open", strcmp(conversation->state, "closed") != 0);
    json_key_str(json, "state", str_of(conversation->state));
    json_key_bool(json, "read", conversation->read);
    json_key(json, "tags");
    json_open(json, '{');
    json_key_str(json, "type", STR("tag.list"));
    key_raw(json, "tags", conversation->tags, "[]");
    json_close(json, '}');
    json_key_str(json, "priority", STR("none"));
    KEY_NULLS(json, "sla_applied", "statistics", "conversation_rating", "teammates");
    json_key_str(json, "title", conversation->title);
    key_raw(json, "custom_attributes", conversation->attributes, "{}");
    key_raw(json, "topics", STR_NONE, "{}");
    KEY_NULLS(json, "ticket");
    key_raw(json, "linked_objects", STR_NONE, "{\"type\":\"list\",\"data\":[],\"total_count\":0,\"has_more\":false}");
    KEY_NULLS(json, "ai_agent");
    json_key_bool(json, "ai_agent_participated", false);
    if (parts != PARTS_NONE)
        write_parts(json, intercom, conversation, parts, plain);
    json_close(json, '}');
}
