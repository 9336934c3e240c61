// messages, show, retry, discard.
#include "app/cli_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

enum { PAGE = 1000, PAGE_DEFAULT = 100 };

static void add_filter(struct cli *cli, struct buf *target, const char *name, const char *value)
{
    if (value)
        buf_printf(target, "&%s=%s", name, cli_escape(cli, value));
}

static const char *list_target(struct cli *cli, size_t limit, struct str after)
{
    struct buf target;
    buf_init(&target, SIZE_MAX / 2); // never full: a filter left out would list, or retry, what nobody asked for
    buf_printf(&target, "/api/v1/messages?limit=%zu", limit);
    add_filter(cli, &target, "account", cli->account);
    add_filter(cli, &target, "source", cli->source);
    add_filter(cli, &target, "conversation", cli->conversation);
    add_filter(cli, &target, "state", cli->state);
    add_filter(cli, &target, "direction", cli->direction);
    add_filter(cli, &target, "q", cli->query);
    add_filter(cli, &target, "after", after.p);
    const char *text = arena_str(&cli->arena, buf_str(&target)).p;
    buf_done(&target);
    return text;
}

static void add_message(struct cli *cli, struct cli_table *table, yyjson_val *message)
{
    struct str name = cli_text(cli, yyjson_obj_get(message, "sender"), "name");
    struct str state = cli_text(cli, message, "state"), reason = cli_text(cli, message, "reason");
    if (reason.n)
        state = arena_printf(&cli->arena, "%.*s (%.*s)", STR_ARG(state), STR_ARG(reason));
    if (yyjson_get_bool(yyjson_obj_get(message, "in_doubt")))
        state = arena_printf(&cli->arena, "%.*s, in doubt", STR_ARG(state));
    cli_table_add(table, cli_text(cli, message, "id"));
    cli_table_add(table, cli_time(cli, message, "received_at"));
    cli_table_add(table, arena_printf(&cli->arena, "%.*s/%.*s", STR_ARG(cli_text(cli, message, "account")),
                                      STR_ARG(cli_text(cli, message, "source"))));
    cli_table_add(table, cli_text(cli, message, "conversation"));
    cli_table_add(table, name);
    cli_table_add(table, state);
    cli_table_add(table, cli_text(cli, message, "attempts"));
    cli_table_add(table, cli_text(cli, message, "text"));
}

// A listing on its way.
struct listing {
    size_t left;
    struct str after;
    bool more;
    void (*each)(struct cli *cli, void *arg, yyjson_val *message);
    void *arg;
};

// Goes through the pages until `left` is used up or there is no more.
static int go_through(struct cli *cli, struct listing *listing)
{
    do {
        yyjson_doc *doc;
        size_t i, max, limit = listing->left < PAGE ? listing->left : PAGE;
        yyjson_val *message;
        if (cli_call(cli, "GET", list_target(cli, limit, listing->after), STR_NONE, &doc))
            return CLI_FAILED;
        yyjson_val *root = yyjson_doc_get_root(doc);
        yyjson_arr_foreach(yyjson_obj_get(root, "items"), i, max, message)
        {
            listing->each(cli, listing->arg, message);
        }
        listing->left -= max < listing->left ? max : listing->left;
        listing->after = arena_str(&cli->arena, json_get_str(root, "next"));
        listing->more = listing->after.p;
        yyjson_doc_free(doc);
    } while (listing->more && listing->left);
    return CLI_DONE;
}

static void each_to_table(struct cli *cli, void *arg, yyjson_val *message)
{
    add_message(cli, arg, message);
}

static void each_to_json(struct cli *cli, void *arg, yyjson_val *message)
{
    (void)cli;
    size_t n;
    char *text = yyjson_val_write(message, 0, &n);
    json_raw(arg, (struct str){text, text ? n : 0});
    free(text);
}

static bool limit_of(struct cli *cli, size_t *out)
{
    int64_t limit = cli->all ? INT32_MAX : PAGE_DEFAULT;
    if (cli->limit && (!str_to_i64(str_of(cli->limit), &limit) || limit < 1 || limit > INT32_MAX))
        return false;
    *out = (size_t)limit;
    return true;
}

