// Whatever a message gives as an address and a server as the ones that it leads on to (a line each): what is asked for is a plain
// http or https address that reads back as it was written, trusted only where it is the operator's, and there is an end.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "model/file_fetch.h"
#include "model/web_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const struct file_step *step, struct arena *arena)
{
    static const struct str trusted = STR("http://desk.example:8080");
    struct str target = step->request.target;
    struct web_address address;
    must(web_address_read(target, arena, &address));
    must(str_eq(web_address_url(&address, arena), target));
    for (size_t i = 0; i < target.n; i++)
        must((unsigned char)target.p[i] > ' ' && target.p[i] != '#' && target.p[i] != '\\');
    must(str_index(address.host, '@', 0) == address.host.n && address.host.n);
    struct str origin = str_sub(target, 0, trusted.n);
    must(step->trusted == (str_ieq(origin, trusted) && target.p[trusted.n] == '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct str lines = {(const char *)data, size};
    size_t end = str_index(lines, '\n', 0);
    struct file_fetch fetch = {.file.url = str_sub(lines, 0, end),
                               .trusted = STR("http://desk.example:8080/api"),
                               .max_size = 1 << 20,
                               .arena = &arena};
    struct file_step step;
    file_fetch_url(&fetch, NULL, &step);
    for (int asked = 1; step.kind != FILE_END; asked++) {
        must(asked <= 6 && step.kind == FILE_GET);
        check_target(&step, &arena);
        lines = str_sub(lines, end + 1, lines.n);
        end = str_index(lines, '\n', 0);
        struct http_header location = {STR("Location"), str_sub(lines, 0, end)};
        struct http_response response = {.status = 302, .headers = &location, .header_count = 1};
        file_fetch_url(&fetch, &response, &step);
    }
    must(step.verdict.kind == VERDICT_REJECTED && step.verdict.error.n);
    arena_done(&arena);
    return 0;
}
