#include "support/history.h"

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One of the platform's messages, with the same key each time it is sent. True when it was acknowledged.
static bool send_one(struct rig *rig, int number)
{
    char key[16], conversation[16], text[32];
    int64_t id;
    snprintf(key, sizeof key, "sent-%d", number);
    snprintf(conversation, sizeof conversation, "c%d", number % CONVERSATIONS);
    snprintf(text, sizeof text, "text-%d-%d.", number % CONVERSATIONS, number / CONVERSATIONS);
    return rig_accept(rig, "acme", key, conversation, text, &id) == 0;
}

// What the message says of itself, and the id it came under.
static void take(struct history *history, const struct rig_call *call)
{
    long long id;
    struct taken taken;
    const char *text = strstr(call->body.p, "text-");
    assert_int_equal(sscanf(call->body.p, "{\"id\":\"%lld\"", &id), 1);
    assert_non_null(text);
    assert_int_equal(sscanf(text, "text-%d-%d.", &taken.conversation, &taken.serial), 2);
    assert_true(history->journal_count < JOURNAL_MAX);
    taken.id = id;
    history->journal[history->journal_count++] = taken;
}

// The desk answers what is open; every third answer is a failure that changes nothing.
static void serve_desk(struct history *history, struct rig *rig)
{
    struct rig_call *call = rig_open(rig);
    if (!call)
        return;
    bool probe = str_eq_c(call->method, "HEAD");
    history->turn++;
    if (history->turn == history->lose_at) {
        history->lost = true;
        if (history->lose_applied && !probe)
            take(history, call);
        rig_lose(rig, call, history->lose_how, history->lose_applied);
    } else if (probe || history->turn % 3 == 0) {
        rig_answer(rig, call, probe ? 200 : 500, "");
    } else {
        take(history, call);
        rig_answer(rig, call, 200, "");
    }
}

static void nothing(void)
{
}

void history_play(struct history *history, struct rig *rig, void (*after_each)(void))
{
    if (!after_each)
        after_each = nothing;
    for (int number = 0; number < SENT; number++) {
        for (int tries = 0; !history->acknowledged[number]; tries++) {
            assert_true(tries < 50);
            history->acknowledged[number] = send_one(rig, number);
            after_each();
            serve_desk(history, rig);
            after_each();
        }
    }
    for (int idle = 0; idle < 60; idle++) { // drain: retries wait for their time
        while (rig_open(rig)) {
            serve_desk(history, rig);
            after_each();
            idle = 0;
        }
        rig_pass(rig, 5000);
        after_each();
    }
}

bool history_is_in_order(const struct history *history)
{
    int next[CONVERSATIONS] = {0};
    int64_t last[CONVERSATIONS] = {0};
    for (int i = 0; i < history->journal_count; i++) {
        const struct taken *taken = &history->journal[i];
        int expected = next[taken->conversation];
        if (taken->serial == expected - 1 && taken->id == last[taken->conversation])
            continue; // again, under the same id: the desk can tell
        if (taken->serial != expected)
            return false; // skipped, or out of order, or again as something new
        next[taken->conversation]++;
        last[taken->conversation] = taken->id;
    }
    for (int i = 0; i < CONVERSATIONS; i++)
        if (next[i] != EACH)
            return false;
    return true;
}

void history_judge(const struct history *history, struct rig *rig)
{
    struct store_totals totals;
    assert_true(history_is_in_order(history));
    assert_int_equal(rig->reader->ops->totals(rig->reader, &totals), 0);
    assert_int_equal(totals.accepted, SENT);
    assert_int_equal(totals.delivered, SENT);
    assert_int_equal(totals.pending, 0);
}
