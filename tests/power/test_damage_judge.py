"""What the judge of damaged files must find is found, and what it must allow is allowed."""
from collections import namedtuple

import pytest

from damage_judge import Found, faults_of
from harness.checker import Arrival
from harness.client import Sent
from harness.common import text_of
from power_judge import Row

Before = namedtuple("Before", "sent chats rows at")


def sent(key, lane, event, at):
    one = Sent(key, lane, event)
    one.first_try, one.acked = at, at + 0.5
    return one


BEFORE = Before([sent(f"w-{i}", "w", {"text": text_of(f"w-{i}")}, i) for i in range(3)],
                {"1": [sent(f"c1n{i}", "1", {"message": {"text": text_of(f"c1n{i}")}}, i) for i in range(2)]},
                [Row("hook", "w", text_of(f"w-{i}"), "pending") for i in range(3)] + [Row("bot", "1", text_of(f"c1n{i}"), "pending") for i in range(2)], 50)
ALL = [("w-0", "w", "hook"), ("w-1", "w", "hook"), ("w-2", "w", "hook"), ("c1n0", "1", "bot"), ("c1n1", "1", "bot")]


def found(at_desk=ALL, texts={}, rows=BEFORE.rows, told=(), last_words="", odd=(), identities={}):
    arrivals, bodies = [], []
    for i, (key, lane, source) in enumerate(at_desk):
        text = texts.get(key, text_of(key))
        arrivals.append(Arrival(key, lane, text, 60 + i, 60.5 + i, 200, identities.get(i, "msg_" + key)))
        bodies.append({"source": source, "conversation": lane, "text": text, "attachments": []})
    return Found(arrivals, bodies, list(rows), list(told), last_words, list(odd))


def test_all_that_arrived_is_good():
    assert faults_of(BEFORE, found(), "database") == []


@pytest.mark.parametrize("how, fault", [
    ({"texts": {"w-1": "w-1 something else"}}, "at the desk: A3 w-1"),
    ({"at_desk": [("w-1", "w", "hook"), ("w-0", "w", "hook"), *ALL[2:]]}, "at the desk: A4"),
    ({"at_desk": [*ALL, ("w-9", "w", "hook")]}, "at the desk: A2 w-9"),
    ({"at_desk": [("w-0", "v", "hook"), *ALL[1:]]}, "at the desk: w-0 in lane v"),
    ({"at_desk": [*ALL[:3], ("w-2", "w", "hook"), *ALL[3:]], "identities": {3: "msg_other"}}, "at the desk: w-2 as"),
    ({"at_desk": [*ALL[:3], ALL[4], ALL[3]]}, "at the desk: c1n0 after"),
    ({"texts": {"c1n1": "c1n1 something else"}}, "at the desk: in chat 1"),
    ({"odd": ["it ended with status -11"]}, "it ended with status -11")])
@pytest.mark.parametrize("told", [(), ("alarm",)])
def test_what_no_damage_allows_is_found_though_it_was_told(how, fault, told):
    faults = faults_of(BEFORE, found(told=told, **how), "database")
    assert any(one.startswith(fault) for one in faults), faults


def test_a_loss_must_be_told():
    less = found(at_desk=ALL[:2] + ALL[3:])
    assert faults_of(BEFORE, less, "database") == ["w-2 is lost, and nothing tells"]
    assert faults_of(BEFORE, less._replace(told=["verify: message 3"]), "database") == []
    assert faults_of(BEFORE, less._replace(last_words="the store is damaged", rows=None), "database") == []


def test_a_damaged_log_leaves_its_beginning():
    rows = BEFORE.rows[:2] + BEFORE.rows[3:]
    assert faults_of(BEFORE, found(at_desk=ALL[:2] + ALL[3:], rows=rows), "log") == []
    gap = faults_of(BEFORE, found(at_desk=[ALL[0], *ALL[2:]], rows=[BEFORE.rows[0], *BEFORE.rows[2:]]), "log")
    assert gap == ["the log's beginning is not what is left of it"]
    assert faults_of(BEFORE, found(at_desk=ALL[:2] + ALL[3:]), "log") == ["w-2 is in the store, and not at the desk"]
