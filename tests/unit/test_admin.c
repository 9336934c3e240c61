// The admin side on loopback and on its socket: a store in memory, and a relay that only notes what it is asked.
#include "admin/api.h"
#include "base/json.h"
#include "base/log.h"
#include "desk/desk.h"
#include "model/media_link.h"
#include "platform/platform.h"
#include "support/unit.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TOKEN "right-token"
#define SECRET "canary-of-a-secret"

// ---- the relay that notes ----

static struct {
    bool ready;
    int answer;
    const char *asked;
    int64_t id;
    bool flag;
    size_t count;
    sem_t asked_now, go_on;
    bool waits;
} noted;

bool relay_is_ready(struct relay *relay)
{
    (void)relay;
    return noted.ready;
}

static int note(const char *what, int64_t id, bool flag)
{
    noted.asked = what;
    noted.id = id;
    noted.flag = flag;
    if (noted.waits) {
        sem_post(&noted.asked_now);
        sem_wait(&noted.go_on);
    }
    return noted.answer;
}

int relay_set_active_all(struct relay *relay, const int64_t *account_ids, size_t count, bool active)
{
    (void)relay;
    noted.count = count;
    return note("set_active", count ? account_ids[0] : 0, active);
}

int relay_resume_desk(struct relay *relay, int64_t account_id)
{
    (void)relay;
    return note("resume_desk", account_id, false);
}

int relay_retry(struct relay *relay, int64_t message_id)
{
    (void)relay;
    return note("retry", message_id, false);
}

int relay_discard(struct relay *relay, int64_t message_id)
{
    (void)relay;
    return note("discard", message_id, false);
}

int relay_retry_skipped(struct relay *relay, int64_t account_id, int64_t *after, int64_t *out_count, bool *out_more)
{
    (void)relay;
    *out_more = *after == 0; // a first part, and the rest
    *out_count = *after ? 3 : 200;
    *after += 200;
    return note("retry_skipped", account_id, false);
}

int relay_look(struct relay *relay, struct lane_view *lanes, size_t count, struct account_view *account)
{
    (void)relay;
    for (size_t i = 0; i < count; i++)
        lanes[i].state = LANE_WAITING, lanes[i].waits_for = LANE_WAITS_TIME;
    if (account)
        account->lanes_in_state[LANE_WAITING] = 1;
    return noted.answer;
}

// Answers at once, from the thread that asks.
bool relay_check(struct relay *relay, struct relay_check *check)
{
    (void)relay;
    check->err = note("check", check->source_id ? check->source_id : check->account_id, check->source_id != 0);
    struct inquiry *inquiry = &check->check.inquiry;
    inquiry->arena = &check->check.arena;
    inquiry_text(inquiry, "bot", STR("@bot"));
    inquiry_number(inquiry, "pending_updates", 3);
    inquiry_time(inquiry, "last_error_at", 0);
    inquiry_bool(inquiry, "signed", true);
    inquiry_end(inquiry, false, "It is \"%s\".", "so");
    check->done(check);
    return true;
}

void relay_end_checks(struct relay *relay)
{
    (void)relay;
}

static int reload(void *arg, struct buf *report)
{
    (void)arg;
    buf_add_str(report, STR("t.yaml:1: window: is wrong"));
    return note("reload", 0, false);
}

static struct {
    enum admin_change_kind kind;
    char account[64], source[64], body[256];
    bool discard;
    const char *why;
} changed;

static void keep(char *out, size_t size, struct str text)
{
    snprintf(out, size, "%.*s", STR_ARG(text));
}

// What is added is called as what there is: the answer shows that.
static int change(void *arg, struct admin_change *change)
{
    (void)arg;
    changed.kind = change->kind;
    changed.discard = change->discard;
    keep(changed.account, sizeof changed.account, change->account);
    keep(changed.source, sizeof changed.source, change->source);
    keep(changed.body, sizeof changed.body, change->body);
    change->made = change->kind == CHANGE_ACCOUNT_ADD ? STR("acme") : STR("bot");
    int err = note("change", 0, false);
    if (err)
        buf_add_str(change->why, str_of(changed.why));
    return err;
}

// ---- what is shown ----

static struct fixture {
    char directory[64], socket[100];
    struct store *store;
    struct directory *accounts;
    struct board *board;
    struct tally *tally;
    struct admin *admin;
    struct arena arena;
    int64_t first_id, message_ids[3];
} f;

static struct account *make_account(const char *name)
{
    struct account *account = account_new();
    struct arena *arena = &account->arena;
    account->name = arena_str(arena, str_of(name));
    account->sources = arena_of(arena, struct source);
    account->source_count = 1;
    account->sources[0] = (struct source){.account = account->name,
                                          .name = STR("bot"),
                                          .platform = STR("telegram"),
                                          .token = STR(SECRET),
                                          .secret = STR(SECRET),
                                          .made_secret = STR(SECRET),
                                          .api_url = STR("https://api.telegram.org")};
    account->desk = (struct desk){.platform = STR("webhook"),
                                  .token = STR(SECRET),
                                  .client_secret = STR(SECRET),
                                  .secret = STR(SECRET),
                                  .url = STR("http://desk.example/in?key=" SECRET),
                                  .rate_per_min = 60};
    account->defined_at = STR("t.yaml:3");
    return account;
}

static void put_account(const char *name)
{
    int64_t source_id = 0;
    struct account *account = make_account(name);
    struct store_account_put put = {.account = account, .source_ids = &source_id};
    struct store_change change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
    account->id = put.id;
    account->sources[0].id = source_id;
    account->sources[0].account_id = put.id;
    if (!f.first_id)
        f.first_id = put.id;
    directory_put(f.accounts, account);
}

static int64_t accept_with(const char *key, const char *text, struct str attachments)
{
    const struct account *account = directory_find(f.accounts, STR("acme"));
    struct store_accept accepted = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .received_at_us = INT64_C(1700000000123000),
        .event = {.dedupe_key = str_of(key),
                  .conversation = STR("42"),
                  .sender_id = STR("7"),
                  .sender_name = STR("<b>Eve</b>"),
                  .text = str_of(text),
                  .attachments = attachments,
                  .sent_at_us = INT64_C(1700000000000000)},
    };
    struct store_change change = {.kind = STORE_ACCEPT, .accept = &accepted};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
    account_unref(account);
    return accepted.message_id;
}

static int64_t accept_message(const char *key, const char *text)
{
    return accept_with(key, text, STR_NONE);
}

static void skip_message(int64_t id)
{
    struct store_outcome outcome = {.message_id = id,
                                    .state = MESSAGE_SKIPPED,
                                    .reason = REASON_REJECTED,
                                    .attempts = 1,
                                    .verdict = "rejected",
                                    .at_us = INT64_C(1700000001000000),
                                    .last_error = STR("desk says no")};
    struct store_change change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
}

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
// The first file of the message was fetched.
static void keep_file(int64_t message_id)
{
    struct store_file file = {.message_id = message_id,
                              .state = FILE_KEPT,
                              .hash = STR(HASH),
                              .mime = STR("image/jpeg"),
                              .size = 5,
                              .at_us = INT64_C(1700000001000000)};
    struct store_change change = {.kind = STORE_FILE, .file = &file};
    assert_int_equal(f.store->ops->apply(f.store, &change, 1), 0);
    assert_true(file.applied);
}

