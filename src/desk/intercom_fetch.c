// A conversation, read for what was said in it to the customer by agents and bots. What they write for each other, and what
// the desk itself records, stays inside; what the customer said is not looked at.
#include "desk/intercom.h"

#include <stdlib.h>

// Intercom shows the 500 newest parts and no more (description 2.16, conversation_parts).
struct reading {
    struct arena *arena;
    struct desk_part *parts;
    size_t count;
    bool unreadable;
};

// Part types that are no words to the customer whatever their body holds. Those of the description 2.16 that speak are comment,
// quick_reply, assignment, assign_and_reopen, open, close, snoozed; new ones are taken for such. Inside are:
//   *note*          written for agents (note, note_and_reopen)
//   conversation_*  the desk's records (conversation_attribute_updated_by_admin; a summary of the conversation)
//   ticket_*        the same of tickets (ticket_attribute_updated_by_admin, ticket_state_updated_by_admin)
//   custom_action_* what an app did (custom_action_started, custom_action_finished)
//   merged_*        two conversations became one (merged_primary_conversation)
static bool stays_inside(struct str part_type)
{
    return intercom_is_note(part_type) || str_starts(part_type, STR("conversation_")) ||
           str_starts(part_type, STR("ticket_")) || str_starts(part_type, STR("custom_action_")) ||
           str_starts(part_type, STR("merged_"));
}

// Fin may answer as an agent; and a campaign or a workflow that begins a conversation does so in an agent's name.
static bool is_bot(yyjson_val *author, struct str delivered_as)
{
    return str_eq_c(json_get_str(author, "type"), "bot") || yyjson_is_true(yyjson_obj_get(author, "from_ai_agent")) ||
           (delivered_as.n && !str_eq_c(delivered_as, "admin_initiated"));
}

static bool speaks_for_the_desk(yyjson_val *author)
{
    struct str type = json_get_str(author, "type");
    return str_eq_c(type, "admin") || str_eq_c(type, "team") || str_eq_c(type, "bot");
}

// Attachments ----------------------------------------------------------------------------------------------

static bool is_web(struct str url)
{
    return str_starts(url, STR("https://")) || str_starts(url, STR("http://"));
}

static struct str kind_of(struct str mime)
{
    size_t slash = str_index(mime, '/', 0);
    struct str family = str_sub(mime, 0, slash);
    bool shown = str_eq_c(family, "image") || str_eq_c(family, "video") || str_eq_c(family, "audio");
    return shown ? family : STR("file");
}

// `size`: -1 when it is not known.
static void write_file(struct json *json, struct str kind, struct str url, struct str name, struct str mime,
                       int64_t size)
{
    json_open(json, '{');
    json_key_str(json, "kind", kind);
    json_key_str(json, "url", url);
    json_key_str(json, "name", name);
    json_key_str(json, "mime", mime);
    json_key(json, "size");
    if (size >= 0)
        json_int(json, size);
    else
        json_null(json);
    json_close(json, '}');
}

static void write_attachments(struct json *json, yyjson_val *attachments)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(attachments, i, n, each)
    {
        struct str url = json_get_str(each, "url"), mime = json_get_str(each, "content_type");
        int64_t size = -1;
        (void)json_get_int(each, "filesize", &size); // else it stays unknown
        if (is_web(url))
            write_file(json, kind_of(mime), url, json_get_str(each, "name"), mime, size);
    }
}

// An image that an agent puts into the text is no attachment at Intercom, but a tag.
static void write_images(struct json *json, struct str html, struct arena *arena)
{
    struct str url;
    for (size_t at = 0; intercom_next_image(html, &at, arena, &url);)
        if (is_web(url))
            write_file(json, STR("image"), url, STR_NONE, STR_NONE, -1);
}

// STR_NONE when there are none.
static struct str attachments_of(yyjson_val *said, struct str html, struct arena *arena)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    json_open(&json, '[');
    write_attachments(&json, yyjson_obj_get(said, "attachments"));
    write_images(&json, html, arena);
    json_close(&json, ']');
    buf_must(&buf); // no more than the answer that is in memory
    struct str text = buf.n > 2 ? arena_str(arena, buf_str(&buf)) : STR_NONE;
    buf_done(&buf);
    return text;
}

// Parts ----------------------------------------------------------------------------------------------------

