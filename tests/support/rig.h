// The relay core on a bench: committer, dispatcher and courier as they are, over the store in memory, with a clock
// that stands, and a network whose answers the test gives. One thread; what happens is what the test lets happen.
#pragma once
#include "base/clock.h"
#include "relay/committer.h"
#include "relay/directory.h"
#include "relay/dispatcher.h"
#include "relay/replies.h"
#include "store/store.h"

enum { RIG_CALLS_MAX = 4096 };

// A request that left, in the order of leaving.
struct rig_call {
    struct arena arena;
    struct str method, target, body;
    int64_t timeout_ms, sent_us; // monotonic
    void (*done)(void *arg, const struct http_response *response);
    void *arg;
    bool open;
};

struct rig {
    struct clock_manual clock;
    struct store_fault fault; // of the store
    struct store *store;
    struct store_reader *reader;
    struct directory *directory;
    struct board *board;
    struct tally *tally;
    struct committer *committer;
    struct dispatcher *dispatcher;
    struct replies *replies;
    struct loop_task *tasks, **tasks_tail; // events on their way to the dispatcher
    int64_t armed_us, replies_armed_us;
    bool stopped;
    struct rig_call calls[RIG_CALLS_MAX];
    int call_count;
    int said;
    int64_t media_wait_us;
    int64_t troubled_lane; // as the port lane_trouble was told last; 0 = never
    bool trouble_over;
    int avatars_due;        // how often the port avatar_due was called
    int suspended_at_start; // desks, before anything was read
    void (*ends)(const char *sentence);
};

struct rig_options {
    const char *desk; // "webhook" (default) or "intercom"
    enum order_rule order;
    enum failure_policy on_failure;
    int concurrency;        // default 16
    int window;             // default 10
    int max_attempts;       // default 5
    int memory_messages;    // default 1000
    const char *source;     // "webhook" (default) or "telegram"
    bool reads_desk;        // what agents say there is fetched, too
    int64_t keep_dedupe_us; // to those who read the desk; default 30 days
    enum replies_policy replies;
    enum doubt_policy in_doubt;
    enum desk_probe probe;
    const char *store_path; // of a SQLite store; NULL: in memory
    int64_t rate_per_min;   // of the desk
    int64_t hold_lane;      // as one that brought the process down; 0 = none
    int64_t retry_cap_ms;   // default 60000
    int64_t wall_us;        // at the start, for a process that takes up another one's store; 0 = 1700000000 s
    int64_t log_bytes;      // of a SQLite store, 0: as usual
    int64_t media_wait_ms;  // default 15000
    bool no_public_url;
    // Accounts beside "acme", with rig_add_account: they are there before the dispatcher starts. NULL: none.
    void (*add_accounts)(struct rig *rig);
    // What the process says when it ends by its own decision, also when it cannot start; it does not return. NULL: a
    // decision that the test did not ask for fails it.
    void (*ends)(const char *sentence);
};

void rig_init(struct rig *rig, const struct rig_options *options);
// Stops the dispatcher and frees everything; no call may be open.
void rig_done(struct rig *rig);
// A process that died and came back: what was in memory is gone, the store stays.
void rig_crash(struct rig *rig, const struct rig_options *options);
// The account of that name (made with the first rig_say or rig_init: "acme").
const struct account *rig_account(struct rig *rig, const char *name);
// Another account with the same desk or one of its own (url).
void rig_add_account(struct rig *rig, const char *name, const struct rig_options *options, const char *url);
// The desk tells, and it is stored, that this conversation of its has news.
void rig_news(struct rig *rig, const char *account, const char *desk_conversation);
// A message of that conversation is accepted and announced. Its id.
int64_t rig_say(struct rig *rig, const char *account, const char *conversation, const char *text);
// What comes with files, or as a part of an album.
struct rig_said {
    const char *conversation, *text;
    int files;         // to be fetched
    const char *album; // NULL: it stands alone
    const char *who;   // the name in the customer's profile; NULL: the platform tells of none
    const char *group; // the conversation's name; NULL: it is the customer's alone
};
// The same as rig_say. Its id; of a part that joined another message the id of that one.
int64_t rig_say_with(struct rig *rig, const char *account, const struct rig_said *said);
// A file of the message was fetched, or (`hash` NULL) cannot be had: stored, and the dispatcher hears of it.
struct store_file rig_file(struct rig *rig, int64_t id, int nth, const char *hash);
// A hash that begins with this letter.
const char *rig_hash(char letter);
// A reply to that conversation, which a message was received of. Its id.
int64_t rig_reply(struct rig *rig, const char *account, const char *conversation, const char *text);
// Another version of the account is in force: `change` is called with a copy. Stored, and told as by a reload.
void rig_change(struct rig *rig, const char *name, void (*change)(struct account *account));
// The same as rig_say with a dedupe key of the test's, answered as a platform would be: 0, or why it was not stored.
int rig_accept(struct rig *rig, const char *account, const char *key, const char *conversation, const char *text,
               int64_t *out_id);
// Hands the job to the committer; `run` is called as an event when it is done.
void rig_submit(struct rig *rig, struct job *job, void (*run)(struct loop_task *task));
// Lets committer and dispatcher work until nothing moves.
void rig_turn(struct rig *rig);
// No more than that many events.
void rig_steps(struct rig *rig, int count);
// Time passes; timers fire.
void rig_pass(struct rig *rig, int64_t ms);
// The oldest open call, or NULL.
struct rig_call *rig_open(struct rig *rig);
// The oldest open call whose body or target holds this text, or NULL.
struct rig_call *rig_open_with(struct rig *rig, const char *text);
int rig_open_count(struct rig *rig);
// Answers, and lets everything work.
void rig_answer(struct rig *rig, struct rig_call *call, int status, const char *body);
void rig_answer_with(struct rig *rig, struct rig_call *call, int status, const char *header, const char *value,
                     const char *body);
// The call ends without an answer.
void rig_lose(struct rig *rig, struct rig_call *call, enum http_failure failure, bool written);
void rig_set_active(struct rig *rig, const char *name, bool active);
// The account's order rule is changed, as by a reload. False: the last change is not over, the rule stays.
bool rig_set_order(struct rig *rig, const char *name, enum order_rule order);
// The message as the store has it; the caller frees it.
struct message *rig_message(struct rig *rig, int64_t id);
// What the store says of it.
enum message_state rig_state_of(struct rig *rig, int64_t id);
int rig_attempts_of(struct rig *rig, int64_t id);
bool rig_is_in_doubt(struct rig *rig, int64_t id);
bool rig_is_marked(struct rig *rig, int64_t id);
// How many alarms of that name stand; NULL: of any.
int rig_alarms(struct rig *rig, const char *name);
