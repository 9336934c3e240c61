#include "store/memory_files.h"

#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"
#include "store/memory_avatars.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct file {
    struct wanted_file wanted; // its texts, and the hash, in the message's arena
    enum file_state state;
    bool told;
    struct str hash;
    int64_t size;
};

struct memory_filed {
    int64_t message_id;
    struct arena arena;
    struct file files[FILES_MAX]; // a place for each of its attachments; state FILE_ELSEWHERE: it is none
    UT_hash_handle hh;
};

struct memory_album {
    int64_t message_id, conversation_id, until_us;
    char *name;
    struct memory_album *prev, *next;
};

struct memory_dropped {
    char hash[FILE_HASH_SIZE + 1];
    struct memory_dropped *prev, *next;
};

static struct memory_filed *find(const struct memory_files *files, int64_t message_id)
{
    struct memory_filed *filed;
    HASH_FIND(hh, files->messages, &message_id, sizeof message_id, filed);
    return filed;
}

static struct memory_filed *find_or_add(struct memory_files *files, int64_t message_id)
{
    struct memory_filed *filed = find(files, message_id);
    if (filed)
        return filed;
    filed = mem_new_of(struct memory_filed);
    filed->message_id = message_id;
    for (size_t i = 0; i < FILES_MAX; i++)
        filed->files[i].state = FILE_ELSEWHERE;
    HASH_ADD(hh, files->messages, message_id, sizeof message_id, filed);
    return filed;
}

void memory_files_want(struct memory_files *files, int64_t message_id, const struct store_accept *accept, int from,
                       const struct attachment *list, size_t count)
{
    for (size_t i = 0; i < count && from + (int)i < FILES_MAX; i++) {
        if (list[i].state != FILE_WANTED)
            continue;
        struct memory_filed *filed = find_or_add(files, message_id);
        int nth = from + (int)i;
        filed->files[nth] = (struct file){.state = FILE_WANTED,
                                          .told = accept->direction == REPLY,
                                          .wanted = {.message_id = message_id,
                                                     .nth = nth,
                                                     .account_id = accept->account_id,
                                                     .source_id = accept->source_id,
                                                     .received_at_us = accept->received_at_us,
                                                     .direction = accept->direction,
                                                     .file = attachment_copy(&list[i], &filed->arena),
                                                     .next_attempt_us = accept->received_at_us}};
    }
}

static bool has_before(const struct memory_files *files, const struct file *file)
{
    for (const struct memory_filed *m = files->messages; m; m = m->hh.next)
        for (size_t i = 0; i < FILES_MAX; i++) {
            const struct file *other = &m->files[i];
            if (other == file)
                return false;
            if (other->hash.p && other->wanted.account_id == file->wanted.account_id && str_eq(other->hash, file->hash))
                return true;
        }
    return false;
}

int64_t memory_files_bytes(const struct memory_files *files, int64_t account_id)
{
    int64_t bytes = 0;
    for (const struct memory_filed *m = files->messages; m; m = m->hh.next)
        for (size_t i = 0; i < FILES_MAX; i++) {
            const struct file *file = &m->files[i];
            if (file->hash.p && file->wanted.account_id == account_id && !has_before(files, file))
                bytes += file->size;
        }
    return bytes;
}

bool memory_files_has(const struct memory_files *files, struct str hash)
{
    for (const struct memory_filed *m = files->messages; m; m = m->hh.next)
        for (size_t i = 0; i < FILES_MAX; i++)
            if (m->files[i].hash.p && str_eq(m->files[i].hash, hash))
                return true;
    return memory_avatars_have(files, hash);
}

static void remove_wanted(struct memory_filed *filed)
{
    for (size_t i = 0; filed && i < FILES_MAX; i++)
        if (filed->files[i].state == FILE_WANTED)
            filed->files[i].state = FILE_ELSEWHERE;
}

// ---- albums ----

static struct memory_album *album_of(const struct memory_files *files, int64_t message_id)
{
    struct memory_album *album;
    DL_SEARCH_SCALAR(files->albums, album, message_id, message_id);
    return album;
}

static struct memory_album *find_album(const struct memory_files *files, const struct store_accept *accept)
{
    struct memory_album *album;
    for (album = files->albums; album; album = album->next)
        if (album->conversation_id == accept->conversation_id && str_eq_c(accept->event.album, album->name))
            return album;
    return NULL;
}

static void end_album(struct memory_files *files, struct memory_album *album)
{
    if (!album)
        return;
    DL_DELETE(files->albums, album);
    free(album->name);
    free(album);
}

int64_t memory_album_find(const struct memory_files *files, const struct store_accept *accept)
{
    const struct memory_album *album = find_album(files, accept);
    return album ? album->message_id : 0;
}

