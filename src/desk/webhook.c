// The signed webhook as a desk: one POST for each message, signed, with an id that is the same on every
// attempt, so that the receiver can tell a repetition (INTERFACE.md, "The signed webhook").
//
// Whoever drops a repetition must lose nothing by it: a file that a message was sent without stays one that is to come, however
// often it is sent, and comes in the message behind it. Which those are stands in link.note, "wanted=<message id>:<bits in hex>,...",
// and on the disk before the first request with them leaves: else a crash would let the next one say something else.
#include "base/json.h"
#include "base/must.h"
#include "desk/desk.h"
#include "model/webhook_signature.h"

#include <inttypes.h>

enum {
    USUAL_BODY = 700, // bytes, but for the text
    NOTED = 8,        // messages of a conversation in its note, beside the one at hand
};

// The address that the receiver can have it by: ours where we keep it, else the sender's.
static struct str address_of(const struct delivery *attempt, const struct attachment *file)
{
    if (file->state == FILE_KEPT)
        return media_link(attempt->links, file, attempt->now_us, attempt->arena);
    return file->url;
}

static void write_file(const struct delivery *attempt, struct json *json, const struct attachment *file)
{
    json_open(json, '{');
    json_key_str(json, "kind", file->kind);
    json_key_str(json, "url", address_of(attempt, file));
    json_key_str(json, "name", file->name);
    json_key_str(json, "mime", file->mime);
    json_key(json, "size");
    if (file->size >= 0)
        json_int(json, file->size);
    else
        json_null(json);
    if (file->state == FILE_WANTED || file->state == FILE_FAILED)
        json_key_str(json, "state", str_of(file_state_name(file->state)));
    if (file->state == FILE_FAILED)
        json_key_str(json, "why", file->why);
    json_close(json, '}');
}

// "42:" of the word about this message.
static struct str name_in_note(const struct delivery *attempt)
{
    char digits[STR_I64_SIZE];
    return ARENA_JOIN(attempt->arena, str_of_i64(attempt->message->id, digits), STR(":"));
}

static struct str words_of_note(struct str note)
{
    static const struct str key = STR("wanted=");
    return str_starts(note, key) ? str_sub(note, key.n, note.n) : STR_NONE;
}

static uint32_t read_bits(struct str digits)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < digits.n; i++) {
        char c = digits.p[i];
        bits = bits << 4 | (uint32_t)(c >= 'a' ? c - 'a' + 10 : c - '0');
    }
    return bits;
}

// Which files this message was sent without before, if it was.
static uint32_t wanted_before(const struct delivery *attempt)
{
    struct str words = words_of_note(attempt->link.note), name = name_in_note(attempt);
    for (size_t at = 0; at < words.n;) {
        size_t to = str_index(words, ',', at);
        struct str word = str_sub(words, at, to);
        if (str_starts(word, name) && word.n - name.n <= 8)
            return read_bits(str_sub(word, name.n, word.n));
        at = to + 1;
    }
    return 0;
}

// The words about others, the latest NOTED of them: one that was set aside may be tried again by hand.
static struct str other_words(const struct delivery *attempt)
{
    struct str words = words_of_note(attempt->link.note), name = name_in_note(attempt), kept = STR("");
    int count = 0;
    for (size_t end = words.n; end && count < NOTED;) {
        size_t from = end;
        while (from && words.p[from - 1] != ',')
            from--;
        struct str word = str_sub(words, from, end);
        if (!str_starts(word, name)) {
            kept = kept.n ? ARENA_JOIN(attempt->arena, word, STR(","), kept) : word;
            count++;
        }
        end = from ? from - 1 : 0;
    }
    return kept;
}

static void set_note(struct delivery *attempt, uint32_t wanted)
{
    struct str words = other_words(attempt), note = STR_NONE;
    if (wanted)
        note = arena_printf(attempt->arena, "wanted=%.*s%s%.*s%" PRIx32, STR_ARG(words), words.n ? "," : "",
                            STR_ARG(name_in_note(attempt)), wanted);
    else if (words.n)
        note = ARENA_JOIN(attempt->arena, STR("wanted="), words);
    attempt->link_changed |= !str_eq(note, attempt->link.note);
    attempt->link.note = note;
}

