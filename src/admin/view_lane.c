#include "admin/view_lane.h"

#include "base/time_text.h"

#include <ctype.h>
#include <inttypes.h>

// ---- reading ----

struct reading {
    struct api_call *call;
    struct shown_lane *lanes;
    size_t count;
};

static void read_files(struct shown_lane *lane, struct str attachments, struct arena *arena)
{
    struct attachment *files;
    size_t count = attachments_read(attachments, arena, &files);
    for (size_t i = 0; i < count; i++) {
        if (files[i].state != FILE_WANTED)
            continue;
        if (lane->file.p)
            lane->more_files++;
        else
            lane->file = attachment_title(&files[i], arena);
    }
}

static void on_lane(void *arg, const struct lane_row *row)
{
    struct reading *reading = arg;
    struct arena *arena = reading->call->arena;
    struct shown_lane *lane = &reading->lanes[reading->count++];
    *lane = (struct shown_lane){.account_id = row->account_id, .lane = row->lane, .waiting = row->waiting};
    lane->head.id = row->head_id;
    if (!row->head)
        return;
    lane->head = *row->head;
    lane->head.conversation = arena_str(arena, row->head->conversation);
    lane->head.conversation_name = arena_str(arena, row->head->conversation_name);
    lane->head.last_error = arena_str(arena, row->head->last_error);
    read_files(lane, row->head->attachments, arena);
    lane->head.sender_id = lane->head.sender_name = lane->head.text = lane->head.attachments = STR_NONE;
    lane->head.desk_ref = STR_NONE;
}

int shown_lanes_read(struct api_call *call, const struct lane_filter *filter, int64_t after, size_t limit,
                     struct shown_lane *out, size_t *out_count)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct reading reading = {.call = call, .lanes = out};
    int err = reader->ops->lanes(reader, filter, after, limit, on_lane, &reading);
    *out_count = reading.count;
    return err;
}

int shown_lanes_look(struct relay *relay, struct shown_lane *lanes, size_t count, struct account_view *account)
{
    struct arena arena = {0};
    struct lane_view *views = arena_alloc(&arena, (count ? count : 1) * sizeof *views);
    for (size_t i = 0; i < count; i++)
        views[i] = (struct lane_view){.account_id = lanes[i].account_id, .lane = lanes[i].lane};
    int err = relay_look(relay, views, count, account);
    for (size_t i = 0; i < count && !err; i++) {
        lanes[i].view = views[i];
        if (lanes[i].head.id)
            lane_view_judge(&lanes[i].view, &lanes[i].head);
    }
    arena_done(&arena);
    return err;
}

// ---- the sentence ----

// "2026-11-22 13:00:35 UTC"
static struct str time_of(struct api_call *call, int64_t at_us)
{
    char text[TIME_TEXT_SIZE];
    struct str whole = time_text(at_us, text);
    return arena_printf(call->arena, "%.10s %.8s UTC", whole.p, whole.p + 11);
}

static struct str until(struct api_call *call, const struct lane_view *view, const char *before)
{
    if (!view->until_us)
        return STR("");
    struct str time = time_of(call, view->until_us);
    return arena_printf(call->arena, "%s%.*s", before, STR_ARG(time));
}

static bool is_of_replies(const struct shown_lane *lane)
{
    return lane_id_kind(lane->lane) == LANE_REPLY;
}

// Who takes its messages.
static const char *taker(const struct shown_lane *lane)
{
    return is_of_replies(lane) ? "bot" : "desk";
}

static struct str say_answer(struct api_call *call, const struct shown_lane *lane)
{
    const struct lane_view *view = &lane->view;
    const char *before = is_of_replies(lane) ? "; the platform has until " : "; the desk has until ";
    struct str since = time_of(call, view->since_us), last = until(call, view, before);
    return arena_printf(call->arena, "An attempt is in progress since %.*s%.*s.", STR_ARG(since), STR_ARG(last));
}

static struct str say_settle(struct api_call *call, const struct shown_lane *lane)
{
    struct str at = until(call, &lane->view, " at ");
    if (is_of_replies(lane))
        return arena_printf(
            call->arena,
            "The last attempt may have arrived, and cannot be looked for: when that has settled%.*s, it goes "
            "by the account's in_doubt.",
            STR_ARG(at));
    return arena_printf(call->arena, "The last attempt may have arrived: the desk is asked%.*s, when that has settled.",
                        STR_ARG(at));
}

// No attempt was made yet: it is no pause that somebody asked for.
static bool waits_for_files(const struct shown_lane *lane)
{
    enum lane_wait waits_for = lane->view.waits_for;
    return (waits_for == LANE_WAITS_TIME || waits_for == LANE_WAITS_BACKOFF) && lane->file.p && !lane->head.attempts &&
           !lane->head.last_error.n;
}

