// tributary-sandbox: stand-ins of Telegram's Bot API and of Intercom's API, for trying out and for tests. One thread, one loop.
#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "sandbox/intercom.h"
#include "sandbox/telegram.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BOTS = 64, MOST_FAULTS = 64, RETRY_MS = 60000 };

struct arguments {
    struct telegram_options telegram;
    struct intercom_options intercom;
    int64_t customers;
    double rate;
    bool quiet;
    const char *bots[MOST_BOTS];
    size_t bot_count;
    const char *faults[MOST_FAULTS];
    size_t fault_count;
};

static const char usage[] =
    "usage: tributary-sandbox [options]\n"
    "Stand-ins of Telegram's Bot API and of Intercom's API, for trying out and for tests.\n"
    "  --telegram HOST:PORT   where the first one listens (127.0.0.1:0, any free port)\n"
    "  --intercom HOST:PORT   where the second one listens (127.0.0.1:0)\n"
    "  --bot TOKEN            a bot that is there from the start; may be given again\n"
    "  --customers N          chatting customers for every bot in use (0)\n"
    "  --rate R               their messages a second, in all (1)\n"
    "  --fault JSON           a fault from the start: {\"on\": \"telegram\" or \"intercom\", \"fault\": ...}; may be given again\n"
    "  --intercom-webhook URL where the second one tells of what agents do; needs --intercom-secret\n"
    "  --intercom-secret S    what those notifications are signed with\n"
    "  --intercom-limit N     calls in a window of 10 s before 429 (1667; 0: none)\n"
    "  --retry-scale F        shortens the pauses between attempts at a webhook, as 0.01 (1)\n"
    "  --webhook-timeout MS   how long a webhook may take to answer (60000)\n"
    "  --journal N            how many entries the journals keep (200000)\n"
    "  --seed S               the same seed, the same customers and ids (1)\n"
    "  --quiet                no log on standard error\n"
    "  --version, --help\n";

_Noreturn static void die(int status, const char *what, const char *why)
{
    fprintf(stderr, "tributary-sandbox: %s%s%s\n", what, why ? ": " : "", why ? why : "");
    exit(status);
}

static int64_t integer(const char *name, const char *text, int64_t low, int64_t high)
{
    int64_t n = 0;
    if (!str_to_i64(str_of(text), &n) || n < low || n > high)
        die(2, name, "not a number, or out of range");
    return n;
}

static double number(const char *name, const char *text, double low, double high)
{
    char *end = NULL;
    double n = strtod(text, &end);
    if (end == text || *end || !(n >= low && n <= high))
        die(2, name, "not a number, or out of range");
    return n;
}

// What one option does with its value.
static bool take(struct arguments *arguments, const char *name, const char *value)
{
    if (strcmp(name, "--telegram") == 0)
        arguments->telegram.address = value;
    else if (strcmp(name, "--intercom") == 0)
        arguments->intercom.address = value;
    else if (strcmp(name, "--bot") == 0 && arguments->bot_count < MOST_BOTS)
        arguments->bots[arguments->bot_count++] = value;
    else if (strcmp(name, "--fault") == 0 && arguments->fault_count < MOST_FAULTS)
        arguments->faults[arguments->fault_count++] = value;
    else if (strcmp(name, "--customers") == 0)
        arguments->customers = integer(name, value, 0, 1000000);
    else if (strcmp(name, "--rate") == 0)
        arguments->rate = number(name, value, 0, 100000);
    else if (strcmp(name, "--intercom-webhook") == 0)
        arguments->intercom.webhook = str_of(value);
    else if (strcmp(name, "--intercom-secret") == 0)
        arguments->intercom.client_secret = str_of(value);
    else if (strcmp(name, "--intercom-limit") == 0)
        arguments->intercom.limit = integer(name, value, 0, INT32_MAX);
    else if (strcmp(name, "--retry-scale") == 0)
        arguments->telegram.retry_scale = number(name, value, 0, 1000);
    else if (strcmp(name, "--webhook-timeout") == 0)
        arguments->telegram.webhook_timeout_ms = integer(name, value, 1, 3600000);
    else if (strcmp(name, "--journal") == 0)
        arguments->telegram.keep = arguments->intercom.keep = (size_t)integer(name, value, 1, 100000000);
    else if (strcmp(name, "--seed") == 0)
        arguments->telegram.seed = arguments->intercom.seed = (uint64_t)integer(name, value, 0, INT64_MAX);
    else
        return false;
    return true;
}

