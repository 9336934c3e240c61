#include "bench/support/inbox.h"
#include "bench/support/book.h"
#include "bench/support/mark.h"

#include <stdarg.h>
#include <stdlib.h>
#include <uthash.h>

#define CONTACT_PREFIX "65000000000000001"
#define CONVERSATIONS "/conversations/"
#define CONTACTS "/contacts/"
#define BY_EXTERNAL_ID "/contacts/find_by_external_id/"

enum { DIGITS = 7, NONE = -1, FIRST_ROOM = 1024 };

// Text in a request, with JSON's escapes as they came; given back as it is.
struct slice {
    const char *p;
    size_t n;
};

struct contact {
    char *external_id;
    int64_t number;
    int64_t conversation; // the latest, or NONE
    UT_hash_handle hh;
};

struct part {
    uint64_t id;
    int64_t created_s;
    char *body; // NULL: none yet
    size_t body_n;
};

struct conversation {
    int64_t contact;
    uint32_t lane;
    uint64_t replies;
    struct part first, latest;
};

static struct {
    struct contact *by_external_id;
    struct contact **contact; // by number
    struct conversation *conversation;
    int64_t contacts, contacts_room, conversations, conversations_room;
    uint64_t last_id; // of messages
    char *scratch;    // the answer's body
    size_t scratch_n, scratch_size;
} inbox;

// --- Reading

// The text behind a key, up to its closing quote.
static bool find_text(struct slice in, const char *key, struct slice *out)
{
    const char *at = memmem(in.p, in.n, key, strlen(key));
    if (!at)
        return false;
    const char *p = at + strlen(key);
    const char *end = p;
    while (end < in.p + in.n && *end != '"')
        end += *end == '\\' ? 2 : 1;
    if (end >= in.p + in.n)
        return false;
    *out = (struct slice){p, (size_t)(end - p)};
    return true;
}

static int64_t find_number(struct slice in, const char *key)
{
    uint64_t value;
    const char *at = memmem(in.p, in.n, key, strlen(key));
    const char *p = at ? at + strlen(key) : NULL;
    return at && mark_number(&p, in.p + in.n, INT64_MAX, &value) ? (int64_t)value : NONE;
}

// The number in an id that begins with `prefix` and ends with it.
static int64_t number_of(struct slice id, const char *prefix)
{
    uint64_t value;
    size_t n = strlen(prefix);
    if (id.n != n + DIGITS || memcmp(id.p, prefix, n) != 0)
        return NONE;
    const char *p = id.p + n;
    return mark_number(&p, id.p + id.n, INT64_MAX, &value) && p == id.p + id.n ? (int64_t)value : NONE;
}

static struct contact *contact_of(struct slice id)
{
    int64_t number = number_of(id, CONTACT_PREFIX);
    return number != NONE && number < inbox.contacts ? inbox.contact[number] : NULL;
}

static struct conversation *conversation_of(struct slice id)
{
    int64_t number = number_of(id, "1");
    return number != NONE && number < inbox.conversations ? &inbox.conversation[number] : NULL;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : NONE;
}

// What a path says, without its percent signs; 0 when it does not fit.
static size_t unescape(struct slice in, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n && n < room; i++, n++) {
        out[n] = in.p[i];
        if (in.p[i] == '%' && i + 2 < in.n && hex(in.p[i + 1]) >= 0 && hex(in.p[i + 2]) >= 0) {
            out[n] = (char)(hex(in.p[i + 1]) * 16 + hex(in.p[i + 2]));
            i += 2;
        }
    }
    return n < room ? n : 0;
}

// --- What there is

static void *room_for(void *p, int64_t count, int64_t *room, size_t size)
{
    if (count < *room)
        return p;
    *room = *room ? *room * 2 : FIRST_ROOM;
    p = realloc(p, (size_t)*room * size);
    if (!p)
        abort();
    return p;
}

static struct contact *contact_find(const char *external_id, size_t n)
{
    struct contact *contact;
    HASH_FIND(hh, inbox.by_external_id, external_id, n, contact);
    return contact;
}

static struct contact *contact_new(struct slice external_id)
{
    struct contact *contact = calloc(1, sizeof(*contact));
    char *text = malloc(external_id.n + 1);
    if (!contact || !text)
        abort();
    memcpy(text, external_id.p, external_id.n);
    text[external_id.n] = 0;
    inbox.contact = room_for(inbox.contact, inbox.contacts, &inbox.contacts_room, sizeof(struct contact *));
    *contact = (struct contact){.external_id = text, .number = inbox.contacts, .conversation = NONE};
    inbox.contact[inbox.contacts++] = contact;
    HASH_ADD_KEYPTR(hh, inbox.by_external_id, contact->external_id, external_id.n, contact);
    return contact;
}

static void part_set(struct part *part, struct slice body, int64_t created_s)
{
    part->body = realloc(part->body, body.n + 1);
    if (!part->body)
        abort();
    memcpy(part->body, body.p, body.n);
    part->body_n = body.n;
    part->created_s = created_s;
    part->id = ++inbox.last_id;
}

