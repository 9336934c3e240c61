// The judge: a small model of the promise (README, DESIGN.md), which knows what was acknowledged, what is on the disk, which
// requests left and what the desks took. It knows nothing of lanes' states, windows, rings or pages.
//
// Codes A1 to A13 are those of RELIABILITY.md 4.3; beside them: SWITCH (a request of a deactivated account), DISCARD (one of
// a discarded message), COUNT (attempts), GUARD (skips in a row), MARK (in-flight marks), DOUBT (a doubt that got lost).
#include "base/mem.h"
#include "sim/oracle_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUM_EVERY = 16,              // transactions, where reading costs
    MOST_HELP = 5,               // that a person tries what is held, before it is discarded
    AGE_LATEST_US = 70 * SECOND, // from when something may age out until it has
};

struct oracle *oracle_new(struct sim *sim)
{
    struct oracle *o = mem_new_of(struct oracle);
    oracle_files_init(o);
    for (int a = 0; a < sim->plan.accounts; a++) {
        o->accounts[a].stored_active = true;
        o->accounts[a].id = a + 1;
        o->accounts[a].order = o->rules[a][0] = sim->plan.order[a];
    }
    return o;
}

static void forget_before(struct oracle *o)
{
    while (o->before) {
        struct oracle *before = o->before;
        o->before = before->before;
        free(before);
    }
}

void oracle_free(struct oracle *oracle)
{
    forget_before(oracle);
    for (int i = 0; i < MOST_EVENTS; i++)
        free(oracle->said[i].text);
    free(oracle);
}

struct said *oracle_find(struct oracle *o, int64_t id, int *out_event)
{
    int event = id > 0 && id < MOST_IDS ? o->event_of_id[id] - 1 : -1;
    *out_event = event;
    return event >= 0 ? &o->said[event] : NULL;
}

static struct desk_identity_model *identity_of(struct oracle *o, uint64_t identity)
{
    for (int i = 0; i < o->identity_count; i++)
        if (o->identities[i].identity == identity)
            return &o->identities[i];
    struct desk_identity_model *model = &o->identities[o->identity_count % MOST_IDENTITIES];
    o->identity_count += o->identity_count < MOST_IDENTITIES - 1;
    *model = (struct desk_identity_model){.identity = identity};
    return model;
}

int oracle_receiver(const struct sim *sim, int event)
{
    const struct event_plan *plan = &sim->plan.event[event];
    if (!oracle_is_reply(sim, event))
        return sim->plan.desk_of[plan->account];
    return MOST_DESKS + plan->account * MOST_SOURCES + sim->plan.source_of[plan->conversation];
}

bool oracle_is_reply(const struct sim *sim, int event)
{
    return sim->oracle->said[event].direction == REPLY;
}

// Whoever takes it knows no key: it is marked before it is sent, and then in doubt.
static bool is_marked_first(const struct sim *sim, int event)
{
    return oracle_is_reply(sim, event) || sim->plan.desk[oracle_receiver(sim, event)].intercom;
}

void oracle_show(const struct sim *sim, int event, char *out, size_t size)
{
    static const char *const states[] = {"pending", "delivered", "skipped", "discarded"};
    const struct said *s = &sim->oracle->said[event];
    static const char *const kinds[] = {"e", "reply ", "note "};
    snprintf(out, size, "%s%d (message %lld of account %d, k%d, %s, attempts %d%s%s%s%s, taken %d times)",
             kinds[s->direction], event, (long long)s->id, sim->plan.event[event].account,
             sim->plan.event[event].conversation, states[s->state], s->attempts, s->in_doubt ? ", in doubt" : "",
             s->in_flight ? ", marked" : "", s->held ? ", held" : "", s->late ? ", late" : "", s->applied);
}

// The same was told of the same reply before, and this one was tried again by hand.
static bool has_twin_note(const struct sim *sim, int event)
{
    const struct said *note = &sim->oracle->said[event];
    for (int i = sim->plan.events; note->late && i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        if (i != event && s->direction == NOTE && s->note_of == note->note_of && s->was_there &&
            strcmp(s->text, note->text) == 0)
            return true;
    }
    return false;
}

bool oracle_is_ambiguous(const struct sim *sim, int event)
{
    const struct event_plan *plan = &sim->plan.event[event];
    bool anew = sim->oracle->accounts[plan->account].id !=
                plan->account + 1; // added anew, it knows nothing of equal texts
    if (sim->oracle->said[event].reborn || (anew && plan->twin))
        return true;
    if (sim->oracle->said[event].direction == NOTE) // it is known by the desk's time, and by its text
        return sim->clock_was_far || has_twin_note(sim, event);
    for (int i = 0; i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        if (i != event && sim->plan.event[i].twin && sim->plan.event[event].twin && is_marked_first(sim, event) &&
            sim->plan.event[i].conversation == sim->plan.event[event].conversation && (s->doubted || s->in_flight))
            return true;
    }
    return false;
}

void oracle_complain(struct sim *sim, const char *code, int event, const char *what)
{
    char who[200];
    oracle_show(sim, event, who, sizeof who);
    sim_fail(sim, code, "%s: %s", who, what);
}

// ---- order ----

