#include "relay/replies.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/must.h"
#include "model/backoff.h"
#include "relay/replies_own.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum {
    MOST_OF_ONE = 16,  // conversations of one account fetched at a time
    MOST_OF_ALL = 128, // and of all
    PAUSE_MS = 1000,   // after a failure, doubled with each
    PAUSE_CAP_MS = 30000,
    MOST_PAUSE_S = 3600,      // that a desk may ask for
    SEARCH_EVERY_MS = 180000, // between searches, and up to a quarter more
    SEARCH_PAUSE_MS = 30000,  // after one that failed, doubled with each
    SEARCH_SOON_MS = 2000,    // after the start, or an activation
    UNKNOWN_MS = 1000,        // until it is asked again whose a conversation is, four times as long with each
    MOST_UNKNOWN = 3,         // and then no more
    MOST_FAILURES = 5,        // of one conversation
    NOW_AND_THEN_MS = 60000,  // it is read again, where the desk is not searched
    FAILURES_TO_TELL = 3,     // in a row, of the desk
};

int64_t replies_now_us(const struct replies *replies)
{
    return clock_wall_us(replies->options.clock);
}

int64_t replies_mono_us(const struct replies *replies)
{
    return clock_mono_us(replies->options.clock);
}

struct replies *replies_new(const struct replies_options *options, const struct replies_ports *ports)
{
    struct replies *replies = mem_new_of(struct replies);
    replies->options = *options;
    replies->ports = *ports;
    chance_init(&replies->chance, options->seed);
    return replies;
}

// ---- news in line ----

static struct thread_news *news_find(struct reader *reader, struct str conversation)
{
    struct thread_news *news = NULL;
    HASH_FIND(hh, reader->news, conversation.p, conversation.n, news);
    return news;
}

static void line_add(struct thread_news *news, bool first)
{
    heap_remove(&news->reader->replies->dues, &news->due.item);
    news->in_line = true;
    news->given_up = false;
    if (first)
        DL_PREPEND(news->reader->line, news);
    else
        DL_APPEND(news->reader->line, news);
}

static void reader_go_on(struct reader *reader);

static void on_news_due(struct reply_due *due)
{
    struct thread_news *news = (struct thread_news *)due;
    line_add(news, false);
    reader_go_on(news->reader);
}

static void line_wait(struct thread_news *news, int64_t pause_ms)
{
    struct replies *replies = news->reader->replies;
    heap_set(&replies->dues, &news->due.item, replies_mono_us(replies) + pause_ms * 1000);
}

static void line_leave(struct thread_news *news)
{
    news->in_line = false;
    DL_DELETE(news->reader->line, news);
}

static void news_add(struct reader *reader, struct str conversation)
{
    struct thread_news *news = news_find(reader, conversation);
    if (!news) {
        news = mem_new_of(struct thread_news);
        news->reader = reader;
        news->due.run = on_news_due;
        news->conversation = (struct str){mem_dup(conversation.p, conversation.n), conversation.n};
        HASH_ADD_KEYPTR(hh, reader->news, news->conversation.p, news->conversation.n, news);
    }
    if (news->fetching)
        news->again = true;
    else if (!news->in_line)
        line_add(news, false);
}

static void thread_news_free(struct thread_news *news)
{
    heap_remove(&news->reader->replies->dues, &news->due.item);
    HASH_DEL(news->reader->news, news);
    free((char *)news->conversation.p);
    free(news);
}

// ---- readers ----

static struct reader *reader_find(struct replies *replies, int64_t account_id)
{
    struct reader *reader = NULL;
    HASH_FIND(hh, replies->readers, &account_id, sizeof account_id, reader);
    return reader;
}

static void on_reader_due(struct reply_due *due)
{
    reader_go_on((struct reader *)due);
}

static struct reader *reader_get(struct replies *replies, int64_t account_id)
{
    struct reader *reader = reader_find(replies, account_id);
    if (reader)
        return reader;
    reader = mem_new_of(struct reader);
    reader->replies = replies;
    reader->account_id = account_id;
    reader->due.run = on_reader_due;
    HASH_ADD(hh, replies->readers, account_id, sizeof reader->account_id, reader);
    return reader;
}

