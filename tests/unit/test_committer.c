// The committer alone, over the store in memory: in which order the others hear of what one transaction did, what becomes of
// jobs while the store is full, held or broken, and its own thread's round (committer_run), which never has to wait here:
// whatever comes next is at hand before it looks.
#include "relay/committer.h"

#include "base/log.h"
#include "store/store.h"
#include "support/unit.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { LOG_MOST = 64, KEEP_BODIES_S = 1000, KEEP_DEDUPE_S = 3000 };

// What the committer asks of the store, one letter each: a(pply), f(lush), c(heckpoint), l(oad_lane), h(ousekeeping).
static struct bench {
    struct clock_manual clock;
    struct store_ops ops; // those of the store in memory, with ours in front
    const struct store_ops *memory_ops;
    struct store *store;
    struct board *board;
    struct tally *tally;
    struct committer *committer;
    struct arena arena;
    int64_t account_id;
    char asked[LOG_MOST + 1], heard[LOG_MOST + 1];
    const char *
        errors; // what the calls meet, one letter each in turn, then nothing: '.' well, 'b'usy, 'f'ull, 'i'o, 'n'o memory
    void (*before)(void); // each call
    int64_t bodies_before_us, dedupe_before_us;
    bool more_to_age;
    bool hands_on;
    const enum accept_result *become; // of the accepted ones of the next transactions, in turn; NULL: what they are
    struct announcement *announced;   // the latest list
    const char *fatal;
    int fatals;
} bench;

static void note(char *log, char what)
{
    size_t n = strlen(log);
    assert_true(n < LOG_MOST);
    log[n] = what;
    log[n + 1] = 0;
}

static int meet(char call)
{
    note(bench.asked, call);
    if (bench.before)
        bench.before();
    switch (*bench.errors ? *bench.errors++ : '.') {
    case 'b':
        return ERR_BUSY;
    case 'f':
        return ERR_FULL;
    case 'i':
        return ERR_IO;
    case 'n':
        return ERR_NOMEM;
    default:
        return ERR_OK;
    }
}

static int met_apply(struct store *store, struct store_change *changes, size_t count)
{
    int err = meet('a');
    if (!err)
        err = bench.memory_ops->apply(store, changes, count);
    for (size_t i = 0; i < count && bench.become; i++)
        if (changes[i].kind == STORE_ACCEPT)
            changes[i].accept->result = *bench.become++;
    return err;
}

static int met_flush(struct store *store)
{
    int err = meet('f');
    return err ? err : bench.memory_ops->flush(store);
}

static int met_load_lane(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    int err = meet('l');
    return err ? err : bench.memory_ops->load_lane(store, lane, after_place, limit, out);
}

static int met_checkpoint(struct store *store, bool busy)
{
    int err = meet('c');
    return err ? err : bench.memory_ops->checkpoint(store, busy);
}

static int met_age_out(struct store *store, int64_t bodies_before_us, int64_t dedupe_before_us, bool *out_more)
{
    int err = meet('h');
    (void)store;
    bench.bodies_before_us = bodies_before_us;
    bench.dedupe_before_us = dedupe_before_us;
    *out_more = bench.more_to_age;
    return err;
}

static void forget_announced(void)
{
    while (bench.announced) {
        struct announcement *announcement = bench.announced;
        bench.announced = announcement->next;
        announcement_free(announcement);
    }
}

static void on_announce(void *arg, struct announcement *list)
{
    (void)arg;
    forget_announced();
    bench.announced = list;
    note(bench.heard, 'n');
}

static bool may_hand_on(void *arg)
{
    (void)arg;
    return bench.hands_on;
}

static void on_fatal(void *arg, const char *sentence)
{
    (void)arg;
    bench.fatal = sentence;
    bench.fatals++;
}

static struct account *an_account(enum order_rule order)
{
    struct account *account = account_new();
    account->name = STR("acme");
    account->active = true;
    account->order = order;
    account->desk = (struct desk){.platform = STR("webhook"), .url = STR("http://desk.example/")};
    return account;
}

static int put_up_committer(bool apart)
{
    bench = (struct bench){.errors = ""};
    clock_manual_init(&bench.clock, INT64_C(1000000) * 1000000);
    bench.store = store_memory_new();
    bench.memory_ops = bench.store->ops;
    bench.ops = *bench.store->ops;
    bench.ops.apply = met_apply;
    bench.ops.flush = met_flush;
    bench.ops.load_lane = met_load_lane;
    bench.ops.checkpoint = met_checkpoint;
    bench.ops.age_out = met_age_out;
    struct account *account = an_account(ORDER_CONVERSATION);
    struct store_account_put put = {.account = account};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(bench.store->ops->apply(bench.store, &change, 1), 0);
    bench.account_id = put.id;
    account_unref(account);
    bench.store->ops = &bench.ops;
    bench.board = board_new();
    bench.tally = tally_new();
    bench.committer = committer_new(&(struct committer_options){
        .store = bench.store,
        .clock = &bench.clock.clock,
        .board = bench.board,
        .tally = bench.tally,
        .max_queue = 10,
        .keep_bodies_us = INT64_C(1000000) * KEEP_BODIES_S,
        .keep_dedupe_us = INT64_C(1000000) * KEEP_DEDUPE_S,
        .announce = on_announce,
        .may_hand_on = may_hand_on,
        .fatal = on_fatal,
        .flushes_apart = apart,
    });
    return 0;
}