// Whether the first must be settled before the second is tried, both pending and the first with the lower place.
static bool goes_before(const struct sim *sim, int first, int second)
{
    const struct oracle *o = sim->oracle;
    const struct event_plan *a = &sim->plan.event[first], *b = &sim->plan.event[second];
    const struct said *p = &o->said[first], *q = &o->said[second];
    bool reply = p->direction == REPLY;
    if (a->account != b->account || reply != (q->direction == REPLY))
        return false;
    if (reply)
        return a->conversation == b->conversation;
    return p->epoch != q->epoch || o->rules[a->account][p->epoch] == ORDER_ACCOUNT ||
           a->conversation == b->conversation;
}

static void check_order(struct sim *sim, int event)
{
    struct oracle *o = sim->oracle;
    const struct said *s = &o->said[event];
    for (int i = 0; i < sim->numbers; i++) {
        const struct said *other = &o->said[i];
        if (i == event || !other->id || !goes_before(sim, i, event))
            continue;
        if (other->open) {
            oracle_complain(sim, "A9", event, "a request leaves while one of the same lane is open");
            return;
        }
        if (other->state == MESSAGE_PENDING && other->place < s->place) {
            char text[250];
            oracle_show(sim, i, text, sizeof text);
            sim_fail(sim, "A7", "e%d is tried before %s is settled", event, text);
            return;
        }
    }
}

// ---- requests ----

// The message whose attempt this must be: the one marked in that conversation, of those to the desk or to the bot.
static int find_marked(const struct sim *sim, int conversation, bool reply)
{
    int found = -1;
    for (int i = 0; i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        if (sim->plan.event[i].conversation != conversation || (s->direction == REPLY) != reply || !s->id ||
            s->state != MESSAGE_PENDING || !s->in_flight)
            continue;
        if (found < 0 || s->marked_by == sim->life)
            found = i;
    }
    return found;
}

static bool check_marked(struct sim *sim, int desk, int *event, int conversation)
{
    bool to_bot = desk >= MOST_DESKS;
    if (!to_bot && !sim->plan.desk[desk].intercom)
        return true;
    if (*event < 0 && conversation >= 0)
        *event = find_marked(sim, conversation, to_bot);
    if (*event < 0) {
        sim_fail(sim, "MARK", "a request about conversation k%d leaves while no message of it is marked", conversation);
        return false;
    }
    if (!sim->oracle->said[*event].in_flight)
        oracle_complain(sim, "MARK", *event, "a request leaves, and the message is not marked");
    return true;
}

static void check_may_leave(struct sim *sim, int event)
{
    const struct said *s = &sim->oracle->said[event];
    if (s->state == MESSAGE_DELIVERED)
        oracle_complain(sim, "A5", event, "a message known delivered is sent again");
    else if (s->state != MESSAGE_PENDING)
        oracle_complain(sim, s->state == MESSAGE_DISCARDED ? "DISCARD" : "A5", event, "a settled message is sent");
    else if (sim->oracle->accounts[sim->plan.event[event].account].off)
        oracle_complain(sim, "SWITCH", event, "a request leaves for an account that is deactivated");
    else if (s->discard_due)
        oracle_complain(sim, "DISCARD", event,
                        "it was to be discarded if the attempt failed; it did, and is tried again");
    else if (s->open)
        oracle_complain(sim, "A9", event, "two requests about one message at a time");
    else if (s->held)
        oracle_complain(sim, "A7", event, "it is held for a person");
}

int oracle_sent(struct sim *sim, int desk, uint64_t identity, int event, int conversation, bool probe, bool writes)
{
    (void)writes;
    if (probe)
        return -1;
    if (event >= 0 && sim->oracle->said[event].is_joined) // its words are another's now
        event = -1;
    if (event >= 0 && !sim->oracle->said[event].id) {
        oracle_complain(sim, "A2", event, "a request leaves for a message that is not stored");
        return -1;
    }
    if (!check_marked(sim, desk, &event, conversation))
        return -1;
    if (event < 0) {
        sim_fail(sim, "A2", "a request leaves with a text that nobody said");
        return -1;
    }
    struct said *s = &sim->oracle->said[event];
    check_may_leave(sim, event);
    check_order(sim, event);
    if (oracle_receiver(sim, event) != desk)
        oracle_complain(sim, "A3", event, "it goes to another's desk, or bot");
    if (oracle_is_reply(sim, event))
        oracle_check_send(sim, event);
    s->identity = identity;
    s->asked = true;
    s->open++;
    return event;
}

void oracle_ended(struct sim *sim, int desk, int event, const struct http_response *response, enum weather outage,
                  bool delivered)
{
    struct oracle *o = sim->oracle;
    bool answered = response->failure == HTTP_ANSWERED || response->failure == HTTP_UNREADABLE; // by somebody
    if (!outage && answered)
        o->well_us[desk] = sim_now(sim);
    if (event < 0)
        return;
    struct said *s = &o->said[event];
    s->open -= s->open > 0;
    s->ended_us = sim_now(sim);
    s->outage = outage;
    if (s->direction == NOTE) // its conversation is gone
        s->chat_refused = answered && response->status == 404;
    if (delivered) // the relay knows by now; what it stores of it may come with what it stores next
        identity_of(o, s->identity)->skips = 0;
}

void oracle_weather(struct sim *sim, int desk)
{
    sim->oracle->weather_since_us[desk] = sim_now(sim);
}

