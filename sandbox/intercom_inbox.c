// The inbox: the data of its page, and what an agent does there (POST inbox/...), by page and by control API.
#include "sandbox/intercom.h"

#include <string.h>
#include <utlist.h>

enum { SHOW_CONVERSATIONS = 200, SHOW_PARTS = 200, SHOW_CONTACTS = 200, LAST_TEXT = 120, SNOOZE_S = 3600 };

// ---- the page ----

static void write_who(struct json *json, const struct intercom_conversation *conversation)
{
    const struct intercom_contact *contact = conversation->contact;
    json_key_str(json, "name", contact->name);
    json_key_str(json, "external_id", contact->external_id);
    json_key_str(json, "phone", contact->phone);
    json_key_str(json, "avatar", contact->avatar);
    json_key_str(json, "language", contact->language);
    json_key(json, "attributes");
    json_raw(json, contact->attributes.p ? contact->attributes : STR("{}"));
    json_key_str(json, "contact", str_of(contact->id));
}

static void write_row(struct json *json, const struct intercom_conversation *conversation)
{
    const struct intercom_part *last = conversation->parts ? conversation->parts->prev : NULL;
    struct str body = last ? last->body : conversation->body;
    struct arena arena = {0};
    if (last ? last->html : conversation->by_admin || conversation->redacted)
        body = intercom_plain(&arena, body);
    json_open(json, '{');
    json_key_id(json, "id", conversation->id);
    write_who(json, conversation);
    json_key_str(json, "state", str_of(conversation->state));
    json_key_bool(json, "read", conversation->read);
    json_key_int(json, "updated_at", conversation->updated_at);
    json_key_int(json, "count", conversation->total_parts + 1);
    json_key_bool(json, "last_files", last ? last->attachments.p != NULL : conversation->attachments.p != NULL);
    json_key_str(json, "last", str_sub(body, 0, LAST_TEXT));
    json_key_bool(json, "last_from_admin", last ? !last->contact : conversation->by_admin);
    json_close(json, '}');
    arena_done(&arena);
}

static void write_line(struct json *json, int64_t id, const char *type, struct str body, int64_t created_at,
                       struct str author, struct str attachments, const char *mark)
{
    json_open(json, '{');
    json_key_id(json, "id", id);
    json_key_str(json, "type", str_of(type));
    json_key_str(json, "author", author);
    json_key_str(json, "body", body);
    json_key_int(json, "created_at", created_at);
    json_key(json, "attachments");
    json_raw(json, attachments.p ? attachments : STR("[]"));
    json_key_str(json, "mark", str_of(mark)); // "edited", "redacted" or null
    json_close(json, '}');
}

static const char *mark_of(const struct intercom_part *part)
{
    return part->redacted ? "redacted" : part->edited ? "edited" : NULL;
}

static void write_first(struct json *json, const struct intercom *intercom,
                        const struct intercom_conversation *conversation, struct arena *arena)
{
    bool by_admin = conversation->by_admin;
    write_line(json, conversation->message_id, "first",
               by_admin || conversation->redacted ? intercom_plain(arena, conversation->body) : conversation->body,
               conversation->created_at, by_admin ? str_of(intercom->admins[conversation->admin].name) : STR_NONE,
               conversation->attachments, conversation->redacted ? "redacted" : NULL);
}

static void write_thread(struct json *json, const struct intercom *intercom,
                         const struct intercom_conversation *conversation)
{
    size_t skip = conversation->part_count > SHOW_PARTS ? conversation->part_count - SHOW_PARTS : 0;
    struct arena arena = {0};
    json_key(json, "thread");
    json_open(json, '{');
    json_key_id(json, "id", conversation->id);
    write_who(json, conversation);
    json_key_str(json, "state", str_of(conversation->state));
    json_key_int(json, "earlier", conversation->total_parts - (int64_t)(conversation->part_count - skip));
    json_key(json, "parts");
    json_open(json, '[');
    if (conversation->total_parts == (int64_t)conversation->part_count && skip == 0)
        write_first(json, intercom, conversation, &arena);
    for (const struct intercom_part *part = conversation->parts; part; part = part->next) {
        if (skip > 0 && skip--)
            continue;
        write_line(json, part->id, part->type, part->html ? intercom_plain(&arena, part->body) : part->body,
                   part->created_at, intercom_author(intercom, part), part->attachments, mark_of(part));
    }
    json_close(json, ']');
    json_close(json, '}');
    arena_done(&arena);
}

