// The judge of replies and of the notes about them: which message is what an agent said, whether it may be sent now, and what is
// told of it. What holds for all messages is in oracle.c.
#include "base/mem.h"
#include "platform/html_text.h"
#include "platform/platform.h"
#include "sim/oracle_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t DAY_US = INT64_C(86400) * SECOND;

enum {
    PACE_US = SECOND, // of a chat, with bursts of
    BURST = 4,
    LOOP_MOST = 20,                 // parts of bots in a conversation, within
    LOOP_S = 600,                   // that are no loop yet
    MOST_ASKED_US = 5 * MINUTE,     // that one message waits because it was asked to (dispatcher.c)
    KNOWN_LATEST_US = 200 * SECOND, // by the overlap of searches (reply_search.c)
    CHATS_MOST = 2,                 // of a bot that get a 429 within a minute, and the bot goes on
};

// ---- numbers ----

// One more message; -1 when there is no room.
int oracle_number_new(struct sim *sim, int account, int conversation, enum direction direction, struct str text)
{
    if (sim->numbers == MOST_EVENTS) {
        sim_fail(sim, "SIM", "more messages than the simulator has room for");
        return -1;
    }
    int number = sim->numbers++;
    sim->plan.event[number] = (struct event_plan){.account = account, .conversation = conversation};
    struct said *s = &sim->oracle->said[number];
    *s = (struct said){.direction = direction, .follows = -1, .text = mem_dup(text.p ? text.p : "", text.n)};
    return number;
}

uint64_t oracle_name(const struct sim *sim, int event)
{
    const struct said *s = &sim->oracle->said[event];
    if (s->direction == REPLY)
        return sim_mix(agents_spoken(sim, s->spoken)->name, (uint64_t)s->piece);
    if (s->direction == NOTE)
        return sim_mix(oracle_name(sim, s->note_of), 1000 + (uint64_t)s->notes);
    if (s->follows >= 0)
        return sim_mix(oracle_name(sim, s->follows), 2000 + (uint64_t)s->piece);
    return (uint64_t)event;
}

// As often as customers' messages are.
void oracle_draw_illness(struct sim *sim, int number)
{
    int ill = 0;
    for (int i = 0; i < sim->plan.events; i++)
        ill += sim->plan.event[i].illness != WELL;
    struct chance chance = sim_chance(sim, 'I', oracle_name(sim, number));
    if (draw_percent(&chance, 100 * ill / sim->plan.events))
        sim->plan.event[number].illness = (enum illness)draw(&chance, 1, ILLNESSES - 1);
}

static int find_reply(const struct sim *sim, int spoken, int piece)
{
    for (int i = sim->plan.events; i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        if (s->direction == REPLY && s->spoken == spoken && s->piece == piece)
            return i;
    }
    return -1;
}

int oracle_number_of_reply(struct sim *sim, const struct store_accept *accept)
{
    int piece, account = sim->number_of[accept->account_id % MOST_ACCOUNT_IDS];
    int spoken = agents_find(sim, sim->plan.desk_of[account], accept->event.dedupe_key, &piece);
    if (spoken < 0) {
        sim_fail(sim, "A2", "a reply is stored that nobody said: %.*s", STR_ARG(accept->event.dedupe_key));
        return -1;
    }
    int number = find_reply(sim, spoken, piece);
    if (number >= 0)
        return number;
    number = oracle_number_new(sim, account, agents_spoken(sim, spoken)->conversation, REPLY, accept->event.text);
    if (number < 0)
        return -1;
    sim->oracle->said[number].spoken = spoken;
    sim->oracle->said[number].piece = piece;
    oracle_draw_illness(sim, number);
    return number;
}

// What parts of its album say stands behind it, a line each.
static void add_joined(const struct sim *sim, const struct said *s, struct buf *out)
{
    char text[200];
    for (int i = 0; i < s->joined_count; i++) {
        event_text(sim, s->joined[i], text, sizeof text);
        if (out->n && *text)
            buf_add_char(out, '\n');
        buf_add_str(out, str_of(text));
    }
}

