// The table "Failures" of the design, its probes, the guard against mass skips, and what a switch or a clock does to a
// wait: on the relay core over the store in memory (support/rig.h). docs/internals/failures.md says which test holds
// which clause.
#include "relay/lanes.h"
#include "support/intercom_answers.h"
#include "support/rig.h"
#include "support/unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECOND_MS = 1000, MINUTE_MS = 60 * SECOND_MS, HOUR_MS = 60 * MINUTE_MS };

static struct rig rig;
static bool at_intercom;

static void with(struct rig_options options)
{
    at_intercom = options.desk && strcmp(options.desk, "intercom") == 0;
    rig_init(&rig, &options);
}

// ---- what the tests say often ----

static bool is(const struct rig_call *call, const char *method)
{
    return call && str_eq_c(call->method, method);
}

// The probe that is out, or NULL.
static struct rig_call *probe(void)
{
    for (int i = 0; i < rig.call_count; i++)
        if (rig.calls[i].open && (is(&rig.calls[i], "HEAD") || str_ends(rig.calls[i].target, STR("/me"))))
            return &rig.calls[i];
    return NULL;
}

static void answer_rest(void)
{
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, "");
}

// The first message of a conversation at Intercom is there; the next is a reply.
static void through_first_message(void)
{
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
}

// A message whose request is at the desk.
static int64_t at_the_desk(bool intercom, struct rig_options options)
{
    options.desk = intercom ? "intercom" : "webhook";
    with(options);
    if (!intercom)
        return rig_say(&rig, "acme", "c1", "two");
    rig_say(&rig, "acme", "c1", "one");
    through_first_message();
    return rig_say(&rig, "acme", "c1", "two");
}

static struct rig_call *its_request(void)
{
    return rig_open_with(&rig, at_intercom ? "/reply" : "two");
}

static void probe_is(bool well)
{
    rig_answer(&rig, probe(), well ? 200 : 503, "{\"type\":\"admin\",\"id\":\"1\"}");
}

static struct board_desk shown(void)
{
    static char reason[200];
    struct board_desk desk;
    const struct account *account = rig_account(&rig, "acme");
    board_desk_get(rig.board, desk_identity(&account->desk), &desk, reason, sizeof reason);
    account_unref(account);
    return desk;
}

static struct desk_state *desk_of(const char *name)
{
    const struct account *account = rig_account(&rig, name);
    struct desk_state *desk = desk_state_get(rig.dispatcher, account, 0);
    desk_state_unref(rig.dispatcher, desk); // there are lanes of it
    account_unref(account);
    return desk;
}

static void resume_by_hand(void)
{
    const struct account *account = rig_account(&rig, "acme");
    dispatcher_resume_desk(rig.dispatcher, account);
    account_unref(account);
    rig_turn(&rig);
}

static void ignore_job(struct job *job)
{
    (void)job;
}

static void change_by_hand(struct store_outcome *outcome)
{
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = outcome};
    struct job job = {.kind = JOB_CHANGES, .changes = &change, .change_count = 1, .done = ignore_job};
    assert_true(committer_submit(rig.committer, &job));
    dispatcher_tick(rig.dispatcher);
    rig_turn(&rig);
}

// `tributary retry` of a message that waits or is held, `tributary discard` of a pending one. False: it is in flight.
static bool by_hand(int64_t id, bool discard)
{
    struct message *message = rig_message(&rig, id);
    bool may = dispatcher_reload(rig.dispatcher, message, discard) == 0;
    struct store_outcome outcome = {.message_id = id,
                                    .attempts = message->attempts,
                                    .in_doubt = message->in_doubt,
                                    .state = discard ? MESSAGE_DISCARDED : MESSAGE_PENDING,
                                    .reason = discard ? REASON_BY_HAND : REASON_NONE,
                                    .at_us = rig.clock.wall_us};
    message_free(message);
    if (may)
        change_by_hand(&outcome);
    return may;
}

// An account as a reload puts it.
static void reload_account(const char *name, const char *url, const char *token)
{
    const struct account *before = rig_account(&rig, name);
    struct account *now = account_copy(before);
    if (url)
        now->desk.url = arena_str(&now->arena, str_of(url));
    if (token && before->desk.token.p)
        now->desk.token = arena_str(&now->arena, str_of(token));
    else if (token)
        now->desk.secret = arena_str(&now->arena, str_of(token));
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_turn(&rig);
}

static void say_in_lanes(const char *account, int count, const char *text)
{
    char conversation[32];
    for (int i = 0; i < count; i++) {
        snprintf(conversation, sizeof conversation, "%s-%d", account, i);
        rig_say(&rig, account, conversation, text);
    }
}

// ---- the table, status by status ----

enum expected { DELIVERED, SKIPPED, COUNTED, DOWN, PROBED };

static const struct status_row {
    int status;
    enum expected expected;
    bool maybe; // may have been applied
    bool alarm;
    bool webhook_only;
} status_rows[] = {
    {200, DELIVERED, 0, 0, 0}, {202, DELIVERED, 0, 0, 1}, {204, DELIVERED, 0, 0, 0}, {299, DELIVERED, 0, 0, 1},
    {301, COUNTED, 0, 0, 0},   {302, COUNTED, 0, 0, 0},   {303, COUNTED, 0, 0, 0},   {307, COUNTED, 0, 0, 0},
    {308, COUNTED, 0, 0, 0},   {400, SKIPPED, 0, 0, 0},   {401, DOWN, 0, 1, 0},      {402, SKIPPED, 0, 0, 0},
    {403, DOWN, 0, 1, 0},      {404, DOWN, 0, 1, 1},      {405, DOWN, 0, 1, 1},      {406, SKIPPED, 0, 0, 0},
    {408, PROBED, 0, 0, 0},    {409, SKIPPED, 0, 0, 0},   {410, DOWN, 0, 1, 1},      {413, SKIPPED, 0, 0, 0},
    {415, SKIPPED, 0, 0, 0},   {422, SKIPPED, 0, 0, 0},   {429, DOWN, 0, 0, 0},      {451, SKIPPED, 0, 0, 0},
    {500, COUNTED, 1, 0, 0},   {501, COUNTED, 1, 0, 0},   {502, PROBED, 1, 0, 0},    {503, PROBED, 1, 0, 0},
    {504, PROBED, 1, 0, 0},    {505, COUNTED, 1, 0, 0},   {529, COUNTED, 1, 0, 0},   {599, COUNTED, 1, 0, 0},
    {666, COUNTED, 1, 0, 0},
};

static void check_status(bool intercom, const struct status_row *row, bool desk_is_well)
{
    char body[600] = "";
    if (intercom && row->status == 200)
        snprintf(body, sizeof body, intercom_part, 77);
    int64_t id = at_the_desk(intercom, (struct rig_options){0});
    rig_answer(&rig, its_request(), row->status, body);
    assert_int_equal(probe() != NULL, row->expected == PROBED);
    if (row->expected == PROBED)
        probe_is(desk_is_well);
    static const enum message_state states[] = {[DELIVERED] = MESSAGE_DELIVERED, [SKIPPED] = MESSAGE_SKIPPED};
    enum message_state state = row->expected == DELIVERED || row->expected == SKIPPED ? states[row->expected]
                                                                                      : MESSAGE_PENDING;
    int attempts = row->expected == DOWN || (row->expected == PROBED && !desk_is_well) ? 0 : 1;
    bool suspended = row->expected == DOWN || (row->expected == PROBED && !desk_is_well);
    if (rig_state_of(&rig, id) != state || rig_attempts_of(&rig, id) != attempts || shown().suspended != suspended ||
        rig_alarms(&rig, NULL) != row->alarm || rig_is_in_doubt(&rig, id) != (row->maybe && intercom) ||
        rig_is_marked(&rig, id))
        fail_msg("status %d at %s: state %d, attempts %d, suspended %d, alarms %d, in doubt %d", row->status,
                 intercom ? "intercom" : "a webhook", rig_state_of(&rig, id), rig_attempts_of(&rig, id),
                 shown().suspended, rig_alarms(&rig, NULL), rig_is_in_doubt(&rig, id));
    answer_rest();
    rig_done(&rig);
}

static void check_statuses(bool intercom)
{
    for (size_t i = 0; i < sizeof status_rows / sizeof *status_rows; i++) {
        if (intercom && status_rows[i].webhook_only)
            continue;
        check_status(intercom, &status_rows[i], true);
        check_status(intercom, &status_rows[i], false);
    }
}

static void test_each_status_of_the_table_at_a_signed_webhook(void **state)
{
    (void)state;
    check_statuses(false);
}

static void test_each_status_of_the_table_at_intercom(void **state)
{
    (void)state;
    check_statuses(true);
}

static void check_loss(bool intercom, enum http_failure failure, bool written, bool maybe)
{
    bool tells_the_desk = failure == HTTP_NOT_CONNECTED || failure == HTTP_TLS;
    int64_t id = at_the_desk(intercom, (struct rig_options){0});
    rig_lose(&rig, its_request(), failure, written);
    assert_int_equal(probe() != NULL, !tells_the_desk && failure != HTTP_UNREADABLE);
    if (probe())
        probe_is(false);
    assert_int_equal(rig_attempts_of(&rig, id), failure == HTTP_UNREADABLE);
    assert_int_equal(rig_is_in_doubt(&rig, id), maybe && intercom);
    assert_int_equal(shown().suspended, failure != HTTP_UNREADABLE);
    rig_done(&rig);
}

