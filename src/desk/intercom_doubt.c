// A message that may be at Intercom already is looked for: in its conversation, or for the conversation that it
// may have begun.
#include "desk/intercom.h"

#include <inttypes.h>

enum { SEARCH_SLACK_S = 2 * 86400 }; // dates in searches may be cut to days, in some time zone

static int64_t received_s(const struct delivery *attempt)
{
    return attempt->message->received_at_us / 1000000;
}

void intercom_write_filter(struct json *json, const char *field, const char *operator, struct str value)
{
    json_open(json, '{');
    json_key_str(json, "field", str_of(field));
    json_key_str(json, "operator", str_of(operator));
    json_key_str(json, "value", value);
    json_close(json, '}');
}

void intercom_send_search(struct intercom *s)
{
    int64_t since_s = received_s(s->attempt);
    if (s->run->created_s < since_s)
        since_s = s->run->created_s;
    struct buf buf;
    buf_init(&buf, 65536);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    json_key(&json, "query");
    json_open(&json, '{');
    json_key_str(&json, "operator", STR("AND"));
    json_key(&json, "value");
    json_open(&json, '[');
    intercom_write_filter(&json, "contact_ids", "=", s->attempt->link.contact);
    intercom_write_filter(&json, "created_at", ">", arena_printf(s->arena, "%" PRId64, since_s - SEARCH_SLACK_S));
    json_close(&json, ']');
    json_close(&json, '}');
    json_key(&json, "pagination");
    json_open(&json, '{');
    json_key_int(&json, "per_page", 150);
    json_close(&json, '}');
    json_close(&json, '}');
    intercom_send(s, PHASE_SEARCH, "POST", STR("/conversations/search"), intercom_written(s, &buf));
}

// Where it is not known whose time the desk shows, a part may be ours at any: if it came after the last one that we know of.
static bool may_be_own_clock(const struct intercom *s)
{
    int64_t known;
    enum intercom_clock clock = s->run->note.clock;
    return clock == CLOCK_DESKS || (clock == CLOCK_NOT_KNOWN && str_to_i64(s->attempt->link.last_part, &known));
}

// Topics of one chat have one contact, and so have the sources of one person.
static bool is_alone(const struct intercom *s)
{
    const struct delivery *attempt = s->attempt;
    bool may_be_shared = attempt->account->identity != IDENTITY_NONE || s->run->note.joined;
    return !may_be_shared && !attempt->message->conversation_name.p &&
           str_ends(attempt->customer, attempt->message->conversation);
}

static struct intercom_wanted wanted_of(struct intercom *s)
{
    const struct delivery *attempt = s->attempt;
    struct intercom_wanted wanted = {
        .contact = attempt->link.contact,
        .body = s->run->body,
        .created_s = s->run->created_s,
        .received_s = received_s(attempt),
        .known_refs = attempt->known_refs,
        .known_ref_count = attempt->known_ref_count,
        .own_clock = may_be_own_clock(s),
        .alone = is_alone(s),
        .looked = attempt->link.conversation,
        .last_part = attempt->link.last_part,
    };
    intercom_files_wanted(s, &wanted);
    return wanted;
}

// The conversation that we know began after this message: so this one may have begun another, unseen. (One that is tried
// again by hand may have done so in any case: the conversation may be of an older one that was tried again before it.)
static bool may_have_begun_another(struct intercom *s, yyjson_val *conversation)
{
    int64_t created_s;
    return json_get_int(conversation, "created_at", &created_s) && created_s >= s->run->created_s;
}

static bool shows_parts(yyjson_val *conversation)
{
    yyjson_val *parts = yyjson_obj_get(conversation, "conversation_parts");
    return yyjson_is_arr(yyjson_obj_get(parts, "conversation_parts"));
}

// The message, or, where its text is known to be there, its files. True: found.
static bool find(struct intercom *s, yyjson_val *conversation)
{
    struct intercom_wanted wanted = wanted_of(s);
    yyjson_val *said = NULL;
    struct str ref = intercom_find_in_conversation(&wanted, conversation, s->arena, &said);
    if (ref.n)
        intercom_found(s, said, ref);
    return ref.n > 0;
}

static bool find_all(struct intercom *s, yyjson_val *conversation)
{
    bool text_was_there = s->run->text_there;
    if (!find(s, conversation))
        return false;
    return text_was_there || !intercom_files_left(s) || find(s, conversation);
}

static void on_look_done(struct intercom *s, const struct http_response *last)
{
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *conversation = yyjson_doc_get_root(doc);
    bool readable = intercom_is_conversation(conversation) && shows_parts(conversation);
    if (!readable) {
        intercom_end_unreadable(s, last, false);
    } else if (find_all(s, conversation)) {
        intercom_end_there(s, last->status);
    } else if (!s->run->text_there && (s->attempt->message->late || may_have_begun_another(s, conversation))) {
        intercom_send_search(s);
    } else {
        s->run->looked = true;
        intercom_go_on(s);
    }
    yyjson_doc_free(doc);
}

void intercom_on_look(struct intercom *s, const struct http_response *last)
{
    if (intercom_is_2xx(last)) {
        on_look_done(s, last);
    } else if (intercom_answered(last, 404)) {
        intercom_forget_conversation(s);
        intercom_go_on(s);
    } else {
        intercom_end_by_rule(s, last, false);
    }
}

// Not found once is not missing: the search is an index.
static void not_in_search(struct intercom *s)
{
    struct delivery *attempt = s->attempt;
    struct intercom_note *note = &s->run->note;
    bool sought = note->sought_id == attempt->message->id && note->sought_us <= attempt->now_us;
    if (attempt->link.conversation.n) { // the message is older than what we know of: no index lags so long
        s->run->looked = true;
        intercom_go_on(s);
        return;
    }
    if (!sought) {
        note->sought_id = attempt->message->id;
        note->sought_us = attempt->now_us;
    }
    int64_t until_us = note->sought_us + attempt->settle_us;
    if (!sought || attempt->now_us < until_us) {
        intercom_end_wait(s, until_us, "not found at the desk; looked for once more before it is sent again");
        return;
    }
    note->sought_id = note->sought_us = 0;
    s->run->looked = true;
    if (attempt->look_only)
        intercom_end_retry(s, NULL, "twice not found at the desk");
    else
        intercom_end_wait(s, attempt->now_us, "twice not found at the desk");
}

void intercom_on_search(struct intercom *s, const struct http_response *last)
{
    if (!intercom_is_2xx(last)) {
        intercom_end_by_rule(s, last, false);
        return;
    }
    struct intercom_wanted wanted = wanted_of(s);
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *list = yyjson_doc_get_root(doc);
    yyjson_val *said = NULL;
    struct str conversation = STR_NONE;
    struct str ref = intercom_find_in_list(&wanted, list, s->arena, &conversation, &said);
    if (!yyjson_is_arr(yyjson_obj_get(list, "conversations"))) {
        intercom_end_unreadable(s, last, false);
    } else if (ref.n) {
        if (!s->attempt->link.conversation.n)
            intercom_set(s, &s->attempt->link.conversation, conversation);
        intercom_found(s, said, ref);
        if (intercom_files_left(s))
            intercom_go_on(s); // are they there?
        else
            intercom_end_there(s, last->status);
    } else {
        not_in_search(s);
    }
    yyjson_doc_free(doc);
}
