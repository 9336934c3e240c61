// account add|set|remove|activate|deactivate, source add|set|remove, desk set.
//
// A definition is given key by key (--order conversation; the keys are those of the configuration file) or whole, as JSON. A
// secret never stands in the command line, where every user of the machine can read it: --token-file FILE, - for standard input.
#include "app/cli_run.h"
#include "app/config_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEFINITION_MAX = 1 << 20, SECRET_MAX = 64 * 1024 };

static int usage(const char *sentence, const char *word)
{
    (void)cli_fail("%s%s; tributary help lists what there is", word, sentence);
    return CLI_USAGE;
}

static int read_whole(int fd, struct buf *out)
{
    char block[65536];
    for (;;) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? ERR_IO : ERR_OK;
        int err = buf_add(out, block, (size_t)n);
        if (err)
            return err;
    }
}

static int read_input(struct cli *cli, const char *path, size_t max, struct str *out)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    struct buf text;
    if (fd < 0)
        return cli_fail("%s cannot be read: %s", path, strerrordesc_np(errno));
    buf_init(&text, max);
    int err = read_whole(fd, &text);
    if (err)
        cli_fail("%s cannot be read: %s", path, err == ERR_IO ? strerrordesc_np(errno) : "it is too large");
    else
        *out = arena_str(&cli->arena, buf_str(&text));
    if (!standard)
        close(fd);
    buf_done(&text);
    return err ? CLI_FAILED : CLI_DONE;
}

// ---- keys ----

// A key of a section, out of "--source-api-url" or "--token-file".
struct wanted {
    const struct config_key *key;
    bool file;
};

static bool find_key(const struct config_section *section, struct str option, struct wanted *out)
{
    char name[32];
    out->file = str_ends(option, STR("-file"));
    if (out->file)
        option.n -= sizeof "-file" - 1;
    if (option.n >= sizeof name)
        return false;
    for (size_t i = 0; i < option.n; i++)
        name[i] = option.p[i] == '-' ? '_' : option.p[i];
    name[option.n] = 0;
    out->key = config_key_find(section, str_of(name));
    return out->key && !out->key->section && strcmp(name, "name") != 0;
}

static int add_key(struct cli *cli, struct json *json, const struct cli_key *given, const struct wanted *wanted)
{
    struct str value = str_of(given->value);
    bool secret = wanted->key->type == KEY_SECRET;
    if (secret && !wanted->file && !str_eq_c(value, "none"))
        return usage(" would be seen by all who list processes; give it in a file, with -file behind the option's name",
                     given->option);
    if (wanted->file && read_input(cli, given->value, SECRET_MAX, &value))
        return CLI_FAILED;
    value = wanted->file ? str_trim(value) : value;
    json_key(json, wanted->key->name);
    bool yes = str_eq_c(value, "true");
    if (wanted->key->type == KEY_BOOL && (yes || str_eq_c(value, "false")))
        json_bool(json, yes);
    else
        json_str(json, value);
    return CLI_DONE;
}

// The given keys whose option begins with `prefix`; with an empty one those that begin with neither source- nor desk-.
static bool is_of(const char *option, const char *prefix)
{
    bool part = strncmp(option, "source-", 7) == 0 || strncmp(option, "desk-", 5) == 0;
    return *prefix ? strncmp(option, prefix, strlen(prefix)) == 0 : !part;
}

static int add_keys(struct cli *cli, struct json *json, const struct config_section *section, const char *prefix,
                    size_t *taken)
{
    for (size_t i = 0; i < cli->key_count; i++) {
        const struct cli_key *given = &cli->keys[i];
        struct wanted wanted;
        if (!is_of(given->option, prefix))
            continue;
        struct str option = str_of(given->option + strlen(prefix));
        bool name = *prefix && str_eq_c(option, "name");
        ++*taken;
        if (name) {
            json_key_str(json, "name", str_of(given->value));
            continue;
        }
        if (!find_key(section, option, &wanted))
            return usage(" is no option here", arena_printf(&cli->arena, "--%s", given->option).p);
        int status = add_key(cli, json, given, &wanted);
        if (status)
            return status;
    }
    return CLI_DONE;
}

