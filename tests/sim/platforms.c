// The social platforms: each of a conversation's messages is sent until it is answered 2xx, in order within the
// conversation; webhooks get lost, their answers too, and what was answered may come again.
#include "base/mem.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOGETHER = 16 };

struct delivery {
    int events[MOST_TOGETHER];
    int count;
    int tries;
    bool again; // answered once already: sent again for no reason
};

struct platforms {
    int said[MOST_EVENTS];        // by the customer: as the how many-th; 0 = not yet
    int64_t said_us[MOST_EVENTS]; // by the platform's clock
    int saying;
    int said_in[MOST_CONVERSATIONS]; // so many
    int rank[MOST_EVENTS];           // which of its conversation it is
    bool answered[MOST_EVENTS];      // 2xx came through
    bool sending[MOST_EVENTS];       // in some delivery
    struct delivery *deliveries;
    size_t count, size;
};

struct platforms *platforms_new(struct sim *sim)
{
    (void)sim;
    return mem_new_of(struct platforms);
}

void platforms_free(struct platforms *platforms)
{
    free(platforms->deliveries);
    free(platforms);
}

void event_text(const struct sim *sim, int event, char *out, size_t size)
{
    static const char *const words[] = {"order", "thanks", "where <b>is</b> it", "100 & more", "caf\xC3\xA9"};
    if (sim->plan.event[event].wordless)
        *out = 0;
    else if (sim->plan.event[event].twin)
        snprintf(out, size, "ok");
    else
        snprintf(out, size, "e%d. %s, %s", event, words[event % 5], words[event / 5 % 5]);
}

