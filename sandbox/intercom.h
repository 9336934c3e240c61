// A stand-in of Intercom's API: contacts, conversations and their parts, as the description of version 2.16 has them.
//
// A contact is a user (with an external id) or a lead; it may be archived, or merged into another one, and then only points there.
// A conversation begins with a contact's message (its source) and grows by parts. Bodies are kept as they came: plain text from
// contacts, HTML from admins; which of the two an answer shows is decided when it is written.
//
// What agents and bots do is told to the app's webhook (intercom_notify.c), as is what they do through the API.
#pragma once
#include "base/chance.h"
#include "net/http_client.h"
#include "sandbox/door.h"

#include <uthash.h>

enum { INTERCOM_KEEP_PARTS = 1000, INTERCOM_ID = 24, INTERCOM_ADMINS = 2, INTERCOM_APP = 1 };

struct intercom_contact {
    UT_hash_handle hh, hh_external; // by id; by external_id, while that is the contact's
    char id[INTERCOM_ID + 1];
    struct str external_id, role, name, email, phone, avatar, language; // owned; STR_NONE: null
    struct str attributes;                                              // owned: a JSON object, or STR_NONE
    int64_t created_at, updated_at, last_replied_at;                    // Unix seconds, 0: null
    int64_t made_us;
    bool archived;
    struct intercom_contact *merged_into;
    int64_t merged_at;
};

struct intercom_part {
    struct intercom_part *prev, *next;
    int64_t id, created_at, updated_at;
    const char *type; // "comment", "note", "open", "close", "snoozed", "assignment"
    struct str body;  // owned; STR_NONE: null
    bool html;
    const struct intercom_contact *contact; // the author; NULL: an admin, or the workspace's bot
    int admin;                              // then this one
    bool bot, fin;                          // the bot; its answer was made by Fin
    int64_t assigned_to;                    // id of an admin; 0: none
    struct str attachments;                 // owned: a JSON list of part_attachment, or STR_NONE
    bool by_api, redacted, edited;
};

struct intercom_conversation {
    UT_hash_handle hh;                         // by id
    struct intercom_conversation *prev, *next; // latest activity first
    int64_t id, message_id;
    struct intercom_contact *contact;
    bool by_admin;                      // begun by an agent
    int admin;                          // then this one
    struct str body;                    // owned: of the first message
    struct str attachments;             // owned
    struct str title, attributes, tags; // owned; attributes and tags as JSON
    int64_t created_at, updated_at, waiting_since, snoozed_until, first_reply_at;
    int64_t made_us;
    const char *state;           // "open", "closed", "snoozed"
    bool read, redacted;         // redacted: its first message
    struct intercom_part *parts; // the last ones
    size_t part_count;           // kept
    int64_t total_parts;
    int64_t admin_assignee; // id; 0: none
};

struct intercom_tag {
    struct intercom_tag *next;
    int64_t id;
    struct str name; // owned
};

// Things that were there once, or are there by name only.
struct intercom_deleted {
    struct intercom_deleted *next;
    int64_t id, at;
    bool metrics_retained;
};

struct intercom_options {
    const char *address;
    uint64_t seed;
    size_t keep;              // journal entries
    int64_t limit;            // calls per window; 0: no limit
    int64_t window_ms;        // 10 s
    int64_t contact_ready_ms; // a contact younger than this cannot be written for: 404
    int64_t search_lag_ms;    // what is younger is not found by searches
    struct str webhook;       // where notifications go from the start; STR_NONE: nowhere
    struct str client_secret; // what they are signed with
    int64_t webhook_ms;       // how long the webhook may take to answer (5 s)
    int64_t retry_ms;         // until the second and last try (1 min)
};

