// The form is known here only and lives as long as the process: nothing of it is stored.
//
//   name, id, size of all texts, flags, ...   in the order of pack_account() and unpack_account(), which mirror each other
//   number   7 bits a byte, lowest first, the last without the high bit
//   text     number 0: absent; 2 * n: the n-th of the pool; 2 * length + 1: so many bytes follow
#include "model/account_pack.h"

#include "base/mem.h"
#include "base/must.h"

#include <stdlib.h>
#include <string.h>

// Written twice: without `at` it only counts.
struct packer {
    struct text_pool *pool;
    unsigned char *at;
    size_t size;
    size_t text_size; // of the texts once they are unpacked
};

struct unpacker {
    const struct text_pool *pool;
    const unsigned char *at;
    char *texts; // room for the next ones
};

static void pack_number(struct packer *packer, uint64_t number)
{
    do {
        if (packer->at)
            *packer->at++ = (unsigned char)((number & 0x7F) | (number > 0x7F ? 0x80 : 0));
        packer->size++;
        number >>= 7;
    } while (number);
}

static uint64_t unpack_number(struct unpacker *unpacker)
{
    uint64_t number = 0;
    unsigned char byte;
    int shift = 0;
    do {
        byte = *unpacker->at++;
        number |= (uint64_t)(byte & 0x7F) << shift;
        shift += 7;
    } while (byte & 0x80);
    return number;
}

static void pack_bytes(struct packer *packer, struct str text)
{
    pack_number(packer, 2 * (uint64_t)text.n + 1);
    if (packer->at && text.n) {
        memcpy(packer->at, text.p, text.n);
        packer->at += text.n;
    }
    packer->size += text.n;
}

static void pack_text(struct packer *packer, struct str text)
{
    if (!text.p) {
        pack_number(packer, 0);
        return;
    }
    packer->text_size += text.n + 1;
    pack_bytes(packer, text);
}

static void pack_shared(struct packer *packer, struct str text)
{
    uint32_t number = text_pool_number(packer->pool, text);
    if (!number) {
        pack_text(packer, text);
        return;
    }
    packer->text_size += text.n + 1;
    pack_number(packer, 2 * (uint64_t)number);
}

// The bytes where they are, or where the pool has them.
static struct str look_at_text(struct unpacker *unpacker)
{
    uint64_t number = unpack_number(unpacker);
    if (number % 2 == 0)
        return number ? text_pool_text(unpacker->pool, (uint32_t)(number / 2)) : STR_NONE;
    struct str text = {(const char *)unpacker->at, number / 2};
    unpacker->at += text.n;
    return text;
}

static struct str unpack_text(struct unpacker *unpacker)
{
    struct str from = look_at_text(unpacker);
    if (!from.p)
        return STR_NONE;
    struct str text = {unpacker->texts, from.n};
    memcpy(unpacker->texts, from.p, from.n);
    unpacker->texts += from.n + 1; // the room was zeroed
    return text;
}

// "FILE:line" in two: one path for many lines.
static void pack_place(struct packer *packer, struct str place)
{
    size_t colon = place.n;
    while (colon && place.p[colon - 1] != ':')
        colon--;
    pack_shared(packer, colon ? str_sub(place, 0, colon) : STR_NONE);
    pack_text(packer, place.p ? str_sub(place, colon, place.n) : STR_NONE);
}

static struct str unpack_place(struct unpacker *unpacker)
{
    struct str file = unpack_text(unpacker);
    if (file.p)
        unpacker->texts--; // the line follows at once
    struct str line = unpack_text(unpacker);
    return file.p ? (struct str){file.p, file.n + line.n} : line;
}

static void pack_source(struct packer *packer, const struct source *source)
{
    pack_number(packer, (uint64_t)source->id);
    pack_number(packer, (uint64_t)source->account_id);
    pack_number(packer, (uint64_t)source->mode * 2 + source->take_over);
    pack_text(packer, source->name);
    pack_shared(packer, source->platform);
    pack_text(packer, source->token);
    pack_text(packer, source->secret);
    pack_shared(packer, source->api_url);
    pack_text(packer, source->made_secret);
    pack_text(packer, source->registered_url);
}

static void unpack_source(struct unpacker *unpacker, struct str account, struct source *out)
{
    out->id = (int64_t)unpack_number(unpacker);
    out->account_id = (int64_t)unpack_number(unpacker);
    uint64_t mode = unpack_number(unpacker);
    out->mode = (enum source_mode)(mode / 2);
    out->take_over = mode % 2;
    out->account = account;
    out->name = unpack_text(unpacker);
    out->platform = unpack_text(unpacker);
    out->token = unpack_text(unpacker);
    out->secret = unpack_text(unpacker);
    out->api_url = unpack_text(unpacker);
    out->made_secret = unpack_text(unpacker);
    out->registered_url = unpack_text(unpacker);
}

