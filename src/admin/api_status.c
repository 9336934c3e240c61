// GET /api/v1/status and /readyz.
#include "admin/view.h"

enum { LISTED_MAX = 1000 }; // of accounts, desks, sources and alarms each; /api/v1/accounts has all, page by page

void api_ready_get(struct api_call *call)
{
    const struct admin_options *options = admin_of(call);
    if (relay_is_ready(options->relay))
        api_answer(call, 200, STR("text/plain; charset=utf-8"), STR("ready\n"));
    else
        api_problem(call, 503, "Webhooks would not be stored now; the log and the alarms say why.");
}

static void write_totals(struct json *json, const struct store_totals *totals, int64_t now_us)
{
    int64_t age_us = totals->oldest_pending_us ? now_us - totals->oldest_pending_us : 0;
    json_key_int(json, "accepted", totals->accepted);
    json_key_int(json, "delivered", totals->delivered);
    json_key_int(json, "pending", totals->pending);
    json_key_int(json, "skipped", totals->skipped);
    json_key_int(json, "discarded", totals->discarded);
    json_key_int(json, "in_doubt", totals->in_doubt);
    json_key_int(json, "lanes_waiting", totals->lanes_waiting);
    json_key(json, "oldest_pending_s");
    int64_t age_ms = age_us / 1000;
    json_num(json, age_ms > 0 ? (double)age_ms / 1000 : 0);
}

// Alarms being written: the oldest LISTED_MAX, and how many there are.
struct alarms {
    struct json *json;
    int64_t count;
};

static void on_alarm(void *arg, const struct board_alarm_line *line)
{
    struct alarms *alarms = arg;
    struct json *json = alarms->json;
    if (alarms->count++ >= LISTED_MAX)
        return;
    json_open(json, '{');
    json_key_str(json, "name", str_of(line->name));
    json_key_str(json, "subject", line->subject);
    json_key_str(json, "text", line->text);
    json_key_time(json, "since", line->since_us);
    json_close(json, '}');
}

static void write_alarms(struct json *json, struct board *board)
{
    struct alarms alarms = {.json = json};
    json_key(json, "alarms");
    json_open(json, '[');
    board_each_alarm(board, on_alarm, &alarms);
    json_close(json, ']');
    json_key_int(json, "alarms_total", alarms.count);
}

static void write_account(struct json *json, struct api_call *call, const struct account *account,
                          const struct account_counts *counts)
{
    json_open(json, '{');
    json_key_str(json, "name", account->name);
    json_key_bool(json, "active", account->active);
    json_key_str(json, "order", str_of(order_rule_name(account->order)));
    json_key_bool(json, "order_changing", account->order_barrier != 0);
    json_key_int(json, "pending", counts->pending);
    json_key_int(json, "file_bytes", counts->file_bytes);
    json_key_str(json, "defined_at", account->defined_at);
    json_key_bool(json, "left_file", account->left_file);
    json_key_bool(json, "busy_lane", view_busy_percent(call, account) > BUSY_PERCENT);
    json_close(json, '}');
}

static void write_desk(struct json *json, struct api_call *call, const struct account *account)
{
    json_open(json, '{');
    json_key_str(json, "account", account->name);
    json_key_str(json, "platform", account->desk.platform);
    view_desk_health(json, call, &account->desk);
    json_close(json, '}');
}

static void write_sources(struct json *json, struct api_call *call, const struct account *account)
{
    for (size_t i = 0; i < account->source_count; i++) {
        const struct source *source = &account->sources[i];
        json_open(json, '{');
        json_key_str(json, "account", account->name);
        json_key_str(json, "name", source->name);
        json_key_str(json, "platform", source->platform);
        view_source_health(json, call, source);
        json_close(json, '}');
    }
}

static void write_accounts(struct json *json, struct api_call *call, const struct account **accounts, size_t count,
                           const struct view_pending *pending)
{
    json_key(json, "accounts");
    json_open(json, '[');
    for (size_t i = 0; i < count; i++)
        write_account(json, call, accounts[i], view_counts_of(pending, accounts[i]->id));
    json_close(json, ']');
    json_key(json, "desks");
    json_open(json, '[');
    for (size_t i = 0; i < count; i++)
        write_desk(json, call, accounts[i]);
    json_close(json, ']');
    json_key(json, "sources");
    json_open(json, '[');
    for (size_t i = 0; i < count; i++)
        write_sources(json, call, accounts[i]);
    json_close(json, ']');
}

static void write_status(struct json *json, struct api_call *call, const struct store_totals *totals,
                         const struct view_pending *pending)
{
    const struct admin_options *options = admin_of(call);
    const struct account *accounts[LISTED_MAX];
    size_t count = directory_page(options->directory, STR_NONE, LISTED_MAX, accounts);
    json_open(json, '{');
    write_totals(json, totals, clock_wall_us(options->clock));
    json_key_bool(json, "ready", relay_is_ready(options->relay));
    json_key_str(json, "version", STR(TRIBUTARY_VERSION));
    json_key_time(json, "started_at", admin_started_us(call));
    json_key_int(json, "accounts_total", (int64_t)directory_count(options->directory));
    json_key_int(json, "desks_suspended", board_desks_suspended(options->board));
    json_key_int(json, "event_listeners", (int64_t)events_listeners(admin_events(call)));
    write_alarms(json, options->board);
    write_accounts(json, call, accounts, count, pending);
    json_close(json, '}');
    for (size_t i = 0; i < count; i++)
        account_unref(accounts[i]);
}

void api_status_get(struct api_call *call)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct store_totals totals = {0};
    struct view_pending pending;
    struct api_json answer;
    int err = reader->ops->totals(reader, &totals);
    if (!err)
        err = view_pending_read(call, &pending);
    if (err) {
        api_problem_err(call, err);
        return;
    }
    write_status(api_json_begin(&answer), call, &totals, &pending);
    api_json_send(call, 200, &answer);
}
