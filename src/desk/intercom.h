// What the files of the Intercom connector share; for nobody else.
#pragma once
#include "base/json.h"
#include "desk/desk.h"
#include "model/attachment.h"

// What link.note holds, as "name=value" words (a person may read them in the store):
//   space=2        the external id goes with "~2": the plain one is locked at the desk
//   made=S         when the contact was made (Unix seconds), while that is news
//   joined=1       the contact is one that was there with the customer's phone or e-mail address: it is not named by us
//   absent=S       the contact was not there then, and the desk had no room for the request that makes it
//   sought=ID@US   the create of this message was looked for in vain, then
//   clock=desk     the desk keeps its own created_at instead of the one we send
//   clock=ours     it keeps ours, as a time shows that its own clock cannot have said; without the word it is not known
//   told=ID        the newest note of ours to the agents
//   files=ID@R@B   the text of this message is there, as R, with those of its files that the bits B (hex) name; the others are to come
//   who=H[@S]      hash of the profile that the contact was told, or could not be told: then it is not tried again before S
//   old=A,B        conversations of this link that are gone from the desk, the newest last
// Unknown words are dropped; a new one is read where it is missing as if it were 0.
enum intercom_clock { CLOCK_NOT_KNOWN, CLOCK_OURS, CLOCK_DESKS };

struct intercom_note {
    int64_t space; // 0: the plain external id
    bool joined;
    int64_t made_s, absent_s;
    int64_t sought_id, sought_us; // 0: none
    enum intercom_clock clock;
    int64_t told;     // 0: none
    int64_t files_id; // 0: none
    struct str files_ref;
    uint32_t files_told;
    uint64_t who;        // 0: none
    int64_t who_after_s; // 0: it was told
    struct str old;
};

enum { INTERCOM_ABSENT_S = 600 }; // so long nobody else is thought to have made a contact that was not there
enum { INTERCOM_SKEW_S = 60 };    // the desk's clock is ours, give or take
enum { INTERCOM_NEWS_S = 60 };    // a contact as young as this may not be known everywhere at the desk yet

struct intercom_note intercom_note_read(struct str text);
struct str intercom_note_write(const struct intercom_note *note, struct arena *arena);
// One more conversation that is gone; the last few are kept.
void intercom_note_add_old(struct intercom_note *note, struct str conversation, struct arena *arena);

// Whether a part of this type is a note, written for agents: note, note_and_reopen, and what may be called so yet.
bool intercom_is_note(struct str part_type);

// An id of the desk: a text or a number, at most 128 bytes; STR_NONE when it is none.
struct str intercom_id(yyjson_val *value, struct arena *arena);

// What a look-up looks for.
struct intercom_wanted {
    struct str contact, body;
    const struct str *tails; // of a message with files: what may stand behind the body, as how each begins
    size_t tail_count;
    bool has_tail;       // nothing but the tail says that it is this one
    struct str text_ref; // the message's text is there under this reference: its files are looked for
    int64_t created_s;   // as we sent it
    int64_t received_s;  // when we had the message: the desk cannot have it from before
    const struct str *known_refs;
    size_t known_ref_count;
    bool own_clock;       // created_at at the desk is its own, or may be, and `last_part` tells what was there before
    bool alone;           // the contact has no conversation of ours beside this one
    struct str looked;    // in this conversation it is not: known from the look there
    struct str last_part; // with own_clock: what we know to be there came up to this
};

// The reference of a message that the desk took without naming it, and of a note. A look-up counts these too, each its own.
#define INTERCOM_UNNAMED STR("unnamed")
#define INTERCOM_UNNAMED_NOTE STR("unnamed note")

// The id that the message has in a conversation as GET gives it, or STR_NONE. `out_said` is the part, or the conversation's source.
struct str intercom_find_in_conversation(const struct intercom_wanted *wanted, yyjson_val *conversation,
                                         struct arena *arena, yyjson_val **out_said);
// The same for a list of conversations that the message may have begun; `out_conversation` is the one it did.
struct str intercom_find_in_list(const struct intercom_wanted *wanted, yyjson_val *list, struct arena *arena,
                                 struct str *out_conversation, yyjson_val **out_said);