// One thing said: a part, or the message that the conversation began with.
static void add_said(struct reading *reading, yyjson_val *said, struct str id, int64_t created_s,
                     struct str delivered_as)
{
    struct arena *arena = reading->arena;
    yyjson_val *author = yyjson_obj_get(said, "author");
    if (!speaks_for_the_desk(author) || yyjson_is_true(yyjson_obj_get(said, "redacted")))
        return;
    struct str html = json_get_str(said, "body");
    struct str attachments = attachments_of(said, html, arena);
    bool silent = intercom_is_blank(html, arena);
    if (silent && !attachments.n)
        return;
    if (!id.n || created_s <= 0) { // words for a customer, and nothing to know them by
        reading->unreadable = true;
        return;
    }
    reading->parts[reading->count++] = (struct desk_part){
        .id = id,
        .created_s = created_s,
        .author_id = intercom_id(yyjson_obj_get(author, "id"), arena),
        .author_name = arena_str(arena, json_get_str(author, "name")),
        .by_bot = is_bot(author, delivered_as),
        .html = silent ? STR("") : arena_str(arena, html),
        .attachments = attachments,
    };
}

static int64_t created_at(yyjson_val *object)
{
    int64_t at_s;
    return json_get_int(object, "created_at", &at_s) ? at_s : 0;
}

// The message that the conversation began with: its id is of another series than those of parts.
static void add_source(struct reading *reading, yyjson_val *conversation)
{
    yyjson_val *source = yyjson_obj_get(conversation, "source");
    struct str id = intercom_id(yyjson_obj_get(source, "id"), reading->arena);
    if (id.n)
        id = arena_printf(reading->arena, "source:%.*s", STR_ARG(id));
    add_said(reading, source, id, created_at(conversation), json_get_str(source, "delivered_as"));
}

// By time, then by id; what is no number stands before.
static int by_time(const void *a, const void *b)
{
    const struct desk_part *x = a, *y = b;
    int64_t x_id = 0, y_id = 0;
    bool x_number = str_to_i64(x->id, &x_id), y_number = str_to_i64(y->id, &y_id);
    if (x->created_s != y->created_s)
        return x->created_s < y->created_s ? -1 : 1;
    if (x_number != y_number)
        return y_number ? -1 : 1;
    if (x_number)
        return (x_id > y_id) - (x_id < y_id);
    return str_cmp(x->id, y->id);
}

static struct str only_contact(yyjson_val *conversation, struct arena *arena)
{
    yyjson_val *contacts = yyjson_obj_get(yyjson_obj_get(conversation, "contacts"), "contacts");
    if (yyjson_arr_size(contacts) != 1)
        return STR_NONE;
    return intercom_id(yyjson_obj_get(yyjson_arr_get_first(contacts), "id"), arena);
}

static bool read_conversation(struct desk_fetch *fetch, yyjson_val *conversation)
{
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(conversation, "conversation_parts"), "conversation_parts");
    struct reading reading = {.arena = fetch->arena};
    size_t i, n;
    yyjson_val *part;
    if (!intercom_is_conversation(conversation) || !yyjson_is_arr(parts))
        return false;
    reading.parts = arena_alloc(fetch->arena, (yyjson_arr_size(parts) + 1) * sizeof *reading.parts);
    add_source(&reading, conversation);
    yyjson_arr_foreach(parts, i, n, part)
    {
        if (!stays_inside(json_get_str(part, "part_type")))
            add_said(&reading, part, intercom_id(yyjson_obj_get(part, "id"), fetch->arena), created_at(part), STR_NONE);
    }
    if (reading.unreadable)
        return false;
    qsort(reading.parts, reading.count, sizeof *reading.parts, by_time);
    fetch->contact = only_contact(conversation, fetch->arena);
    fetch->parts = reading.parts;
    fetch->part_count = reading.count;
    return true;
}

static void on_answer(struct desk_fetch *fetch, const struct http_response *last)
{
    fetch->verdict = intercom_verdict(last, false, fetch->now_us, fetch->arena);
    if (intercom_answered(last, 404)) {
        fetch->gone = true;
        fetch->verdict = (struct verdict){.kind = VERDICT_DELIVERED, .status = last->status};
    }
    if (fetch->gone || fetch->verdict.kind != VERDICT_DELIVERED)
        return;
    yyjson_doc *doc = json_read(last->body);
    if (!read_conversation(fetch, yyjson_doc_get_root(doc)))
        fetch->verdict = verdict_unreadable(last, false, INTERCOM_UNREADABLE);
    yyjson_doc_free(doc);
}

bool intercom_fetch(struct desk_fetch *fetch, const struct http_response *last, struct http_request *out_request)
{
    if (last) {
        on_answer(fetch, last);
        return false;
    }
    struct str path = arena_printf(fetch->arena, "/conversations/%.*s",
                                   STR_ARG(http_escape(fetch->arena, fetch->conversation)));
    intercom_request(&fetch->account->desk, fetch->arena, "GET", path, STR_NONE, out_request);
    return true;
}