static const struct config_section *section_of(const char *part)
{
    const struct config_section *accounts = config_key_find(&config_root, STR("accounts"))->section;
    return part ? config_key_find(accounts, str_of(part))->section : accounts;
}

static bool any_of(const struct cli *cli, const char *prefix)
{
    for (size_t i = 0; i < cli->key_count; i++)
        if (is_of(cli->keys[i].option, prefix))
            return true;
    return false;
}

static int write_account(struct cli *cli, struct json *json, bool parts)
{
    size_t taken = 0;
    int status = add_keys(cli, json, section_of(NULL), "", &taken);
    if (!status && parts && any_of(cli, "source-")) {
        json_key(json, "sources");
        json_open(json, '[');
        json_open(json, '{');
        status = add_keys(cli, json, section_of("sources"), "source-", &taken);
        json_close(json, '}');
        json_close(json, ']');
    }
    if (!status && parts && any_of(cli, "desk-")) {
        json_key(json, "desk");
        json_open(json, '{');
        status = add_keys(cli, json, section_of("desk"), "desk-", &taken);
        json_close(json, '}');
    }
    if (!status && taken < cli->key_count)
        return usage("a source is changed with \"source set\", a desk with \"desk set\"", "");
    return status;
}

enum part { PART_ACCOUNT, PART_ACCOUNT_AND_PARTS, PART_SOURCE, PART_DESK };

static int write_keys(struct cli *cli, enum part part, const char *name, struct str *out)
{
    struct buf text;
    struct json json = {.out = &text};
    size_t taken = 0;
    int status;
    buf_init(&text, DEFINITION_MAX);
    json_open(&json, '{');
    if (name)
        json_key_str(&json, "name", str_of(name));
    if (part == PART_ACCOUNT || part == PART_ACCOUNT_AND_PARTS)
        status = write_account(cli, &json, part == PART_ACCOUNT_AND_PARTS);
    else
        status = add_keys(cli, &json, section_of(part == PART_SOURCE ? "sources" : "desk"), "", &taken);
    json_close(&json, '}');
    *out = arena_str(&cli->arena, buf_str(&text));
    buf_done(&text);
    return status;
}

// The definition given whole; the name, where there is one, is the command line's.
static int read_definition(struct cli *cli, const char *name, struct str *out)
{
    if (cli->key_count)
        return usage("give --definition, or the keys one by one", "");
    if (read_input(cli, cli->definition, DEFINITION_MAX, out))
        return CLI_FAILED;
    yyjson_doc *doc = json_read(*out);
    yyjson_val *root = yyjson_doc_get_root(doc);
    struct str said = json_get_str(root, "name");
    int status = CLI_DONE;
    if (!yyjson_is_obj(root))
        status = cli_fail("%s is no JSON object", cli->definition);
    else if (said.p && name && !str_eq_c(said, name))
        status = cli_fail("%s names it \"%.*s\", the command line \"%s\"", cli->definition, STR_ARG(said), name);
    else if (!said.p && name)
        *out = arena_printf(&cli->arena, "{\"name\":\"%s\"%s%.*s", name, yyjson_obj_size(root) ? "," : "",
                            STR_ARG(str_sub(str_trim(*out), 1, out->n)));
    yyjson_doc_free(doc);
    return status;
}

static int send_definition(struct cli *cli, enum part part, const char *name, const char *method, const char *target,
                           void (*print)(struct cli *cli, yyjson_val *root))
{
    struct str body;
    int status = cli->definition ? read_definition(cli, name, &body) : write_keys(cli, part, name, &body);
    if (!status && !cli->definition && !cli->key_count)
        return usage("what shall it be? Give keys, as in --platform telegram, or --definition FILE", "");
    return status ? status : cli_one(cli, method, target, body, print);
}

// ---- commands ----

// In a definition that is written here by hand a quote in a name would end it.
static int check_name(const char *name)
{
    return strpbrk(name, "\"\\") ? usage(" is no name; write 1 to 63 of a-z, 0-9 and -", name) : CLI_DONE;
}

int cli_account_add(struct cli *cli)
{
    int status = check_name(cli->args[0]);
    return status ? status
                  : send_definition(cli, PART_ACCOUNT_AND_PARTS, cli->args[0], "POST", "/api/v1/accounts",
                                    cli_print_account);
}

