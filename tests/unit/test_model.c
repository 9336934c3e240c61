// The model layer: the lane's table, the governor, HTTP as data, messages and accounts.
#include "model/account.h"
#include "model/backoff.h"
#include "model/governor.h"
#include "model/http.h"
#include "model/lane.h"
#include "model/message.h"
#include "model/skip_guard.h"
#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

static void test_a_lane_sends_only_what_is_marked_or_ready(void **state)
{
    (void)state;
    for (int from = 0; from < LANE_STATES; from++) {
        bool may = from == LANE_READY || from == LANE_MARKING || from == LANE_SENDING;
        assert_int_equal(lane_may_go((enum lane_state)from, LANE_SENDING), may);
    }
}

static void test_a_lane_in_flight_is_never_loaded_beside(void **state)
{
    (void)state;
    assert_false(lane_may_go(LANE_WAITING, LANE_SENDING)); // only through ready
    assert_false(lane_may_go(LANE_SUSPENDED, LANE_READY)); // only through loading: it holds no messages
    assert_false(lane_may_go(LANE_STOPPED, LANE_READY));
    assert_false(lane_may_go(LANE_IDLE, LANE_SENDING));
    for (int from = 0; from < LANE_STATES; from++) // any lane stops with its account
        assert_true(from == LANE_STOPPED || lane_may_go((enum lane_state)from, LANE_STOPPED));
}

static void test_the_window_grows_with_success_and_halves_with_failure(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 64, 0, 1000);
    int start = governor.window;
    for (int round = 0; round < 200; round++) {
        while (!governor_blocked_until(&governor, 1000))
            governor_start(&governor);
        assert_int_equal(governor_blocked_until(&governor, 1000), INT64_MAX);
        while (governor.in_flight)
            governor_end(&governor, true, 0);
    }
    assert_true(governor.window > start);
    assert_true(governor.window <= 64);
    int grown = governor.window;
    governor_start(&governor);
    governor_end(&governor, false, 0);
    assert_int_equal(governor.window, grown / 2);
    for (int i = 0; i < 20; i++) {
        governor_start(&governor);
        governor_end(&governor, false, 0);
    }
    assert_int_equal(governor.window, 1); // never none
}

// A desk that serves `served` at a time in 1 ms: whoever comes beyond waits.
static int window_at_a_desk_of(int served, int rounds)
{
    struct governor governor;
    governor_init(&governor, 256, 0, 1000);
    for (int round = 0; round < rounds; round++) {
        while (!governor_blocked_until(&governor, 1000))
            governor_start(&governor);
        for (int waiting = 0; governor.in_flight; waiting++)
            governor_end(&governor, true, 1000 * (1 + waiting / served));
    }
    return governor.window;
}

static void test_the_window_stops_where_more_only_waits(void **state)
{
    (void)state;
    assert_in_range(window_at_a_desk_of(2, 500), 8, 24);
    assert_in_range(window_at_a_desk_of(20, 500), 60, 200);
    assert_int_equal(window_at_a_desk_of(1000, 500), 256);
}

static void test_the_desks_headers_hold_requests_back_until_its_reset(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 64, 0, 1000000);
    governor_learn(&governor, 2, 9000000, 1000000);
    assert_int_equal(governor_blocked_until(&governor, 1000000), 0);
    governor_start(&governor);
    governor_start(&governor);
    assert_int_equal(governor_blocked_until(&governor, 1000000), INT64_MAX); // both are in flight
    governor_learn(&governor, 0, 9000000, 1000000);
    governor_end(&governor, true, 0);
    governor_end(&governor, true, 0);
    governor_learn(&governor, 1, 9000000, 1000000); // an answer that was overtaken
    assert_int_equal(governor_blocked_until(&governor, 8999999), 9000000);
    assert_int_equal(governor_blocked_until(&governor, 9000000), 0);
    governor_learn(&governor, 0, 9000000000000, 10000000); // a reset in a far future is not believed
    assert_int_equal(governor_blocked_until(&governor, 10000000), 0);
}

static void test_the_desks_first_word_counts_and_a_negative_one_does_not(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 64, 0, 0);
    governor_learn(&governor, 1, 400000, 0); // as close to the reset that nobody has told yet as that of one window
    governor_start(&governor);
    assert_int_equal(governor_blocked_until(&governor, 1000), INT64_MAX);
    governor_end(&governor, true, 0);
    governor_learn(&governor, 0, 9000000, 1000000);
    governor_learn(&governor, -1, 20000000, 1000000);
    assert_int_equal(governor_blocked_until(&governor, 1000000), 9000000);
}

