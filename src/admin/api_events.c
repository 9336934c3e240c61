// GET /api/v1/events: the news (relay/news.h) as server-sent events, live.
//
// A stream is given what its client takes and no more: while something of it waits in this process nothing is written, the
// ring goes on, and the client is told what it missed. One timer speaks to all, so that dead clients are noticed.
#include "admin/api.h"
#include "base/mem.h"
#include "base/must.h"
#include "relay/news.h"

#include <inttypes.h>
#include <stdlib.h>
#include <utlist.h>

enum {
    STREAMS_MAX = 32,
    HEARTBEAT_MS = 15000,
    TURN_ITEMS = 256,         // of one stream before the others have their turn
    TURN_BYTES = 1024 * 1024, // beyond any turn
};

// Lives in its exchange's arena.
struct stream {
    struct events *events;
    struct http_exchange *exchange;
    struct str account; // STR_NONE: all
    uint64_t kinds;     // bits of enum news_kind
    uint64_t at;        // the last number that it was given, or passed over
    uint64_t missed;    // and not told yet
    struct stream *prev, *next;
};

struct events {
    struct loop *loop;
    struct news *news;
    struct directory *directory;
    struct stream *streams;
    size_t count;
    bool ended;
    struct loop_timer *heartbeat;
    int64_t heartbeat_ms;
    atomic_bool woken; // `task` is posted
    struct loop_task task;
    struct buf out; // of one turn
};

// ---- one item as text ----

static const char *state_of(enum news_kind kind)
{
    switch (kind) {
    case NEWS_MESSAGE_DELIVERED:
        return message_state_name(MESSAGE_DELIVERED);
    case NEWS_MESSAGE_SKIPPED:
        return message_state_name(MESSAGE_SKIPPED);
    case NEWS_MESSAGE_DISCARDED:
        return message_state_name(MESSAGE_DISCARDED);
    default:
        return message_state_name(MESSAGE_PENDING);
    }
}

static void write_message(struct json *json, const struct news_item *item, struct str source)
{
    struct str word = item->word && *item->word ? str_of(item->word) : STR_NONE;
    bool failed = item->kind == NEWS_MESSAGE_FAILED;
    json_key_str(json, "source", source);
    json_key_id(json, "message", item->message_id);
    json_key_id(json, "lane", item->lane);
    json_key_str(json, "state", str_of(state_of(item->kind)));
    json_key_str(json, "reason", failed ? STR_NONE : word);
    json_key_str(json, "verdict", failed ? word : STR_NONE);
    json_key_int(json, "attempts", item->attempts);
    json_key_bool(json, "in_doubt", item->in_doubt);
    json_key_time(json, "next_attempt_at", item->until_us);
}

static void write_members(struct json *json, const struct news_item *item, struct str source)
{
    switch (item->kind) {
    case NEWS_DESK_SUSPENDED:
    case NEWS_DESK_RESUMED:
        json_key_str(json, "state", item->kind == NEWS_DESK_SUSPENDED ? STR("suspended") : STR("ok"));
        json_key_str(json, "reason", *item->text ? str_of(item->text) : STR_NONE);
        json_key_time(json, "until", item->until_us);
        break;
    case NEWS_ALARM:
    case NEWS_ALARM_END:
        json_key_str(json, "name", str_of(item->word));
        json_key_str(json, "subject", str_of(item->subject));
        json_key_str(json, "text", *item->text ? str_of(item->text) : STR_NONE);
        break;
    case NEWS_SOURCE:
        json_key_str(json, "source", source);
        json_key_str(json, "state", str_of(item->word));
        json_key_str(json, "text", *item->text ? str_of(item->text) : STR_NONE);
        break;
    case NEWS_ACCOUNT_ADDED:
    case NEWS_ACCOUNT_CHANGED:
    case NEWS_ACCOUNT_ACTIVATED:
    case NEWS_ACCOUNT_DEACTIVATED:
    case NEWS_ACCOUNT_REMOVED:
    case NEWS_RELOADED:
        break;
    default:
        write_message(json, item, source);
    }
}

