// The simulator: the relay core as it is (intake after parsing, committer, dispatcher, courier, the desks' step machines,
// governor, guard, health) in one thread, on simulated clock, chance, store, network, platforms and desks. One seed is one
// history. docs/internals/simulator.md says what is real, what is drawn, and what is checked.
//
// Faults and actions have names (ids) that do not depend on one another, so that a history can be run again with only some
// of them: that is how a failing one is shrunk.
#pragma once
#include "base/buf.h"
#include "base/chance.h"
#include "base/clock.h"
#include "base/heap.h"
#include "model/account.h"
#include "model/http.h"
#include "relay/by_hand.h"
#include "relay/dispatcher.h"
#include "relay/intake.h"
#include "relay/media.h"
#include "store/store.h"

#include <setjmp.h>

enum { MOST_ACCOUNT_IDS = 256 };
enum { SECOND = 1000000, MINUTE = 60 * SECOND };
enum {
    MOST_ACCOUNTS = 6,
    MOST_SOURCES = 3,
    MOST_CONVERSATIONS = 24,
    MOST_DESKS = 4,
    MOST_EVENTS = 2000, // messages: customers', and behind them replies and notes, as they come
    MOST_IDS = 2 * MOST_EVENTS,
    MOST_BOTS = MOST_ACCOUNTS * MOST_SOURCES,
    MOST_RECEIVERS = MOST_DESKS + MOST_BOTS, // desks, then the bots of sources
    MOST_SPOKEN = 600,                       // by agents
    MOST_FILES = 4,                          // of one message, or one thing that an agent says
    FILE_IDS = (MOST_EVENTS + MOST_SPOKEN) * MOST_FILES,
};

// ---- what is drawn at the start (plan.c) ----

enum action_kind {
    ACT_SAY,        // a customer's message reaches the platform: event `a`
    ACT_WEATHER,    // desk `a`, kind `b`, for `us`
    ACT_STORE,      // error `a` for `us`
    ACT_CRASH,      // now, or in the next transaction before (a=1) or after (a=2) it is on the disk; away for `us`
    ACT_STOP,       // an orderly stop and a start after `us`
    ACT_SWITCH,     // account `a` on or off
    ACT_ORDER,      // account `a`: the other order rule
    ACT_ON_FAILURE, // account `a`: the other policy
    ACT_TOKEN,      // account `a`: another token or url of the same desk
    ACT_RETRY,      // by hand, of some message
    ACT_DISCARD,
    ACT_RESUME, // of account `a`'s desk
    ACT_CLOCK,  // the wall clock is set by `us`
    ACT_SOURCE, // account `a`: its source `b` is removed, or comes back
    ACT_REMOVE, // account `a`, or it is added again under its name
    ACT_DELETE, // agents delete the conversations of customer `b` at desk `a` (Intercom)
    ACT_ANSWER, // somebody at desk `a` (Intercom) says something: the `b`-th time
    ACT_KINDS,
};

struct action {
    enum action_kind kind;
    int64_t at_us, us;
    int a, b;
};

enum weather {
    FAIR,
    W_REFUSED,   // no connection
    W_SILENT,    // requests vanish
    W_SILENT_IN, // they are taken, the answers vanish
    W_DROPPED,
    W_502,
    W_503,
    W_504,
    W_429,
    W_401, // for the tokens up to the present one
    W_403,
    W_500,  // to everything
    W_400,  // to every message
    W_SLOW, // but well
    WEATHERS,
};

// A message that is ill by itself.
enum illness { WELL, ILL_400, ILL_422, ILL_500, ILL_500_TAKEN, ILL_DROPS, ILL_SILENT, ILL_SILENT_TAKEN, ILLNESSES };

struct event_plan {
    int account, conversation;
    enum illness illness;
    bool twin;     // says the same as others do
    bool together; // in one webhook with the event before
    int files;     // that come with it
    bool album;    // of one album with the event before
    bool wordless;
};

struct desk_plan {
    bool intercom, own_clock;
    enum desk_probe probe;
    int limit; // requests in ten seconds; 0 = none said
};

