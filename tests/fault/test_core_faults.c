// Fault sweep over the relay core: the n-th call of the store fails, for every n until the scenario passes untouched; the
// process dies of it (rule S1) or waits (a full disk), comes back, and the platform sends again what was not
// acknowledged. Afterwards the desk's journal is held against what was acknowledged: nothing lost, nothing out of order,
// nothing repeated but under its own id.
#include "support/rig.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONVERSATIONS = 3, EACH = 4, SENT = CONVERSATIONS * EACH, JOURNAL_MAX = 400 };

static struct rig rig;

// What the desk took: "webhook-id" is the id of the body here.
struct taken {
    int64_t id;
    int conversation, serial;
};

struct scenario {
    struct rig_options options;
    bool acknowledged[SENT];
    struct taken journal[JOURNAL_MAX];
    int journal_count;
    int deaths;
};

static struct scenario *now;

static bool died(void)
{
    return rig.fault.after == 0 && rig.fault.err == ERR_IO;
}

// One of the platform's messages, with its own key each time it is sent. True when it was acknowledged.
static bool send_one(int number)
{
    const struct account *account = rig_account(&rig, "acme");
    char key[16], conversation[16], text[32];
    snprintf(key, sizeof key, "key-%d", number);
    snprintf(conversation, sizeof conversation, "c%d", number % CONVERSATIONS);
    snprintf(text, sizeof text, "text-%d-%d.", number % CONVERSATIONS, number / CONVERSATIONS);
    struct arena arena = {0};
    struct store_accept accept = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .order = account->order,
        .received_at_us = rig.clock.wall_us,
        .event = {.dedupe_key = str_of(key),
                  .conversation = str_of(conversation),
                  .sender_id = STR("7"),
                  .text = str_of(text),
                  .sent_at_us = rig.clock.wall_us},
        .out_arena = &arena,
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    struct job job = {.kind = JOB_ACCEPT, .changes = &change, .change_count = 1, .done = rig_ignore};
    assert_true(committer_submit(rig.committer, &job));
    rig_turn(&rig);
    arena_done(&arena);
    account_unref(account);
    return job.err == 0;
}

// The desk takes what is open and answers; every third answer is a failure that changes nothing.
static void serve_desk(int *turn)
{
    struct rig_call *call = rig_open(&rig);
    if (!call)
        return;
    if (str_eq_c(call->method, "HEAD") || ++*turn % 3 == 0) {
        rig_answer(&rig, call, str_eq_c(call->method, "HEAD") ? 200 : 500, "");
        return;
    }
    long long id;
    int conversation, serial;
    const char *text = strstr(call->body.p, "text-");
    assert_int_equal(sscanf(call->body.p, "{\"id\":\"%lld\"", &id), 1);
    assert_non_null(text);
    assert_int_equal(sscanf(text, "text-%d-%d.", &conversation, &serial), 2);
    assert_true(now->journal_count < JOURNAL_MAX);
    now->journal[now->journal_count++] = (struct taken){id, conversation, serial};
    rig_answer(&rig, call, 200, "");
}

static void come_back(void)
{
    if (!died())
        return;
    now->deaths++;
    rig_crash(&rig, &now->options);
}

// The platform sends each until it is acknowledged, per conversation in order; the desk serves meanwhile.
static void play(void)
{
    int turn = 0;
    for (int number = 0; number < SENT; number++) {
        for (int tries = 0; !now->acknowledged[number]; tries++) {
            assert_true(tries < 50);
            now->acknowledged[number] = send_one(number);
            come_back();
            serve_desk(&turn);
            come_back();
        }
    }
    for (int idle = 0; idle < 60; idle++) { // drain: retries wait for their time
        while (rig_open(&rig)) {
            serve_desk(&turn);
            come_back();
            idle = 0;
        }
        rig_pass(&rig, 5000);
        come_back();
    }
}

static void judge(void)
{
    int next[CONVERSATIONS] = {0};
    int64_t last[CONVERSATIONS] = {0};
    for (int i = 0; i < now->journal_count; i++) {
        struct taken *taken = &now->journal[i];
        if (taken->serial == next[taken->conversation] - 1) { // again: under the same id, so the desk can tell
            assert_int_equal(taken->id, last[taken->conversation]);
            continue;
        }
        assert_int_equal(taken->serial, next[taken->conversation]); // neither skipped nor out of order
        next[taken->conversation]++;
        last[taken->conversation] = taken->id;
    }
    for (int i = 0; i < CONVERSATIONS; i++)
        assert_int_equal(next[i], EACH);
    struct store_totals totals;
    assert_int_equal(rig.reader->ops->totals(rig.reader, &totals), 0);
    assert_int_equal(totals.accepted, SENT);
    assert_int_equal(totals.delivered, SENT);
    assert_int_equal(totals.pending, 0);
}

// Runs the scenario with the n-th store call failing; false when it did not come to that call.
static bool run(int n, int err, bool once, enum order_rule order)
{
    struct scenario scenario = {.options = {.order = order, .window = 2}};
    now = &scenario;
    rig_init(&rig, &scenario.options);
    rig.fault = (struct store_fault){.err = err, .after = n, .once = once};
    play();
    bool reached = scenario.deaths > 0 || rig.fault.after < 0;
    rig.fault.after = -1;
    judge();
    rig_done(&rig);
    return reached;
}

static void sweep(int err, bool once, enum order_rule order)
{
    int n = 0;
    while (run(n, err, once, order))
        n++;
    assert_true(n > 30); // it did reach into the scenario
}

static void test_every_store_call_dies_once_and_the_next_process_goes_on(void **state)
{
    (void)state;
    sweep(ERR_IO, false, ORDER_CONVERSATION);
    sweep(ERR_IO, false, ORDER_ACCOUNT);
}

static void test_every_write_finds_the_disk_full_once(void **state)
{
    (void)state;
    sweep(ERR_FULL, true, ORDER_CONVERSATION);
}

// The check can fail: a desk that forgets a message is found out.
static void test_the_judge_sees_a_lost_message(void **state)
{
    (void)state;
    struct scenario scenario = {.options = {.order = ORDER_CONVERSATION}};
    now = &scenario;
    rig_init(&rig, &scenario.options);
    play();
    int next = 0;
    for (int i = 0; i < scenario.journal_count; i++) // the judge's first rule, on a journal with a hole
        if (i != 2 && scenario.journal[i].conversation == scenario.journal[2].conversation)
            next += scenario.journal[i].serial == next;
    assert_int_not_equal(next, EACH);
    rig_done(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_store_call_dies_once_and_the_next_process_goes_on),
        cmocka_unit_test(test_every_write_finds_the_disk_full_once),
        cmocka_unit_test(test_the_judge_sees_a_lost_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
