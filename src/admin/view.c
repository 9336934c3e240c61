#include "admin/view.h"

#include "model/media_link.h"
#include "platform/platform.h"

#include <stdlib.h>
#include <string.h>

enum { HEALTH_TEXT = 512 };

static void on_counts(void *arg, const struct account_counts *counts)
{
    struct view_pending *pending = arg;
    if (pending->count == pending->room) {
        size_t room = pending->room ? 2 * pending->room : 64;
        struct account_counts *grown = arena_alloc(pending->arena, room * sizeof *grown);
        if (pending->count)
            memcpy(grown, pending->counts, pending->count * sizeof *grown);
        pending->counts = grown;
        pending->room = room;
    }
    pending->counts[pending->count++] = *counts;
}

static int by_account(const void *a, const void *b)
{
    const struct account_counts *one = a, *other = b;
    return (one->account_id > other->account_id) - (one->account_id < other->account_id);
}

int view_pending_read(struct api_call *call, struct view_pending *out)
{
    struct store_reader *reader = admin_of(call)->reader;
    *out = (struct view_pending){.arena = call->arena};
    int err = reader->ops->account_counts(reader, on_counts, out);
    if (out->count)
        qsort(out->counts, out->count, sizeof *out->counts, by_account);
    return err;
}

const struct account_counts *view_counts_of(const struct view_pending *pending, int64_t account_id)
{
    static const struct account_counts none;
    struct account_counts wanted = {.account_id = account_id};
    if (!pending->count)
        return &none;
    const struct account_counts *found = bsearch(&wanted, pending->counts, pending->count, sizeof *pending->counts,
                                                 by_account);
    return found ? found : &none;
}

int view_busy_percent(struct api_call *call, const struct account *account)
{
    const struct admin_options *options = admin_of(call);
    if (account->order != ORDER_ACCOUNT)
        return 0;
    return busy_percent(board_busy(options->board), account->id, clock_mono_us(options->clock));
}

static void key_secret(struct json *json, const char *key, struct str secret)
{
    json_key_str(json, key, secret.p ? STR("set") : STR_NONE);
}

// A query may hold a key.
static void key_url(struct json *json, const char *key, struct str url, struct arena *arena)
{
    size_t query = str_index(url, '?', 0);
    json_key_str(json, key, query < url.n ? arena_printf(arena, "%.*s?...", (int)query, url.p) : url);
}

void view_health(struct json *json, struct api_call *call, uint64_t identity)
{
    char text[HEALTH_TEXT];
    struct board_desk health;
    board_desk_get(admin_of(call)->board, identity, &health, text, sizeof text);
    json_key_str(json, "state", health.suspended ? STR("suspended") : STR("ok"));
    json_key_str(json, "reason", health.suspended ? health.reason : STR_NONE);
    json_key_time(json, "until", health.suspended ? health.until_us : 0);
}

void view_desk_health(struct json *json, struct api_call *call, const struct desk *desk)
{
    view_health(json, call, desk_identity(desk));
}

bool view_takes_replies(const struct source *source)
{
    const struct platform *platform = platform_find(source->platform);
    return platform && platform->receiver;
}

static void view_bot(struct json *json, struct api_call *call, const struct source *source)
{
    json_key(json, "bot");
    if (!view_takes_replies(source)) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    view_health(json, call, source_identity(source));
    json_close(json, '}');
}

void view_source_health(struct json *json, struct api_call *call, const struct source *source)
{
    char text[HEALTH_TEXT];
    struct board_source health;
    board_source_get(admin_of(call)->board, source->id, &health, text, sizeof text);
    json_key_str(json, "state", str_of(source_health_name(health.health)));
    json_key_str(json, "text", health.text.n ? health.text : STR_NONE);
    json_key_time(json, "since", health.since_us);
    view_bot(json, call, source);
}

void view_source(struct json *json, struct api_call *call, const struct source *source)
{
    struct str secret = str_eq_c(source->secret, "none") ? STR("none") : source->secret.p ? STR("set") : STR_NONE;
    if (!secret.p && source->made_secret.p)
        secret = STR("made");
    json_open(json, '{');
    json_key_str(json, "name", source->name);
    json_key_str(json, "platform", source->platform);
    json_key_str(json, "mode", str_of(source_mode_name(source->mode)));
    json_key_bool(json, "take_over", source->take_over);
    json_key_str(json, "api_url", source->api_url);
    key_secret(json, "token", source->token);
    json_key_str(json, "secret", secret);
    json_key_str(json, "registered_url", source->registered_url);
    view_source_health(json, call, source);
    json_close(json, '}');
}

