// The store's contract for files that messages come with, albums, quotas, what agents change of replies, and what is known of a
// customer (store/store.h); over every back end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/store_kit.h"

enum { ARRIVAL = 1000000000, WAIT = 15000000 }; // microseconds

static struct {
    bool on_disk;
    size_t block; // of fresh messages
    bool damaged; // verify must say so in the end
    struct store *store;
    char *path;
    struct account *account;
    int64_t source_id;
    struct arena arena;
    int64_t now_us;
} bench;

static void put_account(enum order_rule order)
{
    struct account *account = bench.account;
    struct store_account_put put = {.account = account, .source_ids = &bench.source_id};
    account->order = order;
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_PUT, &put), 0);
    account->id = put.id;
}

static void open_store(void)
{
    bench.store = bench.on_disk ? kit_open_small(bench.path, bench.block) : store_memory_new();
}

static int set_up(void **state)
{
    static int n;
    char name[32];
    (void)state;
    bench.damaged = false;
    bench.now_us = ARRIVAL;
    snprintf(name, sizeof name, "files%d", n++);
    bench.path = bench.on_disk ? kit_store_path(name) : NULL;
    open_store();
    bench.account = account_new();
    bench.account->name = STR("acme");
    bench.account->desk = (struct desk){.platform = STR("webhook"), .url = STR("http://desk.example/")};
    bench.account->source_count = 1;
    bench.account->sources = arena_of(&bench.account->arena, struct source);
    bench.account->sources[0] = (struct source){.name = STR("bot"), .platform = STR("telegram"), .token = STR("1:a")};
    put_account(ORDER_CONVERSATION);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bool sum = kit_verify(bench.store, true) != bench.damaged;
    bench.store->ops->close(bench.store, true);
    account_unref(bench.account);
    arena_done(&bench.arena);
    free(bench.path);
    return sum ? 0 : -1;
}

// The process ends, in order or not, and another one begins; what is in memory alone stays.
static void reopen(bool clean)
{
    if (!bench.on_disk)
        return;
    bench.store->ops->close(bench.store, clean);
    open_store();
}

static void reopen_after(void (*change)(const char *path, const char *sql), const char *sql)
{
    bench.store->ops->close(bench.store, true);
    change(bench.path, sql);
    open_store();
}

#define assert_str(s, literal) assert_true(str_eq((s), STR(literal)))

// --- Hands ---

// A list of so many files to be fetched, called first, first + 1 ...
static struct str wanted(int first, int count)
{
    struct attachment *files = arena_alloc(&bench.arena, (size_t)(count ? count : 1) * sizeof *files);
    for (int i = 0; i < count; i++)
        files[i] = (struct attachment){.kind = STR("image"),
                                       .name = arena_printf(&bench.arena, "%d.jpg", first + i),
                                       .ref = arena_printf(&bench.arena, "ref %d", first + i),
                                       .size = -1,
                                       .state = FILE_WANTED};
    return attachments_write(files, (size_t)count, &bench.arena);
}

static struct store_accept event_of(const char *key, struct str attachments)
{
    bench.now_us += 1000;
    return (struct store_accept){.account_id = bench.account->id,
                                 .source_id = bench.source_id,
                                 .order = bench.account->order,
                                 .received_at_us = bench.now_us,
                                 .wait_until_us = bench.now_us + WAIT,
                                 .event = {.dedupe_key = str_of(key),
                                           .conversation = STR("chat"),
                                           .sender_id = STR("u1"),
                                           .sender_name = STR("Ann"),
                                           .text = STR("look"),
                                           .sent_at_us = ARRIVAL - 7000000,
                                           .attachments = attachments},
                                 .out_arena = &bench.arena};
}

static struct store_accept store_event(struct store_accept accept)
{
    assert_int_equal(kit_apply(bench.store, STORE_ACCEPT, &accept), 0);
    return accept;
}

static struct store_accept with_files(const char *key, int count)
{
    struct store_accept accept = store_event(event_of(key, wanted(0, count)));
    assert_int_equal(accept.result, ACCEPT_STORED);
    return accept;
}

static struct str hash_of(char digit)
{
    char hash[FILE_HASH_SIZE];
    memset(hash, digit, sizeof hash);
    return arena_str(&bench.arena, (struct str){hash, sizeof hash});
}

static struct store_file settle_file(int64_t message_id, int nth, char hash_digit)
{
    struct store_file file = {.message_id = message_id,
                              .nth = nth,
                              .state = hash_digit ? FILE_KEPT : FILE_FAILED,
                              .attempts = 1,
                              .at_us = bench.now_us};
    if (hash_digit) {
        file.hash = hash_of(hash_digit);
        file.mime = STR("image/jpeg");
        file.size = hash_digit * 100;
    } else {
        file.why = STR("it is gone");
    }
    assert_int_equal(kit_apply(bench.store, STORE_FILE, &file), 0);
    return file;
}

static struct store_outcome deliver_told(int64_t message_id, uint32_t told)
{
    struct store_outcome outcome = kit_outcome(message_id, MESSAGE_DELIVERED);
    outcome.files_told = told;
    outcome.desk_ref = STR("ref");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_true(outcome.applied);
    return outcome;
}

// In the arena.
static struct attachment *files_of(int64_t message_id, size_t want)
{
    struct attachment *files;
    struct message *message = kit_message(bench.store, message_id);
    assert_int_not_equal(message->reason, REASON_DAMAGED);
    size_t count = attachments_read(message->attachments, &bench.arena, &files);
    message_free(message);
    assert_int_equal(count, want);
    return files;
}

static int64_t waits_until(int64_t message_id)
{
    struct message *message = kit_message(bench.store, message_id);
    int64_t until_us = message->next_attempt_us;
    message_free(message);
    return until_us;
}

static struct wanted_file *wanted_files(size_t limit, size_t want, int64_t *out_due_us)
{
    struct store_wanted ask = {.limit = limit, .arena = &bench.arena, .count = 99, .due_us = -1};
    assert_int_equal(bench.store->ops->wanted_files(bench.store, &ask), 0);
    assert_int_equal(ask.count, want);
    if (out_due_us)
        *out_due_us = ask.due_us;
    return ask.files;
}

// The hashes that no message has any more, by their digits.
static const char *gone(size_t limit)
{
    static char digits[100];
    size_t n = 0;
    bool more = true;
    while (more) {
        struct store_files_gone change = {.limit = limit, .arena = &bench.arena};
        assert_int_equal(kit_apply(bench.store, STORE_FILES_GONE, &change), 0);
        assert_true(change.count <= limit);
        for (size_t i = 0; i < change.count; i++) {
            assert_int_equal(change.hashes[i].n, FILE_HASH_SIZE);
            digits[n++] = change.hashes[i].p[0];
        }
        more = change.more;
    }
    digits[n] = 0;
    return digits;
}

static void take_bytes(void *arg, const struct account_counts *counts)
{
    if (counts->account_id == bench.account->id)
        *(int64_t *)arg = counts->file_bytes;
}

static int64_t file_bytes(void)
{
    int64_t bytes = 0;
    struct store_reader *reader = bench.store->ops->reader_new(bench.store);
    assert_int_equal(reader->ops->account_counts(reader, take_bytes, &bytes), 0);
    reader->ops->free(reader);
    return bytes;
}

static void age_all(void)
{
    bool more = true;
    while (more)
        assert_int_equal(bench.store->ops->age_out(bench.store, INT64_C(1) << 60, 0, &more), 0);
}

