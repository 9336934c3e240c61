// Attachments and profiles as the store gives them back, damaged in any way: what is read of them, written and read again, is the same.
#include <stdint.h>
#include <stdlib.h>

#include "base/must.h"
#include "model/message.h"
#include "store/attached.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_each(const struct attachment *files, size_t count, struct arena *arena)
{
    for (size_t i = 0; i < count; i++) {
        must(files[i].size >= -1 && files[i].state <= FILE_ELSEWHERE);
        must(files[i].state != FILE_KEPT || files[i].hash.n == FILE_HASH_SIZE);
        must(attachment_title(&files[i], arena).n > 0);
    }
}

static void check_attachments(struct str json, struct arena *arena)
{
    struct attachment *files, *again;
    size_t count = attachments_read(json, arena, &files);
    must(count <= ATTACHMENTS_MAX);
    check_each(files, count, arena);
    struct str text = attachments_write(files, count, arena);
    must(attachments_read(text, arena, &again) == count);
    must(str_eq(attachments_write(again, count, arena), text));
    must(attachments_read(attached_some(text, 5, arena), arena, &again) == (count > 2 ? 2 : count > 0));
    struct store_file file = {.nth = (int)(json.n % 40), .state = FILE_FAILED, .why = STR("gone")};
    must(attachments_read(attached_settled(text, &file, arena), arena, &again) == count);
    must((size_t)file.nth >= count || again[file.nth].state == FILE_FAILED);
    must(attached_read(&text, arena, &again) == count);
    must(attached_wanted(again, count) == attachments_count(text, FILE_WANTED));
}

static void check_profile(struct str json, struct arena *arena)
{
    struct profile profile = profile_read(json, arena), again;
    struct str text = profile_write(&profile, arena);
    again = profile_read(text, arena);
    must(str_eq(profile_write(&again, arena), text));
    struct str merged = profile_merge(json, &(struct profile){.name = STR("Ann")}, arena);
    must(!merged.p || str_eq(profile_read(merged, arena).name, STR("Ann")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct str json = {(const char *)data, size};
    check_attachments(json, &arena);
    check_profile(json, &arena);
    arena_done(&arena);
    return 0;
}