// A body without blanks; with `html`, without tags and with entities read.
struct str intercom_squeezed(struct str body, bool html, struct arena *arena);
// Whether a body as the desk shows it (HTML or plain text) is what we sent.
bool intercom_same_body(struct str ours, struct str theirs, struct arena *arena);

// Whether HTML shows no text; an image is none.
bool intercom_is_blank(struct str html, struct arena *arena);
// The address of the next image in HTML, at or after `*at`, which is moved behind it. False when there is no more.
bool intercom_next_image(struct str html, size_t *at, struct arena *arena, struct str *out_url);

// A request with all that goes with each of them; with a body unless it is empty.
void intercom_request(const struct desk *desk, struct arena *arena, const char *method, struct str path,
                      struct str body, struct http_request *out);
// verdict_of, with the end of the rate window that Intercom tells in a header of its own.
struct verdict intercom_verdict(const struct http_response *response, bool writes, int64_t now_us, struct arena *arena);
#define INTERCOM_UNREADABLE STR("Intercom's answer cannot be read")

// desk_connector.receive, .fetch, .search.
void intercom_receive(const struct desk *desk, const struct http_request *request, struct arena *arena,
                      struct desk_notice *out);
bool intercom_fetch(struct desk_fetch *fetch, const struct http_response *last, struct http_request *out_request);
bool intercom_changed(struct desk_search *search, const struct http_response *last, struct http_request *out_request);

// The cheap request that tells whether the desk knows us.
void intercom_ask_me(const struct desk *desk, struct arena *arena, struct http_request *out);
// desk_connector.ask.
bool intercom_ask(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last,
                  struct http_request *out_request);

// The step machine -----------------------------------------------------------------------------------------

// What was sent last: `attempt->phase`.
enum intercom_phase {
    PHASE_START,
    PHASE_FIND,         // the contact, by external id
    PHASE_SEEK,         // it was not there: one with the same phone, or e-mail address
    PHASE_MAKE_CONTACT, // nor that
    PHASE_UNARCHIVE,    // it is there, archived
    PHASE_WHO,          // what is known of the customer, to the contact
    PHASE_LOOK,         // in doubt: in the conversation
    PHASE_SEARCH,       // in doubt: for the conversation that the message may have begun
    PHASE_OPEN,         // a conversation, with the message as its first
    PHASE_REPLY,        // the message in its conversation
    PHASE_CHECK,        // a reply found nobody: is the conversation there?
    PHASE_ME,           // as whom a note is written
    PHASE_TELL,         // a note in the conversation
    PHASE_LOOK_TOLD,    // in doubt: for a note in the conversation
};

// One attempt's memory beside the link.
struct intercom_run {
    struct intercom_note note; // written back to the link after each step
    struct str body;           // unless there are files
    struct attachment *files;
    size_t file_count;
    bool text_there;  // at the desk: what is left are files
    uint32_t told;    // files that are at the desk, or that the agent was told of there
    uint32_t going;   // those that the request under way adds to them
    uint32_t uploads; // those of them whose bytes, or addresses to get them by, are in it
    bool no_uploads;  // the desk does not like them
    bool no_urls;     // nor those
    bool who_asked;
    bool no_attributes; // the workspace has none for what we know of the customer
    bool unshared;      // what the customer shares is not told: the desk does not like it, or another contact has it
    bool sought;        // a contact with the same phone, or e-mail address
    struct str lost;    // the contact that the desk did not know any more
    int64_t created_s;
    bool looked;   // and the message is not there
    bool nameless; // the desk did not like the contact's name
    int finds;     // of the contact, in a row
};

// One call of step(). Each of the functions below ends in *out being set.
struct intercom {
    struct delivery *attempt;
    struct intercom_run *run;
    struct arena *arena;
    struct delivery_step *out;
};

