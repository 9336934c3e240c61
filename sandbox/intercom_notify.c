// Notifications to the app's webhook, as the real desk sends them (desks/intercom.md, section 5): signed, in no order, answered
// within 5 s or tried once more a minute later, then dropped for ever. A 410 ends them all.
//
//   READY -there is room-> SENDING -2xx-> over: delivered      (doubled by a fault: READY once more)
//   SENDING -else-> WAITING (a minute) -> READY                SENDING -else, the second time-> over: dropped
//   told late or behind the next one, by a fault: WAITING -> READY         lost by a fault: over at once
#include "sandbox/intercom.h"

#include "base/clock.h"
#include "base/must.h"
#include "net/http_client.h"
#include "sandbox/own.h"

#include <inttypes.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

enum { MOST_OPEN = 64, TRIES = 2, HELD_MS = 1000, BODY_MAX = 8 << 20, ID_MAX = 48 };

struct notice {
    struct notice *prev, *next;
    struct notice **list; // that it is in: `ready` or `busy`
    struct notifier *notifier;
    char id[ID_MAX];
    const char *topic;
    struct str item; // owned: the JSON of data.item
    int64_t conversation, part;
    int64_t created_s, first_sent_s;
    int tries;
    bool twice;               // sent once more when it was taken
    struct notice *held_back; // goes when this one was sent; NULL: none
    bool behind;              // another one
    struct http_call *call;
    struct loop_timer *timer;
};

struct notifier {
    struct intercom *intercom;
    struct loop *loop;
    struct http_client *client;
    struct journal *journal;
    struct str url, secret; // owned; url.p NULL: nobody is told
    bool disabled;          // by a 410
    struct notice *ready, *busy;
    size_t sending;
    struct notice *held; // waits for the next one
    // Joining: the URL is probed before it is taken.
    struct call *joining;
    struct http_call *probe;
};

static void pump(struct notifier *notifier);

// ---- a notice's life ----

static void notice_move(struct notice *notice, struct notice **list)
{
    DL_DELETE(*notice->list, notice);
    notice->list = list;
    DL_APPEND(*list, notice);
}

static void notice_free(struct notice *notice)
{
    struct notifier *notifier = notice->notifier;
    DL_DELETE(*notice->list, notice);
    if (notifier->held == notice)
        notifier->held = NULL;
    loop_timer_free(notice->timer);
    disown(&notice->item);
    free(notice);
}

static void note(const struct notice *notice, const char *outcome, int status)
{
    struct buf text;
    buf_init(&text, 4096);
    struct json json = {.out = &text};
    json_key_str(&json, "id", str_of(notice->id));
    json_key_str(&json, "topic", str_of(notice->topic));
    json_key_id(&json, "conversation", notice->conversation);
    json_key_id(&json, "part", notice->part);
    json_key_int(&json, "attempt", notice->tries);
    json_key_str(&json, "outcome", str_of(outcome));
    json_key_int(&json, "status", status);
    journal_add(notice->notifier->journal, clock_wall_us(&clock_system), buf_str(&text));
    buf_done(&text);
}

static void ready_again(void *arg)
{
    struct notice *notice = arg;
    struct notifier *notifier = notice->notifier;
    if (notifier->held == notice)
        notifier->held = NULL;
    notice_move(notice, &notifier->ready);
    pump(notifier);
}

static void notice_wait(struct notice *notice, int64_t ms)
{
    if (!notice->timer)
        notice->timer = loop_timer_new(notice->notifier->loop, ready_again, notice);
    notice_move(notice, &notice->notifier->busy);
    loop_timer_set(notice->timer, ms);
}

// The one that was to go behind this one goes now, unless it went already.
static void let_go(struct notice *notice)
{
    struct notifier *notifier = notice->notifier;
    if (notice->held_back && notifier->held == notice->held_back) {
        loop_timer_clear(notifier->held->timer);
        ready_again(notifier->held);
    }
    notice->held_back = NULL;
}

static void drop_all(struct notifier *notifier)
{
    struct notice *each, *next;
    DL_FOREACH_SAFE(notifier->ready, each, next)
    {
        note(each, "dropped", 0);
        notice_free(each);
    }
}

static void on_answer(void *arg, const struct http_response *response)
{
    struct notice *notice = arg;
    struct notifier *notifier = notice->notifier;
    notice->call = NULL;
    notifier->sending--;
    if (response->failure == HTTP_CANCELLED)
        return;
    bool taken = response->status >= 200 && response->status < 300, last = notice->tries >= TRIES;
    notifier->disabled |= response->status == 410;
    note(notice, taken ? "delivered" : last || notifier->disabled ? "dropped" : "failed", response->status);
    let_go(notice);
    if (notifier->disabled)
        drop_all(notifier);
    if (taken && notice->twice) {
        notice->twice = false;
        notice_move(notice, &notifier->ready);
    } else if (taken || last || notifier->disabled) {
        notice_free(notice);
    } else {
        notice_wait(notice, notifier->intercom->options.retry_ms);
    }
    pump(notifier);
    live_changed(notifier->intercom->door->live);
}