static int put_up(void **state)
{
    (void)state;
    return put_up_committer(false);
}

static int put_up_apart(void **state)
{
    (void)state;
    return put_up_committer(true);
}

static int take_down(void **state)
{
    (void)state;
    forget_announced();
    committer_free(bench.committer);
    bench.store->ops->close(bench.store, true);
    tally_free(bench.tally);
    board_free(bench.board);
    arena_done(&bench.arena);
    return 0;
}

// ---- jobs, named by a letter: lower case when it went well, else upper case ----

struct named_job {
    struct job job; // first
    char name;
    int number; // in the order of their making
};

static void on_done(struct job *job)
{
    char name = ((struct named_job *)job)->name;
    note(bench.heard, (char)(job->err ? name - 'a' + 'A' : name));
    if (job->kind == JOB_LOAD)
        lane_page_done(&job->load.page);
}

static struct named_job *a_job(char name, enum job_kind kind)
{
    struct named_job *named = arena_of(&bench.arena, struct named_job);
    static int made;
    made++;
    *named = (struct named_job){.job = {.kind = kind, .done = on_done}, .name = name, .number = made};
    return named;
}

static void submit(struct named_job *named)
{
    assert_true(committer_submit(bench.committer, &named->job));
}

// So many changes of nothing.
static struct named_job *changes(char name, size_t count)
{
    struct named_job *named = a_job(name, JOB_CHANGES);
    named->job.changes = arena_alloc(&bench.arena, count * sizeof(struct store_change));
    named->job.change_count = count;
    for (size_t i = 0; i < count; i++)
        named->job.changes[i] = (struct store_change){.kind = STORE_NOTHING};
    return named;
}

// So many messages of one conversation.
static struct named_job *accepts(char name, const char *thread, const char *migrated_from, size_t count)
{
    struct named_job *named = a_job(name, JOB_ACCEPT);
    struct store_accept *list = arena_alloc(&bench.arena, count * sizeof *list);
    named->job.changes = arena_alloc(&bench.arena, count * sizeof(struct store_change));
    named->job.change_count = count;
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct store_accept){
            .account_id = bench.account_id,
            .source_id = 1,
            .order = ORDER_CONVERSATION,
            .event = {.dedupe_key = arena_printf(&bench.arena, "%c%zu", name, i),
                      .conversation = str_of(thread),
                      .migrated_from = str_of(migrated_from),
                      .sender_id = STR("s"),
                      .text = STR("t")},
            .out_arena = &bench.arena,
        };
        named->job.changes[i] = (struct store_change){.kind = STORE_ACCEPT, .accept = &list[i]};
    }
    return named;
}

static struct named_job *a_message(char name)
{
    return accepts(name, "c", NULL, 1);
}

static struct named_job *a_load(char name)
{
    return a_job(name, JOB_LOAD);
}

static void heard(const char *what)
{
    assert_string_equal(bench.heard, what);
    bench.heard[0] = 0;
}

static void asked(const char *what)
{
    assert_string_equal(bench.asked, what);
    bench.asked[0] = 0;
}

static int64_t stored(void)
{
    struct store_reader *reader = bench.store->ops->reader_new(bench.store);
    struct store_totals totals;
    assert_int_equal(reader->ops->totals(reader, &totals), 0);
    reader->ops->free(reader);
    return totals.accepted;
}

static void look_for_alarm(void *arg, const struct board_alarm_line *line)
{
    *(const char **)arg = line->name;
}

// The alarm that stands, "" for none.
static const char *alarm_now(void)
{
    const char *name = "";
    board_each_alarm(bench.board, look_for_alarm, &name);
    return name;
}

// ---- one turn ----

