// As much of Intercom as the step machine of src/desk/intercom.c meets: contacts by external id, conversations with their
// parts, replies, a search that lags. It keeps what it took.
#include "base/json.h"
#include "base/mem.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PARTS = MOST_EVENTS * 2 };

struct contact {
    int conversation; // the relay's, by external id
    int64_t created_s;
};

struct thread {
    int contact;
    int64_t created_s, seen_us; // by searches from then on
    int64_t part;               // of its first message
    int64_t updated_s;
    int64_t indexed_s, shown_us; // as searches see it; and as it is from then on
    bool gone;
};

enum voice { CUSTOMER, AGENT, BOT, OURSELVES }; // OURSELVES: the token's own admin

struct part {
    int thread;
    int64_t id, created_s, shown_us; // to those who read the thread
    enum voice voice;
    bool redacted;
    int paragraphs; // how often the text stands there
    char type[20], text[2400];
    char attachments[800]; // as JSON; "": none
};

struct intercom_desk {
    bool own_clock;
    struct contact contacts[MOST_CONVERSATIONS];
    int contact_count;
    struct thread threads[MOST_EVENTS];
    int thread_count;
    struct part parts[MOST_PARTS];
    int part_count;
};

struct intercom_desk *intercom_desk_new(bool own_clock)
{
    struct intercom_desk *desk = mem_new_of(struct intercom_desk);
    desk->own_clock = own_clock;
    return desk;
}

void intercom_desk_free(struct intercom_desk *desk)
{
    free(desk);
}

size_t intercom_desk_size(void)
{
    return sizeof(struct intercom_desk);
}

// ---- writing answers ----

// What customers say is plain text, what others say is HTML.
static void write_text(struct json *json, const char *key, const struct part *part, bool html)
{
    struct buf buf;
    buf_init(&buf, 1 << 20);
    for (const char *text = part->text; html && part->voice == CUSTOMER && *text; text++)
        buf_add_str(&buf, *text == '<'   ? STR("&lt;")
                          : *text == '>' ? STR("&gt;")
                          : *text == '&' ? STR("&amp;")
                                         : (struct str){text, 1});
    for (int i = 0; (!html || part->voice != CUSTOMER) && i < part->paragraphs; i++)
        buf_add_str(&buf, str_of(part->text));
    json_key(json, key);
    json_str(json, buf_str(&buf));
    buf_done(&buf);
}

static void write_id(struct json *json, const char *key, const char *prefix, int64_t n)
{
    char id[40];
    snprintf(id, sizeof id, "%s%lld", prefix, (long long)n);
    json_key_str(json, key, str_of(id));
}

static void write_author(const struct intercom_desk *desk, struct json *json, const struct part *part)
{
    json_key(json, "author");
    json_open(json, '{');
    json_key_str(json, "type", part->voice == CUSTOMER ? STR("user") : part->voice == BOT ? STR("bot") : STR("admin"));
    if (part->voice == CUSTOMER) {
        write_id(json, "id", "contact", desk->threads[part->thread].contact);
    } else {
        json_key_str(json, "id", part->voice == OURSELVES ? STR("1") : part->voice == BOT ? STR("3") : STR("2"));
        json_key_str(json, "name", part->voice == BOT ? STR("Fin") : STR("Eve"));
    }
    json_close(json, '}');
}

static void write_attachments(struct json *json, const struct part *part)
{
    json_key(json, "attachments");
    json_raw(json, part->attachments[0] ? str_of(part->attachments) : STR("[]"));
}

static const struct part *part_of(const struct intercom_desk *desk, int64_t id)
{
    return &desk->parts[id - 1];
}

static void write_part(const struct intercom_desk *desk, struct json *json, const struct part *part, bool html)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("conversation_part"));
    json_key_str(json, "part_type", str_of(part->type));
    write_id(json, "id", "", part->id);
    json_key_int(json, "created_at", part->created_s);
    write_text(json, "body", part, html);
    write_attachments(json, part);
    write_author(desk, json, part);
    json_key(json, "redacted");
    json_bool(json, part->redacted);
    json_close(json, '}');
}