void oracle_text(const struct sim *sim, int event, bool at_desk, struct buf *out)
{
    const struct said *s = &sim->oracle->said[event];
    char text[200];
    buf_init(out, 1 << 20);
    if (s->direction == INBOUND && !s->text) {
        event_text(sim, event, text, sizeof text);
        buf_add_str(out, str_of(text));
        add_joined(sim, s, out);
        return;
    }
    bool html = at_desk && s->direction == NOTE;
    if (html)
        buf_add_str(out, STR("<p>"));
    for (const char *c = s->text; *c; c++)
        buf_add_str(out, !html        ? (struct str){c, 1}
                         : *c == '&'  ? STR("&amp;")
                         : *c == '<'  ? STR("&lt;")
                         : *c == '>'  ? STR("&gt;")
                         : *c == '\n' ? STR("<br>")
                                      : (struct str){c, 1});
    if (html)
        buf_add_str(out, STR("</p>"));
}

// ---- what is made of what agents say ----

// How many messages, and whether one of them is this text.
static int compose(const struct sim *sim, int spoken, int piece, struct str text, bool *out_same)
{
    const struct spoken *s = agents_spoken(sim, spoken);
    struct arena arena = {0};
    if (piece >= FILE_PIECES) {
        *out_same = piece < FILE_PIECES + s->files && !text.n;
        return 1;
    }
    if (!sim->plan.telegram[agents_account(sim, spoken)]) { // nobody takes it, and it says so
        struct html_text plain;
        html_text_read(s->html, &arena, &plain);
        *out_same = piece == 0 && str_eq(plain.text, text);
        arena_done(&arena);
        return 1;
    }
    struct reply_text *texts = NULL;
    size_t count = 0;
    platform_telegram.compose(s->html, &arena, &texts, &count);
    *out_same = piece >= 0 && (size_t)piece < count && str_eq(texts[piece].text, text);
    arena_done(&arena);
    return (int)count;
}

static bool is_before(const struct sim *sim, const struct said *a, const struct said *b)
{
    const struct spoken *x = agents_spoken(sim, a->spoken), *y = agents_spoken(sim, b->spoken);
    return x->part != y->part ? x->part < y->part : a->piece < b->piece;
}

// All that is stored of that thread is older.
static void check_place(struct sim *sim, int event, const struct store_accept *accept)
{
    const struct said *s = &sim->oracle->said[event];
    const struct spoken *spoken = agents_spoken(sim, s->spoken);
    for (int i = sim->plan.events; i < sim->numbers; i++) {
        const struct said *other = &sim->oracle->said[i];
        if (i == event || other->direction != REPLY || !other->id || other->account_id != accept->account_id)
            continue;
        const struct spoken *there = agents_spoken(sim, other->spoken);
        bool same = there->desk == spoken->desk && there->thread == spoken->thread;
        if (same && is_before(sim, s, other) && !spoken->late) { // else it could not be seen before
            oracle_complain(sim, "A7", event, "it is stored behind what was said after it");
            return;
        }
    }
}

// What bots said there in the ten minutes before, and this.
static int bot_parts(const struct sim *sim, const struct spoken *in)
{
    int count = 0;
    for (int i = 0; i < agents_count(sim); i++) {
        const struct spoken *s = agents_spoken(sim, i);
        count += s->bot && s->desk == in->desk && s->thread == in->thread && s->part <= in->part &&
                 s->said_s >= in->said_s - LOOP_S;
    }
    return count;
}

void oracle_check_reply(struct sim *sim, int event, const struct store_accept *accept)
{
    const struct said *s = &sim->oracle->said[event];
    const struct spoken *spoken = agents_spoken(sim, s->spoken);
    bool same;
    compose(sim, s->spoken, s->piece, accept->event.text, &same);
    if (!agents_means_customer(sim, s->spoken))
        oracle_complain(sim, "A2", event, "what was not meant for the customer becomes a reply");
    if (!same)
        oracle_complain(sim, "A3", event, "it is not what the agent said");
    if (agents_account(sim, s->spoken) != sim->number_of[accept->account_id % MOST_ACCOUNT_IDS])
        oracle_complain(sim, "A3", event, "it was said to another account's customer");
    // By a clock that is far off what is read again counts again.
    bool loop = sim->clock_was_far || (spoken->bot && bot_parts(sim, spoken) > LOOP_MOST);
    if (accept->reason == REASON_LOOP && !loop)
        oracle_complain(sim, "A1", event, "taken for one of a loop of bots");
    if (accept->reason != REASON_ORPHANED) // nobody will read it
        check_place(sim, event, accept);
}