// A message accepted with the transaction that changed its account's order rule stands in a lane of the new rule: told first, it
// would be sent without waiting for those before.
static void test_changes_are_told_before_what_was_accepted_with_them(void **state)
{
    (void)state;
    struct account *account = an_account(ORDER_ACCOUNT);
    account->id = bench.account_id;
    struct store_account_put put = {.account = account};
    struct named_job *changing = a_job('c', JOB_CHANGES);
    changing->job.changes = &(struct store_change){.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    changing->job.change_count = 1;
    submit(a_message('m'));
    submit(changing);
    committer_turn(bench.committer);
    asked("afc");
    heard("cnm");
    account_unref(account);
}

static void test_a_request_of_many_messages_is_one_transaction(void **state)
{
    (void)state;
    submit(accepts('m', "c", NULL, 3000));
    submit(a_message('n'));
    assert_true(committer_turn(bench.committer));
    asked("afc");
    heard("nm");
    assert_int_equal(stored(), 3000);
    assert_true(committer_turn(bench.committer));
    heard("nn");
    assert_int_equal(stored(), 3001);
    assert_false(committer_turn(bench.committer));
}

// A thread that became another one: it is one conversation, and has the name that it began with.
static void test_what_is_handed_on_names_the_thread_that_it_began_in(void **state)
{
    (void)state;
    bench.hands_on = true;
    submit(accepts('a', "old", NULL, 1));
    submit(accepts('b', "new", "old", 1));
    committer_turn(bench.committer);
    heard("nab");
    assert_str(bench.announced->message->conversation, "old");
    const struct announcement *second = bench.announced->next;
    assert_non_null(second);
    assert_null(second->next);
    assert_str(second->message->conversation, "old");
    assert_int_equal(second->message->conversation_id, bench.announced->message->conversation_id);
}

// A reply is stored with how far its thread was taken, and handed on with what its platform needs to know.
static void test_a_reply_is_handed_on_with_its_source(void **state)
{
    (void)state;
    struct named_job *question = accepts('q', "old", NULL, 1), *moved = accepts('m', "new", "old", 1);
    bench.hands_on = true;
    submit(question);
    submit(moved);
    committer_turn(bench.committer);
    assert_int_equal(bench.announced->source_id, 0); // of no reply
    heard("nqm");
    int64_t conversation_id = question->job.changes[0].accept->conversation_id;
    struct named_job *replying = accepts('r', "old", NULL, 1);
    struct store_accept *reply = replying->job.changes[0].accept;
    struct store_taken taken = {.account_id = bench.account_id,
                                .desk_conversation = STR("d"),
                                .conversation_id = conversation_id,
                                .taken_s = 7};
    reply->direction = REPLY;
    reply->conversation_id = conversation_id;
    reply->event.format = STR("[]");
    struct store_change changes[] = {{.kind = STORE_TAKEN, .taken = &taken}, replying->job.changes[0]};
    replying->job.changes = changes;
    replying->job.change_count = 2;
    submit(replying);
    committer_turn(bench.committer);
    heard("nr");
    const struct announcement *told = bench.announced;
    assert_null(told->next);
    assert_int_equal(told->source_id, 1);
    assert_int_equal(told->lane, lane_id(LANE_REPLY, conversation_id));
    assert_int_equal(told->message->direction, REPLY);
    assert_str(told->message->conversation, "old");
    assert_str(told->message->address, "new");
    assert_str(told->message->format, "[]");
    struct store_thread asked = {.account_id = bench.account_id, .desk_conversation = STR("d"), .arena = &bench.arena};
    struct store_change asking = {.kind = STORE_THREAD, .thread = &asked};
    assert_int_equal(bench.memory_ops->apply(bench.store, &asking, 1), 0);
    assert_int_equal(asked.taken_s, 7);
}

static void test_a_repeated_message_is_answered_and_not_announced(void **state)
{
    (void)state;
    submit(a_message('m'));
    committer_turn(bench.committer);
    heard("nm");
    submit(a_message('m'));
    committer_turn(bench.committer);
    heard("m");
    assert_int_equal(stored(), 1);
}

static void test_a_discarded_message_is_stored_and_not_announced(void **state)
{
    (void)state;
    struct named_job *job = a_message('m');
    job->job.changes->accept->state = MESSAGE_DISCARDED;
    submit(job);
    committer_turn(bench.committer);
    heard("m");
    assert_int_equal(stored(), 1);
}

static void test_what_waits_for_its_files_is_handed_on_so(void **state)
{
    (void)state;
    struct named_job *job = accepts('m', "c", NULL, 2);
    bench.hands_on = true;
    job->job.changes[0].accept->wait_until_us = 77;
    job->job.changes[0].accept->event.attachments = STR("[{\"kind\":\"image\",\"state\":\"wanted\",\"ref\":\"r\"}]");
    job->job.changes[1].accept->event.attachments = STR("[{\"kind\":\"image\",\"url\":\"http://x.test/\"}]");
    submit(job);
    committer_turn(bench.committer);
    heard("nm");
    assert_int_equal(bench.announced->message->next_attempt_us, 77);
    assert_true(bench.announced->wants_files);
    assert_false(bench.announced->look_again);
    assert_int_equal(bench.announced->next->message->next_attempt_us, 0);
    assert_false(bench.announced->next->wants_files);
}

// A part of an album changed a message of that lane; what was not stored is of no interest to a lane.
static void test_a_lane_looks_again_for_what_was_joined(void **state)
{
    (void)state;
    struct named_job *job = accepts('m', "c", NULL, 3);
    bench.hands_on = true;
    bench.become = (const enum accept_result[]){ACCEPT_NOTHING, ACCEPT_JOINED, ACCEPT_OVER_QUOTA};
    job->job.changes[1].accept->event.attachments = STR("[{\"kind\":\"image\",\"state\":\"wanted\",\"ref\":\"r\"}]");
    submit(job);
    committer_turn(bench.committer);
    heard("nm");
    assert_null(bench.announced->next);
    assert_null(bench.announced->message);
    assert_true(bench.announced->look_again);
    assert_true(bench.announced->wants_files);
    assert_int_equal(bench.announced->lane, job->job.changes[1].accept->lane);
    assert_int_equal(bench.announced->account_id, bench.account_id);
}

// What it acts on is not in the event: the store says it, when the lane is loaded.
static void test_an_act_is_not_handed_on(void **state)
{
    (void)state;
    struct named_job *job = a_message('m');
    bench.hands_on = true;
    job->job.changes[0].accept->event.act = REPLY_EDITS;
    submit(job);
    committer_turn(bench.committer);
    heard("nm");
    assert_null(bench.announced->message);
    assert_false(bench.announced->look_again);
}

static void test_what_frees_nothing_frees_nothing(void **state)
{
    (void)state;
    committer_free(NULL);
    announcement_free(NULL);
    lane_page_done(NULL);
}

// ---- a store that cannot be written for a while ----

static void test_outcomes_wait_in_their_order_while_the_store_is_held(void **state)
{
    (void)state;
    bench.errors = "b";
    submit(changes('a', 1500));
    submit(changes('b', 1500)); // not in one transaction with the first
    submit(a_load('l'));
    assert_false(committer_turn(bench.committer));
    heard("");
    submit(changes('c', 1500));
    while (committer_turn(bench.committer))
        ;
    heard("abcl"); // and the page shows what they changed
}

static void test_a_full_disk_refuses_messages_and_keeps_outcomes(void **state)
{
    (void)state;
    assert_true(committer_is_well(bench.committer));
    bench.errors = "f.";
    submit(a_message('m'));
    submit(changes('o', 1));
    committer_turn(bench.committer);
    asked("aafc"); // the outcomes once more, without the message
    heard("Mo");   // which is refused before that: a store that is held takes its time each time
    assert_false(committer_is_well(bench.committer));
    assert_string_equal(alarm_now(), "disk_full");
    submit(changes('p', 1));
    committer_turn(bench.committer);
    heard("p");
    assert_false(committer_is_well(bench.committer)); // an outcome does not say that there is room for a message
    submit(a_message('n'));
    committer_turn(bench.committer);
    heard("nn");
    assert_true(committer_is_well(bench.committer));
    assert_string_equal(alarm_now(), "");
}

static void test_a_load_waits_while_the_store_has_no_memory(void **state)
{
    (void)state;
    bench.errors = "n";
    submit(a_load('l'));
    submit(a_load('k'));
    assert_false(committer_turn(bench.committer));
    heard("");
    assert_true(committer_turn(bench.committer));
    heard("lk");
}

// At the end nothing is waited for: what cannot be had now is told so. That is no broken store, and what comes after it is stored.
static void test_at_a_stop_a_page_that_cannot_be_had_is_no_broken_store(void **state)
{
    (void)state;
    committer_hurry(bench.committer);
    bench.errors = "b";
    submit(a_load('l'));
    assert_true(committer_turn(bench.committer));
    heard("L");
    assert_int_equal(bench.fatals, 0);
    submit(changes('o', 1));
    committer_turn(bench.committer);
    heard("o");
}

static void test_at_a_stop_outcomes_that_cannot_be_stored_fail(void **state)
{
    (void)state;
    bench.errors = "b";
    submit(changes('o', 1));
    committer_close(bench.committer);
    assert_true(committer_turn(bench.committer));
    heard("O");
    assert_int_equal(bench.fatals, 0);
    assert_false(committer_submit(bench.committer, &changes('p', 1)->job));
}

// ---- a store that broke ----

static void test_after_a_disk_error_nothing_succeeds_any_more(void **state)
{
    (void)state;
    bench.errors = "i";
    submit(a_message('m'));
    submit(changes('o', 1));
    submit(a_load('l'));
    committer_turn(bench.committer);
    asked("a"); // nothing is asked of it again
    heard("MOL");
    assert_int_equal(bench.fatals, 1);
    assert_non_null(strstr(bench.fatal, "the store failed"));
    assert_false(committer_is_well(bench.committer));
    submit(a_message('n'));
    committer_turn(bench.committer);
    asked("");
    heard("N");
    assert_int_equal(bench.fatals, 1);
    assert_int_equal(stored(), 0);
}

static void test_a_checkpoint_that_fails_breaks_the_store_unless_it_passes(void **state)
{
    (void)state;
    bench.errors = "..f";
    submit(changes('a', 1));
    committer_turn(bench.committer);
    assert_int_equal(bench.fatals, 0);
    bench.errors = "..i";
    submit(changes('b', 1));
    committer_turn(bench.committer);
    heard("ab");
    assert_int_equal(bench.fatals, 1);
}

static void test_a_page_that_cannot_be_read_breaks_the_store(void **state)
{
    (void)state;
    bench.errors = "i";
    submit(a_load('l'));
    committer_turn(bench.committer);
    heard("L");
    assert_int_equal(bench.fatals, 1);
}

// ---- the flush ----

// A call that was just asked for, the n-th of its kind.
static bool asks(char call, int n)
{
    size_t length = strlen(bench.asked);
    for (const char *at = bench.asked; *at; at++)
        n -= *at == call;
    return n == 0 && bench.asked[length - 1] == call;
}

static void nobody_was_told(void)
{
    if (asks('f', 1))
        assert_string_equal(bench.heard, "");
}

static void test_nobody_is_told_before_the_flush(void **state)
{
    (void)state;
    bench.before = nobody_was_told;
    submit(changes('c', 1));
    submit(a_message('m'));
    submit(a_load('l'));
    committer_turn(bench.committer);
    asked("alfc");
    heard("cnml");
}

static void test_a_failed_flush_fails_all_that_it_was_for_and_is_the_last(void **state)
{
    (void)state;
    bench.errors = "..i";
    submit(changes('c', 1));
    submit(a_message('m'));
    submit(a_load('l'));
    committer_turn(bench.committer);
    heard("CML");
    assert_int_equal(bench.fatals, 1);
    submit(changes('d', 1));
    committer_turn(bench.committer);
    asked("alf"); // nothing more is asked of it
    heard("D");
}

static void test_pages_alone_need_no_flush(void **state)
{
    (void)state;
    submit(a_load('l'));
    committer_turn(bench.committer);
    asked("lc");
    heard("l");
}

static void test_one_flush_is_for_all_that_was_committed_and_they_are_told_in_order(void **state)
{
    (void)state;
    submit(changes('a', 1));
    committer_turn(bench.committer);
    submit(a_load('l')); // it shows what is not on the disk yet
    submit(a_message('m'));
    committer_turn(bench.committer);
    asked("acalc");
    heard("");
    assert_true(committer_has_unflushed(bench.committer));
    assert_true(committer_flush(bench.committer));
    asked("f");
    heard("anml");
    assert_false(committer_flush(bench.committer));
    assert_false(committer_has_unflushed(bench.committer));
}

// For who has read what another one changed, and must not say so before it is on the disk.
static void test_a_job_without_changes_is_told_when_all_before_it_is_on_the_disk(void **state)
{
    (void)state;
    submit(changes('a', 1));
    committer_turn(bench.committer);
    submit(changes('b', 0));
    committer_turn(bench.committer);
    asked("acc");
    heard("");
    committer_flush(bench.committer);
    asked("f");
    heard("ab");
    submit(changes('c', 1));
    committer_turn(bench.committer);
    submit(changes('d', 0));
    committer_turn(bench.committer);
    bench.errors = "i";
    committer_flush(bench.committer);
    heard("CD");
}

static void test_a_page_that_shows_what_could_not_be_flushed_is_not_given(void **state)
{
    (void)state;
    submit(a_message('m'));
    committer_turn(bench.committer);
    submit(a_load('l'));
    committer_turn(bench.committer);
    bench.errors = "i";
    committer_flush(bench.committer);
    heard("ML");
    assert_int_equal(bench.fatals, 1);
}

static void break_meanwhile(void)
{
    if (asks('a', 2))
        bench.errors = "i";
}

// The store broke when the next transaction was written: what of the one before is on the disk nobody knows any more.
static void test_what_was_committed_before_the_store_broke_does_not_succeed(void **state)
{
    (void)state;
    bench.before = break_meanwhile;
    submit(a_message('m'));
    committer_turn(bench.committer);
    submit(a_message('n'));
    committer_turn(bench.committer);
    heard("N");
    committer_flush(bench.committer);
    heard("M");
    assert_int_equal(bench.fatals, 1);
}

static void read_meanwhile(void)
{
    if (asks('f', 1)) {
        submit(a_load('l'));
        committer_turn(bench.committer); // the other thread, while this one flushes
    }
}

// The group behind the one that failed has nothing to flush of its own, and shows what was lost.
static void test_a_page_behind_a_failed_flush_is_not_given(void **state)
{
    (void)state;
    submit(a_message('m'));
    committer_turn(bench.committer);
    bench.before = read_meanwhile;
    bench.errors = "..i"; // the page and the look at the log come first
    committer_flush(bench.committer);
    heard("M");
    committer_flush(bench.committer);
    heard("L");
    assert_int_equal(bench.fatals, 1);
}

static void *run_flusher(void *committer)
{
    committer_run_flusher(committer);
    return NULL;
}

static void *run_committer(void *committer)
{
    committer_run(committer);
    return NULL;
}

static atomic_int told, told_last, told_out_of_order;
static sem_t in_flush, may_flush;

static void on_told(struct job *job)
{
    int number = ((struct named_job *)job)->number;
    if (atomic_exchange(&told_last, number) > number)
        atomic_fetch_add(&told_out_of_order, 1);
    atomic_fetch_add(&told, 1);
}

static int slow_flush(struct store *store)
{
    (void)store;
    sem_post(&in_flush);
    sem_wait(&may_flush);
    return 0;
}

static int quiet_apply(struct store *store, struct store_change *changes_, size_t count)
{
    return bench.memory_ops->apply(store, changes_, count);
}

static int quiet_checkpoint(struct store *store, bool busy)
{
    (void)store, (void)busy;
    return 0;
}

static void submit_told(struct named_job *named)
{
    named->job.done = on_told;
    submit(named);
}

static void count_told(int (*apply)(struct store *store, struct store_change *changes, size_t count))
{
    bench.ops.apply = apply;
    bench.ops.flush = slow_flush;
    bench.ops.checkpoint = quiet_checkpoint;
    bench.ops.age_out = bench.memory_ops->age_out;
    sem_init(&in_flush, 0, 0);
    sem_init(&may_flush, 0, 0);
    atomic_store(&told, 0);
    atomic_store(&told_last, 0);
    atomic_store(&told_out_of_order, 0);
}

static void all_told(int count)
{
    assert_int_equal(atomic_load(&told), count);
    assert_int_equal(atomic_load(&told_out_of_order), 0);
    sem_destroy(&in_flush);
    sem_destroy(&may_flush);
}

// While one group is being flushed the next is committed, and no third one: groups grow with what comes in meanwhile. What is
// left when the committer has ended is flushed and told.
static void test_the_next_group_is_committed_while_one_is_flushed(void **state)
{
    (void)state;
    pthread_t committer, flusher;
    count_told(quiet_apply);
    submit_told(changes('a', 2048)); // a transaction each
    submit_told(changes('b', 2048));
    submit_told(changes('c', 2048));
    submit_told(changes('d', 2048));
    committer_close(bench.committer);
    assert_int_equal(pthread_create(&committer, NULL, run_committer, bench.committer), 0);
    assert_int_equal(pthread_create(&flusher, NULL, run_flusher, bench.committer), 0);
    for (int group = 0; group < 4; group++) {
        sem_wait(&in_flush);
        if (group < 3)
            while (!committer_has_unflushed(bench.committer))
                sched_yield();
        assert_int_equal(atomic_load(&told), group);
        sem_post(&may_flush);
    }
    pthread_join(committer, NULL);
    pthread_join(flusher, NULL);
    all_told(4);
}

static int apply_and_ask_more(struct store *store, struct store_change *changes_, size_t count)
{
    for (int i = 0; i < 8 && count == 401; i++)
        submit_told(changes('c', 1));
    return bench.memory_ops->apply(store, changes_, count);
}

// More messages than fit, then more jobs than few: each time the flusher is asked, which would else have nothing to do.
static void test_the_flush_is_the_flushers_where_much_waits(void **state)
{
    (void)state;
    pthread_t committer, flusher;
    count_told(apply_and_ask_more);
    submit_told(accepts('m', "c", NULL, 400));
    submit_told(accepts('n', "c", NULL, 401));
    assert_int_equal(pthread_create(&flusher, NULL, run_flusher, bench.committer), 0);
    for (int i = 0; i < 3; i++)
        sem_post(&may_flush);
    assert_int_equal(pthread_create(&committer, NULL, run_committer, bench.committer), 0);
    while (atomic_load(&told) < 10)
        sched_yield();
    committer_close(bench.committer);
    pthread_join(committer, NULL);
    pthread_join(flusher, NULL);
    all_told(10);
}

static void test_lanes_read_behind_a_failed_flush_are_not_given(void **state)
{
    (void)state;
    int64_t lanes[JOB_LANES_MAX];
    struct named_job *job = a_job('l', JOB_LANES);
    job->job.lanes.lanes = lanes;
    bench.errors = ".i";
    submit(a_message('m'));
    submit(job);
    committer_turn(bench.committer);
    heard("ML");
}

// ---- the thread's round ----

static void test_what_is_queued_at_the_end_is_worked_off(void **state)
{
    (void)state;
    submit(a_message('m'));
    submit(a_load('l'));
    committer_close(bench.committer);
    committer_run(bench.committer);
    heard("nml");
}

static int64_t last_pause_us;

static void close_later(struct job *job)
{
    on_done(job);
    clock_manual_pass(&bench.clock, last_pause_us);
    committer_close(bench.committer);
}

static void at_housekeeping(void)
{
    if (asks('h', 1)) {
        clock_manual_pass(&bench.clock, 100000);
        submit(changes('b', 1));
    } else if (asks('h', 2)) {
        bench.more_to_age = false;
        struct named_job *last = changes('c', 1);
        last->job.done = close_later;
        submit(last);
    }
}

// Three rounds: there is more to do after the first, nothing after the second, and the third comes that much later.
static void keep_house_with(int64_t pause_us)
{
    last_pause_us = pause_us;
    clock_manual_pass(&bench.clock, 100 * 1000000);
    bench.before = at_housekeeping;
    bench.more_to_age = true;
    submit(changes('a', 1));
    committer_run(bench.committer);
    heard("abc");
}

static void test_housekeeping_goes_on_while_there_is_more_and_then_rests_30_s(void **state)
{
    (void)state;
    keep_house_with(29999999);
    asked("afchafchafc");
    int64_t began_us = bench.clock.wall_us - 29999999;
    assert_int_equal(bench.bodies_before_us, began_us - INT64_C(1000000) * KEEP_BODIES_S);
    assert_int_equal(bench.dedupe_before_us, began_us - INT64_C(1000000) * KEEP_DEDUPE_S);
}

static void test_housekeeping_comes_again_after_30_s(void **state)
{
    (void)state;
    keep_house_with(30000000);
    asked("afchafchafch");
}

// The wall clock is set by so much, and a minute passes.
static void keep_house_set_by(int64_t us)
{
    bench.clock.wall_us += us;
    clock_manual_pass(&bench.clock, 60 * 1000000);
    committer_keep_house(bench.committer);
}

static void aged_as_of(int64_t wall_us)
{
    assert_int_equal(bench.bodies_before_us, wall_us - INT64_C(1000000) * KEEP_BODIES_S);
    assert_int_equal(bench.dedupe_before_us, wall_us - INT64_C(1000000) * KEEP_DEDUPE_S);
}

// What is forgotten cannot be had back when the clock is right again, and then duplicates are none, and answers are sent twice.
static void test_a_clock_that_is_set_ahead_makes_nothing_old_for_a_day(void **state)
{
    (void)state;
    const int64_t hour_us = INT64_C(3600) * 1000000, year_us = 365 * 24 * hour_us;
    keep_house_set_by(0);
    aged_as_of(bench.clock.wall_us);
    keep_house_set_by(year_us);
    aged_as_of(bench.clock.wall_us - year_us);
    keep_house_set_by(-year_us);
    aged_as_of(bench.clock.wall_us);
    keep_house_set_by(-hour_us);
    aged_as_of(bench.clock.wall_us);
    keep_house_set_by(hour_us);
    aged_as_of(bench.clock.wall_us);
    keep_house_set_by(year_us);
    clock_manual_pass(&bench.clock, 23 * hour_us);
    keep_house_set_by(0);
    aged_as_of(bench.clock.wall_us - year_us);
    clock_manual_pass(&bench.clock, hour_us);
    keep_house_set_by(0);
    aged_as_of(bench.clock.wall_us);
}

static void test_a_clock_that_runs_a_little_faster_is_believed(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        keep_house_set_by(30 * 1000000);
        aged_as_of(bench.clock.wall_us);
    }
}