void intercom_send(struct intercom *s, enum intercom_phase phase, const char *method, struct str path, struct str body);
void intercom_end_by_rule(struct intercom *s, const struct http_response *last, bool writes);
void intercom_end_unreadable(struct intercom *s, const struct http_response *last, bool writes);
void intercom_end_retry(struct intercom *s, const struct http_response *last, const char *why);
// It is the conversation that takes nothing, not the desk.
void intercom_end_rejected(struct intercom *s, const struct http_response *last, const char *why);
void intercom_end_wait(struct intercom *s, int64_t until_us, const char *why);
void intercom_end_delivered(struct intercom *s, int status, struct str ref);
// What comes next, from what is known.
void intercom_go_on(struct intercom *s);
void intercom_send_find(struct intercom *s);
void intercom_send_find_or_make(struct intercom *s);
// Nobody has our external id: one that the customer shares is looked for, or a contact is made.
void intercom_contact_absent(struct intercom *s);
// Takes this one, `made` by us just now or not. False: it is none.
bool intercom_take_contact(struct intercom *s, yyjson_val *contact, bool made);
// Who the customer is, as far as the contact is told; the e-mail address only where it is shared.
struct profile intercom_profile(const struct intercom *s);
// By what the customer is known in other sources, too (intercom_person.c): a phone or an e-mail address; STR_NONE: nothing.
struct str intercom_shared(const struct intercom *s);
// Looks for a contact that has it, once an attempt. False: nothing is sent.
bool intercom_send_seek(struct intercom *s);
void intercom_on_seek(struct intercom *s, const struct http_response *last);
void intercom_write_filter(struct json *json, const char *field, const char *operator, struct str value);
void intercom_send_search(struct intercom *s);
// The desk does not know our contact any more: found anew, a few times.
void intercom_contact_lost(struct intercom *s, const struct http_response *last);
// 410: goes on with the contact that ours was merged into.
void intercom_contact_merged(struct intercom *s, const struct http_response *last);
// What the desk does not know yet of the customer (intercom_who.c). False: nothing is sent.
bool intercom_send_who(struct intercom *s);
void intercom_on_who(struct intercom *s, const struct http_response *last);
// The contact was made: with all there is to know, maybe.
void intercom_who_made(struct intercom *s);
// desk_connector.show_avatar (intercom_who.c).
bool intercom_show_avatar(const struct desk *desk, const struct link *link, struct str url, struct arena *arena,
                          struct http_request *out);
// Of the message's files (intercom_files.c): what is known of them at the start of an attempt.
void intercom_files_begin(struct intercom *s);
// Whether there are some that are not wanted any more, and of which the agent does not know.
bool intercom_files_left(const struct intercom *s);
// The message, or what is left of it, to its conversation or as the first of one.
void intercom_send_reply(struct intercom *s);
void intercom_send_open(struct intercom *s);
// A request of those was taken, under `ref`: the end, or the way to what is left.
void intercom_taken(struct intercom *s, int status, struct str ref);
// It was refused, and its files may be why: sent again without them. False: it had none.
bool intercom_send_without(struct intercom *s, const struct http_response *last);
// What the look-up looks for, but for what goes for all messages.
void intercom_files_wanted(struct intercom *s, struct intercom_wanted *wanted);
// The look-up found it: `said` at the desk.
void intercom_found(struct intercom *s, yyjson_val *said, struct str ref);
// Ends as delivered, with what is there.
void intercom_end_there(struct intercom *s, int status);

void intercom_on_find(struct intercom *s, const struct http_response *last);
void intercom_on_make_contact(struct intercom *s, const struct http_response *last);
void intercom_on_unarchive(struct intercom *s, const struct http_response *last);
void intercom_on_look(struct intercom *s, const struct http_response *last);
void intercom_on_search(struct intercom *s, const struct http_response *last);
// The same as intercom_go_on for a note.
void intercom_go_on_telling(struct intercom *s);
void intercom_on_me(struct intercom *s, const struct http_response *last);
void intercom_on_tell(struct intercom *s, const struct http_response *last);
void intercom_on_look_told(struct intercom *s, const struct http_response *last);

// Helpers: what is learned, marking the link changed; what a writer wrote, in the arena.
void intercom_set(struct intercom *s, struct str *text, struct str value);
void intercom_set_contact(struct intercom *s, struct str contact);
void intercom_forget_conversation(struct intercom *s);
struct str intercom_written(struct intercom *s, struct buf *buf);
struct str intercom_conversation_path(struct intercom *s, const char *rest);
bool intercom_answered(const struct http_response *last, int status);
bool intercom_is_2xx(const struct http_response *last);
bool intercom_is_conversation(yyjson_val *root);
