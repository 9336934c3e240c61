// What a Telegram message says, in words for an agent: a text as it stands, anything else as one readable line in
// brackets with the caption behind it, and before both what it answers or was forwarded from:
//
//   (edited) (forwarded from Bruno) (in reply to "Which order?") (place: Shop, 1 High St) here
//
// A message that is a file says its caption alone, since the file goes with it; it is in brackets where it is quoted.
//
// The table below knows every member of a message. A member that it does not know is named as it is, so that the agent
// learns that something came; the update is kept as it was.
#include "platform/telegram.h"

#include <inttypes.h>

enum { LISTED_MAX = 30, DEPTH_MAX = 64 };

struct saying;

// A member of a message. `word` is what stands in the bracket, or why the member is left out; `detail` a text within
// the value that says more.
struct member {
    const char *name;
    enum telegram_use use;
    const char *word;
    struct str (*say)(const struct saying *s);
    const char *detail;
};

// One to be put into words.
struct saying {
    const struct member *member;
    yyjson_val *value, *message;
    bool edited;
    struct arena *arena;
};

// Pieces --------------------------------------------------------------------------------------------------

static struct str get(const struct saying *s, const char *key)
{
    return telegram_get_text(s->value, key, s->arena);
}

// "(word)", "(word: a)", "(word: a, b)", "(word, b)"; absent parts are left out.
static struct str bracket(struct arena *arena, const char *word, struct str a, struct str b)
{
    if (a.n && b.n)
        return arena_printf(arena, "(%s: %.*s, %.*s)", word, STR_ARG(a), STR_ARG(b));
    if (a.n)
        return arena_printf(arena, "(%s: %.*s)", word, STR_ARG(a));
    if (b.n)
        return arena_printf(arena, "(%s, %.*s)", word, STR_ARG(b));
    return arena_printf(arena, "(%s)", word);
}

// "a, b, c" of the texts that `text_of` makes of the list's entries; the rest is counted.
static struct str listed(yyjson_val *list, struct str (*text_of)(yyjson_val *each, struct arena *arena),
                         struct arena *arena)
{
    struct str all = STR_NONE;
    size_t i, n, more = 0, count = 0;
    yyjson_val *each;
    yyjson_arr_foreach(list, i, n, each)
    {
        struct str text = count < LISTED_MAX ? text_of(each, arena) : STR_NONE;
        if (!text.n) {
            more += count == LISTED_MAX;
            continue;
        }
        all = count++ ? arena_printf(arena, "%.*s, %.*s", STR_ARG(all), STR_ARG(text)) : text;
    }
    return more ? arena_printf(arena, "%.*s and %zu more", STR_ARG(all), more) : all;
}

static struct str number_of(yyjson_val *value, struct arena *arena)
{
    return yyjson_is_sint(value) || yyjson_is_uint(value) ? arena_printf(arena, "%" PRId64, yyjson_get_sint(value))
                                                          : STR_NONE;
}

static struct str option_of(yyjson_val *option, struct arena *arena)
{
    return telegram_get_text(option, "text", arena);
}

static struct str sum_of(yyjson_val *payment, struct arena *arena)
{
    struct str currency = telegram_get_text(payment, "currency", arena);
    int64_t amount;
    if (!json_get_int(payment, "total_amount", &amount))
        return STR_NONE;
    if (str_eq_c(currency, "XTR"))
        return arena_printf(arena, "%" PRId64 " Telegram Stars", amount);
    return arena_printf(arena, "%" PRId64 " %.*s in its smallest unit", amount, STR_ARG(currency));
}

static struct str coordinates(yyjson_val *location, struct arena *arena)
{
    yyjson_val *latitude = yyjson_obj_get(location, "latitude"), *longitude = yyjson_obj_get(location, "longitude");
    if (!yyjson_is_num(latitude) || !yyjson_is_num(longitude))
        return STR_NONE;
    double north = yyjson_get_num(latitude), east = yyjson_get_num(longitude);
    if (!(north >= -90 && north <= 90 && east >= -360 && east <= 360))
        return STR_NONE;
    return arena_printf(arena, "%.6f, %.6f", north, east);
}