static struct str say_files(struct api_call *call, const struct shown_lane *lane)
{
    struct str last = until(call, &lane->view, ", at most until ");
    struct str more = lane->more_files ? arena_printf(call->arena, " and %zu more", lane->more_files) : STR("");
    return arena_printf(call->arena, "Its head waits for a file that is being fetched: %.*s%.*s%.*s.",
                        STR_ARG(lane->file), STR_ARG(more), STR_ARG(last));
}

static struct str say_held(const struct shown_lane *lane)
{
    if (lane->head.in_doubt)
        return STR("It is held for a person: its head may have arrived, and nothing goes past it.");
    return STR("It is held for a person: its head could not be delivered, and nothing goes past it.");
}

static struct str say(struct api_call *call, const struct shown_lane *lane)
{
    const struct lane_view *view = &lane->view;
    struct arena *arena = call->arena;
    struct str at = until(call, view, " at ");
    if (waits_for_files(lane))
        return say_files(call, lane);
    switch (view->waits_for) {
    case LANE_WAITS_START:
        return STR("The relay is still reading what waits, and has not come to this lane yet.");
    case LANE_WAITS_PAGE:
        return STR("Its messages are being read from the store.");
    case LANE_WAITS_MEMORY:
        return STR("The memory for messages is full of others': it is read as soon as some of those have gone.");
    case LANE_WAITS_TURN:
        return arena_printf(arena, "Its head is ready and goes next: others of the same %s come first.", taker(lane));
    case LANE_WAITS_SLOT:
        return STR("Its head is ready: as many attempts are in flight as delivery.concurrency allows.");
    case LANE_WAITS_GOVERNOR:
        return arena_printf(arena, "Its head is ready: %d requests are in flight at its %s, as many as that takes now.",
                            view->desk_in_flight, taker(lane));
    case LANE_WAITS_RATE:
        return arena_printf(arena, "Its head is ready: the %s's rate limit lets the next request leave%.*s.",
                            taker(lane), STR_ARG(at));
    case LANE_WAITS_PACE:
        return arena_printf(
            arena, "Its head is ready: the next message that its platform takes in this chat leaves%.*s.", STR_ARG(at));
    case LANE_WAITS_MARK:
        return STR("An attempt is about to begin.");
    case LANE_WAITS_ANSWER:
        return say_answer(call, lane);
    case LANE_WAITS_PROBE:
        return arena_printf(arena,
                            "The last request got no good answer; a probe asks whether it was the message or the %s.",
                            taker(lane));
    case LANE_WAITS_RECORD:
        return STR("An attempt is in progress: something of it is being read or recorded.");
    case LANE_WAITS_BACKOFF:
        return arena_printf(arena, "The last attempt failed; the next one is%.*s.", STR_ARG(at));
    case LANE_WAITS_SETTLE:
        return say_settle(call, lane);
    case LANE_WAITS_TIME:
        return arena_printf(arena, "The %s asked to wait; the next attempt is%.*s.",
                            is_of_replies(lane) ? "platform" : "desk", STR_ARG(at));
    case LANE_WAITS_DESK:
        return arena_printf(arena, "The %s is suspended: it is tried now and then, and all goes on when it is well.",
                            taker(lane));
    case LANE_WAITS_GUARD:
        return arena_printf(
            arena,
            "Messages in a row failed at the %s, so it is taken for out of order: nothing more is skipped there.",
            taker(lane));
    case LANE_WAITS_PERSON:
        return say_held(lane);
    case LANE_WAITS_ACCOUNT:
        return STR("The account is inactive: messages are taken and stored, none is delivered.");
    case LANE_WAITS_ORDER:
        return STR("The order rule was changed: it goes on when all messages accepted before that are settled.");
    default:
        return STR("It moves: nothing of it waited when this was asked.");
    }
}

// ---- the lane ----

static void view_head(struct json *json, const struct shown_lane *lane, const struct source *source)
{
    const struct message *head = &lane->head;
    bool waits = head->next_attempt_us < MESSAGE_HELD;
    json_key(json, "head");
    if (!head->id) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key_id(json, "id", head->id);
    json_key_str(json, "source", source ? source->name : STR_NONE);
    json_key_str(json, "conversation", head->conversation);
    json_key_time(json, "received_at", head->received_at_us);
    json_key_int(json, "attempts", head->attempts);
    json_key_str(json, "last_error", head->last_error);
    json_key_bool(json, "in_doubt", head->in_doubt);
    json_key_bool(json, "late", head->late);
    json_key_time(json, "next_attempt_at", waits ? head->next_attempt_us : 0);
    json_key_time(json, "attempt_since", lane->view.since_us);
    json_close(json, '}');
}

