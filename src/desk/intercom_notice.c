// Intercom's webhooks (shared page desks/intercom.md, section 5). Each is a wake-up and no more: notifications get lost,
// come twice and in any order, so what was said is read from the conversation itself.
#include "base/must.h"
#include "desk/intercom.h"

#include <openssl/hmac.h>

enum { MAC_SIZE = 20, SIGNATURE_SIZE = 5 + 2 * MAC_SIZE, BATCH_MAX = 1000 };

// "sha1=" and HMAC-SHA1 of the raw body in hex.
static struct str signature_of(struct str secret, struct str body, char out[SIGNATURE_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char mac[MAC_SIZE];
    unsigned size = 0;
    must(HMAC(EVP_sha1(), secret.p, (int)secret.n, (const unsigned char *)str_chars(body), body.n, mac, &size));
    must(size == MAC_SIZE); // only memory, or an OpenSSL without SHA-1, can fail here
    memcpy(out, "sha1=", 5);
    for (size_t i = 0; i < MAC_SIZE; i++) {
        out[5 + 2 * i] = digits[mac[i] >> 4];
        out[6 + 2 * i] = digits[mac[i] & 15];
    }
    return (struct str){out, SIGNATURE_SIZE};
}

// NULL when Intercom signed it, else why not.
static const char *forged(const struct desk *desk, const struct http_request *request)
{
    char right[SIGNATURE_SIZE];
    size_t count = http_header_count(request->headers, request->header_count, "X-Hub-Signature");
    struct str given = http_header_get(request->headers, request->header_count, "X-Hub-Signature");
    if (!desk->client_secret.n)
        return "this desk has no client_secret, which Intercom's notifications are verified with: it is needed";
    if (count != 1)
        return count ? "X-Hub-Signature more than once" : "X-Hub-Signature is missing";
    if (!str_eq_secret(signature_of(desk->client_secret, request->body, right), given))
        return "X-Hub-Signature is wrong: is client_secret the one of this app?";
    return NULL;
}

// Whether there may be something for the customer: what agents and bots do, but for their notes, and what went away. What
// customers do is known to who carried it there.
static bool is_news(struct str topic)
{
    if (str_eq_c(topic, "conversation.admin.noted"))
        return false;
    return str_starts(topic, STR("conversation.admin.")) || str_starts(topic, STR("conversation.operator.")) ||
           str_eq_c(topic, "conversation.deleted") || str_eq_c(topic, "conversation_part.redacted");
}

// An item is a conversation, with its new parts, or a part that names its conversation.
static struct str conversation_of(yyjson_val *item, struct arena *arena)
{
    struct str id = intercom_id(yyjson_obj_get(item, "conversation_id"), arena);
    if (!id.n)
        id = intercom_id(yyjson_obj_get(yyjson_obj_get(item, "conversation"), "id"), arena);
    if (!id.n && !str_eq_c(json_get_str(item, "type"), "conversation_part"))
        id = intercom_id(yyjson_obj_get(item, "id"), arena);
    return id;
}

static void add(struct str *ids, size_t *count, struct str id)
{
    for (size_t i = 0; i < *count; i++)
        if (str_eq(ids[i], id))
            return;
    ids[(*count)++] = id;
}

// NULL when it could be read, else why not.
static const char *read_event(yyjson_val *event, struct arena *arena, struct str *ids, size_t *count)
{
    struct str topic = json_get_str(event, "topic");
    if (!yyjson_is_obj(event))
        return "not a notification: no JSON object";
    if (!is_news(topic))
        return NULL;
    struct str id = conversation_of(yyjson_obj_get(yyjson_obj_get(event, "data"), "item"), arena);
    if (!id.n)
        return "a notification about a conversation does not say which";
    add(ids, count, id);
    return NULL;
}

// One event, or a list of them.
static const char *read_events(yyjson_val *root, struct arena *arena, struct desk_notice *out)
{
    size_t count = yyjson_is_arr(root) ? yyjson_arr_size(root) : 1, i, n;
    if (count > BATCH_MAX)
        return "more notifications at once than Intercom sends";
    struct str *ids = arena_alloc(arena, (count + 1) * sizeof *ids);
    const char *why = NULL;
    yyjson_val *event;
    if (!yyjson_is_arr(root))
        why = read_event(root, arena, ids, &out->conversation_count);
    yyjson_arr_foreach(root, i, n, event)
    {
        if (!why)
            why = read_event(event, arena, ids, &out->conversation_count);
    }
    out->conversations = ids;
    return why;
}

void intercom_receive(const struct desk *desk, const struct http_request *request, struct arena *arena,
                      struct desk_notice *out)
{
    *out = (struct desk_notice){.kind = NOTICE_OK};
    const char *why = forged(desk, request);
    if (why) {
        *out = (struct desk_notice){.kind = NOTICE_FORGED, .why = str_of(why)};
        return;
    }
    struct str body = request->body;
    yyjson_read_err err = {0};
    yyjson_doc *doc = body.n ? yyjson_read_opts((char *)(uintptr_t)body.p, body.n, YYJSON_READ_NOFLAG, NULL, &err)
                             : NULL;
    if (!doc && err.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION)
        *out = (struct desk_notice){.kind = NOTICE_NO_MEMORY, .why = STR("no memory to read it")};
    else if (!doc)
        why = "not JSON";
    else
        why = read_events(yyjson_doc_get_root(doc), arena, out);
    if (why)
        *out = (struct desk_notice){.kind = NOTICE_MALFORMED, .why = str_of(why)};
    yyjson_doc_free(doc);
}
