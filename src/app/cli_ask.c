// source check, desk check: what the platform and the desk say now.
#include "app/cli_run.h"

#include <stdlib.h>

// Prints one answer; false when it is bad, or there is none.
static bool ask(struct cli *cli, struct json *json, const char *what, const char *target)
{
    yyjson_doc *doc;
    size_t n;
    if (cli_call(cli, "POST", target, STR_NONE, &doc))
        return false;
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool good = yyjson_get_bool(yyjson_obj_get(root, "ok"));
    if (json) {
        char *data = yyjson_val_write(yyjson_obj_get(root, "data"), 0, &n);
        json_open(json, '{');
        json_key_str(json, "name", str_of(what));
        json_key_bool(json, "ok", good);
        json_key_str(json, "text", json_get_str(root, "text"));
        json_key(json, "data");
        json_raw(json, data ? (struct str){data, n} : STR("{}"));
        json_close(json, '}');
        free(data);
    } else {
        buf_printf(&cli->out, "%s: %s: %.*s\n", what, good ? "good" : "BAD",
                   STR_ARG(cli_clean(&cli->arena, cli_text(cli, root, "text"))));
    }
    yyjson_doc_free(doc);
    return good;
}

static bool ask_source(struct cli *cli, struct json *json, const char *name)
{
    const char *account = cli->args[0];
    struct str target = arena_printf(&cli->arena, "/api/v1/accounts/%s/sources/%s/check", cli_escape(cli, account),
                                     cli_escape(cli, name));
    return ask(cli, json, arena_printf(&cli->arena, "%s/%s", account, name).p, target.p);
}

// All of the account, where none is named.
static int name_all(struct cli *cli)
{
    yyjson_doc *doc;
    size_t i, max;
    yyjson_val *source;
    struct str target = arena_printf(&cli->arena, "/api/v1/accounts/%s", cli_escape(cli, cli->args[0]));
    if (cli_call(cli, "GET", target.p, STR_NONE, &doc))
        return CLI_FAILED;
    yyjson_arr_foreach(yyjson_obj_get(yyjson_doc_get_root(doc), "sources"), i, max, source)
    {
        if (cli->arg_count < CLI_ARGS_MAX)
            cli->args[cli->arg_count++] = cli_text(cli, source, "name").p;
    }
    yyjson_doc_free(doc);
    return CLI_DONE;
}

int cli_source_check(struct cli *cli)
{
    struct json json = {.out = &cli->out};
    bool good = true;
    if (cli->arg_count == 1 && name_all(cli))
        return CLI_FAILED;
    if (cli->json)
        buf_add_str(&cli->out, STR("{\"items\":["));
    for (size_t i = 1; i < cli->arg_count; i++)
        good &= ask_source(cli, cli->json ? &json : NULL, cli->args[i]);
    if (cli->json)
        buf_add_str(&cli->out, STR("]}\n"));
    return good ? CLI_DONE : CLI_FAILED;
}

// What it says now is not why messages wait: a suspension by another answer goes on until it is tried.
static void tell_suspension(struct cli *cli)
{
    yyjson_doc *doc;
    int status;
    if (cli_call_any(cli, "GET", cli_account_path(cli, "/desk"), STR_NONE, &status, &doc))
        return;
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str reason = cli_clean(&cli->arena, cli_text(cli, root, "reason"));
    if (str_eq_c(json_get_str(root, "state"), "suspended"))
        buf_printf(&cli->out, "%s: suspended: %.*s; tributary why %s says what helps\n", cli->args[0], STR_ARG(reason),
                   cli->args[0]);
    yyjson_doc_free(doc);
}

int cli_desk_check(struct cli *cli)
{
    struct json json = {.out = &cli->out};
    struct str target = arena_printf(&cli->arena, "/api/v1/accounts/%s/desk/check", cli_escape(cli, cli->args[0]));
    bool good = ask(cli, cli->json ? &json : NULL, cli->args[0], target.p);
    if (cli->json && cli->out.n)
        buf_add_char(&cli->out, '\n');
    if (!cli->json && cli->out.n)
        tell_suspension(cli);
    return good ? CLI_DONE : CLI_FAILED;
}
