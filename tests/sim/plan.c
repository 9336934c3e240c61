// What is drawn before a history begins: who is there, how it is configured, and which actions and faults come when. What
// befalls single requests and webhooks is drawn on the way, each by its own name.
#include "base/mem.h"
#include "sim/sim.h"

#include <stdlib.h>

const char *action_name(enum action_kind kind)
{
    static const char *const names[ACT_KINDS] = {
        [ACT_SAY] = "say",         [ACT_WEATHER] = "weather", [ACT_STORE] = "store fails",
        [ACT_CRASH] = "crash",     [ACT_STOP] = "stop",       [ACT_SWITCH] = "switch",
        [ACT_ORDER] = "order",     [ACT_TOKEN] = "token",     [ACT_ON_FAILURE] = "on_failure",
        [ACT_RETRY] = "retry",     [ACT_DISCARD] = "discard", [ACT_RESUME] = "desk resume",
        [ACT_CLOCK] = "set clock", [ACT_DELETE] = "delete",   [ACT_SOURCE] = "source",
        [ACT_REMOVE] = "remove",   [ACT_ANSWER] = "answer",
    };
    return names[kind];
}

static void add(struct plan *plan, struct action action)
{
    enum { STEP = 64 };
    if (plan->action_count % STEP == 0)
        plan->actions = mem_resize(plan->actions, (plan->action_count + STEP) * sizeof *plan->actions);
    plan->actions[plan->action_count++] = action;
}

// One of several, some more likely than others.
static int64_t pick(struct chance *c, const int64_t *of, size_t count)
{
    return of[chance_below(c, count)];
}
#define PICK(c, ...) pick(c, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void make_desks(struct plan *plan, struct chance *c)
{
    plan->desks = (int)draw(c, 1, plan->accounts < MOST_DESKS ? plan->accounts : MOST_DESKS);
    for (int i = 0; i < plan->desks; i++) {
        plan->desk[i].intercom = draw_percent(c, 55);
        plan->desk[i].own_clock = false && draw_percent(c, 15);
        plan->desk[i].probe = draw_percent(c, 25) ? DESK_PROBE_NONE : DESK_PROBE_HEAD;
        // Two requests in ten seconds are a probe and half a look-up, again and again (docs/connectors/intercom.md).
        plan->desk[i].limit = plan->desk[i].intercom && draw_percent(c, 20) ? (int)draw(c, 3, 100) : 0;
    }
}

static void make_accounts(struct plan *plan, struct chance *c)
{
    plan->accounts = (int)PICK(c, 1, 1, 1, 2, 2, 3, 4, MOST_ACCOUNTS);
    make_desks(plan, c);
    for (int i = 0; i < plan->accounts; i++) {
        plan->desk_of[i] = i < plan->desks ? i : (int)draw(c, 0, plan->desks - 1);
        plan->order[i] = draw_percent(c, 50) ? ORDER_ACCOUNT : ORDER_CONVERSATION;
        plan->on_failure[i] = draw_percent(c, 25) ? ON_FAILURE_HOLD : ON_FAILURE_SKIP;
        plan->sources[i] = (int)PICK(c, 1, 1, 2, MOST_SOURCES);
        plan->rate_per_min[i] = PICK(c, 0, 0, 0, 0, 60, 600, 6000);
    }
    plan->conversations = plan->accounts * (int)draw(c, 1, MOST_CONVERSATIONS / plan->accounts > 6 ? 6 : 4);
    for (int i = 0; i < plan->conversations; i++) {
        plan->account_of[i] = i < plan->accounts ? i : (int)draw(c, 0, plan->accounts - 1);
        plan->source_of[i] = (int)draw(c, 0, plan->sources[plan->account_of[i]] - 1);
        plan->migrates_at[i] = draw_percent(c, 15) ? (int)draw(c, 2, 12) : 0;
    }
}

