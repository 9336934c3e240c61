// Whatever is done with files, albums, quotas, acts and profiles, the SQLite store says what the store in memory says: batches
// drawn by chance go to both, some of them find no room in their middle, and processes end between them.
#include "support/unit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/chance.h"
#include "support/fault_vfs.h"
#include "support/store_kit.h"

enum { SEEDS = 40, BATCHES = 60, IN_BATCH = 8, ACCOUNTS = 2, CHATS = 3, WAIT_US = 5000000 };

static struct {
    struct chance chance;
    struct store *disk, *memory;
    char *path;
    struct arena arena; // of the seed
    int64_t now_us, last_id;
    int keys;
} bench;

static uint64_t below(uint64_t bound)
{
    return chance_below(&bench.chance, bound);
}

// What is drawn is applied to both: each has a copy of its own, since answers are written into it.
struct drawn {
    enum store_change_kind kind;
    union {
        struct store_accept accept;
        struct store_outcome outcome;
        struct store_mark mark;
        struct store_retry retry;
        struct store_file file;
        struct store_files_gone gone;
    };
};

static struct str draw_attachments(void)
{
    struct attachment files[FILES_MAX + 2];
    uint64_t most = below(20) == 0 ? FILES_MAX + 2 : 4;
    size_t count = (size_t)below(most + 1);
    for (size_t i = 0; i < count; i++)
        files[i] = (struct attachment){.kind = STR("image"),
                                       .url = STR("https://x.example/a"),
                                       .size = -1,
                                       .state = below(3) ? FILE_WANTED : FILE_ELSEWHERE};
    return attachments_write(files, count, &bench.arena);
}

static struct profile draw_profile(void)
{
    return (struct profile){.name = below(2) ? STR("Ann") : STR_NONE,
                            .username = below(2) ? STR("ann") : STR_NONE,
                            .language = below(2) ? STR("de") : STR_NONE};
}

static void draw_event(struct store_accept *accept)
{
    int64_t account = 1 + (int64_t)below(ACCOUNTS);
    int key = below(20) && bench.keys < 1000000 ? bench.keys++ : (int)below((uint64_t)bench.keys + 1);
    *accept = (struct store_accept){.account_id = account,
                                    .source_id = account,
                                    .order = account == 1 ? ORDER_ACCOUNT : ORDER_CONVERSATION,
                                    .received_at_us = bench.now_us,
                                    .most_waiting = below(2) ? (int64_t)below(12) : 0,
                                    .most_file_bytes = below(3) ? 0 : (int64_t)below(2000),
                                    .out_arena = &bench.arena};
    accept->wait_until_us = below(8) ? bench.now_us + WAIT_US : 0;
    accept->event = (struct event){.dedupe_key = arena_printf(&bench.arena, "%d", key),
                                   .conversation = arena_printf(&bench.arena, "chat %d", (int)below(CHATS)),
                                   .sender_id = STR("u"),
                                   .text = below(2) ? arena_printf(&bench.arena, "text %d", key) : STR(""),
                                   .attachments = draw_attachments(),
                                   .album = below(2) ? arena_printf(&bench.arena, "album %d", (int)below(3)) : STR_NONE,
                                   .profile = draw_profile(),
                                   .sent_at_us = bench.now_us - 5};
    if (below(15) == 0) {
        accept->state = MESSAGE_DISCARDED;
        accept->reason = REASON_NO_MEANING;
    }
}

// Of a conversation that both are known to have.
static void draw_reply(struct store_accept *accept)
{
    draw_event(accept);
    accept->direction = REPLY;
    accept->account_id = accept->source_id = 1;
    accept->conversation_id = 1;
    accept->event.dedupe_key = arena_printf(&bench.arena, "part %d", bench.keys);
    accept->event.digest = below(3);
    accept->event.act = (enum reply_act)below(3);
    accept->event.target_key = arena_printf(&bench.arena, "part %d", (int)below((uint64_t)bench.keys + 1));
}

