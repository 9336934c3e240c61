// `tributary serve`: puts configuration, store, relay and admin side together, and ends them in order.
#pragma once

// Runs in the foreground until SIGTERM or SIGINT (a second one ends at once). SIGHUP reads the configuration
// again. `given` is the path after -c or NULL. The exit status.
int daemon_serve(const char *given);
