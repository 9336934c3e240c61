// A file of a customer's message: getFile, which says where it is, then GET of that.
//
// Both addresses hold the bot's token, and lead to where the operator said that Telegram is. An address is good for an hour: one
// that has expired is asked for once more.
#include "platform/telegram.h"

#include "base/buf.h"

#include <inttypes.h>
#include <string.h>

enum phase { START, ASKED, GETTING };

enum { ASKS_MAX = 2 }; // of one try

static void end(struct file_step *out, struct verdict verdict)
{
    *out = (struct file_step){.kind = FILE_END, .verdict = verdict};
}

static void end_rejected(struct file_step *out, int status, struct str error)
{
    end(out, (struct verdict){.kind = VERDICT_REJECTED, .status = status, .error = error});
}

static void end_too_large(struct file_fetch *fetch, struct file_step *out)
{
    end_rejected(out, 0,
                 arena_printf(fetch->arena, "larger than the %" PRId64 " MiB that are kept of a file",
                              fetch->max_size / (1024 * 1024)));
}

// Nothing of it says anything of the file: it is tried again. A token may be mended meanwhile.
void telegram_fetch_failed(struct file_fetch *fetch, const struct http_response *last,
                           const struct telegram_answer *answer, struct file_step *out)
{
    struct verdict verdict = telegram_verdict(last, false, fetch->now_us, fetch->arena);
    if (verdict.kind == VERDICT_DELIVERED)
        verdict = verdict_unreadable(last, false, STR("not an answer of Telegram's"));
    if (last->failure == HTTP_ANSWERED && fetch->phase != GETTING)
        telegram_judge_bot(&verdict, fetch->arena);
    if (verdict.status == 429)
        verdict.until_us = telegram_limited_until(answer, &verdict, fetch->now_us);
    if (verdict.kind != VERDICT_WAIT)
        verdict.kind = VERDICT_RETRY;
    end(out, verdict);
}

// getFile -------------------------------------------------------------------------------------------------

static void ask(struct file_fetch *fetch, struct file_step *out)
{
    struct buf body;
    buf_init(&body, SIZE_MAX / 2);
    struct json json = {.out = &body};
    json_open(&json, '{');
    json_key_str(&json, "file_id", fetch->file.ref);
    json_close(&json, '}');
    buf_must(&body);
    fetch->phase = ASKED;
    fetch->tries++;
    *out = (struct file_step){
        .kind = FILE_ASK,
        .trusted = true,
        .request = telegram_call(fetch->source, "getFile", arena_str(fetch->arena, buf_str(&body)), fetch->arena),
    };
    buf_done(&body);
}

// Of a server in local mode: a path on its own disk.
static bool is_absolute(struct str path)
{
    return str_starts(path, STR("/")) || str_index(path, ':', 0) < str_index(path, '/', 0);
}

// The path in the address, or STR_NONE of what would lead elsewhere.
static struct str escaped_path(struct str path, struct arena *arena)
{
    struct buf buf;
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] < ' ' || path.p[i] > '~')
            return STR_NONE;
    buf_init(&buf, SIZE_MAX / 2);
    bool good = true;
    for (size_t at = 0, to; at <= path.n && good; at = to + 1) {
        to = str_index(path, '/', at);
        struct str segment = str_sub(path, at, to);
        good = segment.n && !str_eq_c(segment, ".") && !str_eq_c(segment, "..");
        buf_add_char(&buf, '/');
        buf_add_str(&buf, http_escape(arena, segment));
    }
    buf_must(&buf);
    struct str escaped = good ? arena_str(arena, buf_str(&buf)) : STR_NONE;
    buf_done(&buf);
    return escaped;
}