int cli_account_set(struct cli *cli)
{
    return send_definition(cli, PART_ACCOUNT, NULL, "PATCH", cli_account_path(cli, ""), cli_print_account);
}

static void print_removal(struct cli *cli, yyjson_val *root)
{
    int64_t discarded = 0;
    (void)json_get_int(root, "discarded", &discarded);
    buf_printf(&cli->out, "%.*s is removed", STR_ARG(cli_text(cli, root, "removed")));
    if (discarded)
        buf_printf(&cli->out, "; %lld message%s discarded", (long long)discarded, discarded == 1 ? " was" : "s were");
    buf_add_char(&cli->out, '\n');
}

int cli_account_remove(struct cli *cli)
{
    return cli_one(cli, "DELETE", cli_account_path(cli, cli->discard ? "?discard=true" : ""), STR_NONE, print_removal);
}

int cli_source_add(struct cli *cli)
{
    int status = check_name(cli->args[1]);
    return status ? status
                  : send_definition(cli, PART_SOURCE, cli->args[1], "POST", cli_account_path(cli, "/sources"),
                                    cli_print_desk);
}

static const char *source_path(struct cli *cli)
{
    const char *rest = arena_printf(&cli->arena, "/sources/%s", cli_escape(cli, cli->args[1])).p;
    return cli_account_path(cli, rest);
}

int cli_source_set(struct cli *cli)
{
    return send_definition(cli, PART_SOURCE, NULL, "PATCH", source_path(cli), cli_print_desk);
}

int cli_source_remove(struct cli *cli)
{
    return cli_one(cli, "DELETE", source_path(cli), STR_NONE, print_removal);
}

int cli_desk_set(struct cli *cli)
{
    return send_definition(cli, PART_DESK, NULL, "PATCH", cli_account_path(cli, "/desk"), cli_print_desk);
}

static void print_active(struct cli *cli, yyjson_val *account)
{
    bool active = yyjson_get_bool(yyjson_obj_get(account, "active"));
    struct str pending = cli_text(cli, account, "pending");
    buf_printf(&cli->out, "%.*s is %s; %.*s message%s\n", STR_ARG(cli_text(cli, account, "name")),
               active ? "active" : "inactive", STR_ARG(pending), str_eq_c(pending, "1") ? " waits" : "s wait");
}

static void print_switched(struct cli *cli, yyjson_val *root)
{
    bool active = yyjson_get_bool(yyjson_obj_get(root, "active"));
    struct str changed = cli_text(cli, root, "changed");
    buf_printf(&cli->out, "%.*s account%s %s\n", STR_ARG(changed), str_eq_c(changed, "1") ? " was" : "s were",
               active ? "activated" : "deactivated");
}

static struct str names_body(struct cli *cli, bool active)
{
    struct buf text;
    struct json json = {.out = &text};
    buf_init(&text, DEFINITION_MAX);
    json_open(&json, '{');
    json_key_bool(&json, "active", active);
    if (cli->all) {
        json_key_bool(&json, "all", true);
    } else {
        json_key(&json, "accounts");
        json_open(&json, '[');
        for (size_t i = 0; i < cli->arg_count; i++)
            json_str(&json, str_of(cli->args[i]));
        json_close(&json, ']');
    }
    json_close(&json, '}');
    struct str body = arena_str(&cli->arena, buf_str(&text));
    buf_done(&text);
    return body;
}

static int set_active(struct cli *cli, bool active)
{
    if (cli->all ? cli->arg_count > 0 : !cli->arg_count)
        return usage("name the accounts, or give --all alone", "");
    if (cli->arg_count != 1)
        return cli_one(cli, "PATCH", "/api/v1/accounts", names_body(cli, active), print_switched);
    return cli_one(cli, "PATCH", cli_account_path(cli, ""),
                   active ? STR("{\"active\":true}") : STR("{\"active\":false}"), print_active);
}

int cli_account_activate(struct cli *cli)
{
    return set_active(cli, true);
}

int cli_account_deactivate(struct cli *cli)
{
    return set_active(cli, false);
}
