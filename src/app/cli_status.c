// check, reload, status.
#include "app/cli_run.h"
#include "app/config.h"

#include <stdio.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))

// Lines of text as a JSON list.
static void json_lines(struct json *json, const char *key, struct str lines)
{
    json_key(json, key);
    json_open(json, '[');
    for (size_t from = 0; from < lines.n;) {
        size_t to = str_index(lines, '\n', from);
        json_str(json, str_sub(lines, from, to));
        from = to + 1;
    }
    json_close(json, ']');
}

static void print_checked(struct cli *cli, const struct config *config, struct str errors)
{
    struct json json = {.out = &cli->out};
    size_t sources = config ? config->source_count : 0;
    if (cli->json) {
        json_open(&json, '{');
        json_key_bool(&json, "ok", config != NULL);
        json_lines(&json, "errors", errors);
        json_lines(&json, "warnings", config ? config->warnings : STR(""));
        json_key_int(&json, "accounts", config ? (int64_t)config->account_count : 0);
        json_key_int(&json, "sources", (int64_t)sources);
        json_close(&json, '}');
        buf_add_char(&cli->out, '\n');
    } else if (config) {
        if (config->warnings.n)
            fprintf(stderr, "%.*s\n", STR_ARG(config->warnings));
        if (config->secrets_in_view)
            fprintf(
                stderr,
                "%.*s: holds secrets and everybody may read it; run chmod o-r on it, or move them into tributary.env\n",
                STR_ARG(config->path));
        buf_printf(&cli->out, "%.*s is good (accounts: %zu, sources: %zu)\n", STR_ARG(config->path),
                   config->account_count, sources);
    } else {
        fprintf(stderr, "%.*s\n", STR_ARG(errors));
    }
}

int cli_check(struct cli *cli)
{
    struct config *config = NULL;
    struct buf errors;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load(config_find(cli->config), &config, &errors);
    print_checked(cli, err ? NULL : config, buf_str(&errors));
    config_free(config);
    buf_done(&errors);
    return err ? CLI_FAILED : CLI_DONE;
}

int cli_reload(struct cli *cli)
{
    yyjson_doc *doc;
    if (cli_call(cli, "POST", "/api/v1/reload", STR_NONE, &doc))
        return CLI_FAILED;
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str report = cli_text(cli, root, "report");
    if (cli->json)
        cli_print_json(cli, root);
    else
        buf_printf(&cli->out, "%.*s%sread again\n", STR_ARG(report), report.n ? "\n" : "");
    yyjson_doc_free(doc);
    return CLI_DONE;
}

static void print_totals(struct cli *cli, yyjson_val *s)
{
    static const char *const names[] = {"accepted", "delivered", "pending", "skipped", "discarded", "in_doubt"};
    struct buf *out = &cli->out;
    buf_printf(out, "tributary %.*s, running since %.*s UTC%s\n", STR_ARG(cli_text(cli, s, "version")),
               STR_ARG(cli_time(cli, s, "started_at")),
               yyjson_get_bool(yyjson_obj_get(s, "ready")) ? "" : "; it does not take messages now");
    for (size_t i = 0; i < COUNT(names); i++)
        buf_printf(out, "%s%s %.*s", i ? "  " : "", names[i], STR_ARG(cli_text(cli, s, names[i])));
    if (yyjson_get_sint(yyjson_obj_get(s, "pending")))
        buf_printf(out, "\nlanes waiting %.*s, the oldest message for %.*s s",
                   STR_ARG(cli_text(cli, s, "lanes_waiting")), STR_ARG(cli_text(cli, s, "oldest_pending_s")));
    buf_add_char(out, '\n');
}

static void print_hints(struct cli *cli, yyjson_val *accounts)
{
    size_t i, max;
    yyjson_val *account;
    yyjson_arr_foreach(accounts, i, max, account)
    {
        if (yyjson_get_bool(yyjson_obj_get(account, "busy_lane")))
            buf_printf(
                &cli->out,
                "NOTE %.*s: its one lane was busy for over 80 %% of five minutes; order: conversation would help\n",
                STR_ARG(cli_text(cli, account, "name")));
    }
}

static void print_alarms(struct cli *cli, yyjson_val *alarms)
{
    size_t i, max;
    yyjson_val *alarm;
    yyjson_arr_foreach(alarms, i, max, alarm)
    {
        struct str subject = cli_text(cli, alarm, "subject");
        buf_printf(&cli->out, "ALARM %.*s%s%.*s since %.*s UTC: %.*s\n", STR_ARG(cli_text(cli, alarm, "name")),
                   subject.n ? " " : "", STR_ARG(subject), STR_ARG(cli_time(cli, alarm, "since")),
                   STR_ARG(cli_clean(&cli->arena, cli_text(cli, alarm, "text"))));
    }
}

// Where an account is defined is where it was, once it has left the file.
static struct str defined_at(struct cli *cli, yyjson_val *account)
{
    struct str place = cli_text(cli, account, "defined_at");
    if (yyjson_get_bool(yyjson_obj_get(account, "left_file")))
        return STR("left the file");
    return place.n ? place : STR("by hand");
}

static struct str cell_of(struct cli *cli, yyjson_val *object, const char *key)
{
    if (*key == '@')
        return cli_time(cli, object, key + 1);
    return strcmp(key, "defined_at") == 0 ? defined_at(cli, object) : cli_text(cli, object, key);
}

// Each object of the list is a row, `keys` are its cells; a key that begins with '@' is a time.
static void print_list(struct cli *cli, yyjson_val *list, const char *const *titles, const char *const *keys,
                       size_t columns)
{
    struct cli_table table;
    size_t i, max;
    yyjson_val *object;
    if (!yyjson_arr_size(list))
        return;
    cli_table_init(&table, &cli->arena, titles, columns);
    yyjson_arr_foreach(list, i, max, object)
    {
        for (size_t k = 0; k < columns; k++)
            cli_table_add(&table, cell_of(cli, object, keys[k]));
    }
    buf_add_char(&cli->out, '\n');
    cli_table_write(&table, cli->width, &cli->out);
}

int cli_status(struct cli *cli)
{
    static const char *const account_titles[] = {"ACCOUNT", "ACTIVE", "ORDER", ">PENDING", "DEFINED"};
    static const char *const account_keys[] = {"name", "active", "order", "pending", "defined_at"};
    static const char *const desk_titles[] = {"DESK OF", "PLATFORM", "STATE", "REASON", "=TRIED AGAIN"};
    static const char *const desk_keys[] = {"account", "platform", "state", "reason", "@until"};
    static const char *const source_titles[] = {"SOURCE OF", "NAME", "PLATFORM", "STATE", "SAID"};
    static const char *const source_keys[] = {"account", "name", "platform", "state", "text"};
    yyjson_doc *doc;
    if (cli_call(cli, "GET", "/api/v1/status", STR_NONE, &doc))
        return CLI_FAILED;
    yyjson_val *root = yyjson_doc_get_root(doc);
    if (cli->json) {
        cli_print_json(cli, root);
    } else {
        print_totals(cli, root);
        print_alarms(cli, yyjson_obj_get(root, "alarms"));
        print_hints(cli, yyjson_obj_get(root, "accounts"));
        print_list(cli, yyjson_obj_get(root, "accounts"), account_titles, account_keys, COUNT(account_keys));
        print_list(cli, yyjson_obj_get(root, "desks"), desk_titles, desk_keys, COUNT(desk_keys));
        print_list(cli, yyjson_obj_get(root, "sources"), source_titles, source_keys, COUNT(source_keys));
    }
    yyjson_doc_free(doc);
    return CLI_DONE;
}
