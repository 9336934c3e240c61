// tributary: daemon and command line in one.
#include "app/cli.h"
#include "app/daemon.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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
