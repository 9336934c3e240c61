// One run: the queue of what happens next, what is drawn, and the two phases: faults, then all heals and progress is
// demanded.
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEAL_MOST_S = 2 * 3600, // Retry-After may say an hour
    CALM_S = 300,           // that nothing more may happen in, when all is settled
    RECOVERY_S = 36,        // from an outage's end to the first request
    FAR_S = 30,             // of the clock from that of the desks: it is far off then
    SWEEP_S = 5,            // between the rounds of the person who helps while all heals
};

const char *const breakage_names[BREAKAGES] = {
    "nothing", "answer-early", "lose-commit", "lose-message", "forget", "drop-marks", "repeat", "overlap",  "swap",
    "alter",   "phantom",      "dedupe",      "count",        "sum",    "stuck",      "switch", "doubt",    "guard",
    "discard", "age",          "migrate",     "removal",      "flush",  "taken",      "news",   "part-key", "reverse",
    "sweep",   "note",         "resend",      "hold",         "moved",  "chat",       "pace",   "untold",   "told",
    "bytes",   "give-up",      "follow",      "left",         "album",  "stranger",
};

uint64_t sim_mix(uint64_t a, uint64_t b)
{
    struct chance chance;
    chance_init(&chance, a * UINT64_C(0xD6E8FEB86659FD93) ^ (b + UINT64_C(0x9E3779B97F4A7C15)));
    chance_next(&chance);
    return chance_next(&chance);
}

struct chance sim_chance(const struct sim *sim, uint64_t kind, uint64_t key)
{
    struct chance chance;
    chance_init(&chance, sim_mix(sim_mix(sim->options->seed, kind), key));
    return chance;
}

int64_t draw(struct chance *chance, int64_t from, int64_t to)
{
    return to <= from ? from : from + (int64_t)chance_below(chance, (uint64_t)(to - from) + 1);
}

bool draw_percent(struct chance *chance, int percent)
{
    return (int)chance_below(chance, 100) < percent;
}