struct plan {
    int accounts, conversations, desks, events;
    int desk_of[MOST_ACCOUNTS];
    bool telegram[MOST_ACCOUNTS]; // its sources are bots, which take replies
    enum doubt_policy in_doubt[MOST_ACCOUNTS];
    enum replies_policy replies[MOST_ACCOUNTS];
    int sources[MOST_ACCOUNTS];
    int source_of[MOST_CONVERSATIONS];
    int migrates_at[MOST_CONVERSATIONS]; // with that message of it to another thread; 0 = never
    int64_t keep_bodies_us, keep_dedupe_us;
    int account_of[MOST_CONVERSATIONS];
    enum order_rule order[MOST_ACCOUNTS];
    enum failure_policy on_failure[MOST_ACCOUNTS];
    int64_t rate_per_min[MOST_ACCOUNTS];
    struct desk_plan desk[MOST_DESKS];
    struct event_plan event[MOST_EVENTS];
    struct action *actions;
    size_t action_count;
    int64_t faults_end_us; // then everything heals
    int max_attempts, window, concurrency, memory_messages, max_queue;
    int64_t retry_base_ms, retry_cap_ms, timeout_ms, settle_ms, shutdown_ms;
    int desk_faults;                                  // of a thousand requests
    int lost, lost_answers, repeated;                 // of a hundred webhooks
    int64_t desk_us, commit_us;                       // usual times
    int lost_notices, late_notices, doubled_notices;  // of a hundred
    int bots, long_replies, answer_twins, late_parts; // of a hundred things that are said
    // Files (files.c).
    int answer_files;      // of a hundred things that agents say
    int file_faults;       // of a thousand requests for files
    int bad_files;         // of a hundred files: they cannot be had
    bool public_links;     // desks reach our own links
    int64_t media_wait_ms; // for files
};

// ---- one run ----

// Deliberate faults of what stands around the core, each to be found by the judge.
enum breakage {
    BREAK_NOTHING,
    BREAK_ANSWER_EARLY, // 200 before the commit
    BREAK_LOSE_COMMIT,  // a transaction that is told to be stored, and is not
    BREAK_LOSE_MESSAGE, // a failure is recorded as a delivery
    BREAK_FORGET,       // the store does not know at the start which lanes have work
    BREAK_DROP_MARKS,
    BREAK_REPEAT,  // what the desk has is sent once more
    BREAK_OVERLAP, // two requests at a time
    BREAK_SWAP,    // pages come in another order
    BREAK_ALTER,   // the text changes on its way
    BREAK_PHANTOM, // something that nobody said
    BREAK_DEDUPE,  // an event that comes again is stored again
    BREAK_COUNT,   // everything counts as an attempt
    BREAK_SUM,
    BREAK_STUCK,    // announcements get lost
    BREAK_SWITCH,   // the dispatcher is not told of a deactivation
    BREAK_DOUBT,    // doubts get lost
    BREAK_GUARD,    // skips are not counted
    BREAK_DISCARD,  // answered and not done
    BREAK_AGE,      // everything settled is forgotten at once
    BREAK_MIGRATE,  // a thread that migrates is taken for another
    BREAK_REMOVAL,  // a removed account goes on taking messages
    BREAK_FLUSH,    // the disk says that it has flushed, and has not (with files)
    BREAK_TAKEN,    // parts are noted as taken, and the replies made of them are not stored
    BREAK_NEWS,     // news that came while a conversation was read are cleared with it
    BREAK_PART_KEY, // two parts of a conversation have one key
    BREAK_REVERSE,  // the parts of a conversation are stored in reverse
    BREAK_SWEEP,    // searches for what no notice told of find nothing
    BREAK_NOTE,     // what became of a reply is not told
    BREAK_RESEND,   // a reply that may have arrived is sent again, and that is not counted
    BREAK_HOLD,     // it is sent again though its account would have it held
    BREAK_MOVED,    // where a chat has gone to is forgotten
    BREAK_CHAT,     // a reply goes to another chat
    BREAK_PACE,     // how long a chat wants to be left alone is not heard
    BREAK_UNTOLD,   // files that the desk has count as not told
    BREAK_TOLD,     // files that the desk does not have count as told
    BREAK_BYTES,    // of a file something else is kept
    BREAK_GIVE_UP,  // the first failure to fetch a file is taken for the last
    BREAK_FOLLOW,   // nobody is told of a file that follows
    BREAK_LEFT,     // bytes that no message has any more stay
    BREAK_ALBUM,    // the words of albums get lost
    BREAK_STRANGER, // addresses that customers wrote are trusted
    BREAKAGES,
};
extern const char *const breakage_names[BREAKAGES];

