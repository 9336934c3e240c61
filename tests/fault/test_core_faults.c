// Fault sweep over the relay core: the n-th call of the store fails, or the n-th answer of the desk is lost, for every n
// until the history passes untouched. The process dies of a disk error (rule S1) or waits (a full disk), comes back, and
// the platform sends again what was not acknowledged.
#include "support/history.h"
#include "support/unit.h"

#include <string.h>

static struct rig rig;
static struct rig_options options;
static int deaths;

static void come_back(void)
{
    if (rig.fault.after != 0 || rig.fault.err != ERR_IO)
        return;
    deaths++;
    rig_crash(&rig, &options);
}

static void begin(enum order_rule order)
{
    options = (struct rig_options){.order = order, .window = 2};
    deaths = 0;
    rig_init(&rig, &options);
}

// With the n-th store call failing; false when the history did not come to that call.
static bool run_store_fault(int n, int err, bool once, enum order_rule order)
{
    struct history history = {0};
    begin(order);
    rig.fault = (struct store_fault){.err = err, .after = n, .once = once};
    history_play(&history, &rig, come_back);
    bool reached = deaths > 0 || rig.fault.after < 0;
    rig.fault.after = -1;
    history_judge(&history, &rig);
    rig_done(&rig);
    return reached;
}

static void sweep_store(int err, bool once, enum order_rule order)
{
    int n = 0;
    while (run_store_fault(n, err, once, order))
        n++;
    assert_true(n > 30); // it did reach into the history
}

static void test_every_store_call_dies_once_and_the_next_process_goes_on(void **state)
{
    (void)state;
    sweep_store(ERR_IO, false, ORDER_CONVERSATION);
    sweep_store(ERR_IO, false, ORDER_ACCOUNT);
}

static void test_every_write_finds_the_disk_full_once(void **state)
{
    (void)state;
    sweep_store(ERR_FULL, true, ORDER_CONVERSATION);
}

static void test_every_write_finds_the_store_held_by_another_once(void **state)
{
    (void)state;
    sweep_store(ERR_BUSY, true, ORDER_ACCOUNT);
}

static bool run_lost_answer(int n, enum http_failure how, bool applied)
{
    struct history history = {.lose_at = n, .lose_how = how, .lose_applied = applied};
    begin(ORDER_CONVERSATION);
    history_play(&history, &rig, NULL);
    history_judge(&history, &rig);
    rig_done(&rig);
    return history.lost;
}

static void sweep_answers(enum http_failure how, bool applied)
{
    int n = 1;
    while (run_lost_answer(n, how, applied))
        n++;
    assert_true(n > SENT);
}

static void test_every_connection_is_refused_once(void **state)
{
    (void)state;
    sweep_answers(HTTP_NOT_CONNECTED, false);
}

static void test_every_answer_is_lost_once_after_the_message_was_taken(void **state)
{
    (void)state;
    sweep_answers(HTTP_DROPPED, true);
    sweep_answers(HTTP_TIMEOUT, true);
}

static void test_every_request_is_lost_once_before_it_was_taken(void **state)
{
    (void)state;
    sweep_answers(HTTP_DROPPED, false);
    sweep_answers(HTTP_UNREADABLE, false);
}

// The judge can fail.
static void test_the_judge_sees_what_is_lost_swapped_or_renamed(void **state)
{
    (void)state;
    struct history good = {0};
    begin(ORDER_CONVERSATION);
    history_play(&good, &rig, NULL);
    rig_done(&rig);
    assert_true(history_is_in_order(&good));
    struct history lost = good;
    memmove(&lost.journal[2], &lost.journal[3], sizeof lost.journal[0] * (size_t)(lost.journal_count - 3));
    lost.journal_count--;
    assert_false(history_is_in_order(&lost));
    struct history swapped = good;
    int other = 1;
    while (good.journal[other].conversation != good.journal[0].conversation)
        other++;
    swapped.journal[0] = good.journal[other];
    swapped.journal[other] = good.journal[0];
    assert_false(history_is_in_order(&swapped));
    struct history renamed = good;
    renamed.journal[renamed.journal_count] = good.journal[good.journal_count - 1];
    assert_true(history_is_in_order(&renamed));
    renamed.journal_count++; // the last one once more: fine under its own id, not under another
    assert_true(history_is_in_order(&renamed));
    renamed.journal[renamed.journal_count - 1].id += 1000;
    assert_false(history_is_in_order(&renamed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_store_call_dies_once_and_the_next_process_goes_on),
        cmocka_unit_test(test_every_write_finds_the_disk_full_once),
        cmocka_unit_test(test_every_write_finds_the_store_held_by_another_once),
        cmocka_unit_test(test_every_connection_is_refused_once),
        cmocka_unit_test(test_every_answer_is_lost_once_after_the_message_was_taken),
        cmocka_unit_test(test_every_request_is_lost_once_before_it_was_taken),
        cmocka_unit_test(test_the_judge_sees_what_is_lost_swapped_or_renamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
