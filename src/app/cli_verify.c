// verify: the store of the running relay is looked at, by the relay. On a terminal it says how far it is.
#include "app/cli_run.h"
#include "app/http_local.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { PROGRESS_S = 2, LINE = 48 };

// While the answer is waited for. What cannot be asked now is not shown.
static void show_progress(struct cli *cli)
{
    struct arena arena = {0};
    struct http_local_answer answer;
    const char *why;
    if (!http_local_call(cli->socket, "GET", "/api/v1/verify/progress", STR_NONE, PROGRESS_S, NULL, &arena, &answer,
                         &why)) {
        arena_done(&arena);
        return;
    }
    yyjson_doc *doc = json_read(buf_str(&answer.body));
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str part = cli_clean(&arena, json_get_str(root, "part"));
    int64_t done = 0, of = 0;
    char line[128] = "";
    if (json_get_int(root, "of", &of) && json_get_int(root, "done", &done) && of > 0)
        snprintf(line, sizeof line, "%.*s: %" PRId64 " of %" PRId64, STR_ARG(part), done, of);
    else if (part.n)
        snprintf(line, sizeof line, "%.*s", STR_ARG(part));
    fprintf(stderr, "\r%-*s\r%s", LINE, "", line);
    yyjson_doc_free(doc);
    buf_done(&answer.body);
    arena_done(&arena);
}

static void print_finding(struct cli *cli, yyjson_val *finding)
{
    struct str kind = cli_text(cli, finding, "kind"), advice = cli_text(cli, finding, "advice");
    buf_printf(&cli->out, "%.*s: %.*s\n", STR_ARG(cli_clean(&cli->arena, kind)),
               STR_ARG(cli_clean(&cli->arena, json_get_str(finding, "text"))));
    if (advice.n)
        buf_printf(&cli->out, "        %.*s\n", STR_ARG(cli_clean(&cli->arena, advice)));
}

static void print_verified(struct cli *cli, yyjson_val *root, bool good)
{
    size_t i, max;
    yyjson_val *finding;
    buf_printf(
        &cli->out,
        "looked at: messages %.*s, conversations %.*s, lanes with something delivered %.*s, files %.*s, in %.*s s\n",
        STR_ARG(cli_text(cli, root, "messages")), STR_ARG(cli_text(cli, root, "conversations")),
        STR_ARG(cli_text(cli, root, "lanes")), STR_ARG(cli_text(cli, root, "files")),
        STR_ARG(cli_text(cli, root, "seconds")));
    yyjson_arr_foreach(yyjson_obj_get(root, "findings"), i, max, finding)
    {
        print_finding(cli, finding);
    }
    if (!good) {
        buf_add_str(&cli->out, STR("the store is not as it must be\n"));
        return;
    }
    buf_add_str(&cli->out, STR("accepted = delivered + pending + skipped + discarded: true\n"
                               "every row's checksum and the order in each lane: good\n"));
    if (cli->deep)
        buf_add_str(&cli->out, STR("the whole file: good\n"));
}

int cli_verify(struct cli *cli)
{
    yyjson_doc *doc;
    bool terminal = isatty(STDERR_FILENO);
    if (terminal)
        cli->waiting = show_progress;
    int status = cli_call(cli, "GET", cli->deep ? "/api/v1/verify?deep=true" : "/api/v1/verify", STR_NONE, &doc);
    if (terminal)
        fprintf(stderr, "\r%-*s\r", LINE, "");
    if (status)
        return CLI_FAILED;
    yyjson_val *root = yyjson_doc_get_root(doc);
    bool good = yyjson_get_bool(yyjson_obj_get(root, "ok"));
    if (cli->json)
        cli_print_json(cli, root);
    else
        print_verified(cli, root, good);
    yyjson_doc_free(doc);
    return good ? CLI_DONE : CLI_FAILED;
}
