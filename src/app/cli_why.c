// why: what the API says of an account or a conversation that does not move, on one screen: at most 24 lines of 80 columns.
#include "app/cli_run.h"

#include <inttypes.h>
#include <string.h>

enum { LINES = 24, COLUMNS = 80, COLUMNS_LEAST = 40, LABEL = 10, MOST_LISTED = 8, MOST_FIXED = 64 };

struct screen {
    struct cli *cli;
    size_t width;
    struct str lines[MOST_FIXED];
    size_t count;
};

// Where the text must end to take no more than that many columns; after a blank if there is one.
static size_t break_at(struct str text, size_t columns)
{
    size_t end = cli_fit(text, columns), blank = end;
    if (end == text.n)
        return end;
    while (blank && text.p[blank - 1] != ' ')
        blank--;
    return blank ? blank : end;
}

static struct str cut(struct arena *arena, struct str text, size_t columns)
{
    struct buf buf;
    buf_init(&buf, SIZE_MAX / 2);
    cli_write_cut(&buf, text, columns);
    buf_must(&buf);
    struct str out = arena_str(arena, buf_str(&buf));
    buf_done(&buf);
    return out;
}

// A part of the screen: a label, and text in as many lines as it takes, but no more than `most`.
static void add(struct screen *screen, const char *label, struct str text, size_t most)
{
    struct arena *arena = &screen->cli->arena;
    size_t room = screen->width - LABEL;
    struct str rest = cli_clean(arena, text);
    for (size_t i = 0; i < most && (i == 0 || rest.n) && screen->count < MOST_FIXED; i++) {
        size_t end = i + 1 < most ? break_at(rest, room) : rest.n;
        struct str line = cut(arena, str_trim(str_sub(rest, 0, end)), room);
        screen->lines[screen->count++] = arena_printf(arena, "%-*s%.*s", LABEL, i ? "" : label, STR_ARG(line));
        rest = str_trim(str_sub(rest, end, rest.n));
    }
}

static struct str text_of(struct screen *screen, yyjson_val *object, const char *key)
{
    return cli_text(screen->cli, object, key);
}

// " words TIME UTC", or nothing.
static struct str time_part(struct screen *screen, yyjson_val *object, const char *key, const char *words)
{
    struct str time = cli_time(screen->cli, object, key);
    return time.n ? arena_printf(&screen->cli->arena, "%s%.*s UTC", words, STR_ARG(time)) : STR("");
}

static struct str state_of(struct screen *screen, yyjson_val *lane)
{
    struct str state = text_of(screen, lane, "state"), waits = text_of(screen, lane, "waits_for");
    struct str until = time_part(screen, lane, "until", ", until ");
    return arena_printf(&screen->cli->arena, "%.*s (%.*s)%.*s", STR_ARG(state), STR_ARG(waits), STR_ARG(until));
}

static bool is_of_replies(yyjson_val *lane)
{
    return str_eq_c(json_get_str(lane, "direction"), "reply");
}

static void add_head(struct screen *screen, yyjson_val *lane)
{
    yyjson_val *head = yyjson_obj_get(lane, "head");
    int64_t waiting = yyjson_get_sint(yyjson_obj_get(lane, "waiting"));
    struct str id = text_of(screen, head, "id"), source = text_of(screen, head, "source");
    struct str thread = text_of(screen, head, "conversation"), attempts = text_of(screen, head, "attempts");
    if (!id.n)
        return;
    bool is_reply = is_of_replies(lane);
    thread = cut(&screen->cli->arena, cli_clean(&screen->cli->arena, thread), 40);
    struct str received = time_part(screen, head, "received_at", ", received ");
    add(screen, "head",
        arena_printf(&screen->cli->arena, "%s %.*s %s %.*s/%.*s%.*s; attempts: %.*s%s%s",
                     is_reply ? "reply" : "message", STR_ARG(id), is_reply ? "to" : "of", STR_ARG(source),
                     STR_ARG(thread), STR_ARG(received), STR_ARG(attempts),
                     yyjson_get_bool(yyjson_obj_get(head, "in_doubt")) ? "; in doubt" : "",
                     yyjson_get_bool(yyjson_obj_get(head, "late")) ? "; tried again by hand" : ""),
        2);
    if (!yyjson_arr_size(yyjson_obj_get(lane, "attempt_history")) && text_of(screen, head, "last_error").n)
        add(screen, "error", text_of(screen, head, "last_error"), 2);
    if (waiting > 1)
        add(screen, "behind", arena_printf(&screen->cli->arena, "%" PRId64 " more in the same lane", waiting - 1), 1);
}