// Or as much of it as an attempt had that began before another part of its album was joined.
static bool is_text_of(const struct said *s, struct str whole, struct str text)
{
    bool begins = s->joined_count && text.n < whole.n && str_starts(whole, text) && whole.p[text.n] == '\n';
    return str_eq(whole, text) || begins;
}

void oracle_applied(struct sim *sim, int desk, int event, int conversation, int thread, struct str text,
                    const struct sight *sight)
{
    struct buf expected;
    struct arena arena = {0};
    struct sight seen = *sight;
    if (event < 0 || !sim->oracle->said[event].id) {
        sim_fail(sim, "A2", "the desk has a message that nobody sent: %.*s", STR_ARG(text));
        return;
    }
    struct said *s = &sim->oracle->said[event];
    if (s->direction == INBOUND)
        text = sight_read(sim, text, &arena, &seen);
    oracle_text(sim, event, true, &expected);
    bool as_said = is_text_of(s, buf_str(&expected), text) || oracle_file_of_reply(sim, event) >= 0;
    bool words = oracle_files_applied(sim, desk, event, thread, text, &seen);
    if (words && !as_said)
        oracle_complain(sim, "A3", event, "its text is another at the desk");
    buf_done(&expected);
    arena_done(&arena);
    if (words)
        s->thread = thread;
    s->was_there |= words;
    if (conversation != sim->plan.event[event].conversation)
        oracle_complain(sim, "A3", event, "it is in another conversation at the desk");
    bool may_repeat = s->direction == REPLY ? s->sent_doubtful || s->reborn : oracle_is_ambiguous(sim, event);
    s->applied += words;
    // Of one without words each file is looked at.
    if (words && s->applied > 1 && (text.n || s->direction != INBOUND) && !sim->options->beyond_settle && !may_repeat)
        oracle_complain(sim, "A5", event, "it stands twice at the desk");
}

// What stood there stands no longer; what is sent again because of that is no repetition.
void oracle_deleted(struct sim *sim, int desk, int thread)
{
    for (int i = 0; i < sim->numbers; i++) {
        struct said *s = &sim->oracle->said[i];
        if (s->applied && s->thread == thread && oracle_receiver(sim, i) == desk)
            s->applied = 0;
    }
    oracle_files_deleted(sim, desk, thread);
}

int oracle_event_of(const struct sim *sim, int64_t message_id)
{
    return message_id > 0 && message_id < MOST_IDS ? sim->oracle->event_of_id[message_id] - 1 : -1;
}

void oracle_repeated(struct sim *sim, int event)
{
    (void)sim, (void)event; // under the same id: the receiver can tell
}

// ---- transactions ----

static int event_of_key(struct str key)
{
    int64_t n = -1;
    return str_to_i64(str_sub(key, sizeof "key-" - 1, key.n), &n) && n >= 0 && n < MOST_EVENTS ? (int)n : -1;
}

static void see_accept(struct sim *sim, const struct store_accept *accept)
{
    struct oracle *o = sim->oracle;
    bool reply = accept->direction == REPLY;
    if (accept->result == ACCEPT_NOTHING) { // what was never said to the customer is not taken back
        if (accept->event.act == REPLY_SAYS)
            sim_fail(sim, "A1", "what was said is not stored");
        return;
    }
    int event = reply ? oracle_number_of_reply(sim, accept) : event_of_key(accept->event.dedupe_key);
    if (event < 0)
        return;
    struct said *s = &o->said[event];
    if (accept->result == ACCEPT_DUPLICATE) {
        if (!s->id)
            oracle_complain(sim, "A1", event, "taken for a duplicate, and was never stored");
        return;
    }
    const struct account_model *account = &o->accounts[sim->plan.event[event].account];
    if (s->id && s->account_id == accept->account_id) {
        oracle_complain(sim, "A13", event, "stored a second time");
        return;
    }
    bool orphaned = reply && accept->state == MESSAGE_DISCARDED; // it was being read meanwhile; or it was a loop, too
    if (account->gone_us && account->gone_us < accept->received_at_us && !sim->clock_was_set && !orphaned)
        oracle_complain(sim, "GONE", event, "taken for an account that was removed");
    if (reply)
        oracle_check_reply(sim, event, accept);
    s->reborn = s->id != 0;
    s->account_id = accept->account_id;
    s->attempts = 0;
    s->in_doubt = s->in_flight = s->held = s->late = false;
    s->id = accept->message_id;
    s->place = accept->place;
    s->epoch = account->epoch;
    s->state = accept->result == ACCEPT_JOINED ? MESSAGE_DISCARDED : accept->state;
    s->received_us = s->settled_us = accept->received_at_us;
    s->sent_s = accept->event.sent_at_us / SECOND;
    s->conversation_id = accept->conversation_id;
    s->named = false;
    o->event_of_id[s->id] = event + 1;
    o->accepted++;
    o->counts[s->state]++;
    sim->result->accepted++;
    sim_trace(sim, "stored: %s%d is message %lld%s", reply ? "reply " : "e", event, (long long)s->id,
              accept->result == ACCEPT_JOINED ? ", joined"
              : s->state == MESSAGE_DISCARDED ? ", discarded"
                                              : "");
    if (accept->result == ACCEPT_JOINED)
        oracle_see_joined(sim, event, accept);
    else
        oracle_see_files(sim, event, accept);
}

