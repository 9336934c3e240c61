// What a desk tells us by its webhook: that conversations have news. It is answered when that is stored.
#include "base/mem.h"
#include "base/must.h"
#include "desk/desk.h"
#include "relay/intake_own.h"

#include <stdlib.h>

// A notice on its way to the store.
struct notice {
    struct job job; // first
    struct intake *intake;
    struct http_exchange *exchange;
    const struct account *account; // counted
    int64_t began_us;              // monotonic
    struct store_news news;
    struct store_change change;
};

static void notice_free(struct notice *notice)
{
    account_unref(notice->account);
    free(notice);
}

static void refuse(struct intake *intake, struct http_exchange *exchange, struct str desk, enum tally_webhook as,
                   int status, const char *title, struct str why)
{
    tally_notice(intake->tally, as, desk);
    intake_answer_problem(exchange, status, title, why);
}

static void on_stored(struct loop_task *task)
{
    struct notice *notice = (struct notice *)((char *)task - offsetof(struct job, task));
    struct intake *intake = notice->intake;
    struct str desk = notice->account->desk.platform;
    tally_time(&intake->tally->webhook, clock_mono_us(intake->clock) - notice->began_us);
    if (notice->job.err) {
        refuse(intake, notice->exchange, desk, TALLY_WEBHOOK_DELAYED, 503, "Service Unavailable",
               STR("it could not be stored; send it again later"));
    } else {
        tally_notice(intake->tally, TALLY_WEBHOOK_TAKEN, desk);
        intake->news(intake->news_arg, notice->account->id, notice->news.desk_conversations, notice->news.count);
        http_exchange_answer(notice->exchange, 200, STR_NONE, NULL, 0, STR(""));
    }
    notice_free(notice);
}

// On the committer's thread or the flusher's.
static void post_back(struct job *job)
{
    must(loop_post(job->owner, &job->task)); // loops outlive the committer
}

// The ids live as long as the exchange.
static void store_news(struct intake *intake, struct http_exchange *exchange, const struct account *account,
                       const struct desk_notice *from)
{
    struct notice *notice = mem_new_of(struct notice);
    notice->intake = intake;
    notice->exchange = exchange;
    notice->account = account_ref(account);
    notice->began_us = clock_mono_us(intake->clock);
    notice->news = (struct store_news){
        .account_id = account->id,
        .desk_conversations = from->conversations,
        .count = from->conversation_count,
        .at_us = clock_wall_us(intake->clock),
    };
    notice->change = (struct store_change){.kind = STORE_NEWS, .news = &notice->news};
    notice->job = (struct job){.kind = JOB_ACCEPT,
                               .changes = &notice->change,
                               .change_count = 1,
                               .done = post_back,
                               .owner = http_exchange_loop(exchange),
                               .task.run = on_stored};
    if (committer_submit(intake->committer, &notice->job))
        return;
    notice_free(notice);
    refuse(intake, exchange, account->desk.platform, TALLY_WEBHOOK_DELAYED, 503, "Service Unavailable",
           STR("too much waits to be stored; send it again"));
}

void intake_take_notice(struct intake *intake, struct http_exchange *exchange, const struct account *account)
{
    const struct http_request *request = http_exchange_request(exchange);
    const struct desk_connector *connector = desk_connector_find(account->desk.platform);
    struct str desk = account->desk.platform;
    struct desk_notice notice = {0};
    if (str_eq(request->method, STR("HEAD"))) { // is somebody there?
        http_exchange_answer(exchange, 200, STR_NONE, NULL, 0, STR(""));
        return;
    }
    if (!connector || !connector->receive) {
        intake_answer_problem(exchange, 404, "Not Found", STR("the desk of this account sends no webhooks here"));
        return;
    }
    connector->receive(&account->desk, request, http_exchange_arena(exchange), &notice);
    switch (notice.kind) {
    case NOTICE_FORGED:
        refuse(intake, exchange, desk, TALLY_WEBHOOK_FORGED, 401, "Unauthorized", notice.why);
        break;
    case NOTICE_MALFORMED:
        refuse(intake, exchange, desk, TALLY_WEBHOOK_REFUSED, 400, "Bad Request", notice.why);
        break;
    case NOTICE_NO_MEMORY:
        refuse(intake, exchange, desk, TALLY_WEBHOOK_DELAYED, 503, "Service Unavailable", notice.why);
        break;
    case NOTICE_OK:
        if (notice.conversation_count) {
            store_news(intake, exchange, account, &notice);
            break;
        }
        tally_notice(intake->tally, TALLY_WEBHOOK_NOTHING, desk);
        http_exchange_answer(exchange, 200, STR_NONE, NULL, 0, STR(""));
        break;
    }
}
