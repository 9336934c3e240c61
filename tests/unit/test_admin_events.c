// GET /api/v1/events on loopback: what is told comes to those who listen, and nobody waits for a client that does not read.
#include "admin/admin.h"
#include "base/json.h"
#include "base/log.h"
#include "support/unit.h"
#include "support/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TOKEN "right-token"
#define GET(target) "GET " target " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " TOKEN "\r\n"

enum { STREAMS_MAX = 32, FLOOD = 120000 };

static struct fixture {
    struct store *store;
    struct directory *accounts;
    struct board *board;
    struct tally *tally;
    struct admin *admin;
    struct arena arena;
} f;

static void put_account(int64_t id, const char *name, const char *desk)
{
    struct account *account = account_new();
    account->id = id;
    account->name = arena_str(&account->arena, str_of(name));
    account->sources = arena_of(&account->arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){.id = 10 * id, .name = STR("bot"), .platform = STR("telegram")};
    account->desk = (struct desk){.platform = STR("webhook"), .url = str_of(desk)};
    directory_put(f.accounts, account);
}

static void start_admin(void)
{
    const char *why = NULL;
    struct admin_options options = {
        .listen = "127.0.0.1:0",
        .token = STR(TOKEN),
        .directory = f.accounts,
        .board = f.board,
        .tally = f.tally,
        .clock = &clock_system,
        .heartbeat_ms = 50,
        .reader = f.store->ops->reader_new(f.store),
    };
    f.admin = admin_start(&options, &f.arena, &why);
    assert_non_null(f.admin);
}

static int set_up(void **state)
{
    (void)state;
    log_set_level(LOG_OFF);
    f.store = store_memory_new();
    f.accounts = directory_new();
    f.board = board_new();
    f.tally = tally_new();
    put_account(1, "acme", "http://desk.example/shared");
    put_account(2, "b-corp", "http://desk.example/shared");
    put_account(3, "c-corp", "http://desk.example/own");
    start_admin();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    admin_stop(f.admin);
    admin_free(f.admin);
    f.store->ops->close(f.store, true);
    directory_free(f.accounts);
    board_free(f.board);
    tally_free(f.tally);
    arena_done(&f.arena);
    return 0;
}

// ---- listening ----

struct listener {
    int fd;
    size_t n;
    char text[1 << 20];
};

static struct listener *ask(const char *request)
{
    struct listener *listener = calloc(1, sizeof *listener);
    listener->fd = wire_connect(admin_port(f.admin));
    wire_send_text(listener->fd, request);
    return listener;
}

// Reads until it has come.
static const char *await(struct listener *listener, const char *part)
{
    char *found;
    while (!(found = strstr(listener->text, part))) {
        assert_true(listener->n < sizeof listener->text - 1);
        ssize_t n = recv(listener->fd, listener->text + listener->n, sizeof listener->text - 1 - listener->n, 0);
        if (n <= 0)
            fail_msg("\"%s\" did not come, but: %s", part, listener->text);
        listener->n += (size_t)n;
    }
    return found;
}

static struct listener *listen_to(const char *request)
{
    struct listener *listener = ask(request);
    await(listener, "retry: ");
    return listener;
}

static void leave(struct listener *listener)
{
    close(listener->fd);
    free(listener);
}

static void tell_message(int64_t account_id, int64_t message_id)
{
    news_tell(board_news(f.board), &(struct news_item){.kind = NEWS_MESSAGE_SKIPPED,
                                                       .account_id = account_id,
                                                       .source_id = 10 * account_id,
                                                       .message_id = message_id,
                                                       .lane = 4 * account_id,
                                                       .attempts = 5,
                                                       .word = "gave_up"});
}

// ---- tests ----