static void test_the_word_of_another_window_of_the_desks_counts(void **state)
{
    (void)state;
    for (int apart = -1; apart <= 1; apart++) { // its window ends a second earlier, at the same time, a second later
        struct governor governor;
        governor_init(&governor, 64, 0, 1000000);
        governor_learn(&governor, 0, 9000000, 1000000);
        governor_learn(&governor, 5, 9000000 + apart * 1000000, 1000000);
        assert_int_equal(governor_blocked_until(&governor, 1000000), apart ? 0 : 9000000);
    }
}

static void test_the_operators_ceiling_is_a_pace(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 1000, 6000, 0); // 100/s
    int64_t now = 0;
    int started = 0;
    while (now < 10 * 1000000) {
        int64_t until = governor_blocked_until(&governor, now);
        if (until) {
            assert_true(until > now && until < now + 1000000);
            now = until;
            continue;
        }
        governor_start(&governor);
        governor_end(&governor, true, 0);
        started++;
    }
    assert_in_range(started, 990, 1020);
}

static void test_the_ceiling_saves_nothing_up_in_a_pause(void **state)
{
    (void)state;
    struct governor governor;
    governor_init(&governor, 64, 6000, 0); // 100 a second: a tenth of a second's worth is 10
    int started = 0;
    while (!governor_blocked_until(&governor, INT64_C(60) * 1000000) && started < 100) {
        governor_start(&governor);
        governor_end(&governor, true, 0);
        started++;
    }
    assert_int_equal(started, 10);
}

static void test_backoff_doubles_to_its_cap_and_spreads_over_half_of_it(void **state)
{
    (void)state;
    struct chance chance;
    chance_init(&chance, 1);
    int64_t whole = 1000;
    for (int failures = 1; failures < 100; failures++, whole = whole * 2 < 60000 ? whole * 2 : 60000) {
        int64_t least = INT64_MAX, most = 0;
        for (int i = 0; i < 200; i++) {
            int64_t pause = backoff_pause(1000, 60000, failures, &chance);
            least = pause < least ? pause : least;
            most = pause > most ? pause : most;
        }
        assert_in_range(least, whole / 2, whole / 2 + whole / 8);
        assert_in_range(most, whole - whole / 8, whole);
    }
}

static void test_the_guard_lets_exactly_five_go_and_its_pauses_grow_to_six_hours(void **state)
{
    (void)state;
    struct skip_guard guard = {0};
    assert_false(skip_guard_open(&guard)); // nothing changed
    for (int i = 0; i < 5; i++)
        assert_true(skip_guard_lets_skip(&guard));
    assert_false(guard.closed);
    assert_false(skip_guard_lets_skip(&guard));
    assert_true(guard.closed);
    static const int64_t minutes[] = {10, 60, 360, 360, 360};
    for (size_t i = 0; i < sizeof minutes / sizeof *minutes; i++)
        assert_int_equal(skip_guard_pause_us(&guard), minutes[i] * 60000000);
    assert_true(skip_guard_open(&guard));
    assert_int_equal(skip_guard_pause_us(&guard), INT64_C(600) * 1000000);
}

static void test_a_closed_guard_opens_whatever_it_has_counted(void **state)
{
    (void)state;
    struct skip_guard guard = {.closed = true}; // as the store may have it
    assert_false(skip_guard_lets_skip(&guard));
    assert_true(skip_guard_open(&guard));
    assert_false(guard.closed);
    guard.skips = 1;
    assert_true(skip_guard_open(&guard));
    assert_int_equal(guard.skips, 0);
}

static void test_headers_are_found_whatever_their_case(void **state)
{
    (void)state;
    struct http_header headers[] = {
        {STR("Content-Type"), STR("text/plain; charset=x")}, {STR("X"), STR("1")}, {STR("x"), STR("2")}};
    assert_str(http_header_get(headers, 3, "x"), "1");
    assert_int_equal(http_header_count(headers, 3, "X"), 2);
    assert_null(http_header_get(headers, 3, "y").p);
    assert_str(http_media_type(http_header_get(headers, 3, "content-type")), "text/plain");
}

