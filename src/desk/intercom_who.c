// Who the customer is, kept true at the contact: name, phone and, as custom attributes, what the platform knows besides
// (telegram_username, telegram_language). Told before a message, once for each change, by one request (WHO: PUT the contact). Attributes
// that the workspace has not defined are refused: then it is told without them. With `identity: email` the e-mail address, too. A contact
// that the customer shares with another source (intercom_person.c) keeps its name, phone and address, and is told attributes alone.
//
// The customer's picture is told apart, behind a message (relay/media_avatar.c asks for the request), and only to a contact of ours.
//
// It never hinders a message: whatever Intercom answers, the message goes next. link.note says what was told (who=), or until when it
// is not tried again.
#include "base/hash.h"
#include "desk/intercom.h"

enum {
    REFUSED_PAUSE_S = 86400,
    FAILED_PAUSE_S = 600,
    MISSING_PAUSE_S = 60, // the contact is too new, or gone: the message finds out
};

static int64_t now_s(const struct intercom *s)
{
    return s->attempt->now_us / 1000000;
}

static uint64_t digest_of(const struct intercom *s)
{
    struct str parts[] = {s->attempt->profile, STR("email")}; // as much of it as is told
    bool whole = s->attempt->account->identity == IDENTITY_EMAIL;
    uint64_t digest = whole ? hash_strs(parts, 2) : hash_str(s->attempt->profile);
    return digest ? digest : 1;
}

static bool is_told(const struct intercom *s)
{
    const struct intercom_note *note = &s->run->note;
    return note->who == digest_of(s) && (!note->who_after_s || now_s(s) < note->who_after_s);
}

static bool is_plain(const struct profile *profile)
{
    return !profile->username.n && !profile->language.n;
}

static void add_attribute(struct intercom *s, struct json *json, const char *what, struct str value)
{
    if (!value.n)
        return;
    json_key(json, arena_printf(s->arena, "%.*s_%s", STR_ARG(s->attempt->source->platform), what).p);
    json_str(json, value);
}

// What there is to tell.
static struct profile news_of(const struct intercom *s)
{
    struct profile news = intercom_profile(s);
    if (s->run->note.joined)
        news.name = news.phone = news.email = STR_NONE;
    if (s->run->no_attributes)
        news.username = news.language = STR_NONE;
    return news;
}

static bool is_empty(const struct profile *news)
{
    return !news->name.n && !news->phone.n && !news->email.n && !news->username.n && !news->language.n;
}

// False: there is nothing.
static bool send_who(struct intercom *s)
{
    struct profile news = news_of(s);
    if (is_empty(&news))
        return false;
    struct buf buf;
    struct str contact = http_escape(s->arena, s->attempt->link.contact);
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    if (news.name.n)
        json_key_str(&json, "name", news.name);
    if (news.phone.n)
        json_key_str(&json, "phone", news.phone);
    if (news.email.n)
        json_key_str(&json, "email", news.email);
    if (!is_plain(&news)) {
        json_key(&json, "custom_attributes");
        json_open(&json, '{');
        add_attribute(s, &json, "username", news.username);
        add_attribute(s, &json, "language", news.language);
        json_close(&json, '}');
    }
    json_close(&json, '}');
    intercom_send(s, PHASE_WHO, "PUT", arena_printf(s->arena, "/contacts/%.*s", STR_ARG(contact)),
                  intercom_written(s, &buf));
    return true;
}

static void set_who(struct intercom *s, int64_t pause_s)
{
    s->run->note.who = digest_of(s);
    s->run->note.who_after_s = pause_s ? now_s(s) + pause_s : 0;
}

bool intercom_send_who(struct intercom *s)
{
    const struct message *message = s->attempt->message;
    if (!s->attempt->profile.n || s->run->who_asked || message->conversation_name.p || is_told(s))
        return false;
    s->run->who_asked = true;
    return send_who(s);
}

// Leaves out what may be why it was refused: attributes that are not defined, then what is another's, or looks like no address.
static bool send_less(struct intercom *s, const struct http_response *last)
{
    struct profile news = news_of(s);
    bool content = intercom_answered(last, 400) || intercom_answered(last, 422);
    if (content && !is_plain(&news))
        s->run->no_attributes = true;
    else if (!s->run->note.joined && intercom_shared(s).n && (content || intercom_answered(last, 409)))
        s->run->unshared = true;
    else
        return false;
    return send_who(s);
}

void intercom_on_who(struct intercom *s, const struct http_response *last)
{
    if (send_less(s, last))
        return;
    if (intercom_is_2xx(last))
        set_who(s, 0);
    else if (intercom_answered(last, 404) || intercom_answered(last, 410))
        set_who(s, MISSING_PAUSE_S);
    else if (last->failure == HTTP_ANSWERED && last->status >= 400 && last->status <= 499 && last->status != 429 &&
             last->status != 408)
        set_who(s, REFUSED_PAUSE_S);
    else
        set_who(s, FAILED_PAUSE_S);
    intercom_go_on(s);
}

void intercom_who_made(struct intercom *s)
{
    if (!s->attempt->profile.n || s->run->nameless)
        return;
    struct profile profile = profile_read(s->attempt->profile, s->arena);
    if (is_plain(&profile) && str_eq(profile.name, s->attempt->message->sender_name))
        set_who(s, 0);
}

// As its shape in requests: a text (in answers it is an object with image_url).
bool intercom_show_avatar(const struct desk *desk, const struct link *link, struct str url, struct arena *arena,
                          struct http_request *out)
{
    if (!link->contact.n || intercom_note_read(link->note).joined)
        return false;
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    struct json json = {.out = &buf};
    json_open(&json, '{');
    json_key(&json, "avatar");
    if (url.n)
        json_str(&json, url);
    else
        json_null(&json);
    json_close(&json, '}');
    buf_must(&buf);
    struct str body = arena_str(arena, buf_str(&buf));
    buf_done(&buf);
    struct str path = ARENA_JOIN(arena, STR("/contacts/"), http_escape(arena, link->contact));
    intercom_request(desk, arena, "PUT", path, body, out);
    return true;
}