static int list_as_table(struct cli *cli, size_t limit)
{
    static const char *const titles[] = {">ID",  "=RECEIVED (UTC)", "SOURCE", "CONVERSATION",
                                         "FROM", "STATE",           ">TRIES", "TEXT"};
    struct cli_table table;
    struct listing listing = {.left = limit, .each = each_to_table, .arg = &table};
    cli_table_init(&table, &cli->arena, titles, COUNT(titles));
    if (go_through(cli, &listing))
        return CLI_FAILED;
    cli_table_write(&table, cli->width, &cli->out);
    if (listing.more)
        fprintf(stderr, "there are more: --limit N or --all shows them\n");
    return CLI_DONE;
}

static int list_as_json(struct cli *cli, size_t limit)
{
    struct json json = {.out = &cli->out};
    struct listing listing = {.left = limit, .each = each_to_json, .arg = &json};
    json_open(&json, '{');
    json_key(&json, "items");
    json_open(&json, '[');
    if (go_through(cli, &listing)) {
        buf_clear(&cli->out);
        return CLI_FAILED;
    }
    json_close(&json, ']');
    json_key_str(&json, "next", listing.after);
    json_close(&json, '}');
    buf_add_char(&cli->out, '\n');
    return CLI_DONE;
}

int cli_messages(struct cli *cli)
{
    size_t limit;
    if (cli->follow)
        return cli_follow(cli);
    if (!limit_of(cli, &limit)) {
        cli_fail("--limit takes a number from 1");
        return CLI_USAGE;
    }
    if (cli->limit && cli->all) {
        cli_fail("--limit N or --all, not both");
        return CLI_USAGE;
    }
    return cli->json ? list_as_json(cli, limit) : list_as_table(cli, limit);
}

static void print_line(struct cli *cli, yyjson_val *message, const char *key)
{
    struct str text = cli_clean(&cli->arena, cli_text(cli, message, key));
    if (text.n)
        buf_printf(&cli->out, "%-16s %.*s\n", key, STR_ARG(text));
}

static void print_history(struct cli *cli, yyjson_val *history)
{
    static const char *const titles[] = {"=ATTEMPT (UTC)", "VERDICT", "THE DESK'S WORDS"};
    struct cli_table table;
    size_t i, max;
    yyjson_val *attempt;
    if (!yyjson_arr_size(history))
        return;
    cli_table_init(&table, &cli->arena, titles, COUNT(titles));
    yyjson_arr_foreach(history, i, max, attempt)
    {
        cli_table_add(&table, cli_time(cli, attempt, "at"));
        cli_table_add(&table, cli_text(cli, attempt, "verdict"));
        cli_table_add(&table, cli_text(cli, attempt, "error"));
    }
    buf_add_char(&cli->out, '\n');
    cli_table_write(&table, cli->width, &cli->out);
}

// Of each file: what it is, and where it can be had, or why it cannot.
static void print_files(struct cli *cli, yyjson_val *files)
{
    size_t i, max;
    yyjson_val *file;
    yyjson_arr_foreach(files, i, max, file)
    {
        static const char *const words[] = {"kind", "name", "mime", "size", "state", "why", "url"};
        static const char *const before[] = {"", " ", " ", " ", ": ", ": ", "\n                 "};
        buf_printf(&cli->out, "%-16s ", "attachment");
        for (size_t j = 0; j < COUNT(words); j++) {
            struct str text = cli_clean(&cli->arena, cli_text(cli, file, words[j]));
            if (text.n)
                buf_printf(&cli->out, "%s%.*s%s", before[j], STR_ARG(text), strcmp(words[j], "size") ? "" : " bytes");
        }
        buf_add_char(&cli->out, '\n');
    }
}

static void print_message(struct cli *cli, yyjson_val *message)
{
    static const char *const keys[] = {"id",        "account",      "source",          "platform",
                                       "direction", "conversation", "state",           "reason",
                                       "in_doubt",  "attempts",     "next_attempt_at", "last_error",
                                       "sent_at",   "received_at",  "delivered_at",    "desk_ref",
                                       "late",      "text"};
    yyjson_val *sender = yyjson_obj_get(message, "sender");
    for (size_t i = 0; i < COUNT(keys); i++)
        print_line(cli, message, keys[i]);
    buf_printf(&cli->out, "%-16s %.*s (%.*s)\n", "sender",
               STR_ARG(cli_clean(&cli->arena, cli_text(cli, sender, "name"))),
               STR_ARG(cli_clean(&cli->arena, cli_text(cli, sender, "id"))));
    print_files(cli, yyjson_obj_get(message, "attachments"));
    print_history(cli, yyjson_obj_get(message, "attempt_history"));
}