static void write_event(struct buf *out, const struct news_item *item, struct str account, struct str source)
{
    struct json json = {.out = out};
    buf_printf(out, "id: %" PRIu64 "\nevent: %s\ndata: ", item->number, news_kind_name(item->kind));
    json_open(&json, '{');
    json_key_time(&json, "at", item->at_us);
    json_key_str(&json, "account", account);
    write_members(&json, item, source);
    json_close(&json, '}');
    buf_add_str(out, STR("\n\n"));
}

static void write_missed(struct stream *stream, struct buf *out)
{
    if (stream->missed)
        buf_printf(out, "event: missed\ndata: {\"count\":%" PRIu64 "}\n\n", stream->missed);
    stream->missed = 0;
}

// ---- whose it is ----

// A desk that several accounts share is the business of each.
static bool shares_desk(const struct stream *stream, const struct news_item *item)
{
    if (!item->desk)
        return false;
    const struct account *account = directory_find(stream->events->directory, stream->account);
    bool shares = account && desk_identity(&account->desk) == item->desk;
    account_unref(account);
    return shares;
}

static void write_wanted(struct stream *stream, struct buf *out, const struct news_item *item)
{
    if (!(stream->kinds >> item->kind & 1))
        return;
    struct str subject = str_of(item->subject);
    const struct account *account = item->account_id ? directory_find_id(stream->events->directory, item->account_id)
                                                     : NULL;
    const struct source *source = account ? account_find_source_id(account, item->source_id) : NULL;
    struct str name = account ? account->name : str_sub(subject, 0, str_index(subject, '/', 0));
    bool wanted = !stream->account.p || str_eq(name, stream->account);
    if (!wanted && shares_desk(stream, item)) {
        name = stream->account;
        wanted = true;
    }
    if (wanted)
        write_event(out, item, name.n ? name : STR_NONE, source ? source->name : STR_NONE);
    account_unref(account);
}

// ---- streams ----

// What the client has room for now. True: there is more for another turn.
static bool give(struct stream *stream)
{
    struct events *events = stream->events;
    struct news_item item;
    bool more = true;
    if (http_exchange_unsent(stream->exchange))
        return false; // `taken` goes on
    buf_clear(&events->out);
    for (int i = 0; i < TURN_ITEMS && more; i++) {
        more = news_read(events->news, &stream->at, &stream->missed, &item);
        write_missed(stream, &events->out);
        if (more)
            write_wanted(stream, &events->out, &item);
    }
    buf_must(&events->out);
    if (events->out.n && !http_exchange_write(stream->exchange, buf_str(&events->out)))
        return false; // `gone` is to come
    return more;
}

// Any thread, under the news' lock.
static void wake(void *arg)
{
    struct events *events = arg;
    if (!atomic_exchange(&events->woken, true))
        loop_post(events->loop, &events->task);
}

static void on_news(struct loop_task *task)
{
    struct events *events = (struct events *)((char *)task - offsetof(struct events, task));
    struct stream *stream, *next;
    bool more = false;
    atomic_store(&events->woken, false);
    DL_FOREACH_SAFE2(events->streams, stream, next, next)
    {
        more |= give(stream);
    }
    if (more)
        wake(events);
}

static void forget(struct stream *stream)
{
    DL_DELETE(stream->events->streams, stream);
    stream->events->count--;
    news_unlisten(stream->events->news);
}

static void on_gone(void *arg)
{
    struct stream *stream = arg;
    forget(stream);
    http_exchange_end(stream->exchange); // and the stream with it
}

static void on_taken(void *arg)
{
    struct stream *stream = arg;
    wake(stream->events);
}

static void on_heartbeat(void *arg)
{
    struct events *events = arg;
    struct stream *stream, *next;
    DL_FOREACH_SAFE2(events->streams, stream, next, next)
    {
        if (!http_exchange_unsent(stream->exchange))
            http_exchange_write(stream->exchange, STR(":\n\n"));
    }
    if (events->streams)
        loop_timer_set(events->heartbeat, events->heartbeat_ms);
}