// ---- a reply leaves ----

static void check_pace(struct sim *sim, int event)
{
    struct oracle *o = sim->oracle;
    int conversation = sim->plan.event[event].conversation, bot = oracle_receiver(sim, event) - MOST_DESKS;
    int64_t now_us = sim_now(sim), *full_us = &o->full_us[conversation];
    bool first = !o->said[event].asked; // else it goes on with what was answered
    if (first && *full_us - now_us > (BURST - 1) * (int64_t)PACE_US)
        oracle_complain(sim, "PACE", event, "it goes faster than its chat may");
    if (first && o->limited_until_us[conversation] > now_us)
        oracle_complain(sim, "PACE", event, "its chat was asked to wait, and does not");
    if (first && o->bot_until_us[bot] > now_us)
        oracle_complain(sim, "PACE", event, "several chats of its bot were asked to wait, and the bot does not");
    *full_us = (*full_us > now_us ? *full_us : now_us) + PACE_US;
}

void oracle_check_send(struct sim *sim, int event)
{
    struct said *s = &sim->oracle->said[event];
    check_pace(sim, event);
    s->sent_doubtful = s->in_doubt || s->left_marked;
    if (s->sent_doubtful && !s->by_hand && sim->plan.in_doubt[sim->plan.event[event].account] == IN_DOUBT_HOLD)
        oracle_complain(sim, "DOUBT", event, "it may have arrived and was to be held, and is sent again");
}

void oracle_limited(struct sim *sim, int bot, int conversation, int64_t until_us)
{
    struct oracle *o = sim->oracle;
    int64_t now_us = sim_now(sim), latest_us = now_us + MOST_ASKED_US;
    int chats = 0;
    o->limited_until_us[conversation] = until_us < latest_us ? until_us : latest_us;
    o->limited_us[conversation] = now_us;
    for (int c = 0; c < sim->plan.conversations; c++) {
        int of = MOST_DESKS + sim->plan.account_of[c] * MOST_SOURCES + sim->plan.source_of[c];
        chats += of == bot && o->limited_us[c] && o->limited_us[c] > now_us - MINUTE;
    }
    if (chats <= CHATS_MOST)
        return;
    o->bot_until_us[bot - MOST_DESKS] = until_us;
    for (int c = 0; c < sim->plan.conversations; c++) {
        int of = MOST_DESKS + sim->plan.account_of[c] * MOST_SOURCES + sim->plan.source_of[c];
        if (of == bot)
            o->limited_us[c] = 0;
    }
}

void oracle_forget_waits(struct oracle *o)
{
    memset(o->full_us, 0, sizeof o->full_us);
    memset(o->limited_until_us, 0, sizeof o->limited_until_us);
    memset(o->limited_us, 0, sizeof o->limited_us);
    memset(o->bot_until_us, 0, sizeof o->bot_until_us);
}

void oracle_refused(struct sim *sim, int event, bool of_chat)
{
    sim->oracle->said[event].chat_refused = of_chat;
}

void oracle_moved(struct sim *sim, int event)
{
    struct said *s = &sim->oracle->said[event];
    if (sim->oracle->moved[sim->plan.event[event].conversation])
        oracle_complain(sim, "MOVED", event,
                        "it goes to where its chat was, though an earlier one was told where it is");
    s->moved = true;
}

void oracle_by_hand(struct sim *sim, int64_t message_id)
{
    int event;
    struct said *s = oracle_find(sim->oracle, message_id, &event);
    memset(sim->oracle->limited_until_us, 0, sizeof sim->oracle->limited_until_us);
    if (s)
        s->by_hand = true;
}

// ---- outcomes, and notes ----

static bool must_be_told(const struct said *s, const struct store_outcome *outcome)
{
    bool held = outcome->state == MESSAGE_PENDING && outcome->next_attempt_us == MESSAGE_HELD && !s->held;
    bool resent = outcome->state == MESSAGE_DELIVERED && s->asked && s->sent_doubtful;
    return outcome->reason != REASON_DAMAGED && (outcome->state == MESSAGE_SKIPPED || held || resent);
}

static void check_note(struct sim *sim, int event, const struct store_outcome *outcome)
{
    char name[40];
    snprintf(name, sizeof name, "(message %lld)", (long long)outcome->message_id);
    if (!memmem(str_chars(outcome->note), outcome->note.n, name, strlen(name)))
        oracle_complain(sim, "NOTE", event, "its agent is told of another one");
}

