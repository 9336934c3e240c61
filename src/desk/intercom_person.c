// One person who writes from several sources (`identity: phone | email`): before a contact is made for a conversation that has none,
// those that are there are searched for one with the same phone, or e-mail address (SEEK). Exactly one: it is taken, and keeps the
// external id, name, phone and address that it has. None, several, or no answer that can be used: a contact of our own is made.
//
// The search is an index and lags minutes: what it does not find decides nothing more than that.
#include "desk/intercom.h"

#include <string.h>

struct profile intercom_profile(const struct intercom *s)
{
    enum identity_policy identity = s->attempt->account->identity;
    struct profile profile = profile_read(s->attempt->profile, s->arena);
    if (identity != IDENTITY_EMAIL || s->run->unshared)
        profile.email = STR_NONE;
    if (identity == IDENTITY_PHONE && s->run->unshared)
        profile.phone = STR_NONE;
    return profile;
}

struct str intercom_shared(const struct intercom *s)
{
    enum identity_policy identity = s->attempt->account->identity;
    if (identity == IDENTITY_NONE || s->attempt->message->conversation_name.p)
        return STR_NONE;
    struct profile profile = intercom_profile(s);
    return identity == IDENTITY_PHONE ? profile.phone : profile.email;
}

bool intercom_send_seek(struct intercom *s)
{
    struct str shared = intercom_shared(s);
    if (!shared.n || s->run->sought)
        return false;
    s->run->sought = true;
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    json_key(&json, "query");
    json_open(&json, '{');
    json_key_str(&json, "operator", STR("AND"));
    json_key(&json, "value");
    json_open(&json, '[');
    intercom_write_filter(&json, identity_policy_name(s->attempt->account->identity), "=", shared);
    intercom_write_filter(&json, "role", "=", STR("user"));
    json_close(&json, ']');
    json_close(&json, '}');
    json_key(&json, "pagination");
    json_open(&json, '{');
    json_key_int(&json, "per_page", 2); // more than one is as good as many
    json_close(&json, '}');
    json_close(&json, '}');
    intercom_send(s, PHASE_SEEK, "POST", STR("/contacts/search"), intercom_written(s, &buf));
    return true;
}

static struct str digits_of(struct intercom *s, struct str phone)
{
    char *digits = arena_alloc(s->arena, phone.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < phone.n; i++)
        if (phone.p[i] >= '0' && phone.p[i] <= '9')
            digits[n++] = phone.p[i];
    return (struct str){digits, n};
}

// Whatever a desk takes for equal: no customer is shown as another one.
static bool has_shared(struct intercom *s, yyjson_val *contact)
{
    struct str ours = intercom_shared(s);
    struct str role = json_get_str(contact, "role");
    if (role.p && !str_eq_c(role, "user"))
        return false;
    if (s->attempt->account->identity == IDENTITY_EMAIL)
        return str_ieq(json_get_str(contact, "email"), ours);
    return str_eq(digits_of(s, json_get_str(contact, "phone")), digits_of(s, ours));
}

// A contact that the desk does not know any more stays in the index for a while.
static bool is_lost(struct intercom *s, yyjson_val *contact)
{
    return s->run->lost.n && str_eq(intercom_id(yyjson_obj_get(contact, "id"), s->arena), s->run->lost);
}

static bool take_only(struct intercom *s, yyjson_val *list)
{
    yyjson_val *data = yyjson_obj_get(list, "data"), *contact = yyjson_arr_get_first(data);
    int64_t total;
    if (yyjson_arr_size(data) != 1 || (json_get_int(list, "total_count", &total) && total != 1))
        return false;
    if (!has_shared(s, contact) || is_lost(s, contact) || !intercom_take_contact(s, contact, false))
        return false;
    s->run->note.joined = true;
    s->run->note.who = s->run->note.absent_s = 0;
    if (s->attempt->link.conversation.n) // it was another contact's
        intercom_forget_conversation(s);
    return true;
}

// A message that may be there may be so under a contact that was joined before: no answer is no "none" then.
static bool must_know(const struct intercom *s, const struct http_response *last)
{
    bool refused = last->failure == HTTP_ANSWERED && last->status >= 400 && last->status <= 499 && last->status != 408;
    return s->attempt->in_doubt && !s->run->looked && !refused;
}

void intercom_on_seek(struct intercom *s, const struct http_response *last)
{
    if (intercom_answered(last, 429)) {
        s->run->note.absent_s = s->attempt->now_us / 1000000;
        intercom_end_by_rule(s, last, false);
        return;
    }
    bool answered = intercom_is_2xx(last);
    yyjson_doc *doc = answered ? json_read(last->body) : NULL;
    yyjson_val *list = yyjson_doc_get_root(doc);
    bool readable = yyjson_is_arr(yyjson_obj_get(list, "data"));
    if (readable && take_only(s, list))
        intercom_go_on(s);
    else if (readable || !must_know(s, last))
        intercom_contact_absent(s);
    else if (answered)
        intercom_end_unreadable(s, last, false);
    else
        intercom_end_by_rule(s, last, false);
    yyjson_doc_free(doc);
}
