#include "store/sqlite_known.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = 16384 }; // a power of two; some 3 MiB when all are taken

struct entry {
    struct sqlite_conversation conversation; // first; its texts stand behind
    struct entry **by_thread, **by_id;       // its places
    char texts[];
};

struct sqlite_known {
    struct entry *by_thread[PLACES], *by_id[PLACES];
};

struct sqlite_known *sqlite_known_new(void)
{
    return mem_new_of(struct sqlite_known);
}

void sqlite_known_free(struct sqlite_known *known)
{
    if (known)
        sqlite_known_forget_all(known);
    free(known);
}

static struct entry **place_of_thread(struct sqlite_known *known, int64_t source_id, struct str thread)
{
    struct str key[] = {{(const char *)&source_id, sizeof source_id}, thread};
    return &known->by_thread[hash_strs(key, 2) % PLACES];
}

static struct entry **place_of_id(struct sqlite_known *known, int64_t id)
{
    return &known->by_id[(uint64_t)id % PLACES];
}

static void drop(struct entry *entry)
{
    if (!entry)
        return;
    *entry->by_thread = *entry->by_id = NULL;
    free(entry);
}

struct sqlite_conversation *sqlite_known_find(struct sqlite_known *known, int64_t source_id, struct str thread)
{
    struct entry *entry = *place_of_thread(known, source_id, thread);
    bool same = entry && entry->conversation.source_id == source_id && str_eq(entry->conversation.thread, thread);
    return same ? &entry->conversation : NULL;
}

struct sqlite_conversation *sqlite_known_get(struct sqlite_known *known, int64_t id)
{
    struct entry *entry = *place_of_id(known, id);
    return entry && entry->conversation.id == id ? &entry->conversation : NULL;
}

static void keep_text(struct str *text, char **end)
{
    if (!text->p)
        return;
    memcpy(*end, text->p, text->n);
    text->p = *end;
    *end += text->n;
}

void sqlite_known_put(struct sqlite_known *known, const struct sqlite_conversation *conversation)
{
    const struct link *link = &conversation->link;
    size_t size = conversation->thread.n + conversation->name.n + link->contact.n + link->conversation.n +
                  link->last_part.n + link->note.n + conversation->profile.n;
    struct entry *entry = mem_new(sizeof *entry + size);
    char *end = entry->texts;
    entry->conversation = *conversation;
    keep_text(&entry->conversation.thread, &end);
    keep_text(&entry->conversation.name, &end);
    keep_text(&entry->conversation.link.contact, &end);
    keep_text(&entry->conversation.link.conversation, &end);
    keep_text(&entry->conversation.link.last_part, &end);
    keep_text(&entry->conversation.link.note, &end);
    keep_text(&entry->conversation.profile, &end);
    entry->by_thread = place_of_thread(known, conversation->source_id, conversation->thread);
    entry->by_id = place_of_id(known, conversation->id);
    drop(*entry->by_thread); // after its texts were copied: they may be those of `conversation`
    drop(*entry->by_id);
    *entry->by_thread = *entry->by_id = entry;
}

void sqlite_known_forget(struct sqlite_known *known, int64_t id)
{
    if (sqlite_known_get(known, id))
        drop(*place_of_id(known, id));
}

void sqlite_known_forget_all(struct sqlite_known *known)
{
    for (size_t i = 0; i < PLACES; i++)
        drop(known->by_id[i]);
}