// All texts below a value, in the order in which they stand.
static void gather(yyjson_val *value, int depth, struct buf *out)
{
    size_t i, n;
    yyjson_val *key, *each;
    if (depth > DEPTH_MAX)
        return;
    yyjson_arr_foreach(value, i, n, each)
    {
        if (yyjson_is_str(each))
            buf_add_str(out, json_val_str(each));
        else
            gather(each, depth + 1, out);
    }
    yyjson_obj_foreach(value, i, n, key, each)
    {
        if (!yyjson_is_str(each))
            gather(each, depth + 1, out);
        else if (str_eq_c(json_val_str(key), "text"))
            buf_add_str(out, json_val_str(each));
    }
}

// Words ---------------------------------------------------------------------------------------------------

static struct str say_word(const struct saying *s);
static struct str say_named(const struct saying *s);
static struct str say_itself(const struct saying *s);

static struct str say_text(const struct saying *s)
{
    return telegram_linked_text(s->value, yyjson_obj_get(s->message, "entities"), s->arena);
}

static struct str say_rich(const struct saying *s)
{
    struct buf all;
    size_t i, n;
    yyjson_val *block;
    buf_init(&all, SIZE_MAX / 2);
    yyjson_arr_foreach(yyjson_obj_get(s->value, "blocks"), i, n, block)
    {
        size_t before = all.n;
        gather(block, 0, &all);
        if (all.n > before)
            buf_add_char(&all, '\n');
    }
    if (!all.n)
        gather(s->value, 0, &all);
    for (i = 0; i < all.n; i++)
        if (!all.p[i])
            all.p[i] = ' ';
    buf_must(&all); // a message that is cut would be stored
    struct str text = arena_str(s->arena, str_trim(buf_str(&all)));
    buf_done(&all);
    return text.n ? text : STR("(formatted message)");
}

static struct str say_file(const struct saying *s)
{
    return bracket(s->arena, s->member->word, get(s, "file_name"), telegram_duration(s->value, s->arena));
}

static struct str say_audio(const struct saying *s)
{
    struct str performer = get(s, "performer"), title = get(s, "title");
    if (performer.n && title.n)
        title = arena_printf(s->arena, "%.*s - %.*s", STR_ARG(performer), STR_ARG(title));
    else if (!title.n)
        title = performer.n ? performer : get(s, "file_name");
    return bracket(s->arena, "audio", title, telegram_duration(s->value, s->arena));
}

static struct str say_paid_media(const struct saying *s)
{
    size_t count = yyjson_arr_size(yyjson_obj_get(s->value, "paid_media"));
    return arena_printf(s->arena, "(paid media: %zu)", count);
}

static struct str say_venue(const struct saying *s)
{
    struct str title = get(s, "title"), address = get(s, "address");
    struct str where = coordinates(yyjson_obj_get(s->value, "location"), s->arena);
    if (address.n)
        title = title.n ? arena_printf(s->arena, "%.*s, %.*s", STR_ARG(title), STR_ARG(address)) : address;
    return bracket(s->arena, "place", title, where);
}

// A live one comes again, edited, wherever it moves; the last time without live_period.
static struct str say_location(const struct saying *s)
{
    const char *word = yyjson_obj_get(s->value, "live_period") ? "live location"
                       : s->edited                             ? "live location ended"
                                                               : "location";
    return bracket(s->arena, word, coordinates(s->value, s->arena), STR_NONE);
}

static struct str say_contact(const struct saying *s)
{
    return bracket(s->arena, "contact", telegram_name(s->value, s->arena), get(s, "phone_number"));
}