static const struct media_links links = {
    .base = STR("https://relay.example"), .key = {3}, .lifetime_us = INT64_C(3600) * 1000000};

static int set_up(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR"), *why = NULL;
    log_set_level(LOG_OFF);
    sem_init(&noted.asked_now, 0, 0);
    sem_init(&noted.go_on, 0, 0);
    noted.ready = true;
    snprintf(f.directory, sizeof f.directory, "%s/admin-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f.directory))
        return 1;
    snprintf(f.socket, sizeof f.socket, "%s/admin.sock", f.directory);
    f.store = store_memory_new();
    f.accounts = directory_new();
    f.board = board_new();
    f.tally = tally_new();
    put_account("acme");
    put_account("b-corp");
    put_account("c-corp");
    f.message_ids[0] = accept_message("1", "hello \"one\"\x1b[31m");
    f.message_ids[1] = accept_message("2", "two");
    f.message_ids[2] = accept_message("3", "three");
    skip_message(f.message_ids[0]);
    tally_message(f.tally, TALLY_ACCEPTED, STR("telegram"), INBOUND);
    tally_time(&f.tally->webhook, 150);
    tally_file(f.tally, TALLY_FILE_KEPT, 1234);
    struct admin_options options = {
        .listen = "127.0.0.1:0",
        .socket = f.socket,
        .token = STR(TOKEN),
        .directory = f.accounts,
        .board = f.board,
        .tally = f.tally,
        .clock = &clock_system,
        .links = &links,
        .reload = reload,
        .change = change,
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
    directory_free(f.accounts);
    board_free(f.board);
    tally_free(f.tally);
    arena_done(&f.arena);
    unlink(f.socket);
    rmdir(f.directory);
    sem_destroy(&noted.asked_now);
    sem_destroy(&noted.go_on);
    return 0;
}

// ---- asking ----

struct answer {
    char text[1 << 20];
    int status;
    const char *body;
    yyjson_doc *doc;
    yyjson_val *root;
};

static int connect_to(bool local)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } address = {0};
    if (local) {
        address.un.sun_family = AF_UNIX;
        snprintf(address.un.sun_path, sizeof address.un.sun_path, "%s", f.socket);
    } else {
        address.in = (struct sockaddr_in){.sin_family = AF_INET,
                                          .sin_port = htons((uint16_t)admin_port(f.admin)),
                                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, &address.any, local ? sizeof address.un : sizeof address.in), 0);
    return fd;
}

static struct answer *receive(int fd)
{
    struct answer *answer = calloc(1, sizeof *answer);
    size_t got = 0;
    for (ssize_t n; (n = read(fd, answer->text + got, sizeof answer->text - 1 - got)) > 0;)
        got += (size_t)n;
    close(fd);
    assert_int_equal(sscanf(answer->text, "HTTP/1.1 %d", &answer->status), 1);
    answer->body = strstr(answer->text, "\r\n\r\n") + 4;
    answer->doc = json_read(str_of(answer->body));
    answer->root = yyjson_doc_get_root(answer->doc);
    return answer;
}

static void drop(struct answer *answer)
{
    yyjson_doc_free(answer->doc);
    free(answer);
}

// `headers`: whole lines, each with its CRLF.
static int ask(bool local, const char *method, const char *target, const char *headers, const char *body)
{
    char request[8192];
    int n = snprintf(request, sizeof request,
                     "%s %s HTTP/1.1\r\nConnection: close\r\n%s%sContent-Length: %zu\r\n\r\n%s", method, target,
                     strstr(headers, "Host:") ? "" : "Host: localhost\r\n", headers, strlen(body), body);
    int fd = connect_to(local);
    assert_int_equal(write(fd, request, (size_t)n), n);
    return fd;
}

static struct answer *get(const char *target)
{
    return receive(ask(false, "GET", target, "Authorization: Bearer " TOKEN "\r\n", ""));
}

static struct answer *send_to(const char *method, const char *target, const char *body)
{
    return receive(ask(true, method, target, "", body));
}

static void assert_problem(struct answer *answer, int status, const char *part)
{
    assert_int_equal(answer->status, status);
    assert_non_null(strstr(answer->text, "application/problem+json"));
    int64_t said = 0;
    assert_true(json_get_int(answer->root, "status", &said));
    assert_int_equal(said, status);
    struct str detail = json_get_str(answer->root, "detail");
    assert_non_null(detail.p);
    if (!strstr(detail.p, part))
        fail_msg("\"%s\" does not say \"%s\"", detail.p, part);
    drop(answer);
}

static int64_t number_at(yyjson_val *object, const char *key)
{
    int64_t n = -1;
    assert_true(json_get_int(object, key, &n));
    return n;
}

// ---- tests ----

static void test_token_is_demanded_on_tcp_only(void **state)
{
    (void)state;
    assert_problem(receive(ask(false, "GET", "/api/v1/status", "", "")), 401, "Authorization");
    assert_problem(receive(ask(false, "GET", "/api/v1/status", "Authorization: Bearer wrong\r\n", "")), 401,
                   "Authorization");
    assert_problem(receive(ask(false, "GET", "/api/v1/status?token=" TOKEN, "", "")), 401, "Authorization");
    assert_problem(receive(ask(false, "GET", "/api/v1/nothing", "", "")), 401, "Authorization");
    struct answer *answer = receive(ask(false, "PATCH", "/api/v1/accounts/acme", "", "{\"active\":false}"));
    assert_non_null(strstr(answer->text, "WWW-Authenticate: Bearer"));
    assert_problem(answer, 401, "Authorization");
    answer = get("/api/v1/status");
    assert_int_equal(answer->status, 200);
    drop(answer);
    answer = send_to("GET", "/api/v1/status", "");
    assert_int_equal(answer->status, 200);
    drop(answer);
    struct stat status;
    assert_int_equal(stat(f.socket, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_pages_of_other_origins_are_refused(void **state)
{
    (void)state;
    static const char auth[] = "Authorization: Bearer " TOKEN "\r\n";
    char headers[256];
    snprintf(headers, sizeof headers, "%sHost: evil.example\r\n", auth);
    assert_problem(receive(ask(false, "GET", "/api/v1/status", headers, "")), 421, "Host");
    assert_problem(receive(ask(false, "GET", "/metrics", "Host: evil.example:8081\r\n", "")), 421, "Host");
    snprintf(headers, sizeof headers, "%sOrigin: https://evil.example\r\n", auth);
    assert_problem(receive(ask(false, "POST", "/api/v1/reload", headers, "")), 403, "origin");
}

static void test_answers_carry_the_headers_that_keep_browsers_calm(void **state)
{
    (void)state;
    struct answer *answer = get("/api/v1/status");
    assert_non_null(strstr(answer->text, "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'"));
    assert_non_null(strstr(answer->text, "X-Content-Type-Options: nosniff"));
    assert_non_null(strstr(answer->text, "Cache-Control: no-store"));
    assert_null(strstr(answer->text, "Access-Control"));
    drop(answer);
    answer = receive(ask(false, "GET", "/", "", ""));
    assert_int_equal(answer->status, 200);
    assert_non_null(strstr(answer->text, "script-src 'self'"));
    assert_null(strstr(answer->text, "unsafe-inline"));
    assert_non_null(strstr(answer->body, "<title>Tributary</title>"));
    drop(answer);
    answer = receive(ask(false, "GET", "/status.js", "", ""));
    assert_non_null(strstr(answer->text, "text/javascript"));
    assert_null(strstr(answer->body, "innerHTML"));
    drop(answer);
    assert_problem(receive(ask(false, "GET", "/../etc/passwd", "", "")), 404, "nothing");
}

static void test_status_counts(void **state)
{
    (void)state;
    board_alarm(f.board, "desk_refuses", STR("acme"), STR("it says 401"));
    struct answer *answer = get("/api/v1/status");
    assert_int_equal(number_at(answer->root, "accepted"), 3);
    assert_int_equal(number_at(answer->root, "delivered"), 0);
    assert_int_equal(number_at(answer->root, "pending"), 2);
    assert_int_equal(number_at(answer->root, "skipped"), 1);
    assert_int_equal(number_at(answer->root, "discarded"), 0);
    assert_int_equal(number_at(answer->root, "lanes_waiting"), 1);
    assert_true(yyjson_get_num(yyjson_obj_get(answer->root, "oldest_pending_s")) > 1e6);
    yyjson_val *account = yyjson_arr_get_first(yyjson_obj_get(answer->root, "accounts"));
    assert_str(json_get_str(account, "name"), "acme");
    assert_int_equal(number_at(account, "pending"), 2);
    assert_str(json_get_str(yyjson_arr_get_first(yyjson_obj_get(answer->root, "alarms")), "text"), "it says 401");
    assert_str(json_get_str(yyjson_arr_get_first(yyjson_obj_get(answer->root, "desks")), "state"), "ok");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(answer->root, "sources")), 3);
    drop(answer);
    board_alarm_end(f.board, "desk_refuses", STR("acme"));
    answer = get("/api/v1/status");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(answer->root, "alarms")), 0);
    drop(answer);
}

