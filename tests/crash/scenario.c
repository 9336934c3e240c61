// One thread with the core and a real store, to be killed at a system call of its choice (loop_kill_calls.py):
//   scenario list              the names, one a line, with how far apart the full run kills
//   scenario prepare NAME DIR  the state before: DIR/world (what is outside) and DIR/store.db
//   scenario run NAME DIR      what is looked at begins with a call of getppid(), which changes nothing
//   scenario finish NAME DIR   after the kill: verified, played to the end, judged; counts on standard output, 1 = bad
// `run NAME DIR early` is a relay that answers before its commit, which must be found out.
#include "crash/old_store.h"
#include "crash/world.h"
#include "support/unit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum before { NOTHING, EMPTY, ACCEPTED, HALF_UNCLEAN, HALF_OLD };
enum window { WORK, OPENING, AGEING, CLOSING };

struct plan {
    const char *name;
    enum before before;
    enum window window;
    bool intercom, serves, one_lane, one_batch, reader_holds;
    enum failure_policy on_failure;
    int count, pad;
    int poison;      // number of a message that the desk refuses; 0 = none
    int fails_every; // the desk
    int version;     // of the schema, HALF_OLD
    int stride;      // the full run kills at each such call; 1 = at every one
};

static const struct plan plans[] = {
    {"create", NOTHING, OPENING, .count = 12, .stride = 1},
    {"accept", EMPTY, WORK, .count = 12, .stride = 1},
    {"deliver-webhook", ACCEPTED, WORK, .serves = true, .count = 12, .stride = 1},
    {"deliver-intercom", ACCEPTED, WORK, .serves = true, .intercom = true, .count = 9, .stride = 1},
    {"deliver-intercom-one-lane", ACCEPTED, WORK, .serves = true, .intercom = true, .one_lane = true, .count = 6,
     .stride = 1},
    {"settle-skip-retry", ACCEPTED, WORK, .serves = true, .count = 9, .poison = 4, .fails_every = 3, .stride = 1},
    {"settle-hold-discard", ACCEPTED, WORK, .serves = true, .count = 9, .poison = 4, .on_failure = ON_FAILURE_HOLD,
     .stride = 1},
    {"checkpoint-idle", EMPTY, WORK, .count = 24, .pad = 40000, .stride = 1},
    {"checkpoint-forced", EMPTY, WORK, .one_batch = true, .count = 120, .pad = 60000, .stride = 7},
    {"checkpoint-log-over-its-size", EMPTY, WORK, .reader_holds = true, .count = 150, .pad = 60000, .stride = 11},
    {"start-after-unclean-end", HALF_UNCLEAN, OPENING, .count = 12, .stride = 1},
    {"age-out", ACCEPTED, AGEING, .serves = true, .count = 12, .stride = 1},
    {"stop", ACCEPTED, CLOSING, .count = 12, .stride = 1},
};

static const char MIGRATE[] = "migrate-from-"; // and the version that the store has; one for each there ever was

static struct rig rig;
static struct world *world;

static void open_rig(const struct plan *plan)
{
    struct rig_options options = {.desk = plan->intercom ? "intercom" : NULL,
                                  .order = plan->one_lane ? ORDER_ACCOUNT : ORDER_CONVERSATION,
                                  .on_failure = plan->on_failure,
                                  .window = 2,
                                  .store_path = "store.db",
                                  .wall_us = world->wall_us};
    rig_init(&rig, &options);
}

static void pass(int64_t ms)
{
    rig_pass(&rig, ms);
    world->wall_us = rig.clock.wall_us;
}

// ---- the platform ----

struct sending {
    struct arena arena;
    struct store_accept accept;
    struct store_change change;
    struct job job;
};

static void on_accepted(struct job *job)
{
    (void)job;
}

