// Intercom as a desk: the customer is a contact (found or made by external id), the first message makes a
// conversation, each later one is the contact's reply in it. Steady state is one call a message.
//
//   what is missing is got, in this order, and then the message goes:
//     contact         FIND (by external id) -404-> MAKE_CONTACT -409-> the one that is there, UNARCHIVE if need be; between the two
//                     SEEK, where one person is one contact; see intercom_person.c
//     in doubt        LOOK (in the conversation) or SEARCH (for the conversation that it made)
//     news of them    WHO: the contact's name, phone ... when they changed; see intercom_who.c
//     conversation    OPEN, with the message as its first
//     else            REPLY
//   a note          ME (who writes it), LOOK_TOLD if in doubt, TELL: see intercom_tell.c
//   files           go with their message, but OPEN takes none but images by their address: the others are a REPLY of their own, in the
//                   same attempt; see intercom_files.c
//   gone meanwhile    REPLY -404-> CHECK (is the conversation there?) -404-> OPEN
//                     OPEN or REPLY -410-> the contact it was merged into, and again
//
// A conversation that may have been made is looked for twice, a settle time apart, since the search is an index
// and lags; between the two the fact stands in link.note. Found missing twice, the attempt ends as "not found",
// and the next one, no longer in doubt, makes it.
#include "desk/intercom.h"

#include <inttypes.h>
#include <string.h>

enum {
    STEPS_MAX = 20,
    CONTACT_PAUSE_S = 5,
    RESET_MAX_S = 3600,
};

// Endings --------------------------------------------------------------------------------------------------

static void end(struct intercom *s, struct verdict verdict)
{
    if (verdict.kind != VERDICT_DELIVERED && s->attempt->in_doubt && s->run->looked)
        verdict.not_found = true;
    // Its text is there. That is noted with the conversation, for one message at a time: what was given up and is tried again
    // once the note is another's has to be looked for.
    if ((verdict.kind == VERDICT_RETRY || verdict.kind == VERDICT_REJECTED) && s->run->text_there)
        verdict.maybe_applied = true;
    *s->out = (struct delivery_step){.kind = DELIVERY_END, .verdict = verdict};
}

void intercom_end_delivered(struct intercom *s, int status, struct str ref)
{
    struct intercom_run *run = s->run;
    int64_t id = s->attempt->message->id;
    if (run->note.sought_id == id)
        run->note.sought_id = run->note.sought_us = 0;
    if (run->note.files_id == id)
        run->note.files_id = 0;
    s->attempt->files_told = run->told;
    end(s, (struct verdict){.kind = VERDICT_DELIVERED, .status = status, .desk_ref = ref});
}

void intercom_end_retry(struct intercom *s, const struct http_response *last, const char *why)
{
    end(s, (struct verdict){.kind = VERDICT_RETRY, .status = last ? last->status : 0, .error = str_of(why)});
}

void intercom_end_rejected(struct intercom *s, const struct http_response *last, const char *why)
{
    end(s, (struct verdict){
               .kind = VERDICT_REJECTED, .of_chat = true, .status = last ? last->status : 0, .error = str_of(why)});
}

void intercom_end_wait(struct intercom *s, int64_t until_us, const char *why)
{
    end(s, (struct verdict){.kind = VERDICT_WAIT, .until_us = until_us, .error = str_of(why)});
}

// 429 without Retry-After: the window's end stands in a header of Intercom's own.
static int64_t window_end_us(const struct http_response *response, int64_t now_us)
{
    int64_t reset_s;
    struct str value = http_header_get(response->headers, response->header_count, "X-RateLimit-Reset");
    int64_t now_s = now_us / 1000000;
    if (!str_to_i64(str_trim(value), &reset_s) || reset_s <= now_s || reset_s > now_s + RESET_MAX_S)
        return 0;
    return reset_s * 1000000;
}

struct verdict intercom_verdict(const struct http_response *response, bool writes, int64_t now_us, struct arena *arena)
{
    struct verdict verdict = verdict_of(response, writes, now_us, arena);
    if (response->failure == HTTP_ANSWERED && response->status == 429 && !verdict.until_us)
        verdict.until_us = window_end_us(response, now_us);
    return verdict;
}

void intercom_end_by_rule(struct intercom *s, const struct http_response *last, bool writes)
{
    end(s, intercom_verdict(last, writes, s->attempt->now_us, s->arena));
}

void intercom_end_unreadable(struct intercom *s, const struct http_response *last, bool writes)
{
    end(s, verdict_unreadable(last, writes, INTERCOM_UNREADABLE));
}

// Requests -------------------------------------------------------------------------------------------------

