// What agents and bots say at the desks (Intercom), and the notices that the desks send of it: each is tried twice, as Intercom
// does, and then dropped; it gets lost, comes late, twice and in any order.
#include "base/mem.h"
#include "sim/sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_NOTICES = 2 * MOST_SPOKEN * MOST_ACCOUNTS,
    TRIES = 2,
    AGAIN_US = 60 * SECOND,   // to the second try
    PATIENCE_US = SECOND / 2, // of the desk, for an answer
    LATE_US = 50 * SECOND,    // a part is seen, at most (reply_parts.c counts on 60 s)
    LAG_US = 240 * SECOND,    // of the desk's index, at most (reply_search.c counts on 300 s)
};

struct notice {
    int account, thread, tries;
    uint64_t name;
    bool answered;
};

struct agents {
    struct spoken spoken[MOST_SPOKEN];
    int count;
    struct notice *notices;
    int notice_count;
};

struct agents *agents_new(struct sim *sim)
{
    (void)sim;
    struct agents *agents = mem_new_of(struct agents);
    agents->notices = mem_new(MOST_NOTICES * sizeof *agents->notices);
    return agents;
}

void agents_free(struct agents *agents)
{
    for (int i = 0; i < agents->count; i++)
        free((char *)agents->spoken[i].html.p);
    free(agents->notices);
    free(agents);
}

const struct spoken *agents_spoken(const struct sim *sim, int index)
{
    return &sim->agents->spoken[index];
}

int agents_count(const struct sim *sim)
{
    return sim->agents->count;
}

int agents_account(const struct sim *sim, int index)
{
    return sim->plan.account_of[agents_spoken(sim, index)->conversation];
}

bool agents_means_customer(const struct sim *sim, int index)
{
    const struct spoken *s = agents_spoken(sim, index);
    bool bots = sim->plan.replies[agents_account(sim, index)] == REPLIES_AGENTS_AND_BOTS;
    return !s->note && !s->redacted && (!s->bot || bots);
}

int agents_find(const struct sim *sim, int desk, struct str key, int *out_piece)
{
    static const struct str part = STR("part:"), source = STR("source:");
    size_t cut = str_index(key, '#', 0);
    int64_t id, piece = 1;
    struct str name = str_sub(key, part.n, cut);
    bool begins = str_starts(name, source);
    if (begins)
        name = str_sub(name, source.n, name.n);
    if (!str_starts(key, part) || !str_to_i64(name, &id))
        return -1;
    bool is_file = cut + 1 < key.n && key.p[cut + 1] == 'f';
    if (cut < key.n && !str_to_i64(str_sub(key, cut + 1 + is_file, key.n), &piece))
        return -1;
    *out_piece = (int)piece - 1 + (is_file ? FILE_PIECES : 0);
    for (int i = 0; i < sim->agents->count; i++) {
        const struct spoken *s = agents_spoken(sim, i);
        if (s->desk == desk && s->part == id && s->begins == begins)
            return i;
    }
    return -1;
}

void agents_deleted(struct sim *sim, int desk, int thread)
{
    for (int i = 0; i < sim->agents->count; i++)
        if (sim->agents->spoken[i].desk == desk && sim->agents->spoken[i].thread == thread)
            sim->agents->spoken[i].gone = true;
}

// ---- notices ----

static bool befalls(struct sim *sim, uint64_t kind, int percent, const struct notice *notice)
{
    uint64_t name = sim_mix(notice->name, (uint64_t)notice->tries);
    struct chance chance = sim_chance(sim, kind, name);
    return !sim->healing && draw_percent(&chance, percent) && sim_may(sim, kind, name);
}

static void on_notice(struct sim *sim, struct sim_event *event);

static void send_after(struct sim *sim, int64_t us, int64_t number)
{
    sim_after(sim, us, on_notice, NULL)->n = number;
}

static void on_impatient(struct sim *sim, struct sim_event *event)
{
    const struct notice *notice = &sim->agents->notices[event->n];
    if (!notice->answered && notice->tries < TRIES)
        send_after(sim, AGAIN_US, event->n);
}