int event_of_text(struct str text)
{
    int event = 0;
    size_t i = 1;
    for (; i < text.n && i < 8 && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        event = event * 10 + text.p[i] - '0';
    return text.n > 2 && text.p[0] == 'e' && i > 1 && i < text.n && text.p[i] == '.' && event < MOST_EVENTS ? event
                                                                                                            : -1;
}

static void on_send(struct sim *sim, struct sim_event *event);

static int64_t add_delivery(struct platforms *p, const struct delivery *delivery)
{
    if (p->count == p->size) {
        p->size = p->size ? p->size * 2 : 64;
        p->deliveries = mem_resize(p->deliveries, p->size * sizeof *p->deliveries);
    }
    p->deliveries[p->count] = *delivery;
    return (int64_t)p->count++;
}

// An earlier message of the conversation has not been answered yet.
static bool must_wait(const struct sim *sim, int event)
{
    const struct platforms *p = sim->platforms;
    for (int i = 0; i < sim->plan.events; i++)
        if (p->said[i] && p->said[i] < p->said[event] && !p->answered[i] &&
            sim->plan.event[i].conversation == sim->plan.event[event].conversation)
            return true;
    return false;
}

// Of what is not in the webhook that begins with `first`.
static bool waits_for_others(const struct sim *sim, int event, int first)
{
    const struct platforms *p = sim->platforms;
    for (int i = 0; i < sim->plan.events; i++)
        if ((i < first || i > event) && p->said[i] && p->said[i] < p->said[event] && !p->answered[i] &&
            sim->plan.event[i].conversation == sim->plan.event[event].conversation)
            return true;
    return false;
}

// Sends what may be sent: the event, with those behind it that go into the same webhook.
static void begin(struct sim *sim, int event)
{
    struct platforms *p = sim->platforms;
    struct delivery delivery = {0};
    for (int i = event; i < sim->plan.events && delivery.count < MOST_TOGETHER; i++) {
        bool fits = i == event || (sim->plan.event[i].together && p->said[i] && !p->sending[i] &&
                                   p->said[i] > p->said[i - 1] && !waits_for_others(sim, i, event));
        if (!fits)
            break;
        p->sending[i] = true;
        delivery.events[delivery.count++] = i;
    }
    struct chance chance = sim_chance(sim, 'n', (uint64_t)event);
    sim_after(sim, draw(&chance, 1000, 100000), on_send, NULL)->n = add_delivery(p, &delivery);
}

int64_t platform_said_us(const struct sim *sim, int event)
{
    return sim->platforms->said_us[event];
}

bool platform_migrated(const struct sim *sim, int event, bool *out_first)
{
    int at = sim->plan.migrates_at[sim->plan.event[event].conversation], rank = sim->platforms->rank[event];
    *out_first = at && rank == at;
    return at && rank >= at;
}

bool platform_has_migrated(const struct sim *sim, int conversation)
{
    int at = sim->plan.migrates_at[conversation];
    return at && sim->platforms->said_in[conversation] >= at;
}

void platform_say(struct sim *sim, int event)
{
    sim->platforms->said[event] = ++sim->platforms->saying;
    sim->platforms->rank[event] = ++sim->platforms->said_in[sim->plan.event[event].conversation];
    sim->platforms->said_us[event] = INT64_C(1700000000) * SECOND + sim_now(sim);
    if (!must_wait(sim, event) && !sim->platforms->sending[event])
        begin(sim, event);
}

static int64_t pause_us(int tries)
{
    return tries > 5 ? 30 * (int64_t)SECOND : (int64_t)SECOND << (tries - 1);
}

static void send_later(struct sim *sim, int64_t number, int64_t us)
{
    sim_after(sim, us, on_send, NULL)->n = number;
}

static uint64_t name_of(const struct delivery *delivery)
{
    return (uint64_t)delivery->events[0] << 16 | (uint64_t)delivery->tries << 1 | delivery->again;
}

static bool befalls(struct sim *sim, uint64_t kind, int percent, const struct delivery *delivery)
{
    struct chance chance = sim_chance(sim, kind, name_of(delivery));
    return !sim->healing && draw_percent(&chance, percent) && sim_may(sim, kind, name_of(delivery));
}

static bool is_answered(const struct platforms *p, const struct delivery *delivery)
{
    for (int i = 0; i < delivery->count; i++)
        if (!p->answered[delivery->events[i]])
            return false;
    return true;
}

static void on_send(struct sim *sim, struct sim_event *event)
{
    struct platforms *p = sim->platforms;
    struct delivery *delivery = &p->deliveries[event->n];
    if (!delivery->again && is_answered(p, delivery))
        return;
    delivery->tries++;
    bool lost = befalls(sim, 'l', sim->plan.lost, delivery);
    sim_trace(sim, "webhook of e%d and %d more, try %d%s%s", delivery->events[0], delivery->count - 1, delivery->tries,
              delivery->again ? ", again" : "", lost ? ": lost" : "");
    struct delivery copy = *delivery;
    bool there = !lost && process_webhook(sim, copy.events, copy.count, event->n);
    if (!copy.again) // nothing comes of it when it was answered by then
        send_later(sim, event->n, there ? 10 * (int64_t)SECOND + copy.tries : pause_us(copy.tries));
}

static void go_on(struct sim *sim, int conversation)
{
    struct platforms *p = sim->platforms;
    for (int i = 0; i < sim->plan.events; i++)
        if (sim->plan.event[i].conversation == conversation && p->said[i] && !p->sending[i] && !must_wait(sim, i))
            begin(sim, i);
}

static void repeat(struct sim *sim, const struct delivery *delivery)
{
    struct delivery copy = *delivery;
    struct chance chance = sim_chance(sim, 'g', name_of(delivery));
    copy.again = true;
    copy.tries = 0;
    send_later(sim, add_delivery(sim->platforms, &copy), draw(&chance, 1000, 5 * (int64_t)MINUTE));
}

// The relay answered; the answer may get lost on its way.
void platform_answered(struct sim *sim, const int *events, int count, int64_t number, bool ok)
{
    struct platforms *p = sim->platforms;
    struct delivery *delivery = &p->deliveries[number];
    for (int i = 0; ok && i < count; i++)
        oracle_acknowledged(sim, events[i]);
    if (delivery->again || is_answered(p, delivery))
        return;
    bool lost = ok && befalls(sim, 'L', sim->plan.lost_answers, delivery);
    sim_trace(sim, "webhook of e%d is answered %s%s", events[0], ok ? "200" : "503", lost ? ": lost" : "");
    if (!ok || lost)
        return; // sent again when its time is over
    for (int i = 0; i < count; i++)
        p->answered[events[i]] = true;
    if (befalls(sim, 'R', sim->plan.repeated, delivery))
        repeat(sim, &p->deliveries[number]);
    for (int i = 0; i < count; i++)
        go_on(sim, sim->plan.event[events[i]].conversation);
}

bool platforms_are_through(const struct sim *sim)
{
    const struct platforms *p = sim->platforms;
    for (int i = 0; i < sim->plan.events; i++)
        if (p->said[i] && !p->answered[i])
            return false;
    return true;
}
