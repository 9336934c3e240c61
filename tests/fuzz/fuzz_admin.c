// The admin API: whatever is asked of it, each request has one answer, JSON where it says so, that shows no secret; nobody without
// the token gets past it, nor a page of elsewhere. From the request parser to the answer all is the relay's own, over a store in
// memory; only the sockets (net/http_server.h) and the relay's loop (relay/relay.h) are done here, and neither changes anything.
//
// The input: a byte that chooses the door, "METHOD TARGET" up to a line's end, the body.
// FUZZ: -max_len=2048
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "admin/api.h"
#include "base/log.h"
#include "base/must.h"
#include "fuzz/input.h"
#include "net/request_parser.h"

#define TOKEN "right-token"
#define SECRET "canary-of-a-secret"
#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The relay ------------------------------------------------------------------------------------------------

bool relay_is_ready(struct relay *relay)
{
    (void)relay;
    return true;
}

int relay_set_active_all(struct relay *relay, const int64_t *account_ids, size_t count, bool active)
{
    (void)relay, (void)active;
    for (size_t i = 0; i < count; i++)
        must(account_ids[i] > 0);
    return ERR_OK;
}

int relay_resume_desk(struct relay *relay, int64_t account_id)
{
    (void)relay;
    must(account_id > 0);
    return ERR_OK;
}

int relay_retry(struct relay *relay, int64_t message_id)
{
    (void)relay;
    return message_id % 2 ? ERR_REFUSED : ERR_OK;
}

int relay_discard(struct relay *relay, int64_t message_id)
{
    (void)relay;
    return message_id % 2 ? ERR_OK : ERR_BUSY;
}

int relay_retry_skipped(struct relay *relay, int64_t account_id, int64_t *after, int64_t *out_count, bool *out_more)
{
    (void)relay;
    must(account_id > 0 && *after >= 0);
    *out_more = *after < 1000;
    *out_count = 3;
    *after = *after < 1000 ? 1000 : *after;
    return ERR_OK;
}

int relay_look(struct relay *relay, struct lane_view *lanes, size_t count, struct account_view *account)
{
    (void)relay;
    for (size_t i = 0; i < count; i++)
        lanes[i].state = LANE_WAITING, lanes[i].waits_for = LANE_WAITS_TIME;
    if (account)
        account->lanes_in_state[LANE_WAITING] = 1;
    return ERR_OK;
}

bool relay_check(struct relay *relay, struct relay_check *check)
{
    (void)relay;
    struct inquiry *inquiry = &check->check.inquiry;
    inquiry->arena = &check->check.arena;
    inquiry_text(inquiry, "bot", STR("@bot"));
    inquiry_end(inquiry, true, "It is so.");
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
    return ERR_INVALID;
}

static int change(void *arg, struct admin_change *change)
{
    (void)arg;
    change->made = change->kind == CHANGE_ACCOUNT_ADD ? STR("acme") : STR("bot");
    if (change->body.n % 3)
        return ERR_OK;
    buf_add_str(change->why, STR("name: is wrong"));
    return ERR_INVALID;
}

// The HTTP server ------------------------------------------------------------------------------------------

struct http_server {
    struct http_handler handler;
    struct loop *loop;
};

// One request. The loop's thread answers, the fuzzer's waits.
struct http_exchange {
    struct loop_task task; // first
    struct http_server *server;
    struct request_draft draft;
    struct arena arena;
    int status, answers;
    struct str type;
    struct buf body;
    const struct http_stream *stream;
};

static struct http_server doors[2]; // TCP, Unix
static int door_count;
static sem_t answered;

struct http_server *http_server_new(struct loop *loop, const char *address, int shared_fd,
                                    const struct http_server_options *options, const struct http_handler *handler,
                                    const char **why)
{
    (void)address, (void)shared_fd, (void)options, (void)why;
    struct http_server *server = &doors[door_count++];
    *server = (struct http_server){.handler = *handler, .loop = loop};
    return server;
}

void http_server_options_default(struct http_server_options *options)
{
    *options = (struct http_server_options){.max_head = 32768, .max_headers = 100, .max_body = 4 << 20};
}

int http_server_port(const struct http_server *server)
{
    (void)server;
    return 1;
}

void http_server_drain(struct http_server *server)
{
    (void)server;
}

size_t http_server_open_exchanges(const struct http_server *server)
{
    (void)server;
    return 0;
}

void http_server_free(struct http_server *server)
{
    (void)server;
}

const struct http_request *http_exchange_request(const struct http_exchange *exchange)
{
    return &exchange->draft.request;
}

struct arena *http_exchange_arena(struct http_exchange *exchange)
{
    return &exchange->arena;
}

