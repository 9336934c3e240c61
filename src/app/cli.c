#include "app/cli.h"

#include "app/cli_run.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct command {
    const char *words;   // "account list"
    const char *args;    // for the help
    const char *options; // names without "--", with spaces between; -c, --socket and --json are everywhere
    size_t least, most;
    int (*run)(struct cli *cli);
    const char *help;
};

static const struct command commands[] = {
    {"check", "", "", 0, 0, cli_check, "read the configuration and say what is wrong"},
    {"reload", "", "", 0, 0, cli_reload, "have the relay read its configuration again"},
    {"status", "", "", 0, 0, cli_status, "totals, alarms, accounts, desks, sources"},
    {"verify", "", "deep", 0, 0, cli_verify, "look at the whole store: the sum, checksums, order"},
    {"account list", "", "", 0, 0, cli_account_list, "all accounts"},
    {"account show", "NAME", "", 1, 1, cli_account_show, "one account with its sources and its desk"},
    {"account add", "NAME", "definition @account", 1, 1, cli_account_add, "make one by hand, with a source and a desk"},
    {"account set", "NAME", "definition @account", 1, 1, cli_account_set, "change one made by hand"},
    {"account remove", "NAME", "discard", 1, 1, cli_account_remove, "refused while messages wait, unless --discard"},
    {"account activate", "NAME...", "all", 0, CLI_ARGS_MAX, cli_account_activate,
     "deliver its messages again, from where it stopped"},
    {"account deactivate", "NAME...", "all", 0, CLI_ARGS_MAX, cli_account_deactivate,
     "stop delivering; messages are still taken and stored"},
    {"source list", "ACCOUNT", "", 1, 1, cli_source_list, "the account's sources"},
    {"source add", "ACCOUNT NAME", "definition @source", 2, 2, cli_source_add, "one more bot or number"},
    {"source set", "ACCOUNT NAME", "definition @source", 2, 2, cli_source_set, "change one"},
    {"source remove", "ACCOUNT NAME", "", 2, 2, cli_source_remove, "its waiting messages are still delivered"},
    {"desk show", "ACCOUNT", "", 1, 1, cli_desk_show, "the account's desk"},
    {"source check", "ACCOUNT [NAME...]", "", 1, CLI_ARGS_MAX, cli_source_check,
     "what the platform says of the account's sources now"},
    {"desk check", "ACCOUNT", "", 1, 1, cli_desk_check, "what the account's desk says now"},
    {"desk set", "ACCOUNT", "definition @desk", 1, 1, cli_desk_set, "change it: another token, another platform"},
    {"desk resume", "ACCOUNT", "", 1, 1, cli_desk_resume, "go on after a suspension"},
    {"messages", "", "account source conversation state direction q limit all follow", 0, 0, cli_messages,
     "messages in order of acceptance; --follow: as they come"},
    {"show", "MESSAGE", "", 1, 1, cli_show, "one message with its attempts"},
    {"why", "ACCOUNT[/SOURCE/CONVERSATION]", "", 1, 1, cli_why, "why nothing moves, and what can be done"},
    {"retry", "MESSAGE...", "account skipped", 0, CLI_ARGS_MAX, cli_retry,
     "try again; or --account A --skipped: all skipped ones"},
    {"discard", "MESSAGE...", "", 1, CLI_ARGS_MAX, cli_discard, "settle by hand, without delivering"},
};

static void print_help(struct buf *out)
{
    buf_add_str(out, STR("usage: tributary COMMAND [-c FILE] [--socket PATH] [--json]\n\n"
                         "  serve                                run the relay (-c FILE)\n"));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", commands[i].words, commands[i].args);
        buf_printf(out, "  %-36s %s\n", left, commands[i].help);
    }
    buf_add_str(
        out,
        STR("\nmessages: --account A --source S --conversation C --state pending|delivered|skipped|discarded\n"
            "          --direction inbound|reply|note --q TEXT --limit N (100) or --all\n"
            "account add, account set: --active --order --on-failure --in-doubt --replies; add also --source-KEY, --desk-KEY\n"
            "source add, source set:   --platform --mode --take-over --api-url --token-file --secret-file\n"
            "desk set: --platform --api-url --url --probe --rate --token-file --client-secret-file --secret-file\n"
            "          a secret comes out of a file (- is standard input); or all of it: --definition FILE (JSON)\n"
            "account activate, account deactivate: --all in place of names\n"
            "verify:   --deep looks at the structure of the file, too\n"
            "Exit status: 0 done, 1 failed, 2 usage. See tributary(1), tributary.yaml(5).\n"));
}