static void age_everything(void)
{
    bool more = true;
    while (more)
        assert_int_equal(bench.store->ops->age_out(bench.store, INT64_C(1) << 60, INT64_C(1) << 60, &more), 0);
}

// The lane's pending messages.
static struct lane_page load(int64_t lane, size_t want)
{
    struct lane_page page;
    assert_int_equal(bench.store->ops->load_lane(bench.store, lane, 0, 100, &page), 0);
    assert_int_equal(page.count, want);
    return page;
}

// --- Files ---

static void test_message_waits_for_its_files_and_no_other_does(void **state)
{
    (void)state;
    struct store_accept with = with_files("1", 2);
    assert_int_equal(with.wait_until_us, with.received_at_us + WAIT);
    assert_int_equal(waits_until(with.message_id), with.wait_until_us);
    struct store_accept without = store_event(event_of("2", STR_NONE));
    assert_int_equal(without.wait_until_us, 0);
    assert_int_equal(waits_until(without.message_id), 0);
    struct lane_page page = load(with.lane, 2);
    assert_int_equal(page.entries[0].message->next_attempt_us, with.wait_until_us);
    lane_page_done(&page);
}

static void test_wanted_files_are_given_in_their_turn(void **state)
{
    (void)state;
    int64_t due_us;
    struct store_accept a = with_files("1", 2), b = with_files("2", 1);
    reopen(false);
    struct wanted_file *files = wanted_files(2, 2, &due_us);
    assert_int_equal(files[0].message_id, a.message_id);
    assert_int_equal(files[0].nth, 0);
    assert_int_equal(files[1].nth, 1);
    assert_int_equal(files[1].account_id, bench.account->id);
    assert_int_equal(files[1].source_id, bench.source_id);
    assert_int_equal(files[1].received_at_us, a.received_at_us);
    assert_int_equal(files[1].direction, INBOUND);
    assert_str(files[1].file.ref, "ref 1");
    assert_str(files[1].file.name, "1.jpg");
    assert_int_equal(files[1].file.state, FILE_WANTED);
    assert_int_equal(due_us, b.received_at_us);
    struct store_file later = {.message_id = a.message_id,
                               .nth = 0,
                               .state = FILE_WANTED,
                               .attempts = 3,
                               .next_attempt_us = b.received_at_us + 5000};
    assert_int_equal(kit_apply(bench.store, STORE_FILE, &later), 0);
    assert_true(later.applied && !later.ready && !later.changed);
    assert_int_equal(later.lane, a.lane);
    files = wanted_files(10, 3, &due_us);
    assert_int_equal(due_us, 0);
    assert_int_equal(files[2].message_id, a.message_id);
    assert_int_equal(files[2].attempts, 3);
    assert_int_equal(files[2].next_attempt_us, b.received_at_us + 5000);
    assert_str(files[2].file.ref, "ref 0");
}

static void test_accounts_that_have_enough_are_passed_over(void **state)
{
    (void)state;
    with_files("1", 2);
    struct store_wanted ask = {
        .limit = 10, .not_of = {bench.account->id + 7, 0, bench.account->id + 8}, .arena = &bench.arena};
    assert_int_equal(bench.store->ops->wanted_files(bench.store, &ask), 0);
    assert_int_equal(ask.count, 2);
    ask.not_of[3] = bench.account->id;
    assert_int_equal(bench.store->ops->wanted_files(bench.store, &ask), 0);
    assert_int_equal(ask.count, 0);
    assert_int_equal(ask.due_us, 0);
}

// Bytes that are there, and perhaps no row tells of them.
static void test_who_asks_hears_which_files_no_message_has(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    settle_file(a.message_id, 0, 'a');
    const struct str asked[] = {hash_of('a'), hash_of('b'), hash_of('c')};
    struct store_files_gone gone = {.limit = 0, .arena = &bench.arena, .asked = asked, .asked_count = 3};
    assert_int_equal(kit_apply(bench.store, STORE_FILES_GONE, &gone), 0);
    assert_int_equal(gone.count, 2);
    assert_true(str_eq(gone.hashes[0], asked[1]) && str_eq(gone.hashes[1], asked[2]));
    assert_false(gone.more);
}

static void test_settled_file_is_told_by_its_message(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    struct store_file kept = settle_file(a.message_id, 1, 'a');
    assert_true(kept.applied && kept.changed && !kept.ready);
    assert_int_equal(kept.account_id, bench.account->id);
    assert_int_equal(kept.source_id, bench.source_id);
    assert_int_equal(kept.lane, a.lane);
    assert_int_equal(kept.follow_lane, 0);
    assert_int_equal(waits_until(a.message_id), a.wait_until_us);
    struct store_file failed = settle_file(a.message_id, 0, 0);
    assert_true(failed.applied && failed.changed && failed.ready);
    assert_int_equal(waits_until(a.message_id), 0);
    reopen(false);
    struct attachment *files = files_of(a.message_id, 2);
    assert_int_equal(files[0].state, FILE_FAILED);
    assert_str(files[0].why, "it is gone");
    assert_str(files[0].name, "0.jpg");
    assert_int_equal(files[1].state, FILE_KEPT);
    assert_true(str_eq(files[1].hash, hash_of('a')));
    assert_str(files[1].mime, "image/jpeg");
    assert_int_equal(files[1].size, 'a' * 100);
    wanted_files(10, 0, NULL);
    assert_false(settle_file(a.message_id, 1, 'b').applied); // once
    assert_false(settle_file(a.message_id, 7, 'b').applied);
    assert_false(settle_file(a.message_id + 9, 0, 'b').applied);
    struct lane_page page = load(a.lane, 1);
    assert_int_equal(page.entries[0].message->reason, REASON_NONE);
    assert_int_equal(attachments_count(page.entries[0].message->attachments, FILE_KEPT), 1);
    lane_page_done(&page);
}

static void test_wait_that_an_attempt_brought_about_is_not_cut_short(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 1);
    struct store_outcome outcome = kit_outcome(a.message_id, MESSAGE_PENDING);
    outcome.next_attempt_us = bench.now_us + 60000000;
    outcome.last_error = STR("503");
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct store_file file = settle_file(a.message_id, 0, 'a');
    assert_true(file.changed && !file.ready);
    assert_int_equal(waits_until(a.message_id), outcome.next_attempt_us);
}

static void test_files_beyond_the_most_are_not_fetched(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", FILES_MAX + 3);
    wanted_files(100, FILES_MAX, NULL);
    struct attachment *files = files_of(a.message_id, FILES_MAX + 3);
    assert_int_equal(files[FILES_MAX - 1].state, FILE_WANTED);
    assert_int_equal(files[FILES_MAX].state, FILE_ELSEWHERE);
    assert_int_equal(attachments_count(a.event.attachments, FILE_WANTED), FILES_MAX); // what is handed on
    for (int i = 0; i < FILES_MAX; i++)
        assert_int_equal(settle_file(a.message_id, i, 'a').ready, i == FILES_MAX - 1);
}