static void close_at_third_housekeeping(void)
{
    clock_manual_pass(&bench.clock, 100000);
    if (asks('h', 3))
        committer_close(bench.committer);
}

static void at_busy_housekeeping(void)
{
    if (asks('h', 1)) {
        submit(changes('b', 1));
    } else if (asks('a', 2)) {
        struct named_job *last = changes('c', 1);
        last->job.done = close_later;
        submit(last);
    }
}

// A step is a transaction of its own: one behind each group would halve what the store takes.
static void test_housekeeping_takes_a_step_in_100_ms_while_messages_come(void **state)
{
    (void)state;
    bench.before = at_busy_housekeeping;
    bench.more_to_age = true;
    clock_manual_pass(&bench.clock, 100 * 1000000);
    last_pause_us = 99999;
    submit(changes('a', 1));
    committer_run(bench.committer);
    asked("afchafcafc");
}

static void test_housekeeping_takes_its_next_step_after_100_ms(void **state)
{
    (void)state;
    bench.before = at_busy_housekeeping;
    bench.more_to_age = true;
    clock_manual_pass(&bench.clock, 100 * 1000000);
    last_pause_us = 100000;
    submit(changes('a', 1));
    committer_run(bench.committer);
    asked("afchafcafch");
}

static int64_t real_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// A relay that carries little has much to age at times: after a burst a step each 30 s would keep texts for days too long.
static void test_housekeeping_goes_on_while_nothing_is_sent(void **state)
{
    (void)state;
    int64_t began_ms = real_ms();
    clock_manual_pass(&bench.clock, 100 * 1000000);
    bench.before = close_at_third_housekeeping;
    bench.more_to_age = true;
    submit(changes('a', 1));
    committer_run(bench.committer);
    asked("afchhh");
    assert_true(real_ms() - began_ms < 20000); // not a wait of 30 s for each
}

