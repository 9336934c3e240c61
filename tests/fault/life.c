#include "fault/life.h"

#include "base/must.h"
#include "relay/by_hand.h"
#include "sim/sim.h"

#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

enum {
    TRIES_MOST = 25, // of a phase, before life is given up
    DAY_MS = 24 * 3600 * 1000,
    HELD_CONVERSATION = 3, // of an account whose messages are held when they fail; the others' are skipped
};

static struct life *life;
static struct rig rig;

// ---- ends ----

static _Noreturn void end(enum life_end how)
{
    points_note();
    points_used()->paused = true;
#ifdef __SANITIZE_ADDRESS__
    if (__lsan_do_recoverable_leak_check()) {
        snprintf(life->wrong, sizeof life->wrong, "memory is leaked");
        how = LIFE_WRONG;
    }
#endif
    fflush(NULL);
    _exit(how);
}

static _Noreturn void wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void wrong(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(life->wrong, sizeof life->wrong, format, list);
    va_end(list);
    end(LIFE_WRONG);
}

static void on_end(const char *sentence)
{
    if (!sentence || !*sentence)
        wrong("the process ends without a sentence");
    end(LIFE_ENDED);
}

// ---- messages ----

static int conversation_of(int message)
{
    return message % LIFE_CONVERSATIONS;
}

static int serial_of(int message)
{
    return message / LIFE_CONVERSATIONS;
}

static int message_of(int conversation, int serial)
{
    return serial * LIFE_CONVERSATIONS + conversation;
}

// What the desk refuses: one that is skipped and tried again, one that is skipped and discarded, one that is held and
// tried again, one that is held and discarded.
enum { SKIPPED_RETRIED = 5, SKIPPED_DISCARDED = 10, HELD_RETRIED = 7, HELD_DISCARDED = 11 };

static bool is_discarded(int message)
{
    return message == SKIPPED_DISCARDED || message == HELD_DISCARDED;
}

static bool is_refused(int message)
{
    bool retried = message == SKIPPED_RETRIED || message == HELD_RETRIED;
    return is_discarded(message) || (retried && !life->well_again);
}

static const char *account_of(int message)
{
    return conversation_of(message) == HELD_CONVERSATION ? "patient" : "acme";
}

static void text_of(int message, char out[32])
{
    snprintf(out, 32, "text-%d-%d.", conversation_of(message), serial_of(message));
}

static int message_in(struct str body)
{
    int conversation, serial;
    const char *text = body.p ? strstr(body.p, "text-") : NULL;
    if (!text || sscanf(text, "text-%d-%d.", &conversation, &serial) != 2)
        return -1;
    return message_of(conversation, serial);
}

static void pass(int64_t ms)
{
    rig_pass(&rig, ms);
    life->wall_us = rig.clock.wall_us;
}

// ---- the platform ----

static void send_one(int message)
{
    char key[16], conversation[16], text[32];
    int64_t id;
    snprintf(key, sizeof key, "sent-%d", message);
    snprintf(conversation, sizeof conversation, "k%d", conversation_of(message));
    text_of(message, text);
    if (life->told_early)
        life->told[message] = true;
    if (rig_accept(&rig, account_of(message), key, conversation, text, &id) == 0)
        life->told[message] = true;
}

// ---- the desk ----

static void take(int message, int64_t id)
{
    if (life->taken_count == LIFE_TAKEN_MOST)
        wrong("the desk gets messages without end");
    life->taken[life->taken_count++] = (struct life_taken){message, id};
}

// Behind the scheme and the host.
static struct str path_in(struct str target)
{
    struct str prefix = STR("http://intercom.test");
    return str_starts(target, prefix) ? str_sub(target, prefix.n, target.n) : target;
}

// Carries it out; the status.
static int carry_out_intercom(struct rig_call *call, int message, struct buf *out)
{
    struct intercom_answer answer;
    intercom_desk_handle((struct intercom_desk *)life->desk, call->method, path_in(call->target), call->body,
                         rig.clock.wall_us, 0, &answer);
    if (answer.conversation >= 0)
        take(message, 0);
    *out = answer.body;
    return answer.status;
}

static int carry_out_webhook(struct rig_call *call, int message)
{
    long long id = 0;
    if (str_eq_c(call->method, "HEAD"))
        return 200;
    if (sscanf(call->body.p, "{\"id\":\"%lld\"", &id) != 1)
        wrong("a webhook without an id");
    take(message, id);
    return 200;
}

static bool says_something(const struct rig_call *call, int message)
{
    bool write = str_eq_c(call->method, "POST") && message >= 0;
    struct str path = path_in(call->target);
    return write && !str_starts(path, STR("/contacts")) && !str_eq_c(path, "/conversations/search");
}