struct sim_options {
    uint64_t seed;
    bool trace;
    bool beyond_settle; // the desk may apply later than delivery.settle: doubles are then allowed
    enum breakage breakage;
    const char *directory; // for the files of a real store; NULL: the store is in memory
    const uint64_t *only;  // sorted: faults and actions that may happen; NULL = all
    size_t only_count;
};

struct sim_result {
    char code[8]; // of the anomaly; "" = none
    char why[400];
    int64_t simulated_us;
    int accepted, delivered, requests, faults, crashes, transactions;
    uint64_t *used; // what happened, in order; the caller's to free
    size_t used_count;
};

void sim_run(const struct sim_options *options, struct sim_result *out);

struct sim;
struct sim_event {
    struct heap_item item; // first
    void (*run)(struct sim *sim, struct sim_event *event);
    int life; // of the process it belongs to; 0: to none
    void *arg;
    int64_t n;
};

struct call;
struct process;
struct oracle;
struct world;
struct platforms;

struct sim {
    const struct sim_options *options;
    struct sim_result *result;
    struct plan plan;
    struct clock_manual clock;
    struct heap events;
    int life;                    // of the process that runs, or ran last
    struct process *process;     // NULL while none runs
    struct store *disk, *store;  // as it is (with files: while they are open), and as the relay sees it
    struct store_reader *reader; // of the disk
    bool store_dead;             // until the next process
    int store_error;             // while not 0
    int store_failed_in;         // the process that last could not write
    int64_t store_error_until_us;
    int crash_in_apply; // 1 before, 2 after
    int64_t away_us;
    bool healing, over;
    bool clock_was_set;
    bool sources_changed;            // or accounts were removed
    bool clock_was_far;              // from that of the desks, by minutes
    int number_of[MOST_ACCOUNT_IDS]; // of an account, by its id; one that is added again has another id
    int64_t healing_since_us;
    struct world *world;
    struct oracle *oracle;
    struct platforms *platforms;
    struct agents *agents;
    struct files *files;
    int numbers; // of messages that were given: the plan's events, then one for each reply and each note
    struct used *used;
    size_t used_size;
    jmp_buf bug; // must() failed
};