static bool is_allowed(const struct sim_options *options, uint64_t id)
{
    size_t from = 0, to = options->only_count;
    if (!options->only)
        return true;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (options->only[middle] == id)
            return true;
        if (options->only[middle] < id)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

bool sim_may(struct sim *sim, uint64_t kind, uint64_t key)
{
    uint64_t id = sim_mix(kind, key);
    struct sim_result *result = sim->result;
    if (!is_allowed(sim->options, id))
        return false;
    if (result->used_count == sim->used_size) {
        sim->used_size = sim->used_size ? sim->used_size * 2 : 256;
        result->used = mem_resize(result->used, sim->used_size * sizeof *result->used);
    }
    result->used[result->used_count++] = id;
    result->faults++;
    return true;
}

int64_t sim_now(const struct sim *sim)
{
    return sim->clock.mono_us;
}

struct sim_event *sim_after(struct sim *sim, int64_t us, void (*run)(struct sim *, struct sim_event *), void *arg)
{
    struct sim_event *event = mem_new_of(struct sim_event);
    event->run = run;
    event->arg = arg;
    heap_set(&sim->events, &event->item, sim_now(sim) + (us > 0 ? us : 0));
    return event;
}

struct sim_event *sim_after_here(struct sim *sim, int64_t us, void (*run)(struct sim *, struct sim_event *), void *arg)
{
    struct sim_event *event = sim_after(sim, us, run, arg);
    event->life = sim->life;
    return event;
}

void sim_trace(struct sim *sim, const char *format, ...)
{
    if (!sim->options->trace)
        return;
    va_list args;
    va_start(args, format);
    printf("%12.6f  ", (double)(sim_now(sim) - 1000000) / 1e6);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void sim_fail(struct sim *sim, const char *code, const char *format, ...)
{
    if (sim->result->code[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(sim->result->why, sizeof sim->result->why, format, args);
    va_end(args);
    snprintf(sim->result->code, sizeof sim->result->code, "%s", code);
    sim->over = true;
    sim_trace(sim, "*** %s: %s", code, sim->result->why);
}

// ---- actions ----

static void change_account(struct sim *sim, const struct action *action)
{
    const struct account *now = process_account(sim, action->a);
    if (!now)
        return;
    struct account *next = account_copy(now);
    account_unref(now);
    if (action->kind == ACT_ORDER)
        next->order = next->order == ORDER_ACCOUNT ? ORDER_CONVERSATION : ORDER_ACCOUNT;
    else if (action->kind == ACT_ON_FAILURE)
        next->on_failure = next->on_failure == ON_FAILURE_SKIP ? ON_FAILURE_HOLD : ON_FAILURE_SKIP;
    else if (next->desk.token.n)
        next->desk.token = arena_printf(&next->arena, "token-%d", action->b);
    else
        next->desk.url = arena_printf(&next->arena, "http://desk%d.test/%d", sim->plan.desk_of[action->a], action->b);
    process_put_account(sim, next);
    account_unref(next);
}

static struct source *find_source(struct account *account, const char *name)
{
    for (size_t i = 0; i < account->source_count; i++)
        if (str_eq_c(account->sources[i].name, name))
            return &account->sources[i];
    return NULL;
}

// One is taken away, or given back.
static void change_source(struct sim *sim, int number, int which)
{
    const struct account *now = which < sim->plan.sources[number] ? process_account(sim, number) : NULL;
    if (!now)
        return;
    sim->sources_changed = true;
    struct account *next = account_copy(now);
    account_unref(now);
    char name[20];
    source_name(which, name, sizeof name);
    struct source *source = find_source(next, name);
    if (source)
        *source = next->sources[--next->source_count];
    else
        source_of_plan(sim, next, which);
    process_put_account(sim, next);
    account_unref(next);
}

static void add_account(struct sim *sim, int number)
{
    struct account *account = account_of_plan(sim, number);
    process_put_account(sim, account);
    account_unref(account);
}

static void remove_or_add(struct sim *sim, int number)
{
    const struct account *now = process_account(sim, number);
    sim->sources_changed = true;
    if (now)
        process_remove_account(sim, number);
    else
        add_account(sim, number);
    account_unref(now);
}

static void set_clock(struct sim *sim, int64_t us)
{
    sim->clock.wall_us += us;
    sim->clock_was_set = true;
    int64_t apart_us = sim->clock.wall_us - desk_now_us(sim);
    sim->clock_was_far |= apart_us > FAR_S * (int64_t)SECOND || apart_us < -FAR_S * (int64_t)SECOND;
}

static void fail_store(struct sim *sim, const struct action *action)
{
    sim->store_error = action->a;
    sim->store_error_until_us = sim_now(sim) + action->us;
}

static void crash(struct sim *sim, const struct action *action)
{
    if (!process_is_up(sim))
        return;
    sim->away_us = action->us;
    sim->crash_in_apply = action->a;
    if (!action->a)
        process_crash(sim);
}

static void act(struct sim *sim, const struct action *action)
{
    struct chance chance = sim_chance(sim, 'a', (uint64_t)(action - sim->plan.actions));
    bool up = process_is_up(sim);
    if (action->kind != ACT_SAY && action->kind != ACT_ANSWER)
        sim_trace(sim, "--- %s a=%d b=%d for %.3f s", action_name(action->kind), action->a, action->b,
                  (double)action->us / 1e6);
    switch (action->kind) {
    case ACT_SAY:
        platform_say(sim, action->a);
        break;
    case ACT_WEATHER:
        world_weather(sim, action->a, (enum weather)action->b, sim_now(sim) + action->us);
        break;
    case ACT_STORE:
        fail_store(sim, action);
        break;
    case ACT_CRASH:
        crash(sim, action);
        break;
    case ACT_STOP:
        sim->away_us = action->us;
        if (up)
            process_stop(sim);
        break;
    case ACT_SWITCH:
        if (up)
            process_set_active(sim, action->a, action->b);
        break;
    case ACT_ORDER:
    case ACT_ON_FAILURE:
    case ACT_TOKEN:
        if (up)
            change_account(sim, action);
        break;
    case ACT_RETRY:
    case ACT_DISCARD: {
        int64_t id = oracle_pick(sim, chance_next(&chance), action->b);
        if (up && id && action->kind == ACT_RETRY)
            process_retry(sim, id);
        else if (up && id)
            process_discard(sim, id);
        break;
    }
    case ACT_RESUME:
        if (up)
            process_resume(sim, action->a);
        break;
    case ACT_CLOCK:
        set_clock(sim, action->us);
        break;
    case ACT_SOURCE:
        if (up)
            change_source(sim, action->a, action->b);
        break;
    case ACT_REMOVE:
        if (up)
            remove_or_add(sim, action->a);
        break;
    case ACT_DELETE:
        world_delete(sim, action->a, action->b);
        break;
    case ACT_ANSWER:
        agents_act(sim, action->a, action->b);
        break;
    case ACT_KINDS:
        break;
    }
}

static void on_action(struct sim *sim, struct sim_event *event)
{
    const struct action *action = event->arg;
    if (sim_may(sim, 'A', (uint64_t)(action - sim->plan.actions)))
        act(sim, action);
}

// ---- healing ----

static void give_back_source(struct sim *sim, const struct account *account, int which)
{
    char name[20];
    source_name(which, name, sizeof name);
    if (!account_find_source(account, str_of(name)))
        change_source(sim, account_number(account->name), which);
}

static bool is_guard_closed(const struct sim *sim, const struct account *account)
{
    bool closed = oracle_guard_closed(sim, desk_identity(&account->desk));
    for (size_t i = 0; i < account->source_count; i++)
        closed |= oracle_guard_closed(sim, source_identity(&account->sources[i]));
    return closed;
}

static void help(struct sim *sim)
{
    for (int a = 0; a < sim->plan.accounts && process_is_up(sim); a++) {
        const struct account *account = process_account(sim, a);
        if (!account) {
            add_account(sim, a);
            continue;
        }
        if (!account->active)
            process_set_active(sim, a, true);
        for (int i = 1; i < sim->plan.sources[a] && account->source_count < (size_t)sim->plan.sources[a]; i++)
            give_back_source(sim, account, i);
        if (is_guard_closed(sim, account))
            process_resume(sim, a);
        account_unref(account);
    }
    for (int64_t id = 0; process_is_up(sim) && (id = oracle_next_held(sim, id));)
        if (oracle_is_hopeless(sim, id)) // a channel that takes no replies, an order that nobody can carry out
            process_discard(sim, id);
        else
            process_retry(sim, id);
}

// A desk that is well again is asked within 36 s (issue 3), whatever went before.
static void check_recovery(struct sim *sim)
{
    for (int a = 0; a < sim->plan.accounts && process_is_up(sim); a++) {
        const struct account *account = process_account(sim, a);
        if (!account)
            continue;
        bool by_heads = account->desk.probe == DESK_PROBE_NONE; // whose waits a clock set back may have stretched
        int64_t settle_us = by_heads ? sim->plan.settle_ms * 1000 : 0; // of the only head, perhaps
        int64_t since_us = by_heads && sim->clock_was_set ? INT64_MAX : world_free_since_us(sim, sim->plan.desk_of[a]);
        if (since_us < sim->healing_since_us)
            since_us = sim->healing_since_us;
        if (since_us < process_since_us(sim))
            since_us = process_since_us(sim);
        if (since_us != INT64_MAX && sim_now(sim) - since_us > RECOVERY_S * (int64_t)SECOND + settle_us &&
            process_suspends(sim, desk_identity(&account->desk)))
            sim_fail(sim, "A8", "the desk of account %d is well and free for %d s, and nobody asks it", a, RECOVERY_S);
        account_unref(account);
    }
}

static void on_sweep(struct sim *sim, struct sim_event *event);

static bool is_settled(struct sim *sim)
{
    return oracle_is_through(sim) && platforms_are_through(sim) && process_is_up(sim) && !process_is_asked(sim) &&
           oracle_has_heard_agents(sim) && oracle_has_files(sim);
}

static void on_calm(struct sim *sim, struct sim_event *event)
{
    if (!is_settled(sim)) {
        on_sweep(sim, event);
        return;
    }
    oracle_judge_end(sim);
    oracle_judge_ageing(sim);
    oracle_judge_files(sim);
    process_show_alarms(sim);
    disk_verify(sim);
    sim->over = true;
}

static void on_sweep(struct sim *sim, struct sim_event *event)
{
    (void)event;
    check_recovery(sim);
    help(sim);
    if (is_settled(sim)) {
        sim_trace(sim, "--- all is settled");
        sim_after(sim, (int64_t)CALM_S * SECOND, on_calm, NULL);
        return;
    }
    if (sim_now(sim) - sim->healing_since_us > (int64_t)HEAL_MOST_S * SECOND) {
        oracle_judge_end(sim);
        oracle_judge_files(sim);
        sim_fail(sim, "A8", "%d s after all faults ended the webhooks are not all answered", HEAL_MOST_S);
        return;
    }
    sim_after(sim, (int64_t)SWEEP_S * SECOND, on_sweep, NULL);
}

static void on_heal(struct sim *sim, struct sim_event *event)
{
    (void)event;
    sim_trace(sim, "--- all heals");
    sim->healing = true;
    sim->healing_since_us = sim_now(sim);
    sim->store_error = 0;
    sim->crash_in_apply = 0;
    for (int desk = 0; desk < sim->plan.desks; desk++)
        world_weather(sim, desk, FAIR, 0);
    for (int bot = MOST_DESKS; bot < MOST_RECEIVERS; bot++)
        world_weather(sim, bot, FAIR, 0);
    on_sweep(sim, event);
}

// ---- the run ----

static void turn(struct sim *sim)
{
    struct heap_item *top;
    while (!sim->over && (top = heap_top(&sim->events))) {
        struct sim_event *event = (struct sim_event *)top;
        if (top->at > sim_now(sim))
            clock_manual_pass(&sim->clock, top->at - sim_now(sim));
        heap_remove(&sim->events, top);
        if (!event->life || (event->life == sim->life && sim->process))
            event->run(sim, event);
        free(event);
    }
}

static void put_account(struct sim *sim, int number)
{
    struct account *account = account_of_plan(sim, number);
    int64_t source_ids[MOST_SOURCES];
    struct store_account_put put = {.account = account, .source_ids = source_ids};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    must(sim->disk->ops->apply(sim->disk, &change, 1) == 0 && put.id == number + 1);
    sim->number_of[put.id] = number;
    account_unref(account);
}

static void begin(struct sim *sim)
{
    struct plan *plan = &sim->plan;
    sim->numbers = plan->events;
    clock_manual_init(&sim->clock, INT64_C(1700000000) * SECOND);
    sim->store = disk_open(sim);
    sim->oracle = oracle_new(sim);
    sim->world = world_new(sim);
    sim->platforms = platforms_new(sim);
    sim->agents = agents_new(sim);
    sim->files = files_new(sim);
    for (int a = 0; a < plan->accounts; a++)
        put_account(sim, a);
    process_start(sim);
    for (size_t i = 0; i < plan->action_count; i++)
        sim_after(sim, SECOND + plan->actions[i].at_us, on_action, &plan->actions[i]);
    sim_after(sim, SECOND + plan->faults_end_us, on_heal, NULL);
}

static void end(struct sim *sim)
{
    sim->result->simulated_us = sim_now(sim) - 1000000;
    if (sim->process)
        process_crash(sim);
    world_free(sim->world);
    platforms_free(sim->platforms);
    agents_free(sim->agents);
    files_free(sim->files);
    oracle_free(sim->oracle);
    sim->store->ops->close(sim->store, false);
    for (struct heap_item *top; (top = heap_top(&sim->events));) {
        heap_remove(&sim->events, top);
        free((struct sim_event *)top);
    }
    heap_done(&sim->events);
}

static struct sim *running; // for must_fail

// A broken must() of the core is an anomaly like others; what it leaves behind is not freed.
_Noreturn void __wrap_must_fail(const char *condition, const char *file, int line);
_Noreturn void __wrap_must_fail(const char *condition, const char *file, int line)
{
    if (!running) {
        fprintf(stderr, "%s:%d: %s\n", file, line, condition);
        abort();
    }
    sim_fail(running, "BUG", "must(%s) at %s:%d", condition, file, line);
    longjmp(running->bug, 1);
}

void sim_run(const struct sim_options *options, struct sim_result *out)
{
    struct sim *sim = mem_new_of(struct sim);
    *out = (struct sim_result){0};
    log_set_level(options->trace && getenv("SIM_LOG") ? LOG_DEBUG
                                                      : LOG_OFF); // the core's own words, between the trace's
    sim->options = options;
    sim->result = out;
    running = sim;
    if (setjmp(sim->bug) == 0) {
        plan_make(&sim->plan, options->seed);
        begin(sim);
        turn(sim);
        end(sim);
        plan_done(&sim->plan);
        running = NULL;
        free(sim);
        return;
    }
    out->simulated_us = sim_now(running) - 1000000;
    running = NULL;
}