// Every fourth message is answered 500 and not taken, every seventh taken and the answer lost.
static void serve_one(void)
{
    points_used()->paused = true;
    struct rig_call *call = rig_open(&rig);
    struct buf body = {0};
    int message = message_in(call->body), status = 0;
    bool says = says_something(call, message), lost = false;
    int turn = says ? ++life->turn : 1;
    if (says && is_refused(message)) {
        status = 422;
    } else if (turn % 4 == 0) {
        status = 500;
    } else {
        status = life->intercom ? carry_out_intercom(call, message, &body) : carry_out_webhook(call, message);
        lost = turn % 7 == 0;
    }
    char *text = strndup(body.p ? body.p : "", body.n);
    must(text);
    buf_done(&body);
    points_used()->paused = false;
    if (lost)
        rig_lose(&rig, call, HTTP_DROPPED, true);
    else
        rig_answer(&rig, call, status, text);
    free(text);
}

static void serve(void)
{
    while (rig_open(&rig))
        serve_one();
}

static void let_all_happen(void)
{
    for (int idle = 0; idle < 4; idle++) {
        if (rig_open(&rig))
            idle = 0;
        serve();
        pass(61 * 1000);
    }
    serve();
}

// ---- by hand ----

static int answered; // 1: not yet

static void on_answered(struct by_hand *hand, int err)
{
    (void)hand;
    answered = err;
}

static bool submit(void *arg, struct job *job)
{
    rig_submit(arg, job, job->task.run);
    return true;
}

struct found {
    int64_t id;
    enum message_state state;
};

static void on_found(void *arg, const struct message *message)
{
    *(struct found *)arg = (struct found){message->id, message->state};
}

// false: the store could not be asked, or has it not.
static bool find(int message, struct found *out)
{
    char text[32];
    text_of(message, text);
    struct message_filter filter = {.text = str_of(text)};
    out->id = 0;
    return rig.reader->ops->messages(rig.reader, &filter, 0, 1, on_found, out) == 0 && out->id;
}

// True when it was answered that it is done, or it is as if it were.
static bool ask(void (*what)(struct by_hand *hand, const struct by_hand_ports *ports, int64_t id), int message)
{
    struct by_hand_ports ports = {
        .arg = &rig,
        .submit = submit,
        .dispatcher = rig.dispatcher,
        .reader = rig.reader,
        .directory = rig.directory,
        .board = rig.board,
        .tally = rig.tally,
        .clock = &rig.clock.clock,
        .settle_ms = 15000,
    };
    struct by_hand hand = {.answered = on_answered};
    struct found found;
    if (!find(message, &found))
        return false;
    answered = 1;
    what(&hand, &ports, found.id);
    for (int tries = 0; answered == 1; tries++) {
        pass(2000); // the store may be full
        if (tries == TRIES_MOST)
            end(LIFE_GAVE_UP);
    }
    return answered == 0 || answered == ERR_REFUSED;
}

// ---- phases: each can be begun again by another process, and says whether it is over ----

static bool send_from(int from, int to)
{
    bool all = true;
    for (int message = from; message < to; message++) {
        if (!life->told[message])
            send_one(message);
        all = all && life->told[message];
        if (!all)
            return false; // the platform keeps its order
        serve();
    }
    return all;
}

static bool send_first_round(void)
{
    return send_from(0, message_of(0, LIFE_EACH - 1));
}

// The same, and the desk does not answer.
static bool send_unserved(void)
{
    for (int message = 0; message < message_of(0, LIFE_EACH - 1); message++)
        send_one(message);
    return true;
}

static bool send_second_round(void)
{
    return send_from(message_of(0, LIFE_EACH - 1), LIFE_MESSAGES);
}

// Until no more waits than is held.
static bool drain(int held)
{
    struct store_totals totals;
    let_all_happen();
    return rig.reader->ops->totals(rig.reader, &totals) == 0 && totals.pending == held;
}

static bool drain_to_first_held(void)
{
    return drain(3); // the one that is held, and two behind it
}

static bool drain_to_second_held(void)
{
    return drain(2);
}

static bool drain_all(void)
{
    return drain(0);
}

static bool retry_skipped(void)
{
    struct found found;
    life->well_again = true;
    return ask(by_hand_retry, SKIPPED_RETRIED) && find(SKIPPED_RETRIED, &found) && found.state != MESSAGE_SKIPPED;
}

static bool retry_held(void)
{
    return ask(by_hand_retry, HELD_RETRIED);
}

static bool discard(int message)
{
    struct found found;
    return ask(by_hand_discard, message) && find(message, &found) && found.state == MESSAGE_DISCARDED;
}

static bool discard_skipped(void)
{
    return discard(SKIPPED_DISCARDED);
}

static bool discard_held(void)
{
    return discard(HELD_DISCARDED);
}

static void on_finding(void *arg, const struct store_finding *finding)
{
    (void)arg;
    fprintf(stderr, "finding: %.*s\n", STR_ARG(finding->text));
}

// A failing look is no finding.
static bool verify(void)
{
    struct store_check check = {.deep = true, .finding = on_finding};
    int err = rig.reader->ops->verify(rig.reader, &check);
    if (!err && !check.ok && points_used()->code != SQLITE_CORRUPT)
        wrong("verify --deep finds damage in phase %d", life->phase);
    return !err;
}

// What the store's thread does of itself: an error that does not pass ends the process.
static bool keep(int err)
{
    if (err && err != ERR_FULL && err != ERR_BUSY && err != ERR_NOMEM)
        on_end("the store failed");
    return !err;
}