static double seconds_since(struct api_call *call, int64_t at_us)
{
    int64_t ms = at_us ? (clock_wall_us(admin_of(call)->clock) - at_us) / 1000 : 0;
    return ms > 0 ? (double)ms / 1000 : 0;
}

void view_lane(struct json *json, struct api_call *call, const struct shown_lane *lane)
{
    static const char *const kinds[] = {"account", "conversation", "reply", ""};
    enum lane_kind kind = lane_id_kind(lane->lane);
    const struct account *account = directory_find_id(admin_of(call)->directory, lane->account_id);
    const struct source *source = account ? account_find_source_id(account, lane->head.source_id) : NULL;
    bool shared = kind == LANE_ACCOUNT;
    json_key_id(json, "id", lane->lane);
    json_key_str(json, "account", account ? account->name : STR_NONE);
    json_key_str(json, "kind", str_of(kinds[kind]));
    json_key_str(json, "source", source && !shared ? source->name : STR_NONE);
    json_key_str(json, "conversation", shared ? STR_NONE : lane->head.conversation);
    json_key_str(json, "direction", str_of(direction_name(kind == LANE_REPLY ? REPLY : INBOUND)));
    json_key_str(json, "state", str_of(lane_state_name(lane->view.state)));
    json_key_str(json, "waits_for", str_of(lane_wait_name(lane->view.waits_for)));
    json_key_time(json, "until", lane->view.until_us);
    json_key_str(json, "says", say(call, lane));
    json_key_int(json, "waiting", lane->waiting);
    json_key(json, "oldest_s");
    json_num(json, seconds_since(call, lane->head.received_at_us));
    view_head(json, lane, source);
    account_unref(account);
}

struct history {
    struct json *json;
    size_t skip, seen;
};

static void on_counted(void *arg, const struct attempt_record *record)
{
    (void)record;
    ++*(size_t *)arg;
}

static void on_record(void *arg, const struct attempt_record *record)
{
    struct history *history = arg;
    if (history->seen++ < history->skip)
        return;
    json_open(history->json, '{');
    json_key_time(history->json, "at", record->at_us);
    json_key_str(history->json, "verdict", record->verdict);
    json_key_str(history->json, "error", record->error);
    json_close(history->json, '}');
}

int view_lane_history(struct json *json, struct api_call *call, const struct shown_lane *lane, size_t most)
{
    struct store_reader *reader = admin_of(call)->reader;
    size_t count = 0;
    int err = lane->head.id ? reader->ops->attempts(reader, lane->head.id, on_counted, &count) : 0;
    struct history history = {.json = json, .skip = count > most ? count - most : 0};
    json_key(json, "attempt_history");
    json_open(json, '[');
    if (!err && count)
        err = reader->ops->attempts(reader, lane->head.id, on_record, &history);
    json_close(json, ']');
    return err;
}

static void view_taker(struct json *json, struct api_call *call, struct str platform, uint64_t identity)
{
    char text[512];
    struct board_desk health;
    board_desk_get(admin_of(call)->board, identity, &health, text, sizeof text);
    json_open(json, '{');
    json_key_str(json, "platform", platform);
    view_health(json, call, identity);
    json_key_time(json, "since", health.suspended ? health.since_us : 0);
    json_close(json, '}');
}

void view_lane_desk(struct json *json, struct api_call *call, const struct account *account)
{
    json_key(json, "desk");
    view_taker(json, call, account->desk.platform, desk_identity(&account->desk));
}

void view_lane_bot(struct json *json, struct api_call *call, const struct source *source)
{
    json_key(json, "bot");
    if (source && view_takes_replies(source))
        view_taker(json, call, source->platform, source_identity(source));
    else
        json_null(json);
}

const struct source *shown_lane_bot(const struct account *account, const struct shown_lane *lane)
{
    return lane && is_of_replies(lane) ? account_find_source_id(account, lane->head.source_id) : NULL;
}

// ---- what a person can do ----

struct help {
    struct json *json;
    struct api_call *call;
    const struct account *account;
    const struct shown_lane *lane;
};

static void can(const struct help *help, struct str command, const char *does)
{
    struct json *json = help->json;
    json_open(json, '{');
    json_key_str(json, "command", command);
    json_key_str(json, "does", str_of(does));
    json_close(json, '}');
}

static void can_to_head(const struct help *help, const char *verb, const char *does)
{
    can(help, arena_printf(help->call->arena, "tributary %s %" PRId64, verb, help->lane->head.id), does);
}

static void can_to_account(const struct help *help, const char *words, const char *does)
{
    can(help, arena_printf(help->call->arena, "tributary %s %.*s", words, STR_ARG(help->account->name)), does);
}

