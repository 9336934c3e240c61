// Times as text: RFC 3339 in UTC with milliseconds. Inside, a time is microseconds since 1970.
#pragma once
#include "base/str.h"

enum { TIME_TEXT_SIZE = 40 };

// "2026-11-22T13:00:35.123Z" in `out`; the str borrows it.
struct str time_text(int64_t at_us, char out[TIME_TEXT_SIZE]);
// The reverse, with any offset and any number of fraction digits. False when it is not RFC 3339.
bool time_parse(struct str text, int64_t *out_us);