// `parts` -1: none shown (search); else those from that index on.
static void write_thread(const struct intercom_desk *desk, struct json *json, int number, int parts, bool html,
                         int64_t now_us)
{
    const struct thread *thread = &desk->threads[number];
    const struct part *first = part_of(desk, thread->part);
    json_open(json, '{');
    json_key_str(json, "type", STR("conversation"));
    write_id(json, "id", "", number + 1000);
    json_key_int(json, "created_at", thread->created_s);
    json_key_int(json, "updated_at", thread->updated_s);
    json_key(json, "source");
    json_open(json, '{');
    json_key_str(json, "delivered_as",
                 first->voice == CUSTOMER ? STR("customer_initiated")
                 : first->voice == BOT    ? STR("automated")
                                          : STR("admin_initiated"));
    write_id(json, "id", "", first->id);
    write_text(json, "body", first, html);
    write_attachments(json, first);
    write_author(desk, json, first);
    json_key(json, "redacted");
    json_bool(json, first->redacted);
    json_close(json, '}');
    json_key(json, "contacts");
    json_open(json, '{');
    json_key(json, "contacts");
    json_open(json, '[');
    json_open(json, '{');
    json_key_str(json, "type", STR("contact"));
    write_id(json, "id", "contact", thread->contact);
    json_close(json, '}');
    json_close(json, ']');
    json_close(json, '}');
    if (parts >= 0) {
        json_key(json, "conversation_parts");
        json_open(json, '{');
        json_key(json, "conversation_parts");
        json_open(json, '[');
        for (int i = parts; i < desk->part_count; i++)
            if (desk->parts[i].thread == number && desk->parts[i].id != thread->part &&
                desk->parts[i].shown_us <= now_us)
                write_part(desk, json, &desk->parts[i], html);
        json_close(json, ']');
        json_close(json, '}');
    }
    json_close(json, '}');
}

static void write_contact(const struct intercom_desk *desk, struct json *json, int number)
{
    json_open(json, '{');
    json_key_str(json, "type", STR("contact"));
    write_id(json, "id", "contact", number);
    json_key_int(json, "created_at", desk->contacts[number].created_s);
    json_close(json, '}');
}

// ---- reading requests ----

// "webhook:account-0/shop:k7" -> 7, and "telegram:100:1007".
static int conversation_of(struct str external_id)
{
    int64_t number;
    size_t i = external_id.n;
    while (i > 0 && external_id.p[i - 1] != ':')
        i--;
    struct str name = str_sub(external_id, i, external_id.n);
    bool chat = str_to_i64(name, &number);
    if (chat)
        number -= 1000;
    bool ok = (chat || (str_starts(name, STR("k")) && str_to_i64(str_sub(name, 1, name.n), &number))) && number >= 0 &&
              number < MOST_CONVERSATIONS;
    return ok ? (int)number : -1;
}

static int numbered(struct str text, struct str prefix, int64_t base, int count)
{
    int64_t number;
    if (!str_starts(text, prefix) || !str_to_i64(str_sub(text, prefix.n, text.n), &number))
        return -1;
    return number >= base && number < base + count ? (int)(number - base) : -1;
}

static int find_contact(const struct intercom_desk *desk, int conversation)
{
    for (int i = 0; i < desk->contact_count; i++)
        if (desk->contacts[i].conversation == conversation)
            return i;
    return -1;
}

// The thread that "/conversations/1003/reply" or "/conversations/1003?..." names.
static int thread_of(const struct intercom_desk *desk, struct str path)
{
    struct str rest = str_sub(path, sizeof "/conversations/" - 1, path.n);
    size_t slash = str_index(rest, '/', 0), question = str_index(rest, '?', 0);
    return numbered(str_sub(rest, 0, slash < question ? slash : question), STR(""), 1000, desk->thread_count);
}

static int external_id_in(struct str path)
{
    struct arena arena = {0};
    struct str prefix = STR("/contacts/find_by_external_id/");
    int conversation = conversation_of(http_unescape(&arena, str_sub(path, prefix.n, path.n)));
    arena_done(&arena);
    return conversation;
}