static struct str say_poll(const struct saying *s)
{
    struct str options = listed(yyjson_obj_get(s->value, "options"), option_of, s->arena);
    struct str question = get(s, "question");
    const char *word = yyjson_get_bool(yyjson_obj_get(s->value, "is_closed")) ? "closed poll" : "poll";
    if (options.n)
        question = arena_printf(s->arena, "%.*s - %.*s", STR_ARG(question), STR_ARG(options));
    return bracket(s->arena, word, question, STR_NONE);
}

static struct str say_checklist(const struct saying *s)
{
    struct str tasks = listed(yyjson_obj_get(s->value, "tasks"), option_of, s->arena), title = get(s, "title");
    if (tasks.n)
        title = arena_printf(s->arena, "%.*s - %.*s", STR_ARG(title), STR_ARG(tasks));
    return bracket(s->arena, "checklist", title, STR_NONE);
}

static struct str say_tasks_done(const struct saying *s)
{
    struct str done = listed(yyjson_obj_get(s->value, "marked_as_done_task_ids"), number_of, s->arena);
    struct str open = listed(yyjson_obj_get(s->value, "marked_as_not_done_task_ids"), number_of, s->arena);
    if (open.n)
        open = arena_printf(s->arena, "not done: %.*s", STR_ARG(open));
    return bracket(s->arena, "checklist, tasks done", done, open);
}

static struct str say_tasks_added(const struct saying *s)
{
    return bracket(s->arena, "checklist, tasks added", listed(yyjson_obj_get(s->value, "tasks"), option_of, s->arena),
                   STR_NONE);
}

static struct str say_dice(const struct saying *s)
{
    struct str emoji = get(s, "emoji"), value = number_of(yyjson_obj_get(s->value, "value"), s->arena);
    if (emoji.n && value.n)
        emoji = arena_printf(s->arena, "%.*s %.*s", STR_ARG(emoji), STR_ARG(value));
    return bracket(s->arena, "dice", emoji, STR_NONE);
}

static struct str say_story(const struct saying *s)
{
    return bracket(s->arena, "story", telegram_name(yyjson_obj_get(s->value, "chat"), s->arena), STR_NONE);
}

static struct str say_invoice(const struct saying *s)
{
    return bracket(s->arena, "invoice", get(s, "title"), sum_of(s->value, s->arena));
}

static struct str say_payment(const struct saying *s)
{
    return bracket(s->arena, s->member->word, sum_of(s->value, s->arena), STR_NONE);
}

static struct str say_gift(const struct saying *s)
{
    yyjson_val *gift = yyjson_obj_get(s->value, "gift");
    struct str name = telegram_get_text(gift, "base_name", s->arena);
    if (!name.n)
        name = telegram_get_text(yyjson_obj_get(gift, "sticker"), "emoji", s->arena);
    return bracket(s->arena, s->member->word, name, get(s, "text"));
}

static struct str say_web_app(const struct saying *s)
{
    struct str button = get(s, "button_text"), data = get(s, "data");
    return arena_printf(s->arena, "(sent by the app \"%.*s\") %.*s", STR_ARG(button), STR_ARG(data));
}

static struct str say_people(const struct saying *s)
{
    yyjson_val *people = yyjson_is_obj(s->value) ? yyjson_obj_get(s->value, "users") : s->value;
    return bracket(s->arena, s->member->word, listed(people, telegram_name, s->arena), STR_NONE);
}

static struct str say_person(const struct saying *s)
{
    return bracket(s->arena, s->member->word, telegram_name(s->value, s->arena), STR_NONE);
}

static struct str say_pinned(const struct saying *s)
{
    // No longer to be had; or, which Telegram never sends, one that pins: those might be nested without end.
    if (!yyjson_get_int(yyjson_obj_get(s->value, "date")) || yyjson_obj_get(s->value, "pinned_message"))
        return STR("(pinned a message)");
    struct str what = telegram_quoted(telegram_content(s->value, false, s->arena, NULL), s->arena);
    return arena_printf(s->arena, "(pinned \"%.*s\")", STR_ARG(what));
}