static void test_housekeeping_that_fails_breaks_the_store_unless_it_passes(void **state)
{
    for (int broken = 0; broken < 2; broken++) {
        clock_manual_pass(&bench.clock, 100 * 1000000);
        bench.errors = broken ? "...i" : "...b";
        submit(changes('o', 1));
        committer_close(bench.committer);
        committer_run(bench.committer);
        asked("afch");
        assert_int_equal(bench.fatals, broken);
        take_down(state);
        put_up(state);
    }
}

static const char *alarm_meanwhile;

static void close_after_housekeeping(void)
{
    if (!asks('h', 1))
        return;
    struct named_job *last = changes('b', 1);
    last->job.done = close_later;
    submit(last);
}

static void test_a_store_that_breaks_in_housekeeping_with_more_to_do_is_asked_nothing_more(void **state)
{
    (void)state;
    last_pause_us = 100 * 1000000;
    clock_manual_pass(&bench.clock, 100 * 1000000);
    bench.before = close_after_housekeeping;
    bench.more_to_age = true;
    bench.errors = "...i";
    submit(changes('a', 1));
    committer_run(bench.committer);
    asked("afch");
    heard("aB");
    assert_int_equal(bench.fatals, 1);
}

static void while_held(void)
{
    if (!asks('a', 2) && !asks('a', 3) && !asks('a', 4))
        return;
    assert_string_equal(alarm_now(), alarm_meanwhile);
    assert_false(committer_is_well(bench.committer));
    if (asks('a', 4))
        committer_close(bench.committer);
    else
        submit(a_load('l'));
}

