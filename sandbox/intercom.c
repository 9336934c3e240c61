#include "sandbox/intercom.h"

#include "base/clock.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { BODY_MAX = 4 << 20, FETCH_MAX = 32 << 20 };
static const int64_t files_max = INT64_C(768) << 20; // of attachments in memory, bytes

int64_t intercom_now(void)
{
    return clock_wall_us(&clock_system) / 1000000;
}

// ---- contacts ----

struct intercom_contact *intercom_contact(struct intercom *intercom, struct str id)
{
    struct intercom_contact *contact = NULL;
    if (id.n == INTERCOM_ID)
        HASH_FIND(hh, intercom->contacts, id.p, id.n, contact);
    return contact;
}

struct intercom_contact *intercom_contact_by_external(struct intercom *intercom, struct str external_id)
{
    struct intercom_contact *contact = NULL;
    if (external_id.n > 0)
        HASH_FIND(hh_external, intercom->contacts_by_external, external_id.p, external_id.n, contact);
    return contact;
}

struct intercom_contact *intercom_contact_final(struct intercom_contact *contact)
{
    while (contact && contact->merged_into)
        contact = contact->merged_into;
    return contact;
}

void intercom_contact_drop_external(struct intercom *intercom, struct intercom_contact *contact)
{
    if (intercom_contact_by_external(intercom, contact->external_id) == contact)
        HASH_DELETE(hh_external, intercom->contacts_by_external, contact);
}

void intercom_contact_set_external(struct intercom *intercom, struct intercom_contact *contact, struct str external_id)
{
    intercom_contact_drop_external(intercom, contact);
    struct intercom_contact *before = intercom_contact_by_external(intercom, external_id);
    if (before) // merged away: the id is free for a new one
        HASH_DELETE(hh_external, intercom->contacts_by_external, before);
    own_again(&contact->external_id, external_id);
    if (external_id.n > 0)
        HASH_ADD_KEYPTR(hh_external, intercom->contacts_by_external, contact->external_id.p, contact->external_id.n,
                        contact);
}

struct intercom_contact *intercom_contact_add(struct intercom *intercom)
{
    struct intercom_contact *contact = mem_new_of(struct intercom_contact);
    contact->made_us = clock_wall_us(&clock_system);
    contact->created_at = contact->updated_at = intercom_now();
    do
        snprintf(contact->id, sizeof(contact->id), "%08" PRIx64 "%016" PRIx64,
                 (uint64_t)contact->created_at & 0xFFFFFFFF, chance_next(&intercom->chance));
    while (intercom_contact(intercom, str_of(contact->id)));
    HASH_ADD(hh, intercom->contacts, id[0], INTERCOM_ID, contact);
    return contact;
}

static void contact_free(struct intercom *intercom, struct intercom_contact *contact)
{
    intercom_contact_drop_external(intercom, contact);
    HASH_DELETE(hh, intercom->contacts, contact);
    disown(&contact->external_id);
    disown(&contact->role);
    disown(&contact->name);
    disown(&contact->email);
    disown(&contact->phone);
    disown(&contact->avatar);
    disown(&contact->language);
    disown(&contact->attributes);
    free(contact);
}

void intercom_contact_delete(struct intercom *intercom, struct intercom_contact *contact)
{
    struct intercom_conversation *conversation, *next;
    DL_FOREACH_SAFE(intercom->conversations, conversation, next)
    {
        if (conversation->contact == contact)
            intercom_conversation_delete(intercom, conversation, false);
    }
    for (struct intercom_contact *other = intercom->contacts; other; other = other->hh.next)
        if (other->merged_into == contact)
            other->merged_into = NULL;
    contact_free(intercom, contact);
}

int intercom_admin(const struct intercom *intercom, struct str id)
{
    int64_t n = 0;
    if (str_to_i64(id, &n))
        for (int i = 0; i < INTERCOM_ADMINS; i++)
            if (intercom->admins[i].id == n)
                return i;
    return -1;
}

// ---- conversations ----

struct intercom_conversation *intercom_conversation(struct intercom *intercom, int64_t id)
{
    struct intercom_conversation *conversation = NULL;
    HASH_FIND(hh, intercom->conversations_by_id, &id, sizeof(id), conversation);
    return conversation;
}

static void moved(struct intercom *intercom, struct intercom_conversation *conversation)
{
    conversation->updated_at = intercom_now();
    if (intercom->conversations != conversation) {
        DL_DELETE(intercom->conversations, conversation);
        DL_PREPEND(intercom->conversations, conversation);
    }
    live_changed(intercom->door->live);
}

