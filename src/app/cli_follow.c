// messages --follow: messages as they come and change, one line each, until Ctrl-C or until nobody reads any more. What
// happens comes from GET /api/v1/events; what a message says, from the messages API, as `messages` shows it.
#include "app/cli_run.h"

#include "app/http_local.h"
#include "model/message.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EVENTS_MAX = 16 << 20 }; // bytes of events that may wait to be shown

static const char types[] = "message_accepted,message_delivered,message_failed,message_skipped,message_held,"
                            "message_discarded,message_retried";

struct follow {
    struct cli *cli;
    struct buf events; // as they come
    int status;        // of the program, once it shall end
};

// Each line is out when it is there: nothing is lost by ending at once.
static void on_interrupt(int number)
{
    (void)number;
    _exit(CLI_DONE);
}

// False: nobody reads any more, which is how following ends.
static bool print_line(struct follow *follow, struct str line)
{
    int err = cli_put(follow->cli, line);
    if (err)
        follow->status = err == EPIPE ? CLI_DONE
                                      : cli_fail("cannot write to standard output: %s", strerrordesc_np(err));
    return !err;
}

static bool is_wanted(struct cli *cli, yyjson_val *message)
{
    const struct {
        const char *wanted, *key;
    } filters[] = {{cli->source, "source"}, {cli->conversation, "conversation"}, {cli->direction, "direction"}};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (filters[i].wanted && !str_eq_c(json_get_str(message, filters[i].key), filters[i].wanted))
            return false;
    return true;
}

// "skipped (gave_up)", "failed (retry), again at 12:00:01"
static struct str what_happened(struct cli *cli, struct str event, yyjson_val *data)
{
    struct str word = str_sub(event, strlen("message_"), event.n), why = cli_text(cli, data, "reason");
    struct str next = cli_time(cli, data, "next_attempt_at");
    if (!why.n)
        why = cli_text(cli, data, "verdict");
    if (why.n)
        word = arena_printf(&cli->arena, "%.*s (%.*s)", STR_ARG(word), STR_ARG(why));
    if (next.n > 11)
        word = arena_printf(&cli->arena, "%.*s, again at %.*s", STR_ARG(word), STR_ARG(str_sub(next, 11, next.n)));
    return word;
}

static void write_text(struct cli *cli, struct buf *line, struct str event, yyjson_val *data, yyjson_val *message)
{
    struct str from = cli_text(cli, yyjson_obj_get(message, "sender"), "name");
    struct str text = arena_printf(
        &cli->arena, "%.*s  %.*s  %.*s/%.*s  %.*s  %.*s  %.*s: %.*s", STR_ARG(cli_time(cli, data, "at")),
        STR_ARG(cli_text(cli, message, "id")), STR_ARG(cli_text(cli, message, "account")),
        STR_ARG(cli_text(cli, message, "source")), STR_ARG(cli_text(cli, message, "conversation")),
        STR_ARG(what_happened(cli, event, data)), STR_ARG(from), STR_ARG(cli_text(cli, message, "text")));
    cli_write_cut(line, cli_clean(&cli->arena, text), cli->width);
    buf_add_char(line, '\n');
}

static void write_json(struct buf *line, struct str event, yyjson_val *data, yyjson_val *message)
{
    size_t n;
    struct json json = {.out = line};
    char *text = yyjson_val_write(message, 0, &n);
    json_open(&json, '{');
    json_key_str(&json, "event", event);
    json_key_str(&json, "at", json_get_str(data, "at"));
    json_key(&json, "message");
    json_raw(&json, text ? (struct str){text, n} : STR("null"));
    json_close(&json, '}');
    buf_add_char(line, '\n');
    free(text);
}

static bool show(struct follow *follow, struct str event, yyjson_val *data)
{
    struct cli *cli = follow->cli;
    yyjson_doc *doc;
    int status;
    struct str id = cli_text(cli, data, "message");
    struct str target = arena_printf(&cli->arena, "/api/v1/messages/%s", cli_escape(cli, id.p));
    if (cli_call_any(cli, "GET", target.p, STR_NONE, &status, &doc)) {
        follow->status = CLI_FAILED;
        return false;
    }
    yyjson_val *message = yyjson_doc_get_root(doc);
    bool goes_on = true;
    if (status == 200 && is_wanted(cli, message)) { // else it has been removed since
        struct buf line;
        buf_init(&line, EVENTS_MAX);
        if (cli->json)
            write_json(&line, event, data, message);
        else
            write_text(cli, &line, event, data, message);
        goes_on = print_line(follow, buf_str(&line));
        buf_done(&line);
    }
    yyjson_doc_free(doc);
    return goes_on;
}

static void say_missed(yyjson_val *data)
{
    yyjson_val *count = yyjson_obj_get(data, "count");
    if (yyjson_is_int(count))
        fprintf(stderr, "tributary: too much happened at once; %lld events were missed\n",
                (long long)yyjson_get_sint(count));
}

