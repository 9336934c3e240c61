#include "relay/lane_view.h"

#include "base/must.h"
#include "relay/courier.h"

const char *lane_wait_name(enum lane_wait wait)
{
    static const char *const names[LANE_WAITS] = {
        "nothing", "start",   "page",   "memory", "turn", "slot",  "governor", "rate",    "mark",  "answer", "probe",
        "record",  "backoff", "settle", "time",   "desk", "guard", "person",   "account", "order", "pace",
    };
    must((unsigned)wait < LANE_WAITS);
    return names[wait];
}

// Monotonic time as wall time.
static int64_t wall_of(struct dispatcher *d, int64_t mono_us)
{
    return dispatcher_now_us(d) + mono_us - clock_mono_us(d->options.clock);
}

static bool is_parked(const struct attempt *attempt)
{
    const struct attempt *other = attempt->desk_state->parked;
    while (other && other != attempt)
        other = other->next;
    return other != NULL;
}

static void view_attempt(struct dispatcher *d, const struct attempt *attempt, struct lane_view *view)
{
    view->since_us = wall_of(d, attempt->began_us);
    if (view->state == LANE_MARKING) {
        view->waits_for = LANE_WAITS_MARK;
    } else if (attempt->call) {
        view->waits_for = LANE_WAITS_ANSWER;
        view->until_us = wall_of(d, attempt->sent_us + d->options.timeout_ms * 1000);
    } else {
        view->waits_for = is_parked(attempt) ? LANE_WAITS_PROBE : LANE_WAITS_RECORD;
    }
}

static void view_ready(struct dispatcher *d, const struct lane *lane, struct lane_view *view)
{
    struct governor governor = lane->owner->desk->governor; // a copy: asking fills its bucket
    int64_t until = governor_blocked_until(&governor, dispatcher_mono_us(d));
    if (until == INT64_MAX) {
        view->waits_for = LANE_WAITS_GOVERNOR;
    } else if (until) {
        view->waits_for = LANE_WAITS_RATE;
        view->until_us = wall_of(d, until);
    } else {
        view->waits_for = d->in_flight >= d->options.concurrency ? LANE_WAITS_SLOT : LANE_WAITS_TURN;
    }
}

static void view_suspended(struct dispatcher *d, const struct desk_state *desk, struct lane_view *view)
{
    view->waits_for = desk->guard.closed ? LANE_WAITS_GUARD : LANE_WAITS_DESK;
    if (desk->due.item.index)
        view->until_us = wall_of(d, desk->due.item.at);
}

static void view_in_memory(struct dispatcher *d, const struct lane *lane, struct lane_view *view)
{
    const struct desk_state *desk = lane->owner->desk;
    view->state = lane->state;
    view->desk_in_flight = desk->governor.in_flight;
    view->desk_window = desk->governor.window;
    switch (lane->state) {
    case LANE_LOADING:
        view->waits_for = lane->load || dispatcher_has_room(d) ? LANE_WAITS_PAGE : LANE_WAITS_MEMORY;
        break;
    case LANE_READY:
        view_ready(d, lane, view);
        break;
    case LANE_MARKING:
    case LANE_SENDING:
        if (lane->attempt)
            view_attempt(d, lane->attempt, view);
        break;
    case LANE_WAITING:
        view->waits_for = lane->paces ? LANE_WAITS_PACE : LANE_WAITS_TIME;
        if (lane->due.item.index)
            view->until_us = wall_of(d, lane->due.item.at);
        break;
    case LANE_SUSPENDED:
        view_suspended(d, desk, view);
        break;
    case LANE_HELD:
        view->waits_for = LANE_WAITS_PERSON;
        break;
    case LANE_BEHIND:
        view->waits_for = LANE_WAITS_ORDER;
        break;
    default:
        break;
    }
}

// Lanes that no feed has brought yet are not in memory, though they wait.
static bool is_starting(struct dispatcher *d, int64_t account_id)
{
    const struct lane_owner *inbound = lane_owner_find(d, (struct owner_key){account_id, 0});
    return (inbound && inbound->feeding) || d->first_feed;
}

void lane_view_fill(struct dispatcher *d, struct lane_view *view)
{
    const struct lane *lane = lane_find(d, view->lane);
    const struct account *account = directory_find_id(d->options.directory, view->account_id);
    bool active = account && account->active;
    account_unref(account);
    *view = (struct lane_view){.account_id = view->account_id, .lane = view->lane, .state = LANE_IDLE};
    if (lane) {
        view_in_memory(d, lane, view);
    } else if (!active) {
        view->state = LANE_STOPPED;
        view->waits_for = LANE_WAITS_ACCOUNT;
    } else if (is_starting(d, view->account_id)) {
        view->state = LANE_LOADING;
        view->waits_for = LANE_WAITS_START;
    }
}

void account_view_fill(struct dispatcher *d, struct account_view *view)
{
    const struct account *account = directory_find_id(d->options.directory, view->account_id);
    *view = (struct account_view){.account_id = view->account_id, .starting = is_starting(d, view->account_id)};
    size_t at = 0;
    for (const struct lane_owner *owner; account && (owner = lane_owner_next(d, account, &at));)
        for (int i = 0; i < LANE_STATES; i++)
            view->lanes_in_state[i] += owner->lanes_in_state[i];
    account_unref(account);
}

void lane_view_judge(struct lane_view *view, const struct message *head)
{
    if (view->waits_for != LANE_WAITS_TIME)
        return;
    if (head->in_doubt || head->in_flight)
        view->waits_for = LANE_WAITS_SETTLE;
    else if (head->attempts)
        view->waits_for = LANE_WAITS_BACKOFF;
}
