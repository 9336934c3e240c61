#include "relay/reply_parts.h"

#include "base/hash.h"
#include "model/attachment.h"
#include "relay/reply_words.h"

#include <inttypes.h>

enum {
    OVERLAP_S = 60,     // the desk may show a part a little later than one that is younger
    DAY_S = 86400,      // of what was taken longer ago nothing is, at most
    ACTS_S = 2 * DAY_S, // what is older is not changed and not taken back any more: platforms do not let us
    MOST_PIECES = 20,   // of one part, that are looked for to be taken back
};

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

// What claims to be of the future must not hide what comes after it. Where our clock is behind the desk's, the desk's decides.
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

// A batch while it is made.
struct making {
    struct reply_batch *batch;
    const struct reply_taking *taking;
    int64_t now_s;
    size_t room;
};

static struct arena *arena_of_batch(struct making *making)
{
    return &making->batch->arena;
}

static struct str piece_key(struct making *making, const struct desk_part *part, size_t piece)
{
    if (!piece)
        return ARENA_JOIN(arena_of_batch(making), STR("part:"), part->id);
    return arena_printf(arena_of_batch(making), "part:%.*s#%zu", STR_ARG(part->id), piece + 1);
}

static struct str file_key(struct making *making, const struct desk_part *part, size_t nth)
{
    return arena_printf(arena_of_batch(making), "part:%.*s#f%zu", STR_ARG(part->id), nth + 1);
}

static struct store_accept *add(struct making *making, const struct desk_part *part, struct event event)
{
    struct reply_batch *batch = making->batch;
    const struct reply_taking *taking = making->taking;
    if (batch->count == making->room) {
        size_t room = making->room ? making->room * 2 : 8;
        struct store_accept *more = arena_alloc(&batch->arena, room * sizeof *more);
        for (size_t i = 0; i < batch->count; i++)
            more[i] = batch->accepts[i];
        batch->accepts = more;
        making->room = room;
    }
    event.conversation = taking->thread->thread;
    event.sender_id = part->author_id;
    event.sender_name = part->author_name;
    batch->accepts[batch->count] = (struct store_accept){
        .direction = REPLY,
        .account_id = taking->account->id,
        .source_id = taking->thread->source_id,
        .conversation_id = taking->thread->conversation_id,
        .order = taking->account->order,
        .state = MESSAGE_PENDING,
        .received_at_us = taking->now_us,
        .event = event,
        .out_arena = &batch->arena,
    };
    return &batch->accepts[batch->count++];
}

// ---- said ----

static void add_said(struct making *making, const struct desk_part *part, struct event event, bool looped)
{
    event.sent_at_us = made_s(part, making->now_s) * 1000000;
    struct store_accept *accept = add(making, part, event);
    if (looped) {
        accept->state = MESSAGE_DISCARDED;
        accept->reason = REASON_LOOP;
    } else if (event.attachments.n) {
        accept->wait_until_us = making->taking->now_us + making->taking->media_wait_us;
    }
}

static void add_words(struct making *making, const struct desk_part *part, const struct reply_words *words, bool looped)
{
    for (size_t i = 0; i < words->text_count; i++)
        add_said(making, part,
                 (struct event){.dedupe_key = piece_key(making, part, i),
                                .text = words->texts[i].text,
                                .format = words->texts[i].format},
                 looped);
    for (size_t i = 0; i < words->file_count; i++)
        add_said(making, part,
                 (struct event){.dedupe_key = file_key(making, part, i),
                                .text = STR(""),
                                .attachments = attachments_write(&words->files[i], 1, arena_of_batch(making))},
                 looped);
}

// ---- changed, and taken back ----

// Only what was sent is: the store knows.
static void add_act(struct making *making, const struct desk_part *part, struct str target, struct str suffix,
                    struct event event)
{
    event.dedupe_key = ARENA_JOIN(arena_of_batch(making), target, STR("~"), suffix);
    event.target_key = target;
    event.sent_at_us = (part->updated_s < making->now_s ? part->updated_s : making->now_s) * 1000000;
    add(making, part, event);
}

