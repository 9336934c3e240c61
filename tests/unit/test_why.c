// `tributary why` from the store to the screen: the command line asks the admin side over its socket, of a relay that says what the
// test wants. Each screen is compared with tests/unit/golden/why.txt; none has more than 24 lines or 80 columns.
//
// After a change that is meant: copy what the failure names over the golden file, and read the difference.
#include "admin/admin.h"
#include "app/cli_run.h"
#include "base/log.h"
#include "base/mem.h"
#include "support/unit.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW_US INT64_C(1700000000000000)
#define SECOND INT64_C(1000000)
#define CANARY "canary-of-a-text"

// ---- the relay that says what the test wants ----

static struct lane_view said;

int relay_look(struct relay *relay, struct lane_view *lanes, size_t count, struct account_view *account)
{
    (void)relay;
    for (size_t i = 0; i < count; i++) {
        int64_t lane = lanes[i].lane, account_id = lanes[i].account_id;
        lanes[i] = said;
        if (said.state == LANE_BEHIND && lane_id_kind(lane) == LANE_REPLY) // replies know no order rule
            lanes[i].state = LANE_READY;
        lanes[i].lane = lane;
        lanes[i].account_id = account_id;
    }
    if (account)
        account->lanes_in_state[said.state] = count < 5 ? (int)count : 123456;
    return 0;
}

bool relay_is_ready(struct relay *relay)
{
    (void)relay;
    return true;
}

int relay_set_active_all(struct relay *relay, const int64_t *account_ids, size_t count, bool active)
{
    (void)relay, (void)account_ids, (void)count, (void)active;
    return 0;
}

int relay_resume_desk(struct relay *relay, int64_t account_id)
{
    (void)relay, (void)account_id;
    return 0;
}

int relay_retry(struct relay *relay, int64_t message_id)
{
    (void)relay, (void)message_id;
    return 0;
}

int relay_discard(struct relay *relay, int64_t message_id)
{
    (void)relay, (void)message_id;
    return 0;
}

int relay_retry_skipped(struct relay *relay, int64_t account_id, int64_t *after, int64_t *out_count, bool *out_more)
{
    (void)relay, (void)account_id, (void)after, (void)out_count, (void)out_more;
    return 0;
}

bool relay_check(struct relay *relay, struct relay_check *check)
{
    (void)relay, (void)check;
    return false;
}

void relay_end_checks(struct relay *relay)
{
    (void)relay;
}

// ---- what there is ----

static struct fixture {
    char directory[64], socket[100];
    struct clock_manual clock;
    struct store *store;
    struct directory *accounts;
    struct account *made[9];
    size_t made_count;
    struct board *board;
    struct tally *tally;
    struct admin *admin;
    struct arena arena;
    struct buf screens;
} f;

static const struct account *put_account(const char *name, enum order_rule order, bool active)
{
    struct account *account = account_new();
    struct arena *arena = &account->arena;
    int64_t source_ids[1];
    account->name = arena_str(arena, str_of(name));
    account->order = order;
    account->active = active;
    account->sources = arena_of(arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){
        .account = account->name, .name = STR("bot"), .platform = STR("telegram"), .token = STR("t")};
    account->desk = (struct desk){
        .platform = STR("webhook"), .url = arena_str(arena, account->name), .secret = STR("s")};
    account->defined_at = STR("tributary.yaml:12");
    struct store_account_put put = {.account = account, .source_ids = source_ids};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
    account->id = put.id;
    account->sources[0].id = source_ids[0];
    f.made[f.made_count++] = account;
    directory_put(f.accounts, account_ref(account));
    return account;
}

static int64_t send_to(const struct account *account, const char *thread, int64_t ago_s, struct str attachments)
{
    static int n;
    char key[16];
    snprintf(key, sizeof key, "%d", ++n);
    struct store_accept accept = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .order = account->order,
        .received_at_us = NOW_US - ago_s * SECOND,
        .event = {.dedupe_key = str_of(key),
                  .conversation = str_of(thread),
                  .sender_id = STR("7"),
                  .sender_name = STR("Ann " CANARY),
                  .text = STR(CANARY),
                  .attachments = attachments,
                  .sent_at_us = NOW_US},
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
    return accept.message_id;
}

static int64_t say_to(const struct account *account, const char *thread, int64_t ago_s)
{
    return send_to(account, thread, ago_s, STR_NONE);
}

