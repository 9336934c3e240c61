// Desks, the bots of sources (telegram.c), and the way there. What befalls a request is decided when it leaves: whether and when the desk takes it, and what
// the relay hears and when. The desk may take a request that the relay has given up, within delivery.settle.
#include "base/json.h"
#include "base/mem.h"
#include "base/must.h"
#include "sim/world_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

const char *weather_name(enum weather weather)
{
    static const char *const names[WEATHERS] = {"fair", "refused", "silent", "silent, taken", "dropped", "502", "503",
                                                "504",  "429",     "401",    "403",           "500",     "400", "slow"};
    return names[weather];
}

struct world *world_new(struct sim *sim)
{
    struct world *world = mem_new_of(struct world);
    for (int i = 0; i < sim->plan.desks; i++)
        if (sim->plan.desk[i].intercom)
            world->desks[i].intercom = intercom_desk_new(sim->plan.desk[i].own_clock);
    return world;
}

static void call_free(struct world *world, struct call *call)
{
    DL_DELETE(world->calls, call);
    buf_done(&call->answer);
    arena_done(&call->arena);
    free(call);
}

void world_free(struct world *world)
{
    for (int i = 0; i < MOST_DESKS; i++)
        intercom_desk_free(world->desks[i].intercom);
    while (world->calls)
        call_free(world, world->calls);
    free(world);
}

void world_weather(struct sim *sim, int desk, enum weather weather, int64_t until_us)
{
    struct desk_world *d = &sim->world->desks[desk];
    d->weather = weather;
    d->until_us = until_us;
    memcpy(d->refused, d->seen, sizeof d->refused);
    sim_trace(sim, "desk %d: %s", desk, weather_name(weather));
    oracle_weather(sim, desk);
}

int64_t world_free_since_us(const struct sim *sim, int desk)
{
    const struct desk_world *d = &sim->world->desks[desk];
    if (d->open || d->asked_us > sim_now(sim))
        return INT64_MAX;
    return d->ended_us > d->asked_us ? d->ended_us : d->asked_us;
}

void world_delete(struct sim *sim, int desk, int conversation)
{
    struct intercom_desk *intercom = sim->world->desks[desk].intercom;
    int threads[MOST_EVENTS];
    int count = intercom ? intercom_desk_delete(intercom, conversation, threads) : 0;
    for (int i = 0; i < count; i++) {
        oracle_deleted(sim, desk, threads[i]);
        agents_deleted(sim, desk, threads[i]);
    }
}

struct intercom_desk *world_intercom(const struct sim *sim, int desk)
{
    return sim->world->desks[desk].intercom;
}

int64_t world_read_asked_us(const struct sim *sim, int desk)
{
    return sim->world->desks[desk].read_asked_us;
}

// ---- fates ----

int64_t desk_now_us(const struct sim *sim)
{
    return INT64_C(1700000000) * SECOND + sim_now(sim);
}

static int64_t latest_us(const struct sim *sim)
{
    int64_t settle_us = sim->plan.settle_ms * 1000;
    return sim->options->beyond_settle ? 3 * settle_us : settle_us - 5 * SECOND;
}

static bool is_bot(const struct call *call)
{
    return call->desk >= MOST_DESKS;
}

static struct fate answered(const struct call *call, struct chance *c)
{
    int64_t usual = call->sim->plan.desk_us;
    int64_t end = draw(c, usual / 2, 2 * usual);
    if (end > call->sim->plan.timeout_ms * 500)
        end = call->sim->plan.timeout_ms * 500;
    return (struct fate){.reaches = true, .handle_us = end / 2, .end_us = end, .written = true, .name = ""};
}

struct fate fate_status(struct fate fate, int status, bool taken)
{
    fate.status = status;
    fate.reaches = taken;
    return fate;
}

static struct fate failed(struct fate fate, enum http_failure failure, bool written, bool taken)
{
    fate.failure = failure;
    fate.written = written;
    fate.reaches = taken;
    return fate;
}