// Whom an agent can begin a conversation with.
static void write_contacts(struct json *json, const struct intercom *intercom)
{
    int shown = 0;
    json_key(json, "contacts");
    json_open(json, '[');
    for (const struct intercom_contact *contact = intercom->contacts; contact && shown < SHOW_CONTACTS;
         contact = contact->hh.next) {
        if (contact->merged_into || contact->archived)
            continue;
        json_open(json, '{');
        json_key_str(json, "id", str_of(contact->id));
        json_key_str(json, "name", contact->name.p ? contact->name : contact->external_id);
        json_close(json, '}');
        shown++;
    }
    json_close(json, ']');
}

// GET inbox?conversation=ID: the latest conversations, and the thread of one.
static void get_inbox(struct intercom *intercom, struct call *call)
{
    struct intercom_conversation *open = intercom_conversation(intercom,
                                                               call_query_int(call, "conversation", 0, INT64_MAX, 0));
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_str(&json, "other", str_of(intercom->door->other));
    json_key_int(&json, "total", (int64_t)intercom->conversation_count);
    json_key_int(&json, "applied", intercom->applied);
    json_key_str(&json, "webhook", str_of(notifier_state(intercom->notifier)));
    write_contacts(&json, intercom);
    json_key(&json, "conversations");
    json_open(&json, '[');
    int shown = 0;
    if (open) // seen by the agent
        open->read = true;
    for (const struct intercom_conversation *each = intercom->conversations; each && shown < SHOW_CONVERSATIONS;
         each = each->next, shown++)
        write_row(&json, each);
    json_close(&json, ']');
    if (open)
        write_thread(&json, intercom, open);
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

// ---- an agent's doings ----

static struct intercom_conversation *asked_conversation(struct intercom *intercom, struct call *call)
{
    int64_t id = 0;
    struct intercom_conversation *conversation = NULL;
    if (json_get_int(call->body, "conversation", &id) || str_to_i64(json_get_str(call->body, "conversation"), &id))
        conversation = intercom_conversation(intercom, id);
    if (!conversation)
        call_control_error(call, 404, "no such conversation");
    return conversation;
}

struct str intercom_as_html(struct call *call, struct str text)
{
    struct buf html;
    buf_init(&html, 8 << 20);
    buf_printf(&html, "<p>");
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (c == '<' || c == '>' || c == '&')
            buf_printf(&html, "%s", c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;");
        else if (c == '\n')
            buf_printf(&html, "<br>");
        else
            buf_add_char(&html, c);
    }
    buf_printf(&html, "</p>");
    struct str copy = arena_str(call->arena, buf_str(&html));
    buf_done(&html);
    return copy;
}

static bool is_empty(struct call *call)
{
    return str_trim(json_get_str(call->body, "body")).n + str_trim(json_get_str(call->body, "html")).n == 0 &&
           !intercom_has_attachments(call);
}

static const char *wrong_files(struct call *call)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(yyjson_obj_get(call->body, "attachment_files"), i, n, each)
    {
        const char *why = intercom_wrong_file(each);
        if (why)
            return why;
    }
    return NULL;
}

// What the body says is said, by whom it says: "as" is "bot" or "fin", else "admin" has an agent's id. False after an answer.
static bool read_part(struct intercom *intercom, struct call *call, const char *type, struct intercom_part *out)
{
    struct str html = json_get_str(call->body, "html"), text = json_get_str(call->body, "body");
    struct str as = json_get_str(call->body, "as"), admin = json_get_str(call->body, "admin");
    const char *wrong = wrong_files(call);
    if (wrong) {
        call_control_error(call, 400, wrong);
        return false;
    }
    *out = (struct intercom_part){.type = type,
                                  .body = html.n             ? html
                                          : str_trim(text).n ? intercom_as_html(call, text)
                                                             : STR_NONE,
                                  .attachments = intercom_attachments(call),
                                  .fin = str_eq_c(as, "fin"),
                                  .bot = as.n > 0,
                                  .admin = admin.n ? intercom_admin(intercom, admin) : 0};
    out->html = out->body.p != NULL;
    if (as.n > 0 && !str_eq_c(as, "bot") && !out->fin)
        call_control_error(call, 400, "\"as\" is bot or fin");
    else if (out->admin < 0)
        call_control_error(call, 400, "\"admin\" is an id of GET /admins");
    else
        return true;
    return false;
}