struct events *events_new(struct loop *loop, const struct admin_options *options)
{
    struct events *events = mem_new_of(struct events);
    events->loop = loop;
    events->news = board_news(options->board);
    events->directory = options->directory;
    events->heartbeat_ms = options->heartbeat_ms ? options->heartbeat_ms : HEARTBEAT_MS;
    events->task.run = on_news;
    events->heartbeat = loop_timer_new(loop, on_heartbeat, events);
    buf_init(&events->out, TURN_BYTES);
    return events;
}

void events_end(struct events *events)
{
    events->ended = true;
    while (events->streams) {
        struct stream *stream = events->streams;
        forget(stream);
        http_exchange_end(stream->exchange);
    }
}

void events_free(struct events *events)
{
    must(!events->streams);
    loop_timer_free(events->heartbeat);
    buf_done(&events->out);
    free(events);
}

size_t events_listeners(const struct events *events)
{
    return events->count;
}

// ---- the request ----

static bool read_account(struct api_call *call, struct str *out)
{
    *out = api_query(call, "account");
    if (!out->p)
        return true;
    const struct account *account = directory_find(admin_of(call)->directory, *out);
    if (!account)
        api_problem(call, 404, "There is no account of that name.");
    account_unref(account);
    return account != NULL;
}

static bool read_kinds(struct api_call *call, uint64_t *out)
{
    struct str types = api_query(call, "types");
    *out = types.p ? 0 : UINT64_MAX;
    for (size_t from = 0; types.p && from <= types.n;) {
        size_t to = str_index(types, ',', from);
        struct str name = str_sub(types, from, to);
        enum news_kind kind;
        if (!news_kind_of(name, &kind)) {
            api_problem(call, 400, "types is names of events with commas between, such as %s,%s; \"%.*s\" is none.",
                        news_kind_name(NEWS_MESSAGE_DELIVERED), news_kind_name(NEWS_ALARM),
                        name.n < 64 ? (int)name.n : 64, name.p);
            return false;
        }
        *out |= UINT64_C(1) << kind;
        from = to + 1;
    }
    return true;
}

// A client that was here before says where it stopped; what came since is given if it is known.
static void go_on_from(struct stream *stream, struct str last_id)
{
    int64_t seen;
    if (!last_id.p)
        return;
    if (str_to_i64(last_id, &seen) && seen > 0 && news_knows(stream->events->news, (uint64_t)seen))
        stream->at = (uint64_t)seen;
    else
        http_exchange_write(stream->exchange, STR("event: missed\ndata: {\"count\":null}\n\n"));
}

static void join(struct api_call *call, struct events *events, struct str account, uint64_t kinds)
{
    struct stream *stream = arena_of(call->arena, struct stream);
    struct http_stream calls = {.gone = on_gone, .taken = on_taken, .arg = stream};
    *stream = (struct stream){.events = events, .exchange = call->exchange, .account = account, .kinds = kinds};
    if (!api_stream(call, STR("text/event-stream"), &calls)) {
        http_exchange_end(call->exchange);
        return;
    }
    DL_APPEND(events->streams, stream);
    if (!events->count++)
        loop_timer_set(events->heartbeat, events->heartbeat_ms);
    stream->at = news_listen(events->news, wake, events);
    http_exchange_write(stream->exchange, STR("retry: 2000\n\n")); // the first bytes: it listens
    go_on_from(stream, http_header_get(call->request->headers, call->request->header_count, "last-event-id"));
    wake(events);
}

void api_events_get(struct api_call *call)
{
    struct events *events = admin_events(call);
    struct str account;
    uint64_t kinds;
    if (!read_account(call, &account) || !read_kinds(call, &kinds))
        return;
    if (str_eq_c(call->request->method, "HEAD"))
        api_answer(call, 200, STR("text/event-stream"), STR(""));
    else if (events->ended)
        api_problem(call, 503, "The relay is going down.");
    else if (events->count >= STREAMS_MAX)
        api_problem(call, 503, "%d clients listen already, which is the most; try again when one has left.",
                    STREAMS_MAX);
    else
        join(call, events, account, kinds);
}
