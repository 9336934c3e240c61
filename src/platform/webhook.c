// The signed webhook as a source: any program may send messages (INTERFACE.md, "The signed webhook").
//
// The request is verified over its raw bytes, then read strictly: what is named must be right, the rest is
// ignored. A sender whose message is refused gets a sentence that says what would be right.
#include "base/json.h"
#include "base/time_text.h"
#include "model/attachment.h"
#include "model/webhook_signature.h"
#include "platform/platform.h"

#include <string.h>

enum { ID_MAX = 256, NAME_MAX_SIZE = 1024, URL_MAX = 4096, DIGITS_MIN = 5, DIGITS_MAX = 15, EMAIL_MAX = 254 };

// Where reading stands: the first trouble is kept, and ends it.
struct reading {
    struct arena *arena;
    struct str why;
};

static void refuse(struct reading *reading, const char *field, const char *what)
{
    if (!reading->why.p)
        reading->why = arena_printf(reading->arena, "%s %s", field, what);
}

// The values of an object under the keys we read; a key that stands twice could mean either, so it means
// none.
struct field {
    const char *key;
    yyjson_val *value;
};

static void read_fields(struct reading *reading, yyjson_val *object, struct field *fields, size_t count)
{
    size_t i, n;
    yyjson_val *key, *value;
    yyjson_obj_foreach(object, i, n, key, value)
    {
        for (size_t f = 0; f < count; f++) {
            if (!str_eq_c(json_val_str(key), fields[f].key))
                continue;
            if (fields[f].value)
                refuse(reading, fields[f].key, "stands twice in one object");
            fields[f].value = value;
        }
    }
}

static bool has_control(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] < 0x20 || text.p[i] == 0x7F)
            return true;
    return false;
}

// A text of at most `max` bytes that may be absent or null.
static struct str read_text(struct reading *reading, const struct field *field, size_t max)
{
    if (!field->value || yyjson_is_null(field->value))
        return STR_NONE;
    struct str text = json_val_str(field->value);
    if (!text.p)
        refuse(reading, field->key, "must be a text");
    else if (text.n > max)
        refuse(reading, field->key, "is too long");
    else if (str_index(text, 0, 0) < text.n)
        refuse(reading, field->key, "must not hold a NUL character");
    return arena_str(reading->arena, text);
}

static struct str read_id(struct reading *reading, const struct field *field)
{
    struct str text = read_text(reading, field, SIZE_MAX);
    if (!text.n)
        refuse(reading, field->key, "must be a text of 1 to 256 bytes");
    else if (text.n > ID_MAX)
        refuse(reading, field->key, "must not be longer than 256 bytes");
    else if (has_control(text))
        refuse(reading, field->key, "must not hold control characters");
    return text;
}

// A text of a line that may be absent, null or empty.
static struct str read_word(struct reading *reading, const struct field *field)
{
    struct str text = read_text(reading, field, ID_MAX);
    if (has_control(text))
        refuse(reading, field->key, "must not hold control characters");
    return text;
}

// E.164: by it a person is found again, so each has but one way to be written.
static struct str read_phone(struct reading *reading, const struct field *field)
{
    struct str text = read_text(reading, field, ID_MAX);
    bool good = text.n > DIGITS_MIN && text.n <= DIGITS_MAX + 1 && text.p[0] == '+';
    for (size_t i = 1; i < text.n && good; i++)
        good = text.p[i] >= '0' && text.p[i] <= '9';
    if (text.p && !good)
        refuse(reading, field->key, "must be + and 5 to 15 digits, like +15550001111");
    return text;
}

static struct str read_email(struct reading *reading, const struct field *field)
{
    struct str text = read_text(reading, field, EMAIL_MAX);
    size_t at = str_index(text, '@', 0);
    bool good = at > 0 && at + 1 < text.n && str_index(text, '@', at + 1) == text.n;
    if (text.p && (!good || has_control(text) || str_index(text, ' ', 0) < text.n))
        refuse(reading, field->key, "must be an address with one @ and no blanks, like ann@example.com");
    return text;
}

// Who says no more than a name may be one of several in the conversation: then the desk keeps the first one's.
static void read_profile(struct reading *reading, const struct field fields[4], struct event *event)
{
    struct profile *profile = &event->profile;
    profile->username = read_word(reading, &fields[0]);
    profile->language = read_word(reading, &fields[1]);
    profile->phone = read_phone(reading, &fields[2]);
    profile->email = read_email(reading, &fields[3]);
    if (event->sender_name.n && (profile->username.n || profile->language.n || profile->phone.n || profile->email.n))
        profile->name = event->sender_name;
}