static struct fate silent(struct fate fate, bool taken)
{
    fate.never = true;
    fate.reaches = taken;
    return fate;
}

static struct fate late(struct call *call, struct fate fate, struct chance *c)
{
    int64_t gone = fate.never ? call->sim->plan.timeout_ms * 1000 : fate.end_us;
    fate.handle_us = gone + draw(c, 0, latest_us(call->sim));
    return fate;
}

static struct fate limited(struct fate fate, struct chance *c)
{
    fate = fate_status(fate, 429, false);
    fate.retry_after_s = draw_percent(c, 50) ? (int)draw(c, 1, draw_percent(c, 5) ? 4000 : 60) : 0;
    return fate;
}

// A fault of this one request.
static struct fate mishap(struct call *call, struct fate fate, struct chance *c)
{
    bool intercom = call->sim->world->desks[call->desk].intercom;
    bool taken = draw_percent(c, 50);
    switch (draw(c, 0, 19)) {
    case 0:
        return failed(fate, HTTP_NOT_CONNECTED, false, false);
    case 1:
        return failed(fate, HTTP_DROPPED, draw_percent(c, 70), false);
    case 2:
        return failed(fate, HTTP_DROPPED, true, true);
    case 3:
        return late(call, failed(fate, HTTP_DROPPED, true, true), c);
    case 4:
    case 5:
        return silent(fate, taken);
    case 6:
        return late(call, silent(fate, true), c);
    case 7:
        return fate_status(fate, 500, taken);
    case 8:
        return fate_status(fate, draw_percent(c, 50) ? 502 : 504, taken);
    case 9:
        return late(call, fate_status(fate, draw_percent(c, 50) ? 502 : 504, true), c);
    case 10:
        return fate_status(fate, 503, taken);
    case 11:
        return is_bot(call) ? telegram_limited(call, fate, c) : limited(fate, c);
    case 12:
        return fate_status(fate, draw_percent(c, 50) ? 401 : 403, false);
    case 13:
        return fate_status(fate, 302, false);
    case 14:
        return fate_status(fate, 408, false);
    case 15:
        fate.end_us = draw(c, SECOND, call->sim->plan.timeout_ms * 990);
        fate.handle_us = draw(c, 0, fate.end_us);
        return fate;
    case 16:
        return failed(fate, HTTP_UNREADABLE, true, taken);
    case 17:
        return failed(fate, HTTP_RESENT, true, taken);
    case 18:
        // 404, 407, 410
        return fate_status(fate, intercom || call->probe ? 400 : (int)draw(c, 0, 2) * 3 + 404, false);
    default:
        fate.junk = true;
        return fate;
    }
}

static struct fate in_weather(struct call *call, struct fate fate, enum weather weather, struct chance *c)
{
    const struct desk_world *desk = &call->sim->world->desks[call->desk];
    fate.outage = weather;
    switch (weather) {
    case W_REFUSED:
        return failed(fate, HTTP_NOT_CONNECTED, false, false);
    case W_SILENT:
        return silent(fate, false);
    case W_SILENT_IN:
        return silent(fate, true);
    case W_DROPPED:
        return failed(fate, HTTP_DROPPED, true, draw_percent(c, 30));
    case W_502:
        return fate_status(fate, 502, draw_percent(c, 20));
    case W_503:
        return fate_status(fate, 503, draw_percent(c, 20));
    case W_504:
        return fate_status(fate, 504, draw_percent(c, 50));
    case W_429:
        return is_bot(call) && call->writes ? telegram_limited(call, fate, c) : limited(fate, c);
    case W_401:
        if (desk->refused[call->token])
            return fate_status(fate, 401, false);
        break;
    case W_403:
        return fate_status(fate, 403, false);
    case W_500:
        fate.outage = FAIR; // it counts: nothing tells it from messages that fail
        return fate_status(fate, 500, draw_percent(c, 10));
    case W_400:
        if (call->probe)
            break;
        fate.outage = FAIR;
        return fate_status(fate, 400, false);
    case W_SLOW:
        fate.end_us = draw(c, SECOND, call->sim->plan.timeout_ms * 900);
        fate.handle_us = draw(c, 0, fate.end_us);
        break;
    default:
        break;
    }
    fate.outage = FAIR;
    return fate;
}

