// GET /api/v1/accounts/{account}/why: why the account, or one of its conversations, does not move, in one answer. The command line
// prints it as it is.
#include "admin/view_lane.h"
#include "base/time_text.h"

#include <inttypes.h>
#include <string.h>

enum {
    WALK_MAX = 20000,    // lanes looked at for the oldest
    OLDEST = 5,          // of them that are shown
    IN_LINE_MAX = 20000, // messages of an account's lane that are looked at for one conversation's
    RECENT_MAX = 5000,   // messages of the account among which the last delivered one is looked for
    HISTORY = 10,
    SKIPPED_MAX = 100, // that are counted
};

struct why {
    const struct account *account; // counted
    const struct source *source;   // NULL: of the account
    struct str thread;
    int64_t conversation_id;
    struct lane_line line; // of the conversation in the account's lane
    struct shown_lane lanes[OLDEST];
    size_t count;
    int64_t waiting;    // lanes
    bool counted_all;   // else there are more
    bool looked_at_all; // at the lanes, for the oldest
    struct account_view view;
};

// ---- reading ----

struct oldest {
    struct why *why;
    int64_t lanes[OLDEST], places[OLDEST];
    size_t count;
};

static void on_head(void *arg, const struct lane_row *row)
{
    struct oldest *oldest = arg;
    size_t at = oldest->count;
    oldest->why->waiting++;
    while (at && oldest->places[at - 1] > row->head_place)
        at--;
    if (at == OLDEST)
        return;
    size_t end = oldest->count < OLDEST ? oldest->count++ : OLDEST - 1;
    for (size_t i = end; i > at; i--) {
        oldest->lanes[i] = oldest->lanes[i - 1];
        oldest->places[i] = oldest->places[i - 1];
    }
    oldest->lanes[at] = row->lane;
    oldest->places[at] = row->head_place;
}

static int read_lane(struct api_call *call, struct why *why, int64_t lane)
{
    struct lane_filter filter = {.lane = lane};
    size_t count = 0;
    int err = shown_lanes_read(call, &filter, 0, 1, &why->lanes[why->count], &count);
    why->count += err ? 0 : count;
    return err;
}

static int read_account(struct api_call *call, struct why *why)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct lane_filter filter = {.account_id = why->account->id, .brief = true};
    struct oldest oldest = {.why = why};
    int err = reader->ops->lanes(reader, &filter, 0, WALK_MAX, on_head, &oldest);
    why->counted_all = why->looked_at_all = why->waiting < WALK_MAX;
    for (size_t i = 0; i < oldest.count && !err; i++)
        err = read_lane(call, why, oldest.lanes[i]);
    return err;
}

// The account's lane, when messages of it wait there, then its own ones.
static int read_conversation(struct api_call *call, struct why *why)
{
    struct store_reader *reader = admin_of(call)->reader;
    int64_t shared = lane_id(LANE_ACCOUNT, why->account->id), id = 0;
    int err = reader->ops->conversation(reader, why->source->id, why->thread, &id);
    if (!err)
        err = reader->ops->lane_line(reader, shared, id, IN_LINE_MAX, &why->line);
    if (!err && why->line.first_id)
        err = read_lane(call, why, shared);
    if (!err)
        err = read_lane(call, why, lane_id(LANE_CONVERSATION, id));
    if (!err)
        err = read_lane(call, why, lane_id(LANE_REPLY, id));
    why->conversation_id = id;
    why->waiting = (int64_t)why->count;
    why->counted_all = why->looked_at_all = true;
    return err;
}

// ---- telling ----

static struct str name_of(struct api_call *call, const struct why *why)
{
    if (!why->source)
        return why->account->name;
    return arena_printf(call->arena, "%.*s/%.*s/%.*s", STR_ARG(why->account->name), STR_ARG(why->source->name),
                        STR_ARG(why->thread));
}