static void test_file_is_not_kept_because_its_sender_says_so(void **state)
{
    (void)state;
    struct attachment said = {.kind = STR("image"), .state = FILE_KEPT, .hash = hash_of('a'), .size = 7};
    struct str list = attachments_write(&said, 1, &bench.arena);
    struct store_accept alone = store_event(event_of("1", list));
    struct attachment *files = files_of(alone.message_id, 1);
    assert_int_equal(files[0].state, FILE_ELSEWHERE);
    assert_null(files[0].hash.p);
    assert_int_equal(attachments_count(alone.event.attachments, FILE_KEPT), 0);
    struct store_accept first = event_of("2", wanted(0, 1)), part = event_of("3", list);
    first.event.album = part.event.album = STR("x");
    part.out_arena = NULL;
    first = store_event(first);
    part = store_event(part);
    assert_int_equal(part.result, ACCEPT_JOINED);
    assert_true(part.event.attachments.p == list.p); // the caller's
    assert_int_equal(files_of(first.message_id, 2)[1].state, FILE_ELSEWHERE);
}

static void test_files_of_what_nobody_reads_are_not_fetched(void **state)
{
    (void)state;
    struct store_accept discarded = event_of("1", wanted(0, 1));
    discarded.state = MESSAGE_DISCARDED;
    discarded.reason = REASON_NO_MEANING;
    store_event(discarded);
    struct store_accept by_hand = with_files("2", 1), skipped = with_files("3", 2);
    wanted_files(10, 3, NULL);
    kit_settle(bench.store, by_hand.message_id, MESSAGE_DISCARDED);
    wanted_files(10, 2, NULL);
    kit_settle(bench.store, skipped.message_id, MESSAGE_SKIPPED);
    wanted_files(10, 2, NULL); // a person may try it again
    reopen(true);
    assert_true(settle_file(skipped.message_id, 0, 'a').applied);
    kit_settle(bench.store, skipped.message_id, MESSAGE_DISCARDED);
    wanted_files(10, 0, NULL);
    assert_false(settle_file(skipped.message_id, 1, 'a').applied);
}

static void test_file_that_came_too_late_follows(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 3);
    settle_file(a.message_id, 0, 'a');
    struct store_outcome outcome = deliver_told(a.message_id, 1);
    assert_int_equal(outcome.follow_lane, 0);
    reopen(false);
    struct store_accept between = store_event(event_of("2", STR_NONE));
    bench.now_us += 5000000;
    struct store_file kept = settle_file(a.message_id, 2, 'b');
    assert_true(kept.applied && !kept.ready && !kept.changed);
    assert_int_equal(kept.follow_lane, a.lane);
    struct lane_page page = load(a.lane, 2);
    const struct message *m = page.entries[1].message;
    assert_int_equal(page.entries[0].message->id, between.message_id);
    assert_int_equal(m->id, kept.follow_id);
    assert_int_equal(m->place, m->id);
    assert_int_equal(m->direction, INBOUND);
    assert_int_equal(m->reason, REASON_NONE);
    assert_int_equal(m->source_id, bench.source_id);
    assert_int_equal(m->sent_at_us, a.event.sent_at_us);
    assert_int_equal(m->received_at_us, bench.now_us);
    assert_int_equal(m->next_attempt_us, 0);
    assert_str(m->conversation, "chat");
    assert_str(m->sender_id, "u1");
    assert_str(m->sender_name, "Ann");
    assert_str(m->text, "");
    lane_page_done(&page);
    assert_str(files_of(kept.follow_id, 1)[0].name, "2.jpg");
    assert_int_equal(files_of(a.message_id, 3)[2].state, FILE_KEPT);
    assert_int_equal(kit_totals(bench.store).accepted, 3);
    struct store_file failed = settle_file(a.message_id, 1, 0);
    assert_int_equal(failed.follow_lane, a.lane);
    assert_int_equal(files_of(failed.follow_id, 1)[0].state, FILE_FAILED);
    // Nothing follows what follows, whatever was told of it.
    assert_int_equal(deliver_told(between.message_id, 0).follow_lane, 0);
    assert_int_equal(deliver_told(kept.follow_id, 0).follow_lane, 0);
    assert_int_equal(kit_totals(bench.store).accepted, 4);
}

static void test_what_is_settled_and_was_not_told_follows_at_once(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 4);
    settle_file(a.message_id, 0, 'a');
    settle_file(a.message_id, 1, 'b');
    settle_file(a.message_id, 3, 0);
    put_account(ORDER_ACCOUNT);
    struct store_outcome outcome = deliver_told(a.message_id, 1);
    assert_int_equal(outcome.follow_lane,
                     lane_id(LANE_ACCOUNT, bench.account->id)); // where one accepted now would stand
    struct attachment *files = files_of(outcome.follow_id, 2);
    assert_str(files[0].name, "1.jpg");
    assert_true(str_eq(files[0].hash, hash_of('b')));
    assert_str(files[1].name, "3.jpg");
    assert_int_equal(files[1].state, FILE_FAILED);
    assert_int_not_equal(settle_file(a.message_id, 2, 'c').follow_lane, 0);
    assert_int_equal(kit_totals(bench.store).pending, 2);
}

static void test_all_that_was_told_leaves_nothing_to_follow(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    settle_file(a.message_id, 0, 'a');
    // Told for good of the one that has not come: it is kept, and does not follow.
    assert_int_equal(deliver_told(a.message_id, 3).follow_lane, 0);
    struct store_file late = settle_file(a.message_id, 1, 'b');
    assert_true(late.applied);
    assert_int_equal(late.follow_lane, 0);
    assert_int_equal(kit_totals(bench.store).pending, 0);
}

static void test_nothing_follows_a_skipped_message_until_it_is_delivered(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 1);
    struct store_outcome outcome = kit_outcome(a.message_id, MESSAGE_SKIPPED);
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_int_equal(outcome.follow_lane, 0);
    assert_int_equal(settle_file(a.message_id, 0, 'a').follow_lane, 0);
    assert_int_equal(files_of(a.message_id, 1)[0].state, FILE_KEPT);
    reopen(true);
    struct store_retry retry = {.message_id = a.message_id};
    assert_int_equal(kit_apply(bench.store, STORE_RETRY, &retry), 0);
    assert_true(retry.applied);
    assert_int_equal(deliver_told(a.message_id, 0).follow_lane, a.lane);
}

static void test_nothing_follows_when_the_account_is_gone(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    settle_file(a.message_id, 0, 'a');
    deliver_told(a.message_id, 1);
    struct store_account_gone change = {.account_id = bench.account->id};
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_GONE, &change), 0);
    assert_true(change.applied);
    wanted_files(10, 0, NULL);
    assert_false(settle_file(a.message_id, 1, 'b').applied);
    assert_int_equal(kit_totals(bench.store).pending, 0);
}

static void test_replies_wait_for_their_files_and_nothing_follows_them(void **state)
{
    (void)state;
    struct store_accept question = store_event(event_of("1", STR_NONE));
    struct store_accept reply = event_of("part:1", wanted(0, 2));
    reply.direction = REPLY;
    reply.conversation_id = question.conversation_id;
    reply = store_event(reply);
    assert_int_equal(waits_until(reply.message_id), reply.wait_until_us);
    assert_int_equal(wanted_files(10, 2, NULL)[0].direction, REPLY);
    struct store_file file = settle_file(reply.message_id, 0, 'a');
    assert_int_equal(file.source_id, bench.source_id);
    assert_int_equal(file.lane, lane_id(LANE_REPLY, question.conversation_id));
    assert_int_equal(deliver_told(reply.message_id, 0).follow_lane, 0);
    assert_int_equal(settle_file(reply.message_id, 1, 'b').follow_lane, 0);
}

// --- What is kept ---