static void take_note(struct sim *sim, int event, const struct store_outcome *outcome)
{
    struct oracle *o = sim->oracle;
    int account = sim->plan.event[event].account;
    int number = oracle_number_new(sim, account, sim->plan.event[event].conversation, NOTE, outcome->note);
    if (number < 0)
        return;
    struct said *note = &o->said[number];
    note->note_of = event;
    note->notes = ++o->said[event].notes;
    note->id = note->place = outcome->note_id;
    note->account_id = o->said[event].account_id;
    note->sent_s = outcome->at_us / SECOND;
    note->conversation_id = o->said[event].conversation_id;
    note->epoch = o->accounts[account].epoch;
    note->received_us = note->settled_us = outcome->at_us;
    o->event_of_id[note->id] = number + 1;
    o->accepted++;
    o->counts[MESSAGE_PENDING]++;
    sim->result->accepted++;
    oracle_draw_illness(sim, number);
    sim_trace(sim, "stored: note %d is message %lld, of reply %d: %.*s", number, (long long)note->id, event,
              STR_ARG(outcome->note));
}

void oracle_check_reply_outcome(struct sim *sim, int event, const struct store_outcome *outcome)
{
    struct oracle *o = sim->oracle;
    struct said *s = &o->said[event];
    int conversation = sim->plan.event[event].conversation;
    bool gone = o->accounts[sim->plan.event[event].account].removed;
    if (must_be_told(s, outcome) && !outcome->note_lane && !gone)
        oracle_complain(sim, "NOTE", event, "its agent is not told what became of it");
    if (outcome->state == MESSAGE_DELIVERED && s->asked && s->sent_doubtful && ++o->resent > process_resent(sim))
        oracle_complain(sim, "DOUBT", event, "it was sent again though it may have arrived, and that is not counted");
    if (outcome->note_lane)
        check_note(sim, event, outcome);
    if (outcome->note_lane)
        take_note(sim, event, outcome);
    if (s->moved)
        o->moved[conversation] = true;
}

// ---- news ----

static int thread_of(struct str desk_conversation)
{
    int64_t id;
    return str_to_i64(desk_conversation, &id) && id >= 1000 && id < 1000 + MOST_THREADS ? (int)id - 1000 : -1;
}

// The account of the store's changes; -1: it is not there any more.
static int account_of(const struct sim *sim, int64_t account_id)
{
    int account = sim->number_of[account_id % MOST_ACCOUNT_IDS];
    const struct account_model *model = &sim->oracle->accounts[account];
    return model->id == account_id && !model->removed ? account : -1;
}

void oracle_see_news(struct sim *sim, const struct store_news *news)
{
    int account = account_of(sim, news->account_id);
    for (size_t i = 0; account >= 0 && i < news->count; i++) {
        int thread = thread_of(news->desk_conversations[i]);
        int64_t *at_us = &sim->oracle->news_us[account][thread < 0 ? 0 : thread];
        if (thread >= 0 && *at_us < news->at_us)
            *at_us = news->at_us;
    }
}

void oracle_see_taken(struct sim *sim, const struct store_taken *taken)
{
    int account = account_of(sim, taken->account_id), thread = thread_of(taken->desk_conversation);
    if (account < 0 || thread < 0)
        return;
    if (taken->asked_us > sim->oracle->read_us[sim->plan.desk_of[account]][thread] && !sim->clock_was_set)
        sim_fail(sim, "NEWS", "account %d: thread %d counts as read when nobody read it", account, thread + 1000);
    if (sim->oracle->news_us[account][thread] <= taken->asked_us)
        sim->oracle->news_us[account][thread] = 0;
}

void oracle_forget_news(struct sim *sim, int account)
{
    memset(sim->oracle->news_us[account], 0, sizeof sim->oracle->news_us[account]);
    for (int c = 0; c < sim->plan.conversations; c++)
        if (sim->plan.account_of[c] == account)
            sim->oracle->moved[c] = false;
}

struct news_look {
    const struct sim *sim;
    bool there[MOST_ACCOUNTS][MOST_THREADS];
};

