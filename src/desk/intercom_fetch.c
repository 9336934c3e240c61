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

// The files of one thing said: as many as are fetched of one message are wanted, of the others the address is all there is.
struct files {
    struct attachment list[ATTACHMENTS_MAX];
    size_t count;
};

static bool is_listed(const struct files *files, struct str url)
{
    for (size_t i = 0; i < files->count; i++)
        if (str_eq(files->list[i].url, url))
            return true;
    return false;
}

static void add_file(struct files *files, struct attachment file)
{
    if (!is_web(file.url) || files->count == ATTACHMENTS_MAX)
        return;
    file.state = files->count < FILES_MAX ? FILE_WANTED : FILE_ELSEWHERE;
    files->list[files->count++] = file;
}

static void add_attachments(struct files *files, yyjson_val *attachments)
{
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(attachments, i, n, each)
    {
        struct str mime = json_get_str(each, "content_type");
        int64_t size;
        bool sized = json_get_int(each, "filesize", &size) && size >= 0;
        add_file(files, (struct attachment){.kind = kind_of(mime),
                                            .url = json_get_str(each, "url"),
                                            .name = json_get_str(each, "name"),
                                            .mime = mime,
                                            .size = sized ? size : -1});
    }
}

// An image that an agent puts into the text is no attachment at Intercom, but a tag.
static void add_images(struct files *files, struct str html, struct arena *arena)
{
    struct str url;
    for (size_t at = 0; intercom_next_image(html, &at, arena, &url);)
        if (!is_listed(files, url)) // an attachment may be shown in the text, too
            add_file(files, (struct attachment){.kind = STR("image"), .url = url, .size = -1});
}

// STR_NONE when there are none.
static struct str attachments_of(yyjson_val *said, struct str html, struct arena *arena)
{
    struct files files; // not of the arena, which would have room for 100 with each of 500 parts: 6 MiB a conversation
    files.count = 0;
    add_attachments(&files, yyjson_obj_get(said, "attachments"));
    add_images(&files, html, arena);
    return attachments_write(files.list, files.count, arena);
}

// Parts ----------------------------------------------------------------------------------------------------

static int64_t time_at(yyjson_val *object, const char *key)
{
    int64_t at_s;
    return json_get_int(object, key, &at_s) ? at_s : 0;
}

// What was taken back holds a remark of Intercom's, if anything.
static void read_words(yyjson_val *said, struct desk_part *part, struct arena *arena)
{
    struct str html = json_get_str(said, "body");
    part->html = STR("");
    part->redacted = yyjson_is_true(yyjson_obj_get(said, "redacted"));
    if (part->redacted)
        return;
    part->attachments = attachments_of(said, html, arena);
    if (!intercom_is_blank(html, arena))
        part->html = arena_str(arena, html);
}

// One thing said: a part, or the message that the conversation began with.
static void add_said(struct reading *reading, yyjson_val *said, struct str id, int64_t created_s,
                     struct str delivered_as)
{
    struct arena *arena = reading->arena;
    yyjson_val *author = yyjson_obj_get(said, "author");
    if (!speaks_for_the_desk(author))
        return;
    int64_t updated_s = time_at(said, "updated_at");
    struct desk_part part = {
        .id = id,
        .created_s = created_s,
        .updated_s = updated_s > created_s ? updated_s : created_s,
        .author_id = intercom_id(yyjson_obj_get(author, "id"), arena),
        .author_name = arena_str(arena, json_get_str(author, "name")),
        .by_bot = is_bot(author, delivered_as),
    };
    read_words(said, &part, arena);
    if (!part.html.n && !part.attachments.n && !part.redacted)
        return;
    if (id.n && created_s > 0)
        reading->parts[reading->count++] = part;
    else if (!part.redacted) // words for a customer, and nothing to know them by
        reading->unreadable = true;
}

// The message that the conversation began with: its id is of another series than those of parts.
static void add_source(struct reading *reading, yyjson_val *conversation)
{
    yyjson_val *source = yyjson_obj_get(conversation, "source");
    struct str id = intercom_id(yyjson_obj_get(source, "id"), reading->arena);
    if (id.n)
        id = arena_printf(reading->arena, "source:%.*s", STR_ARG(id));
    add_said(reading, source, id, time_at(conversation, "created_at"), json_get_str(source, "delivered_as"));
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
            add_said(&reading, part, intercom_id(yyjson_obj_get(part, "id"), fetch->arena), time_at(part, "created_at"),
                     STR_NONE);
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