// What was told to customers, or by a note to other agents, in order: for tests to compare with what arrived.
static void note_said(struct intercom *intercom, const struct intercom_conversation *conversation, const char *kind,
                      int64_t id, const struct intercom_part *part)
{
    struct arena arena = {0};
    struct buf text;
    buf_init(&text, BODY_MAX);
    struct json json = {.out = &text};
    json_key_str(&json, "kind", str_of(kind));
    json_key_id(&json, "conversation", conversation->id);
    json_key_str(&json, "contact", str_of(conversation->contact->id));
    json_key_str(&json, "external_id", conversation->contact->external_id);
    json_key_id(&json, "id", id);
    json_key_str(&json, "author", part->bot ? STR("bot") : STR("admin"));
    json_key_str(&json, "name", intercom_author(intercom, part));
    json_key_str(&json, "body", part->body);
    json_key_str(&json, "text", intercom_plain(&arena, part->body));
    json_key(&json, "attachments");
    json_raw(&json, part->attachments.p ? part->attachments : STR("[]"));
    json_key_bool(&json, "by_api", part->by_api);
    if (!text.failed)
        journal_add(strcmp(kind, "note") == 0 ? intercom->notes : intercom->said, clock_wall_us(&clock_system),
                    buf_str(&text));
    buf_done(&text);
    arena_done(&arena);
}

struct intercom_conversation *intercom_conversation_add(struct intercom *intercom, struct intercom_contact *contact,
                                                        const struct intercom_part *first)
{
    struct intercom_conversation *conversation = mem_new_of(struct intercom_conversation);
    conversation->id = intercom->next_conversation_id++;
    conversation->message_id = intercom->next_message_id++;
    conversation->contact = contact;
    conversation->by_admin = !first->contact;
    conversation->admin = first->admin;
    conversation->body = own(first->body);
    conversation->attachments = own(first->attachments);
    conversation->made_us = clock_wall_us(&clock_system);
    conversation->created_at = first->created_at ? first->created_at : intercom_now();
    conversation->state = "open";
    HASH_ADD(hh, intercom->conversations_by_id, id, sizeof(conversation->id), conversation);
    DL_PREPEND(intercom->conversations, conversation);
    intercom->conversation_count++;
    if (first->contact) {
        conversation->waiting_since = conversation->first_reply_at = conversation->created_at;
        intercom->applied++;
        contact->last_replied_at = intercom_now();
    }
    moved(intercom, conversation);
    intercom_note(intercom, "conversation", conversation, contact, conversation->message_id, first->body,
                  first->attachments, conversation->created_at, conversation->by_admin ? "admin" : "user");
    intercom_fetch_attachments(intercom, conversation->id, 0);
    if (conversation->by_admin) {
        note_said(intercom, conversation, "conversation", conversation->message_id, first);
        notifier_tell(intercom->notifier, "conversation.admin.single.created", conversation, NULL);
    }
    return conversation;
}

static void part_free(struct intercom_conversation *conversation, struct intercom_part *part)
{
    DL_DELETE(conversation->parts, part);
    conversation->part_count--;
    disown(&part->body);
    disown(&part->attachments);
    free(part);
}

static void conversation_free(struct intercom *intercom, struct intercom_conversation *conversation)
{
    while (conversation->parts)
        part_free(conversation, conversation->parts);
    HASH_DELETE(hh, intercom->conversations_by_id, conversation);
    DL_DELETE(intercom->conversations, conversation);
    intercom->conversation_count--;
    disown(&conversation->body);
    disown(&conversation->attachments);
    disown(&conversation->title);
    disown(&conversation->attributes);
    disown(&conversation->tags);
    free(conversation);
}

void intercom_conversation_delete(struct intercom *intercom, struct intercom_conversation *conversation,
                                  bool retain_metrics)
{
    struct intercom_deleted *deleted = mem_new_of(struct intercom_deleted);
    *deleted = (struct intercom_deleted){intercom->deleted, conversation->id, intercom_now(), retain_metrics};
    intercom->deleted = deleted;
    intercom->deleted_count++;
    intercom_note(intercom, "conversation_deleted", conversation, conversation->contact, 0, STR_NONE, STR_NONE, 0,
                  "admin");
    conversation_free(intercom, conversation);
    live_changed(intercom->door->live);
}

static const char *author_of(const struct intercom_part *part)
{
    return part->contact ? "user" : part->bot ? "bot" : "admin";
}