static struct str say_proximity(const struct saying *s)
{
    struct str traveler = telegram_name(yyjson_obj_get(s->value, "traveler"), s->arena);
    struct str watcher = telegram_name(yyjson_obj_get(s->value, "watcher"), s->arena);
    struct str distance = number_of(yyjson_obj_get(s->value, "distance"), s->arena);
    return arena_printf(s->arena, "(%.*s is within %.*s m of %.*s)", STR_ARG(traveler), STR_ARG(distance),
                        STR_ARG(watcher));
}

// The table -----------------------------------------------------------------------------------------------

// In the order in which they count: Telegram sets `document` beside `animation`, `photo` beside `live_photo`, `location`
// beside `venue`.
static const struct member members[] = {
    {"text", TELEGRAM_SAYS, "text", say_text, NULL},
    {"rich_message", TELEGRAM_SAYS, "formatted message", say_rich, NULL},
    {"animation", TELEGRAM_SHOWS, "animation", say_file, NULL},
    {"live_photo", TELEGRAM_SHOWS, "photo", say_word, NULL},
    {"photo", TELEGRAM_SHOWS, "photo", say_word, NULL},
    {"video", TELEGRAM_SHOWS, "video", say_file, NULL},
    {"video_note", TELEGRAM_SHOWS, "video message", say_file, NULL},
    {"voice", TELEGRAM_SHOWS, "voice message", say_file, NULL},
    {"audio", TELEGRAM_SHOWS, "audio", say_audio, NULL},
    {"document", TELEGRAM_SHOWS, "file", say_file, NULL},
    {"paid_media", TELEGRAM_SAYS, "paid media", say_paid_media, NULL},
    {"sticker", TELEGRAM_SHOWS, "sticker", say_named, "emoji"},
    {"venue", TELEGRAM_SAYS, "place", say_venue, NULL},
    {"location", TELEGRAM_SAYS, "location", say_location, NULL},
    {"contact", TELEGRAM_SAYS, "contact", say_contact, NULL},
    {"poll", TELEGRAM_SAYS, "poll", say_poll, NULL},
    {"checklist", TELEGRAM_SAYS, "checklist", say_checklist, NULL},
    {"dice", TELEGRAM_SAYS, "dice", say_dice, NULL},
    {"game", TELEGRAM_SAYS, "game", say_named, "title"},
    {"story", TELEGRAM_SAYS, "story", say_story, NULL},
    {"invoice", TELEGRAM_SAYS, "invoice", say_invoice, NULL},
    {"giveaway", TELEGRAM_SAYS, "giveaway", say_named, "prize_description"},
    {"giveaway_winners", TELEGRAM_SAYS, "winners of a giveaway", say_named, "prize_description"},
    {"web_app_data", TELEGRAM_SAYS, "app", say_web_app, NULL},
    {"users_shared", TELEGRAM_SAYS, "shared people", say_people, NULL},
    {"chat_shared", TELEGRAM_SAYS, "shared a chat", say_named, "title"},

    {"successful_payment", TELEGRAM_SAYS, "paid", say_payment, NULL},
    {"refunded_payment", TELEGRAM_SAYS, "payment given back", say_payment, NULL},
    {"gift", TELEGRAM_SAYS, "gift", say_gift, NULL},
    {"unique_gift", TELEGRAM_SAYS, "gift", say_gift, NULL},
    {"gift_upgrade_sent", TELEGRAM_SAYS, "upgrade of a gift", say_gift, NULL},
    {"checklist_tasks_done", TELEGRAM_SAYS, "checklist", say_tasks_done, NULL},
    {"checklist_tasks_added", TELEGRAM_SAYS, "checklist", say_tasks_added, NULL},
    {"poll_option_added", TELEGRAM_SAYS, "added an option to a poll", say_named, "option_text"},
    {"poll_option_deleted", TELEGRAM_SAYS, "deleted an option of a poll", say_named, "option_text"},
    {"new_chat_members", TELEGRAM_SAYS, "joined", say_people, NULL},
    {"left_chat_member", TELEGRAM_SAYS, "left", say_person, NULL},
    {"chat_owner_left", TELEGRAM_SAYS, "the chat's owner left", say_word, NULL},
    {"chat_owner_changed", TELEGRAM_SAYS, "the chat has another owner", say_word, NULL},
    {"new_chat_title", TELEGRAM_SAYS, "new title of the chat", say_itself, NULL},
    {"new_chat_photo", TELEGRAM_SAYS, "new photo of the chat", say_word, NULL},
    {"delete_chat_photo", TELEGRAM_SAYS, "photo of the chat removed", say_word, NULL},
    {"group_chat_created", TELEGRAM_SAYS, "created the group", say_word, NULL},
    {"supergroup_chat_created", TELEGRAM_SAYS, "created the group", say_word, NULL},
    {"channel_chat_created", TELEGRAM_SAYS, "created the channel", say_word, NULL},
    {"pinned_message", TELEGRAM_SAYS, "pinned", say_pinned, NULL},
    {"migrate_to_chat_id", TELEGRAM_SAYS, "the group became a supergroup", say_word, NULL},
    {"connected_website", TELEGRAM_SAYS, "logged in at", say_itself, NULL},
    {"write_access_allowed", TELEGRAM_SAYS, "allowed the bot to write", say_word, NULL},
    {"passport_data", TELEGRAM_SAYS, "Telegram Passport documents", say_word, NULL},
    {"proximity_alert_triggered", TELEGRAM_SAYS, "near", say_proximity, NULL},
    {"boost_added", TELEGRAM_SAYS, "boosted the chat", say_word, NULL},
    {"forum_topic_created", TELEGRAM_SAYS, "opened the topic", say_named, "name"},
    {"forum_topic_edited", TELEGRAM_SAYS, "changed the topic", say_named, "name"},
    {"forum_topic_closed", TELEGRAM_SAYS, "closed the topic", say_word, NULL},
    {"forum_topic_reopened", TELEGRAM_SAYS, "opened the topic again", say_word, NULL},
    {"suggested_post_approved", TELEGRAM_SAYS, "suggested post approved", say_word, NULL},
    {"suggested_post_approval_failed", TELEGRAM_SAYS, "suggested post could not be approved", say_word, NULL},
    {"suggested_post_declined", TELEGRAM_SAYS, "suggested post declined", say_named, "comment"},
    {"suggested_post_paid", TELEGRAM_SAYS, "suggested post paid", say_word, NULL},
    {"suggested_post_refunded", TELEGRAM_SAYS, "suggested post refunded", say_word, NULL},
    {"video_chat_scheduled", TELEGRAM_SAYS, "video chat planned", say_word, NULL},
    {"video_chat_started", TELEGRAM_SAYS, "video chat began", say_word, NULL},
    {"video_chat_ended", TELEGRAM_SAYS, "video chat ended", say_word, NULL},
    {"video_chat_participants_invited", TELEGRAM_SAYS, "invited to the video chat", say_people, NULL},

    {"migrate_from_chat_id", TELEGRAM_NO_MEANING, "the old group tells it too (migrate_to_chat_id)", NULL, NULL},
    {"message_auto_delete_timer_changed", TELEGRAM_NO_MEANING, "a setting of the chat", NULL, NULL},
    {"chat_background_set", TELEGRAM_NO_MEANING, "decoration", NULL, NULL},
    {"general_forum_topic_hidden", TELEGRAM_NO_MEANING, "a setting of the chat", NULL, NULL},
    {"general_forum_topic_unhidden", TELEGRAM_NO_MEANING, "a setting of the chat", NULL, NULL},
    {"direct_message_price_changed", TELEGRAM_NO_MEANING, "a setting of the channel", NULL, NULL},
    {"paid_message_price_changed", TELEGRAM_NO_MEANING, "a setting of the chat", NULL, NULL},
    {"giveaway_created", TELEGRAM_NO_MEANING, "the giveaway itself comes too", NULL, NULL},
    {"giveaway_completed", TELEGRAM_NO_MEANING, "names nobody", NULL, NULL},
    {"managed_bot_created", TELEGRAM_NO_MEANING, "about bots, not by a customer of this one", NULL, NULL},

    {"message_id", TELEGRAM_ENVELOPE, "tells repeated update ids apart", NULL, NULL},
    {"message_thread_id", TELEGRAM_ENVELOPE, "the conversation", NULL, NULL},
    {"is_topic_message", TELEGRAM_ENVELOPE, "the conversation", NULL, NULL},
    {"direct_messages_topic", TELEGRAM_ENVELOPE, "the conversation", NULL, NULL},
    {"business_connection_id", TELEGRAM_ENVELOPE, "the conversation", NULL, NULL},
    {"chat", TELEGRAM_ENVELOPE, "the conversation", NULL, NULL},
    {"from", TELEGRAM_ENVELOPE, "the sender", NULL, NULL},
    {"sender_chat", TELEGRAM_ENVELOPE, "the sender", NULL, NULL},
    {"sender_business_bot", TELEGRAM_ENVELOPE, "the sender", NULL, NULL},
    {"date", TELEGRAM_ENVELOPE, "the time", NULL, NULL},
    {"edit_date", TELEGRAM_ENVELOPE, "the time", NULL, NULL},
    {"entities", TELEGRAM_ENVELOPE, "addresses behind words", NULL, NULL},
    {"caption", TELEGRAM_ENVELOPE, "behind the content", NULL, NULL},
    {"caption_entities", TELEGRAM_ENVELOPE, "addresses behind words", NULL, NULL},
    {"forward_origin", TELEGRAM_ENVELOPE, "forwarded from", NULL, NULL},
    {"reply_to_message", TELEGRAM_ENVELOPE, "in reply to", NULL, NULL},
    {"external_reply", TELEGRAM_ENVELOPE, "in reply to", NULL, NULL},
    {"quote", TELEGRAM_ENVELOPE, "in reply to", NULL, NULL},
    {"reply_to_story", TELEGRAM_ENVELOPE, "in reply to", NULL, NULL},
    {"reply_markup", TELEGRAM_ENVELOPE, "the label of a pressed button", NULL, NULL},
    {"media_group_id", TELEGRAM_ENVELOPE, "which album it is a piece of", NULL, NULL},

    {"sender_boost_count", TELEGRAM_LEFT_OUT, "about the sender's standing", NULL, NULL},
    {"sender_tag", TELEGRAM_LEFT_OUT, "about the sender's standing", NULL, NULL},
    {"author_signature", TELEGRAM_LEFT_OUT, "the channel speaks", NULL, NULL},
    {"paid_star_count", TELEGRAM_LEFT_OUT, "what sending it cost", NULL, NULL},
    {"guest_query_id", TELEGRAM_LEFT_OUT, "for answering guest messages, which we do not ask for", NULL, NULL},
    {"guest_bot_caller_user", TELEGRAM_LEFT_OUT, "about what another bot says", NULL, NULL},
    {"guest_bot_caller_chat", TELEGRAM_LEFT_OUT, "about what another bot says", NULL, NULL},
    {"is_automatic_forward", TELEGRAM_LEFT_OUT, "forward_origin tells it", NULL, NULL},
    {"reply_to_checklist_task_id", TELEGRAM_LEFT_OUT, "the checklist is quoted", NULL, NULL},
    {"reply_to_poll_option_id", TELEGRAM_LEFT_OUT, "the poll is quoted", NULL, NULL},
    {"via_bot", TELEGRAM_LEFT_OUT, "how it was written", NULL, NULL},
    {"has_protected_content", TELEGRAM_LEFT_OUT, "for Telegram's apps", NULL, NULL},
    {"is_from_offline", TELEGRAM_LEFT_OUT, "how it was sent", NULL, NULL},
    {"is_paid_post", TELEGRAM_LEFT_OUT, "how it was sent", NULL, NULL},
    {"link_preview_options", TELEGRAM_LEFT_OUT, "looks", NULL, NULL},
    {"suggested_post_info", TELEGRAM_LEFT_OUT, "terms between a channel and an author", NULL, NULL},
    {"effect_id", TELEGRAM_LEFT_OUT, "looks", NULL, NULL},
    {"show_caption_above_media", TELEGRAM_LEFT_OUT, "looks", NULL, NULL},
    {"has_media_spoiler", TELEGRAM_LEFT_OUT, "looks", NULL, NULL},
};