static void make_settings(struct plan *plan, struct chance *c)
{
    plan->max_attempts = (int)PICK(c, 5, 5, 5, 1, 2, 3, 8);
    plan->window = (int)PICK(c, 10, 10, 1, 2, 3, 5);
    plan->concurrency = (int)PICK(c, 16, 16, 1, 2, 4, 8, 256);
    plan->memory_messages = (int)PICK(c, 1000, 1000, 1, 5, 20);
    plan->max_queue = (int)PICK(c, 1000, 1000, 1, 3, 20);
    plan->retry_base_ms = PICK(c, 1000, 1000, 100, 5000);
    plan->retry_cap_ms = PICK(c, 60000, 60000, 5000, 20000);
    plan->timeout_ms = PICK(c, 30000, 30000, 5000, 10000);
    plan->settle_ms = PICK(c, 15000, 15000, 8000, 30000);
    plan->shutdown_ms = PICK(c, 8000, 8000, 1000, 3000);
    plan->desk_faults = (int)PICK(c, 0, 5, 20, 50, 100, 200, 300);
    plan->lost = (int)PICK(c, 0, 2, 10, 30);
    plan->lost_answers = (int)PICK(c, 0, 2, 10, 30);
    plan->repeated = (int)PICK(c, 0, 5, 20, 50);
    plan->desk_us = PICK(c, 2000, 20000, 100000, 300000, 1000000);
    plan->commit_us = PICK(c, 300, 1000, 5000, 50000);
}

static void make_events(struct plan *plan, struct chance *c)
{
    int ill = (int)PICK(c, 0, 0, 3, 10, 30);
    int twins = (int)PICK(c, 0, 0, 0, 0, 60);
    plan->events = (int)PICK(c, 10, 30, 60, 100, 150, 250);
    for (int i = 0; i < plan->events; i++) {
        struct event_plan *event = &plan->event[i];
        event->conversation = (int)draw(c, 0, plan->conversations - 1);
        event->account = plan->account_of[event->conversation];
        event->illness = draw_percent(c, ill) ? (enum illness)draw(c, 1, ILLNESSES - 1) : WELL;
        event->twin = draw_percent(c, twins);
        event->together = i > 0 && plan->event[i - 1].account == event->account &&
                          plan->source_of[plan->event[i - 1].conversation] == plan->source_of[event->conversation] &&
                          draw_percent(c, 25);
    }
    bool bursts = draw_percent(c, 50);
    int64_t at = 0;
    for (int i = 0; i < plan->events; i++) {
        if (plan->event[i].together)
            ;
        else if (bursts && !draw_percent(c, 5))
            at += draw(c, 0, 50000);
        else
            at += draw(c, 0, 2 * plan->faults_end_us / (bursts ? plan->events / 20 + 1 : plan->events));
        add(plan, (struct action){.kind = ACT_SAY, .at_us = at % plan->faults_end_us, .a = i});
    }
}

static struct action weather(struct plan *plan, struct chance *c)
{
    return (struct action){
        .a = (int)draw(c, 0, plan->desks - 1),
        .b = (int)draw(c, 1, WEATHERS - 1),
        .us = draw_percent(c, 20) ? draw(c, MINUTE, 20 * (int64_t)MINUTE) : draw(c, SECOND / 10, 2 * (int64_t)MINUTE),
    };
}

static struct action trouble(struct plan *plan, struct chance *c, enum action_kind kind)
{
    struct action action = {.a = (int)draw(c, 0, plan->accounts - 1)};
    if (kind == ACT_WEATHER)
        action = weather(plan, c);
    else if (kind == ACT_STORE)
        action = (struct action){.a = (int)PICK(c, ERR_FULL, ERR_FULL, ERR_BUSY, ERR_NOMEM, ERR_IO),
                                 .us = draw(c, SECOND / 100, 30 * (int64_t)SECOND)};
    else if (kind == ACT_CRASH)
        action = (struct action){.a = (int)draw(c, 0, 2), .us = draw(c, SECOND / 10, 60 * (int64_t)SECOND)};
    else if (kind == ACT_STOP)
        action = (struct action){.us = draw(c, SECOND / 10, 60 * (int64_t)SECOND)};
    else if (kind == ACT_SWITCH)
        action.b = draw_percent(c, 60);
    else if (kind == ACT_RETRY || kind == ACT_DISCARD)
        action.b = draw_percent(c, 50);
    else if (kind == ACT_CLOCK)
        action.us = PICK(c, 1, 1, 300, 3600) * draw(c, -SECOND, SECOND);
    else if (kind == ACT_DELETE)
        action = (struct action){.a = (int)draw(c, 0, plan->desks - 1), .b = (int)draw(c, 0, plan->conversations - 1)};
    else if (kind == ACT_SOURCE)
        action.b = (int)draw(c, 1, MOST_SOURCES - 1);
    else if (kind == ACT_TOKEN)
        action.b = (int)plan->action_count;
    action.kind = kind;
    return action;
}

