#include "relay/tell.h"

// The first line of each: what is not wanted costs nothing.
static bool is_wanted(struct board *board)
{
    return news_wanted(board_news(board));
}

void tell_accepted(struct board *board, const struct store_accept *accept)
{
    bool joined = accept->result == ACCEPT_JOINED;
    bool stored = accept->result == ACCEPT_STORED || accept->result == ACCEPT_STORED_TWIN;
    if (!is_wanted(board) || !(stored || joined))
        return;
    struct news_item item = {
        .kind = NEWS_MESSAGE_ACCEPTED,
        .account_id = accept->account_id,
        .source_id = accept->source_id,
        .message_id = accept->message_id,
        .lane = accept->lane,
    };
    news_tell(board_news(board), &item);
    if (accept->state != MESSAGE_DISCARDED && !joined)
        return;
    item.kind = NEWS_MESSAGE_DISCARDED; // at once: it says nothing to an agent, or another message says it
    item.word = reason_name(joined ? REASON_JOINED : accept->reason);
    news_tell(board_news(board), &item);
}

static struct news_item item_of(enum news_kind kind, const struct message *message)
{
    return (struct news_item){
        .kind = kind,
        .account_id = message->account_id,
        .source_id = message->source_id,
        .message_id = message->id,
        .lane = message->lane,
    };
}

static enum news_kind kind_of(const struct store_outcome *outcome)
{
    switch (outcome->state) {
    case MESSAGE_DELIVERED:
        return NEWS_MESSAGE_DELIVERED;
    case MESSAGE_SKIPPED:
        return NEWS_MESSAGE_SKIPPED;
    case MESSAGE_DISCARDED:
        return NEWS_MESSAGE_DISCARDED;
    case MESSAGE_PENDING:
        break;
    }
    return outcome->next_attempt_us == MESSAGE_HELD ? NEWS_MESSAGE_HELD : NEWS_MESSAGE_FAILED;
}

void tell_outcome(struct board *board, const struct message *message, const struct store_outcome *outcome)
{
    if (!is_wanted(board))
        return;
    struct news_item item = item_of(kind_of(outcome), message);
    if (item.kind == NEWS_MESSAGE_FAILED && !outcome->verdict)
        return; // called off: as if it had not been tried
    item.attempts = outcome->attempts;
    item.in_doubt = outcome->in_doubt;
    item.word = item.kind == NEWS_MESSAGE_FAILED ? outcome->verdict : reason_name(outcome->reason);
    if (item.kind == NEWS_MESSAGE_FAILED)
        item.until_us = outcome->next_attempt_us;
    news_tell(board_news(board), &item);
}

void tell_retried(struct board *board, const struct message *message)
{
    if (!is_wanted(board))
        return;
    struct news_item item = item_of(NEWS_MESSAGE_RETRIED, message);
    item.in_doubt = message->in_doubt;
    news_tell(board_news(board), &item);
}

void tell_lane_waits(struct board *board, struct lane *lane)
{
    if (!is_wanted(board))
        return;
    const struct message *head = lane_head(lane)->message;
    struct news_item item = item_of(NEWS_LANE_WAITS, head);
    item.attempts = head->attempts;
    item.in_doubt = head->in_doubt;
    item.until_us = head->next_attempt_us;
    news_tell(board_news(board), &item);
}

void tell_desk(struct board *board, const struct desk_state *desk, struct str reason, int64_t until_us)
{
    if (!is_wanted(board))
        return;
    struct news_item item = {
        .kind = desk->suspended ? NEWS_DESK_SUSPENDED : NEWS_DESK_RESUMED,
        .account_id = desk->account->id,
        .source_id = desk->source ? desk->source->id : 0,
        .desk = desk->identity,
        .until_us = until_us,
    };
    news_set(item.text, sizeof item.text, reason);
    news_tell(board_news(board), &item);
}

void tell_source(struct board *board, const struct account *account, const struct source *source,
                 enum source_health health, struct str text)
{
    if (!is_wanted(board))
        return;
    struct news_item item = {
        .kind = NEWS_SOURCE,
        .account_id = account->id,
        .source_id = source->id,
        .word = source_health_name(health),
    };
    news_set(item.text, sizeof item.text, text);
    news_tell(board_news(board), &item);
}

void tell_account(struct board *board, const struct account *before, const struct account *now)
{
    if (!is_wanted(board))
        return;
    struct news_item item = {.kind = NEWS_ACCOUNT_CHANGED, .account_id = now ? now->id : before->id};
    if (!before)
        item.kind = NEWS_ACCOUNT_ADDED;
    else if (!now)
        item.kind = NEWS_ACCOUNT_REMOVED;
    else if (before->active != now->active)
        item.kind = now->active ? NEWS_ACCOUNT_ACTIVATED : NEWS_ACCOUNT_DEACTIVATED;
    news_set(item.subject, sizeof item.subject, now ? now->name : before->name);
    news_tell(board_news(board), &item);
}
