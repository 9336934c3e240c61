// The customer at Intercom: a contact of role user, found or made by external id. Which contact that is may
// change under our hands: merged into another, archived, deleted, blocked.
#include "desk/intercom.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

enum { FINDS_MAX = 3, SPACES_MAX = 9 };

static struct str external_id(struct intercom *s)
{
    struct str customer = s->attempt->customer;
    if (!s->run->note.space)
        return customer;
    return arena_printf(s->arena, "%.*s~%" PRId64, STR_ARG(customer), s->run->note.space);
}

void intercom_send_find(struct intercom *s)
{
    s->run->finds++;
    intercom_send(
        s, PHASE_FIND, "GET",
        arena_printf(s->arena, "/contacts/find_by_external_id/%.*s", STR_ARG(http_escape(s->arena, external_id(s)))),
        STR_NONE);
}

static void send_make_contact(struct intercom *s)
{
    const struct message *message = s->attempt->message;
    struct str name = message->conversation_name.p ? message->conversation_name : message->sender_name;
    struct profile profile = {0};
    if (!message->conversation_name.p)
        profile = intercom_profile(s);
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    json_key_str(&json, "role", STR("user"));
    json_key_str(&json, "external_id", external_id(s));
    if (name.n && !s->run->nameless)
        json_key_str(&json, "name", name);
    if (profile.phone.n && !s->run->nameless)
        json_key_str(&json, "phone", profile.phone);
    if (profile.email.n && !s->run->nameless)
        json_key_str(&json, "email", profile.email);
    json_close(&json, '}');
    intercom_send(s, PHASE_MAKE_CONTACT, "POST", STR("/contacts"), intercom_written(s, &buf));
}

void intercom_contact_absent(struct intercom *s)
{
    if (intercom_send_seek(s))
        return;
    if (!s->attempt->in_doubt || !s->attempt->look_only) {
        send_make_contact(s);
        return;
    }
    s->run->looked = true; // nobody there who could have said it
    intercom_end_retry(s, NULL, "not found at the desk");
}

// A desk that takes few requests a time would have room for the look again and again, and never for what follows it.
void intercom_send_find_or_make(struct intercom *s)
{
    if (s->run->note.absent_s && !s->attempt->look_only)
        intercom_contact_absent(s);
    else
        intercom_send_find(s);
}

// The desk says that our contact is not there, though it was: its id may have changed with a merge or a
// deletion.
void intercom_contact_lost(struct intercom *s, const struct http_response *last)
{
    if (s->run->finds >= FINDS_MAX - 1) {
        intercom_end_retry(s, last, "Intercom does not know the contact that it names itself");
        return;
    }
    s->run->lost = s->attempt->link.contact;
    intercom_set_contact(s, STR_NONE);
    s->run->note.who = 0; // another may be found
    intercom_send_find(s);
}

// The id that stands in a text right behind `before`.
static struct str id_behind(struct str text, const char *before)
{
    const char *hit = text.n ? memmem(text.p, text.n, before, strlen(before)) : NULL;
    if (!hit)
        return STR_NONE;
    struct str rest = str_sub(text, (size_t)(hit - text.p) + strlen(before), text.n);
    size_t n = 0;
    while (n < rest.n && n < 64 && isalnum((unsigned char)rest.p[n]))
        n++;
    return str_sub(rest, 0, n);
}

void intercom_contact_merged(struct intercom *s, const struct http_response *last)
{
    // Link: </contacts/ID>; rel="canonical"
    struct str contact = id_behind(http_header_get(last->headers, last->header_count, "Link"), "/contacts/");
    if (!contact.n) {
        intercom_contact_lost(s, last);
        return;
    }
    intercom_set_contact(s, contact);
    intercom_go_on(s);
}

// Not what names another thing, or no single thing: who believed it would wait for a contact that never comes.
static bool is_contact(yyjson_val *object, struct str id)
{
    const char *type = yyjson_get_str(yyjson_obj_get(object, "type"));
    bool plain = id.n > 0 && id.n <= 128;
    for (size_t i = 0; i < id.n && plain; i++)
        plain = isalnum((unsigned char)id.p[i]) || id.p[i] == '-' || id.p[i] == '_';
    return plain && (!type || strcmp(type, "contact") == 0);
}

bool intercom_take_contact(struct intercom *s, yyjson_val *contact, bool made)
{
    struct str id = intercom_id(yyjson_obj_get(contact, "id"), s->arena);
    int64_t now_s = s->attempt->now_us / 1000000, created_s = 0;
    bool dated = json_get_int(contact, "created_at", &created_s);
    if (!is_contact(contact, id))
        return false;
    s->run->note.joined = false;
    intercom_set_contact(s, id);
    if (made)
        s->run->note.made_s = now_s;
    else if (dated && created_s > now_s - INTERCOM_NEWS_S && created_s <= now_s + INTERCOM_NEWS_S)
        s->run->note.made_s = created_s;
    return true;
}

