// GET /metrics: Prometheus text. Labels come from the registries and from fixed words only, so there is a bounded number of series.
#include "admin/api.h"
#include "desk/desk.h"
#include "model/verdict.h"
#include "platform/platform.h"

#include <inttypes.h>
#include <string.h>

enum { ALARM_NAMES_MAX = 64 };

static uint64_t load(const atomic_uint_fast64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_messages(struct buf *out, const struct tally *tally)
{
    for (int event = 0; event < TALLY_EVENTS; event++) {
        const char *word = tally_event_name((enum tally_event)event);
        char name[96];
        snprintf(name, sizeof name, "tributary_messages_%s_total", word);
        buf_printf(out, "# HELP %s Messages %s since the start.\n# TYPE %s counter\n", name, word, name);
        for (size_t i = 0; i < TALLY_PLATFORMS && platforms[i]; i++)
            for (int d = INBOUND; d <= NOTE; d++)
                buf_printf(out, "%s{platform=\"%s\",direction=\"%s\"} %" PRIu64 "\n", name, platforms[i]->name,
                           direction_name((enum direction)d), load(&tally->messages[event][i][d]));
    }
}

static void write_webhooks(struct buf *out, const struct tally *tally)
{
    head(out, "tributary_webhooks_total", "counter",
         "Webhooks of known sources since the start, by what they were answered for.");
    for (size_t i = 0; i < TALLY_PLATFORMS && platforms[i]; i++)
        for (int a = 0; a < TALLY_WEBHOOKS; a++)
            buf_printf(out, "tributary_webhooks_total{platform=\"%s\",answer=\"%s\"} %" PRIu64 "\n", platforms[i]->name,
                       tally_webhook_name((enum tally_webhook)a), load(&tally->webhooks[a][i]));
}

static void write_attempts_of(struct buf *out, const char *receiver, const atomic_uint_fast64_t *by_verdict)
{
    for (int v = 0; v <= VERDICT_DESK_DOWN; v++)
        buf_printf(out, "tributary_attempts_total{desk=\"%s\",verdict=\"%s\"} %" PRIu64 "\n", receiver,
                   verdict_kind_name((enum verdict_kind)v), load(&by_verdict[v]));
}

static void write_notices(struct buf *out, const struct tally *tally)
{
    head(out, "tributary_notices_total", "counter",
         "Webhooks of desks since the start, by what they were answered for.");
    for (size_t i = 0; i < TALLY_DESKS && desk_connectors[i]; i++)
        for (int a = 0; desk_connectors[i]->receive && a < TALLY_WEBHOOKS; a++)
            buf_printf(out, "tributary_notices_total{desk=\"%s\",answer=\"%s\"} %" PRIu64 "\n",
                       desk_connectors[i]->receiver.name, tally_webhook_name((enum tally_webhook)a),
                       load(&tally->notices[a][i]));
}

static void write_attempts(struct buf *out, const struct tally *tally)
{
    head(out, "tributary_attempts_total", "counter",
         "Attempts at delivery since the start, to desks and, of replies, to platforms, by what became of them.");
    for (size_t i = 0; i < TALLY_DESKS && desk_connectors[i]; i++)
        write_attempts_of(out, desk_connectors[i]->receiver.name, tally->attempts[i]);
    for (size_t i = 0; i < TALLY_PLATFORMS && platforms[i]; i++)
        if (platforms[i]->receiver)
            write_attempts_of(out, platforms[i]->receiver->name, tally->sends[i]);
    head(out, "tributary_in_doubt_total", "counter", "Messages in doubt, by how that ended.");
    for (int o = 0; o < DOUBT_OUTCOMES; o++)
        buf_printf(out, "tributary_in_doubt_total{outcome=\"%s\"} %" PRIu64 "\n", tally_doubt_name((enum tally_doubt)o),
                   load(&tally->in_doubt[o]));
}

static void write_files(struct buf *out, const struct tally *tally)
{
    head(out, "tributary_files_total", "counter",
         "Tries to fetch files of messages since the start, by what became of them.");
    for (int e = 0; e < TALLY_FILES; e++)
        buf_printf(out, "tributary_files_total{outcome=\"%s\"} %" PRIu64 "\n", tally_file_name((enum tally_file)e),
                   load(&tally->files[e]));
    head(out, "tributary_file_bytes_total", "counter", "Bytes of files that were fetched and kept since the start.");
    buf_printf(out, "tributary_file_bytes_total %" PRIu64 "\n", load(&tally->file_bytes));
}

static void write_histogram(struct buf *out, const struct tally_histogram *histogram, const char *name,
                            const char *help)
{
    uint64_t below = 0;
    head(out, name, "histogram", help);
    for (int i = 0; i < TALLY_BUCKETS - 1; i++) {
        below += load(&histogram->buckets[i]);
        buf_printf(out, "%s_bucket{le=\"%.4f\"} %" PRIu64 "\n", name, (double)tally_bucket_us(i) / 1e6, below);
    }
    below += load(&histogram->buckets[TALLY_BUCKETS - 1]);
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, below);
    buf_printf(out, "%s_sum %.6f\n%s_count %" PRIu64 "\n", name, (double)load(&histogram->sum_us) / 1e6, name, below);
}

