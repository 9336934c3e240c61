// The committer: in which order the others hear of what one transaction did.
#include "relay/committer.h"

#include "base/log.h"
#include "store/store.h"
#include "support/unit.h"

static char heard[16];
static size_t heard_count;

static void hear(char what)
{
    assert_true(heard_count < sizeof heard);
    heard[heard_count++] = what;
}

static void on_announce(void *arg, struct announcement *list)
{
    (void)arg;
    while (list) {
        struct announcement *announcement = list;
        list = list->next;
        announcement_free(announcement);
        hear('n');
    }
}

static void on_changed(struct job *job)
{
    assert_int_equal(job->err, 0);
    hear('c');
}

static void on_accepted(struct job *job)
{
    assert_int_equal(job->err, 0);
    hear('a');
}

static bool may_hand_on(void *arg)
{
    (void)arg;
    return false;
}

static void on_fatal(void *arg, const char *sentence)
{
    (void)arg;
    fail_msg("%s", sentence);
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

// A message accepted with the transaction that changed its account's order rule stands in a lane of the new rule: told first, it
// would be sent without waiting for those before.
static void test_changes_are_told_before_what_was_accepted_with_them(void **state)
{
    (void)state;
    struct clock_manual clock;
    clock_manual_init(&clock, 1000000);
    struct store *store = store_memory_new();
    struct board *board = board_new();
    struct tally *tally = tally_new();
    struct committer *committer = committer_new(&(struct committer_options){
        .store = store,
        .clock = &clock.clock,
        .board = board,
        .tally = tally,
        .max_queue = 10,
        .announce = on_announce,
        .may_hand_on = may_hand_on,
        .fatal = on_fatal,
    });
    struct account *account = an_account(ORDER_CONVERSATION);
    struct store_account_put put = {.account = account};
    struct store_change put_change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(store->ops->apply(store, &put_change, 1), 0);
    account->id = put.id;
    account->order = ORDER_ACCOUNT;
    struct arena arena = {0};
    struct store_accept accept = {
        .account_id = put.id,
        .source_id = 1,
        .order = ORDER_CONVERSATION,
        .event = {.dedupe_key = STR("k"), .conversation = STR("c"), .sender_id = STR("s"), .text = STR("t")},
        .out_arena = &arena,
    };
    struct store_change accept_change = {.kind = STORE_ACCEPT, .accept = &accept};
    struct job accepting = {.kind = JOB_ACCEPT, .changes = &accept_change, .change_count = 1, .done = on_accepted};
    struct job changing = {.kind = JOB_CHANGES, .changes = &put_change, .change_count = 1, .done = on_changed};
    assert_true(committer_submit(committer, &accepting));
    assert_true(committer_submit(committer, &changing));
    committer_turn(committer);
    assert_int_equal(heard_count, 3);
    assert_memory_equal(heard, "cna", 3);
    account_unref(account);
    arena_done(&arena);
    committer_free(committer);
    store->ops->close(store, true);
    tally_free(tally);
    board_free(board);
}

int main(void)
{
    log_set_level(LOG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_are_told_before_what_was_accepted_with_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