static struct str seconds_as_words(struct api_call *call, int64_t s)
{
    static const struct {
        int64_t s;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    size_t i = 0;
    while (i < 3 && s < 2 * units[i].s)
        i++;
    return arena_printf(call->arena, "%" PRId64 " %s", s / units[i].s, units[i].name);
}

static struct str age_of(struct api_call *call, int64_t at_us)
{
    int64_t us = clock_wall_us(admin_of(call)->clock) - at_us;
    return seconds_as_words(call, us > 0 ? us / 1000000 : 0);
}

static struct str say_nothing_waits(struct api_call *call, int64_t last_us)
{
    char text[TIME_TEXT_SIZE];
    if (!last_us)
        return STR("nothing waits, and nothing was delivered lately");
    struct str last = time_text(last_us, text);
    return arena_printf(call->arena, "nothing waits; the last message was delivered at %.10s %.8s UTC", last.p,
                        last.p + 11);
}

static struct str plural(struct api_call *call, int64_t n, const char *one, const char *many)
{
    return arena_printf(call->arena, "%" PRId64 " %s", n, n == 1 ? one : many);
}

static bool is_of_replies(const struct shown_lane *lane)
{
    return lane_id_kind(lane->lane) == LANE_REPLY;
}

// Of a conversation in which a customer's messages wait: replies to the customer are another lane.
static struct str say_replies(struct api_call *call, const struct why *why)
{
    const struct shown_lane *last = why->count > 1 ? &why->lanes[why->count - 1] : NULL;
    if (!why->source || !last || !is_of_replies(last))
        return STR("");
    struct str replies = plural(call, last->waiting, "reply to the customer waits", "replies to the customer wait");
    return arena_printf(call->arena, "; %.*s, too", STR_ARG(replies));
}

static struct str say_waits(struct api_call *call, const struct why *why)
{
    const struct shown_lane *first = &why->lanes[0];
    struct str age = age_of(call, first->head.received_at_us);
    if (why->waiting > 1 && !why->source)
        return arena_printf(call->arena, "%s%" PRId64 " lanes wait, the oldest message%s for %.*s",
                            why->counted_all ? "" : "at least ", why->waiting,
                            why->looked_at_all ? "" : " of those looked at", STR_ARG(age));
    struct str messages = is_of_replies(first) ? plural(call, first->waiting, "reply waits", "replies wait")
                                               : plural(call, first->waiting, "message waits", "messages wait");
    bool own_first = first->lane != lane_id(LANE_ACCOUNT, why->account->id);
    if (why->line.first_id && own_first)
        return arena_printf(call->arena,
                            "%.*s, the oldest for %.*s, and %" PRId64 " more behind %s in the account's one lane",
                            STR_ARG(messages), STR_ARG(age), why->line.own, first->waiting == 1 ? "it" : "them");
    if (why->line.first_id) {
        struct str own = plural(call, why->line.own, "message of it waits", "messages of it wait");
        if (!why->line.before)
            return arena_printf(call->arena, "%.*s, first in the account's one lane", STR_ARG(own));
        return arena_printf(call->arena, "%.*s behind %s%" PRId64 " of others in the account's one lane", STR_ARG(own),
                            why->line.looked_at_all ? "" : "at least ", why->line.before);
    }
    return arena_printf(call->arena, "%.*s, the oldest for %.*s", STR_ARG(messages), STR_ARG(age));
}

static struct str say(struct api_call *call, const struct why *why, int64_t last_us)
{
    struct str name = name_of(call, why);
    struct str what = why->count ? say_waits(call, why) : say_nothing_waits(call, last_us);
    return arena_printf(call->arena, "%.*s: %.*s%.*s.", STR_ARG(name), STR_ARG(what), STR_ARG(say_replies(call, why)));
}

// The relay has all lanes of an active account in memory, and counts them.
static void take_counts(struct why *why)
{
    int64_t sum = 0;
    bool from_relay = why->account->active && !why->view.starting;
    if (!from_relay) {
        memset(why->view.lanes_in_state, 0, sizeof why->view.lanes_in_state);
        why->view.lanes_in_state[why->account->active ? LANE_LOADING : LANE_STOPPED] = (int)why->waiting;
    }
    for (int i = 0; i < LANE_STATES; i++)
        sum += why->view.lanes_in_state[i];
    if (!why->looked_at_all && sum > why->waiting)
        why->waiting = sum;
    why->counted_all |= from_relay;
}

static void write_states(struct json *json, const struct why *why)
{
    const int *lanes = why->view.lanes_in_state;
    json_key(json, "by_state");
    json_open(json, '{');
    for (int i = 0; i < LANE_STATES; i++)
        if (lanes[i])
            json_key_int(json, lane_state_name((enum lane_state)i), lanes[i]);
    json_close(json, '}');
}

static void write_lanes(struct json *json, struct api_call *call, const struct why *why)
{
    json_key_int(json, "lanes_waiting", why->waiting);
    json_key_bool(json, "counted_all", why->counted_all);
    write_states(json, why);
    json_key(json, "oldest");
    json_open(json, '[');
    for (size_t i = 0; i < why->count; i++) {
        json_open(json, '{');
        view_lane(json, call, &why->lanes[i]);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static int write_first(struct json *json, struct api_call *call, const struct why *why)
{
    json_key(json, "lane");
    if (!why->count) {
        json_null(json);
        return 0;
    }
    json_open(json, '{');
    view_lane(json, call, &why->lanes[0]);
    int err = view_lane_history(json, call, &why->lanes[0], HISTORY);
    json_close(json, '}');
    return err;
}

static void write_line(struct json *json, const struct why *why)
{
    json_key(json, "in_line");
    if (!why->line.first_id) {
        json_null(json);
        return;
    }
    json_open(json, '{');
    json_key_id(json, "first", why->line.first_id);
    json_key_int(json, "before", why->line.before);
    json_key_int(json, "own", why->line.own);
    json_key_bool(json, "counted_all", why->line.looked_at_all);
    json_close(json, '}');
}

static void on_skipped(void *arg, const struct message *message)
{
    (void)message;
    ++*(int64_t *)arg;
}

// "Nothing waits" is no answer to who misses a message that was given up. A help only: without it the rest is as true.
static struct skipped_there count_skipped(struct api_call *call, const struct why *why)
{
    struct store_reader *reader = admin_of(call)->reader;
    struct skipped_there there = {.most = SKIPPED_MAX, .thread = why->thread};
    struct message_filter filter = {
        .account_id = why->account->id, .conversation = why->thread, .by_state = true, .state = MESSAGE_SKIPPED};
    if (why->source) {
        filter.source_id = why->source->id;
        there.source = why->source->name;
    }
    if (!why->count && reader->ops->messages(reader, &filter, 0, SKIPPED_MAX, on_skipped, &there.count))
        there.count = 0;
    return there;
}

static int write_why(struct json *json, struct api_call *call, const struct why *why)
{
    struct store_reader *reader = admin_of(call)->reader;
    int64_t last_id = 0, last_us = 0;
    struct skipped_there skipped = count_skipped(call, why);
    int err = reader->ops->last_delivered(reader, why->account->id, why->conversation_id, RECENT_MAX, &last_id,
                                          &last_us);
    json_open(json, '{');
    json_key_str(json, "says", say(call, why, last_us));
    json_key_str(json, "account", why->account->name);
    json_key_str(json, "source", why->source ? why->source->name : STR_NONE);
    json_key_str(json, "conversation", why->thread);
    json_key_bool(json, "active", why->account->active);
    json_key_str(json, "order", str_of(order_rule_name(why->account->order)));
    json_key_int(json, "busy_percent", view_busy_percent(call, why->account));
    view_lane_desk(json, call, why->account);
    view_lane_bot(json, call,
                  why->source ? why->source : shown_lane_bot(why->account, why->count ? &why->lanes[0] : NULL));
    err = err ? err : write_first(json, call, why);
    write_line(json, why);
    write_lanes(json, call, why);
    json_key_time(json, "last_delivered_at", last_us);
    view_lane_help(json, call, why->account, why->count ? &why->lanes[0] : NULL, &skipped);
    json_close(json, '}');
    return err;
}

// ---- the request ----

static void run_look(struct api_work *work)
{
    struct why *why = work->data;
    why->view.account_id = why->account->id;
    work->err = shown_lanes_look(admin_of(work->call)->relay, why->lanes, why->count, &why->view);
}

// Where a change of the order rule is not over, one lane waits for the other: what that one waits for is the answer.
static void put_what_holds_up_first(struct why *why)
{
    struct shown_lane first = why->lanes[0];
    if (!why->source || why->count < 2 || first.view.state != LANE_BEHIND || why->lanes[1].view.state == LANE_BEHIND ||
        is_of_replies(&why->lanes[1]))
        return;
    why->lanes[0] = why->lanes[1];
    why->lanes[1] = first;
}

static void on_looked(struct api_work *work)
{
    struct api_call *call = work->call;
    struct why *why = work->data;
    struct api_json answer;
    int err = work->err;
    struct json *json = api_json_begin(&answer);
    if (!err) {
        take_counts(why);
        put_what_holds_up_first(why);
        err = write_why(json, call, why);
    }
    account_unref(why->account);
    if (!err) {
        api_json_send(call, 200, &answer);
        return;
    }
    buf_done(&answer.buf);
    api_problem_err(call, err);
}

// False: answered.
static bool find_source(struct api_call *call, struct why *why)
{
    struct str name = api_query(call, "source");
    why->thread = api_query(call, "conversation");
    if (!name.p && !why->thread.p)
        return true;
    if (!name.p || !why->thread.p) {
        api_problem(call, 400, "source and conversation go together.");
        return false;
    }
    const struct source *source = account_find_source(why->account, name);
    why->source = source;
    if (!source)
        api_problem(call, 404, "The account has no source of that name.");
    return source != NULL;
}

// False: answered.
static bool read_store(struct api_call *call, struct why *why)
{
    int err = why->source ? read_conversation(call, why) : read_account(call, why);
    if (err == ERR_NOT_FOUND)
        api_problem(call, 404, "The source has no conversation of that name: nothing was ever received from it.");
    else if (err)
        api_problem_err(call, err);
    return !err;
}

void api_why_get(struct api_call *call)
{
    struct why *why = arena_of(call->arena, struct why); // gone when it was answered
    const struct account *account = directory_find(admin_of(call)->directory, call->params[0]);
    why->account = account;
    if (!account) {
        api_problem(call, 404, "There is no account of that name.");
        return;
    }
    if (!find_source(call, why) || !read_store(call, why)) {
        account_unref(account);
        return;
    }
    struct api_work *work = api_work_new(call);
    work->data = why;
    api_work_start(work, run_look, on_looked);
}