static void look_at_news(void *arg, int64_t account_id, struct str desk_conversation)
{
    struct news_look *look = arg;
    int account = account_of(look->sim, account_id), thread = thread_of(desk_conversation);
    if (account >= 0 && thread >= 0)
        look->there[account][thread] = true;
}

bool oracle_news_are(const struct sim *sim, char *out_why, size_t size)
{
    struct news_look look = {.sim = sim};
    if (sim->disk->ops->each_news(sim->disk, look_at_news, &look)) {
        snprintf(out_why, size, "the news cannot be read");
        return false;
    }
    for (int a = 0; a < sim->plan.accounts; a++)
        for (int t = 0; t < MOST_THREADS; t++)
            if ((sim->oracle->news_us[a][t] != 0) != look.there[a][t]) {
                snprintf(out_why, size, "account %d: that thread %d has news is %s the store", a, t + 1000,
                         look.there[a][t] ? "only in" : "not in");
                return false;
            }
    return true;
}

void oracle_check_news(struct sim *sim)
{
    char why[120];
    if (!oracle_news_are(sim, why, sizeof why))
        sim_fail(sim, "NEWS", "%s", why);
}

void oracle_reads(struct sim *sim, int desk, int thread)
{
    bool on = false;
    for (int a = 0; a < sim->plan.accounts; a++)
        on |= sim->plan.desk_of[a] == desk && !sim->oracle->accounts[a].off;
    if (!on)
        sim_fail(sim, "SWITCH", "desk %d is read, and all its accounts are deactivated", desk);
    if (thread >= 0 && thread < MOST_THREADS)
        sim->oracle->read_us[desk][thread] = sim->clock.wall_us;
}

void oracle_linked(struct sim *sim, int conversation)
{
    if (!sim->oracle->linked_us[conversation])
        sim->oracle->linked_us[conversation] = sim_now(sim);
}

// ---- the end ----

// Whoever answers before the relay knows what it has begun at the desk is heard if that does not take long.
static bool is_late_known(const struct sim *sim, int spoken)
{
    int64_t linked_us = sim->oracle->linked_us[agents_spoken(sim, spoken)->conversation];
    return !linked_us || linked_us > agents_spoken(sim, spoken)->said_us + KNOWN_LATEST_US;
}

// It was to be seen only when the relay does not look back so far any more, lest it takes again what its store has forgotten.
static bool may_be_overlooked(const struct sim *sim, int spoken)
{
    return agents_spoken(sim, spoken)->late && sim->plan.keep_dedupe_us < DAY_US;
}

// A customer shall have it. An account that is added anew knows nothing of threads from before, and by a clock that is far
// off nobody can tell what is new.
static bool is_owed(const struct sim *sim, int spoken)
{
    int account = agents_account(sim, spoken);
    if (is_late_known(sim, spoken) || may_be_overlooked(sim, spoken))
        return false;
    const struct account_model *model = &sim->oracle->accounts[account];
    return agents_means_customer(sim, spoken) && !agents_spoken(sim, spoken)->gone && !model->removed &&
           model->id == account + 1 && !sim->clock_was_far;
}

static bool is_stored(const struct sim *sim, int spoken)
{
    bool same;
    int count = compose(sim, spoken, 0, STR(""), &same);
    for (int piece = 0; piece < count; piece++) {
        int number = find_reply(sim, spoken, piece);
        if (number < 0 || !sim->oracle->said[number].id)
            return false;
    }
    for (int i = 0; i < agents_spoken(sim, spoken)->files; i++) {
        int number = find_reply(sim, spoken, FILE_PIECES + i);
        if (number < 0 || !sim->oracle->said[number].id)
            return false;
    }
    return true;
}

static int first_unheard(const struct sim *sim)
{
    for (int i = 0; i < agents_count(sim); i++)
        if (is_owed(sim, i) && !is_stored(sim, i))
            return i;
    return -1;
}

bool oracle_has_heard_agents(const struct sim *sim)
{
    return first_unheard(sim) < 0;
}

void oracle_judge_replies(struct sim *sim)
{
    int lost = first_unheard(sim);
    if (lost >= 0)
        sim_fail(sim, "A1", "what an agent said is not in the store: r%d, part %lld of thread %d, to k%d of account %d",
                 lost, (long long)agents_spoken(sim, lost)->part, agents_spoken(sim, lost)->thread + 1000,
                 agents_spoken(sim, lost)->conversation, agents_account(sim, lost));
}