// The time at which the desk, or the bot, is tried again is over while that goes on.
static bool is_tried_now(struct screen *screen, yyjson_val *why, bool bot)
{
    yyjson_val *lane = yyjson_obj_get(why, "lane");
    return is_of_replies(lane) == bot && str_eq_c(json_get_str(lane, "waits_for"), "desk") &&
           !text_of(screen, lane, "until").n;
}

// Who takes its messages: the desk, or the bot to which its replies go.
static void add_taker(struct screen *screen, yyjson_val *why, const char *name, bool bot)
{
    yyjson_val *taker = yyjson_obj_get(why, name);
    struct str reason = text_of(screen, taker, "reason");
    struct str platform = text_of(screen, taker, "platform"), state = text_of(screen, taker, "state");
    struct str since = time_part(screen, taker, "since", " since "),
               until = time_part(screen, taker, "until", "; tried again at ");
    if (is_tried_now(screen, why, bot))
        until = STR("; it is being tried now");
    add(screen, name,
        arena_printf(&screen->cli->arena, "%.*s: %.*s%.*s%s%.*s%.*s", STR_ARG(platform), STR_ARG(state), STR_ARG(since),
                     reason.n ? ": " : "", STR_ARG(reason), STR_ARG(until)),
        3);
}

static void add_account(struct screen *screen, yyjson_val *why)
{
    int64_t busy = yyjson_get_sint(yyjson_obj_get(why, "busy_percent"));
    struct arena *arena = &screen->cli->arena;
    struct str order = text_of(screen, why, "order");
    struct str lane = busy ? arena_printf(arena, "; busy for %" PRId64 " %% of the last five minutes", busy) : STR("");
    bool active = yyjson_get_bool(yyjson_obj_get(why, "active"));
    add(screen, "account",
        arena_printf(arena, "%s, order: %.*s%.*s", active ? "active" : "inactive", STR_ARG(order), STR_ARG(lane)), 1);
    add_taker(screen, why, "desk", false);
    if (yyjson_is_obj(yyjson_obj_get(why, "bot")))
        add_taker(screen, why, "bot", true);
}

static void add_states(struct screen *screen, yyjson_val *why)
{
    yyjson_val *states = yyjson_obj_get(why, "by_state"), *key, *value;
    struct str text = STR("");
    size_t i, max;
    yyjson_obj_foreach(states, i, max, key, value)
    {
        text = arena_printf(&screen->cli->arena, "%.*s%s%" PRId64 " %s", STR_ARG(text), i ? ", " : "",
                            yyjson_get_sint(value), yyjson_get_str(key));
    }
    bool all = yyjson_get_bool(yyjson_obj_get(why, "counted_all"));
    add(screen, "lanes", all ? text : arena_printf(&screen->cli->arena, "at least %.*s", STR_ARG(text)), 2);
}

static void add_help(struct screen *screen, yyjson_val *why)
{
    yyjson_val *value;
    size_t i, max;
    yyjson_arr_foreach(yyjson_obj_get(why, "hints"), i, max, value)
    {
        add(screen, "note", json_val_str(value), 3);
    }
    yyjson_arr_foreach(yyjson_obj_get(why, "can"), i, max, value)
    {
        struct str command = text_of(screen, value, "command"), does = text_of(screen, value, "does");
        add(screen, i ? "" : "you can",
            arena_printf(&screen->cli->arena, "%.*s  (%.*s)", STR_ARG(command), STR_ARG(does)), 3);
    }
}

static void add_attempts(struct screen *screen, yyjson_val *lane)
{
    yyjson_val *history = yyjson_obj_get(lane, "attempt_history"), *attempt;
    size_t count = yyjson_arr_size(history);
    for (size_t i = 0; i < count && i < MOST_LISTED; i++) { // the latest first
        attempt = yyjson_arr_get(history, count - 1 - i);
        struct str at = cli_time(screen->cli, attempt, "at"), verdict = text_of(screen, attempt, "verdict");
        struct str error = text_of(screen, attempt, "error");
        add(screen, i ? "" : "attempts",
            arena_printf(&screen->cli->arena, "%.*s  %.*s: %.*s", STR_ARG(at), STR_ARG(verdict), STR_ARG(error)),
            i ? 1 : 3);
    }
}