// An agent's, in the conversation of that message.
static int64_t reply_to(int64_t message_id, const char *key)
{
    struct store_reader *reader = f.store->ops->reader_new(f.store);
    struct message *asked = NULL;
    assert_int_equal(reader->ops->message(reader, message_id, &asked), 0);
    reader->ops->free(reader);
    struct store_accept accept = {
        .direction = REPLY,
        .account_id = asked->account_id,
        .source_id = asked->source_id,
        .conversation_id = asked->conversation_id,
        .received_at_us = NOW_US - 60 * SECOND,
        .event = {.dedupe_key = str_of(key), .text = STR(CANARY)},
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accept};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
    message_free(asked);
    return accept.message_id;
}

static void outcome(int64_t id, enum message_state state, int attempts, const char *error)
{
    struct store_outcome outcome = {.message_id = id,
                                    .state = state,
                                    .attempts = attempts,
                                    .verdict = state == MESSAGE_DELIVERED ? "delivered" : "retry",
                                    .next_attempt_us = NOW_US + 30 * SECOND,
                                    .at_us = NOW_US - (60 - attempts) * SECOND,
                                    .last_error = str_of(error)};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
}

// The desk's words are a stranger's: long, wide, and full of what a terminal obeys.
static const char words[] =
    "HTTP 500: \x1b[31msomething is wrong here\x07 and the desk explains it at length, \xe6\xbc\xa2\xe5\xad\x97"
    "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2\xe5\xad\x97 included, averylongwordwithoutanyblankinitwhichmustbebroken"
    "somewheresomehowbecauseitdoesnotfitintooneline, again and again and again and again and again and again and "
    "again and again and again and again and again and again\r\nand in a second line";

static void make_accounts(void)
{
    const struct account *calm = put_account("calm", ORDER_ACCOUNT, true);
    outcome(say_to(calm, "5", 90), MESSAGE_DELIVERED, 1, NULL);
    put_account("new", ORDER_ACCOUNT, true);
    const struct account *one = put_account("one", ORDER_ACCOUNT, true);
    int64_t head = say_to(one, "5501", 3 * 3600);
    say_to(one, "5502", 3000);
    say_to(one, "5501", 2000);
    outcome(head, MESSAGE_PENDING, 1, "HTTP 500: sorry");
    outcome(head, MESSAGE_PENDING, 2, "HTTP 503: still sorry");
    const struct account *off = put_account("off", ORDER_ACCOUNT, false);
    say_to(off, "5", 5);
    const struct account *many = put_account("many-lanes-in-an-account-with-a-name-as-long-as-a-name-may-be-63",
                                             ORDER_CONVERSATION, true);
    for (int i = 0; i < 9; i++) {
        char thread[200];
        snprintf(thread, sizeof thread, "%d-a-thread-id-that-is-far-longer-than-any-platform's-%0100d", i, i);
        int64_t id = say_to(many, thread, 86400 * 3 + 10 - i);
        for (int attempt = 1; attempt < 12; attempt++)
            outcome(id, MESSAGE_PENDING, attempt, words);
    }
    const struct account *both = put_account("both", ORDER_CONVERSATION, true);
    reply_to(say_to(both, "5", 90), "part:1");
    int64_t answered = say_to(both, "6", 80);
    outcome(answered, MESSAGE_DELIVERED, 1, NULL);
    reply_to(answered, "part:2");
    reply_to(answered, "part:3");
    const struct account *lost = put_account("lost", ORDER_ACCOUNT, true);
    outcome(say_to(lost, "5", 90), MESSAGE_SKIPPED, 1, "HTTP 422: no");
    outcome(say_to(lost, "6", 80), MESSAGE_SKIPPED, 1, "HTTP 422: no");
    outcome(say_to(lost, "an odd; name", 80), MESSAGE_SKIPPED, 1, "HTTP 422: no");
    const struct account *files = put_account("files", ORDER_CONVERSATION, true);
    send_to(files, "1", 3,
            STR("[{\"kind\":\"image\",\"mime\":\"image/jpeg\",\"state\":\"wanted\",\"ref\":\"" CANARY "\"}]"));
    send_to(
        files, "2", 2,
        STR("[{\"name\":\"kept.pdf\",\"state\":\"failed\"},{\"name\":\"an \\u001b[31mod\\u202ed name.pdf\",\"state\":\"wanted\"},"
            "{\"state\":\"wanted\"},{\"state\":\"wanted\"}]"));
    int64_t tried = send_to(files, "3", 1, STR("[{\"name\":\"late.pdf\",\"state\":\"wanted\"}]"));
    outcome(tried, MESSAGE_PENDING, 1, "HTTP 500: sorry");
}

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR"), *why = NULL;
    log_set_level(LOG_OFF);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    snprintf(f.directory, sizeof f.directory, "%s/why-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f.directory))
        return 1;
    snprintf(f.socket, sizeof f.socket, "%s/admin.sock", f.directory);
    clock_manual_init(&f.clock, NOW_US);
    f.store = store_memory_new();
    f.accounts = directory_new();
    f.board = board_new();
    f.tally = tally_new();
    buf_init(&f.screens, 1 << 20);
    make_accounts();
    struct admin_options options = {
        .socket = f.socket,
        .directory = f.accounts,
        .board = f.board,
        .tally = f.tally,
        .clock = &f.clock.clock,
        .reader = f.store->ops->reader_new(f.store),
        .verify_reader = f.store->ops->reader_new(f.store),
    };
    f.admin = admin_start(&options, &f.arena, &why);
    return f.admin ? 0 : 1;
}

