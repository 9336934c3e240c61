"""kill -9 at random moments: nothing lost, nothing doubled that could be told, nothing reordered. kill_loop.py runs it for longer."""
import copy
import dataclasses

import pytest

from harness.checker import check
from harness.common import SLOW
from kill_loop import Loop

KILLS = {1: 16, 3: 6, 6: 4}[SLOW]


@pytest.mark.parametrize("desk, order, seed", [("webhook", "conversation", 101), ("webhook", "account", 102), ("intercom", "conversation", 103), ("intercom", "account", 104)])
def test_kill_9_loses_doubles_and_reorders_nothing(tmp_path, desk, order, seed):
    loop = Loop(tmp_path, desk, order, KILLS, seed)
    try:
        history = loop.run()
    finally:
        loop.end()
    report = check(history)
    print(report)
    assert report.good, "\n" + str(report)
    assert report.counts["kills"] == KILLS and report.counts["acked"] >= KILLS

    # The check can fail: the same history with one message less at the desk, one twice, two swapped, is found out.
    for code, spoil in (("A1", remove_one), ("A5", double_one), ("A4", swap_two)):
        assert check(spoil(history)).of(code), f"{code} would have gone unseen"


def copied(history):
    other = copy.copy(history)
    other.arrivals, other.shown = list(history.arrivals), None if history.shown is None else [list(t) for t in history.shown]
    return other


def acked_key(history):
    return next(s.key for s in history.sent if s.acked is not None)


def remove_one(history):
    other, key = copied(history), acked_key(history)
    other.arrivals = [a for a in other.arrivals if a.key != key]
    if other.shown is not None:
        other.shown = [[k for k in t if k != key] for t in other.shown]
    return other


def double_one(history):
    other = copied(history)
    if other.shown is not None:
        other.shown[0].append(other.shown[0][0])
    else:
        other.arrivals.append(dataclasses.replace(other.arrivals[-1], identity="msg_other_1", start=1e9, end=1e9))
    return other


def swap_two(history):
    other = copied(history)
    lane = next(a.lane for a in other.arrivals if len({b.key for b in other.arrivals if b.lane == a.lane}) > 2)
    first, second = list(dict.fromkeys(a.key for a in other.arrivals if a.lane == lane))[:2]
    swapped = {first: second, second: first}
    other.arrivals = [dataclasses.replace(a, key=swapped.get(a.key, a.key)) for a in other.arrivals]
    if other.shown is not None:
        other.shown = [[swapped.get(k, k) for k in t] for t in other.shown]
    return other