static void test_bytes_of_an_account_count_each_file_once(void **state)
{
    (void)state;
    assert_int_equal(file_bytes(), 0);
    struct store_accept a = with_files("1", 3), b = with_files("2", 1);
    settle_file(a.message_id, 0, '1');
    settle_file(a.message_id, 1, '2');
    settle_file(a.message_id, 2, 0);
    settle_file(b.message_id, 0, '1');
    assert_int_equal(file_bytes(), '1' * 100 + '2' * 100);
    deliver_told(a.message_id, 1); // '2' follows
    assert_int_equal(file_bytes(), '1' * 100 + '2' * 100);
    reopen(false);
    assert_int_equal(file_bytes(), '1' * 100 + '2' * 100);
}

static void test_hashes_that_no_message_has_are_forgotten(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 3), b = with_files("2", 1);
    for (int i = 0; i < 3; i++)
        settle_file(a.message_id, i, (char)('1' + i));
    settle_file(b.message_id, 0, '2');
    deliver_told(a.message_id, 7);
    assert_string_equal(gone(10), "");
    age_all();
    assert_int_equal(file_bytes(), '2' * 100);
    struct message *message = kit_message(bench.store, a.message_id);
    assert_null(message->attachments.p);
    message_free(message);
    reopen(false);
    struct store_accept again = with_files("3", 1);
    settle_file(again.message_id, 0, '3'); // it is kept again before its bytes were removed
    assert_string_equal(gone(1), "1");
    assert_string_equal(gone(1), "");
    deliver_told(b.message_id, 1);
    deliver_told(again.message_id, 1);
    age_all();
    assert_string_equal(gone(1), "23");
    assert_int_equal(file_bytes(), 0);
}

static void test_what_follows_keeps_the_bytes_longer(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 1);
    deliver_told(a.message_id, 0);
    int64_t follow_id = settle_file(a.message_id, 0, '1').follow_id;
    age_all();
    assert_string_equal(gone(10), "");
    assert_int_equal(files_of(follow_id, 1)[0].state, FILE_KEPT);
    deliver_told(follow_id, 1);
    age_all();
    assert_string_equal(gone(10), "1");
}

static void test_wanted_files_go_with_their_message(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 1);
    deliver_told(a.message_id, 0);
    age_all();
    wanted_files(10, 0, NULL);
    assert_false(settle_file(a.message_id, 0, 'a').applied);
}

static size_t references(const struct store_accept *of)
{
    struct str *refs = NULL;
    size_t count = 0;
    assert_int_equal(bench.store->ops->load_refs(bench.store, of->conversation_id, of->event.sent_at_us / 1000000,
                                                 &bench.arena, &refs, &count),
                     0);
    return count;
}

// What follows is said to be of its first message's second: it is told from others of that second by their references.
static void test_reference_stays_while_something_may_follow_in_its_second(void **state)
{
    (void)state;
    bool more;
    struct store_accept other = store_event(event_of("1", STR_NONE)), first = with_files("2", 1);
    deliver_told(other.message_id, 0);
    int64_t settled_us = deliver_told(first.message_id, 0).at_us; // its file is still wanted
    assert_int_equal(bench.store->ops->age_out(bench.store, settled_us, INT64_MAX, &more), 0);
    assert_int_equal(references(&other), 2);
    int64_t follow_id = settle_file(first.message_id, 0, 'a').follow_id;
    age_everything();
    assert_int_equal(references(&other), 2);
    kit_settle(bench.store, follow_id, MESSAGE_SKIPPED);
    reopen(false);
    age_everything();
    assert_int_equal(references(&other), 2);
    kit_settle(bench.store, follow_id, MESSAGE_DISCARDED);
    age_everything();
    assert_int_equal(references(&other), 0);
    assert_string_equal(gone(10), "a");
}

static void test_wanted_files_keep_no_row_of_their_own_message(void **state)
{
    (void)state;
    bool more;
    struct store_accept first = with_files("1", 1);
    struct store_outcome outcome = deliver_told(first.message_id, 0);
    assert_int_equal(bench.store->ops->age_out(bench.store, outcome.at_us + 1, INT64_MAX, &more), 0);
    assert_int_equal(references(&first), 0);
    wanted_files(10, 0, NULL);
}

static void test_links_are_signed_with_one_key(void **state)
{
    (void)state;
    static const uint8_t none[32];
    uint8_t key[32];
    memcpy(key, bench.store->ops->link_key(bench.store), sizeof key);
    assert_memory_not_equal(key, none, sizeof key);
    reopen(true);
    assert_memory_equal(bench.store->ops->link_key(bench.store), key, sizeof key);
}

// --- Albums ---

static struct store_accept a_part(const char *key, const char *album, int first, int count, const char *text)
{
    struct store_accept part = event_of(key, wanted(first, count));
    part.event.album = str_of(album);
    part.event.text = str_of(text);
    return part;
}

static void test_parts_of_an_album_become_one_message(void **state)
{
    (void)state;
    struct store_accept first = store_event(a_part("1", "x", 0, 1, ""));
    assert_int_equal(first.result, ACCEPT_STORED);
    struct store_accept other = store_event(a_part("2", "y", 5, 1, ""));
    assert_int_equal(other.result, ACCEPT_STORED);
    reopen(false);
    struct store_accept second = store_event(a_part("3", "x", 1, 2, "words"));
    assert_int_equal(second.result, ACCEPT_JOINED);
    assert_int_equal(second.joined_id, first.message_id);
    assert_int_equal(second.lane, first.lane);
    assert_int_equal(second.conversation_id, first.conversation_id);
    assert_int_equal(store_event(a_part("4", "x", 3, 1, "more")).joined_id, first.message_id);
    assert_int_equal(store_event(a_part("3", "x", 1, 2, "words")).result, ACCEPT_DUPLICATE);
    struct attachment *files = files_of(first.message_id, 4);
    for (int i = 0; i < 4; i++)
        assert_true(str_eq(files[i].name, arena_printf(&bench.arena, "%d.jpg", i)));
    struct message *message = kit_message(bench.store, first.message_id);
    assert_str(message->text, "words\nmore");
    message_free(message);
    message = kit_message(bench.store, second.message_id);
    assert_int_equal(message->state, MESSAGE_DISCARDED);
    assert_int_equal(message->reason, REASON_JOINED);
    message_free(message);
    struct wanted_file *wanted = wanted_files(10, 5, NULL);
    assert_int_equal(wanted[2].message_id, first.message_id);
    assert_int_equal(wanted[2].nth, 1);
    assert_str(wanted[2].file.ref, "ref 1");
    struct store_totals totals = kit_totals(bench.store);
    assert_int_equal(totals.pending, 2);
    assert_int_equal(totals.discarded, 2);
    struct lane_page page = load(first.lane, 2);
    lane_page_done(&page);
    for (int i = 0; i < 4; i++)
        assert_true(settle_file(first.message_id, i, (char)('1' + i)).applied);
    assert_int_equal(deliver_told(first.message_id, 15).follow_lane, 0);
}

