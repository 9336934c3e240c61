#include "store/memory_avatars.h"

#include "base/mem.h"
#include "base/must.h"
#include "base/table.h"

#include <stdlib.h>

struct memory_avatar {
    int64_t conversation_id, account_id;
    struct arena arena;   // of the texts
    struct avatar avatar; // as stored
    UT_hash_handle hh;
};

static struct memory_avatar *find(const struct memory_files *files, int64_t conversation_id)
{
    struct memory_avatar *row;
    HASH_FIND(hh, files->avatars, &conversation_id, sizeof conversation_id, row);
    return row;
}

static struct memory_avatar *add(struct memory_files *files, const struct store_outcome *o)
{
    struct memory_avatar *row = mem_new_of(struct memory_avatar);
    row->conversation_id = o->conversation_id;
    row->account_id = o->avatar_of;
    HASH_ADD(hh, files->avatars, conversation_id, sizeof row->conversation_id, row);
    return row;
}

static struct avatar texts_in(const struct avatar *avatar, struct arena *arena)
{
    struct avatar copy = *avatar;
    copy.picture = arena_str(arena, avatar->picture);
    copy.hash = arena_str(arena, avatar->hash);
    copy.mime = arena_str(arena, avatar->mime);
    copy.told = arena_str(arena, avatar->told);
    return copy;
}

bool memory_avatar_look(struct memory_files *files, const struct store_outcome *o)
{
    struct memory_avatar *row = find(files, o->conversation_id);
    if (!row)
        row = add(files, o);
    struct avatar *avatar = &row->avatar;
    bool untold = o->link && o->link->contact.n && avatar->hash.p && !str_eq(avatar->told, o->link->contact);
    if (avatar->due_us || !(avatar_is_old(avatar->asked_us, o->at_us) || untold))
        return false;
    avatar->due_us = o->at_us;
    avatar->attempts = 0;
    return true;
}

void memory_avatar_set(struct memory_files *files, struct store_avatar *set)
{
    struct memory_avatar *row = find(files, set->conversation_id);
    must(!set->avatar.hash.p || set->avatar.hash.n == FILE_HASH_SIZE);
    set->applied = row && row->avatar.due_us;
    if (!set->applied)
        return;
    struct arena arena = {0};
    struct avatar avatar = texts_in(&set->avatar, &arena);
    if (row->avatar.hash.p && !str_eq(row->avatar.hash, avatar.hash))
        memory_files_drop(files, row->avatar.hash);
    arena_done(&row->arena);
    row->arena = arena;
    row->avatar = avatar;
}

static void forget(struct memory_files *files, struct memory_avatar *row)
{
    HASH_DEL(files->avatars, row);
    arena_done(&row->arena);
    free(row);
}

void memory_avatars_account_gone(struct memory_files *files, int64_t account_id)
{
    struct memory_avatar *row, *next;
    HASH_ITER(hh, files->avatars, row, next)
    {
        if (row->account_id != account_id)
            continue;
        if (row->avatar.hash.p)
            memory_files_drop(files, row->avatar.hash);
        forget(files, row);
    }
}

static int compare_due(const void *a, const void *b)
{
    const struct due_avatar *x = a, *y = b;
    if (x->avatar.due_us != y->avatar.due_us)
        return x->avatar.due_us < y->avatar.due_us ? -1 : 1;
    return (x->conversation_id > y->conversation_id) - (x->conversation_id < y->conversation_id);
}

void memory_avatars_due(const struct memory_files *files, struct store_avatars *avatars)
{
    size_t count = 0;
    struct due_avatar *all = arena_alloc(avatars->arena, (HASH_COUNT(files->avatars) + 1) * sizeof *all);
    for (const struct memory_avatar *row = files->avatars; row; row = row->hh.next)
        if (row->avatar.due_us)
            all[count++] = (struct due_avatar){.conversation_id = row->conversation_id,
                                               .account_id = row->account_id,
                                               .avatar = texts_in(&row->avatar, avatars->arena)};
    qsort(all, count, sizeof *all, compare_due);
    avatars->due = all;
    avatars->count = count < avatars->limit ? count : avatars->limit;
}

bool memory_avatars_have(const struct memory_files *files, struct str hash)
{
    for (const struct memory_avatar *row = files->avatars; row; row = row->hh.next)
        if (row->avatar.hash.p && str_eq(row->avatar.hash, hash))
            return true;
    return false;
}

size_t memory_avatars_each_kept(const struct memory_files *files,
                                void (*each)(void *arg, int64_t id, struct str hash, int64_t size), void *arg)
{
    for (const struct memory_avatar *row = files->avatars; row; row = row->hh.next)
        if (row->avatar.hash.p)
            each(arg, row->conversation_id, row->avatar.hash, row->avatar.size);
    return HASH_COUNT(files->avatars);
}

void memory_avatars_done(struct memory_files *files)
{
    struct memory_avatar *row, *next;
    HASH_ITER(hh, files->avatars, row, next)
    {
        forget(files, row);
    }
}