void inbox_reset(void)
{
    struct contact *contact, *next;
    HASH_ITER(hh, inbox.by_external_id, contact, next)
    {
        HASH_DEL(inbox.by_external_id, contact);
        free(contact->external_id);
        free(contact);
    }
    for (int64_t i = 0; i < inbox.conversations; i++) {
        free(inbox.conversation[i].first.body);
        free(inbox.conversation[i].latest.body);
    }
    free(inbox.contact);
    free(inbox.conversation);
    free(inbox.scratch);
    memset(&inbox, 0, sizeof(inbox));
}

// --- Writing

static void say(const char *p, size_t n)
{
    if (inbox.scratch_n + n > inbox.scratch_size) {
        inbox.scratch_size = (inbox.scratch_n + n) * 2;
        inbox.scratch = realloc(inbox.scratch, inbox.scratch_size);
        if (!inbox.scratch)
            abort();
    }
    memcpy(inbox.scratch + inbox.scratch_n, p, n);
    inbox.scratch_n += n;
}

// A short text without what came from outside.
static void sayf(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void sayf(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (n < 0 || n >= (int)sizeof(text))
        abort();
    say(text, (size_t)n);
}

static void send_scratch(struct peer_answer *answer, int status)
{
    char head[320];
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 %d %s\r\nContent-Type: application/json; charset=utf-8\r\nX-RateLimit-Limit: 1000000\r\n"
                     "X-RateLimit-Remaining: 999999\r\nX-RateLimit-Reset: %lld\r\nContent-Length: %zu\r\n\r\n",
                     status, status == 200 ? "OK" : "Not Found", (long long)time(NULL) + 10, inbox.scratch_n);
    answer_add(answer, head, (size_t)n);
    answer_add(answer, inbox.scratch, inbox.scratch_n);
    inbox.scratch_n = 0;
}

static void send_error(struct peer_answer *answer, int status, const char *code, const char *message)
{
    sayf("{\"type\":\"error.list\",\"request_id\":null,\"errors\":[{\"code\":\"%s\",\"message\":\"%s\"}]}", code,
         message);
    send_scratch(answer, status);
}

static void send_contact(struct peer_answer *answer, const struct contact *contact)
{
    sayf("{\"type\":\"contact\",\"id\":\"" CONTACT_PREFIX
         "%07lld\",\"workspace_id\":\"bench\",\"role\":\"user\",\"external_id\":\"",
         (long long)contact->number);
    say(contact->external_id, strlen(contact->external_id));
    sayf("\"}");
    send_scratch(answer, 200);
}

static void say_part(const struct conversation *conversation, const struct part *part, const char *before)
{
    sayf("{%s,\"id\":\"%llu\",\"created_at\":%lld,\"body\":\"", before, (unsigned long long)part->id,
         (long long)part->created_s);
    say(part->body, part->body_n);
    sayf("\",\"author\":{\"type\":\"user\",\"id\":\"" CONTACT_PREFIX
         "%07lld\",\"name\":\"\",\"email\":null},\"attachments\":[]}",
         (long long)conversation->contact);
}

static void say_conversation(const struct conversation *conversation)
{
    long long number = conversation - inbox.conversation;
    sayf(
        "{\"type\":\"conversation\",\"id\":\"1%07lld\",\"created_at\":%lld,\"updated_at\":%lld,\"state\":\"open\",\"open\":true,"
        "\"source\":",
        number, (long long)conversation->first.created_s, (long long)time(NULL));
    say_part(conversation, &conversation->first, "\"type\":\"conversation\",\"delivered_as\":\"customer_initiated\"");
    sayf(",\"contacts\":{\"type\":\"contact.list\",\"contacts\":[{\"type\":\"contact\",\"id\":\"" CONTACT_PREFIX
         "%07lld\"}]},"
         "\"conversation_parts\":{\"type\":\"conversation_part.list\",\"conversation_parts\":[",
         (long long)conversation->contact);
    if (conversation->latest.body)
        say_part(conversation, &conversation->latest, "\"type\":\"conversation_part\",\"part_type\":\"comment\"");
    sayf("],\"total_count\":%llu}}", (unsigned long long)conversation->replies);
}

// --- Requests

static void make_contact(struct slice body, struct peer_answer *answer)
{
    struct slice external_id;
    if (!find_text(body, "\"external_id\":\"", &external_id)) {
        book_malformed();
        send_error(answer, 400, "parameter_not_found", "external_id");
        return;
    }
    struct contact *contact = contact_find(external_id.p, external_id.n);
    if (contact) {
        char message[128];
        snprintf(message, sizeof(message),
                 "A contact matching those details already exists with id=" CONTACT_PREFIX "%07lld",
                 (long long)contact->number);
        send_error(answer, 409, "conflict", message);
    } else {
        send_contact(answer, contact_new(external_id));
    }
}

static void find_contact(struct slice escaped, struct peer_answer *answer)
{
    char external_id[1024];
    size_t n = unescape(escaped, external_id, sizeof(external_id));
    const struct contact *contact = contact_find(external_id, n);
    if (contact)
        send_contact(answer, contact);
    else
        send_error(answer, 404, "not_found", "User Not Found");
}