static void follow(struct intercom_conversation *conversation, const struct intercom_part *part)
{
    if (strcmp(part->type, "snoozed") == 0) {
        conversation->state = "snoozed";
        return;
    }
    if (strcmp(part->type, "close") == 0)
        conversation->state = "closed";
    else if (part->contact || strcmp(part->type, "open") == 0)
        conversation->state = "open";
    else
        return;
    conversation->snoozed_until = 0;
}

// The topic of a part, NULL: none that the app takes. `before`: the conversation's state until then.
static const char *topic_of(const struct intercom_part *part, const char *before)
{
    static const struct {
        const char *type, *topic;
    } topics[] = {{"note", "conversation.admin.noted"},
                  {"close", "conversation.admin.closed"},
                  {"open", "conversation.admin.opened"},
                  {"snoozed", "conversation.admin.snoozed"},
                  {"assignment", "conversation.admin.assigned"}};
    if (part->contact)
        return NULL;
    if (part->bot)
        return "conversation.operator.replied";
    // Captured from a real workspace: a reply that also assigns is a reply by its topic (desks/intercom.md, section 5).
    if (strcmp(part->type, "assignment") == 0 && part->body.n > 0)
        return "conversation.admin.replied";
    if (strcmp(part->type, "open") == 0 && strcmp(before, "snoozed") == 0)
        return "conversation.admin.unsnoozed";
    for (size_t i = 0; i < sizeof(topics) / sizeof(*topics); i++)
        if (strcmp(part->type, topics[i].type) == 0)
            return topics[i].topic;
    return "conversation.admin.replied";
}

// The journals, and the app's webhook.
static void tell(struct intercom *intercom, const struct intercom_conversation *conversation,
                 const struct intercom_part *part, const char *before)
{
    const char *topic = topic_of(part, before);
    intercom_note(intercom, part->contact ? "reply" : part->type, conversation, conversation->contact, part->id,
                  part->body, part->attachments, part->created_at, author_of(part));
    if (!part->contact && (part->body.n > 0 || part->attachments.p))
        note_said(intercom, conversation, part->type, part->id, part);
    if (topic)
        notifier_tell(intercom->notifier, topic, conversation, part);
}

struct intercom_part *intercom_part_add(struct intercom *intercom, struct intercom_conversation *conversation,
                                        const struct intercom_part *like)
{
    struct intercom_part *part = mem_new_of(struct intercom_part);
    *part = *like;
    part->prev = part->next = NULL;
    part->id = intercom->next_part_id++;
    part->updated_at = intercom_now();
    part->created_at = like->created_at ? like->created_at : part->updated_at;
    part->body = own(like->body);
    part->attachments = own(like->attachments);
    DL_APPEND(conversation->parts, part);
    const char *before = conversation->state;
    follow(conversation, part);
    conversation->total_parts++;
    if (++conversation->part_count > INTERCOM_KEEP_PARTS)
        part_free(conversation, conversation->parts);
    if (part->contact) {
        intercom->applied++;
        conversation->contact->last_replied_at = intercom_now();
        conversation->waiting_since = part->created_at;
        if (!conversation->first_reply_at)
            conversation->first_reply_at = part->created_at;
        conversation->read = false;
    } else if (strcmp(part->type, "note") != 0) {
        conversation->waiting_since = 0;
    }
    moved(intercom, conversation);
    tell(intercom, conversation, part, before);
    intercom_fetch_attachments(intercom, conversation->id, part->id);
    return part;
}

void intercom_part_changed(struct intercom *intercom, struct intercom_conversation *conversation,
                           struct intercom_part *part, const char *kind)
{
    if (part)
        part->updated_at = intercom_now();
    moved(intercom, conversation);
    intercom_note(intercom, kind, conversation, conversation->contact, part ? part->id : conversation->message_id,
                  part ? part->body : conversation->body, part ? part->attachments : conversation->attachments,
                  part ? part->created_at : conversation->created_at, part ? author_of(part) : "user");
}

void intercom_note(struct intercom *intercom, const char *kind, const struct intercom_conversation *conversation,
                   const struct intercom_contact *contact, int64_t id, struct str body, struct str attachments,
                   int64_t created_at, const char *author)
{
    struct buf text;
    buf_init(&text, BODY_MAX);
    struct json json = {.out = &text};
    json_key_str(&json, "kind", str_of(kind));
    json_key(&json, "conversation");
    if (conversation)
        json_id(&json, conversation->id);
    else
        json_null(&json);
    json_key_str(&json, "contact", contact ? str_of(contact->id) : STR_NONE);
    json_key_str(&json, "external_id", contact ? contact->external_id : STR_NONE);
    json_key(&json, "id");
    if (id)
        json_id(&json, id);
    else
        json_null(&json);
    json_key_str(&json, "author", str_of(author));
    json_key_str(&json, "body", body);
    json_key(&json, "attachments");
    json_raw(&json, attachments.p ? attachments : STR("[]"));
    json_key_int(&json, "created_at", created_at);
    if (!text.failed)
        journal_add(intercom->journal, clock_wall_us(&clock_system), buf_str(&text));
    buf_done(&text);
}

