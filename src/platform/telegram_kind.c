// The kinds of Telegram's updates: which we ask for, and what they say.
//
// Not asked for: what only a program can answer in time (inline queries, shipping, checkout), what says the same as
// a service message of the group does (chat_member), what is counted and not said (polls, reactions in channels,
// boosts), and what concerns the bot's owner (business_connection, managed_bot). Another program may have asked for
// them before; they are then stored as discarded.
#include "platform/telegram.h"

#include <inttypes.h>

static void say_message(struct str kind, yyjson_val *message, struct arena *arena, struct telegram_words *out)
{
    telegram_message_words(message, str_starts(kind, STR("edited_")), arena, out);
}

// Business -------------------------------------------------------------------------------------------------

// The chat of a business account and its customer: what the account's side says is there too.
static void say_business(struct str kind, yyjson_val *message, struct arena *arena, struct telegram_words *out)
{
    int64_t chat = 0, from = 0;
    yyjson_val *sender = yyjson_obj_get(message, "from");
    say_message(kind, message, arena, out);
    if (yyjson_obj_get(message, "sender_business_bot")) // our own words, or another bot's
        out->discard = REASON_NO_MEANING;
    if (!json_get_int(yyjson_obj_get(message, "chat"), "id", &chat) || !json_get_int(sender, "id", &from) ||
        chat == from)
        return;
    struct str name = telegram_name(sender, arena);
    out->whole = false;
    struct str before = ARENA_JOIN(arena, STR("("), name.n ? name : STR("the business"), STR(" answered) "));
    out->text = telegram_behind(before, out->text, arena);
}

static void say_deleted(struct str kind, yyjson_val *value, struct arena *arena, struct telegram_words *out)
{
    size_t count = yyjson_arr_size(yyjson_obj_get(value, "message_ids"));
    (void)kind;
    out->text = count == 1 ? STR("(deleted a message)") : arena_printf(arena, "(deleted %zu messages)", count);
}

// Buttons, reactions, polls ----------------------------------------------------------------------------------

static struct str label_in(yyjson_val *row, struct str data, struct arena *arena)
{
    size_t i, n;
    yyjson_val *button;
    yyjson_arr_foreach(row, i, n, button)
    {
        if (str_eq(json_get_str(button, "callback_data"), data))
            return telegram_get_text(button, "text", arena);
    }
    return STR_NONE;
}

// What stands on the button that sends this data.
static struct str label_of(yyjson_val *message, struct str data, struct arena *arena)
{
    yyjson_val *rows = yyjson_obj_get(yyjson_obj_get(message, "reply_markup"), "inline_keyboard"), *row;
    struct str label = STR_NONE;
    size_t i, n;
    yyjson_arr_foreach(rows, i, n, row)
    {
        if (!label.n)
            label = label_in(row, data, arena);
    }
    return label;
}

static void say_press(struct str kind, yyjson_val *press, struct arena *arena, struct telegram_words *out)
{
    struct str data = telegram_get_text(press, "data", arena);
    struct str label = data.n ? label_of(yyjson_obj_get(press, "message"), json_get_str(press, "data"), arena)
                              : STR_NONE;
    (void)kind;
    if (!data.n)
        data = telegram_get_text(press, "game_short_name", arena);
    if (label.n && !str_eq(label, data))
        out->text = arena_printf(arena, "(pressed a button: %.*s [%.*s])", STR_ARG(label), STR_ARG(data));
    else if (data.n)
        out->text = arena_printf(arena, "(pressed a button: %.*s)", STR_ARG(data));
    else
        out->text = STR("(pressed a button)");
}

static struct str reactions_of(yyjson_val *list, struct arena *arena)
{
    struct str all = STR("");
    size_t i, n;
    yyjson_val *each;
    yyjson_arr_foreach(list, i, n, each)
    {
        struct str emoji = telegram_get_text(each, "emoji", arena);
        if (!emoji.n)
            emoji = str_eq_c(json_get_str(each, "type"), "paid") ? STR("⭐") : STR("own emoji");
        if (i < 20)
            all = arena_printf(arena, "%.*s%s%.*s", STR_ARG(all), all.n ? " " : "", STR_ARG(emoji));
    }
    return all;
}