// One event, without the empty line behind it.
static bool take_event(struct follow *follow, struct str text)
{
    struct str event = STR_NONE, data = STR_NONE;
    for (size_t from = 0; from < text.n;) {
        size_t to = str_index(text, '\n', from);
        struct str line = str_sub(text, from, to);
        if (str_starts(line, STR("event: ")))
            event = str_sub(line, 7, line.n);
        else if (str_starts(line, STR("data: ")))
            data = str_sub(line, 6, line.n);
        from = to + 1;
    }
    yyjson_doc *doc = data.p ? json_read(data) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const char *state = follow->cli->state;
    bool goes_on = true;
    if (str_eq_c(event, "missed"))
        say_missed(root);
    else if (str_starts(event, STR("message_")) && (!state || str_eq_c(json_get_str(root, "state"), state)))
        goes_on = show(follow, event, root);
    yyjson_doc_free(doc);
    arena_done(&follow->cli->arena);
    return goes_on;
}

static bool on_bytes(void *arg, struct str bytes)
{
    struct follow *follow = arg;
    struct buf *events = &follow->events;
    size_t at = 0, from = events->n ? events->n - 1 : 0; // before it no event ends, else it would have been taken
    buf_add_str(events, bytes);
    for (char *end; events->n && (end = memmem(events->p + from, events->n - from, "\n\n", 2)); from = at) {
        size_t to = (size_t)(end - events->p);
        if (!take_event(follow, (struct str){events->p + at, to - at}))
            return false;
        at = to + 2;
    }
    if (at) {
        memmove(events->p, events->p + at, events->n - at);
        events->n -= at;
    }
    return !events->failed;
}

static void say_problem(struct str body, int status)
{
    yyjson_doc *doc = json_read(body);
    struct str detail = json_get_str(yyjson_doc_get_root(doc), "detail");
    if (detail.n)
        cli_fail("%.*s", STR_ARG(detail));
    else
        cli_fail("the relay answered %d", status);
    yyjson_doc_free(doc);
}

// The stream knows no source and no direction: without this a mistyped one would be waited for, for ever. Few are pending, so
// it is a quick question to the list, which says what is wrong.
static int check_filters(struct cli *cli)
{
    const struct {
        const char *name, *value;
    } filters[] = {{"account", cli->account}, {"source", cli->source}, {"direction", cli->direction}};
    struct str target = STR("/api/v1/messages?limit=1&state=pending");
    yyjson_doc *doc;
    int status = 0;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (filters[i].value)
            target = arena_printf(&cli->arena, "%.*s&%s=%s", STR_ARG(target), filters[i].name,
                                  cli_escape(cli, filters[i].value));
    if (cli_call_any(cli, "GET", target.p, STR_NONE, &status, &doc))
        return CLI_FAILED;
    bool wrong = status >= 400 && status < 500;
    if (wrong)
        cli_fail_answer(cli, "", status, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return wrong ? CLI_FAILED : CLI_DONE;
}

int cli_follow(struct cli *cli)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt};
    struct follow follow = {.cli = cli, .status = CLI_FAILED};
    struct arena lasting = {0};
    struct buf problem;
    const char *why = NULL;
    int status = 0;
    enum message_state state;
    if (cli->query || cli->limit || cli->all) {
        cli_fail("--follow shows what comes: it goes without --q, --limit and --all");
        return CLI_USAGE;
    }
    if (cli->state && !message_state_of(str_of(cli->state), &state))
        return cli_fail("state is pending, delivered, skipped or discarded");
    if (cli_find_socket(cli) || check_filters(cli))
        return CLI_FAILED;
    cli->socket = arena_str(&lasting, str_of(cli->socket)).p; // the other arena is emptied after each event
    struct str target = arena_printf(&lasting, "/api/v1/events?types=%s%s%s", types, cli->account ? "&account=" : "",
                                     cli->account ? cli_escape(cli, cli->account) : "");
    buf_init(&follow.events, EVENTS_MAX);
    buf_init(&problem, 1 << 20);
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &interrupt, NULL);
    struct http_local_listener listener = {.on_bytes = on_bytes, .arg = &follow, .reader_fd = STDOUT_FILENO};
    switch (http_local_listen(cli->socket, target.p, &listener, &lasting, &status, &problem, &why)) {
    case HTTP_LOCAL_STOPPED:
        break;
    case HTTP_LOCAL_UNREAD:
        follow.status = CLI_DONE;
        break;
    case HTTP_LOCAL_ENDED:
        if (status == 200)
            cli_fail("the relay at %s has ended; what comes after is not shown", cli->socket);
        else
            say_problem(buf_str(&problem), status);
        break;
    case HTTP_LOCAL_FAILED:
        cli_fail("%s", why);
        break;
    }
    buf_done(&follow.events);
    buf_done(&problem);
    arena_done(&lasting);
    return follow.status;
}
