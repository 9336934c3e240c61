// The relay core under any mix of troubles: what a desk answers, outages, switches, hands, clocks and crashes, drawn from a
// seed. What must hold always is looked at after every step, and in the end everything is settled. DISPATCHER_SEED=n runs
// one history again, DISPATCHER_HISTORIES=n more of them.
#include "base/chance.h"
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORIES = 300, STEPS = 150, MESSAGES_MAX = 400, LANES_MAX = 64 };

static struct rig rig;
static struct chance chance;
static struct rig_options options;
static uint64_t seed;
static int64_t said[MESSAGES_MAX];
static int said_count;
static bool taken[MESSAGES_MAX]; // the desk said 2xx
static int calls_looked_at;

static int below(int n)
{
    return (int)chance_below(&chance, (uint64_t)n);
}

#define hold(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("seed %llu: %s", (unsigned long long)seed, #condition);                                           \
    } while (0)

// The message that a request carries; 0: it is a probe.
static int64_t message_of(const struct rig_call *call)
{
    return str_eq_c(call->method, "POST") ? strtoll(call->body.p + strlen("{\"id\":\""), NULL, 10) : 0;
}

static void look_at_call(const struct rig_call *call)
{
    int64_t id = message_of(call);
    if (!id)
        return;
    struct message *message = rig_message(&rig, id);
    hold(!taken[id]); // known delivered is never sent again
    hold(message->state == MESSAGE_PENDING);
    for (int i = 0; i < said_count; i++) {
        struct message *before = said[i] < id ? rig_message(&rig, said[i]) : NULL;
        if (before && before->lane == message->lane)
            hold(before->state != MESSAGE_PENDING);
        message_free(before);
    }
    message_free(message);
}

static void look(void)
{
    int probes[2] = {0}, posts = 0;
    for (; calls_looked_at < rig.call_count; calls_looked_at++)
        look_at_call(&rig.calls[calls_looked_at]);
    for (int i = 0; i < rig.call_count; i++) {
        const struct rig_call *call = &rig.calls[i];
        if (call->open && !message_of(call))
            probes[str_ends(call->target, STR("/other"))]++;
        posts += call->open && message_of(call);
    }
    hold(probes[0] <= 1 && probes[1] <= 1);
    hold(posts <= options.concurrency + 2); // and a head as probe for each of two desks
    for (int i = 0; i < said_count; i++)
        hold(rig_attempts_of(&rig, said[i]) <= 5);
}

static const char *account_name(void)
{
    static const char *const names[] = {"acme", "beta", "gamma"};
    return names[below(3)];
}

static void say(void)
{
    char conversation[8];
    if (said_count == MESSAGES_MAX - 1)
        return;
    snprintf(conversation, sizeof conversation, "c%d", below(3));
    int64_t id = rig_say(&rig, account_name(), conversation, "hello");
    hold(id < MESSAGES_MAX);
    said[said_count++] = id;
}

static struct rig_call *any_call(void)
{
    int open = rig_open_count(&rig);
    for (int i = 0, at = open ? below(open) : 0; i < rig.call_count; i++)
        if (rig.calls[i].open && at-- == 0)
            return &rig.calls[i];
    return NULL;
}

static void answer(bool well)
{
    static const int statuses[] = {200, 204, 302, 400, 401, 403, 404, 405, 408, 410, 422, 429, 500, 502, 503, 504, 666};
    static const enum http_failure failures[] = {HTTP_NOT_CONNECTED, HTTP_TLS,    HTTP_TIMEOUT,
                                                 HTTP_DROPPED,       HTTP_RESENT, HTTP_UNREADABLE};
    struct rig_call *call = any_call();
    if (!call)
        return;
    int64_t id = message_of(call);
    int status = well ? 200 : statuses[below(sizeof statuses / sizeof *statuses)];
    if (!well && below(3) == 0) {
        enum http_failure failure = failures[below(6)];
        rig_lose(&rig, call, failure, failure != HTTP_NOT_CONNECTED && below(2));
        return;
    }
    if (id && status < 300)
        taken[id] = true;
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%d", below(100));
    rig_answer_with(&rig, call, status, below(3) ? NULL : "retry-after", seconds, "");
}

