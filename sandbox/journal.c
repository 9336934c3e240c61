#include "sandbox/journal.h"

#include "base/mem.h"
#include "sandbox/own.h"

struct item {
    int64_t at_us;
    struct str members;
};

struct journal {
    struct item *items; // a ring: number seq lies at seq % keep
    size_t keep, size;  // most entries; allocated ones (a power of two until it reaches keep)
    int64_t last;       // number of the newest; numbers begin at 1
    int64_t dropped;    // numbers up to this one are gone
};

struct journal *journal_new(size_t keep)
{
    struct journal *journal = mem_new_of(struct journal);
    journal->keep = keep;
    return journal;
}

void journal_clear(struct journal *journal)
{
    for (int64_t seq = journal->dropped + 1; seq <= journal->last; seq++)
        disown(&journal->items[(size_t)seq % journal->size].members);
    journal->last = journal->dropped = 0;
}

void journal_free(struct journal *journal)
{
    if (!journal)
        return;
    journal_clear(journal);
    free(journal->items);
    free(journal);
}

static void grow(struct journal *journal)
{
    size_t size = journal->size ? journal->size * 4 : 256;
    if (size > journal->keep)
        size = journal->keep;
    struct item *items = mem_new(size * sizeof(*items));
    for (int64_t seq = journal->dropped + 1; seq <= journal->last; seq++)
        items[(size_t)seq % size] = journal->items[(size_t)seq % journal->size];
    free(journal->items);
    journal->items = items;
    journal->size = size;
}

int64_t journal_add(struct journal *journal, int64_t at_us, struct str members)
{
    size_t held = (size_t)(journal->last - journal->dropped);
    if (held == journal->size && journal->size < journal->keep)
        grow(journal);
    if (held == journal->size || held == journal->keep)
        disown(&journal->items[(size_t)++journal->dropped % journal->size].members);
    journal->items[(size_t)++journal->last % journal->size] = (struct item){at_us, own(members)};
    return journal->last;
}

void journal_write(const struct journal *journal, int64_t after, int64_t limit, struct json *json)
{
    int64_t seq = after > journal->dropped ? after : journal->dropped;
    json_open(json, '{');
    json_key(json, "items");
    json_open(json, '[');
    for (int64_t n = 0; seq < journal->last && n < limit; n++) {
        const struct item *item = &journal->items[(size_t)++seq % journal->size];
        json_open(json, '{');
        json_key_int(json, "seq", seq);
        json_key_time(json, "at", item->at_us);
        buf_add_char(json->out, ',');
        json_raw(&(struct json){.out = json->out}, item->members);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_key(json, "next");
    if (seq < journal->last)
        json_int(json, seq);
    else
        json_null(json);
    json_key_int(json, "dropped", journal->dropped);
    json_close(json, '}');
}