// ---- sending ----

static struct str signature(struct str secret, struct str body, struct arena *arena)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    must(HMAC(EVP_sha1(), secret.p, (int)secret.n, (const unsigned char *)body.p, body.n, digest, &length));
    char *out = arena_alloc(arena, 2 * length + 1);
    for (unsigned i = 0; i < length; i++) {
        out[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    return ARENA_JOIN(arena, STR("sha1="), (struct str){out, 2 * length});
}

static void write_notice(struct buf *text, const struct notice *notice)
{
    struct json json = {.out = text};
    json_open(&json, '{');
    json_key_str(&json, "type", STR("notification_event"));
    json_key_str(&json, "id", str_of(notice->id));
    json_key_str(&json, "topic", str_of(notice->topic));
    json_key_str(&json, "app_id", STR("sandbox_workspace"));
    json_key_int(&json, "created_at", notice->created_s);
    json_key_int(&json, "delivery_attempts", notice->tries);
    json_key_int(&json, "first_sent_at", notice->first_sent_s);
    json_key(&json, "data");
    json_open(&json, '{');
    json_key_str(&json, "type", STR("notification_event_data"));
    json_key(&json, "item");
    json_raw(&json, notice->item);
    json_close(&json, '}');
    json_close(&json, '}');
}

static void notice_send(struct notice *notice)
{
    struct notifier *notifier = notice->notifier;
    struct arena arena = {0};
    struct buf body;
    notice->tries++;
    if (!notice->first_sent_s)
        notice->first_sent_s = intercom_now();
    buf_init(&body, BODY_MAX);
    write_notice(&body, notice);
    struct http_header headers[] = {
        {STR("Content-Type"), STR("application/json")},
        {STR("Accept"), STR("*/*")},
        {STR("X-Hub-Signature"), signature(notifier->secret, buf_str(&body), &arena)},
    };
    struct http_request request = {.method = STR("POST"),
                                   .target = notifier->url,
                                   .headers = headers,
                                   .header_count = sizeof(headers) / sizeof(*headers),
                                   .body = buf_str(&body)};
    notice_move(notice, &notifier->busy);
    notifier->sending++;
    notice->call = http_client_send(notifier->client, &request, notifier->intercom->options.webhook_ms, on_answer,
                                    notice);
    buf_done(&body);
    arena_done(&arena);
}

static void pump(struct notifier *notifier)
{
    while (notifier->ready && notifier->sending < MOST_OPEN)
        notice_send(notifier->ready);
}

// ---- telling ----

static struct notice *notice_new(struct notifier *notifier, const char *topic)
{
    struct notice *notice = mem_new_of(struct notice);
    struct chance *chance = &notifier->intercom->chance;
    uint64_t a = chance_next(chance), b = chance_next(chance);
    notice->notifier = notifier;
    notice->topic = topic;
    notice->created_s = intercom_now();
    snprintf(notice->id, sizeof(notice->id), "notif_%08x-%04x-4%03x-a%03x-%012" PRIx64, (unsigned)(a >> 32),
             (unsigned)(a >> 16) & 0xFFFF, (unsigned)a & 0xFFF, (unsigned)(b >> 48) & 0xFFF, b & 0xFFFFFFFFFFFF);
    notice->list = &notifier->ready;
    DL_APPEND(notifier->ready, notice);
    return notice;
}

// On its way, or what a fault makes of that.
static void notice_begin(struct notice *notice)
{
    struct notifier *notifier = notice->notifier;
    struct arena arena = {0};
    struct fault fault = {0};
    fault_list_take_notice(notifier->intercom->door->faults, str_of(notice->topic), &arena, &fault);
    arena_done(&arena);
    int64_t ms = fault.ms ? fault.ms : HELD_MS;
    if (notifier->held && !notifier->held->behind) { // behind the next one, whichever is answered first
        notice->held_back = notifier->held;
        notice->held_back->behind = true;
    }
    notice->twice = fault.kind == FAULT_TWICE;
    if (fault.kind == FAULT_LOSE) {
        note(notice, "lost", 0);
        notice_free(notice);
    } else if (fault.kind == FAULT_LATE || (fault.kind == FAULT_SWAP && !notifier->held)) {
        if (fault.kind == FAULT_SWAP)
            notifier->held = notice;
        notice_wait(notice, ms);
    }
    pump(notifier);
}

void notifier_tell(struct notifier *notifier, const char *topic, const struct intercom_conversation *conversation,
                   const struct intercom_part *part)
{
    if (!notifier->url.p || notifier->disabled)
        return;
    struct notice *notice = notice_new(notifier, topic);
    struct buf item;
    buf_init(&item, BODY_MAX);
    intercom_write_conversation(&(struct json){.out = &item}, notifier->intercom, conversation,
                                part ? PARTS_LAST : PARTS_ALL, true);
    notice->item = own(buf_str(&item));
    notice->conversation = conversation->id;
    notice->part = part ? part->id : 0;
    buf_done(&item);
    notice_begin(notice);
}

static void tell_ping(struct notifier *notifier)
{
    struct notice *notice = notice_new(notifier, "ping");
    notice->item = own(STR("{\"type\":\"ping\",\"message\":\"a ping of the stand-in\"}"));
    pump(notifier);
}

// ---- joining ----

static void stop(struct notifier *notifier)
{
    struct notice *each, *next;
    struct notice *const lists[] = {notifier->ready, notifier->busy};
    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++)
        DL_FOREACH_SAFE(lists[i], each, next)
        {
            if (each->call)
                http_call_cancel(each->call);
            notice_free(each);
        }
}

