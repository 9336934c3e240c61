// A failing history made shorter: run again with fewer and fewer of its faults and actions, as long as it fails with the same
// code, and shown.
#pragma once
#include "sim/sim.h"

extern uint64_t sim_running_seed; // named when the process dies of a signal

// How many are left.
size_t shrink(const struct sim_options *options, const struct sim_result *failed);
