// tributary: daemon and command line in one.
#include "app/cli.h"
#include "app/daemon.h"

#include <curl/curl.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// Large blocks go back to the system when they are freed. By itself glibc takes the first large one that is freed for a sign that
// more will come, and up to 32 MiB has them in its arenas from then on, with twice that free at their ends: small blocks that
// last settle between them, and what is free and kept comes to more than what is in use. One arena for each thread stays:
// where threads share them, the answers of a desk that are soon read lie among what the committer keeps, which is worse.
static void give_large_blocks_back(void)
{
    enum {
        LARGE_BYTES = 128 << 10, // what glibc begins with
        KEPT_BYTES = 4 << 20     // at the end of an arena; with less, messages of 64 KiB cost twice the page faults
    };
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

static int serve(int argc, char **argv)
{
    const char *path = NULL;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "-c") != 0 || i + 1 >= argc) {
            fprintf(stderr, "tributary serve: \"%s\" is not understood; usage: tributary serve [-c FILE]\n", argv[i]);
            return 2;
        }
        path = argv[++i];
    }
    give_large_blocks_back();
    return daemon_serve(path);
}

int main(int argc, char **argv)
{
    curl_global_init(CURL_GLOBAL_DEFAULT); // before there are threads
    bool serves = argc >= 2 && strcmp(argv[1], "serve") == 0;
    bool asks = argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0);
    int status = serves && !asks ? serve(argc, argv) : cli_main(argc, argv);
    curl_global_cleanup();
    return status;
}