static int contact_in_search(const struct intercom_desk *desk, yyjson_val *root)
{
    yyjson_val *filters = yyjson_obj_get(yyjson_obj_get(root, "query"), "value");
    yyjson_val *first = yyjson_arr_get_first(filters);
    return numbered(json_get_str(first, "value"), STR("contact"), 0, desk->contact_count);
}

static bool is_search(struct str path)
{
    return str_eq_c(path, "/conversations/search");
}

static bool is_of_thread(struct str path)
{
    return str_starts(path, STR("/conversations/")) && !is_search(path);
}

int intercom_desk_whose(struct intercom_desk *desk, struct str method, struct str path, struct str body)
{
    yyjson_doc *doc = body.n ? json_read(body) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    int contact = -1, conversation = -1;
    (void)method;
    if (str_starts(path, STR("/contacts/find")))
        conversation = external_id_in(path);
    else if (str_eq_c(path, "/contacts"))
        conversation = conversation_of(json_get_str(root, "external_id"));
    else if (is_search(path))
        contact = contact_in_search(desk, root);
    else if (is_of_thread(path) && thread_of(desk, path) >= 0)
        contact = desk->threads[thread_of(desk, path)].contact;
    else if (str_eq_c(path, "/conversations"))
        contact = numbered(json_get_str(yyjson_obj_get(root, "from"), "id"), STR("contact"), 0, desk->contact_count);
    yyjson_doc_free(doc);
    return contact >= 0 ? desk->contacts[contact].conversation : conversation;
}

// ---- handling ----

struct handling {
    struct intercom_desk *desk;
    struct str path;
    yyjson_val *root; // of the body
    int64_t now_us, search_lag_us;
    struct json json;
    struct intercom_answer *out;
};

static void fail(struct handling *h, int status, const char *message)
{
    h->out->status = status;
    json_open(&h->json, '{');
    json_key_str(&h->json, "type", STR("error.list"));
    json_key_str(&h->json, "message", str_of(message));
    json_close(&h->json, '}');
}

static void on_find(struct handling *h)
{
    int contact = find_contact(h->desk, external_id_in(h->path));
    if (contact < 0)
        fail(h, 404, "User Not Found");
    else
        write_contact(h->desk, &h->json, contact);
}

static void on_make_contact(struct handling *h)
{
    struct intercom_desk *desk = h->desk;
    char text[120];
    int conversation = conversation_of(json_get_str(h->root, "external_id"));
    int contact = find_contact(desk, conversation);
    if (conversation < 0) {
        fail(h, 422, "what contact is that?");
    } else if (contact >= 0) {
        snprintf(text, sizeof text, "A contact matching those details already exists with id=contact%d", contact);
        fail(h, 409, text);
    } else {
        desk->contacts[desk->contact_count] = (struct contact){conversation, h->now_us / SECOND};
        write_contact(desk, &h->json, desk->contact_count++);
    }
}

// When searches think that it has changed last; 0: they do not know of it.
static int64_t indexed_s(struct thread *thread, int64_t now_us)
{
    if (thread->shown_us <= now_us)
        thread->indexed_s = thread->updated_s;
    return thread->indexed_s;
}

static void thread_changed(struct thread *thread, int64_t now_us, int64_t search_lag_us)
{
    indexed_s(thread, now_us);
    if (thread->shown_us <= now_us) // else the index is about to look at it anyway
        thread->shown_us = now_us + search_lag_us;
    thread->updated_s = now_us / SECOND;
}

// So many files came with it: uploads, or by their addresses.
static void take_files(struct part *part, yyjson_val *root)
{
    size_t count = yyjson_arr_size(yyjson_obj_get(root, "attachment_files")) +
                   yyjson_arr_size(yyjson_obj_get(root, "attachment_urls"));
    size_t n = 0;
    for (size_t i = 0; i < count && n < sizeof part->attachments - 60; i++)
        n += (size_t)snprintf(part->attachments + n, sizeof part->attachments - n,
                              "%s{\"type\":\"upload\",\"name\":\"f\"}", i ? "," : "[");
    if (count)
        snprintf(part->attachments + n, sizeof part->attachments - n, "]");
}