static void reader_free(struct reader *reader)
{
    struct thread_news *news, *next;
    must(!reader->fetching && !reader->search);
    HASH_ITER(hh, reader->news, news, next)
    {
        thread_news_free(news);
    }
    heap_remove(&reader->replies->dues, &reader->due.item);
    HASH_DEL(reader->replies->readers, reader);
    free(reader);
}

static void search_at(struct reader *reader, int64_t pause_ms)
{
    int64_t jitter_ms = (int64_t)(chance_next(&reader->replies->chance) % (uint64_t)(pause_ms / 4 + 1));
    reader->next_search_us = replies_mono_us(reader->replies) + (pause_ms + jitter_ms) * 1000;
}

// The account, when its desk may be read now. Counted.
static const struct account *account_to_read(const struct reader *reader)
{
    const struct account *account = directory_find_id(reader->replies->options.directory, reader->account_id);
    const struct desk_connector *connector = account ? desk_connector_find(account->desk.platform) : NULL;
    if (account && account->active && connector && connector->fetch)
        return account;
    account_unref(account);
    return NULL;
}

static bool may_fetch(const struct reader *reader)
{
    return reader->line && reader->fetching < MOST_OF_ONE && reader->replies->fetching < MOST_OF_ALL;
}

static void set_due(struct reader *reader)
{
    struct replies *replies = reader->replies;
    int64_t at_us = INT64_MAX;
    if (reader->line && reader->not_before_us > replies_mono_us(replies))
        at_us = reader->not_before_us;
    if (reader->searches && !reader->search) {
        int64_t search_us = reader->next_search_us;
        if (search_us < reader->not_before_us)
            search_us = reader->not_before_us;
        at_us = search_us < at_us ? search_us : at_us;
    }
    if (at_us == INT64_MAX)
        heap_remove(&replies->dues, &reader->due.item);
    else
        heap_set(&replies->dues, &reader->due.item, at_us);
}

static void read_what_may(struct reader *reader, const struct account *account)
{
    const struct desk_connector *connector = desk_connector_find(account->desk.platform);
    while (may_fetch(reader)) {
        struct thread_news *news = reader->line;
        line_leave(news);
        news->fetching = true;
        news->again = false;
        reader->fetching++;
        reader->replies->fetching++;
        fetch_begin(news, account);
    }
    if (reader->searches && !reader->search && connector->search &&
        reader->next_search_us <= replies_mono_us(reader->replies))
        search_begin(reader, account);
}

static void reader_go_on(struct reader *reader)
{
    struct replies *replies = reader->replies;
    const struct account *account = replies->stopping ? NULL : account_to_read(reader);
    bool paused = reader->not_before_us > replies_mono_us(replies);
    if (account && !paused)
        read_what_may(reader, account);
    if (account)
        set_due(reader);
    else
        heap_remove(&replies->dues, &reader->due.item);
    account_unref(account);
}

static void arm(struct replies *replies)
{
    struct heap_item *top = heap_top(&replies->dues);
    replies->ports.arm(replies->ports.arg, top ? top->at : 0);
}

// A place among MOST_OF_ALL may be free: whoever waits for one.
static void go_on_all(struct replies *replies)
{
    struct reader *reader, *next;
    if (replies->fetching != MOST_OF_ALL - 1) // it was not full
        return;
    HASH_ITER(hh, replies->readers, reader, next)
    {
        if (reader->line)
            reader_go_on(reader);
    }
}

static void go_on(struct reader *reader)
{
    reader_go_on(reader);
    go_on_all(reader->replies);
    arm(reader->replies);
}

// ---- what became of it ----

static struct str name_of(const struct account *account)
{
    return account ? account->name : STR("");
}

// `failures`: those that have ended, of reading or of searching.
static void end_failures(const struct reader *reader, int *failures)
{
    if (*failures >= FAILURES_TO_TELL) {
        const struct account *account = directory_find_id(reader->replies->options.directory, reader->account_id);
        board_alarm_end(reader->replies->options.board, "replies_unread", name_of(account));
        account_unref(account);
    }
    *failures = 0;
}

static void hold_until(struct reader *reader, int64_t until_us)
{
    if (reader->not_before_us < until_us)
        reader->not_before_us = until_us;
}