static void test_each_way_to_get_no_answer(void **state)
{
    (void)state;
    for (int intercom = 0; intercom < 2; intercom++) {
        check_loss(intercom, HTTP_NOT_CONNECTED, false, false);
        check_loss(intercom, HTTP_TLS, false, false);
        check_loss(intercom, HTTP_TIMEOUT, false, false);
        check_loss(intercom, HTTP_TIMEOUT, true, true);
        check_loss(intercom, HTTP_DROPPED, false, false);
        check_loss(intercom, HTTP_DROPPED, true, true);
        check_loss(intercom, HTTP_RESENT, true, true);
        check_loss(intercom, HTTP_UNREADABLE, true, true);
    }
}

static void test_a_request_that_was_not_written_whole_was_not_applied(void **state)
{
    (void)state;
    static const int statuses[] = {502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        int64_t id = at_the_desk(true, (struct rig_options){0});
        struct rig_call *call = its_request();
        struct http_response response = {.written = false, .status = statuses[i], .body = STR("")};
        call->open = false;
        call->done(call->arg, &response);
        rig_turn(&rig);
        probe_is(false);
        assert_false(rig_is_in_doubt(&rig, id));
        rig_done(&rig);
    }
}

// What was answered is looked up with the backoff, what was not when it has settled.
static void test_when_a_doubt_is_looked_up(void **state)
{
    (void)state;
    static const struct {
        int status; // 0 = none
        bool settles;
    } rows[] = {{500, false}, {503, false}, {502, true}, {504, true}, {0, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        at_the_desk(true, (struct rig_options){0});
        if (rows[i].status)
            rig_answer(&rig, its_request(), rows[i].status, "");
        else
            rig_lose(&rig, its_request(), HTTP_DROPPED, true);
        if (probe())
            probe_is(true);
        rig_pass(&rig, 2 * SECOND_MS);
        assert_int_equal(is(rig_open(&rig), "GET"), !rows[i].settles);
        rig_pass(&rig, 14 * SECOND_MS);
        assert_true(is(rig_open(&rig), "GET"));
        assert_int_equal(rig_open_count(&rig), 1);
        rig_done(&rig);
    }
}

static void test_the_last_look_up_before_a_skip(void **state)
{
    (void)state;
    for (int found = 0; found < 2; found++) {
        int64_t id = at_the_desk(true, (struct rig_options){0});
        rig_answer(&rig, its_request(), 500, "");
        for (int tries = 1; tries < 5; tries++) {
            rig_pass(&rig, MINUTE_MS);
            rig_answer(&rig, rig_open_with(&rig, "/conversations/499"), 500, "");
        }
        assert_int_equal(rig_attempts_of(&rig, id), 5);
        assert_int_equal(rig_state_of(&rig, id), MESSAGE_PENDING); // there is one look more
        rig_pass(&rig, MINUTE_MS);
        struct rig_call *look = rig_open_with(&rig, "/conversations/499");
        assert_true(is(look, "GET"));
        if (found)
            rig_answer(&rig, look, 200,
                       "{\"type\":\"conversation\",\"id\":\"499\",\"created_at\":1700000000,\"source\":{\"body\":"
                       "\"one\"},\"conversation_parts\":{\"conversation_parts\":[{\"type\":\"conversation_part\","
                       "\"id\":\"81\",\"part_type\":\"comment\",\"body\":\"two\",\"created_at\":1700000000,"
                       "\"author\":{\"type\":\"user\",\"id\":\"6657adde6abd0167d9419d00\"}}],\"total_count\":1}}");
        else
            rig_answer(&rig, look, 500, "");
        assert_int_equal(rig_state_of(&rig, id), found ? MESSAGE_DELIVERED : MESSAGE_SKIPPED);
        assert_int_equal(rig_is_in_doubt(&rig, id), !found); // it could not be told: kept, and shown
        assert_int_equal(rig_open_count(&rig), 0);
        rig_done(&rig);
    }
}

static void test_a_counted_failure_waits_1_s_doubled_and_the_fifth_is_the_last(void **state)
{
    (void)state;
    int64_t id = at_the_desk(false, (struct rig_options){0});
    int64_t pause_us = 1000000;
    for (int i = 1; i < 5; i++, pause_us *= 2) {
        rig_answer(&rig, its_request(), 500, "");
        int64_t since_us = rig.clock.mono_us;
        rig_pass(&rig, MINUTE_MS);
        assert_in_range(its_request()->sent_us - since_us, pause_us / 2, pause_us);
    }
    rig_answer(&rig, its_request(), 500, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_SKIPPED);
    rig_done(&rig);
}

static void test_given_up_is_held_where_the_policy_says_so(void **state)
{
    (void)state;
    int64_t id = at_the_desk(false, (struct rig_options){.on_failure = ON_FAILURE_HOLD});
    int64_t behind = rig_say(&rig, "acme", "c1", "three");
    for (int i = 0; i < 5; i++) {
        rig_answer(&rig, its_request(), 500, "");
        rig_pass(&rig, MINUTE_MS);
    }
    rig_pass(&rig, 24 * HOUR_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_PENDING);
    assert_true(by_hand(id, false));
    rig_answer(&rig, its_request(), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "three"), 200, "");
    assert_int_equal(rig_state_of(&rig, behind), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// ---- pauses, probes, ramp ----

// Seconds until the next request leaves; it is a probe.
static int64_t us_until_probe(void)
{
    int64_t since_us = rig.clock.mono_us;
    assert_null(rig_open(&rig));
    for (int i = 0; i < 3700 && !rig_open(&rig); i++)
        rig_pass(&rig, SECOND_MS);
    assert_non_null(probe());
    return probe()->sent_us - since_us;
}

static void test_pauses_double_to_30_s_and_are_1_s_again_only_after_a_delivery(void **state)
{
    (void)state;
    at_the_desk(false, (struct rig_options){0});
    rig_lose(&rig, its_request(), HTTP_NOT_CONNECTED, false);
    int64_t pause_us = 1000000;
    for (int i = 0; i < 8; i++) {
        assert_in_range(us_until_probe(), pause_us / 2, pause_us);
        probe_is(false);
        pause_us = pause_us * 2 < 30000000 ? pause_us * 2 : 30000000;
    }
    us_until_probe();
    probe_is(true); // but nothing is delivered
    rig_lose(&rig, its_request(), HTTP_NOT_CONNECTED, false);
    assert_in_range(us_until_probe(), 15000000, 30000000);
    probe_is(true);
    rig_answer(&rig, its_request(), 200, "");
    rig_say(&rig, "acme", "c1", "two again");
    rig_lose(&rig, its_request(), HTTP_NOT_CONNECTED, false);
    assert_in_range(us_until_probe(), 500000, 1000000);
    rig_done(&rig);
}

static void test_a_probe_has_5_s_and_the_first_request_leaves_within_36_s(void **state)
{
    (void)state;
    at_the_desk(false, (struct rig_options){0});
    rig_lose(&rig, its_request(), HTTP_NOT_CONNECTED, false);
    for (int i = 0; i < 10; i++) {
        us_until_probe();
        assert_int_equal(probe()->timeout_ms, 5000);
        rig_pass(&rig, 5 * SECOND_MS);
        rig_lose(&rig, probe(), HTTP_TIMEOUT, true);
    }
    assert_true(us_until_probe() <= 31000000); // 30 and the 5 of the probe before are 35 at most
    probe_is(true);
    assert_non_null(its_request());
    answer_rest();
    rig_done(&rig);
}

// A head has the whole timeout as a probe, and the pause runs beside it.
static void test_a_head_as_probe_is_followed_by_the_next_within_36_s(void **state)
{
    (void)state;
    at_the_desk(false, (struct rig_options){.probe = DESK_PROBE_NONE});
    rig_lose(&rig, its_request(), HTTP_TIMEOUT, true);
    int64_t before_us = 0;
    for (int i = 0; i < 10; i++) {
        while (!its_request())
            rig_pass(&rig, SECOND_MS);
        if (i > 6)
            assert_in_range(its_request()->sent_us - before_us, 15000000, 36000000);
        before_us = its_request()->sent_us;
        rig_pass(&rig, 30 * SECOND_MS);
        rig_lose(&rig, its_request(), HTTP_TIMEOUT, true);
    }
    rig_done(&rig);
}

static void test_one_probe_at_a_time_tells_for_all_that_came_to_nothing(void **state)
{
    (void)state;
    for (int well = 0; well < 2; well++) {
        with((struct rig_options){.order = ORDER_CONVERSATION});
        say_in_lanes("acme", 6, "two");
        while (its_request()) {
            rig_lose(&rig, its_request(), HTTP_TIMEOUT, true);
            assert_non_null(probe());
            int probes = 0;
            for (int i = 0; i < rig.call_count; i++)
                probes += is(&rig.calls[i], "HEAD");
            assert_int_equal(probes, 1);
        }
        probe_is(well);
        for (int64_t id = 1; id <= 6; id++)
            assert_int_equal(rig_attempts_of(&rig, id), well);
        rig_done(&rig);
    }
}

static void test_after_an_outage_requests_are_few_at_first(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .concurrency = 256});
    rig_say(&rig, "acme", "first", "first");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    say_in_lanes("acme", 200, "two");
    us_until_probe();
    probe_is(true);
    int most = rig_open_count(&rig);
    assert_in_range(most, 1, 8); // of 201 lanes
    for (int round = 0; round < 3; round++) {
        int open = rig_open_count(&rig);
        for (int i = 0; i < open; i++)
            rig_answer(&rig, rig_open(&rig), 200, "");
        assert_in_range(rig_open_count(&rig), most, 2 * most);
        most = rig_open_count(&rig);
    }
    assert_true(most > 16);
    answer_rest();
    rig_done(&rig);
}