struct intercom {
    struct door *door;
    struct intercom_options options;
    struct chance chance;
    struct intercom_contact *contacts, *contacts_by_external;
    struct intercom_conversation *conversations_by_id, *conversations;
    size_t conversation_count;
    int64_t next_conversation_id, next_message_id, next_part_id, next_tag_id, next_attribute_id;
    struct intercom_tag *tags, *attributes; // attributes: names of contacts' custom attributes
    struct intercom_deleted *deleted;       // newest first
    int64_t deleted_count;
    struct journal *journal;
    struct journal *said, *notes; // what agents and bots told customers, and one another
    struct notifier *notifier;
    struct files *files;
    struct http_client *client;          // fetches attachments
    struct intercom_file_fetch *fetches; // on their way
    int64_t window_began_us, window_calls;
    int64_t applied; // messages of contacts
    struct {
        int64_t id;
        const char *name, *email;
    } admins[INTERCOM_ADMINS];
};

// One check of a body's member.
enum field_type { FIELD_TEXT, FIELD_INT, FIELD_BOOL, FIELD_OBJECT, FIELD_LIST, FIELD_URLS, FIELD_FILES };
struct field {
    const char *name;
    enum field_type type;
    bool required, nullable;
};

// ---- intercom.c ----
struct intercom *intercom_new(struct loop *loop, const struct intercom_options *options, const char **why);
void intercom_free(struct intercom *intercom);
void intercom_forget_all(struct intercom *intercom);
struct intercom_contact *intercom_contact(struct intercom *intercom, struct str id);
struct intercom_contact *intercom_contact_by_external(struct intercom *intercom, struct str external_id);
// The contact that `contact` was merged into, through all steps; itself when it was not.
struct intercom_contact *intercom_contact_final(struct intercom_contact *contact);
struct intercom_contact *intercom_contact_add(struct intercom *intercom);
// Names it in the index by external id.
void intercom_contact_set_external(struct intercom *intercom, struct intercom_contact *contact, struct str external_id);
void intercom_contact_drop_external(struct intercom *intercom, struct intercom_contact *contact);
void intercom_contact_delete(struct intercom *intercom, struct intercom_contact *contact);
struct intercom_conversation *intercom_conversation(struct intercom *intercom, int64_t id);
// Begun by the contact, or by the agent who is the author of `first`.
struct intercom_conversation *intercom_conversation_add(struct intercom *intercom, struct intercom_contact *contact,
                                                        const struct intercom_part *first);
void intercom_conversation_delete(struct intercom *intercom, struct intercom_conversation *conversation,
                                  bool retain_metrics);
// The state of the conversation follows the part's type; notifies.
struct intercom_part *intercom_part_add(struct intercom *intercom, struct intercom_conversation *conversation,
                                        const struct intercom_part *like);
// A part (NULL: the first message) is not what it was: the times, the page, the journal under `kind`.
void intercom_part_changed(struct intercom *intercom, struct intercom_conversation *conversation,
                           struct intercom_part *part, const char *kind);
int64_t intercom_now(void);
// The index of the admin of that id, or -1.
int intercom_admin(const struct intercom *intercom, struct str id);
// A line in the journal: what was applied.
void intercom_note(struct intercom *intercom, const char *kind, const struct intercom_conversation *conversation,
                   const struct intercom_contact *contact, int64_t id, struct str body, struct str attachments,
                   int64_t created_at, const char *author);

// ---- intercom_json.c ----
void intercom_write_contact(struct json *json, const struct intercom *intercom, const struct intercom_contact *contact,
                            bool merge_history);
void intercom_write_contact_reference(struct json *json, const struct intercom_contact *contact);
enum intercom_parts { PARTS_NONE, PARTS_ALL, PARTS_LAST };
void intercom_write_conversation(struct json *json, const struct intercom *intercom,
                                 const struct intercom_conversation *conversation, enum intercom_parts parts,
                                 bool plain);
void intercom_write_admin(struct json *json, const struct intercom *intercom, int admin);
// The name of who wrote the part; STR_NONE: the customer.
struct str intercom_author(const struct intercom *intercom, const struct intercom_part *part);
// HTML without its tags.
struct str intercom_plain(struct arena *arena, struct str html);