static void discard(int64_t id)
{
    struct message *message = rig_message(&rig, id);
    struct store_outcome outcome = {
        .message_id = id, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND, .attempts = message->attempts};
    if (message->state == MESSAGE_PENDING && dispatcher_reload(rig.dispatcher, message, true) == 0) {
        struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
        hold(!rig.store->ops->apply(rig.store, &change, 1));
        dispatcher_tick(rig.dispatcher);
        rig_turn(&rig);
    }
    message_free(message);
}

static void resume(const char *name)
{
    const struct account *account = rig_account(&rig, name);
    dispatcher_resume_desk(rig.dispatcher, account);
    account_unref(account);
    rig_turn(&rig);
}

static void move(const char *name, const char *url)
{
    const struct account *before = rig_account(&rig, name);
    struct account *now = account_copy(before);
    now->desk.url = str_of(url);
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(&rig);
}

static void step(void)
{
    static const int pauses_ms[] = {100, 1000, 5000, 31000, 61000, 700000};
    static const char *const urls[] = {"http://desk.test/acme", "http://desk.test/other"};
    int what = below(100);
    if (what < 30)
        say();
    else if (what < 65)
        answer(below(2));
    else if (what < 85)
        rig_pass(&rig, pauses_ms[below(6)]);
    else if (what < 90)
        rig_set_active(&rig, account_name(), below(2));
    else if (what < 92)
        resume(account_name());
    else if (what < 95 && said_count)
        discard(said[below(said_count)]);
    else if (what < 97)
        move(account_name(), urls[below(2)]);
    else if (what < 98)
        rig.clock.wall_us += (below(2) ? 1 : -1) * INT64_C(3600) * 1000000;
    else if (what < 99)
        rig_crash(&rig, &options);
}

static int pending(void)
{
    struct store_totals totals;
    hold(!rig.reader->ops->totals(rig.reader, &totals));
    hold(totals.accepted == totals.delivered + totals.pending + totals.skipped + totals.discarded);
    return (int)totals.pending;
}

// All is well again, and no person helps: what waits is delivered, though a guard may have closed that looks every 6 h.
static void heal(void)
{
    static const char *const names[] = {"acme", "beta", "gamma"};
    for (int i = 0; i < 3; i++) {
        rig_set_active(&rig, names[i], true);
        look();
    }
    for (int turns = 0; turns < 500 && (pending() || rig_open(&rig)); turns++) {
        while (rig_open(&rig)) {
            answer(true);
            look();
        }
        rig_pass(&rig, 5 * 60 * 1000);
        look();
    }
    hold(!pending());
    hold(!rig_open(&rig));
}

static void run_history(uint64_t number)
{
    seed = number;
    chance_init(&chance, seed);
    said_count = calls_looked_at = 0;
    memset(taken, 0, sizeof taken);
    options = (struct rig_options){
        .order = below(2) ? ORDER_CONVERSATION : ORDER_ACCOUNT,
        .probe = below(2) ? DESK_PROBE_HEAD : DESK_PROBE_NONE,
        .concurrency = 1 + below(8),
        .window = 1 + below(4),
    };
    rig_init(&rig, &options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    rig_add_account(&rig, "gamma", &options, "http://desk.test/other");
    for (int i = 0; i < STEPS; i++) {
        step();
        look();
    }
    heal();
    rig_done(&rig);
}

static void test_any_mix_of_troubles_keeps_the_order_and_settles_all(void **state)
{
    (void)state;
    const char *one = getenv("DISPATCHER_SEED");
    if (one) {
        run_history(strtoull(one, NULL, 10));
        return;
    }
    const char *many = getenv("DISPATCHER_HISTORIES");
    uint64_t last = many ? strtoull(many, NULL, 10) : HISTORIES;
    for (uint64_t number = 1; number <= last; number++)
        run_history(number);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_mix_of_troubles_keeps_the_order_and_settles_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