static void tell_failure(const struct reader *reader, int status)
{
    struct replies *replies = reader->replies;
    const struct account *account = directory_find_id(replies->options.directory, reader->account_id);
    log_warn("replies_unread", LOG_S("account", name_of(account)), LOG_N("status", status),
             LOG_N("failures", reader->failures));
    if (reader->failures == FAILURES_TO_TELL && account)
        board_alarm(replies->options.board, "replies_unread", account->name,
                    STR("the desk does not let us read what agents answer: it is tried again, nothing is lost"));
    account_unref(account);
}

// The desk, not the one conversation: all wait. What was asked before the pause, and fails in it, is the same failure.
static void pause_reading(struct reader *reader, const struct verdict *verdict)
{
    struct replies *replies = reader->replies;
    int64_t now_us = replies_mono_us(replies);
    int64_t asked_us = verdict->until_us ? verdict->until_us - replies_now_us(replies) : 0;
    if (asked_us > MOST_PAUSE_S * INT64_C(1000000))
        asked_us = MOST_PAUSE_S * INT64_C(1000000);
    if (reader->not_before_us <= now_us) {
        reader->failures++;
        hold_until(reader, now_us + backoff_pause(PAUSE_MS, PAUSE_CAP_MS, reader->failures, &replies->chance) * 1000);
        tell_failure(reader, verdict->status);
    }
    hold_until(reader, now_us + asked_us);
}

static void leave_desk(struct thread_news *news)
{
    struct reader *reader = news->reader;
    news->fetching = false;
    reader->fetching--;
    reader->replies->fetching--;
}

// What bots said lately is remembered for a while.
static bool is_remembered(const struct thread_news *news)
{
    int64_t age_us = replies_mono_us(news->reader->replies) - news->guarded_us;
    return news->guard.count && age_us < BOT_GUARD_S * INT64_C(1000000);
}

// And what was given up may be readable by now.
static void forget_old(struct reader *reader)
{
    struct thread_news *news, *next;
    HASH_ITER(hh, reader->news, news, next)
    {
        bool rests = !news->in_line && !news->fetching && !news->due.item.index;
        if (news->given_up)
            line_add(news, false);
        else if (rests && !is_remembered(news))
            thread_news_free(news);
    }
}

static void end_news(struct thread_news *news)
{
    news->unknown = 0;
    if (news->again)
        line_add(news, false);
    else if (!is_remembered(news))
        thread_news_free(news);
}

void reader_fetched(struct thread_news *news)
{
    struct reader *reader = news->reader;
    leave_desk(news);
    end_failures(reader, &reader->failures); // a pause that others began stays
    news->failures = 0;
    if (!news->due.item.index) // else it waits for its owner
        end_news(news);
    go_on(reader);
}

bool reader_waits_for_owner(struct thread_news *news)
{
    if (news->unknown >= MOST_UNKNOWN)
        return false;
    line_wait(news, (int64_t)UNKNOWN_MS << 2 * news->unknown++);
    return true;
}

// It alone cannot be read: after some tries it waits for the next notice, search or start.
static void fail_alone(struct thread_news *news)
{
    if (++news->failures < MOST_FAILURES) {
        line_add(news, false);
        return;
    }
    log_error("reply_fetch_given_up", LOG_N("account_id", news->reader->account_id),
              LOG_S("desk_conversation", news->conversation));
    news->failures = 0;
    news->given_up = true;
    if (!news->reader->searches)
        line_wait(news, NOW_AND_THEN_MS); // no search comes by
}

void reader_failed(struct thread_news *news, const struct verdict *verdict)
{
    struct reader *reader = news->reader;
    leave_desk(news);
    if (verdict->kind == VERDICT_RETRY || verdict->kind == VERDICT_REJECTED)
        fail_alone(news);
    else
        line_add(news, true);
    if (!reader->replies->stopping)
        pause_reading(reader, verdict);
    go_on(reader);
}

// What agents answer is read all the same, where a notice tells of it.
static void search_fails_alone(struct reader *reader, int status)
{
    struct replies *replies = reader->replies;
    const struct account *account = directory_find_id(replies->options.directory, reader->account_id);
    search_at(reader, backoff_pause(SEARCH_PAUSE_MS, SEARCH_EVERY_MS, ++reader->search_failures, &replies->chance));
    log_warn("replies_unsearched", LOG_S("account", name_of(account)), LOG_N("status", status),
             LOG_N("failures", reader->search_failures));
    if (reader->search_failures >= FAILURES_TO_TELL && account)
        board_alarm(replies->options.board, "replies_unread", account->name,
                    STR("the desk cannot be searched for answers of agents that it did not tell us of: it is tried "
                        "again, nothing is lost"));
    account_unref(account);
}