static struct fate ill(struct fate fate, enum illness illness)
{
    switch (illness) {
    case ILL_400:
        return fate_status(fate, 400, false);
    case ILL_422:
        return fate_status(fate, 422, false);
    case ILL_500:
        return fate_status(fate, 500, false);
    case ILL_500_TAKEN:
        return fate_status(fate, 500, true);
    case ILL_DROPS:
        return failed(fate, HTTP_DROPPED, true, false);
    case ILL_SILENT:
        return silent(fate, false);
    case ILL_SILENT_TAKEN:
        return silent(fate, true);
    default:
        return fate;
    }
}

static uint64_t name_of(struct call *call)
{
    struct world *world = call->sim->world;
    uint64_t nth = call->event >= 0 ? world->requests[call->event]++
                   : call->reads    ? world->desks[call->desk].reads++
                   : call->probe    ? world->desks[call->desk].probes++
                                    : world->others++;
    uint64_t event = call->event >= 0 ? oracle_name(call->sim, call->event) : 0;
    uint64_t whose = (event + 1) << 8 | (uint64_t)call->desk << 2 | (uint64_t)call->reads << 1 | call->probe;
    return sim_mix(whose, nth);
}

static bool is_over_limit(struct call *call)
{
    struct sim *sim = call->sim;
    struct desk_world *desk = &sim->world->desks[call->desk];
    int limit = is_bot(call) ? 0 : sim->plan.desk[call->desk].limit;
    int64_t apart_us = sim->clock.wall_us - desk_now_us(sim);
    if (!limit || apart_us > 5 * SECOND || apart_us < -5 * SECOND) // by a wrong clock the end of its window is another
        return false;
    if (desk_now_us(sim) < desk->window_us || desk_now_us(sim) >= desk->window_us + WINDOW_US) {
        desk->window_us = desk_now_us(sim) / WINDOW_US * WINDOW_US;
        desk->in_window = 0;
    }
    desk->in_window++;
    call->remaining = desk->in_window < limit ? limit - desk->in_window : 0;
    return desk->in_window > limit;
}

static struct fate draw_fate(struct call *call)
{
    struct sim *sim = call->sim;
    struct desk_world *desk = &sim->world->desks[call->desk];
    uint64_t name = name_of(call);
    struct chance c = sim_chance(sim, 'q', name);
    struct fate fate = answered(call, &c);
    if (desk->weather && sim_now(sim) >= desk->until_us)
        world_weather(sim, call->desk, FAIR, 0);
    if (is_bot(call) && telegram_refuses(call, &fate))
        return fate;
    if (sim->healing)
        return is_over_limit(call) ? fate_status(fate, 429, false) : fate;
    if (desk->weather) {
        struct fate in = in_weather(call, fate, desk->weather, &c);
        if (in.outage || in.status || desk->weather == W_SLOW)
            return in;
    }
    if (is_over_limit(call))
        return fate_status(fate, 429, false);
    if (call->writes && call->event >= 0 && sim->plan.event[call->event].illness &&
        sim_may(sim, 'i', oracle_name(sim, call->event)))
        return is_bot(call) ? telegram_ill(call, fate) : ill(fate, sim->plan.event[call->event].illness);
    if ((int)draw(&c, 0, 999) < sim->plan.desk_faults && sim_may(sim, 'q', name))
        return mishap(call, fate, &c);
    return fate;
}

// ---- the desk handles it ----

static void see_file(struct sim *sim, yyjson_val *file, struct sight *sight)
{
    struct str state = json_get_str(file, "state"), url = json_get_str(file, "url");
    int named = file_named(json_get_str(file, "name"));
    if (str_eq_c(state, "wanted"))
        sight_add(sight, named, SEEN_FOLLOWS);
    else if (str_eq_c(state, "failed"))
        sight_add(sight, named, SEEN_FAILED);
    else
        sight_add(sight, sight_of_link(sim, url), SEEN_LINK);
}