static void say_reaction(struct str kind, yyjson_val *change, struct arena *arena, struct telegram_words *out)
{
    struct str now = reactions_of(yyjson_obj_get(change, "new_reaction"), arena);
    struct str before = reactions_of(yyjson_obj_get(change, "old_reaction"), arena);
    (void)kind;
    if (now.n)
        out->text = arena_printf(arena, "(reacted to a message: %.*s)", STR_ARG(now));
    else
        out->text = arena_printf(arena, "(took back a reaction%s%.*s)", before.n ? ": " : "", STR_ARG(before));
}

static void say_vote(struct str kind, yyjson_val *vote, struct arena *arena, struct telegram_words *out)
{
    struct str all = STR("");
    size_t i, n;
    yyjson_val *each;
    (void)kind;
    yyjson_arr_foreach(yyjson_obj_get(vote, "option_ids"), i, n, each)
    {
        if (yyjson_is_uint(each) && yyjson_get_uint(each) < 1000 && i < 100) // counted from 0
            all = arena_printf(arena, "%.*s%s%" PRIu64, STR_ARG(all), all.n ? ", " : "", yyjson_get_uint(each) + 1);
    }
    out->text = all.n ? arena_printf(arena, "(voted in a poll: option %.*s)", STR_ARG(all))
                      : STR("(took back a vote in a poll)");
}

// Members ----------------------------------------------------------------------------------------------------

static struct str status_in(yyjson_val *change, const char *key)
{
    yyjson_val *member = yyjson_obj_get(change, key);
    struct str status = json_get_str(member, "status");
    if (str_eq_c(status, "restricted"))
        return yyjson_get_bool(yyjson_obj_get(member, "is_member")) ? STR("member") : STR("left");
    return status;
}

static bool is_in_chat(struct str status)
{
    return str_eq_c(status, "member") || str_eq_c(status, "administrator") || str_eq_c(status, "creator");
}

// The bot's own membership: in a private chat the customer blocks it or lets it in again.
static void say_own_member(struct str kind, yyjson_val *change, struct arena *arena, struct telegram_words *out)
{
    struct str before = status_in(change, "old_chat_member"), now = status_in(change, "new_chat_member");
    bool private = str_eq_c(json_get_str(yyjson_obj_get(change, "chat"), "type"), "private");
    (void)kind;
    (void)arena;
    if (private && str_eq_c(now, "kicked"))
        out->text = STR("(blocked the bot)");
    else if (private && is_in_chat(now))
        out->text = STR("(unblocked the bot)");
    else if (is_in_chat(before) != is_in_chat(now))
        out->text = is_in_chat(now) ? STR("(added the bot)") : STR("(removed the bot)");
    else if (str_eq_c(now, "administrator") && !str_eq(before, now))
        out->text = STR("(made the bot an administrator)");
    else if (str_eq_c(before, "administrator") && !str_eq(before, now))
        out->text = STR("(the bot is no longer an administrator)");
    else {
        out->text = STR("(changed the bot's rights)");
        out->discard = REASON_NO_MEANING;
    }
}

// Who came and who went is told by the group's own messages too; the rest is only told here.
static void say_member(struct str kind, yyjson_val *change, struct arena *arena, struct telegram_words *out)
{
    struct str before = status_in(change, "old_chat_member"), now = status_in(change, "new_chat_member");
    struct str name = telegram_name(yyjson_obj_get(yyjson_obj_get(change, "new_chat_member"), "user"), arena);
    (void)kind;
    if (!name.n)
        name = STR("somebody");
    if (str_eq_c(now, "kicked") && !str_eq(before, now)) {
        out->text = arena_printf(arena, "(banned: %.*s)", STR_ARG(name));
    } else if (str_eq_c(now, "administrator") && !str_eq(before, now)) {
        out->text = arena_printf(arena, "(now an administrator: %.*s)", STR_ARG(name));
    } else {
        bool same = is_in_chat(before) == is_in_chat(now);
        const char *word = same ? "changed" : is_in_chat(now) ? "joined" : "left";
        out->text = arena_printf(arena, "(%s: %.*s)", word, STR_ARG(name));
        out->discard = REASON_NO_MEANING;
    }
}

static void say_join_request(struct str kind, yyjson_val *request, struct arena *arena, struct telegram_words *out)
{
    struct str bio = telegram_get_text(request, "bio", arena);
    (void)kind;
    out->text = bio.n ? arena_printf(arena, "(asks to join: %.*s)", STR_ARG(bio)) : STR("(asks to join)");
}