#define MEMBERS (sizeof members / sizeof *members)

static struct str say_word(const struct saying *s)
{
    return bracket(s->arena, s->member->word, STR_NONE, STR_NONE);
}

static struct str say_named(const struct saying *s)
{
    return bracket(s->arena, s->member->word, get(s, s->member->detail), STR_NONE);
}

static struct str say_itself(const struct saying *s)
{
    return bracket(s->arena, s->member->word, telegram_text(s->value, s->arena), STR_NONE);
}

static const struct member *find_member(struct str name)
{
    for (size_t i = 0; i < MEMBERS; i++)
        if (str_eq_c(name, members[i].name))
            return &members[i];
    return NULL;
}

enum telegram_use telegram_message_use(struct str member, const char **out_why)
{
    const struct member *found = find_member(member);
    if (out_why)
        *out_why = found ? found->word : NULL;
    return found ? found->use : TELEGRAM_UNKNOWN;
}

// Content -------------------------------------------------------------------------------------------------

// The member that says most. A `text` that is none, as a number, is named like something unknown.
static const struct member *content_of(yyjson_val *message)
{
    const struct member *best = NULL;
    size_t i, n;
    yyjson_val *key, *value;
    if (yyjson_is_str(yyjson_obj_get(message, "text"))) // nearly always
        return &members[0];
    yyjson_obj_foreach(message, i, n, key, value)
    {
        const struct member *each = find_member(json_val_str(key));
        bool says = each && each->say && each->say != say_text; // of two texts the first is read, and it is none
        if (says && (!best || each < best))
            best = each;
    }
    return best;
}

