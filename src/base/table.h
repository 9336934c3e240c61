// Hash tables: uthash, with our memory. Left to itself it ends the process by exit(-1) without a word when memory is out,
// which runs what other threads still use.
#pragma once
#include "base/mem.h"

#define uthash_malloc(size) mem_new(size)
#define uthash_fatal(message) mem_out()
#include <uthash.h>