static void test_no_answer_holds_a_secret(void **state)
{
    (void)state;
    static const char *const targets[] = {"/api/v1/status",
                                          "/api/v1/accounts",
                                          "/api/v1/accounts/acme",
                                          "/api/v1/accounts/acme/sources",
                                          "/api/v1/accounts/acme/sources/bot",
                                          "/api/v1/accounts/acme/desk",
                                          "/api/v1/messages",
                                          "/metrics"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct answer *answer = get(targets[i]);
        assert_int_equal(answer->status, 200);
        assert_null(strstr(answer->text, SECRET));
        drop(answer);
    }
    struct answer *answer = get("/api/v1/accounts/acme/desk");
    assert_str(json_get_str(answer->root, "token"), "set");
    assert_str(json_get_str(answer->root, "url"), "http://desk.example/in?...");
    drop(answer);
}

static void test_accounts_come_in_pages(void **state)
{
    (void)state;
    struct answer *first = get("/api/v1/accounts?limit=2");
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(first->root, "items")), 2);
    char target[512];
    snprintf(target, sizeof target, "/api/v1/accounts?limit=2&after=%s", json_get_str(first->root, "next").p);
    struct answer *second = get(target);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(second->root, "items")), 1);
    assert_str(json_get_str(yyjson_arr_get_first(yyjson_obj_get(second->root, "items")), "name"), "c-corp");
    assert_true(yyjson_is_null(yyjson_obj_get(second->root, "next")));
    drop(first);
    drop(second);
}

static void test_messages_come_in_order_and_in_pages(void **state)
{
    (void)state;
    struct answer *first = get("/api/v1/messages?limit=2");
    yyjson_val *items = yyjson_obj_get(first->root, "items"), *one = yyjson_arr_get_first(items);
    assert_int_equal(yyjson_arr_size(items), 2);
    assert_str(json_get_str(one, "text"), "hello \"one\"\x1b[31m");
    assert_str(json_get_str(one, "account"), "acme");
    assert_str(json_get_str(one, "source"), "bot");
    assert_str(json_get_str(one, "platform"), "telegram");
    assert_str(json_get_str(one, "direction"), "inbound");
    assert_str(json_get_str(one, "conversation"), "42");
    assert_str(json_get_str(yyjson_obj_get(one, "sender"), "name"), "<b>Eve</b>");
    assert_str(json_get_str(one, "state"), "skipped");
    assert_str(json_get_str(one, "reason"), "rejected");
    assert_str(json_get_str(one, "last_error"), "desk says no");
    assert_str(json_get_str(one, "received_at"), "2023-11-14T22:13:20.123Z");
    assert_int_equal(number_at(one, "attempts"), 1);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(one, "attachments")), 0);
    char target[512];
    snprintf(target, sizeof target, "/api/v1/messages?limit=2&after=%s", json_get_str(first->root, "next").p);
    struct answer *second = get(target);
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(second->root, "items")), 1);
    assert_true(yyjson_is_null(yyjson_obj_get(second->root, "next")));
    drop(first);
    drop(second);
}

static yyjson_val *attachment_at(struct answer *answer, size_t nth)
{
    return yyjson_arr_get(yyjson_obj_get(answer->root, "attachments"), nth);
}

// A kept file has a link of ours, which is good; no platform's reference is shown, whatever state it is in.
static void test_attachments_have_links_and_no_references(void **state)
{
    (void)state;
    int64_t id = accept_with(
        "files", "t",
        STR("[{\"kind\":\"image\",\"name\":\"a.jpg\",\"mime\":\"image/jpeg\",\"size\":5,\"state\":\"wanted\",\"ref\":\"" SECRET
            "\",\"url\":\"https://sender.example/a\"},"
            "{\"kind\":\"file\",\"state\":\"wanted\",\"ref\":\"" SECRET "\"},"
            "{\"kind\":\"file\",\"state\":\"failed\",\"ref\":\"" SECRET "\",\"why\":\"it is too large\"},"
            "{\"kind\":\"file\",\"url\":\"https://sender.example/b\",\"file_id\":\"" SECRET "\"}]"));
    keep_file(id);
    char target[100];
    snprintf(target, sizeof target, "/api/v1/messages/%lld", (long long)id);
    struct answer *answer = get(target);
    assert_int_equal(answer->status, 200);
    assert_null(strstr(answer->text, SECRET));
    yyjson_val *kept = attachment_at(answer, 0);
    assert_str(json_get_str(kept, "state"), "kept");
    assert_int_equal(number_at(kept, "size"), 5);
    struct str url = json_get_str(kept, "url");
    size_t mark = str_index(url, '?', 0);
    struct attachment read;
    assert_true(str_starts(url, links.base));
    assert_int_equal(media_link_read(&links, str_sub(url, links.base.n, mark), str_sub(url, mark + 1, url.n),
                                     clock_wall_us(&clock_system), &f.arena, &read),
                     MEDIA_LINK_GOOD);
    assert_str(read.name, "a.jpg");
    assert_str(json_get_str(attachment_at(answer, 1), "state"), "wanted");
    assert_true(yyjson_is_null(yyjson_obj_get(attachment_at(answer, 1), "url")));
    assert_true(yyjson_is_null(yyjson_obj_get(attachment_at(answer, 1), "size")));
    assert_str(json_get_str(attachment_at(answer, 2), "why"), "it is too large");
    assert_true(yyjson_is_null(yyjson_obj_get(attachment_at(answer, 3), "state")));
    assert_str(json_get_str(attachment_at(answer, 3), "url"), "https://sender.example/b");
    drop(answer);
}