static void test_no_probe_for_a_desk_that_only_inactive_accounts_use(void **state)
{
    (void)state;
    struct rig_options options = {0};
    at_the_desk(false, options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    int64_t other = rig_say(&rig, "beta", "b1", "beta's");
    rig_lose(&rig, its_request(), HTTP_NOT_CONNECTED, false);
    rig_lose(&rig, rig_open_with(&rig, "beta's"), HTTP_NOT_CONNECTED, false);
    rig_set_active(&rig, "acme", false);
    us_until_probe(); // for beta
    probe_is(false);
    rig_set_active(&rig, "beta", false);
    int calls = rig.call_count;
    rig_say(&rig, "beta", "b1", "more");
    rig_pass(&rig, 24 * HOUR_MS);
    assert_int_equal(rig.call_count, calls);
    rig_set_active(&rig, "beta", true);
    answer_rest();
    assert_int_equal(rig_state_of(&rig, other), MESSAGE_DELIVERED);
    rig_done(&rig);
}

// ---- what a desk asks for ----

static void test_retry_after_is_an_hour_at_most(void **state)
{
    (void)state;
    at_the_desk(false, (struct rig_options){0});
    rig_answer_with(&rig, its_request(), 429, "retry-after", "1000000", "");
    assert_true(shown().suspended);
    assert_int_equal(shown().until_us - rig.clock.wall_us, (int64_t)HOUR_MS * 1000);
    rig_pass(&rig, HOUR_MS - SECOND_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2 * SECOND_MS);
    assert_non_null(probe());
    rig_done(&rig);
}

// Five times it is the desk's own word. From then on a probe tells whether it is the message's doing.
static void test_a_503_that_asks_to_wait_is_the_messages_doing_after_five_in_a_row(void **state)
{
    (void)state;
    for (int well = 0; well < 2; well++) {
        with((struct rig_options){.order = ORDER_CONVERSATION});
        int64_t bad = rig_say(&rig, "acme", "c1", "breaks it");
        for (int i = 0; i < 20 && rig_state_of(&rig, bad) == MESSAGE_PENDING; i++) {
            for (int j = 0; j < 40 && !rig_open_with(&rig, "breaks it"); j++) { // when it was asked for, after a probe
                if (probe())
                    rig_answer(&rig, probe(), 200, "");
                rig_pass(&rig, 10 * SECOND_MS);
            }
            assert_non_null(rig_open_with(&rig, "breaks it"));
            rig_answer_with(&rig, rig_open_with(&rig, "breaks it"), 503, "retry-after", "60", "");
            if (i < 5)
                assert_null(probe());
            else if (probe())
                rig_answer(&rig, probe(), well ? 200 : 503, "");
            assert_true(i >= 5 || rig_attempts_of(&rig, bad) == 0);
            assert_true(rig_state_of(&rig, bad) != MESSAGE_PENDING || shown().suspended); // what was asked for holds
        }
        assert_int_equal(rig_state_of(&rig, bad), well ? MESSAGE_SKIPPED : MESSAGE_PENDING);
        assert_int_equal(rig_attempts_of(&rig, bad), well ? 5 : 0);
        rig_done(&rig);
    }
}

static void test_what_a_429_asks_for_holds_though_a_probe_finds_the_desk_well(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    int64_t first = rig_say(&rig, "acme", "c1", "one");
    int64_t second = rig_say(&rig, "acme", "c2", "two");
    rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_TIMEOUT, true);
    assert_non_null(probe());
    rig_answer_with(&rig, rig_open_with(&rig, "two"), 429, "retry-after", "90", "");
    probe_is(true);
    assert_int_equal(rig_attempts_of(&rig, first), 1);
    assert_int_equal(rig_attempts_of(&rig, second), 0);
    assert_true(shown().suspended);
    rig_pass(&rig, 89 * SECOND_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2 * SECOND_MS);
    probe_is(true);
    assert_int_equal(rig_open_count(&rig), 2);
    answer_rest();
    rig_done(&rig);
}

static void test_what_a_429_asks_for_puts_off_a_probe_that_was_to_come_before(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    rig_say(&rig, "acme", "c1", "one");
    rig_say(&rig, "acme", "c2", "two");
    rig_lose(&rig, rig_open_with(&rig, "one"), HTTP_NOT_CONNECTED, false); // a probe in a second
    rig_answer_with(&rig, rig_open_with(&rig, "two"), 429, "retry-after", "90", "");
    assert_true(shown().until_us > rig.clock.wall_us + 89 * 1000000);
    rig_pass(&rig, 89 * SECOND_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2 * SECOND_MS);
    probe_is(true);
    answer_rest();
    rig_done(&rig);
}

static void test_a_person_may_go_on_before_the_time_that_was_asked_for(void **state)
{
    (void)state;
    at_the_desk(false, (struct rig_options){0});
    rig_answer_with(&rig, its_request(), 429, "retry-after", "3600", "");
    resume_by_hand();
    assert_non_null(its_request());
    answer_rest();
    rig_done(&rig);
}

// ---- desks that refuse us ----

static void test_a_refusal_calls_for_help_once_per_suspension(void **state)
{
    (void)state;
    static const int statuses[] = {401, 403, 410};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        int64_t id = at_the_desk(false, (struct rig_options){0});
        rig_answer(&rig, its_request(), statuses[i], "");
        for (int tries = 0; tries < 5; tries++) {
            us_until_probe();
            rig_answer(&rig, probe(), statuses[i], "");
            assert_int_equal(rig_alarms(&rig, "desk_refuses"), 1);
        }
        us_until_probe();
        probe_is(true);
        assert_int_equal(rig_alarms(&rig, NULL), 0);
        rig_answer(&rig, its_request(), 200, "");
        assert_int_equal(rig_attempts_of(&rig, id), 1);
        rig_done(&rig);
    }
}

static void test_a_probe_that_is_refused_calls_for_help(void **state)
{
    (void)state;
    for (int intercom = 0; intercom < 2; intercom++) {
        at_the_desk(intercom, (struct rig_options){0});
        rig_lose(&rig, its_request(), HTTP_NOT_CONNECTED, false);
        us_until_probe();
        assert_int_equal(rig_alarms(&rig, NULL), 0);
        rig_answer(&rig, probe(), 401, "");
        assert_int_equal(rig_alarms(&rig, "desk_refuses"), 1);
        assert_true(str_eq_c(shown().reason, "answered 401")); // in the words that a message's attempt has for it
        rig_done(&rig);
    }
}

static void test_a_desk_that_answers_405_or_404_to_all_keeps_its_alarm_until_a_delivery(void **state)
{
    (void)state;
    static const int statuses[] = {404, 405};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        int64_t id = at_the_desk(false, (struct rig_options){0});
        rig_answer(&rig, its_request(), statuses[i], "");
        us_until_probe();
        rig_answer(&rig, probe(), statuses[i], ""); // it takes no probes: the head of the lane is one
        for (int tries = 0; tries < 20; tries++) {
            assert_int_equal(rig_alarms(&rig, "desk_refuses"), 1);
            assert_true(shown().suspended);
            if (rig_open(&rig))
                rig_answer(&rig, its_request(), statuses[i], "");
            rig_pass(&rig, 30 * SECOND_MS);
        }
        assert_int_equal(rig_attempts_of(&rig, id), 0);
        rig_answer(&rig, its_request(), 200, "");
        assert_int_equal(rig_alarms(&rig, NULL), 0);
        assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
        rig_done(&rig);
    }
}

static void test_a_receiver_that_knows_only_post_is_found_well_by_a_head(void **state)
{
    (void)state;
    static const int statuses[] = {404, 405};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        with((struct rig_options){.order = ORDER_CONVERSATION});
        int64_t first = rig_say(&rig, "acme", "c1", "one");
        int64_t second = rig_say(&rig, "acme", "c2", "two");
        rig_answer(&rig, rig_open_with(&rig, "one"), 503, ""); // the desk, or the message?
        rig_answer(&rig, rig_open_with(&rig, "two"), 429, "");
        rig_answer(&rig, probe(), statuses[i], "");
        assert_int_equal(rig_open_count(&rig), 1); // the head of the other lane tells
        rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
        assert_int_equal(rig_state_of(&rig, second), MESSAGE_DELIVERED);
        assert_int_equal(rig_attempts_of(&rig, first), 1); // so it was the message
        rig_pass(&rig, 2 * SECOND_MS);
        rig_answer(&rig, rig_open_with(&rig, "one"), 200, "");
        rig_done(&rig);
    }
}

static void test_another_token_goes_on_at_once_and_ends_the_alarm(void **state)
{
    (void)state;
    for (int intercom = 0; intercom < 2; intercom++) {
        int64_t id = at_the_desk(intercom, (struct rig_options){0});
        rig_answer(&rig, its_request(), 401, "");
        assert_int_equal(rig_alarms(&rig, NULL), 1);
        reload_account("acme", NULL, intercom ? "another" : "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx");
        assert_int_equal(rig_alarms(&rig, NULL), 0);
        assert_false(shown().suspended);
        assert_int_equal(board_desks_suspended(rig.board), 0);
        char body[600];
        snprintf(body, sizeof body, intercom_part, 77);
        rig_answer(&rig, its_request(), 200, intercom ? body : "");
        assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
        assert_int_equal(rig_attempts_of(&rig, id), 1);
        rig_done(&rig);
    }
}

// ---- desks without a probe ----

static const char *open_text(void)
{
    static const char *const texts[] = {"head-a", "head-b", "head-c"};
    assert_int_equal(rig_open_count(&rig), 1);
    for (int i = 0; i < 3; i++)
        if (rig_open_with(&rig, texts[i]))
            return texts[i];
    return "";
}