static void check_attempts(struct sim *sim, int event, const struct store_outcome *outcome)
{
    struct said *s = &sim->oracle->said[event];
    int max = sim->plan.max_attempts, more = outcome->attempts - s->attempts;
    bool delivered = outcome->state == MESSAGE_DELIVERED;
    int desk = oracle_receiver(sim, event);
    if (!outcome->verdict)
        return;
    bool counts = delivered || strcmp(outcome->verdict, "retry") == 0 || strcmp(outcome->verdict, "rejected") == 0;
    if (more < 0 || more > (counts ? 1 : 0))
        oracle_complain(sim, "COUNT", event, "more is counted than the one failure");
    if (outcome->attempts > max + delivered)
        oracle_complain(sim, "COUNT", event, "more attempts are counted than max_attempts");
    if (outcome->state == MESSAGE_SKIPPED && outcome->reason == REASON_GAVE_UP && outcome->attempts < max)
        oracle_complain(sim, "COUNT", event, "given up before max_attempts");
    bool still = s->outage && s->ended_us > sim->oracle->weather_since_us[desk] &&
                 sim->oracle->well_us[desk] < s->ended_us;
    if (more > 0 && still && !delivered && s->asked)
        oracle_complain(sim, "COUNT", event, "an attempt is counted that failed with the desk as a whole");
}

static void check_skips(struct sim *sim, int event, const struct store_outcome *outcome)
{
    const struct said *s = &sim->oracle->said[event];
    struct desk_identity_model *identity = identity_of(sim->oracle, s->identity);
    if (outcome->state == MESSAGE_DELIVERED)
        identity->skips = 0;
    if (outcome->state != MESSAGE_SKIPPED || s->ended_us <= identity->resumed_us)
        return;
    if (!s->asked || s->chat_refused) // nobody refused it, or its chat alone did
        return;
    if (++identity->skips > MOST_SKIPS)
        oracle_complain(sim, "GUARD", event,
                        "the sixth in a row that is skipped at its desk, with no delivery between");
}

static void check_outcome(struct sim *sim, int event, const struct store_outcome *outcome)
{
    const struct said *s = &sim->oracle->said[event];
    if (s->direction == REPLY)
        oracle_check_reply_outcome(sim, event, outcome);
    check_attempts(sim, event, outcome);
    check_skips(sim, event, outcome);
    if (outcome->state == MESSAGE_DELIVERED && !s->was_there && !oracle_is_ambiguous(sim, event))
        oracle_complain(sim, "A1", event, "recorded as delivered, and the desk does not have it");
    bool noted = s->noted_there || oracle_files_note(sim, event, outcome);
    if (outcome->state != MESSAGE_DELIVERED && !outcome->in_doubt && !noted && s->applied &&
        is_marked_first(sim, event) && !sim->options->beyond_settle && !oracle_is_ambiguous(sim, event))
        oracle_complain(sim, "DOUBT", event, "the desk has it, and it is recorded as not in doubt");
}

static void set_mark(struct sim *sim, int64_t id, bool on)
{
    int event;
    struct said *s = oracle_find(sim->oracle, id, &event);
    if (!s || s->state != MESSAGE_PENDING)
        return;
    if (!on && s->applied && !s->in_doubt && !s->noted_there && is_marked_first(sim, event) &&
        !oracle_is_ambiguous(sim, event) && !sim->options->beyond_settle)
        oracle_complain(sim, "DOUBT", event, "the desk has it, and its mark goes without a doubt instead");
    s->in_flight = on;
    s->marked_by = sim->life;
    sim_trace(sim, "stored: e%d is %s", event, on ? "marked" : "marked no longer");
}

static void trace_outcome(struct sim *sim, int event, const struct store_outcome *outcome)
{
    static const char *const states[] = {"pending", "delivered", "skipped", "discarded"};
    int64_t wait_us = outcome->next_attempt_us ? outcome->next_attempt_us - sim->clock.wall_us : 0;
    sim_trace(sim, "stored: e%d is %s (%s), attempts %d%s, next in %.3f s", event, states[outcome->state],
              outcome->verdict ? outcome->verdict : "-", outcome->attempts, outcome->in_doubt ? ", in doubt" : "",
              outcome->next_attempt_us == MESSAGE_HELD ? -1 : (double)wait_us / 1e6);
}

static void see_outcome(struct sim *sim, const struct store_outcome *outcome)
{
    struct oracle *o = sim->oracle;
    int event;
    struct said *s = oracle_find(o, outcome->message_id, &event);
    if (!s || !outcome->applied)
        return;
    trace_outcome(sim, event, outcome);
    check_outcome(sim, event, outcome);
    if (s->direction == INBOUND && outcome->state == MESSAGE_DELIVERED)
        oracle_linked(sim, sim->plan.event[event].conversation);
    o->counts[s->state]--;
    o->counts[outcome->state]++;
    s->state = outcome->state;
    s->settled_us = outcome->at_us;
    s->attempts = outcome->attempts;
    s->in_doubt = outcome->in_doubt;
    s->doubted |= s->in_doubt;
    s->named |= outcome->desk_ref.p != NULL;
    s->noted_there |= oracle_files_note(sim, event, outcome);
    s->in_flight = outcome->in_flight && s->state == MESSAGE_PENDING;
    s->held = s->state == MESSAGE_PENDING && outcome->next_attempt_us == MESSAGE_HELD;
    s->by_hand &= !s->held;
    s->asked = s->chat_refused = s->moved = s->left_marked = false;
    s->discard_due = s->discard_asked && s->state == MESSAGE_PENDING;
    s->discard_asked = false;
    sim->result->delivered += s->state == MESSAGE_DELIVERED;
    if (s->direction == INBOUND && s->state == MESSAGE_DELIVERED)
        oracle_files_delivered(sim, event, outcome);
    if (outcome->reason == REASON_BY_HAND) // the wait was that message's, as where a person discards what waits
        o->limited_until_us[sim->plan.event[event].conversation] = 0;
    if (outcome->mark_next)
        set_mark(sim, outcome->mark_next, true);
}