// Whether the fault or action of that name may happen; notes that it did.
bool sim_may(struct sim *sim, uint64_t kind, uint64_t key);
// Chance for one thing of a name: does not depend on what else is drawn.
struct chance sim_chance(const struct sim *sim, uint64_t kind, uint64_t key);
uint64_t sim_mix(uint64_t a, uint64_t b);
int64_t draw(struct chance *chance, int64_t from, int64_t to); // both included
bool draw_percent(struct chance *chance, int percent);
struct sim_event *sim_after(struct sim *sim, int64_t us, void (*run)(struct sim *, struct sim_event *), void *arg);
// Of the process that runs: nothing happens when it is gone by then.
struct sim_event *sim_after_here(struct sim *sim, int64_t us, void (*run)(struct sim *, struct sim_event *), void *arg);
int64_t sim_now(const struct sim *sim); // monotonic
// The first anomaly ends the run.
void sim_fail(struct sim *sim, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

void plan_make(struct plan *plan, uint64_t seed);
void plan_done(struct plan *plan);
const char *action_name(enum action_kind kind);

// ---- the relay's process (process.c) ----

void process_start(struct sim *sim);
// It dies: what was in memory is gone, requests on their way go on by themselves.
void process_crash(struct sim *sim);
void process_crash_soon(struct sim *sim);
void process_stop(struct sim *sim); // orderly; comes back by itself after sim->away_us
bool process_is_up(const struct sim *sim);
// A desk's notice that its conversation has news, answered by agents_answered with that number. False when nobody listens.
bool process_notice(struct sim *sim, int account, struct str desk_conversation, int64_t number);
// Replies sent again though they may have arrived, as this process counted them.
int64_t process_resent(const struct sim *sim);
// A webhook with these events (numbers), answered by platform_answered. False when nobody listens.
bool process_webhook(struct sim *sim, const int *events, int count, int64_t delivery);
void process_put_account(struct sim *sim, const struct account *account);
void process_remove_account(struct sim *sim, int account);
void process_set_active(struct sim *sim, int account, bool active);
void process_retry(struct sim *sim, int64_t message_id);
void process_discard(struct sim *sim, int64_t message_id);
void process_resume(struct sim *sim, int account);
void process_break_guard(struct sim *sim);    // a negative control
void process_show_alarms(struct sim *sim);    // one that stands when all is well is an anomaly
bool process_is_asked(const struct sim *sim); // something by hand, not answered yet
// For how long the process has been up; whether it shows that desk as suspended, but not by the guard.
int64_t process_since_us(const struct sim *sim);
bool process_suspends(const struct sim *sim, uint64_t desk_identity);
const struct account *process_account(const struct sim *sim, int account); // counted; NULL: there is none
int account_number(struct str name);
void process_answered(struct sim *sim, void (*done)(void *arg, const struct http_response *response), void *arg,
                      const struct http_response *response);
struct account *account_of_plan(const struct sim *sim, int index); // as it begins
void source_name(int number, char *out, size_t size);
// Of a source of the plan, and where all bots are reached.
#define BOT_URL STR("http://telegram.test")
struct str bot_token(int account, int source, struct arena *arena);
// The platform's name of a conversation, before or after it has migrated.
void thread_name(const struct sim *sim, int conversation, bool migrated, char *out, size_t size);
void source_of_plan(const struct sim *sim, struct account *account, int number);

// ---- the store (disk.c) ----

struct store *disk_open(struct sim *sim);
// The process begins: false when the store does not open, because of a fault.
bool disk_start(struct sim *sim);
void disk_stop(struct sim *sim, bool crashed);
// The store's own check of all that it holds.
void disk_verify(struct sim *sim);

// ---- desks and the network (world.c, intercom.c) ----

struct world *world_new(struct sim *sim);
void world_free(struct world *world);
void *world_send(struct sim *sim, const struct http_request *request, int64_t timeout_ms,
                 void (*done)(void *arg, const struct http_response *response), void *arg);
// The same of a request that reads what agents say: about no message.
void *world_read(struct sim *sim, const struct http_request *request, int64_t timeout_ms,
                 void (*done)(void *arg, const struct http_response *response), void *arg);
void world_cancel(struct sim *sim, void *call);
void world_weather(struct sim *sim, int desk, enum weather weather, int64_t until_us);
// Since when nothing keeps the relay from asking the desk again; INT64_MAX: something does.
int64_t world_free_since_us(const struct sim *sim, int desk);
void world_delete(struct sim *sim, int desk, int conversation);
struct intercom_desk *world_intercom(const struct sim *sim, int desk); // NULL: it is none
// The desks' clock, which nobody sets.
int64_t desk_now_us(const struct sim *sim);
// Until when whoever reads there was asked to leave the desk alone.
int64_t world_read_asked_us(const struct sim *sim, int desk);
const char *weather_name(enum weather weather);

// A conversation at the stand-in for Intercom.
struct intercom_desk;
struct intercom_desk *intercom_desk_new(bool own_clock);
void intercom_desk_free(struct intercom_desk *desk);
// In memory of the caller's, zeroed: that much of it. It holds no pointers.
size_t intercom_desk_size(void);
struct intercom_answer {
    int status;
    struct buf body;
    int conversation; // of the relay's, where it was taken; -1: nowhere
    int thread;       // of the desk's
};
// Handles the request as the desk would, now. `search_lag_us`: how long what it makes stays out of searches.
void intercom_desk_handle(struct intercom_desk *desk, struct str method, struct str path, struct str body,
                          int64_t now_us, int64_t search_lag_us, struct intercom_answer *out);
// Whom a request is about, without handling it; -1 = nobody or unknown.
int intercom_desk_whose(struct intercom_desk *desk, struct str method, struct str path, struct str body);

// Something that agents, or bots of the desk, say there. False: nobody is there to be spoken to.
struct intercom_said {
    uint64_t pick; // chance: in which thread, to which contact
    bool begins;   // another thread
    bool bot, note, redacted;
    const char *part_type;
    int64_t late_us;         // until those who read the thread see it
    const char *html;        // of one paragraph
    const char *attachments; // JSON; NULL: none
    int paragraphs;
    // Out:
    int thread, conversation;
    int64_t part;
};
bool intercom_desk_say(struct intercom_desk *desk, struct intercom_said *said, int64_t now_us, int64_t search_lag_us);
// The text of an event, and back (-1: of none, or of several).
void event_text(const struct sim *sim, int event, char *out, size_t size);
int event_of_text(struct str text);
// Agents delete that customer's threads: how many, and which.
int intercom_desk_delete(struct intercom_desk *desk, int conversation, int *out_threads);

// ---- platforms and customers (platforms.c) ----

struct platforms *platforms_new(struct sim *sim);
void platforms_free(struct platforms *platforms);
void platform_say(struct sim *sim, int event);
int64_t platform_said_us(const struct sim *sim, int event);
// It comes in the thread that the conversation has migrated to; `out_first`: and is the first that does.
bool platform_migrated(const struct sim *sim, int event, bool *out_first);
void platform_answered(struct sim *sim, const int *events, int count, int64_t number, bool ok);
bool platforms_are_through(const struct sim *sim);

// The customer's group has become a supergroup.
bool platform_has_migrated(const struct sim *sim, int conversation);

// ---- files (files.c) ----

// A file that somebody sends has a number: of a customer's message, or of what an agent said.
enum file_nature { FILE_FINE, FILE_LARGE, FILE_GONE }; // the last two cannot be had
struct files *files_new(struct sim *sim);
void files_free(struct files *files);
static inline int file_of_event(int event, int nth)
{
    return event * MOST_FILES + nth;
}
static inline int file_of_spoken(int spoken, int nth)
{
    return (MOST_EVENTS + spoken) * MOST_FILES + nth;
}
enum file_nature file_nature(struct sim *sim, int file);
// "e12-0.png", "r3-1.png", and back: the first such name in the text; -1: there is none.
void file_name(int file, char *out, size_t size);
int file_named(struct str text);
void file_bytes(const struct sim *sim, int file, char *out, size_t size);
void file_hash(const struct sim *sim, int file, char out[FILE_HASH_SIZE + 1]);
// What the platform, or the desk, tells of it.
struct attachment file_attachment(const struct sim *sim, int file, struct arena *arena);
// The bytes that are kept. Outlives the process.
struct media_files *files_kept(const struct sim *sim);
bool files_have(const struct sim *sim, struct str hash);
// Whether these are the bytes of that file.
bool file_is(const struct sim *sim, int file, struct str bytes);
// Those that lie there and that were kept before then, one after the other, by `*at` (0 at first). False: no more.
bool files_next_kept(const struct sim *sim, size_t *at, int64_t before_us, struct str *out_hash);
// The request's body, with what is in its files; STR_NONE: one of them is not there.
struct str files_body(const struct sim *sim, const struct http_request *request, struct arena *arena);
// As the port `send` of relay/media.h.
void *files_send(struct sim *sim, const struct http_request *request, bool trusted, const struct media_sink *sink,
                 int64_t timeout_ms, void (*done)(void *arg, const struct http_response *response), void *arg);
void files_cancel(struct sim *sim, void *call);
struct str base64_decode(struct str text, struct arena *arena);

// ---- agents (agents.c) ----

struct spoken {
    int desk, thread, conversation; // as at the desk; the relay's
    int64_t part;                   // its id
    int64_t said_us;                // monotonic
    int64_t said_s;                 // by the desk's clock
    uint64_t name;                  // for chance
    bool begins, bot, note, redacted;
    bool late; // to be seen
    struct str html;
    bool gone; // the thread was deleted
    int files; // sent with it: pieces FILE_PIECES and up
};
enum { FILE_PIECES = 1000 };

struct agents *agents_new(struct sim *sim);
void agents_free(struct agents *agents);
void agents_act(struct sim *sim, int desk, int number);
void agents_answered(struct sim *sim, int64_t notice, bool ok);
void agents_deleted(struct sim *sim, int desk, int thread);
// What was said there under this key ("part:12", "part:source:12", "part:12#2"); -1: nothing.
int agents_find(const struct sim *sim, int desk, struct str key, int *out_piece);
const struct spoken *agents_spoken(const struct sim *sim, int index);
int agents_count(const struct sim *sim);
int agents_account(const struct sim *sim, int index); // whose customer it was said to
// Whether it is the customer's to read, by the account's policy.
bool agents_means_customer(const struct sim *sim, int index);

// ---- the judge (oracle.c) ----

struct oracle *oracle_new(struct sim *sim);
void oracle_free(struct oracle *oracle);
// On the disk now, in this order; told before the relay is. `all`: the store has no others.
void oracle_committed(struct sim *sim, const struct store_change *changes, size_t count, bool all);
// Only the next opening will tell whether it is on the disk; of several, the first ones or none.
void oracle_perhaps_committed(struct sim *sim, const struct store_change *changes, size_t count);
// The store was opened again: all that was committed must be there, and nothing else.
void oracle_reopened(struct sim *sim);
void oracle_process_started(struct sim *sim);
void oracle_process_ended(struct sim *sim, bool crashed);
void oracle_acknowledged(struct sim *sim, int event);
// A request leaves. `event` -1: unknown, found by the mark in `conversation`. `probe`: about no message. The event.
int oracle_sent(struct sim *sim, int desk, uint64_t identity, int event, int conversation, bool probe, bool writes);
void oracle_ended(struct sim *sim, int desk, int event, const struct http_response *response, enum weather outage,
                  bool delivered);
// A file, or a word about it, as it arrives.
struct file_seen {
    int file; // -1: nobody's
    enum file_sight {
        SEEN_WHOLE,
        SEEN_LINK,
        SEEN_NAMED,
        SEEN_FOLLOWS,
        SEEN_FAILED
    } sight; // _NAMED: it is kept at the relay
};
enum { MOST_SEEN = 64 };
struct sight {
    struct file_seen seen[MOST_SEEN];
    int count;
};
void sight_add(struct sight *sight, int file, enum file_sight how);
// What a text says of files is taken from it, line by line. The rest, in the arena.
struct str sight_read(struct sim *sim, struct str text, struct arena *arena, struct sight *out);
// A link to a kept file, or bytes that are called so: whose. -1: nobody's.
int sight_of_link(const struct sim *sim, struct str url);
int sight_of_bytes(const struct sim *sim, struct str bytes, int named);
// The desk has it now.
void oracle_applied(struct sim *sim, int desk, int event, int conversation, int thread, struct str text,
                    const struct sight *sight);
// Agents deleted it there.
void oracle_deleted(struct sim *sim, int desk, int thread);
// A reading request leaves: of the whole desk, or of that thread (>= 0).
void oracle_reads(struct sim *sim, int desk, int thread);
// Chance that does not depend on when it became a message.
uint64_t oracle_name(const struct sim *sim, int event);
bool oracle_is_reply(const struct sim *sim, int event);
// A bot's chat has answered 429: not before this time again.
void oracle_limited(struct sim *sim, int bot, int conversation, int64_t until_us);
// The reply was refused in the platform's words; `of_chat`: that says nothing of other chats.
void oracle_refused(struct sim *sim, int event, bool of_chat);
// The request about that reply was told that its chat has moved.
void oracle_moved(struct sim *sim, int event);
int oracle_event_of(const struct sim *sim, int64_t message_id); // -1: none
void oracle_repeated(struct sim *sim, int event);               // the receiver knew the id
// An upload cannot be read: its bytes are gone.
void oracle_bytes_gone(struct sim *sim, int event);
bool oracle_has_files(const struct sim *sim); // none is wanted any more
void oracle_judge_files(struct sim *sim);
void oracle_active(struct sim *sim, int account, bool active, bool answered);
void oracle_removed(struct sim *sim, int account); // that was answered
void oracle_resumed(struct sim *sim, uint64_t identity);
void oracle_discarded(struct sim *sim, int64_t message_id, int err);
void oracle_by_hand(struct sim *sim, int64_t message_id); // somebody tries it, or changes what is tried
void oracle_weather(struct sim *sim, int desk);
bool oracle_is_through(const struct sim *sim);
bool oracle_has_heard_agents(const struct sim *sim);
void oracle_judge_end(struct sim *sim);
// What was to age out has.
void oracle_judge_ageing(struct sim *sim);
// Ids for actions by hand: the n-th (modulo) pending or skipped message; 0 = none.
int64_t oracle_pick(const struct sim *sim, uint64_t n, bool skipped);
// Pending messages that wait for a person, one after the other; 0 = none behind `after`.
int64_t oracle_next_held(const struct sim *sim, int64_t after);
// A person has tried it often enough.
bool oracle_is_hopeless(struct sim *sim, int64_t message_id);
bool oracle_guard_closed(const struct sim *sim, uint64_t identity);
void oracle_show(const struct sim *sim, int event, char *out, size_t size);
