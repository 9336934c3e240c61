// One run of the command line: what was asked, the relay it talks to, and what is printed at the end. Private to cli*.c.
#pragma once
#include "app/cli_table.h"
#include "base/json.h"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_ARGS_MAX = 4096, CLI_OUTPUT_MAX = 1 << 30, CLI_KEYS_MAX = 40 };

// --KEY VALUE of a definition (cli_changes.c).
struct cli_key {
    const char *option, *value;
};

struct cli {
    struct arena arena;
    struct buf out; // written to standard output at the end
    size_t width;   // of the terminal; 0 = none
    bool json;
    // Options, NULL when not given.
    const char *config, *socket;
    const char *account, *source, *conversation, *state, *direction, *query, *limit;
    const char *definition;
    void (*waiting)(struct cli *cli); // about once a second while an answer is waited for; NULL: nothing
    bool deep, skipped, all, follow, discard, help;
    struct cli_key keys[CLI_KEYS_MAX];
    size_t key_count;
    // Arguments behind the command's words.
    const char *args[CLI_ARGS_MAX];
    size_t arg_count;
};

// Fills cli->socket. CLI_DONE, or it was complained about.
int cli_find_socket(struct cli *cli);
// A request to the relay. CLI_DONE: `out_doc` is the JSON of a 2xx answer (yyjson_doc_free); else it was complained about.
// `arena` holds the target.
int cli_call(struct cli *cli, const char *method, const char *target, struct str body, yyjson_doc **out_doc);
// The same, not complaining of a problem: *out_doc is the answer of any status.
int cli_call_any(struct cli *cli, const char *method, const char *target, struct str body, int *out_status,
                 yyjson_doc **out_doc);
// For --json: the answer as it came.
int cli_print_json(struct cli *cli, yyjson_val *value);
// Writes the text to standard output, made harmless. 0 or an errno.
int cli_put(const struct cli *cli, struct str text);
// "tributary: sentence" to standard error, made harmless; gives CLI_FAILED.
int cli_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Complains of an answer that is no 2xx: the problem's own words behind `what` (may be ""), and the versions where relay and
// command are not of the same one. Gives CLI_FAILED.
int cli_fail_answer(struct cli *cli, const char *what, int status, yyjson_val *root);
// What stands at `key` as text, for a cell or a line: numbers too; "" for null.
struct str cli_text(struct cli *cli, yyjson_val *object, const char *key);
// The same of the value itself.
struct str cli_text_of(struct cli *cli, yyjson_val *value);
// A request whose answer is printed: as it came for --json, else by `print`.
int cli_one(struct cli *cli, const char *method, const char *target, struct str body,
            void (*print)(struct cli *cli, yyjson_val *root));
// "/api/v1/accounts/NAME" and `rest`; the name is the first argument.
const char *cli_account_path(struct cli *cli, const char *rest);
void cli_print_account(struct cli *cli, yyjson_val *account);
void cli_print_desk(struct cli *cli, yyjson_val *desk);
// Percent-encoded.
const char *cli_escape(struct cli *cli, const char *text);
// "2026-11-22 13:00:35" of an RFC 3339 time.
struct str cli_time(struct cli *cli, yyjson_val *object, const char *key);

int cli_check(struct cli *cli);
int cli_reload(struct cli *cli);
int cli_status(struct cli *cli);
int cli_verify(struct cli *cli);
int cli_account_list(struct cli *cli);
int cli_account_show(struct cli *cli);
int cli_account_add(struct cli *cli);
int cli_account_set(struct cli *cli);
int cli_account_remove(struct cli *cli);
int cli_source_list(struct cli *cli);
int cli_source_add(struct cli *cli);
int cli_source_set(struct cli *cli);
int cli_source_remove(struct cli *cli);
int cli_desk_set(struct cli *cli);
int cli_account_activate(struct cli *cli);
int cli_account_deactivate(struct cli *cli);
int cli_desk_show(struct cli *cli);
int cli_desk_resume(struct cli *cli);
int cli_source_check(struct cli *cli);
int cli_desk_check(struct cli *cli);
int cli_messages(struct cli *cli);
// messages --follow
int cli_follow(struct cli *cli);
int cli_show(struct cli *cli);
int cli_why(struct cli *cli);
int cli_retry(struct cli *cli);
int cli_discard(struct cli *cli);
