// The log: one JSON object per line to standard error. Never a secret, never a message's text: there is
// no field for either, and values are escaped. Libraries below the relay do not log above debug.
#pragma once
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

struct log_field {
    const char *key; // NULL ends the list
    struct str text; // taken when `text.p` is set, else the number
    int64_t number;
};

#define LOG_S(k, s) ((struct log_field){.key = (k), .text = (s)})
#define LOG_C(k, c) ((struct log_field){.key = (k), .text = str_of(c)})
#define LOG_N(k, n) ((struct log_field){.key = (k), .number = (n)})

void log_set_level(enum log_level level);
// Writes one line with one write(2). `event` is a fixed word of ours in snake_case.
void log_write(enum log_level level, const char *event, const struct log_field *fields);

// The fields stand behind an empty one, so that there may be none of them (and cppcheck can read it, unlike __VA_OPT__).
#define LOG_FIELDS(...) (&((const struct log_field[]){{0}, ##__VA_ARGS__, {0}})[1])
#define log_debug(event, ...) log_write(LOG_DEBUG, event, LOG_FIELDS(__VA_ARGS__))
#define log_info(event, ...) log_write(LOG_INFO, event, LOG_FIELDS(__VA_ARGS__))
#define log_warn(event, ...) log_write(LOG_WARN, event, LOG_FIELDS(__VA_ARGS__))
#define log_error(event, ...) log_write(LOG_ERROR, event, LOG_FIELDS(__VA_ARGS__))