static void draw_outcome(struct store_outcome *o, int64_t id)
{
    static const enum message_state states[] = {MESSAGE_DELIVERED, MESSAGE_DELIVERED, MESSAGE_SKIPPED,
                                                MESSAGE_DISCARDED, MESSAGE_PENDING};
    *o = (struct store_outcome){.message_id = id, .state = states[below(5)], .at_us = bench.now_us};
    o->reason = o->state == MESSAGE_DISCARDED ? REASON_BY_HAND : REASON_NONE;
    o->files_told = (uint32_t)chance_next(&bench.chance);
    o->text_told.known = below(2) != 0;
    o->text_told.bytes = (size_t)below(12);
    o->desk_ref = below(2) ? STR("ref") : STR_NONE;
    if (o->state == MESSAGE_PENDING) {
        o->attempts = (int)below(2);
        o->next_attempt_us = bench.now_us + (int64_t)below(WAIT_US);
    }
}

static void draw_file(struct store_file *file, int64_t id)
{
    char digit = (char)('a' + (char)below(5));
    char hash[FILE_HASH_SIZE];
    memset(hash, digit, sizeof hash);
    *file = (struct store_file){.message_id = id,
                                .nth = (int)below(below(10) ? 4 : FILES_MAX + 1),
                                .state = (enum file_state)below(3),
                                .attempts = (int)below(4),
                                .next_attempt_us = bench.now_us + (int64_t)below(1000),
                                .at_us = bench.now_us,
                                .hash = arena_str(&bench.arena, (struct str){hash, sizeof hash}),
                                .mime = below(2) ? STR("image/png") : STR_NONE,
                                .why = STR("gone"),
                                .size = digit};
}

static void draw(struct drawn *drawn)
{
    uint64_t what = below(100);
    int64_t id = 1 + (int64_t)below((uint64_t)bench.last_id + 1);
    bench.now_us += (int64_t)below(1500000);
    *drawn = (struct drawn){0};
    if (what < 35) {
        drawn->kind = STORE_ACCEPT;
        draw_event(&drawn->accept);
    } else if (what < 42) {
        drawn->kind = STORE_ACCEPT;
        draw_reply(&drawn->accept);
    } else if (what < 62) {
        drawn->kind = STORE_OUTCOME;
        draw_outcome(&drawn->outcome, id);
    } else if (what < 65) {
        drawn->kind = STORE_MARK;
        drawn->mark = (struct store_mark){id, below(2) != 0};
    } else if (what < 72) {
        drawn->kind = STORE_RETRY;
        drawn->retry = (struct store_retry){.message_id = id};
    } else if (what < 97) {
        drawn->kind = STORE_FILE;
        draw_file(&drawn->file, id);
    } else {
        drawn->kind = STORE_FILES_GONE;
        drawn->gone = (struct store_files_gone){.limit = 100, .arena = &bench.arena};
    }
}

static int apply(struct store *store, struct drawn *drawn, size_t count)
{
    struct store_change changes[IN_BATCH];
    for (size_t i = 0; i < count; i++)
        changes[i] = (struct store_change){drawn[i].kind, {.accept = &drawn[i].accept}}; // all stand at one place
    return store->ops->apply(store, changes, count);
}

// ---- what both answer

static void assert_same_accept(const struct store_accept *a, const struct store_accept *b)
{
    assert_int_equal(a->result, b->result);
    if (a->result == ACCEPT_OVER_QUOTA) {
        assert_int_equal(a->over_files, b->over_files);
        return;
    }
    if (a->result == ACCEPT_NOTHING)
        return;
    assert_int_equal(a->message_id, b->message_id);
    if (a->result == ACCEPT_DUPLICATE)
        return;
    assert_int_equal(a->lane, b->lane);
    assert_int_equal(a->wait_until_us, b->wait_until_us);
    assert_true(str_eq(a->profile, b->profile));
    assert_true(str_eq(a->event.attachments, b->event.attachments));
    if (a->result == ACCEPT_JOINED)
        assert_int_equal(a->joined_id, b->joined_id);
}