void reader_searched(struct reader *reader, int64_t until_s)
{
    reader->search = NULL;
    reader->searched_s = until_s;
    end_failures(reader, &reader->failures);
    end_failures(reader, &reader->search_failures);
    forget_old(reader);
    search_at(reader, SEARCH_EVERY_MS);
    go_on(reader);
}

void reader_search_failed(struct reader *reader, const struct verdict *verdict)
{
    bool alone = verdict->kind == VERDICT_RETRY || verdict->kind == VERDICT_REJECTED;
    reader->search = NULL;
    if (alone)
        search_fails_alone(reader, verdict->status);
    else if (!reader->replies->stopping)
        pause_reading(reader, verdict);
    go_on(reader);
}

// ---- events from outside ----

void replies_restore_news(struct replies *replies, int64_t account_id, struct str desk_conversation)
{
    news_add(reader_get(replies, account_id), desk_conversation);
}

static void begin_searching(struct reader *reader, int64_t searched_s, int64_t pause_ms)
{
    reader->searches = true;
    reader->searched_s = searched_s;
    search_at(reader, pause_ms);
}

void replies_restore_searched(struct replies *replies, const struct store_searched *searched)
{
    begin_searching(reader_get(replies, searched->account_id), searched->until_s, SEARCH_SOON_MS);
}

void replies_start(struct replies *replies)
{
    struct reader *reader, *next;
    HASH_ITER(hh, replies->readers, reader, next)
    {
        reader_go_on(reader);
    }
    arm(replies);
}

void replies_news(struct replies *replies, int64_t account_id, const struct str *desk_conversations, size_t count)
{
    struct reader *reader = count ? reader_get(replies, account_id) : NULL;
    const struct account *account = reader ? account_to_read(reader) : NULL;
    for (size_t i = 0; account && i < count; i++) // of an inactive one the store keeps them
        news_add(reader, desk_conversations[i]);
    account_unref(account);
    if (reader)
        go_on(reader);
}

void replies_linked(struct replies *replies, int64_t account_id)
{
    struct reader *reader = reader_get(replies, account_id);
    if (reader->searches)
        return;
    begin_searching(reader, replies_now_us(replies) / 1000000, SEARCH_EVERY_MS);
    go_on(reader);
}

static bool same_desk(const struct account *a, const struct account *b)
{
    return desk_identity(&a->desk) == desk_identity(&b->desk);
}

void replies_account_changed(struct replies *replies, const struct account *before, const struct account *now)
{
    struct reader *reader = reader_find(replies, now->id);
    if (!reader || replies->stopping)
        return;
    bool another = before && (!before->active || !same_desk(before, now));
    if (!now->active || another) {
        board_alarm_end(replies->options.board, "replies_unread", now->name);
        reader->failures = reader->search_failures = 0;
    }
    if (now->active && another) {
        reader->not_before_us = 0;
        search_at(reader, SEARCH_SOON_MS); // finds what came while it was inactive
    }
    go_on(reader);
}

void replies_tick(struct replies *replies)
{
    int64_t now_us = replies_mono_us(replies);
    for (struct heap_item *top; (top = heap_top(&replies->dues)) && top->at <= now_us;) {
        struct reply_due *due = (struct reply_due *)top;
        heap_remove(&replies->dues, top);
        due->run(due);
    }
    arm(replies);
}

void replies_stop(struct replies *replies)
{
    replies->stopping = true;
    fetches_cancel(replies);
    struct reader *reader, *next;
    HASH_ITER(hh, replies->readers, reader, next)
    {
        search_cancel(reader);
        heap_remove(&replies->dues, &reader->due.item);
    }
    arm(replies);
}

void replies_free(struct replies *replies)
{
    if (!replies)
        return;
    must(!replies->fetches);
    struct reader *reader, *next;
    HASH_ITER(hh, replies->readers, reader, next)
    {
        reader_free(reader);
    }
    heap_done(&replies->dues);
    free(replies);
}
