#include "base/must.h"

#include "base/clock.h"
#include "base/time_text.h"

#include <stdio.h>
#include <stdlib.h>

void must_fail(const char *condition, const char *file, int line)
{
    char time[TIME_TEXT_SIZE];
    fprintf(stderr, "{\"time\":\"%.*s\",\"level\":\"fatal\",\"event\":\"bug\",\"condition\":\"%s\",\"at\":\"%s:%d\"}\n",
            STR_ARG(time_text(clock_wall_us(&clock_system), time)), condition, file, line);
    abort();
}
