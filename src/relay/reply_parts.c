#include "relay/reply_parts.h"

#include "base/hash.h"
#include "base/json.h"
#include "platform/html_text.h"
#include "platform/platform.h"

#include <string.h>

enum {
    OVERLAP_S = 60, // the desk may show a part a little later than one that is younger
    DAY_S = 86400,  // of what was taken longer ago nothing is, at most
};

static void escape(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '<':
            buf_add_str(out, STR("&lt;"));
            break;
        case '&':
            buf_add_str(out, STR("&amp;"));
            break;
        case '"':
            buf_add_str(out, STR("&quot;"));
            break;
        default:
            buf_add_char(out, text.p[i]);
        }
    }
}

// Images that stand in the text are listed as files, too: the connector makes links of them where they stand.
static void add_file(struct buf *out, yyjson_val *file, struct str said)
{
    struct str url = json_get_str(file, "url"), name = json_get_str(file, "name");
    struct buf link;
    buf_init(&link, SIZE_MAX / 2);
    escape(&link, url);
    buf_must(&link);
    bool stands_there = !link.n || memmem(said.p, said.n, url.p, url.n) || memmem(said.p, said.n, link.p, link.n);
    if (!stands_there) {
        buf_add_str(out, STR("<p><a href=\""));
        buf_add_str(out, buf_str(&link));
        buf_add_str(out, STR("\">"));
        escape(out, name.n ? name : url);
        buf_add_str(out, STR("</a></p>"));
    }
    buf_done(&link);
}

// The agent's words, and a link for each file.
static struct str html_of(const struct desk_part *part, struct arena *arena)
{
    yyjson_doc *doc = part->attachments.n ? json_read(part->attachments) : NULL;
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    buf_add_str(&out, part->html);
    yyjson_val *file;
    yyjson_arr_iter files = yyjson_arr_iter_with(yyjson_doc_get_root(doc));
    while ((file = yyjson_arr_iter_next(&files)))
        add_file(&out, file, part->html);
    yyjson_doc_free(doc);
    buf_must(&out);
    struct str html = arena_str(arena, buf_str(&out));
    buf_done(&out);
    return html;
}

static void compose(const struct source *source, struct str html, struct arena *arena, struct reply_text **out,
                    size_t *out_count)
{
    const struct platform *platform = source ? platform_find(source->platform) : NULL;
    if (platform && platform->compose) {
        platform->compose(html, arena, out, out_count);
        return;
    }
    // Nobody takes it: the message is there to say so.
    struct html_text plain;
    html_text_read(html, arena, &plain);
    *out = arena_of(arena, struct reply_text);
    (*out)->text = plain.text;
    *out_count = 1;
}

static bool is_for_customer(const struct account *account, const struct desk_part *part)
{
    return !part->ours && (!part->by_bot || account->replies == REPLIES_AGENTS_AND_BOTS);
}

// Nothing is taken a second time when the store may have forgotten the first.
static int64_t overlap_ends_s(int64_t now_us, int64_t keep_dedupe_us)
{
    int64_t known_s = keep_dedupe_us / 1000000 - 2 * OVERLAP_S; // the desk's clock is ours, give or take as much
    return now_us / 1000000 - (known_s < DAY_S ? known_s : DAY_S);
}

// What claims to be of the future must not hide what comes after it.
static int64_t made_s(const struct desk_part *part, int64_t now_s)
{
    return part->created_s < now_s + OVERLAP_S ? part->created_s : now_s + OVERLAP_S;
}

static bool is_new(int64_t part_s, int64_t taken_s, int64_t overlap_s)
{
    bool late = taken_s > overlap_s && part_s >= taken_s - OVERLAP_S;
    return part_s > taken_s || late;
}

static bool guard_lets(struct bot_guard *guard, const struct desk_part *part, int64_t said_s)
{
    if (!guard->count || said_s - guard->since_s > BOT_GUARD_S)
        *guard = (struct bot_guard){.since_s = said_s};
    guard->last = hash_str(part->id);
    return ++guard->count <= BOT_GUARD_MOST;
}