// When nothing that we know says anything: the first member that is unknown, or has no meaning.
static void nothing_known(yyjson_val *message, struct arena *arena, struct telegram_words *out)
{
    size_t i, n;
    yyjson_val *key, *value;
    const char *silent = NULL;
    yyjson_obj_foreach(message, i, n, key, value)
    {
        const struct member *each = find_member(json_val_str(key));
        if (!each || each->say) { // unknown, or a text that is none
            struct str name = telegram_text(key, arena);
            out->text = arena_printf(arena, "(Telegram: %.*s)", STR_ARG(name));
            return;
        }
        if (each->use == TELEGRAM_NO_MEANING && !silent)
            silent = each->name;
    }
    out->discard = silent ? REASON_NO_MEANING : REASON_NONE;
    out->text = silent ? arena_printf(arena, "(Telegram: %s)", silent) : STR("(empty message)");
}

static struct str say(const struct member *member, yyjson_val *message, bool edited, struct arena *arena)
{
    struct saying *saying = arena_of(arena, struct saying);
    *saying = (struct saying){member, yyjson_obj_get(message, member->name), message, edited, arena};
    return member->say(saying);
}

// What is said beside a file that goes along: of a sticker its emoji.
static struct str say_shown(const struct member *member, yyjson_val *message, struct arena *arena)
{
    struct str beside = STR_NONE;
    if (member->detail)
        beside = telegram_get_text(yyjson_obj_get(message, member->name), member->detail, arena);
    return beside.p ? beside : STR("");
}