static void get(struct file_fetch *fetch, struct str path, struct file_step *out)
{
    struct str escaped = escaped_path(path, fetch->arena);
    if (is_absolute(path)) {
        end_rejected(out, 200,
                     STR("the Bot API server runs in local mode and keeps files on its own disk, where they cannot be "
                         "fetched from"));
        return;
    }
    if (!escaped.n) {
        end_rejected(out, 200, STR("Telegram's answer names no path that a file could have"));
        return;
    }
    fetch->phase = GETTING;
    *out = (struct file_step){
        .kind = FILE_GET,
        .trusted = true,
        .request = {.method = STR("GET"),
                    .target = ARENA_JOIN(fetch->arena, telegram_base(fetch->source), STR("/file/bot"),
                                         fetch->source->token, escaped)},
    };
}

static void take_place(struct file_fetch *fetch, const struct http_response *last, yyjson_val *file,
                       struct file_step *out)
{
    struct str path = json_get_str(file, "file_path");
    int64_t size;
    if (json_get_int(file, "file_size", &size) && size > fetch->max_size)
        end_too_large(fetch, out);
    else if (path.n)
        get(fetch, path, out);
    else
        end(out, verdict_unreadable(last, false, STR("Telegram does not say where the file is")));
}

static void take_refusal(struct file_fetch *fetch, const struct http_response *last,
                         const struct telegram_answer *answer, struct file_step *out)
{
    if (strcasestr(answer->says, "too big"))
        end_rejected(out, 400, STR(TELEGRAM_TOO_LARGE));
    else if (strcasestr(answer->says, "temporarily") || strcasestr(answer->says, "try again"))
        end(out, (struct verdict){.kind = VERDICT_RETRY,
                                  .status = 400,
                                  .error = STR("Telegram cannot give the file at the moment")});
    else
        end_rejected(out, 400,
                     arena_printf(fetch->arena, "Telegram does not give the file (%.*s)",
                                  STR_ARG(telegram_verdict(last, false, fetch->now_us, fetch->arena).error)));
}

static void take_answer(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    struct telegram_answer answer;
    telegram_answer_read(last, &answer);
    yyjson_val *file = yyjson_obj_get(answer.root, "result");
    if (answer.root && last->status == 200 && yyjson_is_obj(file) && yyjson_get_bool(yyjson_obj_get(answer.root, "ok")))
        take_place(fetch, last, file, out);
    else if (answer.root && last->status == 400)
        take_refusal(fetch, last, &answer, out);
    else
        telegram_fetch_failed(fetch, last, &answer, out);
    yyjson_doc_free(answer.doc);
}

// The file ------------------------------------------------------------------------------------------------

static bool has_expired(const struct http_response *last)
{
    return last->failure == HTTP_ANSWERED && (last->status == 404 || last->status == 400 || last->status == 410);
}

// Its address was just given by the same bot, so it is neither the bot's fault nor for good.
static void end_not_there(struct file_step *out, int status)
{
    end(out, (struct verdict){
                 .kind = VERDICT_RETRY, .status = status, .error = STR("the file is not where Telegram says it is")});
}

static void take_file(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    struct telegram_answer answer;
    telegram_answer_read(last, &answer);
    if (last->failure == HTTP_ANSWERED && last->status == 200)
        end(out, (struct verdict){.kind = VERDICT_DELIVERED, .status = 200});
    else if (last->failure == HTTP_UNREADABLE && last->too_large)
        end_too_large(fetch, out);
    else if (has_expired(last) && fetch->tries < ASKS_MAX)
        ask(fetch, out);
    else if (has_expired(last))
        end_not_there(out, last->status);
    else
        telegram_fetch_failed(fetch, last, &answer, out);
    yyjson_doc_free(answer.doc);
}

void telegram_fetch(struct file_fetch *fetch, const struct http_response *last, struct file_step *out)
{
    if (!fetch->file.ref.n)
        end_rejected(out, 0, STR("what Telegram calls the file is not known any more"));
    else if (!last)
        ask(fetch, out);
    else if (fetch->phase == ASKED)
        take_answer(fetch, last, out);
    else
        take_file(fetch, last, out);
}