static void take_webhook(struct call *call)
{
    struct desk_world *desk = &call->sim->world->desks[call->desk];
    yyjson_doc *doc = json_read(call->body);
    yyjson_val *root = yyjson_doc_get_root(doc);
    call->status = 200;
    if (call->event < 0) { // of no event of ours: the judge wants to know
        oracle_applied(call->sim, call->desk, -1, -1, -1, json_get_str(root, "text"), &(struct sight){0});
    } else if (desk->taken[call->event]++) {
        oracle_repeated(call->sim, call->event);
    } else {
        struct str who = json_get_str(root, "conversation");
        struct sight sight = {0};
        size_t i, n;
        yyjson_val *file;
        yyjson_arr_foreach(yyjson_obj_get(root, "attachments"), i, n, file) see_file(call->sim, file, &sight);
        int64_t conversation = -1;
        if (!str_to_i64(str_sub(who, 1, who.n), &conversation))
            conversation = -1;
        oracle_applied(call->sim, call->desk, call->event, (int)conversation, -1, json_get_str(root, "text"), &sight);
    }
    yyjson_doc_free(doc);
}

static void see_uploads(struct call *call, yyjson_val *root, struct sight *sight)
{
    size_t i, n;
    yyjson_val *file;
    yyjson_arr_foreach(yyjson_obj_get(root, "attachment_files"), i, n, file)
    {
        struct str bytes = base64_decode(json_get_str(file, "data"), &call->arena);
        sight_add(sight, sight_of_bytes(call->sim, bytes, file_named(json_get_str(file, "name"))), SEEN_WHOLE);
    }
    yyjson_arr_foreach(yyjson_obj_get(root, "attachment_urls"), i, n, file)
    {
        struct str url = {yyjson_get_str(file), yyjson_get_len(file)};
        sight_add(sight, sight_of_link(call->sim, url), SEEN_LINK);
    }
}

static void take_intercom(struct call *call)
{
    struct sim *sim = call->sim;
    struct intercom_answer answer;
    struct chance c = sim_chance(sim, 's', (uint64_t)sim_now(sim));
    int64_t lag_us = draw_percent(&c, 50) ? draw(&c, 0, latest_us(sim)) : 0;
    bool unswept = call->reads && sim->options->breakage == BREAK_SWEEP && str_eq_c(call->method, "POST");
    yyjson_doc *doc = call->body.n ? json_read(call->body) : NULL;
    intercom_desk_handle(sim->world->desks[call->desk].intercom, call->method, call->path, call->body,
                         unswept ? 0 : desk_now_us(sim), lag_us, &answer);
    call->status = answer.status;
    call->answer = answer.body;
    if (getenv("SIM_BODIES"))
        sim_trace(sim, "  took %.*s, answers %d %.*s", STR_ARG(call->body), answer.status,
                  STR_ARG(buf_str(&answer.body)));
    struct sight sight = {0};
    if (call->writes && answer.status == 200) {
        see_uploads(call, yyjson_doc_get_root(doc), &sight);
        oracle_applied(sim, call->desk, call->event, answer.conversation, answer.thread,
                       json_get_str(yyjson_doc_get_root(doc), "body"), &sight);
    }
    yyjson_doc_free(doc);
}

static void go_if_over(struct call *call)
{
    if (!call->open && !call->handling && !call->ending)
        call_free(call->sim->world, call);
}

static void on_handle(struct sim *sim, struct sim_event *event)
{
    struct call *call = event->arg;
    call->handling = NULL;
    if (!call->open)
        sim_trace(sim, "desk %d takes e%d, which nobody waits for any more", call->desk, call->event);
    if (is_bot(call))
        telegram_take(call);
    else if (sim->world->desks[call->desk].intercom)
        take_intercom(call);
    else if (call->probe)
        call->status = 200;
    else
        take_webhook(call);
    go_if_over(call);
}

