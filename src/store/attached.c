#include "store/attached.h"

#include <inttypes.h>
#include <stdio.h>

size_t attached_read(struct str *json, struct arena *arena, struct attachment **out)
{
    size_t count = attachments_read(*json, arena, out);
    bool changed = false;
    for (size_t i = 0; i < count; i++) {
        struct attachment *file = &(*out)[i];
        if (file->state != FILE_KEPT && (file->state != FILE_WANTED || i < FILES_MAX))
            continue;
        file->state = FILE_ELSEWHERE;
        file->hash = STR_NONE;
        changed = true;
    }
    if (changed)
        *json = attachments_write(*out, count, arena);
    return count;
}

size_t attached_wanted(const struct attachment *files, size_t count)
{
    size_t wanted = 0;
    for (size_t i = 0; i < count && i < FILES_MAX; i++)
        wanted += files[i].state == FILE_WANTED;
    return wanted;
}

struct str attached_settled(struct str json, const struct store_file *file, struct arena *arena)
{
    struct attachment *files;
    size_t count = attachments_read(json, arena, &files);
    if (file->nth < 0 || (size_t)file->nth >= count)
        return json;
    struct attachment *settled = &files[file->nth];
    settled->state = file->state;
    if (file->state == FILE_KEPT) {
        settled->hash = file->hash;
        settled->size = file->size;
        settled->mime = file->mime.p ? file->mime : settled->mime;
    } else {
        settled->why = file->why;
    }
    return attachments_write(files, count, arena);
}

struct str attached_some(struct str json, uint32_t bits, struct arena *arena)
{
    struct attachment *files;
    size_t count = attachments_read(json, arena, &files), some = 0;
    for (size_t i = 0; i < count && i < FILES_MAX; i++)
        if (bits & UINT32_C(1) << i)
            files[some++] = files[i];
    return attachments_write(files, some, arena);
}

bool waits_for_files(const struct message *m)
{
    return m->state == MESSAGE_PENDING && m->next_attempt_us && m->next_attempt_us != MESSAGE_HELD && !m->in_flight &&
           !m->in_doubt && !m->late && !m->attempts && !m->last_error.p;
}

bool album_may_join(const struct message *message, const struct event *part, int64_t received_at_us)
{
    struct arena arena = {0};
    struct attachment *files;
    size_t count = attachments_read(message->attachments, &arena, &files);
    count += attachments_read(part->attachments, &arena, &files);
    arena_done(&arena);
    return count <= FILES_MAX && waits_for_files(message) && message->next_attempt_us > received_at_us;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct str join_texts(struct str first, struct str second, struct arena *arena)
{
    if (!second.n)
        return first;
    return first.n ? ARENA_JOIN(arena, first, STR("\n"), second) : arena_str(arena, second);
}

void album_join(struct message *message, const struct event *part, int64_t wait_until_us, struct arena *arena,
                int *out_from)
{
    struct attachment *first, *second;
    size_t count = attachments_read(message->attachments, arena, &first);
    size_t more = attachments_read(part->attachments, arena, &second);
    struct attachment *all = arena_alloc(arena, (count + more + 1) * sizeof *all);
    for (size_t i = 0; i < count + more; i++)
        all[i] = i < count ? first[i] : second[i - count];
    int64_t until = least(wait_until_us, message->received_at_us + ALBUM_US);
    if (until > message->next_attempt_us)
        message->next_attempt_us = until;
    if (more)
        message->attachments = attachments_write(all, count + more, arena);
    message->text = join_texts(message->text, part->text, arena);
    *out_from = (int)count;
}

int64_t album_until(int64_t first_received_us, int64_t part_received_us)
{
    return least(part_received_us + ALBUM_PART_US, first_received_us + ALBUM_US);
}

struct str untold_text(const struct message *m, const struct store_outcome *o)
{
    size_t told = o->text_told.bytes;
    if (!o->text_told.known || told >= m->text.n)
        return STR_NONE;
    return str_sub(m->text, told && m->text.p[told] == '\n' ? told + 1 : told, m->text.n);
}

void following_key(int64_t message_id, uint32_t files, char out[FOLLOWING_KEY_SIZE])
{
    int nth = 0;
    while (files && !(files & UINT32_C(1) << nth))
        nth++;
    if (files)
        snprintf(out, FOLLOWING_KEY_SIZE, "file:%" PRId64 ":%d", message_id, nth);
    else
        snprintf(out, FOLLOWING_KEY_SIZE, "text:%" PRId64, message_id);
}