static void submit(struct sending *sending, int number)
{
    const struct account *account = rig_account(&rig, "acme");
    sending->accept = (struct store_accept){.account_id = account->id,
                                            .source_id = account->sources[0].id,
                                            .order = account->order,
                                            .received_at_us = rig.clock.wall_us,
                                            .event = world_event(world, &sending->arena, number),
                                            .out_arena = &sending->arena};
    sending->accept.event.sent_at_us = rig.clock.wall_us;
    sending->change = (struct store_change){.kind = STORE_ACCEPT, .accept = &sending->accept};
    sending->job = (struct job){
        .kind = JOB_ACCEPT, .changes = &sending->change, .change_count = 1, .done = on_accepted};
    assert_true(committer_submit(rig.committer, &sending->job));
    account_unref(account);
}

// Sends what was not acknowledged, from `first` on, `some` at once.
static void send_some(int first, int some, bool early)
{
    struct sending *sendings = calloc((size_t)some, sizeof *sendings); // allow calloc: a test's own
    for (int i = 0; i < some; i++) {
        if (!world->acknowledged[first + i])
            submit(&sendings[i], first + i);
        world->acknowledged[first + i] |= early;
    }
    rig_turn(&rig);
    for (int i = 0; i < some; i++) {
        world->acknowledged[first + i] |= sendings[i].job.kind == JOB_ACCEPT && sendings[i].job.err == 0;
        arena_done(&sendings[i].arena);
    }
    free(sendings);
}

static void send_all(const struct plan *plan, bool early)
{
    int some = plan->one_batch ? world->count : 1;
    for (int number = 0; number < world->count; number += some)
        send_some(number, some, early);
}

// ---- the person who looks after what was skipped or is held ----

static void find_poison(void *arg, const struct message *message)
{
    char text[32];
    int n = snprintf(text, sizeof text, "text-%d.", world->poison);
    if (message->text.n >= (size_t)n && memcmp(message->text.p, text, (size_t)n) == 0)
        *(int64_t *)arg = message->id;
}

static void change_by_hand(struct store_change *change)
{
    struct job job = {.kind = JOB_CHANGES, .changes = change, .change_count = 1, .done = on_accepted};
    assert_true(committer_submit(rig.committer, &job));
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
}

static void look_after(const struct plan *plan)
{
    int64_t id = 0;
    struct message_filter all = {0};
    assert_int_equal(rig.reader->ops->messages(rig.reader, &all, 0, MOST, find_poison, &id), 0);
    struct message *message = id ? rig_message(&rig, id) : NULL;
    if (message && message->state == MESSAGE_SKIPPED) {
        world->cured = true;
        struct store_retry retry = {.message_id = id};
        change_by_hand(&(struct store_change){.kind = STORE_RETRY, .retry = &retry});
        dispatcher_work(rig.dispatcher, message->account_id, message->source_id, message->lane);
        rig_turn(&rig);
    } else if (message && plan->on_failure == ON_FAILURE_HOLD && message->next_attempt_us == MESSAGE_HELD &&
               dispatcher_reload(rig.dispatcher, message, true) == 0) {
        struct store_outcome outcome = {
            .message_id = id, .state = MESSAGE_DISCARDED, .reason = REASON_BY_HAND, .at_us = rig.clock.wall_us};
        change_by_hand(&(struct store_change){.kind = STORE_OUTCOME, .outcome = &outcome});
    }
    message_free(message);
}

// Until `most` answers were given or nothing moves any more. Retries wait for their time.
static void serve(const struct plan *plan, int most)
{
    for (int idle = 0; idle < 40 && most > 0; idle++) {
        while (rig_open(&rig) && most-- > 0) {
            world_answer(world, &rig, rig_open(&rig));
            idle = 0;
        }
        if (plan->poison && most > 0)
            look_after(plan);
        pass(5000);
    }
}

// ---- what is run ----

static void make_world(const struct plan *plan)
{
    world = world_open("world", true);
    world->count = plan->count;
    world->pad = plan->pad;
    world->intercom = plan->intercom;
    world->poison = plan->poison ? plan->poison : -1;
    world->fails_every = plan->fails_every;
}