void memory_album_set(struct memory_files *files, const struct store_accept *accept, int64_t message_id,
                      int64_t until_us)
{
    end_album(files, find_album(files, accept));
    struct memory_album *album = mem_new_of(struct memory_album);
    album->message_id = message_id;
    album->conversation_id = accept->conversation_id;
    album->until_us = until_us;
    album->name = mem_dup(accept->event.album.p, accept->event.album.n);
    DL_APPEND(files->albums, album);
}

// ---- settled ----

static void tell(struct memory_filed *filed, uint32_t told, struct memory_following *out)
{
    for (size_t i = 0; filed && i < FILES_MAX; i++) {
        struct file *file = &filed->files[i];
        uint32_t bit = UINT32_C(1) << i;
        if (file->state == FILE_ELSEWHERE || file->told || (file->state == FILE_WANTED && !(told & bit)))
            continue;
        out->files |= told & bit ? 0 : bit;
        file->told = true;
    }
}

void memory_files_settled(struct memory_files *files, const struct message *message, const struct store_outcome *o,
                          struct memory_following *out)
{
    *out = (struct memory_following){0};
    struct memory_album *album = album_of(files, message->id);
    struct memory_filed *filed = find(files, message->id);
    if (o->state == MESSAGE_DELIVERED && message->direction == INBOUND) {
        if (album)
            out->text = untold_text(message, o);
        tell(filed, o->files_told, out);
    }
    if (o->state == MESSAGE_DISCARDED)
        remove_wanted(filed);
    end_album(files, album);
}

static void settle_file(struct memory_filed *filed, struct file *file, const struct store_file *set)
{
    file->state = set->state;
    file->wanted.attempts = set->attempts;
    file->wanted.next_attempt_us = set->next_attempt_us;
    if (set->state != FILE_KEPT)
        return;
    must(set->hash.n == FILE_HASH_SIZE);
    file->hash = arena_str(&filed->arena, set->hash);
    file->size = set->size;
}

static bool any_wanted(const struct memory_filed *filed)
{
    for (size_t i = 0; i < FILES_MAX; i++)
        if (filed->files[i].state == FILE_WANTED)
            return true;
    return false;
}

bool memory_files_may_follow(const struct memory_files *files, int64_t message_id)
{
    const struct memory_filed *filed = find(files, message_id);
    for (size_t i = 0; filed && i < FILES_MAX; i++)
        if (filed->files[i].state != FILE_ELSEWHERE && !filed->files[i].told)
            return true;
    return false;
}

static void make_ready(struct memory_files *files, struct message *message, struct store_file *file)
{
    const struct memory_album *album = album_of(files, message->id);
    file->ready = true;
    message->next_attempt_us = album && album->until_us > file->at_us ? album->until_us : 0;
}

void memory_files_set(struct memory_files *files, struct message *message, struct store_file *set, struct arena *arena,
                      struct memory_following *out)
{
    struct memory_filed *filed = find(files, message->id);
    struct file *file = filed && set->nth >= 0 && set->nth < FILES_MAX ? &filed->files[set->nth] : NULL;
    *out = (struct memory_following){0};
    if (!file || file->state != FILE_WANTED)
        return;
    set->applied = true;
    set->account_id = message->account_id;
    set->source_id = message->source_id;
    set->lane = message->lane;
    settle_file(filed, file, set);
    if (set->state == FILE_WANTED)
        return;
    message->attachments = attached_settled(message->attachments, set, arena);
    set->changed = message->state == MESSAGE_PENDING;
    if (waits_for_files(message) && !any_wanted(filed))
        make_ready(files, message, set);
    if (message->state != MESSAGE_DELIVERED || message->direction != INBOUND || file->told)
        return;
    file->told = true;
    out->files = UINT32_C(1) << set->nth;
}

void memory_files_copy(struct memory_files *files, int64_t from_id, uint32_t bits, int64_t to_id)
{
    struct memory_filed *from = find(files, from_id);
    int nth = 0;
    for (size_t i = 0; from && i < FILES_MAX; i++) {
        if (!(bits & UINT32_C(1) << i))
            continue;
        struct memory_filed *to = find_or_add(files, to_id);
        struct file *copy = &to->files[nth];
        *copy = from->files[i];
        copy->told = true;
        copy->hash = arena_str(&to->arena, copy->hash);
        copy->wanted.message_id = to_id;
        copy->wanted.nth = nth++;
        copy->wanted.file = (struct attachment){0}; // it is settled
    }
}

// ---- forgotten ----