static void test_album_waits_for_parts_as_long_as_they_come(void **state)
{
    (void)state;
    struct store_accept first = a_part("1", "x", 0, 0, "one");
    first.wait_until_us = first.received_at_us + ALBUM_PART_US;
    first = store_event(first);
    assert_int_equal(waits_until(first.message_id), first.received_at_us + ALBUM_PART_US);
    struct store_accept part = first;
    for (int i = 0; i < 12; i++) {
        bench.now_us += ALBUM_PART_US - 10000;
        part = a_part(arena_printf(&bench.arena, "p%d", i).p, "x", 0, 0, "");
        part.wait_until_us = part.received_at_us + ALBUM_PART_US;
        part = store_event(part);
        if (part.result != ACCEPT_JOINED)
            break;
    }
    assert_int_equal(waits_until(first.message_id), first.received_at_us + ALBUM_US);
    assert_int_equal(part.result, ACCEPT_STORED); // it has waited long enough: this one begins anew
    assert_true(part.received_at_us >= first.received_at_us + ALBUM_US);
    struct store_accept next = a_part("z", "x", 0, 0, "");
    assert_int_equal(store_event(next).joined_id, part.message_id);
}

static void test_album_whose_files_came_waits_no_longer_than_an_album_may(void **state)
{
    (void)state;
    struct store_accept first = a_part("1", "x", 0, 1, ""), last = {0};
    first.wait_until_us += 10 * (int64_t)WAIT; // for the files
    first = store_event(first);
    bench.now_us = first.received_at_us + ALBUM_US - 100000;
    last = store_event(a_part("2", "x", 1, 0, ""));
    assert_int_equal(last.result, ACCEPT_JOINED);
    assert_true(settle_file(first.message_id, 0, 'a').ready);
    assert_int_equal(waits_until(first.message_id), first.received_at_us + ALBUM_US);
}

static void test_album_whose_files_came_quickly_waits_for_parts(void **state)
{
    (void)state;
    struct store_accept first = store_event(a_part("1", "x", 0, 1, ""));
    bench.now_us += 300000;
    struct store_file file = settle_file(first.message_id, 0, 'a');
    assert_true(file.ready);
    assert_int_equal(waits_until(first.message_id), first.received_at_us + ALBUM_PART_US);
    struct store_accept second = store_event(a_part("2", "x", 1, 1, ""));
    assert_int_equal(second.result, ACCEPT_JOINED);
    assert_int_equal(waits_until(first.message_id), first.received_at_us + ALBUM_US);
    bench.now_us += 2 * ALBUM_PART_US;
    assert_true(settle_file(first.message_id, 1, 'b').ready);
    assert_int_equal(waits_until(first.message_id), 0);
}

static void test_parts_join_only_what_still_waits(void **state)
{
    (void)state;
    struct store_accept sent = store_event(a_part("1", "sent", 0, 1, "")), skipped = sent, tried = sent, marked = sent;
    deliver_told(sent.message_id, 0);
    assert_int_equal(store_event(a_part("2", "sent", 0, 1, "")).result, ACCEPT_STORED);
    skipped = store_event(a_part("3", "skipped", 0, 1, ""));
    kit_settle(bench.store, skipped.message_id, MESSAGE_SKIPPED);
    assert_int_equal(store_event(a_part("4", "skipped", 0, 1, "")).result, ACCEPT_STORED);
    tried = store_event(a_part("5", "tried", 0, 1, ""));
    struct store_outcome outcome = kit_outcome(tried.message_id, MESSAGE_PENDING);
    outcome.next_attempt_us = bench.now_us + 60000000;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_int_equal(store_event(a_part("6", "tried", 0, 1, "")).result, ACCEPT_STORED);
    marked = store_event(a_part("7", "marked", 0, 1, ""));
    struct store_mark mark = {.message_id = marked.message_id, .in_flight = true};
    assert_int_equal(kit_apply(bench.store, STORE_MARK, &mark), 0);
    assert_int_equal(store_event(a_part("8", "marked", 0, 1, "")).result, ACCEPT_STORED);
    struct store_accept elsewhere = a_part("9", "marked", 0, 1, "");
    elsewhere.event.conversation = STR("another");
    assert_int_equal(store_event(elsewhere).result, ACCEPT_STORED);
    bench.now_us += 2 * WAIT;
    assert_int_equal(store_event(a_part("10", "marked", 0, 1, "")).result, ACCEPT_STORED); // it waited long enough
}

static void test_album_that_is_full_begins_anew(void **state)
{
    (void)state;
    struct store_accept first = store_event(a_part("1", "x", 0, FILES_MAX - 1, ""));
    struct store_accept much = store_event(a_part("2", "x", 0, 2, ""));
    assert_int_equal(much.result, ACCEPT_STORED);
    assert_int_equal(store_event(a_part("3", "x", 0, 1, "")).joined_id, much.message_id);
    files_of(first.message_id, FILES_MAX - 1);
}

// The attempt went without the part that joined meanwhile: nothing of it is lost, and nothing is said twice.
static void test_what_joined_behind_an_attempt_follows(void **state)
{
    (void)state;
    struct store_accept first = store_event(a_part("1", "x", 0, 1, "one"));
    settle_file(first.message_id, 0, 'a');
    assert_int_equal(store_event(a_part("2", "x", 1, 1, "two")).result, ACCEPT_JOINED);
    struct store_outcome outcome = kit_outcome(first.message_id, MESSAGE_DELIVERED);
    outcome.files_told = 1;
    outcome.text_told.known = true;
    outcome.text_told.bytes = 3;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct message *message = kit_message(bench.store, outcome.follow_id);
    assert_str(message->text, "two");
    assert_null(message->attachments.p);
    message_free(message);
    struct store_file late = settle_file(first.message_id, 1, 'b');
    message = kit_message(bench.store, late.follow_id);
    assert_str(message->text, "");
    message_free(message);
    struct store_accept whole = store_event(a_part("3", "y", 0, 1, "one"));
    store_event(a_part("4", "y", 1, 1, "two"));
    outcome = kit_outcome(whole.message_id, MESSAGE_DELIVERED);
    outcome.text_told.known = true;
    outcome.text_told.bytes = 7;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    assert_int_equal(outcome.follow_lane, 0);
}

// --- Quotas ---

static void test_account_with_too_much_that_waits_is_refused(void **state)
{
    (void)state;
    struct store_accept last = {0};
    for (int i = 0; i < 6; i++) {
        struct store_accept accept = event_of(arena_printf(&bench.arena, "%d", i).p, STR_NONE);
        accept.most_waiting = 4;
        last = store_event(accept);
        assert_int_equal(last.result, i < 4 ? ACCEPT_STORED : ACCEPT_OVER_QUOTA);
        assert_false(last.over_files);
    }
    assert_int_equal(kit_totals(bench.store).accepted, 4);
    struct store_accept again = event_of("2", STR_NONE), other = event_of("o", STR_NONE);
    again.most_waiting = other.most_waiting = 4;
    assert_int_equal(store_event(again).result, ACCEPT_DUPLICATE); // it is here
    other.account_id = bench.account->id + 1;
    other.event.conversation = STR("another");
    assert_int_equal(store_event(other).result, ACCEPT_STORED);
    struct store_accept noise = event_of("n", STR_NONE);
    noise.state = MESSAGE_DISCARDED;
    noise.reason = REASON_NO_MEANING;
    noise.most_waiting = 4;
    assert_int_equal(store_event(noise).result, ACCEPT_STORED); // it does not wait
    struct store_accept reply = event_of("part", STR_NONE);
    reply.direction = REPLY;
    reply.conversation_id = last.conversation_id ? last.conversation_id : 1;
    reply.most_waiting = 1;
    assert_int_equal(store_event(reply).result, ACCEPT_STORED);
    assert_true(kit_settle(bench.store, 2, MESSAGE_DELIVERED));
    assert_true(kit_settle(bench.store, 3, MESSAGE_SKIPPED));
    struct store_accept next = event_of("next", STR_NONE), one_more = event_of("one more", STR_NONE);
    next.most_waiting = one_more.most_waiting = 4; // two events and the reply
    assert_int_equal(store_event(next).result, ACCEPT_STORED);
    assert_int_equal(store_event(one_more).result, ACCEPT_OVER_QUOTA);
    struct store_retry retry = {.message_id = 3};
    assert_true(kit_settle(bench.store, 1, MESSAGE_DELIVERED));
    assert_int_equal(kit_apply(bench.store, STORE_RETRY, &retry), 0);
    assert_int_equal(store_event(one_more).result, ACCEPT_OVER_QUOTA);
    reopen(false);
    assert_int_equal(store_event(one_more).result, ACCEPT_OVER_QUOTA);
    assert_true(kit_settle(bench.store, 4, MESSAGE_DISCARDED));
    assert_int_equal(store_event(one_more).result, ACCEPT_STORED);
}