static const char *message_path(struct cli *cli, const char *id, const char *rest)
{
    return arena_printf(&cli->arena, "/api/v1/messages/%s%s", cli_escape(cli, id), rest).p;
}

int cli_show(struct cli *cli)
{
    yyjson_doc *doc;
    if (cli_call(cli, "GET", message_path(cli, cli->args[0], ""), STR_NONE, &doc))
        return CLI_FAILED;
    if (cli->json)
        cli_print_json(cli, yyjson_doc_get_root(doc));
    else
        print_message(cli, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return CLI_DONE;
}

// One message changed by hand.
static int change(struct cli *cli, const char *id, const char *what)
{
    yyjson_doc *doc;
    int status;
    if (cli_call_any(cli, "POST", message_path(cli, id, what), STR_NONE, &status, &doc))
        return CLI_FAILED;
    yyjson_val *root = yyjson_doc_get_root(doc);
    int result = CLI_DONE;
    if (status >= 300)
        result = cli_fail_answer(cli, id, status, root);
    else if (cli->json)
        cli_print_json(cli, root);
    else
        buf_printf(&cli->out, "%s: %.*s%s\n", id, STR_ARG(cli_text(cli, root, "state")),
                   status == 202 ? "; it is on its way: discarded if this attempt fails" : "");
    yyjson_doc_free(doc);
    return result;
}

static int change_all(struct cli *cli, const char *what)
{
    int result = CLI_DONE;
    for (size_t i = 0; i < cli->arg_count; i++)
        if (change(cli, cli->args[i], what))
            result = CLI_FAILED; // the others all the same
    return result;
}

static void show_progress(int64_t count, const char *end)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%" PRId64 " messages%s", count, end);
}

static int report_retried(struct cli *cli, int64_t count)
{
    if (cli->json)
        buf_printf(&cli->out, "{\"retried\": %" PRId64 "}\n", count);
    else
        buf_printf(&cli->out, "%" PRId64 " skipped messages of %s go to the tails of their lanes\n", count,
                   cli->account);
    return CLI_DONE;
}

// Oldest first, a part at a time. What is cut off in the middle can be asked for again: those done are skipped no longer.
static int retry_skipped(struct cli *cli)
{
    const char *path =
        arena_printf(&cli->arena, "/api/v1/accounts/%s/retry?state=skipped", cli_escape(cli, cli->account)).p;
    struct str after = STR_NONE;
    int64_t count = 0, some;
    bool more = true, long_work = false;
    while (more) {
        yyjson_doc *doc;
        const char *target = after.p ? arena_printf(&cli->arena, "%s&after=%s", path, cli_escape(cli, after.p)).p
                                     : path;
        if (cli_call(cli, "POST", target, STR_NONE, &doc)) {
            if (count)
                cli_fail("%" PRId64 " were tried again before that; asked again, it goes on from there", count);
            return CLI_FAILED;
        }
        yyjson_val *root = yyjson_doc_get_root(doc);
        count += json_get_int(root, "retried", &some) && some > 0 && some <= INT64_MAX - count ? some : 0;
        more = yyjson_get_bool(yyjson_obj_get(root, "more"));
        after = arena_str(&cli->arena, json_get_str(root, "next"));
        yyjson_doc_free(doc);
        if (more || long_work)
            show_progress(count, more ? "" : "\n");
        long_work |= more;
    }
    return report_retried(cli, count);
}

int cli_retry(struct cli *cli)
{
    if (cli->arg_count && !cli->skipped && !cli->account)
        return change_all(cli, "/retry");
    if (!cli->arg_count && cli->skipped && cli->account)
        return retry_skipped(cli);
    cli_fail("retry takes MESSAGE..., or --account A --skipped");
    return CLI_USAGE;
}

int cli_discard(struct cli *cli)
{
    return change_all(cli, "/discard");
}