static void on_notice(struct sim *sim, struct sim_event *event)
{
    struct notice *notice = &sim->agents->notices[event->n];
    char id[20];
    notice->tries++;
    notice->answered = false;
    bool lost = befalls(sim, 'y', sim->plan.lost_notices, notice);
    snprintf(id, sizeof id, "%d", notice->thread + 1000);
    sim_trace(sim, "notice of thread %s to account %d, try %d%s", id, notice->account, notice->tries,
              lost ? ": lost" : "");
    if (!lost && !process_notice(sim, notice->account, str_of(id), event->n))
        sim_trace(sim, "nobody listens");
    sim_after(sim, PATIENCE_US, on_impatient, NULL)->n = event->n;
}

void agents_answered(struct sim *sim, int64_t notice, bool ok)
{
    sim->agents->notices[notice].answered = ok;
}

static void notify(struct sim *sim, int account, int thread, uint64_t name)
{
    struct agents *agents = sim->agents;
    struct notice notice = {.account = account, .thread = thread, .name = sim_mix(name, (uint64_t)account)};
    struct chance chance = sim_chance(sim, 'Y', notice.name);
    int64_t pause_us = draw(&chance, SECOND / 10, 2 * SECOND);
    if (befalls(sim, 'z', sim->plan.late_notices, &notice))
        pause_us = draw(&chance, SECOND, 10 * (int64_t)MINUTE);
    int times = befalls(sim, 'Z', sim->plan.doubled_notices, &notice) ? 2 : 1;
    for (int i = 0; i < times && agents->notice_count < MOST_NOTICES; i++) {
        agents->notices[agents->notice_count] = notice;
        send_after(sim, pause_us + i * draw(&chance, 0, MINUTE), agents->notice_count++);
    }
}

// Whoever has an app at that desk hears of it.
static void notify_all(struct sim *sim, int desk, int thread, uint64_t name)
{
    for (int a = 0; a < sim->plan.accounts; a++)
        if (sim->plan.desk_of[a] == desk)
            notify(sim, a, thread, name);
}

// ---- words ----

static void draw_words(struct sim *sim, struct chance *c, int number, char *out, size_t size)
{
    static const char *const words[] = {"it is on its way", "<b>yes</b>, of course", "5 &lt; 6 &amp; 7",
                                        "see <a href=\"https://shop.test/x\">here</a>", "caf\xC3\xA9"};
    if (draw_percent(c, sim->plan.answer_twins))
        snprintf(out, size, "ok");
    else
        snprintf(out, size, "r%d. %s", number, words[chance_below(c, 5)]);
}

static struct str repeat(const char *paragraph, int times)
{
    size_t n = strlen(paragraph);
    char *text = mem_new(n * (size_t)times + 1);
    for (int i = 0; i < times; i++)
        memcpy(text + n * (size_t)i, paragraph, n);
    text[n * (size_t)times] = 0;
    return (struct str){text, n * (size_t)times};
}

static const char *draw_type(struct chance *c, bool note)
{
    static const char *const types[] = {"comment", "comment",           "comment", "comment", "quick_reply",
                                        "close",   "assign_and_reopen", "open",    "snoozed", "assignment"};
    if (note)
        return draw_percent(c, 80) ? "note" : "note_and_reopen";
    return types[chance_below(c, sizeof types / sizeof *types)];
}

// Where somebody has a channel that takes no replies, files would be words.
static bool may_send_files(const struct sim *sim, int desk)
{
    for (int a = 0; a < sim->plan.accounts; a++)
        if (sim->plan.desk_of[a] == desk && !sim->plan.telegram[a])
            return false;
    return true;
}

static int draw_files(const struct sim *sim, int desk, int number, int nth)
{
    struct chance c = sim_chance(sim, 'g', sim_mix((uint64_t)number, (uint64_t)nth));
    return may_send_files(sim, desk) && draw_percent(&c, sim->plan.answer_files) ? (int)draw(&c, 1, 2) : 0;
}

