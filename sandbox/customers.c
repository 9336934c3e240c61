// Chatting customers: N of them for every bot that is in use, writing R messages a second in all. Each numbers what it says, so that
// the order can be checked by eye.
#include "sandbox/telegram.h"

#include "base/clock.h"
#include "sandbox/own.h"

#include <inttypes.h>

enum { TICK_MS = 10, SLOW_TICK_MS = 100, MOST_A_TICK = 2000 };
static const int64_t first_id = 700000001;

struct customers {
    struct telegram *telegram;
    struct loop_timer *timer;
    struct chance chance;
    int64_t count;
    double rate;
    double due;      // messages owed
    int64_t last_us; // when that was counted
};

static const char *const sayings[] = {
    "Hi, is anyone there?",
    "My parcel has not arrived yet.",
    "Could you check my order, please?",
    "It says delivered, but I have nothing here.",
    "Thank you!",
    "How long will that take?",
    "I would like to change my address.",
    "Can I pay by invoice?",
    "The blue one, in size M.",
    "Is it still in stock?",
    "I sent you a picture of it yesterday.",
    "No, the other order.",
    "Perfect 👍",
    "Do you deliver to Zürich?",
    "The app shows an error when I log in.",
    "I tried that already, it did not help.",
    "What does the warranty cover?",
    "Where do I find the order number?",
    "That was quick, thanks a lot.",
    "One more question …",
};

static void say_something(struct customers *customers)
{
    int64_t bots = 0;
    for (struct telegram_bot *bot = customers->telegram->bots; bot; bot = bot->hh.next)
        bots += bot->used;
    if (bots == 0)
        return;
    int64_t pick = (int64_t)chance_below(&customers->chance, (uint64_t)bots);
    struct telegram_bot *bot = customers->telegram->bots;
    while (!bot->used || pick-- > 0)
        bot = bot->hh.next;
    int64_t id = first_id + (int64_t)chance_below(&customers->chance, (uint64_t)customers->count);
    struct telegram_chat *chat = telegram_chat(bot, id, STR_NONE);
    const char *saying = sayings[chance_below(&customers->chance, sizeof(sayings) / sizeof(*sayings))];
    struct arena arena = {0};
    telegram_say(chat, arena_printf(&arena, "#%" PRId64 " %s", ++chat->chatter, saying), 0);
    arena_done(&arena);
}

static void tick(void *arg)
{
    struct customers *customers = arg;
    int64_t now_us = clock_mono_us(&clock_system);
    customers->due += customers->rate * (double)(now_us - customers->last_us) / 1e6;
    customers->last_us = now_us;
    if (customers->due > MOST_A_TICK)
        customers->due = MOST_A_TICK;
    int64_t now = (int64_t)customers->due;
    customers->due -= (double)now;
    while (now-- > 0)
        say_something(customers);
    loop_timer_set(customers->timer, customers->rate < 10 ? SLOW_TICK_MS : TICK_MS);
}

void customers_set(struct customers *customers, int64_t count, double rate)
{
    customers->count = count;
    customers->rate = rate;
    customers->due = 0;
    customers->last_us = clock_mono_us(&clock_system);
    loop_timer_clear(customers->timer);
    if (count > 0 && rate > 0)
        loop_timer_set(customers->timer, TICK_MS);
}

struct customers *customers_new(struct telegram *telegram, int64_t count, double rate)
{
    struct customers *customers = mem_new_of(struct customers);
    customers->telegram = telegram;
    customers->timer = loop_timer_new(telegram->loop, tick, customers);
    chance_init(&customers->chance, telegram->options.seed + 1);
    customers_set(customers, count, rate);
    return customers;
}

void customers_free(struct customers *customers)
{
    if (!customers)
        return;
    loop_timer_free(customers->timer);
    free(customers);
}

int64_t customers_count(const struct customers *customers)
{
    return customers->count;
}

double customers_rate(const struct customers *customers)
{
    return customers->rate;
}