static int prepare(const struct plan *plan)
{
    make_world(plan);
    if (plan->before == NOTHING)
        return 0;
    open_rig(plan);
    if (plan->before != EMPTY)
        send_all(plan, false);
    if (plan->before == HALF_UNCLEAN || plan->before == HALF_OLD)
        serve(plan, plan->count / 2);
    if (plan->before == HALF_UNCLEAN)
        _exit(0); // as kill -9 does it
    rig_done(&rig);
    if (plan->before == HALF_OLD) {
        assert_int_equal(rename("store.db", "newest.db"), 0);
        old_store_make("store.db", plan->version, "newest.db");
    }
    return 0;
}

// As another program that reads and does not end: the log cannot be begun anew, and grows.
static sqlite3 *hold_log(void)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open_v2("store.db", &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN; SELECT count(*) FROM messages", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

// Texts of what is settled go, then their rows; the sum goes on counting them.
static void age(void)
{
    int64_t bodies_us = rig.clock.wall_us + 1, rows_us = 0;
    for (bool more = true; more;)
        assert_int_equal(rig.store->ops->age_out(rig.store, bodies_us, rows_us, &more), 0);
    rows_us = bodies_us;
    for (bool more = true; more;)
        assert_int_equal(rig.store->ops->age_out(rig.store, bodies_us, rows_us, &more), 0);
}

static int run(const struct plan *plan, bool early)
{
    world = world_open("world", false);
    if (plan->window == OPENING)
        getppid();
    open_rig(plan);
    sqlite3 *holder = plan->reader_holds ? hold_log() : NULL;
    if (plan->window == WORK)
        getppid();
    send_all(plan, early);
    if (plan->serves)
        serve(plan, 10 * MOST);
    if (plan->window == AGEING || plan->window == CLOSING)
        getppid();
    if (plan->window == AGEING)
        age();
    sqlite3_close(holder);
    rig_done(&rig);
    return 0;
}

static void print_finding(void *arg, const struct store_finding *finding)
{
    (void)arg;
    fprintf(stderr, "verify: %.*s\n", STR_ARG(finding->text));
}

static bool verify(void)
{
    struct store_check check = {.deep = true, .finding = print_finding};
    return rig.reader->ops->verify(rig.reader, &check) == 0 && check.ok;
}

static int finish(const struct plan *plan)
{
    world = world_open("world", false);
    open_rig(plan);
    bool verified = verify();
    send_all(plan, false);
    serve(plan, 10 * MOST);
    if (plan->window == AGEING)
        age();
    struct judgement judgement = world_judge(world, &rig, plan->poison && plan->on_failure == ON_FAILURE_HOLD);
    verified = verify() && verified;
    rig_done(&rig);
    bool whole = verified && judgement.settled_right;
    printf("acked %d lost %d doubled %d reordered %d wrong %d\n", judgement.acked, judgement.lost, judgement.doubled,
           judgement.reordered, !whole);
    return judgement.lost || judgement.doubled || judgement.reordered || !whole || judgement.acked != world->count;
}

static const struct plan *plan_named(const char *name)
{
    static struct plan migrate = {MIGRATE, HALF_OLD, OPENING, .count = 12, .stride = 1};
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        if (strcmp(plans[i].name, name) == 0)
            return &plans[i];
    if (strncmp(name, MIGRATE, sizeof MIGRATE - 1) != 0)
        return NULL;
    migrate.version = (int)strtol(name + sizeof MIGRATE - 1, NULL, 10);
    return migrate.version > 0 && migrate.version < old_store_newest() ? &migrate : NULL;
}

static int list(void)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        printf("%s %d\n", plans[i].name, plans[i].stride);
    for (int version = 1; version < old_store_newest(); version++)
        printf("%s%d 1\n", MIGRATE, version);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0)
        return list();
    const struct plan *plan = argc >= 4 ? plan_named(argv[2]) : NULL;
    if (!plan || chdir(argv[3]) != 0) {
        fprintf(stderr, "usage: scenario list | prepare NAME DIR | run NAME DIR [early] | finish NAME DIR\n");
        return 2;
    }
    if (strcmp(argv[1], "prepare") == 0)
        return prepare(plan);
    if (strcmp(argv[1], "run") == 0)
        return run(plan, argc > 4);
    return finish(plan);
}
