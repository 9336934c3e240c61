#include "bench/support/load_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: load --port PORT [OPTION...]   (loopback only)\n"
    "  --shape webhook|telegram|intercom   kind of request (webhook)\n"
    "  --account NAME             path /hooks/NAME/SOURCE (bench)\n"
    "  --accounts N               spread the lanes over NAME-000000 and so on (1: NAME itself)\n"
    "  --source NAME              (in)\n"
    "  --secret S                 webhook: sign with whsec_...; telegram: the secret header (none)\n"
    "  --connections N            (64)\n"
    "  --lanes N                  conversations, at least as many as connections (1000)\n"
    "  --first-lane N             their first number (0)\n"
    "  --rate R                   open loop, messages a second; without it closed loop\n"
    "  --count N | --seconds S    how many, or how long (5 seconds)\n"
    "  --pad BYTES                more text in each message (0)\n"
    "  --run 0..999               part of each message's id, so that a second run is not taken for a repetition (0)\n"
    "  --patience S               ends when nothing was answered for so long (10)\n"
    "  --counts FILE              writes \"lane acknowledged\" lines, for the sink's /expect\n"
    "  --after FILE               goes on with the lanes where an earlier run's --counts ended\n";

_Noreturn static void bad_usage(const char *why)
{
    fprintf(stderr, "load: %s\n%s", why, usage);
    exit(2);
}

static double number(const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (*end || end == text || value < min || value > max)
        bad_usage("a number is out of its range");
    return value;
}

static void read_option(int option, struct load_options *out)
{
    switch (option) {
    case 'p':
        out->port = (uint16_t)number(optarg, 1, 65535);
        break;
    case 'h':
        out->request.shape = optarg;
        break;
    case 'a':
        out->request.account = optarg;
        break;
    case 'A':
        out->request.accounts = (uint32_t)number(optarg, 1, 999999);
        break;
    case 's':
        out->request.source = optarg;
        break;
    case 'k':
        out->request.secret = optarg;
        break;
    case 'c':
        out->connections = (uint32_t)number(optarg, 1, 20000);
        break;
    case 'l':
        out->lanes = (uint32_t)number(optarg, 1, MARK_LANES_MAX);
        break;
    case 'f':
        out->first_lane = (uint32_t)number(optarg, 0, MARK_LANES_MAX);
        break;
    case 'r':
        out->rate = number(optarg, 0.001, 1e7);
        break;
    case 'n':
        out->count = (uint64_t)number(optarg, 1, 99999999);
        break;
    case 't':
        out->seconds = number(optarg, 0.001, 1e5);
        break;
    case 'P':
        out->request.pad = (size_t)number(optarg, 0, REQUEST_PAD_MAX);
        break;
    case 'R':
        out->request.run = (uint32_t)number(optarg, 0, 899);
        break;
    case 'w':
        out->patience_s = number(optarg, 0.1, 1e5);
        break;
    case 'C':
        out->counts = optarg;
        break;
    case 'g':
        out->after = optarg;
        break;
    default:
        bad_usage("no such option");
    }
}

static void check(const struct load_options *options)
{
    const struct request_options *request = &options->request;
    if (!options->port)
        bad_usage("--port is missing");
    if (!request_shape_is_known(request->shape))
        bad_usage("--shape is webhook, telegram or intercom");
    if (strlen(request->account) + strlen(request->source) > 200 || (request->secret && strlen(request->secret) > 128))
        bad_usage("a name or secret is too long");
    if (options->count && options->seconds > 0)
        bad_usage("--count or --seconds, not both");
    if (options->lanes < options->connections)
        bad_usage("fewer lanes than connections: two connections would race for a lane's order");
    if (options->lanes - 1 > MARK_LANES_MAX - options->first_lane)
        bad_usage("--first-lane and --lanes go beyond the highest number");
}

void load_options_read(int argc, char **argv, struct load_options *out)
{
    static const struct option names[] = {
        {"port", 1, NULL, 'p'},        {"shape", 1, NULL, 'h'},      {"account", 1, NULL, 'a'},
        {"accounts", 1, NULL, 'A'},    {"source", 1, NULL, 's'},     {"secret", 1, NULL, 'k'},
        {"connections", 1, NULL, 'c'}, {"lanes", 1, NULL, 'l'},      {"rate", 1, NULL, 'r'},
        {"count", 1, NULL, 'n'},       {"seconds", 1, NULL, 't'},    {"pad", 1, NULL, 'P'},
        {"run", 1, NULL, 'R'},         {"patience", 1, NULL, 'w'},   {"counts", 1, NULL, 'C'},
        {"after", 1, NULL, 'g'},       {"first-lane", 1, NULL, 'f'}, {NULL, 0, NULL, 0},
    };
    int option;
    *out = (struct load_options){
        .request = {.shape = "webhook", .account = "bench", .source = "in", .accounts = 1},
        .connections = 64,
        .lanes = 1000,
        .patience_s = 10,
    };
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1)
        read_option(option, out);
    if (optind < argc)
        bad_usage("a word too many");
    check(out);
    if (!out->count && out->seconds == 0)
        out->seconds = 5;
}