static struct str base_url(const struct desk *desk)
{
    return desk->api_url.n ? desk->api_url : str_of(desk_intercom.api_url);
}

void intercom_request(const struct desk *desk, struct arena *arena, const char *method, struct str path,
                      struct str body, struct http_request *out)
{
    struct http_header *headers = arena_alloc(arena, 4 * sizeof *headers);
    headers[0] = (struct http_header){STR("Authorization"), arena_printf(arena, "Bearer %.*s", STR_ARG(desk->token))};
    headers[1] = (struct http_header){STR("Intercom-Version"), STR("2.16")};
    headers[2] = (struct http_header){STR("Accept"), STR("application/json")};
    headers[3] = (struct http_header){STR("Content-Type"), STR("application/json")};
    *out = (struct http_request){
        .method = str_of(method),
        .target = arena_printf(arena, "%.*s%.*s", STR_ARG(base_url(desk)), STR_ARG(path)),
        .headers = headers,
        .header_count = body.n ? 4 : 3,
        .body = body,
    };
}

void intercom_send(struct intercom *s, enum intercom_phase phase, const char *method, struct str path, struct str body)
{
    s->attempt->phase = phase;
    *s->out = (struct delivery_step){.kind = DELIVERY_SEND,
                                     .writes = phase == PHASE_OPEN || phase == PHASE_REPLY || phase == PHASE_TELL};
    intercom_request(s->attempt->desk, s->arena, method, path, body, &s->out->request);
}

// The writer's text in the arena.
struct str intercom_written(struct intercom *s, struct buf *buf)
{
    buf_must(buf); // a message that is cut would be delivered
    struct str text = arena_str(s->arena, buf_str(buf));
    buf_done(buf);
    return text;
}

struct str intercom_conversation_path(struct intercom *s, const char *rest)
{
    return arena_printf(s->arena, "/conversations/%.*s%s",
                        STR_ARG(http_escape(s->arena, s->attempt->link.conversation)), rest);
}

// What comes next, from what is known.
void intercom_go_on(struct intercom *s)
{
    struct delivery *attempt = s->attempt;
    bool in_doubt = attempt->in_doubt && !s->run->looked;
    if (attempt->message->direction == NOTE)
        intercom_go_on_telling(s);
    else if (!attempt->link.contact.n)
        intercom_send_find_or_make(s);
    else if (in_doubt && attempt->link.conversation.n)
        intercom_send(s, PHASE_LOOK, "GET", intercom_conversation_path(s, "?display_as=plaintext"), STR_NONE);
    else if (in_doubt)
        intercom_send_search(s);
    else if (s->run->text_there && (attempt->look_only || !intercom_files_left(s)))
        intercom_end_there(s, 0);
    else if (attempt->in_doubt && attempt->look_only)
        intercom_end_retry(s, NULL, "not found at the desk");
    else if (intercom_send_who(s))
        return;
    else if (attempt->link.conversation.n)
        intercom_send_reply(s);
    else
        intercom_send_open(s);
}

// Learning -------------------------------------------------------------------------------------------------

void intercom_set(struct intercom *s, struct str *text, struct str value)
{
    if (str_eq(*text, value))
        return;
    *text = arena_str(s->arena, value);
    s->attempt->link_changed = true;
}

void intercom_set_contact(struct intercom *s, struct str contact)
{
    if (contact.n && s->attempt->link.contact.n && !str_eq(contact, s->attempt->link.contact))
        s->run->note.who = 0; // it was told to another
    intercom_set(s, &s->attempt->link.contact, contact);
}

void intercom_forget_conversation(struct intercom *s)
{
    intercom_note_add_old(&s->run->note, s->attempt->link.conversation, s->arena);
    intercom_set(s, &s->attempt->link.conversation, STR_NONE);
    intercom_set(s, &s->attempt->link.last_part, STR_NONE);
    s->run->text_there = false; // it went with the conversation
    s->run->told = 0;
    if (s->run->note.files_id == s->attempt->message->id)
        s->run->note.files_id = 0;
}

bool intercom_answered(const struct http_response *last, int status)
{
    return last->failure == HTTP_ANSWERED && last->status == status;
}

bool intercom_is_2xx(const struct http_response *last)
{
    return last->failure == HTTP_ANSWERED && last->status >= 200 && last->status <= 299;
}

// Conversation ---------------------------------------------------------------------------------------------

// A desk's own clock says the same as we do when a message goes out in the second it is of: that proves nothing.
static void learn_clock(struct intercom *s, yyjson_val *said)
{
    int64_t created_s, now_s = s->attempt->now_us / 1000000;
    if (!json_get_int(said, "created_at", &created_s))
        return;
    if (created_s != s->run->created_s)
        s->run->note.clock = CLOCK_DESKS;
    else if (created_s < now_s - INTERCOM_SKEW_S)
        s->run->note.clock = CLOCK_OURS;
}