// Something is said in the thread, by its customer or by the relay itself.
static struct part *take(struct handling *h, int thread)
{
    struct intercom_desk *desk = h->desk;
    struct str body = json_get_str(h->root, "body"), type = json_get_str(h->root, "message_type");
    bool ours = str_eq_c(json_get_str(h->root, "type"), "admin");
    struct part *part = &desk->parts[desk->part_count++];
    int64_t created_s = 0;
    json_get_int(h->root, "created_at", &created_s);
    *part = (struct part){
        .thread = thread, .id = desk->part_count, .voice = ours ? OURSELVES : CUSTOMER, .paragraphs = 1};
    part->created_s = desk->own_clock || ours ? h->now_us / SECOND : created_s;
    snprintf(part->type, sizeof part->type, "%.*s", STR_ARG(type.n ? type : STR("comment")));
    snprintf(part->text, sizeof part->text, "%.*s", STR_ARG(body));
    take_files(part, h->root);
    thread_changed(&desk->threads[thread], h->now_us, h->search_lag_us);
    h->out->thread = thread;
    h->out->conversation = desk->contacts[desk->threads[thread].contact].conversation;
    return part;
}

static void on_open(struct handling *h)
{
    struct intercom_desk *desk = h->desk;
    struct str from = json_get_str(yyjson_obj_get(h->root, "from"), "id");
    int contact = numbered(from, STR("contact"), 0, desk->contact_count);
    if (contact < 0) {
        fail(h, 404, "User Not Found");
        return;
    }
    int number = desk->thread_count++;
    struct thread *thread = &desk->threads[number];
    *thread = (struct thread){.contact = contact, .seen_us = h->now_us + h->search_lag_us};
    const struct part *part = take(h, number);
    thread->part = part->id;
    thread->created_s = part->created_s;
    json_open(&h->json, '{');
    json_key_str(&h->json, "type", STR("user_message"));
    write_id(&h->json, "id", "", part->id);
    json_key_int(&h->json, "created_at", part->created_s);
    write_text(&h->json, "body", part, false);
    write_id(&h->json, "conversation_id", "", number + 1000);
    json_close(&h->json, '}');
}

static void on_reply(struct handling *h)
{
    int thread = thread_of(h->desk, h->path);
    if (thread < 0 || h->desk->threads[thread].gone) {
        fail(h, 404, "Resource Not Found");
        return;
    }
    take(h, thread);
    write_thread(h->desk, &h->json, thread, h->desk->part_count - 1, true, h->now_us);
}

static void on_get(struct handling *h)
{
    int thread = thread_of(h->desk, h->path);
    if (thread < 0 || h->desk->threads[thread].gone)
        fail(h, 404, "Resource Not Found");
    else
        write_thread(h->desk, &h->json, thread, 0, !memmem(h->path.p, h->path.n, "plaintext", 9), h->now_us);
}

// A search for what has changed says since when: {"query":{"operator":"OR","value":[{"field":"updated_at","operator":">",...
// Else -1.
static int64_t changed_since(yyjson_val *root)
{
    yyjson_val *first = yyjson_arr_get_first(yyjson_obj_get(yyjson_obj_get(root, "query"), "value"));
    int64_t after_s = -1;
    if (!str_eq_c(json_get_str(first, "field"), "updated_at") || !json_get_int(first, "value", &after_s))
        return -1;
    return after_s + 1;
}

static bool is_found(const struct handling *h, struct thread *thread, int contact, int64_t since_s)
{
    if (since_s >= 0)
        return indexed_s(thread, h->now_us) >= since_s && thread->indexed_s;
    return thread->contact == contact && thread->seen_us <= h->now_us;
}

static void on_search(struct handling *h)
{
    struct intercom_desk *desk = h->desk;
    int contact = contact_in_search(desk, h->root);
    int64_t since_s = changed_since(h->root);
    json_open(&h->json, '{');
    json_key_str(&h->json, "type", STR("conversation.list"));
    json_key(&h->json, "conversations");
    json_open(&h->json, '[');
    for (int i = 0; i < desk->thread_count; i++)
        if (is_found(h, &desk->threads[i], contact, since_s) && !desk->threads[i].gone)
            write_thread(desk, &h->json, i, -1, true, h->now_us);
    json_close(&h->json, ']');
    json_close(&h->json, '}');
}