static int64_t place_of(struct sim *sim, int64_t id)
{
    struct message *message = NULL;
    int err = sim->reader->ops->message(sim->reader, id, &message);
    int64_t place = err ? 0 : message->place;
    message_free(message);
    return place;
}

static void see_retry(struct sim *sim, const struct store_retry *retry)
{
    struct oracle *o = sim->oracle;
    int event;
    struct said *s = oracle_find(o, retry->message_id, &event);
    if (!s || !retry->applied)
        return;
    o->counts[s->state]--;
    o->counts[MESSAGE_PENDING]++;
    s->state = MESSAGE_PENDING;
    s->attempts = 0;
    s->late = true;
    s->place = place_of(sim, s->id);
    s->epoch = o->accounts[sim->plan.event[event].account].epoch;
    sim_trace(sim, "stored: e%d goes to the tail of its lane", event);
}

static bool waits_of_earlier_rule(const struct sim *sim, int account)
{
    const struct oracle *o = sim->oracle;
    for (int i = 0; i < sim->numbers; i++)
        if (sim->plan.event[i].account == account && o->said[i].id && o->said[i].state == MESSAGE_PENDING &&
            o->said[i].direction != REPLY && o->said[i].epoch < o->accounts[account].epoch)
            return true;
    return false;
}

static void see_account(struct sim *sim, const struct store_account_put *put)
{
    struct oracle *o = sim->oracle;
    int number = account_number(put->account->name);
    struct account_model *account = &o->accounts[number];
    bool waits = waits_of_earlier_rule(sim, number);
    account->stored_active = put->account->active;
    if (account->removed) {
        account->gone_us = 0;
        account->off = false;
    }
    account->removed = false;
    account->id = put->id;
    sim->number_of[put->id % MOST_ACCOUNT_IDS] = number;
    if (put->order_kept && !waits)
        sim_fail(sim, "A8", "account %d: a change of the order rule is refused, and nothing waits", number);
    if (put->order == account->order)
        return;
    if (waits)
        sim_fail(sim, "A7", "account %d: the order rule is changed again before the last change is over", number);
    account->order = put->order;
    if (account->epoch < MOST_EVENTS - 1)
        account->epoch++;
    o->rules[number][account->epoch] = put->order;
    sim_trace(sim, "stored: account %d, order %s", number, order_rule_name(put->order));
}

static void see_active(struct sim *sim, const struct store_account_active *active)
{
    struct account_model *account = &sim->oracle->accounts[sim->number_of[active->account_id % MOST_ACCOUNT_IDS]];
    if (account->id == active->account_id)
        account->stored_active = active->active;
}

static bool has_pending(const struct sim *sim, int account)
{
    for (int i = 0; i < sim->numbers; i++)
        if (sim->plan.event[i].account == account && sim->oracle->said[i].id &&
            sim->oracle->said[i].state == MESSAGE_PENDING)
            return true;
    return false;
}

static void see_gone(struct sim *sim, const struct store_account_gone *gone)
{
    int number = sim->number_of[gone->account_id % MOST_ACCOUNT_IDS];
    bool pending = has_pending(sim, number);
    if (gone->applied && pending)
        sim_fail(sim, "A1", "account %d is removed while messages of it wait", number);
    if (!gone->applied && !pending && !sim->oracle->accounts[number].removed)
        sim_fail(sim, "A8", "account %d cannot be removed, and nothing of it waits", number);
    sim->oracle->accounts[number].removed |= gone->applied;
    if (gone->applied)
        oracle_forget_news(sim, number);
    sim_trace(sim, "stored: account %d is %s", number, gone->applied ? "removed" : "not removed");
}

static void see(struct sim *sim, const struct store_change *change)
{
    switch (change->kind) {
    case STORE_ACCEPT:
        see_accept(sim, change->accept);
        break;
    case STORE_OUTCOME:
        see_outcome(sim, change->outcome);
        break;
    case STORE_MARK:
        set_mark(sim, change->mark->message_id, change->mark->in_flight);
        break;
    case STORE_NOTHING:
        break;
    case STORE_FILE:
        oracle_see_file(sim, change->file);
        break;
    case STORE_RETRY:
        see_retry(sim, change->retry);
        break;
    case STORE_ACCOUNT_PUT:
        see_account(sim, change->account_put);
        break;
    case STORE_ACCOUNT_ACTIVE:
        see_active(sim, change->account_active);
        break;
    case STORE_ACCOUNT_GONE:
        see_gone(sim, change->account_gone);
        break;
    case STORE_NEWS:
        oracle_see_news(sim, change->news);
        break;
    case STORE_TAKEN:
        oracle_see_taken(sim, change->taken);
        break;
    case STORE_DESK_HEALTH:
        identity_of(sim->oracle, change->desk_health->desk)->closed = change->desk_health->guard_suspended;
        break;
    default:
        break;
    }
}

