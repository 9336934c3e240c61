#include "sandbox/live.h"

#include "base/mem.h"
#include "sandbox/own.h"

#include <stdio.h>

enum { GATHER_MS = 20, KEEP_ALIVE_MS = 15000, MAX_LISTENERS = 64 };

struct listener {
    struct listener *next;
    struct live *live;
    struct http_exchange *exchange;
    bool gone; // the client left: to be ended, not from within a write
};

struct live {
    struct loop *loop;
    struct listener *listeners;
    size_t count;
    struct loop_timer *changed, *keep_alive;
    bool due; // `changed` is running
    int64_t version;
};

static void sweep(struct live *live)
{
    for (struct listener **at = &live->listeners; *at;) {
        struct listener *listener = *at;
        if (!listener->gone) {
            at = &listener->next;
            continue;
        }
        *at = listener->next;
        live->count--;
        http_exchange_end(listener->exchange);
        free(listener);
    }
}

static void say(struct live *live, struct str text)
{
    for (struct listener *listener = live->listeners; listener; listener = listener->next)
        if (!listener->gone && !http_exchange_write(listener->exchange, text))
            listener->gone = true;
    sweep(live);
}

static void say_changed(void *arg)
{
    struct live *live = arg;
    live->due = false;
    char text[80];
    int n = snprintf(text, sizeof(text), "event: change\ndata: %lld\n\n", (long long)++live->version);
    say(live, (struct str){text, (size_t)n});
}

static void say_alive(void *arg)
{
    struct live *live = arg;
    say(live, STR(":\n\n"));
    loop_timer_set(live->keep_alive, KEEP_ALIVE_MS);
}

struct live *live_new(struct loop *loop)
{
    struct live *live = mem_new_of(struct live);
    live->loop = loop;
    live->changed = loop_timer_new(loop, say_changed, live);
    live->keep_alive = loop_timer_new(loop, say_alive, live);
    loop_timer_set(live->keep_alive, KEEP_ALIVE_MS);
    return live;
}

void live_end_all(struct live *live)
{
    for (struct listener *listener = live->listeners; listener; listener = listener->next)
        listener->gone = true;
    sweep(live);
}

void live_free(struct live *live)
{
    if (!live)
        return;
    live_end_all(live);
    loop_timer_free(live->changed);
    loop_timer_free(live->keep_alive);
    free(live);
}

static void listener_gone(void *arg)
{
    struct listener *listener = arg;
    listener->gone = true;
    live_changed(listener->live); // sweeps it a moment later, from the timer
}

void live_join(struct live *live, struct http_exchange *exchange)
{
    if (live->count >= MAX_LISTENERS) {
        http_exchange_answer(exchange, 503, STR("text/plain"), NULL, 0, STR("too many pages are open\n"));
        return;
    }
    struct listener *listener = mem_new_of(struct listener);
    *listener = (struct listener){.next = live->listeners, .live = live, .exchange = exchange};
    live->listeners = listener;
    live->count++;
    struct http_stream stream = {.gone = listener_gone, .arg = listener};
    listener->gone = !http_exchange_stream(exchange, 200, STR("text/event-stream"), NULL, 0, &stream);
    live_changed(live);
}

void live_changed(struct live *live)
{
    if (!live->listeners || live->due)
        return;
    live->due = true;
    loop_timer_set(live->changed, GATHER_MS);
}
