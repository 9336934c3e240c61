"""The soak, a short one: everything flows and every strike strikes; an hour of it is `make soak`."""
import argparse
import collections
import random

import pytest

import soak
from harness.checker import Arrival, History, Sent
from strikes import AHEAD, RESTARTS, STRIKES, Strikes, schedule
from traffic import Files, Hooks, Talk, media

pytestmark = [pytest.mark.release_only]


def test_each_strike_comes_in_an_hour_and_the_last_life_is_long():
    for seed in range(50):
        plan = schedule(3600, random.Random(seed), 75)
        assert [at for at, _ in plan] == sorted(at for at, _ in plan)
        names = [name for _, name in plan]
        assert set(names) == set(STRIKES) | set(AHEAD) | {name for name, _ in RESTARTS}
        assert all(hasattr(Strikes, name) for name in names)
        assert max(at for at, name in plan if name in AHEAD) < 0.1 * 3600
        assert max(at for at, name in plan if name in ("kill", "stop")) < 0.5 * 3600
    assert schedule(3600, random.Random(1), 75) == schedule(3600, random.Random(1), 75)


def test_a_file_that_came_as_a_link_is_not_lost():
    files = Files.__new__(Files)
    customer = argparse.Namespace(chat=1, sent=["c1n1", "c1n2"], digests={b"1": "c1n1", b"2": "c1n2", b"3": "c1n3"})
    files.customers, files.kind, files.counts = [customer], "intercom", collections.Counter()
    files.seen_at_intercom = lambda: iter([("1", f"file: c1n1.pdf http://127.0.0.1:1/media/{'a' * 64}?exp=1&sig={'b' * 64}&name=c1n1.pdf&mime=application%2Fpdf\nc1n2.pdf", [])])
    outcome = files.outcome()
    assert outcome.given == {"c1n2": "1", "c1n3": "1"} and files.counts["linked"] == 1
    assert media.judge(outcome)["lost files"] == ["c1n2", "c1n3"]


def test_only_what_somebody_discarded_may_be_missing():
    """Of two refused messages that never came one was discarded: the other is lost, and so is one that was not refused."""
    hooks = Hooks.__new__(Hooks)
    hooks.refused, hooks.counts = {"a", "b", "c"}, collections.Counter(discarded=1)
    sent = [Sent(key, "lane", key, at, at + 0.5) for at, key in enumerate("abcd")]
    hooks.history = lambda sums: History(sent=sent, arrivals=[Arrival("c", "lane", "c", 3, 3.5, 200, "msg_c")], retried_by_hand=hooks.refused, sums=sums)
    anomalies, counts = hooks.judge([])
    assert [(a.code, a.key) for a in anomalies] == [("A1", "b"), ("A1", "d")] and counts["discarded and not at the desk"] == 2
    hooks.counts["discarded"] = 2
    assert [a.key for a in hooks.judge([])[0]] == ["d"]
    assert "A11" in {a.code for a in hooks.judge([dict(accepted=3, delivered=1, pending=1, skipped=0, discarded=0)])[0]}


def test_files_of_agents_are_counted():
    talk = Talk.__new__(Talk)
    talk.given = collections.Counter({(1, "x"): 1, (2, "y"): 1})
    lost = lambda *files: {what: count for what, count in talk.files_lost(argparse.Namespace(files=list(files))).items() if count}
    assert lost((1, "x"), (2, "y")) == {}
    assert lost((1, "x")) == {"out files lost": 1}
    assert lost((1, "x"), (1, "y")) == {"out files lost": 1, "out files strange": 1}
    assert lost((1, "x"), (2, "y"), (2, "y")) == {"files resent": 1}


@pytest.mark.timeout(300)
def test_nothing_is_lost_while_everything_is_done_to_it(tmp_path):
    options = argparse.Namespace(hours=45 / 3600, rate=40, seed=7, warm_up=None, out=str(tmp_path / "out"))
    report, _, good = soak.play(options, str(tmp_path))
    assert good, report["wrong"]
    counts = report["counts"]
    assert counts["hook"]["acked"] > 300 and counts["talk"]["sent"] > 100 and counts["files"]["files"] > 5
    assert counts["hook"]["duplicates"] and counts["hook"]["forged"] and counts["hook"]["refused"]
    assert report["leftovers"]["nobody's files"] == report["leftovers"]["of them not there"] == 0
    assert {"kill", "stop"} < {each["name"] for each in report["strikes"]}


@pytest.mark.timeout(200)
def test_a_relay_that_leaks_is_found_out(tmp_path):
    options = argparse.Namespace(control=40, rate=40, seed=7)
    assert soak.control(options, str(tmp_path)) == []