static void test_refused_one_leaves_the_rest_of_its_batch(void **state)
{
    (void)state;
    struct store_accept a = event_of("1", STR_NONE), b = event_of("2", STR_NONE), c = event_of("3", STR_NONE);
    a.most_waiting = b.most_waiting = 1;
    b.event.conversation = STR("never seen");
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &a},
                                     {.kind = STORE_ACCEPT, .accept = &b},
                                     {.kind = STORE_ACCEPT, .accept = &c}};
    assert_int_equal(bench.store->ops->apply(bench.store, changes, 3), 0);
    assert_int_equal(a.result, ACCEPT_STORED);
    assert_int_equal(b.result, ACCEPT_OVER_QUOTA);
    assert_int_equal(c.result, ACCEPT_STORED);
    assert_int_equal(c.message_id, a.message_id + 1);
    struct store_reader *reader = bench.store->ops->reader_new(bench.store);
    int64_t id;
    assert_int_equal(reader->ops->conversation(reader, bench.source_id, STR("never seen"), &id), ERR_NOT_FOUND);
    reader->ops->free(reader);
}

static void test_account_with_too_many_bytes_takes_no_files(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 1);
    settle_file(a.message_id, 0, '1');
    int64_t bytes = '1' * 100;
    struct store_accept fits = event_of("2", wanted(0, 2)), over = event_of("3", wanted(0, 1));
    fits.most_file_bytes = bytes + 1;
    over.most_file_bytes = bytes;
    assert_int_equal(store_event(fits).result, ACCEPT_STORED);
    for (int i = 0; i < 2; i++)
        assert_int_equal(wanted_files(2, 2, NULL)[i].account_bytes, bytes);
    over = store_event(over);
    assert_int_equal(over.result, ACCEPT_OVER_QUOTA);
    assert_true(over.over_files);
    struct store_accept words = event_of("4", STR_NONE);
    words.most_file_bytes = bytes;
    assert_int_equal(store_event(words).result, ACCEPT_STORED);
    assert_int_equal(kit_totals(bench.store).accepted, 3);
}

// --- Acts ---

static struct store_accept an_act(const char *key, int64_t conversation_id, enum reply_act act, const char *target)
{
    struct store_accept reply = event_of(key, STR_NONE);
    reply.direction = REPLY;
    reply.conversation_id = conversation_id;
    reply.event.act = act;
    reply.event.text = act == REPLY_EDITS ? STR("edited") : STR("said");
    reply.event.target_key = str_of(target);
    return reply;
}

static void test_act_knows_the_reply_that_it_changes(void **state)
{
    (void)state;
    int64_t id = store_event(event_of("q", STR_NONE)).conversation_id;
    struct store_accept said = store_event(an_act("part:1", id, REPLY_SAYS, NULL));
    struct store_accept same = an_act("part:1~0", id, REPLY_EDITS, "part:1");
    same.event.text = STR("said");
    assert_int_equal(store_event(same).result, ACCEPT_NOTHING);
    assert_int_equal(store_event(an_act("part:9~2", id, REPLY_EDITS, "part:9")).result, ACCEPT_NOTHING);
    struct store_accept edit = store_event(an_act("part:1~3", id, REPLY_EDITS, "part:1"));
    assert_int_equal(edit.result, ACCEPT_STORED);
    assert_int_equal(edit.lane, said.lane);
    struct lane_page page = load(said.lane, 2);
    assert_int_equal(page.entries[0].message->act, REPLY_SAYS);
    assert_int_equal(page.entries[1].message->act, REPLY_EDITS);
    assert_null(page.entries[1].message->target_ref.p); // not yet
    lane_page_done(&page);
    deliver_told(said.message_id, 0);
    reopen(true);
    page = load(said.lane, 1);
    assert_int_equal(page.entries[0].message->reason, REASON_NONE);
    assert_int_equal(page.entries[0].message->act, REPLY_EDITS);
    assert_str(page.entries[0].message->target_ref, "ref");
    lane_page_done(&page);
    struct message *message = kit_message(bench.store, edit.message_id);
    assert_int_equal(message->act, REPLY_EDITS);
    assert_str(message->target_ref, "ref");
    message_free(message);
    struct store_accept deleted = store_event(an_act("part:1~gone", id, REPLY_DELETES, "part:1"));
    assert_int_equal(deleted.result, ACCEPT_STORED);
    assert_int_equal(store_event(an_act("part:1~gone", id, REPLY_DELETES, "part:1")).result, ACCEPT_DUPLICATE);
}

// Words that have grown: what was never there is said, when what stands before it arrives.
static void test_a_change_of_what_never_was_is_said_behind_what_was(void **state)
{
    (void)state;
    int64_t id = store_event(event_of("q", STR_NONE)).conversation_id;
    struct store_accept first = store_event(an_act("part:1", id, REPLY_SAYS, NULL));
    struct store_accept second = an_act("part:1#2~1", id, REPLY_EDITS, "part:1#2");
    second.event.behind_key = STR("part:9");
    assert_int_equal(store_event(second).result, ACCEPT_NOTHING);
    second.event.behind_key = STR("part:1");
    struct store_accept said = store_event(second);
    assert_int_equal(said.result, ACCEPT_STORED);
    struct lane_page page = load(first.lane, 2);
    assert_int_equal(page.entries[1].message->id, said.message_id);
    assert_int_equal(page.entries[1].message->act, REPLY_SAYS);
    assert_str(page.entries[1].message->text, "edited");
    lane_page_done(&page);
    assert_int_equal(store_event(second).result, ACCEPT_NOTHING); // read again
    second.event.dedupe_key = STR("part:1#2~2");
    second.event.text = STR("and again");
    second = store_event(second);
    assert_int_equal(second.result, ACCEPT_STORED);
    struct message *message = kit_message(bench.store, second.message_id);
    assert_int_equal(message->act, REPLY_EDITS);
    message_free(message);
    // What is there no more is not what it was.
    assert_int_equal(store_event(an_act("part:1#2~3", id, REPLY_DELETES, "part:1#2")).result, ACCEPT_STORED);
    struct store_accept anew = an_act("part:1#2~4", id, REPLY_EDITS, "part:1#2");
    anew.event.text = STR("and again");
    assert_int_equal(store_event(anew).result, ACCEPT_STORED);
}