struct loop *http_exchange_loop(struct http_exchange *exchange)
{
    return exchange->server->loop;
}

static void add_answer(struct http_exchange *exchange, int status, struct str type, struct str body)
{
    exchange->status = status;
    exchange->answers++;
    exchange->type = arena_str(&exchange->arena, type);
    buf_add_str(&exchange->body, body);
}

void http_exchange_answer(struct http_exchange *exchange, int status, struct str content_type,
                          const struct http_header *headers, size_t header_count, struct str body)
{
    for (size_t i = 0; i < header_count; i++)
        for (size_t k = 0; k < headers[i].value.n; k++)
            must((unsigned char)headers[i].value.p[k] >= ' ' && headers[i].value.p[k] != 0x7f);
    add_answer(exchange, status, content_type, body);
    sem_post(&answered);
}

static void leave(struct loop_task *task)
{
    const struct http_exchange *exchange = (struct http_exchange *)task;
    exchange->stream->gone(exchange->stream->arg);
}

// The client leaves at once.
bool http_exchange_stream(struct http_exchange *exchange, int status, struct str content_type,
                          const struct http_header *headers, size_t header_count, const struct http_stream *stream)
{
    (void)headers, (void)header_count;
    struct http_stream *copy = arena_of(&exchange->arena, struct http_stream);
    *copy = *stream;
    exchange->stream = copy;
    add_answer(exchange, status, content_type, STR(""));
    exchange->task.run = leave;
    must(loop_post(exchange->server->loop, &exchange->task));
    return true;
}

bool http_exchange_write(struct http_exchange *exchange, struct str bytes)
{
    buf_add_str(&exchange->body, bytes);
    return true;
}

size_t http_exchange_unsent(const struct http_exchange *exchange)
{
    (void)exchange;
    return 0;
}

void http_exchange_end(struct http_exchange *exchange)
{
    (void)exchange;
    sem_post(&answered);
}

// What is shown --------------------------------------------------------------------------------------------

static struct store *store;
static struct directory *accounts;
static struct board *board;
static struct tally *tally;
static struct admin *admin;
static struct arena lasting;

static void put_account(const char *name)
{
    int64_t source_id = 0;
    struct account *account = account_new();
    account->name = arena_str(&account->arena, str_of(name));
    account->sources = arena_of(&account->arena, struct source);
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
    struct store_account_put put = {.account = account, .source_ids = &source_id};
    struct store_change put_change = {.kind = STORE_ACCOUNT_PUT, .account_put = &put};
    must(store->ops->apply(store, &put_change, 1) == 0);
    account->id = put.id;
    account->sources[0].id = source_id;
    account->sources[0].account_id = put.id;
    directory_put(accounts, account);
}

static void put_message(const char *key, const char *conversation, enum message_state state)
{
    const struct account *account = directory_find(accounts, STR("acme"));
    struct store_accept accepted = {
        .account_id = account->id,
        .source_id = account->sources[0].id,
        .received_at_us = INT64_C(1700000000123000),
        .event = {.dedupe_key = str_of(key),
                  .conversation = str_of(conversation),
                  .sender_id = STR("7"),
                  .sender_name = STR("<b>Eve</b>"),
                  .text = STR("hello \"one\"\x1b[31m"),
                  .attachments = STR("[{\"kind\":\"image\",\"name\":\"a\",\"ref\":\"" SECRET
                                     "\",\"state\":\"failed\",\"why\":\"gone\"}]"),
                  .sent_at_us = INT64_C(1700000000000000)},
    };
    struct store_change accept_change = {.kind = STORE_ACCEPT, .accept = &accepted};
    must(store->ops->apply(store, &accept_change, 1) == 0);
    struct store_outcome outcome = {.message_id = accepted.message_id,
                                    .state = state,
                                    .reason = state == MESSAGE_SKIPPED ? REASON_REJECTED : REASON_NONE,
                                    .attempts = 1,
                                    .verdict = "rejected",
                                    .at_us = INT64_C(1700000001000000),
                                    .last_error = STR("desk says no")};
    struct store_change outcome_change = {.kind = STORE_OUTCOME, .outcome = &outcome};
    must(store->ops->apply(store, &outcome_change, 1) == 0);
    account_unref(account);
}

static void end(void)
{
    admin_stop(admin);
    admin_free(admin);
    store->ops->close(store, true);
    directory_free(accounts);
    board_free(board);
    tally_free(tally);
    arena_done(&lasting);
}

