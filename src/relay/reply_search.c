// One search of an account's desk for conversations with news that no notice told of.
#include "base/mem.h"
#include "relay/replies_own.h"

#include <stdlib.h>

enum {
    OVERLAP_S = 300,      // the desk's index may be behind by minutes
    MOST_REQUESTS = 1000, // of one search: a desk may have to begin again, with less at a time
};

struct reply_search {
    struct job job; // first
    struct reader *reader;
    const struct account *account; // counted
    const struct desk_connector *connector;
    struct arena arena;
    struct desk_search steps;
    int requests;
    void *call;
    struct store_searched searched;
    struct store_news news;
    struct store_change changes[2];
};

static void search_free(struct reply_search *search)
{
    account_unref(search->account);
    arena_done(&search->arena);
    free(search);
}

static void end_failed(struct reply_search *search, struct verdict verdict)
{
    struct reader *reader = search->reader;
    verdict.error = STR_NONE; // of the arena
    search_free(search);
    reader_search_failed(reader, &verdict);
}

static void on_stored(struct loop_task *task)
{
    struct reply_search *search = (struct reply_search *)((char *)task - offsetof(struct job, task));
    if (search->job.err) {
        end_failed(search, (struct verdict){.kind = VERDICT_DESK_DOWN});
        return;
    }
    struct reader *reader = search->reader;
    int64_t account_id = reader->account_id;
    struct replies *replies = reader->replies;
    replies_news(replies, account_id, search->news.desk_conversations, search->news.count);
    int64_t until_s = search->searched.until_s;
    search_free(search);
    reader_searched(reader, until_s);
}

// What it found is news like those of a notice: kept until it is fetched.
static void store(struct reply_search *search)
{
    struct replies *replies = search->reader->replies;
    search->searched.until_s = search->steps.until_s;
    search->searched.account_id = search->news.account_id = search->account->id;
    search->news.desk_conversations = search->steps.conversations;
    search->news.count = search->steps.conversation_count;
    search->news.at_us = replies_now_us(replies);
    search->changes[0] = (struct store_change){.kind = STORE_NEWS, .news = &search->news};
    search->changes[1] = (struct store_change){.kind = STORE_SEARCHED, .searched = &search->searched};
    search->job = (struct job){
        .kind = JOB_CHANGES, .changes = search->changes, .change_count = 2, .task.run = on_stored};
    if (!replies->ports.submit(replies->ports.arg, &search->job))
        end_failed(search, (struct verdict){.kind = VERDICT_DESK_DOWN});
}

static void go_on(struct reply_search *search, const struct http_response *last);

static void on_answer(void *arg, const struct http_response *last)
{
    struct reply_search *search = arg;
    search->call = NULL;
    if (last->failure == HTTP_CANCELLED)
        end_failed(search, (struct verdict){.kind = VERDICT_WAIT});
    else
        go_on(search, last);
}

static void go_on(struct reply_search *search, const struct http_response *last)
{
    struct replies *replies = search->reader->replies;
    struct http_request request = {0};
    search->steps.now_us = replies_now_us(replies);
    if (!search->connector->search(&search->steps, last, &request)) {
        if (search->steps.verdict.kind == VERDICT_DELIVERED)
            store(search);
        else
            end_failed(search, search->steps.verdict);
    } else if (search->requests++ >= MOST_REQUESTS) {
        end_failed(search, (struct verdict){.kind = VERDICT_RETRY});
    } else {
        search->call = replies->ports.send(replies->ports.arg, &request, replies->options.timeout_ms, on_answer,
                                           search);
    }
}

void search_begin(struct reader *reader, const struct account *account)
{
    struct reply_search *search = mem_new_of(struct reply_search);
    search->reader = reader;
    search->account = account_ref(account);
    search->connector = desk_connector_find(account->desk.platform);
    int64_t now_s = replies_now_us(reader->replies) / 1000000, since_s = reader->searched_s;
    if (since_s > now_s) // the clock was ahead then
        since_s = now_s;
    search->steps = (struct desk_search){
        .account = search->account, .since_s = since_s - OVERLAP_S, .arena = &search->arena};
    reader->search = search;
    go_on(search, NULL);
}

void search_cancel(struct reader *reader)
{
    if (reader->search && reader->search->call)
        reader->replies->ports.cancel(reader->replies->ports.arg, reader->search->call);
}