static struct str with_caption(struct str text, yyjson_val *message, struct arena *arena)
{
    struct str caption = telegram_linked_text(yyjson_obj_get(message, "caption"),
                                              yyjson_obj_get(message, "caption_entities"), arena);
    if (!caption.n)
        return text;
    return text.n ? ARENA_JOIN(arena, text, STR(" "), caption) : caption;
}

struct str telegram_content(yyjson_val *message, bool edited, struct arena *arena, struct telegram_words *out)
{
    struct telegram_words quoted;
    const struct member *member = content_of(message);
    bool goes_along = out && member && member->use == TELEGRAM_SHOWS;
    if (!out)
        out = &quoted;
    *out = (struct telegram_words){0};
    if (out != &quoted && (!member || member->say != say_text))
        out->files = telegram_files(message, arena);
    if (goes_along && out->files.n) {
        out->text = say_shown(member, message, arena);
    } else if (member) {
        out->text = say(member, message, edited, arena);
        out->whole = member->say == say_text;
    } else {
        nothing_known(message, arena, out);
    }
    if (!out->whole)
        out->text = with_caption(out->text, message, arena);
    return out->text;
}

// What it answers, whence it came --------------------------------------------------------------------------

static struct str forwarded_from(yyjson_val *origin, struct arena *arena)
{
    static const char *const who[] = {"sender_user", "sender_chat", "chat"};
    struct str name = telegram_get_text(origin, "sender_user_name", arena);
    for (size_t i = 0; i < sizeof who / sizeof *who && !name.n; i++)
        name = telegram_name(yyjson_obj_get(origin, who[i]), arena);
    if (!name.n)
        return STR("(forwarded) ");
    return arena_printf(arena, "(forwarded from %.*s) ", STR_ARG(name));
}

