// must(): a condition that only a bug can break. On in every build; it names the place and aborts,
// which loses nothing (what was acknowledged is on the disk).
#pragma once
#include <stdbool.h>

_Noreturn void must_fail(const char *condition, const char *file, int line);

#define must(condition) ((condition) ? (void)0 : must_fail(#condition, __FILE__, __LINE__))