static void check_sum(struct sim *sim)
{
    const struct oracle *o = sim->oracle;
    struct store_totals t;
    if (sim->reader->ops->totals(sim->reader, &t))
        return;
    if (sim->options->breakage == BREAK_SUM)
        t.delivered += t.accepted % 7 == 6;
    if (t.accepted != t.delivered + t.pending + t.skipped + t.discarded)
        sim_fail(sim, "A11", "accepted %lld is not the sum of the others", (long long)t.accepted);
    if (t.accepted != o->accepted || t.delivered != o->counts[MESSAGE_DELIVERED] ||
        t.pending != o->counts[MESSAGE_PENDING] || t.skipped != o->counts[MESSAGE_SKIPPED] ||
        t.discarded != o->counts[MESSAGE_DISCARDED])
        sim_fail(sim, "A11", "the totals are not what was stored");
}

void oracle_committed(struct sim *sim, const struct store_change *changes, size_t count, bool all)
{
    for (size_t i = 0; i < count; i++)
        see(sim, &changes[i]);
    if (!all)
        return;
    if (!sim->options->directory || sim->result->transactions % SUM_EVERY == 0)
        check_sum(sim);
}

// ---- a store that is opened again ----

void oracle_perhaps_committed(struct sim *sim, const struct store_change *changes, size_t count)
{
    struct oracle *o = sim->oracle;
    struct oracle *before = mem_new_of(struct oracle);
    *before = *o;
    sim_trace(sim, "perhaps:");
    for (size_t i = 0; i < count; i++) {
        int event;
        see(sim, &changes[i]);
        struct said *s = changes[i].kind == STORE_RETRY ? oracle_find(o, changes[i].retry->message_id, &event) : NULL;
        if (s && changes[i].retry->applied)
            s->place = 0; // a new one, not known yet
    }
    o->before = before;
}

// As if the last one had never been, but for what happened at the desks since.
static void take_back(struct sim *sim)
{
    struct oracle *o = sim->oracle;
    struct oracle *before = o->before;
    for (int i = 0; i < sim->numbers; i++) {
        struct said *s = &o->said[i];
        const struct said *was = &before->said[i];
        s->id = was->id;
        s->place = was->place;
        s->epoch = was->epoch;
        s->state = was->state;
        s->attempts = was->attempts;
        s->in_doubt = was->in_doubt;
        s->in_flight = was->in_flight;
        s->held = was->held;
        s->late = was->late;
        s->reborn = was->reborn;
        s->account_id = was->account_id;
        s->received_us = was->received_us;
        s->settled_us = was->settled_us;
        s->marked_by = was->marked_by;
        s->joined_count = was->joined_count;
        s->is_joined = was->is_joined;
        s->noted_there = was->noted_there;
    }
    oracle_files_take_back(o, before);
    memcpy(o->event_of_id, before->event_of_id, sizeof o->event_of_id);
    memcpy(o->rules, before->rules, sizeof o->rules);
    memcpy(o->counts, before->counts, sizeof o->counts);
    memcpy(o->moved, before->moved, sizeof o->moved);
    memcpy(o->linked_us, before->linked_us, sizeof o->linked_us);
    memcpy(o->news_us, before->news_us, sizeof o->news_us);
    o->accepted = before->accepted;
    for (int a = 0; a < sim->plan.accounts; a++) {
        o->accounts[a].stored_active = before->accounts[a].stored_active;
        o->accounts[a].order = before->accounts[a].order;
        o->accounts[a].epoch = before->accounts[a].epoch;
        o->accounts[a].removed = before->accounts[a].removed;
        o->accounts[a].id = before->accounts[a].id;
    }
    for (int i = 0; i < o->identity_count; i++) {
        struct desk_identity_model *model = &o->identities[i];
        model->closed = before->identities[i].closed;
        if (model->skips > before->identities[i].skips)
            model->skips = before->identities[i].skips;
    }
    o->before = before->before;
    free(before);
}

// Since so long its body, or the whole row, may be gone.
static bool has_aged(const struct sim *sim, const struct said *s, bool whole_row, int64_t since_us)
{
    int64_t now_us = sim->clock.wall_us - since_us;
    return (s->state == MESSAGE_DELIVERED || s->state == MESSAGE_DISCARDED) &&
           s->settled_us < now_us - sim->plan.keep_bodies_us &&
           (!whole_row || s->received_us < now_us - sim->plan.keep_dedupe_us);
}

// Another message of its conversation and second, unsettled and stored before then, may be looked for at the desk: by the name
// that this one has there it is told from it.
static bool is_needed(const struct sim *sim, const struct said *s, int64_t before_us)
{
    bool found = false;
    for (int i = 0; i < sim->numbers && s->state == MESSAGE_DELIVERED && s->direction != REPLY && s->named; i++) {
        const struct said *other = &sim->oracle->said[i];
        found |= other != s && other->id && other->direction != REPLY &&
                 (other->state == MESSAGE_PENDING || other->state == MESSAGE_SKIPPED) && other->sent_s == s->sent_s &&
                 other->conversation_id == s->conversation_id && other->received_us < before_us;
    }
    return found;
}