static enum accept_result change_to(const char *key, int64_t conversation_id, const char *text, const char *format,
                                    int64_t *out_id)
{
    struct store_accept edit = an_act(key, conversation_id, REPLY_EDITS, "part:1");
    edit.event.text = str_of(text);
    edit.event.format = str_of(format);
    edit = store_event(edit);
    *out_id = edit.message_id;
    return edit.result;
}

static void test_a_change_to_what_the_reply_says_is_nothing(void **state)
{
    (void)state;
    int64_t id = store_event(event_of("q", STR_NONE)).conversation_id, first, second;
    store_event(an_act("part:1", id, REPLY_SAYS, NULL));
    store_event(an_act("part:10", id, REPLY_SAYS, NULL)); // its changes are not those of part:1
    store_event(an_act("part:10~1", id, REPLY_EDITS, "part:10"));
    assert_int_equal(change_to("part:1~1", id, "said", NULL, &first), ACCEPT_NOTHING);
    assert_int_equal(change_to("part:1~1", id, "said", "[]", &first), ACCEPT_STORED); // in another style
    assert_int_equal(change_to("part:1~2", id, "b", NULL, &first), ACCEPT_STORED);
    assert_int_equal(change_to("part:1~3", id, "b", NULL, &second), ACCEPT_NOTHING);
    assert_int_equal(change_to("part:1~4", id, "said", NULL, &second), ACCEPT_STORED); // back again
    assert_int_equal(change_to("part:1~5", id, "b", NULL, &first), ACCEPT_STORED);
    // What never came through is not what it says.
    kit_settle(bench.store, first, MESSAGE_SKIPPED);
    assert_int_equal(change_to("part:1~6", id, "said", NULL, &first), ACCEPT_NOTHING);
    assert_int_equal(change_to("part:1~7", id, "b", NULL, &first), ACCEPT_STORED);
}

static void test_act_on_what_never_arrived_is_nothing(void **state)
{
    (void)state;
    int64_t id = store_event(event_of("q", STR_NONE)).conversation_id;
    int64_t skipped = store_event(an_act("part:1", id, REPLY_SAYS, NULL)).message_id;
    int64_t discarded = store_event(an_act("part:2", id, REPLY_SAYS, NULL)).message_id;
    kit_settle(bench.store, skipped, MESSAGE_SKIPPED);
    kit_settle(bench.store, discarded, MESSAGE_DISCARDED);
    for (enum reply_act act = REPLY_EDITS; act <= REPLY_DELETES; act++) {
        assert_int_equal(store_event(an_act("part:1~a", id, act, "part:1")).result, ACCEPT_NOTHING);
        assert_int_equal(store_event(an_act("a", id, act, "part:2")).result, ACCEPT_NOTHING);
        assert_int_equal(store_event(an_act("a", id, act, "q")).result, ACCEPT_NOTHING); // no reply at all
    }
    assert_int_equal(kit_totals(bench.store).accepted, 3);
}

// --- Profiles ---

static struct store_accept said_of(const char *key, struct profile profile)
{
    struct store_accept accept = event_of(key, STR_NONE);
    accept.event.profile = profile;
    return store_event(accept);
}

static void test_profile_is_kept_and_given_out(void **state)
{
    (void)state;
    struct store_accept a = said_of("1", (struct profile){.name = STR("Ann"), .language = STR("de")});
    assert_str(a.profile, "{\"name\":\"Ann\",\"language\":\"de\"}");
    a = said_of("2", (struct profile){.name = STR("Anna"), .phone = STR("+49")});
    assert_str(a.profile, "{\"name\":\"Anna\",\"language\":\"de\",\"phone\":\"+49\"}");
    reopen(false);
    a = said_of("3", (struct profile){0});
    assert_str(a.profile, "{\"name\":\"Anna\",\"language\":\"de\",\"phone\":\"+49\"}");
    a = said_of("4", (struct profile){.name = STR("Anna")});
    assert_str(a.profile, "{\"name\":\"Anna\",\"language\":\"de\",\"phone\":\"+49\"}");
    struct link link = {.contact = STR("c"), .conversation = STR("d"), .note = STR("n")};
    struct store_outcome outcome = kit_outcome(a.message_id, MESSAGE_DELIVERED);
    outcome.conversation_id = a.conversation_id;
    outcome.link = &link;
    assert_int_equal(kit_apply(bench.store, STORE_OUTCOME, &outcome), 0);
    struct lane_page page = load(a.lane, 3);
    assert_str(page.entries[0].profile, "{\"name\":\"Anna\",\"language\":\"de\",\"phone\":\"+49\"}");
    assert_str(page.entries[2].link.note, "n");
    lane_page_done(&page);
    struct store_accept reply = store_event(an_act("part", a.conversation_id, REPLY_SAYS, NULL));
    assert_str(reply.profile, "{\"name\":\"Anna\",\"language\":\"de\",\"phone\":\"+49\"}");
}

// --- On the disk alone ---

static void test_damaged_row_of_a_file_is_not_fetched(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 1);
    with_files("2", 1);
    reopen_after(kit_damage,
                 "UPDATE files SET attachment = replace(attachment, 'ref 0', 'ref 9') WHERE message_id = 1");
    bench.damaged = true;
    assert_int_not_equal(wanted_files(10, 1, NULL)[0].message_id, a.message_id);
    assert_false(settle_file(a.message_id, 0, 'a').applied);
}

// Else it would be written anew, and be taken for whole.
static void test_damaged_row_of_a_file_follows_nothing(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    settle_file(a.message_id, 0, 'a');
    reopen_after(kit_damage, "UPDATE files SET nth = 32 WHERE nth = 1"); // a shift by so much is by nothing
    bench.damaged = true;
    assert_int_not_equal(deliver_told(a.message_id, 0).follow_lane, 0);
    wanted_files(10, 0, NULL);
}

static void test_damaged_message_tells_nothing_of_its_files(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    settle_file(a.message_id, 0, 'a');
    deliver_told(a.message_id, 0);
    reopen_after(kit_damage, "UPDATE messages SET conversation_id = 7 WHERE id = 1");
    bench.damaged = true;
    struct store_file file = settle_file(a.message_id, 1, 'b');
    assert_true(file.applied);
    assert_int_equal(file.follow_lane, 0);
}

static void test_damaged_count_of_bytes_is_counted_anew(void **state)
{
    (void)state;
    struct store_accept a = with_files("1", 2);
    settle_file(a.message_id, 0, '1');
    reopen_after(kit_damage, "UPDATE account_files SET bytes = 1");
    assert_false(kit_verify(bench.store, false));
    struct store_accept over = event_of("2", wanted(0, 1));
    over.most_file_bytes = '1' * 100;
    assert_int_equal(store_event(over).result, ACCEPT_OVER_QUOTA);
    settle_file(a.message_id, 1, '2');
    assert_int_equal(file_bytes(), '1' * 100 + '2' * 100);
}

static void test_damaged_act_is_never_done(void **state)
{
    (void)state;
    int64_t id = store_event(event_of("q", STR_NONE)).conversation_id;
    store_event(an_act("part:1", id, REPLY_SAYS, NULL));
    store_event(an_act("part:2", id, REPLY_SAYS, NULL));
    struct store_accept act = store_event(an_act("part:1~1", id, REPLY_EDITS, "part:1"));
    reopen_after(kit_damage, "UPDATE messages SET target_id = target_id + 1 WHERE act = 1");
    bench.damaged = true;
    struct lane_page page = load(act.lane, 3);
    assert_int_equal(page.entries[1].message->reason, REASON_NONE);
    assert_int_equal(page.entries[2].message->reason, REASON_DAMAGED);
    lane_page_done(&page);
}

