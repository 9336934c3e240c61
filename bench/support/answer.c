#include "bench/support/answer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool answer_parse(const char *p, size_t n, struct answer *out)
{
    const char *end = memmem(p, n, "\r\n\r\n", 4);
    bool measured = false;
    size_t body_n = 0;
    *out = (struct answer){0};
    if (!end)
        return n >= ANSWER_MAX;
    if (end - p < 12 || memcmp(p, "HTTP/1.1 ", 9) != 0)
        return true;
    uint32_t code = (uint32_t)strtoul(p + 9, NULL, 10);
    for (const char *line = memchr(p, '\n', n); line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            body_n = strtoul(line + 15, NULL, 10);
            measured = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            out->closing = true;
        }
    }
    size_t head_n = (size_t)(end - p) + 4;
    if ((!measured && code != 204) || body_n > ANSWER_MAX - head_n)
        return true;
    out->status = code;
    out->whole_n = head_n + body_n;
    return n >= out->whole_n;
}
