// Notes: what the relay tells the agents, inside the conversation it is about. They are written as the token's own admin.
//
//   in doubt        LOOK_TOLD: is it there?
//   else            ME (GET /me, for that admin's id), then TELL
//
// A note has the desk's time, not ours. It is known by its text, by being later than the last note of ours (but one that is
// tried again by hand may be older), and no older than what it tells of. It leaves link.last_part alone, which the look-up of customers' messages counts from.
#include "desk/intercom.h"

static void send_tell(struct intercom *s, struct str admin)
{
    struct buf html, buf;
    struct str text = s->run->body;
    buf_init(&html, SIZE_MAX / 2);
    buf_add_str(&html, STR("<p>"));
    for (size_t i = 0; i < text.n; i++)
        switch (text.p[i]) {
        case '&':
            buf_add_str(&html, STR("&amp;"));
            break;
        case '<':
            buf_add_str(&html, STR("&lt;"));
            break;
        case '>':
            buf_add_str(&html, STR("&gt;"));
            break;
        case '\n':
            buf_add_str(&html, STR("<br>"));
            break;
        default:
            buf_add_char(&html, text.p[i]);
        }
    buf_add_str(&html, STR("</p>"));
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    json_key_str(&json, "message_type", STR("note"));
    json_key_str(&json, "type", STR("admin"));
    json_key_str(&json, "admin_id", admin);
    json_key_str(&json, "body", intercom_written(s, &html));
    json_close(&json, '}');
    intercom_send(s, PHASE_TELL, "POST", intercom_conversation_path(s, "/reply"), intercom_written(s, &buf));
}

void intercom_go_on_telling(struct intercom *s)
{
    const struct delivery *attempt = s->attempt;
    if (!attempt->link.conversation.n)
        intercom_end_rejected(s, NULL, "there is no conversation to write the note in");
    else if (attempt->in_doubt && !s->run->looked)
        intercom_send(s, PHASE_LOOK_TOLD, "GET", intercom_conversation_path(s, ""), STR_NONE);
    else if (attempt->in_doubt && attempt->look_only)
        intercom_end_retry(s, NULL, "not found at the desk");
    else
        intercom_send(s, PHASE_ME, "GET", STR("/me"), STR_NONE);
}

void intercom_on_me(struct intercom *s, const struct http_response *last)
{
    if (!intercom_is_2xx(last)) {
        intercom_end_by_rule(s, last, false);
        return;
    }
    yyjson_doc *doc = json_read(last->body);
    struct str admin = intercom_id(yyjson_obj_get(yyjson_doc_get_root(doc), "id"), s->arena);
    yyjson_doc_free(doc);
    if (admin.n)
        send_tell(s, admin);
    else
        intercom_end_unreadable(s, last, false);
}

static void end_gone(struct intercom *s, const struct http_response *last)
{
    intercom_end_rejected(s, last, "the conversation that the note belongs in is gone");
}

// Finding it -----------------------------------------------------------------------------------------------

static size_t times_known(const struct delivery *attempt, struct str ref)
{
    size_t times = 0;
    for (size_t i = 0; i < attempt->known_ref_count; i++)
        times += str_eq(attempt->known_refs[i], ref);
    return times;
}

static bool is_it(struct intercom *s, yyjson_val *part, struct str id)
{
    int64_t number, created_s;
    if (!id.n || !intercom_is_note(json_get_str(part, "part_type")) || times_known(s->attempt, id))
        return false;
    if (!s->attempt->message->late && str_to_i64(id, &number) && number <= s->run->note.told)
        return false;
    if (!json_get_int(part, "created_at", &created_s) ||
        created_s < s->attempt->message->received_at_us / 1000000 - INTERCOM_SKEW_S)
        return false;
    return intercom_same_body(s->run->body, json_get_str(part, "body"), s->arena);
}

// The first note that is this one, after `taken` others that are like it; STR_NONE when there is none.
static struct str find(struct intercom *s, yyjson_val *conversation, size_t taken)
{
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(conversation, "conversation_parts"), "conversation_parts");
    yyjson_val *part;
    size_t i, n;
    yyjson_arr_foreach(parts, i, n, part)
    {
        struct str id = intercom_id(yyjson_obj_get(part, "id"), s->arena);
        if (is_it(s, part, id) && !taken--)
            return id;
    }
    return STR_NONE;
}

static void end_told(struct intercom *s, const struct http_response *last, struct str ref)
{
    int64_t number;
    if (str_to_i64(ref, &number) && number > s->run->note.told)
        s->run->note.told = number;
    intercom_end_delivered(s, last->status, ref.n ? ref : INTERCOM_UNNAMED_NOTE);
}

void intercom_on_tell(struct intercom *s, const struct http_response *last)
{
    if (intercom_answered(last, 404)) {
        end_gone(s, last);
        return;
    }
    if (!intercom_is_2xx(last)) {
        intercom_end_by_rule(s, last, true);
        return;
    }
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *conversation = yyjson_doc_get_root(doc);
    if (last->status == 204 || intercom_is_conversation(conversation))
        end_told(s, last, find(s, conversation, 0));
    else
        intercom_end_unreadable(s, last, true);
    yyjson_doc_free(doc);
}

static void on_look_done(struct intercom *s, const struct http_response *last)
{
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *conversation = yyjson_doc_get_root(doc);
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(conversation, "conversation_parts"), "conversation_parts");
    bool readable = intercom_is_conversation(conversation) && yyjson_is_arr(parts);
    struct str ref = readable ? find(s, conversation, times_known(s->attempt, INTERCOM_UNNAMED_NOTE)) : STR_NONE;
    if (!readable) {
        intercom_end_unreadable(s, last, false);
    } else if (ref.n) {
        end_told(s, last, ref);
    } else {
        s->run->looked = true;
        intercom_go_on_telling(s);
    }
    yyjson_doc_free(doc);
}

void intercom_on_look_told(struct intercom *s, const struct http_response *last)
{
    if (intercom_is_2xx(last)) {
        on_look_done(s, last);
    } else if (intercom_answered(last, 404)) {
        s->run->looked = true;
        end_gone(s, last);
    } else {
        intercom_end_by_rule(s, last, false);
    }
}