static void test_percent_encoding_goes_both_ways_and_refuses_junk(void **state)
{
    (void)state;
    struct arena arena = {0};
    assert_str(http_escape(&arena, STR("a b/\xC3\xA4~")), "a%20b%2F%C3%A4~");
    assert_str(http_unescape(&arena, STR("a%20b%2f")), "a b/");
    static const char *const bad[] = {"%", "%2", "%zz", "a%0", "%00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(http_unescape(&arena, str_of(bad[i])).p);
    assert_str(http_query_get(&arena, STR("a=1&b=x%3Dy&c"), "b"), "x=y");
    assert_str(http_query_get(&arena, STR("a=1&b=x%3Dy&c"), "c"), "");
    assert_str(http_query_get(&arena, STR("q=good+day%2B1%20+"), "q"), "good day+1  ");
    assert_null(http_query_get(&arena, STR("a=1"), "b").p);
    arena_done(&arena);
}

static void test_a_message_is_copied_whole(void **state)
{
    (void)state;
    char text[] = "hello";
    struct message from = {.id = 7, .text = {text, 5}, .sender_name = STR("")};
    struct message *copy = message_copy(&from);
    memset(text, 'x', sizeof text);
    assert_str(copy->text, "hello");
    assert_non_null(copy->sender_name.p); // empty is not absent
    assert_null(copy->desk_ref.p);
    assert_int_equal(copy->id, 7);
    message_free(copy);
}

static void test_a_lane_says_whose_it_is(void **state)
{
    (void)state;
    assert_int_equal(lane_id_kind(lane_id(LANE_CONVERSATION, 12345)), LANE_CONVERSATION);
    assert_int_equal(lane_id_owner(lane_id(LANE_REPLY, 12345)), 12345);
    assert_true(lane_id(LANE_ACCOUNT, 5) != lane_id(LANE_CONVERSATION, 5));
}

static void test_account_names_are_as_the_contract_says(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "Acme", "a_b", "a/b", "\xC3\xA4", "0123456789012345678901234567890123456789012345678901234567890123"};
    assert_true(account_name_is_valid(STR("acme-2")));
    assert_true(account_name_is_valid(STR("012345678901234567890123456789012345678901234567890123456789012")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(account_name_is_valid(str_of(bad[i])));
}

static void test_desks_are_the_same_when_address_and_token_are(void **state)
{
    (void)state;
    struct desk a = {.platform = STR("intercom"), .api_url = STR("https://x"), .token = STR("t")};
    struct desk b = a;
    b.rate_per_min = 100; // not of its identity
    assert_true(desk_identity(&a) == desk_identity(&b));
    b.token = STR("u");
    assert_true(desk_identity(&a) != desk_identity(&b));
}

static void test_an_account_is_copied_deep(void **state)
{
    (void)state;
    struct account *account = account_new();
    account->name = arena_str(&account->arena, STR("acme"));
    account->source_count = 1;
    account->sources = arena_of(&account->arena, struct source);
    account->sources[0] = (struct source){.id = 3, .name = STR("bot"), .secret = STR_NONE, .made_secret = STR("made")};
    struct account *copy = account_copy(account);
    account_unref(account);
    assert_str(copy->name, "acme");
    assert_non_null(account_find_source(copy, STR("bot")));
    assert_non_null(account_find_source_id(copy, 3));
    assert_str(source_secret(&copy->sources[0]), "made");
    copy->sources[0].secret = STR("none");
    assert_null(source_secret(&copy->sources[0]).p);
    account_unref(account_ref(copy));
    account_unref(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lane_sends_only_what_is_marked_or_ready),
        cmocka_unit_test(test_a_lane_in_flight_is_never_loaded_beside),
        cmocka_unit_test(test_the_window_grows_with_success_and_halves_with_failure),
        cmocka_unit_test(test_the_window_stops_where_more_only_waits),
        cmocka_unit_test(test_the_desks_headers_hold_requests_back_until_its_reset),
        cmocka_unit_test(test_the_desks_first_word_counts_and_a_negative_one_does_not),
        cmocka_unit_test(test_the_word_of_another_window_of_the_desks_counts),
        cmocka_unit_test(test_the_operators_ceiling_is_a_pace),
        cmocka_unit_test(test_the_ceiling_saves_nothing_up_in_a_pause),
        cmocka_unit_test(test_backoff_doubles_to_its_cap_and_spreads_over_half_of_it),
        cmocka_unit_test(test_the_guard_lets_exactly_five_go_and_its_pauses_grow_to_six_hours),
        cmocka_unit_test(test_a_closed_guard_opens_whatever_it_has_counted),
        cmocka_unit_test(test_headers_are_found_whatever_their_case),
        cmocka_unit_test(test_percent_encoding_goes_both_ways_and_refuses_junk),
        cmocka_unit_test(test_a_message_is_copied_whole),
        cmocka_unit_test(test_a_lane_says_whose_it_is),
        cmocka_unit_test(test_account_names_are_as_the_contract_says),
        cmocka_unit_test(test_desks_are_the_same_when_address_and_token_are),
        cmocka_unit_test(test_an_account_is_copied_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