static size_t found(const char *query)
{
    char target[512];
    snprintf(target, sizeof target, "/api/v1/messages?%s", query);
    struct answer *answer = get(target);
    assert_int_equal(answer->status, 200);
    size_t n = yyjson_arr_size(yyjson_obj_get(answer->root, "items"));
    drop(answer);
    return n;
}

static void test_filters(void **state)
{
    (void)state;
    assert_int_equal(found("account=acme"), 3);
    assert_int_equal(found("account=b-corp"), 0);
    assert_int_equal(found("account=acme&source=bot&conversation=42"), 3);
    assert_int_equal(found("conversation=43"), 0);
    assert_int_equal(found("state=skipped"), 1);
    assert_int_equal(found("state=pending"), 2);
    assert_int_equal(found("direction=inbound"), 3);
    assert_int_equal(found("direction=reply"), 0);
    assert_int_equal(found("direction=note"), 0);
    assert_int_equal(found("q=TWO"), 1);
    assert_int_equal(found("q=%25"), 0);
    assert_int_equal(found("q=%27%20OR%201=1"), 0);
}

static void test_what_cannot_be_asked_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        int status;
        const char *part;
    } wrong[] = {
        {"/api/v1/messages?limit=0", 400, "limit"},
        {"/api/v1/messages?limit=-1", 400, "limit"},
        {"/api/v1/messages?limit=1001", 400, "limit"},
        {"/api/v1/messages?limit=2147483648", 400, "limit"},
        {"/api/v1/messages?limit=x", 400, "limit"},
        {"/api/v1/messages?after=zz", 400, "cursor"},
        {"/api/v1/messages?after=6d31aaaaaaaa", 400, "cursor"},
        {"/api/v1/messages?after=", 400, "cursor"},
        {"/api/v1/messages?sort=color", 400, "\"sort\" here; there are: account source"},
        {"/api/v1/messages?limit=1e2", 400, "limit"},
        {"/api/v1/messages?limit=%201", 400, "limit"},
        {"/api/v1/messages?limit", 400, "limit"},
        {"/api/v1/messages?acount=acme", 400, "acount"},
        {"/api/v1/messages?%61ccount=acme", 400, "parameter"},
        {"/api/v1/status?pretty", 400, "there is none"},
        {"/api/v1/messages?state=lost", 400, "state"},
        {"/api/v1/messages?direction=up", 400, "direction"},
        {"/api/v1/messages?source=bot", 400, "account"},
        {"/api/v1/messages?account=%00", 400, "account stands twice, or"}, // no filter would show every account's
        {"/api/v1/messages?account=acme%00", 400, "account stands twice, or"},
        {"/api/v1/messages?q=%zz", 400, "q stands twice, or"},
        {"/api/v1/messages?q=%ff", 400, "q stands twice, or"},
        {"/api/v1/messages?q=%", 400, "q stands twice, or"},
        {"/api/v1/messages?account=b-corp&account=acme", 400, "account stands twice"},
        {"/api/v1/messages?limit=1&limit=1000", 400, "limit stands twice"},
        {"/api/v1/verify?deep=%80", 400, "deep stands twice, or"},
        {"/api/v1/messages?account=nobody", 404, "account"},
        {"/api/v1/messages?account=acme&source=none", 404, "source"},
        {"/api/v1/messages/0", 404, "message"},
        {"/api/v1/messages/-1", 404, "message"},
        {"/api/v1/messages/999999", 404, "message"},
        {"/api/v1/messages/99999999999999999999999", 404, "message"},
        {"/api/v1/messages/1'", 404, "message"},
        {"/api/v1/accounts/nobody", 404, "account"},
        {"/api/v1/accounts/acme/sources/none", 404, "source"},
        {"/api/v1/accounts/%ff", 400, "UTF-8"},
        {"/api/v1/accounts/%zz", 400, "UTF-8"},
        {"/api/v1/nothing", 404, "nothing"},
        {"/api/v1/status/", 404, "nothing"},
        {"/api/v1/reload", 405, "methods"},
        {"/nothing", 404, "nothing"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_problem(get(wrong[i].target), wrong[i].status, wrong[i].part);
    struct answer *answer = send_to("POST", "/api/v1/accounts/acme", "");
    assert_non_null(strstr(answer->text, "Allow: GET, HEAD, PATCH, DELETE"));
    assert_problem(answer, 405, "methods");
    answer = send_to("DELETE", "/style.css", "");
    assert_non_null(strstr(answer->text, "Allow: GET, HEAD"));
    assert_problem(answer, 405, "reading");
    answer = send_to("TRACE", "/api/v1/status", "");
    assert_non_null(strstr(answer->text, "Allow: GET, HEAD, POST, PATCH, DELETE"));
    assert_problem(answer, 405, "method");
    char term[3000];
    memset(term, 'a', sizeof term);
    memcpy(term, "/api/v1/messages?q=", 19);
    term[sizeof term - 1] = 0;
    assert_problem(get(term), 400, "1000");
}

static struct answer *patch_as(const char *type, const char *body)
{
    char headers[128];
    snprintf(headers, sizeof headers, "Content-Type: %s\r\n", type);
    return receive(ask(true, "PATCH", "/api/v1/accounts/acme", headers, body));
}

static void test_a_body_is_json_and_not_too_large(void **state)
{
    (void)state;
    static const char *const wrong[] = {"text/plain", "application/x-www-form-urlencoded",
                                        "multipart/form-data; boundary=x", "application/jsonp", ""};
    noted.answer = ERR_OK;
    noted.asked = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_problem(patch_as(wrong[i], "{\"active\":false}"), 415, "application/json");
    assert_null(noted.asked);
    static const char *const right[] = {"application/json", "Application/JSON; charset=utf-8"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        struct answer *answer = patch_as(right[i], "{\"active\":false}");
        assert_int_equal(answer->status, 200);
        drop(answer);
    }
    int fd = ask(true, "PATCH", "/api/v1/accounts/acme", "Content-Length: 1048577\r\nX-Not-",
                 ""); // X-Not-Content-Length: 0
    assert_problem(receive(fd), 413, "");
}

static void test_a_cursor_of_another_list_is_refused(void **state)
{
    (void)state;
    struct answer *accounts = get("/api/v1/accounts?limit=1");
    char target[512];
    snprintf(target, sizeof target, "/api/v1/messages?after=%s", json_get_str(accounts->root, "next").p);
    assert_problem(get(target), 400, "cursor");
    drop(accounts);
}

static void test_a_message_comes_with_its_attempts(void **state)
{
    (void)state;
    char target[128];
    snprintf(target, sizeof target, "/api/v1/messages/%lld", (long long)f.message_ids[0]);
    struct answer *answer = get(target);
    yyjson_val *attempt = yyjson_arr_get_first(yyjson_obj_get(answer->root, "attempt_history"));
    assert_str(json_get_str(attempt, "verdict"), "rejected");
    assert_str(json_get_str(attempt, "error"), "desk says no");
    assert_str(json_get_str(attempt, "at"), "2023-11-14T22:13:21.000Z");
    drop(answer);
}

static void test_active_is_changed(void **state)
{
    (void)state;
    struct answer *answer = send_to("PATCH", "/api/v1/accounts/acme", "{\"active\":false}");
    assert_int_equal(answer->status, 200);
    assert_str(json_get_str(answer->root, "name"), "acme");
    assert_string_equal(noted.asked, "set_active");
    assert_int_equal(noted.id, f.first_id);
    assert_false(noted.flag);
    drop(answer);
    drop(send_to("PATCH", "/api/v1/accounts/acme", "{\"active\":true}"));
    assert_true(noted.flag);
    assert_problem(send_to("PATCH", "/api/v1/accounts/acme", "{\"active\":\"no\"}"), 400, "active");
    assert_problem(send_to("PATCH", "/api/v1/accounts/acme", "{}"), 400, "active");
    assert_problem(send_to("PATCH", "/api/v1/accounts/acme", "[]"), 400, "active");
    assert_problem(send_to("PATCH", "/api/v1/accounts/acme", "nonsense"), 400, "active");
    assert_problem(send_to("PATCH", "/api/v1/accounts/nobody", "{\"active\":true}"), 404, "account");
    noted.answer = ERR_FULL;
    assert_problem(send_to("PATCH", "/api/v1/accounts/acme", "{\"active\":true}"), 503, "disk");
    noted.answer = 0;
}

static void test_sources_and_desks_are_asked(void **state)
{
    (void)state;
    noted.answer = ERR_OK;
    struct answer *answer = send_to("POST", "/api/v1/accounts/acme/sources/bot/check", "");
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, "{\"ok\":false,\"text\":\"It is \\\"so\\\".\",\"data\":{\"bot\":\"@bot\","
                                      "\"pending_updates\":3,\"last_error_at\":null,\"signed\":true}}");
    assert_string_equal(noted.asked, "check");
    assert_true(noted.flag);
    drop(answer);
    answer = send_to("POST", "/api/v1/accounts/acme/desk/check", "");
    assert_int_equal(answer->status, 200);
    assert_int_equal(noted.id, f.first_id);
    assert_false(noted.flag);
    drop(answer);
    assert_problem(send_to("POST", "/api/v1/accounts/nobody/desk/check", ""), 404, "account");
    assert_problem(send_to("POST", "/api/v1/accounts/nobody/sources/bot/check", ""), 404, "account");
    assert_problem(send_to("POST", "/api/v1/accounts/acme/sources/none/check", ""), 404, "source");
    noted.answer = ERR_BUSY;
    assert_problem(send_to("POST", "/api/v1/accounts/acme/desk/check", ""), 503, "Too many");
    noted.answer = ERR_CLOSED;
    assert_problem(send_to("POST", "/api/v1/accounts/acme/desk/check", ""), 503, "going down");
    noted.answer = ERR_OK;
}