static void test_without_a_probe_the_head_of_a_different_lane_is_tried_each_time(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE});
    rig_say(&rig, "acme", "a", "head-a");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    rig_say(&rig, "acme", "b", "head-b");
    rig_say(&rig, "acme", "c", "head-c");
    const char *before = "";
    int seen[3] = {0};
    for (int i = 0; i < 9; i++) {
        rig_pass(&rig, 31 * SECOND_MS);
        const char *now = open_text();
        assert_string_not_equal(now, before);
        before = now;
        seen[now[5] - 'a']++;
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(seen[i], 3);
    for (int64_t id = 1; id <= 3; id++)
        assert_int_equal(rig_attempts_of(&rig, id), 0);
    rig_done(&rig);
}

static void test_without_a_probe_the_accounts_of_a_desk_take_turns(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    rig_say(&rig, "acme", "a", "of acme");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    rig_say(&rig, "acme", "b", "of acme");
    rig_say(&rig, "beta", "c", "of beta");
    int beta = 0;
    for (int i = 0; i < 6; i++) {
        rig_pass(&rig, 31 * SECOND_MS);
        assert_int_equal(rig_open_count(&rig), 1);
        beta += rig_open_with(&rig, "of beta") != NULL;
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    }
    assert_int_equal(beta, 3);
    rig_done(&rig);
}

static void test_without_a_probe_another_lanes_delivery_says_that_it_was_the_message(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE, .concurrency = 1});
    int64_t bad = rig_say(&rig, "acme", "a", "breaks it");
    int64_t behind = rig_say(&rig, "acme", "a", "behind");
    for (int i = 1; i <= 5; i++) {
        rig_say(&rig, "acme", "b", "fine");
        if (!rig_open_with(&rig, "breaks it"))
            answer_rest();
        rig_pass(&rig, MINUTE_MS);
        while (rig_open_with(&rig, "fine"))
            rig_answer(&rig, rig_open_with(&rig, "fine"), 200, "");
        rig_say(&rig, "acme", "b", "fine");
        rig_lose(&rig, rig_open_with(&rig, "breaks it"), HTTP_DROPPED, true);
        assert_int_equal(rig_open_count(&rig), 1);
        rig_answer(&rig, rig_open_with(&rig, "fine"), 200, "");
        assert_int_equal(rig_attempts_of(&rig, bad), i);
    }
    assert_int_equal(rig_state_of(&rig, bad), MESSAGE_SKIPPED);
    answer_rest();
    assert_int_equal(rig_state_of(&rig, behind), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_lone_lane_without_a_probe_counts_nothing_and_calls_for_help_after_10_minutes(void **state)
{
    (void)state;
    for (int retried = 0; retried < 2; retried++) {
        int64_t id = at_the_desk(false, (struct rig_options){.probe = DESK_PROBE_NONE});
        int64_t behind = rig_say(&rig, "acme", "c1", "behind");
        int64_t began_us = rig.clock.mono_us;
        rig_lose(&rig, its_request(), HTTP_DROPPED, true);
        while (rig.clock.mono_us < began_us + INT64_C(599) * 1000000) {
            if (its_request())
                rig_lose(&rig, its_request(), HTTP_DROPPED, true);
            assert_int_equal(rig_alarms(&rig, NULL), 0);
            rig_pass(&rig, SECOND_MS);
        }
        for (int i = 0; i < 32; i++) {
            if (its_request())
                rig_lose(&rig, its_request(), HTTP_DROPPED, true);
            rig_pass(&rig, SECOND_MS);
        }
        assert_int_equal(rig_alarms(&rig, "desk_unproven"), 1);
        assert_int_equal(rig_attempts_of(&rig, id), 0);
        if (retried) { // it goes with the next try
            if (!its_request())
                by_hand(id, false);
            rig_pass(&rig, 31 * SECOND_MS);
            rig_answer(&rig, its_request(), 200, "");
            assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
        } else {
            if (its_request())
                rig_lose(&rig, its_request(), HTTP_DROPPED, true);
            assert_true(by_hand(id, true));
            assert_int_equal(rig_state_of(&rig, id), MESSAGE_DISCARDED);
            rig_pass(&rig, 31 * SECOND_MS);
        }
        rig_answer(&rig, rig_open_with(&rig, "behind"), 200, "");
        assert_int_equal(rig_state_of(&rig, behind), MESSAGE_DELIVERED);
        assert_int_equal(rig_alarms(&rig, NULL), 0);
        rig_done(&rig);
    }
}

static int loads;
static const struct store_ops *counted_ops;

static int load_counted(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    loads++;
    return counted_ops->load_lane(store, lane, after_place, limit, out);
}

static void count_loads(void)
{
    static struct store_ops ops;
    counted_ops = rig.store->ops;
    ops = *counted_ops;
    ops.load_lane = load_counted;
    rig.store->ops = &ops;
    loads = 0;
}

static void test_a_held_head_is_no_probe_and_its_page_is_not_read_again_and_again(void **state)
{
    (void)state;
    with((struct rig_options){
        .order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE, .on_failure = ON_FAILURE_HOLD, .concurrency = 1});
    int64_t held = rig_say(&rig, "acme", "a", "held");
    rig_answer(&rig, rig_open(&rig), 422, "");
    int64_t other = rig_say(&rig, "acme", "b", "other");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    count_loads();
    for (int i = 0; i < 10; i++) {
        rig_pass(&rig, 31 * SECOND_MS);
        rig_lose(&rig, rig_open_with(&rig, "other"), HTTP_NOT_CONNECTED, false);
    }
    assert_true(loads <= 11);
    assert_true(by_hand(other, true)); // only the held one is left: nothing is tried, nothing is read
    rig_pass(&rig, MINUTE_MS);
    loads = 0;
    rig_pass(&rig, 24 * HOUR_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    assert_true(loads <= 1);
    assert_true(by_hand(held, false)); // a person wants it tried
    rig_pass(&rig, 31 * SECOND_MS);
    rig_answer(&rig, rig_open_with(&rig, "held"), 200, "");
    assert_int_equal(rig_state_of(&rig, held), MESSAGE_DELIVERED);
    rig.store->ops = counted_ops;
    rig_done(&rig);
}

static void test_a_head_that_waits_is_no_probe_before_its_time(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE});
    rig_say(&rig, "acme", "a", "waits");
    for (int i = 0; i < 4; i++) {
        rig_pass(&rig, MINUTE_MS);
        rig_answer(&rig, rig_open_with(&rig, "waits"), 500, "");
    }
    int64_t since_us = rig.clock.mono_us; // 4 s at least
    rig_say(&rig, "acme", "b", "other");
    rig_lose(&rig, rig_open_with(&rig, "other"), HTTP_NOT_CONNECTED, false);
    count_loads();
    while (!rig_open_with(&rig, "waits")) {
        rig_pass(&rig, 500);
        if (rig_open_with(&rig, "other"))
            rig_lose(&rig, rig_open_with(&rig, "other"), HTTP_NOT_CONNECTED, false);
    }
    assert_true(rig_open_with(&rig, "waits")->sent_us - since_us >= 4000000);
    assert_true(loads <= 8);
    rig.store->ops = counted_ops;
    rig_done(&rig);
}

static void test_without_a_probe_the_last_lane_is_tried_whether_it_was_in_flight_or_waited(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE});
        int64_t last = rig_say(&rig, "acme", "a", "last");
        for (int i = 0; waits && i < 4; i++) {
            rig_pass(&rig, MINUTE_MS);
            rig_answer(&rig, rig_open_with(&rig, "last"), 500, "");
        }
        int64_t other = rig_say(&rig, "acme", "b", "other");
        rig_lose(&rig, rig_open_with(&rig, "other"), HTTP_NOT_CONNECTED, false);
        assert_true(by_hand(other, true)); // nothing is left to be tried now
        rig_pass(&rig, 2 * SECOND_MS);
        if (!waits)
            rig_lose(&rig, rig_open_with(&rig, "last"), HTTP_NOT_CONNECTED, false);
        rig_pass(&rig, 31 * SECOND_MS);
        rig_answer(&rig, rig_open_with(&rig, "last"), 200, "");
        assert_int_equal(rig_state_of(&rig, last), MESSAGE_DELIVERED);
        rig_done(&rig);
    }
}

static void test_a_stop_while_a_head_is_the_probe_leaves_nothing_parked(void **state)
{
    (void)state;
    for (int answered = 0; answered < 2; answered++) {
        with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE, .concurrency = 1});
        int64_t bad = rig_say(&rig, "acme", "a", "one");
        rig_say(&rig, "acme", "b", "two");
        struct rig_call *call = rig_open_with(&rig, "one");
        struct http_response response = {.failure = HTTP_DROPPED, .written = true, .error = STR("no answer")};
        call->open = false;
        call->done(call->arg, &response); // parked; the page of the other lane is to be read
        if (answered)
            rig_turn(&rig);
        dispatcher_stop(rig.dispatcher);
        rig_turn(&rig);
        if (answered) {
            assert_false(rig.stopped);
            rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
        }
        assert_true(rig.stopped);
        assert_int_equal(rig_attempts_of(&rig, bad), 0);
        rig_done(&rig);
    }
}

// ---- the guard against mass skips ----

static void test_refusals_in_flight_when_the_guard_closes_leave_their_messages_as_they_were(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    say_in_lanes("acme", 8, "bad");
    assert_int_equal(rig_open_count(&rig), 8);
    for (int i = 0; i < 8; i++)
        rig_answer(&rig, rig_open(&rig), i % 2 ? 400 : 422, "");
    int skipped = 0;
    for (int64_t id = 1; id <= 8; id++) {
        skipped += rig_state_of(&rig, id) == MESSAGE_SKIPPED;
        assert_int_equal(rig_attempts_of(&rig, id), rig_state_of(&rig, id) == MESSAGE_SKIPPED);
    }
    assert_int_equal(skipped, 5);
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    assert_true(str_eq_c(shown().reason, "guard"));
    rig_done(&rig);
}

