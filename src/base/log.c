#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

#include <stdatomic.h>
#include <unistd.h>

enum { FIELD_MAX = 8192, LINE_MAX_BYTES = 1 << 20 }; // a field of words is cut, so that no line is lost for its length

static atomic_int threshold = LOG_INFO;

void log_set_level(enum log_level level)
{
    atomic_store(&threshold, (int)level);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load(&threshold) || level >= LOG_OFF)
        return;
    struct buf line;
    buf_init(&line, LINE_MAX_BYTES);
    struct json json = {.out = &line, .for_screen = true};
    json_open(&json, '{');
    json_key_time(&json, "time", clock_wall_us(&clock_system));
    json_key_str(&json, "level", str_of(names[level]));
    json_key_str(&json, "event", str_of(event));
    for (const struct log_field *field = fields; field && field->key; field++) {
        if (field->text.p)
            json_key_str(&json, field->key, str_sub(field->text, 0, FIELD_MAX));
        else
            json_key_int(&json, field->key, field->number);
    }
    json_close(&json, '}');
    buf_add_char(&line, '\n');
    // A log that cannot be written must not stop the relay.
    if (!line.failed && write(STDERR_FILENO, line.p, line.n) < 0) {
    }
    buf_done(&line);
}