static bool may_have_aged(const struct sim *sim, const struct said *s, bool whole_row)
{
    return has_aged(sim, s, whole_row, 0) &&
           !(whole_row && is_needed(sim, s, s->received_us + sim->plan.keep_dedupe_us));
}

bool oracle_has_aged(const struct sim *sim, const struct said *s, int64_t since_us)
{
    return has_aged(sim, s, false, since_us);
}

// A comparison of the store with the model.
struct look {
    struct sim *sim;
    char why[300]; // the first difference
    bool seen[MOST_EVENTS];
};

static void differs(struct look *look, int event, const char *what)
{
    if (look->why[0])
        return;
    char who[200];
    oracle_show(look->sim, event, who, sizeof who);
    snprintf(look->why, sizeof look->why, "%s: %s", who, what);
}

static void look_at_row(void *arg, const struct message *message)
{
    struct look *look = arg;
    struct oracle *o = look->sim->oracle;
    int event;
    struct buf expected;
    struct said *s = oracle_find(o, message->id, &event);
    if (!s) {
        snprintf(look->why, sizeof look->why, "message %lld is there, and was never committed", (long long)message->id);
        return;
    }
    if (s->id != message->id) // of the account as it was before it was removed
        return;
    look->seen[event] = true;
    bool pending = s->state == MESSAGE_PENDING, held = message->next_attempt_us == MESSAGE_HELD;
    oracle_text(look->sim, event, false, &expected);
    if (message->state != s->state || message->attempts != s->attempts)
        differs(look, event, "its state or attempts are others in the store");
    else if (pending && (message->in_flight != s->in_flight || held != s->held))
        differs(look, event, "its mark, or that it is held, is lost or came from nowhere");
    else if ((pending || s->state == MESSAGE_SKIPPED) && message->in_doubt != s->in_doubt)
        differs(look, event, "its doubt is lost or came from nowhere");
    else if (message->place != s->place && s->place)
        differs(look, event, "its place is another");
    else if (!str_eq(message->text, buf_str(&expected)) && (message->text.n || !may_have_aged(look->sim, s, false)))
        differs(look, event, "its text is another in the store");
    else if (s->state != MESSAGE_DISCARDED && !may_have_aged(look->sim, s, false) &&
             !oracle_files_are(look->sim, event, message->attachments))
        differs(look, event, "what became of its files is another in the store");
    buf_done(&expected);
}

static void look_at_account(void *arg, struct account *account, struct str file_text)
{
    struct look *look = arg;
    const struct account_model *model = &look->sim->oracle->accounts[account_number(account->name)];
    (void)file_text;
    if (model->removed || account->id != model->id)
        snprintf(look->why, sizeof look->why, "%.*s is there, and was removed", STR_ARG(account->name));
    else if (account->active != model->stored_active || account->order != model->order)
        snprintf(look->why, sizeof look->why, "%.*s is not as it was stored", STR_ARG(account->name));
    account_unref(account);
}

static void look_at_desk(void *arg, const struct store_desk_health *health)
{
    struct look *look = arg;
    if (identity_of(look->sim->oracle, health->desk)->closed != health->guard_suspended)
        snprintf(look->why, sizeof look->why, "a desk's guard is not as it was stored");
}

static void look_at_store(struct look *look)
{
    struct sim *sim = look->sim;
    int err = sim->reader->ops->messages(sim->reader, &(struct message_filter){0}, 0, MOST_IDS, look_at_row, look);
    if (!err)
        err = sim->disk->ops->each_account(sim->disk, look_at_account, look);
    if (!err)
        err = sim->disk->ops->each_desk_health(sim->disk, look_at_desk, look);
    if (err)
        snprintf(look->why, sizeof look->why, "the store cannot be read: %s", err_name(err));
    if (!look->why[0])
        oracle_news_are(sim, look->why, sizeof look->why);
    for (int i = 0; i < sim->numbers; i++)
        if (sim->oracle->said[i].id && !look->seen[i] && !may_have_aged(sim, &sim->oracle->said[i], true))
            differs(look, i, "it is not in the store any more");
}

static bool is_as_modelled(struct sim *sim, char *out_why, size_t size)
{
    struct look look = {.sim = sim};
    look_at_store(&look);
    snprintf(out_why, size, "%s", look.why);
    return !look.why[0];
}

static void take_places(struct sim *sim)
{
    for (int i = 0; i < sim->numbers; i++) {
        struct said *s = &sim->oracle->said[i];
        if (s->id && !s->place)
            s->place = place_of(sim, s->id);
    }
}

void oracle_reopened(struct sim *sim)
{
    struct oracle *o = sim->oracle;
    char why[300], why_before[300] = "";
    bool good = is_as_modelled(sim, why, sizeof why);
    while (!good && o->before) {
        take_back(sim);
        good = is_as_modelled(sim, why_before, sizeof why_before);
        sim_trace(sim, "the last transaction is not on the disk");
    }
    if (!good)
        sim_fail(sim, "A1", "the store is opened again, and is not what was committed: %s%s%s", why,
                 why_before[0] ? "; without the last: " : "", why_before);
    forget_before(o);
    take_places(sim);
    check_sum(sim);
}