static void pack_desk(struct packer *packer, const struct desk *desk)
{
    pack_number(packer, desk->probe);
    pack_number(packer, (uint64_t)desk->rate_per_min);
    pack_shared(packer, desk->platform);
    pack_text(packer, desk->token);
    pack_text(packer, desk->client_secret);
    pack_shared(packer, desk->api_url);
    pack_text(packer, desk->url);
    pack_text(packer, desk->secret);
}

static void unpack_desk(struct unpacker *unpacker, struct desk *out)
{
    out->probe = (enum desk_probe)unpack_number(unpacker);
    out->rate_per_min = (int64_t)unpack_number(unpacker);
    out->platform = unpack_text(unpacker);
    out->token = unpack_text(unpacker);
    out->client_secret = unpack_text(unpacker);
    out->api_url = unpack_text(unpacker);
    out->url = unpack_text(unpacker);
    out->secret = unpack_text(unpacker);
}

static void pack_flags(struct packer *packer, const struct account *account)
{
    pack_number(packer, (uint64_t)account->active | (uint64_t)account->damaged << 1 |
                            (uint64_t)account->left_file << 2 | (uint64_t)account->replies << 3 |
                            (uint64_t)account->identity << 4);
    pack_number(packer, account->order);
    pack_number(packer, account->on_failure);
    pack_number(packer, account->in_doubt);
    pack_number(packer, (uint64_t)account->order_barrier);
}

static void unpack_flags(struct unpacker *unpacker, struct account *out)
{
    uint64_t flags = unpack_number(unpacker);
    out->active = flags & 1;
    out->damaged = flags >> 1 & 1;
    out->left_file = flags >> 2 & 1;
    out->replies = (enum replies_policy)(flags >> 3 & 1);
    out->identity = (enum identity_policy)(flags >> 4 & 3);
    out->order = (enum order_rule)unpack_number(unpacker);
    out->on_failure = (enum failure_policy)unpack_number(unpacker);
    out->in_doubt = (enum doubt_policy)unpack_number(unpacker);
    out->order_barrier = (int64_t)unpack_number(unpacker);
}

// What unpacking needs to know first stands first: `text_size` was counted when the rest was packed without room.
static void pack_account(struct packer *packer, const struct account *account, size_t text_size)
{
    pack_bytes(packer, account->name);
    pack_number(packer, (uint64_t)account->id);
    pack_number(packer, text_size);
    pack_number(packer, account->source_count);
    pack_number(packer, account->former_count);
    pack_flags(packer, account);
    pack_place(packer, account->defined_at);
    pack_text(packer, account->file_text);
    pack_desk(packer, &account->desk);
    for (size_t i = 0; i < account->source_count; i++)
        pack_source(packer, &account->sources[i]);
    for (size_t i = 0; i < account->former_count; i++)
        pack_source(packer, &account->former[i]);
}

struct packed_account *account_pack(const struct account *account, struct text_pool *pool)
{
    struct packer count = {.pool = pool};
    pack_account(&count, account, 0);
    size_t text_size = count.text_size;
    count = (struct packer){.pool = pool};
    pack_account(&count, account, text_size);
    struct packed_account *packed = mem_new(sizeof *packed + count.size);
    struct packer packer = {.pool = pool, .at = packed->bytes};
    pack_account(&packer, account, text_size);
    must(packer.size == count.size);
    return packed;
}

static void unpack_sources(struct unpacker *unpacker, struct str account, struct source *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        unpack_source(unpacker, account, &out[i]);
}

struct account *account_unpack(const struct packed_account *packed, const struct text_pool *pool)
{
    struct unpacker unpacker = {.pool = pool, .at = packed->bytes};
    struct account *account = account_new();
    struct str name = look_at_text(&unpacker);
    account->id = (int64_t)unpack_number(&unpacker);
    size_t text_size = unpack_number(&unpacker);
    account->source_count = unpack_number(&unpacker);
    account->former_count = unpack_number(&unpacker);
    size_t sources = account->source_count + account->former_count;
    account->arena.first = sources * sizeof *account->sources + text_size + name.n + 64; // all in one chunk
    account->sources = arena_alloc(&account->arena, sources * sizeof *account->sources);
    account->former = account->sources + account->source_count;
    account->name = arena_str(&account->arena, name);
    unpacker.texts = arena_alloc(&account->arena, text_size);
    unpack_flags(&unpacker, account);
    account->defined_at = unpack_place(&unpacker);
    account->file_text = unpack_text(&unpacker);
    unpack_desk(&unpacker, &account->desk);
    unpack_sources(&unpacker, account->name, account->sources, account->source_count);
    unpack_sources(&unpacker, account->name, account->former, account->former_count);
    return account;
}

struct str packed_account_name(const struct packed_account *packed)
{
    struct unpacker unpacker = {.at = packed->bytes};
    return look_at_text(&unpacker);
}

int64_t packed_account_id(const struct packed_account *packed)
{
    struct unpacker unpacker = {.at = packed->bytes};
    (void)look_at_text(&unpacker);
    return (int64_t)unpack_number(&unpacker);
}
