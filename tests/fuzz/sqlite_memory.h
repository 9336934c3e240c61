// The memory that SQLite works with under the fuzzer. It takes and gives back tens of thousands of blocks for each store that is
// opened, on which the sanitizer's own memory spends half the time of an execution. This one is as strict: a byte beside a block, or
// of one that was given back, is poisoned; nothing is given out twice within an execution; a block that stays is told at its end. It
// keeps no stacks: a finding is run again with V=asan, where SQLite has the sanitizer's memory. One thread. Linked in with V=fuzz only.
#pragma once

// Before SQLite is used first.
void sqlite_memory_begin(void) __attribute__((weak));
// Between two executions: what is taken from here on must have been given back when it is called again.
void sqlite_memory_renew(void) __attribute__((weak));