// In a forum every message answers the one that opened its topic.
static bool is_answer(yyjson_val *answered)
{
    return yyjson_is_obj(answered) && !yyjson_obj_get(answered, "forum_topic_created");
}

static struct str in_reply_to(yyjson_val *message, struct arena *arena)
{
    yyjson_val *answered = yyjson_obj_get(message, "reply_to_message");
    struct str words = telegram_get_text(yyjson_obj_get(message, "quote"), "text", arena), name = STR_NONE;
    if (!is_answer(answered))
        answered = yyjson_obj_get(message, "external_reply");
    if (!is_answer(answered) && !words.n)
        return yyjson_obj_get(message, "reply_to_story") ? STR("(in reply to a story) ") : STR("");
    if (!words.n && !content_of(answered) && !yyjson_obj_get(answered, "caption")) // no longer to be had
        return STR("(in reply to a message) ");
    if (!words.n)
        words = telegram_content(answered, false, arena, NULL);
    if (!str_eq_c(json_get_str(yyjson_obj_get(message, "chat"), "type"), "private"))
        name = telegram_name(yyjson_obj_get(answered, "from"), arena);
    words = telegram_quoted(words, arena);
    if (name.n)
        return arena_printf(arena, "(in reply to %.*s: \"%.*s\") ", STR_ARG(name), STR_ARG(words));
    return arena_printf(arena, "(in reply to \"%.*s\") ", STR_ARG(words));
}

void telegram_message_words(yyjson_val *message, bool edited, struct arena *arena, struct telegram_words *out)
{
    yyjson_val *origin = yyjson_obj_get(message, "forward_origin");
    telegram_content(message, edited, arena, out);
    struct str from = origin ? forwarded_from(origin, arena) : STR("");
    struct str to = in_reply_to(message, arena);
    if (!edited && !from.n && !to.n)
        return;
    out->whole = out->whole && !from.n && !to.n;
    struct str before = arena_printf(arena, "%s%.*s%.*s", edited ? "(edited) " : "", STR_ARG(from), STR_ARG(to));
    out->text = telegram_behind(before, out->text, arena);
}