__attribute__((format(printf, 1, 2))) static int usage(const char *format, ...)
{
    char sentence[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    cli_fail("%s; tributary help lists what there is", sentence);
    return CLI_USAGE;
}

// Whether the words at argv are the command's; how many they are.
static size_t words_match(const char *words, int argc, char **argv)
{
    struct str rest = str_of(words);
    size_t count = 0;
    for (size_t from = 0; from < rest.n; count++) {
        size_t to = str_index(rest, ' ', from);
        if ((int)count >= argc || !str_eq_c(str_sub(rest, from, to), argv[count]))
            return 0;
        from = to + 1;
    }
    return count;
}

static const struct command *find_command(int argc, char **argv, int *out_words)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        *out_words = (int)words_match(commands[i].words, argc, argv);
        if (*out_words)
            return &commands[i];
    }
    return NULL;
}

// Where the value of a named option goes, or its flag.
struct option_place {
    const char **value;
    bool *flag;
};

static bool find_option(struct cli *cli, const char *name, struct option_place *out)
{
    struct {
        const char *name;
        struct option_place place;
    } known[] = {
        {"socket", {.value = &cli->socket}},
        {"json", {.flag = &cli->json}},
        {"account", {.value = &cli->account}},
        {"source", {.value = &cli->source}},
        {"conversation", {.value = &cli->conversation}},
        {"state", {.value = &cli->state}},
        {"direction", {.value = &cli->direction}},
        {"q", {.value = &cli->query}},
        {"limit", {.value = &cli->limit}},
        {"deep", {.flag = &cli->deep}},
        {"skipped", {.flag = &cli->skipped}},
        {"all", {.flag = &cli->all}},
        {"follow", {.flag = &cli->follow}},
        {"discard", {.flag = &cli->discard}},
        {"definition", {.value = &cli->definition}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, name) == 0) {
            *out = known[i].place;
            return true;
        }
    }
    return false;
}

static bool has_option(const struct command *command, const char *name)
{
    struct str options = str_of(command->options);
    for (size_t from = 0; from < options.n;) {
        size_t to = str_index(options, ' ', from);
        if (str_eq_c(str_sub(options, from, to), name))
            return true;
        from = to + 1;
    }
    return strcmp(name, "socket") == 0 || strcmp(name, "json") == 0;
}

// A key of a definition, as the command takes them ("@account"): what keys there are is the command's to say.
static bool key_option(struct cli *cli, const struct command *command, const char *name, struct option_place *out)
{
    if (!strchr(command->options, '@') || cli->key_count == CLI_KEYS_MAX)
        return false;
    struct cli_key *key = &cli->keys[cli->key_count++];
    key->option = arena_str(&cli->arena, str_of(name)).p;
    *out = (struct option_place){.value = &key->value};
    return true;
}

// One option at argv[*i]; moves *i over its value.
static int take_option(struct cli *cli, const struct command *command, int argc, char **argv, int *i)
{
    char name[32];
    const char *word = argv[*i], *equals = strchr(word, '=');
    struct option_place place;
    if (strcmp(word, "-c") == 0) {
        place = (struct option_place){.value = &cli->config};
        equals = NULL;
    } else {
        size_t n = equals ? (size_t)(equals - word) : strlen(word);
        snprintf(name, sizeof name, "%.*s", n > 2 ? (int)n - 2 : 0, word + 2);
        bool known = word[1] == '-' && find_option(cli, name, &place) && has_option(command, name);
        if (!known && (word[1] != '-' || !key_option(cli, command, name, &place)))
            return usage("there is no option %s here", word);
    }
    if (place.flag) {
        *place.flag = true;
        return equals ? usage("%s takes no value", word) : CLI_DONE;
    }
    if (!equals && *i + 1 >= argc)
        return usage("%s needs a value", word);
    *place.value = equals ? equals + 1 : argv[++*i];
    return CLI_DONE;
}