// ---- intercom_api.c ----
void intercom_api(void *arg, struct call *call);
void intercom_refuse(void *arg, struct call *call, int status, int64_t retry_after_s);
void intercom_error(struct call *call, int status, const char *code, const char *message, const char *field);
// False after an answer of 400 that names the member.
bool intercom_check(struct call *call, yyjson_val *body, const struct field *fields, size_t count);
// A new answer to write into; intercom_send ends it.
void intercom_begin(struct buf *text, struct json *json);
void intercom_send(struct call *call, struct buf *text);
// The version that the request asks for, its part after the point ("2.16": 16; 1.x: 0).
int intercom_version(struct call *call);

struct route {
    const char *method, *path; // segments; "*" is one of any kind
    void (*run)(struct intercom *intercom, struct call *call);
};
extern const struct route intercom_contact_routes[], intercom_conversation_routes[], intercom_redact_routes[],
    intercom_other_routes[];

// ---- intercom_files.c ----
bool intercom_has_attachments(struct call *call);
// What is wrong with one of attachment_files, or NULL.
const char *intercom_wrong_file(yyjson_val *each);
// The attachments that a request's body asks for, kept, as a JSON list in the arena; STR_NONE when it has none.
struct str intercom_attachments(struct call *call);
// Fetches those that are addresses; part 0: of the first message.
void intercom_fetch_attachments(struct intercom *intercom, int64_t conversation, int64_t part);
void intercom_fetches_end(struct intercom *intercom);
// GET files/ID/NAME, with no token: its address is signed.
void intercom_file(struct intercom *intercom, struct call *call);

// ---- intercom_redact.c ----
// NULL: there is none of that id, or no conversation.
struct intercom_part *intercom_part_find(struct intercom_conversation *conversation, int64_t id);
void intercom_part_redact(struct intercom *intercom, struct intercom_conversation *conversation,
                          struct intercom_part *part);
void intercom_do_redact(struct intercom *intercom, struct call *call);
void intercom_do_edit(struct intercom *intercom, struct call *call);

// ---- intercom_notify.c ----
// Notifications as the real desk sends them: any order, an answer within 5 s, one more try a minute later, then never again.
struct notifier *notifier_new(struct intercom *intercom, struct loop *loop);
void notifier_free(struct notifier *notifier);
// What is on its way is forgotten.
void notifier_forget(struct notifier *notifier);
// Tells the webhook, if there is one, of the conversation with its last part (`part`; NULL: of how it began).
void notifier_tell(struct notifier *notifier, const char *topic, const struct intercom_conversation *conversation,
                   const struct intercom_part *part);
// GET and POST intercom/webhook.
void notifier_show(struct intercom *intercom, struct call *call);
void notifier_join(struct intercom *intercom, struct call *call);
// The call that waits for the probe is to be cut.
void notifier_dropped(struct notifier *notifier);
// "off", "on", or "disabled" by a 410.
const char *notifier_state(const struct notifier *notifier);
const struct journal *notifier_journal(const struct notifier *notifier);

// ---- intercom_search.c ----
// Value of a field as text or number, for one thing found. False: there is no such field.
struct search_value {
    struct str text;
    int64_t number;
    bool is_number, is_null;
};
struct searchable {
    const void *thing;
    bool (*get)(const void *thing, struct str field, struct search_value *out);
};
// True when the query fits. `bad` is set to a sentence when the query itself does not make sense.
bool intercom_matches(const struct searchable *searchable, yyjson_val *query, const char **bad);
bool intercom_contact_value(const void *contact, struct str field, struct search_value *out);
bool intercom_conversation_value(const void *conversation, struct str field, struct search_value *out);

// ---- intercom_control.c ----
bool intercom_control(void *arg, struct call *call, struct str what);
void intercom_status(void *arg, struct json *json);

// ---- intercom_inbox.c ----
// The page's data (GET inbox), and what an agent does (POST inbox/...). False: it is none of these.
bool intercom_inbox(struct intercom *intercom, struct call *call, struct str what);
// An agent's text as the HTML that the desk keeps, in the arena.
struct str intercom_as_html(struct call *call, struct str text);