// Nobody sends a message while /readyz says that none is taken.
static void test_whether_a_held_or_full_store_takes_messages_again_is_looked_at_without_one(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        bench.errors = full ? "f.f..f" : "b.b..b";
        alarm_meanwhile = full ? "disk_full" : "store_busy";
        bench.before = while_held;
        submit(a_message('m'));
        committer_run(bench.committer);
        asked("acalcalca");
        heard("Mll");
        assert_string_equal(alarm_now(), "");
        assert_true(committer_is_well(bench.committer));
        take_down(state);
        put_up(state);
    }
}

static void break_while_held(void)
{
    if (!asks('a', 2))
        return;
    struct named_job *last = a_message('n');
    last->job.done = close_later;
    submit(last);
}

static void test_a_held_store_that_breaks_is_asked_nothing_more(void **state)
{
    (void)state;
    last_pause_us = 100 * 1000000; // housekeeping would be due
    bench.errors = "b.i";
    bench.before = break_while_held;
    submit(a_message('m'));
    committer_run(bench.committer);
    asked("aca");
    heard("MN");
    assert_int_equal(bench.fatals, 1);
}

static void hurry_while_held(void)
{
    if (asks('a', 2))
        committer_hurry(bench.committer);
    else if (asks('a', 4))
        committer_close(bench.committer);
}