static bool is_call_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static int take_words(struct cli *cli, const struct command *command, int argc, char **argv)
{
    bool plain = false; // behind "--"
    for (int i = 0; i < argc; i++) {
        if (!plain && strcmp(argv[i], "--") == 0) {
            plain = true;
        } else if (!plain && is_call_for_help(argv[i])) {
            cli->help = true;
            return CLI_DONE;
        } else if (!plain && argv[i][0] == '-' && argv[i][1]) {
            int status = take_option(cli, command, argc, argv, &i);
            if (status)
                return status;
        } else if (cli->arg_count >= command->most) {
            return usage("%s is one too many", argv[i]);
        } else if (!*argv[i]) {
            return usage("an argument is empty, where %s is wanted", command->args);
        } else {
            cli->args[cli->arg_count++] = argv[i];
        }
    }
    if (cli->arg_count < command->least)
        return usage("what is missing: %s", command->args);
    return CLI_DONE;
}

// A closed one would be given to the next socket or file that is opened.
static void keep_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY) < 0)
            return;
}

static size_t terminal_width(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
        return 0;
    return size.ws_col;
}

// Whoever reads may have seen enough: that is told by the exit status alone.
static int print(const struct cli *cli)
{
    if (cli->out.failed)
        return cli_fail("the output is too large; ask for less");
    int err = cli_put(cli, buf_str(&cli->out));
    if (err && err != EPIPE)
        return cli_fail("cannot write to standard output: %s", strerrordesc_np(err));
    return err ? CLI_FAILED : CLI_DONE;
}

// The first word may be one of a command of two: "account" alone, or "account lst".
static int unknown_command(struct cli *cli, int argc, char **argv)
{
    struct str first = arena_printf(&cli->arena, "%s ", argv[0]), seconds = STR("");
    if (argv[0][0] == '-')
        return usage("the command comes first, its options behind it: tributary status %s", argv[0]);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        const char *words = commands[i].words;
        if (strncmp(words, first.p, first.n) == 0)
            seconds = arena_printf(&cli->arena, "%.*s%s%s", STR_ARG(seconds), seconds.n ? ", " : "", words + first.n);
    }
    if (!seconds.n)
        return usage("there is no command %s", argv[0]);
    if (argc > 1)
        return usage("there is no command %s %s; there are, with %s: %.*s", argv[0], argv[1], argv[0],
                     STR_ARG(seconds));
    return usage("what is missing behind %s: %.*s", argv[0], STR_ARG(seconds));
}

static int run(struct cli *cli, int argc, char **argv)
{
    int words;
    const struct command *command = argc ? find_command(argc, argv, &words) : NULL;
    if (argc && (strcmp(argv[0], "help") == 0 || is_call_for_help(argv[argc == 2 && !command]))) {
        print_help(&cli->out);
        return CLI_DONE;
    }
    if (argc == 1 && strcmp(argv[0], "--version") == 0) {
        buf_add_str(&cli->out, STR("tributary " TRIBUTARY_VERSION "\n"));
        return CLI_DONE;
    }
    if (!argc)
        return usage("no command was given");
    if (!command)
        return unknown_command(cli, argc, argv);
    int status = take_words(cli, command, argc - words, argv + words);
    if (cli->help)
        print_help(&cli->out);
    return status || cli->help ? status : command->run(cli);
}

int cli_main(int argc, char **argv)
{
    static struct cli cli; // its list of arguments is large
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    cli = (struct cli){0};
    sigaction(SIGPIPE, &ignore, NULL);
    keep_standard_descriptors();
    curl_global_init(CURL_GLOBAL_DEFAULT);
    buf_init(&cli.out, CLI_OUTPUT_MAX);
    cli.width = terminal_width();
    int status = run(&cli, argc - 1, argv + 1);
    int printed = print(&cli);
    buf_done(&cli.out);
    arena_done(&cli.arena);
    curl_global_cleanup();
    return status ? status : printed;
}