static void assert_same_file(const struct store_file *a, const struct store_file *b)
{
    assert_int_equal(a->applied, b->applied);
    assert_int_equal(a->ready, b->ready);
    assert_int_equal(a->changed, b->changed);
    assert_int_equal(a->follow_lane, b->follow_lane);
    assert_int_equal(a->follow_id, b->follow_id);
    if (a->applied) {
        assert_int_equal(a->account_id, b->account_id);
        assert_int_equal(a->source_id, b->source_id);
        assert_int_equal(a->lane, b->lane);
    }
}

static void assert_same_gone(const struct store_files_gone *a, const struct store_files_gone *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        bool found = false;
        for (size_t k = 0; k < b->count; k++)
            found = found || str_eq(a->hashes[i], b->hashes[k]);
        assert_true(found);
    }
}

static void assert_same(const struct drawn *a, const struct drawn *b)
{
    if (a->kind == STORE_ACCEPT)
        assert_same_accept(&a->accept, &b->accept);
    if (a->kind == STORE_OUTCOME) {
        assert_int_equal(a->outcome.applied, b->outcome.applied);
        assert_int_equal(a->outcome.follow_lane, b->outcome.follow_lane);
        assert_int_equal(a->outcome.follow_id, b->outcome.follow_id);
    }
    if (a->kind == STORE_RETRY)
        assert_int_equal(a->retry.applied, b->retry.applied);
    if (a->kind == STORE_FILE)
        assert_same_file(&a->file, &b->file);
    if (a->kind == STORE_FILES_GONE)
        assert_same_gone(&a->gone, &b->gone);
}

// Now and then there is no room in the middle of the batch, and nothing of it was done.
static void apply_some(void)
{
    struct drawn drawn[IN_BATCH], copies[IN_BATCH];
    size_t count = 1 + (size_t)below(IN_BATCH);
    for (size_t i = 0; i < count; i++)
        draw(&drawn[i]);
    memcpy(copies, drawn, sizeof drawn);
    if (below(4) == 0)
        fault_vfs = (struct fault_vfs){.at = 1 + (int64_t)below(4), .once = true, .error = ENOSPC};
    int err = apply(bench.disk, drawn, count);
    assert_true(!err || (err == ERR_FULL && fault_vfs.hits));
    fault_vfs_clear();
    if (err) // the same once more, as the committer does
        assert_int_equal(apply(bench.disk, drawn, count), 0);
    assert_int_equal(apply(bench.memory, copies, count), 0);
    for (size_t i = 0; i < count; i++)
        assert_same(&drawn[i], &copies[i]);
}

// ---- what both have

struct said {
    char text[1 << 20];
    size_t n;
};

static struct said said[2];

static void say(struct said *to, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct said *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    to->n += (size_t)vsnprintf(to->text + to->n, sizeof to->text - to->n, format, args);
    va_end(args);
    assert_true(to->n < sizeof to->text);
}

static void say_message(void *arg, const struct message *m)
{
    say(arg, "%d lane %d place %d state %d.%d next %lld act %d ref %.*s \"%.*s\" %.*s\n", (int)m->id, (int)m->lane,
        (int)m->place, (int)m->state, (int)m->reason, m->state == MESSAGE_PENDING ? (long long)m->next_attempt_us : 0,
        (int)m->act, STR_ARG(m->target_ref), STR_ARG(m->text), STR_ARG(m->attachments));
    bench.last_id = m->id > bench.last_id ? m->id : bench.last_id;
}

static void say_counts(void *arg, const struct account_counts *counts)
{
    say(arg, "account %d: %d wait, %d bytes\n", (int)counts->account_id, (int)counts->pending, (int)counts->file_bytes);
}

static void say_wanted(struct said *to, struct store *store)
{
    struct arena arena = {0};
    struct store_wanted wanted = {.limit = 10, .arena = &arena};
    assert_int_equal(store->ops->wanted_files(store, &wanted), 0);
    for (size_t i = 0; i < wanted.count; i++) {
        const struct wanted_file *file = &wanted.files[i];
        say(to, "wanted %d.%d of %d at %lld after %d: %.*s\n", (int)file->message_id, file->nth, (int)file->account_id,
            (long long)file->next_attempt_us, file->attempts, STR_ARG(file->file.url));
    }
    say(to, "due %lld\n", (long long)wanted.due_us);
    arena_done(&arena);
}