const char *notifier_state(const struct notifier *notifier)
{
    return !notifier->url.p ? "off" : notifier->disabled ? "disabled" : "on";
}

const struct journal *notifier_journal(const struct notifier *notifier)
{
    return notifier->journal;
}

static void answer_state(const struct notifier *notifier, struct call *call)
{
    size_t ready = 0, busy = 0;
    const struct notice *each;
    DL_COUNT(notifier->ready, each, ready);
    DL_COUNT(notifier->busy, each, busy);
    struct buf text;
    buf_init(&text, 1 << 16);
    struct json json = {.out = &text};
    json_open(&json, '{');
    json_key_str(&json, "url", notifier->url);
    json_key_str(&json, "state", str_of(notifier_state(notifier)));
    json_key_int(&json, "open", (int64_t)(ready + busy));
    json_close(&json, '}');
    call_answer_buf(call, 200, &text);
}

void notifier_show(struct intercom *intercom, struct call *call)
{
    answer_state(intercom->notifier, call);
}

static void join(struct notifier *notifier, struct str url, struct str secret)
{
    own_again(&notifier->url, url);
    own_again(&notifier->secret, secret);
    notifier->disabled = false;
}

static void on_probed(void *arg, const struct http_response *response)
{
    struct notifier *notifier = arg;
    struct call *call = notifier->joining;
    notifier->probe = NULL;
    notifier->joining = NULL;
    if (response->failure == HTTP_CANCELLED)
        return;
    call->state = NULL;
    if (response->status < 200 || response->status >= 300) {
        call_control_error(call, 400,
                           arena_printf(call->arena, "HEAD at that URL: %d instead of 200", response->status).p);
        return;
    }
    join(notifier, json_get_str(call->body, "url"), json_get_str(call->body, "client_secret"));
    answer_state(notifier, call);
    tell_ping(notifier);
}

void notifier_join(struct intercom *intercom, struct call *call)
{
    struct notifier *notifier = intercom->notifier;
    struct str url = json_get_str(call->body, "url");
    if (notifier->joining) {
        call_control_error(call, 409, "another URL is being probed");
    } else if (!url.p) {
        stop(notifier);
        join(notifier, STR_NONE, STR_NONE);
        answer_state(notifier, call);
    } else if (!json_get_str(call->body, "client_secret").n) {
        call_control_error(call, 400, "\"client_secret\" is what notifications are signed with");
    } else {
        struct http_request request = {.method = STR("HEAD"), .target = url};
        notifier->joining = call;
        call->state = notifier;
        notifier->probe = http_client_send(notifier->client, &request, intercom->options.webhook_ms, on_probed,
                                           notifier);
    }
}

void notifier_dropped(struct notifier *notifier)
{
    http_call_cancel(notifier->probe);
}

// ---- life ----

void notifier_forget(struct notifier *notifier)
{
    stop(notifier);
    journal_clear(notifier->journal);
}

struct notifier *notifier_new(struct intercom *intercom, struct loop *loop)
{
    struct notifier *notifier = mem_new_of(struct notifier);
    struct http_client_options client;
    http_client_options_default(&client);
    client.user_agent = "intercom-parrot-service-client/1.0";
    notifier->intercom = intercom;
    notifier->loop = loop;
    notifier->client = http_client_new(loop, &client);
    notifier->journal = journal_new(intercom->options.keep);
    if (intercom->options.webhook.p)
        join(notifier, intercom->options.webhook, intercom->options.client_secret);
    return notifier;
}

void notifier_free(struct notifier *notifier)
{
    if (!notifier)
        return;
    notifier_forget(notifier);
    http_client_free(notifier->client);
    journal_free(notifier->journal);
    disown(&notifier->url);
    disown(&notifier->secret);
    free(notifier);
}