static void close_guard(void)
{
    say_in_lanes("acme", 8, "bad");
    for (int i = 0; i < 8; i++)
        rig_answer(&rig, rig_open(&rig), 400, "");
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
}

static void test_a_closed_guard_tries_a_different_lane_after_10_min_1_h_6_h_and_every_6_h(void **state)
{
    (void)state;
    static const int minutes[] = {10, 60, 360, 360, 360};
    with((struct rig_options){.order = ORDER_CONVERSATION});
    close_guard();
    char before[64] = "";
    for (size_t i = 0; i < sizeof minutes / sizeof *minutes; i++) {
        rig_pass(&rig, (int64_t)minutes[i] * MINUTE_MS - SECOND_MS);
        assert_int_equal(rig_open_count(&rig), 0);
        rig_pass(&rig, 2 * SECOND_MS);
        assert_int_equal(rig_open_count(&rig), 1);
        assert_true(is(rig_open(&rig), "POST"));
        struct str body = rig_open(&rig)->body;
        size_t at = (size_t)((const char *)memmem(body.p, body.n, "acme-", 5) - body.p);
        struct str conversation = str_sub(body, at, at + 6);
        assert_false(str_eq_c(conversation, before));
        snprintf(before, sizeof before, "%.*s", STR_ARG(conversation));
        rig_answer(&rig, rig_open(&rig), i % 2 ? 400 : 503, ""); // neither skips anything
    }
    int pending = 0;
    for (int64_t id = 1; id <= 8; id++)
        pending += rig_state_of(&rig, id) == MESSAGE_PENDING && rig_attempts_of(&rig, id) == 0;
    assert_int_equal(pending, 3);
    rig_done(&rig);
}

static void test_messages_given_up_close_the_guard_too(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    say_in_lanes("acme", 7, "bad");
    for (int i = 0; i < 5; i++) {
        while (rig_open(&rig))
            rig_answer(&rig, rig_open(&rig), 500, "");
        rig_pass(&rig, MINUTE_MS);
    }
    int skipped = 0;
    for (int64_t id = 1; id <= 7; id++) {
        bool is_skipped = rig_state_of(&rig, id) == MESSAGE_SKIPPED;
        skipped += is_skipped;
        assert_int_equal(rig_attempts_of(&rig, id), is_skipped ? 5 : 4);
    }
    assert_int_equal(skipped, 5);
    rig_done(&rig);
}

static void test_a_closed_guard_is_shown_from_the_start_on(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION};
    with(options);
    close_guard();
    rig_crash(&rig, &options);
    board_free(rig.board); // as a new process has it
    rig.board = board_new();
    rig_crash(&rig, &options);
    assert_int_equal(rig.suspended_at_start, 1);
    assert_true(str_eq_c(shown().reason, "guard"));
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    rig_set_active(&rig, "acme", false); // nothing waits, and it stays shut
    rig_pass(&rig, 24 * HOUR_MS);
    assert_true(shown().suspended);
    resume_by_hand();
    assert_false(shown().suspended);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_done(&rig);
}

static void test_a_desk_left_behind_takes_its_guard_and_alarm_away_and_brings_them_back(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    close_guard();
    reload_account("acme", "http://desk.test/elsewhere", NULL);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_int_equal(board_desks_suspended(rig.board), 0);
    assert_int_equal(rig_open_count(&rig), 3);
    while (rig_open(&rig))
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    reload_account("acme", "http://desk.test/acme", NULL);
    assert_true(str_eq_c(shown().reason, "guard"));
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    rig_done(&rig);
}

static void ignore_news(void *arg)
{
    (void)arg;
}

// Whoever listens keeps a list of desks that are suspended: what begins must end.
static void test_a_desk_left_behind_is_told_as_suspended_no_more_and_again_when_it_is_back(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    struct news *news = board_news(rig.board);
    struct news_item item;
    uint64_t missed = 0, at = news_listen(news, ignore_news, NULL);
    int suspended[3] = {0};
    for (int i = 0; i < 3; i++) {
        if (i == 0)
            close_guard();
        else
            reload_account("acme", i == 1 ? "http://desk.test/elsewhere" : "http://desk.test/acme", NULL);
        while (news_read(news, &at, &missed, &item))
            suspended[i] += (item.kind == NEWS_DESK_SUSPENDED) - (item.kind == NEWS_DESK_RESUMED);
    }
    news_unlisten(news);
    assert_int_equal(suspended[0], 1);
    assert_int_equal(suspended[1], -1);
    assert_int_equal(suspended[2], 1);
    while (rig_open(&rig))
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    rig_done(&rig);
}

static void test_a_desk_left_behind_keeps_its_guard_while_a_request_is_in_flight(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    int64_t last = rig_say(&rig, "acme", "last", "last");
    say_in_lanes("acme", 5, "bad");
    for (int i = 0; i < 5; i++)
        rig_answer(&rig, rig_open_with(&rig, "bad"), 400, "");
    rig_say(&rig, "acme", "sixth", "sixth");
    rig_answer(&rig, rig_open_with(&rig, "sixth"), 400, "");
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    reload_account("acme", "http://desk.test/elsewhere", NULL);
    rig_answer(&rig, rig_open_with(&rig, "sixth"), 200, "");
    rig_pass(&rig, 10 * SECOND_MS);
    rig_answer(&rig, rig_open_with(&rig, "last"), 400, ""); // by the desk that was left
    assert_int_equal(rig_state_of(&rig, last), MESSAGE_PENDING);
    rig_answer(&rig, rig_open_with(&rig, "last"), 200, "");
    rig_pass(&rig, 10 * SECOND_MS);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_done(&rig);
}

static void test_a_desk_left_by_an_account_that_is_switched_off_takes_its_alarm_away(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    close_guard();
    rig_set_active(&rig, "acme", false);
    reload_account("acme", "http://desk.test/elsewhere", NULL);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_int_equal(board_desks_suspended(rig.board), 0);
    reload_account("acme", "http://desk.test/acme", NULL);
    rig_set_active(&rig, "acme", true);
    assert_true(str_eq_c(shown().reason, "guard"));
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    rig_done(&rig);
}

static void test_a_desk_of_a_removed_account_takes_its_alarm_away(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    close_guard();
    const struct account *before = rig_account(&rig, "acme");
    struct account *empty = account_copy(before);
    empty->active = false;
    directory_remove(rig.directory, before->id);
    dispatcher_account_changed(rig.dispatcher, before, empty);
    rig_turn(&rig);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_int_equal(board_desks_suspended(rig.board), 0);
    account_unref(before);
    account_unref(empty);
    rig_done(&rig);
}

static void test_the_ceiling_may_change_while_nothing_of_the_desk_waits(void **state)
{
    (void)state;
    with((struct rig_options){.rate_per_min = 1});
    rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 200, "");
    const struct account *before = rig_account(&rig, "acme");
    struct account *now = account_copy(before);
    now->desk.rate_per_min = 60;
    directory_put(rig.directory, account_ref(now));
    dispatcher_account_changed(rig.dispatcher, before, now);
    account_unref(before);
    account_unref(now);
    rig_say(&rig, "acme", "c1", "two");
    rig_pass(&rig, 2 * SECOND_MS);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static void test_a_guard_that_closes_when_the_account_has_left_the_desk_calls_nobody_for_long(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION});
    say_in_lanes("acme", 6, "bad");
    for (int i = 0; i < 5; i++)
        rig_answer(&rig, rig_open(&rig), 400, "");
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    struct rig_call *last = rig_open(&rig);
    reload_account("acme", "http://desk.test/elsewhere", NULL);
    rig_answer(&rig, last, 400, ""); // the sixth, of the desk that was left
    rig_pass(&rig, 31 * SECOND_MS);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_int_equal(board_desks_suspended(rig.board), 0);
    while (rig_open(&rig))
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    reload_account("acme", "http://desk.test/acme", NULL);
    assert_int_equal(rig_alarms(&rig, "skip_guard"), 1);
    rig_done(&rig);
}

static void test_the_ceiling_of_an_account_that_goes_is_not_left_to_others(void **state)
{
    (void)state;
    with((struct rig_options){0});
    rig_add_account(&rig, "beta", &(struct rig_options){.rate_per_min = 1}, "http://desk.test/acme");
    for (int i = 0; i < 2; i++)
        rig_say(&rig, "acme", "c1", "one");
    rig_set_active(&rig, "beta", false);
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_answer(&rig, rig_open(&rig), 200, "");
    rig_done(&rig);
}

// ---- deactivation, stop ----