static void say_all(struct said *to, struct store *store, bool sized)
{
    struct message_filter filter = {0};
    struct store_reader *reader = store->ops->reader_new(store);
    to->n = 0;
    assert_int_equal(reader->ops->messages(reader, &filter, 0, 100000, say_message, to), 0);
    if (sized)
        assert_int_equal(reader->ops->account_counts(reader, say_counts, to), 0);
    reader->ops->free(reader);
    say_wanted(to, store);
}

// The first line that differs.
static void assert_said_the_same(void)
{
    const char *a = said[0].text, *b = said[1].text;
    size_t from = 0, at = 0;
    for (; a[at] && a[at] == b[at]; at++)
        from = a[at] == '\n' ? at + 1 : from;
    if (a[at] != b[at])
        print_message("# disk: %.*s\n# memory: %.*s\n", (int)strcspn(a + from, "\n"), a + from,
                      (int)strcspn(b + from, "\n"), b + from);
    assert_int_equal(a[at], b[at]);
}

static void compare(void)
{
    say_all(&said[0], bench.disk, false);
    say_all(&said[1], bench.memory, false);
    assert_said_the_same();
}

static void age_out(struct store *store, int64_t bodies_before_us)
{
    bool more = true;
    while (more)
        assert_int_equal(store->ops->age_out(store, bodies_before_us, 0, &more), 0);
}

static void put_accounts(struct store *store)
{
    static const char *const names[] = {"one", "two"};
    for (int i = 0; i < ACCOUNTS; i++) {
        int64_t source_id;
        struct account *account = account_new();
        account->name = str_of(names[i]);
        account->order = i ? ORDER_CONVERSATION : ORDER_ACCOUNT;
        account->source_count = 1;
        account->sources = arena_of(&account->arena, struct source);
        account->sources[0] = (struct source){.name = STR("bot"), .platform = STR("telegram")};
        struct store_account_put put = {.account = account, .source_ids = &source_id};
        assert_int_equal(kit_apply(store, STORE_ACCOUNT_PUT, &put), 0);
        assert_int_equal(source_id, i + 1);
        account_unref(account);
    }
}

static void look_closely(void)
{
    static const size_t blocks[] = {1, 3, 30};
    say_all(&said[0], bench.disk, true);
    say_all(&said[1], bench.memory, true);
    assert_said_the_same();
    bench.disk->ops->close(bench.disk, below(2) == 0);
    bench.disk = kit_open_small(bench.path, blocks[below(3)]);
    assert_true(kit_verify(bench.disk, true));
    compare();
}

static void play(uint64_t seed)
{
    chance_init(&bench.chance, seed);
    bench.path = kit_store_path("files_random");
    kit_remove(bench.path);
    bench.disk = kit_open_small(bench.path, 3);
    bench.memory = store_memory_new();
    bench.now_us = 1000000000;
    bench.last_id = bench.keys = 0;
    put_accounts(bench.disk);
    put_accounts(bench.memory);
    struct drawn first = {.kind = STORE_ACCEPT}, copy;
    do // whose conversation replies are of
        draw_event(&first.accept);
    while (first.accept.account_id != 1);
    first.accept.most_waiting = first.accept.most_file_bytes = 0;
    copy = first;
    assert_int_equal(apply(bench.disk, &first, 1), 0);
    assert_int_equal(apply(bench.memory, &copy, 1), 0);
    for (int i = 0; i < BATCHES; i++) {
        apply_some();
        compare();
        if (below(10) == 0)
            look_closely();
        if (below(15) == 0) {
            int64_t before_us = bench.now_us - (int64_t)below(20000000);
            age_out(bench.disk, before_us);
            age_out(bench.memory, before_us);
            compare();
        }
    }
    look_closely();
    bench.disk->ops->close(bench.disk, true);
    bench.memory->ops->close(bench.memory, true);
    arena_done(&bench.arena);
    free(bench.path);
}

static void test_both_say_the_same_whatever_is_done(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("# seed %d\n", (int)seed);
        play(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_say_the_same_whatever_is_done)};
    fault_vfs_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