static void add_deletion(struct making *making, const struct desk_part *part, struct str target, struct str suffix)
{
    add_act(making, part, target, suffix, (struct event){.act = REPLY_DELETES, .text = STR("")});
}

static void add_gone(struct making *making, const struct desk_part *part)
{
    for (size_t i = 0; i < MOST_PIECES; i++)
        add_deletion(making, part, piece_key(making, part, i), STR("gone"));
    for (size_t i = 0; i < FILES_MAX; i++)
        add_deletion(making, part, file_key(making, part, i), STR("gone"));
}

static struct str change_suffix(struct making *making, const struct desk_part *part, uint64_t digest)
{
    return arena_printf(arena_of_batch(making), "%" PRId64 "-%016" PRIx64, part->updated_s, digest);
}

// What the words had more of before is taken back, and what they had less of is said behind all the rest. (Files cannot be changed at a desk.)
static void add_changes(struct making *making, const struct desk_part *part, const struct reply_words *words)
{
    for (size_t i = 0; i < MOST_PIECES; i++) {
        struct str target = piece_key(making, part, i);
        const struct reply_text *text = i < words->text_count ? &words->texts[i] : NULL;
        uint64_t digest = text ? hash_strs((struct str[]){text->text, text->format}, 2) : 0;
        struct str suffix = change_suffix(making, part, digest);
        if (text)
            add_act(making, part, target, suffix,
                    (struct event){.act = REPLY_EDITS,
                                   .behind_key = i ? piece_key(making, part, i - 1) : file_key(making, part, 0),
                                   .text = text->text,
                                   .format = text->format});
        else
            add_deletion(making, part, target, suffix);
    }
}

static bool takes_acts_on(const struct making *making, const struct desk_part *part)
{
    return making->taking->platform && making->taking->platform->takes_acts &&
           making->now_s - part->created_s <= ACTS_S;
}

// ---- parts ----

static void take(struct making *making, const struct desk_part *part, bool is_new_part, bool looped)
{
    struct reply_words words;
    bool acts = takes_acts_on(making, part), seen = made_s(part, making->now_s) <= making->taking->thread->taken_s;
    bool changed = acts && seen && part->updated_s > part->created_s && !part->redacted;
    if (part->redacted && acts)
        add_gone(making, part);
    if (part->redacted || !(is_new_part || changed))
        return;
    reply_words_make(making->taking->platform, part, arena_of_batch(making), &words);
    if (is_new_part)
        add_words(making, part, &words, looped);
    if (changed)
        add_changes(making, part, &words);
}

void reply_batch_make(struct reply_batch *batch, const struct reply_taking *taking, const struct desk_part *parts,
                      size_t part_count, const struct bot_guard *guard)
{
    int64_t now_s = taking->now_us / 1000000, taken_s = taking->thread->taken_s;
    if (now_s < taking->desk_s)
        now_s = taking->desk_s;
    struct making making = {.batch = batch, .taking = taking, .now_s = now_s};
    size_t uncounted = first_uncounted(guard, parts, part_count, taken_s, now_s);
    batch->taken_s = taken_s;
    batch->guard = *guard;
    int64_t overlap_s = overlap_ends_s(taking->now_us, taking->keep_dedupe_us);
    for (size_t i = 0; i < part_count; i++) {
        const struct desk_part *part = &parts[i];
        int64_t part_s = made_s(part, now_s);
        bool is_new_part = is_new(part_s, taken_s, overlap_s);
        if (is_new_part && part_s > batch->taken_s)
            batch->taken_s = part_s;
        if (!is_for_customer(taking->account, part))
            continue;
        bool counts = is_new_part && part->by_bot && i >= uncounted && !part->redacted;
        bool looped = counts && !guard_lets(&batch->guard, part, part_s);
        batch->looped += looped;
        take(&making, part, is_new_part, looped);
    }
}

void reply_batch_done(struct reply_batch *batch)
{
    arena_done(&batch->arena);
    *batch = (struct reply_batch){0};
}