static void test_what_ends_after_a_deactivation_is_recorded_and_not_counted(void **state)
{
    (void)state;
    static const struct {
        int status; // 0 = none
        bool maybe;
    } rows[] = {{500, true},  {302, false}, {400, false}, {401, false},
                {429, false}, {502, true},  {503, true},  {0, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (int stops = 0; stops < 2; stops++) {
            int64_t id = at_the_desk(true, (struct rig_options){0});
            if (stops)
                dispatcher_stop(rig.dispatcher);
            else
                rig_set_active(&rig, "acme", false);
            if (rows[i].status)
                rig_answer(&rig, its_request(), rows[i].status, "");
            else
                rig_lose(&rig, its_request(), HTTP_DROPPED, true);
            if (probe())
                probe_is(true);
            assert_int_equal(rig_state_of(&rig, id), MESSAGE_PENDING);
            assert_int_equal(rig_attempts_of(&rig, id), 0);
            assert_int_equal(rig_is_in_doubt(&rig, id), rows[i].maybe);
            assert_false(rig_is_marked(&rig, id));
            rig_done(&rig);
        }
    }
}

static void test_a_parked_attempt_of_an_account_deactivated_meanwhile_is_not_counted(void **state)
{
    (void)state;
    for (int intercom = 0; intercom < 2; intercom++) {
        for (int stops = 0; stops < 2; stops++) {
            int64_t id = at_the_desk(intercom, (struct rig_options){0});
            rig_lose(&rig, its_request(), HTTP_DROPPED, true);
            if (stops)
                dispatcher_stop(rig.dispatcher);
            else
                rig_set_active(&rig, "acme", false);
            probe_is(true);
            assert_int_equal(rig_attempts_of(&rig, id), 0);
            assert_int_equal(rig_is_in_doubt(&rig, id), intercom);
            rig_done(&rig);
        }
    }
}

static void test_what_a_cut_attempt_learned_is_kept(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    int64_t id = rig_say(&rig, "acme", "c1", "one");
    rig_set_active(&rig, "acme", false);
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    assert_int_equal(rig_open_count(&rig), 0); // no other request starts
    assert_false(rig_is_marked(&rig, id));
    assert_false(rig_is_in_doubt(&rig, id));
    assert_int_equal(rig_attempts_of(&rig, id), 0);
    rig_set_active(&rig, "acme", true);
    assert_null(rig_open_with(&rig, "/contacts")); // it knows the contact
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_activation_goes_on_at_once_but_a_doubt_settles(void **state)
{
    (void)state;
    int64_t id = at_the_desk(false, (struct rig_options){0});
    for (int i = 0; i < 4; i++) {
        rig_answer(&rig, its_request(), 500, "");
        if (i < 3)
            rig_pass(&rig, 8 * SECOND_MS);
    }
    rig_set_active(&rig, "acme", false);
    assert_int_equal(rig.armed_us, 0); // no timer is left
    rig_set_active(&rig, "acme", true);
    assert_non_null(its_request()); // its backoff had 4 s to go
    rig_answer(&rig, its_request(), 200, "");
    assert_int_equal(rig_attempts_of(&rig, id), 5); // they survived
    rig_done(&rig);

    at_the_desk(true, (struct rig_options){0});
    rig_set_active(&rig, "acme", false);
    rig_lose(&rig, its_request(), HTTP_DROPPED, true);
    if (probe())
        probe_is(true);
    rig_pass(&rig, 5 * SECOND_MS);
    rig_set_active(&rig, "acme", true);
    rig_pass(&rig, 9 * SECOND_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2 * SECOND_MS);
    assert_true(is(rig_open(&rig), "GET"));
    rig_done(&rig);
}

// ---- clocks that are set ----

static void set_clock(int64_t ms)
{
    rig.clock.wall_us += ms * 1000;
}

static void test_a_clock_set_back_stretches_no_wait(void **state)
{
    (void)state;
    for (int outage = 0; outage < 2; outage++) { // with an outage its page is read anew
        with((struct rig_options){.order = ORDER_CONVERSATION});
        int64_t id = rig_say(&rig, "acme", "c1", "two");
        rig_answer(&rig, its_request(), 500, "");
        set_clock(-HOUR_MS);
        if (outage) {
            rig_say(&rig, "acme", "c2", "other");
            rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
            us_until_probe();
            probe_is(true);
            rig_answer(&rig, rig_open_with(&rig, "other"), 200, "");
        }
        rig_pass(&rig, 2 * SECOND_MS);
        rig_answer(&rig, its_request(), 200, "");
        assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
        rig_done(&rig);
    }
}

static void test_the_ceiling_holds_between_messages_that_come_one_by_one(void **state)
{
    (void)state;
    with((struct rig_options){.rate_per_min = 60});
    rig_say(&rig, "acme", "c1", "one");
    rig_answer(&rig, rig_open(&rig), 200, ""); // nothing of the desk is in memory now
    rig_say(&rig, "acme", "c1", "two");
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, SECOND_MS + 1);
    rig_answer(&rig, rig_open_with(&rig, "two"), 200, "");
    rig_done(&rig);
}

static void test_a_clock_set_back_stretches_no_pause_of_a_desk(void **state)
{
    (void)state;
    at_the_desk(false, (struct rig_options){.rate_per_min = 60});
    rig_answer_with(&rig, its_request(), 429, "retry-after", "30", "");
    set_clock(-HOUR_MS);
    rig_pass(&rig, 31 * SECOND_MS);
    probe_is(true);
    rig_pass(&rig, 2 * SECOND_MS); // the ceiling's pace
    rig_answer(&rig, its_request(), 200, "");
    rig_done(&rig);
}

static void test_a_clock_set_back_stretches_no_window_of_a_desks_rate(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom"});
    rig_say(&rig, "acme", "c1", "one");
    char reset[32];
    int64_t reset_s = rig.clock.wall_us / 1000000 + 10;
    snprintf(reset, sizeof reset, "%lld", (long long)reset_s);
    struct http_header headers[] = {{STR("x-ratelimit-remaining"), STR("0")},
                                    {STR("x-ratelimit-reset"), str_of(reset)}};
    struct http_response response = {.written = true, .status = 200, .headers = headers, .header_count = 2};
    response.body = str_of(intercom_contact);
    struct rig_call *call = rig_open_with(&rig, "/contacts");
    call->open = false;
    call->done(call->arg, &response);
    rig_turn(&rig);
    rig_answer(&rig, rig_open_with(&rig, "/conversations"), 200, intercom_created);
    rig_say(&rig, "acme", "c1", "two");
    set_clock(-HOUR_MS);
    rig_pass(&rig, 9 * SECOND_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2 * SECOND_MS);
    assert_non_null(its_request());
    rig_done(&rig);
}

static void test_what_a_desk_told_of_its_rate_holds_though_nothing_waited_for_it(void **state)
{
    (void)state;
    with((struct rig_options){.desk = "intercom", .order = ORDER_CONVERSATION});
    rig_say(&rig, "acme", "c1", "one");
    char reset[32];
    snprintf(reset, sizeof reset, "%" PRId64, rig.clock.wall_us / 1000000 + 10);
    struct http_header headers[] = {{STR("x-ratelimit-remaining"), STR("1")},
                                    {STR("x-ratelimit-reset"), str_of(reset)}};
    struct http_response response = {.written = true, .status = 200, .headers = headers, .header_count = 2};
    rig_answer(&rig, rig_open_with(&rig, "/contacts"), 200, intercom_contact);
    response.body = str_of(intercom_created);
    struct rig_call *call = rig_open_with(&rig, "/conversations");
    call->open = false;
    call->done(call->arg, &response);
    rig_turn(&rig);
    rig_say(&rig, "acme", "c2", "two");
    rig_say(&rig, "acme", "c3", "three");
    assert_int_equal(rig_open_count(&rig), 1);
    rig_pass(&rig, 11 * SECOND_MS);
    while (rig_open(&rig))
        rig_answer(&rig, rig_open(&rig), 200, rig_open_with(&rig, "/contacts") ? intercom_contact : intercom_created);
    rig_done(&rig);
}

static void test_a_clock_set_back_before_a_restart_stretches_no_wait_beyond_a_settle_time(void **state)
{
    (void)state;
    struct rig_options options = {0};
    int64_t id = at_the_desk(false, options);
    rig_answer(&rig, its_request(), 500, "");
    set_clock(-(int64_t)24 * HOUR_MS);
    rig_crash(&rig, &options);
    rig_pass(&rig, 15 * SECOND_MS); // longer than a wait can be: it settles once
    rig_answer(&rig, its_request(), 200, "");
    assert_int_equal(rig_state_of(&rig, id), MESSAGE_DELIVERED);
    rig_done(&rig);
}

static void test_a_clock_set_forward_skips_nothing_and_hurries_no_doubt(void **state)
{
    (void)state;
    int64_t id = at_the_desk(true, (struct rig_options){.order = ORDER_CONVERSATION});
    rig_lose(&rig, its_request(), HTTP_DROPPED, true);
    probe_is(true);
    set_clock(HOUR_MS);
    rig_say(&rig, "acme", "c2", "other"); // an outage: all pages are read anew
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    int64_t passed_us = us_until_probe();
    probe_is(true);
    through_first_message();
    rig_pass(&rig, 14 * SECOND_MS - (passed_us / 1000 + SECOND_MS));
    assert_int_equal(rig_open_count(&rig), 0); // 15 s are 15 s
    rig_pass(&rig, 2 * SECOND_MS);
    assert_true(is(rig_open(&rig), "GET"));
    assert_int_equal(rig_attempts_of(&rig, id), 1);
    rig_done(&rig);
}

static void test_a_doubt_settles_over_a_switch_whatever_the_clock_does(void **state)
{
    (void)state;
    for (int in_flight = 0; in_flight < 2; in_flight++) {
        at_the_desk(true, (struct rig_options){0});
        if (in_flight)
            rig_set_active(&rig, "acme", false);
        rig_lose(&rig, its_request(), HTTP_DROPPED, true);
        if (probe())
            probe_is(true);
        rig_set_active(&rig, "acme", false);
        set_clock(HOUR_MS);
        rig_pass(&rig, 5 * SECOND_MS);
        rig_set_active(&rig, "acme", true);
        rig_pass(&rig, 9 * SECOND_MS);
        assert_int_equal(rig_open_count(&rig), 0); // 15 s are 15 s
        rig_pass(&rig, 2 * SECOND_MS);
        assert_true(is(rig_open(&rig), "GET"));
        rig_done(&rig);
    }
}

static void test_a_doubt_of_an_earlier_process_settles_whatever_the_clock_does(void **state)
{
    (void)state;
    struct rig_options options = {.desk = "intercom"};
    at_the_desk(true, options);
    rig_lose(&rig, its_request(), HTTP_DROPPED, true);
    probe_is(true);
    set_clock(HOUR_MS); // while nobody looks
    rig_crash(&rig, &options);
    rig_pass(&rig, 14 * SECOND_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    rig_pass(&rig, 2 * SECOND_MS);
    assert_true(is(rig_open(&rig), "GET"));
    rig_done(&rig);
}

static void test_marks_of_an_earlier_process_settle_whatever_the_clock_does(void **state)
{
    (void)state;
    for (int back = 0; back < 2; back++) {
        struct rig_options options = {.desk = "intercom"};
        at_the_desk(true, options);
        rig_set_active(&rig, "acme", false);
        rig_crash(&rig, &options);
        set_clock(back ? -HOUR_MS : HOUR_MS);
        rig_set_active(&rig, "acme", true); // its page is read now
        rig_pass(&rig, 14 * SECOND_MS);
        assert_int_equal(rig_open_count(&rig), 0);
        rig_pass(&rig, 2 * SECOND_MS);
        assert_true(is(rig_open(&rig), "GET"));
        rig_done(&rig);
    }
}

// ---- damage, trouble, start ----

static int load_damaged(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    int err = counted_ops->load_lane(store, lane, after_place, limit, out);
    for (size_t i = 0; !err && i < out->count; i++)
        out->entries[i].message->reason = REASON_DAMAGED;
    return err;
}

enum { DAMAGED = 10000 };

static void *answer_one(void *arg)
{
    (void)arg;
    rig_answer(&rig, rig_open(&rig), 200, "");
    return NULL;
}

// On a stack that holds no call for each of them.
static void test_many_damaged_rows_are_set_aside_in_turns_not_in_depth(void **state)
{
    (void)state;
    static struct store_ops ops;
    struct rig_options options = {.order = ORDER_CONVERSATION, .concurrency = 1, .memory_messages = 2 * DAMAGED};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://other.test/beta");
    rig_say(&rig, "beta", "b1", "it has the one slot");
    rig_set_active(&rig, "acme", false);
    say_in_lanes("acme", DAMAGED, "x");
    counted_ops = rig.store->ops;
    ops = *counted_ops;
    ops.load_lane = load_damaged;
    rig.store->ops = &ops;
    rig_set_active(&rig, "acme", true);
    assert_int_equal(rig.call_count, 1);
    pthread_t thread;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    assert_int_equal(pthread_create(&thread, &attr, answer_one, NULL), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attr);
    rig.store->ops = counted_ops;
    struct store_totals totals;
    assert_int_equal(rig.reader->ops->totals(rig.reader, &totals), 0);
    assert_int_equal(totals.skipped, DAMAGED);
    assert_int_equal(rig.call_count, 1);
    struct message *last = rig_message(&rig, 1 + DAMAGED);
    assert_int_equal(last->reason, REASON_DAMAGED);
    message_free(last);
    rig_done(&rig);
}

static const char *damaged_text;

static int load_one_damaged(struct store *store, int64_t lane, int64_t after_place, size_t limit, struct lane_page *out)
{
    int err = counted_ops->load_lane(store, lane, after_place, limit, out);
    for (size_t i = 0; !err && i < out->count; i++)
        if (str_eq_c(out->entries[i].message->text, damaged_text))
            out->entries[i].message->reason = REASON_DAMAGED;
    return err;
}

// It is sent nowhere: a desk that is down stays so, and another head is tried in its place.
static void test_a_damaged_head_is_reported_and_is_no_probe(void **state)
{
    (void)state;
    static struct store_ops ops;
    with((struct rig_options){.order = ORDER_CONVERSATION, .probe = DESK_PROBE_NONE});
    counted_ops = rig.store->ops;
    ops = *counted_ops;
    ops.load_lane = load_one_damaged;
    damaged_text = "damaged";
    rig.store->ops = &ops;
    rig_say(&rig, "acme", "a", "head-a");
    rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    int64_t damaged = rig_say(&rig, "acme", "b", "damaged");
    int64_t behind = rig_say(&rig, "acme", "b", "behind");
    for (int i = 0; i < 6 && rig_state_of(&rig, damaged) == MESSAGE_PENDING; i++) {
        rig_pass(&rig, 31 * SECOND_MS);
        assert_true(shown().suspended);
        rig_lose(&rig, rig_open(&rig), HTTP_NOT_CONNECTED, false);
    }
    assert_int_equal(rig_state_of(&rig, damaged), MESSAGE_SKIPPED);
    assert_int_equal(rig_alarms(&rig, "store_damaged"), 1);
    assert_true(shown().suspended);
    for (int i = 0; i < 6 && rig_state_of(&rig, behind) == MESSAGE_PENDING; i++) {
        rig_pass(&rig, 31 * SECOND_MS);
        while (rig_open_count(&rig))
            rig_answer(&rig, rig_open(&rig), 200, "");
    }
    assert_int_equal(rig_state_of(&rig, behind), MESSAGE_DELIVERED);
    rig.store->ops = counted_ops;
    rig_done(&rig);
}

static void test_a_lane_that_brought_the_process_down_twice_is_held_for_a_person(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION};
    with(options);
    rig_set_active(&rig, "acme", false);
    int64_t bad = rig_say(&rig, "acme", "c1", "bad");
    int64_t good = rig_say(&rig, "acme", "c2", "good");
    struct message *message = rig_message(&rig, bad);
    options.hold_lane = message->lane;
    rig_crash(&rig, &options);
    rig_set_active(&rig, "acme", true);
    rig_answer(&rig, rig_open_with(&rig, "good"), 200, "");
    assert_int_equal(rig_state_of(&rig, good), MESSAGE_DELIVERED);
    assert_int_equal(rig_alarms(&rig, "lane_held"), 1);
    rig_say(&rig, "acme", "c1", "behind");
    rig_pass(&rig, 24 * HOUR_MS);
    assert_int_equal(rig_open_count(&rig), 0);
    dispatcher_trust_lane(rig.dispatcher, message->lane); // `tributary retry`
    rig_turn(&rig);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    assert_true(rig.trouble_over);
    assert_int_equal(rig.troubled_lane, message->lane);
    rig_answer(&rig, rig_open_with(&rig, "bad"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "behind"), 200, "");
    message_free(message);
    rig_done(&rig);
}

static void test_a_held_lane_goes_on_when_one_of_its_messages_is_discarded(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .hold_lane = 5}; // of the first conversation
    with(options);
    int64_t bad = rig_say(&rig, "acme", "c1", "bad");
    struct message *message = rig_message(&rig, bad);
    assert_int_equal(message->lane, options.hold_lane);
    message_free(message);
    rig_say(&rig, "acme", "c1", "behind");
    assert_int_equal(rig_open_count(&rig), 0);
    assert_true(by_hand(bad, true));
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_answer(&rig, rig_open_with(&rig, "behind"), 200, "");
    rig_done(&rig);
}