static void make_troubles(struct plan *plan, struct chance *c)
{
    static const int64_t how_many[ACT_KINDS][5] = {
        [ACT_WEATHER] = {0, 1, 3, 6, 12},   [ACT_STORE] = {0, 0, 1, 3, 6},   [ACT_CRASH] = {0, 0, 1, 3, 8},
        [ACT_STOP] = {0, 0, 0, 1, 4},       [ACT_SWITCH] = {0, 0, 2, 6, 20}, [ACT_ORDER] = {0, 0, 1, 3, 10},
        [ACT_ON_FAILURE] = {0, 0, 0, 1, 4}, [ACT_TOKEN] = {0, 0, 0, 1, 5},   [ACT_RETRY] = {0, 0, 3, 10, 30},
        [ACT_DISCARD] = {0, 0, 0, 5, 20},   [ACT_RESUME] = {0, 0, 1, 3, 10}, [ACT_CLOCK] = {0, 0, 0, 1, 3},
        [ACT_DELETE] = {0, 0, 0, 1, 4},     [ACT_SOURCE] = {0, 0, 0, 2, 8},  [ACT_REMOVE] = {0, 0, 0, 2, 8},
    };
    for (int kind = ACT_WEATHER; kind < ACT_ANSWER; kind++) {
        int count = (int)pick(c, how_many[kind], 5);
        for (int i = 0; i < count; i++) {
            struct action action = trouble(plan, c, (enum action_kind)kind);
            action.at_us = draw(c, 0, plan->faults_end_us);
            add(plan, action);
        }
    }
}

// Accounts at Intercom: most of them have bots as sources, whose customers can be answered.
static void make_ways_back(struct plan *plan, struct chance *c)
{
    for (int i = 0; i < plan->accounts; i++) {
        plan->telegram[i] = plan->desk[plan->desk_of[i]].intercom && draw_percent(c, 80);
        plan->in_doubt[i] = draw_percent(c, 30) ? IN_DOUBT_HOLD : IN_DOUBT_RESEND;
        plan->replies[i] = draw_percent(c, 40) ? REPLIES_AGENTS_AND_BOTS : REPLIES_AGENTS;
    }
    plan->lost_notices = (int)PICK(c, 0, 2, 10, 30, 100);
    plan->late_notices = (int)PICK(c, 0, 5, 30);
    plan->doubled_notices = (int)PICK(c, 0, 5, 30);
    plan->late_parts = (int)PICK(c, 0, 0, 5, 20);
    plan->bots = (int)PICK(c, 5, 5, 40);
    plan->long_replies = (int)PICK(c, 0, 2, 10);
    plan->answer_twins = (int)PICK(c, 0, 0, 0, 60);
}

static void make_answers(struct plan *plan, struct chance *c)
{
    int count = (int)PICK(c, 0, 5, 15, 30, 60);
    for (int i = 0; i < count; i++) {
        int desk = (int)draw(c, 0, plan->desks - 1);
        int64_t at_us = draw(c, 0, plan->faults_end_us);
        if (plan->desk[desk].intercom)
            add(plan, (struct action){.kind = ACT_ANSWER, .at_us = at_us, .a = desk, .b = i});
    }
}