static void read_arguments(struct arguments *arguments, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("tributary-sandbox %s (stand-ins for trying out and for tests)\n", TRIBUTARY_VERSION);
            exit(0);
        }
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            exit(0);
        }
        if (strcmp(argv[i], "--quiet") == 0) {
            arguments->quiet = true;
            continue;
        }
        if (i + 1 == argc || !take(arguments, argv[i], argv[i + 1])) {
            fprintf(stderr, "tributary-sandbox: %s: %s\n%s", argv[i],
                    i + 1 == argc ? "unknown, or its value is missing" : "unknown, or given too often", usage);
            exit(2);
        }
        i++;
    }
    if (arguments->intercom.webhook.p && !arguments->intercom.client_secret.n)
        die(2, "--intercom-webhook", "it needs --intercom-secret");
    arguments->intercom.retry_ms = (int64_t)(RETRY_MS * arguments->telegram.retry_scale);
}

static void add_fault(struct telegram *telegram, struct intercom *intercom, const char *text)
{
    yyjson_doc *doc = json_read(str_of(text));
    yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
    yyjson_mut_val *spec = yyjson_mut_doc_get_root(copy);
    yyjson_mut_val *on = yyjson_mut_obj_remove_key(spec, "on");
    const char *why = "it needs \"on\": \"telegram\" or \"intercom\"";
    struct door *door = yyjson_mut_equals_str(on, "telegram")   ? telegram->door
                        : yyjson_mut_equals_str(on, "intercom") ? intercom->door
                                                                : NULL;
    yyjson_doc *rest = yyjson_mut_doc_imut_copy(copy, NULL);
    int64_t id = 0;
    bool good = door && door_fault(door, yyjson_doc_get_root(rest), &why, &id);
    yyjson_doc_free(rest);
    yyjson_mut_doc_free(copy);
    yyjson_doc_free(doc);
    if (!good)
        die(2, "--fault", why);
}

static void say_ready(const struct telegram *telegram, const struct intercom *intercom)
{
    struct arena arena = {0};
    struct str chat = door_url(telegram->door, &arena), inbox = door_url(intercom->door, &arena);
    struct buf text;
    buf_init(&text, 4096);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_str(&json, "event", STR("ready"));
    json_key_str(&json, "telegram", chat);
    json_key_str(&json, "intercom", inbox);
    json_key_str(&json, "chat", arena_printf(&arena, "%.*s/", STR_ARG(chat)));
    json_key_str(&json, "inbox", arena_printf(&arena, "%.*s/", STR_ARG(inbox)));
    json_close(&json, '}');
    printf("%.*s\n", STR_ARG(buf_str(&text)));
    fflush(stdout);
    buf_done(&text);
    arena_done(&arena);
}

static void on_signal(uv_signal_t *handle, int number_of_signal)
{
    (void)number_of_signal;
    loop_stop(handle->data);
}

static void stop_on(struct loop *loop, uv_signal_t *handle, int number_of_signal)
{
    uv_signal_init(loop_uv(loop), handle);
    handle->data = loop;
    uv_signal_start(handle, on_signal, number_of_signal);
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .telegram = {"127.0.0.1:0", 1, 60000, 1, 200000},
        .intercom = {.address = "127.0.0.1:0",
                     .seed = 1,
                     .keep = 200000,
                     .limit = 1667,
                     .window_ms = 10000,
                     .webhook_ms = 5000},
        .rate = 1,
    };
    read_arguments(&arguments, argc, argv);
    if (arguments.quiet)
        log_set_level(LOG_OFF);
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    struct loop *loop = loop_new();
    uv_signal_t on_term, on_int;
    const char *why = "";
    stop_on(loop, &on_term, SIGTERM);
    stop_on(loop, &on_int, SIGINT);
    struct telegram *telegram = telegram_new(loop, &arguments.telegram, &why);
    if (!telegram)
        die(1, "--telegram", why);
    struct intercom *intercom = intercom_new(loop, &arguments.intercom, &why);
    if (!intercom)
        die(1, "--intercom", why);
    struct arena arena = {0};
    telegram->door->other = door_url(intercom->door, &arena).p;
    intercom->door->other = door_url(telegram->door, &arena).p;
    for (size_t i = 0; i < arguments.bot_count; i++)
        if (!telegram_bot(telegram, str_of(arguments.bots[i])))
            die(2, "--bot", "a token looks like 123456:ABCdef");
    for (size_t i = 0; i < arguments.fault_count; i++)
        add_fault(telegram, intercom, arguments.faults[i]);
    customers_set(telegram->customers, arguments.customers, arguments.rate);
    say_ready(telegram, intercom);
    loop_run(loop);
    telegram_free(telegram);
    intercom_free(intercom);
    arena_done(&arena);
    loop_free(loop);
    return 0;
}