static void test_damaged_profile_is_told(void **state)
{
    (void)state;
    struct store_accept a = said_of("1", (struct profile){.name = STR("Ann")});
    reopen_after(kit_damage, "UPDATE conversations SET profile = replace(profile, 'Ann', 'Bob')");
    bench.damaged = true;
    struct lane_page page = load(a.lane, 1);
    assert_int_equal(page.entries[0].message->reason, REASON_DAMAGED);
    lane_page_done(&page);
}

static void test_store_from_before_files_is_taken_over(void **state)
{
    (void)state;
    struct store_accept a = store_event(event_of("1", STR_NONE));
    reopen_after(kit_change, KIT_BEFORE_FILES "PRAGMA user_version = 10");
    struct lane_page page = load(a.lane, 1);
    assert_int_equal(page.entries[0].message->reason, REASON_NONE);
    assert_int_equal(page.entries[0].message->act, REPLY_SAYS);
    assert_null(page.entries[0].profile.p);
    lane_page_done(&page);
    assert_true(kit_verify(bench.store, true));
    a = with_files("2", 1);
    assert_true(settle_file(a.message_id, 0, 'a').ready);
}

// What does not stand in its lane as it was said is found by its second from then on, whenever it was stored.
static void test_store_from_before_rows_stayed_is_taken_over(void **state)
{
    (void)state;
    struct store_accept other = store_event(event_of("1", STR_NONE)), first = store_event(event_of("2", STR_NONE));
    deliver_told(other.message_id, 0);
    kit_settle(bench.store, first.message_id, MESSAGE_SKIPPED);
    reopen_after(kit_change, KIT_BEFORE_TURNS "PRAGMA user_version = 12");
    age_everything();
    assert_int_equal(references(&other), 1);
}

// A batch that fails takes back what it counted of what waits.
static void test_failed_batch_counts_nothing(void **state)
{
    (void)state;
    int64_t source_id;
    struct account *taken = account_new(); // its name is
    struct store_account_put other = {.account = taken, .source_ids = &source_id};
    taken->name = STR("other");
    assert_int_equal(kit_apply(bench.store, STORE_ACCOUNT_PUT, &other), 0);
    taken->id = other.id;
    taken->name = STR("acme");
    for (int i = 0; i < 4; i++) { // two of them another account's
        struct store_accept accept = event_of(arena_printf(&bench.arena, "w%d", i).p, STR_NONE);
        accept.account_id = i < 2 ? accept.account_id : other.id;
        accept.event.conversation = i < 2 ? STR("chat") : STR("another");
        store_event(accept);
    }
    struct store_accept refused = event_of("2", STR_NONE), a = refused, b = event_of("3", STR_NONE);
    refused.most_waiting = a.most_waiting = 2;
    struct store_change changes[] = {{.kind = STORE_ACCEPT, .accept = &a},
                                     {.kind = STORE_ACCOUNT_PUT, .account_put = &other}};
    for (int i = 0; i < 3; i++) { // the first one begins to count
        a.most_waiting = i ? 3 : 1;
        assert_int_equal(bench.store->ops->apply(bench.store, changes, 2), ERR_INVALID);
        assert_int_equal(store_event(refused).result, ACCEPT_OVER_QUOTA);
    }
    a.most_waiting = b.most_waiting = 3;
    assert_int_equal(store_event(a).result, ACCEPT_STORED);
    assert_int_equal(store_event(b).result, ACCEPT_OVER_QUOTA);
    account_unref(taken);
}

#define RULE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static int run(const char *name, bool on_disk, size_t block)
{
    bench.on_disk = on_disk;
    bench.block = block;
    const struct CMUnitTest tests[] = {
        RULE(test_message_waits_for_its_files_and_no_other_does),
        RULE(test_wanted_files_are_given_in_their_turn),
        RULE(test_accounts_that_have_enough_are_passed_over),
        RULE(test_who_asks_hears_which_files_no_message_has),
        RULE(test_settled_file_is_told_by_its_message),
        RULE(test_wait_that_an_attempt_brought_about_is_not_cut_short),
        RULE(test_files_beyond_the_most_are_not_fetched),
        RULE(test_file_is_not_kept_because_its_sender_says_so),
        RULE(test_files_of_what_nobody_reads_are_not_fetched),
        RULE(test_file_that_came_too_late_follows),
        RULE(test_what_is_settled_and_was_not_told_follows_at_once),
        RULE(test_all_that_was_told_leaves_nothing_to_follow),
        RULE(test_nothing_follows_a_skipped_message_until_it_is_delivered),
        RULE(test_nothing_follows_when_the_account_is_gone),
        RULE(test_replies_wait_for_their_files_and_nothing_follows_them),
        RULE(test_bytes_of_an_account_count_each_file_once),
        RULE(test_hashes_that_no_message_has_are_forgotten),
        RULE(test_what_follows_keeps_the_bytes_longer),
        RULE(test_wanted_files_go_with_their_message),
        RULE(test_reference_stays_while_something_may_follow_in_its_second),
        RULE(test_wanted_files_keep_no_row_of_their_own_message),
        RULE(test_links_are_signed_with_one_key),
        RULE(test_parts_of_an_album_become_one_message),
        RULE(test_album_waits_for_parts_as_long_as_they_come),
        RULE(test_album_whose_files_came_quickly_waits_for_parts),
        RULE(test_album_whose_files_came_waits_no_longer_than_an_album_may),
        RULE(test_parts_join_only_what_still_waits),
        RULE(test_album_that_is_full_begins_anew),
        RULE(test_what_joined_behind_an_attempt_follows),
        RULE(test_account_with_too_much_that_waits_is_refused),
        RULE(test_refused_one_leaves_the_rest_of_its_batch),
        RULE(test_account_with_too_many_bytes_takes_no_files),
        RULE(test_act_knows_the_reply_that_it_changes),
        RULE(test_act_on_what_never_arrived_is_nothing),
        RULE(test_a_change_to_what_the_reply_says_is_nothing),
        RULE(test_a_change_of_what_never_was_is_said_behind_what_was),
        RULE(test_profile_is_kept_and_given_out),
    };
    return _cmocka_run_group_tests(name, tests, sizeof tests / sizeof *tests, NULL, NULL);
}

static int run_on_disk(void)
{
    bench.on_disk = true;
    bench.block = 0;
    const struct CMUnitTest tests[] = {
        RULE(test_damaged_row_of_a_file_is_not_fetched),
        RULE(test_damaged_row_of_a_file_follows_nothing),
        RULE(test_damaged_message_tells_nothing_of_its_files),
        RULE(test_damaged_count_of_bytes_is_counted_anew),
        RULE(test_damaged_act_is_never_done),
        RULE(test_damaged_profile_is_told),
        RULE(test_store_from_before_files_is_taken_over),
        RULE(test_store_from_before_rows_stayed_is_taken_over),
        RULE(test_failed_batch_counts_nothing),
    };
    return cmocka_run_group_tests_name("on disk", tests, NULL, NULL);
}

int main(void)
{
    int failed = run("sqlite", true, 0);
    failed += run("small", true, 1);
    failed += run_on_disk();
    failed += run("memory", false, 0);
    return failed ? 1 : 0;
}
