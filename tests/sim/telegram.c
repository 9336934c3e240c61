// As much of Telegram as replies meet: bots that write into chats, chats that move, refuse, or take no more for a while.
#include "base/json.h"
#include "base/mem.h"
#include "sim/world_own.h"

#include <stdio.h>
#include <string.h>

enum { CHAT_BASE = 1000, MOVED_BASE = -2000 };

// A chat is called 1007, and -2007 when it has moved.
static int conversation_of(int64_t chat, bool *out_moved)
{
    *out_moved = chat < 0;
    int64_t conversation = chat < 0 ? MOVED_BASE - chat : chat - CHAT_BASE;
    return conversation >= 0 && conversation < MOST_CONVERSATIONS ? (int)conversation : -1;
}

void thread_name(const struct sim *sim, int conversation, bool migrated, char *out, size_t size)
{
    if (sim->plan.telegram[sim->plan.account_of[conversation]])
        snprintf(out, size, "%d", migrated ? MOVED_BASE - conversation : CHAT_BASE + conversation);
    else
        snprintf(out, size, "%c%d", migrated ? 'm' : 'k', conversation);
}

struct str bot_token(int account, int source, struct arena *arena)
{
    return arena_printf(arena, "%d:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 100 + account * MOST_SOURCES + source);
}

// "...; name="chat_id"\r\n\r\n1007\r\n--..."
static struct str form_value(const struct call *call, const char *mark)
{
    const char *at = memmem(call->body.p, call->body.n, mark, strlen(mark));
    const char *end = call->body.p + call->body.n;
    const char *from = at ? memmem(at, (size_t)(end - at), "\r\n\r\n", 4) : NULL;
    if (!from)
        return STR_NONE;
    from += 4;
    const char *to = memmem(from, (size_t)(end - from), "\r\n--", 4);
    return (struct str){from, (size_t)((to ? to : end) - from)};
}

struct str form_field(const struct call *call, const char *name)
{
    return form_value(call, arena_printf(&((struct call *)call)->arena, "name=\"%s\"", name).p);
}

struct str form_file(const struct call *call)
{
    return form_value(call, "filename=\"");
}

static const char *const uploads[] = {"/sendPhoto", "/sendDocument", "/sendAnimation",
                                      "/sendVideo", "/sendVoice",    "/sendAudio"};

static bool is_upload(const struct call *call)
{
    for (size_t i = 0; i < sizeof uploads / sizeof *uploads; i++)
        if (str_ends(call->path, str_of(uploads[i])))
            return true;
    return false;
}

void telegram_describe(struct call *call)
{
    bool new_name = false;
    int64_t chat = 0;
    yyjson_doc *doc = is_upload(call) ? NULL : json_read(call->body);
    yyjson_val *root = yyjson_doc_get_root(doc);
    call->event = call->conversation = -1;
    call->probe = str_ends(call->path, STR("/getMe"));
    call->writes = str_ends(call->path, STR("/sendMessage")) || is_upload(call);
    bool has_chat = is_upload(call) ? str_to_i64(form_field(call, "chat_id"), &chat)
                                    : json_get_int(root, "chat_id", &chat);
    if (call->writes && has_chat)
        call->conversation = conversation_of(chat, &new_name);
    call->moved = call->conversation >= 0 && !new_name && platform_has_migrated(call->sim, call->conversation);
    yyjson_doc_free(doc);
}

uint64_t telegram_identity(struct call *call)
{
    int bot = call->desk - MOST_DESKS;
    struct source source = {
        .platform = STR("telegram"),
        .api_url = BOT_URL,
        .token = bot_token(bot / MOST_SOURCES, bot % MOST_SOURCES, &call->arena),
    };
    return source_identity(&source);
}

// ---- refusals ----

static struct fate say(struct call *call, struct fate fate, int status, const char *description, const char *parameter,
                       int64_t value)
{
    buf_done(&call->answer);
    buf_init(&call->answer, 1 << 16);
    struct json json = {.out = &call->answer};
    json_open(&json, '{');
    json_key_bool(&json, "ok", false);
    json_key_int(&json, "error_code", status);
    json_key_str(&json, "description", str_of(description));
    if (parameter) {
        json_key(&json, "parameters");
        json_open(&json, '{');
        json_key_int(&json, parameter, value);
        json_close(&json, '}');
    }
    json_close(&json, '}');
    fate.says = true;
    return fate_status(fate, status, false);
}

bool telegram_refuses(struct call *call, struct fate *fate)
{
    if (!call->writes || !call->moved)
        return false;
    *fate = say(call, *fate, 400, "Bad Request: group chat was upgraded to a supergroup chat", "migrate_to_chat_id",
                MOVED_BASE - call->conversation);
    return true;
}

struct fate telegram_limited(struct call *call, struct fate fate, struct chance *c)
{
    call->limited_s = (int)draw(c, 1, draw_percent(c, 10) ? 900 : 30);
    const char *parameter = call->sim->options->breakage == BREAK_PACE ? NULL : "retry_after";
    return say(call, fate, 429, "Too Many Requests: retry later", parameter, call->limited_s);
}

static struct fate of_chat(struct fate fate)
{
    fate.of_chat = true;
    return fate;
}

struct fate telegram_ill(struct call *call, struct fate fate)
{
    switch (call->sim->plan.event[call->event].illness) {
    case ILL_400:
        if (oracle_name(call->sim, call->event) % 2)
            return of_chat(say(call, fate, 400, "Bad Request: chat not found", NULL, 0));
        return say(call, fate, 400, "Bad Request: message text is not to our taste", NULL, 0);
    case ILL_422:
        return of_chat(say(call, fate, 403, "Forbidden: bot was blocked by the user", NULL, 0));
    case ILL_500:
        return fate_status(fate, 500, false);
    case ILL_500_TAKEN:
        return fate_status(fate, 500, true);
    case ILL_DROPS:
        fate.failure = HTTP_DROPPED;
        fate.reaches = false;
        return fate;
    case ILL_SILENT:
    case ILL_SILENT_TAKEN:
        fate.never = true;
        fate.reaches = call->sim->plan.event[call->event].illness == ILL_SILENT_TAKEN;
        return fate;
    default:
        return fate;
    }
}

// ---- what it takes ----

void telegram_take(struct call *call)
{
    struct sim *sim = call->sim;
    call->status = 200;
    buf_done(&call->answer);
    buf_init(&call->answer, 1 << 16);
    if (!call->writes) {
        buf_add_str(&call->answer, STR("{\"ok\":true,\"result\":{\"id\":1,\"is_bot\":true}}"));
        return;
    }
    yyjson_doc *doc = is_upload(call) ? NULL : json_read(call->body);
    struct str text = is_upload(call) ? STR("") : json_get_str(yyjson_doc_get_root(doc), "text");
    struct sight sight = {0};
    if (is_upload(call)) {
        int named = file_named(call->body);
        sight_add(&sight, sight_of_bytes(sim, form_file(call), named), SEEN_WHOLE);
    }
    oracle_applied(sim, call->desk, call->event, call->conversation, -1, text, &sight);
    yyjson_doc_free(doc);
    buf_printf(&call->answer, "{\"ok\":true,\"result\":{\"message_id\":%d}}", ++sim->world->desks[call->desk].messages);
}

void telegram_told(struct call *call)
{
    if (call->fate.status == 429 && call->limited_s && call->event >= 0)
        oracle_limited(call->sim, call->desk, call->conversation,
                       sim_now(call->sim) + (int64_t)call->limited_s * SECOND);
    if (call->event >= 0 && call->fate.says && !call->moved && (call->fate.status == 400 || call->fate.status == 403))
        oracle_refused(call->sim, call->event, call->fate.of_chat);
    if (call->fate.status == 400 && call->moved && call->event >= 0)
        oracle_moved(call->sim, call->event);
}

void telegram_misdirect(struct call *call)
{
    call->conversation = (call->conversation + 1) % call->sim->plan.conversations;
}