static void read_sender(struct reading *reading, yyjson_val *sender, struct event *event)
{
    enum { ID, NAME, USERNAME, LANGUAGE, PHONE, EMAIL, COUNT };
    static const char *const keys[COUNT] = {"sender.id",       "sender.name",  "sender.username",
                                            "sender.language", "sender.phone", "sender.email"};
    struct field fields[COUNT];
    if (!yyjson_is_obj(sender)) {
        refuse(reading, "sender", "must be an object with \"id\" and \"name\"");
        return;
    }
    for (size_t i = 0; i < COUNT; i++)
        fields[i] = (struct field){keys[i] + strlen("sender."), NULL};
    read_fields(reading, sender, fields, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        fields[i].key = keys[i];
    event->sender_id = read_id(reading, &fields[ID]);
    event->sender_name = read_text(reading, &fields[NAME], NAME_MAX_SIZE);
    read_profile(reading, &fields[USERNAME], event);
}

static void read_attachment(struct reading *reading, yyjson_val *object, struct attachment *out)
{
    struct field fields[] = {{"kind", NULL}, {"url", NULL}, {"name", NULL}, {"mime", NULL}, {"size", NULL}};
    if (!yyjson_is_obj(object)) {
        refuse(reading, "attachments", "must be a list of objects");
        return;
    }
    read_fields(reading, object, fields, 5);
    struct str kind = read_text(reading, &fields[0], ID_MAX);
    out->kind = kind.n ? kind : STR("file");
    out->url = read_text(reading, &fields[1], URL_MAX);
    if (!str_starts(out->url, STR("https://")) && !str_starts(out->url, STR("http://")))
        refuse(reading, "attachments.url", "must begin with https:// or http://");
    out->name = read_text(reading, &fields[2], NAME_MAX_SIZE);
    out->mime = read_text(reading, &fields[3], ID_MAX);
    yyjson_val *size = fields[4].value;
    out->size = -1;
    if (size && !yyjson_is_null(size)) {
        if (!yyjson_is_uint(size) || yyjson_get_uint(size) > INT64_MAX)
            refuse(reading, "attachments.size", "must be a number of bytes");
        else
            out->size = (int64_t)yyjson_get_uint(size);
    }
}

// As many as are fetched of one message are; of the others the address is all there is.
static struct str read_attachments(struct reading *reading, yyjson_val *list)
{
    struct attachment *files;
    size_t i, n, count = yyjson_arr_size(list);
    yyjson_val *each;
    if (!list || yyjson_is_null(list))
        return STR_NONE;
    if (!yyjson_is_arr(list)) {
        refuse(reading, "attachments", "must be a list");
        return STR_NONE;
    }
    if (count > ATTACHMENTS_MAX) {
        refuse(reading, "attachments", "must not be more than 100");
        return STR_NONE;
    }
    files = arena_alloc(reading->arena, (count + 1) * sizeof *files);
    yyjson_arr_foreach(list, i, n, each)
    {
        read_attachment(reading, each, &files[i]);
        files[i].state = i < FILES_MAX ? FILE_WANTED : FILE_ELSEWHERE;
    }
    return attachments_write(files, count, reading->arena);
}

static void read_sent_at(struct reading *reading, const struct field *field, struct event *event)
{
    struct str text = read_text(reading, field, ID_MAX);
    if (text.p && !time_parse(text, &event->sent_at_us))
        refuse(reading, field->key, "must be a time of RFC 3339, like 2026-11-22T13:00:35Z");
}

static void read_event(struct reading *reading, yyjson_val *root, struct event *event)
{
    enum { ID, CONVERSATION, SENDER, TEXT, SENT_AT, ATTACHMENTS, COUNT };
    struct field fields[COUNT] = {
        [ID] = {"id", NULL},     [CONVERSATION] = {"conversation", NULL}, [SENDER] = {"sender", NULL},
        [TEXT] = {"text", NULL}, [SENT_AT] = {"sent_at", NULL},           [ATTACHMENTS] = {"attachments", NULL},
    };
    if (!yyjson_is_obj(root)) {
        refuse(reading, "the body", "must be one JSON object");
        return;
    }
    read_fields(reading, root, fields, COUNT);
    event->dedupe_key = read_id(reading, &fields[ID]);
    event->conversation = read_id(reading, &fields[CONVERSATION]);
    read_sender(reading, fields[SENDER].value, event);
    event->text = read_text(reading, &fields[TEXT], SIZE_MAX);
    read_sent_at(reading, &fields[SENT_AT], event);
    event->attachments = read_attachments(reading, fields[ATTACHMENTS].value);
    if (!event->text.p && !event->attachments.p)
        refuse(reading, "text", "must be a text (an empty one will do)");
    if (!event->text.p)
        event->text = STR("");
}

static void parse(struct str body, int64_t now_us, struct arena *arena, struct receipt *out)
{
    struct reading reading = {.arena = arena};
    struct event *event = arena_of(arena, struct event);
    event->sent_at_us = now_us;
    yyjson_read_err err;
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)body.p, body.n, YYJSON_READ_NOFLAG, NULL, &err);
    bool no_memory = !doc && err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION;
    if (doc)
        read_event(&reading, yyjson_doc_get_root(doc), event);
    else
        reading.why = arena_printf(arena, "the body is not JSON: %s at byte %zu", err.msg, err.pos);
    yyjson_doc_free(doc);
    if (reading.why.p) {
        *out = (struct receipt){.kind = no_memory ? RECEIPT_NO_MEMORY : RECEIPT_MALFORMED, .why = reading.why};
        return;
    }
    *out = (struct receipt){.kind = RECEIPT_OK, .events = event, .event_count = 1};
}