static void test_the_alarm_of_a_held_lane_ends_when_a_person_lets_it_go_while_its_account_is_inactive(void **state)
{
    (void)state;
    with((struct rig_options){.order = ORDER_CONVERSATION, .hold_lane = 5}); // of the first conversation
    rig_say(&rig, "acme", "c1", "bad");
    assert_int_equal(rig_alarms(&rig, "lane_held"), 1);
    rig_set_active(&rig, "acme", false);
    dispatcher_trust_lane(rig.dispatcher, 5);
    rig_turn(&rig);
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_set_active(&rig, "acme", true);
    rig_answer(&rig, rig_open_with(&rig, "bad"), 200, "");
    assert_int_equal(rig_alarms(&rig, NULL), 0);
    rig_done(&rig);
}

static void activate_at_the_next_start(const char *name)
{
    const struct account *off = rig_account(&rig, name);
    struct account *on = account_copy(off);
    on->active = true;
    directory_put(rig.directory, on);
    account_unref(off);
}

static void test_fresh_messages_of_others_do_not_wait_for_a_backlog_that_fills_the_memory_at_the_start(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://other.test/beta");
    rig_set_active(&rig, "acme", false);
    say_in_lanes("acme", 1500, "backlog"); // the rig holds 1000
    rig_set_active(&rig, "beta", false);
    int64_t old = rig_say(&rig, "beta", "b1", "old");
    activate_at_the_next_start("acme");
    activate_at_the_next_start("beta");
    rig_crash(&rig, &options);
    assert_false(dispatcher_has_room(rig.dispatcher));
    int64_t fresh = rig_say(&rig, "beta", "b2", "fresh");
    int64_t later = rig_say(&rig, "beta", "b1", "later"); // in a lane that has old ones: those first
    rig_answer(&rig, rig_open_with(&rig, "fresh"), 200, "");
    assert_int_equal(rig_state_of(&rig, fresh), MESSAGE_DELIVERED);
    rig_answer(&rig, rig_open_with(&rig, "old"), 200, "");
    rig_answer(&rig, rig_open_with(&rig, "later"), 200, "");
    assert_int_equal(rig_state_of(&rig, old), MESSAGE_DELIVERED);
    assert_int_equal(rig_state_of(&rig, later), MESSAGE_DELIVERED);
    answer_rest();
    rig_done(&rig);
}

// ---- the governor ----

