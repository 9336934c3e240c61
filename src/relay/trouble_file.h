// A small file beside the store: lanes in whose life a bug was found, and when (relay/lane_trouble.c). One line each,
// appended and flushed:
//
//   <lane> <seconds since 1970>     it is about to bring the process down
//   <lane> over                     a person let it go: what was said of it before counts no more
//
// A line that cannot be read is passed over, and so is a file that is not there: losing it costs one more restart.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { TROUBLE_WITHIN_S = 600 };

// Allocates nothing: the process is about to abort. Blocks until it is on the disk.
void trouble_file_add(const char *path, int64_t lane, int64_t now_us, bool over);
// Each lane that was named twice within TROUBLE_WITHIN_S, and not let go since.
void trouble_file_read(const char *path, void (*each)(void *arg, int64_t lane), void *arg);