// ---- the relay hears ----

static int add_headers(struct call *call, struct http_header headers[4])
{
    int count = 0;
    if (call->fate.retry_after_s)
        headers[count++] = (struct http_header){STR("Retry-After"),
                                                arena_printf(&call->arena, "%d", call->fate.retry_after_s)};
    if (call->remaining >= 0) {
        int64_t reset_us = call->sim->world->desks[call->desk].window_us + WINDOW_US;
        headers[count++] = (struct http_header){STR("X-RateLimit-Remaining"),
                                                arena_printf(&call->arena, "%d", call->remaining)};
        headers[count++] = (struct http_header){STR("X-RateLimit-Reset"),
                                                arena_printf(&call->arena, "%lld", (long long)(reset_us / SECOND))};
    }
    return count;
}

static void trace_end(struct call *call, const struct http_response *response)
{
    static const char *const failures[] = {"answered", "not connected", "tls",       "timeout",   "dropped",
                                           "resent",   "unreadable",    "cancelled", "unsendable"};
    if (response->failure)
        sim_trace(call->sim, "desk %d, %s: %s", call->desk, call->probe ? "probe" : "request",
                  failures[response->failure]);
    else
        sim_trace(call->sim, "desk %d, e%d: %d%s%s", call->desk, call->event, response->status,
                  call->fate.outage ? " (as to everybody)" : "",
                  call->fate.reaches || response->status == 200 ? "" : ", not taken");
}

static void end_call(struct call *call, struct http_response *response)
{
    struct http_header headers[4];
    response->headers = headers;
    response->header_count = response->failure ? 0 : (size_t)add_headers(call, headers);
    if (response->failure)
        response->error = STR("no answer");
    struct desk_world *desk = &call->sim->world->desks[call->desk];
    int64_t asked_us = sim_now(call->sim) + (int64_t)call->fate.retry_after_s * SECOND;
    if (call->remaining == 0 && asked_us < sim_now(call->sim) + 2 * WINDOW_US)
        asked_us = sim_now(call->sim) + 2 * WINDOW_US;
    int64_t *asked = call->reads ? &desk->read_asked_us : &desk->asked_us;
    if (!response->failure && asked_us > *asked)
        *asked = asked_us;
    desk->open -= !call->reads;
    if (!call->reads)
        desk->ended_us = sim_now(call->sim);
    call->open = false;
    if (is_bot(call) && !response->failure)
        telegram_told(call);
    trace_end(call, response);
    bool taken = call->writes && !response->failure && response->status >= 200 && response->status < 300;
    bool says_nothing = !is_bot(call) && !call->sim->world->desks[call->desk].intercom;
    oracle_ended(call->sim, call->desk, call->event, response, call->fate.outage,
                 taken && (!call->fate.junk || says_nothing));
    call->done(call->arg, response);
    go_if_over(call);
}

static void on_end(struct sim *sim, struct sim_event *event)
{
    struct call *call = event->arg;
    const struct fate *fate = &call->fate;
    (void)sim;
    call->ending = NULL;
    if (!call->open) {
        go_if_over(call);
        return;
    }
    struct http_response response = {.written = true};
    if (fate->never) {
        response.failure = HTTP_TIMEOUT;
    } else if (fate->failure) {
        response.failure = fate->failure;
        response.written = fate->written;
    } else {
        response.status = fate->status ? fate->status : call->status;
        response.body = fate->junk ? STR("<html>welcome") : buf_str(&call->answer);
        if (fate->status && !fate->says)
            response.body = STR("no");
    }
    end_call(call, &response);
}

void world_cancel(struct sim *sim, void *call_)
{
    struct call *call = call_;
    int64_t latest = sim_now(sim) + latest_us(sim);
    struct http_response response = {.failure = HTTP_CANCELLED, .written = true};
    if (call->handling && call->handling->item.at > latest)
        heap_set(&sim->events, &call->handling->item, latest);
    end_call(call, &response);
}