static bool one_header(const struct http_request *request, const char *name, struct str *out)
{
    *out = http_header_get(request->headers, request->header_count, name);
    return http_header_count(request->headers, request->header_count, name) == 1;
}

static struct receipt forged(const char *why)
{
    return (struct receipt){.kind = RECEIPT_FORGED, .why = str_of(why)};
}

// RECEIPT_OK when the request comes from whom it says.
static struct receipt judge(const struct source *source, const struct http_request *request, int64_t now_us)
{
    struct str id, timestamp, signature, secret = source_secret(source);
    struct receipt receipt = {.kind = RECEIPT_OK};
    if (str_eq_c(source->secret, "none"))
        return receipt;
    if (!secret.p)
        return forged("this source has no secret, so nothing can be checked");
    if (!one_header(request, "webhook-id", &id) || !one_header(request, "webhook-timestamp", &timestamp) ||
        !one_header(request, "webhook-signature", &signature))
        return forged("webhook-id, webhook-timestamp and webhook-signature must each stand there once");
    switch (webhook_judge(secret, id, timestamp, signature, request->body, now_us / 1000000, &receipt.ahead_s)) {
    case WEBHOOK_FORGED:
        return forged("the signature is wrong");
    case WEBHOOK_UNTIMELY:
        receipt.kind = RECEIPT_UNTIMELY;
        receipt.why = STR("the timestamp is more than five minutes off; whose clock is wrong?");
        break;
    case WEBHOOK_VERIFIED:
        break;
    }
    return receipt;
}

static bool is_plain_json(const struct http_request *request)
{
    struct str type = http_header_get(request->headers, request->header_count, "content-type");
    struct str coding = http_header_get(request->headers, request->header_count, "content-encoding");
    return str_ieq_c(http_media_type(type), "application/json") && (!coding.n || str_ieq_c(coding, "identity"));
}

static void webhook_receive(const struct source *source, const struct http_request *request, int64_t now_us,
                            struct arena *arena, struct receipt *out)
{
    *out = judge(source, request, now_us);
    if (out->kind != RECEIPT_OK)
        return;
    if (!is_plain_json(request))
        *out = (struct receipt){.kind = RECEIPT_BAD_TYPE, .why = STR("the content type must be application/json")};
    else if (!request->body.n)
        *out = (struct receipt){.kind = RECEIPT_MALFORMED, .why = STR("the body is empty; it must be a JSON object")};
    else
        parse(request->body, now_us, arena, out);
}

static const char *webhook_check(const struct source *source, struct arena *arena)
{
    if (str_eq_c(source->secret, "none"))
        return NULL;
    if (!source->secret.p)
        return "a webhook source needs a secret (whsec_...), or \"secret: none\" to take messages from anyone";
    const char *trouble = webhook_secret_trouble(source->secret);
    return trouble ? arena_printf(arena, "secret: %s", trouble).p : NULL;
}

static struct str webhook_identity(const struct source *source, struct arena *arena)
{
    (void)source;
    (void)arena;
    return STR_NONE;
}

// Whoever sends here is not known before it does.
static bool webhook_ask(const struct source *source, struct str public_url, struct inquiry *inquiry,
                        const struct http_response *last, struct http_request *out_request)
{
    (void)last, (void)out_request;
    struct str url = source_hook_url(source, public_url, inquiry->arena);
    bool is_signed = !str_eq_c(source->secret, "none");
    inquiry_text(inquiry, "url", url);
    inquiry_bool(inquiry, "signed", is_signed);
    inquiry_end(inquiry, true,
                "Nothing can be asked of a signed webhook: whoever sends posts to %.*s%s, %s the source's secret.",
                STR_ARG(url), public_url.n ? "" : " of this relay", is_signed ? "signed with" : "without needing");
    return false;
}

const struct platform platform_webhook = {
    .name = "webhook",
    .check = webhook_check,
    .identity = webhook_identity,
    .receive = webhook_receive,
    .ask = webhook_ask,
};