static void test_many_are_switched_together(void **state)
{
    (void)state;
    struct answer *answer = send_to("PATCH", "/api/v1/accounts",
                                    "{\"active\":false,\"accounts\":[\"acme\",\"c-corp\"]}");
    assert_int_equal(answer->status, 200);
    assert_int_equal(noted.count, 2);
    assert_int_equal(noted.id, f.first_id);
    assert_non_null(strstr(answer->text, "{\"active\":false,\"changed\":2}"));
    drop(answer);
    drop(send_to("PATCH", "/api/v1/accounts", "{\"active\":false,\"all\":true}"));
    assert_int_equal(noted.count, 3);
    answer = send_to("PATCH", "/api/v1/accounts", "{\"active\":true,\"all\":true}"); // they are active
    assert_non_null(strstr(answer->text, "{\"active\":true,\"changed\":0}"));
    drop(answer);
    noted.asked = NULL;
    assert_problem(send_to("PATCH", "/api/v1/accounts", "{\"active\":false,\"accounts\":[\"acme\",\"nobody\"]}"), 404,
                   "nobody");
    static const char *const wrong[] = {
        "",
        "{}",
        "[]",
        "{\"active\":false}",
        "{\"active\":0,\"all\":true}",
        "{\"active\":true,\"all\":false}",
        "{\"active\":true,\"all\":true,\"accounts\":[]}",
        "{\"active\":true,\"accounts\":\"acme\"}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_problem(send_to("PATCH", "/api/v1/accounts", wrong[i]), 400, "active");
    assert_problem(send_to("PATCH", "/api/v1/accounts", "{\"active\":true,\"accounts\":[7]}"), 404, "none");
    assert_null(noted.asked);
}

// ---- what the program layer is asked ----

static void assert_asked(enum admin_change_kind kind, const char *account, const char *source, const char *body)
{
    assert_string_equal(noted.asked, "change");
    assert_int_equal(changed.kind, kind);
    assert_string_equal(changed.account, account);
    assert_string_equal(changed.source, source);
    assert_string_equal(changed.body, body);
    noted.asked = NULL;
}

static void test_definitions_are_changed(void **state)
{
    static const struct {
        const char *method, *target, *body;
        int status;
        enum admin_change_kind kind;
        const char *account, *source;
    } calls[] = {
        {"POST", "/api/v1/accounts", "{\"name\":\"acme\"}", 201, CHANGE_ACCOUNT_ADD, "", ""},
        {"PATCH", "/api/v1/accounts/acme", "{\"order\":\"account\"}", 200, CHANGE_ACCOUNT, "acme", ""},
        {"PATCH", "/api/v1/accounts/acme", "{\"active\":true,\"order\":\"account\"}", 200, CHANGE_ACCOUNT, "acme", ""},
        {"DELETE", "/api/v1/accounts/acme", "", 200, CHANGE_ACCOUNT_REMOVE, "acme", ""},
        {"POST", "/api/v1/accounts/acme/sources", "{\"name\":\"bot\"}", 201, CHANGE_SOURCE_ADD, "acme", ""},
        {"PATCH", "/api/v1/accounts/acme/sources/bot", "{\"mode\":null}", 200, CHANGE_SOURCE, "acme", "bot"},
        {"DELETE", "/api/v1/accounts/acme/sources/bot", "", 200, CHANGE_SOURCE_REMOVE, "acme", "bot"},
        {"PUT", "/api/v1/accounts/acme/desk", "{\"platform\":\"x\"}", 200, CHANGE_DESK_SET, "acme", ""},
        {"PATCH", "/api/v1/accounts/acme/desk", "{\"rate\":\"1/s\"}", 200, CHANGE_DESK, "acme", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct answer *answer = send_to(calls[i].method, calls[i].target, calls[i].body);
        assert_int_equal(answer->status, calls[i].status);
        assert_asked(calls[i].kind, calls[i].account, calls[i].source, calls[i].body);
        assert_false(changed.discard);
        drop(answer);
    }
    drop(send_to("DELETE", "/api/v1/accounts/acme?discard=true", ""));
    assert_true(changed.discard);
    assert_problem(send_to("DELETE", "/api/v1/accounts/acme?discard=yes", ""), 400, "discard");
    assert_problem(send_to("POST", "/api/v1/accounts", "nonsense"), 400, "JSON");
    assert_problem(send_to("PUT", "/api/v1/accounts/acme/desk", "[]"), 400, "JSON");
}

static void test_a_refused_definition_is_told(void **state)
{
    (void)state;
    noted.answer = ERR_INVALID;
    changed.why = "desk.token: is missing; a desk needs it\nname: is no name";
    struct answer *answer = send_to("POST", "/api/v1/accounts", "{}");
    yyjson_val *mistakes = yyjson_obj_get(answer->root, "mistakes");
    assert_int_equal(answer->status, 422);
    assert_int_equal(yyjson_arr_size(mistakes), 2);
    assert_str(json_get_str(yyjson_arr_get(mistakes, 0), "key"), "desk.token");
    assert_str(json_get_str(yyjson_arr_get(mistakes, 0), "text"), "is missing; a desk needs it");
    drop(answer);
    noted.answer = ERR_REFUSED;
    changed.why = "The account is defined in t.yaml:3.";
    assert_problem(send_to("PATCH", "/api/v1/accounts/acme", "{\"order\":\"account\"}"), 409, "defined in t.yaml:3");
    noted.answer = ERR_NOT_FOUND;
    changed.why = "There is no account of that name.";
    assert_problem(send_to("DELETE", "/api/v1/accounts/nobody", ""), 404, "account");
    noted.answer = ERR_BUSY;
    changed.why = "A request is still in flight.";
    assert_problem(send_to("DELETE", "/api/v1/accounts/acme?discard=true", ""), 503, "in flight");
    noted.answer = ERR_FULL;
    changed.why = "";
    assert_problem(send_to("DELETE", "/api/v1/accounts/acme", ""), 503, "disk");
    noted.answer = 0;
}

static void test_messages_are_changed_by_hand(void **state)
{
    (void)state;
    char retry[128], discard[128];
    snprintf(retry, sizeof retry, "/api/v1/messages/%lld/retry", (long long)f.message_ids[0]);
    snprintf(discard, sizeof discard, "/api/v1/messages/%lld/discard", (long long)f.message_ids[1]);
    struct answer *answer = send_to("POST", retry, "");
    assert_int_equal(answer->status, 200);
    assert_string_equal(noted.asked, "retry");
    assert_int_equal(noted.id, f.message_ids[0]);
    drop(answer);
    answer = send_to("POST", discard, "");
    assert_int_equal(answer->status, 200);
    assert_string_equal(noted.asked, "discard");
    drop(answer);
    noted.answer = ERR_BUSY;
    answer = send_to("POST", discard, "");
    assert_int_equal(answer->status, 202);
    drop(answer);
    noted.answer = ERR_REFUSED;
    assert_problem(send_to("POST", retry, ""), 409, "account of this message was removed");
    snprintf(retry, sizeof retry, "/api/v1/messages/%lld/retry", (long long)f.message_ids[1]);
    assert_problem(send_to("POST", retry, ""), 409, "Only a skipped");
    assert_problem(send_to("POST", discard, ""), 409, "delivered");
    noted.answer = ERR_NOT_FOUND;
    assert_problem(send_to("POST", "/api/v1/messages/77/retry", ""), 404, "message");
    noted.answer = 0;
    answer = send_to("POST", "/api/v1/accounts/acme/desk/resume", "");
    assert_int_equal(answer->status, 200);
    assert_string_equal(noted.asked, "resume_desk");
    drop(answer);
}

static void test_a_busy_lane_is_told(void **state)
{
    (void)state;
    struct answer *answer = get("/api/v1/status");
    yyjson_val *account = yyjson_arr_get_first(yyjson_obj_get(answer->root, "accounts"));
    assert_false(yyjson_get_bool(yyjson_obj_get(account, "busy_lane")));
    drop(answer);
    busy_began(board_busy(f.board), f.first_id, clock_mono_us(&clock_system) - INT64_C(299) * 1000000);
    answer = get("/api/v1/status");
    account = yyjson_arr_get_first(yyjson_obj_get(answer->root, "accounts"));
    assert_str(json_get_str(account, "name"), "acme");
    assert_true(yyjson_get_bool(yyjson_obj_get(account, "busy_lane")));
    drop(answer);
    answer = get("/api/v1/accounts/acme/why");
    assert_true(yyjson_get_sint(yyjson_obj_get(answer->root, "busy_percent")) > BUSY_PERCENT);
    assert_non_null(strstr(answer->body, "order: conversation"));
    drop(answer);
}

static void test_skipped_ones_of_an_account_are_tried_again_in_parts(void **state)
{
    (void)state;
    char target[256];
    struct answer *answer = send_to("POST", "/api/v1/accounts/acme/retry?state=skipped", "");
    assert_int_equal(answer->status, 200);
    assert_string_equal(noted.asked, "retry_skipped");
    assert_int_equal(noted.id, f.first_id);
    assert_int_equal(yyjson_get_sint(yyjson_obj_get(answer->root, "retried")), 200);
    assert_true(yyjson_get_bool(yyjson_obj_get(answer->root, "more")));
    snprintf(target, sizeof target, "/api/v1/accounts/acme/retry?state=skipped&after=%.*s",
             STR_ARG(json_get_str(answer->root, "next")));
    drop(answer);
    answer = send_to("POST", target, "");
    assert_int_equal(yyjson_get_sint(yyjson_obj_get(answer->root, "retried")), 3);
    assert_false(yyjson_get_bool(yyjson_obj_get(answer->root, "more")));
    drop(answer);
    assert_problem(send_to("POST", "/api/v1/accounts/acme/retry", ""), 400, "state=skipped");
    assert_problem(send_to("POST", "/api/v1/accounts/acme/retry?state=skipped&after=1", ""), 400, "after");
    assert_problem(send_to("POST", "/api/v1/accounts/nobody/retry?state=skipped", ""), 404, "account");
    struct arena arena = {0};
    struct str word = api_cursor(&arena, 'm', STR("word")), digits = api_cursor(&arena, 'l', STR("0"));
    snprintf(target, sizeof target, "/api/v1/messages?after=%.*s", STR_ARG(word)); // well made, but not by us
    assert_problem(get(target), 400, "after");
    snprintf(target, sizeof target, "/api/v1/lanes?after=%.*s", STR_ARG(digits));
    assert_problem(get(target), 400, "after");
    arena_done(&arena);
}

static void test_reload_reports(void **state)
{
    (void)state;
    struct answer *answer = send_to("POST", "/api/v1/reload", "");
    assert_int_equal(answer->status, 200);
    assert_str(json_get_str(answer->root, "report"), "t.yaml:1: window: is wrong");
    drop(answer);
    noted.answer = ERR_INVALID;
    assert_problem(send_to("POST", "/api/v1/reload", ""), 422, "t.yaml:1: window: is wrong");
    noted.answer = 0;
}

static void test_status_answers_while_a_change_blocks(void **state)
{
    (void)state;
    noted.waits = true;
    int blocked = ask(true, "PATCH", "/api/v1/accounts/acme", "", "{\"active\":true}");
    sem_wait(&noted.asked_now);
    struct answer *answer = get("/api/v1/status");
    assert_int_equal(answer->status, 200);
    drop(answer);
    noted.waits = false;
    sem_post(&noted.go_on);
    answer = receive(blocked);
    assert_int_equal(answer->status, 200);
    drop(answer);
}

static void test_one_reload_at_a_time(void **state)
{
    (void)state;
    noted.waits = true;
    int blocked = ask(true, "POST", "/api/v1/reload", "", "");
    sem_wait(&noted.asked_now);
    assert_problem(send_to("POST", "/api/v1/reload", ""), 409, "already");
    noted.waits = false;
    sem_post(&noted.go_on);
    drop(receive(blocked));
}

static void test_verify(void **state)
{
    (void)state;
    struct answer *answer = get("/api/v1/verify?deep=true");
    assert_int_equal(answer->status, 200);
    assert_true(yyjson_get_bool(yyjson_obj_get(answer->root, "ok")));
    assert_true(yyjson_get_bool(yyjson_obj_get(answer->root, "deep")));
    assert_true(yyjson_is_arr(yyjson_obj_get(answer->root, "findings")));
    assert_true(yyjson_is_int(yyjson_obj_get(answer->root, "messages")));
    drop(answer);
    assert_problem(get("/api/v1/verify?deep=1"), 400, "deep");
    answer = get("/api/v1/verify/progress");
    assert_false(yyjson_get_bool(yyjson_obj_get(answer->root, "running")));
    drop(answer);
}

static void test_metrics_and_readiness(void **state)
{
    (void)state;
    struct answer *answer = receive(ask(false, "GET", "/metrics", "", ""));
    assert_int_equal(answer->status, 200);
    assert_non_null(
        strstr(answer->body, "\ntributary_messages_accepted_total{platform=\"telegram\",direction=\"inbound\"} 1\n"));
    assert_non_null(
        strstr(answer->body, "\ntributary_messages_duplicate_total{platform=\"webhook\",direction=\"reply\"} 0\n"));
    assert_non_null(strstr(answer->body, "\ntributary_messages_pending 2\n"));
    assert_non_null(strstr(answer->body, "\ntributary_attempts_total{desk=\"intercom\",verdict=\"delivered\"} 0\n"));
    assert_non_null(strstr(answer->body, "\ntributary_in_doubt_total{outcome=\"found\"} 0\n"));
    assert_non_null(strstr(answer->body, "\ntributary_files_total{outcome=\"kept\"} 1\n"));
    assert_non_null(strstr(answer->body, "\ntributary_file_bytes_total 1234\n"));
    assert_non_null(strstr(answer->body, "\ntributary_webhook_seconds_bucket{le=\"0.0001\"} 0\n"));
    assert_non_null(strstr(answer->body, "\ntributary_webhook_seconds_bucket{le=\"0.0002\"} 1\n"));
    assert_non_null(strstr(answer->body, "\ntributary_webhook_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(answer->body, "\ntributary_webhook_seconds_count 1\n"));
    assert_non_null(strstr(answer->body, "\ntributary_desk_suspended 0\n"));
    drop(answer);
    answer = receive(ask(false, "GET", "/readyz", "", ""));
    assert_int_equal(answer->status, 200);
    drop(answer);
    noted.ready = false;
    answer = receive(ask(false, "GET", "/readyz", "", ""));
    assert_int_equal(answer->status, 503);
    drop(answer);
    noted.ready = true;
}

// "name{label,label}" of a sample, its labels without values.
static void series_of(const char *line, char *out)
{
    bool inside = false;
    for (; *line && (*line != ' ' || inside); line++) {
        if (*line == '"')
            inside = !inside;
        else if (!inside && *line != '=')
            *out++ = *line;
    }
    *out = '\0';
}

// The label `desk` of the attempts is the name of who takes them, a desk or, of replies, a platform: none may be both.
static void test_no_desk_and_no_platform_that_takes_replies_share_a_name(void **state)
{
    (void)state;
    for (size_t i = 0; desk_connectors[i]; i++)
        for (size_t k = 0; platforms[k]; k++)
            if (platforms[k]->receiver)
                assert_string_not_equal(desk_connectors[i]->receiver.name, platforms[k]->receiver->name);
    tally_attempt(f.tally, STR("telegram"), VERDICT_WAIT);
    struct answer *answer = receive(ask(false, "GET", "/metrics", "", ""));
    assert_non_null(strstr(answer->body, "\ntributary_attempts_total{desk=\"telegram\",verdict=\"wait\"} 1\n"));
    assert_non_null(strstr(answer->body, "\ntributary_attempts_total{desk=\"intercom\",verdict=\"wait\"} 0\n"));
    drop(answer);
}

// Labels have values of ours only: nothing that a stranger sends, and no account, makes a series.
static void test_metrics_are_these_with_these_labels(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        "tributary_build_info{version}",
        "tributary_messages_accepted_total{platform,direction}",
        "tributary_messages_delivered_total{platform,direction}",
        "tributary_messages_skipped_total{platform,direction}",
        "tributary_messages_discarded_total{platform,direction}",
        "tributary_messages_duplicate_total{platform,direction}",
        "tributary_webhooks_total{platform,answer}",
        "tributary_notices_total{desk,answer}",
        "tributary_attempts_total{desk,verdict}",
        "tributary_in_doubt_total{outcome}",
        "tributary_files_total{outcome}",
        "tributary_file_bytes_total",
        "tributary_messages_pending",
        "tributary_oldest_pending_seconds",
        "tributary_desk_suspended",
        "tributary_alarm{name}",
        "tributary_webhook_seconds_bucket{le}",
        "tributary_webhook_seconds_sum",
        "tributary_webhook_seconds_count",
        "tributary_delivery_seconds_bucket{le}",
        "tributary_delivery_seconds_sum",
        "tributary_delivery_seconds_count",
        "tributary_commit_seconds_bucket{le}",
        "tributary_commit_seconds_sum",
        "tributary_commit_seconds_count",
    };
    size_t at = 0, samples = 0;
    board_alarm(f.board, "source_refused", STR("acme/bot"), STR("canary"));
    board_alarm(f.board, "source_refused", STR("b-corp/bot"), STR("canary"));
    struct answer *answer = receive(ask(false, "GET", "/metrics", "", ""));
    assert_non_null(strstr(answer->body, "\ntributary_alarm{name=\"source_refused\"} 2\n"));
    assert_non_null(strstr(answer->body, "\ntributary_alarm{name=\"disk_full\"} 0\n"));
    assert_null(strstr(answer->body, "acme"));
    assert_null(strstr(answer->body, "canary"));
    for (char *rest = NULL, *line = strtok_r((char *)(uintptr_t)answer->body, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        char series[256];
        if (*line == '#')
            continue;
        series_of(line, series);
        samples++;
        if (at && strcmp(wanted[at - 1], series) == 0)
            continue;
        assert_true(at < sizeof wanted / sizeof *wanted);
        assert_string_equal(series, wanted[at++]);
    }
    assert_int_equal(at, sizeof wanted / sizeof *wanted);
    assert_true(samples < 400);
    drop(answer);
    board_alarm_end(f.board, "source_refused", STR("acme/bot"));
    board_alarm_end(f.board, "source_refused", STR("b-corp/bot"));
}

static void test_guessing_tokens_becomes_slow(void **state)
{
    (void)state;
    struct timespec begin, end;
    int fds[12];
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 12; i++)
        fds[i] = ask(false, "GET", "/api/v1/status", "Authorization: Bearer wrong\r\n", "");
    struct answer *answer = get("/api/v1/status");
    assert_int_equal(answer->status, 200); // the right one is not kept waiting
    drop(answer);
    for (int i = 0; i < 12; i++)
        assert_problem(receive(fds[i]), 401, "Authorization");
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_true((double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9 > 0.9);
}

// A reader whose verification takes until it is interrupted.
struct slow_reader {
    struct store_reader reader;
    sem_t begun, interrupted;
};

static int slow_verify(struct store_reader *reader, struct store_check *check)
{
    struct slow_reader *slow = (struct slow_reader *)reader;
    check->progress(check->arg, "messages", 3, 4);
    sem_post(&slow->begun);
    sem_wait(&slow->interrupted);
    return ERR_BUSY;
}

static void slow_interrupt(struct store_reader *reader)
{
    sem_post(&((struct slow_reader *)reader)->interrupted);
}

static void slow_free(struct store_reader *reader)
{
    (void)reader;
}

static void test_a_stop_does_not_wait_for_a_verification(void **state)
{
    (void)state;
    static const struct store_reader_ops ops = {.verify = slow_verify, .interrupt = slow_interrupt, .free = slow_free};
    static struct slow_reader slow = {.reader.ops = &ops};
    const char *why = NULL;
    char path[100];
    sem_init(&slow.begun, 0, 0);
    sem_init(&slow.interrupted, 0, 0);
    snprintf(path, sizeof path, "%s/second.sock", f.directory);
    struct admin_options options = {.socket = path,
                                    .directory = f.accounts,
                                    .board = f.board,
                                    .tally = f.tally,
                                    .clock = &clock_system,
                                    .reader = f.store->ops->reader_new(f.store),
                                    .verify_reader = &slow.reader};
    struct admin *second = admin_start(&options, &f.arena, &why);
    assert_non_null(second);
    char kept[sizeof f.socket];
    memcpy(kept, f.socket, sizeof kept);
    snprintf(f.socket, sizeof f.socket, "%s", path);
    int fd = ask(true, "GET", "/api/v1/verify", "", "");
    memcpy(f.socket, kept, sizeof kept);
    sem_wait(&slow.begun);
    admin_stop(second);
    admin_free(second);
    assert_problem(receive(fd), 503, "took too long");
    sem_destroy(&slow.begun);
    sem_destroy(&slow.interrupted);
}

static int slow_totals(struct store_reader *reader, struct store_totals *out)
{
    (void)reader, (void)out;
    return ERR_BUSY;
}

static int slow_messages(struct store_reader *reader, const struct message_filter *filter, int64_t after_id,
                         size_t limit, void (*each)(void *arg, const struct message *message), void *arg)
{
    (void)reader, (void)filter, (void)after_id, (void)limit, (void)each, (void)arg;
    return ERR_BUSY;
}

static int64_t cap_set;

static void slow_set_time_cap(struct store_reader *reader, int64_t cap_ms)
{
    (void)reader;
    cap_set = cap_ms;
}

static int no_counts(struct store_reader *reader, void (*each)(void *arg, const struct account_counts *counts),
                     void *arg)
{
    (void)reader, (void)each, (void)arg;
    return 0;
}

static int failing_flush(struct store_reader *reader)
{
    (void)reader;
    return ERR_IO;
}

static void test_a_question_that_takes_too_long_is_given_up_and_told(void **state)
{
    (void)state;
    static const struct store_reader_ops ops = {.totals = slow_totals,
                                                .messages = slow_messages,
                                                .set_time_cap = slow_set_time_cap,
                                                .account_counts = no_counts,
                                                .flush = failing_flush,
                                                .free = slow_free};
    static struct store_reader slow = {.ops = &ops};
    const char *why = NULL;
    char path[100], kept[sizeof f.socket];
    snprintf(path, sizeof path, "%s/third.sock", f.directory);
    struct admin_options options = {.socket = path,
                                    .directory = f.accounts,
                                    .board = f.board,
                                    .tally = f.tally,
                                    .clock = &clock_system,
                                    .reader = &slow};
    struct admin *third = admin_start(&options, &f.arena, &why);
    assert_non_null(third);
    assert_in_range(cap_set, 1, 5000);
    memcpy(kept, f.socket, sizeof kept);
    snprintf(f.socket, sizeof f.socket, "%s", path);
    static const char *const targets[] = {"/api/v1/status", "/api/v1/messages?q=x"};
    for (size_t i = 0; i < 2; i++) {
        struct answer *answer = send_to("GET", targets[i], "");
        assert_non_null(strstr(answer->text, "\r\nRetry-After: "));
        assert_problem(answer, 503, "took too long");
    }
    assert_problem(send_to("GET", "/api/v1/accounts", ""), 503, "to the disk"); // nothing is shown that may be gone
    struct answer *answer = send_to("GET", "/metrics", "");                     // what is counted in memory
    assert_int_equal(answer->status, 200);
    assert_null(strstr(answer->body, "tributary_messages_pending "));
    drop(answer);
    memcpy(f.socket, kept, sizeof kept);
    admin_stop(third);
    admin_free(third);
}

static void test_a_place_that_is_taken_is_told(void **state)
{
    (void)state;
    const char *why = NULL;
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%d", admin_port(f.admin));
    struct admin_options options = {.listen = address,
                                    .token = STR(TOKEN),
                                    .directory = f.accounts,
                                    .board = f.board,
                                    .tally = f.tally,
                                    .clock = &clock_system,
                                    .reader = f.store->ops->reader_new(f.store)};
    assert_null(admin_start(&options, &f.arena, &why));
    assert_non_null(strstr(why, address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_is_demanded_on_tcp_only),
        cmocka_unit_test(test_pages_of_other_origins_are_refused),
        cmocka_unit_test(test_answers_carry_the_headers_that_keep_browsers_calm),
        cmocka_unit_test(test_status_counts),
        cmocka_unit_test(test_no_answer_holds_a_secret),
        cmocka_unit_test(test_accounts_come_in_pages),
        cmocka_unit_test(test_messages_come_in_order_and_in_pages),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_what_cannot_be_asked_is_told),
        cmocka_unit_test(test_a_body_is_json_and_not_too_large),
        cmocka_unit_test(test_a_cursor_of_another_list_is_refused),
        cmocka_unit_test(test_a_message_comes_with_its_attempts),
        cmocka_unit_test(test_active_is_changed),
        cmocka_unit_test(test_sources_and_desks_are_asked),
        cmocka_unit_test(test_many_are_switched_together),
        cmocka_unit_test(test_definitions_are_changed),
        cmocka_unit_test(test_a_refused_definition_is_told),
        cmocka_unit_test(test_messages_are_changed_by_hand),
        cmocka_unit_test(test_a_busy_lane_is_told),
        cmocka_unit_test(test_skipped_ones_of_an_account_are_tried_again_in_parts),
        cmocka_unit_test(test_reload_reports),
        cmocka_unit_test(test_status_answers_while_a_change_blocks),
        cmocka_unit_test(test_one_reload_at_a_time),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_metrics_and_readiness),
        cmocka_unit_test(test_metrics_are_these_with_these_labels),
        cmocka_unit_test(test_no_desk_and_no_platform_that_takes_replies_share_a_name),
        cmocka_unit_test(test_guessing_tokens_becomes_slow),
        cmocka_unit_test(test_a_stop_does_not_wait_for_a_verification),
        cmocka_unit_test(test_a_question_that_takes_too_long_is_given_up_and_told),
        cmocka_unit_test(test_a_place_that_is_taken_is_told),
        cmocka_unit_test(test_attachments_have_links_and_no_references),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