static bool checkpoint(void)
{
    return keep(rig.store->ops->checkpoint(rig.store, false));
}

static bool age(void)
{
    pass((int64_t)40 * DAY_MS);
    int64_t before_us = rig.clock.wall_us - (int64_t)30 * DAY_MS * 1000;
    bool more = true, good = true;
    while (good && more)
        good = keep(rig.store->ops->age_out(rig.store, before_us, before_us, &more));
    return good;
}

static bool (*const phases[])(void) = {
    send_first_round,
    drain_to_first_held,
    retry_skipped,
    discard_skipped,
    retry_held,
    drain_to_second_held,
    discard_held,
    drain_all,
    checkpoint,
    send_second_round,
    drain_all,
    verify,
    age,
    verify,
};

// ---- a process ----

static struct rig_options options_of(const char *path, enum failure_policy on_failure)
{
    must(intercom_desk_size() <= sizeof life->desk);
    return (struct rig_options){
        .desk = life->intercom ? "intercom" : "webhook",
        .order = life->intercom ? ORDER_ACCOUNT : ORDER_CONVERSATION,
        .on_failure = on_failure,
        .window = 3,
        .max_attempts = 40,
        .store_path = path,
        .log_bytes = 65536,
        .wall_us = life->wall_us,
        .ends = on_end,
    };
}

static void add_patient(struct rig *to)
{
    struct rig_options patient = options_of(NULL, ON_FAILURE_HOLD);
    rig_add_account(to, "patient", &patient, "http://desk.test/patient");
}

static void start(struct life *given, const char *path)
{
    life = given;
    struct rig_options acme = options_of(path, ON_FAILURE_SKIP);
    acme.add_accounts = add_patient;
    rig_init(&rig, &acme);
    points_note();
    life->calls_at_start = points_used()->calls;
}

static void go_through(bool (*phase)(void))
{
    for (int tries = 0; !phase(); tries++) {
        if (tries == TRIES_MOST)
            end(LIFE_GAVE_UP);
        serve();
        pass(2000);
    }
}

static void live(void)
{
    for (; life->phase < (int)(sizeof phases / sizeof *phases); life->phase++)
        go_through(phases[life->phase]);
}

// ---- the judge ----

// The messages in the order in which their lane must get them; -1 behind the last.
static int in_order(int n)
{
    int order[LIFE_MESSAGES + 1], count = 0;
    for (int message = 0; message < LIFE_MESSAGES; message++) {
        if (message == message_of(0, LIFE_EACH - 1))
            order[count++] = SKIPPED_RETRIED; // tried again behind all that was there
        if (message != SKIPPED_RETRIED && !is_discarded(message))
            order[count++] = message;
    }
    return n < count ? order[n] : -1;
}

static int lane_of(int message)
{
    bool by_account = life->intercom;
    return by_account ? conversation_of(message) == HELD_CONVERSATION : conversation_of(message);
}

static void judge_lane(int lane)
{
    int next = -1, at = -1;
    int64_t last_id = 0;
    for (int i = 0; i < life->taken_count; i++) {
        const struct life_taken *taken = &life->taken[i];
        if (lane_of(taken->message) != lane)
            continue;
        if (taken->message ==
            at) { // a desk that is told the id knows a repetition, at the other one there must be none
            if (life->intercom || taken->id != last_id)
                wrong("message %d is doubled", at);
            continue;
        }
        do
            at = in_order(++next);
        while (at >= 0 && lane_of(at) != lane);
        if (taken->message != at)
            wrong("lane %d: the desk gets message %d, and %d is next", lane, taken->message, at);
        last_id = taken->id;
    }
    do
        at = in_order(++next);
    while (at >= 0 && lane_of(at) != lane);
    if (at >= 0)
        wrong("message %d is lost", at);
}

static void judge(void)
{
    struct store_totals totals;
    struct store_check check = {.deep = true, .finding = on_finding};
    for (int lane = 0; lane < LIFE_CONVERSATIONS; lane++)
        judge_lane(lane);
    if (rig.reader->ops->totals(rig.reader, &totals) || rig.reader->ops->verify(rig.reader, &check))
        wrong("the store cannot be read");
    if (totals.accepted != LIFE_MESSAGES || totals.delivered != LIFE_MESSAGES - 2 || totals.discarded != 2 ||
        totals.skipped || totals.pending)
        wrong("the sum: accepted %lld, delivered %lld, discarded %lld, skipped %lld, pending %lld",
              (long long)totals.accepted, (long long)totals.delivered, (long long)totals.discarded,
              (long long)totals.skipped, (long long)totals.pending);
    if (!check.ok)
        wrong("verify --deep finds damage at the end");
}

void life_live(struct life *given, const char *path, bool until_accepted)
{
    start(given, path);
    if (until_accepted)
        go_through(send_unserved);
    else
        live();
    rig_done(&rig);
    end(LIFE_THROUGH);
}

void life_live_and_judge(struct life *given, const char *path)
{
    start(given, path);
    live();
    judge();
    rig_done(&rig);
    end(LIFE_THROUGH);
}
