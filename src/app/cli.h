// The command line: everything but `serve`. Talks to the running daemon over its Unix socket.
#pragma once

// Exit status: 0 done, 1 failed, 2 usage.
int cli_main(int argc, char **argv);