// ---- the process, and what is asked of it ----

void oracle_process_started(struct sim *sim)
{
    oracle_forget_waits(sim->oracle);
    sim->oracle->resent = 0;
    for (int i = 0; i < sim->numbers; i++)
        sim->oracle->said[i].left_marked |= sim->oracle->said[i].in_flight;
    oracle_check_news(sim);
    for (int a = 0; a < sim->plan.accounts; a++)
        sim->oracle->accounts[a].off = !sim->oracle->accounts[a].stored_active;
}

void oracle_process_ended(struct sim *sim, bool crashed)
{
    for (int i = 0; i < sim->numbers; i++) {
        struct said *s = &sim->oracle->said[i];
        if (!crashed && sim->store_failed_in != sim->life && s->in_flight && s->marked_by == sim->life)
            oracle_complain(sim, "MARK", i, "an orderly stop leaves its mark");
        s->doubted |= s->in_flight;
        s->open = 0;
        s->asked = s->chat_refused = s->moved = false;
        s->discard_asked = s->discard_due = false;
    }
}

void oracle_acknowledged(struct sim *sim, int event)
{
    struct said *s = &sim->oracle->said[event];
    if (!s->id)
        oracle_complain(sim, "A10", event, "answered 2xx before it is stored");
    s->acknowledged = true;
}

void oracle_active(struct sim *sim, int account, bool active, bool answered)
{
    oracle_forget_waits(sim->oracle);
    if (active)
        sim->oracle->accounts[account].off = false;
    else if (answered)
        sim->oracle->accounts[account].off = true;
}

void oracle_removed(struct sim *sim, int account)
{
    sim->oracle->accounts[account].off = true;
    sim->oracle->accounts[account].gone_us = sim->clock.wall_us;
}

void oracle_resumed(struct sim *sim, uint64_t identity)
{
    struct desk_identity_model *model = identity_of(sim->oracle, identity);
    model->skips = 0;
    model->resumed_us = sim_now(sim);
    oracle_forget_waits(sim->oracle);
}

void oracle_discarded(struct sim *sim, int64_t message_id, int err)
{
    int event;
    struct said *s = oracle_find(sim->oracle, message_id, &event);
    if (!s)
        return;
    if (err == ERR_BUSY && s->state == MESSAGE_PENDING)
        s->discard_asked = true;
    if (!err && s->state != MESSAGE_DISCARDED && s->state != MESSAGE_DELIVERED)
        oracle_complain(sim, "DISCARD", event, "its discard was answered, and it is not discarded");
}

bool oracle_guard_closed(const struct sim *sim, uint64_t identity)
{
    return identity_of(sim->oracle, identity)->closed;
}

int64_t oracle_pick(const struct sim *sim, uint64_t n, bool skipped)
{
    const struct oracle *o = sim->oracle;
    enum message_state state = skipped ? MESSAGE_SKIPPED : MESSAGE_PENDING;
    if (!o->counts[state])
        return 0;
    n %= (uint64_t)o->counts[state];
    for (int i = 0; i < sim->numbers; i++)
        if (o->said[i].id && o->said[i].state == state && !n--)
            return o->said[i].id;
    return 0;
}

int64_t oracle_next_held(const struct sim *sim, int64_t after)
{
    int64_t next = 0;
    for (int i = 0; i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        if (s->id > after && s->held && (!next || s->id < next))
            next = s->id;
    }
    return next;
}

bool oracle_is_hopeless(struct sim *sim, int64_t message_id)
{
    int event;
    struct said *s = oracle_find(sim->oracle, message_id, &event);
    return s && ++s->helped > MOST_HELP;
}

// ---- the end ----

bool oracle_is_through(const struct sim *sim)
{
    return sim->oracle->counts[MESSAGE_PENDING] == 0;
}

void oracle_judge_ageing(struct sim *sim)
{
    for (int i = 0; i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        struct message *message = NULL;
        if (!s->id || !has_aged(sim, s, false, AGE_LATEST_US) ||
            sim->reader->ops->message(sim->reader, s->id, &message))
            continue;
        if (message->text.n || (has_aged(sim, s, true, AGE_LATEST_US) && !is_needed(sim, s, INT64_MAX)))
            oracle_complain(sim, "AGE", i, "it is kept beyond its time");
        message_free(message);
    }
}

void oracle_judge_end(struct sim *sim)
{
    for (int i = 0; i < sim->numbers; i++) {
        const struct said *s = &sim->oracle->said[i];
        if (s->acknowledged && !s->id)
            oracle_complain(sim, "A1", i, "acknowledged, and not in the store");
        else if (s->id && s->state == MESSAGE_PENDING)
            oracle_complain(sim, "A8", i, "not settled long after all faults ended");
        else if (s->in_flight)
            oracle_complain(sim, "MARK", i, "its mark is left when all is settled");
        else if (s->state == MESSAGE_DELIVERED && !s->was_there && !oracle_is_ambiguous(sim, i))
            oracle_complain(sim, "A1", i, "recorded as delivered, and the desk does not have it");
    }
    oracle_judge_replies(sim);
}