static void begin(void)
{
    static const struct media_links links = {
        .base = STR("https://relay.example"), .key = {3}, .lifetime_us = INT64_C(3600) * 1000000};
    const char *why = NULL;
    log_set_level(LOG_OFF);
    must(sem_init(&answered, 0, 0) == 0);
    store = store_memory_new();
    accounts = directory_new();
    board = board_new();
    tally = tally_new();
    put_account("acme");
    put_account("b-corp");
    put_message("1", "42", MESSAGE_SKIPPED);
    put_message("2", "42", MESSAGE_PENDING);
    put_message("3", "43", MESSAGE_DELIVERED);
    struct admin_options options = {
        .listen = "127.0.0.1:0",
        .socket = "s",
        .token = STR(TOKEN),
        .directory = accounts,
        .board = board,
        .tally = tally,
        .clock = &clock_system,
        .links = &links,
        .reload = reload,
        .change = change,
        .reader = store->ops->reader_new(store),
        .verify_reader = store->ops->reader_new(store),
    };
    admin = admin_start(&options, &lasting, &why);
    must(admin && door_count == 2 && atexit(end) == 0);
}

// A request ------------------------------------------------------------------------------------------------

static int no_head(void *arg, const struct http_request *request, size_t *max_body)
{
    const struct http_server *server = arg;
    return server->handler.head(server->handler.arg, request, max_body);
}

// False: no handler ever sees it.
static bool parse(struct http_exchange *exchange, struct str text)
{
    static const struct request_limits limits = {
        .max_head = 32768, .max_target = 8192, .max_headers = 100, .max_body = 4 << 20};
    struct request_parser parser;
    size_t used;
    request_parser_init(&parser, &limits, no_head, exchange->server);
    parser.draft = &exchange->draft;
    return request_parser_feed(&parser, text.p, text.n, &used) == PHASE_WHOLE;
}

static void handle(struct loop_task *task)
{
    struct http_exchange *exchange = (struct http_exchange *)task;
    exchange->server->handler.request(exchange->server->handler.arg, exchange);
}

static bool holds_secret(struct str text)
{
    return text.n && memmem(text.p, text.n, SECRET, sizeof SECRET - 1);
}

// `asked_for_it`: the secret stands in the request, and may be repeated.
static void check(struct http_exchange *exchange, bool may_come_in, bool asked_for_it)
{
    struct str body = buf_str(&exchange->body), path = exchange->draft.request.path;
    must(exchange->answers == 1 && exchange->status >= 200 && exchange->status < 600 && exchange->status != 500);
    must(may_come_in || exchange->status >= 400 || !str_starts(path, STR("/api/")));
    must(asked_for_it || !holds_secret(body));
    must(body.n == 0 || !str_starts(exchange->type, STR("text/")) || str_is_utf8(body));
    bool is_problem = str_eq_c(exchange->type, "application/problem+json");
    must(exchange->status < 400 || is_problem || str_eq_c(path, "/readyz"));
    if (!is_problem && !str_eq_c(exchange->type, "application/json"))
        return;
    yyjson_doc *doc = json_read(body);
    int64_t status;
    must(doc);
    must(!is_problem || (json_get_int(yyjson_doc_get_root(doc), "status", &status) && status == exchange->status &&
                         json_get_str(yyjson_doc_get_root(doc), "detail").n));
    yyjson_doc_free(doc);
}

static struct str request_text(struct str line, struct str body, unsigned choice, struct arena *arena)
{
    const char *host = choice & 8 ? "evil.example" : "localhost:8081";
    const char *origin = choice & 16 ? "Origin: http://evil.example\r\n" : "";
    const char *token = choice & 2 ? "Authorization: Bearer " TOKEN "\r\n" : "";
    const char *type = choice & 32 ? "text/plain" : "application/json";
    return ARENA_JOIN(arena, line,
                      arena_printf(arena,
                                   " HTTP/1.1\r\nHost: %s\r\n%s%sContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", host,
                                   origin, token, type, body.n),
                      body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!admin)
        begin();
    struct input input = input_of(data, size);
    unsigned choice = input_byte(&input);
    bool local = choice & 1;
    struct http_exchange *exchange = calloc(1, sizeof *exchange);
    must(exchange);
    *exchange = (struct http_exchange){.server = &doors[local], .task.run = handle};
    buf_init(&exchange->body, API_ANSWER_MAX);
    struct str line = input_until(&input, '\n');
    if (parse(exchange, request_text(line, input.left, choice, &exchange->arena))) {
        must(loop_post(exchange->server->loop, &exchange->task));
        while (sem_wait(&answered) != 0)
            continue;
        bool asked_for_it = memmem(data, size, "canary", 6) || memchr(data, '%', size);
        check(exchange, local || (choice & 2 && !(choice & 24)), asked_for_it);
    }
    request_draft_done(&exchange->draft);
    buf_done(&exchange->body);
    arena_done(&exchange->arena);
    free(exchange);
    return 0;
}