static void help_by_wait(const struct help *help)
{
    switch (help->lane->view.waits_for) {
    case LANE_WAITS_PERSON:
        can_to_head(help, "retry",
                    help->lane->head.in_doubt && is_of_replies(help->lane) ? "sends it again: it may arrive twice"
                                                                           : "tries it again, with attempts from 0");
        can_to_head(help, "discard", "settles it undelivered; those behind it go on");
        break;
    case LANE_WAITS_BACKOFF:
    case LANE_WAITS_TIME:
        can_to_head(help, "retry", waits_for_files(help->lane) ? "tries it now; its files follow" : "tries it now");
        can_to_head(help, "discard", "settles it undelivered; those behind it go on");
        break;
    case LANE_WAITS_ANSWER:
    case LANE_WAITS_PROBE:
    case LANE_WAITS_RECORD:
        can_to_head(help, "discard", "gives it up if this attempt fails");
        break;
    case LANE_WAITS_SETTLE:
        can_to_head(help, "discard", "gives it up, though it may have arrived");
        break;
    case LANE_WAITS_GUARD:
        can(help,
            arena_printf(help->call->arena, "tributary messages --account %.*s --state skipped",
                         STR_ARG(help->account->name)),
            "shows what failed");
        can_to_account(help, "desk resume", "goes on, when that is mended");
        break;
    case LANE_WAITS_DESK:
        can_to_account(help, "desk resume",
                       is_of_replies(help->lane) ? "tries the bot now, and the desk" : "tries the desk now");
        can_to_head(help, "discard", "settles the head undelivered");
        break;
    case LANE_WAITS_ACCOUNT:
        can_to_account(help, "account activate", "delivers again, from where it stopped");
        break;
    case LANE_WAITS_ORDER:
        can_to_account(help, "why", "shows what is before it");
        break;
    default:
        break;
    }
}

// Whether a shell takes the word as it is.
static bool is_plain(struct str word)
{
    for (size_t i = 0; i < word.n; i++)
        if (!isalnum((unsigned char)word.p[i]) && !strchr(":_.@+-", word.p[i]))
            return false;
    return word.n && word.n <= 64 && word.p[0] != '-';
}

static void help_skipped(const struct help *help, const struct skipped_there *skipped)
{
    struct arena *arena = help->call->arena;
    struct str name = help->account->name, where = STR("");
    if (skipped->source.p)
        where = arena_printf(arena, " --source %.*s", STR_ARG(skipped->source));
    if (skipped->thread.p && is_plain(skipped->thread))
        where = arena_printf(arena, "%.*s --conversation %.*s", STR_ARG(where), STR_ARG(skipped->thread));
    can(help,
        arena_printf(arena, "tributary messages --account %.*s%.*s --state skipped", STR_ARG(name), STR_ARG(where)),
        "shows what was skipped, and why");
    if (skipped->source.p)
        can(help, STR("tributary retry MESSAGE"), "tries one of them again, behind what came since");
    else
        can(help, arena_printf(arena, "tributary retry --account %.*s --skipped", STR_ARG(name)),
            "tries all of them again, behind what came since");
}

static void hint(struct json *json, struct str sentence)
{
    json_str(json, sentence);
}

static void hint_skipped(struct json *json, struct api_call *call, const struct skipped_there *skipped)
{
    hint(json, arena_printf(call->arena, "%s%" PRId64 " message%s skipped: given up, and tried again only by hand.",
                            skipped->count == skipped->most ? "At least " : "", skipped->count,
                            skipped->count == 1 ? " was" : "s were"));
}

void view_lane_help(struct json *json, struct api_call *call, const struct account *account,
                    const struct shown_lane *lane, const struct skipped_there *skipped)
{
    struct help help = {json, call, account, lane};
    bool any_skipped = skipped && skipped->count;
    int percent = view_busy_percent(call, account);
    json_key(json, "hints");
    json_open(json, '[');
    if (percent > BUSY_PERCENT)
        hint(json, arena_printf(call->arena,
                                "The account's one lane was busy for %d %% of the last five minutes. With order: "
                                "conversation its conversations go side by side, each in order.",
                                percent));
    if (lane && lane->view.waits_for == LANE_WAITS_DESK && account->defined_at.p)
        hint(json, arena_printf(call->arena, "If the %s is wrong: correct it at %.*s, then tributary reload.",
                                is_of_replies(lane) ? "bot's token" : "desk's address or token",
                                STR_ARG(account->defined_at)));
    if (!account->active && account->left_file)
        hint(json, STR("The account left the configuration file, which deactivated it."));
    if (any_skipped)
        hint_skipped(json, call, skipped);
    json_close(json, ']');
    json_key(json, "can");
    json_open(json, '[');
    if (lane)
        help_by_wait(&help);
    if (any_skipped)
        help_skipped(&help, skipped);
    json_close(json, ']');
}