// ---- a request leaves ----

static int bot_of(struct str token)
{
    int64_t n;
    must(str_to_i64(str_sub(token, 0, str_index(token, ':', 0)), &n) && n >= 100 && n < 100 + MOST_BOTS);
    return (int)n - 100;
}

static int token_of(const struct http_request *request, struct str path, bool intercom)
{
    struct str token = http_header_get(request->headers, request->header_count, "Authorization");
    struct str number = intercom ? str_sub(token, sizeof "Bearer token-" - 1, token.n) : str_sub(path, 1, path.n);
    int64_t n;
    must(str_to_i64(number, &n) && n >= 0 && n < MOST_TOKENS);
    return (int)n;
}

// "http://desk3.test/...", "http://telegram.test/bot103:.../..."
static void read_target(struct call *call, const struct http_request *request)
{
    static const struct str bot = STR("http://telegram.test/bot");
    size_t host = sizeof "http://desk" - 1;
    bool to_bot = str_starts(request->target, bot);
    size_t slash = str_index(request->target, '/', to_bot ? bot.n : host);
    call->desk = to_bot ? MOST_DESKS + bot_of(str_sub(request->target, bot.n, slash)) : request->target.p[host] - '0';
    call->path = arena_str(&call->arena, str_sub(request->target, slash, request->target.n));
    call->method = arena_str(&call->arena, request->method);
    call->body = files_body(call->sim, request, &call->arena);
    call->unsendable = request->part_count && !call->body.p;
}

// By its text; where others say the same, by its id if it has one there.
static int event_in(const struct sim *sim, struct str body, const char *key)
{
    yyjson_doc *doc = body.n ? json_read(body) : NULL;
    yyjson_val *root = yyjson_doc_get_root(doc);
    int64_t id = 0;
    int event = event_of_text(json_get_str(root, key));
    if (str_to_i64(json_get_str(root, "id"), &id) &&
        oracle_event_of(sim, id) >= 0) // what an album was joined into, and what follows, may begin as others do
        event = oracle_event_of(sim, id);
    yyjson_doc_free(doc);
    return event;
}