static int tear_down(void **state)
{
    (void)state;
    admin_stop(f.admin);
    admin_free(f.admin);
    f.store->ops->close(f.store, true);
    while (f.made_count)
        account_unref(f.made[--f.made_count]);
    directory_free(f.accounts);
    board_free(f.board);
    tally_free(f.tally);
    buf_done(&f.screens);
    arena_done(&f.arena);
    unlink(f.socket);
    rmdir(f.directory);
    curl_global_cleanup();
    return 0;
}

// ---- screens ----

static void hide(char *text, const char *shape, const char *hidden)
{
    size_t n = strlen(text), size = strlen(shape);
    for (size_t i = 0; i + size <= n; i++) {
        size_t k = 0;
        while (k < size && (shape[k] == 'd' ? isdigit((unsigned char)text[i + k]) != 0 : text[i + k] == shape[k]))
            k++;
        if (k == size)
            memcpy(text + i, hidden, size);
    }
}

static void check_size(struct str text, size_t width)
{
    size_t lines = 0;
    for (size_t from = 0; from < text.n; lines++) {
        size_t to = str_index(text, '\n', from);
        if (cli_width(str_sub(text, from, to)) > width)
            fail_msg("a line of more than %zu columns: %.*s", width, STR_ARG(str_sub(text, from, to)));
        from = to + 1;
    }
    if (lines > 24)
        fail_msg("%zu lines:\n%.*s", lines, STR_ARG(text));
}

static void show(const char *what, const char *title, size_t width)
{
    struct cli *cli = mem_new_of(struct cli);
    buf_init(&cli->out, 1 << 20);
    cli->socket = f.socket;
    cli->width = width;
    cli->args[cli->arg_count++] = what;
    assert_int_equal(cli_why(cli), CLI_DONE);
    check_size(buf_str(&cli->out), width ? width : 80);
    assert_null(strstr(cli->out.p, CANARY)); // neither texts nor names
    assert_null(strchr(cli->out.p, '\x1b'));
    hide(cli->out.p, "dddd-dd-dd", "YYYY-MM-DD"); // the board's times are the system's
    hide(cli->out.p, "dd:dd:dd", "hh:mm:ss");
    buf_printf(&f.screens, "==== %s: %s\n%s\n", title, what, cli->out.p);
    buf_done(&cli->out);
    arena_done(&cli->arena);
    free(cli);
}

static void say(enum lane_state state, enum lane_wait waits_for, bool with_time)
{
    bool attempt = state == LANE_SENDING || state == LANE_MARKING;
    said = (struct lane_view){.state = state,
                              .waits_for = waits_for,
                              .until_us = with_time ? NOW_US + 20 * SECOND : 0,
                              .since_us = attempt ? NOW_US - 10 * SECOND : 0,
                              .desk_in_flight = 8,
                              .desk_window = 8};
}

static void suspend(const char *account_name, const char *reason)
{
    const struct account *account = directory_find(f.accounts, str_of(account_name));
    struct board_desk desk = {
        .suspended = reason, .reason = str_of(reason ? reason : ""), .until_us = NOW_US + 20 * SECOND};
    board_desk_set(f.board, desk_identity(&account->desk), &desk);
    account_unref(account);
}

static void show_states(const char *what)
{
    static const struct {
        enum lane_state state;
        enum lane_wait waits_for;
        bool with_time;
    } all[] = {
        {LANE_IDLE, LANE_WAITS_NOT, false},        {LANE_LOADING, LANE_WAITS_START, false},
        {LANE_LOADING, LANE_WAITS_PAGE, false},    {LANE_LOADING, LANE_WAITS_MEMORY, false},
        {LANE_READY, LANE_WAITS_TURN, false},      {LANE_READY, LANE_WAITS_SLOT, false},
        {LANE_READY, LANE_WAITS_GOVERNOR, false},  {LANE_READY, LANE_WAITS_RATE, true},
        {LANE_MARKING, LANE_WAITS_MARK, false},    {LANE_SENDING, LANE_WAITS_ANSWER, true},
        {LANE_SENDING, LANE_WAITS_PROBE, false},   {LANE_SENDING, LANE_WAITS_RECORD, false},
        {LANE_WAITING, LANE_WAITS_TIME, true},     {LANE_WAITING, LANE_WAITS_SETTLE, true},
        {LANE_WAITING, LANE_WAITS_BACKOFF, true},  {LANE_HELD, LANE_WAITS_PERSON, false},
        {LANE_STOPPED, LANE_WAITS_ACCOUNT, false}, {LANE_BEHIND, LANE_WAITS_ORDER, false},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        say(all[i].state, all[i].waits_for, all[i].with_time);
        show(what, lane_wait_name(all[i].waits_for), 0);
    }
}