static void test_accounts_of_one_desk_share_its_governor(void **state)
{
    (void)state;
    struct rig_options options = {.order = ORDER_CONVERSATION, .rate_per_min = 60, .concurrency = 64};
    with(options);
    rig_add_account(&rig, "beta", &options, "http://desk.test/acme");
    say_in_lanes("acme", 5, "acme's");
    say_in_lanes("beta", 5, "beta's");
    assert_ptr_equal(desk_of("acme"), desk_of("beta"));
    for (int i = 0; i < 10; i++) { // one a second for both together, in turns
        assert_in_range(rig.call_count, i ? i - 1 : 0, i + 2);
        rig_pass(&rig, SECOND_MS);
    }
    int of_acme = 0;
    for (int i = 0; i < 8; i++)
        of_acme += memmem(rig.calls[i].body.p, rig.calls[i].body.n, "acme's", 6) != NULL;
    assert_in_range(of_acme, 3, 5);
    answer_rest();
    rig_pass(&rig, 10 * SECOND_MS);
    answer_rest();
    rig_done(&rig);
}

static void test_successes_widen_and_429_and_failures_narrow_what_may_be_in_flight(void **state)
{
    (void)state;
    static const int bad[] = {429, 500, 503};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        with((struct rig_options){.order = ORDER_CONVERSATION, .concurrency = 64});
        say_in_lanes("acme", 60, "x");
        int window = desk_of("acme")->governor.window;
        assert_int_equal(rig_open_count(&rig), window);
        for (int answered = 0; answered < 8; answered++)
            rig_answer(&rig, rig_open(&rig), 200, "");
        assert_true(rig_open_count(&rig) > window);
        window = desk_of("acme")->governor.window;
        rig_answer(&rig, rig_open(&rig), bad[i], "");
        assert_int_equal(desk_of("acme")->governor.window, window / 2);
        rig_done(&rig);
    }
}

// ---- what is said of it ----

static int log_was, log_file;

static void begin_log(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s/failures.log", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    log_file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(log_file >= 0);
    log_was = dup(STDERR_FILENO);
    dup2(log_file, STDERR_FILENO);
}

static bool end_log(const char *event)
{
    static char text[65536];
    dup2(log_was, STDERR_FILENO);
    close(log_was);
    ssize_t n = pread(log_file, text, sizeof text - 1, 0);
    close(log_file);
    text[n > 0 ? n : 0] = 0;
    return strstr(text, event) != NULL;
}

static void test_a_discard_that_takes_effect_after_a_failure_is_logged_as_such(void **state)
{
    (void)state;
    for (int skipped = 0; skipped < 2; skipped++) {
        int64_t id = at_the_desk(false, (struct rig_options){0});
        begin_log();
        if (!skipped)
            assert_false(by_hand(id, true)); // it is in flight
        rig_answer(&rig, its_request(), 422, "");
        assert_int_equal(end_log(skipped ? "\"message_skipped\"" : "\"message_discarded\""), true);
        assert_int_equal(atomic_load(&rig.tally->messages[TALLY_SKIPPED][0][0]) +
                             atomic_load(&rig.tally->messages[TALLY_SKIPPED][1][0]),
                         skipped);
        assert_int_equal(rig_state_of(&rig, id), skipped ? MESSAGE_SKIPPED : MESSAGE_DISCARDED);
        rig_done(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_status_of_the_table_at_a_signed_webhook),
        cmocka_unit_test(test_each_status_of_the_table_at_intercom),
        cmocka_unit_test(test_each_way_to_get_no_answer),
        cmocka_unit_test(test_a_request_that_was_not_written_whole_was_not_applied),
        cmocka_unit_test(test_when_a_doubt_is_looked_up),
        cmocka_unit_test(test_the_last_look_up_before_a_skip),
        cmocka_unit_test(test_a_counted_failure_waits_1_s_doubled_and_the_fifth_is_the_last),
        cmocka_unit_test(test_given_up_is_held_where_the_policy_says_so),
        cmocka_unit_test(test_pauses_double_to_30_s_and_are_1_s_again_only_after_a_delivery),
        cmocka_unit_test(test_a_probe_has_5_s_and_the_first_request_leaves_within_36_s),
        cmocka_unit_test(test_a_head_as_probe_is_followed_by_the_next_within_36_s),
        cmocka_unit_test(test_one_probe_at_a_time_tells_for_all_that_came_to_nothing),
        cmocka_unit_test(test_after_an_outage_requests_are_few_at_first),
        cmocka_unit_test(test_no_probe_for_a_desk_that_only_inactive_accounts_use),
        cmocka_unit_test(test_retry_after_is_an_hour_at_most),
        cmocka_unit_test(test_a_503_that_asks_to_wait_is_the_messages_doing_after_five_in_a_row),
        cmocka_unit_test(test_what_a_429_asks_for_holds_though_a_probe_finds_the_desk_well),
        cmocka_unit_test(test_what_a_429_asks_for_puts_off_a_probe_that_was_to_come_before),
        cmocka_unit_test(test_a_person_may_go_on_before_the_time_that_was_asked_for),
        cmocka_unit_test(test_a_refusal_calls_for_help_once_per_suspension),
        cmocka_unit_test(test_a_probe_that_is_refused_calls_for_help),
        cmocka_unit_test(test_a_desk_that_answers_405_or_404_to_all_keeps_its_alarm_until_a_delivery),
        cmocka_unit_test(test_a_receiver_that_knows_only_post_is_found_well_by_a_head),
        cmocka_unit_test(test_another_token_goes_on_at_once_and_ends_the_alarm),
        cmocka_unit_test(test_without_a_probe_the_head_of_a_different_lane_is_tried_each_time),
        cmocka_unit_test(test_without_a_probe_the_accounts_of_a_desk_take_turns),
        cmocka_unit_test(test_without_a_probe_another_lanes_delivery_says_that_it_was_the_message),
        cmocka_unit_test(test_a_lone_lane_without_a_probe_counts_nothing_and_calls_for_help_after_10_minutes),
        cmocka_unit_test(test_a_held_head_is_no_probe_and_its_page_is_not_read_again_and_again),
        cmocka_unit_test(test_a_head_that_waits_is_no_probe_before_its_time),
        cmocka_unit_test(test_without_a_probe_the_last_lane_is_tried_whether_it_was_in_flight_or_waited),
        cmocka_unit_test(test_a_stop_while_a_head_is_the_probe_leaves_nothing_parked),
        cmocka_unit_test(test_refusals_in_flight_when_the_guard_closes_leave_their_messages_as_they_were),
        cmocka_unit_test(test_a_closed_guard_tries_a_different_lane_after_10_min_1_h_6_h_and_every_6_h),
        cmocka_unit_test(test_messages_given_up_close_the_guard_too),
        cmocka_unit_test(test_a_closed_guard_is_shown_from_the_start_on),
        cmocka_unit_test(test_a_desk_left_behind_takes_its_guard_and_alarm_away_and_brings_them_back),
        cmocka_unit_test(test_a_guard_that_closes_when_the_account_has_left_the_desk_calls_nobody_for_long),
        cmocka_unit_test(test_a_desk_left_behind_is_told_as_suspended_no_more_and_again_when_it_is_back),
        cmocka_unit_test(test_a_desk_left_behind_keeps_its_guard_while_a_request_is_in_flight),
        cmocka_unit_test(test_a_desk_left_by_an_account_that_is_switched_off_takes_its_alarm_away),
        cmocka_unit_test(test_a_desk_of_a_removed_account_takes_its_alarm_away),
        cmocka_unit_test(test_the_ceiling_may_change_while_nothing_of_the_desk_waits),
        cmocka_unit_test(test_the_ceiling_of_an_account_that_goes_is_not_left_to_others),
        cmocka_unit_test(test_what_ends_after_a_deactivation_is_recorded_and_not_counted),
        cmocka_unit_test(test_a_parked_attempt_of_an_account_deactivated_meanwhile_is_not_counted),
        cmocka_unit_test(test_what_a_cut_attempt_learned_is_kept),
        cmocka_unit_test(test_activation_goes_on_at_once_but_a_doubt_settles),
        cmocka_unit_test(test_a_clock_set_back_stretches_no_wait),
        cmocka_unit_test(test_the_ceiling_holds_between_messages_that_come_one_by_one),
        cmocka_unit_test(test_a_clock_set_back_stretches_no_pause_of_a_desk),
        cmocka_unit_test(test_a_clock_set_back_stretches_no_window_of_a_desks_rate),
        cmocka_unit_test(test_what_a_desk_told_of_its_rate_holds_though_nothing_waited_for_it),
        cmocka_unit_test(test_a_clock_set_back_before_a_restart_stretches_no_wait_beyond_a_settle_time),
        cmocka_unit_test(test_a_clock_set_forward_skips_nothing_and_hurries_no_doubt),
        cmocka_unit_test(test_a_doubt_settles_over_a_switch_whatever_the_clock_does),
        cmocka_unit_test(test_a_doubt_of_an_earlier_process_settles_whatever_the_clock_does),
        cmocka_unit_test(test_marks_of_an_earlier_process_settle_whatever_the_clock_does),
        cmocka_unit_test(test_many_damaged_rows_are_set_aside_in_turns_not_in_depth),
        cmocka_unit_test(test_a_damaged_head_is_reported_and_is_no_probe),
        cmocka_unit_test(test_a_lane_that_brought_the_process_down_twice_is_held_for_a_person),
        cmocka_unit_test(test_a_held_lane_goes_on_when_one_of_its_messages_is_discarded),
        cmocka_unit_test(test_the_alarm_of_a_held_lane_ends_when_a_person_lets_it_go_while_its_account_is_inactive),
        cmocka_unit_test(test_fresh_messages_of_others_do_not_wait_for_a_backlog_that_fills_the_memory_at_the_start),
        cmocka_unit_test(test_accounts_of_one_desk_share_its_governor),
        cmocka_unit_test(test_successes_widen_and_429_and_failures_narrow_what_may_be_in_flight),
        cmocka_unit_test(test_a_discard_that_takes_effect_after_a_failure_is_logged_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