void view_desk(struct json *json, struct api_call *call, const struct desk *desk)
{
    json_open(json, '{');
    json_key_str(json, "platform", desk->platform);
    json_key_str(json, "api_url", desk->api_url);
    key_url(json, "url", desk->url, call->arena);
    key_secret(json, "token", desk->token);
    key_secret(json, "client_secret", desk->client_secret);
    key_secret(json, "secret", desk->secret);
    json_key(json, "rate_per_min");
    if (desk->rate_per_min)
        json_int(json, desk->rate_per_min);
    else
        json_null(json);
    view_desk_health(json, call, desk);
    json_close(json, '}');
}

void view_account(struct json *json, struct api_call *call, const struct account *account,
                  const struct account_counts *counts)
{
    json_open(json, '{');
    json_key_str(json, "name", account->name);
    json_key_bool(json, "active", account->active);
    json_key_str(json, "order", str_of(order_rule_name(account->order)));
    json_key_bool(json, "order_changing", account->order_barrier != 0);
    json_key_str(json, "on_failure", str_of(failure_policy_name(account->on_failure)));
    json_key_str(json, "in_doubt", str_of(doubt_policy_name(account->in_doubt)));
    json_key_str(json, "replies", str_of(replies_policy_name(account->replies)));
    json_key_str(json, "identity", str_of(identity_policy_name(account->identity)));
    json_key_int(json, "pending", counts->pending);
    json_key_int(json, "file_bytes", counts->file_bytes);
    json_key_str(json, "defined_at", account->defined_at);
    json_key_bool(json, "left_file", account->left_file);
    json_key(json, "sources");
    json_open(json, '[');
    for (size_t i = 0; i < account->source_count; i++)
        view_source(json, call, &account->sources[i]);
    json_close(json, ']');
    json_key(json, "desk");
    view_desk(json, call, &account->desk);
    json_close(json, '}');
}

static void view_attachment(struct json *json, struct api_call *call, const struct attachment *file)
{
    const struct media_links *links = admin_of(call)->links;
    bool linked = links && file->state == FILE_KEPT;
    json_open(json, '{');
    json_key_str(json, "kind", file->kind);
    json_key_str(json, "name", file->name);
    json_key_str(json, "mime", file->mime);
    json_key(json, "size");
    if (file->size >= 0)
        json_int(json, file->size);
    else
        json_null(json);
    json_key_str(json, "state", str_of(file_state_name(file->state)));
    json_key_str(json, "why", file->why);
    json_key_str(json, "url",
                 linked ? media_link(links, file, clock_wall_us(admin_of(call)->clock), call->arena) : file->url);
    json_close(json, '}');
}

static void view_attachments(struct json *json, struct api_call *call, struct str attachments)
{
    struct attachment *files;
    size_t count = attachments_read(attachments, call->arena, &files);
    json_key(json, "attachments");
    json_open(json, '[');
    for (size_t i = 0; i < count; i++)
        view_attachment(json, call, &files[i]);
    json_close(json, ']');
}

static void view_origin(struct json *json, struct api_call *call, const struct message *message)
{
    const struct account *account = directory_find_id(admin_of(call)->directory, message->account_id);
    const struct source *source = account ? account_find_any_source_id(account, message->source_id) : NULL;
    json_key_str(json, "account", account ? account->name : STR_NONE);
    json_key_str(json, "source", source ? source->name : STR_NONE);
    json_key_str(json, "platform", source ? source->platform : STR_NONE);
    account_unref(account);
}

void view_message(struct json *json, struct api_call *call, const struct message *message)
{
    const char *reason = reason_name(message->reason);
    bool waits = message->state == MESSAGE_PENDING && message->next_attempt_us < INT64_MAX;
    json_open(json, '{');
    json_key_id(json, "id", message->id);
    view_origin(json, call, message);
    json_key_str(json, "direction", str_of(direction_name(message->direction)));
    json_key_str(json, "conversation", message->conversation);
    json_key_str(json, "conversation_name", message->conversation_name);
    json_key(json, "sender");
    json_open(json, '{');
    json_key_str(json, "id", message->sender_id);
    json_key_str(json, "name", message->sender_name);
    json_close(json, '}');
    json_key_str(json, "text", message->text);
    view_attachments(json, call, message->attachments);
    json_key_bool(json, "late", message->late);
    json_key_time(json, "sent_at", message->sent_at_us);
    json_key_time(json, "received_at", message->received_at_us);
    json_key_str(json, "state", str_of(message_state_name(message->state)));
    json_key_str(json, "reason", *reason ? str_of(reason) : STR_NONE);
    json_key_bool(json, "in_doubt", message->in_doubt);
    json_key_int(json, "attempts", message->attempts);
    json_key_time(json, "next_attempt_at", waits ? message->next_attempt_us : 0);
    json_key_str(json, "last_error", message->last_error);
    json_key_time(json, "settled_at", message->settled_at_us);
    json_key_time(json, "delivered_at", message->state == MESSAGE_DELIVERED ? message->settled_at_us : 0);
    json_key_str(json, "desk_ref", message->desk_ref);
}
