#include "relay/board.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { KEY_SIZE = 256 }; // a name, and two names of at most 63 bytes

struct alarm {
    const char *name;
    char *key; // "NAME SUBJECT"
    char *subject, *text;
    int64_t since_us;
    struct alarm *prev, *next; // oldest first
    UT_hash_handle hh;
};

// A desk that is suspended, or a source with something to say.
struct state {
    uint64_t key;
    int health; // of a source
    char *text;
    int64_t at_us;    // until (desk), since (source)
    int64_t since_us; // of a desk
    UT_hash_handle hh;
};

struct board {
    pthread_mutex_t lock;
    struct alarm *alarms, *alarms_by_key;
    atomic_int alarm_count; // nearly always none, and then ending one, which is done for every message, takes no lock
    struct state *desks, *sources;
    struct busy *busy;
    struct news *news;
};

const char *const board_alarm_names[] = {
    "bot_refuses", "desk_refuses",  "desk_unproven",  "disk_full",      "files_full",    "lane_held",
    "order_waits", "quota_files",   "quota_waiting",  "replies_unread", "skip_guard",    "source_refused",
    "store_busy",  "store_damaged", "store_log_long", "store_moved",    "webhook_clock", NULL,
};

struct board *board_new(void)
{
    struct board *board = mem_new_of(struct board);
    pthread_mutex_init(&board->lock, NULL);
    board->busy = busy_new();
    board->news = news_new();
    return board;
}

struct news *board_news(struct board *board)
{
    return board->news;
}

static void drop_alarm(struct board *board, struct alarm *alarm)
{
    DL_DELETE(board->alarms, alarm);
    HASH_DEL(board->alarms_by_key, alarm);
    atomic_fetch_sub(&board->alarm_count, 1);
    free(alarm->key);
    free(alarm->subject);
    free(alarm->text);
    free(alarm);
}

static void free_states(struct state **states)
{
    struct state *state, *next;
    HASH_ITER(hh, *states, state, next)
    {
        HASH_DEL(*states, state);
        free(state->text);
        free(state);
    }
}

void board_free(struct board *board)
{
    if (!board)
        return;
    struct alarm *alarm, *next;
    DL_FOREACH_SAFE(board->alarms, alarm, next)
    {
        drop_alarm(board, alarm);
    }
    free_states(&board->desks);
    free_states(&board->sources);
    busy_free(board->busy);
    news_free(board->news);
    pthread_mutex_destroy(&board->lock);
    free(board);
}

static void write_key(char out[KEY_SIZE], const char *name, struct str subject)
{
    snprintf(out, KEY_SIZE, "%s %.*s", name, STR_ARG(subject));
}

static struct alarm *find_alarm(struct board *board, const char *name, struct str subject)
{
    struct alarm *alarm = NULL;
    char key[KEY_SIZE];
    write_key(key, name, subject);
    HASH_FIND_STR(board->alarms_by_key, key, alarm);
    return alarm;
}

static void set_text(char **text, struct str to)
{
    free(*text);
    *text = mem_dup(to.p, to.n);
}

#if TRIBUTARY_CHECKS
static bool is_alarm_name(const char *name)
{
    size_t i = 0;
    while (board_alarm_names[i] && strcmp(board_alarm_names[i], name) != 0)
        i++;
    return board_alarm_names[i] != NULL;
}
#endif

void board_alarm(struct board *board, const char *name, struct str subject, struct str text)
{
    pthread_mutex_lock(&board->lock);
    struct alarm *alarm = find_alarm(board, name, subject);
    bool begins = !alarm;
#if TRIBUTARY_CHECKS
    must(is_alarm_name(name));
#endif
    if (begins) {
        alarm = mem_new_of(struct alarm);
        alarm->name = name;
        alarm->since_us = clock_wall_us(&clock_system);
        set_text(&alarm->subject, subject);
        alarm->key = mem_new(KEY_SIZE);
        write_key(alarm->key, name, subject);
        DL_APPEND(board->alarms, alarm);
        atomic_fetch_add(&board->alarm_count, 1);
        HASH_ADD_KEYPTR(hh, board->alarms_by_key, alarm->key, strlen(alarm->key), alarm);
    }
    set_text(&alarm->text, text);
    pthread_mutex_unlock(&board->lock);
    if (!begins)
        return;
    log_error("alarm", LOG_C("name", name), LOG_S("subject", subject), LOG_S("text", text));
    news_tell_of(board->news, NEWS_ALARM, name, subject, text);
}