static void on_open_done(struct intercom *s, const struct http_response *last)
{
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *message = yyjson_doc_get_root(doc);
    struct str conversation = intercom_id(yyjson_obj_get(message, "conversation_id"), s->arena);
    struct str ref = intercom_id(yyjson_obj_get(message, "id"), s->arena);
    if (conversation.n) {
        intercom_set(s, &s->attempt->link.conversation, conversation);
        learn_clock(s, message);
        intercom_taken(s, last->status, ref);
    } else {
        intercom_end_unreadable(s, last, true);
    }
    yyjson_doc_free(doc);
}

static void on_open(struct intercom *s, const struct http_response *last)
{
    int64_t now_us = s->attempt->now_us;
    if (intercom_is_2xx(last))
        on_open_done(s, last);
    else if (intercom_answered(last, 404) && s->run->note.made_s)
        intercom_end_wait(s, now_us + CONTACT_PAUSE_S * INT64_C(1000000), "Intercom does not know its new contact yet");
    else if (intercom_answered(last, 404))
        intercom_contact_lost(s, last);
    else if (intercom_answered(last, 410))
        intercom_contact_merged(s, last);
    else if (!intercom_send_without(s, last))
        intercom_end_by_rule(s, last, true);
}

// A merge may have given our contact another id than the one we answered with.
static bool is_customer(struct intercom *s, yyjson_val *author)
{
    static const char *const types[] = {"user", "lead", "contact"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_eq_c(json_get_str(author, "type"), types[i]))
            return true;
    return str_eq(intercom_id(yyjson_obj_get(author, "id"), s->arena), s->attempt->link.contact);
}

// The part that the answer to a reply shows: the customer's last one.
static yyjson_val *own_part(struct intercom *s, yyjson_val *conversation)
{
    yyjson_val *parts = yyjson_obj_get(yyjson_obj_get(conversation, "conversation_parts"), "conversation_parts");
    yyjson_val *part, *found = NULL;
    size_t i, n;
    yyjson_arr_foreach(parts, i, n, part)
    {
        if (is_customer(s, yyjson_obj_get(part, "author")) && intercom_id(yyjson_obj_get(part, "id"), s->arena).n)
            found = part;
    }
    return found;
}

bool intercom_is_conversation(yyjson_val *root)
{
    struct str type = json_get_str(root, "type");
    return str_eq_c(type, "conversation") || (!type.n && yyjson_is_obj(yyjson_obj_get(root, "conversation_parts")));
}

static void on_reply_done(struct intercom *s, const struct http_response *last)
{
    yyjson_doc *doc = json_read(last->body);
    yyjson_val *conversation = yyjson_doc_get_root(doc);
    if (last->status != 204 && !intercom_is_conversation(conversation)) {
        intercom_end_unreadable(s, last, true);
    } else {
        yyjson_val *part = own_part(s, conversation);
        struct str ref = intercom_id(yyjson_obj_get(part, "id"), s->arena);
        if (ref.n) {
            intercom_set(s, &s->attempt->link.last_part, ref);
            learn_clock(s, part);
        }
        intercom_taken(s, last->status, ref);
    }
    yyjson_doc_free(doc);
}

static void on_reply(struct intercom *s, const struct http_response *last)
{
    if (intercom_is_2xx(last))
        on_reply_done(s, last);
    else if (intercom_answered(last, 404))
        intercom_send(s, PHASE_CHECK, "GET", intercom_conversation_path(s, "?display_as=plaintext"), STR_NONE);
    else if (intercom_answered(last, 410))
        intercom_contact_merged(s, last);
    else if (!intercom_send_without(s, last))
        intercom_end_by_rule(s, last, true);
    // Files that are refused in every form are refused alone: as a message of their own, behind the text that is there.
    if (s->out->kind == DELIVERY_END && s->out->verdict.kind == VERDICT_REJECTED && s->run->text_there)
        intercom_end_there(s, last->status);
}

// A reply found nobody: was it the conversation or the contact?
static void on_check(struct intercom *s, const struct http_response *last)
{
    if (intercom_answered(last, 404)) {
        intercom_forget_conversation(s);
        intercom_go_on(s);
    } else if (intercom_is_2xx(last)) {
        intercom_contact_lost(s, last);
    } else {
        intercom_end_by_rule(s, last, false);
    }
}

// The message ----------------------------------------------------------------------------------------------