static bool take_answer(struct intercom *s, const struct http_response *last, bool made)
{
    yyjson_doc *doc = json_read(last->body);
    bool good = intercom_take_contact(s, yyjson_doc_get_root(doc), made);
    yyjson_doc_free(doc);
    if (!good)
        intercom_end_unreadable(s, last, false);
    return good;
}

void intercom_on_find(struct intercom *s, const struct http_response *last)
{
    if (intercom_is_2xx(last)) {
        if (take_answer(s, last, false))
            intercom_go_on(s);
    } else if (intercom_answered(last, 404)) {
        intercom_contact_absent(s);
    } else if (intercom_answered(last, 410)) {
        intercom_contact_merged(s, last);
    } else {
        intercom_end_by_rule(s, last, false);
    }
}

static bool says(struct str words, const char *part)
{
    size_t n = strlen(part);
    for (size_t i = 0; i + n <= words.n; i++)
        if (str_ieq_c(str_sub(words, i, i + n), part))
            return true;
    return false;
}

static void on_conflict(struct intercom *s, const struct http_response *last)
{
    // "A contact matching those details already exists with id=6762f0df1bb69f9f2193bb84"
    struct str contact = id_behind(last->body, " id=");
    // Whether it has our id or what the customer shares is not said.
    s->run->note.joined = intercom_shared(s).n && !s->run->nameless;
    if (contact.n && says(last->body, "archived")) {
        // Kept for UNARCHIVE; taken back when the contact cannot be had.
        intercom_set_contact(s, contact);
        intercom_send(s, PHASE_UNARCHIVE, "POST",
                      arena_printf(s->arena, "/contacts/%.*s/unarchive", STR_ARG(http_escape(s->arena, contact))),
                      STR_NONE);
    } else if (contact.n) {
        intercom_set_contact(s, contact);
        intercom_go_on(s);
    } else if (s->run->finds < FINDS_MAX) {
        intercom_send_find(s);
    } else {
        intercom_end_retry(s, last, "Intercom has this contact already and does not say which it is");
    }
}

void intercom_on_make_contact(struct intercom *s, const struct http_response *last)
{
    bool content = intercom_answered(last, 400) || intercom_answered(last, 422);
    s->run->note.absent_s = intercom_answered(last, 429) ? s->attempt->now_us / 1000000 : 0;
    if (intercom_is_2xx(last)) {
        if (!take_answer(s, last, true))
            return;
        // A contact that was not there has said nothing yet; a conversation that we knew was another's.
        s->run->looked = true;
        s->run->note.who = 0;
        intercom_who_made(s);
        if (s->attempt->link.conversation.n)
            intercom_forget_conversation(s);
        intercom_go_on(s);
    } else if (intercom_answered(last, 409)) {
        on_conflict(s, last);
    } else if (content && !s->run->nameless) {
        s->run->nameless = true;
        send_make_contact(s);
    } else {
        intercom_end_by_rule(s, last, false);
        // The address of all contacts is not there: that is no message's fault.
        if (intercom_answered(last, 404) || intercom_answered(last, 405)) {
            s->out->verdict.kind = VERDICT_DESK_DOWN;
            s->out->verdict.alarm = true;
        }
    }
}

static bool is_named_by_us(struct intercom *s, const struct http_response *last)
{
    yyjson_doc *doc = json_read(last->body);
    bool ours = str_eq(json_get_str(yyjson_doc_get_root(doc), "external_id"), external_id(s));
    yyjson_doc_free(doc);
    return ours;
}

void intercom_on_unarchive(struct intercom *s, const struct http_response *last)
{
    if (intercom_is_2xx(last)) {
        if (is_named_by_us(s, last))
            s->run->note.joined = false;
        intercom_go_on(s);
        return;
    }
    bool locked = says(last->body, "not_restorable") || says(last->body, "not restorable") ||
                  says(last->body, "permanent deletion");
    intercom_set_contact(s, STR_NONE);
    if (last->failure != HTTP_ANSWERED || !(locked || last->status == 404)) {
        intercom_end_by_rule(s, last, false);
    } else if (s->run->note.space >= SPACES_MAX) {
        intercom_end_retry(s, last, "this contact was blocked or deleted at Intercom, many times over");
    } else {
        s->run->note.space = s->run->note.space ? s->run->note.space + 1 : 2;
        s->run->unshared = true; // it may be this, and no id, that the locked one has in common with ours
        s->run->finds = 0;
        intercom_send_find(s);
    }
}