void board_alarm_end(struct board *board, const char *name, struct str subject)
{
    if (!atomic_load(&board->alarm_count))
        return;
    pthread_mutex_lock(&board->lock);
    struct alarm *alarm = find_alarm(board, name, subject);
    bool stood = alarm != NULL;
    if (stood)
        drop_alarm(board, alarm);
    pthread_mutex_unlock(&board->lock);
    if (!stood)
        return;
    log_error("alarm_end", LOG_C("name", name), LOG_S("subject", subject));
    news_tell_of(board->news, NEWS_ALARM_END, name, subject, STR_NONE);
}

void board_each_alarm(struct board *board, void (*each)(void *arg, const struct board_alarm_line *line), void *arg)
{
    pthread_mutex_lock(&board->lock);
    struct alarm *alarm;
    DL_FOREACH(board->alarms, alarm)
    {
        each(arg,
             &(struct board_alarm_line){alarm->name, str_of(alarm->subject), str_of(alarm->text), alarm->since_us});
    }
    pthread_mutex_unlock(&board->lock);
}

static struct state *find_state(struct state *states, uint64_t key)
{
    struct state *state = NULL;
    HASH_FIND(hh, states, &key, sizeof key, state);
    return state;
}

static struct state *get_state(struct state **states, uint64_t key)
{
    struct state *state = find_state(*states, key);
    if (!state) {
        state = mem_new_of(struct state);
        state->key = key;
        HASH_ADD(hh, *states, key, sizeof state->key, state);
    }
    return state;
}

void board_desk_set(struct board *board, uint64_t desk, const struct board_desk *to)
{
    pthread_mutex_lock(&board->lock);
    if (to->suspended) {
        struct state *state = get_state(&board->desks, desk);
        set_text(&state->text, to->reason);
        state->at_us = to->until_us;
        if (!state->since_us)
            state->since_us = clock_wall_us(&clock_system);
    } else {
        struct state *state = find_state(board->desks, desk);
        if (state) {
            HASH_DEL(board->desks, state);
            free(state->text);
            free(state);
        }
    }
    pthread_mutex_unlock(&board->lock);
}

static struct str copy_text(const char *text, char *out, size_t size)
{
    snprintf(out, size, "%s", text ? text : "");
    return str_of(out);
}

void board_desk_get(struct board *board, uint64_t desk, struct board_desk *out, char *reason_text, size_t size)
{
    pthread_mutex_lock(&board->lock);
    struct state *state = find_state(board->desks, desk);
    *out = (struct board_desk){
        .suspended = state != NULL,
        .reason = copy_text(state ? state->text : "", reason_text, size),
        .until_us = state ? state->at_us : 0,
        .since_us = state ? state->since_us : 0,
    };
    pthread_mutex_unlock(&board->lock);
}

struct busy *board_busy(struct board *board)
{
    return board->busy;
}

int board_desks_suspended(struct board *board)
{
    pthread_mutex_lock(&board->lock);
    int count = (int)HASH_COUNT(board->desks);
    pthread_mutex_unlock(&board->lock);
    return count;
}

bool board_source_set(struct board *board, int64_t source_id, enum source_health health, struct str text)
{
    pthread_mutex_lock(&board->lock);
    struct state *state = get_state(&board->sources, (uint64_t)source_id);
    bool changed = state->health != (int)health || !state->at_us;
    if (changed)
        state->at_us = clock_wall_us(&clock_system);
    state->health = (int)health;
    set_text(&state->text, text);
    pthread_mutex_unlock(&board->lock);
    return changed;
}

void board_source_get(struct board *board, int64_t source_id, struct board_source *out, char *text, size_t size)
{
    pthread_mutex_lock(&board->lock);
    struct state *state = find_state(board->sources, (uint64_t)source_id);
    *out = (struct board_source){
        .health = state ? (enum source_health)state->health : SOURCE_WELL,
        .text = copy_text(state ? state->text : "", text, size),
        .since_us = state ? state->at_us : 0,
    };
    pthread_mutex_unlock(&board->lock);
}

const char *source_health_name(enum source_health health)
{
    static const char *const names[] = {"starting", "well", "trouble", "refused"};
    must((size_t)health < sizeof names / sizeof *names);
    return names[health];
}