static void begin(struct intercom *s)
{
    const struct message *message = s->attempt->message;
    struct intercom_run *run = s->run = s->attempt->state = arena_of(s->arena, struct intercom_run);
    int64_t sent_us = message->sent_at_us > 0 ? message->sent_at_us : message->received_at_us;
    run->note = intercom_note_read(s->attempt->link.note);
    if (run->note.made_s <= s->attempt->now_us / 1000000 - INTERCOM_NEWS_S)
        run->note.made_s = 0;
    if (run->note.absent_s <= s->attempt->now_us / 1000000 - INTERCOM_ABSENT_S)
        run->note.absent_s = 0;
    run->created_s = sent_us / 1000000;
    intercom_files_begin(s);
}

// The desk -------------------------------------------------------------------------------------------------

static void (*const handlers[])(struct intercom *, const struct http_response *) = {
    [PHASE_FIND] = intercom_on_find,
    [PHASE_SEEK] = intercom_on_seek,
    [PHASE_MAKE_CONTACT] = intercom_on_make_contact,
    [PHASE_UNARCHIVE] = intercom_on_unarchive,
    [PHASE_WHO] = intercom_on_who,
    [PHASE_LOOK] = intercom_on_look,
    [PHASE_SEARCH] = intercom_on_search,
    [PHASE_OPEN] = on_open,
    [PHASE_REPLY] = on_reply,
    [PHASE_CHECK] = on_check,
    [PHASE_ME] = intercom_on_me,
    [PHASE_TELL] = intercom_on_tell,
    [PHASE_LOOK_TOLD] = intercom_on_look_told,
};

static void intercom_step(struct delivery *attempt, const struct http_response *last, struct delivery_step *out)
{
    struct intercom s = {attempt, attempt->state, attempt->arena, out};
    if (!s.run)
        begin(&s);
    if (!last || attempt->phase == PHASE_START)
        intercom_go_on(&s);
    else if (++attempt->tries > STEPS_MAX)
        intercom_end_retry(&s, last, "Intercom sends us in circles");
    else
        handlers[attempt->phase](&s, last);
    struct str note = intercom_note_write(&s.run->note, s.arena);
    intercom_set(&s, &attempt->link.note, note);
}

static const char *intercom_check(const struct desk *desk, struct arena *arena)
{
    (void)arena;
    if (!desk->token.n)
        return "an intercom desk needs a token (an access token of your app, from Intercom's Developer Hub)";
    for (size_t i = 0; i < desk->token.n; i++)
        if ((unsigned char)desk->token.p[i] <= 0x20 || (unsigned char)desk->token.p[i] >= 0x7F)
            return "token must not hold blanks or special characters";
    if (desk->api_url.p && !str_starts(desk->api_url, STR("https://")) && !str_starts(desk->api_url, STR("http://")))
        return "api_url must begin with https:// or http:// (https://api.eu.intercom.io for a workspace in Europe, "
               "https://api.au.intercom.io in Australia)";
    return NULL;
}

void intercom_ask_me(const struct desk *desk, struct arena *arena, struct http_request *out)
{
    intercom_request(desk, arena, "GET", STR("/me"), STR_NONE, out);
}

static bool intercom_probe(const struct account *account, const struct source *source, struct arena *arena,
                           struct http_request *out)
{
    (void)source;
    intercom_ask_me(&account->desk, arena, out);
    return true;
}

static struct verdict intercom_probe_verdict(const struct http_response *response, int64_t now_us, struct arena *arena)
{
    return intercom_verdict(response, false, now_us, arena);
}

static bool intercom_rate(const struct http_response *response, int64_t *out_remaining, int64_t *out_reset_us)
{
    int64_t remaining, reset_s, reset_us;
    struct str left = http_header_get(response->headers, response->header_count, "X-RateLimit-Remaining");
    struct str reset = http_header_get(response->headers, response->header_count, "X-RateLimit-Reset");
    if (!str_to_i64(str_trim(left), &remaining) || !str_to_i64(str_trim(reset), &reset_s))
        return false;
    if (remaining < 0 || reset_s < 0 || __builtin_mul_overflow(reset_s, 1000000, &reset_us))
        return false;
    *out_remaining = remaining;
    *out_reset_us = reset_us;
    return true;
}

const struct desk_connector desk_intercom = {
    .receiver =
        {
            .name = "intercom",
            .has_lookup = true,
            .step = intercom_step,
            .probe = intercom_probe,
            .probe_verdict = intercom_probe_verdict,
            .rate = intercom_rate,
        },
    .api_url = "https://api.intercom.io",
    .check = intercom_check,
    .ask = intercom_ask,
    .show_avatar = intercom_show_avatar,
    .receive = intercom_receive,
    .fetch = intercom_fetch,
    .search = intercom_changed,
};