static const char *attachments(int desk, int spoken, int count, struct arena *arena)
{
    struct str list = STR("");
    char name[40];
    for (int i = 0; i < count; i++) {
        file_name(file_of_spoken(spoken, i), name, sizeof name);
        list = arena_printf(arena,
                            "%.*s%s{\"type\":\"upload\",\"name\":\"%s\",\"url\":\"http://desk%d.test/files/%s\","
                            "\"content_type\":\"image/png\",\"filesize\":20}",
                            STR_ARG(list), i ? "," : "[", name, desk, name);
    }
    return count ? ARENA_JOIN(arena, list, STR("]")).p : NULL;
}

static bool say(struct sim *sim, int desk, int number, int nth, struct chance *c, uint64_t pick, bool bot)
{
    struct agents *agents = sim->agents;
    struct intercom_desk *intercom = world_intercom(sim, desk);
    char words[160], paragraph[200];
    draw_words(sim, c, number, words, sizeof words);
    snprintf(paragraph, sizeof paragraph, "<p>%s</p>", words);
    struct intercom_said said = {
        .pick = pick,
        .begins = nth == 0 && draw_percent(c, 8),
        .bot = bot,
        .note = draw_percent(c, 8),
        .redacted = draw_percent(c, 3),
        .late_us = draw_percent(c, sim->plan.late_parts) ? draw(c, SECOND, LATE_US) : 0,
        .html = paragraph,
        .paragraphs = draw_percent(c, sim->plan.long_replies) ? (int)draw(c, 2, 400) : 1,
    };
    said.part_type = draw_type(c, said.note);
    struct arena arena = {0};
    int files = draw_files(sim, desk, number, nth);
    said.attachments = attachments(desk, agents->count, files, &arena);
    int64_t lag_us = draw_percent(c, 50) ? draw(c, 0, LAG_US) : 0;
    bool is_said = intercom && agents->count < MOST_SPOKEN &&
                   intercom_desk_say(intercom, &said, desk_now_us(sim), sim->healing ? 0 : lag_us);
    arena_done(&arena);
    if (!is_said)
        return false;
    agents->spoken[agents->count] = (struct spoken){
        .desk = desk,
        .name = sim_mix((uint64_t)number, (uint64_t)nth),
        .thread = said.thread,
        .conversation = said.conversation,
        .part = said.part,
        .said_us = sim_now(sim),
        .said_s = desk_now_us(sim) / SECOND,
        .begins = said.begins,
        .bot = said.bot,
        .note = said.note,
        .redacted = said.redacted,
        .late = said.late_us > 0,
        .files = files,
        .html = repeat(paragraph, said.paragraphs),
    };
    sim_trace(sim, "desk %d: %s says r%d in thread %d to k%d, part %lld, %s%s%s%s, %d paragraphs", desk,
              said.bot ? "a bot" : "an agent", agents->count, said.thread + 1000, said.conversation,
              (long long)said.part, said.part_type, said.begins ? ", begins" : "", said.note ? ", note" : "",
              said.redacted ? ", redacted" : "", said.paragraphs);
    notify_all(sim, desk, said.thread, agents->spoken[agents->count++].name);
    return true;
}

void agents_act(struct sim *sim, int desk, int number)
{
    struct chance c = sim_chance(sim, 'w', (uint64_t)number);
    bool bot = draw_percent(&c, sim->plan.bots);
    int times = draw_percent(&c, 20) ? (int)draw(&c, 2, 4) : 1; // in one breath
    if (bot && draw_percent(&c, 5))
        times = (int)draw(&c, 15, 40); // it talks with another bot
    uint64_t same = chance_next(&c), pick = chance_next(&c);
    for (int i = 0; i < times; i++) {
        struct chance one = sim_chance(sim, 'W', same + (uint64_t)i);
        if (!say(sim, desk, number, i, &one, times > 10 ? pick : chance_next(&one), bot))
            break;
    }
}
