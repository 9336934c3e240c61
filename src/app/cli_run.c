#include "app/cli_run.h"

#include "app/config.h"
#include "app/http_local.h"
#include "model/http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ANSWER_S = 120 };

int cli_put(const struct cli *cli, struct str text)
{
    struct buf shown;
    int err = 0;
    buf_init(&shown, SIZE_MAX);
    cli_write_shown(&shown, text, cli->json);
    for (size_t done = 0; done < shown.n && !err;) {
        ssize_t n = write(STDOUT_FILENO, shown.p + done, shown.n - done);
        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            err = errno;
    }
    if (shown.failed)
        err = ENOMEM;
    buf_done(&shown);
    return err;
}

int cli_fail(const char *format, ...)
{
    char sentence[8192];
    struct buf shown;
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    buf_init(&shown, 2 * sizeof sentence);
    cli_write_shown(&shown, str_of(sentence), false);
    fprintf(stderr, "tributary: %.*s\n", STR_ARG(buf_str(&shown)));
    buf_done(&shown);
    return CLI_FAILED;
}

int cli_find_socket(struct cli *cli)
{
    struct str socket;
    struct buf errors;
    if (cli->socket)
        return CLI_DONE;
    buf_init(&errors, CONFIG_ERRORS_MAX);
    int err = config_load_socket(config_find(cli->config), &cli->arena, &socket, &errors);
    if (err)
        cli_fail("%.*s; name the relay's socket with --socket, or its configuration with -c",
                 STR_ARG(buf_str(&errors)));
    else
        cli->socket = socket.p;
    buf_done(&errors);
    return err ? CLI_FAILED : CLI_DONE;
}

static void on_waiting(void *arg)
{
    struct cli *cli = arg;
    cli->waiting(cli);
}

int cli_call_any(struct cli *cli, const char *method, const char *target, struct str body, int *out_status,
                 yyjson_doc **out_doc)
{
    struct http_local_answer answer;
    const char *why;
    if (cli_find_socket(cli))
        return CLI_FAILED;
    bool long_work = strstr(target, "/verify") || strstr(target, "/reload") || strstr(target, "discard=true");
    struct http_local_waiter waiter = {on_waiting, cli};
    if (!http_local_call(cli->socket, method, target, body, long_work ? 0 : ANSWER_S, cli->waiting ? &waiter : NULL,
                         &cli->arena, &answer, &why))
        return cli_fail("%s", why);
    *out_status = answer.status;
    *out_doc = json_read(buf_str(&answer.body));
    buf_done(&answer.body);
    if (*out_doc)
        return CLI_DONE;
    return cli_fail(
        "the relay at %s answered %d without JSON; is something else listening there, or a relay of another version?",
        cli->socket, answer.status);
}

// What the relay that runs calls itself when it is of another version than this program; STR_NONE otherwise.
static struct str other_version(struct cli *cli)
{
    int status = 0;
    yyjson_doc *doc = NULL;
    if (cli_call_any(cli, "GET", "/api/v1/status", STR_NONE, &status, &doc))
        return STR_NONE;
    struct str version = arena_str(&cli->arena, json_get_str(yyjson_doc_get_root(doc), "version"));
    yyjson_doc_free(doc);
    return str_eq_c(version, TRIBUTARY_VERSION) ? STR_NONE : version;
}

// A line of the problem each: several mistakes are told at once.
static int fail_lines(struct cli *cli, const char *what, struct str detail, struct str behind)
{
    for (size_t from = 0; from < detail.n;) {
        size_t to = str_index(detail, '\n', from);
        struct str line = cli_clean(&cli->arena, str_sub(detail, from, to));
        from = to + 1;
        cli_fail("%s%s%.*s%.*s", what, *what ? ": " : "", STR_ARG(line), (int)(from < detail.n ? 0 : behind.n),
                 behind.p);
    }
    return CLI_FAILED;
}

int cli_fail_answer(struct cli *cli, const char *what, int status, yyjson_val *root)
{
    struct str detail = cli_text(cli, root, "detail"), behind = STR("");
    if (!detail.n)
        detail = arena_printf(&cli->arena, "the relay answered %d", status);
    // What one of them does not know yet, or no more, the other asks for in vain.
    struct str version = status < 500 ? other_version(cli) : STR_NONE;
    if (version.n)
        behind = arena_printf(&cli->arena,
                              " (the relay that runs is version %.*s, this command is " TRIBUTARY_VERSION ")",
                              STR_ARG(cli_clean(&cli->arena, version)));
    return fail_lines(cli, what, detail, behind);
}

int cli_call(struct cli *cli, const char *method, const char *target, struct str body, yyjson_doc **out_doc)
{
    int status = 0;
    yyjson_doc *doc = NULL;
    if (cli_call_any(cli, method, target, body, &status, &doc))
        return CLI_FAILED;
    if (status >= 200 && status < 300) {
        *out_doc = doc;
        return CLI_DONE;
    }
    cli_fail_answer(cli, "", status, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    return CLI_FAILED;
}

int cli_print_json(struct cli *cli, yyjson_val *value)
{
    size_t n;
    char *text = yyjson_val_write(value, YYJSON_WRITE_PRETTY, &n);
    if (!text)
        return cli_fail("memory is out");
    buf_add(&cli->out, text, n);
    buf_add_char(&cli->out, '\n');
    free(text);
    return CLI_DONE;
}

struct str cli_text_of(struct cli *cli, yyjson_val *value)
{
    if (yyjson_is_str(value))
        return arena_str(&cli->arena, json_val_str(value));
    if (yyjson_is_int(value))
        return arena_printf(&cli->arena, "%" PRId64, yyjson_get_sint(value));
    if (yyjson_is_real(value))
        return arena_printf(&cli->arena, "%.3f", yyjson_get_real(value));
    if (yyjson_is_bool(value))
        return yyjson_get_bool(value) ? STR("yes") : STR("no");
    return STR("");
}

struct str cli_text(struct cli *cli, yyjson_val *object, const char *key)
{
    return cli_text_of(cli, yyjson_obj_get(object, key));
}

const char *cli_escape(struct cli *cli, const char *text)
{
    return http_escape(&cli->arena, str_of(text)).p;
}

struct str cli_time(struct cli *cli, yyjson_val *object, const char *key)
{
    struct str text = cli_text(cli, object, key);
    if (text.n < 19)
        return text;
    return arena_printf(&cli->arena, "%.10s %.8s", text.p, text.p + 11);
}
