// What stands below /sandbox/ on the Intercom side: the inbox page's data and doings, and the settings of the stand-in.
#include "sandbox/intercom.h"

#include <inttypes.h>
#include <string.h>
#include <utlist.h>

enum { SHOW_CONVERSATIONS = 200, SHOW_PARTS = 200, LAST_TEXT = 120 };

void intercom_status(void *arg, struct json *json)
{
    const struct intercom *intercom = arg;
    json_key_int(json, "contacts", (int64_t)HASH_COUNT(intercom->contacts));
    json_key_int(json, "conversations", (int64_t)intercom->conversation_count);
    json_key_int(json, "applied", intercom->applied);
    json_key_int(json, "limit", intercom->options.limit);
    json_key_int(json, "window_ms", intercom->options.window_ms);
}

static void write_who(struct json *json, const struct intercom_conversation *conversation)
{
    const struct intercom_contact *contact = conversation->contact;
    json_key_str(json, "name", contact->name);
    json_key_str(json, "external_id", contact->external_id);
    json_key_str(json, "contact", str_of(contact->id));
}

static void write_row(struct json *json, const struct intercom_conversation *conversation)
{
    const struct intercom_part *last = conversation->parts ? conversation->parts->prev : NULL;
    struct str body = last ? last->body : conversation->body;
    struct arena arena = {0};
    if (last && last->html)
        body = intercom_plain(&arena, body);
    json_open(json, '{');
    json_key_id(json, "id", conversation->id);
    write_who(json, conversation);
    json_key_str(json, "state", str_of(conversation->state));
    json_key_bool(json, "read", conversation->read);
    json_key_int(json, "updated_at", conversation->updated_at);
    json_key_int(json, "count", conversation->total_parts + 1);
    json_key_str(json, "last", str_sub(body, 0, LAST_TEXT));
    json_key_bool(json, "last_from_admin", last && !last->contact);
    json_close(json, '}');
    arena_done(&arena);
}

static void write_line(struct json *json, int64_t id, const char *type, struct str body, int64_t created_at,
                       const char *author, struct str attachments)
{
    json_open(json, '{');
    json_key_id(json, "id", id);
    json_key_str(json, "type", str_of(type));
    json_key_str(json, "author", author ? str_of(author) : STR_NONE);
    json_key_str(json, "body", body);
    json_key_int(json, "created_at", created_at);
    json_key(json, "attachments");
    json_raw(json, attachments.p ? attachments : STR("[]"));
    json_close(json, '}');
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
        write_line(json, conversation->message_id, "first", conversation->body, conversation->created_at, NULL,
                   conversation->attachments);
    for (const struct intercom_part *part = conversation->parts; part; part = part->next) {
        if (skip > 0 && skip--)
            continue;
        write_line(json, part->id, part->type, part->html ? intercom_plain(&arena, part->body) : part->body,
                   part->created_at, part->contact ? NULL : intercom->admins[part->admin].name, part->attachments);
    }
    json_close(json, ']');
    json_close(json, '}');
    arena_done(&arena);
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

// An agent's text as the HTML that the desk keeps.
static struct str as_html(struct call *call, struct str text)
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

static void do_reply(struct intercom *intercom, struct call *call)
{
    struct str body = json_get_str(call->body, "body");
    struct intercom_conversation *conversation = asked_conversation(intercom, call);
    if (!conversation)
        return;
    if (str_trim(body).n == 0) {
        call_control_error(call, 400, "\"body\" is empty");
        return;
    }
    bool note = yyjson_get_bool(yyjson_obj_get(call->body, "note"));
    struct intercom_part part = {.type = note ? "note" : "comment", .body = as_html(call, body), .html = true};
    intercom_part_add(intercom, conversation, &part);
    call_answer(call, 200, STR("{}"));
}

static void do_close(struct intercom *intercom, struct call *call)
{
    struct intercom_conversation *conversation = asked_conversation(intercom, call);
    if (!conversation)
        return;
    bool close = strcmp(conversation->state, "closed") != 0;
    struct intercom_part part = {.type = close ? "close" : "open"};
    conversation->state = close ? "closed" : "open";
    intercom_part_add(intercom, conversation, &part);
    call_answer(call, 200, STR("{}"));
}

static void take_setting(struct call *call, const char *key, int64_t low, int64_t *setting)
{
    int64_t n = 0;
    if (json_get_int(call->body, key, &n) && n >= low)
        *setting = n;
}

static void do_settings(struct intercom *intercom, struct call *call)
{
    struct intercom_options *options = &intercom->options;
    take_setting(call, "limit", 0, &options->limit);
    take_setting(call, "window_ms", 10, &options->window_ms);
    take_setting(call, "contact_ready_ms", 0, &options->contact_ready_ms);
    take_setting(call, "search_lag_ms", 0, &options->search_lag_ms);
    intercom->window_calls = intercom->window_began_us = 0;
    call_answer(call, 200,
                arena_printf(call->arena,
                             "{\"limit\":%" PRId64 ",\"window_ms\":%" PRId64 ",\"contact_ready_ms\":%" PRId64
                             ",\"search_lag_ms\":%" PRId64 "}",
                             options->limit, options->window_ms, options->contact_ready_ms, options->search_lag_ms));
}

static const struct doing {
    const char *method, *what;
    void (*run)(struct intercom *intercom, struct call *call);
} doings[] = {
    {"GET", "inbox", get_inbox},
    {"POST", "inbox/reply", do_reply},
    {"POST", "inbox/close", do_close},
    {"POST", "intercom/settings", do_settings},
};

bool intercom_control(void *arg, struct call *call, struct str what)
{
    for (size_t i = 0; i < sizeof(doings) / sizeof(*doings); i++)
        if (str_eq_c(what, doings[i].what) && str_eq_c(call->request->method, doings[i].method)) {
            doings[i].run(arg, call);
            return true;
        }
    return false;
}