// What is still wanted follows in a message of its own.
static void write_files(struct delivery *attempt, struct json *json)
{
    struct attachment *files;
    size_t count = attachments_read(attempt->message->attachments, attempt->arena, &files);
    uint32_t before = wanted_before(attempt), wanted = 0;
    attempt->files_told = 0;
    json_open(json, '[');
    for (size_t i = 0; i < count; i++) {
        uint32_t bit = i < FILES_MAX ? UINT32_C(1) << i : 0;
        if (before & bit)
            files[i].state = FILE_WANTED;
        write_file(attempt, json, &files[i]);
        if (files[i].state == FILE_WANTED)
            wanted |= bit;
        else
            attempt->files_told |= bit;
    }
    json_close(json, ']');
    set_note(attempt, wanted);
}

static struct str body_of(struct delivery *attempt)
{
    const struct message *message = attempt->message;
    struct buf out;
    buf_init(&out, SIZE_MAX / 2);
    buf_reserve(&out, USUAL_BODY + message->text.n + message->attachments.n); // rarely made larger
    struct json json = {.out = &out};
    json_open(&json, '{');
    json_key_id(&json, "id", message->id);
    json_key_str(&json, "account", attempt->account->name);
    json_key_str(&json, "source", attempt->source->name);
    json_key_str(&json, "platform", attempt->source->platform);
    json_key_str(&json, "direction", str_of(direction_name(message->direction)));
    json_key_str(&json, "conversation", message->conversation);
    json_key(&json, "sender");
    json_open(&json, '{');
    json_key_str(&json, "id", message->sender_id);
    json_key_str(&json, "name", message->sender_name);
    json_close(&json, '}');
    json_key_str(&json, "text", message->text.p ? message->text : STR(""));
    json_key(&json, "attachments");
    write_files(attempt, &json);
    json_key_time(&json, "sent_at", message->sent_at_us);
    json_key_time(&json, "received_at", message->received_at_us);
    json_key_bool(&json, "late", message->late);
    json_close(&json, '}');
    buf_must(&out); // the message was in memory a moment ago
    struct str body = arena_str(attempt->arena, buf_str(&out));
    buf_done(&out);
    return body;
}

static void make_request(struct delivery *attempt, struct http_request *out)
{
    struct arena *arena = attempt->arena;
    int64_t now_s = attempt->now_us / 1000000;
    char digits[STR_I64_SIZE], now_digits[STR_I64_SIZE];
    struct str number = str_of_i64(attempt->message->id, digits);
    struct str id = ARENA_JOIN(arena, STR("msg_"), attempt->store_id, STR("_"), number);
    struct str body = body_of(attempt);
    struct http_header *headers = arena_alloc(arena, 4 * sizeof *headers);
    headers[0] = (struct http_header){STR("content-type"), STR("application/json")};
    headers[1] = (struct http_header){STR("webhook-id"), id};
    headers[2] = (struct http_header){STR("webhook-timestamp"), arena_str(arena, str_of_i64(now_s, now_digits))};
    headers[3] = (struct http_header){STR("webhook-signature"),
                                      webhook_sign(arena, attempt->desk->secret, id, now_s, body)};
    *out = (struct http_request){
        .method = STR("POST"), .target = attempt->desk->url, .headers = headers, .header_count = 4, .body = body};
}

// At one fixed address these say that the receiver has moved or is set up wrongly, not that this message is.
static bool is_wrong_address(int status)
{
    return status == 404 || status == 405 || status == 410;
}

static struct verdict webhook_verdict(const struct http_response *response, bool writes, int64_t now_us,
                                      struct arena *arena)
{
    struct verdict verdict = verdict_of(response, writes, now_us, arena);
    if (response->failure == HTTP_ANSWERED && is_wrong_address(response->status)) {
        verdict.kind = VERDICT_DESK_DOWN;
        verdict.alarm = true;
    }
    return verdict;
}