// A bot's weather.
static void make_weather_of_bots(struct plan *plan, struct chance *c)
{
    int count = (int)PICK(c, 0, 0, 1, 3, 6);
    for (int i = 0; i < count; i++) {
        struct action action = weather(plan, c);
        int account = (int)draw(c, 0, plan->accounts - 1);
        action.a = MOST_DESKS + account * MOST_SOURCES + (int)draw(c, 0, plan->sources[account] - 1);
        action.kind = ACT_WEATHER;
        action.at_us = draw(c, 0, plan->faults_end_us);
        add(plan, action);
    }
}

// A clock that is set ages things; an event that meets no source comes again when it has been forgotten; and of equal texts
// the later is told from the earlier by what is remembered of that.
static void make_keeping(struct plan *plan, struct chance *c)
{
    bool apart = true;
    for (size_t i = 0; i < plan->action_count; i++)
        apart &= plan->actions[i].kind != ACT_CLOCK && plan->actions[i].kind != ACT_SOURCE &&
                 plan->actions[i].kind != ACT_REMOVE;
    for (int i = 0; i < plan->events; i++)
        apart &= !plan->event[i].twin;
    plan->keep_bodies_us = PICK(c, 86400, 86400, 1, 60, 600) * SECOND;
    plan->keep_dedupe_us = PICK(c, 86400, 86400, 1200, 2400) * SECOND;
    if (!apart)
        plan->keep_bodies_us = plan->keep_dedupe_us = 30 * (int64_t)86400 * SECOND;
}

static struct action *saying(struct plan *plan, int event)
{
    for (size_t i = 0; i < plan->action_count; i++)
        if (plan->actions[i].kind == ACT_SAY && plan->actions[i].a == event)
            return &plan->actions[i];
    return NULL;
}

// The parts of an album are said within a moment, more or less.
static void make_album(struct plan *plan, struct chance *c, int event)
{
    const struct action *before = saying(plan, event - 1);
    plan->event[event].album = true;
    saying(plan, event)->at_us = before->at_us + (draw_percent(c, 80) ? draw(c, 0, 300000) : draw(c, 0, 4 * SECOND));
}

enum { ALBUM_PARTS = 4 };

static void make_files(struct plan *plan, struct chance *c)
{
    int percent = (int)PICK(c, 0, 0, 10, 40), albums = (int)PICK(c, 0, 10, 50);
    plan->file_faults = (int)PICK(c, 0, 20, 100, 400);
    plan->bad_files = (int)PICK(c, 0, 5, 30);
    plan->media_wait_ms = PICK(c, 15000, 15000, 1000, 60000, 600000);
    plan->public_links = draw_percent(c, 50);
    plan->answer_files = (int)PICK(c, 0, 10, 40);
    int parts = 0;
    for (int i = 0; i < plan->events; i++) {
        struct event_plan *event = &plan->event[i];
        if (event->twin || !draw_percent(c, percent))
            continue;
        event->files = (int)PICK(c, 1, 1, 1, 2, MOST_FILES);
        event->wordless = draw_percent(c, 20);
        parts = i && plan->event[i - 1].files && plan->event[i - 1].conversation == event->conversation ? parts + 1 : 1;
        if (parts > 1 && parts <= ALBUM_PARTS && draw_percent(c, albums))
            make_album(plan, c, i);
    }
}

void plan_make(struct plan *plan, uint64_t seed)
{
    struct chance c;
    chance_init(&c, sim_mix(seed, 'p'));
    make_accounts(plan, &c);
    make_settings(plan, &c);
    plan->faults_end_us = PICK(&c, 20, 60, 180, 600, 1800, 3600) * SECOND;
    make_events(plan, &c);
    make_troubles(plan, &c);
    make_keeping(plan, &c);
    chance_init(&c, sim_mix(seed, 'b'));
    make_ways_back(plan, &c);
    make_answers(plan, &c);
    make_weather_of_bots(plan, &c);
    chance_init(&c, sim_mix(seed, 'm'));
    make_files(plan, &c);
}

void plan_done(struct plan *plan)
{
    free(plan->actions);
}
