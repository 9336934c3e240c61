// The simulator as a program:  sim [--seed N] [--trace] [--seeds FROM..TO] [--count N] [--minutes N] [--break NAME]
#include "sim/shrink.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct wish {
    uint64_t from, to;
    double minutes;
    int most_failures;
    bool trace, shrink;
    char directory[200];
    struct sim_options options;
};

struct sums {
    uint64_t seeds, failed;
    int64_t simulated_us, accepted, delivered, requests, faults, crashes, transactions;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int usage(void)
{
    fprintf(stderr, "sim [--seed N] [--trace] [--seeds FROM..TO | --count N] [--minutes N] [--no-shrink]\n"
                    "    [--beyond-settle] [--failures N] [--store sqlite] [--break NAME]   names:");
    for (int i = 1; i < BREAKAGES; i++)
        fprintf(stderr, " %s", breakage_names[i]);
    fputc('\n', stderr);
    return 2;
}

static bool read_break(struct wish *wish, const char *name)
{
    for (int i = 0; i < BREAKAGES; i++)
        if (strcmp(name, breakage_names[i]) == 0) {
            wish->options.breakage = (enum breakage)i;
            return true;
        }
    return false;
}

// In memory if it can be had: what is flushed is flushed in the simulation only.
static bool make_directory(struct wish *wish)
{
    const char *places[] = {getenv("TMPDIR"), "/dev/shm", "/tmp"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !wish->options.directory; i++) {
        snprintf(wish->directory, sizeof wish->directory, "%s/sim-XXXXXX", places[i] ? places[i] : "");
        wish->options.directory = places[i] ? mkdtemp(wish->directory) : NULL;
    }
    return wish->options.directory != NULL;
}

static bool read_option(struct wish *wish, int option, const char *value)
{
    char *end = NULL;
    switch (option) {
    case 's':
        wish->from = wish->to = strtoull(value, &end, 0);
        return *end == 0;
    case 'r':
        wish->from = strtoull(value, &end, 0);
        if (strncmp(end, "..", 2) != 0)
            return false;
        wish->to = strtoull(end + 2, &end, 0);
        return *end == 0;
    case 'c':
        wish->to = wish->from + strtoull(value, &end, 0) - 1;
        return *end == 0;
    case 'm':
        wish->minutes = strtod(value, &end);
        wish->to = UINT64_MAX;
        return *end == 0;
    case 'f':
        wish->most_failures = (int)strtol(value, &end, 0);
        return *end == 0;
    case 't':
        wish->trace = true;
        return true;
    case 'n':
        wish->shrink = false;
        return true;
    case 'b':
        wish->options.beyond_settle = true;
        return true;
    case 'd':
        return strcmp(value, "memory") == 0 || (strcmp(value, "sqlite") == 0 && make_directory(wish));
    case 'x':
        return read_break(wish, value);
    default:
        return false;
    }
}

static bool read_wish(struct wish *wish, int argc, char **argv)
{
    static const struct option options[] = {{"seed", 1, NULL, 's'},
                                            {"seeds", 1, NULL, 'r'},
                                            {"count", 1, NULL, 'c'},
                                            {"minutes", 1, NULL, 'm'},
                                            {"failures", 1, NULL, 'f'},
                                            {"trace", 0, NULL, 't'},
                                            {"no-shrink", 0, NULL, 'n'},
                                            {"beyond-settle", 0, NULL, 'b'},
                                            {"break", 1, NULL, 'x'},
                                            {"store", 1, NULL, 'd'},
                                            {0}};
    *wish = (struct wish){.from = 1, .to = 1000, .shrink = true, .most_failures = 1};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (!read_option(wish, option, optarg))
            return false;
    return optind == argc;
}

static void add(struct sums *sums, const struct sim_result *result)
{
    sums->seeds++;
    sums->failed += result->code[0] != 0;
    sums->simulated_us += result->simulated_us;
    sums->accepted += result->accepted;
    sums->delivered += result->delivered;
    sums->requests += result->requests;
    sums->faults += result->faults;
    sums->crashes += result->crashes;
    sums->transactions += result->transactions;
}

static void print_sums(const struct sums *sums, double took_s)
{
    double hours = (double)sums->simulated_us / 3600e6;
    printf("%llu histories, %llu failed; %.1f simulated hours in %.1f s (%.0f hours an hour); %lld messages accepted, "
           "%lld delivered, %lld requests, %lld transactions, %lld faults and actions, %lld ends of the process\n",
           (unsigned long long)sums->seeds, (unsigned long long)sums->failed, hours, took_s,
           took_s > 0 ? hours * 3600 / took_s : 0, (long long)sums->accepted, (long long)sums->delivered,
           (long long)sums->requests, (long long)sums->transactions, (long long)sums->faults, (long long)sums->crashes);
}

int main(int argc, char **argv)
{
    struct wish wish;
    struct sums sums = {0};
    if (!read_wish(&wish, argc, argv))
        return usage();
    double began = now_s();
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint64_t seed = wish.from; seed <= wish.to; seed++) {
        struct sim_result result;
        wish.options.seed = seed;
        wish.options.trace = wish.trace;
        sim_running_seed = seed;
        sim_run(&wish.options, &result);
        add(&sums, &result);
        if (result.code[0]) {
            printf("seed %llu: %s: %s\n", (unsigned long long)seed, result.code, result.why);
            if (wish.shrink)
                shrink(&wish.options, &result);
            fflush(stdout);
        }
        free(result.used);
        if ((int)sums.failed >= wish.most_failures || (wish.minutes > 0 && now_s() - began > wish.minutes * 60) ||
            seed == UINT64_MAX)
            break;
    }
    print_sums(&sums, now_s() - began);
    if (wish.options.directory)
        rmdir(wish.options.directory);
    return sums.failed ? 1 : 0;
}