static uint64_t identity_of(struct call *call)
{
    char base[40], text[60];
    if (is_bot(call))
        return telegram_identity(call);
    bool intercom = call->sim->world->desks[call->desk].intercom;
    struct desk desk = {.platform = intercom ? STR("intercom") : STR("webhook")};
    snprintf(base, sizeof base, "http://desk%d.test", call->desk);
    snprintf(text, sizeof text, intercom ? "token-%d" : "http://desk%d.test/%d", intercom ? call->token : call->desk,
             call->token);
    if (intercom) {
        desk.token = str_of(text);
        desk.api_url = str_of(base);
    } else {
        desk.url = str_of(text);
        desk.secret = STR("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }
    return desk_identity(&desk);
}

static void describe(struct call *call, const struct http_request *request)
{
    struct intercom_desk *intercom = call->sim->world->desks[call->desk].intercom;
    if (is_bot(call)) {
        telegram_describe(call);
        return;
    }
    call->token = token_of(request, call->path, intercom != NULL);
    call->event = call->conversation = -1;
    call->probe = intercom ? str_eq_c(call->path, "/me") : str_eq_c(call->method, "HEAD");
    if (intercom) {
        call->writes = str_eq_c(call->path, "/conversations") || str_ends(call->path, STR("/reply"));
        call->conversation = intercom_desk_whose(intercom, call->method, call->path, call->body);
        call->event = call->writes ? event_in(call->sim, call->body, "body") : -1;
    } else if (!call->probe) {
        call->writes = true;
        call->event = event_in(call->sim, call->body, "text");
    }
}

static struct call *make_call(struct sim *sim, const struct http_request *request)
{
    struct call *call = mem_new_of(struct call);
    call->sim = sim;
    call->remaining = -1;
    read_target(call, request);
    must(call->desk >= 0 && (is_bot(call) || call->desk < sim->plan.desks));
    describe(call, request);
    sim->world->desks[call->desk].seen[call->token] = true;
    DL_APPEND(sim->world->calls, call);
    return call;
}

static void start_call(struct call *call)
{
    struct sim *sim = call->sim;
    int64_t timeout_us = call->probe ? 5 * SECOND : sim->plan.timeout_ms * 1000;
    sim->result->requests++;
    call->fate = draw_fate(call);
    if (call->unsendable) {
        call->fate = failed(call->fate, HTTP_UNSENDABLE, false, false);
        oracle_bytes_gone(sim, call->event);
    }
    if (call->fate.never || call->fate.end_us > timeout_us) {
        call->fate.never = true;
        call->fate.end_us = timeout_us;
    }
    if (call->fate.reaches) {
        call->handling = sim_after(sim, call->fate.handle_us, on_handle, call);
    }
    call->ending = sim_after(sim, call->fate.end_us + 1, on_end, call);
}

// The first character of what was said, behind its number.
static void alter(struct call *call)
{
    char *at = memmem(call->body.p, call->body.n, ". ", 2);
    if (at)
        at[1] = '!';
}

static void nobody_hears(void *arg, const struct http_response *response)
{
    (void)arg, (void)response;
}

static void break_on_the_way(struct call *call)
{
    enum breakage breakage = call->sim->options->breakage;
    if (breakage == BREAK_ALTER && call->writes && call->event >= 0 && call->body.n > 20)
        alter(call);
    if (breakage == BREAK_PHANTOM && call->writes)
        call->event = MOST_EVENTS - 1;
    if (breakage == BREAK_CHAT && is_bot(call) && call->writes)
        telegram_misdirect(call);
}

void *world_send(struct sim *sim, const struct http_request *request, int64_t timeout_ms,
                 void (*done)(void *arg, const struct http_response *response), void *arg)
{
    struct call *call = make_call(sim, request);
    (void)timeout_ms;
    call->open = true;
    sim->world->desks[call->desk].open++;
    call->done = done;
    call->arg = arg;
    break_on_the_way(call);
    call->event = oracle_sent(sim, call->desk, identity_of(call), call->event, call->conversation, call->probe,
                              call->writes);
    sim_trace(sim, "desk %d <- %.*s %.*s e%d", call->desk, STR_ARG(call->method), STR_ARG(call->path), call->event);
    start_call(call);
    struct chance c = sim_chance(sim, 'B', (uint64_t)sim_now(sim));
    if (((sim->options->breakage == BREAK_REPEAT && draw_percent(&c, 10)) || sim->options->breakage == BREAK_OVERLAP) &&
        call->writes && sim->world->desks[call->desk].intercom) { // somebody sends it once more
        struct call *again = make_call(sim, request);
        again->done = nobody_hears;
        again->event = call->event;
        if (sim->options->breakage == BREAK_OVERLAP)
            oracle_sent(sim, call->desk, identity_of(call), call->event, call->conversation, false, true);
        start_call(again);
    }
    return call;
}

// Of a fetch or a search (relay/replies.h).
void *world_read(struct sim *sim, const struct http_request *request, int64_t timeout_ms,
                 void (*done)(void *arg, const struct http_response *response), void *arg)
{
    struct call *call = make_call(sim, request);
    (void)timeout_ms;
    call->open = call->reads = true;
    call->writes = call->probe = false;
    call->event = -1;
    call->done = done;
    call->arg = arg;
    int64_t thread = -1;
    struct str rest = str_sub(call->path, sizeof "/conversations/" - 1, call->path.n);
    oracle_reads(sim, call->desk, str_to_i64(rest, &thread) ? (int)thread - 1000 : -1);
    sim_trace(sim, "desk %d <- %.*s %.*s, read", call->desk, STR_ARG(call->method), STR_ARG(call->path));
    start_call(call);
    return call;
}