// ---- life ----

static void tags_free(struct intercom_tag **tags)
{
    while (*tags) {
        struct intercom_tag *next = (*tags)->next;
        disown(&(*tags)->name);
        free(*tags);
        *tags = next;
    }
}

static void begin_ids(struct intercom *intercom)
{
    intercom->next_conversation_id = 1001;
    intercom->next_message_id = 403918001;
    intercom->next_part_id = 20000001;
    intercom->next_tag_id = 7522901;
    intercom->next_attribute_id = 37;
}

void intercom_forget_all(struct intercom *intercom)
{
    while (intercom->conversations)
        conversation_free(intercom, intercom->conversations);
    struct intercom_contact *contact, *next;
    HASH_ITER(hh, intercom->contacts, contact, next)
    {
        contact_free(intercom, contact);
    }
    while (intercom->deleted) {
        struct intercom_deleted *rest = intercom->deleted->next;
        free(intercom->deleted);
        intercom->deleted = rest;
    }
    tags_free(&intercom->tags);
    tags_free(&intercom->attributes);
    intercom->deleted_count = intercom->applied = intercom->window_calls = 0;
    begin_ids(intercom);
    notifier_forget(intercom->notifier);
    intercom_fetches_end(intercom);
    files_clear(intercom->files);
    journal_clear(intercom->journal);
    journal_clear(intercom->said);
    journal_clear(intercom->notes);
}

static void on_reset(void *arg)
{
    intercom_forget_all(arg);
}

static const struct journal *journal_of(const struct intercom *intercom, struct str of)
{
    if (!of.p || str_eq_c(of, "applied"))
        return intercom->journal;
    if (str_eq_c(of, "said"))
        return intercom->said;
    if (str_eq_c(of, "notes"))
        return intercom->notes;
    return str_eq_c(of, "webhook") ? notifier_journal(intercom->notifier) : NULL;
}

static bool write_journal(void *arg, struct str of, int64_t after, int64_t limit, struct json *json)
{
    const struct journal *journal = journal_of(arg, of);
    if (journal)
        journal_write(journal, after, limit, json);
    return journal != NULL;
}

static void on_dropped(void *arg, struct call *call)
{
    struct intercom *intercom = arg;
    call->state = NULL;
    notifier_dropped(intercom->notifier);
}

static const struct door_ops ops = {
    .name = "intercom",
    .page = "inbox.html",
    .notifies = true,
    .api = intercom_api,
    .control = intercom_control,
    .refuse = intercom_refuse,
    .status = intercom_status,
    .journal = write_journal,
    .reset = on_reset,
    .dropped = on_dropped,
};

struct intercom *intercom_new(struct loop *loop, const struct intercom_options *options, const char **why)
{
    struct intercom *intercom = mem_new_of(struct intercom);
    intercom->options = *options;
    chance_init(&intercom->chance, options->seed + 2);
    intercom->door = door_new(loop, options->address, &ops, intercom, options->seed + 3, why);
    if (!intercom->door) {
        free(intercom);
        return NULL;
    }
    intercom->journal = journal_new(options->keep);
    intercom->said = journal_new(options->keep);
    intercom->notes = journal_new(options->keep);
    intercom->notifier = notifier_new(intercom, loop);
    intercom->files = files_new(files_max);
    struct http_client_options client;
    http_client_options_default(&client);
    client.user_agent = "tributary-sandbox/" TRIBUTARY_VERSION;
    client.max_body = FETCH_MAX;
    intercom->client = http_client_new(loop, &client);
    intercom->admins[0].id = 991267459;
    intercom->admins[0].name = "Alex Agent";
    intercom->admins[0].email = "alex.agent@sandbox.example";
    intercom->admins[1].id = 991267460;
    intercom->admins[1].name = "Robin Relay";
    intercom->admins[1].email = "robin.relay@sandbox.example";
    begin_ids(intercom);
    return intercom;
}

void intercom_free(struct intercom *intercom)
{
    if (!intercom)
        return;
    intercom_forget_all(intercom);
    door_free(intercom->door);
    notifier_free(intercom->notifier);
    http_client_free(intercom->client);
    files_free(intercom->files);
    journal_free(intercom->journal);
    journal_free(intercom->said);
    journal_free(intercom->notes);
    free(intercom);
}
