// The generator's command line.
#pragma once
#include "bench/support/request.h"

struct load_options {
    struct request_options request;
    uint16_t port;
    uint32_t connections;
    uint32_t first_lane, lanes;
    double rate;    // messages a second; 0: closed loop
    double seconds; // or
    uint64_t count;
    double patience_s;
    const char *counts; // written at the end
    const char *after;  // NULL, or what an earlier run wrote as counts: its lanes go on
};

// Ends the program with 2 and the usage when something is wrong.
void load_options_read(int argc, char **argv, struct load_options *out);