static void write_gauge(struct buf *out, const char *name, const char *help, double value)
{
    head(out, name, "gauge", help);
    buf_printf(out, "%s %.10g\n", name, value);
}

// How often each name of an alarm stands: a series for each of board_alarm_names, 0 or not, and no others.
struct alarms {
    int counts[ALARM_NAMES_MAX];
};

static void on_alarm(void *arg, const struct board_alarm_line *line)
{
    struct alarms *alarms = arg;
    for (size_t i = 0; i < ALARM_NAMES_MAX && board_alarm_names[i]; i++)
        alarms->counts[i] += strcmp(board_alarm_names[i], line->name) == 0;
}

static void write_board(struct buf *out, struct board *board)
{
    struct alarms alarms = {0};
    write_gauge(out, "tributary_desk_suspended", "Desks, and bots that take replies, that are suspended now.",
                board_desks_suspended(board));
    board_each_alarm(board, on_alarm, &alarms);
    head(out, "tributary_alarm", "gauge", "Alarms that stand now, by name.");
    for (size_t i = 0; i < ALARM_NAMES_MAX && board_alarm_names[i]; i++)
        buf_printf(out, "tributary_alarm{name=\"%s\"} %d\n", board_alarm_names[i], alarms.counts[i]);
}

// The store may be slow; what is counted in memory is shown all the same.
static void write_store(struct buf *out, const struct admin_options *options)
{
    struct store_totals totals;
    if (options->reader->ops->totals(options->reader, &totals))
        return;
    int64_t age_us = totals.oldest_pending_us ? clock_wall_us(options->clock) - totals.oldest_pending_us : 0;
    write_gauge(out, "tributary_messages_pending", "Messages that wait to be delivered.", (double)totals.pending);
    write_gauge(out, "tributary_oldest_pending_seconds", "How long the oldest of them has been waiting.",
                age_us > 0 ? (double)age_us / 1e6 : 0);
}

void api_metrics_get(struct api_call *call)
{
    const struct admin_options *options = admin_of(call);
    struct buf out;
    buf_init(&out, API_ANSWER_MAX);
    head(&out, "tributary_build_info", "gauge", "1; the version is a label.");
    buf_add_str(&out, STR("tributary_build_info{version=\"" TRIBUTARY_VERSION "\"} 1\n"));
    write_messages(&out, options->tally);
    write_webhooks(&out, options->tally);
    write_notices(&out, options->tally);
    write_attempts(&out, options->tally);
    write_files(&out, options->tally);
    write_store(&out, options);
    write_board(&out, options->board);
    write_histogram(&out, &options->tally->webhook, "tributary_webhook_seconds",
                    "From a webhook's last byte to its answer.");
    write_histogram(&out, &options->tally->delivery, "tributary_delivery_seconds",
                    "From a message's arrival to its delivery, waiting included.");
    write_histogram(&out, &options->tally->commit, "tributary_commit_seconds",
                    "From the beginning of a transaction to the end of its flush.");
    api_answer(call, 200, STR("text/plain; version=0.0.4; charset=utf-8"), buf_str(&out));
    buf_done(&out);
}