static void say_purchase(struct str kind, yyjson_val *purchase, struct arena *arena, struct telegram_words *out)
{
    struct str what = telegram_get_text(purchase, "paid_media_payload", arena);
    (void)kind;
    out->text = what.n ? arena_printf(arena, "(bought paid media: %.*s)", STR_ARG(what)) : STR("(bought paid media)");
}

static void say_nothing(struct str kind, yyjson_val *value, struct arena *arena, struct telegram_words *out)
{
    struct str query = telegram_get_text(value, "query", arena);
    out->discard = REASON_NO_MEANING;
    if (query.n)
        out->text = arena_printf(arena, "(Telegram: %.*s: %.*s)", STR_ARG(kind), STR_ARG(query));
    else
        out->text = arena_printf(arena, "(Telegram: %.*s)", STR_ARG(kind));
}

// The table --------------------------------------------------------------------------------------------------

static const struct kind {
    const char *name;
    enum telegram_use use;
    bool asked;
    void (*say)(struct str kind, yyjson_val *value, struct arena *arena, struct telegram_words *out);
} kinds[] = {
    {"update_id", TELEGRAM_ENVELOPE, false, NULL},
    {"message", TELEGRAM_SAYS, true, say_message},
    {"edited_message", TELEGRAM_SAYS, true, say_message},
    {"channel_post", TELEGRAM_SAYS, true, say_message},
    {"edited_channel_post", TELEGRAM_SAYS, true, say_message},
    {"business_message", TELEGRAM_SAYS, true, say_business},
    {"edited_business_message", TELEGRAM_SAYS, true, say_business},
    {"deleted_business_messages", TELEGRAM_SAYS, true, say_deleted},
    {"callback_query", TELEGRAM_SAYS, true, say_press},
    {"message_reaction", TELEGRAM_SAYS, true, say_reaction},
    {"poll_answer", TELEGRAM_SAYS, true, say_vote},
    {"my_chat_member", TELEGRAM_SAYS, true, say_own_member},
    {"chat_join_request", TELEGRAM_SAYS, true, say_join_request},
    {"purchased_paid_media", TELEGRAM_SAYS, true, say_purchase},
    {"guest_message", TELEGRAM_SAYS, false, say_message},
    {"chat_member", TELEGRAM_SAYS, false, say_member},
    {"business_connection", TELEGRAM_NO_MEANING, false, say_nothing},
    {"message_reaction_count", TELEGRAM_NO_MEANING, false, say_nothing},
    {"inline_query", TELEGRAM_NO_MEANING, false, say_nothing},
    {"chosen_inline_result", TELEGRAM_NO_MEANING, false, say_nothing},
    {"shipping_query", TELEGRAM_NO_MEANING, false, say_nothing},
    {"pre_checkout_query", TELEGRAM_NO_MEANING, false, say_nothing},
    {"poll", TELEGRAM_NO_MEANING, false, say_nothing},
    {"chat_boost", TELEGRAM_NO_MEANING, false, say_nothing},
    {"removed_chat_boost", TELEGRAM_NO_MEANING, false, say_nothing},
    {"managed_bot", TELEGRAM_NO_MEANING, false, say_nothing},
};

// Written out, so that setWebhook replaces whatever list was set before.
const char telegram_allowed_updates[] =
    "[\"message\",\"edited_message\",\"channel_post\",\"edited_channel_post\",\"business_message\","
    "\"edited_business_message\",\"deleted_business_messages\",\"callback_query\",\"message_reaction\",\"poll_answer\","
    "\"my_chat_member\",\"chat_join_request\",\"purchased_paid_media\"]";

static const struct kind *find_kind(struct str name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (str_eq_c(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}

enum telegram_use telegram_kind_use(struct str kind, bool *out_asked)
{
    const struct kind *found = find_kind(kind);
    if (out_asked)
        *out_asked = found && found->asked;
    return found ? found->use : TELEGRAM_UNKNOWN;
}

bool telegram_kind_is_message(struct str kind)
{
    const struct kind *found = find_kind(kind);
    return found && (found->say == say_message || found->say == say_business);
}

void telegram_kind_words(struct str kind, yyjson_val *value, struct arena *arena, struct telegram_words *out)
{
    const struct kind *found = find_kind(kind);
    *out = (struct telegram_words){0};
    if (found && found->say) {
        found->say(kind, value, arena, out);
        return;
    }
    out->discard = REASON_UNKNOWN_KIND;
    out->text = kind.n ? arena_printf(arena, "(Telegram: %.*s)", STR_ARG(kind)) : STR("(Telegram: an empty update)");
}