static void add_oldest(struct screen *screen, yyjson_val *why)
{
    yyjson_val *lane;
    size_t i, max;
    yyjson_arr_foreach(yyjson_obj_get(why, "oldest"), i, max, lane)
    {
        yyjson_val *head = yyjson_obj_get(lane, "head");
        struct str source = text_of(screen, head, "source"), thread = text_of(screen, head, "conversation");
        struct str waiting = text_of(screen, lane, "waiting"), state = text_of(screen, lane, "state");
        struct str waits_for = text_of(screen, lane, "waits_for");
        thread = cut(&screen->cli->arena, cli_clean(&screen->cli->arena, thread), 28);
        add(screen, i ? "" : "oldest",
            arena_printf(&screen->cli->arena, "%.*s/%.*s: %s: %.*s; %.*s (%.*s)", STR_ARG(source), STR_ARG(thread),
                         is_of_replies(lane) ? "replies" : "messages", STR_ARG(waiting), STR_ARG(state),
                         STR_ARG(waits_for)),
            1);
    }
}

// Two lists take what room is left.
static void share(size_t room, size_t *one, size_t *other)
{
    while (*one + *other > room)
        --*(*one > *other ? one : other);
}

static void print(struct screen *screen, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        buf_add_str(&screen->cli->out, screen->lines[i]);
        buf_add_char(&screen->cli->out, '\n');
    }
}

static void print_why(struct cli *cli, yyjson_val *why)
{
    size_t width = cli->width && cli->width < COLUMNS ? cli->width : COLUMNS;
    struct screen screen = {.cli = cli, .width = width > COLUMNS_LEAST ? width : COLUMNS_LEAST};
    struct screen attempts = screen, oldest = screen;
    yyjson_val *lane = yyjson_obj_get(why, "lane");
    bool several = yyjson_get_sint(yyjson_obj_get(why, "lanes_waiting")) > 1;
    add(&screen, "why", text_of(&screen, why, "says"), 3);
    if (lane && !yyjson_is_null(lane)) {
        if (several)
            add_states(&screen, why);
        add(&screen, several ? "first" : "state", state_of(&screen, lane), 1);
        add(&screen, "", text_of(&screen, lane, "says"), 3);
        add_head(&screen, lane);
        add_attempts(&attempts, lane);
        if (several)
            add_oldest(&oldest, why);
    }
    size_t middle = screen.count;
    add_account(&screen, why);
    add_help(&screen, why);
    size_t room = screen.count < LINES ? LINES - screen.count : 0;
    share(room, &attempts.count, &oldest.count);
    print(&screen, 0, middle);
    print(&attempts, 0, attempts.count);
    print(&oldest, 0, oldest.count);
    print(&screen, middle, screen.count < LINES ? screen.count : LINES);
}

// ACCOUNT, or ACCOUNT/SOURCE/CONVERSATION, which may hold further slashes. NULL: neither.
static const char *target_of(struct cli *cli, struct str what)
{
    size_t first = str_index(what, '/', 0), second = str_index(what, '/', first + 1);
    struct arena *arena = &cli->arena;
    const char *account = cli_escape(cli, arena_str(arena, str_sub(what, 0, first)).p);
    struct buf target;
    if (!first || (first < what.n && (second >= what.n || second + 1 >= what.n || second == first + 1)))
        return NULL;
    buf_init(&target, SIZE_MAX / 2); // never full: it would be another question
    buf_printf(&target, "/api/v1/accounts/%s/why", account);
    if (first < what.n) {
        buf_printf(&target, "?source=%s", cli_escape(cli, arena_str(arena, str_sub(what, first + 1, second)).p));
        buf_printf(&target, "&conversation=%s", cli_escape(cli, arena_str(arena, str_sub(what, second + 1, what.n)).p));
    }
    const char *text = arena_str(arena, buf_str(&target)).p;
    buf_done(&target);
    return text;
}

int cli_why(struct cli *cli)
{
    yyjson_doc *doc;
    const char *target = target_of(cli, str_of(cli->args[0]));
    if (!target) {
        cli_fail("why takes ACCOUNT, or ACCOUNT/SOURCE/CONVERSATION");
        return CLI_USAGE;
    }
    if (cli_call(cli, "GET", target, STR_NONE, &doc))
        return CLI_FAILED;
    if (cli->json)
        cli_print_json(cli, yyjson_doc_get_root(doc));
    else
        print_why(cli, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return CLI_DONE;
}