static void open_conversation(struct slice body, struct peer_answer *answer)
{
    struct slice from, text;
    bool good = find_text(body, "\"id\":\"", &from) && find_text(body, "\"body\":\"", &text);
    struct contact *contact = good ? contact_of(from) : NULL;
    if (!contact) {
        book_malformed();
        send_error(answer, 404, "not_found", "User Not Found");
        return;
    }
    uint32_t lane = book_message(text.p, text.n);
    inbox.conversation = room_for(inbox.conversation, inbox.conversations, &inbox.conversations_room,
                                  sizeof(*inbox.conversation));
    contact->conversation = inbox.conversations++;
    struct conversation *conversation = &inbox.conversation[contact->conversation];
    *conversation = (struct conversation){.contact = contact->number, .lane = lane};
    part_set(&conversation->first, text, find_number(body, "\"created_at\":"));
    sayf("{\"type\":\"user_message\",\"id\":\"%llu\",\"created_at\":%lld,\"body\":\"",
         (unsigned long long)conversation->first.id, (long long)conversation->first.created_s);
    say(text.p, text.n);
    sayf("\",\"message_type\":\"inapp\",\"conversation_id\":\"1%07lld\"}", (long long)contact->conversation);
    send_scratch(answer, 200);
}

static void reply(struct slice id, struct slice body, struct peer_answer *answer)
{
    struct slice from, text;
    struct conversation *conversation = conversation_of(id);
    bool good = find_text(body, "\"intercom_user_id\":\"", &from) && find_text(body, "\"body\":\"", &text);
    if (!conversation || !good || !contact_of(from)) {
        if (!good)
            book_malformed();
        send_error(answer, 404, "not_found", "Conversation not found");
        return;
    }
    if (book_message(text.p, text.n) != conversation->lane || number_of(from, CONTACT_PREFIX) != conversation->contact)
        book_misplaced();
    conversation->replies++;
    part_set(&conversation->latest, text, find_number(body, "\"created_at\":"));
    say_conversation(conversation);
    send_scratch(answer, 200);
}

static void look(struct slice id, struct peer_answer *answer)
{
    const char *question = memchr(id.p, '?', id.n);
    if (question)
        id.n = (size_t)(question - id.p);
    const struct conversation *conversation = conversation_of(id);
    if (!conversation) {
        send_error(answer, 404, "not_found", "Conversation not found");
        return;
    }
    say_conversation(conversation);
    send_scratch(answer, 200);
}

static void search(struct slice body, struct peer_answer *answer)
{
    struct slice id;
    const char *field = memmem(body.p, body.n, "\"contact_ids\"", strlen("\"contact_ids\""));
    struct slice rest = field ? (struct slice){field, (size_t)(body.p + body.n - field)} : body;
    const struct contact *contact = find_text(rest, "\"value\":\"", &id) ? contact_of(id) : NULL;
    bool found = contact && contact->conversation != NONE;
    sayf("{\"type\":\"conversation.list\",\"conversations\":[");
    if (found)
        say_conversation(&inbox.conversation[contact->conversation]);
    sayf("],\"total_count\":%d,\"pages\":{\"type\":\"pages\",\"page\":1,\"total_pages\":1}}", found);
    send_scratch(answer, 200);
}

static bool handle_post(const struct peer_request *request, struct peer_answer *answer)
{
    static const char rest[] = "/reply";
    struct slice body = {request->body, request->body_n};
    size_t begin = strlen(CONVERSATIONS), end = strlen(rest);
    if (peer_request_is(request, "POST", "/contacts"))
        make_contact(body, answer);
    else if (peer_request_is(request, "POST", "/conversations"))
        open_conversation(body, answer);
    else if (peer_request_is(request, "POST", "/conversations/search"))
        search(body, answer);
    else if (peer_path_starts(request, CONVERSATIONS) && request->path_n > begin + end &&
             memcmp(request->path + request->path_n - end, rest, end) == 0)
        reply((struct slice){request->path + begin, request->path_n - begin - end}, body, answer);
    else
        return false;
    return true;
}

bool inbox_handle(const struct peer_request *request, struct peer_answer *answer)
{
    struct slice path = {request->path, request->path_n};
    if (request->method_n == 4 && memcmp(request->method, "POST", 4) == 0)
        return handle_post(request, answer);
    if (peer_path_starts(request, BY_EXTERNAL_ID)) {
        find_contact((struct slice){path.p + strlen(BY_EXTERNAL_ID), path.n - strlen(BY_EXTERNAL_ID)}, answer);
    } else if (peer_path_starts(request, CONVERSATIONS)) {
        look((struct slice){path.p + strlen(CONVERSATIONS), path.n - strlen(CONVERSATIONS)}, answer);
    } else if (peer_request_is(request, "GET", "/me")) {
        sayf(
            "{\"type\":\"admin\",\"id\":\"1\",\"app\":{\"type\":\"app\",\"id_code\":\"bench\",\"region\":\"US\",\"timezone\":\"UTC\"}}");
        send_scratch(answer, 200);
    } else {
        return false;
    }
    return true;
}