void memory_files_drop(struct memory_files *files, struct str hash)
{
    struct memory_dropped *dropped;
    for (dropped = files->dropped; dropped; dropped = dropped->next)
        if (str_eq_c(hash, dropped->hash))
            return;
    dropped = mem_new_of(struct memory_dropped);
    memcpy(dropped->hash, hash.p, hash.n);
    DL_APPEND(files->dropped, dropped);
}

void memory_files_forget(struct memory_files *files, int64_t message_id)
{
    struct memory_filed *filed = find(files, message_id);
    if (!filed)
        return;
    HASH_DEL(files->messages, filed);
    for (size_t i = 0; i < FILES_MAX; i++)
        if (filed->files[i].hash.p)
            memory_files_drop(files, filed->files[i].hash);
    arena_done(&filed->arena);
    free(filed);
}

void memory_files_account_gone(struct memory_files *files, int64_t account_id)
{
    for (struct memory_filed *m = files->messages; m; m = m->hh.next)
        for (size_t i = 0; i < FILES_MAX; i++)
            if (m->files[i].state == FILE_WANTED && m->files[i].wanted.account_id == account_id)
                m->files[i].state = FILE_ELSEWHERE;
    memory_avatars_account_gone(files, account_id);
}

void memory_files_gone(struct memory_files *files, struct store_files_gone *gone)
{
    struct str *hashes = arena_alloc(gone->arena, (gone->limit + gone->asked_count + 1) * sizeof *hashes);
    gone->hashes = hashes;
    gone->count = 0;
    for (size_t i = 0; i < gone->limit && files->dropped; i++) {
        struct memory_dropped *dropped = files->dropped;
        DL_DELETE(files->dropped, dropped);
        if (!memory_files_has(files, str_of(dropped->hash)))
            hashes[gone->count++] = arena_str(gone->arena, str_of(dropped->hash));
        free(dropped);
    }
    for (size_t i = 0; i < gone->asked_count; i++)
        if (!memory_files_has(files, gone->asked[i]))
            hashes[gone->count++] = gone->asked[i];
    gone->more = files->dropped != NULL;
}

void memory_files_done(struct memory_files *files)
{
    memory_avatars_done(files);
    while (files->messages)
        memory_files_forget(files, files->messages->message_id);
    while (files->albums)
        end_album(files, files->albums);
    while (files->dropped) {
        struct memory_dropped *dropped = files->dropped;
        DL_DELETE(files->dropped, dropped);
        free(dropped);
    }
}

// ---- asked for ----

static int compare_due(const void *a, const void *b)
{
    const struct wanted_file *x = a, *y = b;
    if (x->next_attempt_us != y->next_attempt_us)
        return x->next_attempt_us < y->next_attempt_us ? -1 : 1;
    if (x->message_id != y->message_id)
        return x->message_id < y->message_id ? -1 : 1;
    return (x->nth > y->nth) - (x->nth < y->nth);
}

static bool is_excluded(const struct store_wanted *wanted, int64_t account_id)
{
    for (size_t i = 0; i < WANTED_NOT_OF; i++)
        if (wanted->not_of[i] == account_id)
            return true;
    return false;
}

void memory_files_wanted(const struct memory_files *files, struct store_wanted *wanted)
{
    size_t count = 0, most = HASH_COUNT(files->messages) * FILES_MAX;
    struct wanted_file *all = mem_new((most + 1) * sizeof *all);
    for (const struct memory_filed *m = files->messages; m; m = m->hh.next)
        for (size_t i = 0; i < FILES_MAX; i++)
            if (m->files[i].state == FILE_WANTED && !is_excluded(wanted, m->files[i].wanted.account_id))
                all[count++] = m->files[i].wanted;
    qsort(all, count, sizeof *all, compare_due);
    wanted->due_us = count > wanted->limit ? all[wanted->limit].next_attempt_us : 0;
    wanted->count = count < wanted->limit ? count : wanted->limit;
    wanted->files = arena_alloc(wanted->arena, (wanted->count + 1) * sizeof *wanted->files);
    for (size_t i = 0; i < wanted->count; i++) {
        wanted->files[i] = all[i];
        wanted->files[i].file = attachment_copy(&all[i].file, wanted->arena);
        wanted->files[i].account_bytes = memory_files_bytes(files, all[i].account_id);
    }
    free(all);
}

size_t memory_files_each_kept(const struct memory_files *files,
                              void (*each)(void *arg, int64_t message_id, struct str hash, int64_t size), void *arg)
{
    size_t rows = 0;
    for (const struct memory_filed *m = files->messages; m; m = m->hh.next)
        for (size_t i = 0; i < FILES_MAX; i++) {
            rows += m->files[i].state != FILE_ELSEWHERE;
            if (m->files[i].hash.p)
                each(arg, m->message_id, m->files[i].hash, m->files[i].size);
        }
    return rows;
}