static void test_a_hurry_ends_the_wait_of_outcomes(void **state)
{
    (void)state;
    bench.errors = "b.bb";
    bench.before = hurry_while_held;
    submit(changes('o', 1));
    committer_run(bench.committer);
    asked("acaaca");
    heard("O");
}

static void close_while_held(void)
{
    if (asks('a', 2))
        committer_close(bench.committer);
}

static void test_outcomes_that_waited_are_tried_once_more_at_the_end(void **state)
{
    (void)state;
    bench.errors = "b.b";
    bench.before = close_while_held;
    submit(changes('o', 1));
    committer_run(bench.committer);
    asked("acaafc");
    heard("o");
}

int main(void)
{
    log_set_level(LOG_OFF);
#define TEST(name) cmocka_unit_test_setup_teardown(name, put_up, take_down)
#define APART(name) cmocka_unit_test_setup_teardown(name, put_up_apart, take_down)
    const struct CMUnitTest tests[] = {
        TEST(test_changes_are_told_before_what_was_accepted_with_them),
        TEST(test_a_request_of_many_messages_is_one_transaction),
        TEST(test_what_is_handed_on_names_the_thread_that_it_began_in),
        TEST(test_a_reply_is_handed_on_with_its_source),
        TEST(test_a_repeated_message_is_answered_and_not_announced),
        TEST(test_a_discarded_message_is_stored_and_not_announced),
        TEST(test_what_waits_for_its_files_is_handed_on_so),
        TEST(test_a_lane_looks_again_for_what_was_joined),
        TEST(test_an_act_is_not_handed_on),
        TEST(test_what_frees_nothing_frees_nothing),
        TEST(test_outcomes_wait_in_their_order_while_the_store_is_held),
        TEST(test_a_full_disk_refuses_messages_and_keeps_outcomes),
        TEST(test_a_load_waits_while_the_store_has_no_memory),
        TEST(test_at_a_stop_a_page_that_cannot_be_had_is_no_broken_store),
        TEST(test_at_a_stop_outcomes_that_cannot_be_stored_fail),
        TEST(test_after_a_disk_error_nothing_succeeds_any_more),
        TEST(test_a_checkpoint_that_fails_breaks_the_store_unless_it_passes),
        TEST(test_a_page_that_cannot_be_read_breaks_the_store),
        TEST(test_nobody_is_told_before_the_flush),
        TEST(test_a_failed_flush_fails_all_that_it_was_for_and_is_the_last),
        TEST(test_pages_alone_need_no_flush),
        APART(test_one_flush_is_for_all_that_was_committed_and_they_are_told_in_order),
        APART(test_a_job_without_changes_is_told_when_all_before_it_is_on_the_disk),
        APART(test_a_page_that_shows_what_could_not_be_flushed_is_not_given),
        APART(test_what_was_committed_before_the_store_broke_does_not_succeed),
        APART(test_a_page_behind_a_failed_flush_is_not_given),
        TEST(test_lanes_read_behind_a_failed_flush_are_not_given),
        APART(test_the_flush_is_the_flushers_where_much_waits),
        APART(test_the_next_group_is_committed_while_one_is_flushed),
        TEST(test_what_is_queued_at_the_end_is_worked_off),
        TEST(test_housekeeping_goes_on_while_there_is_more_and_then_rests_30_s),
        TEST(test_housekeeping_comes_again_after_30_s),
        TEST(test_a_clock_that_is_set_ahead_makes_nothing_old_for_a_day),
        TEST(test_a_clock_that_runs_a_little_faster_is_believed),
        TEST(test_housekeeping_goes_on_while_nothing_is_sent),
        TEST(test_housekeeping_takes_a_step_in_100_ms_while_messages_come),
        TEST(test_housekeeping_takes_its_next_step_after_100_ms),
        TEST(test_housekeeping_that_fails_breaks_the_store_unless_it_passes),
        TEST(test_a_store_that_breaks_in_housekeeping_with_more_to_do_is_asked_nothing_more),
        TEST(test_whether_a_held_or_full_store_takes_messages_again_is_looked_at_without_one),
        TEST(test_a_held_store_that_breaks_is_asked_nothing_more),
        TEST(test_a_hurry_ends_the_wait_of_outcomes),
        TEST(test_outcomes_that_waited_are_tried_once_more_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