static void on_me(struct handling *h)
{
    json_raw(&h->json, STR("{\"type\":\"admin\",\"id\":\"1\"}"));
}

void intercom_desk_handle(struct intercom_desk *desk, struct str method, struct str path, struct str body,
                          int64_t now_us, int64_t search_lag_us, struct intercom_answer *out)
{
    *out = (struct intercom_answer){.status = 200, .conversation = -1};
    buf_init(&out->body, 1 << 20);
    yyjson_doc *doc = body.n ? json_read(body) : NULL;
    struct handling h = {.desk = desk,
                         .path = path,
                         .root = yyjson_doc_get_root(doc),
                         .now_us = now_us,
                         .search_lag_us = search_lag_us,
                         .json = {.out = &out->body},
                         .out = out};
    bool get = str_eq_c(method, "GET");
    if (str_eq_c(path, "/me"))
        on_me(&h);
    else if (str_starts(path, STR("/contacts/find")))
        on_find(&h);
    else if (str_eq_c(path, "/contacts"))
        on_make_contact(&h);
    else if (is_search(path))
        on_search(&h);
    else if (str_eq_c(path, "/conversations"))
        on_open(&h);
    else if (is_of_thread(path) && get)
        on_get(&h);
    else if (is_of_thread(path))
        on_reply(&h);
    else
        fail(&h, 404, "no such path");
    yyjson_doc_free(doc);
}

int intercom_desk_delete(struct intercom_desk *desk, int conversation, int *out_threads)
{
    int count = 0;
    for (int i = 0; i < desk->thread_count; i++)
        if (!desk->threads[i].gone && desk->contacts[desk->threads[i].contact].conversation == conversation) {
            desk->threads[i].gone = true;
            out_threads[count++] = i;
        }
    return count;
}

// ---- agents ----

static int pick_thread(const struct intercom_desk *desk, uint64_t pick)
{
    int there = 0;
    for (int i = 0; i < desk->thread_count; i++)
        there += !desk->threads[i].gone;
    for (int i = 0, n = there ? (int)(pick % (uint64_t)there) : 0; i < desk->thread_count; i++)
        if (!desk->threads[i].gone && !n--)
            return i;
    return -1;
}

static int begin_thread(struct intercom_desk *desk, int contact, int64_t now_us, int64_t search_lag_us)
{
    int number = desk->thread_count++;
    desk->threads[number] = (struct thread){.contact = contact,
                                            .created_s = now_us / SECOND,
                                            .seen_us = now_us + search_lag_us,
                                            .part = desk->part_count + 1};
    return number;
}

bool intercom_desk_say(struct intercom_desk *desk, struct intercom_said *said, int64_t now_us, int64_t search_lag_us)
{
    bool full = desk->part_count >= MOST_PARTS - MOST_EVENTS || desk->thread_count >= MOST_EVENTS / 2;
    said->thread = pick_thread(desk, said->pick);
    said->begins &= desk->contact_count > 0 && !said->note; // a note begins nothing
    if (full || (said->thread < 0 && !said->begins))
        return false;
    if (said->begins)
        said->thread = begin_thread(desk, (int)(said->pick % (uint64_t)desk->contact_count), now_us, search_lag_us);
    struct part *part = &desk->parts[desk->part_count++];
    *part = (struct part){
        .thread = said->thread,
        .id = desk->part_count,
        .created_s = now_us / SECOND,
        .shown_us = now_us + said->late_us,
        .voice = said->bot ? BOT : AGENT,
        .redacted = said->redacted,
        .paragraphs = said->paragraphs,
    };
    snprintf(part->type, sizeof part->type, "%s", said->part_type);
    snprintf(part->text, sizeof part->text, "%s", said->html);
    if (said->attachments)
        snprintf(part->attachments, sizeof part->attachments, "%s", said->attachments);
    thread_changed(&desk->threads[said->thread], now_us, search_lag_us);
    said->part = part->id;
    said->conversation = desk->contacts[desk->threads[said->thread].contact].conversation;
    return true;
}
