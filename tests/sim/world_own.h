// The inside of world.c and telegram.c: a request on its way, and what becomes of it.
#pragma once
#include "base/arena.h"
#include "sim/sim.h"

enum { MOST_TOKENS = 2048, WINDOW_US = 10 * SECOND };

// A desk, or a bot.
struct desk_world {
    struct intercom_desk *intercom; // NULL: a signed webhook, or a bot
    int taken[MOST_EVENTS];         // webhook: how often under its id
    enum weather weather;
    int64_t until_us;
    bool seen[MOST_TOKENS], refused[MOST_TOKENS];
    int64_t window_us; // of its limit
    int in_window;
    int messages; // that the bot has sent
    uint64_t probes, reads;
    int open;
    int64_t ended_us, asked_us; // the last request ended; until when it wants to be left alone
    int64_t read_asked_us;      // the same, told to those who read what agents say
};

struct world {
    struct desk_world desks[MOST_RECEIVERS];
    struct call *calls;
    uint64_t requests[MOST_EVENTS];
    uint64_t others;
};

// What becomes of a request, in times from its leaving.
struct fate {
    bool reaches; // the desk handles it
    bool never;   // no answer
    int64_t handle_us, end_us;
    enum http_failure failure;
    bool written;
    int status;   // instead of the handler's; 0: that one
    bool of_chat; // a bot's: its chat alone refuses
    bool says;    // with a body of its own, in call->answer
    int retry_after_s;
    bool junk;
    enum weather outage; // it is the desk as a whole that fails so
    const char *name;
};

struct call {
    struct sim *sim;
    struct arena arena;
    int desk, event, conversation, token;
    bool probe, writes;
    bool reads;      // what agents say
    bool unsendable; // bytes of its files are gone
    bool moved;      // to a bot: the chat was named by what it was called before it moved
    struct str method, path, body;
    void (*done)(void *arg, const struct http_response *response);
    void *arg;
    bool open; // the relay waits for it
    struct fate fate;
    struct sim_event *handling, *ending;
    int status;
    struct buf answer;
    int limited_s; // a bot's chat is asked to wait
    int remaining; // of the desk's limit; -1: not said
    struct call *prev, *next;
};

struct fate fate_status(struct fate fate, int status, bool taken);

// telegram.c: whom a request to a bot is about.
void telegram_describe(struct call *call);
uint64_t telegram_identity(struct call *call);
// It is refused whatever the weather: the chat has moved.
bool telegram_refuses(struct call *call, struct fate *fate);
struct fate telegram_ill(struct call *call, struct fate fate);
struct fate telegram_limited(struct call *call, struct fate fate, struct chance *c);
void telegram_take(struct call *call);
// A field of a form; and the file in it, with the type that is not told: STR_NONE: there is none.
struct str form_field(const struct call *call, const char *name);
struct str form_file(const struct call *call);
// The relay hears the answer.
void telegram_told(struct call *call);
// A negative control: it goes to another chat.
void telegram_misdirect(struct call *call);