static void answer_made(struct call *call, const struct intercom_conversation *conversation, int64_t id,
                        int64_t created_at)
{
    struct buf text;
    struct json json;
    intercom_begin(&text, &json);
    json_open(&json, '{');
    json_key_id(&json, "conversation", conversation->id);
    json_key_id(&json, "id", id);
    json_key_int(&json, "created_at", created_at);
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

static void add(struct intercom *intercom, struct call *call, struct intercom_conversation *conversation,
                const struct intercom_part *like)
{
    const struct intercom_part *part = intercom_part_add(intercom, conversation, like);
    answer_made(call, conversation, part->id, part->created_at);
}

static void do_reply(struct intercom *intercom, struct call *call)
{
    bool note = yyjson_get_bool(yyjson_obj_get(call->body, "note"));
    struct intercom_conversation *conversation = asked_conversation(intercom, call);
    struct intercom_part part;
    if (conversation && is_empty(call))
        call_control_error(call, 400, "\"body\" is empty");
    else if (conversation && read_part(intercom, call, note ? "note" : "comment", &part))
        add(intercom, call, conversation, &part);
}

// What can be done with or without a text.
static void manage(struct intercom *intercom, struct call *call, const char *type)
{
    struct intercom_conversation *conversation = asked_conversation(intercom, call);
    struct intercom_part part;
    if (!conversation || !read_part(intercom, call, type, &part))
        return;
    if (strcmp(type, "assignment") == 0)
        conversation->admin_assignee = part.assigned_to = intercom->admins[part.admin].id;
    if (strcmp(type, "snoozed") == 0 && !json_get_int(call->body, "until", &conversation->snoozed_until))
        conversation->snoozed_until = intercom_now() + SNOOZE_S;
    add(intercom, call, conversation, &part);
}

static void do_close(struct intercom *intercom, struct call *call)
{
    manage(intercom, call, "close");
}

static void do_open(struct intercom *intercom, struct call *call)
{
    manage(intercom, call, "open");
}

static void do_snooze(struct intercom *intercom, struct call *call)
{
    manage(intercom, call, "snoozed");
}

static void do_assign(struct intercom *intercom, struct call *call)
{
    manage(intercom, call, "assignment");
}

// An agent writes first, to "contact" or to the one of "external_id".
static void do_start(struct intercom *intercom, struct call *call)
{
    struct str id = json_get_str(call->body, "contact");
    struct intercom_contact *contact = intercom_contact_final(
        id.n ? intercom_contact(intercom, id)
             : intercom_contact_by_external(intercom, json_get_str(call->body, "external_id")));
    struct intercom_part first;
    if (!contact || contact->archived)
        call_control_error(call, 404, "no such contact");
    else if (is_empty(call))
        call_control_error(call, 400, "\"body\" is empty");
    else if (read_part(intercom, call, "comment", &first)) {
        const struct intercom_conversation *conversation = intercom_conversation_add(intercom, contact, &first);
        answer_made(call, conversation, conversation->message_id, conversation->created_at);
    }
}

static const struct doing {
    const char *method, *what;
    void (*run)(struct intercom *intercom, struct call *call);
} doings[] = {
    {"GET", "inbox", get_inbox},
    {"POST", "inbox/reply", do_reply},
    {"POST", "inbox/close", do_close},
    {"POST", "inbox/open", do_open},
    {"POST", "inbox/snooze", do_snooze},
    {"POST", "inbox/assign", do_assign},
    {"POST", "inbox/start", do_start},
    {"POST", "inbox/redact", intercom_do_redact},
    {"POST", "inbox/edit", intercom_do_edit},
};

bool intercom_inbox(struct intercom *intercom, struct call *call, struct str what)
{
    for (size_t i = 0; i < sizeof(doings) / sizeof(*doings); i++)
        if (str_eq_c(what, doings[i].what) && str_eq_c(call->request->method, doings[i].method)) {
            doings[i].run(intercom, call);
            return true;
        }
    return false;
}
