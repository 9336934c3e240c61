"""The checker finds each anomaly in a history that has it, and none in a good one: a checker that sees nothing proves nothing."""
import copy

import pytest

from harness.checker import MEANING, Arrival, History, Sent, Stored, check

KEYS = ["a1", "b1", "a2", "b2", "a3"]


def good():
    """Two lanes, three and two messages, each sent, stored, delivered once, one after the other."""
    history = History(stored=[], sums=[{"accepted": 5, "delivered": 3, "pending": 1, "skipped": 1, "discarded": 0}],
                      public_texts=[("log", '{"event":"ready"}')], canaries=["kanarie"])
    for i, key in enumerate(KEYS):
        t = float(i)
        history.sent.append(Sent(key, key[0], "text " + key, t, t + 0.1))
        history.arrivals.append(Arrival(key, key[0], "text " + key, t + 0.2, t + 0.3, 200, "id-" + key))
        history.stored.append(Stored(key, "delivered", key[0], "text " + key))
        history.trace += [("stored", key), ("acked", key)]
    return history


def look_up(history):
    """The same at a desk without keys."""
    for a in history.arrivals:
        a.identity = None
    history.shown = [["a1", "a2", "a3"], ["b1", "b2"]]
    return history


def codes(history):
    return sorted({a.code for a in check(history).anomalies})


def test_a_good_history_is_good():
    assert codes(good()) == []
    assert codes(look_up(good())) == []
    assert check(good()).counts["acked"] == 5


def test_every_code_is_explained():
    assert list(MEANING) == [f"A{i}" for i in range(1, 14)]


def fault(expected, base=good):
    def decorate(change):
        FAULTS.append(pytest.param(expected, base, change, id=f"{expected}-{change.__name__}"))
        return change
    return decorate


FAULTS = []


@fault("A1")
def lost_from_both(h):
    del h.arrivals[2], h.stored[2]


@fault("A1")
def recorded_as_delivered_but_never_at_the_desk(h):
    del h.arrivals[4]


@fault("A1")
def at_the_desk_but_not_in_the_store(h):
    del h.stored[4]


@fault("A1", lambda: look_up(good()))
def recorded_as_delivered_but_no_agent_sees_it(h):
    h.shown[1].remove("b2")


@fault("A2")
def phantom_at_the_desk(h):
    h.arrivals.append(Arrival("x9", "x", "text x9", 9, 9.1, 200, "id-x9"))


@fault("A2")
def phantom_in_the_store(h):
    h.stored.append(Stored("x9", "delivered", "x"))


@fault("A3")
def altered_at_the_desk(h):
    h.arrivals[1].text = "text b1 "


@fault("A3")
def altered_in_the_store(h):
    h.stored[1].text = "TEXT b1"


@fault("A4")
def store_order_against_the_clock(h):
    h.stored[0], h.stored[2] = h.stored[2], h.stored[0]
    h.arrivals = []
    for row in h.stored:
        row.state = "skipped"


@fault("A4")
def desk_order_against_the_store(h):
    a, b = h.arrivals[0], h.arrivals[2]
    a.key, a.text, a.identity, b.key, b.text, b.identity = b.key, b.text, b.identity, a.key, a.text, a.identity


@fault("A4")
def desk_order_against_the_clock_without_a_store(h):
    h.stored = None
    h.arrivals[0], h.arrivals[2] = h.arrivals[2], h.arrivals[0]


@fault("A4", lambda: look_up(good()))
def order_that_agents_see(h):
    h.shown[0] = ["a2", "a1", "a3"]


@fault("A5")
def sent_again_after_success(h):
    h.arrivals.append(Arrival("a3", "a", "text a3", 9, 9.1, 200, "id-a3"))


@fault("A5")
def sent_again_with_another_id(h):
    h.kills = [[8, 8]]
    h.arrivals.append(Arrival("a3", "a", "text a3", 9, 9.1, 200, "id-other"))


@fault("A5", lambda: look_up(good()))
def an_agent_sees_it_twice(h):
    h.shown[0].append("a3")


@fault("A6", lambda: look_up(good()))
def doubled_with_a_record(h):
    h.shown[0].append("a3")
    h.doubts = {"a3"}


@fault("A7")
def next_tried_before_the_last_was_settled(h):
    h.arrivals[0].status = 500
    h.arrivals[0].applied = False
    h.stored[0].state = "pending"
    h.drained = False


@fault("A7")
def back_to_an_earlier_message(h):
    h.kills = [[8.5, 8.5]]
    h.arrivals.append(Arrival("a2", "a", "text a2", 9, 9.1, 200, "id-a2"))


@fault("A8")
def pending_after_the_drain(h):
    h.stored.append(Stored("a4", "pending", "a"))
    h.sent.append(Sent("a4", "a", "text a4", 9, 9.1))


@fault("A9")
def overlapping_in_a_lane(h):
    h.arrivals[0].end = 2.25


@fault("A9")
def overlapping_with_one_that_never_ended(h):
    h.arrivals[0].end = None


@fault("A10")
def acknowledged_before_stored(h):
    h.trace[2], h.trace[3] = h.trace[3], h.trace[2]


@fault("A11")
def sum_broken(h):
    h.sums.append({"accepted": 5, "delivered": 3, "pending": 0, "skipped": 1, "discarded": 0})


@fault("A12")
def canary_in_the_log(h):
    h.public_texts.append(("metrics", 'x{text="kanarie"} 1'))


@fault("A13")
def stored_twice(h):
    h.stored.append(copy.copy(h.stored[4]))


@pytest.mark.parametrize("expected, base, change", FAULTS)
def test_anomaly_is_found(expected, base, change):
    history = base()
    change(history)
    assert expected in codes(history)
    assert check(history).good == (expected == "A6")


def test_every_code_has_a_fault():
    assert {p.values[0] for p in FAULTS} == set(MEANING)


# What is allowed must not be called an anomaly.

def test_repeat_with_the_same_key_after_a_failure_is_allowed_and_counted():
    h = good()
    first = h.arrivals[4]
    h.arrivals.insert(4, Arrival(first.key, first.lane, first.text, 4.01, 4.05, 503, first.identity, applied=False))
    assert codes(h) == []
    assert check(h).counts["repeated"] == 1


def test_repeat_of_a_success_is_allowed_when_the_relay_died_between():
    h = good()
    h.arrivals.append(Arrival("a3", "a", "text a3", 9, 9.1, 200, "id-a3"))
    h.kills = [[5, 5]]
    assert codes(h) == []


def test_skipped_message_lets_the_next_one_go():
    h = good()
    h.arrivals[0].status, h.arrivals[0].applied = 500, False
    h.stored[0].state = "skipped"
    assert codes(h) == []


def test_unacknowledged_message_may_be_missing():
    h = good()
    h.sent.append(Sent("a4", "a", "text a4", 9))
    assert codes(h) == []


def test_pending_is_no_loss_while_faults_go_on():
    h = good()
    del h.arrivals[4]
    h.stored[4].state = "pending"
    h.drained = False
    assert codes(h) == []


def test_concurrent_messages_of_a_lane_have_no_order_of_their_own():
    h = good()
    h.stored = None
    h.sent[0].acked = h.sent[2].acked = 2.5
    h.arrivals[0], h.arrivals[2] = h.arrivals[2], h.arrivals[0]
    h.arrivals[0].start, h.arrivals[0].end, h.arrivals[2].start, h.arrivals[2].end = 2.6, 2.7, 2.8, 2.9
    h.sent[4].first_try = 3
    assert codes(h) == []