// The first part that the guard has not seen yet. It knows its last one by its id: bots may say much within the second up to which was
// taken. Where that is not among them the second decides.
static size_t first_uncounted(const struct bot_guard *guard, const struct desk_part *parts, size_t part_count,
                              int64_t taken_s, int64_t now_s)
{
    size_t i = part_count;
    while (i > 0 && (!guard->last || hash_str(parts[i - 1].id) != guard->last))
        i--;
    if (i)
        return i;
    while (i < part_count && made_s(&parts[i], now_s) <= taken_s)
        i++;
    return i;
}

static struct str key_of(const struct desk_part *part, size_t piece, struct arena *arena)
{
    char digits[STR_I64_SIZE];
    if (!piece)
        return ARENA_JOIN(arena, STR("part:"), part->id);
    return ARENA_JOIN(arena, STR("part:"), part->id, STR("#"), str_of_i64((int64_t)piece + 1, digits));
}

// A batch while it is made.
struct making {
    struct reply_batch *batch;
    const struct account *account;
    const struct store_thread *thread;
    int64_t now_us;
    size_t room;
};

static void add(struct making *making, const struct desk_part *part, const struct reply_text *text, size_t piece,
                bool looped)
{
    struct reply_batch *batch = making->batch;
    if (batch->count == making->room) {
        size_t room = making->room ? making->room * 2 : 8;
        struct store_accept *more = arena_alloc(&batch->arena, room * sizeof *more);
        for (size_t i = 0; i < batch->count; i++)
            more[i] = batch->accepts[i];
        batch->accepts = more;
        making->room = room;
    }
    batch->accepts[batch->count++] = (struct store_accept){
        .direction = REPLY,
        .account_id = making->account->id,
        .source_id = making->thread->source_id,
        .conversation_id = making->thread->conversation_id,
        .order = making->account->order,
        .state = looped ? MESSAGE_DISCARDED : MESSAGE_PENDING,
        .reason = looped ? REASON_LOOP : REASON_NONE,
        .received_at_us = making->now_us,
        .event = {.dedupe_key = key_of(part, piece, &batch->arena),
                  .conversation = making->thread->thread,
                  .sender_id = part->author_id,
                  .sender_name = part->author_name,
                  .text = text->text,
                  .format = text->format,
                  .sent_at_us = made_s(part, making->now_us / 1000000) * 1000000},
        .out_arena = &batch->arena,
    };
}

void reply_batch_make(struct reply_batch *batch, const struct account *account, const struct source *source,
                      const struct store_thread *thread, const struct desk_part *parts, size_t part_count,
                      const struct bot_guard *guard, int64_t now_us, int64_t keep_dedupe_us)
{
    struct making making = {batch, account, thread, now_us, 0};
    size_t uncounted = first_uncounted(guard, parts, part_count, thread->taken_s, now_us / 1000000);
    batch->taken_s = thread->taken_s;
    batch->guard = *guard;
    int64_t overlap_s = overlap_ends_s(now_us, keep_dedupe_us);
    for (size_t i = 0; i < part_count; i++) {
        const struct desk_part *part = &parts[i];
        int64_t part_s = made_s(part, now_us / 1000000);
        if (!is_new(part_s, thread->taken_s, overlap_s))
            continue;
        if (part_s > batch->taken_s)
            batch->taken_s = part_s;
        if (!is_for_customer(account, part))
            continue;
        bool looped = part->by_bot && i >= uncounted && !guard_lets(&batch->guard, part, part_s);
        struct reply_text *texts = NULL;
        size_t count = 0;
        compose(source, html_of(part, &batch->arena), &batch->arena, &texts, &count);
        batch->looped += looped;
        for (size_t piece = 0; piece < count; piece++)
            add(&making, part, &texts[piece], piece, looped);
    }
}

void reply_batch_done(struct reply_batch *batch)
{
    arena_done(&batch->arena);
    *batch = (struct reply_batch){0};
}