static void test_what_happens_comes_as_an_event(void **state)
{
    (void)state;
    struct listener *listener = listen_to(GET("/api/v1/events") "\r\n");
    assert_non_null(strstr(listener->text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(listener->text, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(listener->text, "Cache-Control: no-store\r\n"));
    tell_message(1, 77);
    const char *event = await(listener, "event: message_skipped\ndata: {\"at\":\"20");
    await(listener, "}\n\n");
    assert_true(event > strstr(listener->text, "\nid: "));
    assert_non_null(strstr(event, "\"account\":\"acme\",\"source\":\"bot\",\"message\":\"77\",\"lane\":\"4\","
                                  "\"state\":\"skipped\",\"reason\":\"gave_up\",\"verdict\":null,\"attempts\":5,"
                                  "\"in_doubt\":false,\"next_attempt_at\":null}\n\n"));
    board_alarm(f.board, "disk_full", STR(""), STR("no space"));
    event = await(listener, "event: alarm\n");
    await(listener, "\"name\":\"disk_full\",\"subject\":\"\",\"text\":\"no space\"}\n\n");
    assert_null(strstr(event, "acme"));
    board_alarm(f.board, "disk_full", STR(""), STR("no space at all")); // the same one
    board_alarm_end(f.board, "disk_full", STR(""));
    await(listener, "event: alarm_end\n");
    assert_null(strstr(listener->text, "at all"));
    leave(listener);
}

static void test_who_asks_for_an_account_hears_of_it_only(void **state)
{
    (void)state;
    struct listener *listener = listen_to(GET("/api/v1/events?account=b-corp") "\r\n");
    tell_message(1, 1);
    tell_message(2, 2);
    board_alarm(f.board, "source_refused", STR("acme/bot"), STR("of acme"));
    board_alarm(f.board, "source_refused", STR("b-corp/bot"), STR("of b-corp"));
    const struct account *acme = directory_find(f.accounts, STR("acme")),
                         *own = directory_find(f.accounts, STR("c-corp"));
    // Suspended under the name of one account, it is the desk of another one too.
    news_tell(board_news(f.board), &(struct news_item){.kind = NEWS_DESK_SUSPENDED,
                                                       .account_id = own->id,
                                                       .desk = desk_identity(&own->desk),
                                                       .text = "own desk"});
    news_tell(board_news(f.board), &(struct news_item){.kind = NEWS_DESK_SUSPENDED,
                                                       .account_id = acme->id,
                                                       .desk = desk_identity(&acme->desk),
                                                       .text = "shared desk"});
    await(listener, "shared desk");
    assert_non_null(strstr(listener->text, "\"message\":\"2\""));
    assert_non_null(strstr(listener->text, "of b-corp"));
    assert_null(strstr(listener->text, "acme"));
    assert_null(strstr(listener->text, "own desk"));
    account_unref(acme);
    account_unref(own);
    board_alarm_end(f.board, "source_refused", STR("acme/bot"));
    board_alarm_end(f.board, "source_refused", STR("b-corp/bot"));
    leave(listener);
}

static void test_who_asks_for_types_hears_of_them_only(void **state)
{
    (void)state;
    struct listener *listener = listen_to(GET("/api/v1/events?types=alarm,reloaded") "\r\n");
    tell_message(1, 1);
    news_tell_of(board_news(f.board), NEWS_RELOADED, NULL, STR_NONE, STR_NONE);
    await(listener, "event: reloaded\n");
    assert_null(strstr(listener->text, "message"));
    leave(listener);
}

static void test_what_cannot_be_listened_to_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *request, *part;
    } wrong[] = {
        {"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n", "401 Unauthorized"},
        {GET("/api/v1/events?account=nobody") "\r\n", "404 Not Found"},
        {GET("/api/v1/events?types=message_lost") "\r\n", "\\\"message_lost\\\" is none"},
        {GET("/api/v1/events?types=") "\r\n", "400 Bad Request"},
        {GET("/api/v1/events?types=alarm,") "\r\n", "400 Bad Request"},
        {GET("/api/v1/events?type=alarm") "\r\n", "no parameter"},
        {"HEAD /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " TOKEN "\r\n\r\n", "200 OK"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct listener *listener = ask(wrong[i].request);
        await(listener, wrong[i].part);
        leave(listener);
    }
}

// Reads to the end of what was told; counts what came and what was missed.
static void count_events(struct listener *listener, size_t *out_came, size_t *out_missed)
{
    bool ended = false;
    size_t kept = 0;
    *out_came = *out_missed = 0;
    while (!ended) {
        ssize_t n = recv(listener->fd, listener->text + kept, sizeof listener->text - 1 - kept, 0);
        assert_true(n > 0);
        listener->text[kept + (size_t)n] = '\0';
        char *line = listener->text;
        for (char *end; (end = strchr(line, '\n')); line = end + 1) {
            size_t missed;
            if (strncmp(line, "event: message_skipped", 22) == 0)
                ++*out_came;
            else if (sscanf(line, "data: {\"count\":%zu}", &missed) == 1)
                *out_missed += missed;
            else if (strncmp(line, "event: reloaded", 15) == 0)
                ended = true;
        }
        kept = strlen(line);
        memmove(listener->text, line, kept);
    }
}

static void test_a_client_that_does_not_read_costs_nothing_and_is_told_what_it_missed(void **state)
{
    (void)state;
    size_t came, missed;
    struct listener *slow = listen_to(GET("/api/v1/events") "\r\n");
    for (int64_t i = 1; i <= FLOOD; i++)
        tell_message(1, i);
    struct listener *other = listen_to(GET("/api/v1/events") "\r\n"); // the admin side answers meanwhile
    tell_message(2, 999999999);
    await(other, "\"message\":\"999999999\"");
    leave(other);
    news_tell_of(board_news(f.board), NEWS_RELOADED, NULL, STR_NONE, STR_NONE);
    count_events(slow, &came, &missed);
    assert_int_equal(came + missed, FLOOD + 1);
    assert_true(missed > 0);
    leave(slow);
}

static void test_a_client_that_left_makes_room_for_another(void **state)
{
    (void)state;
    struct listener *listeners[STREAMS_MAX];
    for (int i = 0; i < STREAMS_MAX; i++)
        listeners[i] = listen_to(GET("/api/v1/events") "\r\n");
    struct listener *late = ask(GET("/api/v1/events") "\r\n");
    await(late, "503 Service Unavailable");
    await(late, "Retry-After: ");
    await(late, "32 clients listen already");
    leave(late);
    for (int i = 0; i < STREAMS_MAX; i++)
        leave(listeners[i]);
    for (bool joined = false; !joined;) {
        late = ask(GET("/api/v1/events") "\r\n");
        await(late, "\r\n\r\n");
        joined = strstr(late->text, "200 OK");
        leave(late);
    }
}

static void test_who_comes_back_hears_what_came_meanwhile(void **state)
{
    (void)state;
    uint64_t number;
    char request[512];
    struct listener *other = listen_to(GET("/api/v1/events") "\r\n"), *first = listen_to(GET("/api/v1/events") "\r\n");
    tell_message(1, 1);
    await(first, "\"message\":\"1\"");
    assert_int_equal(sscanf(strstr(first->text, "\nid: "), "\nid: %lu", &number), 1);
    leave(first);
    tell_message(1, 2);
    snprintf(request, sizeof request, GET("/api/v1/events") "Last-Event-ID: %lu\r\n\r\n", number);
    struct listener *again = listen_to(request);
    await(again, "\"message\":\"2\"");
    assert_null(strstr(again->text, "missed"));
    leave(again);
    again = listen_to(GET("/api/v1/events") "Last-Event-ID: 17\r\n\r\n");
    await(again, "event: missed\ndata: {\"count\":null}\n\n");
    leave(again);
    leave(other);
}

static void test_a_silent_stream_has_a_heartbeat(void **state)
{
    (void)state;
    struct listener *listener = listen_to(GET("/api/v1/events") "\r\n");
    await(listener, "\n:\n\n");
    char *first = strstr(listener->text, "\n:\n\n");
    memset(first, '-', 4);
    await(listener, "\n:\n\n"); // and another one
    leave(listener);
}

static void test_a_stop_ends_streams(void **state)
{
    (void)state;
    struct listener *listener = listen_to(GET("/api/v1/events") "\r\n");
    admin_stop(f.admin);
    admin_free(f.admin);
    await(listener, "\r\n0\r\n\r\n"); // the whole answer
    assert_true(wire_is_ended(listener->fd));
    assert_false(news_wanted(board_news(f.board)));
    leave(listener);
    start_admin();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_happens_comes_as_an_event),
        cmocka_unit_test(test_who_asks_for_an_account_hears_of_it_only),
        cmocka_unit_test(test_who_asks_for_types_hears_of_them_only),
        cmocka_unit_test(test_what_cannot_be_listened_to_is_told),
        cmocka_unit_test(test_a_client_that_does_not_read_costs_nothing_and_is_told_what_it_missed),
        cmocka_unit_test(test_a_client_that_left_makes_room_for_another),
        cmocka_unit_test(test_who_comes_back_hears_what_came_meanwhile),
        cmocka_unit_test(test_a_silent_stream_has_a_heartbeat),
        cmocka_unit_test(test_a_stop_ends_streams),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
