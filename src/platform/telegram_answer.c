// What Telegram's answers have in common, whatever was asked.
#include "platform/telegram.h"

enum {
    WAIT_MAX_S = 3600,
    TOKEN_CHARACTERS = 20, // behind the colon: surely more than any word
    WORDS_MAX = 300,       // as of other peers (model/verdict.c)
};

void telegram_answer_read(const struct http_response *response, struct telegram_answer *out)
{
    *out = (struct telegram_answer){.says = ""};
    if (response->failure != HTTP_ANSWERED)
        return;
    out->doc = json_read(response->body);
    yyjson_val *root = yyjson_doc_get_root(out->doc);
    if (!yyjson_is_bool(yyjson_obj_get(root, "ok")))
        return;
    const char *says = yyjson_get_str(yyjson_obj_get(root, "description"));
    out->root = root;
    out->says = says ? says : "";
}

yyjson_val *telegram_answer_parameter(const struct telegram_answer *answer, const char *name)
{
    return yyjson_obj_get(yyjson_obj_get(answer->root, "parameters"), name);
}

// Errors --------------------------------------------------------------------------------------------------

static bool is_of_token(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || c == '-';
}

// Characters of the colon at `at`, which may be percent-encoded; 0: there is none.
static size_t colon_at(struct str words, size_t at)
{
    if (words.p[at] == ':')
        return 1;
    return str_ieq(str_sub(words, at, at + 3), STR("%3A")) ? 3 : 0;
}

// The server may say the address that it was asked for, and the token is in it: "<digits>:<letters and digits>".
static bool may_hold_token(struct str words)
{
    for (size_t i = 1; i < words.n; i++) {
        size_t colon = colon_at(words, i), run = 0;
        if (!colon || words.p[i - 1] < '0' || words.p[i - 1] > '9')
            continue;
        while (i + colon + run < words.n && is_of_token(words.p[i + colon + run]))
            run++;
        if (run > TOKEN_CHARACTERS)
            return true;
    }
    return false;
}

struct str telegram_words(struct str words, struct arena *arena)
{
    size_t n = words.n < WORDS_MAX ? words.n : WORDS_MAX;
    if (may_hold_token(words))
        return STR("an error whose words may hold the token");
    while (n < words.n && n && ((unsigned char)words.p[n] & 0xC0) == 0x80)
        n--;
    return arena_str(arena, str_sub(words, 0, n));
}

struct verdict telegram_verdict(const struct http_response *response, bool writes, int64_t now_us, struct arena *arena)
{
    struct verdict verdict = verdict_of(response, writes, now_us, arena);
    if (may_hold_token(verdict.error))
        verdict.error = verdict.status ? arena_printf(arena, "HTTP %d", verdict.status) : STR("no answer");
    return verdict;
}

void telegram_judge_bot(struct verdict *verdict, struct arena *arena)
{
    if (verdict->status != 401 && verdict->status != 404)
        return;
    verdict->kind = VERDICT_DESK_DOWN;
    verdict->alarm = true;
    verdict->error = arena_printf(
        arena,
        "Telegram does not know this bot (%.*s): the token is wrong or was revoked, or api_url "
        "is not a Bot API server",
        STR_ARG(verdict->error));
}

int64_t telegram_limited_until(const struct telegram_answer *answer, const struct verdict *verdict, int64_t now_us)
{
    int64_t wait_s = yyjson_get_sint(telegram_answer_parameter(answer, "retry_after"));
    if (wait_s <= 0 && verdict->until_us > now_us) // the header said it
        wait_s = (verdict->until_us - now_us + 999999) / 1000000;
    if (wait_s <= 0)
        wait_s = 1;
    return now_us + (wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S) * 1000000;
}
