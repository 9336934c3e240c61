// Whatever is asked for below /media/, nothing passes that was not signed; what is signed says what was signed, whatever the file is
// called.
#include <stdint.h>
#include <stdlib.h>

#include "base/must.h"
#include "model/media_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const int64_t now_us = INT64_C(1700000000) * 1000000;
static const struct media_links links = {.base = STR("http://r"), .key = {7}, .lifetime_us = 1000000};

static enum media_link_reading read_target(struct str target, struct arena *arena, struct attachment *out)
{
    size_t mark = str_index(target, '?', 0);
    return media_link_read(&links, str_sub(target, 0, mark), str_sub(target, mark + 1, target.n), now_us, arena, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct attachment out;
    struct str text = {(const char *)data, size};
    size_t half = str_index(text, '\n', 0);
    must(read_target(text, &arena, &out) != MEDIA_LINK_GOOD);
    struct attachment file = {
        .name = str_sub(text, 0, half),
        .mime = str_sub(text, half + 1, text.n),
        .hash = STR("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
    };
    struct str link = media_link(&links, &file, now_us, &arena);
    must(link.n < 2000);
    for (size_t i = 0; i < link.n; i++)
        must(link.p[i] > ' ' && link.p[i] < 0x7f && link.p[i] != '"' && link.p[i] != '<');
    must(read_target(str_sub(link, links.base.n, link.n), &arena, &out) == MEDIA_LINK_GOOD);
    must(str_starts(file.name, out.name) && str_starts(file.mime, out.mime) && str_eq(out.hash, file.hash));
    arena_done(&arena);
    return 0;
}