static void show_replies(void)
{
    const struct account *account = directory_find(f.accounts, STR("both"));
    uint64_t bot = source_identity(&account->sources[0]);
    account_unref(account);
    show_states("both/bot/6");
    say(LANE_WAITING, LANE_WAITS_PACE, true);
    show("both/bot/6", "pace", 0);
    board_desk_set(f.board, bot, &(struct board_desk){.suspended = true, .reason = STR("answered 401")});
    say(LANE_SUSPENDED, LANE_WAITS_DESK, false);
    show("both/bot/6", "bot that is tried", 0);
    say(LANE_SUSPENDED, LANE_WAITS_GUARD, true);
    show("both/bot/6", "guard of a bot", 0);
    board_desk_set(f.board, bot, &(struct board_desk){0});
}

static void show_suspended(const char *name)
{
    suspend(name, "no connection: Connection refused by a host whose name is long, for a reason that is long too");
    say(LANE_SUSPENDED, LANE_WAITS_DESK, true);
    show(name, "desk", 0);
    say(LANE_SUSPENDED, LANE_WAITS_DESK, false);
    show(name, "desk that is tried", 0);
    suspend(name, "guard");
    say(LANE_SUSPENDED, LANE_WAITS_GUARD, true);
    show(name, "guard", 0);
    suspend(name, NULL);
}

static char *read_golden(void)
{
    FILE *file = fopen("tests/unit/golden/why.txt", "r");
    char *text = mem_new(1 << 20);
    if (file) {
        text[fread(text, 1, (1 << 20) - 1, file)] = '\0';
        fclose(file);
    }
    return text;
}

static void compare(void)
{
    char path[120], *golden = read_golden();
    bool same = strcmp(golden, f.screens.p) == 0;
    free(golden);
    if (same)
        return;
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/why.txt", tmp ? tmp : "/tmp");
    FILE *file = fopen(path, "w");
    fputs(f.screens.p, file);
    fclose(file);
    fail_msg("the screens are others than in tests/unit/golden/why.txt: see %s", path);
}

static void test_screens(void **state)
{
    (void)state;
    static const char many[] = "many-lanes-in-an-account-with-a-name-as-long-as-a-name-may-be-63";
    const struct account *one = directory_find(f.accounts, STR("one"));
    say(LANE_IDLE, LANE_WAITS_NOT, false);
    show("calm", "nothing waits", 0);
    show("new", "nothing was ever there", 0);
    show("calm/bot/5", "nothing waits", 0);
    show("lost", "what was skipped", 0);
    show("lost/bot/5", "what was skipped", 0);
    show("lost/bot/an odd; name", "what was skipped", 0);
    show_states("one");
    say(LANE_WAITING, LANE_WAITS_TIME, true);
    show("one/bot/5502", "behind others", 0);
    show("one/bot/5501", "first in line", 0);
    show_suspended("one");
    say(LANE_STOPPED, LANE_WAITS_ACCOUNT, false);
    show("off", "inactive", 0);
    busy_began(board_busy(f.board), one->id, 0);
    clock_manual_pass(&f.clock, 290 * SECOND);
    say(LANE_SENDING, LANE_WAITS_ANSWER, true);
    show("one", "busy", 0);
    show_states(many);
    show_suspended(many);
    say(LANE_WAITING, LANE_WAITS_TIME, true);
    show(many, "a narrow terminal", 50);
    show("both/bot/5", "a message and a reply", 0);
    show("both/bot/6", "replies alone", 0);
    say(LANE_BEHIND, LANE_WAITS_ORDER, false);
    show("both/bot/5", "the reply does not hold up the message", 0);
    show_replies();
    say(LANE_WAITING, LANE_WAITS_TIME, true);
    show("files/bot/1", "a file that is being fetched", 0);
    show("files/bot/2", "files that are being fetched", 0);
    show("files/bot/3", "a pause while a file is being fetched", 0);
    account_unref(one);
    compare();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_screens, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