static void webhook_step(struct delivery *attempt, const struct http_response *last, struct delivery_step *out)
{
    *out = (struct delivery_step){0};
    if (last) {
        out->kind = DELIVERY_END;
        out->verdict = webhook_verdict(last, true, attempt->now_us, attempt->arena);
        if (out->verdict.kind == VERDICT_DELIVERED)
            set_note(attempt, 0);
    } else {
        out->kind = DELIVERY_SEND;
        out->writes = true;
        make_request(attempt, &out->request);
        if (attempt->link_changed && wanted_before(attempt))
            *out = (struct delivery_step){
                .kind = DELIVERY_END,
                .verdict = {.kind = VERDICT_WAIT,
                            .until_us = attempt->now_us,
                            .error = STR("what it is sent without is noted before it is sent")},
            };
    }
}

static const char *webhook_check(const struct desk *desk, struct arena *arena)
{
    if (!str_starts(desk->url, STR("https://")) && !str_starts(desk->url, STR("http://")))
        return "a webhook desk needs a url that begins with https:// or http://";
    if (!desk->secret.p)
        return "a webhook desk needs a secret (whsec_...)";
    const char *trouble = webhook_secret_trouble(desk->secret);
    return trouble ? arena_printf(arena, "secret: %s", trouble).p : NULL;
}

static bool probe_request(const struct desk *desk, struct http_request *out)
{
    if (desk->probe == DESK_PROBE_NONE)
        return false;
    *out = (struct http_request){.method = STR("HEAD"), .target = desk->url};
    return true;
}

static bool webhook_probe(const struct account *account, const struct source *source, struct arena *arena,
                          struct http_request *out)
{
    (void)source, (void)arena;
    return probe_request(&account->desk, out);
}

// 405, and 404 of frameworks that route by method, are about HEAD itself: they say nothing of what becomes of a POST.
static bool knows_no_head(int status)
{
    return status == 404 || status == 405;
}

// Any status outside the desk_down rows means well: whoever answers can take a message.
static struct verdict webhook_probe_verdict(const struct http_response *response, int64_t now_us, struct arena *arena)
{
    struct verdict verdict = webhook_verdict(response, false, now_us, arena);
    if (response->failure != HTTP_ANSWERED)
        return verdict;
    if (knows_no_head(response->status))
        return (struct verdict){.kind = VERDICT_REJECTED, .status = response->status, .error = verdict.error};
    if (verdict.kind != VERDICT_DESK_DOWN)
        return (struct verdict){.kind = VERDICT_DELIVERED, .status = response->status};
    return verdict;
}

static bool webhook_ask(const struct desk *desk, struct inquiry *inquiry, const struct http_response *last,
                        struct http_request *out_request)
{
    struct str url = http_shown_url(inquiry->arena, desk->url);
    if (!last)
        inquiry_text(inquiry, "url", url);
    if (!last && probe_request(desk, out_request))
        return true;
    if (!last) {
        inquiry_end(inquiry, true, "Nothing is asked of %.*s, which has probe: none; the next message tells.",
                    STR_ARG(url));
        return false;
    }
    struct verdict verdict = webhook_probe_verdict(last, inquiry->now_us, inquiry->arena);
    if (last->status)
        inquiry_number(inquiry, "status", last->status);
    if (verdict.kind == VERDICT_DELIVERED)
        inquiry_end(inquiry, true, "%.*s answers (HTTP %d to HEAD).", STR_ARG(url), last->status);
    else if (verdict.kind == VERDICT_REJECTED)
        inquiry_end(inquiry, true, "%.*s answers, but knows no HEAD (HTTP %d): the next message tells.", STR_ARG(url),
                    last->status);
    else if (last->failure == HTTP_ANSWERED)
        inquiry_end(inquiry, false, "%.*s answers as one that takes no messages (%.*s).", STR_ARG(url),
                    STR_ARG(verdict.error));
    else
        inquiry_end(inquiry, false, "%.*s cannot be reached: %.*s.", STR_ARG(url), STR_ARG(verdict.error));
    return false;
}

const struct desk_connector desk_webhook = {
    .receiver =
        {
            .name = "webhook",
            .has_key = true,
            .step = webhook_step,
            .probe = webhook_probe,
            .probe_verdict = webhook_probe_verdict,
        },
    .check = webhook_check,
    .ask = webhook_ask,
};
